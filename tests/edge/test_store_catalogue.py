"""Prices on disk: versions, what is in force, anomaly stops, what a whole catalogue takes away."""

from __future__ import annotations

import apsw
import pytest

from edge.model import ItemId
from edge.store.db import Refused
from protocols.hq import utc_text
from tests.edge.import_bench import bring
from tests.edge.shop import BREAD, HOUR_MS, HQ_TWO, L1, MILK, MILK_CODE, NOON_MS, Hq, Shop, item, price


def at(hours: float) -> str:
    return utc_text(NOON_MS + int(hours * HOUR_MS))


def promo(amount: int | None, rev: int = 1, **more: object) -> dict[str, object]:
    return price("milk", amount, rev, kind="promo", price_id="p", **more)


# -- versions --------------------------------------------------------------------------------------------------------------


async def test_an_older_or_equal_version_changes_nothing(stocked: Shop) -> None:
    await stocked.prices(price("milk", 120, rev=5))
    await stocked.prices(price("milk", 90, rev=4), price("milk", 80, rev=5))
    assert stocked.charge(MILK) == 120


async def test_two_versions_in_one_batch_leave_the_newer_in_either_order(stocked: Shop) -> None:
    await stocked.prices(price("milk", 110, rev=3), price("milk", 90, rev=2))
    await stocked.prices(price("bread", 180, rev=2), price("bread", 210, rev=3))
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (110, 210)


async def test_a_weighed_price_is_per_its_quantity(stocked: Shop) -> None:
    assert stocked.charge(ItemId("beef"), 250) == 250
    await stocked.prices(price("beef", None, rev=2, curve=[[1, 900], [2, 1_600]], price_quantity=1_000))
    assert stocked.charge(ItemId("beef"), 2_500) == 1_600 + 450


async def test_a_scheduled_promo_starts_and_ends_by_the_clock(stocked: Shop) -> None:
    await stocked.prices(promo(80, effective_from=at(1), effective_to=at(2)))
    assert stocked.charge(MILK) == 100
    for hours, charged in ((1, 80), (2, 100)):
        stocked.clock.wall = NOON_MS + hours * HOUR_MS
        assert MILK in stocked.store.view.due_items(stocked.clock.wall)
        await stocked.store.put_in_force([MILK])
        assert stocked.charge(MILK) == charged
    assert stocked.value("SELECT count(*) FROM target_log WHERE item_id = 'milk'") == 3


async def test_a_cut_that_is_due_is_charged_before_anybody_put_it_in_force(stocked: Shop) -> None:
    await stocked.prices(promo(80, effective_from=at(1), effective_to=at(2)))
    stocked.clock.wall = NOON_MS + HOUR_MS
    assert stocked.charge(MILK) == 80
    stocked.clock.wall = NOON_MS + 2 * HOUR_MS
    assert stocked.charge(MILK) == 100


async def test_a_clock_that_goes_back_leaves_the_price_also_after_a_restart(stocked: Shop) -> None:
    await stocked.prices(promo(80, effective_to=at(1)))
    stocked.clock.wall = NOON_MS + HOUR_MS
    await stocked.store.put_in_force([MILK])
    stocked.clock.wall = NOON_MS
    stocked.reopen()
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 100


async def test_an_untrusted_clock_binds_cuts_and_no_rises(stocked: Shop) -> None:
    stocked.clock.trusted = False
    await stocked.prices(promo(80, effective_from=at(1), effective_to=at(2)))
    stocked.clock.wall = NOON_MS + HOUR_MS
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 80
    stocked.clock.wall = NOON_MS + 2 * HOUR_MS
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 80
    stocked.clock.trusted = True
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 100


async def test_a_cancelled_promo_gives_the_base_back(stocked: Shop) -> None:
    await stocked.prices(promo(80))
    assert stocked.charge(MILK) == 80
    await stocked.prices(promo(None, rev=2, cancelled=True))
    assert stocked.charge(MILK) == 100


async def test_history_is_append_only(stocked: Shop) -> None:
    db = apsw.Connection(str(stocked.path))
    for table in ("price_row", "target_log", "attempt_offer", "ledger", "sale", "audit", "first_proven"):
        if stocked.value(f"SELECT count(*) FROM {table}") == 0:
            continue
        for change in (f"DELETE FROM {table}", f"UPDATE {table} SET rowid = rowid"):
            with pytest.raises(apsw.ConstraintError):
                db.execute(change)
    db.close()


# -- anomaly stops ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("amount", [1_001, 9])
async def test_a_change_like_a_typing_error_is_held_before_it_touches_anything(stocked: Shop, amount: int) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    result = await stocked.prices(price("milk", amount, rev=2), price("bread", 210, rev=2))
    assert result.outcome == "applied"
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (100, 210)
    assert [held[1] for held in stocked.store.held_prices()] == ["milk"]
    assert ("price", 1, "held") in stocked.acks()


async def test_a_batch_that_moves_much_of_the_catalogue_is_held_whole(shop: Shop) -> None:
    skus = [f"i{n}" for n in range(100)]
    chunk: dict[str, object] = {"items": [item(sku) for sku in skus], "rows": [price(sku, 100) for sku in skus]}
    for each in shop.hq.snapshot("s1", [chunk]):
        await shop.store.receive(each)
    await shop.prices(*(price(sku, 101, rev=2) for sku in skus[:20]))
    assert shop.store.held_prices() == []
    await shop.prices(*(price(sku, 102, rev=3) for sku in skus[:21]))
    assert len(shop.store.held_prices()) == 21
    assert shop.charge(ItemId("i0")) == 101


async def test_two_persons_release_a_held_change_and_one_twice_does_not(stocked: Shop) -> None:
    await stocked.prices(price("milk", 5_000, rev=2))
    ((hold, *_),) = stocked.store.held_prices()
    assert not await stocked.store.release_hold(hold, "ann")
    assert not await stocked.store.release_hold(hold, "ann")
    assert stocked.charge(MILK) == 100
    assert await stocked.store.release_hold(hold, "bob")
    assert stocked.charge(MILK) == 5_000
    with pytest.raises(Refused):
        await stocked.store.release_hold(hold, "cyd")
    assert {row[0] for row in stocked.rows("SELECT actor FROM audit WHERE what LIKE 'price.hold.%'")} == {"ann", "bob"}


async def test_hq_releases_alone_and_discards(stocked: Shop) -> None:
    await stocked.prices(price("milk", 5_000, rev=2), price("bread", 1, rev=2))
    holds = {held[1]: held[0] for held in stocked.store.held_prices()}
    await stocked.say("price.release.v1", {"holds": [holds["milk"]]})
    await stocked.say("price.discard.v1", {"holds": [holds["bread"]]})
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (5_000, 200)
    assert stocked.store.held_prices() == []


async def test_a_later_version_supersedes_a_held_one_and_a_release_of_it_is_refused(stocked: Shop) -> None:
    await stocked.prices(price("milk", 5_000, rev=2))
    ((hold, *_),) = stocked.store.held_prices()
    await stocked.prices(price("milk", 110, rev=3))
    assert stocked.charge(MILK) == 110
    with pytest.raises(Refused):
        await stocked.store.release_hold(hold, "ann")


async def test_a_release_with_one_unknown_hold_releases_none(stocked: Shop) -> None:
    await stocked.prices(price("milk", 5_000, rev=2))
    ((hold, *_),) = stocked.store.held_prices()
    result = await stocked.say("price.release.v1", {"holds": [hold, "nobody"]})
    assert result.outcome == "rejected"
    assert stocked.charge(MILK) == 100


async def test_a_cancelled_row_is_no_typing_error(stocked: Shop) -> None:
    await stocked.prices(promo(50), promo(50, rev=2, cancelled=True))
    await stocked.prices(price("milk", 4, rev=2, cancelled=True, price_id="other"))
    assert stocked.store.held_prices() == []


# -- whole catalogues ------------------------------------------------------------------------------------------------------


async def test_a_price_that_a_whole_catalogue_does_not_name_is_withdrawn(stocked: Shop) -> None:
    await stocked.prices(promo(60))
    assert stocked.charge(MILK) == 60
    chunk: dict[str, object] = {"items": [item("milk", MILK_CODE)], "rows": [price("milk", 100)]}
    for each in stocked.hq.snapshot("s2", [chunk]):
        await stocked.store.receive(each)
    assert stocked.charge(MILK) == 100
    stocked.reopen()
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 100


async def test_a_price_that_came_after_the_catalogue_was_written_stays(stocked: Shop) -> None:
    base = stocked.hq.seqs.get("dn/price", 0)
    await stocked.prices(promo(60))
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 100)]}], base=base):
        await stocked.store.receive(each)
    assert stocked.charge(MILK) == 60


async def test_a_withdrawn_price_comes_back_when_a_catalogue_names_it_again(stocked: Shop) -> None:
    await stocked.prices(promo(60))
    without: dict[str, object] = {"items": [item("milk")], "rows": [price("milk", 100)]}
    named: dict[str, object] = {"items": [item("milk")], "rows": [price("milk", 100), promo(60)]}
    for snapshot_id, chunk, charged in (("s2", without, 100), ("s3", named, 60)):
        for each in stocked.hq.snapshot(snapshot_id, [chunk]):
            await stocked.store.receive(each)
        assert stocked.charge(MILK) == charged


async def test_items_that_a_catalogue_does_not_name_are_no_longer_sold_and_keep_their_bounds(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, BREAD)
    await stocked.shows(L1, BREAD, 150)
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 100)]}]):
        await stocked.store.receive(each)
    assert stocked.store.view.items[BREAD].removed
    assert stocked.charge(BREAD) == 150
    back = {"items": [item("bread")]}
    await stocked.say("item.batch.v1", back)
    assert not stocked.store.view.items[BREAD].removed


async def test_a_file_price_gives_way_when_hq_takes_over(shop: Shop) -> None:
    await bring(shop, "sku,name,price\nmilk,Milk,0.50\n")
    assert shop.charge(MILK) == 50
    for each in Hq(HQ_TWO).snapshot("s1", [{"items": [item("milk")], "rows": [price("milk", 100, effective_from=at(-9))]}]):
        await shop.store.receive(each)
    assert shop.charge(MILK) == 100


# -- codes -----------------------------------------------------------------------------------------------------------------


async def test_a_code_belongs_to_the_item_that_named_it_last(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("bread", MILK_CODE)]})
    view = stocked.store.view
    assert view.barcodes[MILK_CODE.zfill(14)] == (BREAD, 1)
    assert MILK not in view.codes
    printed = dict(view.codes)
    stocked.reopen()
    assert stocked.store.view.codes == printed


async def test_a_cut_binds_at_once_after_a_clock_that_ran_ahead_was_set_right(stocked: Shop) -> None:
    """What is ordered at once then starts where the latch stands, as what was ordered under the wrong clock does."""
    stocked.clock.wall += 24_000 * HOUR_MS
    stocked.clock.trusted = False
    await stocked.prices(price("milk", 120, rev=2))
    stocked.clock.wall -= 24_000 * HOUR_MS
    stocked.clock.trusted = True
    await stocked.prices(price("milk", 90, price_id="a"))
    assert stocked.charge(MILK) == 90
    await stocked.prices(price("milk", 95, rev=3))
    assert stocked.charge(MILK) == 95
