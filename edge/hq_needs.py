"""What a store must ask HQ to send again, and when. Pure: it is told the time (link milliseconds) and what the store has.

Three things make a need: a gap in a stream that stays open, a head that is ahead of the store, and having no catalogue at all. A need
is checked against the store's cursors when it falls due, so that whatever healed on its own in the meantime is not asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from edge.hq_ports import HqTimings, Lack, Missing
from protocols.hq import Stream, StreamCursor
from protocols.hq_events import HISTORY
from protocols.hq_messages import Head


@dataclass(slots=True)
class _Need:
    incarnation: str
    until_seq: int
    due_ms: int
    asked: int = 0
    open_end: bool = False  # what came was too far ahead to be kept: everything newer is wanted


class Needs:
    """Open needs, at most one per stream, one for the snapshot, one for its chunks and one for what a copy has forgotten."""

    def __init__(self, timings: HqTimings) -> None:
        self._timings = timings
        self._streams: dict[str, _Need] = {}
        self._snapshot: _Need | None = None
        self._chunks: _Need | None = None
        self._history: _Need | None = None

    def gap(self, missing: Missing, *, at_once: bool, now_ms: int) -> None:
        """A message came after a gap. `at_once`: too much is held already to wait for it."""
        if missing.incarnation is not None:
            due_ms = now_ms + (0 if at_once else self._timings.gap_ms)
            self._want(missing.stream, missing.incarnation, missing.to_seq or missing.from_seq, due_ms, open_end=missing.to_seq is None)

    def head(self, head: Head, cursors: Mapping[str, StreamCursor], *, now_ms: int) -> None:
        """HQ said how far its streams are. What is on its way already gets a moment to arrive; a stream of a newer HQ is none of ours."""
        for stream, position in head.streams.items():
            if stream in set(Stream) and position.seq > 0 and not _reached(cursors.get(stream), position.incarnation, position.seq):
                self._want(stream, position.incarnation, position.seq, now_ms + self._timings.head_ms)

    def applied(self, stream: str, incarnation: str, *, now_ms: int) -> None:
        """The stream went on: needs of another incarnation are void, and the rest may be on its way, as may a snapshot."""
        need = self._streams.get(stream)
        if need is not None and need.incarnation != incarnation:
            del self._streams[stream]
        elif need is not None:
            need.due_ms, need.asked = max(need.due_ms, now_ms + self._timings.head_ms), 0
        if stream == Stream.BULK and self._snapshot is not None:
            self._snapshot.due_ms = max(self._snapshot.due_ms, now_ms + self._timings.snapshot_ms)

    def no_snapshot(self, *, now_ms: int) -> None:
        """The store has no catalogue. HQ sends one when it sees the birth; this is for when it does not."""
        self._snapshot = _Need("", 0, now_ms + self._timings.snapshot_ms)

    def staging(self, *, incomplete: bool, now_ms: int) -> None:
        """A manifest, a chunk or nothing of them came. Chunks that are still missing get a while to come by themselves."""
        self._chunks = _Need("", 0, now_ms + self._timings.chunks_ms) if incomplete else None

    def history(self, *, wanted: bool, now_ms: int) -> None:
        """The store's file is a copy, and HQ knows what happened since. Asked at once."""
        if not wanted:
            self._history = None
        elif self._history is None:
            self._history = _Need("", 0, now_ms)

    @property
    def deadline_ms(self) -> int | None:
        """When `due` has something to look at."""
        single = (self._snapshot, self._chunks, self._history)
        needs = [*self._streams.values(), *(need for need in single if need is not None)]
        return min((need.due_ms for need in needs), default=None)

    def due(self, cursors: Mapping[str, StreamCursor], *, has_snapshot: bool, now_ms: int) -> list[Missing]:
        """What to ask for now. Each answer doubles the pause before the same is asked again."""
        asks: list[Missing] = []
        if has_snapshot:
            self._snapshot = None
        elif self._snapshot is not None and self._snapshot.due_ms <= now_ms:
            self._later(self._snapshot, now_ms)
            asks.append(Missing(Stream.BULK, None, 0, None))
        if self._chunks is not None and self._chunks.due_ms <= now_ms:
            self._later(self._chunks, now_ms)
            if Stream.BULK not in self._streams:
                asks.append(Missing(Stream.BULK, None, 0, None, Lack.CHUNKS))
        if self._history is not None and self._history.due_ms <= now_ms:
            self._later(self._history, now_ms)
            asks.append(Missing(HISTORY, None, 0, None, Lack.HISTORY))
        for stream, need in list(self._streams.items()):
            if need.due_ms > now_ms:
                continue
            cursor = cursors.get(stream)
            if _reached(cursor, need.incarnation, need.until_seq):
                del self._streams[stream]
                continue
            self._later(need, now_ms)
            if not has_snapshot and (stream == Stream.PRICE or cursor is None):
                continue  # the snapshot brings the prices up to its base, and its manifest restarts the bulk stream
            from_seq = cursor.seq + 1 if cursor is not None and cursor.incarnation == need.incarnation else 1
            asks.append(Missing(stream, need.incarnation, from_seq, None if need.open_end else need.until_seq))
        return asks

    def _want(self, stream: str, incarnation: str, until_seq: int, due_ms: int, *, open_end: bool = False) -> None:
        need = self._streams.get(stream)
        if need is None or need.incarnation != incarnation:
            self._streams[stream] = _Need(incarnation, until_seq, due_ms, open_end=open_end)
            return
        need.open_end |= open_end
        need.until_seq = max(need.until_seq, until_seq)
        if need.asked == 0:
            need.due_ms = min(need.due_ms, due_ms)

    def _later(self, need: _Need, now_ms: int) -> None:
        need.asked += 1
        need.due_ms = now_ms + min(self._timings.gap_ms << min(need.asked - 1, 16), self._timings.ask_again_max_ms)


def _reached(cursor: StreamCursor | None, incarnation: str, seq: int) -> bool:
    return cursor is not None and cursor.incarnation == incarnation and cursor.seq >= seq
