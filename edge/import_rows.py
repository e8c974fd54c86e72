"""From records to checked rows, whatever a feed brings. Pure: what the catalogue has to say about a row is asked later, in the store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Final
from zoneinfo import ZoneInfo

import msgspec

from edge.import_cells import (
    LABEL,
    LABEL_WORDS,
    PLU,
    PLU_WORDS,
    PRICE_ID,
    SKU,
    SKU_WORDS,
    TEMPLATE,
    Cells,
)
from edge.import_feed import ATTRIBUTE, Feed, FeedKind, Mode, is_attribute
from edge.import_text import BadFile, Heading, Problem, cut, records
from edge.model import LABEL_ITEMS_MAX, PLU_ATTRIBUTE, QUANTITY_MAX, UNIT_OF_SOLD_BY, Unit
from edge.stock import FULL_ATTRIBUTE

UNITS_MAX: Final = 10**9
AGE_MAX: Final = 99


class ItemCells(msgspec.Struct, frozen=True, omit_defaults=True):
    """An item as far as its file says: `fields` of `Item` by name, `attributes` to set ("": to take away). None: no such column."""

    sku: str
    fields: dict[str, str | int | None] = {}
    attributes: dict[str, str] = {}
    codes: tuple[tuple[str, int], ...] | None = None
    price_minor: int | None = None
    price_quantity: int | None = None
    stock: int | None = None


class PriceCells(msgspec.Struct, frozen=True, omit_defaults=True):
    """A price of an item named by number or code. `price_quantity` None: one piece, or 1000 of what is weighed or measured."""

    sku: str
    price_minor: int
    price_quantity: int | None = None
    bundle: tuple[int, int] | None = None
    price_id: str = ""
    from_ms: int | None = None
    to_ms: int | None = None


class StockCells(msgspec.Struct, frozen=True, omit_defaults=True):
    """Units counted, or units more or fewer."""

    sku: str
    quantity: int | None = None
    change: int | None = None
    counted_at_ms: int | None = None


class LabelCells(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a label is for. Parts of the place by name, as far as the file has them."""

    label: str
    items: tuple[str, ...]
    template: str = ""
    place: dict[str, str] = {}


AnyCells = ItemCells | PriceCells | StockCells | LabelCells
SHAPES: Final[Mapping[FeedKind, type[AnyCells]]] = MappingProxyType(
    {FeedKind.ITEMS: ItemCells, FeedKind.PRICES: PriceCells, FeedKind.STOCK: StockCells, FeedKind.LABELS: LabelCells}
)


class Row(msgspec.Struct, frozen=True):
    """A row without a mistake of its own: `body` is the JSON of its cells."""

    line: int
    key: str
    body: str


class StoreTerms(msgspec.Struct, frozen=True):
    """What rows are read by, besides their feed: decimals of the currency and the store's zone."""

    exponent: int
    zone: str


def checked_rows(lines: Iterable[str], feed: Feed, terms: StoreTerms) -> Iterator[Row | Problem]:
    """Every row, or what is wrong with it: all of its mistakes, one after the other. Never raises for what is in the file."""
    zone, read, once = ZoneInfo(terms.zone), _READERS[feed.kind], _Once()
    try:
        for line, heading, values in records(lines, feed):
            if isinstance(values, Problem):
                yield values
                continue
            cells = Cells(line, heading, values, feed.decimal, feed.dates, zone)
            row = read(cells, feed, terms.exponent)
            if not cells.problems:
                once.look(cells, row)
            if cells.problems:
                yield from cells.problems
            else:
                yield Row(line, key_of(row), msgspec.json.encode(row).decode())
    except BadFile as error:
        yield error.problem


def rows_of_values(objects: Iterable[Mapping[str, object]], feed: Feed, terms: StoreTerms) -> Iterator[Row | Problem]:
    """The same for rows that come as JSON objects by our column names; row 1 is line 1. Amounts may be texts or numbers."""
    zone, read, once = ZoneInfo(terms.zone), _READERS[feed.kind], _Once()
    for line, given in enumerate(objects, 1):
        values = {name: "" if value is None else str(value).strip() for name, value in given.items()}
        unknown = [name for name in values if not feed.knows(name)]
        cells = Cells(line, Heading({}, {}, None), values, feed.decimal, feed.dates, zone)
        for name in unknown:
            cells.problems.append(Problem(line, cut(name), "", "a column of this kind of file"))
        for name in feed.required():
            if name not in values:
                cells.problems.append(Problem(line, name, "", "this column, it is missing"))
        row = read(cells, feed, terms.exponent) if not cells.problems else None
        if row is not None and not cells.problems:
            once.look(cells, row)
        if row is None or cells.problems:
            yield from cells.problems
        else:
            yield Row(line, key_of(row), msgspec.json.encode(row).decode())


def key_of(row: AnyCells) -> str:
    """What a file may have once."""
    match row:
        case PriceCells(sku=sku, price_id=price_id):
            return f"{sku}\t{price_id}" if price_id else sku
        case LabelCells(label=label):
            return label
        case _:
            return row.sku


class _Once:
    """Notes what must not come twice: keys, and the codes and PLUs of items."""

    def __init__(self) -> None:
        self._keys: dict[str, int] = {}
        self._codes: dict[str, int] = {}
        self._plus: dict[str, int] = {}

    def look(self, cells: Cells, row: AnyCells) -> None:
        self._note(cells, self._keys, key_of(row), "label" if isinstance(row, LabelCells) else "sku")
        if isinstance(row, ItemCells):
            for code, _ in row.codes or ():
                self._note(cells, self._codes, code, "gtin")
            for plu in row.attributes.get(PLU_ATTRIBUTE, "").split():
                self._note(cells, self._plus, plu, "plu")

    def _note(self, cells: Cells, seen: dict[str, int], key: str, column: str) -> None:
        earlier = seen.setdefault(key, cells.line)
        if earlier != cells.line:
            shown = key.replace("\t", " ").lstrip("0") if column == "gtin" else key.replace("\t", " ")
            cells.wrong(column, f"each once: {shown} is on line {earlier} already")


# -- one kind each ---------------------------------------------------------------------------------------------------------


def _item(cells: Cells, feed: Feed, exponent: int) -> ItemCells:
    fields: dict[str, str | int | None] = {}
    if cells.has("name"):
        fields["name"] = cells.required("name")
    for column in ("short_name", "brand", "category", "origin", "tax_class"):
        if cells.has(column):
            fields[column] = cells.text(column)
    if cells.has("sold_by"):
        fields["sold_by"] = cells.one_of("sold_by", tuple(UNIT_OF_SOLD_BY), "each")
    for column, high in (("drained_weight", UNITS_MAX), ("unit_price_base", UNITS_MAX)):
        if cells.has(column):
            fields[column] = cells.integer(column, 1, high)
    if cells.has("net_content") or cells.has("net_unit"):
        content, unit = cells.integer("net_content", 1, UNITS_MAX), cells.one_of("net_unit", tuple(Unit), None)
        if (content is None) != (unit is None) and not cells.problems:
            cells.wrong("net_unit" if unit is None else "net_content", "net_content and net_unit together, or neither")
        fields["net_content"], fields["net_unit"] = content, unit
    if cells.has("deposit"):
        fields["deposit_minor"] = cells.money("deposit", exponent) or 0
    if cells.has("age_limit"):
        fields["age_limit"] = cells.integer("age_limit", 0, AGE_MAX) or 0
    attributes = {column.removeprefix(ATTRIBUTE): cells.text(column) for column in cells.columns() if is_attribute(column)}
    if cells.has("plu"):
        attributes[PLU_ATTRIBUTE] = cells.matching("plu", PLU, PLU_WORDS)
    if cells.has("stock_full"):
        attributes[FULL_ATTRIBUTE] = str(cells.integer("stock_full", 1, UNITS_MAX) or "")
    if cells.has("price"):
        cells.required("price", words="an amount")
    return ItemCells(
        cells.required("sku", SKU, SKU_WORDS),
        fields,
        attributes,
        cells.codes("gtin") if cells.has("gtin") else None,
        cells.money("price", exponent),
        cells.integer("price_quantity", 1, QUANTITY_MAX),
        cells.integer("stock", -UNITS_MAX, UNITS_MAX),
    )


def _price(cells: Cells, feed: Feed, exponent: int) -> PriceCells:
    cells.required("price", words="an amount")
    quantity, total = cells.integer("bundle_quantity", 2, QUANTITY_MAX), cells.money("bundle_price", exponent)
    if (quantity is None) != (total is None) and not cells.problems:
        cells.wrong("bundle_price" if total is None else "bundle_quantity", "bundle_quantity and bundle_price together, or neither")
    from_ms, to_ms = cells.instant_ms("from"), cells.instant_ms("to", day_ends=True)
    if from_ms is not None and to_ms is not None and to_ms <= from_ms:
        cells.wrong("to", "an end after the start")
    row = PriceCells(
        cells.required("sku", SKU, SKU_WORDS),
        cells.money("price", exponent) or 0,
        cells.integer("price_quantity", 1, QUANTITY_MAX),
        (quantity, total) if quantity is not None and total is not None else None,
        cells.matching("price_id", PRICE_ID, "1 to 32 letters, digits and . _ -"),
        from_ms,
        to_ms,
    )
    if row.bundle is not None and row.bundle[0] <= (row.price_quantity or 1):
        cells.wrong("bundle_quantity", "more than price_quantity")
    return row


def _stock(cells: Cells, feed: Feed, exponent: int) -> StockCells:
    row = StockCells(
        cells.required("sku", SKU, SKU_WORDS),
        cells.integer("quantity", -UNITS_MAX, UNITS_MAX),
        cells.integer("change", -UNITS_MAX, UNITS_MAX),
        cells.instant_ms("counted_at"),
    )
    if not cells.problems:
        if feed.mode is Mode.FULL and row.quantity is None:
            cells.wrong("quantity", "how many there are: a full file says it for each item")
        elif (row.quantity is None) == (row.change is None):
            cells.wrong("quantity", "a quantity (how many there are) or a change (how many more or fewer), one of them")
    return row


def _label(cells: Cells, feed: Feed, exponent: int) -> LabelCells:
    items = tuple(cells.required("items", words="item numbers or bar codes with blanks between").split())
    if len(items) > LABEL_ITEMS_MAX or len(set(items)) != len(items):
        cells.wrong("items", f"at most {LABEL_ITEMS_MAX} items, each once")
    if any(SKU.fullmatch(each) is None for each in items):
        cells.wrong("items", f"item numbers of {SKU_WORDS}, blanks between several")
    template = cells.matching("template", TEMPLATE, "a template's name: letters, digits, _ or -")
    place = {part: cells.text(part) for part in ("aisle", "bay", "shelf", "slot") if cells.has(part)}
    return LabelCells(cells.required("label", LABEL, LABEL_WORDS), items, template, place)


_Reader = Callable[[Cells, Feed, int], AnyCells]
_READERS: Final[Mapping[FeedKind, _Reader]] = MappingProxyType(
    {FeedKind.ITEMS: _item, FeedKind.PRICES: _price, FeedKind.STOCK: _stock, FeedKind.LABELS: _label}
)
