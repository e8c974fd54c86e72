"""The judge of what head office asked for: too much, too little and too early are found, a price that is on its way is not."""

from __future__ import annotations

import pytest

from bench.real_data import Product, SaleLine, derive
from bench.real_prices import PriceBook
from edge.demo.judge import Charge

WEEK_MS = 1_000  # here


def book() -> PriceBook:
    """Article 7 costs 200, in week 2 150 (an offer), from week 4 on 200 again; article 8 always costs 90."""
    lines = [
        SaleLine(1, 7, 1, 1, 200, 0, 0),
        SaleLine(1, 7, 2, 1, 150, 50, 0),
        SaleLine(1, 7, 4, 1, 200, 0, 0),
        SaleLine(1, 8, 1, 1, 90, 0, 0),
    ]
    return PriceBook(derive(lines, {7: Product(), 8: Product()}, 1, 5), lambda week: week * WEEK_MS)


def wrong(one: PriceBook, total_minor: int, asked_ms: int, answered_ms: int | None = None, *, sku: str = "7", quantity: int = 1) -> bool:
    before = one.wrong
    one.charged(Charge(sku, quantity, total_minor, asked_ms, asked_ms + 5 if answered_ms is None else answered_ms, "lane-1"))
    return one.wrong > before


@pytest.mark.parametrize(("at_ms", "price_minor"), [(1_000, 200), (1_990, 200), (2_000, 150), (3_990, 150), (4_000, 200), (9_000, 200)])
def test_at_rest_a_charge_is_exactly_what_head_office_asks(at_ms: int, price_minor: int) -> None:
    one = book()
    assert one.now(at_ms) == {"7": price_minor, "8": 90}
    assert not wrong(one, price_minor, at_ms)
    assert not wrong(one, 3 * price_minor, at_ms, quantity=3)
    assert wrong(one, price_minor + 1, at_ms)
    assert wrong(one, price_minor - 1, at_ms)
    assert wrong(one, 89, at_ms, sku="8")


def test_over_the_instant_of_a_change_either_price_is_right() -> None:
    one = book()
    for total_minor, fair in ((200, True), (150, True), (201, False), (149, False)):
        assert wrong(one, total_minor, 1_998, 2_002) is not fair


def test_an_article_that_moves_may_cost_less_and_never_more() -> None:
    one = book()
    one.moves("7")
    assert not wrong(one, 150, 4_100)
    assert wrong(one, 201, 4_100)
    one.settled("7", 4_200)
    assert not wrong(one, 150, 4_199)  # asked before that was known
    assert wrong(one, 150, 4_200)
    assert not wrong(one, 200, 4_200)


def test_an_offer_that_begins_late_or_never_ends_is_named() -> None:
    one = book()
    assert wrong(one, 200, 2_050)
    assert wrong(one, 150, 4_050)
    assert [str(each) for each in one.faults] == [
        "price: lane-1 charged 200 for 1 of item 7, head office asked 150 each",
        "price: lane-1 charged 150 for 1 of item 7, head office asked 200 each",
    ]
