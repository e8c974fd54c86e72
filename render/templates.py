"""Template files: TOML in, frozen types out. A template places boxes; it has no code, no expressions and no paths.

A file is `version = 1`, `needs = [...]` (fields that a label must have) and one `[[layout]]` per panel size with its `[[layout.element]]`
tables, drawn in order. Everything unknown, out of bounds or out of range is refused with file, place and reason (BadTemplate).
"""

from __future__ import annotations

import struct
import tomllib
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Final

from render.errors import BadTemplate, UnknownTemplate
from render.fields import TEMPLATE_FOLDER, template_bytes
from render.panels import Box, Panel, attempt_strip

FILE_SIZE_BYTES_MAX: Final = 65_536  # ten times the largest shipped template
LAYOUTS_MAX: Final = 32  # one per panel size, of which the catalogue has about twenty
ELEMENTS_MAX: Final = 64  # per layout; the largest shipped one has about fifteen
TEXT_LENGTH_MAX: Final = 120  # a fixed text that fits any panel in a readable size
PANEL_SIDE_MAX_PX: Final = 2048
IMAGE_SIZE_BYTES_MAX: Final = 262_144  # an uncompressed 512x512 picture in grey
FONT_SIZE_MIN_PX: Final = 8  # below it one-bit glyphs run together
FONT_SIZE_MAX_PX: Final = 200
LINES_MAX: Final = 4

INKS: Final = ("white", "black", "accent")
FONTS: Final = ("regular", "bold")
FIELDS: Final = ("name", "brand", "gtin", "label_id", "net_content", "unit_price", "price_basis", "price", "was_price")
NEEDS: Final = ("name", "brand", "gtin", "price", "unit_price")
CONDITIONS: Final = ("reduced", "was_price", "unit_price", "price_basis", "gtin", "brand", "net_content")


class Align(StrEnum):
    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"


class Vertical(StrEnum):
    TOP = "top"
    MIDDLE = "middle"
    BOTTOM = "bottom"


@dataclass(frozen=True, slots=True)
class Placed:
    """What every element has. `when`: conditions that must all hold; a `not_` in front turns one round."""

    box: Box
    when: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Style:
    """Sizes are font pixels per em; the largest one that fits is taken."""

    font: str
    size_max: int
    size_min: int
    ink: str
    align: Align
    vertical: Vertical


@dataclass(frozen=True, slots=True)
class Text:
    """Either fields joined by `separator` (empty ones left out) or a fixed `text` by language. Wrapped, shrunk, then cut with "…"."""

    placed: Placed
    style: Style
    fields: tuple[str, ...]
    separator: str
    text: tuple[tuple[str, str], ...]
    lines_max: int


@dataclass(frozen=True, slots=True)
class Badge:
    """A fixed text on a filled shape that is as wide as the text."""

    placed: Placed
    style: Style
    text: tuple[tuple[str, str], ...]
    fill: str
    padding: int
    radius: int


@dataclass(frozen=True, slots=True)
class Price:
    """The price with large whole digits, small raised cents and its sign. Never shortened."""

    placed: Placed
    style: Style


@dataclass(frozen=True, slots=True)
class WasPrice:
    """The earlier price on one line, struck through, after a word by language."""

    placed: Placed
    style: Style
    before: tuple[tuple[str, str], ...]
    strike: str


@dataclass(frozen=True, slots=True)
class Barcode:
    """The item's EAN with modules of whole pixels, centred in its box with its quiet zones."""

    placed: Placed
    module_px: int
    digit_size: int


@dataclass(frozen=True, slots=True)
class Fill:
    placed: Placed
    ink: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture file beside the template, exactly as large as its box, dithered to the named inks."""

    placed: Placed
    file: str
    inks: tuple[str, ...]


Element = Text | Badge | Price | WasPrice | Barcode | Fill | Image


@dataclass(frozen=True, slots=True)
class Layout:
    width: int
    height: int
    elements: tuple[Element, ...]


@dataclass(frozen=True, slots=True)
class Template:
    name: str
    needs: tuple[str, ...]
    layouts: tuple[Layout, ...]

    def layout(self, panel: Panel) -> Layout:
        """The layout for a panel's size, or UnknownTemplate."""
        for layout in self.layouts:
            if (layout.width, layout.height) == (panel.width, panel.height):
                return layout
        sizes = ", ".join(f"{layout.width}x{layout.height}" for layout in self.layouts)
        raise UnknownTemplate(f"template {self.name!r} has no layout for {panel.name} ({panel.width}x{panel.height}); it has {sizes}")


@lru_cache(maxsize=64)  # more than the shipped templates
def load(name: str) -> Template:
    """A shipped template. Raises UnknownTemplate or BadTemplate."""
    return parse(name, template_bytes(name), TEMPLATE_FOLDER)


def parse(name: str, content: bytes, folder: Path) -> Template:
    """A template file's content; `folder` holds its images. Raises BadTemplate."""
    file = f"{name}.toml"
    if len(content) > FILE_SIZE_BYTES_MAX:
        raise BadTemplate(file, "", f"{len(content)} bytes, at most {FILE_SIZE_BYTES_MAX}")
    try:
        document = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadTemplate(file, "", f"not TOML: {error}") from error
    top = _Table(file, "", document)
    top.integer("version", 1, 1)
    needs = top.choices("needs", NEEDS, default=())
    layouts = tuple(_layout(table, folder) for table in top.tables("layout", LAYOUTS_MAX))
    top.end()
    if len({(layout.width, layout.height) for layout in layouts}) != len(layouts):
        raise BadTemplate(file, "layout", "two layouts of the same size")
    return Template(name, needs, layouts)


class _Table:
    """One TOML table: takes keys with their type and range, then refuses what is left."""

    def __init__(self, file: str, place: str, values: dict[str, object]) -> None:
        self.file = file
        self.place = place
        self._left = dict(values)

    def refuse(self, key: str, problem: str) -> BadTemplate:
        return BadTemplate(self.file, ", ".join(part for part in (self.place, key) if part), problem)

    def has(self, key: str) -> bool:
        return key in self._left

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        value = self._take(key, default)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise self.refuse(key, f"{value!r}, expected a whole number from {low} to {high}")
        return value

    def choice(self, key: str, allowed: tuple[str, ...], default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or value not in allowed:
            raise self.refuse(key, f"{value!r}, expected one of {', '.join(allowed)}")
        return value

    def choices(self, key: str, allowed: tuple[str, ...], default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """One word or a list of different words."""
        value = self._take(key, default)
        parts = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else [None]
        chosen = tuple(part for part in parts if isinstance(part, str) and part in allowed)
        if len(chosen) != len(parts) or len(set(chosen)) != len(chosen):
            raise self.refuse(key, f"{value!r}, expected different ones of {', '.join(allowed)}")
        return chosen

    def text(self, key: str, default: str | None = None) -> str:
        value = self._take(key, default)
        if not isinstance(value, str) or len(value) > TEXT_LENGTH_MAX or not value.isprintable():
            raise self.refuse(key, f"expected a text of at most {TEXT_LENGTH_MAX} printable characters")
        return value

    def texts(self, key: str) -> tuple[tuple[str, str], ...]:
        """One text, or a table of texts by language that has at least `en`."""
        if isinstance(self._left.get(key), str):
            return (("en", self.text(key)),)
        table = self.table(key)
        languages = table.keys()
        if "en" not in languages or not all(len(language) == 2 for language in languages):
            raise self.refuse(key, "expected a text, or texts by two-letter language with at least en")
        return tuple((language, table.text(language)) for language in languages)

    def table(self, key: str) -> _Table:
        value = self._take(key, None)
        if not isinstance(value, dict):
            raise self.refuse(key, f"{value!r}, expected a table")
        return _Table(self.file, ", ".join(part for part in (self.place, key) if part), value)

    def tables(self, key: str, count_max: int) -> list[_Table]:
        value = self._take(key, None)
        if not isinstance(value, list) or not all(isinstance(part, dict) for part in value):
            raise self.refuse(key, "expected a list of tables")
        if not 1 <= len(value) <= count_max:
            raise self.refuse(key, f"{len(value)} tables, expected 1 to {count_max}")
        place = f"{self.place}, {key}" if self.place else key
        return [_Table(self.file, f"{place} {number}", part) for number, part in enumerate(value, start=1)]

    def keys(self) -> list[str]:
        return list(self._left)

    def end(self) -> None:
        for key in self._left:
            raise self.refuse(key, "unknown key")

    def _take(self, key: str, default: object) -> object:
        if key not in self._left:
            if default is None:
                raise self.refuse(key, "missing")
            return default
        return self._left.pop(key)


def _layout(table: _Table, folder: Path) -> Layout:
    width = table.integer("width", 32, PANEL_SIDE_MAX_PX)
    height = table.integer("height", 8, PANEL_SIDE_MAX_PX)
    elements = tuple(_element(each, Box(0, 0, width, height), folder) for each in table.tables("element", ELEMENTS_MAX))
    table.end()
    return Layout(width, height, elements)


def _element(table: _Table, area: Box, folder: Path) -> Element:
    kind = table.choice("kind", _KINDS)
    table.place = f"{table.place} ({kind})"
    placed = _placed(table, area)
    element = _of_kind(kind, table, placed, folder)
    table.end()
    return element


_KINDS: Final = ("text", "badge", "price", "was_price", "barcode", "fill", "image")


def _of_kind(kind: str, table: _Table, placed: Placed, folder: Path) -> Element:
    match kind:
        case "text":
            fixed = table.texts("text") if table.has("text") else ()
            fields = () if fixed else table.choices("field", FIELDS)
            lines_max = table.integer("lines", 1, LINES_MAX, 1)
            return Text(placed, _style(table, placed.box, lines_max), fields, table.text("separator", " "), fixed, lines_max)
        case "badge":
            return Badge(
                placed,
                _style(table, placed.box, 1),
                text=table.texts("text"),
                fill=table.choice("fill", INKS),
                padding=table.integer("padding", 0, 32, 4),
                radius=table.integer("radius", 0, 32, 0),
            )
        case "price":
            return Price(placed, _style(table, placed.box, 1))
        case "was_price":
            before = table.texts("before") if table.has("before") else ()
            return WasPrice(placed, _style(table, placed.box, 1), before=before, strike=table.choice("strike", INKS, "accent"))
        case "barcode":
            return Barcode(placed, table.integer("module_px", 1, 8, 1), table.integer("digit_size", 0, 40, 0))
        case "fill":
            return Fill(placed, table.choice("ink", INKS, "black"))
        case _:
            inks = table.choices("inks", INKS, ("white", "black"))
            return Image(placed, _image_file(table, placed.box, folder), inks)


def _placed(table: _Table, area: Box) -> Placed:
    x = table.integer("x", 0, area.width - 1)
    y = table.integer("y", 0, area.height - 1)
    box = Box(x, y, table.integer("width", 1, area.width), table.integer("height", 1, area.height))
    if not box.inside(area):
        raise table.refuse("x, y, width, height", f"the box ends at {box.right}, {box.bottom}, outside {area.width}x{area.height}")
    strip = attempt_strip(area.width, area.height)
    if box.overlaps(strip):
        raise table.refuse(
            "x, y, width, height",
            f"the box covers pixels reserved for the attempt number (from {strip.x}, {strip.y} to the right edge)",
        )
    allowed = (*CONDITIONS, *(f"not_{condition}" for condition in CONDITIONS))
    return Placed(box, table.choices("when", allowed, ()))


def _style(table: _Table, box: Box, lines: int) -> Style:
    size_max = table.integer("size", FONT_SIZE_MIN_PX, FONT_SIZE_MAX_PX)
    size_min = table.integer("size_min", FONT_SIZE_MIN_PX, size_max, size_max)
    if size_min * lines > box.height:
        raise table.refuse("size_min", f"{lines} lines of {size_min} px do not fit into a box of {box.height} px")
    return Style(
        font=table.choice("font", FONTS, "regular"),
        size_max=size_max,
        size_min=size_min,
        ink=table.choice("ink", INKS, "black"),
        align=Align(table.choice("align", tuple(Align), "left")),
        vertical=Vertical(table.choice("vertical", tuple(Vertical), "top")),
    )


def _image_file(table: _Table, box: Box, folder: Path) -> str:
    """Name of a PNG in the template's own folder whose size is the box's."""
    name = table.text("file")
    if not name.endswith(".png") or not name.removesuffix(".png").replace("_", "").isalnum() or not name.isascii():
        raise table.refuse("file", f"{name!r}, expected the name of a .png file beside the template")
    try:
        content = (folder / name).read_bytes()
    except OSError as error:
        raise table.refuse("file", f"{name!r} cannot be read: {error.strerror}") from error
    if len(content) > IMAGE_SIZE_BYTES_MAX or content[:8] != b"\x89PNG\r\n\x1a\n" or len(content) < 24:
        raise table.refuse("file", f"{name!r} is not a PNG of at most {IMAGE_SIZE_BYTES_MAX} bytes")
    size = struct.unpack_from(">II", content, 16)
    if size != (box.width, box.height):
        raise table.refuse("file", f"{name!r} is {size[0]}x{size[1]}, its box is {box.width}x{box.height}")
    return name
