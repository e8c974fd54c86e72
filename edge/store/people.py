"""What people decide about labels: retired, taken back into use, looked at; and what an owner lets time decide.

Each is one transaction with its audit entry and its event to HQ. A retired label keeps its may-set, released: it bounds for the dwell
and then nothing, until somebody takes the label back into use. What it shows when it is back is then in that set, whatever happened to
it meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from drivers.base import Grade, LabelSeen
from edge.guard_report import AttemptFacts
from edge.model import PAPER, Curve, ItemId, MayEntry, MayKind, MayState, Offer
from edge.proof import LOOK_MARGIN_MS, Claim, Unclear, may_hide, named, recognise
from edge.store import evidence, shelf, unknown
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.journal import emit, rfc3339
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind

SEEN_AGAIN_AFTER_MS = 900_000  # a label that works checks in while it is carried away


class Retire(StrEnum):
    """Why a label is out of shoppers' sight."""

    REMOVED = "removed"  # taken off the shelf
    COVERED = "covered"  # hidden where it hangs


@dataclass(frozen=True, slots=True)
class Who:
    """A person as they gave their name, and the peer that the words came through."""

    person: str
    actor: str

    def __str__(self) -> str:
        return f"{self.person} ({self.actor})"


@dataclass(frozen=True, slots=True)
class Retirement:
    """A label out of use. `seen_again_wall_ms`: first heard after it was said to be removed."""

    label_id: str
    reason: str
    person: str
    wall_ms: int
    seen_again_wall_ms: int | None


@dataclass(frozen=True, slots=True)
class Confirmed:
    """What a look did: the attempt that is proven now (None: a price that nobody sent), and those that the label cannot show any more."""

    attempt_id: int | None
    gone: tuple[int, ...]


# -- out of use, and back --------------------------------------------------------------------------------------------------


def retire(db: Db, stamp: Stamp, label_id: str, reason: Retire, who: Who, dwell_ms: int) -> tuple[int, Delta]:
    """Release a label's may-set: from now on it bounds for `dwell_ms` only. Returns how many members it has. Raises Refused."""
    retired = _retired(db, label_id)
    if retired:
        raise Refused(f"label {label_id} is retired already, as {retired}")
    db.execute(
        "INSERT INTO retirement(label_id, reason, person, actor, wall_ms, boot_id, now_ms, dwell_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (label_id, str(reason), who.person, who.actor, stamp.wall_ms, stamp.boot_id, stamp.now_ms, dwell_ms),
    )
    db.execute("UPDATE label SET retired = ? WHERE label_id = ?", (str(reason), label_id))
    delta, members = _label_and_members(db, label_id)
    said = {"event": "label.retired", "label": label_id, "reason": str(reason), "person": who.person}
    _say(db, stamp, said, members, who, {"released": [entry.attempt_id for entry in members], "dwell_ms": dwell_ms})
    delta.outbox_grew = True
    return len(members), delta


def restore(db: Db, stamp: Stamp, label_id: str, who: Who) -> tuple[int, Delta]:
    """Put the very same may-set back, with whatever joined it meanwhile. Returns how many members it has. Raises Refused."""
    if not _retired(db, label_id):
        raise Refused(f"label {label_id} is not retired")
    db.execute(
        "UPDATE retirement SET undone_wall_ms = ?, undone_by = ? WHERE label_id = ? AND undone_wall_ms IS NULL",
        (stamp.wall_ms, str(who), label_id),
    )
    db.execute("UPDATE label SET retired = '' WHERE label_id = ?", (label_id,))
    delta, members = _label_and_members(db, label_id)
    said = {"event": "label.restored", "label": label_id, "person": who.person}
    _say(db, stamp, said, members, who, {"restored": [entry.attempt_id for entry in members]})
    delta.outbox_grew = True
    return len(members), delta


def restore_all(db: Db, stamp: Stamp) -> None:
    """The file is an older copy: a label that it says is out of use may have been hung up again since. Each is in use until somebody
    says otherwise once more."""
    for (label_id,) in db.execute("SELECT label_id FROM label WHERE retired <> '' ORDER BY label_id").fetchall():
        restore(db, stamp, label_id, Who("older copy", "store"))


def end_release(db: Db, stamp: Stamp, label_ids: Iterable[str]) -> tuple[None, Delta]:
    """The dwell of these retired labels is over, and does not come back when the store opens again."""
    delta = Delta()
    for label_id in label_ids:
        ended = db.execute(
            "UPDATE retirement SET dwell_ms = 0 WHERE label_id = ? AND undone_wall_ms IS NULL AND dwell_ms > 0 RETURNING 1", (label_id,)
        ).get
        if ended is None:
            continue
        delta.may.update(_label_and_members(db, label_id)[0].may)
        over = {"label": label_id}
        evidence.note(db, stamp, "label.dwell_over", (evidence.label_subject(label_id),), over)
    return None, delta


def seen(db: Db, stamp: Stamp, check_ins: Sequence[tuple[str, LabelSeen]]) -> tuple[None, Delta]:
    """Record check-ins. A label that was said to be removed and is still heard is told to people and HQ, once: whether it hangs in a
    shelf or lies in a drawer, no radio can say, so nothing is taken back by itself."""
    _, delta = shelf.seen(db, stamp, check_ins)
    for _, event in check_ins:
        told = db.execute(
            "UPDATE retirement SET seen_again_wall_ms = ?1 WHERE label_id = ?2 AND undone_wall_ms IS NULL AND reason = 'removed' "
            "AND seen_again_wall_ms IS NULL AND boot_id = ?3 AND ?4 - now_ms >= ?5 RETURNING person",
            (stamp.wall_ms, event.label_id, stamp.boot_id, stamp.now_ms, SEEN_AGAIN_AFTER_MS),
        ).get
        if told is not None:
            detail = (
                f"label {event.label_id}, which {told} removed, is heard at radio {event.radio_id}: take its battery out, or restore it"
            )
            evidence.note(
                db, stamp, "label.seen_again", (evidence.label_subject(event.label_id),), {"label": event.label_id, "person": told}
            )
            _alert(db, stamp, "label_seen_again", detail, event.label_id)
            delta.outbox_grew = True
    return None, delta


def retirements(db: Db) -> list[Retirement]:
    """Every label that is out of use, by label."""
    found = db.execute(
        "SELECT label_id, reason, person, wall_ms, seen_again_wall_ms FROM retirement WHERE undone_wall_ms IS NULL ORDER BY label_id"
    )
    return [Retirement(*row) for row in found]


# -- a look ----------------------------------------------------------------------------------------------------------------


def confirm(
    db: Db, stamp: Stamp, label_id: str, claims: Sequence[Claim], attempt_id: int | None, who: Who, dwell_ms: int
) -> tuple[Confirmed, Delta]:
    """A person looks at the label and reads `claims` (none: no price at all), or an attempt's number. Proves it with grade `person`.

    A price that no attempt of ours has is written down as what the label shows: it bounds, and a display that was unknown is known.
    Raises Refused where the look does not say which picture is there, or an older one may still come.
    """
    retired = _retired(db, label_id)
    if retired:
        raise Refused(f"label {label_id} is retired as {retired}: shelfd label restore {label_id} first")
    _refuse_half_a_look(db, label_id, claims)
    members = [entry for entry in codec.read_may_set(db, label_id) if entry.state is not MayState.GONE]
    try:
        found = recognise(members, claims) if attempt_id is None else named(members, attempt_id)
    except Unclear as error:
        raise Refused(f"label {label_id}: {error}") from None
    if found is None:
        return _strange(db, stamp, label_id, members, claims, who, dwell_ms)
    if attempt_id is None and claims and unknown.waits_for_history(db, label_id):
        raise Refused(
            f"label {label_id}: the store's file is an older copy, and HQ has not told yet what else may stand beside that price: "
            f"look again later, or make sure which picture hangs there and name it (--attempt)"
        )
    if attempt_id is None and may_hide(members, claims, next(entry.offers for entry in members if entry.attempt_id == found)):
        raise Refused(
            f"label {label_id}: before its display was unknown that price had a multi-buy or a members' price beside it: "
            f"make sure which picture hangs there, then name it (--attempt)"
        )
    if not _is_paper(db, label_id):
        _refuse_what_may_come(db, stamp, label_id, found)
    said = {"event": "label.confirmed", "label": label_id, "attempt": found, "person": who.person, "shows": _shown(claims)}
    _say(db, stamp, said, members, who, {})
    _, delta = shelf.prove(db, stamp, label_id, found, str(Grade.PERSON), accepted=True, dwell_ms=dwell_ms, looked=True)
    delta.outbox_grew = True
    gone = [entry.attempt_id for entry in members if _is_gone(delta.may.get((label_id, entry.attempt_id), entry))]
    return Confirmed(found, tuple(gone)), delta


def _refuse_half_a_look(db: Db, label_id: str, claims: Sequence[Claim]) -> None:
    """What ends an unknown display has to be read from all of it."""
    read = {claim.item_id for claim in claims}
    row = db.execute(f"SELECT {codec.BINDING_COLUMNS} FROM binding WHERE label_id = ?", (label_id,)).fetchone()  # noqa: S608 - constant
    bound = codec.binding_of(row).items if row is not None else ()
    left = [item_id for item_id in bound if item_id not in read and _is_sold(db, item_id)]
    if left and not read.isdisjoint(bound):
        raise Refused(f"label {label_id} is for {', '.join(left)} too: say what it shows for each of them (--shows ITEM=PRICE)")


def _is_sold(db: Db, item_id: ItemId) -> bool:
    found = db.execute("SELECT 1 FROM item JOIN in_force USING (item_id) WHERE item_id = ? AND NOT removed", (item_id,))
    return found.get is not None


def _refuse_what_may_come(db: Db, stamp: Stamp, label_id: str, attempt_id: int) -> None:
    radios = shelf.lingering_radios(db, stamp, label_id, attempt_id)
    if radios:
        raise Refused(f"label {label_id}: radio {', '.join(radios)} may still hand it an older picture: look again later")
    if shelf.recent_radios(db, stamp, label_id, attempt_id, LOOK_MARGIN_MS) or _unknown_lately(db, stamp, label_id):
        raise Refused(f"label {label_id} may just be changing: look again in {LOOK_MARGIN_MS // 60_000} minutes")


def _unknown_lately(db: Db, stamp: Stamp, label_id: str) -> bool:
    """Whether the display became unknown so late that the look may have been before it. Paper forgets nothing."""
    found = db.execute(
        "SELECT 1 FROM attempt WHERE label_id = ? AND kind = 'unknown' AND state = 'open' "
        "AND NOT (since_boot_id = ? AND ? - since_ms >= ?)",
        (label_id, stamp.boot_id, stamp.now_ms, LOOK_MARGIN_MS),
    )
    return found.get is not None and not _is_paper(db, label_id)


def _may_be_older(db: Db, stamp: Stamp, label_id: str) -> bool:
    """Whether more may stand on the label, or may still come, of what the store's file forgot."""
    return unknown.waits_for_history(db, label_id) or unknown.ANY_RADIO in shelf.lingering_radios(db, stamp, label_id, shelf.ANY_ATTEMPT)


def _is_paper(db: Db, label_id: str) -> bool:
    return bool(db.execute("SELECT kind FROM label WHERE label_id = ?", (label_id,)).get == PAPER)


def _strange(
    db: Db, stamp: Stamp, label_id: str, members: Sequence[MayEntry], claims: Sequence[Claim], who: Who, dwell_ms: int
) -> tuple[Confirmed, Delta]:
    """The label shows a price that no attempt in its may-set has. It is believed, at once."""
    db.execute(
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms, proven_wall_ms, "
        "grade, outcome, since_boot_id, since_ms) VALUES (?1, 'picture', 'proven', '', '', '', '', ?2, ?2, ?3, 'seen', ?4, ?5)",
        (label_id, stamp.wall_ms, str(Grade.PERSON), stamp.boot_id, stamp.now_ms),
    )
    seen_id = db.last_insert_rowid()
    shown = [_as_read(db, claim) for claim in claims]
    for offer in shown:
        db.execute("INSERT INTO attempt_offer VALUES (?, 0, 'all', ?, ?, NULL)", (seen_id, offer.item_id, codec.curve_text(offer.curve)))
    delta = Delta(outbox_grew=True)
    displays = [entry.attempt_id for entry in members if entry.kind is MayKind.UNKNOWN]
    gone = (
        [] if _unknown_lately(db, stamp, label_id) or may_hide(members, claims, shown) or _may_be_older(db, stamp, label_id) else displays
    )
    for old_id in gone:
        shelf.supersede(db, stamp, old_id, seen_id, dwell_ms)
        delta.may[label_id, old_id] = codec.read_may(db, old_id)
    delta.may[label_id, seen_id] = codec.read_may(db, seen_id)
    said = {"event": "label.confirmed", "label": label_id, "attempt": None, "person": who.person, "shows": _shown(claims)}
    dwells = [old_id for old_id in gone if delta.may[label_id, old_id] is not None]
    _say(db, stamp, said, members, who, {"seen": seen_id, "released": gone, "dwells": dwells}, seen_id)
    if not displays:
        prices = ", ".join(f"{claim.item_id} {claim.amount_minor}" for claim in claims) or "nothing"
        _alert(
            db,
            stamp,
            "label_shows_other_price",
            f"{who.person} reads on label {label_id} what was not sent: {prices} (minor units)",
            label_id,
        )
    return Confirmed(None, tuple(gone)), delta


def _as_read(db: Db, claim: Claim) -> Offer:
    """A price on a label is for the quantity that the item's price is named for."""
    in_force = codec.read_in_force(db, claim.item_id)
    quantity = in_force.row.curve.points[0][0] if in_force is not None else 1
    return Offer(claim.item_id, Curve.plain(claim.amount_minor, quantity))


def _is_gone(entry: MayEntry | None) -> bool:
    return entry is None or entry.state is MayState.GONE


def _shown(claims: Sequence[Claim]) -> list[dict[str, object]]:
    return [{"sku": claim.item_id, "amount_minor": claim.amount_minor} for claim in claims]


# -- what an owner lets time decide ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Held:
    """A member of a may-set that keeps an item below its target, since when."""

    attempt_id: int
    boot_id: str
    since_ms: int
    since_wall_ms: int
    told: bool = False  # people and HQ were told


def holds(db: Db) -> dict[int, Held]:
    """What was noted, by attempt."""
    found = db.execute("SELECT attempt_id, boot_id, since_ms, since_wall_ms, told FROM guard_hold")
    return {row[0]: Held(row[0], row[1], row[2], row[3], bool(row[4])) for row in found}


def note_holds(db: Db, began: Sequence[Held], ended: Sequence[int]) -> tuple[None, Delta]:
    """Keep since when members hold an item down, so that a restart of the daemon does not begin anew."""
    for each in began:
        db.execute(
            "INSERT OR IGNORE INTO guard_hold(attempt_id, boot_id, since_ms, since_wall_ms) VALUES (?, ?, ?, ?)",
            (each.attempt_id, each.boot_id, each.since_ms, each.since_wall_ms),
        )
    for attempt_id in ended:
        db.execute("DELETE FROM guard_hold WHERE attempt_id = ?", (attempt_id,))
    return None, Delta()


def tell_hold(db: Db, stamp: Stamp, label_id: str, attempt_ids: Sequence[int], detail: str) -> tuple[None, Delta]:
    """Tell people and HQ, once, that a label has kept a price down for so long that somebody should go there."""
    for attempt_id in attempt_ids:
        db.execute("UPDATE guard_hold SET told = 1 WHERE attempt_id = ?", (attempt_id,))
    evidence.note(db, stamp, "label.holds_price", (evidence.label_subject(label_id),), {"label": label_id, "attempts": attempt_ids})
    _alert(db, stamp, "label_holds_price", detail, f"{label_id} {attempt_ids[0]}")
    return None, Delta(outbox_grew=True)


def override(db: Db, stamp: Stamp, label_id: str, attempt_ids: Sequence[int], after_ms: int) -> tuple[int, Delta]:
    """Let members go because the owner said that time may: not proven, not seen. Returns how many it were."""
    delta, gone = Delta(), []
    for attempt_id in attempt_ids:
        entry = codec.read_may(db, attempt_id)
        if entry is None or entry.label_id != label_id or entry.state is MayState.GONE or entry.release is not None:
            continue
        db.execute("UPDATE attempt SET state = 'past', released = 'release_after' WHERE attempt_id = ?", (attempt_id,))
        db.execute("DELETE FROM guard_hold WHERE attempt_id = ?", (attempt_id,))
        db.execute("INSERT INTO guard_override VALUES (?, ?, ?, ?)", (attempt_id, label_id, after_ms, stamp.wall_ms))
        delta.may[label_id, attempt_id] = None
        gone.append(entry)
    if gone:
        said = {"event": "guard.override", "label": label_id, "attempts": [entry.attempt_id for entry in gone], "after_ms": after_ms}
        _say(db, stamp, said, gone, Who("release_after", "store"), {"released": [entry.attempt_id for entry in gone]})
        delta.outbox_grew = True
    return len(gone), delta


def overrides(db: Db) -> int:
    """How often time let something go, ever."""
    count = db.execute("SELECT count(*) FROM guard_override").get
    return count if isinstance(count, int) else 0


def attempt_facts(db: Db, attempt_ids: Iterable[int]) -> dict[int, AttemptFacts]:
    """What the rows say of these attempts."""
    found: dict[int, AttemptFacts] = {}
    for attempt_id in attempt_ids:
        row = db.execute(
            "SELECT created_wall_ms, proven_wall_ms, outcome, since_wall_ms FROM attempt LEFT JOIN guard_hold USING (attempt_id) "
            "WHERE attempt_id = ?",
            (attempt_id,),
        ).fetchone()
        if row is not None:
            found[attempt_id] = AttemptFacts(*row)
    return found


def row_source(db: Db, row_id: int) -> dict[str, object]:
    """Where a price row came from, and when."""
    row = db.execute(
        "SELECT source, received_wall_ms, effective_from_ms, effective_to_ms FROM price_row WHERE row_id = ?", (row_id,)
    ).fetchone()
    if row is None:
        return {}
    source, received_ms, from_ms, to_ms = row
    until = None if to_ms is None else rfc3339(to_ms)
    return {"source": source, "received": rfc3339(received_ms), "from": rfc3339(from_ms), "until": until}


def given_away(db: Db, item_id: ItemId, since_wall_ms: int) -> tuple[int, int]:
    """What the guard took off an item's target in recorded sales, in minor units: since the day (UTC) of an instant, and ever."""
    row = db.execute(
        "SELECT coalesce(sum(given_away_minor) FILTER (WHERE day >= ?), 0), coalesce(sum(given_away_minor), 0) FROM guard_margin "
        "WHERE item_id = ?",
        (since_wall_ms // 86_400_000, item_id),
    ).fetchone()
    return int(row[0]), int(row[1])


def given_away_by_reason(db: Db) -> dict[str, int]:
    """What the guard took off targets in recorded sales, ever, by why."""
    return {
        str(reason): int(total) for reason, total in db.execute("SELECT reason, given_away_minor FROM guard_margin_sum ORDER BY reason")
    }


# -- shared ----------------------------------------------------------------------------------------------------------------


def _retired(db: Db, label_id: str) -> str:
    """The reason, or "" for a label in use. Raises Refused for one that is not known."""
    found = db.execute("SELECT retired FROM label WHERE label_id = ?", (label_id,)).get
    if found is None:
        raise Refused(f"no label {label_id}")
    return str(found)


def _label_and_members(db: Db, label_id: str) -> tuple[Delta, list[MayEntry]]:
    """The label's row and may-set as they are now, for the view, and its members that are not gone."""
    delta = Delta()
    shelf.label_changed(db, label_id, delta)
    entries = codec.read_may_set(db, label_id)
    delta.may.update({(label_id, entry.attempt_id): entry for entry in entries})
    return delta, [entry for entry in entries if entry.state is not MayState.GONE]


def _say(
    db: Db,
    stamp: Stamp,
    said: Mapping[str, object],
    members: Iterable[MayEntry],
    who: Who,
    more: Mapping[str, object],
    seen_id: int | None = None,
) -> None:
    """One audit entry, found under the label and the items it concerns, and one event to HQ. `seen_id`: what nobody sent, as written."""
    label_id, event = str(said["label"]), str(said["event"])
    entries = [*members, *([codec.read_may(db, seen_id)] if seen_id is not None else ())]
    items = dict.fromkeys(offer.item_id for entry in entries if entry is not None for offer in entry.offers)
    subjects = (evidence.label_subject(label_id), *map(evidence.item_subject, items))
    actor = who.person if who.actor == "store" else str(who)
    if seen_id is None:
        evidence.note(db, stamp, event, subjects, {**said, **more}, actor=actor)
    else:
        evidence.note_fact(db, stamp.wall_ms, event, (seen_id,), ids=subjects, actor=actor, more={**said, **more})
    emit(db, stamp, EventKind.LABEL, {**said, "items": list(items), "by": actor, "at": rfc3339(stamp.wall_ms)}, salt=f"{event} {label_id}")


def _alert(db: Db, stamp: Stamp, kind: str, detail: str, salt: str) -> None:
    emit(db, stamp, EventKind.ALERT, {"kind": kind, "detail": detail}, salt=f"alert {kind} {salt}")
