"""Brings files into the store, one at a time: read in a process of its own, staged, judged, put in force piece by piece.

However a file comes (by command, from a watched folder, over REST) it goes this way, and this way is also how it goes on after a crash.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO, Final, TypeVar

from edge.import_feed import Feed, FeedKind, Mode, plain_feed
from edge.import_frames import End, Format, Opened, Rows
from edge.import_reader import Reader, read_in_process
from edge.import_rows import StoreTerms
from edge.store import import_apply, import_keep, imports
from edge.store.db import Refused, Transaction
from edge.store.imports import Counts, Import, ImportState, Settings
from edge.store.rows import Db
from edge.store.store import Store
from edge.view import Delta

log = logging.getLogger("import")

T = TypeVar("T")

STAGE_ROWS: Final = 50  # 0.1 ms each: some 5 ms, which a sale may have to wait


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a file. `same`: its feed's last import had the same content; nothing was done."""

    account: Import
    same: bool = False


class ImportDesk:
    """One per store; used from the event loop's thread only."""

    def __init__(
        self, store: Store, feeds: Iterable[Feed], terms: StoreTerms, *, prices_from_file: bool, reader: Reader = read_in_process
    ) -> None:
        self.feeds: Mapping[str, Feed] = {feed.name: feed for feed in feeds}
        self.terms = terms
        self._store = store
        self._prices_from_file = prices_from_file
        self._reader = reader
        self._one = asyncio.Lock()

    def feed(self, name: str | None, kind: str | None = None, mode: str | None = None) -> Feed:
        """A configured feed by its name, or the plain one of a kind. Raises Refused."""
        if name is None:
            try:
                return plain_feed(FeedKind(kind or FeedKind.ITEMS), Mode(mode or Mode.DELTA))
            except ValueError as error:
                raise Refused(str(error)) from None
        found = self.feeds.get(name)
        if found is None:
            raise Refused(f"no feed {name} in the configuration; there are: {', '.join(self.feeds) or 'none'}")
        if kind is not None and kind != found.kind:
            raise Refused(f"feed {name} brings {found.kind}, not {kind}")
        return found if mode is None else replace_mode(found, mode)

    def waits(self, feed: Feed) -> bool:
        """Whether nothing of a feed may be brought because a delta waits for a person."""
        held = self._store.read(lambda db: imports.in_state(db, ImportState.HELD, feed.name))
        return any(Mode.DELTA in (feed.mode, each.settings.feed.mode) for each in held)

    def find(self, import_id: str) -> Import | None:
        return self._store.read(lambda db: imports.find(db, import_id))

    async def resume(self, watched: Iterable[str] = ()) -> None:
        """After a start: forget what was half staged, go on with what was accepted. `watched`: feeds that have folders."""
        names = set(watched)
        async with self._one:
            await self._store.run(_giving(import_keep.abandon))
            left = [import_id for import_id, feed in self._store.read(import_keep.unfiled) if feed not in names]
            await self._store.run(_giving(partial(import_keep.note_filed, import_ids=left)))
            await self._forget()
            await self._go_on_with_all()

    async def bring(
        self,
        file: BinaryIO,
        feed: Feed,
        name: str,
        actor: str,
        *,
        dry_run: bool = False,
        format_: Format = Format.CSV,
        import_id: str | None = None,
    ) -> Brought:
        """Read an open file that can be rewound, and put it in force if nothing speaks against it.

        `import_id`: given by a watched folder, whose file waits for its report. Raises Refused where such a file may not come now or
        at all, ReaderFailed where it could not be read to its end for a reason that is not in it.
        """
        if not self._prices_from_file and feed.kind in (FeedKind.ITEMS, FeedKind.PRICES):
            raise Refused('the configuration says price_source = "hq": items and prices come from HQ alone')
        async with self._one:
            await self._go_on_with_all()
            staged = False
            try:
                brought = await self._stage(file, feed, name, actor, dry_run, format_, import_id)
                staged = True
            finally:
                if not staged:
                    await self._store.run(_giving(import_keep.abandon))
                    await self._forget()  # it may come again under the same id
            if brought.account.state is ImportState.APPLYING and not brought.same:
                await self._apply(brought.account.import_id)
                brought = replace(brought, account=self._account(brought.account.import_id))
            self._tell(brought)
            return brought

    async def go_on(self, import_id: str) -> Import:
        """An import that is known, put in force as far as it was accepted."""
        async with self._one:
            if self._account(import_id).state is ImportState.APPLYING:
                await self._apply(import_id)
            return self._account(import_id)

    async def approve(self, import_id: str, person: str, actor: str) -> Import:
        """A person lets a held file through. Raises Refused."""
        async with self._one:
            await self._go_on_with_all()
            stamp = self._store.stamp()
            account = await self._store.run(_giving(lambda db: imports.approve(db, stamp, import_id, person, actor)))
            if account.state is ImportState.APPLYING:
                await self._apply(import_id)
            return self._account(import_id)

    async def discard(self, import_id: str, person: str, actor: str) -> Import:
        """A person drops a held file. Raises Refused."""
        async with self._one:
            stamp = self._store.stamp()
            return await self._store.run(_giving(lambda db: imports.discard(db, stamp, import_id, person, actor)))

    async def note_filed(self, import_ids: Iterable[str]) -> None:
        await self._store.run(_giving(partial(import_keep.note_filed, import_ids=tuple(import_ids))))

    # -- steps ---------------------------------------------------------------------------------------------------------

    async def _stage(
        self, file: BinaryIO, feed: Feed, name: str, actor: str, dry_run: bool, format_: Format, given_id: str | None
    ) -> Brought:
        import_id, problems = given_id or imports.new_import_id(self._store.stamp()), 0
        async with aclosing(self._reader(file, feed, self.terms, format_)) as frames:
            async for frame in frames:
                match frame:
                    case Opened(sha256=sha256):
                        begun = await self._begin(feed, name, sha256, actor, import_id, dry_run, watched=given_id is not None)
                        if begun.same is not None:
                            return Brought(begun.same, same=True)
                        await self._forget()
                    case Rows(rows=rows, problems=found):
                        for start in range(0, max(len(rows), 1), STAGE_ROWS):
                            piece = rows[start : start + STAGE_ROWS]
                            context = self._store.context
                            stage = partial(
                                imports.stage, import_id=import_id, rows=piece, problems=found if not start else (), context=context
                            )
                            await self._store.run(_giving(stage))
                    case End():
                        problems = frame.problems
        if feed.mode is Mode.FULL and not problems:
            await self._look_for_missing(import_id)
        stamp, context = self._store.stamp(), self._store.context
        decide = partial(imports.decide, stamp=stamp, import_id=import_id, problems=problems, context=context, dry_run=dry_run)
        return Brought(await self._store.run(_giving(decide)))

    async def _begin(
        self, feed: Feed, name: str, sha256: str, actor: str, import_id: str, dry_run: bool, *, watched: bool
    ) -> imports.Begun:
        stamp, settings = self._store.stamp(), Settings(feed, self.terms)
        begin = partial(imports.begin, import_id=import_id, dry_run=dry_run, watched=watched)
        return await self._store.run(_giving(lambda db: begin(db, stamp, settings, name, sha256, actor)))

    async def _look_for_missing(self, import_id: str) -> None:
        """Count what there is and what of it the file does not name, a page a transaction."""
        after: str | None = ""
        while after is not None:
            look = partial(_look_for_missing, import_id=import_id, after=after)
            after = await self._store.run(_giving(look))

    async def _go_on_with_all(self) -> None:
        """What a restart, or a caller that went away, left half in force: its rest must not come over anything newer."""
        for account in self._store.read(lambda db: imports.in_state(db, ImportState.APPLYING)):
            log.info("import=%s feed=%s goes on after line %d", account.import_id, account.feed, account.through_line)
            await self._apply(account.import_id)

    async def _apply(self, import_id: str) -> None:
        done = False
        while not done:
            stamp, context = self._store.stamp(), self._store.context
            done = await self._store.run(partial(import_apply.apply_piece, stamp=stamp, import_id=import_id, context=context))

    async def _forget(self) -> None:
        while await self._store.run(_giving(import_keep.forget)):
            pass

    def _account(self, import_id: str) -> Import:
        found = self.find(import_id)
        assert found is not None
        return found

    def _tell(self, brought: Brought) -> None:
        account, counts = brought.account, brought.account.counts
        state = "no news" if brought.same else str(account.state)
        log.info(
            "import=%s feed=%s file=%s %s rows=%d new=%d changed=%d removed=%d held=%d mistakes=%d %s",
            account.import_id,
            account.feed,
            account.name,
            state,
            counts.rows,
            counts.new,
            counts.changed,
            counts.removed,
            counts.held,
            counts.problems,
            account.reason,
        )


def replace_mode(feed: Feed, mode: str) -> Feed:
    """The feed as if its files were of another mode. Raises Refused."""
    try:
        return feed.with_mode(Mode(mode))
    except ValueError as error:
        raise Refused(str(error)) from None


def outcome_counts(account: Import) -> dict[str, int]:
    """What people are told of an import's counts."""
    counts: Counts = account.counts
    return {name: getattr(counts, name) for name in ("rows", "new", "changed", "unchanged", "removed", "held", "failed", "problems")}


def _look_for_missing(db: Db, *, import_id: str, after: str) -> str | None:
    account = imports.find(db, import_id)
    assert account is not None
    keys = import_apply.existing_keys(db, account, after)
    gone, last_key = import_apply.missing(db, account, after)
    imports.note_existing(db, import_id, len(keys), len(gone))
    return last_key


def _giving(change: Callable[[Db], T]) -> Transaction[T]:
    """A change of bookkeeping as a transaction: the view does not hold it."""
    return lambda db: (change(db), Delta())
