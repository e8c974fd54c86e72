"""Item numbers as scanners send them: GTIN-8, -12, -13 and -14, UPC-E; check digits; and the error of everything that reads codes.

Pure. Fact source: GS1 General Specifications 7.9 (check digits) and 5.2.2.4 (UPC-E). Numbers are stored and compared as GTIN-14,
padded with zeros on the left.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GTIN_LENGTHS: Final = (8, 12, 13, 14)
SHOWN_CHARS_MAX: Final = 40  # of a code in an error: it stays a line, whatever was sent


class BadCode(ValueError):
    """A code that cannot be used. `what` was being read, `where` in it is the fault, what was `expected` there."""

    def __init__(self, what: str, where: str, expected: str) -> None:
        super().__init__(f"{what}: {where}: expected {expected}")
        self.what = what
        self.where = where
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong in a code that is read all the same: a stable `code`, `where` it stands, and a `text` for a log."""

    code: str  # unknown_ai | bad_date | bad_value | missing_separator | not_in_query | repeated | no_item
    where: str
    text: str


def shown(text: str) -> str:
    """A code as an error may quote it: printable, cut short."""
    return repr(text if len(text) <= SHOWN_CHARS_MAX else text[:SHOWN_CHARS_MAX] + "...")


def is_digits(text: str) -> bool:
    """Whether a text is one or more of 0 to 9: other scripts' digits are not."""
    return text.isascii() and text.isdigit()


def check_digit(digits: str) -> int:
    """GS1 check digit of a number without its last digit: weights 3, 1, 3, ... from the right."""
    return -sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits))) % 10


def with_check_digit(digits: str) -> str:
    return f"{digits}{check_digit(digits)}"


def gtin14(digits: str) -> str:
    """The 14 digits of a GTIN of 8, 12, 13 or 14. Raises BadCode for another length, another sign or a wrong check digit."""
    if not is_digits(digits) or len(digits) not in GTIN_LENGTHS:
        raise BadCode("item number", shown(digits), "8, 12, 13 or 14 digits")
    wanted = check_digit(digits[:-1])
    if int(digits[-1]) != wanted:
        raise BadCode("item number", f"{digits} place {len(digits)}", f"check digit {wanted}")
    return digits.zfill(14)


def upc_e_expanded(digits: str) -> str:
    """The GTIN-12 of a UPC-E: 6 digits, 7 with the number system in front, 8 with the check digit behind.

    Only number system 0 has UPC-E symbols. Raises BadCode.
    """
    if not is_digits(digits) or len(digits) not in (6, 7, 8):
        raise BadCode("UPC-E", shown(digits), "6, 7 or 8 digits")
    system, short = ("0", digits) if len(digits) == 6 else (digits[0], digits[1:7])
    if system != "0":
        raise BadCode("UPC-E", f"{digits} place 1", "number system 0")
    last = short[5]
    if last in "012":
        payload = f"0{short[:2]}{last}0000{short[2:5]}"
    elif last == "3":
        payload = f"0{short[:3]}00000{short[3:5]}"
    elif last == "4":
        payload = f"0{short[:4]}00000{short[4]}"
    else:
        payload = f"0{short[:5]}0000{last}"
    whole = with_check_digit(payload)
    if len(digits) == 8 and whole[-1] != digits[-1]:
        raise BadCode("UPC-E", f"{digits} place 8", f"check digit {whole[-1]}")
    return whole
