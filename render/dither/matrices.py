"""The orders in which the pixels of a pattern change ink as a shade grows: Bayer's 8 x 8 matrix, and blue noise of 64 x 64."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

SIZE: Final = 64  # of both, Bayer's repeated
BAYER_SIZE: Final = 8
LEVELS: Final = 64  # shades between two inks that a plan knows
BLUE_NOISE_FILE: Final = Path(__file__).with_name("blue_noise.npy")

_SPREAD_PX: Final = (
    1.35  # of the Gauss bell by which pixels repel each other; of 1.0 to 2.2 (Ulichney: 1.5) it gives the least colour error
)
_START_SHARE: Final = 10  # one pixel in ten is set in the pattern to start with
_UNIT: Final = 1 << 24
# 2**32 / p and 2**32 / p**2 with p**3 = p + 1: multiples of them, as fractions of 2**32, fill a square evenly and never repeat.
_EVENLY: Final = (3242174889, 2447445414)

Ranks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)  # so that a matrix is quickly found in a cache
class Matrix:
    """`ranks` (64, 64) has each of 0 to `count` - 1 equally often: the order in which pixels become lighter."""

    ranks: Ranks
    count: int


@lru_cache(maxsize=1)
def bayer() -> Matrix:
    """Ranks 0 to 63."""
    ranks = np.zeros((1, 1), np.int64)
    while len(ranks) < BAYER_SIZE:
        ranks = np.block([[4 * ranks, 4 * ranks + 2], [4 * ranks + 3, 4 * ranks + 1]])
    return Matrix(np.tile(ranks, (SIZE // BAYER_SIZE, SIZE // BAYER_SIZE)), BAYER_SIZE**2)


@lru_cache(maxsize=1)
def blue_noise() -> Matrix:
    """Ranks 0 to 4095, from the file that `blue_noise_ranks` made."""
    ranks: Ranks = np.load(BLUE_NOISE_FILE).astype(np.int64)
    return Matrix(ranks, SIZE**2)


def blue_noise_ranks() -> Ranks:
    """What the file has, made by void and cluster (Ulichney 1993) in whole numbers; edges meet. 0.2 s.

    `numpy.save(BLUE_NOISE_FILE, blue_noise_ranks().astype(numpy.uint16))` writes the file.
    """
    distance = np.minimum(np.arange(SIZE), SIZE - np.arange(SIZE))
    bell = np.rint(np.exp(-(distance[:, None] ** 2 + distance**2) / (2 * _SPREAD_PX**2)) * _UNIT).astype(np.int64)
    pixels = SIZE * SIZE
    windows: Ranks = np.lib.stride_tricks.sliding_window_view(np.tile(bell, (2, 2)), (SIZE, SIZE))

    def around(place: int) -> Ranks:
        y, x = divmod(place, SIZE)
        bell_there: Ranks = windows[(SIZE - y) % SIZE, (SIZE - x) % SIZE]
        return bell_there

    filled = np.zeros((SIZE, SIZE), np.bool_)
    crowd = np.zeros((SIZE, SIZE), np.int64)

    def put(place: int, on: bool) -> None:
        filled.flat[place] = on
        crowd[:] += around(place) if on else -around(place)

    def cluster() -> int:
        return int(np.where(filled, crowd, -1).argmax())

    def void() -> int:
        return int(np.where(filled, np.iinfo(np.int64).max, crowd).argmin())

    number = 0
    while filled.sum() < pixels // _START_SHARE:
        number += 1
        y, x = (number * step % 2**32 * SIZE >> 32 for step in _EVENLY)
        if not filled[y, x]:
            put(y * SIZE + x, True)
    while True:  # move the most crowded pixel into the largest void, until it is where it would go
        place = cluster()
        put(place, False)
        goal = void()
        put(goal, True)
        if goal == place:
            break
    ranks = np.zeros((SIZE, SIZE), np.int64)
    start, started = filled.copy(), crowd.copy()
    first = int(filled.sum())
    for rank in range(first - 1, -1, -1):
        place = cluster()
        put(place, False)
        ranks.flat[place] = rank
    filled[:], crowd[:] = start, started
    for rank in range(first, pixels):
        place = void()
        put(place, True)
        ranks.flat[place] = rank
    return ranks
