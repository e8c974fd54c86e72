"""In-store codes: the notation of layouts, price verifiers, and that what a scale would print is read back."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocols.gs1_embedded import GRAMS, Layout, PriceVerifier, ValueKind, WeightUnit, layout, price_verifier
from protocols.gs1_numbers import BadCode, gtin14, with_check_digit

US_PRICE = "2 IIIII V PPPP C"
US_PRICE_5 = "2 IIIII PPPPP C"
GERMAN_WEIGHT = "28 .... V {NNDDD} C"


def printed(made: Layout, reference: str, value: int, verifier: PriceVerifier = PriceVerifier.GS1) -> str:
    """The 14 digits that a scale prints by a layout."""
    count = made.pattern.count("D")
    amount = f"{value:0{count}d}"
    check = str(price_verifier(amount, verifier)) if "V" in made.pattern else ""
    sources = {"I": iter(reference), "D": iter(amount), "V": iter(check)}
    return with_check_digit("".join(sign if sign.isdigit() else next(sources[sign]) for sign in made.pattern[:-1]))


# -- price verifiers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("value, wanted", [("2875", 9), ("0199", 0), ("1234", 9), ("0000", 0), ("14685", 6), ("00199", 2), ("00000", 0)])
def test_the_verifier_is_that_of_the_general_specifications(value: str, wanted: int) -> None:
    assert price_verifier(value) == wanted


def test_the_other_public_variant_is_named_and_differs() -> None:
    assert price_verifier("2875", PriceVerifier.TEN_MINUS) == 7
    assert price_verifier("0000", PriceVerifier.TEN_MINUS) == 0
    differ = sum(price_verifier(f"{n:04d}") != price_verifier(f"{n:04d}", PriceVerifier.TEN_MINUS) for n in range(10_000))
    assert differ > 7_000
    assert all(price_verifier(f"{n:05d}") == price_verifier(f"{n:05d}", PriceVerifier.TEN_MINUS) for n in range(0, 100_000, 37))


@pytest.mark.parametrize("count", [4, 5])
def test_one_digit_of_a_price_misread_is_always_noticed(count: int) -> None:
    for number in range(0, 10**count, 1 if count == 4 else 41):
        value = f"{number:0{count}d}"
        right = price_verifier(value)
        for place in range(count):
            for other in "0123456789":
                if other != value[place]:
                    assert price_verifier(value[:place] + other + value[place + 1 :]) != right


@pytest.mark.parametrize("value, variant", [("123", "gs1"), ("123456", "gs1"), ("12x4", "gs1"), ("1234", "none")])
def test_a_verifier_of_anything_else_is_our_own_mistake(value: str, variant: str) -> None:
    with pytest.raises(ValueError):
        price_verifier(value, PriceVerifier(variant))


# -- layouts ---------------------------------------------------------------------------------------------------------------


def test_the_full_code_of_the_notes_is_read() -> None:
    made = layout("us", US_PRICE, ValueKind.PRICE)
    code = gtin14("212345001998")
    assert made.matches(code)
    found = made.read(code, PriceVerifier.GS1)
    assert (found.reference, found.digits, found.decimals, found.gtin14) == ("12345", 199, 2, gtin14("212345000007"))


def test_both_ways_of_writing_a_value_mean_the_same() -> None:
    assert (
        layout("a", US_PRICE_5, ValueKind.PRICE)
        == layout("a", "2.....{NNNDD}", ValueKind.PRICE)
        == layout("a", "2IIIIIPPPPP", ValueKind.PRICE)
    )
    assert layout("a", "23.....{NNNDD}", ValueKind.PRICE).pattern == "023IIIIIDDDDDC"
    assert layout("a", "2 ... {DDD}", ValueKind.PRICE).pattern == "0000002IIIDDDC"
    assert layout("a", "23.....{NNNDD}", ValueKind.PRICE).decimals == 2
    assert layout("a", "23.....{DDDDD}", ValueKind.PRICE).decimals == 5
    assert layout("a", "23.....{NNNNN}", ValueKind.COUNT).decimals == 0


@pytest.mark.parametrize(
    "notation, part",
    [
        ("", "8, 12 or 13 digits"),
        ("23.....{NNNDD", "one value"),
        ("23.....{NDNDD}", "one value"),
        ("23.....{}", "one value"),
        ("23.....{NN}{DDD}", "one value"),
        ("23.....{NNNDD}C.", "8, 12 or 13 digits"),
        ("23C....{NNNDD}C", "8, 12 or 13 digits"),
        ("23..........", "one value"),
        ("2 PP III PPP IIC", "one value"),
        ("40.....{NNNDD}", "2 or 02 or 04 in front"),
        ("3 IIIII V PPPP C", "2 or 4 in front"),
        ("1...{NNN}", "0 or 2 in front"),
        ("..23...{NNNDD}", "in front"),
        ("2 IIIIII V PPP C", "beside a value of 4 or 5"),
        ("2 IIII V V PPPP C", "one V at most"),
        ("2 I {NNNNNNNNN}", "1 to 6"),
        ("2000000.{NNDD}", "at least 2 digits of the item"),
        ("23.....{nnndd}", "one value"),
        ("٢٣.....{NNNDD}", "one value"),
        ("2" * 100, "at most 60"),
    ],
)
def test_a_notation_that_means_nothing_is_refused_with_what_it_should_be(notation: str, part: str) -> None:
    with pytest.raises(BadCode) as refused:
        layout("mine", notation, ValueKind.PRICE)
    assert part in refused.value.expected


def test_a_count_has_no_decimals() -> None:
    with pytest.raises(BadCode):
        layout("mine", "23.....{NNNDD}", ValueKind.COUNT)


@given(st.text("0123456789IVPCND{}. x", max_size=16))
def test_any_notation_is_a_layout_of_fourteen_places_or_a_reason(notation: str) -> None:
    try:
        made = layout("any", notation, ValueKind.WEIGHT)
    except BadCode:
        return
    else:
        assert len(made.pattern) == 14
        assert made.pattern.endswith("C")
        assert set(made.pattern[:-1]) <= set("0123456789IVD")


LAYOUTS = (
    layout("us-4", US_PRICE, ValueKind.PRICE),
    layout("us-5", "4 IIIII PPPPP C", ValueKind.PRICE),
    layout("de", GERMAN_WEIGHT, ValueKind.WEIGHT),
    layout("se", "23 ...... {NDDD}", ValueKind.WEIGHT),
    layout("gb", "20 ..... V {NNDD}", ValueKind.PRICE),
    layout("de-count", "25 .... V {NNNNN}", ValueKind.COUNT),
    layout("lb", "29 ..... {NNNDD}", ValueKind.WEIGHT, unit=WeightUnit.LB),
    layout("short", "0 ... {NDD}", ValueKind.PRICE),
    layout("verified-5", "27.... V {NNNDD}", ValueKind.PRICE),
)


@given(st.sampled_from(LAYOUTS), st.data(), st.sampled_from([PriceVerifier.GS1, PriceVerifier.TEN_MINUS]))
def test_what_a_scale_prints_is_read_back(made: Layout, data: st.DataObject, variant: PriceVerifier) -> None:
    reference = data.draw(st.text("0123456789", min_size=made.pattern.count("I"), max_size=made.pattern.count("I")))
    value = data.draw(st.integers(0, 10 ** made.pattern.count("D") - 1))
    code = printed(made, reference, value, variant)
    assert gtin14(code) == code
    assert made.matches(code)
    found = made.read(code, variant)
    assert (found.reference, found.digits, found.kind) == (reference, value, made.kind)
    assert found.gtin14 == printed(made, reference, 0, variant)
    assert made.read(found.gtin14, variant).gtin14 == found.gtin14


@given(st.data())
def test_a_wrong_verifier_digit_is_refused_unless_nobody_looks_at_it(data: st.DataObject) -> None:
    made = LAYOUTS[0]
    value = data.draw(st.integers(0, 9_999))
    code = printed(made, "12345", value)
    wrong = data.draw(st.sampled_from("0123456789"))
    assume(wrong != code[8])
    forged = with_check_digit(code[:8] + wrong + code[9:-1])
    with pytest.raises(BadCode) as refused:
        made.read(forged, PriceVerifier.GS1)
    assert refused.value.expected == f"verifier {code[8]} (gs1)"
    assert made.read(forged, PriceVerifier.NONE).digits == value


def test_layouts_that_could_read_one_number_are_told_apart() -> None:
    made = layout("a", "23 ..... {NNNDD}", ValueKind.PRICE)
    assert made.overlaps(layout("b", "231 .... {NNNDD}", ValueKind.WEIGHT))
    assert not made.overlaps(layout("b", "24 ..... {NNNDD}", ValueKind.PRICE))
    assert layout("a", US_PRICE, ValueKind.PRICE).overlaps(layout("b", "02 .... {NNNDDD}", ValueKind.WEIGHT))


@given(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS), st.integers(0, 10**13 - 1))
def test_a_number_that_two_layouts_match_means_that_they_overlap(one: Layout, other: Layout, number: int) -> None:
    code = with_check_digit(f"{number:013d}")
    assert one.overlaps(other) or not (one.matches(code) and other.matches(code))


def test_a_pound_is_a_pound() -> None:
    assert GRAMS[WeightUnit.LB] == Fraction("453.59237")
