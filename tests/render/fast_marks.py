"""What the kernels of render/fast/ decided, in the words of render/marks.py; and both ways of drawing a label side by side."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from render import locales, raster, scene
from render.codecs import planes
from render.errors import RenderError
from render.fast import columns as c
from render.fast.atlas import Atlas
from render.fast.plan import Uncompilable
from render.fast.program import Program, Row
from render.fields import LabelFields
from render.marks import Bars, Grid, Mark, Run, Stroke
from render.panels import Panel
from render.symbols import linear
from render.template_elements import Element, Inks, Layout, Template
from render.text import ELLIPSIS

Bytes = npt.NDArray[np.uint8]

ATLASES = {turns: Atlas(turns) for turns in range(4)}  # glyphs are drawn once for all tests


@dataclass(frozen=True, slots=True)
class Both:
    """A label by both ways: what the reference drew or complained of, and the planes of the kernels or None where they gave up."""

    wanted: Bytes | RenderError
    drawn: Bytes | None

    @property
    def pixels(self) -> Bytes:
        """What the reference drew."""
        assert not isinstance(self.wanted, RenderError)
        return self.wanted


def template_of(panel: Panel, *elements: Element, needs: tuple[str, ...] = ()) -> Template:
    return Template("test", needs, (Layout(panel.width, panel.height, 0, Inks.ANY, elements),))


def program_of(template: Template, panel: Panel, locale: str, page: int = 0) -> Program:
    row = locales.locale(locale)
    assert row is not None
    return Program(template, page, panel, row, ATLASES[panel.rotate_buffer])


def both(label: LabelFields, template: Template, panel: Panel, attempt: int = 0) -> Both:
    wanted: Bytes | RenderError
    try:
        indices = raster.draw(scene.build(label, template, panel), panel)
        planes.stamp_attempt(panel, indices, attempt)
        wanted = planes.pack(panel, indices)
    except RenderError as error:
        wanted = error
    try:
        program = program_of(template, panel, label.locale, label.page)
    except (RenderError, Uncompilable):
        return Both(wanted, None)
    row = program.row(label)
    if row is None:
        return Both(wanted, None)
    drawn = program.draw([row], [attempt])
    return Both(wanted, drawn.planes[0] if drawn.done[0] else None)


def kernel_marks(program: Program, row: Row) -> list[Mark] | None:
    """The marks that `typeset` placed; None where it gave up."""
    made = program.codes([row.codes])
    placed = program.place([row.texts], [row.flags], made)
    if placed.status[0] != c.DONE:
        return None
    rows = placed.marks[0, : int(placed.counts[0])].tolist()
    marks = [_mark(program, row, placed.codes, made.sizes[0], made.rows[0]) for row in rows]
    return [mark for mark in marks if mark is not None]


def native(program: Program, template: Template) -> Template:
    """The template with the elements alone that the kernels place."""
    stills = [still.element for still in (*program.plan.fixed, *program.plan.keyed)]
    layouts = tuple(
        replace(layout, elements=tuple(element for element in layout.elements if not any(element is still for still in stills)))
        for layout in template.layouts
    )
    return replace(template, layouts=layouts)


def _mark(
    program: Program, mark: list[int], codes: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64], rows: npt.NDArray[np.uint64]
) -> Mark | None:
    ink, values = mark[c.MARK_INK] >> 16, mark[c.MARK_A :]
    match mark[c.MARK_KIND]:
        case c.RUN:
            first, last, ellipsis, strike, x, baseline = values[:6]
            font, size = program.atlas.strikes[strike]
            return Run(_text(codes, first, last) + ELLIPSIS * ellipsis, x, baseline, font, size, ink)
        case c.STROKE:
            x0, y0, x1, y1 = values[:4]
            return Stroke(x0, y0, x1, y1, 1, ink)
        case c.BARS | c.GUARDS:
            first, digits, x, y, module_px, height = values[:6]
            symbol = linear.ean(_text(codes, first, first + digits))
            modules = symbol.modules if mark[c.MARK_KIND] == c.BARS else symbol.guards
            return Bars(modules, x, y, module_px, height, ink)
        case c.MATRIX:
            column, x, y, module_px = values[:4]
            size = int(sizes[column])
            return Grid(tuple(format(int(row) >> (64 - size), f"0{size}b") for row in rows[column, :size]), x, y, module_px, ink)
        case _:
            return None


def _text(codes: npt.NDArray[np.int32], first: int, last: int) -> str:
    return "".join(map(chr, codes[first:last].tolist()))
