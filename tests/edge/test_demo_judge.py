"""The demo's judge finds every charge above what a label displayed, and only those."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edge.demo.judge import DIARY_DISORDER_MS, FORGET_AFTER_MS, Charge, Judge

END_MS = 10_000


def judge(*displays: tuple[int, int | None]) -> Judge:
    """Label L of item A displays these prices from these times on."""
    one = Judge({"L": "A", "other": "B"})
    for at_ms, price_minor in displays:
        one.displays("L", price_minor, at_ms)
    return one


def overcharges(one: Judge, *charges: Charge) -> int:
    for each in charges:
        one.charged(each)
    one.close()
    return one.overcharges


def charge(total_minor: int, asked_ms: int, answered_ms: int | None = None, quantity: int = 1) -> Charge:
    return Charge("A", quantity, total_minor, asked_ms, asked_ms + 5 if answered_ms is None else answered_ms, "lane-1")


def test_a_charge_up_to_the_displayed_price_is_fair() -> None:
    assert overcharges(judge((0, 199)), charge(199, 50), charge(398, 50, quantity=2), charge(100, 50)) == 0


def test_a_cent_above_the_displayed_price_is_an_overcharge() -> None:
    one = judge((0, 199))
    assert overcharges(one, charge(399, 50, quantity=2)) == 1
    assert "charged 399 for 2 of item A while label L showed 199 each" in str(one.faults[0])


def test_the_new_price_of_a_rise_is_an_overcharge_until_the_panel_shows_it() -> None:
    assert overcharges(judge((0, 199), (100, 249)), charge(249, 90)) == 1
    assert overcharges(judge((0, 199), (100, 249)), charge(249, 100)) == 0


def test_the_lowest_price_displayed_between_question_and_answer_counts() -> None:
    assert overcharges(judge((0, 199), (100, 249)), charge(249, 98, 103)) == 1
    assert overcharges(judge((0, 249), (100, 199)), charge(249, 98, 103)) == 1


def test_a_panel_without_a_price_promises_nothing() -> None:
    assert overcharges(judge(), charge(999, 50)) == 0
    assert overcharges(judge((0, 199), (100, None)), charge(999, 100)) == 0


def test_a_charge_is_not_judged_before_the_diary_has_come_past_it() -> None:
    one = judge((0, 199))
    one.charged(charge(249, 90, 95))
    one.told(95 + DIARY_DISORDER_MS - 1)
    assert one.judged == 0
    one.told(95 + DIARY_DISORDER_MS)
    assert (one.judged, one.overcharges) == (1, 1)


displays = st.lists(st.tuples(st.integers(0, END_MS), st.one_of(st.none(), st.integers(1, 9))), max_size=8).map(
    lambda drawn: sorted(drawn, key=lambda display: display[0])
)
charges = st.lists(
    st.builds(charge, st.integers(1, 20), st.integers(0, END_MS), quantity=st.integers(1, 3)),
    max_size=8,
).map(lambda drawn: sorted(drawn, key=lambda each: each.answered_ms))


@given(displays, charges)
def test_the_judge_agrees_with_looking_at_every_millisecond(shown: list[tuple[int, int | None]], sold: list[Charge]) -> None:
    expected = 0
    for each in sold:
        seen: list[int] = []
        for at_ms in range(each.asked_ms, each.answered_ms + 1):
            before = [price for since_ms, price in shown if since_ms < at_ms]
            now = [price for since_ms, price in shown if since_ms == at_ms]
            seen += [price for price in ((before or [None])[-1:] if at_ms == each.asked_ms and not now else now) if price is not None]
        expected += bool(seen) and each.total_minor > min(seen) * each.quantity
    found = overcharges(judge(*shown), *sold)
    # two refreshes in one millisecond: the judge takes the last one before the question, the enumeration all of them
    distinct = len({since_ms for since_ms, _ in shown}) == len(shown)
    assert found == expected if distinct else found <= expected


@given(displays, charges)
def test_forgetting_what_is_old_changes_no_verdict(shown: list[tuple[int, int | None]], sold: list[Charge]) -> None:
    keeping, forgetting = judge(*shown), judge(*shown)
    late = [Charge(each.sku, each.quantity, each.total_minor, each.asked_ms + END_MS, each.answered_ms + END_MS, "") for each in sold]
    forgetting.told(END_MS + FORGET_AFTER_MS + DIARY_DISORDER_MS)
    forgetting.forget()
    assert overcharges(forgetting, *late) == overcharges(keeping, *late)
