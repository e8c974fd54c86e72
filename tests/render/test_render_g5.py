from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render._jit import python_function
from render.codecs import g5
from render.errors import PayloadError

Bytes = npt.NDArray[np.uint8]
PLENTY = 100_000


@st.composite
def bit_pictures(draw: st.DrawFn) -> tuple[Bytes, int]:
    """Packed rows and their width: noise of any density, or rows that repeat with small shifts, as letters do."""
    width, height = draw(st.integers(1, 70)), draw(st.integers(1, 12))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    bits = (noise.random((height, width)) < draw(st.floats(0, 1))).astype(np.uint8)
    if draw(st.booleans()):
        bits = np.stack([np.roll(bits[0], int(shift)) for shift in noise.integers(-4, 5, height)])
    if draw(st.booleans()):
        bits = np.repeat(bits, noise.integers(0, 4, height), axis=0)
    return np.packbits(bits, axis=1), width


@settings(deadline=None, max_examples=200)
@given(bit_pictures())
def test_the_encoder_equals_its_reference_compiled_and_not(picture: tuple[Bytes, int]) -> None:
    rows, width = picture
    expected = g5.encode_reference(rows, width)
    assert g5.encode(rows, width, PLENTY) == expected
    out = np.empty(PLENTY, np.uint8)
    places = np.empty((2, width + 12), np.int64)
    size = python_function(g5._encode)(rows, width, width.bit_length(), PLENTY // 2, places[0], places[1], out)
    assert out[:size].tobytes() == expected


@settings(deadline=None, max_examples=200)
@given(bit_pictures())
def test_decoding_gives_the_picture_back(picture: tuple[Bytes, int]) -> None:
    rows, width = picture
    assert np.array_equal(g5.decode(g5.encode_reference(rows, width), width, len(rows)), rows)


# worked by hand from the description: codes, then zero bits to the end of the last byte, and a whole zero byte when none were needed
@pytest.mark.parametrize(
    ("rows", "width", "bits"),
    [
        ([[0xFF]], 8, "1"),  # no change, as above: vertical 0 at the end of the row
        ([[0xFF]] * 8, 8, "11111111 00000000"),
        ([[0x00]], 8, "001 01 000 1000"),  # white from column 0: runs of 0 and 8, the second in 4 bits
        ([[0x00], [0x00]], 8, "001 01 000 1000 1 1"),  # below it the changes stand where they stood
        ([[0xF0], [0xFF]], 8, "001 00 100 100 001 10 1000 000"),  # no change, four right of the one above
        ([[0xC3], [0xFF]], 8, "001 00 010 100 1 0001 1"),  # both changes above are passed over
        ([[0xF0], [0xF8]], 8, "001 00 100 100 011 1"),  # one to the right
        ([[0xF0], [0xE0]], 8, "001 00 100 100 010 1"),  # one to the left
        ([[0xF0], [0xFE]], 8, "001 00 100 100 0000011 1"),  # three to the right
        ([[0xF0], [0x80]], 8, "001 00 100 100 0000010 1"),  # three to the left
    ],
)
def test_worked_rows(rows: list[list[int]], width: int, bits: str) -> None:
    text = bits.replace(" ", "")
    text = text.ljust(-(-len(text) // 8) * 8, "0")
    expected = bytes(int(text[start : start + 8], 2) for start in range(0, len(text), 8))
    picture = np.array(rows, np.uint8)
    assert g5.encode(picture, width, PLENTY) == expected
    assert g5.encode_reference(picture, width) == expected


@settings(deadline=None)
@given(bit_pictures(), st.integers(-3, 3))
def test_a_stream_longer_than_allowed_is_refused(picture: tuple[Bytes, int], spare: int) -> None:
    rows, width = picture
    expected = g5.encode_reference(rows, width)
    size_max = max(0, len(expected) + spare)
    assert g5.encode(rows, width, size_max) == (expected if len(expected) <= size_max else None)


def test_equal_rows_of_many_changes() -> None:
    rows = np.tile(np.random.default_rng(6).integers(0, 256, 25, np.uint8), (40, 1))
    assert g5.encode(rows, 197, PLENTY) == g5.encode_reference(rows, 197)


@pytest.mark.parametrize("width", [0, 7, 17, 8192])
def test_rows_of_another_width_are_refused(width: int) -> None:
    with pytest.raises(ValueError, match=f"width {width}"):
        g5.encode(np.zeros((2, 2), np.uint8), width, PLENTY)


def test_a_stream_that_does_not_pay_is_refused() -> None:
    rows = np.random.default_rng(3).integers(0, 256, (100, 16), np.uint8)
    size = len(g5.encode_reference(rows, 128))
    assert size > rows.size
    assert g5.encode(rows, 128, rows.size) is None
    assert g5.encode(rows, 128, size - 1) is None
    assert g5.encode(rows, 128, size) is not None


def test_a_row_too_busy_for_the_label_is_refused() -> None:
    striped = np.full((1, 90), 0b01010101, np.uint8)  # 720 changes
    assert g5.encode(striped, 720, PLENTY) is None
    calm = np.full((1, 90), 0b00110011, np.uint8)  # 360 changes, 1,980 bits
    assert g5.encode(calm, 720, PLENTY) is not None
    below_636_but_long = np.full((1, 78), 0b01010101, np.uint8)  # 624 changes in 3,432 bits
    assert g5.encode(below_636_but_long, 624, PLENTY) is None


@settings(deadline=None)
@given(bit_pictures(), st.data())
def test_damaged_streams_give_a_picture_or_a_payload_error(picture: tuple[Bytes, int], data: st.DataObject) -> None:
    rows, width = picture
    stream = bytearray(g5.encode_reference(rows, width))
    place = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[place // 8] ^= 1 << place % 8
    try:
        decoded = g5.decode(bytes(stream), width, len(rows))
    except PayloadError:
        return
    assert decoded.shape == rows.shape


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff" * 9, b"\x80\x00"])
def test_what_is_no_whole_picture_is_refused(data: bytes) -> None:
    with pytest.raises(PayloadError):
        g5.decode(data, 8, 8)
