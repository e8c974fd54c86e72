"""Head office in one file: WAL, synchronous=FULL, one writer at a time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import apsw

from edge.head_office.db.schema import TABLES, Kind, Table, create, quoted
from edge.head_office.db.seam import Clash, DatabaseGone, Row, on_clash

BUSY_TIMEOUT_MS: Final = 30_000  # another worker's commit, or `shelfd hq publish` of a whole catalogue
_TYPES: Final[dict[Kind, str]] = {"text": "TEXT", "int": "INTEGER", "bytes": "BLOB"}


class Sqlite:
    """Implements `seam.Database`."""

    def __init__(self, path: str) -> None:
        try:
            self._db = apsw.Connection(path)
            self._db.set_busy_timeout(BUSY_TIMEOUT_MS)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            with self.transaction():
                for table in TABLES:
                    self._db.execute(create(table, _TYPES))
        except apsw.Error as error:
            raise DatabaseGone(f"{path}: {error}") from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
        except apsw.Error as error:
            raise DatabaseGone(str(error)) from error
        done = False
        try:
            yield
            try:
                self._db.execute("COMMIT")
            except apsw.Error as error:
                raise DatabaseGone(str(error)) from error
            done = True
        finally:
            if not done and not self._db.get_autocommit():
                with suppress(apsw.Error):  # the file rolls back when it is opened again
                    self._db.execute("ROLLBACK")

    def rows(self, statement: str, *values: object) -> list[Row]:
        try:
            return list(self._db.execute(statement, values))
        except apsw.Error as error:
            raise DatabaseGone(f"{statement}: {error}") from error

    def write(self, table: Table, rows: Iterable[Row], clash: Clash) -> list[Row]:
        marks = ", ".join("?" * len(table.columns))
        statement = f'INSERT INTO "{table.name}" ({quoted(tuple(table.columns))}) VALUES ({marks}) {on_clash(table, clash)}'  # noqa: S608
        try:
            return list(self._db.executemany(statement, list(rows)))
        except apsw.Error as error:
            raise DatabaseGone(f"{table.name}: {error}") from error

    def now_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def close(self) -> None:
        self._db.close()
