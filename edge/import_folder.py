"""Watched folders: files are claimed, brought into the store, and put away with their report. What it does is safe to end anywhere.

    FOLDER/NAME            lies there whole (edge.import_watch)
    FOLDER/work/NAME'      claimed by a rename: nobody else touches it from here on; ' holds the import's id, which is what the store
                           knows it by, so that a file is never brought twice and a newer file of the same name is another one
    FOLDER/done/NAME'      in force (or no news), beside it NAME'.report.csv
    FOLDER/rejected/NAME'  refused, discarded or superseded, beside it the report

With markers the marker is claimed first: a marker without its file would stand for a file that is still being written.
"""

from __future__ import annotations

import asyncio
import logging
import os
import stat
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final

from drivers.base import Clock
from edge import import_report
from edge.config_import import Watched
from edge.import_desk import Brought, ImportDesk
from edge.import_feed import Complete, FeedKind
from edge.import_reader import ReaderFailed
from edge.import_watch import MARKER, REPORT, Seen, claimed_name, id_ms, parse_claimed, ready
from edge.store import import_keep, imports
from edge.store.db import Refused
from edge.store.imports import Import, ImportState
from edge.store.store import Store

log = logging.getLogger("import")

FILES_MAX: Final = 10_000  # names looked at in one folder; more are left for the next look
REPORT_ROWS: Final = 1_000  # read from the store at once: the event loop waits some milliseconds
TRIES_MAX: Final = 3  # a file that the reading process cannot get through is put away after so many
DAY_MS: Final = 86_400_000
CLAIM: Final = ".claim"  # a claimed marker, until its file is claimed too

WORK, DONE, REJECTED = "work", "done", "rejected"


class Unreadable(Exception):
    """What was claimed cannot be opened, or is no file."""


class Disk:
    """What is done to the folder; each call is one step that may be the last one before a crash."""

    def make(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)

    def rename(self, old: Path, new: Path) -> None:
        old.rename(new)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def append(self, path: Path, text: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)

    def sync(self, path: Path) -> None:
        """Make a file's content, or a folder's names, durable."""
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class FolderWatch:
    """One folder. `look` is one round: finish what is claimed, then claim and bring what is whole."""

    def __init__(self, watched: Watched, desk: ImportDesk, store: Store, disk: Disk | None = None) -> None:
        self.watched = watched
        self._desk = desk
        self._store = store
        self._disk = disk or Disk()
        self._before: dict[str, Seen] = {}
        self._failed: dict[str, int] = {}
        self._work, self._done, self._rejected = (watched.folder / name for name in (WORK, DONE, REJECTED))

    async def look(self, wall_ms: int) -> None:
        """One round. Raises OSError for a folder that cannot be used."""
        await asyncio.to_thread(self._prepare)
        for name in await asyncio.to_thread(self._claimed):
            if not await self._go_on(name):
                return  # no file goes before an older one
        await self._forget_filed()
        seen = await asyncio.to_thread(self._seen)
        names = ready(seen, self._before, self.watched.pattern, self.watched.complete)
        self._before = {each.name: each for each in seen}
        for name in names:
            if self._desk.waits(self.watched.feed):
                break
            import_id = imports.new_import_id(self._store.stamp())
            claimed = await asyncio.to_thread(self._claim, name, import_id)
            if not await self._go_on(claimed):
                return
        await asyncio.to_thread(self._drop_old, wall_ms)

    # -- the folder ----------------------------------------------------------------------------------------------------

    def _prepare(self) -> None:
        for folder in (self._work, self._done, self._rejected):
            if not folder.is_dir():
                self._disk.make(folder)

    def _seen(self) -> list[Seen]:
        found: list[Seen] = []
        with os.scandir(self.watched.folder) as entries:
            for entry in entries:
                if entry.is_file(follow_symlinks=False):
                    facts = entry.stat(follow_symlinks=False)
                    found.append(Seen(entry.name, facts.st_ino, facts.st_size, facts.st_mtime_ns))
                if len(found) >= FILES_MAX:
                    break
        return found

    def _claim(self, name: str, import_id: str) -> str:
        """Take a file by renaming it: durable before anything of it is used."""
        claimed = claimed_name(name, import_id)
        if self.watched.complete is Complete.MARKER:
            self._disk.rename(self.watched.folder / (name + MARKER), self._work / (claimed + CLAIM))
            self._disk.sync(self._work)
        self._disk.rename(self.watched.folder / name, self._work / claimed)
        self._disk.sync(self._work)
        self._disk.sync(self.watched.folder)
        if self.watched.complete is Complete.MARKER:
            self._disk.unlink(self._work / (claimed + CLAIM))
        return claimed

    def _claimed(self) -> list[str]:
        """What is in work, oldest first, after claims that a crash cut short are completed and half written reports dropped."""
        names = _names(self._work)
        for name in names:
            if name.endswith(CLAIM):
                self._complete_claim(name.removesuffix(CLAIM))
            elif name.endswith(REPORT):
                self._disk.unlink(self._work / name)
        mine = (name for name in _names(self._work) if not name.endswith((CLAIM, REPORT)))
        found = [(parsed[1], name) for name in mine if (parsed := parse_claimed(name)) is not None]
        return [name for _, name in sorted(found)]

    def _complete_claim(self, claimed: str) -> None:
        parsed = parse_claimed(claimed)
        source = self.watched.folder / parsed[0] if parsed is not None else None
        if source is not None and not (self._work / claimed).exists() and source.is_file():
            self._disk.rename(source, self._work / claimed)
            self._disk.sync(self._work)
            self._disk.sync(self.watched.folder)
        self._disk.unlink(self._work / (claimed + CLAIM))

    def _drop_old(self, wall_ms: int) -> None:
        oldest_ms = wall_ms - self.watched.keep_days * DAY_MS
        for folder in (self._done, self._rejected):
            for name in _names(folder)[:FILES_MAX]:
                parsed = parse_claimed(name)
                if parsed is not None and id_ms(parsed[1]) < oldest_ms:
                    self._disk.unlink(folder / name)

    # -- one file ------------------------------------------------------------------------------------------------------

    async def _go_on(self, claimed: str) -> bool:
        """Bring a claimed file as far as it can come. False where it has to be tried again."""
        parsed = parse_claimed(claimed)
        assert parsed is not None
        name, import_id = parsed
        account = self._desk.find(import_id)
        if account is None or account.state is ImportState.STAGING:
            brought = await self._bring(claimed, name, import_id)
            if brought is None:
                return False
        else:
            brought = Brought(await self._desk.go_on(import_id))
        if brought.same or brought.account.ended_wall_ms is not None:
            await self._put_away(claimed, brought)
            await self._desk.note_filed([import_id])
        return True

    async def _bring(self, claimed: str, name: str, import_id: str) -> Brought | None:
        path, actor = self._work / claimed, f"folder {self.watched.folder}"
        try:
            with await asyncio.to_thread(_open, path) as file:
                return await self._desk.bring(file, self.watched.feed, name, actor, import_id=import_id)
        except Refused as error:  # an earlier file waits for a person
            log.info("feed=%s file=%s waits: %s", self.watched.feed.name, name, error)
        except (ReaderFailed, Unreadable) as error:
            self._failed[claimed] = self._failed.get(claimed, 0) + 1
            log.warning("feed=%s file=%s could not be read: %s", self.watched.feed.name, name, error)
            if self._failed[claimed] >= TRIES_MAX:
                await asyncio.to_thread(self._give_up, claimed, str(error))
                del self._failed[claimed]
        return None

    def _give_up(self, claimed: str, why: str) -> None:
        report = self._work / (claimed + REPORT)
        self._disk.append(report, f"{','.join(import_report.HEADING)}\n0,unreadable,,,,{why}\n")
        self._move(report, claimed, self._rejected)

    async def _put_away(self, claimed: str, brought: Brought) -> None:
        """The report first, then the file: a file is never away without its report."""
        report = self._work / (claimed + REPORT)
        for text in self._report(brought):
            await asyncio.to_thread(self._disk.append, report, text)
        good = brought.same or brought.account.state is ImportState.DONE
        await asyncio.to_thread(self._move, report, claimed, self._done if good else self._rejected)

    def _move(self, report: Path, claimed: str, folder: Path) -> None:
        self._disk.sync(report)
        self._disk.rename(report, folder / report.name)
        self._disk.sync(folder)
        self._disk.rename(self._work / claimed, folder / claimed)
        self._disk.sync(folder)
        self._disk.sync(self._work)

    def _report(self, brought: Brought) -> Iterable[str]:
        yield import_report.heading(brought.account, same=brought.same)
        if not brought.same:
            yield from report_texts(self._store, brought.account)

    async def _forget_filed(self) -> None:
        """Imports whose files are no longer in work: a crash came between the last rename and the note of it."""
        left = {parsed[1] for name in await asyncio.to_thread(_names, self._work) if (parsed := parse_claimed(name))}
        gone = [id_ for id_, feed in self._store.read(import_keep.unfiled) if feed == self.watched.feed.name and id_ not in left]
        if gone:
            await self._desk.note_filed(gone)


class Folders:
    """All watched folders, looked at in turn."""

    def __init__(self, watched: Sequence[Watched], desk: ImportDesk, store: Store, clock: Clock, poll_ms: int) -> None:
        order = list(FeedKind)
        self._watches = [FolderWatch(each, desk, store) for each in sorted(watched, key=lambda each: order.index(each.feed.kind))]
        self._clock = clock
        self._poll_ms = poll_ms
        self._troubled: set[Path] = set()

    async def run(self) -> None:
        """Until cancelled. A folder that cannot be used is told once, and looked at again."""
        while True:
            for watch in self._watches:
                folder = watch.watched.folder
                try:
                    await watch.look(self._clock.wall_ms())
                    if folder in self._troubled:
                        log.info("folder=%s can be used again", folder)
                        self._troubled.discard(folder)
                except OSError as error:
                    log.log(logging.DEBUG if folder in self._troubled else logging.WARNING, "folder=%s: %s", folder, error)
                    self._troubled.add(folder)
            await self._clock.sleep_ms(self._poll_ms)


def report_texts(store: Store, account: Import) -> Iterable[str]:
    """The lines of a report, some at a time: mistakes, else every row and what a full file did not name."""
    after, known = 0, 0
    while found := store.read(partial(import_keep.problems_of, import_id=account.import_id, after=after, limit=REPORT_ROWS)):
        yield import_report.problems(found)
        after += len(found)
    yield import_report.unnamed(account.counts.problems - after)
    line = 0
    while rows := store.read(partial(import_keep.row_lines, import_id=account.import_id, after_line=line, limit=REPORT_ROWS)):
        if not account.counts.problems:
            yield import_report.rows(rows)
        line, known = rows[-1][0], known + len(rows)
    key = ""
    while gone := store.read(partial(import_keep.gone_lines, import_id=account.import_id, after_key=key, limit=REPORT_ROWS)):
        yield import_report.gone(gone)
        key = gone[-1][0]


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _open(path: Path) -> BinaryIO:
    """What is claimed is a regular file; what somebody put in its place is neither followed nor waited for. Raises Unreadable."""
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb")
    except OSError as error:
        raise Unreadable(error.strerror) from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise Unreadable("not a file")
    return file
