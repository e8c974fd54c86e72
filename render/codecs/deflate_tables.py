"""Numbers of deflate (RFC 1951), and how its kernels write down what they find.

A token is an int32: `distance << 9 | low`; `low` is a byte (distance 0), or a match's length + 253. A candidate is
`length << 16 | 65535 - distance`, so that the larger number is the longer match and of equal ones the nearer.
Three alphabets lie one after the other in every table: literals and lengths from 0, distances from DISTANCES, the header's code of code
lengths from HEADER. Distance symbol 30 is none: a literal's, of no bits.

Machine code has these numbers in it, and numba compiles anew only when the kernel's own file changes. So kernels are told the digest of
all files that they are made of (STAMP) and answer STALE when they were compiled from others.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final, cast

import numpy as np
import numpy.typing as npt

Bytes = npt.NDArray[np.uint8]
Distances = npt.NDArray[np.uint16]
Tokens = npt.NDArray[np.int32]
Table = npt.NDArray[np.int64]

_SOURCES: Final = ("deflate_tables.py", "deflate_parse.py", "deflate_block.py")
STAMP: Final = zlib.crc32(b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)) >> 1

U: Final = np.uint64  # as an index: saves the test for a negative one
N: Final = cast("Callable[[object], int]", np.int64)  # an array's element as a number to count with

DISTANCES: Final = 288
HEADER: Final = 320
SYMBOLS: Final = 339
END_OF_BLOCK: Final = 256
NO_DISTANCE: Final = DISTANCES + 30
LENGTHS_MAX: Final = 286 + 30  # code lengths in a block's header
LENGTH_MIN: Final = 3
LENGTH_MAX: Final = 258
FOUND_MAX: Final = 4  # candidates kept per place: more of them change no label by a byte
HASH_BITS: Final = 12  # 16 KB of places: they stay in the first-level cache beside the data
TOKENS_MIN: Final = 1 << HASH_BITS  # room for tokens: the table of places lies there first
COUNT_DIRECT: Final = 64  # frequencies below are sorted by counting, the few others by insertion

# places of the tables in the kernels' working memory
FREQUENCY: Final = 0
BITS: Final = FREQUENCY + SYMBOLS
CODES: Final = BITS + SYMBOLS
WEIGHT: Final = CODES + SYMBOLS
ORDER: Final = WEIGHT + 2 * DISTANCES
ITEMS: Final = ORDER + DISTANCES
BUCKET: Final = ITEMS + LENGTHS_MAX
WORK: Final = BUCKET + COUNT_DIRECT + 1

_LENGTH_FIRST: Final = (*range(3, 11), 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258)
_LENGTH_EXTRA: Final = (*(0,) * 8, *(1,) * 4, *(2,) * 4, *(3,) * 4, *(4,) * 4, *(5,) * 4, 0)
_DISTANCE_EXTRA: Final = (0, 0, *(place // 2 for place in range(28)))
_DISTANCE_FIRST: Final = tuple(1 + sum(1 << extra for extra in _DISTANCE_EXTRA[:symbol]) for symbol in range(30))


def _last_not_above(firsts: tuple[int, ...], value: int) -> int:
    return max(place for place, first in enumerate(firsts) if first <= value)


# the low part of a token -> symbol, and a symbol's smallest and largest low part
SYMBOL: Final = np.array([low if low < 256 else 257 + _last_not_above(_LENGTH_FIRST, low - 253) for low in range(512)], np.int64)
LOW_FIRST: Final = np.array([*range(257), *(first + 253 for first in _LENGTH_FIRST)], np.int64)
LOW_LAST: Final = np.array([*range(257), *(first + 252 for first in _LENGTH_FIRST[1:]), 511], np.int64)
# a distance up to 256, else 257 + (distance - 1) / 128 -> its symbol
DISTANCE_SYMBOL: Final = np.array(
    [30, *(_last_not_above(_DISTANCE_FIRST, place if place <= 256 else (place - 257 << 7) + 1) for place in range(1, 513))], np.int64
)
DISTANCE_FIRST: Final = np.array([*_DISTANCE_FIRST, 0], np.int64)
EXTRA: Final = np.array([*(0,) * 257, *_LENGTH_EXTRA, 0, 0, *_DISTANCE_EXTRA, 0, 0, *(0,) * 16, 2, 3, 7], np.int64)
ALPHABET: Final = np.array([0, DISTANCES, HEADER, SYMBOLS], np.int64)
BITS_MAX: Final = np.array([15, 15, 7], np.int64)
FIXED_BITS: Final = np.array([*(8,) * 144, *(9,) * 112, *(7,) * 24, *(8,) * 8, *(5,) * 32], np.int64)
HEADER_ORDER: Final = np.array([16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15], np.int64)
REVERSED: Final = np.array([int(f"{value:08b}"[::-1], 2) for value in range(256)], np.int64)
