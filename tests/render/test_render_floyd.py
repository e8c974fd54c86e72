from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render._jit import python_function
from render.dither import floyd
from render.dither.light import LIGHT_MAX, LINEAR
from render.panels.types import BW, BWR, BWRY, Rgb

PALETTES = [tuple(ink.rgb for ink in palette) for palette in (BW, BWR, BWRY)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(PALETTES), st.integers(0, 2**32 - 1))
def test_the_kernel_equals_its_reference_compiled_and_not(width: int, height: int, palette: tuple[Rgb, ...], seed: int) -> None:
    rgb = np.random.default_rng(seed).integers(0, 256, (height, width, 3)).astype(np.uint8)
    expected = floyd.floyd_steinberg_reference(rgb, palette)
    assert np.array_equal(floyd.floyd_steinberg(rgb, palette), expected)
    plain = np.empty_like(expected)
    python_function(floyd._floyd_steinberg)(LINEAR[rgb], LINEAR[np.array(palette, np.uint8)], plain)
    assert np.array_equal(plain, expected)


@pytest.mark.parametrize("grey", [0, 40, 90, 128, 188, 230, 255])
def test_a_grey_area_reflects_as_much_light_as_it_should(grey: int) -> None:
    shown = floyd.floyd_steinberg(np.full((64, 64, 3), grey, np.uint8), PALETTES[0])
    light = float((shown == 0).mean())
    assert light == pytest.approx(LINEAR[grey] / LIGHT_MAX, abs=0.02)


@pytest.mark.parametrize("palette", PALETTES)
def test_a_picture_in_panel_colours_is_unchanged(palette: tuple[Rgb, ...]) -> None:
    wanted = np.random.default_rng(7).integers(0, len(palette), (30, 30))
    assert np.array_equal(floyd.floyd_steinberg(np.array(palette, np.uint8)[wanted], palette), wanted)


def test_a_colour_that_no_ink_shows_does_not_smear() -> None:
    picture = np.full((40, 80, 3), 255, np.uint8)
    picture[:, :40] = (0, 0, 255)  # no ink of this panel is blue
    shown = floyd.floyd_steinberg(picture, PALETTES[1])
    assert (shown[:, 60:] == 0).all()
