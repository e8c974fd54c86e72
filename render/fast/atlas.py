"""Glyphs of the shipped fonts as packed bit masks with their metrics, turned the way a panel's buffer is turned.

FreeType's mono rasteriser (through Pillow) draws every glyph once per font and size, at the first label that needs it; kernels then blit
the masks. What was rasterised can be kept in a file, so that the next process starts with it: glyphs cost some 40 us each.
"""

from __future__ import annotations

import hashlib
import io
import unicodedata
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import PIL
from PIL import Image, ImageDraw, features

from render import glyphs
from render.errors import MissingGlyph
from render.fast import columns as c
from render.fields import assets_digest
from render.text import ELLIPSIS

Bytes = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]
Words = npt.NDArray[np.uint64]

_RULER: Final = "H"  # stands on the baseline in every size, and its bitmap is as high as its box
_ANY_SIZE: Final = 16
_LEFTWARD: Final = ("R", "AL", "AN")  # bidirectional classes (Unicode annex 9)
_STRIKES_FIRST, _SLOTS_FIRST, _MASKS_FIRST = 32, 192, 4096  # all double when full


class Atlas:
    """Glyphs for panels of one rotation. Grows; arrays are replaced when they do, so read them anew for each batch.

    `slots[code point]`: the character's column, or UNLOADED. `metrics[strike, slot]`: see columns.py. `masks`: rows of 64-bit words, the
    most significant bit leftmost. A strike is one font in one size. Not for use from several threads.
    """

    def __init__(self, turns: int) -> None:
        self.turns = turns
        self.strikes: list[tuple[str, int]] = []
        self.slots = np.full(c.CODES, c.UNLOADED, np.int32)
        self.metrics = np.zeros((_STRIKES_FIRST, _SLOTS_FIRST, c.METRICS), np.int32)
        self.metrics[:, :, c.ADVANCE] = c.UNLOADED
        self.masks = np.zeros(_MASKS_FIRST, np.uint64)
        self.loaded = 0
        self._characters: list[str] = []
        self._numbers: dict[tuple[str, int], int] = {}
        self._mask_words = 0
        self._slot(ELLIPSIS)
        self._slot("0")

    def strike(self, font: str, size: int) -> int:
        """Row of a font in a size in `metrics`."""
        number = self._numbers.setdefault((font, size), len(self.strikes))
        if number == len(self.strikes):
            self.strikes.append((font, size))
            if number == len(self.metrics):
                self._grow(2 * number, self.metrics.shape[1])
            self.load([number], ELLIPSIS + "0")
        return number

    def load(self, strikes: Iterable[int], text: Iterable[str]) -> None:
        """Have metrics and masks of these characters in these strikes."""
        slots = {character: self._slot(character) for character in text if ord(character) < c.CODES}
        for strike in strikes:
            missing = [character for character, slot in slots.items() if self.metrics[strike, slot, c.ADVANCE] == c.UNLOADED]
            if missing:
                self._rasterise(strike, missing)

    def load_some(self, groups: Sequence[Sequence[int]], text: Iterable[str], count: int) -> None:
        """Load these characters in the first `count` groups of strikes that lack one."""
        characters = list(text)
        for strikes in groups:
            before = self.loaded
            self.load(strikes, characters)
            count -= self.loaded > before
            if not count:
                return

    def save(self, folder: Path) -> None:
        """Keep what is loaded in the folder. Raises OSError where it cannot be written."""
        content = io.BytesIO()
        count, slots = len(self.strikes), len(self._characters)
        np.savez(
            content,
            key=np.frombuffer(_key(self.turns), np.uint8),
            strikes=np.array([(list(glyphs.FONT_FILES).index(font), size) for font, size in self.strikes], np.int32).reshape(-1, 2),
            characters=np.array([ord(character) for character in self._characters], np.int32),
            metrics=self.metrics[:count, :slots],
            masks=self.masks[: self._mask_words],
        )
        data = content.getvalue()
        # a name of its own until it is whole: another process may be reading or writing the file
        draft = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.draft"
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(data)
        draft.replace(_file(folder, self.turns))

    @classmethod
    def kept(cls, turns: int, folder: Path) -> Atlas:
        """What `save` kept, or an empty atlas where there is none, it cannot be read or comes from other fonts or another rasteriser."""
        atlas = cls(turns)
        try:
            content = io.BytesIO(_file(folder, turns).read_bytes())
            with np.load(content, allow_pickle=False) as archive:
                if archive["key"].tobytes() == _key(turns):
                    atlas._take(archive["strikes"], archive["characters"], archive["metrics"], archive["masks"])
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
            return cls(turns)
        return atlas

    def _take(self, strikes: Int32, characters: Int32, metrics: Int32, masks: Words) -> None:
        """Fill an empty atlas. ValueError when the arrays do not belong together: a kernel would read outside of them."""
        reach = metrics[:, :, c.MASK] + metrics[:, :, c.MASK_ROWS] * metrics[:, :, c.MASK_WORDS]
        fonts = list(glyphs.FONT_FILES)
        if (
            metrics.shape != (len(strikes), len(characters), c.METRICS)
            or int(reach.max(initial=0)) > len(masks)
            or metrics.dtype != np.int32
        ):
            raise ValueError("not an atlas")
        for character in characters.tolist():
            self._slot(chr(character))
        if [ord(character) for character in self._characters] != characters.tolist():
            raise ValueError("not an atlas")
        self.strikes = [(fonts[font], size) for font, size in strikes.tolist()]
        self._numbers = {strike: number for number, strike in enumerate(self.strikes)}
        self._grow(max(len(strikes), _STRIKES_FIRST), self.metrics.shape[1])
        self.metrics[: len(strikes), : len(characters)] = metrics
        self._mask_words = len(masks)
        self.masks = np.concatenate([masks, np.zeros(max(len(masks), _MASKS_FIRST), np.uint64)])
        self.loaded = int((metrics[:, :, c.ADVANCE] != c.UNLOADED).sum())

    def _slot(self, character: str) -> int:
        slot = int(self.slots[ord(character)])
        if slot == c.UNLOADED:
            slot = len(self._characters)
            self._characters.append(character)
            if slot == self.metrics.shape[1]:
                self._grow(self.metrics.shape[0], 2 * slot)
            self.slots[ord(character)] = slot
        return slot

    def _grow(self, strikes: int, slots: int) -> None:
        grown = np.zeros((strikes, slots, c.METRICS), np.int32)
        grown[:, :, c.ADVANCE] = c.UNLOADED
        rows, columns = min(strikes, self.metrics.shape[0]), min(slots, self.metrics.shape[1])
        grown[:rows, :columns] = self.metrics[:rows, :columns]
        self.metrics = grown

    def _rasterise(self, strike: int, characters: list[str]) -> None:
        name, size = self.strikes[strike]
        probes = [_Probe.of(name, size, character) for character in characters if _is_drawable(name, character)]
        high = min((probe.top for probe in probes), default=0)
        low = max((probe.bottom for probe in probes), default=0)
        sheet = Image.new("L", (sum(probe.width for probe in probes) + 1, low - high + 1))
        pen = ImageDraw.Draw(sheet)
        pen.fontmode = "1"
        x = 0
        for probe in probes:
            probe.draw(pen, x, -high)
            x += probe.width
        pixels = np.asarray(sheet)
        for character in characters:
            self.metrics[strike, self.slots[ord(character)]] = 0
            self.metrics[strike, self.slots[ord(character)], c.ADVANCE] = c.UNDRAWABLE
        x = 0
        for probe in probes:
            self._add(self.metrics[strike, self.slots[ord(probe.character)]], probe, pixels[:, x : x + probe.width], high)
            x += probe.width
        self.loaded += len(characters)

    def _add(self, row: Int32, probe: _Probe, pixels: Bytes, high: int) -> None:
        """Fill a glyph's metrics and append its mask, from the picture of its probe whose uppermost row is `high`."""
        left, top, right, _ = probe.box
        raised = -1 - high - _last_inked_row(pixels[:, probe.ruler_x :])  # how far Pillow moved the probe's text up
        inside = pixels[:, probe.glyph_x + left : probe.glyph_x + right]
        alone = pixels[:, : right - left]
        inked_rows, inked_columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(inked_rows):
            if top == left == 0:  # a space; anything else without ink is the reference's to place
                row[c.ADVANCE], row[c.LEFT : c.BOTTOM + 1] = probe.advance, probe.box
            return
        y, x = int(inked_rows[0]), int(inked_columns[0])
        height, width = int(inked_rows[-1]) + 1 - y, int(inked_columns[-1]) + 1 - x
        ink_top, ink_left = y + high + raised, x + left
        # the box is where the alone glyph's bitmap begins; how far its ink is from where it should be tells where the bitmap should
        row[c.BITMAP_TOP] = -top - (ink_top - (int(np.flatnonzero(alone.any(axis=1))[0]) + high))
        row[c.BITMAP_LEFT] = left + (ink_left - (int(np.flatnonzero(alone.any(axis=0))[0]) + left))
        row[c.ADVANCE], row[c.LEFT : c.BOTTOM + 1] = probe.advance, probe.box
        turned = np.rot90(inside[y : y + height, x : x + width], self.turns)
        words = packed_rows(turned)
        if self._mask_words + words.size > len(self.masks):
            self.masks = np.concatenate([self.masks, np.zeros(len(self.masks) + words.size, np.uint64)])
        self.masks[self._mask_words : self._mask_words + words.size] = words.reshape(-1)
        row[c.MASK], row[c.MASK_ROWS], row[c.MASK_WORDS] = self._mask_words, words.shape[0], words.shape[1]
        # from the pen's corner in the buffer, which is the pixel's own corner that becomes its top left one by turning
        row[c.ROW] = (ink_top, -ink_left - width, -ink_top - height, ink_left)[self.turns]
        row[c.COLUMN] = (ink_left, ink_top, -ink_left - width, -ink_top - height)[self.turns]
        row[c.MASK_WIDTH] = turned.shape[1]
        self._mask_words += words.size


@dataclass(frozen=True, slots=True)
class _Probe:
    """A character to be drawn twice: alone, and apart from everything before a letter whose place is known, the ruler.

    Measures are pixels from the left edge of the probe's picture: first the glyph alone in its box, then `text`, whose glyph's pen is at
    glyph_x and whose ruler begins at ruler_x.
    """

    name: str
    size: int
    character: str
    text: str
    box: tuple[int, int, int, int]
    advance: int
    glyph_x: int
    ruler_x: int
    width: int
    top: int
    bottom: int

    @classmethod
    def of(cls, name: str, size: int, character: str) -> _Probe:
        box, advance = glyphs.ink_box(name, size, character), glyphs.width(name, size, character)
        space = max(1, glyphs.width(name, size, " "))
        gap = 1 + max(-box[0], box[2] - advance, 0) // space
        ruler = glyphs.ink_box(name, size, _RULER)
        text_x = box[2] - box[0]
        ruler_x = text_x + 2 * gap * space + advance
        text = f"{' ' * gap}{character}{' ' * gap}{_RULER}"
        return cls(
            name, size, character, text, box, advance, text_x + gap * space, ruler_x, ruler_x + ruler[2], min(box[1], ruler[1]), box[3]
        )

    def draw(self, pen: ImageDraw.ImageDraw, x: int, baseline: int) -> None:
        font = glyphs.font(self.name, self.size)
        pen.text((x - self.box[0], baseline), self.character, fill=1, font=font, anchor="ls")
        pen.text((x + self.box[2] - self.box[0], baseline), self.text, fill=1, font=font, anchor="ls")


def _last_inked_row(pixels: Bytes) -> int:
    return int(np.flatnonzero(pixels.any(axis=1))[-1])


def packed_rows(pixels: Bytes) -> Words:
    """Rows of 0 and 1 as 64-bit words, the first pixel in the most significant bit."""
    row_bytes = np.packbits(pixels, axis=1)
    padded = np.zeros((pixels.shape[0], -(-pixels.shape[1] // 64) * 8), np.uint8)
    padded[:, : row_bytes.shape[1]] = row_bytes
    return padded.view(">u8").astype(np.uint64)


def _is_drawable(font: str, character: str) -> bool:
    if unicodedata.combining(character) or unicodedata.bidirectional(character) in _LEFTWARD:
        return False
    try:
        glyphs.check(font, character, "")
    except MissingGlyph:
        return False
    return all(file == font for file, _, _ in glyphs.runs(font, _ANY_SIZE, character))


def _file(folder: Path, turns: int) -> Path:
    return folder / f"glyphs-{turns}.npz"


def _key(turns: int) -> bytes:
    """Differs when the same characters might look different."""
    versions = f"{c.STAMP} {turns} {assets_digest()} pillow {PIL.__version__} freetype {features.version('freetype2')}"
    return hashlib.sha256(versions.encode()).digest()
