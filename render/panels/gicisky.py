"""Gicisky / PICKSMART panels with their makers' firmware, one row per model number. Facts: the model table that Home Assistant's Gicisky
integration uses.

Colours travel as: bit 0 = white (or, `inverted`, black), bit 1 = red, in planes without row padding; with four colours as two bits per
pixel. Some fifty more model numbers are known by name only and are not here: a guessed geometry is a garbled label.

`gicisky-010B` is a picture of 250x128 behind glass of 250x122; which edge the six rows are hidden at is not published, so `glass` is what
is visible either way. The TFT halves its columns and doubles its lines; how its cells lie on the glass is not published either: two pixels
side by side travel as two lines of one column, which shows equal pairs as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from render.panels.types import BW, BWR, BWRY, Box, Ink, Layout, Panel, Wire, bits_for, codes_of, orientation, refresh_of

_NORMAL: Final = {"black": 0, "white": 1, "red": 2}
_INVERTED: Final = {"black": 1, "white": 0, "red": 2}
_FOUR: Final = {"black": 0, "white": 1, "yellow": 2, "red": 3}
_TFT_REFRESH_S: Final = (1, 40)  # an LCD is written at once; the label still wakes up and disconnects first

_PLAIN: Final = (("gicisky", 0),)
_LINES: Final = (("gicisky-lines", 0),)
_QUICK: Final = (("gicisky-quick", 0), ("gicisky-stored", 0))


@dataclass(frozen=True, slots=True)
class _Row:
    model: str  # the model number in hex; a firmware behind it where that changes the encoding
    title: str
    width: int
    height: int
    inches: float
    palette: tuple[Ink, ...] = BWR
    turns: int = 0
    mirror_x: bool = False
    mirror_y: bool = False
    inverted: bool = False
    tft: bool = False
    codecs: tuple[tuple[str, int], ...] = _PLAIN
    glass: Box | None = None


_ROWS: Final = (
    _Row("00A0", 'TFT 2.1" BW', 250, 132, 2.13, BW, turns=1, mirror_x=True, tft=True),
    _Row("000B", 'EPD 2.1" BWR', 212, 104, 2.13, turns=3, mirror_x=True),
    _Row("010B", 'EPD 2.1" BWR', 250, 128, 2.13, turns=3, mirror_x=True, glass=Box(0, 6, 250, 116)),
    _Row("0028", 'EPD 2.9" BW', 296, 128, 2.9, BW, turns=1),
    _Row("0033", 'EPD 2.9" BWR', 296, 128, 2.9, turns=1),
    _Row("002E", 'EPD 2.9" BWRY', 296, 128, 2.9, BWRY, turns=1),
    _Row("022B", 'EPD 3.7" BWR', 240, 416, 3.7, turns=2, mirror_x=True, codecs=_LINES),
    _Row("004E", 'EPD 4.2" BWRY', 400, 300, 4.2, BWRY),
    _Row("004B", 'EPD 4.2" BWR', 400, 300, 4.2),
    _Row("012B", 'EPD 7.5" BWR', 800, 480, 7.5, mirror_y=True, inverted=True, codecs=_QUICK),
    _Row("012B-8101", 'EPD 7.5" BWR, firmware 8101', 800, 480, 7.5, mirror_y=True, inverted=True, codecs=_LINES),
    _Row("008B", 'EPD 10.2" BWR', 960, 640, 10.2, codecs=_QUICK),
)


def rows() -> tuple[Panel, ...]:
    """Every panel of the table."""
    return tuple(_panel(row) for row in _ROWS)


def _panel(row: _Row) -> Panel:
    turns, flip_rows = orientation(row.turns, mirror_x=row.mirror_x, mirror_y=row.mirror_y)
    refresh_s, refresh_max_s = _TFT_REFRESH_S if row.tft else refresh_of(row.palette)
    four = row.palette is BWRY
    return Panel(
        name=f"gicisky-{row.model}",
        title=row.title,
        width=row.width,
        height=row.height,
        ppi=round(math.hypot(row.width, row.height) / row.inches),
        palette=row.palette,
        bits=bits_for(len(row.palette)),
        rotate_buffer=turns,
        codecs=row.codecs,
        wire=Wire(
            layout=Layout.PACKED if four else Layout.PLANES,
            codes=codes_of(row.palette, _FOUR if four else _INVERTED if row.inverted else _NORMAL),
            bits=2 if four else None,
            rows_padded=False,
            flip_rows=flip_rows,
            columns_halved=row.tft,
        ),
        refresh_s=refresh_s,
        refresh_max_s=refresh_max_s,
        glass=row.glass,
        family="gicisky",
    )
