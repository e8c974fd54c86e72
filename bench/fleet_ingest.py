"""The online path: events that the worker books in PostgreSQL in a second, next to the same rows through plain paho and executemany.

Both find the same messages waiting in their sessions at one mosquitto, run alone, in turns. The clock runs from the first commit that
somebody else can see to the last.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.brokers import Process
from bench.fleet_office import ROOT, office
from bench.fleet_store import sale_body
from bench.postgres import new_schema
from drivers.mqtt import MqttAddress, MqttLink
from edge.demo.broker import BrokerKind, start_broker
from edge.head_office.db.seam import Database
from protocols.hq import partition_of, utc_text, uuid7
from protocols.hq_events import FIRST_PREV_HASH, Event, EventKind, batches, encode_up_batch, make_event

STORES: Final = 8
LINES: Final = 3
NOW_MS: Final = 1_795_313_333_000
WINDOW: Final = 50
PATIENCE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Pace:
    """Events booked in a second: the worker's, the plain program's, round by round."""

    events: int
    worker_per_s: tuple[float, ...]
    plain_per_s: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """Worker to plain: the middle one of the rounds' ratios."""
        ratios = sorted(one / other for one, other in zip(self.worker_per_s, self.plain_per_s, strict=True))
        return ratios[len(ratios) // 2]


def measure(directory: Path, server: str, events: int, rounds: int) -> Pace:
    """`events` over all stores, so many times each."""
    worker: list[float] = []
    plain: list[float] = []
    names = [f"ingest-{number}" for number in range(STORES)]
    messages = [message for name in names for message in _messages(name, events // STORES)]
    for number in range(rounds):
        for kind, paces in (("worker", worker), ("plain", plain)):
            folder = directory / f"{kind}-{number}"
            folder.mkdir()
            schema = new_schema(server, f"{kind}{number}")
            with start_broker(folder, kind=BrokerKind.MOSQUITTO) as running:
                address = MqttAddress(running.host, running.port)
                paces.append(_round(kind, folder, address, schema, names, messages, events // STORES * STORES))
    return Pace(events, tuple(worker), tuple(plain))


def _round(
    kind: str, folder: Path, address: MqttAddress, schema: str, names: list[str], messages: Sequence[tuple[str, bytes]], events: int
) -> float:
    with office(folder / "hq", address, names, schema) as made:
        if kind == "worker":
            partitions = len({partition_of(name) for name in names})
            made.worker(connected=partitions).stop()
            asyncio.run(_fill(address, messages))
            process = made.worker()
        else:
            process = Process([sys.executable, "-m", "bench.fleet_plain", str(address.port), schema], folder / "plain.log", cwd=ROOT)
            process.start()
            process.said("subscribed")
            process.stop()
            asyncio.run(_fill(address, messages))
            process.start()
        try:
            return _pace(made.db, events)
        finally:
            process.stop()


def _pace(db: Database, events: int) -> float:
    """Asks for the size of the ledger until it is whole."""
    deadline = time.monotonic() + PATIENCE_S
    first, count, began = 0, 0, 0.0
    while time.monotonic() < deadline:
        now = time.monotonic()
        count = int(db.rows("SELECT count(*) FROM event")[0][0])
        if count and not first:
            first, began = count, now
        if count >= events:
            return (count - first) / (now - began)
        time.sleep(0.05)
    raise AssertionError(f"{count} of {events} events after {PATIENCE_S} s")


async def _fill(address: MqttAddress, messages: Sequence[tuple[str, bytes]]) -> None:
    async with MqttLink(address, "filler").connect() as connection:
        for topic, payload in messages:
            await connection.room(WINDOW)
            connection.send(topic, payload)
        await connection.room(1)


def _messages(store: str, count: int) -> list[tuple[str, bytes]]:
    incarnation, before = "c" * 32, FIRST_PREV_HASH
    events: list[Event] = []
    for seq in range(1, count + 1):
        text = sale_body(f"{store}-{seq}", LINES, seq)
        events.append(make_event(incarnation, seq, EventKind.SALE, uuid7(NOW_MS, seq.to_bytes(10, "big")), utc_text(NOW_MS), text, before))
        before = events[-1].hash
    topic = f"rs/1/{partition_of(store)}/{store}/up/sale"
    return [(topic, encode_up_batch(store, incarnation, run)) for run in batches(events)]
