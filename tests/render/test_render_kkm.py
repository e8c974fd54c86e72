from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.codecs import kkm, planes, registry
from render.errors import CodecRefused, PayloadError
from render.panels import Panel, panel

Bytes = npt.NDArray[np.uint8]
KIND = panel("kkm-29-bwr")
WHITE = np.zeros((128, 296), np.uint8)


def by_hand(text: str) -> tuple[int, bytes]:
    """(picture id, bytes) of a text, a character at a time."""
    head = bytes.fromhex(text[:16])
    assert (head[0], head[7]) == (2, 20)
    dictionary = bytes.fromhex(text[16:56])
    out = bytearray()
    characters = iter(text[56:])
    for character in characters:
        count = 1
        if character.islower():
            count = ord(character) - ord("a") + 2
            character = next(characters)
        if character in "GHIJKLMNOPQRSTUVWXYZ":
            value = dictionary[ord(character) - ord("G")]
        else:
            value = int(character + next(characters), 16)
        out += bytes((value,)) * count
    assert len(out) == head[5] * 256 + head[6]
    return int.from_bytes(head[1:5]), bytes(out)


def columns_from_the_right(indices: Bytes, ones: set[int]) -> bytes:
    """One plane of a 2.9" label: column by column from the right edge, each from the top."""
    bits = "".join(str(int(index in ones)) for x in range(indices.shape[1] - 1, -1, -1) for index in indices[:, x].tolist())
    return int(bits, 2).to_bytes(len(bits) // 8)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(("29-bw", "29-bwr", "42-bw", "42-bwr")), st.integers(8, 45), st.integers(8, 45), st.integers(0, 2**32 - 1))
def test_pictures_and_attempts_read_back(name: str, width: int, height: int, seed: int) -> None:
    kind = replace(panel(f"kkm-{name}"), width=width, height=height)
    noise = np.random.default_rng(seed)
    indices = (noise.integers(0, len(kind.palette), (height, width)) * (noise.random((height, width)) < noise.random())).astype(np.uint8)
    data = registry.encode("kkm", kind, indices, seed)
    assert np.array_equal(registry.decode("kkm", kind, data), indices)
    assert registry.read_attempt("kkm", kind, data) == seed
    assert by_hand(data.decode("ascii"))[0] == seed


def test_the_scan_of_the_small_label_is_by_columns_from_the_right() -> None:
    indices = np.random.default_rng(4).integers(0, 3, (128, 296), np.uint8)
    indices[:, 100:] = 0
    _, pixels = by_hand(registry.encode("kkm", KIND, indices).decode("ascii"))
    assert pixels == columns_from_the_right(indices, {0, 2}) + columns_from_the_right(indices, {2})


def test_the_scan_of_the_large_label_is_by_rows() -> None:
    indices = np.zeros((300, 400), np.uint8)
    indices[0, 399] = 1
    _, pixels = by_hand(registry.encode("kkm", panel("kkm-42-bw"), indices).decode("ascii"))
    assert pixels == b"\xff" * 49 + b"\xfe" + b"\xff" * (15_000 - 50)


def test_a_white_label_is_a_dictionary_and_its_runs() -> None:
    text = registry.encode("kkm", KIND, WHITE, 0xA1B2C3D4).decode("ascii")
    assert text[:16] == "02A1B2C3D4250014"
    assert text[16:20] == "00FF"  # as common as each other: in ascending order
    assert text[56:] == "zH" * 175 + "jH" + "zG" * 175 + "jG"  # 4736 = 175 times 27 and 11


def test_runs_of_each_length_read_back() -> None:
    for length in (1, 2, 26, 27, 28, 29, 53, 54, 55, 81):
        text = kkm._repeated("G", length)
        assert by_hand(f"0200000000{length:04X}14" + "5A" * 20 + text)[1] == b"\x5a" * length


def test_equal_pictures_of_two_attempts_differ_only_in_the_id() -> None:
    first, second = (registry.encode("kkm", KIND, WHITE, attempt) for attempt in (7, 8))
    assert (first[:2], first[10:]) == (second[:2], second[10:]) and first != second
    assert registry.CODECS["kkm"].attempt_in == "container"


@pytest.mark.parametrize("attempt", [-1, 1 << 32])
def test_an_id_has_32_bits(attempt: int) -> None:
    with pytest.raises(ValueError):
        registry.encode("kkm", KIND, WHITE, attempt)


def test_a_picture_too_busy_for_the_gateway_is_refused() -> None:
    kind = replace(panel("kkm-42-bwr"), height=352)
    indices = np.random.default_rng(1).integers(0, 3, (352, 400), np.uint8)
    with pytest.raises(CodecRefused, match="less detail"):
        registry.encode("kkm", kind, indices)


def wrong_payloads() -> list[tuple[str, bytes]]:
    good = registry.encode("kkm", KIND, WHITE, 5)
    head = good[:56]
    return [
        ("kkm", b""),
        ("kkm", good[:10]),
        ("kkm", good[:30]),
        ("kkm", good[:-1]),
        ("kkm", good[:-2]),
        ("kkm", good + b"G"),
        ("kkm", good + b"z"),
        ("kkm", good + b"zz"),
        ("kkm", good + b"3"),
        ("kkm", b"03" + good[2:]),
        ("kkm", good[:10] + b"2501" + good[14:]),
        ("kkm", good[:14] + b"15" + good[16:]),
        ("kkm", good[:14] + b"01" + good[16:18] + b"Z" * 9472),
        ("kkm", good.lower()),
        ("kkm", head + b"\xff" * 100),
        ("kkm", "02ÄÖ".encode() + good[6:]),
        ("kkm", head + b"zG" * 100_000),
        ("raw1", good),
    ]


@pytest.mark.parametrize("number", range(len(wrong_payloads())))
def test_a_wrong_text_is_refused(number: int) -> None:
    codec, data = wrong_payloads()[number]
    with pytest.raises(PayloadError):
        kkm.decode(codec, KIND, data)


def test_a_codec_or_panel_of_another_maker_is_refused() -> None:
    def encode(codec: str, kind: Panel) -> bytes:
        return kkm.encode(codec, kind, planes.pack(kind, WHITE), 1)

    with pytest.raises(CodecRefused, match="does not take it"):
        encode("kkm", panel("oepl-01"))
    with pytest.raises(CodecRefused, match="no codec of KKM"):
        encode("raw2", replace(KIND, codecs=(("raw2", 0),)))
