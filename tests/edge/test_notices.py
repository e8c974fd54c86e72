"""What lanes are told unasked: what they asked for, together, never more than a bounded amount for a peer that does not read."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from edge.notices import STALE_AFTER_S, Notices, Subscriber
from protocols.pos import QuoteLine, QuoteParams
from protocols.pos_notices import HOLDS_MAX, ITEMS_MAX, Notice
from tests.edge.shop import Shop, item, price
from tests.edge.test_store_stock import place, receive


@dataclass
class Ear:
    """A connection that takes what it is told, or not."""

    heard: list[dict[str, Any]] = field(default_factory=list)
    open: bool = True

    def push(self, line: bytes) -> bool:
        if self.open:
            message = json.loads(line)
            assert message.pop("jsonrpc") == "2.0"
            assert set(message) == {"method", "params"}
            self.heard.append(message)
        return self.open

    def take(self) -> list[tuple[str, Any]]:
        heard, self.heard = self.heard, []
        return [(each["method"], each["params"]) for each in heard]


@dataclass
class Town:
    shop: Shop
    notices: Notices
    stale_s: int = 0

    def listen(self, *asked: Notice, lane: str = "lane-1") -> tuple[Ear, Subscriber]:
        ear = Ear()
        return ear, self.notices.subscribe(lane, asked, ear.push)


@pytest.fixture
async def town(stocked: Shop) -> Town:
    found = Town(stocked, Notices(stocked.store.view, lambda: found.stale_s))
    stocked.store.listeners.append(found.notices.changed)
    return found


async def test_changes_are_told_together_to_who_asked(town: Town) -> None:
    ear, _ = town.listen(Notice.PRICES)
    deaf, _ = town.listen(Notice.STALE)
    await town.shop.prices(price("milk", 90, rev=2))
    await town.shop.prices(price("bread", 190, rev=2))
    town.notices.tell()
    town.notices.tell()
    revision = town.shop.store.view.revision
    assert ear.take() == [("price.changed", {"revision": revision, "items": ["bread", "milk"], "more": False, "baskets": []})]
    assert deaf.take() == []


async def test_a_connection_is_told_which_of_its_open_baskets_hold_a_changed_item(town: Town) -> None:
    everything, _ = town.listen(Notice.PRICES)
    baskets, _ = town.listen(Notice.BASKET_PRICES)
    other, _ = town.listen(Notice.BASKET_PRICES, lane="lane-2")
    for basket in ("b2", "b1"):
        await town.shop.desk.quote("lane-1", QuoteParams(basket, (QuoteLine("1", 1, item_id="milk"),)))
    await town.shop.prices(price("milk", 90, rev=2), price("bread", 190, rev=2))
    town.notices.tell()
    ((_, told),) = everything.take()
    assert (told["items"], told["baskets"]) == (["bread", "milk"], ["b1", "b2"])
    ((_, told),) = baskets.take()
    assert (told["items"], told["baskets"]) == (["milk"], ["b1", "b2"])
    assert other.take() == []


async def test_an_import_is_one_notification_of_a_bounded_size(town: Town) -> None:
    ear, subscriber = town.listen(Notice.PRICES)
    skus = [f"i{n:04d}" for n in range(ITEMS_MAX + 300)]
    for start in range(0, len(skus), 400):
        await town.shop.say("item.batch.v1", {"items": [item(sku) for sku in skus[start : start + 400]]})
    assert len(subscriber.items) == ITEMS_MAX
    town.notices.tell()
    ((_, told),) = ear.take()
    assert (len(told["items"]), told["more"]) == (ITEMS_MAX, True)
    await town.shop.prices(price("milk", 90, rev=2))
    town.notices.tell()
    ((_, told),) = ear.take()
    assert (told["items"], told["more"]) == (["milk"], False)


async def test_a_basket_is_named_also_when_its_item_is_beyond_the_list(town: Town) -> None:
    ear, _ = town.listen(Notice.PRICES)
    await town.shop.desk.quote("lane-1", QuoteParams("b1", (QuoteLine("1", 1, item_id="milk"),)))
    for start in (0, 400):
        await town.shop.say("item.batch.v1", {"items": [item(f"i{n:04d}") for n in range(start, start + 400)]})
    town.notices.tell()
    assert ear.take()[0][1]["baskets"] == ["b1"]


async def test_who_does_not_read_is_told_later_and_holds_no_more_than_a_set(town: Town) -> None:
    ear, subscriber = town.listen(Notice.PRICES, Notice.HOLD)
    ear.open = False
    await receive(town.shop, 1_000)
    for n in range(HOLDS_MAX + 3):
        await place(town.shop, f"h{n}", 1)
        await town.shop.prices(price("milk", 50 + n, rev=2 + n))
        town.notices.tell()
    assert (len(subscriber.items), len(subscriber.holds), subscriber.more_holds) == (1, HOLDS_MAX, True)
    ear.open = True
    town.notices.tell()
    told = ear.take()
    assert [method for method, _ in told].count("price.changed") == 1
    assert [params["hold_id"] for method, params in told if method == "hold.new"] == [*(f"h{n}" for n in range(HOLDS_MAX)), None]


async def test_a_new_hold_is_told_once_and_no_later_state_of_it(town: Town) -> None:
    ear, _ = town.listen(Notice.HOLD)
    await receive(town.shop, 10)
    await place(town.shop, "h1", 1)
    town.notices.tell()
    await town.shop.say("stock.release.v1", {"releases": [{"id": "h1"}]})
    town.notices.tell()
    assert ear.take() == [("hold.new", {"hold_id": "h1"})]


async def test_an_outage_is_told_when_it_begins_and_when_it_ends(town: Town) -> None:
    ear, _ = town.listen(Notice.STALE)
    for stale_s in (0, STALE_AFTER_S - 1, STALE_AFTER_S, 900, 3, 4):
        town.stale_s = stale_s
        town.notices.tell()
    assert ear.take() == [("stale", {"stale_s": STALE_AFTER_S, "stale": True}), ("stale", {"stale_s": 3, "stale": False})]
    town.stale_s = 5_000
    late, _ = town.listen(Notice.STALE)
    town.notices.tell()
    assert late.take() == [("stale", {"stale_s": 5_000, "stale": True})]


async def test_who_has_left_is_told_nothing_and_costs_nothing(town: Town) -> None:
    ear, subscriber = town.listen(*Notice)
    town.notices.unsubscribe(subscriber)
    town.notices.unsubscribe(subscriber)
    await town.shop.prices(price("milk", 90, rev=2))
    town.notices.tell()
    assert (ear.take(), subscriber.items) == ([], set())
