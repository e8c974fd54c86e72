"""Reads a shelf label as a shopper does: the digits of the big price and the bar code, from the pixels that its panel holds.

It knows the shipped font (drawn by Pillow here, digit by digit) and the EAN-13 tables, nothing of the templates' geometry but that the
price is the largest number on the label. So a wrong price field, a wrong picture or a swapped label is seen, whatever the daemon believes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from protocols.oepl_wire import DATA_TYPES
from render.api import panel, payload_to_indices
from render.fields import FONT_FOLDER

Bits = npt.NDArray[np.bool_]

FONT_FILE: Final = FONT_FOLDER / "RobotoCondensed-Bold.ttf"
SIZES: Final = range(10, 100)  # pixels per em: from the cents of the smallest price to the whole digits of the largest
PRICE_SIZE_MIN: Final = 20  # whole digits are at least this large; other numbers in bold are smaller
CODECS: Final = {number: codec for codec, number in DATA_TYPES.items()}
LEVEL_PX: Final = 2  # round digits stand out of their line by a pixel
EAN_MODULES: Final = 95
_LEFT_ODD: Final = ("0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011")
_RIGHT: Final = {"".join("10"[int(bit)] for bit in code): digit for digit, code in enumerate(_LEFT_ODD)}
_LEFT: Final = {code: (digit, "L") for digit, code in enumerate(_LEFT_ODD)} | {code[::-1]: (digit, "G") for code, digit in _RIGHT.items()}
_FIRST: Final = ("LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL")


class Unreadable(Exception):
    """There are large digits, but they do not make a price. What the label promises is not known, so the run proves nothing."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a label says. None: it says no such thing ("unassigned", "see staff")."""

    gtin: str | None
    price_minor: int | None


@dataclass(frozen=True, slots=True)
class _Glyph:
    character: str
    sizes: frozenset[int]  # pixels per em at which the font draws it just so
    left: int
    bottom: int
    height: int


def read_payload(panel_name: str, data_type: int, payload: bytes) -> Reading:
    """The reading of a panel that holds this payload. Raises render's PayloadError for no picture, Unreadable."""
    return read(payload_to_indices(panel(panel_name), CODECS[data_type], payload), panel(panel_name).white)


def read(indices: npt.NDArray[np.uint8], white: int) -> Reading:
    """The reading of a picture of palette indices (height, width), attempt pixels included. Raises Unreadable."""
    return Reading(_bar_code(indices != white), _price_minor(indices, white))


# -- the price -------------------------------------------------------------------------------------------------------------


def _price_minor(indices: npt.NDArray[np.uint8], white: int) -> int | None:
    """The digits of the largest size, and the raised ones of about half that size right of them: the cents."""
    glyphs = [glyph for ink in np.unique(indices) if ink != white for glyph in _glyphs(indices == ink)]
    glyphs.sort(key=lambda glyph: glyph.left)
    largest = max((glyph.sizes for glyph in glyphs), key=max, default=frozenset[int]())
    if not largest or max(largest) < PRICE_SIZE_MIN:
        return None
    # digits differ in the sizes that look alike: of those that fit the largest one, the size that most digits have
    size = max(sorted(largest), key=lambda size: sum(size in glyph.sizes for glyph in glyphs))
    whole = [glyph for glyph in glyphs if size in glyph.sizes]
    bottom, top, right = whole[0].bottom, whole[0].bottom - whole[0].height, whole[-1].left
    cents = [
        glyph
        for glyph in glyphs
        if glyph.left > right and abs(glyph.bottom - glyph.height - top) <= LEVEL_PX and 0.4 * size < min(glyph.sizes) < 0.65 * size
    ]
    if len(cents) not in (0, 2, 3) or any(abs(glyph.bottom - bottom) > LEVEL_PX for glyph in whole):
        raise Unreadable(f"digits {_text(whole)} with cents {_text(cents)}")
    return int(_text((*whole, *cents)))


def _text(glyphs: Sequence[_Glyph]) -> str:
    return "".join(glyph.character for glyph in glyphs)


def _glyphs(ink: Bits) -> list[_Glyph]:
    """Every connected piece of ink that is a digit of the font in some size."""
    found: list[_Glyph] = []
    shapes = _shapes()
    for left, top, piece in _pieces(ink):
        known = shapes.get((*piece.shape, np.packbits(piece).tobytes()))
        if known is not None:
            found.append(_Glyph(*known, left, top + piece.shape[0], piece.shape[0]))
    return found


def _pieces(ink: Bits) -> list[tuple[int, int, Bits]]:
    """(left, top, own pixels in their box) of each 8-connected piece, as runs of rows joined by union-find."""
    parents: list[int] = []
    runs: list[tuple[int, int, int, int]] = []  # row, first, end, name

    def root(name: int) -> int:
        while parents[name] != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    above: list[tuple[int, int, int, int]] = []
    for row, pixels in enumerate(ink):
        edges = np.flatnonzero(np.diff(np.concatenate(([False], pixels, [False])).astype(np.int8)))
        current: list[tuple[int, int, int, int]] = []
        for first, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            touching = [name for _, other_first, other_end, name in above if other_first <= end and first <= other_end]
            if touching:
                name = root(touching[0])
                for other in touching[1:]:
                    parents[root(other)] = name
            else:
                name = len(parents)
                parents.append(name)
            current.append((row, first, end, name))
        runs += current
        above = current
    groups: dict[int, list[tuple[int, int, int, int]]] = {}
    for run in runs:
        groups.setdefault(root(run[3]), []).append(run)
    pieces: list[tuple[int, int, Bits]] = []
    for group in groups.values():
        left, right = min(run[1] for run in group), max(run[2] for run in group)
        top, bottom = group[0][0], max(run[0] for run in group) + 1
        piece = np.zeros((bottom - top, right - left), np.bool_)
        for row, first, end, _ in group:
            piece[row - top, first - left : end - left] = True
        pieces.append((left, top, piece))
    return pieces


@lru_cache(maxsize=1)
def _shapes() -> dict[tuple[int, int, bytes], tuple[str, frozenset[int]]]:
    """(height, width, packed pixels) of every digit in every size -> (digit, the sizes that look so)."""
    shapes: dict[tuple[int, int, bytes], tuple[str, frozenset[int]]] = {}
    for size in SIZES:
        font = ImageFont.truetype(FONT_FILE, size, layout_engine=ImageFont.Layout.BASIC)
        for digit in "0123456789":
            image = Image.new("1", (2 * size, 2 * size))
            ImageDraw.Draw(image).text((size // 2, size // 4), digit, fill=1, font=font)
            shape = np.asarray(image.crop(image.getbbox()), np.bool_)
            key = (*shape.shape, np.packbits(shape).tobytes())
            known_digit, sizes = shapes.get(key, (digit, frozenset[int]()))
            assert known_digit == digit
            shapes[key] = (digit, sizes | {size})
    return shapes


# -- the bar code ----------------------------------------------------------------------------------------------------------


def _bar_code(ink: Bits) -> str | None:
    """The EAN-13 that most rows agree on, one pixel per module; None where there is none."""
    votes: dict[str, int] = {}
    rows = Counter(row.tobytes() for row in np.where(ink, b"1", b"0"))  # bars make many equal ones
    for row, count in rows.items():
        text = row.decode("ascii")
        at = text.find("101")
        while 0 <= at <= len(text) - EAN_MODULES:
            code = _ean13(text[at : at + EAN_MODULES])
            if code is not None:
                votes[code] = votes.get(code, 0) + count
                break
            at = text.find("101", at + 1)
    return max(votes, key=lambda code: votes[code]) if votes else None


def _ean13(modules: str) -> str | None:
    """The digits of these 95 modules, their check digit verified; None where they are no EAN-13."""
    if modules[:3] != "101" or modules[45:50] != "01010" or modules[92:] != "101":
        return None
    left = [_LEFT.get(modules[start : start + 7]) for start in range(3, 45, 7)]
    right = [_RIGHT.get(modules[start : start + 7]) for start in range(50, 92, 7)]
    known_left = [each for each in left if each is not None]
    parity = "".join(each[1] for each in known_left)
    if len(known_left) != 6 or None in right or parity not in _FIRST:
        return None
    digits = [_FIRST.index(parity), *(each[0] for each in known_left), *(each for each in right if each is not None)]
    if sum(digit * (1, 3)[place % 2] for place, digit in enumerate(digits)) % 10:
        return None
    return "".join(map(str, digits))
