"""Proven means shown: whole histories of radio, module and labels, with every lie but the one that no wire can show."""

from __future__ import annotations

from collections import Counter

import pytest

from drivers.base import DisplayUnknown, Failed, FailReason, LabelId, OnAir, Picture, Proven, Stored
from drivers.oepl_evidence import Condition, Evidence, Verdict
from drivers.sim.labels import REFRESH_MIN_MS, Lie
from protocols.oepl_types import LABEL_TYPES
from tests.drivers.oepl_histories import CredulousHistory, FalseProof, History
from tests.drivers.oepl_memory import MemoryStore

SEEDS = range(1000)
SEEDS_UNTIL_CAUGHT = range(200)


def test_a_proven_attempt_is_on_the_panel_in_every_history() -> None:
    outcomes: Counter[str] = Counter()
    for seed in SEEDS:
        outcomes += History(seed).outcomes
    # The histories are worth something only if they prove much and fail in every way.
    assert outcomes["Proven"] > len(SEEDS) / 2
    reasons = {FailReason.SUSPICIOUS, FailReason.DISPLAY_LOST, FailReason.LOW_BATTERY, FailReason.STALLED, FailReason.RADIO_LOST}
    assert all(outcomes[reason] > 3 for reason in reasons), outcomes


def caught(history: type[History] = History, lies: tuple[Lie, ...] | None = None) -> bool:
    for seed in SEEDS_UNTIL_CAUGHT:
        try:
            history(seed) if lies is None else history(seed, lies)
        except FalseProof:
            return True
    return False


def test_planted_fault_taking_transfer_complete_for_proof_is_caught() -> None:
    assert caught(CredulousHistory)


def test_the_named_limit_a_panel_that_never_refreshes_is_not_noticed() -> None:
    assert caught(lies=(Lie.NEVER_REFRESHES,))


def ignore_restarts(patch: pytest.MonkeyPatch) -> None:
    judge = Evidence.judge
    patch.setattr(Evidence, "judge", lambda self, wake, *rest: judge(self, None if wake is None else 0, *rest))


def ignore_battery(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Condition, "too_weak", False)
    patch.setattr(Condition, "can_refresh", True)


def ignore_blocks(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Evidence, "complete", lambda self: True)


def ignore_waking(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Evidence, "waking_over", lambda self: None)


def ignore_refresh_time(patch: pytest.MonkeyPatch) -> None:
    judge = Evidence.judge
    patch.setattr(Evidence, "judge", lambda self, wake, picture, condition, now_ms: judge(self, wake, picture, condition, now_ms + 10**9))


@pytest.mark.parametrize("fault", [ignore_restarts, ignore_battery, ignore_blocks, ignore_waking, ignore_refresh_time])
def test_planted_fault_in_the_proof_rule_is_caught(fault: object, monkeypatch: pytest.MonkeyPatch) -> None:
    assert callable(fault)
    fault(monkeypatch)
    assert caught()


# ---------------------------------------------------------------- one lie, one outcome
def awake_store(**options: float) -> tuple[MemoryStore, LabelId]:
    """A store whose label has booted and told its type."""
    store = MemoryStore(seed=7, **options)  # type: ignore[arg-type]
    store.run(50_000)
    return store, LabelId(store.label.name)


def outcome(store: MemoryStore, attempt_id: int, within_ms: float = 900_000) -> Proven | Failed:
    found: list[Proven | Failed] = []

    def ended() -> bool:
        found[:] = [e for _, e in store.seen if isinstance(e, Proven | Failed) and e.attempt_id == attempt_id]
        return bool(found)

    assert store.run(within_ms, ended), store.seen
    return found[0]


def test_an_honest_label_proves_its_picture_after_the_refresh_time() -> None:
    store, label = awake_store()
    attempt = store.deliver(label, b"a" * 9000)
    assert isinstance(outcome(store, attempt), Proven)
    assert store.shows(label, b"a" * 9000)
    order = [type(event) for event in store.events(OnAir, Stored, Proven)]
    assert order == [OnAir, Stored, Proven]
    times = {type(event): at_ms for at_ms, event in store.seen}
    assert times[Proven] - times[Stored] >= LABEL_TYPES[0x01].refresh_max_ms


@pytest.mark.parametrize(
    "lie, reason",
    [
        (Lie.XFC_WITHOUT_REFRESH, FailReason.SUSPICIOUS),
        (Lie.SLOT_OVERFLOW, FailReason.SUSPICIOUS),
        (Lie.CACHED_REDRAW, FailReason.SUSPICIOUS),
        (Lie.LOW_BATTERY, FailReason.LOW_BATTERY),
        (Lie.RESET_BEFORE_REFRESH, FailReason.DISPLAY_LOST),
    ],
)
def test_each_lie_fails_for_its_own_reason(lie: Lie, reason: FailReason) -> None:
    store, label = awake_store()
    assert isinstance(outcome(store, store.deliver(label, b"first" * 100)), Proven)
    store.label.set_lie(lie)
    failed = outcome(store, store.deliver(label, b"second" * 100))
    assert isinstance(failed, Failed)
    assert failed.reason is reason
    assert store.shows(label, b"first" * 100)


def test_a_label_that_restarts_in_mid_transfer_fetches_all_again_and_is_proven() -> None:
    store, label = awake_store()
    store.label.set_lie(Lie.RESET_MID_TRANSFER, once=True)
    assert isinstance(outcome(store, store.deliver(label, b"x" * 9000)), Proven)
    assert len(store.events(DisplayUnknown)) == 2  # its first boot, and this one


def test_the_same_bytes_again_are_suspicious_because_nothing_is_fetched() -> None:
    store, label = awake_store()
    assert isinstance(outcome(store, store.deliver(label, b"same" * 100)), Proven)
    failed = outcome(store, store.deliver(label, b"same" * 100))
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.SUSPICIOUS


def test_a_picture_redrawn_from_the_labels_own_memory_is_suspicious() -> None:
    store, label = awake_store()
    for data in (b"one" * 100, b"two" * 100):
        assert isinstance(outcome(store, store.deliver(label, data)), Proven)
    failed = outcome(store, store.deliver(label, b"one" * 100))
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.SUSPICIOUS


def test_a_swapped_battery_lets_the_next_attempt_be_proven() -> None:
    store, label = awake_store()
    store.label.set_lie(Lie.LOW_BATTERY)
    assert isinstance(outcome(store, store.deliver(label, b"weak" * 100)), Failed)
    store.label.swap_battery(store.now_ms)
    assert isinstance(outcome(store, store.deliver(label, b"strong" * 100)), Proven)


def test_a_check_in_during_the_refresh_proves_nothing() -> None:
    store, label = awake_store()
    attempt = store.deliver(label, b"early" * 100)
    store.run(300_000, lambda: bool(store.events(Stored)))
    store.run(REFRESH_MIN_MS / 2)
    store.label.press_button(store.now_ms)
    store.run(100)
    assert store.events(Proven) == []
    assert isinstance(outcome(store, attempt), Proven)


def test_a_damaged_message_after_transfer_complete_costs_the_proof() -> None:
    store, label = awake_store()
    attempt = store.deliver(label, b"noise" * 100)
    store.run(300_000, lambda: bool(store.events(Stored)))
    store.radio.receive(b"AR>\x15\x01\x02\x03" + bytes(28), int(store.now_ms), int(store.now_ms))
    failed = outcome(store, attempt)
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.SUSPICIOUS


def test_debug_text_after_transfer_complete_costs_nothing() -> None:
    store, label = awake_store()
    attempt = store.deliver(label, b"text" * 100)
    store.run(300_000, lambda: bool(store.events(Stored)))
    store.radio.receive(b"BUSY!\n\rSending parts: XX........ ..\n\r", int(store.now_ms), int(store.now_ms))
    assert isinstance(outcome(store, attempt), Proven)


def test_a_module_restart_between_storing_and_proof_costs_the_proof() -> None:
    store, label = awake_store()
    attempt = store.deliver(label, b"reset" * 100)
    store.run(300_000, lambda: bool(store.events(Stored)))
    store.module.reset(store.now_ms)
    failed = outcome(store, attempt)
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.RADIO_LOST


def test_a_download_resumed_across_two_announcements_is_suspicious() -> None:
    store, label = awake_store()
    attempt = store.deliver(label, b"z" * 9000)
    store.run(300_000, lambda: len(store.from_host) > 2 * 4132 + 200)  # the second block is on its way
    store.module.reset(store.now_ms)
    failed = outcome(store, attempt)
    assert isinstance(failed, Failed)
    assert failed.reason is FailReason.SUSPICIOUS


def test_a_label_that_never_said_what_it_is_proves_nothing() -> None:
    stored = Evidence(5000, stored_at_ms=1000)
    assert stored.judge(None, Picture("raw1", b"x"), None, 10**9) is Verdict.WAIT
