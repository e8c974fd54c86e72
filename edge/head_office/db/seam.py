"""What the transactions ask of an engine: SQLite by default, PostgreSQL for fleets.

Statements are written once, with `?` for values, in the words that both engines share. Bulk writes go through `write`, which each
engine does in its fastest way: one prepared statement run for each row, or one statement over arrays.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Final, Protocol

from edge.head_office.db.schema import Table, quoted

Row = tuple[Any, ...]

SQLITE: Final = "sqlite:"
POSTGRESQL: Final = "postgresql://"


class Database(Protocol):
    """One connection, used by one thread at a time."""

    def transaction(self) -> AbstractContextManager[None]:
        """Commits at the end of the block; an exception rolls back. Raises `DatabaseGone`."""

    def rows(self, statement: str, *values: object) -> list[Row]:
        """Run a statement; the rows that it gives, none for most that change something. Raises `DatabaseGone`."""

    def write(self, table: Table, rows: Iterable[Row], clash: Clash) -> list[Row]:
        """Insert whole rows. For `Clash.KEEP` the keys of the rows that were new; the keys among `rows` are then distinct."""

    def now_ms(self) -> int:
        """UTC milliseconds of the database's own clock: workers on several machines share it."""

    def close(self) -> None:
        """Safe to call twice."""


class Clash(StrEnum):
    """What becomes of a row whose key is there already."""

    KEEP = "keep"  # the one that is there stays
    REPLACE = "replace"  # the new one counts
    ADD = "add"  # the last column is added to the one that is there


class DatabaseGone(Exception):
    """The database did not take it, or does not answer. Nothing of the transaction is there; begin anew on a new connection."""


class BadDatabase(ValueError):
    """The setting does not name a database that this installation can open; the text is for people."""


def open_database(url: str) -> Database:
    """`sqlite:PATH` or `postgresql://...`; the tables are made where they are missing. Raises `BadDatabase`, `DatabaseGone`."""
    if url.startswith(SQLITE):
        from edge.head_office.db.sqlite import Sqlite

        return Sqlite(url.removeprefix(SQLITE))
    if url.startswith(POSTGRESQL):
        try:
            from edge.head_office.db.postgres import Postgres
        except ImportError as error:
            raise BadDatabase("PostgreSQL needs psycopg: install shelfd[hq]") from error
        return Postgres(url)
    raise BadDatabase(f"database {url!r}: expected sqlite:PATH or postgresql://USER@HOST/NAME")


def on_clash(table: Table, clash: Clash) -> str:
    """The end of an INSERT statement, in words that both engines share."""
    key = quoted(table.key)
    if clash is Clash.KEEP:
        return f"ON CONFLICT ({key}) DO NOTHING RETURNING {key}"
    last = table.values[-1]
    changes = {name: f'excluded."{name}"' for name in table.values}
    if clash is Clash.ADD:
        changes = {last: f'"{table.name}"."{last}" + excluded."{last}"'}
    return f"ON CONFLICT ({key}) DO UPDATE SET " + ", ".join(f'"{name}" = {value}' for name, value in changes.items())


def columns_of(rows: Sequence[Row]) -> list[list[Any]]:
    """The rows turned by 90 degrees; no rows, no columns."""
    return [list(column) for column in zip(*rows, strict=True)]
