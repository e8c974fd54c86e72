"""A template's page on a panel in a locale, compiled once, and labels drawn with it by the thousand: the same pixels as scene.py and
raster.py, straight into bit planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from render import scene_codes
from render.errors import FieldError
from render.fast import columns as c
from render.fast.atlas import Atlas, packed_rows
from render.fast.plan import ITEM, Code, ink_number, plan
from render.fast.press import press
from render.fast.readers import Known, Reader
from render.fast.stills import Stills
from render.fast.typeset import typeset, work_arrays
from render.fields import LabelFields
from render.locales import Locale
from render.panels import Panel
from render.symbols import datamatrix, qr
from render.template_elements import Matrix, Template
from render.texts import Texts

Bytes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

CONDITIONS_KEPT: Final = 1024  # combinations of conditions whose texts are known
SIZES_AT_ONCE: Final = 6  # how many sizes of a missing character are rasterised in one go, largest first
_TEXTS_OF_KIND: Final = {c.TEXT_OP: 1, c.PRICE_OP: 3, c.WAS_PRICE_OP: 2, c.EAN_OP: 1}


class Row(NamedTuple):
    """One label as a program draws it: its texts, the conditions that hold as bits, its background, sprites and matrix codes' texts."""

    texts: tuple[str, ...]
    flags: int
    base: int
    sprites: tuple[int, ...] = ()
    codes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Codes:
    """Matrix codes of labels. `sizes`: (label, column) modules per side, -1 where there is none, 0 where the text has no such code.
    `rows`: (label, column, CODE_SIZE_MAX), column 0 of a row in the top bit."""

    sizes: Int64
    rows: Words


@dataclass(frozen=True, slots=True)
class Placed:
    """The arrays between the two kernels, as columns.py and `typeset` describe them."""

    codes: Int32
    slots: Int32
    marks: Int32
    counts: Int32
    status: Int32


@dataclass(frozen=True, slots=True)
class Drawn:
    """`planes`: (labels, bits, buffer height, row bytes). `done`: which labels the kernels could draw; the others' planes are undefined."""

    planes: Bytes
    done: npt.NDArray[np.bool_]


class Program:
    """`row` turns a label into strings, `draw` draws rows. Backgrounds and sprites are kept; `trim` lets them go when they are too many.

    Raises Uncompilable and UnknownTemplate. Not for use from several threads.
    """

    def __init__(self, template: Template, page: int, panel: Panel, locale: Locale, atlas: Atlas) -> None:
        layout = template.layout(panel, page)
        self.panel = panel
        self.atlas = atlas
        self.plan = plan(layout, panel, locale, atlas)
        self.frame = frame_of(panel)
        self._needs = template.needs
        self._stills = Stills(template, layout, panel, self.plan, self.frame)
        self._readers_of: dict[int, list[Reader]] = {}  # by conditions that hold
        self._symbol, self._strips = np.empty(2, np.uint64), np.empty(c.STRIPS, np.uint64)

    def row(self, label: LabelFields) -> Row | None:
        """A label of this template, page, panel and locale as strings; None where only the reference knows what to draw or complain of."""
        texts = Known(label)
        for need in self._needs:
            if not (texts.unit_price() is not None if need == "unit_price" else texts.holds(need)):
                return None
        flags = 0
        for number, (condition, item) in enumerate(self.plan.conditions):
            if item < len(label.items) if condition == ITEM else texts.holds(condition, item):
                flags |= 1 << number
        base = self._stills.base(flags, label)
        if base is None:
            return None
        sprites: list[int] = []
        for number, still in enumerate(self.plan.keyed):
            sprite: int | None = -1
            if flags & still.when == still.when and not flags & still.when_not:
                sprite = self._stills.sprite(number, still, texts)
            if sprite is None:
                return None
            sprites.append(sprite)
        try:
            codes = tuple([_code_text(code, texts, flags) for code in self.plan.codes])
        except FieldError:
            return None
        readers = self._readers_of.get(flags)
        if readers is None:
            readers = [read.reader if read.is_shown(flags) else _Nothing(read.nothing) for read in self.plan.reads]
            self._readers_of[flags] = readers
        return Row(tuple(chain.from_iterable([read(texts) for read in readers])), flags, base, tuple(sprites), codes)

    def trim(self) -> None:
        """Forget backgrounds and sprites when they are many. Rows made before are void."""
        if self._stills.is_full() or len(self._readers_of) > CONDITIONS_KEPT:
            self._stills.forget()
            self._readers_of.clear()

    def draw(self, rows: Sequence[Row], attempts: Sequence[int], codes: Codes | None = None) -> Drawn:
        """Planes of each label with its attempt number (u32). `codes`: the rows' matrix codes, where they are made already."""
        texts, flags, bases, sprites, code_texts = zip(*rows, strict=True)
        made = self.codes(code_texts) if codes is None else codes
        placed = self.place(texts, flags, made)
        out = np.empty((len(rows), int(self.frame[c.WORDS]) + 1), np.uint64)
        stills = self._stills
        press(
            c.STAMP, placed.marks, placed.counts, placed.status, placed.codes, placed.slots, self.atlas.metrics, self.atlas.masks,
            stills.sprites, stills.pixels, np.array(sprites, np.int32).reshape(len(rows), -1), made.sizes, made.rows, stills.bases,
            np.array(bases, np.int32), np.array(attempts, np.int64), self.frame, self._symbol, self._strips, out,
        )  # fmt: skip
        panel = self.panel
        shape = (len(rows), panel.bits, panel.buffer_height, panel.row_bytes)
        return Drawn(out.view(np.uint8)[:, : panel.bits * panel.plane_bytes].reshape(shape), placed.status == c.DONE)

    def codes(self, texts: Sequence[tuple[str, ...]]) -> Codes:
        """The matrix codes of labels' code texts."""
        columns = len(self.plan.codes)
        codes = Codes(np.zeros((len(texts), columns), np.int64), np.zeros((len(texts), columns, c.CODE_SIZE_MAX), np.uint64))
        for column, element in enumerate(code.element for code in self.plan.codes):
            values = [row[column] for row in texts]
            if element.symbology == "qr":
                made = qr.qr_batch(values, element.level)
                codes.sizes[:, column], codes.rows[:, column] = made.sizes, made.rows
            for number, value in enumerate(values):
                if not value:
                    codes.sizes[number, column] = -1
                elif element.symbology != "qr":
                    codes.sizes[number, column] = _put_modules(element, value, codes.rows[number, column])
        return codes

    def place(self, texts: Sequence[tuple[str, ...]], flags: Sequence[int], made: Codes) -> Placed:
        """Where the marks of labels go. Loads glyphs that no label needed before."""
        characters = "\0".join(chain.from_iterable(texts))
        codes = np.frombuffer(characters.encode("utf-32-le", "surrogatepass"), np.int32).copy()  # its own: one type for the kernel
        count = len(texts)
        marks = np.empty((count, self.plan.marks_max, c.MARKS), np.int32)
        placed = Placed(codes, np.empty(len(codes), np.int32), marks, np.empty(count, np.int32), np.empty(count, np.int32))
        held = np.array(flags, np.int64)
        work = work_arrays(self.plan.columns, len(codes))
        while True:
            failed = typeset(
                c.STAMP, codes, self.plan.columns, held, made.sizes, self.atlas.slots, self.atlas.metrics, self.plan.ops, self.plan.steps,
                self.frame, *work, placed.slots, marks, placed.counts, placed.status,
            )  # fmt: skip
            if not failed or not self._load(placed, texts):
                return placed

    def _load(self, placed: Placed, texts: Sequence[tuple[str, ...]]) -> bool:
        """Load the glyphs that labels miss; False when none does."""
        missing = np.flatnonzero(placed.status == c.GLYPH_MISSING).tolist()
        wanted: dict[int, set[str]] = {}
        for label in missing:
            number = int(placed.marks[label, 0, c.MARK_OP])
            first, kind = int(self.plan.ops[number, c.TEXT]), int(self.plan.ops[number, c.KIND])
            wanted.setdefault(number, set()).update(*texts[label][first : first + _TEXTS_OF_KIND[kind]])
        for number, characters in wanted.items():
            first, count = self.plan.ops[number, c.STEP], self.plan.ops[number, c.STEPS]
            columns = [c.STRIKE, c.CENTS_STRIKE, c.SIGN_STRIKE] if self.plan.ops[number, c.KIND] == c.PRICE_OP else [c.STRIKE]
            self.atlas.load_some(self.plan.steps[first : first + count, columns].tolist(), characters, SIZES_AT_ONCE)
        return bool(missing)


class _Nothing:
    """A reader of texts that nobody sees."""

    __slots__ = ("_texts",)

    def __init__(self, texts: tuple[str, ...]) -> None:
        self._texts = texts

    def __call__(self, _: Texts) -> tuple[str, ...]:
        return self._texts


def _code_text(code: Code, texts: Texts, flags: int) -> str:
    """What a matrix code says, "" where it is not shown. Raises FieldError."""
    is_shown = flags & code.when == code.when and not flags & code.when_not
    return scene_codes.matrix_text(code.element, texts) if is_shown else ""


def _put_modules(element: Matrix, value: str, rows: Words) -> int:
    """Write a Data Matrix into rows of words; its size, 0 where only the reference can draw it or say why not."""
    try:
        modules = datamatrix.datamatrix(value, element.field == "gtin")
    except FieldError:
        return 0
    size = len(modules)
    if modules.shape != (size, size) or size > c.CODE_SIZE_MAX:
        return 0
    rows[:size] = packed_rows(modules)[:, 0]
    return size


def frame_of(panel: Panel) -> Int32:
    row_bits = 8 * panel.row_bytes
    plane_bits = row_bits * panel.buffer_height
    words = -(-panel.bits * plane_bits // 64)
    inks = (ink_number(index, (1 << panel.bits) - 1) for index in (panel.black, panel.white))
    return np.array([panel.rotate_buffer, panel.width, panel.height, panel.bits, row_bits, plane_bits, words, *inks], np.int32)
