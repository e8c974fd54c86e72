"""What sensors see of the stock. An observation is kept beside the books and never changes them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge.model import ItemId
from edge.store import stock
from edge.store.journal import emit
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind


@dataclass(frozen=True, slots=True)
class Seen:
    """What a sensor counted, and when."""

    observation_id: str
    source: str
    kind: str
    item_id: ItemId
    observed: int
    observed_ms: int


@dataclass(frozen=True, slots=True)
class Difference:
    """A sensor and the books disagree. `expected` is what the books said at the time of the observation."""

    source: str
    kind: str
    observed: int
    expected: int
    since_ms: int


def differences(db: Db, item_id: str | None = None) -> list[tuple[ItemId, Difference]]:
    """Where the newest observation of a source does not match the books, of one item or of all."""
    rows = db.execute(
        "SELECT item_id, source, kind, observed, expected, since_ms FROM observation "
        "WHERE observed <> expected AND item_id = coalesce(?, item_id) ORDER BY item_id, source",
        (item_id,),
    )
    return [(ItemId(item), Difference(*rest)) for item, *rest in rows]


def pairs(db: Db) -> int:
    """How many pairs of source and item have a reading."""
    count = db.execute("SELECT count(*) FROM observation").get
    return count if isinstance(count, int) else 0


def is_known(db: Db, seen: Seen) -> bool:
    """Whether the source has a reading of the item already."""
    return db.execute("SELECT 1 FROM observation WHERE source = ? AND item_id = ?", (seen.source, seen.item_id)).get is not None


def observe(db: Db, stamp: Stamp, seen: Seen, delta: Delta) -> None:
    """Keep a source's newest reading of an item, beside what the books said at that time. It never changes the books.

    HQ hears when a source begins to disagree with them, and when it agrees again. A reading from the future is one of now: a sensor
    whose clock is ahead must not be believed for years.
    """
    seen = replace(seen, observed_ms=min(seen.observed_ms, stamp.wall_ms))
    row = db.execute(
        "SELECT observed_ms, observation_id, observed, expected, since_ms FROM observation WHERE source = ? AND item_id = ?",
        (seen.source, seen.item_id),
    ).fetchone()
    if row is not None and (row[0], row[1]) >= (seen.observed_ms, seen.observation_id):
        return
    after = db.execute("SELECT coalesce(sum(delta), 0) FROM ledger WHERE item_id = ? AND wall_ms > ?", (seen.item_id, seen.observed_ms)).get
    assert isinstance(after, int)
    expected = stock.level_of(db, seen.item_id).on_hand - after
    differed, differs = row is not None and row[2] != row[3], seen.observed != expected
    since_ms = row[4] if row is not None and differed == differs else seen.observed_ms
    db.execute(
        "INSERT OR REPLACE INTO observation VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            seen.source,
            seen.item_id,
            seen.kind,
            seen.observation_id,
            seen.observed,
            seen.observed_ms,
            expected,
            since_ms,
            stamp.wall_ms,
        ),
    )
    if differed != differs:
        data = {
            "event": "stock.differs" if differs else "stock.agrees",
            "sku": seen.item_id,
            "delta": 0,
            "source": seen.source,
            "kind": seen.kind,
            "observed": seen.observed,
            "expected": expected,
        }
        emit(db, stamp, EventKind.STOCK, data, salt=f"observation {seen.source} {seen.item_id} {seen.observation_id}")
        delta.outbox_grew = True
