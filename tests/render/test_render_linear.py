from __future__ import annotations

import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st

from render.errors import BadGtin, FieldError
from render.symbols import code128, linear


def with_check(digits: str) -> str:
    return digits + str(linear.check_digit(digits))


def read(symbol: linear.Symbol, module_px: int) -> zxingcpp.Barcode:
    row = "0" * symbol.quiet_left + symbol.modules + "0" * symbol.quiet_right
    line = np.repeat(np.array([0 if module == "1" else 255 for module in row], np.uint8), module_px)
    found = zxingcpp.read_barcodes(np.tile(line, (60, 1)))
    assert len(found) == 1
    return found[0]


def decode(symbol: linear.Symbol, module_px: int) -> str:
    return str(read(symbol, module_px).text)


@settings(max_examples=50, deadline=None)
@given(st.text("0123456789", min_size=12, max_size=12).filter(lambda digits: not digits.startswith("00000")), st.integers(2, 4))
def test_every_ean13_scans_as_its_own_digits(digits: str, module_px: int) -> None:
    gtin = with_check(digits)
    assert decode(linear.ean(gtin), module_px).rjust(13, "0") == gtin


@settings(max_examples=30, deadline=None)
@given(st.text("0123456789", min_size=7, max_size=7))
def test_every_ean8_scans_as_its_own_digits(digits: str) -> None:
    gtin = with_check(digits)
    assert decode(linear.ean(gtin), 3) == gtin


@given(st.text("0123456789", min_size=12, max_size=12), st.integers(0, 12), st.integers(1, 9))
def test_every_wrong_digit_is_refused(digits: str, place: int, error: int) -> None:
    right = with_check(digits)
    wrong = right[:place] + str((int(right[place]) + error) % 10) + right[place + 1 :]
    assert linear.verified(right) == right
    with pytest.raises(BadGtin, match="check digit"):
        linear.verified(wrong)


@pytest.mark.parametrize(
    "gtin", ["", "123", "400638133393", "40063813339311", "400638133393a", "４００６３８１３３３９３１", " 4006381333931"]
)
def test_what_is_no_gtin_is_refused(gtin: str) -> None:
    with pytest.raises(BadGtin):
        linear.ean(gtin)


def test_the_same_item_has_the_same_bars_in_every_length() -> None:
    assert linear.ean("036000291452") == linear.ean("0036000291452") == linear.ean("00036000291452")
    assert linear.ean("96385074") == linear.ean("0000096385074") == linear.ean("00000096385074")


def test_a_trade_unit_has_no_ean() -> None:
    with pytest.raises(BadGtin, match="indicator 1"):
        linear.ean(with_check("1400638133393"))


def test_symbols_have_the_standard_widths_and_quiet_zones() -> None:
    assert linear.ean("4006381333931").width_modules == 11 + 95 + 7
    assert linear.ean("96385074").width_modules == 7 + 67 + 7
    for gtin in ("4006381333931", "96385074"):
        symbol = linear.ean(gtin)
        assert all(bar == "1" for bar, guard in zip(symbol.modules, symbol.guards, strict=True) if guard == "1")
        assert "".join(digit for digit, _ in symbol.digits) == gtin


UPC = st.text("0123456789", min_size=11, max_size=11).filter(lambda digits: not digits.startswith("0000")).map(with_check)
SHORT = st.text("0123456789", min_size=6, max_size=6)


def expanded(digits: str) -> str:
    try:
        return linear.upc_e_expanded(digits)
    except BadGtin:
        return ""


@settings(max_examples=30, deadline=None)
@given(UPC, st.sampled_from([12, 13, 14]))
def test_a_upc_a_scans_as_its_own_digits_and_is_the_ean_with_other_digits_below(gtin: str, length: int) -> None:
    symbol = linear.upc_a(gtin.rjust(length, "0"))
    assert decode(symbol, 2).rjust(13, "0") == "0" + gtin
    assert symbol.modules == linear.ean(gtin).modules
    assert "".join(digit for digit, _ in symbol.digits) == gtin


def test_a_upc_a_has_its_outer_digits_outside_and_their_bars_long() -> None:
    symbol = linear.upc_a("036000291452")
    centres = [centre for _, centre in symbol.digits]
    assert centres == sorted(centres)
    assert centres[0] < 0 and centres[-1] > 2 * len(symbol.modules)
    assert all(20 < centre < 170 for centre in centres[1:-1])
    assert symbol.width_modules == 9 + 95 + 9
    assert symbol.guards[:10] == symbol.modules[:10] and symbol.guards[-10:] == symbol.modules[-10:]
    assert symbol.guards[10:45] == "0" * 35 and symbol.guards[45:50] == "01010" and symbol.guards[50:85] == "0" * 35


@pytest.mark.parametrize("gtin, problem", [("4006381333931", "GTIN-12"), ("96385074", "GTIN-12"), ("10036000291459", "indicator")])
def test_what_is_no_gtin_12_has_no_upc(gtin: str, problem: str) -> None:
    for draw in (linear.upc_a, linear.upc_e):
        with pytest.raises(BadGtin, match=problem):
            draw(gtin)


@pytest.mark.parametrize(
    "body, short",  # each rule, at the ends of what it takes
    [
        ("01200000345", "0123450"),
        ("01210000345", "0123451"),
        ("01220000345", "0123452"),
        ("01230000045", "0123453"),
        ("01290000045", "0129453"),
        ("01234000005", "0123454"),
        ("01234500005", "0123455"),
        ("01234500009", "0123459"),
    ],
)
def test_zeros_are_suppressed_by_the_four_rules(body: str, short: str) -> None:
    gtin = with_check(body)
    assert linear.upc_e_digits(gtin) == short + gtin[-1]
    assert linear.upc_e_expanded(short + gtin[-1]) == gtin


@settings(max_examples=40, deadline=None)
@given(SHORT)
def test_a_upc_e_scans_as_the_gtin_that_it_stands_for(short: str) -> None:
    gtin = next(filter(None, (expanded("0" + short + str(check)) for check in range(10))))
    if gtin.startswith("0000"):
        return  # the EAN-8 range
    symbol = linear.upc_e(gtin)
    assert linear.upc_e_expanded(linear.upc_e_digits(gtin)) == gtin
    assert decode(symbol, 3).rjust(13, "0") == "0" + gtin
    assert symbol.width_modules == 9 + 51 + 7
    assert all(bar == "1" for bar, guard in zip(symbol.modules, symbol.guards, strict=True) if guard == "1")


@pytest.mark.parametrize("digits", ["", "0123456", "11234562", "01234566", "0123456x", "０1234565"])
def test_what_is_no_upc_e_is_refused(digits: str) -> None:
    with pytest.raises(BadGtin):
        linear.upc_e_expanded(digits)


def test_a_gtin_whose_zeros_cannot_be_suppressed_has_no_upc_e() -> None:
    for body in ("03600029145", "11234500005", "01234500001", "01234500010", "01230000145"):
        with pytest.raises(BadGtin, match="UPC-E"):
            linear.upc_e(with_check(body))


TEXTS = st.lists(
    st.one_of(
        st.text("0123456789", max_size=9),
        st.text("ABC -.$", max_size=6),
        st.text("abc{}", max_size=6),
        st.text("\x00\n\x1d\x7f", max_size=2),
    )
).map(lambda pieces: "".join(pieces)[:48])


@settings(max_examples=60, deadline=None)
@given(TEXTS.filter(lambda text: text != "" and text[0] != "\x1d"))
def test_a_code_128_scans_as_its_own_text(text: str) -> None:
    found = read(linear.code128(text), 2)
    assert found.bytes == text.encode()
    assert found.symbology_identifier == "]C0"


@settings(max_examples=30, deadline=None)
@given(
    st.text("0123456789AB\x1d", max_size=12).map(
        lambda tail: "0109506000134352" + ("10" + tail.strip("\x1d") if tail.strip("\x1d") else "")
    )
)
def test_a_gs1_128_says_so(text: str) -> None:
    symbol = code128.code128(text, gs1=True)
    assert symbol == linear.code128("\x1d" + text)
    found = read(symbol, 2)
    assert found.bytes == text.encode()
    assert found.content_type == zxingcpp.ContentType.GS1
    assert found.symbology_identifier == "]C1"


@settings(max_examples=60, deadline=None)
@given(TEXTS.map(lambda text: text[:9]).filter(bool), st.booleans())
def test_no_other_row_of_characters_is_shorter(text: str, gs1: bool) -> None:
    """All ways at once: the fewest characters to each place and code set, until nothing gets shorter."""
    fewest = {(0, code_set): 1 + gs1 for code_set in "ABC"}
    changed = True
    while changed:
        changed = False
        for (place, code_set), count in list(fewest.items()):
            steps = [(place, other, 1) for other in "ABC"]
            for other in "AB":
                if text[place : place + 1] and code_set in "AB" and code128._value(other, text[place]) is not None:
                    steps.append((place + 1, code_set, 1 if other == code_set else 2))
            if text[place : place + 2].isdigit() and len(text) >= place + 2 and code_set == "C":
                steps.append((place + 2, code_set, 1))
            if gs1 and text[place : place + 1] == "\x1d":
                steps.append((place + 1, code_set, 1))
            for next_place, next_set, more in steps:
                if count + more < fewest.get((next_place, next_set), 999):
                    fewest[next_place, next_set] = count + more
                    changed = True
    assert len(code128.characters(text, gs1)) == min(fewest[len(text), code_set] for code_set in "ABC")


def test_a_code_128_has_its_characters_spread_below_and_quiet_zones() -> None:
    symbol = linear.code128("AB 12")
    assert (symbol.quiet_left, symbol.quiet_right) == (10, 10)
    assert [character for character, _ in symbol.digits] == ["A", "B", "1", "2"]
    centres = [centre for _, centre in symbol.digits]
    assert centres == sorted(centres) and centres[0] > 0 and centres[-1] < 2 * len(symbol.modules)
    assert symbol.guards == "0" * len(symbol.modules)
    assert len(symbol.modules) % 11 == 2  # characters of 11 modules and a stop of 13


@pytest.mark.parametrize("text, problem", [("", "0 characters"), ("x" * 49, "49 characters"), ("ž", "ASCII"), ("\x1d", "0 characters")])
def test_what_code_128_cannot_carry_is_refused(text: str, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        linear.code128(text)


def test_the_tables_for_many_are_those_of_the_symbols() -> None:
    symbol = linear.ean("4006381333931")
    left, parity = symbol.modules[3:45], linear.PARITY_WORDS[4]
    for place, digit in enumerate("006381"):
        code_set = (parity >> (5 - place)) & 1
        assert int(left[7 * place : 7 * place + 7], 2) == linear.CODE_WORDS[code_set][int(digit)]
    assert int(symbol.modules[50:57], 2) == linear.CODE_WORDS[2][3]
