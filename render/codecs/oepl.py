"""Planes <-> the bytes that an OpenEPaperLink label downloads. Fact source: OpenEPaperLink image encoding.

Codecs: `raw1` one plane, `raw2` two planes, `raw3` and `raw4` pixels of three and four bits side by side, `zlib` a container in a zlib
stream with a 4 KiB window (the label's decompressor has no more), `g5` the same container header before a G5 bit stream, for labels that
know nothing better. A picture in black and white alone travels as one plane, after which labels clear their second one.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import g5, packed, streams
from render.codecs.choice import Encoded, check, smallest
from render.codecs.streams import SMALLEST, How
from render.errors import CodecRefused, PayloadError
from render.panels import Layout, Panel

__all__ = ["IMAGE_TYPES", "Encoded", "decode", "encode", "encode_smallest"]

Bytes = npt.NDArray[np.uint8]

# codec -> the image type that names it on the radio
IMAGE_TYPES: Final = {"raw1": 0x20, "raw2": 0x21, "raw3": 0x22, "raw4": 0x23, "zlib": 0x30, "g5": 0x31}
ZLIB_WINDOW_BITS: Final = 12  # 4 KiB, what the stock access point uses; labels refuse more than 8 KiB
_HEADER: Final = struct.Struct("<BHHB")  # length of the header itself, buffer width, buffer height, planes
_SIZE: Final = struct.Struct("<I")  # of the uncompressed container, header included


def encode_smallest(panel: Panel, planes: Bytes, codecs: Sequence[str], how: How = SMALLEST) -> Encoded:
    """The smallest payload among the accepted codecs; a raw one unless compression makes it smaller.

    `codecs` in any order, `how` for zlib. Raises CodecRefused when none of them can carry the picture.
    """
    return smallest(panel, codecs, lambda codec: encode(codec, panel, planes, how))


def encode(codec: str, panel: Panel, planes: Bytes, how: How = SMALLEST) -> bytes:
    """Payload of planes (bits, buffer height, row bytes). Raises CodecRefused when the codec cannot carry them on this panel."""
    shape = (panel.bits, panel.buffer_height, panel.row_bytes)
    if planes.shape != shape or planes.dtype != np.uint8:
        raise CodecRefused(f"{panel.name}: expected uint8 planes of shape {shape}, got {planes.dtype} {planes.shape}")
    check(codec, panel)
    if panel.wire.layout is Layout.PACKED:
        if codec != f"raw{panel.wire_bits}":
            raise CodecRefused(f"{codec}: {panel.name} has packed pixels of {panel.wire_bits} bits")
        return packed.to_wire(panel, planes)
    codes = packed.code_planes(panel, planes)
    sent = codes[:1] if not codes[1:].any() else codes
    match codec:
        case "raw1":
            if len(sent) > 1:
                raise CodecRefused("raw1: the picture has colour")
            return sent.tobytes()
        case "raw2":
            return codes.tobytes()
        case "zlib":
            content = _header(panel, len(sent)) + sent.tobytes()
            return _SIZE.pack(len(content)) + how.stream(content, ZLIB_WINDOW_BITS)
        case "g5":
            stream = g5.encode(sent.reshape(-1, panel.row_bytes), panel.buffer_width, sent.nbytes - _HEADER.size)
            if stream is None:
                raise CodecRefused("g5: the stream is not smaller than raw, or a row is too busy for the label")
            return _header(panel, len(sent)) + stream
        case _:
            raise CodecRefused(f"{codec}: no such codec; known: {', '.join(IMAGE_TYPES)}")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a payload; a missing second plane is zero. Raises PayloadError for anything but one whole picture of this panel."""
    if codec in ("raw3", "raw4"):
        if panel.wire.layout is not Layout.PACKED or codec != f"raw{panel.wire_bits}":
            raise PayloadError(f"{codec}: {panel.name} has no packed pixels of that many bits")
        return packed.from_wire(panel, data)
    if panel.wire.layout is not Layout.PLANES:
        raise PayloadError(f"{codec}: {panel.name} has no planes")
    match codec:
        case "raw1":
            return _planes(panel, data, 1)
        case "raw2":
            return _planes(panel, data, 2)
        case "zlib":
            content = streams.inflate(data[_SIZE.size :], ZLIB_WINDOW_BITS, _HEADER.size + panel.wire_bits * panel.plane_bytes)
            if data[: _SIZE.size] != _SIZE.pack(len(content)):
                raise PayloadError(f"zlib: {len(content)} bytes, not the size that the container states")
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
    if (size, width, height) != (_HEADER.size, panel.buffer_width, panel.buffer_height) or not 1 <= count <= panel.wire_bits:
        raise PayloadError(f"{panel.name}: a container for {width}x{height} in {count} planes, header length {size}")
    return count


def _planes(panel: Panel, data: bytes, count: int) -> Bytes:
    if count > panel.wire_bits or len(data) != count * panel.plane_bytes:
        raise PayloadError(f"{panel.name}: {len(data)} bytes for {count} planes of {panel.plane_bytes}")
    codes = np.zeros((panel.wire_bits, panel.buffer_height, panel.row_bytes), np.uint8)
    codes[:count] = np.frombuffer(data, np.uint8).reshape(count, panel.buffer_height, panel.row_bytes)
    return packed.index_planes(panel, codes)
