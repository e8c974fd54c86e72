"""Items and prices as HQ says them, turned into the store's rows; and when a message is confirmed by the shelf."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edge import pricing
from edge.model import Curve, Item, ItemId
from edge.store import catalogue
from edge.store import rows as codec
from edge.store.catalogue import AnomalyLimits, NewRow
from edge.store.journal import emit
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind, Stage, StagedAck
from protocols.hq_messages import Item as WireItem
from protocols.hq_messages import PriceRow as WireRow
from render.fields import SHIPPED, TemplateSource


@dataclass(frozen=True, slots=True)
class Context:
    """What a message needs beyond the database. `prices_from_hq` False: a file writes prices here, HQ's are refused."""

    currency: str
    limits: AnomalyLimits
    label_kind: str  # driver family of a label that is bound before it was ever heard
    default_template: str
    prices_from_hq: bool
    templates: TemplateSource = SHIPPED


class Rejection(Exception):
    """The message's content cannot be used; nothing of it was applied. The stream goes on."""


def put_rows(db: Db, stamp: Stamp, rows: Iterable[NewRow], source: str, limits: AnomalyLimits | None, delta: Delta) -> list[str]:
    """Apply price rows and note which of them still have to be confirmed on the shelf. Returns the holds made."""
    applied = catalogue.apply_rows(db, stamp, rows, source, limits, delta)
    parts = source.split("/")
    if len(parts) == 4 and applied.rows:
        incarnation, stream, seq, message_id = parts
        place_id = db.execute(
            "INSERT INTO confirm_place(incarnation, stream, seq, message_id, waiting) VALUES (?, ?, ?, ?, ?) "
            "ON CONFLICT(incarnation, stream, seq) DO UPDATE SET waiting = waiting + excluded.waiting RETURNING place_id",
            (incarnation, stream, int(seq), message_id, len(applied.rows)),
        ).get
        db.executemany("INSERT INTO confirm_wait VALUES (?, ?, ?)", [(row.item_id, row.row_id, place_id) for row in applied.rows])
        delta.waiting.update((row.item_id, True) for row in applied.rows)
    return applied.held


@dataclass(frozen=True, slots=True)
class Shown:
    """An item all of whose labels are proven at what is in force: which row, on how many labels."""

    item_id: ItemId
    row_id: int
    labels: int


def settle(db: Db, stamp: Stamp, shown: Iterable[Shown]) -> tuple[None, Delta]:
    """Messages that waited only for these items are confirmed. An item that meanwhile has another price in force, or due, still waits."""
    delta = Delta()
    told = {each.item_id: each for each in shown}
    known = codec.read_known(db, told)
    for item_id, each in told.items():
        current = known[item_id].in_force
        if current is None or current.row.row_id != each.row_id:
            continue
        if pricing.advance(current, known[item_id].rows, stamp.wall_ms, clock_trusted=True) is not None:
            continue  # another row is due already, or waits for a trusted clock
        _settle_item(db, stamp, each, max(stamp.wall_ms, current.latched_through_ms), delta)
    return None, delta


def _settle_item(db: Db, stamp: Stamp, shown: Shown, begun_ms: int, delta: Delta) -> None:
    waits = db.execute(
        "SELECT w.row_id, place_id FROM confirm_wait AS w JOIN price_row AS p USING (row_id) "
        "WHERE w.item_id = ? AND (p.effective_from_ms <= ? OR p.cancelled)",
        (shown.item_id, begun_ms),
    ).fetchall()
    if not waits:
        return  # what the item waits for is still to come: nothing changed, so nobody need look again
    for row_id, place_id in waits:
        done = no_longer_waits(db, shown.item_id, row_id, place_id)
        if done is not None:
            incarnation, stream, seq, message_id = done
            ack = StagedAck(stream, incarnation, seq, message_id, Stage.CONFIRMED, None, shown.labels)
            emit(db, stamp, EventKind.ACK, ack, salt=f"ack {incarnation} {stream} {seq} confirmed")
            delta.outbox_grew = True
    delta.waiting[shown.item_id] = db.execute("SELECT 1 FROM confirm_wait WHERE item_id = ? LIMIT 1", (shown.item_id,)).get is not None


def no_longer_waits(db: Db, item_id: str, row_id: int, place_id: int) -> tuple[str, str, int, str] | None:
    """Strike out a row; (incarnation, stream, seq, message id) of its message where no other row of it waits."""
    db.execute("DELETE FROM confirm_wait WHERE item_id = ? AND row_id = ? AND place_id = ?", (item_id, row_id, place_id))
    if db.execute("UPDATE confirm_place SET waiting = waiting - 1 WHERE place_id = ? RETURNING waiting", (place_id,)).get != 0:
        return None
    gone: tuple[str, str, int, str] = db.execute(
        "DELETE FROM confirm_place WHERE place_id = ? RETURNING incarnation, stream, seq, message_id", (place_id,)
    ).fetchone()
    return gone


def new_rows(rows: Iterable[WireRow], currency: str) -> list[NewRow]:
    """Wire rows as store rows. Raises Rejection for another currency than the store's."""
    found: list[NewRow] = []
    for index, row in enumerate(rows):
        if row.currency != currency:
            raise Rejection(f"row {index}: currency {row.currency}, this store has {currency}")
        found.append(
            NewRow(
                ItemId(row.sku),
                codec.KINDS[row.kind],
                row.price_id,
                row.rev,
                curve_of(row.curve, row.price_quantity) if row.curve else None,
                row.effective_from_ms,
                row.effective_to_ms,
                row.cancelled,
            )
        )
    return found


def curve_of(points: tuple[tuple[int, int], ...], price_quantity: int) -> Curve:
    """A wire curve as the store's: of pieces or of the base unit."""
    if price_quantity != 1:
        points = tuple((quantity * price_quantity, total) for quantity, total in points)
    return codec.curve_through(points)


def item_of(wire: WireItem) -> tuple[Item, tuple[tuple[str, int], ...]]:
    """A wire item as the store's, with its codes."""
    item = Item(
        ItemId(wire.sku),
        wire.name,
        wire.short_name,
        wire.brand,
        str(wire.sold_by),
        wire.net_content,
        None if wire.net_unit is None else str(wire.net_unit),
        wire.drained_weight,
        wire.unit_price_base,
        wire.tax_class or "",
        wire.deposit_minor,
        wire.age_limit or 0,
        wire.origin or "",
        wire.category or "",
        attributes=tuple(wire.attributes.items()),
    )
    return item, tuple((code.gtin, code.pack_quantity) for code in wire.barcodes)
