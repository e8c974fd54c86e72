"""The rules of stock: what is available, what a label says, how two books are compared."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model import ItemId
from edge.stock import Cause, Hold, HoldState, Level, ShelfState, adjustment_cause, digest, full_shelf, pick_order, shelf_state, shelf_step

levels = st.builds(Level, st.integers(-50, 500), st.integers(0, 50), st.integers(0, 50))


@given(levels)
def test_what_is_promised_is_not_available(level: Level) -> None:
    assert level.available + level.held + level.escrow == level.on_hand
    assert level.short == (max(0, level.held + level.escrow - level.on_hand) if level.held or level.escrow else 0)


@pytest.mark.parametrize(
    "on_hand, full, state, step",
    [
        (None, None, ShelfState.UNKNOWN, -1),
        (-3, 20, ShelfState.OUT, 0),
        (0, 20, ShelfState.OUT, 0),
        (1, 20, ShelfState.LOW, 1),
        (4, 20, ShelfState.LOW, 1),
        (5, 20, ShelfState.IN, 2),
        (20, 20, ShelfState.IN, 5),
        (90, 20, ShelfState.IN, 5),
        (1, None, ShelfState.IN, 5),
    ],
)
def test_what_a_label_says_of_the_stock(on_hand: int | None, full: int | None, state: ShelfState, step: int) -> None:
    assert (shelf_state(on_hand, full), shelf_step(on_hand, full)) == (state, step)


@given(st.integers(-5, 200), st.none() | st.integers(1, 100))
def test_a_label_is_drawn_again_whenever_the_state_changes(on_hand: int, full: int | None) -> None:
    if shelf_state(on_hand, full) is not shelf_state(on_hand + 1, full):
        assert shelf_step(on_hand, full) != shelf_step(on_hand + 1, full)


@pytest.mark.parametrize("text, full", [("20", 20), ("0", None), ("", None), ("-3", None), ("1e3", None), ("²", None), ("9" * 30, None)])
def test_a_full_shelf_is_a_whole_number(text: str, full: int | None) -> None:
    assert full_shelf((("stock_full", text),)) == full


def test_a_word_that_is_no_cause_is_an_adjustment() -> None:
    assert [adjustment_cause(word) for word in ("receipt", " Shrink ", "inventory", "sale")] == [
        Cause.RECEIPT,
        Cause.SHRINK,
        Cause.ADJUST,
        Cause.ADJUST,
    ]


def hold(name: str, expires_ms: int, state: HoldState = HoldState.PLACED) -> Hold:
    return Hold(name, ItemId("milk"), 1, "pickup", "", "", expires_ms, state)


def test_who_waits_in_the_store_is_picked_for_first() -> None:
    holds = [hold("late", 9), hold("soon", 5), hold("here", 99, HoldState.ARRIVED), hold("alike", 5)]
    assert [each.hold_id for each in sorted(holds, key=pick_order)] == ["here", "alike", "soon", "late"]


def test_a_hold_lapses_at_its_time_unless_its_customer_is_here() -> None:
    assert [hold("a", 100).is_due(at) for at in (99, 100)] == [False, True]
    assert not hold("a", 100, HoldState.ARRIVED).is_due(999)


@given(st.dictionaries(st.sampled_from("abcdef").map(ItemId), levels))
def test_a_digest_sees_every_difference_and_no_order(books: dict[ItemId, Level]) -> None:
    other = dict(reversed(books.items()))
    assert digest(books) == digest(other | {ItemId("never there"): Level()})
    for item_id, level in books.items():
        changed = books | {item_id: Level(level.on_hand + 1, level.held, level.escrow)}
        assert digest(changed) != digest(books)
