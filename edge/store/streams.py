"""Where HQ's streams stand in the file: cursors, retired incarnations, and what waits."""

from __future__ import annotations

from edge.store.rows import Db
from protocols.hq import StreamCursor


def cursors(db: Db) -> dict[str, StreamCursor]:
    """The last message applied in order, per stream."""
    found = db.execute("SELECT stream, incarnation, seq FROM cursor").fetchall()
    return {stream: StreamCursor(incarnation, seq) for stream, incarnation, seq in found}


def set_cursor(db: Db, stream: str, incarnation: str, seq: int) -> None:
    """Move a stream. An incarnation names HQ's log as a whole: where one stream goes to another, all that streams are at is retired.

    A stream that is there still goes on in it, until it leaves; none goes back to it: the snapshot of an old log that comes late moves no
    other stream.
    """
    if db.execute("SELECT 1 FROM cursor WHERE stream = ? AND incarnation = ?", (stream, incarnation)).get is None:
        if is_retired(db, incarnation):
            return
        db.execute(
            "INSERT OR IGNORE INTO retired_incarnation SELECT stream, incarnation FROM cursor WHERE incarnation <> ?", (incarnation,)
        )
    db.execute("INSERT OR REPLACE INTO cursor VALUES (?, ?, ?)", (stream, incarnation, seq))


def is_retired(db: Db, incarnation: str) -> bool:
    """Whether any stream has left this incarnation. It names HQ's log as a whole: no other stream goes to it from now on, or a message of
    the old log that was long on its way would retire the new one in a stream where the old one was never heard of."""
    return db.execute("SELECT 1 FROM retired_incarnation WHERE incarnation = ? LIMIT 1", (incarnation,)).get is not None


def forget_held(db: Db, stream: str, incarnation: str, through_seq: int) -> None:
    """Messages that waited in a stream which has gone past them. None where the stream never went there."""
    if db.execute("SELECT 1 FROM cursor WHERE stream = ? AND incarnation = ?", (stream, incarnation)).get is None:
        return
    db.execute(
        "UPDATE inbox SET state = 'stale', raw = NULL WHERE stream = ? AND state = 'held' AND (incarnation <> ? OR seq <= ?)",
        (stream, incarnation, through_seq),
    )


def held(db: Db, stream: str, cursor: StreamCursor) -> list[int]:
    """The sequence numbers that wait behind a cursor, ascending."""
    found = db.execute(
        "SELECT seq FROM inbox WHERE stream = ? AND incarnation = ? AND state = 'held' AND seq > ? ORDER BY seq",
        (stream, cursor.incarnation, cursor.seq),
    )
    return [int(seq) for (seq,) in found]


def open_gap(db: Db, stream: str) -> tuple[str, int, int, int] | None:
    """(incarnation, first missing, last missing, held rows) of a stream, or None where nothing is missing before what waits.

    From the first hole through the last one: what is here already in between comes once more, and one request heals them all.
    """
    cursor = cursors(db).get(stream)
    if cursor is None:
        return None
    waiting = held(db, stream, cursor)
    here = set(waiting)
    missing = [seq for seq in range(cursor.seq + 1, waiting[-1]) if seq not in here] if waiting else []
    return (cursor.incarnation, missing[0], missing[-1], len(waiting)) if missing else None


def reached(db: Db) -> dict[str, StreamCursor]:
    """The last message that is here with all before it, per stream: applied, or waiting for another stream."""
    found = cursors(db)
    for stream in waiting_streams(db):
        cursor = found[stream]
        seq = cursor.seq
        for waiting in held(db, stream, cursor):
            if waiting != seq + 1:
                break
            seq = waiting
        found[stream] = StreamCursor(cursor.incarnation, seq)
    return found


def held_raw(db: Db, stream: str, cursor: StreamCursor) -> bytes | None:
    """The message that comes next, where it waits here."""
    raw = db.execute(
        "SELECT raw FROM inbox WHERE incarnation = ? AND stream = ? AND seq = ? AND state = 'held'",
        (cursor.incarnation, stream, cursor.seq + 1),
    ).get
    assert raw is None or isinstance(raw, bytes)
    return raw


def waiting_streams(db: Db) -> list[str]:
    """Streams whose next message is here and waits for another stream."""
    found = db.execute(
        "SELECT c.stream FROM cursor AS c JOIN inbox AS i USING (stream, incarnation) WHERE i.state = 'held' AND i.seq = c.seq + 1"
    )
    return [str(stream) for (stream,) in found]
