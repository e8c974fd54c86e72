"""Palette indices <-> bit planes, and the attempt number in its reserved pixels.

A picture is a `uint8` array (height, width) of palette indices as a person sees it. Planes are a `uint8` array (bits, buffer height,
row bytes): the picture turned by the panel's quarter turns, plane p holding bit p of each index, most significant bit leftmost, rows
padded with zero bits to whole bytes. Fact source: OpenEPaperLink image encoding (bit planes, `rotatebuffer`).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import kernel
from render.errors import PayloadError
from render.panels import ATTEMPT_BITS, Panel, attempt_strip

Bytes = npt.NDArray[np.uint8]

ATTEMPT_MAX: Final = (1 << ATTEMPT_BITS) - 1


def pack(panel: Panel, indices: Bytes) -> Bytes:
    """Planes of a picture of this panel; PayloadError when its shape is another one or an index is outside the palette."""
    if indices.shape != (panel.height, panel.width) or indices.dtype != np.uint8:
        raise PayloadError(f"{panel.name}: expected {panel.height}x{panel.width} uint8 indices, got {indices.shape} {indices.dtype}")
    if int(indices.max()) >= len(panel.palette):
        raise PayloadError(f"{panel.name}: palette index {int(indices.max())} of {len(panel.palette)} colours")
    planes = np.zeros((panel.bits, panel.buffer_height, panel.row_bytes), np.uint8)
    _pack_planes(np.ascontiguousarray(indices), panel.rotate_buffer, planes)
    return planes


def unpack(panel: Panel, planes: Bytes) -> Bytes:
    """The picture of these planes. PayloadError for another shape or a colour that the panel does not have."""
    expected = (panel.bits, panel.buffer_height, panel.row_bytes)
    if planes.shape != expected:
        raise PayloadError(f"{panel.name}: expected planes of shape {expected}, got {planes.shape}")
    indices = np.empty((panel.height, panel.width), np.uint8)
    _unpack_planes(np.ascontiguousarray(planes), panel.rotate_buffer, indices)
    if int(indices.max()) >= len(panel.palette):
        raise PayloadError(f"{panel.name}: colour {int(indices.max())} in the planes of a panel of {len(panel.palette)} colours")
    return indices


def pack_pixels(indices: Bytes, turns: int, bits_per_pixel: int) -> bytes:
    """Palette indices side by side, most significant bit first, without row padding: the layout of panels that have no planes."""
    turned = np.rot90(indices, turns)
    shifts = np.arange(bits_per_pixel - 1, -1, -1, dtype=np.uint8)
    return np.packbits((turned[..., None] >> shifts & 1).reshape(-1)).tobytes()


def unpack_pixels(data: bytes, width: int, height: int, turns: int, bits_per_pixel: int) -> Bytes:
    """Inverse of `pack_pixels` for a seen picture of width x height. PayloadError when the length is another one."""
    pixel_bits = width * height * bits_per_pixel
    if len(data) != (pixel_bits + 7) // 8:
        raise PayloadError(f"{len(data)} bytes, expected {(pixel_bits + 7) // 8}")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=pixel_bits).reshape(-1, bits_per_pixel)
    values = np.packbits(bits, axis=1).reshape(-1) >> (8 - bits_per_pixel)
    shape = (width, height) if turns % 2 else (height, width)
    return np.ascontiguousarray(np.rot90(values.reshape(shape), -turns))


def stamp_attempt(panel: Panel, indices: Bytes, attempt: int) -> None:
    """Write the attempt number into the reserved pixels of the picture: black is 1, white is 0, most significant bit first."""
    if not 0 <= attempt <= ATTEMPT_MAX:
        raise ValueError(f"attempt {attempt} is outside 0 to {ATTEMPT_MAX}")
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


@kernel
def _pack_planes(indices: Bytes, turns: int, planes: Bytes) -> None:
    """Set the bits of zeroed planes. `planes[p, y, x // 8]` bit `7 - x % 8` = bit p of the turned picture's pixel (x, y)."""
    height, width = indices.shape
    for y in range(height):
        for x in range(width):
            if turns == 0:
                row, column = y, x
            elif turns == 1:
                row, column = width - 1 - x, y
            elif turns == 2:
                row, column = height - 1 - y, width - 1 - x
            else:
                row, column = x, height - 1 - y
            for plane in range(planes.shape[0]):
                if indices[y, x] >> plane & 1:
                    planes[plane, row, column >> 3] |= np.uint8(128 >> (column & 7))


@kernel
def _unpack_planes(planes: Bytes, turns: int, indices: Bytes) -> None:
    height, width = indices.shape
    for y in range(height):
        for x in range(width):
            if turns == 0:
                row, column = y, x
            elif turns == 1:
                row, column = width - 1 - x, y
            elif turns == 2:
                row, column = height - 1 - y, width - 1 - x
            else:
                row, column = x, height - 1 - y
            index = 0
            for plane in range(planes.shape[0]):
                index |= (planes[plane, row, column >> 3] >> (7 - (column & 7)) & 1) << plane
            indices[y, x] = index


def pack_planes_reference(indices: Bytes, turns: int, bits: int) -> Bytes:
    """What `_pack_planes` computes, with numpy's own turning and packing."""
    turned = np.rot90(indices, turns)
    return np.stack([np.packbits(turned >> plane & 1, axis=1) for plane in range(bits)])


def unpack_planes_reference(planes: Bytes, turns: int, width: int, height: int) -> Bytes:
    """What `_unpack_planes` computes."""
    buffer_width = height if turns % 2 else width
    bits = np.unpackbits(planes, axis=2, count=buffer_width)
    turned = np.zeros(bits.shape[1:], np.uint8)
    for plane in range(planes.shape[0]):
        turned |= bits[plane] << plane
    return np.ascontiguousarray(np.rot90(turned, -turns))
