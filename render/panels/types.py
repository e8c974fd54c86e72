"""What a panel is: the types behind the catalogue, with no panel in it.

Loads no numpy: the daemon's main process imports it.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

Rgb = tuple[int, int, int]

ATTEMPT_BITS: Final = 32  # an attempt number is a u32: one label sends less than one picture a second for 100 years
ATTEMPT_HEIGHT_PX: Final = 1
SIDE_MIN_PX: Final = 8
SIDE_MAX_PX: Final = 2048  # the largest panel of the tables has 1600
BITS_MAX: Final = 4  # sixteen greys are the most that any of these panels shows
PPI_UNKNOWN: Final = 110  # where neither maker nor size tells: most shelf labels have 105 to 135


@dataclass(frozen=True, slots=True)
class Ink:
    """One colour of a panel. Its place in the palette is the value that a picture carries.

    `rgb` is its name as a colour (pure red), `measured` what a camera or colorimeter saw on glass, sRGB; None where nobody published it.
    """

    name: str
    rgb: Rgb
    measured: Rgb | None = None

    @property
    def seen(self) -> Rgb:
        """The colour to dither against: the measured one, else the nominal one."""
        return self.rgb if self.measured is None else self.measured


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


class Layout(enum.Enum):
    """How pixel codes become bytes. Bits always fill a byte from its most significant end."""

    PLANES = "planes"  # all pixels' bit 0, then all pixels' bit 1
    PACKED = "packed"  # each pixel's bits side by side
    HALVES = "halves"  # packed: the left half of every row, then the right half
    BGR24 = "bgr24"  # three bytes a pixel


@dataclass(frozen=True, slots=True)
class Wire:
    """How a panel wants its pixels, after the buffer has been turned.

    `codes`: what travels for each ink of the palette, in palette order; empty: the palette index itself. `bits`: per pixel; None: as many
    as the codes need. `rows_padded`: each row starts on a byte of its own; otherwise bits run on across row ends. `flip_rows`: the lowest
    row of the buffer travels first. `columns_halved`: two pixels side by side travel as two lines of one column (a TFT whose driver counts
    half as many columns and twice as many lines).
    """

    layout: Layout = Layout.PLANES
    codes: tuple[int, ...] = ()
    bits: int | None = None
    rows_padded: bool = True
    flip_rows: bool = False
    columns_halved: bool = False


PLAIN: Final = Wire()


@dataclass(frozen=True, slots=True)
class Panel:
    """One kind of display.

    `width`, `height`: pixels as a person sees it. `bits`: bits of a palette index; plane p of a picture holds bit p of each index.
    `rotate_buffer`: quarter turns counter-clockwise from the seen picture to the buffer (0-3). `codecs`: (codec, smallest label firmware
    that knows it), best first. `wire`: how the buffer travels. `refresh_s`, `refresh_max_s`: a full refresh at room temperature, and the
    longest that a driver must allow before it believes that the picture is there. `glass`: what of the picture a person can see, where
    that is less than all of it. `family`: the label family, which is also the first word of the name.
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
    wire: Wire = PLAIN
    refresh_s: int = 15
    refresh_max_s: int = 40
    glass: Box | None = None
    family: str = "oepl"

    def __post_init__(self) -> None:
        if not SIDE_MIN_PX <= self.width <= SIDE_MAX_PX or not SIDE_MIN_PX <= self.height <= SIDE_MAX_PX:
            raise ValueError(f"{self.name}: {self.width}x{self.height} is no panel size")
        if self.bits != bits_for(len(self.palette)) or self.bits > BITS_MAX or self.rotate_buffer not in range(4):
            raise ValueError(f"{self.name}: palette, bits and rotation do not fit together")
        if {ink.name for ink in self.palette[:2]} != {"white", "black"} or len({ink.name for ink in self.palette}) != len(self.palette):
            raise ValueError(f"{self.name}: the first two colours must be white and black, and no colour may be there twice")
        codes = self.codes
        if len(codes) != len(self.palette) or len(set(codes)) != len(codes) or not all(0 <= code >> self.wire_bits < 1 for code in codes):
            raise ValueError(f"{self.name}: codes {codes} for {len(self.palette)} colours in {self.wire_bits} bits")
        if self.wire.columns_halved and self.width % 2:
            raise ValueError(f"{self.name}: {self.width} columns cannot be halved")
        if not 0 < self.refresh_s <= self.refresh_max_s:
            raise ValueError(f"{self.name}: a refresh of {self.refresh_s} s, at most {self.refresh_max_s} s")
        if self.glass is not None and not self.glass.inside(self.area):
            raise ValueError(f"{self.name}: the glass {self.glass} is not inside the picture")

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
    def visible(self) -> Box:
        """What of the picture a person can see."""
        return self.area if self.glass is None else self.glass

    @property
    def codes(self) -> tuple[int, ...]:
        """What travels for each ink of the palette."""
        return self.wire.codes or tuple(range(len(self.palette)))

    @property
    def wire_bits(self) -> int:
        """Bits per pixel on the wire."""
        return self.wire.bits or max(1, max(self.codes).bit_length())

    @property
    def white(self) -> int:
        return self.ink_index("white")

    @property
    def black(self) -> int:
        return self.ink_index("black")

    @property
    def accent(self) -> int:
        """The colour that catches the eye and can be read on white, or white on it: red, else black. Yellow can do neither."""
        names = [ink.name for ink in self.palette]
        return names.index("red") if "red" in names else self.black

    def ink_index(self, name: str) -> int:
        """Palette index of an ink by name, with `accent` as a name of its own. ValueError when the panel has no such ink."""
        if name == "accent":
            return self.accent
        return [ink.name for ink in self.palette].index(name)

    def codecs_for(self, firmware: int) -> tuple[str, ...]:
        """The codecs that a label of this panel with this firmware version understands. Raw ones always work."""
        return tuple(codec for codec, firmware_min in self.codecs if firmware >= firmware_min)

    def takes(self, codec: str) -> bool:
        """Whether some firmware of this panel's labels understands a codec."""
        return any(codec == name for name, _ in self.codecs)


def bits_for(colours: int) -> int:
    """Bits of a palette index."""
    return max(1, (colours - 1).bit_length())


def attempt_strip(width: int, height: int) -> Box:
    """The pixels that carry the attempt number: the last 32 pixels of the lowest row. No element may touch them."""
    return Box(width - ATTEMPT_BITS, height - ATTEMPT_HEIGHT_PX, ATTEMPT_BITS, ATTEMPT_HEIGHT_PX)


def orientation(turns: int = 0, *, mirror_x: bool = False, mirror_y: bool = False, columns: bool = False) -> tuple[int, bool]:
    """(`rotate_buffer`, `flip_rows`) of a maker's words: the picture is turned by quarter turns counter-clockwise, then mirrored left to
    right (`mirror_x`) and top to bottom (`mirror_y`), then read row by row from the top, or column by column from the left.

    Any such reading is a turn and perhaps a flip of rows: there are only eight ways to lay a rectangle down.
    """
    flipped = False
    for wanted, more_turns in ((mirror_x, 2), (mirror_y, 0), (columns, 1)):
        if wanted:  # each is some quarter turns and then a flip of rows; a turn behind a flip counts backwards
            turns += -more_turns if flipped else more_turns
            flipped = not flipped
    return turns % 4, flipped


def codes_of(palette: tuple[Ink, ...], codes: Mapping[str, int]) -> tuple[int, ...]:
    """A maker's colour codes in the order of a palette. KeyError when an ink has none."""
    return tuple(codes[ink.name] for ink in palette)


def usual_ppi(width: int, height: int) -> int:
    """Pixels per inch of the usual glass of a size, either way up, where a maker's table gives no millimetres; else PPI_UNKNOWN."""
    inches = _USUAL_INCHES.get((max(width, height), min(width, height)))
    return PPI_UNKNOWN if inches is None else round(math.hypot(width, height) / inches)


_USUAL_INCHES: Final = {
    (152, 152): 1.54, (200, 200): 1.54, (212, 104): 2.13, (250, 122): 2.13, (264, 176): 2.7, (296, 128): 2.9, (296, 152): 2.66,
    (384, 168): 2.9, (384, 184): 3.5, (400, 300): 4.2, (416, 240): 3.7, (640, 384): 7.5, (640, 400): 4.01, (648, 480): 5.83,
    (792, 272): 5.79, (800, 480): 7.5, (960, 640): 10.2, (960, 672): 9.7, (1600, 1200): 13.3,
}  # fmt: skip

# Measured values: typical, not measured on each panel. White, black, red and yellow are what epaper-dithering 6.0.0 publishes for Hanshow
# and Solum panels; the blue and green of Spectra 6 are its 7.3" panel's; orange is what Pimoroni publishes for ACeP glass.
WHITE: Final = Ink("white", (255, 255, 255), (200, 200, 200))
BLACK: Final = Ink("black", (0, 0, 0), (5, 5, 5))
RED: Final = Ink("red", (255, 0, 0), (120, 15, 5))
YELLOW: Final = Ink("yellow", (255, 255, 0), (200, 180, 0))
BLUE: Final = Ink("blue", (0, 0, 255), (0, 69, 139))
GREEN: Final = Ink("green", (0, 255, 0), (40, 82, 57))
ORANGE: Final = Ink("orange", (255, 128, 0), (177, 106, 73))
BW: Final = (WHITE, BLACK)
BWR: Final = (WHITE, BLACK, RED)
BWY: Final = (WHITE, BLACK, YELLOW)
BWRY: Final = (WHITE, BLACK, RED, YELLOW)
SPECTRA_6: Final = (WHITE, BLACK, RED, YELLOW, GREEN, BLUE)
COLOURS_7: Final = (WHITE, BLACK, RED, YELLOW, GREEN, BLUE, ORANGE)


def greys(levels: int) -> tuple[Ink, ...]:
    """White, black, then the greys between from dark to light: an even ladder between the measured black and white (typical)."""

    def ink(level: int) -> Ink:
        nominal = round(255 * level / (levels - 1))
        measured = round(5 + (200 - 5) * level / (levels - 1))
        return Ink(f"gray{level}", (nominal, nominal, nominal), (measured, measured, measured))

    return (WHITE, BLACK, *(ink(level) for level in range(1, levels - 1)))


# (typical, longest) seconds of a full refresh: black and white 2-4 s, colour 12-25 s at room temperature and longer in the cold, Spectra
# and ACeP up to 60 s. Typical, not from data sheets; 40 s and 90 s are what the drivers allow.
REFRESH_BW_S: Final = (4, 40)
REFRESH_COLOUR_S: Final = (18, 40)
REFRESH_SPECTRA_S: Final = (35, 90)


def refresh_of(palette: tuple[Ink, ...]) -> tuple[int, int]:
    """(typical, longest) seconds of a full refresh of a panel with these inks."""
    names = {ink.name for ink in palette}
    if names & {"blue", "green", "orange"}:
        return REFRESH_SPECTRA_S
    return REFRESH_COLOUR_S if names & {"red", "yellow"} else REFRESH_BW_S
