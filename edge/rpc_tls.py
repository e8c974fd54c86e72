"""The lanes' listener on the store's LAN: TLS 1.3, each till known by its own certificate.

The certificate must be signed by the store's own authority and be the very one that was made for the lane: making a new one ends the
old one's use. Its holder is that lane, whatever it says of itself. What a peer can grow before it has shown one is bounded, too.
"""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Final

from edge.rpc import BACKLOG, CallLater, ConnectionLimiter, Drop, ListenError, Peer, RpcHooks, RpcLimits, Serving
from edge.rpc_connection import Connection, Session
from protocols.jsonrpc import ErrorCode, RpcError

HANDSHAKES_MAX: Final = 16  # strangers at once: every till of a large store, coming back after a power cut
HANDSHAKE_TIMEOUT_S: Final = 5.0  # a till on the LAN needs some milliseconds
NO_PROCESS: Final = -1  # pid, uid and gid of a peer on another machine
ACCEPT_PAUSE_S: Final = 0.5  # after a failure to accept (no descriptors left), so that it does not spin


@dataclass(frozen=True, slots=True)
class TlsListen:
    """An address, what it answers with, and the lanes that may come there: SHA-256 of the lane's certificate -> lane id."""

    host: str
    port: int
    context: ssl.SSLContext
    lanes: Mapping[str, str]


class TlsServer(Serving):
    """One listening TCP socket for several lanes."""

    half_close = False  # TLS over asyncio ends both directions at once

    def __init__(
        self,
        listen: TlsListen,
        open_session: Callable[[str, Peer], Session],
        *,
        limiter: ConnectionLimiter,
        hooks: RpcHooks,
        clock: Callable[[], float],
        limits: RpcLimits | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        """`open_session` is told which lane it is."""
        super().__init__(f"{listen.host}:{listen.port}", limiter=limiter, hooks=hooks, clock=clock, limits=limits, call_later=call_later)
        self._listen = listen
        self._open_session = open_session
        self._listener: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._handshakes = 0

    @property
    def port(self) -> int:
        """The port that is listened on, where the configured one is 0."""
        assert self._listener is not None
        number: int = self._listener.getsockname()[1]
        return number

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        family = socket.AF_INET6 if ":" in self._listen.host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((self._listen.host, self._listen.port))
            listener.listen(BACKLOG)
        except OSError as error:
            listener.close()
            raise ListenError(f"{self.name}: {error.strerror}") from error
        self._listener = listener
        self._start(self._accept(listener), f"{self.name} accept")

    async def close(self, *, grace_s: float = 2.0) -> None:
        """Stop listening, let running calls finish and their answers leave for `grace_s`, then cut what is left."""
        if self._listener is None:
            return
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._listener.close()
        self._listener = None
        await self._drain(grace_s)

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Session | RpcError:
        """A session for a peer that has shown its certificate, or why there is none."""
        certificate = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
        lane_id = self._listen.lanes.get(hashlib.sha256(certificate or b"").hexdigest())
        if lane_id is None:
            return self._refuse(Drop.FORBIDDEN, RpcError(ErrorCode.FORBIDDEN, "this certificate is no lane's, or was replaced"))
        refusal = self._take_place(connection, lane_id)
        return refusal or self._open_session(lane_id, Peer(self.name, self._accepted, NO_PROCESS, NO_PROCESS, NO_PROCESS))

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                peer, _ = await loop.sock_accept(listener)
            except OSError:
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            if self._handshakes >= HANDSHAKES_MAX:
                self.hooks.on_drop(self.name, Drop.BUSY)
                peer.close()
                continue
            self._handshakes += 1
            self._start(self._greet(peer), f"{self.name} handshake")

    async def _greet(self, peer: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        try:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.connect_accepted_socket(
                lambda: Connection(self, loop), peer, ssl=self._listen.context, ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S
            )
        except OSError:  # no TLS, another version, no certificate of ours, or gone: nobody to answer
            self.hooks.on_drop(self.name, Drop.FORBIDDEN)
            peer.close()
        finally:
            self._handshakes -= 1

    def _start(self, work: Coroutine[object, object, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
