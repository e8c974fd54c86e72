"""The G5 bit stream of OpenEPaperLink labels: a relative of CCITT T.6, most significant bit first, no end marks.

Written from a description of the format. Rows are packed bits, (rows, row bytes) uint8; `width` is the row length in bits. Each row is
coded by where its colour changes, against the row above; the row above the first is all ones. Changes are counted from an imaginary 1
before column 0, so the first change ends a run of ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, cast

import numpy as np
import numpy.typing as npt

from render._jit import bare_kernel, helper
from render.errors import PayloadError

Bytes = npt.NDArray[np.uint8]
Places = npt.NDArray[np.int64]

CHANGES_MAX: Final = 636  # per row; the label's decoder has a table of this size
ROW_BITS_MAX: Final = 255 * 8  # a label refills its 1 KiB window below 256 bytes: a longer row would run dry
RUN_BITS_SHORT: Final = 3  # runs below 8 take 3 bits, others as many as the row width has
WIDTH_MAX: Final = 8191  # two runs of 13 bits fit beside what is not written yet; four times as wide as any panel

# offset of a change from the one above: (code, bits), from -3 to +3
_VERTICAL_CODES: Final = np.array([0b0000010, 0b000010, 0b010, 0b1, 0b011, 0b000011, 0b0000011], np.int64)
_VERTICAL_BITS: Final = np.array([7, 6, 3, 1, 3, 6, 7], np.int64)
_FIRST_ONE: Final = np.array([8 - value.bit_length() for value in range(256)], np.int64)  # place of a byte's highest 1 from its left
_ROW_SLACK_BYTES: Final = ROW_BITS_MAX // 8 + 24  # what a row can write before it is refused
_U: Final = np.uint64  # as an index: saves the test for a negative one
_N: Final = cast("Callable[[object], int]", np.int64)  # an array's element as a number to count with


def encode(rows: Bytes, width: int, size_max: int) -> bytes | None:
    """The stream, or None when it would be longer than `size_max` bytes or a row is too busy for the label's decoder.

    ValueError for rows that are not of this width, or wider than WIDTH_MAX.
    """
    if not 1 <= width <= WIDTH_MAX or rows.shape[1] != width + 7 >> 3:
        raise ValueError(f"rows of {rows.shape[1]} bytes and width {width}, expected {width + 7 >> 3} bytes and at most {WIDTH_MAX}")
    out = np.empty(size_max + _ROW_SLACK_BYTES, np.uint8)
    places = np.empty((2, width + 12), np.int64)
    size = _encode(np.ascontiguousarray(rows), width, width.bit_length(), size_max, places[0], places[1], out)
    return out[:size].tobytes() if size > 0 else None


@helper
def _changes(row: Bytes, width: int, places: Places) -> int:
    """Write the columns where a row's colour changes to `places`, and the width twice behind them; returns how many."""
    count = 0
    last = 1
    for at in range(width + 7 >> 3):
        byte = _N(row[_U(at)])
        differ = byte ^ (byte >> 1 | last << 7)
        last = byte & 1
        while differ != 0:
            place = _FIRST_ONE[_U(differ)]
            places[_U(count)] = 8 * at + place
            count += 1
            differ &= 0x7F >> place
    while count > 0 and places[count - 1] >= width:  # padding
        count -= 1
    for at in range(count, count + 3):
        places[_U(at)] = width
    return count


@bare_kernel
def _encode(rows: Bytes, width: int, width_bits: int, size_max: int, above: Places, current: Places, out: Bytes) -> int:
    """Write the stream to `out`; returns its length in bytes, or 0 when it is longer than `size_max` or a limit is broken.

    `above`, `current`: width + 12 places each to work with (a byte of padding, the end). `out`: _ROW_SLACK_BYTES longer than `size_max`.
    """
    for at in range(3):
        current[at] = width  # the row above the first has no changes
    size = 0
    ready = 0  # bits that are not written yet, `pending` of them: at most 31 between two codes
    pending = 0
    changes = 0
    for y in range(rows.shape[0]):
        if size > size_max:
            return 0
        same = y > 0
        for at in range(rows.shape[1] if same else 0):
            same &= rows[y, at] == rows[y - 1, at]
        if same:
            # every change and the end stand where they stood: a 1 each
            left = changes + 1
            while left > 0:
                bits = 24 if left > 24 else left
                ready = ready << bits | (1 << bits) - 1
                pending += bits
                left -= bits
                if pending >= 32:
                    pending -= 32
                    for byte in range(4):
                        out[_U(size + byte)] = ready >> pending + 24 - 8 * byte & 255
                    ready &= (1 << pending) - 1
                    size += 4
            continue
        above, current = current, above
        changes = _changes(rows[y], width, current)
        if changes > CHANGES_MAX:
            return 0
        row_start = size
        row_pending = pending
        a0 = -1
        own = 0  # place of a1; even places end a run of ones
        passed = 0  # no change above that is right of a0 and of a1's kind has a smaller place
        while a0 < width:
            a1 = current[_U(own)]
            reference = passed + ((passed ^ own) & 1)
            while above[_U(reference)] <= a0:
                reference += 2
            passed = reference - 1 if reference > 0 else 0
            b1 = above[_U(reference)]
            b2 = above[_U(reference + 1)]
            if b2 < a1:
                code = 0b0001
                bits = 4
                a0 = b2
            elif -3 <= a1 - b1 <= 3:
                code = _VERTICAL_CODES[_U(a1 - b1 + 3)]
                bits = _VERTICAL_BITS[_U(a1 - b1 + 3)]
                a0 = a1
                own += 1
            else:
                a2 = current[_U(own + 1)]
                run1 = a1 - a0 if a0 > 0 else a1
                run2 = a2 - a1
                bits1 = width_bits if run1 >= 8 else RUN_BITS_SHORT
                bits2 = width_bits if run2 >= 8 else RUN_BITS_SHORT
                code = (0b00100 | (2 if run1 >= 8 else 0) | (1 if run2 >= 8 else 0)) << bits1 + bits2 | run1 << bits2 | run2
                bits = 5 + bits1 + bits2
                a0 = a2
                own += 2
            ready = ready << bits | code
            pending += bits
            if pending >= 32:
                pending -= 32
                for byte in range(4):
                    out[_U(size + byte)] = ready >> pending + 24 - 8 * byte & 255
                ready &= (1 << pending) - 1
                size += 4
                if size - row_start > ROW_BITS_MAX // 8 + 8:
                    return 0
        if (size - row_start) * 8 + pending - row_pending > ROW_BITS_MAX:
            return 0
    ready <<= 32 - pending
    for byte in range(4):
        out[_U(size + byte)] = ready >> 24 - 8 * byte & 255
    size += (pending >> 3) + 1
    return size if size <= size_max else 0


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
