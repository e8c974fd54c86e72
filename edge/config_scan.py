"""The `[scan]` table: what the store's own bar codes mean. Parsed once into `protocols.gs1.Rules`."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from edge.config_reader import Table
from protocols.gs1 import Rules
from protocols.gs1_embedded import Layout, PriceVerifier, ValueKind, WeightUnit, layout
from protocols.gs1_numbers import BadCode

SCAN_KEYS: Final = ("plu", "price_verifier", "layout")
LAYOUT_KEYS: Final = ("name", "pattern", "value", "unit", "item")
LAYOUTS_MAX: Final = 64  # prefixes 20 to 29, 02 and 04, some of them divided by their next digit


class ItemDigits(StrEnum):
    """What the item digits of a layout are: part of a code in the catalogue, or a PLU."""

    CODE = "code"
    PLU = "plu"


def scan_rules(top: Table) -> Rules:
    """The rules of the `[scan]` table below `top`. Raises ConfigError."""
    table = top.table("scan", SCAN_KEYS)
    layouts: list[Layout] = []
    for each in table.tables("layout", LAYOUT_KEYS, count_max=LAYOUTS_MAX):
        made = _layout(each)
        for other in layouts:
            if other.name == made.name:
                raise each.bad("name", "another name: an earlier layout has this one")
            if other.overlaps(made):
                raise each.bad("pattern", f'a pattern that no code of layout "{other.name}" matches')
        layouts.append(made)
    verifier = table.choice("price_verifier", PriceVerifier, default=PriceVerifier.GS1)
    return Rules(tuple(layouts), verifier, table.boolean("plu", default=True))


def _layout(table: Table) -> Layout:
    expected = 'digits and signs such as "28 ..... {NNDDD}" or "2 IIIII V PPPP C"'
    name = table.text("name", "1 to 32 letters, digits, _ or -", pattern="[A-Za-z0-9_-]{1,32}")
    pattern = table.text("pattern", expected, pattern=r"[0-9IVPCND{}. ]{1,60}")
    kind = table.choice("value", ValueKind)
    unit = table.choice("unit", WeightUnit, default=WeightUnit.KG)
    if table.has("unit") and kind is not ValueKind.WEIGHT:
        raise table.error("unit", 'only of a value = "weight"')
    by_plu = table.choice("item", ItemDigits, default=ItemDigits.CODE) is ItemDigits.PLU
    try:
        return layout(name, pattern, kind, unit=unit, by_plu=by_plu)
    except BadCode as error:
        raise table.bad("pattern", error.expected) from error
