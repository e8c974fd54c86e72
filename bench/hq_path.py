"""How long HQ's word takes on its way: `make bench-hq ARGS="--json out.json"`.

The running daemon behind a real broker on this machine. A 50,000-item catalogue, from its first message until every chunk is on the
disk, and until it is in force; batches of 500 prices, from HQ's publish until a till that asks all the time hears the new price.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import statistics
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.lane_hq import HeadOffice, head_office
from bench.lane_shop import LABELS, SETTINGS, Shop, gtin, price_minor, price_row, sku, write_store
from bench.lane_tools import percentile
from edge.demo.broker import BrokerDidNotStart
from edge.demo.children import ChildDied
from edge.lane_client import DaemonUnreachable, LaneClient
from protocols.pos import LookupParams

ITEMS: Final = 50_000
ROWS: Final = 500  # of one message: the most
ROUNDS: Final = 40  # fewer minor units than the cheapest item costs: each round takes one off
WAIT_S: Final = 120.0
LOOK_S: Final = 0.005


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    console = Console(width=120)
    try:
        found = asyncio.run(_run(console))
    except (ChildDied, BrokerDidNotStart, DaemonUnreachable, TimeoutError) as error:
        sys.stderr.write(f"bench-hq: {str(error) or 'something did not come in time'}\n")
        return 1
    table = Table("what", "took", "target")
    table.add_row(f"{ITEMS:,} items, publish to every chunk committed", f"{found['snapshot_committed_ms']:,.0f} ms", "2,000 ms")
    table.add_row("... to in force", f"{found['snapshot_in_force_ms']:,.0f} ms", "")
    for name in ("unlabelled", "cuts"):
        each = found[name]
        table.add_row(f"{ROWS} prices, {name}, publish to the till, p50", f"{each['p50_ms']:.1f} ms", "50 ms")
        table.add_row("... p99", f"{each['p99_ms']:.1f} ms", "")
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0


async def _run(console: Console) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="sd-hq-") as name:
        directory = Path(name)
        console.print("a catalogue for an empty store …", style="dim")
        found: dict[str, Any] = await _snapshot(directory / "empty")
        console.print("writing a store of 120,000 items and 30,000 labels …", style="dim")
        seeded = directory / "seeded"
        seeded.mkdir()
        await write_store(seeded)
        console.print("batches of prices …", style="dim")
        return found | await _batches(directory / "stocked", seeded)


# -- a catalogue -----------------------------------------------------------------------------------------------------------


async def _snapshot(directory: Path) -> dict[str, float]:
    nothing = directory / "nothing"
    nothing.mkdir(parents=True)
    shop = Shop(directory / "shop", nothing)
    try:
        await shop.start()
        await shop.at_rest()
        async with head_office(shop.directory, shop) as office:
            office.hq.snapshot([_item(number) for number in range(ITEMS)], [price_row(number, 1) for number in range(ITEMS)])
            chunks = len(office.hq.books.chunk_bodies)
            begin = time.perf_counter()
            async with asyncio.timeout(WAIT_S):
                committed = await _when(shop, begin, f"SELECT count(*) = {chunks} OR {_LIVE} FROM snapshot_chunk")
                in_force = await _when(shop, begin, f"SELECT {_LIVE}")
        return {"snapshot_committed_ms": committed * 1000, "snapshot_in_force_ms": in_force * 1000}
    finally:
        await shop.stop()


_LIVE: Final = "EXISTS (SELECT 1 FROM snapshot WHERE state = 'live')"


async def _when(shop: Shop, begin: float, fact: str) -> float:
    """Seconds from `begin` until the file says so."""
    with closing(sqlite3.connect(f"file:{shop.directory / 'shelfd.db'}?mode=ro", uri=True)) as db:
        while not db.execute(fact).fetchone()[0]:  # noqa: ASYNC110 - another process writes the file
            await asyncio.sleep(LOOK_S)
    return time.perf_counter() - begin


def _item(number: int) -> dict[str, Any]:
    name = f"Haferflocken {number}"
    return {"sku": sku(number), "name": name, "short_name": name, "barcodes": [{"gtin": gtin(number)}], "category": f"c{number % 60}"}


# -- batches of prices -----------------------------------------------------------------------------------------------------


async def _batches(directory: Path, seeded: Path) -> dict[str, Any]:
    shop = Shop(directory, seeded)
    try:
        await shop.start()
        await shop.at_rest()
        async with head_office(directory, shop) as office, await LaneClient.connect(shop.sockets[0], timeout_s=WAIT_S) as till:
            await till.hello(SETTINGS.lanes[0])
            revs = range(2, 2 + ROUNDS)
            unlabelled = [await _arrives_ms(office, till, [_at_once(LABELS + n, rev) for n in range(ROWS)]) for rev in revs]
            cuts = [await _arrives_ms(office, till, [_cut(n, rev) for n in range(ROWS)]) for rev in revs]
        return {"unlabelled": _shape(unlabelled), "cuts": _shape(cuts), "rounds": ROUNDS}
    finally:
        await shop.stop()


def _at_once(number: int, rev: int) -> dict[str, Any]:
    """In force on receipt, also where nobody vouches for the clock: some dearer, some cheaper."""
    return price_row(number, rev) | {"effective_from": None}


def _cut(number: int, rev: int) -> dict[str, Any]:
    """A price one minor unit below that of the revision before: labels hang on these items, and a cut does not wait for them."""
    return _at_once(number, rev) | {"amount_minor": price_minor(number, 1) - rev + 1}


async def _arrives_ms(office: HeadOffice, till: LaneClient, rows: list[dict[str, Any]]) -> float:
    """From the publish until the till hears the price of the last item of the batch."""
    last = rows[-1]
    asked = LookupParams(item_id=last["sku"])
    begin = time.perf_counter()
    office.hq.send_prices(rows)
    async with asyncio.timeout(WAIT_S):
        while (await till.lookup(asked)).price.amount_minor != last["amount_minor"]:
            pass
    return (time.perf_counter() - begin) * 1000


def _shape(taken: list[float]) -> dict[str, float]:
    return {"p50_ms": statistics.median(taken), "p99_ms": percentile(sorted(taken), 0.99), "worst_ms": max(taken)}


if __name__ == "__main__":
    raise SystemExit(main())
