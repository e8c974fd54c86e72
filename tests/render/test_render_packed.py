"""Every layout of pixels against a reference that writes bits as text, a pixel at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.codecs import packed, planes
from render.errors import PayloadError
from render.panels import BW, BWR, BWRY, BWY, PANELS, Ink, Layout, Panel, Wire, atc_panel, opendisplay_panel, panel
from render.panels.types import COLOURS_7, SPECTRA_6, bits_for, greys, orientation

Bytes = npt.NDArray[np.uint8]
PALETTES: tuple[tuple[Ink, ...], ...] = (BW, BWR, BWY, BWRY, SPECTRA_6, COLOURS_7, greys(16))
LAYOUTS = (Layout.PLANES, Layout.PACKED, Layout.HALVES)


@st.composite
def wired(draw: st.DrawFn) -> Panel:
    """A panel of any size, palette, layout and codes, laid down any way."""
    palette = draw(st.sampled_from(PALETTES))
    bits = draw(st.integers(bits_for(len(palette)), 4))
    codes = draw(st.permutations(range(1 << bits)))[: len(palette)]
    turns, flip_rows = orientation(
        draw(st.integers(0, 3)), mirror_x=draw(st.booleans()), mirror_y=draw(st.booleans()), columns=draw(st.booleans())
    )
    width = draw(st.integers(8, 45))
    halved = width % 2 == 0 and draw(st.booleans())
    layout = draw(st.sampled_from(LAYOUTS))
    return replace(
        panel("oepl-01"),
        width=max(width, 16) if halved else width,
        height=draw(st.integers(8, 45)),
        palette=palette,
        bits=bits_for(len(palette)),
        rotate_buffer=turns,
        wire=Wire(layout, tuple(codes), bits, layout is Layout.HALVES or draw(st.booleans()), flip_rows, halved),
    )


def noise(kind: Panel, seed: int) -> Bytes:
    return np.random.default_rng(seed).integers(0, len(kind.palette), (kind.height, kind.width), np.uint8)


def octets(bits: str) -> bytes:
    """Bits as bytes, the last one filled up with zeros."""
    bits += "0" * (-len(bits) % 8)
    return bytes(int(bits[at : at + 8], 2) for at in range(0, len(bits), 8))


def by_hand(kind: Panel, indices: Bytes) -> bytes:
    """What travels, from the words of `Wire`."""
    rows = [[kind.codes[index] for index in row] for row in indices.tolist()]
    if kind.wire.columns_halved:
        rows = [row[side::2] for row in rows for side in (0, 1)]
    for _ in range(kind.rotate_buffer):
        rows = [[row[column] for row in rows] for column in range(len(rows[0]) - 1, -1, -1)]
    if kind.wire.flip_rows:
        rows.reverse()
    depth = kind.wire_bits
    if kind.wire.layout is Layout.PLANES:
        streams = [["".join(str(code >> bit & 1) for code in row) for row in rows] for bit in range(depth)]
    else:
        middle = len(rows[0]) // 2 if kind.wire.layout is Layout.HALVES else 0
        parts = [[row[:middle] for row in rows], [row[middle:] for row in rows]]
        streams = [["".join(f"{code:0{depth}b}" for code in row) for row in part] for part in parts]
    if kind.wire.rows_padded:
        return b"".join(octets(row) for stream in streams for row in stream)
    return b"".join(octets("".join(stream)) for stream in streams)


@settings(deadline=None, max_examples=200)
@given(wired(), st.integers(0, 2**32 - 1))
def test_pixels_travel_as_the_panel_says_and_read_back(kind: Panel, seed: int) -> None:
    indices = noise(kind, seed)
    picture = planes.pack(kind, indices)
    data = packed.to_wire(kind, picture)
    assert data == by_hand(kind, indices)
    assert len(data) == packed.wire_bytes(kind)
    assert np.array_equal(packed.from_wire(kind, data), picture)


@pytest.mark.parametrize(
    "kind",
    [row for row in PANELS.values() if row.wire.layout is not Layout.BGR24 and row.width * row.height < 100_000]
    + [atc_panel(36, 250, 122), opendisplay_panel(122, 250, 3, 1)],
    ids=lambda row: row.name,
)
def test_the_catalogue_s_panels_read_back(kind: Panel) -> None:
    indices = noise(kind, 5)
    picture = planes.pack(kind, indices)
    data = packed.to_wire(kind, picture)
    assert data == by_hand(kind, indices)
    assert np.array_equal(packed.from_wire(kind, data), picture)


@settings(deadline=None)
@given(wired(), st.data())
def test_any_bytes_are_a_picture_or_an_error(kind: Panel, data: st.DataObject) -> None:
    size = packed.wire_bytes(kind)
    wrong = data.draw(st.sampled_from((0, 0, 0, -1, 1)))
    content = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1))).integers(0, 256, size + wrong, np.uint8).tobytes()
    try:
        found = packed.from_wire(kind, content)
        planes.unpack(kind, found)
    except PayloadError:
        assert wrong or len(kind.palette) < 1 << kind.wire_bits  # there is a code that is no ink
    else:
        assert not wrong
        assert np.array_equal(packed.from_wire(kind, packed.to_wire(kind, found)), found)


def test_a_code_that_is_no_ink_is_refused() -> None:
    kind = panel("oepl-C2")
    data = bytearray(packed.to_wire(kind, planes.pack(kind, np.zeros((480, 800), np.uint8))))
    data[7] = 0x17
    with pytest.raises(PayloadError, match="none of its 7 colours"):
        packed.from_wire(kind, bytes(data))


def test_what_is_in_the_padding_of_rows_is_dropped() -> None:
    kind = opendisplay_panel(37, 11, 0)
    white = planes.pack(kind, np.zeros((11, 37), np.uint8))
    data = packed.to_wire(kind, white)
    assert data[:5] == b"\xff\xff\xff\xff\xf8"
    assert np.array_equal(packed.from_wire(kind, b"\xff" * len(data)), white)


def test_two_pixels_of_a_tft_are_two_lines_of_one_column() -> None:
    kind = replace(panel("gicisky-00A0"), width=16, height=8, rotate_buffer=0, wire=Wire(codes=(0, 1), columns_halved=True))
    indices = np.zeros((8, 16), np.uint8)
    indices[0, 2] = 1  # left one of the second pair: upper line, second column
    indices[0, 5] = 1  # right one of the third pair: lower line, third column
    assert packed.to_wire(kind, planes.pack(kind, indices))[:3] == bytes((0b01000000, 0b00100000, 0))


def test_colours_in_three_bytes_are_no_codes() -> None:
    kind = panel("estation-3F")
    with pytest.raises(PayloadError, match="colours, not codes"):
        packed.to_wire(kind, np.zeros((1, 128, 37), np.uint8))
    with pytest.raises(PayloadError, match="colours, not codes"):
        packed.from_wire(kind, bytes(3 * 296 * 128))
