"""The tills of the bench. A till writes its sale down before it sends it and, when the daemon was away, asks what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from drivers.base import Clock
from edge.demo.judge import Charge
from edge.lane_client import DaemonUnreachable, LaneClient
from protocols.jsonrpc import RpcError
from protocols.pos import (
    CommitParams,
    CommitResult,
    LookupParams,
    LookupResult,
    QuoteLine,
    QuoteParams,
    QuoteResult,
    StatusResult,
    Tender,
)
from protocols.pos_prices import MirroredPrice, PricesParams
from protocols.pos_returns import Condition, ReturnLine, ReturnParams, VoidParams

ANSWER_TIMEOUT_S: Final = 10.0
RECONNECT_S: Final = 0.05

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SoldLine:
    """A line as it was paid."""

    sku: str
    units: int
    total_minor: int


@dataclass(frozen=True, slots=True)
class Back:
    """A void or a return: what is on the shelf again, and what was to be paid back by our own reckoning."""

    sale_id: str
    restocked: tuple[tuple[str, int], ...]
    refund_minor: int


@dataclass(slots=True)
class Journal:
    """What all tills and the back room did. A sale is here before it is sent, and so is everything else."""

    lines: dict[str, tuple[SoldLine, ...]] = field(default_factory=dict)  # by sale_id
    totals: dict[str, int] = field(default_factory=dict)  # sale_id -> what was tendered
    came_back: dict[str, Back] = field(default_factory=dict)  # by void_id or return_id
    undone: dict[str, str] = field(default_factory=dict)  # sale_id -> the one of these
    moved: list[tuple[str, int]] = field(default_factory=list)  # receipts, losses, what a count found: (sku, units)
    recorded: list[str] = field(default_factory=list)  # sales that the daemon has answered for
    answered: dict[str, object] = field(default_factory=dict)  # the first answer, without what is of the moment of answering
    tendered: asyncio.Event = field(default_factory=asyncio.Event)  # set whenever a sale is on its way to the daemon
    found_recorded: int = 0  # sales that the daemon had recorded before it died, found by asking
    problems: list[str] = field(default_factory=list)  # another answer to a repeated call, another refund than ours

    def compare(self, name: str, answer: object) -> None:
        """A repeated call gets the answer that was given first."""
        if self.answered.setdefault(name, answer) != answer:
            self.problems.append(f"{name}: the stored answer is not the first one: {answer}, {self.answered[name]}")


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale as quoted. `asked_ms` and `answered_ms` are world times around the instant of charging."""

    sale_id: str
    quote: QuoteResult
    asked_ms: int
    answered_ms: int


def refund_of(line: SoldLine, units: int) -> int:
    """What is due for some of a line's units, the first time that any come back: their share, half a cent up."""
    return (2 * line.total_minor * units + line.units) // (2 * line.units)


class Till:
    """One lane: one connection, one sale at a time."""

    def __init__(
        self,
        name: str,
        lane: str,
        socket: Path,
        clock: Clock,
        journal: Journal,
        charged: Callable[[Charge, int], None],
        codes: Mapping[str, str],
    ) -> None:
        """`name` begins the ids of its sales; `charged` is told each line as quoted, and when it was paid; `codes` is sku -> the bar code
        that is scanned."""
        self._name = name
        self.lane = lane
        self._socket = socket
        self._clock = clock
        self._journal = journal
        self._charged = charged
        self._codes = codes
        self._client: LaneClient | None = None
        self._made = 0

    async def sell(self, lines: Sequence[tuple[str, int]]) -> Sold:
        """Quote, tender, record. Comes back when the sale is recorded, however often the daemon dies meanwhile. Raises RpcError."""
        sold = await self.quote(lines)
        await self.pay(sold)
        return sold

    async def quote(self, lines: Sequence[tuple[str, int]]) -> Sold:
        """Tell the customer what a new basket comes to. Raises RpcError."""
        self._made += 1
        sale_id = f"{self._name}-{self._made}"
        asked = QuoteParams(
            sale_id, tuple(QuoteLine(str(number), quantity, self._codes[sku]) for number, (sku, quantity) in enumerate(lines, start=1))
        )

        async def ask(client: LaneClient) -> Sold:
            asked_ms = self._clock.now_ms()
            quote = await client.quote(asked)
            return Sold(sale_id, quote, asked_ms, self._clock.now_ms())

        return await self._insist(ask)

    async def pay(self, sold: Sold) -> None:
        """The customer pays what was quoted, as soon as that may be. Raises RpcError."""
        paid_ms = self._clock.now_ms()
        sale_id, total_minor = sold.sale_id, sold.quote.total_minor
        for line in sold.quote.lines:
            self._charged(Charge(line.item_id, line.quantity, line.total_minor, sold.asked_ms, sold.answered_ms, self.lane), paid_ms)
        self._journal.totals[sale_id] = total_minor
        self._journal.lines[sale_id] = tuple(SoldLine(line.item_id, line.quantity, line.total_minor) for line in sold.quote.lines)
        tender = Tender("cash", total_minor)
        await self._commit(CommitParams(sale_id, (tender,), quote_id=sold.quote.quote_id, total_minor=total_minor))
        self._journal.recorded.append(sale_id)

    async def void(self, void_id: str, sale_id: str, *, twice: bool) -> None:
        """Take a whole sale back. Raises RpcError."""
        lines = self._journal.lines[sale_id]
        back = Back(sale_id, tuple((line.sku, line.units) for line in lines), self._journal.totals[sale_id])
        self._journal.came_back[void_id], self._journal.undone[sale_id] = back, void_id
        for _ in range(2 if twice else 1):
            answer = await self._insist(lambda client: client.void(VoidParams(void_id, sale_id)))
            self._given_back(void_id, answer.refund_minor, answer.up_seq)

    async def take_back(self, return_id: str, sale_id: str, line: ReturnLine, *, twice: bool) -> None:
        """Something of a line comes back; nothing of that sale did before. Raises RpcError."""
        sold = self._journal.lines[sale_id][int(line.original_line_id or 0) - 1]
        restocked = 0 if line.condition is Condition.DAMAGED else line.quantity
        back = Back(sale_id, ((sold.sku, restocked),), refund_of(sold, line.quantity))
        self._journal.came_back[return_id], self._journal.undone[sale_id] = back, return_id
        asked = ReturnParams(return_id, (line,), (Tender("cash", back.refund_minor),), sale_id)
        for _ in range(2 if twice else 1):
            answer = await self._insist(lambda client: client.take_back(asked))
            self._given_back(return_id, answer.refund_minor, answer.up_seq)

    async def lookup(self, sku: str) -> LookupResult:
        """What a unit costs now; nothing is recorded and no lease is made. Raises RpcError."""
        return await self._insist(lambda client: client.lookup(LookupParams(code=self._codes[sku])))

    async def status(self, sale_id: str) -> StatusResult:
        """What the daemon has of the sale; its answer must be the one that was given. Raises RpcError."""
        status = await self._insist(lambda client: client.status(sale_id))
        if status.answer is not None:
            self._compare(status.answer)
        return status

    async def table(self) -> dict[str, MirroredPrice]:
        """The whole price table that a till may keep. Raises RpcError."""
        prices: dict[str, MirroredPrice] = {}
        cursor: str | None = None
        while True:
            asked = PricesParams(revision=0, cursor=cursor)
            page = await self._insist(lambda client, asked=asked: client.prices(asked))  # type: ignore[misc]
            prices |= {price.item_id: price for price in page.prices}
            cursor = page.cursor
            if cursor is None:
                return prices

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _commit(self, params: CommitParams) -> None:
        doubtful = False

        async def ask(client: LaneClient) -> CommitResult:
            nonlocal doubtful
            if doubtful:  # the daemon died between the call and the answer: it may have the sale
                status = await client.status(params.sale_id)
                if status.answer is not None:
                    self._journal.found_recorded += 1
                    self._compare(status.answer)
            doubtful = True
            self._journal.tendered.set()
            return await client.commit(params)  # also when it is recorded: the stored answer must come

        self._compare(await self._insist(ask))

    def _compare(self, answer: CommitResult) -> None:
        self._journal.compare(f"sale {answer.sale_id}", (answer.up_seq, answer.flags, answer.refund_due_minor))

    def _given_back(self, name: str, refund_minor: int, up_seq: int) -> None:
        self._journal.compare(name, (refund_minor, up_seq))
        if refund_minor != self._journal.came_back[name].refund_minor:
            self._journal.problems.append(f"{name}: {refund_minor} given back for {self._journal.came_back[name]}")

    async def _insist(self, ask: Callable[[LaneClient], Awaitable[T]]) -> T:
        """Ask until an answer comes, however often the daemon dies: everything asked here may be asked again. Raises RpcError."""
        while True:
            try:
                return await ask(await self._connected())
            except DaemonUnreachable:
                await self._lost()
            except RpcError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(RECONNECT_S)

    async def _connected(self) -> LaneClient:
        if self._client is None:
            client = await LaneClient.connect(self._socket, timeout_s=ANSWER_TIMEOUT_S)
            await client.hello(self.lane, client="real-store")
            self._client = client
        return self._client

    async def _lost(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        await asyncio.sleep(RECONNECT_S)
