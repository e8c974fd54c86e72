"""HQ's messages: one transaction each, from inbox row to business rows to staged ack. The pure rules are in `protocols.hq_stream`.

A message is applied when it is next in its stream and what it comes `after` is applied, too; else it waits here. One that cannot be
applied is refused and its stream goes on; one that fails for a reason nobody foresaw is kept aside, and somebody is told.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import apsw

from edge.store import acks, control, snapshots, streams
from edge.store.acks import Acks
from edge.store.db import Refused
from edge.store.hq_apply import Turn, apply_body
from edge.store.hq_rows import Context, Rejection
from edge.store.journal import alert
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols import hq
from protocols.hq_control import Query
from protocols.hq_events import Stage
from protocols.hq_zone import ZoneChunk

__all__ = ["Context", "Received", "Rejection", "needs_tending", "receive", "receive_shared", "tend"]

log = logging.getLogger(__name__)

QUARANTINED = "quarantined"  # state of an inbox row whose message is kept for somebody to look at
REASON_MAX_CHARS = 500

# What a fault of this program's own, met by some content, can raise.
_FAULTS = (
    apsw.ConstraintError,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    NameError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Received:
    """What became of a message, and what is to be done now that it is committed."""

    decision: hq.Decision
    asked: tuple[hq.Message, ...] = ()  # queries to answer
    controlled: bool = False  # settings or keys changed
    complete: bool = False  # a snapshot is all here: it wants to be put in force


def receive(db: Db, stamp: Stamp, message: hq.Message, context: Context) -> tuple[Received, Delta]:
    """Place a message in its stream and apply what is in order, held ones behind it included."""
    assert message.stream is not None
    assert message.seq is not None
    turn = _turn(db, stamp, context)
    stream, seq = str(message.stream), message.seq
    place = (message.incarnation, stream, seq)
    known = db.execute("SELECT sha256 FROM inbox WHERE incarnation = ? AND stream = ? AND seq = ?", place).get
    decision = _decide(db, message, None if known is None else str(known))
    if isinstance(decision, hq.NewIncarnation):
        streams.set_cursor(db, stream, message.incarnation, 0)
        snapshots.leave_log(db, turn.acks, stream, message.incarnation)
        decision = _decide(db, message, None)
    match decision:
        case hq.InOrder() if _must_wait(turn, message):
            _insert(db, stamp, message, "held")
            turn.acks.note(message, Stage.RECEIVED)
        case hq.InOrder():
            streams.forget_held(db, stream, message.incarnation, seq)
            _insert(db, stamp, message, "received")
            _apply_one(turn, message)
            _go_on(turn)
        case hq.Gap(hold=True):
            _insert(db, stamp, message, "held")
            turn.acks.note(message, Stage.RECEIVED)
        case hq.Duplicate() if isinstance(message.body, Query) and not _expired(stamp, message):
            turn.asked.append(message)  # it was asked again: the answer may have been lost
        case _:
            pass
    turn.acks.write()
    complete = message.stream is hq.Stream.BULK and snapshots.is_complete(db)
    return Received(decision, tuple(turn.asked), turn.controlled, complete), turn.delta


def receive_shared(db: Db, stamp: Stamp, chunk: ZoneChunk, context: Context) -> tuple[bool, Delta]:
    """Keep a zone's chunk. False: nobody asked for it yet."""
    turn = _turn(db, stamp, context)
    try:
        wanted = context.prices_from_hq and snapshots.stage_shared(db, stamp, chunk, context)
    except snapshots.Spoiled as error:
        snapshots.abandon(db, turn.acks, str(error)[:REASON_MAX_CHARS])
        alert(db, stamp, "hq_snapshot", str(error))
        turn.delta.outbox_grew = True
        return False, turn.delta
    return wanted, turn.delta


def swap_on(db: Db, stamp: Stamp, swap: snapshots.Swap, context: Context) -> tuple[Received | None, Delta]:
    """Put the next piece of a snapshot in force; what became of it once that was the last one, None before.

    Raises Refused for a piece that cannot be: whatever was wrong with it, the store must not meet it again at every start.
    """
    turn = _turn(db, stamp, context)
    if swap.stands(db):
        try:
            if swap.step(db, stamp, context, turn.delta):
                return None, turn.delta
        except (Rejection, *_FAULTS) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error
        swap.end(db, turn.acks, turn.delta)
    _go_on(turn)
    turn.acks.write()
    return Received(hq.InOrder(), tuple(turn.asked), turn.controlled, snapshots.is_complete(db)), turn.delta


def give_up_swap(db: Db, stamp: Stamp, reason: str, context: Context) -> tuple[Received, Delta]:
    """A snapshot that a fault of this program's own keeps from coming into force: what waits for it goes on, and somebody is told."""
    turn = _turn(db, stamp, context)
    snapshots.abandon(db, turn.acks, reason[:REASON_MAX_CHARS])
    alert(db, stamp, "hq_snapshot", reason[:REASON_MAX_CHARS])
    turn.delta.outbox_grew = True
    _go_on(turn)
    turn.acks.write()
    return Received(hq.InOrder(), tuple(turn.asked), turn.controlled), turn.delta


def tend(db: Db, stamp: Stamp, context: Context) -> tuple[Received, Delta]:
    """What time brings: a message that waited for another stream until it expired, progress that was not told yet."""
    turn = _turn(db, stamp, context)
    _go_on(turn)
    due = acks.progress_due(db, stamp)
    if due is not None:
        turn.acks.staged(*due, in_force=False)
    turn.acks.write()
    return Received(hq.InOrder(), tuple(turn.asked), turn.controlled, snapshots.is_complete(db)), turn.delta


def needs_tending(db: Db, stamp: Stamp) -> bool:
    """Whether `tend` could find something to do."""
    return bool(streams.waiting_streams(db)) or acks.progress_due(db, stamp) is not None


def _turn(db: Db, stamp: Stamp, context: Context) -> Turn:
    delta = Delta()
    return Turn(db, stamp, context, delta, Acks(db, stamp, delta))


def _decide(db: Db, message: hq.Message, known_digest: str | None) -> hq.Decision:
    assert message.stream is not None
    assert message.seq is not None
    cursor = streams.cursors(db).get(str(message.stream))
    return hq.decide(
        cursor,
        message.incarnation,
        message.seq,
        message.digest,
        known_digest,
        retired=(cursor is None or cursor.incarnation != message.incarnation) and streams.is_retired(db, message.incarnation),
        restarts=hq.restarts_stream(message),
    )


def _insert(db: Db, stamp: Stamp, message: hq.Message, state: str) -> None:
    db.execute(
        "INSERT INTO inbox VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', ?, ?, ?)",
        (
            message.incarnation,
            str(message.stream),
            message.seq,
            message.id,
            message.type,
            message.digest,
            message.raw if state == "held" else None,
            state,
            stamp.wall_ms,
            stamp.boot_id,
            stamp.now_ms,
        ),
    )


def _go_on(turn: Turn) -> None:
    """Apply what waits behind a gap that is closed, or for another stream that has come there, until nothing moves."""
    moved = True
    while moved:
        moved = False
        for stream in streams.waiting_streams(turn.db):
            while (message := _next_held(turn, stream)) is not None:
                assert message.seq is not None
                streams.forget_held(turn.db, stream, message.incarnation, message.seq - 1)
                _apply_one(turn, message)
                moved = True


def _next_held(turn: Turn, stream: str) -> hq.Message | None:
    """What waits in a stream and need not any more."""
    for raw in streams.held_next(turn.db, stream, streams.cursors(turn.db)[stream]):
        message = hq.reparse(f"dn/{stream}", raw)
        if not _must_wait(turn, message):
            return message
    return None


def _must_wait(turn: Turn, message: hq.Message) -> bool:
    """Whether a message waits for other streams: not beyond its expiry, and not once too many wait behind it.

    A snapshot that is being put in force is waited for in any case: it ends by itself, and soon.
    """
    if _unmet(turn.db, message) is None or _expired(turn.stamp, message):
        return False
    if _swaps(turn.db, message):
        return True
    assert message.seq is not None
    behind = streams.held(turn.db, str(message.stream), hq.StreamCursor(message.incarnation, message.seq))
    return len(behind) < hq.HELD_ROWS_MAX - 1


def _unmet(db: Db, message: hq.Message) -> str | None:
    """The place that a message comes after and that is not reached, None where there is none. A snapshot counts when it is in force."""
    if _swaps(db, message):
        return "the snapshot that is being put in force"
    at = streams.cursors(db) if message.after else {}
    for stream, position in message.after.items():
        cursor = at.get(stream)
        if cursor is None or cursor.incarnation != position.incarnation or cursor.seq < position.seq:
            return f"{stream} {position.seq}"
        staged = db.execute("SELECT seq FROM snapshot WHERE state = 'staging' AND incarnation = ?", (position.incarnation,)).get
        if stream == hq.Stream.BULK and isinstance(staged, int) and staged <= position.seq:
            return f"the snapshot of bulk {staged}"
    return None


def _swaps(db: Db, message: hq.Message) -> bool:
    return message.stream in (hq.Stream.PRICE, hq.Stream.BULK) and snapshots.is_complete(db)


def _expired(stamp: Stamp, message: hq.Message) -> bool:
    return message.expires_ms is not None and stamp.clock_trusted and message.expires_ms < stamp.wall_ms


def _apply_one(turn: Turn, message: hq.Message) -> None:
    """Apply a message in order, or record why it cannot be; then move the cursor past it and stage the ack."""
    db, seq = turn.db, message.seq
    assert seq is not None
    place = (message.incarnation, str(message.stream), seq)
    streams.set_cursor(db, str(message.stream), message.incarnation, seq)
    db.execute("UPDATE inbox SET state = 'received', raw = NULL WHERE incarnation = ? AND stream = ? AND seq = ?", place)
    db.execute("SAVEPOINT message")
    part, staged, raw = Delta(), False, None
    stage, state, reason = Stage.APPLIED, "", None
    try:
        _check(turn, message)
        result = apply_body(turn, message, part)
        turn.delta.merge(part)
        staged, reason = result.staged, result.remark
        if result.held:
            stage, reason = Stage.HELD, f"held for a person: {', '.join(result.held)}"
    except snapshots.Spoiled as error:
        db.execute("ROLLBACK TO message")
        snapshots.abandon(db, turn.acks, str(error)[:REASON_MAX_CHARS])
        stage, reason = Stage.REJECTED, str(error)
    except (Rejection, Refused) as error:
        db.execute("ROLLBACK TO message")
        stage, reason = Stage.REJECTED, str(error)
    except _FAULTS as error:  # one message must stop neither its stream nor the daemon; an error of the file's own stops both
        log.exception("stream=%s seq=%s type=%s could not be applied", message.stream, seq, message.type)
        db.execute("ROLLBACK TO message")
        stage, state, reason, raw = Stage.REJECTED, QUARANTINED, f"{type(error).__name__}: {error}", message.raw
    db.execute("RELEASE message")
    if state == QUARANTINED:
        alert(db, turn.stamp, "hq_poison", f"{message.stream} {seq} {message.type}: {reason}")
    if staged:
        _tell_staging(turn, message)
        return
    reason = None if reason is None else reason[:REASON_MAX_CHARS]
    db.execute(
        "UPDATE inbox SET state = ?, reason = ?, raw = ? WHERE incarnation = ? AND stream = ? AND seq = ?",
        (state or str(stage), reason or "", raw, *place),
    )
    streams.forget_done(db, str(message.stream), message.incarnation, seq)
    turn.acks.note(message, stage, reason)


def _check(turn: Turn, message: hq.Message) -> None:
    """Raises Rejection for a message whose time is over, that HQ took back, or whose condition did not come."""
    if _expired(turn.stamp, message):
        unmet = _unmet(turn.db, message)
        raise Rejection("expired before it arrived" if unmet is None else f"expired before {unmet} was applied")
    cancelled = control.cancelled(turn.db, message)
    if cancelled is not None:
        raise Rejection(cancelled)
    unmet = _unmet(turn.db, message)
    if unmet is not None:
        raise Rejection(f"{unmet} is not applied, and {hq.HELD_ROWS_MAX} messages wait for it")


def _tell_staging(turn: Turn, message: hq.Message) -> None:
    """A manifest or chunk is kept."""
    assert message.seq is not None
    row = turn.db.execute("SELECT incarnation, seq FROM snapshot WHERE state = 'staging'").fetchone()
    if row is not None:
        turn.acks.staged(str(row[0]), int(row[1]), message.seq, in_force=False)
