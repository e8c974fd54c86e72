from __future__ import annotations

from protocols.oepl_types import LABEL_TYPES
from protocols.oepl_wire import DATA_TYPES


def test_raw_sizes_are_the_published_ones() -> None:
    published = {
        0x00: 5776,
        0x01: 9472,
        0x02: 30000,
        0x05: 61440,
        0x21: 4736,
        0x2E: 161280,
        0x2F: 19836,
        0x45: 8000,
        0x50: 77760,
        0x6D: 17664,
    }
    assert {number: LABEL_TYPES[number].raw_bytes for number in published} == published


def test_every_label_takes_its_raw_picture_and_only_known_containers() -> None:
    for row in LABEL_TYPES.values():
        assert row.raw_bytes <= row.slot_bytes
        assert row.width % 8 == 0 or row.hw_type in (0x2F, 0x45)
        for firmware in (0, 0xFFFF):
            assert set(row.codecs(firmware)) <= set(DATA_TYPES)
            assert row.codecs(firmware)[-1] == "raw1"


def test_containers_depend_on_the_reported_firmware() -> None:
    assert LABEL_TYPES[0x01].codecs(0x29) == ("g5", "raw2", "raw1")
    assert LABEL_TYPES[0x01].codecs(0x28) == ("raw2", "raw1")
    assert LABEL_TYPES[0x33].codecs(0x27) == ("zlib", "raw2", "raw1")
    assert LABEL_TYPES[0x27].codecs(0x29) == ("g5", "raw1")
    assert LABEL_TYPES[0x21].codecs(0x29) == ("raw1",)


def test_slots_of_the_small_boards_and_panel_names() -> None:
    assert (LABEL_TYPES[0x01].slot_bytes, LABEL_TYPES[0x03].slot_bytes) == (12 * 1024 - 22, 8 * 1024 - 22)
    assert LABEL_TYPES[0x2E].panel == "oepl-2E"
