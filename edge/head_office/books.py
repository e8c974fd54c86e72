"""What an event of a store means for head office. Pure: events in, rows and complaints out.

`place` decides where events belong in a store's chain, `effects` what follows from those that were booked. A sale counts once by its
id, a return and a void by theirs, a stock event by its event id: a store that was restored tells again what was not acknowledged.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

from protocols.hq_events import FIRST_PREV_HASH, AuditHead, Event, EventKind, StagedAck
from protocols.hq_fields import Delta, SeqOrNone

EARLY_EVENTS_MAX: Final = 2_000  # kept behind a gap of one chain: five windows of a store; the store sends the others again
_COUNT_MAX: Final = 2**62  # what the database's integers hold, with room for a sum

Text = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[^\x00]*\Z")]
Word = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*\Z")]
Total = Annotated[int, Meta(ge=-_COUNT_MAX, le=_COUNT_MAX)]


@dataclass(frozen=True, slots=True)
class Head:
    """How far a store incarnation is booked: the last event's number and hash."""

    seq: int = 0
    hash: str = FIRST_PREV_HASH


@dataclass(slots=True)
class Placed:
    """What became of events that came: `booked` in order, `kept` behind a gap; `repeated` are at or before the head, to be compared.

    `dropped`: the number of one that waited, and turned out not to be chained to the one before.
    """

    head: Head
    booked: list[Event] = field(default_factory=list)
    kept: list[Event] = field(default_factory=list)
    repeated: list[Event] = field(default_factory=list)
    dropped: int | None = None
    complaints: list[str] = field(default_factory=list)


def place(head: Head, early: Mapping[int, Event], events: Iterable[Event]) -> Placed:
    """Put events into the chain that stands at `head`, with the `early` ones that wait behind a gap."""
    placed = Placed(head)
    waiting = dict(early)
    for event in events:
        known = waiting.get(event.seq)
        if event.seq <= head.seq:
            placed.repeated.append(event)
        elif known is not None:
            if known.hash != event.hash:
                placed.complaints.append(f"fork: two events with number {event.seq}")
        elif event.seq == placed.head.seq + 1 or len(waiting) < EARLY_EVENTS_MAX:
            waiting[event.seq] = event
    while (following := waiting.pop(placed.head.seq + 1, None)) is not None:
        if following.prev_hash != placed.head.hash:
            placed.complaints.append(f"event {following.seq} is not chained to event {placed.head.seq}")
            placed.dropped = following.seq
            break
        placed.booked.append(following)
        placed.head = Head(following.seq, following.hash)
    placed.kept = [event for seq, event in waiting.items() if seq not in early]
    return placed


class Line(Struct, frozen=True):
    """What a line takes or brings, whichever of the names its event uses."""

    sku: Word | None = None
    quantity: Delta = 0
    restocked: Delta = 0


class SaleBody(Struct, frozen=True):
    sale_id: Text
    lines: tuple[Line, ...] = ()
    total_minor: Total = 0
    business_date: Word = ""


class ReturnBody(Struct, frozen=True):
    return_id: Text
    lines: tuple[Line, ...] = ()


class VoidBody(Struct, frozen=True):
    void_id: Text
    lines: tuple[Line, ...] = ()


class StockBody(Struct, frozen=True):
    event: Word = ""
    sku: Word | None = None
    delta: Delta = 0


class LabelBody(Struct, frozen=True):
    label: Text
    event: str = "label.bound"


Moves = tuple[tuple[str, int], ...]  # (sku, units)


@dataclass(frozen=True, slots=True)
class Sold:
    sale_id: str
    seq: int
    business_date: str
    total_minor: int
    sha256: str
    moves: Moves


@dataclass(frozen=True, slots=True)
class CameBack:
    """A return or a void."""

    kind: str
    id: str
    seq: int
    sha256: str
    moves: Moves


@dataclass(frozen=True, slots=True)
class Moved:
    """A stock event that changes what is on hand."""

    event_id: str
    sku: str
    delta: int
    event: str


@dataclass(slots=True)
class Effects:
    """What follows from the events of one store incarnation. A thing told twice in here is there once."""

    sales: dict[str, Sold] = field(default_factory=dict)
    came_back: dict[tuple[str, str], CameBack] = field(default_factory=dict)
    moves: dict[str, Moved] = field(default_factory=dict)
    bindings: dict[str, str] = field(default_factory=dict)  # label -> the last label.bound
    acks: list[StagedAck] = field(default_factory=list)
    alerts: list[tuple[int, str]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


def effects(events: Sequence[Event]) -> Effects:
    """An event whose data is not what its kind says is booked all the same, and complained about."""
    found = Effects()
    for event in events:
        try:
            _add(found, event)
        except (msgspec.DecodeError, RecursionError) as error:
            found.complaints.append(f"event {event.seq} of kind {event.kind} cannot be booked: {error}")
    return found


def digest(data: str) -> str:
    """What two tellings of one sale are compared by."""
    return hashlib.sha256(data.encode()).hexdigest()


def unusable(event: Event) -> bool:
    """Whether a database could not keep it: JSON text has no NUL, and PostgreSQL takes none."""
    return "\0" in event.data


def audit_complaint(held: AuditHead | None, told: AuditHead, incarnation: str) -> str | None:
    """Within an incarnation the store's audit chain only grows: anything else was written anew."""
    if held is None or told.entry > held.entry or (told.entry == held.entry and told.hash == held.hash):
        return None
    return f"audit of {incarnation}: entry {told.entry} after entry {held.entry}, or another one of that number"


def _add(found: Effects, event: Event) -> None:
    match event.kind:
        case EventKind.SALE:
            sale = _SALE.decode(event.data)
            sold = Sold(
                sale.sale_id, event.seq, sale.business_date[:10], sale.total_minor, digest(event.data), _moves(sale.lines, "quantity", -1)
            )
            _once(found, found.sales, sale.sale_id, sold)
        case EventKind.RETURN:
            back = _RETURN.decode(event.data)
            came = CameBack("return", back.return_id, event.seq, digest(event.data), _moves(back.lines, "restocked", 1))
            _once(found, found.came_back, ("return", back.return_id), came)
        case EventKind.VOID:
            void = _VOID.decode(event.data)
            came = CameBack("void", void.void_id, event.seq, digest(event.data), _moves(void.lines, "quantity", 1))
            _once(found, found.came_back, ("void", void.void_id), came)
        case EventKind.STOCK:
            stock = _STOCK.decode(event.data)
            if stock.delta and stock.sku is not None:
                found.moves[event.id] = Moved(event.id, stock.sku, stock.delta, stock.event)
        case EventKind.LABEL:
            label = _LABEL.decode(event.data)
            if label.event == "label.bound":
                found.bindings[label.label] = event.data
        case EventKind.ACK:
            ack = _ACK.decode(event.data)
            msgspec.convert((ack.stream, ack.id, ack.reason or "", ack.labels), _AckWords)
            found.acks.append(ack)
        case EventKind.ALERT:
            found.alerts.append((event.seq, event.data))


def _once(found: Effects, told: dict[Any, Any], name: object, new: Sold | CameBack) -> None:
    known = told.setdefault(name, new)
    if known.sha256 != new.sha256:
        found.complaints.append(f"two events with id {name}")


def _moves(lines: tuple[Line, ...], units: str, sign: int) -> Moves:
    return tuple((line.sku, sign * getattr(line, units)) for line in lines if line.sku is not None and getattr(line, units))


_AckWords = tuple[Word, Word, Annotated[str, Meta(pattern=r"^[^\x00]*\Z")], SeqOrNone]
_SALE: Final = msgspec.json.Decoder(SaleBody)
_RETURN: Final = msgspec.json.Decoder(ReturnBody)
_VOID: Final = msgspec.json.Decoder(VoidBody)
_STOCK: Final = msgspec.json.Decoder(StockBody)
_LABEL: Final = msgspec.json.Decoder(LabelBody)
_ACK: Final = msgspec.json.Decoder(StagedAck)
