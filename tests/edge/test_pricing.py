"""The price in force, the bounds of the shelf, the charge. Pure: rows, may-sets and time are given."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge import desk, labels, pricing
from edge.model import (
    EVERYBODY,
    MEMBERS,
    AttemptId,
    Curve,
    InForce,
    ItemId,
    MayEntry,
    MayKind,
    MayState,
    Offer,
    PriceKind,
    PriceRow,
    QuoteLine,
    Release,
)
from edge.pricing import Bound, advance, anomaly, bounds, charge, lease_above, outlasts, share_bundle, target
from tests.edge.shop import BREAD, MILK

MINUTE = 60_000
T0 = 1_000_000_000
AUDIENCES = st.sampled_from([EVERYBODY, MEMBERS])


def row(kind: str, amount: int, *, id_: str = "", rev: int = 1, start: int = 0, end: int | None = None, **more: Any) -> PriceRow:
    """Times in minutes after T0."""
    end_ms = None if end is None else T0 + end * MINUTE
    return PriceRow(0, MILK, PriceKind(kind), id_ or kind, rev, T0 + start * MINUTE, end_ms, Curve.plain(amount), **more)


def asked(*rows: PriceRow, at: int = 0, member: bool = False) -> int | None:
    found = target(rows, T0 + at * MINUTE, member=member)
    return None if found is None else found.curve.cost_minor(1)


def in_force(found: PriceRow, latched: int = 0) -> InForce:
    return InForce(found, T0 + latched * MINUTE)


def moved(current: InForce | None, *rows: PriceRow, at: int = 0, trusted: bool = True) -> int | None:
    found = advance(current, rows, T0 + at * MINUTE, clock_trusted=trusted)
    return None if found is None else found.row.curve.cost_minor(1)


# -- target ----------------------------------------------------------------------------------------------------------------


def test_an_override_beats_a_promo_and_a_promo_beats_the_base_whatever_they_cost() -> None:
    base, promo, markdown, override = row("base", 100), row("promo", 120), row("markdown", 130, start=-1), row("override", 140)
    assert asked(base, promo, markdown, override) == 140
    assert asked(base, promo, markdown) == 120
    assert asked(base, markdown) == 130
    assert asked(base) == 100


def test_the_latest_base_counts_and_ties_go_by_price_id() -> None:
    assert asked(row("base", 100, id_="a", start=-9), row("base", 110, id_="b", start=-1)) == 110
    assert asked(row("base", 110, id_="b"), row("base", 100, id_="a")) == 110
    assert asked(row("base", 100, id_="a"), row("base", 110, id_="b")) == 110


def test_a_row_counts_from_its_start_until_before_its_end() -> None:
    base, promo = row("base", 100), row("promo", 80, start=5, end=10)
    assert [asked(base, promo, at=at) for at in (4, 5, 9, 10)] == [100, 80, 80, 100]


def test_a_cancelled_or_future_row_is_no_price() -> None:
    assert asked(row("base", 100, cancelled=True)) is None
    assert asked(row("base", 100, start=1)) is None
    assert asked() is None


def test_a_member_price_counts_for_members_and_only_where_it_is_cheaper() -> None:
    base, member = row("base", 100), row("member", 90)
    assert asked(base, member) == 100
    assert asked(base, member, member=True) == 90
    assert asked(base, row("member", 110), member=True) == 100
    assert asked(member, member=True) == 90


# -- advance ---------------------------------------------------------------------------------------------------------------


def test_a_clock_that_goes_back_undoes_nothing() -> None:
    base, promo = row("base", 100), row("promo", 80, start=5)
    after = advance(in_force(base), (base, promo), T0 + 6 * MINUTE, clock_trusted=True)
    assert after is not None
    assert after.row is promo
    assert moved(after, base, promo, at=1) is None


def test_the_latch_is_what_holds_it() -> None:
    base, promo = row("base", 100), row("promo", 80, start=5)
    assert moved(in_force(promo, latched=-9), base, promo, at=1) == 100


def test_an_untrusted_clock_starts_cuts_and_no_rises() -> None:
    base = row("base", 100)
    cut, rise = row("base", 80, id_="c", start=5), row("base", 120, id_="r", start=5)
    assert moved(in_force(base), base, cut, at=6, trusted=False) == 80
    assert moved(in_force(base), base, rise, at=6, trusted=False) is None
    assert moved(in_force(base), base, rise, at=6) == 120


def test_an_untrusted_clock_ends_no_promo_even_where_the_base_was_ordered_at_once() -> None:
    base, promo = row("base", 100, immediate=True), row("promo", 80, end=5)
    assert moved(in_force(promo), base, promo, at=6, trusted=False) is None
    assert moved(in_force(promo), base, promo, at=6) == 100
    newer_base = row("base", 110, rev=2, start=1, immediate=True)
    assert moved(in_force(promo), newer_base, promo, at=6, trusted=False) is None


def test_what_hq_orders_at_once_binds_whatever_the_clock_says() -> None:
    base = row("base", 100, immediate=True)
    assert moved(in_force(base), row("base", 120, rev=2, immediate=True), trusted=False) == 120
    promo = row("promo", 80, immediate=True, end=60)
    cancelled = row("promo", 80, rev=2, immediate=True, end=60, cancelled=True)
    assert moved(in_force(promo), base, cancelled, trusted=False) == 100
    assert moved(in_force(promo), base, promo, row("override", 90, immediate=True), trusted=False) == 90


def test_what_is_in_force_stays_when_nothing_else_is_asked_for() -> None:
    ended = row("base", 100, end=5)
    assert moved(in_force(ended), ended, at=9) is None
    assert moved(in_force(ended), ended, at=1) is None


def test_a_first_price_needs_no_trusted_clock() -> None:
    assert moved(None, row("base", 100), trusted=False) == 100


# -- bounds and charge -----------------------------------------------------------------------------------------------------


def entry(amount: int, state: MayState = MayState.OPEN, kind: MayKind = MayKind.PICTURE, **more: Any) -> MayEntry:
    return MayEntry(AttemptId(1), "L", kind, state, "h", (Offer(MILK, Curve.plain(amount)),), **more)


def reasons(found: MayEntry, *, at: int = 0, boot: str = "b", store_open: bool = True, item: ItemId = MILK) -> list[str]:
    return [bound.reason for bound in bounds(item, [found], now_ms=at * MINUTE, boot_id=boot, store_open=store_open)]


def test_everything_that_may_be_shown_bounds_and_says_why() -> None:
    assert reasons(entry(90)) == ["shelf_lower"]
    assert reasons(entry(90, MayState.PROVEN), at=10**6) == ["shelf_lower"]
    assert reasons(entry(90, kind=MayKind.UNKNOWN)) == ["unproven"]
    assert reasons(entry(90), item=BREAD) == []


def test_a_gone_picture_bounds_for_its_dwell_while_the_store_is_open() -> None:
    gone = entry(90, MayState.GONE, gone_boot_id="b", gone_ms=0, dwell_ms=120 * MINUTE)
    assert reasons(gone, at=119) == ["dwell"]
    assert reasons(gone, at=120) == []
    assert reasons(gone, at=1, store_open=False) == []


def test_another_boot_counts_as_if_the_dwell_had_just_begun() -> None:
    gone = entry(90, MayState.GONE, gone_boot_id="before", gone_ms=10**9, dwell_ms=120 * MINUTE)
    assert reasons(gone, at=119) == ["dwell"]
    assert reasons(gone, at=10**9) == ["dwell"]


def test_what_hangs_on_a_retired_label_bounds_for_its_dwell_and_no_longer() -> None:
    away = Release("b", 0, 120 * MINUTE)
    for found in (entry(90, release=away), entry(90, MayState.PROVEN, release=away), entry(90, kind=MayKind.UNKNOWN, release=away)):
        assert reasons(found, at=119) == ["dwell"]
        assert reasons(found, at=120) == []
        assert reasons(found, at=1, store_open=False) == []
        assert reasons(found, at=10**9, boot="another") == ["dwell"]
    assert reasons(entry(90, release=Release("b", 0, 0))) == []


def test_a_picture_that_went_before_its_label_was_retired_keeps_its_own_dwell() -> None:
    gone = entry(90, MayState.GONE, gone_boot_id="b", gone_ms=0, dwell_ms=120 * MINUTE, release=Release("b", 60 * MINUTE, 0))
    assert (reasons(gone, at=119), reasons(gone, at=120)) == (["dwell"], [])


def test_every_page_bounds_whichever_is_on_the_panel() -> None:
    offers = (Offer(MILK, Curve.plain(120), page=0), Offer(MILK, Curve.plain(90), page=1), Offer(BREAD, Curve.plain(10), page=2))
    paged = replace(entry(0), offers=offers)
    found = list(bounds(MILK, [paged], now_ms=0, boot_id="b", store_open=True))
    assert [(bound.page, bound.curve.points[0][1]) for bound in found] == [(0, 120), (1, 90)]
    assert charge(1, [Curve.plain(150)], found).total_minor == 90


def test_an_offer_to_members_bounds_members_alone_and_one_to_everybody_both() -> None:
    both = replace(entry(0), offers=(Offer(MILK, Curve.plain(100)), Offer(MILK, Curve.plain(80), audience=MEMBERS)))

    def asks(*, member: bool) -> int:
        found = bounds(MILK, [both], now_ms=0, boot_id="b", store_open=True, member=member)
        return charge(1, [Curve.plain(150)], found).total_minor

    assert (asks(member=False), asks(member=True)) == (100, 80)


@st.composite
def some_curves(draw: st.DrawFn) -> Curve:
    sizes = sorted(draw(st.sets(st.integers(1, 6), min_size=1, max_size=3)))
    return Curve(tuple((size, draw(st.integers(0, 900))) for size in sizes))


@st.composite
def some_entries(draw: st.DrawFn) -> MayEntry:
    """A picture, or an unknown display, on several pages and for both audiences."""
    offers = draw(st.lists(st.builds(Offer, st.sampled_from([MILK, BREAD]), some_curves(), st.integers(0, 2), AUDIENCES), max_size=4))
    kind, state = draw(st.sampled_from(MayKind)), draw(st.sampled_from(MayState))
    return MayEntry(AttemptId(1), "L", kind, state, "h", tuple(offers), dwell_ms=1)


@given(st.lists(some_entries(), max_size=4), some_curves(), st.booleans(), st.integers(1, 24))
def test_neither_audience_pays_more_than_any_offer_that_it_may_read(
    entries: list[MayEntry], target: Curve, member: bool, quantity: int
) -> None:
    found = bounds(MILK, entries, now_ms=0, boot_id="b", store_open=True, member=member)
    total = charge(quantity, [target], found).total_minor
    read = [offer for entry in entries for offer in entry.offers if offer.item_id == MILK and (member or offer.audience == EVERYBODY)]
    assert total == min(curve.cost_minor(quantity) for curve in (target, *(offer.curve for offer in read)))


@given(st.lists(some_entries(), max_size=4), some_curves(), st.integers(1, 24))
def test_a_member_never_pays_more_than_everybody(entries: list[MayEntry], target: Curve, quantity: int) -> None:
    def total(*, member: bool) -> int:
        return charge(quantity, [target], bounds(MILK, entries, now_ms=0, boot_id="b", store_open=True, member=member)).total_minor

    assert total(member=True) <= total(member=False)


@given(some_curves(), some_curves())
def test_a_curve_that_is_not_above_costs_no_more_for_any_quantity_up_to_24(one: Curve, other: Curve) -> None:
    dearer = any(one.cost_minor(quantity) > other.cost_minor(quantity) for quantity in range(1, 25))
    assert one.is_above(other) or not dearer


def offer(amount: int, audience: str = EVERYBODY, item: ItemId = MILK, page: int = 0) -> Offer:
    return Offer(item, Curve.plain(amount), page, audience)


def test_an_offer_dwells_unless_the_new_picture_promises_its_readers_as_little() -> None:
    assert outlasts(offer(90), [offer(100)])
    assert outlasts(offer(90), [])
    assert outlasts(offer(90), [offer(90, item=BREAD)])
    assert outlasts(offer(90), [offer(100), offer(80, MEMBERS)]), "what members get is nothing to everybody else"
    assert not outlasts(offer(90), [offer(100), offer(90, page=1)])
    assert not outlasts(offer(90, MEMBERS), [offer(90)])
    assert outlasts(offer(90, MEMBERS), [offer(100), offer(95, MEMBERS)])


@given(st.lists(some_curves(), min_size=1, max_size=3), st.lists(some_curves(), max_size=4), st.integers(1, 24))
def test_a_charge_is_never_above_any_displayed_offer_nor_the_target(targets: list[Curve], shown: list[Curve], quantity: int) -> None:
    made = charge(quantity, targets, [Bound(curve, "shelf_lower", "L", 1) for curve in shown])
    assert made.total_minor == min(curve.cost_minor(quantity) for curve in (*targets, *shown))
    assert made.target_total_minor == min(curve.cost_minor(quantity) for curve in targets)
    assert made.curve.cost_minor(quantity) == made.total_minor
    assert (made.guard is None) == (made.total_minor == made.target_total_minor)


def test_an_item_without_a_price_is_not_charged() -> None:
    with pytest.raises(ValueError):
        charge(1, (), [Bound(Curve.plain(1), "shelf_lower", "L", 1)])


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 999)), min_size=1, max_size=6), st.data())
def test_a_shared_bundle_adds_up_and_makes_no_line_dearer(lines: list[tuple[int, int]], data: st.DataObject) -> None:
    named = {str(n): line for n, line in enumerate(lines)}
    bundle = data.draw(st.integers(0, sum(total for _, total in lines)))
    shares = share_bundle(named, bundle)
    assert sum(shares.values()) == bundle
    assert all(0 <= shares[line] <= total for line, (_, total) in named.items())


# -- leases ----------------------------------------------------------------------------------------------------------------


def line(quantity: int, total: int) -> QuoteLine:
    return QuoteLine("1", MILK, "", "Milk", quantity, "each", total, total, Curve.plain(total), None)


def test_a_picture_waits_for_a_quote_that_charges_more_than_it_promises() -> None:
    offers = [(MILK, Curve.plain(80))]
    assert lease_above(offers, lambda item: [(line(1, 100),)])
    assert not lease_above(offers, lambda item: [(line(1, 80),)])
    assert not lease_above([(BREAD, Curve.plain(80))], lambda item: [(line(1, 100),)] if item == MILK else [])


def test_a_bundle_on_the_way_waits_for_two_lines_that_each_are_right() -> None:
    bundle = [(MILK, Curve(((1, 100), (2, 150))))]
    assert lease_above(bundle, lambda item: [(line(1, 100), line(1, 100))])
    assert not lease_above(bundle, lambda item: [(line(1, 100),), (line(1, 100),)])


# -- anomalies -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "held"),
    [
        (Curve.plain(100), Curve.plain(1_000), False),
        (Curve.plain(100), Curve.plain(1_001), True),
        (Curve.plain(100), Curve.plain(10), False),
        (Curve.plain(100), Curve.plain(9), True),
        (Curve.plain(0), Curve.plain(1), True),
        (Curve.plain(500, 1_000), Curve.plain(50, 100), False),
        (Curve.plain(500, 1_000), Curve.plain(500), True),
        (Curve.plain(100), Curve(((1, 100), (6, 59))), True),
        (Curve.plain(100), Curve(((1, 100), (6, 500))), False),
    ],
)
def test_a_change_that_looks_like_a_typing_error_is_named(old: Curve, new: Curve, held: bool) -> None:
    assert (anomaly(new, old, factor=Fraction(10), drop_percent=Fraction(90)) is not None) is held


def test_the_desk_and_the_shelf_use_these_functions() -> None:
    """The planted faults of tests/sim change them here."""
    assert vars(desk)["pricing"] is pricing
    assert vars(labels)["pricing"] is pricing
