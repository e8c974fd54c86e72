"""Planes <-> the bytes that a label downloads. Fact source: OpenEPaperLink image encoding.

Codecs: `raw1` one plane, `raw2` two planes, `zlib` a container in a zlib stream with a 4 KiB window (the label's decompressor has no
more), `g5` the same container header before a G5 bit stream, for labels that know nothing better. A picture in black and white alone
travels as one plane, after which labels clear their second one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import g5
from render.errors import CodecRefused, PayloadError
from render.panels import Panel

Bytes = npt.NDArray[np.uint8]

# codec -> the image type that names it on the radio
IMAGE_TYPES: Final = {"raw1": 0x20, "raw2": 0x21, "zlib": 0x30, "g5": 0x31}
ZLIB_WINDOW_BITS: Final = 12  # 4 KiB, what the stock access point uses; labels refuse more than 8 KiB
_HEADER: Final = struct.Struct("<BHHB")  # length of the header itself, buffer width, buffer height, planes
_SIZE: Final = struct.Struct("<I")  # of the uncompressed container, header included


@dataclass(frozen=True, slots=True)
class Encoded:
    """`data` is the payload exactly as the label receives it."""

    codec: str
    data: bytes


def encode_smallest(panel: Panel, planes: Bytes, codecs: Sequence[str]) -> Encoded:
    """The smallest payload among the accepted codecs; a raw one unless compression makes it smaller.

    `codecs` in any order. Raises CodecRefused when none of them can carry the picture.
    """
    raw: Encoded | None = None
    best: Encoded | None = None
    reasons: list[str] = []
    for codec in dict.fromkeys(codecs):
        try:
            candidate = Encoded(codec, encode(codec, panel, planes))
        except CodecRefused as refused:
            reasons.append(str(refused))
            continue
        if codec.startswith("raw"):
            raw = candidate if raw is None or len(candidate.data) < len(raw.data) else raw
        elif best is None or len(candidate.data) < len(best.data):
            best = candidate
    chosen = raw if best is None or (raw is not None and len(raw.data) <= len(best.data)) else best
    if chosen is None:
        raise CodecRefused(f"{panel.name}: no accepted codec carries this picture: {'; '.join(reasons) or 'none is accepted'}")
    return chosen


def encode(codec: str, panel: Panel, planes: Bytes) -> bytes:
    """Payload of planes (bits, buffer height, row bytes). Raises CodecRefused when the codec cannot carry them on this panel."""
    shape = (panel.bits, panel.buffer_height, panel.row_bytes)
    if planes.shape != shape or planes.dtype != np.uint8:
        raise CodecRefused(f"{panel.name}: expected uint8 planes of shape {shape}, got {planes.dtype} {planes.shape}")
    if not any(codec == name for name, _ in panel.codecs):
        raise CodecRefused(f"{codec}: {panel.name} does not take it")
    sent = planes[:1] if not planes[1:].any() else planes
    raw = sent.tobytes()
    match codec:
        case "raw1":
            if len(sent) == 2:
                raise CodecRefused("raw1: the picture has colour")
            return raw
        case "raw2":
            return planes.tobytes()
        case "zlib":
            return _zlib(_header(panel, len(sent)) + raw)
        case "g5":
            stream = g5.encode(sent.reshape(-1, panel.row_bytes), panel.buffer_width, len(raw) - _HEADER.size)
            if stream is None:
                raise CodecRefused("g5: the stream is not smaller than raw, or a row is too busy for the label")
            return _header(panel, len(sent)) + stream
        case _:
            raise CodecRefused(f"{codec}: no such codec; known: {', '.join(IMAGE_TYPES)}")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a payload; a missing second plane is zero. Raises PayloadError for anything but one whole picture of this panel."""
    match codec:
        case "raw1":
            return _planes(panel, data, 1)
        case "raw2":
            return _planes(panel, data, 2)
        case "zlib":
            content = _unzlib(data, _HEADER.size + panel.bits * panel.plane_bytes)
            return _planes(panel, content[_HEADER.size :], _header_planes(panel, content))
        case "g5":
            count = _header_planes(panel, data)
            rows = g5.decode(data[_HEADER.size :], panel.buffer_width, panel.buffer_height * count)
            return _planes(panel, rows.tobytes(), count)
        case _:
            raise PayloadError(f"{codec}: no such codec; known: {', '.join(IMAGE_TYPES)}")


def _header(panel: Panel, count: int) -> bytes:
    return _HEADER.pack(_HEADER.size, panel.buffer_width, panel.buffer_height, count)


def _header_planes(panel: Panel, content: bytes) -> int:
    """Number of planes that a container announces for this panel."""
    if len(content) < _HEADER.size:
        raise PayloadError(f"{panel.name}: a container of {len(content)} bytes")
    size, width, height, depth = _HEADER.unpack_from(content)
    count = int(depth) & 0x0F
    if (size, width, height) != (_HEADER.size, panel.buffer_width, panel.buffer_height) or not 1 <= count <= panel.bits:
        raise PayloadError(f"{panel.name}: a container for {width}x{height} in {count} planes, header length {size}")
    return count


def _planes(panel: Panel, data: bytes, count: int) -> Bytes:
    if count > panel.bits or len(data) != count * panel.plane_bytes:
        raise PayloadError(f"{panel.name}: {len(data)} bytes for {count} planes of {panel.plane_bytes}")
    planes = np.zeros((panel.bits, panel.buffer_height, panel.row_bytes), np.uint8)
    planes[:count] = np.frombuffer(data, np.uint8).reshape(count, panel.buffer_height, panel.row_bytes)
    return planes


def _zlib(content: bytes) -> bytes:
    deflate = zlib.compressobj(9, zlib.DEFLATED, ZLIB_WINDOW_BITS)
    return _SIZE.pack(len(content)) + deflate.compress(content) + deflate.flush()


def _unzlib(data: bytes, size_max: int) -> bytes:
    """Content of a type 30 container; a wider window than a label has is an error, as is anything behind the stream."""
    inflate = zlib.decompressobj(ZLIB_WINDOW_BITS)
    try:
        content = inflate.decompress(data[_SIZE.size :], size_max + 1)
    except zlib.error as error:
        raise PayloadError(f"zlib: {error}") from error
    if not inflate.eof or inflate.unused_data or len(content) > size_max or data[: _SIZE.size] != _SIZE.pack(len(content)):
        raise PayloadError(f"zlib: {len(content)} bytes, not one whole stream of the size it states")
    return content
