"""Head office's own log: what it said to each store, signed, in gap-free streams; and the catalogue that follows from it.

Who appends holds the row of the log's position until the commit, so that positions become visible in their order: a worker that asks
for what is beyond the one it knows misses nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edge.head_office.db.schema import HISTORY_SAID, ITEM, LOG, META, PRICE, SNAPSHOT, STORE, STREAM_END
from edge.head_office.db.seam import Clash, Database
from edge.head_office.history import SaidPrice, past_prices
from edge.head_office.history import drafts as history_drafts
from edge.head_office.publishing import Draft, SnapshotDraft
from edge.head_office.sending import Snapshot
from protocols.hq import MESSAGE_MAX_BYTES, Down, Signer, Stream, encode_down, partition_of, raw_body, reparse, uuid7
from protocols.hq_messages import TYPES, PriceBatch, SnapshotChunk, SnapshotManifest

POSITION: Final = "log_position"
INCARNATION: Final = "incarnation"
LOG_KEPT_DAYS: Final = 35  # of catalogues that were replaced: a store restored from a month-old copy asks what was in force since
_PRICED: Final = "'price.batch.v1', 'snapshot.chunk.v1'"  # types of messages that say prices
CHUNKS_AGAIN_MAX: Final = 64  # in one answer; a store that lacks more asks again
LAID_OUT: Final = "1"  # of the tables; a later program that changes them says another number


class UnknownStore(ValueError):
    """Head office has no such store; `shelfd hq store add` makes one."""


class Overtaken(Exception):
    """Somebody else said something to this store since: what was drafted stands on what is no longer so. Draft it again."""


@dataclass(frozen=True, slots=True)
class Said:
    """A stretch of a stream that was appended."""

    store: str
    stream: Stream
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Author:
    """Who says it: the key that signs, and the `source` of the header."""

    signer: Signer
    source: str


@dataclass(frozen=True, slots=True)
class ChunkAgain:
    """A chunk of a whole catalogue that was said already."""

    snapshot_id: str
    n: int
    body: bytes


@dataclass(frozen=True, slots=True)
class End:
    """How far a stream goes."""

    store: str
    stream: Stream
    seq: int
    position: int


def prepare(db: Database, incarnation: str) -> str:
    """Begin the log where there is none; its incarnation."""
    with db.transaction():
        db.write(META, [("layout", LAID_OUT), (POSITION, "0"), (INCARNATION, incarnation)], Clash.KEEP)
    return incarnation_of(db)


def incarnation_of(db: Database) -> str:
    """Of this log: 128 random bits."""
    return str(db.rows("SELECT value FROM meta WHERE name = ?", INCARNATION)[0][0])


def begin_anew(db: Database, incarnation: str) -> None:
    """After the database came back from a copy: the streams start again at 1, and stores retire what they knew of the old ones.

    What prices were said stays: a store whose own file came from a copy asks for it, and one that asked already has to be told again.
    """
    with db.transaction():
        db.write(META, [(INCARNATION, incarnation)], Clash.REPLACE)
        db.rows(f"DELETE FROM log WHERE type NOT IN ({_PRICED})")  # noqa: S608 - words of ours
        for table in ("stream_end", "snapshot", "reached", "history_said"):
            db.rows(f'DELETE FROM "{table}"')  # noqa: S608 - names of ours


def add_store(db: Database, store: str) -> None:
    """Idempotent."""
    with db.transaction():
        db.write(STORE, [(store, partition_of(store), db.now_ms())], Clash.KEEP)


def stores(db: Database) -> dict[str, str]:
    """Store to partition."""
    return {str(store): str(partition) for store, partition in db.rows("SELECT store, partition FROM store ORDER BY store")}


def append(db: Database, author: Author, store: str, drafts: Sequence[Draft | SnapshotDraft], as_of: int | None = None) -> list[Said]:
    """Say these to a store, in one transaction, in this order. Raises `UnknownStore`.

    With `as_of`, the store's position before the drafts were made: raises `Overtaken` where it is another one by now.
    """
    with db.transaction():
        return _append(db, author, store, drafts, as_of)


def say_history(db: Database, author: Author, store: str, restored: str, since_ms: int) -> list[Said]:
    """Answer a store whose file came from a copy, once for each incarnation that asks: the stream brings it there."""
    with db.transaction():
        if not db.write(HISTORY_SAID, [(store, restored, 0)], Clash.KEEP):
            return []
        bindings = [str(body).encode() for (body,) in db.rows("SELECT body FROM binding WHERE store = ? ORDER BY label", store)]
        prices = past_prices(_said_prices(db, store), since_ms, db.now_ms())
        return _append(db, author, store, history_drafts(restored, bindings, prices))


def say_chunks(db: Database, author: Author, store: str, snapshot_id: str, numbers: Iterable[int]) -> list[Said]:
    """Say chunks of the newest whole catalogue again, in new places of the stream. Those that are no chunks of it are passed over."""
    with db.transaction():
        newest = snapshot_of(db, store)
        at = 0 if newest is None else newest.manifest_seq
        (manifest, *_) = messages(db, store, Stream.BULK, at, at) or [b""]
        body = reparse("dn/bulk", manifest).body if manifest else None
        if not isinstance(body, SnapshotManifest) or body.snapshot_id != snapshot_id:
            return []
        wanted = sorted({n for n in numbers if n < len(body.chunks)})[:CHUNKS_AGAIN_MAX]
        drafts = [
            ChunkAgain(snapshot_id, n, raw_body(raw)) for n in wanted for raw in messages(db, store, Stream.BULK, at + 1 + n, at + 1 + n)
        ]
        return _append(db, author, store, drafts) if drafts else []


def _append(
    db: Database, author: Author, store: str, drafts: Sequence[Draft | SnapshotDraft | ChunkAgain], as_of: int | None = None
) -> list[Said]:
    position = _next_position(db)
    known = db.rows("SELECT partition FROM store WHERE store = ?", store)
    if not known:
        raise UnknownStore(f"no store {store}; see: shelfd hq store add")
    if as_of is not None and position_of(db, store) != as_of:
        raise Overtaken(store)
    pen = _Pen(db, author, store, db.now_ms())
    for draft in drafts:
        if isinstance(draft, SnapshotDraft):
            pen.snapshot(draft)
        elif isinstance(draft, ChunkAgain):
            pen.say("snapshot.chunk.v1", None, chunk=draft.body, snapshot_id=draft.snapshot_id, n=draft.n)
        else:
            pen.say(draft.type, draft.data)
            _note_catalogue(db, store, draft)
    return pen.finish(str(known[0][0]), position)


def _said_prices(db: Database, store: str) -> Iterator[SaidPrice]:
    """Every price row that is still in the log, with when it was said."""
    rows = db.rows(
        f"SELECT stream, made_ms, message FROM log WHERE store = ? AND type IN ({_PRICED}) ORDER BY made_ms, seq",  # noqa: S608
        store,
    )
    for stream, made_ms, message in rows:
        body = reparse(f"dn/{stream}", bytes(message)).body
        if isinstance(body, PriceBatch | SnapshotChunk):
            yield from (SaidPrice(int(made_ms), row) for row in body.rows)


def ends(db: Database, partitions: Iterable[str], after_position: int) -> list[End]:
    """The streams of these partitions that grew since."""
    wanted = set(partitions)
    rows = db.rows("SELECT store, stream, seq, position, partition FROM stream_end WHERE position > ? ORDER BY position", after_position)
    return [End(str(store), Stream(stream), int(seq), int(at)) for store, stream, seq, at, partition in rows if partition in wanted]


def ends_of(db: Database, store: str) -> dict[Stream, int]:
    """How far each stream of a store goes."""
    return {Stream(stream): int(seq) for stream, seq in db.rows("SELECT stream, seq FROM stream_end WHERE store = ?", store)}


def position(db: Database) -> int:
    """Of the newest append."""
    return int(db.rows("SELECT value FROM meta WHERE name = ?", POSITION)[0][0])


def position_of(db: Database, store: str) -> int:
    """Of the newest append for one store; 0 before the first."""
    return int(db.rows("SELECT coalesce(max(position), 0) FROM stream_end WHERE store = ?", store)[0][0])


def messages(db: Database, store: str, stream: Stream, first: int, last: int) -> list[bytes]:
    """What was said, byte for byte."""
    rows = db.rows(
        "SELECT message FROM log WHERE store = ? AND stream = ? AND incarnation = ? AND seq >= ? AND seq <= ? ORDER BY seq",
        store,
        str(stream),
        incarnation_of(db),
        first,
        last,
    )
    return [bytes(message) for (message,) in rows]


def snapshot_of(db: Database, store: str) -> Snapshot | None:
    """The newest whole catalogue in the log."""
    rows = db.rows("SELECT manifest_seq, base_price_seq FROM snapshot WHERE store = ?", store)
    return Snapshot(int(rows[0][0]), int(rows[0][1])) if rows else None


def catalogue(db: Database, store: str) -> tuple[list[bytes], list[bytes], dict[str, int]]:
    """(items, price rows, units on hand by SKU) that head office believes the store to have; items and rows as JSON."""
    items = [str(body).encode() for (body,) in db.rows("SELECT body FROM item WHERE store = ? ORDER BY sku", store)]
    prices = [str(body).encode() for (body,) in db.rows("SELECT body FROM price WHERE store = ? ORDER BY sku, price_id", store)]
    stock = {str(sku): int(on_hand) for sku, on_hand in db.rows("SELECT sku, on_hand FROM stock WHERE store = ? ORDER BY sku", store)}
    return items, prices, stock


def price_revs(db: Database, store: str) -> dict[tuple[str, str], int]:
    """(SKU, price id) to the newest rev that was said."""
    rows = db.rows("SELECT sku, price_id, rev FROM price WHERE store = ?", store)
    return {(str(sku), str(price_id)): int(rev) for sku, price_id, rev in rows}


class _Pen:
    """Appends to the streams of one store."""

    def __init__(self, db: Database, author: Author, store: str, now_ms: int) -> None:
        self._db = db
        self._author = author
        self._store = store
        self._now_ms = now_ms
        self._incarnation = incarnation_of(db)
        rows = db.rows("SELECT stream, seq FROM stream_end WHERE store = ?", store)
        self._before = {Stream(stream): int(seq) for stream, seq in rows}
        self._last = dict(self._before)
        self._rows: list[tuple[object, ...]] = []

    def say(
        self, type_: str, data: bytes | None, *, chunk: bytes | None = None, snapshot_id: str | None = None, n: int | None = None
    ) -> int:
        stream = Stream(TYPES[type_][0].removeprefix("dn/"))
        seq = self._last[stream] = self._last.get(stream, 0) + 1
        seed = hashlib.sha256(f"{self._incarnation}/{self._store}/{stream}/{seq}".encode()).digest()
        down = Down(
            type_,
            uuid7(self._now_ms, seed[:10]),
            self._author.source,
            self._store,
            self._now_ms,
            self._incarnation,
            seq,
            data=data,
            chunk=chunk,
            snapshot_id=snapshot_id,
            n=n,
        )
        message = encode_down(down, self._author.signer)[1]
        if len(message) > MESSAGE_MAX_BYTES:  # no store would take it, nor anything that comes after it in the stream
            raise ValueError(f"{type_} of {len(message)} bytes")
        self._rows.append((self._store, str(stream), self._incarnation, seq, type_, self._now_ms, message))
        return seq

    def snapshot(self, draft: SnapshotDraft) -> None:
        """What the bulk stream held before is needless from here on."""
        base = self._last.get(Stream.PRICE, 0)
        snapshot_id = f"s{self._last.get(Stream.BULK, 0) + 1}-{self._incarnation[:8]}"
        manifest_seq = self.say("snapshot.manifest.v1", draft.manifest(snapshot_id, base, self._incarnation))
        for n, part in enumerate(draft.chunks):
            self.say("snapshot.chunk.v1", None, chunk=part.body, snapshot_id=snapshot_id, n=n)
        kept_ms = self._now_ms - LOG_KEPT_DAYS * 86_400_000
        self._db.rows(
            "DELETE FROM log WHERE store = ? AND stream = 'bulk' AND (seq < ? OR incarnation <> ?) AND made_ms < ?",
            *(self._store, manifest_seq, self._incarnation, kept_ms),
        )
        self._db.write(SNAPSHOT, [(self._store, self._incarnation, manifest_seq, base)], Clash.REPLACE)
        self._db.rows("DELETE FROM item WHERE store = ?", self._store)
        self._db.rows("DELETE FROM price WHERE store = ?", self._store)
        self._db.write(ITEM, [(self._store, sku, body) for sku, body in draft.items.items()], Clash.REPLACE)
        self._db.write(PRICE, [(self._store, *key, rev, body) for key, (rev, body) in draft.prices.items()], Clash.REPLACE)

    def finish(self, partition: str, position: int) -> list[Said]:
        self._db.write(LOG, self._rows, Clash.KEEP)
        said = [
            Said(self._store, stream, self._before.get(stream, 0) + 1, last)
            for stream, last in self._last.items()
            if last != self._before.get(stream, 0)
        ]
        self._db.write(
            STREAM_END,
            [(self._store, str(each.stream), partition, self._incarnation, each.last, position) for each in said],
            Clash.REPLACE,
        )
        return said


def _next_position(db: Database) -> int:
    """Takes the row, so that others wait, before anything is read."""
    return int(db.rows("UPDATE meta SET value = CAST(CAST(value AS bigint) + 1 AS text) WHERE name = ? RETURNING value", POSITION)[0][0])


def _note_catalogue(db: Database, store: str, draft: Draft) -> None:
    db.write(ITEM, [(store, sku, body) for sku, body in draft.items.items()], Clash.REPLACE)
    for sku in draft.removed:
        db.rows("DELETE FROM item WHERE store = ? AND sku = ?", store, sku)
        db.rows("DELETE FROM price WHERE store = ? AND sku = ?", store, sku)
    known = price_revs(db, store) if draft.prices else {}
    newer = {key: (rev, body) for key, (rev, body) in draft.prices.items() if rev > known.get(key, 0)}
    db.write(PRICE, [(store, *key, rev, body) for key, (rev, body) in newer.items()], Clash.REPLACE)
