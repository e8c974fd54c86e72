"""What HQ says to a store: the data of every downward message type, parsed and checked.

Pure. `decode_body` takes the JSON text of a message's data and gives one frozen struct; `decode_chunk` does the same for the
compressed body of a snapshot chunk. A body that breaks a rule raises `BadBody` with a reason for people and, where one row is at
fault, that row's index: one bad row refuses the whole batch, so that a batch is in force as sent or not at all.

Money is in minor units of the row's currency, instants are UTC milliseconds, quantities are whole units (`each`, `g`, `ml`, `mm`).
The wire is described in docs/reference/hq.md.
"""

from __future__ import annotations

import re
import zlib
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocols.hq_catalogue import (
    BadBody,
    Barcode,
    ChunkRef,
    ChunkWire,
    Item,
    ItemBatch,
    PriceBatch,
    PriceBatchWire,
    PriceKind,
    PriceRow,
    Scope,
    SnapshotChunk,
    SnapshotManifest,
    SoldBy,
    StockLevel,
    Unit,
    price_rows,
    utc_ms,
)
from protocols.hq_control import Cancel, ConfigPut, History, KeysPut, Place, Query
from protocols.hq_fields import (
    CHUNK_RAW_MAX_BYTES,
    LABEL_ITEMS_MAX,
    ROWS_MAX,
    UNREADABLE,
    Id,
    Incarnation,
    LabelName,
    SeqOrNone,
    Sha256,
    Sku,
    StreamPosition,
)
from protocols.hq_recall import LotRecall
from protocols.hq_stock import Observations, StockAdjust, StockCount, StockDigest, StockEscrow, StockHold, StockRelease

__all__ = [
    "TYPES",
    "BadBody",
    "Barcode",
    "Body",
    "ChunkRef",
    "Head",
    "HqAck",
    "Item",
    "ItemBatch",
    "LabelAssign",
    "LabelUnassign",
    "Place",
    "PriceBatch",
    "PriceDiscard",
    "PriceKind",
    "PriceRelease",
    "PriceRow",
    "Refused",
    "Scope",
    "SnapshotChunk",
    "SnapshotManifest",
    "SoldBy",
    "StockLevel",
    "StreamBody",
    "StreamPosition",
    "Unit",
    "decode_body",
    "decode_chunk",
    "utc_ms",
]


class LabelAssign(Struct, frozen=True):
    """HQ asks for a binding; refused when the label's `binding_rev` is another one by now."""

    label: LabelName
    items: Annotated[tuple[Sku, ...], Meta(min_length=1, max_length=LABEL_ITEMS_MAX)]
    template: Id
    binding_rev: SeqOrNone
    place: Place | None = None


class LabelUnassign(Struct, frozen=True):
    label: LabelName
    binding_rev: SeqOrNone


class PriceRelease(Struct, frozen=True):
    """Let these held price changes through."""

    holds: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=ROWS_MAX)]


class PriceDiscard(Struct, frozen=True):
    """Forget these held price changes."""

    holds: Annotated[tuple[Id, ...], Meta(min_length=1, max_length=ROWS_MAX)]


class Head(Struct, frozen=True):
    streams: dict[str, StreamPosition]


class HqAck(Struct, frozen=True):
    """HQ has every event of `incarnation` up to and with `seq_through`; the last one's hash is `last_hash`."""

    store: str
    incarnation: Incarnation
    seq_through: SeqOrNone
    last_hash: Sha256


class Refused(Struct, frozen=True):
    """Signed and in its place in the stream, but its data cannot be used: kept, acknowledged as rejected, changes nothing."""

    reason: str
    row: int | None = None


StreamBody = (
    PriceBatch
    | ItemBatch
    | SnapshotManifest
    | SnapshotChunk
    | StockAdjust
    | StockCount
    | StockHold
    | StockRelease
    | StockEscrow
    | StockDigest
    | Observations
    | LotRecall
    | LabelAssign
    | LabelUnassign
    | PriceRelease
    | PriceDiscard
    | ConfigPut
    | KeysPut
    | Query
    | Cancel
    | History
    | Refused
)
Body = StreamBody | Head | HqAck

# type -> (topic tail, what its data decodes to); the snapshot chunk has a raw body and is decoded by `decode_chunk`
TYPES: Final[dict[str, tuple[str, type[Body]]]] = {
    "price.batch.v1": ("dn/price", PriceBatch),
    "item.batch.v1": ("dn/price", ItemBatch),
    "snapshot.manifest.v1": ("dn/bulk", SnapshotManifest),
    "snapshot.chunk.v1": ("dn/bulk", SnapshotChunk),
    "stock.adjust.v1": ("dn/stock", StockAdjust),
    "stock.count.v1": ("dn/stock", StockCount),
    "stock.hold.v1": ("dn/stock", StockHold),
    "stock.release.v1": ("dn/stock", StockRelease),
    "stock.escrow.v1": ("dn/stock", StockEscrow),
    "stock.digest.v1": ("dn/stock", StockDigest),
    "observation.v1": ("dn/stock", Observations),
    "recall.v1": ("dn/stock", LotRecall),
    "label.assign.v1": ("dn/label", LabelAssign),
    "label.unassign.v1": ("dn/label", LabelUnassign),
    "price.release.v1": ("dn/sys", PriceRelease),
    "price.discard.v1": ("dn/sys", PriceDiscard),
    "cancel.v1": ("dn/sys", Cancel),
    "config.put.v1": ("dn/sys", ConfigPut),
    "keys.put.v1": ("dn/sys", KeysPut),
    "query.v1": ("dn/sys", Query),
    "history.v1": ("dn/sys", History),
    "head.v1": ("dn/head", Head),
    "ack.v1": ("dn/ack", HqAck),
}


def decode_body(type_: str, data: bytes | memoryview) -> Body:
    """The data of a message of a known type. Raises `BadBody`; `KeyError` for a type that is not in `TYPES`."""
    shape = TYPES[type_][1]
    try:
        if shape is PriceBatch:
            return PriceBatch(price_rows(_BATCH.decode(data).rows))
        return _DECODERS[type_].decode(data)
    except UNREADABLE as error:
        raise _bad_body(error) from error


def decode_chunk(snapshot_id: str, n: int, sha256: str, raw: bytes | memoryview) -> SnapshotChunk:
    """The compressed body of chunk `n`. Raises `BadBody`; a body that unpacks to more than `CHUNK_RAW_MAX_BYTES` is refused unread."""
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(raw, CHUNK_RAW_MAX_BYTES)
    except zlib.error as error:
        raise BadBody(f"chunk does not unpack: {error}") from error
    if unpacker.unconsumed_tail:
        raise BadBody(f"chunk unpacks to more than {CHUNK_RAW_MAX_BYTES} bytes")
    if not unpacker.eof or unpacker.unused_data:
        raise BadBody("chunk is not one whole zlib stream")
    try:
        wire = _CHUNK.decode(text)
        return SnapshotChunk(snapshot_id, n, sha256, wire.items, price_rows(wire.rows), wire.stock)
    except UNREADABLE as error:
        raise _bad_body(error) from error


_BATCH: Final = msgspec.json.Decoder(PriceBatchWire)
_CHUNK: Final = msgspec.json.Decoder(ChunkWire)
_DECODERS: Final[dict[str, msgspec.json.Decoder[Body]]] = {
    name: msgspec.json.Decoder(shape) for name, (_, shape) in TYPES.items() if shape not in (PriceBatch, SnapshotChunk)
}
_ROW_PATH: Final = re.compile(r"`\$\.(?:rows|items|adjustments|stock|chunks|removed|keys|targets|bindings|prices)\[(\d+)\]")


def _bad_body(error: Exception) -> BadBody:
    text = str(error)
    found = _ROW_PATH.search(text)
    row = None if found is None else int(found.group(1))
    return BadBody(text if row is None else f"row {row}: {text}", row)
