"""Stock at the lane: levels, the pick list, and what becomes of held goods."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from drivers.base import LabelId, RadioId
from edge.model import Place
from protocols.pos import CommitLine, CommitParams, RpcError, Tender
from protocols.pos_stock import ArrivedParams, CollectParams, FlashParams, HoldsParams, ReleaseParams, StockParams, StockState
from tests.edge.shop import L1, L2, MILK, MILK_CODE, R1, R2, Shop, item
from tests.edge.test_store_stock import books_balance, escrow, observe, place, receive, told


async def refusal(call: Any) -> str:
    with pytest.raises(RpcError) as raised:
        await call
    return raised.value.code


@pytest.fixture
async def picking(stocked: Shop) -> Shop:
    """Ten cartons of milk, three of them held for two orders."""
    await receive(stocked, 10)
    await place(stocked, "h1", 2, expires="2026-01-09T18:00:00Z")
    await place(stocked, "h2", 1, expires="2026-01-09T14:00:00Z", order="o2", purpose="curbside")
    return stocked


async def test_a_till_sees_what_is_there_what_is_promised_and_what_is_left(picking: Shop) -> None:
    await escrow(picking, "e1", 4)
    levels = picking.desk.stock.levels("lane-1", StockParams(code=MILK_CODE))
    assert (levels.on_hand, levels.held, levels.escrow, levels.available, levels.unit) == (10, 3, 4, 3, "each")
    assert (levels.state, levels.up_seq) == (StockState.IN, picking.store.outbox_state().last_seq)
    assert picking.desk.stock.levels("lane-1", StockParams(item_id="bread")).state is StockState.UNKNOWN


async def test_low_and_out_of_stock_are_states(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("milk", MILK_CODE, attributes={"stock_full": "20"})]})
    states = []
    for n, units in enumerate((20, -16, -4)):
        await receive(stocked, units, id_=f"a{n}")
        states.append(stocked.desk.stock.levels("lane-1", StockParams(item_id="milk")).state)
    assert states == [StockState.IN, StockState.LOW, StockState.OUT]


async def test_what_a_sensor_doubts_is_shown_beside_the_books(picking: Shop) -> None:
    await observe(picking, 6)
    (found,) = picking.desk.stock.levels("lane-1", StockParams(item_id="milk")).discrepancies
    assert (found.source, found.kind, found.observed, found.expected) == ("scale-7", "scale", 6, 10)


async def test_the_pick_list_is_in_order_and_says_where_the_goods_are(picking: Shop) -> None:
    await picking.heard(L1)
    await picking.store.bind(L1, (MILK,), "shelf", Place("3", "B", "2", "7"), actor="test")
    listed = picking.desk.stock.holds("lane-1", HoldsParams())
    assert [(hold.hold_id, hold.quantity, hold.order, hold.purpose) for hold in listed.holds] == [
        ("h2", 1, "o2", "curbside"),
        ("h1", 2, "o1", "pickup"),
    ]
    where = listed.holds[0].places[0]
    assert (where.label, where.aisle, where.bay, where.shelf, where.slot) == (L1, "3", "B", "2", "7")
    await picking.desk.stock.arrived("lane-1", ArrivedParams(order="o1"))
    again = picking.desk.stock.holds("lane-1", HoldsParams())
    assert [(hold.hold_id, hold.state) for hold in again.holds] == [("h1", "arrived"), ("h2", "placed")]
    assert again.holds[0].arrived_at == "2026-01-09T12:00:00.000Z"


async def test_the_pick_list_comes_in_pages(picking: Shop) -> None:
    for n in range(5):
        await place(picking, f"p{n}", 1, expires=f"2026-01-09T15:0{n}:00Z")
    seen: list[str] = []
    after, more = None, True
    while more:
        page = picking.desk.stock.holds("lane-1", HoldsParams(after=after, limit=2))
        seen += [hold.hold_id for hold in page.holds]
        after, more = seen[-1], page.more
    assert seen == ["h2", "p0", "p1", "p2", "p3", "p4", "h1"]
    assert [hold.hold_id for hold in picking.desk.stock.holds("lane-1", HoldsParams(order="o2")).holds] == ["h2"]
    with pytest.raises(RpcError):
        picking.desk.stock.holds("lane-1", HoldsParams(after="nobody"))


async def test_what_is_handed_over_leaves_the_stock_once(picking: Shop) -> None:
    first = await picking.desk.stock.collect("lane-1", CollectParams("h1"))
    again = await picking.desk.stock.collect("lane-2", CollectParams("h1"))
    assert (first.changed, again.changed, first.holds) == (True, False, again.holds)
    level = picking.store.view.level(MILK)
    assert (level.on_hand, level.held) == (8, 1)
    assert await refusal(picking.desk.stock.release("lane-1", ReleaseParams("h1"))) == "refused"
    assert await refusal(picking.desk.stock.collect("lane-1", CollectParams("h9"))) == "not_found"
    assert books_balance(picking)


async def test_what_goes_back_on_the_shelf_is_available_again(picking: Shop) -> None:
    await picking.desk.stock.release("lane-1", ReleaseParams("h1", "not fetched"))
    assert picking.store.view.level(MILK).available == 9
    assert [(event["by"], event["reason"]) for event in told(picking, "hold.released")] == [("lane lane-1", "not fetched")]


async def test_an_order_that_nobody_knows_has_not_arrived(picking: Shop) -> None:
    assert await refusal(picking.desk.stock.arrived("lane-1", ArrivedParams(order="o9"))) == "not_found"
    assert await refusal(picking.desk.stock.arrived("lane-1", ArrivedParams(hold_id="h9"))) == "not_found"


async def test_an_order_paid_at_the_till_is_collected_with_its_sale(picking: Shop) -> None:
    lines = (CommitLine("1", 2, 200, item_id="milk"),)
    await picking.desk.commit("lane-1", CommitParams("s1", (Tender("cash", 200),), lines=lines, holds=("h1",)))
    assert (await picking.desk.stock.collect("lane-1", CollectParams("h1"))).changed is False
    level = picking.store.view.level(MILK)
    assert (level.on_hand, level.held) == (8, 1)


# -- blinking --------------------------------------------------------------------------------------------------------------


@dataclass
class Lamp:
    """A radio whose labels have a light."""

    name: str
    radio_id: RadioId | None
    flashed: list[str] = field(default_factory=list)

    def flash(self, label_id: LabelId) -> str | None:
        self.flashed.append(label_id)
        return None


@dataclass
class Dark:
    """A radio without such a command."""

    name: str
    radio_id: RadioId | None


async def test_the_labels_of_an_item_blink_where_their_radio_can_make_them(stocked: Shop) -> None:
    lamp, dark = Lamp("ceiling", R1), Dark("cellar", R2)
    radios: Any = lambda: (lamp, dark)  # noqa: E731 - a stand-in for the composition root's
    stocked.desk.stock.radios = radios
    for label, radio in ((L1, R1), (L2, R2)):
        await stocked.heard(label, radio)
        await stocked.bind(label, MILK)
    answer = stocked.desk.stock.flash("lane-1", FlashParams(code=MILK_CODE))
    assert (answer.labels, lamp.flashed) == ((L1,), [L1])
    assert answer.skipped == {L2: "radio cellar has no command that makes a label blink"}
    for params, code in (
        (FlashParams(label=L2), "refused"),
        (FlashParams(label="nobody"), "not_found"),
        (FlashParams(item_id="bread"), "not_found"),
        (FlashParams(item_id="caviar"), "unknown_item"),
    ):
        with pytest.raises(RpcError) as raised:
            stocked.desk.stock.flash("lane-1", params)
        assert raised.value.code == code


async def test_a_label_whose_radio_is_down_does_not_blink(stocked: Shop) -> None:
    await stocked.heard(L1)
    with pytest.raises(RpcError, match="down"):
        stocked.desk.stock.flash("lane-1", FlashParams(label=L1))
