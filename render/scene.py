"""Fields + template + panel -> a scene: every mark with its place, size and ink. No pixels yet; `as_json` is what golden tests compare."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable
from typing import Final, assert_never

from render import glyphs, price, scene_codes, script, text
from render.errors import DoesNotFit, MissingField, MissingGlyph
from render.fields import LabelFields
from render.marks import Area, Bars, Grid, Mark, Outline, Picture, Run, Scene, Stroke, mark_box
from render.panels import Box, Panel, attempt_strip
from render.template_elements import (
    ICONS,
    STARS,
    Badge,
    Barcode,
    Content,
    Element,
    Fill,
    Frame,
    Icon,
    Image,
    Matrix,
    Pattern,
    Price,
    Rule,
    Stars,
    Stock,
    Style,
    Template,
    Text,
    WasPrice,
)
from render.texts import Texts, clean

__all__ = ["Area", "Bars", "Grid", "Mark", "Outline", "Picture", "Run", "Scene", "Stroke", "build", "mark_box"]

MARKS_MAX: Final = 1024  # the largest shipped label has some eighty; a line that changes its script at every letter has one mark each
DASH: Final = "111100"
DOT: Final = "10"


def build(label: LabelFields, template: Template, panel: Panel) -> Scene:
    """Place everything that this label shows. Raises FieldError (missing field or glyph, price too wide, GTIN) or UnknownTemplate."""
    layout = template.layout(panel, label.page)
    writer = _Writer(label, panel, layout.offset_on(panel))
    writer.require(template.needs, template.name)
    for element in layout.elements:
        placed = element.placed
        there = placed.item == 0 or placed.item < len(label.items)
        if there and all(writer.texts.holds(condition, placed.item) for condition in placed.when):
            writer.add(element)
    if len(writer.marks) > MARKS_MAX:
        raise DoesNotFit(f"item {label.item_text()!r}: {len(writer.marks)} marks, at most {MARKS_MAX}")
    strip = attempt_strip(panel.width, panel.height)
    for mark in writer.marks:
        if mark_box(mark).overlaps(strip) or not mark_box(mark).inside(panel.area):
            raise DoesNotFit(f"item {label.item_text()!r}: {type(mark).__name__} leaves the panel or touches the attempt's pixels")
    return Scene(panel.name, panel.width, panel.height, tuple(writer.marks))


class _Writer:
    """Turns elements into marks for one label."""

    def __init__(self, label: LabelFields, panel: Panel, offset: tuple[int, int]) -> None:
        self.label = label
        self.panel = panel
        self.offset = offset
        self.marks: list[Mark] = []
        self.texts = Texts(label)
        self.right_to_left = self.texts.locale.right_to_left

    def require(self, needs: Iterable[str], template: str) -> None:
        for need in needs:
            known = self.texts.unit_price() is not None if need == "unit_price" else self.texts.holds(need)
            if not known:
                reason = "the net content is not known" if need == "unit_price" else "the label has none"
                raise MissingField(f"item {self.label.item_text()!r}: template {template!r} needs {need}: {reason}")

    def add(self, element: Element) -> None:
        box = self.box(element)
        match element:
            case Text():
                value = self.shown(element.content, element.placed.item)
                if value:
                    self.add_lines(value, element.style, box, element.lines_max, element.placed.item)
            case Badge():
                self.add_badge(element, box)
            case Price():
                self.add_price(element, box)
            case WasPrice():
                self.add_was_price(element, box)
            case Barcode():
                self.marks.extend(scene_codes.barcode(element, box, self.texts, self.ink("black")))
            case Matrix():
                self.marks.extend(scene_codes.matrix(element, box, self.texts, self.ink("black")))
            case Icon():
                size = min(box.width, box.height)
                x, bottom = box.x + (box.width - size) // 2, box.bottom - (box.height - size) // 2
                self.marks.append(Run(ICONS[element.name], x, bottom, "icons", size, self.ink(element.ink)))
            case Rule():
                self.marks.append(_rule(element.pattern, box, self.ink(element.ink)))
            case Frame():
                if element.fill:
                    self.marks.append(Area(box, element.radius, self.ink(element.fill)))
                if element.thickness:
                    self.marks.append(Outline(box, element.radius, element.thickness, self.ink(element.ink)))
            case Fill():
                self.marks.append(Area(box, 0, self.ink(element.ink)))
            case Stars():
                self.add_stars(element, box)
            case Stock():
                self.add_stock(element, box)
            case Image():
                self.marks.append(Picture(element.file, element.png, box, tuple(sorted({self.ink(name) for name in element.inks}))))
            case _:
                assert_never(element)

    def shown(self, content: Content, item: int) -> str:
        """The text of a content; "" where the label has nothing for it."""
        phrase = content.phrase(self.texts.locale.language)
        if phrase is not None:
            return clean(phrase.filled(lambda field: self.texts.get(field, item)))
        return content.separator.join(filter(None, (self.texts.get(field, item) for field in content.fields)))

    def add_lines(self, value: str, style: Style, box: Box, lines_max: int, item: int) -> None:
        self.check_glyphs(style.font, value, item)
        size, lines = text.fit(value, style, box, lines_max, right_to_left=self.right_to_left)
        for line in lines:
            self.add_run(line.text, line.x, line.baseline, style.font, size, self.ink(style.ink))

    def add_badge(self, element: Badge, outer: Box) -> None:
        style = element.style
        inner = Box(outer.x + element.padding, outer.y, outer.width - 2 * element.padding, outer.height)
        value = self.shown(element.content, element.placed.item)
        if not value:
            return
        self.check_glyphs(style.font, value, element.placed.item)
        size, lines = text.fit(value, style, inner, 1, right_to_left=self.right_to_left)
        line = lines[0]
        left, _, right, _ = glyphs.ink_box(style.font, size, line.text)
        hugged = Box(line.x + left - element.padding, outer.y, right - left + 2 * element.padding, outer.height)
        self.marks.append(Area(hugged, element.radius, self.ink(element.fill)))
        self.add_run(line.text, line.x, line.baseline, style.font, size, self.ink(style.ink))

    def add_price(self, element: Price, box: Box) -> None:
        shown, style, item = self.texts.amount(element.field, element.placed.item), element.style, element.placed.item
        if shown is None:
            return
        self.check_glyphs(style.font, str(shown), item)
        parts = price.fit(shown, style, box, element.cents, right_to_left=self.right_to_left)
        if parts is None:
            name = element.field.replace("_", " ")
            raise DoesNotFit(f"item {self.label.item_text(item)!r}: {name} {shown} does not fit at {style.size_min} px")
        for part in parts:
            self.add_run(part.text, part.x, part.baseline, style.font, part.size, self.ink(style.ink))

    def add_was_price(self, element: WasPrice, box: Box) -> None:
        style, item = element.style, element.placed.item
        shown = self.texts.get("was_price", item)
        if not shown:
            return
        word = self.shown(element.before, item)
        line = f"{word} {shown}" if word else shown
        self.check_glyphs(style.font, line, item)
        size, lines = text.fit(line, style, box, 1, right_to_left=self.right_to_left)
        if not lines[0].whole:  # the price alone, whole or not at all
            size, lines = text.fit(shown, style, box, 1, right_to_left=self.right_to_left)
            if not lines[0].whole:
                raise DoesNotFit(f"item {self.label.item_text(item)!r}: earlier price {shown} does not fit at {style.size_min} px")
        drawn, x, baseline = lines[0].text, lines[0].x, lines[0].baseline
        self.add_run(drawn, x, baseline, style.font, size, self.ink(style.ink))
        struck = script.visual(shown, self.right_to_left)
        start = drawn.find(struck) if self.right_to_left else drawn.rfind(struck)
        if start < 0:  # an order that puts word and price into each other: better struck too much than too little
            start, struck = 0, drawn
        left, _, right, _ = glyphs.ink_box(style.font, size, struck)
        pen = x + glyphs.width(style.font, size, drawn[:start])
        capital = round(size * glyphs.CAPITAL_HEIGHT)
        self.marks.append(Stroke(pen + left, baseline - 2, pen + right - 1, baseline - capital + 1, 1, self.ink(element.strike)))

    def add_stars(self, element: Stars, box: Box) -> None:
        tenths = self.label.items[element.placed.item].rating_tenths if element.placed.item < len(self.label.items) else None
        if tenths is None:
            return
        halves = (2 * tenths + 5) // 10  # to the nearest half star
        names = ["star"] * (halves // 2) + ["star_half"] * (halves % 2)
        names += ["star_outline"] * (STARS - len(names))
        stars = "".join(ICONS[name] for name in names)
        x = box.right - STARS * box.height if self.right_to_left else box.x
        self.marks.append(Run(stars, x, box.bottom, "icons", box.height, self.ink(element.ink)))

    def add_stock(self, element: Stock, box: Box) -> None:
        item = self.label.items[element.placed.item] if element.placed.item < len(self.label.items) else None
        if item is None or item.stock is None or item.stock_full is None:
            return
        edge = element.thickness
        inner = Box(box.x + edge, box.y + edge, box.width - 2 * edge, box.height - 2 * edge)
        ink = self.ink(element.low_ink if self.texts.holds("low_stock", element.placed.item) else element.ink)
        self.marks.append(Outline(box, 0, edge, self.ink(element.ink)))
        stock = min(item.stock, item.stock_full)
        upright = box.height > box.width
        level = -(-stock * (inner.height if upright else inner.width) // item.stock_full)  # the last piece is seen
        if level and upright:
            self.marks.append(Area(Box(inner.x, inner.bottom - level, inner.width, level), 0, ink))
        elif level:
            x = inner.right - level if self.right_to_left else inner.x
            self.marks.append(Area(Box(x, inner.y, level, inner.height), 0, ink))

    def add_run(self, drawn: str, x: int, baseline: int, font: str, size: int, ink: int) -> None:
        """A text in drawing order, as one mark for each font file that it takes."""
        self.marks.extend(Run(part, x + pen, baseline, file, size, ink) for file, part, pen in glyphs.runs(font, size, drawn))

    def check_glyphs(self, font: str, value: str, item: int) -> None:
        name = self.label.item_text(item)
        seen = script.visual(value, self.right_to_left)
        glyphs.check(font, seen, name)
        for character in seen:
            if unicodedata.combining(character):  # no composed form: the fonts would draw it beside its letter
                raise MissingGlyph(name, character)

    def box(self, element: Element) -> Box:
        box = element.placed.box
        return Box(box.x + self.offset[0], box.y + self.offset[1], box.width, box.height)

    def ink(self, name: str) -> int:
        """Palette index of a template's ink; a colour that the panel lacks is its accent."""
        if name in ("red", "yellow") and all(ink.name != name for ink in self.panel.palette):
            name = "accent"
        return self.panel.ink_index(name)


def _rule(pattern: Pattern, box: Box, ink: int) -> Mark:
    """A line along the box's long side; what is left of the last dash is left out."""
    if pattern is Pattern.SOLID:
        return Area(box, 0, ink)
    thick, long = sorted((box.width, box.height))
    part = DOT if pattern is Pattern.DOTTED else DASH
    modules = (part * (long // thick // len(part) + 1))[: long // thick]
    if box.height > box.width:
        return Grid(tuple(modules), box.x, box.y, thick, ink)
    return Bars(modules, box.x, box.y, thick, thick, ink)
