"""What the store asks HQ to send again: told the time and the cursors, nothing else."""

from __future__ import annotations

from edge.hq_needs import Needs
from edge.hq_ports import HqTimings, Missing
from protocols.hq import StreamCursor
from protocols.hq_messages import Head, StreamPosition

A, B = "a" * 32, "b" * 32
T = HqTimings()


def _cursors(**seqs: int) -> dict[str, StreamCursor]:
    return {stream: StreamCursor(A, seq) for stream, seq in seqs.items()}


def test_a_gap_is_asked_for_when_it_is_ten_seconds_old_and_not_before() -> None:
    needs = Needs(T)
    needs.gap(Missing("price", A, 5, 7), at_once=False, now_ms=1_000)
    assert needs.deadline_ms == 11_000
    assert needs.due(_cursors(price=4), has_snapshot=True, now_ms=10_999) == []
    assert needs.due(_cursors(price=4), has_snapshot=True, now_ms=11_000) == [Missing("price", A, 5, 7)]


def test_a_gap_that_closed_in_time_is_never_asked_for() -> None:
    needs = Needs(T)
    needs.gap(Missing("price", A, 5, 7), at_once=False, now_ms=0)
    assert needs.due(_cursors(price=7), has_snapshot=True, now_ms=10_000) == []
    assert needs.deadline_ms is None


def test_only_what_is_still_missing_is_asked_for() -> None:
    needs = Needs(T)
    needs.gap(Missing("price", A, 5, 7), at_once=False, now_ms=0)
    needs.gap(Missing("price", A, 5, 9), at_once=False, now_ms=3_000)
    assert needs.due(_cursors(price=6), has_snapshot=True, now_ms=10_000) == [Missing("price", A, 7, 9)]


def test_too_many_held_messages_are_a_reason_not_to_wait_but_only_once() -> None:
    needs = Needs(T)
    needs.gap(Missing("stock", A, 1, None), at_once=True, now_ms=500)
    assert needs.due(_cursors(stock=0), has_snapshot=True, now_ms=500) == [Missing("stock", A, 1, None)]
    needs.gap(Missing("stock", A, 1, None), at_once=True, now_ms=501)
    assert needs.due(_cursors(stock=0), has_snapshot=True, now_ms=501) == []


def test_a_request_that_brings_nothing_is_repeated_at_doubling_pauses() -> None:
    needs = Needs(T)
    needs.gap(Missing("price", A, 5, 7), at_once=True, now_ms=0)
    pauses, now_ms = [], 0
    for _ in range(8):
        assert needs.due(_cursors(price=4), has_snapshot=True, now_ms=now_ms)
        assert needs.deadline_ms is not None
        pauses.append(needs.deadline_ms - now_ms)
        now_ms = needs.deadline_ms
    assert pauses == [10_000, 20_000, 40_000, 80_000, 160_000, 300_000, 300_000, 300_000]


def test_a_head_that_is_ahead_is_a_need_and_one_that_is_not_is_none() -> None:
    needs = Needs(T)
    head = Head({"price": StreamPosition(A, 9), "stock": StreamPosition(A, 3), "label": StreamPosition(B, 2), "sys": StreamPosition(A, 0)})
    needs.head(head, _cursors(price=7, stock=3, label=8), now_ms=0)
    asks = needs.due(_cursors(price=7, stock=3, label=8), has_snapshot=True, now_ms=T.head_ms)
    assert asks == [Missing("price", A, 8, 9), Missing("label", B, 1, 2)]


def test_a_stream_of_a_newer_hq_is_never_asked_for() -> None:
    needs = Needs(T)
    needs.head(Head({"media": StreamPosition(A, 9)}), {}, now_ms=0)
    assert needs.deadline_ms is None


def test_a_need_of_an_old_incarnation_ends_with_it() -> None:
    needs = Needs(T)
    needs.gap(Missing("price", A, 5, 7), at_once=False, now_ms=0)
    needs.applied("price", A, now_ms=1)
    assert needs.deadline_ms == 10_000
    needs.applied("price", B, now_ms=2)
    assert needs.deadline_ms is None


def test_without_catalogue_the_snapshot_is_asked_for_and_the_prices_before_it_are_not() -> None:
    needs = Needs(T)
    needs.no_snapshot(now_ms=0)
    needs.gap(Missing("price", A, 1, 400), at_once=True, now_ms=0)
    assert needs.due({}, has_snapshot=False, now_ms=T.snapshot_ms) == [Missing("bulk", None, 0, None)]
    assert needs.due(_cursors(price=400), has_snapshot=True, now_ms=300_000) == []
    assert needs.deadline_ms is None


def test_a_snapshot_on_its_way_is_not_asked_for_while_chunks_come() -> None:
    needs = Needs(T)
    needs.no_snapshot(now_ms=0)
    for now_ms in range(1_000, 20_000, 1_000):
        needs.applied("bulk", A, now_ms=now_ms)
        assert needs.due(_cursors(bulk=1), has_snapshot=False, now_ms=now_ms) == []
    assert needs.due(_cursors(bulk=1), has_snapshot=False, now_ms=19_000 + T.snapshot_ms) == [Missing("bulk", None, 0, None)]
