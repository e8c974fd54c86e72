"""What a file that comes to the store is: its kind, its columns, how its text is written. Pure.

A feed is named in the configuration; a file that a person brings by command without naming one is read as a plain feed of its kind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import msgspec

from edge.model import PriceKind

ATTRIBUTE: Final = "attribute:"  # before the name of an attribute of an item, as a column
HOLD_PERCENT: Final = 10.0
KEEP_DAYS: Final = 90


class FeedKind(StrEnum):
    """What a file brings, in the order in which files that wait together are read: prices are of items, labels show them."""

    ITEMS = "items"
    PRICES = "prices"
    STOCK = "stock"
    LABELS = "labels"


class Mode(StrEnum):
    """Everything there is (what is not named is gone), or only what changed."""

    FULL = "full"
    DELTA = "delta"


class Encoding(StrEnum):
    AUTO = "auto"  # UTF-8 where the whole file is, else Windows-1252
    UTF_8 = "utf-8"
    WINDOWS_1252 = "windows-1252"


class Decimal(StrEnum):
    POINT = "."
    COMMA = ","


class Dates(StrEnum):
    """How days are written: 2026-02-01, 01.02.2026 or 02/01/2026."""

    ISO = "iso"
    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"


class Complete(StrEnum):
    """How a watched file says that it is whole: it got its name by a rename, or NAME.done lies beside it."""

    RENAME = "rename"
    MARKER = "marker"


COLUMNS: Final[Mapping[FeedKind, tuple[str, ...]]] = MappingProxyType(
    {
        FeedKind.ITEMS: (
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
            "drained_weight",
            "unit_price_base",
            "tax_class",
            "category",
            "origin",
            "deposit",
            "age_limit",
            "stock",
            "stock_full",
            "plu",
        ),
        FeedKind.PRICES: ("sku", "price", "price_quantity", "bundle_quantity", "bundle_price", "price_id", "from", "to"),
        FeedKind.STOCK: ("sku", "quantity", "change", "counted_at"),
        FeedKind.LABELS: ("label", "items", "template", "aisle", "bay", "shelf", "slot"),
    }
)
REQUIRED: Final[Mapping[FeedKind, tuple[str, ...]]] = MappingProxyType(
    {
        FeedKind.ITEMS: ("sku",),
        FeedKind.PRICES: ("sku", "price"),
        FeedKind.STOCK: ("sku",),
        FeedKind.LABELS: ("label", "items"),
    }
)


class Feed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the files of one source are read.

    `columns`: our column -> the file's, by the heading in its first line or, in a file without headings, by its number from 1. Empty:
    the file's headings are our names, and any other is a mistake. `delimiter` "": found by looking at the first line.
    """

    name: str
    kind: FeedKind
    mode: Mode = Mode.DELTA
    columns: dict[str, str | int] = {}
    delimiter: str = ""
    encoding: Encoding = Encoding.AUTO
    decimal: Decimal = Decimal.POINT
    dates: Dates = Dates.ISO
    price_kind: PriceKind = PriceKind.BASE
    hold_percent: float = HOLD_PERCENT  # a full file that removes or changes more than this share waits for a person

    def fingerprint(self, sha256: str) -> str:
        """What makes two files the same: their bytes, and that they are read alike."""
        return hashlib.sha256(msgspec.json.encode(self) + sha256.encode()).hexdigest()

    def with_mode(self, mode: Mode) -> Feed:
        return msgspec.structs.replace(self, mode=mode)

    def required(self) -> tuple[str, ...]:
        return REQUIRED[self.kind]

    def knows(self, column: str) -> bool:
        """Whether files of this kind may have the column."""
        return column in COLUMNS[self.kind] or (self.kind is FeedKind.ITEMS and is_attribute(column))


def is_attribute(column: str) -> bool:
    """Whether a column holds an attribute of an item that templates may show, such as `attribute:allergens`."""
    name = column.removeprefix(ATTRIBUTE)
    return name != column and 1 <= len(name) <= 64 and name.replace("_", "").replace("-", "").isalnum() and name.isascii()


def plain_feed(kind: FeedKind, mode: Mode = Mode.DELTA) -> Feed:
    """A file without a feed of its own in the configuration: our headings, decimal point. Its share of changes is not asked about."""
    return Feed(f"plain {kind} {mode}", kind, mode)
