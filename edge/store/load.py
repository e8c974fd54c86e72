"""The view as committed: one Delta read from the whole file at start."""

from __future__ import annotations

from dataclasses import replace
from sys import intern

from edge.model import InForce, ItemId, Offer, PriceRow, Release
from edge.store import recalls
from edge.store import rows as codec
from edge.store.holds import HOLD_COLUMNS, hold_of
from edge.store.journal import get_meta
from edge.store.rows import Db
from edge.view import Delta


def load(db: Db) -> Delta:
    """Everything that lanes read and the planner compares."""
    delta = Delta()
    for row in db.execute(f"SELECT {codec.ITEM_COLUMNS} FROM item"):  # noqa: S608 - constants only, here and below
        item = codec.item_of(row)
        delta.items[item.item_id] = item
    for gtin14, item_id, pack_quantity in db.execute("SELECT gtin14, item_id, pack_quantity FROM barcode"):
        delta.barcodes[gtin14] = (ItemId(intern(item_id)), pack_quantity)
    _load_prices(db, delta)
    delta.stock = {ItemId(item_id): on_hand for item_id, on_hand in db.execute("SELECT item_id, on_hand FROM stock")}
    reserved = db.execute("SELECT item_id, held, escrow FROM stock WHERE held <> 0 OR escrow <> 0")
    delta.reserved = {ItemId(item_id): (held, escrow) for item_id, held, escrow in reserved}
    for row in db.execute(f"SELECT {HOLD_COLUMNS} FROM hold WHERE state IN ('placed', 'arrived')"):  # noqa: S608
        hold = hold_of(row)
        delta.holds[hold.hold_id] = hold
    _load_shelf(db, delta)
    for row in db.execute(
        "SELECT quote_id, lane_id, basket_id, body, total_minor, revision, boot_id, made_ms, valid_ms FROM quote WHERE state = 'live'"
    ):
        quote = replace(codec.quote_of(row), member=True)  # whose it was is not written: counted as both while it lives
        delta.quotes[quote.quote_id] = quote
    delta.waiting = {ItemId(each): True for (each,) in db.execute("SELECT DISTINCT item_id FROM confirm_wait")}
    delta.recalls |= recalls.read_all(db)
    delta.generation = get_meta(db, "generation") or ""
    return delta


def _load_prices(db: Db, delta: Delta) -> None:
    """The newest rev of each price, and what is in force: the same row, for nearly every item. Older ones stay in the file."""
    newest: dict[ItemId, tuple[PriceRow, ...]] = delta.rows
    for row in db.execute(
        f"SELECT {codec.NEWEST_COLUMNS} FROM price_newest AS n CROSS JOIN price_row AS p USING (row_id) ORDER BY p.row_id"  # noqa: S608
    ):
        price = codec.price_row_of(row)
        newest[price.item_id] = (*newest.get(price.item_id, ()), price)
    older: list[tuple[int, int]] = []
    for row_id, item_id, latched_ms in db.execute("SELECT row_id, item_id, latched_through_ms FROM in_force"):
        known = next((row for row in newest.get(item_id, ()) if row.row_id == row_id), None)
        if known is None:
            older.append((row_id, latched_ms))
        else:
            delta.in_force[known.item_id] = InForce(known, latched_ms)
    for row_id, latched_ms in older:
        row = db.execute(f"SELECT {codec.PRICE_COLUMNS} FROM price_row WHERE row_id = ?", (row_id,)).fetchone()  # noqa: S608
        price = codec.price_row_of(row)
        delta.in_force[price.item_id] = InForce(price, latched_ms)


def _load_shelf(db: Db, delta: Delta) -> None:
    bound: dict[str, list[ItemId]] = {}
    for label_id, item_id in db.execute("SELECT label_id, item_id FROM ever_bound"):
        bound.setdefault(label_id, []).append(ItemId(intern(item_id)))
    for row in db.execute(f"SELECT {codec.LABEL_COLUMNS} FROM label"):  # noqa: S608
        delta.labels[row[0]] = codec.label_of(row, bound.get(row[0], ()))
    for row in db.execute(f"SELECT {codec.BINDING_COLUMNS} FROM binding"):  # noqa: S608
        delta.bindings[row[0]] = codec.binding_of(row)
    offers: dict[int, list[Offer]] = {}
    for attempt_id, *row in db.execute(
        "SELECT attempt_id, page, audience, item_id, curve, o.row_id FROM attempt_offer AS o JOIN attempt AS a USING (attempt_id) "
        "WHERE a.state IN ('open', 'proven', 'gone') ORDER BY o.rowid"
    ):
        offers.setdefault(attempt_id, []).append(codec.offer_of(tuple(row)))
    away = {
        label_id: Release(*row)
        for label_id, *row in db.execute("SELECT label_id, boot_id, now_ms, dwell_ms FROM retirement WHERE undone_wall_ms IS NULL")
    }
    for row in db.execute(
        f"SELECT {codec.MAY_COLUMNS} FROM attempt WHERE state IN ('open', 'proven', 'gone') ORDER BY attempt_id"  # noqa: S608
    ):
        entry = codec.may_entry_of(row, tuple(offers.get(row[0], ())), away.get(row[1]))
        delta.may[entry.label_id, entry.attempt_id] = entry
