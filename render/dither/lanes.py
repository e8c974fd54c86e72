"""The fast Floyd-Steinberg: 32 rows of a picture at once, each two pixels behind the row above it.

A pixel needs the errors of its left neighbour and of three pixels above it, so one row alone is a chain of waiting. At step t lane i works
on pixel x = t - 2i of its row; then the three errors from above have just been made by lane i - 1, and moving them one lane on passes
them down. Errors never leave the registers but for the last lane's, which wait in memory for the next 32 rows.

Every row runs from left to right. Light has 16 bits and is held between black and white after each addition, so that colours that no ink
shows do not smear far; errors have 12 bits. All steps are whole numbers, so that every processor gives the same pixels:
`diffuse_reference` computes them one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from render._jit import STALE, bare_kernel
from render.dither._bands import (
    HALF,
    LEAD,
    STAMP,
    STEPS,
    aligned_words,
    lane_constants,
    margin,
    plane_bits,
    read_block,
    row_bytes_for,
    steps_for,
    words_room,
    write_band,
)
from render.dither._lanes_ir import (
    LANES,
    Bytes,
    Words,
    add_saturated,
    copy_bytes,
    light_of,
    load,
    load_light,
    nearest,
    pass_down,
    select,
    splat,
    store,
    within,
)
from render.dither.light import WEIGHTS
from render.panels.types import Rgb

SKEW: Final = 2  # pixels by which a row is behind the one above: the pixel at the upper right must be finished
WAIT: Final = SKEW * LANES  # steps until the next 32 rows may begin
INK_COUNTS: Final = (3, 4, 7)  # kernels exist for these; a palette of another size is filled up with inks that are never nearest
INKS_MAX: Final = INK_COUNTS[-1]  # scores have 16 bits: too coarse for the dark ones of 16 greys
PALETTES_KEPT: Final = 64  # tables of inks, 4 KB at most; a store's panels have a few

_INK_ROWS: Final = 8


def diffuse_planes(rgb: Bytes, inks: Sequence[Rgb], codes: Sequence[int], planes: int) -> Bytes:
    """One or two bit planes (planes, height, ceil(width / 8)): bit p of the codes of the chosen inks, first pixel highest."""
    return _diffuse(rgb, tuple(inks), tuple(plane_bits(codes)), planes, 1)


def diffuse_packed(rgb: Bytes, inks: Sequence[Rgb], codes: Sequence[int], bits: int) -> Bytes:
    """Codes of the chosen inks side by side in 2, 4 or 8 bits: (height, ceil(width * bits / 8)), first pixel highest."""
    packed: Bytes = _diffuse(rgb, tuple(inks), tuple(codes), 1, bits)[0]
    return packed


def _diffuse(rgb: Bytes, inks: tuple[Rgb, ...], codes: tuple[int, ...], planes: int, bits: int) -> Bytes:
    height, width, _ = rgb.shape
    steps = steps_for(width, SKEW)
    out = np.empty((planes, height, row_bytes_for(width, bits)), np.uint8)
    _diffuse_bands(
        STAMP,
        np.require(rgb, np.uint8, ["C", "W"]).reshape(-1),
        height,
        width,
        _ink_table(inks, codes),
        (0,) * _kernel_count(inks),
        planes,
        bits,
        lane_constants(SKEW, bits),
        aligned_words(3 * (steps + WAIT)),
        margin(width, SKEW),
        aligned_words(3 * STEPS * LANES // 2).view(np.uint8),
        *words_room(steps, bits),
        out.reshape(-1),
    )
    return out


@bare_kernel
def _diffuse_bands(
    stamp: int,
    octets: Bytes,
    height: int,
    width: int,
    inks: Words,
    counted: tuple[int, ...],
    planes: int,
    bits: int,
    constants: Words,
    waiting: Words,
    margin: Bytes,
    columns: Bytes,
    words: Words,
    moved: Words,
    rows: Bytes,
    out: Bytes,
) -> int:
    """Fill `out` (planes, height, row bytes), flat, from `octets` (height, width, 3), flat.

    `inks`: see `nearest`; `counted`: as many numbers as it has inks. Scratch: `waiting` (3, steps + 64) zeros: what the last lane passed
    down; `margin`, `columns` (16 steps, 3, lanes), `words`, `moved`, `rows`.
    """
    if stamp != STAMP:
        return STALE
    steps = (width + WAIT + STEPS - 1) // STEPS * STEPS
    stride = 3 * (width - SKEW)
    room = steps + WAIT
    word_bits = max(bits, 2)  # with one bit per pixel a word has the bits of two planes
    nothing, one, end = splat(0), splat(1), splat(width)
    for top in range(0, height, LANES):
        source = octets
        start = 3 * width * top
        if stride < 0 or start + LANES * stride + 3 * steps > octets.size:  # a lane would read outside of the picture
            source = margin
            copy_bytes(margin, LEAD, octets, start, min(octets.size - start, margin.size - LEAD))
            start = LEAD
        position = load(constants, 0)
        red_error = green_error = blue_error = nothing
        red_before = green_before = blue_before = nothing
        red_far = green_far = blue_far = nothing
        for begin in range(0, steps, STEPS):
            read_block(source, start + 3 * begin, stride, columns)
            for half in range(0, STEPS, HALF):
                chosen = nothing
                for column in range(half, half + HALF):
                    step = begin + column
                    # From the left neighbour come 7/16 of its error; from above 3/16 of the error at the right, 5/16 of the one over
                    # this pixel, 1/16 of the one at the left. An error is a sixteenth of light's unit, so nothing has to be divided.
                    red_four, green_four, blue_four = red_error << 2, green_error << 2, blue_error << 2
                    red_three, green_three, blue_three = red_four - red_error, green_four - green_error, blue_four - blue_error
                    red = add_saturated(load_light(columns, 3 * LANES * column), red_three + red_four)
                    green = add_saturated(load_light(columns, 3 * LANES * column + LANES), green_three + green_four)
                    blue = add_saturated(load_light(columns, 3 * LANES * column + 2 * LANES), blue_three + blue_four)
                    red = add_saturated(red, pass_down(add_saturated(red_three, red_far), waiting, step))
                    green = add_saturated(green, pass_down(add_saturated(green_three, green_far), waiting, room + step))
                    blue = add_saturated(blue, pass_down(add_saturated(blue_three, blue_far), waiting, 2 * room + step))
                    red_far = red_error + red_four + red_before
                    green_far = green_error + green_four + green_before
                    blue_far = blue_error + blue_four + blue_before
                    red_before, green_before, blue_before = red_error, green_error, blue_error
                    code, ink_red, ink_green, ink_blue = nearest(red, green, blue, inks, counted)
                    inside = within(position, end)
                    position = position + one
                    red_error = select(inside, (red >> 4) - ink_red, nothing)
                    green_error = select(inside, (green >> 4) - ink_green, nothing)
                    blue_error = select(inside, (blue >> 4) - ink_blue, nothing)
                    chosen = (chosen << bits) | code
                    store(words, (step * word_bits >> 4) * LANES, chosen)
        write_band(words, bits, planes, width, steps, constants, top, height, moved, rows, out)
    return 0


def _kernel_count(inks: Sequence[Rgb]) -> int:
    return next(count for count in INK_COUNTS if count >= len(inks))


@lru_cache(maxsize=PALETTES_KEPT)
def _ink_table(inks: tuple[Rgb, ...], codes: tuple[int, ...]) -> Words:
    """The inks as `nearest` wants them, filled up to one of INK_COUNTS."""
    count = _kernel_count(inks)
    table = aligned_words(count * _INK_ROWS * LANES)
    rows = table.reshape(count, _INK_ROWS, LANES)
    for ink, row in enumerate(_ink_rows(inks, codes)):
        rows[ink] = np.array(row, np.int16)[:, None]
    rows[len(inks) :, -1] = -1  # below ink 0, which scores 0
    return table


def _ink_rows(inks: Sequence[Rgb], codes: Sequence[int]) -> list[tuple[int, ...]]:
    """Per ink: code; its light >> 4; factors and sum of its score.

    The score is half of (squared distance to ink 0 - squared distance to this ink), weighted by WEIGHTS / 4, in 65536ths of light
    squared. Three products are rounded down before they are added, 1.5 too low in the mean, hence the 2 (1.5 and 0.5 for rounding).
    """
    lights = [[int(value) for value in light_of(np.array(ink, np.uint8))] for ink in inks]
    rows = []
    for code, light in zip(codes, lights, strict=True):
        factors = [weight * (a - b) // 4 for weight, a, b in zip(WEIGHTS, light, lights[0], strict=True)]
        middle = sum(factor * (a + b) for factor, a, b in zip(factors, light, lights[0], strict=True))
        rows.append((code, *(value >> 4 for value in light), *factors, 2 - (middle >> 17)))
    return rows


def diffuse_reference(rgb: Bytes, inks: Sequence[Rgb]) -> Bytes:
    """Positions (height, width) in `inks`, one pixel after the other in plain Python: what the lanes compute."""
    height, width, _ = rgb.shape
    light: list[list[list[int]]] = light_of(rgb.reshape(-1)).reshape(height, width, 3).tolist()
    rows = _ink_rows(inks, range(len(inks)))
    above = [[0, 0, 0] for _ in range(width + 2)]  # errors of the row above, with a pixel that is none at either end
    out = np.empty((height, width), np.uint8)
    for y in range(height):
        errors = [[0, 0, 0] for _ in range(width + 2)]
        for x in range(width):
            seen = []
            for channel in range(3):
                left_above, over, right_above = (above[x + place][channel] for place in range(3))
                passed = _saturated(3 * right_above + 5 * over + left_above)
                seen.append(_saturated(_saturated(light[y][x][channel] + 7 * errors[x][channel]) + passed))
            scores = [sum(a * b >> 16 for a, b in zip(seen, row[4:7], strict=True)) + row[7] for row in rows]
            scores[0] = 0
            ink = scores.index(max(scores))
            out[y, x] = ink
            errors[x + 1] = [(value >> 4) - place for value, place in zip(seen, rows[ink][1:4], strict=True)]
        above = errors
    return out


def _saturated(value: int) -> int:
    return min(max(value, -32768), 32767)
