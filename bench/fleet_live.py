"""Many light stores at a cluster: live load, and what a store that was away for a week takes to catch up."""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.brokers import Cluster, Process
from bench.fleet_office import Office
from bench.fleet_store import LightClock, LightStore, sale_body
from edge.hq import HqSync
from edge.hq_ports import HqTimings
from protocols.hq_events import EventKind

LINES: Final = 3
SALES_PER_DAY: Final = 2_000  # of a supermarket, mean
EVENTS_PER_DAY: Final = 20_000  # with labels, stock and acknowledgements: 140,000 in a week
JOIN_AT_ONCE: Final = 20  # stores that connect together: a fleet's back-off spreads them over a minute
PATIENCE_S: Final = 900.0
TIMINGS: Final = HqTimings()
_TICKS: Final = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Live:
    """`latencies_ms` from the event's commit in the store to head office's signed word that it is committed there: p50, p99."""

    stores: int
    seconds: float
    events: int
    p50_ms: float
    p99_ms: float
    resends: int
    join_s: float
    worker_cpu_s: float
    broker_cpu_s: float
    broker_rss_mb: float

    @property
    def events_per_s(self) -> float:
        return self.events / self.seconds


@dataclass(frozen=True, slots=True)
class CatchUp:
    stores: int
    events: int
    seconds: float
    worker_cpu_s: float


class Stores:
    """Light stores with the daemon's own sync, spread over the nodes of a cluster. To be used as a context."""

    def __init__(self, office: Office, cluster: Cluster, names: Sequence[str]) -> None:
        clock = LightClock()
        self.stores: list[LightStore] = []
        for number, name in enumerate(names):
            wire = json.loads(office.enrolment(name))
            wire["broker"]["port"] = cluster.nodes[number % len(cluster.nodes)].address.port
            self.stores.append(LightStore(json.dumps(wire).encode(), os.urandom(16).hex(), clock))
        self.names = list(names)
        self.syncs = [HqSync(each, clock, enrolled=each.enrolled, outbox_wake=each.wake, timings=TIMINGS) for each in self.stores]
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Stores:
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def join(self) -> float:
        """Connect all, some at once; the seconds that it took."""
        began = time.monotonic()
        for start in range(0, len(self.syncs), JOIN_AT_ONCE):
            part = self.syncs[start : start + JOIN_AT_ONCE]
            self._tasks += [asyncio.create_task(sync.run()) for sync in part]
            await until(lambda part=part: all(sync.connected for sync in part), "the stores are connected")  # type: ignore[misc]
        return time.monotonic() - began

    async def sell(self, seconds: float, events_per_s: float) -> int:
        """Sales at drawn instants, over all stores together; how many."""
        dice, sold, began = random.Random(5), 0, time.monotonic()
        at = began
        while at - began < seconds:
            at += dice.expovariate(events_per_s)
            if (pause := at - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            which = dice.randrange(len(self.stores))
            sale_id = f"{self.stores[which].outbox_state().incarnation[:8]}-{sold}"  # a store of the next measurement sells anew
            self.stores[which].emit(EventKind.SALE, sale_body(sale_id, LINES, sold))
            sold += 1
            if sold % 50 == 0:
                await asyncio.sleep(0)  # behind its schedule, it must not keep the stores from working
        return sold

    async def drained(self) -> None:
        await until(lambda: not any(each.waiting for each in self.stores), "everything is acknowledged")


async def live(office: Office, cluster: Cluster, worker: Process, names: Sequence[str], *, seconds: float, events_per_s: float) -> Live:
    """Events at a steady rate from all stores together, for so long."""
    async with Stores(office, cluster, names) as stores:
        join_s = await stores.join()
        await stores.drained()
        for each in stores.stores:
            each.latencies_ns.clear()
        cpu_s, broker_s = cpu_seconds(worker), sum(cpu_seconds(node.process) for node in cluster.nodes)
        began = time.monotonic()
        events = await stores.sell(seconds, events_per_s)
        await stores.drained()
        took_s = time.monotonic() - began
        latencies = sorted(ns for each in stores.stores for ns in each.latencies_ns)
        return Live(
            len(names),
            took_s,
            events,
            latencies[len(latencies) // 2] / 1e6,
            latencies[len(latencies) * 99 // 100] / 1e6,
            sum(sync.counters.resends for sync in stores.syncs),
            join_s,
            cpu_seconds(worker) - cpu_s,
            sum(cpu_seconds(node.process) for node in cluster.nodes) - broker_s,
            sum(rss_mb(node.process) for node in cluster.nodes),
        )


async def catch_up(office: Office, cluster: Cluster, worker: Process, names: Sequence[str], events: int) -> CatchUp:
    """Stores that were away come back with so many events each."""
    async with Stores(office, cluster, names) as stores:
        for name, store in zip(names, stores.stores, strict=True):
            for number in range(events):
                store.emit(EventKind.SALE, sale_body(f"{name}-{number}", LINES, number))
        cpu_s, began = cpu_seconds(worker), time.monotonic()
        await stores.join()
        await stores.drained()
        return CatchUp(len(names), events, time.monotonic() - began, cpu_seconds(worker) - cpu_s)


async def until(fact: Callable[[], bool], what: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not fact():  # noqa: ASYNC110 - facts of many stores, looked at together
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not within {PATIENCE_S} s: {what}") from None


def cpu_seconds(process: Process) -> float:
    """User and system time that a process has taken."""
    with open(f"/proc/{process.pid}/stat", "rb") as stat:  # noqa: PTH123 - read in place, in the middle of a measurement
        fields = stat.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_mb(process: Process) -> float:
    with open(f"/proc/{process.pid}/statm", "rb") as statm:  # noqa: PTH123 - as above
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
