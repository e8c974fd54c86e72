"""Copies the stopped daemon's databases before a new release may migrate them.

    backup.py STATE_DIR BACKUP_DIR RELEASE

RELEASE is the release that wrote them and becomes part of the copy's name. A copy is complete, checked and on disk before
its name appears. Exits 0 when there is nothing to copy.
"""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from pathlib import Path

import apsw

COPIES_MAX = 3  # per database: the last upgrades, not a history
DATABASE_NAMES = ("*.db", "*.sqlite3")


class BackupError(Exception):
    """The copy is not there; nothing was changed."""


def back_up(database: Path, target: Path) -> None:
    """Copy through SQLite, so that the journal's content is part of it. Raises `BackupError`."""
    partial = target.with_name(target.name + ".partial")
    partial.unlink(missing_ok=True)
    try:
        source = apsw.Connection(str(database), flags=apsw.SQLITE_OPEN_READWRITE)
        copy = apsw.Connection(str(partial))
        with copy.backup("main", source, "main") as backup:
            backup.step()
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()
        verdict = copy.execute("PRAGMA quick_check").fetchall()
        copy.close()
        source.close()
    except apsw.Error as error:
        raise BackupError(f"{database}: {error}") from error
    if verdict != [("ok",)]:
        raise BackupError(f"{database}: the copy is damaged: {verdict[0][0]}")
    _sync(partial)
    partial.rename(target)
    _sync(target.parent)


def main(arguments: list[str]) -> int:
    state_dir, backup_dir, release = Path(arguments[0]), Path(arguments[1]), arguments[2]
    os.umask(0o077)  # copies are as private as the data
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for database in sorted(path for pattern in DATABASE_NAMES for path in state_dir.glob(pattern)):
        backup_dir.mkdir(mode=0o700, exist_ok=True)
        target = backup_dir / f"{database.name}.{stamp}.{release}"
        try:
            back_up(database, target)
        except (BackupError, OSError) as error:
            sys.stderr.write(f"backup: {error}\n")
            return 1
        sys.stdout.write(f"copied {database} to {target}\n")
        for old in sorted(backup_dir.glob(f"{database.name}.*Z.*"))[:-COPIES_MAX]:
            old.unlink()
    return 0


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
