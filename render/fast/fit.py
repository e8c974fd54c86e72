"""`text.fit` over arrays: wrap, then shrink, then cut with an ellipsis. Functions that the kernel of typeset.py is made of.

A text is a range of places in `codes` (code points) and `glyphs` (their slots in the atlas).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from render._jit import routine
from render.fast import columns as c

Int32 = npt.NDArray[np.int32]

_SPACE, _HYPHEN, _SLASH = 32, 45, 47
_COMMA, _POINT, _DOT, _AMPERSAND = 44, 46, 183, 38


@routine
def ink_box(glyphs: Int32, first: int, last: int, ellipsis: int, metrics: Int32, strike: int, line: Int32) -> int:
    """Write a run's ink box and move to a line; returns the run's advance, or UNLOADED or UNDRAWABLE when a glyph is."""
    pen = left = top = right = bottom = bitmap_left = bitmap_top = 0
    for place in range(first, last + ellipsis):
        slot = glyphs[place] if place < last else c.ELLIPSIS_SLOT
        advance = metrics[strike, slot, c.ADVANCE] if slot >= 0 else slot
        if advance < 0:
            return advance
        left = min(left, pen + metrics[strike, slot, c.LEFT])
        top = min(top, metrics[strike, slot, c.TOP])
        right = max(right, pen + metrics[strike, slot, c.RIGHT])
        bottom = max(bottom, metrics[strike, slot, c.BOTTOM])
        bitmap_left = min(bitmap_left, pen + metrics[strike, slot, c.BITMAP_LEFT])
        bitmap_top = max(bitmap_top, metrics[strike, slot, c.BITMAP_TOP])
        pen += advance
    line[c.LINE_LEFT], line[c.LINE_TOP], line[c.LINE_RIGHT], line[c.LINE_BOTTOM] = left, top, right, bottom
    line[c.LINE_MOVED_X], line[c.LINE_MOVED_Y] = left - bitmap_left, top + bitmap_top
    return pen


@routine
def _pieces(codes: Int32, first: int, last: int, pieces: Int32) -> int:
    """Where a line may break: the starts of `text._PIECES`' matches, then `last`. Returns their number."""
    count = 0
    place = first
    while place < last:
        pieces[count] = place
        count += 1
        if codes[place] == _SPACE:
            while place < last and codes[place] == _SPACE:
                place += 1
        else:
            while place < last and codes[place] != _SPACE and codes[place] != _HYPHEN and codes[place] != _SLASH:
                place += 1
            while place < last and (codes[place] == _HYPHEN or codes[place] == _SLASH):
                place += 1
    pieces[count] = last
    return count


@routine
def _broken(glyphs: Int32, metrics: Int32, strike: int, width: int, count: int, pieces: Int32, parts: Int32) -> int:
    """`text._broken` for all pieces: the starts of parts that fit. Returns their number."""
    parts_count = 0
    for number in range(count):
        parts[parts_count] = pieces[number]
        parts_count += 1
        pen = left = right = 0
        for place in range(pieces[number], pieces[number + 1]):
            slot = glyphs[place]
            left_after = min(left, pen + metrics[strike, slot, c.LEFT])
            right_after = max(right, pen + metrics[strike, slot, c.RIGHT])
            pen_after = pen + metrics[strike, slot, c.ADVANCE]
            if place > parts[parts_count - 1] and (pen_after > width or right_after - left_after > width):
                parts[parts_count] = place
                parts_count += 1
                left_after = min(0, metrics[strike, slot, c.LEFT])
                right_after = max(0, metrics[strike, slot, c.RIGHT])
                pen_after = metrics[strike, slot, c.ADVANCE]
            pen, left, right = pen_after, left_after, right_after
    parts[parts_count] = pieces[count]
    return parts_count


@routine
def _wrap(codes: Int32, first: int, pens: Int32, width: int, count: int, pieces: Int32, lines_max: int, lines: Int32) -> int:
    """`text.wrap`: the ranges of the lines. Stops after line `lines_max` + 1; returns the number found."""
    found = 0
    start = end = reach = -1  # of the line, end without the spaces behind it; -1 while it is empty
    for number in range(count):
        piece, piece_end = pieces[number], pieces[number + 1]
        is_space = codes[piece] == _SPACE
        if start >= 0:
            if pens[(reach if is_space else piece_end) - first] - pens[start - first] <= width:
                end = end if is_space else piece_end
                reach = piece_end
                continue
            lines[found, c.LINE_FIRST], lines[found, c.LINE_LAST], lines[found, c.LINE_ELLIPSIS] = start, end, 0
            found += 1
            start = -1
            if found > lines_max:
                return found
        if not is_space:
            start, end, reach = piece, piece_end, piece_end
    if start >= 0:
        lines[found, c.LINE_FIRST], lines[found, c.LINE_LAST], lines[found, c.LINE_ELLIPSIS] = start, end, 0
        found += 1
    return found


@routine
def _is_loose_end(code: int) -> bool:
    """Whether a character looks wrong in front of an ellipsis."""
    return code in (_SPACE, _COMMA, _POINT, _HYPHEN, _SLASH, _DOT, _AMPERSAND)


@routine
def _shorten(codes: Int32, glyphs: Int32, first: int, last: int, metrics: Int32, strike: int, width: int, line: Int32) -> None:
    """`text.shorten`: the range and whether an ellipsis follows."""
    while first < last and codes[first] == _SPACE:
        first += 1
    while first < last and codes[last - 1] == _SPACE:
        last -= 1
    ellipsis_advance, ellipsis_right = metrics[strike, c.ELLIPSIS_SLOT, c.ADVANCE], metrics[strike, c.ELLIPSIS_SLOT, c.RIGHT]
    ellipsis_left = metrics[strike, c.ELLIPSIS_SLOT, c.LEFT]
    pen = left = right = 0
    kept = first  # the longest start, without loose ends, that fits with an ellipsis
    for place in range(first, last):
        slot = glyphs[place]
        left = min(left, pen + metrics[strike, slot, c.LEFT])
        right = max(right, pen + metrics[strike, slot, c.RIGHT])
        pen += metrics[strike, slot, c.ADVANCE]
        reach = max(right, pen + ellipsis_right) - min(left, pen + ellipsis_left)
        if pen + ellipsis_advance <= width and reach <= width and not _is_loose_end(codes[place]):
            kept = place + 1
    whole = pen <= width and right - left <= width
    line[c.LINE_FIRST], line[c.LINE_LAST], line[c.LINE_ELLIPSIS] = first, last if whole else kept, 0 if whole else 1


@routine
def _place(op: Int32, step: Int32, count: int, lines: Int32) -> int:
    """The first baseline of lines with known ink boxes, as `text.place` has it."""
    below_first = step[c.LINE_STEP] * (count - 1)
    if op[c.VERTICAL] == c.VERTICAL_TOP:
        first = op[c.Y] + step[c.ASCENT]
    elif op[c.VERTICAL] == c.VERTICAL_MIDDLE:
        first = op[c.Y] + (op[c.HEIGHT] - step[c.CAPITAL] - below_first) // 2 + step[c.CAPITAL]
    else:
        first = op[c.Y] + op[c.HEIGHT] - step[c.DESCENT] - below_first
    highest, lowest = first + lines[0, c.LINE_TOP], first + lines[0, c.LINE_BOTTOM]
    for number in range(1, count):
        highest = min(highest, first + step[c.LINE_STEP] * number + lines[number, c.LINE_TOP])
        lowest = max(lowest, first + step[c.LINE_STEP] * number + lines[number, c.LINE_BOTTOM])
    if highest < op[c.Y]:
        return int(first + op[c.Y] - highest)
    return int(first - max(lowest - op[c.Y] - op[c.HEIGHT], 0))


@routine
def pen_start(op: Int32, left: int, right: int) -> int:
    if op[c.ALIGN] == c.ALIGN_LEFT:
        return int(op[c.X] - left)
    if op[c.ALIGN] == c.ALIGN_CENTER:
        return int(op[c.X] + (op[c.WIDTH] - (right - left)) // 2 - left)
    return int(op[c.X] + op[c.WIDTH] - right)


@routine
def _is_inside(op: Int32, step: Int32, baseline: int, count: int, lines: Int32) -> bool:
    """Whether the ink of placed lines lies in the box."""
    for number in range(count):
        left, right = lines[number, c.LINE_LEFT], lines[number, c.LINE_RIGHT]
        x = pen_start(op, left, right)
        y = baseline + number * step[c.LINE_STEP]
        if x + left < op[c.X] or x + right > op[c.X] + op[c.WIDTH]:
            return False
        if y + lines[number, c.LINE_TOP] < op[c.Y] or y + lines[number, c.LINE_BOTTOM] > op[c.Y] + op[c.HEIGHT]:
            return False
    return True


@routine
def fit(
    codes: Int32, glyphs: Int32, first: int, last: int, op: Int32, metrics: Int32, steps: Int32, scratch: Int32, lines: Int32, out: Int32
) -> int:
    """`text.fit`: fills lines; out = row of steps, number of lines, first baseline, 1 when it was cut. Returns a status."""
    width = op[c.WIDTH]
    pieces, pens, parts = scratch[0], scratch[1], scratch[2]
    count = _pieces(codes, first, last, pieces)
    for row in range(op[c.STEP], op[c.STEP] + op[c.STEPS]):
        step = steps[row]
        strike = step[c.STRIKE]
        pen = 0
        for place in range(first, last):
            slot = glyphs[place]
            advance = metrics[strike, slot, c.ADVANCE] if slot >= 0 else slot
            if advance < 0:
                return c.GLYPH_MISSING if advance == c.UNLOADED else c.REFERENCE
            pens[place - first] = pen
            pen += advance
        pens[last - first] = pen
        found = _wrap(codes, first, pens, width, count, pieces, op[c.LINES], lines)
        if found > op[c.LINES]:
            continue
        fits = True
        for number in range(found):
            line = lines[number]
            advance = ink_box(glyphs, line[c.LINE_FIRST], line[c.LINE_LAST], 0, metrics, strike, line)
            fits = fits and advance <= width and line[c.LINE_RIGHT] - line[c.LINE_LEFT] <= width
        if not fits:
            continue
        baseline = _place(op, step, found, lines)
        if _is_inside(op, step, baseline, found, lines):
            out[0], out[1], out[2], out[3] = row, found, baseline, 0
            return c.DONE
    row = op[c.STEP] + op[c.STEPS] - 1  # the smallest size; all its glyphs are loaded, pens are those of this size
    step = steps[row]
    strike = step[c.STRIKE]
    count = _broken(glyphs, metrics, strike, width, count, pieces, parts)
    found = _wrap(codes, first, pens, width, count, parts, op[c.LINES], lines)
    for number in range(min(op[c.LINES], found)):
        ink_box(glyphs, lines[number, c.LINE_FIRST], lines[number, c.LINE_LAST], 0, metrics, strike, lines[number])
    for kept in range(min(op[c.LINES], found), 0, -1):
        line = lines[kept - 1]
        _shorten(codes, glyphs, first if kept == 1 else lines[kept - 2, c.LINE_LAST], last, metrics, strike, width, line)
        ink_box(glyphs, line[c.LINE_FIRST], line[c.LINE_LAST], line[c.LINE_ELLIPSIS], metrics, strike, line)
        baseline = _place(op, step, kept, lines)
        if _is_inside(op, step, baseline, kept, lines):
            out[0], out[1], out[2], out[3] = row, kept, baseline, 1
            return c.DONE
    return c.REFERENCE  # ink outside of the box: rare, and it may touch what others draw
