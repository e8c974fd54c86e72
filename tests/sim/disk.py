"""The store on a disk that keeps what was committed and nothing else: the daemon's own store and writer over SQLite in memory.

A file in memory as migrated is opened once; a whole history is a transaction in it, and copies of the file to restore from are savepoints:
opening and preparing anew would cost more than many a history. Inside, the writer's own code plays groups, each job in its savepoint.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import apsw

from edge.store import witness
from edge.store.db import GROUP_MAX, OWN_TROUBLE, QUEUE_MAX, StoreError, Transaction, Writer, _commit, _Job, _Jobs
from edge.store.hq_rows import Context
from edge.store.load import load
from edge.store.rows import Stamp
from edge.store.store import Store, begin_run, prepare
from edge.view import Delta, View
from protocols.hq_enrol import Enrolment
from tests.edge.shop import Entropy
from tests.sim.loop import SimClock, SimLoop

T = TypeVar("T")

STATEMENTS_MAX = 500  # prepared and kept: all that the daemon has


class Disk:
    """One file, in a transaction that is undone at the end of a history; copies of it are savepoints that lie on each other.

    What the daemon's groups of transactions begin and commit needs nothing here: a group that ends is never undone by itself.
    """

    def __init__(self) -> None:
        self.db = _migrated()
        self.db.execute("BEGIN")
        self._depth = 0

    def keep(self) -> None:
        """From now on a history begins with what is in the file now."""
        self.db.execute("COMMIT")
        self.db.execute("BEGIN")
        self._depth = 0

    def begin_again(self) -> None:
        """The file is what it was at the last `keep`. Nothing is left of a history: what savepoints remember grows until it is undone."""
        self.db.execute("ROLLBACK")
        self.db.execute("BEGIN")
        self._depth = 0

    def mark(self) -> int:
        """A copy of the file as it is now; its number."""
        self._depth += 1
        self.db.execute(f"SAVEPOINT copy_{self._depth}")
        return self._depth

    def put_back(self, number: int) -> None:
        """The file is again what it was at `mark`; later copies are gone."""
        self.db.execute(f"ROLLBACK TO copy_{number}")
        self._depth = number

    def execute(self, sql: str, args: Any = ()) -> Any:
        return None if sql in _GROUP else self.db.execute(sql, args)

    def get_autocommit(self) -> bool:
        return False

    def executemany(self, sql: str, args: Iterable[Any]) -> Any:
        return self.db.executemany(sql, args)

    def last_insert_rowid(self) -> int:
        return int(self.db.last_insert_rowid())


_GROUP = frozenset({"BEGIN", "BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"})


def _migrated() -> apsw.Connection:
    """A new store's file in memory. Through a copy, since a file that was read in as bytes is slower."""
    db = apsw.Connection(":memory:", statementcachesize=STATEMENTS_MAX)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.db"
        prepare(path, SimClock(), Entropy("template"))
        source = apsw.Connection(str(path))
        with db.backup("main", source, "main") as backup:
            backup.step(-1)
        source.close()
    db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # as the daemon's own connections have it
    db.execute("PRAGMA foreign_keys=ON")
    return db


class Power:
    """When it fails: after so many commits, just before or just after one."""

    def __init__(self, loop: SimLoop) -> None:
        self.loop = loop
        self.commits_left: int | None = None
        self.after_commit = False
        self.failed = False

    def fail(self) -> None:
        self.failed = True
        self.loop.halt()


class SimWriter(Writer):
    """The writer without its thread: a group is committed when the world lets the disk turn.

    Transactions stand in the writer's own queue, in which a till's overtake what has not begun.
    """

    def __init__(self, disk: Disk, loop: SimLoop, apply: Callable[[Delta], None], power: Power) -> None:
        self._disk = disk
        self._apply = apply
        self._on_fatal = self._raise
        self._jobs: _Jobs = _Jobs(QUEUE_MAX)
        self._loop: Any = loop
        self._open = {}
        self._over = None
        self.groups = 0
        self.transactions = 0
        self.power = power
        self.is_slow: Callable[[], bool] = lambda: False  # whether the disk keeps a transaction waiting until the world turns it
        self.group_ends: Callable[[], bool] = lambda: False  # whether a group has taken long enough, although more are waiting
        self.waiting = 0

    async def run(self, transaction: Transaction[T], *, urgent: bool = False) -> T:
        if self.power.failed:
            raise asyncio.CancelledError
        db = self._disk.db
        self.waiting += 1
        if self.waiting == 1 and not self.is_slow():
            self._loop.call_soon(self.turn)
        future: asyncio.Future[T] = self._loop.create_future()
        self._jobs._put(_Job(lambda _: transaction(db), future, urgent))
        self._open[future] = None
        future.add_done_callback(self._open.pop)
        return await asyncio.shield(future)

    def turn(self) -> None:
        """Commit what waits, one group."""
        if self.waiting == 0 or self.power.failed:
            return
        power = self.power
        group: list[_Job] = []
        while self.waiting and len(group) < GROUP_MAX and not (group and self.group_ends()):
            job = self._jobs._get()
            assert job is not None
            group.append(job)
            self.waiting -= 1
        fails = False
        if power.commits_left is not None:
            power.commits_left -= 1
            fails = power.commits_left <= 0
        database: Any = self._disk
        if fails and not power.after_commit:
            self._begin_in_vain(group)
            power.fail()
            return
        error = _commit(database, group)
        self.groups += 1
        self.transactions += len(group)
        if error is not None:
            raise error
        if fails:
            power.fail()
            return
        self._finish(group, None)
        if self.waiting:
            self._loop.call_soon(self.turn)

    def _begin_in_vain(self, group: list[_Job]) -> None:
        """All but the commit."""
        self._disk.execute("SAVEPOINT in_vain")
        for job in group:
            with contextlib.suppress(*OWN_TROUBLE):
                job.transaction(self._disk)
        self._disk.execute("ROLLBACK TO in_vain")
        self._disk.execute("RELEASE in_vain")

    def depth(self) -> int:
        return self.waiting

    @staticmethod
    def _raise(error: StoreError) -> None:
        raise error


class SimStore(Store):
    """`edge.store.store.Store`, opened as the daemon opens it."""

    def __init__(
        self,
        disk: Disk,
        clock: SimClock,
        entropy: Callable[[int], bytes],
        context: Context,
        enrolment: Enrolment,
        power: Power,
        *,
        restored: bool = False,
    ) -> None:
        stamp = Stamp(clock.wall_ms(), clock.now_ms(), clock.boot_id, clock.wall_trusted(), entropy(16))
        begin_run(disk.db, stamp, restored=restored)
        self.view = View()
        self.outbox_grew = asyncio.Event()
        self._swapping = asyncio.Lock()
        self.on_change = _nothing
        self.listeners = []
        self.context = self._own_context = context
        self._clock = clock
        self._entropy = entropy
        self._reader = disk.db
        self.writer = SimWriter(disk, power.loop, self._apply, power)
        self._writer = self.writer
        self.view.apply(load(disk.db))
        self.view.take_changes()
        self._enrolment = enrolment
        self._incarnation_salt = int(self._meta("incarnation")[:8], 16)
        self.went_back = restored
        self.lost_ms_ago = witness.lost_ms_ago(disk.db, clock.boot_id, clock.now_ms())


def _nothing() -> None:
    """Nobody listens yet."""
