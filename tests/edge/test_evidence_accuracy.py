"""Prices compared, and the sample for an inspection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.accuracy import Line, Verdict, draw_sample, judgement, label_lines
from edge.model import MEMBERS, AttemptId, Binding, Curve, ItemId, MayEntry, MayKind, MayState, Offer, Place
from tests.edge.shop import BREAD, L1, MILK


def entry(*offers: Offer, number: int = 1, state: MayState = MayState.PROVEN, kind: MayKind = MayKind.PICTURE) -> MayEntry:
    return MayEntry(AttemptId(number), L1, kind, state, "h", offers, "inferred")


class Lanes:
    """Prices by item and quantity; members pay `less`."""

    def __init__(self, prices: Mapping[tuple[ItemId, int], int | None], less: int = 0, named: int = 1) -> None:
        self.prices = prices
        self.less = less
        self.quantity = named

    def named(self, item_id: ItemId) -> int:
        return self.quantity

    def charge(self, item_id: ItemId, quantity: int, audience: str) -> int | None:
        price = self.prices.get((item_id, quantity))
        return price if price is None or audience != MEMBERS else price - self.less


def compared(entries: list[MayEntry], prices: dict[tuple[ItemId, int], int | None], *items: ItemId) -> list[tuple[Verdict, int | None]]:
    binding = Binding(L1, items, "shelf", Place("3", "", "2"), 1)
    found = label_lines(L1, entries, binding, lambda item_id: "", Lanes(prices, less=50))
    assert all(line.place == "3/2" for line in found)
    return [(line.verdict, line.label_minor) for line in found]


@pytest.mark.parametrize(("lane", "verdict"), [(100, Verdict.EQUAL), (99, Verdict.UNDER), (101, Verdict.OVER), (None, Verdict.UNKNOWN)])
def test_a_proven_price_is_compared_with_the_lane(lane: int | None, verdict: Verdict) -> None:
    assert compared([entry(Offer(MILK, Curve.plain(100)))], {(MILK, 1): lane}, MILK) == [(verdict, 100)]


def test_every_quantity_that_a_label_names_counts() -> None:
    curve = Curve(((1, 100), (3, 250)))
    assert compared([entry(Offer(MILK, curve))], {(MILK, 1): 100, (MILK, 3): 260}, MILK) == [(Verdict.OVER, 100)]
    assert compared([entry(Offer(MILK, curve))], {(MILK, 1): 100, (MILK, 3): 240}, MILK) == [(Verdict.UNDER, 100)]


def test_what_a_label_may_show_beside_makes_it_unknown() -> None:
    shown, coming = entry(Offer(MILK, Curve.plain(100))), entry(Offer(MILK, Curve.plain(90)), number=2, state=MayState.OPEN)
    for entries in ([], [coming], [shown, coming], [entry(kind=MayKind.UNKNOWN)]):
        assert compared(entries, {(MILK, 1): 100}, MILK) == [(Verdict.UNKNOWN, None)]


def test_a_label_counts_for_what_it_shows_not_for_what_it_is_bound_to() -> None:
    shown = entry(Offer(BREAD, Curve.plain(200)), Offer(BREAD, Curve.plain(150), audience=MEMBERS))
    assert compared([shown], {(BREAD, 1): 200, (MILK, 1): 5}, MILK) == [(Verdict.EQUAL, 200), (Verdict.EQUAL, 150)]
    assert compared([entry()], {}, MILK) == []


@pytest.mark.parametrize(("less", "verdict"), [(50, Verdict.EQUAL), (51, Verdict.UNDER), (49, Verdict.OVER)])
def test_what_members_read_is_compared_with_what_members_pay(less: int, verdict: Verdict) -> None:
    shown = entry(Offer(BREAD, Curve.plain(200)), Offer(BREAD, Curve.plain(150), audience=MEMBERS))
    found = label_lines(L1, [shown], None, lambda item_id: "", Lanes({(BREAD, 1): 200}, less))
    assert [(each.audience, each.verdict) for each in found] == [("all", Verdict.EQUAL), (MEMBERS, verdict)]


def test_a_weighed_item_without_proof_is_told_by_the_quantity_of_its_price() -> None:
    binding = Binding(L1, (MILK,), "shelf", Place(), 1)
    (found,) = label_lines(L1, [], binding, lambda item_id: "", Lanes({(MILK, 1000): 1999}, named=1000))
    assert (found.quantity, found.lane_minor, found.why) == (1000, 1999, "no picture yet")


def line(item: str, verdict: Verdict = Verdict.EQUAL, *, stratum: str = "", label: str = "L") -> Line:
    return Line(ItemId(item), label, "", stratum, 1, 1, 1, verdict, "inferred")


def test_the_judgement_needs_98_percent() -> None:
    good = [line(f"{n}") for n in range(98)]
    assert judgement([*good, line("a", Verdict.OVER), line("b", Verdict.UNDER)]) == {
        "equal": 98,
        "under": 1,
        "over": 1,
        "unknown": 0,
        "right_percent": 98.0,
        "over_to_under": "1:1",
        "passes": True,
    }
    assert judgement([*good[1:], *(line(f"x{n}", Verdict.UNDER) for n in range(3))])["passes"] is False
    assert judgement([line("a", Verdict.UNKNOWN)])["right_percent"] is None
    assert judgement([])["passes"] is None


def test_an_item_is_drawn_with_its_worst_label() -> None:
    labels = [line("a", Verdict.EQUAL, label="1"), line("a", Verdict.OVER, label="2"), line("a", Verdict.UNKNOWN, label="3")]
    (drawn,) = draw_sample(labels, 50, "x")
    assert (drawn.number, drawn.line.label_id, drawn.labels) == (1, "2", 3)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=200), st.integers(1, 120), st.text(max_size=4))
def test_a_sample_has_each_item_once_and_each_stratum_its_share(strata: list[int], size: int, seed: str) -> None:
    lines = [line(f"i{n}", stratum=str(stratum)) for n, stratum in enumerate(strata)]
    drawn = draw_sample(lines, size, seed)
    assert len(drawn) == min(size, len(lines)) == len({each.line.item_id for each in drawn})
    assert [each.number for each in drawn] == list(range(1, len(drawn) + 1))
    of = Counter(str(stratum) for stratum in strata)
    for stratum, count in Counter(each.line.stratum for each in drawn).items():
        assert abs(count - len(drawn) * of[stratum] / len(lines)) < 1
    assert draw_sample(lines, size, seed) == drawn


def test_every_item_has_the_same_chance() -> None:
    lines = [line(f"i{n}", stratum="ab"[n % 2]) for n in range(20)]
    times = Counter(each.line.item_id for seed in range(2_000) for each in draw_sample(lines, 5, str(seed)))
    assert all(abs(times[each.item_id] - 500) < 100 for each in lines)
