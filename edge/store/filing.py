"""Catalogue files, where the store has no HQ for prices: the same transaction path as an HQ batch."""

from __future__ import annotations

import hashlib

from edge.csv_input import ItemRow
from edge.model import Curve, PriceKind
from edge.stock import Cause
from edge.store import catalogue, stock
from edge.store.catalogue import AnomalyLimits, NewRow
from edge.store.journal import outbox_state, record, set_meta
from edge.store.rows import Db, Stamp, curve_of
from edge.view import Delta

BASE_PRICE_ID = "file"


def import_items(db: Db, stamp: Stamp, rows: list[ItemRow], name: str, actor: str, limits: AnomalyLimits) -> tuple[dict[str, int], Delta]:
    """Put a whole file in force: items, base prices that changed, opening stock for items never counted. Returns what was done."""
    delta = Delta()
    catalogue.put_items(db, ((row.item, row.codes) for row in rows), delta)
    changed: list[NewRow] = []
    for row in rows:
        curve = Curve.plain(row.price_minor, row.price_quantity)
        known = db.execute(
            "SELECT rev, curve FROM price_row WHERE item_id = ? AND price_id = ? ORDER BY rev DESC LIMIT 1",
            (row.item.item_id, BASE_PRICE_ID),
        ).fetchone()
        if known is None or curve_of(known[1]) != curve:
            rev = known[0] + 1 if known else 1
            changed.append(NewRow(row.item.item_id, PriceKind.BASE, BASE_PRICE_ID, rev, curve, None, None, False))
        if row.stock is not None and db.execute("SELECT 1 FROM ledger WHERE item_id = ? LIMIT 1", (row.item.item_id,)).get is None:
            stock.book(db, stamp, row.item.item_id, row.stock, Cause.OPENING, name, outbox_state(db).last_seq, delta)
    applied = catalogue.apply_rows(db, stamp, changed, f"file {name}", limits, delta)
    generation = "file-" + hashlib.sha256(stamp.entropy).hexdigest()[:16]
    set_meta(db, "generation", generation)
    record(db, stamp, actor, "file.imported", {"file": name, "items": len(rows), "prices": len(applied.rows)})
    delta.generation = generation
    return {"items": len(rows), "prices_changed": len(applied.rows), "prices_held": len(applied.held)}, delta
