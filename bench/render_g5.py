"""G5 for labels that take nothing better against CCITT G4 by libtiff, its nearest relative that one can have: the same planes.

Pillow writes a TIFF of one strip into memory. Before the race our streams are decoded again; the format's vectors are in the test suite.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from bench.render_deflate import TURNED, UPRIGHT, labels
from bench.rivals import ROUNDS, Row, race
from render.codecs import g5, planes
from render.panels import panel

Bytes = npt.NDArray[np.uint8]

ROUNDS_QUICK = 5
WHITE = 0xFF


def rows(quick: bool) -> Iterator[Row]:
    rounds = ROUNDS_QUICK if quick else ROUNDS
    for name, work in ((UPRIGHT, "G5, label 296x128 BWR"), (TURNED, "G5, label 296x128 BWR, buffer turned")):
        kind = panel(name)
        stacks = [planes.pack(kind, picture).reshape(-1, kind.row_bytes) for picture in labels(name)]
        yield from _race(f"{work} (bytes in the error columns)", stacks, kind.buffer_width, rounds)


def _race(work: str, stacks: list[Bytes], width: int, rounds: int) -> Iterator[Row]:
    images = [Image.frombytes("1", (width, len(rows)), (rows ^ WHITE).tobytes()) for rows in stacks]

    def ours() -> list[bytes]:
        return [g5.encode(rows, width, rows.size) or b"" for rows in stacks]

    for rows, stream in zip(stacks, ours(), strict=True):
        if not np.array_equal(g5.decode(stream, width, len(rows)), rows):
            raise RuntimeError(f"{work}: a stream does not give its picture back")
    peers: dict[str, Callable[[], list[bytes]]] = {"Pillow, libtiff G4": lambda: [_g4(image) for image in images]}
    yield from race(
        work,
        ours,
        peers,
        units=len(stacks),
        rounds=rounds,
        ours_error=_mean_bytes(ours()),
        peer_errors={name: _mean_bytes(peer()) for name, peer in peers.items()},
    )


def _g4(image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, "TIFF", compression="group4")
    return out.getvalue()


def _mean_bytes(streams: list[bytes]) -> float:
    return sum(map(len, streams)) / len(streams)
