"""The shipped fonts: which characters they have, how wide their one-bit glyphs are.

Text is measured and drawn in FreeType's mono mode (hinted to whole pixels), glyph by glyph without kerning, so a text's width is the sum
of its advances. Sizes are pixels per em. A style's font (`regular`, `bold`) stands for a chain of files: each character is taken from the
first one that has it.
"""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

from PIL import ImageFont

from render.errors import MissingGlyph
from render.fields import FONT_FOLDER

FONT_FILES: Final = {
    "regular": "RobotoCondensed-Regular.ttf",
    "bold": "RobotoCondensed-Bold.ttf",
    "hebrew": "NotoSansHebrew-Regular.ttf",
    "hebrew_bold": "NotoSansHebrew-Bold.ttf",
    "arabic": "NotoSansArabic-Regular.ttf",
    "arabic_bold": "NotoSansArabic-Bold.ttf",
    "icons": "Icons.ttf",
}
CHAINS: Final = {
    "regular": ("regular", "hebrew", "arabic"),
    "bold": ("bold", "hebrew_bold", "arabic_bold"),
    "icons": ("icons",),
}
# In units of the em, for Roboto Condensed (tables hhea and OS/2): used to place lines, so that no accent or descender is clipped.
CAPITAL_HEIGHT: Final = 0.711
ASCENT: Final = 0.928
DESCENT: Final = 0.244
LINE_STEP: Final = 1.12  # ascent + descent less the rare case of an accented capital below a descender


@lru_cache(maxsize=512)  # six fonts in every size that labels use
def font(name: str, size: int) -> ImageFont.FreeTypeFont:
    """One font file (a key of FONT_FILES) at one size."""
    return ImageFont.truetype(FONT_FOLDER / FONT_FILES[name], size, layout_engine=ImageFont.Layout.BASIC)


def width(name: str, size: int, text: str) -> int:
    """Advance width of a text in pixels."""
    return sum(_advance(name, size, character) for character in text)


@lru_cache(maxsize=4096)  # names repeat their words, prices their digits
def ink_box(name: str, size: int, text: str) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the black pixels, relative to the pen on the baseline; right and bottom are exclusive."""
    boxes: list[tuple[int, int, int, int]] = []
    for file, part, pen in runs(name, size, text):
        left, top, right, bottom = font(file, size).getbbox(part, mode="1", anchor="ls")
        boxes.append((pen + int(left), int(top), pen + int(right), int(bottom)))
    if not boxes:
        return 0, 0, 0, 0
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def runs(name: str, size: int, text: str) -> list[tuple[str, str, int]]:
    """(font file, text, pen) of the pieces of a text that one file draws; a text of one file is one piece, spaces at its ends included."""
    known = _characters(name)
    if all(ord(character) in known for character in text):
        return [(name, text, 0)] if text else []
    pieces: list[tuple[str, str, int]] = []
    pen = 0
    start = 0
    files = [_file_of(name, character) for character in text]
    for end in range(1, len(text) + 1):
        if end == len(text) or files[end] != files[start]:
            part = text[start:end]
            if part.strip("\u00a0 "):
                pieces.append((files[start], part, pen))
            pen += width(name, size, part)
            start = end
    return pieces


def check(name: str, text: str, item: str) -> None:
    """Raises MissingGlyph, naming the item, for the first character that no font of the chain has."""
    known = _characters(name)
    for character in text:
        if ord(character) not in known and not any(ord(character) in _characters(file) for file in CHAINS.get(name, ())):
            raise MissingGlyph(item, character)


@lru_cache(maxsize=32_768)  # some 500 characters in some 60 sizes
def _advance(name: str, size: int, character: str) -> int:
    return round(font(_file_of(name, character), size).getlength(character, mode="1"))


@lru_cache(maxsize=4096)  # the characters of a store's languages in two styles
def _file_of(name: str, character: str) -> str:
    """The first file of a chain that has a character; where none has it, the first: `check` refuses such a text before it is drawn."""
    return next((file for file in CHAINS.get(name, (name,)) if ord(character) in _characters(file)), name)


@lru_cache(maxsize=len(FONT_FILES))
def _characters(name: str) -> frozenset[int]:
    """Code points of the font's own table (OpenType `cmap`, formats 12 and 4), read from the file: the rasteriser draws a box instead."""
    content = (FONT_FOLDER / FONT_FILES[name]).read_bytes()
    (table_count,) = struct.unpack_from(">H", content, 4)
    tables = {tag: start for tag, _, start, _ in (struct.unpack_from(">4sIII", content, 12 + 16 * place) for place in range(table_count))}
    cmap = tables[b"cmap"]
    (count,) = struct.unpack_from(">H", content, cmap + 2)
    encodings = {
        (platform, encoding): offset for platform, encoding, offset in struct.iter_unpack(">HHI", content[cmap + 4 : cmap + 4 + 8 * count])
    }
    if (3, 10) in encodings:
        return _format_12(content, cmap + encodings[3, 10])
    if (3, 1) in encodings:
        return _format_4(content, cmap + encodings[3, 1])
    raise ValueError(f"{FONT_FILES[name]} has no character table of a known format")


def _format_12(content: bytes, table: int) -> frozenset[int]:
    (groups,) = struct.unpack_from(">I", content, table + 12)
    ranges = (struct.unpack_from(">III", content, table + 16 + 12 * place) for place in range(groups))
    return frozenset(code for first, last, _ in ranges for code in range(first, last + 1))


def _format_4(content: bytes, table: int) -> frozenset[int]:
    (twice,) = struct.unpack_from(">H", content, table + 6)
    ends = struct.unpack_from(f">{twice // 2}H", content, table + 14)
    starts = struct.unpack_from(f">{twice // 2}H", content, table + 16 + twice)
    return frozenset(code for first, last in zip(starts, ends, strict=True) if first < 0xFFFF for code in range(first, last + 1))
