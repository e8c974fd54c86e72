from __future__ import annotations

import pytest

from drivers.base import Failed, FailReason, LabelId, LabelSeen, Proven, Stored
from drivers.sim.labels import CHECK_IN_MS, SimLabel, label_macs, module_mac
from drivers.sim.module import SimModule
from drivers.sim.world import Happening, World
from protocols.oepl_types import LABEL_TYPES
from protocols.oepl_wire import FAST_BAUD, PendingData, block_to_wire, data_version, mac_from_text, printed
from tests.drivers.oepl_memory import MemoryStore

MAC = mac_from_text("0000060504030201")


def test_labels_and_modules_are_the_same_for_the_same_seed() -> None:
    assert label_macs(4, 50) == label_macs(4, 60)[:50]
    assert len(set(label_macs(4, 500))) == 500
    assert label_macs(4, 1) != label_macs(5, 1)
    assert module_mac(4, 0) != module_mac(4, 1)
    assert printed(label_macs(4, 1)[0]).startswith("0000")


def test_the_same_seed_tells_the_same_story() -> None:
    stories = []
    for _ in range(2):
        store = MemoryStore(seed=9, labels=5)
        for label in store.labels:
            store.deliver(label, b"same story" * 30)
        store.run(200_000)
        stories.append([event for _, event in store.seen])
    assert stories[0] == stories[1]


def test_an_idle_step_equals_uneventful_time() -> None:
    store = MemoryStore(seed=9, labels=3)
    store.run(100_000)
    before = [at_ms for at_ms, event in store.seen if isinstance(event, LabelSeen)]
    absent = LabelId("00000000DEADBEEF")
    store.deliver(absent, b"x")
    store.run(1_000)
    store.world.step(3_600_000)
    store.settle()
    assert [event.reason for event in store.events(Failed) if isinstance(event, Failed)] == [FailReason.EXPIRED]
    store.run(CHECK_IN_MS + 1_000)
    after = [at_ms for at_ms, event in store.seen if isinstance(event, LabelSeen)][len(before) :]
    assert len(after) == 3
    # The phases are those of before, give or take the labels' own oscillators.
    slept = zip(sorted(at_ms % CHECK_IN_MS for at_ms in before[-3:]), sorted(at_ms % CHECK_IN_MS for at_ms in after), strict=True)
    assert all(abs(after_ms - before_ms) < 1_000 for before_ms, after_ms in slept)


def test_a_label_that_is_to_check_in_more_often_does_from_its_next_waking_on() -> None:
    store = MemoryStore(seed=9)
    store.run(CHECK_IN_MS + 1_000)
    store.label.interval_ms = 5_000
    store.run(CHECK_IN_MS + 1_000)
    before = len(store.events(LabelSeen))
    store.run(50_000)
    assert len(store.events(LabelSeen)) - before in (9, 10, 11)


def test_a_step_ends_a_running_refresh_and_the_next_check_in_proves_it() -> None:
    store = MemoryStore(seed=9)
    store.run(50_000)
    store.deliver(LabelId(store.label.name), b"step" * 50)
    store.run(300_000, lambda: bool(store.events(Stored)))
    assert store.label.shown is None
    store.world.step(600_000)
    assert store.label.shown is not None
    store.run(CHECK_IN_MS + 1_000)
    assert len(store.events(Proven)) == 1


def test_the_diary_tells_a_transfer_in_order() -> None:
    store = MemoryStore(seed=9)
    told: list[Happening] = []
    store.world.on_happening = told.append
    store.run(50_000)
    store.deliver(LabelId(store.label.name), b"d" * 5000)
    store.run(200_000, lambda: bool(store.events(Proven)))
    kinds = [happening.kind for happening in told if happening.kind != "checkin"]
    assert kinds == ["sda", "transfer_begins", "rqb", "xfc", "refresh_begins", "display"]
    assert told[-1].at_ms <= store.now_ms
    assert next(happening for happening in told if happening.kind == "display").detail["md5"]


def test_a_panel_in_mid_refresh_still_shows_the_old_picture() -> None:
    store = MemoryStore(seed=9)
    store.run(50_000)
    label = LabelId(store.label.name)
    store.deliver(label, b"old" * 50)
    store.run(300_000, lambda: bool(store.events(Proven)))
    store.deliver(label, b"new" * 50)
    store.run(300_000, lambda: len(store.events(Stored)) == 2)
    store.run(5_000)
    assert store.shows(label, b"old" * 50)
    store.run(25_000)
    assert store.shows(label, b"new" * 50)


class Fetching:
    """A label that only fetches."""

    def __init__(self, mac: bytes) -> None:
        self.mac = mac_from_text(mac.hex())
        self.got: list[bytes | None] = []
        self.refused = 0

    def parts(self, at_ms: float, block: bytes | None) -> None:
        self.got.append(block)

    def cancelled(self, at_ms: float) -> None:
        self.refused += 1


def module_with(world: World, *labels: Fetching) -> SimModule:
    module = SimModule(world, module_mac(0, 0), fixed_ack_ms=20)
    for label in labels:
        module.host_bytes(b"SDA>" + PendingData(label.mac, data_version(b"x"), 100, 0x20, 0, 0, 20).to_wire(), world.now_ms)
        world.advance(world.now_ms + 100)
    assert module.take_output() == b"ACK>" * len(labels)
    return module


def test_a_second_label_is_told_that_the_module_is_busy() -> None:
    world = World(seed=0)
    one, two = Fetching(b"\0" * 7 + b"\1"), Fetching(b"\0" * 7 + b"\2")
    module = module_with(world, one, two)
    module.block_request(one, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms)
    module.block_request(two, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms + 1100)
    assert two.refused == 1
    assert module.take_output().endswith(b"BUSY!\n\r")
    world.advance(world.now_ms + 1300)
    module.block_request(two, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms)
    assert two.refused == 1


def test_a_repeated_request_is_ignored_at_first_and_forced_later() -> None:
    world = World(seed=0)
    label = Fetching(b"\0" * 7 + b"\1")
    module = module_with(world, label)
    start_ms = world.now_ms
    for after_ms in (0, 100, 400):
        world.advance(start_ms + after_ms)
        module.block_request(label, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms)
    said = module.take_output()
    assert said.count(b"RQB>") == 2
    assert said.index(b"IGNORED") < said.index(b"FORCED")


def test_a_label_without_an_offer_is_refused_without_asking_the_host() -> None:
    world = World(seed=0)
    label = Fetching(b"\0" * 7 + b"\1")
    module = module_with(world)
    module.block_request(label, data_version(b"x"), 0, 100, full=True, at_ms=0)
    assert label.refused == 1
    assert module.take_output() == b""


def serve(after_ms: float, baud: int = 115_200) -> list[bytes | None]:
    """Answer a block request so late; what the label gets."""
    world = World(seed=0)
    label = Fetching(b"\0" * 7 + b"\1")
    module = module_with(world, label)
    module.baud = baud
    module.block_request(label, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms)
    assert world.held
    world.advance(world.now_ms + after_ms)
    module.host_bytes(b">D>" + block_to_wire(b"x" * 100), world.now_ms, baud)
    world.advance(world.now_ms + 2000)
    assert not world.held
    return label.got


def test_the_wire_time_of_a_block_counts_against_the_labels_patience() -> None:
    assert serve(150)[0] is not None
    assert serve(200)[0] is None  # 359 ms on the wire at the slow speed: too late for 550
    assert serve(100, FAST_BAUD)[0] is not None  # 21 ms at the fast one
    assert serve(130, FAST_BAUD)[0] is None  # whose patience is 140


def test_the_world_waits_for_its_host_but_not_for_what_the_module_does_itself() -> None:
    world = World(seed=0)
    label = Fetching(b"\0" * 7 + b"\1")
    module = module_with(world, label)
    waited: list[bool] = []
    module.block_request(label, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms)
    waited.append(world.held)
    module.host_bytes(b">D>", world.now_ms)
    waited.append(world.held)  # it looks at its line by and by
    world.advance(world.now_ms + 21)
    assert module.take_output().endswith(b"ACK>")
    waited.append(world.held)
    module.host_bytes(block_to_wire(b"x" * 100), world.now_ms)
    waited.append(world.held)  # the rest is the line's
    world.advance(world.now_ms + 2000)
    assert waited == [True, False, True, False]
    assert label.got[0] is not None


@pytest.mark.parametrize("late_ms", [0, 100, 1000])
def test_a_late_world_takes_nothing_from_its_hosts_time(late_ms: int) -> None:
    """The line, the module and its host as `serve(100, FAST_BAUD)` has them, and a process that gave way for a while in between."""
    world = World(seed=0)
    label = Fetching(b"\0" * 7 + b"\1")
    module = module_with(world, label)
    module.baud = FAST_BAUD
    module.block_request(label, data_version(b"x"), 0, 100, full=True, at_ms=world.now_ms)
    module.host_bytes(b">D>", world.now_ms, FAST_BAUD)
    world.on_hold = lambda: world.now_ms + late_ms
    world.advance(world.now_ms + 21)
    world.advance(world.now_ms + late_ms + 79)
    assert label.got == []
    module.host_bytes(block_to_wire(b"x" * 100), world.now_ms, FAST_BAUD)
    world.advance(world.now_ms + 2000)
    assert label.got[0] is not None


def test_half_a_block_is_abandoned_after_a_second() -> None:
    world = World(seed=0)
    module = module_with(world)
    module.host_bytes(b">D>" + bytes(2000), world.now_ms)
    world.advance(world.now_ms + 1500)
    module.take_output()
    module.host_bytes(b"RDY?", world.now_ms)
    world.advance(world.now_ms + 200)
    assert module.take_output() == b"ACK>"


def test_three_bytes_of_channel_to_a_sub_ghz_build_get_no_answer_and_spoil_the_next_command() -> None:
    world = World(seed=0)
    module = SimModule(world, module_mac(0, 0), fixed_ack_ms=20, sub_ghz=True)
    module.host_bytes(b"SCP>\x15\x0b\x0a", 0)
    world.advance(300)
    assert module.take_output() == b""
    module.host_bytes(b"RDY?", 300)
    world.advance(600)
    assert module.take_output() == b"NOK>"


def test_a_label_roams_to_a_module_that_answers() -> None:
    world = World(seed=0)
    modules = [SimModule(world, module_mac(0, number)) for number in range(2)]
    SimLabel(world, modules, MAC, LABEL_TYPES[0x01], 0x29, first_wake_ms=10)
    modules[0].reset(0)
    world.advance(20)
    assert modules[0].take_output() == b""
    assert modules[1].take_output().startswith(b"ADR>")
