"""The lanes: one Unix socket each, `hello` first, then calls to the `LaneDesk` that knows prices and records sales.

Which lane speaks is decided by the socket, never by the message: `hello` states the lane's id only so that a wrong connection is
noticed before it sells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edge.rpc import CallLater, ConnectionLimiter, Peer, RpcHooks, RpcLimits, RpcServer
from protocols.pos import (
    LANE_METHODS,
    CommitParams,
    CommitResult,
    ErrorCode,
    HelloParams,
    HelloResult,
    LookupParams,
    LookupResult,
    Method,
    QuoteParams,
    QuoteResult,
    Request,
    RpcError,
    StatusParams,
    StatusResult,
    read_params,
)

SERVER_NAME: Final = "shelfd"


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


class LaneDesk(Protocol):
    """What the lanes are served from. Each call may raise RpcError; anything else that it raises ends the process."""

    def ready(self) -> bool:
        """Whether there are prices to sell at. While not, every call but `hello` is answered `not_ready`."""

    def hello_info(self) -> StoreHello: ...

    def lookup(self, lane_id: str, params: LookupParams) -> LookupResult: ...

    async def quote(self, lane_id: str, params: QuoteParams) -> QuoteResult:
        """Returns once the quote is durable."""

    async def commit(self, lane_id: str, params: CommitParams) -> CommitResult:
        """Returns once the sale is durable; the same sale again gets the stored answer."""

    def status(self, lane_id: str, params: StatusParams) -> StatusResult: ...


@dataclass(frozen=True, slots=True)
class LaneSocket:
    """One lane of the configuration. `allowed_uids` None leaves it to the file's mode and group."""

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

    __slots__ = ("_desk", "_lane_id", "_on_hello", "_peer", "_said_hello")

    methods = LANE_METHODS

    def __init__(self, desk: LaneDesk, lane_id: str, peer: Peer, on_hello: Callable[[ClientInfo], None]) -> None:
        self._desk = desk
        self._lane_id = lane_id
        self._peer = peer
        self._on_hello = on_hello
        self._said_hello = False

    def call(self, request: Request) -> object:
        """The result, or a coroutine of it. Raises RpcError."""
        if request.method == Method.HELLO:
            return self._hello(read_params(request.params, HelloParams))
        if not self._said_hello:
            raise RpcError(ErrorCode.HELLO_REQUIRED, "hello comes first on each connection")
        if not self._desk.ready():
            raise RpcError(ErrorCode.NOT_READY)
        match request.method:
            case Method.LOOKUP:
                return self._desk.lookup(self._lane_id, read_params(request.params, LookupParams))
            case Method.QUOTE:
                return self._desk.quote(self._lane_id, read_params(request.params, QuoteParams))
            case Method.COMMIT:
                return self._desk.commit(self._lane_id, read_params(request.params, CommitParams))
            case Method.STATUS:
                return self._desk.status(self._lane_id, read_params(request.params, StatusParams))
            case _:
                raise RpcError(ErrorCode.UNKNOWN_METHOD)

    def _hello(self, params: HelloParams) -> HelloResult:
        if params.lane != self._lane_id:
            raise RpcError(ErrorCode.LANE_MISMATCH, f"this socket belongs to lane {self._lane_id}, not {params.lane}")
        self._said_hello = True
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


class LaneServer:
    """All lane sockets of the store. They share one desk and, with the control socket, one connection limiter."""

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
    ) -> None:
        self._servers = [
            RpcServer(
                lane.lane_id,
                lane.path,
                lambda peer, lane_id=lane.lane_id: LaneSession(desk, lane_id, peer, on_hello),  # type: ignore[misc]
                limiter=limiter,
                hooks=hooks,
                clock=clock,
                limits=limits,
                allowed_uids=lane.allowed_uids,
                group_id=lane.group_id,
                call_later=call_later,
            )
            for lane in lanes
        ]

    @property
    def connections(self) -> dict[str, int]:
        """Open connections by lane."""
        return {server.name: server.connections for server in self._servers}

    async def start(self) -> None:
        """Listen on every lane, or on none: raises ListenError with what was opened closed again."""
        opened: list[RpcServer] = []
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
