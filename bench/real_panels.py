"""What the simulated panels show, read from their pixels as a shopper would, and told to the judge."""

from __future__ import annotations

import asyncio
import base64
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Final

from edge.demo.judge import Judge
from edge.demo.reading import Reading, Unreadable, read_payload
from edge.demo.world import SimEvent
from render.errors import RenderError

PANEL: Final = "oepl-01"


class Panels:
    """Reads every picture that comes up, in the diary's order, in a process of its own."""

    def __init__(self, judges: Sequence[Judge], codes: Mapping[str, str]) -> None:
        """`judges` are told what each panel shows. `codes` is label -> bar code of the article that it is for: a panel that shows another
        one promises nothing for it."""
        self.unreadable: list[str] = []
        self.strangers = 0  # pictures of another article, or of none
        self.prices: dict[str, int | None] = {}
        self.read = 0
        self._judges = judges
        self._codes = codes
        self._queue: asyncio.Queue[SimEvent] = asyncio.Queue()
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))

    def take(self, event: SimEvent) -> None:
        """An event of kind "display"."""
        self._queue.put_nowait(event)

    @property
    def behind(self) -> int:
        """Pictures that were not read yet."""
        return self._queue.qsize()

    async def all_read(self) -> None:
        await self._queue.join()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            event = await self._queue.get()
            assert event.label is not None
            payload = base64.b64decode(event.data["payload_b64"])
            try:
                reading = await loop.run_in_executor(self._pool, read_payload, PANEL, event.data["data_type"], payload)
            except (RenderError, Unreadable) as error:
                self.unreadable.append(f"{event.label}: {error}")
            else:
                self._show(event.label, event.at_ms, reading)
            self._queue.task_done()

    def _show(self, label: str, at_ms: int, reading: Reading) -> None:
        own = reading.gtin == self._codes.get(label)
        self.strangers += not own
        self.prices[label] = reading.price_minor if own else None
        self.read += 1
        if label in self._codes:
            for judge in self._judges:
                judge.displays(label, self.prices[label], at_ms)

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
