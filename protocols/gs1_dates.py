"""Dates of GS1 element strings: two-digit years, and days that may be left open. Pure: today is an argument.

Fact source: GS1 General Specifications 7.12 (century) and 3.4 (day 00).
"""

from __future__ import annotations

import calendar
from datetime import date
from typing import Final

from protocols.gs1_numbers import is_digits

CENTURY_BEFORE: Final = 51  # a year that lies so far ahead of this one was in the century before
CENTURY_AFTER: Final = -50  # and one so far behind it comes in the century after


def full_year(two_digits: int, today: date) -> int:
    """The year that two digits mean now: 49 years back to 50 ahead."""
    ahead = two_digits - today.year % 100
    century = today.year - today.year % 100
    if ahead >= CENTURY_BEFORE:
        century -= 100
    elif ahead <= CENTURY_AFTER:
        century += 100
    return century + two_digits


def parse_date(digits: str, today: date) -> date:
    """YYMMDD; day 00 is the last day of the month. Raises ValueError for what is no date."""
    if len(digits) != 6 or not is_digits(digits):
        raise ValueError(f"{digits!r} is not YYMMDD")
    year, month, day = full_year(int(digits[:2]), today), int(digits[2:4]), int(digits[4:])
    if day == 0 and 1 <= month <= 12 and 1 <= year <= 9999:
        day = calendar.monthrange(year, month)[1]
    return date(year, month, day)


def parse_minute(digits: str) -> int:
    """HHMM as the minute of the day. Raises ValueError for what is no time."""
    if len(digits) != 4 or not is_digits(digits) or not (int(digits[:2]) < 24 and int(digits[2:]) < 60):
        raise ValueError(f"{digits!r} is not HHMM")
    return int(digits[:2]) * 60 + int(digits[2:])
