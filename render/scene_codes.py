"""Barcodes and matrix codes as marks: which text they carry, and where their modules, digits and quiet zones lie."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from render import glyphs
from render.errors import DoesNotFit
from render.marks import Bars, Grid, Mark, Run
from render.panels import Box
from render.symbols import datamatrix, gs1, linear, qr
from render.template_elements import Barcode, Matrix
from render.texts import Texts

BAR_MODULES_MIN: Final = 8  # bars lower than this are hard to aim at
QUIET_MODULES: Final = {"qr": 4, "datamatrix": 1}
FONT: Final = "regular"
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


def barcode(element: Barcode, box: Box, texts: Texts, ink: int) -> Iterator[Mark]:
    """Bars, and under them what a person reads. Nothing where the label lacks the field. Raises FieldError."""
    value = texts.get(element.field, element.placed.item)
    if not value:
        return
    symbol = _symbol(element.symbology, value)
    item = texts.label.item_text(element.placed.item)
    pixel = element.module_px
    width = symbol.width_modules * pixel
    digit_height = round(element.digit_size * glyphs.CAPITAL_HEIGHT) + 1 if element.digit_size else 0
    height = box.height - digit_height
    if width > box.width or height < BAR_MODULES_MIN * pixel:
        raise DoesNotFit(f"item {item!r}: a barcode of {width} px does not fit into {box.width}x{box.height}")
    x = box.x + (box.width - width) // 2 + symbol.quiet_left * pixel
    yield Bars(symbol.modules, x, box.y, pixel, height - 1, ink)
    if not digit_height:
        return
    if "1" in symbol.guards:
        yield Bars(symbol.guards, x, box.y + height - 1, pixel, digit_height // 2 + 1, ink)
    glyphs.check(FONT, "".join(digit for digit, _ in symbol.digits), item)
    for digit, centre in symbol.digits:
        left, _, right, _ = glyphs.ink_box(FONT, element.digit_size, digit)
        start = x + (centre * pixel - (right - left)) // 2 - left
        yield Run(digit, start, box.bottom, FONT, element.digit_size, ink)


def matrix(element: Matrix, box: Box, texts: Texts, ink: int) -> Iterator[Mark]:
    """The modules, centred with their quiet zone in the box. Nothing where the label lacks the field. Raises FieldError."""
    value = matrix_text(element, texts)
    if not value:
        return
    is_gs1 = element.field == "gtin"
    modules = qr.qr(value, element.level) if element.symbology == "qr" else datamatrix.datamatrix(value, is_gs1)
    quiet = 2 * QUIET_MODULES[element.symbology]
    high, wide = modules.shape
    pixel = element.module_px or min(box.width // (wide + quiet), box.height // (high + quiet))
    if not pixel or (wide + quiet) * pixel > box.width or (high + quiet) * pixel > box.height:
        item = texts.label.item_text(element.placed.item)
        needed = f"{(wide + quiet) * max(pixel, 1)}x{(high + quiet) * max(pixel, 1)}"
        raise DoesNotFit(f"item {item!r}: a {element.symbology} code of {needed} px does not fit into {box.width}x{box.height}")
    rows = tuple("".join("01"[module] for module in row) for row in modules.tolist())
    yield Grid(rows, box.x + (box.width - wide * pixel) // 2, box.y + (box.height - high * pixel) // 2, pixel, ink)


def matrix_text(element: Matrix, texts: Texts) -> str:
    """What a matrix code says: "" where the label has nothing for it. A Data Matrix of a gtin is a GS1 element string."""
    item = element.placed.item
    if element.url is not None:
        return element.url.filled(lambda field: percent_encoded(texts.get(field, item)))
    if element.field == "digital_link":
        gtin = texts.get("gtin", item)
        return gs1.digital_link(gtin, element.domain) if gtin else ""
    value = texts.get(element.field, item)
    if value and element.field == "gtin" and element.symbology == "datamatrix":
        return gs1.element_string([("01", value)])
    return value


def percent_encoded(value: str) -> str:
    """A text as a part of a URL's path or query (RFC 3986), in UTF-8."""
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in value.encode())


def _symbol(symbology: str, value: str) -> linear.Symbol:
    match symbology:
        case "upc_a":
            return linear.upc_a(value)
        case "upc_e":
            return linear.upc_e(value)
        case "code128":
            return linear.code128(value)
        case _:
            return linear.ean(value)
