"""The G5 bit stream of OpenEPaperLink labels: a relative of CCITT T.6, most significant bit first, no end marks.

Written from a description of the format. Rows are packed bits, (rows, row bytes) uint8; `width` is the row length in bits. Each row is
coded by where its colour changes, against the row above; the row above the first is all ones. Changes are counted from an imaginary 1
before column 0, so the first change ends a run of ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render._jit import helper, kernel
from render.errors import PayloadError

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

CHANGES_MAX: Final = 636  # per row; the label's decoder has a table of this size
ROW_BITS_MAX: Final = 255 * 8  # a label refills its 1 KiB window below 256 bytes: a longer row would run dry
RUN_BITS_SHORT: Final = 3  # runs below 8 take 3 bits, others as many as the row width has

# offset of a change from the one above: (code, bits), from -3 to +3
_VERTICAL_CODES: Final = np.array([0b0000010, 0b000010, 0b010, 0b1, 0b011, 0b000011, 0b0000011], np.int64)
_VERTICAL_BITS: Final = np.array([7, 6, 3, 1, 3, 6, 7], np.int64)


def encode(rows: Bytes, width: int, size_max: int) -> bytes | None:
    """The stream, or None when it would be longer than `size_max` bytes or a row is too busy for the label's decoder."""
    out = np.zeros(size_max + 1, np.uint8)
    size = _encode(np.ascontiguousarray(rows), width, width.bit_length(), out)
    return out[:size].tobytes() if 0 < size <= size_max else None


@helper
def _put(out: Bytes, position: int, code: int, bits: int) -> int:
    """Write `bits` bits at a bit position; returns the next position. Bits behind the end of `out` are dropped."""
    for place in range(bits - 1, -1, -1):
        if code >> place & 1 and position >> 3 < out.shape[0]:
            out[position >> 3] |= np.uint8(128 >> (position & 7))
        position += 1
    return position


@kernel
def _encode(rows: Bytes, width: int, width_bits: int, out: Bytes) -> int:
    """Write the stream to zeroed `out`; returns its length in bytes, or -1 when it does not fit or a limit is broken."""
    above = np.full(width + 4, width, np.int64)
    current = np.full(width + 4, width, np.int64)
    position = 0
    for y in range(rows.shape[0]):
        changes = 0
        last = 1
        for x in range(width):
            bit = rows[y, x >> 3] >> (7 - (x & 7)) & 1
            if bit != last:
                current[changes] = x
                changes += 1
                last = bit
        if changes > CHANGES_MAX:
            return -1
        for place in range(changes, changes + 4):
            if place < current.shape[0]:
                current[place] = width
        row_start = position
        a0 = -1
        own = 0  # place of a1; even places end a run of ones
        passed = 0  # changes above that are not right of a0
        while a0 < width:
            a1 = current[own]
            while above[passed] <= a0:
                passed += 1
            ref = passed + ((passed ^ own) & 1)
            b1 = above[ref]
            b2 = above[ref + 1]
            if b2 < a1:
                position = _put(out, position, 0b0001, 4)
                a0 = b2
            elif -3 <= a1 - b1 <= 3:
                position = _put(out, position, _VERTICAL_CODES[a1 - b1 + 3], _VERTICAL_BITS[a1 - b1 + 3])
                a0 = a1
                own += 1
            else:
                a2 = current[own + 1]
                run1 = a1 - max(a0, 0)
                run2 = a2 - a1
                position = _put(out, position, 0b001, 3)
                position = _put(out, position, int(run1 >= 8) * 2 + int(run2 >= 8), 2)
                position = _put(out, position, run1, width_bits if run1 >= 8 else RUN_BITS_SHORT)
                position = _put(out, position, run2, width_bits if run2 >= 8 else RUN_BITS_SHORT)
                a0 = a2
                own += 2
            if position - row_start > ROW_BITS_MAX or (position >> 3) >= out.shape[0]:
                return -1
        above, current = current, above
    return (position >> 3) + 1


def encode_reference(rows: Bytes, width: int) -> bytes:
    """What `encode` computes, without its limits, in plain Python with lists and text."""
    verticals = {0: "1", 1: "011", -1: "010", 2: "000011", -2: "000010", 3: "0000011", -3: "0000010"}
    stream: list[str] = []
    above: list[int] = []
    for row in rows:
        bits = [1, *(int(bit) for bit in np.unpackbits(row, count=width))]
        current = [x for x in range(width) if bits[x + 1] != bits[x]]
        a0, colour = -1, 1
        while a0 < width:
            a1, a2 = ([x for x in current if x > a0] + [width, width])[:2]
            b1, b2 = ([x for place, x in enumerate(above) if x > a0 and (place % 2 == 0) == (colour == 1)] + [width])[0], width
            b2 = ([x for x in above if x > b1] + [width])[0]
            if b2 < a1:
                stream.append("0001")
                a0 = b2
            elif a1 - b1 in verticals:
                stream.append(verticals[a1 - b1])
                a0, colour = a1, 1 - colour
            else:
                runs = (a1 - max(a0, 0), a2 - a1)
                stream.append("001" + "".join("1" if run >= 8 else "0" for run in runs))
                stream.extend(format(run, f"0{width.bit_length() if run >= 8 else 3}b") for run in runs)
                a0 = a2
        above = current
    text = "".join(stream)
    return bytes(int(text[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(text) + 1, 8))


def decode(data: bytes, width: int, height: int) -> Bytes:
    """Rows (height, row bytes) of a stream. PayloadError when it is not a whole picture of this size."""
    bits = _Bits(data)
    rows = np.ones((height, width), np.uint8)
    above: list[int] = []
    for y in range(height):
        above = _decode_row(bits, above, width)
        for start, end in zip(above[::2], [*above[1::2], width][: len(above[::2])], strict=True):
            rows[y, start:end] = 0
    if bits.position // 8 + 1 != len(data):
        raise PayloadError(f"g5: the picture ends in byte {bits.position // 8 + 1} of {len(data)}")
    return np.packbits(rows, axis=1)


class _Bits:
    """Reads a byte string bit by bit; PayloadError behind its end."""

    def __init__(self, data: bytes) -> None:
        self._text = "".join(format(byte, "08b") for byte in data)
        self.position = 0

    def take(self, bits: int) -> int:
        text = self._text[self.position : self.position + bits]
        if len(text) < bits:
            raise PayloadError("g5: the stream ends within a row")
        self.position += bits
        return int(text, 2)

    def code(self) -> str:
        """The next prefix code. No code is longer than 7 bits, and 0000000 is none."""
        start = self.position
        while (text := self._text[start : self.position]) not in _CODES:
            self.take(1)
            if self.position - start > 7:
                raise PayloadError(f"g5: no such code at bit {start}")
        return text


_CODES: Final[dict[str, int | None]] = {
    "1": 0,
    "011": 1,
    "010": -1,
    "000011": 2,
    "000010": -2,
    "0000011": 3,
    "0000010": -3,
    "001": None,
    "0001": None,
}


def _decode_row(bits: _Bits, above: list[int], width: int) -> list[int]:
    """The changes of one row, from those of the row above."""
    changes: list[int] = []
    a0 = -1
    while a0 < width:
        code = bits.code()
        offset = _CODES[code]
        b1 = next((x for x in above[len(changes) % 2 :: 2] if x > a0), width)
        if offset is not None:
            a0 = _placed(changes, b1 + offset, a0, width)
        elif code == "0001":
            a0 = next((x for x in above if x > b1), width)
            if a0 == width:
                raise PayloadError("g5: a pass to the end of a row")
        else:
            long1, long2 = bits.take(1), bits.take(1)
            run1 = bits.take(width.bit_length() if long1 else RUN_BITS_SHORT)
            run2 = bits.take(width.bit_length() if long2 else RUN_BITS_SHORT)
            a1 = _placed(changes, max(a0, 0) + run1, a0, width)
            a0 = a1 if a1 == width and run2 == 0 else _placed(changes, a1 + run2, a1, width)
    return changes


def _placed(changes: list[int], x: int, a0: int, width: int) -> int:
    """Note a change at x, which must lie right of a0; the end of the row is no change."""
    if not a0 < x <= width:
        raise PayloadError(f"g5: a change at {x} after one at {a0} in a row of {width}")
    if x < width:
        changes.append(x)
    return x
