"""Three tills that sell all the time, and one customer who asks for the price of everything that is about to change."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from drivers.base import Clock
from edge.demo.catalogue import Article
from edge.demo.judge import Charge, Judge
from edge.demo.ledger import Changes, Sales, Stage
from edge.lane_client import LaneClient
from protocols.pos import CommitParams, LookupParams, QuoteLine, QuoteParams, Tender

ANSWER_TIMEOUT_S: Final = 10.0  # on a machine that is busy with other things
LINES_MAX: Final = 8
PAY_S: Final = (0.05, 0.25)  # from quote to payment, in real time: at sixty times, up to a quarter of a store minute
NEXT_CUSTOMER_S: Final = (0.15, 0.6)
HOT_SHARE: Final = 0.4  # of the lines are articles whose price is changing: that is where an overcharge would be
LOOK_AGAIN_S: Final = 0.1


class Till:
    """One lane with its own socket. It makes the ids of its baskets and sales."""

    def __init__(
        self,
        lane: str,
        socket: Path,
        articles: Sequence[Article],
        clock: Clock,
        rng: random.Random,
        sales: Sales,
        changes: Changes,
        judge: Judge,
    ) -> None:
        self.lane = lane
        self._socket = socket
        self._articles = {article.sku: article for article in articles}
        self._clock = clock
        self._rng = rng
        self._sales = sales
        self._changes = changes
        self._judge = judge
        self._made = 0

    async def run(self, closing: asyncio.Event) -> None:
        """Sell until `closing`; the sale at hand is finished. Raises RpcError or DaemonUnreachable."""
        async with await LaneClient.connect(self._socket, timeout_s=ANSWER_TIMEOUT_S) as client:
            await client.hello(self.lane, client="demo till")
            while not closing.is_set():
                await self._sell(client)
                try:
                    async with asyncio.timeout(self._rng.uniform(*NEXT_CUSTOMER_S)):
                        await closing.wait()
                except TimeoutError:
                    continue

    async def _sell(self, client: LaneClient) -> None:
        self._made += 1
        name = f"{self.lane}-{self._clock.boot_id[:8]}-{self._made}"
        lines = self._basket()
        asked_ms = self._clock.now_ms()
        quote = await client.quote(QuoteParams(basket_id=f"b-{name}", lines=lines))
        answered_ms = self._clock.now_ms()
        for line in quote.lines:
            self._judge.charged(Charge(line.item_id, line.quantity, line.total_minor, asked_ms, answered_ms, self.lane))
        await asyncio.sleep(self._rng.uniform(*PAY_S))
        tender = Tender(self._rng.choice(("cash", "card")), quote.total_minor)
        self._sales.sent += 1
        sale = CommitParams(sale_id=f"s-{name}", quote_id=quote.quote_id, total_minor=quote.total_minor, tenders=(tender,))
        await client.commit(sale)
        self._sales.recorded += 1
        self._sales.lines += len(lines)
        self._sales.taken_minor += quote.total_minor

    def _basket(self) -> tuple[QuoteLine, ...]:
        rng = self._rng
        hot, every = list(self._changes.open), list(self._articles)
        skus = dict.fromkeys(rng.choice(hot if hot and rng.random() < HOT_SHARE else every) for _ in range(rng.randint(1, LINES_MAX)))
        quantities = rng.choices((1, 2, 3, 6), weights=(70, 20, 7, 3), k=len(skus))
        return tuple(
            QuoteLine(line_id=str(number), code=self._articles[sku].gtin, quantity=quantity)
            for number, (sku, quantity) in enumerate(zip(skus, quantities, strict=True), start=1)
        )


class PriceChecker:
    """Asks a lane for each article whose price is changing, until it is told the new price."""

    def __init__(self, lane: str, socket: Path, articles: Sequence[Article], changes: Changes, now_ms: Callable[[], int]) -> None:
        self._lane = lane
        self._socket = socket
        self._gtins = {article.sku: article.gtin for article in articles}
        self._changes = changes
        self._now_ms = now_ms

    async def run(self) -> None:
        """Until cancelled. Raises RpcError or DaemonUnreachable."""
        async with await LaneClient.connect(self._socket, timeout_s=ANSWER_TIMEOUT_S) as client:
            await client.hello(self._lane, client="demo price checker")
            while True:
                for change in list(self._changes.open.values()):
                    if Stage.IN_FORCE not in change.reached_ms:
                        answer = await client.lookup(LookupParams(code=self._gtins[change.price.sku]))
                        change.lane_price_minor = answer.price.amount_minor
                        change.lane_guard = answer.guard
                        if change.lane_price_minor == change.price.after.price_minor:
                            self._changes.reach(change, Stage.IN_FORCE, self._now_ms())
                await asyncio.sleep(LOOK_AGAIN_S)
