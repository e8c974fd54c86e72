"""Panels behind base stations that speak MQTT: eTag eStation and KKM KGateway, one row per model. Facts: the makers' manual and demos.

eStation: the first two digits of a label's number are its model code; the station takes pixels in colour, exactly the model's size, and
makes planes itself. KKM: planes with bit 0 = not black and bit 1 = red; 2.9" column by column from the right edge, 4.2" row by row.
The tables give no diagonals: `ppi` is that of the usual glass of each size.
"""

from __future__ import annotations

from typing import Final

from render.panels.types import BW, BWR, BWRY, SPECTRA_6, Ink, Layout, Panel, Wire, bits_for, codes_of, orientation, refresh_of, usual_ppi

# model code, width, height, palette
_ESTATION: Final[tuple[tuple[str, int, int, tuple[Ink, ...]], ...]] = (
    ("36", 250, 122, BWR),
    ("3A", 296, 152, BWR),
    ("3D", 296, 128, BWR),
    ("3F", 296, 128, BW),
    ("40", 400, 300, BWR),
    ("44", 800, 480, BWR),
    ("64", 960, 640, BWR),
    ("80", 200, 200, BWRY),
    ("81", 250, 122, BWRY),
    ("82", 296, 152, BWRY),
    ("84", 296, 128, BWRY),
    ("87", 400, 300, BWRY),
    ("89", 800, 480, BWRY),
    ("A0", 800, 480, SPECTRA_6),
    ("A1", 1600, 1200, SPECTRA_6),
)

# name, title, width, height, palette, columns from the right
_KKM: Final[tuple[tuple[str, str, int, int, tuple[Ink, ...], bool], ...]] = (
    ("29-bw", 'KKM 2.9" BW', 296, 128, BW, True),
    ("29-bwr", 'KKM 2.9" BWR', 296, 128, BWR, True),
    ("42-bw", 'KKM 4.2" BW', 400, 300, BW, False),
    ("42-bwr", 'KKM 4.2" BWR', 400, 300, BWR, False),
)
_COLOURS: Final = {BW: "BW", BWR: "BWR", BWRY: "BWRY", SPECTRA_6: "6 colours"}
_KKM_CODES: Final = {"black": 0, "white": 1, "red": 3}

REFUSED: Final = {
    "estation-D0": "the powered 2.4\" TFT takes another kind of task (taskDSL), whose picture format is not published",
}  # fmt: skip


def rows() -> tuple[Panel, ...]:
    """Every panel of both tables."""
    return (*(_estation(*row) for row in _ESTATION), *(_kkm(*row) for row in _KKM))


def _estation(code: str, width: int, height: int, palette: tuple[Ink, ...]) -> Panel:
    refresh_s, refresh_max_s = refresh_of(palette)
    return Panel(
        name=f"estation-{code}",
        title=f"eTag {code} {width}x{height} {_COLOURS[palette]}",
        width=width,
        height=height,
        ppi=usual_ppi(width, height),
        palette=palette,
        bits=bits_for(len(palette)),
        rotate_buffer=0,
        codecs=(("estation-gzip", 0), ("estation-raw", 0)),
        wire=Wire(Layout.BGR24),
        refresh_s=refresh_s,
        refresh_max_s=refresh_max_s,
        family="estation",
    )


def _kkm(name: str, title: str, width: int, height: int, palette: tuple[Ink, ...], by_columns: bool) -> Panel:
    # columns from the right edge, each read downwards, is the picture turned once to the left and read row by row
    turns, flip_rows = orientation(mirror_x=True, columns=True) if by_columns else orientation()
    refresh_s, refresh_max_s = refresh_of(palette)
    return Panel(
        name=f"kkm-{name}",
        title=title,
        width=width,
        height=height,
        ppi=usual_ppi(width, height),
        palette=palette,
        bits=bits_for(len(palette)),
        rotate_buffer=turns,
        codecs=(("kkm", 0),),
        wire=Wire(codes=codes_of(palette, _KKM_CODES), flip_rows=flip_rows),
        refresh_s=refresh_s,
        refresh_max_s=refresh_max_s,
        family="kkm",
    )
