"""One connection of the JSON-RPC server: bytes in, answers out, in order and within bounds."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from enum import StrEnum
from types import CoroutineType
from typing import Any, Final, Protocol, cast, runtime_checkable

from protocols.jsonrpc import (
    FRAME_BYTES_MAX,
    ErrorCode,
    FrameSplitter,
    Rejected,
    Request,
    RpcError,
    decode_request,
    encode_error,
    encode_result,
)

CALLS_WAITING_MAX: Final = 32  # lines of one connection before reading pauses; a till sends one at a time
CALLS_PER_TURN_MAX: Final = 32  # then other connections get the loop: 32 lookups are about 0.3 ms
UNREAD_BYTES_MAX: Final = 256 * 1024  # answers a peer has not taken before it gets no more: one largest answer
WAITING_BYTES_MAX: Final = 256 * 1024  # unanswered lines before reading pauses: one largest line


class Drop(StrEnum):
    """Why a connection was refused or ended by us."""

    BUSY = "busy"
    FORBIDDEN = "forbidden"
    TOO_LARGE = "too_large"
    SLOW_SENDER = "slow_sender"
    SLOW_READER = "slow_reader"


class Session(Protocol):
    """One connection's side of the methods."""

    @property
    def methods(self) -> frozenset[str]:
        """The methods there are; any other is answered `unknown_method`."""

    def call(self, request: Request) -> object:
        """The result (a Struct, plain data or msgspec.Raw), or a coroutine that returns it. RpcError from either is the answer."""


@runtime_checkable
class Listening(Protocol):
    """A session that also says something unasked."""

    def opened(self, push: Callable[[bytes], bool]) -> None:
        """`push` sends a line; False: the peer takes nothing now, and the line is not kept."""

    def closed(self) -> None:
        """The connection is gone."""


@runtime_checkable
class Prompt(Protocol):
    """A session that has the answers to its most frequent calls ready."""

    def at_once(self, line: bytes) -> tuple[str, bytes] | None:
        """The method and the answering line for a whole line of request; None: it is to be read and called as any other."""


class Cancellable(Protocol):
    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True)
class RpcLimits:
    connections: int = 4  # per listener: the till, its spare, a monitor, one more
    frame_bytes: int = FRAME_BYTES_MAX
    frame_deadline_s: float = 2.0  # from the first byte of a line to its end; a till writes a line in one go
    unread_deadline_s: float = 5.0  # a till that takes nothing for so long is gone or stuck


@dataclass(frozen=True, slots=True)
class RpcHooks:
    """What the server reports. `on_latency(method, seconds)` counts from the read that completed the line to its answer."""

    on_fatal: Callable[[BaseException], None]
    on_latency: Callable[[str, float], None] = field(default=lambda method, seconds: None)
    on_drop: Callable[[str, Drop], None] = field(default=lambda listener, reason: None)  # rate-limiting is the hook's business


class Host(Protocol):
    """What a connection needs of its server."""

    @property
    def name(self) -> str: ...

    @property
    def limits(self) -> RpcLimits: ...

    @property
    def hooks(self) -> RpcHooks: ...

    @property
    def clock(self) -> Callable[[], float]: ...

    def later(self, delay_s: float, action: Callable[[], None]) -> Cancellable: ...

    @property
    def half_close(self) -> bool:
        """Whether a peer may close its sending side and still read its answers."""

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Session | RpcError: ...

    def leave(self, connection: Connection) -> None: ...


class Connection(asyncio.Protocol):
    """Bytes in, answers out, for one peer.

    `_waiting` holds complete lines with the time they came; an RpcError in it is the last word, after which the connection closes.
    """

    _transport: asyncio.Transport

    def __init__(self, server: Host, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._session: Session | None = None  # None: refused
        self._at_once: Callable[[bytes], tuple[str, bytes] | None] = _nothing_ready
        self._splitter = FrameSplitter(server.limits.frame_bytes)
        self._waiting: deque[tuple[bytes | RpcError, float]] = deque()
        self._task: asyncio.Task[bytes] | None = None
        self._waiting_bytes = 0
        self._turn_due = False
        self._reading = True
        self._ending = False  # nothing more is read; what waits is answered, then closed
        self._lost = False
        self._unread = False  # the peer has not taken its answers
        self._frame_timer: Cancellable | None = None
        self._unread_timer: Cancellable | None = None

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one by behaviour, not by class
        self._transport.set_write_buffer_limits(high=UNREAD_BYTES_MAX)
        session = self._server.admit(self, self._transport)
        if isinstance(session, RpcError):
            self._transport.write(encode_error(None, session))
            self._close()
        else:
            self._session = session
            if isinstance(session, Prompt):
                self._at_once = session.at_once
            if isinstance(session, Listening):
                session.opened(self.push)

    def data_received(self, data: bytes) -> None:
        if self._ending:
            return
        if not (self._waiting or self._task or self._unread or self._turn_due or self._splitter.partial) and self._answered(data):
            return
        frames = self._splitter.feed(data)
        if frames:
            now = self._server.clock()
            self._waiting.extend((frame, now) for frame in frames)
            self._waiting_bytes += sum(map(len, frames))
            self._stop_frame_timer()
        if self._splitter.overflowed:
            self._last_word(Drop.TOO_LARGE, RpcError(ErrorCode.TOO_LARGE, f"a line has at most {self._server.limits.frame_bytes} bytes"))
        if self._task is None and not self._turn_due:
            self._turn()
        else:
            self._steer_reading()

    def _answered(self, data: bytes) -> bool:
        """Whether it is one whole line whose answer was ready, and has been sent."""
        if data.find(b"\n") != len(data) - 1:
            return False
        since = self._server.clock()
        found = self._at_once(data)
        if found is None:
            return False
        method, answer = found
        self._transport.write(answer)
        self._server.hooks.on_latency(method, self._server.clock() - since)
        return True

    def eof_received(self) -> bool:
        self._ending = True
        self._stop_frame_timer()
        if self._task is None and not self._waiting:
            self._close()
        return self._server.half_close  # a script may close its side at once and still wait for the answers

    def pause_writing(self) -> None:
        self._unread = True
        self._start_unread_timer()

    def resume_writing(self) -> None:
        self._unread = False
        if self._unread_timer is not None and not self._transport.is_closing():
            self._unread_timer.cancel()
            self._unread_timer = None
        self._turn_soon()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = self._ending = True
        if isinstance(self._session, Listening):
            self._session.closed()
        self._waiting.clear()
        self._stop_frame_timer()
        if self._unread_timer is not None:
            self._unread_timer.cancel()
        if self._task is None and self._session is not None:
            self._server.leave(self)

    # What the session calls.

    def push(self, line: bytes) -> bool:
        """Send a line that answers nothing. False, and nothing sent, while the peer does not take what it has."""
        if self._ending or self._unread or self._transport.is_closing():
            return False
        self._transport.write(line)
        return True

    # What the server calls.

    def finish(self) -> None:
        """Answer what has come, then close."""
        self._ending = True
        self._stop_frame_timer()
        self._steer_reading()
        if self._task is None and not self._waiting:
            self._close()

    def cut(self) -> None:
        self._ending = True
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
        self._transport.abort()

    # One turn: answer waiting lines until one needs to wait itself.

    def _turn(self) -> None:
        self._turn_due = False
        answers: list[bytes] = []
        size = 0
        for _ in range(CALLS_PER_TURN_MAX):
            if not self._waiting or self._unread or size > UNREAD_BYTES_MAX or self._task is not None:
                break
            item, since = self._waiting.popleft()
            if isinstance(item, bytes):
                self._waiting_bytes -= len(item)
            answer = self._answer(item, since, answers)
            if answer is not None:
                answers.append(answer)
                size += len(answer)
        self._send(answers)
        if self._task is None:
            if self._waiting:
                self._turn_soon()
            elif self._ending:
                self._close()
        self._steer_reading()

    def _turn_soon(self) -> None:
        if self._waiting and self._task is None and not self._unread and not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    def _answer(self, item: bytes | RpcError, since: float, before: list[bytes]) -> bytes | None:
        """The answer to one line, or None when a task has begun that will give it."""
        if isinstance(item, RpcError):
            return encode_error(None, item)
        request = decode_request(item)
        if isinstance(request, Rejected):
            return encode_error(request.request_id, request.error)
        session = self._session
        if session is None or request.method not in session.methods:
            return encode_error(request.request_id, RpcError(ErrorCode.UNKNOWN_METHOD))
        sound = False
        try:
            result = session.call(request)
            if isinstance(result, CoroutineType):
                self._begin(request, result, since)
                answer = None
            else:
                answer = encode_result(request.request_id, result)
            sound = True
        except RpcError as error:
            answer = encode_error(request.request_id, error)
            sound = True
        finally:
            if not sound:  # a fault of ours: say so to both sides and let it go on upwards
                self._send(before)
                self._fail(request, sys.exception())
        if answer is not None:
            self._server.hooks.on_latency(request.method, self._server.clock() - since)
        return answer

    def _begin(self, request: Request, call: Coroutine[Any, Any, object], since: float) -> None:
        async def run() -> bytes:
            return encode_result(request.request_id, await call)

        self._task = self._loop.create_task(run(), name=f"{self._server.name} {request.method}")
        self._task.add_done_callback(lambda task: self._finished(task, request, since))

    def _finished(self, task: asyncio.Task[bytes], request: Request, since: float) -> None:
        self._task = None
        if not task.cancelled():
            error = task.exception()
            if error is None:
                self._send([task.result()])
            elif isinstance(error, RpcError):
                self._send([encode_error(request.request_id, error)])
            else:
                self._fail(request, error)
            self._server.hooks.on_latency(request.method, self._server.clock() - since)
        if self._lost:
            self._server.leave(self)
        else:
            self._turn()

    def _fail(self, request: Request, error: BaseException | None) -> None:
        self._send([encode_error(request.request_id, RpcError(ErrorCode.INTERNAL))])
        self._waiting.clear()
        self._close()
        if error is not None:
            self._server.hooks.on_fatal(error)

    # Bounds.

    def _send(self, answers: list[bytes]) -> None:
        if answers and not self._transport.is_closing():
            self._transport.write(b"".join(answers))

    def _last_word(self, reason: Drop, error: RpcError) -> None:
        self._server.hooks.on_drop(self._server.name, reason)
        self._ending = True
        self._stop_frame_timer()
        self._waiting.append((error, 0.0))
        self._turn_soon()

    def _steer_reading(self) -> None:
        if self._transport.is_closing():
            return
        full = len(self._waiting) >= CALLS_WAITING_MAX or self._waiting_bytes > WAITING_BYTES_MAX
        if self._ending or full:
            if self._reading:
                self._reading = False
                self._transport.pause_reading()
                self._stop_frame_timer()  # what we do not read cannot be late
            return
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()
        if self._splitter.partial and self._frame_timer is None:
            self._frame_timer = self._server.later(self._server.limits.frame_deadline_s, self._frame_late)

    def _frame_late(self) -> None:
        self._frame_timer = None
        deadline_s = self._server.limits.frame_deadline_s
        self._last_word(Drop.SLOW_SENDER, RpcError(ErrorCode.INVALID_REQUEST, f"a line was not finished within {deadline_s:g} s"))
        self._steer_reading()

    def _stop_frame_timer(self) -> None:
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None

    def _start_unread_timer(self) -> None:
        if self._unread_timer is None:
            self._unread_timer = self._server.later(self._server.limits.unread_deadline_s, self._unread_late)

    def _unread_late(self) -> None:
        self._unread_timer = None
        self._server.hooks.on_drop(self._server.name, Drop.SLOW_READER)
        self._transport.abort()

    def _close(self) -> None:
        """Close when the answers have left; a peer that does not take them cannot hold its place longer than a slow reader."""
        self._ending = True
        if not self._transport.is_closing():
            self._transport.close()
            if self._transport.get_write_buffer_size():
                self._start_unread_timer()


def _nothing_ready(line: bytes) -> None:
    """For sessions that have no answers ready."""
