"""Money and quantities as people write them. Integers in, text out; a small table instead of a locale library.

Facts: CLDR number and currency patterns of the languages below. Unit price: Directive 98/6/EC (price of one kilogram, litre, metre or
piece); rounding to the currency's smallest unit, halves up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

NBSP: Final = "\u00a0"  # between number and sign, so that a line never breaks there
CURRENCY_EXPONENTS: Final = (0, 2, 3)
# how much of a unit the unit price is for, when the item does not say
UNIT_PRICE_BASES: Final = {"each": 1, "g": 1000, "ml": 1000, "mm": 1000}
UNITS: Final = tuple(UNIT_PRICE_BASES)


@dataclass(frozen=True, slots=True)
class Locale:
    """`grouping_digits_min`: thousands are grouped from this many whole digits on."""

    name: str
    decimal: str
    group: str
    sign_first: bool
    sign_gap: bool
    grouping_digits_min: int = 4

    @property
    def language(self) -> str:
        return self.name.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Words:
    """Words of one language: `each` is one piece; the patterns take {price}, {quantity} or {count}."""

    each: str
    unit_price: str = "{quantity} = {price}"
    per: str = "/ {quantity}"
    multiple: str = "/ {count} {each}"
    litre: str = "l"


@dataclass(frozen=True, slots=True)
class Amount:
    """A price split for drawing: the sign stands before or after the number."""

    sign: str
    sign_first: bool
    sign_gap: bool
    whole: str
    decimal: str
    cents: str

    def __str__(self) -> str:
        number = self.whole + self.decimal + self.cents
        gap = NBSP if self.sign_gap else ""
        return f"{self.sign}{gap}{number}" if self.sign_first else f"{number}{gap}{self.sign}"


@dataclass(frozen=True, slots=True)
class UnitPrice:
    """`amount_minor` for `base` of `unit`."""

    amount_minor: int
    base: int
    unit: str


def locale(name: str) -> Locale | None:
    """The row of `de-AT`, else of its language `de`, else None."""
    return LOCALES.get(name) or LOCALES.get(_FIRST_OF_LANGUAGE.get(name.partition("-")[0], ""))


def words(language: str) -> Words:
    return WORDS.get(language, WORDS["en"])


def amount(row: Locale, amount_minor: int, currency: str, exponent: int) -> Amount:
    """Split an amount in minor units; `exponent` is the number of decimals (0, 2 or 3)."""
    digits = str(amount_minor).rjust(exponent + 1, "0")
    whole, cents = (digits[:-exponent], digits[-exponent:]) if exponent else (digits, "")
    sign = SIGNS.get(currency, currency)
    letters = sign[-1].isalpha() if row.sign_first else sign[0].isalpha()
    return Amount(
        sign=sign,
        sign_first=row.sign_first,
        sign_gap=row.sign_gap or letters,
        whole=_grouped(whole, row),
        decimal=row.decimal if exponent else "",
        cents=cents,
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
    return "" if price_quantity == 1 else own.multiple.format(count=price_quantity, each=own.each)


def quantity_text(row: Locale, quantity: int, unit: str, *, bare_one: bool = False) -> str:
    """`500 g`, `1,5 l`; with `bare_one` a quantity of one is the unit alone (`kg`)."""
    if unit == "each":
        sign, per_sign = words(row.language).each, 1
    else:
        big, small = _UNIT_SIGNS[unit]
        big = words(row.language).litre if unit == "ml" else big
        sign, per_sign = (big, 1000) if quantity >= 1000 else (small, 1)
    if bare_one and quantity == per_sign:
        return sign
    whole, rest = divmod(quantity, per_sign)
    decimals = str(rest).rjust(3, "0").rstrip("0") if rest else ""
    return f"{_grouped(str(whole), row)}{row.decimal if decimals else ''}{decimals}{NBSP}{sign}"


def _grouped(digits: str, row: Locale) -> str:
    if len(digits) < row.grouping_digits_min:
        return digits
    head = len(digits) % 3
    parts = ([digits[:head]] if head else []) + [digits[place : place + 3] for place in range(head, len(digits), 3)]
    return row.group.join(parts)


_UNIT_SIGNS: Final = {"g": ("kg", "g"), "ml": ("l", "ml"), "mm": ("m", "mm")}

# the first row of a language stands for the language
LOCALES: Final = {
    row.name: row
    for row in (
        Locale("en-GB", ".", ",", sign_first=True, sign_gap=False),
        Locale("en-US", ".", ",", sign_first=True, sign_gap=False),
        Locale("en-IE", ".", ",", sign_first=True, sign_gap=False),
        Locale("de-DE", ",", ".", sign_first=False, sign_gap=True),
        Locale("de-AT", ",", ".", sign_first=True, sign_gap=True),
        Locale("de-CH", ".", "\u2019", sign_first=True, sign_gap=True),
        Locale("fr-FR", ",", NBSP, sign_first=False, sign_gap=True),
        Locale("it-IT", ",", ".", sign_first=False, sign_gap=True),
        Locale("es-ES", ",", ".", sign_first=False, sign_gap=True, grouping_digits_min=5),
        Locale("pt-PT", ",", NBSP, sign_first=False, sign_gap=True, grouping_digits_min=5),
        Locale("nl-NL", ",", ".", sign_first=True, sign_gap=True),
        Locale("pl-PL", ",", NBSP, sign_first=False, sign_gap=True, grouping_digits_min=5),
        Locale("cs-CZ", ",", NBSP, sign_first=False, sign_gap=True),
        Locale("da-DK", ",", ".", sign_first=False, sign_gap=True),
        Locale("sv-SE", ",", NBSP, sign_first=False, sign_gap=True),
        Locale("fi-FI", ",", NBSP, sign_first=False, sign_gap=True),
        Locale("el-GR", ",", ".", sign_first=False, sign_gap=True),
        Locale("bg-BG", ",", NBSP, sign_first=False, sign_gap=True, grouping_digits_min=5),
        Locale("sq-AL", ",", NBSP, sign_first=False, sign_gap=True),
    )
}
_FIRST_OF_LANGUAGE: Final = {row.language: row.name for row in reversed(LOCALES.values())}

WORDS: Final = {
    "en": Words("item", unit_price="{price} per {quantity}", per="per {quantity}", multiple="for {count}", litre="L"),
    "de": Words("Stück", per="je {quantity}", multiple="für {count} {each}"),
    "fr": Words("pièce"),
    "it": Words("pz"),
    "es": Words("ud."),
    "pt": Words("un."),
    "nl": Words("stuk", per="per {quantity}"),
    "pl": Words("szt."),
    "cs": Words("ks"),
    "da": Words("stk."),
    "sv": Words("st"),
    "fi": Words("kpl"),
    "el": Words("τεμ."),
    "bg": Words("бр."),
    "sq": Words("copë"),
}

SIGNS: Final = {
    "EUR": "€",
    "USD": "$",
    "GBP": "£",
    "JPY": "¥",
    "PLN": "zł",
    "CZK": "Kč",
    "DKK": "kr.",
    "SEK": "kr",
    "BGN": "лв.",
    "ALL": "L",
}
