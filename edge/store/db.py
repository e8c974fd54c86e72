"""One file, one writer thread, group commit: every transaction is durable before its caller hears of it.

WAL with synchronous=FULL through apsw (docs/adr/0002-sqlite.md). Transactions that wait together share one COMMIT, each in its
own savepoint. What a till waits for goes before everything else and is committed without it, and a group ends after GROUP_S: a price list
on its way in holds no lane up. Deltas reach the event loop in commit order, before the callers' futures resolve.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import apsw

from edge.store.checkpoint import Checkpointer
from edge.store.rows import Db
from edge.view import Delta

SCHEMA_VERSION = 3
GROUP_MAX = 64  # transactions per COMMIT: bounds what one slow disk write delays
GROUP_S = 0.005  # of work, after which a COMMIT takes no further transaction: whoever waits for it waits for all of them
QUEUE_MAX = 4096  # waiting transactions; a full queue means that the disk is gone
CACHE_KIB = 8 * 1024  # of each connection: the inner pages of every index of a large store, where 2 MB hold a few of them
BUSY_TIMEOUT_MS = 5_000  # only a backup tool could hold the file
SQLITE_FLOOR = (3, 51, 3)  # older WAL code can corrupt a file that two connections reset (fixed in 3.51.3)

T = TypeVar("T")
Transaction = Callable[[Db], tuple[T, Delta]]


class StoreError(Exception):
    """The file cannot be trusted to hold what was written. The daemon ends; systemd starts it again on a checked file."""


class StoreFull(StoreError):
    """No room on the disk. Nothing was lost: what did not commit was not acknowledged."""


class Refused(Exception):
    """What was asked cannot be done, for a reason that a person or a peer can act on. Nothing was changed."""


# What a transaction's own input can lead to: it is rolled back alone, and the file is as good as before.
OWN_TROUBLE = (Refused, ValueError, LookupError, TypeError, ArithmeticError, apsw.ConstraintError)


@dataclass(slots=True)
class _Job:
    transaction: Transaction[Any]
    future: asyncio.Future[Any]
    urgent: bool = False
    result: Any = None
    delta: Delta | None = None
    error: BaseException | None = None


class _Jobs(queue.Queue["_Job | None"]):
    """Two queues in one: the urgent jobs in their order, then the others in theirs. None comes after all."""

    def _init(self, maxsize: int) -> None:
        self._first: deque[_Job] = deque()
        self._others: deque[_Job | None] = deque()

    def _qsize(self) -> int:
        return len(self._first) + len(self._others)

    def _put(self, item: _Job | None) -> None:
        if item is not None and item.urgent:
            self._first.append(item)
        else:
            self._others.append(item)

    def _get(self) -> _Job | None:
        return self._first.popleft() if self._first else self._others.popleft()

    def take(self, *, urgent: bool) -> _Job | None:
        """The next job that waits, or None where none does; only an urgent one where that is asked. The end is left where it is."""
        with self.mutex:
            if self._first:
                return self._first.popleft()
            return None if urgent or not self._others or self._others[0] is None else self._others.popleft()


def connect(path: Path, *, readonly: bool = False) -> apsw.Connection:
    """Open the store's file with the durability settings that every connection shares. Raises StoreError."""
    if tuple(int(part) for part in apsw.sqlite_lib_version().split(".")) < SQLITE_FLOOR:
        raise StoreError(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or later is needed (WAL-reset bug)")
    flags = apsw.SQLITE_OPEN_READONLY if readonly else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    try:
        db = apsw.Connection(str(path), flags=flags)
        db.set_busy_timeout(BUSY_TIMEOUT_MS)
        db.config(apsw.SQLITE_DBCONFIG_ENABLE_QPSG, 1)  # else a statement with a bound value is planned anew at each value: twice the time
        db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
        if not readonly:
            db.execute("PRAGMA journal_mode=WAL")
            db.execute("PRAGMA synchronous=FULL")
            db.execute("PRAGMA foreign_keys=ON")
            db.execute("PRAGMA temp_store=MEMORY")  # where the pages go that a savepoint could want back
        return db
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error


def check(path: Path) -> int:
    """The file's schema version after an integrity check; 0 for a file that does not exist. Raises StoreError when damaged."""
    if not path.exists():
        return 0
    db = connect(path)
    try:
        verdict = db.execute("PRAGMA quick_check(1)").get
        if verdict != "ok":
            raise StoreError(f"{path}: damaged: {verdict}")
        version = db.execute("PRAGMA user_version").get
        assert isinstance(version, int)
        return version
    except apsw.Error as error:
        raise StoreError(f"{path}: {error}") from error
    finally:
        db.close()


class Writer:
    """The one thread that changes the file. `run` may be called from the event loop's thread only."""

    def __init__(self, path: Path, apply: Callable[[Delta], None], on_fatal: Callable[[StoreError], None]) -> None:
        self._path = path
        self._apply = apply
        self._on_fatal = on_fatal
        self._jobs = _Jobs(QUEUE_MAX)
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._work, name="store-writer", daemon=True)
        self._checkpointer = Checkpointer(path, connect, self._disk_in_doubt)
        self._open: dict[asyncio.Future[Any], None] = {}  # not yet answered
        self._over: StoreError | None = None
        self.groups = 0
        self.transactions = 0

    def start(self) -> None:
        self._checkpointer.start()
        self._thread.start()

    async def run(self, transaction: Transaction[T], *, urgent: bool = False) -> T:
        """Run one transaction, committed when this returns. An exception of its own rolls back only it. Raises StoreError.

        `urgent` ones, which a till waits for, go before all others that have not begun.
        """
        if self._over is not None:
            raise self._over
        future: asyncio.Future[T] = self._loop.create_future()
        try:
            self._jobs.put_nowait(_Job(transaction, future, urgent))
        except queue.Full:
            raise StoreError(f"{QUEUE_MAX} transactions wait: the disk does not keep up") from None
        self._open[future] = None
        future.add_done_callback(self._open.pop)
        return await asyncio.shield(future)

    def depth(self) -> int:
        return self._jobs.qsize()

    def stop(self) -> None:
        """Let waiting transactions commit, then end the thread."""
        if self._thread.is_alive():
            self._jobs.put(None)
            self._thread.join()

    def _work(self) -> None:
        ended_well = False
        try:
            self._serve()
            ended_well = True
        finally:
            if not ended_well:  # a fault of ours, with its traceback in the log
                self._loop.call_soon_threadsafe(self._give_up, StoreError("the thread that writes the store's file died"))

    def _serve(self) -> None:
        db = connect(self._path)
        self._checkpointer.watch(db)
        while (job := self._jobs.get()) is not None:
            group: list[_Job] = []
            error = _commit(db, self._grouped(job, group)) or self._hold_back(db)
            self.groups += 1
            self.transactions += len(group)
            self._loop.call_soon_threadsafe(self._finish, group, error)
            if error is not None:
                break  # after a failed sync the connection's state is not to be trusted: never retry on it
        self._checkpointer.stop()
        db.close()

    def _hold_back(self, db: apsw.Connection) -> StoreError | None:
        try:
            self._checkpointer.hold_back(db)
        except apsw.Error as error:
            return _doubt(error)
        return None

    def _disk_in_doubt(self, error: apsw.Error) -> None:
        self._loop.call_soon_threadsafe(self._give_up, _doubt(error))

    def _grouped(self, job: _Job, group: list[_Job]) -> Iterator[_Job]:
        """A job, and those that wait by the time that the ones before them are done; `group` gets each of them.

        Urgent ones join any group, and nothing joins theirs but urgent ones.
        """
        begin_s = self._loop.time()
        urgent = False
        while True:
            group.append(job)
            yield job
            urgent = urgent or job.urgent
            if len(group) == GROUP_MAX or self._loop.time() - begin_s > GROUP_S:
                return
            more = self._jobs.take(urgent=urgent)
            if more is None:
                return
            job = more

    def _finish(self, group: list[_Job], error: StoreError | None) -> None:
        applied = False
        try:
            for job in group:
                if error is None and job.delta is not None:
                    self._apply(job.delta)
            applied = True
        finally:
            if not applied:  # a fault of ours: the view is no longer what is on disk
                self._give_up(StoreError("what was committed could not be taken over into memory"))
        for job in group:
            if job.future.done():
                continue
            problem = error or job.error
            if problem is None:
                job.future.set_result(job.result)
            else:
                job.future.set_exception(problem)
                job.future.exception()  # a caller that was cancelled must not turn it into noise
        if error is not None:
            self._give_up(error)

    def _give_up(self, error: StoreError) -> None:
        """Nobody serves the queue any more: whoever waits for it, or asks from now on, hears why."""
        self._over = error
        for future in list(self._open):
            if not future.done():
                future.set_exception(error)
                future.exception()  # a caller that was cancelled must not turn it into noise
        self._on_fatal(error)


def _commit(db: apsw.Connection, group: Iterable[_Job]) -> StoreError | None:
    """Run a group under one COMMIT. Returns the error that makes the file's state doubtful, else None."""
    try:
        db.execute("BEGIN IMMEDIATE")
        for job in group:
            db.execute("SAVEPOINT job")
            try:
                job.result, job.delta = job.transaction(db)
            except OWN_TROUBLE as error:
                job.error = error  # this transaction's own trouble: its caller's boundary decides what it means
                db.execute("ROLLBACK TO job")
            db.execute("RELEASE job")
        db.execute("COMMIT")
    except apsw.Error as error:
        return _failed(db, _doubt(error))
    return None


def _doubt(error: apsw.Error) -> StoreError:
    if isinstance(error, apsw.FullError):
        return StoreFull(f"no room for the store's file: {error}")
    return StoreError(f"writing the store's file failed: {error}")


def _failed(db: apsw.Connection, error: StoreError) -> StoreError:
    if not db.get_autocommit():
        with contextlib.suppress(apsw.Error):  # the connection is closed next; the file rolls back when it is opened again
            db.execute("ROLLBACK")
    return error
