"""The whole lane: real sockets, the real desk, the real store. A till buys, gives back, picks orders, and is told what changes."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge.lane_client import DaemonGone, LaneClient
from edge.notices import Notices
from edge.pos import LaneServer, LaneSocket
from edge.rpc import ConnectionLimiter, Drop, RpcHooks, RpcLimits
from protocols.jsonrpc import card_number_in, encode_request
from protocols.pos import LINES_MAX, CommitParams, LookupParams, QuoteLine, QuoteParams, RpcError, Tender
from protocols.pos_notices import Notice, PriceChanged
from protocols.pos_prices import PricesParams
from protocols.pos_returns import ReturnLine, ReturnParams, VoidParams
from protocols.pos_stock import HoldsResult, StockResult
from tests.edge.shop import MILK, MILK_CODE, Shop, price
from tests.edge.test_store_stock import place, receive

TIMEOUT_S = 20.0  # never reached in a passing test


@dataclass
class Timer:
    action: Any
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class Lanes:
    shop: Shop
    folder: Path
    drops: list[Drop] = field(default_factory=list)
    fatal: list[BaseException] = field(default_factory=list)
    timers: list[Timer] = field(default_factory=list)
    clients: list[LaneClient] = field(default_factory=list)
    server: LaneServer = field(init=False)
    notices: Notices = field(init=False)

    async def start(self) -> None:
        self.notices = Notices(self.shop.store.view, self.shop.desk.stale_s)
        self.shop.store.listeners.append(self.notices.changed)
        self.server = LaneServer(
            self.shop.desk,
            [LaneSocket(lane, self.folder / lane) for lane in ("lane-1", "lane-2")],
            limiter=ConnectionLimiter(),
            hooks=RpcHooks(self.fatal.append, on_drop=lambda listener, why: self.drops.append(why)),
            clock=lambda: 0.0,
            limits=RpcLimits(),
            call_later=self._later,
            notices=self.notices,
        )
        await self.server.start()

    def _later(self, delay_s: float, action: Any) -> Timer:
        self.timers.append(Timer(action))
        return self.timers[-1]

    async def till(self, lane: str = "lane-1", *notify: Notice) -> LaneClient:
        client = await LaneClient.connect(self.folder / lane, timeout_s=TIMEOUT_S)
        self.clients.append(client)
        await client.hello(lane, notify=notify)
        return client


@pytest.fixture
async def lanes(stocked: Shop, tmp_path: Path) -> AsyncIterator[Lanes]:
    (tmp_path / "sockets").mkdir()
    lanes = Lanes(stocked, tmp_path / "sockets")
    await lanes.start()
    yield lanes
    for client in lanes.clients:
        await client.close()
    await lanes.server.close(grace_s=0)
    assert lanes.fatal == []


async def test_a_till_buys_gives_back_and_takes_back(lanes: Lanes) -> None:
    till = await lanes.till()
    quote = await till.quote(QuoteParams("b1", (QuoteLine("1", 3, code=MILK_CODE),)))
    await till.commit(CommitParams("s1", (Tender("cash", 300),), quote.quote_id, total_minor=300))
    preview = await till.take_back(ReturnParams("r1", (ReturnLine("1", 1, "1"),), sale_id="s1", preview=True))
    assert (preview.refund_minor, preview.recorded) == (100, False)
    done = await till.take_back(ReturnParams("r1", (ReturnLine("1", 1, "1"),), (Tender("cash", 100),), "s1"))
    assert (done.refund_minor, done.flags, done.recorded) == (100, (), True)
    with pytest.raises(RpcError, match="refused"):
        await till.void(VoidParams("v1", "s1"))
    with pytest.raises(RpcError, match="over_return"):
        await till.take_back(ReturnParams("r2", (ReturnLine("1", 3, "1"),), (Tender("cash", 300),), "s1"))
    assert lanes.shop.store.view.stock[MILK] == -2


async def test_a_till_of_500_lines_is_quoted_paid_and_given_back(lanes: Lanes) -> None:
    till = await lanes.till()
    quote = await till.quote(QuoteParams("b", tuple(QuoteLine(f"line-{n}", 1 + n % 3, code=MILK_CODE) for n in range(LINES_MAX))))
    await till.commit(CommitParams("s1", (Tender("card", quote.total_minor),), quote.quote_id))
    lines = tuple(ReturnLine(f"back-{n}", 1 + n % 3, f"line-{n}") for n in range(LINES_MAX))
    done = await till.take_back(ReturnParams("r1", lines, (Tender("card", quote.total_minor),), "s1"))
    assert (done.refund_minor, done.flags) == (quote.total_minor, ())
    assert lanes.shop.store.view.stock[MILK] == 0


async def test_orders_are_listed_collected_and_looked_up(lanes: Lanes) -> None:
    till = await lanes.till()
    await receive(lanes.shop, 10)
    await place(lanes.shop, "h1", 2)
    listed = await till.call("hold.list", {}, HoldsResult)
    assert [hold.hold_id for hold in listed.holds] == ["h1"]
    for method in ("hold.arrived", "hold.collect"):
        answer = await till.call(method, {"hold_id": "h1"}, dict)
        assert answer["changed"]
    stock = await till.call("stock.get", {"code": MILK_CODE}, StockResult)
    assert (stock.on_hand, stock.held) == (8, 0)
    with pytest.raises(RpcError, match="refused"):
        await till.call("hold.release", {"hold_id": "h1"}, dict)
    with pytest.raises(RpcError, match="not_found"):
        await till.call("label.flash", {"code": MILK_CODE}, dict)


async def test_what_changes_is_told_between_answers_and_only_to_who_asked(lanes: Lanes) -> None:
    asked = await lanes.till("lane-1", Notice.PRICES, Notice.HOLD)
    other = await lanes.till("lane-2")
    await asked.quote(QuoteParams("b1", (QuoteLine("1", 1, item_id="milk"),)))
    await lanes.shop.prices(price("milk", 90, rev=2))
    await receive(lanes.shop, 10)
    await place(lanes.shop, "h1", 1)
    lanes.notices.tell()
    first, second = await asked.notified(), await asked.notified()
    told = msgspec.json.decode(first.params, type=PriceChanged)
    assert (first.method, told.items, told.baskets, told.revision) == ("price.changed", ("milk",), ("b1",), lanes.shop.store.view.revision)
    assert (second.method, json.loads(bytes(second.params))) == ("hold.new", {"hold_id": "h1"})
    assert (await asked.lookup(LookupParams(item_id="milk"))).price.amount_minor == 90
    await lanes.shop.prices(price("milk", 80, rev=3))
    lanes.notices.tell()
    assert (await asked.lookup(LookupParams(item_id="milk"))).price.amount_minor == 80
    assert [notice.method for notice in asked.notices] == ["price.changed"]
    assert (await other.lookup(LookupParams(item_id="milk"))).price.amount_minor == 80
    assert not other.notices


async def test_a_mirror_follows_what_it_is_told(lanes: Lanes) -> None:
    till = await lanes.till("lane-1", Notice.PRICES)
    whole = await till.prices(PricesParams())
    assert (len(whole.prices), whole.full, whole.cursor) == (3, True, None)
    await lanes.shop.prices(price("milk", 90, rev=2))
    lanes.notices.tell()
    await till.notified()
    changed = await till.prices(PricesParams(whole.revision, whole.epoch))
    assert [(each.item_id, each.curves) for each in changed.prices] == [("milk", (((1, 90),),))]


async def test_a_connection_that_is_gone_is_told_nothing(lanes: Lanes) -> None:
    till = await lanes.till("lane-1", Notice.PRICES)
    assert len(lanes.notices._subscribers) == 1
    await till.hello("lane-1")
    assert len(lanes.notices._subscribers) == 0
    await till.hello("lane-1", notify=(Notice.STALE,))
    await till.close()
    other = await lanes.till("lane-2")
    while lanes.notices._subscribers:
        await other.lookup(LookupParams(item_id="milk"))


async def test_a_till_that_reads_nothing_is_cut_and_holds_nobody_up(lanes: Lanes) -> None:
    deaf = await lanes.till("lane-1", Notice.PRICES)
    reader = await lanes.till("lane-2")
    (subscriber,) = lanes.notices._subscribers
    while subscriber.push(b"x" * 65_536 + b"\n"):
        pass
    await lanes.shop.prices(price("milk", 90, rev=2))
    lanes.notices.tell()
    assert subscriber.items == {"milk"}
    assert (await reader.lookup(LookupParams(item_id="milk"))).price.amount_minor == 90
    (timer,) = [each for each in lanes.timers if not each.cancelled]
    timer.action()
    assert lanes.drops == [Drop.SLOW_READER]
    with pytest.raises(DaemonGone):
        await deaf.lookup(LookupParams(item_id="milk"))
    await reader.lookup(LookupParams(item_id="milk"))
    assert not lanes.notices._subscribers


@pytest.mark.parametrize("size", [1, 7, 1_000_000])
async def test_calls_in_any_pieces_get_one_answer_each_in_order(lanes: Lanes, size: int) -> None:
    """From one byte at a time to everything in one read."""
    calls = [
        encode_request(1, "hello", {"lane": "lane-1"}),
        *(encode_request(n, "item.lookup", {"code": MILK_CODE}) for n in range(2, 12)),
        encode_request(12, "sale.commit", {"sale_id": "s1", "tenders": [], "lines": [_line("1", 2, 200)]}),
        encode_request(13, "sale.status", {"sale_id": "s1"}),
        encode_request(14, "sale.void", {"void_id": "v1", "sale_id": "s1"}),
        encode_request(15, "sale.status", {"sale_id": "s1"}),
    ]
    data = b"".join(calls)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, str(lanes.folder / "lane-1"))
    for start in range(0, len(data), size):
        await loop.sock_sendall(connection, data[start : start + size])
    connection.shutdown(socket.SHUT_WR)
    answered = b""
    while chunk := await loop.sock_recv(connection, 65_536):
        answered += chunk
    connection.close()
    answers = [json.loads(line) for line in answered.splitlines()]
    assert [answer["id"] for answer in answers] == list(range(1, 16))
    assert (answers[12]["result"]["state"], answers[12]["result"]["voided"], answers[14]["result"]["voided"]) == ("recorded", None, "v1")


def _line(line_id: str, quantity: int, total_minor: int) -> dict[str, Any]:
    return {"line_id": line_id, "quantity": quantity, "total_minor": total_minor, "code": MILK_CODE}


async def test_numbers_that_pass_luhn_are_codes_and_ids_and_never_payment_data(lanes: Lanes) -> None:
    """One EAN in ten passes the check that card numbers pass: in codes and ids it must not matter, in texts it must."""
    till = await lanes.till()
    luhn = next(code for code in map(str, range(4_000_000_000_000, 4_000_000_001_000)) if _is_ean(code) and card_number_in(code))
    made = {"sale_id": luhn, "tenders": [{"type": "cash", "amount_minor": 1}], "lines": [_line(luhn, 1, 1) | {"code": luhn}]}
    assert (await till.call("sale.commit", made, dict))["recorded"]
    line = {"line_id": luhn, "quantity": 1, "original_line_id": luhn, "code": luhn}
    back = {"return_id": luhn, "sale_id": luhn, "lines": [line], "tenders": [{"type": "cash", "amount_minor": 1}]}
    assert (await till.call("return.commit", back, dict))["recorded"]
    for method, params in (
        ("return.commit", back | {"return_id": "r2", "reason": f"card {luhn}"}),
        ("return.commit", back | {"return_id": "r2", "tenders": [{"type": luhn, "amount_minor": 1}]}),
        ("sale.void", {"void_id": luhn, "sale_id": "s9", "reason": luhn}),
        ("hold.release", {"hold_id": luhn, "reason": luhn}),
        ("hello", {"lane": "lane-1", "client": luhn}),
    ):
        with pytest.raises(RpcError, match="card_number"):
            await till.call(method, params, dict)
    for method, params in (
        ("item.lookup", {"code": luhn}),
        ("stock.get", {"item_id": luhn}),
        ("hold.collect", {"hold_id": luhn}),
        ("label.flash", {"label": luhn}),
        ("sale.void", {"void_id": luhn, "sale_id": "s9"}),
    ):
        with pytest.raises(RpcError, match=r"unknown_item|not_found"):
            await till.call(method, params, dict)


def _is_ean(code: str) -> bool:
    return sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(code)) % 10 == 0
