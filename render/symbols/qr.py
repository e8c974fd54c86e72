"""QR codes of versions 1 to 10 (21 to 57 modules), every mask scored, thousands in the time of one drawn by modules.

One kernel does the whole way from text to rows of modules. A row is one 64-bit word, column 0 in its top bit, so that the rules which
choose the mask look at all modules of a row at once. `qr_reference.py` says the same module by module.

Fact source: ISO/IEC 18004:2015. Where it leaves a choice: of the 1:1:3:1:1 patterns each counts once that has four light modules before
or after it, and the quiet zone is light; equal scores take the lower mask; a text that is no ASCII announces UTF-8 (ECI 26).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import helper, kernel
from render.errors import FieldError
from render.symbols.qr_tables import ALPHANUMERIC, CODEWORDS_MAX, LENGTH_MAX, LEVELS, SIZE_MAX, VERSION_MAX, tables

SHOWN_CHARACTERS: Final = 40  # of a text in an error message
_PADDING: Final = 4  # light rows above and below a code while it is scored: what the widest rule looks at
_SCORED_ROWS: Final = 80  # padding + 57 rows in eights + what is read past them
_NEVER: Final = 1 << 30  # costs more than any text

_1, _2, _3, _4, _5, _6, _7, _8, _56 = (np.uint64(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 56))
_PAIRS, _NIBBLES, _BYTES = (np.uint64(n) for n in (0x5555555555555555, 0x3333333333333333, 0x0F0F0F0F0F0F0F0F))

_VALUES: Final = np.full(256, 255, np.uint8)  # of each byte in alphanumeric mode, 255 where it has none
_VALUES[list(ALPHANUMERIC.encode())] = range(len(ALPHANUMERIC))


@dataclass(frozen=True, slots=True)
class QrCodes:
    """Many codes. `sizes`: (n,) i64 modules per side, 0 where a text is empty or does not fit. `rows`: (n, 57) u64, column 0 in bit 63."""

    sizes: npt.NDArray[np.int64]
    rows: npt.NDArray[np.uint64]

    def matrix(self, index: int) -> npt.NDArray[np.uint8]:
        """One code as (size, size) modules, 1 is dark, without quiet zone. Raises FieldError where the text did not fit."""
        if not self.sizes[index]:
            raise FieldError(f"text {index}: empty, or too long for the largest QR code allowed")
        size = int(self.sizes[index])
        return np.unpackbits(self.rows[index, :size].astype(">u8").view(np.uint8).reshape(size, 8), axis=1, count=size)


def qr(text: str | bytes, level: str = "M", version_max: int = VERSION_MAX) -> npt.NDArray[np.uint8]:
    """The smallest QR code of a text: (size, size) modules, 1 is dark, without the quiet zone of 4.

    `level`: "L", "M", "Q" or "H"; `version_max`: 1 to 10. Bytes are encoded as they are. Raises FieldError when the text is empty or does
    not fit.
    """
    raw = _utf8(text) if isinstance(text, str) else text
    sizes, rows, modules = np.empty(1, np.int64), np.zeros((1, SIZE_MAX), np.uint64), np.empty((1, SIZE_MAX * SIZE_MAX), np.uint8)
    _draw(raw, np.array((0, len(raw))), isinstance(text, str) and not text.isascii(), level, version_max, sizes, rows, modules)
    size = int(sizes[0])
    if not size:
        shown = repr(text) if len(text) <= SHOWN_CHARACTERS else repr(text[:SHOWN_CHARACTERS]) + "..."
        raise FieldError(f"QR code of {shown}: {len(raw)} bytes, expected 1 to what version {version_max}-{level} holds")
    return modules[0, : size * size].reshape(size, size).copy()  # a view would keep room for the largest code


def qr_batch(texts: Sequence[str], level: str = "M", version_max: int = VERSION_MAX) -> QrCodes:
    """The smallest QR code of each text, as `qr`; an empty or too long text, or one with half a surrogate pair, has size 0."""
    joined = "".join(texts)
    has_utf8 = not joined.isascii()
    if has_utf8:
        parts = [_utf8(text) for text in texts]
        raw, lengths = b"".join(parts), map(len, parts)
    else:
        raw, lengths = joined.encode(), map(len, texts)
    ends = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(lengths, np.int64, len(texts)), out=ends[1:])
    sizes, rows = np.empty(len(texts), np.int64), np.zeros((len(texts), SIZE_MAX), np.uint64)
    _draw(raw, ends, has_utf8, level, version_max, sizes, rows, np.empty((0, 0), np.uint8))
    return QrCodes(sizes, rows)


def _utf8(text: str) -> bytes:
    """Half of a surrogate pair is no character: nothing, which no code shows."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return b""


def _draw(
    raw: bytes,
    ends: npt.NDArray[np.int64],
    has_utf8: bool,
    level: str,
    version_max: int,
    sizes: npt.NDArray[np.int64],
    rows: npt.NDArray[np.uint64],
    modules: npt.NDArray[np.uint8],
) -> None:
    if level not in LEVELS or len(level) != 1:
        raise ValueError(f"QR level {level!r}: expected L, M, Q or H")
    if not 1 <= version_max <= VERSION_MAX:
        raise ValueError(f"QR version_max {version_max}: expected 1 to {VERSION_MAX}")
    text, known = np.frombuffer(raw, np.uint8), tables()
    arrays = known.position, known.drawn, known.blocks, known.remainder, known.counted, sizes, rows, modules
    _encode(text, ends, has_utf8, LEVELS.index(level), version_max, *arrays)


@kernel
def _encode(
    text: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    has_utf8: bool,
    level: int,
    version_max: int,
    position: npt.NDArray[np.uint16],
    drawn: npt.NDArray[np.uint64],
    blocks: npt.NDArray[np.int64],
    remainder: npt.NDArray[np.uint64],
    counted: npt.NDArray[np.uint64],
    sizes: npt.NDArray[np.int64],
    rows: npt.NDArray[np.uint64],
    modules: npt.NDArray[np.uint8],
) -> None:
    """Text `i` is text[ends[i] : ends[i + 1]]; its code goes to rows[i], which are 0, its size or 0 to sizes[i], and where `modules` has
    rows its size * size modules to modules[i]. The tables are those of `Tables`.
    """
    modes = np.empty(LENGTH_MAX, np.uint8)
    came_from = np.empty((LENGTH_MAX, 3), np.uint8)
    data = np.empty(CODEWORDS_MAX + 4, np.uint8)
    ecc = np.empty((8, 4), np.uint64)
    scored = np.zeros((8, _SCORED_ROWS), np.uint64)
    for index in range(len(ends) - 1):
        begin, end = ends[index], ends[index + 1]
        sizes[index] = 0
        if end == begin or end - begin > LENGTH_MAX:
            continue
        eci = False
        if has_utf8:
            for at in range(begin, end):
                eci = eci or text[at] >= 128
        version, wide = 0, False
        bits = _plan(text, begin, end, False, modes, came_from) + (12 if eci else 0)
        for candidate in range(1, version_max + 1):
            if candidate == VERSION_MAX:
                wide = True
                bits = _plan(text, begin, end, True, modes, came_from) + (12 if eci else 0)
            if bits <= 8 * blocks[candidate - 1, level, 5]:
                version = candidate
                break
        if version == 0:
            continue
        parts = blocks[version - 1, level]
        _write_data(text, begin, end, wide, eci, modes, parts[5], data)
        _correct(data, parts, remainder[parts[4]], ecc)
        code = rows[index]
        _interleave(data, ecc, parts, position[version - 1], code)
        size = 17 + 4 * version
        best = _masked(code, size, drawn[version - 1, level], counted[version - 1], scored)
        for row in range(size):
            code[row] = scored[best, _PADDING + row]
        sizes[index] = size
        if len(modules):
            _unpack(code, size, modules[index])


@helper
def _plan(
    text: npt.NDArray[np.uint8], begin: int, end: int, wide: bool, modes: npt.NDArray[np.uint8], came_from: npt.NDArray[np.uint8]
) -> int:
    """The cheapest mode of each character, into `modes`; returns the bits. `wide`: count fields of version 10.

    Costs are sixths of a bit (three digits take 10 bits, two alphanumerics 11), rounded up to whole bits where a segment ends.
    `came_from[i, m]`: the mode of character i when character i + 1 is in mode m.
    """
    head0, head1, head2 = (96, 90, 120) if wide else (84, 78, 72)
    cost0, cost1, cost2 = head0, head1, head2
    for at in range(begin, end):
        value = _VALUES[text[at]]
        cost0 = cost0 + 20 if value < 10 else _NEVER
        cost1 = cost1 + 33 if value < 45 else _NEVER
        cost2 += 48
        whole0 = (cost0 + 5) // 6 * 6
        whole1 = (cost1 + 5) // 6 * 6
        from0, from1, from2 = 0, 1, 2
        next0, next1, next2 = cost0, cost1, cost2
        if whole1 + head0 < next0:
            next0, from0 = whole1 + head0, 1
        if cost2 + head0 < next0:
            next0, from0 = cost2 + head0, 2
        if whole0 + head1 < next1:
            next1, from1 = whole0 + head1, 0
        if cost2 + head1 < next1:
            next1, from1 = cost2 + head1, 2
        if whole0 + head2 < next2:
            next2, from2 = whole0 + head2, 0
        if whole1 + head2 < next2:
            next2, from2 = whole1 + head2, 1
        cost0, cost1, cost2 = next0, next1, next2
        came_from[at - begin, 0] = from0
        came_from[at - begin, 1] = from1
        came_from[at - begin, 2] = from2
    mode, cost = 0, cost0
    if cost1 < cost:
        mode, cost = 1, cost1
    if cost2 < cost:
        mode, cost = 2, cost2
    for at in range(end - begin - 1, -1, -1):
        mode = int(came_from[at, mode])
        modes[at] = mode
    return (cost + 5) // 6


@helper
def _put(data: npt.NDArray[np.uint8], at: int, value: int, count: int) -> int:
    """Write `count` (at most 16) bits at bit `at` of bytes that are 0 from there on; returns where the next ones go."""
    byte = at >> 3
    shifted = value << (24 - count - (at & 7))
    data[byte] = int(data[byte]) | (shifted >> 16)
    data[byte + 1] = (shifted >> 8) & 255
    data[byte + 2] = shifted & 255
    return at + count


@helper
def _write_data(
    text: npt.NDArray[np.uint8],
    begin: int,
    end: int,
    wide: bool,
    eci: bool,
    modes: npt.NDArray[np.uint8],
    codewords: int,
    data: npt.NDArray[np.uint8],
) -> None:
    """The data codewords: segments, terminator, padding (7.4.3 to 7.4.10). An empty text is no segment."""
    data[0] = 0
    at = 0
    if eci:
        at = _put(data, at, (0b0111 << 8) | 26, 12)
    first = begin
    while first < end:
        mode = modes[first - begin]
        last = first
        while last < end and modes[last - begin] == mode:
            last += 1
        length = last - first
        if mode == 0:
            at = _put(data, at, 0b0001, 4)
            at = _put(data, at, length, 12 if wide else 10)
            while first < last:
                value, digits = 0, min(3, last - first)
                for place in range(digits):
                    value = 10 * value + int(text[first + place]) - 48
                at = _put(data, at, value, 3 * digits + 1)
                first += digits
        elif mode == 1:
            at = _put(data, at, 0b0010, 4)
            at = _put(data, at, length, 11 if wide else 9)
            while first + 1 < last:
                at = _put(data, at, 45 * int(_VALUES[text[first]]) + int(_VALUES[text[first + 1]]), 11)
                first += 2
            if first < last:
                at = _put(data, at, int(_VALUES[text[first]]), 6)
                first += 1
        else:
            at = _put(data, at, 0b0100, 4)
            at = _put(data, at, length, 16 if wide else 8)
            while first < last:
                at = _put(data, at, int(text[first]), 8)
                first += 1
    at = _put(data, at, 0, min(4, 8 * codewords - at))
    padding = 0xEC
    for byte in range((at + 7) >> 3, codewords):
        data[byte] = padding
        padding ^= 0xEC ^ 0x11


@helper
def _correct(
    data: npt.NDArray[np.uint8], parts: npt.NDArray[np.int64], remainder: npt.NDArray[np.uint64], ecc: npt.NDArray[np.uint64]
) -> None:
    """The Reed-Solomon remainder of each block: up to 32 bytes, the first one on top of the first word."""
    at = 0
    for block in range(parts[0]):
        a, b, c, d = np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0)
        for _ in range(parts[2] + (1 if block >= parts[1] else 0)):
            leading = int(data[at]) ^ int(a >> _56)
            a = ((a << _8) | (b >> _56)) ^ remainder[leading, 0]
            b = ((b << _8) | (c >> _56)) ^ remainder[leading, 1]
            c = ((c << _8) | (d >> _56)) ^ remainder[leading, 2]
            d = (d << _8) ^ remainder[leading, 3]
            at += 1
        ecc[block, 0] = a
        ecc[block, 1] = b
        ecc[block, 2] = c
        ecc[block, 3] = d


@helper
def _interleave(
    data: npt.NDArray[np.uint8],
    ecc: npt.NDArray[np.uint64],
    parts: npt.NDArray[np.int64],
    position: npt.NDArray[np.uint16],
    code: npt.NDArray[np.uint64],
) -> None:
    """Codewords of all blocks in turns (7.6) to the modules of `code`, which is 0."""
    count, short_count, short_data = parts[0], parts[1], parts[2]
    at = 0
    for place in range(short_data + 1):
        for block in range(short_count if place == short_data else 0, count):
            start = block * short_data + max(0, block - short_count)
            at = _place(code, position, at, int(data[start + place]))
    for place in range(parts[3]):
        shift = np.uint64(56 - 8 * (place & 7))
        for block in range(count):
            at = _place(code, position, at, int(ecc[block, place >> 3] >> shift) & 255)


@helper
def _place(code: npt.NDArray[np.uint64], position: npt.NDArray[np.uint16], at: int, codeword: int) -> int:
    for bit in range(8):
        where = int(position[at + bit])
        code[where >> 6] |= np.uint64((codeword >> (7 - bit)) & 1) << np.uint64(where & 63)
    return at + 8


@helper
def _masked(
    code: npt.NDArray[np.uint64],
    size: int,
    drawn: npt.NDArray[np.uint64],
    counted: npt.NDArray[np.uint64],
    scored: npt.NDArray[np.uint64],
) -> int:
    """Draw the code with each mask into `scored[mask, _PADDING:]` and return the mask with the lowest penalty."""
    best, best_penalty = 0, _NEVER
    for mask in range(8):
        image = scored[mask]
        for row in range(size):
            image[_PADDING + row] = code[row] ^ drawn[mask, row]
        for row in range(_PADDING + size, _SCORED_ROWS):
            image[row] = 0
        penalty = _penalty(image, size, counted)
        if penalty < best_penalty:
            best, best_penalty = mask, penalty
    return best


@helper
def _penalty(image: npt.NDArray[np.uint64], size: int, counted: npt.NDArray[np.uint64]) -> int:
    """Table 11 for all modules of a row at once; a set bit is one place where a rule counts. Rows in eights, as vectors want them.

    Five equal modules cost 3, each further one 1: that is one for each five in a row and two for each run.
    """
    penalty, dark = 0, 0
    for row in range((size + 7) // 8 * 8):
        w, w1, w2, w3, w4 = image[row + 4], image[row + 5], image[row + 6], image[row + 7], image[row + 8]
        right, right1 = w << _1, w1 << _1
        fives = ~(w ^ right) & counted[0, row]
        fives &= fives << _1
        fives &= fives << _2
        penalty += _ones(fives) + 2 * _ones(fives & ~(fives >> _1))
        penalty += 3 * _ones(((w & right & w1 & right1) | ~(w | right | w1 | right1)) & counted[1, row])
        fives = ((w & w1 & w2 & w3 & w4) | ~(w | w1 | w2 | w3 | w4)) & counted[2, row]
        penalty += _ones(fives) + 2 * _ones(fives & ((image[row + 3] ^ w) | counted[3, row]))
        finders = w & ~right & (w << _2) & (w << _3) & (w << _4) & ~(w << _5) & (w << _6)
        dark_before = w | (w >> _1)
        dark_before = (dark_before | (dark_before >> _2)) >> _1
        dark_after = w | right
        dark_after = (dark_after | (dark_after << _2)) << _7
        penalty += 40 * _ones(finders & ~(dark_before & dark_after))
        finders = w & ~w1 & w2 & w3 & w4 & ~image[row + 9] & image[row + 10]
        dark_before = image[row] | image[row + 1] | image[row + 2] | image[row + 3]
        dark_after = image[row + 11] | image[row + 12] | image[row + 13] | image[row + 14]
        penalty += 40 * _ones(finders & ~(dark_before & dark_after))
        dark += _ones(w)
    return penalty + 10 * (abs(20 * dark - 10 * size * size) // (size * size))


@helper
def _ones(word: np.uint64) -> int:
    """How many bits are set; in the form that compilers know and replace by one instruction."""
    word = word - ((word >> _1) & _PAIRS)
    word = (word & _NIBBLES) + ((word >> _2) & _NIBBLES)
    word = (word + (word >> _4)) & _BYTES
    return ((int(word) * 0x0101010101010101 & 0xFFFFFFFFFFFFFFFF) >> 56) & 127


@helper
def _unpack(rows: npt.NDArray[np.uint64], size: int, modules: npt.NDArray[np.uint8]) -> None:
    """Row words to size * size modules, one after the other."""
    for row in range(size):
        word = rows[row]
        for column in range(size):
            modules[row * size + column] = (word >> np.uint64(63 - column)) & _1
