"""Money, quantities and dates as people write them. Integers in, text out; a small table instead of a locale library.

Facts: CLDR number, currency and date patterns of the languages below. Unit price: Directive 98/6/EC (price of one kilogram, litre, metre
or piece); rounding to the currency's smallest unit, halves up. Second currency: Regulation (EC) 1103/97, articles 4 and 5: the rate has
six significant figures, is never shortened or inverted, and half a cent rounds up.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from render.words import NBSP, words

CURRENCY_EXPONENTS: Final = (0, 2, 3)
# how much of a unit the unit price is for, when the item does not say
UNIT_PRICE_BASES: Final = {"each": 1, "g": 1000, "ml": 1000, "mm": 1000}
UNITS: Final = tuple(UNIT_PRICE_BASES)
RATE_FIGURES: Final = 6
RIGHT_TO_LEFT_LANGUAGES: Final = frozenset({"ar", "he"})
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Locale:
    """`grouping_digits_min`: thousands are grouped from this many whole digits on. `date`: pattern of day and month (`{day}`, `{month}`,
    with two digits `{month:02}`, `{name}` in English)."""

    name: str
    decimal: str
    group: str
    sign_first: bool
    sign_gap: bool
    date: str
    grouping_digits_min: int = 4

    @property
    def language(self) -> str:
        return self.name.partition("-")[0]

    @property
    def right_to_left(self) -> bool:
        return self.language in RIGHT_TO_LEFT_LANGUAGES


class Amount(NamedTuple):
    """A price split for drawing: the sign stands left (`sign_first`) or right of the number. `str` is the text in reading order, which
    for a sign of right-to-left letters (`sign_rtl`) begins with the number."""

    sign: str
    sign_first: bool
    sign_gap: bool
    whole: str
    decimal: str
    cents: str
    sign_rtl: bool = False

    def __str__(self) -> str:
        number = self.whole + self.decimal + self.cents
        gap = NBSP if self.sign_gap else ""
        return f"{self.sign}{gap}{number}" if self.sign_first and not self.sign_rtl else f"{number}{gap}{self.sign}"


class UnitPrice(NamedTuple):
    """`amount_minor` for `base` of `unit`."""

    amount_minor: int
    base: int
    unit: str


@lru_cache(maxsize=64)  # a store has one
def locale(name: str) -> Locale | None:
    """The row of `de-AT`, else of its language `de`, else None."""
    return LOCALES.get(name) or LOCALES.get(_FIRST_OF_LANGUAGE.get(name.partition("-")[0], ""))


def amount(row: Locale, amount_minor: int, currency: str, exponent: int) -> Amount:
    """Split an amount in minor units; `exponent` is the number of decimals (0, 2 or 3)."""
    digits = str(amount_minor).rjust(exponent + 1, "0")
    whole, cents = (digits[:-exponent], digits[-exponent:]) if exponent else (digits, "")
    sign_rtl = row.language == "ar" and currency in _ARABIC_SIGNS
    # an Arabic text would move a sign like € to the other side of its number; letters stay
    sign = (_ARABIC_SIGNS if row.language == "ar" else SIGNS).get(currency, currency)
    letters = (sign[-1] if row.sign_first else sign[0]) not in _SYMBOLS  # CLDR: a space between digits and what is no symbol
    return Amount(
        sign=sign,
        sign_first=row.sign_first,
        sign_gap=row.sign_gap or letters,
        whole=grouped(whole, row),
        decimal=row.decimal if exponent else "",
        cents=cents,
        sign_rtl=sign_rtl,
    )


def unit_price(
    price_minor: int,
    price_quantity: int,
    price_unit: str,
    net_content: int | None,
    net_unit: str | None,
    base: int | None,
) -> UnitPrice | None:
    """The price of `base` units of content, or None when the content is not known.

    `price_minor` buys `price_quantity` of `price_unit`. Sold by weight, volume or length, that is the content itself; sold by piece, each
    piece holds `net_content` of `net_unit`. So amount = price * base / content, halves up, all in integers.
    """
    if price_unit == "each":
        if net_content is None or net_unit is None:
            return None
        content, unit = price_quantity * net_content, net_unit
    else:
        content, unit = price_quantity, price_unit
    base = base or UNIT_PRICE_BASES[unit]
    return UnitPrice(amount_minor=(2 * price_minor * base + content) // (2 * content), base=base, unit=unit)


def is_rate(text: object) -> bool:
    """Whether this is a text of a positive decimal number of exactly six significant figures, such as 1.95583, 0.787564 or 340.750."""
    if not isinstance(text, str):
        return False
    whole, point, decimals = text.partition(".")
    digits = whole + decimals
    if not (digits.isascii() and digits.isdigit()) or not whole or (point and not decimals) or (whole != "0" and whole[0] == "0"):
        return False
    return len(digits.lstrip("0")) == RATE_FIGURES


def converted(amount_minor: int, exponent: int, rate: str, rate_exponent: int, *, divide: bool) -> int:
    """An amount in another currency of `rate_exponent` decimals: times the rate, or divided by it, halves up, all in integers."""
    whole, _, decimals = rate.partition(".")
    factor, scale = int(whole + decimals), 10 ** len(decimals)
    numerator, denominator = (scale, factor) if divide else (factor, scale)
    numerator *= amount_minor * 10**rate_exponent
    denominator *= 10**exponent
    return int((2 * numerator + denominator) // (2 * denominator))


def percent_off(was_minor: int, price_minor: int) -> int:
    """Whole percent of a reduction, rounded down: what is promised is never more than what is given."""
    return (was_minor - price_minor) * 100 // was_minor


def unit_price_text(row: Locale, price: UnitPrice, currency: str, exponent: int) -> str:
    """`1 kg = 7,96 €`, or `£7.96 per kg`."""
    pattern = words(row.language).unit_price
    quantity = quantity_text(row, price.base, price.unit, bare_one=not pattern.startswith("{quantity}"))
    return pattern.format(quantity=quantity, price=amount(row, price.amount_minor, currency, exponent))


def basis_text(row: Locale, price_quantity: int, price_unit: str) -> str:
    """What the price is for: "" for one piece, `for 3`, `per kg`, `je 100 g`."""
    own = words(row.language)
    if price_unit != "each":
        return own.per.format(quantity=quantity_text(row, price_quantity, price_unit, bare_one=True))
    return "" if price_quantity == 1 else own.multiple.format(count=price_quantity, pieces=own.pieces)


def quantity_text(row: Locale, quantity: int, unit: str, *, bare_one: bool = False) -> str:
    """`500 g`, `1,5 l`; with `bare_one` a quantity of one is the unit alone (`kg`)."""
    own = words(row.language)
    if unit == "each":
        sign, per_sign = own.each if quantity == 1 else own.pieces, 1
    else:
        place = _UNIT_PLACES[unit]
        sign, per_sign = (own.units[place], 1000) if quantity >= 1000 else (own.units[place + 1], 1)
    if bare_one and quantity == per_sign:
        return sign
    whole, rest = divmod(quantity, per_sign)
    decimals = str(rest).rjust(3, "0").rstrip("0") if rest else ""
    return f"{grouped(str(whole), row)}{row.decimal if decimals else ''}{decimals}{NBSP}{sign}"


def date_text(row: Locale, month: int, day: int) -> str:
    """Day and month in the locale's order: `30.11.`, `30 Nov`, `Nov 30`."""
    return row.date.format(day=day, month=month, name=_MONTHS[month - 1])


def grouped(digits: str, row: Locale) -> str:
    """Whole digits with the locale's sign between thousands."""
    if len(digits) < row.grouping_digits_min:
        return digits
    head = len(digits) % 3
    parts = ([digits[:head]] if head else []) + [digits[place : place + 3] for place in range(head, len(digits), 3)]
    return row.group.join(parts)


_UNIT_PLACES: Final = {"g": 0, "ml": 2, "mm": 4}  # in Words.units; the unit itself stands behind its thousandfold

# the first row of a language stands for the language
LOCALES: Final = {
    row.name: row
    for row in (
        Locale("en-GB", ".", ",", sign_first=True, sign_gap=False, date=f"{{day}}{NBSP}{{name}}"),
        Locale("en-US", ".", ",", sign_first=True, sign_gap=False, date=f"{{name}}{NBSP}{{day}}"),
        Locale("en-IE", ".", ",", sign_first=True, sign_gap=False, date=f"{{day}}{NBSP}{{name}}"),
        Locale("de-DE", ",", ".", sign_first=False, sign_gap=True, date="{day}.{month}."),
        Locale("de-AT", ",", ".", sign_first=True, sign_gap=True, date="{day}.{month}."),
        Locale("de-CH", ".", "\u2019", sign_first=True, sign_gap=True, date="{day}.{month}."),
        Locale("fr-FR", ",", NBSP, sign_first=False, sign_gap=True, date="{day:02}/{month:02}"),
        Locale("it-IT", ",", ".", sign_first=False, sign_gap=True, date="{day}/{month}"),
        Locale("es-ES", ",", ".", sign_first=False, sign_gap=True, date="{day}/{month}", grouping_digits_min=5),
        Locale("pt-PT", ",", NBSP, sign_first=False, sign_gap=True, date="{day:02}/{month:02}", grouping_digits_min=5),
        Locale("nl-NL", ",", ".", sign_first=True, sign_gap=True, date="{day}-{month}"),
        Locale("pl-PL", ",", NBSP, sign_first=False, sign_gap=True, date="{day}.{month:02}", grouping_digits_min=5),
        Locale("cs-CZ", ",", NBSP, sign_first=False, sign_gap=True, date=f"{{day}}.{NBSP}{{month}}."),
        Locale("da-DK", ",", ".", sign_first=False, sign_gap=True, date="{day}.{month}"),
        Locale("sv-SE", ",", NBSP, sign_first=False, sign_gap=True, date="{day}/{month}"),
        Locale("fi-FI", ",", NBSP, sign_first=False, sign_gap=True, date="{day}.{month}."),
        Locale("el-GR", ",", ".", sign_first=False, sign_gap=True, date="{day}/{month}"),
        Locale("bg-BG", ",", NBSP, sign_first=False, sign_gap=True, date="{day}.{month:02}", grouping_digits_min=5),
        Locale("sq-AL", ",", NBSP, sign_first=False, sign_gap=True, date="{day}.{month}"),
        # the sign stands left of the number, as seen
        Locale("he-IL", ".", ",", sign_first=True, sign_gap=False, date="{day}.{month}"),
        Locale("ar-AE", ".", ",", sign_first=True, sign_gap=False, date="{day}/{month}"),
    )
}
_FIRST_OF_LANGUAGE: Final = {row.language: row.name for row in reversed(LOCALES.values())}

# a currency without a sign here is written by its code, as CLDR does outside its own country
SIGNS: Final = {
    "EUR": "€",
    "USD": "$",
    "GBP": "£",
    "JPY": "¥",
    "PLN": "zł",
    "CZK": "Kč",
    "DKK": "kr.",
    "SEK": "kr",
    "NOK": "kr",
    "BGN": "лв.",
    "ALL": "L",
    "RON": "lei",
    "HUF": "Ft",
    "ILS": "₪",
}
_SYMBOLS: Final = frozenset("€$£¥₪")
_ARABIC_SIGNS: Final = {"AED": "د.إ", "KWD": "د.ك"}
