"""The shipped shelf label as a chain around Pillow would make it: the same texts, boxes and sizes, shrunk to fit, to the compressed frame.

At its best: fonts and both backgrounds made once, each word measured once per size, the price's size estimated before it is searched,
bars pasted as a picture, the digits under them drawn once each and pasted.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from render import raster, scene, templates
from render.fields import FONT_FOLDER, LabelFields
from render.panels import Panel, panel
from render.symbols import linear
from render.template_elements import Badge, Fill
from render.template_elements import Image as ImageElement
from render.texts import Texts

BOLD, REGULAR = str(FONT_FOLDER / "RobotoCondensed-Bold.ttf"), str(FONT_FOLDER / "RobotoCondensed-Regular.ttf")
NAME, CONTENT, UNIT = (6, 3, 244, 49), (6, 57, 122, 17), (6, 73, 122, 18)
PRICE, PRICE_REDUCED, WAS = (134, 60, 156, 64), (134, 79, 156, 46), (212, 58, 78, 18)
BARS_X, BARS_Y, BARS_HEIGHT, GUARDS_HEIGHT, DIGITS_BOTTOM, DIGIT_SIZE = 16, 93, 23, 5, 126, 11
BLACK, RED = 1, 2

Box = tuple[int, int, int, int]


@lru_cache(maxsize=256)
def font(path: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=65_536)
def width(path: str, size: int, text: str) -> float:
    return font(path, size).getlength(text, mode="1")


@lru_cache(maxsize=4_096)
def ink(path: str, size: int, text: str) -> Box:
    left, top, right, bottom = font(path, size).getbbox(text, mode="1", anchor="ls")
    return int(left), int(top), int(right), int(bottom)


class PillowChain:
    """One per process and kind of label; `of` keeps it."""

    def __init__(self, kind: Panel, template: str) -> None:
        self.kind = kind
        self.backgrounds = [Image.fromarray(_background(kind, template, reduced), "P") for reduced in (False, True)]
        self.digits = {}
        for digit in "0123456789":
            left, top, right, bottom = ink(REGULAR, DIGIT_SIZE, digit)
            image = Image.new("L", (right - left, bottom - top))
            pen = ImageDraw.Draw(image)
            pen.fontmode = "1"
            pen.text((-left, -top), digit, fill=255, font=font(REGULAR, DIGIT_SIZE), anchor="ls")
            self.digits[digit] = (image, left, top)

    @staticmethod
    @lru_cache(maxsize=4)
    def of(panel_name: str, template: str) -> PillowChain:
        return PillowChain(panel(panel_name), template)

    def payload(self, label: LabelFields) -> bytes:
        indices = np.asarray(self.picture(label))
        planes = np.stack((np.packbits(indices != 1, axis=1), np.packbits(indices == 2, axis=1)))  # white 1, black 0, red 3
        deflate = zlib.compressobj(9, zlib.DEFLATED, 9)
        return deflate.compress(planes.tobytes()) + deflate.flush()

    def picture(self, label: LabelFields) -> Image.Image:
        texts = Texts(label)
        reduced = texts.holds("reduced")
        image = self.backgrounds[reduced].copy()
        pen = ImageDraw.Draw(image)
        pen.fontmode = "1"
        _name(pen, texts.get("name"))
        _line(pen, CONTENT, " · ".join(filter(None, (texts.get("net_content"), texts.get("brand"), texts.get("origin")))), REGULAR, 14, 12)
        _line(pen, UNIT, texts.get("unit_price"), BOLD, 15, 12)
        if reduced and texts.get("was_price"):
            _line(pen, WAS, f"{texts.get('word_was')} {texts.get('was_price')}", REGULAR, 15, 11, right=True)
            pen.line((246, 72, 289, 62), fill=RED)
        _price(pen, texts, PRICE_REDUCED if reduced else PRICE, 66 if reduced else 84, RED if reduced else BLACK)
        self._bars(image, texts.get("gtin"))
        return image

    def _bars(self, image: Image.Image, gtin: str) -> None:
        symbol = linear.ean(gtin)
        for modules, y, height in ((symbol.modules, BARS_Y, BARS_HEIGHT), (symbol.guards, BARS_Y + BARS_HEIGHT, GUARDS_HEIGHT)):
            row = np.frombuffer(modules.encode(), np.uint8) - 48
            image.paste(Image.fromarray(row[None], "P").resize((len(modules), height), Image.Resampling.NEAREST), (BARS_X, y))
        for digit, centre in symbol.digits:
            mask, left, top = self.digits[digit]
            image.paste(BLACK, (BARS_X + (centre - mask.width) // 2 + left, DIGITS_BOTTOM + top), mask)


def _background(kind: Panel, template: str, reduced: bool) -> npt.NDArray[np.uint8]:
    """The fixed elements: the store's mark, the line, the badge of a reduced label."""
    from bench.render_load import fields_of  # the label that has these conditions

    label = fields_of(0, reduced)
    whole = templates.load(template)
    layout = whole.layout(kind)
    fixed = tuple(element for element in layout.elements if isinstance(element, Fill | ImageElement | Badge))
    shown = replace(whole, needs=(), layouts=(replace(layout, elements=fixed),))
    return raster.draw(scene.build(label, shown, kind), kind)


def _name(pen: ImageDraw.ImageDraw, name: str) -> None:
    """At most two lines in the largest size from 28 to 16 that fits; words measured once."""
    x, y, box_width, box_height = NAME
    lines: list[str] = []
    size = 28
    for size in range(28, 15, -1):
        lines, line, line_width = [], "", 0.0
        for word in name.split(" "):
            longer = line_width + width(BOLD, size, " ") + width(BOLD, size, word)
            if line and longer > box_width:
                lines.append(line)
                line, line_width = word, width(BOLD, size, word)
            else:
                line, line_width = (f"{line} {word}", longer) if line else (word, width(BOLD, size, word))
        lines.append(line)
        if len(lines) <= 2 and all(width(BOLD, size, line) <= box_width for line in lines):
            break
    step, capital = round(size * 1.12), round(size * 0.711)
    first = y + (box_height - capital - step * (len(lines) - 1)) // 2 + capital
    for number, line in enumerate(lines[:2]):
        pen.text((x, first + number * step), line, fill=BLACK, font=font(BOLD, size), anchor="ls")


def _line(pen: ImageDraw.ImageDraw, box: Box, text: str, path: str, size_max: int, size_min: int, *, right: bool = False) -> None:
    """One line in the largest size that fits, else cut with an ellipsis."""
    x, y, box_width, _ = box
    size = next((size for size in range(size_max, size_min - 1, -1) if width(path, size, text) <= box_width), 0)
    while not size and width(path, size_min, text + "…") > box_width:
        text = text[:-1]
    shown, size = (text, size) if size else (text + "…", size_min)
    start = x + box_width if right else x
    pen.text((start, y + round(size * 0.928)), shown, fill=BLACK, font=font(path, size), anchor="rs" if right else "ls")


def _price(pen: ImageDraw.ImageDraw, texts: Texts, box: Box, size_max: int, colour: int) -> None:
    """Whole digits large, cents raised, the sign below them, flush right in the middle of the box."""
    amount = texts.amount("price")
    if amount is None:
        return
    x, y, box_width, box_height = box
    whole_text = amount.whole + amount.decimal
    size = size_max
    while True:
        cents_size, sign_size, gap = round(size * 0.52), max(10, round(size * 0.36)), max(1, round(size * 0.06))
        whole, cents, sign = ink(BOLD, size, whole_text), ink(BOLD, cents_size, amount.cents), ink(BOLD, sign_size, amount.sign)
        beside = whole[2] + gap
        raised = ink(BOLD, size, "0")[1] - ink(BOLD, cents_size, "0")[1]
        right = max(whole[2], beside - cents[0] + cents[2], beside - sign[0] + sign[2])
        top, bottom = min(whole[1], raised + cents[1], sign[1]), max(whole[3], raised + cents[3], sign[3])
        if (right <= box_width and bottom - top <= box_height) or size == 24:
            break
        size = max(24, min(size - 1, size * box_width // right + 1, size * box_height // (bottom - top) + 1))
    left = x + box_width - right
    baseline = y + (box_height - (bottom - top)) // 2 - top
    pen.text((left, baseline), whole_text, fill=colour, font=font(BOLD, size), anchor="ls")
    pen.text((left + beside - cents[0], baseline + raised), amount.cents, fill=colour, font=font(BOLD, cents_size), anchor="ls")
    pen.text((left + beside - sign[0], baseline), amount.sign, fill=colour, font=font(BOLD, sign_size), anchor="ls")
