from __future__ import annotations

import string
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render import glyphs, script, text
from render.errors import MissingGlyph
from render.panels import Box
from render.template_elements import Align, Style, Vertical

LETTERS = string.ascii_letters + string.digits + "äöüßéżłĐğİČœñ -/&.,%ΩλЖщ"
STYLE = Style("bold", 28, 16, "black", Align.LEFT, Vertical.TOP)


def wrapped(value: str, width: int) -> list[str]:
    return text._Fitter(value, STYLE, Box(0, 0, width, 100), right_to_left=False).wrap(value, 20, 999)


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
    assert "".join(wrapped(value, width)).replace(" ", "") == value.replace(" ", "")


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
    assert wrapped("aaaa-bbbb/cccc", glyphs.width("bold", 20, "aaaa-bbbb/")) == ["aaaa-bbbb/", "cccc"]


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
        "Hebrew": "אבגדהוזחטיכלמנסעפצקרשתךםןףץ׳״־",
        "Arabic": "ءآأؤإئابةتثجحخدذرزسشصضطظعغفقكلمنهويىپچژکگی،؛؟",
        "signs": "€$£¥₪…·–’„“×%\u00a0",
    }
    for font in ("regular", "bold"):
        for alphabet in alphabets.values():
            glyphs.check(font, alphabet, "any")


@pytest.mark.parametrize("character", ["中", "\u07d0", "😀", "\u0e01"])
def test_a_missing_glyph_is_an_error_that_names_item_and_character(character: str) -> None:
    with pytest.raises(MissingGlyph) as caught:
        glyphs.check("bold", f"Tee {character}", "Tee (123)")
    assert (caught.value.item, caught.value.character) == ("Tee (123)", character)
    assert f"U+{ord(character):04X}" in str(caught.value)


# -- right to left -----------------------------------------------------------------------------------------------------------

MIXED = "אבגדהשלםןץ" + "شوكلاتةبحلينأ" + "abcXYZ" + "0123456789 -/.,%()…₪"


@settings(deadline=None, max_examples=100)
@given(
    st.text(MIXED, min_size=1, max_size=80).filter(str.strip),
    st.integers(60, 290),
    st.integers(1, 3),
    st.sampled_from(list(Align)),
    st.booleans(),
)
def test_right_to_left_text_keeps_its_lines_its_box_and_its_letters(
    value: str, width: int, lines_max: int, align: Align, rtl: bool
) -> None:
    box = Box(3, 5, width, 90)
    value = " ".join(value.split())
    size, lines = text.fit(value, replace(STYLE, align=align), box, lines_max, right_to_left=rtl)
    assert 1 <= len(lines) <= lines_max
    for line in lines:
        left, top, right, bottom = glyphs.ink_box("bold", size, line.text)
        assert Box(line.x + left, line.baseline + top, right - left, bottom - top).inside(box)
    if all(line.whole for line in lines):
        shaped = [character for character in script.visual(value, rtl) if character != " "]
        drawn = [character for line in lines for character in line.text if character != " "]
        assert len(drawn) >= len(shaped)  # a lam and an alef that stand on two lines are no longer one
        for kind in (str.isdecimal, str.isupper):
            assert sorted(filter(kind, drawn)) == sorted(filter(kind, shaped))


def test_start_is_right_in_a_language_that_is_written_from_the_right() -> None:
    for align, rtl, side in [
        (Align.START, False, Align.LEFT),
        (Align.START, True, Align.RIGHT),
        (Align.END, False, Align.RIGHT),
        (Align.END, True, Align.LEFT),
        (Align.LEFT, True, Align.LEFT),
        (Align.RIGHT, True, Align.RIGHT),
        (Align.CENTER, True, Align.CENTER),
    ]:
        assert align.resolved(rtl) is side


@pytest.mark.parametrize(
    ("value", "rtl", "drawn"),
    [
        ("plain text (a)", True, "plain text (a)"),
        ("אבג", False, "גבא"),
        ("אבג 250", True, "250 גבא"),
        ("אבג (Bio) 12%", True, "12% (Bio) גבא"),
        ("Bio (אבג) 3", False, "Bio (גבא) 3"),
        ("Bio (אבג) 3", True, "3 (גבא) Bio"),
        ("«אב» ‹c›", True, "‹c› «בא»"),
        ("((א)) b", False, "((א)) b"),
        ("30.11 עד", True, "דע 30.11"),
        ("1 ק״ג = ₪7.96", True, "₪7.96 = ג״ק 1"),
        ("\u200fאב\u200e", True, "בא"),
    ],
)
def test_lines_are_in_the_order_of_the_eye(value: str, rtl: bool, drawn: str) -> None:
    assert script.visual(value, rtl) == drawn


@pytest.mark.parametrize(
    ("word", "forms"),
    [
        ("حليب", "\ufea3\ufee0\ufef4\ufe90"),  # initial, medial, medial, final
        ("لا", "\ufefb"),  # lam and alef are one
        ("سلام", "\ufeb3\ufefc\ufee1"),
        ("دور", "\ufea9\ufeed\ufead"),  # letters that join nothing behind them
        ("بـب", "\ufe91\u0640\ufe90"),
        ("ب\u200cب", "\ufe8f\u200c\ufe8f"),  # kept apart
        ("ب\u200d", "\ufe91\u200d"),
        ("گچ", "\ufb94\ufb7b"),  # Persian
        ("ء", "\ufe80"),
        ("a1", "a1"),
    ],
)
def test_arabic_letters_take_the_form_that_their_neighbours_ask_for(word: str, forms: str) -> None:
    assert script.joined(word) == forms


def test_a_line_of_several_scripts_is_drawn_by_several_fonts_without_gap_or_overlap() -> None:
    line = script.visual("חלב 3% Tnuva شو", True)
    pieces = glyphs.runs("bold", 20, line)
    assert [file for file, _, _ in pieces] == ["arabic_bold", "bold", "hebrew_bold"]
    assert "".join(part for _, part, _ in pieces).replace(" ", "") == line.replace(" ", "")
    for file, part, pen in pieces:
        assert pen == glyphs.width("bold", 20, line[: line.index(part)])
        assert glyphs.width(file, 20, part) == glyphs.width("bold", 20, part)


def test_the_ellipsis_of_a_right_to_left_text_stands_at_its_left() -> None:
    _, lines = text.fit("שוקולד חלב עם אגוזי לוז שלמים", STYLE, Box(0, 0, 120, 30), 1, right_to_left=True)
    assert lines[0].text.startswith("…")
    assert not lines[0].whole


def test_a_line_of_a_right_to_left_text_that_holds_no_letter_of_it_shows_no_direction_mark() -> None:
    assert script.visual("\u200e25 %\u200f", True) == "25 %"
