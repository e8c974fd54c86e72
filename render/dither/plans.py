"""Plans: for each colour the inks of 64 pixels that together look like it.

Colours are taken to the nearest of 32 x 32 x 32 nodes, evenly spaced in sRGB. A plan has its inks from dark to light, so that a matrix of
ranks picks from it and neighbouring shades differ in few pixels. All steps are whole numbers: every processor makes the same plans.
"""

from __future__ import annotations

from functools import lru_cache
from itertools import permutations
from typing import Final

import numpy as np
import numpy.typing as npt

from render.dither.light import LIGHT_MAX, WEIGHTS, Bytes, Light, decoded
from render.dither.matrices import LEVELS
from render.panels.types import Rgb

NODES: Final = 32
LOOKED_INKS_MAX: Final = 8  # with more (16 greys) every colour is near enough to its mean, and there are too many ways to change it
PLANS_KEPT: Final = 8  # tables of 2 MB; a store has a few kinds of panels

_SUM_SHIFT: Final = 6  # LEVELS is 1 << 6
_FINE_SHIFT: Final = 3  # CIE lightness is looked up in 8192 steps of light
_SCALE: Final = 1 << 15
_UNITY_SHIFT: Final = 16
# sRGB to CIE XYZ (IEC 61966-2-1), each row divided by its sum: white is 1, 1, 1.
_XYZ: Final = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))


def _tristimulus() -> Light:
    rows = np.array(_XYZ)
    whole: Light = np.rint(rows / rows.sum(axis=1, keepdims=True) * (1 << _UNITY_SHIFT)).astype(np.int64)
    whole[:, 1] += (1 << _UNITY_SHIFT) - whole.sum(axis=1)
    return whole


def _response() -> Light:
    """CIELAB's f of light 0 to LIGHT_MAX in steps of 1 << _FINE_SHIFT."""
    light = (np.arange((LIGHT_MAX >> _FINE_SHIFT) + 1) << _FINE_SHIFT) / LIGHT_MAX
    curve = np.where(light > 216 / 24389, np.cbrt(light), (24389 / 27 * light + 16) / 116)
    table: Light = np.rint(curve * _SCALE).astype(np.int64)
    return table


NODE_LIGHT: Final[Light] = np.rint(decoded(np.arange(NODES) / (NODES - 1)) * LIGHT_MAX).astype(np.int64)
TRISTIMULUS: Final = _tristimulus()
RESPONSE: Final = _response()


@lru_cache(maxsize=PLANS_KEPT)
def plans(inks: tuple[Rgb, ...]) -> Bytes:
    """(32, 32, 32, 64) positions in `inks` for each node of red, green and blue. Takes 0.1 to 0.2 s for a palette that is new."""
    light = np.stack(np.meshgrid(NODE_LIGHT, NODE_LIGHT, NODE_LIGHT, indexing="ij"), axis=-1)
    table = plans_for(light.reshape(-1, 3), inks).reshape(NODES, NODES, NODES, LEVELS)
    for position in reversed(range(len(inks))):  # what is drawn in an ink's own colour has no dots of others
        red, green, blue = nodes_of(np.array(inks[position], np.uint8)).tolist()
        table[red, green, blue] = position
    table.flags.writeable = False
    return table


def plans_for(light: Light, inks: tuple[Rgb, ...]) -> Bytes:
    """The plans (n, 64) of lights (n, 3). `plan_reference` says how; here all lights go through its steps together."""
    rows, order = ink_light(inks)
    count, summed = _nearest_means(light, rows)
    if len(inks) <= LOOKED_INKS_MAX:
        _make_look_nearer(light, rows, count, summed)
    return np.repeat(np.tile(order, len(light)), count[order].T.reshape(-1)).astype(np.uint8).reshape(-1, LEVELS)


def ink_light(inks: tuple[Rgb, ...]) -> tuple[Light, Light]:
    """Linear light (n, 3) of the inks, and their positions from dark to light."""
    light: Light = np.rint(decoded(np.array(inks, np.int64) / 255) * LIGHT_MAX).astype(np.int64)
    return light, np.argsort(light @ TRISTIMULUS[1], kind="stable")


def nodes_of(octets: Bytes) -> npt.NDArray[np.int64]:
    """The nearest node, 0 to 31, of each sRGB value."""
    value = octets.astype(np.int64)
    return (value - (value >> 5) + 4) >> 3


def _nearest_means(light: Light, rows: Light) -> tuple[Light, Light]:
    """How often each ink (inks, n) and their summed light (n, 3)."""
    weighted = rows * np.array(WEIGHTS)
    lengths = (rows * weighted).sum(axis=1)
    every = np.arange(len(light))
    count = np.zeros((len(rows), len(light)), np.int64)
    summed = np.zeros_like(light)
    for number in range(1, LEVELS + 1):
        # |missing - ink|**2 without |missing|**2, which is the same for all inks
        chosen = (lengths - 2 * ((light * number - summed) @ weighted.T)).argmin(axis=1)
        count[chosen, every] += 1
        summed += rows[chosen]
    return count, summed


def _make_look_nearer(light: Light, rows: Light, count: Light, summed: Light) -> None:
    wanted = _responses(light)
    least = _difference(summed, wanted)
    searching = np.arange(len(light))
    while len(searching):
        changed = np.zeros(len(light), np.bool_)
        for source, target in permutations(range(len(rows)), 2):
            places = searching[(count[source, searching] > 0) & (count[target, searching] > 0)]
            moved = summed[places] + (rows[target] - rows[source])
            found = _difference(moved, wanted[places])
            better = found < least[places]
            places = places[better]
            least[places] = found[better]
            summed[places] = moved[better]
            count[source, places] -= 1
            count[target, places] += 1
            changed[places] = True
        searching = np.flatnonzero(changed)


def _difference(summed: Light, wanted: Light) -> Light:
    """Squared CIELAB distance of 64 summed lights from responses, in units of its own."""
    x, y, z = (_responses(summed >> _SUM_SHIFT) - wanted).T
    squared: Light = (116 * y) ** 2 + (500 * (x - y)) ** 2 + (200 * (y - z)) ** 2
    return squared


def _responses(light: Light) -> Light:
    responses: Light = RESPONSE[light @ TRISTIMULUS.T >> _UNITY_SHIFT + _FINE_SHIFT]
    return responses


def plan_reference(light: tuple[int, int, int], inks: tuple[Rgb, ...]) -> list[int]:
    """The plan of one light (0 to 65535 per channel), in plain Python.

    First 64 times the ink that brings the mean nearest, in linear light. That is the light's mixture, or, where no mixture has it, the
    nearest one; but it is not the one that looks nearest. So then, as long as that makes the difference in CIELAB smaller, one pixel
    changes to another ink of the plan (where there are few inks). No ink is added: each more would make more noise than it saves.
    """
    rows, order = (table.tolist() for table in ink_light(inks))
    chosen: list[int] = []
    summed = [0, 0, 0]
    for number in range(1, LEVELS + 1):
        missing = [value * number - sum_ for value, sum_ in zip(light, summed, strict=True)]
        distances = [sum(weight * (a - b) ** 2 for weight, a, b in zip(WEIGHTS, missing, row, strict=True)) for row in rows]
        chosen.append(distances.index(min(distances)))
        summed = [a + b for a, b in zip(summed, rows[chosen[-1]], strict=True)]
    count = [chosen.count(ink) for ink in range(len(inks))]

    def difference(sums: list[int]) -> int:
        x, y, z = (
            int(RESPONSE[sum(share * (sum_ // LEVELS) for share, sum_ in zip(shares, sums, strict=True)) >> _UNITY_SHIFT + _FINE_SHIFT])
            - int(RESPONSE[sum(share * value for share, value in zip(shares, light, strict=True)) >> _UNITY_SHIFT + _FINE_SHIFT])
            for shares in TRISTIMULUS.tolist()
        )
        return (116 * y) ** 2 + (500 * (x - y)) ** 2 + (200 * (y - z)) ** 2

    searching = len(inks) <= LOOKED_INKS_MAX
    while searching:
        searching = False
        for source, target in permutations(range(len(inks)), 2):
            if count[source] and count[target]:
                moved = [a - b + c for a, b, c in zip(summed, rows[source], rows[target], strict=True)]
                if difference(moved) < difference(summed):
                    summed = moved
                    count[source] -= 1
                    count[target] += 1
                    searching = True
    return [ink for ink in order for _ in range(count[ink])]
