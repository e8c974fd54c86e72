"""GS1 application identifiers that a shop meets: formats, checks and companions, as data.

Fact source: GS1 General Specifications 3, as the GS1 Barcode Syntax Dictionary lists them. A new identifier is a new row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from render.errors import FieldError
from render.symbols.linear import check_digit

# Identifier or first-last of a range; flags; format; what must stand beside it (one of these; a+b: both; n: any digit).
# Flags: * needs no separator behind it, ? may be an attribute in the query of a Digital Link, - neither.
# Format: N digits, X signs of set 82, Y of set 39; ..: up to; [ ]: may be missing; after a colon what is checked: csum check digit,
# day0 YYMMDD where DD may be 00, day YYMMDD, time HHMM.
_ITEM: Final = "01,02,03,8006,8026"
_MEASURED: Final = "30,31nn,32nn,35nn,36nn"
_ROWS: Final = (
    ("00", "*?", "N18:csum", ""),
    ("01", "*?", "N14:csum", ""),
    ("02", "*?", "N14:csum", "37"),
    ("03", "*", "N14:csum", ""),
    ("10", "?", "X..20", _ITEM),
    ("11", "*?", "N6:day0", _ITEM),
    ("12", "*?", "N6:day0", "8020"),
    ("13", "*?", "N6:day0", _ITEM),
    ("15-16", "*?", "N6:day0", _ITEM),
    ("17", "*?", "N6:day0", "255," + _ITEM),
    ("20", "*?", "N2", _ITEM),
    ("21", "-", "X..20", "01,03,8006"),
    ("22", "-", "X..20", "01"),
    ("235", "-", "X..28", "01"),
    ("240-241", "?", "X..30", _ITEM),
    ("242", "?", "N..6", "01,02,8006,8026"),
    ("243", "?", "X..20", "01,03"),
    ("250", "?", "X..30", "01+21,03+21,8006+21"),
    ("251", "?", "X..30", "01,03,8006"),
    ("253", "?", "N13:csum [X..17]", ""),
    ("254", "-", "X..20", "414"),
    ("255", "?", "N13:csum [N..12]", ""),
    ("30", "?", "N..8", "01,02"),
    ("3100-3105", "*?", "N6", "01,02"),  # net kg
    ("3110-3115", "*?", "N6", "01,02"),  # m
    ("3120-3125", "*?", "N6", "01,02"),
    ("3130-3135", "*?", "N6", "01,02"),
    ("3140-3145", "*?", "N6", "01,02"),  # m2
    ("3150-3155", "*?", "N6", "01,02"),  # l
    ("3160-3165", "*?", "N6", "01,02"),  # m3
    ("3200-3205", "*?", "N6", "01,02"),  # net lb
    ("3560-3565", "*?", "N6", "01,02"),  # net troy ounces
    ("3570-3575", "*?", "N6", "01,02"),  # net ounces
    ("3600-3605", "*?", "N6", "01,02"),  # quarts
    ("3610-3615", "*?", "N6", "01,02"),  # gallons
    ("37", "?", "N..8", "00+02,00+8026"),
    ("3900-3909", "?", "N..15", "255,8020"),
    ("3910-3919", "?", "N3 N..15", "8020"),
    ("3920-3929", "?", "N..15", "01+30,01+31nn,01+32nn,01+35nn,01+36nn"),
    ("3930-3939", "?", "N3 N..15", _MEASURED),
    ("3940-3943", "?", "N4", "255"),
    ("3950-3955", "?", "N6", _MEASURED),
    ("400", "?", "X..30", ""),
    ("401", "?", "X..30", ""),
    ("402", "?", "N17:csum", ""),
    ("403", "?", "X..30", "00"),
    ("410-417", "*?", "N13:csum", ""),
    ("422", "?", "N3", _ITEM),
    ("426", "?", "N3", "01,02,03"),
    ("7003", "?", "N6:day N4:time", "01,02,03"),
    ("7005", "?", "X..12", "01,02"),
    ("7006", "?", "N6:day", "01,02"),
    ("8005", "?", "N6", "01,02"),
    ("8006", "?", "N14:csum N4", ""),
    ("8008", "?", "N6:day N2 [N2] [N2]", "01,02,03"),
    ("8020", "-", "X..25", "415"),
    ("8026", "?", "N14:csum N4", "37"),
    ("8110", "?", "X..70", ""),
    ("8111", "?", "N4", "255"),
    ("8112", "?", "X..70", ""),
    ("8200", "-", "X..70", "01"),
    ("90", "?", "X..30", ""),
    ("91-99", "?", "X..90", ""),
)
# what may not stand beside a trade item
_NOT_BESIDE: Final = {
    "01": ("255", "37"),
    "02": ("01", "03"),
    "03": ("01", "02", "37", "235"),
    "21": ("235",),
    "255": ("02", "8006", "8026"),
}

_SET_82: Final = frozenset("!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_SET_39: Final = frozenset("#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SIGNS: Final = {"N": frozenset("0123456789"), "X": _SET_82, "Y": _SET_39}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a value: its signs, length, and what is checked of it."""

    signs: frozenset[str]
    length_min: int
    length_max: int
    check: str
    optional: bool


@dataclass(frozen=True, slots=True)
class Identifier:
    """An application identifier. `needs`: alternatives of identifiers that must all stand beside it; empty: none needed."""

    ai: str
    separated: bool
    in_query: bool
    parts: tuple[Part, ...]
    needs: tuple[tuple[str, ...], ...]

    @property
    def length_max(self) -> int:
        """Characters of the longest value; of the only one where no separator follows."""
        return sum(part.length_max for part in self.parts)


def identifier(ai: str) -> Identifier:
    """Raises FieldError for an identifier that is not in the table."""
    found = _KNOWN.get(ai)
    if found is None:
        raise FieldError(f"GS1 ({ai}): no application identifier known here")
    return found


def starting(text: str) -> Identifier | None:
    """The identifier that a text begins with; None where it begins with none. No identifier begins with another one."""
    return next((_KNOWN[text[:length]] for length in (2, 3, 4) if text[:length] in _KNOWN), None)


def checked(ai: str, value: str) -> str:
    """The value itself when it has the format of its identifier, else FieldError with the place that is wrong."""
    at = 0
    for part in identifier(ai).parts:
        if part.optional and at == len(value):
            break
        piece = value[at : at + part.length_max]
        if len(piece) < part.length_min:
            length = f"{part.length_min} to {part.length_max}" if part.length_min < part.length_max else f"{part.length_max}"
            raise FieldError(f"GS1 ({ai}) {value!r}: {len(piece)} characters from place {at}, expected {length}")
        for character in piece:
            if character not in part.signs:
                raise FieldError(f"GS1 ({ai}) {value!r}: {character!r} is not allowed here")
        problem = _problem(piece, part.check)
        if problem:
            raise FieldError(f"GS1 ({ai}) {value!r}: {problem}")
        at += len(piece)
    if at < len(value):
        raise FieldError(f"GS1 ({ai}) {value!r}: {len(value)} characters, expected at most {at}")
    return value


def check_companions(identifiers: list[str]) -> None:
    """Raises FieldError where one of them stands alone that needs another, or two exclude each other, or one appears twice."""
    for ai in identifiers:
        if identifiers.count(ai) > 1:
            raise FieldError(f"GS1 ({ai}): given twice")
        needs = identifier(ai).needs
        if needs and not any(all(any(_like(other, need) for other in identifiers) for need in together) for together in needs):
            wanted = " or ".join("+".join(f"({need})" for need in together) for together in needs)
            raise FieldError(f"GS1 ({ai}): needs {wanted} beside it")
        for other in _NOT_BESIDE.get(ai, ()):
            if other in identifiers:
                raise FieldError(f"GS1 ({ai}): may not stand beside ({other})")


def _like(ai: str, pattern: str) -> bool:
    return len(ai) == len(pattern) and all(wanted in ("n", digit) for digit, wanted in zip(ai, pattern, strict=True))


def _problem(piece: str, check: str) -> str:
    """What is wrong with a piece that has the right signs, or ""."""
    if check == "csum" and int(piece[-1]) != check_digit(piece[:-1]):
        return f"check digit is {piece[-1]}, expected {check_digit(piece[:-1])}"
    if check in ("day", "day0"):
        year, month, day = int(piece[:2]), int(piece[2:4]), int(piece[4:])
        leap = year % 4 == 0  # every two-digit year of 1901 to 2099
        days = (31, 28 + leap, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
        if not 1 <= month <= 12 or not (0 if check == "day0" else 1) <= day <= days[month - 1]:
            return "no date YYMMDD"
    if check == "time" and not (int(piece[:2]) < 24 and int(piece[2:]) < 60):
        return "no time HHMM"
    return ""


def _part(text: str) -> Part:
    form, _, check = text.strip("[]").partition(":")
    variable = ".." in form
    length = int(form[1:].removeprefix(".."))
    return Part(_SIGNS[form[0]], 1 if variable else length, length, check, text.startswith("["))


def _table() -> dict[str, Identifier]:
    known = {}
    for span, flags, form, needs in _ROWS:
        first, _, last = span.partition("-")
        parts = tuple(_part(text) for text in form.split())
        alternatives = tuple(tuple(together.split("+")) for together in needs.split(",")) if needs else ()
        for number in range(int(first), int(last or first) + 1):
            ai = str(number).zfill(len(first))
            known[ai] = Identifier(ai, "*" not in flags, "?" in flags, parts, alternatives)
    return known


_KNOWN: Final = _table()
