from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render import glyphs, text
from render.errors import MissingGlyph
from render.panels import Box
from render.templates import Align, Style, Vertical

LETTERS = string.ascii_letters + string.digits + "äöüßéżłĐğİČœñ -/&.,%ΩλЖщ"
STYLE = Style("bold", 28, 16, "black", Align.LEFT, Vertical.TOP)


@settings(deadline=None, max_examples=100)
@given(st.text(LETTERS, min_size=1, max_size=120).filter(str.strip), st.integers(60, 290), st.integers(1, 3))
def test_fitted_text_keeps_its_lines_and_its_box(value: str, width: int, lines_max: int) -> None:
    box = Box(3, 5, width, 70)
    size, lines = text.fit(" ".join(value.split()), STYLE, box, lines_max)
    assert STYLE.size_min <= size <= STYLE.size_max
    assert 1 <= len(lines) <= lines_max
    for line in lines:
        left, top, right, bottom = glyphs.ink_box("bold", size, line.text)
        assert Box(line.x + left, line.baseline + top, right - left, bottom - top).inside(box)


@settings(deadline=None)
@given(st.text(LETTERS, max_size=80), st.integers(40, 200))
def test_wrapping_loses_only_spaces(value: str, width: int) -> None:
    assert "".join(text.wrap(value, "bold", 20, width)).replace(" ", "") == value.replace(" ", "")


def test_the_largest_size_that_fits_is_taken() -> None:
    size, lines = text.fit("Milk", STYLE, Box(0, 0, 200, 50), 2)
    assert (size, len(lines)) == (28, 1)
    size, lines = text.fit("Roasted & Salted Cashew Nuts Family Pack", STYLE, Box(0, 0, 244, 50), 2)
    assert 16 < size < 28
    assert len(lines) == 2


def test_too_long_a_text_ends_in_an_ellipsis() -> None:
    size, lines = text.fit("Extra lange Bezeichnung eines Käse-Schinken-Baguettes mit Kräuterbutter", STYLE, Box(0, 0, 200, 50), 2)
    assert size == 16
    assert lines[-1].text.endswith("…")
    assert "Extra lange Bezeichnung eines Käse-Schinken-Baguettes".startswith(lines[0].text)


def test_a_word_wider_than_its_box_is_cut() -> None:
    _, lines = text.fit("Donaudampfschifffahrtsgesellschaft", STYLE, Box(0, 0, 80, 30), 1)
    assert [line.text for line in lines] == ["Donauda…"]


def test_lines_break_after_hyphens_and_slashes() -> None:
    assert text.wrap("aaaa-bbbb/cccc", "bold", 20, glyphs.width("bold", 20, "aaaa-bbbb/")) == ["aaaa-bbbb/", "cccc"]


def test_a_width_is_the_sum_of_mono_advances() -> None:
    for size in (11, 16, 22, 66):
        value = "AVATAR To Wa 1,99 €"
        assert glyphs.width("bold", size, value) == glyphs.font("bold", size).getlength(value, mode="1")


def test_the_fonts_cover_the_languages_of_the_stores() -> None:
    alphabets = {
        "Albanian": "çëÇË",
        "Polish": "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ",
        "Finnish": "äöåÄÖÅšž",
        "Greek": "αβγδεζηθικλμνξοπρσςτυφχψωάέήίόύώϊϋΐΰΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩ",
        "Bulgarian": "абвгдежзийклмнопрстуфхцчшщъьюяАБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЬЮЯ",
        "Latin Extended-A": "".join(chr(code) for code in range(0x100, 0x180)),
        "signs": "€$£¥…·–’„“×%\u00a0",
    }
    for font in glyphs.FONT_FILES:
        for alphabet in alphabets.values():
            glyphs.check(font, alphabet, "any")


@pytest.mark.parametrize("character", ["中", "ا", "😀", "\u0e01"])
def test_a_missing_glyph_is_an_error_that_names_item_and_character(character: str) -> None:
    with pytest.raises(MissingGlyph) as caught:
        glyphs.check("bold", f"Tee {character}", "Tee (123)")
    assert (caught.value.item, caught.value.character) == ("Tee (123)", character)
    assert f"U+{ord(character):04X}" in str(caught.value)
