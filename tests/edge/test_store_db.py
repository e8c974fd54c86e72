"""The file, its writer, its migration: durable before it is told, one failure alone, a doubtful disk is the end."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import threading
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlite_utils import Database

from edge.store import db as store_db
from edge.store import journal
from edge.store.db import SCHEMA_VERSION, Refused, StoreError, StoreFull, check
from edge.store.schema import migrate, migrations
from edge.store.store import prepare
from edge.view import Delta, View
from protocols.hq import Signer, partition_of
from protocols.hq_enrol import BadEnrolment
from tests.edge.shop import L1, MILK, Entropy, HandClock, Hq, Shop, item, price
from tests.edge.test_store_till import ledger_equals_stock, sale


def note(key: str, value: str = "x") -> Any:
    def transaction(db: Any) -> tuple[str, Delta]:
        journal.set_meta(db, key, value)
        return key, Delta()

    return transaction


def failing(error: BaseException, key: str = "never") -> Any:
    def transaction(db: Any) -> tuple[None, Delta]:
        journal.set_meta(db, key, "x")
        raise error

    return transaction


def metas(shop: Shop) -> set[str]:
    return {row[0] for row in shop.rows("SELECT key FROM meta WHERE key LIKE 'k%'")}


# -- group commit ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [Refused("x"), ValueError("x"), KeyError("x"), OverflowError("x"), apsw.ConstraintError("x")])
async def test_a_failing_transaction_of_a_group_fails_alone(shop: Shop, error: Exception) -> None:
    runs = [shop.store.run(note("k1")), shop.store.run(failing(error, "k-bad")), shop.store.run(note("k2"))]
    answers = await asyncio.gather(*runs, return_exceptions=True)
    assert answers == ["k1", error, "k2"]
    assert metas(shop) == {"k1", "k2"}
    assert not shop.fatal


async def test_transactions_that_wait_together_share_a_commit(shop: Shop) -> None:
    before = shop.store._writer.groups
    await asyncio.gather(*(shop.store.run(note(f"k{n}")) for n in range(60)))
    assert shop.store._writer.groups - before < 30
    assert len(metas(shop)) == 60


async def test_what_a_till_waits_for_goes_first_and_shares_no_commit_with_what_takes_long(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_db, "GROUP_S", 0)  # whatever runs takes long
    began, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def slow(db: Any) -> tuple[None, Delta]:
        began.set()
        go_on.wait()
        return None, Delta()

    def noted(name: str) -> Any:
        def transaction(db: Any) -> tuple[None, Delta]:
            order.append(name)
            return None, Delta()

        return transaction

    before = shop.store._writer.groups
    first = asyncio.create_task(shop.store.run(slow))
    await asyncio.to_thread(began.wait)
    calls = [("list 1", False), ("sale 1", True), ("list 2", False), ("sale 2", True)]
    rest = [asyncio.create_task(shop.store.run(noted(name), urgent=urgent)) for name, urgent in calls]
    await asyncio.sleep(0)
    assert shop.store.writer_depth() == len(calls)
    go_on.set()
    await asyncio.gather(first, *rest)
    assert order == ["sale 1", "sale 2", "list 1", "list 2"]
    assert shop.store._writer.groups - before == 5


async def test_nothing_but_other_sales_joins_the_commit_of_a_sale_however_quick_it_is(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_db, "GROUP_S", 60)  # nothing takes long
    commits: list[list[bool]] = []
    commit = store_db._commit

    def watched(db: Any, group: Any) -> Any:
        commits.append([])
        return commit(db, map(seen, group))

    def seen(job: Any) -> Any:
        commits[-1].append(job.urgent)
        return job

    monkeypatch.setattr(store_db, "_commit", watched)
    began, go_on = threading.Event(), threading.Event()

    def slow(db: Any) -> tuple[None, Delta]:
        began.set()
        go_on.wait()
        return None, Delta()

    first = asyncio.create_task(shop.store.run(slow, urgent=True))
    await asyncio.to_thread(began.wait)
    rest = [asyncio.create_task(shop.store.run(note(f"k{n}"), urgent=n < 2)) for n in range(5)]
    await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(first, *rest)
    assert commits == [[True, True, True], [False, False, False]]


async def test_what_waits_when_the_store_closes_is_committed_urgent_or_not(shop: Shop) -> None:
    runs = [asyncio.create_task(shop.store.run(note(f"k{n}"), urgent=n % 2 == 0)) for n in range(6)]
    await asyncio.sleep(0)
    shop.store.close()
    await asyncio.gather(*runs)
    shop.open()
    assert metas(shop) == {f"k{n}" for n in range(6)}


async def test_what_was_answered_is_in_the_file_and_in_the_view(stocked: Shop) -> None:
    await stocked.prices(price("milk", 120, rev=2))
    assert stocked.value("SELECT max(rev) FROM price_row WHERE item_id = 'milk'") == 2
    assert stocked.store.view.in_force[MILK].row.rev == 2


async def test_a_caller_that_gives_up_does_not_undo_its_transaction(shop: Shop) -> None:
    task = asyncio.create_task(shop.store.run(note("k1")))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await shop.store.run(note("k2"))
    assert metas(shop) == {"k1", "k2"}


# -- a doubtful disk -------------------------------------------------------------------------------------------------------


class Fullness:
    """A disk that is full after so many bytes more. Planted below SQLite, where a write reaches the file system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error]) -> None:
        self.left_bytes: int | None = None
        fullness = self

        class File(apsw.VFSFile):
            def __init__(self, name: Any, flags: list[int]) -> None:
                super().__init__("", name, flags)

            def xWrite(self, data: bytes, offset: int) -> None:
                if fullness.left_bytes is not None:
                    fullness.left_bytes -= len(data)
                    if fullness.left_bytes < 0:
                        raise error("planted")
                super().xWrite(data, offset)

        class Vfs(apsw.VFS):
            def __init__(self) -> None:
                super().__init__(f"planted-{id(fullness)}", "")

            def xOpen(self, name: Any, flags: list[int]) -> Any:
                return File(name, flags)

        self._vfs = Vfs()
        name = f"planted-{id(fullness)}"
        connect = store_db.connect

        def on_it(path: Path, *, readonly: bool = False) -> apsw.Connection:
            return connect(Path(f"file:{path}?vfs={name}"), readonly=readonly)

        plain = apsw.Connection

        def with_uri(filename: str, flags: int) -> apsw.Connection:
            return plain(filename, flags=flags | apsw.SQLITE_OPEN_URI)

        monkeypatch.setattr(store_db, "connect", on_it)
        monkeypatch.setattr(apsw, "Connection", with_uri)

    def close(self) -> None:
        self._vfs.unregister()


@pytest.mark.parametrize(("error", "means"), [(apsw.FullError, StoreFull), (apsw.IOError, StoreError)])
async def test_a_disk_that_takes_no_more_ends_the_store_and_keeps_nothing_unanswered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[apsw.Error], means: type[StoreError]
) -> None:
    shop = Shop(tmp_path)
    shop.open()
    await shop.stocked()
    shop.close()
    with monkeypatch.context() as patch:
        disk = Fullness(patch, error)
        shop.open()
        disk.left_bytes = 400_000
        recorded: list[str] = []
        told: list[BaseException] = []
        for n in range(100):
            try:
                await shop.store.record_sale(sale(f"s{n}", digest=f"d{n}"))
                recorded.append(f"s{n}")
            except StoreError as problem:
                told.append(problem)
        assert recorded
        assert told
        assert isinstance(told[0], means)
        assert shop.fatal == [told[0]], "told once, and whoever comes later hears the same"
        assert set(told) == {told[0]}
        disk.left_bytes = None
        shop.close()
    disk.close()
    shop.open()
    assert [row[0] for row in shop.rows("SELECT sale_id FROM sale ORDER BY up_seq")] == recorded
    assert ledger_equals_stock(shop)
    shop.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_fault_of_ours_in_a_transaction_is_the_end_and_nobody_waits_for_ever(shop: Shop) -> None:
    together = threading.Event()

    def wait(db: Any) -> tuple[None, Delta]:
        together.wait()
        return None, Delta()

    waiting = [asyncio.create_task(shop.store.run(each)) for each in (wait, note("k1"), failing(AssertionError("planted")), note("k2"))]
    await asyncio.sleep(0)  # all of them are in the queue
    together.set()
    _, *answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(answer, StoreError) for answer in answers)
    assert len(shop.fatal) == 1
    assert metas(shop) == set()
    with pytest.raises(StoreError):
        await shop.store.run(note("k3"))


async def test_a_delta_that_cannot_be_taken_over_is_the_end(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The view would say something else than the file from then on."""

    def broken(self: View, delta: Delta) -> None:
        raise AssertionError("planted")

    monkeypatch.setattr(View, "apply", broken)
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
    with pytest.raises(StoreError):
        await shop.store.run(note("k1"))
    assert len(shop.fatal) == 1


# -- opening ---------------------------------------------------------------------------------------------------------------


def test_a_new_file_begins_an_incarnation_and_a_restart_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "shelfd.db"
    prepare(path, HandClock(), Entropy("a"))
    db = store_db.connect(path)
    first = journal.outbox_state(db).incarnation
    db.close()
    prepare(path, HandClock(), Entropy("b"))
    db = store_db.connect(path)
    assert journal.outbox_state(db).incarnation == first
    assert db.execute("PRAGMA journal_mode").get == "wal"
    assert db.execute("PRAGMA synchronous").get == 2
    db.close()
    assert len(first) == 32


def test_a_file_of_a_newer_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "shelfd.db"
    migrate(path)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    db.close()
    with pytest.raises(StoreError, match="newer shelfd"):
        prepare(path, HandClock(), Entropy())


@pytest.mark.parametrize("damage", [b"this is no database, whatever its name says" * 200, None])
def test_a_damaged_file_is_refused(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "shelfd.db"
    prepare(path, HandClock(), Entropy())
    data = damage or path.read_bytes()[:20_000] + b"\xff" * 40_000 + path.read_bytes()[60_000:]
    path.write_bytes(data)
    with pytest.raises(StoreError):
        prepare(path, HandClock(), Entropy())


def test_an_interrupted_creation_is_finished_at_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "shelfd.db"
    migrate(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 0")
    db.close()
    prepare(path, HandClock(), Entropy())
    assert check(path) == SCHEMA_VERSION


async def test_a_copy_taken_while_it_runs_opens_and_is_whole(stocked: Shop, tmp_path: Path) -> None:
    """What a crash at this instant would leave: the file and its log, without an orderly end."""
    await stocked.store.record_sale(sale())
    copy = Shop(tmp_path / "copy")
    copy.path.parent.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{stocked.path}{suffix}", f"{copy.path}{suffix}")
    copy.open()
    assert copy.store.find_sale("s1") == stocked.store.find_sale("s1")
    assert copy.store.view.items == stocked.store.view.items
    copy.close()


async def test_the_view_after_a_restart_is_the_view_before_it(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 100)
    await stocked.prices(price("milk", 80, rev=2, kind="promo", price_id="p"))
    await stocked.store.record_sale(sale())
    before = stocked.store.view
    after = stocked.reopen().view
    for name in ("items", "barcodes", "codes", "rows", "in_force", "stock", "labels", "bindings", "waiting", "generation", "quotes"):
        assert getattr(after, name) == getattr(before, name), name
    assert {entry.attempt_id: entry for entry in after.may_entries()} == {entry.attempt_id: entry for entry in before.may_entries()}


# -- enrolment -------------------------------------------------------------------------------------------------------------


def enrolment(store: str = "demo-01") -> bytes:
    signer = Signer("k1", Ed25519PrivateKey.generate())
    return msgspec.json.encode(
        {
            "store": store,
            "partition": partition_of(store),
            "broker": {"host": "127.0.0.1", "port": 1883},
            "topic_prefix": "rs/1",
            "hq_keys": [{"kid": "k1", "public_key": signer.public_key}],
            "hq_incarnation": "1" * 32,
        }
    )


async def test_a_store_is_enrolled_once_and_for_one_name(shop: Shop) -> None:
    assert shop.store.enrolment() is None
    with pytest.raises(BadEnrolment):
        await shop.store.enrol(b"{}", "test")
    await shop.store.enrol(enrolment(), "test")
    again = enrolment()
    await shop.store.enrol(again, "test")
    with pytest.raises(Refused):
        await shop.store.enrol(enrolment("demo-02"), "test")
    stored = shop.reopen().enrolment()
    assert stored is not None
    assert (stored.store, stored.text) == ("demo-01", again)


async def test_lanes_are_not_ready_before_the_first_catalogue(shop: Shop) -> None:
    await shop.store.enrol(enrolment(), "test")
    assert not shop.desk.ready()
    for each in Hq().snapshot("s1", [{"items": [item("milk")], "rows": [price("milk", 1)]}]):
        await shop.store.receive(each)
    assert shop.desk.ready()


def test_a_file_of_the_schema_before_keeps_what_it_holds_and_a_copy_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "shelfd.db"
    with sqlite3.connect(path) as old:
        migrations.apply(Database(old), stop_before="m003_imports_and_what_hq_asks")
        old.execute("PRAGMA user_version = 2")
        old.execute("INSERT INTO snapshot VALUES('s1', '{}', 'staging', 7)")
    old.close()
    prepare(path, HandClock(), Entropy())
    assert check(path) == SCHEMA_VERSION
    db = store_db.connect(path)
    assert db.execute("SELECT snapshot_id, received_wall_ms, seq FROM snapshot").get == ("s1", 7, 0)
    db.close()
    assert check(path.with_suffix(f".before-schema-{SCHEMA_VERSION}.db")) == 2
