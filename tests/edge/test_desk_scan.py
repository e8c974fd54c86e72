"""Scanned codes at the desk: every form finds its item, packs are charged by weight and by price, lots and dates are told.

It is Friday 2026-01-09, 13:00 in the store.
"""

from __future__ import annotations

import asyncio
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.codes import Codes
from edge.model import Item, ItemId, Recall
from edge.view import Delta, View
from protocols.gs1 import Rules
from protocols.gs1_embedded import ValueKind, layout, price_verifier
from protocols.gs1_numbers import with_check_digit
from protocols.pos import (
    CommitLine,
    CommitParams,
    LookupParams,
    LookupResult,
    QuotedLine,
    QuoteLine,
    QuoteParams,
    QuoteResult,
    RpcError,
    Tender,
)
from tests.edge.shop import BEEF_CODE, HOUR_MS, L1, MILK, MILK_CODE, NOON_MS, HandClock, Shop, facts, item, price
from tests.protocols.test_gs1 import GTIN
from tests.protocols.test_gs1_hostile import SYMBOLOGIES, hostile

RULES = Rules(
    (
        layout("kilo", "28 .... V {NNDDD}", ValueKind.WEIGHT),
        layout("price", "21 ..... {NNNDD}", ValueKind.PRICE),
    )
)
HAM, BRIE = ItemId("ham"), ItemId("brie")
HAM_KEY, BRIE_KEY = with_check_digit("281234000000"), with_check_digit("211234500000")
MILK14 = MILK_CODE.zfill(14)
BEEF14 = BEEF_CODE.zfill(14)


def ham(grams: int) -> str:
    value = f"{grams:05d}"
    return with_check_digit(f"281234{price_verifier(value)}{value}")


def brie(minor: int) -> str:
    return with_check_digit(f"2112345{minor:05d}")


async def counter(shop: Shop) -> None:
    """Ham at 20.00 and brie at 15.00 per kg, both packed in the store; apples by PLU at 3.00 per kg; a salad whose packs differ."""
    shop.reopen(replace(facts(), scan=RULES))
    apples = item("apple", sold_by="weight") | {"attributes": {"plu": "4011 94011"}}
    salad = item("salad", with_check_digit("211111100000"))
    goods = [item("ham", HAM_KEY, sold_by="weight"), item("brie", BRIE_KEY, sold_by="weight"), apples, salad]
    await shop.say("item.batch.v1", {"items": goods})
    per_kilo = [price(sku, amount, price_quantity=1000) for sku, amount in (("ham", 2_000), ("brie", 1_500), ("apple", 300))]
    assert (await shop.prices(*per_kilo)).detail == ""
    await shop.prices(price("salad", 499))


@pytest.fixture
async def deli(stocked: Shop) -> Shop:
    await counter(stocked)
    return stocked


def lookup(shop: Shop, code: str, *, member: bool = False) -> LookupResult:
    return shop.desk.lookup("lane-1", LookupParams(code=code, member=member))


async def quote(shop: Shop, *lines: tuple[str, int], basket: str = "b1", member: bool = False) -> QuoteResult:
    asked = tuple(QuoteLine(str(number), quantity, code=code) for number, (code, quantity) in enumerate(lines))
    return await shop.desk.quote("lane-1", QuoteParams(basket, asked, member))


async def line(shop: Shop, code: str, quantity: int = 1, **more: Any) -> QuotedLine:
    return (await quote(shop, (code, quantity), **more)).lines[0]


def refusal(shop: Shop, code: str) -> RpcError:
    with pytest.raises(RpcError) as raised:
        lookup(shop, code)
    return raised.value


# -- items -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code",
    [
        MILK_CODE,
        MILK14,
        f"]E0{MILK_CODE}",
        f"]C101{MILK14}10L1\x1d21S1",
        f"]d2\x1d01{MILK14}17261231",
        f"(01){MILK14}(10)L1",
        f"https://shop.example/p/01/{MILK14}/10/L1?17=261231",
        f"]Q1https://id.gs1.org/01/{MILK14}",
    ],
)
async def test_every_form_of_a_code_finds_its_item(deli: Shop, code: str) -> None:
    found = lookup(deli, code)
    assert (found.item_id, found.price.amount_minor, found.pack_quantity, found.total_minor) == ("milk", 100, 1, None)
    assert (await line(deli, code, 3)).total_minor == 300


async def test_produce_is_found_by_its_plu_and_weighed_by_the_till(deli: Shop) -> None:
    assert lookup(deli, "4011").item_id == "apple"
    assert (await line(deli, "94011", 750)).total_minor == 225
    await deli.say("item.batch.v1", {"items": [item("pear", sold_by="weight") | {"attributes": {"plu": "4011"}}]})
    assert "apple, pear" in refusal(deli, "4011").detail
    await deli.say("item.batch.v1", {"removed": ["pear"]})
    assert lookup(deli, "4011").item_id == "apple"
    await deli.say("item.batch.v1", {"items": [item("apple", sold_by="weight")]})
    assert refusal(deli, "4011").code == "unknown_item"
    deli.reopen(replace(facts(), scan=Rules(plu=False)))
    assert "no PLU" in refusal(deli, "4011").detail


async def test_a_code_that_cannot_be_read_is_no_item_and_says_why(deli: Shop) -> None:
    wrong = refusal(deli, MILK_CODE[:-1] + "2")
    assert (wrong.code, wrong.cashier) == ("unknown_item", "Code could not be read. Scan again, or enter the number below it.")
    assert "check digit 1" in wrong.detail
    forged = with_check_digit("281234001250")
    assert "verifier 7 (gs1)" in refusal(deli, forged).detail
    assert refusal(deli, with_check_digit("281239701250")).cashier != wrong.cashier


# -- packs with a weight ---------------------------------------------------------------------------------------------------


async def test_a_pack_with_its_weight_is_charged_by_it(deli: Shop) -> None:
    found = lookup(deli, ham(350))
    assert (found.item_id, found.pack_quantity, found.total_minor, found.price.amount_minor) == ("ham", 350, 700, 2_000)
    told = await line(deli, ham(350))
    assert (told.quantity, told.total_minor) == (350, 700)
    twice = await line(deli, ham(350), 2, basket="b2")
    assert (twice.quantity, twice.total_minor) == (700, 1_400)


async def test_a_pack_sold_takes_its_weight_from_the_stock(deli: Shop) -> None:
    told = await quote(deli, (ham(350), 1), (ham(420), 1))
    await deli.desk.commit("lane-1", CommitParams("s1", (Tender("cash", told.total_minor),), quote_id=told.quote_id))
    assert deli.store.view.stock[HAM] == -770


async def test_the_shelf_holds_a_pack_down_as_it_holds_loose_goods(deli: Shop) -> None:
    await deli.heard(L1)
    await deli.bind(L1, HAM)
    await deli.shows(L1, HAM, 1)
    told = await line(deli, ham(350))
    assert (told.total_minor, told.guard) == (350, "shelf_lower")


async def test_a_till_that_sends_the_weight_as_well_is_stopped_before_it_charges(deli: Shop) -> None:
    for quantity in (350, 100):
        with pytest.raises(RpcError) as raised:
            await quote(deli, (ham(350), quantity))
        assert raised.value.code == "bad_quantity"
    assert deli.store.view.quotes == {}


async def test_a_standard_code_with_a_net_weight_is_charged_by_it(deli: Shop) -> None:
    code = f"]e001{BEEF14}3103000750"
    assert (await line(deli, code)).total_minor == 750
    pounds = await line(deli, f"]e001{BEEF14}3202000150", basket="b2")
    assert (pounds.quantity, pounds.total_minor) == (680, 680)


# -- packs with a price ----------------------------------------------------------------------------------------------------


async def test_a_pack_with_its_price_costs_that_and_weighs_what_it_buys(deli: Shop) -> None:
    found = lookup(deli, brie(399))
    assert (found.item_id, found.pack_quantity, found.total_minor) == ("brie", 266, 399)
    told = await line(deli, brie(399))
    assert (told.quantity, told.total_minor, told.guard) == (266, 399, None)
    assert (await quote(deli, (brie(399), 1), (brie(401), 1), (brie(399), 2), basket="b2")).total_minor == 4 * 399 + 2


@given(st.lists(st.integers(1, 99_999), min_size=1, max_size=6), st.integers(1, 9_999))
def test_packs_with_prices_together_cost_what_is_printed_on_them(prices: list[int], per_kilo: int) -> None:
    async def play(folder: Path) -> None:
        shop = Shop(folder)
        shop.open()
        await shop.stocked()
        await counter(shop)
        await shop.prices(price("brie", per_kilo, rev=2, price_quantity=1000, price_id="c", kind="promo"))
        told = await quote(shop, *((brie(each), 1) for each in prices))
        assert [each.total_minor for each in told.lines] == prices
        shop.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


async def test_a_pack_of_a_fixed_item_costs_its_price_or_the_shelfs_whichever_is_less(deli: Shop) -> None:
    cheap, dear = with_check_digit("211111100399"), with_check_digit("211111100599")
    assert ((await line(deli, cheap)).total_minor, (await line(deli, dear, basket="b2")).total_minor) == (399, 499)
    assert (await line(deli, cheap, 2, basket="b3")).total_minor == 798


async def test_weight_and_price_of_one_code_give_the_lesser_charge(deli: Shop) -> None:
    for printed, charged in ((700, 700), (750, 750), (800, 750)):
        code = f"]C101{BEEF14}31030007503922{printed}"
        assert (await line(deli, code, basket=f"b{printed}")).total_minor == charged
        assert lookup(deli, code).total_minor == charged


async def test_a_price_in_another_currency_is_not_used_and_the_cashier_is_told(deli: Shop) -> None:
    told = await line(deli, f"]C101{BEEF14}31030007503932840100")
    assert (told.total_minor, [each.code for each in told.warnings]) == (750, ["amount_ignored"])
    euro = await line(deli, f"]C101{BEEF14}31030007503932978100", basket="b2")
    assert (euro.total_minor, euro.warnings) == (100, ())


async def test_a_pack_whose_shelf_price_is_held_down_is_charged_by_the_shelf(deli: Shop) -> None:
    """The scale follows the price list at once, the shelf label does not: a third less per kilo is a third less for the pack."""
    await deli.heard(L1)
    await deli.bind(L1, BRIE)
    await deli.shows(L1, BRIE, 1)
    told = await line(deli, brie(1_500))
    assert (told.quantity, told.total_minor, told.guard) == (1_000, 1_000, "shelf_lower")
    assert lookup(deli, brie(1_500)).total_minor == 1_000


async def test_a_member_pays_the_members_rate_for_a_pack(deli: Shop) -> None:
    await deli.prices(price("brie", 1_200, kind="member", price_id="m", price_quantity=1000))
    assert (await line(deli, brie(1_500))).total_minor == 1_500
    assert (await line(deli, brie(1_500), basket="b2", member=True)).total_minor == 1_200


async def test_the_same_packs_quoted_again_never_get_dearer(deli: Shop) -> None:
    await deli.prices(price("brie", 1_200, kind="member", price_id="m", price_quantity=1000))
    first = await line(deli, brie(1_500), 2, member=True)
    assert first.total_minor == 2_400
    await deli.prices(price("brie", 1_400, rev=2, price_quantity=1000))
    deli.reopen(replace(facts(), scan=RULES))
    again = await line(deli, brie(1_500), 2, member=True)
    assert again.total_minor <= first.total_minor
    assert (await line(deli, brie(1_500), 3)).total_minor > first.total_minor


async def test_a_sale_told_afterwards_is_judged_by_the_price_on_the_pack(deli: Shop) -> None:
    async def refund(sale_id: str, code: str, total: int, quantity: int = 1) -> int:
        lines = (CommitLine("1", quantity, total, code=code),)
        return (await deli.desk.commit("lane-1", CommitParams(sale_id, (Tender("cash", total),), lines=lines))).refund_due_minor

    assert await refund("s1", brie(1_500), 1_500) == 0
    assert await refund("s2", brie(1_500), 1_600) == 100
    assert await refund("s3", with_check_digit("211111100399"), 499) == 100
    assert await refund("s4", ham(350), 700) == 0
    assert await refund("s5", ham(350), 1_500, 2) == 100
    assert await refund("s6", "not a code", 100) == 0
    assert deli.rows("SELECT quantity FROM sale_line ORDER BY sale_id") == [(1_000,), (1_000,), (1,), (350,), (700,), (1,)]


# -- lots and dates --------------------------------------------------------------------------------------------------------


async def warnings(shop: Shop, code: str) -> list[str]:
    """What a lookup and a quote both tell."""
    found = [each.code for each in lookup(shop, code).warnings]
    assert [each.code for each in (await line(shop, code, basket=f"w{len(code)}")).warnings] == found
    return found


@pytest.mark.parametrize(
    "elements, told",
    [
        ("17260109", []),
        ("17260108", ["expired"]),
        ("17260100", []),
        ("17251200", ["expired"]),
        ("15260108", ["past_best_before"]),
        ("16260108", ["past_sell_by"]),
        ("70032601091259", ["expired"]),
        ("70032601091301", []),
        ("17991231", ["expired"]),
        ("17261331", []),
    ],
)
async def test_a_date_that_has_passed_is_told_with_a_text(deli: Shop, elements: str, told: list[str]) -> None:
    assert await warnings(deli, f"]C101{MILK14}{elements}") == told


async def test_a_doubtful_clock_asks_the_cashier_to_read_the_date(deli: Shop) -> None:
    deli.clock.trusted = False
    assert await warnings(deli, f"]C101{MILK14}17251231") == ["check_date"]


async def test_a_date_is_the_stores_not_utcs(deli: Shop) -> None:
    deli.clock.wall = NOON_MS + 11 * HOUR_MS + HOUR_MS // 2  # 23:30 UTC: the 10th in the store
    assert await warnings(deli, f"]C101{MILK14}17260109") == ["expired"]


async def test_a_recalled_lot_is_told_until_hq_lifts_it_also_after_a_restart(deli: Shop) -> None:
    recalled, other, unknown = f"]C101{MILK14}10L7", f"]C101{MILK14}10L8", MILK_CODE
    told = {recalled: ["recalled"], other: [], unknown: ["check_lot"]}
    await deli.say("recall.v1", {"sku": "milk", "lots": ["L7", "L9"], "reason": "Glass."})
    for _ in range(2):
        assert {code: await warnings(deli, code) for code in told} == told
        deli.reopen(replace(facts(), scan=RULES))
    assert lookup(deli, recalled).warnings[0].text == "Lot L7 is recalled: do not sell. Glass."
    assert lookup(deli, recalled).lot == "L7"
    await deli.say("recall.v1", {"sku": "milk", "lots": ["L9"]})
    assert await warnings(deli, recalled) == []
    await deli.say("recall.v1", {"sku": "milk", "all_lots": True})
    assert await warnings(deli, unknown) == ["recalled"]
    by_id = deli.desk.lookup("lane-1", LookupParams(item_id="milk"))
    assert [each.code for each in by_id.warnings] == ["recalled"]
    await deli.say("recall.v1", {"sku": "milk"})
    assert await warnings(deli, unknown) == []
    assert deli.rows("SELECT count(*) FROM recall") == [(0,)]
    noted = deli.rows("SELECT detail FROM audit WHERE what = 'recall' ORDER BY entry_id")
    assert [msgspec.json.decode(each)["lots"] for (each,) in noted] == [["L7", "L9"], ["L9"], [], []]
    assert [stage for stream, _, stage in deli.acks() if stream == "stock"] == ["applied"] * 4


async def test_a_recall_of_an_item_that_is_not_here_yet_waits_for_it(deli: Shop) -> None:
    await deli.say("recall.v1", {"sku": "rice", "lots": ["R1"]})
    await deli.say("item.batch.v1", {"items": [item("rice", "4002359001116")]})
    await deli.prices(price("rice", 150))
    assert deli.store.view.recalls == {ItemId("rice"): Recall(frozenset({"R1"}))}
    assert await warnings(deli, "]C10104002359001116" + "10R1") == ["recalled"]


async def test_a_warning_refuses_nothing(deli: Shop) -> None:
    await deli.say("recall.v1", {"sku": "milk", "all_lots": True})
    told = await quote(deli, (MILK_CODE, 1))
    made_at = datetime(2026, 1, 9, 11, tzinfo=UTC)
    answer = await deli.desk.commit(
        "lane-1", CommitParams("s1", (Tender("cash", 100),), quote_id=told.quote_id, offline=True, made_at=made_at)
    )
    assert answer.recorded


async def test_the_code_is_kept_with_the_sale_so_that_a_lot_can_be_traced(deli: Shop) -> None:
    code = f"]C101{MILK14}10L7"
    told = await quote(deli, (code, 1))
    await deli.desk.commit("lane-1", CommitParams("s1", (Tender("cash", 100),), quote_id=told.quote_id))
    assert deli.rows("SELECT code FROM sale_line") == [(code,)]
    assert lookup(deli, f"]C101{MILK14}17261231").expiry == "2026-12-31"


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(SYMBOLOGIES), hostile)
def test_any_text_is_an_item_or_unknown(codes: Codes, symbology: str, text: str) -> None:
    try:
        goods = codes.goods(symbology + text, None)
    except RpcError as error:
        told = error.code
    else:
        told = "" if goods.units(1, None) >= 1 else "no units"
    assert told in ("", "unknown_item")


@pytest.fixture
def codes() -> Codes:
    view = View()
    view.apply(Delta(items={MILK: Item(MILK, "Milk", sold_by="weight")}, barcodes={GTIN: (MILK, 1), HAM_KEY.zfill(14): (MILK, 1)}))
    return Codes(view, HandClock(), RULES, facts().zone, "EUR", 2)
