"""Planes <-> the image of a Gicisky / PICKSMART label with its maker's firmware. Facts: Home Assistant's Gicisky integration.

Codecs: `gicisky` the pixels alone (standard, four colours and TFT, as the panel says); `gicisky-lines` (its "compression 1") each line in
a frame of its own; `gicisky-quick` (its "compression 2") two halves of QuickLZ chunks; `gicisky-stored` the same with no chunk coded, legal
by the format and not seen on hardware. There is no checksum anywhere: what is wrong is shown wrong.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import packed, quicklz
from render.codecs.choice import check
from render.errors import CodecRefused, PayloadError
from render.panels import Layout, Panel

Bytes = npt.NDArray[np.uint8]

_SIZE: Final = struct.Struct("<I")
_LINE_HEADER_BYTES: Final = 7  # 75, length of all, bytes of pixels, an empty control word
_LINE_BYTES_MAX: Final = 0xFF - _LINE_HEADER_BYTES


def encode(codec: str, panel: Panel, planes: Bytes) -> bytes:
    """Payload of this panel's planes. Raises CodecRefused for a codec that it does not take."""
    check(codec, panel)
    pixels = packed.to_wire(panel, planes)
    match codec:
        case "gicisky":
            return pixels
        case "gicisky-lines":
            header = _line_header(panel)
            if header is None:
                raise CodecRefused(f"{codec}: {panel.name} has no lines of whole bytes")
            lines = np.frombuffer(pixels, np.uint8).reshape(-1, header[2])
            framed = np.hstack((np.tile(np.frombuffer(header, np.uint8), (len(lines), 1)), lines)).tobytes()
            return _SIZE.pack(_SIZE.size + len(framed)) + framed
        case "gicisky-quick" | "gicisky-stored":
            stored = codec == "gicisky-stored"
            middle = len(pixels) // 2
            return _SIZE.pack(len(pixels) - middle) + quicklz.encode(pixels[:middle], stored) + quicklz.encode(pixels[middle:], stored)
        case _:
            raise CodecRefused(f"{codec}: no codec of Gicisky labels")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a payload. Raises PayloadError for anything but one whole picture of this panel."""
    if panel.wire.layout is Layout.BGR24:
        raise PayloadError(f"{panel.name}: its pixels are colours, not codes")
    match codec:
        case "gicisky":
            return packed.from_wire(panel, data)
        case "gicisky-lines":
            return packed.from_wire(panel, _unframed(panel, data))
        case "gicisky-quick" | "gicisky-stored":
            size = packed.wire_bytes(panel)
            if data[: _SIZE.size] != _SIZE.pack(size - size // 2):
                raise PayloadError(f"{panel.name}: the first four bytes are not the length of the second half")
            return packed.from_wire(panel, b"".join(quicklz.decode(data[_SIZE.size :], (size // 2, size - size // 2))))
        case _:
            raise PayloadError(f"{codec}: no codec of Gicisky labels")


def _line_header(panel: Panel) -> bytes | None:
    """What precedes each line; None when this panel's lines (as many as it is wide, each as long as it is high) are no whole bytes."""
    line_bytes = panel.height // 8
    if panel.height % 8 or line_bytes > _LINE_BYTES_MAX or panel.wire.layout is not Layout.PLANES:
        return None
    return bytes((quicklz.CODED, line_bytes + _LINE_HEADER_BYTES, line_bytes, 0, 0, 0, 0))


def _unframed(panel: Panel, data: bytes) -> bytes:
    header = _line_header(panel)
    if header is None or len(data) % (_LINE_HEADER_BYTES + header[2]) != _SIZE.size or data[: _SIZE.size] != _SIZE.pack(len(data)):
        raise PayloadError(f"{panel.name}: {len(data)} bytes are no whole lines of this panel")
    lines = np.frombuffer(data, np.uint8, offset=_SIZE.size).reshape(-1, _LINE_HEADER_BYTES + header[2])
    if not (lines[:, :_LINE_HEADER_BYTES] == np.frombuffer(header, np.uint8)).all():
        raise PayloadError(f"{panel.name}: a line that does not begin with {header.hex()}")
    return lines[:, _LINE_HEADER_BYTES:].tobytes()
