from __future__ import annotations

import pytest

from drivers.base import (
    Failed,
    FailReason,
    LabelId,
    LabelSeen,
    OfferAccepted,
    OfferCleared,
    OnAir,
    Proven,
    RadioDown,
    RadioUp,
    Stored,
)
from drivers.oepl_attempts import OFFER_LIFETIME_MS
from drivers.sim.labels import module_mac
from drivers.sim.module import CAPACITY
from protocols.oepl_wire import CANCEL, OFFER, CheckIn, mac_from_text, printed
from tests.drivers.oepl_memory import MemoryStore


def first(store: MemoryStore) -> LabelId:
    return LabelId(store.label.name)


def store_with_awake_label(**options: object) -> MemoryStore:
    store = MemoryStore(seed=11, **options)  # type: ignore[arg-type]
    store.run(50_000)
    return store


def proven(store: MemoryStore, attempt_id: int) -> bool:
    return any(isinstance(event, Proven) and event.attempt_id == attempt_id for _, event in store.seen)


def failures(store: MemoryStore) -> list[tuple[int, FailReason]]:
    return [(event.attempt_id, event.reason) for _, event in store.seen if isinstance(event, Failed)]


def test_three_hundred_labels_are_all_served_by_a_table_of_two_hundred_and_fifty() -> None:
    store = MemoryStore(seed=5, labels=300)
    store.run(1000)
    attempts = {label: store.deliver(label, bytes(store.labels[label].mac) * 50) for label in store.labels}
    assert store.run(60_000, lambda: store.module.entries == CAPACITY)
    for _ in range(40):
        store.run(60_000)
        for event in store.events(Failed):
            assert isinstance(event, Failed)
            assert event.reason is FailReason.EXPIRED  # one module serves them one after another; some wait longer than an offer lives
            if attempts[event.label_id] == event.attempt_id:
                attempts[event.label_id] = store.deliver(event.label_id, bytes(store.labels[event.label_id].mac) * 51)
        if all(proven(store, attempt) for attempt in attempts.values()):
            break
    assert all(proven(store, attempt) for attempt in attempts.values())
    assert all(label.shown is not None for label in store.labels.values())


def test_every_check_in_is_reported_with_what_it_carried() -> None:
    store = store_with_awake_label()
    store.run(130_000)
    seen = [event for _, event in store.seen if isinstance(event, LabelSeen)]
    assert len(seen) == 4
    assert (seen[0].wake_reason, seen[0].battery_mv) == (0xFC, 2600)
    assert seen[0].profile is not None
    assert (seen[0].profile.panel, seen[0].profile.codecs[0], seen[0].profile.firmware) == ("oepl-01", "g5", 0x29)
    assert seen[1].profile is None
    assert seen[1].battery_mv is None


def test_a_picture_that_does_not_fit_is_never_sent() -> None:
    store = store_with_awake_label()
    written = len(store.from_host)
    store.deliver(first(store), b"x" * 12_267)
    store.deliver(first(store), b"x" * 100, codec="zlib")
    store.deliver(first(store), b"")
    store.run(100_000)
    assert failures(store) == [(1, FailReason.TOO_BIG), (2, FailReason.UNSUPPORTED), (3, FailReason.UNSUPPORTED)]
    assert OFFER not in store.from_host[written:]


def test_a_picture_for_an_unknown_label_is_offered_and_taken_back_when_the_label_says_what_it_is() -> None:
    store = MemoryStore(seed=11, firmware=0x28)
    store.deliver(first(store), b"g5" * 100, codec="g5")
    store.run(60_000)
    assert [type(event) for event in store.events(OfferAccepted, OfferCleared)] == [OfferAccepted, OfferCleared]
    assert failures(store) == [(1, FailReason.UNSUPPORTED)]
    assert store.module.entries == 0


def test_a_newer_picture_replaces_an_offered_one_at_once() -> None:
    store = store_with_awake_label()
    store.deliver(first(store), b"old" * 100)
    store.run(500)
    newer = store.deliver(first(store), b"new" * 100)
    assert store.run(300_000, lambda: proven(store, newer))
    assert store.shows(first(store), b"new" * 100)
    assert failures(store) == []
    assert [event.attempt_id for event in store.events(OfferAccepted) if isinstance(event, OfferAccepted)] == [1, 2]


def test_no_announcement_is_made_for_a_label_between_its_first_block_and_its_end() -> None:
    store = store_with_awake_label()
    older = store.deliver(first(store), b"o" * 12_000)
    assert store.run(300_000, lambda: bool(store.events(OnAir)))
    newer = store.deliver(first(store), b"n" * 12_000)
    announced = store.from_host.count(OFFER)
    assert store.run(60_000, lambda: bool(store.events(Stored)))
    assert store.from_host.count(OFFER) <= announced + 1
    assert not proven(store, older)
    assert store.run(300_000, lambda: proven(store, newer))
    assert store.shows(first(store), b"n" * 12_000)
    assert failures(store) == []


def test_a_stalled_download_makes_way_for_a_newer_picture() -> None:
    store = store_with_awake_label()
    store.deliver(first(store), b"o" * 12_000)
    assert store.run(300_000, lambda: bool(store.events(OnAir)))
    store.label.remove_battery()
    newer = store.deliver(first(store), b"n" * 100)
    store.run(50_000)
    assert failures(store) == []
    store.run(15_000)
    assert failures(store) == [(1, FailReason.STALLED)]
    store.label.swap_battery(store.now_ms)
    assert store.run(300_000, lambda: proven(store, newer))


def test_a_download_that_the_label_does_not_go_on_with_is_given_up_after_a_few_check_ins() -> None:
    store = store_with_awake_label()
    store.deliver(first(store), b"o" * 12_000)
    assert store.run(300_000, lambda: bool(store.events(OnAir)))
    store.label.remove_battery()
    for _ in range(5):
        store.run(41_000)
        store.radio.receive(CheckIn(store.label.mac, None).to_wire(), int(store.now_ms), int(store.now_ms))
        store.settle()
    store.run(1000)
    assert failures(store) == [(1, FailReason.STALLED)]
    assert store.module.entries == 0


def test_a_label_that_never_comes_expires_and_frees_its_slot() -> None:
    store = MemoryStore(seed=3, labels=1)
    absent = LabelId("00000000DEADBEEF")
    store.deliver(absent, b"x")
    store.run(22 * 60_000, lambda: bool(failures(store)))
    assert failures(store) == [(1, FailReason.EXPIRED)]
    assert store.module.entries == 0
    assert store.now_ms - 60_000 < OFFER_LIFETIME_MS


def test_a_dead_label_does_not_keep_others_waiting_for_ever() -> None:
    store = MemoryStore(seed=3, labels=2)
    for number in range(CAPACITY):
        store.deliver(LabelId(f"{0xDEAD0000 + number:016X}"), b"x")
    store.run(120_000, lambda: store.module.entries == CAPACITY)
    attempts = [store.deliver(label, b"alive" * 20) for label in store.labels]
    assert store.run(30 * 60_000, lambda: all(proven(store, attempt) for attempt in attempts))


def test_a_withdrawn_offer_is_acknowledged_and_gone() -> None:
    store = store_with_awake_label()
    store.deliver(first(store), b"gone" * 100)
    store.run(500)
    store.withdraw(first(store))
    store.run(500)
    assert [type(event) for event in store.events(OfferAccepted, OfferCleared)] == [OfferAccepted, OfferCleared]
    assert store.module.entries == 0
    store.run(100_000)
    assert store.label.shown is None


def test_a_withdrawal_survives_a_restart_of_the_module() -> None:
    store = store_with_awake_label()
    store.deliver(first(store), b"gone" * 100)
    store.run(500)
    store.withdraw(first(store))
    store.module.reset(store.now_ms)
    store.run(5_000)
    assert len(store.events(OfferCleared)) == 1
    assert bytes(store.from_host).count(CANCEL) >= 2


def test_a_restarted_module_is_told_every_offer_again_and_the_same_attempt_is_proven() -> None:
    store = store_with_awake_label()
    attempt = store.deliver(first(store), b"again" * 100)
    store.run(500)
    store.module.reset(store.now_ms)
    assert store.run(300_000, lambda: proven(store, attempt))
    assert len(store.events(OfferAccepted)) == 2
    assert store.radio.restarts == 1


def test_a_lost_port_fails_what_was_announced_and_keeps_what_was_not() -> None:
    store = store_with_awake_label()
    announced = store.deliver(first(store), b"announced" * 10)
    store.run(500)
    store.unplug("serial port /dev/ttyX went away: No such device")
    assert failures(store) == [(announced, FailReason.RADIO_LOST)]
    assert isinstance(store.seen[-1][1], RadioDown)
    waiting = store.deliver(first(store), b"waiting" * 10)
    store.run(10_000)
    store.plug()
    assert store.run(400_000, lambda: proven(store, waiting))


def test_a_port_that_stays_away_is_reported_once() -> None:
    store = MemoryStore(seed=1)
    store.unplug("serial port /dev/ttyX does not exist")
    for _ in range(3):
        store.unplug("serial port /dev/ttyX does not exist")
    store.plug()
    store.run(3000)
    store.unplug("serial port /dev/ttyX does not exist")
    assert [type(event) for event in store.events(RadioUp, RadioDown)] == [RadioDown, RadioUp, RadioDown]


def test_another_module_than_the_configured_one_is_not_used() -> None:
    store = MemoryStore(seed=1, expected_mac=mac_from_text("0000000000000001"))
    store.run(5_000)
    (down,) = store.events(RadioDown)
    assert isinstance(down, RadioDown)
    assert down.reason == f"module {printed(module_mac(1, 0))} found where 0000000000000001 is configured"
    assert store.radio.stopped
    assert store.radio.radio_id is None


def test_the_radio_is_named_by_its_own_mac() -> None:
    store = store_with_awake_label()
    assert store.radio.radio_id == printed(module_mac(11, 0))
    assert store.events(RadioUp)


@pytest.mark.parametrize("options", [{"sub_ghz": True}, {"fast": True}, {"fast": True, "fast_ok": False}, {"chatter": 1.0}])
def test_every_kind_of_module_proves_a_picture(options: dict[str, object]) -> None:
    store = store_with_awake_label(**options)
    attempt = store.deliver(first(store), b"picture" * 900)
    assert store.run(300_000, lambda: proven(store, attempt))


def test_a_picture_is_proven_when_every_byte_comes_alone() -> None:
    store = store_with_awake_label(one_byte_at_a_time=True)
    attempt = store.deliver(first(store), b"slowly" * 900)
    assert store.run(300_000, lambda: proven(store, attempt))


def test_a_host_that_is_late_makes_blocks_fail_and_one_in_time_does_not() -> None:
    for delay_ms, serves in ((0, True), (40, True), (700, False)):
        store = MemoryStore(seed=11, host_delay_ms=delay_ms)
        store.run(50_000)
        attempt = store.deliver(first(store), b"late" * 900)
        assert store.run(400_000, lambda: proven(store, attempt)) is serves, delay_ms  # noqa: B023


def test_a_lossy_line_still_serves_every_label() -> None:
    store = MemoryStore(seed=21, labels=4, lost_bytes=0.0005)
    store.run(60_000)
    wanted = dict.fromkeys(store.labels, 0)
    for label in wanted:
        wanted[label] = store.deliver(label, bytes(store.labels[label].mac) * 300)
    for number in range(120):
        store.run(30_000)
        ended = {event.attempt_id for _, event in store.seen if isinstance(event, Failed)}
        for label, attempt in wanted.items():
            if attempt in ended:
                wanted[label] = store.deliver(label, (bytes(store.labels[label].mac) + bytes([number])) * 300)
        if all(proven(store, attempt) for attempt in wanted.values()):
            return
    raise AssertionError(f"not all proven: {failures(store)}")


def test_strangers_do_not_fill_the_memory() -> None:
    store = store_with_awake_label()
    for number in range(12_000):
        store.radio.receive(CheckIn(mac_from_text(f"{0xABC00000 + number:016X}"), None).to_wire(), int(store.now_ms), int(store.now_ms))
    seen = [event for event in store.radio.events() if isinstance(event, LabelSeen)]
    assert len(seen) < 10_000
    attempt = store.deliver(first(store), b"still" * 100)
    assert store.run(300_000, lambda: proven(store, attempt))
