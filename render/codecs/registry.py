"""Every codec by its name: picture -> payload -> picture.

A picture is palette indices (height, width) as a person sees it, or planes (bits, buffer height, row bytes) as `planes.pack` makes them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from render.codecs import atc, estation, gicisky, kkm, oepl, opendisplay, planes, streams
from render.codecs.choice import Encoded, smallest
from render.codecs.streams import SMALLEST, How
from render.errors import CodecRefused, PayloadError
from render.panels import Panel

__all__ = ["CODECS", "Codec", "Encoded", "decode", "encode", "encode_smallest", "read_attempt"]

Bytes = npt.NDArray[np.uint8]
AttemptPlace = Literal["pixels", "container"]


@dataclass(frozen=True, slots=True)
class Codec:
    """One encoding. `attempt_in`: what makes two sendings of one picture differ: its reserved pixels, or a number in the container.
    `salt_at`: where in the payload the zlib stream begins that can carry a number as well (`How.salt`), where pixels shall be equal; None
    for codecs without zlib."""

    name: str
    family: str
    attempt_in: AttemptPlace
    encode: Callable[[Panel, Bytes, int, How], bytes]  # of planes and an attempt number, which only containers use
    decode: Callable[[Panel, bytes], Bytes]  # to planes
    salt_at: int | None = None


def encode(codec: str, panel: Panel, picture: Bytes, attempt: int = 0, how: How = SMALLEST) -> bytes:
    """Payload of a picture, exactly as the label or its base station receives it.

    `attempt` goes into the container of a codec that has a place for it; otherwise stamp it into the picture (`planes.stamp_attempt`) or,
    where the codec has `salt_at`, give it as `how.salt`.
    Raises CodecRefused when the codec cannot carry the picture on this panel, PayloadError for a picture of another shape or colour.
    """
    if codec not in CODECS:
        raise CodecRefused(f"{codec}: no such codec; known: {', '.join(CODECS)}")
    return CODECS[codec].encode(panel, _planes(panel, picture), attempt, how)


def decode(codec: str, panel: Panel, data: bytes) -> Bytes:
    """What a label shows after this payload: palette indices (height, width). Raises PayloadError."""
    if codec not in CODECS:
        raise PayloadError(f"{codec}: no such codec; known: {', '.join(CODECS)}")
    return planes.unpack(panel, CODECS[codec].decode(panel, data))


def encode_smallest(panel: Panel, picture: Bytes, codecs: Sequence[str], attempt: int = 0, how: How = SMALLEST) -> Encoded:
    """The smallest payload among the accepted codecs, in any order; a raw one unless compression makes it smaller. Raises as `encode`."""
    packed = _planes(panel, picture)
    return smallest(panel, codecs, lambda codec: encode(codec, panel, packed, attempt, how))


def read_attempt(codec: str, panel: Panel, data: bytes) -> int:
    """The attempt number that a payload carries: in its container, in its stream, else in its pixels. Raises PayloadError."""
    picture = decode(codec, panel, data)
    row = CODECS[codec]
    if row.attempt_in == "container":
        return kkm.read_attempt(data)
    if row.salt_at is not None and (salt := streams.salt_of(data[row.salt_at :])):
        return salt
    return planes.read_attempt(picture, panel.black)


def _planes(panel: Panel, picture: Bytes) -> Bytes:
    if picture.ndim == 2:
        return planes.pack(panel, picture)
    shape = (panel.bits, panel.buffer_height, panel.row_bytes)
    if picture.shape != shape or picture.dtype != np.uint8:
        raise PayloadError(f"{panel.name}: expected uint8 planes of shape {shape}, got {picture.dtype} {picture.shape}")
    return picture


def _in_pixels(
    name: str, family: str, encoder: Callable[[str, Panel, Bytes], bytes], decoder: Callable[[str, Panel, bytes], Bytes]
) -> Codec:
    return Codec(
        name,
        family,
        "pixels",
        lambda panel, picture, _attempt, _how: encoder(name, panel, picture),
        lambda panel, data: decoder(name, panel, data),
    )


def _zlib(
    name: str, family: str, salt_at: int, encoder: Callable[[str, Panel, Bytes, How], bytes], decoder: Callable[[str, Panel, bytes], Bytes]
) -> Codec:
    return Codec(
        name,
        family,
        "pixels",
        lambda panel, picture, _attempt, how: encoder(name, panel, picture, how),
        lambda panel, data: decoder(name, panel, data),
        salt_at,
    )


CODECS: Final[dict[str, Codec]] = {
    codec.name: codec
    for codec in (
        *(_in_pixels(name, "oepl", oepl.encode, oepl.decode) for name in oepl.IMAGE_TYPES if name != "zlib"),
        _zlib("zlib", "oepl", 4, oepl.encode, oepl.decode),
        _in_pixels("od-raw", "opendisplay", opendisplay.encode, opendisplay.decode),
        _zlib("od-zlib", "opendisplay", 0, opendisplay.encode, opendisplay.decode),
        _in_pixels("atc-raw", "atc", atc.encode, atc.decode),
        _zlib("atc-zlib", "atc", 4, atc.encode, atc.decode),
        *(
            _in_pixels(name, "gicisky", gicisky.encode, gicisky.decode)
            for name in ("gicisky", "gicisky-lines", "gicisky-quick", "gicisky-stored")
        ),
        *(_in_pixels(name, "estation", estation.encode, estation.decode) for name in ("estation-raw", "estation-gzip")),
        Codec(
            "kkm",
            "kkm",
            "container",
            lambda panel, picture, attempt, _how: kkm.encode("kkm", panel, picture, attempt),
            lambda panel, data: kkm.decode("kkm", panel, data),
        ),
    )
}
