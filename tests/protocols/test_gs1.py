"""`read`: what a scanner may send, by symbology and by content, dates and amounts."""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest

from protocols.gs1 import CODE_CHARS_MAX, BadCode, Form, Measure, Price, Rules, Scan, read
from protocols.gs1_dates import full_year, parse_date
from protocols.gs1_embedded import PriceVerifier, ValueKind, WeightUnit, layout
from protocols.gs1_numbers import with_check_digit

TODAY = date(2026, 3, 4)
GTIN = "09506000134352"
GS = "\x1d"
ELEMENTS = f"01{GTIN}1726123110ABC1{GS}21S7"
RULES = Rules(
    (
        layout("us-price", "2 IIIII V PPPP C", ValueKind.PRICE),
        layout("kg", "28 ..... {NNDDD}", ValueKind.WEIGHT),
        layout("lb", "29 ..... {NNNDD}", ValueKind.WEIGHT, unit=WeightUnit.LB),
        layout("pieces", "25 ..... {NNNNN}", ValueKind.COUNT),
        layout("counter", "2 ... {NDD}", ValueKind.PRICE),
    )
)


def scan(text: str, rules: Rules = RULES) -> Scan:
    return read(text, TODAY, rules)


def refusal(text: str, rules: Rules = RULES) -> BadCode:
    with pytest.raises(BadCode) as refused:
        read(text, TODAY, rules)
    return refused.value


# -- symbologies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, gtin14",
    [
        ("4006381333931", "04006381333931"),
        ("]E04006381333931", "04006381333931"),
        ("]E0036000291452", "00036000291452"),
        ("]E00036000291452", "00036000291452"),
        ("036000291452", "00036000291452"),
        ("]E496385074", "00000096385074"),
        ("96385074", "00000096385074"),
        ("]E004252614", "00042100005264"),
        ("]E0042526", "00004252000061"),
        ("]I114006381333938", "14006381333938"),
        ("14006381333938", "14006381333938"),
        ("]E3400638133393152", "04006381333931"),
        ("]C04006381333931", "04006381333931"),
        ("]Q14006381333931", "04006381333931"),
        (" \t4006381333931\r\n", "04006381333931"),
        (f"]C1{ELEMENTS}", GTIN),
        (f"]e0{ELEMENTS}", GTIN),
        (f"]d2{ELEMENTS}", GTIN),
        (f"]Q3{ELEMENTS}", GTIN),
        (f"]J1{GS}{ELEMENTS}", GTIN),
        (ELEMENTS, GTIN),
        (GS + ELEMENTS, GTIN),
        (f"]e001{GTIN}", GTIN),
        (f"(01){GTIN}(10)ABC1", GTIN),
        (f"]Q1https://shop.example/01/{GTIN}/10/ABC1", GTIN),
        (f"]d1HTTP://shop.example/x/01/{GTIN}", GTIN),
        (f"]Q3https://shop.example/01/{GTIN}", GTIN),
        (f"https://id.gs1.org/01/{GTIN}/10/ABC1?17=261231", GTIN),
    ],
)
def test_each_symbology_gives_the_item(text: str, gtin14: str) -> None:
    found = scan(text)
    assert found.gtin14 == gtin14
    assert found.symbology == (text.strip()[:3] if text.strip().startswith("]") else "")
    assert found.problems == ()


@pytest.mark.parametrize(
    "text, part",
    [
        ("", "a code"),
        ("]", "a code"),
        ("]E0", "a code"),
        ("]E", "a code"),
        ("x" * (CODE_CHARS_MAX + 1), "at most 2048 characters"),
        ("4006381333932", "check digit 1"),
        ("12", "an item number of"),
        ("123456", "an item number of"),
        ("x" * 13, "an item number of"),
        ("]E4036000291452", "8 digits"),
        ("]E096385074", "number system 0"),
        ("]E01234", "13 or 12 digits"),
        ("]E34006381333931", "13 digits, then 2 or 5"),
        ("]E34006381333932" + "52", "check digit 1"),
        ("]E152", "the code beside it"),
        ("]I14006381333931", "14 digits"),
        ("]C14006381333931999999999999999999999", "characters"),
        ("]d2", "a code"),
        ("]Q1hello", "an item number of"),
        ("mailto:a@b.example", "an item number of"),
        ("https://shop.example/hello", "/01/, a GTIN"),
        ("09876543", "check digit"),
    ],
)
def test_what_cannot_be_read_says_what_was_expected(text: str, part: str) -> None:
    error = refusal(text)
    assert part in error.expected
    assert error.what and error.where
    assert len(str(error)) < 300


def test_eight_digits_may_be_two_numbers_and_the_symbology_decides() -> None:
    both = next(code for code in (f"0{number:06d}" for number in range(1_000_000)) if _reads_twice(code))
    eight = with_check_digit(both)
    bare = scan(eight)
    assert bare.gtin14 == eight.zfill(14)
    assert len(bare.also) == 1
    assert scan(f"]E4{eight}").also == ()
    assert scan(f"]E0{eight}").gtin14 == bare.also[0]


def _reads_twice(seven: str) -> bool:
    return bool(read(with_check_digit(seven), TODAY).also)


def test_the_addon_of_a_magazine_is_kept() -> None:
    assert scan("]E3977000000000352").addon == "52"
    assert scan("]E3977000000000312345").addon == "12345"


# -- produce ---------------------------------------------------------------------------------------------------------------


def test_a_plu_is_four_digits_and_organic_has_a_nine_in_front() -> None:
    assert (scan("4011").plu, scan("94011").plu, scan("4011").form) == ("4011", "94011", Form.PLU)
    for text in ("2999", "5000", "84011", "92999", "40110"):
        assert "3000 to 4999" in refusal(text).expected
    assert "no PLU" in refusal("4011", Rules(plu=False)).expected


# -- amounts ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload, measure, price, key",
    [
        ("21234500199", None, Price(199, 2), "21234500000"),
        ("021234500199", None, Price(199, 2), "021234500000"),
        ("281234501250", Measure("g", Fraction(1250)), None, "281234500000"),
        ("291234500100", Measure("g", Fraction("453.59237")), None, "291234500000"),
        ("251234500012", Measure("each", Fraction(12)), None, "251234500000"),
        ("2123199", None, Price(199, 2), "2123000"),
    ],
)
def test_an_in_store_code_carries_its_amount_and_its_key(payload: str, measure: Measure | None, price: Price | None, key: str) -> None:
    found = scan(with_check_digit(payload))
    assert (found.measure, found.price) == (measure, price)
    assert found.embedded is not None
    assert found.embedded.gtin14 == with_check_digit(key).zfill(14)
    assert found.gtin14 == with_check_digit(payload).zfill(14)


def test_a_value_of_zero_is_none_so_that_a_key_sheet_can_be_scanned() -> None:
    found = scan(with_check_digit("281234500000"))
    assert found.embedded is not None
    assert (found.measure, found.price) == (None, None)


def test_without_layouts_an_in_store_code_is_a_number_like_any_other() -> None:
    assert scan(with_check_digit("281234501250"), Rules()).embedded is None


def test_a_price_whose_verifier_is_wrong_is_refused_by_the_variant_in_force() -> None:
    us = RULES.layouts
    assert "verifier 0 (gs1)" in refusal(with_check_digit("21234510199")).expected
    assert scan(with_check_digit("21234580199"), Rules(us, PriceVerifier.NONE)).price == Price(199, 2)
    assert scan(with_check_digit("21234572875"), Rules(us, PriceVerifier.TEN_MINUS)).price == Price(2875, 2)
    assert scan(with_check_digit("21234592875"), Rules(us, PriceVerifier.GS1)).price == Price(2875, 2)


def test_a_databar_that_holds_only_an_in_store_number_is_read_by_the_layouts() -> None:
    code = with_check_digit("0281234501250")
    assert scan(f"]e001{code}").measure == Measure("g", Fraction(1250))
    assert scan(f"]e001{code}3103000400").measure == Measure("g", Fraction(400))


@pytest.mark.parametrize(
    "elements, measure",
    [
        ("3103000750", Measure("g", Fraction(750))),
        ("3100000002", Measure("g", Fraction(2000))),
        ("3105012345", Measure("g", Fraction("123.45"))),
        ("3202000150", Measure("g", Fraction("680.388555"))),
        ("31030007503202000165", Measure("g", Fraction(750))),
        ("3152000075", Measure("ml", Fraction(750))),
        ("3113001500", Measure("mm", Fraction(1500))),
        ("3012", Measure("each", Fraction(12))),
        (f"3012{GS}3103000750", Measure("g", Fraction(750))),
        ("10A", None),
    ],
)
def test_net_measures_become_units_of_an_item(elements: str, measure: Measure | None) -> None:
    assert scan(f"01{GTIN}{elements}").measure == measure


def test_whole_units_are_never_more_than_the_pack_holds() -> None:
    assert Measure("g", Fraction("680.99")).whole == 680


@pytest.mark.parametrize(
    "elements, price, exponent, minor",
    [
        ("3922399", Price(399, 2), 2, 399),
        ("3920399", Price(399, 0), 2, 39_900),
        ("39231999", Price(1999, 3), 2, 199),
        ("3920399", Price(399, 0), 0, 399),
        ("3922399", Price(399, 2), 0, 3),
        ("3932978399", Price(399, 2, "978"), 2, 399),
        (f"3929{'9' * 15}", Price(999_999_999_999_999, 9), 2, 99_999_999),
    ],
)
def test_a_price_becomes_minor_units_and_a_fraction_of_one_is_dropped(elements: str, price: Price, exponent: int, minor: int) -> None:
    found = scan(f"01{GTIN}{elements}").price
    assert found == price
    assert found is not None
    assert found.minor(exponent) == minor


@pytest.mark.parametrize("two", ["31030007503102000075", f"3922399{GS}3921399", f"3922399{GS}3932978399"])
def test_two_amounts_of_one_kind_are_refused(two: str) -> None:
    assert "one amount of its kind" in refusal(f"01{GTIN}{two}").expected


# -- the rest --------------------------------------------------------------------------------------------------------------


def test_lot_serial_variant_and_unit_price_are_told() -> None:
    found = scan(f"https://x.example/01/{GTIN}/22/V1/10/L%2F1/21/S1?8005=000399")
    assert (found.variant, found.lot, found.serial, found.unit_price, found.form) == ("V1", "L/1", "S1", "000399", Form.LINK)


def test_a_code_that_names_no_item_says_so() -> None:
    for text in ("]C100001234560000000018", "]C14006381333931", "]C1020950600013435237" + "12"):
        found = scan(text)
        assert (found.gtin14, [problem.code for problem in found.problems]) == (None, ["no_item"])


# -- dates -----------------------------------------------------------------------------------------------------------------


def test_dates_have_their_fields() -> None:
    found = scan(f"01{GTIN}151512311615123017261231")
    assert (found.best_before, found.sell_by, found.expiry) == (date(2015, 12, 31), date(2015, 12, 30), date(2026, 12, 31))


def test_an_expiry_with_its_time_is_the_earlier_of_the_two() -> None:
    assert (scan(f"01{GTIN}70032603041530").expiry, scan(f"01{GTIN}70032603041530").expiry_minute) == (date(2026, 3, 4), 930)
    later = scan(f"01{GTIN}17260303" + "70032603041530")
    assert (later.expiry, later.expiry_minute) == (date(2026, 3, 3), None)
    timeless = scan(f"01{GTIN}70032603049999")
    assert (timeless.expiry, timeless.expiry_minute, [each.code for each in timeless.problems]) == (date(2026, 3, 4), None, ["bad_date"])


@pytest.mark.parametrize(
    "digits, wanted",
    [("260200", date(2026, 2, 28)), ("280200", date(2028, 2, 29)), ("261200", date(2026, 12, 31)), ("280229", date(2028, 2, 29))],
)
def test_day_00_is_the_last_of_its_month(digits: str, wanted: date) -> None:
    assert parse_date(digits, TODAY) == wanted


@pytest.mark.parametrize("digits", ["260229", "261301", "260001", "000000", "260132", "2601", "26013x"])
def test_what_is_no_date_is_noted_and_the_item_still_sells(digits: str) -> None:
    with pytest.raises(ValueError):
        parse_date(digits, TODAY)
    if len(digits) == 6:
        found = scan(f"01{GTIN}17{digits}")
        assert found.gtin14 == GTIN
        assert found.expiry is None
        assert found.problems


def test_two_digits_of_a_year_mean_the_nearest_one() -> None:
    """The table of GS1 7.12, for every year now and every two digits: from 49 years back to 50 ahead."""
    for year in range(1951, 2150):
        for digits in range(100):
            meant = full_year(digits, date(year, 6, 1))
            assert meant % 100 == digits
            assert -49 <= meant - year <= 50
    assert [full_year(77, date(2026, 1, 1)), full_year(76, date(2026, 1, 1)), full_year(0, date(2050, 1, 1))] == [1977, 2076, 2100]


@pytest.mark.parametrize("year", [1, 50, 9999])
def test_a_clock_at_the_ends_of_time_refuses_nothing_but_the_date(year: int) -> None:
    for digits in ("000100", "990100", "500100"):
        assert read(f"01{GTIN}17{digits}", date(year, 1, 1)).gtin14 == GTIN
