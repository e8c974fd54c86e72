"""Lanes on their sockets, with the client that the demo and the bench use."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edge.lane_client import ControlClient, DaemonAbsent, DaemonGone, DaemonSilent, LaneClient
from edge.pos import Call, ClientInfo, LaneServer, LaneSocket, StoreHello
from edge.rpc import ConnectionLimiter, ListenError, RpcHooks
from protocols.pos import (
    LANE_METHODS,
    LINES_MAX,
    CommitLine,
    CommitParams,
    CommitResult,
    ErrorCode,
    LookupParams,
    LookupResult,
    Method,
    PriceView,
    QuotedLine,
    QuoteLine,
    QuoteParams,
    QuoteResult,
    RpcError,
    StatusParams,
    StatusResult,
    Tender,
    commit_digest,
    encode_error,
)

STAMP: dict[str, Any] = {"revision": 7, "as_of": "2026-03-04T10:00:00Z", "stale_s": 3}
TIMEOUT_S = 10.0  # never reached in a passing test
PEN = "4006381333931"
READY_SCAN = b'{"jsonrpc":"2.0","id":9,"method":"item.lookup","params":{"code":"4006381333931"}}\n'
SALE = CommitParams(sale_id="1:17", tenders=(Tender("cash", 199),), lines=(CommitLine("1", 1, 199, code=PEN),), total_minor=199)


@dataclass
class Desk:
    """A desk that sells one pen, kept in memory."""

    open: bool = True
    sales: dict[str, tuple[str, CommitResult]] = field(default_factory=dict)
    asked_by: list[str] = field(default_factory=list)
    ready_line: bytes | None = None

    @property
    def calls(self) -> dict[str, Call]:
        other = {method: Call(StatusParams, self.status) for method in LANE_METHODS}
        return other | {
            Method.LOOKUP: Call(LookupParams, self.lookup),
            Method.QUOTE: Call(QuoteParams, self.quote),
            Method.COMMIT: Call(CommitParams, self.commit),
        }

    def ready(self) -> bool:
        return self.open

    def hello_info(self) -> StoreHello:
        return StoreHello("0.1.0", "367", "EUR", 2, "inclusive", 7, STAMP["as_of"], 3)

    def ready_answer(self, line: bytes) -> bytes | None:
        return self.ready_line if line == READY_SCAN else None

    def lookup(self, lane_id: str, params: LookupParams) -> LookupResult:
        self.asked_by.append(lane_id)
        if PEN not in (params.code, params.item_id):
            raise RpcError(ErrorCode.UNKNOWN_ITEM, f"{params.code or params.item_id}")
        return LookupResult(
            item_id=PEN, name="Pen", short_name="Pen", sold_by="each", price=PriceView(199, 1, "each"), kind="base", **STAMP
        )

    async def quote(self, lane_id: str, params: QuoteParams) -> QuoteResult:
        await asyncio.sleep(0)
        lines = tuple(
            QuotedLine(
                line_id=line.line_id,
                item_id=PEN,
                name="Pen",
                quantity=line.quantity,
                total_minor=199 * line.quantity,
                price=PriceView(199, 1, "each"),
            )
            for line in params.lines
        )
        total_minor = sum(line.total_minor for line in lines)
        return QuoteResult(
            quote_id="q1", basket_id=params.basket_id, lines=lines, total_minor=total_minor, currency="EUR", valid_s=300, **STAMP
        )

    async def commit(self, lane_id: str, params: CommitParams) -> CommitResult:
        await asyncio.sleep(0)
        digest = commit_digest(params)
        result = CommitResult(sale_id=params.sale_id, up_seq=len(self.sales) + 1, **STAMP)
        stored_digest, stored = self.sales.setdefault(params.sale_id, (digest, result))
        if stored_digest != digest:
            raise RpcError(ErrorCode.ID_CONFLICT, params.sale_id)
        return stored

    def status(self, lane_id: str, params: StatusParams) -> StatusResult:
        stored = self.sales.get(params.sale_id)
        return StatusResult(sale_id=params.sale_id, state="recorded" if stored else "unknown", answer=stored and stored[1], **STAMP)


@dataclass
class Shop:
    folder: Path
    desk: Desk = field(default_factory=Desk)
    tills: list[ClientInfo] = field(default_factory=list)
    fatal: list[BaseException] = field(default_factory=list)
    stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    server: LaneServer = field(init=False)

    async def start(self) -> None:
        self.server = LaneServer(
            self.desk,
            [LaneSocket(lane, self.folder / lane) for lane in ("1", "2")],
            limiter=ConnectionLimiter(),
            hooks=RpcHooks(on_fatal=self.fatal.append),
            clock=lambda: 0.0,
            on_hello=self.tills.append,
        )
        await self.server.start()

    async def till(self, lane: str) -> LaneClient:
        return await self.stack.enter_async_context(await LaneClient.connect(self.folder / lane, timeout_s=TIMEOUT_S))


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    shop = Shop(tmp_path)
    await shop.start()
    yield shop
    await shop.stack.aclose()
    await shop.server.close()


async def test_a_till_says_hello_and_learns_the_store_and_the_limits(shop: Shop) -> None:
    till = await shop.till("1")
    hello = await till.hello("1", client="checkout", version="4.2")
    assert (hello.server, hello.store_id, hello.currency, hello.exponent, hello.lane, hello.ready) == ("shelfd", "367", "EUR", 2, "1", True)
    assert set(hello.methods) == LANE_METHODS
    assert hello.limits.lines == LINES_MAX
    assert [(info.lane_id, info.client, info.version) for info in shop.tills] == [("1", "checkout", "4.2")]


async def test_a_till_sells(shop: Shop) -> None:
    till = await shop.till("1")
    await till.hello("1")
    assert (await till.lookup(LookupParams(code=PEN))).price == PriceView(199, 1, "each")
    quote = await till.quote(QuoteParams("b1", (QuoteLine("1", 2, code=PEN),)))
    assert (quote.basket_id, quote.total_minor, [line.total_minor for line in quote.lines]) == ("b1", 398, [398])
    assert (await till.status("1:17")).state == "unknown"
    recorded = await till.commit(SALE)
    assert await till.commit(SALE) == recorded
    assert (await till.status("1:17")).answer == recorded
    for result in (quote, recorded):
        assert (result.revision, result.as_of, result.stale_s, result.guard) == (7, STAMP["as_of"], 3, None)


async def test_a_basket_of_500_lines_is_quoted(shop: Shop) -> None:
    till = await shop.till("1")
    await till.hello("1")
    quote = await till.quote(QuoteParams("b", tuple(QuoteLine(f"line-{number}", 3, code=PEN) for number in range(LINES_MAX))))
    assert quote.total_minor == 597 * LINES_MAX


async def test_the_socket_says_which_lane_asks(shop: Shop) -> None:
    for lane in ("2", "1"):
        till = await shop.till(lane)
        await till.hello(lane)
        await till.lookup(LookupParams(item_id=PEN))
    assert shop.desk.asked_by == ["2", "1"]
    assert shop.server.connections == {"1": 1, "2": 1}


@pytest.mark.parametrize("method", sorted(LANE_METHODS - {"hello"}))
async def test_nothing_is_answered_before_hello(shop: Shop, method: str) -> None:
    till = await shop.till("1")
    assert await refusal(till, method, {}) == "hello_required"


async def test_a_hello_for_another_lane_does_not_open_this_one(shop: Shop) -> None:
    till = await shop.till("1")
    assert await refusal(till, "hello", {"lane": "2"}) == "lane_mismatch"
    assert await refusal(till, "item.lookup", {"code": PEN}) == "hello_required"
    await till.hello("1")
    assert (await till.lookup(LookupParams(code=PEN))).item_id == PEN


@pytest.mark.parametrize("method", sorted(LANE_METHODS - {"hello"}))
async def test_before_there_are_prices_only_hello_is_answered(shop: Shop, method: str) -> None:
    shop.desk.open = False
    till = await shop.till("1")
    assert not (await till.hello("1")).ready
    assert await refusal(till, method, {}) == "not_ready"
    shop.desk.open = True
    assert await refusal(till, method, {}) == "invalid_params"


async def test_bad_calls_are_refused_and_the_till_goes_on(shop: Shop) -> None:
    till = await shop.till("1")
    await till.hello("1")
    pen = {"line_id": "1", "code": PEN, "quantity": 1}
    cases: list[tuple[str, dict[str, Any], str]] = [
        ("item.lookup", {"code": "96385074"}, "unknown_item"),
        ("item.lookup", {"code": PEN, "price": 1}, "invalid_params"),
        ("item.price", {"code": PEN}, "unknown_method"),
        ("basket.quote", {"basket_id": "b", "lines": [pen | {"quantity": 0}]}, "bad_quantity"),
        ("basket.quote", {"basket_id": "b", "lines": [pen] * (LINES_MAX + 1)}, "too_many_lines"),
        ("sale.commit", {"sale_id": "s", "quote_id": "q", "tenders": [{"type": "4111111111111111", "amount_minor": 1}]}, "card_number"),
        ("sale.commit", {"sale_id": "s", "quote_id": "q", "tenders": [{"type": "cash", "amount_minor": -1}]}, "invalid_params"),
    ]
    for method, params, code in cases:
        assert await refusal(till, method, params) == code
    await till.commit(SALE)
    with pytest.raises(RpcError, match="id_conflict"):
        await till.commit(CommitParams(sale_id=SALE.sale_id, tenders=(), quote_id="q1"))
    assert (await till.lookup(LookupParams(code=PEN))).item_id == PEN
    assert shop.fatal == []


async def refusal(till: LaneClient, method: str, params: dict[str, Any]) -> str:
    with pytest.raises(RpcError) as caught:
        await till.call(method, params, dict)
    assert caught.value.cashier
    return caught.value.code


async def test_a_lane_that_cannot_listen_leaves_no_other_open(tmp_path: Path) -> None:
    (tmp_path / "2").write_text("in the way")
    shop = Shop(tmp_path)
    with pytest.raises(ListenError, match="not a socket"):
        await shop.start()
    assert not (tmp_path / "1").exists()


async def test_a_client_tells_absent_from_gone_from_silent(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(DaemonAbsent, match="nobody is listening"):
        await LaneClient.connect(path, timeout_s=TIMEOUT_S)

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.close()

    async with await asyncio.start_unix_server(leave, path), await LaneClient.connect(path, timeout_s=TIMEOUT_S) as till:
        with pytest.raises(DaemonGone):
            await till.hello("1")

    silent = asyncio.Event()

    async def wait(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await silent.wait()
        writer.close()

    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(wait, path)
    async with await LaneClient.connect(path, timeout_s=0.01) as till:
        with pytest.raises(DaemonSilent):
            await till.hello("1")
        with pytest.raises(DaemonGone):  # the connection is not used again: its next answer would be the late one
            await till.hello("1")
    silent.set()
    server.close()


async def test_a_till_that_gave_up_waiting_is_not_given_the_late_answer(shop: Shop) -> None:
    till = await shop.till("1")
    await till.hello("1")
    given_up = asyncio.create_task(till.commit(SALE))
    await asyncio.sleep(0)
    given_up.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await given_up
    with pytest.raises(DaemonGone):
        await till.lookup(LookupParams(code=PEN))


async def test_a_refused_connection_hears_why(shop: Shop) -> None:
    for _ in range(4):
        await (await shop.till("1")).hello("1")
    fifth = await shop.till("1")
    with pytest.raises(RpcError, match="busy"):
        await fifth.hello("1")


async def test_the_command_line_client_reads_results_and_errors(shop: Shop) -> None:
    def use() -> None:
        with ControlClient(shop.folder / "2", timeout_s=TIMEOUT_S) as client:
            assert client.call("hello", {"lane": "2"}, dict)["store_id"] == "367"
            with pytest.raises(RpcError) as caught:
                client.call("item.lookup", {"code": "1"}, dict)
            assert (caught.value.number, caught.value.code, caught.value.detail) == (-32004, "unknown_item", "1")
            assert client.call("item.lookup", {"code": PEN}, LookupResult).name == "Pen"

    await asyncio.to_thread(use)


def test_the_command_line_client_tells_absent_from_gone_from_silent(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with pytest.raises(DaemonAbsent):
        ControlClient(path, timeout_s=TIMEOUT_S)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        with pytest.raises(DaemonAbsent):
            ControlClient(path, timeout_s=TIMEOUT_S)
        server.listen(1)
        with ControlClient(path, timeout_s=0.01) as client, pytest.raises(DaemonSilent):
            client.call("status", {}, dict)
        server.accept()[0].close()
        with ControlClient(path, timeout_s=TIMEOUT_S) as client:
            server.accept()[0].close()
            with pytest.raises(DaemonGone):
                client.call("status", {}, dict)


async def test_a_refusal_is_read_also_when_the_connection_was_closed_behind_it(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        with ControlClient(tmp_path / "s", timeout_s=TIMEOUT_S) as client:
            refuse(server)
            with pytest.raises(RpcError, match="busy"):
                client.call("status", {}, dict)
        async with await LaneClient.connect(tmp_path / "s", timeout_s=TIMEOUT_S) as till:
            refuse(server)
            with pytest.raises(RpcError, match="busy"):
                await till.hello("1")


def refuse(server: socket.socket) -> None:
    peer, _ = server.accept()
    with peer:
        peer.sendall(encode_error(None, RpcError(ErrorCode.BUSY)))


@pytest.mark.parametrize(
    "answer", [b"hello\n", b"\xff\n", b"{}\n", b'{"id":2,"result":{}}\n', b'{"id":1,"result":[]}\n', b'{"id":1,"error":5}\n']
)
def test_an_answer_that_is_none_is_an_error_of_the_connection(tmp_path: Path, answer: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen(1)
        with ControlClient(tmp_path / "s", timeout_s=TIMEOUT_S) as client:
            peer, _ = server.accept()
            with peer:
                peer.sendall(answer)
                with pytest.raises(DaemonGone):
                    client.call("status", {}, dict)


async def test_an_answer_that_is_ready_is_given_only_to_a_till_that_signed_in_and_only_while_there_are_prices(shop: Shop) -> None:
    shop.desk.ready_line = b'{"jsonrpc":"2.0","id":9,"result":"ready"}\n'
    reader, writer = await asyncio.open_unix_connection(shop.folder / "1")
    try:

        async def ask(line: bytes) -> bytes:
            writer.write(line)
            return await asyncio.wait_for(reader.readline(), TIMEOUT_S)

        assert b"hello_required" in await ask(READY_SCAN)
        assert b'"result"' in await ask(b'{"jsonrpc":"2.0","id":1,"method":"hello","params":{"lane":"1"}}\n')
        assert await ask(READY_SCAN) == shop.desk.ready_line
        shop.desk.open = False
        assert b"not_ready" in await ask(READY_SCAN)
        shop.desk.open = True
        writer.write(READY_SCAN[:40])  # in two pieces, and two in one: read as any other line
        await (await shop.till("2")).hello("2")
        assert b'"name":"Pen"' in await ask(READY_SCAN[40:])
        assert b'"name":"Pen"' in await ask(READY_SCAN * 2)
        assert b'"name":"Pen"' in await asyncio.wait_for(reader.readline(), TIMEOUT_S)
    finally:
        writer.close()
        await writer.wait_closed()
