"""Scene -> palette indices. One-bit drawing: a pixel is one ink or another, nothing between."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import Final, assert_never

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from render import glyphs
from render.dither import floyd
from render.marks import Area, Bars, Grid, Outline, Picture, Run, Scene, Stroke
from render.panels import Panel, Rgb

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
                if mark.radius:
                    pen.rounded_rectangle(_corners(mark), mark.radius, fill=mark.ink)
                else:
                    pen.rectangle(_corners(mark), fill=mark.ink)
            case Outline():
                if mark.radius:
                    pen.rounded_rectangle(_corners(mark), mark.radius, outline=mark.ink, width=mark.thickness)
                else:
                    pen.rectangle(_corners(mark), outline=mark.ink, width=mark.thickness)
            case Run():
                pen.text((mark.x, mark.baseline), mark.text, fill=mark.ink, font=glyphs.font(mark.font, mark.size), anchor="ls")
            case Bars():
                _draw_modules(pen, mark.modules, mark.x, mark.y, mark.module_px, mark.height, mark.ink)
            case Grid():
                for number, row in enumerate(mark.rows):
                    _draw_modules(pen, row, mark.x, mark.y + number * mark.module_px, mark.module_px, mark.module_px, mark.ink)
            case Stroke():
                pen.line((mark.x0, mark.y0, mark.x1, mark.y1), fill=mark.ink, width=mark.width)
            case Picture():
                inks = tuple((index, panel.palette[index].rgb) for index in mark.inks)
                canvas.paste(Image.fromarray(dithered(mark.png, inks)), (mark.box.x, mark.box.y))
            case _:
                assert_never(mark)
    return np.array(canvas, np.uint8)


@lru_cache(maxsize=PICTURES_KEPT)
def dithered(png: bytes, inks: tuple[tuple[int, Rgb], ...]) -> Bytes:
    """A template's picture in palette indices of the given (index, colour) inks. Transparent pixels are white."""
    with Image.open(io.BytesIO(png)) as picture:
        coloured = picture.convert("RGBA")
    paper = Image.new("RGBA", coloured.size, (255, 255, 255, 255))
    paper.alpha_composite(coloured)
    rgb = np.array(paper.convert("RGB"), np.uint8)
    positions = floyd.floyd_steinberg(rgb, tuple(colour for _, colour in inks))
    return np.array([index for index, _ in inks], np.uint8)[positions]


def _corners(mark: Area | Outline) -> tuple[int, int, int, int]:
    return mark.box.x, mark.box.y, mark.box.right - 1, mark.box.bottom - 1


def _draw_modules(pen: ImageDraw.ImageDraw, modules: str, x: int, y: int, module_px: int, height: int, ink: int) -> None:
    start: int | None = None
    for place, module in enumerate(modules + "0"):
        if module == "1" and start is None:
            start = place
        elif module == "0" and start is not None:
            pen.rectangle((x + start * module_px, y, x + place * module_px - 1, y + height - 1), fill=ink)
            start = None
