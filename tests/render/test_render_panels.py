from __future__ import annotations

from dataclasses import replace

import pytest

from render.errors import UnknownPanel
from render.panels import BW, BWR, PANELS, WHITE, attempt_strip, panel


def test_the_first_panel_is_the_common_one() -> None:
    row = panel("oepl-01")
    assert (row.width, row.height, row.buffer_width, row.buffer_height, row.rotate_buffer, row.ppi) == (296, 128, 128, 296, 1, 111)
    assert [ink.name for ink in row.palette] == ["white", "black", "red"]
    assert row.bits * row.plane_bytes == 9472


# raw payload sizes as the maker's tables state them
@pytest.mark.parametrize(
    ("name", "raw_bytes"),
    [("00", 5776), ("03", 5512), ("05", 61440), ("21", 4736), ("2E", 161280), ("2F", 19836), ("42", 26928), ("45", 8000), ("50", 77760)],
)
def test_raw_sizes_are_the_recorded_ones(name: str, raw_bytes: int) -> None:
    row = panel(f"oepl-{name}")
    assert row.bits * row.plane_bytes == raw_bytes


def test_raw_is_accepted_by_every_panel_and_firmware() -> None:
    for row in PANELS.values():
        assert "raw1" in row.codecs_for(0)
        assert ("raw2" in row.codecs_for(0)) == (row.bits == 2)


def test_a_compression_needs_the_firmware_that_knows_it() -> None:
    assert panel("oepl-01").codecs_for(0x28) == ("raw2", "raw1")
    assert panel("oepl-01").codecs_for(0x29) == ("g5", "raw2", "raw1")
    assert panel("oepl-26").codecs_for(0x27) == ("zlib", "raw1")


def test_every_panel_has_room_for_the_attempt() -> None:
    for row in PANELS.values():
        assert attempt_strip(row.width, row.height).inside(row.area)


def test_accent_is_the_loudest_ink() -> None:
    assert panel("oepl-01").accent == 2
    assert panel("oepl-60").palette[panel("oepl-60").accent].name == "yellow"
    assert panel("oepl-21").accent == panel("oepl-21").black


def test_an_unknown_panel_is_named() -> None:
    with pytest.raises(UnknownPanel, match="oepl-F0"):
        panel("oepl-F0")


@pytest.mark.parametrize(
    "change", [{"width": 0}, {"height": 5000}, {"bits": 3}, {"palette": BWR, "bits": 1}, {"palette": (WHITE, WHITE)}, {"rotate_buffer": 4}]
)
def test_an_impossible_panel_cannot_be_built(change: dict[str, object]) -> None:
    good = replace(panel("oepl-21"), palette=BW)
    with pytest.raises(ValueError):
        replace(good, **change)  # type: ignore[arg-type]
