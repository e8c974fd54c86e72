"""What HQ takes back: as far as it had no effect, and HQ hears what stays."""

from __future__ import annotations

from typing import Any

from edge.hq_ports import Outcome
from edge.model import ItemId
from edge.store.hq_rows import Shown
from protocols.hq import StreamCursor
from protocols.hq_events import Stage
from tests.edge.shop import BREAD, DAY_MS, HQ_ONE, MILK, Shop, item, price
from tests.edge.test_store_sync import CHUNKS

LATER = "2026-01-10T12:00:00Z"


async def cancelled(shop: Shop, *places: tuple[str, int]) -> str | None:
    """What the ack says that stays."""
    targets = [{"stream": stream, "incarnation": HQ_ONE, "seq": seq} for stream, seq in places]
    await shop.say("cancel.v1", {"targets": targets, "reason": "typing error"})
    last = shop.staged()[-1]
    assert (last.stream, last.stage) == ("sys", Stage.APPLIED)
    return last.reason


async def settle(shop: Shop, item_id: ItemId) -> None:
    await shop.store.settle([Shown(item_id, shop.store.view.in_force[item_id].row.row_id, 1)])


async def test_a_change_held_as_implausible_is_cancelled_after_later_messages_too(stocked: Shop) -> None:
    await stocked.prices(price("milk", 9_900, rev=2))
    await stocked.prices(price("bread", 210, rev=2))
    assert await cancelled(stocked, ("price", 1)) == "price 1: 1 prices are taken back, what else it brought stays"
    assert stocked.store.held_prices() == []


async def test_hq_hears_that_prices_stay_which_the_shelf_shows_already(stocked: Shop) -> None:
    await stocked.prices(price("milk", 110, rev=2), price("bread", 210, rev=2))
    await settle(stocked, MILK)
    assert await cancelled(stocked, ("price", 1)) == "price 1: 2 prices are in force or were"
    await settle(stocked, BREAD)
    assert await cancelled(stocked, ("price", 1)) == "price 1: 0 prices are taken back, what else it brought stays"
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (110, 210)


async def test_nothing_stays_of_prices_that_are_all_for_later(stocked: Shop) -> None:
    promo: dict[str, Any] = {"kind": "promo", "price_id": "p", "effective_from": LATER}
    await stocked.prices(price("milk", 95, **promo), price("bread", 195, **promo))
    assert await cancelled(stocked, ("price", 1)) is None
    stocked.clock.pass_ms(2 * DAY_MS)
    await stocked.store.put_in_force([MILK, BREAD])
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (100, 200)


async def test_a_price_for_later_that_people_let_through_is_cancelled_too(stocked: Shop) -> None:
    await stocked.prices(price("milk", 9_900, rev=2, price_id="n", effective_from=LATER))
    ((hold_id, *_),) = stocked.store.held_prices()
    for person in ("ann", "bob"):
        await stocked.store.release_hold(hold_id, person)
    await cancelled(stocked, ("price", 1))
    stocked.clock.pass_ms(2 * DAY_MS)
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 100


async def test_a_snapshot_that_is_still_coming_is_cancelled_and_the_old_catalogue_stays(stocked: Shop) -> None:
    said = stocked.hq.snapshot("s2", CHUNKS)
    for each in said[:-1]:
        await stocked.store.receive(each)
    manifest = said[0].seq
    assert manifest is not None
    assert await cancelled(stocked, ("bulk", manifest + 1)) == (
        f"bulk {manifest + 1} is a part of the snapshot that is being received: cancel its manifest"
    )
    assert await cancelled(stocked, ("bulk", manifest)) is None
    assert stocked.store.missing_chunks() is None
    assert (await stocked.store.receive(said[-1])).outcome is Outcome.REJECTED
    refused = [(ack.seq, ack.reason) for ack in stocked.staged() if ack.stream == "bulk" and ack.stage is Stage.REJECTED]
    assert refused[0] == (manifest, "s2: cancelled by HQ: typing error")
    assert (stocked.store.view.generation, stocked.store.view.items[ItemId("beef")].removed) == ("s1", False)


async def test_a_snapshot_in_force_is_not_cancelled(stocked: Shop) -> None:
    assert await cancelled(stocked, ("bulk", 1)) == "bulk 1 is applied, or a snapshot says what it said"


async def test_hq_hears_that_a_message_was_passed_over_by_a_snapshot(shop: Shop) -> None:
    """It is not here and will never come: its cancellation has nothing to wait for."""
    for each in shop.hq.snapshot("s1", [{"items": [item("milk")], "rows": [price("milk", 100)]}], base=7):
        await shop.store.receive(each)
    assert shop.store.cursors()["price"] == StreamCursor(HQ_ONE, 7)
    assert await cancelled(shop, ("price", 5)) == "price 5: 0 prices are taken back, what else it brought stays"
    assert shop.value("SELECT count(*) FROM hq_cancel") == 0


async def test_what_was_cancelled_is_forgotten_once_its_place_is_past(stocked: Shop) -> None:
    assert await cancelled(stocked, ("price", 1), ("price", 3)) is None
    assert (await stocked.prices(price("milk", 110, rev=2))).outcome is Outcome.REJECTED
    assert stocked.rows("SELECT seq FROM hq_cancel") == [(3,)]
    await stocked.prices(price("milk", 120, rev=3))
    assert (await stocked.prices(price("milk", 130, rev=4))).detail == "cancelled by HQ: typing error"
    assert stocked.rows("SELECT seq FROM hq_cancel") == []


async def test_a_catalogue_that_was_written_before_a_price_was_cancelled_does_not_bring_it_back(stocked: Shop) -> None:
    promo = price("milk", 95, kind="promo", price_id="p", effective_from=LATER)
    await stocked.prices(promo)
    written = stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 100), promo]}])
    assert await cancelled(stocked, ("price", 1)) is None
    for each in written:
        await stocked.store.receive(each)
    assert stocked.store.view.generation == "s2"
    stocked.clock.pass_ms(2 * DAY_MS)
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 100
    await stocked.prices(promo | {"rev": 2})
    assert stocked.charge(MILK) == 95, "HQ says it again, as another version"


async def test_one_person_under_two_spellings_does_not_release_a_change(stocked: Shop) -> None:
    await stocked.prices(price("milk", 9_900, rev=2))
    ((hold_id, *_),) = stocked.store.held_prices()
    for person in ("ann", " Ann", "ANN "):
        assert not await stocked.store.release_hold(hold_id, person)
    assert await stocked.store.release_hold(hold_id, "bob")
