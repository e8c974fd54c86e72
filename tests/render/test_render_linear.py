from __future__ import annotations

import numpy as np
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st

from render.errors import BadGtin
from render.symbols import linear


def with_check(digits: str) -> str:
    return digits + str(linear.check_digit(digits))


def decode(symbol: linear.Symbol, module_px: int) -> str:
    row = "0" * symbol.quiet_left + symbol.modules + "0" * symbol.quiet_right
    line = np.repeat(np.array([0 if module == "1" else 255 for module in row], np.uint8), module_px)
    found = zxingcpp.read_barcodes(np.tile(line, (60, 1)))
    assert len(found) == 1
    return str(found[0].text)


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
