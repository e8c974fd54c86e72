"""Curves: the lowest cost that an offer can mean, and which of two offers is dearer."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model import AMOUNT_MINOR_MAX, COST_MINOR_MAX, EXACT_BUNDLES, QUANTITY_MAX, Curve, divide_half_up

amounts = st.integers(0, 5_000)
quantities = st.integers(1, 24)


@st.composite
def curves(draw: st.DrawFn, largest: int = 12) -> Curve:
    sizes = sorted(draw(st.sets(st.integers(1, largest), min_size=1, max_size=4)))
    return Curve(tuple((size, draw(amounts)) for size in sizes))


def lowest(curve: Curve, quantity: int) -> int:
    """The slow reference: every way to take bundles, the rest pro rata."""
    base_quantity, base_total = curve.points[0]
    best = [divide_half_up(base_total * rest, base_quantity) for rest in range(quantity + 1)]
    for rest in range(quantity + 1):
        for size, total in curve.points[1:]:
            if size <= rest:
                best[rest] = min(best[rest], best[rest - size] + total)
    return best[quantity]


@given(curves(), quantities)
def test_bundles_are_combined_for_the_lowest_total(curve: Curve, quantity: int) -> None:
    assert curve.cost_minor(quantity) == lowest(curve, quantity)


def test_the_reference_sees_a_curve_that_does_not_combine_bundles() -> None:
    curve = Curve(((1, 100), (3, 250)))
    assert lowest(curve, 7) == 600 != curve.points[1][1] * 2 + 7 * 100


@given(curves(), st.integers(1, 1_000_000))
def test_a_large_quantity_is_never_dearer_than_pro_rata_nor_cheaper_than_the_best_rate(curve: Curve, quantity: int) -> None:
    base_quantity, base_total = curve.points[0]
    best_rate = min(Fraction(total, size) for size, total in curve.points)
    assert curve.cost_minor(quantity) <= divide_half_up(base_total * quantity, base_quantity) + EXACT_BUNDLES + 1
    assert curve.cost_minor(quantity) >= int(best_rate * quantity) - EXACT_BUNDLES - 1


def test_a_weighed_bundle_costs_by_the_gram_beside_whole_bundles() -> None:
    two_kilos_for_nine = Curve(((1_000, 500), (2_000, 900)))
    assert two_kilos_for_nine.cost_minor(2_500) == 900 + 250
    assert two_kilos_for_nine.cost_minor(4_001) == 1_800 + 1


def test_the_largest_basket_of_the_dearest_bundles_is_answered_at_once_and_fits_64_bits() -> None:
    dearest = Curve(((1, AMOUNT_MINOR_MAX), (7, AMOUNT_MINOR_MAX), (999_983, AMOUNT_MINOR_MAX), (QUANTITY_MAX, AMOUNT_MINOR_MAX)))
    assert 500 * dearest.cost_minor(10**15) < 2**63
    assert Curve.plain(AMOUNT_MINOR_MAX).cost_minor(10**15) == COST_MINOR_MAX


@given(curves(), curves(), quantities)
def test_an_offer_that_is_not_above_another_costs_no_more_at_its_points(new: Curve, old: Curve, quantity: int) -> None:
    if not new.is_above(old):
        for size, _ in (*new.points, *old.points):
            assert new.cost_minor(size) <= old.cost_minor(size)


def test_a_rise_that_rounding_hides_is_a_rise() -> None:
    assert Curve.plain(1_667, 50).is_above(Curve.plain(100, 3))
    assert not Curve.plain(100, 3).is_above(Curve.plain(200, 6))


@pytest.mark.parametrize(
    "points",
    [
        (),
        ((0, 100),),
        ((1, -1),),
        ((2, 100), (2, 90)),
        ((3, 100), (1, 90)),
        ((1, AMOUNT_MINOR_MAX + 1),),
        ((QUANTITY_MAX + 1, 1),),
        tuple((n, n) for n in range(1, 26)),
    ],
)
def test_a_wrong_curve_cannot_be_built(points: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(ValueError):
        Curve(points)


@pytest.mark.parametrize(("numerator", "denominator", "expected"), [(1, 2, 1), (1, 3, 0), (2, 3, 1), (5, 2, 3), (0, 7, 0), (49, 100, 0)])
def test_halves_are_rounded_up(numerator: int, denominator: int, expected: int) -> None:
    assert divide_half_up(numerator, denominator) == expected
