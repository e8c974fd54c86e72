"""Completed sales: recorded once, whatever is odd about them, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from drivers.base import Clock
from edge.desk_facts import Conflicts, DeskCounters, Find, Stamps, StoreFacts, made_when
from edge.model import Curve, Item, ItemId, Quote, QuoteLine
from edge.past_prices import Offers, PastPrices, most_minor
from edge.pricing import Charge
from edge.store.sold import find_sold, void_of
from edge.store.store import Store
from edge.store.till import IdConflict, NewSale, QuoteFound, Recorded, SaleLine
from protocols.hq_messages import utc_ms
from protocols.pos import (
    QUANTITY_MAX,
    CommitLine,
    CommitParams,
    CommitResult,
    ErrorCode,
    RpcError,
    SaleLineView,
    StatusParams,
    StatusResult,
    commit_digest,
)

FUTURE_MS: Final = 5 * 60_000  # a till's clock may be so much ahead before its business days are doubted


@dataclass(frozen=True, slots=True)
class Prices:
    """What a sale is compared with. `lawful` is the most that a lane may charge for a quantity now: more than the charge only where it
    mirrors prices under a lease that still runs."""

    targets: Callable[[ItemId], tuple[Curve, ...]]
    charge: Callable[[ItemId, int], Charge]
    lawful_minor: Callable[[str, ItemId, int], int]  # lane, item, quantity
    packed_minor: Callable[[ItemId, int, str, int], int | None]  # item, quantity, code, scans or 0: what the packs say they cost
    deposit_minor: Callable[[Item, int], int]


class Sales:
    """One per store; used from the event loop's thread only."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        facts: StoreFacts,
        stamps: Stamps,
        conflicts: Conflicts,
        find: Find,
        prices: Prices,
        counters: DeskCounters,
    ) -> None:
        self.counters = counters
        self._store = store
        self._view = store.view
        self._clock = clock
        self._facts = facts
        self._stamps = stamps
        self._conflicts = conflicts
        self._find = find
        self._prices = prices
        self._past = PastPrices(store)

    async def commit(self, lane_id: str, params: CommitParams) -> CommitResult:
        digest = commit_digest(params)
        known = self._store.find_sale(params.sale_id)
        if known is None:
            sale = await self._sale(lane_id, params, digest)
            given_away = sum(max(0, (line.target_total_minor or 0) - line.total_minor) for line in sale.lines if line.guard)
            try:
                recorded = await self._store.record_sale(sale)
            except IdConflict as error:
                await self._conflicts.tell("sale", lane_id, params.sale_id)
                raise RpcError(ErrorCode.ID_CONFLICT, str(error)) from None
            self.counters.sales += 1
            self.counters.given_away_minor += given_away
        elif known[0] == digest:
            recorded = known[1]
            self.counters.sales_repeated += 1
        else:
            await self._conflicts.tell("sale", lane_id, params.sale_id)
            raise RpcError(ErrorCode.ID_CONFLICT, f"sale {params.sale_id} is recorded with another body")
        return self._answer(recorded)

    def status(self, lane_id: str, params: StatusParams) -> StatusResult:
        known = self._store.find_sale(params.sale_id)
        if known is None:
            return StatusResult(sale_id=params.sale_id, state="unknown", **self._stamps.now())
        sold = self._store.read(lambda db: find_sold(db, params.sale_id))
        lines = tuple(
            SaleLineView(
                line_id=line.line_id,
                item_id=line.item_id,
                quantity=line.original.quantity,
                paid_minor=line.original.paid.total_minor,
                returned=line.original.returned,
                refunded_minor=line.original.refunded.total_minor,
            )
            for line in (sold.lines.values() if sold is not None else ())
        )
        voided = self._store.read(lambda db: void_of(db, params.sale_id))
        return StatusResult(
            sale_id=params.sale_id, state="recorded", answer=self._answer(known[1]), lines=lines, voided=voided, **self._stamps.now()
        )

    async def _sale(self, lane_id: str, params: CommitParams, digest: str) -> NewSale:
        """A completed sale as it will be recorded. Nothing about its content refuses it."""
        flags: list[str] = ["offline"] if params.offline else []
        found = self._store.find_quote(params.quote_id) if params.quote_id is not None else None
        if params.quote_id is not None and found is None:
            if params.lines is None:
                raise RpcError(ErrorCode.UNKNOWN_QUOTE, f"quote {params.quote_id} is not known: send the lines that were sold")
            flags.append("quote_unknown")
        stands = found is not None and _stands(found, lane_id, params)
        if found is not None and not stands:
            flags.append("quote_of_another_lane" if found.quote.lane_id != lane_id else f"quote_{found.state}")
        quote = found.quote if found is not None else None
        lines, too_many = self._sold_lines(params, quote)
        when = made_when(self._clock, self._facts, params.made_at)
        refund_minor = 0
        if not stands or params.lines is not None:
            sold = (line.item_id for line in lines if line.item_id is not None)
            then = await self._past.of(sold, when.made_wall_ms) if params.offline else {}
            refund_minor = self._refund_due(lane_id, lines, params, quote, stands=stands, then=then)
        if self._clock.wall_trusted() and when.made_wall_ms > self._clock.wall_ms() + FUTURE_MS:
            flags.append("made_in_future")
        if too_many:
            flags.append("quantity_too_large")
        if refund_minor:
            flags.append("over_price")
        if any(line.item_id is None for line in lines):
            flags.append("unknown_item")
        if {tax.line_id for tax in params.taxes} - {line.line_id for line in lines}:
            flags.append("tax_of_unknown_line")
        tax_minor = sum(line.tax_minor for line in lines)
        total_minor = params.total_minor if params.total_minor is not None else _total(quote, lines, params, tax_minor)
        if quote is not None and total_minor != quote.total_minor + tax_minor:
            flags.append("total_differs_from_quote")
        return NewSale(
            params.sale_id,
            lane_id,
            params.quote_id if quote is not None else None,
            digest,
            lines,
            tuple((tender.type, tender.amount_minor) for tender in params.tenders),
            total_minor,
            tuple(flags),
            refund_minor,
            when.made_wall_ms,
            when.utc_offset_minutes,
            when.business_date,
            when.clock_trusted,
            params.holds,
        )

    def _sold_lines(self, params: CommitParams, quote: Quote | None) -> tuple[tuple[SaleLine, ...], bool]:
        """What was paid for each line, with its tax on top and its deposit; whether a code stands for more than a line can hold."""
        taxes = {tax.line_id: tax.tax_minor for tax in params.taxes} if self._facts.tax_on_top else {}
        if params.lines is None:
            assert quote is not None
            return tuple(_quoted_line(line, taxes.get(line.line_id, 0)) for line in quote.lines), False
        told = [self._told_line(line, quote) for line in params.lines]
        lines = [line for line, _ in told]
        deposits = {line.line_id: self._deposit(line) for line in lines}
        paid_minor = params.total_minor if params.total_minor is not None else sum(tender.amount_minor for tender in params.tenders)
        if sum(line.total_minor for line in lines) + sum(deposits.values()) + sum(taxes.values()) > paid_minor:
            deposits = {}  # the total does not cover them: they were not paid
        paid = (replace(line, deposit_minor=deposits.get(line.line_id, 0), tax_minor=taxes.get(line.line_id, 0)) for line in lines)
        return tuple(paid), any(too_many for _, too_many in told)

    def _told_line(self, line: CommitLine, quote: Quote | None) -> tuple[SaleLine, bool]:
        """A line as the till says, its deposit not included; whether its code stands for so much that the scans are counted instead."""
        try:
            item, pack_quantity = self._find(line.code, line.item_id, removed=True)
        except RpcError:
            return SaleLine(line.line_id, None, line.code or line.item_id or "", line.quantity, line.total_minor, None, None), False
        too_many = line.quantity * pack_quantity > QUANTITY_MAX
        units = line.quantity if too_many else line.quantity * pack_quantity
        quoted = next((each for each in quote.lines if each.line_id == line.line_id), None) if quote else None
        guard = quoted.guard if quoted is not None else None
        target = min((curve.cost_minor(units) for curve in self._prices.targets(item.item_id)), default=None)
        return SaleLine(line.line_id, item.item_id, line.code or "", units, line.total_minor, target, guard), too_many

    def _refund_due(
        self,
        lane_id: str,
        lines: tuple[SaleLine, ...],
        params: CommitParams,
        quote: Quote | None,
        *,
        stands: bool,
        then: Mapping[ItemId, tuple[Offers, ...]],
    ) -> int:
        """What was charged above the price of now, or of `then`, line by line or for all lines of an item together, whichever is more:
        the till told us after the fact. Also what was charged above a quote that `stands`."""
        quoted = {line.line_id: line for line in quote.lines} if quote is not None else {}
        if params.lines is not None:
            scans = {line.line_id: line.quantity for line in params.lines}
        else:
            scans = {line_id: line.scans for line_id, line in quoted.items()}
        by_item: dict[ItemId, list[SaleLine]] = {}
        for line in lines:
            if line.item_id is not None and self._prices.targets(line.item_id):
                by_item.setdefault(line.item_id, []).append(line)
        due_minor = 0
        for item_id, group in by_item.items():
            apart_minor = 0
            for line in group:
                most = [self._lawful_minor(lane_id, item_id, line.quantity, then)]
                packed_minor = self._prices.packed_minor(item_id, line.quantity, line.code, scans.get(line.line_id, 0))
                if packed_minor is not None:
                    most.append(packed_minor)
                offered = quoted.get(line.line_id) if stands else None
                if offered is not None and (offered.item_id, offered.quantity) == (item_id, line.quantity):
                    most.append(offered.total_minor)
                apart_minor += max(0, line.total_minor - min(most))
            quantity, total_minor = sum(line.quantity for line in group), sum(line.total_minor for line in group)
            due_minor += max(apart_minor, total_minor - self._lawful_minor(lane_id, item_id, quantity, then))
        return due_minor

    def _lawful_minor(self, lane_id: str, item_id: ItemId, quantity: int, then: Mapping[ItemId, tuple[Offers, ...]]) -> int:
        past_minor = most_minor(then, item_id, quantity)
        return self._prices.lawful_minor(lane_id, item_id, quantity) if past_minor is None else past_minor

    def _deposit(self, line: SaleLine) -> int:
        item = self._view.items.get(line.item_id) if line.item_id is not None else None
        return self._prices.deposit_minor(item, line.quantity) if item is not None else 0

    def _answer(self, recorded: Recorded) -> CommitResult:
        return CommitResult(
            sale_id=recorded.sale_id,
            up_seq=recorded.up_seq,
            flags=recorded.flags,
            refund_due_minor=recorded.refund_due_minor,
            **self._stamps.now(),
        )


def _stands(found: QuoteFound, lane_id: str, params: CommitParams) -> bool:
    """Whether the quote was the lane's and still held when the customer paid: live, or paid in time and told later."""
    if found.quote.lane_id != lane_id:
        return False
    in_time = params.made_at is not None and utc_ms(params.made_at) <= found.valid_until_wall_ms
    return found.state == "live" or (found.state == "lapsed" and in_time)


def _quoted_line(line: QuoteLine, tax_minor: int) -> SaleLine:
    amounts = (line.quantity, line.total_minor, line.target_total_minor)
    return SaleLine(line.line_id, line.item_id, line.code, *amounts, line.guard, line.deposit_minor, tax_minor)


def _total(quote: Quote | None, lines: tuple[SaleLine, ...], params: CommitParams, tax_minor: int) -> int:
    if quote is not None and params.lines is None:
        return quote.total_minor + tax_minor
    return sum(tender.amount_minor for tender in params.tenders) or sum(line.total_minor for line in lines) + tax_minor
