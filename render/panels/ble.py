"""Panels whose labels state their own geometry: OpenDisplay (config packet 20) and ATC (screen type and size).

Such a panel's name says all that is needed to build it again in another process: `opendisplay-122x250-bwr-r1`, `atc-24-296x128`.
Facts: OpenDisplay's structures and py-opendisplay 7.14.1; py-atc-ble-oepl's table of screen types.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Final

from render.errors import UnknownPanel
from render.panels.types import (
    ATTEMPT_BITS,
    BW,
    BWR,
    BWRY,
    BWY,
    COLOURS_7,
    SPECTRA_6,
    Ink,
    Layout,
    Panel,
    Rgb,
    Wire,
    bits_for,
    codes_of,
    greys,
    refresh_of,
    usual_ppi,
)

_GREY_4: Final = greys(4)
_GREY_16: Final = greys(16)


@dataclass(frozen=True, slots=True)
class _Scheme:
    """A colour scheme of OpenDisplay: its number is its place in the table."""

    word: str
    palette: tuple[Ink, ...]
    codes: tuple[int, ...]
    layout: Layout
    bits: int | None = None


_SIX: Final = {"black": 0, "white": 1, "yellow": 2, "red": 3, "blue": 5, "green": 6}
_SEVEN: Final = {"black": 0, "white": 1, "yellow": 2, "red": 3, "blue": 4, "green": 5, "orange": 6}
_FOUR: Final = {"black": 0, "white": 1, "yellow": 2, "red": 3}
_FOUR_SWAPPED: Final = {"black": 0, "white": 1, "red": 2, "yellow": 3}
_GREY_CODES: Final = {"black": 3, "gray1": 1, "gray2": 2, "white": 0}
_GREY_CODES_SWAPPED: Final = {"black": 3, "gray1": 2, "gray2": 1, "white": 0}
_GREY_LEVELS: Final = {"black": 0, "white": 15} | {f"gray{level}": level for level in range(1, 15)}

_SCHEMES: Final = (
    _Scheme("bw", BW, codes_of(BW, {"black": 0, "white": 1}), Layout.PLANES),
    _Scheme("bwr", BWR, codes_of(BWR, {"black": 0, "white": 1, "red": 3}), Layout.PLANES),
    _Scheme("bwy", BWY, codes_of(BWY, {"black": 0, "white": 1, "yellow": 2}), Layout.PLANES),
    _Scheme("bwry", BWRY, codes_of(BWRY, _FOUR), Layout.PACKED, 2),
    _Scheme("spectra6", SPECTRA_6, codes_of(SPECTRA_6, _SIX), Layout.PACKED, 4),
    _Scheme("gray4", _GREY_4, codes_of(_GREY_4, _GREY_CODES), Layout.PLANES),
    _Scheme("gray16", _GREY_16, codes_of(_GREY_16, _GREY_LEVELS), Layout.PACKED, 4),
    _Scheme("7c", COLOURS_7, codes_of(COLOURS_7, _SEVEN), Layout.PACKED, 4),
    _Scheme("spectra6split", SPECTRA_6, codes_of(SPECTRA_6, _SIX), Layout.HALVES, 4),
)
SCHEME_WORDS: Final = tuple(scheme.word for scheme in _SCHEMES)

# (scheme, panel id) -> codes that differ from the scheme's
_OWN_CODES: Final = {
    (3, 0x1D): codes_of(BWRY, _FOUR_SWAPPED),
    (3, 0x1E): codes_of(BWRY, _FOUR_SWAPPED),
    (5, 0x28): codes_of(_GREY_4, _GREY_CODES_SWAPPED),
    (5, 0x48): codes_of(_GREY_4, _GREY_CODES_SWAPPED),
}
# (scheme, panel id) -> colours measured on this very panel, in palette order; as epaper-dithering 6.0.0 publishes them
_OWN_COLOURS: Final[dict[tuple[int, int], tuple[Rgb, ...]]] = {
    (0, 39): ((220, 220, 220), (5, 5, 5)),
    (3, 55): ((173, 178, 174), (10, 7, 14), (85, 24, 14), (172, 128, 0)),
    (4, 35): ((185, 202, 205), (26, 13, 35), (121, 9, 0), (202, 184, 0), (40, 82, 57), (0, 69, 139)),
}

# ATC screen types: all up to 47 that are not named here show black, white and red
_ATC_BWY: Final = frozenset((1, 2, 3, 5, 6, 31, 35, 42))
_ATC_BW: Final = frozenset((4, 10, 13, 25, 26, 29, 30, 32))
_ATC_BWRY: Final = frozenset((17, *range(36, 42)))
_ATC_KNOWN: Final = range(1, 48)
ATC_DYNAMIC: Final = 65535  # the label's own hardware config describes the panel
_ATC_CODES: Final = {"white": 0, "black": 1, "red": 2, "yellow": 3}  # bit 0 = black or yellow, bit 1 = red or yellow
_ATC_PALETTES: Final = {"bw": BW, "bwr": BWR, "bwy": BWY, "bwry": BWRY}
# screen type - 1 -> hundredths of an inch of its diagonal, as the types are named
_ATC_HUNDREDTHS: Final = (
    350, 350, 350, 350, 200, 750, 350, 350, 266, 213, 213, 290, 213, 970, 1200, 213, 350, 154, 213, 420, 420, 420, 1200, 290,
    213, 581, 581, 213, 213, 213, 583, 350, 266, 581, 346, 290, 750, 200, 290, 260, 260, 420, 290, 583, 213, 290, 213,
)  # fmt: skip

_OPENDISPLAY_NAME: Final = re.compile(
    r"opendisplay-([1-9]\d{0,3})x([1-9]\d{0,3})-(" + "|".join(SCHEME_WORDS) + r")(?:-r([1-3]))?(?:-ic([0-9A-F]{4}))?(?:-([1-9]\d{1,2})ppi)?"
)
_ATC_NAME: Final = re.compile(r"atc-([1-9]\d{0,4})-([1-9]\d{0,3})x([1-9]\d{0,3})(?:-(bw|bwr|bwy|bwry))?")

# sizes that the shipped templates are drawn for, in their palettes, and one panel of every other scheme
_LISTED: Final = (
    *((size, word) for size in ((250, 122), (296, 128), (400, 300), (800, 480)) for word in ("bw", "bwr", "bwy", "bwry")),
    *(((800, 480), word) for word in ("gray4", "gray16", "7c", "spectra6")),
    ((1600, 1200), "spectra6split"),
)


def rows() -> tuple[Panel, ...]:
    """OpenDisplay panels of the usual sizes; any other is built by its name."""
    return tuple(opendisplay_panel(*size, SCHEME_WORDS.index(word)) for size, word in _LISTED)


def opendisplay_panel(
    width: int, height: int, scheme: int, rotation: int = 0, panel_ic: int = 0, width_mm: int = 0, height_mm: int = 0, ppi: int = 0
) -> Panel:
    """The panel that an OpenDisplay config describes: `width`, `height`, `rotation` (0-3) and the rest as its display packet states them.

    A person sees it turned back by the rotation: 122x250 with rotation 1 is a picture of 250x122. `ppi` goes before the millimetres; where
    neither is known it is that of the usual glass of the size. Raises UnknownPanel for a scheme, rotation or size that no label has.
    """
    if (height if rotation % 2 else width) < ATTEMPT_BITS:
        raise UnknownPanel(f"OpenDisplay: {width}x{height}, rotation {rotation}: no room for an attempt number of {ATTEMPT_BITS} pixels")
    if scheme not in range(len(_SCHEMES)) or rotation not in range(4):
        raise UnknownPanel(f"OpenDisplay: colour scheme {scheme}, rotation {rotation}; known: schemes 0 to 8, rotations 0 to 3")
    row = _SCHEMES[scheme]
    own = (scheme, panel_ic)
    palette = row.palette
    if own in _OWN_COLOURS:
        palette = tuple(Ink(ink.name, ink.rgb, seen) for ink, seen in zip(palette, _OWN_COLOURS[own], strict=True))
    name = f"opendisplay-{width}x{height}-{row.word}" + (f"-r{rotation}" if rotation else "")
    if own in _OWN_CODES or own in _OWN_COLOURS:
        name += f"-ic{panel_ic:04X}"
    if not ppi and width_mm > 0 and height_mm > 0:
        ppi = round(25.4 * math.hypot(width, height) / math.hypot(width_mm, height_mm))
    if 10 <= ppi <= 999:  # beyond, the millimetres are wrong
        name += f"-{ppi}ppi"
    else:
        ppi = usual_ppi(width, height)
    refresh_s, refresh_max_s = refresh_of(palette)
    try:
        return Panel(
            name=name,
            title=f"OpenDisplay {width}x{height} {row.word}",
            width=height if rotation % 2 else width,
            height=width if rotation % 2 else height,
            ppi=ppi,
            palette=palette,
            bits=bits_for(len(palette)),
            rotate_buffer=-rotation % 4,
            codecs=(("od-zlib", 0), ("od-raw", 0)),
            wire=Wire(row.layout, _OWN_CODES.get(own, row.codes), row.bits),
            refresh_s=refresh_s,
            refresh_max_s=max(refresh_max_s, 90),  # what its own clients wait for the label's word that it has refreshed
            family="opendisplay",
        )
    except ValueError as error:
        raise UnknownPanel(str(error)) from error


def atc_panel(screen_type: int, width: int, height: int, colours: str = "") -> Panel:
    """The panel of an ATC label. `width`, `height`: as a person sees it. `colours` (bw, bwr, bwy, bwry) only for a dynamic screen type,
    which says nothing about them. Raises UnknownPanel for a type, size or colours that are not known."""
    if (screen_type == ATC_DYNAMIC) != bool(colours) or (screen_type != ATC_DYNAMIC and screen_type not in _ATC_KNOWN):
        raise UnknownPanel(f"ATC: screen type {screen_type} with colours {colours!r}; known: 1 to 47 without, {ATC_DYNAMIC} with colours")
    if width < ATTEMPT_BITS:
        raise UnknownPanel(f"ATC: {width}x{height}: no room for an attempt number of {ATTEMPT_BITS} pixels")
    if colours and colours not in _ATC_PALETTES:
        raise UnknownPanel(f"ATC: colours {colours!r}; known: {', '.join(_ATC_PALETTES)}")
    palette = _ATC_PALETTES[colours or _atc_colours(screen_type)]
    inches = 0.0 if colours else _ATC_HUNDREDTHS[screen_type - 1] / 100
    refresh_s, refresh_max_s = refresh_of(palette)
    try:
        return Panel(
            name=f"atc-{screen_type}-{width}x{height}" + (f"-{colours}" if colours else ""),
            title=f"ATC screen {screen_type} {width}x{height}",
            width=width,
            height=height,
            ppi=round(math.hypot(width, height) / inches) if inches else usual_ppi(width, height),
            palette=palette,
            bits=bits_for(len(palette)),
            rotate_buffer=1,
            codecs=(("atc-zlib", 0), ("atc-raw", 0)),
            wire=Wire(codes=codes_of(palette, _ATC_CODES), rows_padded=False),
            refresh_s=refresh_s,
            refresh_max_s=refresh_max_s,
            family="atc",
        )
    except ValueError as error:
        raise UnknownPanel(str(error)) from error


def by_name(name: str) -> Panel | None:
    """The panel of a name that `opendisplay_panel` or `atc_panel` gave, in exactly that spelling; None for any other name."""
    found: Panel | None = None
    if match := _OPENDISPLAY_NAME.fullmatch(name):
        width, height, word, rotation, panel_ic, ppi = match.groups()
        scheme = SCHEME_WORDS.index(word)
        found = opendisplay_panel(int(width), int(height), scheme, int(rotation or 0), int(panel_ic or "0", 16), ppi=int(ppi or 0))
    elif match := _ATC_NAME.fullmatch(name):
        screen_type, width, height, colours = match.groups()
        found = atc_panel(int(screen_type), int(width), int(height), colours or "")
    return found if found is not None and found.name == name else None


def _atc_colours(screen_type: int) -> str:
    if screen_type in _ATC_BWY:
        return "bwy"
    if screen_type in _ATC_BW:
        return "bw"
    return "bwry" if screen_type in _ATC_BWRY else "bwr"
