"""What runs in a render worker process. Imports the renderer only there: the daemon's process never loads numpy or numba."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from render.fields import LabelFields, TemplateSource

NICE = 15  # below the daemon: lanes come first, and the unit starts it at -5
COLD_START_S = 3.0  # from the cache it takes half a second to one, compiling ten and more
_PR_SET_PDEATHSIG = 1  # prctl(2)


@dataclass(frozen=True, slots=True)
class RenderedLabel:
    """A finished payload. `payload_md5` in hex names it on the OEPL wire."""

    codec: str
    data: bytes
    picture_hash: str
    payload_md5: str


def prepare(cache_dir: Path, daemon_pid: int) -> None:
    """Once per worker: end with the daemon however it ends, step back behind it, then compile or load the kernels and the glyphs."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != daemon_pid:  # it ended before the kernel was asked
        os._exit(1)
    os.nice(NICE)
    begin_s = time.perf_counter()
    from render import api

    api.warm_up(cache_dir)
    taken_s = time.perf_counter() - begin_s
    if taken_s > COLD_START_S:  # a worker has no logging of its own
        found = f"kernels were compiled, the next start finds them in {cache_dir}"
        sys.stderr.write(f"INFO edge.render_worker ready after {taken_s:.1f} s: {found}\n")


def draw(fields: LabelFields, attempt_number: int, codecs: tuple[str, ...], templates: TemplateSource) -> RenderedLabel:
    """One label to its payload. Raises render's errors."""
    from render import api

    rendered = api.render(fields, attempt_number, codecs, templates)
    md5 = hashlib.md5(rendered.data, usedforsecurity=False).hexdigest()
    return RenderedLabel(rendered.codec, rendered.data, rendered.picture_hash, md5)


def draw_again(fields: str, attempt_number: int, scale: int, templates: TemplateSource) -> tuple[str, bytes]:
    """(picture hash, PNG) of an attempt from the fields as stored. Raises render's errors; ValueError for a text that is no fields."""
    from render import api

    values = json.loads(fields)
    if not isinstance(values, dict):
        raise ValueError("the stored fields are no JSON object")
    label = LabelFields.from_dict(values)
    indices = api.picture(label, attempt_number, templates)
    kind = api.panel(label.panel)
    return api.picture_hash(kind, indices), api.indices_to_png(kind, indices, scale)


def draw_png(fields: LabelFields, scale: int, templates: TemplateSource) -> bytes:
    """One label as the panel shows it, for people."""
    from render import api

    return api.to_png(fields, 0, scale, templates)
