"""What a label should show, and when nothing need be sent."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from msgspec import structs

from edge import planning
from edge.model import (
    MEMBERS,
    AttemptId,
    Binding,
    Curve,
    InForce,
    Item,
    ItemId,
    LabelState,
    MayEntry,
    MayKind,
    MayState,
    Offer,
    Place,
    PriceKind,
    PriceRow,
)
from edge.planning import (
    IN_FORCE,
    Moment,
    PictureFacts,
    Wanted,
    backoff_ms,
    is_settled,
    may_still_show,
    offers_by_audience,
    printed_code,
    waits_for_person,
    wanted_picture,
)
from edge.view import Delta, View
from render.errors import FieldError, UnknownTemplate
from render.fields import with_own
from tests.edge.shop import L1, MILK, PANEL

LABEL = LabelState(L1, panel=PANEL)
FACTS = PictureFacts("de-DE", "EUR", 2, {MILK: "04006381333931"}, UTC)


def row(kind: PriceKind, amount: int, *, row_id: int = 1, quantity: int = 1) -> PriceRow:
    return PriceRow(row_id, MILK, kind, str(kind), 1, 0, None, Curve.plain(amount, quantity))


def shop(*rows: PriceRow, name: str = "Milk", bound: bool = True, removed: bool = False, template: str = "shelf") -> View:
    """A view where the last row is in force."""
    view = View()
    view.apply(Delta(items={MILK: Item(MILK, name, net_content=1_000, net_unit="ml", removed=removed)}))
    if rows:
        view.apply(Delta(rows={MILK: rows}, in_force={MILK: InForce(rows[-1], 5)}))
    if bound:
        view.apply(Delta(bindings={L1: Binding(L1, (MILK,), template, Place(), 1)}))
    return view


def wanted(view: View) -> Wanted:
    return wanted_picture(view, LABEL, FACTS)


def test_an_unbound_label_shows_unassigned_and_promises_nothing() -> None:
    found = wanted(shop(row(PriceKind.BASE, 100), bound=False))
    assert (found.fields.template, found.offers) == ("unassigned", ())


@pytest.mark.parametrize("view", [shop(), shop(row(PriceKind.BASE, 100), removed=True)])
def test_an_item_without_price_or_out_of_the_catalogue_shows_see_staff(view: View) -> None:
    found = wanted(view)
    assert found.fields.item is not None
    assert (found.fields.template, found.fields.item.price_minor, found.offers) == ("see_staff", None, ())


def test_a_bound_item_that_was_never_in_the_catalogue_shows_its_number() -> None:
    view = shop()
    view.apply(Delta(items={MILK: None}))
    item = wanted(view).fields.item
    assert item is not None and item.name == MILK


def test_a_picture_promises_the_curve_in_force_and_names_its_row() -> None:
    found = wanted(shop(row(PriceKind.BASE, 499, row_id=7, quantity=1_000)))
    item = found.fields.item
    assert item is not None
    assert (item.price_minor, item.price_quantity) == (499, 1_000)
    assert [(offer.item_id, offer.curve, offer.row_id) for offer in found.offers] == [(MILK, Curve.plain(499, 1_000), 7)]
    assert item.gtin == "4006381333931"


def test_a_reduced_label_strikes_the_base_price_only_where_it_is_higher() -> None:
    base = row(PriceKind.BASE, 100)
    reduced = wanted(shop(base, row(PriceKind.PROMO, 80))).fields.items[0]
    assert (reduced.reduced, reduced.was_price_minor) == (True, 100)
    dearer = wanted(shop(base, row(PriceKind.PROMO, 120))).fields.items[0]
    assert (dearer.reduced, dearer.was_price_minor) == (True, None)
    override = wanted(shop(base, row(PriceKind.OVERRIDE, 80))).fields.items[0]
    assert (override.reduced, override.was_price_minor) == (False, None)


# -- members ---------------------------------------------------------------------------------------------------------------


def promised(view: View, now: Moment = IN_FORCE) -> list[tuple[str, int]]:
    """(audience, price) of each offer of the wanted picture."""
    return [(offer.audience, offer.curve.points[0][1]) for offer in wanted_picture(view, LABEL, FACTS, now).offers]


def with_member(amount: int, *, template: str = "shelf", quantity: int = 1, **more: Any) -> View:
    """Milk at 1.00, and a price for members."""
    member = structs.replace(row(PriceKind.MEMBER, amount, row_id=9, quantity=quantity), **more)
    view = shop(row(PriceKind.BASE, 100), template=template)
    view.apply(Delta(rows={MILK: (row(PriceKind.BASE, 100), member)}))
    return view


def test_a_template_that_shows_members_prices_promises_them_to_members_beside_the_price_for_everybody() -> None:
    found = wanted_picture(with_member(80), LABEL, FACTS)
    assert found.fields.items[0].member_price_minor == 80
    assert [(offer.audience, offer.row_id) for offer in found.offers] == [("all", 1), ("member", 9)]


@pytest.mark.parametrize(
    "view",
    [
        with_member(100),
        with_member(0),
        with_member(80, quantity=2),
        with_member(80, cancelled=True),
        with_member(80, effective_from_ms=6),
        with_member(80, template="unassigned"),
    ],
)
def test_a_members_price_that_is_not_printed_is_not_promised(view: View) -> None:
    assert [audience for audience, _ in promised(view)] == ["all"]


def test_a_members_price_runs_from_its_start_to_before_its_end_by_the_clock() -> None:
    view = with_member(80, effective_from_ms=10, effective_to_ms=20)
    assert [len(promised(view, Moment(at))) for at in (0, 9, 10, 19, 20)] == [1, 1, 2, 2, 1]


def test_a_clock_that_nobody_vouches_for_ends_only_what_the_label_was_not_told() -> None:
    view = with_member(80, effective_to_ms=20)
    assert len(promised(view, Moment(20, clock_trusted=False))) == 1
    told = wanted_picture(view, LABEL, FACTS, Moment(10)).offers
    view.apply(Delta(may={(L1, 3): MayEntry(AttemptId(3), L1, MayKind.PICTURE, MayState.OPEN, "h", told)}))
    assert promised(view, Moment(20, clock_trusted=False)) == [("all", 100), ("member", 80)]
    assert len(promised(view, Moment(20))) == 1
    cheaper = structs.replace(row(PriceKind.MEMBER, 70, row_id=10), price_id="n", effective_from_ms=15)
    view.apply(Delta(rows={MILK: (*view.rows[MILK], cheaper)}))
    assert promised(view, Moment(20, clock_trusted=False)) == [("all", 100), ("member", 70)]


def test_what_is_struck_through_is_the_base_price_of_now() -> None:
    base, later, promo = row(PriceKind.BASE, 100), row(PriceKind.BASE, 130, row_id=2), row(PriceKind.PROMO, 80, row_id=3)
    view = shop(base, structs.replace(later, price_id="b2", effective_from_ms=50), promo)
    struck = [wanted_picture(view, LABEL, FACTS, Moment(at)).fields.items[0].was_price_minor for at in (0, 49, 50)]
    assert struck == [100, 100, 130]


def test_the_instant_is_never_before_what_was_put_in_force() -> None:
    view = with_member(80, effective_to_ms=5)
    assert len(promised(view, Moment(0))) == 1


# -- several items ---------------------------------------------------------------------------------------------------------


PAIR = """version = 1
needs = ["price"]
[[layout]]
width = 296
height = 128
[[layout.element]]
kind = "price"
x = 0
y = 0
width = 140
height = 60
size = 40
size_min = 10
[[layout.element]]
kind = "price"
item = 1
x = 150
y = 0
width = 140
height = 60
size = 40
size_min = 10
"""
STOCK = """[[layout.element]]
kind = "text"
field = "stock"
x = 0
y = 80
width = 100
height = 30
size = 20
"""
BREAD = ItemId("bread")


@pytest.fixture
def own(tmp_path: Path) -> PictureFacts:
    """A store with two templates of its own: `pair` draws two items, `count` the stock too."""
    (tmp_path / "pair.toml").write_text(PAIR)
    (tmp_path / "count.toml").write_text(PAIR + STOCK)
    return replace(FACTS, templates=with_own(tmp_path))


def two_items(template: str) -> View:
    view = shop(row(PriceKind.BASE, 100), template=template)
    bread = structs.replace(row(PriceKind.BASE, 250, row_id=2), item_id=BREAD)
    bound = Binding(L1, (MILK, BREAD), template, Place(), 2)
    view.apply(Delta(items={BREAD: Item(BREAD, "Bread")}, in_force={BREAD: InForce(bread, 5)}, bindings={L1: bound}))
    return view


def test_a_label_of_two_items_promises_both_and_leaves_out_the_one_that_is_gone(own: PictureFacts) -> None:
    view = two_items("pair")
    found = wanted_picture(view, LABEL, own)
    assert [item.price_minor for item in found.fields.items] == [100, 250]
    assert [offer.item_id for offer in found.offers] == [MILK, BREAD]
    view.apply(Delta(items={MILK: Item(MILK, "Milk", removed=True)}))
    found = wanted_picture(view, LABEL, own)
    assert [item.price_minor for item in found.fields.items] == [250]
    assert [offer.item_id for offer in found.offers] == [BREAD]


def test_more_items_than_the_template_draws_are_a_fault_of_the_set_up() -> None:
    with pytest.raises(UnknownTemplate, match="shows 1 of the 2 items"):
        wanted(two_items("shelf"))


def test_stock_is_part_of_a_picture_only_where_the_template_reads_it(own: PictureFacts) -> None:
    for template, differs in (("pair", False), ("count", True)):
        view = shop(row(PriceKind.BASE, 100), template=template)
        view.apply(Delta(stock={MILK: 8}))
        before = wanted_picture(view, LABEL, own).content_hash
        view.apply(Delta(stock={MILK: 7}))
        assert (wanted_picture(view, LABEL, own).content_hash != before) is differs


def test_an_offer_shows_its_last_day_in_the_stores_zone_and_its_bundle() -> None:
    ends = datetime(2026, 12, 1, tzinfo=ZoneInfo("Europe/Berlin"))
    promo = structs.replace(row(PriceKind.PROMO, 80), effective_to_ms=int(ends.timestamp() * 1000), curve=Curve(((1, 80), (3, 200))))
    facts = replace(FACTS, timezone=ends.tzinfo or UTC)
    item = wanted_picture(shop(row(PriceKind.BASE, 100), promo), LABEL, facts).fields.items[0]
    assert (item.offer_ends, item.multi_buy) == ("2026-11-30", (3, 200))


def test_equal_pictures_have_equal_hashes_and_a_price_makes_another() -> None:
    assert wanted(shop(row(PriceKind.BASE, 100))).content_hash == wanted(shop(row(PriceKind.BASE, 100, row_id=9))).content_hash
    assert wanted(shop(row(PriceKind.BASE, 100))).content_hash != wanted(shop(row(PriceKind.BASE, 101))).content_hash


def test_what_cannot_be_drawn_says_whether_item_or_template_is_at_fault() -> None:
    with pytest.raises(FieldError):
        wanted(shop(row(PriceKind.BASE, 100), name="Milk \ue000"))
    with pytest.raises(UnknownTemplate):
        wanted(shop(row(PriceKind.BASE, 100), template="nowhere"))
    assert planning.see_staff(LABEL, MILK, FACTS).fields.template == "see_staff"


@pytest.mark.parametrize(
    ("gtin14", "printed"),
    [("04006381333931", "4006381333931"), ("00000096385074", "96385074"), ("14006381333938", "14006381333938")],
)
def test_a_code_is_printed_as_on_the_pack(gtin14: str, printed: str) -> None:
    assert printed_code(gtin14) == printed


# -- settled ---------------------------------------------------------------------------------------------------------------


def may(*states: tuple[MayState, str, MayKind]) -> dict[int, MayEntry]:
    return {n: MayEntry(AttemptId(n), L1, kind, state, content, ()) for n, (state, content, kind) in enumerate(states, 1)}


def test_nothing_is_sent_only_when_one_proven_picture_with_the_wanted_content_is_all_that_may_show() -> None:
    members = list(itertools.product(MayState, ("want", "other"), MayKind))
    for count in range(4):
        for states in itertools.product(members, repeat=count):
            standing = [state for state in states if state[0] is not MayState.GONE]
            assert is_settled(may(*states), "want") is (standing == [(MayState.PROVEN, "want", MayKind.PICTURE)])


def test_a_to_b_to_a_is_not_settled_by_the_old_a() -> None:
    a, b = (MayState.PROVEN, "a", MayKind.PICTURE), (MayState.OPEN, "b", MayKind.PICTURE)
    assert not is_settled(may(a, b), "a")


def test_a_wanted_picture_proven_beside_older_ones_waits_for_a_person() -> None:
    old, new = (MayState.OPEN, "x", MayKind.UNKNOWN), (MayState.PROVEN, "want", MayKind.PICTURE)
    assert waits_for_person(may(old, new), "want")
    assert not waits_for_person(may(new), "want")
    assert not waits_for_person(may(old, new), "newer")
    assert not waits_for_person(may(new, old), "want")


def test_a_ticket_that_can_be_printed_waits_for_a_person() -> None:
    hung, printed = (MayState.PROVEN, "old", MayKind.PICTURE), (MayState.OPEN, "want", MayKind.PICTURE)
    assert waits_for_person(may(hung, printed), "want", ticket=True)
    assert waits_for_person(may(printed), "want", ticket=True)
    assert not waits_for_person(may(hung, printed), "want")
    assert not waits_for_person(may(printed, hung), "want", ticket=True)
    assert not waits_for_person({}, "want", ticket=True)


def test_offers_are_told_apart_by_who_may_read_them() -> None:
    offers = [Offer(MILK, Curve.plain(100)), Offer(MILK, Curve.plain(80), audience=MEMBERS), Offer(BREAD, Curve.plain(5), page=1)]
    assert offers_by_audience(offers) == ([(MILK, Curve.plain(100)), (BREAD, Curve.plain(5))], [(MILK, Curve.plain(80))])


def test_members_are_listed_oldest_first_without_the_gone() -> None:
    entries = may((MayState.OPEN, "a", MayKind.PICTURE), (MayState.GONE, "b", MayKind.PICTURE), (MayState.PROVEN, "c", MayKind.PICTURE))
    shuffled = {3: entries[3], 1: entries[1], 2: entries[2]}
    assert [entry.content_hash for entry in may_still_show(shuffled)] == ["a", "c"]


def test_the_back_off_doubles_to_its_bound_and_no_further() -> None:
    assert [backoff_ms(failures, 5, 60) for failures in (0, 1, 2, 3, 4, 5, 500)] == [5, 5, 10, 20, 40, 60, 60]
