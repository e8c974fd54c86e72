"""Pictures <-> what an eTag eStation base station takes: three bytes a pixel, blue first, top row first. Facts: its manual v0.16.

Codecs: `estation-gzip` (the task's compressed flag is true) and `estation-raw`. The station checks only the length and makes planes itself,
so every pixel is a pure colour of the palette. The attempt number is in pixels: whether stations pass over extra fields of a gzip header is
not known.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from render.codecs import planes as seen
from render.codecs import streams
from render.codecs.choice import check
from render.errors import CodecRefused, PayloadError
from render.panels import Layout, Panel

Bytes = npt.NDArray[np.uint8]


def encode(codec: str, panel: Panel, planes: Bytes) -> bytes:
    """Payload of this panel's planes. Raises CodecRefused for a codec that it does not take."""
    check(codec, panel)
    pixels = np.take(_colours(panel).view("V3").reshape(-1), seen.unpack(panel, planes)).tobytes()
    match codec:
        case "estation-raw":
            return pixels
        case "estation-gzip":
            return streams.gzip(pixels)
        case _:
            raise CodecRefused(f"{codec}: no codec of eStation labels")


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """Planes of a payload. Raises PayloadError for anything but one whole picture in this panel's pure colours."""
    size = 3 * panel.width * panel.height
    match codec:
        case "estation-raw":
            pixels = data
        case "estation-gzip":
            pixels = streams.gunzip(data, size)
        case _:
            raise PayloadError(f"{codec}: no codec of eStation labels")
    if panel.wire.layout is not Layout.BGR24 or len(pixels) != size:
        raise PayloadError(f"{panel.name}: {len(pixels)} bytes of pixels, expected {size}")
    found = np.frombuffer(pixels, np.uint8).reshape(panel.height, panel.width, 3).astype(np.uint32)
    numbers = found[:, :, 0] | found[:, :, 1] << 8 | found[:, :, 2] << 16
    indices = np.full((panel.height, panel.width), 255, np.uint8)
    for index, (blue, green, red) in enumerate(_colours(panel).tolist()):
        indices[numbers == blue | green << 8 | red << 16] = index
    if int(indices.max()) == 255:
        row, column = (int(place) for place in np.argwhere(indices == 255)[0])
        raise PayloadError(f"{panel.name}: pixel {column},{row} is no pure colour of its palette")
    return seen.pack(panel, indices)


def _colours(panel: Panel) -> Bytes:
    return np.array([ink.rgb[::-1] for ink in panel.palette], np.uint8)
