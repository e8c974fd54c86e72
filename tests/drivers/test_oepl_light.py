"""A label's light: blinks at its next check-in, and nothing that is proven of a picture ever rests on it."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from drivers.base import CanFlash, Failed, LabelId, Proven, RadioDown, Stored
from drivers.oepl import OeplDriver
from protocols.oepl_light import LIFETIME_MIN, LIGHT_BYTES, blink, light_bytes
from protocols.oepl_wire import CANCEL, OFFER, TYPE_COMMAND, Mac, PendingData
from tests.drivers.oepl_histories import BlinkingHistory
from tests.drivers.oepl_memory import MemoryStore

VECTOR = Path(__file__).parents[1] / "vectors" / "oepl_serial_led_command.json"
LIT = 0x33
SEEDS = range(300)


def first(store: MemoryStore) -> LabelId:
    return LabelId(store.label.name)


def lit_store() -> MemoryStore:
    store = MemoryStore(seed=11, hw_type=LIT)
    store.run(50_000)
    return store


def test_the_command_is_framed_as_the_makers_firmware_takes_it() -> None:
    sent = [bytes.fromhex(data) for _, way, data in json.loads(VECTOR.read_text())["transcript"] if way == "host>module"]
    (offer,) = [data for data in sent if data.startswith(OFFER)]
    mac = Mac(bytes([1, 2, 3, 4, 5, 6, 0, 0]))
    made = blink(mac, bytes(range(1, LIGHT_BYTES + 1)))
    assert made.lifetime_min == LIFETIME_MIN
    assert OFFER + replace(made, lifetime_min=0x14).to_wire() == offer
    assert PendingData.from_wire(made.to_wire()) == made


def test_it_blinks_green_and_stops_by_itself() -> None:
    light = light_bytes()
    assert len(light) == LIGHT_BYTES
    mode, colour, pace, pause, *others, repeats, spare = light
    assert (mode & 0x0F, colour, pace & 0x0F, pace >> 4, pause) == (1, 0x1C, 5, 2, 5)
    assert (others, repeats, spare) == ([0] * 6, 11, 0)
    with pytest.raises(ValueError, match="12"):
        blink(Mac(bytes(8)), bytes(11))


def test_a_label_blinks_at_its_next_check_in_and_the_module_forgets_it() -> None:
    store = lit_store()
    assert store.flash(first(store)) is None
    assert store.run(500, lambda: store.module.entries == 1)
    assert store.run(60_000, lambda: store.label.blinks == 1)
    assert store.module.entries == 0
    assert store.events(Stored, Proven, Failed) == []
    store.run(300_000)
    assert store.label.blinks == 1


def test_a_light_that_no_label_fetches_ends() -> None:
    store = lit_store()
    store.label.remove_battery()
    assert store.flash(first(store)) is None
    store.run((LIFETIME_MIN + 1) * 60_000)
    assert store.module.entries == 0
    assert store.events(Failed) == []


def test_who_cannot_blink_is_told_why() -> None:
    dark = MemoryStore(seed=11)  # an M2 board
    dark.run(2_000)
    assert dark.flash(first(dark)) == "the radio has not heard yet what kind of label it is"
    dark.run(50_000)
    assert dark.flash(first(dark)) == "the label has no light"
    store = lit_store()
    store.deliver(first(store), b"a" * 100)
    assert store.flash(first(store)) == "a picture is on its way to the label"
    assert store.run(300_000, lambda: bool(store.events(Proven)))
    assert store.flash(first(store)) is None
    store.unplug()
    store.plug()
    store.unplug()
    assert store.events(RadioDown)
    assert store.flash(first(store)) == "the radio is not ready"


def test_a_picture_goes_before_the_light_and_is_proven() -> None:
    store = lit_store()
    assert store.flash(first(store)) is None
    attempt = store.deliver(first(store), b"a" * 6_000)
    assert store.run(300_000, lambda: bool(store.events(Proven)))
    assert [event.attempt_id for event in store.events(Proven) if isinstance(event, Proven)] == [attempt]
    assert store.shows(first(store), b"a" * 6_000)
    assert store.label.blinks == 0  # the module has one entry for a label


def test_a_withdrawal_ends_the_light_too() -> None:
    store = lit_store()
    assert store.flash(first(store)) is None
    store.withdraw(first(store))
    store.run(120_000)
    assert CANCEL in store.from_host
    assert store.label.blinks == 0


def test_looking_for_labels_all_the_time_proves_nothing_that_is_not_shown() -> None:
    outcomes: Counter[str] = Counter()
    for seed in SEEDS:
        outcomes += BlinkingHistory(seed).outcomes
    assert outcomes["lit"] > len(SEEDS)
    assert outcomes["Proven"] > len(SEEDS) / 3, outcomes


def test_the_driver_has_a_light() -> None:
    class Clock:
        def link_ms(self) -> int:
            return 0

    driver = OeplDriver(name="ceiling", device="/dev/null", clock=Clock(), emit=lambda event: None)  # type: ignore[arg-type]
    assert isinstance(driver, CanFlash)
    assert driver.flash(LabelId("AABBCCDD00000001")) == "the radio is not ready"
    assert blink(Mac(bytes(8))).data_type == TYPE_COMMAND
