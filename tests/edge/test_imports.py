"""Files into the store: all or nothing, the price guard's way, held where too much would change, and each content once."""

from __future__ import annotations

import asyncio
import io
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.import_feed import Decimal, Feed, FeedKind, Mode
from edge.import_frames import Format
from edge.import_reader import ReaderFailed, read_in_process
from edge.model import ItemId, PriceKind
from edge.store import import_apply, import_keep
from edge.store.db import Refused
from edge.store.imports import ImportState
from protocols.pos import LookupParams
from tests.edge.import_bench import Crash, Steps, bring, crash_in_store, desk_of, lines, mistakes
from tests.edge.shop import BREAD, DAY_MS, L1, MILK, MILK_CODE, Shop, context

TEA = ItemId("tea")
CATALOGUE = "sku,name,price,gtin,stock\n" + f"milk,Milk,1.00,{MILK_CODE},5\nbread,Bread,2.00,,\ntea,Tea,3.00,,\n"


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """A store whose prices come from files."""
    found = Shop(tmp_path, context_=context(prices_from_hq=False))
    found.open()
    yield found
    found.close()


@pytest.fixture
async def stocked(shop: Shop) -> Shop:
    assert (await bring(shop, CATALOGUE)).account.state is ImportState.DONE
    return shop


def many(count: int, price: str = "1.00", skip: int = 0) -> str:
    return "sku,name,price\n" + "".join(f"i{n},Item {n},{price}\n" for n in range(skip, count))


# -- all or nothing --------------------------------------------------------------------------------------------------------


async def test_a_file_opens_the_lanes_and_the_same_file_again_is_no_news(shop: Shop) -> None:
    assert not shop.desk.ready()
    assert (await bring(shop, CATALOGUE)).account.counts.new == 3
    assert shop.desk.ready()
    assert (shop.charge(MILK), shop.store.view.stock) == (100, {MILK: 5})
    audit, again = shop.value("SELECT count(*) FROM audit"), await bring(shop, CATALOGUE)
    assert again.same
    assert shop.value("SELECT count(*) FROM audit") == audit
    shop.reopen()
    assert shop.desk.ready()
    assert (shop.charge(MILK), shop.store.view.stock) == (100, {MILK: 5})


async def test_the_same_content_after_another_is_news(stocked: Shop) -> None:
    await bring(stocked, "sku,price\nmilk,1.20\n")
    await bring(stocked, "sku,price\nmilk,1.10\n")
    back = await bring(stocked, "sku,price\nmilk,1.20\n")
    assert (back.same, stocked.charge(MILK)) == (False, 120)


async def test_one_bad_line_refuses_the_file_and_every_bad_line_is_named(stocked: Shop) -> None:
    brought = await bring(stocked, "sku,name,price\nmilk,Milk,1.09\nsoap,,2.00\nbread,Bread,x\nbeer,Beer,1.00\n")
    assert brought.account.state is ImportState.REJECTED
    assert [text.split(":")[0] for text in mistakes(stocked, brought)] == ["line 3, column name", "line 4, column price"]
    assert (stocked.charge(MILK), ItemId("beer") in stocked.store.view.items) == (100, False)


async def test_what_the_catalogue_does_not_know_is_named_with_its_line(stocked: Shop) -> None:
    for kind, text, said in (
        (FeedKind.ITEMS, "sku,price\ncaviar,9\n", "line 2, column name: a name: the item is new"),
        (FeedKind.PRICES, "sku,price\nmilk,1\ncaviar,9\n", "line 3, column sku: found 'caviar', expected an item of the catalogue"),
        (FeedKind.STOCK, "sku,quantity\ncaviar,9\n", "line 2, column sku: found 'caviar'"),
        (FeedKind.LABELS, "label,items\nAA01,milk caviar\n", "line 2, column items: found 'caviar'"),
        (FeedKind.LABELS, "label,items,template\nAA01,milk,nope\n", "line 2, column template: found 'nope'"),
        (FeedKind.STOCK, f"sku,quantity\nmilk,1\n{MILK_CODE},2\n", "line 3, column sku: found 'milk', expected each once: it is on line 2"),
    ):
        brought = await bring(stocked, text, kind)
        assert brought.account.state is ImportState.REJECTED
        assert mistakes(stocked, brought)[0].startswith(said)


async def test_a_dry_run_says_what_would_happen_and_changes_nothing(stocked: Shop) -> None:
    audit = stocked.value("SELECT count(*) FROM audit")
    brought = await bring(stocked, "sku,name,price\nmilk,Milk,1.20\nsoap,Soap,2\n", mode=Mode.FULL, dry_run=True)
    assert brought.account.state is ImportState.CHECKED
    assert lines(stocked, brought) == [("milk", "changed", "price 1.00 -> 1.20"), ("soap", "new", "price 2.00")]
    assert (brought.account.counts.removed, stocked.charge(MILK)) == (2, 100)
    assert stocked.value("SELECT count(*) FROM audit") == audit
    assert (await bring(stocked, "sku,name,price\nmilk,Milk,1.20\nsoap,Soap,2\n", mode=Mode.FULL)).account.state is ImportState.DONE


async def test_prices_are_refused_where_they_come_from_hq(stocked: Shop) -> None:
    desk = desk_of(stocked)
    desk._prices_from_file = False
    with pytest.raises(Refused, match="HQ alone"):
        await bring(stocked, CATALOGUE, desk=desk)
    assert (await bring(stocked, "sku,quantity\nmilk,3\n", FeedKind.STOCK, desk=desk)).account.state is ImportState.DONE


# -- items ----------------------------------------------------------------------------------------------------------------


async def test_a_column_that_the_file_lacks_is_left_and_an_empty_cell_empties(stocked: Shop) -> None:
    await bring(stocked, "sku,brand,origin,plu,attribute:allergens\nmilk,Acme,DE,4011,Milk\n")
    await bring(stocked, "sku,origin\nmilk,\n")
    item = stocked.store.view.items[MILK]
    assert (item.name, item.brand, item.origin, dict(item.attributes)) == ("Milk", "Acme", "", {"allergens": "Milk", "plu": "4011"})
    assert stocked.desk.lookup("lane-1", LookupParams(code="4011")).item_id == "milk"
    assert stocked.desk.lookup("lane-1", LookupParams(code=MILK_CODE)).item_id == "milk"
    await bring(stocked, "sku,plu,gtin\nmilk,,\n")
    assert dict(stocked.store.view.items[MILK].attributes) == {"allergens": "Milk"}
    assert MILK not in stocked.store.view.codes


async def test_a_rise_waits_for_the_label_and_a_cut_does_not(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 100)
    await bring(stocked, "sku,price\nmilk,1.20\n")
    assert (stocked.charge(MILK), stocked.guard(MILK)) == (100, "shelf_lower")
    await stocked.shows(L1, MILK, 120)
    assert stocked.charge(MILK) == 120
    await bring(stocked, "sku,price\nmilk,0.80\n")
    assert stocked.charge(MILK) == 80


async def test_a_wild_price_is_held_and_the_files_next_word_replaces_it(stocked: Shop) -> None:
    wild = await bring(stocked, "sku,price\nmilk,110\nbread,2.10\n")
    assert [line[:2] for line in lines(stocked, wild)] == [("milk", "held"), ("bread", "changed")]
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (100, 210)
    ((hold, *_),) = stocked.store.held_prices()
    await stocked.store.release_hold(hold, "Ann")
    await bring(stocked, "sku,price\nmilk,110\nbread,2.20\n")
    assert stocked.store.held_prices()[0][0] == hold  # still the same: Ann's word counts
    other = await bring(stocked, "sku,price\nmilk,220\n")
    assert lines(stocked, other)[0][1] == "held"
    ((newer, *_),) = stocked.store.held_prices()
    assert newer != hold
    back = await bring(stocked, "sku,price\nmilk,1.00\n")
    assert lines(stocked, back) == [("milk", "changed", "a held change is dropped")]
    assert stocked.store.held_prices() == []


async def test_opening_stock_is_booked_once_and_only_where_nothing_was_counted(stocked: Shop) -> None:
    await bring(stocked, "sku,stock\nmilk,50\nbread,7\n")
    assert stocked.store.view.stock == {MILK: 5, BREAD: 7}


async def test_a_full_file_takes_away_what_it_does_not_name_and_a_later_one_brings_it_back(stocked: Shop) -> None:
    gone = await bring(stocked, "sku,name,price\nmilk,Milk,1.00\nbread,Bread,2.00\n", mode=Mode.FULL)
    assert gone.account.state is ImportState.DONE  # three items: a share says nothing
    assert lines(stocked, gone)[-1] == ("tea", "removed", "not in the file: no longer sold")
    assert stocked.store.view.items[TEA].removed
    await bring(stocked, CATALOGUE, mode=Mode.FULL)
    assert not stocked.store.view.items[TEA].removed


# -- held for people -------------------------------------------------------------------------------------------------------


async def test_a_full_file_that_removes_too_much_waits_for_a_person(shop: Shop) -> None:
    await bring(shop, many(100), mode=Mode.FULL)
    held = await bring(shop, many(100, skip=11), mode=Mode.FULL)
    assert held.account.state is ImportState.HELD
    assert held.account.reason == "removes 11 and changes 0 of 100 items, more than 10 %"
    assert (await bring(shop, many(100, skip=11), mode=Mode.FULL)).same
    assert not shop.store.view.items[ItemId("i0")].removed
    shop.reopen()
    done = await desk_of(shop).approve(held.account.import_id, "Ann", "uid 0")
    assert (done.state, done.counts.removed, done.persons) == (ImportState.DONE, 11, ("Ann",))
    assert shop.store.view.items[ItemId("i0")].removed
    assert shop.value("SELECT count(*) FROM audit WHERE what = 'import.approved' AND actor = 'Ann (uid 0)'") == 1
    within = await bring(shop, many(100, skip=19), mode=Mode.FULL)
    assert within.account.state is ImportState.DONE


async def test_a_file_that_changes_a_fifth_of_all_prices_needs_two_persons(shop: Shop) -> None:
    await bring(shop, many(100))
    held = await bring(shop, many(100, "1.10", skip=75))
    assert (held.account.state, held.account.persons_needed) == (ImportState.HELD, 2)
    desk, id_ = desk_of(shop), held.account.import_id
    assert (await desk.approve(id_, "Ann", "uid 0")).state is ImportState.HELD
    assert (await desk.approve(id_, "Ann", "uid 0")).state is ImportState.HELD
    assert shop.charge(ItemId("i99")) == 100
    assert (await desk.approve(id_, "Bob", "uid 0")).state is ImportState.DONE
    assert (shop.charge(ItemId("i99")), shop.charge(ItemId("i0"))) == (110, 100)
    with pytest.raises(Refused, match="no import waits"):
        await desk.approve(id_, "Ann", "uid 0")


async def test_a_discarded_file_changes_nothing_and_is_audited(shop: Shop) -> None:
    await bring(shop, many(100), mode=Mode.FULL)
    held = await bring(shop, many(10), mode=Mode.FULL)
    gone = await desk_of(shop).discard(held.account.import_id, "Ann", "uid 0")
    assert gone.state is ImportState.DISCARDED
    assert sum(item.removed for item in shop.store.view.items.values()) == 0
    assert shop.value("SELECT actor FROM audit WHERE what = 'import.discarded'") == "Ann (uid 0)"


async def test_a_newer_full_file_replaces_one_that_waits_and_a_delta_waits_behind_it(shop: Shop) -> None:
    await bring(shop, many(100), mode=Mode.FULL)
    feed = Feed("all", FeedKind.ITEMS, Mode.FULL)
    await bring(shop, many(100), feed=feed)
    held = await bring(shop, many(10), feed=feed)
    with pytest.raises(Refused, match="waits for a person"):
        await bring(shop, "sku,price\ni0,1.01\n", feed=feed.with_mode(Mode.DELTA))
    assert (await bring(shop, many(99), feed=feed)).account.state is ImportState.DONE
    account = desk_of(shop).find(held.account.import_id)
    assert account is not None
    assert account.state is ImportState.SUPERSEDED


# -- prices, stock, labels -------------------------------------------------------------------------------------------------


async def test_a_promotion_runs_from_its_day_to_its_day(stocked: Shop) -> None:
    feed = Feed("promo", FeedKind.PRICES, Mode.FULL, price_kind=PriceKind.PROMO)
    await bring(stocked, f"sku,price,from,to\n{MILK_CODE},0.80,2026-01-10,2026-01-11\n", feed=feed)
    assert stocked.charge(MILK) == 100
    stocked.clock.pass_ms(DAY_MS)
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 80
    stocked.clock.pass_ms(2 * DAY_MS)
    await stocked.store.put_in_force([MILK])
    assert stocked.charge(MILK) == 100
    await bring(stocked, "sku,price,from,to\nmilk,0.70,,2026-02-28\n", feed=feed)
    assert stocked.charge(MILK) == 70
    gone = await bring(stocked, "sku,price,from,to\nbread,1.50,,2026-02-28\n", feed=feed)
    assert lines(stocked, gone)[-1] == ("milk file:promo:", "removed", "not in the file: taken back")
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (100, 150)
    assert stocked.store.view.in_force[MILK].row.kind is PriceKind.BASE


async def test_a_bundle_is_charged(stocked: Shop) -> None:
    await bring(stocked, "sku,price,bundle_quantity,bundle_price\nmilk,1.00,3,2.50\n", FeedKind.PRICES)
    assert (stocked.charge(MILK, 2), stocked.charge(MILK, 3), stocked.charge(MILK, 4)) == (200, 250, 350)


async def test_stock_is_counted_or_moved_and_a_full_count_empties_the_rest(stocked: Shop) -> None:
    await bring(stocked, "sku,quantity,change\nmilk,7,\nbread,,4\n", FeedKind.STOCK)
    assert stocked.store.view.stock == {MILK: 7, BREAD: 4}
    await bring(stocked, "sku,quantity\nbread,4\n", FeedKind.STOCK, Mode.FULL)
    assert stocked.store.view.stock == {MILK: 0, BREAD: 4}
    told = [row[0] for row in stocked.rows("SELECT json_extract(data, '$.event') FROM outbox WHERE kind = 'stock' ORDER BY seq")]
    assert told == ["stock.counted", "stock.adjusted", "stock.counted"]


async def test_a_count_of_this_morning_does_not_undo_what_was_sold_since(stocked: Shop) -> None:
    stocked.clock.pass_ms(3_600_000)
    await bring(stocked, "sku,change\nmilk,-2\n", FeedKind.STOCK)  # sold at 13:00 UTC, 14:00 in Berlin
    await bring(stocked, "sku,quantity,counted_at\nmilk,10,2026-01-09 13:30\n", FeedKind.STOCK)
    assert stocked.store.view.stock[MILK] == 8


async def test_labels_are_bound_moved_and_unbound_and_a_retired_one_is_named(stocked: Shop) -> None:
    await bring(stocked, f"label,items,aisle\nAA01,milk,3\nAA02,{MILK_CODE} bread,\n", FeedKind.LABELS)
    assert stocked.store.view.bindings["AA02"].items == (MILK, BREAD)
    moved = await bring(stocked, "label,items\nAA01,tea\nAA02,milk bread\n", FeedKind.LABELS)
    assert [line[:2] for line in lines(stocked, moved)] == [("AA01", "changed"), ("AA02", "unchanged")]
    assert stocked.store.view.bindings["AA01"].place.aisle == "3"
    gone = await bring(stocked, "label,items\nAA02,milk bread\n", FeedKind.LABELS, Mode.FULL)
    assert lines(stocked, gone)[-1] == ("AA01", "removed", "not in the file: unbound")
    assert stocked.store.view.bindings["AA01"].items == ()


async def test_rows_as_json_go_the_same_way(stocked: Shop) -> None:
    body = io.BytesIO(b'[{"sku": "milk", "price": 1.2}, {"sku": "tea", "price": "2.9"}]')
    desk = desk_of(stocked)
    await desk.bring(body, desk.feed(None), "rows", "test", format_=Format.JSON)
    assert (stocked.charge(MILK), stocked.charge(TEA)) == (120, 290)
    for text in (b"{}", b"[1]", b'[{"sku": {}}]', b"[", b"\xff"):
        bad = await desk.bring(io.BytesIO(text), desk.feed(None), "rows", "test", format_=Format.JSON)
        assert bad.account.state is ImportState.REJECTED


# -- crashes --------------------------------------------------------------------------------------------------------------


async def test_a_crash_at_any_transaction_leaves_a_file_unread_or_wholly_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file by command, its pieces one row each; what was accepted goes on after the restart, without anybody sending it again."""
    monkeypatch.setattr(import_apply, "PIECE_ROWS", 1)
    text, ends, fatal = "sku,name,price\nmilk,Milk,1.20\nsoap,Soap,2.00\n", set(), 0
    while True:
        folder = tmp_path / str(fatal)
        await asyncio.to_thread(folder.mkdir)
        shop = Shop(folder, context_=context(prices_from_hq=False))
        shop.open()
        await bring(shop, CATALOGUE)
        crash_in_store(shop, Steps(fatal))
        crashed = False
        try:
            await bring(shop, text, mode=Mode.FULL)
        except Crash:
            crashed = True
        shop.reopen()
        await desk_of(shop).resume()
        sold = sorted(item.item_id for item in shop.store.view.items.values() if not item.removed)
        ends.add((shop.charge(MILK), *sold))
        states = {state for (state,) in shop.rows("SELECT state FROM import_file")}
        assert states == {"done"}, fatal
        shop.close()
        if not crashed:
            break
        fatal += 1
    assert ends == {(100, "bread", "milk", "tea"), (120, "milk", "soap")}
    assert fatal > 8


# -- the process that reads ------------------------------------------------------------------------------------------------


async def test_the_process_reads_as_this_one_does_and_ends(stocked: Shop, tmp_path: Path) -> None:
    file = tmp_path / "in.csv"
    file.write_bytes("ArtNr;Bez;VK\nmilk;Käse;1,20\n".encode("cp1252"))
    feed = Feed("erp", FeedKind.ITEMS, columns={"sku": "ArtNr", "name": "Bez", "price": "VK"}, decimal=Decimal.COMMA)
    desk = desk_of(stocked, feed)
    desk._reader = read_in_process
    with file.open("rb") as stream:
        brought = await desk.bring(stream, feed, "in.csv", "test")
    assert brought.account.state is ImportState.DONE
    assert (stocked.store.view.items[MILK].name, stocked.charge(MILK)) == ("Käse", 120)


async def test_a_reader_that_dies_leaves_nothing_behind(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.import_reader.sys.executable", "/bin/false")
    desk = desk_of(stocked)
    desk._reader = read_in_process
    with tempfile.TemporaryFile() as stream, pytest.raises(ReaderFailed, match="ended with 1"):
        await desk.bring(stream, desk.feed(None), "x", "test")
    assert stocked.value("SELECT count(*) FROM import_file WHERE state = 'staging'") == 0


# -- bounds ----------------------------------------------------------------------------------------------------------------


async def test_rows_of_old_imports_are_forgotten_and_accounts_do_not_grow(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_keep, "KEPT_PER_FEED", 3)
    monkeypatch.setattr(import_keep, "FORGET_ROWS", 2)
    for number in range(6):
        await bring(stocked, f"sku,price\nmilk,1.{number}0\nbread,2.{number}0\ntea,3.{number}0\n")
    assert stocked.value("SELECT count(*) FROM import_row") <= 6  # of the last, and of the one before until the next begins
    assert stocked.value("SELECT count(*) FROM import_file") <= 4
