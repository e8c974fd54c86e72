"""The store that is made out of sale lines: prices, changes, offers with their ends, baskets, and what is left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.real_books import BATCH_ROWS, price_batches, price_row
from bench.real_data import (
    UNITS_MAX,
    Change,
    PriceRow,
    Product,
    SaleLine,
    ShelfPrice,
    Skip,
    derive,
    gtin13,
    misfit,
    mode,
    week_start,
)
from render.symbols.linear import verified

FUEL = Product("FUEL", "Private", "COUPON/MISC ITEMS", "GASOLINE-REG UNLEADED")
BEANS = Product("GROCERY", "National", "BEANS - CANNED", "BAKED BEANS", "2 LB")


def line(product: int, week: int, sales: int, *, off: int = 0, coupon: int = 0, quantity: int = 1, basket: int = 1) -> SaleLine:
    """A line in cents: what the retailer got, the store's discount, the coupon that the store matched."""
    return SaleLine(basket, product, week, quantity, sales, off, coupon)


def test_shelf_price_is_what_the_retailer_got_and_the_discounts_per_unit() -> None:
    data = derive([line(7, 1, 300, off=90, coupon=10, quantity=2)], {}, 1, 1)
    assert data.opening == {"7": ShelfPrice(200, 155)}


def test_shelf_price_of_a_week_is_the_most_frequent_one_and_the_smallest_of_equals() -> None:
    assert mode([3, 2, 3, 2, 9]) == 2
    data = derive([line(7, 1, 200), line(7, 1, 250), line(7, 1, 250)], {}, 1, 1)
    assert data.opening == {"7": ShelfPrice(250)}


def test_a_week_without_a_sale_changes_nothing_and_the_first_price_holds_from_the_beginning() -> None:
    data = derive([line(7, 3, 200), line(7, 6, 210)], {}, 1, 8)
    assert data.rows[1] == [PriceRow("7", "base", 1, None, 200)]
    assert data.rows[6] == [PriceRow("7", "base", 6, None, 210)]
    assert data.changes == {6: [Change("7", 6, ShelfPrice(200), ShelfPrice(210))]}


def test_an_offer_ends_when_another_price_was_seen_and_its_end_is_a_rise() -> None:
    data = derive([line(7, 1, 200), line(7, 2, 150, off=50), line(7, 3, 150, off=50), line(7, 5, 200)], {}, 1, 6)
    assert data.rows[2] == [PriceRow("7", "promo", 2, 5, 150)]
    assert 3 not in data.rows
    assert 5 not in data.rows  # the offer ends by itself
    cut, rise = data.changes[2][0], data.changes[5][0]
    assert not cut.is_rise
    assert rise.is_rise


@pytest.mark.parametrize(
    ("before", "after", "starts", "ends"),
    [
        (ShelfPrice(200), ShelfPrice(200, 150), True, False),
        (ShelfPrice(200, 150), ShelfPrice(200), False, True),
        (ShelfPrice(200, 150), ShelfPrice(200, 170), True, True),
        (ShelfPrice(200), ShelfPrice(210), False, False),
    ],
)
def test_what_of_a_change_is_a_promotion(before: ShelfPrice, after: ShelfPrice, starts: bool, ends: bool) -> None:
    change = Change("7", 2, before, after)
    assert (change.starts_offer, change.ends_offer) == (starts, ends)
    assert (before.kind, after.kind) == ("base" if before.reduced_minor is None else "promo", "promo" if starts else "base")


def test_some_promotions_and_only_they_are_told_a_week_ahead_and_none_before_the_store_opens() -> None:
    told = {kind: {PriceRow(str(sku), kind, 5, 6, 100).told_in(1) for sku in range(50)} for kind in ("base", "promo")}
    assert told == {"base": {5}, "promo": {4, 5}}
    assert {PriceRow(str(sku), "promo", 2, 6, 100).told_in(1) for sku in range(50)} == {2}
    assert {PriceRow(str(sku), "promo", 1, 6, 100).told_in(1) for sku in range(50)} == {1}


def test_an_offer_that_follows_another_one_begins_when_that_ends() -> None:
    data = derive([line(7, 1, 150, off=50), line(7, 4, 170, off=30)], {}, 1, 6)
    assert [row for row in data.rows[1] if row.kind == "promo"] == [PriceRow("7", "promo", 1, 4, 150)]
    assert data.rows[4] == [PriceRow("7", "promo", 4, None, 170)]
    assert data.changes[4][0].is_rise


def test_a_base_price_that_changes_under_an_offer_is_sent_and_is_no_change_of_the_shelf() -> None:
    data = derive([line(7, 1, 150, off=50), line(7, 2, 150, off=80)], {}, 1, 2)
    assert data.rows[2] == [PriceRow("7", "base", 2, None, 230)]
    assert data.changes == {}


def test_lines_that_do_not_fit_are_counted_under_their_reason() -> None:
    lines = [
        line(1, 1, 2708, off=125, quantity=12486),
        line(2, 1, 0, quantity=0),
        line(3, 1, 900, quantity=UNITS_MAX + 1),
        line(4, 1, 0),
        line(5, 1, 100, quantity=3),
        line(6, 1, 300, quantity=3),
    ]
    data = derive(lines, {1: FUEL}, 1, 1)
    assert data.skipped == dict.fromkeys(Skip, 1)
    assert set(data.articles) == {"6"}


def test_lines_of_other_weeks_are_not_looked_at() -> None:
    data = derive([line(1, 1, 100), line(2, 2, 100), line(3, 3, 0, quantity=0)], {}, 2, 1)
    assert set(data.articles) == {"2"}
    assert data.skipped == {}


def test_a_given_away_unit_has_its_shelf_price_and_makes_no_offer() -> None:
    assert misfit(line(1, 1, 0, off=250), BEANS) is None
    assert derive([line(1, 1, 0, off=250)], {}, 1, 1).opening == {"1": ShelfPrice(250)}


def test_baskets_keep_their_lines_and_units() -> None:
    lines = [line(1, 1, 100, basket=8), line(2, 1, 500, quantity=5, basket=9), line(3, 1, 100, basket=8)]
    data = derive(lines, {}, 1, 1)
    assert [(basket.basket_id, basket.lines) for basket in data.baskets[1]] == [(8, (("1", 1), ("3", 1))), (9, (("2", 5),))]
    assert data.units_sold == {"1": 1, "2": 5, "3": 1}


def test_labels_are_for_what_changes_then_for_what_sells_most() -> None:
    lines = [line(1, 1, 100), line(1, 2, 110), line(2, 1, 700, quantity=7), line(3, 1, 200, quantity=2)]
    data = derive(lines, {}, 1, 2)
    assert data.labelled(1) == ["1"]
    assert data.labelled(2) == ["1", "2"]
    assert data.labelled(300) == ["1", "2", "3"]


def test_an_article_has_the_content_that_its_package_says_unless_an_ounce_may_be_of_either_kind() -> None:
    data = derive([line(1, 1, 100), line(2, 1, 100)], {1: BEANS, 2: Product(package="12 OZ")}, 1, 1)
    assert (data.articles["1"].net_content, data.articles["1"].net_unit) == (907, "g")
    assert data.articles["1"].name == "BAKED BEANS 2 LB"
    assert data.articles["2"].net_content is None
    assert data.articles["2"].name == "ARTICLE 2 12 OZ"


@given(st.integers(1, 10**10 - 1))
def test_every_product_has_a_gtin_of_its_own_under_prefix_20(product: int) -> None:
    gtin = verified(gtin13(product))
    assert gtin[:2] == "20"
    assert int(gtin[2:12]) == product


def test_weeks_of_the_data_begin_on_mondays_at_midnight_in_new_york() -> None:
    assert week_start(2).isoformat() == "2017-01-02T05:00:00+00:00"


def test_what_holds_in_the_first_week_held_before_it() -> None:
    assert price_row(PriceRow("7", "promo", 3, 5, 150), 3)["effective_from"] == "2017-01-02T05:00:00Z"
    assert price_row(PriceRow("7", "promo", 4, 5, 150), 3)["effective_from"] == "2017-01-16T05:00:00Z"
    assert price_row(PriceRow("7", "promo", 4, 5, 150), 3)["effective_to"] == "2017-01-23T05:00:00Z"


@pytest.mark.parametrize("count", [0, 1, BATCH_ROWS, BATCH_ROWS + 1, 3 * BATCH_ROWS])
def test_batches_hold_every_row_once_and_in_order(count: int) -> None:
    rows = [PriceRow(str(number), "base", 2, None, 100) for number in range(count)]
    batches = price_batches(rows, 1)
    assert [row["sku"] for batch in batches for row in batch] == [row.sku for row in rows]
    assert all(1 <= len(batch) <= BATCH_ROWS for batch in batches)


amounts = st.integers(1, 3)


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 6), amounts, st.integers(0, 2)), max_size=30))
def test_the_rows_say_at_every_week_what_was_seen_there(seen: list[tuple[int, int, int, int]]) -> None:
    """A pure replay of the rows (latest base, the offer that is on) gives the shelf price of every week in which it was observed."""
    lines = [line(product, week, 100 * paid, off=50 * off) for product, week, paid, off in seen]
    data = derive(lines, {}, 1, 6)
    rows = [row for week in sorted(data.rows) for row in data.rows[week]]
    changes = {(change.sku, change.week): change for each in data.changes.values() for change in each}
    for sku in data.articles:
        displayed = data.opening[sku].displayed_minor
        for week in range(1, 7):
            change = changes.get((sku, week))
            if change is not None:
                assert change.before.displayed_minor == displayed
                displayed = change.after.displayed_minor
            own = [row for row in rows if row.sku == sku and row.from_week <= week]
            base = [row for row in own if row.kind == "base"][-1]
            promos = [row for row in own if row.kind == "promo" and (row.to_week is None or week < row.to_week)]
            assert len(promos) <= 1
            assert (promos[0] if promos else base).amount_minor == displayed
