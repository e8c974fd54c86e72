"""The `[scan]` table: what it means, and that a layout which could misread a code is refused."""

from __future__ import annotations

import pytest

from edge.config import ConfigError, parse
from protocols.gs1 import Rules
from protocols.gs1_embedded import PriceVerifier, ValueKind, WeightUnit, layout
from tests.edge.test_config import MINIMAL

WEIGHT = "[[scan.layout]]\nname = 'kilo'\npattern = '28 .... V {NNDDD} C'\nvalue = 'weight'\n"


def rules(text: str) -> Rules:
    return parse(MINIMAL + text, "shop.toml").scan


def test_without_the_table_there_are_plus_and_no_layouts() -> None:
    assert rules("") == Rules((), PriceVerifier.GS1, plu=True)


def test_layouts_arrive_as_the_parser_takes_them() -> None:
    found = rules(
        "[scan]\nplu = false\nprice_verifier = 'ten_minus'\n" + WEIGHT + "[[scan.layout]]\nname = 'us'\npattern = '2 0 .... PPPPP C'\n"
        "value = 'price'\nitem = 'plu'\n[[scan.layout]]\nname = 'lb'\npattern = '29.....{NNNDD}'\nvalue = 'weight'\nunit = 'lb'\n"
    )
    assert found.layouts == (
        layout("kilo", "28 .... V {NNDDD}", ValueKind.WEIGHT),
        layout("us", "20....{NNNDD}C", ValueKind.PRICE, by_plu=True),
        layout("lb", "29.....{NNNDD}", ValueKind.WEIGHT, unit=WeightUnit.LB),
    )
    assert (found.plu, found.verifier) == (False, PriceVerifier.TEN_MINUS)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("[scan]\nplu = 1\n", "scan.plu: found 1, expected true or false"),
        ("[scan]\nprice_verifier = 'old'\n", 'scan.price_verifier: found "old", expected "gs1" or "ten_minus" or "none"'),
        ("[scan]\nlayouts = []\n", 'scan.layouts: unknown key, did you mean "layout"?'),
        (WEIGHT.replace("28 ", "40 "), "scan.layout[1].pattern: found"),
        (WEIGHT.replace("28 ", "40 "), "2 or 02 or 04 in front"),
        (WEIGHT.replace("{NNDDD}", "NNDDD"), "one value such as {NNNDD}"),
        (WEIGHT.replace("28 ....", "28 <b>"), "expected digits and signs"),
        (WEIGHT.replace("'weight'", "'money'"), 'expected "price" or "weight" or "count"'),
        (WEIGHT.replace("'weight'", "'price'") + "unit = 'lb'\n", 'scan.layout[1].unit: only of a value = "weight"'),
        (WEIGHT + WEIGHT, "scan.layout[2].name: found"),
        (WEIGHT + WEIGHT.replace("kilo", "other"), 'scan.layout[2].pattern: found "28 .... V {NNDDD} C", expected a pattern that no code'),
        (WEIGHT.replace("'weight'\n", "'weight'\nitem = 'sku'\n"), 'expected "code" or "plu"'),
    ],
)
def test_a_mistake_is_one_line_with_its_place(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as refused:
        rules(text)
    assert expected in str(refused.value)
    assert "\n" not in str(refused.value)
