"""Moves what is committed from the log into the file, on a thread of its own: no commit, and no till behind it, waits for that."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import apsw

PAGES: Final = 1_000  # in the log, from which on it is worth the two syncs
PAGES_MAX: Final = 50_000  # 200 MB: the writer then waits until the log is in the file, so that a slow disk cannot let it grow for ever


class Checkpointer:
    """One beside the writer. `connect` opens the file; `on_error` hears, in this thread, that the disk is in doubt, and it ends."""

    def __init__(self, path: Path, connect: Callable[[Path], apsw.Connection], on_error: Callable[[apsw.Error], None]) -> None:
        self._path = path
        self._connect = connect
        self._on_error = on_error
        self._due = threading.Event()
        self._over = False
        self._thread = threading.Thread(target=self._work, name="store-checkpoint", daemon=True)
        self._pages = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._over = True
        self._due.set()
        self._thread.join()

    def watch(self, writer: apsw.Connection) -> None:
        """From now on this connection's commits move nothing themselves. Called in the writer's thread."""
        writer.set_wal_hook(self._grew)

    def _grew(self, _db: apsw.Connection, _name: str, pages: int) -> int:
        self._pages = pages
        if pages >= PAGES:
            self._due.set()
        return apsw.SQLITE_OK

    def hold_back(self, writer: apsw.Connection) -> None:
        """Between two commits of the writer: wait where this thread does not keep up. Raises what the disk does not do."""
        if self._pages >= PAGES_MAX:
            writer.execute("PRAGMA wal_checkpoint(RESTART)")
            self._pages = 0

    def _work(self) -> None:
        db = self._connect(self._path)
        try:
            while True:
                self._due.wait()
                self._due.clear()
                if self._over:
                    return
                db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except apsw.Error as error:
            self._on_error(error)
        finally:
            db.close()
