"""Payloads that other programs made; see vectors/README.md."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from render.codecs import oepl, packed, planes
from render.panels import Ink, Layout, Panel, Wire, panel

VECTORS = Path(__file__).parent / "vectors"
CASES: list[dict[str, Any]] = json.loads((VECTORS / "oepl_image_payloads.json").read_text())
NAMES = {(255, 255, 255): "white", (0, 0, 0): "black", (255, 0, 0): "red", (255, 255, 0): "yellow"}


def panel_of(case: dict[str, Any]) -> Panel:
    palette = tuple(Ink(NAMES[tuple(colour)], tuple(colour)) for colour in case["palette"])
    return Panel(
        name=f"oepl-{case['tagtype']}",
        title=case["name"],
        width=case["width"],
        height=case["height"],
        ppi=100,
        palette=palette,
        bits=1 if len(palette) == 2 else 2,
        rotate_buffer=case["rotatebuffer"],
        codecs=(("zlib", 0), ("g5", 0), ("raw1", 0)) if len(palette) == 2 else (("zlib", 0), ("g5", 0), ("raw2", 0), ("raw1", 0)),
    )


def indices_of(case: dict[str, Any]) -> npt.NDArray[np.uint8]:
    with Image.open(io.BytesIO(base64.b64decode(case["png_b64"]))) as image:
        rgb = np.array(image.convert("RGB"))
    indices = np.full(rgb.shape[:2], 255, np.uint8)
    for index, colour in enumerate(case["palette"]):
        indices[(rgb == colour).all(axis=2)] = index
    return indices


@pytest.mark.parametrize("number", range(len(CASES)))
def test_the_recorded_payload_comes_out_byte_for_byte(number: int) -> None:
    case = CASES[number]
    kind, indices = panel_of(case), indices_of(case)
    if case["bpp"] == 5:  # the table's private mark for packed pixels
        kind = replace(kind, wire=Wire(Layout.PACKED, bits=2, rows_padded=False))
        payload = packed.to_wire(kind, planes.pack(kind, indices))
        assert np.array_equal(planes.unpack(kind, packed.from_wire(kind, payload)), indices)
    else:
        codec = {"datatype 20": "raw1", "datatype 21": "raw2"}[case["encoder_datatype"][:11]]
        payload = oepl.encode(codec, kind, planes.pack(kind, indices))
        assert np.array_equal(planes.unpack(kind, oepl.decode(codec, kind, payload)), indices)
    assert len(payload) == case["payload_len"]
    assert hashlib.md5(payload).hexdigest() == case["payload_md5"]
    assert case["payload_b64"] is None or payload == base64.b64decode(case["payload_b64"])


# without a compiler the large ones take minutes
LENGTH_MAX = 5_776 if os.environ.get("NUMBA_DISABLE_JIT") == "1" else 1_000_000


@pytest.mark.parametrize("number", [number for number, case in enumerate(CASES) if case["bpp"] != 5 and case["payload_len"] <= LENGTH_MAX])
def test_the_recorded_pictures_survive_every_compression(number: int) -> None:
    kind, indices = panel_of(CASES[number]), indices_of(CASES[number])
    picture = planes.pack(kind, indices)
    for codec in ("zlib", "g5"):
        data = oepl.encode(codec, kind, picture)
        assert len(data) < CASES[number]["payload_len"]
        assert np.array_equal(oepl.decode(codec, kind, data), picture)


@pytest.mark.parametrize("number", [number for number, case in enumerate(CASES) if case["mode"] == "raw" and case["bpp"] != 5])
def test_the_catalogue_agrees_with_the_recorded_panels(number: int) -> None:
    case = CASES[number]
    name = f"oepl-{case['tagtype']}"
    if case["tagtype"] in ("B0", "C0"):  # recorded from private tag types, not in the catalogue
        return
    kind = panel(name)
    assert (kind.width, kind.height, kind.rotate_buffer, kind.bits) == (case["width"], case["height"], case["rotatebuffer"], case["bpp"])
    assert [list(ink.rgb) for ink in kind.palette] == case["palette"]


def test_the_payload_that_a_label_took_decodes_and_comes_out_again() -> None:
    recorded = json.loads((VECTORS / "oepl_zlib_payload.json").read_text())
    data = base64.b64decode(recorded["payload_b64"])
    assert hashlib.md5(data).hexdigest() == recorded["payload_md5"]
    kind = panel(recorded["panel"])
    picture = oepl.decode(recorded["codec"], kind, data)
    again = oepl.encode(recorded["codec"], kind, picture)
    assert np.array_equal(oepl.decode(recorded["codec"], kind, again), picture)
    assert len(again) <= len(data)
