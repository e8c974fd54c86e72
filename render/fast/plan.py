"""A layout compiled to the arrays that the kernels read: which elements they place and draw, with which texts, conditions and sizes.

What looks the same on all labels of a locale is left to be drawn once (`fixed`), what no kernel knows once per content (`keyed`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from render import glyphs, price, scene_codes
from render.fast import columns as c
from render.fast.atlas import Atlas
from render.fast.readers import Key, Reader, gtin_reader, is_fixed, price_reader, sprite_key, text_reader, was_price_reader
from render.locales import Locale
from render.panels import ATTEMPT_BITS, Box, Panel
from render.template_elements import Align, Barcode, Cents, Element, Layout, Matrix, Price, Style, Text, Vertical, WasPrice

Int32 = npt.NDArray[np.int32]

CONDITIONS_MAX: Final = 31  # different ones in a layout: bits of a number; shipped layouts have about five
ITEM: Final = ""  # the condition that the label has an item of this number

_ALIGNS: Final = {Align.LEFT: c.ALIGN_LEFT, Align.CENTER: c.ALIGN_CENTER, Align.RIGHT: c.ALIGN_RIGHT}
_VERTICALS: Final = {Vertical.TOP: c.VERTICAL_TOP, Vertical.MIDDLE: c.VERTICAL_MIDDLE, Vertical.BOTTOM: c.VERTICAL_BOTTOM}
_NO_STEPS: Final = (0, 0)


class Uncompilable(Exception):
    """A layout, panel or locale that only the reference can draw."""


@dataclass(frozen=True, slots=True)
class Still:
    """An element that the reference draws, under which conditions. `key`: what its look depends on, None for nothing else."""

    element: Element
    when: int
    when_not: int
    key: Key | None


@dataclass(frozen=True, slots=True)
class Code:
    """A matrix code and under which conditions it is shown."""

    element: Matrix
    when: int
    when_not: int


@dataclass(frozen=True, slots=True)
class Read:
    """A reader of texts, what stands for them where none of its elements is shown, and under which conditions each of those is."""

    reader: Reader
    nothing: tuple[str, ...]
    whens: tuple[tuple[int, int], ...]

    def is_shown(self, flags: int) -> bool:
        return any(flags & when == when and not flags & when_not for when, when_not in self.whens)


@dataclass(frozen=True, slots=True)
class Plan:
    """`ops`, `steps`: see columns.py; `elements` are those of the ops. `reads` fill the `columns` texts of a row. `conditions`: name and
    item of each, bit by bit. `codes`: the matrix codes, column by column. `marks_max` per label."""

    ops: Int32
    steps: Int32
    elements: tuple[Element, ...]
    reads: tuple[Read, ...]
    columns: int
    conditions: tuple[tuple[str, int], ...]
    fixed: tuple[Still, ...]
    keyed: tuple[Still, ...]
    codes: tuple[Code, ...]
    marks_max: int

    @property
    def fixed_flags(self) -> int:
        """The conditions that the background depends on."""
        flags = 0
        for still in self.fixed:
            flags |= still.when | still.when_not
        return flags


def plan(layout: Layout, panel: Panel, locale: Locale, atlas: Atlas) -> Plan:
    """Compile. Raises Uncompilable."""
    if locale.right_to_left:
        raise Uncompilable("right-to-left text")
    if panel.width < ATTEMPT_BITS:
        raise Uncompilable("no room for the attempt number")
    planner = _Planner(layout, panel, locale, atlas)
    for element in layout.elements:
        planner.add(element)
    return planner.plan()


@dataclass(frozen=True, slots=True)
class _Inked:
    """Where an element may ink, under which conditions; live: by a kernel, not in the background."""

    region: Box
    when: int
    when_not: int
    is_live: bool

    def meets(self, region: Box, when: int, when_not: int) -> bool:
        """Whether some label may show it together with an element there."""
        return self.region.overlaps(region) and not (self.when & when_not or self.when_not & when)


class _Planner:
    def __init__(self, layout: Layout, panel: Panel, locale: Locale, atlas: Atlas) -> None:
        self.panel = panel
        self.locale = locale
        self.atlas = atlas
        self.offset = layout.offset_on(panel)
        self.elements: list[Element] = []
        self.ops: list[list[int]] = []
        self.steps: list[list[int]] = []
        self.reads: list[tuple[Reader, int, list[tuple[int, int]]]] = []
        self.columns = 0
        self.column_of: dict[object, tuple[int, list[tuple[int, int]]]] = {}
        self.conditions: dict[tuple[str, int], int] = {}
        self.fixed: list[Still] = []
        self.keyed: list[Still] = []
        self.codes: list[Code] = []
        self.marks_max = 1
        self.inked: list[_Inked] = []

    def plan(self) -> Plan:
        return Plan(
            ops=np.array(self.ops, np.int32).reshape(-1, c.OP),
            steps=np.array(self.steps, np.int32).reshape(-1, c.STEP_COLUMNS),
            elements=tuple(self.elements),
            reads=tuple(Read(reader, ("",) * count, tuple(whens)) for reader, count, whens in self.reads),
            columns=self.columns,
            conditions=tuple(self.conditions),
            fixed=tuple(self.fixed),
            keyed=tuple(self.keyed),
            codes=tuple(self.codes),
            marks_max=self.marks_max,
        )

    def add(self, element: Element) -> None:
        item = element.placed.item
        box = self.box(element)
        match element:
            case Text() if not is_fixed(element.content, self.locale):
                column = self.column(element, ("text", element.content, item), 1, text_reader(element))
                self.op(element, c.TEXT_OP, box, column, self.style_steps(element.style), element.style, lines=element.lines_max)
                self.marks_max += element.lines_max
            case Price():
                column = self.column(element, ("price", element.field, element.cents, item), 3, price_reader(element))
                sign_first = int(self.locale.sign_first)
                self.op(element, c.PRICE_OP, box, column, self.price_steps(element.style, element.cents), element.style, extra=sign_first)
                self.marks_max += 3
            case WasPrice():
                column = self.column(element, ("was", element.before, item), 2, was_price_reader(element))
                self.op(element, c.WAS_PRICE_OP, box, column, self.style_steps(element.style), element.style, strike=element.strike)
                self.marks_max += 2
            case Barcode(symbology="ean"):
                column = self.column(element, ("gtin", item), 1, gtin_reader(element))
                size = element.digit_size
                style = Style(scene_codes.FONT, size, size, "black", Align.LEFT, Vertical.TOP)
                steps = self.style_steps(style) if size else _NO_STEPS
                around = _with_digits(box, size, element.module_px) if size else box
                self.op(element, c.EAN_OP, box, column, steps, style, extra=element.module_px, region=around)
                self.marks_max += 15
            case Matrix():
                layout = (scene_codes.QUIET_MODULES[element.symbology], element.module_px)
                self.op(element, c.MATRIX_OP, box, 0, layout, extra=len(self.codes))
                self.codes.append(Code(element, *self.when(element)))
                self.marks_max += 1
            case _:
                self.add_still(element, box)

    def add_still(self, element: Element, box: Box) -> None:
        """Into the background; as a sprite when its look depends on the label or it lies over something that does."""
        when, when_not = self.when(element)
        key = sprite_key(element, self.locale)
        if key is None and not any(each.is_live and each.meets(box, when, when_not) for each in self.inked):
            self.fixed.append(Still(element, when, when_not, None))
            self.inked.append(_Inked(box, when, when_not, is_live=False))
            return
        self.op(element, c.SPRITE_OP, box, 0, _NO_STEPS, extra=len(self.keyed))
        self.keyed.append(Still(element, when, when_not, key))
        self.marks_max += 1

    def op(
        self, element: Element, kind: int, box: Box, column: int, steps: tuple[int, int], style: Style | None = None, *,
        lines: int = 1, extra: int = 0, strike: str = "black", region: Box | None = None,
    ) -> None:  # fmt: skip
        """`region`: where it may ink, when that is more than its box."""
        region = region or box
        when, when_not = self.when(element)
        name, align, vertical = "black", 0, 0
        if style is not None:
            name, align, vertical = style.ink, _ALIGNS[style.align.resolved(self.locale.right_to_left)], _VERTICALS[style.vertical]
        covers = any(each.meets(region, when, when_not) for each in self.inked)
        row = [kind, column, *steps, box.x, box.y, box.width, box.height, lines, align, vertical]
        self.ops.append([*row, self.ink(name, covers), when, when_not, extra, self.ink(strike, covers=True)])
        self.elements.append(element)
        self.inked.append(_Inked(region, when, when_not, is_live=True))

    def ink(self, name: str, covers: bool) -> int:
        """The planes that an ink sets, and those that it must clear: where nothing was drawn before, only those of white paper."""
        if name in ("red", "yellow") and all(ink.name != name for ink in self.panel.palette):
            name = "accent"  # as scene.py has it
        index = self.panel.ink_index(name)
        dirty = (1 << self.panel.bits) - 1 if covers else self.panel.white
        return ink_number(index, dirty)

    def box(self, element: Element) -> Box:
        box = element.placed.box
        return Box(box.x + self.offset[0], box.y + self.offset[1], box.width, box.height)

    def when(self, element: Element) -> tuple[int, int]:
        """The conditions that must and must not hold, as bits."""
        placed = element.placed
        when = self.condition(ITEM, placed.item) if placed.item else 0
        when_not = 0
        for name in placed.when:
            plain = name.removeprefix("not_")
            bit = self.condition(plain, placed.item)
            if plain == name:
                when |= bit
            else:
                when_not |= bit
        return when, when_not

    def condition(self, name: str, item: int) -> int:
        number = self.conditions.setdefault((name, item), len(self.conditions))
        if number >= CONDITIONS_MAX:
            raise Uncompilable(f"more than {CONDITIONS_MAX} conditions")
        return 1 << number

    def column(self, element: Element, key: object, count: int, reader: Reader) -> int:
        """First of the `count` columns that a reader fills; what several elements show is read once."""
        known = self.column_of.get(key)
        if known is None:
            known = self.column_of[key] = (self.columns, [])
            self.columns += count
            self.reads.append((reader, count, known[1]))
        known[1].append(self.when(element))
        return known[0]

    def style_steps(self, style: Style) -> tuple[int, int]:
        """Rows for every size of a style; returns first row and number."""
        measures = (glyphs.LINE_STEP, glyphs.CAPITAL_HEIGHT, glyphs.ASCENT, glyphs.DESCENT)
        return self.add_steps(
            [self.atlas.strike(style.font, size), *(round(size * measure) for measure in measures), 0, 0, 0] for size in _sizes(style)
        )

    def price_steps(self, style: Style, kind: Cents) -> tuple[int, int]:
        sign_part = price.SIGN if kind is Cents.RAISED else price.SIGN_BESIDE_LEVEL
        rows = []
        for size in _sizes(style):
            cents = self.atlas.strike(style.font, round(size * price.CENTS))
            sign = self.atlas.strike(style.font, max(price.SIGN_SIZE_MIN_PX, round(size * sign_part)))
            rows.append([self.atlas.strike(style.font, size), 0, 0, 0, 0, cents, sign, max(1, round(size * price.GAP))])
        return self.add_steps(rows)

    def add_steps(self, rows: Iterable[list[int]]) -> tuple[int, int]:
        first = len(self.steps)
        self.steps.extend(rows)
        return first, len(self.steps) - first


def ink_number(index: int, dirty: int) -> int:
    """An ink as the kernels have it (columns.py): palette index, over pixels whose `dirty` planes may be set."""
    return index | (dirty & ~index) << 8 | index << 16


def _with_digits(box: Box, size: int, module_px: int) -> Box:
    """The box of an EAN with what its digits may take outside: the first one of 13 stands in the quiet zone of 11 modules."""
    boxes = [glyphs.ink_box(scene_codes.FONT, size, digit) for digit in "0123456789"]
    widest = max(right - left for left, _, right, _ in boxes)
    outside = max(0, widest - 11 * module_px)
    return Box(box.x - outside, box.y, box.width + 2 * outside, box.height + max(bottom for _, _, _, bottom in boxes))


def _sizes(style: Style) -> Sequence[int]:
    return range(style.size_max, style.size_min - 1, -1)
