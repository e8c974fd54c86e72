"""What the process that reads a file says to the daemon: frames of a length and JSON."""

from __future__ import annotations

import struct
from enum import StrEnum
from typing import Final

import msgspec

from edge.import_feed import Feed
from edge.import_rows import Row, StoreTerms
from edge.import_text import Problem

FILE_BYTES_MAX: Final = 64 << 20  # 200,000 rows of 320 bytes
ROWS_PER_FRAME: Final = 500  # some 100 KB
FRAME_BYTES_MAX: Final = 32 << 20  # 500 rows at their very largest
PROBLEMS_MAX: Final = 10_000  # named one by one; a file with more has another delimiter, or other columns
LENGTH: Final = struct.Struct(">I")


class Format(StrEnum):
    """A delimited file, or a JSON array of objects by our column names."""

    CSV = "csv"
    JSON = "json"


class Task(msgspec.Struct, frozen=True):
    feed: Feed
    terms: StoreTerms
    format: Format
    daemon_pid: int


class Opened(msgspec.Struct, frozen=True, tag=True):
    """The first frame: what the bytes are."""

    sha256: str
    size_bytes: int


class Rows(msgspec.Struct, frozen=True, tag=True):
    rows: tuple[Row, ...]
    problems: tuple[Problem, ...]


class End(msgspec.Struct, frozen=True, tag=True):
    """The last frame: the whole file was read. Its counts are over all of it, problems that were not named included."""

    rows: int
    problems: int


Frame = Opened | Rows | End

_decoder = msgspec.json.Decoder(Frame)


def encode_frame(frame: Frame) -> bytes:
    body = msgspec.json.encode(frame)
    return LENGTH.pack(len(body)) + body


def decode_frame(body: bytes) -> Frame:
    """Raises msgspec.DecodeError."""
    frame: Frame = _decoder.decode(body)
    return frame
