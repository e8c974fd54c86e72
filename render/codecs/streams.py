"""Compressed streams as labels take them: zlib with a small window, gzip that is the same bytes every time.

The one place where payloads meet a general compressor. Compression is our own (`deflate`), decompression is Python's zlib, and bounded: a
stream that would give more than a picture is refused before it takes memory.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Final

from render.codecs import deflate
from render.errors import PayloadError

GZIP_HEADER: Final = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))  # deflate, no name, no time, system unknown
_GZIP_TRAILER: Final = struct.Struct("<II")  # CRC-32 and length of the content
_SALT_BLOCK: Final = b"\x00\x00\xff\xff"  # of an empty stored block, what follows its first byte


@dataclass(frozen=True, slots=True)
class How:
    """How a stream is made. `salt`: a number that makes another legal stream of the same content (a u32; 0 adds nothing)."""

    mode: deflate.Mode = deflate.Mode.AIRTIME
    salt: int = 0

    def stream(self, data: bytes, window_bits: int) -> bytes:
        """A zlib stream whose header states this window (9 to 15: 512 bytes to 32 KiB)."""
        return deflate.salted(data, window_bits, self.salt, self.mode)


SMALLEST: Final = How()


def salt_of(stream: bytes) -> int:
    """The salt of a zlib stream that `How` made; 0 for one without."""
    salt = 0
    for number in range(7):  # seven times five bits hold a u32
        start = 2 + 5 * number
        block = stream[start : start + 5]
        if len(block) < 5 or block[0] & 0b111 or block[1:] != _SALT_BLOCK:
            break
        salt |= block[0] >> 3 << 5 * number
    return salt


def inflate(stream: bytes, window_bits: int, size_max: int) -> bytes:
    """Content of one whole zlib stream. Raises PayloadError for a wider window, more than `size_max` bytes, or anything behind it."""
    return _inflated(stream, window_bits, size_max, "zlib")


def gzip(data: bytes) -> bytes:
    """A gzip file without name and time: equal content gives equal bytes."""
    # it travels by cable: what counts is our time
    return GZIP_HEADER + deflate.compress_raw(data, 15, deflate.Mode.FAST) + _GZIP_TRAILER.pack(zlib.crc32(data), len(data))


def gunzip(file: bytes, size_max: int) -> bytes:
    """Content of one gzip member. Raises PayloadError for a broken one, more than `size_max` bytes, or anything behind it."""
    return _inflated(file, 16 + 15, size_max, "gzip")


def _inflated(stream: bytes, window_bits: int, size_max: int, word: str) -> bytes:
    unpacker = zlib.decompressobj(window_bits)
    try:
        content = unpacker.decompress(stream, size_max + 1)
    except zlib.error as error:
        raise PayloadError(f"{word}: {error}") from error
    if not unpacker.eof or unpacker.unused_data or len(content) > size_max:
        raise PayloadError(f"{word}: not one whole stream of at most {size_max} bytes")
    return content
