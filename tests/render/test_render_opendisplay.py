"""OpenDisplay's encodings: against what py-opendisplay made of the same pictures, and against themselves."""

from __future__ import annotations

import base64
import io
import json
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from render.codecs import opendisplay, packed, planes, registry
from render.errors import CodecRefused, PayloadError
from render.panels import Box, Layout, Panel, opendisplay_panel, panel

Bytes = npt.NDArray[np.uint8]
RECORDED: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "vectors" / "opendisplay_payloads.json").read_text())


def indices_of(kind: Panel, png_b64: str) -> Bytes:
    with Image.open(io.BytesIO(base64.b64decode(png_b64))) as image:
        rgb = np.array(image.convert("RGB"))
    indices = np.full(rgb.shape[:2], 255, np.uint8)
    for index, ink in enumerate(kind.palette):
        indices[(rgb == ink.rgb).all(axis=2)] = index
    return indices


@pytest.mark.parametrize("case", RECORDED["cases"], ids=lambda case: "{scheme}-{width}x{height}-r{rotation}-{panel_ic:02X}".format(**case))
def test_the_recorded_payloads_come_out_byte_for_byte(case: dict[str, Any]) -> None:
    kind = opendisplay_panel(case["width"], case["height"], case["scheme"], case["rotation"], case["panel_ic"])
    indices = indices_of(kind, case["png_b64"])
    assert registry.encode("od-raw", kind, indices) == base64.b64decode(case["raw_b64"])
    assert np.array_equal(registry.decode("od-zlib", kind, base64.b64decode(case["zlib_b64"])), indices)


def test_every_colour_scheme_is_recorded() -> None:
    assert {case["scheme"] for case in RECORDED["cases"]} == set(range(9))


def test_a_wrong_code_turn_or_padding_would_not_pass_the_recorded_payloads() -> None:
    for case in RECORDED["cases"]:
        kind = opendisplay_panel(case["width"], case["height"], case["scheme"], case["rotation"], case["panel_ic"])
        indices = indices_of(kind, case["png_b64"])
        codes = kind.codes
        faults = [
            replace(kind, wire=replace(kind.wire, codes=(codes[1], codes[0], *codes[2:]))),
            replace(kind, wire=replace(kind.wire, flip_rows=True)),
            replace(kind, rotate_buffer=(kind.rotate_buffer + 2) % 4),
        ]
        if kind.buffer_width * (1 if kind.wire.layout is Layout.PLANES else kind.wire_bits) % 8 and kind.wire.layout is not Layout.HALVES:
            faults.append(replace(kind, wire=replace(kind.wire, rows_padded=False)))
        for fault in faults:
            assert registry.encode("od-raw", fault, indices) != base64.b64decode(case["raw_b64"])


@pytest.mark.parametrize("case", RECORDED["partial"], ids=lambda case: str(case["rectangle"]))
def test_the_recorded_partial_updates_come_out_byte_for_byte(case: dict[str, Any]) -> None:
    kind = opendisplay_panel(case["width"], case["height"], 0)
    old, new = (planes.pack(kind, indices_of(kind, case[key])) for key in ("old_png_b64", "new_png_b64"))
    box = opendisplay.changed_box(kind, old, new)
    assert box == Box(*case["rectangle"])
    assert opendisplay.encode_partial(kind, old, new, box) == base64.b64decode(case["stream_b64"])


@settings(deadline=None, max_examples=60)
@given(st.integers(32, 50), st.integers(32, 50), st.integers(0, 8), st.integers(0, 3), st.sampled_from((0, 0x1D, 0x28)), st.integers(0, 99))
def test_every_scheme_size_and_rotation_reads_back(width: int, height: int, scheme: int, rotation: int, panel_ic: int, seed: int) -> None:
    kind = opendisplay_panel(width, height, scheme, rotation, panel_ic)
    indices = np.random.default_rng(seed).integers(0, len(kind.palette), (kind.height, kind.width), np.uint8)
    chosen = registry.encode_smallest(kind, indices, ("od-zlib", "od-raw"))
    assert len(chosen.data) <= packed.wire_bytes(kind)
    for codec in ("od-raw", "od-zlib", chosen.codec):
        assert np.array_equal(registry.decode(codec, kind, registry.encode(codec, kind, indices)), indices)


# bytes of a whole picture, as the scheme's row in the maker's table says
@pytest.mark.parametrize(
    ("scheme", "size"),
    [(0, 16 * 250), (1, 32 * 250), (2, 32 * 250), (3, 31 * 250), (4, 61 * 250), (5, 32 * 250), (6, 61 * 250), (7, 61 * 250), (8, 62 * 250)],
)
def test_the_total_is_what_the_label_expects(scheme: int, size: int) -> None:
    kind = opendisplay_panel(122, 250, scheme, 1)
    assert packed.wire_bytes(kind) == (size if scheme != 8 else 250 * (31 + 31))


def test_the_stream_states_a_window_of_512_bytes() -> None:
    kind = panel("opendisplay-296x128-bwr")
    data = registry.encode("od-zlib", kind, np.zeros((128, 296), np.uint8))
    assert data[0] >> 4 <= 1
    assert len(zlib.decompress(data)) == 9472


def test_a_stream_with_a_wider_window_is_refused_as_the_label_refuses_it() -> None:
    kind = panel("opendisplay-296x128-bwr")
    pixels = registry.encode("od-raw", kind, np.zeros((128, 296), np.uint8))
    for window_bits in (10, 12, 15):
        stream = zlib.compressobj(9, zlib.DEFLATED, window_bits)
        with pytest.raises(PayloadError, match="window"):
            registry.decode("od-zlib", kind, stream.compress(pixels) + stream.flush())


def test_a_codec_of_another_maker_is_refused() -> None:
    kind = panel("opendisplay-296x128-bw")
    picture = np.zeros((1, 128, 37), np.uint8)
    with pytest.raises(CodecRefused, match="does not take it"):
        opendisplay.encode("raw1", kind, picture)
    with pytest.raises(PayloadError, match="no codec of OpenDisplay"):
        opendisplay.decode("raw1", kind, bytes(4736))


@settings(deadline=None)
@given(st.integers(4, 7), st.integers(32, 40), st.integers(0, 3), st.integers(0, 2**32 - 1), st.integers(1, 30))
def test_a_partial_update_turns_the_old_picture_into_the_new_one(columns: int, height: int, rotation: int, seed: int, changes: int) -> None:
    kind = opendisplay_panel(8 * columns, height, 0, rotation)
    noise = np.random.default_rng(seed)
    before = noise.integers(0, 2, (kind.height, kind.width), np.uint8)
    after = before.copy()
    after[noise.integers(0, kind.height, changes), noise.integers(0, kind.width, changes)] ^= 1
    old, new = planes.pack(kind, before), planes.pack(kind, after)
    box = opendisplay.changed_box(kind, old, new)
    if box is None:
        assert np.array_equal(before, after)
        return
    data = opendisplay.encode_partial(kind, old, new, box)
    assert len(data) == 2 * box.width // 8 * box.height
    assert np.array_equal(planes.unpack(kind, opendisplay.decode_partial(kind, old, box, data)), after)
    with pytest.raises(PayloadError, match="old pixels"):
        opendisplay.decode_partial(kind, new, box, data)
    with pytest.raises(PayloadError, match="expected"):
        opendisplay.decode_partial(kind, old, box, data[:-1])


def test_a_partial_update_that_the_firmware_would_refuse_is_refused_here() -> None:
    colour = panel("opendisplay-296x128-bwr")
    two = np.zeros((2, 128, 37), np.uint8)
    with pytest.raises(CodecRefused, match="only black and white"):
        opendisplay.changed_box(colour, two, two)
    odd = opendisplay_panel(122, 250, 0, 1)
    old = planes.pack(odd, np.zeros((122, 250), np.uint8))
    new = planes.pack(odd, np.ones((122, 250), np.uint8))
    assert opendisplay.changed_box(odd, old, old) is None
    with pytest.raises(CodecRefused, match="beyond column 120"):
        opendisplay.changed_box(odd, old, new)
    for box in (Box(4, 0, 8, 8), Box(0, 0, 12, 8), Box(0, 0, 0, 8), Box(0, 0, 8, 0), Box(0, 0, 128, 8), Box(0, 249, 8, 2)):
        with pytest.raises(CodecRefused):
            opendisplay.encode_partial(odd, old, new, box)
        with pytest.raises(PayloadError):
            opendisplay.decode_partial(odd, old, box, b"")
