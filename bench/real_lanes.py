"""The tills of the bench. A till writes its sale down before it sends it and, when the daemon was away, asks what became of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from drivers.base import Clock
from edge.demo.judge import Charge
from edge.lane_client import DaemonUnreachable, LaneClient
from protocols.jsonrpc import RpcError
from protocols.pos import CommitParams, CommitResult, LookupParams, LookupResult, QuoteLine, QuoteParams, QuoteResult, Tender

ANSWER_TIMEOUT_S: Final = 10.0
RECONNECT_S: Final = 0.05


@dataclass(slots=True)
class Journal:
    """What all tills did. A sale is here before it is sent."""

    sent: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)  # sale_id -> (sku, units) per line
    totals: dict[str, int] = field(default_factory=dict)  # sale_id -> what was tendered
    answered: dict[str, CommitResult] = field(default_factory=dict)
    tendered: asyncio.Event = field(default_factory=asyncio.Event)  # set whenever a sale is on its way to the daemon
    found_recorded: int = 0  # sales that the daemon had recorded before it died, found by asking
    changed_answers: list[str] = field(default_factory=list)  # sales whose stored answer differs from the first one


@dataclass(frozen=True, slots=True)
class Sold:
    """A sale as quoted. `asked_ms` and `answered_ms` are world times around the instant of charging."""

    quote: QuoteResult
    asked_ms: int
    answered_ms: int


class Till:
    """One lane: one connection, one sale at a time."""

    def __init__(
        self,
        name: str,
        lane: str,
        socket: Path,
        clock: Clock,
        journal: Journal,
        charged: Callable[[Charge], None],
        codes: Mapping[str, str],
    ) -> None:
        """`name` begins the ids of its sales; `codes` is sku -> the bar code that is scanned."""
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
        self._made += 1
        sale_id = f"{self._name}-{self._made}"
        asked = QuoteParams(
            sale_id, tuple(QuoteLine(str(number), quantity, self._codes[sku]) for number, (sku, quantity) in enumerate(lines, start=1))
        )
        sold = await self._quote(asked)
        for line in sold.quote.lines:
            self._charged(Charge(line.item_id, line.quantity, line.total_minor, sold.asked_ms, sold.answered_ms, self.lane))
        self._journal.sent[sale_id] = tuple(lines)
        self._journal.totals[sale_id] = sold.quote.total_minor
        tender = Tender("cash", sold.quote.total_minor)
        await self._commit(CommitParams(sale_id, (tender,), quote_id=sold.quote.quote_id, total_minor=sold.quote.total_minor))
        return sold

    async def lookup(self, sku: str) -> LookupResult:
        """What a unit costs now; nothing is recorded and no lease is made. Raises RpcError."""
        while True:
            try:
                return await (await self._connected()).lookup(LookupParams(code=self._codes[sku]))
            except DaemonUnreachable:
                await self._lost()
            except RpcError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(RECONNECT_S)

    async def recorded(self, sale_id: str) -> bool:
        """Whether the daemon has the sale; its answer must be the one that was given."""
        while True:
            try:
                status = await (await self._connected()).status(sale_id)
            except DaemonUnreachable:
                await self._lost()
                continue
            if status.answer is not None:
                self._compare(status.answer)
            return status.state == "recorded"

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()

    async def _quote(self, asked: QuoteParams) -> Sold:
        while True:
            asked_ms = self._clock.now_ms()
            try:
                quote = await (await self._connected()).quote(asked)
            except DaemonUnreachable:
                await self._lost()
            except RpcError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(RECONNECT_S)
            else:
                return Sold(quote, asked_ms, self._clock.now_ms())

    async def _commit(self, params: CommitParams) -> None:
        doubtful = False
        while True:
            try:
                client = await self._connected()
                if doubtful:  # the daemon died between the call and the answer: it may have the sale
                    status = await client.status(params.sale_id)
                    if status.answer is not None:
                        self._journal.found_recorded += 1
                        self._journal.answered[params.sale_id] = status.answer
                doubtful = True
                self._journal.tendered.set()
                answer = await client.commit(params)  # also when it is recorded: the stored answer must come
            except DaemonUnreachable:
                await self._lost()
            except RpcError as error:
                if not error.retryable:
                    raise
                await asyncio.sleep(RECONNECT_S)
            else:
                self._compare(answer)
                return

    def _compare(self, answer: CommitResult) -> None:
        first = self._journal.answered.setdefault(answer.sale_id, answer)
        if (first.up_seq, first.flags, first.refund_due_minor) != (answer.up_seq, answer.flags, answer.refund_due_minor):
            self._journal.changed_answers.append(answer.sale_id)

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
