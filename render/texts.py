"""Fields of a label as the text that it shows: the one place that knows how. No sizes, no pixels; neither numpy nor Pillow.

The names below are all that a template may ask for. `attribute:<key>` is the item's attribute of that name.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from typing import Final

from render import locales
from render.fields import ItemFields, LabelFields
from render.words import words

LOW_STOCK: Final = 5  # a stock is low at or below this part of a full shelf: a fifth
ATTRIBUTE: Final = "attribute:"
ATTRIBUTE_KEY: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

# joining and direction marks: they shape right-to-left text and are dropped when it is drawn
_MARKS: Final = frozenset("\u200f\u061c")  # right-to-left marks, letters of no script
_SHAPING: Final = frozenset("\u200c\u200d\u200e\u200f")


class Texts:
    """The texts of one label. `get` and `holds` take the field names of this file, `item` counts from 0.

    An item that the label does not have, has nothing. KeyError for a name that is not in FIELDS or CONDITIONS.
    """

    __slots__ = ("label", "locale")

    def __init__(self, label: LabelFields) -> None:
        row = locales.locale(label.locale)
        if row is None:  # fields check it
            raise ValueError(label.locale)
        self.label = label
        self.locale = row

    def get(self, field: str, item: int = 0) -> str:
        """What the label shows for a field, cleaned; "" where it has nothing."""
        if field == "label_id":
            return clean(self.label.label_id)
        if item >= len(self.label.items):
            return ""
        if field.startswith(ATTRIBUTE):
            return clean(self.label.items[item].attributes.get(field[len(ATTRIBUTE) :], ""))
        return _READERS[field](self, self.label.items[item])

    def holds(self, condition: str, item: int = 0) -> bool:
        """Whether a condition of CONDITIONS, or one with `not_` in front, is true. A field's name holds where it has a text."""
        if condition.startswith("not_"):
            return not self.holds(condition[4:], item)
        if item >= len(self.label.items):
            return condition == "label_id" and bool(self.label.label_id)
        own = self.label.items[item]
        if condition in _PRESENT:
            return getattr(own, _PRESENT[condition]) is not None
        test = _TESTS.get(condition)
        return test(own) if test is not None else bool(self.get(condition, item))

    def amount(self, field: str, item: int = 0) -> locales.Amount | None:
        """An amount of AMOUNTS split for drawing, None where the label has none."""
        if item >= len(self.label.items):
            return None
        own = self.label.items[item]
        if field == "second_price":
            return _second_amount(self, own)
        minor = _AMOUNTS[field](own)
        return None if minor is None else self._amount(minor)

    def unit_price(self, item: int = 0) -> locales.UnitPrice | None:
        """The item's price for its unit, from the drained weight where it has one; None where the content is not known."""
        return _unit_price(self.label.items[item]) if item < len(self.label.items) else None

    def _amount(self, minor: int) -> locales.Amount:
        if self.label.currency is None:  # fields check it
            raise ValueError("a price without currency")
        return locales.amount(self.locale, minor, self.label.currency, self.label.currency_exponent)


def clean(value: str) -> str:
    """Text as it is drawn: composed characters, single spaces, no invisible ones (right-to-left text keeps its joining marks)."""
    if not value.isascii():
        value = unicodedata.normalize("NFC", value)
        if not value.isprintable():
            kept = _SHAPING if is_right_to_left(value) else frozenset[str]()
            value = "".join(character for character in value if character in kept or unicodedata.category(character) != "Cf")
    if "  " in value:
        value = re.sub(" +", " ", value)
    return value.strip(" ")


def is_right_to_left(value: str) -> bool:
    """Whether any character belongs to a script that is written from right to left."""
    return not value.isascii() and any(character >= "\u0590" and _is_rtl(character) for character in value)


def is_field(name: str) -> bool:
    return name in FIELDS or is_attribute(name)


def is_condition(name: str) -> bool:
    plain = name.removeprefix("not_")
    return plain in CONDITIONS or is_attribute(plain)


def is_attribute(name: str) -> bool:
    return name.startswith(ATTRIBUTE) and ATTRIBUTE_KEY.fullmatch(name, len(ATTRIBUTE)) is not None


def _is_rtl(character: str) -> bool:
    return unicodedata.bidirectional(character) in ("R", "AL") and character not in _MARKS


def _unit_price(item: ItemFields) -> locales.UnitPrice | None:
    if item.price_minor is None:
        return None
    content = item.net_content if item.drained_weight is None else item.drained_weight
    return locales.unit_price(item.price_minor, item.price_quantity, item.price_unit, content, item.net_unit, item.unit_price_base)


def _unit_price_text(texts: Texts, item: ItemFields) -> str:
    unit = _unit_price(item)
    if unit is None or texts.label.currency is None:
        return ""
    if item.price_unit != "each" and (unit.base, unit.unit) == (item.price_quantity, item.price_unit):
        return ""  # the price itself, which says what it is for
    return locales.unit_price_text(texts.locale, unit, texts.label.currency, texts.label.currency_exponent)


def _content(texts: Texts, quantity: int | None, unit: str | None) -> str:
    return "" if quantity is None or unit is None else locales.quantity_text(texts.locale, quantity, unit)


def _basis(texts: Texts, item: ItemFields) -> str:
    return "" if item.price_minor is None else locales.basis_text(texts.locale, item.price_quantity, item.price_unit)


def _saving_minor(item: ItemFields) -> int | None:
    return None if item.was_price_minor is None or item.price_minor is None else item.was_price_minor - item.price_minor


def _percent_off(texts: Texts, item: ItemFields) -> str:
    if item.was_price_minor is None or item.price_minor is None:
        return ""
    percent = locales.percent_off(item.was_price_minor, item.price_minor)
    return words(texts.locale.language).percent.format(percent=percent) if percent else ""


def _multi_buy(texts: Texts, item: ItemFields) -> str:
    if item.multi_buy is None:
        return ""
    own = words(texts.locale.language)
    return own.multi_buy.format(count=item.multi_buy[0], pieces=own.pieces, price=texts._amount(item.multi_buy[1]))


def _offer_date(texts: Texts, item: ItemFields) -> str:
    return "" if item.offer_ends is None else locales.date_text(texts.locale, int(item.offer_ends[5:7]), int(item.offer_ends[8:]))


def _offer_ends(texts: Texts, item: ItemFields) -> str:
    return "" if item.offer_ends is None else words(texts.locale.language).until.format(date=_offer_date(texts, item))


def _saving(texts: Texts, item: ItemFields) -> str:
    minor = _saving_minor(item)
    return "" if minor is None else words(texts.locale.language).saving.format(price=texts._amount(minor))


def _deposit(texts: Texts, item: ItemFields) -> str:
    return "" if item.deposit_minor is None else words(texts.locale.language).deposit.format(price=texts._amount(item.deposit_minor))


def _second_amount(texts: Texts, item: ItemFields) -> locales.Amount | None:
    second = texts.label.second_currency
    if second is None or item.price_minor is None:
        return None
    converted = second.converted(item.price_minor, texts.label.currency_exponent)
    return locales.amount(texts.locale, converted, second.code, second.exponent)


def _second_price(texts: Texts, item: ItemFields) -> str:
    shown = _second_amount(texts, item)
    return "" if shown is None else str(shown)


def _rating(texts: Texts, item: ItemFields) -> str:
    if item.rating_tenths is None:
        return ""
    return f"{item.rating_tenths // 10}{texts.locale.decimal}{item.rating_tenths % 10}"


def _number(texts: Texts, number: int | None) -> str:
    return "" if number is None else locales.grouped(str(number), texts.locale)


def _of(minor: Callable[[ItemFields], int | None]) -> Callable[[Texts, ItemFields], str]:
    """A reader of the text of one amount."""

    def read(texts: Texts, item: ItemFields) -> str:
        found = minor(item)
        return "" if found is None else str(texts._amount(found))

    return read


def _low_stock(item: ItemFields) -> bool:
    return item.stock is not None and item.stock_full is not None and 0 < item.stock * LOW_STOCK <= item.stock_full


_AMOUNTS: Final[dict[str, Callable[[ItemFields], int | None]]] = {
    "price": lambda item: item.price_minor,
    "was_price": lambda item: item.was_price_minor,
    "member_price": lambda item: item.member_price_minor,
    "multi_buy_total": lambda item: None if item.multi_buy is None else item.multi_buy[1],
    "deposit_amount": lambda item: item.deposit_minor,
    "saving_amount": _saving_minor,
}

_READERS: Final[dict[str, Callable[[Texts, ItemFields], str]]] = {
    "name": lambda texts, item: clean(item.name),
    "brand": lambda texts, item: clean(item.brand),
    "origin": lambda texts, item: clean(item.origin),
    "sku": lambda texts, item: clean(item.sku),
    "gtin": lambda texts, item: item.gtin or "",
    "net_content": lambda texts, item: _content(texts, item.net_content, item.net_unit),
    "drained_weight": lambda texts, item: _content(texts, item.drained_weight, item.net_unit),
    "unit_price": _unit_price_text,
    "price_basis": _basis,
    **{name: _of(minor) for name, minor in _AMOUNTS.items()},
    "multi_buy": _multi_buy,
    "multi_buy_quantity": lambda texts, item: "" if item.multi_buy is None else str(item.multi_buy[0]),
    "saving": _saving,
    "percent_off": _percent_off,
    "offer_ends": _offer_ends,
    "offer_date": _offer_date,
    "deposit": _deposit,
    "second_price": _second_price,
    "stock": lambda texts, item: _number(texts, item.stock),
    "rating": _rating,
    "rating_count": lambda texts, item: _number(texts, item.rating_count),
    "age_limit": lambda texts, item: "" if item.age_limit is None else f"{item.age_limit}+",
    "word_member": lambda texts, item: words(texts.locale.language).member,
    "word_was": lambda texts, item: words(texts.locale.language).was,
    "word_out_of_stock": lambda texts, item: words(texts.locale.language).out_of_stock,
    "word_reduced": lambda texts, item: words(texts.locale.language).reduced,
    "word_offer": lambda texts, item: words(texts.locale.language).offer,
}

# fields whose presence shows without making their text
_PRESENT: Final = {
    "gtin": "gtin",
    "price": "price_minor",
    "was_price": "was_price_minor",
    "member_price": "member_price_minor",
    "multi_buy": "multi_buy",
    "multi_buy_total": "multi_buy",
    "multi_buy_quantity": "multi_buy",
    "saving": "was_price_minor",
    "saving_amount": "was_price_minor",
    "offer_ends": "offer_ends",
    "offer_date": "offer_ends",
    "net_content": "net_content",
    "drained_weight": "drained_weight",
    "deposit": "deposit_minor",
    "deposit_amount": "deposit_minor",
    "stock": "stock",
    "rating": "rating_tenths",
    "rating_count": "rating_count",
    "age_limit": "age_limit",
}

_TESTS: Final[dict[str, Callable[[ItemFields], bool]]] = {
    "reduced": lambda item: item.is_reduced,
    "weighed": lambda item: item.price_unit != "each",
    "out_of_stock": lambda item: item.stock == 0,
    "in_stock": lambda item: item.stock is not None and item.stock > 0,
    "low_stock": _low_stock,
}

FIELDS: Final = ("label_id", *_READERS)
AMOUNTS: Final = (*_AMOUNTS, "second_price")
CONDITIONS: Final = (*FIELDS, *_TESTS)
