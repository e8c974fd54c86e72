"""JSON-RPC over stream sockets: the server behind the lanes and the control socket.

One connection is served strictly in order: a call starts when the one before it is answered, so that a status asked after a
commit sees it. Calls of different connections run side by side. Every quantity a peer could grow is bounded: connections, bytes
of an unfinished line, the time it may take, lines waiting, bytes it does not read.

A fault of our own in a call is not an answer to live with: the caller gets `internal`, `on_fatal` gets the exception, and the
process is expected to end.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edge.rpc_connection import Cancellable, Connection, Drop, RpcHooks, RpcLimits, Session
from edge.rpc_unix import Channel, Listener, Poller
from edge.unix_socket import ListenError, Peer, bind_private, read_credentials, remove_socket
from protocols.jsonrpc import ErrorCode, RpcError

__all__ = ["BACKLOG", "ConnectionLimiter", "Drop", "ListenError", "Peer", "RpcHooks", "RpcLimits", "RpcServer", "Serving", "Session"]

CONNECTIONS_ALL_MAX: Final = 64  # over all listeners: 16 lanes with 4 each
BACKLOG: Final = 16  # a few tills reconnecting at once after a restart


CallLater = Callable[[float, Callable[[], None]], Cancellable]
OpenSession = Callable[[Peer], Session]


class ConnectionLimiter:
    """Counts the connections of all listeners that share it."""

    __slots__ = ("_free",)

    def __init__(self, connections_max: int = CONNECTIONS_ALL_MAX) -> None:
        self._free = connections_max

    def take(self) -> bool:
        if not self._free:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        self._free += 1


class Serving:
    """The connections of one listener. `clock` gives seconds for latencies; `call_later` runs the deadlines in real time (default:
    the loop)."""

    half_close = True  # a peer may close its sending side and still read its answers

    def __init__(
        self,
        name: str,
        *,
        limiter: ConnectionLimiter,
        hooks: RpcHooks,
        clock: Callable[[], float],
        limits: RpcLimits | None = None,
        call_later: CallLater | None = None,
    ) -> None:
        self.name = name
        self.hooks = hooks
        self.clock = clock
        self.limits = limits or RpcLimits()
        self._limiter = limiter
        self._call_later = call_later
        self._accepted = 0
        self._open: dict[Connection, str] = {}  # with the name that its limit counts under: the lane
        self._gone = asyncio.Event()

    @property
    def connections(self) -> int:
        """Connections that hold a place, those whose last call still runs included."""
        return len(self._open)

    def connections_of(self, name: str) -> int:
        """Those that count under a name."""
        return sum(1 for each in self._open.values() if each == name)

    def later(self, delay_s: float, action: Callable[[], None]) -> Cancellable:
        call_later = self._call_later or asyncio.get_running_loop().call_later
        return call_later(delay_s, action)

    def leave(self, connection: Connection) -> None:
        del self._open[connection]
        self._limiter.give_back()
        if not self._open:
            self._gone.set()

    def _refuse(self, reason: Drop, error: RpcError) -> RpcError:
        self.hooks.on_drop(self.name, reason)
        return error

    def _take_place(self, connection: Connection, name: str) -> RpcError | None:
        """Give a connection a place among those of `name`, or say why there is none."""
        if self.connections_of(name) >= self.limits.connections or not self._limiter.take():
            return self._refuse(Drop.BUSY, RpcError(ErrorCode.BUSY, "too many connections"))
        self._open[connection] = name
        self._accepted += 1
        return None

    async def _drain(self, grace_s: float) -> None:
        """Let running calls finish and their answers leave for `grace_s`, then cut what is left."""
        self._gone.clear()
        for connection in tuple(self._open):
            connection.finish()
        if self._open:
            try:
                async with asyncio.timeout(grace_s):
                    await self._gone.wait()
            except TimeoutError:
                for connection in tuple(self._open):
                    connection.cut()


class RpcServer(Serving):
    """One listening Unix socket."""

    def __init__(
        self,
        name: str,
        path: Path,
        open_session: OpenSession,
        *,
        limiter: ConnectionLimiter,
        hooks: RpcHooks,
        clock: Callable[[], float],
        limits: RpcLimits | None = None,
        allowed_uids: frozenset[int] | None = None,
        group_id: int | None = None,
        call_later: CallLater | None = None,
        poller: Poller | None = None,
    ) -> None:
        """`allowed_uids` None leaves it to the file's mode; `group_id` gives the socket file to that group.

        `poller` is shared with other listeners, and closed by its owner; None: its own.
        """
        super().__init__(name, limiter=limiter, hooks=hooks, clock=clock, limits=limits, call_later=call_later)
        self.path = path
        self._open_session = open_session
        self._allowed_uids = allowed_uids
        self._group_id = group_id
        self._poller = poller
        self._own_poller: Poller | None = None
        self._listener: Listener | None = None
        self._inode = 0

    async def start(self) -> None:
        """Listen. Raises ListenError."""
        listener = bind_private(self.path, group_id=self._group_id)
        self._inode = self.path.lstat().st_ino
        loop = asyncio.get_running_loop()
        if self._poller is None:
            self._own_poller = Poller(loop)
        poller = self._poller or self._own_poller
        assert poller is not None
        self._listener = Listener(poller, listener, BACKLOG, lambda peer: Channel(poller, peer, Connection(self, loop)))

    async def close(self, *, grace_s: float = 2.0) -> None:
        """Stop listening, let running calls finish and their answers leave for `grace_s`, then cut what is left."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        remove_socket(self.path, self._inode)
        await self._drain(grace_s)
        if self._own_poller is not None:
            self._own_poller.close()
            self._own_poller = None

    def admit(self, connection: Connection, transport: asyncio.Transport) -> Session | RpcError:
        """A session for a new connection, or why there is none."""
        pid, uid, gid = read_credentials(transport.get_extra_info("socket"))
        if self._allowed_uids is not None and uid not in self._allowed_uids:
            return self._refuse(Drop.FORBIDDEN, RpcError(ErrorCode.FORBIDDEN, f"uid {uid} may not use {self.name}"))
        refusal = self._take_place(connection, self.name)
        return refusal or self._open_session(Peer(self.name, self._accepted, pid, uid, gid))
