"""The big price: whole digits large, cents small and raised or as large as they, the currency sign small.

A sign right of the number stands below raised cents and beside level ones; one left of it is raised beside the whole digits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from render import glyphs, script
from render.locales import Amount
from render.panels import Box
from render.template_elements import Align, Cents, Style, Vertical

CENTS: Final = 0.52  # of the size of the whole digits
SIGN: Final = 0.36
SIGN_BESIDE_LEVEL: Final = 0.6
SIGN_SIZE_MIN_PX: Final = 10
GAP: Final = 0.06  # between the parts, of the size of the whole digits


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the price in drawing order; (x, baseline) is the pen's start."""

    text: str
    x: int
    baseline: int
    size: int


def fit(amount: Amount, style: Style, box: Box, cents: Cents = Cents.RAISED, *, right_to_left: bool = False) -> tuple[Part, ...] | None:
    """The parts at the largest size at which all ink lies in the box, or None when even the smallest is too large."""
    align = style.align.resolved(right_to_left)
    for size in range(style.size_max, style.size_min - 1, -1):
        parts = _parts(amount, style.font, size, cents)
        boxes = [_ink(part, style.font) for part in parts]
        left, top = min(ink.x for ink in boxes), min(ink.y for ink in boxes)
        width, height = max(ink.right for ink in boxes) - left, max(ink.bottom for ink in boxes) - top
        if width <= box.width and height <= box.height:
            right = box.x + _slack(align, box.width - width) - left
            down = box.y + _lowering(style.vertical, box.height - height) - top
            return tuple(Part(part.text, part.x + right, part.baseline + down, part.size) for part in parts)
    return None


def _parts(amount: Amount, font: str, size: int, cents: Cents) -> list[Part]:
    """Parts around a baseline at 0, the first pen at 0."""
    gap = max(1, round(size * GAP))
    capital = _capital(font, size)
    sign = script.visual(amount.sign, right_to_left=True)
    sign_size = max(SIGN_SIZE_MIN_PX, round(size * (SIGN if cents is Cents.RAISED else SIGN_BESIDE_LEVEL)))
    raised = bool(amount.cents) and cents is Cents.RAISED
    number = amount.whole + amount.decimal + ("" if raised else amount.cents)
    parts: list[Part] = []
    pen = 0
    if amount.sign_first:
        parts.append(Part(sign, 0, _capital(font, sign_size) - capital, sign_size))
        pen = glyphs.width(font, sign_size, sign) + gap
    parts.append(Part(number, pen, 0, size))
    # raised cents without a sign below them stand right behind the decimal point, else the hole under them tears the number apart
    pen += glyphs.ink_box(font, size, number)[2] + (0 if amount.sign_first and raised else gap)
    if raised:
        cents_size = round(size * CENTS)
        parts.append(Part(amount.cents, _at(font, cents_size, amount.cents, pen), _capital(font, cents_size) - capital, cents_size))
    if not amount.sign_first:
        parts.append(Part(sign, _at(font, sign_size, sign, pen), 0, sign_size))
    return parts


def _capital(font: str, size: int) -> int:
    """Height of the digits in pixels, as drawn."""
    return -glyphs.ink_box(font, size, "0")[1]


def _at(font: str, size: int, text: str, x: int) -> int:
    """Pen start that puts the first ink at x."""
    return x - glyphs.ink_box(font, size, text)[0]


def _ink(part: Part, font: str) -> Box:
    left, top, right, bottom = glyphs.ink_box(font, part.size, part.text)
    return Box(part.x + left, part.baseline + top, right - left, bottom - top)


def _slack(align: Align, free: int) -> int:
    return {Align.CENTER: free // 2, Align.RIGHT: free}.get(align, 0)


def _lowering(vertical: Vertical, free: int) -> int:
    return {Vertical.TOP: 0, Vertical.MIDDLE: free // 2, Vertical.BOTTOM: free}[vertical]
