"""Files into a shop: the real desk and folders on the real store; only the process that reads them is this one."""

from __future__ import annotations

import io
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, BinaryIO

from edge.config_import import Watched
from edge.import_desk import Brought, ImportDesk
from edge.import_feed import Complete, Feed, FeedKind, Mode, plain_feed
from edge.import_folder import Disk, FolderWatch
from edge.import_frames import Format, Frame, Task
from edge.import_rows import StoreTerms
from edge.import_worker import frames
from edge.store import import_keep
from edge.store.db import Transaction
from tests.edge.shop import Shop

TERMS = StoreTerms(2, "Europe/Berlin")


async def read_here(file: BinaryIO, feed: Feed, terms: StoreTerms, format_: Format) -> AsyncGenerator[Frame, None]:
    """As the process does it."""
    for frame in frames(file, Task(feed, terms, format_, os.getpid())):
        yield frame


def desk_of(shop: Shop, *feeds: Feed) -> ImportDesk:
    return ImportDesk(shop.store, feeds, TERMS, prices_from_file=True, reader=read_here)


async def bring(
    shop: Shop, text: str, kind: FeedKind = FeedKind.ITEMS, mode: Mode = Mode.DELTA, *, desk: ImportDesk | None = None, **more: Any
) -> Brought:
    """A file by command."""
    feed = more.pop("feed", plain_feed(kind, mode))
    return await (desk or desk_of(shop)).bring(io.BytesIO(text.encode()), feed, "f.csv", "test", **more)


def mistakes(shop: Shop, brought: Brought) -> list[str]:
    return [str(each) for each in shop.store.read(lambda db: import_keep.problems_of(db, brought.account.import_id, 0, 1000))]


def lines(shop: Shop, brought: Brought) -> list[tuple[str, str, str]]:
    """(key, outcome, detail) of each row, then of what is gone."""
    id_ = brought.account.import_id
    rows = [row[1:] for row in shop.store.read(lambda db: import_keep.row_lines(db, id_, 0, 1000))]
    return rows + shop.store.read(lambda db: import_keep.gone_lines(db, id_, "", 1000))


class Crash(BaseException):
    """The power goes: nothing of the process runs any more."""


class Steps:
    """Counts what is done to disk and store; before step `fatal` the process ends."""

    def __init__(self, fatal: int | None = None) -> None:
        self.count = 0
        self._fatal = fatal

    def next(self) -> None:
        if self.count == self._fatal:
            raise Crash
        self.count += 1


class CrashingDisk(Disk):
    def __init__(self, steps: Steps) -> None:
        self._steps = steps

    def make(self, folder: Path) -> None:
        self._steps.next()
        super().make(folder)

    def rename(self, old: Path, new: Path) -> None:
        self._steps.next()
        super().rename(old, new)

    def unlink(self, path: Path) -> None:
        self._steps.next()
        super().unlink(path)

    def append(self, path: Path, text: str) -> None:
        self._steps.next()
        super().append(path, text)

    def sync(self, path: Path) -> None:
        self._steps.next()
        super().sync(path)


def crash_in_store(shop: Shop, steps: Steps) -> None:
    """Every transaction of the shop is a step, too."""
    run = shop.store.run

    async def stepped(transaction: Transaction[Any], *, urgent: bool = False) -> Any:
        steps.next()
        return await run(transaction, urgent=urgent)

    shop.store.run = stepped  # type: ignore[method-assign]


class Inbox:
    """A watched folder, as the people who put files there see it."""

    def __init__(self, folder: Path, feed: Feed, complete: Complete = Complete.RENAME) -> None:
        self.folder = folder
        self.watched = Watched(feed, folder, "*.csv", complete, 90)
        folder.mkdir(exist_ok=True)

    def put(self, name: str, text: str, mtime_s: int = 1_000) -> None:
        part = self.folder / f".{name}.part"
        part.write_text(text)
        os.utime(part, (mtime_s, mtime_s))
        part.rename(self.folder / name)
        if self.watched.complete is Complete.MARKER:
            (self.folder / f"{name}.done").touch()

    def watch(self, shop: Shop, steps: Steps | None = None) -> FolderWatch:
        desk = desk_of(shop, self.watched.feed)
        return FolderWatch(self.watched, desk, shop.store, CrashingDisk(steps) if steps is not None else None)

    def names(self, below: str = "") -> list[str]:
        """Files, with "ID" for the import's id."""
        found = (path.name for path in (self.folder / below).iterdir() if path.is_file())
        return sorted(".".join("ID" if len(part) == 36 else part for part in name.split(".")) for name in found)

    def report(self, below: str, name: str) -> list[str]:
        (path,) = (self.folder / below).glob(f"{name}.*.report.csv")
        return path.read_text().splitlines()
