from __future__ import annotations

import numpy as np
import pytest

from bench.dither_pictures import colour_error, pictures
from render.dither import light
from render.dither.api import Method, dither, dither_packed, dither_planes
from render.errors import PayloadError, SetupError
from render.panels.types import BWR, BWRY, Rgb
from tests.render.dither_check import PALETTES, picture

NOMINAL: dict[str, tuple[Rgb, ...]] = {
    "BWR": tuple(ink.rgb for ink in BWR),
    "BWRY": tuple(ink.rgb for ink in BWRY),
    "7C": ((0, 0, 0), (255, 255, 255), (0, 255, 0), (0, 0, 255), (255, 0, 0), (255, 255, 0), (255, 128, 0)),
}


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("planes", [1, 2, 3, 4])
def test_planes_hold_the_codes_of_what_dither_chooses(method: Method, planes: int) -> None:
    rgb, inks = picture(9, 21, 1), PALETTES[2 if planes == 1 else 3]
    codes = [(1, 0), (0, 3, 2), (5, 0, 7), (9, 15, 2)][planes - 1]
    chosen = np.array(codes, np.uint8)[dither(rgb, inks, method)]
    made = dither_planes(rgb, inks, codes, planes, method)
    assert made.shape == (planes, 9, 3) and made.dtype == np.uint8
    assert np.array_equal(made, [np.packbits(chosen >> plane & 1, axis=1) for plane in range(planes)])


@pytest.mark.parametrize("method", Method)
@pytest.mark.parametrize("bits, count", [(2, 4), (4, 7)])
def test_packed_pixels_hold_the_codes_of_what_dither_chooses(method: Method, bits: int, count: int) -> None:
    rgb, inks = picture(9, 21, 1), PALETTES[count]
    codes = list(range(count))[::-1]
    made = dither_packed(rgb, inks, codes, bits, method)
    assert made.shape == (9, (21 * bits + 7) // 8) and made.dtype == np.uint8
    values = np.packbits(np.unpackbits(made, axis=1).reshape(9, -1, bits), axis=2)[..., 0] >> (8 - bits)
    assert np.array_equal(values[:, :21], np.array(codes, np.uint8)[dither(rgb, inks, method)])
    assert not values[:, 21:].any()


@pytest.mark.parametrize("method", [Method.FLOYD_STEINBERG, Method.FLOYD_STEINBERG_SERPENTINE, Method.ATKINSON])
def test_sixteen_greys_keep_a_picture_of_their_own(method: Method) -> None:
    wanted = np.random.default_rng(7).integers(0, 16, (40, 40))
    assert np.array_equal(dither(np.array(PALETTES[16], np.uint8)[wanted], PALETTES[16], method), wanted)


@pytest.mark.parametrize("method", Method)
def test_views_and_read_only_pictures_are_taken(method: Method) -> None:
    rgb = picture(20, 24, 2)
    view = np.repeat(rgb, 2, axis=1)[:, ::2]
    view.flags.writeable = False
    assert np.array_equal(dither(view, PALETTES[3], method), dither(rgb, PALETTES[3], method))


@pytest.mark.parametrize("shape, kind", [((4, 4), "u1"), ((4, 4, 4), "u1"), ((4, 4, 3), "f8"), ((0, 4, 3), "u1"), ((1, 16385, 3), "u1")])
def test_what_is_no_picture_is_refused(shape: tuple[int, ...], kind: str) -> None:
    with pytest.raises(PayloadError, match="expected a uint8 picture"):
        dither(np.zeros(shape, kind), PALETTES[3])


@pytest.mark.parametrize("inks", [((0, 0, 0),), ((0, 0, 0),) * 17, ((0, 0, 0), (256, 0, 0)), ((0, 0, 0), (-1, 0, 0))])
def test_inks_that_no_panel_has_are_refused(inks: tuple[Rgb, ...]) -> None:
    with pytest.raises(SetupError, match="expected"):
        dither(np.zeros((4, 4, 3), np.uint8), inks)


@pytest.mark.parametrize("codes, planes", [((0, 1), 2), ((0, 1, 4), 2), ((0, 1, -1), 2), ((0, 1, 2), 0), ((0, 1, 2), 5)])
def test_codes_that_do_not_fit_are_refused(codes: tuple[int, ...], planes: int) -> None:
    with pytest.raises(SetupError, match="expected"):
        dither_planes(np.zeros((4, 4, 3), np.uint8), PALETTES[3], codes, planes)
    with pytest.raises(SetupError, match="expected"):
        dither_packed(np.zeros((4, 4, 3), np.uint8), PALETTES[3], codes, planes)


@pytest.mark.parametrize("name, worse", [("BWR", 1.02), ("BWRY", 1.02), ("7C", 1.10)])
def test_the_fast_way_looks_as_good_as_the_serpentine_one(name: str, worse: float) -> None:
    inks = NOMINAL[name]
    error = {method: mean_error(inks, method) for method in (Method.FLOYD_STEINBERG, Method.FLOYD_STEINBERG_SERPENTINE)}
    assert error[Method.FLOYD_STEINBERG] < worse * error[Method.FLOYD_STEINBERG_SERPENTINE]


@pytest.mark.parametrize("method", [Method.BAYER, Method.BLUE_NOISE])
@pytest.mark.parametrize("name", NOMINAL)
def test_ordered_is_little_worse_than_diffused(name: str, method: Method) -> None:
    assert mean_error(NOMINAL[name], method) < 1.5 * mean_error(NOMINAL[name], Method.FLOYD_STEINBERG)


def test_the_error_finds_a_picture_that_is_too_light() -> None:
    """Diffusing sRGB values as if they were light is the usual mistake."""
    rgb = PICTURES[0]
    encoded = light.decoded(np.arange(256) / 255)
    wrong = np.searchsorted(encoded, rgb / 255).clip(0, 255).astype(np.uint8)  # decodes to its own sRGB value
    inks = NOMINAL["BWR"]
    right, light_one = (colour_error(rgb, np.array(inks, np.uint8)[dither(seen, inks)]) for seen in (rgb, wrong))
    assert light_one > 1.4 * right


def mean_error(inks: tuple[Rgb, ...], method: Method) -> float:
    return float(np.mean([colour_error(rgb, np.array(inks, np.uint8)[dither(rgb, inks, method)]) for rgb in PICTURES]))


PICTURES = list(pictures(200, 120).values())


def test_adapted_inks_have_white_paper_and_black_ink() -> None:
    assert light.adapted(((200, 200, 200), (5, 5, 5), (120, 15, 5))) == ((255, 255, 255), (0, 0, 0), (154, 17, 0))
    assert light.adapted(NOMINAL["BWRY"]) == NOMINAL["BWRY"]
    assert light.adapted(((9, 9, 9), (9, 9, 9))) == ((0, 0, 0), (0, 0, 0))
