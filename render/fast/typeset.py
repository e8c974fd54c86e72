"""Rows of texts in, placed marks out, for many labels in one call: what scene.py makes of the elements that differ from label to label.

A label for which the kernel cannot give what the reference would draw gets a status: the caller then loads glyphs and tries again, or has
the reference draw it or say what is wrong with it.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import STALE, bare_kernel, routine
from render.fast import columns as c
from render.fast.fit import fit, ink_box, pen_start
from render.panels import ATTEMPT_BITS, ATTEMPT_HEIGHT_PX

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]

LINES_MAX: Final = 4  # of templates.py
EAN13_MODULES: Final = 95
EAN8_MODULES: Final = 67


@routine
def _add(
    marks: Int32, count: int, kind: int, op: int, ink: int, third: int, fourth: int, fifth: int, sixth: int, seventh: int, eighth: int
) -> int:
    """Append a mark; returns the new number of marks."""
    mark = marks[count]
    mark[0], mark[1], mark[2], mark[3], mark[4], mark[5], mark[6] = kind, op, ink, third, fourth, fifth, sixth
    mark[7], mark[8] = seventh, eighth
    return count + 1


@routine
def _add_run(
    marks: Int32, count: int, op: int, ink: int, first: int, last: int, ellipsis: int, strike: int, x: int, baseline: int, line: Int32
) -> int:
    """Append a run whose ink box and move `line` has; returns the new number of marks."""
    marks[count, 9], marks[count, 10] = line[c.LINE_MOVED_X], line[c.LINE_MOVED_Y]
    return _add(marks, count, c.RUN, op, ink, first, last, ellipsis, strike, x, baseline)


@routine
def _price(glyphs: Int32, spans: Int32, text: int, op: Int32, metrics: Int32, steps: Int32, parts: Int32, lines: Int32) -> int:
    """`price.fit` of the texts sign, whole with decimal point, cents. `parts` gets rows (text, strike, x, baseline), text -1 for a part
    that is not there; op[EXTRA] is 1 when the sign stands first. Returns a status."""
    sign_first = op[c.EXTRA] == 1
    has_cents = spans[text + 2, 1] > spans[text + 2, 0]
    sign, whole, cents = lines[0], lines[1], lines[2]
    for row in range(op[c.STEP], op[c.STEP] + op[c.STEPS]):
        step = steps[row]
        gap = step[c.GAP]
        sign_advance = ink_box(glyphs, spans[text, 0], spans[text, 1], 0, metrics, step[c.SIGN_STRIKE], sign)
        whole_advance = ink_box(glyphs, spans[text + 1, 0], spans[text + 1, 1], 0, metrics, step[c.STRIKE], whole)
        cents_advance = ink_box(glyphs, spans[text + 2, 0], spans[text + 2, 1], 0, metrics, step[c.CENTS_STRIKE], cents)
        lowest = min(sign_advance, whole_advance, cents_advance)
        if lowest < 0:
            missing = c.UNLOADED in (sign_advance, whole_advance, cents_advance)
            return c.GLYPH_MISSING if missing else c.REFERENCE
        capital = -metrics[step[c.STRIKE], c.ZERO_SLOT, c.TOP]
        parts[0, 0], parts[1, 0], parts[2, 0] = text, text + 1, text + 2 if has_cents else -1
        parts[0, 1], parts[1, 1], parts[2, 1] = step[c.SIGN_STRIKE], step[c.STRIKE], step[c.CENTS_STRIKE]
        parts[0, 2] = parts[0, 3] = parts[1, 3] = 0
        pen = 0
        if sign_first:
            parts[0, 3] = -metrics[step[c.SIGN_STRIKE], c.ZERO_SLOT, c.TOP] - capital
            pen = sign_advance + gap
        parts[1, 2] = pen
        pen += whole[c.LINE_RIGHT] + (0 if sign_first and has_cents else gap)
        parts[2, 2] = pen - cents[c.LINE_LEFT]
        parts[2, 3] = -metrics[step[c.CENTS_STRIKE], c.ZERO_SLOT, c.TOP] - capital
        if not sign_first:
            parts[0, 2] = pen - sign[c.LINE_LEFT]
        left, right = (
            min(parts[0, 2] + sign[c.LINE_LEFT], parts[1, 2] + whole[c.LINE_LEFT]),
            max(parts[0, 2] + sign[c.LINE_RIGHT], parts[1, 2] + whole[c.LINE_RIGHT]),
        )
        top, bottom = min(parts[0, 3] + sign[c.LINE_TOP], whole[c.LINE_TOP]), max(parts[0, 3] + sign[c.LINE_BOTTOM], whole[c.LINE_BOTTOM])
        if has_cents:
            left, right = min(left, parts[2, 2] + cents[c.LINE_LEFT]), max(right, parts[2, 2] + cents[c.LINE_RIGHT])
            top, bottom = min(top, parts[2, 3] + cents[c.LINE_TOP]), max(bottom, parts[2, 3] + cents[c.LINE_BOTTOM])
        free_width, free_height = op[c.WIDTH] - (right - left), op[c.HEIGHT] - (bottom - top)
        if free_width >= 0 and free_height >= 0:
            aligned = 0 if op[c.ALIGN] == c.ALIGN_LEFT else free_width // 2 if op[c.ALIGN] == c.ALIGN_CENTER else free_width
            lowered = 0 if op[c.VERTICAL] == c.VERTICAL_TOP else free_height // 2 if op[c.VERTICAL] == c.VERTICAL_MIDDLE else free_height
            for part in range(3):
                parts[part, 2] += op[c.X] + aligned - left
                parts[part, 3] += op[c.Y] + lowered - top
            return c.DONE
    return c.REFERENCE  # it does not fit: the reference says so


@routine
def _is_on_panel(frame: Int32, left: int, top: int, right: int, bottom: int) -> bool:
    """Whether a box lies on the panel and beside the attempt's pixels."""
    if left < 0 or top < 0 or right > frame[c.PANEL_WIDTH] or bottom > frame[c.PANEL_HEIGHT]:
        return False
    return bool(right <= frame[c.PANEL_WIDTH] - ATTEMPT_BITS or bottom <= frame[c.PANEL_HEIGHT] - ATTEMPT_HEIGHT_PX)


@routine
def _matrix(number: int, op: Int32, size: int, marks: Int32, count: int) -> int:
    """A matrix code of size x size modules with its quiet zone, in the middle of its box."""
    quiet = op[c.STEP]
    pixel = op[c.STEPS] if op[c.STEPS] else min(op[c.WIDTH], op[c.HEIGHT]) // (size + 2 * quiet)
    side = pixel * (size + 2 * quiet)
    if size < 0:  # nothing to encode
        return count
    if size == 0 or pixel == 0 or side > min(op[c.WIDTH], op[c.HEIGHT]):
        return -1 - c.REFERENCE
    x, y = op[c.X] + (op[c.WIDTH] - side) // 2 + quiet * pixel, op[c.Y] + (op[c.HEIGHT] - side) // 2 + quiet * pixel
    return _add(marks, count, c.MATRIX, number, op[c.INK], op[c.EXTRA], x, y, pixel, 0, 0)


@routine
def _ean_digits(codes: Int32, first: int, last: int) -> int:
    """How many of the last digits of a GTIN its EAN symbol shows (13 or 8), as `linear.drawable` has it; 0 when there is no such symbol."""
    length = last - first
    zeros = 0
    while zeros < length and codes[first + zeros] == 48:
        zeros += 1
    if length == 8 or (length == 13 and zeros >= 5) or (length == 14 and zeros >= 6):
        return 8
    return 13 if length == 13 or (length == 14 and zeros >= 1) else 0


@routine
def _ean(
    codes: Int32, glyphs: Int32, first: int, last: int, number: int, op: Int32, metrics: Int32, steps: Int32,
    lines: Int32, frame: Int32, marks: Int32, count: int,
) -> int:  # fmt: skip
    """`scene`'s barcode: bars, guard bars, digits. Returns the number of marks, or -1 minus a status."""
    digits = _ean_digits(codes, first, last)
    pixel = op[c.EXTRA]
    quiet_left, modules = (11, EAN13_MODULES) if digits == 13 else (7, EAN8_MODULES)
    width = (quiet_left + modules + 7) * pixel
    digit_height = steps[op[c.STEP], c.CAPITAL] + 1 if op[c.STEPS] else 0
    height = op[c.HEIGHT] - digit_height
    if not digits or width > op[c.WIDTH] or height < 8 * pixel:
        return -1 - c.REFERENCE
    x = op[c.X] + (op[c.WIDTH] - width) // 2 + quiet_left * pixel
    start = last - digits
    count = _add(marks, count, c.BARS, number, op[c.INK], start, digits, x, op[c.Y], pixel, height - 1)
    if op[c.STEPS] == 0:
        return count
    count = _add(marks, count, c.GUARDS, number, op[c.INK], start, digits, x, op[c.Y] + height - 1, pixel, digit_height // 2 + 1)
    strike = steps[op[c.STEP], c.STRIKE]
    for place in range(digits):
        if digits == 13:
            centre = -11 if place == 0 else 14 * place - 1 if place < 7 else 14 * place + 9
        else:
            centre = 14 * place + 13 if place < 4 else 14 * place + 23
        advance = ink_box(glyphs, start + place, start + place + 1, 0, metrics, strike, lines[0])
        if advance < 0:
            return -1 - (c.GLYPH_MISSING if advance == c.UNLOADED else c.REFERENCE)
        left, right = lines[0, c.LINE_LEFT], lines[0, c.LINE_RIGHT]
        pen = x + (centre * pixel - (right - left)) // 2 - left
        if not _is_on_panel(
            frame, pen + left, op[c.Y] + op[c.HEIGHT] + lines[0, c.LINE_TOP], pen + right, op[c.Y] + op[c.HEIGHT] + lines[0, c.LINE_BOTTOM]
        ):
            return -1 - c.REFERENCE
        count = _add_run(
            marks, count, number, op[c.INK], start + place, start + place + 1, 0, strike, pen, op[c.Y] + op[c.HEIGHT], lines[0]
        )
    return count


@routine
def _lines(
    codes: Int32, glyphs: Int32, first: int, last: int, price: int, number: int, op: Int32, metrics: Int32, steps: Int32,
    scratch: Int32, lines: Int32, out: Int32, marks: Int32, count: int,
) -> int:  # fmt: skip
    """A text's runs; or an earlier price's run and stroke, when `price`, where it begins behind its word, is not -1. The word goes first
    where both do not fit. Returns the number of marks, or -1 minus a status."""
    start = first
    for tries in range(2):
        start = first if tries == 0 else price
        status = fit(codes, glyphs, start, last, op, metrics, steps, scratch, lines, out)
        if status != c.DONE:
            return -1 - status
        if price < 0 or (lines[0, c.LINE_FIRST] == start and lines[0, c.LINE_LAST] == last and lines[0, c.LINE_ELLIPSIS] == 0):
            break
        if tries == 1:
            return -1 - c.REFERENCE  # not even the price fits: the reference says so
    strike, line_step, baseline = steps[out[0], c.STRIKE], steps[out[0], c.LINE_STEP], out[2]
    x = op[c.X]
    for place in range(out[1]):
        x = pen_start(op, lines[place, c.LINE_LEFT], lines[place, c.LINE_RIGHT])
        y = baseline + place * line_step
        count = _add_run(
            marks,
            count,
            number,
            op[c.INK],
            lines[place, c.LINE_FIRST],
            lines[place, c.LINE_LAST],
            lines[place, c.LINE_ELLIPSIS],
            strike,
            x,
            y,
            lines[place],
        )
    if price < 0:
        return count
    before = ink_box(glyphs, start, price, 0, metrics, strike, lines[1])
    ink_box(glyphs, price, last, 0, metrics, strike, lines[1])
    left, right = x + before + lines[1, c.LINE_LEFT], x + before + lines[1, c.LINE_RIGHT] - 1
    top, bottom = baseline - steps[out[0], c.CAPITAL] + 1, baseline - 2
    if left < op[c.X] or right >= op[c.X] + op[c.WIDTH] or top < op[c.Y] or bottom >= op[c.Y] + op[c.HEIGHT] or bottom < top:
        return -1 - c.REFERENCE
    return _add(marks, count, c.STROKE, number, op[c.STRIKE_INK], left, bottom, right, top, 0, 0)


@routine
def _price_marks(spans: Int32, text: int, number: int, op: Int32, parts: Int32, lines: Int32, marks: Int32, count: int) -> int:
    """The runs of a placed price: the sign where it stands, the large digits, the cents."""
    for place in range(4):
        part = place % 3  # the sign's turn is first or last
        if part == 0 and (place == 0) != (op[c.EXTRA] == 1):
            continue
        if parts[part, 0] >= 0:
            first, last = spans[text + part, 0], spans[text + part, 1]
            count = _add_run(marks, count, number, op[c.INK], first, last, 0, parts[part, 1], parts[part, 2], parts[part, 3], lines[part])
    return count


def work_arrays(columns: int, longest: int) -> tuple[Int32, Int32, Int32, Int32, Int32]:
    """What `typeset` works with for labels of so many texts, none of which has more characters than `longest`."""
    shapes = ((columns + 1, 2), (3, longest + 2), (LINES_MAX + 1, c.LINE), (4,), (3, 4))
    spans, scratch, lines, out, parts = (np.empty(shape, np.int32) for shape in shapes)
    return spans, scratch, lines, out, parts


@bare_kernel
def typeset(
    stamp: int, codes: Int32, columns: int, flags: Int64, sizes: Int64, slots: Int32, metrics: Int32, ops: Int32, steps: Int32,
    frame: Int32, spans: Int32, scratch: Int32, lines: Int32, out: Int32, parts: Int32,
    glyphs: Int32, marks: Int32, counts: Int32, status: Int32,
) -> int:  # fmt: skip
    """Place the marks of len(flags) labels with `columns` texts each. Returns the number of labels whose status is not DONE, or STALE.

    `codes`: all texts' code points, a 0 between two texts. `flags`: the conditions that hold, one bit each. `sizes`: (label, column), the
    modules per side of its matrix codes, -1 where it has none, 0 where there is no such code. `spans` to `parts`: see `work_arrays`.
    Out: `glyphs` (as long as codes) the slot of each code, `marks` (label, mark, MARKS), `counts` the marks per label, `status` per label.
    Where that is GLYPH_MISSING, the first mark's MARK_OP is the op that misses one.
    """
    if stamp != c.STAMP:
        return STALE
    for place in range(len(codes)):
        code = codes[place]
        glyphs[place] = slots[code] if code < c.CODES else c.UNDRAWABLE
    at = failed = 0
    for label in range(len(flags)):
        for column in range(columns):
            spans[column, 0] = at
            while at < len(codes) and codes[at] != 0:
                at += 1
            spans[column, 1] = at
            at += 1
        count = 0
        for number in range(len(ops)):
            op = ops[number]
            if flags[label] & op[c.WHEN] != op[c.WHEN] or flags[label] & op[c.WHEN_NOT] != 0:
                continue
            kind, text = op[c.KIND], op[c.TEXT]
            first, last = spans[text, 0], spans[text, 1]
            if kind == c.SPRITE_OP:
                count = _add(marks[label], count, c.SPRITE, number, 0, op[c.EXTRA], 0, 0, 0, 0, 0)
            elif kind == c.MATRIX_OP:
                count = _matrix(number, op, sizes[label, op[c.EXTRA]], marks[label], count)
            elif last == first:  # nothing to show
                pass
            elif kind == c.PRICE_OP:
                placed = _price(glyphs, spans, text, op, metrics, steps, parts, lines)
                count = _price_marks(spans, text, number, op, parts, lines, marks[label], count) if placed == c.DONE else -1 - placed
            elif kind == c.EAN_OP:
                count = _ean(codes, glyphs, first, last, number, op, metrics, steps, lines, frame, marks[label], count)
            else:
                price = last - (spans[text + 1, 1] - spans[text + 1, 0]) if kind == c.WAS_PRICE_OP else -1
                count = _lines(codes, glyphs, first, last, price, number, op, metrics, steps, scratch, lines, out, marks[label], count)
            if count < 0:
                marks[label, 0, c.MARK_OP] = number
                break
        status[label] = c.DONE if count >= 0 else -1 - count
        counts[label] = max(count, 0)
        failed += count < 0
    return failed
