from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import zxingcpp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from render.errors import FieldError
from render.symbols import datamatrix as dm
from render.symbols import gs1

PIECES = st.one_of(
    st.text("0123456789", min_size=1, max_size=14),
    st.text("ABCXYZ ", min_size=1, max_size=9),
    st.text("abcxyz", min_size=1, max_size=9),
    st.text("\x00\x1f!/:@[_`{~\x7f\x1d", min_size=1, max_size=3),
    st.sampled_from(["https://id.gs1.org/01/", "SHELF ", "kg"]),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=9).map("".join)


def read(modules: npt.NDArray[np.uint8]) -> zxingcpp.Barcode:
    picture = np.repeat(np.repeat((1 - np.pad(modules, dm.QUIET_MODULES)) * np.uint8(255), 4, axis=0), 4, axis=1)
    found = zxingcpp.read_barcodes(np.pad(picture, 4, constant_values=255))
    assert [code.format for code in found] == [zxingcpp.BarcodeFormat.DataMatrix]
    return found[0]


@settings(max_examples=80, deadline=None)
@given(TEXTS, st.booleans())
def test_every_symbol_reads_as_its_own_text(text: str, rectangular: bool) -> None:
    try:
        modules = dm.datamatrix(text, rectangular=rectangular)
    except FieldError:
        assert rectangular and len(text) > 40
    else:
        assert read(modules).bytes == text.encode()


@pytest.mark.parametrize("size", [*dm.SQUARES, *dm.RECTANGLES])
def test_each_size_is_filled_to_its_last_codeword_and_not_further(size: dm.Size) -> None:
    rectangular = size in dm.RECTANGLES
    digits = ("0123456789" * 41)[: 2 * size.data]
    modules = dm.datamatrix(digits, rectangular=rectangular)
    assert modules.shape == (size.height, size.width)
    assert read(modules).text == digits
    sizes = dm.RECTANGLES if rectangular else dm.SQUARES
    if size is sizes[-1]:
        with pytest.raises(FieldError, match="expected 1 to what"):
            dm.datamatrix(digits + "1", rectangular=rectangular)
    else:
        following = sizes[sizes.index(size) + 1]
        assert dm.datamatrix(digits + "1", rectangular=rectangular).shape == (following.height, following.width)


@pytest.mark.parametrize("size", [*dm.SQUARES, *dm.RECTANGLES])
def test_the_finder_pattern_surrounds_each_region_and_every_bit_has_one_place(size: dm.Size) -> None:
    places = dm._modules(size)
    light = 8 * (size.data + size.ecc)
    bits = places[places < light]
    assert sorted(bits.tolist()) == list(range(light))
    down, across = size.height // size.regions_down, size.width // size.regions_across
    for region in (
        places[top : top + down, left : left + across] for top in range(0, size.height, down) for left in range(0, size.width, across)
    ):
        assert (region[:, 0] == light + 1).all() and (region[-1] == light + 1).all()
        assert region[0].tolist() == [light + 1, light] * (across // 2)
        assert region[::-1, -1].tolist() == [light + 1, light] * (down // 2)


def test_the_standard_s_own_example_has_the_standard_s_codewords() -> None:  # ISO/IEC 16022, annex O
    found = dm.codewords("123456", False, dm.SQUARES)
    assert found is not None
    assert dm.with_correction(*found) == [142, 164, 186, 114, 25, 5, 88, 102]
    padded = dm.codewords("A", False, dm.SQUARES)
    assert padded == ([66, 129, 70], dm.SQUARES[0])  # annex B: the second pad codeword is randomised by its place


@settings(max_examples=30, deadline=None)
@given(st.text("0123456789ABab-/", min_size=1, max_size=20), st.text("0123456789AB", min_size=1, max_size=20))
@example("ABCDEFGHIJKLMNOPQRST", "UVWXYZABCDEFGHIJKLMN")  # C40 from lot to serial, FNC1 within
@example("abcdefghijklmnopqrst", "uvwxyzabcdefghijklmn")
def test_a_gs1_datamatrix_says_so(lot: str, serial: str) -> None:
    text = gs1.element_string([("01", "09506000134352"), ("10", lot), ("21", serial)])
    found = read(dm.datamatrix(text, gs1=True))
    assert found.bytes == text.encode()
    assert found.content_type == zxingcpp.ContentType.GS1
    assert found.symbology_identifier == "]d2"
    assert gs1.parse_element_string(found.symbology_identifier + found.bytes.decode())[1:] == (("10", lot), ("21", serial))
    assert read(dm.datamatrix(text)).content_type != zxingcpp.ContentType.GS1


@pytest.mark.parametrize(
    "text, plain, mixed",  # capitals and small letters take two thirds of a codeword each, digits half
    [("SHELF LABEL WITH A LONG NAME", 28, 20), ("shelf label with a long name", 28, 20), ("0123456789ABCDEFGHIJKLMNOPQ", 22, 22)],
)
def test_letters_in_a_row_take_fewer_codewords(text: str, plain: int, mixed: int) -> None:
    assert len(dm._ascii(text, False)) == plain
    assert min(len(row) for row, _ in dm._mixed(text, False)) <= mixed
    assert read(dm.datamatrix(text)).text == text


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.booleans())
def test_a_mix_is_never_larger_than_ascii_alone(text: str, is_gs1: bool) -> None:
    rows = list(dm._mixed(text, is_gs1))
    assert min(len(row) for row, latched in rows if not latched) <= len(dm._ascii(text, is_gs1))
    found = dm.codewords(text, is_gs1, dm.SQUARES)
    assert found is not None
    data, size = found
    assert len(data) == size.data <= next(room.data for room in dm.SQUARES if room.data >= len(dm._ascii(text, is_gs1)))


@pytest.mark.parametrize(
    "text, problem", [("", "0 characters"), ("ž", "ASCII"), ("€", "ASCII"), ("x" * 409, "409 characters"), ("{" * 300, "300")]
)
def test_what_no_symbol_carries_is_refused(text: str, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        dm.datamatrix(text)


def test_a_wrong_placement_does_not_read() -> None:
    modules = dm.datamatrix("https://id.gs1.org/01/09506000134352")
    modules[1:-1, 1:-1] = modules[1:-1, 1:-1].T.copy()
    picture = np.repeat(np.repeat((1 - np.pad(modules, 2)) * np.uint8(255), 4, axis=0), 4, axis=1)
    assert not [code for code in zxingcpp.read_barcodes(picture) if code.text]
