"""GS1 element strings as scanners send them, and the form with parentheses that people type: identifiers and values.

Pure, and linear in the text's length. What decides an amount (item number, count, measure, price) must be right or the text is
refused; what only informs (lot, dates, serial) is read all the same and noted as a problem: goods in hand have to be sold.
Fact source: GS1 General Specifications 7.8.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocols.gs1_identifiers import Identifier, identifier, length_by_prefix, starting
from protocols.gs1_numbers import BadCode, Problem, check_digit, gtin14, is_digits, shown

SEPARATOR: Final = "\x1d"  # GS: how scanners send FNC1
AI_DIGITS_MAX: Final = 4

WHAT: Final = "element string"
_DECIDES: Final = ("01", "30", "310", "311", "315", "320", "392", "393")  # beginnings of identifiers that decide an amount


@dataclass(frozen=True, slots=True)
class Element:
    """One identifier with its value. A GTIN has 14 digits."""

    ai: str
    value: str


def decides(ai: str) -> bool:
    """Whether the value of an identifier decides which item or how much is charged."""
    return ai.startswith(_DECIDES)


def parse_elements(text: str) -> tuple[tuple[Element, ...], tuple[Problem, ...]]:
    """The elements of an element string without symbology identifier; a leading separator is FNC1 in first position.

    Identifiers in no table are skipped and noted. Raises BadCode where the structure is broken (a value cut short, longer than its
    identifier allows, no identifier), or what decides an amount is wrong.
    """
    found: list[Element] = []
    problems: list[Problem] = []
    at = 1 if text.startswith(SEPARATOR) else 0
    if at == len(text):
        raise BadCode(WHAT, shown(text), "an application identifier")
    while at < len(text):
        known = starting(text, at)
        if known is None:
            at = _skipped(text, at, problems)
        else:
            start = at + len(known.ai)
            end = _end_of_value(text, known, start)
            found.append(checked(known, text[start:end], f"place {at + 1}", problems))
            at = end
            if at < len(text) and text[at] != SEPARATOR and known.separated:
                problems.append(Problem("missing_separator", f"place {at + 1}", f"no separator behind ({known.ai})"))
        while at < len(text) and text[at] == SEPARATOR:  # one is also allowed where none is needed
            at += 1
    return _once(found, problems), tuple(problems)


def parse_human(text: str) -> tuple[tuple[Element, ...], tuple[Problem, ...]]:
    """The elements of `(01)09506000134352(17)261231(10)ABC1`. Raises BadCode like `parse_elements`.

    A parenthesis inside a value begins the next element only where a known identifier stands in it.
    """
    found: list[Element] = []
    problems: list[Problem] = []
    heads = [(place, ai) for place in range(len(text)) if text[place] == "(" and (ai := _head(text, place)) is not None]
    if not heads or heads[0][0] != 0:
        raise BadCode(WHAT, shown(text), "a known application identifier in parentheses, as in (01)")
    ends = [place for place, _ in heads[1:]] + [len(text)]
    for (place, known), end in zip(heads, ends, strict=True):
        value = text[place + len(known.ai) + 2 : end]
        if len(value) > known.length_max or not value:
            raise BadCode(WHAT, f"({known.ai}) at place {place + 1}", f"1 to {known.length_max} characters, not {len(value)}")
        found.append(checked(known, value, f"place {place + 1}", problems))
    return _once(found, problems), tuple(problems)


def checked(known: Identifier, value: str, where: str, problems: list[Problem]) -> Element:
    """One element; a value against its format is noted, or refused (BadCode) where it decides an amount."""
    if known.ai == "01":
        return Element("01", gtin14(value))
    wrong = known.problem(value)
    if wrong is None and known.ai in ("00", "02", "03") and check_digit(value[:-1]) != int(value[-1]):
        wrong = f"check digit {value[-1]}"
    if wrong is not None:
        if decides(known.ai):
            raise BadCode(WHAT, f"({known.ai}) {shown(value)} at {where}", f"its format, found {wrong}")
        problems.append(Problem("bad_value", where, f"({known.ai}) {shown(value)}: {wrong}"))
    return Element(known.ai, value)


def _end_of_value(text: str, known: Identifier, start: int) -> int:
    separator = text.find(SEPARATOR, start)
    end = len(text) if separator < 0 else separator
    where = f"({known.ai}) at place {start - len(known.ai) + 1}"
    if known.length_min == known.length_max:
        if end - start < known.length_min:
            raise BadCode(WHAT, where, f"{known.length_min} characters, not {end - start}")
        return start + known.length_min
    if not known.length_min <= end - start <= known.length_max:
        wanted = f"{known.length_min} to {known.length_max} characters and a separator"
        raise BadCode(WHAT, where, f"{wanted}, not {end - start}")
    return end


def _skipped(text: str, at: int, problems: list[Problem]) -> int:
    """The place behind an identifier that is in no table, with its value."""
    if not is_digits(text[at : at + 2]) or at + 2 > len(text):
        raise BadCode(WHAT, f"{shown(text[at:])} at place {at + 1}", "an application identifier")
    fixed = length_by_prefix(text, at)
    separator = text.find(SEPARATOR, at)
    end = at + fixed if fixed is not None else len(text) if separator < 0 else separator
    if end > len(text) or (fixed is not None and -1 < separator < end):
        raise BadCode(WHAT, f"{shown(text[at:])} at place {at + 1}", f"{fixed} characters")
    problems.append(Problem("unknown_ai", f"place {at + 1}", f"{shown(text[at : at + AI_DIGITS_MAX])} begins no known identifier"))
    return end


def _head(text: str, place: int) -> Identifier | None:
    """The known identifier that stands in parentheses at a place."""
    end = text.find(")", place, place + AI_DIGITS_MAX + 2)
    return identifier(text[place + 1 : end]) if end > 0 else None


def _once(found: Iterable[Element], problems: list[Problem]) -> tuple[Element, ...]:
    """Each identifier once. The same value again says nothing new; another one is refused where it decides an amount."""
    kept: dict[str, Element] = {}
    for element in found:
        known = kept.setdefault(element.ai, element)
        if known.value != element.value:
            if decides(element.ai):
                raise BadCode(WHAT, f"({element.ai}) {shown(element.value)}", f"the same value as before, {shown(known.value)}")
            problems.append(Problem("repeated", f"({element.ai})", f"{shown(known.value)}, then {shown(element.value)}"))
    return tuple(kept.values())
