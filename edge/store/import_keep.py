"""What is kept of files that came: their rows for the report, their mistakes, that they are put away; and what is forgotten of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from edge.import_text import Problem
from edge.store.rows import Db

KEPT_PER_FEED: Final = 200  # ended imports that are still listed; the audit chain knows all of them
FORGET_ROWS: Final = 2_000  # deleted in one transaction: some milliseconds


def row_lines(db: Db, import_id: str, after_line: int, limit: int) -> list[tuple[int, str, str, str]]:
    """(line, key, outcome, detail), in the order of the file."""
    found: list[tuple[int, str, str, str]] = db.execute(
        "SELECT line, key, outcome, detail FROM import_row WHERE import_id = ? AND line > ? ORDER BY line LIMIT ?",
        (import_id, after_line, limit),
    ).fetchall()
    return found


def gone_lines(db: Db, import_id: str, after_key: str, limit: int) -> list[tuple[str, str, str]]:
    """(key, outcome, detail) of what a full file did not name."""
    found: list[tuple[str, str, str]] = db.execute(
        "SELECT key, outcome, detail FROM import_gone WHERE import_id = ? AND key > ? ORDER BY key LIMIT ?", (import_id, after_key, limit)
    ).fetchall()
    return found


def problems_of(db: Db, import_id: str, after: int, limit: int) -> list[Problem]:
    """In the order of the file, from the `after`-th on."""
    found = db.execute(
        "SELECT line, column_name, found, expected FROM import_problem WHERE import_id = ? ORDER BY line, n LIMIT ? OFFSET ?",
        (import_id, limit, after),
    )
    return [Problem(*row) for row in found]


def note_filed(db: Db, import_ids: Iterable[str]) -> None:
    """The files of these lie where they belong, their reports beside them."""
    for import_id in import_ids:
        db.execute("UPDATE import_file SET filed = 1 WHERE import_id = ?", (import_id,))


def unfiled(db: Db) -> list[tuple[str, str]]:
    """(import id, feed) of those whose files may still lie in a folder's work/."""
    found: list[tuple[str, str]] = db.execute("SELECT import_id, feed FROM import_file WHERE filed = 0 ORDER BY import_id").fetchall()
    return found


def abandon(db: Db) -> None:
    """What was being staged is not: its file is read again, or never came whole."""
    db.execute("UPDATE import_file SET state = 'abandoned', feed = '', filed = 1 WHERE state = 'staging'")


def forget(db: Db) -> bool:
    """Drop a piece of what nobody needs: rows of ended imports but each feed's newest, and accounts beyond those kept. True while
    there is more."""
    dropped = 0
    stale = db.execute(
        "SELECT import_id FROM import_file AS f WHERE state NOT IN ('staging', 'held', 'applying') AND filed AND (state = 'abandoned' "
        "OR EXISTS "
        "(SELECT 1 FROM import_file AS n WHERE n.feed = f.feed AND n.state <> 'staging' AND "
        "n.rowid > f.rowid))"
    ).fetchall()
    for (import_id,) in stale:
        for table, key in (("import_row", "line"), ("import_problem", "n"), ("import_gone", "key")):
            db.execute(
                f"DELETE FROM {table} WHERE import_id = ?1 AND {key} IN (SELECT {key} FROM {table} WHERE import_id = ?1 LIMIT ?2)",  # noqa: S608
                (import_id, FORGET_ROWS - dropped),
            )
            dropped += db.execute("SELECT changes()").get
            if dropped >= FORGET_ROWS:
                return True
    db.execute("DELETE FROM import_file WHERE state = 'abandoned'")
    db.execute(
        "DELETE FROM import_file WHERE state NOT IN ('staging', 'held', 'applying') AND filed AND import_id IN (SELECT import_id FROM "
        "(SELECT import_id, row_number() OVER (PARTITION BY feed ORDER BY rowid DESC) AS place FROM import_file) "
        "WHERE place > ?)",
        (KEPT_PER_FEED,),
    )
    return False
