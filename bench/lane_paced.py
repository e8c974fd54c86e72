"""Lookups at the pace of people, 8 lanes at 100 a second each, while labels render and prices come in without a pause.

The C server answers as many lanes at the same pace from the same generator in the very same seconds: whatever else the machine does, it
does to both.
"""

from __future__ import annotations

import asyncio
import random
import statistics
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from bench.lane_hq import head_office
from bench.lane_shop import LANES, SEED, SETTINGS, Shop, codes, prefer
from bench.lane_tools import Target, Tools, lookups, percentile, run_load, start_server, write_lines
from bench.lane_unpaced import one_answer
from edge.demo.world import Simulator

ROUNDS: Final = 5
PER_SECOND: Final = 100
LINES: Final = 20_000
SIMULATED_LABELS: Final = 1  # the bench's own 30,000 are never heard: pictures for them go to the module and wait there


async def measure(directory: Path, seeded: Path, tools: Tools, seconds: float) -> dict[str, Any]:
    """Percentiles in microseconds: medians of the rounds'. `ratios` likewise."""
    rng = random.Random(SEED)
    now = datetime.now(UTC).isoformat()
    sim = await Simulator.start(directory, labels=SIMULATED_LABELS, modules=1, rate=1.0, seed=SEED, start_wall=now)
    listening_to_sim = asyncio.create_task(sim.run())
    shop = Shop(directory, seeded, sim.radios)
    try:
        await shop.start()
        await shop.at_rest()
        server, c_sockets = await start_server(tools, directory, await one_answer(shop), LANES)
        prefer(server.process.pid)
        lines = [write_lines(directory / f"{lane}.lines", lookups(lane, codes(rng, LINES))) for lane in SETTINGS.lanes]
        targets = [Target(socket, file) for sockets in (shop.sockets, c_sockets) for socket, file in zip(sockets, lines, strict=True)]
        async with head_office(directory, shop) as office:
            importing = asyncio.create_task(office.keep_importing())
            try:
                before = await _rendered(shop, at_least=1)
                ours, theirs = [], []
                for _ in range(ROUNDS):
                    load = await run_load(tools, targets, seconds=seconds / ROUNDS, per_second=PER_SECOND)
                    ours.append([wait / 1000 for waits in load.waits_ns[:LANES] for wait in waits])
                    theirs.append([wait / 1000 for waits in load.waits_ns[LANES:] for wait in waits])
                rendered = await _rendered(shop) - before
            finally:
                importing.cancel()
                await asyncio.wait([importing])
            found = figures(ours, theirs) | {"rendered_per_s": rendered / seconds, "imports": office.imported, "rss_mb": shop.memory_mb()}
        await server.stop()
        return found
    finally:
        await shop.stop()
        listening_to_sim.cancel()
        await asyncio.wait([listening_to_sim])
        await sim.stop()


def figures(ours: list[list[float]], theirs: list[list[float]]) -> dict[str, float]:
    """Of rounds of waits, one list each."""

    def middle(rounds: list[list[float]], share: float) -> float:
        return statistics.median(percentile(waits, share) for waits in rounds)

    def ratio(share: float) -> float:
        return statistics.median(percentile(a, share) / percentile(b, share) for a, b in zip(ours, theirs, strict=True))

    return {
        "p50_us": middle(ours, 0.5),
        "p99_us": middle(ours, 0.99),
        "p999_us": middle(ours, 0.999),
        "c_p50_us": middle(theirs, 0.5),
        "c_p99_us": middle(theirs, 0.99),
        "c_p999_us": middle(theirs, 0.999),
        "p99_over_c": ratio(0.99),
        "p999_over_c": ratio(0.999),
    }


async def _rendered(shop: Shop, at_least: int = 0) -> int:
    """Pictures drawn since the daemon began; returns when there are at least so many."""
    while True:
        status = await shop.call("status", {})
        count: int = status["attempts"]["rendered"]
        if count >= at_least:
            return count
        await asyncio.sleep(0.1)
