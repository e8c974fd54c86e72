"""Durable sales of three lines: one lane against a raw append with fdatasync on the same file system, eight lanes at once against one."""

from __future__ import annotations

import os
import random
import statistics
import time
from pathlib import Path
from typing import Any, Final

from bench.lane_shop import ITEMS, SEED, SETTINGS, Shop, price_minor, sku
from bench.lane_tools import Target, Tools, percentile, run_load, sales, write_lines

ROUNDS: Final = 7
SALES: Final = 400  # of each lane in a round
LINES_A_SALE: Final = 3
APPENDED_BYTES: Final = 4096  # one page: less than any of the two writes for a sale


async def measure(directory: Path, seeded: Path, tools: Tools, seconds: float) -> dict[str, Any]:
    """Medians over rounds that interleave the three."""
    shop = Shop(directory, seeded)
    rng = random.Random(SEED)
    one: list[float] = []
    raw: list[float] = []
    rates: dict[int, list[float]] = {1: [], 8: []}
    try:
        await shop.start()
        await shop.at_rest()
        until = time.monotonic() + seconds
        for turn in range(-1, ROUNDS):
            for lanes in rates:
                targets = [
                    Target(socket, write_lines(directory / f"{lane}.lines", sales(lane, f"r{turn}.{lanes}", baskets(rng, SALES))))
                    for socket, lane in zip(shop.sockets[:lanes], SETTINGS.lanes, strict=False)
                ]
                load = await run_load(tools, targets, seconds=60, once=True)
                if turn >= 0:
                    rates[lanes].append(load.per_s)
                    if lanes == 1:
                        one.append(percentile(load.waits_ns[0], 0.5) / 1000)
            if turn >= 0:
                raw.append(_append_us(directory))
            if time.monotonic() > until and turn >= 2:
                break
        return {
            "p50_us": statistics.median(one),
            "fdatasync_p50_us": statistics.median(raw),
            "lane1_per_s": statistics.median(rates[1]),
            "lane8_per_s": statistics.median(rates[8]),
            "over_fdatasync": statistics.median(a / b for a, b in zip(one, raw, strict=True)),
            "lane8_over_lane1": statistics.median(a / b for a, b in zip(rates[8], rates[1], strict=True)),
        }
    finally:
        await shop.stop()


def baskets(rng: random.Random, count: int) -> list[list[tuple[str, int]]]:
    """Item ids with their prices at the start."""
    numbers = [[rng.randrange(ITEMS) for _ in range(LINES_A_SALE)] for _ in range(count)]
    return [[(sku(number), price_minor(number, 1)) for number in basket] for basket in numbers]


def _append_us(directory: Path) -> float:
    """The median of appends, each made durable."""
    page, taken = b"\x5a" * APPENDED_BYTES, []
    fd = os.open(directory / "appended", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for _ in range(SALES):
            begin = time.perf_counter_ns()
            os.write(fd, page)
            os.fdatasync(fd)
            taken.append((time.perf_counter_ns() - begin) / 1000)
    finally:
        os.close(fd)
    return percentile(taken, 0.5)
