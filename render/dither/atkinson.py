"""Atkinson's dithering: six neighbours get an eighth of the error each, and a quarter of it is dropped.

What is dropped makes contrast: light shades become white and dark ones black, dots stay few. Good for line art and faces on panels with
two inks; not true to shades. Rows run in alternating directions. Whole numbers throughout, light as in floyd.py.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from render._jit import kernel
from render.dither.floyd import CARRY_MAX
from render.dither.light import LIGHT_MAX, LINEAR, WEIGHTS, Bytes, Light
from render.panels.types import Rgb

SHARE_SHIFT: Final = 3  # an eighth
TAPS: Final = ((1, 0), (2, 0), (-1, 1), (0, 1), (1, 1), (0, 2))  # pixels ahead, rows below


def atkinson(rgb: Bytes, palette: tuple[Rgb, ...]) -> Bytes:
    """Palette positions (height, width) for an sRGB picture (height, width, 3), both uint8."""
    out = np.empty(rgb.shape[:2], np.uint8)
    _atkinson(LINEAR[rgb], LINEAR[np.array(palette, np.uint8)], np.array(TAPS, np.int64), out)
    return out


@kernel
def _atkinson(light: Light, inks: Light, taps: Light, out: Bytes) -> None:
    """Fill `out` (height, width). `light` (height, width, 3) is used up; `inks` (n, 3); `taps` (n, 2). Odd rows run from right to left."""
    height, width, _ = light.shape
    for y in range(height):
        step = 1 if y % 2 == 0 else -1
        x = 0 if step == 1 else width - 1
        for _ in range(width):
            best = 0
            best_distance = np.int64(1) << 62
            for ink in range(inks.shape[0]):
                red = light[y, x, 0] - inks[ink, 0]
                green = light[y, x, 1] - inks[ink, 1]
                blue = light[y, x, 2] - inks[ink, 2]
                distance = red * red + 2 * green * green + blue * blue
                if distance < best_distance:
                    best_distance = distance
                    best = ink
            out[y, x] = best
            for tap in range(taps.shape[0]):
                to_x, to_y = x + step * taps[tap, 0], y + taps[tap, 1]
                if 0 <= to_x < width and to_y < height:
                    for channel in range(3):
                        value = light[to_y, to_x, channel] + ((light[y, x, channel] - inks[best, channel]) >> SHARE_SHIFT)
                        light[to_y, to_x, channel] = min(max(value, -CARRY_MAX), LIGHT_MAX + CARRY_MAX)
            x += step


def atkinson_reference(rgb: Bytes, palette: tuple[Rgb, ...]) -> Bytes:
    """The same picture as `atkinson`, in plain Python over lists."""
    inks = LINEAR[np.array(palette, np.uint8)].tolist()
    light = LINEAR[rgb].tolist()
    height, width = len(light), len(light[0])
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        forward = y % 2 == 0
        for x in range(width) if forward else reversed(range(width)):
            pixel = light[y][x]
            distances = [sum(weight * (a - b) ** 2 for weight, a, b in zip(WEIGHTS, pixel, ink, strict=True)) for ink in inks]
            nearest = distances.index(min(distances))
            out[y, x] = nearest
            shares = [(a - b) // 8 for a, b in zip(pixel, inks[nearest], strict=True)]
            for ahead, down in TAPS:
                to_x, to_y = x + ahead if forward else x - ahead, y + down
                if 0 <= to_x < width and to_y < height:
                    moved = [a + b for a, b in zip(light[to_y][to_x], shares, strict=True)]
                    light[to_y][to_x] = [min(max(value, -CARRY_MAX), LIGHT_MAX + CARRY_MAX) for value in moved]
    return out
