"""Fitting text into a box: wrap, then shrink, then cut with an ellipsis. Positions come out as baselines.

Lines are broken in reading order and measured in drawing order (`script.visual`): what `Line.text` holds is drawn from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, assert_never

from render import glyphs, script
from render.panels import Box
from render.template_elements import Align, Style, Vertical
from render.texts import is_right_to_left

ELLIPSIS: Final = "…"
_LOOSE_ENDS: Final = " ,.-/·&"  # what looks wrong in front of an ellipsis
# a line may break at a space, after a hyphen or after a slash
_PIECES: Final = re.compile(r"[^ \-/]*[\-/]+|[^ \-/]+| +")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text in drawing order; (x, baseline) is the pen's start. `whole`: nothing was cut off."""

    text: str
    x: int
    baseline: int
    whole: bool = True


def fit(text: str, style: Style, box: Box, lines_max: int, *, right_to_left: bool = False) -> tuple[int, tuple[Line, ...]]:
    """Font size and placed lines, every ink pixel within the box. `right_to_left`: the direction of the label's language.

    When even the smallest size is too large, words wider than the box are broken anywhere and the last line ends in "…".
    """
    fitter = _Fitter(text, style, box, right_to_left)
    for size in range(style.size_max, style.size_min - 1, -1):
        lines = fitter.wrap(text, size, lines_max)
        if len(lines) <= lines_max and all(fitter.fits(line, size) for line in lines):
            placed = fitter.place(lines, size)
            if fitter.ink_inside(placed, size):
                return size, placed
    size = style.size_min
    lines = fitter.wrap(text, size, lines_max, break_words=True)
    placed = ()
    for count in range(min(lines_max, len(lines)), 0, -1):  # fewer lines where accents need the height
        kept, rest = lines[: count - 1], text
        for line in kept:
            rest = rest[rest.index(line) + len(line) :]
        last = fitter.shorten(rest.strip(" "), size)
        placed = fitter.place([*kept, last], size, whole=count == len(lines) and last == lines[-1])
        if fitter.ink_inside(placed, size):
            break
    return size, placed


def fits(line: str, font: str, size: int, width: int) -> bool:
    """Whether the advance and the ink of a line in drawing order are at most `width` pixels wide."""
    if glyphs.width(font, size, line) > width:
        return False
    left, _, right, _ = glyphs.ink_box(font, size, line)
    return right - min(left, 0) <= width


class _Fitter:
    """One text, its style and its box. Lines are in reading order here, `seen` turns them into what is drawn."""

    def __init__(self, text: str, style: Style, box: Box, right_to_left: bool) -> None:
        self.style = style
        self.box = box
        self.align = style.align.resolved(right_to_left)
        self.mixed = is_right_to_left(text)
        self.right_to_left = right_to_left or (self.mixed and script.begins_right_to_left(text))

    def seen(self, line: str) -> str:
        return script.visual(line, self.right_to_left) if self.mixed else line

    def width(self, line: str, size: int) -> int:
        return glyphs.width(self.style.font, size, self.seen(line))

    def fits(self, line: str, size: int) -> bool:
        return fits(self.seen(line), self.style.font, size, self.box.width)

    def wrap(self, text: str, size: int, lines_max: int, *, break_words: bool = False) -> list[str]:
        """Lines filled from the first on, at most one more than `lines_max`. A word wider than the box stays whole on its line unless
        words may be broken."""
        lines: list[str] = []
        line, line_width = "", 0
        for piece in self._pieces(text, size, break_words):
            piece_width = 0 if self.mixed else self.width(piece, size)
            # joined letters have other widths than single ones, so a line of them is measured as a whole
            longer = self.width((line + piece).rstrip(" "), size) if self.mixed else line_width + (0 if piece[0] == " " else piece_width)
            if not line or longer <= self.box.width:
                line, line_width = (line + piece).lstrip(" "), line_width + piece_width if line or piece[0] != " " else 0
            else:
                lines.append(line.rstrip(" "))
                line, line_width = piece.lstrip(" "), 0 if piece[0] == " " else piece_width
                if len(lines) > lines_max:
                    return lines
        return [*lines, line.rstrip(" ")] if line.strip(" ") else lines

    def shorten(self, text: str, size: int) -> str:
        """The text, or its longest start that fits with an ellipsis behind."""
        if self.fits(text, size):
            return text
        kept = text
        while kept and not self.fits(kept.rstrip(_LOOSE_ENDS) + ELLIPSIS, size):
            kept = kept[:-1]
        return kept.rstrip(_LOOSE_ENDS) + ELLIPSIS

    def place(self, lines: list[str], size: int, *, whole: bool = True) -> tuple[Line, ...]:
        """Baselines and pen starts of lines of one size, moved up or down where an accent or descender would leave the box."""
        style, box = self.style, self.box
        step = round(size * glyphs.LINE_STEP)
        capital = round(size * glyphs.CAPITAL_HEIGHT)
        below_first = step * (len(lines) - 1)
        match style.vertical:
            case Vertical.TOP:
                first = box.y + round(size * glyphs.ASCENT)
            case Vertical.MIDDLE:
                first = box.y + (box.height - capital - below_first) // 2 + capital
            case Vertical.BOTTOM:
                first = box.bottom - round(size * glyphs.DESCENT) - below_first
            case _:
                assert_never(style.vertical)
        seen = [self.seen(line) for line in lines]
        boxes = [glyphs.ink_box(style.font, size, line) for line in seen]
        over = box.y - min(first + step * number + ink[1] for number, ink in enumerate(boxes))
        under = max(first + step * number + ink[3] for number, ink in enumerate(boxes)) - box.bottom
        first += over if over > 0 else -max(under, 0)
        return tuple(Line(line, self._start(line, size), first + step * number, whole) for number, line in enumerate(seen))

    def ink_inside(self, lines: tuple[Line, ...], size: int) -> bool:
        for line in lines:
            left, top, right, bottom = glyphs.ink_box(self.style.font, size, line.text)
            ink = Box(line.x + left, line.baseline + top, right - left, bottom - top)
            if not ink.inside(self.box):
                return False
        return True

    def _pieces(self, text: str, size: int, break_words: bool) -> Iterator[str]:
        for found in _PIECES.finditer(text):
            if break_words:
                yield from self._broken(found.group(), size)
            else:
                yield found.group()

    def _broken(self, piece: str, size: int) -> list[str]:
        """The piece in parts that fit, each as long as possible."""
        parts = [""]
        for character in piece:
            if parts[-1] and not self.fits(parts[-1] + character, size):
                parts.append("")
            parts[-1] += character
        return parts

    def _start(self, line: str, size: int) -> int:
        """Pen start that puts the ink, not the side bearings, at the box's edge or middle."""
        left, _, right, _ = glyphs.ink_box(self.style.font, size, line)
        match self.align:
            case Align.CENTER:
                return self.box.x + (self.box.width - (right - left)) // 2 - left
            case Align.RIGHT:
                return self.box.right - right
            case _:
                return self.box.x - min(left, 0)
