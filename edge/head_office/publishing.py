"""From a file of head office's people to messages. Pure: text in, checked drafts out; every error names the place in the file.

JSON: one `{"type", "data"}` or a list of them, as on the wire, and `{"type": "snapshot", "items", "rows", "stock"}` for a whole
catalogue. CSV: items with prices (the columns of `shelfd import`), or prices alone (`sku,price` and some of `PRICE_COLUMNS`).
"""

from __future__ import annotations

import csv
import hashlib
import io
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from edge.csv_input import CsvError, ItemRow, amount_minor, read_items
from protocols.hq import MESSAGE_MAX_BYTES
from protocols.hq_fields import CHUNK_RAW_MAX_BYTES, CHUNK_ROWS_MAX, CHUNKS_MAX, ROWS_MAX
from protocols.hq_messages import TYPES, BadBody, decode_body, decode_chunk

PRICE_COLUMNS: Final = ("sku", "price", "kind", "price_id", "price_quantity", "from", "to")
SNAPSHOT: Final = "snapshot"
NOT_SAID: Final = frozenset({"snapshot.manifest.v1", "snapshot.chunk.v1", "head.v1", "ack.v1"})  # made here, never by people
DATA_BYTES_MAX: Final = MESSAGE_MAX_BYTES - 2 * 1024  # of a message's data: a header of ids, an instant and `source`, and the seal
ROW_LIST_BYTES: Final = 64  # of data around the rows
_COMPRESSION: Final = 6  # of zlib: 2.1 MB for 50,000 items, measured

Json = Mapping[str, Any]
Revs = Mapping[tuple[str, str], int]


class BadFile(ValueError):
    """Nothing of the file was said. The text names the place."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message without its place, and what it makes of the catalogue: bodies as JSON text."""

    type: str
    data: bytes
    items: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    prices: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict)  # (SKU, price id) -> (rev, row)


@dataclass(frozen=True, slots=True)
class Chunk:
    body: bytes
    rows: int


@dataclass(frozen=True, slots=True)
class SnapshotDraft:
    """A whole catalogue, cut and compressed."""

    chunks: tuple[Chunk, ...]
    items: Mapping[str, str]
    prices: Mapping[tuple[str, str], tuple[int, str]]

    def manifest(self, snapshot_id: str, base_price_seq: int, price_incarnation: str) -> bytes:
        """The data of its manifest."""
        refs = [{"n": n, "sha256": hashlib.sha256(chunk.body).hexdigest(), "rows": chunk.rows} for n, chunk in enumerate(self.chunks)]
        return msgspec.json.encode(
            {
                "snapshot_id": snapshot_id,
                "base_price_seq": base_price_seq,
                "price_incarnation": price_incarnation,
                "items": len(self.items),
                "chunks": refs,
            }
        )


def from_json(text: bytes) -> list[Draft | SnapshotDraft]:
    """Raises BadFile."""
    try:
        content = msgspec.json.decode(text)
    except UnicodeDecodeError as error:
        raise BadFile("not UTF-8 text") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadFile(str(error)) from error
    entries = content if isinstance(content, list) else [content]
    return [each for number, entry in enumerate(entries) for each in _entry(f"entry {number}", entry)]


def snapshot(items: Sequence[Json], rows: Sequence[Json], stock: Sequence[Json] = ()) -> SnapshotDraft:
    """Raises BadFile for what a store would refuse."""
    own, levels = _by_sku(rows), _by_sku(stock)
    skus = [str(item.get("sku")) for item in items]
    if len(set(skus)) != len(skus):
        raise BadFile(f"item {Counter(skus).most_common(1)[0][0]} is there twice")
    if strangers := own.keys() - set(skus):
        raise BadFile(f"prices of items that are not there: {', '.join(sorted(strangers)[:5])}")
    chunks: list[Chunk] = []
    parts = [(start, min(start + ROWS_MAX, len(items))) for start in range(0, len(items), ROWS_MAX)][::-1]
    while parts:
        first, end = parts.pop()
        found = [row for sku in skus[first:end] for row in own.get(sku, ())]
        body = {"items": items[first:end], "rows": found, "stock": [level for sku in skus[first:end] for level in levels.get(sku, ())]}
        text = msgspec.json.encode(body)
        packed = zlib.compress(text, _COMPRESSION)
        fits = len(packed) <= DATA_BYTES_MAX and len(text) <= CHUNK_RAW_MAX_BYTES and len(found) <= CHUNK_ROWS_MAX
        if not fits and end - first > 1:  # items with long texts, or with many prices
            middle = (first + end) // 2
            parts += [(middle, end), (first, middle)]
            continue
        try:
            if not fits:
                raise BadBody(f"{len(packed)} bytes and {len(found)} prices, at most {DATA_BYTES_MAX} and {CHUNK_ROWS_MAX} expected")
            decode_chunk(SNAPSHOT, len(chunks), "", packed)
        except BadBody as error:
            raise BadFile(f"items {first} to {end - 1}: {error.reason}") from error
        chunks.append(Chunk(packed, len(found)))
    if len(chunks) > CHUNKS_MAX:
        raise BadFile(f"{len(chunks)} chunks, at most {CHUNKS_MAX} expected")
    return SnapshotDraft(tuple(chunks), _items(items), _prices(rows))


def from_item_rows(text: str, currency: str, exponent: int, revs: Revs, *, whole: bool) -> list[Draft | SnapshotDraft]:
    """Items with their base prices; `whole`: the file is the catalogue. Raises BadFile."""
    try:
        found = read_items(text, exponent)
    except CsvError as error:
        raise BadFile(str(error)) from error
    items = [_item(row) for row in found]
    rows = [_base_price(row, currency, revs) for row in found]
    if whole:
        stock = [{"sku": row.item.item_id, "on_hand": row.stock} for row in found if row.stock is not None]
        return [snapshot(items, rows, stock)]
    return _batches("item.batch.v1", "items", items) + _batches("price.batch.v1", "rows", rows)


def from_price_rows(text: str, currency: str, exponent: int, revs: Revs) -> list[Draft | SnapshotDraft]:
    """`sku,price` and what else is known of `PRICE_COLUMNS`. Raises BadFile."""
    reader = csv.DictReader(io.StringIO(text), strict=True, restkey="")
    rows: list[Json] = []
    given = dict(revs)
    try:
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        if not {"sku", "price"} <= set(header) <= set(PRICE_COLUMNS) or len(set(header)) != len(header):
            raise BadFile(f"line 1: columns {', '.join(header)}; expected sku, price and any of {', '.join(PRICE_COLUMNS[2:])}, each once")
        reader.fieldnames = header
        for cells in reader:
            if "" in cells or None in cells.values():  # a price such as 2,99 in the place of two cells is no price of 2
                raise CsvError(f"another number of cells than the {len(header)} of line 1")
            rows.append(_price_row({key: value.strip() for key, value in cells.items()}, currency, exponent, given))
    except (csv.Error, CsvError) as error:
        raise BadFile(f"line {max(reader.line_num, 1)}: {error}") from error
    return _batches("price.batch.v1", "rows", rows)


def from_catalogue(items: Iterable[bytes], rows: Iterable[bytes], on_hand: Mapping[str, int]) -> SnapshotDraft:
    """A snapshot of what head office believes a store to have. Prices that were said of an item it has not are left out. Raises BadFile."""
    stock = [{"sku": sku, "on_hand": units} for sku, units in on_hand.items()]
    known = [msgspec.json.decode(item) for item in items]
    skus = {item["sku"] for item in known}
    return snapshot(known, [row for text in rows if (row := msgspec.json.decode(text))["sku"] in skus], stock)


def is_price_file(text: str) -> bool:
    """Whether a CSV file has prices alone: its items have no names."""
    return "name" not in [name.strip().lower() for name in text.partition("\n")[0].split(",")]


def _entry(place: str, entry: object) -> list[Draft | SnapshotDraft]:
    if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
        raise BadFile(f'{place}: expected {{"type": ..., "data": ...}}')
    type_ = entry["type"]
    if type_ == SNAPSHOT:
        parts = [entry.get(name, []) for name in ("items", "rows", "stock")]
        if not all(isinstance(part, list) and all(isinstance(row, dict) for row in part) for part in parts):
            raise BadFile(f"{place}: items, rows and stock are lists of objects")
        return [snapshot(*parts)]
    if type_ not in TYPES or type_ in NOT_SAID:
        said = ", ".join(sorted(TYPES.keys() - NOT_SAID))
        raise BadFile(f"{place}: type {type_!r}; expected {SNAPSHOT} or one of {said}")
    if not isinstance(entry.get("data"), dict):
        raise BadFile(f"{place}: data is missing")
    return [_draft(type_, entry["data"], place)]


def _draft(type_: str, data: Json, place: str) -> Draft:
    text = msgspec.json.encode(data)
    if len(text) > DATA_BYTES_MAX:
        raise BadFile(f"{place}: {len(text)} bytes, a message has room for {DATA_BYTES_MAX}: say it in several")
    try:
        decode_body(type_, text)
    except BadBody as error:
        raise BadFile(f"{place}: {error.reason}") from error
    if type_ == "item.batch.v1":
        return Draft(type_, text, _items(data.get("items", ())), tuple(data.get("removed", ())))
    return Draft(type_, text, prices=_prices(data["rows"]) if type_ == "price.batch.v1" else {})


def _batches(type_: str, field_name: str, rows: Sequence[Json]) -> list[Draft | SnapshotDraft]:
    """As many rows in a message as it has room for."""
    found: list[Draft | SnapshotDraft] = []
    start = size = 0
    for number, row in enumerate(rows):
        length = len(msgspec.json.encode(row)) + 1
        if number - start == ROWS_MAX or (number > start and size + length > DATA_BYTES_MAX - ROW_LIST_BYTES):
            found.append(_draft(type_, {field_name: rows[start:number]}, f"rows from {start}"))
            start, size = number, 0
        size += length
    return [*found, _draft(type_, {field_name: rows[start:]}, f"rows from {start}")] if rows else found


def _by_sku(rows: Sequence[Json]) -> dict[str, list[Json]]:
    found: dict[str, list[Json]] = {}
    for row in rows:
        found.setdefault(str(row.get("sku")), []).append(row)
    return found


def _items(items: Iterable[Json]) -> dict[str, str]:
    return {str(item["sku"]): msgspec.json.encode(item).decode() for item in items}


def _prices(rows: Iterable[Json]) -> dict[tuple[str, str], tuple[int, str]]:
    newest: dict[tuple[str, str], tuple[int, str]] = {}
    for row in rows:
        key, rev = (str(row["sku"]), str(row["price_id"])), int(row["rev"])
        if rev > newest.get(key, (0, ""))[0]:
            newest[key] = (rev, msgspec.json.encode(row).decode())
    return newest


def _item(row: ItemRow) -> Json:
    item = row.item
    wire = {
        "sku": item.item_id,
        "name": item.name,
        "short_name": item.short_name,
        "brand": item.brand,
        "sold_by": item.sold_by,
        "net_content": item.net_content,
        "net_unit": item.net_unit,
        "deposit_minor": item.deposit_minor,
        "age_limit": item.age_limit or None,
        "origin": item.origin or None,
        "category": item.category or None,
        "barcodes": [{"gtin": gtin, "pack_quantity": quantity} for gtin, quantity in row.codes],
        "attributes": dict(item.attributes),
    }
    return {name: value for name, value in wire.items() if value not in (None, "", 0, [], {})}


def _base_price(row: ItemRow, currency: str, revs: Revs) -> Json:
    return {
        "sku": row.item.item_id,
        "kind": "base",
        "price_id": "base",
        "rev": revs.get((row.item.item_id, "base"), 0) + 1,
        "amount_minor": row.price_minor,
        "price_quantity": row.price_quantity,
        "currency": currency,
    }


def _price_row(cells: Mapping[str, str], currency: str, exponent: int, revs: dict[tuple[str, str], int]) -> Json:
    sku, kind = cells["sku"], cells.get("kind") or "base"
    price_id = cells.get("price_id") or cells.get("kind") or "base"
    rev = revs[sku, price_id] = revs.get((sku, price_id), 0) + 1
    quantity = cells.get("price_quantity") or "1"
    if not quantity.isascii() or not quantity.isdigit():
        raise CsvError(f"column price_quantity: {quantity!r}, expected a whole number")
    return {
        "sku": sku,
        "kind": kind,
        "price_id": price_id,
        "rev": rev,
        "amount_minor": amount_minor(cells["price"], exponent),
        "price_quantity": int(quantity),
        "currency": currency,
        "effective_from": cells.get("from") or None,
        "effective_to": cells.get("to") or None,
    }
