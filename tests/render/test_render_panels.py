from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from render.codecs.registry import CODECS
from render.errors import UnknownPanel
from render.panels import (
    BW,
    BWR,
    BWRY,
    PANELS,
    REFUSED,
    WHITE,
    Box,
    Ink,
    Layout,
    Panel,
    Wire,
    atc_panel,
    attempt_strip,
    ble,
    opendisplay_panel,
    orientation,
    panel,
)
from render.panels.types import codes_of, greys, usual_ppi

# the hardware numbers of the tag-type table
OEPL = (
    0x00, 0x01, 0x02, 0x03, 0x05, 0x11, 0x21, 0x22, 0x26, 0x27, 0x28, 0x2E, 0x2F, 0x30, 0x33, 0x36, 0x3C, 0x41, 0x42, 0x45, 0x4C, 0x50,
    0x54, 0x60, 0x61, 0x62, 0x6D, 0x80, 0x82, 0x83, 0x90, 0xB1, 0xC1, 0xC2,
)  # fmt: skip
GICISKY = ("00A0", "000B", "010B", "0028", "0033", "002E", "022B", "004E", "004B", "012B", "012B-8101", "008B")
ESTATION = ("36", "3A", "3D", "3F", "40", "44", "64", "80", "81", "82", "84", "87", "89", "A0", "A1")


def colours(row: Panel) -> set[str]:
    return {ink.name for ink in row.palette}


def test_the_first_panel_is_the_common_one() -> None:
    row = panel("oepl-01")
    assert (row.width, row.height, row.buffer_width, row.buffer_height, row.rotate_buffer, row.ppi) == (296, 128, 128, 296, 1, 111)
    assert [ink.name for ink in row.palette] == ["white", "black", "red"]
    assert row.bits * row.plane_bytes == 9472


def test_every_row_of_the_makers_tables_is_there() -> None:
    expected = {f"oepl-{code:02X}" for code in OEPL} | {f"gicisky-{code}" for code in GICISKY} | {f"estation-{code}" for code in ESTATION}
    expected |= {"kkm-29-bw", "kkm-29-bwr", "kkm-42-bw", "kkm-42-bwr"}
    assert {name for name, row in PANELS.items() if row.family != "opendisplay"} == expected
    assert all(name.startswith(f"{row.family}-") and name == row.name for name, row in PANELS.items())
    assert {re.split(r"-", name)[2] for name in PANELS if name.startswith("opendisplay")} == set(ble.SCHEME_WORDS)


# raw payload sizes as the maker's tables state them
@pytest.mark.parametrize(
    ("name", "raw_bytes"),
    [("00", 5776), ("03", 5512), ("05", 61440), ("21", 4736), ("2E", 161280), ("2F", 19836), ("42", 26928), ("45", 8000), ("50", 77760)],
)
def test_raw_sizes_are_the_recorded_ones(name: str, raw_bytes: int) -> None:
    row = panel(f"oepl-{name}")
    assert row.bits * row.plane_bytes == raw_bytes


def test_raw_is_accepted_by_every_label_with_planes_and_firmware() -> None:
    for row in PANELS.values():
        if row.family == "oepl" and row.wire.layout is Layout.PLANES:
            assert "raw1" in row.codecs_for(0)
            assert ("raw2" in row.codecs_for(0)) == (row.bits == 2)
        assert row.codecs_for(0), row.name


def test_every_codec_of_a_panel_exists_and_is_of_its_family() -> None:
    for row in PANELS.values():
        for codec, _ in row.codecs:
            assert CODECS[codec].family == row.family


def test_a_compression_needs_the_firmware_that_knows_it() -> None:
    assert panel("oepl-01").codecs_for(0x28) == ("raw2", "raw1")
    assert panel("oepl-01").codecs_for(0x29) == ("g5", "raw2", "raw1")
    assert panel("oepl-26").codecs_for(0x27) == ("zlib", "raw1")


def test_every_panel_has_room_for_the_attempt_and_a_plausible_size() -> None:
    for row in PANELS.values():
        assert attempt_strip(row.width, row.height).inside(row.area)
        assert 60 <= row.ppi <= 200, row.name
        assert 1 <= row.refresh_s <= row.refresh_max_s <= 90
        assert row.palette[:2] == (row.palette[row.white], row.palette[row.black])


def test_every_ink_of_the_catalogue_was_measured_somewhere_and_looks_duller_than_its_name() -> None:
    for row in PANELS.values():
        for ink in row.palette:
            assert ink.measured is not None
            assert ink.seen == ink.measured
            assert max(ink.seen) <= 220, f"{row.name}: {ink}"
    assert Ink("white", (255, 255, 255)).seen == (255, 255, 255)


@pytest.mark.parametrize("size", [(250, 122), (296, 128), (400, 300), (800, 480)])
@pytest.mark.parametrize("names", [{"white", "black"}, {"white", "black", "red"}, {"white", "black", "red", "yellow"}])
def test_the_sizes_of_the_shipped_templates_are_there_in_every_palette(size: tuple[int, int], names: set[str]) -> None:
    assert any((row.width, row.height) == size and colours(row) == names for row in PANELS.values())


def test_glass_that_hides_rows_is_stated_and_the_attempt_may_lie_behind_it() -> None:
    for name in ("oepl-B1", "gicisky-010B"):
        row = panel(name)
        assert row.visible == Box(0, 6, 250, 116)
        assert not attempt_strip(row.width, row.height).inside(row.visible)
    assert panel("estation-36").visible == Box(0, 0, 250, 122)


def test_the_firmware_that_compresses_otherwise_is_a_panel_of_its_own() -> None:
    assert panel("gicisky-012B").codecs_for(0) == ("gicisky-quick", "gicisky-stored")
    assert panel("gicisky-012B-8101").codecs_for(0) == ("gicisky-lines",)


def test_accent_is_an_ink_that_can_be_read() -> None:
    assert panel("oepl-01").accent == 2
    assert all(panel(name).accent == panel(name).black for name in ("oepl-21", "oepl-60"))


def test_an_unknown_panel_is_named_with_what_is_near() -> None:
    with pytest.raises(UnknownPanel, match=r"'oepl-F1'; known: oepl-00, .*oepl-C2$"):
        panel("oepl-F1")
    with pytest.raises(UnknownPanel, match="names that begin with atc, estation, gicisky, kkm, oepl, opendisplay"):
        panel("solum-29")


@pytest.mark.parametrize(("name", "reason"), [("oepl-F0", "segments"), ("estation-D0", "taskDSL")])
def test_a_display_without_pictures_is_refused_with_its_reason(name: str, reason: str) -> None:
    assert name in REFUSED
    with pytest.raises(UnknownPanel, match=f"{name}.*shows no pictures.*{reason}"):
        panel(name)


# what each scheme's table says travels for its colours
@pytest.mark.parametrize(
    ("word", "codes"),
    [
        ("bw", {"black": 0, "white": 1}),
        ("bwr", {"black": 0b00, "white": 0b01, "red": 0b11}),
        ("bwy", {"black": 0b00, "white": 0b01, "yellow": 0b10}),
        ("bwry", {"black": 0, "white": 1, "yellow": 2, "red": 3}),
        ("spectra6", {"black": 0, "white": 1, "yellow": 2, "red": 3, "blue": 5, "green": 6}),
        ("gray4", {"black": 3, "gray1": 1, "gray2": 2, "white": 0}),
        ("7c", {"black": 0, "white": 1, "yellow": 2, "red": 3, "blue": 4, "green": 5, "orange": 6}),
        ("spectra6split", {"black": 0, "white": 1, "yellow": 2, "red": 3, "blue": 5, "green": 6}),
    ],
)
def test_the_schemes_of_opendisplay_have_their_codes(word: str, codes: dict[str, int]) -> None:
    row = opendisplay_panel(64, 48, ble.SCHEME_WORDS.index(word))
    assert row.codes == codes_of(row.palette, codes)
    assert sorted(opendisplay_panel(64, 48, 6).codes) == list(range(16))


def test_two_panels_swap_red_and_yellow_and_two_the_middle_greys() -> None:
    plain, swapped = opendisplay_panel(128, 296, 3, 1), opendisplay_panel(128, 296, 3, 1, 0x1D)
    assert (plain.codes, swapped.codes) == ((1, 0, 3, 2), (1, 0, 2, 3))
    assert swapped.name == "opendisplay-128x296-bwry-r1-ic001D"
    assert opendisplay_panel(128, 296, 5, 0, 0x48).codes == (0, 3, 2, 1)
    assert opendisplay_panel(128, 296, 0, 0, 0x1D).name == "opendisplay-128x296-bw"


def test_a_panel_that_was_measured_has_its_own_colours() -> None:
    assert opendisplay_panel(800, 480, 3, 0, 55).palette[2].seen == (85, 24, 14)
    assert opendisplay_panel(800, 480, 3).palette[2].seen == (120, 15, 5)


def test_a_config_in_portrait_is_seen_in_landscape() -> None:
    row = opendisplay_panel(122, 250, 1, 1, width_mm=24, height_mm=49)
    assert (row.width, row.height, row.buffer_width, row.buffer_height, row.rotate_buffer, row.ppi) == (250, 122, 122, 250, 3, 130)
    assert row.name == "opendisplay-122x250-bwr-r1-130ppi"


@given(
    st.integers(32, 2048),
    st.integers(32, 2048),
    st.integers(0, 8),
    st.integers(0, 3),
    st.sampled_from((0, 0x1D, 0x28, 35, 39, 55)),
    st.integers(0, 999),
)
def test_a_panel_of_a_label_that_states_its_geometry_is_found_again_by_its_name(
    width: int, height: int, scheme: int, rotation: int, panel_ic: int, ppi: int
) -> None:
    row = opendisplay_panel(width, height, scheme, rotation, panel_ic, ppi=ppi)
    assert panel(row.name) == row


@given(st.integers(1, 47), st.integers(32, 2048), st.integers(8, 2048))
def test_an_atc_panel_is_found_again_by_its_name(screen_type: int, width: int, height: int) -> None:
    row = atc_panel(screen_type, width, height)
    assert panel(row.name) == row
    assert (row.buffer_width, row.buffer_height) == (height, width)


def test_atc_screen_types_have_their_colours() -> None:
    by_type = {number: atc_panel(number, 296, 128).palette for number in range(1, 48)}
    assert {number for number, palette in by_type.items() if palette == BWRY} == {17, 36, 37, 38, 39, 40, 41}
    assert {number for number, palette in by_type.items() if palette == BW} == {4, 10, 13, 25, 26, 29, 30, 32}
    assert {number for number, palette in by_type.items() if palette == BWR} >= {7, 24, 47}
    assert len(by_type[35]) == 3 and by_type[35][2].name == "yellow"
    assert atc_panel(24, 296, 128).ppi == 111
    assert panel("atc-65535-296x128-bwry").palette == BWRY


@pytest.mark.parametrize(
    "name",
    [
        "opendisplay-250x122",
        "opendisplay-250x122-rgb",
        "opendisplay-250x122-bw-r0",
        "opendisplay-250x122-bw-r4",
        "opendisplay-250x122-bw-ic001D",  # that panel has no codes of its own in this scheme: the name has another spelling
        "opendisplay-0250x122-bw",
        "opendisplay-9999x122-bw",
        "opendisplay-31x122-bw",
        "opendisplay-122x31-bw-r1",
        "opendisplay-250x7-bw",
        "opendisplay-250x122-bw-5ppi",
        "atc-48-296x128",
        "atc-0-296x128",
        "atc-24-296x128-bwr",
        "atc-65535-296x128",
        "atc-24-24x128",
        "atc-24-9999x128",
        "",
    ],
)
def test_a_name_in_another_spelling_or_beyond_any_label_is_refused(name: str) -> None:
    with pytest.raises(UnknownPanel):
        panel(name)


@pytest.mark.parametrize("arguments", [(250, 122, 9), (250, 122, -1), (250, 122, 0, 4), (250, 122, 0, -1), (3000, 122, 0), (16, 250, 0)])
def test_a_config_that_no_label_has_is_refused(arguments: tuple[int, ...]) -> None:
    with pytest.raises(UnknownPanel):
        opendisplay_panel(*arguments)
    with pytest.raises(UnknownPanel):
        atc_panel(24, 296, 128, "rgb")


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror_x", [False, True])
@pytest.mark.parametrize("mirror_y", [False, True])
@pytest.mark.parametrize("columns", [False, True])
def test_every_reading_of_a_picture_is_a_turn_and_perhaps_a_flip(turns: int, mirror_x: bool, mirror_y: bool, columns: bool) -> None:
    picture = np.arange(6).reshape(2, 3)
    expected = np.rot90(picture, turns)
    expected = expected[:, ::-1] if mirror_x else expected
    expected = expected[::-1] if mirror_y else expected
    expected = expected.T if columns else expected
    rotate_buffer, flip_rows = orientation(turns, mirror_x=mirror_x, mirror_y=mirror_y, columns=columns)
    found = np.rot90(picture, rotate_buffer)
    assert np.array_equal(found[::-1] if flip_rows else found, expected)


def test_a_size_without_millimetres_has_the_ppi_of_its_usual_glass() -> None:
    assert (usual_ppi(250, 122), usual_ppi(122, 250), usual_ppi(333, 77)) == (131, 131, 110)


@pytest.mark.parametrize(
    "change",
    [
        {"width": 0},
        {"height": 5000},
        {"bits": 3},
        {"palette": BWR, "bits": 1},
        {"palette": (WHITE, WHITE)},
        {"palette": (*BWR, BWR[2]), "bits": 2},
        {"palette": greys(16)[:9] + BWR[2:] + greys(16)[9:], "bits": 5},
        {"rotate_buffer": 4},
        {"wire": Wire(codes=(0, 0))},
        {"wire": Wire(codes=(0, 1, 2))},
        {"wire": Wire(codes=(0, 4), bits=2)},
        {"wire": Wire(columns_halved=True), "width": 297},
        {"refresh_s": 0},
        {"refresh_s": 41},
        {"glass": Box(0, 0, 297, 128)},
    ],
)
def test_an_impossible_panel_cannot_be_built(change: dict[str, object]) -> None:
    good = replace(panel("oepl-21"), palette=BW)
    with pytest.raises(ValueError):
        replace(good, **change)  # type: ignore[arg-type]
