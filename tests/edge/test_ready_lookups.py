"""Answers that are ready say what a lookup of the same instant would say: after every kind of change that a price may hang on."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.model import ItemId
from protocols.pos import LookupParams, LookupResult, RpcError, encode_result
from tests.edge.shop import BEEF_CODE, BREAD_CODE, HOUR_MS, L1, L2, MILK, MILK_CODE, NOON_MS, Shop, item, price

CODES = (MILK_CODE, BREAD_CODE, BEEF_CODE)


def scan(code: str, request_id: object = 1) -> bytes:
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "method": "item.lookup", "params": {"code": code}}) + b"\n"


def asked(shop: Shop, code: str) -> LookupResult | None:
    try:
        return shop.desk.lookup("lane-1", LookupParams(code=code))
    except RpcError:
        return None


def check(shop: Shop) -> list[str]:
    """Both ways say the same, each twice; the codes whose answer was ready."""
    ready = []
    for code in (*CODES, *CODES):
        answer = shop.desk.ready_answer(scan(code))
        if answer is not None:
            result = asked(shop, code)
            assert result is not None
            assert answer == encode_result(1, result)
            ready.append(code)
    return ready


async def test_the_answer_is_the_line_that_a_lookup_gives(stocked: Shop) -> None:
    assert check(stocked) == [*CODES, *CODES]
    for request_id in (7, "till-1/7", 'a"ö'):
        found = stocked.desk.ready_answer(scan(MILK_CODE, request_id))
        result = asked(stocked, MILK_CODE)
        assert result is not None
        assert found == encode_result(request_id, result)
    stocked.clock.pass_ms(61_234)
    assert check(stocked) == [*CODES, *CODES]


async def test_what_time_alone_may_change_is_never_ready(stocked: Shop) -> None:
    await stocked.prices(
        price("milk", 80, kind="promo", price_id="p", effective_from="2026-01-09T13:00:00Z", effective_to="2026-01-09T14:00:00Z")
    )
    assert set(check(stocked)) == {BREAD_CODE, BEEF_CODE}
    for _ in range(5):
        stocked.clock.pass_ms(HOUR_MS // 2)
        check(stocked)
    await stocked.store.put_in_force([MILK])
    stocked.clock.wall = NOON_MS
    check(stocked)


async def test_what_dwells_is_never_ready(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    assert MILK_CODE in check(stocked)
    held = asked(stocked, MILK_CODE)
    assert held is not None
    assert held.guard == "shelf_lower"
    await stocked.shows(L1, MILK, 100)
    check(stocked)
    stocked.clock.pass_ms(3 * HOUR_MS)
    check(stocked)


async def test_an_item_that_left_was_recalled_or_has_another_code_is_looked_up(stocked: Shop) -> None:
    check(stocked)
    await stocked.say("recall.v1", {"sku": "milk", "lots": [], "all_lots": True, "reason": "glass"})
    assert MILK_CODE not in check(stocked)
    await stocked.say(
        "item.batch.v1", {"items": [item("bread", BEEF_CODE), item("beef", BREAD_CODE, sold_by="weight")], "removed": ["milk"]}
    )
    check(stocked)
    assert stocked.desk.ready_answer(scan(MILK_CODE)) is None


async def test_another_call_a_strange_code_and_a_pack_are_not_answered(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [{"sku": "milk", "name": "Milk", "barcodes": [{"gtin": MILK_CODE, "pack_quantity": 6}]}]})
    for code in (MILK_CODE, "4006381333932", "12", "0" * 14, "x" * 13, "٤" * 13):
        assert stocked.desk.ready_answer(scan(code)) is None
    assert stocked.desk.ready_answer(b'{"jsonrpc":"2.0","id":1,"method":"stock.get","params":{"item_id":"milk"}}\n') is None


changes = st.lists(
    st.tuples(
        st.sampled_from(["price", "promo", "label", "show", "hours", "back", "remove", "tick"]), st.integers(0, 2), st.integers(1, 200)
    ),
    max_size=8,
)


@given(changes)
def test_after_any_changes_both_ways_agree(steps: list[tuple[str, int, int]]) -> None:
    async def play(folder: Path) -> None:
        shop = Shop(folder)
        shop.open()
        await shop.stocked()
        skus, label, rev = ("milk", "bread", "beef"), (L1, L2), 1
        for name in label:
            await shop.heard(name)
        for step, which, amount in steps:
            rev += 1
            match step:
                case "price":
                    await shop.prices(price(skus[which], amount, rev=rev, price_quantity=1000 if which == 2 else 1))
                case "promo":
                    await shop.prices(
                        price(skus[which], amount, rev=rev, kind="promo", price_id="p", effective_from="2026-01-09T14:00:00Z")
                    )
                case "label":
                    await shop.bind(label[amount % 2], ItemId(skus[which]))
                case "show":
                    bound = shop.store.view.bindings.get(label[amount % 2])
                    if bound is not None:
                        await shop.shows(label[amount % 2], bound.items[0], amount)
                case "hours":
                    shop.clock.pass_ms(HOUR_MS)
                case "back":
                    shop.clock.wall -= HOUR_MS
                case "remove":
                    await shop.say("item.batch.v1", {"items": [], "removed": [skus[which]]})
                case _:
                    await shop.store.put_in_force(shop.store.view.due_items(shop.clock.wall_ms()))
            check(shop)
        shop.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))
