"""In-store codes that hold a price, a weight or a count: layouts, their notation, and price verifiers.

Pure. What the digits of such a code mean is set by a country or a chain, never by GS1 alone, so each layout is configuration. Numbers
of restricted circulation begin with 2, 02 or 04 (GTIN-12: 2 or 4; GTIN-8: 0 or 2): GS1 General Specifications 2.1.11.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Final

from protocols.gs1_numbers import BadCode, is_digits, with_check_digit

WHAT: Final = "in-store code"
PATTERN_CHARS_MAX: Final = 60  # 13 digits with a space between any two and braces
ITEM_DIGITS_MIN: Final = 2  # fewer cannot name the items of a counter
VALUE_DIGITS_MAX: Final = 6  # what a code of 13 digits has room for beside a prefix and an item

# Weighting tables of GS1 General Specifications 7.9.2; the minus and plus belong to the names.
_TWO_MINUS: Final = (0, 2, 4, 6, 8, 9, 1, 3, 5, 7)
_THREE: Final = (0, 3, 6, 9, 2, 5, 8, 1, 4, 7)
_FIVE_PLUS: Final = (0, 5, 1, 6, 2, 7, 3, 8, 4, 9)
_FIVE_MINUS: Final = (0, 5, 9, 4, 8, 3, 7, 2, 6, 1)


class PriceVerifier(StrEnum):
    """How the verifier digit of a four-digit value is computed. A five-digit value has one way, 7.9.4, in both."""

    GS1 = "gs1"  # 3 x the sum of the weighted digits, as 7.9.3 says
    TEN_MINUS = "ten_minus"  # 10 - the sum: what some scales and tills print instead
    NONE = "none"  # the digit is used for something else: not looked at


class ValueKind(StrEnum):
    """What the value of an in-store code is."""

    PRICE = "price"  # the total, in the store's currency
    WEIGHT = "weight"
    COUNT = "count"


class WeightUnit(StrEnum):
    """The unit in front of the decimals of a weight."""

    KG = "kg"
    G = "g"
    LB = "lb"


GRAMS: Final = {WeightUnit.KG: Fraction(1000), WeightUnit.G: Fraction(1), WeightUnit.LB: Fraction(45_359_237, 100_000)}  # lb: by law


def price_verifier(value: str, variant: PriceVerifier = PriceVerifier.GS1) -> int:
    """The verifier digit of a value of four or five digits. Raises ValueError for another length; NONE has no digit."""
    if not is_digits(value) or len(value) not in (4, 5) or variant is PriceVerifier.NONE:
        raise ValueError(f"a price verifier is of 4 or 5 digits, not {value!r} ({variant})")
    one, two, three, four, *rest = (int(digit) for digit in value)
    if rest:
        total = _FIVE_PLUS[one] + _TWO_MINUS[two] + _FIVE_MINUS[three] + _FIVE_PLUS[four] + _TWO_MINUS[rest[0]]
        return _FIVE_MINUS.index(-total % 10)
    total = _TWO_MINUS[one] + _TWO_MINUS[two] + _THREE[three] + _FIVE_MINUS[four]
    return -total % 10 if variant is PriceVerifier.TEN_MINUS else 3 * total % 10


@dataclass(frozen=True, slots=True)
class Embedded:
    """What a layout read. `gtin14` is the key of the item: the same number with value and verifier 0 and its own check digit."""

    layout: str
    kind: ValueKind
    reference: str  # the item digits
    gtin14: str
    digits: int  # the value without its decimal point
    decimals: int
    unit: WeightUnit  # of a weight
    by_plu: bool  # the reference is a PLU, perhaps with zeros in front


@dataclass(frozen=True, slots=True)
class Layout:
    """One meaning of in-store codes. `pattern` has 14 places, zeros in front: digits that must be there, I item, V verifier, D value, C.

    Made by `layout`, which checks it.
    """

    name: str
    pattern: str
    kind: ValueKind
    decimals: int
    unit: WeightUnit = WeightUnit.KG
    by_plu: bool = False

    def matches(self, gtin14: str) -> bool:
        """Whether every digit that the layout names stands in its place."""
        return all(sign == digit for sign, digit in zip(self.pattern, gtin14, strict=True) if sign.isdigit())

    def overlaps(self, other: Layout) -> bool:
        """Whether some number matches both."""
        return all(a == b for a, b in zip(self.pattern, other.pattern, strict=True) if a.isdigit() and b.isdigit())

    def read(self, gtin14: str, verifier: PriceVerifier) -> Embedded:
        """The parts of a number that matches and whose check digit is right. Raises BadCode for a wrong verifier digit."""
        value = self._picked(gtin14, "D")
        found = self._picked(gtin14, "V")
        if found and verifier is not PriceVerifier.NONE:
            wanted = price_verifier(value, verifier)
            if int(found) != wanted:
                raise BadCode(WHAT, f"{gtin14} verifier {found} of {value}, layout {self.name}", f"verifier {wanted} ({verifier})")
        key = "".join("0" if sign in "VD" else digit for sign, digit in zip(self.pattern, gtin14, strict=True))
        return Embedded(
            self.name,
            self.kind,
            self._picked(gtin14, "I"),
            with_check_digit(key[:-1]),
            int(value),
            self.decimals,
            self.unit,
            self.by_plu,
        )

    def _picked(self, gtin14: str, wanted: str) -> str:
        return "".join(digit for sign, digit in zip(self.pattern, gtin14, strict=True) if sign == wanted)


def layout(name: str, notation: str, kind: ValueKind, *, unit: WeightUnit = WeightUnit.KG, by_plu: bool = False) -> Layout:
    """A layout from its notation. Raises BadCode, whose `where` is the notation and whose text says what is wrong.

    One sign per digit, spaces anywhere: 0-9 must stand there; `.` or `I` a digit of the item; `V` the price verifier; `{NNNDD}` the
    value, N before and D behind its decimal point; `PPPP` and `PPPPP` the same with two decimals; `C` the check digit, which may be
    left out. With C there are 8, 12 or 13 signs.
    """
    if len(notation) > PATTERN_CHARS_MAX:
        raise BadCode("layout", name, f"at most {PATTERN_CHARS_MAX} characters")
    signs, decimals = _expanded(notation)
    if not signs.endswith("C"):
        signs += "C"
    if len(signs) not in (8, 12, 13) or "C" in signs[:-1]:
        raise BadCode("layout", notation, f"8, 12 or 13 digits with the check digit, found {len(signs)}")
    fault = _fault(signs, kind)
    if fault:
        raise BadCode("layout", notation, fault)
    if kind is ValueKind.COUNT and decimals:
        raise BadCode("layout", notation, "a count without decimals")
    return Layout(name, signs.zfill(14), kind, decimals, unit, by_plu)


def _expanded(notation: str) -> tuple[str, int]:
    """One sign per digit (D for the value) and the value's decimals."""
    bare = notation.replace(" ", "").replace(".", "I")
    head, brace, rest = bare.partition("{")
    if brace:
        value, closing, tail = rest.partition("}")
        whole, point = value.rstrip("D"), len(value) - len(value.rstrip("D"))
        if not closing or not value or whole.strip("N") or "P" in head + tail or not set(head + tail) <= set("0123456789IVC"):
            raise BadCode("layout", notation, "digits, . or I, V, C, and one value such as {NNNDD}")
        return head + "D" * len(value) + tail, point
    if not set(bare) <= set("0123456789IVPC"):
        raise BadCode("layout", notation, "digits, . or I, V, C, and one value such as {NNNDD} or PPPP")
    return bare.replace("P", "D"), 2


def _fault(signs: str, kind: ValueKind) -> str:
    """What a layout of one sign per digit should have and has not, or ""."""
    digits = signs.count("D")
    if not 1 <= digits <= VALUE_DIGITS_MAX or "D" * digits not in signs:
        return f"one value of 1 to {VALUE_DIGITS_MAX} digits"
    if signs.count("I") < ITEM_DIGITS_MIN:
        return f"at least {ITEM_DIGITS_MIN} digits of the item"
    if signs.count("V") > 1 or ("V" in signs and digits not in (4, 5)):
        return "one V at most, beside a value of 4 or 5 digits"
    first = {8: ("0", "2"), 12: ("2", "4"), 13: ("2", "02", "04")}[len(signs)]
    if not signs.startswith(first):
        return f"{' or '.join(first)} in front: other numbers belong to somebody's goods"
    return ""
