"""What HQ hears of its messages, stage by stage: cumulative where they went well, one by one where they did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.store import streams
from edge.store.journal import emit
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq import Message
from protocols.hq_events import EXCEPT_MAX, EventKind, Stage, StagedAck

PROGRESS_MS: Final = 5_000  # how long progress may stay untold
PROGRESS_MESSAGES: Final = 16  # or so many messages: half of what HQ sends without hearing of it


@dataclass(slots=True)
class _Run:
    first: int
    last: int
    id: str
    left_out: list[int]


class Acks:
    """The acks of one transaction. What was applied in a row is one ack, written last; the others are written as they come."""

    def __init__(self, db: Db, stamp: Stamp, delta: Delta) -> None:
        self._db = db
        self._stamp = stamp
        self._delta = delta
        self._runs: dict[tuple[str, str], _Run] = {}

    def note(self, message: Message, stage: Stage, reason: str | None = None) -> None:
        """A message has come to a stage."""
        assert message.seq is not None
        place = (str(message.stream), message.incarnation)
        run = self._runs.get(place)
        if stage is Stage.APPLIED and reason is None:
            if run is not None and message.seq == run.last + 1 + len(_after(run)):
                run.last, run.id = message.seq, message.id
            else:
                self._close(place)
                self._runs[place] = _Run(message.seq, message.seq, message.id, [])
            return
        if run is not None and stage is not Stage.RECEIVED and len(run.left_out) < EXCEPT_MAX:
            run.left_out.append(message.seq)
        else:
            self._close(place)
        self._tell(StagedAck(*place, message.seq, message.id, stage, reason))

    def staged(self, incarnation: str, first: int, last: int, *, in_force: bool) -> None:
        """The bulk stream's messages from a manifest on: progress as chunks come, the whole at once when the snapshot is in force."""
        if in_force:
            self._db.execute(
                "UPDATE inbox SET state = 'applied' WHERE incarnation = ? AND stream = 'bulk' AND seq BETWEEN ? AND ? "
                "AND state = 'received'",
                (incarnation, first, last),
            )
            self._bulk(incarnation, first, last, Stage.APPLIED)
        elif first == last or self._due(incarnation, last):
            self._bulk(incarnation, max(first, self._told(incarnation) + 1), last, Stage.RECEIVED)

    def refused(self, incarnation: str, seq: int, message_id: str, reason: str) -> None:
        """A manifest whose snapshot will not come into force: it speaks for its chunks, too."""
        self._tell(StagedAck("bulk", incarnation, seq, message_id, Stage.REJECTED, reason))

    def write(self) -> None:
        """At the end of the transaction."""
        for place in list(self._runs):
            self._close(place)

    def _told(self, incarnation: str) -> int:
        seq = self._db.execute("SELECT seq FROM ack_mark WHERE stream = 'bulk' AND incarnation = ?", (incarnation,)).get
        return seq if isinstance(seq, int) else 0

    def _due(self, incarnation: str, last: int) -> bool:
        row = self._db.execute("SELECT incarnation, seq, boot_id, told_ms FROM ack_mark WHERE stream = 'bulk'").fetchone()
        if row is None or row[0] != incarnation or row[2] != self._stamp.boot_id:
            return True
        return last - int(row[1]) >= PROGRESS_MESSAGES or (last > row[1] and self._stamp.now_ms - int(row[3]) >= PROGRESS_MS)

    def _bulk(self, incarnation: str, first: int, last: int, stage: Stage) -> None:
        """As many acks as it takes to name all that was refused in between."""
        found = self._db.execute(
            "SELECT seq FROM inbox WHERE incarnation = ? AND stream = 'bulk' AND seq BETWEEN ? AND ? "
            "AND state NOT IN ('received', 'applied') ORDER BY seq",
            (incarnation, first, last),
        ).fetchall()
        refused = [int(seq) for (seq,) in found]
        begin = first
        while begin <= last:
            left_out, refused = tuple(refused[:EXCEPT_MAX]), refused[EXCEPT_MAX:]
            end = refused[0] - 1 if refused else last
            if end - begin + 1 > len(left_out):
                self._tell(StagedAck("bulk", incarnation, end, self._bulk_id(incarnation, end), stage, None, 0, begin, left_out))
            begin = end + 1
        self._db.execute(
            "INSERT OR REPLACE INTO ack_mark VALUES ('bulk', ?, ?, ?, ?)", (incarnation, last, self._stamp.boot_id, self._stamp.now_ms)
        )

    def _bulk_id(self, incarnation: str, seq: int) -> str:
        place = (incarnation, seq)
        return str(self._db.execute("SELECT message_id FROM inbox WHERE incarnation = ? AND stream = 'bulk' AND seq = ?", place).get)

    def _close(self, place: tuple[str, str]) -> None:
        run = self._runs.pop(place, None)
        if run is not None:
            first = None if run.first == run.last else run.first
            left_out = tuple(seq for seq in run.left_out if seq < run.last)
            self._tell(StagedAck(*place, run.last, run.id, Stage.APPLIED, None, 0, first, left_out))

    def _tell(self, ack: StagedAck) -> None:
        emit(self._db, self._stamp, EventKind.ACK, ack, salt=f"ack {ack.incarnation} {ack.stream} {ack.first} {ack.seq} {ack.stage}")
        self._delta.outbox_grew = True


def _after(run: _Run) -> list[int]:
    return [seq for seq in run.left_out if seq > run.last]


def progress_due(db: Db, stamp: Stamp) -> tuple[str, int, int] | None:
    """(incarnation, manifest, last) of chunks that came without HQ hearing of it for a while; None: nothing is due."""
    row = db.execute("SELECT s.incarnation, s.seq FROM snapshot AS s WHERE s.state = 'staging'").fetchone()
    cursor = streams.cursors(db).get("bulk")
    if row is None or cursor is None or cursor.incarnation != row[0] or cursor.seq < row[1]:
        return None
    mark = db.execute("SELECT seq, boot_id, told_ms FROM ack_mark WHERE stream = 'bulk' AND incarnation = ?", (row[0],)).fetchone()
    if mark is not None and (mark[0] >= cursor.seq or (mark[1] == stamp.boot_id and stamp.now_ms - mark[2] < PROGRESS_MS)):
        return None
    return str(row[0]), int(row[1]), cursor.seq
