"""The fast Floyd-Steinberg: the lanes compute what its plain reference computes, on every kind of processor."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import llvmlite.binding
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render._jit import STALE, python_function
from render.dither import lanes
from render.dither._bands import WIDTH_MAX
from render.dither._lanes_ir import light_of
from render.dither.light import LIGHT_MAX, LINEAR
from render.panels.types import Rgb
from tests.render import dither_check
from tests.render.dither_check import PALETTES

Bytes = npt.NDArray[np.uint8]
COLOUR = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
CORNERS = tuple((red, green, blue) for red in (255, 0) for green in (0, 255) for blue in (0, 255))


def shown(rgb: Bytes, inks: tuple[Rgb, ...]) -> Bytes:
    return lanes.diffuse_packed(rgb, inks, range(len(inks)), 8)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.integers(1, 40), st.lists(COLOUR, min_size=2, max_size=7), st.integers(0, 2**32 - 1))
def test_the_lanes_equal_the_reference(height: int, width: int, inks: list[Rgb], seed: int) -> None:
    rgb = dither_check.picture(height, width, seed)
    assert np.array_equal(shown(rgb, tuple(inks)), lanes.diffuse_reference(rgb, inks))


@pytest.mark.parametrize("height, width", [(31, 8), (32, 16), (33, 17), (64, 1), (65, 2), (97, 5), (1, 800)])
def test_bands_meet_without_a_seam(height: int, width: int) -> None:
    rgb = dither_check.picture(height, width, 1)
    assert np.array_equal(shown(rgb, PALETTES[3]), lanes.diffuse_reference(rgb, PALETTES[3]))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 36), st.integers(1, 36), st.sampled_from((2, 4, 8)), st.integers(0, 2**32 - 1))
def test_codes_are_packed_as_asked(height: int, width: int, bits: int, seed: int) -> None:
    rgb = dither_check.picture(height, width, seed)
    codes = (3, 0, 2, 1)
    wanted = np.array(codes, np.uint8)[lanes.diffuse_reference(rgb, PALETTES[4])]
    packed = lanes.diffuse_packed(rgb, PALETTES[4], codes, bits)
    single = np.unpackbits(packed, axis=1).reshape(height, -1, bits)
    values = np.packbits(single, axis=2)[..., 0] >> (8 - bits)
    assert np.array_equal(values[:, :width], wanted)
    assert not values[:, width:].any()
    planes = lanes.diffuse_planes(rgb, PALETTES[4], codes, 2)
    assert np.array_equal(planes, [np.packbits(wanted >> plane & 1, axis=1) for plane in range(2)])


@pytest.mark.parametrize("height, width, bits", [(1, 1, 1), (5, 3, 8), (34, 10, 1), (3, 20, 4)])
def test_the_kernel_equals_the_reference_uncompiled(height: int, width: int, bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dither_check.uncompile(monkeypatch)
    rgb = dither_check.picture(height, width, 5)
    wanted = lanes.diffuse_reference(rgb, PALETTES[4])
    if bits == 1:
        assert np.array_equal(lanes.diffuse_planes(rgb, PALETTES[4], range(4), 2), [np.packbits(wanted >> p & 1, axis=1) for p in range(2)])
    else:
        packed = lanes.diffuse_packed(rgb, PALETTES[4], range(4), bits)
        assert np.array_equal(packed if bits == 8 else np.stack([packed >> 4, packed & 15], axis=2).reshape(height, -1), wanted)


@pytest.mark.parametrize("first", range(8))
def test_no_sum_overflows_at_the_corners_of_the_colours(first: int) -> None:
    inks = CORNERS[first:] + CORNERS[:first]
    rgb = np.array(CORNERS, np.uint8)[np.random.default_rng(first).integers(0, 8, (40, 40))]
    rgb[:20, :20] = CORNERS[first]
    assert np.array_equal(shown(rgb, inks[:7]), lanes.diffuse_reference(rgb, inks[:7]))
    assert np.array_equal(shown(rgb, (inks[0], inks[7])), lanes.diffuse_reference(rgb, (inks[0], inks[7])))


def test_the_widest_picture_is_like_others() -> None:
    rgb = dither_check.picture(1, WIDTH_MAX, 3)
    assert np.array_equal(shown(rgb, PALETTES[3]), lanes.diffuse_reference(rgb, PALETTES[3]))


@pytest.mark.parametrize("inks", [PALETTES[count] for count in (2, 3, 4, 7)])
def test_a_picture_in_panel_colours_is_unchanged(inks: tuple[Rgb, ...]) -> None:
    wanted = np.random.default_rng(7).integers(0, len(inks), (50, 50))
    assert np.array_equal(shown(np.array(inks, np.uint8)[wanted], inks), wanted)


@pytest.mark.parametrize("grey", [0, 40, 90, 128, 188, 230, 255])
def test_a_grey_area_reflects_as_much_light_as_it_should(grey: int) -> None:
    white = shown(np.full((64, 64, 3), grey, np.uint8), ((0, 0, 0), (255, 255, 255)))
    assert float(white.mean()) == pytest.approx(LINEAR[grey] / LIGHT_MAX, abs=0.02)


def test_a_colour_that_no_ink_shows_does_not_smear() -> None:
    picture = np.full((40, 80, 3), 255, np.uint8)
    picture[:, :40] = (0, 0, 255)
    assert (shown(picture, PALETTES[3])[:, 60:] == 0).all()


def test_light_is_nearly_that_of_srgb() -> None:
    light = light_of(np.arange(256).astype(np.uint8)).astype(np.int64)
    assert (np.diff(light) > 0).all()
    share, true = (light - light[0]) / (light[-1] - light[0]), LINEAR / LIGHT_MAX
    assert np.abs(share - true).max() < 0.0015
    assert np.abs(lightness(share) - lightness(true)).max() < 0.31


def lightness(share: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(share > 216 / 24389, 116 * np.cbrt(share) - 16, 24389 / 27 * share)


def test_an_old_processor_gives_the_same_pixels() -> None:
    """SSE2 and three inks here; `python -m bench.render_dither check` does AVX-512, AVX2 and SSE4 too, for all palettes."""
    if not llvmlite.binding.get_host_cpu_features().get("sse2"):
        pytest.skip("no x86-64")
    target = {"NUMBA_CPU_NAME": "x86-64", "NUMBA_CPU_FEATURES": "", "NUMBA_DISABLE_JIT": "0", "PYTHONPATH": str(Path.cwd())}
    program = [sys.executable, dither_check.__file__, "3"]
    done = subprocess.run(program, env={**os.environ, **target}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("x86-64")


def test_the_comparison_finds_a_wrong_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    inks = PALETTES[3]
    spoiled = lanes._ink_table(inks, tuple(range(3))).copy()
    spoiled.reshape(-1, 8, 32)[1, 4:7, 9] += 3000  # one lane sees black elsewhere
    monkeypatch.setattr(lanes, "_ink_table", lambda inks, codes: spoiled)
    with pytest.raises(AssertionError):
        dither_check.compare(33, 17, inks)


def test_machine_code_of_other_sources_refuses_to_work() -> None:
    nothing, octets = np.zeros(0, np.int16), np.zeros(0, np.uint8)
    kernel = python_function(lanes._diffuse_bands)
    scratch = (nothing, nothing, octets, octets, nothing, nothing, octets, octets)
    assert kernel(0, octets, 1, 1, nothing, (0, 0, 0), 1, 1, *scratch) == STALE
