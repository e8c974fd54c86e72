"""What a label shows, and the hash that says whether two labels' pictures would differ.

Imports neither numpy nor numba nor Pillow: the daemon's main process builds fields and hashes them, the workers draw.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from operator import attrgetter
from pathlib import Path
from typing import Final

from render import locales
from render.errors import FieldError, UnknownTemplate
from render.panels import panel
from render.symbols import linear

# Raise it when the same fields give other pixels or bytes than before, so that labels are drawn and sent again.
ENCODER_VERSION: Final = 2

TEXT_LENGTH_MAX: Final = 256  # HQ's longest names have some 80 characters; what does not fit the box is shortened with an ellipsis
PRICE_MINOR_MAX: Final = 10**9  # 1,000,000,000 of the smallest unit: more than any shelf price in any currency
QUANTITY_MAX: Final = 10**7  # ten tonnes in grams
ATTRIBUTES_MAX: Final = 32
ITEMS_MAX: Final = 8  # a rail of small items on the largest panel
PAGES_MAX: Final = 8  # more than any label keeps
RATING_TENTHS_MAX: Final = 50
AGE_LIMIT_MAX: Final = 99
MULTI_BUY_QUANTITY_MAX: Final = 99
TEMPLATE_FILE_BYTES_MAX: Final = 65_536  # ten times the largest shipped template; a longer file is refused by its parser
TEMPLATE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

_ITEM_INTEGERS: Final = (
    ("price_minor", 1, PRICE_MINOR_MAX),
    ("was_price_minor", 1, PRICE_MINOR_MAX),
    ("member_price_minor", 1, PRICE_MINOR_MAX),
    ("deposit_minor", 1, PRICE_MINOR_MAX),
    ("net_content", 1, QUANTITY_MAX),
    ("drained_weight", 1, QUANTITY_MAX),
    ("unit_price_base", 1, QUANTITY_MAX),
    ("stock", 0, QUANTITY_MAX),
    ("stock_full", 1, QUANTITY_MAX),
    ("rating_tenths", 0, RATING_TENTHS_MAX),
    ("rating_count", 0, PRICE_MINOR_MAX),
    ("age_limit", 1, AGE_LIMIT_MAX),
)
_ITEM_MONEY: Final = ("price_minor", "member_price_minor", "deposit_minor", "multi_buy")
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

_HERE: Final = Path(__file__).parent
TEMPLATE_FOLDER: Final = _HERE / "templates"
FONT_FOLDER: Final = _HERE / "fonts"


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """Where template files and their images are looked for: the first folder that has the file. Files are read once per process."""

    folders: tuple[Path, ...]


SHIPPED: Final = TemplateSource((TEMPLATE_FOLDER,))


def with_own(folder: Path) -> TemplateSource:
    """A store's own folder before the shipped one."""
    return TemplateSource((folder, TEMPLATE_FOLDER))


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemFields:
    """What a label shows of one item. Unit price, second currency, percentage and saving are computed from it, never accepted.

    `price_minor` buys `price_quantity` of `price_unit` (each, g, ml, mm). `was_price_minor` must be above `price_minor`; its presence or
    `reduced` makes the item a reduced one. `member_price_minor` must be below `price_minor`. `multi_buy`: (quantity, total_minor).
    `offer_ends`: the last day of the offer, `YYYY-MM-DD`. `net_content` in `net_unit` is what one piece holds, `drained_weight` what of it
    is food without liquid: the unit price is for that. `unit_price_base` is the quantity that the unit price is for (default 1 kg, 1 l,
    1 m, 1 piece). `gtin`: 8, 12, 13 or 14 digits with a right check digit. `deposit_minor` comes on top of the price. `stock` and
    `stock_full` in pieces. `rating_tenths`: 0 to 50. Raises FieldError (BadGtin for the GTIN) naming the field.
    """

    name: str = ""
    brand: str = ""
    origin: str = ""
    sku: str = ""
    price_minor: int | None = None
    price_quantity: int = 1
    price_unit: str = "each"
    was_price_minor: int | None = None
    reduced: bool = False
    member_price_minor: int | None = None
    multi_buy: tuple[int, int] | None = None
    offer_ends: str | None = None
    net_content: int | None = None
    net_unit: str | None = None
    drained_weight: int | None = None
    unit_price_base: int | None = None
    gtin: str | None = None
    deposit_minor: int | None = None
    stock: int | None = None
    stock_full: int | None = None
    rating_tenths: int | None = None
    rating_count: int | None = None
    age_limit: int | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in ("name", "brand", "origin", "sku"):
            _check_text(text, getattr(self, text))
        _check_integer("price_quantity", self.price_quantity, 1, QUANTITY_MAX)
        for name, low, high in _ITEM_INTEGERS:
            if getattr(self, name) is not None:
                _check_integer(name, getattr(self, name), low, high)
        if not isinstance(self.reduced, bool):
            raise FieldError(f"reduced: {self.reduced!r}, expected true or false")
        if self.price_unit not in locales.UNITS:
            raise FieldError(f"price_unit: {self.price_unit!r}, expected one of {', '.join(locales.UNITS)}")
        if self.was_price_minor is not None and (self.price_minor is None or self.was_price_minor <= self.price_minor):
            raise FieldError(f"was_price_minor: {self.was_price_minor} is not above the price {self.price_minor}")
        if self.member_price_minor is not None and (self.price_minor is None or self.member_price_minor >= self.price_minor):
            raise FieldError(f"member_price_minor: {self.member_price_minor} is not below the price {self.price_minor}")
        if self.multi_buy is not None:
            self._check_multi_buy()
        if self.offer_ends is not None:
            _check_date("offer_ends", self.offer_ends)
        self._check_content()
        if self.gtin is not None:
            _check_text("gtin", self.gtin)
            linear.verified(self.gtin)
        if self.attributes:
            self._check_attributes()
        elif not isinstance(self.attributes, Mapping):
            raise FieldError(f"attributes: {self.attributes!r}, expected texts by name")

    @property
    def is_reduced(self) -> bool:
        return self.reduced or self.was_price_minor is not None

    def as_dict(self) -> dict[str, object]:
        """JSON-able, without the fields that have their default; `ItemFields.from_dict` is its inverse."""
        values = {
            name: value for name, value, default in zip(_ITEM_NAMES, _ITEM_VALUES(self), _ITEM_DEFAULTS, strict=True) if value != default
        }
        if self.multi_buy is not None:
            values["multi_buy"] = list(self.multi_buy)
        if self.attributes:
            values["attributes"] = dict(self.attributes)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> ItemFields:
        """Fields from a mapping of their names. FieldError names an unknown key."""
        _refuse_unknown(values, _ITEM_NAMES)
        multi_buy = values.get("multi_buy")
        if isinstance(multi_buy, list):
            values = {**values, "multi_buy": tuple(multi_buy)}
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every value

    def _check_multi_buy(self) -> None:
        offer: object = self.multi_buy  # typed, but not yet checked
        if not isinstance(offer, tuple) or len(offer) != 2:
            raise FieldError(f"multi_buy: {offer!r}, expected a quantity and a total")
        _check_integer("multi_buy quantity", offer[0], 2, MULTI_BUY_QUANTITY_MAX)
        _check_integer("multi_buy total", offer[1], 1, PRICE_MINOR_MAX)

    def _check_content(self) -> None:
        if self.net_unit is not None and self.net_unit not in locales.UNITS:
            raise FieldError(f"net_unit: {self.net_unit!r}, expected one of {', '.join(locales.UNITS)}")
        if (self.net_content is None and self.drained_weight is None) != (self.net_unit is None):
            raise FieldError("net_content, net_unit: both or none")
        if self.drained_weight is not None and self.net_content is not None and self.drained_weight > self.net_content:
            raise FieldError(f"drained_weight: {self.drained_weight} is above the net content {self.net_content}")

    def _check_attributes(self) -> None:
        if not isinstance(self.attributes, Mapping):
            raise FieldError(f"attributes: {self.attributes!r}, expected texts by name")
        if len(self.attributes) > ATTRIBUTES_MAX:
            raise FieldError(f"attributes: {len(self.attributes)}, at most {ATTRIBUTES_MAX}")
        for key, value in self.attributes.items():
            _check_text("attributes key", key)
            _check_text(f"attributes.{key}", value)


@dataclass(frozen=True, slots=True)
class SecondCurrency:
    """A currency that prices are shown in beside the label's own.

    `rate` is decimal text of exactly six significant figures: units of `code` per one unit of the label's currency, or with `inverse`
    units of the label's currency per one of `code`. The amount is multiplied, or divided, by that very number: Regulation (EC) 1103/97
    forbids a shortened or inverted rate. A price that was converted is never converted back.
    """

    code: str
    exponent: int
    rate: str
    inverse: bool = False

    def __post_init__(self) -> None:
        _check_currency("second_currency.code", self.code)
        _check_exponent("second_currency.exponent", self.exponent)
        if not locales.is_rate(self.rate):
            raise FieldError(f"second_currency.rate: {self.rate!r}, expected a decimal text of six significant figures such as 1.95583")
        if not isinstance(self.inverse, bool):
            raise FieldError(f"second_currency.inverse: {self.inverse!r}, expected true or false")

    def converted(self, amount_minor: int, exponent: int) -> int:
        """An amount of the label's currency, which has `exponent` decimals, in minor units of this one; half a unit rounds up."""
        return locales.converted(amount_minor, exponent, self.rate, self.exponent, divide=self.inverse)

    def as_dict(self) -> dict[str, object]:
        return {"code": self.code, "exponent": self.exponent, "rate": self.rate, "inverse": self.inverse}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> SecondCurrency:
        _refuse_unknown(values, ("code", "exponent", "rate", "inverse"), "second_currency.")
        _refuse_missing(values, ("code", "exponent", "rate"), "second_currency.")
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every value


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFields:
    """All that a picture depends on, except the attempt number. Plain values: `as_dict` is JSON-able, `from_dict` reads it back.

    `locale`: BCP 47 (`de-DE`); a language alone is enough. `currency`: ISO 4217 code, `currency_exponent` its decimals (0, 2, 3).
    `items`: what the label shows, first item first; none for a label that is bound to nothing. `page`: which of the template's pages.
    Raises FieldError naming the field.
    """

    template: str
    panel: str
    label_id: str
    locale: str = "en-GB"
    currency: str | None = None
    currency_exponent: int = 2
    second_currency: SecondCurrency | None = None
    items: tuple[ItemFields, ...] = ()
    page: int = 0

    def __post_init__(self) -> None:
        for text in ("template", "panel", "label_id", "locale"):
            _check_text(text, getattr(self, text))
        if locales.locale(self.locale) is None:
            raise FieldError(f"locale: {self.locale!r} is not known; known: {', '.join(locales.LOCALES)}")
        _check_exponent("currency_exponent", self.currency_exponent)
        if self.currency is not None:
            _check_currency("currency", self.currency)
        if self.second_currency is not None:
            if not isinstance(self.second_currency, SecondCurrency):
                raise FieldError(f"second_currency: {self.second_currency!r}, expected a SecondCurrency")
            if self.second_currency.code == self.currency:
                raise FieldError(f"second_currency: {self.currency} is the label's own")
        items: object = self.items  # typed, but not yet checked
        if not isinstance(items, tuple) or not all(isinstance(item, ItemFields) for item in items):
            raise FieldError("items: expected a tuple of ItemFields")
        if len(self.items) > ITEMS_MAX:
            raise FieldError(f"items: {len(self.items)}, at most {ITEMS_MAX}")
        if self.currency is None and any(getattr(item, name) is not None for item in self.items for name in _ITEM_MONEY):
            raise FieldError("currency: a price needs one")
        _check_integer("page", self.page, 0, PAGES_MAX - 1)

    @property
    def item(self) -> ItemFields | None:
        """The first item, or None."""
        return self.items[0] if self.items else None

    def item_text(self, number: int = 0) -> str:
        """An item as an error names it."""
        if number >= len(self.items):
            return self.label_id
        item = self.items[number]
        return f"{item.name} ({item.gtin})" if item.gtin else item.name or self.label_id

    def as_dict(self) -> dict[str, object]:
        """JSON-able, without what has its default; `LabelFields.from_dict` is its inverse."""
        values = {name: getattr(self, name) for name, default in _LABEL_DEFAULTS.items() if getattr(self, name) != default}
        if self.second_currency is not None:
            values["second_currency"] = self.second_currency.as_dict()
        if self.items:
            values["items"] = [item.as_dict() for item in self.items]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> LabelFields:
        """Fields from a mapping of their names. FieldError names an unknown or missing key."""
        _refuse_unknown(values, _LABEL_DEFAULTS)
        _refuse_missing(values, ("template", "panel", "label_id"))
        read = dict(values)
        items, second = read.get("items", ()), read.get("second_currency")
        if not isinstance(items, list | tuple) or not all(isinstance(item, Mapping) for item in items):
            raise FieldError("items: expected a list of items")
        read["items"] = tuple(ItemFields.from_dict(item) for item in items)
        if isinstance(second, Mapping):
            read["second_currency"] = SecondCurrency.from_dict(second)
        return cls(**read)  # type: ignore[arg-type]  # __post_init__ checks every value


_ITEM_NAMES: Final = tuple(each.name for each in fields(ItemFields))
_ITEM_VALUES: Final = attrgetter(*_ITEM_NAMES)
_ITEM_DEFAULTS: Final[tuple[object, ...]] = tuple({} if each.name == "attributes" else each.default for each in fields(ItemFields))
_LABEL_DEFAULTS: Final = {each.name: each.default for each in fields(LabelFields)}
_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def content_hash(label: LabelFields, source: TemplateSource = SHIPPED) -> str:
    """sha256 hex over everything that the picture depends on except the attempt number: fields, panel row, template, fonts, encoder.

    Equal hashes mean equal pictures, so nothing need be sent. Raises UnknownPanel or UnknownTemplate.
    """
    second = label.second_currency
    values = (
        label.label_id,
        label.locale,
        label.currency,
        label.currency_exponent,
        None if second is None else (second.code, second.exponent, second.rate, second.inverse),
        label.page,
        # attributes stand last in an item's values: their order makes no difference
        [(*_ITEM_VALUES(item)[:-1], sorted(item.attributes.items())) for item in label.items],
    )
    return hashlib.sha256(_frame_digest(label.template, label.panel, source) + _ENCODE(values).encode()).hexdigest()


@lru_cache(maxsize=1024)  # the templates of a store times its kinds of panel
def _frame_digest(template: str, panel_name: str, source: TemplateSource) -> bytes:
    """sha256 over what labels of one template, panel and source have in common."""
    row = panel(panel_name)
    parts = {
        "encoder": ENCODER_VERSION,
        "fields": _ITEM_NAMES,
        "assets": assets_digest(source),
        "template": hashlib.sha256(template_bytes(template, source)).hexdigest(),
        "panel": [panel_name, row.width, row.height, row.bits, row.rotate_buffer, repr(row.palette), repr(row.wire), repr(row.glass)],
    }
    return hashlib.sha256(_ENCODE(parts).encode()).digest()


@lru_cache(maxsize=256)  # more than a store's templates
def template_bytes(name: str, source: TemplateSource = SHIPPED) -> bytes:
    """A template file, read once per process, at most one byte more than its parser takes. Raises UnknownTemplate."""
    if not TEMPLATE_NAME.fullmatch(name):
        raise UnknownTemplate(f"template {name!r}: a name is 1 to 32 of a-z, 0-9 and _, and begins with a letter")
    for folder in source.folders:
        try:
            with (folder / f"{name}.toml").open("rb") as file:
                return file.read(TEMPLATE_FILE_BYTES_MAX + 1)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise UnknownTemplate(f"template {name!r} cannot be read: {error.strerror}") from error
    known = ", ".join(sorted({path.stem for folder in source.folders for path in folder.glob("*.toml")}))
    raise UnknownTemplate(f"unknown template {name!r}; known: {known}")


@lru_cache(maxsize=8)  # a process has one source, tests a few
def assets_digest(source: TemplateSource = SHIPPED) -> str:
    """sha256 hex over the names and bytes of all fonts and template images, read once per process."""
    digest = hashlib.sha256()
    folders = [sorted(FONT_FOLDER.glob("*.ttf")), *(sorted(folder.glob("*.png")) for folder in source.folders)]
    for number, paths in enumerate(folders):
        for path in paths:
            digest.update(b"%d %s\0" % (number, path.name.encode()) + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise FieldError(f"{name}: {value!r}, expected a text")
    if len(value) > TEXT_LENGTH_MAX:
        raise FieldError(f"{name}: {len(value)} characters, at most {TEXT_LENGTH_MAX}")
    if value.isprintable():  # the quick answer for nearly every text; what it refuses may be a space of another kind
        return
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
            raise FieldError(f"{name}: U+{ord(character):04X} is not a character that a label can show")


def _check_integer(name: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise FieldError(f"{name}: {value!r}, expected a whole number from {low} to {high}")


def _check_currency(name: str, value: object) -> None:
    if not isinstance(value, str) or not _CURRENCY.fullmatch(value):
        raise FieldError(f"{name}: {value!r}, expected an ISO 4217 code such as EUR")


def _check_exponent(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value not in locales.CURRENCY_EXPONENTS:
        raise FieldError(f"{name}: {value!r}, expected 0, 2 or 3")


def _check_date(name: str, value: object) -> None:
    if not isinstance(value, str) or not _DATE.fullmatch(value):
        raise FieldError(f"{name}: {value!r}, expected a date as YYYY-MM-DD")
    try:
        datetime.date.fromisoformat(value)
    except ValueError:
        raise FieldError(f"{name}: {value!r} is no date of the calendar") from None


def _refuse_unknown(values: Mapping[str, object], known: Mapping[str, object] | tuple[str, ...], prefix: str = "") -> None:
    for key in values:
        if key not in known:
            raise FieldError(f"unknown field {prefix + str(key)!r}")


def _refuse_missing(values: Mapping[str, object], needed: tuple[str, ...], prefix: str = "") -> None:
    for key in needed:
        if key not in values:
            raise FieldError(f"{prefix}{key}: missing")
