"""The shipped fonts: which characters they have, how wide their one-bit glyphs are.

Text is measured and drawn in FreeType's mono mode (auto-hinted to whole pixels), glyph by glyph without kerning, so a text's width is the
sum of its advances. Sizes are pixels per em.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from PIL import ImageFont

from render.errors import MissingGlyph
from render.fields import FONT_FOLDER

FONT_FILES: Final = {"regular": "RobotoCondensed-Regular.ttf", "bold": "RobotoCondensed-Bold.ttf"}
# In units of the em, for both files (tables hhea and OS/2): used to place lines, so that no accent or descender is clipped.
CAPITAL_HEIGHT: Final = 0.711
ASCENT: Final = 0.928
DESCENT: Final = 0.244
LINE_STEP: Final = 1.12  # ascent + descent less the rare case of an accented capital below a descender


@lru_cache(maxsize=256)  # two fonts in every size that labels use
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(FONT_FOLDER / FONT_FILES[name], size, layout_engine=ImageFont.Layout.BASIC)


def width(name: str, size: int, text: str) -> int:
    """Advance width of a text in pixels."""
    return sum(_advance(name, size, character) for character in text)


@lru_cache(maxsize=4096)  # names repeat their words, prices their digits
def ink_box(name: str, size: int, text: str) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the black pixels, relative to the pen on the baseline; right and bottom are exclusive."""
    left, top, right, bottom = font(name, size).getbbox(text, mode="1", anchor="ls")
    return int(left), int(top), int(right), int(bottom)


def check(name: str, text: str, item: str) -> None:
    """Raises MissingGlyph, naming the item, for the first character that the font lacks."""
    known = _characters(name)
    for character in text:
        if ord(character) not in known:
            raise MissingGlyph(item, character)


@lru_cache(maxsize=32_768)  # some 500 characters in some 60 sizes
def _advance(name: str, size: int, character: str) -> int:
    return round(font(name, size).getlength(character, mode="1"))


@lru_cache(maxsize=len(FONT_FILES))
def _characters(name: str) -> frozenset[int]:
    """Code points of the font's own table (OpenType `cmap` format 12), read from the file: the rasteriser draws a box instead."""
    content = (FONT_FOLDER / FONT_FILES[name]).read_bytes()
    (table_count,) = struct.unpack_from(">H", content, 4)
    tables = {tag: start for tag, _, start, _ in (struct.unpack_from(">4sIII", content, 12 + 16 * place) for place in range(table_count))}
    cmap = tables[b"cmap"]
    (count,) = struct.unpack_from(">H", content, cmap + 2)
    for platform, encoding, offset in (struct.unpack_from(">HHI", content, cmap + 4 + 8 * place) for place in range(count)):
        if (platform, encoding) == (3, 10):
            (groups,) = struct.unpack_from(">I", content, cmap + offset + 12)
            ranges = (struct.unpack_from(">III", content, cmap + offset + 16 + 12 * place) for place in range(groups))
            return frozenset(code for first, last, _ in ranges for code in range(first, last + 1))
    raise ValueError(f"{FONT_FILES[name]} has no format 12 character table")
