"""A whole item file at once, for who has no catalogue to compare it with: head office publishes from it. Pure: text in, rows out.

What a file may say, and how it is read, is in `edge.import_rows`: the store and its head office read the same files alike.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import msgspec

from edge.import_feed import FeedKind, plain_feed
from edge.import_rows import ItemCells, Row, StoreTerms, checked_rows
from edge.model import AMOUNT_MINOR_MAX, Item, ItemId, Unit

MEASURE: Final = 1000  # what is weighed or measured is priced per 1000 g, ml or mm unless the file says otherwise
_AMOUNT: Final = re.compile(r"[0-9]{1,13}(\.[0-9]{1,6})?")


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


def read_items(text: str, exponent: int) -> list[ItemRow]:
    """Rows of an item file that has all of each item; `exponent` is the currency's number of decimals. Raises CsvError."""
    found: list[ItemRow] = []
    for row in checked_rows(text.splitlines(keepends=True), plain_feed(FeedKind.ITEMS), StoreTerms(exponent, "UTC")):
        if not isinstance(row, Row):
            raise CsvError(str(row))
        cells = msgspec.json.decode(row.body, type=ItemCells)
        for column, there in (("name", cells.fields.get("name")), ("price", cells.price_minor)):
            if there is None:
                raise CsvError(f"line {row.line}, column {column}: this column is missing")
        fields: Mapping[str, Any] = cells.fields
        attributes = tuple((name, value) for name, value in cells.attributes.items() if value)
        item = Item(ItemId(cells.sku), **fields, attributes=attributes)
        measure = 1 if item.unit is Unit.EACH else MEASURE
        assert cells.price_minor is not None
        found.append(ItemRow(item, cells.codes or (), cells.price_minor, cells.price_quantity or measure, cells.stock))
    return found


def amount_minor(value: str, exponent: int) -> int:
    """An amount such as 1.99 in minor units; more decimals than the currency has are refused, never rounded. Raises CsvError."""
    if _AMOUNT.fullmatch(value) is None:
        raise CsvError(f"{value!r}, expected an amount such as 1.99")
    minor = Decimal(value).scaleb(exponent)
    if minor != minor.to_integral_value() or minor > AMOUNT_MINOR_MAX:
        raise CsvError(f"{value!r}, expected 0 or more with at most {exponent} decimals")
    return int(minor)
