"""Labels to planes, whatever they are: grouped by what they have in common and drawn by programs; by the reference where a program cannot.

Both ways give the same pixels and the same errors.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from render import locales, raster, scene, templates
from render.codecs import planes
from render.errors import RenderError
from render.fast.atlas import Atlas
from render.fast.plan import Uncompilable
from render.fast.program import Program, Row
from render.fields import LabelFields, TemplateSource
from render.panels import panel

Bytes = npt.NDArray[np.uint8]

BATCH: Final = 32  # labels per call of the kernels: their planes stay in the processor's cache until they are encoded
PROGRAMS_MAX: Final = 128  # kept: a store's templates on its kinds of panel
KEPT_GROWTH: Final = 1.5  # glyphs are written again when there are so many times more: some ten times in a store's life


class Kind(NamedTuple):
    """What labels of one program have in common."""

    template: str
    page: int
    panel: str
    locale: str
    source: TemplateSource


class GlyphWarning(RuntimeWarning):
    """Rasterised glyphs cannot be kept; each start rasterises them again."""


class Engine:
    """Programs and glyphs of one process. Not for use from several threads."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._atlases: dict[int, Atlas] = {}
        self._kept: dict[int, int] = {}
        self.program = lru_cache(maxsize=PROGRAMS_MAX)(self._program)

    def keep_glyphs(self, folder: Path) -> None:
        """Begin with the glyphs that an earlier process left in a folder, and leave there what this one rasterises."""
        self._folder = folder
        self._atlases.clear()
        self._kept.clear()
        self.program.cache_clear()

    def draw(self, labels: Sequence[LabelFields], attempts: Sequence[int], source: TemplateSource) -> list[Bytes | RenderError]:
        """Planes (bits, buffer height, row bytes) of each label with its attempt number, or why it cannot be drawn."""
        drawn = dict(self.each(labels, attempts, source))
        return [drawn[number] for number in range(len(labels))]

    def each(
        self, labels: Sequence[LabelFields], attempts: Sequence[int], source: TemplateSource
    ) -> Iterator[tuple[int, Bytes | RenderError]]:
        """`draw`, label by label as they are ready: (place in `labels`, planes or error), in an order of its own."""
        groups: dict[Kind, list[int]] = {}
        for number, label in enumerate(labels):
            groups.setdefault(Kind(label.template, label.page, label.panel, label.locale, source), []).append(number)
        for kind, numbers in groups.items():
            program: Program | None
            try:
                program = self.program(kind)
            except (RenderError, Uncompilable):
                program = None  # the reference draws these or raises what is wrong with them
            for start in range(0, len(numbers), BATCH):
                batch = numbers[start : start + BATCH]
                drawn = {} if program is None else _drawn(program, batch, labels, attempts)
                for number in batch:
                    pixels = drawn.get(number)
                    yield number, reference(labels[number], attempts[number], source) if pixels is None else pixels
        if self._folder is not None:
            self._save(self._folder)

    def _program(self, kind: Kind) -> Program:
        row, locale = panel(kind.panel), locales.locale(kind.locale)
        if locale is None:  # fields check it
            raise ValueError(kind.locale)
        atlas = self._atlases.get(row.rotate_buffer)
        if atlas is None:
            atlas = Atlas(row.rotate_buffer) if self._folder is None else Atlas.kept(row.rotate_buffer, self._folder)
            self._atlases[row.rotate_buffer] = atlas
            self._kept[row.rotate_buffer] = atlas.loaded
        return Program(templates.load(kind.template, kind.source), kind.page, row, locale, atlas)

    def _save(self, folder: Path) -> None:
        for turns, atlas in self._atlases.items():
            if atlas.loaded > KEPT_GROWTH * self._kept[turns]:
                self._kept[turns] = atlas.loaded
                try:
                    atlas.save(folder)
                except OSError as error:
                    self._folder = None
                    warnings.warn(f"glyphs are not kept, every start rasterises them again: {error}", GlyphWarning, stacklevel=2)
                    return


def _drawn(program: Program, numbers: list[int], labels: Sequence[LabelFields], attempts: Sequence[int]) -> dict[int, Bytes]:
    """What the kernels can draw of some labels."""
    program.trim()
    rows: list[Row] = []
    known: list[int] = []
    for number in numbers:
        row = program.row(labels[number])
        if row is not None:
            rows.append(row)
            known.append(number)
    if not rows:
        return {}
    batch = program.draw(rows, [attempts[number] for number in known])
    return {number: pixels for number, is_done, pixels in zip(known, batch.done.tolist(), batch.planes, strict=True) if is_done}


def reference(label: LabelFields, attempt: int, source: TemplateSource) -> Bytes | RenderError:
    """One label by scene.py and raster.py."""
    try:
        kind = panel(label.panel)
        indices = raster.draw(scene.build(label, templates.load(label.template, source), kind), kind)
    except RenderError as error:
        return error
    planes.stamp_attempt(kind, indices, attempt)
    return planes.pack(kind, indices)
