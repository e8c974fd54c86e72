from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render._jit import python_function
from render.dither import atkinson
from render.dither.light import LINEAR
from render.panels.types import Rgb
from tests.render.dither_check import PALETTES


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from([PALETTES[2], PALETTES[3], PALETTES[7]]), st.integers(0, 2**32 - 1))
def test_the_kernel_equals_its_reference_compiled_and_not(width: int, height: int, palette: tuple[Rgb, ...], seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    expected = atkinson.atkinson_reference(rgb, palette)
    assert np.array_equal(atkinson.atkinson(rgb, palette), expected)
    plain, taps = np.empty_like(expected), np.array(atkinson.TAPS)
    python_function(atkinson._atkinson)(LINEAR[rgb], LINEAR[np.array(palette, np.uint8)], taps, plain)
    assert np.array_equal(plain, expected)


@pytest.mark.parametrize("palette", PALETTES.values(), ids=PALETTES)
def test_a_picture_in_panel_colours_is_unchanged(palette: tuple[Rgb, ...]) -> None:
    wanted = np.random.default_rng(7).integers(0, len(palette), (30, 30))
    assert np.array_equal(atkinson.atkinson(np.array(palette, np.uint8)[wanted], palette), wanted)


def test_light_shades_become_white_and_dark_ones_black() -> None:
    black_and_white = ((0, 0, 0), (255, 255, 255))
    assert atkinson.atkinson(np.full((40, 40, 3), 245, np.uint8), black_and_white).all()
    assert not atkinson.atkinson(np.full((40, 40, 3), 70, np.uint8), black_and_white).any()
    middle = atkinson.atkinson(np.full((64, 64, 3), 188, np.uint8), black_and_white)
    assert float(middle.mean()) == pytest.approx(0.5, abs=0.05)
