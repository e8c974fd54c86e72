"""Kill -9, again and again: does head office have every sale of every store, once?

Real and light stores sell while the worker, the broker, or nodes of a cluster are killed in the middle of it and started again. When the
blows are over, the stores' own books are held against head office's: every sale by its id, the sums, the units on stock, every event of
every chain. `python bench/fleet_crash.py --minutes 10` goes on for longer than the tests do.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Final, Protocol

from bench.brokers import HOST, Cluster, Kind, Node, mosquitto, nats
from bench.fleet_office import Office, office
from bench.fleet_store import LightClock, LightStore, sale_body
from bench.postgres import new_schema, postgres
from drivers.mqtt import MqttAddress
from edge.demo.broker import free_port
from edge.hq import HqSync
from edge.hq_ports import HqTimings
from edge.store.catalogue import AnomalyLimits
from edge.store.inbox import Context
from edge.store.journal import emit
from edge.store.rows import Db, Stamp
from edge.store.store import Store, open_store
from edge.view import Delta
from protocols.hq import partition_of
from protocols.hq_events import EventKind

QUICK: Final = HqTimings(
    gap_ms=200, head_ms=200, snapshot_ms=1_000, resend_ms=1_000, resend_max_ms=4_000, backoff_min_ms=50, backoff_max_ms=500
)
LINES: Final = 3
POLL_S: Final = 0.02
PATIENCE_S: Final = 180.0  # far above the longest repair: an election and two pauses before a resend
BETWEEN_EVENTS: Final = 60  # that head office acknowledges before the next blow: so that each meets live traffic
DARK_S: Final = 1.0  # how long a broker without a quorum stays so


class Till(Protocol):
    """A store that sells."""

    name: str
    sold: dict[str, int]  # sale id -> total

    async def sell(self) -> None: ...
    def waiting(self) -> int: ...
    def acked(self) -> int: ...
    def last(self) -> tuple[str, int]: ...
    def sync(self) -> HqSync: ...
    def close(self) -> None: ...


class LightTill:
    def __init__(self, name: str, enrolment: bytes, number: int) -> None:
        self.name = name
        self.sold: dict[str, int] = {}
        self._store = LightStore(enrolment, f"{number:032x}", LightClock())

    async def sell(self) -> None:
        number = len(self.sold)
        sale_id = f"{self.name}-{number}"
        self._store.emit(EventKind.SALE, sale_body(sale_id, LINES, number))
        self.sold[sale_id] = _total()

    def waiting(self) -> int:
        return self._store.waiting

    def acked(self) -> int:
        return self._store.outbox_state().first_unacked_seq - 1

    def last(self) -> tuple[str, int]:
        state = self._store.outbox_state()
        return state.incarnation, state.last_seq

    def sync(self) -> HqSync:
        return HqSync(self._store, LightClock(), enrolled=self._store.enrolled, outbox_wake=self._store.wake, timings=QUICK)

    def close(self) -> None:
        """Nothing is open."""


class RealTill:
    """The daemon's own store file, its writer thread, its outbox."""

    def __init__(self, name: str, store: Store, clock: LightClock) -> None:
        self.name = name
        self.sold: dict[str, int] = {}
        self._store = store
        self._clock = clock
        self._enrolled = asyncio.Event()
        self._enrolled.set()

    async def sell(self) -> None:
        number = len(self.sold)
        sale_id = f"{self.name}-{number}"
        await self._store.run(partial(self._record, stamp=self._store.stamp(), sale_id=sale_id, number=number))
        self.sold[sale_id] = _total()

    def _record(self, db: Db, *, stamp: Stamp, sale_id: str, number: int) -> tuple[None, Delta]:
        emit(db, stamp, EventKind.SALE, json.loads(sale_body(sale_id, LINES, number)), salt=sale_id)
        return None, Delta(outbox_grew=True)

    def waiting(self) -> int:
        state = self._store.outbox_state()
        return state.last_seq - state.first_unacked_seq + 1

    def acked(self) -> int:
        return self._store.outbox_state().first_unacked_seq - 1

    def last(self) -> tuple[str, int]:
        state = self._store.outbox_state()
        return state.incarnation, state.last_seq

    def sync(self) -> HqSync:
        return HqSync(self._store, self._clock, enrolled=self._enrolled, outbox_wake=self._store.outbox_grew, timings=QUICK)

    def close(self) -> None:
        self._store.close()


@dataclass(frozen=True, slots=True)
class Verdict:
    """`lost`, `doubled` count sales by id; `complaints` are head office's alarms and whatever sums differ."""

    blows: int
    sales: int
    events: int
    lost: int
    doubled: int
    resends: int
    complaints: tuple[str, ...]
    seconds: float


Blow = Callable[[], Awaitable[None]]


class Fleet:
    """An office, its worker and stores that sell until told to stop."""

    def __init__(self, made: Office, tills: Sequence[Till], pace_s: float) -> None:
        self.office = made
        self.tills = tills
        self.blows = 0
        self._pace_s = pace_s
        self._selling = True
        self._syncs = [till.sync() for till in tills]
        self._partitions = len({partition_of(till.name) for till in tills})
        self.worker = made.worker(connected=self._partitions)

    async def run(self, blows: Iterable[Blow]) -> Verdict:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            linked = [group.create_task(sync.run()) for sync in self._syncs]
            selling = [group.create_task(self._sell(till)) for till in self.tills]
            for blow in blows:
                await self._progress()
                await blow()
                self.blows += 1
            await self._progress()
            self._selling = False
            await asyncio.gather(*selling)
            await self._until(lambda: not any(till.waiting() for till in self.tills), "everything is acknowledged")
            for task in linked:
                task.cancel()
            await asyncio.gather(*linked, return_exceptions=True)
        return self._verdict(time.monotonic() - began)

    async def kill_worker(self) -> None:
        """In the middle of what it does; another one goes on."""
        self.worker.kill()
        self.worker = await asyncio.to_thread(self.office.worker, connected=self._partitions)

    async def _sell(self, till: Till) -> None:
        dice = random.Random(till.name)
        while self._selling:
            await till.sell()
            await asyncio.sleep(self._pace_s * (0.5 + dice.random()))

    async def _progress(self) -> None:
        goal = sum(till.acked() for till in self.tills) + BETWEEN_EVENTS
        await self._until(lambda: sum(till.acked() for till in self.tills) >= goal, f"{BETWEEN_EVENTS} more events are acknowledged")

    async def _until(self, fact: Callable[[], bool], what: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE_S):
                while not fact():  # noqa: ASYNC110 - several stores' own facts, looked at together
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            errors = {sync.last_error for sync in self._syncs}
            waiting = {till.name: till.waiting() for till in self.tills if till.waiting()}
            raise AssertionError(f"not within {PATIENCE_S} s: {what}; waiting {waiting}; {errors}; {self.office.alarms()}") from None

    def _verdict(self, seconds: float) -> Verdict:
        lost = doubled = 0
        complaints = [f"{store}: {what}" for store, what in self.office.alarms()]
        for till in self.tills:
            ids = [str(sale) for (sale,) in self.office.db.rows("SELECT sale_id FROM sale WHERE store = ?", till.name)]
            lost += len(till.sold.keys() - set(ids))
            doubled += len(ids) - len(set(ids))
            count, total = self.office.sales(till.name)
            units = int(self.office.db.rows("SELECT coalesce(sum(on_hand), 0) FROM stock WHERE store = ?", till.name)[0][0])
            incarnation, last = till.last()
            events = self.office.count("event", f"store = '{till.name}' AND incarnation = '{incarnation}'")
            told = (count, total, units, events)
            expected = (len(till.sold), sum(till.sold.values()), -LINES * len(till.sold), last)
            if told != expected:
                complaints.append(f"{till.name}: (sales, total, units, events) {told}, expected {expected}")
        sales, events = sum(len(till.sold) for till in self.tills), sum(till.last()[1] for till in self.tills)
        resends = sum(sync.counters.resends for sync in self._syncs)
        return Verdict(self.blows, sales, events, lost, doubled, resends, tuple(complaints), seconds)


async def fleet(
    stack: AsyncExitStack, directory: Path, broker: MqttAddress, *, real: int, light: int, pace_s: float = 0.05, database: str | None = None
) -> Fleet:
    """Stores, some with the daemon's own file; all enrolled; one worker that is connected."""
    names = [f"real-{number}" for number in range(real)] + [f"light-{number}" for number in range(light)]
    made = stack.enter_context(office(directory / "hq", broker, names, database))
    tills: list[Till] = []
    for number, name in enumerate(names):
        enrolment = made.enrolment(name)
        if name.startswith("light"):
            tills.append(LightTill(name, enrolment, number))
            continue
        clock = LightClock()
        store = open_store(directory / f"{name}.db", clock, random.Random(name).randbytes, _context(), _fatal)
        stack.callback(store.close)
        await store.enrol(enrolment, "bench")
        tills.append(RealTill(name, store, clock))
    return await asyncio.to_thread(Fleet, made, tills, pace_s)


async def kill_node(node: Node) -> None:
    """A broker that stands alone; its sessions are on disk."""
    node.process.kill()
    await asyncio.to_thread(node.start)


async def kill_nodes(cluster: Cluster, numbers: Sequence[int]) -> None:
    """Some of a cluster at once; without a majority nothing is accepted until they are back."""
    for number in numbers:
        cluster.nodes[number].process.kill()
    await asyncio.sleep(DARK_S)
    await asyncio.to_thread(partial(cluster.start, *numbers))


class Forwarder:
    """One address in front of a cluster, as a name with three addresses is: each connection goes to a node that takes it."""

    def __init__(self, targets: Sequence[MqttAddress]) -> None:
        self._targets = list(targets)
        self._turn = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._bytes = [0, 0]
        self.address = MqttAddress(HOST, free_port())

    async def __aenter__(self) -> Forwarder:
        self._server = await asyncio.start_server(self._serve, HOST, self.address.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def counts(self) -> tuple[int, int]:
        """Bytes to the targets, and from them."""
        return self._bytes[0], self._bytes[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        writers = [writer]
        try:
            there = await self._connected()
            if there is not None:
                writers.append(there[1])
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._copy(reader, there[1], 0))
                    group.create_task(self._copy(there[0], writer, 1))
        finally:
            self._tasks.discard(task)
            for each in writers:
                each.close()
                with suppress(OSError):
                    await each.wait_closed()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, way: int) -> None:
        with suppress(OSError):
            while data := await reader.read(1 << 16):
                self._bytes[way] += len(data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            self._turn += 1
            target = self._targets[self._turn % len(self._targets)]
            with suppress(OSError):
                return await asyncio.open_connection(target.host, target.port)
        return None


def _total() -> int:
    return sum(199 + line for line in range(LINES))


def _context() -> Context:
    return Context("EUR", AnomalyLimits(Fraction(10), Fraction(90), Fraction(20)), "oepl", "shelf", prices_from_hq=True)


def _fatal(error: BaseException) -> None:
    raise error


async def soak(kind: Kind, directory: Path, minutes: float, database: str | None) -> Verdict:
    """Blows of every kind in a drawn order, for so long."""
    async with AsyncExitStack() as stack:
        if kind is Kind.NATS:
            cluster = stack.enter_context(nats(directory / "broker", 3))
            forwarder = await stack.enter_async_context(Forwarder([node.address for node in cluster.nodes]))
            there = await fleet(stack, directory, forwarder.address, real=4, light=12, database=database)
            kinds: list[Blow] = [there.kill_worker]
            kinds += [partial(kill_nodes, cluster, numbers) for numbers in ((0,), (1,), (2,), (0, 1), (1, 2), (0, 1, 2))]
        else:
            node = stack.enter_context(mosquitto(directory / "broker"))
            there = await fleet(stack, directory, node.address, real=4, light=12, database=database)
            kinds = [there.kill_worker, partial(kill_node, node)]
        return await there.run(_drawn(time.monotonic() + minutes * 60, kinds))


def _drawn(end_s: float, kinds: Sequence[Blow]) -> Iterator[Blow]:
    dice = random.Random(1)
    while time.monotonic() < end_s:
        yield dice.choice(kinds)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="for each broker")
    parser.add_argument("--postgres", action="store_true", help="head office in PostgreSQL")
    options = parser.parse_args()
    bad = False
    for kind in (Kind.MOSQUITTO, Kind.NATS):
        with tempfile.TemporaryDirectory() as name:
            if options.postgres:
                with postgres() as server:
                    verdict = asyncio.run(soak(kind, Path(name), options.minutes, new_schema(server, "hq")))
            else:
                verdict = asyncio.run(soak(kind, Path(name), options.minutes, None))
        print(kind, verdict)
        bad |= bool(verdict.lost or verdict.doubled or verdict.complaints)
    return int(bad)


if __name__ == "__main__":
    sys.exit(main())
