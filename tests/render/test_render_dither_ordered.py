"""Ordered dithering: plans, matrices, and the kernels that pick from them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.dither import matrices, ordered, plans
from render.dither.light import LIGHT_MAX, LINEAR
from render.dither.matrices import LEVELS, SIZE, Matrix
from render.panels.types import Rgb
from tests.render import dither_check
from tests.render.dither_check import PALETTES

MATRICES = [matrices.bayer(), matrices.blue_noise()]
COLOUR = st.tuples(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255))
both = pytest.mark.parametrize("matrix", MATRICES, ids=["bayer", "blue noise"])


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 70), st.integers(1, 40), st.sampled_from(MATRICES), st.sampled_from((3, 4)), st.integers(0, 2**32 - 1))
def test_picks_from_plans_equal_the_reference(height: int, width: int, matrix: Matrix, count: int, seed: int) -> None:
    rgb, inks = dither_check.picture(height, width, seed), PALETTES[count]
    expected = ordered.ordered_reference(rgb, inks, matrix)
    assert np.array_equal(ordered.ordered_packed(rgb, inks, range(count), 8, matrix), expected)
    planes = ordered.ordered_planes(rgb, inks, range(count), 2, matrix)
    assert np.array_equal(planes, [np.packbits(expected >> plane & 1, axis=1) for plane in range(2)])


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 70), st.sampled_from(MATRICES), COLOUR, COLOUR, st.integers(0, 2**32 - 1))
def test_thresholds_between_two_inks_equal_the_reference(
    height: int, width: int, matrix: Matrix, first: Rgb, second: Rgb, seed: int
) -> None:
    rgb, inks = dither_check.picture(height, width, seed), (first, second)
    expected = ordered.ordered_reference(rgb, inks, matrix)
    assert np.array_equal(ordered.ordered_packed(rgb, inks, range(2), 8, matrix), expected)
    assert np.array_equal(ordered.ordered_planes(rgb, inks, range(2), 1, matrix)[0], np.packbits(expected, axis=1))


@pytest.mark.parametrize("count", [2, 3])
def test_the_kernels_equal_the_reference_uncompiled(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dither_check.uncompile(monkeypatch)
    rgb, inks = dither_check.picture(34, 11, 2), PALETTES[count]
    packed = ordered.ordered_packed(rgb, inks, range(count), 8, matrices.bayer())
    assert np.array_equal(packed, ordered.ordered_reference(rgb, inks, matrices.bayer()))


def test_the_comparison_finds_a_wrong_plan(monkeypatch: pytest.MonkeyPatch) -> None:
    spoiled = ordered._coded_plans(PALETTES[3], (0, 1, 2)) ^ 1
    monkeypatch.setattr(ordered, "_coded_plans", lambda inks, codes: spoiled)
    with pytest.raises(AssertionError):
        dither_check.compare(5, 3, PALETTES[3])


@settings(deadline=None, max_examples=15)
@given(st.lists(COLOUR, min_size=2, max_size=8, unique=True), st.lists(COLOUR, min_size=1, max_size=4))
def test_plans_equal_their_reference(inks: list[Rgb], colours: list[Rgb]) -> None:
    lights = [tuple(int(LINEAR[value]) for value in colour) for colour in colours]
    made = plans.plans_for(np.array(lights), tuple(inks))
    for light, plan in zip(lights, made.tolist(), strict=True):
        assert plan == plans.plan_reference((light[0], light[1], light[2]), tuple(inks))


def test_a_plan_goes_from_dark_to_light() -> None:
    table = plans.plans(PALETTES[4]).reshape(-1, LEVELS)
    light, _ = plans.ink_light(PALETTES[4])
    brightness = (light @ plans.TRISTIMULUS[1])[table]
    assert (np.diff(brightness, axis=1) >= 0).all()


def test_a_plan_has_the_light_of_its_colour_where_inks_can_mix_it() -> None:
    inks = PALETTES[4]
    light, _ = plans.ink_light(inks)
    shares = np.random.default_rng(0).dirichlet(np.ones(len(inks)), 200)
    wanted = np.rint(shares @ light).astype(np.int64)
    got = light[plans.plans_for(wanted, inks)].mean(axis=1)
    assert np.abs(got - wanted).max() < 0.04 * LIGHT_MAX
    assert np.abs(got - wanted).mean() < 0.008 * LIGHT_MAX


@both
@pytest.mark.parametrize("count", [2, 3, 4, 7])
def test_a_picture_in_panel_colours_is_unchanged(matrix: Matrix, count: int) -> None:
    inks = PALETTES[count]
    wanted = np.random.default_rng(7).integers(0, count, (70, 70))
    assert np.array_equal(ordered.ordered_packed(np.array(inks, np.uint8)[wanted], inks, range(count), 8, matrix), wanted)


@both
@pytest.mark.parametrize("grey", [0, 40, 90, 128, 188, 230, 255])
@pytest.mark.parametrize("inks", [((0, 0, 0), (255, 255, 255)), ((0, 0, 0), (255, 255, 255), (255, 0, 0))])
def test_a_grey_area_reflects_as_much_light_as_it_should(matrix: Matrix, grey: int, inks: tuple[Rgb, ...]) -> None:
    shown = ordered.ordered_packed(np.full((64, 64, 3), grey, np.uint8), inks, range(len(inks)), 8, matrix)
    assert float((shown == 1).mean()) == pytest.approx(LINEAR[grey] / LIGHT_MAX, abs=0.02)


@both
def test_a_change_changes_nothing_elsewhere(matrix: Matrix) -> None:
    rgb = dither_check.picture(50, 60, 4)
    changed = rgb.copy()
    changed[20:30, 20:30] = 255 - changed[20:30, 20:30]
    before, after = (ordered.ordered_packed(picture, PALETTES[4], range(4), 8, matrix) for picture in (rgb, changed))
    different = np.argwhere(before != after)
    assert len(different)
    assert different.min() >= 20 and different.max() < 30


def test_two_inks_of_one_colour_are_the_first() -> None:
    rgb = dither_check.picture(20, 20, 6)
    assert not ordered.ordered_packed(rgb, ((90, 90, 90), (90, 90, 90)), range(2), 8, matrices.blue_noise()).any()


def test_bayer_has_every_rank_in_each_cell() -> None:
    ranks = matrices.bayer().ranks
    for y in range(0, SIZE, 8):
        assert sorted(ranks[y : y + 8, 8:16].flat) == list(range(64))
    assert ranks[0, :4].tolist() == [0, 32, 8, 40]


def test_blue_noise_is_what_its_recipe_makes() -> None:
    ranks = matrices.blue_noise_ranks()
    assert np.array_equal(ranks, matrices.blue_noise().ranks)
    assert np.array_equal(np.sort(ranks, axis=None), np.arange(SIZE * SIZE))


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.75, 0.9])
def test_blue_noise_has_no_low_frequencies(share: float) -> None:
    """A shade's dots, edges meeting: waves three times as long as the dots are apart have next to no power."""
    assert low_power(matrices.blue_noise().ranks, share) < 0.12


def test_the_measure_of_low_frequencies_finds_white_noise() -> None:
    assert low_power(np.random.default_rng(0).permutation(SIZE * SIZE).reshape(SIZE, SIZE), 0.5) > 0.5


def low_power(ranks: matrices.Ranks, share: float) -> float:
    """Mean power at low frequencies, in parts of the mean power at all."""
    power = np.abs(np.fft.fft2((ranks < share * ranks.size) - share)) ** 2
    frequency = np.hypot(np.fft.fftfreq(SIZE)[:, None], np.fft.fftfreq(SIZE))
    low = (frequency > 0) & (frequency < 0.35 * np.sqrt(min(share, 1 - share)))
    return float(power[low].mean() / power[frequency > 0].mean())
