from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render._jit import python_function
from render.codecs import planes
from render.errors import PayloadError
from render.panels import BW, BWR, BWRY, PANELS, Ink, Panel, panel
from render.panels.types import COLOURS_7, bits_for, greys

Bytes = npt.NDArray[np.uint8]
PALETTES: tuple[tuple[Ink, ...], ...] = (BW, BWR, BWRY, COLOURS_7, greys(16))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Panel, Bytes]:
    """A panel of any size, rotation and depth with a picture for it."""
    palette = draw(st.sampled_from(PALETTES))
    kind = replace(
        panel("oepl-01"),
        width=draw(st.integers(8, 45)),
        height=draw(st.integers(8, 45)),
        rotate_buffer=draw(st.integers(0, 3)),
        bits=bits_for(len(palette)),
        palette=palette,
    )
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return kind, noise.integers(0, len(palette), (kind.height, kind.width), np.uint8)


def unpacked_by_hand(kind: Panel, packed: Bytes) -> list[list[int]]:
    """The picture of planes, a pixel at a time."""
    rows = []
    for y in range(kind.height):
        row = []
        for x in range(kind.width):
            at_row, at_column = ((y, x), (kind.width - 1 - x, y), (kind.height - 1 - y, kind.width - 1 - x), (x, kind.height - 1 - y))[
                kind.rotate_buffer
            ]
            row.append(sum((int(packed[plane, at_row, at_column // 8]) >> (7 - at_column % 8) & 1) << plane for plane in range(kind.bits)))
        rows.append(row)
    return rows


@settings(deadline=None)
@given(pictures())
def test_packing_equals_its_reference_compiled_and_not(picture: tuple[Panel, Bytes]) -> None:
    kind, indices = picture
    expected = planes.pack_planes_reference(indices, kind.rotate_buffer, kind.bits)
    assert np.array_equal(planes.pack(kind, indices), expected)
    plain = np.full_like(expected, 0x55)
    with pytest.MonkeyPatch.context() as patch:
        for kernel in ("_pack_rows", "_pack_turned"):
            patch.setattr(planes, kernel, python_function(getattr(planes, kernel)))
        planes._pack_planes(indices, kind.rotate_buffer, plain)
    assert np.array_equal(plain, expected)


@settings(deadline=None)
@given(pictures())
def test_unpacking_gives_the_picture_back(picture: tuple[Panel, Bytes]) -> None:
    kind, indices = picture
    packed = planes.pack(kind, indices)
    assert np.array_equal(planes.unpack(kind, packed), indices)
    assert unpacked_by_hand(kind, packed) == indices.tolist()


@pytest.mark.parametrize("turns", range(4))
def test_a_picture_that_is_a_part_of_another_array_packs_as_itself(turns: int) -> None:
    kind = replace(panel("oepl-01"), width=40, height=24, rotate_buffer=turns)
    whole = np.random.default_rng(3).integers(0, 3, (60, 90), np.uint8)
    part = whole[5:53:2, 7:87:2]
    assert np.array_equal(planes.pack(kind, part), planes.pack_planes_reference(part, turns, 2))


@pytest.mark.parametrize("turns", range(4))
def test_a_picture_that_is_read_only_or_begins_anywhere_packs_as_itself(turns: int) -> None:
    kind = replace(panel("oepl-01"), width=40, height=24, rotate_buffer=turns)
    memory = np.random.default_rng(3).integers(0, 3, 40 * 24 + 8, np.uint8)
    for start in range(8):
        picture = memory[start : start + 960].reshape(24, 40)
        assert np.array_equal(planes.pack(kind, picture), planes.pack_planes_reference(picture, turns, 2))
    locked = np.frombuffer(memory[:960].tobytes(), np.uint8).reshape(24, 40)
    assert np.array_equal(planes.pack(kind, locked), planes.pack_planes_reference(locked, turns, 2))


def test_row_padding_is_zero() -> None:
    kind = replace(panel("oepl-21"), width=13, height=9, rotate_buffer=0)
    packed = planes.pack(kind, np.ones((9, 13), np.uint8))
    assert packed.shape == (1, 9, 2)
    assert (packed[0, :, 1] == 0b11111000).all()


def test_a_quarter_turn_is_counter_clockwise() -> None:
    kind = panel("oepl-01")
    indices = np.zeros((128, 296), np.uint8)
    indices[0, 295] = 1  # top right as seen: first pixel of the buffer
    indices[0, 0] = 2  # top left as seen: bottom left of the buffer
    packed = planes.pack(kind, indices)
    assert (packed[0, 0, 0], packed[1, 295, 0]) == (0x80, 0x80)
    assert packed.sum() == 0x100


@given(st.integers(0, planes.ATTEMPT_MAX), st.sampled_from(sorted(PANELS)))
def test_the_attempt_number_reads_back_from_its_pixels(attempt: int, name: str) -> None:
    kind = panel(name)
    indices = np.full((kind.height, kind.width), kind.white, np.uint8)
    planes.stamp_attempt(kind, indices, attempt)
    assert planes.read_attempt(indices, kind.black) == attempt
    strip = indices[-1, -32:].copy()
    indices[-1, -32:] = kind.white
    assert not (indices - kind.white).any()
    assert int((strip == kind.black).sum()) == attempt.bit_count()


@pytest.mark.parametrize("attempt", [-1, 1 << 32])
def test_an_attempt_number_has_32_bits(attempt: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        planes.stamp_attempt(panel("oepl-01"), np.zeros((128, 296), np.uint8), attempt)


def test_a_panel_narrower_than_an_attempt_number_cannot_carry_one() -> None:
    kind = replace(panel("oepl-21"), width=31, height=9, rotate_buffer=0)
    with pytest.raises(ValueError, match="no room"):
        planes.stamp_attempt(kind, np.zeros((9, 31), np.uint8), 1)


def test_a_picture_of_another_panel_is_refused() -> None:
    kind = panel("oepl-01")
    with pytest.raises(PayloadError, match="expected 128x296"):
        planes.pack(kind, np.zeros((296, 128), np.uint8))
    with pytest.raises(PayloadError, match="expected 128x296"):
        planes.pack(kind, np.zeros((128, 296), np.uint16))
    with pytest.raises(PayloadError, match="index 3 of 3"):
        planes.pack(kind, np.full((128, 296), 3, np.uint8))
    with pytest.raises(PayloadError, match="shape"):
        planes.unpack(kind, np.zeros((1, 296, 16), np.uint8))
    with pytest.raises(PayloadError, match="colour 3"):
        planes.unpack(kind, np.full((2, 296, 16), 255, np.uint8))
