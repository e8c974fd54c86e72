"""HQ's messages: one transaction each, from inbox row to business rows to staged ack. The pure rules are in `protocols.hq`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache, partial

import msgspec

from edge import pricing
from edge.model import Curve, Item, ItemId, Place, PriceKind, Recall
from edge.stock import Cause
from edge.store import catalogue, recalls, shelf, stock, stock_wire
from edge.store import rows as codec
from edge.store.catalogue import AnomalyLimits, NewRow
from edge.store.db import OWN_TROUBLE, Refused
from edge.store.journal import emit, set_meta
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols import hq
from protocols.hq_events import EventKind, Stage, StagedAck
from protocols.hq_messages import Item as WireItem
from protocols.hq_messages import (
    ItemBatch,
    LabelAssign,
    LabelUnassign,
    PriceBatch,
    PriceDiscard,
    PriceRelease,
    SnapshotChunk,
    SnapshotManifest,
    StockLevel,
    decode_chunk,
)
from protocols.hq_messages import PriceRow as WireRow
from protocols.hq_messages import Refused as RefusedBody
from protocols.hq_recall import LotRecall
from protocols.hq_stock import Observations, StockAdjust, StockCount, StockDigest, StockEscrow, StockHold, StockRelease
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


# -- receiving -------------------------------------------------------------------------------------------------------------


def receive(db: Db, stamp: Stamp, message: hq.Message, context: Context) -> tuple[hq.Decision, Delta]:
    """Place a message in its stream and apply what is in order, held ones behind it included."""
    assert message.stream is not None
    assert message.seq is not None
    delta = Delta()
    stream, seq = str(message.stream), message.seq
    known = db.execute("SELECT sha256 FROM inbox WHERE incarnation = ? AND stream = ? AND seq = ?", (message.incarnation, stream, seq)).get
    decision = _decide(db, message, None if known is None else str(known))
    if isinstance(decision, hq.NewIncarnation):
        _set_cursor(db, stream, message.incarnation, 0)
        decision = _decide(db, message, None)
    match decision:
        case hq.InOrder():
            _forget_held(db, stream, message.incarnation, seq)
            _insert(db, stamp, message, "received")
            _apply_one(db, stamp, message, context, delta)
            _apply_held(db, stamp, stream, context, delta)
        case hq.Gap(hold=True):
            _insert(db, stamp, message, "held")
            _stage(db, stamp, message, Stage.RECEIVED, None, delta)
        case _:
            pass
    return decision, delta


def _decide(db: Db, message: hq.Message, known_digest: str | None) -> hq.Decision:
    assert message.stream is not None
    assert message.seq is not None
    retired = db.execute(
        "SELECT 1 FROM retired_incarnation WHERE stream = ? AND incarnation = ?", (message.stream, message.incarnation)
    ).get
    return hq.decide(
        cursors(db).get(str(message.stream)),
        message.incarnation,
        message.seq,
        message.digest,
        known_digest,
        retired=retired is not None,
        restarts=hq.restarts_stream(message),
    )


def cursors(db: Db) -> dict[str, hq.StreamCursor]:
    """The last message applied in order, per stream."""
    found = db.execute("SELECT stream, incarnation, seq FROM cursor").fetchall()
    return {stream: hq.StreamCursor(incarnation, seq) for stream, incarnation, seq in found}


def open_gap(db: Db, stream: str) -> tuple[str, int, int, int] | None:
    """(incarnation, first missing, last missing, held rows) of a stream, or None where it has no gap."""
    cursor = cursors(db).get(stream)
    if cursor is None:
        return None
    row = db.execute(
        "SELECT min(seq), count(*) FROM inbox WHERE stream = ? AND incarnation = ? AND state = 'held' AND seq > ?",
        (stream, cursor.incarnation, cursor.seq),
    ).fetchone()
    return None if row is None or row[0] is None else (cursor.incarnation, cursor.seq + 1, row[0] - 1, row[1])


def _set_cursor(db: Db, stream: str, incarnation: str, seq: int) -> None:
    """Move a stream. An incarnation that is left is retired: what still comes from it is stale, for good."""
    db.execute(
        "INSERT OR IGNORE INTO retired_incarnation SELECT stream, incarnation FROM cursor WHERE stream = ? AND incarnation <> ?",
        (stream, incarnation),
    )
    db.execute("DELETE FROM retired_incarnation WHERE stream = ? AND incarnation = ?", (stream, incarnation))
    db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (stream, incarnation, seq))


def _forget_held(db: Db, stream: str, incarnation: str, through_seq: int) -> None:
    """Messages that waited in a stream which has gone past them."""
    db.execute(
        "UPDATE inbox SET state = 'stale', raw = NULL WHERE stream = ? AND state = 'held' AND (incarnation <> ? OR seq <= ?)",
        (stream, incarnation, through_seq),
    )


def _insert(db: Db, stamp: Stamp, message: hq.Message, state: str) -> None:
    db.execute(
        "INSERT INTO inbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?)",
        (
            message.incarnation,
            str(message.stream),
            message.seq,
            message.id,
            message.type,
            message.digest,
            message.raw if state == "held" else None,
            state,
            stamp.wall_ms,
            stamp.boot_id,
            stamp.now_ms,
        ),
    )


def _apply_held(db: Db, stamp: Stamp, stream: str, context: Context, delta: Delta) -> None:
    """Apply the messages that waited behind a gap that is now closed."""
    while True:
        cursor = cursors(db)[stream]
        raw = db.execute(
            "SELECT raw FROM inbox WHERE incarnation = ? AND stream = ? AND seq = ? AND state = 'held'",
            (cursor.incarnation, stream, cursor.seq + 1),
        ).get
        if raw is None:
            return
        assert isinstance(raw, bytes)
        _apply_one(db, stamp, hq.reparse(f"dn/{stream}", raw), context, delta)


def _apply_one(db: Db, stamp: Stamp, message: hq.Message, context: Context, delta: Delta) -> None:
    """Apply a message in order, or record why it cannot be; then move the cursor past it and stage the ack."""
    stream, seq = str(message.stream), message.seq
    assert seq is not None
    _set_cursor(db, stream, message.incarnation, seq)
    reason: str | None = None
    stage = Stage.APPLIED
    db.execute("SAVEPOINT message")
    try:
        if message.expires_ms is not None and stamp.clock_trusted and message.expires_ms < stamp.wall_ms:
            raise Rejection("expired before it arrived")
        part = Delta()
        held = _apply_body(db, stamp, message, context, part)
        delta.merge(part)
        if held:
            stage, reason = Stage.HELD, f"held for a person: {', '.join(held)}"[:500]
    except (Rejection, Refused) as error:
        db.execute("ROLLBACK TO message")
        stage, reason = Stage.REJECTED, str(error)[:500]
    except OWN_TROUBLE as error:  # what the checks on the wire did not foresee: the stream must not stop behind it
        db.execute("ROLLBACK TO message")
        stage, reason = Stage.REJECTED, f"{type(error).__name__}: {error}"[:500]
    db.execute("RELEASE message")
    db.execute(
        "UPDATE inbox SET state = ?, reason = ?, raw = NULL WHERE incarnation = ? AND stream = ? AND seq = ?",
        (str(stage), reason or "", message.incarnation, stream, seq),
    )
    _stage(db, stamp, message, stage, reason, delta)


def _stage(db: Db, stamp: Stamp, message: hq.Message, stage: Stage, reason: str | None, delta: Delta) -> None:
    assert message.seq is not None
    ack = StagedAck(str(message.stream), message.incarnation, message.seq, message.id, stage, reason)
    emit(db, stamp, EventKind.ACK, ack, salt=f"ack {message.stream} {message.seq} {stage}")
    delta.outbox_grew = True


# -- applying --------------------------------------------------------------------------------------------------------------


def _apply_body(db: Db, stamp: Stamp, message: hq.Message, context: Context, delta: Delta) -> list[str]:
    """The business rows of one message. Returns ids of price changes held for a person. Raises Rejection or Refused."""
    source = f"{message.incarnation}/{message.stream}/{message.seq}/{message.id}"
    if not context.prices_from_hq and message.stream in (hq.Stream.PRICE, hq.Stream.BULK):
        raise Rejection('this store takes its prices from a file (price_source = "file")')
    match message.body:
        case PriceBatch(rows=rows):
            return put_rows(db, stamp, new_rows(rows, context.currency), source, context.limits, delta)
        case ItemBatch(items=items, removed=removed):
            catalogue.put_items(db, (item_of(each) for each in items), delta)
            catalogue.remove_items(db, (ItemId(each) for each in removed), delta)
        case SnapshotManifest() as manifest:
            _begin_snapshot(db, stamp, manifest)
            _swap_if_complete(db, stamp, source, context, delta)
        case SnapshotChunk() as chunk:
            _stage_chunk(db, chunk, message)
            _swap_if_complete(db, stamp, source, context, delta)
        case StockAdjust() | StockCount() | StockHold() | StockRelease() | StockEscrow() | StockDigest() | Observations() as body:
            stock_wire.apply(db, stamp, body, delta)
        case LotRecall(sku=sku, lots=lots, all_lots=all_lots, reason=reason):
            recalls.put(db, stamp, ItemId(sku), Recall(frozenset(lots), all_lots, reason), source, delta)
        case LabelAssign() as assign:
            place = assign.place or Place()
            _bind(
                db,
                stamp,
                context,
                assign.label,
                tuple(ItemId(each) for each in assign.items),
                assign.template,
                Place(place.aisle, place.bay, place.shelf, place.slot),
                assign.binding_rev,
                delta,
            )
        case LabelUnassign() as unassign:
            _bind(db, stamp, context, unassign.label, (), context.default_template, Place(), unassign.binding_rev, delta)
        case PriceRelease(holds=holds):
            for hold_id in holds:
                catalogue.release_hold(db, stamp, hold_id, None, delta)
        case PriceDiscard(holds=holds):
            for hold_id in holds:
                catalogue.discard_hold(db, stamp, hold_id, "hq")
        case RefusedBody(reason=reason):
            raise Rejection(reason)
        case _:
            raise Rejection(f"type {message.type} has no place in a stream")
    return []


def _bind(
    db: Db,
    stamp: Stamp,
    context: Context,
    label_id: str,
    items: tuple[ItemId, ...],
    template: str,
    place: Place,
    rev: int,
    delta: Delta,
) -> None:
    _, more = shelf.bind(
        db, stamp, label_id, items, template, place, actor="hq", expected_rev=rev, kind=context.label_kind, templates=context.templates
    )
    delta.merge(more)


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
                _curve(row.curve, row.price_quantity) if row.curve else None,
                row.effective_from_ms,
                row.effective_to_ms,
                row.cancelled,
            )
        )
    return found


@lru_cache(maxsize=8192)  # prices repeat, from row to row and from list to list
def _curve(points: tuple[tuple[int, int], ...], price_quantity: int) -> Curve:
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


# -- snapshots -------------------------------------------------------------------------------------------------------------


def _begin_snapshot(db: Db, stamp: Stamp, manifest: SnapshotManifest) -> None:
    db.execute("UPDATE snapshot SET state = 'abandoned' WHERE state = 'staging'")
    db.execute("DELETE FROM snapshot_chunk")  # a manifest begins anew, even under an id that was used before
    db.execute(
        "INSERT OR REPLACE INTO snapshot VALUES (?, ?, 'staging', ?)", (manifest.snapshot_id, codec.json_text(manifest), stamp.wall_ms)
    )


def _stage_chunk(db: Db, chunk: SnapshotChunk, message: hq.Message) -> None:
    text = db.execute("SELECT manifest FROM snapshot WHERE snapshot_id = ? AND state = 'staging'", (chunk.snapshot_id,)).get
    if text is None:
        raise Rejection(f"chunk of snapshot {chunk.snapshot_id}, which is not being received")
    manifest = msgspec.json.decode(str(text), type=SnapshotManifest)
    if chunk.n >= len(manifest.chunks) or manifest.chunks[chunk.n].sha256 != chunk.sha256:
        raise Rejection(f"chunk {chunk.n} is not the one that the manifest of {chunk.snapshot_id} names")
    db.execute("INSERT OR REPLACE INTO snapshot_chunk VALUES (?, ?, ?)", (chunk.snapshot_id, chunk.n, hq.raw_body(message.raw)))


def _swap_if_complete(db: Db, stamp: Stamp, source: str, context: Context, delta: Delta) -> None:
    """Put a complete snapshot in force: items, prices and codes replaced as a whole, price stream set to its base."""
    row = db.execute("SELECT snapshot_id, manifest FROM snapshot WHERE state = 'staging'").fetchone()
    if row is None:
        return
    snapshot_id = str(row[0])
    manifest = msgspec.json.decode(str(row[1]), type=SnapshotManifest)
    present = db.execute("SELECT count(*) FROM snapshot_chunk WHERE snapshot_id = ?", (snapshot_id,)).get
    if present != len(manifest.chunks):
        return
    before = {str(each) for (each,) in db.execute("SELECT item_id FROM item WHERE removed = 0").fetchall()}
    named: set[str] = set()
    named_prices: set[tuple[str, str]] = set()
    for ref in manifest.chunks:
        body = db.execute("SELECT body FROM snapshot_chunk WHERE snapshot_id = ? AND n = ?", (snapshot_id, ref.n)).get
        assert isinstance(body, bytes)
        chunk = decode_chunk(snapshot_id, ref.n, ref.sha256, body)
        catalogue.put_items(db, (item_of(each) for each in chunk.items), delta)
        catalogue.apply_rows(db, stamp, new_rows(chunk.rows, context.currency), source, context.limits, delta)
        _open_stock(db, stamp, snapshot_id, chunk.stock, delta)
        named |= {item.sku for item in chunk.items}
        named_prices |= {(row.sku, row.price_id) for row in chunk.rows}
    catalogue.remove_items(db, (ItemId(each) for each in sorted(before - named)), delta)
    catalogue.withdraw_rows(db, stamp, named_prices, partial(_came_after, manifest), source, delta)
    db.execute("UPDATE snapshot SET state = 'old' WHERE state = 'live'")
    db.execute("UPDATE snapshot SET state = 'live' WHERE snapshot_id = ?", (snapshot_id,))
    set_meta(db, "generation", snapshot_id)
    db.execute("DELETE FROM snapshot_chunk")
    current = cursors(db).get("price")
    if current is None or current.incarnation != manifest.price_incarnation or current.seq < manifest.base_price_seq:
        _set_cursor(db, "price", manifest.price_incarnation, manifest.base_price_seq)
        _forget_held(db, "price", manifest.price_incarnation, manifest.base_price_seq)
    _apply_held(db, stamp, "price", context, delta)
    delta.generation = snapshot_id


def _came_after(manifest: SnapshotManifest, source: str) -> bool:
    """Whether a price row of this source ("incarnation/stream/seq/id") is on top of the snapshot."""
    incarnation, _, rest = source.partition("/price/")
    seq = rest.partition("/")[0]
    return incarnation == manifest.price_incarnation and seq.isdigit() and int(seq) > manifest.base_price_seq


def _open_stock(db: Db, stamp: Stamp, snapshot_id: str, levels: Iterable[StockLevel], delta: Delta) -> None:
    """Opening stock, only for items the ledger has never heard of: after that the store's own events say what is there."""
    for level in levels:
        if db.execute("SELECT 1 FROM ledger WHERE item_id = ? LIMIT 1", (level.sku,)).get is None:
            stock.book(db, stamp, ItemId(level.sku), level.on_hand, Cause.OPENING, snapshot_id, 0, delta)
