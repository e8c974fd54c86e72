"""Watched folders: what is read and when, where files go, and that a crash at any step leaves every file brought exactly once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.import_feed import Complete, Feed, FeedKind, Mode
from edge.import_folder import Disk
from edge.import_reader import ReaderFailed
from edge.import_watch import Seen, claimed_name, id_ms, parse_claimed, ready
from edge.store import import_apply, imports
from edge.store.imports import ImportState
from protocols.hq import uuid7
from tests.edge.import_bench import Crash, Inbox, Steps, bring, crash_in_store, desk_of
from tests.edge.shop import BREAD, DAY_MS, MILK, NOON_MS, Shop, context

CATALOGUE = "sku,name,price,stock\nmilk,Milk,1.00,5\nbread,Bread,2.00,7\n"
PRICES = Feed("prices", FeedKind.PRICES)
STOCK = Feed("stock", FeedKind.STOCK)
ALL = Feed("all", FeedKind.ITEMS, Mode.FULL)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Milk 1.00 and bread 2.00, from a file."""
    found = Shop(tmp_path, context_=context(prices_from_hq=False))
    found.open()
    await bring(found, CATALOGUE)
    yield found
    found.close()


async def look(shop: Shop, inbox: Inbox, times: int = 2) -> None:
    watch = inbox.watch(shop)
    for _ in range(times):
        await watch.look(shop.clock.wall)


# -- which files are whole -------------------------------------------------------------------------------------------------


def seen(name: str, size: int = 1, mtime: int = 1, inode: int = 1) -> Seen:
    return Seen(name, inode, size, mtime)


def test_a_file_is_read_when_two_looks_agree_and_its_name_is_not_one_of_a_copy() -> None:
    files = [
        seen("b.csv", mtime=5),
        seen("a.csv", mtime=9),
        seen(".x.csv"),
        seen("c.csv.part"),
        seen("d.csv.tmp"),
        seen("e.txt"),
        seen("~f.csv"),
    ]
    assert ready(files, {}, "*.csv", Complete.RENAME) == []
    before = {each.name: each for each in files}
    assert ready(files, before, "*.csv", Complete.RENAME) == ["b.csv", "a.csv"]
    for other in (seen("a.csv", 2, 9), seen("a.csv", 1, 8), seen("a.csv", 1, 9, inode=2)):
        assert ready(files, before | {"a.csv": other}, "*.csv", Complete.RENAME) == ["b.csv"]


def test_with_markers_a_file_is_read_when_its_marker_is_there() -> None:
    files = [seen("a.csv"), seen("b.csv"), seen("b.csv.done"), seen("c.csv.done")]
    assert ready(files, {each.name: each for each in files}, "*", Complete.MARKER) == ["b.csv"]


@given(st.text(st.characters(exclude_characters="/\0\n", exclude_categories=["Cs"]), min_size=1, max_size=40), st.integers(0, 2**48 - 1))
def test_a_claimed_name_gives_the_name_and_the_id_back(name: str, ms: int) -> None:
    import_id = uuid7(ms, b"0123456789")
    claimed = claimed_name(name, import_id)
    assert parse_claimed(claimed) == (name, import_id)
    assert id_ms(import_id) == ms
    assert parse_claimed("items.2026-01-01.csv") is None


# -- where files go --------------------------------------------------------------------------------------------------------


async def test_a_good_file_goes_to_done_and_a_bad_one_to_rejected_with_their_reports(shop: Shop, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "in", PRICES)
    inbox.put("good.csv", "sku,price\nmilk,1.10\nbread,2.00\n")
    inbox.put("bad.csv", "sku,price\nmilk,1.20\nbread,=1+1\ncaviar,9\n", mtime_s=2_000)
    await look(shop, inbox)
    assert shop.charge(MILK) == 110
    assert inbox.names() == inbox.names("work") == []
    assert inbox.names("done") == ["good.ID.csv", "good.ID.csv.report.csv"]
    assert inbox.names("rejected") == ["bad.ID.csv", "bad.ID.csv.report.csv"]
    report = inbox.report("done", "good")
    assert report[0] == "line,outcome,key,column,found,detail"
    assert report[1].startswith("0,done,")
    assert report[2:] == ["2,changed,milk,,,price 1.00 -> 1.10", "3,unchanged,bread,,,"]
    wrong = [line.split(",")[:5] for line in inbox.report("rejected", "bad")[2:]]
    assert wrong == [["3", "mistake", "", "price", "'=1+1"], ["4", "mistake", "", "sku", "caviar"]]


async def test_files_of_the_same_name_never_collide_and_the_same_content_is_no_news(shop: Shop, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "in", STOCK)
    for _ in range(3):
        inbox.put("stock.csv", "sku,change\nmilk,2\n")
        await look(shop, inbox)
    assert shop.store.view.stock[MILK] == 7
    assert inbox.names("done") == ["stock.ID.csv"] * 3 + ["stock.ID.csv.report.csv"] * 3


async def test_a_held_file_stays_in_work_until_a_person_decides(shop: Shop, tmp_path: Path) -> None:
    await bring(shop, "sku,name,price\n" + "".join(f"i{n},N,1.00\n" for n in range(50)))
    inbox = Inbox(tmp_path / "in", ALL)
    inbox.put("all.csv", "sku,name,price\nmilk,Milk,1.00\n")
    await look(shop, inbox)
    assert inbox.names("work") == ["all.ID.csv"]
    (account,) = shop.store.read(lambda db: imports.recent(db, 1))
    assert account.state is ImportState.HELD
    await desk_of(shop).approve(account.import_id, "Ann", "uid 0")
    for _ in range(2):  # the rows of the one that has no report yet are still needed
        await bring(shop, "sku,price\nmilk,1.00\n", feed=ALL, dry_run=True)
    await look(shop, inbox, 1)
    assert inbox.names("done") == ["all.ID.csv", "all.ID.csv.report.csv"]
    assert inbox.report("done", "all")[1].endswith('approved by Ann"')
    assert "i7,,,not in the file: no longer sold" in "\n".join(inbox.report("done", "all"))


async def test_a_delta_waits_in_the_folder_behind_one_that_is_held(shop: Shop, tmp_path: Path) -> None:
    await bring(shop, "sku,name,price\n" + "".join(f"i{n},N,1.00\n" for n in range(50)))
    inbox = Inbox(tmp_path / "in", PRICES)
    inbox.put("1.csv", "sku,price\n" + "".join(f"i{n},1.10\n" for n in range(50)), mtime_s=1)
    inbox.put("2.csv", "sku,price\ni0,1.05\n", mtime_s=2)
    await look(shop, inbox, 3)
    assert (inbox.names(), inbox.names("work")) == (["2.csv"], ["1.ID.csv"])
    (account,) = shop.store.read(lambda db: imports.recent(db, 1))
    await desk_of(shop).discard(account.import_id, "Ann", "uid 0")
    await look(shop, inbox, 2)
    assert (inbox.names("rejected"), inbox.names("done")) == (["1.ID.csv", "1.ID.csv.report.csv"], ["2.ID.csv", "2.ID.csv.report.csv"])


async def test_old_files_are_dropped_after_their_days(shop: Shop, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "in", STOCK)
    inbox.put("stock.csv", "sku,change\nmilk,2\n")
    await look(shop, inbox)
    shop.clock.pass_ms(89 * DAY_MS)
    await look(shop, inbox, 1)
    assert inbox.names("done") != []
    shop.clock.pass_ms(2 * DAY_MS)
    await look(shop, inbox, 1)
    assert inbox.names("done") == []


async def test_a_link_is_not_followed_and_a_file_that_kills_its_reader_is_put_away(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path / "in", STOCK)
    (tmp_path / "secret").write_text("sku,change\nmilk,9\n")
    (inbox.folder / "link.csv").symlink_to(tmp_path / "secret")
    inbox.put("deadly.csv", "sku,change\nmilk,9\n")
    watch = inbox.watch(shop)

    async def dies(*args: object, **more: object) -> None:
        raise ReaderFailed("planted")

    monkeypatch.setattr(watch._desk, "bring", dies)
    for _ in range(5):
        await watch.look(NOON_MS)
    assert inbox.names("rejected") == ["deadly.ID.csv", "deadly.ID.csv.report.csv"]
    assert (inbox.folder / "link.csv").is_symlink()
    assert shop.store.view.stock[MILK] == 5


# -- crashes ---------------------------------------------------------------------------------------------------------------

FILES = (
    ("1.csv", "sku,change\nmilk,10\nbread,1\n"),
    ("2.csv", "sku,change\nmilk,-3\nbread,1\n"),
    ("3.csv", "sku,change\nmilk,10\nbread,1\n"),  # the first one's content once more: it is another delivery
    ("4.csv", "sku,change\ncaviar,1\n"),
)


async def all_files(shop: Shop, inbox: Inbox, steps: Steps | None = None) -> None:
    watch = inbox.watch(shop, steps)
    await watch._desk.resume([inbox.watched.feed.name])
    for _ in range(2):
        await watch.look(NOON_MS)


def everything(shop: Shop, inbox: Inbox) -> object:
    """What must not depend on where a crash came."""
    filed = (("done", "1"), ("done", "2"), ("done", "3"), ("rejected", "4"))
    reports = [[line for line in inbox.report(place, name) if not line.startswith("0,")] for place, name in filed]
    ledger = shop.rows("SELECT item_id, sum(delta), count(*) FROM ledger GROUP BY item_id")
    told = shop.rows("SELECT what, count(*) FROM audit WHERE what IN ('file.imported', 'stock.adjusted', 'import.rejected') GROUP BY what")
    events = shop.value("SELECT count(*) FROM outbox WHERE kind = 'stock'")
    states = shop.rows("SELECT name, state, filed FROM import_file WHERE feed = 'stock' ORDER BY name")
    places = {below: inbox.names(below) for below in ("", "work", "done", "rejected")}
    return reports, ledger, told, events, states, places


async def scene(folder: Path, complete: Complete) -> tuple[Shop, Inbox]:
    await asyncio.to_thread(folder.mkdir)
    shop = Shop(folder, context_=context(prices_from_hq=False))
    shop.open()
    await bring(shop, CATALOGUE)
    inbox = Inbox(folder / "in", STOCK, complete)
    for place, (name, text) in enumerate(FILES):
        inbox.put(name, text, mtime_s=place)
    return shop, inbox


@pytest.mark.parametrize("complete", list(Complete))
async def test_a_crash_at_any_step_brings_every_file_exactly_once(
    complete: Complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each write, rename and transaction, of all files: the process ends, and is started again."""
    monkeypatch.setattr(import_apply, "PIECE_ROWS", 1)
    shop, inbox = await scene(tmp_path / "whole", complete)
    steps = Steps()
    crash_in_store(shop, steps)
    await all_files(shop, inbox, steps)
    wanted = everything(shop, inbox)
    assert (shop.store.view.stock[MILK], shop.store.view.stock[BREAD]) == (22, 10)
    shop.close()
    assert steps.count > 80
    for fatal in range(steps.count):
        shop, inbox = await scene(tmp_path / str(fatal), complete)
        crashing = Steps(fatal)
        crash_in_store(shop, crashing)
        with pytest.raises(Crash):
            await all_files(shop, inbox, crashing)
        shop.reopen()
        await all_files(shop, inbox)
        assert everything(shop, inbox) == wanted, fatal
        shop.close()


async def test_a_claim_is_durable_before_anything_of_the_file_is_used(shop: Shop, tmp_path: Path) -> None:
    order: list[str] = []

    class Watched(Disk):
        def rename(self, old: Path, new: Path) -> None:
            super().rename(old, new)
            order.append(f"rename to {new.parent.name}")

        def sync(self, path: Path) -> None:
            super().sync(path)
            order.append(f"sync {path.name}" if path.is_dir() else "sync report")

    inbox = Inbox(tmp_path / "in", STOCK)
    inbox.put("1.csv", "sku,change\nmilk,1\n")
    watch = inbox.watch(shop)
    watch._disk = Watched()
    run = shop.store.run

    async def noted(transaction: object) -> object:
        order.append("store")
        return await run(transaction)  # type: ignore[arg-type]

    shop.store.run = noted  # type: ignore[method-assign, assignment]
    await watch.look(NOON_MS)
    await watch.look(NOON_MS)
    first = order.index("store")
    assert order[:first] == ["rename to work", "sync work", "sync in"]
    rest = [each for each in order[first:] if each != "store"]
    assert rest == ["sync report", "rename to done", "sync done", "rename to done", "sync done", "sync work"]
    assert order[-1] == "store"
