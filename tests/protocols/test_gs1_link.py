"""Digital Links: any domain and stem, qualifiers in order, attributes in the query; what is compressed or broken says so."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.gs1_link import parse_link
from protocols.gs1_numbers import BadCode, with_check_digit
from render.symbols.gs1 import digital_link

GTIN = "09506000134352"
SET_82 = "!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz"

texts = st.text(SET_82, min_size=1, max_size=20)
domains = st.sampled_from(
    ["id.gs1.org", "shop.example", "a.b-c.example:8443", "shop.example/stem/of/words", "x.example/01/y", "x.example/10"]
)


def pairs_of(uri: str) -> list[tuple[str, str]]:
    found, problems = parse_link(uri)
    assert problems == ()
    return [(element.ai, element.value) for element in found]


def test_the_example_of_the_notes_is_read() -> None:
    assert pairs_of("https://id.gs1.org/01/09506000134352/10/ABC1?17=261231") == [("01", GTIN), ("10", "ABC1"), ("17", "261231")]
    query = "https://id.gs1.org/01/09506000134352?17=261231&3103=000750&3922=399"
    assert pairs_of(query) == [("01", GTIN), ("17", "261231"), ("3103", "000750"), ("3922", "399")]


@given(
    st.text("0123456789", min_size=13, max_size=13).map(with_check_digit),
    domains,
    st.none() | texts,
    st.none() | texts,
    st.none() | texts,
    st.booleans(),
)
def test_what_a_label_prints_is_read_back(
    gtin: str, domain: str, variant: str | None, lot: str | None, serial: str | None, asked: bool
) -> None:
    query = [("3103", "000750"), ("17", "261231")] if asked else []
    uri = digital_link(gtin, domain, lot, serial, query, variant=variant)
    path = [(ai, value) for ai, value in (("22", variant), ("10", lot), ("21", serial)) if value is not None]
    assert pairs_of(uri) == [("01", gtin), *path, *sorted(query)]


@pytest.mark.parametrize(
    "uri",
    [
        f"http://x.example/01/{GTIN}",
        f"HTTPS://X.EXAMPLE/01/{GTIN}",
        f"https://x.example/01/{GTIN}/",
        f"https://x.example/01/{GTIN}#top",
        f"https://x.example/01/{GTIN}?linkType=gs1:pip&context=de&999=1&17",
        "https://x.example/01/9506000134352",
        f"https://x.example/p/10/01/{GTIN}",
        f"https://x.example/01/shop/01/{GTIN}",
        f"https://user@x.example:8443/%2F/01/{GTIN}?a=%zz",
        f"https://[::1]/01/{GTIN}",
    ],
)
def test_domain_stem_and_foreign_keys_do_not_matter(uri: str) -> None:
    assert pairs_of(uri) == [("01", GTIN)]


def test_numbers_of_eight_to_fourteen_digits_are_keys() -> None:
    assert pairs_of("https://x.example/01/96385074") == [("01", "00000096385074")]
    assert pairs_of("https://x.example/01/036000291452") == [("01", "00036000291452")]


def test_the_other_qualifier_stands_alone() -> None:
    assert pairs_of(f"https://x.example/01/{GTIN}/235/TPX%2F1") == [("01", GTIN), ("235", "TPX/1")]


def test_a_slash_or_a_plus_in_a_value_is_part_of_it() -> None:
    assert pairs_of(f"https://x.example/01/{GTIN}/10/A%2FB+C?240=X%26Y+1;17=261231") == [
        ("01", GTIN),
        ("10", "A/B+C"),
        ("240", "X&Y+1"),
        ("17", "261231"),
    ]


@pytest.mark.parametrize(
    "uri, expected",
    [
        ("https://", "a domain"),
        (f"https:///01/{GTIN}", "a domain"),
        ("https://x.example", "a domain, then a path"),
        ("ftp://x.example/01/" + GTIN, "https://"),
        ("https://x.example/", "/01/, a GTIN"),
        (f"https://x.example/01/{GTIN[:-1]}3", "check digit 2"),
        ("https://x.example/01/", "/01/, a GTIN"),
        (f"https://x.example/01/{GTIN}/10/A/22/B", "22, 10, 21 in this order"),
        (f"https://x.example/01/{GTIN}/235/T/10/A", "22, 10, 21 in this order"),
        (f"https://x.example/01/{GTIN}/10/A/10/B", "22, 10, 21 in this order"),
        (f"https://x.example/01/{GTIN}/17/261231", "22, 10, 21 in this order"),
        (f"https://x.example/01/{GTIN}/10", "/01/, a GTIN"),
        (f"https://x.example/01/{GTIN}/10/A%4", "two hexadecimal digits"),
        (f"https://x.example/01/{GTIN}?3103=75", "its format"),
        (f"https://x.example/01/{GTIN}?3103=000750&3103=000751", "the same value as before"),
        (f"https://x.example/01/{GTIN}?01=00036000291452", "the same value as before"),
        ("https://x.example/AQnYUc1gmiERBhQ", "compressed links are not read"),
        (f"https://x.example/01/{GTIN}/QnYUc1gmiERBhQ", "compressed links are not read"),
    ],
)
def test_a_broken_link_is_refused_with_a_reason(uri: str, expected: str) -> None:
    with pytest.raises(BadCode) as refused:
        parse_link(uri)
    assert expected in refused.value.expected


@pytest.mark.parametrize(
    "query, code", [("21=S1", "not_in_query"), ("235=T", "not_in_query"), ("10=A&10=B", "repeated"), ("17=2612", "bad_value")]
)
def test_what_only_informs_is_noted(query: str, code: str) -> None:
    found, problems = parse_link(f"https://x.example/01/{GTIN}?{query}")
    assert [problem.code for problem in problems] == [code]
    assert found[0].value == GTIN
    assert "21" not in {element.ai for element in found}
