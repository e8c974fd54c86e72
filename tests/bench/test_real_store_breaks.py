"""The guards that the bench breaks on purpose are really broken by that, and are still where it looks for them."""

from __future__ import annotations

import pytest

from bench import broken_daemon
from drivers.base import DriverEvent, LabelId, Proven, RadioId, Stored
from drivers.oepl_radio import OeplRadio
from edge import pricing
from edge.model import AttemptId, Curve, ItemId, MayEntry, MayKind, MayState, Offer

STORED = Stored(RadioId("R"), LabelId("L"), 7)


def test_ignore_labels_leaves_no_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pricing, "bounds", pricing.bounds)  # put back afterwards
    offer = Offer(ItemId("1"), Curve.plain(100))
    entry = MayEntry(AttemptId(1), "L", MayKind.PICTURE, MayState.PROVEN, "h", (offer,))
    bounds = list(pricing.bounds(ItemId("1"), [entry], now_ms=0, boot_id="b", store_open=True))
    broken_daemon.BREAKS["ignore-labels"]()
    assert len(bounds) == 1
    assert list(pricing.bounds(ItemId("1"), [entry], now_ms=0, boot_id="b", store_open=True)) == []


def test_xfc_is_shown_proves_what_is_only_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    def stored(_: OeplRadio) -> list[DriverEvent]:
        return [STORED]

    monkeypatch.setattr(OeplRadio, "events", stored)
    broken_daemon.BREAKS["xfc-is-shown"]()
    first, second = OeplRadio().events()
    assert first == STORED
    assert isinstance(second, Proven)
    assert second.attempt_id == 7


def test_an_unknown_break_is_refused() -> None:
    assert broken_daemon.main(["no-such-break", "run"]) == 2
