"""The shelf's loop over the real store: what is sent and when, and what is never done before a commit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from drivers.base import (
    LabelId,
    LabelProfile,
    LabelSeen,
    OfferAccepted,
    OnAir,
    Stored,
)
from edge.label_work import ShelfRules
from edge.model import Place
from edge.opening_hours import OpeningHours, Span
from edge.view import Delta
from protocols.hq import utc_text
from protocols.pos import CommitParams
from tests.edge.shelf_bench import DWELL_MS, RETRY_MS, Shelf, says
from tests.edge.shop import BREAD, HOUR_MS, L1, L2, MILK, NOON_MS, PANEL, R1, price

# -- sending ---------------------------------------------------------------------------------------------------------------


async def test_a_new_label_is_told_that_it_is_unassigned(empty: Shelf) -> None:
    await empty.heard(L1)
    assert says(empty.one.last) == ("unassigned", None)


async def test_a_label_that_only_hq_knows_gets_its_picture_when_it_is_heard(empty: Shelf) -> None:
    await empty.bind(L1, MILK)
    assert empty.one.delivered == []
    await empty.heard(L1)
    assert says(empty.one.last) == ("shelf", 100)


async def test_a_settled_label_is_left_alone_and_a_change_sends_once(shelf: Shelf) -> None:
    count = len(shelf.one.delivered)
    for _ in range(3):
        await shelf.turn(RETRY_MS)
    assert len(shelf.one.delivered) == count
    await shelf.prices(price("milk", 90, rev=2))
    await shelf.turn(RETRY_MS)
    assert [says(each) for each in shelf.one.delivered[count:]] == [("shelf", 90)]


async def test_an_item_without_price_and_one_that_left_show_see_staff(shelf: Shelf) -> None:
    await shelf.say("item.batch.v1", {"removed": ["milk"]})
    assert says(shelf.one.last) == ("see_staff", None)


async def test_a_newer_price_replaces_a_picture_in_flight(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 90, rev=2))
    await shelf.prices(price("milk", 80, rev=3))
    assert says(shelf.one.last) == ("shelf", 80)
    await shelf.proven(shelf.one.last)
    assert shelf.charge(MILK) == 80
    assert "open" not in shelf.may().values()


async def test_a_to_b_to_a_is_sent_again_with_a_number_of_its_own(shelf: Shelf) -> None:
    first = shelf.one.last
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.prices(price("milk", 100, rev=3))
    assert says(shelf.one.last) == says(first) == ("shelf", 100)
    assert shelf.one.last.attempt_id > first.attempt_id
    assert shelf.one.last.picture.data != first.picture.data


async def test_a_radio_that_is_down_gets_nothing_and_its_label_goes_out_when_it_is_back(template: bytes, rules: ShelfRules) -> None:
    shelf = Shelf(template, rules)
    shelf.start()
    await shelf.stocked()
    await shelf.heard(L1)
    assert shelf.one.delivered == []
    await shelf.up(shelf.one)
    assert len(shelf.one.delivered) == 1
    await shelf.stop()


async def test_many_labels_are_drawn_a_few_at_a_time_and_all_get_there(empty: Shelf) -> None:
    labels = [f"AABBCCDD{n:08X}" for n in range(60)]
    for label in labels:
        await empty.store.bind(label, (MILK,), "shelf", Place(), actor="test")
        empty.one.tell(LabelSeen(R1, LabelId(label), 0, LabelProfile(PANEL, ("raw2",), 20_000, 0x26)))
    await empty.turn()
    await empty.turn()
    assert {delivery.label_id for delivery in empty.one.delivered} == set(labels)


# -- rises, cuts, dwell ----------------------------------------------------------------------------------------------------


async def test_a_rise_goes_to_the_shelf_first_and_binds_after_proof_and_dwell(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    assert (says(shelf.one.last), shelf.charge(MILK)) == (("shelf", 120), 100)
    await shelf.proven(shelf.one.last)
    assert shelf.charge(MILK) == 100
    await shelf.turn(DWELL_MS - 1)
    assert shelf.charge(MILK) == 100
    await shelf.turn(1)
    assert shelf.charge(MILK) == 120
    assert list(shelf.may().values()) == ["proven"]


async def test_stored_alone_proves_nothing(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    shelf._tell(None, OfferAccepted, shelf.one.last)
    shelf._tell(None, OnAir, shelf.one.last)
    shelf._tell(None, Stored, shelf.one.last)
    await shelf.turn(10 * DWELL_MS)
    assert shelf.charge(MILK) == 100


async def test_closing_time_ends_the_dwell(template: bytes, rules: ShelfRules) -> None:
    hours = OpeningHours(tuple((Span(8 * 60, 20 * 60),) for _ in range(7)))
    shelf = Shelf(template, rules, hours)
    shelf.start()
    await shelf.stocked()
    await shelf.up(shelf.one)
    await shelf.heard(L1)
    await shelf.bind(L1, MILK)
    await shelf.proven(shelf.one.last)
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.proven(shelf.one.last)
    assert shelf.charge(MILK) == 100
    shelf.clock.wall = NOON_MS + 10 * HOUR_MS
    await shelf.turn()
    assert list(shelf.may().values()) == ["proven"]
    shelf.clock.wall = NOON_MS + 1 * HOUR_MS
    assert shelf.charge(MILK) == 120, "what was let go at closing does not come back"
    await shelf.stop()


async def test_a_scheduled_change_goes_out_when_its_time_comes(shelf: Shelf) -> None:
    begin, end = utc_text(NOON_MS + HOUR_MS), utc_text(NOON_MS + 2 * HOUR_MS)
    await shelf.prices(price("milk", 80, kind="promo", price_id="p", effective_from=begin, effective_to=end))
    count = len(shelf.one.delivered)
    await shelf.turn(HOUR_MS)
    assert [says(each) for each in shelf.one.delivered[count:]] == [("shelf", 80)]
    await shelf.proven(shelf.one.last)
    await shelf.turn(HOUR_MS)
    assert says(shelf.one.last) == ("shelf", 100)


async def test_a_rise_that_waited_for_a_trusted_clock_comes_when_it_is_trusted(shelf: Shelf) -> None:
    shelf.clock.trusted = False
    await shelf.prices(price("milk", 120, rev=2, price_id="later", effective_from=utc_text(NOON_MS + HOUR_MS)))
    await shelf.turn(2 * HOUR_MS)
    assert says(shelf.one.last) == ("shelf", 100)
    shelf.clock.trusted = True
    await shelf.turn()
    assert says(shelf.one.last) == ("shelf", 120)


async def test_a_clock_that_ran_ahead_and_was_put_right_misses_no_scheduled_price(shelf: Shelf) -> None:
    shelf.clock.trusted = False
    await shelf.prices(price("milk", 120, rev=2, price_id="later", effective_from=utc_text(NOON_MS + 9 * HOUR_MS)))
    shelf.clock.wall += 100 * HOUR_MS
    await shelf.turn()
    shelf.clock.wall -= 100 * HOUR_MS
    shelf.clock.trusted = True
    await shelf.turn()
    assert says(shelf.one.last) == ("shelf", 100)
    await shelf.turn(9 * HOUR_MS)
    assert says(shelf.one.last) == ("shelf", 120)


# -- leases ----------------------------------------------------------------------------------------------------------------


async def test_a_cut_waits_for_a_quote_that_lives_above_it(shelf: Shelf) -> None:
    await shelf.quote("milk")
    count = len(shelf.one.delivered)
    await shelf.prices(price("milk", 80, rev=2))
    await shelf.turn(599_000)
    assert len(shelf.one.delivered) == count
    assert shelf.charge(MILK) == 80
    await shelf.turn(1_000)
    await shelf.turn(1_000)
    assert says(shelf.one.last) == ("shelf", 80)


async def test_a_used_quote_lets_the_cut_go(shelf: Shelf) -> None:
    quote_id = await shelf.quote("milk")
    await shelf.prices(price("milk", 80, rev=2))
    await shelf.desk.commit("lane-1", CommitParams("s1", (), quote_id))
    await shelf.turn(1_000)
    assert says(shelf.one.last) == ("shelf", 80)


async def test_a_quote_made_while_a_cut_is_drawn_holds_it_back_on_every_way(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    """The price was quoted from the view of before; the picture must not overtake the till."""
    count = len(shelf.one.delivered)
    begin = shelf.store.begin_attempt

    async def quoted_meanwhile(new: Any) -> None:
        view = shelf.store.view
        told = await shelf.quote("milk")
        quote = view.quotes[told]
        dearer = tuple(_dearer(line) for line in quote.lines)
        view.apply(_no_quote(told))
        view.lease(_with_lines(quote, dearer))
        await begin(new)

    monkeypatch.setattr(shelf.store, "begin_attempt", quoted_meanwhile)
    await shelf.prices(price("milk", 80, rev=2))
    assert len(shelf.one.delivered) == count
    assert "open" in shelf.may().values(), "it is written down, only its bytes wait"
    await shelf.turn(600_000)
    assert says(shelf.one.last) == ("shelf", 80)
    offered = shelf.db.execute("SELECT offered_ms FROM radio_offer WHERE attempt_id = ?", (shelf.one.last.attempt_id,)).get
    assert offered == shelf.clock.now, "its offer lives from now, not from when it was written down"
    assert list(shelf.may().values()).count("open") == 1


def _dearer(line: Any) -> Any:
    return replace(line, total_minor=100)


def _with_lines(quote: Any, lines: Any) -> Any:
    return replace(quote, lines=lines)


def _no_quote(quote_id: str) -> Any:
    return Delta(quotes={quote_id: None})


# -- confirming ------------------------------------------------------------------------------------------------------------


async def test_a_price_is_confirmed_when_every_label_of_its_item_shows_it(shelf: Shelf) -> None:
    await shelf.heard(L2)
    await shelf.bind(L2, MILK)
    await shelf.proven(shelf.one.last)
    await shelf.prices(price("milk", 90, rev=2))
    by_label = {delivery.label_id: delivery for delivery in shelf.one.delivered}
    await shelf.proven(by_label[LabelId(L1)])
    assert shelf.confirmed() == []
    await shelf.proven(by_label[LabelId(L2)])
    assert shelf.confirmed() == [1]


async def test_an_item_without_a_label_is_confirmed_at_once(shelf: Shelf) -> None:
    await shelf.prices(price("bread", 190, rev=2))
    assert shelf.confirmed() == [1]


async def test_an_item_without_a_label_is_confirmed_also_after_a_crash_before_it(shelf: Shelf) -> None:
    await shelf.stop()
    await shelf.store.receive(shelf.hq.say("price.batch.v1", {"rows": [price("bread", 190, rev=2)]}))
    assert shelf.confirmed() == []
    await shelf.restart()
    assert shelf.confirmed() == [1]


async def test_an_item_without_a_label_is_confirmed_also_after_the_loop_fell_before_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*args: Any) -> None:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(shelf.store, "settle", broken)
        with pytest.raises(BaseExceptionGroup):
            await shelf.prices(price("bread", 190, rev=2))
    shelf.run_loop()
    await shelf.turn()
    assert shelf.confirmed() == [1]


async def test_a_row_that_another_outranks_is_confirmed_when_its_time_comes(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 80, kind="override", price_id="o"))
    await shelf.proven(shelf.one.last)
    await shelf.prices(price("milk", 90, price_id="later", effective_from=utc_text(NOON_MS + HOUR_MS)))
    assert shelf.confirmed() == [1]
    await shelf.turn(HOUR_MS)
    assert shelf.confirmed() == [1, 2]


async def test_taking_the_last_unproven_label_away_confirms_the_item(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 90, rev=2))
    assert shelf.confirmed() == []
    await shelf.bind(L1, BREAD)
    assert shelf.confirmed() == [1]


async def test_the_first_proof_of_a_price_on_a_label_is_kept(shelf: Shelf) -> None:
    found = shelf.db.execute("SELECT label_id, grade FROM first_proven JOIN price_row USING (row_id) WHERE item_id = 'milk'").fetchall()
    assert found == [(L1, "inferred")]


async def test_a_grade_that_may_not_bind_waits_for_a_person_and_is_not_sent_again(template: bytes) -> None:
    shelf = Shelf(template, ShelfRules(False, DWELL_MS, RETRY_MS, RETRY_MS))
    shelf.start()
    await shelf.stocked()
    await shelf.up(shelf.one)
    await shelf.heard(L1)
    await shelf.bind(L1, MILK)
    await shelf.proven(shelf.one.last)
    count = len(shelf.one.delivered)
    await shelf.turn(10 * RETRY_MS)
    assert len(shelf.one.delivered) == count
    assert "person" in shelf.service.problem(L1)
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.proven(shelf.one.last)
    assert (shelf.charge(MILK), shelf.confirmed()) == (100, [])
    await shelf.stop()
