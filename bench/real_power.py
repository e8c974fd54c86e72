"""Power cuts: the daemon is killed and started again, every so often and over the beginning of some weeks."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final

from bench.real_lanes import Journal
from edge.demo.world import DaemonProcess
from edge.lane_client import DaemonUnreachable

SALE_WAIT_S: Final = 1.0  # real: longest wait for a sale to be on its way
COMMIT_S: Final = 0.006  # real: about as long as a sale takes to be recorded
PATIENCE: Final = 4.0  # times the interval, for a daemon that has done nothing yet
LOOK_S: Final = 0.5
OVER_WEEKS: Final = 3  # of every so many weeks one begins while the daemon is down
HASTY: Final = 3  # of every so many lives one ends whatever it has done


class PowerCuts:
    """`every_s`: real seconds from the daemon's first answer to the next cut; None: there are none."""

    def __init__(self, daemon: DaemonProcess, journal: Journal, every_s: float | None, rng: random.Random) -> None:
        self._daemon = daemon
        self._journal = journal
        self._every_s = every_s
        self._rng = rng
        self._switch = asyncio.Lock()
        self._started_s = time.monotonic()

    async def run(self) -> None:
        """A cut every so often, where possible between a sale's call and its answer. Until cancelled."""
        if self._every_s is None:
            return
        tendered = self._journal.tendered
        self._started_s = time.monotonic()
        while True:
            while (left_s := self._started_s + self._every_s - time.monotonic()) > 0:  # noqa: ASYNC110 - another cut moves it
                await asyncio.sleep(left_s)
            if self._daemon.kills % HASTY:
                await self._came_further(self._started_s + PATIENCE * self._every_s)
            tendered.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(SALE_WAIT_S):
                    await tendered.wait()
            await asyncio.sleep(self._rng.uniform(0, COMMIT_S))
            await self._cut(asyncio.sleep(0))

    async def _came_further(self, until_s: float) -> None:
        """On a busy machine a life may be too short for a single label, and so may all the following ones: two of three are longer then."""
        while time.monotonic() < until_s:
            with suppress(DaemonUnreachable):
                status = await self._daemon.call("status", {})
                if status["attempts"]["proven"] or not status["labels"]["unsettled"]:
                    return
            await asyncio.sleep(LOOK_S)

    async def over(self, week: int, begins: Awaitable[None]) -> None:
        """Let a week begin; in some weeks nobody is there to see it, and a daemon that starts has to find out."""
        if self._every_s is None or week % OVER_WEEKS:
            await begins
            return
        await self._cut(begins)

    async def _cut(self, dark: Awaitable[None]) -> None:
        """Off, for so long, and on again."""
        async with self._switch:
            await self._daemon.kill()
            await dark
            await self._daemon.start()
            self._started_s = time.monotonic()
