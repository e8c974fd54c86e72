"""What a label shows, and the hash that says whether two labels' pictures would differ.

Imports neither numpy nor numba nor Pillow: the daemon's main process builds fields and hashes them, the workers draw.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from pathlib import Path
from typing import Final

from render import locales
from render.errors import FieldError, UnknownTemplate
from render.panels import panel
from render.symbols import linear

# Raise it when the same fields give other pixels or bytes than before, so that labels are drawn and sent again.
ENCODER_VERSION: Final = 1

TEXT_LENGTH_MAX: Final = 256  # HQ's longest names have some 80 characters; what does not fit the box is shortened with an ellipsis
PRICE_MINOR_MAX: Final = 10**9  # 1,000,000,000 of the smallest unit: more than any shelf price in any currency
QUANTITY_MAX: Final = 10**7  # ten tonnes in grams
ATTRIBUTES_MAX: Final = 32
_OPTIONAL_INTEGERS: Final = (
    ("price_minor", PRICE_MINOR_MAX),
    ("was_price_minor", PRICE_MINOR_MAX),
    ("net_content", QUANTITY_MAX),
    ("unit_price_base", QUANTITY_MAX),
)
TEMPLATE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")

_HERE: Final = Path(__file__).parent
TEMPLATE_FOLDER: Final = _HERE / "templates"
FONT_FOLDER: Final = _HERE / "fonts"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelFields:
    """All that a picture depends on, except the attempt number. Plain values: `as_dict` is JSON-able, `from_dict` reads it back.

    `locale`: BCP 47 (`de-DE`); a language alone is enough. `currency`: ISO 4217 code, `currency_exponent` its decimals (0, 2, 3).
    `price_minor` buys `price_quantity` of `price_unit` (each, g, ml, mm). `was_price_minor` must be above `price_minor`; its presence or
    `reduced` makes the label a reduced one. `net_content` in `net_unit` is what one piece holds; `unit_price_base` is the quantity that
    the unit price is for (default 1 kg, 1 l, 1 m, 1 piece). `gtin`: 8, 12, 13 or 14 digits with a right check digit.
    Raises FieldError (BadGtin for the GTIN) naming the field.
    """

    template: str
    panel: str
    label_id: str
    locale: str = "en-GB"
    currency: str | None = None
    currency_exponent: int = 2
    name: str = ""
    brand: str = ""
    price_minor: int | None = None
    price_quantity: int = 1
    price_unit: str = "each"
    was_price_minor: int | None = None
    reduced: bool = False
    net_content: int | None = None
    net_unit: str | None = None
    unit_price_base: int | None = None
    gtin: str | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for text in ("template", "panel", "label_id", "locale", "name", "brand"):
            _check_text(text, getattr(self, text))
        if locales.locale(self.locale) is None:
            raise FieldError(f"locale: {self.locale!r} is not known; known: {', '.join(locales.LOCALES)}")
        _check_integer("price_quantity", self.price_quantity, QUANTITY_MAX)
        for name, high in _OPTIONAL_INTEGERS:
            if getattr(self, name) is not None:
                _check_integer(name, getattr(self, name), high)
        if not isinstance(self.reduced, bool):
            raise FieldError(f"reduced: {self.reduced!r}, expected true or false")
        if self.currency_exponent not in locales.CURRENCY_EXPONENTS:
            raise FieldError(f"currency_exponent: {self.currency_exponent!r}, expected 0, 2 or 3")
        if self.currency is not None:
            _check_text("currency", self.currency)
        if self.currency is not None and not re.fullmatch(r"[A-Z]{3}", self.currency):
            raise FieldError(f"currency: {self.currency!r}, expected an ISO 4217 code such as EUR")
        if self.price_minor is not None and self.currency is None:
            raise FieldError("currency: a price needs one")
        if self.price_unit not in locales.UNITS:
            raise FieldError(f"price_unit: {self.price_unit!r}, expected one of {', '.join(locales.UNITS)}")
        if self.net_unit is not None and self.net_unit not in locales.UNITS:
            raise FieldError(f"net_unit: {self.net_unit!r}, expected one of {', '.join(locales.UNITS)}")
        if (self.net_content is None) != (self.net_unit is None):
            raise FieldError("net_content, net_unit: both or none")
        if self.was_price_minor is not None and (self.price_minor is None or self.was_price_minor <= self.price_minor):
            raise FieldError(f"was_price_minor: {self.was_price_minor} is not above the price {self.price_minor}")
        if self.gtin is not None:
            _check_text("gtin", self.gtin)
            linear.verified(self.gtin)
        self._check_attributes()

    @property
    def is_reduced(self) -> bool:
        return self.reduced or self.was_price_minor is not None

    @property
    def item_text(self) -> str:
        """The item as an error names it."""
        return f"{self.name} ({self.gtin})" if self.gtin else self.name or self.label_id

    def as_dict(self) -> dict[str, object]:
        """JSON-able, every field present; `LabelFields.from_dict` is its inverse."""
        values: dict[str, object] = {name: getattr(self, name) for name in _FIELD_NAMES}
        values["attributes"] = dict(self.attributes)
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> LabelFields:
        """Fields from a mapping of their names. FieldError names an unknown or missing key."""
        unknown = sorted(set(values) - set(_FIELD_NAMES))
        if unknown:
            raise FieldError(f"unknown field {unknown[0]!r}")
        missing = sorted({"template", "panel", "label_id"} - set(values))
        if missing:
            raise FieldError(f"{missing[0]}: missing")
        return cls(**values)  # type: ignore[arg-type]  # __post_init__ checks every value

    def _check_attributes(self) -> None:
        if not isinstance(self.attributes, Mapping):
            raise FieldError(f"attributes: {self.attributes!r}, expected texts by name")
        if len(self.attributes) > ATTRIBUTES_MAX:
            raise FieldError(f"attributes: {len(self.attributes)}, at most {ATTRIBUTES_MAX}")
        for key, value in self.attributes.items():
            _check_text("attributes key", key)
            _check_text(f"attributes.{key}", value)


_FIELD_NAMES: Final = tuple(each.name for each in fields(LabelFields))


def content_hash(label: LabelFields) -> str:
    """sha256 hex over everything that the picture depends on except the attempt number: fields, panel row, template, fonts, encoder.

    Equal hashes mean equal pictures, so nothing need be sent. Raises UnknownPanel or UnknownTemplate.
    """
    row = panel(label.panel)
    parts = {
        "encoder": ENCODER_VERSION,
        "assets": assets_digest(),
        "template": hashlib.sha256(template_bytes(label.template)).hexdigest(),
        "panel": [row.width, row.height, row.bits, row.rotate_buffer, [[ink.name, *ink.rgb] for ink in row.palette]],
        "fields": label.as_dict(),
    }
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


@lru_cache(maxsize=64)  # more than the shipped templates
def template_bytes(name: str) -> bytes:
    """The shipped template file, read once per process. Raises UnknownTemplate."""
    if not TEMPLATE_NAME.fullmatch(name):
        raise UnknownTemplate(f"template {name!r}: a name is 1 to 32 of a-z, 0-9 and _, and begins with a letter")
    try:
        return (TEMPLATE_FOLDER / f"{name}.toml").read_bytes()
    except FileNotFoundError:
        known = ", ".join(sorted(path.stem for path in TEMPLATE_FOLDER.glob("*.toml")))
        raise UnknownTemplate(f"unknown template {name!r}; known: {known}") from None


@lru_cache(maxsize=1)
def assets_digest() -> str:
    """sha256 hex over the names and bytes of all fonts and template images, read once per process."""
    digest = hashlib.sha256()
    for path in sorted([*FONT_FOLDER.glob("*.ttf"), *TEMPLATE_FOLDER.glob("*.png")]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise FieldError(f"{name}: {value!r}, expected a text")
    if len(value) > TEXT_LENGTH_MAX:
        raise FieldError(f"{name}: {len(value)} characters, at most {TEXT_LENGTH_MAX}")
    for character in value:
        if unicodedata.category(character) in ("Cc", "Cs", "Co", "Cn"):
            raise FieldError(f"{name}: U+{ord(character):04X} is not a character that a label can show")


def _check_integer(name: str, value: object, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= high:
        raise FieldError(f"{name}: {value!r}, expected a whole number from 1 to {high}")
