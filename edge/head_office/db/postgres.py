"""Head office in PostgreSQL: for a fleet, and for workers on several machines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import psycopg

from edge.head_office.db.schema import TABLES, Kind, Table, create, quoted
from edge.head_office.db.seam import Clash, DatabaseGone, Row, columns_of, on_clash

CONNECT_TIMEOUT_S: Final = 10
IDLE_TIMEOUT_S: Final = 10  # a worker that hangs in the middle of a transaction keeps its rows no longer than this
_TYPES: Final[dict[Kind, str]] = {"text": 'text COLLATE "C"', "int": "bigint", "bytes": "bytea"}  # compared as bytes, as SQLite does
_ARRAYS: Final[dict[Kind, str]] = {"text": "text[]", "int": "bigint[]", "bytes": "bytea[]"}
_SCHEMA_LOCK: Final = 0x73686571  # any number that is ours: two workers that start together must not both make the tables


class Postgres:
    """Implements `seam.Database`."""

    def __init__(self, url: str) -> None:
        try:
            self._db = psycopg.connect(url, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S, application_name="shelfd hq")
            self._db.execute(f"SET idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'")
            with self.transaction():
                self._db.execute(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
                for table in TABLES:
                    self._db.execute(create(table, _TYPES))
        except psycopg.Error as error:
            raise DatabaseGone(_line(error)) from error

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            with self._db.transaction():
                yield
        except psycopg.Error as error:
            raise DatabaseGone(_line(error)) from error

    def rows(self, statement: str, *values: object) -> list[Row]:
        try:
            cursor = self._db.execute(statement.replace("?", "%s"), values, prepare=True)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise DatabaseGone(_line(error)) from error

    # Arrays go in binary (`%b`): as text, psycopg escapes every quote of every JSON document, which cost more than all the rest.
    def write(self, table: Table, rows: Iterable[Row], clash: Clash) -> list[Row]:
        columns = columns_of(list(rows))
        if not columns:
            return []
        arrays = ", ".join(f"%b::{_ARRAYS[kind]}" for kind in table.columns.values())
        statement = f'INSERT INTO "{table.name}" ({quoted(tuple(table.columns))}) SELECT * FROM unnest({arrays}) {on_clash(table, clash)}'  # noqa: S608
        try:
            cursor = self._db.execute(statement, columns, prepare=True)
            return cursor.fetchall() if cursor.description else []
        except psycopg.Error as error:
            raise DatabaseGone(_line(error)) from error

    def now_ms(self) -> int:
        return int(self.rows("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")[0][0])

    def close(self) -> None:
        with suppress(psycopg.Error):
            self._db.close()


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
