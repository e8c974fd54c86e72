"""Data Matrix ECC 200 and GS1 DataMatrix symbols of up to 52x52 modules.

Fact source: ISO/IEC 16022:2006, table 7 (sizes), 5.2 (encodation), annexes B (padding), E (error correction) and F (placement). A text is
ASCII with pairs of digits, or where that saves a size a mix of ASCII, C40 and Text.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from render.errors import FieldError

FNC1: Final = "\x1d"
QUIET_MODULES: Final = 1
SHOWN_CHARACTERS: Final = 40  # of a text in an error message
LENGTH_MAX: Final = 408  # digits in 52x52, the most characters that any size here holds

_PAD, _PAIRS, _FNC1, _UNLATCH = 129, 130, 232, 254
_LATCH: Final = {"C40": 230, "Text": 239}
_DIGITS: Final = "0123456789"
_FREE, _DARK, _LIGHT = -1, -2, -3
# a codeword's bits, the first one on top, as row and column from its last one (figure F.1), and those of the four corners: there
# negative numbers count from the far edge
_SHAPE: Final = ((-2, -2), (-2, -1), (-1, -2), (-1, -1), (-1, 0), (0, -2), (0, -1), (0, 0))
_CORNERS: Final = (
    ((-1, 0), (-1, 1), (-1, 2), (0, -2), (0, -1), (1, -1), (2, -1), (3, -1)),
    ((-3, 0), (-2, 0), (-1, 0), (0, -4), (0, -3), (0, -2), (0, -1), (1, -1)),
    ((-3, 0), (-2, 0), (-1, 0), (0, -2), (0, -1), (1, -1), (2, -1), (3, -1)),
    ((-1, 0), (-1, -1), (0, -3), (0, -2), (0, -1), (1, -3), (1, -2), (1, -1)),
)


@dataclass(frozen=True, slots=True)
class Size:
    """One size of symbol: modules with finder pattern, its data regions, codewords, interleaved blocks."""

    height: int
    width: int
    regions_down: int
    regions_across: int
    data: int
    ecc: int
    blocks: int = 1


SQUARES: Final = (
    Size(10, 10, 1, 1, 3, 5),
    Size(12, 12, 1, 1, 5, 7),
    Size(14, 14, 1, 1, 8, 10),
    Size(16, 16, 1, 1, 12, 12),
    Size(18, 18, 1, 1, 18, 14),
    Size(20, 20, 1, 1, 22, 18),
    Size(22, 22, 1, 1, 30, 20),
    Size(24, 24, 1, 1, 36, 24),
    Size(26, 26, 1, 1, 44, 28),
    Size(32, 32, 2, 2, 62, 36),
    Size(36, 36, 2, 2, 86, 42),
    Size(40, 40, 2, 2, 114, 48),
    Size(44, 44, 2, 2, 144, 56),
    Size(48, 48, 2, 2, 174, 68),
    Size(52, 52, 2, 2, 204, 84, 2),
)
RECTANGLES: Final = (
    Size(8, 18, 1, 1, 5, 7),
    Size(8, 32, 1, 2, 10, 11),
    Size(12, 26, 1, 1, 16, 14),
    Size(12, 36, 1, 2, 22, 18),
    Size(16, 36, 1, 2, 32, 24),
    Size(16, 48, 1, 2, 49, 28),
)


def datamatrix(text: str, gs1: bool = False, *, rectangular: bool = False) -> npt.NDArray[np.uint8]:
    """The smallest symbol of an ASCII text: (height, width) modules, 1 is dark, with finder pattern, without the quiet zone of 1.

    `gs1`: the text is an element string of `gs1.element_string`; FNC1 stands first and for each "\\x1d". `rectangular`: one of the six
    long sizes instead of a square. Raises FieldError for an empty text, other characters, or when nothing is large enough.
    """
    shown = repr(text) if len(text) <= SHOWN_CHARACTERS else repr(text[:SHOWN_CHARACTERS]) + "..."
    if not text.isascii():
        raise FieldError(f"Data Matrix of {shown}: expected ASCII characters only")
    sizes = RECTANGLES if rectangular else SQUARES
    found = codewords(text, gs1, sizes) if 0 < len(text) <= LENGTH_MAX else None
    if found is None:
        raise FieldError(f"Data Matrix of {shown}: {len(text)} characters, expected 1 to what {sizes[-1].height}x{sizes[-1].width} holds")
    data, size = found
    bits = np.unpackbits(np.array([*with_correction(data, size), 0b01000000], np.uint8))
    return bits[_modules(size)]


def codewords(text: str, gs1: bool, sizes: tuple[Size, ...]) -> tuple[list[int], Size] | None:
    """Padded data codewords and the smallest of `sizes` (from small to large) that holds them, None when none does."""
    plain = _ascii(text, gs1)
    digits = sum(character in _DIGITS for character in text)
    fewest = -(-(3 * digits + 4 * (len(text) - digits)) // 6)  # a digit is half a codeword at least, all else two thirds
    best = _smallest(len(plain), sizes)
    encoded = plain
    if _smallest(fewest, sizes) is not best:
        for mixed, latched in _mixed(text, gs1):
            size = _smallest(len(mixed), sizes)
            if size is not None and (best is None or size.data < best.data):
                unlatch = latched and len(mixed) < size.data  # the end of the symbol ends C40 and Text too
                encoded, best = [*mixed, _UNLATCH] if unlatch else mixed, size
    if best is None:
        return None
    padding = [_PAD, *(_randomised(place) for place in range(len(encoded) + 2, best.data + 1))]
    return encoded + padding[: best.data - len(encoded)], best


def with_correction(data: list[int], size: Size) -> list[int]:
    """Annex E: the data codewords and behind them the Reed-Solomon ones, blocks interleaved."""
    length = size.ecc // size.blocks
    table = _remainders(length)
    keep = (1 << (8 * length)) - 1
    blocks = []
    for block in range(size.blocks):
        rest = 0
        for codeword in data[block :: size.blocks]:
            rest = ((rest << 8) & keep) ^ table[(rest >> (8 * length - 8)) ^ codeword]
        blocks.append(rest.to_bytes(length, "big"))
    return data + [codeword for together in zip(*blocks, strict=True) for codeword in together]


def _smallest(count: int, sizes: tuple[Size, ...]) -> Size | None:
    return next((size for size in sizes if size.data >= count), None)


def _randomised(place: int) -> int:
    """Annex B.1: the pad codeword at this place, counted from 1."""
    value = _PAD + 149 * place % 253 + 1
    return value if value <= 254 else value - 254


def _ascii(text: str, gs1: bool) -> list[int]:
    encoded = [_FNC1] if gs1 else []
    at = 0
    while at < len(text):
        step = _ascii_step(text, at, gs1)
        encoded.append(step[0])
        at += step[1]
    return encoded


def _ascii_step(text: str, at: int, gs1: bool) -> tuple[int, int]:
    """The codeword of the next one or two characters, and how many."""
    if text[at] in _DIGITS and text[at + 1 : at + 2] in tuple(_DIGITS):
        return _PAIRS + int(text[at : at + 2]), 2
    return (_FNC1 if gs1 and text[at] == FNC1 else ord(text[at]) + 1), 1


@dataclass(frozen=True, slots=True)
class _Way:
    """Codewords so far, the mode they end in, and values of C40 or Text that wait for a third one."""

    mode: str
    encoded: tuple[int, ...]
    waiting: tuple[int, ...] = ()


def _mixed(text: str, gs1: bool) -> Iterator[tuple[list[int], bool]]:
    """The shortest row of codewords that ends in ASCII, and those that end in C40 or Text with no value waiting (second item true).

    `ways[place]`: the shortest way before each place, by mode and number of values that wait; the first found of equals.
    """
    ways: list[dict[tuple[str, int], _Way]] = [{} for _ in range(len(text) + 2)]
    _keep(ways[0], _Way("ASCII", (_FNC1,) if gs1 else ()))
    for at, character in enumerate(text):
        here = ways[at]
        for mode in _LATCH:
            if (mode, 0) in here:
                _keep(here, _Way("ASCII", (*here[mode, 0].encoded, _UNLATCH)))
        if ("ASCII", 0) in here:
            for mode, latch in _LATCH.items():
                _keep(here, _Way(mode, (*here["ASCII", 0].encoded, latch)))
        for way in here.values():
            if way.mode == "ASCII":
                codeword, taken = _ascii_step(text, at, gs1)
                _keep(ways[at + taken], _Way("ASCII", (*way.encoded, codeword)))
                if taken == 2:
                    _keep(ways[at + 1], _Way("ASCII", (*way.encoded, ord(character) + 1)))
            else:
                _keep(ways[at + 1], _with_values(way, _values(character, way.mode, gs1)))
    for way in sorted(ways[len(text)].values(), key=lambda way: len(way.encoded)):
        if not way.waiting:
            yield list(way.encoded), way.mode != "ASCII"


def _keep(ways: dict[tuple[str, int], _Way], way: _Way) -> None:
    key = way.mode, len(way.waiting)
    if key not in ways or len(way.encoded) < len(ways[key].encoded):
        ways[key] = way


def _with_values(way: _Way, values: tuple[int, ...]) -> _Way:
    encoded, waiting = way.encoded, way.waiting + values
    while len(waiting) >= 3:
        packed = 1600 * waiting[0] + 40 * waiting[1] + waiting[2] + 1
        encoded, waiting = (*encoded, packed >> 8, packed & 255), waiting[3:]
    return _Way(way.mode, encoded, waiting)


def _values(character: str, mode: str, gs1: bool) -> tuple[int, ...]:
    """Table 4: one value, or a shift (0, 1, 2) and one."""
    if gs1 and character == FNC1:
        return 1, 27
    swapped = character.swapcase() if mode == "Text" else character
    code = ord(character)
    if character == " ":
        return (3,)
    if character in _DIGITS:
        return (code - 48 + 4,)
    if "A" <= swapped <= "Z":
        return (ord(swapped) - 65 + 14,)
    if code < 32:
        return 0, code
    if code < 48:
        return 1, code - 33
    if code < 65:
        return 1, code - 58 + 15
    if 91 <= code <= 95:
        return 1, code - 91 + 22
    return 2, ord(swapped) - 96


@functools.cache
def _remainders(length: int) -> tuple[int, ...]:
    """What each leading byte adds to a Reed-Solomon remainder of this many bytes, as one number; GF(256) with polynomial 301."""
    powers, value = [], 1
    for _ in range(255):
        powers.append(value)
        value = (value << 1) ^ (301 if value & 128 else 0)
    logarithms = {power: at for at, power in enumerate(powers)}

    def product(a: int, b: int) -> int:
        return powers[(logarithms[a] + logarithms[b]) % 255] if a and b else 0

    generator = [1]
    for root in range(1, length + 1):
        generator = [a ^ product(b, powers[root]) for a, b in zip([*generator, 0], [0, *generator], strict=True)]
    return tuple(int.from_bytes(bytes(product(leading, factor) for factor in generator[1:]), "big") for leading in range(256))


@functools.cache
def _modules(size: Size) -> npt.NDArray[np.int64]:
    """(height, width): for each module the bit that it shows, of the codewords and one more byte that has a 0 and a 1."""
    light = 8 * (size.data + size.ecc)
    modules = np.full((size.height, size.width), light, np.int64)
    down, across = size.height // size.regions_down, size.width // size.regions_across
    places = _placed(size.height - 2 * size.regions_down, size.width - 2 * size.regions_across)
    for top in range(0, size.height, down):
        for left in range(0, size.width, across):
            region = modules[top : top + down, left : left + across]
            region[0, ::2] = region[1::2, -1] = region[:, 0] = region[-1, :] = light + 1
            row, column = top - 2 * (top // down), left - 2 * (left // across)
            region[1:-1, 1:-1] = places[row : row + down - 2, column : column + across - 2]
    modules[modules == _DARK] = light + 1
    modules[modules == _LIGHT] = light
    return modules


def _placed(height: int, width: int) -> npt.NDArray[np.int64]:
    """Annex F: the bit of each module of the data regions put together, or _DARK and _LIGHT in a corner that holds none."""
    places = np.full((height, width), _FREE, np.int64)
    codeword = 0

    def corner(which: int) -> None:
        nonlocal codeword
        for bit, (row, column) in enumerate(_CORNERS[which]):
            places[row, column] = 8 * codeword + bit
        codeword += 1

    def place(last_row: int, last_column: int) -> None:
        nonlocal codeword
        for bit, (up, left) in enumerate(_SHAPE):
            row, column = last_row + up, last_column + left
            if row < 0:
                row, column = row + height, column + 4 - (height + 4) % 8
            if column < 0:
                row, column = row + 4 - (width + 4) % 8, column + width
            places[row, column] = 8 * codeword + bit
        codeword += 1

    row, column = 4, 0
    while row < height or column < width:
        if row == height and column == 0:
            corner(0)
        if row == height - 2 and column == 0 and width % 4:
            corner(1)
        if row == height - 2 and column == 0 and width % 8 == 4:
            corner(2)
        if row == height + 4 and column == 2 and not width % 8:
            corner(3)
        while row >= 0 and column < width:
            if row < height and column >= 0 and places[row, column] == _FREE:
                place(row, column)
            row, column = row - 2, column + 2
        row, column = row + 1, column + 3
        while row < height and column >= 0:
            if row >= 0 and column < width and places[row, column] == _FREE:
                place(row, column)
            row, column = row + 2, column - 2
        row, column = row + 3, column + 1
    if places[-1, -1] == _FREE:
        places[-1, -1] = places[-2, -2] = _DARK
        places[-1, -2] = places[-2, -1] = _LIGHT
    return places
