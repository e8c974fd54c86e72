"""What a row of a file would change, compared with what the store has. Asked while the file is checked and when it goes in force."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from edge.import_feed import Feed
from edge.import_rows import ItemCells, LabelCells, PriceCells, StockCells
from edge.model import UNIT_OF_SOLD_BY, Binding, Curve, Item, ItemId, Place, PriceKind
from edge.store import rows as codec
from edge.store.catalogue import NewRow
from edge.store.rows import Db
from render.errors import RenderError
from render.fields import TemplateSource
from render.templates import load as load_template

ATTRIBUTES_MAX: Final = 32  # of one item, as from HQ
MEASURE: Final = 1000  # what is weighed or measured is priced per 1000 g, ml or mm unless the file says otherwise
FILE_PRICE: Final = "file"  # the id of the one base price that files give an item

DROPS_HOLD: Final = "a held change is dropped"  # the file says the old price again
NEW, CHANGED, UNCHANGED, HELD, FAILED, REMOVED = "new", "changed", "unchanged", "held", "failed", "removed"


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of a row. `reprices`: a price that is in force changes. `wrong`: (our column, found, what was expected) instead."""

    key: str
    outcome: str = UNCHANGED
    detail: str = ""
    reprices: bool = False
    wrong: tuple[tuple[str, str, str], ...] = ()
    item: Item | None = None  # to write, codes with it
    codes: tuple[tuple[str, int], ...] = ()
    price: NewRow | None = None
    priced: tuple[ItemId, str] | None = None  # (item, price id) that the row says something about, changed or not
    binding: Binding | None = None


def refuse(key: str, column: str, found: str, expected: str) -> Plan:
    return Plan(key, wrong=((column, found, expected),))


# -- items -----------------------------------------------------------------------------------------------------------------


def plan_item(db: Db, cells: ItemCells, exponent: int) -> Plan:
    """The item as it will be: what its file lacks stays as it is, what is gone comes back."""
    item_id = ItemId(cells.sku)
    old = _item(db, item_id)
    if old is None and not cells.fields.get("name"):
        return refuse(cells.sku, "name", "", "a name: the item is new")
    fields: dict[str, Any] = dict(cells.fields)
    attributes = {name: text for name, text in {**dict(old.attributes if old else ()), **cells.attributes}.items() if text}
    if len(attributes) > ATTRIBUTES_MAX:
        return refuse(cells.sku, "", f"{len(attributes)} attributes", f"at most {ATTRIBUTES_MAX} with those it has")
    base = old if old is not None else Item(item_id, "")
    item = replace(base, **fields, attributes=tuple(attributes.items()), removed=False)
    had = _codes(db, item_id)
    codes = had if cells.codes is None else tuple(sorted(cells.codes))
    said = [
        f"{name} {getattr(base, name)!r} -> {value!r}" for name, value in fields.items() if old is not None and getattr(old, name) != value
    ]
    if old is not None:
        if old.removed:
            said.insert(0, "sold again")
        if dict(old.attributes) != attributes:
            said.append("attributes")
        if had != codes:
            said.append("codes")
    price, price_said, reprices, priced = None, "", False, None
    if cells.price_minor is not None:
        priced = (item_id, FILE_PRICE)
        curve = Curve.plain(cells.price_minor, cells.price_quantity or _measure(item))
        new = NewRow(item_id, PriceKind.BASE, FILE_PRICE, 0, curve, None, None, False)
        price, price_said, reprices = price_change(db, new, exponent)
    differs = old is None or bool(said)
    opens = cells.stock is not None and db.execute("SELECT 1 FROM ledger WHERE item_id = ? LIMIT 1", (item_id,)).get is None
    outcome = NEW if old is None else CHANGED if differs or price_said or opens else UNCHANGED
    detail = "; ".join([*said, *([price_said] if price_said else []), *([f"opening stock {cells.stock}"] if opens else [])])
    return Plan(cells.sku, outcome, detail, reprices, item=item if differs else None, codes=codes, price=price, priced=priced)


def _item(db: Db, item_id: str) -> Item | None:
    row = db.execute(f"SELECT {codec.ITEM_COLUMNS} FROM item WHERE item_id = ?", (item_id,)).fetchone()  # noqa: S608
    return None if row is None else codec.item_of(row)


def _codes(db: Db, item_id: str) -> tuple[tuple[str, int], ...]:
    return tuple(db.execute("SELECT gtin14, pack_quantity FROM barcode WHERE item_id = ? ORDER BY gtin14", (item_id,)).fetchall())


def _measure(item: Item) -> int:
    return 1 if item.unit is UNIT_OF_SOLD_BY["each"] else MEASURE


# -- prices ----------------------------------------------------------------------------------------------------------------


def price_id_of(kind: PriceKind, id_: str) -> str:
    """The id under which the store keeps a price of a file. The base price without an id is the one that item files give too."""
    return FILE_PRICE if kind is PriceKind.BASE and not id_ else f"{FILE_PRICE}:{kind}:{id_}"


def plan_price(db: Db, cells: PriceCells, feed: Feed, exponent: int) -> Plan:
    item_id = resolve(db, cells.sku)
    item = _item(db, item_id) if item_id is not None else None
    if item_id is None or item is None:
        return refuse(cells.sku, "sku", cells.sku, "an item of the catalogue, by number or bar code")
    quantity = cells.price_quantity or _measure(item)
    points = ((quantity, cells.price_minor), *((cells.bundle,) if cells.bundle else ()))
    try:
        curve = Curve(points)
    except ValueError:
        return refuse(cells.sku, "bundle_quantity", str(points[-1][0]), f"more than the price's quantity, {quantity}")
    price_id = price_id_of(feed.price_kind, cells.price_id)
    new = NewRow(item_id, feed.price_kind, price_id, 0, curve, cells.from_ms, cells.to_ms, False)
    price, said, reprices = price_change(db, new, exponent)
    outcome = UNCHANGED if not said else CHANGED if _known(db, item_id, price_id) is not None else NEW
    return Plan(
        f"{item_id}\t{cells.price_id}" if cells.price_id else item_id, outcome, said, reprices, price=price, priced=(item_id, price_id)
    )


def price_change(db: Db, new: NewRow, exponent: int) -> tuple[NewRow | None, str, bool]:
    """(The next version of a price where it differs from the last one, what changes in words, whether what is in force changes)."""
    assert new.curve is not None
    known = _known(db, new.item_id, new.price_id)
    if known is not None:
        rev, kind, curve, from_ms, to_ms, immediate, gone = known
        same_from = bool(immediate) if new.effective_from_ms is None else from_ms == new.effective_from_ms
        if (codec.curve_of(curve), to_ms, kind, bool(gone)) == (new.curve, new.effective_to_ms, str(new.kind), False) and same_from:
            return None, DROPS_HOLD if _is_held(db, new) else "", False
    held = db.execute("SELECT max(rev) FROM price_hold WHERE item_id = ? AND price_id = ?", (new.item_id, new.price_id)).get
    rev = max(known[0] if known is not None else 0, held if isinstance(held, int) else 0) + 1
    current = codec.read_in_force(db, new.item_id)
    reprices = current is not None and current.row.price_id == new.price_id and current.row.curve != new.curve
    before = codec.curve_of(known[2]) if known is not None else None
    said = f"price {words(before, exponent)} -> {words(new.curve, exponent)}" if before else f"price {words(new.curve, exponent)}"
    if before == new.curve:
        said = "price's time"
    return msgspec.structs.replace(new, rev=rev), said, reprices


def _known(db: Db, item_id: str, price_id: str) -> tuple[int, str, str, int, int | None, int, int] | None:
    row: tuple[int, str, str, int, int | None, int, int] | None = db.execute(
        "SELECT rev, kind, curve, effective_from_ms, effective_to_ms, immediate, cancelled OR EXISTS (SELECT 1 FROM price_withdrawn "
        "WHERE withdrawn_row_id = row_id) FROM price_row WHERE item_id = ? AND price_id = ? ORDER BY rev DESC LIMIT 1",
        (item_id, price_id),
    ).fetchone()
    return row


def _is_held(db: Db, new: NewRow) -> bool:
    key = (new.item_id, new.price_id)
    return db.execute("SELECT 1 FROM price_hold WHERE item_id = ? AND price_id = ? AND state = 'held'", key).get is not None


def held_same(db: Db, new: NewRow) -> bool:
    """Whether this very change waits for people already."""
    text = db.execute(
        "SELECT row FROM price_hold WHERE item_id = ? AND price_id = ? AND state = 'held' ORDER BY rev DESC LIMIT 1",
        (new.item_id, new.price_id),
    ).get
    if text is None or new.curve is None:
        return False
    row = msgspec.json.decode(str(text))
    return [tuple(point) for point in row["curve"] or ()] == list(new.curve.points) and row["to"] == new.effective_to_ms


def words(curve: Curve | None, exponent: int) -> str:
    """A price as people write it: `1.09`, `19.90/1000`, `1.00 3:2.50`."""
    if curve is None:
        return "none"
    (quantity, total), *bundles = curve.points
    plain = amount(total, exponent) + (f"/{quantity}" if quantity != 1 else "")
    return " ".join((plain, *(f"{size}:{amount(cost, exponent)}" for size, cost in bundles)))


def amount(minor: int, exponent: int) -> str:
    return f"{minor // 10**exponent}.{minor % 10**exponent:0{exponent}}" if exponent else str(minor)


# -- stock and labels ------------------------------------------------------------------------------------------------------


def plan_stock(db: Db, cells: StockCells) -> Plan:
    item_id = resolve(db, cells.sku)
    if item_id is None:
        return refuse(cells.sku, "sku", cells.sku, "an item of the catalogue, by number or bar code")
    on_hand = db.execute("SELECT on_hand FROM stock WHERE item_id = ?", (item_id,)).get
    before = on_hand if isinstance(on_hand, int) else None
    if cells.change is not None:
        return Plan(item_id, CHANGED if cells.change else UNCHANGED, f"{cells.change:+}" if cells.change else "")
    if cells.counted_at_ms is None and before == cells.quantity:
        return Plan(item_id)
    return Plan(item_id, NEW if before is None else CHANGED, f"{0 if before is None else before} -> {cells.quantity}")


def plan_label(db: Db, cells: LabelCells, default_template: str, templates: TemplateSource) -> Plan:
    found = [resolve(db, each) for each in cells.items]
    items = tuple(each for each in found if each is not None)
    missing = [text for text, each in zip(cells.items, found, strict=True) if each is None]
    if missing:
        return refuse(cells.label, "items", " ".join(missing), "items of the catalogue, by number or bar code")
    if len(set(items)) != len(items):
        return refuse(cells.label, "items", " ".join(cells.items), "each item once")
    retired = db.execute("SELECT retired FROM label WHERE label_id = ?", (cells.label,)).get
    if retired:
        return refuse(cells.label, "label", cells.label, f"a label in use: it is retired as {retired}")
    row = db.execute(f"SELECT {codec.BINDING_COLUMNS} FROM binding WHERE label_id = ?", (cells.label,)).fetchone()  # noqa: S608
    old = codec.binding_of(row) if row is not None else None
    template = cells.template or (old.template if old is not None else default_template)
    try:
        load_template(template, templates)
    except RenderError as error:
        return refuse(cells.label, "template", template, f"a template that there is: {error}")
    place = replace(old.place if old is not None else Place(), **cells.place)
    wanted = Binding(cells.label, items, template, place, old.binding_rev if old is not None else 0)
    if old == wanted:
        return Plan(cells.label)
    said = f"{' '.join(old.items) or 'nothing'} -> {' '.join(items)}" if old is not None else f"bound to {' '.join(items)}"
    return Plan(cells.label, NEW if old is None else CHANGED, said, binding=wanted)


def resolve(db: Db, text: str) -> ItemId | None:
    """An item that is sold, by its number or by a code as printed."""
    row = db.execute("SELECT item_id FROM item WHERE item_id = ? AND removed = 0", (text,)).fetchone()
    if row is None and text.isascii() and text.isdigit() and len(text) <= 14:
        row = db.execute(
            "SELECT item_id FROM barcode JOIN item USING (item_id) WHERE gtin14 = ? AND removed = 0", (text.zfill(14),)
        ).fetchone()
    return None if row is None else ItemId(row[0])
