"""A copy takes the place of the store's file. The next start knows it for one, and begins anew (`edge.store.store.begin_run`): under a new
incarnation, with every display unknown, and asking HQ for what came since.

Must be alone on the state directory. Nothing is overwritten: the file that was there is kept beside it.
"""

from __future__ import annotations

import os
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import apsw

from drivers.base import Clock
from edge.store import journal, witness
from edge.store.db import SCHEMA_VERSION, StoreError, check, connect

_SIDES = ("-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Restored:
    """What `restore` did. `since_ms`: the copy knows nothing after it. `kept`: where the file that was there is now."""

    since_ms: int
    labels: int
    events: int  # un-acknowledged ones of the copy: they go to HQ again
    kept: Path | None


def restore(copy: Path, target: Path, clock: Clock) -> Restored:
    """Put `copy` in the place of `target`. Raises StoreError for a copy that is damaged or of a newer program: nothing changed.

    The copy itself is only read: it may be the only one, on a medium that takes no writing.
    """
    if not copy.is_file():
        raise StoreError(f"{copy}: not a store's file")
    target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    fresh = target.with_suffix(".restoring")
    _remove(fresh)
    try:
        _copy(copy, fresh)
        _check(fresh)
        done = _one_file(fresh)
    except (apsw.Error, StoreError) as error:
        _remove(fresh)
        raise StoreError(f"{copy}: {error}") from error
    kept = _put_aside(target, clock.wall_ms())
    witness.distrust(target)
    fresh.replace(target)
    _sync_folder(target.parent)
    return Restored(*done, kept)


def _copy(copy: Path, fresh: Path) -> None:
    """With what its log still holds; where there is none, nothing is written beside it, not even a lock."""
    how = "mode=ro" if copy.with_name(copy.name + _SIDES[0]).exists() else "immutable=1"
    flags = apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
    with (
        closing(apsw.Connection(f"{copy.absolute().as_uri()}?{how}", flags=flags)) as source,
        closing(apsw.Connection(str(fresh))) as into,
        into.backup("main", source, "main") as backup,
    ):
        backup.step()


def _check(fresh: Path) -> None:
    version = check(fresh)
    if version == 0:
        raise StoreError("not a store's file")
    if version > SCHEMA_VERSION:
        raise StoreError(f"written by a newer shelfd (schema {version}, this one knows {SCHEMA_VERSION})")


def _one_file(path: Path) -> tuple[int, int, int]:
    """Migrated, to be moved as one; the instant of its last audit entry, its labels, its un-acknowledged events."""
    from edge.store.schema import migrate  # sqlite-utils is needed only now

    migrate(path)
    with closing(connect(path)) as db:
        labels = db.execute("SELECT count(*) FROM label").get
        events = db.execute("SELECT count(*) FROM outbox").get
        since_ms = journal.last_noted_ms(db)
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        db.execute("PRAGMA journal_mode=DELETE")
    assert isinstance(labels, int)
    assert isinstance(events, int)
    return since_ms, labels, events


def _put_aside(target: Path, wall_ms: int) -> Path | None:
    """The file first, then its log: a file without its log would be an older one that looks whole. None: there was none."""
    if not target.exists():
        _remove_sides(target)
        return None
    name = f"{target.stem}.before-restore-{wall_ms}"
    kept = target.with_name(f"{name}{target.suffix}")
    target.replace(kept)
    for side in _SIDES:
        log = target.with_name(target.name + side)
        if log.exists():
            log.replace(kept.with_name(kept.name + side))
    return kept


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_sides(path)


def _remove_sides(path: Path) -> None:
    for side in _SIDES:
        path.with_name(path.name + side).unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
