"""What the reference draws once and the kernels copy: backgrounds (all fixed elements under some conditions) and sprites (one element with
one content, as a mask and its planes)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from render import raster, scene
from render.codecs import planes
from render.errors import RenderError
from render.fast import columns as c
from render.fast.atlas import packed_rows
from render.fast.plan import Plan, Still
from render.fields import LabelFields
from render.panels import Panel
from render.template_elements import Element, Layout, Template
from render.texts import Texts

Bytes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

BASES_MAX: Final = 64  # backgrounds kept: combinations of conditions that a store really has
SPRITES_MAX: Final = 1024  # sprites kept: percentages, stars, fill levels


class Stills:
    """`bases[number]`: words of a background; `sprites[number]`: see columns.py, their words in `pixels`."""

    def __init__(self, template: Template, layout: Layout, panel: Panel, plan: Plan, frame: Int32) -> None:
        self._template = template
        self._layout = layout
        self._panel = panel
        self._plan = plan
        self._fixed_flags = plan.fixed_flags
        self._row_bits, self._words = int(frame[c.ROW_BITS]), int(frame[c.WORDS])
        self.forget()

    def forget(self) -> None:
        """Drop everything; numbers given out before are void."""
        self._base_of: dict[int, int] = {}
        self._sprite_of: dict[tuple[int, object], int] = {}
        self.bases: Words = np.zeros((0, self._words), np.uint64)
        self.sprites: Int32 = np.zeros((0, c.SPRITES), np.int32)
        self.pixels: Words = np.zeros(1, np.uint64)

    def is_full(self) -> bool:
        return len(self.bases) > BASES_MAX or len(self.sprites) > SPRITES_MAX

    def base(self, flags: int, label: LabelFields) -> int | None:
        """The background under these conditions, which hold for the label; None where the reference refuses to draw it."""
        flags &= self._fixed_flags
        number = self._base_of.get(flags)
        if number is None:
            shown = [still.element for still in self._plan.fixed if flags & still.when == still.when and not flags & still.when_not]
            try:
                packed = planes.pack(self._panel, self._drawn(shown, label))
            except RenderError:
                return None
            padded = np.zeros(8 * self._words, np.uint8)
            padded[: packed.size] = packed.reshape(-1)
            number = self._base_of[flags] = len(self.bases)
            self.bases = np.concatenate([self.bases, padded.view(">u8").astype(np.uint64)[None]])
        return number

    def sprite(self, column: int, still: Still, texts: Texts) -> int | None:
        """The picture of an element for what this label shows in it: -1 for nothing, None where the reference refuses to draw it."""
        key = (column, still.key(texts) if still.key else None)
        number = self._sprite_of.get(key)
        if number is None:
            try:
                on_white = self._drawn([still.element], texts.label)
                on_black = self._drawn([still.element], texts.label, paper=self._panel.black)
            except RenderError:
                return None
            number = self._sprite_of[key] = self._add_sprite(on_white, on_white == on_black)
        return number

    def _add_sprite(self, pixels: Bytes, mask: npt.NDArray[np.bool_]) -> int:
        turned, inked = np.rot90(pixels, self._panel.rotate_buffer), np.rot90(mask, self._panel.rotate_buffer)
        rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
        if not len(rows):
            return -1
        window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
        parts = [inked[window], *((turned[window] >> plane & 1 == 1) & inked[window] for plane in range(self._panel.bits))]
        words = [packed_rows(part.astype(np.uint8)) for part in parts]
        row = [len(self.pixels), *words[0].shape, int(rows[0]) * self._row_bits + int(columns[0])]
        self.pixels = np.concatenate([self.pixels, *(part.reshape(-1) for part in words)])
        self.sprites = np.concatenate([self.sprites, np.array([row], np.int32)])
        return len(self.sprites) - 1

    def _drawn(self, elements: Sequence[Element], label: LabelFields, paper: int | None = None) -> Bytes:
        """Some elements as the reference draws them, without the template's needs."""
        layout = replace(self._layout, elements=tuple(elements))
        built = scene.build(label, replace(self._template, needs=(), layouts=(layout,)), self._panel)
        if paper is not None:
            built = replace(built, marks=(scene.Area(self._panel.area, 0, paper), *built.marks))
        return raster.draw(built, self._panel)
