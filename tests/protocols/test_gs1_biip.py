"""Ours against biip, wherever both define a meaning; and where they differ, that they differ just so (docs/adr/0013-biip.md).

biip asks the machine's clock for the century, so the two-digit years here are those that it reads as 20xx until 2049.
"""

from __future__ import annotations

from datetime import date
from fractions import Fraction

import pytest
from biip import ParseConfig, ParseError, parse
from biip.checksums import gs1_price_weight_check_digit, gs1_standard_check_digit
from biip.gs1_application_identifiers import GS1ApplicationIdentifier
from biip.gs1_digital_link_uris import GS1DigitalLinkURI
from biip.gs1_messages import GS1Message
from biip.gtin import Gtin
from biip.rcn import Rcn, RcnRegion
from biip.upc import Upc
from hypothesis import given
from hypothesis import strategies as st

from protocols.gs1 import BadCode, Measure, Price, Rules, Scan, read
from protocols.gs1_dates import parse_date
from protocols.gs1_elements import SEPARATOR, parse_elements
from protocols.gs1_embedded import ValueKind, layout, price_verifier
from protocols.gs1_identifiers import identifier
from protocols.gs1_link import parse_link
from protocols.gs1_numbers import check_digit, gtin14, upc_e_expanded, with_check_digit
from render.symbols.gs1 import digital_link, element_string
from tests.protocols.test_gs1_elements import SET_82

TODAY = date(2026, 3, 4)
GTIN = "09506000134352"

texts = st.text(SET_82, min_size=1, max_size=20)
days = st.tuples(st.integers(0, 74), st.integers(1, 12), st.integers(0, 28)).map(lambda day: "{:02d}{:02d}{:02d}".format(*day))
six = st.text("0123456789", min_size=6, max_size=6)
gtins = st.text("0123456789", min_size=13, max_size=13).map(with_check_digit)


# -- numbers ---------------------------------------------------------------------------------------------------------------


@given(st.sampled_from([8, 12, 13, 14]).flatmap(lambda length: st.text("0123456789", min_size=length, max_size=length)), st.booleans())
def test_item_numbers_agree(digits: str, repaired: bool) -> None:
    text = with_check_digit(digits[:-1]) if repaired else digits
    assert check_digit(text[:-1]) == gs1_standard_check_digit(text[:-1])
    try:
        theirs = Gtin.parse(text).as_gtin_14()
    except ParseError:
        with pytest.raises(BadCode):
            gtin14(text)
    else:
        assert gtin14(text) == theirs


@given(st.integers(0, 999_999))
def test_upc_e_agrees(number: int) -> None:
    six_digits = f"{number:06d}"
    theirs = Upc.parse(six_digits).as_upc_a()
    assert upc_e_expanded(six_digits) == theirs == Upc.parse(f"0{six_digits}{theirs[-1]}").as_upc_a()


def test_biip_reads_upc_e_of_number_system_1_and_we_do_not() -> None:
    assert Upc.parse("1425261").as_upc_a().startswith("1")
    with pytest.raises(BadCode):
        upc_e_expanded("1425261")


def test_price_verifiers_agree_for_every_value() -> None:
    for number in range(10_000):
        assert price_verifier(f"{number:04d}") == gs1_price_weight_check_digit(f"{number:04d}")
    for number in range(100_000):
        assert price_verifier(f"{number:05d}") == gs1_price_weight_check_digit(f"{number:05d}")


# -- in-store codes --------------------------------------------------------------------------------------------------------

PRICES = (ValueKind.PRICE, 2)
REGIONS = {
    RcnRegion.SWEDEN: ("20 ...... {NNDD}", "21 ...... {NNND}", "23 ...... {NDDD}", "24 ...... {NNDD}", "25 ...... {NNND}"),
    RcnRegion.FINLAND: ("23 ...... {NDDD}", "24 ...... {NNDD}", "25 ...... {NNND}"),
    RcnRegion.GREAT_BRITAIN: ("20 ..... V {NNDD}",),
    RcnRegion.GERMANY: ("22 .... V {NNNDD}", "23 .... V {NNNDD}", "25 .... V {NNNNN}", "28 .... V {NNDDD}", "29 .... V {NNDDD}"),
    RcnRegion.DENMARK: ("21 .... {NNNNDD}", "26 .... {NNNDDD}", "27 ..... {NNDDD}"),
}
CASES = [(region, notation) for region, notations in REGIONS.items() for notation in notations]


@given(st.sampled_from(CASES), st.integers(0, 10**10 - 1))
def test_the_countries_that_biip_knows_are_layouts_of_ours(case: tuple[RcnRegion, str], number: int) -> None:
    region, notation = case
    body = notation.replace(" ", "")[2:]
    code = notation[:2] + f"{number:010d}"
    if "V" in body:
        size = body.count("N") + body.count("D")
        code = code[: -size - 1] + str(price_verifier(code[-size:])) + code[-size:]
    code = with_check_digit(code)
    theirs = Gtin.parse(code, config=ParseConfig(rcn_region=region))
    assert isinstance(theirs, Rcn)
    kind = ValueKind.PRICE if theirs.price is not None else ValueKind.COUNT if theirs.count is not None else ValueKind.WEIGHT
    ours = read(code, TODAY, Rules((layout("theirs", notation, kind),)))
    assert ours.embedded is not None
    assert ours.embedded.reference == theirs.item_reference
    assert ours.embedded.gtin14 == theirs.without_variable_measure().as_gtin_14()
    amount = theirs.price if theirs.price is not None else theirs.weight if theirs.weight is not None else theirs.count
    assert amount is not None
    if not amount:
        assert (ours.measure, ours.price) == (None, None)
    elif kind is ValueKind.PRICE:
        assert ours.price is not None
        assert ours.price.minor(2) == amount * 100
    else:
        assert ours.measure is not None
        assert ours.measure.amount == Fraction(amount) * (1000 if kind is ValueKind.WEIGHT else 1)


# -- element strings -------------------------------------------------------------------------------------------------------

ONLY_BIIP = {"8040", "8041", "8042", "8043"}  # of devices, newer than the dictionary that ours is from: skipped up to the separator


def test_both_know_the_same_identifiers_of_the_same_length() -> None:
    for number in range(10_000):
        for width in (2, 3, 4):
            ai = f"{number:0{width}d}"
            if len(ai) != width:
                continue
            try:
                theirs = GS1ApplicationIdentifier.extract(ai)
            except ParseError:
                theirs = None
            mine = identifier(ai)
            known = theirs is not None and theirs.ai == ai
            assert known == (mine is not None) or ai in ONLY_BIIP, ai
            if mine is not None and theirs is not None and known:
                assert mine.separated == theirs.separator_required, ai


messages = st.fixed_dictionaries(
    {"01": gtins},
    optional={
        "10": texts,
        "15": days,
        "16": days,
        "17": days,
        "21": texts,
        "3103": six,
        "3202": six,
        "8005": six,
        "240": texts,
        "30": st.just("7"),
    },
).flatmap(lambda pairs: st.permutations(sorted(pairs.items())))


@given(messages)
def test_element_strings_agree(pairs: list[tuple[str, str]]) -> None:
    text = element_string(pairs)
    ours, problems = parse_elements(text)
    theirs = GS1Message.parse(text).element_strings
    assert problems == ()
    assert [(element.ai, element.value) for element in ours] == [(each.ai.ai, each.value) for each in theirs]
    for each in theirs:
        if each.date is not None:
            assert parse_date(each.value, TODAY) == each.date
    scan = read(text, TODAY)
    measured = next((each for ai in ("3103", "3202") for each in theirs if each.ai.ai == ai), None)
    if measured is not None and measured.decimal is not None:
        grams = Fraction(1000) if measured.ai.ai == "3103" else Fraction("453.59237")
        assert scan.measure == Measure("g", Fraction(measured.decimal) * grams)


@given(st.integers(0, 9), st.text("0123456789", min_size=1, max_size=15))
def test_prices_agree(decimals: int, digits: str) -> None:
    theirs = GS1Message.parse(f"392{decimals}{digits}").element_strings[0] if len(digits) >= decimals else None
    ours = read(f"01{GTIN}392{decimals}{digits}", TODAY).price
    assert ours == Price(int(digits), decimals)
    if theirs is not None and theirs.decimal is not None:
        assert Fraction(theirs.decimal) == Fraction(int(digits), 10**decimals)


@given(days.filter(lambda day: day[4:] != "00"), st.integers(0, 23), st.integers(0, 59))
def test_expiry_times_agree(day: str, hour: int, minute: int) -> None:
    theirs = GS1Message.parse(f"7003{day}{hour:02d}{minute:02d}").element_strings[0].datetime
    ours = read(f"01{GTIN}7003{day}{hour:02d}{minute:02d}", TODAY)
    assert theirs is not None
    assert (ours.expiry, ours.expiry_minute) == (theirs.date(), theirs.hour * 60 + theirs.minute)


def test_biip_goes_on_where_a_lost_separator_makes_the_amount_doubtful_and_we_refuse() -> None:
    lost = f"01{GTIN}30123456789" + "10A"
    assert GS1Message.parse(lost + SEPARATOR).element_strings[1].value == "12345678"
    with pytest.raises(BadCode):
        parse_elements(lost)


def test_biip_refuses_a_message_for_a_bad_date_or_an_unknown_identifier_and_we_sell_the_goods() -> None:
    for tail in ("17260230", f"4999abc{SEPARATOR}10A"):
        with pytest.raises(ParseError):
            GS1Message.parse(f"01{GTIN}{tail}")
        assert scan_of(f"01{GTIN}{tail}").gtin14 == GTIN


def test_biip_takes_a_wrong_check_digit_inside_a_message_and_we_do_not() -> None:
    wrong = f"01{GTIN[:-1]}3"
    assert GS1Message.parse(wrong).element_strings[0].gtin_error
    with pytest.raises(BadCode):
        parse_elements(wrong)


# -- Digital Links ---------------------------------------------------------------------------------------------------------


@given(gtins, st.none() | texts, st.none() | texts, st.none() | texts, st.booleans())
def test_digital_links_agree(gtin: str, variant: str | None, lot: str | None, serial: str | None, asked: bool) -> None:
    uri = digital_link(gtin, "shop.example/stem", lot, serial, [("17", "261231"), ("3103", "000750")] if asked else (), variant=variant)
    ours, _ = parse_link(uri)
    theirs = GS1DigitalLinkURI.parse(uri).element_strings
    assert [(element.ai, element.value) for element in ours] == [(each.ai.ai, each.value) for each in theirs]


@pytest.mark.parametrize(
    "uri, why",
    [
        (f"https://x.example/01/shop/01/{GTIN}", "a stem that looks like a key"),
        (f"https://x.example/01/{GTIN}/", "a slash at the end"),
        (f"https://x.example/01/{GTIN}?10=A+B", "a plus is a plus"),
    ],
)
def test_links_that_only_we_read(uri: str, why: str) -> None:
    assert read(uri, TODAY).gtin14 == GTIN, why
    with pytest.raises(ParseError):
        GS1DigitalLinkURI.parse(uri)


def test_links_that_only_biip_reads() -> None:
    mixed = f"https://x.example/01/{GTIN}/10/A/235/T"
    assert len(GS1DigitalLinkURI.parse(mixed).element_strings) == 3
    with pytest.raises(BadCode):
        parse_link(mixed)


def test_biip_does_not_look_for_a_link_in_an_ordinary_qr_code() -> None:
    text = f"]Q1https://x.example/01/{GTIN}"
    assert parse(text).gs1_digital_link_uri is None
    assert read(text, TODAY).gtin14 == GTIN


def scan_of(text: str) -> Scan:
    return read(text, TODAY)
