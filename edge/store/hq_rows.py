"""Items and prices as HQ says them, turned into the store's rows; and when a message is confirmed by the shelf."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from edge import pricing
from edge.model import Curve, Item, ItemId, PriceKind
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
    if len(parts) == 4:
        incarnation, stream, seq, message_id = parts
        db.executemany(
            "INSERT OR IGNORE INTO confirm_wait VALUES (?, ?, ?, ?, ?, ?)",
            [(incarnation, stream, int(seq), message_id, row.item_id, row.row_id) for row in applied.rows],
        )
        delta.waiting.update((row.item_id, True) for row in applied.rows)
    return applied.held


def settle(db: Db, stamp: Stamp, item_id: ItemId, row_id: int, labels: int) -> tuple[None, Delta]:
    """Every label of the item is proven at what is in force (`row_id`): messages that waited only for it are confirmed."""
    delta = Delta()
    current = codec.read_in_force(db, item_id)
    if current is None or current.row.row_id != row_id:
        return None, delta
    if pricing.advance(current, codec.read_rows(db, item_id), stamp.wall_ms, clock_trusted=True) is not None:
        return None, delta  # another row is due already, or waits for a trusted clock
    waits = db.execute(
        "SELECT w.incarnation, w.stream, w.seq, w.message_id, w.row_id FROM confirm_wait AS w JOIN price_row AS p USING (row_id) "
        "WHERE w.item_id = ? AND (p.effective_from_ms <= ? OR p.cancelled)",
        (item_id, max(stamp.wall_ms, current.latched_through_ms)),
    ).fetchall()
    if not waits:
        return None, delta  # what the item waits for is still to come: nothing changed, so nobody need look again
    for incarnation, stream, seq, message_id, waited_row in waits:
        key = (incarnation, stream, seq)
        db.execute("DELETE FROM confirm_wait WHERE incarnation = ? AND stream = ? AND seq = ? AND row_id = ?", (*key, waited_row))
        rest = db.execute("SELECT count(*) FROM confirm_wait WHERE incarnation = ? AND stream = ? AND seq = ?", key).get
        if rest == 0:
            ack = StagedAck(stream, incarnation, seq, message_id, Stage.CONFIRMED, None, labels)
            emit(db, stamp, EventKind.ACK, ack, salt=f"ack {incarnation} {stream} {seq} confirmed")
            delta.outbox_grew = True
    left = db.execute("SELECT 1 FROM confirm_wait WHERE item_id = ? LIMIT 1", (item_id,)).get
    delta.waiting[item_id] = left is not None
    return None, delta


def new_rows(rows: Iterable[WireRow], currency: str) -> list[NewRow]:
    """Wire rows as store rows. Raises Rejection for another currency than the store's."""
    found: list[NewRow] = []
    for index, row in enumerate(rows):
        if row.currency != currency:
            raise Rejection(f"row {index}: currency {row.currency}, this store has {currency}")
        found.append(
            NewRow(
                ItemId(row.sku),
                PriceKind(row.kind),
                row.price_id,
                row.rev,
                curve_of(row.curve, row.price_quantity) if row.curve else None,
                row.effective_from_ms,
                row.effective_to_ms,
                row.cancelled,
            )
        )
    return found


@lru_cache(maxsize=8192)  # prices repeat, from row to row and from list to list
def curve_of(points: tuple[tuple[int, int], ...], price_quantity: int) -> Curve:
    """A wire curve as the store's: of pieces or of the base unit."""
    return Curve(tuple((quantity * price_quantity, total) for quantity, total in points))


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
