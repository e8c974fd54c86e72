"""Floyd-Steinberg, one pixel after the other, rows in alternating directions: the measure of quality for the fast way (lanes.py).

Whole numbers throughout, so that every processor gives the same pixels. Light is 0 (black) to 65535 (white) per channel.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from render._jit import kernel
from render.dither.light import LIGHT_MAX, LINEAR, WEIGHTS, Bytes, Light
from render.panels.types import Rgb

# Carried error may leave the gamut by half its width; without a bound a colour that no ink can show smears across the picture.
CARRY_MAX: Final = LIGHT_MAX // 2


def floyd_steinberg(rgb: Bytes, palette: tuple[Rgb, ...]) -> Bytes:
    """Palette positions (height, width) for an sRGB picture (height, width, 3), both uint8."""
    out = np.empty(rgb.shape[:2], np.uint8)
    _floyd_steinberg(LINEAR[rgb], LINEAR[np.array(palette, np.uint8)], out)
    return out


@kernel
def _floyd_steinberg(light: Light, inks: Light, out: Bytes) -> None:
    """Fill `out` (height, width). `light` (height, width, 3) is used up; `inks` (n, 3). Odd rows run from right to left."""
    height, width, _ = light.shape
    error = np.zeros(3, np.int64)
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
            for channel in range(3):
                error[channel] = light[y, x, channel] - inks[best, channel]
            for channel in range(3):
                ahead = error[channel] * 7 >> 4
                behind_below = error[channel] * 3 >> 4
                below = error[channel] * 5 >> 4
                ahead_below = error[channel] - ahead - behind_below - below
                if 0 <= x + step < width:
                    light[y, x + step, channel] = min(max(light[y, x + step, channel] + ahead, -CARRY_MAX), LIGHT_MAX + CARRY_MAX)
                if y + 1 < height:
                    if 0 <= x - step < width:
                        value = light[y + 1, x - step, channel] + behind_below
                        light[y + 1, x - step, channel] = min(max(value, -CARRY_MAX), LIGHT_MAX + CARRY_MAX)
                    value = light[y + 1, x, channel] + below
                    light[y + 1, x, channel] = min(max(value, -CARRY_MAX), LIGHT_MAX + CARRY_MAX)
                    if 0 <= x + step < width:
                        value = light[y + 1, x + step, channel] + ahead_below
                        light[y + 1, x + step, channel] = min(max(value, -CARRY_MAX), LIGHT_MAX + CARRY_MAX)
            x += step


def floyd_steinberg_reference(rgb: Bytes, palette: tuple[Rgb, ...]) -> Bytes:
    """The same picture as `floyd_steinberg`, in plain Python over lists."""
    inks = [[int(LINEAR[value]) for value in ink] for ink in palette]
    light = [[[int(LINEAR[value]) for value in pixel] for pixel in row] for row in rgb]
    height, width = len(light), len(light[0])
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        forward = y % 2 == 0
        step = 1 if forward else -1
        for x in range(width) if forward else reversed(range(width)):
            pixel = light[y][x]
            distances = [sum(weight * (a - b) ** 2 for weight, a, b in zip(WEIGHTS, pixel, ink, strict=True)) for ink in inks]
            nearest = distances.index(min(distances))
            out[y, x] = nearest
            for channel in range(3):
                error = pixel[channel] - inks[nearest][channel]
                shares = [error * 7 // 16, error * 3 // 16, error * 5 // 16]
                shares.append(error - sum(shares))
                places = ((x + step, y), (x - step, y + 1), (x, y + 1), (x + step, y + 1))
                for (to_x, to_y), share in zip(places, shares, strict=True):
                    if 0 <= to_x < width and to_y < height:
                        moved = light[to_y][to_x][channel] + share
                        light[to_y][to_x][channel] = min(max(moved, -CARRY_MAX), LIGHT_MAX + CARRY_MAX)
    return out
