from __future__ import annotations

import contextlib
import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.errors import BadGtin, FieldError, RenderError, SetupError
from render.symbols import gs1, gs1_identifiers
from render.symbols.linear import check_digit

GTIN = "09506000134352"
SET_82 = sorted(gs1_identifiers._SET_82)


def with_check(digits: str) -> str:
    return digits + str(check_digit(digits))


GTINS = st.sampled_from([7, 11, 12, 13]).flatmap(lambda length: st.text("0123456789", min_size=length, max_size=length)).map(with_check)
SIGNS = st.text(SET_82, min_size=1, max_size=20)
MEASURES = st.text("0123456789", min_size=6, max_size=6)
DATES = st.tuples(st.integers(0, 99), st.integers(1, 12), st.integers(0, 28)).map(lambda day: "".join(f"{part:02}" for part in day))
PRICES = st.text("0123456789", min_size=1, max_size=15)


@given(GTINS, DATES, SIGNS, MEASURES, PRICES, SIGNS, st.randoms(use_true_random=False))
def test_what_an_element_string_says_is_read_again(
    gtin: str, day: str, lot: str, weight: str, price: str, serial: str, order: random.Random
) -> None:
    pairs = [("17", day), ("10", lot), ("3103", weight), ("3922", price), ("21", serial), ("91", "a:b")]
    order.shuffle(pairs)
    pairs.insert(0, ("01", gtin))
    text = gs1.element_string(pairs)
    expected = (("01", gtin.rjust(14, "0")), *pairs[1:])
    for prefix in ("", "\x1d", *gs1.SYMBOLOGIES, "]C1\x1d"):
        assert gs1.parse_element_string(prefix + text) == expected


@given(GTINS, st.none() | SIGNS, st.none() | SIGNS, st.none() | SIGNS, st.none() | DATES, st.none() | SIGNS)
def test_what_a_digital_link_says_is_read_again(
    gtin: str, variant: str | None, lot: str | None, serial: str | None, day: str | None, own: str | None
) -> None:
    query = [(ai, value) for ai, value in (("91", own), ("17", day)) if value is not None]
    uri = gs1.digital_link(gtin, "example.com/shelf", lot, serial, query, variant=variant)
    assert re.fullmatch(r"https://example\.com/shelf/01/\d{14}[A-Za-z0-9./%_~?=&-]*", uri)
    link = gs1.parse_digital_link(uri)
    assert link.domain == "example.com"
    assert link.gtin == gtin.rjust(14, "0")
    assert link.qualifiers == tuple((ai, value) for ai, value in (("22", variant), ("10", lot), ("21", serial)) if value is not None)
    assert link.attributes == tuple(sorted(query))


def test_the_digital_link_of_the_standard() -> None:
    expected = "https://id.gs1.org/01/09506000134352/10/ABC1?17=261231"
    for gtin in (GTIN, "9506000134352"):
        assert gs1.digital_link(gtin, lot="ABC1", query=[("17", "261231")]) == expected
    weighed = gs1.digital_link(GTIN, query=[("3922", "399"), ("17", "261231"), ("3103", "000750")])
    assert weighed == f"https://id.gs1.org/01/{GTIN}?17=261231&3103=000750&3922=399"
    assert gs1.digital_link(GTIN, lot="A/B?%", serial="1+2") == f"https://id.gs1.org/01/{GTIN}/10/A%2FB%3F%25/21/1%2B2"


def test_separators_stand_behind_what_has_no_fixed_length_unless_it_is_last() -> None:
    assert gs1.element_string([("01", GTIN), ("10", "A"), ("17", "261200")]) == f"01{GTIN}10A\x1d17261200"
    assert gs1.element_string([("01", GTIN), ("17", "261231"), ("10", "A")]) == f"01{GTIN}1726123110A"
    assert gs1.element_string([("01", GTIN), ("7003", "2612312359"), ("15", "261231")]) == f"01{GTIN}70032612312359\x1d15261231"
    assert gs1.element_string([("255", "9501101530003" + "7")]) == "25595011015300037"


def test_a_separator_that_nobody_needs_is_read_over() -> None:
    assert gs1.parse_element_string(f"01{GTIN}\x1d17261231\x1d10A\x1d") == (("01", GTIN), ("17", "261231"), ("10", "A"))


@pytest.mark.parametrize(
    "pairs, problem",
    [
        ([], "at least one"),
        ([("01", "09506000134353")], "check digit is 3, expected 2"),
        ([("01", "")], "expected 8, 12, 13 or 14"),
        ([("00", "106141412345678909")], "check digit"),
        ([("01", GTIN), ("10", "")], "expected 1 to 20"),
        ([("01", GTIN), ("10", "x" * 21)], "at most 20"),
        ([("01", GTIN), ("10", "a\x1db")], "not allowed"),
        ([("01", GTIN), ("10", "ž")], "not allowed"),
        ([("01", GTIN), ("17", "261301")], "no date"),
        ([("01", GTIN), ("17", "270229")], "no date"),
        ([("01", GTIN), ("7003", "2612002359")], "no date"),  # only day0 fields may leave the day open
        ([("01", GTIN), ("7003", "2612312460")], "no time"),
        ([("01", GTIN), ("3103", "75")], "expected 6"),
        ([("01", GTIN), ("3103", "００750０")], "not allowed"),
        ([("01", GTIN), ("3106", "000750")], "no application identifier"),
        ([("10", "A")], r"needs \(01\) or"),
        ([("01", GTIN), ("3922", "399")], r"needs \(01\)\+\(30\)"),
        ([("01", GTIN), ("10", "A"), ("10", "A")], "twice"),
        ([("01", GTIN), ("255", "9501101530003")], "may not stand beside"),
        ([("01", GTIN), ("21", "1"), ("235", "2")], "may not stand beside"),
    ],
)
def test_a_wrong_element_is_refused_with_its_reason(pairs: list[tuple[str, str]], problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        gs1.element_string(pairs)


@pytest.mark.parametrize(
    "text, problem",
    [
        ("", "empty"),
        ("]C1", "empty"),
        ("]C1\x1d", "empty"),
        (f"01{GTIN}zz", "'zz'"),
        (f"01{GTIN}10", "expected 1 to 20"),
        ("0109506000134353", "check digit"),
        ("01095060001343", "expected 14"),
        (f"01{GTIN}3103750\x1d10A", "not allowed"),
        (f"01{GTIN}]C1", "']C1'"),
    ],
)
def test_a_broken_element_string_is_refused_with_its_reason(text: str, problem: str) -> None:
    with pytest.raises(FieldError, match=re.escape(problem)):
        gs1.parse_element_string(text)


@pytest.mark.parametrize(
    "domain",
    [
        "",
        "ID.GS1.ORG",
        "https://id.gs1.org",
        "id.gs1.org/",
        "id..org",
        "-a.org",
        "a.org?x",
        "a.org/a b",
        "a.org:x",
        "ž.org",
        "a.org\n",
        "a" * 254,
    ],
)
def test_a_domain_that_is_none_is_a_mistake_of_the_set_up(domain: str) -> None:
    with pytest.raises(SetupError, match="domain"):
        gs1.digital_link(GTIN, domain)


def test_only_attributes_may_be_in_the_query() -> None:
    for ai in ("21", "22", "235"):
        with pytest.raises(FieldError, match="query"):
            gs1.digital_link(GTIN, query=[(ai, "1")])
        with pytest.raises(FieldError, match="query"):
            gs1.parse_digital_link(f"https://id.gs1.org/01/{GTIN}?{ai}=1")
    with pytest.raises(FieldError, match="twice"):
        gs1.digital_link(GTIN, lot="A", query=[("10", "B")])
    with pytest.raises(FieldError, match="no application identifier"):
        gs1.digital_link(GTIN, query=[("5", "B")])


@pytest.mark.parametrize(
    "uri",
    [
        f"https://example.com/01/{GTIN}",
        f"HTTP://EXAMPLE.com/some/stem/01/{GTIN}#fragment",
        "https://example.com/01/9506000134352?linkType=gs1:pip&5=1&lang=&x",
        f"https://example.com/a/01/12345678/01/{GTIN}",
    ],
)
def test_a_digital_link_is_read_on_any_domain_and_path(uri: str) -> None:
    assert gs1.parse_digital_link(uri) == gs1.DigitalLink("example.com", GTIN, (), ())


def test_a_lot_that_looks_like_a_key_is_a_lot() -> None:
    assert gs1.parse_digital_link(f"https://example.com/01/{GTIN}/10/01/21/01").qualifiers == (("10", "01"), ("21", "01"))
    assert gs1.parse_digital_link(f"https://example.com/01/{GTIN}/235/A%2fB?17=261231;91=c").attributes == (("17", "261231"), ("91", "c"))


@pytest.mark.parametrize(
    "uri, problem",
    [
        ("", "expected http"),
        (f"ftp://example.com/01/{GTIN}", "expected http"),
        ("https://example.com", "GTIN in its path"),
        ("https://example.com/02/09506000134352", "GTIN in its path"),
        ("https://example.com/01/09506000134353", "check digit"),
        (f"https://example.com/01/{GTIN}/10", "GTIN in its path"),
        (f"https://example.com/01/{GTIN}/10/A/22/B", "in this order"),
        (f"https://example.com/01/{GTIN}/22/A/235/B", "in this order"),
        (f"https://example.com/01/{GTIN}/21/A/21/B", "in this order"),
        (f"https://example.com/01/{GTIN}/10/%4", "hexadecimal"),
        (f"https://example.com/01/{GTIN}/10/%c5%be", "not allowed"),
        (f"https://example.com/01/{GTIN}?17=261301", "no date"),
    ],
)
def test_a_broken_digital_link_is_refused_with_its_reason(uri: str, problem: str) -> None:
    with pytest.raises(FieldError, match=problem):
        gs1.parse_digital_link(uri)


def test_a_wrong_gtin_is_a_bad_gtin_everywhere() -> None:
    for attempt in (
        lambda: gs1.digital_link("4006381333932"),
        lambda: gs1.parse_digital_link("https://id.gs1.org/01/4006381333932"),
        lambda: gs1.element_string([("01", "4006381333932")]),
    ):
        with pytest.raises(BadGtin):
            attempt()


@given(st.text(max_size=30) | st.text("0123456789/?=&%:]C1\x1d", max_size=30).map(lambda text: f"https://a/01/{GTIN}" + text))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (gs1.parse_element_string, gs1.parse_digital_link):
        with contextlib.suppress(RenderError):
            parse(text)


def test_no_identifier_begins_with_another_one() -> None:
    known = set(gs1_identifiers._KNOWN)
    assert len(known) > 150
    assert not [ai for ai in known if any(ai != other and ai.startswith(other) for other in known)]
    assert {need for ai in known for together in gs1_identifiers.identifier(ai).needs for need in together if "n" not in need} <= known
