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
from render.panels import BW, BWRY, PANELS, Panel, panel

Bytes = npt.NDArray[np.uint8]


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Panel, Bytes]:
    """A panel of any size, rotation and depth with a picture for it."""
    bits = draw(st.integers(1, 2))
    kind = replace(
        panel("oepl-01"),
        width=draw(st.integers(8, 45)),
        height=draw(st.integers(8, 45)),
        rotate_buffer=draw(st.integers(0, 3)),
        bits=bits,
        palette=BW if bits == 1 else BWRY,
    )
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return kind, noise.integers(0, 1 << bits, (kind.height, kind.width), np.uint8)


@settings(deadline=None)
@given(pictures())
def test_packing_equals_its_reference_compiled_and_not(picture: tuple[Panel, Bytes]) -> None:
    kind, indices = picture
    expected = planes.pack_planes_reference(indices, kind.rotate_buffer, kind.bits)
    assert np.array_equal(planes.pack(kind, indices), expected)
    plain = np.zeros_like(expected)
    python_function(planes._pack_planes)(indices, kind.rotate_buffer, plain)
    assert np.array_equal(plain, expected)


@settings(deadline=None)
@given(pictures())
def test_unpacking_gives_the_picture_back_compiled_and_not(picture: tuple[Panel, Bytes]) -> None:
    kind, indices = picture
    packed = planes.pack(kind, indices)
    assert np.array_equal(planes.unpack(kind, packed), indices)
    assert np.array_equal(planes.unpack_planes_reference(packed, kind.rotate_buffer, kind.width, kind.height), indices)
    plain = np.empty_like(indices)
    python_function(planes._unpack_planes)(packed, kind.rotate_buffer, plain)
    assert np.array_equal(plain, indices)


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
    changed = np.argwhere(indices != kind.white)
    assert len(changed) == attempt.bit_count()
    assert all(y == kind.height - 1 and x >= kind.width - 32 for y, x in changed)


@pytest.mark.parametrize("attempt", [-1, 1 << 32])
def test_an_attempt_number_has_32_bits(attempt: int) -> None:
    with pytest.raises(ValueError):
        planes.stamp_attempt(panel("oepl-01"), np.zeros((128, 296), np.uint8), attempt)


def test_a_picture_of_another_panel_is_refused() -> None:
    kind = panel("oepl-01")
    with pytest.raises(PayloadError, match="expected 128x296"):
        planes.pack(kind, np.zeros((296, 128), np.uint8))
    with pytest.raises(PayloadError, match="index 3 of 3"):
        planes.pack(kind, np.full((128, 296), 3, np.uint8))
    with pytest.raises(PayloadError, match="shape"):
        planes.unpack(kind, np.zeros((1, 296, 16), np.uint8))
    with pytest.raises(PayloadError, match="colour 3"):
        planes.unpack(kind, np.full((2, 296, 16), 255, np.uint8))


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 3), st.integers(1, 4), st.integers(0, 2**32 - 1))
def test_packed_pixels_read_back(width: int, height: int, turns: int, bits: int, seed: int) -> None:
    indices = np.random.default_rng(seed).integers(0, 1 << bits, (height, width), np.uint8)
    data = planes.pack_pixels(indices, turns, bits)
    assert np.array_equal(planes.unpack_pixels(data, width, height, turns, bits), indices)
    with pytest.raises(PayloadError):
        planes.unpack_pixels(data + b"\0", width, height, turns, bits)
