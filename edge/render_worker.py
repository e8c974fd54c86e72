"""What runs in a render worker process. Imports the renderer only there: the daemon's process never loads numpy or numba."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
from dataclasses import dataclass

from render.fields import LabelFields

NICE = 10  # lanes come first
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class RenderedLabel:
    """A finished payload. `payload_md5` in hex names it on the OEPL wire."""

    codec: str
    data: bytes
    picture_hash: str
    payload_md5: str


def prepare() -> None:
    """Once per worker: end with the daemon however it ends, step back behind it, then compile or load the kernels."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(NICE)
    from render import api

    api.warm_up()


def draw(fields: LabelFields, attempt_number: int, codecs: tuple[str, ...]) -> RenderedLabel:
    """One label to its payload. Raises render's errors."""
    from render import api

    rendered = api.render(fields, attempt_number, codecs)
    md5 = hashlib.md5(rendered.data, usedforsecurity=False).hexdigest()
    return RenderedLabel(rendered.codec, rendered.data, rendered.picture_hash, md5)


def draw_png(fields: LabelFields, scale: int) -> bytes:
    """One label as the panel shows it, for people."""
    from render import api

    return api.to_png(fields, 0, scale)
