"""Tills that keep a price table of their own: what they were handed, and for how long they may charge from it.

A table is good for one lease from its last page. What follows for the shelf: a picture that promises less than a table still says must
not leave before that table has lapsed. Tables are handed out whole, so no till's table is kept here: for each item it is enough to know
what was handed out last and what was handed out before, until every table that could hold it has lapsed.

Leases are counted on the machine's real clock (`link_ms`), since tills are machines of their own. They are not written down: after a
start, every table that the daemon before it may have handed out is taken to be live for one whole lease.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from edge.desk_facts import Stamps
from edge.model import Curve, ItemId
from edge.view import View
from protocols.jsonrpc import ErrorCode, RpcError
from protocols.pos_prices import MIRROR_LEASE_S, MirroredPrice, PricesParams, PricesResult

LEASE_MS: Final = MIRROR_LEASE_S * 1000
LEASE_GUARD_MS: Final = 1_000  # clocks of two machines differ in pace by far less over one lease
RUNS_MAX: Final = 64  # tills that page at once: as many as there can be connections

Curves = tuple[Curve, ...]
Table = tuple[Curves, Curves]  # what one table says of an item: to everybody, and what members get besides


@dataclass(frozen=True, slots=True)
class Mirrored:
    """An item's guarded price as a table holds it: a quantity costs the least that any curve gives, a member's also by `member_curves`.
    None of them: not for sale."""

    curves: Curves = ()
    member_curves: Curves = ()
    price: MirroredPrice | None = None


@dataclass(slots=True)
class _Run:
    """One till's way through the pages. `through`: changes up to this revision are among the items."""

    number: int
    items: list[ItemId]
    through: int
    full: bool


def no_tables(offers: Iterable[tuple[ItemId, Curve]], *, member: bool) -> bool:
    """Where no till keeps a table."""
    return False


class TableAbove(Protocol):
    """Whether a till's own table may still charge more than these offers: see `PriceMirror.blocks`."""

    def __call__(self, offers: Iterable[tuple[ItemId, Curve]], *, member: bool) -> bool: ...


class PriceMirror:
    """One per store; used from the event loop's thread only. Costs nothing before a till first asks."""

    def __init__(
        self,
        view: View,
        stamps: Stamps,
        now_ms: Callable[[], int],
        epoch: str,
        mirrored: Callable[[ItemId], Mirrored],
        *,
        was_used: bool,
        quotes_lost_ms: int = 0,
    ) -> None:
        """`now_ms`: real monotonic milliseconds. `epoch` names this run of the daemon: revisions count from its start. `was_used`: a
        daemon before this one may have handed out tables. `quotes_lost_ms`: so long quotes may live that the store's file lost."""
        self._view = view
        self._stamps = stamps
        self._now_ms = now_ms
        self._epoch = epoch
        self._mirrored = mirrored
        self._changes: dict[ItemId, int] | None = None  # item -> revision of its last change, in that order; None: not used yet
        self._since = 0  # changes up to this revision are not known one by one
        self._runs: dict[str, _Run] = {}
        self._run_number = 0
        self._lapses_ms: dict[str, int] = {}  # lane -> when its table lapses
        self._unknown_until_ms = now_ms() + max(LEASE_MS + LEASE_GUARD_MS if was_used else 0, quotes_lost_ms)
        self._handed: dict[ItemId, Table] = {}  # what the newest tables say
        self._older: dict[ItemId, list[tuple[int, Table]]] = {}  # what tables before may still say, with when the last of them lapses

    # -- tables --------------------------------------------------------------------------------------------------------

    def page(self, lane_id: str, params: PricesParams) -> PricesResult:
        """The next page for a till. The last one makes, or renews, its lease. Raises RpcError for a cursor that is not its own."""
        self._begin()
        run, start = self._resume(lane_id, params.cursor) if params.cursor is not None else (self._start(lane_id, params), 0)
        prices: list[MirroredPrice] = []
        position = start
        while len(prices) < params.limit:
            if position == len(run.items):
                more = self._changed_after(run.through)
                run.through = self._view.revision
                if not more:
                    break
                run.items += more
            page = run.items[position : position + params.limit - len(prices)]
            prices += [self._hand(item_id) for item_id in page]
            position += len(page)
        is_last = position == len(run.items) and run.through == self._view.revision
        if is_last:
            self._lapses_ms[lane_id] = self._now_ms() + LEASE_MS + LEASE_GUARD_MS
        return PricesResult(
            epoch=self._epoch,
            full=run.full,
            prices=tuple(prices),
            cursor=None if is_last else f"{run.number}.{position}",
            lease_s=MIRROR_LEASE_S if is_last else 0,
            **self._stamps.now(),
        )

    def _begin(self) -> None:
        if self._changes is None:
            self._changes, self._since = {}, self._view.revision

    def _start(self, lane_id: str, params: PricesParams) -> _Run:
        if lane_id not in self._runs and len(self._runs) >= RUNS_MAX:
            raise RpcError(ErrorCode.BUSY, f"{RUNS_MAX} tills read prices at once")
        full = params.epoch != self._epoch or not self._since <= params.revision <= self._view.revision
        items = list(self._view.in_force) if full else self._changed_after(params.revision)
        self._run_number += 1
        run = self._runs[lane_id] = _Run(self._run_number, items, self._view.revision, full)
        return run

    def _resume(self, lane_id: str, cursor: str) -> tuple[_Run, int]:
        run = self._runs.get(lane_id)
        number, _, position = cursor.partition(".")
        if run is None or number != str(run.number) or not (position.isascii() and position.isdigit()) or int(position) > len(run.items):
            raise RpcError(ErrorCode.NOT_FOUND, f"cursor {cursor} is not known any more: ask again without one")
        return run, int(position)

    def _hand(self, item_id: ItemId) -> MirroredPrice:
        """An item's price as of now; what the tables before it say is remembered as long as one of them lives."""
        mirrored = self._mirrored(item_id)
        self._replace(item_id, (mirrored.curves, mirrored.member_curves))
        return mirrored.price or MirroredPrice(item_id=item_id, removed=True)

    def _changed_after(self, revision: int) -> list[ItemId]:
        assert self._changes is not None
        newest_first: list[ItemId] = []
        for item_id in reversed(self._changes):
            if self._changes[item_id] <= revision:
                break
            newest_first.append(item_id)
        return newest_first[::-1]

    # -- leases --------------------------------------------------------------------------------------------------------

    def changed(self, item_ids: Iterable[ItemId]) -> None:
        """The prices of these items may be others now."""
        if self._changes is None:
            return
        revision = self._view.revision
        for item_id in item_ids:
            self._changes.pop(item_id, None)
            self._changes[item_id] = revision
            self._replace(item_id, None)

    def _replace(self, item_id: ItemId, table: Table | None) -> None:
        old = self._handed.pop(item_id, None)
        lapse_ms = max(self._lapses_ms.values(), default=0)
        if old is not None and old != table and lapse_ms > self._now_ms():
            older = [entry for entry in self._live_older(item_id) if entry[1] != old]
            self._older[item_id] = [*older, (lapse_ms, old)]
        if table is not None:
            self._handed[item_id] = table

    def blocks(self, offers: Iterable[tuple[ItemId, Curve]], *, member: bool) -> bool:
        """Whether a table may still charge more for an item than a picture about to be sent would promise: to everybody, or to a
        `member`. Such a picture waits."""
        now_ms = self._now_ms()
        if now_ms < self._unknown_until_ms:
            return any(True for _ in offers)
        return any(_is_above(table, curve, member) for item_id, curve in offers for table in self._tables(item_id, now_ms))

    def most_minor(self, lane_id: str, item_id: ItemId, quantity: int) -> int:
        """The most that the lane's table may say for a quantity; 0 where it has none that is live."""
        now_ms = self._now_ms()
        if self._lapses_ms.get(lane_id, 0) <= now_ms:
            return 0
        return max((min(curve.cost_minor(quantity) for curve in public) for public, _ in self._tables(item_id, now_ms)), default=0)

    def _tables(self, item_id: ItemId, now_ms: int) -> Iterable[Table]:
        """Every price that a live table may hold for an item."""
        yield from (table for _, table in self._live_older(item_id) if table[0])
        newest = self._handed.get(item_id)
        if newest is not None and newest[0] and max(self._lapses_ms.values(), default=0) > now_ms:
            yield newest

    def _live_older(self, item_id: ItemId) -> list[tuple[int, Table]]:
        now_ms = self._now_ms()
        live = [entry for entry in self._older.pop(item_id, ()) if entry[0] > now_ms]
        if live:
            self._older[item_id] = live
        return live


def _is_above(table: Table, curve: Curve, member: bool) -> bool:
    """Whether a table charges more than a curve for some quantity: only where each of its curves does, since the least counts."""
    public, members = table
    return all(each.is_above(curve) for each in (public + members if member else public))
