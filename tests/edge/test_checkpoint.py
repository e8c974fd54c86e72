"""The log goes into the file beside the writer, not within its commits; a disk in doubt is told; the log does not grow for ever."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from edge.store import checkpoint
from edge.store.checkpoint import Checkpointer
from edge.store.db import connect

WAIT_S = 30.0  # for a thread: an event ends it, not time


class Told:
    """What the thread asks of its connection, and what it reports."""

    def __init__(self, error: apsw.Error | None = None) -> None:
        self.asked: list[str] = []
        self.heard: list[apsw.Error] = []
        self.came = threading.Event()
        self._error = error

    def connect(self, path: Path) -> Any:
        return self

    def execute(self, sql: str) -> None:
        self.asked.append(sql)
        if self._error is not None:
            raise self._error
        self.came.set()

    def close(self) -> None:
        self.asked.append("close")

    def failed(self, error: apsw.Error) -> None:
        self.heard.append(error)
        self.came.set()


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[apsw.Connection]:
    db = connect(tmp_path / "x.db")
    db.execute("CREATE TABLE page(n INTEGER PRIMARY KEY, body BLOB)")
    yield db
    db.close()


def fill(db: apsw.Connection, pages: int) -> None:
    """One commit of so many pages and a few more."""
    with db:
        db.executemany("INSERT INTO page(body) VALUES (zeroblob(4000))", [()] * pages)


def log_pages(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size // 4096


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[[Told], Checkpointer]]:
    started: list[Checkpointer] = []

    def start(told: Told) -> Checkpointer:
        made = Checkpointer(tmp_path / "x.db", told.connect, told.failed)
        made.start()
        started.append(made)
        return made

    yield start
    for each in started:
        each.stop()


def test_a_commit_moves_nothing_and_a_long_log_wakes_the_thread(
    writer: apsw.Connection, tmp_path: Path, running: Callable[[Told], Checkpointer]
) -> None:
    told = Told()
    running(told).watch(writer)
    size = (tmp_path / "x.db").stat().st_size
    fill(writer, 10)
    assert told.asked == []
    fill(writer, 2 * checkpoint.PAGES)
    assert told.came.wait(WAIT_S)
    assert told.asked == ["PRAGMA wal_checkpoint(PASSIVE)"]
    assert (tmp_path / "x.db").stat().st_size == size, "the thread of this test moves nothing, and neither did the commit"


def test_a_disk_in_doubt_is_told_and_ends_the_thread(writer: apsw.Connection, running: Callable[[Told], Checkpointer]) -> None:
    told = Told(apsw.IOError("planted"))
    running(told).watch(writer)
    fill(writer, 2 * checkpoint.PAGES)
    assert told.came.wait(WAIT_S)
    assert [str(error) for error in told.heard] == ["planted"]


def test_a_log_that_nobody_moves_makes_the_writer_wait_until_it_is_moved(
    writer: apsw.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "PAGES_MAX", 3_000)
    told = Told()
    idle = Checkpointer(tmp_path / "x.db", told.connect, told.failed)  # its thread never starts
    idle.watch(writer)
    for _ in range(20):
        fill(writer, 500)
        idle.hold_back(writer)
        assert log_pages(tmp_path / "x.db") < 2 * 3_000
    assert (tmp_path / "x.db").stat().st_size > 3_000 * 4096, "it went into the file"


async def test_the_file_alone_holds_everything_after_an_orderly_end(tmp_path: Path, writer: apsw.Connection) -> None:
    checkpointer = Checkpointer(tmp_path / "x.db", connect, lambda error: pytest.fail(str(error)))
    checkpointer.start()
    checkpointer.watch(writer)
    for _ in range(5):
        fill(writer, checkpoint.PAGES)
    checkpointer.stop()
    assert writer.execute("PRAGMA integrity_check").get == "ok"
    assert writer.execute("SELECT count(*) FROM page").get == 5 * checkpoint.PAGES
