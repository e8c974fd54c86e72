"""OpenEPaperLink's panels, one row per label type. Facts: its tag-type table.

The first letter pair of a name is the hardware number that a label states. Codes are the table's colour order. Types with three and four
bits per pixel are driven by an ESP32 and take one uncompressed payload.

`oepl-B1` is a picture of 250x128 behind glass of 250x122. The table does not say at which edge the six rows are hidden, so `glass` is what
is visible either way; the attempt number stays in the lowest row, which no element uses, seen or not.
"""

from __future__ import annotations

import math
from typing import Final

from render.panels.types import BW, BWR, BWRY, BWY, COLOURS_7, PLAIN, Box, Ink, Layout, Panel, Wire, bits_for, codes_of, refresh_of

_Codecs = tuple[tuple[str, int], ...]

_RAW: Final[_Codecs] = (("raw2", 0), ("raw1", 0))
_NONE: Final = _RAW
_ZLIB: Final[_Codecs] = (("zlib", 0x27), *_RAW)
_ZLIB_2: Final[_Codecs] = (("zlib", 0x02), *_RAW)
_G5: Final[_Codecs] = (("g5", 0x29), *_RAW)

# hardware type, title, width, height, diagonal in inches, quarter turns, palette, codecs
_PLANES: Final[tuple[tuple[int, str, int, int, float, int, tuple[Ink, ...], _Codecs], ...]] = (
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
_GLASS: Final = {0xB1: Box(0, 6, 250, 116)}

_ACEP: Final = {"black": 0, "white": 1, "green": 2, "blue": 3, "red": 4, "yellow": 5, "orange": 6}
_SPECTRA: Final = {"black": 0, "white": 1, "yellow": 2, "red": 3, "orange": 4, "blue": 5, "green": 6}

# hardware type, title, width, height, diagonal in inches, bits per pixel, colour codes
_PACKED: Final = (
    (0xC1, 'ACeP 4.01"', 640, 400, 4.01, 3, _ACEP),
    (0xC2, 'Spectra 7.3"', 800, 480, 7.3, 4, _SPECTRA),
)

REFUSED: Final = {"oepl-F0": "SLT-EM007 shows segments, not pixels: it takes ten characters and icons, no picture"}


def rows() -> tuple[Panel, ...]:
    """Every panel of the table."""
    return (*(_planes(*row) for row in _PLANES), *(_packed(*row) for row in _PACKED))


def _planes(
    hardware_type: int, title: str, width: int, height: int, inches: float, turns: int, palette: tuple[Ink, ...], codecs: _Codecs
) -> Panel:
    bits = bits_for(len(palette))
    refresh_s, refresh_max_s = refresh_of(palette)
    return Panel(
        name=f"oepl-{hardware_type:02X}",
        title=title,
        width=width,
        height=height,
        ppi=round(math.hypot(width, height) / inches),
        palette=palette,
        bits=bits,
        rotate_buffer=turns,
        codecs=codecs if bits == 2 else tuple(row for row in codecs if row[0] != "raw2"),
        wire=PLAIN,
        refresh_s=refresh_s,
        refresh_max_s=refresh_max_s,
        glass=_GLASS.get(hardware_type),
    )


def _packed(hardware_type: int, title: str, width: int, height: int, inches: float, bits: int, codes: dict[str, int]) -> Panel:
    refresh_s, refresh_max_s = refresh_of(COLOURS_7)
    return Panel(
        name=f"oepl-{hardware_type:02X}",
        title=title,
        width=width,
        height=height,
        ppi=round(math.hypot(width, height) / inches),
        palette=COLOURS_7,
        bits=bits_for(len(COLOURS_7)),
        rotate_buffer=0,
        codecs=((f"raw{bits}", 0),),
        wire=Wire(Layout.PACKED, codes_of(COLOURS_7, codes), bits, rows_padded=False),
        refresh_s=refresh_s,
        refresh_max_s=refresh_max_s,
    )
