"""What people decide about labels, on disk: out of use and back, looked at, and what an owner lets time decide."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from edge.model import MEMBERS, Curve, ItemId, MayKind, Offer, Place
from edge.proof import LOOK_MARGIN_MS, Claim
from edge.store import people
from edge.store.db import Refused
from edge.store.journal import verify_audit
from edge.store.people import SEEN_AGAIN_AFTER_MS, Confirmed, Retire, Who
from edge.store.shelf import NewAttempt
from edge.view import Delta
from protocols.hq import utc_text
from tests.edge.shop import BREAD, HOUR_MS, L1, L2, MILK, NOON_MS, R1, R2, Shop, price

DWELL_MS = 2 * HOUR_MS
ANNA = Who("Anna", "uid 7")


@pytest.fixture
async def shelf(stocked: Shop) -> Shop:
    """L1 provably shows milk at 1.00; milk is 1.20 by now."""
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 100)
    await stocked.prices(price("milk", 120, rev=2))
    assert stocked.charge(MILK) == 100
    return stocked


async def retire(shop: Shop, label: str = L1, reason: Retire = Retire.REMOVED, *, dwell_ms: int = DWELL_MS) -> int:
    return await shop.store.run(
        partial(people.retire, stamp=shop.store.stamp(), label_id=label, reason=reason, who=ANNA, dwell_ms=dwell_ms)
    )


async def restore(shop: Shop, label: str = L1) -> int:
    return await shop.store.run(partial(people.restore, stamp=shop.store.stamp(), label_id=label, who=ANNA))


async def confirm(
    shop: Shop, *amounts: int, item: ItemId = MILK, label: str = L1, attempt: int | None = None, dwell_ms: int = 0
) -> Confirmed:
    claims = [Claim(item, amount) for amount in amounts]
    stamp = shop.store.stamp()
    return await shop.store.run(
        partial(people.confirm, stamp=stamp, label_id=label, claims=claims, attempt_id=attempt, who=ANNA, dwell_ms=dwell_ms)
    )


def may(shop: Shop, label: str = L1) -> dict[int, str]:
    return {attempt: str(entry.state) for attempt, entry in shop.store.view.may_of_label(label).items()}


def events(shop: Shop, kind: str) -> list[dict[str, Any]]:
    return [json.loads(row[0]) for row in shop.rows("SELECT data FROM outbox WHERE kind = ? ORDER BY seq", kind)]


# -- out of use, and back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reason", Retire)
async def test_a_retired_label_holds_prices_for_the_dwell_and_no_longer(shelf: Shop, reason: Retire) -> None:
    assert await retire(shelf, reason=reason) == 1
    shelf.clock.pass_ms(DWELL_MS - 1)
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (100, "dwell")
    shelf.clock.pass_ms(1)
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (120, None)


async def test_outside_opening_hours_a_retired_label_lets_go_at_once(shelf: Shop) -> None:
    await retire(shelf, dwell_ms=0)
    assert shelf.charge(MILK) == 120


async def test_who_when_and_why_are_written_down_and_told_to_hq(shelf: Shop) -> None:
    await retire(shelf)
    told = events(shelf, "label")[-1]
    assert (told["event"], told["label"], told["reason"], told["person"]) == ("label.retired", L1, "removed", "Anna")
    assert (told["by"], told["items"]) == ("Anna (uid 7)", ["milk"])
    await restore(shelf)
    assert events(shelf, "label")[-1]["event"] == "label.restored"
    noted = {what: json.loads(detail) for what, detail in shelf.rows("SELECT what, detail FROM audit WHERE actor = 'Anna (uid 7)'")}
    attempts = list(may(shelf))
    assert (noted["label.retired"]["released"], noted["label.restored"]["restored"]) == (attempts, attempts)
    assert shelf.store.read(verify_audit) > 0


async def test_undo_puts_the_very_same_may_set_back(shelf: Shop) -> None:
    await shelf.attempt(L1, [(MILK, 110)])
    await shelf.store.add_unknown(L1, "restart")
    before = dict(shelf.store.view.may_of_label(L1))
    await retire(shelf)
    shelf.clock.pass_ms(DWELL_MS)
    assert shelf.charge(MILK) == 120
    shelf.reopen()
    assert shelf.charge(MILK) == 120
    await restore(shelf)
    assert shelf.store.view.may_of_label(L1) == before
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (100, "shelf_lower")
    shelf.reopen()
    assert shelf.store.view.may_of_label(L1) == before


async def test_the_dwell_of_a_retired_label_goes_on_over_a_restart_and_begins_anew_after_a_reboot(shelf: Shop) -> None:
    await retire(shelf)
    shelf.clock.pass_ms(DWELL_MS - 1_000)
    shelf.reopen()
    assert shelf.charge(MILK) == 100
    shelf.clock.reboot()
    shelf.reopen()
    shelf.clock.pass_ms(DWELL_MS - 1)
    assert shelf.charge(MILK) == 100
    shelf.clock.pass_ms(1)
    assert shelf.charge(MILK) == 120


async def test_a_dwell_that_is_over_does_not_come_back_with_a_reboot(shelf: Shop) -> None:
    await retire(shelf)
    await shelf.store.run(partial(people.end_release, stamp=shelf.store.stamp(), label_ids=[L1, L2]))
    assert shelf.charge(MILK) == 120
    shelf.clock.reboot()
    shelf.reopen()
    assert shelf.charge(MILK) == 120


async def test_proof_that_comes_while_a_label_is_retired_loses_nothing(shelf: Shop) -> None:
    """Its radio still hears it; what it shows when somebody hangs it up again nobody can say."""
    attempt = await shelf.attempt(L1, [(MILK, 120)])
    before = may(shelf)
    await retire(shelf)
    assert not await shelf.prove(L1, attempt)
    assert may(shelf) == before
    await restore(shelf)
    assert shelf.charge(MILK) == 100


async def test_a_display_that_gets_lost_while_retired_counts_when_the_label_is_back(shelf: Shop) -> None:
    await shelf.shows(L1, MILK, 120)
    await retire(shelf, dwell_ms=0)
    await shelf.prices(price("milk", 90, rev=3))
    await shelf.prices(price("milk", 120, rev=4))
    await shelf.store.add_unknown(L1, "restart")
    await shelf.prices(price("milk", 150, rev=5))
    assert shelf.charge(MILK) == 150
    await restore(shelf)
    assert shelf.charge(MILK) == 90


async def test_no_attempt_begins_on_a_retired_label(shelf: Shop) -> None:
    await retire(shelf)
    with pytest.raises(Refused, match="retired"):
        await shelf.attempt(L1, [(MILK, 120)])
    assert len(may(shelf)) == 1


async def test_a_retired_label_takes_no_item_but_can_be_unbound(shelf: Shop) -> None:
    await retire(shelf)
    with pytest.raises(Refused, match="shelfd label restore"):
        await shelf.bind(L1, BREAD)
    await shelf.bind(L1)
    assert shelf.store.view.bindings[L1].items == ()


async def test_retiring_twice_restoring_what_is_in_use_and_unknown_labels_are_refused(shelf: Shop) -> None:
    with pytest.raises(Refused, match="not retired"):
        await restore(shelf)
    with pytest.raises(Refused, match="no label"):
        await retire(shelf, L2)
    await retire(shelf)
    with pytest.raises(Refused, match="already, as removed"):
        await retire(shelf, reason=Retire.COVERED)
    await restore(shelf)
    await retire(shelf, reason=Retire.COVERED)
    assert [(each.label_id, each.reason, each.person) for each in shelf.store.read(people.retirements)] == [(L1, "covered", "Anna")]


# -- seen again ------------------------------------------------------------------------------------------------------------


async def test_a_removed_label_that_is_heard_again_is_told_once_and_holds_nothing_by_itself(shelf: Shop) -> None:
    await retire(shelf, dwell_ms=0)
    shelf.clock.pass_ms(SEEN_AGAIN_AFTER_MS - 1)
    await shelf.heard(L1)
    assert "label_seen_again" not in shelf.alerts()
    shelf.clock.pass_ms(1)
    for _ in range(3):
        await shelf.heard(L1)
    assert shelf.alerts().count("label_seen_again") == 1
    assert shelf.charge(MILK) == 120
    assert shelf.store.read(people.retirements)[0].seen_again_wall_ms == shelf.clock.wall


async def test_a_covered_label_may_be_heard(shelf: Shop) -> None:
    await retire(shelf, reason=Retire.COVERED)
    shelf.clock.pass_ms(100 * HOUR_MS)
    await shelf.heard(L1)
    assert "label_seen_again" not in shelf.alerts()


# -- pages -----------------------------------------------------------------------------------------------------------------


async def test_every_page_of_a_picture_counts_from_before_its_bytes_leave(shelf: Shop) -> None:
    attempt_id = await shelf.store.new_attempt_id()
    offers = (Offer(MILK, Curve.plain(120)), Offer(MILK, Curve.plain(70), page=1), Offer(BREAD, Curve.plain(150), page=2))
    await shelf.store.begin_attempt(NewAttempt(attempt_id, L1, "h", "p", "m", "{}", offers, R1, HOUR_MS))
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (70, 150)
    shelf.reopen()
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (70, 150)
    await shelf.store.accept_offer(L1, R1, attempt_id)
    await shelf.prove(L1, attempt_id)
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (70, 150), "it may turn to any of them by itself"
    await shelf.shows(L1, MILK, 120, dwell_ms=DWELL_MS)
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (70, 150)
    shelf.clock.pass_ms(DWELL_MS)
    assert (shelf.charge(MILK), shelf.charge(BREAD)) == (120, 200)


# -- a look ----------------------------------------------------------------------------------------------------------------


async def settled_attempt(shop: Shop, amount: int) -> int:
    """An attempt that is the only one on offer, for so long that nothing older can still come up."""
    attempt = await shop.attempt(L1, [(MILK, amount)])
    shop.clock.pass_ms(LOOK_MARGIN_MS)
    return attempt


async def test_a_look_proves_what_the_owner_does_not_let_the_radio_prove(shelf: Shop) -> None:
    attempt = await settled_attempt(shelf, 120)
    await shelf.prove(L1, attempt, accepted=False)
    assert shelf.charge(MILK) == 100
    done = await confirm(shelf, 120)
    assert (done.attempt_id, len(done.gone)) == (attempt, 1)
    assert shelf.charge(MILK) == 120
    assert shelf.store.view.may_of_label(L1)[attempt].grade == "person"
    assert events(shelf, "label")[-1]["shows"] == [{"sku": "milk", "amount_minor": 120}]


async def test_a_look_is_followed_by_the_dwell(shelf: Shop) -> None:
    await settled_attempt(shelf, 120)
    await confirm(shelf, 120, dwell_ms=DWELL_MS)
    shelf.clock.pass_ms(DWELL_MS - 1)
    assert shelf.charge(MILK) == 100
    shelf.clock.pass_ms(1)
    assert shelf.charge(MILK) == 120


async def test_a_weaker_proof_after_a_look_does_not_weaken_it(shelf: Shop) -> None:
    attempt = await settled_attempt(shelf, 120)
    await confirm(shelf, 120)
    await shelf.prove(L1, attempt, accepted=False)
    assert (shelf.store.view.may_of_label(L1)[attempt].grade, shelf.charge(MILK)) == ("person", 120)


async def test_a_look_before_the_newest_picture_is_there_is_refused(shelf: Shop) -> None:
    await settled_attempt(shelf, 120)
    with pytest.raises(Refused, match="sent after it and may still come"):
        await confirm(shelf, 100)
    assert shelf.charge(MILK) == 100


async def test_a_look_while_another_radio_may_bring_an_older_picture_is_refused(shelf: Shop) -> None:
    await shelf.attempt(L1, [(MILK, 110)], radio=R2)
    await settled_attempt(shelf, 120)
    with pytest.raises(Refused, match=f"radio {R2} may still hand it an older picture"):
        await confirm(shelf, 120)
    await shelf.store.clear_offers(L1, R2, None)
    with pytest.raises(Refused, match="look again in 2 minutes"):
        await confirm(shelf, 120)
    shelf.clock.pass_ms(LOOK_MARGIN_MS - 1)
    with pytest.raises(Refused, match="look again in 2 minutes"):
        await confirm(shelf, 120)
    shelf.clock.pass_ms(1)
    await confirm(shelf, 120)
    assert shelf.charge(MILK) == 120


async def test_the_margin_of_a_look_begins_anew_after_a_reboot(shelf: Shop) -> None:
    await shelf.attempt(L1, [(MILK, 110)], radio=R2)
    await shelf.attempt(L1, [(MILK, 120)])
    await shelf.store.clear_offers(L1, R2, None)
    shelf.clock.pass_ms(LOOK_MARGIN_MS)
    shelf.clock.reboot()
    shelf.reopen()
    with pytest.raises(Refused, match="look again"):
        await confirm(shelf, 120)
    shelf.clock.pass_ms(LOOK_MARGIN_MS)
    await confirm(shelf, 120)


async def test_a_look_does_not_care_when_the_bytes_were_stored(shelf: Shop) -> None:
    """At storing time another radio could still bring an older picture; by now it cannot, and a person sees the panel."""
    await shelf.attempt(L1, [(MILK, 110)], radio=R2)
    attempt = await shelf.attempt(L1, [(MILK, 120)])
    await shelf.store.note_progress(attempt, "stored")
    await shelf.store.clear_offers(L1, R2, None)
    shelf.clock.pass_ms(LOOK_MARGIN_MS)
    assert not await shelf.prove(L1, attempt)
    await confirm(shelf, 120)
    assert may(shelf) == {attempt: "proven"}


async def test_an_unknown_display_is_known_again_by_a_look_wherever_it_stands(shelf: Shop) -> None:
    attempt = await settled_attempt(shelf, 120)
    await shelf.store.add_unknown(L1, "restart")
    with pytest.raises(Refused, match="look again"):
        await confirm(shelf, 120)
    shelf.clock.pass_ms(LOOK_MARGIN_MS)
    await confirm(shelf, 120)
    assert may(shelf) == {attempt: "proven"}
    assert shelf.charge(MILK) == 120


async def test_an_unknown_display_that_shows_what_nobody_sent_bounds_by_what_was_seen(stocked: Shop) -> None:
    """A label from before this store's file, with a radio that is gone."""
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.prices(price("milk", 70, rev=2))
    await stocked.prices(price("milk", 120, rev=3))
    assert (stocked.charge(MILK), stocked.guard(MILK)) == (70, "unproven")
    stocked.clock.pass_ms(LOOK_MARGIN_MS)
    done = await confirm(stocked, 110)
    assert (done.attempt_id, len(done.gone)) == (None, 1)
    assert (stocked.charge(MILK), stocked.guard(MILK)) == (110, "shelf_lower")
    assert [entry.kind for entry in stocked.store.view.may_of_label(L1).values()] == [MayKind.PICTURE]
    assert stocked.alerts() == []


async def test_a_price_that_cannot_be_there_is_believed_at_once_and_told(shelf: Shop) -> None:
    before = may(shelf)
    await confirm(shelf, 60)
    assert shelf.charge(MILK) == 60
    assert before.items() <= may(shelf).items()
    assert shelf.alerts() == ["label_shows_other_price"]
    shelf.reopen()
    assert shelf.charge(MILK) == 60
    newer = await shelf.attempt(L1, [(MILK, 120)])
    await shelf.prove(L1, newer)
    assert (shelf.charge(MILK), may(shelf)) == (120, {newer: "proven"})


async def test_a_weighed_price_that_was_read_is_for_the_quantity_that_the_label_prints(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, ItemId("beef"))
    await confirm(stocked, 900, item=ItemId("beef"))
    assert stocked.charge(ItemId("beef"), 500) == 450


async def test_the_number_of_the_newest_attempt_can_be_named(shelf: Shop) -> None:
    attempt = await settled_attempt(shelf, 120)
    with pytest.raises(Refused, match="sent after attempt"):
        await confirm(shelf, attempt=min(may(shelf)))
    assert (await confirm(shelf, attempt=attempt)).attempt_id == attempt


async def test_a_look_at_a_retired_or_unknown_label_is_refused(shelf: Shop) -> None:
    with pytest.raises(Refused, match="no label"):
        await confirm(shelf, 100, label=L2)
    await retire(shelf)
    with pytest.raises(Refused, match="restore"):
        await confirm(shelf, 100)


# -- paper -----------------------------------------------------------------------------------------------------------------


async def paper(shop: Shop, label: str = "ticket-1", item: ItemId = MILK) -> None:
    await shop.store.bind(label, (item,), "shelf", Place(), actor="test", kind="paper")


async def test_a_label_with_a_radio_is_no_paper_label(shelf: Shop) -> None:
    with pytest.raises(Refused, match="has a radio"):
        await paper(shelf, L1)


async def test_a_paper_label_can_be_looked_at_at_once(stocked: Shop) -> None:
    await paper(stocked)
    attempt = await stocked.attempt("ticket-1", [(MILK, 100)], radio="", taken=False)
    assert (await confirm(stocked, label="ticket-1", attempt=attempt)).attempt_id == attempt
    assert may(stocked, "ticket-1") == {attempt: "proven"}
    assert stocked.rows("SELECT * FROM radio_offer") == []


# -- members ---------------------------------------------------------------------------------------------------------------


async def test_an_unknown_display_bounds_members_by_their_prices_that_ran_since_it_was_proven(stocked: Shop) -> None:
    hour = {n: utc_text(NOON_MS + n * HOUR_MS) for n in range(6)}
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    stocked.clock.pass_ms(3 * HOUR_MS)
    await stocked.shows(L1, MILK, 100)
    rows = [
        price("milk", 50, kind="member", price_id="old", effective_from=hour[0], effective_to=hour[2]),
        price("milk", 80, kind="member", price_id="running", effective_from=hour[1]),
        price("milk", 40, kind="member", price_id="later", effective_from=hour[5]),
    ]
    await stocked.prices(*rows)
    await stocked.store.add_unknown(L1, "restart")
    offers = next(entry for entry in stocked.store.view.may_of_label(L1).values() if entry.kind is MayKind.UNKNOWN).offers
    assert [offer.curve.points[0][1] for offer in offers if offer.audience == MEMBERS] == [80]
    await stocked.prices(price("milk", 95, rev=2))
    assert stocked.charge(MILK) == 95


# -- what an owner lets time decide ----------------------------------------------------------------------------------------


async def override(shop: Shop, *attempts: int, label: str = L1) -> int:
    stamp = shop.store.stamp()
    return await shop.store.run(partial(people.override, stamp=stamp, label_id=label, attempt_ids=attempts, after_ms=HOUR_MS))


async def test_an_override_is_counted_written_down_and_told(shelf: Shop) -> None:
    attempt = min(may(shelf))
    assert await override(shelf, attempt) == 1
    assert (shelf.charge(MILK), may(shelf)) == (120, {})
    assert shelf.store.read(people.overrides) == 1
    assert shelf.value("SELECT released FROM attempt WHERE attempt_id = ?", attempt) == "release_after"
    told = events(shelf, "label")[-1]
    assert (told["event"], told["attempts"], told["after_ms"], told["by"]) == ("guard.override", [attempt], HOUR_MS, "release_after")
    assert shelf.value("SELECT count(*) FROM audit WHERE actor = 'release_after' AND what = 'guard.override'") == 1
    assert await override(shelf, attempt) == 0
    shelf.reopen()
    assert (shelf.charge(MILK), shelf.store.read(people.overrides)) == (120, 1)


async def test_an_override_never_touches_another_label_nor_a_retired_one(shelf: Shop) -> None:
    attempt = min(may(shelf))
    assert await override(shelf, attempt, label=L2) == 0
    await retire(shelf)
    assert await override(shelf, attempt) == 0
    await restore(shelf)
    assert shelf.charge(MILK) == 100


async def test_what_was_let_go_by_time_is_not_proven_later(shelf: Shop) -> None:
    attempt = await shelf.attempt(L1, [(MILK, 80)])
    await override(shelf, attempt)
    assert not await shelf.prove(L1, attempt)
    assert attempt not in may(shelf)


# -- what it cost ----------------------------------------------------------------------------------------------------------


async def test_the_margin_given_away_grows_with_the_sales_whoever_records_them(shelf: Shop) -> None:
    columns = "sale_id, line_id, item_id, code, quantity, total_minor, target_total_minor, guard"
    held = [("a", "milk", 100, 120, "shelf_lower"), ("b", "milk", 90, 120, "dwell")]
    free = [("c", "bread", 200, 200, None), ("d", None, 5, 9, "dwell")]

    def sell(db: Any) -> tuple[None, Delta]:
        db.execute(
            "INSERT INTO sale(sale_id, lane_id, body_sha256, answer, total_minor, up_seq, recorded_wall_ms) "
            "VALUES ('s', 'l', '', '{}', 0, 0, ?)",
            (NOON_MS,),
        )
        for line in held + free:
            db.execute(f"INSERT INTO sale_line({columns}) VALUES ('s', ?, ?, '', 1, ?, ?, ?)", line)
        return None, Delta()

    await shelf.store.run(sell)
    assert shelf.store.read(people.given_away_by_reason) == {"dwell": 30, "shelf_lower": 20}
    assert shelf.store.read(partial(people.given_away, item_id=MILK, since_wall_ms=NOON_MS)) == (50, 50)
    assert shelf.store.read(partial(people.given_away, item_id=MILK, since_wall_ms=NOON_MS + 24 * HOUR_MS)) == (0, 50)
    assert shelf.store.read(partial(people.given_away, item_id=BREAD, since_wall_ms=0)) == (0, 0)
