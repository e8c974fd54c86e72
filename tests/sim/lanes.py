"""Tills: they quote, charge, and say what was sold again and again until they are answered; one keeps a price table of its own.

A till stores an id and its body before it first sends them. What it was told is the customer's: judged against the shelf for as long as it
may be charged.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from edge.model import Curve, ItemId
from protocols.pos import CommitLine, CommitParams, ErrorCode, LookupParams, QuoteLine, QuoteParams, RpcError, StatusParams, Tender
from protocols.pos_prices import PricesParams
from protocols.pos_returns import ReturnLine, ReturnParams, VoidParams
from protocols.pos_stock import ArrivedParams, CollectParams, HoldsParams, ReleaseParams
from tests.sim.headquarters import ITEMS
from tests.sim.process import QUOTE_MS

if TYPE_CHECKING:
    from tests.sim.world import World

QUANTITIES = (1, 2, 3)
PAGE = 2  # of the price table, so that a page ends before the table does


@dataclass(slots=True)
class Told:
    """Amounts that a till may charge until a moment: a quote, or a row of its price table."""

    until_ms: int
    lines: list[tuple[ItemId, int, int]]  # item, quantity, total
    member: bool
    quote_id: str = ""
    basket_id: str = ""


@dataclass(slots=True)
class Slip:
    """What a till keeps until the store has it, and afterwards to show it again."""

    kind: str  # sale | void | return
    params: Any
    lines: list[tuple[ItemId, int, int]] = field(default_factory=list)
    answer: Any = None
    refused: str = ""

    @property
    def id(self) -> str:
        return str(getattr(self.params, f"{self.kind}_id"))


class Lane:
    """One till. What it calls runs as a task of the daemon; an answer that never comes is asked for again."""

    def __init__(self, world: World, name: str, *, has_table: bool) -> None:
        self.name = name
        self.has_table = has_table
        self.told: list[Told] = []
        self.slips: list[Slip] = []
        self.busy = False
        self._world = world
        self._count = 0
        self._basket = 0
        self._table: dict[ItemId, tuple[list[Curve], list[Curve]]] = {}
        self._staging: dict[ItemId, tuple[list[Curve], list[Curve]]] = {}
        self._place: tuple[str, int] = ("", 0)
        self._cursor: str | None = None
        self.table_until_ms = 0

    def forget_call(self) -> None:
        """The daemon is gone: what was asked is not answered."""
        self.busy = False
        self._cursor = None

    # -- what a cashier does

    def act(self) -> bool:
        """One thing, if there is one to do."""
        dice = self._world.dice
        unsent = [slip for slip in self.slips if slip.answer is None and not slip.refused]
        roll = dice.random()
        if unsent and roll < 0.4:
            return self.send(self._first(unsent))
        if roll < 0.45:
            return self._lookup()
        if self.has_table and roll < 0.7:
            return self._next_page()
        if roll < 0.75:
            return self._quote()
        if roll < 0.88:
            return self._sell()
        if roll < 0.91:
            return bool(self.slips) and self.send(dice.choice(self.slips))
        if roll < 0.94:
            return self._take_back()
        if roll < 0.95:
            return self._send_with_another_body()
        return self._goods_kept()

    def _first(self, unsent: list[Slip]) -> Slip:
        """Voids and returns wait for their sale."""
        sales = [slip for slip in unsent if slip.kind == "sale"]
        return self._world.dice.choice(sales or unsent)

    def _call(
        self, work: Callable[[], Coroutine[Any, Any, Any]], use: Callable[[Any], None], fail: Callable[[RpcError], None] | None = None
    ) -> bool:
        self.busy = True

        async def call() -> None:
            try:
                answer = await work()
            except RpcError as error:
                self.busy = False
                if fail is None:
                    raise AssertionError(f"{self.name} is refused: {error.detail or error}") from None
                fail(error)
                return
            self.busy = False
            use(answer)

        self._world.process.start(call()).add_done_callback(self._world.call_ended)
        return True

    def _lookup(self) -> bool:
        world = self._world
        sku, member = world.dice.choice(ITEMS), world.dice.random() < 0.3
        found = world.process.desk.lookup(self.name, LookupParams(item_id=sku, member=member))
        price = found.price
        world.note(self.name, "%s costs %s for %s%s", sku, price.amount_minor, price.price_quantity, ", to members" if member else "")
        world.judge.asked(ItemId(sku), price.price_quantity, price.amount_minor, member=member)
        return True

    def _quote(self) -> bool:
        world = self._world
        if self._basket == 0 or world.dice.random() < 0.7:
            self._count += 1
            self._basket = self._count
        member = world.dice.random() < 0.3
        count = world.dice.randint(1, 2)
        lines = tuple(QuoteLine(str(n), world.dice.choice(QUANTITIES), None, sku) for n, sku in enumerate(world.dice.sample(ITEMS, count)))
        params = QuoteParams(f"{self.name}-b{self._basket}", lines, member)
        asked_ms = world.clock.link
        self.told = [told for told in self.told if told.basket_id != params.basket_id]  # it is another basket from now on

        def use(answer: Any) -> None:
            told = [(ItemId(line.item_id), line.quantity, line.total_minor) for line in answer.lines]
            self.told.append(Told(asked_ms + QUOTE_MS, told, member, answer.quote_id, params.basket_id))
            world.note(self.name, "is told %s%s", told, " for a member" if member else "")
            world.judge.charges_changed = True

        return self._call(partial(world.process.desk.quote, self.name, params), use)

    def _sell(self) -> bool:
        """A customer pays what was told; from the till's own table where it has one that still holds. The sale is complete then."""
        world = self._world
        live = [told for told in self.told if told.quote_id and told.until_ms > world.clock.link]
        self._count += 1
        sale_id = f"{self.name}-s{self._count}"
        if self.has_table and self.table_until_ms > world.clock.link and world.dice.random() < 0.6:
            rows = self._from_table()
            if not rows:
                return False
            lines = tuple(CommitLine(str(n), count, total, None, sku) for n, (sku, count, total) in enumerate(rows))
            params = CommitParams(sale_id, (Tender("cash", sum(row[2] for row in rows)),), None, lines)
        elif live:
            told = world.dice.choice(live)
            self.told.remove(told)
            rows = told.lines
            params = CommitParams(sale_id, (Tender("cash", sum(row[2] for row in rows)),), told.quote_id)
        else:
            return False
        if world.dice.random() < 0.2:
            kept = [hold.hold_id for hold in world.process.store.view.holds.values()]
            params = msgspec.structs.replace(params, holds=tuple(kept[:1]))
        slip = Slip("sale", params, rows)
        self.slips.append(slip)
        world.note(self.name, "sells %s as %s", rows, sale_id)
        return self.send(slip)

    def _take_back(self) -> bool:
        """A void or a return of a sale that the store has."""
        world = self._world
        sold = [slip for slip in self.slips if slip.kind == "sale" and slip.answer is not None]
        if not sold:
            return False
        sale = world.dice.choice(sold)
        self._count += 1
        if world.dice.random() < 0.4:
            slip = Slip("void", VoidParams(f"{self.name}-v{self._count}", sale.params.sale_id))
        else:
            line = ReturnLine("0", world.dice.choice((1, 1, 2)), "0")
            slip = Slip("return", ReturnParams(f"{self.name}-r{self._count}", (line,), (), sale.params.sale_id))
        self.slips.append(slip)
        world.note(self.name, "%s of %s", slip.kind, sale.params.sale_id)
        return self.send(slip)

    def _send_with_another_body(self) -> bool:
        """A till whose numbering is broken: the store must refuse it."""
        world = self._world
        known = [slip for slip in self.slips if slip.kind == "sale" and slip.answer is not None]
        if not known:
            return False
        slip = world.dice.choice(known)
        other = msgspec.structs.replace(slip.params, tenders=(Tender("cash", 1), *slip.params.tenders))

        def use(answer: Any) -> None:
            raise AssertionError(f"S2: {slip.id} was taken with another body")

        def fail(error: RpcError) -> None:
            assert error.code == ErrorCode.ID_CONFLICT, f"S2: {slip.id} with another body: {error}"

        world.note(self.name, "sends %s with another body", slip.id)
        return self._call(partial(world.process.desk.commit, self.name, other), use, fail)

    def _goods_kept(self) -> bool:
        """The pick list, and what becomes of what is on it."""
        world, stock = self._world, self._world.process.desk.stock
        kept = stock.holds(self.name, HoldsParams()).holds
        if not kept:
            return False
        hold = world.dice.choice(kept)
        what = world.dice.choice(("arrived", "collect", "release"))
        world.note(self.name, "%s %s", what, hold.hold_id)
        if what == "arrived":
            work: Any = partial(stock.arrived, self.name, ArrivedParams(hold_id=hold.hold_id))
        elif what == "collect":
            work = partial(stock.collect, self.name, CollectParams(hold.hold_id))
        else:
            work = partial(stock.release, self.name, ReleaseParams(hold.hold_id))
        return self._call(work, lambda answer: None, lambda error: None)  # it may just be over

    # -- saying it until it is heard

    def send(self, slip: Slip) -> bool:
        world, desk = self._world, self._world.process.desk
        params, lives = slip.params, world.lives
        if slip.kind == "sale":
            if slip.answer is None and world.dice.random() < 0.3:
                params = msgspec.structs.replace(params, offline=True, made_at=datetime.fromtimestamp(world.clock.wall / 1000, UTC))
            work: Any = partial(desk.commit, self.name, params)
        elif slip.kind == "void":
            work = partial(desk.returns.void, self.name, params)
        else:
            work = partial(desk.returns.take_back, self.name, params)

        def use(answer: Any) -> None:
            if world.lives != lives:
                return
            told = (answer.up_seq, answer.flags, getattr(answer, "refund_due_minor", getattr(answer, "refund_minor", 0)))
            assert slip.answer in (None, told), f"S2: {slip.id} was answered {slip.answer}, now {told}"
            slip.answer = told
            world.note(self.name, "%s is recorded as event %s", slip.id, answer.up_seq)
            world.judge.recorded(slip)

        def fail(error: RpcError) -> None:
            if error.code == ErrorCode.UNKNOWN_QUOTE and world.lives:  # a store that was restored
                lines = tuple(CommitLine(str(n), count, total, None, sku) for n, (sku, count, total) in enumerate(slip.lines))
                slip.params = msgspec.structs.replace(slip.params, lines=lines)
                return
            assert slip.kind != "sale", f"L3: the completed sale {slip.id} is refused: {error.detail or error}"
            assert slip.answer is None, f"S2: {slip.id} was recorded, now it is refused: {error.detail or error}"
            slip.refused = str(error)
            world.note(self.name, "%s is refused: %s", slip.id, error.detail or error)

        return self._call(work, use, fail)

    def status(self, slip: Slip) -> str:
        return str(self._world.process.desk.sales.status(self.name, StatusParams(slip.id)).state)

    # -- a table of its own

    def _next_page(self) -> bool:
        """Ask for what changed. Only the whole table, from the moment at which its last page was asked for, may be charged from."""
        world = self._world
        epoch, revision = self._place
        asked_ms = world.clock.link
        if self._cursor is None:
            self._staging = dict(self._table)

        def use(answer: Any) -> None:
            if answer.full and self._cursor is None:
                self._staging = {}
            for row in answer.prices:
                curves = [Curve(points) for points in row.curves], [Curve(points) for points in row.member_curves]
                self._staging[ItemId(row.item_id)] = ([], []) if row.removed else curves
            self._cursor = answer.cursor
            if answer.cursor is None:
                self._table, self._place = self._staging, (answer.epoch, answer.revision)
                self.table_until_ms = asked_ms + answer.lease_s * 1000
                world.note(self.name, "has the prices of revision %s until %s", answer.revision, self.table_until_ms)
                self.told = [told for told in self.told if told.quote_id]
                for member in (False, True):
                    rows = [(sku, count, self._cost(sku, count, member)) for sku in self._table for count in QUANTITIES]
                    self.told.append(Told(self.table_until_ms, [row for row in rows if row[2] >= 0], member))
                world.judge.charges_changed = True

        def fail(error: RpcError) -> None:
            self._cursor = None

        return self._call(partial(world.process.desk.prices, self.name, PricesParams(revision, epoch, self._cursor, PAGE)), use, fail)

    def _cost(self, sku: ItemId, quantity: int, member: bool) -> int:
        """What the table says; -1 where it says nothing."""
        public, members = self._table[sku]
        return min((curve.cost_minor(quantity) for curve in (public + members if member else public)), default=-1)

    def _from_table(self) -> list[tuple[ItemId, int, int]]:
        if not self._table:
            return []
        sku, quantity = self._world.dice.choice(list(self._table)), self._world.dice.choice(QUANTITIES)
        total_minor = self._cost(sku, quantity, False)
        return [] if total_minor < 0 else [(sku, quantity, total_minor)]
