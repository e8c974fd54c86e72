"""Planes <-> the pixels of a payload, in every layout of the panel tables.

`planes` always means those of `render.codecs.planes`: bit p of each palette index, of the turned picture. From there a panel's `Wire` says
what travels: the code of each ink, by planes or packed pixels, rows padded or running on, from the top row or the lowest.
Codes are mapped by boolean operations on whole planes, both ways.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import planes as seen
from render.errors import PayloadError
from render.panels import Layout, Panel

Bytes = npt.NDArray[np.uint8]


def to_wire(panel: Panel, planes: Bytes) -> bytes:
    """The pixels as this panel takes them. `planes` must be this panel's (bits, buffer height, row bytes)."""
    if panel.wire.columns_halved:
        lines = halved(panel)
        return to_wire(lines, seen.pack(lines, _to_lines(seen.unpack(panel, planes))))
    codes = code_planes(panel, planes)
    width = panel.buffer_width
    match panel.wire.layout:
        case Layout.PLANES if panel.wire.rows_padded or width % 8 == 0:
            return codes.tobytes()
        case Layout.PLANES:
            bits = np.unpackbits(codes, axis=2, count=width)
            return np.packbits(bits.reshape(len(codes), -1), axis=1).tobytes()
        case Layout.PACKED if panel.wire.rows_padded or width % 8 == 0:
            return _interleave(codes, width)
        case Layout.PACKED:
            bits = np.unpackbits(codes, axis=2, count=width)
            return np.packbits(np.moveaxis(bits[::-1], 0, 2).reshape(-1)).tobytes()
        case Layout.HALVES:
            middle = width // 2
            bits = np.unpackbits(codes, axis=2, count=width)
            left, right = (np.packbits(half, axis=2) for half in (bits[:, :, :middle], bits[:, :, middle:]))
            return _interleave(left, middle) + _interleave(right, width - middle)
        case Layout.BGR24:
            raise PayloadError(f"{panel.name}: its pixels are colours, not codes")


def from_wire(panel: Panel, data: bytes) -> Bytes:
    """Planes of the pixels that a panel takes; inverse of `to_wire`. Raises PayloadError for another length, and as `index_planes`."""
    expected = wire_bytes(panel)
    if len(data) != expected:
        raise PayloadError(f"{panel.name}: {len(data)} bytes of pixels, expected {expected}")
    if panel.wire.columns_halved:
        lines = halved(panel)
        return seen.pack(panel, _from_lines(seen.unpack(lines, from_wire(lines, data))))
    return index_planes(panel, _codes_of_pixels(panel, np.frombuffer(data, np.uint8)))


def wire_bytes(panel: Panel) -> int:
    """Length of the pixels that a panel takes."""
    if panel.wire.columns_halved:
        return wire_bytes(halved(panel))
    width, height, depth = panel.buffer_width, panel.buffer_height, panel.wire_bits
    match panel.wire.layout:
        case Layout.PLANES:
            return depth * (panel.plane_bytes if panel.wire.rows_padded else (width * height + 7) // 8)
        case Layout.PACKED:
            return _packed_bytes(width, height, depth) if panel.wire.rows_padded else (width * height * depth + 7) // 8
        case Layout.HALVES:
            return _packed_bytes(width // 2, height, depth) + _packed_bytes(width - width // 2, height, depth)
        case Layout.BGR24:
            return 3 * width * height


def code_planes(panel: Panel, planes: Bytes) -> Bytes:
    """Bit planes of the inks' codes (wire bits, buffer height, row bytes) in the order in which rows travel; padding is zero."""
    codes = planes
    if not _travels_as_it_is(panel):
        codes = np.empty((panel.wire_bits, *planes.shape[1:]), np.uint8)
        for bit in range(panel.wire_bits):
            wanted = frozenset(index for index, code in enumerate(panel.codes) if code >> bit & 1)
            _evaluate(_mix(wanted, frozenset(range(len(panel.palette))) - wanted, panel.bits), planes, codes[bit])
        _clear_padding(codes, panel.buffer_width)
    return codes[:, ::-1] if panel.wire.flip_rows else codes


def index_planes(panel: Panel, codes: Bytes) -> Bytes:
    """Inverse of `code_planes`; whatever is in the padding is dropped. Raises PayloadError for a code that is no ink of this panel, except
    where codes are palette indices: there `planes.unpack` does."""
    codes = np.ascontiguousarray(codes[:, ::-1] if panel.wire.flip_rows else codes)
    if _travels_as_it_is(panel):
        if panel.buffer_width % 8:
            codes = codes.copy()
            _clear_padding(codes, panel.buffer_width)
        return codes
    known = frozenset(panel.codes)
    strange = frozenset(range(1 << panel.wire_bits)) - known
    if strange:
        found = np.empty((1, *codes.shape[1:]), np.uint8)
        _evaluate(_mix(strange, known, panel.wire_bits), codes, found[0])
        _clear_padding(found, panel.buffer_width)
        if found.any():
            raise PayloadError(f"{panel.name}: a pixel with a code that is none of its {len(panel.palette)} colours")
    planes = np.empty((panel.bits, *codes.shape[1:]), np.uint8)
    for bit in range(panel.bits):
        wanted = frozenset(code for index, code in enumerate(panel.codes) if index >> bit & 1)
        _evaluate(_mix(wanted, known - wanted, panel.wire_bits), codes, planes[bit])
    _clear_padding(planes, panel.buffer_width)
    return planes


def _travels_as_it_is(panel: Panel) -> bool:
    return panel.wire_bits == panel.bits and panel.codes == tuple(range(len(panel.palette)))


@lru_cache(maxsize=32)
def halved(panel: Panel) -> Panel:
    """The panel that a TFT's driver sees: half as many columns, twice as many lines."""
    wire = replace(panel.wire, columns_halved=False)
    return replace(panel, width=panel.width // 2, height=panel.height * 2, wire=wire, glass=None)


def _to_lines(indices: Bytes) -> Bytes:
    """(height, width) -> (2 height, width / 2): two pixels side by side become two lines of one column."""
    height, width = indices.shape
    return np.ascontiguousarray(indices.reshape(height, width // 2, 2).transpose(0, 2, 1)).reshape(2 * height, width // 2)


def _from_lines(lines: Bytes) -> Bytes:
    """Inverse of `_to_lines`."""
    height, width = lines.shape
    return np.ascontiguousarray(lines.reshape(height // 2, 2, width).transpose(0, 2, 1)).reshape(height // 2, 2 * width)


def _codes_of_pixels(panel: Panel, array: Bytes) -> Bytes:
    """Bit planes of the codes in a payload of the right length."""
    width, height, depth = panel.buffer_width, panel.buffer_height, panel.wire_bits
    match panel.wire.layout:
        case Layout.PLANES if panel.wire.rows_padded or width % 8 == 0:
            return array.reshape(depth, height, panel.row_bytes)
        case Layout.PLANES:
            bits = np.unpackbits(array.reshape(depth, -1), axis=1, count=width * height)
            return np.packbits(bits.reshape(depth, height, width), axis=2)
        case Layout.PACKED if panel.wire.rows_padded:
            return _separate(array, width, height, depth)
        case Layout.PACKED:
            bits = np.unpackbits(array, count=width * height * depth).reshape(height, width, depth)
            return np.packbits(np.moveaxis(bits, 2, 0)[::-1], axis=2)
        case Layout.HALVES:
            middle = width // 2
            cut = _packed_bytes(middle, height, depth)
            left, right = _separate(array[:cut], middle, height, depth), _separate(array[cut:], width - middle, height, depth)
            bits = np.concatenate([np.unpackbits(left, axis=2, count=middle), np.unpackbits(right, axis=2, count=width - middle)], axis=2)
            return np.packbits(bits, axis=2)
        case Layout.BGR24:
            raise PayloadError(f"{panel.name}: its pixels are colours, not codes")


def _packed_bytes(width: int, height: int, depth: int) -> int:
    return (width * depth + 7) // 8 * height


def _interleave(codes: Bytes, width: int) -> bytes:
    """Planes (depth, height, row bytes) of `width` pixels -> packed pixels, each row padded to whole bytes."""
    depth, height, row_bytes = codes.shape
    table = _SPREAD[depth]
    words = table[codes[0]]
    for bit in range(1, depth):
        words |= table[codes[bit]] << np.uint32(bit)
    octets: Bytes = words.astype(">u4").view(np.uint8).reshape(height, row_bytes, 4)[:, :, 4 - depth :]
    return octets.reshape(height, row_bytes * depth)[:, : (width * depth + 7) // 8].tobytes()


def _separate(array: Bytes, width: int, height: int, depth: int) -> Bytes:
    """Inverse of `_interleave`."""
    bits = np.unpackbits(array.reshape(height, -1), axis=1, count=width * depth).reshape(height, width, depth)
    return np.packbits(np.moveaxis(bits, 2, 0)[::-1], axis=2)


def _spread_table(depth: int) -> npt.NDArray[np.uint32]:
    """Each byte with `depth - 1` zero bits before each of its bits: one plane of eight packed pixels."""
    octets = np.arange(256, dtype=np.uint32)
    table = np.zeros(256, np.uint32)
    for place in range(8):
        table |= (octets >> np.uint32(place) & np.uint32(1)) << np.uint32(depth * place)
    return table


_SPREAD: Final = {depth: _spread_table(depth) for depth in (1, 2, 3, 4)}


@dataclass(frozen=True, slots=True)
class _Recipe:
    """A boolean function of planes: the inverse (or not) of a sum of products, each a tuple of (plane, wanted bit)."""

    products: tuple[tuple[tuple[int, bool], ...], ...]
    inverted: bool


@lru_cache(maxsize=512)
def _mix(wanted: frozenset[int], unwanted: frozenset[int], bits: int) -> _Recipe:
    """The function that is true for `wanted` values and false for `unwanted` ones; all others never occur, which keeps it short."""
    recipes = [_Recipe(_products(wanted, unwanted, bits), False), _Recipe(_products(unwanted, wanted, bits), True)]
    return min(recipes, key=lambda recipe: (sum(map(len, recipe.products)), recipe.inverted))


def _products(wanted: Iterable[int], unwanted: Iterable[int], bits: int) -> tuple[tuple[tuple[int, bool], ...], ...]:
    """Products that cover every wanted value and no unwanted one; each has lost the planes that it can do without."""
    found: list[tuple[int, int]] = []  # planes that count, their bits
    for value in sorted(wanted):
        if any((value ^ bits_of) & care == 0 for care, bits_of in found):
            continue
        care = (1 << bits) - 1
        for plane in range(bits):
            fewer = care & ~(1 << plane)
            if all((value ^ other) & fewer for other in unwanted):
                care = fewer
        found.append((care, value))
    return tuple(tuple((plane, bool(value >> plane & 1)) for plane in range(bits) if care >> plane & 1) for care, value in found)


def _evaluate(recipe: _Recipe, planes: Bytes, out: Bytes) -> None:
    """Write the function's value for each bit of the planes."""
    out[:] = 0
    for product in recipe.products:
        term: Bytes | None = None
        for plane, bit in product:
            factor = planes[plane] if bit else ~planes[plane]
            term = factor if term is None else term & factor
        out |= np.uint8(255) if term is None else term
    if recipe.inverted:
        np.invert(out, out=out)


def _clear_padding(planes: Bytes, width: int) -> None:
    if width % 8:
        planes[:, :, -1] &= np.uint8(0xFF << 8 - width % 8 & 0xFF)
