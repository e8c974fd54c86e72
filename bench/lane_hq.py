"""Head office for the lane bench: the small HQ of the demo behind a real broker, and the price batches that it sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from bench.lane_shop import STORE, Shop, price_row
from drivers.mqtt import MqttAddress
from edge.clock import SystemClock
from edge.demo.broker import start_broker
from edge.demo.hq import MiniHq
from protocols.hq import Stream
from protocols.hq_events import Stage
from protocols.hq_fields import ROWS_MAX

ROWS: Final = 50_000
LINK_TIMEOUT_S: Final = 30.0


def batches(rev: int, rows: int = ROWS) -> list[list[dict[str, Any]]]:
    """The prices of the first `rows` items in messages of the largest size. The first 30,000 of them hang on labels."""
    return [[price_row(number, rev) for number in range(start, min(rows, start + ROWS_MAX))] for start in range(0, rows, ROWS_MAX)]


@asynccontextmanager
async def head_office(directory: Path, shop: Shop) -> AsyncIterator[HeadOffice]:
    """A broker, an HQ, and the running daemon enrolled with it."""
    with start_broker(directory) as broker:
        hq = MiniHq(MqttAddress(broker.host, broker.port), STORE, SystemClock())
        running = asyncio.create_task(hq.run())
        try:
            await shop.call("enrol", hq.enrolment())
            async with asyncio.timeout(LINK_TIMEOUT_S):
                await hq.until(lambda: hq.store_online)
            yield HeadOffice(hq)
        finally:
            running.cancel()
            await asyncio.wait([running])


class HeadOffice:
    """Sends whole price lists. Revisions only grow."""

    def __init__(self, hq: MiniHq) -> None:
        self.hq = hq
        self._rev = 1
        self.imported = 0

    async def import_prices(self) -> None:
        """A new price for each of the rows, applied when this returns."""
        self._rev += 1
        last = [self.hq.send_prices(rows) for rows in batches(self._rev)][-1]
        await self.hq.until(lambda: self.hq.books.reached(Stream.PRICE, last, Stage.APPLIED))
        self.imported += 1

    async def keep_importing(self) -> None:
        """One list after the other, until cancelled."""
        while True:
            await self.import_prices()
