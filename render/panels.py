"""The panels that labels have, as data: adding a panel is adding a row.

Facts: the OpenEPaperLink tag-type table (geometry, colour order, smallest firmware per compression). Panels with packed pixels (ACeP,
Spectra) and segment displays are not in it: bit planes only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from render.errors import UnknownPanel

Rgb = tuple[int, int, int]

ATTEMPT_BITS: Final = 32  # an attempt number is a u32: one label sends less than one picture a second for 100 years
ATTEMPT_HEIGHT_PX: Final = 1


@dataclass(frozen=True, slots=True)
class Ink:
    """One colour of a panel. Its place in the palette is the value that the planes carry."""

    name: str
    rgb: Rgb


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in pixels as a person sees the panel; (x, y) is its top left pixel."""

    x: int
    y: int
    width: int
    height: int

    @property
    def right(self) -> int:
        return self.x + self.width

    @property
    def bottom(self) -> int:
        return self.y + self.height

    def overlaps(self, other: Box) -> bool:
        return self.x < other.right and other.x < self.right and self.y < other.bottom and other.y < self.bottom

    def inside(self, outer: Box) -> bool:
        return outer.x <= self.x and outer.y <= self.y and self.right <= outer.right and self.bottom <= outer.bottom


@dataclass(frozen=True, slots=True)
class Panel:
    """One kind of display.

    `width`, `height`: pixels as a person sees it. `bits`: bit planes in the payload (1 or 2); plane p holds bit p of the palette index.
    `rotate_buffer`: quarter turns counter-clockwise from the seen picture to the buffer (0-3). `codecs`: (codec, smallest label firmware
    that knows it), best first.
    """

    name: str
    title: str
    width: int
    height: int
    ppi: int
    palette: tuple[Ink, ...]
    bits: int
    rotate_buffer: int
    codecs: tuple[tuple[str, int], ...]

    def __post_init__(self) -> None:
        if not 8 <= self.width <= 2048 or not 8 <= self.height <= 2048:
            raise ValueError(f"{self.name}: {self.width}x{self.height} is no panel size")
        if self.bits not in (1, 2) or not 2 <= len(self.palette) <= 1 << self.bits or self.rotate_buffer not in range(4):
            raise ValueError(f"{self.name}: palette, bits and rotation do not fit together")
        if {ink.name for ink in self.palette[:2]} != {"white", "black"}:
            raise ValueError(f"{self.name}: the first two colours must be white and black")

    @property
    def buffer_width(self) -> int:
        return self.height if self.rotate_buffer % 2 else self.width

    @property
    def buffer_height(self) -> int:
        return self.width if self.rotate_buffer % 2 else self.height

    @property
    def row_bytes(self) -> int:
        """Bytes per row of one plane; rows are padded to whole bytes."""
        return (self.buffer_width + 7) // 8

    @property
    def plane_bytes(self) -> int:
        return self.row_bytes * self.buffer_height

    @property
    def area(self) -> Box:
        return Box(0, 0, self.width, self.height)

    @property
    def white(self) -> int:
        return self.ink_index("white")

    @property
    def black(self) -> int:
        return self.ink_index("black")

    @property
    def accent(self) -> int:
        """The colour that catches the eye: red, else yellow, else black."""
        names = [ink.name for ink in self.palette]
        return next((names.index(name) for name in ("red", "yellow") if name in names), self.black)

    def ink_index(self, name: str) -> int:
        """Palette index of an ink by name, with `accent` as a name of its own. ValueError when the panel has no such ink."""
        if name == "accent":
            return self.accent
        return [ink.name for ink in self.palette].index(name)

    def codecs_for(self, firmware: int) -> tuple[str, ...]:
        """The codecs that a label of this panel with this firmware version understands. Raw ones always work."""
        return tuple(codec for codec, firmware_min in self.codecs if firmware >= firmware_min)


def attempt_strip(width: int, height: int) -> Box:
    """The pixels that carry the attempt number: the last 32 pixels of the lowest row. No element may touch them."""
    return Box(width - ATTEMPT_BITS, height - ATTEMPT_HEIGHT_PX, ATTEMPT_BITS, ATTEMPT_HEIGHT_PX)


def panel(name: str) -> Panel:
    """The panel of this name, or UnknownPanel."""
    try:
        return PANELS[name]
    except KeyError:
        raise UnknownPanel(f"unknown panel {name!r}; known: {', '.join(sorted(PANELS))}") from None


WHITE: Final = Ink("white", (255, 255, 255))
BLACK: Final = Ink("black", (0, 0, 0))
RED: Final = Ink("red", (255, 0, 0))
YELLOW: Final = Ink("yellow", (255, 255, 0))
BW: Final = (WHITE, BLACK)
BWR: Final = (WHITE, BLACK, RED)
BWY: Final = (WHITE, BLACK, YELLOW)
BWRY: Final = (WHITE, BLACK, RED, YELLOW)

_RAW: Final = (("raw2", 0), ("raw1", 0))
_NONE: Final = _RAW
_ZLIB: Final = (("zlib", 0x27), *_RAW)
_ZLIB_2: Final = (("zlib", 0x02), *_RAW)
_G5: Final = (("g5", 0x29), *_RAW)

# hardware type, title, width, height, diagonal in inches, quarter turns, palette, codecs
_OEPL_ROWS: Final[tuple[tuple[int, str, int, int, float, int, tuple[Ink, ...], tuple[tuple[str, int], ...]], ...]] = (
    (0x00, 'M2 1.54"', 152, 152, 1.54, 0, BWR, _G5),
    (0x01, 'M2 2.9"', 296, 128, 2.9, 1, BWR, _G5),
    (0x02, 'M2 4.2"', 400, 300, 4.2, 0, BWR, _G5),
    (0x03, 'M2 2.2"', 212, 104, 2.2, 1, BWR, _G5),
    (0x05, 'M2 7.4"', 640, 384, 7.4, 0, BWR, _ZLIB),
    (0x11, 'M2 2.9" (UC8151)', 296, 128, 2.9, 1, BWR, _G5),
    (0x21, 'ST-GM29XXF 2.9" freezer', 296, 128, 2.9, 1, BW, _NONE),
    (0x22, 'M2 2.7"', 264, 176, 2.7, 1, BWR, _G5),
    (0x26, 'M2 7.5" BW', 640, 384, 7.5, 0, BW, _ZLIB),
    (0x27, 'ST-GM29MT1 2.9"', 296, 128, 2.9, 1, BW, _G5),
    (0x28, 'M3 1.6" BWRY', 168, 168, 1.6, 0, BWRY, _ZLIB),
    (0x2E, 'M3 9.7"', 960, 672, 9.7, 2, BWR, _ZLIB),
    (0x2F, 'M3 4.3"', 522, 152, 4.3, 3, BWR, _ZLIB),
    (0x30, 'M3 1.6"', 200, 200, 1.6, 0, BWR, _ZLIB),
    (0x33, 'M3 2.9"', 384, 168, 2.9, 3, BWR, _ZLIB),
    (0x36, 'M3 7.5"', 800, 480, 7.5, 0, BWR, _ZLIB),
    (0x3C, 'M3 4.2" BWY', 400, 300, 4.2, 0, BWY, _ZLIB),
    (0x41, 'M3 5.85" BWR', 792, 272, 5.85, 0, BWR, _ZLIB),
    (0x42, 'M3 5.85" BW', 792, 272, 5.85, 0, BW, _ZLIB),
    (0x45, 'M3 2.2" Lite', 250, 128, 2.2, 3, BWR, _ZLIB),
    (0x4C, 'M3 7.5" BWRY', 800, 480, 7.5, 0, BWRY, _ZLIB),
    (0x50, 'HD150 5.83" BWR', 648, 480, 5.83, 0, BWR, _ZLIB_2),
    (0x54, 'HS BW 2.13"', 256, 128, 2.13, 1, BW, _ZLIB),
    (0x60, 'HS BWY 3.5"', 384, 184, 3.5, 1, BWY, _ZLIB),
    (0x61, 'HS BWR 3.5"', 384, 184, 3.5, 1, BWR, _ZLIB),
    (0x62, 'HS BW 3.5"', 384, 184, 3.5, 1, BW, _ZLIB),
    (0x6D, 'HS BWRY 3.5"', 384, 184, 3.5, 1, BWRY, _ZLIB),
    (0x80, 'Chroma 7.4"', 640, 384, 7.4, 0, BWR, _NONE),
    (0x82, 'Chroma 2.9"', 296, 128, 2.9, 1, BWR, _NONE),
    (0x83, 'Chroma 4.2"', 400, 300, 4.2, 0, BWR, _NONE),
    (0x90, 'M3 4.2" BWRY', 400, 300, 4.2, 0, BWRY, _ZLIB),
    (0xB1, 'Gicisky BLE 2.13" BWR', 250, 128, 2.13, 3, BWR, _NONE),
)


def _catalogue() -> dict[str, Panel]:
    panels: dict[str, Panel] = {}
    for hardware_type, title, width, height, diagonal_inches, turns, palette, codecs in _OEPL_ROWS:
        bits = 1 if len(palette) == 2 else 2
        name = f"oepl-{hardware_type:02X}"
        panels[name] = Panel(
            name=name,
            title=title,
            width=width,
            height=height,
            ppi=round(math.hypot(width, height) / diagonal_inches),
            palette=palette,
            bits=bits,
            rotate_buffer=turns,
            codecs=codecs if bits == 2 else tuple(row for row in codecs if row[0] != "raw2"),
        )
    return panels


PANELS: Final[dict[str, Panel]] = _catalogue()
