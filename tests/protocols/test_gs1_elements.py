"""Element strings: what the labels print is read back, every structure fault is named, and unknown identifiers are passed over."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.gs1_elements import SEPARATOR, Element, parse_elements, parse_human
from protocols.gs1_identifiers import identifier, length_by_prefix, starting
from protocols.gs1_numbers import BadCode, with_check_digit
from render.symbols import gs1_identifiers as printing
from render.symbols.gs1 import element_string

GTIN = "09506000134352"
SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

gtins = st.text("0123456789", min_size=13, max_size=13).map(with_check_digit)
texts = st.text(SET_82, min_size=1, max_size=20)
days = st.tuples(st.integers(0, 99), st.integers(1, 12), st.integers(0, 28)).map(lambda day: "{:02d}{:02d}{:02d}".format(*day))
six = st.text("0123456789", min_size=6, max_size=6)
# what a shop meets on goods, in any order
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
        "3922": st.text("0123456789", min_size=1, max_size=15),
        "8005": six,
        "7003": st.just("2612311159"),
        "240": texts,
    },
).flatmap(lambda pairs: st.permutations(sorted(pairs.items())))


@given(messages)
def test_what_a_label_prints_is_read_back(pairs: list[tuple[str, str]]) -> None:
    if any(ai == "3922" for ai, _ in pairs) and not any(ai[:2] in ("31", "32") for ai, _ in pairs):
        pairs = [*pairs, ("3103", "000500")]
    text = element_string(pairs)
    for written in (text, SEPARATOR + text, text + SEPARATOR, text.replace(SEPARATOR, SEPARATOR * 2)):
        found, problems = parse_elements(written)
        assert [(element.ai, element.value) for element in found] == list(pairs)
        assert problems == ()


@given(messages)
def test_the_form_with_parentheses_says_the_same(pairs: list[tuple[str, str]]) -> None:
    if any("(" in value for _, value in pairs):
        return
    found, problems = parse_human("".join(f"({ai}){value}" for ai, value in pairs))
    assert [(element.ai, element.value) for element in found] == list(pairs)
    assert problems == ()


def test_a_parenthesis_in_a_value_stays_there_unless_an_identifier_stands_in_it() -> None:
    found, _ = parse_human(f"(01){GTIN}(10)A(B)C(4x)(21)7")
    assert found == (Element("01", GTIN), Element("10", "A(B)C(4x)"), Element("21", "7"))


# -- the two tables --------------------------------------------------------------------------------------------------------


def test_what_the_labels_may_print_the_lanes_read_by_the_same_format() -> None:
    signs = {"N": "0123456789", "X": SET_82, "Y": "#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"}
    compared = 0
    for number in range(10_000):
        for width in (2, 3, 4):
            ai = f"{number:0{width}d}"
            if len(ai) != width or (printed := printing._KNOWN.get(ai)) is None:
                continue
            read = identifier(ai)
            assert read is not None, ai
            assert (read.separated, read.in_query) == (printed.separated, printed.in_query), ai
            assert read.length_max == printed.length_max, ai
            assert read.length_min == sum(part.length_min for part in printed.parts if not part.optional), ai
            whole = [sign for part in printed.parts for sign in [sorted(part.signs)] * part.length_max]
            mine = [sign for part in read.parts for sign in [sorted(signs[part.kind])] * part.length_max]
            assert mine == whole, ai
            compared += 1
    assert compared == len(printing._KNOWN) > 100


def test_no_identifier_begins_with_another_one_and_fixed_ones_have_the_length_of_their_prefix() -> None:
    known = [
        ai for number in range(10_000) for width in (2, 3, 4) if identifier(ai := f"{number:0{width}d}") is not None and len(ai) == width
    ]
    assert len(known) > 500
    for ai in known:
        found = identifier(ai)
        assert found is not None
        assert starting(ai + "zz") is found
        assert length_by_prefix(ai) == (None if found.separated else len(ai) + found.length_max)


# -- faults ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, where, expected",
    [
        ("", "", "application identifier"),
        (SEPARATOR, "", "application identifier"),
        ("xyz", "place 1", "application identifier"),
        ("0", "place 1", "application identifier"),
        (f"01{GTIN}1", "place 17", "application identifier"),
        ("01" + GTIN[:-1], "(01) at place 1", "14 characters, not 13"),
        ("01" + GTIN[:-1] + "3", "place 14", "check digit 2"),
        (f"01{GTIN}10", "(10) at place 17", "1 to 20 characters and a separator, not 0"),
        (f"01{GTIN}10{'A' * 21}", "(10) at place 17", "1 to 20 characters and a separator, not 21"),
        (f"01{GTIN}3012345678917261231", "(30) at place 17", "1 to 8 characters"),
        (f"01{GTIN}310300075", "(3103) at place 17", "6 characters, not 5"),
        (f"01{GTIN}31030x0750", "(3103) '0x0750' at place 17", "its format"),
        (f"01{GTIN}3103000750{SEPARATOR}3103000751", "(3103)", "the same value as before"),
        (f"01{GTIN}0100036000291452", "(01)", "the same value as before"),
        (f"01{GTIN}11261", "(11) at place 17", "6 characters, not 3"),
        (f"01{GTIN}041234{SEPARATOR}", "place 17", "18 characters"),
        (f"01{GTIN}39301", "(3930) at place 17", "4 to 18 characters"),
    ],
)
def test_a_broken_structure_is_refused_with_its_place(text: str, where: str, expected: str) -> None:
    with pytest.raises(BadCode) as refused:
        parse_elements(text)
    assert where in refused.value.where
    assert expected in refused.value.expected


@pytest.mark.parametrize(
    "text, code, read",
    [
        (f"01{GTIN}4999abc{SEPARATOR}10L1", "unknown_ai", "10"),
        (f"01{GTIN}04{'1' * 16}10L1", "unknown_ai", "10"),
        (f"01{GTIN}19261231" + "10L1", "unknown_ai", "10"),
        (f"01{GTIN}700326123112" + "00" + "10L1", "missing_separator", "10"),
        (f"01{GTIN}10Löt", "bad_value", "10"),
        (f"01{GTIN}10A{SEPARATOR}10B", "repeated", "10"),
        (f"02{GTIN[:-1]}3{SEPARATOR}371", "bad_value", "37"),
    ],
)
def test_what_only_informs_is_noted_and_the_rest_is_read(text: str, code: str, read: str) -> None:
    found, problems = parse_elements(text)
    assert [problem.code for problem in problems] == [code]
    assert read in {element.ai for element in found}


@pytest.mark.parametrize(
    "text",
    ["01)", "(01", "()", "(01)", "(1)2", "(01)0950600013435", f"x(01){GTIN}", f"(01){GTIN}(10)", "(99x)1", f"(01){GTIN}(30)123456789"],
)
def test_broken_parentheses_are_refused(text: str) -> None:
    with pytest.raises(BadCode):
        parse_human(text)


def test_the_same_element_twice_says_nothing_new() -> None:
    found, problems = parse_elements(f"01{GTIN}10A{SEPARATOR}01{GTIN}10A")
    assert (len(found), problems) == (2, ())
