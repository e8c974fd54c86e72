"""As many lookups as go, at 8 and at 32 connections: the daemon, the C server and asyncio streams with json, in turn."""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.lane_shop import ITEMS, LANES, SEED, SETTINGS, Shop, codes, prefer
from bench.lane_tools import Target, Tools, listening, lookups, run_load, start_server, write_lines
from edge.demo.children import Child
from edge.lane_client import LaneClient

ROUNDS: Final = 7
CALL_TIMEOUT_S: Final = 10.0
WARM_UP_MAX_S: Final = 60.0
LINES: Final = 10_000  # of each lane; the file goes round. Each server is asked them all once before: a store's day has no cold start
CONNECTIONS: Final = (1, 4)  # of each of the eight listeners: 8 and 32 in all. A listener takes four


async def measure(directory: Path, seeded: Path, tools: Tools, seconds: float) -> dict[str, Any]:
    """Answers per second: medians over rounds that interleave the three. `ratios` are medians of the rounds' own ratios."""
    shop = Shop(directory, seeded)
    rng = random.Random(SEED)
    children: list[Child] = []
    try:
        await shop.start()
        await shop.at_rest()
        lines = [write_lines(directory / f"{lane}.lines", lookups(lane, codes(rng, LINES))) for lane in SETTINGS.lanes]
        answer = await one_answer(shop)
        server, c_sockets = await start_server(tools, directory, answer, LANES)
        children.append(server)
        streams = [directory / f"streams-{number}.sock" for number in range(1, LANES + 1)]
        command = [sys.executable, str(Path(__file__).with_name("lane_streams.py")), str(ITEMS), *map(str, streams)]
        children.append(await Child.start("asyncio streams", command, directory / "streams.log"))
        await listening(streams[-1], children[-1])
        for child in children:
            prefer(child.process.pid)
        sockets = {"per_s": shop.sockets, "c_per_s": c_sockets, "streams_per_s": streams}
        for name in sockets:
            await run_load(tools, [Target(*pair) for pair in zip(sockets[name], lines, strict=True)], seconds=WARM_UP_MAX_S, once=True)
        found: dict[str, Any] = {}
        for times in CONNECTIONS:
            rates: dict[str, list[float]] = {name: [] for name in sockets}
            for turn in range(ROUNDS):
                for name in sorted(sockets, reverse=turn % 2 == 1):
                    targets = [Target(socket, file) for socket, file in zip(sockets[name], lines, strict=True)]
                    rates[name].append((await run_load(tools, targets, seconds=seconds / ROUNDS / 6, times=times)).per_s)
            figures: dict[str, float] = {name: statistics.median(each) for name, each in rates.items()}
            figures |= {
                f"over_{peer}": statistics.median(a / b for a, b in zip(rates["per_s"], rates[peer], strict=True))
                for peer in ("c_per_s", "streams_per_s")
            }
            found[str(times * LANES)] = figures
        return found
    finally:
        for child in children:
            await child.stop()
        await shop.stop()


async def one_answer(shop: Shop) -> bytes:
    """What the daemon answers to a lookup, for the C server to say."""
    async with await LaneClient.connect(shop.sockets[0], timeout_s=CALL_TIMEOUT_S) as client:
        await client.hello(SETTINGS.lanes[0], client="lane-bench")
        result: dict[str, Any] = await client.call("item.lookup", {"code": codes(random.Random(SEED), 1)[0]}, dict)
    return msgspec.json.encode({"jsonrpc": "2.0", "id": 1, "result": result}) + b"\n"
