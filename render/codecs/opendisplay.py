"""Planes <-> the image stream of an OpenDisplay label. Facts: its firmware and py-opendisplay 7.14.1.

Codecs: `od-raw` the pixels of the label's colour scheme, `od-zlib` those in a zlib stream with a 512-byte window (the firmware refuses a
header that states more). A partial update is another stream: the old pixels of a rectangle, then the new ones.

Rows are padded to whole bytes, as py-opendisplay sends them; it warns that current firmware counts bytes without the padding and so loses
the last rows of panels whose width is no whole bytes.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import packed, streams
from render.codecs.choice import check
from render.codecs.streams import SMALLEST, How
from render.errors import CodecRefused, PayloadError
from render.panels import Box, Panel

Bytes = npt.NDArray[np.uint8]

WINDOW_BITS: Final = 9  # 512 bytes


def encode(codec: str, panel: Panel, planes: Bytes, how: How = SMALLEST) -> bytes:
    """Payload of this panel's planes; `how` for zlib. Raises CodecRefused for a codec that it does not take."""
    check(codec, panel)
    match codec:
        case "od-raw":
            return packed.to_wire(panel, planes)
        case "od-zlib":
            return how.stream(packed.to_wire(panel, planes), WINDOW_BITS)
        case _:
            raise CodecRefused(f"{codec}: no codec of OpenDisplay labels")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a payload. Raises PayloadError for anything but one whole picture of this panel."""
    match codec:
        case "od-raw":
            return packed.from_wire(panel, data)
        case "od-zlib":
            return packed.from_wire(panel, streams.inflate(data, WINDOW_BITS, packed.wire_bytes(panel)))
        case _:
            raise PayloadError(f"{codec}: no codec of OpenDisplay labels")


def changed_box(panel: Panel, old: Bytes, new: Bytes) -> Box | None:
    """The smallest rectangle of the buffer that a partial update can replace to turn planes `old` into `new`; None when they are equal.

    In buffer coordinates, x and width multiples of 8. Raises CodecRefused for a panel that the firmware updates only as a whole: with
    colour or greys, or where the change reaches a last column that no multiple of 8 covers.
    """
    _check_partial(panel)
    changed = old[0] ^ new[0]
    rows = np.flatnonzero(changed.any(axis=1))
    if rows.size == 0:
        return None
    columns = np.flatnonzero(changed.any(axis=0))
    top, left, right = int(rows[0]), 8 * int(columns[0]), 8 * int(columns[-1]) + 8
    if right > panel.buffer_width:
        raise CodecRefused(f"{panel.name}: the change reaches beyond column {panel.buffer_width // 8 * 8}, where no partial update can")
    return Box(left, top, right - left, int(rows[-1]) + 1 - top)


def encode_partial(panel: Panel, old: Bytes, new: Bytes, box: Box) -> bytes:
    """The stream that replaces a rectangle: old pixels, then new ones, one bit each, 1 = white. `old` and `new` are planes of the panel.

    Raises CodecRefused when the firmware would refuse the rectangle.
    """
    _check_box(panel, box)
    cut = (slice(None), slice(box.y, box.bottom), slice(box.x // 8, box.right // 8))
    return b"".join(np.ascontiguousarray(packed.code_planes(panel, planes)[cut]).tobytes() for planes in (old, new))


def decode_partial(panel: Panel, planes: Bytes, box: Box, data: bytes) -> Bytes:
    """What a label that shows `planes` shows after a partial update. Raises PayloadError when the stream has another length or its old
    pixels are not those shown."""
    try:
        _check_box(panel, box)
    except CodecRefused as refused:
        raise PayloadError(str(refused)) from refused
    size = box.width // 8 * box.height
    if len(data) != 2 * size:
        raise PayloadError(f"{panel.name}: {len(data)} bytes for a rectangle of {box.width}x{box.height}, expected {2 * size}")
    if encode_partial(panel, planes, planes, box)[:size] != data[:size]:
        raise PayloadError(f"{panel.name}: the old pixels of the rectangle are not those that the label shows")
    codes = packed.code_planes(panel, planes).copy()
    codes[0, box.y : box.bottom, box.x // 8 : box.right // 8] = np.frombuffer(data[size:], np.uint8).reshape(box.height, -1)
    return packed.index_planes(panel, codes)


def _check_partial(panel: Panel) -> None:
    if panel.wire_bits != 1 or panel.family != "opendisplay":
        raise CodecRefused(f"{panel.name}: only black and white OpenDisplay panels take partial updates")


def _check_box(panel: Panel, box: Box) -> None:
    _check_partial(panel)
    if box.x % 8 or box.width % 8 or box.width <= 0 or box.height <= 0:
        raise CodecRefused(f"{panel.name}: rectangle {box}: x and width must be multiples of 8, and it must not be empty")
    if not box.inside(Box(0, 0, panel.buffer_width, panel.buffer_height)):
        raise CodecRefused(f"{panel.name}: rectangle {box} is outside the buffer of {panel.buffer_width}x{panel.buffer_height}")
