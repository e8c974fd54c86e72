"""One row of a file, read cell by cell: values in the store's units, and every mistake noted with its place. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal as Number
from typing import Final
from zoneinfo import ZoneInfo

from edge.import_feed import Dates, Decimal
from edge.import_text import Heading, Problem, cut
from edge.model import AMOUNT_MINOR_MAX

TEXT_CHARS_MAX: Final = 200
CODES_MAX: Final = 64  # of one item, as from HQ
PACK_MAX: Final = 10_000

SKU: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,63}")
SKU_WORDS: Final = "1 to 64 letters, digits and . _ : / -"
PLU: Final = re.compile(r"9?[34][0-9]{3}( 9?[34][0-9]{3})*")
PLU_WORDS: Final = "3000 to 4999, with 9 in front for organic; several with a blank between"
LABEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,31}")
LABEL_WORDS: Final = "1 to 32 letters, digits and . _ : -"
TEMPLATE: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
PRICE_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")
_AMOUNT: Final = {each: re.compile(rf"[0-9]{{1,13}}({re.escape(each)}[0-9]{{1,6}})?") for each in Decimal}
_CODE: Final = re.compile(r"(?:([1-9][0-9]{0,4})x)?([0-9]{8}|[0-9]{12,14})")
_DAY: Final = {
    Dates.ISO: re.compile(r"(?P<y>\d{4})-(?P<m>\d{2})-(?P<d>\d{2})"),
    Dates.DAY_FIRST: re.compile(r"(?P<d>\d{1,2})[./-](?P<m>\d{1,2})[./-](?P<y>\d{4})"),
    Dates.MONTH_FIRST: re.compile(r"(?P<m>\d{1,2})[./-](?P<d>\d{1,2})[./-](?P<y>\d{4})"),
}
_TIME: Final = re.compile(r"(?P<h>[01]\d|2[0-3]):(?P<min>[0-5]\d)(:(?P<s>[0-5]\d))?(?P<zone>Z|[+-][0-2]\d:[0-5]\d)?")
_EXAMPLE: Final = {Dates.ISO: "2026-02-01", Dates.DAY_FIRST: "01.02.2026", Dates.MONTH_FIRST: "02/01/2026"}


class Cells:
    """Readers give None for an empty cell, for a column that the file lacks, and for a mistake, which is in `problems` then."""

    def __init__(self, line: int, heading: Heading, values: Mapping[str, str], decimal: Decimal, dates: Dates, zone: ZoneInfo) -> None:
        self.line = line
        self.problems: list[Problem] = []
        self._heading = heading
        self._values = values
        self._decimal = decimal
        self._dates = dates
        self._zone = zone

    def has(self, column: str) -> bool:
        """Whether the file has the column: what it lacks is left as it is, what it has empty is emptied."""
        return column in self._values

    def columns(self) -> tuple[str, ...]:
        return tuple(self._values)

    def wrong(self, column: str, expected: str) -> None:
        """Note a mistake in this row. `column` "": in the row as a whole."""
        found = self._values.get(column, "")
        self.problems.append(Problem(self.line, self._heading.name(column) if column else "", cut(found), expected))

    def text(self, column: str) -> str:
        value = self._values.get(column, "")
        if len(value) > TEXT_CHARS_MAX or not all(map(str.isprintable, value)):
            self.wrong(column, f"one line of at most {TEXT_CHARS_MAX} characters that can be printed")
            return ""
        return value

    def required(self, column: str, pattern: re.Pattern[str] | None = None, words: str = "a text") -> str:
        value = self._values.get(column, "")
        if not value:
            self.wrong(column, f"{words}, the cell is empty")
            return ""
        return self.matching(column, pattern, words) if pattern is not None else self.text(column)

    def matching(self, column: str, pattern: re.Pattern[str], words: str) -> str:
        value = self._values.get(column, "")
        if value and pattern.fullmatch(value) is None:
            self.wrong(column, words)
            return ""
        return value

    def one_of(self, column: str, known: tuple[str, ...], default: str | None) -> str | None:
        value = self._values.get(column, "").casefold()
        if value and value not in known:
            self.wrong(column, f"one of {', '.join(known)}")
            return default
        return value or default

    def integer(self, column: str, low: int, high: int) -> int | None:
        value = self._values.get(column, "")
        if not value:
            return None
        if re.fullmatch(r"[+-]?[0-9]{1,12}", value, re.ASCII) is None or not low <= int(value) <= high:
            self.wrong(column, f"a whole number from {low} to {high}")
            return None
        return int(value)

    def money(self, column: str, exponent: int) -> int | None:
        """An amount in minor units; more decimals than the currency has are a mistake, never rounded."""
        value = self._values.get(column, "")
        if not value:
            return None
        example = f"1{self._decimal}99" if exponent else "199"
        if _AMOUNT[self._decimal].fullmatch(value) is None:
            self.wrong(column, f"an amount such as {example}, digits without a sign, a currency or thousands separators")
            return None
        minor = Number(value.replace(self._decimal, ".")).scaleb(exponent)
        if minor != minor.to_integral_value() or minor > AMOUNT_MINOR_MAX:
            self.wrong(column, f"an amount such as {example} with at most {exponent} decimals")
            return None
        return int(minor)

    def codes(self, column: str) -> tuple[tuple[str, int], ...]:
        """Bar codes with how many pieces each stands for: `4006381333931 6x4006381333948`."""
        found: dict[str, int] = {}
        for word in self._values.get(column, "").split():
            match = _CODE.fullmatch(word)
            if match is None or not check_digit_fits(match[2]) or int(match[1] or 1) > PACK_MAX:
                self.wrong(column, "8, 12, 13 or 14 digits with a right check digit, of a pack of six as 6xCODE, blanks between several")
                return ()
            found[match[2].zfill(14)] = int(match[1] or 1)
        if len(found) > CODES_MAX:
            self.wrong(column, f"at most {CODES_MAX} codes")
        return tuple(found.items())

    def instant_ms(self, column: str, *, day_ends: bool = False) -> int | None:
        """UTC milliseconds of a day, or of a day and time, on the store's clock unless it names its zone.

        A day alone is its first instant; with `day_ends`, the first of the next day: "to 14 February" means all of that day.
        """
        value = self._values.get(column, "")
        if not value:
            return None
        day_text, _, time_text = value.replace("T", " ").partition(" ")
        day, time = _DAY[self._dates].fullmatch(day_text), _TIME.fullmatch(time_text.strip()) if time_text else None
        expected = f"a day such as {_EXAMPLE[self._dates]}, or a day and a time such as {_EXAMPLE[self._dates]} 14:30"
        if day is None or (time_text and time is None):
            self.wrong(column, expected)
            return None
        try:
            local = datetime(int(day["y"]), int(day["m"]), int(day["d"]), tzinfo=self._zone)
            if time is None:
                local += timedelta(days=1) if day_ends else timedelta()
            else:
                local = local.replace(hour=int(time["h"]), minute=int(time["min"]), second=int(time["s"] or 0))
                if time["zone"]:
                    local = datetime.fromisoformat(local.replace(tzinfo=None).isoformat() + time["zone"])
            in_utc = local.astimezone(UTC)
        except (ValueError, OverflowError):
            self.wrong(column, expected)
            return None
        if in_utc.year < 2000 or (time is not None and in_utc.astimezone(local.tzinfo).replace(tzinfo=None) != local.replace(tzinfo=None)):
            self.wrong(column, "an instant that exists: clocks jump over this one" if in_utc.year >= 2000 else expected)
            return None
        return int(in_utc.timestamp()) * 1000


def check_digit_fits(digits: str) -> bool:
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(reversed(digits))) % 10 == 0
