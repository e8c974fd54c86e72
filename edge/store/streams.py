"""Where HQ's streams stand in the file: cursors, retired incarnations, and what waits."""

from __future__ import annotations

from typing import Final

from edge.store.rows import Db
from protocols.hq import StreamCursor

KEPT_MESSAGES: Final = 10_000  # of a stream, behind its cursor: what they were is asked for, and told from a fork, for as long
FORGOTTEN_TOGETHER: Final = 4  # more than come: an inbox that has grown shrinks again, and no transaction is long for it

_WAITS: Final = "state = 'held' AND raw NOT NULL"
_RESTARTS: Final = "type = 'snapshot.manifest.v1'"  # as `protocols.hq.restarts_stream` says of the messages


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


def retire(db: Db, stream: str, incarnation: str) -> None:
    db.execute("INSERT OR IGNORE INTO retired_incarnation VALUES (?, ?)", (stream, incarnation))


def is_retired(db: Db, incarnation: str) -> bool:
    """Whether any stream has left this incarnation. It names HQ's log as a whole: no other stream goes to it from now on, or a message of
    the old log that was long on its way would retire the new one in a stream where the old one was never heard of."""
    return db.execute("SELECT 1 FROM retired_incarnation WHERE incarnation = ? LIMIT 1", (incarnation,)).get is not None


def forget_held(db: Db, stream: str, incarnation: str, through_seq: int) -> None:
    """Messages that waited in a stream which has gone past them; none where the stream never went there.

    One whose prices are held for people is applied, and waits for nothing.
    """
    if db.execute("SELECT 1 FROM cursor WHERE stream = ? AND incarnation = ?", (stream, incarnation)).get is None:
        return
    db.execute(
        "UPDATE inbox SET state = 'stale', raw = NULL WHERE stream = ? AND state = 'held' AND raw NOT NULL "
        "AND (incarnation <> ? OR seq <= ?)",
        (stream, incarnation, through_seq),
    )


def forget_done(db: Db, stream: str, incarnation: str, through_seq: int) -> None:
    """What a stream is done with: a few of the messages that are far behind it, and what was cancelled at places that it has gone past."""
    db.execute(
        "DELETE FROM inbox WHERE rowid IN (SELECT rowid FROM inbox WHERE incarnation = ? AND stream = ? AND seq <= ? ORDER BY seq LIMIT ?)",
        (incarnation, stream, through_seq - KEPT_MESSAGES, FORGOTTEN_TOGETHER),
    )
    db.execute(
        "DELETE FROM hq_cancel WHERE stream = ?1 AND (incarnation = ?2 AND seq <= ?3 "
        "OR incarnation IN (SELECT incarnation FROM retired_incarnation WHERE stream = ?1))",
        (stream, incarnation, through_seq),
    )


def held(db: Db, stream: str, cursor: StreamCursor) -> list[int]:
    """The sequence numbers that wait behind a cursor, ascending."""
    found = db.execute(
        f"SELECT seq FROM inbox WHERE stream = ? AND incarnation = ? AND {_WAITS} AND seq > ? ORDER BY seq",  # noqa: S608 - constant
        (stream, cursor.incarnation, cursor.seq),
    )
    return [int(seq) for (seq,) in found]


def open_gap(db: Db, stream: str) -> tuple[str, int, int, int] | None:
    """(incarnation, first missing, last missing, held rows) of a stream, or None where nothing is missing before what waits.

    From the first hole through the last one: what is here already in between comes once more, and one request heals them all. What is
    missing before a message that begins the stream anew is not missed.
    """
    cursor = cursors(db).get(stream)
    if cursor is None:
        return None
    waiting = held(db, stream, cursor)
    here = set(waiting)
    missing = [seq for seq in range(_begun_anew(db, stream, cursor) + 1, waiting[-1]) if seq not in here] if waiting else []
    return (cursor.incarnation, missing[0], missing[-1], len(waiting)) if missing else None


def reached(db: Db) -> dict[str, StreamCursor]:
    """The last message that is here with all before it, per stream: applied, or waiting for another stream."""
    found = cursors(db)
    for stream in waiting_streams(db):
        cursor = found[stream]
        seq = _begun_anew(db, stream, cursor)
        for waiting in held(db, stream, StreamCursor(cursor.incarnation, seq)):
            if waiting != seq + 1:
                break
            seq = waiting
        found[stream] = StreamCursor(cursor.incarnation, seq)
    return found


def held_next(db: Db, stream: str, cursor: StreamCursor) -> list[bytes]:
    """What may come next and waits here: the newest message that begins the stream anew, then the one behind the cursor."""
    found = db.execute(
        f"SELECT raw FROM inbox WHERE stream = ? AND incarnation = ? AND {_WAITS} AND seq IN (?, ?) ORDER BY seq DESC",  # noqa: S608
        (stream, cursor.incarnation, _begun_anew(db, stream, cursor), cursor.seq + 1),
    )
    return [bytes(raw) for (raw,) in found]


def _begun_anew(db: Db, stream: str, cursor: StreamCursor) -> int:
    """Where the newest waiting message is that begins the stream anew, or the cursor."""
    seq = db.execute(
        f"SELECT max(seq) FROM inbox WHERE stream = ? AND incarnation = ? AND {_WAITS} AND {_RESTARTS} AND seq > ?",  # noqa: S608 - constants
        (stream, cursor.incarnation, cursor.seq),
    ).get
    return seq if isinstance(seq, int) else cursor.seq


def waiting_streams(db: Db) -> list[str]:
    """Streams whose next message is here and waits for another stream."""
    found = db.execute(
        "SELECT DISTINCT c.stream FROM cursor AS c JOIN inbox AS i USING (stream, incarnation) "  # noqa: S608 - constants
        f"WHERE {_WAITS} AND (i.seq = c.seq + 1 OR {_RESTARTS} AND i.seq > c.seq)"
    )
    return [str(stream) for (stream,) in found]
