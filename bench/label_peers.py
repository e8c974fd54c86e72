"""The label of bench_label.toml as others would draw it: from the same strings to bit planes, each at its best.

What none of them has is left out or given: no wrapping but at spaces, the code as a finished matrix, the fixed parts as a finished picture.
"""

from __future__ import annotations

import asyncio
import logging
import zlib
from dataclasses import dataclass
from typing import Any

import cairocffi
import numpy as np
import numpy.typing as npt
import odl_renderer
import segno
import skia
from epaper_dithering import ColorScheme, DitherMode
from opendisplay import prepare_image
from opendisplay.models.capabilities import DeviceCapabilities
from PIL import Image, ImageDraw, ImageFont

from render.fields import FONT_FOLDER
from render.symbols import linear

Bytes = npt.NDArray[np.uint8]

WIDTH, HEIGHT = 296, 128
BOLD, REGULAR = str(FONT_FOLDER / "RobotoCondensed-Bold.ttf"), str(FONT_FOLDER / "RobotoCondensed-Regular.ttf")
NAME_SIZE, TEXT_SIZE, PRICE_SIZE, CENTS_SIZE, SIGN_SIZE, DIGIT_SIZE = 18, 13, 52, 27, 19, 11
NAME_X, NAME_Y, NAME_STEP, NAME_WIDTH = 6, 23, 20, 214
UNIT_AT, ARTICLE_AT = (6, 63), (6, 79)
PRICE_RIGHT, PRICE_MIDDLE = 228, 75
BARS_X, BARS_Y, BARS_HEIGHT, GUARDS_HEIGHT, DIGITS_Y = 13, 86, 30, 5, 126
CODE_X, CODE_Y, CODE_SIDE = 237, 68, 50
BLACK, RED = 1, 2


@dataclass(frozen=True, slots=True)
class Strings:
    """What a label says. `code`: the modules of its QR code, whose text is `link`."""

    name: str
    unit_price: str
    article: str
    sign: str
    whole: str
    cents: str
    gtin: str
    link: str
    code: Bytes


def packed(indices: Bytes) -> Bytes:
    """Two planes of a picture that is turned already, as a skilled user of numpy packs them."""
    return np.stack((np.packbits(indices & 1, axis=1), np.packbits(indices >> 1, axis=1)))


def turned(pixels: Bytes) -> Bytes:
    """By 90 degrees, in memory: packing a turned view takes seven times as long."""
    return np.ascontiguousarray(np.rot90(pixels))


class PillowPeer:
    """Mode P, one-bit text, fonts and background made once; words measured once."""

    def __init__(self, background: Bytes) -> None:
        self.background = Image.fromarray(background, "P")
        self.fonts = {
            (path, size): ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)
            for path, size in (
                (BOLD, NAME_SIZE),
                (REGULAR, TEXT_SIZE),
                (BOLD, PRICE_SIZE),
                (BOLD, CENTS_SIZE),
                (BOLD, SIGN_SIZE),
                (REGULAR, DIGIT_SIZE),
            )
        }
        self.widths: dict[str, float] = {}
        self.digits = {digit: self._box(REGULAR, DIGIT_SIZE, digit) for digit in "0123456789"}
        self.capitals = {size: -self._box(BOLD, size, "0")[1] for size in (PRICE_SIZE, CENTS_SIZE, SIGN_SIZE)}

    def planes(self, label: Strings) -> Bytes:
        return packed(turned(np.asarray(self.picture(label))))

    def frame(self, label: Strings) -> bytes:
        """The compressed frame of an OpenDisplay label (window of 512 bytes), its QR code made by segno."""
        code = np.array(segno.make_qr(label.link, error="m", boost_error=False).matrix, np.uint8)
        planes = packed(np.asarray(self.picture(label, code)))
        planes[0] ^= 0xFF  # white is 1 there, red 3; a skilled user folds that into the packing
        deflate = zlib.compressobj(9, zlib.DEFLATED, 9)
        return deflate.compress(planes.tobytes()) + deflate.flush()

    def picture(self, label: Strings, code: Bytes | None = None) -> Image.Image:
        image = self.background.copy()
        pen = ImageDraw.Draw(image)
        pen.fontmode = "1"
        font = self.fonts[BOLD, NAME_SIZE]
        for number, line in enumerate(self._lines(label.name)):
            pen.text((NAME_X, NAME_Y + number * NAME_STEP), line, fill=BLACK, font=font, anchor="ls")
        font = self.fonts[REGULAR, TEXT_SIZE]
        pen.text(UNIT_AT, label.unit_price, fill=BLACK, font=font, anchor="ls")
        pen.text(ARTICLE_AT, label.article, fill=BLACK, font=font, anchor="ls")
        self._price(pen, label)
        self._bars(image, pen, label.gtin)
        modules = label.code if code is None else code
        square = Image.fromarray(modules, "P").resize((CODE_SIDE, CODE_SIDE), Image.Resampling.NEAREST)
        image.paste(square, (CODE_X, CODE_Y))
        return image

    def _lines(self, name: str) -> list[str]:
        lines: list[str] = []
        line, width = "", 0.0
        for word in name.split(" "):
            longer = width + self._width(" ") + self._width(word)
            if line and longer > NAME_WIDTH:
                lines.append(line)
                line, width = word, self._width(word)
            else:
                line, width = (f"{line} {word}", longer) if line else (word, self._width(word))
        return [*lines, line]

    def _width(self, word: str) -> float:
        width = self.widths.get(word)
        if width is None:
            width = self.widths[word] = self.fonts[BOLD, NAME_SIZE].getlength(word, mode="1")
        return width

    def _box(self, path: str, size: int, text: str) -> tuple[int, int, int, int]:
        left, top, right, bottom = self.fonts[path, size].getbbox(text, mode="1", anchor="ls")
        return int(left), int(top), int(right), int(bottom)

    def _price(self, pen: ImageDraw.ImageDraw, label: Strings) -> None:
        """Whole digits large, cents raised, the sign below them; all together flush right, the middle of the ink on a line."""
        whole, cents, sign = (
            self._box(BOLD, size, text) for size, text in ((PRICE_SIZE, label.whole), (CENTS_SIZE, label.cents), (SIGN_SIZE, label.sign))
        )
        beside = whole[2] + 3
        raised = self.capitals[CENTS_SIZE] - self.capitals[PRICE_SIZE]
        top, bottom = min(whole[1], raised + cents[1], sign[1]), max(whole[3], raised + cents[3], sign[3])
        right = max(whole[2], beside - cents[0] + cents[2], beside - sign[0] + sign[2])
        x = PRICE_RIGHT - right
        y = PRICE_MIDDLE - 26 + (52 - (bottom - top)) // 2 - top
        pen.text((x, y), label.whole, fill=RED, font=self.fonts[BOLD, PRICE_SIZE], anchor="ls")
        pen.text((x + beside - cents[0], y + raised), label.cents, fill=RED, font=self.fonts[BOLD, CENTS_SIZE], anchor="ls")
        pen.text((x + beside - sign[0], y), label.sign, fill=RED, font=self.fonts[BOLD, SIGN_SIZE], anchor="ls")

    def _bars(self, image: Image.Image, pen: ImageDraw.ImageDraw, gtin: str) -> None:
        symbol = linear.ean(gtin)
        for modules, y, height in ((symbol.modules, BARS_Y, BARS_HEIGHT), (symbol.guards, BARS_Y + BARS_HEIGHT, GUARDS_HEIGHT)):
            row = np.frombuffer(modules.encode(), np.uint8) - 48
            image.paste(Image.fromarray(row[None], "P").resize((len(modules), height), Image.Resampling.NEAREST), (BARS_X, y))
        for digit, centre in symbol.digits:
            left, _, right, _ = self.digits[digit]
            start = BARS_X + (centre - (right - left)) // 2 - left
            pen.text((start, DIGITS_Y), digit, fill=BLACK, font=self.fonts[REGULAR, DIGIT_SIZE], anchor="ls")


class SkiaPeer:
    """Skia draws into grey bytes that numpy owns: black 0, red 53, white 255; aliased glyphs, fonts and background made once."""

    def __init__(self, background: Bytes) -> None:
        self.pixels = np.zeros((HEIGHT, WIDTH), np.uint8)
        self.canvas = skia.Surface(self.pixels, colorType=skia.kGray_8_ColorType).getCanvas()
        self.background = np.array([255, 0, 53], np.uint8)[background]
        faces = {path: skia.Typeface.MakeFromFile(path) for path in (BOLD, REGULAR)}
        sizes = ((BOLD, NAME_SIZE), (REGULAR, TEXT_SIZE), (BOLD, PRICE_SIZE), (BOLD, CENTS_SIZE), (BOLD, SIGN_SIZE), (REGULAR, DIGIT_SIZE))
        self.fonts = {(path, size): skia.Font(faces[path], size) for path, size in sizes}
        for font in self.fonts.values():
            font.setEdging(skia.Font.Edging.kAlias)
        self.black, self.red = (skia.Paint(Color=color, AntiAlias=False) for color in (skia.ColorBLACK, skia.ColorRED))
        self.widths: dict[str, float] = {}

    def planes(self, label: Strings) -> Bytes:
        canvas, fonts = self.canvas, self.fonts
        self.pixels[:] = self.background  # its own drawing of an image takes longer
        font = fonts[BOLD, NAME_SIZE]
        for number, line in enumerate(self._lines(label.name)):
            canvas.drawString(line, NAME_X, NAME_Y + number * NAME_STEP, font, self.black)
        canvas.drawString(label.unit_price, *UNIT_AT, fonts[REGULAR, TEXT_SIZE], self.black)
        canvas.drawString(label.article, *ARTICLE_AT, fonts[REGULAR, TEXT_SIZE], self.black)
        cents_width = self._width(label.cents, fonts[BOLD, CENTS_SIZE])
        x = PRICE_RIGHT - cents_width
        canvas.drawString(label.cents, x, PRICE_MIDDLE - 4, fonts[BOLD, CENTS_SIZE], self.red)
        canvas.drawString(label.sign, x, PRICE_MIDDLE + 14, fonts[BOLD, SIGN_SIZE], self.red)
        canvas.drawString(
            label.whole, x - self._width(label.whole, fonts[BOLD, PRICE_SIZE]), PRICE_MIDDLE + 14, fonts[BOLD, PRICE_SIZE], self.red
        )
        symbol = linear.ean(label.gtin)
        modules = (np.frombuffer(symbol.modules.encode(), np.uint8) - 49) & 255
        guards = (np.frombuffer(symbol.guards.encode(), np.uint8) - 49) & 255
        for digit, centre in symbol.digits:
            canvas.drawString(digit, BARS_X + centre // 2 - 3, DIGITS_Y, fonts[REGULAR, DIGIT_SIZE], self.black)
        grey = self.pixels  # numpy puts the bars in faster than thirty rectangles do
        grey[BARS_Y : BARS_Y + BARS_HEIGHT, BARS_X : BARS_X + len(modules)] = modules
        grey[BARS_Y + BARS_HEIGHT : BARS_Y + BARS_HEIGHT + GUARDS_HEIGHT, BARS_X : BARS_X + len(guards)] = guards
        grey[CODE_Y : CODE_Y + CODE_SIDE, CODE_X : CODE_X + CODE_SIDE] = (label.code - 1).repeat(2, axis=0).repeat(2, axis=1)
        grey = turned(grey)
        return np.stack((np.packbits(grey == 0, axis=1), np.packbits(grey == 53, axis=1)))

    def _lines(self, name: str) -> list[str]:
        font = self.fonts[BOLD, NAME_SIZE]
        lines: list[str] = []
        line, width = "", 0.0
        for word in name.split(" "):
            longer = width + self._width(" ", font) + self._width(word, font)
            if line and longer > NAME_WIDTH:
                lines.append(line)
                line, width = word, self._width(word, font)
            else:
                line, width = (f"{line} {word}", longer) if line else (word, self._width(word, font))
        return [*lines, line]

    def _width(self, text: str, font: Any) -> float:
        key = f"{font.getSize()} {text}"
        width = self.widths.get(key)
        if width is None:
            width = self.widths[key] = float(font.measureText(text))
        return width


class CairoPeer:
    """Cairo draws into two one-bit surfaces, which nearly are the planes; a system font, since cairocffi loads no font files."""

    def __init__(self, background: Bytes) -> None:
        self.surfaces = [cairocffi.ImageSurface(cairocffi.FORMAT_A1, WIDTH, HEIGHT) for _ in range(2)]
        self.views = [np.frombuffer(surface.get_data(), np.uint8).reshape(HEIGHT, surface.get_stride()) for surface in self.surfaces]
        self.background = []
        for plane, view in enumerate(self.views):
            kept = np.zeros_like(view)
            row = np.packbits(background >> plane & 1, axis=1, bitorder="little")
            kept[:, : row.shape[1]] = row
            self.background.append(kept)
        options = cairocffi.FontOptions()
        options.set_antialias(cairocffi.ANTIALIAS_NONE)
        faces = {
            True: cairocffi.ToyFontFace("DejaVu Sans Condensed", weight=cairocffi.FONT_WEIGHT_BOLD),
            False: cairocffi.ToyFontFace("DejaVu Sans Condensed"),
        }
        sizes = ((True, NAME_SIZE), (False, TEXT_SIZE), (True, PRICE_SIZE), (True, CENTS_SIZE), (True, SIGN_SIZE), (False, DIGIT_SIZE))
        self.fonts = {
            (bold, size): cairocffi.ScaledFont(faces[bold], cairocffi.Matrix(size, 0, 0, size, 0, 0), options=options)
            for bold, size in sizes
        }
        self.contexts = [cairocffi.Context(surface) for surface in self.surfaces]
        for context in self.contexts:
            context.set_antialias(cairocffi.ANTIALIAS_NONE)
        self.widths: dict[tuple[bool, int, str], float] = {}

    def planes(self, label: Strings) -> Bytes:
        """Without its QR code."""
        for surface, view, kept in zip(self.surfaces, self.views, self.background, strict=True):
            view[:] = kept
            surface.mark_dirty()
        black, red = self.contexts
        words, line, number, width = label.name.split(" "), "", 0, 0.0
        black.set_scaled_font(self.fonts[True, NAME_SIZE])
        for word in words:
            longer = width + self._width(True, NAME_SIZE, " " + word)
            if line and longer > NAME_WIDTH:
                self._show(black, line, NAME_X, NAME_Y + number * NAME_STEP)
                line, width, number = word, self._width(True, NAME_SIZE, word), number + 1
            else:
                line, width = (f"{line} {word}", longer) if line else (word, self._width(True, NAME_SIZE, word))
        self._show(black, line, NAME_X, NAME_Y + number * NAME_STEP)
        black.set_scaled_font(self.fonts[False, TEXT_SIZE])
        self._show(black, label.unit_price, *UNIT_AT)
        self._show(black, label.article, *ARTICLE_AT)
        x = PRICE_RIGHT - self._width(True, CENTS_SIZE, label.cents)
        for text, size, left, y in (
            (label.cents, CENTS_SIZE, x, PRICE_MIDDLE - 4),
            (label.sign, SIGN_SIZE, x, PRICE_MIDDLE + 14),
            (label.whole, PRICE_SIZE, x - self._width(True, PRICE_SIZE, label.whole), PRICE_MIDDLE + 14),
        ):
            red.set_scaled_font(self.fonts[True, size])
            self._show(red, text, left, y)
        black.set_scaled_font(self.fonts[False, DIGIT_SIZE])
        symbol = linear.ean(label.gtin)
        for digit, centre in symbol.digits:
            self._show(black, digit, BARS_X + centre // 2 - 3, DIGITS_Y)
        for modules, y, height in ((symbol.modules, BARS_Y, BARS_HEIGHT), (symbol.guards, BARS_Y + BARS_HEIGHT, GUARDS_HEIGHT)):
            for start, length in _runs(modules):
                black.rectangle(BARS_X + start, y, length, height)
        black.fill()
        planes = []
        for surface, view in zip(self.surfaces, self.views, strict=True):
            surface.flush()
            planes.append(np.packbits(turned(np.unpackbits(view[:, : WIDTH // 8], axis=1, bitorder="little")), axis=1))
        return np.stack(planes)

    def _show(self, context: Any, text: str, x: float, y: float) -> None:
        context.move_to(x, y)
        context.show_text(text)

    def _width(self, bold: bool, size: int, text: str) -> float:
        width = self.widths.get((bold, size, text))
        if width is None:
            width = self.widths[bold, size, text] = float(self.fonts[bold, size].text_extents(text)[4])
        return width


def _runs(modules: str) -> list[tuple[int, int]]:
    """(start, length) of the bars."""
    runs: list[tuple[int, int]] = []
    for place, module in enumerate(modules):
        if module == "1" and runs and sum(runs[-1]) == place:
            runs[-1] = (runs[-1][0], runs[-1][1] + 1)
        elif module == "1":
            runs.append((place, 1))
    return runs


class OdlPeer:
    """odl-renderer's own API, one event loop for all labels, its fonts cached by itself. It has no linear barcode: that is given as a
    picture, and so is the finished QR code where it need not make one. It cannot begin with a background: the fixed parts are elements
    like the others."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        logging.getLogger("opendisplay").setLevel(logging.ERROR)  # it warns of today's firmware at every frame
        self.capabilities = DeviceCapabilities(WIDTH, HEIGHT, ColorScheme.BWR)

    def picture(self, label: Strings) -> Image.Image:
        """Its picture in colour; no planes."""
        code = Image.fromarray(255 - 255 * label.code).resize((CODE_SIDE, CODE_SIDE), Image.Resampling.NEAREST)
        element = {"type": "dlimg", "x": CODE_X, "y": CODE_Y, "xsize": CODE_SIDE, "ysize": CODE_SIDE, "url": code}
        return self._drawn(label, element)

    def frame(self, label: Strings) -> bytes:
        """With its QR code, brought to the panel's inks and compressed as py-opendisplay sends it."""
        image = self._drawn(label, {"type": "qrcode", "x": CODE_X, "y": CODE_Y, "data": label.link, "boxsize": 2, "border": 0})
        prepared: tuple[Any, bytes | None, Any] = prepare_image(image, capabilities=self.capabilities, dither_mode=DitherMode.NONE)
        assert prepared[1] is not None
        return prepared[1]

    def _drawn(self, label: Strings, code: dict[str, Any]) -> Image.Image:
        symbol = linear.ean(label.gtin)
        bars = np.frombuffer(symbol.modules.encode(), np.uint8) == ord("0")
        picture = Image.fromarray(np.repeat(bars[None].astype(np.uint8) * 255, BARS_HEIGHT, axis=0))
        elements: list[dict[str, Any]] = [
            {"type": "rectangle", "x_start": 0, "x_end": 295, "y_start": 0, "y_end": 2, "fill": "black", "width": 0},
            {"type": "rectangle", "x_start": 226, "x_end": 291, "y_start": 6, "y_end": 23, "fill": "red", "width": 0, "radius": 3},
            {"type": "text", "value": "REDUZIERT", "x": 259, "y": 19, "size": 11, "font": BOLD, "color": "white", "anchor": "ms"},
            {"type": "line", "x_start": 6, "x_end": 219, "y_start": 48, "y_end": 48, "fill": "black"},
            {"type": "line", "x_start": 132, "x_end": 223, "y_start": 106, "y_end": 106, "fill": "red", "width": 2},
            {"type": "text", "value": label.name, "x": NAME_X, "y": 8, "size": NAME_SIZE, "font": BOLD, "max_width": NAME_WIDTH},
            {
                "type": "text",
                "value": label.unit_price,
                "x": UNIT_AT[0],
                "y": UNIT_AT[1],
                "size": TEXT_SIZE,
                "font": REGULAR,
                "anchor": "ls",
            },
            {
                "type": "text",
                "value": label.article,
                "x": ARTICLE_AT[0],
                "y": ARTICLE_AT[1],
                "size": TEXT_SIZE,
                "font": REGULAR,
                "anchor": "ls",
            },
            {"type": "text", "value": label.whole, "x": 200, "y": 89, "size": PRICE_SIZE, "font": BOLD, "color": "red", "anchor": "rs"},
            {"type": "text", "value": label.cents, "x": 202, "y": 71, "size": CENTS_SIZE, "font": BOLD, "color": "red", "anchor": "ls"},
            {"type": "text", "value": label.sign, "x": 202, "y": 89, "size": SIGN_SIZE, "font": BOLD, "color": "red", "anchor": "ls"},
            {"type": "dlimg", "x": BARS_X, "y": BARS_Y, "xsize": len(bars), "ysize": BARS_HEIGHT, "url": picture},
            {"type": "text", "value": label.gtin, "x": BARS_X, "y": DIGITS_Y, "size": DIGIT_SIZE, "font": REGULAR, "anchor": "ls"},
            code,
        ]
        image: Image.Image = self.loop.run_until_complete(odl_renderer.generate_image(WIDTH, HEIGHT, elements, accent_color="red"))
        return image
