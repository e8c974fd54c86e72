"""Recalled lots: HQ's last word for each item. The audit chain keeps the words before."""

from __future__ import annotations

import msgspec

from edge.model import ItemId, Recall
from edge.store import evidence
from edge.store.rows import Db, Stamp, json_text
from edge.view import Delta


def put(db: Db, stamp: Stamp, item_id: ItemId, recall: Recall, source: str, delta: Delta) -> None:
    """Replace what is recalled of an item, in the caller's transaction. No lot and not all of them: the recall is lifted."""
    lots = sorted(recall.lots)
    if lots or recall.all_lots:
        db.execute(
            "INSERT OR REPLACE INTO recall VALUES (?, ?, ?, ?, ?, ?)",
            (item_id, json_text(lots), int(recall.all_lots), recall.reason, source, stamp.wall_ms),
        )
        delta.recalls[item_id] = recall
    else:
        db.execute("DELETE FROM recall WHERE item_id = ?", (item_id,))
        delta.recalls[item_id] = None
    detail = {"lots": lots, "all_lots": recall.all_lots, "reason": recall.reason}
    evidence.note(db, stamp, "recall", [evidence.item_subject(item_id)], detail, actor=source)


def read_all(db: Db) -> dict[ItemId, Recall]:
    """Every recall that stands."""
    return {
        ItemId(item_id): Recall(frozenset(msgspec.json.decode(lots, type=list[str])), bool(all_lots), reason)
        for item_id, lots, all_lots, reason in db.execute("SELECT item_id, lots, all_lots, reason FROM recall")
    }
