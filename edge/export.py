"""A store without HQ: sales, returns and stock events go to dated JSON Lines files. What is on disk is acknowledged, like HQ's word.

Each event is written once, in the order of the chain. After a crash the ends of the files are read: a line cut short is taken away
(its event comes again), and events that stand there already are acknowledged, not written again. All files, because a clock that was
wrong may have named the last one after any day.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

import msgspec

from drivers.base import Clock
from edge.store.journal import rfc3339
from edge.store.store import Store
from protocols.hq_events import Event, EventKind

BATCH_MAX: Final = 500
TAIL_BYTES: Final = 4 << 20  # more than a batch: 500 events of the largest sales are about 3 MB
LINE_BYTES: Final = 64 << 10  # most lines are shorter
KINDS: Final = frozenset({EventKind.SALE, EventKind.RETURN, EventKind.VOID, EventKind.STOCK})


class ExportDamaged(OSError):
    """What was written does not read back as it should. Nothing was acknowledged; it is tried again."""


class _Written(msgspec.Struct, frozen=True):
    """What of a line says which event it is."""

    incarnation: str
    seq: int
    hash: str


class Exporter:
    """Writes `<dir>/events-YYYY-MM-DD.jsonl`, one event a line with its place in the chain."""

    def __init__(self, store: Store, clock: Clock, directory: Path) -> None:
        self._store = store
        self._clock = clock
        self._directory = directory

    async def run(self) -> None:
        """Until cancelled. Raises OSError where the disk does not take it; started again, it goes on where it was."""
        await self._acknowledge_written()
        while True:
            self._store.outbox_grew.clear()
            state = self._store.outbox_state()
            events = self._store.outbox(state.first_unacked_seq - 1, BATCH_MAX)
            if not events:
                await self._store.outbox_grew.wait()
                continue
            await asyncio.to_thread(self._append, state.incarnation, events)
            await self._store.hq_ack(state.incarnation, events[-1].seq, events[-1].hash)

    async def _acknowledge_written(self) -> None:
        """A crash may have come between writing and acknowledging. Only what bears the chain's own hash counts as written."""
        state = self._store.outbox_state()
        found = await asyncio.to_thread(self._last_written, state.incarnation)
        if found is None or found.seq < state.first_unacked_seq:
            return
        await self._store.hq_ack(found.incarnation, found.seq, found.hash)  # refuses another history's hash

    def _last_written(self, incarnation: str) -> _Written | None:
        """The last event of this incarnation, the lines of the files made durable and whole first."""
        if not self._directory.is_dir():
            return None
        ends = [(self._repair(path), path) for path in sorted(self._directory.glob("events-*.jsonl"))]
        known = [(end, path) for end, path in ends if end is not None and end.incarnation == incarnation]
        if not known:
            return None
        found, path = max(known, key=lambda each: each[0].seq)
        _sync(path, os.O_RDONLY)
        _sync_directory(self._directory)
        return found

    @staticmethod
    def _repair(path: Path) -> _Written | None:
        """The last event of a file, after what is not a whole line behind it was taken away."""
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            whole = _last_line(file, size)
            if whole is not None:
                return whole
            start = max(0, size - TAIL_BYTES)
            file.seek(start)
            tail = file.read()
            good = len(tail)
            found: _Written | None = None
            for begin, line in _lines_backwards(tail):
                found = _event_of(line)
                if found is not None:
                    break
                if begin or not start:
                    good = begin
            if good < len(tail):
                file.truncate(start + good)
                os.fsync(file.fileno())
        return found

    def _append(self, incarnation: str, events: Sequence[Event]) -> None:
        """Write, make durable, and read back what was written. Raises OSError."""
        lines = "".join(_line(incarnation, event) for event in events if event.kind in KINDS).encode()
        if not lines:
            return
        self._make_directory()
        path = self._directory / f"events-{rfc3339(self._clock.wall_ms())[:10]}.jsonl"
        is_new = not path.exists()
        begin = 0 if is_new else path.stat().st_size
        _write(path, lines)
        with path.open("rb") as file:
            os.fsync(file.fileno())
            file.seek(begin)
            if file.read() != lines:
                raise ExportDamaged(f"{path}: what was written does not read back")
        if is_new:
            _sync_directory(self._directory)

    def _make_directory(self) -> None:
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True, exist_ok=True)
            _sync_directory(self._directory.parent)


def _last_line(file: BinaryIO, size: int) -> _Written | None:
    """The event of the last line where nothing is wrong with it: most files need no more."""
    start = max(0, size - LINE_BYTES)
    file.seek(start)
    found = next(_lines_backwards(file.read()), None)
    if found is None or (found[0] == 0 and start):
        return None
    return _event_of(found[1])


def _write(path: Path, text: bytes) -> None:
    with path.open("ab") as file:
        file.write(text)


def _lines_backwards(text: bytes) -> Iterator[tuple[int, bytes]]:
    """(where it begins, the line with its newline if it has one), from the last to the first."""
    end = len(text)
    while end > 0:
        begin = text.rfind(b"\n", 0, end - 1) + 1
        yield begin, text[begin:end]
        end = begin


def _event_of(line: bytes) -> _Written | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return msgspec.json.decode(line, type=_Written)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _sync_directory(path: Path) -> None:
    """Make the names in it durable: what the files hold is about to be acknowledged."""
    _sync(path, os.O_RDONLY | os.O_DIRECTORY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _line(incarnation: str, event: Event) -> str:
    head = f'{{"incarnation":"{incarnation}","seq":{event.seq},"kind":"{event.kind}","id":"{event.id}","time":"{event.time}"'
    return f'{head},"prev_hash":"{event.prev_hash}","hash":"{event.hash}","data":{event.data}}}\n'
