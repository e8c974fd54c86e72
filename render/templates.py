"""Template files: TOML in, frozen types out. A template places boxes; it has no code, no expressions and no paths.

A file is `version = 1`, `needs = [...]` (fields that a label must have) and one `[[layout]]` per panel size with its `[[layout.element]]`
tables, drawn in order. Everything unknown, out of bounds or out of range is refused with file, line, place and reason (BadTemplate).
docs/reference/templates.md says it for authors.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from render import template_elements as el
from render import template_images, template_lines
from render.errors import BadTemplate
from render.fields import ITEMS_MAX, PAGES_MAX, SHIPPED, TEMPLATE_FILE_BYTES_MAX, TemplateSource, template_bytes
from render.panels import Box, attempt_strip
from render.template_elements import Align, Cents, Content, Element, Inks, Layout, Pattern, Placed, Style, Template, Vertical
from render.template_table import Table

LAYOUTS_MAX: Final = 32  # one per panel size and page, of which the catalogue has about twenty
ELEMENTS_MAX: Final = 64  # per layout; the largest shipped one has about fifteen
PANEL_SIDE_MIN_PX: Final = 32
PANEL_SIDE_MAX_PX: Final = 2048
FONT_SIZE_MIN_PX: Final = 8  # below it one-bit glyphs run together
FONT_SIZE_MAX_PX: Final = 200
TEXT_LINES_MAX: Final = 4
MODULE_PX_MAX: Final = 16
ICON_SIZE_MIN_PX: Final = 8

NEEDS: Final = (
    "name", "brand", "origin", "sku", "gtin", "net_content", "drained_weight", "unit_price", "price", "was_price", "member_price",
    "multi_buy", "offer_ends", "deposit", "second_price", "stock", "rating", "age_limit",
)  # fmt: skip
BARCODES: Final = ("ean", "upc_a", "upc_e", "code128")
MATRICES: Final = ("qr", "datamatrix")
LEVELS: Final = ("L", "M", "Q", "H")
DIGITAL_LINK_DOMAIN: Final = "id.gs1.org"
_DOMAIN: Final = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){1,7}")
_TOML_LINE: Final = re.compile(r"at line ([0-9]+)")
_LONG_NUMBER: Final = re.compile(r"[0-9_]{4000}")  # about where Python gives up reading one


@lru_cache(maxsize=256)  # more than a store's templates
def load(name: str, source: TemplateSource = SHIPPED) -> Template:
    """A template by name. Raises UnknownTemplate or BadTemplate."""
    return parse(name, template_bytes(name, source), source)


def parse(name: str, content: bytes, source: TemplateSource = SHIPPED) -> Template:
    """A template file's content; images are looked for in the folders of `source`. Raises BadTemplate."""
    file = f"{name}.toml"
    if len(content) > TEMPLATE_FILE_BYTES_MAX:
        raise BadTemplate(file, "", f"more than {TEMPLATE_FILE_BYTES_MAX} bytes")
    document, lines = _document(file, content)
    top = Table(file, lines, "", (), document)
    top.integer("version", 1, 1)
    needs = top.choices("needs", NEEDS, default=())
    layouts = tuple(_layout(table, source) for table in top.tables("layout", LAYOUTS_MAX))
    top.end()
    known: set[tuple[int, int, int, Inks]] = set()
    for number, layout in enumerate(layouts):
        kind = (layout.width, layout.height, layout.page, layout.inks)
        if kind in known:
            raise BadTemplate(file, f"layout {number + 1}", "two layouts of the same size, page and inks", lines.line(("layout", number)))
        known.add(kind)
    return Template(name, needs, layouts)


def _document(file: str, content: bytes) -> tuple[dict[str, object], template_lines.Lines]:
    """The file as tables and the lines they stand on."""
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BadTemplate(file, "", f"not TOML: {error.reason}", content.count(b"\n", 0, error.start) + 1) from error
    try:
        lines = template_lines.scan(text)
        return tomllib.loads(text), lines
    except template_lines.TooDeep as error:
        raise BadTemplate(file, "", error.problem, error.line) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError is a ValueError; a number of 5,000 digits is a plain one
        found, number = _TOML_LINE.search(str(error)), _LONG_NUMBER.search(text)
        line = int(found.group(1)) if found else text.count("\n", 0, number.start() if number else len(text)) + 1
        raise BadTemplate(file, "", f"not TOML: {str(error)[:200]}", line) from error


def _layout(table: Table, source: TemplateSource) -> Layout:
    width = table.integer("width", PANEL_SIDE_MIN_PX, PANEL_SIDE_MAX_PX)
    height = table.integer("height", PANEL_SIDE_MIN_PX, PANEL_SIDE_MAX_PX)
    page = table.integer("page", 0, PAGES_MAX - 1, 0)
    inks = Inks(table.choice("palette", tuple(Inks), "any"))
    elements = tuple(_element(each, Box(0, 0, width, height), source) for each in table.tables("element", ELEMENTS_MAX))
    table.end()
    return Layout(width, height, page, inks, elements)


def _element(table: Table, area: Box, source: TemplateSource) -> Element:
    kind = table.choice("kind", (*_KINDS, "image"))
    table.place = f"{table.place} ({kind})"
    placed = _placed(table, area)
    element = _image(table, placed, source) if kind == "image" else _KINDS[kind](table, placed)
    table.end()
    return element


def _placed(table: Table, area: Box) -> Placed:
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
    return Placed(box, table.conditions("when"), table.integer("item", 0, ITEMS_MAX - 1, 0))


def _style(table: Table, box: Box, lines: int = 1) -> Style:
    size_max = table.integer("size", FONT_SIZE_MIN_PX, FONT_SIZE_MAX_PX)
    size_min = table.integer("size_min", FONT_SIZE_MIN_PX, size_max, size_max)
    if size_min * lines > box.height:
        raise table.refuse("size_min", f"{lines} lines of {size_min} px do not fit into a box of {box.height} px")
    return Style(
        font=table.choice("font", el.FONTS, "regular"),
        size_max=size_max,
        size_min=size_min,
        ink=_ink(table, "ink", "black"),
        align=Align(table.choice("align", tuple(Align), "left")),
        vertical=Vertical(table.choice("vertical", tuple(Vertical), "top")),
    )


def _ink(table: Table, key: str, default: str | None = None) -> str:
    return table.choice(key, el.INKS, default)


def _text(table: Table, placed: Placed) -> Element:
    content = table.content()
    lines_max = table.integer("lines", 1, TEXT_LINES_MAX, 1)
    return el.Text(placed, _style(table, placed.box, lines_max), content, lines_max)


def _badge(table: Table, placed: Placed) -> Element:
    padding = table.integer("padding", 0, 32, 4)
    if 2 * padding >= placed.box.width:
        raise table.refuse("padding", f"twice {padding} px leave nothing of {placed.box.width} px for the text")
    return el.Badge(
        placed,
        _style(table, placed.box),
        content=table.content(),
        fill=_ink(table, "fill"),
        padding=padding,
        radius=table.integer("radius", 0, 32, 0),
    )


def _price(table: Table, placed: Placed) -> Element:
    field = table.choice("field", ("price", "member_price", "multi_buy_total", "second_price"), "price")
    return el.Price(placed, _style(table, placed.box), field, Cents(table.choice("cents", tuple(Cents), "raised")))


def _was_price(table: Table, placed: Placed) -> Element:
    before = Content(phrases=table.phrases("before")) if table.has("before") else Content()
    return el.WasPrice(placed, _style(table, placed.box), before=before, strike=_ink(table, "strike", "accent"))


def _barcode(table: Table, placed: Placed) -> Element:
    symbology = table.choice("symbology", BARCODES, "ean")
    field = table.field("field", "gtin")
    if symbology != "code128" and field != "gtin":
        raise table.refuse("field", f"{field!r}: {symbology} draws the gtin; code128 draws any field")
    return el.Barcode(placed, symbology, field, table.integer("module_px", 1, MODULE_PX_MAX, 1), table.integer("digit_size", 0, 40, 0))


def _matrix(table: Table, placed: Placed) -> Element:
    symbology = table.choice("symbology", MATRICES, "qr")
    if table.has("url") and table.has("field"):
        raise table.refuse("url", "url and field exclude each other")
    url = table.phrase("url") if table.has("url") else None
    field = "" if url else table.field("field", "digital_link", ("digital_link",))
    domain = table.text("domain", DIGITAL_LINK_DOMAIN)
    if not _DOMAIN.fullmatch(domain):
        raise table.refuse("domain", f"{domain!r}, expected a host name in small letters")
    module_px = table.integer("module_px", 0, MODULE_PX_MAX, 0)
    return el.Matrix(placed, symbology, field, url, domain, module_px, table.choice("level", LEVELS, "M"))


def _icon(table: Table, placed: Placed) -> Element:
    if min(placed.box.width, placed.box.height) < ICON_SIZE_MIN_PX:
        raise table.refuse("x, y, width, height", f"an icon is at least {ICON_SIZE_MIN_PX} px wide and high")
    return el.Icon(placed, table.choice("name", tuple(el.ICONS)), _ink(table, "ink", "black"))


def _rule(table: Table, placed: Placed) -> Element:
    return el.Rule(placed, Pattern(table.choice("pattern", tuple(Pattern), "solid")), _ink(table, "ink", "black"))


def _box(table: Table, placed: Placed) -> Element:
    thickness = table.integer("thickness", 0, 32, 1)
    fill = table.choice("fill", ("none", *el.INKS), "none")
    if 2 * thickness > min(placed.box.width, placed.box.height):
        raise table.refuse("thickness", f"twice {thickness} px are more than the box has")
    if not thickness and fill == "none":
        raise table.refuse("thickness", "a box with neither outline nor fill")
    radius = table.integer("radius", 0, 32, 0)
    return el.Frame(placed, _ink(table, "ink", "black"), thickness, radius, "" if fill == "none" else fill)


def _fill(table: Table, placed: Placed) -> Element:
    return el.Fill(placed, _ink(table, "ink", "black"))


def _stars(table: Table, placed: Placed) -> Element:
    box = placed.box
    if box.height < ICON_SIZE_MIN_PX or el.STARS * box.height > box.width:
        problem = f"{el.STARS} stars as high as the box need {ICON_SIZE_MIN_PX} px or more in height and {el.STARS} times that in width"
        raise table.refuse("x, y, width, height", problem)
    return el.Stars(placed, _ink(table, "ink", "black"))


def _stock(table: Table, placed: Placed) -> Element:
    thickness = table.integer("thickness", 1, 8, 1)
    if 2 * thickness + 1 > min(placed.box.width, placed.box.height):
        raise table.refuse("thickness", f"an outline of {thickness} px leaves nothing of the box")
    return el.Stock(placed, _ink(table, "ink", "black"), _ink(table, "low_ink", "accent"), thickness)


def _image(table: Table, placed: Placed, source: TemplateSource) -> Element:
    file = table.text("file")
    try:
        png = template_images.read(file, source.folders, placed.box.width, placed.box.height)
    except template_images.BadImage as error:
        raise table.refuse("file", str(error)) from error
    return el.Image(placed, file, png, table.choices("inks", el.INKS, ("white", "black")))


_KINDS: Final[dict[str, Callable[[Table, Placed], Element]]] = {
    "text": _text,
    "badge": _badge,
    "price": _price,
    "was_price": _was_price,
    "barcode": _barcode,
    "matrix": _matrix,
    "icon": _icon,
    "rule": _rule,
    "box": _box,
    "fill": _fill,
    "stars": _stars,
    "stock": _stock,
}
