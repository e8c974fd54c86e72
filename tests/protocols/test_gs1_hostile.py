"""Any text is a scan or a refusal (BadCode) and nothing else, in steps that grow with its length and no faster."""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.gs1 import CODE_CHARS_MAX, BadCode, read
from protocols.gs1_numbers import with_check_digit
from tests.protocols.test_gs1 import ELEMENTS, GS, GTIN, RULES, TODAY

SYMBOLOGIES = ["", "]E0", "]E3", "]E4", "]C1", "]C0", "]e0", "]d2", "]d1", "]Q3", "]Q1", "]I1", "]J1", "]zz"]
VALID = [
    "4006381333931",
    "04252614",
    with_check_digit("281234501250"),
    ELEMENTS,
    f"(01){GTIN}(10)A(B)C(17)261231",
    f"https://id.gs1.org/01/{GTIN}/22/V/10/A%2F1?17=261231&3103=000750&3922=399",
    f"01{GTIN}39329781234{GS}3103000750{GS}70032603041530",
    "94011",
]
pieces = st.sampled_from(
    [GS, "01", GTIN, "10", "17", "(", ")", "/01/", "/", "?", "&", "=", "%", "%2", "3103", "3922", "https://", "]", "0", "9"]
)


def mutated(text: str, cuts: list[tuple[int, int, str]]) -> str:
    for start, length, put in cuts:
        place = start % (len(text) + 1)
        text = text[:place] + put + text[place + length :]
    return text


hostile = st.one_of(
    st.text(max_size=80),
    st.text("0123456789", max_size=60),
    st.lists(pieces, max_size=20).map("".join),
    st.builds(
        mutated,
        st.sampled_from(VALID),
        st.lists(st.tuples(st.integers(0, 200), st.integers(0, 3), st.one_of(pieces, st.text(max_size=2))), max_size=4),
    ),
)


@settings(max_examples=2_000)
@given(st.sampled_from(SYMBOLOGIES), hostile)
@example("]C1", GS)
@example("", "0" * 4000)
def test_any_text_is_a_scan_or_a_refusal(symbology: str, text: str) -> None:
    try:
        found = read(symbology + text, TODAY, RULES)
    except BadCode:
        return
    assert found.gtin14 is None or (len(found.gtin14) == 14 and found.gtin14.isdecimal())
    assert found.gtin14 is not None or found.plu is not None or any(each.code == "no_item" for each in found.problems)
    assert found.measure is None or found.measure.amount >= 0
    assert found.price is None or found.price.minor(2) >= 0


WORST = (
    "(" * CODE_CHARS_MAX,
    "(01" * CODE_CHARS_MAX,
    f"(01){GTIN}(10)" + "(10)" * CODE_CHARS_MAX,
    GS + f"01{GTIN}" * CODE_CHARS_MAX,
    f"01{GTIN}" + GS * CODE_CHARS_MAX,
    f"01{GTIN}" + "19123456" * CODE_CHARS_MAX,
    f"01{GTIN}" + f"99{'9' * 90}{GS}" * CODE_CHARS_MAX,
    "https://x" + "/01" * CODE_CHARS_MAX,
    f"https://x/01/{GTIN}?" + "17=2&" * CODE_CHARS_MAX,
    "https://x/" + "%" * CODE_CHARS_MAX,
    f"https://x/01/{GTIN}/10/" + "%41" * CODE_CHARS_MAX,
)


@pytest.mark.parametrize("text", WORST)
def test_the_steps_for_a_text_are_in_proportion_to_its_length(text: str) -> None:
    short, long = (steps(text[:length]) for length in (CODE_CHARS_MAX // 4, CODE_CHARS_MAX))
    assert long <= 5 * short + 500


def steps(text: str) -> int:
    """Lines of Python that reading a text carries out, those inside comprehensions included."""
    count = 0

    def line(frame: FrameType, event: str, arg: object) -> Any:
        nonlocal count
        count += 1
        return line

    before = sys.gettrace()
    sys.settrace(line)
    try:
        read(text, TODAY, RULES)
    except BadCode:
        pass
    finally:
        sys.settrace(before)
    return count
