"""Quotes and sales: what was charged, once, and what it took from the shelf."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from edge.model import ItemId, Quote
from edge.stock import Cause
from edge.store import evidence, holds, stock
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.journal import emit, record, rfc3339
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind


class IdConflict(Refused):
    """The id is taken by a sale with another body: a till's numbering is broken, or somebody replays with changes."""


@dataclass(frozen=True, slots=True)
class SaleLine:
    """A sold line. `item_id` None: the code is not in the catalogue; it is recorded all the same.

    The customer paid `total_minor`, `deposit_minor` and `tax_minor`: the tax on top, in a store whose prices exclude it.
    """

    line_id: str
    item_id: ItemId | None
    code: str
    quantity: int
    total_minor: int
    target_total_minor: int | None
    guard: str | None
    deposit_minor: int = 0
    tax_minor: int = 0


@dataclass(frozen=True, slots=True)
class NewSale:
    """A completed sale with everything the answer needs but its sequence number."""

    sale_id: str
    lane_id: str
    quote_id: str | None
    body_sha256: str
    lines: tuple[SaleLine, ...]
    tenders: tuple[tuple[str, int], ...]
    total_minor: int
    flags: tuple[str, ...]
    refund_due_minor: int
    made_wall_ms: int
    utc_offset_minutes: int
    business_date: str
    clock_trusted: bool
    holds: tuple[str, ...] = ()  # held goods that the customer collects with it


@dataclass(frozen=True, slots=True)
class Recorded:
    """The stored answer: the same for every repeat."""

    sale_id: str
    up_seq: int
    flags: tuple[str, ...]
    refund_due_minor: int


def put_quote(db: Db, quote: Quote, replaced: str | None, wall_ms: int) -> tuple[None, Delta]:
    """Make a quote durable; it is a lane lease until it lapses, is used, or `replaced` by the next quote of its basket."""
    delta = Delta()
    db.execute(
        "INSERT INTO quote VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'live')",
        (
            quote.quote_id,
            quote.lane_id,
            quote.basket_id,
            codec.quote_text(quote),
            quote.total_minor,
            quote.revision,
            quote.boot_id,
            quote.made_ms,
            quote.valid_ms,
            wall_ms,
        ),
    )
    if replaced is not None:
        db.execute("UPDATE quote SET state = 'replaced' WHERE quote_id = ? AND state = 'live'", (replaced,))
        delta.quotes[replaced] = None
    delta.quotes[quote.quote_id] = quote
    evidence.quoted(db, wall_ms, quote.quote_id, quote.lane_id, member=quote.member)
    return None, delta


def lapse_quotes(db: Db, quote_ids: list[str]) -> tuple[None, Delta]:
    """These quotes outlived their validity: no longer a lease. A sale that names one is still recorded."""
    delta = Delta()
    for quote_id in quote_ids:
        db.execute("UPDATE quote SET state = 'lapsed' WHERE quote_id = ? AND state = 'live'", (quote_id,))
        delta.quotes[quote_id] = None
    return None, delta


@dataclass(frozen=True, slots=True)
class QuoteFound:
    """A quote of any age with its state (live, used, replaced or lapsed) and the UTC instant at which it was made."""

    quote: Quote
    state: str
    made_wall_ms: int

    @property
    def valid_until_wall_ms(self) -> int:
        return self.made_wall_ms + self.quote.valid_ms


def find_quote(db: Db, quote_id: str) -> QuoteFound | None:
    row = db.execute(
        "SELECT quote_id, lane_id, basket_id, body, total_minor, revision, boot_id, made_ms, valid_ms, state, made_wall_ms FROM quote "
        "WHERE quote_id = ?",
        (quote_id,),
    ).fetchone()
    return None if row is None else QuoteFound(codec.quote_of(row[:-2]), *row[-2:])


def find_sale(db: Db, sale_id: str) -> tuple[str, Recorded] | None:
    """(body digest, stored answer) of a recorded sale."""
    row = db.execute("SELECT body_sha256, answer FROM sale WHERE sale_id = ?", (sale_id,)).fetchone()
    return None if row is None else (str(row[0]), msgspec.json.decode(row[1], type=Recorded))


def record_sale(db: Db, stamp: Stamp, sale: NewSale) -> tuple[Recorded, Delta]:
    """Sale, ledger and outbox event in one transaction. A repeat gets the stored answer; another body raises IdConflict."""
    known = find_sale(db, sale.sale_id)
    if known is not None:
        if known[0] != sale.body_sha256:
            raise IdConflict(f"sale {sale.sale_id} is recorded with another body")
        return known[1], Delta()
    delta = Delta(outbox_grew=True)
    if holds.collect_with_sale(db, stamp, sale.holds, sale.lane_id, sale.sale_id, delta):
        sale = replace(sale, flags=(*sale.flags, "hold_unknown"))
    up_seq = emit(db, stamp, EventKind.SALE, _sale_event(sale), salt=f"sale {sale.sale_id}")
    answer = Recorded(sale.sale_id, up_seq, sale.flags, sale.refund_due_minor)
    db.execute(
        "INSERT INTO sale VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (sale.sale_id, sale.lane_id, sale.quote_id, sale.body_sha256, codec.json_text(answer), sale.total_minor, up_seq, stamp.wall_ms),
    )
    rows: list[tuple[object, ...]] = []
    for line in sale.lines:
        rows.append(
            (
                line.line_id,
                line.item_id,
                line.code,
                line.quantity,
                line.total_minor,
                line.target_total_minor,
                line.guard,
                line.deposit_minor,
                line.tax_minor,
            )
        )
        db.execute("INSERT INTO sale_line VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", (sale.sale_id, *rows[-1]))
        if line.item_id is not None:
            stock.book(db, stamp, line.item_id, -line.quantity, Cause.SALE, f"{sale.sale_id}/{line.line_id}", up_seq, delta)
    holds.note_eaten(db, stamp, sale.sale_id, (line.item_id for line in sale.lines if line.item_id is not None), delta)
    if sale.quote_id is not None:
        db.execute("UPDATE quote SET state = 'used' WHERE quote_id = ? AND state = 'live'", (sale.quote_id,))
        delta.quotes[sale.quote_id] = None
    evidence.sold(db, stamp, sale.sale_id, sale.lane_id, sale.made_wall_ms, rows)
    if sale.flags:
        record(db, stamp, f"lane {sale.lane_id}", "sale.flagged", {"sale": sale.sale_id, "flags": sale.flags})
    return answer, delta


def _sale_event(sale: NewSale) -> dict[str, object]:
    return {
        "sale_id": sale.sale_id,
        "lane": sale.lane_id,
        "quote_id": sale.quote_id,
        "made_at": rfc3339(sale.made_wall_ms),
        "utc_offset_minutes": sale.utc_offset_minutes,
        "business_date": sale.business_date,
        "clock_trusted": sale.clock_trusted,
        "lines": [
            {
                "line_id": line.line_id,
                "sku": line.item_id,
                "code": line.code,
                "quantity": line.quantity,
                "total_minor": line.total_minor,
                "target_total_minor": line.target_total_minor,
                "guard": line.guard,
                "deposit_minor": line.deposit_minor,
                "tax_minor": line.tax_minor,
            }
            for line in sale.lines
        ],
        "total_minor": sale.total_minor,
        "tenders": [{"type": kind, "amount_minor": amount_minor} for kind, amount_minor in sale.tenders],
        "flags": sale.flags,
        "refund_due_minor": sale.refund_due_minor,
    }
