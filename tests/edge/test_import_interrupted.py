"""Imports that something came between: a reader that died, a caller that went away, people who changed what a file is about."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import BinaryIO

import pytest

from edge import import_folder
from edge.control_import import ImportControl
from edge.import_feed import Feed, FeedKind, Mode
from edge.import_frames import Format, Frame, Task
from edge.import_reader import ReaderFailed, read_in_process
from edge.import_rows import StoreTerms
from edge.import_worker import FileChanged, frames
from edge.store import import_apply, imports, shelf
from edge.store.db import Refused
from edge.store.imports import ImportState
from tests.edge.import_bench import TERMS, Inbox, bring, desk_of, lines
from tests.edge.shop import BREAD, L1, MILK, NOON_MS, Shop, context

CATALOGUE = "sku,name,price,stock\nmilk,Milk,1.00,5\nbread,Bread,2.00,7\n"
PRICES = Feed("prices", FeedKind.PRICES)
STOCK = Feed("stock", FeedKind.STOCK)


@pytest.fixture
async def shop(tmp_path: Path) -> AsyncIterator[Shop]:
    """Milk 1.00 and bread 2.00, from a file."""
    found = Shop(tmp_path, context_=context(prices_from_hq=False))
    found.open()
    await bring(found, CATALOGUE)
    yield found
    found.close()


async def dies_once(file: BinaryIO, feed: Feed, terms: StoreTerms, format_: Format) -> AsyncGenerator[Frame, None]:
    """Reads, and is killed before the end."""
    for frame in [*frames(file, Task(feed, terms, format_, os.getpid()))][:-1]:
        yield frame
    raise ReaderFailed("planted")


# -- readers


async def test_a_file_whose_reader_died_halfway_is_listed_and_read_again(shop: Shop, tmp_path: Path) -> None:
    inbox = Inbox(tmp_path / "in", STOCK)
    inbox.put("1.csv", "sku,change\nmilk,2\n")
    watch = inbox.watch(shop)
    reader, watch._desk._reader = watch._desk._reader, dies_once
    for _ in range(2):
        await watch.look(NOON_MS)
    assert inbox.names("work") == ["1.ID.csv"]
    assert [each.feed for each in shop.store.read(lambda db: imports.recent(db, 10))] == ["plain items delta"]
    watch._desk._reader = reader
    await watch.look(NOON_MS)
    assert (shop.store.view.stock[MILK], inbox.names("done")) == (7, ["1.ID.csv", "1.ID.csv.report.csv"])


async def test_a_file_that_nobody_may_read_is_put_away_and_the_next_one_goes_on(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path / "in", STOCK)
    inbox.put("1.csv", "sku,change\nmilk,9\n", mtime_s=1)
    inbox.put("2.csv", "sku,change\nmilk,1\n", mtime_s=2)
    opened = os.open

    def refused(path: object, *args: int, **more: int) -> int:
        if "/work/1." in str(path) and not str(path).endswith(".report.csv"):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refused)
    watch = inbox.watch(shop)
    for _ in range(6):
        await watch.look(NOON_MS)
    assert (inbox.names("rejected"), inbox.names("done")) == (["1.ID.csv", "1.ID.csv.report.csv"], ["2.ID.csv", "2.ID.csv.report.csv"])
    assert "Permission denied" in inbox.report("rejected", "1")[1]
    assert shop.store.view.stock[MILK] == 6


@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
async def test_what_took_a_files_place_before_it_was_claimed_is_put_away(
    kind: str, shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inbox = Inbox(tmp_path / "in", STOCK)
    inbox.put("1.csv", "sku,change\nmilk,9\n", mtime_s=1)
    watch = inbox.watch(shop)
    await watch.look(NOON_MS)
    claim = watch._claim

    def swapped(name: str, import_id: str) -> str:
        path = inbox.folder / name
        path.unlink()
        match kind:
            case "link":
                path.symlink_to(tmp_path / "secret")
            case "pipe":
                os.mkfifo(path)
            case _:
                path.mkdir()
        return claim(name, import_id)

    monkeypatch.setattr(watch, "_claim", swapped)
    (tmp_path / "secret").write_text("sku,change\nmilk,100\n")
    async with asyncio.timeout(30):
        for _ in range(5):
            await watch.look(NOON_MS)
    assert (list((inbox.folder / "work").iterdir()), shop.store.view.stock[MILK]) == ([], 5)
    assert len(list((inbox.folder / "rejected").iterdir())) == 2


def test_a_file_that_is_written_on_while_it_is_read_is_not_believed(tmp_path: Path) -> None:
    """What was hashed at first is not what was read then: the rows would be of a file that never was."""
    path = tmp_path / "f.csv"
    path.write_text("sku,change\n" + "milk,1\n" * 2)
    with path.open("rb") as file:
        found = frames(file, Task(STOCK, TERMS, Format.CSV, os.getpid()))
        next(found)
        path.write_text("sku,change\nbread,1\n")
        with pytest.raises(FileChanged):
            list(found)


# -- callers that go away


async def test_what_a_caller_left_half_in_force_is_finished_before_anything_newer(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a restart would put the rest of the older file over the newer one."""
    monkeypatch.setattr(import_apply, "PIECE_ROWS", 1)
    desk, run, pieces = desk_of(shop, PRICES), import_apply.apply_piece, 0

    def gone_after_one(*args: object, **more: object) -> object:
        nonlocal pieces
        pieces += 1
        if pieces == 1:
            caller.cancel()
        return run(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(import_apply, "apply_piece", gone_after_one)
    caller = asyncio.create_task(desk.bring(io.BytesIO(b"sku,price\nmilk,1.10\nbread,2.10\n"), PRICES, "old.csv", "test"))
    with pytest.raises(asyncio.CancelledError):
        await caller
    (left,) = shop.store.read(lambda db: imports.in_state(db, ImportState.APPLYING))
    await bring(shop, "sku,price\nbread,2.30\n", feed=PRICES, desk=desk)
    assert (shop.charge(MILK), shop.charge(BREAD)) == (110, 230)
    await desk_of(shop, PRICES).resume()
    assert (shop.charge(MILK), shop.charge(BREAD)) == (110, 230)
    found = desk.find(left.import_id)
    assert found is not None
    assert found.state is ImportState.DONE


# -- people


async def test_one_person_with_two_spellings_is_one_person(shop: Shop) -> None:
    desk = desk_of(shop)
    await bring(shop, "sku,name,price\n" + "".join(f"i{n},N,1.00\n" for n in range(50)))
    held = (await bring(shop, "sku,price\n" + "".join(f"i{n},1.10\n" for n in range(50)), desk=desk)).account
    assert (held.state, held.persons_needed) == (ImportState.HELD, 2)
    for name in ("Ann Lee", " ann  LEE", "ANN lee\u00a0"):
        assert (await desk.approve(held.import_id, name, "uid 0")).persons == ("Ann Lee",)
    with pytest.raises(Refused, match="name"):
        await desk.approve(held.import_id, "  ", "uid 0")
    assert (await desk.approve(held.import_id, "Bob", "uid 0")).state is ImportState.DONE


async def test_an_empty_whole_file_waits_for_a_person_whatever_share_may_change(shop: Shop) -> None:
    """An export that found nothing would make a whole store sold out."""
    feed = Feed("stock", FeedKind.STOCK, Mode.FULL, hold_percent=100.0)
    await bring(shop, "sku,name,price,stock\n" + "".join(f"i{n},N,1.00,3\n" for n in range(9)))
    held = (await bring(shop, "sku,quantity\n", feed=feed)).account
    assert (held.state, held.reason) == (ImportState.HELD, "is empty: removes all of 11 stock")
    assert (await bring(shop, "sku,quantity\nmilk,5\n", feed=feed)).account.state is ImportState.DONE


async def test_a_label_that_cannot_be_unbound_does_not_stop_the_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await bring(shop, f"label,items\n{L1},milk\nL9,bread\n", FeedKind.LABELS)
    bind = shelf.bind

    def refuses(db: object, stamp: object, label: str, *args: object, **more: object) -> object:
        if label == "L9":
            raise Refused("planted")
        return bind(db, stamp, label, *args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(shelf, "bind", refuses)
    done = await bring(shop, f"label,items\n{L1},milk\n", FeedKind.LABELS, Mode.FULL)
    assert (done.account.state, lines(shop, done)[-1]) == (ImportState.DONE, ("L9", "failed", "planted"))


@pytest.mark.parametrize("kind", [FeedKind.PRICES, FeedKind.ITEMS])
async def test_a_price_that_a_whole_file_takes_back_waits_for_nobody_any_more(shop: Shop, kind: FeedKind) -> None:
    await bring(shop, "sku,price\nmilk,99.00\n")
    assert shop.rows("SELECT state FROM price_hold") == [("held",)]
    heading, row = ("sku,price", "bread,2.00") if kind is FeedKind.PRICES else ("sku,name,price", "bread,Bread,2.00")
    assert (await bring(shop, f"{heading}\n{row}\n", kind, Mode.FULL)).account.state is ImportState.DONE
    assert shop.rows("SELECT state FROM price_hold") == [("superseded",)]


async def test_rows_that_would_take_all_memory_end_their_reader_and_nothing_else(shop: Shop, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(b"[" + b"{}," * 20_000_000 + b"{}]")
    desk = desk_of(shop)
    desk._reader = read_in_process
    with path.open("rb") as file, pytest.raises(ReaderFailed, match="ended with 5"):
        await desk.bring(file, desk.feed(None), "x", "test", format_=Format.JSON)


async def test_a_long_report_lets_others_have_their_turns(shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_folder, "REPORT_ROWS", 1)
    desk = desk_of(shop)
    done = await bring(shop, "sku,name,price\n" + "".join(f"i{n},N,1.00\n" for n in range(30)), desk=desk)
    control, turns = ImportControl(shop.store, desk, tmp_path), 0
    report = asyncio.ensure_future(control.methods["imports.report"]("test", {"id": done.account.import_id}))
    while not report.done():
        await asyncio.sleep(0)
        turns += 1
    answer = await report
    assert isinstance(answer, dict)
    assert (answer["text"].count(",new,"), turns >= 30) == (30, True)
