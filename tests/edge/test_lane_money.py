"""Money at the desk where it is easily lost or given away twice: discounts on a basket, deposits that change, packs, bundles, late news."""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.refunds import Paid, within
from protocols.pos import CommitLine, LineTax, LookupParams, QuoteLine, QuoteParams, RpcError, StatusParams, Tender
from protocols.pos_returns import ReturnLine, ReturnParams
from tests.edge.shop import HOUR_MS, L1, MILK, MILK_CODE, Shop, facts, item, price
from tests.edge.test_desk import commit, quote, sold
from tests.edge.test_desk_scan import BRIE_KEY, brie, counter, ham
from tests.edge.test_returns import MADE_AT, back, events, refusal, sell, void
from tests.edge.test_store_stock import books_balance


async def with_deposit(shop: Shop, deposit_minor: int) -> None:
    await shop.say("item.batch.v1", {"items": [item("milk", MILK_CODE) | {"deposit_minor": deposit_minor}]})


# -- never more than was paid ----------------------------------------------------------------------------------------------


async def test_a_discount_on_the_basket_comes_off_every_line_that_returns(stocked: Shop) -> None:
    told = await quote(stocked, ("1", "milk", 2), ("2", "bread", 1))
    assert told.total_minor == 400
    answer = await commit(stocked, quote_id=told.quote_id, total_minor=201, cash=201)
    assert answer.flags == ("total_differs_from_quote",)
    lines = stocked.desk.status("lane-1", StatusParams("s1")).lines
    assert [(line.line_id, line.paid_minor) for line in lines] == [("1", 101), ("2", 100)]
    assert (await back(stocked, ("1", 2), ("2", 1))).refund_minor == 201


@given(st.lists(st.builds(Paid, *[st.integers(0, 10**6)] * 3), max_size=6), st.integers(0, 10**7))
def test_the_shares_of_a_discount_add_up_and_no_part_grows(paid: list[Paid], total_minor: int) -> None:
    found = within(paid, total_minor)
    assert sum(each.total_minor for each in found) == min(total_minor, sum(each.total_minor for each in paid))
    for before, after in zip(paid, found, strict=True):
        assert 0 <= after.goods_minor <= before.goods_minor
        assert 0 <= after.deposit_minor <= before.deposit_minor
        assert 0 <= after.tax_minor <= before.tax_minor


async def test_a_void_pays_back_what_the_sale_cost_whatever_its_lines_say(stocked: Shop) -> None:
    await commit(stocked, "less", lines=sold(("milk", 2, 200)), total_minor=150, cash=150)
    await commit(stocked, "more", lines=sold(("milk", 1, 100)), total_minor=119, cash=119)  # a till that told no tax
    assert (await void(stocked, "v1", "less")).refund_minor == 150
    assert (await void(stocked, "v2", "more")).refund_minor == 119


async def test_who_may_have_got_money_back_already_is_flagged_at_the_return(stocked: Shop) -> None:
    await commit(stocked, lines=sold(("milk", 2, 260)), cash=260)
    await commit(stocked, "s2", lines=sold(("milk", 2, 260)), cash=260)
    assert (await back(stocked, ("0", 1))).flags == ("over_price",)
    assert (await void(stocked, sale_id="s2")).flags == ("over_price",)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("return"), st.integers(0, 1), st.integers(1, 4), st.booleans()),
        st.tuples(st.just("void"), st.just(0), st.just(0), st.booleans()),
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=40)
@given(steps=STEPS, total_minor=st.integers(1, 900))
def test_returns_and_voids_in_any_order_pay_back_at_most_what_was_paid(steps: list[tuple[str, int, int, bool]], total_minor: int) -> None:
    async def play() -> None:
        with tempfile.TemporaryDirectory() as folder:
            shop = Shop(Path(folder))
            shop.open()
            await shop.stocked()
            await commit(shop, lines=sold(("milk", 3, 300), ("bread", 2, 400)), total_minor=total_minor, cash=total_minor)
            paid_back_minor = 0
            refusals: set[str] = set()
            for number, (what, line, quantity, offline) in enumerate(steps):
                late: dict[str, Any] = {"offline": True, "made_at": MADE_AT} if offline else {}
                try:
                    if what == "void":
                        paid_back_minor += (await void(shop, f"v{number}", **late)).refund_minor
                    else:
                        paid_back_minor += (await back(shop, (str(line), quantity), return_id=f"r{number}", **late)).refund_minor
                except RpcError as error:
                    assert not offline
                    refusals.add(error.code)
            assert paid_back_minor <= total_minor
            assert refusals <= {"refused", "over_return"}
            assert books_balance(shop)
            shop.close()
            assert not shop.fatal

    asyncio.run(play())


# -- deposits and tax ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later_minor", [0, 10, 50])
async def test_the_deposit_that_comes_back_is_the_one_that_was_quoted(stocked: Shop, later_minor: int) -> None:
    await with_deposit(stocked, 25)
    told = await quote(stocked, ("1", "milk", 2))
    await with_deposit(stocked, later_minor)
    stocked.reopen()
    await commit(stocked, quote_id=told.quote_id, cash=told.total_minor)
    assert stocked.rows("SELECT deposit_minor FROM sale_line") == [(50,)]
    assert (await back(stocked, ("1", 2))).refund_minor == told.total_minor == 250


async def test_an_untold_tax_is_no_reason_to_give_back_a_deposit_that_was_not_paid(stocked: Shop) -> None:
    stocked.reopen(replace(facts(), tax_mode="exclusive"))
    await with_deposit(stocked, 25)
    taxes = (LineTax("0", 19),)
    answer = await commit(stocked, lines=sold(("milk", 1, 100)), taxes=taxes, total_minor=119, cash=119)
    assert answer.flags == ()
    assert (await back(stocked, ("0", 1))).refund_minor == 119


# -- what is due back ------------------------------------------------------------------------------------------------------


async def test_a_paid_sale_whose_code_has_left_the_catalogue_is_recorded(stocked: Shop) -> None:
    told = await stocked.desk.quote("lane-1", QuoteParams("b", (QuoteLine("1", 1, code=MILK_CODE),)))
    await stocked.store.lapse_quotes([told.quote_id])
    await stocked.say("item.batch.v1", {"items": [item("milk")]})
    answer = await commit(stocked, quote_id=told.quote_id)
    assert (answer.recorded, answer.flags) == (True, ("quote_lapsed",))


async def test_two_lines_above_a_bundle_that_the_shelf_promises_are_due_back(stocked: Shop) -> None:
    await stocked.prices(price("milk", None, rev=2, curve=[[1, 100], [2, 150]]))
    assert stocked.charge(MILK, 2) == 150
    answer = await commit(stocked, lines=sold(("milk", 1, 100), ("milk", 1, 100)), cash=200)
    assert (answer.flags, answer.refund_due_minor) == (("over_price",), 50)


async def test_packs_that_became_cheaper_after_a_lapsed_quote_are_due_back_at_the_price_of_now(stocked: Shop) -> None:
    await counter(stocked)
    told = await stocked.desk.quote("lane-1", QuoteParams("b", (QuoteLine("1", 2, code=brie(500)),)))
    await stocked.store.lapse_quotes([told.quote_id])
    await stocked.prices(price("brie", 1_200, rev=2, price_quantity=1_000))
    answer = await commit(stocked, quote_id=told.quote_id, cash=1_000)
    assert (told.lines[0].quantity, answer.refund_due_minor) == (668, 1_000 - 802)


async def test_a_pack_is_never_sold_above_what_is_printed_on_it(stocked: Shop) -> None:
    await counter(stocked)
    answer = await commit(stocked, lines=(CommitLine("1", 2, 1_200, code=brie(500)),), cash=1_200)
    assert answer.refund_due_minor == 200


async def test_what_was_charged_above_a_quote_that_stands_is_due_back(stocked: Shop) -> None:
    told = await quote(stocked, ("1", "milk", 1))
    await stocked.prices(price("milk", 130, rev=2))
    answer = await commit(stocked, quote_id=told.quote_id, lines=(CommitLine("1", 1, 130, item_id="milk"),), cash=130)
    assert (answer.flags, answer.refund_due_minor) == (("over_price", "total_differs_from_quote"), 30)


@pytest.mark.parametrize("late_s, flags", [(599, ("offline",)), (601, ("offline", "quote_lapsed", "over_price"))])
async def test_a_quote_that_was_paid_in_time_and_told_late_owes_nothing(stocked: Shop, late_s: int, flags: tuple[str, ...]) -> None:
    told = await quote(stocked, ("1", "milk", 1))
    made_at = datetime.fromtimestamp(stocked.clock.wall / 1000, UTC) + timedelta(seconds=late_s)
    await stocked.prices(price("milk", 70, rev=2))
    stocked.clock.pass_ms(HOUR_MS)
    await stocked.store.lapse_quotes([told.quote_id])
    answer = await commit(stocked, quote_id=told.quote_id, offline=True, made_at=made_at)
    assert (answer.flags, answer.refund_due_minor) == (flags, 0 if late_s < 600 else 30)


# -- voids that have happened ----------------------------------------------------------------------------------------------


async def test_a_void_that_was_paid_offline_is_a_fact_and_takes_back_what_is_left(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    await back(stocked, ("0", 1))
    assert await refusal(void(stocked)) == "refused"
    late = await void(stocked, offline=True, made_at=MADE_AT)
    assert (late.refund_minor, late.flags) == (200, ("offline", "exceeds_sale"))
    assert stocked.store.view.stock[MILK] == 0
    assert [(line["quantity"], event["refund_minor"]) for event in events(stocked, "void") for line in event["lines"]] == [(2, 200)]
    again = await void(stocked, "v2", offline=True, made_at=MADE_AT)
    assert (again.refund_minor, again.flags) == (0, ("offline", "sale_voided"))
    assert stocked.store.view.stock[MILK] == 0
    assert stocked.desk.status("lane-1", StatusParams("s1")).voided == "v1"
    assert await refusal(back(stocked, ("0", 1), return_id="r2")) == "refused"
    assert books_balance(stocked)


# -- codes that say too much -----------------------------------------------------------------------------------------------


HUGE = (f"(01){BRIE_KEY.zfill(14)}(3920)999999999999999", f"(01){MILK_CODE.zfill(14)}(30)99999999")


@pytest.mark.parametrize("code", HUGE)
async def test_a_code_that_says_more_than_a_line_can_hold_is_not_priced(stocked: Shop, code: str) -> None:
    await counter(stocked)
    with pytest.raises(RpcError, match="bad_quantity"):
        stocked.desk.lookup("lane-1", LookupParams(code=code))
    with pytest.raises(RpcError, match="bad_quantity"):
        await stocked.desk.quote("lane-1", QuoteParams("b", (QuoteLine("1", 1, code=code),)))


@pytest.mark.parametrize("code", HUGE)
async def test_a_paid_sale_of_such_a_code_is_recorded_by_its_scans(stocked: Shop, code: str) -> None:
    await counter(stocked)
    answer = await commit(stocked, lines=(CommitLine("1", 1_000_000, 100, code=code),))
    assert (answer.recorded, answer.flags) == (True, ("quantity_too_large",))
    assert stocked.rows("SELECT quantity FROM sale_line") == [(1_000_000,)]
    assert books_balance(stocked)
    assert not stocked.fatal


async def test_a_weighed_pack_comes_back_at_what_it_cost(stocked: Shop) -> None:
    await counter(stocked)
    told = await stocked.desk.quote("lane-1", QuoteParams("b", (QuoteLine("1", 1, code=ham(345)),)))
    await commit(stocked, quote_id=told.quote_id, cash=told.total_minor)
    made = ReturnParams("r1", (ReturnLine("1", 345, "1"),), (Tender("cash", told.total_minor),), "s1")
    assert (await stocked.desk.returns.take_back("lane-1", made)).flags == ()


# -- sold while nobody listened --------------------------------------------------------------------------------------------


async def late(shop: Shop, made_ms: int, total_minor: int, sale_id: str = "s1") -> tuple[tuple[str, ...], int]:
    made_at = datetime.fromtimestamp(made_ms / 1000, UTC)
    answer = await commit(shop, sale_id, lines=sold(("milk", 1, total_minor)), cash=total_minor, offline=True, made_at=made_at)
    return answer.flags, answer.refund_due_minor


async def test_a_sale_of_before_a_cut_owes_nothing_when_it_is_told_after_it(stocked: Shop) -> None:
    made_ms = stocked.clock.wall
    stocked.clock.pass_ms(HOUR_MS)
    await stocked.prices(price("milk", 70, rev=2))
    stocked.clock.pass_ms(HOUR_MS)
    assert await late(stocked, made_ms, 100) == (("offline",), 0)
    assert await late(stocked, made_ms, 110, "s2") == (("offline", "over_price"), 10)
    assert await late(stocked, stocked.clock.wall, 100, "s3") == (("offline", "over_price"), 30)


async def test_a_sale_of_before_a_rise_owes_what_was_charged_above_the_price_of_then(stocked: Shop) -> None:
    made_ms = stocked.clock.wall
    stocked.clock.pass_ms(HOUR_MS)
    await stocked.prices(price("milk", 130, rev=2))
    stocked.clock.pass_ms(HOUR_MS)
    assert await late(stocked, made_ms, 130) == (("offline", "over_price"), 30)


async def test_a_sale_owes_what_was_charged_above_the_shelf_of_then(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    stocked.clock.pass_ms(HOUR_MS)
    made_ms = stocked.clock.wall
    stocked.clock.pass_ms(HOUR_MS)
    await stocked.shows(L1, MILK, 100)
    stocked.clock.pass_ms(HOUR_MS)
    assert stocked.charge(MILK) == 100
    assert await late(stocked, made_ms, 100) == (("offline", "over_price"), 10)
    assert await late(stocked, made_ms, 90, "s2") == (("offline",), 0)


async def test_what_a_tills_own_table_said_within_its_lease_is_not_due_back_when_it_is_told_late(stocked: Shop) -> None:
    stocked.clock.pass_ms(HOUR_MS)
    await stocked.prices(price("milk", 70, rev=2))
    cut_ms = stocked.clock.wall
    stocked.clock.pass_ms(HOUR_MS)
    assert await late(stocked, cut_ms + 29_000, 100) == (("offline",), 0)
    assert await late(stocked, cut_ms + 31_000, 100, "s2") == (("offline", "over_price"), 30)


async def test_of_before_there_was_any_evidence_the_price_of_now_is_asked(stocked: Shop) -> None:
    assert await late(stocked, stocked.clock.wall - 400 * 24 * HOUR_MS, 110) == (("offline", "over_price"), 10)


@pytest.mark.parametrize("ahead_s, trusted, flags", [(299, True, ()), (301, True, ("made_in_future",)), (301, False, ())])
async def test_a_till_whose_clock_is_ahead_is_flagged(stocked: Shop, ahead_s: int, trusted: bool, flags: tuple[str, ...]) -> None:
    stocked.clock.trusted = trusted
    assert (await late(stocked, stocked.clock.wall + ahead_s * 1_000, 100))[0] == ("offline", *flags)
