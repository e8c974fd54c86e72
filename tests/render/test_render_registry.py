"""All codecs by name: every panel of the catalogue, hostile bytes, attempts, and the choice of the smallest."""

from __future__ import annotations

import tracemalloc
import zlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.codecs import choice, deflate, packed, planes, registry, streams
from render.errors import CodecRefused, PayloadError, RenderError
from render.panels import PANELS, Panel, panel

Bytes = npt.NDArray[np.uint8]
# a panel of every layout and family; what is tried often is tried on small ones of their kind
FEW = (
    "oepl-03", "gicisky-000B", "gicisky-00A0", "gicisky-002E", "gicisky-022B", "estation-36", "kkm-29-bwr", "atc-24-212x104",
    "opendisplay-104x212-bwr-r1", "opendisplay-104x212-bwry-r3", "opendisplay-104x212-gray4", "opendisplay-104x212-spectra6split",
)  # fmt: skip


FAST = streams.How(deflate.Mode.FAST)


def small(name: str) -> Panel:
    return replace(panel(name), width=48, height=40)


def label(kind: Panel, seed: int = 0) -> Bytes:
    """A picture as labels have it: mostly white, bars, a coloured block."""
    indices = np.zeros((kind.height, kind.width), np.uint8)
    indices[kind.height // 2 : kind.height - 5, 10:100:3] = 1
    indices[2:8, 5:25] = len(kind.palette) - 1
    noise = np.random.default_rng(seed)
    indices[noise.integers(0, kind.height, 20), noise.integers(0, kind.width, 20)] = noise.integers(0, len(kind.palette), 20)
    return indices


def encoded(kind: Panel, picture: Bytes, attempt: int = 0) -> dict[str, bytes]:
    found = {}
    for codec, _ in kind.codecs:
        try:
            found[codec] = registry.encode(codec, kind, picture, attempt, FAST)
        except CodecRefused:
            assert codec in ("raw1", "g5")  # colour, or too busy a row
    return found


@pytest.mark.parametrize("name", sorted(PANELS))
def test_every_panel_s_codecs_give_its_picture_back(name: str) -> None:
    row = panel(name)
    # its own sizes are for `test_render_packed`; a corner of it is quick without a compiler, too, and as odd
    kind = replace(row, width=64 + row.width % 32, height=40 + row.height % 40, glass=None)
    indices = label(kind)
    for codec, data in encoded(kind, indices).items():
        assert np.array_equal(registry.decode(codec, kind, data), indices), codec
        assert registry.encode(codec, kind, planes.pack(kind, indices), how=FAST) == data


@pytest.mark.parametrize("name", ["oepl-C2", "gicisky-012B"])
def test_the_large_panels_too(name: str) -> None:
    kind = panel(name)
    indices = label(kind)
    chosen = registry.encode_smallest(kind, indices, kind.codecs_for(0xFFFF))
    assert np.array_equal(registry.decode(chosen.codec, kind, chosen.data), indices)


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(FEW), st.integers(0, planes.ATTEMPT_MAX - 1))
def test_two_attempts_with_one_picture_never_have_equal_payloads_and_read_back(name: str, attempt: int) -> None:
    kind = small(name)
    indices = label(kind)
    planes.stamp_attempt(kind, indices, attempt)
    first = encoded(kind, indices, attempt)
    planes.stamp_attempt(kind, indices, attempt + 1)
    for codec, second in encoded(kind, indices, attempt + 1).items():
        assert first[codec] != second
        assert registry.read_attempt(codec, kind, first[codec]) == attempt
        assert registry.read_attempt(codec, kind, second) == attempt + 1


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(FEW), st.data())
def test_hostile_bytes_are_a_payload_error_or_a_picture(name: str, data: st.DataObject) -> None:
    kind = small(name)
    payloads = encoded(kind, label(kind))
    codec = data.draw(st.sampled_from(sorted(payloads)))
    content = bytearray(payloads[codec])
    noise = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    match data.draw(st.sampled_from(("noise", "cut", "longer", "bits", "other"))):
        case "noise":
            content = bytearray(noise.integers(0, 256, int(noise.integers(0, 200)), np.uint8).tobytes())
        case "cut":
            del content[int(noise.integers(0, len(content))) :]
        case "longer":
            content += noise.integers(0, 256, int(noise.integers(1, 50)), np.uint8).tobytes()
        case "bits":
            for _ in range(int(noise.integers(1, 6))):
                content[int(noise.integers(0, len(content)))] ^= 1 << int(noise.integers(0, 8))
        case "other":
            codec = data.draw(st.sampled_from(sorted(registry.CODECS)))
    try:
        found = registry.decode(codec, kind, bytes(content))
    except PayloadError:
        return
    assert found.shape == (kind.height, kind.width)
    assert int(found.max()) < len(kind.palette)


@pytest.mark.parametrize(
    ("name", "codec", "lead", "window_bits"),
    [("oepl-36", "zlib", 4, 12), ("opendisplay-296x128-bwr", "od-zlib", 0, 9), ("atc-24-296x128", "atc-zlib", 4, 12)],
)
def test_a_stream_that_would_fill_the_memory_is_refused_before_it_does(name: str, codec: str, lead: int, window_bits: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, window_bits)
    bomb = bytes(lead) + b"".join(packer.compress(bytes(1_000_000)) for _ in range(12)) + packer.flush()
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="not one whole stream"):
            registry.decode(codec, panel(name), bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_the_smallest_is_chosen_and_raw_where_compression_does_not_pay() -> None:
    kind = panel("opendisplay-64x48-bwr")
    plain = registry.encode_smallest(kind, label(kind), ("od-raw", "od-zlib"))
    assert plain.codec == "od-zlib" and len(plain.data) < 300
    noise = np.random.default_rng(0).integers(0, 3, (48, 64), np.uint8)
    noisy = kind.plane_bytes * 2
    assert len(registry.encode_smallest(kind, noise, ("od-zlib", "od-raw")).data) <= noisy
    quick = panel("gicisky-012B")
    assert registry.encode_smallest(quick, label(quick), ("gicisky-stored", "gicisky-quick")).codec == "gicisky-quick"
    assert {codec for codec in registry.CODECS if choice.is_raw(codec)} == {
        "raw1", "raw2", "raw3", "raw4", "od-raw", "atc-raw", "gicisky", "gicisky-stored", "estation-raw",
    }  # fmt: skip


def test_a_codec_that_is_none_or_another_panel_s_is_refused() -> None:
    kind = panel("oepl-01")
    picture = label(kind)
    with pytest.raises(CodecRefused, match="no such codec"):
        registry.encode("jpeg", kind, picture)
    with pytest.raises(PayloadError, match="no such codec"):
        registry.decode("jpeg", kind, b"")
    for codec in registry.CODECS:
        if not kind.takes(codec):
            with pytest.raises(CodecRefused):
                registry.encode(codec, kind, picture)
    with pytest.raises(CodecRefused, match="no accepted codec"):
        registry.encode_smallest(kind, picture, ("od-raw", "kkm"))


def test_planes_of_another_panel_are_refused() -> None:
    kind = panel("opendisplay-296x128-bwr")
    for picture in (np.zeros((1, 128, 37), np.uint8), np.zeros((2, 128, 37), np.int16), np.zeros((2, 2, 2, 2), np.uint8)):
        with pytest.raises(RenderError):
            registry.encode("od-raw", kind, picture)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=30)
@given(
    st.sampled_from((("oepl-33", "zlib"), ("opendisplay-104x212-bwr-r1", "od-zlib"), ("atc-24-212x104", "atc-zlib"))),
    st.integers(1, deflate.SALT_MAX - 1),
    st.sampled_from(list(deflate.Mode)),
)
def test_another_stream_of_the_same_pixels_carries_the_attempt_as_well(row: tuple[str, str], attempt: int, mode: deflate.Mode) -> None:
    name, codec = row
    kind = small(name)
    indices = label(kind)
    first, second = (registry.encode(codec, kind, indices, how=streams.How(mode, number)) for number in (attempt, attempt + 1))
    assert first != second
    assert np.array_equal(registry.decode(codec, kind, first), indices)
    assert np.array_equal(registry.decode(codec, kind, second), indices)
    assert (registry.read_attempt(codec, kind, first), registry.read_attempt(codec, kind, second)) == (attempt, attempt + 1)
    assert streams.salt_of(registry.encode(codec, kind, indices)[registry.CODECS[codec].salt_at or 0 :]) == 0


def test_every_codec_says_where_its_attempt_is() -> None:
    assert {name for name, codec in registry.CODECS.items() if codec.attempt_in == "container"} == {"kkm"}
    assert {name for name, codec in registry.CODECS.items() if codec.salt_at is not None} == {"zlib", "od-zlib", "atc-zlib"}


def test_the_length_of_pixels_is_known_before() -> None:
    for name in FEW:
        kind = panel(name)
        for codec in ("raw2", "gicisky", "od-raw", "atc-raw", "estation-raw"):
            if kind.takes(codec):
                assert len(registry.encode(codec, kind, label(kind))) == packed.wire_bytes(kind)


def test_gzip_files_hold_any_length() -> None:
    for size in (0, 1, 70_000):
        assert streams.gunzip(streams.gzip(bytes(size)), size) == bytes(size)
