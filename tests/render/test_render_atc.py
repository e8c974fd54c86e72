"""The ATC firmware's image: against what py-atc-ble-oepl made of the same pictures, and against itself."""

from __future__ import annotations

import base64
import io
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from render.codecs import atc, planes, registry
from render.errors import CodecRefused, PayloadError
from render.panels import Panel, atc_panel, panel

Bytes = npt.NDArray[np.uint8]
RECORDED: list[dict[str, Any]] = json.loads((Path(__file__).parent / "vectors" / "atc_payloads.json").read_text())["cases"]


def indices_of(kind: Panel, png_b64: str) -> Bytes:
    with Image.open(io.BytesIO(base64.b64decode(png_b64))) as image:
        rgb = np.array(image.convert("RGB"))
    indices = np.full(rgb.shape[:2], 255, np.uint8)
    for index, ink in enumerate(kind.palette):
        indices[(rgb == ink.rgb).all(axis=2)] = index
    return indices


@pytest.mark.parametrize("case", RECORDED, ids=lambda case: "{screen_type}-{width}x{height}".format(**case))
def test_the_recorded_payloads_come_out(case: dict[str, Any]) -> None:
    kind = atc_panel(case["screen_type"], case["width"], case["height"])
    indices = indices_of(kind, case["png_b64"])
    assert registry.encode("atc-raw", kind, indices) == zlib.decompress(base64.b64decode(case["raw_zlib_b64"]))
    recorded = base64.b64decode(case["zlib_b64"])
    assert np.array_equal(registry.decode("atc-zlib", kind, recorded), indices)
    ours = registry.encode("atc-zlib", kind, indices)
    assert ours[:5] == recorded[:5]  # the stated length and the window
    assert zlib.decompress(ours[4:]) == zlib.decompress(recorded[4:])
    assert (atc.image_type("atc-raw", kind), atc.image_type("atc-zlib", kind)) == (case["raw_type"], case["zlib_type"])


@settings(deadline=None)
@given(st.integers(1, 47), st.integers(32, 50), st.integers(8, 50), st.integers(0, 2**32 - 1))
def test_every_screen_type_and_size_reads_back(screen_type: int, width: int, height: int, seed: int) -> None:
    kind = atc_panel(screen_type, width, height)
    indices = np.random.default_rng(seed).integers(0, len(kind.palette), (height, width), np.uint8)
    for codec in ("atc-raw", "atc-zlib"):
        assert np.array_equal(registry.decode(codec, kind, registry.encode(codec, kind, indices)), indices)


def test_bits_run_on_across_row_ends() -> None:
    kind = atc_panel(10, 32, 9)
    indices = np.zeros((9, 32), np.uint8)
    indices[8, 31] = 1  # bottom right as seen: last pixel of the first row of nine
    assert registry.encode("atc-raw", kind, indices)[:3] == bytes((0, 0x80, 0))


def wrong_payloads() -> list[tuple[str, bytes]]:
    kind = panel("atc-24-296x128")
    raw = registry.encode("atc-raw", kind, np.zeros((128, 296), np.uint8))
    good = registry.encode("atc-zlib", kind, np.zeros((128, 296), np.uint8))

    def container(size: int, header: bytes, pixels: bytes, window_bits: int = 12) -> bytes:
        return size.to_bytes(4, "little") + zlib.compress(header + pixels, 9, window_bits)

    header = bytes((6, 128, 0, 0x28, 1, 2))
    assert container(len(raw), header, raw) == good
    return [
        ("atc-raw", raw[:-1]),
        ("atc-raw", raw + b"\0"),
        ("atc-raw", b""),
        ("atc-zlib", b""),
        ("atc-zlib", good[:-1]),
        ("atc-zlib", good + b"\0"),
        ("atc-zlib", container(len(raw) + 6, header, raw)),  # OpenEPaperLink's way to count
        ("atc-zlib", container(len(raw), bytes((6, 0x28, 1, 128, 0, 2)), raw)),
        ("atc-zlib", container(len(raw), bytes((6, 128, 0, 0x28, 1, 1)), raw)),
        ("atc-zlib", container(len(raw), header, raw[:-1])),
        ("atc-zlib", container(len(raw), header, raw, 15)),
        ("atc-zlib", container(10**8, header, bytes(10**7))),
        ("zlib", good),
    ]


@pytest.mark.parametrize("number", range(len(wrong_payloads())))
def test_a_wrong_payload_is_refused(number: int) -> None:
    codec, data = wrong_payloads()[number]
    with pytest.raises(PayloadError):
        atc.decode(codec, panel("atc-24-296x128"), data)


def test_a_codec_of_another_maker_is_refused() -> None:
    kind = panel("atc-24-296x128")
    with pytest.raises(CodecRefused, match="does not take it"):
        atc.encode("zlib", kind, planes.pack(kind, np.zeros((128, 296), np.uint8)))
