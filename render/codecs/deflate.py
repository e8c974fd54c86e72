"""A deflate encoder of our own (RFC 1950, 1951) for the small windows that labels have.

zlib with a window of 512 bytes looks back at most 250 of them; this one uses all. Streams are plain enough for the smallest decoders:
every code is complete, no distance is longer than the window, an incompressible part is stored.
"""

from __future__ import annotations

import enum
from typing import Final

import numpy as np

from render.codecs import deflate_block, deflate_parse
from render.codecs import deflate_tables as t
from render.codecs.deflate_tables import STAMP, Bytes, Table, Tokens

WINDOW_BITS_MIN: Final = 8
WINDOW_BITS_MAX: Final = 15
SALT_MAX: Final = 0xFFFF_FFFF  # an attempt number is a u32

_METHOD: Final = 8  # deflate
_SLOWEST: Final = 3 << 6  # the header's word for how hard the encoder tried; no decoder asks
_HEADER_BYTES: Final = 2
_CHECKSUM_BYTES: Final = 4
_TOKENS_MAX: Final = 16384  # per block: a large picture's parts get codes of their own
_PART_BYTES: Final = 131072  # of the data that AIRTIME looks at together, in some 4 MB of working memory: any picture of 800x480
_SPLIT_TOKENS: Final = 2048  # fewer never pay for a second header
_STORED_MAX: Final = 65535  # bytes of a stored block: its length has 16 bits
_SALT_BITS: Final = 5  # between a stored block's first three bits and the end of their byte: no decoder reads them
_EMPTY_BLOCK_BYTES: Final = 5
# measured on 60 labels. FAST: a fourth earlier place per place saves 0.4 % of the bytes and costs 4 % of the time. AIRTIME: twice the
# places save 0.2 %, a second choice of the path with the codes of the first saves 0.3 % and costs a quarter more time.
_FAST_TRIES_MAX: Final = 3
_FAST_LAZY_BELOW: Final = 8  # a shorter match waits for what the next place has
_AIRTIME_TRIES_MAX: Final = 16
_AIRTIME_ROUNDS: Final = 1
_NOWHERE: Final = np.empty(0, np.uint8)


class Mode(enum.Enum):
    """FAST for many labels at once; AIRTIME for the fewest bytes on the radio, in five times FAST's time."""

    FAST = "fast"
    AIRTIME = "airtime"


def zlib_stream(data: bytes | Bytes, window_bits: int, mode: Mode = Mode.AIRTIME) -> bytes:
    """What a label gets unless there is a reason for another: the radio's time costs more than ours."""
    return compress(data, window_bits, mode)


def compress(data: bytes | Bytes, window_bits: int, mode: Mode = Mode.FAST) -> bytes:
    """A zlib stream; no distance in it is longer than 1 << window_bits. ValueError for a window that zlib does not have."""
    return salted(data, window_bits, 0, mode)


def compress_raw(data: bytes | Bytes, window_bits: int, mode: Mode = Mode.FAST) -> bytes:
    """The deflate stream without zlib's header and checksum, for containers that have their own."""
    source = _source(data)
    out = np.empty(size_max(source.shape[0]), np.uint8)
    out[0] = 0
    return out[: _deflate(source, out, 0, _window(window_bits), mode)].tobytes()


def compress_into(source: Bytes, out: Bytes, window_bits: int, mode: Mode = Mode.FAST) -> int:
    """`compress` into the first bytes of `out`, which has room for `size_max(len(source))`; returns how many.

    `source`: one row of bytes, contiguous and writable (the kernels are compiled for such). What lies behind the stream in `out` is
    undefined. The kernels run without the interpreter lock.
    """
    if out.shape[0] < size_max(source.shape[0]):
        raise ValueError(f"room for {out.shape[0]} bytes, expected {size_max(source.shape[0])} for a source of {source.shape[0]}")
    return _zlib(source, out, window_bits, 0, mode)


def salted(data: bytes | Bytes, window_bits: int, salt: int, mode: Mode = Mode.AIRTIME) -> bytes:
    """Another legal stream with the same content for every salt from 0 to SALT_MAX; salt 0 is `compress`.

    The salt lies before the content in empty stored blocks, five bits in each: nothing for 0, 5 bytes up to 31, 10 up to 1023, at most 35.
    """
    if not 0 <= salt <= SALT_MAX:
        raise ValueError(f"salt {salt} is outside 0 to {SALT_MAX}")
    source = _source(data)
    out = np.empty(size_max(source.shape[0]), np.uint8)
    return out[: _zlib(source, out, window_bits, salt, mode)].tobytes()


def size_max(size: int) -> int:
    """Room that `compress_into` needs for a source of this many bytes: all of it stored, a salt, and what the kernels write behind."""
    return size + size // 2048 + 80


def _source(data: bytes | Bytes) -> Bytes:
    if isinstance(data, np.ndarray) and data.flags.c_contiguous and data.flags.writeable:
        return data.reshape(-1)
    return np.frombuffer(bytearray(data), np.uint8)  # a bytearray, since what bytes give cannot be written


def _window(bits: int) -> int:
    if not WINDOW_BITS_MIN <= bits <= WINDOW_BITS_MAX:
        raise ValueError(f"window_bits {bits} is outside {WINDOW_BITS_MIN} to {WINDOW_BITS_MAX}")
    return 1 << bits


def _header(window_bits: int) -> Bytes:
    """zlib's two bytes, as one number a multiple of 31, and the deflate stream's first, empty byte."""
    header = (window_bits - 8 << 4 | _METHOD) << 8 | _SLOWEST
    header += 31 - header % 31
    return np.array([header >> 8, header & 255, 0], np.uint8)


_HEADERS: Final = {bits: _header(bits) for bits in range(WINDOW_BITS_MIN, WINDOW_BITS_MAX + 1)}


def _zlib(source: Bytes, out: Bytes, window_bits: int, salt: int, mode: Mode) -> int:
    window = _window(window_bits)
    out[: _HEADER_BYTES + 1] = _HEADERS[window_bits]
    start = _HEADER_BYTES
    while salt:
        out[start : start + _EMPTY_BLOCK_BYTES] = ((salt & 31) << 3, 0, 0, 255, 255)
        start += _EMPTY_BLOCK_BYTES
        out[start] = 0
        salt >>= _SALT_BITS
    size = _deflate(source, out, start, window, mode)
    deflate_block.checksum(STAMP, source, out, size)
    return size + _CHECKSUM_BYTES


def _deflate(source: Bytes, out: Bytes, start: int, window: int, mode: Mode) -> int:
    """Write the deflate stream to out[start:], whose first byte is 0; returns the place behind it."""
    position = start * 8
    position = (_fast if mode is Mode.FAST else _airtime)(source, out, position, window)
    return position + 7 >> 3


def _fast(source: Bytes, out: Bytes, position: int, window: int) -> int:
    size = source.shape[0]
    previous = np.zeros(size, np.uint16)
    tokens = np.empty(min(max(size, t.TOKENS_MIN), _TOKENS_MAX), np.int32)
    work = np.empty(t.WORK, np.int64)
    start = 0
    while True:
        parsed = deflate_parse.parse(STAMP, source, start, window, _FAST_TRIES_MAX, _FAST_LAZY_BELOW, previous, tokens)
        end = parsed >> 32
        position = _block(source, start, end, tokens, parsed & 0xFFFF_FFFF, work, out, position)
        start = end
        if start == size:
            return position


def _airtime(source: Bytes, out: Bytes, position: int, window: int) -> int:
    size = source.shape[0]
    previous = np.zeros(size, np.uint16)
    work = np.empty(t.WORK, np.int64)
    parts = max(1, -(-size // _PART_BYTES))
    part = -(-size // parts)
    found = np.empty(t.FOUND_MAX * part + 1, np.int32)
    found_from = np.empty(part + 1, np.int32)
    tokens = np.empty(max(part, t.TOKENS_MIN), np.int32)
    cost = np.empty(part + 1, np.int64)
    for start in range(0, max(size, 1), max(part, 1)):
        end = min(start + part, size)
        count = deflate_parse.find(STAMP, source, start, end, window, _AIRTIME_TRIES_MAX, previous, found, found_from, tokens)
        for _ in range(_AIRTIME_ROUNDS):
            deflate_block.encode_block(STAMP, tokens, count, 0, work, 0, _NOWHERE, 0)
            count = deflate_parse.best_path(STAMP, source, start, work, found, found_from, cost[: end - start + 1], tokens)
        position = _blocks(source, start, end, tokens[:count], work, out, position)
    return position


def _blocks(source: Bytes, start: int, end: int, tokens: Tokens, work: Table, out: Bytes, position: int) -> int:
    """Write source[start:end], which is these tokens, as one block, or as several when those are shorter; returns the bit behind them."""
    if len(tokens) >= _SPLIT_TOKENS and (whole_bits := _bits(tokens, work)) < _stored_bits(end - start):
        # in the middle of the tokens, and in the middle of the bytes: there a picture's second plane begins
        low = tokens & 511
        covered = np.cumsum(np.where(low < 256, 1, low - 253))
        middles = {len(tokens) // 2, int(np.searchsorted(covered, (end - start) // 2)) + 1} - {len(tokens)}
        split_bits, at = min((_bits(tokens[:at], work) + _bits(tokens[at:], work), at) for at in middles)
        if split_bits < whole_bits:
            middle = start + int(covered[at - 1])
            position = _blocks(source, start, middle, tokens[:at], work, out, position)
            return _blocks(source, middle, end, tokens[at:], work, out, position)
    return _block(source, start, end, tokens, len(tokens), work, out, position)


def _bits(tokens: Tokens, work: Table) -> int:
    """Size of these tokens as one block."""
    return deflate_block.encode_block(STAMP, tokens, len(tokens), 0, work, 0, _NOWHERE, 0)


def _block(source: Bytes, start: int, end: int, tokens: Tokens, count: int, work: Table, out: Bytes, position: int) -> int:
    """Write source[start:end], which is these tokens, as the shortest kind of block; returns the bit behind it."""
    final = int(end == source.shape[0])
    stored_bits = _stored_bits(end - start)
    block_bits = deflate_block.encode_block(STAMP, tokens, count, final, work, stored_bits, out, position)
    return position + block_bits if block_bits < stored_bits else _stored(source, start, end, final, out, position)


def _stored_bits(size: int) -> int:
    """Of stored blocks for this many bytes, each with its length and whole to the byte."""
    return 8 * size + 40 * (size // _STORED_MAX + 1)


def _stored(source: Bytes, start: int, end: int, final: int, out: Bytes, position: int) -> int:
    """Write source[start:end] as it is. `out` has zero bits from the position to the end of its byte."""
    while start < end:
        stop = min(start + _STORED_MAX, end)
        if stop == end and final:
            out[position >> 3] |= 1 << (position & 7)
        at = position + 3 + 7 >> 3
        out[(position >> 3) + 1 : at] = 0
        size = stop - start
        out[at : at + 4] = (size & 255, size >> 8, size & 255 ^ 255, size >> 8 ^ 255)
        out[at + 4 : at + 4 + size] = source[start:stop]
        position = (at + 4 + size) * 8
        out[position >> 3] = 0
        start = stop
    return position
