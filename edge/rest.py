"""REST's server: HTTP/1.1 by h11 (which parses and never touches a socket), the sockets by asyncio. One coroutine a connection.

Everything that a peer could grow or stretch is bounded. On this machine only; what is asked by a browser from another site has a
foreign Host, no token, and no answer to its preflight.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO, Final

import h11
import msgspec

from edge.config import ListenAddress
from edge.import_frames import FILE_BYTES_MAX
from edge.rest_desk import RestDesk, RestError
from edge.rest_rate import Rates
from edge.rest_routes import TARGET_CHARS_MAX, BadTarget, Found, NoRoute, document, find
from edge.rest_types import Problem
from edge.store.tokens import Token
from edge.unix_socket import bind_private, remove_socket

log = logging.getLogger("rest")

CONNECTIONS_MAX: Final = 32  # kiosks and scripts of one store
HEAD_BYTES_MAX: Final = 16 << 10
HEAD_DEADLINE_S: Final = 10.0  # from the first wait for a request to the end of its heading; also the pause between two of them
BODY_SILENCE_S: Final = 10.0
BODY_DEADLINE_S: Final = 120.0  # 64 MB over loopback take one second
WRITE_DEADLINE_S: Final = 10.0
LINGER_S: Final = 1.0
LINGER_READS: Final = 64  # 4 MB of a body that is not wanted
REQUESTS_MAX: Final = 1_000  # of one connection
READ_BYTES: Final = 1 << 16
HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

Clock = Callable[[], float]


class Gone(Exception):
    """The peer closed, or does not keep to HTTP so far that no answer could reach it."""


class RestServer:
    """Serves one desk. `clock` gives seconds that only grow."""

    def __init__(self, desk: RestDesk, requests_per_s: float, clock: Clock) -> None:
        self.desk = desk
        self.rates = Rates(requests_per_s, clock)
        self.openapi = msgspec.json.encode(document())
        self._open = 0

    async def serve(self, listen: ListenAddress | None, socket: Path | None) -> None:
        """Until cancelled. Raises ListenError, OSError."""
        async with AsyncExitStack() as stack:
            if listen is not None:
                server = await asyncio.start_server(self.connected, listen.host, listen.port, limit=READ_BYTES)
                await stack.enter_async_context(server)
            if socket is not None:
                bound = bind_private(socket)
                stack.callback(remove_socket, socket, _inode(socket))
                await stack.enter_async_context(await asyncio.start_unix_server(self.connected, sock=bound, limit=READ_BYTES))
            await asyncio.Event().wait()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first request to its last."""
        talk = _Talk(self, reader, writer)
        self._open += 1
        try:
            if self._open > CONNECTIONS_MAX:
                await talk.refuse(RestError(503, "busy", f"{CONNECTIONS_MAX} connections are open"))
            else:
                await talk.run()
        except (Gone, OSError, TimeoutError):
            pass  # the peer went away; it comes again
        finally:
            self._open -= 1
            writer.close()


class _Talk:
    """One connection's requests, one after the other."""

    def __init__(self, server: RestServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=HEAD_BYTES_MAX)
        self._head_only = False  # whether the answer is to have no body
        self._on_tcp = not isinstance(writer.get_extra_info("sockname"), str)

    async def run(self) -> None:
        for _ in range(REQUESTS_MAX):
            try:
                request = await self._heading()
                await self._serve(request)
            except RestError as error:
                await self.refuse(error)
                return
            if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                return
            self._http.start_next_cycle()

    async def refuse(self, error: RestError) -> None:
        """Say what is wrong and end the connection: what is left of the request is not read."""
        problem = Problem(
            type=f"urn:shelfd:problem:{error.code}",
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            code=error.code,
            detail=error.detail,
            mistakes=error.mistakes,
        )
        more = [(b"Connection", b"close")]
        if error.status == HTTPStatus.UNAUTHORIZED:
            more.append((b"WWW-Authenticate", b'Bearer realm="shelfd"'))
        if error.status == HTTPStatus.TOO_MANY_REQUESTS:
            more.append((b"Retry-After", b"1"))
        if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
            more.append((b"Allow", error.detail.encode("ascii")))
        if self._http.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            await self._send(error.status, b"application/problem+json", msgspec.json.encode(problem), more)
            await self._linger()

    async def _linger(self) -> None:
        """Let the peer read what it was told: a socket that is closed over unread bytes takes the answer with it."""
        self._writer.write_eof()
        async with asyncio.timeout(LINGER_S):
            for _ in range(LINGER_READS):
                if not await self._reader.read(READ_BYTES):
                    return

    # -- one request ---------------------------------------------------------------------------------------------------

    async def _heading(self) -> h11.Request:
        async with asyncio.timeout(HEAD_DEADLINE_S):
            event = await self._next()
        if not isinstance(event, h11.Request):
            raise Gone
        self._head_only = event.method == b"HEAD"
        return event

    async def _serve(self, request: h11.Request) -> None:
        found = self._found(request)
        token = self._allowed(request, found)
        if found.route.operation == "openapi":
            await self._drain_body()
            await self._send(200, b"application/json", self._server.openapi)
            return
        media_type = _header(request, b"content-type").partition(";")[0].strip().lower()
        if not found.route.bodies:
            await self._drain_body()
            status, answer = await self._server.desk.answer(found, token, None, media_type)
        else:
            if media_type not in found.route.bodies:
                raise RestError(415, "media_type", f"found {media_type or 'none'}, expected {', '.join(found.route.bodies)}")
            length = _header(request, b"content-length")
            if length and int(length) > FILE_BYTES_MAX:
                raise RestError(413, "too_large", f"a file has at most {FILE_BYTES_MAX >> 20} MB")
            with self._server.desk.spool() as body:
                await self._take_body(body)
                status, answer = await self._server.desk.answer(found, token, body, media_type)
        await self._send(status, b"application/json", msgspec.json.encode(answer))

    def _found(self, request: h11.Request) -> Found:
        host = _header(request, b"host").lower()
        if self._on_tcp and (host if host.endswith("]") else host.rpartition(":")[0] or host) not in HOSTS:
            raise RestError(421, "host", "this is for programs on the same machine: localhost")
        if sum(len(name) + len(value) for name, value in request.headers) > HEAD_BYTES_MAX:
            raise RestError(431, "head_too_large", f"a heading has at most {HEAD_BYTES_MAX >> 10} KB")
        if len(request.target) > TARGET_CHARS_MAX:
            raise RestError(400, "target", f"an address has at most {TARGET_CHARS_MAX} characters")
        try:
            return find(request.method.decode("ascii"), request.target.decode("ascii"))
        except NoRoute as error:
            if error.allowed:
                raise RestError(405, "method", ", ".join(error.allowed)) from None
            raise RestError(404, "not_found", "nothing is there; see /v1/openapi.json") from None
        except BadTarget as error:
            raise RestError(400, "invalid_params", str(error)) from None

    def _allowed(self, request: h11.Request, found: Found) -> Token | None:
        """The token of a request that may be served. Raises RestError."""
        if found.route.scope is None:
            if not self._server.rates.take(""):
                raise RestError(429, "rate", "too many requests without a token")
            return None
        scheme, _, text = _header(request, b"authorization").partition(" ")
        token = self._server.desk.token(text.strip()) if scheme.lower() == "bearer" else None
        if token is None:
            if not self._server.rates.take(""):
                raise RestError(429, "rate", "too many requests without a token that is in use")
            raise RestError(401, "token", "send Authorization: Bearer and a token that is in use (shelfd token add)")
        if not self._server.rates.take(token.token_id):
            raise RestError(429, "rate", "too many requests of this token")
        if found.route.scope not in token.scopes:
            raise RestError(403, "scope", f"the token has no scope {found.route.scope}")
        return token

    # -- bytes ---------------------------------------------------------------------------------------------------------

    async def _next(self) -> object:
        """The next event of the request. Raises Gone, RestError."""
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError as error:
                raise RestError(error.error_status_hint, "http", str(error)) from None
            if event is not h11.NEED_DATA:
                return event
            if self._http.they_are_waiting_for_100_continue:
                await self._write(self._http.send(h11.InformationalResponse(status_code=100, headers=[])))
            data = await self._reader.read(READ_BYTES)
            if not data and self._http.their_state is h11.IDLE:
                raise Gone
            self._http.receive_data(data)

    async def _body(self) -> AsyncIterator[bytes]:
        try:
            async with asyncio.timeout(BODY_DEADLINE_S):
                while True:
                    async with asyncio.timeout(BODY_SILENCE_S):
                        event = await self._next()
                    if isinstance(event, h11.EndOfMessage):
                        return
                    if not isinstance(event, h11.Data):
                        raise Gone
                    yield bytes(event.data)
        except TimeoutError:
            raise RestError(408, "timeout", "the body did not come in time") from None

    async def _take_body(self, body: BinaryIO) -> None:
        size = 0
        async for data in self._body():
            size += len(data)
            if size > FILE_BYTES_MAX:
                raise RestError(413, "too_large", f"a file has at most {FILE_BYTES_MAX >> 20} MB")
            await _kept(partial(body.write, data))
        await _kept(body.flush)
        body.seek(0)

    async def _drain_body(self) -> None:
        """Read the end of a request that should have no body."""
        async for _ in self._body():
            raise RestError(413, "too_large", "no body is read here")

    async def _send(self, status: int, media_type: bytes, body: bytes, more: list[tuple[bytes, bytes]] | None = None) -> None:
        headers = [
            (b"Content-Type", media_type),
            (b"Content-Length", str(len(body)).encode()),
            (b"Cache-Control", b"no-store"),
            (b"X-Content-Type-Options", b"nosniff"),
            *(more or ()),
        ]
        out = self._http.send(h11.Response(status_code=status, headers=headers)) or b""
        if not self._head_only:
            out += self._http.send(h11.Data(data=body)) or b""
        await self._write(out + (self._http.send(h11.EndOfMessage()) or b""))

    async def _write(self, data: bytes | None) -> None:
        self._writer.write(data or b"")
        async with asyncio.timeout(WRITE_DEADLINE_S):
            await self._writer.drain()


async def _kept(write: Callable[[], object]) -> None:
    """Raises RestError where the disk does not take it."""
    try:
        await asyncio.to_thread(write)
    except OSError as error:
        raise RestError(507, "no_room", f"the body cannot be kept: {error.strerror}") from None


def _inode(path: Path) -> int:
    return path.lstat().st_ino


def _header(request: h11.Request, name: bytes) -> str:
    return next((value.decode("latin-1") for key, value in request.headers if key == name), "")
