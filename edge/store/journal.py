"""What only ever grows: the event chain to HQ, the audit chain, and the store's own identity."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from edge.evidence import chain_hash
from edge.store.rows import Db, Stamp, json_text
from protocols.hq import uuid7
from protocols.hq_events import Event, EventKind, Stage, StagedAck, make_event

GENESIS = "0" * 64
OUTBOX_BUDGET_EVENTS = 600_000  # 30 days of 20,000 events: some 600 MB
OVER_BUDGET, RESTORED = "outbox_over_budget", "restored"  # keys of `meta`; the latter is kept until HQ has told what the copy forgot
_PROGRESS = (Stage.RECEIVED, Stage.CONFIRMED)
AUDIT_RUN_MS = 60_000  # entries made in the same minute share a row of the index by time: a row for each costs a sale one page more
_CONTROLS = dict.fromkeys((*range(32), 127), " ")  # the hash joins an entry's fields by newlines: a name may not hold one


def rfc3339(wall_ms: int) -> str:
    """UTC with milliseconds, e.g. 2026-11-21T19:26:00.000Z."""
    return datetime.fromtimestamp(wall_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{wall_ms % 1000:03d}Z"


def get_meta(db: Db, key: str) -> str | None:
    value = db.execute("SELECT value FROM meta WHERE key = ?", (key,)).get
    return None if value is None else str(value)


def set_meta(db: Db, key: str, value: str) -> None:
    db.execute("INSERT INTO meta(key, value) VALUES (?, ?) ON CONFLICT(key) DO UPDATE SET value = excluded.value", (key, value))


def make_id(stamp: Stamp, salt: str) -> str:
    """A UUIDv7 that is new for this transaction and `salt`."""
    return uuid7(stamp.wall_ms, hashlib.sha256(stamp.entropy + salt.encode()).digest()[:10])


@dataclass(frozen=True, slots=True)
class OutboxState:
    """Where the upward chain stands. `acked_through` is HQ's own word; `last_hash` belongs to `last_seq`."""

    incarnation: str
    acked_through: int
    last_seq: int
    last_hash: str


def begin_incarnation(db: Db, incarnation: str) -> None:
    """Start a new upward log: at creation of the file and at every restore. Un-acked events of the old one travel again."""
    pending = db.execute("SELECT kind, event_id, time, data FROM outbox ORDER BY seq").fetchall()
    db.execute("DELETE FROM outbox")
    for key, value in (("incarnation", incarnation), ("up_seq", "0"), ("up_hash", GENESIS), ("acked_through", "0")):
        set_meta(db, key, value)
    for kind, event_id, time, data in pending:
        _append(db, outbox_state(db), EventKind(kind), event_id, time, data)
    entries = db.execute("SELECT coalesce(max(entry_id), 0) FROM ledger").get  # their event numbers belong to the old log
    set_meta(db, "ledger_base", str(entries))


def outbox_state(db: Db) -> OutboxState:
    values = dict(db.execute("SELECT key, value FROM meta WHERE key IN ('incarnation', 'up_seq', 'up_hash', 'acked_through')").fetchall())
    return OutboxState(str(values["incarnation"]), int(values["acked_through"]), int(values["up_seq"]), str(values["up_hash"]))


def emit(db: Db, stamp: Stamp, kind: EventKind, data: object, *, salt: str) -> int:
    """Append an event to the chain in the caller's transaction; returns its sequence number.

    Beyond `OUTBOX_BUDGET_EVENTS` that HQ did not acknowledge, what only reports (alerts, progress of acks) is left out, which is said
    once. Whatever changes stock, money or a binding is never left out.
    """
    state = outbox_state(db)
    if state.last_seq - state.acked_through >= OUTBOX_BUDGET_EVENTS:
        state = _say_over_budget(db, stamp, state)
        if kind is EventKind.ALERT or (kind is EventKind.ACK and isinstance(data, StagedAck) and data.stage in _PROGRESS):
            return state.last_seq
    return _append(db, state, kind, make_id(stamp, salt), rfc3339(stamp.wall_ms), json_text(data))


def _say_over_budget(db: Db, stamp: Stamp, state: OutboxState) -> OutboxState:
    if get_meta(db, OVER_BUDGET) == "1":
        return state
    set_meta(db, OVER_BUDGET, "1")
    pending = state.last_seq - state.acked_through
    told = {"kind": "outbox_over_budget", "detail": f"{pending} events wait for HQ: alerts and progress are left out from now on"}
    record(db, stamp, "store", "alert.outbox_over_budget", told)
    _append(db, state, EventKind.ALERT, make_id(stamp, "over budget"), rfc3339(stamp.wall_ms), json_text(told))
    return outbox_state(db)


def _append(db: Db, state: OutboxState, kind: EventKind, event_id: str, time: str, data: str) -> int:
    event = make_event(state.incarnation, state.last_seq + 1, kind, event_id, time, data, state.last_hash)
    db.execute(
        "INSERT INTO outbox(seq, kind, event_id, time, data, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (event.seq, str(event.kind), event.id, event.time, event.data, event.prev_hash, event.hash),
    )
    set_meta(db, "up_seq", str(event.seq))
    set_meta(db, "up_hash", event.hash)
    return event.seq


def outbox_after(db: Db, after_seq: int, limit: int) -> list[Event]:
    """Committed events that HQ has not acknowledged, in sequence order."""
    rows = db.execute(
        "SELECT seq, kind, event_id, time, data, prev_hash, hash FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after_seq, limit)
    )
    return [Event(seq, EventKind(kind), event_id, time, data, prev, digest) for seq, kind, event_id, time, data, prev, digest in rows]


def acknowledge(db: Db, incarnation: str, seq_through: int, last_hash: str) -> bool:
    """Drop what HQ has. False, and nothing dropped, when HQ's word is about another incarnation or another history."""
    state = outbox_state(db)
    if incarnation != state.incarnation or seq_through > state.last_seq:
        return False
    if seq_through <= state.acked_through:
        return True
    known = db.execute("SELECT hash FROM outbox WHERE seq = ?", (seq_through,)).get
    if known != last_hash:
        return False
    db.execute("DELETE FROM outbox WHERE seq <= ?", (seq_through,))
    set_meta(db, "acked_through", str(seq_through))
    if state.last_seq - seq_through < OUTBOX_BUDGET_EVENTS * 9 // 10 and get_meta(db, OVER_BUDGET) == "1":
        set_meta(db, OVER_BUDGET, "0")
    return True


@dataclass(frozen=True, slots=True)
class AuditHead:
    """The last entry of the audit chain; entry 0 and `GENESIS` before the first."""

    entry: int
    hash: str


def audit_head(db: Db) -> AuditHead:
    row = db.execute("SELECT entry_id, hash FROM audit ORDER BY entry_id DESC LIMIT 1").fetchone()
    return AuditHead(0, GENESIS) if row is None else AuditHead(int(row[0]), str(row[1]))


def last_noted_ms(db: Db) -> int:
    """When the last entry of the audit chain was made, by the store's clock; 0 before the first."""
    last = db.execute("SELECT wall_ms FROM audit ORDER BY entry_id DESC LIMIT 1").get
    return last if isinstance(last, int) else 0


def append_audit(db: Db, wall_ms: int, actor: str, what: str, detail: str) -> int:
    """Append to the audit chain in the caller's transaction; `detail` is JSON text. Returns the entry's number: 1, 2, 3, ... no gap."""
    last = db.execute("SELECT entry_id, hash, wall_ms FROM audit ORDER BY entry_id DESC LIMIT 1").fetchone()
    before, prev_hash, before_ms = last or (0, GENESIS, None)
    entry, minute = before + 1, wall_ms // AUDIT_RUN_MS
    actor, what = actor.translate(_CONTROLS), what.translate(_CONTROLS)
    digest = chain_hash(prev_hash, wall_ms, actor, what, detail)
    db.execute(
        "INSERT INTO audit(entry_id, wall_ms, actor, what, detail, hash) VALUES (?, ?, ?, ?, ?, ?)",
        (entry, wall_ms, actor, what, detail, digest),
    )
    if before_ms is None or before_ms // AUDIT_RUN_MS != minute:
        db.execute("INSERT OR REPLACE INTO audit_minute(entry_id, minute) VALUES (?, ?)", (entry, minute))  # left where the end was cut off
    return int(entry)


def record(db: Db, stamp: Stamp, actor: str, what: str, detail: object) -> None:
    """Append to the audit chain: who did what. What is about a label, an item or a sale goes through `edge.store.evidence.note`."""
    append_audit(db, stamp.wall_ms, actor, what, json_text(detail))


def alert(db: Db, stamp: Stamp, kind: str, detail: str) -> None:
    """Something that HQ or staff should see: an event, and an entry of the audit chain."""
    record(db, stamp, "store", f"alert.{kind}", {"detail": detail})
    emit(db, stamp, EventKind.ALERT, {"kind": kind, "detail": detail}, salt=f"alert {kind} {detail}")


def verify_audit(db: Db) -> int:
    """The number of audit entries, every link computed again. Raises ValueError naming the first broken one."""
    prev_hash, count = GENESIS, 0
    for entry_id, wall_ms, actor, what, detail, digest in db.execute(
        "SELECT entry_id, wall_ms, actor, what, detail, hash FROM audit ORDER BY entry_id"
    ):
        count += 1
        if entry_id != count or chain_hash(prev_hash, wall_ms, actor, what, detail) != digest:
            raise ValueError(f"audit entry {entry_id} is not chained to the one before")
        prev_hash = digest
    return count
