"""Completed sales: recorded once, whatever is odd about them, and never changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from drivers.base import Clock
from edge.desk_facts import Conflicts, DeskCounters, Find, Stamps, StoreFacts, made_when
from edge.model import Curve, Item, ItemId, Quote
from edge.pricing import Charge
from edge.store import returns
from edge.store.store import Store
from edge.store.till import IdConflict, NewSale, Recorded, SaleLine
from protocols.pos import (
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


@dataclass(frozen=True, slots=True)
class Prices:
    """What a sale is compared with. `lawful` is the most that a lane may charge for a quantity now: more than the charge only where it
    mirrors prices under a lease that still runs."""

    targets: Callable[[ItemId], tuple[Curve, ...]]
    charge: Callable[[ItemId, int], Charge]
    lawful_minor: Callable[[str, ItemId, int, str], int]  # lane, item, quantity, the code that was scanned or ""
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

    async def commit(self, lane_id: str, params: CommitParams) -> CommitResult:
        digest = commit_digest(params)
        known = self._store.find_sale(params.sale_id)
        if known is None:
            sale = self._sale(lane_id, params, digest)
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
        sold = self._store.read(lambda db: returns.sold_lines(db, params.sale_id)) or {}
        lines = tuple(
            SaleLineView(
                line_id=line.line_id,
                item_id=line.item_id,
                quantity=line.original.quantity,
                paid_minor=line.original.paid.total_minor,
                returned=line.original.returned,
                refunded_minor=line.original.refunded.total_minor,
            )
            for line in sold.values()
        )
        voided = self._store.read(lambda db: returns.void_of(db, params.sale_id))
        return StatusResult(
            sale_id=params.sale_id, state="recorded", answer=self._answer(known[1]), lines=lines, voided=voided, **self._stamps.now()
        )

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
        quote = found[0] if found is not None else None
        lines = self._sold_lines(params, quote)
        refund_minor = 0 if quote is not None and flags == [] and params.lines is None else self._refund_due(lane_id, lines)
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
        when = made_when(self._clock, self._facts, params.made_at)
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

    def _sold_lines(self, params: CommitParams, quote: Quote | None) -> tuple[SaleLine, ...]:
        """What was paid for each line, with its tax on top and, where the total that was paid covers them, the deposits."""
        if params.lines is not None:
            lines = [self._told_line(line, quote) for line in params.lines]
            paid_minor = params.total_minor if params.total_minor is not None else sum(tender.amount_minor for tender in params.tenders)
        else:
            assert quote is not None
            lines = [
                SaleLine(line.line_id, line.item_id, line.code, line.quantity, line.total_minor, line.target_total_minor, line.guard)
                for line in quote.lines
            ]
            paid_minor = quote.total_minor
        taxes = {tax.line_id: tax.tax_minor for tax in params.taxes} if self._facts.tax_on_top else {}
        deposits = {line.line_id: self._deposit(line) for line in lines}
        tax_minor = sum(taxes.values()) if params.lines is not None else 0
        if sum(line.total_minor for line in lines) + sum(deposits.values()) + tax_minor > paid_minor:
            deposits = {}
        return tuple(replace(line, deposit_minor=deposits.get(line.line_id, 0), tax_minor=taxes.get(line.line_id, 0)) for line in lines)

    def _told_line(self, line: CommitLine, quote: Quote | None) -> SaleLine:
        """A line as the till says, its deposit not included."""
        try:
            item, pack_quantity = self._find(line.code, line.item_id, removed=True)
        except RpcError:
            return SaleLine(line.line_id, None, line.code or line.item_id or "", line.quantity, line.total_minor, None, None)
        units = line.quantity * pack_quantity
        quoted = next((each for each in quote.lines if each.line_id == line.line_id), None) if quote else None
        guard = quoted.guard if quoted is not None else None
        target = min((curve.cost_minor(units) for curve in self._prices.targets(item.item_id)), default=None)
        return SaleLine(line.line_id, item.item_id, line.code or "", units, line.total_minor, target, guard)

    def _refund_due(self, lane_id: str, lines: tuple[SaleLine, ...]) -> int:
        """What was charged above the price of now, per line: the till told us after the fact."""
        due_minor = 0
        for line in lines:
            if line.item_id is not None and self._prices.targets(line.item_id):
                due_minor += max(0, line.total_minor - self._prices.lawful_minor(lane_id, line.item_id, line.quantity, line.code))
        return due_minor

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


def _total(quote: Quote | None, lines: tuple[SaleLine, ...], params: CommitParams, tax_minor: int) -> int:
    if quote is not None and params.lines is None:
        return quote.total_minor + tax_minor
    return sum(tender.amount_minor for tender in params.tenders) or sum(line.total_minor for line in lines) + tax_minor
