"""`make bench-fleet`: what a fleet asks of a NATS cluster and of head office's workers, on this machine, and what 10,000 stores would.

Everything runs here: three NATS nodes, PostgreSQL, one worker, the stores with the daemon's own sync code. What a line of the last table
says to be computed is the measured cost of one event times the events of such a fleet; nothing but processor time is in it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from bench import fleet_ingest
from bench.brokers import Cluster, Process, nats
from bench.fleet_bytes import Bytes, measure_bytes
from bench.fleet_live import EVENTS_PER_DAY, SALES_PER_DAY, CatchUp, Live, catch_up, live
from bench.fleet_office import Office, office
from bench.postgres import new_schema, postgres
from protocols.hq import partition_of

FLEET: Final = 10_000
PEAK: Final = 4  # of the mean: a Saturday's late afternoon
DAY_S: Final = 86_400
LEASE_MS: Final = 10_000
ACK_WAIT_S: Final = 30


def main() -> int:
    options = _options()
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        directory = Path(name)
        lives, caught, traffic = _cluster(directory, server, options)
        pace = None if options.skip_ingest else fleet_ingest.measure(directory, server, options.ingest_events, options.rounds)
    _show(lives, caught, traffic, pace)
    if options.json is not None:
        result = {
            "live": [asdict(each) for each in lives],
            "catch_up": [asdict(each) for each in caught],
            "bytes": asdict(traffic),
            "ingest": None if pace is None else asdict(pace) | {"ratio": pace.ratio},
            "load_average": os.getloadavg(),
        }
        options.json.write_text(json.dumps(result, indent=1))
    return 0


def _cluster(directory: Path, server: str, options: argparse.Namespace) -> tuple[list[Live], list[CatchUp], Bytes]:
    names = [f"s{number}" for number in range(options.stores)]
    away = {count: [f"away-{count}-{number}" for number in range(count)] for count in options.catch_up_stores}
    every = [*names, *(name for group in away.values() for name in group), "counted"]
    with (
        nats(directory / "broker", 3, ack_wait_s=ACK_WAIT_S) as cluster,
        office(directory / "hq", cluster.nodes[0].address, every, new_schema(server, "fleet"), LEASE_MS) as made,
    ):
        worker = made.worker(connected=len({partition_of(name) for name in every}))
        lives = [_live(made, cluster, worker, names[:count], options) for count in sorted({max(1, options.stores // 5), options.stores})]
        caught = [asyncio.run(catch_up(made, cluster, worker, group, options.catch_up_events)) for group in away.values()]
        traffic = asyncio.run(measure_bytes(made, cluster.nodes[0].address, "counted"))
        if made.alarms():
            raise AssertionError(made.alarms()[:5])
        return lives, caught, traffic


def _live(made: Office, cluster: Cluster, worker: Process, names: list[str], options: argparse.Namespace) -> Live:
    rate = options.rate or len(names) * SALES_PER_DAY * PEAK / DAY_S
    return asyncio.run(live(made, cluster, worker, names, seconds=options.seconds, events_per_s=rate))


def _show(lives: list[Live], caught: list[CatchUp], traffic: Bytes, pace: fleet_ingest.Pace | None) -> None:
    console = Console(width=150)
    console.print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors")
    table = Table(title="Live load (measured)", box=None)
    for heading in (
        "stores",
        "seconds",
        "events/s",
        "p50 ms",
        "p99 ms",
        "resends",
        "joined in s",
        "worker CPU",
        "brokers CPU",
        "brokers MB",
    ):
        table.add_column(heading, justify="right")
    for each in lives:
        shares = (f"{100 * each.worker_cpu_s / each.seconds:.0f} %", f"{100 * each.broker_cpu_s / each.seconds:.0f} %")
        numbers = (f"{each.events_per_s:.1f}", f"{each.p50_ms:.0f}", f"{each.p99_ms:.0f}", str(each.resends), f"{each.join_s:.1f}")
        table.add_row(str(each.stores), f"{each.seconds:.0f}", *numbers, *shares, f"{each.broker_rss_mb:.0f}")
    console.print(table)
    for caught_up in caught:
        total = caught_up.stores * caught_up.events
        console.print(
            f"catch-up (measured): {caught_up.stores} store(s) with {caught_up.events:,} events each in {caught_up.seconds:.1f} s, "
            f"{total / caught_up.seconds:,.0f} events/s, worker {1e6 * caught_up.worker_cpu_s / total:.0f} us of processor for each"
        )
    console.print(
        f"bytes (measured): {traffic.up_per_sale:.0f} up and {traffic.down_per_sale:.0f} down for a sale told alone, "
        f"{traffic.up_per_batched:.0f} up for one of a full message; {traffic.per_day / 1e6:.2f} MB per store and day at "
        f"{SALES_PER_DAY:,} sales told alone, {traffic.prices_per_day / 1e6:.2f} MB of it for {traffic.price_rows:,} changed prices"
    )
    if pace is not None:
        one, other = (sorted(values)[len(values) // 2] for values in (pace.worker_per_s, pace.plain_per_s))
        console.print(
            f"online path (measured): worker with PostgreSQL {one:,.0f} events/s, "
            f"plain paho + executemany {other:,.0f}, ratio {pace.ratio:.2f}"
        )
    console.print(_extrapolated(lives, caught, traffic))


def _extrapolated(lives: list[Live], caught: list[CatchUp], traffic: Bytes) -> Table:
    """From the slope between the smallest and the largest fleet that ran live."""
    table = Table(title=f"{FLEET:,} stores", box=None)
    for heading in ("what", "value", "how"):
        table.add_column(heading)
    small, large = lives[0], lives[-1]
    mean, peak = FLEET * SALES_PER_DAY / DAY_S, PEAK * FLEET * SALES_PER_DAY / DAY_S
    per_event = {"worker": _slope(small, large, "worker_cpu_s"), "brokers": _slope(small, large, "broker_cpu_s")}
    table.add_row(
        "sales/s, mean and peak", f"{mean:,.0f}, {peak:,.0f}", f"computed: {SALES_PER_DAY:,} a day each, peak {PEAK} times the mean"
    )
    for name, cost_s in per_event.items():
        table.add_row(
            f"processors at the peak, {name}",
            f"{peak * cost_s:.1f}",
            f"computed: {1e3 * cost_s:.2f} ms of processor for an event told alone (slope)",
        )
    best = min(caught, key=lambda each: each.worker_cpu_s / (each.stores * each.events))
    batched_s = best.worker_cpu_s / (best.stores * best.events)
    day = FLEET * EVENTS_PER_DAY * batched_s
    table.add_row(
        "processor hours of workers a day, in full messages",
        f"{day / 3600:.1f}",
        f"computed: {1e6 * batched_s:.0f} us an event, catching up",
    )
    memory = (large.broker_rss_mb - small.broker_rss_mb) / max(1, large.stores - small.stores)
    table.add_row("memory of the three nodes", f"{memory * FLEET / 1e3:.1f} GB", f"computed: {memory:.2f} MB a store (slope)")
    table.add_row("traffic a day", f"{FLEET * traffic.per_day / 1e9:.1f} GB", "computed: bytes of one store's day")
    return table


def _slope(small: Live, large: Live, cost: str) -> float:
    """Processor seconds for one more event."""
    events = large.events - small.events
    if events <= 0:
        return float(getattr(large, cost)) / large.events
    return max(0.0, float(getattr(large, cost)) - float(getattr(small, cost))) / events


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stores", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0, help="of live load")
    parser.add_argument("--rate", type=float, default=0.0, help="events a second over all stores (the peak of so many)")
    parser.add_argument("--catch-up-events", type=int, default=140_000)
    parser.add_argument("--catch-up-stores", type=int, nargs="*", default=[1, 10])
    parser.add_argument("--ingest-events", type=int, default=24_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip-ingest", action="store_true")
    parser.add_argument("--json", type=Path)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
