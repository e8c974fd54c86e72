"""Voids and returns on disk: what takes a sale back, once, and puts the goods back into the books.

A void or a return, its ledger rows and its event to HQ are one transaction, and that transaction decides how much may still come back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import msgspec

from edge.model import ItemId
from edge.refunds import Original, Paid
from edge.stock import Cause
from edge.store import evidence, stock
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.journal import emit, rfc3339
from edge.store.rows import Db, Stamp
from edge.store.sold import HERE, SoldLine, find_sold, returned, void_of
from edge.store.till import IdConflict
from edge.view import Delta
from protocols.hq_events import EventKind


class UnknownSale(Refused):
    """This store does not know the sale, and was not told what its receipt says."""


class OverReturn(Refused):
    """More than was sold, less what came back."""


@dataclass(frozen=True, slots=True)
class When:
    """The instant at the till, its business day, and whether the clock is vouched for."""

    made_wall_ms: int
    utc_offset_minutes: int
    business_date: str
    clock_trusted: bool


@dataclass(frozen=True, slots=True)
class NewVoid:
    void_id: str
    sale_id: str
    lane_id: str
    body_sha256: str
    reason: str
    offline: bool  # it has happened: recorded whatever the books say
    flags: tuple[str, ...]
    when: When


@dataclass(frozen=True, slots=True)
class ReturnedLine:
    """What comes back. `original` is what the receipt says, for a sale that this store does not know."""

    line_id: str
    original_line_id: str | None
    item_id: ItemId | None
    code: str
    quantity: int
    damaged: bool
    original: Original | None


@dataclass(frozen=True, slots=True)
class NewReturn:
    return_id: str
    origin: str
    sale_id: str | None
    lane_id: str
    body_sha256: str
    lines: tuple[ReturnedLine, ...]
    tenders: tuple[tuple[str, int], ...]
    reason: str
    offline: bool  # it has happened: recorded whatever the books say
    flags: tuple[str, ...]
    when: When


@dataclass(frozen=True, slots=True)
class RefundLine:
    """A line of the answer. `counted` of its quantity stands against the original; the rest could not."""

    line_id: str
    original_line_id: str | None
    item_id: ItemId | None
    code: str
    quantity: int
    counted: int
    refund: Paid
    left: int
    damaged: bool


@dataclass(frozen=True, slots=True)
class Refund:
    """What a return comes to: settled, but not written yet."""

    lines: tuple[RefundLine, ...]
    flags: tuple[str, ...]

    @property
    def total_minor(self) -> int:
        return sum(line.refund.total_minor for line in self.lines)


@dataclass(frozen=True, slots=True)
class AnswerLine:
    line_id: str
    item_id: ItemId | None
    quantity: int
    refund_minor: int
    left: int


@dataclass(frozen=True, slots=True)
class Returned:
    """The stored answer of a return: the same for every repeat."""

    return_id: str
    up_seq: int
    lines: tuple[AnswerLine, ...]
    refund_minor: int
    flags: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Voided:
    """The stored answer of a void."""

    void_id: str
    sale_id: str
    up_seq: int
    refund_minor: int
    flags: tuple[str, ...]


# -- reading ---------------------------------------------------------------------------------------------------------------


def find_void(db: Db, void_id: str) -> tuple[str, Voided] | None:
    """(body digest, stored answer) of a recorded void."""
    row = db.execute("SELECT body_sha256, answer FROM sale_void WHERE void_id = ?", (void_id,)).fetchone()
    return None if row is None else (str(row[0]), msgspec.json.decode(row[1], type=Voided))


def find_return(db: Db, return_id: str) -> tuple[str, Returned] | None:
    """(body digest, stored answer) of a recorded return."""
    row = db.execute("SELECT body_sha256, answer FROM sale_return WHERE return_id = ?", (return_id,)).fetchone()
    return None if row is None else (str(row[0]), msgspec.json.decode(row[1], type=Returned))


def settle(db: Db, new: NewReturn) -> Refund:
    """What a return comes to now, against everything that came back before. Reads only.

    Raises UnknownSale, Refused for a line that the sale has not or a sale that was voided, and OverReturn; for a return that has
    happened (`offline`) these are flags, and what goes beyond the original stands against nothing.
    """
    sale = find_sold(db, new.sale_id) if new.sale_id is not None and new.origin == HERE else None
    lines_sold = sale.lines if sale is not None else None
    flags = list(new.flags)
    if new.sale_id is None:
        flags.append("no_receipt")
    elif new.origin != HERE:
        flags.append(f"origin_{new.origin}")
    elif sale is None:
        flags.append("sale_unknown")
    elif void_of(db, new.sale_id) is not None:
        _object(new, flags, "sale_voided", Refused(f"sale {new.sale_id} was voided: nothing is left to return"))
        lines_sold = {line_id: replace(line, original=_nothing_left(line.original)) for line_id, line in sale.lines.items()}
    if sale is not None and sale.refund_due_minor:
        flags.append("over_price")
    originals: dict[str, Original] = {}
    lines: list[RefundLine] = []
    for line in new.lines:
        known = lines_sold.get(line.original_line_id or "") if lines_sold is not None else None
        if lines_sold is not None and known is None:
            _object(new, flags, "line_unknown", Refused(f"line {line.line_id}: sale {new.sale_id} has no line {line.original_line_id}"))
        name, original = _original(db, new, line, known)
        original = originals.get(name, original)
        counted = min(line.quantity, original.left)
        if counted < line.quantity:
            reason = OverReturn(f"line {line.line_id}: {line.quantity} come back, {original.left} of {original.quantity} are left")
            _object(new, flags, "exceeds_sale", reason)
        refund = original.refund(counted)
        originals[name] = original.after(counted, refund)
        item_id, code = (known.item_id, known.code) if known is not None else (line.item_id, line.code)
        if item_id is None:
            flags.append("unknown_item")
        lines.append(
            RefundLine(
                line.line_id,
                line.original_line_id,
                item_id,
                code,
                line.quantity,
                counted,
                refund,
                originals[name].left,
                line.damaged,
            )
        )
    return Refund(tuple(lines), tuple(dict.fromkeys(flags)))


def _original(db: Db, new: NewReturn, line: ReturnedLine, known: SoldLine | None) -> tuple[str, Original]:
    """What a line is compared with, under a name that lines of the same return share."""
    if known is not None:
        return f"sold {known.line_id}", known.original
    if line.original is None:
        if new.offline:
            return f"line {line.line_id}", Original(line.quantity, Paid())
        raise UnknownSale(f"line {line.line_id}: say what the receipt says (original_quantity, original_paid_minor, code or item_id)")
    if new.sale_id is None or line.original_line_id is None:
        return f"line {line.line_id}", line.original
    before, refunded = returned(db, new.origin, new.sale_id, line.original_line_id)
    return f"told {line.original_line_id}", replace(line.original, returned=before, refunded=refunded)


def _nothing_left(original: Original) -> Original:
    return replace(original, returned=original.quantity, refunded=original.paid)


def _object(new: NewReturn | NewVoid, flags: list[str], flag: str, reason: Refused) -> None:
    if not new.offline:
        raise reason
    flags.append(flag)


# -- writing ---------------------------------------------------------------------------------------------------------------


def record_void(db: Db, stamp: Stamp, new: NewVoid) -> tuple[Voided, Delta]:
    """Take a whole sale back: what was paid for it. A repeat gets the stored answer.

    Raises IdConflict for another body, UnknownSale, Refused for a sale that was voided or partly returned before; for a void that has
    happened (`offline`) the last two are flags, and it takes back what is left.
    """
    known = find_void(db, new.void_id)
    if known is not None:
        if known[0] != new.body_sha256:
            raise IdConflict(f"void {new.void_id} is recorded with another body")
        return known[1], Delta()
    sale = find_sold(db, new.sale_id)
    if sale is None:
        raise UnknownSale(f"sale {new.sale_id} is not recorded: send it first")
    flags = list(new.flags)
    refund_minor = max(0, sale.total_minor - sale.refunded_minor)
    left = {line.line_id: line.original.left for line in sale.lines.values()}
    earlier = void_of(db, new.sale_id)
    if earlier is not None:
        _object(new, flags, "sale_voided", Refused(f"sale {new.sale_id} was voided by {earlier}"))
        refund_minor, left = 0, dict.fromkeys(left, 0)
    elif any(line.original.returned for line in sale.lines.values()):
        _object(new, flags, "exceeds_sale", Refused(f"something of sale {new.sale_id} came back already: return the rest"))
    if sale.refund_due_minor:
        flags.append("over_price")
    data = _head(new.when, {"void_id": new.void_id, "sale_id": new.sale_id, "lane": new.lane_id}) | {
        "lines": [
            {"line_id": line.line_id, "sku": line.item_id, "code": line.code, "quantity": left[line.line_id]}
            for line in sale.lines.values()
        ],
        "refund_minor": refund_minor,
        "reason": new.reason,
        "flags": flags,
    }
    up_seq = emit(db, stamp, EventKind.VOID, data, salt=f"void {new.void_id}")
    answer = Voided(new.void_id, new.sale_id, up_seq, refund_minor, tuple(flags))
    db.execute(
        "INSERT INTO sale_void VALUES (?, ?, ?, ?, ?, ?, ?)",
        (new.void_id, new.sale_id, new.lane_id, new.body_sha256, codec.json_text(answer), up_seq, stamp.wall_ms),
    )
    delta = Delta(outbox_grew=True)
    for line in sale.lines.values():
        if line.item_id is not None and left[line.line_id]:
            stock.book(db, stamp, line.item_id, left[line.line_id], Cause.VOID, f"{new.void_id}/{line.line_id}", up_seq, delta)
    noted = {"void": new.void_id, "sale": new.sale_id, "refund_minor": refund_minor, "reason": new.reason}
    ids = _subjects(line.item_id for line in sale.lines.values())
    evidence.note_fact(db, stamp.wall_ms, evidence.VOID, (new.void_id,), ids=ids, actor=f"lane {new.lane_id}", more=noted)
    return answer, delta


def record_return(db: Db, stamp: Stamp, new: NewReturn) -> tuple[Returned, Delta]:
    """Take goods back. A repeat gets the stored answer. Raises IdConflict for another body, else as `settle`."""
    known = find_return(db, new.return_id)
    if known is not None:
        if known[0] != new.body_sha256:
            raise IdConflict(f"return {new.return_id} is recorded with another body")
        return known[1], Delta()
    refund = settle(db, new)
    paid_back_minor = sum(amount_minor for _, amount_minor in new.tenders)
    flags = (*refund.flags, "total_differs") if paid_back_minor != refund.total_minor else refund.flags
    data = _head(new.when, {"return_id": new.return_id, "origin": new.origin, "sale_id": new.sale_id, "lane": new.lane_id}) | {
        "lines": [_line_event(line) for line in refund.lines],
        "refund_minor": refund.total_minor,
        "tenders": [{"type": kind, "amount_minor": amount_minor} for kind, amount_minor in new.tenders],
        "reason": new.reason,
        "flags": flags,
    }
    up_seq = emit(db, stamp, EventKind.RETURN, data, salt=f"return {new.return_id}")
    told = tuple(AnswerLine(line.line_id, line.item_id, line.quantity, line.refund.total_minor, line.left) for line in refund.lines)
    answer = Returned(new.return_id, up_seq, told, refund.total_minor, flags)
    db.execute(
        "INSERT INTO sale_return VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.return_id,
            new.origin,
            new.sale_id,
            new.lane_id,
            new.body_sha256,
            codec.json_text(answer),
            refund.total_minor,
            up_seq,
            stamp.wall_ms,
        ),
    )
    delta = Delta(outbox_grew=True)
    for line in refund.lines:
        _put_line(db, stamp, new, line, up_seq, delta)
    noted = {"return": new.return_id, "sale": new.sale_id, "refund_minor": refund.total_minor, "flags": flags}
    ids = _subjects(line.item_id for line in refund.lines)
    evidence.note_fact(db, stamp.wall_ms, evidence.RETURN, (new.return_id,), ids=ids, actor=f"lane {new.lane_id}", more=noted)
    return answer, delta


def _put_line(db: Db, stamp: Stamp, new: NewReturn, line: RefundLine, up_seq: int, delta: Delta) -> None:
    """The line, and its goods: back in the books, and out of them again where they cannot be sold."""
    db.execute(
        "INSERT INTO return_line VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.return_id,
            line.line_id,
            new.origin,
            new.sale_id,
            line.original_line_id,
            line.item_id,
            line.code,
            "damaged" if line.damaged else "good",
            line.quantity,
            line.counted,
            line.refund.goods_minor,
            line.refund.deposit_minor,
            line.refund.tax_minor,
        ),
    )
    if line.item_id is None:
        return
    ref = f"{new.return_id}/{line.line_id}"
    stock.book(db, stamp, line.item_id, line.quantity, Cause.RETURN, ref, up_seq, delta)
    if line.damaged:
        stock.book(db, stamp, line.item_id, -line.quantity, Cause.DAMAGED, ref, up_seq, delta)


def _line_event(line: RefundLine) -> dict[str, object]:
    return {
        "line_id": line.line_id,
        "original_line_id": line.original_line_id,
        "sku": line.item_id,
        "code": line.code,
        "quantity": line.quantity,
        "counted": line.counted,
        "restocked": 0 if line.damaged or line.item_id is None else line.quantity,
        "goods_minor": line.refund.goods_minor,
        "deposit_minor": line.refund.deposit_minor,
        "tax_minor": line.refund.tax_minor,
    }


def _head(when: When, ids: dict[str, object]) -> dict[str, object]:
    return ids | {
        "made_at": rfc3339(when.made_wall_ms),
        "utc_offset_minutes": when.utc_offset_minutes,
        "business_date": when.business_date,
        "clock_trusted": when.clock_trusted,
    }


def _subjects(item_ids: Iterable[ItemId | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(evidence.item_subject(item_id) for item_id in item_ids if item_id is not None))
