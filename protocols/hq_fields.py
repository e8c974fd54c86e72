"""What the fields of HQ's messages may hold: ids, amounts, quantities, instants, and how many rows one message has."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

from msgspec import DecodeError, Meta, Struct

# What reading a text from outside raises: no JSON or not of its shape, no UTF-8 within a string, nested too deeply.
UNREADABLE: Final = (DecodeError, UnicodeDecodeError, RecursionError)

ROWS_MAX: Final = 500  # price rows or items in one message: 500 rows of JSON stay below the 128 KiB message limit
CHUNK_ROWS_MAX: Final = 2_000  # price rows in a snapshot chunk: 500 items with up to four prices each
CHUNK_RAW_MAX_BYTES: Final = 4 * 1024 * 1024  # decompressed chunk: about 2 KiB for each of 500 items and its rows
CHUNKS_MAX: Final = 1_000  # 500,000 items: ten times the largest store, and the manifest stays below 128 KiB
BUCKETS: Final = 256  # of SKUs, whose hashes both sides compare: 2 KiB of them, and 50,000 items are 200 in each
CURVE_POINTS_MAX: Final = 8  # "1 for, 2 for, 3 for ..." as one label can print it
BARCODES_MAX: Final = 64  # per item; real items carry one to ten
ATTRIBUTES_MAX: Final = 32  # extra template fields per item
LABEL_ITEMS_MAX: Final = 8  # items drawn on one label
AMOUNT_MAX_MINOR: Final = 10**12  # far above any price, far below the 2**63 of the database
COUNT_MAX: Final = 2**53 - 1  # largest integer that every JSON reader keeps exact

_ID = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}\Z"
_INCARNATION = r"^[0-9a-f]{32}\Z"
_SHA256 = r"^[0-9a-f]{64}\Z"

Sku = Annotated[str, Meta(pattern=_ID)]
Id = Annotated[str, Meta(pattern=_ID)]
LabelName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,31}\Z")]
Incarnation = Annotated[str, Meta(pattern=_INCARNATION)]
Sha256 = Annotated[str, Meta(pattern=_SHA256)]
Seq = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
SeqOrNone = Annotated[int, Meta(ge=0, le=COUNT_MAX)]  # 0: nothing yet
Amount = Annotated[int, Meta(ge=0, le=AMOUNT_MAX_MINOR)]
Quantity = Annotated[int, Meta(ge=1, le=10**9)]
Delta = Annotated[int, Meta(ge=-(10**12), le=10**12)]
Line = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00-\x1f\x7f]*\Z")]  # one line of text, no control characters
Instant = Annotated[datetime, Meta(tz=True)]  # RFC 3339 with an offset
Kid = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]  # a key's name
Level = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]  # of a topic: a zone's name


class StreamPosition(Struct, frozen=True):
    """A place in a stream: the newest message of HQ's log (head), the last applied (birth), one to wait for (`after`). `seq` 0: none."""

    incarnation: Incarnation
    seq: SeqOrNone
