"""Item numbers: check digits, padding to 14 digits, UPC-E; and that what the labels print is what the lanes read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.gs1_numbers import BadCode, check_digit, gtin14, upc_e_expanded, with_check_digit
from render.errors import BadGtin
from render.symbols.linear import upc_e_digits
from render.symbols.linear import upc_e_expanded as drawn_expanded


def digits(*lengths: int) -> st.SearchStrategy[str]:
    return st.sampled_from(lengths).flatmap(lambda length: st.text("0123456789", min_size=length, max_size=length))


@pytest.mark.parametrize(
    "payload, wanted",
    [("9638507", 4), ("03600029145", 2), ("400638133393", 1), ("0950600013435", 2), ("0000000", 0), ("00123456000000001", 8)],
)
def test_check_digits_are_those_of_the_general_specifications(payload: str, wanted: int) -> None:
    assert check_digit(payload) == wanted


@given(digits(7, 11, 12, 13))
def test_a_number_is_padded_to_fourteen_digits_and_any_other_check_digit_is_refused(payload: str) -> None:
    whole = with_check_digit(payload)
    assert gtin14(whole) == whole.rjust(14, "0")
    for wrong in range(10):
        if wrong != int(whole[-1]):
            with pytest.raises(BadCode) as refused:
                gtin14(f"{payload}{wrong}")
            assert refused.value.expected == f"check digit {whole[-1]}"


@given(digits(12, 13), st.data())
def test_one_digit_misread_is_always_noticed(payload: str, data: st.DataObject) -> None:
    whole = with_check_digit(payload)
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.sampled_from("0123456789").filter(lambda digit: digit != whole[place]))
    with pytest.raises(BadCode):
        gtin14(whole[:place] + other + whole[place + 1 :])


@pytest.mark.parametrize(
    "text", ["", "1", "1234567", "123456789012345", "4006381333932", "٤٠٠٦٣٨١٣٣٣٩٣١", "400638133393x", "²" * 13, "\ud800" * 13]
)
def test_what_is_no_gtin_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(BadCode) as refused:
        gtin14(text)
    assert refused.value.what == "item number"
    assert refused.value.where
    assert refused.value.expected


def test_every_upc_e_is_expanded_to_the_number_that_its_symbol_stands_for() -> None:
    for short in range(0, 1_000_000, 31):
        six = f"{short:06d}"
        whole = upc_e_expanded(six)
        assert gtin14(whole) == "00" + whole
        eight = f"0{six}{whole[-1]}"
        assert whole == upc_e_expanded(eight) == upc_e_expanded(eight[:7]) == drawn_expanded(eight)


@given(st.from_regex(r"\A0[0-9]{10}\Z"))
def test_a_number_whose_zeros_were_suppressed_comes_back_whole(payload: str) -> None:
    whole = with_check_digit(payload)
    try:
        short = upc_e_digits(whole)
    except BadGtin:
        return
    assert upc_e_expanded(short) == whole


@pytest.mark.parametrize(
    "text, where", [("12345", "'12345'"), ("104252614", ""), ("14252614", "place 1"), ("04252615", "place 8"), ("x42526", "")]
)
def test_what_is_no_upc_e_is_refused(text: str, where: str) -> None:
    with pytest.raises(BadCode) as refused:
        upc_e_expanded(text)
    assert where in refused.value.where
