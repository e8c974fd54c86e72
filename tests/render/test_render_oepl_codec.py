from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render.codecs import oepl, planes
from render.codecs.deflate import Mode
from render.codecs.streams import How
from render.errors import CodecRefused, PayloadError
from render.panels import BW, BWRY, Panel, Wire, panel

Bytes = npt.NDArray[np.uint8]
FAST = How(Mode.FAST)
ALL = ("zlib", "g5", "raw2", "raw1")


def taking_all(kind: Panel) -> Panel:
    return replace(kind, codecs=tuple((codec, 0) for codec in ALL if codec != "raw2" or kind.bits == 2))


BWR_29 = taking_all(panel("oepl-01"))
BW_29 = taking_all(panel("oepl-21"))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[Panel, Bytes]:
    """A panel of any size that takes every codec, with a picture: noise of any density, colour only in some."""
    bits = draw(st.integers(1, 2))
    kind = taking_all(
        replace(
            panel("oepl-01"),
            width=draw(st.integers(8, 45)),
            height=draw(st.integers(8, 45)),
            rotate_buffer=draw(st.integers(0, 3)),
            bits=bits,
            palette=BW if bits == 1 else BWRY,
        )
    )
    noise = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    colours = draw(st.integers(1, 1 << bits))
    inked = noise.random((kind.height, kind.width)) < draw(st.floats(0, 1))
    return kind, (noise.integers(0, colours, inked.shape) * inked).astype(np.uint8)


@settings(deadline=None, max_examples=150)
@given(pictures(), st.sampled_from(ALL))
def test_every_codec_gives_the_picture_back(picture: tuple[Panel, Bytes], codec: str) -> None:
    kind, indices = picture
    packed = planes.pack(kind, indices)
    try:
        data = oepl.encode(codec, kind, packed)
    except CodecRefused:
        coloured = bool(packed[1:].any())
        assert (codec == "raw1" and coloured) or (codec == "raw2" and kind.bits == 1) or codec == "g5"
        return
    assert np.array_equal(planes.unpack(kind, oepl.decode(codec, kind, data)), indices)


@settings(deadline=None, max_examples=100)
@given(pictures(), st.permutations(ALL))
def test_the_smallest_is_never_larger_than_raw_and_reads_back(picture: tuple[Panel, Bytes], codecs: list[str]) -> None:
    kind, indices = picture
    packed = planes.pack(kind, indices)
    chosen = oepl.encode_smallest(kind, packed, codecs)
    raw = kind.plane_bytes * (2 if packed[1:].any() else 1)
    assert len(chosen.data) <= raw
    assert chosen.codec.startswith("raw") == (len(chosen.data) == raw)
    assert np.array_equal(planes.unpack(kind, oepl.decode(chosen.codec, kind, chosen.data)), indices)


def test_black_and_white_travels_as_one_plane() -> None:
    indices = np.zeros((128, 296), np.uint8)
    indices[10:20, 10:200] = 1
    packed = planes.pack(BWR_29, indices)
    assert len(oepl.encode("raw1", BWR_29, packed)) == 4736
    assert len(oepl.encode("raw2", BWR_29, packed)) == 9472
    assert oepl.encode("g5", BWR_29, packed)[:6] == bytes([6, 128, 0, 0x28, 1, 1])
    assert zlib.decompress(oepl.encode("zlib", BWR_29, packed, FAST)[4:])[:6] == bytes([6, 128, 0, 0x28, 1, 1])
    assert oepl.encode_smallest(BWR_29, packed, ("raw2", "raw1")).codec == "raw1"
    indices[0, 0] = 2
    packed = planes.pack(BWR_29, indices)
    assert oepl.encode("g5", BWR_29, packed)[5] == 2
    assert oepl.encode_smallest(BWR_29, packed, ("raw2", "raw1")).codec == "raw2"


def test_noise_goes_raw() -> None:
    packed = planes.pack(BW_29, np.random.default_rng(1).integers(0, 2, (128, 296)).astype(np.uint8))
    assert len(oepl.encode("zlib", BW_29, packed)) > 4736
    with pytest.raises(CodecRefused, match="not smaller than raw"):
        oepl.encode("g5", BW_29, packed)
    assert oepl.encode_smallest(BW_29, packed, ALL) == oepl.Encoded("raw1", packed.tobytes())


def test_the_zlib_stream_has_the_small_window() -> None:
    data = oepl.encode("zlib", BW_29, np.zeros((1, 296, 16), np.uint8))
    assert data[:6] == bytes.fromhex("86120000 48c7")


def test_no_accepted_codec_is_an_error_that_says_why() -> None:
    packed = planes.pack(BWR_29, np.full((128, 296), 2, np.uint8))
    with pytest.raises(CodecRefused, match="raw1: the picture has colour"):
        oepl.encode_smallest(BWR_29, packed, ("raw1",))
    with pytest.raises(CodecRefused, match="none is accepted"):
        oepl.encode_smallest(BWR_29, packed, ())
    with pytest.raises(CodecRefused, match="oepl-01 does not take it"):
        oepl.encode("zlib", panel("oepl-01"), packed)
    with pytest.raises(CodecRefused, match="shape"):
        oepl.encode("raw1", BWR_29, packed[:1])


def wrong_payloads() -> list[tuple[str, bytes]]:
    packed = np.zeros((2, 296, 16), np.uint8)
    good = {codec: oepl.encode(codec, BWR_29, packed) for codec in ALL}
    wide = zlib.compressobj(9, zlib.DEFLATED, 15)
    content = zlib.decompress(good["zlib"][4:])
    other_size = bytes([6, 0, 1]) + content[3:]
    return [
        ("raw1", good["raw1"][:-1]),
        ("raw2", good["raw1"]),
        ("zlib", good["zlib"][:-1]),
        ("zlib", good["zlib"] + b"\0"),
        ("zlib", b"\0" + good["zlib"][1:]),
        ("zlib", b"\x86\x12\0\0" + b"nonsense"),
        ("zlib", b"\x86\x12\0\0" + wide.compress(content) + wide.flush()),
        ("zlib", len(other_size).to_bytes(4, "little") + zlib.compress(other_size, 9, 12)),
        ("zlib", (10**8).to_bytes(4, "little") + zlib.compress(content[:6] + bytes(10**7), 9, 12)),
        ("zlib", b""),
        ("g5", good["g5"][:-1]),
        ("g5", good["g5"] + b"\0"),
        ("g5", good["g5"][:5] + b"\3" + good["g5"][6:]),
        ("g5", b"\6"),
        ("jpeg", good["raw1"]),
    ]


@pytest.mark.parametrize(("name", "size"), [("oepl-C1", 96_000), ("oepl-C2", 192_000)])
def test_panels_of_three_and_four_bits_send_their_pixels_packed(name: str, size: int) -> None:
    kind = panel(name)
    codec = kind.codecs[0][0]
    indices = np.random.default_rng(2).integers(0, 7, (kind.height, kind.width), np.uint8)
    packed = planes.pack(kind, indices)
    data = oepl.encode(codec, kind, packed)
    assert len(data) == size
    assert oepl.IMAGE_TYPES[codec] == {3: 0x22, 4: 0x23}[kind.wire_bits]
    assert np.array_equal(oepl.decode(codec, kind, data), packed)
    assert oepl.encode_smallest(kind, packed, (codec, "raw1", "zlib")).data == data
    with pytest.raises(CodecRefused, match="does not take it"):
        oepl.encode("raw1", kind, packed)
    with pytest.raises(CodecRefused, match=f"packed pixels of {kind.wire_bits} bits"):
        oepl.encode("raw1", taking_all(kind), packed)
    for other in ("raw1", "raw2", "zlib", "g5", "raw3" if codec == "raw4" else "raw4"):
        with pytest.raises(PayloadError):
            oepl.decode(other, kind, data)


def test_codes_are_the_table_s_colour_order() -> None:
    acep, spectra = panel("oepl-C1"), panel("oepl-C2")
    line = np.zeros((400, 640), np.uint8)
    line[0, :7] = [acep.ink_index(name) for name in ("black", "white", "green", "blue", "red", "yellow", "orange")]
    bits = "".join(f"{octet:08b}" for octet in oepl.encode("raw3", acep, planes.pack(acep, line))[:3])
    assert [bits[at : at + 3] for at in range(0, 21, 3)] == ["000", "001", "010", "011", "100", "101", "110"]
    line = np.zeros((480, 800), np.uint8)
    line[0, :7] = [spectra.ink_index(name) for name in ("black", "white", "yellow", "red", "orange", "blue", "green")]
    assert oepl.encode("raw4", spectra, planes.pack(spectra, line))[:4].hex() == "01234561"


def test_a_panel_whose_table_begins_with_black_inverts_its_planes() -> None:
    kind = taking_all(replace(panel("oepl-4C"), wire=Wire(codes=(1, 0, 3, 2))))  # white, black, red, yellow of "black white yellow red"
    indices = np.zeros((480, 800), np.uint8)
    indices[0, :4] = [1, 0, 3, 2]
    packed = planes.pack(kind, indices)
    data = oepl.encode("raw2", kind, packed)
    assert (data[0], data[48_000]) == (0b01011111, 0b00110000)
    assert np.array_equal(oepl.decode("raw2", kind, data), packed)


@pytest.mark.parametrize("number", range(len(wrong_payloads())))
def test_a_wrong_payload_is_refused(number: int) -> None:
    codec, data = wrong_payloads()[number]
    with pytest.raises(PayloadError):
        oepl.decode(codec, BWR_29, data)
