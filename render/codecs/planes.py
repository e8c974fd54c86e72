"""Palette indices <-> bit planes, and the attempt number in its reserved pixels.

A picture is a `uint8` array (height, width) of palette indices as a person sees it. Planes are a `uint8` array (bits, buffer height,
row bytes): the picture turned by the panel's quarter turns, plane p holding bit p of each index, most significant bit leftmost, rows
padded with zero bits to whole bytes. They are the same for every maker: `packed` gives each its own codes, order and padding.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import kernel
from render.errors import PayloadError
from render.panels import ATTEMPT_BITS, Panel, attempt_strip

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

ATTEMPT_MAX: Final = (1 << ATTEMPT_BITS) - 1
_WORD: Final = 8  # pixels, one byte each, that the packing kernel takes at once


def pack(panel: Panel, indices: Bytes) -> Bytes:
    """Planes of a picture of this panel; PayloadError when its shape is another one or an index is outside the palette."""
    if indices.shape != (panel.height, panel.width) or indices.dtype != np.uint8:
        raise PayloadError(f"{panel.name}: expected {panel.height}x{panel.width} uint8 indices, got {indices.shape} {indices.dtype}")
    if int(indices.max()) >= len(panel.palette):
        raise PayloadError(f"{panel.name}: palette index {int(indices.max())} of {len(panel.palette)} colours")
    planes = np.zeros((panel.bits, panel.buffer_height, panel.row_bytes), np.uint8)
    _pack_planes(indices, panel.rotate_buffer, planes)
    return planes


def unpack(panel: Panel, planes: Bytes) -> Bytes:
    """The picture of these planes. PayloadError for another shape or a colour that the panel does not have."""
    expected = (panel.bits, panel.buffer_height, panel.row_bytes)
    if planes.shape != expected:
        raise PayloadError(f"{panel.name}: expected planes of shape {expected}, got {planes.shape}")
    bits = np.unpackbits(planes, axis=2, count=panel.buffer_width)
    for plane in range(1, panel.bits):
        bits[0] |= bits[plane] << plane
    indices = np.ascontiguousarray(np.rot90(bits[0], -panel.rotate_buffer))
    if int(indices.max()) >= len(panel.palette):
        raise PayloadError(f"{panel.name}: colour {int(indices.max())} in the planes of a panel of {len(panel.palette)} colours")
    return indices


def stamp_attempt(panel: Panel, indices: Bytes, attempt: int) -> None:
    """Write the attempt number into the reserved pixels of the picture: black is 1, white is 0, most significant bit first."""
    if not 0 <= attempt <= ATTEMPT_MAX:
        raise ValueError(f"attempt {attempt} is outside 0 to {ATTEMPT_MAX}")
    if panel.width < ATTEMPT_BITS:
        raise ValueError(f"{panel.name}: {panel.width} pixels have no room for an attempt number")
    strip = attempt_strip(panel.width, panel.height)
    bits = np.array([attempt >> place & 1 for place in range(ATTEMPT_BITS - 1, -1, -1)], np.bool_)
    indices[strip.y, strip.x : strip.right] = np.where(bits, panel.black, panel.white)


def read_attempt(indices: Bytes, black_index: int = 1) -> int:
    """The attempt number of a picture; `black_index` is black's place in the palette (1 on every panel whose first colour is white)."""
    height, width = indices.shape
    strip = attempt_strip(width, height)
    attempt = 0
    for index in indices[strip.y, strip.x : strip.right]:
        attempt = attempt << 1 | int(index == black_index)
    return attempt


def _pack_planes(indices: Bytes, turns: int, planes: Bytes) -> None:
    """Write every byte of `planes`. `planes[p, y, x // 8]` bit `7 - x % 8` = bit p of the turned picture's pixel (x, y)."""
    height, width = indices.shape
    margin = -width % _WORD
    flags = indices.flags
    # the kernels are compiled for writable arrays of whole, aligned words; any other picture is copied into one
    if margin or not (flags.c_contiguous and flags.writeable and indices.view(np.uint64).flags.aligned):
        wide = np.zeros((height, width + margin), np.uint8)
        if turns == 2:
            wide[:, margin:] = indices  # the last column comes first and has to start a byte
        else:
            wide[:, :width] = indices
        indices = wide
    words = indices.view(np.uint64)
    if turns % 2:
        _pack_turned(words, width, turns == 1, planes)
    else:
        _pack_rows(words, turns == 2, planes)


@kernel
def _pack_rows(words: Words, upside_down: bool, planes: Bytes) -> None:
    """`words` (rows, columns): eight pixels each, the leftmost in the least significant byte."""
    rows, columns = words.shape
    # three rounds of "the left neighbour one place up" fold eight bytes with a bit each into one byte, the leftmost bit on top
    pairs, fours, byte = np.uint64(0x0003000300030003), np.uint64(0x0000000F0000000F), np.uint64(0xFF)
    ones = np.uint64(0x0101010101010101)
    one, two, four, eight, sixteen, half = np.uint64(1), np.uint64(2), np.uint64(4), np.uint64(8), np.uint64(16), np.uint64(32)
    for plane in range(planes.shape[0]):
        place = np.uint64(plane)
        for y in range(rows):
            row = words[y]
            out = planes[plane, rows - 1 - y] if upside_down else planes[plane, y]
            if upside_down:
                for column in range(columns):
                    word = row[np.uintp(columns - 1 - column)] >> place & ones
                    word = (word | word >> (eight - one)) & pairs
                    word = (word | word >> (sixteen - two)) & fours
                    out[column] = np.uint8((word | word >> (half - four)) & byte)
            else:
                for column in range(columns):
                    word = row[column] >> place & ones
                    word = (word << one | word >> eight) & pairs
                    word = (word << two | word >> sixteen) & fours
                    out[column] = np.uint8((word << four | word >> half) & byte)


@kernel
def _pack_turned(words: Words, width: int, left: bool, planes: Bytes) -> None:
    """`words` as in `_pack_rows`, of which `width` pixels a row count; turned counter-clockwise, or clockwise when not `left`."""
    rows, columns = words.shape
    ones = np.uint64(0x0101010101010101)
    folded = np.empty(columns, np.uint64)
    for plane in range(planes.shape[0]):
        place = np.uint64(plane)
        for column in range(planes.shape[2]):
            for x in range(columns):
                folded[x] = np.uint64(0)
            for above in range(min(8, rows - 8 * column)):
                row = words[8 * column + above] if left else words[rows - 1 - 8 * column - above]
                shift = np.uint64(7 - above)
                for x in range(columns):
                    folded[x] |= (row[x] >> place & ones) << shift
            pixels = folded.view(np.uint8)
            if left:
                for x in range(width):
                    planes[plane, x, column] = pixels[np.uintp(width - 1 - x)]
            else:
                for x in range(width):
                    planes[plane, x, column] = pixels[x]


def pack_planes_reference(indices: Bytes, turns: int, bits: int) -> Bytes:
    """What `_pack_planes` computes, with numpy's own turning and packing."""
    turned = np.rot90(indices, turns)
    return np.stack([np.packbits(turned >> plane & 1, axis=1) for plane in range(bits)])
