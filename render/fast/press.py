"""Marks to bit planes: the kernel that draws. A label begins as a copy of a finished background; glyphs, bars, codes and sprites are put
into it, already turned as the panel's buffer is; the last step turns the words' bytes into memory order.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from render._jit import STALE, bare_kernel, routine
from render.fast import columns as c
from render.fast.shapes import bars, blit, blit_word, corner_bit, ean_guards, ean_modules, matrix, stroke
from render.panels import ATTEMPT_BITS

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_0, _1, _63 = (np.uint64(number) for number in (0, 1, 63))
_8, _24, _40, _56 = (np.uint64(number) for number in (8, 24, 40, 56))
_BYTE1, _BYTE2, _BYTE3 = np.uint64(0xFF00), np.uint64(0xFF0000), np.uint64(0xFF000000)


@routine
def _run(canvas: Words, frame: Int32, mark: Int32, glyphs: Int32, metrics: Int32, masks: Words) -> None:
    """A run of glyphs."""
    first, last, ellipsis, strike, x, baseline = mark[3], mark[4], mark[5], mark[6], mark[7] + mark[9], mark[8] + mark[10]
    ink, row_bits, turns = mark[2], frame[c.ROW_BITS], frame[c.TURNS]
    font = metrics[strike]
    bit = corner_bit(frame, x, baseline, 0, 0)
    whole_words = row_bits & 63 == 0
    step = 1 if turns == 0 else -row_bits if turns == 1 else -1 if turns == 2 else row_bits
    for plane in range(frame[c.PLANES]):
        is_set = ink >> plane & 1 == 1
        if not is_set and not ink >> (8 + plane) & 1:
            continue
        at = bit + plane * frame[c.PLANE_BITS]
        for place in range(first, last + ellipsis):
            glyph = font[glyphs[place] if place < last else c.ELLIPSIS_SLOT]
            corner = at + glyph[c.ROW] * row_bits + glyph[c.COLUMN]
            if is_set and whole_words and (corner & 63) + glyph[c.MASK_WIDTH] <= 64:
                blit_word(canvas, corner, row_bits, masks, glyph[c.MASK], glyph[c.MASK_ROWS], True)
            elif is_set:
                blit(canvas, corner, row_bits, masks, glyph[c.MASK], glyph[c.MASK_ROWS], glyph[c.MASK_WORDS], True)
            else:
                blit(canvas, corner, row_bits, masks, glyph[c.MASK], glyph[c.MASK_ROWS], glyph[c.MASK_WORDS], False)
            at += step * glyph[c.ADVANCE]


@routine
def _sprite(canvas: Words, frame: Int32, sprite: Int32, pixels: Words) -> None:
    """A finished picture with a mask."""
    rows, words = sprite[c.SPRITE_ROWS], sprite[c.SPRITE_WORDS]
    size = rows * words
    for plane in range(frame[c.PLANES]):
        bit = plane * frame[c.PLANE_BITS] + sprite[c.SPRITE_BIT]
        blit(canvas, bit, frame[c.ROW_BITS], pixels, sprite[c.SPRITE_MASK], rows, words, False)
        blit(canvas, bit, frame[c.ROW_BITS], pixels, sprite[c.SPRITE_MASK] + (1 + plane) * size, rows, words, True)


@routine
def _attempt(canvas: Words, frame: Int32, attempt: int) -> None:
    """The attempt number in the last 32 pixels of the lowest row, most significant bit first, 1 black; every background is white there."""
    first = corner_bit(frame, frame[c.PANEL_WIDTH] - ATTEMPT_BITS, frame[c.PANEL_HEIGHT] - 1, 1, 1)
    turns, row_bits = frame[c.TURNS], frame[c.ROW_BITS]
    step = 1 if turns == 0 else -row_bits if turns == 1 else -1 if turns == 2 else row_bits
    for plane in range(frame[c.PLANES]):
        is_set = frame[c.BLACK] >> plane & 1
        if is_set == frame[c.WHITE] >> plane & 1:
            continue
        at = first + plane * frame[c.PLANE_BITS]
        for place in range(ATTEMPT_BITS - 1, -1, -1):
            bit = np.uint64(attempt >> place & 1) << np.uint64(63 - (at & 63))
            if is_set:
                canvas[at >> 6] |= bit
            else:
                canvas[at >> 6] &= ~bit
            at += step


@bare_kernel
def press(
    stamp: int, marks: Int32, counts: Int32, status: Int32, codes: Int32, glyphs: Int32, metrics: Int32, masks: Words, sprites: Int32,
    pixels: Words, sprite_of: Int32, sizes: Int64, matrices: Words, bases: Words, base_of: Int32, attempts: Int64, frame: Int32,
    symbol: Words, strips: Words, out: Words,
) -> int:  # fmt: skip
    """Draw each label whose status is DONE: `out[label]` gets its planes, frame[WORDS] words, and one that is not used. Returns 0 or STALE.

    `base_of[label]`: the row of `bases` to begin with. `sprite_of`: (labels, columns), rows of `sprites` or -1 for none. `sizes`: as for
    `typeset`. `matrices`: (labels, columns, CODE_SIZE_MAX), a word per row of modules, column 0 in the top bit. `attempts`: u32 each.
    `symbol`, `strips`: 2 and STRIPS words to work with.
    """
    if stamp != c.STAMP:
        return STALE
    words = frame[c.WORDS]
    for label in range(len(counts)):
        if status[label] != c.DONE:
            continue
        canvas = out[label]
        base = bases[base_of[label]]
        for word in range(words):
            canvas[word] = base[word]
        canvas[words] = _0
        for number in range(counts[label]):
            mark = marks[label, number]
            kind = mark[0]
            if kind == c.RUN:
                _run(canvas, frame, mark, glyphs, metrics, masks)
            elif kind == c.BARS:
                bars(canvas, frame, mark, ean_modules(codes, mark[3], mark[4], symbol), symbol, strips)
            elif kind == c.GUARDS:
                bars(canvas, frame, mark, ean_guards(mark[4], symbol), symbol, strips)
            elif kind == c.STROKE:
                stroke(canvas, frame, mark[3], mark[4], mark[5], mark[6], mark[2])
            elif kind == c.SPRITE:
                sprite = sprite_of[label, mark[3]]
                if sprite >= 0:
                    _sprite(canvas, frame, sprites[sprite], pixels)
            elif kind == c.MATRIX:
                matrix(canvas, frame, mark, sizes[label, mark[3]], matrices[label, mark[3]], strips)
        _attempt(canvas, frame, attempts[label])
        for word in range(words):
            bits = canvas[word]
            canvas[word] = (
                bits >> _56 | bits >> _40 & _BYTE1 | bits >> _24 & _BYTE2 | bits >> _8 & _BYTE3
                | (bits & _BYTE3) << _8 | (bits & _BYTE2) << _24 | (bits & _BYTE1) << _40 | bits << _56
            )  # fmt: skip
    return 0
