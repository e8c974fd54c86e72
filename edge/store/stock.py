"""The stock ledger on disk: every unit that came or went. The rules are in `edge.stock`, holds and quotas in `edge.store.holds`.

A row of `stock` is the sum of its ledgers at any time: `ledger` for what is on hand, `reserve_move` for what is held or set aside. Both
are append-only and know each (cause, ref) once, so that whatever is told twice counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from edge.model import ItemId
from edge.stock import ADJUSTMENTS, Cause, Digest, Level, digest
from edge.store import evidence
from edge.store.db import Refused
from edge.store.journal import emit, get_meta, outbox_state
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind

LEVELS_PER_EVENT: Final = 200  # levels in one event: about 8 KB, so that a batch of 20 stays one message

_HQ_CAUSES: Final = ("hq", *ADJUSTMENTS)  # "hq" was the cause of every adjustment once
_HQ_CAUSE_LIST: Final = ", ".join(f"'{cause}'" for cause in _HQ_CAUSES)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """`change` units more or fewer. `as_of_seq` places it among the store's own events; None: after all of them until now."""

    ref: str
    item_id: ItemId
    change: int
    cause: Cause
    as_of_seq: int | None = None


# -- reading ---------------------------------------------------------------------------------------------------------------


def level_of(db: Db, item_id: str) -> Level:
    row = db.execute("SELECT on_hand, held, escrow FROM stock WHERE item_id = ?", (item_id,)).fetchone()
    return Level() if row is None else Level(*row)


# -- on hand ---------------------------------------------------------------------------------------------------------------


def book(db: Db, stamp: Stamp, item_id: ItemId, change: int, cause: Cause, ref: str, position: int, delta: Delta) -> bool:
    """Append to the ledger and move the materialised row with it. False when (cause, ref, item) is booked already.

    `position` is the store's event that it belongs to: a count as of an event is compared with what was booked up to it.
    """
    entry = db.execute(
        "INSERT INTO ledger(item_id, delta, cause, ref, up_seq, wall_ms) VALUES (?, ?, ?, ?, ?, ?) "
        "ON CONFLICT(cause, ref, item_id) DO NOTHING RETURNING entry_id",
        (item_id, change, str(cause), ref, position, stamp.wall_ms),
    ).get
    if entry is None:
        return False
    on_hand, held, escrow = db.execute(
        "INSERT INTO stock(item_id, on_hand) VALUES (?, ?) ON CONFLICT(item_id) DO UPDATE SET on_hand = on_hand + excluded.on_hand "
        "RETURNING on_hand, held, escrow",
        (item_id, change),
    ).fetchone()
    delta.stock[item_id], delta.reserved[item_id] = on_hand, (held, escrow)
    return True


def adjust(db: Db, stamp: Stamp, each: Adjustment, delta: Delta) -> bool:
    """Book a change by HQ or staff, once by its id whatever it is called. What was counted since already counts 0."""
    if _is_adjusted(db, each):
        return False
    last_seq = outbox_state(db).last_seq
    position = last_seq if each.as_of_seq is None else min(each.as_of_seq, last_seq)  # nothing is after what has not happened
    newest = _newest_count(db, each.item_id)
    counted_since = newest is not None and newest[0] >= position
    return book(db, stamp, each.item_id, 0 if counted_since else each.change, each.cause, each.ref, position, delta)


def adjust_here(db: Db, stamp: Stamp, each: Adjustment, actor: str, delta: Delta) -> int:
    """A receipt, a loss or a correction that staff books, once by its id: told to HQ. Returns the units now on hand."""
    if not _is_adjusted(db, each):
        data = {
            "event": "stock.adjusted",
            "sku": each.item_id,
            "delta": each.change,
            "cause": str(each.cause),
            "ref": each.ref,
            "by": actor,
        }
        up_seq = emit(db, stamp, EventKind.STOCK, data, salt=f"adjust {each.ref}")
        adjust(db, stamp, replace(each, as_of_seq=up_seq), delta)
        evidence.note(db, stamp, "stock.adjusted", (evidence.item_subject(each.item_id),), data, actor=actor)
        delta.outbox_grew = True
    return level_of(db, each.item_id).on_hand


def _is_adjusted(db: Db, each: Adjustment) -> bool:
    known = db.execute(
        f"SELECT 1 FROM ledger WHERE cause IN ({_HQ_CAUSE_LIST}) AND ref = ? AND item_id = ?",  # noqa: S608
        (each.ref, each.item_id),
    ).get
    return known is not None


def count(db: Db, stamp: Stamp, ref: str, item_id: ItemId, counted: int, as_of_seq: int, delta: Delta, *, actor: str = "hq") -> None:
    """A stocktake: `counted` units were there when the events up to `as_of_seq` had happened. HQ is told the difference.

    An older count that comes after a newer one counts 0, so that the order in which counts arrive does not matter. Raises Refused for
    an event that this store's journal has not reached.
    """
    last_seq = outbox_state(db).last_seq
    if as_of_seq > last_seq:
        raise Refused(f"counted as of event {as_of_seq}, the journal is at {last_seq}")
    newest = _newest_count(db, item_id)
    change = 0
    if newest is None or newest <= (as_of_seq, ref):
        before = db.execute(
            "SELECT coalesce(sum(delta), 0) FROM ledger WHERE item_id = ? AND (up_seq <= ? OR entry_id <= ?)",
            (item_id, as_of_seq, _ledger_base(db)),
        ).get
        assert isinstance(before, int)
        change = counted - before
    if not book(db, stamp, item_id, change, Cause.COUNT, ref, as_of_seq, delta):
        return
    db.execute("DELETE FROM observation WHERE item_id = ?", (item_id,))  # a person has looked
    data = {"event": "stock.counted", "sku": item_id, "delta": change, "cause": "count", "ref": ref, "counted": counted, "by": actor}
    emit(db, stamp, EventKind.STOCK, data, salt=f"count {ref} {item_id}")
    delta.outbox_grew = True


def _newest_count(db: Db, item_id: str) -> tuple[int, str] | None:
    """(as of event, id) of the count that decides, among those of this incarnation."""
    row = db.execute(
        "SELECT up_seq, ref FROM ledger WHERE item_id = ? AND cause = 'count' AND entry_id > ? ORDER BY up_seq DESC, ref DESC LIMIT 1",
        (item_id, _ledger_base(db)),
    ).fetchone()
    return None if row is None else (int(row[0]), str(row[1]))


def _ledger_base(db: Db) -> int:
    """The last entry of earlier incarnations: their event numbers mean nothing here, all of it is before any event of now."""
    return int(get_meta(db, "ledger_base") or 0)


def changed(db: Db, item_id: ItemId, delta: Delta) -> None:
    """Take the item's level over into the view."""
    level = level_of(db, item_id)
    delta.stock[item_id] = level.on_hand
    delta.reserved[item_id] = (level.held, level.escrow)


# -- comparing books -------------------------------------------------------------------------------------------------------


def compare(db: Db, stamp: Stamp, first: str, last: str, theirs: Digest, delta: Delta) -> bool:
    """Compare the levels of the items from `first` through `last` with HQ's digest; where they differ, tell HQ ours. Whether they agree.

    The events that tell are in the journal's order, so HQ knows exactly which sales they already contain.
    """
    levels = {
        ItemId(item_id): Level(*level)
        for item_id, *level in db.execute(
            "SELECT item_id, on_hand, held, escrow FROM stock WHERE item_id BETWEEN ? AND ? ORDER BY item_id", (first, last)
        )
    }
    if digest(levels) == theirs:
        return True
    told = [[item_id, level.on_hand, level.held, level.escrow] for item_id, level in levels.items() if level != Level()]
    for start in range(0, max(1, len(told)), LEVELS_PER_EVENT):
        part = told[start : start + LEVELS_PER_EVENT]
        data = {"event": "stock.levels", "first": first, "last": last, "levels": part, "more": start + LEVELS_PER_EVENT < len(told)}
        emit(db, stamp, EventKind.STOCK, data, salt=f"levels {first} {last} {start}")
    delta.outbox_grew = True
    return False
