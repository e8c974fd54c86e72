"""One picture of all templates: a row each, in every size that they have, black and white, with red, and with red and yellow."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from edge import label_samples
from render import raster, scene, templates
from render.fields import FONT_FOLDER, TemplateSource
from render.panels import Panel, panel
from render.template_elements import Layout

PALETTES: Final = ("bw", "bwr", "bwry")
HALVED_WIDTH_PX: Final = 640  # a layout as wide as this is shown at half its size, so that the sheet stays one that a screen shows
GAP_PX: Final = 20
CAPTION_PX: Final = 22
TITLE_PX: Final = 34
BACKGROUND: Final = (208, 210, 214)
COLOURS_MAX: Final = 32  # the panels' four, and what halving makes of them


def draw(names: Sequence[str], source: TemplateSource, palettes: Sequence[str] = PALETTES) -> bytes:
    """A PNG. Raises RenderError where a template cannot be drawn."""
    rows = [(name, layouts_shown(name, source)) for name in names]
    widths = [sum(_shown_size(layout)[0] + GAP_PX for layout in layouts) for _, layouts in rows]
    heights = [max(_shown_size(layout)[1] for layout in layouts) + CAPTION_PX + GAP_PX for _, layouts in rows]
    block = max(widths) + GAP_PX
    sheet = Image.new("RGB", (block * len(palettes) + GAP_PX, sum(heights) + len(rows) * TITLE_PX + GAP_PX), BACKGROUND)
    pen = ImageDraw.Draw(sheet)
    title, caption = (
        ImageFont.truetype(FONT_FOLDER / f"RobotoCondensed-{face}.ttf", size) for face, size in (("Bold", 24), ("Regular", 15))
    )
    y = GAP_PX
    for (name, layouts), height in zip(rows, heights, strict=True):
        pen.text((GAP_PX, y), name, fill=(0, 0, 0), font=title)
        y += TITLE_PX
        for column, palette in enumerate(palettes):
            x = GAP_PX + column * block
            for layout in layouts:
                width, shown_height = _shown_size(layout)
                kind = panel(f"opendisplay-{layout.width}x{layout.height}-{palette}")
                halved = " at half size" if width < layout.width else ""
                page = f", page {layout.page}" if layout.page else ""
                pen.text((x, y), f"{layout.width}x{layout.height} {palette.upper()}{page}{halved}", fill=(0, 0, 0), font=caption)
                sheet.paste(
                    picture(name, source, kind, layout.page).resize((width, shown_height), Image.Resampling.BOX), (x, y + CAPTION_PX)
                )
                x += width + GAP_PX
        y += height
    out = io.BytesIO()
    sheet.quantize(COLOURS_MAX, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
    return out.getvalue()


def layouts_shown(name: str, source: TemplateSource) -> list[Layout]:
    """The layouts of the first page, smallest first, one for each size."""
    sizes = {(layout.width, layout.height): layout for layout in templates.load(name, source).layouts if layout.page == 0}
    return [sizes[size] for size in sorted(sizes)]


def picture(name: str, source: TemplateSource, kind: Panel, page: int = 0) -> Image.Image:
    """A typical label of this template on a panel."""
    built = scene.build(label_samples.typical(name, kind.name, page), templates.load(name, source), kind)
    colours = np.array([ink.rgb for ink in kind.palette], np.uint8)
    return Image.fromarray(colours[raster.draw(built, kind)])


def _shown_size(layout: Layout) -> tuple[int, int]:
    share = 2 if layout.width >= HALVED_WIDTH_PX else 1
    return layout.width // share, layout.height // share
