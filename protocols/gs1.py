"""Whatever a scanner or a cashier sends as a code: one function, `read`, and what it says of the goods.

Pure: `today` is an argument, nothing is looked up. Raises BadCode and nothing else, for any text, in time linear in its length.
Reads GTINs, UPC-E, PLUs, in-store codes by the store's layouts, GS1 element strings, GS1 Digital Links; with or without a symbology
identifier in front. docs/reference/scanning.md is the contract.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date
from enum import StrEnum
from fractions import Fraction
from typing import Final

from protocols.gs1_dates import parse_date, parse_minute
from protocols.gs1_elements import SEPARATOR, Element, parse_elements, parse_human
from protocols.gs1_embedded import GRAMS, Embedded, Layout, PriceVerifier, ValueKind
from protocols.gs1_identifiers import starting
from protocols.gs1_link import is_link, parse_link
from protocols.gs1_numbers import GTIN_LENGTHS, BadCode, Problem, gtin14, is_digits, shown, upc_e_expanded

__all__ = ["BadCode", "Form", "Measure", "Price", "Problem", "Rules", "Scan", "read"]

CODE_CHARS_MAX: Final = 2048  # as long as a web address that browsers agree on; the lane protocol allows far less
ELEMENT_CHARS_MIN: Final = 16  # (01) and its GTIN: shorter digits without a symbology identifier are item numbers
WHAT: Final = "code"

_EAN_UPC: Final = "]E0"
_EAN_UPC_WITH_ADDON: Final = "]E3"
_ADDON_ALONE: Final = ("]E1", "]E2")
_EAN_8: Final = "]E4"
_ITF: Final = ("]I0", "]I1", "]I3")
_ELEMENTS: Final = ("]C1", "]e0", "]e1", "]e2", "]d2", "]Q3", "]J1")  # GS1-128, DataBar and composite, DataMatrix, QR, DotCode
_BLANKS: Final = " \t\r\n"  # what scanners are set to send around a code


class Form(StrEnum):
    """How the code was written."""

    NUMBER = "number"  # GTIN or UPC-E
    PLU = "plu"
    ELEMENTS = "elements"
    LINK = "link"


@dataclass(frozen=True, slots=True)
class Measure:
    """A quantity that a code carries: exact, in `each`, `g`, `ml` or `mm`."""

    unit: str
    amount: Fraction

    @property
    def whole(self) -> int:
        """Whole units, rounded down: nobody is charged for more than is in the pack."""
        return int(self.amount)


@dataclass(frozen=True, slots=True)
class Price:
    """A total that a code carries: `digits` with `decimals` of them behind the point. `currency`: ISO 4217 number, "" the local one."""

    digits: int
    decimals: int
    currency: str = ""

    def minor(self, exponent: int) -> int:
        """In a currency's minor unit; a fraction of one is dropped, in the customer's favour."""
        shift = 10 ** abs(exponent - self.decimals)
        return int(self.digits * shift if exponent >= self.decimals else self.digits // shift)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a code says. `gtin14` is the item's key; `also` are other keys that the same digits may mean, in order of likelihood.

    With `embedded` the item may be stored under `embedded.gtin14`. `elements` holds every identifier read, also those without a
    field of their own. `problems` are faults that did not keep the code from being read.
    """

    form: Form
    symbology: str = ""
    gtin14: str | None = None
    also: tuple[str, ...] = ()
    plu: str | None = None
    embedded: Embedded | None = None
    measure: Measure | None = None
    price: Price | None = None
    lot: str | None = None
    serial: str | None = None
    variant: str | None = None
    expiry: date | None = None  # 17 or 7003
    expiry_minute: int | None = None  # of that day, from 7003
    best_before: date | None = None
    sell_by: date | None = None
    unit_price: str | None = None  # 8005: six digits whose meaning trading partners agree on
    addon: str | None = None  # of a magazine or book
    elements: tuple[Element, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a store's own codes mean."""

    layouts: tuple[Layout, ...] = ()
    verifier: PriceVerifier = PriceVerifier.GS1
    plu: bool = True


def read(text: str, today: date, rules: Rules | None = None) -> Scan:
    """What a code says. Raises BadCode where it cannot be read without doubt about the item or the amount."""
    rules = rules or Rules()
    if len(text) > CODE_CHARS_MAX:
        raise BadCode(WHAT, shown(text), f"at most {CODE_CHARS_MAX} characters, not {len(text)}")
    bare = text.strip(_BLANKS)
    symbology = bare[:3] if bare.startswith("]") else ""
    body = bare[len(symbology) :]
    if not body or len(symbology) in (1, 2):
        raise BadCode(WHAT, shown(text), "a code")
    scan = _by_symbology(symbology, body, today, rules)
    return replace(scan, symbology=symbology) if symbology else scan


def _by_symbology(symbology: str, body: str, today: date, rules: Rules) -> Scan:
    """Symbologies that hold item numbers or elements are taken at their word; the others are read by what they hold."""
    if is_link(body):
        return _of_elements(Form.LINK, *parse_link(body), today, rules)
    if symbology in _ELEMENTS:
        return _of_elements(Form.ELEMENTS, *parse_elements(body), today, rules)
    if symbology == _EAN_8:
        if len(body) != 8:
            raise BadCode("EAN-8", shown(body), "8 digits")
        return _of_numbers((gtin14(body),), rules)
    if symbology == _EAN_UPC:
        return _of_numbers((_ean_or_upc(body),), rules)
    if symbology == _EAN_UPC_WITH_ADDON:
        if len(body) not in (15, 18) or not is_digits(body):
            raise BadCode("EAN with add-on", shown(body), "13 digits, then 2 or 5")
        return replace(_of_numbers((gtin14(body[:13]),), rules), addon=body[13:])
    if symbology in _ADDON_ALONE:
        raise BadCode("add-on", shown(body), "the code beside it")
    if symbology in _ITF and len(body) != 14:
        raise BadCode("ITF-14", shown(body), "14 digits")
    return _by_content(body, today, rules)


def _by_content(body: str, today: date, rules: Rules) -> Scan:
    if body.startswith("("):
        return _of_elements(Form.ELEMENTS, *parse_human(body), today, rules)
    if is_digits(body):
        if len(body) in (4, 5):
            return Scan(Form.PLU, plu=_plu(body, rules))
        if len(body) in GTIN_LENGTHS:
            return _of_numbers(_readings(body), rules)
    if body.startswith(SEPARATOR) or (len(body) >= ELEMENT_CHARS_MIN and starting(body) is not None):
        return _of_elements(Form.ELEMENTS, *parse_elements(body), today, rules)
    raise BadCode(WHAT, shown(body), "an item number of 8, 12, 13 or 14 digits, a PLU, a GS1 element string or a Digital Link")


def _ean_or_upc(body: str) -> str:
    """The GTIN-14 of what ]E0 announces: EAN-13 or UPC-A, or a UPC-E that the scanner did not expand. EAN-8 has ]E4."""
    if is_digits(body) and len(body) in (6, 7, 8):
        return gtin14(upc_e_expanded(body))
    if len(body) not in (12, 13):
        raise BadCode("EAN or UPC", shown(body), "13 or 12 digits, or 6 to 8 of a UPC-E")
    return gtin14(body)


def _readings(digits: str) -> tuple[str, ...]:
    """What bare digits may mean, as GTIN-14s: eight of them are a GTIN-8 or a UPC-E, by their check digit often both."""
    if len(digits) != 8 or digits[0] != "0":
        return (gtin14(digits),)
    found = []
    try:
        found.append(gtin14(digits))
    except BadCode:
        pass  # not a GTIN-8: then it has to be a UPC-E
    try:
        found.append(gtin14(upc_e_expanded(digits)))
    except BadCode:
        if not found:
            raise
    return tuple(dict.fromkeys(found))


def _plu(digits: str, rules: Rules) -> str:
    """A PLU of four digits, or of five with 9 in front (organic). Raises BadCode."""
    bare = digits[1:] if len(digits) == 5 and digits[0] == "9" else digits
    if not rules.plu or len(bare) != 4 or not "3000" <= bare <= "4999":
        wanted = "3000 to 4999, with 9 in front for organic" if rules.plu else "an item number: this store takes no PLU"
        raise BadCode("PLU", shown(digits), wanted)
    return digits


def _of_numbers(keys: tuple[str, ...], rules: Rules) -> Scan:
    scan = Scan(Form.NUMBER, gtin14=keys[0], also=keys[1:])
    for key in keys:
        for layout in rules.layouts:
            if layout.matches(key):
                return _with_embedded(scan, layout.read(key, rules.verifier))
    return scan


def _with_embedded(scan: Scan, embedded: Embedded) -> Scan:
    """The amount of an in-store code. A value of 0 is none: the number is the item's own key, as on a counter's key sheet."""
    if not embedded.digits:
        return replace(scan, embedded=embedded)
    match embedded.kind:
        case ValueKind.PRICE:
            return replace(scan, embedded=embedded, price=Price(embedded.digits, embedded.decimals))
        case ValueKind.WEIGHT:
            grams = GRAMS[embedded.unit] * Fraction(embedded.digits, 10**embedded.decimals)
            return replace(scan, embedded=embedded, measure=Measure("g", grams))
        case ValueKind.COUNT:
            return replace(scan, embedded=embedded, measure=Measure("each", Fraction(embedded.digits)))


# beginnings of identifiers -> unit of an item, and how many of it one unit of the identifier is
_MEASURES: Final = (
    ("310", "g", Fraction(1000)),
    ("320", "g", Fraction(45_359_237, 100_000)),
    ("315", "ml", Fraction(1000)),
    ("311", "mm", Fraction(1000)),
)


def _of_elements(form: Form, elements: tuple[Element, ...], problems: tuple[Problem, ...], today: date, rules: Rules) -> Scan:
    by_ai = {element.ai: element.value for element in elements}
    faults = list(problems)
    key = by_ai.get("01")
    if key is None:
        faults.append(Problem("no_item", "", "no (01): the code names no item that is sold"))
    expiry, minute = _expiry(by_ai, today, faults)
    scan = Scan(
        form,
        gtin14=key,
        measure=_measure(by_ai),
        price=_price(by_ai),
        lot=by_ai.get("10"),
        serial=by_ai.get("21"),
        variant=by_ai.get("22"),
        expiry=expiry,
        expiry_minute=minute,
        best_before=_date(by_ai, "15", today, faults),
        sell_by=_date(by_ai, "16", today, faults),
        unit_price=by_ai.get("8005"),
        elements=elements,
        problems=tuple(faults),
    )
    if key is not None and scan.measure is None and scan.price is None:
        layout = next((layout for layout in rules.layouts if layout.matches(key)), None)
        return _with_embedded(scan, layout.read(key, rules.verifier)) if layout else scan
    return scan


def _measure(by_ai: dict[str, str]) -> Measure | None:
    """The net measure, in the order of `_MEASURES`, else the count of (30)."""
    for start, unit, factor in _MEASURES:
        ai = _only(by_ai, (start,))
        if ai is not None:
            return Measure(unit, factor * Fraction(int(by_ai[ai]), 10 ** int(ai[3])))
    return Measure("each", Fraction(int(by_ai["30"]))) if "30" in by_ai else None


def _price(by_ai: dict[str, str]) -> Price | None:
    ai = _only(by_ai, ("392", "393"))
    if ai is None:
        return None
    currency, digits = ("", by_ai[ai]) if ai.startswith("392") else (by_ai[ai][:3], by_ai[ai][3:])
    return Price(int(digits), int(ai[3]), currency)


def _only(by_ai: dict[str, str], starts: tuple[str, ...]) -> str | None:
    """The one identifier with such a beginning. Raises BadCode for two: which one is meant cannot be known."""
    found = [ai for ai in by_ai if ai.startswith(starts)]
    if len(found) > 1:
        raise BadCode(WHAT, f"({found[1]})", f"one amount of its kind, found ({found[0]}) too")
    return found[0] if found else None


def _expiry(by_ai: dict[str, str], today: date, faults: list[Problem]) -> tuple[date | None, int | None]:
    """Day and minute of (7003), else the day of (17); where both stand, the earlier day."""
    day, minute = _date(by_ai, "17", today, faults), None
    timed = by_ai.get("7003")
    if timed is not None:
        by_ai = by_ai | {"7003": timed[:6]}
        last = _date(by_ai, "7003", today, faults)
        if last is not None and (day is None or last <= day):
            day = last
            try:
                minute = parse_minute(timed[6:])
            except ValueError as error:
                faults.append(Problem("bad_date", "(7003)", str(error)))
    return day, minute


def _date(by_ai: dict[str, str], ai: str, today: date, faults: list[Problem]) -> date | None:
    digits = by_ai.get(ai)
    if digits is None:
        return None
    try:
        return parse_date(digits, today)
    except ValueError as error:
        faults.append(Problem("bad_date", f"({ai})", f"{shown(digits)}: {error}"))
        return None
