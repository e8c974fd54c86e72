"""Fitting text into a box: wrap, then shrink, then cut with an ellipsis. Positions come out as baselines."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, assert_never

from render import glyphs
from render.panels import Box
from render.templates import Align, Style, Vertical

ELLIPSIS: Final = "…"
_LOOSE_ENDS: Final = " ,.-/·&"  # what looks wrong in front of an ellipsis
# a line may break at a space, after a hyphen or after a slash
_PIECES: Final = re.compile(r"[^ \-/]*[\-/]+|[^ \-/]+| +")


@dataclass(frozen=True, slots=True)
class Line:
    """One line of text; (x, baseline) is the pen's start."""

    text: str
    x: int
    baseline: int


def fit(text: str, style: Style, box: Box, lines_max: int) -> tuple[int, tuple[Line, ...]]:
    """Font size and placed lines, every ink pixel within the box.

    When even the smallest size is too large, words wider than the box are broken anywhere and the last line ends in "…".
    """
    for size in range(style.size_max, style.size_min - 1, -1):
        lines = wrap(text, style.font, size, box.width)
        if len(lines) <= lines_max and all(fits(line, style.font, size, box.width) for line in lines):
            whole = place(lines, style, size, box)
            if _ink_inside(whole, style.font, size, box):
                return size, whole
    size = style.size_min
    lines = wrap(text, style.font, size, box.width, break_words=True)
    placed: tuple[Line, ...] = ()
    for count in range(min(lines_max, len(lines)), 0, -1):  # fewer lines where accents need the height
        kept, rest = lines[: count - 1], text
        for line in kept:
            rest = rest[rest.index(line) + len(line) :]
        placed = place([*kept, shorten(rest.strip(" "), style.font, size, box.width)], style, size, box)
        if _ink_inside(placed, style.font, size, box):
            break
    return size, placed


def fits(line: str, font: str, size: int, width: int) -> bool:
    """Whether a line's advance and its ink are at most `width` pixels wide."""
    if glyphs.width(font, size, line) > width:
        return False
    left, _, right, _ = glyphs.ink_box(font, size, line)
    return right - min(left, 0) <= width


def wrap(text: str, font: str, size: int, width: int, *, break_words: bool = False) -> list[str]:
    """Lines filled from the first on. A word wider than the box stays whole on its line unless words may be broken."""
    pieces: list[str] = _PIECES.findall(text)
    if break_words:
        pieces = [part for piece in pieces for part in _broken(piece, font, size, width)]
    lines: list[str] = []
    line = ""
    for piece in pieces:
        if not line or glyphs.width(font, size, (line + piece).rstrip(" ")) <= width:
            line = (line + piece).lstrip(" ")
        else:
            lines.append(line.rstrip(" "))
            line = piece.lstrip(" ")
    return [*lines, line.rstrip(" ")] if line.strip(" ") else lines


def shorten(text: str, font: str, size: int, width: int) -> str:
    """The text, or its longest start that fits with an ellipsis behind."""
    if fits(text, font, size, width):
        return text
    kept = text
    while kept and not fits(kept.rstrip(_LOOSE_ENDS) + ELLIPSIS, font, size, width):
        kept = kept[:-1]
    return kept.rstrip(_LOOSE_ENDS) + ELLIPSIS


def place(lines: list[str], style: Style, size: int, box: Box) -> tuple[Line, ...]:
    """Baselines and pen starts of lines of one size, moved up or down where an accent or descender would leave the box."""
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
    boxes = [glyphs.ink_box(style.font, size, line) for line in lines]
    over = box.y - min(first + step * number + ink[1] for number, ink in enumerate(boxes))
    under = max(first + step * number + ink[3] for number, ink in enumerate(boxes)) - box.bottom
    first += over if over > 0 else -max(under, 0)
    return tuple(Line(line, _start(line, style, size, box), first + step * number) for number, line in enumerate(lines))


def _broken(piece: str, font: str, size: int, width: int) -> list[str]:
    """The piece in parts that fit, each as long as possible."""
    parts = [""]
    for character in piece:
        if parts[-1] and not fits(parts[-1] + character, font, size, width):
            parts.append("")
        parts[-1] += character
    return parts


def _start(line: str, style: Style, size: int, box: Box) -> int:
    """Pen start that puts the ink, not the side bearings, at the box's edge or middle."""
    left, _, right, _ = glyphs.ink_box(style.font, size, line)
    match style.align:
        case Align.LEFT:
            return box.x - min(left, 0)
        case Align.CENTER:
            return box.x + (box.width - (right - left)) // 2 - left
        case Align.RIGHT:
            return box.right - right
        case _:
            assert_never(style.align)


def _ink_inside(lines: tuple[Line, ...], font: str, size: int, box: Box) -> bool:
    for line in lines:
        left, top, right, bottom = glyphs.ink_box(font, size, line.text)
        ink = Box(line.x + left, line.baseline + top, right - left, bottom - top)
        if not ink.inside(box):
            return False
    return True
