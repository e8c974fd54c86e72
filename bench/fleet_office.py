"""A head office as its operator has it: the folder, the database, workers as processes of their own that can be killed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.brokers import Process
from bench.fleet_store import LightClock
from drivers.mqtt import MqttAddress
from edge.head_office import folder as files
from edge.head_office.db import log
from edge.head_office.db.seam import Database, open_database
from edge.head_office.publish import draft
from edge.head_office.settings import SETTINGS, Settings, load

INCARNATION: Final = "a" * 32
LEASE_MS: Final = 1_500
ROOT: Final = Path(__file__).resolve().parent.parent
_CONNECTED: Final = r"partition=\d\d broker=\S+ connected"


class Office:
    """`stores` are added at once; `database` None: SQLite in the folder."""

    def __init__(self, folder: Path, broker: MqttAddress, stores: list[str], database: str | None = None, lease_ms: int = LEASE_MS) -> None:
        files.make(folder, (broker.host,), broker.port, database, LightClock().wall_ms(), tls=False)
        settings = folder / SETTINGS
        settings.write_text(settings.read_text().replace("[hq]\n", f"[hq]\nlease_ms = {lease_ms}\n"))
        self.folder = folder
        self.settings: Settings = load(folder)
        self.db: Database = open_database(self.settings.database)
        self.incarnation = log.prepare(self.db, INCARNATION)
        self.author = log.Author(self.settings.signer(), self.settings.hq.source)
        self.workers: list[Process] = []
        for store in stores:
            self.add(store)

    def add(self, store: str) -> bytes:
        """Its enrolment."""
        made = files.write_store(self.settings, store, self.incarnation, LightClock().wall_ms(), replace=True)
        log.add_store(self.db, store)
        return (made / "enrolment.json").read_bytes()

    def enrolment(self, store: str) -> bytes:
        return (self.folder / "stores" / store / "enrolment.json").read_bytes()

    def publish(self, store: str, text: bytes, *, csv: bool = False, whole: bool = False) -> list[log.Said]:
        """As `shelfd hq publish`."""
        return log.append(self.db, self.author, store, draft(self.db, store, text, csv=csv, hq=self.settings.hq, whole=whole))

    def worker(self, *, connected: int = 0) -> Process:
        """A worker as a process; returns when this many of its partitions are connected."""
        command = [sys.executable, "-m", "edge", "hq", "run", "--dir", str(self.folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = Process(command, self.folder / f"worker-{len(self.workers)}.log", environment=environment, cwd=ROOT)
        self.workers.append(process)
        process.start()
        wait_connected(process, connected)
        return process

    def count(self, what: str, where: str = "1 = 1") -> int:
        return int(self.db.rows(f'SELECT count(*) FROM "{what}" WHERE {where}')[0][0])

    def alarms(self) -> list[tuple[str, str]]:
        return [(str(store), str(what)) for store, what in self.db.rows("SELECT store, what FROM alarm ORDER BY store, what")]

    def sales(self, store: str) -> tuple[int, int]:
        """(number, sum in minor units)."""
        rows = self.db.rows("SELECT count(*), coalesce(sum(total_minor), 0) FROM sale WHERE store = ?", store)
        return int(rows[0][0]), int(rows[0][1])

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.db.close()


@contextmanager
def office(folder: Path, broker: MqttAddress, stores: list[str], database: str | None = None, lease_ms: int = LEASE_MS) -> Iterator[Office]:
    """For the time of the block."""
    made = Office(folder, broker, stores, database, lease_ms)
    try:
        yield made
    finally:
        made.close()


def wait_connected(worker: Process, partitions: int) -> None:
    """Until the worker connected so many times since its start. Raises DidNotStart."""
    if partitions:
        worker.said(_CONNECTED, partitions)


def freeze(worker: Process) -> None:
    os.kill(worker.pid, signal.SIGSTOP)


def thaw(worker: Process) -> None:
    os.kill(worker.pid, signal.SIGCONT)
