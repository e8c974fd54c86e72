"""Snapshots: staged chunk by chunk, put in force in one transaction when every chunk that the manifest names is here."""

from __future__ import annotations

from collections.abc import Iterable, Set
from functools import partial
from typing import Final

import msgspec

from edge.model import ItemId
from edge.stock import Cause
from edge.store import catalogue, stock, streams
from edge.store import rows as codec
from edge.store.acks import Acks
from edge.store.db import Refused
from edge.store.hq_rows import Context, Rejection, item_of, new_rows
from edge.store.journal import set_meta
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols import hq
from protocols.hq_buckets import bucket_of
from protocols.hq_messages import BadBody, ItemBatch, SnapshotChunk, SnapshotManifest, StockLevel, decode_chunk
from protocols.hq_zone import ZoneChunk

LOOSE_CHUNKS_MAX: Final = 1_000  # of zones, kept until a manifest names them: one catalogue of the largest kind


class Spoiled(Rejection):
    """A snapshot came whole and its content cannot be used: nothing of it was, and it will not get better."""


def abandon(db: Db) -> None:
    """Forget the snapshot that is being received."""
    db.execute("UPDATE snapshot SET state = 'abandoned' WHERE state = 'staging'")
    db.execute("DELETE FROM snapshot_chunk")


def begin(db: Db, stamp: Stamp, message: hq.Message, manifest: SnapshotManifest) -> None:
    """A manifest begins anew, even under an id that was used before; shared chunks that came before it are taken."""
    abandon(db)
    db.execute(
        "INSERT OR REPLACE INTO snapshot(snapshot_id, manifest, state, received_wall_ms, incarnation, seq, message_id) "
        "VALUES (?, ?, 'staging', ?, ?, ?, ?)",
        (manifest.snapshot_id, codec.json_text(manifest), stamp.wall_ms, message.incarnation, message.seq, message.id),
    )
    for ref in manifest.chunks:
        db.execute(
            "INSERT INTO snapshot_chunk SELECT ?, ?, body FROM loose_chunk WHERE sha256 = ?", (manifest.snapshot_id, ref.n, ref.sha256)
        )


def staging(db: Db) -> SnapshotManifest | None:
    """The snapshot that is being received."""
    text = db.execute("SELECT manifest FROM snapshot WHERE state = 'staging'").get
    return None if text is None else msgspec.json.decode(str(text), type=SnapshotManifest)


def missing_chunks(db: Db) -> tuple[str, tuple[int, ...]] | None:
    """(snapshot id, chunk numbers) that are still to come, or None where no snapshot is being received."""
    manifest = staging(db)
    if manifest is None:
        return None
    present = {n for (n,) in db.execute("SELECT n FROM snapshot_chunk WHERE snapshot_id = ?", (manifest.snapshot_id,)).fetchall()}
    return manifest.snapshot_id, tuple(ref.n for ref in manifest.chunks if ref.n not in present)


def stage(db: Db, chunk: SnapshotChunk, body: bytes) -> None:
    """Keep a chunk of the stream. Raises Rejection for one that the manifest does not name."""
    manifest = staging(db)
    if manifest is None or manifest.snapshot_id != chunk.snapshot_id:
        raise Rejection(f"chunk of snapshot {chunk.snapshot_id}, which is not being received")
    if chunk.n >= len(manifest.chunks) or manifest.chunks[chunk.n].sha256 != chunk.sha256:
        raise Rejection(f"chunk {chunk.n} is not the one that the manifest of {chunk.snapshot_id} names")
    db.execute("INSERT OR REPLACE INTO snapshot_chunk VALUES (?, ?, ?)", (chunk.snapshot_id, chunk.n, body))


def stage_shared(db: Db, stamp: Stamp, chunk: ZoneChunk) -> bool:
    """Keep a zone's chunk: for the snapshot that is being received where it names it, else for one to come. False: nothing new."""
    manifest = staging(db)
    named = [ref.n for ref in manifest.chunks if ref.sha256 == chunk.sha256] if manifest is not None else []
    if manifest is not None and named:
        for n in named:
            db.execute("INSERT OR IGNORE INTO snapshot_chunk VALUES (?, ?, ?)", (manifest.snapshot_id, n, chunk.body))
        return True
    db.execute("INSERT OR REPLACE INTO loose_chunk VALUES (?, ?, ?)", (chunk.sha256, chunk.body, stamp.wall_ms))
    db.execute(
        "DELETE FROM loose_chunk WHERE rowid <= (SELECT max(rowid) FROM loose_chunk) - ?", (LOOSE_CHUNKS_MAX,)
    )  # the rowid grows with every chunk kept: the oldest go
    return False


def note_items(db: Db, message: hq.Message, batch: ItemBatch) -> None:
    """Remember where HQ's last word about these items came from."""
    for sku in (*(item.sku for item in batch.items), *batch.removed):
        db.execute("INSERT OR REPLACE INTO item_change VALUES (?, ?, ?)", (sku, message.incarnation, message.seq))


def swap_if_complete(db: Db, stamp: Stamp, source: str, context: Context, acks: Acks, delta: Delta) -> bool:
    """Put a complete snapshot in force: its part of items, prices and codes replaced as a whole, the price stream set to its base.

    Every chunk was compared with its hash in the manifest when it came, so "not named" means gone. What the price stream said after
    the snapshot's base stays. True: the price stream may have moved, and what waits in it can go on.
    """
    row = db.execute("SELECT manifest, incarnation, seq FROM snapshot WHERE state = 'staging'").fetchone()
    if row is None:
        return False
    manifest = msgspec.json.decode(str(row[0]), type=SnapshotManifest)
    present = db.execute("SELECT count(*) FROM snapshot_chunk WHERE snapshot_id = ?", (manifest.snapshot_id,)).get
    if present != len(manifest.chunks):
        return False
    try:
        _replace(db, stamp, manifest, source, context, delta)
    except (Rejection, Refused, BadBody) as error:
        raise Spoiled(f"snapshot {manifest.snapshot_id}: {error}") from error
    db.execute("UPDATE snapshot SET state = 'old' WHERE state = 'live'")
    db.execute("UPDATE snapshot SET state = 'live' WHERE snapshot_id = ?", (manifest.snapshot_id,))
    set_meta(db, "generation", manifest.snapshot_id)
    db.execute("DELETE FROM snapshot_chunk")
    db.execute("DELETE FROM loose_chunk")
    _move_price_stream(db, manifest)
    delta.generation = manifest.snapshot_id
    told = streams.cursors(db).get("bulk")
    if row[1] and told is not None and told.incarnation == row[1]:
        acks.staged(row[1], row[2], told.seq, in_force=True)
    return True


def _replace(db: Db, stamp: Stamp, manifest: SnapshotManifest, source: str, context: Context, delta: Delta) -> None:
    buckets = None if manifest.scope is None else frozenset(manifest.scope.buckets)
    newer = _said_since(db, manifest)
    before = {str(each) for (each,) in db.execute("SELECT item_id FROM item WHERE removed = 0").fetchall()}
    named: set[str] = set()
    named_prices: set[tuple[str, str]] = set()
    for ref in manifest.chunks:
        body = db.execute("SELECT body FROM snapshot_chunk WHERE snapshot_id = ? AND n = ?", (manifest.snapshot_id, ref.n)).get
        assert isinstance(body, bytes)
        chunk = decode_chunk(manifest.snapshot_id, ref.n, ref.sha256, body)
        catalogue.put_items(db, (item_of(each) for each in chunk.items if each.sku not in newer), delta)
        catalogue.apply_rows(db, stamp, new_rows(chunk.rows, context.currency), source, context.limits, delta)
        _open_stock(db, stamp, manifest.snapshot_id, chunk.stock, delta)
        named |= {item.sku for item in chunk.items}
        named_prices |= {(row.sku, row.price_id) for row in chunk.rows}
    gone = sorted(sku for sku in before - named - newer if _within(buckets, sku))
    catalogue.remove_items(db, map(ItemId, gone), delta)
    catalogue.withdraw_rows(
        db, stamp, named_prices, partial(_came_after, manifest), source, delta, within=partial(_within, buckets) if buckets else None
    )


def _said_since(db: Db, manifest: SnapshotManifest) -> set[str]:
    """Items of which the price stream said something after the snapshot was written; the rest is forgotten."""
    place = (manifest.price_incarnation, manifest.base_price_seq)
    db.execute("DELETE FROM item_change WHERE NOT (incarnation = ? AND seq > ?)", place)
    return {str(each) for (each,) in db.execute("SELECT item_id FROM item_change").fetchall()}


def _within(buckets: Set[int] | None, sku: str) -> bool:
    return buckets is None or bucket_of(sku) in buckets


def _move_price_stream(db: Db, manifest: SnapshotManifest) -> None:
    """To the snapshot's base, unless it is beyond. A part of the catalogue moves it only from where the rest was found to be equal."""
    incarnation, base = manifest.price_incarnation, manifest.base_price_seq
    current = streams.cursors(db).get("price")
    if manifest.scope is not None:
        at = manifest.scope.price
        if current is None or (current.incarnation, current.seq) != (at.incarnation, at.seq):
            return
    if current is None or current.incarnation != incarnation or current.seq < base:
        streams.set_cursor(db, "price", incarnation, base)
        streams.forget_held(db, "price", incarnation, base)


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
