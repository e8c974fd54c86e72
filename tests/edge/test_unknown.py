"""Displays that nobody can vouch for: after a restore, a restart of a label, and what a person must read to end it."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

import apsw
import pytest

from drivers.oepl_attempts import OFFER_LIFETIME_MS
from edge.model import Curve, ItemId
from edge.proof import LOOK_MARGIN_MS, Claim
from edge.store import people, unknown, witness
from edge.store.db import Refused
from edge.store.journal import AuditHead
from edge.store.people import Confirmed, Who
from edge.view import Delta
from protocols.hq import utc_text
from protocols.pos import LookupParams, QuoteLine, QuoteParams
from tests.edge.evidence_day import checked, copied, opened, tamper
from tests.edge.shop import BREAD, HOUR_MS, L1, MILK, NOON_MS, Shop, facts, price

PROMO: dict[str, Any] = {"kind": "promo", "price_id": "p"}
ANNA = Who("Anna", "uid 7")


def window(start_h: int, end_h: int) -> dict[str, Any]:
    return {"effective_from": utc_text(NOON_MS + start_h * HOUR_MS), "effective_to": utc_text(NOON_MS + end_h * HOUR_MS)}


def restored(shop: Shop, hours: int = 3) -> None:
    """The file as it is comes back as a copy, hours later: what happened meanwhile is lost."""
    shop.close()
    tamper(shop.path, "DELETE FROM meta WHERE key = 'incarnation'")
    shop.clock.pass_ms(hours * HOUR_MS)
    shop.open()


def member_price(shop: Shop) -> int:
    return shop.desk.lookup("lane-1", LookupParams(item_id="milk", member=True)).price.amount_minor


# -- an older copy ---------------------------------------------------------------------------------------------------------


@pytest.fixture
async def shelf(stocked: Shop) -> Shop:
    """L1 provably shows milk at 1.00."""
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 100)
    return stocked


async def test_a_label_that_the_copy_says_is_out_of_use_may_hang_there_again(shelf: Shop) -> None:
    stamp = shelf.store.stamp()
    await shelf.store.run(partial(people.retire, stamp=stamp, label_id=L1, reason=people.Retire.REMOVED, who=ANNA, dwell_ms=0))
    await shelf.prices(price("milk", 120, rev=2))
    assert shelf.charge(MILK) == 120
    restored(shelf)
    assert (shelf.charge(MILK), shelf.store.view.labels[L1].retired) == (100, "")
    assert checked(shelf.path).trouble == []


async def test_a_promotion_that_ran_in_the_lost_time_may_be_on_a_label(shelf: Shop) -> None:
    await shelf.prices(price("milk", 60, **PROMO, **window(1, 2)))
    restored(shelf)
    await shelf.store.put_in_force([MILK])
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (60, "unproven")
    assert shelf.store.read(lambda db: db.execute("SELECT count(*) FROM target_log WHERE item_id = 'milk'").get) == 1
    shelf.close()
    assert checked(shelf.path).trouble == []
    shelf.open()


async def test_what_hq_tells_later_of_the_lost_time_may_be_on_a_label(shelf: Shop) -> None:
    restored(shelf)
    assert shelf.charge(MILK) == 100
    await shelf.prices(price("milk", 60, **PROMO, **window(1, 2)), price("milk", 50, kind="member", price_id="m", **window(1, 2)))
    assert (shelf.charge(MILK), shelf.guard(MILK), member_price(shelf)) == (60, "unproven", 50)
    await shelf.prices(
        price("milk", 40, kind="promo", price_id="q", **window(5, 6)), price("milk", 30, kind="promo", price_id="r", **window(-3, -1))
    )
    assert shelf.charge(MILK) == 60, "nobody lost the time before the copy, nor the time to come"


async def test_a_price_for_members_of_the_lost_time_binds_members_alone(shelf: Shop) -> None:
    await shelf.prices(price("milk", 50, kind="member", price_id="m", **window(1, 2)))
    restored(shelf)
    assert (shelf.charge(MILK), member_price(shelf)) == (100, 50)


async def test_an_item_bound_after_the_restore_is_bounded_by_the_lost_time_too(shelf: Shop) -> None:
    await shelf.prices(price("bread", 90, **PROMO, **window(1, 2)))
    restored(shelf)
    await shelf.bind(L1, BREAD)
    assert shelf.charge(BREAD) == 90


async def test_a_clock_that_nobody_vouches_for_ends_no_lost_time(shelf: Shop) -> None:
    await shelf.prices(price("milk", 60, **PROMO, **window(100, 101)))
    shelf.clock.trusted = False
    restored(shelf)
    assert shelf.charge(MILK) == 60


async def test_time_without_the_daemon_is_not_lost(shelf: Shop) -> None:
    """Nobody sent anything to any label."""
    await shelf.prices(price("milk", 60, **PROMO, **window(1, 2)))
    shelf.close()
    shelf.clock.pass_ms(3 * HOUR_MS)
    shelf.open()
    await shelf.store.put_in_force([MILK])
    await shelf.store.add_unknown(L1, "restart")
    assert shelf.charge(MILK) == 100


async def test_proof_ends_what_the_lost_time_may_have_brought(shelf: Shop) -> None:
    await shelf.prices(price("milk", 60, **PROMO, **window(1, 2)))
    restored(shelf)
    shelf.clock.pass_ms(unknown.LOST_OFFERS_MS + 1)
    await shelf.shows(L1, MILK, 100)
    assert shelf.charge(MILK) == 100
    await shelf.prices(price("milk", 60, rev=2, **PROMO, **window(1, 2)))
    assert shelf.charge(MILK) == 100


async def test_no_proof_ends_it_while_a_radio_may_still_offer_a_picture_of_the_lost_time(shelf: Shop) -> None:
    await shelf.prices(price("milk", 60, **PROMO, **window(1, 2)))
    restored(shelf)
    attempt_id = await shelf.attempt(L1, [(MILK, 100)])
    assert not await shelf.prove(L1, attempt_id)
    assert shelf.charge(MILK) == 60
    shelf.clock.reboot()
    shelf.reopen()
    shelf.clock.pass_ms(unknown.LOST_OFFERS_MS)
    assert not await shelf.prove(L1, await shelf.attempt(L1, [(MILK, 100)])), "a reboot began it anew"
    shelf.clock.pass_ms(1)
    await shelf.shows(L1, MILK, 100)
    assert shelf.charge(MILK) == 100


def test_no_driver_offers_a_picture_for_longer() -> None:
    assert OFFER_LIFETIME_MS < unknown.LOST_OFFERS_MS


async def put_back(shelf: Shop) -> None:
    """An older copy of the file, whose radios offer nothing any more: HQ is asked what it forgot."""
    shelf.close()
    copied(shelf.path, shelf.path.with_name("copy.db"))
    shelf.open()
    await shelf.bind(L1, MILK)
    shelf.close()
    copied(shelf.path.with_name("copy.db"), shelf.path)
    shelf.open()
    shelf.clock.pass_ms(HOUR_MS)


async def told(shelf: Shop, amount: int) -> None:
    offer = {"sku": "milk", "curve": [[1, amount]]}
    incarnation = shelf.store.outbox_state().incarnation
    await shelf.say("history.v1", {"restored": incarnation, "prices": [offer], "last": True})


async def test_what_a_display_showed_before_its_proof_dwells_though_hq_tells_it_afterwards(shelf: Shop) -> None:
    await put_back(shelf)
    await shelf.shows(L1, MILK, 100, dwell_ms=HOUR_MS)
    assert shelf.charge(MILK) == 100
    await told(shelf, 60)
    assert (shelf.charge(MILK), shelf.guard(MILK)) == (60, "dwell")
    shelf.clock.pass_ms(HOUR_MS)
    assert shelf.charge(MILK) == 100


async def test_a_price_that_was_read_ends_nothing_before_hq_told_what_may_stand_beside_it(shelf: Shop) -> None:
    await put_back(shelf)
    look = partial(people.confirm, label_id=L1, claims=[Claim(MILK, 100)], attempt_id=None, who=ANNA, dwell_ms=0)
    with pytest.raises(Refused, match="HQ has not told yet"):
        await shelf.store.run(partial(look, stamp=shelf.store.stamp()))
    await told(shelf, 60)
    with pytest.raises(Refused, match="beside it"):  # 0.60 may be a price for members
        await shelf.store.run(partial(look, stamp=shelf.store.stamp()))


async def test_a_strange_price_ends_nothing_before_hq_told_what_may_stand_beside_it(shelf: Shop) -> None:
    await put_back(shelf)
    look = partial(people.confirm, label_id=L1, claims=[Claim(MILK, 90)], attempt_id=None, who=ANNA, dwell_ms=0)
    assert await shelf.store.run(partial(look, stamp=shelf.store.stamp())) == Confirmed(None, ())
    await told(shelf, 60)
    assert shelf.charge(MILK) == 60


async def test_a_copy_put_back_is_known_by_what_is_kept_beside_the_file(shelf: Shop) -> None:
    before = shelf.store.outbox_state().incarnation
    shelf.close()
    copied(shelf.path, shelf.path.with_name("copy.db"))
    shelf.open()
    await shelf.prices(price("milk", 60, **PROMO))
    await shelf.shows(L1, MILK, 60)
    shelf.close()
    copied(shelf.path.with_name("copy.db"), shelf.path)
    shelf.open()
    assert shelf.store.outbox_state().incarnation != before
    assert shelf.guard(MILK) is None, "the copy knows nothing of the promotion, HQ will say it again"
    assert [str(entry.kind) for entry in shelf.store.view.may_of_label(L1).values()] == ["picture", "unknown"]
    assert shelf.alerts()[-1] == "store_restored"
    again = shelf.store.outbox_state().incarnation
    shelf.reopen()
    assert (shelf.store.outbox_state().incarnation, shelf.alerts().count("store_restored")) == (again, 1)


async def test_after_a_copy_was_put_back_no_picture_leaves_while_a_lost_quote_may_live(shelf: Shop) -> None:
    """Nor while a till may have a table of prices: the copy knows of neither."""
    shelf.close()
    copied(shelf.path, shelf.path.with_name("copy.db"))
    shelf.open()
    await shelf.desk.quote("lane-1", QuoteParams("b", (QuoteLine("1", 1, item_id="milk"),)))
    shelf.close()
    copied(shelf.path.with_name("copy.db"), shelf.path)
    shelf.open()
    assert shelf.store.view.quotes == {}
    cheaper = [(MILK, Curve.plain(90))]
    assert shelf.desk.mirror.blocks(cheaper, member=False)
    shelf.clock.link += facts().quote_valid_ms
    shelf.clock.pass_ms(facts().quote_valid_ms)
    assert not shelf.desk.mirror.blocks(cheaper, member=False)
    shelf.reopen()
    assert not shelf.desk.mirror.blocks(cheaper, member=False)


async def test_a_copy_that_came_without_what_was_kept_is_an_older_one(shelf: Shop) -> None:
    shelf.reopen()
    before = shelf.store.outbox_state().incarnation
    shelf.close()
    witness.head_file(shelf.path).unlink()
    shelf.open()
    assert shelf.store.outbox_state().incarnation != before


async def test_a_crash_and_a_restart_are_no_restore(shelf: Shop) -> None:
    """The head that was kept last is older than the file then."""
    before = shelf.store.outbox_state().incarnation
    await shelf.store.keep_head()
    kept = witness.head_file(shelf.path).read_text()
    await shelf.shows(L1, MILK, 100)
    shelf.close()
    witness.head_file(shelf.path).write_text(kept)
    shelf.open()
    shelf.reopen()
    assert shelf.store.outbox_state().incarnation == before
    assert len(shelf.store.view.may_of_label(L1)) == 1


@pytest.mark.parametrize("text", ["", "x:y", "5", "3:" + "0" * 64])
async def test_a_head_that_cannot_be_the_file_s_is_another_history(shelf: Shop, text: str) -> None:
    before = shelf.store.outbox_state().incarnation
    shelf.close()
    witness.head_file(shelf.path).write_text(text)
    shelf.open()
    assert shelf.store.outbox_state().incarnation != before


async def test_before_the_first_entry_there_is_nothing_to_go_back_to(shelf: Shop) -> None:
    witness.keep(shelf.path.with_name("other.db"), AuditHead(0, "0" * 64))
    assert not await shelf.store.run(lambda db: (witness.went_back(db, shelf.path.with_name("other.db")), Delta()))


# -- looks -----------------------------------------------------------------------------------------------------------------


async def look(shop: Shop, *claims: tuple[ItemId, int], attempt: int | None = None) -> Confirmed:
    said = [Claim(item, amount) for item, amount in claims]
    stamp = shop.store.stamp()
    return await shop.store.run(partial(people.confirm, stamp=stamp, label_id=L1, claims=said, attempt_id=attempt, who=ANNA, dwell_ms=0))


async def lost(shop: Shop) -> None:
    """L1 carries milk and bread, and lost its display after both had been cheaper."""
    await shop.heard(L1)
    await shop.bind(L1, MILK, BREAD)
    await shop.shows(L1, MILK, 100)
    await shop.prices(price("milk", 80, rev=2), price("bread", 150, rev=2))
    await shop.prices(price("milk", 120, rev=3), price("bread", 250, rev=3))
    await shop.store.add_unknown(L1, "restart")
    shop.clock.pass_ms(LOOK_MARGIN_MS)
    assert (shop.charge(MILK), shop.charge(BREAD)) == (80, 150)


async def test_half_a_look_ends_no_unknown_display(stocked: Shop) -> None:
    """The other item's price may be an older one yet."""
    await lost(stocked)
    with pytest.raises(Refused, match="is for bread too"):
        await look(stocked, (MILK, 120))
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (80, 150)
    await look(stocked, (MILK, 120), (BREAD, 250))
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (100, 250), "1.00 was proven, and no newer picture was"


async def test_half_a_look_proves_no_picture_of_two_items(stocked: Shop) -> None:
    await lost(stocked)
    await stocked.attempt(L1, [(MILK, 120), (BREAD, 250)])
    stocked.clock.pass_ms(LOOK_MARGIN_MS)
    with pytest.raises(Refused, match="is for bread too"):
        await look(stocked, (MILK, 120))
    assert stocked.charge(BREAD) == 150
    await look(stocked, (MILK, 120), (BREAD, 250))
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (120, 250)


async def test_what_is_no_longer_sold_need_not_be_read(stocked: Shop) -> None:
    await lost(stocked)
    await stocked.say("item.batch.v1", {"removed": ["bread"]})
    await look(stocked, (MILK, 70))
    assert stocked.charge(MILK) == 70


async def test_a_label_may_show_what_it_was_bound_to_before(stocked: Shop) -> None:
    await lost(stocked)
    await stocked.bind(L1, MILK)
    await look(stocked, (BREAD, 199))
    assert stocked.charge(BREAD) == 199


async def test_a_price_that_had_more_beside_it_does_not_end_an_unknown_display(shelf: Shop) -> None:
    """Three for 2.50 hung there beside the very price that a person reads now."""
    await shelf.prices(price("milk", None, rev=2, curve=[[1, 120], [3, 250]]))
    await shelf.prices(price("milk", 120, rev=3))
    await shelf.store.add_unknown(L1, "restart")
    await shelf.attempt(L1, [(MILK, 120)])
    shelf.clock.pass_ms(LOOK_MARGIN_MS)
    assert shelf.charge(MILK, 3) == 250
    with pytest.raises(Refused, match="multi-buy or a members' price beside it"):
        await look(shelf, (MILK, 120))
    assert shelf.charge(MILK, 3) == 250
    attempt = max(shelf.store.view.may_of_label(L1))
    await look(shelf, attempt=attempt)
    assert shelf.charge(MILK, 3) == 360


async def test_a_strange_price_that_had_more_beside_it_binds_and_ends_nothing(shelf: Shop) -> None:
    await shelf.prices(price("milk", 50, kind="member", price_id="m"))
    await shelf.store.add_unknown(L1, "restart")
    await shelf.prices(price("milk", 50, kind="member", price_id="m", rev=2, cancelled=True))
    shelf.clock.pass_ms(LOOK_MARGIN_MS)
    await look(shelf, (MILK, 90))
    assert (shelf.charge(MILK), member_price(shelf)) == (90, 50)


# -- how it is written -----------------------------------------------------------------------------------------------------


async def test_what_is_no_cheaper_than_what_is_written_already_is_not_written(shelf: Shop) -> None:
    await shelf.store.add_unknown(L1, "restart")
    for rev, amount in enumerate((120, 90, 110, 90, 80), start=2):
        await shelf.prices(price("milk", amount, rev=rev))
    await shelf.prices(price("milk", 85, kind="member", price_id="m"))
    assert shelf.rows(
        "SELECT audience, curve FROM attempt_offer JOIN attempt USING (attempt_id) WHERE kind = 'unknown' AND label_id = ?", L1
    )[-3:] == [("all", "[[1,100]]"), ("all", "[[1,90]]"), ("all", "[[1,80]]")]


class Listening:
    """A connection that keeps what it was asked."""

    def __init__(self, db: apsw.Connection) -> None:
        self.asked: list[tuple[str, Any]] = []
        self._db = db

    def execute(self, sql: str, args: Any = (), /) -> Any:
        self.asked.append((sql, args))
        return self._db.execute(sql, args)

    def executemany(self, sql: str, args: Iterable[Any], /) -> Any:
        return self._db.executemany(sql, args)

    def last_insert_rowid(self) -> int:
        return self._db.last_insert_rowid()


async def test_no_search_for_unknown_displays_reads_the_history_of_all_labels(shelf: Shop) -> None:
    """400 days of pictures are some 600,000 rows, and each price put in force asks."""
    await shelf.store.add_unknown(L1, "restart")
    with opened(shelf.path) as connection:
        db = Listening(connection)
        db.execute("BEGIN")
        stamp, delta = shelf.store.stamp(), Delta()
        unknown.add(db, stamp, L1, "again", delta, lost_since_ms=1)
        unknown.target_changed(db, stamp, MILK, shelf.store.view.in_force[MILK], delta)
        unknown.rows_changed(db, stamp, [MILK], delta)
        unknown.bound(db, stamp, L1, MILK, delta)
        asked = [(sql, args) for sql, args in db.asked if sql.startswith("SELECT") and "FROM audit" not in sql]
        plans = {sql: [str(row[3]) for row in db.execute(f"EXPLAIN QUERY PLAN {sql}", args)] for sql, args in asked}
    assert len(plans) > 5
    scans = {
        sql: plan
        for sql, plan in plans.items()
        if not sql.endswith("LIMIT 1")
        for step in plan
        if step.startswith("SCAN") and "VIRTUAL TABLE" not in step
    }
    assert scans == {}
