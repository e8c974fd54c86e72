"""Two lanes, the clock and HQ at the same instant: whoever comes first, each unit and each cent counts once."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from edge.hold_keeper import HoldKeeper
from edge.stock import Level
from protocols.pos import CommitLine, CommitParams, QuoteLine, QuoteParams, RpcError, Tender
from protocols.pos_returns import ReturnLine, ReturnParams, VoidParams
from protocols.pos_stock import CollectParams, ReleaseParams
from tests.edge.shop import HOUR_MS, MILK, MILK_CODE, Shop, price
from tests.edge.test_store_stock import books_balance, place, receive, told

ENDS = ("collected", "released", "expired")


def sale(sale_id: str, quantity: int, *holds: str) -> CommitParams:
    line = CommitLine("1", quantity, 100 * quantity, item_id="milk")
    return CommitParams(sale_id, (Tender("cash", 100 * quantity),), lines=(line,), holds=holds)


async def outcome(call: Any) -> str:
    """What became of a call: "done", or the code of its refusal."""
    try:
        await call
    except RpcError as error:
        return error.code
    return "done"


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
async def test_a_hold_ends_once_whoever_comes_first(stocked: Shop, order: tuple[int, ...]) -> None:
    """Two lanes hand it over, a third puts it back, and it lapses, all at once."""
    await receive(stocked, 10)
    await place(stocked, "h1", 4)
    stocked.clock.pass_ms(24 * HOUR_MS)
    desk = stocked.desk.stock
    calls = (
        lambda: desk.collect("lane-1", CollectParams("h1")),
        lambda: desk.collect("lane-2", CollectParams("h1")),
        lambda: desk.release("lane-3", ReleaseParams("h1")),
        lambda: HoldKeeper(stocked.store, stocked.clock).look(),
    )
    await asyncio.gather(*(outcome(calls[number]()) for number in order))
    ended = [event["event"].removeprefix("hold.") for event in told(stocked, *(f"hold.{state}" for state in ENDS))]
    assert len(ended) == 1
    assert stocked.store.view.level(MILK) == Level(6 if ended == ["collected"] else 10, 0, 0)
    assert books_balance(stocked)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_goods_that_are_paid_and_handed_over_at_once_leave_the_store_by_both(stocked: Shop, order: tuple[int, ...]) -> None:
    """One hold, collected at one lane and paid at another: the sale is a fact, and so is what was handed over before it."""
    await receive(stocked, 10)
    await place(stocked, "h1", 2)
    calls = (lambda: stocked.desk.commit("lane-1", sale("s1", 2, "h1")), lambda: stocked.desk.stock.collect("lane-2", CollectParams("h1")))
    answers = await asyncio.gather(*(outcome(calls[number]()) for number in order))
    assert answers == ["done", "done"]
    handed_over_first = order == (1, 0)
    assert stocked.store.view.level(MILK) == Level(6 if handed_over_first else 8, 0, 0)
    flags = stocked.value("SELECT json_extract(answer, '$.flags[0]') FROM sale")
    assert flags == ("hold_unknown" if handed_over_first else None)
    assert books_balance(stocked)


async def test_a_return_and_a_void_at_once_pay_back_what_was_paid(stocked: Shop) -> None:
    for number in range(6):
        await stocked.desk.commit("lane-1", sale(f"s{number}", 3))
        back = ReturnParams(f"r{number}", (ReturnLine("1", 2, "1"),), (Tender("cash", 200),), f"s{number}")
        calls = [
            stocked.desk.returns.take_back("lane-1", back),
            stocked.desk.returns.void("lane-2", VoidParams(f"v{number}", f"s{number}")),
        ]
        answers = [outcome(call) for call in (calls if number % 2 else calls[::-1])]
        assert sorted(await asyncio.gather(*answers)) == ["done", "refused"]
    assert books_balance(stocked)
    paid_back = stocked.value("SELECT sum(goods_minor) FROM return_line") + sum(
        amount for (amount,) in stocked.rows("SELECT json_extract(answer, '$.refund_minor') FROM sale_void")
    )
    assert paid_back == 3 * 200 + 3 * 300


async def test_a_basket_quoted_and_paid_while_its_price_changes_is_one_sale_at_one_quote(stocked: Shop) -> None:
    def asked(number: int) -> QuoteParams:
        return QuoteParams("b1", tuple(QuoteLine(str(line), 1, code=MILK_CODE) for line in range(number + 1)))

    quotes, _ = await asyncio.gather(
        asyncio.gather(*(stocked.desk.quote("lane-1", asked(number)) for number in range(4))), stocked.prices(price("milk", 120, rev=2))
    )
    assert [len(stocked.store.view.quotes), stocked.value("SELECT count(*) FROM quote WHERE state = 'live'")] == [1, 1]
    for earlier, later in itertools.pairwise(quotes):
        known = {line.line_id: line.total_minor for line in earlier.lines}
        assert all(line.total_minor <= known.get(line.line_id, line.total_minor) for line in later.lines)
    last = quotes[-1]
    paid = CommitParams("s1", (Tender("cash", last.total_minor),), last.quote_id)
    first, second = await asyncio.gather(stocked.desk.commit("lane-1", paid), stocked.desk.commit("lane-1", paid))
    assert first == second
    assert (first.flags, stocked.store.view.stock[MILK]) == ((), -4)
