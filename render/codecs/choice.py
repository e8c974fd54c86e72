"""The smallest payload that a label accepts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from render.errors import CodecRefused
from render.panels import Panel


@dataclass(frozen=True, slots=True)
class Encoded:
    """`data` is the payload exactly as the label receives it."""

    codec: str
    data: bytes


def is_raw(codec: str) -> bool:
    """Whether a codec sends pixels as they are: `raw1`, `od-raw`, `gicisky`."""
    return codec.startswith("raw") or codec.endswith("-raw") or codec in ("gicisky", "gicisky-stored")


def smallest(panel: Panel, codecs: Sequence[str], encode: Callable[[str], bytes]) -> Encoded:
    """The smallest payload among the accepted codecs; a raw one unless compression makes it smaller.

    `codecs` in any order; `encode` gives a codec's payload or raises CodecRefused. Raises CodecRefused when none can carry the picture.
    """
    raw: Encoded | None = None
    best: Encoded | None = None
    reasons: list[str] = []
    for codec in dict.fromkeys(codecs):
        try:
            candidate = Encoded(codec, encode(codec))
        except CodecRefused as refused:
            reasons.append(str(refused))
            continue
        if is_raw(codec):
            raw = candidate if raw is None or len(candidate.data) < len(raw.data) else raw
        elif best is None or len(candidate.data) < len(best.data):
            best = candidate
    chosen = raw if best is None or (raw is not None and len(raw.data) <= len(best.data)) else best
    if chosen is None:
        raise CodecRefused(f"{panel.name}: no accepted codec carries this picture: {'; '.join(reasons) or 'none is accepted'}")
    return chosen


def check(codec: str, panel: Panel) -> None:
    """Raise CodecRefused unless labels of this panel take the codec."""
    if not panel.takes(codec):
        raise CodecRefused(f"{codec}: {panel.name} does not take it")
