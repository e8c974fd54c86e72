from __future__ import annotations

import gzip
import tracemalloc
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.codecs import estation, planes, registry, streams
from render.errors import CodecRefused, PayloadError
from render.panels import BW, BWR, BWRY, panel
from render.panels.types import SPECTRA_6

Bytes = npt.NDArray[np.uint8]
KIND = replace(panel("estation-84"), width=50, height=41)  # a corner is quick without a compiler, too


def noise(seed: int = 1) -> Bytes:
    return np.random.default_rng(seed).integers(0, 4, (KIND.height, KIND.width), np.uint8)


@settings(deadline=None, max_examples=40)
@given(st.integers(8, 45), st.integers(8, 45), st.sampled_from((BW, BWR, BWRY, SPECTRA_6)), st.integers(0, 2**32 - 1))
def test_pictures_read_back_at_odd_sizes(width: int, height: int, palette: tuple[()], seed: int) -> None:
    kind = replace(KIND, width=width, height=height, palette=palette, bits=max(1, (len(palette) - 1).bit_length()))
    indices = np.random.default_rng(seed).integers(0, len(palette), (height, width), np.uint8)
    for codec in ("estation-raw", "estation-gzip"):
        assert np.array_equal(registry.decode(codec, kind, registry.encode(codec, kind, indices)), indices)


def test_pixels_are_pure_colours_blue_first_from_the_top_row() -> None:
    indices = np.zeros((41, 50), np.uint8)
    indices[0, :4] = [KIND.ink_index(name) for name in ("white", "black", "red", "yellow")]
    data = registry.encode("estation-raw", KIND, indices)
    assert len(data) == 3 * 50 * 41
    assert data[:12].hex() == "ffffff0000000000ff00ffff"


def test_equal_pictures_give_an_equal_file_that_any_gzip_opens() -> None:
    data = registry.encode("estation-gzip", KIND, noise())
    assert data == registry.encode("estation-gzip", KIND, noise())
    assert data[:10] == bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
    assert gzip.decompress(data) == registry.encode("estation-raw", KIND, noise())
    assert np.array_equal(registry.decode("estation-gzip", KIND, gzip.compress(gzip.decompress(data), mtime=7)), noise())


def wrong_payloads() -> list[tuple[str, bytes]]:
    raw = registry.encode("estation-raw", KIND, noise())
    good = registry.encode("estation-gzip", KIND, noise())
    grey = b"\x80" + raw[1:]
    return [
        ("estation-raw", raw[:-1]),
        ("estation-raw", raw + b"\0"),
        ("estation-raw", b""),
        ("estation-raw", grey),
        ("estation-gzip", streams.gzip(grey)),
        ("estation-gzip", good[:-1]),
        ("estation-gzip", good + b"\0"),
        ("estation-gzip", good[:-8] + bytes(8)),
        ("estation-gzip", raw),
        ("estation-gzip", b""),
        ("raw1", raw),
    ]


@pytest.mark.parametrize("number", range(len(wrong_payloads())))
def test_a_wrong_payload_is_refused(number: int) -> None:
    codec, data = wrong_payloads()[number]
    with pytest.raises(PayloadError):
        estation.decode(codec, KIND, data)


def test_a_pixel_of_no_colour_is_named() -> None:
    raw = bytearray(registry.encode("estation-raw", KIND, np.zeros((41, 50), np.uint8)))
    raw[3 * (50 * 5 + 17)] = 0x7F
    with pytest.raises(PayloadError, match="pixel 17,5 is no pure colour"):
        registry.decode("estation-raw", KIND, bytes(raw))


def test_a_file_that_would_fill_the_memory_is_refused_before_it_does() -> None:
    bomb = gzip.compress(bytes(30_000_000))
    tracemalloc.start()
    try:
        with pytest.raises(PayloadError, match="at most 6150 bytes"):
            registry.decode("estation-gzip", KIND, bomb)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000
    finally:
        tracemalloc.stop()


def test_a_codec_or_panel_of_another_maker_is_refused() -> None:
    with pytest.raises(CodecRefused, match="does not take it"):
        estation.encode("raw2", KIND, planes.pack(KIND, noise()))
    with pytest.raises(PayloadError):
        estation.decode("estation-raw", panel("oepl-01"), bytes(3 * 50 * 41))
