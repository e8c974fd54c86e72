from __future__ import annotations

import itertools
import os

import numpy as np
import numpy.typing as npt
import pytest
import zxingcpp
from hypothesis import example, given, settings
from hypothesis import strategies as st

from render._jit import python_function
from render.errors import FieldError
from render.symbols import qr, qr_reference
from render.symbols import qr_tables as facts

DIGITS = "0123456789"
LEVELS = st.sampled_from(facts.LEVELS)
PIECES = st.one_of(
    st.text(DIGITS, min_size=1, max_size=20),
    st.text(facts.ALPHANUMERIC, min_size=1, max_size=12),
    st.text("abcxyz/?&=#_", min_size=1, max_size=12),
    st.sampled_from(["https://id.gs1.org/01/", "09506000134352", "?17=261231", "HTTPS://", "žluťoučký", "€", "日本"]),
)
TEXTS = st.lists(PIECES, min_size=1, max_size=9).map("".join)


def few(count: int) -> int:
    """So many examples; fewer where the kernel runs as plain Python."""
    return max(1, count // 5) if os.environ.get("NUMBA_DISABLE_JIT", "0") != "0" else count


def read(modules: npt.NDArray[np.uint8]) -> zxingcpp.Barcode:
    picture = np.repeat(np.repeat((1 - np.pad(modules, facts.QUIET_MODULES)) * np.uint8(255), 3, axis=0), 3, axis=1)
    found = zxingcpp.read_barcodes(picture)
    assert [code.format for code in found] == [zxingcpp.BarcodeFormat.QRCode]
    return found[0]


def mask_of(modules: npt.NDArray[np.uint8]) -> int:
    return int("".join(map(str, modules[8, 2:5])), 2) ^ 0b101


@settings(max_examples=few(100), deadline=None)
@given(TEXTS, LEVELS)
def test_every_code_reads_as_its_own_text(text: str, level: str) -> None:
    found = read(qr.qr(text, level))
    assert found.text == text
    assert found.ec_level == level


@settings(max_examples=few(60), deadline=None)
@given(TEXTS, LEVELS)
@example("1", "H")
@example("https://id.gs1.org/01/09506000134352/10/ABC1?17=261231", "M")
@example("0" * 652, "L")
def test_the_kernel_equals_its_reference(text: str, level: str) -> None:
    assert qr.qr(text, level).tolist() == qr_reference.draw(text, level)


@settings(max_examples=few(8), deadline=None)
@given(TEXTS, LEVELS)
def test_the_kernel_as_plain_python_equals_the_compiled_one(text: str, level: str) -> None:
    codes = qr.qr_batch([text, "A1", text[:3]], level)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("_plan", "_put", "_write_data", "_correct", "_interleave", "_place", "_masked", "_penalty", "_ones", "_unpack"):
            function = getattr(qr, name)
            patch.setattr(qr, name, getattr(function, "py_func", function))
        patch.setattr(qr, "_encode", python_function(qr._encode))
        plain = qr.qr_batch([text, "A1", text[:3]], level)
    assert np.array_equal(plain.rows, codes.rows)
    assert np.array_equal(plain.sizes, codes.sizes)


@pytest.mark.parametrize("version, level", list(itertools.product(range(1, 11), facts.LEVELS)))
def test_each_version_is_filled_to_its_last_byte_and_not_further(version: int, level: str) -> None:
    room = facts.blocks(version, facts.LEVELS.index(level)).data - (3 if version == 10 else 2)
    text = ("shelf label " * 30)[:room]
    assert read(modules := qr.qr(text, level)).text == text
    assert len(modules) == 17 + 4 * version
    assert modules.tolist() == qr_reference.draw(text, level)
    longer = text + "x"
    if version == facts.VERSION_MAX:
        with pytest.raises(FieldError, match="version 10"):
            qr.qr(longer, level)
    else:
        assert len(qr.qr(longer, level)) == len(modules) + 4
        with pytest.raises(FieldError, match=f"version {version}-{level}"):
            qr.qr(longer, level, version_max=version)


def test_the_standard_s_own_example_has_the_standard_s_codewords() -> None:  # ISO/IEC 18004, annex I
    data = qr_reference.padded(qr_reference.data_bits(b"01234567", eci=False, wide=False), 128)
    assert bytes(data).hex(" ") == "10 20 0c 56 61 80 ec 11 ec 11 ec 11 ec 11 ec 11"
    whole = bytes(qr_reference.with_correction(data, version=1, level=1))
    assert whole[16:].hex(" ") == "a5 24 d4 c1 ed 36 c7 87 2c 55"
    assert read(qr.qr("01234567")).text == "01234567"


@settings(max_examples=60, deadline=None)
@given(st.lists(PIECES, min_size=1, max_size=5).map("".join).map(lambda text: text.encode()[:40]), st.booleans())
def test_no_other_segments_are_shorter(raw: bytes, wide: bool) -> None:
    """The shortest way among all ways to cut a text into segments."""
    best = [0]
    for end in range(1, len(raw) + 1):
        ways = []
        for start in range(end):
            part = raw[start:end]
            heads = [4 + count for count in facts.COUNT_BITS[wide]]
            if part.isdigit():
                ways.append(best[start] + heads[0] + len(part) // 3 * 10 + (0, 4, 7)[len(part) % 3])
            if all(chr(byte) in facts.ALPHANUMERIC for byte in part):
                ways.append(best[start] + heads[1] + len(part) // 2 * 11 + len(part) % 2 * 6)
            ways.append(best[start] + heads[2] + 8 * len(part))
        best.append(min(ways))
    assert len(qr_reference.data_bits(raw, eci=False, wide=wide)) == best[-1]


def test_another_mask_than_the_best_is_noticed() -> None:
    text = "https://id.gs1.org/01/09506000134352"
    chosen = qr.qr(text)
    blocks = facts.blocks(3, 1)
    codewords = qr_reference.with_correction(
        qr_reference.padded(qr_reference.data_bits(text.encode(), eci=False, wide=False), 8 * blocks.data), 3, 1
    )
    images = [qr_reference.masked(codewords, 3, 1, mask) for mask in range(8)]
    penalties = [qr_reference.penalty(image) for image in images]
    assert len(set(penalties)) > 1
    for mask, image in enumerate(images):
        assert read(np.array(image, np.uint8)).text == text
        assert (chosen.tolist() == image) == (mask == penalties.index(min(penalties)) == mask_of(chosen))


@pytest.mark.parametrize(
    "line, points", [("1111", 0), ("11111", 3), ("000000", 4), ("1000001", 3), ("11111000000", 7), ("10101", 0), ("1" * 20, 18)]
)
def test_a_run_costs_3_for_five_and_1_for_each_further_module(line: str, points: int) -> None:
    assert qr_reference.run_points([int(module) for module in line]) == points


@pytest.mark.parametrize(
    "line, found",
    [
        ("1011101", 1),
        ("110000101110111", 1),
        ("111011101000011", 1),
        ("110001011101000111", 0),
        ("0001011101000", 1),  # the quiet zone completes both sides: still one
        ("1011101000011", 1),
        ("11011101011", 0),
        ("10111011101", 2),  # two that share a bar, each at an edge
        ("1011001", 0),
    ],
)
def test_a_finder_pattern_counts_with_four_light_modules_or_the_edge_beside_it(line: str, found: int) -> None:
    assert qr_reference.finder_points([int(module) for module in line]) == 40 * found


def test_blocks_overlap_and_the_proportion_counts_in_whole_twentieths() -> None:
    assert qr_reference.block_points([[1, 1, 1], [1, 1, 1], [0, 1, 0]]) == 6
    assert qr_reference.block_points([[0, 0, 1], [0, 0, 1], [1, 1, 0]]) == 3
    for dark, points in ((50, 0), (54, 0), (55, 10), (45, 10), (44, 10), (40, 20), (0, 100), (100, 100)):
        modules = [[int(10 * row + column < dark) for column in range(10)] for row in range(10)]
        assert qr_reference.proportion_points(modules) == points


def test_damage_within_the_level_is_repaired() -> None:
    text = "https://id.gs1.org/01/09506000134352"
    for level, side in (("L", 3), ("H", 8)):
        modules = qr.qr(text, level)
        modules[-side:, -side:] ^= 1
        assert read(modules).text == text


def test_a_batch_is_the_single_codes() -> None:
    texts = ["A", "", "12345", "žluť", "x" * 300, "https://id.gs1.org/01/09506000134352", "half \ud800 a pair"]
    for level in facts.LEVELS:
        codes = qr.qr_batch(texts, level)
        for place, text in enumerate(texts):
            if place in (1, 4, 6):
                assert codes.sizes[place] == 0
                with pytest.raises(FieldError, match=f"text {place}"):
                    codes.matrix(place)
                with pytest.raises(FieldError, match="QR code of"):
                    qr.qr(text, level)
            else:
                assert np.array_equal(codes.matrix(place), qr.qr(text, level))
    assert len(qr.qr_batch([]).sizes) == 0


def test_rows_have_column_0_on_top() -> None:
    codes = qr.qr_batch(["A"])
    bits = np.unpackbits(codes.rows[0].astype(">u8").view(np.uint8)).reshape(facts.SIZE_MAX, 64)
    assert np.array_equal(bits[:21, :21], codes.matrix(0))
    assert not bits[21:].any() and not bits[:, 21:].any()


def test_bytes_are_encoded_as_they_are() -> None:
    raw = bytes(range(0, 256, 3))
    assert read(qr.qr(raw)).bytes == raw


def test_plain_ascii_announces_no_character_set() -> None:
    assert len(qr.qr("x" * 14, version_max=1)) == 21
    with pytest.raises(FieldError):
        qr.qr("x" * 12 + "é", version_max=1)


@pytest.mark.parametrize("level, version_max", [("X", 10), ("", 10), ("LM", 10), ("M", 0), ("M", 11)])
def test_a_level_or_version_that_does_not_exist_is_our_own_mistake(level: str, version_max: int) -> None:
    with pytest.raises(ValueError, match="expected"):
        qr.qr("A", level, version_max)
