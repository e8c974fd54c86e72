"""Items and prices as HQ says them: batches, snapshot manifests and chunks.

Money is in minor units of the row's currency, instants are UTC milliseconds, quantities are whole units (`each`, `g`, `ml`, `mm`).
`PriceRowWire` is a row as it stands in a message; `PriceRow` is what it means.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocols.hq_fields import (
    ATTRIBUTES_MAX,
    BARCODES_MAX,
    BUCKETS,
    CHUNK_ROWS_MAX,
    CHUNKS_MAX,
    CURVE_POINTS_MAX,
    ROWS_MAX,
    Amount,
    Delta,
    Id,
    Incarnation,
    Instant,
    Line,
    Quantity,
    Seq,
    SeqOrNone,
    Sha256,
    Sku,
    StreamPosition,
)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class BadBody(ValueError):
    """The data of a message breaks the contract. `row` is the index of the faulty row, None where no single row is at fault."""

    def __init__(self, reason: str, row: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.row = row


class PriceKind(StrEnum):
    BASE = "base"
    PROMO = "promo"
    MEMBER = "member"
    MARKDOWN = "markdown"
    OVERRIDE = "override"


class SoldBy(StrEnum):
    EACH = "each"
    WEIGHT = "weight"
    VOLUME = "volume"
    LENGTH = "length"


class Unit(StrEnum):
    EACH = "each"
    G = "g"
    ML = "ml"
    MM = "mm"


class PriceRow(Struct, frozen=True, kw_only=True, gc=False):
    """One version of one price of one item.

    `curve` is a list of (quantity, total in minor units), quantities ascending and counted in multiples of `price_quantity` units of
    the item; a plain amount is the one point (1, amount). Only a cancelled row may have no point. The row is in force from
    `effective_from_ms` (None: at once) until `effective_to_ms` (None: for good).
    """

    sku: str
    kind: PriceKind
    price_id: str
    rev: int
    curve: tuple[tuple[int, int], ...]
    price_quantity: int
    currency: str
    effective_from_ms: int | None
    effective_to_ms: int | None
    cancelled: bool


class PriceBatch(Struct, frozen=True):
    rows: tuple[PriceRow, ...]


class Barcode(Struct, frozen=True):
    """A code of the item. `gtin` has a good check digit and is given in 14 digits."""

    gtin: Annotated[str, Meta(pattern=r"^[0-9]{8}\Z|^[0-9]{12,14}\Z")]
    pack_quantity: Quantity = 1

    def __post_init__(self) -> None:
        if not _gtin_check(self.gtin):
            raise ValueError(f"gtin {self.gtin} has a wrong check digit")
        msgspec.structs.force_setattr(self, "gtin", self.gtin.zfill(14))


class Item(Struct, frozen=True, kw_only=True):
    """One article of the catalogue. `net_content` and `drained_weight` count `net_unit`s; `unit_price_base` is how many of them the
    unit price is given for (1000 for "per kg", 100 for "per 100 ml")."""

    sku: Sku
    name: Annotated[Line, Meta(min_length=1)]
    short_name: Line = ""
    brand: Line = ""
    sold_by: SoldBy = SoldBy.EACH
    net_content: Quantity | None = None
    net_unit: Unit | None = None
    drained_weight: Quantity | None = None
    unit_price_base: Quantity | None = None
    tax_class: Line | None = None
    deposit_minor: Amount = 0
    age_limit: Annotated[int, Meta(ge=0, le=99)] | None = None
    origin: Line | None = None
    category: Line | None = None
    barcodes: Annotated[tuple[Barcode, ...], Meta(max_length=BARCODES_MAX)] = ()
    attributes: Annotated[dict[Id, Line], Meta(max_length=ATTRIBUTES_MAX)] = {}

    def __post_init__(self) -> None:
        if (self.net_content is None) != (self.net_unit is None):
            raise ValueError("net_content and net_unit go together")


class ItemBatch(Struct, frozen=True):
    """Items to add or replace, and SKUs that leave the catalogue."""

    items: Annotated[tuple[Item, ...], Meta(max_length=ROWS_MAX)] = ()
    removed: Annotated[tuple[Sku, ...], Meta(max_length=ROWS_MAX)] = ()

    def __post_init__(self) -> None:
        seen: set[str] = set()
        for sku in (*(item.sku for item in self.items), *self.removed):
            if sku in seen:
                raise ValueError(f"sku {sku} is named twice")
            seen.add(sku)


class ChunkRef(Struct, frozen=True):
    """A chunk that a manifest promises. `sha256` is over the compressed body, `rows` counts its price rows."""

    n: SeqOrNone
    sha256: Sha256
    rows: SeqOrNone


class Scope(Struct, frozen=True):
    """Which part of the catalogue a snapshot states: the SKUs of these buckets (`protocols.hq_buckets`), found to differ when the store's
    price stream stood at `price`. While it stands there still, it goes on at the snapshot's base; else where it is."""

    buckets: Annotated[tuple[Annotated[int, Meta(ge=0, lt=BUCKETS)], ...], Meta(min_length=1, max_length=BUCKETS)]
    price: StreamPosition

    def __post_init__(self) -> None:
        if len(set(self.buckets)) != len(self.buckets):
            raise ValueError("a bucket is named twice")


class SnapshotManifest(Struct, frozen=True):
    """A catalogue to come: complete when every chunk is here; price messages after `base_price_seq` apply on top of it.

    Items and prices that it does not name are gone. `scope`: only within those buckets; None: the whole catalogue.
    """

    snapshot_id: Id
    base_price_seq: SeqOrNone
    price_incarnation: Incarnation
    items: SeqOrNone
    chunks: Annotated[tuple[ChunkRef, ...], Meta(max_length=CHUNKS_MAX)]
    scope: Scope | None = None

    def __post_init__(self) -> None:
        if [chunk.n for chunk in self.chunks] != list(range(len(self.chunks))):
            raise ValueError("chunks are not numbered 0, 1, 2, ...")


class StockLevel(Struct, frozen=True):
    sku: Sku
    on_hand: Delta
    unit: Unit = Unit.EACH


class SnapshotChunk(Struct, frozen=True):
    """One part of a snapshot. `sha256` is computed over the compressed body as it came; compare it with the manifest's."""

    snapshot_id: str
    n: int
    sha256: str
    items: tuple[Item, ...]
    rows: tuple[PriceRow, ...]
    stock: tuple[StockLevel, ...]


class PriceRowWire(Struct, gc=False):
    sku: Sku
    kind: PriceKind
    price_id: Id
    rev: Seq
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")]
    amount_minor: Amount | None = None
    curve: Annotated[tuple[tuple[Quantity, Amount], ...], Meta(min_length=1, max_length=CURVE_POINTS_MAX)] | None = None
    price_quantity: Quantity = 1
    effective_from: Instant | None = None
    effective_to: Instant | None = None
    cancelled: bool = False

    def __post_init__(self) -> None:
        if self.curve is None and self.amount_minor is not None and self.effective_to is None:
            return  # as nearly every row of a price list is
        if self.amount_minor is not None and self.curve is not None:
            raise ValueError("amount_minor and curve exclude each other")
        if self.amount_minor is None and self.curve is None and not self.cancelled:
            raise ValueError("amount_minor or curve is missing")
        for (quantity, total), (next_quantity, next_total) in zip(self.curve or (), (self.curve or ())[1:], strict=False):
            if next_quantity <= quantity or next_total < total:
                raise ValueError("curve points are not ascending")
        if self.effective_from is not None and self.effective_to is not None and self.effective_to <= self.effective_from:
            raise ValueError("effective_to is not after effective_from")

    def row(self) -> PriceRow:
        points = self.curve if self.curve is not None else () if self.amount_minor is None else ((1, self.amount_minor),)
        return PriceRow(
            sku=self.sku,
            kind=self.kind,
            price_id=self.price_id,
            rev=self.rev,
            curve=points,
            price_quantity=self.price_quantity,
            currency=self.currency,
            effective_from_ms=None if self.effective_from is None else utc_ms(self.effective_from),
            effective_to_ms=None if self.effective_to is None else utc_ms(self.effective_to),
            cancelled=self.cancelled,
        )


class PriceBatchWire(Struct):
    rows: Annotated[tuple[PriceRowWire, ...], Meta(min_length=1, max_length=ROWS_MAX)]


class ChunkWire(Struct):
    items: Annotated[tuple[Item, ...], Meta(max_length=ROWS_MAX)] = ()
    rows: Annotated[tuple[PriceRowWire, ...], Meta(max_length=CHUNK_ROWS_MAX)] = ()
    stock: Annotated[tuple[StockLevel, ...], Meta(max_length=CHUNK_ROWS_MAX)] = ()


def price_rows(wires: tuple[PriceRowWire, ...]) -> tuple[PriceRow, ...]:
    """Raises `BadBody` when two rows are the same version of one price: which of them is meant?"""
    seen: set[tuple[str, str, int]] = set()
    for index, wire in enumerate(wires):
        version = (wire.sku, wire.price_id, wire.rev)
        if version in seen:
            raise BadBody(f"row {index}: price {wire.price_id} rev {wire.rev} of {wire.sku} is given twice", index)
        seen.add(version)
    return tuple(wire.row() for wire in wires)


@lru_cache(maxsize=64)  # a price list begins at one instant
def utc_ms(instant: datetime) -> int:
    """Milliseconds since 1970 of an instant with a time zone."""
    return (instant - _EPOCH) // timedelta(milliseconds=1)


def _gtin_check(digits: str) -> bool:
    """GS1 General Specifications 7.9: weights 3, 1, 3, ... from the right, the sum with the check digit is a multiple of 10."""
    total = sum(int(digit) * (3 if index % 2 else 1) for index, digit in enumerate(reversed(digits)))
    return total % 10 == 0
