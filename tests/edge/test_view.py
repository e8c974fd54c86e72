"""The store in memory: indexes that follow the deltas of committed transactions."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from edge.model import (
    AttemptId,
    Binding,
    Curve,
    InForce,
    ItemId,
    MayEntry,
    MayKind,
    MayState,
    Offer,
    Place,
    PriceKind,
    PriceRow,
    Quote,
    QuoteLine,
)
from edge.view import Delta, View
from tests.edge.shop import BREAD, MILK


def row(start: int, end: int | None = None, item: ItemId = MILK) -> PriceRow:
    return PriceRow(1, item, PriceKind.BASE, "b", 1, start, end, Curve.plain(1))


def entry(attempt: int, *items: ItemId, state: MayState = MayState.OPEN) -> MayEntry:
    return MayEntry(AttemptId(attempt), "L", MayKind.PICTURE, state, "h", tuple(Offer(item, Curve.plain(1)) for item in items))


def quote(quote_id: str, *lines: tuple[str, ItemId, int], basket: str = "b") -> Quote:
    priced = tuple(QuoteLine(line, item, "", "", 1, "each", total, total, Curve.plain(total), None) for line, item, total in lines)
    return Quote(quote_id, "lane-1", basket, priced, 0, 1, "boot", 0, 1_000)


# -- boundaries ------------------------------------------------------------------------------------------------------------


def test_each_boundary_is_due_once() -> None:
    view = View()
    view.apply(Delta(rows={MILK: (row(100, 200),)}))
    assert [view.due_items(now) for now in (99, 100, 150, 200, 300)] == [[], [MILK], [], [MILK], []]


def test_rows_that_come_again_do_not_grow_the_heap() -> None:
    view = View()
    for _ in range(50):
        view.apply(Delta(rows={MILK: (row(100, 10**15),)}))
    assert len(view._boundaries) == 2


def test_a_clock_that_went_back_brings_its_boundaries_once_more() -> None:
    view = View()
    view.apply(Delta(rows={MILK: (row(100, 200),)}))
    assert view.due_items(500) == [MILK, MILK]
    assert view.due_items(150) == []
    assert view.due_items(200) == [MILK]


def test_a_boundary_that_passed_while_its_row_was_being_written_is_due() -> None:
    view = View()
    view.apply(Delta(rows={MILK: (row(10),)}, in_force={MILK: InForce(row(10), 50)}))
    view.due_items(120)
    view.apply(Delta(rows={MILK: (row(10), row(110))}))
    assert view.due_items(121) == [MILK]


# -- codes -----------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.none() | st.tuples(st.sampled_from([MILK, BREAD]), st.integers(1, 2)))))
def test_the_printed_code_is_the_first_single_piece_code_in_any_order_of_change(
    changes: list[tuple[str, tuple[ItemId, int] | None]],
) -> None:
    view = View()
    for code, owner in changes:
        view.apply(Delta(barcodes={code: owner}))
    for item in (MILK, BREAD):
        singles = [code for code, owner in view.barcodes.items() if owner == (item, 1)]
        assert view.codes.get(item) == min(singles, default=None)


# -- may-sets --------------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 4), st.sets(st.sampled_from([MILK, BREAD])), st.booleans())))
def test_may_sets_by_item_and_by_label_agree(changes: list[tuple[int, set[ItemId], bool]]) -> None:
    view = View()
    for attempt, items, gone in changes:
        view.apply(Delta(may={("L", attempt): None if gone else entry(attempt, *sorted(items))}))
    for item in (MILK, BREAD):
        by_label = {each.attempt_id for each in view.may_of_label("L").values() if any(offer.item_id == item for offer in each.offers)}
        assert {each.attempt_id for each in view.may_of_item(item)} == by_label
    assert {each.attempt_id for each in view.may_entries()} == set(view.may_of_label("L"))


# -- bindings --------------------------------------------------------------------------------------------------------------


def test_an_item_that_lost_its_label_is_looked_at_again() -> None:
    view = View()
    view.apply(Delta(bindings={"L": Binding("L", (MILK,), "shelf", Place(), 1)}))
    view.take_changes()
    view.apply(Delta(bindings={"L": Binding("L", (BREAD,), "shelf", Place(), 2)}))
    assert view.take_changes() == ({MILK}, {"L"})
    assert view.labels_of_item(MILK) == frozenset()
    assert view.labels_of_item(BREAD) == {"L"}


# -- quotes ----------------------------------------------------------------------------------------------------------------


def test_a_quote_leases_each_of_its_lines_until_it_ends() -> None:
    view = View()
    view.lease(quote("q", ("1", MILK, 100), ("2", MILK, 90), ("3", BREAD, 200)))
    assert [[line.total_minor for line in lines] for lines in view.leased_lines(MILK)] == [[100, 90]]
    view.apply(Delta(quotes={"q": None}))
    assert list(view.leased_lines(MILK)) == list(view.leased_lines(BREAD)) == []
    assert view.quote_of_basket("lane-1", "b") is None


def test_the_commit_of_an_older_quote_does_not_hide_the_newer_one_of_its_basket() -> None:
    view = View()
    old, new = quote("old", ("1", MILK, 100)), quote("new", ("1", MILK, 90))
    view.lease(old)
    view.lease(new)
    view.apply(Delta(quotes={"old": old}))
    assert view.quote_of_basket("lane-1", "b") == new
    view.apply(Delta(quotes={"old": None, "new": new}))
    assert view.quote_of_basket("lane-1", "b") == new
    assert [[line.total_minor for line in lines] for lines in view.leased_lines(MILK)] == [[90]]


# -- revision --------------------------------------------------------------------------------------------------------------


def test_the_revision_grows_with_what_a_lane_could_see_and_only_then() -> None:
    view = View()
    seen: list[Delta] = [Delta(rows={MILK: ()}), Delta(may={("L", 1): entry(1)}), Delta(generation="s1")]
    unseen: list[Delta] = [Delta(), Delta(quotes={"q": None}), Delta(stock={MILK: 4}), Delta(outbox_grew=True)]
    for delta in unseen:
        view.apply(delta)
    assert view.revision == 0
    for delta in seen:
        view.apply(delta)
    assert view.revision == len(seen)


def test_parts_of_one_transaction_merge_with_the_later_word_standing() -> None:
    first = Delta(stock={MILK: 1}, outbox_grew=True)
    later: Any = Delta(stock={MILK: 2, BREAD: 3}, generation="s2")
    first.merge(later)
    assert (first.stock, first.outbox_grew, first.generation) == ({MILK: 2, BREAD: 3}, True, "s2")
