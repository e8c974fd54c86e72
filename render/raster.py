"""Scene -> palette indices. One-bit drawing: a pixel is one ink or another, nothing between."""

from __future__ import annotations

from functools import lru_cache
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from render import glyphs
from render.dither import floyd
from render.fields import TEMPLATE_FOLDER
from render.panels import Panel, Rgb
from render.scene import Area, Bars, Picture, Run, Scene, Stroke

Bytes = npt.NDArray[np.uint8]

PICTURES_KEPT: Final = 32  # dithered template images; a store's templates have a few


def draw(scene: Scene, panel: Panel) -> Bytes:
    """The picture as a uint8 array (height, width) of palette indices, attempt pixels white."""
    canvas = Image.new("L", (scene.width, scene.height), panel.white)
    pen = ImageDraw.Draw(canvas)
    pen.fontmode = "1"  # mono rasteriser: no grey edges, whose values would be other inks
    for mark in scene.marks:
        match mark:
            case Area():
                corners = (mark.box.x, mark.box.y, mark.box.right - 1, mark.box.bottom - 1)
                if mark.radius:
                    pen.rounded_rectangle(corners, mark.radius, fill=mark.ink)
                else:
                    pen.rectangle(corners, fill=mark.ink)
            case Run():
                pen.text((mark.x, mark.baseline), mark.text, fill=mark.ink, font=glyphs.font(mark.font, mark.size), anchor="ls")
            case Bars():
                _draw_bars(pen, mark)
            case Stroke():
                pen.line((mark.x0, mark.y0, mark.x1, mark.y1), fill=mark.ink, width=mark.width)
            case Picture():
                inks = tuple((index, panel.palette[index].rgb) for index in mark.inks)
                canvas.paste(Image.fromarray(dithered(mark.file, inks)), (mark.box.x, mark.box.y))
            case _:
                assert_never(mark)
    return np.array(canvas, np.uint8)


@lru_cache(maxsize=PICTURES_KEPT)
def dithered(file: str, inks: tuple[tuple[int, Rgb], ...]) -> Bytes:
    """A template's picture in palette indices of the given (index, colour) inks. Transparent pixels are white."""
    with Image.open(TEMPLATE_FOLDER / file) as picture:
        coloured = picture.convert("RGBA")
    paper = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
    paper.alpha_composite(coloured)
    rgb = np.array(paper.convert("RGB"), np.uint8)
    positions = floyd.floyd_steinberg(rgb, tuple(colour for _, colour in inks))
    return np.array([index for index, _ in inks], np.uint8)[positions]


def _draw_bars(pen: ImageDraw.ImageDraw, mark: Bars) -> None:
    start: int | None = None
    for place, module in enumerate(mark.modules + "0"):
        if module == "1" and start is None:
            start = place
        elif module == "0" and start is not None:
            left, right = mark.x + start * mark.module_px, mark.x + place * mark.module_px - 1
            pen.rectangle((left, mark.y, right, mark.y + mark.height - 1), fill=mark.ink)
            start = None
