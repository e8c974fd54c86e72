"""The catalogue in 256 hashes: what HQ and store compare, so that only what differs travels.

Both sides write each item and each price as one line of text, sort the lines of a bucket by their UTF-8 bytes and hash them joined by
newlines. A field never holds a tab or a newline (the wire refuses control characters), so a line can be read in one way only.

What counts: items that are sold, and of these the newest revision of each price that is not cancelled. Money and quantities are written
as whole numbers, absent values as nothing, instants as UTC milliseconds; a price in force at once has no start.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from protocols.hq_catalogue import Barcode, Item, PriceRow
from protocols.hq_fields import BUCKETS

HASH_BYTES = 8  # of each bucket: 256 of them are 2 KiB, and two that differ look alike once in 10**19


def bucket_of(sku: str) -> int:
    """The bucket of an item: first byte of the SHA-256 of its SKU."""
    return hashlib.sha256(sku.encode()).digest()[0]


def item_line(item: Item) -> str:
    """An item as text, its codes by number, its attributes by name."""
    fields: tuple[object, ...] = (
        "item",
        item.sku,
        item.name,
        item.short_name,
        item.brand,
        item.sold_by,
        item.net_content,
        item.net_unit,
        item.drained_weight,
        item.unit_price_base,
        item.tax_class,
        item.deposit_minor,
        item.age_limit or 0,
        item.origin,
        item.category,
        " ".join(map(_code, sorted(item.barcodes, key=lambda each: each.gtin))),
        *(f"{name}={text}" for name, text in sorted(item.attributes.items())),
    )
    return "\t".join("" if each is None else str(each) for each in fields)


def price_line(row: PriceRow) -> str:
    """A price as text. `curve` is counted in units of the item: the row's quantities times its `price_quantity`."""
    return price_text(
        row.sku,
        row.price_id,
        row.rev,
        row.kind,
        [(quantity * row.price_quantity, total) for quantity, total in row.curve],
        row.effective_from_ms,
        row.effective_to_ms,
    )


def price_text(
    sku: str, price_id: str, rev: int, kind: str, curve: Iterable[tuple[int, int]], from_ms: int | None, to_ms: int | None
) -> str:
    points = ",".join(f"{quantity}:{total}" for quantity, total in curve)
    fields = ("price", sku, price_id, rev, kind, points, from_ms, to_ms)
    return "\t".join("" if each is None else str(each) for each in fields)


def bucket_hashes(lines: Iterable[tuple[str, str]]) -> bytes:
    """256 hashes of 8 bytes, in order, of (SKU, line) pairs in any order. An empty bucket hashes no text."""
    buckets: list[list[bytes]] = [[] for _ in range(BUCKETS)]
    number: dict[str, int] = {}
    for sku, line in lines:
        bucket = number.get(sku)
        if bucket is None:
            bucket = number[sku] = bucket_of(sku)
        buckets[bucket].append(line.encode())
    return b"".join(hashlib.sha256(b"\n".join(sorted(each))).digest()[:HASH_BYTES] for each in buckets)


def differing(ours: bytes, theirs: bytes) -> list[int]:
    """The numbers of the buckets whose hashes differ. Raises ValueError for what is not 256 hashes."""
    if len(ours) != BUCKETS * HASH_BYTES or len(theirs) != BUCKETS * HASH_BYTES:
        raise ValueError(f"{BUCKETS} hashes of {HASH_BYTES} bytes expected")
    cuts = range(0, BUCKETS * HASH_BYTES, HASH_BYTES)
    return [start // HASH_BYTES for start in cuts if ours[start : start + HASH_BYTES] != theirs[start : start + HASH_BYTES]]


def _code(barcode: Barcode) -> str:
    return f"{barcode.gtin}*{barcode.pack_quantity}"
