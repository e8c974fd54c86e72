"""The store and the shelf's loop made to run step by step: one SQLite in memory, one thread, nothing happens between two turns."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import apsw

from edge.labels import LabelService
from edge.store.db import OWN_TROUBLE, Transaction
from edge.store.load import load
from edge.store.store import Store, prepare
from edge.view import Delta, View
from tests.edge.shop import Entropy, HandClock, context

T = TypeVar("T")


class Crash(BaseException):
    """The daemon's process is gone at this instant."""


class MemoryStore(Store):
    """The store's methods over one SQLite connection, with each transaction run at once: a history is then one thread and repeatable.

    `crash_in` counts transactions down to a crash, before or after the commit of the last one.
    """

    def __init__(self, db: apsw.Connection, clock: HandClock, entropy: Entropy) -> None:
        self.view = View()
        self.outbox_grew = asyncio.Event()
        self._swapping = asyncio.Lock()
        self.on_change: Callable[[], None] = lambda: None
        self.listeners: list[Callable[[Delta], None]] = []
        self.context = context()
        self._clock = clock
        self._entropy = entropy
        self._reader = db
        self._incarnation_salt = 0
        self.crash_in: int | None = None
        self.crash_after_commit = False
        self.view.apply(load(db))
        self.view.take_changes()

    async def run(self, transaction: Transaction[T], *, urgent: bool = False) -> T:
        crashes = False
        if self.crash_in is not None:
            self.crash_in -= 1
            crashes = self.crash_in <= 0
            if crashes and not self.crash_after_commit:
                raise Crash
        self._reader.execute("SAVEPOINT job")
        try:
            result, delta = transaction(self._reader)
        except OWN_TROUBLE:
            self._reader.execute("ROLLBACK TO job; RELEASE job")
            raise
        self._reader.execute("RELEASE job")
        if crashes:
            raise Crash
        self.take_over(delta)
        return result

    def writer_depth(self) -> int:
        return 0  # whoever asks sees everything written

    def take_over(self, delta: Delta) -> None:
        self.view.apply(delta)
        for listener in self.listeners:
            listener(delta)
        self.on_change()


class SteppedService(LabelService):
    """The real loop, one turn at a time."""

    turn: asyncio.Event
    parked: asyncio.Event

    async def _wait(self) -> None:
        self.parked.set()
        await self.turn.wait()
        self.turn.clear()


def template_database() -> bytes:
    """A migrated, empty store, as bytes: making one takes longer than a whole history."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        prepare(path, HandClock(), Entropy("template"))
        db = apsw.Connection(str(path))
        db.execute("PRAGMA journal_mode=DELETE")
        data = db.serialize("main")
        db.close()
        return bytes(data)
