"""All that the daemon calls. `LabelFields` and `content_hash` come from `render.fields`, which loads no numpy: the main process imports
that module, the render workers this one."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from render import raster, scene, templates
from render.codecs import planes, registry
from render.codecs.choice import is_raw
from render.codecs.streams import SMALLEST, How
from render.errors import CodecRefused, RenderError
from render.fast.engine import Engine
from render.fields import SHIPPED, TEMPLATE_FOLDER, LabelFields, TemplateSource, content_hash
from render.panels import Panel, panel
from render.symbols import qr

__all__ = [
    "LabelFields",
    "RenderError",
    "Rendered",
    "content_hash",
    "indices_to_png",
    "panel",
    "payload_to_indices",
    "picture",
    "picture_hash",
    "render",
    "render_many",
    "scene_json",
    "to_png",
    "warm_up",
]

Bytes = npt.NDArray[np.uint8]

PNG_SCALE_MAX: Final = 16  # the widest panel then is 15,360 pixels wide: a poster

_ENGINE: Final = Engine()


@dataclass(frozen=True, slots=True)
class Rendered:
    """`data` in `codec` is what the label downloads, `picture_hash` says what it then shows."""

    codec: str
    data: bytes
    picture_hash: str


def render(label: LabelFields, attempt: int, codecs: Sequence[str], source: TemplateSource = SHIPPED, how: How = SMALLEST) -> Rendered:
    """Draw a label and encode it in the smallest of the accepted codecs. Raises RenderError.

    `attempt` (u32) goes into pixels of its own, so two attempts never have equal payloads.
    """
    (rendered,) = render_many((label,), (attempt,), codecs, source, how)
    if isinstance(rendered, RenderError):
        raise rendered
    return rendered


def render_many(
    labels: Sequence[LabelFields], attempts: Sequence[int], codecs: Sequence[str], source: TemplateSource = SHIPPED, how: How = SMALLEST
) -> list[Rendered | RenderError]:
    """`render` for labels of any templates and panels, many times as fast: what one cannot show is its answer and stops no other.

    `how` compresses: for the fewest bytes on the radio, or `How(Mode.FAST)` in a fifth of the time.
    """
    rendered: dict[int, Rendered | RenderError] = {}
    for number, pixels in _ENGINE.each(labels, attempts, source):
        if isinstance(pixels, RenderError):
            rendered[number] = pixels
        else:
            rendered[number] = _encoded(panel(labels[number].panel), pixels, codecs, attempts[number], how)
    return [rendered[number] for number in range(len(labels))]


def picture(label: LabelFields, attempt: int = 0, source: TemplateSource = SHIPPED) -> Bytes:
    """The label as palette indices (height, width) as a person sees it, attempt pixels included. Raises RenderError."""
    (pixels,) = _ENGINE.draw((label,), (attempt,), source)
    if isinstance(pixels, RenderError):
        raise pixels
    return planes.unpack(panel(label.panel), pixels)


def picture_hash(kind: Panel, pixels: Bytes) -> str:
    """What a label shows, as a name: sha256 hex over the planes of a picture (planes, or palette indices), attempt pixels included."""
    packed = planes.pack(kind, pixels) if pixels.ndim == 2 else pixels
    return hashlib.sha256(packed.tobytes()).hexdigest()


def scene_json(label: LabelFields, source: TemplateSource = SHIPPED) -> dict[str, object]:
    """Every box placed and every font chosen, JSON-able. Raises RenderError."""
    return scene.build(label, templates.load(label.template, source), panel(label.panel)).as_json()


def to_png(label: LabelFields, attempt: int = 0, scale: int = 1, source: TemplateSource = SHIPPED) -> bytes:
    """The label as the panel shows it, each pixel `scale` times as large. Raises RenderError."""
    return indices_to_png(panel(label.panel), picture(label, attempt, source), scale)


def payload_to_indices(kind: Panel, codec: str, data: bytes) -> Bytes:
    """What a label shows after downloading this payload: palette indices (height, width). Raises PayloadError."""
    return registry.decode(codec, kind, data)


def indices_to_png(kind: Panel, indices: Bytes, scale: int = 1) -> bytes:
    """A palette PNG of a picture of this panel."""
    if not 1 <= scale <= PNG_SCALE_MAX:
        raise ValueError(f"scale {scale} is outside 1 to {PNG_SCALE_MAX}")
    image = Image.fromarray(np.repeat(np.repeat(indices, scale, axis=0), scale, axis=1))
    image.putpalette([channel for ink in kind.palette for channel in ink.rgb])
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)
    return out.getvalue()


def warm_up(cache_dir: Path | None = None) -> None:
    """Compile or load the kernels that every label needs, so that the first one does not wait. For a worker's start.

    `cache_dir`: where rasterised glyphs are kept from one process to the next; None for nowhere.
    """
    if cache_dir is not None:
        _ENGINE.keep_glyphs(cache_dir)
    label = LabelFields(template="unassigned", panel="oepl-33", label_id="warm up")
    render(label, 0, ("zlib", "raw2"))
    qr.qr("warm up")
    raster.dithered((TEMPLATE_FOLDER / "mark.png").read_bytes(), ((0, (255, 255, 255)), (1, (0, 0, 0))))


def _encoded(kind: Panel, pixels: Bytes, codecs: Sequence[str], attempt: int, how: How) -> Rendered | RenderError:
    try:
        encoded = _smallest(kind, pixels, codecs, attempt, how)
    except RenderError as error:
        return error
    return Rendered(encoded.codec, encoded.data, picture_hash(kind, pixels))


def _smallest(kind: Panel, pixels: Bytes, codecs: Sequence[str], attempt: int, how: How) -> registry.Encoded:
    """`registry.encode_smallest`, without making raw payloads where a compressed one is smaller than any of them: less than one plane."""
    compressing = [codec for codec in codecs if not is_raw(codec)]
    if 0 < len(compressing) < len(codecs):
        try:
            encoded = registry.encode_smallest(kind, pixels, compressing, attempt, how)
        except CodecRefused:
            pass  # the whole list says what it is refused for
        else:
            if len(encoded.data) < kind.plane_bytes:
                return encoded
    return registry.encode_smallest(kind, pixels, codecs, attempt, how)
