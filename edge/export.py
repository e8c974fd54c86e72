"""A store without HQ: sales, returns and stock events go to dated JSON Lines files. What is on disk is acknowledged, like HQ's word."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import BinaryIO, Final

from drivers.base import Clock
from edge.store.journal import rfc3339
from edge.store.store import Store
from protocols.hq_events import Event, EventKind

BATCH_MAX: Final = 500
KINDS: Final = frozenset({EventKind.SALE, EventKind.RETURN, EventKind.VOID, EventKind.STOCK})


class Exporter:
    """Writes `<dir>/events-YYYY-MM-DD.jsonl`, one event a line with its place in the chain."""

    def __init__(self, store: Store, clock: Clock, directory: Path) -> None:
        self._store = store
        self._clock = clock
        self._directory = directory

    async def run(self) -> None:
        """Until cancelled. A line is written again after a crash between writing and acknowledging: readers dedupe by `id`."""
        while True:
            self._store.outbox_grew.clear()
            state = self._store.outbox_state()
            events = self._store.outbox(state.first_unacked_seq - 1, BATCH_MAX)
            if not events:
                await self._store.outbox_grew.wait()
                continue
            await asyncio.to_thread(self._append, state.incarnation, events)
            await self._store.hq_ack(state.incarnation, events[-1].seq, events[-1].hash)

    def _append(self, incarnation: str, events: list[Event]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        name = f"events-{rfc3339(self._clock.wall_ms())[:10]}.jsonl"
        lines = "".join(_line(incarnation, event) for event in events if event.kind in KINDS)
        path = self._directory / name
        is_new = not path.exists()
        with path.open("a+b") as file:
            if file.tell() and not self._ends_a_line(file):
                file.write(b"\n")  # a crash or a full disk left half a line, which comes again whole
            file.write(lines.encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            self._keep_name()

    @staticmethod
    def _ends_a_line(file: BinaryIO) -> bool:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"

    def _keep_name(self) -> None:
        """Make the new file's name durable too: what it holds is about to be acknowledged."""
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _line(incarnation: str, event: Event) -> str:
    head = f'{{"incarnation":"{incarnation}","seq":{event.seq},"kind":"{event.kind}","id":"{event.id}","time":"{event.time}"'
    return f'{head},"prev_hash":"{event.prev_hash}","hash":"{event.hash}","data":{event.data}}}\n'
