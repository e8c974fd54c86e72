"""The lanes: one Unix socket each, or TLS on a LAN address; `hello` first, then calls to the `LaneDesk` that prices and records.

Which lane speaks is decided by the socket or the client's certificate, never by the message: `hello` states the lane's id only so that
a wrong connection is noticed before it sells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from edge.notices import Subscriber
from edge.rpc import CallLater, ConnectionLimiter, Peer, RpcHooks, RpcLimits, RpcServer
from edge.rpc_tls import TlsListen, TlsServer
from edge.rpc_unix import Poller
from protocols.pos import LANE_METHODS, ErrorCode, HelloParams, HelloResult, Method, Request, RpcError, read_params
from protocols.pos_notices import Notice

SERVER_NAME: Final = "shelfd"
_LOOKUP: Final = str(Method.LOOKUP)


@dataclass(frozen=True, slots=True)
class StoreHello:
    """What `hello` tells of the store. Before enrolment the texts are empty, `as_of` None and `revision` 0."""

    version: str
    store_id: str
    currency: str
    exponent: int
    tax_mode: str
    revision: int
    as_of: str | None
    stale_s: int


@dataclass(frozen=True, slots=True)
class Call:
    """A method: what its parameters look like, and who answers (lane id, parameters): the result, or a coroutine of it."""

    shape: type[msgspec.Struct]
    answer: Callable[[str, Any], object]


class LaneDesk(Protocol):
    """What the lanes are served from. Each call may raise RpcError; anything else that it raises ends the process."""

    @property
    def calls(self) -> Mapping[str, Call]:
        """Every method but `hello`. What changes something is durable before it is answered."""

    def ready(self) -> bool:
        """Whether there are prices to sell at. While not, every call but `hello` is answered `not_ready`."""

    def hello_info(self) -> StoreHello: ...

    def ready_answer(self, line: bytes) -> bytes | None:
        """The answering line to a whole line that is an `item.lookup` by code alone, where it is ready; None: ask `calls`."""


class LaneNotices(Protocol):
    """Who tells the lanes what they asked to be told."""

    def subscribe(self, lane_id: str, asked: Iterable[Notice], push: Callable[[bytes], bool]) -> Subscriber: ...

    def unsubscribe(self, subscriber: Subscriber) -> None: ...


@dataclass(frozen=True, slots=True)
class LaneSocket:
    """A lane on a Unix socket. `allowed_uids` None leaves it to the file's mode and group."""

    lane_id: str
    path: Path
    allowed_uids: frozenset[int] | None = None
    group_id: int | None = None


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """What a till said of itself, for status."""

    lane_id: str
    peer: Peer
    client: str
    version: str


class LaneSession:
    """One connection of a lane."""

    __slots__ = ("_calls", "_desk", "_lane_id", "_notices", "_on_hello", "_peer", "_push", "_said_hello", "_subscriber")

    methods = LANE_METHODS

    def __init__(
        self, desk: LaneDesk, lane_id: str, peer: Peer, on_hello: Callable[[ClientInfo], None], notices: LaneNotices | None
    ) -> None:
        self._desk = desk
        self._calls = desk.calls
        self._lane_id = lane_id
        self._peer = peer
        self._on_hello = on_hello
        self._notices = notices
        self._push: Callable[[bytes], bool] | None = None
        self._subscriber: Subscriber | None = None
        self._said_hello = False

    def opened(self, push: Callable[[bytes], bool]) -> None:
        self._push = push

    def closed(self) -> None:
        self._subscribe(())
        self._push = None

    def at_once(self, line: bytes) -> tuple[str, bytes] | None:
        """The answer to a scan whose price is ready."""
        answer = self._desk.ready_answer(line) if self._said_hello and self._desk.ready() else None
        return None if answer is None else (_LOOKUP, answer)

    def call(self, request: Request) -> object:
        """The result, or a coroutine of it. Raises RpcError."""
        if request.method == Method.HELLO:
            return self._hello(read_params(request.params, HelloParams))
        if not self._said_hello:
            raise RpcError(ErrorCode.HELLO_REQUIRED, "hello comes first on each connection")
        if not self._desk.ready():
            raise RpcError(ErrorCode.NOT_READY)
        call = self._calls[request.method]
        return call.answer(self._lane_id, read_params(request.params, call.shape))

    def _hello(self, params: HelloParams) -> HelloResult:
        if params.lane != self._lane_id:
            raise RpcError(ErrorCode.LANE_MISMATCH, f"this connection belongs to lane {self._lane_id}, not {params.lane}")
        self._said_hello = True
        self._subscribe(params.notify)
        self._on_hello(ClientInfo(self._lane_id, self._peer, params.client, params.version))
        store = self._desk.hello_info()
        return HelloResult(
            server=SERVER_NAME,
            version=store.version,
            store_id=store.store_id,
            currency=store.currency,
            exponent=store.exponent,
            tax_mode=store.tax_mode,
            lane=self._lane_id,
            ready=self._desk.ready(),
            revision=store.revision,
            as_of=store.as_of,
            stale_s=store.stale_s,
        )

    def _subscribe(self, asked: Iterable[Notice]) -> None:
        """What this connection is told from now on; a later `hello` replaces an earlier one's wishes."""
        if self._notices is None:
            return
        if self._subscriber is not None:
            self._notices.unsubscribe(self._subscriber)
            self._subscriber = None
        wanted = tuple(asked)
        if wanted and self._push is not None:
            self._subscriber = self._notices.subscribe(self._lane_id, wanted, self._push)


class LaneServer:
    """All listeners of the lanes. They share one desk and, with the control socket, one connection limiter."""

    def __init__(
        self,
        desk: LaneDesk,
        lanes: Iterable[LaneSocket],
        *,
        limiter: ConnectionLimiter,
        hooks: RpcHooks,
        clock: Callable[[], float],
        limits: RpcLimits | None = None,
        on_hello: Callable[[ClientInfo], None] = lambda client: None,
        call_later: CallLater | None = None,
        notices: LaneNotices | None = None,
        tls: Iterable[TlsListen] = (),
    ) -> None:
        def session(lane_id: str, peer: Peer) -> LaneSession:
            return LaneSession(desk, lane_id, peer, on_hello, notices)

        lanes, tls = tuple(lanes), tuple(tls)
        self._poller = Poller(asyncio.get_running_loop())  # one for all: lanes that speak at the same time are heard in one look
        self._lane_ids = dict.fromkeys([*(lane.lane_id for lane in lanes), *(lane for listen in tls for lane in listen.lanes.values())])
        self._servers: list[RpcServer | TlsServer] = [
            RpcServer(
                lane.lane_id,
                lane.path,
                partial(session, lane.lane_id),
                limiter=limiter,
                hooks=hooks,
                clock=clock,
                limits=limits,
                allowed_uids=lane.allowed_uids,
                group_id=lane.group_id,
                call_later=call_later,
                poller=self._poller,
            )
            for lane in lanes
        ]
        self._servers += [
            TlsServer(listen, session, limiter=limiter, hooks=hooks, clock=clock, limits=limits, call_later=call_later) for listen in tls
        ]

    @property
    def connections(self) -> dict[str, int]:
        """Open connections by lane."""
        return {lane_id: sum(server.connections_of(lane_id) for server in self._servers) for lane_id in self._lane_ids}

    async def start(self) -> None:
        """Listen on every lane, or on none: raises ListenError with what was opened closed again."""
        opened: list[RpcServer | TlsServer] = []
        try:
            for server in self._servers:
                await server.start()
                opened.append(server)
        finally:
            if len(opened) < len(self._servers):
                for server in opened:
                    await server.close(grace_s=0)

    async def close(self, *, grace_s: float = 2.0) -> None:
        """Let running sales finish for `grace_s` in all, then cut."""
        async with asyncio.TaskGroup() as closing:
            for server in self._servers:
                closing.create_task(server.close(grace_s=grace_s), name=f"close {server.name}")
        self._poller.close()
