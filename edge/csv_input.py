"""Items, prices and bindings from CSV files. Pure: text in, checked rows out; every error names line and column, and what was expected."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from edge.model import AMOUNT_MINOR_MAX, LABEL_ITEMS_MAX, PLU_ATTRIBUTE, UNIT_OF_SOLD_BY, Item, ItemId, Place, Unit

ITEM_COLUMNS: Final = (
    "sku",
    "name",
    "price",
    "short_name",
    "brand",
    "gtin",
    "sold_by",
    "price_quantity",
    "net_content",
    "net_unit",
    "category",
    "origin",
    "deposit",
    "age_limit",
    "stock",
    "plu",
)
REQUIRED_ITEM_COLUMNS: Final = ("sku", "name", "price")
LABEL_COLUMNS: Final = ("label", "items", "template", "aisle", "bay", "shelf", "slot")
REQUIRED_LABEL_COLUMNS: Final = ("label", "items")
ROWS_MAX: Final = 200_000  # several times the largest catalogue of one store
_SKU: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
_AMOUNT: Final = re.compile(r"[0-9]{1,13}(\.[0-9]{1,6})?")
_PLU: Final = re.compile(r"9?[34][0-9]{3}( 9?[34][0-9]{3})*")
_LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,31}")


class CsvError(ValueError):
    """The file cannot be used; nothing of it was. The text names line and column."""


@dataclass(frozen=True, slots=True)
class ItemRow:
    """An item with its base price, in minor units for `price_quantity`, and opening stock if the file gives one."""

    item: Item
    codes: tuple[tuple[str, int], ...]
    price_minor: int
    price_quantity: int
    stock: int | None


@dataclass(frozen=True, slots=True)
class LabelRow:
    label_id: str
    items: tuple[ItemId, ...]
    template: str
    place: Place


def read_items(text: str, exponent: int) -> list[ItemRow]:
    """Rows of an item file; `exponent` is the number of decimals of the store's currency. Raises CsvError."""
    rows: list[ItemRow] = []
    seen: dict[str, int] = {}
    codes: dict[str, int] = {}
    plus: dict[str, int] = {}
    for line, values in _records(text, ITEM_COLUMNS, REQUIRED_ITEM_COLUMNS):
        cell = _Cells(line, values)
        sku = cell.matching("sku", _SKU, "1 to 64 letters, digits and . _ : / -")
        if sku in seen:
            raise CsvError(f"line {line}, column sku: {sku} is on line {seen[sku]} already")
        seen[sku] = line
        row = _item_row(cell, sku, exponent)
        for gtin, _ in row.codes:
            if gtin in codes:
                raise CsvError(f"line {line}, column gtin: {gtin} belongs to the item on line {codes[gtin]} already")
            codes[gtin] = line
        for plu in row.item.plus:
            if plu in plus:
                raise CsvError(f"line {line}, column plu: {plu} belongs to the item on line {plus[plu]} already")
            plus[plu] = line
        rows.append(row)
    return rows


def _item_row(cell: _Cells, sku: str, exponent: int) -> ItemRow:
    sold_by = cell.one_of("sold_by", tuple(UNIT_OF_SOLD_BY), "each")
    net_content, net_unit = cell.integer("net_content", 1, 10**9), cell.one_of("net_unit", ("", *Unit), "")
    if (net_content is None) != (net_unit == ""):
        raise CsvError(f"line {cell.line}: net_content and net_unit go together")
    gtin = cell.text("gtin")
    if gtin and not (gtin.isascii() and gtin.isdigit() and len(gtin) in (8, 12, 13, 14) and _check_digit_fits(gtin)):
        raise CsvError(f"line {cell.line}, column gtin: {gtin!r}, expected 8, 12, 13 or 14 digits with a right check digit")
    plu = cell.matching("plu", _PLU, "3000 to 4999, with 9 in front for organic; several with a blank between") if cell.text("plu") else ""
    item = Item(
        ItemId(sku),
        cell.required("name"),
        cell.text("short_name"),
        cell.text("brand"),
        sold_by,
        net_content,
        net_unit or None,
        deposit_minor=cell.money("deposit", exponent) or 0,
        age_limit=cell.integer("age_limit", 0, 99) or 0,
        origin=cell.text("origin"),
        category=cell.text("category"),
        attributes=((PLU_ATTRIBUTE, plu),) if plu else (),
    )
    price_minor = cell.money("price", exponent)
    if price_minor is None:
        raise CsvError(f"line {cell.line}, column price: empty, expected an amount")
    default_quantity = 1 if sold_by == "each" else 1000
    return ItemRow(
        item,
        ((gtin.zfill(14), 1),) if gtin else (),
        price_minor,
        cell.integer("price_quantity", 1, 10**9) or default_quantity,
        cell.integer("stock", -(10**9), 10**9),
    )


def read_labels(text: str, default_template: str) -> list[LabelRow]:
    """Rows of a binding file; several items in one cell are separated by spaces. Raises CsvError."""
    rows: list[LabelRow] = []
    seen: dict[str, int] = {}
    for line, values in _records(text, LABEL_COLUMNS, REQUIRED_LABEL_COLUMNS):
        cell = _Cells(line, values)
        place = Place(cell.text("aisle"), cell.text("bay"), cell.text("shelf"), cell.text("slot"))
        label = cell.matching("label", _LABEL, "1 to 32 letters, digits and . _ : -")
        items = tuple(ItemId(each) for each in cell.required("items").split())
        if label in seen:
            raise CsvError(f"line {line}, column label: {label} is on line {seen[label]} already")
        seen[label] = line
        if len(items) > LABEL_ITEMS_MAX:
            raise CsvError(f"line {line}, column items: {len(items)} items, at most {LABEL_ITEMS_MAX}")
        rows.append(LabelRow(label, items, cell.text("template") or default_template, place))
    return rows


def _records(text: str, known: tuple[str, ...], required: tuple[str, ...]) -> Iterator[tuple[int, dict[str, str]]]:
    reader = csv.reader(io.StringIO(text), strict=True)
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        for name in header:
            if name not in known:
                raise CsvError(f"line 1: unknown column {name!r}; known: {', '.join(known)}")
        for name in {name for name in header if header.count(name) > 1}:
            raise CsvError(f"line 1: column {name!r} is there twice")
        for name in required:
            if name not in header:
                raise CsvError(f"line 1: column {name!r} is missing")
        for count, values in enumerate(reader, 1):
            if count > ROWS_MAX:
                raise CsvError(f"line {reader.line_num}: more than {ROWS_MAX} rows")
            if not any(values):
                continue
            if len(values) != len(header):
                raise CsvError(f"line {reader.line_num}: {len(values)} columns, expected {len(header)}")
            yield reader.line_num, dict(zip(header, (value.strip() for value in values), strict=True))
    except csv.Error as error:
        raise CsvError(f"line {reader.line_num}: {error}") from error


class _Cells:
    """One row, read column by column with errors that name the place."""

    def __init__(self, line: int, values: dict[str, str]) -> None:
        self.line = line
        self._values = values

    def text(self, column: str) -> str:
        value = self._values.get(column, "")
        if len(value) > 200 or any(ord(character) < 32 for character in value):
            raise CsvError(f"line {self.line}, column {column}: expected one line of at most 200 characters")
        return value

    def required(self, column: str) -> str:
        value = self.text(column)
        if not value:
            raise CsvError(f"line {self.line}, column {column}: empty")
        return value

    def matching(self, column: str, pattern: re.Pattern[str], expected: str) -> str:
        value = self.required(column)
        if pattern.fullmatch(value) is None:
            raise CsvError(f"line {self.line}, column {column}: {value!r}, expected {expected}")
        return value

    def one_of(self, column: str, known: tuple[str, ...], default: str) -> str:
        value = self.text(column) or default
        if value not in known:
            raise CsvError(f"line {self.line}, column {column}: {value!r}, expected one of {', '.join(each for each in known if each)}")
        return value

    def integer(self, column: str, low: int, high: int) -> int | None:
        value = self.text(column)
        if not value:
            return None
        if re.fullmatch(r"-?[0-9]{1,12}", value) is None or not low <= int(value) <= high:
            raise CsvError(f"line {self.line}, column {column}: {value!r}, expected a whole number from {low} to {high}")
        return int(value)

    def money(self, column: str, exponent: int) -> int | None:
        """An amount such as 1.99 in minor units; more decimals than the currency has are refused, never rounded."""
        value = self.text(column)
        if not value:
            return None
        try:
            return amount_minor(value, exponent)
        except CsvError as error:
            raise CsvError(f"line {self.line}, column {column}: {error}") from None


def amount_minor(value: str, exponent: int) -> int:
    """An amount such as 1.99 in minor units; more decimals than the currency has are refused, never rounded. Raises CsvError."""
    if _AMOUNT.fullmatch(value) is None:
        raise CsvError(f"{value!r}, expected an amount such as 1.99")
    minor = Decimal(value).scaleb(exponent)
    if minor != minor.to_integral_value() or minor > AMOUNT_MINOR_MAX:
        raise CsvError(f"{value!r}, expected 0 or more with at most {exponent} decimals")
    return int(minor)


def _check_digit_fits(digits: str) -> bool:
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits))) % 10 == 0
