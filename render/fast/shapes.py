"""Shapes in a string of bits: masks, rectangles, strokes, bars, matrix codes. Functions that the kernel of press.py is made of.

`canvas` holds the planes of one label as 64-bit words whose top bit is the leftmost pixel. Shapes are set or cleared up to 64 pixels of a
row at a time. Seen places become places in the buffer by `frame` (columns.py).
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import helper, routine
from render.fast import columns as c

Int32 = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

_0, _1, _6, _63, _64 = (np.uint64(number) for number in (0, 1, 6, 63, 64))
_ALL: Final = np.uint64(0xFFFFFFFFFFFFFFFF)

# EAN symbol characters (GS1 General Specifications 5.2): the seven modules of the left odd set as bits, and which of the six left digits
# use the even set, by first digit
_ODD: Final = np.array([0x0D, 0x19, 0x13, 0x3D, 0x23, 0x31, 0x2F, 0x3B, 0x37, 0x0B], np.int32)
_EVEN: Final = np.array([0x27, 0x33, 0x1B, 0x21, 0x1D, 0x39, 0x05, 0x11, 0x09, 0x17], np.int32)
_PARITY: Final = np.array([0x00, 0x0B, 0x0D, 0x0E, 0x13, 0x19, 0x1C, 0x15, 0x16, 0x1A], np.int32)


@helper
def blit(canvas: Words, bit: int, row_bits: int, masks: Words, mask: int, rows: int, words: int, is_set: bool) -> None:
    """Set or clear a mask's pixels; its top left one is the string's bit `bit`."""
    stride, step = np.uint64(row_bits), np.uint64(words)
    for word in range(words):
        at, source = np.uint64(bit + 64 * word), np.uint64(mask + word)
        for _ in range(rows):
            bits = masks[source]
            place, shift = at >> _6, at & _63
            if is_set:
                canvas[place] |= bits >> shift
                canvas[place + _1] |= bits << _1 << (_63 - shift)
            else:
                canvas[place] &= ~(bits >> shift)
                canvas[place + _1] &= ~(bits << _1 << (_63 - shift))
            source += step
            at += stride


@helper
def blit_word(canvas: Words, bit: int, row_bits: int, masks: Words, mask: int, rows: int, is_set: bool) -> None:
    """`blit` for a mask that lies in one word of each row, where rows are whole words: the case of nearly all glyphs on many panels."""
    shift = np.uint64(bit & 63)
    place, source, stride = np.uint64(bit >> 6), np.uint64(mask), np.uint64(row_bits >> 6)
    for _ in range(rows):
        if is_set:
            canvas[place] |= masks[source] >> shift
        else:
            canvas[place] &= ~(masks[source] >> shift)
        source += _1
        place += stride


@helper
def put(canvas: Words, bit: int, bits: np.uint64, is_set: bool) -> None:
    """Set or clear up to 64 pixels of a row."""
    place, shift = np.uint64(bit >> 6), np.uint64(bit & 63)
    if is_set:
        canvas[place] |= bits >> shift
        canvas[place + _1] |= bits << _1 << (_63 - shift)
    else:
        canvas[place] &= ~(bits >> shift)
        canvas[place + _1] &= ~(bits << _1 << (_63 - shift))


@helper
def fill(canvas: Words, bit: int, row_bits: int, rows: int, columns: int, is_set: bool) -> None:
    """Set or clear a rectangle of the buffer."""
    stride = np.uint64(row_bits)
    for left in range(0, columns, 64):
        bits = _ALL << np.uint64(64 - min(columns - left, 64))
        at = np.uint64(bit + left)
        for _ in range(rows):
            place, shift = at >> _6, at & _63
            if is_set:
                canvas[place] |= bits >> shift
                canvas[place + _1] |= bits << _1 << (_63 - shift)
            else:
                canvas[place] &= ~(bits >> shift)
                canvas[place + _1] &= ~(bits << _1 << (_63 - shift))
            at += stride


@routine
def corner_bit(frame: Int32, x: int, y: int, width: int, height: int) -> int:
    """The bit in a plane where a seen rectangle begins in the buffer."""
    turns = frame[c.TURNS]
    if turns == 0:
        return int(y * frame[c.ROW_BITS] + x)
    if turns == 1:
        return int((frame[c.PANEL_WIDTH] - x - width) * frame[c.ROW_BITS] + y)
    if turns == 2:
        return int((frame[c.PANEL_HEIGHT] - y - height) * frame[c.ROW_BITS] + frame[c.PANEL_WIDTH] - x - width)
    return int(x * frame[c.ROW_BITS] + frame[c.PANEL_HEIGHT] - y - height)


@routine
def rectangle(canvas: Words, frame: Int32, x: int, y: int, width: int, height: int, ink: int) -> None:
    """Fill a seen rectangle. `ink`: the planes to set in bits 0-7, those to clear in bits 8-15."""
    corner = corner_bit(frame, x, y, width, height)
    rows, columns = (width, height) if frame[c.TURNS] & 1 else (height, width)
    for plane in range(frame[c.PLANES]):
        if ink >> plane & 1:
            fill(canvas, corner + plane * frame[c.PLANE_BITS], frame[c.ROW_BITS], rows, columns, True)
        elif ink >> (8 + plane) & 1:
            fill(canvas, corner + plane * frame[c.PLANE_BITS], frame[c.ROW_BITS], rows, columns, False)


@routine
def stroke(canvas: Words, frame: Int32, x0: int, y0: int, x1: int, y1: int, ink: int) -> None:
    """A line one pixel wide on the pixels that Pillow's `ImageDraw.line` takes (Bresenham from the first point, then the last point)."""
    dx, dy = abs(x1 - x0), abs(y1 - y0)
    x_step, y_step = 1 if x1 >= x0 else -1, 1 if y1 >= y0 else -1
    x, y = x0, y0
    if dx > dy:
        error = 2 * dy - dx
        for _ in range(dx):
            rectangle(canvas, frame, x, y, 1, 1, ink)
            if error >= 0 and dy > 0:
                y += y_step
                error -= 2 * dx
            error += 2 * dy
            x += x_step
    else:
        error = 2 * dx - dy
        for _ in range(dy):
            rectangle(canvas, frame, x, y, 1, 1, ink)
            if error >= 0 and dx > 0:
                x += x_step
                error -= 2 * dy
            error += 2 * dx
            y += y_step
    rectangle(canvas, frame, x1, y1, 1, 1, ink)


@helper
def _push(symbol: Words, bits: int, count: int) -> None:
    """Append modules to a symbol of up to 128 in two words, the last one in bit 0 of symbol[1]."""
    shift = np.uint64(count)
    symbol[0] = symbol[0] << shift | symbol[1] >> (_64 - shift)
    symbol[1] = symbol[1] << shift | np.uint64(bits)


@routine
def ean_modules(codes: Int32, first: int, digits: int, symbol: Words) -> int:
    """The modules of an EAN symbol. Returns their number."""
    symbol[0] = symbol[1] = _0
    parity = _PARITY[codes[first] - 48] if digits == 13 else 0
    side = digits // 2
    middle = first + digits - side
    _push(symbol, 0b101, 3)
    for place in range(side):
        digit = codes[middle - side + place] - 48
        _push(symbol, _EVEN[digit] if parity >> (5 - place) & 1 else _ODD[digit], 7)
    _push(symbol, 0b01010, 5)
    for place in range(side):
        _push(symbol, 0x7F ^ _ODD[codes[middle + place] - 48], 7)
    _push(symbol, 0b101, 3)
    return 14 * side + 11


@routine
def ean_guards(digits: int, symbol: Words) -> int:
    """The modules of the guard bars alone."""
    symbol[0] = symbol[1] = _0
    side = digits // 2
    _push(symbol, 0b101, 3)
    _push(symbol, 0, 7 * side)
    _push(symbol, 0b01010, 5)
    _push(symbol, 0, 7 * side)
    _push(symbol, 0b101, 3)
    return 14 * side + 11


@helper
def _module(symbol: Words, place: int, count: int, from_end: bool) -> np.uint64:
    """Module `place` of a symbol, 0 or 1."""
    bit = place if from_end else count - 1 - place
    return np.uint64(symbol[1 - (bit >> 6)] >> np.uint64(bit & 63) & _1)


@routine
def bars(canvas: Words, frame: Int32, mark: Int32, count: int, symbol: Words, strip: Words) -> None:
    """A row of modules; in a buffer that lies on its side a column of them."""
    pixel, height, ink, row_bits = mark[7], mark[8], mark[2], frame[c.ROW_BITS]
    corner = corner_bit(frame, mark[5], mark[6], count * pixel, height)
    sideways, from_end = frame[c.TURNS] & 1, frame[c.TURNS] in (1, 2)
    words = _stretched(symbol, count, from_end, pixel, strip)
    for plane in range(frame[c.PLANES]):
        is_set = ink >> plane & 1 == 1
        if not is_set and not ink >> (8 + plane) & 1:
            continue
        bit = corner + plane * frame[c.PLANE_BITS]
        for line in range(0 if sideways else height):
            for word in range(words):
                put(canvas, bit + line * row_bits + 64 * word, strip[word], is_set)
        for left in range(0, height if sideways else 0, 64):
            bits = _ALL << np.uint64(64 - min(height - left, 64))
            if is_set and row_bits & 63 == 0 and (bit + left & 63) + height <= 64:  # each bar lies in one word
                _bars_word(canvas, bit, row_bits, bits >> np.uint64(bit & 63), count * pixel, strip)
                continue
            for number in range(count * pixel):
                bar = bits * (strip[number >> 6] >> np.uint64(63 - (number & 63)) & _1)
                put(canvas, bit + left + number * row_bits, bar, is_set)


@helper
def _bars_word(canvas: Words, bit: int, row_bits: int, bits: np.uint64, count: int, strip: Words) -> None:
    """Set `bits` in a word of each of `count` rows whose bit of the strip is set."""
    place, stride = np.uint64(bit >> 6), np.uint64(row_bits >> 6)
    for first in range(0, count, 64):
        rows = strip[first >> 6]
        for _ in range(min(64, count - first)):
            canvas[place] |= bits * (rows >> _63)
            rows <<= _1
            place += stride


@helper
def _stretched(symbol: Words, count: int, from_end: bool, pixel: int, strip: Words) -> int:
    """Write a symbol with modules `pixel` bits wide to words of a row. Returns their number."""
    words = bits = 0
    word = _0
    for number in range(count):
        module = _module(symbol, number, count, from_end)
        for _ in range(pixel):
            word = word << _1 | module
            bits += 1
            if bits == 64:
                strip[words] = word
                words += 1
                bits = 0
                word = _0
    if bits:
        strip[words] = word << np.uint64(64 - bits)
        words += 1
    return words


@routine
def matrix(canvas: Words, frame: Int32, mark: Int32, size: int, rows: Words, strips: Words) -> None:
    """A code of size x size modules, whose row r is rows[r] with column 0 in the top bit."""
    pixel, turns, row_bits, ink = mark[6], frame[c.TURNS], frame[c.ROW_BITS], mark[2]
    words = (size * pixel + 63) >> 6
    dot = _ALL << np.uint64(64 - pixel)
    for place in range(size * words):
        strips[place] = _0
    # strips[word * size + row]: the code as it lies in the buffer, a row of modules per row
    for column in range(size):
        at = column * pixel
        shift, first = np.uint64(at & 63), (at >> 6) * size
        _dots(rows, size, turns, column, dot >> shift, strips[first:])
        if (at & 63) + pixel > 64:
            _dots(rows, size, turns, column, dot << (_63 - shift) << _1, strips[first + size :])
    corner = corner_bit(frame, mark[4], mark[5], size * pixel, size * pixel)
    for plane in range(frame[c.PLANES]):
        is_set = ink >> plane & 1 == 1
        if not is_set and not ink >> (8 + plane) & 1:
            continue
        for word in range(words):
            for line in range(pixel):
                bit = corner + plane * frame[c.PLANE_BITS] + line * row_bits + 64 * word
                if is_set:
                    blit(canvas, bit, pixel * row_bits, strips, word * size, size, 1, True)
                else:
                    blit(canvas, bit, pixel * row_bits, strips, word * size, size, 1, False)


@helper
def _dots(rows: Words, size: int, turns: int, column: int, dot: np.uint64, strip: Words) -> None:
    """Put a dot into each of the buffer's rows whose module in this column is dark."""
    if turns == 0:
        shift = np.uint64(63 - column)
        for row in range(size):
            strip[row] |= (rows[row] >> shift & _1) * dot
    elif turns == 1:
        modules = rows[column]
        for row in range(size):
            strip[row] |= (modules >> np.uint64(64 - size + row) & _1) * dot
    elif turns == 2:
        shift = np.uint64(64 - size + column)
        for row in range(size):
            strip[row] |= (rows[size - 1 - row] >> shift & _1) * dot
    else:
        modules = rows[size - 1 - column]
        for row in range(size):
            strip[row] |= (modules >> np.uint64(63 - row) & _1) * dot
