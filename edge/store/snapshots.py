"""Snapshots: staged chunk by chunk, put in force piece by piece when every chunk that the manifest names is here.

A piece is a transaction of some milliseconds, so that no till waits for a catalogue. Until the last one the snapshot is not in force: HQ is
not told so, and what HQ says next waits. A store that stops in between begins anew, and finds what is in force already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from functools import partial
from itertools import chain
from typing import Final, TypeVar

import msgspec

from edge.model import ItemId
from edge.stock import Cause
from edge.store import catalogue, stock, streams
from edge.store import rows as codec
from edge.store.acks import Acks
from edge.store.hq_rows import Context, Rejection, item_of, new_rows
from edge.store.journal import get_meta, set_meta
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols import hq
from protocols.hq_buckets import bucket_of
from protocols.hq_messages import BadBody, ChunkRef, ItemBatch, SnapshotChunk, SnapshotManifest, StockLevel, decode_chunk
from protocols.hq_messages import Item as WireItem
from protocols.hq_messages import PriceRow as WireRow
from protocols.hq_zone import ZoneChunk

LOOSE_CHUNKS_MAX: Final = 1_000  # of zones, kept until a manifest names them: one catalogue of the largest kind
SLICE_ROWS: Final = 50  # items with their prices, or rows, put in force in one transaction: some 4 ms
PAGE_ROWS: Final = 500  # looked through in one transaction for what is gone

T = TypeVar("T")
_Piece = Callable[[Db, Stamp, Context, Delta], None]


class Spoiled(Rejection):
    """A snapshot's content cannot be used: nothing of it was, and it will not get better."""


def abandon(db: Db, acks: Acks, reason: str) -> None:
    """Forget the snapshot that is being received, and tell HQ why."""
    found = db.execute("DELETE FROM snapshot WHERE state = 'staging' RETURNING snapshot_id, incarnation, seq, message_id").fetchall()
    db.execute("DELETE FROM snapshot_chunk")
    for snapshot_id, incarnation, seq, message_id in found:
        why = reason if snapshot_id in reason else f"{snapshot_id}: {reason}"
        db.execute(
            "UPDATE inbox SET state = 'rejected', reason = ? WHERE incarnation = ? AND stream = 'bulk' AND seq = ?", (why, incarnation, seq)
        )
        if incarnation:  # else an older program received it
            acks.refused(incarnation, seq, message_id, why)


def begin(db: Db, stamp: Stamp, message: hq.Message, manifest: SnapshotManifest, acks: Acks) -> None:
    """A manifest begins anew, even under an id that was used before; shared chunks that came before it are taken.

    Raises Rejection for one on top of a log that the price stream has left.
    """
    if _is_left(db, manifest):
        raise Rejection(f"{manifest.snapshot_id} stands on {manifest.price_incarnation}, which the price stream has left")
    abandon(db, acks, f"{manifest.snapshot_id} takes its place")
    db.execute(
        "INSERT OR REPLACE INTO snapshot(snapshot_id, manifest, state, received_wall_ms, incarnation, seq, message_id) "
        "VALUES (?, ?, 'staging', ?, ?, ?, ?)",
        (manifest.snapshot_id, codec.json_text(manifest), stamp.wall_ms, message.incarnation, message.seq, message.id),
    )
    for ref in manifest.chunks:
        db.execute(
            "INSERT INTO snapshot_chunk SELECT ?, ?, body FROM loose_chunk WHERE sha256 = ?", (manifest.snapshot_id, ref.n, ref.sha256)
        )


def leave_log(db: Db, acks: Acks, stream: str, incarnation: str) -> None:
    """A stream went to another log of HQ's. A snapshot that stands on the one which the price stream has left is given up, unless it is
    being put in force already: then what the new log says comes on top of it."""
    manifest = staging(db)
    if manifest is None:
        return
    if stream == hq.Stream.PRICE and incarnation != manifest.price_incarnation:
        streams.retire(db, stream, manifest.price_incarnation)  # which the price stream may never have been in
    if _is_left(db, manifest) and not is_complete(db):
        abandon(db, acks, f"HQ's log {manifest.price_incarnation}, on which it stands, was left")


def _is_left(db: Db, manifest: SnapshotManifest) -> bool:
    current = streams.cursors(db).get("price")
    return current is not None and current.incarnation != manifest.price_incarnation and streams.is_retired(db, manifest.price_incarnation)


def staging(db: Db) -> SnapshotManifest | None:
    """The snapshot that is being received."""
    text = db.execute("SELECT manifest FROM snapshot WHERE state = 'staging'").get
    return None if text is None else msgspec.json.decode(str(text), type=SnapshotManifest)


def place(db: Db) -> hq.StreamCursor | None:
    """Where the manifest of the snapshot that is being received stands in the bulk stream."""
    row = db.execute("SELECT incarnation, seq FROM snapshot WHERE state = 'staging'").fetchone()
    return None if row is None else hq.StreamCursor(str(row[0]), int(row[1]))


def missing_chunks(db: Db) -> tuple[str, tuple[int, ...]] | None:
    """(snapshot id, chunk numbers) that are still to come, or None where no snapshot is being received."""
    manifest = staging(db)
    if manifest is None:
        return None
    present = {n for (n,) in db.execute("SELECT n FROM snapshot_chunk WHERE snapshot_id = ?", (manifest.snapshot_id,)).fetchall()}
    return manifest.snapshot_id, tuple(ref.n for ref in manifest.chunks if ref.n not in present)


def stage(db: Db, chunk: SnapshotChunk, body: bytes, context: Context) -> None:
    """Keep a chunk of the stream. Raises Rejection for one that the manifest does not name, Spoiled for one that cannot be used."""
    manifest = staging(db)
    if manifest is None or manifest.snapshot_id != chunk.snapshot_id:
        raise Rejection(f"chunk of snapshot {chunk.snapshot_id}, which is not being received")
    if chunk.n >= len(manifest.chunks) or manifest.chunks[chunk.n].sha256 != chunk.sha256:
        raise Rejection(f"chunk {chunk.n} is not the one that the manifest of {chunk.snapshot_id} names")
    _check(chunk, context)
    db.execute("INSERT OR REPLACE INTO snapshot_chunk VALUES (?, ?, ?)", (chunk.snapshot_id, chunk.n, body))


def stage_shared(db: Db, stamp: Stamp, chunk: ZoneChunk, context: Context) -> bool:
    """Keep a zone's chunk: for the snapshot that is being received where it names it, else for one to come. False: nothing new.

    Raises Spoiled for one that the manifest names and that cannot be used. One that it does not name spoils nothing.
    """
    manifest = staging(db)
    named = [ref.n for ref in manifest.chunks if ref.sha256 == chunk.sha256] if manifest is not None else []
    try:
        _check(decode_chunk(f"by zone {chunk.zone}", 0, chunk.sha256, chunk.body), context)
    except (BadBody, Spoiled) as error:
        if named:
            raise Spoiled(f"chunk {chunk.id} of zone {chunk.zone}: {error}") from error
        return False
    if manifest is not None and named:
        for n in named:
            db.execute("INSERT OR IGNORE INTO snapshot_chunk VALUES (?, ?, ?)", (manifest.snapshot_id, n, chunk.body))
        return True
    db.execute("INSERT OR REPLACE INTO loose_chunk VALUES (?, ?, ?)", (chunk.sha256, chunk.body, stamp.wall_ms))
    db.execute(
        "DELETE FROM loose_chunk WHERE rowid <= (SELECT max(rowid) FROM loose_chunk) - ?", (LOOSE_CHUNKS_MAX,)
    )  # the rowid grows with every chunk kept: the oldest go
    return False


def _check(chunk: SnapshotChunk, context: Context) -> None:
    try:
        new_rows(chunk.rows, context.currency)
    except Rejection as error:
        raise Spoiled(f"snapshot {chunk.snapshot_id}: {error}") from error


def note_items(db: Db, message: hq.Message, batch: ItemBatch) -> None:
    """Remember where HQ's last word about these items came from."""
    for sku in (*(item.sku for item in batch.items), *batch.removed):
        db.execute("INSERT OR REPLACE INTO item_change VALUES (?, ?, ?)", (sku, message.incarnation, message.seq))


def is_complete(db: Db) -> bool:
    """Whether a snapshot is all here and not in force yet."""
    missing = missing_chunks(db)
    return missing is not None and not missing[1]


class Swap:
    """A complete snapshot on its way into force: its part of items, prices and codes is replaced, the price stream set to its base.

    Every chunk was compared with its hash in the manifest when it came, so "not named" means gone. What the price stream said after the
    snapshot's base stays.
    """

    def __init__(self, db: Db) -> None:
        """Reads what does not change until the end, as nothing else that HQ says is applied. There must be a complete snapshot."""
        text, incarnation, self._seq, message_id = db.execute(
            "SELECT manifest, incarnation, seq, message_id FROM snapshot WHERE state = 'staging'"
        ).fetchone()
        self._manifest = msgspec.json.decode(str(text), type=SnapshotManifest)
        self._incarnation = str(incarnation)
        self._source = f"{incarnation}/bulk/{self._seq}/{message_id}"
        scope = self._manifest.scope
        self._buckets = None if scope is None else frozenset(scope.buckets)
        self._newer = _said_since(db, self._manifest)
        self._first = get_meta(db, "generation") is None
        self._rows_whole = False
        self._items: set[str] = set()
        self._prices: set[tuple[str, str]] = set()
        self._pieces = self._all_pieces()

    @property
    def snapshot_id(self) -> str:
        return self._manifest.snapshot_id

    def stands(self, db: Db) -> bool:
        """Whether it is still to be put in force: whoever began it may be gone, and another have ended it since."""
        place = (self.snapshot_id, self._incarnation, self._seq)
        found = db.execute("SELECT 1 FROM snapshot WHERE state = 'staging' AND snapshot_id = ? AND incarnation = ? AND seq = ?", place)
        return found.get is not None

    def step(self, db: Db, stamp: Stamp, context: Context, delta: Delta) -> bool:
        """Put the next piece in force, in the caller's transaction. False: all is done but the end."""
        piece = next(self._pieces, None)
        if piece is not None:
            piece(db, stamp, context, delta)
        return piece is not None

    def end(self, db: Db, acks: Acks, delta: Delta) -> None:
        """In force from here on: the price stream may have moved, and what waits in it can go on."""
        db.execute("DELETE FROM snapshot WHERE snapshot_id <> ?", (self.snapshot_id,))
        db.execute("UPDATE snapshot SET state = 'live' WHERE snapshot_id = ?", (self.snapshot_id,))
        set_meta(db, "generation", self.snapshot_id)
        db.execute("DELETE FROM snapshot_chunk")
        db.executemany("DELETE FROM loose_chunk WHERE sha256 = ?", [(ref.sha256,) for ref in self._manifest.chunks])
        _forget_said(db, self._manifest)
        _move_price_stream(db, self._manifest)
        delta.generation = self.snapshot_id
        told = streams.cursors(db).get("bulk")
        if self._incarnation and told is not None and told.incarnation == self._incarnation:
            acks.staged(self._incarnation, self._seq, told.seq, in_force=True)

    def _all_pieces(self) -> Iterator[_Piece]:
        """Each is made when the one before it is in force."""
        for ref in self._manifest.chunks:
            found: list[SnapshotChunk] = []
            yield partial(self._read, ref, found)
            chunk = found[0]
            yield from self._goods(chunk)
            for levels in _sliced(chunk.stock):
                yield partial(self._put_stock, levels)
        after: list[tuple[str, str]] = [("", "")]
        while after:
            yield partial(self._remove_items, after)
        after = [("", "")]
        while after:
            yield partial(self._withdraw_prices, after)

    def _goods(self, chunk: SnapshotChunk) -> Iterator[_Piece]:
        """An item comes with its prices, or its labels would be drawn twice."""
        rows_of: dict[str, list[WireRow]] = {}
        for row in () if self._rows_whole else chunk.rows:
            rows_of.setdefault(row.sku, []).append(row)
        for items in _sliced(chunk.items):
            yield partial(self._put_items, items, tuple(row for each in items for row in rows_of.pop(each.sku, ())))
        for rows in [chunk.rows] if self._rows_whole else _sliced(tuple(chain.from_iterable(rows_of.values()))):
            yield partial(self._put_items, (), rows)

    def _read(self, ref: ChunkRef, found: list[SnapshotChunk], db: Db, _stamp: Stamp, context: Context, _delta: Delta) -> None:
        body = db.execute("SELECT body FROM snapshot_chunk WHERE snapshot_id = ? AND n = ?", (self.snapshot_id, ref.n)).get
        assert isinstance(body, bytes)
        chunk = decode_chunk(self.snapshot_id, ref.n, ref.sha256, body)
        self._items.update(item.sku for item in chunk.items)
        self._prices.update((row.sku, row.price_id) for row in chunk.rows)
        # a small store's chunk stays in one: cut up, no slice would be large enough for the stop. A first catalogue changes nothing
        self._rows_whole = not self._first and _may_be_stopped(db, chunk, context)
        found.append(chunk)

    def _put_items(
        self, items: tuple[WireItem, ...], rows: tuple[WireRow, ...], db: Db, stamp: Stamp, context: Context, delta: Delta
    ) -> None:
        catalogue.put_items(db, (item_of(each) for each in items if each.sku not in self._newer), delta)
        catalogue.apply_rows(db, stamp, new_rows(rows, context.currency), self._source, context.limits, delta)

    def _put_stock(self, levels: tuple[StockLevel, ...], db: Db, stamp: Stamp, _context: Context, delta: Delta) -> None:
        _open_stock(db, stamp, self.snapshot_id, levels, delta)

    def _remove_items(self, after: list[tuple[str, str]], db: Db, _stamp: Stamp, _context: Context, delta: Delta) -> None:
        """A page of the catalogue: what the snapshot speaks of and does not name is no longer sold. `after` is emptied at the end."""
        page = catalogue.page_of_items(db, after.pop()[0], PAGE_ROWS)
        gone = [sku for sku in page if sku not in self._items and sku not in self._newer and _within(self._buckets, sku)]
        catalogue.remove_items(db, map(ItemId, gone), delta)
        after.extend((sku, "") for sku in page[PAGE_ROWS - 1 :])

    def _withdraw_prices(self, after: list[tuple[str, str]], db: Db, stamp: Stamp, _context: Context, delta: Delta) -> None:
        """A page of the prices: what the snapshot speaks of and does not name is no longer HQ's. `after` is emptied at the end."""
        page = catalogue.page_of_prices(db, *after.pop(), PAGE_ROWS)
        gone = [
            (price.row_id, price.item_id)
            for price in page
            if (price.item_id, price.price_id) not in self._prices
            and not _came_after(self._manifest, price.source)
            and _within(self._buckets, price.item_id)
        ]
        catalogue.withdraw(db, stamp, gone, self._source, delta)
        after.extend((price.item_id, price.price_id) for price in page[PAGE_ROWS - 1 :])


def _sliced(rows: tuple[T, ...]) -> Iterator[tuple[T, ...]]:
    return (rows[start : start + SLICE_ROWS] for start in range(0, len(rows), SLICE_ROWS))


def _may_be_stopped(db: Db, chunk: SnapshotChunk, context: Context) -> bool:
    """Whether the chunk has so many of the store's items that the stop for a batch as a whole could hold it."""
    total = db.execute("SELECT count(*) FROM in_force").get
    assert isinstance(total, int)
    items = len({row.sku for row in chunk.rows})
    return items >= catalogue.BATCH_ANOMALY_ITEMS_MIN and items * 100 > total * context.limits.batch_percent


def _said_since(db: Db, manifest: SnapshotManifest) -> set[str]:
    """Items of which the price stream said something after the snapshot was written."""
    found = db.execute("SELECT item_id FROM item_change WHERE incarnation = ? AND seq > ?", _place(manifest))
    return {str(each) for (each,) in found.fetchall()}


def _forget_said(db: Db, manifest: SnapshotManifest) -> None:
    db.execute("DELETE FROM item_change WHERE NOT (incarnation = ? AND seq > ?)", _place(manifest))


def _place(manifest: SnapshotManifest) -> tuple[str, int]:
    return manifest.price_incarnation, manifest.base_price_seq


def _within(buckets: Set[int] | None, sku: str) -> bool:
    return buckets is None or bucket_of(sku) in buckets


def _move_price_stream(db: Db, manifest: SnapshotManifest) -> None:
    """To the snapshot's base, unless it is beyond, or in a log that HQ began since. A part of the catalogue moves it only from where the
    rest was found to be equal."""
    incarnation, base = manifest.price_incarnation, manifest.base_price_seq
    current = streams.cursors(db).get("price")
    if _is_left(db, manifest):
        return
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
    told = {level.sku: level.on_hand for level in levels}
    heard_of = db.execute(
        "SELECT value FROM json_each(?) WHERE EXISTS (SELECT 1 FROM ledger WHERE item_id = value)", (codec.json_text([*told]),)
    ).fetchall()
    for (sku,) in heard_of:
        del told[sku]
    for sku, on_hand in told.items():
        stock.book(db, stamp, ItemId(sku), on_hand, Cause.OPENING, snapshot_id, 0, delta)
