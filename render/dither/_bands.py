"""Bands: 32 rows of a picture on their way into lanes and out of them, for the kernels that work on lanes.

A kernel walks over a band in steps. At each step lane i has one pixel of row i, `skew` pixels further left than the lane above, and its
choice is shifted into words: a word of 16 bits per lane has the choices of some steps, the first one highest.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np

from render._jit import routine
from render.dither._lanes_ir import (
    BLOCK_BYTES,
    BLOCK_WORDS,
    LANES,
    Bytes,
    Lanes,
    Words,
    copy_bytes,
    fetch_ahead,
    load,
    multiply_high_unsigned,
    splat,
    store,
    turn_bytes,
    turn_words,
)

STEPS: Final = 16  # that are read at a time: three blocks of bytes, and whole words
HALF: Final = 8  # steps after which choices of one bit begin a new word, since a word then has the bits of two planes
FETCH_AHEAD_BYTES: Final = 384  # in 32 rows at once processors do not notice by themselves where reading goes on
LEAD: Final = 3 * LANES  # bytes before the rows in `margin`: in pictures one pixel wide, lanes read before their row
_SOURCES: Final = ("_bands.py", "_lanes_ir.py", "lanes.py", "ordered.py")
# Numba compiles a kernel anew when its own file changes. Kernels are told this and answer STALE when they were compiled from other files.
STAMP: Final = zlib.crc32(b"".join(Path(__file__).with_name(name).read_bytes() for name in _SOURCES))

WIDTH_MAX: Final = 16384  # pixel positions are 16-bit numbers

_LINE: Final = 64  # bytes of a cache line; lanes that cross two take twice the time


def steps_for(width: int, skew: int) -> int:
    """Steps over a band, whole blocks. With a skew the last lane's errors of its last pixel still have to be passed on."""
    return -(-(width + skew * LANES) // STEPS) * STEPS


def row_bytes_for(width: int, bits: int) -> int:
    return (width * bits + 7) // 8


def margin(width: int, skew: int) -> Bytes:
    """Room for the bytes that lanes read when the band is at the end of the picture."""
    return np.empty(LEAD + LANES * max(3 * (width - skew), 0) + 3 * steps_for(width, skew), np.uint8)


def words_room(steps: int, bits: int) -> tuple[Words, Words, Bytes]:
    """Scratch of `write_band`: words, moved, rows."""
    count = -(-steps * bits // 16 // BLOCK_WORDS) * BLOCK_WORDS
    halves = 2 if bits == 1 else 1
    return aligned_words((count + 1) * halves * LANES), aligned_words(BLOCK_WORDS * LANES), np.empty(LANES * 2 * count, np.uint8)


def aligned_words(count: int) -> Words:
    """A flat array of `count` zeros that begins on a cache line."""
    room = np.zeros(count + _LINE // 2, np.int16)
    start = -room.ctypes.data % _LINE // 2
    return room[start : start + count]


@lru_cache(maxsize=16)
def lane_constants(skew: int, bits: int) -> Words:
    """For each lane its position at step 0; 1 << the bits of a word that lie before x = 0; the bytes before that word."""
    lane = np.arange(LANES)
    constants = aligned_words(3 * LANES)
    constants[:LANES] = -skew * lane
    constants[LANES : 2 * LANES] = 1 << (lane * skew * bits & 15)
    constants[2 * LANES :] = (lane * skew * bits >> 4) * 2
    return constants


def plane_bits(codes: Sequence[int]) -> list[int]:
    """Codes of two planes as a step with one bit per pixel wants them: bit 0, and bit 1 eight places higher."""
    return [code & 1 | (code & 2) << 7 for code in codes]


@routine
def read_block(octets: Bytes, at: int, stride: int, columns: Bytes) -> None:
    """Sixteen steps of a band whose lanes are at octets[at + stride * lane]: columns[96 * step + 32 * channel + lane]."""
    fetch_ahead(octets, at + FETCH_AHEAD_BYTES, stride)
    for block in range(3):
        turn_bytes(octets, at + BLOCK_BYTES * block, stride, columns, BLOCK_BYTES * LANES * block)


@routine
def write_band(
    words: Words,
    bits: int,
    planes: int,
    width: int,
    steps: int,
    constants: Words,
    top: int,
    height: int,
    moved: Words,
    rows: Bytes,
    out: Bytes,
) -> None:
    """The words of a band as its rows of `out` (planes, height, row bytes), flat. Bits after the last pixel are 0."""
    row_bytes = (width * bits + 7) // 8
    last_bits = 255 & 0xFF00 >> (width * bits - 1) % 8 + 1
    stride = rows.size // LANES
    factors = load(constants, LANES)
    for plane in range(planes):
        for word in range(0, steps * bits // 16, BLOCK_WORDS):
            for part in range(BLOCK_WORDS):
                here = whole_word(words, word + part, plane, bits)
                ahead = whole_word(words, word + part + 1, plane, bits)
                store(moved, part * LANES, (here * factors) | multiply_high_unsigned(ahead, factors))
            turn_words(moved, 0, LANES, rows, 2 * word, stride)
        for lane in range(min(LANES, height - top)):
            to = (plane * height + top + lane) * row_bytes
            copy_bytes(out, to, rows, lane * stride + constants[2 * LANES + lane], row_bytes)
            out[to + row_bytes - 1] &= last_bits


@routine
def whole_word(words: Words, word: int, plane: int, bits: int) -> Lanes:
    """Sixteen bits of a plane. With one bit per pixel plane 0 is in the low half of two words and plane 1 in the high half."""
    if bits > 1:
        return load(words, word * LANES)
    first, second = load(words, 2 * word * LANES), load(words, (2 * word + 1) * LANES)
    if plane == 0:
        return (first << 8) | (second & splat(255))
    return (first & splat(-256)) | ((second >> 8) & splat(255))
