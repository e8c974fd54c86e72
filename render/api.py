"""All that the daemon calls. `LabelFields` and `content_hash` come from `render.fields`, which loads no numpy: the main process imports
that module, the render workers this one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from render import raster, scene, templates
from render.codecs import oepl, planes
from render.errors import RenderError
from render.fields import LabelFields, content_hash
from render.panels import Panel, panel

__all__ = [
    "LabelFields",
    "RenderError",
    "Rendered",
    "content_hash",
    "indices_to_png",
    "panel",
    "payload_to_indices",
    "picture",
    "render",
    "to_png",
    "warm_up",
]

Bytes = npt.NDArray[np.uint8]

PNG_SCALE_MAX: Final = 16  # the widest panel then is 15,360 pixels wide: a poster


@dataclass(frozen=True, slots=True)
class Rendered:
    """`data` in `codec` is what the label downloads. `content_hash` says whether to send, `picture_hash` what the label then shows:
    sha256 hex over the palette indices, row by row, attempt pixels included."""

    codec: str
    data: bytes
    content_hash: str
    picture_hash: str


def render(label: LabelFields, attempt: int, codecs: Sequence[str]) -> Rendered:
    """Draw a label and encode it in the smallest of the accepted codecs. Raises RenderError.

    `attempt` (u32) goes into pixels of its own, so two attempts never have equal payloads.
    """
    kind = panel(label.panel)
    indices = picture(label, attempt)
    encoded = oepl.encode_smallest(kind, planes.pack(kind, indices), codecs)
    return Rendered(
        codec=encoded.codec,
        data=encoded.data,
        content_hash=content_hash(label),
        picture_hash=hashlib.sha256(indices.tobytes()).hexdigest(),
    )


def picture(label: LabelFields, attempt: int = 0) -> Bytes:
    """The label as palette indices (height, width) as a person sees it, attempt pixels included."""
    kind = panel(label.panel)
    indices = raster.draw(scene.build(label, templates.load(label.template), kind), kind)
    planes.stamp_attempt(kind, indices, attempt)
    return indices


def to_png(label: LabelFields, attempt: int = 0, scale: int = 1) -> bytes:
    """The label as the panel shows it, each pixel `scale` times as large. Raises RenderError."""
    return indices_to_png(panel(label.panel), picture(label, attempt), scale)


def payload_to_indices(kind: Panel, codec: str, data: bytes) -> Bytes:
    """What a label shows after downloading this payload: palette indices (height, width). Raises PayloadError."""
    return planes.unpack(kind, oepl.decode(codec, kind, data))


def indices_to_png(kind: Panel, indices: Bytes, scale: int = 1) -> bytes:
    """A palette PNG of a picture of this panel."""
    if not 1 <= scale <= PNG_SCALE_MAX:
        raise ValueError(f"scale {scale} is outside 1 to {PNG_SCALE_MAX}")
    image = Image.fromarray(np.repeat(np.repeat(indices, scale, axis=0), scale, axis=1))
    image.putpalette([channel for ink in kind.palette for channel in ink.rgb])
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def warm_up() -> None:
    """Compile or load every kernel and the fonts, so that the first label does not wait. For a worker's start."""
    label = LabelFields(template="unassigned", panel="oepl-01", label_id="warm up")
    result = render(label, 0, ("g5",))
    payload_to_indices(panel(label.panel), result.codec, result.data)
    raster.dithered("mark.png", ((0, (255, 255, 255)), (1, (0, 0, 0))))
