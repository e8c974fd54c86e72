"""The lanes' counterpart: prices from the view, quotes through the store; what else a lane may do is in the parts it is made of.

Implements `edge.pos.LaneDesk`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from fractions import Fraction
from functools import partial

from drivers.base import Clock
from edge import __version__, pricing
from edge.change_windows import ChangesNow
from edge.clock import local_time
from edge.codes import Codes, Goods
from edge.desk_facts import Conflicts, DeskCounters, Stamps, StoreFacts, changes_now
from edge.model import EVERYBODY, Curve, InForce, Item, ItemId, PriceKind, Quote
from edge.model import QuoteLine as PricedLine
from edge.pos import Call, StoreHello
from edge.price_mirror import LEASE_GUARD_MS, LEASE_MS, Mirrored, PriceMirror
from edge.pricing import Bound, Charge
from edge.ready_lookups import ReadyLookups
from edge.returns import Returns
from edge.sales import Prices, Sales
from edge.stock_desk import StockDesk
from edge.store.journal import get_meta, set_meta
from edge.store.rows import Db
from edge.store.store import Store
from edge.view import Delta
from protocols.hq import uuid7
from protocols.pos import (
    AMOUNT_MINOR_MAX,
    QUANTITY_MAX,
    CommitParams,
    CommitResult,
    ErrorCode,
    Guard,
    LookupParams,
    LookupResult,
    Method,
    PriceView,
    QuotedLine,
    QuoteLine,
    QuoteParams,
    QuoteResult,
    RpcError,
    StatusParams,
    StatusResult,
)
from protocols.pos_prices import MirroredPrice, PricesParams, PricesResult
from protocols.pos_returns import ReturnParams, VoidParams
from protocols.pos_stock import ArrivedParams, CollectParams, FlashParams, HoldsParams, ReleaseParams, StockParams

__all__ = ["Desk", "DeskCounters", "StoreFacts"]

MIRROR_USED = "price_mirror_used"  # meta: some till was handed a table, so one may be live at the next start


class Desk:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store, clock: Clock, facts: StoreFacts, entropy: Callable[[int], bytes], heard_ms: Callable[[], int]) -> None:
        """`heard_ms`: the clock's `now_ms` when HQ was last heard (or the daemon began)."""
        self._store = store
        self._view = store.view
        self._clock = clock
        self._facts = facts
        self._entropy = entropy
        self._stamps = Stamps(store.view, clock, heard_ms)
        self._codes = Codes(store.view, clock, facts.scan, facts.zone, facts.currency, facts.exponent)
        conflicts = Conflicts(store)
        targets = partial(self._targets, member=False)
        prices = Prices(targets, self.charge, self._lawful_minor, self._packed_minor, _deposit_minor)
        self.counters = DeskCounters()
        self.sales = Sales(store, clock, facts, self._stamps, conflicts, self._find, prices, self.counters)
        self.returns = Returns(store, clock, facts, self._stamps, conflicts, self._find)
        self.stock = StockDesk(store, self._stamps, self._find)
        self._mirror_used = store.read(lambda db: get_meta(db, MIRROR_USED)) is not None
        epoch = uuid7(clock.wall_ms(), entropy(10))
        ago_ms = store.lost_ms_ago  # since when an older copy of the file has been here, which knows of neither tables nor quotes
        tables = self._mirror_used or (ago_ms is not None and ago_ms < LEASE_MS + LEASE_GUARD_MS)
        lost_ms = 0 if ago_ms is None else max(0, facts.quote_valid_ms - ago_ms)
        self.mirror = PriceMirror(store.view, self._stamps, clock.link_ms, epoch, self._mirrored, was_used=tables, quotes_lost_ms=lost_ms)
        self._ready = ReadyLookups(store.view, clock, self._stamps, self._lookup)
        store.listeners.append(self._changed)
        self.calls: Mapping[str, Call] = {
            Method.LOOKUP: Call(LookupParams, self.lookup),
            Method.QUOTE: Call(QuoteParams, self.quote),
            Method.COMMIT: Call(CommitParams, self.commit),
            Method.STATUS: Call(StatusParams, self.status),
            Method.VOID: Call(VoidParams, self.returns.void),
            Method.RETURN: Call(ReturnParams, self.returns.take_back),
            Method.PRICES: Call(PricesParams, self.prices),
            Method.HOLDS: Call(HoldsParams, self.stock.holds),
            Method.ARRIVED: Call(ArrivedParams, self.stock.arrived),
            Method.COLLECT: Call(CollectParams, self.stock.collect),
            Method.RELEASE: Call(ReleaseParams, self.stock.release),
            Method.STOCK: Call(StockParams, self.stock.levels),
            Method.FLASH: Call(FlashParams, self.stock.flash),
        }

    # -- edge.pos.LaneDesk ---------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        return bool(self._view.generation)

    def hello_info(self) -> StoreHello:
        facts = self._facts
        now = self._stamps.now()
        return StoreHello(
            __version__, facts.store_id, facts.currency, facts.exponent, facts.tax_mode, now["revision"], now["as_of"], now["stale_s"]
        )

    def stale_s(self) -> int:
        """Seconds since HQ was last heard."""
        return self._stamps.stale_s()

    def ready_answer(self, line: bytes) -> bytes | None:
        return self._ready.answer(line)

    def lookup(self, lane_id: str, params: LookupParams) -> LookupResult:
        return self._lookup(params)

    def _lookup(self, params: LookupParams) -> LookupResult:
        goods = self._codes.goods(params.code, params.item_id)
        item, scan = goods.item, goods.scan
        in_force = self._priced_row(item, member=params.member)
        quantity = in_force.row.curve.points[0][0]
        charge = self._charge(item.item_id, quantity, member=params.member)
        pack_quantity = _within_a_line(self._units(goods, 1))
        pack_minor = self._charge(item.item_id, pack_quantity, member=params.member).total_minor if goods.pack.own else None
        return LookupResult(
            guard=_guard(charge),
            item_id=item.item_id,
            name=item.name,
            short_name=item.short_name,
            sold_by=item.sold_by,
            price=PriceView(charge.total_minor, quantity, str(item.unit)),
            kind=str(in_force.row.kind),
            pack_quantity=pack_quantity,
            age_limit=item.age_limit or None,
            deposit_minor=item.deposit_minor,
            tax_class=item.tax_class or None,
            total_minor=None if pack_minor is None else goods.at_most(pack_minor, 1),
            lot=scan.lot if scan is not None else None,
            expiry=scan.expiry.isoformat() if scan is not None and scan.expiry is not None else None,
            warnings=goods.warnings,
            **self._stamps.now(),
        )

    async def quote(self, lane_id: str, params: QuoteParams) -> QuoteResult:
        earlier = self._view.quote_of_basket(lane_id, params.basket_id)
        goods = {line.line_id: self._codes.goods(line.code, line.item_id) for line in params.lines}
        lines = self._price_lines(params.lines, goods, earlier, member=params.member)
        stamp_ms = self._clock.wall_ms()
        quote = Quote(
            uuid7(stamp_ms, self._entropy(10)),
            lane_id,
            params.basket_id,
            lines,
            sum(line.total_minor + line.deposit_minor for line in lines),
            self._view.revision,
            self._clock.boot_id,
            self._clock.now_ms(),
            self._facts.quote_valid_ms,
            params.member,
        )
        if quote.total_minor > AMOUNT_MINOR_MAX:
            raise RpcError(ErrorCode.BAD_QUANTITY, f"the basket comes to more than {AMOUNT_MINOR_MAX} minor units")
        as_of = self._stamps.as_of()
        self._view.lease(quote)  # a lease from the moment the price is computed: a cut's picture must not pass it on the way
        await self._store.put_quote(quote, earlier.quote_id if earlier else None)
        self.counters.quotes += 1
        return QuoteResult(
            revision=quote.revision,
            as_of=as_of,
            stale_s=self._stamps.stale_s(),
            guard=_mixed(line.guard for line in lines),
            quote_id=quote.quote_id,
            basket_id=quote.basket_id,
            lines=tuple(self._show(line, goods[line.line_id]) for line in lines),
            total_minor=quote.total_minor,
            currency=self._facts.currency,
            valid_s=quote.valid_ms // 1000,
        )

    async def commit(self, lane_id: str, params: CommitParams) -> CommitResult:
        return await self.sales.commit(lane_id, params)

    def status(self, lane_id: str, params: StatusParams) -> StatusResult:
        return self.sales.status(lane_id, params)

    async def prices(self, lane_id: str, params: PricesParams) -> PricesResult:
        """A page of the price mirror. That there are mirrors is on disk before the first table is handed out."""
        if not self._mirror_used:
            await self._store.run(_note_mirror, urgent=True)
            self._mirror_used = True
        return self.mirror.page(lane_id, params)

    # -- pricing -------------------------------------------------------------------------------------------------------

    def store_open(self) -> bool:
        """Whether shoppers may be in the store. A clock that nobody vouches for says open: the safe side for the dwell."""
        if not self._clock.wall_trusted():
            return True
        return self._facts.opening_hours.is_open(local_time(self._clock.wall_ms(), self._facts.zone))

    def changes_now(self) -> ChangesNow | None:
        """When prices may rise, as of now; None: whenever they are due."""
        return changes_now(self._clock, self._facts, store_open=self.store_open())

    def charge(self, item_id: ItemId, quantity: int, *, member: bool = False) -> Charge:
        """What the public, or a member, pays now for `quantity` of an item that has a price. Raises ValueError where it has none."""
        return self._charge(item_id, quantity, member=member)

    def _charge(self, item_id: ItemId, quantity: int, *, member: bool, extra: tuple[Curve, ...] = ()) -> Charge:
        bounds = self._bounds(item_id, member=member, store_open=self.store_open())
        return pricing.charge(quantity, (*self._targets(item_id, member=member), *extra), bounds)

    def _bounds(self, item_id: ItemId, *, member: bool, store_open: bool) -> Iterable[Bound]:
        return pricing.bounds(
            item_id,
            self._view.may_of_item(item_id),
            now_ms=self._clock.now_ms(),
            boot_id=self._clock.boot_id,
            store_open=store_open,
            member=member,
        )

    def _targets(self, item_id: ItemId, *, member: bool) -> tuple[Curve, ...]:
        """The price in force and, if the clock asks for another one already, that too: cuts bind now, rises when put in force."""
        in_force = self._view.in_force.get(item_id)
        if in_force is None:
            return ()
        rows = self._view.rows.get(item_id, ())
        latched_ms = max(self._clock.wall_ms(), in_force.latched_through_ms)
        due = pricing.target(rows, latched_ms)
        curves = [in_force.row.curve] if due is None else [in_force.row.curve, due.curve]
        own = pricing.target(rows, latched_ms, member=True) if member else None
        return (*curves, own.curve) if own is not None else tuple(curves)

    def _find(self, code: str | None, item_id: str | None, *, removed: bool = False) -> tuple[Item, int]:
        """The item and how many pieces the code stands for; `removed`: also one that has left the catalogue. Raises RpcError."""
        goods = self._codes.goods(code, item_id, removed=removed)
        return goods.item, self._units(goods, 1)

    def _units(self, goods: Goods, quantity: int) -> int:
        """How many units `quantity` scans sell; a pack with a price alone weighs what the public's price of now makes of it."""
        targets = self._targets(goods.item.item_id, member=False)
        return goods.units(quantity, targets[-1] if targets else None)

    def _priced_row(self, item: Item, *, member: bool) -> InForce:
        in_force = self._view.in_force.get(item.item_id)
        if in_force is None:
            raise RpcError(ErrorCode.NO_PRICE, f"item {item.item_id} has no price in force")
        if member:
            own = pricing.target(
                self._view.rows.get(item.item_id, ()), max(self._clock.wall_ms(), in_force.latched_through_ms), member=True
            )
            return InForce(own, in_force.latched_through_ms) if own is not None else in_force
        return in_force

    def _price_lines(
        self, lines: Iterable[QuoteLine], goods: Mapping[str, Goods], earlier: Quote | None, *, member: bool
    ) -> tuple[PricedLine, ...]:
        """Price a basket: each line at most its earlier quote's price and at most what its packs say, several lines of one item also as
        one bundle."""
        before = {line.line_id: line for line in earlier.lines} if earlier else {}
        priced: list[PricedLine] = []
        for line in lines:
            pack = goods[line.line_id]
            item = pack.item
            self._priced_row(item, member=member)
            scans = self._codes.scans(pack, line.quantity)
            units = _within_a_line(self._units(pack, scans))
            was = before.get(line.line_id)
            extra = (was.curve,) if was is not None and was.item_id == item.item_id else ()
            charge = self._charge(item.item_id, units, member=member, extra=extra)
            total_minor = pack.at_most(charge.total_minor, scans)
            guard = charge.guard if total_minor == charge.total_minor else None  # the pack's own price is no hold
            by_price = scans if pack.pack.units is None else 0
            again = was is not None and was.code == (line.code or "") and was.scans == by_price > 0
            if was is not None and extra and (was.quantity == units or again):
                total_minor = min(total_minor, was.total_minor)
            target_minor = min(curve.cost_minor(units) for curve in self._targets(item.item_id, member=member))
            priced.append(
                PricedLine(
                    line.line_id,
                    item.item_id,
                    line.code or "",
                    item.name,
                    units,
                    str(item.unit),
                    total_minor,
                    target_minor,
                    charge.curve,
                    guard,
                    by_price,
                    _deposit_minor(item, units),
                )
            )
        return self._bundled(priced, member=member)

    def _bundled(self, lines: list[PricedLine], *, member: bool) -> tuple[PricedLine, ...]:
        groups: dict[ItemId, list[PricedLine]] = {}
        for line in lines:
            groups.setdefault(line.item_id, []).append(line)
        totals: dict[str, int] = {}
        for item_id, group in groups.items():
            if len(group) < 2:
                continue
            together = self._charge(item_id, sum(line.quantity for line in group), member=member)
            if together.total_minor < sum(line.total_minor for line in group):
                apart = {line.line_id: (line.quantity, line.total_minor) for line in group}
                totals |= pricing.share_bundle(apart, together.total_minor)
        return tuple(replace(line, total_minor=totals.get(line.line_id, line.total_minor)) for line in lines)

    # -- mirrors -------------------------------------------------------------------------------------------------------

    def _mirrored(self, item_id: ItemId) -> Mirrored:
        """An item's price for a till's own table. The dwell counts as if the store were open: a table outlives the opening."""
        item = self._view.items.get(item_id)
        if item is None or item.removed or item_id not in self._view.in_force:
            return Mirrored()
        targets = self._targets(item_id, member=False)
        bounds = tuple(self._bounds(item_id, member=True, store_open=True))
        everybody = tuple(bound for bound in bounds if bound.audience == EVERYBODY)
        public = _least((*targets, *(bound.curve for bound in everybody)))
        guard = _guard(pricing.charge(public[0].points[0][0], targets, everybody)) if everybody else None
        members: tuple[Curve, ...] = ()
        if len(bounds) > len(everybody) or any(row.kind is PriceKind.MEMBER for row in self._view.rows.get(item_id, ())):
            all_of_them = _least((*self._targets(item_id, member=True), *(bound.curve for bound in bounds)))
            members = tuple(curve for curve in all_of_them if curve not in public)
        price = MirroredPrice(
            item_id=item_id,
            unit=str(item.unit),
            curves=tuple(curve.points for curve in public),
            member_curves=tuple(curve.points for curve in members),
            deposit_minor=item.deposit_minor,
            guard=guard,
        )
        return Mirrored(public, members, price)

    def _lawful_minor(self, lane_id: str, item_id: ItemId, quantity: int) -> int:
        return max(self.charge(item_id, quantity).total_minor, self.mirror.most_minor(lane_id, item_id, quantity))

    def _packed_minor(self, item_id: ItemId, quantity: int, code: str, scans: int) -> int | None:
        """What the packs of a sold line say they cost; None where they say nothing, or the code is no longer the item's."""
        if not code:
            return None
        try:
            goods = self._codes.goods(code, None, removed=True)
        except RpcError:
            return None
        if goods.item.item_id != item_id or goods.pack.price_minor is None:
            return None
        return goods.pack.price_minor * (scans or quantity // (goods.pack.units or 1))

    def _changed(self, delta: Delta) -> None:
        self.mirror.changed(self._view.repriced)
        self._ready.changed((*self._view.repriced, *delta.recalls), delta.barcodes)

    # -- answers -------------------------------------------------------------------------------------------------------

    def _show(self, line: PricedLine, goods: Goods) -> QuotedLine:
        quantity = line.curve.points[0][0]
        item = self._view.items.get(line.item_id)
        return QuotedLine(
            line_id=line.line_id,
            item_id=line.item_id,
            name=line.name,
            quantity=line.quantity,
            total_minor=line.total_minor,
            price=PriceView(line.curve.cost_minor(quantity), quantity, line.unit),
            guard=Guard(line.guard) if line.guard else None,
            deposit_minor=line.deposit_minor,
            age_limit=(item.age_limit or None) if item else None,
            warnings=goods.warnings,
        )


def _least(curves: Iterable[Curve]) -> tuple[Curve, ...]:
    """Curves whose least is the least of all of them, for any quantity: of the plain ones only the cheapest."""
    each_once = dict.fromkeys(curves)
    if len(each_once) == 1:
        return tuple(each_once)
    plain = [curve for curve in each_once if len(curve.points) == 1]
    least = min(plain, key=lambda curve: Fraction(curve.points[0][1], curve.points[0][0]), default=None)
    return tuple(curve for curve in each_once if curve is least or len(curve.points) > 1)


def _note_mirror(db: Db) -> tuple[None, Delta]:
    set_meta(db, MIRROR_USED, "1")
    return None, Delta()


def _within_a_line(units: int) -> int:
    """Raises RpcError for more than a line may sell: a code that says so is damaged, or somebody made it up."""
    if units > QUANTITY_MAX:
        raise RpcError(ErrorCode.BAD_QUANTITY, f"the code stands for {units} units, a line has at most {QUANTITY_MAX}")
    return units


def _deposit_minor(item: Item, quantity: int) -> int:
    return item.deposit_minor * quantity if item.sold_by == "each" else 0


def _guard(charge: Charge) -> Guard | None:
    return Guard(charge.guard) if charge.guard else None


def _mixed(guards: Iterable[str | None]) -> Guard | None:
    found = set(guards)
    if found <= {None}:
        return None
    if len(found) == 1:
        return Guard(next(iter(found)) or "mixed")
    return Guard.MIXED
