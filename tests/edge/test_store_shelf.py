"""May-sets on disk: what a label may show is there before its bytes leave, and goes by proof alone."""

from __future__ import annotations

import pytest

from drivers.base import LabelId, LabelSeen, RadioId
from edge.model import ItemId, MayKind, MayState, Place
from edge.store.db import Refused
from tests.edge.shop import BREAD, HOUR_MS, L1, L2, MILK, R1, R2, Shop, price

MINUTE_MS = 60_000


@pytest.fixture
async def shelf(stocked: Shop) -> Shop:
    """L1 provably shows milk at 1.00."""
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 100)
    return stocked


def may(shop: Shop, label: str = L1) -> dict[int, str]:
    return {attempt: str(entry.state) for attempt, entry in shop.store.view.may_of_label(label).items()}


# -- before bytes leave ----------------------------------------------------------------------------------------------------


async def test_an_attempt_bounds_from_the_commit_and_after_a_restart(shelf: Shop) -> None:
    attempt = await shelf.attempt(L1, [(MILK, 70)])
    assert shelf.value("SELECT state FROM attempt WHERE attempt_id = ?", attempt) == "open"
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (70, "shelf_lower")
    before = may(shelf)
    shelf.reopen()
    assert (shelf.charge(MILK), may(shelf)) == (70, before)


async def test_a_rise_binds_only_when_the_label_proves_it(shelf: Shop) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    assert shelf.charge(MILK) == 100
    attempt = await shelf.attempt(L1, [(MILK, 120)])
    assert shelf.charge(MILK) == 100
    await shelf.prove(L1, attempt)
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (120, None)


async def test_a_cut_binds_at_once_whatever_the_label_shows(shelf: Shop) -> None:
    await shelf.prices(price("milk", 70, rev=2))
    assert shelf.charge(MILK) == 70


async def test_a_failure_and_the_time_release_nothing(shelf: Shop) -> None:
    attempt = await shelf.attempt(L1, [(MILK, 70)])
    await shelf.store.note_failure(attempt, "expired", "")
    shelf.clock.pass_ms(1000 * HOUR_MS)
    assert shelf.charge(MILK) == 70


async def test_numbers_are_never_given_twice_whatever_an_unknown_display_takes_meanwhile(shelf: Shop) -> None:
    """A picture is being drawn for its number while HQ binds a new label, which begins as UNKNOWN."""
    drawn = await shelf.store.new_attempt_id()
    await shelf.bind(L2, BREAD)
    await shelf.store.add_unknown(L1, "restart")
    after = await shelf.store.new_attempt_id()
    numbers = [drawn, after, *may(shelf), *may(shelf, L2)]
    assert len(set(numbers)) == len(numbers)
    shelf.reopen()
    assert await shelf.store.new_attempt_id() not in numbers


async def test_reserved_pixels_hold_another_number_in_another_file(stocked: Shop) -> None:
    number = stocked.store.attempt_number(5)
    assert 0 <= number < 2**32
    assert number - 5 == stocked.store.attempt_number(1) - 1
    assert (number - 5) % 2**32 == int(stocked.value("SELECT value FROM meta WHERE key = 'incarnation'")[:8], 16)


# -- proof -----------------------------------------------------------------------------------------------------------------


async def test_proof_removes_older_attempts_and_no_newer_one(shelf: Shop) -> None:
    first = await shelf.attempt(L1, [(MILK, 80)])
    newer = await shelf.attempt(L1, [(MILK, 60)])
    await shelf.prove(L1, first)
    assert may(shelf) == {first: "proven", newer: "open"}
    assert shelf.charge(MILK) == 60


async def test_late_proof_of_an_attempt_that_went_before_changes_nothing(shelf: Shop) -> None:
    first = await shelf.attempt(L1, [(MILK, 80)])
    second = await shelf.attempt(L1, [(MILK, 120)])
    await shelf.prove(L1, second)
    assert not await shelf.prove(L1, first)
    assert may(shelf) == {second: "proven"}


async def test_proof_for_another_label_changes_nothing(shelf: Shop) -> None:
    attempt = await shelf.attempt(L1, [(MILK, 80)])
    await shelf.heard(L2)
    assert not await shelf.prove(L2, attempt)


async def test_a_moved_label_bounds_its_old_item_until_the_new_picture_is_proven(shelf: Shop) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.bind(L1, BREAD)
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (100, 200)
    attempt = await shelf.attempt(L1, [(BREAD, 200)])
    assert shelf.charge(MILK) == 100
    await shelf.prove(L1, attempt)
    assert shelf.charge(MILK) == 120


async def test_a_grade_that_may_not_bind_a_rise_is_recorded_and_removes_nothing(shelf: Shop) -> None:
    old = next(iter(may(shelf)))
    attempt = await shelf.attempt(L1, [(MILK, 120)])
    assert await shelf.prove(L1, attempt, accepted=False)
    assert may(shelf) == {old: "proven", attempt: "proven"}
    assert shelf.store.is_proven(L1) is False
    await shelf.prices(price("milk", 120, rev=2))
    assert shelf.charge(MILK) == 100


# -- other radios' older offers --------------------------------------------------------------------------------------------


async def test_an_older_offer_of_another_radio_blocks_proof_until_it_is_cleared(shelf: Shop) -> None:
    old = await shelf.attempt(L1, [(MILK, 70)], radio=R1)
    new = await shelf.attempt(L1, [(MILK, 120)], radio=R2)
    assert not await shelf.prove(L1, new)
    assert shelf.charge(MILK) == 70
    await shelf.store.clear_offers(L1, R1, None)
    assert await shelf.prove(L1, new)
    assert old not in may(shelf)


async def test_an_older_offer_goes_when_it_was_outlived(shelf: Shop) -> None:
    await shelf.attempt(L1, [(MILK, 70)], radio=R1, lifetime_ms=HOUR_MS)
    new = await shelf.attempt(L1, [(MILK, 120)], radio=R2)
    shelf.clock.pass_ms(HOUR_MS)
    assert not await shelf.prove(L1, new)
    shelf.clock.pass_ms(1)
    assert await shelf.prove(L1, new)


async def test_an_offer_lives_from_when_the_radio_took_it_not_from_when_it_was_handed_over(shelf: Shop) -> None:
    old = await shelf.attempt(L1, [(MILK, 70)], radio=R1, lifetime_ms=HOUR_MS, taken=False)
    new = await shelf.attempt(L1, [(MILK, 120)], radio=R2)
    shelf.clock.pass_ms(HOUR_MS - 1)
    await shelf.store.accept_offer(L1, R1, old)
    shelf.clock.pass_ms(2)
    assert not await shelf.prove(L1, new)


async def test_a_reboot_starts_the_life_of_an_offer_anew(shelf: Shop) -> None:
    await shelf.attempt(L1, [(MILK, 70)], radio=R1, lifetime_ms=HOUR_MS)
    new = await shelf.attempt(L1, [(MILK, 120)], radio=R2)
    shelf.clock.pass_ms(2 * HOUR_MS)
    shelf.clock.reboot()
    shelf.reopen()
    assert not await shelf.prove(L1, new)
    shelf.clock.pass_ms(HOUR_MS + 1)
    assert await shelf.prove(L1, new)


async def test_an_older_offer_cleared_after_the_newer_picture_was_stored_came_too_late(shelf: Shop) -> None:
    """Between the two the label may have fetched the older one from the other radio."""
    old = await shelf.attempt(L1, [(MILK, 70)], radio=R1)
    new = await shelf.attempt(L1, [(MILK, 120)], radio=R2)
    await shelf.store.note_progress(new, "stored")
    await shelf.store.clear_offers(L1, R1, None)
    assert not await shelf.prove(L1, new)
    assert may(shelf)[old] == "open"
    await shelf.store.note_progress(new, "stored")
    assert await shelf.prove(L1, new)


async def test_a_radio_that_takes_an_attempt_forgets_its_own_older_ones_only(shelf: Shop) -> None:
    await shelf.attempt(L1, [(MILK, 70)], radio=R1)
    await shelf.attempt(L1, [(MILK, 75)], radio=R2)
    newest = await shelf.attempt(L1, [(MILK, 120)], radio=R2)
    await shelf.store.accept_offer(L1, R2, newest)
    assert shelf.store.offering_radios(L1, newest) == [R1]


# -- unknown displays ------------------------------------------------------------------------------------------------------


async def test_a_label_never_seen_bounds_by_the_lowest_price_its_item_ever_had(stocked: Shop) -> None:
    await stocked.prices(price("milk", 70, rev=2))
    await stocked.prices(price("milk", 90, rev=3))
    await stocked.heard(L1)
    assert stocked.charge(MILK) == 90
    await stocked.bind(L1, MILK)
    assert (stocked.charge(MILK), stocked.guard(MILK)) == (70, "unproven")
    await stocked.shows(L1, MILK, 90)
    assert stocked.charge(MILK) == 90


async def test_a_label_that_lost_its_display_bounds_by_the_lowest_price_since_it_was_proven(shelf: Shop) -> None:
    await shelf.prices(price("milk", 60, rev=2))
    await shelf.prices(price("milk", 90, rev=3))
    await shelf.shows(L1, MILK, 90)
    for amount, rev in ((110, 4), (80, 5), (120, 6)):
        await shelf.prices(price("milk", amount, rev=rev))
    attempt = await shelf.shows(L1, MILK, 120)
    assert shelf.charge(MILK) == 120
    await shelf.prices(price("milk", 85, rev=7))
    await shelf.prices(price("milk", 130, rev=8))
    await shelf.store.add_unknown(L1, "wake reason E0")
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (85, "unproven")
    assert may(shelf)[attempt] == "proven"


async def test_a_new_lower_price_joins_the_bound_of_a_display_that_is_unknown_already(shelf: Shop) -> None:
    await shelf.store.add_unknown(L1, "restart")
    await shelf.prices(price("milk", 60, rev=2))
    await shelf.prices(price("milk", 140, rev=3))
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (60, "unproven")


async def test_unknown_bounds_every_item_the_label_was_ever_bound_to(shelf: Shop) -> None:
    await shelf.bind(L1, BREAD)
    await shelf.prices(price("milk", 60, rev=2))
    await shelf.prices(price("milk", 140, rev=3))
    await shelf.shows(L1, BREAD, 200)
    assert shelf.charge(MILK) == 140
    await shelf.store.add_unknown(L1, "restart")
    await shelf.prices(price("milk", 70, rev=4), price("bread", 150, rev=2))
    await shelf.prices(price("milk", 150, rev=5), price("bread", 210, rev=3))
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (70, 150)


async def test_unknown_is_not_removed_by_an_attempt_that_is_older_than_it(shelf: Shop) -> None:
    attempt = await shelf.attempt(L1, [(MILK, 100)])
    await shelf.store.add_unknown(L1, "restart")
    await shelf.prove(L1, attempt)
    assert not shelf.store.is_proven(L1)
    await shelf.shows(L1, MILK, 100)
    assert shelf.store.is_proven(L1)


async def test_a_label_that_restarts_again_and_again_grows_nothing(shelf: Shop) -> None:
    for _ in range(20):
        await shelf.store.add_unknown(L1, "restart")
    assert len(may(shelf)) == 2
    await shelf.attempt(L1, [(MILK, 100)])
    await shelf.store.add_unknown(L1, "restart")
    assert [entry.kind for entry in shelf.store.view.may_of_label(L1).values()].count(MayKind.UNKNOWN) == 2


async def test_a_label_heard_before_its_binding_and_one_bound_before_it_was_heard_both_begin_unknown(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L2, MILK)
    await stocked.heard(L2)
    kinds = [[entry.kind for entry in stocked.store.view.may_of_label(label).values()] for label in (L1, L2)]
    assert kinds == [[MayKind.UNKNOWN], [MayKind.UNKNOWN]]


# -- dwell -----------------------------------------------------------------------------------------------------------------


async def raised(shop: Shop) -> None:
    """Milk went from 1.00 to 1.20 on the shelf, with a dwell of two hours."""
    await shop.prices(price("milk", 120, rev=2))
    await shop.shows(L1, MILK, 120, dwell_ms=2 * HOUR_MS)


async def test_the_old_price_is_charged_for_the_dwell_after_a_proven_rise(shelf: Shop) -> None:
    await raised(shelf)
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (100, "dwell")
    assert shelf.store.is_proven(L1)
    shelf.clock.pass_ms(2 * HOUR_MS - 1)
    assert shelf.charge(MILK) == 100
    shelf.clock.pass_ms(1)
    assert shelf.charge(MILK) == 120


async def test_the_dwell_goes_on_over_a_restart_and_begins_anew_after_a_reboot(shelf: Shop) -> None:
    await raised(shelf)
    shelf.clock.pass_ms(HOUR_MS)
    shelf.reopen()
    assert shelf.charge(MILK) == 100
    shelf.clock.reboot()
    shelf.reopen()
    shelf.clock.pass_ms(2 * HOUR_MS - 1)
    assert shelf.charge(MILK) == 100
    shelf.clock.pass_ms(1)
    assert shelf.charge(MILK) == 120


async def test_setting_the_wall_clock_does_not_shorten_the_dwell(shelf: Shop) -> None:
    await raised(shelf)
    shelf.clock.wall += 1000 * HOUR_MS
    assert shelf.charge(MILK) == 100


async def test_a_cut_needs_no_dwell(shelf: Shop) -> None:
    await shelf.prices(price("milk", 80, rev=2))
    await shelf.shows(L1, MILK, 80, dwell_ms=2 * HOUR_MS)
    assert set(may(shelf).values()) == {"proven"}


async def test_an_item_that_left_the_label_has_its_dwell_too(shelf: Shop) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.bind(L1, BREAD)
    await shelf.shows(L1, BREAD, 200, dwell_ms=2 * HOUR_MS)
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (100, "dwell")


async def test_a_dwell_that_is_over_leaves_the_may_set(shelf: Shop) -> None:
    await raised(shelf)
    gone = [key for key, state in may(shelf).items() if state == MayState.GONE]
    await shelf.store.end_dwell([(L1, attempt) for attempt in gone])
    assert (shelf.charge(MILK), list(may(shelf).values())) == (120, ["proven"])


# -- bindings and check-ins ------------------------------------------------------------------------------------------------


async def test_a_persons_scan_wins_and_counts_the_binding_up(shelf: Shop) -> None:
    await shelf.bind(L1, BREAD)
    await shelf.bind(L1, MILK)
    assert shelf.store.view.bindings[L1].binding_rev == 3
    with pytest.raises(Refused):
        await shelf.store.bind(L1, (BREAD,), "shelf", Place(), actor="hq", expected_rev=2)
    assert shelf.store.view.labels_of_item(MILK) == {L1}


async def test_a_binding_to_an_unknown_item_or_to_too_many_is_refused(shelf: Shop) -> None:
    for items in ((ItemId("caviar"),), (MILK,) * 9):
        with pytest.raises(Refused):
            await shelf.store.bind(L1, items, "shelf", Place(), actor="test")
    assert shelf.store.view.bindings[L1].items == (MILK,)


async def test_a_short_check_in_keeps_what_a_full_one_said(shelf: Shop) -> None:
    await shelf.store.seen([("oepl", LabelSeen(RadioId(R2), LabelId(L1), shelf.clock.now, battery_mv=2_500))])
    label = shelf.store.view.labels[L1]
    assert (label.panel, label.codecs, label.battery_mv, label.last_radio) == ("oepl-01", ("raw2",), 2_500, R2)
    shelf.reopen()
    assert shelf.store.view.labels[L1] == label
