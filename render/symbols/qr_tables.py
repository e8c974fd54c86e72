"""The facts of QR codes, versions 1 to 10, and the arrays that the kernel of `qr.py` reads.

Fact source: ISO/IEC 18004:2015, tables 3 (count fields), 5 (alphanumeric values), 9 (blocks and their error correction codewords),
annex C (format information), D (version information), E (alignment patterns). Versions over 10 have more than 64 modules a row soon
after and need a label that nobody hangs on a shelf.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

LEVELS: Final = "LMQH"
VERSION_MAX: Final = 10
SIZE_MAX: Final = 57  # modules of version 10
QUIET_MODULES: Final = 4
LENGTH_MAX: Final = 652  # digits in version 10-L, the most characters that any code here holds
CODEWORDS_MAX: Final = 346  # of version 10, data and error correction

ALPHANUMERIC: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
NUMERIC_MODE, ALPHANUMERIC_MODE, BYTE_MODE = range(3)
MODE_BITS: Final = (0b0001, 0b0010, 0b0100)
COUNT_BITS: Final = ((10, 9, 8), (12, 11, 16))  # versions 1-9, then 10-26; in the order of the modes
ECI_UTF8: Final = (0b0111 << 8) | 26  # mode indicator and designator, 12 bits

FORMAT_LEVEL: Final = (0b01, 0b00, 0b11, 0b10)  # of L, M, Q, H
_FORMAT_GENERATOR: Final = 0x537
_FORMAT_XOR: Final = 0x5412
_VERSION_GENERATOR: Final = 0x1F25

# error correction codewords of a block, and how many blocks, for versions 1 to 10
_BLOCK_ECC: Final = (
    (7, 10, 15, 20, 26, 18, 20, 24, 30, 18),
    (10, 16, 26, 18, 24, 16, 18, 22, 22, 26),
    (13, 22, 18, 26, 18, 24, 18, 22, 20, 24),
    (17, 28, 22, 16, 22, 28, 26, 26, 24, 28),
)
_BLOCKS: Final = (
    (1, 1, 1, 1, 1, 2, 2, 2, 2, 4),
    (1, 1, 1, 2, 2, 4, 4, 4, 5, 5),
    (1, 1, 2, 2, 4, 4, 6, 6, 8, 8),
    (1, 1, 2, 4, 4, 4, 5, 6, 8, 8),
)
_ALIGNMENT: Final = ((), (6, 18), (6, 22), (6, 26), (6, 30), (6, 34), (6, 22, 38), (6, 24, 42), (6, 26, 46), (6, 28, 50))
_CODEWORDS: Final = (26, 44, 70, 100, 134, 172, 196, 242, 292, 346)
_ECC_LENGTHS: Final = tuple(sorted({length for row in _BLOCK_ECC for length in row}))


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the codewords of a version and level are divided: short blocks first, long ones have one data codeword more."""

    count: int
    short_count: int
    short_data: int
    ecc: int

    @property
    def data(self) -> int:
        """Data codewords of the whole code."""
        return self.count * self.short_data + self.count - self.short_count


@dataclass(frozen=True, slots=True)
class Tables:
    """What the kernel reads. In row words column 0 is bit 63, column 1 bit 62, and so on.

    `position`: (10, 8 * CODEWORDS_MAX) u16; where each bit of the interleaved codewords goes, row * 64 + bit of the row word.
    `drawn`: (10, 4, 8, SIZE_MAX) u64; by version - 1, level, mask and row: the function patterns with format and version information,
    and in the data region the mask. A code's row is its data XOR this.
    `blocks`: (10, 4, 6) i64; count, short_count, short_data, ecc, index into `remainder`, data codewords.
    `remainder`: (13, 256, 4) u64; by error correction length and leading byte: what the byte adds to a Reed-Solomon remainder of up to
    32 bytes, the first one on top of the first word.
    `counted`: (10, 4, 64) u64; by version: bits of a row word that count when scoring equal neighbours, 2x2 blocks, runs downwards, and
    all bits for the first row (`qr._penalty`).
    """

    position: npt.NDArray[np.uint16]
    drawn: npt.NDArray[np.uint64]
    blocks: npt.NDArray[np.int64]
    remainder: npt.NDArray[np.uint64]
    counted: npt.NDArray[np.uint64]


def blocks(version: int, level: int) -> Blocks:
    """`level` is an index of LEVELS."""
    count, ecc, codewords = _BLOCKS[level][version - 1], _BLOCK_ECC[level][version - 1], _CODEWORDS[version - 1]
    return Blocks(count, count - codewords % count, codewords // count - ecc, ecc)


def format_bits(level: int, mask: int) -> int:
    """The 15 bits of annex C, the first one on top."""
    return _with_bch((FORMAT_LEVEL[level] << 3) | mask, _FORMAT_GENERATOR, 10) ^ _FORMAT_XOR


def version_bits(version: int) -> int:
    """The 18 bits of annex D, the first one on top; versions below 7 show none."""
    return _with_bch(version, _VERSION_GENERATOR, 12)


def alignment_centres(version: int) -> tuple[tuple[int, int], ...]:
    """Row and column of each alignment pattern; none where a finder pattern is."""
    places = _ALIGNMENT[version - 1]
    last = places[-1] if places else 0
    return tuple((row, column) for row in places for column in places if (row, column) not in ((6, 6), (6, last), (last, 6)))


def is_masked(mask: int, row: npt.NDArray[np.int64], column: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Table 10: the modules that a mask turns over, for arrays of rows and columns."""
    conditions = (
        (row + column) % 2,
        row % 2 + 0 * column,
        column % 3 + 0 * row,
        (row + column) % 3,
        (row // 2 + column // 3) % 2,
        row * column % 2 + row * column % 3,
        (row * column % 2 + row * column % 3) % 2,
        ((row + column) % 2 + row * column % 3) % 2,
    )
    return np.asarray(conditions[mask] == 0)


def field_powers() -> tuple[list[int], list[int]]:
    """Powers of 2 in GF(256) with x^8 + x^4 + x^3 + x^2 + 1, twice over, and the logarithms of 1 to 255."""
    powers, logarithms, value = [], [0] * 256, 1
    for power in range(255):
        powers.append(value)
        logarithms[value] = power
        value <<= 1
        if value & 256:
            value ^= 0x11D
    return powers * 2, logarithms


def generator(length: int) -> list[int]:
    """Coefficients of the Reed-Solomon generator polynomial of this degree, without the leading 1."""
    powers, logarithms = field_powers()
    coefficients = [1]
    for root in range(length):
        shifted = [0] + [powers[logarithms[value] + root] if value else 0 for value in coefficients]
        coefficients = [a ^ b for a, b in zip([*coefficients, 0], shifted, strict=True)]
    return coefficients[1:]


@functools.cache
def tables() -> Tables:
    """Built once in about 10 ms."""
    position = np.zeros((VERSION_MAX, 8 * CODEWORDS_MAX), np.uint16)
    drawn = np.zeros((VERSION_MAX, 4, 8, SIZE_MAX), np.uint64)
    divided = np.zeros((VERSION_MAX, 4, 6), np.int64)
    counted = np.zeros((VERSION_MAX, 4, 64), np.uint64)
    for version in range(1, VERSION_MAX + 1):
        size, at = 17 + 4 * version, version - 1
        dark, reserved = _patterns(version)
        position[at, : 8 * _CODEWORDS[at]] = _places(reserved)[: 8 * _CODEWORDS[at]]
        rows, columns = np.arange(size)[:, None], np.arange(size)[None, :]
        for mask in range(8):
            masked = np.where(reserved, dark, is_masked(mask, rows, columns))
            for level in range(4):
                _write_format(masked, format_bits(level, mask))
                drawn[at, level, mask, :size] = _row_words(masked)
        for level in range(4):
            parts = blocks(version, level)
            where = _ECC_LENGTHS.index(parts.ecc)
            divided[at, level] = (parts.count, parts.short_count, parts.short_data, parts.ecc, where, parts.data)
        inside = ((1 << size) - 1) << (64 - size)
        has_right = inside & (inside << 1)
        counted[at, 0, :size] = has_right
        counted[at, 1, : size - 1] = has_right
        counted[at, 2, : size - 4] = inside
        counted[at, 3, 0] = 2**64 - 1
    remainder = np.array([_remainders(length) for length in _ECC_LENGTHS])
    return Tables(position, drawn, divided, remainder, counted)


def _with_bch(value: int, polynomial: int, degree: int) -> int:
    rest = value << degree
    while rest.bit_length() > degree:
        rest ^= polynomial << (rest.bit_length() - degree - 1)
    return (value << degree) | rest


def _patterns(version: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Dark modules of the function patterns, and which modules are no data; format information still light."""
    size = 17 + 4 * version
    dark = np.zeros((size, size), np.bool_)
    reserved = np.zeros((size, size), np.bool_)
    dark[6, ::2] = dark[::2, 6] = True
    reserved[6, :] = reserved[:, 6] = True
    rings = np.maximum(abs(np.arange(-4, 5))[:, None], abs(np.arange(-4, 5))[None, :])
    finder = (rings == 3) | (rings <= 1)
    for top, left in ((0, 0), (0, size - 8), (size - 8, 0)):
        cut = (slice(1, 9) if top == 0 else slice(0, 8)), (slice(1, 9) if left == 0 else slice(0, 8))
        dark[top : top + 8, left : left + 8] = finder[cut]
        reserved[top : top + 8, left : left + 8] = True
    for row, column in alignment_centres(version):
        dark[row - 2 : row + 3, column - 2 : column + 3] = rings[2:7, 2:7] != 1
        reserved[row - 2 : row + 3, column - 2 : column + 3] = True
    reserved[8, :9] = reserved[:9, 8] = reserved[8, -8:] = reserved[-8:, 8] = True
    dark[-8, 8] = True
    if version >= 7:
        bits = np.array([(version_bits(version) >> bit) & 1 for bit in range(18)], np.bool_).reshape(6, 3)
        dark[:6, -11:-8] = bits
        dark[-11:-8, :6] = bits.T
        reserved[:6, -11:-8] = reserved[-11:-8, :6] = True
    return dark, reserved


def _write_format(dark: npt.NDArray[np.bool_], bits: int) -> None:
    """Both copies of the format information; bit 0 is the last one."""
    size = len(dark)
    for bit in range(15):
        value = bool((bits >> bit) & 1)
        if bit < 8:
            dark[bit + (bit >= 6), 8] = value
            dark[8, size - 1 - bit] = value
        else:
            dark[8, 15 - bit - (bit >= 9)] = value
            dark[size - 15 + bit, 8] = value


def _places(reserved: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint16]:
    """Where the bits go, in their order: pairs of columns from the right, up and down in turns, around the column of the timing pattern."""
    size = len(reserved)
    found: list[npt.NDArray[np.int64]] = []
    for turn, right in enumerate([*range(size - 1, 6, -2), 5, 3, 1]):
        rows = np.repeat(np.arange(size) if turn % 2 else np.arange(size)[::-1], 2)
        columns = np.tile([right, right - 1], size)
        free = ~reserved[rows, columns]
        found.append((rows * 64 + 63 - columns)[free])
    return np.concatenate(found).astype(np.uint16)


def _row_words(dark: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint64]:
    bytes_a_row = np.zeros((len(dark), 8), np.uint8)
    packed = np.packbits(dark, axis=1)
    bytes_a_row[:, : packed.shape[1]] = packed
    return bytes_a_row.view(">u8")[:, 0].astype(np.uint64)


def _remainders(length: int) -> npt.NDArray[np.uint64]:
    powers, logarithms = (np.array(numbers) for numbers in field_powers())
    row = np.zeros((256, 32), np.uint8)
    row[1:, :length] = powers[logarithms[1:, None] + logarithms[generator(length)]]
    return row.view(">u8").astype(np.uint64)
