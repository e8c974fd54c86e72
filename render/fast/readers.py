"""What of a label an element shows: functions from its texts to strings, and whether an element looks the same on all labels of a locale.

They say the same as scene.py's reading of contents, amounts and codes.
"""

from __future__ import annotations

from collections.abc import Callable

from render.fields import LabelFields
from render.locales import Locale
from render.template_elements import (
    Badge,
    Barcode,
    Cents,
    Content,
    Element,
    Fill,
    Frame,
    Icon,
    Image,
    Price,
    Rule,
    Stars,
    Stock,
    Text,
    WasPrice,
)
from render.texts import Texts, clean

Reader = Callable[[Texts], tuple[str, ...]]
Key = Callable[[Texts], object]


class Known(Texts):
    """Texts that are made once, however many elements and conditions ask for them."""

    __slots__ = ("_known",)

    def __init__(self, label: LabelFields) -> None:
        super().__init__(label)
        self._known: dict[tuple[str, int], str] = {}

    def get(self, field: str, item: int = 0) -> str:
        key = (field, item)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = super().get(field, item)
        return known


def is_fixed(content: Content, locale: Locale) -> bool:
    """Whether a content is the same on all labels of a locale."""
    phrase = content.phrase(locale.language)
    if phrase is not None:
        return not any(field for _, field in phrase.parts)
    return all(field.startswith("word_") for field in content.fields)


def shown(content: Content, item: int, texts: Texts) -> str:
    """The text of a content; "" where the label has nothing for it."""
    phrase = content.phrase(texts.locale.language)
    if phrase is not None:
        return clean(phrase.filled(lambda field: texts.get(field, item)))
    return content.separator.join(filter(None, [texts.get(field, item) for field in content.fields]))


def text_reader(element: Text) -> Reader:
    """One string: the text."""
    content, item = element.content, element.placed.item
    if len(content.fields) == 1:
        field = content.fields[0]
        return lambda texts: (texts.get(field, item),)
    return lambda texts: (shown(content, item, texts),)


def price_reader(element: Price) -> Reader:
    """Three strings: sign, the large digits with the decimal point, raised cents; all empty where there is no amount."""
    field, item, is_level = element.field, element.placed.item, element.cents is Cents.LEVEL

    def read(texts: Texts) -> tuple[str, ...]:
        amount = texts.amount(field, item)
        if amount is None:
            return "", "", ""
        number = amount.whole + amount.decimal
        return (amount.sign, number + amount.cents, "") if is_level else (amount.sign, number, amount.cents)

    return read


def was_price_reader(element: WasPrice) -> Reader:
    """Two strings: the price behind its word, the price alone."""
    before, item = element.before, element.placed.item

    def read(texts: Texts) -> tuple[str, ...]:
        price = texts.get("was_price", item)
        word = shown(before, item, texts) if price else ""
        return (f"{word} {price}", price) if word else (price, price)

    return read


def gtin_reader(element: Barcode) -> Reader:
    """One string: the digits; an UPC-A is an EAN-13 with a leading zero."""
    item = element.placed.item

    def read(texts: Texts) -> tuple[str, ...]:
        gtin = texts.get("gtin", item)
        return ("0" + gtin if len(gtin) == 12 else gtin,)

    return read


def sprite_key(element: Element, locale: Locale) -> Key | None:
    """What an element's look depends on besides conditions; None when it is the same on all labels of a locale."""
    item = element.placed.item
    match element:
        case Fill() | Frame() | Rule() | Icon() | Image():
            return None
        case Text() | Badge():
            content = element.content
            return None if is_fixed(content, locale) else lambda texts: shown(content, item, texts)
        case Barcode():
            field = element.field
            return lambda texts: texts.get(field, item)
        case Stars() | Stock():
            return lambda texts: _stock_and_rating(texts, item)
        case _:
            return lambda texts: texts.label


def _stock_and_rating(texts: Texts, item: int) -> object:
    if item >= len(texts.label.items):
        return None
    own = texts.label.items[item]
    return own.stock, own.stock_full, own.rating_tenths
