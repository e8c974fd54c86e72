"""Judging while a broken daemon is at it: it may never come to rest."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from bench.real_panels import Panels
from bench.real_prices import PriceBook
from drivers.base import Clock
from edge.demo.judge import Judge

LOOK_S: Final = 2.0  # real
LATE_MS: Final = 120_000  # of store time, two real seconds: how long the simulator's diary may take to come here


class Noticed(Exception):
    """It gave itself away: more of it would say nothing new."""


async def notice(clock: Clock, panels: Panels, judges: Sequence[Judge], prices: PriceBook) -> None:
    """Raises Noticed at the first wrong charge."""
    while not (prices.wrong or any(judge.overcharges for judge in judges)):
        await asyncio.sleep(LOOK_S)
        told_ms = clock.now_ms() - LATE_MS
        await panels.all_read()
        for judge in judges:
            judge.told(told_ms)
    raise Noticed
