"""Quotes, sales and stock on disk: each sale once, the ledger and the stock row always the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.store.till import IdConflict, NewSale, SaleLine
from tests.edge.shop import BREAD, MILK, NOON_MS, Shop


def sale(sale_id: str = "s1", *, quantity: int = 2, digest: str = "d1", line: str = "1") -> NewSale:
    lines = (SaleLine(line, MILK, "", quantity, 100 * quantity, 100 * quantity, None),)
    return NewSale(
        sale_id, "lane-1", None, digest, lines, (("cash", 100 * quantity),), 100 * quantity, (), 0, NOON_MS, 60, "2026-01-09", True
    )


def ledger_equals_stock(shop: Shop) -> bool:
    summed = dict(shop.rows("SELECT item_id, sum(delta) FROM ledger GROUP BY item_id"))
    return summed == dict(shop.rows("SELECT item_id, on_hand FROM stock")) == dict(shop.store.view.stock)


async def adjust(shop: Shop, id_: str, delta: int, sku: str = "milk") -> None:
    await shop.say("stock.adjust.v1", {"adjustments": [{"id": id_, "sku": sku, "delta": delta, "cause": "x"}]})


async def test_a_sale_takes_from_stock_and_goes_up_in_one_transaction(stocked: Shop) -> None:
    recorded = await stocked.store.record_sale(sale())
    assert stocked.store.view.stock[MILK] == -2
    data = msgspec.json.decode(stocked.value("SELECT data FROM outbox WHERE seq = ?", recorded.up_seq))
    assert (data["sale_id"], data["lines"][0]["sku"], data["lines"][0]["quantity"], data["clock_trusted"]) == ("s1", "milk", 2, True)
    assert stocked.value("SELECT up_seq FROM ledger WHERE cause = 'sale'") == recorded.up_seq
    assert ledger_equals_stock(stocked)


async def test_the_same_sale_gets_its_stored_answer_and_is_booked_once_also_after_a_restart(stocked: Shop) -> None:
    first = await stocked.store.record_sale(sale())
    assert await stocked.store.record_sale(sale()) == first
    stocked.reopen()
    assert await stocked.store.record_sale(sale()) == first
    assert stocked.store.find_sale("s1") == ("d1", first)
    assert stocked.value("SELECT count(*) FROM outbox WHERE kind = 'sale'") == 1
    assert stocked.store.view.stock[MILK] == -2


async def test_another_body_under_the_same_id_is_a_conflict_and_changes_nothing(stocked: Shop) -> None:
    await stocked.store.record_sale(sale())
    with pytest.raises(IdConflict):
        await stocked.store.record_sale(sale(quantity=5, digest="d2"))
    assert stocked.store.view.stock[MILK] == -2
    assert stocked.store.sales_count() == 1


async def test_an_unknown_item_is_recorded_and_takes_no_stock(stocked: Shop) -> None:
    strange = replace(sale(), lines=(SaleLine("1", None, "9999", 1, 250, None, None),))
    await stocked.store.record_sale(strange)
    assert stocked.rows("SELECT item_id, code, total_minor FROM sale_line") == [(None, "9999", 250)]
    assert stocked.value("SELECT count(*) FROM ledger") == 0


async def test_an_adjustment_counts_once_by_its_id(stocked: Shop) -> None:
    await adjust(stocked, "a1", 10)
    await adjust(stocked, "a1", 10)
    await adjust(stocked, "a1", 4, sku="bread")
    assert stocked.store.view.stock == {MILK: 10, BREAD: 4}
    assert ledger_equals_stock(stocked)


async def test_a_count_corrects_what_was_there_when_it_was_counted(stocked: Shop) -> None:
    await adjust(stocked, "a1", 10)
    first = await stocked.store.record_sale(sale("s1", quantity=2))
    await stocked.store.record_sale(sale("s2", quantity=3))
    await stocked.say("stock.count.v1", {"id": "c1", "sku": "milk", "counted": 9, "as_of_seq": first.up_seq})
    assert stocked.store.view.stock[MILK] == 9 - 3
    await stocked.say("stock.count.v1", {"id": "c1", "sku": "milk", "counted": 9, "as_of_seq": first.up_seq})
    assert stocked.store.view.stock[MILK] == 9 - 3
    assert ledger_equals_stock(stocked)


@given(data=st.data())
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_stock_row_is_the_sum_of_the_ledger_after_any_events_and_restarts(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def play() -> None:
        shop = Shop(tmp_path_factory.mktemp("till"))
        shop.open()
        await shop.stocked()
        expected = 0
        seen: set[str] = set()
        for _ in range(data.draw(st.integers(1, 8))):
            id_ = data.draw(st.sampled_from("abc"))
            match data.draw(st.sampled_from(["sale", "adjust", "restart"])):
                case "sale":
                    await shop.store.record_sale(sale(id_, quantity=2, digest=id_))
                    expected -= 0 if f"sale {id_}" in seen else 2
                    seen.add(f"sale {id_}")
                case "adjust":
                    await adjust(shop, id_, 5)
                    expected += 0 if f"adjust {id_}" in seen else 5
                    seen.add(f"adjust {id_}")
                case _:
                    shop.reopen()
        assert ledger_equals_stock(shop)
        assert shop.store.view.stock.get(MILK, 0) == expected
        shop.close()

    asyncio.run(play())
