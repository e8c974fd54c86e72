"""Fields + template + panel -> a scene: every mark with its place, size and ink. No pixels yet; `as_json` is what golden tests compare."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import assert_never

from render import glyphs, locales, price, text
from render.errors import DoesNotFit, MissingField, MissingGlyph
from render.fields import LabelFields
from render.panels import Box, Panel, attempt_strip
from render.symbols import linear
from render.templates import Badge, Barcode, Element, Fill, Image, Price, Style, Template, Text, WasPrice


@dataclass(frozen=True, slots=True)
class Area:
    """A filled rectangle with rounded corners."""

    box: Box
    radius: int
    ink: int


@dataclass(frozen=True, slots=True)
class Run:
    """One line of text from a pen start on a baseline."""

    text: str
    x: int
    baseline: int
    font: str
    size: int
    ink: int


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of modules; "1" is a bar of `height` pixels."""

    modules: str
    x: int
    y: int
    module_px: int
    height: int
    ink: int


@dataclass(frozen=True, slots=True)
class Stroke:
    """A straight line between two pixels."""

    x0: int
    y0: int
    x1: int
    y1: int
    width: int
    ink: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file dithered to some inks."""

    file: str
    box: Box
    inks: tuple[int, ...]


Mark = Area | Run | Bars | Stroke | Picture


@dataclass(frozen=True, slots=True)
class Scene:
    """Marks in drawing order on a white panel."""

    panel: str
    width: int
    height: int
    marks: tuple[Mark, ...]

    def as_json(self) -> dict[str, object]:
        marks = [{"mark": type(mark).__name__.lower(), **asdict(mark)} for mark in self.marks]
        return {"panel": self.panel, "width": self.width, "height": self.height, "marks": marks}


def build(label: LabelFields, template: Template, panel: Panel) -> Scene:
    """Place everything that this label shows. Raises FieldError (missing field or glyph, price too wide, GTIN) or UnknownTemplate."""
    layout = template.layout(panel)
    writer = _Writer(label, panel)
    writer.require(template.needs, template.name)
    for element in layout.elements:
        if all(writer.holds(condition) for condition in element.placed.when):
            writer.add(element)
    strip = attempt_strip(panel.width, panel.height)
    for mark in writer.marks:
        if mark_box(mark).overlaps(strip) or not mark_box(mark).inside(panel.area):
            raise DoesNotFit(f"item {label.item_text!r}: {type(mark).__name__} leaves the panel or touches the attempt's pixels")
    return Scene(panel.name, panel.width, panel.height, tuple(writer.marks))


def mark_box(mark: Mark) -> Box:
    """The pixels that a mark may change."""
    match mark:
        case Area() | Picture():
            return mark.box
        case Run():
            left, top, right, bottom = glyphs.ink_box(mark.font, mark.size, mark.text)
            return Box(mark.x + left, mark.baseline + top, right - left, bottom - top)
        case Bars():
            return Box(mark.x, mark.y, len(mark.modules) * mark.module_px, mark.height)
        case Stroke():
            left, right = sorted((mark.x0, mark.x1))
            top, bottom = sorted((mark.y0, mark.y1))
            half = mark.width // 2
            return Box(left - half, top - half, right - left + 1 + 2 * half, bottom - top + 1 + 2 * half)
        case _:
            assert_never(mark)


def clean(value: str) -> str:
    """Text as it is drawn: composed characters, single spaces, no invisible ones."""
    composed = unicodedata.normalize("NFC", value)
    visible = "".join(character for character in composed if unicodedata.category(character) != "Cf")
    return re.sub(" +", " ", visible).strip(" ")


class _Writer:
    """Turns elements into marks for one label."""

    def __init__(self, label: LabelFields, panel: Panel) -> None:
        self.label = label
        self.panel = panel
        self.marks: list[Mark] = []
        row = locales.locale(label.locale)
        if row is None:  # fields check it
            raise ValueError(label.locale)
        self.locale = row
        self.unit_price = self._unit_price()

    def require(self, needs: Iterable[str], template: str) -> None:
        present = {
            "name": bool(self.field("name")),
            "brand": bool(self.field("brand")),
            "gtin": self.label.gtin is not None,
            "price": self.label.price_minor is not None,
            "unit_price": self.unit_price is not None,
        }
        for need in needs:
            if not present[need]:
                reason = "the net content is not known" if need == "unit_price" else "the label has none"
                raise MissingField(f"item {self.label.item_text!r}: template {template!r} needs {need}: {reason}")

    def holds(self, condition: str) -> bool:
        if condition.startswith("not_"):
            return not self.holds(condition.removeprefix("not_"))
        if condition == "reduced":
            return self.label.is_reduced
        return bool(self.field(condition))

    def field(self, name: str) -> str:
        """What the label shows for a field of `templates.FIELDS`; "" where it has nothing."""
        label = self.label
        match name:
            case "name" | "brand" | "label_id":
                return clean(getattr(label, name))
            case "gtin":
                return label.gtin or ""
            case "net_content":
                if label.net_content is None or label.net_unit is None:
                    return ""
                return locales.quantity_text(self.locale, label.net_content, label.net_unit)
            case "unit_price":
                unit = self.unit_price
                if unit is None or label.currency is None:
                    return ""
                if label.price_unit != "each" and (unit.base, unit.unit) == (label.price_quantity, label.price_unit):
                    return ""  # the price itself, which says what it is for
                return locales.unit_price_text(self.locale, unit, label.currency, label.currency_exponent)
            case "price_basis":
                if label.price_minor is None:
                    return ""
                return locales.basis_text(self.locale, label.price_quantity, label.price_unit)
            case "price":
                return "" if label.price_minor is None else str(self.amount(label.price_minor))
            case "was_price":
                return "" if label.was_price_minor is None else str(self.amount(label.was_price_minor))
            case _:
                raise ValueError(f"{name!r} is no field")

    def amount(self, amount_minor: int) -> locales.Amount:
        if self.label.currency is None:  # fields check it
            raise ValueError("a price without currency")
        return locales.amount(self.locale, amount_minor, self.label.currency, self.label.currency_exponent)

    def add(self, element: Element) -> None:
        box = element.placed.box
        match element:
            case Text():
                value = self.by_language(element.text) or element.separator.join(filter(None, map(self.field, element.fields)))
                if value:
                    self.add_lines(value, element.style, box, element.lines_max)
            case Badge():
                self.add_badge(element)
            case Price():
                self.add_price(element)
            case WasPrice():
                self.add_was_price(element)
            case Barcode():
                if self.label.gtin is not None:
                    self.add_barcode(element, linear.ean(self.label.gtin))
            case Fill():
                self.marks.append(Area(box, 0, self.ink(element.ink)))
            case Image():
                self.marks.append(Picture(element.file, box, tuple(sorted({self.ink(name) for name in element.inks}))))
            case _:
                assert_never(element)

    def add_lines(self, value: str, style: Style, box: Box, lines_max: int) -> None:
        self.check_glyphs(style.font, value)
        size, lines = text.fit(value, style, box, lines_max)
        self.marks.extend(Run(line.text, line.x, line.baseline, style.font, size, self.ink(style.ink)) for line in lines)

    def add_badge(self, element: Badge) -> None:
        outer, style = element.placed.box, element.style
        inner = Box(outer.x + element.padding, outer.y, outer.width - 2 * element.padding, outer.height)
        value = self.by_language(element.text)
        self.check_glyphs(style.font, value)
        size, lines = text.fit(value, style, inner, 1)
        left, _, right, _ = glyphs.ink_box(style.font, size, lines[0].text)
        hugged = Box(lines[0].x + left - element.padding, outer.y, right - left + 2 * element.padding, outer.height)
        self.marks.append(Area(hugged, element.radius, self.ink(element.fill)))
        self.marks.append(Run(lines[0].text, lines[0].x, lines[0].baseline, style.font, size, self.ink(style.ink)))

    def add_price(self, element: Price) -> None:
        if self.label.price_minor is None:
            return
        shown, style = self.amount(self.label.price_minor), element.style
        self.check_glyphs(style.font, str(shown))
        parts = price.fit(shown, style, element.placed.box)
        if parts is None:
            raise DoesNotFit(f"item {self.label.item_text!r}: price {shown} does not fit at {style.size_min} px")
        self.marks.extend(Run(part.text, part.x, part.baseline, style.font, part.size, self.ink(style.ink)) for part in parts)

    def add_was_price(self, element: WasPrice) -> None:
        if self.label.was_price_minor is None:
            return
        style, box = element.style, element.placed.box
        shown = str(self.amount(self.label.was_price_minor))
        word = self.by_language(element.before)
        line = f"{word} {shown}" if word else shown
        self.check_glyphs(style.font, line)
        size, lines = text.fit(line, style, box, 1)
        if lines[0].text != line:  # shortened: the price alone, whole or not at all
            word, line = "", shown
            size, lines = text.fit(line, style, box, 1)
            if lines[0].text != line:
                raise DoesNotFit(f"item {self.label.item_text!r}: earlier price {shown} does not fit at {style.size_min} px")
        x, baseline = lines[0].x, lines[0].baseline
        self.marks.append(Run(line, x, baseline, style.font, size, self.ink(style.ink)))
        left, _, right, _ = glyphs.ink_box(style.font, size, shown)
        struck = x + (glyphs.width(style.font, size, f"{word} ") if word else 0)
        capital = round(size * glyphs.CAPITAL_HEIGHT)
        self.marks.append(Stroke(struck + left, baseline - 2, struck + right - 1, baseline - capital + 1, 1, self.ink(element.strike)))

    def add_barcode(self, element: Barcode, symbol: linear.Symbol) -> None:
        box, pixel = element.placed.box, element.module_px
        width = symbol.width_modules * pixel
        digit_height = round(element.digit_size * glyphs.CAPITAL_HEIGHT) + 1 if element.digit_size else 0
        height = box.height - digit_height
        if width > box.width or height < 8 * pixel:
            raise DoesNotFit(f"item {self.label.item_text!r}: a barcode of {width} px does not fit into {box.width}x{box.height}")
        x = box.x + (box.width - width) // 2 + symbol.quiet_left * pixel
        black = self.ink("black")
        self.marks.append(Bars(symbol.modules, x, box.y, pixel, height - 1, black))
        if digit_height:
            self.marks.append(Bars(symbol.guards, x, box.y + height - 1, pixel, digit_height // 2 + 1, black))
            for digit, centre in symbol.digits:
                left, _, right, _ = glyphs.ink_box("regular", element.digit_size, digit)
                start = x + (centre * pixel - (right - left)) // 2 - left
                self.marks.append(Run(digit, start, box.bottom, "regular", element.digit_size, black))

    def check_glyphs(self, font: str, value: str) -> None:
        glyphs.check(font, value, self.label.item_text)
        for character in value:
            if unicodedata.combining(character):  # no composed form: the fonts would draw it beside its letter
                raise MissingGlyph(self.label.item_text, character)

    def by_language(self, texts: tuple[tuple[str, str], ...]) -> str:
        chosen = dict(texts)
        return clean(chosen.get(self.locale.language, chosen.get("en", "")))

    def ink(self, name: str) -> int:
        return self.panel.ink_index(name)

    def _unit_price(self) -> locales.UnitPrice | None:
        label = self.label
        if label.price_minor is None:
            return None
        return locales.unit_price(
            label.price_minor, label.price_quantity, label.price_unit, label.net_content, label.net_unit, label.unit_price_base
        )
