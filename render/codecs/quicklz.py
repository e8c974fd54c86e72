"""The QuickLZ variant of Gicisky labels: independent chunks of 64 bytes, 64 hash buckets.

Written from a description of the format. A chunk is `75 [length of all] [bytes in it]` and a coded stream, or `74` and the bytes as they
are. The stream has control words of 32 bits, little-endian, read from the low end: 1 is a match, 0 a literal, the topmost set bit ends
the word. A match is 16 bits: the low nibble is its length less 2 (3 to 17), or 0 and the length in a third byte; the upper 12 bits are a
hash bucket, whose last position is where to copy from. Both sides keep the buckets alike: before a match at position p all positions up to
p - 3 are in, after it those up to p, and none inside the match. (Stock QuickLZ has 4096 buckets: its streams come out wrong here.)
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import helper, kernel
from render.errors import PayloadError

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

CHUNK_BYTES: Final = 64
CODED: Final = 0x75
STORED: Final = 0x74
_BUCKETS: Final = 64
_HEADER_BYTES: Final = 3
_CONTROL_BYTES: Final = 4
_ITEMS: Final = 31  # per control word
_SHORT_MAX: Final = 17  # longest match without a third byte
_NO_MATCH_BEHIND: Final = 17  # a match starts at least so far before the end of a chunk,
_LITERALS_LAST: Final = 4  # and ends at least so far before it: the decoder in the label copies in steps


def encode(data: bytes, stored: bool = False) -> bytes:
    """The chunks of `data`; `stored`: none of them coded."""
    source = np.frombuffer(data, np.uint8)
    chunks = (len(data) + CHUNK_BYTES - 1) // CHUNK_BYTES
    # a coded chunk is kept only when smaller; while it is written it may grow: control words, and a literal or more per byte
    out = np.zeros(len(data) + _HEADER_BYTES * chunks + 2 * CHUNK_BYTES, np.uint8)
    return out[: _encode(source, stored, out)].tobytes()


def decode(data: bytes, sizes: tuple[int, ...]) -> tuple[bytes, ...]:
    """Contents of parts that follow each other, each of so many bytes and cut into chunks by itself.

    Raises PayloadError for a broken chunk, and for more or fewer chunks than that.
    """
    source = np.frombuffer(data, np.uint8)
    parts: list[bytes] = []
    start = 0
    for size in sizes:
        out = np.empty(size, np.uint8)
        start = int(_decode(source, start, out))
        if start < 0:
            raise PayloadError("quicklz: a broken chunk, or too few of them")
        parts.append(out.tobytes())
    if start != len(data):
        raise PayloadError(f"quicklz: {len(data) - start} bytes behind the last chunk")
    return tuple(parts)


@helper
def _bucket(data: Bytes, at: int) -> int:
    fetch = int(data[at]) | int(data[at + 1]) << 8 | int(data[at + 2]) << 16
    return (fetch >> 12 ^ fetch) & (_BUCKETS - 1)


@helper
def _put_control(out: Bytes, at: int, control: int) -> None:
    for place in range(_CONTROL_BYTES):
        out[at + place] = control >> 8 * place & 0xFF


@kernel
def _encode(source: Bytes, stored: bool, out: Bytes) -> int:
    """Write the chunks; returns their length."""
    last = np.empty(_BUCKETS, np.int64)
    start = 0  # of the chunk's header in `out`
    for begin in range(0, len(source), CHUNK_BYTES):
        size = min(CHUNK_BYTES, len(source) - begin)
        at = start + _HEADER_BYTES + _CONTROL_BYTES
        if not stored:
            last[:] = -1
            control_at = start + _HEADER_BYTES
            control = 0
            items = 0
            hashed = 0  # positions before it are in a bucket, or never will be
            position = 0
            while position < size:
                if items == _ITEMS:
                    _put_control(out, control_at, control | 1 << _ITEMS)
                    control_at = at
                    at += _CONTROL_BYTES
                    control = 0
                    items = 0
                length = 0
                bucket = 0
                if position <= size - _NO_MATCH_BEHIND:
                    while hashed <= position - 3:
                        last[_bucket(source, begin + hashed)] = hashed
                        hashed += 1
                    bucket = _bucket(source, begin + position)
                    there = last[bucket]
                    if there >= 0:
                        limit = size - _LITERALS_LAST - position
                        while length < limit and source[begin + there + length] == source[begin + position + length]:
                            length += 1
                if length >= 3:
                    control |= 1 << items
                    token = bucket << 4 | (length - 2 if length <= _SHORT_MAX else 0)
                    out[at] = token & 0xFF
                    out[at + 1] = token >> 8
                    at += 2
                    if length > _SHORT_MAX:
                        out[at] = length
                        at += 1
                    while hashed <= position:
                        last[_bucket(source, begin + hashed)] = hashed
                        hashed += 1
                    position += length
                    hashed = position
                else:
                    out[at] = source[begin + position]
                    at += 1
                    position += 1
                items += 1
            _put_control(out, control_at, control | 1 << items)
        if stored or at - start - _HEADER_BYTES >= size:
            at = start + _HEADER_BYTES + size
            out[start] = STORED
            for place in range(size):
                out[start + _HEADER_BYTES + place] = source[begin + place]
        else:
            out[start] = CODED
        out[start + 1] = at - start
        out[start + 2] = size
        start = at
    return start


@kernel
def _decode(source: Bytes, start: int, out: Bytes) -> int:
    """Fill `out` from the chunks at `start`; returns where they end, or -1 when one is broken or too many bytes come out."""
    last = np.empty(_BUCKETS, np.int64)
    begin = 0
    while begin < len(out):
        if start + _HEADER_BYTES > len(source):
            return -1
        kind = source[start]
        end = start + int(source[start + 1])
        size = int(source[start + 2])
        if end > len(source) or size != min(CHUNK_BYTES, len(out) - begin):
            return -1
        at = start + _HEADER_BYTES
        if kind == STORED:
            if end - at != size:
                return -1
            for place in range(size):
                out[begin + place] = source[at + place]
        elif kind == CODED:
            last[:] = -1
            control = 1
            hashed = 0
            position = 0
            while position < size:
                if control == 1:
                    if at + _CONTROL_BYTES > end:
                        return -1
                    control = 0
                    for place in range(_CONTROL_BYTES):
                        control |= int(source[at + place]) << 8 * place
                    at += _CONTROL_BYTES
                    if control == 0:  # no bit ends this word: literals to the end of the chunk
                        rest = size - position
                        if at + rest > end:
                            return -1
                        for place in range(rest):
                            out[begin + position + place] = source[at + place]
                        at += rest
                        position = size
                        continue
                match = control & 1
                control >>= 1
                if not match:
                    if at >= end:
                        return -1
                    out[begin + position] = source[at]
                    at += 1
                    position += 1
                    continue
                if at + 2 > end:
                    return -1
                token = int(source[at]) | int(source[at + 1]) << 8
                at += 2
                length = (token & 0x0F) + 2
                if length == 2:
                    if at >= end:
                        return -1
                    length = int(source[at])
                    at += 1
                while hashed <= position - 3:
                    last[_bucket(out, begin + hashed)] = hashed
                    hashed += 1
                there = last[token >> 4] if token >> 4 < _BUCKETS else -1
                if there < 0 or length < 3 or position + length > size:
                    return -1
                for place in range(length):
                    out[begin + position + place] = out[begin + there + place]
                while hashed <= position:
                    last[_bucket(out, begin + hashed)] = hashed
                    hashed += 1
                position += length
                hashed = position
            if at != end:
                return -1
        else:
            return -1
        begin += size
        start = end
    return start
