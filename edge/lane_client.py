"""Clients of the daemon's sockets: `LaneClient` (asyncio) for the demo, the bench and tests, `ControlClient` for the command line.

Neither retries: a till must ask `sale.status` before it repeats a sale, and a person sees the error.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Final, Self, TypeVar

import msgspec

from protocols.jsonrpc import Notified, decode_notice
from protocols.pos import (
    Answer,
    CommitParams,
    CommitResult,
    HelloParams,
    HelloResult,
    LookupParams,
    LookupResult,
    QuoteParams,
    QuoteResult,
    StatusParams,
    StatusResult,
    answered_error,
    decode_answer,
    encode_request,
)
from protocols.pos_notices import Notice
from protocols.pos_prices import PricesParams, PricesResult
from protocols.pos_returns import ReturnParams, ReturnResult, VoidParams, VoidResult

NOTICES_MAX: Final = 256  # kept until somebody reads them; older ones say nothing that newer ones do not
ANSWER_BYTES_MAX: Final = 4 * 1024 * 1024  # a status of 30,000 labels; a lane's largest answer is about 200 KiB
ANSWER_START: Final = b'{"jsonrpc":"2.0","id":'  # how shelfd writes an answer: no need to look for a notification
READ_BYTES: Final = 64 * 1024

T = TypeVar("T")


class DaemonUnreachable(Exception):
    """No answer came. Whether the call had an effect is not known, except for `DaemonAbsent`."""


class DaemonAbsent(DaemonUnreachable):
    """Nobody listens at that path, so nothing was asked: start the daemon, or name the right socket."""


class DaemonForbidden(DaemonAbsent):
    """The socket is there and this user may not open it."""


class DaemonSilent(DaemonUnreachable):
    """No complete answer within the time allowed. The connection is closed, since a late answer would be taken for the next one's."""


class DaemonGone(DaemonUnreachable):
    """The connection ended before the answer."""


class LaneClient:
    """One connection of a till. Calls are made one after the other; an RpcError is the daemon's refusal.

    `notices` holds the newest notifications that came before or between answers, for a `hello` that asked for some.
    """

    def __init__(self, path: Path, connection: socket.socket, timeout_s: float) -> None:
        self._path = path
        self._socket = connection
        self._timeout_s = timeout_s
        self._lines = _Lines()
        self._turn = asyncio.Lock()
        self._last_id = 0
        self.notices: deque[Notified] = deque(maxlen=NOTICES_MAX)

    @classmethod
    async def connect(cls, path: Path, *, timeout_s: float) -> Self:
        """Open the lane's socket; `timeout_s` is also how long each call may take. Raises DaemonUnreachable."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.setblocking(False)
        connected = False
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.get_running_loop().sock_connect(connection, os.fspath(path))
            connected = True
        except TimeoutError as error:
            raise DaemonSilent(f"{path}: no connection within {timeout_s:g} s") from error
        except OSError as error:
            raise _absent(path, error) from error
        finally:
            if not connected:
                connection.close()
        return cls(path, connection, timeout_s)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def close(self) -> None:
        self._socket.close()

    async def hello(self, lane_id: str, *, client: str = "", version: str = "", notify: tuple[Notice, ...] = ()) -> HelloResult:
        return await self.call("hello", HelloParams(lane=lane_id, client=client, version=version, notify=notify), HelloResult)

    async def lookup(self, params: LookupParams) -> LookupResult:
        return await self.call("item.lookup", params, LookupResult)

    async def quote(self, params: QuoteParams) -> QuoteResult:
        return await self.call("basket.quote", params, QuoteResult)

    async def commit(self, params: CommitParams) -> CommitResult:
        return await self.call("sale.commit", params, CommitResult)

    async def status(self, sale_id: str) -> StatusResult:
        return await self.call("sale.status", StatusParams(sale_id), StatusResult)

    async def void(self, params: VoidParams) -> VoidResult:
        return await self.call("sale.void", params, VoidResult)

    async def take_back(self, params: ReturnParams) -> ReturnResult:
        return await self.call("return.commit", params, ReturnResult)

    async def prices(self, params: PricesParams) -> PricesResult:
        return await self.call("price.since", params, PricesResult)

    async def notified(self) -> Notified:
        """The next notification, waited for at most as long as a call may take. Raises DaemonUnreachable."""
        async with self._turn:
            if not self.notices:
                await self._exchange(b"", wait_for_notice=True)
            return self.notices.popleft()

    async def call(self, method: str, params: object, shape: type[T]) -> T:
        """One call, its result read as `shape` (`dict` for plain data). Raises RpcError or DaemonUnreachable."""
        async with self._turn:
            self._last_id += 1
            line = await self._exchange(encode_request(self._last_id, method, params))
            return _read_result(self._path, line, self._last_id, shape)

    async def _exchange(self, request: bytes, *, wait_for_notice: bool = False) -> bytes:
        """Send, and read until the answer, or until the next notification; the other ones are kept."""
        loop = asyncio.get_running_loop()
        answered = False
        try:
            async with asyncio.timeout(self._timeout_s):
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have said why before it closed
                    await loop.sock_sendall(self._socket, request)
                line = await self._read_line(loop)
                while (notice := _notice(line)) is not None:
                    self.notices.append(notice)
                    if wait_for_notice:
                        break
                    line = await self._read_line(loop)
            answered = True
        except TimeoutError as error:
            raise DaemonSilent(f"{self._path}: no answer within {self._timeout_s:g} s") from error
        except OSError as error:
            raise DaemonGone(f"{self._path}: the connection ended before the answer") from error
        finally:
            if not answered:  # also when the caller was cancelled: a late answer would be taken for the next call's
                self._socket.close()
        return line

    async def _read_line(self, loop: asyncio.AbstractEventLoop) -> bytes:
        while (line := self._lines.take()) is None:
            self._lines.add(await loop.sock_recv(self._socket, READ_BYTES))
        return line


class ControlClient:
    """A blocking connection to the control socket, for the command line."""

    def __init__(self, path: Path, *, timeout_s: float) -> None:
        """Connects at once; `timeout_s` is the longest silence while an answer is awaited. Raises DaemonUnreachable."""
        self._path = path
        self._timeout_s = timeout_s
        self._lines = _Lines()
        self._last_id = 0
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(os.fspath(path))
        except (TimeoutError, BlockingIOError) as error:  # the latter: its queue of connections is full
            self._socket.close()
            raise DaemonSilent(f"{path}: takes no connection") from error
        except OSError as error:
            self._socket.close()
            raise _absent(path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._socket.close()

    def call(self, method: str, params: object, shape: type[T]) -> T:
        """One call, its result read as `shape` (`dict` for plain data). Raises RpcError or DaemonUnreachable."""
        self._last_id += 1
        try:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it may have said why before it closed
                self._socket.sendall(encode_request(self._last_id, method, params))
            while (line := self._lines.take()) is None:
                self._lines.add(self._socket.recv(READ_BYTES))
        except TimeoutError as error:
            self.close()
            raise DaemonSilent(f"{self._path}: no answer within {self._timeout_s:g} s") from error
        except OSError as error:
            self.close()
            raise DaemonGone(f"{self._path}: the connection ended before the answer") from error
        return _read_result(self._path, line, self._last_id, shape)


class _Lines:
    """Collects what was read until a line is whole."""

    def __init__(self) -> None:
        self._data = bytearray()

    def add(self, chunk: bytes) -> None:
        """Raises ConnectionResetError at the end of the stream and for a line that cannot be an answer."""
        if not chunk or len(self._data) > ANSWER_BYTES_MAX:
            raise ConnectionResetError
        self._data += chunk

    def take(self) -> bytes | None:
        end = self._data.find(b"\n")
        if end < 0:
            return None
        line = bytes(self._data[:end])
        del self._data[: end + 1]
        return line


def _notice(line: bytes) -> Notified | None:
    if line.startswith(ANSWER_START):
        return None
    try:
        return decode_notice(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None  # the reader of answers says what is wrong with it


def _absent(path: Path, error: OSError) -> DaemonUnreachable:
    if isinstance(error, PermissionError):
        return DaemonForbidden(f"{path}: this user may not open it")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError | NotADirectoryError):
        return DaemonAbsent(f"{path}: nobody is listening there")
    return DaemonAbsent(f"{path}: {error.strerror or error}")


def _read_result(path: Path, line: bytes, request_id: int, shape: type[T]) -> T:
    try:
        answer: Answer = decode_answer(line)
        error = answered_error(answer)
        if error is None and answer.id == request_id:
            return msgspec.json.decode(answer.result, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError) as malformed:
        raise DaemonGone(f"{path}: not an answer of shelfd: {malformed}") from malformed
    if error is not None:
        raise error
    raise DaemonGone(f"{path}: an answer to another call")
