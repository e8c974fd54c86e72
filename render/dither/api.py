"""Pictures with shades on panels without: what the rest of the renderer calls.

Inks are the colours that a panel really shows, measured if somebody has measured them. `light.adapted` makes them relative to the panel's
own white, as an eye sees them that is used to it: without it a picture's highlights above the grey of the panel become plain white.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Final, assert_never

import numpy as np

from render.dither import lanes
from render.dither._bands import WIDTH_MAX
from render.dither.atkinson import atkinson
from render.dither.floyd import floyd_steinberg
from render.dither.light import Bytes
from render.dither.matrices import bayer, blue_noise
from render.dither.ordered import ordered_packed, ordered_planes
from render.errors import PayloadError, SetupError
from render.panels.types import Rgb

INKS_MIN, INKS_MAX = 2, 16
PLANES_MAX: Final = 4
LANE_PLANES_MAX: Final = 2  # that the kernels write themselves; no panel has more


class Method(StrEnum):
    """How a shade becomes dots."""

    FLOYD_STEINBERG = "floyd_steinberg"  # the fast one, best for photos; with more than seven inks (greys) it is the next
    FLOYD_STEINBERG_SERPENTINE = "floyd_steinberg_serpentine"  # ten times slower, errors up to 5 % lower
    ATKINSON = "atkinson"  # more contrast, fewer dots
    BAYER = "bayer"  # regular dots: compresses best
    BLUE_NOISE = "blue_noise"  # ordered, without a visible pattern


def dither(rgb: Bytes, inks: Sequence[Rgb], method: Method = Method.FLOYD_STEINBERG) -> Bytes:
    """Positions in `inks` (height, width) for an sRGB picture (height, width, 3), both uint8.

    PayloadError for another shape or type; SetupError for fewer than 2 or more than 16 inks.
    """
    _check(rgb, inks)
    match method:
        case Method.FLOYD_STEINBERG if len(inks) <= lanes.INKS_MAX:
            return lanes.diffuse_packed(rgb, inks, range(len(inks)), 8)
        case Method.FLOYD_STEINBERG | Method.FLOYD_STEINBERG_SERPENTINE:
            return floyd_steinberg(rgb, tuple(inks))
        case Method.ATKINSON:
            return atkinson(rgb, tuple(inks))
        case Method.BAYER:
            return ordered_packed(rgb, inks, range(len(inks)), 8, bayer())
        case Method.BLUE_NOISE:
            return ordered_packed(rgb, inks, range(len(inks)), 8, blue_noise())
        case _:
            assert_never(method)


def dither_planes(rgb: Bytes, inks: Sequence[Rgb], codes: Sequence[int], planes: int, method: Method = Method.FLOYD_STEINBERG) -> Bytes:
    """Bit planes (planes, height, ceil(width / 8)): plane p has bit p of the codes of the chosen inks, the first pixel highest.

    `codes`: one per ink, 0 to 2**planes - 1; `planes`: 1 to 4. Rows are padded with 0 bits. Errors as of `dither`.
    """
    _check(rgb, inks)
    _check_codes(inks, codes, planes, range(1, PLANES_MAX + 1))
    if planes <= LANE_PLANES_MAX:
        match method:
            case Method.FLOYD_STEINBERG if len(inks) <= lanes.INKS_MAX:
                return lanes.diffuse_planes(rgb, inks, codes, planes)
            case Method.BAYER:
                return ordered_planes(rgb, inks, codes, planes, bayer())
            case Method.BLUE_NOISE:
                return ordered_planes(rgb, inks, codes, planes, blue_noise())
    chosen = np.array(codes, np.uint8)[dither(rgb, inks, method)]
    return np.stack([np.packbits(chosen >> plane & 1, axis=1) for plane in range(planes)])


def dither_packed(rgb: Bytes, inks: Sequence[Rgb], codes: Sequence[int], bits: int, method: Method = Method.FLOYD_STEINBERG) -> Bytes:
    """Codes of the chosen inks side by side, the first pixel highest: (height, ceil(width * bits / 8)).

    `codes`: one per ink, 0 to 2**bits - 1; `bits`: 2 or 4. Rows are padded with 0 bits. Errors as of `dither`.
    """
    _check(rgb, inks)
    _check_codes(inks, codes, bits, (2, 4))
    match method:
        case Method.FLOYD_STEINBERG if len(inks) <= lanes.INKS_MAX:
            return lanes.diffuse_packed(rgb, inks, codes, bits)
        case Method.BAYER:
            return ordered_packed(rgb, inks, codes, bits, bayer())
        case Method.BLUE_NOISE:
            return ordered_packed(rgb, inks, codes, bits, blue_noise())
    per_byte = 8 // bits
    chosen = np.array(codes, np.uint8)[dither(rgb, inks, method)]
    chosen = np.pad(chosen, ((0, 0), (0, -chosen.shape[1] % per_byte))).reshape(len(chosen), -1, per_byte)
    shifts = np.arange(8 - bits, -1, -bits, dtype=np.uint8)
    packed: Bytes = np.bitwise_or.reduce(chosen << shifts, axis=2)
    return packed


def _check(rgb: Bytes, inks: Sequence[Rgb]) -> None:
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or 0 in rgb.shape or rgb.shape[1] > WIDTH_MAX:
        raise PayloadError(f"expected a uint8 picture (height, width up to {WIDTH_MAX}, 3), got {rgb.shape} {rgb.dtype}")
    if not INKS_MIN <= len(inks) <= INKS_MAX:
        raise SetupError(f"{len(inks)} inks to dither with, expected {INKS_MIN} to {INKS_MAX}")
    if not all(0 <= value <= 255 for ink in inks for value in ink):
        raise SetupError(f"inks {list(inks)}: expected red, green and blue from 0 to 255")


def _check_codes(inks: Sequence[Rgb], codes: Sequence[int], bits: int, known: Sequence[int]) -> None:
    if bits not in known:
        raise SetupError(f"{bits} bits per pixel, expected one of {list(known)}")
    if len(codes) != len(inks) or not all(0 <= code < 1 << bits for code in codes):
        raise SetupError(f"codes {list(codes)} for {len(inks)} inks, expected one each, 0 to {(1 << bits) - 1}")
