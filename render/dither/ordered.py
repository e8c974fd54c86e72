"""Ordered dithering: each pixel looks up its ink by its colour and its place in a matrix, and knows nothing of its neighbours.

Equal areas get equal patterns, a change of the picture changes nothing elsewhere, and the regular dots compress well. Three inks and more
have plans (plans.py); two have a threshold on the way from one to the other, which needs no table. Both work on 32 rows at once.
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
    Places,
    Words,
    add_saturated,
    copy_bytes,
    light_of,
    load,
    load_bytes,
    load_light,
    multiply_high,
    select,
    splat,
    store,
    store_places,
)
from render.dither.light import WEIGHTS
from render.dither.matrices import LEVELS, SIZE, Matrix, Ranks
from render.dither.plans import PLANS_KEPT, nodes_of, plans
from render.panels.types import Rgb

_SCORE_MAX: Final = 8192  # of ink 1, when ink 0 has 0: leaves room for colours far beyond both
_FACTOR_MAX: Final = 16383
_SLACK: Final = 4  # three products are rounded down: an ink's own colour may miss its score by so much


def ordered_planes(rgb: Bytes, inks: Sequence[Rgb], codes: Sequence[int], planes: int, matrix: Matrix) -> Bytes:
    """One or two bit planes (planes, height, ceil(width / 8)): bit p of the codes of the chosen inks, first pixel highest."""
    return _ordered(rgb, tuple(inks), tuple(codes), planes, 1, matrix)


def ordered_packed(rgb: Bytes, inks: Sequence[Rgb], codes: Sequence[int], bits: int, matrix: Matrix) -> Bytes:
    """Codes of the chosen inks side by side in 2, 4 or 8 bits: (height, ceil(width * bits / 8)), first pixel highest."""
    packed: Bytes = _ordered(rgb, tuple(inks), tuple(codes), 1, bits, matrix)[0]
    return packed


def _ordered(rgb: Bytes, inks: tuple[Rgb, ...], codes: tuple[int, ...], planes: int, bits: int, matrix: Matrix) -> Bytes:
    height, width, _ = rgb.shape
    steps = steps_for(width, 0)
    out = np.empty((planes, height, row_bytes_for(width, bits)), np.uint8)
    octets = np.require(rgb, np.uint8, ["C", "W"]).reshape(-1)
    edge, columns = margin(width, 0), aligned_words(3 * STEPS * LANES // 2).view(np.uint8)
    constants = lane_constants(0, bits)
    words, moved, rows = words_room(steps, bits)
    if len(inks) == 2:
        way = _way(inks)
        pair = _pair_lanes(way, tuple(plane_bits(codes)) if bits == 1 else codes)
        thresholds = _thresholds(matrix, way[-1])
        _threshold_bands(
            STAMP, octets, height, width, pair, thresholds, planes, bits, constants, edge, columns, words, moved, rows, out.reshape(-1)
        )
    else:
        table, levels = _coded_plans(inks, codes), _levels(matrix)
        places, picks = np.empty(STEPS * LANES, np.uint32), np.empty(STEPS * LANES, np.uint8)
        _plan_bands(
            STAMP, octets, height, width, table, levels, planes, bits, constants, edge, columns, places, picks, words, moved, rows,
            out.reshape(-1),
        )  # fmt: skip
    return out


@bare_kernel
def _plan_bands(
    stamp: int,
    octets: Bytes,
    height: int,
    width: int,
    plans: Bytes,
    levels: Words,
    planes: int,
    bits: int,
    constants: Words,
    margin: Bytes,
    columns: Bytes,
    places: Places,
    picks: Bytes,
    words: Words,
    moved: Words,
    rows: Bytes,
    out: Bytes,
) -> int:
    """Fill `out` (planes, height, row bytes), flat, from `octets` (height, width, 3), flat.

    `plans` (32, 32, 32, 64) codes, flat; `levels` (64 columns, 64 rows) of 0 to 63, flat. Scratch: `margin`, `columns` (16 steps, 3,
    lanes), `places` and `picks` (16 steps, lanes), `words`, `moved`, `rows`.
    """
    if stamp != STAMP:
        return STALE
    steps = (width + STEPS - 1) // STEPS * STEPS
    word_bits = max(bits, 2)  # with one bit per pixel a word has the bits of two planes
    low, high, half_node = splat(1), splat(2), splat(4)
    for top in range(0, height, LANES):
        source = octets
        start = 3 * width * top
        if start + LANES * 3 * width + 3 * STEPS > octets.size:  # a lane would read outside of the picture
            source = margin
            copy_bytes(margin, LEAD, octets, start, min(octets.size - start, margin.size - LEAD))
            start = LEAD
        for begin in range(0, steps, STEPS):
            read_block(source, start + 3 * begin, 3 * width, columns)
            for column in range(STEPS):
                red = load_bytes(columns, 3 * LANES * column)
                green = load_bytes(columns, 3 * LANES * column + LANES)
                blue = load_bytes(columns, 3 * LANES * column + 2 * LANES)
                red = (red - (red >> 5) + half_node) >> 3
                green = (green - (green >> 5) + half_node) >> 3
                blue = (blue - (blue >> 5) + half_node) >> 3
                level = load(levels, (begin + column) % SIZE * SIZE + top % SIZE)
                store_places(places, LANES * column, (red << 10) | (green << 5) | blue, level)
            for pixel in range(STEPS * LANES):
                picks[pixel] = plans[places[pixel]]
            for half in range(0, STEPS, HALF):
                chosen = splat(0)
                for column in range(half, half + HALF):
                    code = load_bytes(picks, LANES * column)
                    if bits == 1:
                        code = (code & low) | ((code & high) << 7)
                    chosen = (chosen << bits) | code
                    store(words, ((begin + column) * word_bits >> 4) * LANES, chosen)
        write_band(words, bits, planes, width, steps, constants, top, height, moved, rows, out)
    return 0


@bare_kernel
def _threshold_bands(
    stamp: int,
    octets: Bytes,
    height: int,
    width: int,
    pair: Words,
    thresholds: Words,
    planes: int,
    bits: int,
    constants: Words,
    margin: Bytes,
    columns: Bytes,
    words: Words,
    moved: Words,
    rows: Bytes,
    out: Bytes,
) -> int:
    """`_plan_bands` for two inks. `pair`: six rows of 32 equal numbers: factors of red, green and blue, a sum, codes of ink 0 and 1."""
    if stamp != STAMP:
        return STALE
    steps = (width + STEPS - 1) // STEPS * STEPS
    word_bits = max(bits, 2)
    for top in range(0, height, LANES):
        source = octets
        start = 3 * width * top
        if start + LANES * 3 * width + 3 * STEPS > octets.size:
            source = margin
            copy_bytes(margin, LEAD, octets, start, min(octets.size - start, margin.size - LEAD))
            start = LEAD
        for begin in range(0, steps, STEPS):
            read_block(source, start + 3 * begin, 3 * width, columns)
            for half in range(0, STEPS, HALF):
                chosen = splat(0)
                for column in range(half, half + HALF):
                    red = multiply_high(load_light(columns, 3 * LANES * column), load(pair, 0))
                    green = multiply_high(load_light(columns, 3 * LANES * column + LANES), load(pair, LANES))
                    blue = multiply_high(load_light(columns, 3 * LANES * column + 2 * LANES), load(pair, 2 * LANES))
                    score = add_saturated(red + green + blue, load(pair, 3 * LANES))
                    passed = score > load(thresholds, (begin + column) % SIZE * SIZE + top % SIZE)
                    code = select(passed, load(pair, 5 * LANES), load(pair, 4 * LANES))
                    chosen = (chosen << bits) | code
                    store(words, ((begin + column) * word_bits >> 4) * LANES, chosen)
        write_band(words, bits, planes, width, steps, constants, top, height, moved, rows, out)
    return 0


@lru_cache(maxsize=PLANS_KEPT)
def _coded_plans(inks: tuple[Rgb, ...], codes: tuple[int, ...]) -> Bytes:
    """The plans as codes, flat."""
    return np.array(codes, np.uint8)[plans(inks)].reshape(-1)


@lru_cache(maxsize=2)
def _levels(matrix: Matrix) -> Words:
    return _columns(matrix.ranks * LEVELS // matrix.count)


@lru_cache(maxsize=8)
def _thresholds(matrix: Matrix, score_max: int) -> Words:
    return _columns(_between_scores(matrix, score_max))


def _between_scores(matrix: Matrix, score_max: int) -> Ranks:
    """The matrix spread over the scores between two inks."""
    if score_max == 0:
        return np.zeros_like(matrix.ranks)
    return (2 * matrix.ranks + 1) * (score_max - 2 * _SLACK) // (2 * matrix.count) + _SLACK


def _columns(ranks: Ranks) -> Words:
    """A matrix of 64 x 64 column after column, twice 32 rows each."""
    table = aligned_words(SIZE * SIZE)
    table[:] = ranks.T.reshape(-1)
    return table


@lru_cache(maxsize=PLANS_KEPT)
def _pair_lanes(row: tuple[int, ...], codes: tuple[int, ...]) -> Words:
    table = aligned_words(6 * LANES)
    table.reshape(6, LANES)[:] = np.array((*row[:4], *codes), np.int16)[:, None]
    return table


@lru_cache(maxsize=PLANS_KEPT)
def _way(inks: tuple[Rgb, ...]) -> tuple[int, ...]:
    """Factors and sum of a light's score on the way from ink 0 to ink 1, in 65536ths; and the score of ink 1, that of ink 0 being 0.

    The score of a light beside the way is that of the nearest light on it, by WEIGHTS. Two inks of one colour have no way: all 0.
    """
    first, second = (light_of(np.array(ink, np.uint8)).tolist() for ink in inks)
    slopes = [weight * (b - a) for weight, a, b in zip(WEIGHTS, first, second, strict=True)]
    length = sum(slope * (b - a) for slope, a, b in zip(slopes, first, second, strict=True))
    if length == 0:
        return 0, 0, 0, 0, 0
    score_max = min(_SCORE_MAX, _FACTOR_MAX * length // (max(map(abs, slopes)) << 16))
    factors = [(slope * score_max << 16) // length for slope in slopes]
    sum_ = 2 - (sum(factor * a for factor, a in zip(factors, first, strict=True)) >> 16)
    return *factors, sum_, score_max


def ordered_reference(rgb: Bytes, inks: Sequence[Rgb], matrix: Matrix) -> Bytes:
    """Positions (height, width) in `inks`, with numpy for the whole picture: what the lanes compute."""
    height, width, _ = rgb.shape
    *factors, sum_, score_max = _way(tuple(inks)[:2])
    ranks = matrix.ranks * LEVELS // matrix.count if len(inks) != 2 else _between_scores(matrix, score_max)
    ranks = np.tile(ranks, (height // SIZE + 1, width // SIZE + 1))[:height, :width]
    if len(inks) != 2:
        nodes = nodes_of(rgb)
        return plans(tuple(inks))[nodes[..., 0], nodes[..., 1], nodes[..., 2], ranks]
    light = light_of(rgb.reshape(-1)).reshape(rgb.shape).astype(np.int64)
    score = sum(light[..., channel] * factor >> 16 for channel, factor in enumerate(factors)) + sum_
    return (score > ranks).astype(np.uint8)
