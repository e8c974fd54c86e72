"""The lane's counterpart: prices from the view, quotes and sales through the store. Implements `edge.pos.LaneDesk`."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

from drivers.base import Clock
from edge import __version__, pricing
from edge.clock import local_time
from edge.model import Curve, InForce, Item, ItemId, Quote
from edge.model import QuoteLine as PricedLine
from edge.opening_hours import OpeningHours
from edge.pos import StoreHello
from edge.pricing import Charge
from edge.store.journal import rfc3339
from edge.store.store import Store
from edge.store.till import IdConflict, NewSale, Recorded, SaleLine
from protocols.hq import uuid7
from protocols.pos import (
    AMOUNT_MINOR_MAX,
    CommitLine,
    CommitParams,
    CommitResult,
    ErrorCode,
    Guard,
    LookupParams,
    LookupResult,
    PriceView,
    QuotedLine,
    QuoteLine,
    QuoteParams,
    QuoteResult,
    RpcError,
    StatusParams,
    StatusResult,
    commit_digest,
)

CONFLICTS_MAX: Final = 64  # a till repeats one sale at a time; an id that is told of twice does no harm


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the desk tells of the store and judges by."""

    store_id: str
    currency: str
    exponent: int
    tax_mode: str
    zone: ZoneInfo
    opening_hours: OpeningHours
    business_day_starts_minute: int
    quote_valid_ms: int


@dataclass(slots=True)
class DeskCounters:
    """For metrics: sums since start."""

    quotes: int = 0
    sales: int = 0
    sales_repeated: int = 0
    given_away_minor: int = 0  # what the guard took off the target price in recorded sales


@dataclass(frozen=True, slots=True)
class _Priced:
    item: Item
    in_force: InForce
    units: int
    charge: Charge


class Desk:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store, clock: Clock, facts: StoreFacts, entropy: Callable[[int], bytes], heard_ms: Callable[[], int]) -> None:
        """`heard_ms`: the clock's `now_ms` when HQ was last heard (or the daemon began)."""
        self.counters = DeskCounters()
        self._store = store
        self._view = store.view
        self._clock = clock
        self._facts = facts
        self._entropy = entropy
        self._heard_ms = heard_ms
        self._conflicts: deque[str] = deque(maxlen=CONFLICTS_MAX)  # sale ids that HQ was told about

    # -- edge.pos.LaneDesk ---------------------------------------------------------------------------------------------

    def ready(self) -> bool:
        return bool(self._view.generation)

    def hello_info(self) -> StoreHello:
        facts = self._facts
        return StoreHello(
            __version__, facts.store_id, facts.currency, facts.exponent, facts.tax_mode, self._view.revision, self._as_of(), self._stale_s()
        )

    def lookup(self, lane_id: str, params: LookupParams) -> LookupResult:
        item, pack_quantity = self._find(params.code, params.item_id)
        in_force = self._priced_row(item, member=params.member)
        quantity = in_force.row.curve.points[0][0]
        charge = self._charge(item.item_id, quantity, member=params.member)
        return LookupResult(
            revision=self._view.revision,
            as_of=self._as_of(),
            stale_s=self._stale_s(),
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
        )

    async def quote(self, lane_id: str, params: QuoteParams) -> QuoteResult:
        earlier = self._view.quote_of_basket(lane_id, params.basket_id)
        lines = self._price_lines(params.lines, earlier, member=params.member)
        stamp_ms = self._clock.wall_ms()
        quote = Quote(
            uuid7(stamp_ms, self._entropy(10)),
            lane_id,
            params.basket_id,
            lines,
            sum(line.total_minor + self._deposit(line) for line in lines),
            self._view.revision,
            self._clock.boot_id,
            self._clock.now_ms(),
            self._facts.quote_valid_ms,
            params.member,
        )
        if quote.total_minor > AMOUNT_MINOR_MAX:
            raise RpcError(ErrorCode.BAD_QUANTITY, f"the basket comes to more than {AMOUNT_MINOR_MAX} minor units")
        as_of = self._as_of()
        self._view.lease(quote)  # a lease from the moment the price is computed: a cut's picture must not pass it on the way
        await self._store.put_quote(quote, earlier.quote_id if earlier else None)
        self.counters.quotes += 1
        return QuoteResult(
            revision=quote.revision,
            as_of=as_of,
            stale_s=self._stale_s(),
            guard=_mixed(line.guard for line in lines),
            quote_id=quote.quote_id,
            basket_id=quote.basket_id,
            lines=tuple(self._show(line) for line in lines),
            total_minor=quote.total_minor,
            currency=self._facts.currency,
            valid_s=quote.valid_ms // 1000,
        )

    async def commit(self, lane_id: str, params: CommitParams) -> CommitResult:
        digest = commit_digest(params)
        known = self._store.find_sale(params.sale_id)
        if known is None:
            sale = self._sale(lane_id, params, digest)
            given_away = sum(max(0, (line.target_total_minor or 0) - line.total_minor) for line in sale.lines if line.guard)
            try:
                recorded = await self._store.record_sale(sale)
            except IdConflict as error:
                await self._conflict(lane_id, params.sale_id)
                raise RpcError(ErrorCode.ID_CONFLICT, str(error)) from None
            self.counters.sales += 1
            self.counters.given_away_minor += given_away
        elif known[0] == digest:
            recorded = known[1]
            self.counters.sales_repeated += 1
        else:
            await self._conflict(lane_id, params.sale_id)
            raise RpcError(ErrorCode.ID_CONFLICT, f"sale {params.sale_id} is recorded with another body")
        return self._answer(recorded)

    def status(self, lane_id: str, params: StatusParams) -> StatusResult:
        known = self._store.find_sale(params.sale_id)
        return StatusResult(
            revision=self._view.revision,
            as_of=self._as_of(),
            stale_s=self._stale_s(),
            sale_id=params.sale_id,
            state="unknown" if known is None else "recorded",
            answer=None if known is None else self._answer(known[1]),
        )

    # -- pricing -------------------------------------------------------------------------------------------------------

    def store_open(self) -> bool:
        """Whether shoppers may be in the store. A clock that nobody vouches for says open: the safe side for the dwell."""
        if not self._clock.wall_trusted():
            return True
        return self._facts.opening_hours.is_open(local_time(self._clock.wall_ms(), self._facts.zone))

    def charge(self, item_id: ItemId, quantity: int) -> Charge:
        """What the public pays now for `quantity` of an item that has a price. Raises ValueError where it has none."""
        return self._charge(item_id, quantity, member=False)

    def _charge(self, item_id: ItemId, quantity: int, *, member: bool, extra: tuple[Curve, ...] = ()) -> Charge:
        bounds = pricing.bounds(
            item_id,
            self._view.may_of_item(item_id),
            now_ms=self._clock.now_ms(),
            boot_id=self._clock.boot_id,
            store_open=self.store_open(),
        )
        return pricing.charge(quantity, (*self._targets(item_id, member=member), *extra), bounds)

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
        pack_quantity = 1
        if code is not None:
            found = self._view.barcodes.get(code.zfill(14)) if code.isdigit() and len(code) in (8, 12, 13, 14) else None
            if found is None:
                raise RpcError(ErrorCode.UNKNOWN_ITEM, f"no item has the code {code[:40]}")
            item_id, pack_quantity = found
        item = self._view.items.get(ItemId(item_id or ""))
        if item is None or (item.removed and not removed):
            raise RpcError(ErrorCode.UNKNOWN_ITEM, f"no item {(item_id or '')[:40]}")
        return item, pack_quantity

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

    def _price_lines(self, lines: Iterable[QuoteLine], earlier: Quote | None, *, member: bool) -> tuple[PricedLine, ...]:
        """Price a basket: each line at most its earlier quote's price, several lines of one item also as one bundle."""
        before = {line.line_id: line for line in earlier.lines} if earlier else {}
        priced: list[PricedLine] = []
        for line in lines:
            item, pack_quantity = self._find(line.code, line.item_id)
            self._priced_row(item, member=member)
            units = line.quantity * pack_quantity
            was = before.get(line.line_id)
            extra = (was.curve,) if was is not None and was.item_id == item.item_id else ()
            charge = self._charge(item.item_id, units, member=member, extra=extra)
            total_minor = charge.total_minor
            if was is not None and extra and was.quantity == units:
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
                    charge.guard,
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

    # -- sales ---------------------------------------------------------------------------------------------------------

    def _sale(self, lane_id: str, params: CommitParams, digest: str) -> NewSale:
        """A completed sale as it will be recorded. Nothing about its content refuses it."""
        flags: list[str] = ["offline"] if params.offline else []
        found = self._store.find_quote(params.quote_id) if params.quote_id is not None else None
        if params.quote_id is not None and found is None:
            if params.lines is None:
                raise RpcError(ErrorCode.UNKNOWN_QUOTE, f"quote {params.quote_id} is not known: send the lines that were sold")
            flags.append("quote_unknown")
        if found is not None and (found[0].lane_id != lane_id or found[1] != "live"):
            flags.append("quote_of_another_lane" if found[0].lane_id != lane_id else f"quote_{found[1]}")
        lines: tuple[SaleLine, ...]
        if params.lines is not None:
            lines = tuple(self._sold_line(line, found[0] if found else None) for line in params.lines)
        else:
            assert found is not None
            lines = tuple(
                SaleLine(line.line_id, line.item_id, line.code, line.quantity, line.total_minor, line.target_total_minor, line.guard)
                for line in found[0].lines
            )
        refund_minor = 0 if found is not None and flags == [] and params.lines is None else self._refund_due(lines)
        if refund_minor:
            flags.append("over_price")
        if any(line.item_id is None for line in lines):
            flags.append("unknown_item")
        total_minor = params.total_minor if params.total_minor is not None else self._total(found[0] if found else None, lines, params)
        expected = found[0].total_minor if found is not None else None
        if expected is not None and total_minor != expected:
            flags.append("total_differs_from_quote")
        made_ms = self._clock.wall_ms() if params.made_at is None else int(params.made_at.timestamp() * 1000)
        local = local_time(made_ms, self._facts.zone)
        offset = local.utcoffset() or timedelta()
        business = local - timedelta(minutes=self._facts.business_day_starts_minute)
        return NewSale(
            params.sale_id,
            lane_id,
            params.quote_id if found is not None else None,
            digest,
            lines,
            tuple((tender.type, tender.amount_minor) for tender in params.tenders),
            total_minor,
            tuple(flags),
            refund_minor,
            made_ms,
            int(offset.total_seconds()) // 60,
            business.date().isoformat(),
            self._clock.wall_trusted(),
        )

    def _sold_line(self, line: CommitLine, quote: Quote | None) -> SaleLine:
        try:
            item, pack_quantity = self._find(line.code, line.item_id, removed=True)
        except RpcError:
            return SaleLine(line.line_id, None, line.code or line.item_id or "", line.quantity, line.total_minor, None, None)
        units = line.quantity * pack_quantity
        quoted = next((each for each in quote.lines if each.line_id == line.line_id), None) if quote else None
        guard = quoted.guard if quoted is not None else None
        targets = self._targets(item.item_id, member=False)
        target = min((curve.cost_minor(units) for curve in targets), default=None)
        return SaleLine(line.line_id, item.item_id, line.code or "", units, line.total_minor, target, guard)

    def _refund_due(self, lines: tuple[SaleLine, ...]) -> int:
        """What was charged above the price of now, per line: the till told us after the fact."""
        due_minor = 0
        for line in lines:
            if line.item_id is not None and self._targets(line.item_id, member=False):
                due_minor += max(0, line.total_minor - self.charge(line.item_id, line.quantity).total_minor)
        return due_minor

    def _total(self, quote: Quote | None, lines: tuple[SaleLine, ...], params: CommitParams) -> int:
        if quote is not None and params.lines is None:
            return quote.total_minor
        return sum(tender.amount_minor for tender in params.tenders) or sum(line.total_minor for line in lines)

    async def _conflict(self, lane_id: str, sale_id: str) -> None:
        """Tell HQ, once for each id: a till that keeps asking must not fill the outbox."""
        if sale_id in self._conflicts:
            return
        self._conflicts.append(sale_id)
        name = hashlib.sha256(sale_id.encode()).hexdigest()[:12]
        await self._store.note_alert("sale_id_conflict", f"lane {lane_id}: sale {sale_id} ({name}) came again with another body")

    # -- answers -------------------------------------------------------------------------------------------------------

    def _show(self, line: PricedLine) -> QuotedLine:
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
            deposit_minor=self._deposit(line),
            age_limit=(item.age_limit or None) if item else None,
        )

    def _deposit(self, line: PricedLine) -> int:
        item = self._view.items.get(line.item_id)
        return item.deposit_minor * line.quantity if item is not None and item.sold_by == "each" else 0

    def _answer(self, recorded: Recorded) -> CommitResult:
        return CommitResult(
            revision=self._view.revision,
            as_of=self._as_of(),
            stale_s=self._stale_s(),
            sale_id=recorded.sale_id,
            up_seq=recorded.up_seq,
            flags=recorded.flags,
            refund_due_minor=recorded.refund_due_minor,
        )

    def _as_of(self) -> str:
        return rfc3339(self._clock.wall_ms())

    def _stale_s(self) -> int:
        return max(0, self._clock.now_ms() - self._heard_ms()) // 1000


def _guard(charge: Charge) -> Guard | None:
    return Guard(charge.guard) if charge.guard else None


def _mixed(guards: Iterable[str | None]) -> Guard | None:
    found = set(guards)
    if found <= {None}:
        return None
    if len(found) == 1:
        return Guard(next(iter(found)) or "mixed")
    return Guard.MIXED
