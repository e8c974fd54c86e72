"""The lanes' desk: what is charged, what is recorded, and that a completed sale is never refused for its content."""

from __future__ import annotations

import asyncio
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.opening_hours import OpeningHours, Span
from protocols.hq_fields import AMOUNT_MAX_MINOR
from protocols.pos import (
    CommitLine,
    CommitParams,
    CommitResult,
    LookupParams,
    QuoteLine,
    QuoteParams,
    QuoteResult,
    RpcError,
    StatusParams,
    Tender,
)
from tests.edge.shop import BEEF_CODE, BREAD, HOUR_MS, L1, MILK, MILK_CODE, NOON_MS, Shop, facts, item, price


async def quote(shop: Shop, *lines: tuple[str, str, int], basket: str = "b1", lane: str = "lane-1", member: bool = False) -> QuoteResult:
    asked = tuple(QuoteLine(line, quantity, item_id=sku) for line, sku, quantity in lines)
    return await shop.desk.quote(lane, QuoteParams(basket, asked, member))


async def commit(shop: Shop, sale_id: str = "s1", *, lane: str = "lane-1", cash: int = 100, **more: Any) -> CommitResult:
    return await shop.desk.commit(lane, CommitParams(sale_id, (Tender("cash", cash),), **more))


def sold(*lines: tuple[str, int, int]) -> tuple[CommitLine, ...]:
    return tuple(CommitLine(str(n), quantity, total, item_id=sku) for n, (sku, quantity, total) in enumerate(lines))


def problem(call: Any) -> str:
    with pytest.raises(RpcError) as raised:
        call()
    return raised.value.code


# -- lookups ---------------------------------------------------------------------------------------------------------------


async def test_an_item_is_found_by_code_and_by_id_and_says_its_price(stocked: Shop) -> None:
    by_code = stocked.desk.lookup("lane-1", LookupParams(code=BEEF_CODE))
    assert (by_code.item_id, by_code.price.amount_minor, by_code.price.price_quantity, by_code.price.unit) == ("beef", 1_000, 1_000, "g")
    assert by_code == stocked.desk.lookup("lane-1", LookupParams(item_id="beef"))
    assert (by_code.guard, by_code.kind, by_code.revision) == (None, "base", stocked.store.view.revision)


async def test_what_is_not_sold_has_no_price_ever(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("gin")], "removed": ["bread"]})
    desk = stocked.desk
    assert problem(lambda: desk.lookup("lane-1", LookupParams(item_id="gin"))) == "no_price"
    assert problem(lambda: desk.lookup("lane-1", LookupParams(item_id="bread"))) == "unknown_item"
    for code in ("9" * 13, "12", "x" * 13, "4006381333931x", "٤" * 13):
        assert problem(lambda code=code: desk.lookup("lane-1", LookupParams(code=code))) == "unknown_item"


async def test_a_lookup_says_when_the_shelf_holds_the_price_down(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    found = stocked.desk.lookup("lane-1", LookupParams(item_id="milk"))
    assert (found.price.amount_minor, found.guard) == (90, "shelf_lower")


# -- quotes ----------------------------------------------------------------------------------------------------------------


async def test_a_quote_is_durable_and_adds_up_with_deposits(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("milk", MILK_CODE, deposit_minor=25)]})
    told = await quote(stocked, ("1", "milk", 2), ("2", "bread", 1), ("3", "beef", 250))
    assert [line.total_minor for line in told.lines] == [200, 200, 250]
    assert told.total_minor == 650 + 50
    assert stocked.value("SELECT total_minor FROM quote WHERE quote_id = ? AND state = 'live'", told.quote_id) == 700
    stocked.reopen()
    kept = stocked.store.view.quotes[told.quote_id]
    assert [line.total_minor for line in kept.lines] == [200, 200, 250]


async def test_a_basket_quoted_again_never_gets_dearer(stocked: Shop) -> None:
    await stocked.prices(price("milk", 80, kind="promo", price_id="p"))
    first = await quote(stocked, ("1", "milk", 2))
    assert first.total_minor == 160
    await stocked.prices(price("milk", None, rev=2, kind="promo", price_id="p", cancelled=True))
    again = await quote(stocked, ("1", "milk", 2), ("2", "milk", 1))
    assert [line.total_minor for line in again.lines] == [160, 100]
    more = await quote(stocked, ("1", "milk", 3))
    assert more.total_minor == 240
    assert (await quote(stocked, ("1", "milk", 2), basket="other")).total_minor == 200


@given(st.lists(st.tuples(st.integers(1, 6), st.booleans()), min_size=1, max_size=4))
def test_lines_of_one_item_together_cost_at_most_what_one_line_would(lines: list[tuple[int, bool]]) -> None:
    async def play(folder: Any) -> None:
        shop = Shop(folder)
        shop.open()
        await shop.stocked()
        await shop.prices(price("milk", None, rev=2, curve=[[1, 100], [3, 250], [4, 300]]))
        told = await quote(shop, *((str(n), "milk", quantity) for n, (quantity, _) in enumerate(lines)))
        together = shop.charge(MILK, sum(quantity for quantity, _ in lines))
        assert told.total_minor <= together
        assert all(line.total_minor <= shop.charge(MILK, line.quantity) for line in told.lines)
        shop.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


async def test_a_member_pays_the_member_price_and_the_public_does_not(stocked: Shop) -> None:
    await stocked.prices(price("milk", 90, kind="member", price_id="m"))
    assert (await quote(stocked, ("1", "milk", 1))).total_minor == 100
    assert (await quote(stocked, ("1", "milk", 1), basket="b2", member=True)).total_minor == 90


async def test_a_quote_is_a_lease_from_when_it_is_priced_and_one_per_basket(stocked: Shop) -> None:
    asking = asyncio.create_task(quote(stocked, ("1", "milk", 1)))
    await asyncio.sleep(0)
    assert [line.total_minor for lines in stocked.store.view.leased_lines(MILK) for line in lines] == [100]
    first = await asking
    second = await quote(stocked, ("1", "milk", 1))
    assert set(stocked.store.view.quotes) == {second.quote_id}
    assert stocked.value("SELECT state FROM quote WHERE quote_id = ?", first.quote_id) == "replaced"
    await commit(stocked, quote_id=second.quote_id)
    assert list(stocked.store.view.leased_lines(MILK)) == []


async def test_a_quote_of_a_removed_or_unpriced_item_is_refused_whole(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"removed": ["bread"]})
    with pytest.raises(RpcError):
        await quote(stocked, ("1", "milk", 1), ("2", "bread", 1))
    assert stocked.store.view.quotes == {}


async def test_a_basket_beyond_all_money_is_refused_and_the_store_goes_on(stocked: Shop) -> None:
    await stocked.prices(price("bread", None, rev=2, cancelled=True), price("gold", AMOUNT_MAX_MINOR))
    await stocked.say("item.batch.v1", {"items": [item("gold")]})
    with pytest.raises(RpcError) as raised:
        await quote(stocked, *((str(n), "gold", 1_000_000) for n in range(500)))
    assert raised.value.code == "bad_quantity"
    recorded = await commit(stocked, lines=sold(*(("gold", 1_000_000, 1) for _ in range(500))))
    assert recorded.recorded
    assert not stocked.fatal


# -- opening hours ---------------------------------------------------------------------------------------------------------


async def test_the_dwell_holds_while_the_store_is_open_and_a_doubtful_clock_says_open(stocked: Shop) -> None:
    hours = OpeningHours(tuple((Span(8 * 60, 20 * 60),) for _ in range(7)))
    stocked.reopen(facts(opening_hours=hours))
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    await stocked.shows(L1, MILK, 100, dwell_ms=2 * HOUR_MS)
    assert (stocked.charge(MILK), stocked.guard(MILK)) == (90, "dwell")
    stocked.clock.wall = NOON_MS + 10 * HOUR_MS
    assert stocked.charge(MILK) == 100
    stocked.clock.trusted = False
    assert stocked.charge(MILK) == 90


# -- sales -----------------------------------------------------------------------------------------------------------------


async def test_a_quoted_sale_is_recorded_as_quoted_whatever_happened_to_the_price(stocked: Shop) -> None:
    told = await quote(stocked, ("1", "milk", 2))
    await stocked.prices(price("milk", 50, rev=2))
    answer = await commit(stocked, quote_id=told.quote_id, cash=200)
    assert (answer.flags, answer.refund_due_minor) == ((), 0)
    assert stocked.rows("SELECT total_minor FROM sale_line") == [(200,)]
    assert stocked.store.view.stock[MILK] == -2


async def test_the_same_sale_again_gets_the_same_answer_also_after_a_restart(stocked: Shop) -> None:
    first = await commit(stocked, lines=sold(("milk", 1, 100)))
    again = await commit(stocked, lines=sold(("milk", 1, 100)), offline=True, made_at=datetime(2026, 1, 9, 11, tzinfo=UTC))
    assert again == first
    stocked.reopen()
    late = await commit(stocked, lines=sold(("milk", 1, 100)))
    assert (late.sale_id, late.up_seq, late.flags, late.refund_due_minor) == ("s1", first.up_seq, first.flags, 0)
    assert stocked.store.sales_count() == 1
    assert stocked.store.view.stock[MILK] == -1


async def test_two_tries_of_one_sale_at_once_are_one_sale(stocked: Shop) -> None:
    answers = await asyncio.gather(*(commit(stocked, lines=sold(("milk", 1, 100))) for _ in range(5)))
    assert len({answer.up_seq for answer in answers}) == 1
    assert stocked.store.view.stock[MILK] == -1


async def test_another_body_under_a_known_id_is_a_conflict_that_hq_hears_of_once(stocked: Shop) -> None:
    await commit(stocked, lines=sold(("milk", 1, 100)))
    for _ in range(3):
        with pytest.raises(RpcError) as raised:
            await commit(stocked, lines=sold(("milk", 2, 200)))
        assert raised.value.code == "id_conflict"
    assert stocked.alerts() == ["sale_id_conflict"]
    assert stocked.store.view.stock[MILK] == -1


async def test_an_unknown_quote_without_lines_is_asked_for_its_lines_and_with_lines_is_recorded(stocked: Shop) -> None:
    with pytest.raises(RpcError) as raised:
        await commit(stocked, quote_id="nobody")
    assert raised.value.code == "unknown_quote"
    answer = await commit(stocked, quote_id="nobody", lines=sold(("milk", 1, 100)))
    assert (answer.flags, answer.refund_due_minor) == (("quote_unknown",), 0)


@pytest.mark.parametrize("how", ["lapsed", "replaced", "used", "another lane"])
async def test_a_quote_that_no_longer_stands_is_recorded_and_flagged(stocked: Shop, how: str) -> None:
    told = await quote(stocked, ("1", "milk", 1))
    lane = "lane-1"
    match how:
        case "lapsed":
            await stocked.store.lapse_quotes([told.quote_id])
        case "replaced":
            await quote(stocked, ("1", "milk", 1))
        case "used":
            await commit(stocked, "earlier", quote_id=told.quote_id)
        case _:
            lane = "lane-2"
    answer = await commit(stocked, lane=lane, quote_id=told.quote_id)
    assert answer.flags == ("quote_of_another_lane" if lane == "lane-2" else f"quote_{how}",)
    assert answer.recorded


async def test_what_was_paid_above_the_price_of_now_is_due_back(stocked: Shop) -> None:
    answer = await commit(stocked, lines=sold(("milk", 2, 260), ("bread", 1, 150)), cash=410)
    assert (answer.flags, answer.refund_due_minor) == (("over_price",), 60)
    lapsed = await quote(stocked, ("1", "milk", 1))
    await stocked.store.lapse_quotes([lapsed.quote_id])
    await stocked.prices(price("milk", 70, rev=2))
    late = await commit(stocked, "s2", quote_id=lapsed.quote_id)
    assert (late.flags, late.refund_due_minor) == (("quote_lapsed", "over_price"), 30)


async def test_an_offline_sale_is_recorded_at_its_time_and_business_day(stocked: Shop) -> None:
    made_at = datetime(2026, 1, 9, 2, 30, tzinfo=UTC)  # 03:30 in the store: the day before, which ends at 04:00
    answer = await commit(stocked, lines=sold(("milk", 1, 100)), offline=True, made_at=made_at)
    assert answer.flags == ("offline",)
    data = msgspec.json.decode(stocked.value("SELECT data FROM outbox WHERE kind = 'sale'"))
    assert (data["made_at"], data["business_date"], data["utc_offset_minutes"]) == ("2026-01-09T02:30:00.000Z", "2026-01-08", 60)


async def test_unknown_and_removed_items_are_sold_all_the_same(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"removed": ["bread"]})
    answer = await commit(stocked, lines=sold(("caviar", 1, 999), ("bread", 3, 600)))
    assert answer.flags == ("unknown_item",)
    assert stocked.store.view.stock == {BREAD: -3}
    assert stocked.rows("SELECT item_id, code FROM sale_line ORDER BY line_id") == [(None, "caviar"), (BREAD, "")]


async def test_a_total_that_differs_from_the_quote_is_recorded_and_flagged(stocked: Shop) -> None:
    told = await quote(stocked, ("1", "milk", 1))
    answer = await commit(stocked, quote_id=told.quote_id, total_minor=90)
    assert answer.flags == ("total_differs_from_quote",)
    assert stocked.value("SELECT total_minor FROM sale") == 90


async def test_the_status_of_a_sale_is_its_stored_answer(stocked: Shop) -> None:
    assert stocked.desk.status("lane-1", StatusParams("s1")).state == "unknown"
    answer = await commit(stocked, lines=sold(("milk", 1, 130)))
    status = stocked.desk.status("lane-1", StatusParams("s1"))
    assert (status.state, status.answer) == ("recorded", answer)


async def test_a_pack_counts_its_pieces(stocked: Shop) -> None:
    six = "14006381333938"
    await stocked.say("item.batch.v1", {"items": [item("milk") | {"barcodes": [{"gtin": MILK_CODE}, {"gtin": six, "pack_quantity": 6}]}]})
    asked = QuoteParams("b", (QuoteLine("1", 2, code=six),))
    told = await stocked.desk.quote("lane-1", asked)
    assert (told.lines[0].quantity, told.total_minor) == (12, 1_200)
    await commit(stocked, quote_id=told.quote_id)
    assert stocked.store.view.stock[MILK] == -12


async def test_what_the_guard_gives_away_is_counted_once_a_sale(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    told = await quote(stocked, ("1", "milk", 2))
    assert told.guard == "shelf_lower"
    for _ in range(2):
        await commit(stocked, quote_id=told.quote_id)
    counters = stocked.desk.counters
    assert (counters.given_away_minor, counters.sales, counters.sales_repeated) == (20, 1, 1)
