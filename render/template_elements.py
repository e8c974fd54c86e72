"""What a template is made of: frozen types, no parsing and no drawing. `templates.py` makes them from TOML, `scene.py` places them.

Boxes are in pixels of the layout. Inks are names: white, black, accent (red, else black), red and yellow (else accent).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from render.errors import UnknownTemplate
from render.panels import Box, Panel

INKS: Final = ("white", "black", "accent", "red", "yellow")
FONTS: Final = ("regular", "bold")
STARS: Final = 5
# icon names -> characters of the shipped icon font
ICONS: Final = {
    "organic": "\uea35",
    "vegan": "\ueb4c",
    "plant": "\ue545",
    "frozen": "\ueb3b",
    "fish": "\uf1ea",
    "egg": "\ueacc",
    "meal": "\ue56c",
    "drop": "\ue798",
    "coffee": "\ue541",
    "no_food": "\uf1a7",
    "offer": "\ue54e",
    "percent": "\ueb58",
    "new": "\ue031",
    "member": "\ue89a",
    "gift": "\ue8b1",
    "savings": "\ue2eb",
    "star": "\ue838",
    "star_half": "\ue839",
    "star_outline": "\ue83a",
    "basket": "\ue8cb",
    "bag": "\uf1cc",
    "box": "\ue1a1",
    "delivery": "\ue558",
    "store": "\uea12",
    "place": "\ue55f",
    "scale": "\ueb5f",
    "recycling": "\ue760",
    "date": "\ue878",
    "clock": "\ue8b5",
    "person": "\ue7fd",
    "phone": "\ue0cd",
    "check": "\ue86c",
    "cancel": "\ue5c9",
    "blocked": "\ue14b",
    "adult": "\uf8fd",
    "warning": "\ue002",
    "info": "\ue88e",
    "help": "\ue887",
    "offline": "\ue648",
    "arrow": "\ue5c8",
    "arrow_back": "\ue5c4",
    "world": "\ue80b",
}


class Align(StrEnum):
    """`start` and `end` follow the label's language: left and right, turned round for one that is written from right to left."""

    LEFT = "left"
    CENTER = "center"
    RIGHT = "right"
    START = "start"
    END = "end"

    def resolved(self, right_to_left: bool) -> Align:
        """LEFT, CENTER or RIGHT."""
        if self in (Align.START, Align.END):
            return Align.RIGHT if (self is Align.START) == right_to_left else Align.LEFT
        return self


class Vertical(StrEnum):
    TOP = "top"
    MIDDLE = "middle"
    BOTTOM = "bottom"


class Cents(StrEnum):
    """Raised cents are small and stand at the height of the digits; level ones are as large as the whole digits."""

    RAISED = "raised"
    LEVEL = "level"


class Pattern(StrEnum):
    SOLID = "solid"
    DOTTED = "dotted"
    DASHED = "dashed"


class Inks(StrEnum):
    """Which panels a layout is for: `color` ones have a third ink, `mono` ones do not."""

    ANY = "any"
    COLOR = "color"
    MONO = "mono"


@dataclass(frozen=True, slots=True)
class Placed:
    """What every element has. `when`: conditions (`texts.CONDITIONS`) that must all hold; a `not_` in front turns one round. `item`: the
    label's item that fields and conditions are read from; an element of an item after the first is left out where the label has none."""

    box: Box
    when: tuple[str, ...]
    item: int


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
class Phrase:
    """A fixed text with fields in it: (text, field) pairs in order, field "" behind the last text."""

    parts: tuple[tuple[str, str], ...]

    def filled(self, get: Callable[[str], str]) -> str:
        """The text with each field's value from `get`; "" when one of them has none."""
        filled: list[str] = []
        for fixed, field in self.parts:
            filled.append(fixed)
            if field:
                value = get(field)
                if not value:
                    return ""
                filled.append(value)
        return "".join(filled)


@dataclass(frozen=True, slots=True)
class Content:
    """What a text shows: `fields` joined by `separator` (empty ones left out), or a phrase by language (`en` stands for the missing)."""

    fields: tuple[str, ...] = ()
    separator: str = " "
    phrases: tuple[tuple[str, Phrase], ...] = ()

    def phrase(self, language: str) -> Phrase | None:
        """The phrase of this language, else the English one; None for content of fields."""
        found = None
        for name, phrase in self.phrases:
            if name == language:
                return phrase
            if name == "en":
                found = phrase
        return found


@dataclass(frozen=True, slots=True)
class Text:
    """Wrapped, shrunk, then cut with "…"."""

    placed: Placed
    style: Style
    content: Content
    lines_max: int


@dataclass(frozen=True, slots=True)
class Badge:
    """A text of one line on a filled shape that is as wide as the text. No text: no badge."""

    placed: Placed
    style: Style
    content: Content
    fill: str
    padding: int
    radius: int


@dataclass(frozen=True, slots=True)
class Price:
    """An amount (`field` of price, member_price, multi_buy_total, second_price) in large digits with its sign. Never shortened."""

    placed: Placed
    style: Style
    field: str
    cents: Cents


@dataclass(frozen=True, slots=True)
class WasPrice:
    """The earlier price on one line, struck through, after a phrase by language."""

    placed: Placed
    style: Style
    before: Content
    strike: str


@dataclass(frozen=True, slots=True)
class Barcode:
    """A linear code with modules of whole pixels, centred in its box with its quiet zones, black. `digit_size` 0: no text under it."""

    placed: Placed
    symbology: str
    field: str
    module_px: int
    digit_size: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """A QR code or Data Matrix with its quiet zone inside the box, centred, black. `module_px` 0: as large as fits.

    `field`: `digital_link` (GS1 Digital Link of the GTIN at `domain`), `gtin` (in a Data Matrix as GS1 element string), any other field as
    it is, or "" for `url`, whose fields are percent-encoded. `level`: QR error correction L, M, Q, H.
    """

    placed: Placed
    symbology: str
    field: str
    url: Phrase | None
    domain: str
    module_px: int
    level: str


@dataclass(frozen=True, slots=True)
class Icon:
    """A glyph of the icon font, as large as the box's short side, centred."""

    placed: Placed
    name: str
    ink: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line that fills its box, its thickness the short side; dots are as long as thick, dashes four times."""

    placed: Placed
    pattern: Pattern
    ink: str


@dataclass(frozen=True, slots=True)
class Frame:
    """A rectangle with an outline of `thickness` (0: none) in `ink` around `fill` ("": what lies under it)."""

    placed: Placed
    ink: str
    thickness: int
    radius: int
    fill: str


@dataclass(frozen=True, slots=True)
class Fill:
    placed: Placed
    ink: str


@dataclass(frozen=True, slots=True)
class Stars:
    """The rating as STARS stars, each as high as the box, in steps of half a star; nothing without a rating."""

    placed: Placed
    ink: str


@dataclass(frozen=True, slots=True)
class Stock:
    """A bar as full as the shelf (stock of stock_full), in `low_ink` where stock is low; nothing where either is not known."""

    placed: Placed
    ink: str
    low_ink: str
    thickness: int


@dataclass(frozen=True, slots=True)
class Image:
    """A picture, exactly as large as its box, dithered to the named inks. `png`: the file without its comments and profiles."""

    placed: Placed
    file: str
    png: bytes
    inks: tuple[str, ...]


Element = Text | Badge | Price | WasPrice | Barcode | Matrix | Icon | Rule | Frame | Fill | Stars | Stock | Image


@dataclass(frozen=True, slots=True)
class Layout:
    """Elements in drawing order on a picture of this size."""

    width: int
    height: int
    page: int
    inks: Inks
    elements: tuple[Element, ...]

    def offset_on(self, panel: Panel) -> tuple[int, int]:
        """(dx, dy) of the layout on a panel that shows more: at the bottom right of what can be seen, where none of its elements comes
        near the panel's attempt strip."""
        seen = panel.visible if self.fits(panel.visible) else panel.area
        return seen.right - self.width, seen.bottom - self.height

    def fits(self, area: Box) -> bool:
        return self.width <= area.width and self.height <= area.height

    def fills(self, area: Box) -> bool:
        return (self.width, self.height) == (area.width, area.height)


@dataclass(frozen=True, slots=True)
class Template:
    name: str
    needs: tuple[str, ...]
    layouts: tuple[Layout, ...]

    def layout(self, panel: Panel, page: int = 0) -> Layout:
        """The layout for a panel: of the very size that can be seen of it or of its whole picture, else the largest that can be seen
        whole; one for its inks before one for any.

        UnknownTemplate names the sizes that there are.
        """
        kind = Inks.MONO if panel.accent == panel.black else Inks.COLOR
        page_layouts = [layout for layout in self.layouts if layout.page == page]
        usable = [layout for layout in page_layouts if layout.inks in (Inks.ANY, kind)]
        best = (
            [layout for layout in usable if layout.fills(panel.visible)]
            or [layout for layout in usable if layout.fills(panel.area)]
            or [layout for layout in usable if layout.fits(panel.visible)]
        )
        if best:
            return max(best, key=lambda layout: (layout.width * layout.height, layout.width, layout.inks is kind))
        sizes = ", ".join(f"{layout.width}x{layout.height}" for layout in page_layouts) or "no such page"
        shown = f" for page {page}" if page else ""
        seen = f"{panel.visible.width}x{panel.visible.height}"
        raise UnknownTemplate(f"template {self.name!r} has no layout{shown} for {panel.name} ({seen}); it has {sizes}")


def mentioned(template: Template, page: int) -> frozenset[str]:
    """Every field and condition that the template's layouts of a page read: what else changes about an item need not be drawn again."""
    names: set[str] = set()
    for layout in template.layouts:
        for element in layout.elements if layout.page == page else ():
            names.update(condition.removeprefix("not_") for condition in element.placed.when)
            names.update(_read_by(element))
    return frozenset(names)


def items_shown(layout: Layout) -> int:
    """How many of a label's items a layout draws."""
    return 1 + max(element.placed.item for element in layout.elements)


def _read_by(element: Element) -> Iterator[str]:
    match element:
        case Text() | Badge():
            yield from _fields_of(element.content)
        case WasPrice():
            yield "was_price"
            yield from _fields_of(element.before)
        case Price() | Barcode():
            yield element.field
        case Matrix():
            yield element.field
            yield from (field for _, field in element.url.parts) if element.url is not None else ()
        case Stars():
            yield "rating"
        case Stock():
            yield "stock"
        case Icon() | Rule() | Frame() | Fill() | Image():
            pass
        case _:
            assert_never(element)


def _fields_of(content: Content) -> Iterator[str]:
    yield from content.fields
    for _, phrase in content.phrases:
        yield from (field for _, field in phrase.parts)
