"""What the numbers in the arrays of the fast path mean: columns of rows, kinds and states.

Machine code has these constants in it, and numba compiles anew only when the kernel's own file changes. So kernels are told the digest of
all files that they are made of (STAMP) and answer STALE when they were compiled from others.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Final

_SOURCES: Final = ("columns.py", "fit.py", "press.py", "shapes.py", "typeset.py")
STAMP: Final = zlib.crc32(b"".join((Path(__file__).parent / name).read_bytes() for name in _SOURCES)) >> 1  # fits an i32

# `metrics[strike, slot]`: a glyph. LEFT to BOTTOM: what `glyphs.ink_box` says of the character alone; a text's box is the union of its
# characters' boxes, each at its pen. MASK: first word in the masks, then rows, words per row and columns. ROW, COLUMN: the mask's place
# in buffer rows and columns from the pen.
# Pillow puts a text's highest bitmap row at the top of its box and its leftmost bitmap column at the box's left edge. A box comes from
# outlines, so it may be a pixel larger than the bitmaps, and then the whole text moves by that pixel. BITMAP_TOP (rows above the
# baseline, at least 0) and BITMAP_LEFT (columns right of the pen, at most 0) are there to do the same.
ADVANCE, LEFT, TOP, RIGHT, BOTTOM, MASK, MASK_ROWS, MASK_WORDS, MASK_WIDTH, ROW, COLUMN, BITMAP_TOP, BITMAP_LEFT = range(13)
METRICS: Final = 16  # of 4 bytes: a glyph has a cache line

# What ADVANCE holds for a glyph that has no metrics yet, and for a character that this font does not draw alone: it has no glyph, joins
# the letter before it, or runs from right to left. Labels with the latter take the reference path, which knows what to do or complain of.
UNLOADED: Final = -1
UNDRAWABLE: Final = -2
CODES: Final = 0x10000  # code points with a slot: the Basic Multilingual Plane
ELLIPSIS_SLOT: Final = 0
ZERO_SLOT: Final = 1  # the digit whose height is that of all

# An op: an element that differs from label to label. TEXT: first column of the label's texts. STEP, STEPS: a range of `steps`, largest
# size first (for a matrix code: quiet zone in modules, pixels per module or 0 for as large as fits). INK, STRIKE_INK: planes to set in
# bits 0-7, planes to clear in bits 8-15, palette index from bit 16 on. WHEN, WHEN_NOT: conditions that must and must not hold. EXTRA: a
# sprite's or matrix code's column, 1 for a price whose sign stands first, pixels per module of an EAN.
KIND, TEXT, STEP, STEPS, X, Y, WIDTH, HEIGHT, LINES, ALIGN, VERTICAL, INK, WHEN, WHEN_NOT, EXTRA, STRIKE_INK = range(16)
OP: Final = 16
TEXT_OP, PRICE_OP, WAS_PRICE_OP, EAN_OP, SPRITE_OP, MATRIX_OP = range(6)
ALIGN_LEFT, ALIGN_CENTER, ALIGN_RIGHT = range(3)
VERTICAL_TOP, VERTICAL_MIDDLE, VERTICAL_BOTTOM = range(3)

# A step: a style at one size. The last three are for prices.
STRIKE, LINE_STEP, CAPITAL, ASCENT, DESCENT, CENTS_STRIKE, SIGN_STRIKE, GAP = range(8)
STEP_COLUMNS: Final = 8

# A mark: its kind, the op it comes from, its ink, then
# RUN: first and last + 1 place in the texts, 1 when "…" follows, strike, x, baseline, how far Pillow moves it right and down
# STROKE: x0, y0, x1, y1
# BARS: first place in the texts (the digits), number of digits, x, y, pixels per module, height; GUARDS the same for the guard bars
# SPRITE: the label's column of sprites
# MATRIX: the label's column of matrix codes, x, y, pixels per module
MARK_KIND, MARK_OP, MARK_INK, MARK_A = range(4)
MARKS: Final = 11

# A line of text while it is placed: first and last + 1 place, 1 when "…" follows, its ink box, how far Pillow moves it
LINE_FIRST, LINE_LAST, LINE_ELLIPSIS, LINE_LEFT, LINE_TOP, LINE_RIGHT, LINE_BOTTOM, LINE_MOVED_X, LINE_MOVED_Y = range(9)
LINE: Final = 9
RUN, STROKE, BARS, GUARDS, SPRITE, MATRIX = range(6)

# Status of a label
DONE, GLYPH_MISSING, REFERENCE = range(3)

# What `frame` says of a panel. The planes of a label are one string of bits, most significant first: PLANE_BITS per plane, ROW_BITS per row
# of the buffer, in WORDS words. BLACK, WHITE: inks as in an op.
TURNS, PANEL_WIDTH, PANEL_HEIGHT, PLANES, ROW_BITS, PLANE_BITS, WORDS, BLACK, WHITE = range(9)
FRAME: Final = 9

# A sprite: first word of its mask, rows, words per row, first bit in a plane. Behind the mask's words come those of each plane.
SPRITE_MASK, SPRITE_ROWS, SPRITE_WORDS, SPRITE_BIT = range(4)
SPRITES: Final = 4

CODE_SIZE_MAX: Final = 57  # modules per side of a matrix code: QR version 10
MODULE_PX_MAX: Final = 16  # of templates.py
STRIPS: Final = CODE_SIZE_MAX * -(-CODE_SIZE_MAX * MODULE_PX_MAX // 64)  # words for all rows of the largest matrix code
