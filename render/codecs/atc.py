"""Planes <-> the image of a label with the ATC firmware. Facts: py-atc-ble-oepl 0.6.0, which uploads to the same firmware.

Codecs: `atc-raw` the planes one after the other, `atc-zlib` a container in a zlib stream with a 4 KiB window. Bits run on across row ends.
A colour panel always gets both planes. Ports that refuse zlib do so when the upload is announced; the caller then sends `atc-raw`.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import numpy.typing as npt

from render.codecs import packed, streams
from render.codecs.choice import check
from render.codecs.streams import SMALLEST, How
from render.errors import CodecRefused, PayloadError
from render.panels import Panel

Bytes = npt.NDArray[np.uint8]

WINDOW_BITS: Final = 12
_HEADER: Final = struct.Struct("<BHHB")  # length of the header itself, buffer width, buffer height, planes
_SIZE: Final = struct.Struct("<I")  # of the planes alone: unlike OpenEPaperLink's, without the header


def image_type(codec: str, panel: Panel) -> int:
    """The type that names a payload in its announcement."""
    if codec == "atc-zlib":
        return 0x30
    return 0x21 if panel.wire_bits == 2 else 0x20


def encode(codec: str, panel: Panel, planes: Bytes, how: How = SMALLEST) -> bytes:
    """Payload of this panel's planes; `how` for zlib. Raises CodecRefused for a codec that it does not take."""
    check(codec, panel)
    pixels = packed.to_wire(panel, planes)
    match codec:
        case "atc-raw":
            return pixels
        case "atc-zlib":
            return _SIZE.pack(len(pixels)) + how.stream(_header(panel) + pixels, WINDOW_BITS)
        case _:
            raise CodecRefused(f"{codec}: no codec of ATC labels")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a payload. Raises PayloadError for anything but one whole picture of this panel."""
    match codec:
        case "atc-raw":
            return packed.from_wire(panel, data)
        case "atc-zlib":
            size = packed.wire_bytes(panel)
            content = streams.inflate(data[_SIZE.size :], WINDOW_BITS, _HEADER.size + size)
            if data[: _SIZE.size] != _SIZE.pack(size) or content[: _HEADER.size] != _header(panel):
                raise PayloadError(f"{panel.name}: a container of another picture")
            return packed.from_wire(panel, content[_HEADER.size :])
        case _:
            raise PayloadError(f"{codec}: no codec of ATC labels")


def _header(panel: Panel) -> bytes:
    return _HEADER.pack(_HEADER.size, panel.buffer_width, panel.buffer_height, panel.wire_bits)
