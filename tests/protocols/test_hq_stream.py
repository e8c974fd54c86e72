"""What the next message of a stream means, and that any delivery heals into every message once and in order."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.hq import (
    HELD_ROWS_MAX,
    Decision,
    Duplicate,
    Fork,
    Gap,
    InOrder,
    NewIncarnation,
    Stale,
    StreamCursor,
    decide,
)

A, B = "a" * 32, "b" * 32


@pytest.mark.parametrize(
    "seq, known, expected",
    [
        (8, None, InOrder()),
        (7, "d", Duplicate()),
        (7, "e", Fork()),
        (7, None, Stale()),
        (1, None, Stale()),
        (9, None, Gap(8, 8, hold=True)),
        (12, None, Gap(8, 11, hold=True)),
        (12, "d", Duplicate()),
        (12, "e", Fork()),
        (7 + HELD_ROWS_MAX, None, Gap(8, 6 + HELD_ROWS_MAX, hold=True)),
        (8 + HELD_ROWS_MAX, None, Gap(8, 7 + HELD_ROWS_MAX, hold=False)),
    ],
)
def test_a_place_in_the_current_incarnation(seq: int, known: str | None, expected: Decision) -> None:
    assert decide(StreamCursor(A, 7), A, seq, "d", known) == expected


def test_a_new_incarnation_is_said_before_anything_is_applied_and_a_retired_one_never_comes_back() -> None:
    assert decide(StreamCursor(A, 7), B, 8, "d", None) == NewIncarnation()
    assert decide(None, A, 1, "d", None) == NewIncarnation()
    assert decide(StreamCursor(B, 0), B, 1, "d", None) == InOrder()
    assert decide(StreamCursor(B, 1), A, 8, "d", None, retired=True) == Stale()


def test_a_message_that_restarts_its_stream_is_in_order_wherever_it_is_ahead() -> None:
    assert decide(StreamCursor(A, 7), A, 500, "d", None, restarts=True) == InOrder()
    assert decide(StreamCursor(A, 7), A, 5, "d", None, restarts=True) == Stale()


class _Store:
    """The smallest receiver that follows the decisions."""

    def __init__(self, rule: Callable[..., Decision] = decide) -> None:
        self.cursor: StreamCursor | None = None
        self.applied: list[int] = []
        self.held: dict[int, str] = {}
        self.known: dict[int, str] = {}
        self._rule = rule

    def receive(self, seq: int) -> None:
        digest = f"d{seq}"
        decision = self._rule(self.cursor, A, seq, digest, self.known.get(seq))
        if isinstance(decision, NewIncarnation):
            self.cursor = StreamCursor(A, 0)
            decision = self._rule(self.cursor, A, seq, digest, self.known.get(seq))
        if isinstance(decision, Gap) and decision.hold:
            self.held[seq] = self.known[seq] = digest
        if isinstance(decision, InOrder):
            self.known[seq] = digest
            self._apply(seq)
            while self.cursor is not None and self.cursor.seq + 1 in self.held:
                del self.held[self.cursor.seq + 1]
                self._apply(self.cursor.seq + 1)

    def _apply(self, seq: int) -> None:
        self.applied.append(seq)
        self.cursor = StreamCursor(A, seq)


def _deliver(store: _Store, deliveries: list[int], last: int) -> None:
    for seq in deliveries:
        store.receive(seq)
    while (store.cursor.seq if store.cursor else 0) < last:  # HQ answers the resend request
        store.receive((store.cursor.seq if store.cursor else 0) + 1)


_DELIVERIES = st.integers(1, 300).flatmap(lambda last: st.tuples(st.just(last), st.lists(st.integers(1, last), max_size=400)))


@given(_DELIVERIES)
@settings(max_examples=200)
def test_lost_doubled_and_reordered_messages_are_applied_once_and_in_order(case: tuple[int, list[int]]) -> None:
    last, deliveries = case
    store = _Store()
    _deliver(store, deliveries, last)
    assert store.applied == list(range(1, last + 1))
    assert len(store.held) <= HELD_ROWS_MAX


def test_the_property_catches_a_rule_that_applies_after_a_gap() -> None:
    def careless(cursor: StreamCursor | None, incarnation: str, seq: int, digest: str, known: str | None) -> Decision:
        decision = decide(cursor, incarnation, seq, digest, known)
        return InOrder() if isinstance(decision, Gap) else decision

    store = _Store(careless)
    _deliver(store, [1, 3, 2], 3)
    assert store.applied != [1, 2, 3]
