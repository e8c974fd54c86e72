"""Voids and returns at the desk: never more than was bought, exact amounts, each id once, goods back in the books."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import apsw
import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.view import Delta
from protocols.pos import CommitLine, CommitParams, LineTax, QuoteLine, QuoteParams, RpcError, StatusParams, Tender
from protocols.pos_returns import Condition, Origin, ReturnLine, ReturnParams, ReturnResult, VoidParams, VoidResult
from tests.edge.shop import BEEF, BREAD, MILK, MILK_CODE, Shop, facts, item

MADE_AT = datetime(2026, 1, 9, 11, 30, tzinfo=UTC)


async def sell(shop: Shop, *lines: tuple[str, int], sale_id: str = "s1", member: bool = False, **more: Any) -> int:
    """Quote and commit; returns what was paid."""
    asked = tuple(QuoteLine(str(n), quantity, item_id=sku) for n, (sku, quantity) in enumerate(lines))
    told = await shop.desk.quote("lane-1", QuoteParams(f"b {sale_id}".replace(" ", "-"), asked, member))
    await shop.desk.commit("lane-1", CommitParams(sale_id, (Tender("cash", told.total_minor),), told.quote_id, **more))
    return told.total_minor


async def back(shop: Shop, *lines: tuple[str, int], return_id: str = "r1", sale_id: str | None = "s1", **more: Any) -> ReturnResult:
    """Return (original line, quantity) pairs; the tenders say what a preview said."""
    made = tuple(ReturnLine(f"r{n}", quantity, line) for n, (line, quantity) in enumerate(lines))
    return await give_back(shop, ReturnParams(return_id, made, sale_id=sale_id, **more))


async def give_back(shop: Shop, params: ReturnParams) -> ReturnResult:
    if not params.tenders and not params.preview:
        asked = msgspec.structs.replace(params, preview=True)
        due_minor = (await shop.desk.returns.take_back("lane-1", asked)).refund_minor
        params = msgspec.structs.replace(params, tenders=(Tender("cash", due_minor),))
    return await shop.desk.returns.take_back("lane-1", params)


async def void(shop: Shop, void_id: str = "v1", sale_id: str = "s1", **more: Any) -> VoidResult:
    return await shop.desk.returns.void("lane-1", VoidParams(void_id, sale_id, **more))


async def refusal(call: Any) -> str:
    with pytest.raises(RpcError) as raised:
        await call
    return raised.value.code


def events(shop: Shop, kind: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(data) for (data,) in shop.rows("SELECT data FROM outbox WHERE kind = ? ORDER BY seq", kind)]


# -- returns ---------------------------------------------------------------------------------------------------------------


async def test_a_return_pays_back_its_share_and_puts_the_goods_back(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3), ("bread", 1))
    answer = await back(stocked, ("0", 2))
    assert (answer.refund_minor, answer.flags, answer.recorded) == (200, (), True)
    assert [(line.line_id, line.item_id, line.quantity, line.refund_minor, line.left) for line in answer.lines] == [
        ("r0", "milk", 2, 200, 1)
    ]
    assert stocked.store.view.stock == {MILK: -1, BREAD: -1}
    (event,) = events(stocked, "return")
    assert (event["sale_id"], event["refund_minor"], event["lines"][0]["sku"], event["lines"][0]["restocked"]) == ("s1", 200, "milk", 2)
    assert stocked.value("SELECT up_seq FROM ledger WHERE cause = 'return'") == answer.up_seq


async def test_what_came_back_already_cannot_come_back_again(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    await back(stocked, ("0", 2))
    assert await refusal(back(stocked, ("0", 2), return_id="r2")) == "over_return"
    assert await refusal(back(stocked, ("0", 1), ("0", 1), return_id="r2")) == "over_return"
    assert (await back(stocked, ("0", 1), return_id="r2")).refund_minor == 100
    assert await refusal(back(stocked, ("0", 1), return_id="r3")) == "over_return"
    assert stocked.store.view.stock[MILK] == 0


async def test_two_tills_at_once_cannot_take_back_one_line_twice(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    params = [ReturnParams(f"r{n}", (ReturnLine("1", 2, "0"),), (Tender("cash", 200),), "s1") for n in range(4)]
    done = await asyncio.gather(*(stocked.desk.returns.take_back("lane-1", each) for each in params), return_exceptions=True)
    assert [type(each) for each in done].count(ReturnResult) == 1
    assert stocked.store.view.stock[MILK] == -1


async def test_a_preview_says_the_same_and_writes_nothing(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    before = stocked.store.outbox_state()
    shown = await back(stocked, ("0", 3), preview=True)
    assert (shown.recorded, shown.refund_minor, shown.up_seq) == (False, 300, 0)
    assert stocked.store.outbox_state() == before
    assert (await back(stocked, ("0", 3))).lines == shown.lines


async def test_goods_that_cannot_be_sold_again_come_back_and_are_written_off(stocked: Shop) -> None:
    await sell(stocked, ("milk", 2))
    await give_back(stocked, ReturnParams("r1", (ReturnLine("1", 1, "0"), ReturnLine("2", 1, "0", Condition.DAMAGED)), sale_id="s1"))
    assert stocked.store.view.stock[MILK] == -1
    booked = stocked.rows("SELECT cause, delta FROM ledger WHERE ref LIKE 'r1/%' ORDER BY entry_id")
    assert booked == [("return", 1), ("return", 1), ("damaged", -1)]
    assert [line["restocked"] for line in events(stocked, "return")[0]["lines"]] == [1, 0]


async def test_weighed_goods_come_back_by_weight(stocked: Shop) -> None:
    assert await sell(stocked, ("beef", 333)) == 333
    assert (await back(stocked, ("0", 100))).refund_minor == 100
    assert (await back(stocked, ("0", 133), return_id="r2")).refund_minor == 133
    assert (await back(stocked, ("0", 100), return_id="r3")).refund_minor == 100
    assert stocked.store.view.stock[BEEF] == 0


async def test_a_bundle_comes_back_at_what_it_cost(stocked: Shop) -> None:
    await stocked.prices({"sku": "milk", "kind": "base", "price_id": "b", "rev": 2, "currency": "EUR", "curve": [[1, 100], [3, 250]]})
    assert await sell(stocked, ("milk", 3)) == 250
    refunds = [(await back(stocked, ("0", 1), return_id=f"r{n}")).refund_minor for n in range(3)]
    assert (refunds, sum(refunds)) == ([83, 84, 83], 250)


async def test_the_deposit_that_was_paid_comes_back_too(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("milk", MILK_CODE, deposit_minor=25)]})
    assert await sell(stocked, ("milk", 2)) == 250
    answer = await back(stocked, ("0", 1))
    assert answer.refund_minor == 125
    (line,) = events(stocked, "return")[0]["lines"]
    assert (line["goods_minor"], line["deposit_minor"], line["tax_minor"]) == (100, 25, 0)


async def test_a_deposit_that_the_total_does_not_hold_was_not_paid(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("milk", MILK_CODE, deposit_minor=25)]})
    sold = (CommitLine("0", 2, 200, item_id="milk"),)
    for sale_id, paid_minor, due_minor in (("s1", 200, 100), ("s2", 250, 125)):
        await stocked.desk.commit("lane-1", CommitParams(sale_id, (Tender("cash", paid_minor),), lines=sold, total_minor=paid_minor))
        assert (await back(stocked, ("0", 1), return_id=f"r {sale_id}".replace(" ", "-"), sale_id=sale_id)).refund_minor == due_minor


@pytest.mark.parametrize("tax_mode, due_minor", [("exclusive", 107), ("inclusive", 100)])
async def test_tax_on_top_comes_back_where_prices_exclude_it(stocked: Shop, tax_mode: str, due_minor: int) -> None:
    stocked.reopen(replace(facts(), tax_mode=tax_mode))
    await sell(stocked, ("milk", 2), ("bread", 1), taxes=(LineTax("0", 14),))
    assert (await back(stocked, ("0", 1))).refund_minor == due_minor
    assert (await back(stocked, ("1", 1), return_id="r2")).refund_minor == 200


async def test_in_a_store_with_tax_on_top_the_total_holds_it(stocked: Shop) -> None:
    stocked.reopen(replace(facts(), tax_mode="exclusive"))
    await sell(stocked, ("milk", 2), sale_id="s1", taxes=(LineTax("0", 14),), total_minor=214)
    await sell(stocked, ("milk", 2), sale_id="s2", taxes=(LineTax("0", 14),), total_minor=200)
    told = [event["flags"] for event in events(stocked, "sale")]
    assert told == [[], ["total_differs_from_quote"]]
    assert stocked.rows("SELECT total_minor, tax_minor FROM sale_line WHERE sale_id = 's1'") == [(200, 14)]


async def test_the_same_return_again_gets_the_same_answer_also_after_a_restart(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    first = await back(stocked, ("0", 2))
    params = ReturnParams("r1", (ReturnLine("r0", 2, "0"),), (Tender("cash", 200),), "s1")
    late = msgspec.structs.replace(params, offline=True, made_at=MADE_AT)
    for each in (params, late):
        assert await stocked.desk.returns.take_back("lane-2", each) == first
    stocked.reopen()
    again = await stocked.desk.returns.take_back("lane-1", params)
    assert (again.up_seq, again.lines, again.refund_minor) == (first.up_seq, first.lines, 200)
    assert stocked.store.view.stock[MILK] == -1


async def test_another_body_under_a_known_return_is_a_conflict_that_hq_hears_of_once(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    await back(stocked, ("0", 2))
    for _ in range(3):
        assert await refusal(back(stocked, ("0", 1))) == "id_conflict"
    assert stocked.alerts() == ["return_id_conflict"]
    assert stocked.store.view.stock[MILK] == -1


async def test_a_refund_of_another_amount_is_recorded_and_flagged(stocked: Shop) -> None:
    await sell(stocked, ("milk", 1))
    params = ReturnParams("r1", (ReturnLine("1", 1, "0"),), (Tender("cash", 80),), "s1")
    answer = await stocked.desk.returns.take_back("lane-1", params)
    assert (answer.refund_minor, answer.flags) == (100, ("total_differs",))


async def test_the_status_of_a_sale_says_what_may_still_come_back(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3), ("bread", 1))
    await back(stocked, ("0", 2))
    status = stocked.desk.status("lane-1", StatusParams("s1"))
    told = [(line.line_id, line.item_id, line.quantity, line.paid_minor, line.returned, line.refunded_minor) for line in status.lines]
    assert told == [("0", "milk", 3, 300, 2, 200), ("1", "bread", 1, 200, 0, 0)]
    assert (status.voided, status.state) == (None, "recorded")


# -- returns of what this store cannot check -------------------------------------------------------------------------------


def receipt(quantity: int, paid: int, back: int, *, line: str | None = "1", sku: str | None = "milk") -> ReturnLine:
    """A line with what the receipt says."""
    return ReturnLine("x", back, line, item_id=sku, original_quantity=quantity, original_paid_minor=paid)


@pytest.mark.parametrize("origin", [Origin.ONLINE, Origin.OTHER_STORE])
async def test_what_was_bought_elsewhere_is_taken_back_by_its_receipt_and_flagged(stocked: Shop, origin: Origin) -> None:
    params = ReturnParams("r1", (receipt(3, 100, 2),), sale_id="web-77", origin=origin)
    answer = await give_back(stocked, params)
    assert (answer.refund_minor, answer.flags, answer.lines[0].left) == (67, (f"origin_{origin}",), 1)
    more = msgspec.structs.replace(params, return_id="r2")
    assert await refusal(give_back(stocked, more)) == "over_return"
    rest = msgspec.structs.replace(params, return_id="r3", lines=(receipt(3, 100, 1),))
    assert (await give_back(stocked, rest)).refund_minor == 33
    assert stocked.store.view.stock[MILK] == 3
    other = msgspec.structs.replace(params, return_id="r4", sale_id="web-78")
    assert (await give_back(stocked, other)).refund_minor == 67


async def test_an_unknown_sale_is_asked_for_its_receipt_and_then_taken_back(stocked: Shop) -> None:
    assert await refusal(back(stocked, ("0", 1), sale_id="lost")) == "not_found"
    answer = await give_back(stocked, ReturnParams("r1", (receipt(1, 120, 1),), sale_id="lost"))
    assert (answer.refund_minor, answer.flags) == (120, ("sale_unknown",))


async def test_a_return_without_receipt_is_flagged(stocked: Shop) -> None:
    answer = await give_back(stocked, ReturnParams("r1", (receipt(1, 100, 1, line=None),)))
    assert (answer.refund_minor, answer.flags) == (100, ("no_receipt",))
    assert (await give_back(stocked, ReturnParams("r2", (receipt(1, 100, 1, line=None),)))).recorded


async def test_goods_that_nobody_knows_come_back_without_stock(stocked: Shop) -> None:
    answer = await give_back(stocked, ReturnParams("r1", (receipt(1, 500, 1, sku="caviar"),), sale_id="lost"))
    assert answer.flags == ("sale_unknown", "unknown_item")
    assert stocked.store.view.stock == {}
    assert stocked.rows("SELECT item_id, code FROM return_line") == [(None, "caviar")]


async def test_a_refund_that_was_paid_offline_is_a_fact_and_counts_no_more_than_was_sold(stocked: Shop) -> None:
    await sell(stocked, ("milk", 2))
    late: dict[str, Any] = {"offline": True, "made_at": MADE_AT, "tenders": (Tender("cash", 300),)}
    answer = await back(stocked, ("0", 3), **late)
    assert (answer.refund_minor, answer.flags) == (200, ("offline", "exceeds_sale", "total_differs"))
    assert stocked.rows("SELECT quantity, counted FROM return_line") == [(3, 2)]
    assert stocked.store.view.stock[MILK] == 1
    strange = await back(stocked, ("9", 1), return_id="r2", **late)
    assert strange.flags == ("offline", "line_unknown", "unknown_item", "total_differs")
    unknown = await back(stocked, ("0", 1), return_id="r3", sale_id="lost", **late)
    assert (unknown.refund_minor, "sale_unknown" in unknown.flags) == (0, True)


async def test_a_line_that_the_sale_has_not_is_refused(stocked: Shop) -> None:
    await sell(stocked, ("milk", 2))
    assert await refusal(back(stocked, ("7", 1))) == "refused"


@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_sequence_of_returns_gives_back_more_than_was_sold_or_paid(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def play() -> None:
        shop = Shop(tmp_path_factory.mktemp("returns"))
        shop.open()
        await shop.stocked()
        sold, refused = data.draw(st.integers(1, 6)), set[str]()
        paid = await sell(shop, ("milk", sold), ("bread", 1))
        for n in range(data.draw(st.integers(1, 6))):
            offline = data.draw(st.booleans())
            made: dict[str, Any] = {"offline": offline, "made_at": MADE_AT, "tenders": (Tender("cash", 1),)} if offline else {}
            try:
                await back(shop, ("0", data.draw(st.integers(1, 4))), return_id=f"r{data.draw(st.integers(0, n))}", **made)
            except RpcError as error:
                refused.add(error.code)
        counted, refunded = shop.rows("SELECT coalesce(sum(counted), 0), coalesce(sum(goods_minor), 0) FROM return_line")[0]
        assert refused <= {"over_return", "id_conflict"}
        assert counted <= sold
        assert refunded <= paid - 200
        assert refunded == 100 * counted
        shop.close()

    asyncio.run(play())


# -- voids -----------------------------------------------------------------------------------------------------------------


async def test_a_void_takes_the_whole_sale_back_once(stocked: Shop) -> None:
    paid = await sell(stocked, ("milk", 3), ("bread", 1))
    answer = await void(stocked, reason="changed their mind")
    assert (answer.refund_minor, answer.flags) == (paid, ())
    assert stocked.store.view.stock == {MILK: 0, BREAD: 0}
    assert await void(stocked, reason="changed their mind") == answer
    (event,) = events(stocked, "void")
    assert (event["sale_id"], event["refund_minor"], [line["quantity"] for line in event["lines"]]) == ("s1", paid, [3, 1])
    assert await refusal(void(stocked, "v2")) == "refused"
    assert await refusal(void(stocked)) == "id_conflict"
    assert stocked.alerts() == ["void_id_conflict"]
    assert stocked.desk.status("lane-1", StatusParams("s1")).voided == "v1"


async def test_a_void_after_a_return_or_of_an_unknown_sale_is_refused(stocked: Shop) -> None:
    assert await refusal(void(stocked)) == "not_found"
    await sell(stocked, ("milk", 3))
    await back(stocked, ("0", 1))
    assert await refusal(void(stocked)) == "refused"
    assert stocked.store.view.stock[MILK] == -2


async def test_nothing_of_a_voided_sale_comes_back(stocked: Shop) -> None:
    await sell(stocked, ("milk", 3))
    await void(stocked)
    assert await refusal(back(stocked, ("0", 1))) == "refused"
    late = await back(stocked, ("0", 1), offline=True, made_at=MADE_AT, tenders=(Tender("cash", 100),))
    assert (late.refund_minor, late.flags) == (0, ("offline", "sale_voided", "exceeds_sale", "total_differs"))


@pytest.mark.parametrize("table", ["sale_void", "sale_return", "return_line"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET sale_id = 'other'"])
async def test_what_was_taken_back_is_never_changed(stocked: Shop, table: str, change: str) -> None:
    await sell(stocked, ("milk", 3))
    await sell(stocked, ("milk", 3), sale_id="s2")
    await back(stocked, ("0", 1))
    await void(stocked, sale_id="s2")
    before = stocked.rows(f"SELECT * FROM {table}")
    with pytest.raises(apsw.ConstraintError, match="append-only"):
        await stocked.store.run(lambda db: (db.execute(change.format(table)), Delta()))
    assert stocked.rows(f"SELECT * FROM {table}") == before != []
