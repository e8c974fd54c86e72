"""The shelf's loop when things go wrong: failures, pictures that cannot be drawn, two radios, restarts, storms."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from drivers.base import (
    DisplayUnknown,
    FailReason,
    LabelId,
    LabelProfile,
    LabelSeen,
    OfferCleared,
    RadioDown,
)
from edge.label_work import SEEN_SAVE_MS
from edge.labels import MAY_SET_MAX, SILENT_RETRY_MS
from edge.model import Place
from edge.renderer import RenderFailed
from edge.store import shelf as store_shelf
from render.errors import DoesNotFit
from tests.edge.shelf_bench import DWELL_MS, RETRY_MS, Shelf, says
from tests.edge.shop import HOUR_MS, L1, MILK, PANEL, R1, item, price

# -- failures --------------------------------------------------------------------------------------------------------------


async def test_a_picture_that_never_went_on_the_air_is_offered_again_as_it_is(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    first = shelf.one.last
    await shelf.failed(first, FailReason.EXPIRED, on_air=False)
    await shelf.turn(RETRY_MS)
    assert shelf.one.last == first
    assert len(shelf.may()) == 2


async def test_a_label_that_claims_to_have_a_picture_which_it_did_not_fetch_is_sent_another(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    kept = shelf.one.last
    await shelf.failed(kept, FailReason.SUSPICIOUS, on_air=False)
    await shelf.turn(RETRY_MS)
    assert shelf.one.last.attempt_id > kept.attempt_id, "it would claim the same of the same bytes, for ever"
    await shelf.proven(shelf.one.last)
    assert shelf.service.unsettled() == 0


async def test_a_picture_that_was_on_the_air_is_tried_again_under_a_new_number_after_a_growing_pause(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    for pause_ms in (RETRY_MS, 2 * RETRY_MS, 4 * RETRY_MS, 4 * RETRY_MS):
        tried = shelf.one.last
        await shelf.failed(tried)
        await shelf.turn(pause_ms - 1)
        assert shelf.one.last == tried
        await shelf.turn(1)
        assert shelf.one.last.attempt_id > tried.attempt_id
    assert shelf.charge(MILK) == 100


async def test_a_lost_radio_is_not_the_labels_fault(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    tried = shelf.one.last
    await shelf.failed(tried, FailReason.RADIO_LOST)
    assert shelf.one.last.attempt_id > tried.attempt_id


async def test_a_label_that_fails_for_ever_is_tried_once_a_day_and_grows_no_further(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    for _ in range(MAY_SET_MAX + 3):
        await shelf.failed(shelf.one.last, FailReason.DISPLAY_LOST)
        await shelf.turn()
    assert len(shelf.may()) <= MAY_SET_MAX + 1
    tried = shelf.one.last
    await shelf.turn(SILENT_RETRY_MS - 1)
    assert shelf.one.last == tried
    await shelf.turn(1)
    assert shelf.one.last.attempt_id > tried.attempt_id


async def test_many_prices_in_their_dwell_do_not_make_a_healthy_label_a_silent_one(shelf: Shelf) -> None:
    for rev in range(2, MAY_SET_MAX + 5):
        await shelf.prices(price("milk", 100 + rev, rev=rev))
        await shelf.proven(shelf.one.last)
    assert len(shelf.may()) > MAY_SET_MAX
    await shelf.prices(price("milk", 300, rev=99))
    tried = shelf.one.last
    await shelf.failed(tried)
    await shelf.turn(RETRY_MS)
    assert shelf.one.last.attempt_id > tried.attempt_id


async def test_a_label_that_lost_its_display_is_sent_again_even_what_it_had(shelf: Shelf) -> None:
    before = shelf.one.last
    shelf.one.tell(DisplayUnknown(R1, LabelId(L1), shelf.clock.now, "wake reason E0"))
    await shelf.turn()
    assert says(shelf.one.last) == says(before)
    assert shelf.one.last.attempt_id > before.attempt_id
    await shelf.proven(shelf.one.last)
    assert list(shelf.may().values()) == ["proven"]


async def test_a_label_that_restarts_in_mid_transfer_needs_another_picture(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    in_flight = shelf.one.last
    shelf.one.tell(DisplayUnknown(R1, LabelId(L1), shelf.clock.now, "wake reason E0"))
    await shelf.turn()
    await shelf.proven(in_flight)
    assert shelf.one.last.attempt_id > in_flight.attempt_id
    await shelf.proven(shelf.one.last)
    assert "open" not in shelf.may().values()


# -- drawing ---------------------------------------------------------------------------------------------------------------


async def test_a_picture_that_cannot_be_drawn_is_retried_with_pauses_also_beside_one_in_flight(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    shelf.pictures.fails = RenderFailed("planted")
    drawn = len(shelf.pictures.drawn)
    await shelf.prices(price("milk", 130, rev=3))
    for _ in range(5):
        await shelf.turn()
    assert len(shelf.pictures.drawn) == drawn + 1
    assert shelf.service.problem(L1) == "planted"
    shelf.pictures.fails = None
    await shelf.turn(RETRY_MS)
    assert says(shelf.one.last) == ("shelf", 130)
    assert shelf.service.problem(L1) == ""


async def test_an_item_whose_data_cannot_be_drawn_shows_see_staff_until_they_can(shelf: Shelf) -> None:
    shelf.pictures.fails, shelf.pictures.only_see_staff = DoesNotFit("price: too wide"), True
    await shelf.prices(price("milk", 130, rev=3))
    await shelf.turn(RETRY_MS)
    assert says(shelf.one.last) == ("see_staff", None)
    await shelf.proven(shelf.one.last)
    assert shelf.service.problem(L1) == "price: too wide"
    assert shelf.confirmed() == []
    drawn = len(shelf.pictures.drawn)
    await shelf.turn(RETRY_MS)
    assert len(shelf.pictures.drawn) == drawn
    shelf.pictures.fails = None
    await shelf.prices(price("milk", 131, rev=4))
    assert says(shelf.one.last) == ("shelf", 131)
    await shelf.proven(shelf.one.last)
    assert (shelf.service.problem(L1), shelf.confirmed()) == ("", [1, 2])


async def test_a_name_that_no_label_can_show_is_see_staff_at_once(shelf: Shelf) -> None:
    await shelf.say("item.batch.v1", {"items": [item("milk", name="Milk \ue000")]})
    assert says(shelf.one.last) == ("see_staff", None)
    assert "U+E000" in shelf.service.problem(L1)
    await shelf.say("item.batch.v1", {"items": [item("milk", name="Milk")]})
    assert says(shelf.one.last) == ("shelf", 100)


async def test_a_template_that_an_upgrade_took_away_is_named_and_the_label_keeps_its_picture(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(shelf.one.delivered)
    monkeypatch.setattr(store_shelf, "load_template", lambda name, source: None)  # as when it was bound
    await shelf.store.bind(L1, (MILK,), "nowhere", Place(), actor="test")
    await shelf.turn()
    assert len(shelf.one.delivered) == count
    assert "nowhere" in shelf.service.problem(L1)
    assert shelf.service.unsettled() == 1


# -- two radios ------------------------------------------------------------------------------------------------------------


async def test_a_label_that_moved_is_sent_by_its_new_radio_and_the_old_one_is_told_to_stop(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.accepted(shelf.one.last)
    await shelf.heard(L1, shelf.two)
    await shelf.prices(price("milk", 130, rev=3))
    assert says(shelf.two.last) == ("shelf", 130)
    assert shelf.one.withdrawn == [L1]
    await shelf.proven(shelf.two.last, shelf.two)
    assert "open" in shelf.may().values(), "the old radio has not said that it stopped"
    shelf.one.tell(OfferCleared(R1, LabelId(L1)))
    await shelf.turn(RETRY_MS)
    await shelf.proven(shelf.two.last, shelf.two)
    assert "open" not in shelf.may().values()


async def test_a_radio_that_held_a_picture_for_longer_than_an_offer_lives_is_told_to_stop_too(shelf: Shelf) -> None:
    """It was unplugged with the picture in its hands, and would announce it when it is back."""
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.turn(3 * HOUR_MS)
    await shelf.heard(L1, shelf.two)
    await shelf.prices(price("milk", 130, rev=3))
    assert shelf.one.withdrawn == [L1]


async def test_a_radio_that_is_gone_does_not_keep_a_label_waiting(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    waiting = shelf.one.last
    await shelf.heard(L1, shelf.two)
    assert shelf.two.delivered == []
    shelf.one.tell(RadioDown(R1, "unplugged"))
    await shelf.turn()
    assert shelf.two.last == waiting, "the same picture: nothing of it ever left"


async def test_a_word_about_older_offers_does_not_clear_the_one_that_is_being_written(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = shelf.store.begin_attempt

    async def overtaken(new: Any) -> None:
        await begin(new)
        shelf.one.tell(OfferCleared(R1, LabelId(L1)))
        for _ in range(50):
            shelf.service.parked.clear()
            shelf.service.turn.set()
            await asyncio.sleep(0)

    monkeypatch.setattr(shelf.store, "begin_attempt", overtaken)
    await shelf.prices(price("milk", 120, rev=2))
    assert says(shelf.one.last) == ("shelf", 120)  # the radio checks that its offer stands in the books


# -- restarts and faults ---------------------------------------------------------------------------------------------------


async def test_a_restart_with_a_picture_on_the_way_sends_another_and_comes_to_rest(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.accepted(shelf.one.last)
    await shelf.restart()
    assert shelf.charge(MILK) == 100
    await shelf.up(shelf.one)
    await shelf.proven(shelf.one.last)
    await shelf.turn(DWELL_MS)
    assert (shelf.charge(MILK), shelf.service.unsettled()) == (120, 0)


async def test_a_dwell_goes_on_over_a_restart(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.proven(shelf.one.last)
    await shelf.turn(HOUR_MS)
    await shelf.restart()
    assert shelf.charge(MILK) == 100
    await shelf.turn(HOUR_MS)
    assert shelf.charge(MILK) == 120
    assert list(shelf.may().values()) == ["proven"]


async def test_the_loop_can_be_started_again_after_a_fault_of_ours(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*args: Any) -> None:
        raise RuntimeError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(shelf.store, "begin_attempt", broken)
        with pytest.raises(BaseExceptionGroup):
            await shelf.prices(price("milk", 120, rev=2))
    shelf.run_loop()
    await shelf.turn()
    assert says(shelf.one.last) == ("shelf", 120)


# -- check-ins -------------------------------------------------------------------------------------------------------------


async def test_check_ins_are_written_rarely_and_news_at_once(shelf: Shelf) -> None:
    def seen_ms() -> int:
        return shelf.store.view.labels[L1].last_seen_wall_ms

    first = seen_ms()
    shelf.clock.pass_ms(1_000)
    await shelf.heard(L1)
    assert seen_ms() == first
    await shelf.heard(L1, shelf.two)
    assert seen_ms() == shelf.clock.wall
    shelf.clock.pass_ms(SEEN_SAVE_MS)
    await shelf.heard(L1, shelf.two)
    assert seen_ms() == shelf.clock.wall


async def test_a_storm_of_check_ins_is_one_row_and_keeps_what_the_full_one_said(empty: Shelf) -> None:
    full = LabelSeen(R1, LabelId(L1), 0, LabelProfile(PANEL, ("raw2",), 20_000, 0x26), 2_900, rssi_dbm=-60)
    empty.one.tell(full)
    for n in range(1_000):
        empty.one.tell(LabelSeen(R1, LabelId(L1), n))
    assert len(empty.service._check_ins) == 1
    assert len(empty.service._events) == 0
    await empty.turn()
    label = empty.store.view.labels[L1]
    assert (label.panel, label.battery_mv, label.rssi_dbm) == (PANEL, 2_900, -60)


async def test_lapsed_quotes_are_let_go(shelf: Shelf) -> None:
    quote_id = await shelf.quote("milk")
    await shelf.turn(599_999)
    assert quote_id in shelf.store.view.quotes
    await shelf.turn(1)
    assert shelf.store.view.quotes == {}
    assert shelf.db.execute("SELECT state FROM quote WHERE quote_id = ?", (quote_id,)).get == "lapsed"
