"""Gicisky's encodings: against what three public programs made of the same pictures, and a decoder written from the description."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import struct
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

from render._jit import python_function
from render.codecs import gicisky, planes, quicklz, registry
from render.errors import CodecRefused, PayloadError
from render.panels import BWR, PANELS, Panel, Wire, orientation, panel
from render.panels.types import codes_of

Bytes = npt.NDArray[np.uint8]
RECORDED: dict[str, list[dict[str, Any]]] = json.loads((Path(__file__).parent / "vectors" / "gicisky_payloads.json").read_text())
MODELS = {name for name, row in PANELS.items() if row.family == "gicisky"}


def indices_of(kind: Panel, png_b64: str) -> Bytes:
    with Image.open(io.BytesIO(base64.b64decode(png_b64))) as image:
        rgb = np.array(image.convert("RGB"))
    indices = np.full(rgb.shape[:2], 255, np.uint8)
    for index, ink in enumerate(kind.palette):
        indices[(rgb == ink.rgb).all(axis=2)] = index
    return indices


@pytest.mark.parametrize("case", RECORDED["hass_gicisky"] + RECORDED["gicisky_296_bwry"], ids=lambda case: str(case["panel"]))
def test_the_recorded_payloads_of_the_catalogue_s_models_come_out(case: dict[str, Any]) -> None:
    kind = panel(case["panel"])
    indices = indices_of(kind, case["png_b64"])
    codec = kind.codecs[0][0]
    data = registry.encode(codec, kind, indices)
    if "payload_zlib_b64" in case:  # compressed: another choice of matches is as right, and ours is never longer
        recorded = zlib.decompress(base64.b64decode(case["payload_zlib_b64"]))
        assert np.array_equal(registry.decode(codec, kind, recorded), indices)
        assert len(data) <= len(recorded)
    else:
        assert (len(data), hashlib.sha256(data).hexdigest()) == (case["payload_len"], case["payload_sha256"])


def test_every_model_of_the_catalogue_is_recorded() -> None:
    assert {case["panel"] for case in RECORDED["hass_gicisky"]} == MODELS


@pytest.mark.parametrize("case", RECORDED["gicisky"], ids=lambda case: str(case["model"]))
def test_another_program_s_reading_of_the_models_is_another_row(case: dict[str, Any]) -> None:
    turns, flip_rows = orientation(**case["reading"])
    kind = replace(
        panel("gicisky-0033"),
        width=case["width"],
        height=case["height"],
        rotate_buffer=turns,
        codecs=((case["codec"], 0),),
        wire=Wire(codes=codes_of(BWR, case["codes"]), rows_padded=False, flip_rows=flip_rows),
    )
    data = registry.encode(case["codec"], kind, indices_of(kind, case["png_b64"]))
    assert (len(data), hashlib.sha256(data).hexdigest()) == (case["payload_len"], case["payload_sha256"])


@settings(deadline=None)
@given(st.sampled_from(sorted(MODELS)), st.integers(8, 45), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_every_codec_reads_back_at_odd_sizes(model: str, width: int, lines: int, seed: int) -> None:
    row = panel(model)
    rest = 0 if row.takes("gicisky-lines") else seed % 8
    kind = replace(row, width=2 * width, height=8 * lines + rest, glass=None)
    noise = np.random.default_rng(seed)
    size = (kind.height, kind.width)
    indices = (noise.integers(0, len(kind.palette), size) * (noise.random(size) < 0.1)).astype(np.uint8)
    for codec, _ in kind.codecs:
        assert np.array_equal(registry.decode(codec, kind, registry.encode(codec, kind, indices)), indices)


def test_a_line_is_framed_as_the_description_says() -> None:
    kind = replace(panel("gicisky-012B-8101"), width=8, height=16, wire=Wire(codes=(1, 0, 2), rows_padded=False))
    indices = np.zeros((16, 8), np.uint8)
    data = registry.encode("gicisky-lines", kind, indices)
    assert data[:4] == struct.pack("<I", len(data)) and len(data) == 4 + 2 * 8 * 9
    assert data[4:13].hex() == "75090200000000ffff"
    assert data[4 + 8 * 9 :][:9].hex() == "750902000000000000"
    with pytest.raises(CodecRefused, match="whole bytes"):
        registry.encode("gicisky-lines", replace(kind, height=15), np.zeros((15, 8), np.uint8))


def wrong_payloads() -> list[tuple[str, str, bytes]]:
    lines = panel("gicisky-012B-8101")
    quick = panel("gicisky-012B")
    white = np.zeros((480, 800), np.uint8)
    framed = registry.encode("gicisky-lines", lines, white)
    chunks = registry.encode("gicisky-quick", quick, white)
    stored = registry.encode("gicisky-stored", quick, white)
    plain = registry.encode("gicisky", panel("gicisky-0033"), white[:128, :296])
    return [
        ("0033", "gicisky", plain[:-1]),
        ("0033", "gicisky", b""),
        ("0033", "gicisky-lines", plain),
        ("0033", "raw1", plain),
        ("012B-8101", "gicisky-lines", framed[:-67]),
        ("012B-8101", "gicisky-lines", struct.pack("<I", len(framed) + 67) + framed[4:] + framed[-67:]),
        ("012B-8101", "gicisky-lines", b"\0" + framed[1:]),
        ("012B-8101", "gicisky-lines", framed[:4] + b"\x74" + framed[5:]),
        ("012B-8101", "gicisky-lines", b""),
        ("002E", "gicisky-lines", plain),
        ("012B", "gicisky-quick", b""),
        ("012B", "gicisky-quick", chunks[:-1]),
        ("012B", "gicisky-quick", chunks + b"\0"),
        ("012B", "gicisky-quick", b"\0" + chunks[1:]),
        ("012B", "gicisky-quick", chunks[:4]),
        ("012B", "gicisky-quick", stored[:4] + b"\x76" + stored[5:]),
        ("012B", "gicisky-quick", stored[:5] + b"\x44" + stored[6:]),
        ("012B", "gicisky-quick", stored[:6] + b"\x3f" + stored[7:]),
    ]


@pytest.mark.parametrize("number", range(len(wrong_payloads())))
def test_a_wrong_payload_is_refused(number: int) -> None:
    model, codec, data = wrong_payloads()[number]
    with pytest.raises(PayloadError):
        gicisky.decode(codec, panel(f"gicisky-{model}"), data)


def test_colours_in_three_bytes_are_no_gicisky_picture() -> None:
    with pytest.raises(PayloadError):
        gicisky.decode("gicisky-quick", panel("estation-36"), bytes(4))


def test_a_codec_of_another_maker_is_refused() -> None:
    kind = panel("gicisky-0033")
    with pytest.raises(CodecRefused, match="does not take it"):
        gicisky.encode("raw2", kind, planes.pack(kind, np.zeros((128, 296), np.uint8)))


@st.composite
def contents(draw: st.DrawFn) -> bytes:
    """Bytes as planes have them: noise, runs, and short patterns again and again."""
    size = draw(st.integers(0, 300))
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = noise.integers(0, draw(st.sampled_from((2, 3, 256))), max(1, size), np.uint8)
    kind = draw(st.sampled_from(("noise", "runs", "pattern")))
    if kind == "runs":
        values = np.repeat(values, draw(st.integers(2, 9)))
    elif kind == "pattern":
        values = np.tile(values[: draw(st.integers(1, 20))], 300)
    return values[:size].tobytes()


def decoded_by_hand(chunk: bytes) -> bytes:
    """One chunk by its description: the buckets are found anew at each match, from all that came out before."""
    kind, length, size = chunk[:3]
    assert length == len(chunk)
    if kind == 0x74:
        assert len(chunk) == 3 + size
        return chunk[3:]
    assert kind == 0x75
    out = bytearray()
    inside: set[int] = set()  # positions within a match, its first byte apart
    after_match = 0  # nothing before it waits to be hashed
    at, bits = 3, ""
    while len(out) < size:
        if not bits:
            word = int.from_bytes(chunk[at : at + 4], "little")
            at += 4
            bits = f"{word:b}"[:0:-1]  # from the low end, without the topmost set bit
        is_match, bits = bits[0] == "1", bits[1:]
        if not is_match:
            out.append(chunk[at])
            at += 1
            continue
        token = chunk[at] | chunk[at + 1] << 8
        at += 2
        count = (token & 15) + 2
        if token & 15 == 0:
            count = chunk[at]
            at += 1
        known: dict[int, int] = {}
        for position in range(len(out)):
            if position not in inside and (position <= len(out) - 3 or position < after_match):
                fetch = int.from_bytes(out[position : position + 3], "little")
                known[(fetch >> 12 ^ fetch) & 63] = position
        inside.update(range(len(out) + 1, len(out) + count))
        for place in range(known[token >> 4], known[token >> 4] + count):
            out.append(out[place])
        after_match = len(out)
    assert at == len(chunk)
    return bytes(out)


def chunks_of(data: bytes) -> list[bytes]:
    found = []
    while data:
        found.append(data[: data[1]])
        data = data[data[1] :]
    return found


@settings(deadline=None, max_examples=200)
@given(contents(), st.booleans())
def test_chunks_read_back_here_and_by_the_description(content: bytes, stored: bool) -> None:
    data = quicklz.encode(content, stored)
    assert quicklz.decode(data, (len(content),)) == (content,)
    assert b"".join(decoded_by_hand(chunk) for chunk in chunks_of(data)) == content
    assert all(chunk[0] == 0x75 or len(chunk) == 3 + chunk[2] for chunk in chunks_of(data))
    assert len(data) <= len(content) + 3 * -(-len(content) // 64)
    if stored:
        assert all(chunk[0] == 0x74 for chunk in chunks_of(data))


@settings(deadline=None, max_examples=30)
@given(contents(), st.booleans())
def test_uncompiled_kernels_give_the_same_chunks(content: bytes, stored: bool) -> None:
    data = quicklz.encode(content, stored)
    out = np.zeros(len(content) + 200, np.uint8)
    source = np.frombuffer(content, np.uint8)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_bucket", "_put_control"):
            patch.setattr(quicklz, name, getattr(getattr(quicklz, name), "py_func", getattr(quicklz, name)))
        size = python_function(quicklz._encode)(source, stored, out)
        assert out[:size].tobytes() == data
        back = np.empty(len(content), np.uint8)
        assert python_function(quicklz._decode)(np.frombuffer(data, np.uint8), 0, back) == len(data)
        assert back.tobytes() == content


def test_parts_are_cut_into_chunks_by_themselves() -> None:
    data = quicklz.encode(bytes(70)) + quicklz.encode(b"\1" * 30)
    assert quicklz.decode(data, (70, 30)) == (bytes(70), b"\1" * 30)
    with pytest.raises(PayloadError):
        quicklz.decode(data, (30, 70))


def test_a_control_word_without_an_end_means_literals() -> None:
    content = bytes(range(100, 164))
    chunk = bytes((0x75, 3 + 4 + 64, 64, 0, 0, 0, 0)) + content
    assert quicklz.decode(chunk, (64,)) == (content,)
    with pytest.raises(PayloadError):
        quicklz.decode(chunk[:1] + bytes((len(chunk) - 1,)) + chunk[2:-1], (64,))


@settings(deadline=None, max_examples=300)
@given(contents(), st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_damaged_chunks_are_an_error_or_other_bytes_never_a_crash(content: bytes, seed: int, damages: int) -> None:
    noise = np.random.default_rng(seed)
    data = bytearray(quicklz.encode(content))
    for _ in range(damages if data else 0):
        data[noise.integers(0, len(data))] = noise.integers(0, 256)
    try:
        (found,) = quicklz.decode(bytes(data), (len(content),))
    except PayloadError:
        return
    assert len(found) == len(content)
