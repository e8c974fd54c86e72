"""The kernels of render/dither compared with their references, in a process whose processor NUMBA_CPU_NAME names.

`python tests/render/dither_check.py [INKS ...]` prints one line and exits with 0, or raises. INKS: sizes of palettes, all by default.
"""

from __future__ import annotations

import os
import sys

import numpy as np
import numpy.typing as npt
import pytest

from render.dither import _bands, lanes, ordered
from render.dither.api import Method, dither, dither_planes
from render.dither.floyd import floyd_steinberg_reference
from render.dither.lanes import diffuse_reference
from render.dither.matrices import bayer, blue_noise
from render.dither.ordered import ordered_reference
from render.panels.types import Rgb

Bytes = npt.NDArray[np.uint8]

PALETTES: dict[int, tuple[Rgb, ...]] = {
    2: ((200, 196, 190), (12, 9, 14)),
    3: ((255, 255, 255), (0, 0, 0), (255, 0, 0)),
    4: ((200, 200, 200), (5, 5, 5), (120, 15, 5), (200, 180, 0)),
    7: ((26, 13, 35), (185, 202, 205), (40, 82, 57), (0, 69, 139), (121, 9, 0), (202, 184, 0), (180, 90, 20)),
    16: tuple((17 * grey, 17 * grey, 17 * grey) for grey in range(16)),
}
SIZES = ((1, 1), (1, 7), (7, 1), (2, 2), (5, 3), (33, 17), (40, 66), (70, 9))  # height, width


def picture(height: int, width: int, seed: int) -> Bytes:
    """Noise, with a slope from dark to light in larger ones and a flat part that no ink shows."""
    made = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    if width > 8:
        made = np.sort(made, axis=1)
        made[: height // 3, : width // 2] = (0, 255, 40)
    return made


def compare(height: int, width: int, inks: tuple[Rgb, ...]) -> None:
    """AssertionError when a kernel gives other pixels than its reference."""
    rgb = picture(height, width, height * 1000 + width)
    expected = {
        Method.FLOYD_STEINBERG: diffuse_reference(rgb, inks) if len(inks) <= 7 else floyd_steinberg_reference(rgb, inks),
        Method.BAYER: ordered_reference(rgb, inks, bayer()),
        Method.BLUE_NOISE: ordered_reference(rgb, inks, blue_noise()),
    }
    for method, wanted in expected.items():
        assert np.array_equal(dither(rgb, inks, method), wanted), (method, height, width, inks)
        if len(inks) <= 4:
            planes = np.stack([np.packbits(wanted >> plane & 1, axis=1) for plane in range(2)])
            assert np.array_equal(dither_planes(rgb, inks, range(len(inks)), 2, method), planes), (method, height, width, inks)


def uncompile(patch: pytest.MonkeyPatch) -> None:
    """Let the kernels that work on lanes, and what they call, be plain Python."""
    for module, names in (
        (_bands, ("whole_word", "write_band", "read_block")),
        (lanes, ("_diffuse_bands", "write_band", "read_block")),
        (ordered, ("_plan_bands", "_threshold_bands", "write_band", "read_block")),
    ):
        for name in names:
            function = getattr(module, name)
            patch.setattr(module, name, getattr(function, "__wrapped__", function))


def main(counts: list[int]) -> None:
    for count in counts or PALETTES:
        for height, width in SIZES:
            compare(height, width, PALETTES[count])
    processor = os.environ.get("NUMBA_CPU_NAME", "this processor")
    sys.stdout.write(f"{processor}: {counts or list(PALETTES)} inks equal their references\n")


if __name__ == "__main__":
    main([int(count) for count in sys.argv[1:]])
