"""What to send a store next. Pure.

The log says how far each stream goes, the store says what it has: by its birth, by staged acks, and by what it asks for again. What is
sent and not reported as received is at most `WINDOW` messages for each stream; whatever is lost, the store's next word repairs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from protocols.hq import Stream
from protocols.hq_events import Birth, Stage, StagedAck, SyncRequest

WINDOW: Final = 32  # messages without a store's word that it has them: some 4 MB of the largest


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The newest whole catalogue in a store's log: where its manifest is, and the price message that it includes."""

    manifest_seq: int
    base_price_seq: int


@dataclass(slots=True)
class _Progress:
    last: int = 0  # the log's end
    received: int = 0  # the store has it, and all before
    sent: int = 0


class Outgoing:
    """The streams of one store. It sends nothing before the store was heard."""

    def __init__(self, incarnation: str) -> None:
        self.incarnation = incarnation
        self.listening = False
        self.snapshot: Snapshot | None = None
        self._streams = {stream: _Progress() for stream in Stream}

    def grew(self, stream: Stream, last_seq: int) -> None:
        """The log goes this far now."""
        self._streams[stream].last = max(self._streams[stream].last, last_seq)

    def restart(self, snapshot: Snapshot) -> None:
        """A new whole catalogue: what the bulk stream held before it is needless."""
        self.snapshot = snapshot
        self._skip(Stream.BULK, snapshot.manifest_seq - 1)

    def ends(self) -> dict[Stream, int]:
        """How far the log goes, for the streams that have something."""
        return {stream: at.last for stream, at in self._streams.items() if at.last}

    def birth(self, birth: Birth, known: Mapping[Stream, int]) -> None:
        """The store is there, with these cursors. `known`: what it reported as received in this incarnation of its file.

        The birth is retained and may be older than the reports, so that the further one of the two counts.
        """
        self.listening = True
        for stream, at in self._streams.items():
            cursor = birth.cursors.get(stream)
            told = cursor.seq if cursor is not None and cursor.incarnation == self.incarnation else 0
            at.received = max(told, known.get(stream, 0))
            at.sent = at.received
        if self.snapshot is not None:
            self._skip(Stream.BULK, self.snapshot.manifest_seq - 1)
            if birth.snapshot is None:
                self._skip(Stream.PRICE, self.snapshot.base_price_seq)

    def again(self) -> None:
        """The connection was another one: what was sent and not reported may be lost."""
        for at in self._streams.values():
            at.sent = at.received

    def death(self) -> None:
        """Nobody listens: what is said now is sent when the store is back."""
        self.listening = False

    def received(self, ack: StagedAck) -> None:
        """The store reports messages. What is `received` only may wait behind a gap; every other stage is told in order."""
        if ack.incarnation != self.incarnation or ack.stream not in set(Stream):
            return
        at, seq = self._streams[Stream(ack.stream)], ack.seq
        if ack.stage is Stage.RECEIVED and (ack.first if ack.first is not None else seq) > at.received + 1:
            return
        at.received = max(at.received, min(seq, at.last))
        at.sent = max(at.sent, at.received)

    def asked(self, request: SyncRequest) -> None:
        """Send again from there. What the store does not ask for, it has.

        Chunks that it lacks are on their way, or lost on it, unless it has the whole stream (`says_chunks_anew`).
        """
        if request.stream not in set(Stream):
            return
        stream = Stream(request.stream)
        at = self._streams[stream]
        if request.chunks:
            at.sent = at.received
            self.listening = True
            return
        first = request.from_seq if request.stream_incarnation == self.incarnation else 1
        at.received = at.sent = max(0, min(first - 1, at.last))
        self.listening = True
        if stream is Stream.BULK and self.snapshot is not None:
            self._skip(stream, self.snapshot.manifest_seq - 1)

    def says_chunks_anew(self, request: SyncRequest) -> bool:
        """Whether the store asks for chunks in places that it has reported: nothing that is sent again would be another message."""
        at = self._streams[Stream.BULK]
        return request.stream == Stream.BULK and bool(request.chunks) and at.received >= at.last

    def due(self) -> list[tuple[Stream, int, int]]:
        """(stream, first, last) to send now; they count as sent."""
        found = []
        for stream, at in self._streams.items():
            until = min(at.last, at.received + WINDOW)
            if self.listening and until > at.sent:
                found.append((stream, at.sent + 1, until))
                at.sent = until
        return found

    def _skip(self, stream: Stream, seq: int) -> None:
        at = self._streams[stream]
        at.received = max(at.received, min(seq, at.last))
        at.sent = max(at.sent, at.received)
