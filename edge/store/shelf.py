"""Labels, bindings and may-sets. What a label may show is written here before its bytes leave, and removed only by proof."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.base import LabelProfile, LabelSeen
from edge.model import (
    LABEL_ITEMS_MAX,
    PAPER,
    AttemptId,
    Binding,
    ItemId,
    LabelState,
    MayKind,
    MayState,
    Offer,
    Place,
)
from edge.planning import PAPER_PANEL
from edge.pricing import outlasts
from edge.store import evidence, unknown
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.journal import emit, record
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind
from render.errors import RenderError
from render.fields import TemplateSource
from render.templates import load as load_template

ANY_ATTEMPT = 2**62  # above every attempt's number

_MAY = "state IN ('open', 'proven')"
_GRADES = ("inferred", "shown", "person")  # from the weakest


@dataclass(frozen=True, slots=True)
class NewAttempt:
    """An attempt about to be sent: its bytes exist, none has left. `fields` is the JSON that drew it."""

    attempt_id: AttemptId
    label_id: str
    content_hash: str
    picture_hash: str
    payload_md5: str
    fields: str
    offers: tuple[Offer, ...]
    radio_id: str  # "": nobody but a person carries it to the shelf
    lifetime_ms: int


def ensure_label(db: Db, stamp: Stamp, label_id: str, kind: str, delta: Delta) -> LabelState:
    """The label's row; a new one starts with an unknown display."""
    row = db.execute(f"SELECT {codec.LABEL_COLUMNS} FROM label WHERE label_id = ?", (label_id,)).fetchone()  # noqa: S608
    if row is None:
        db.execute(
            "INSERT INTO label(label_id, kind, panel, codecs, slot_bytes, firmware, last_radio, last_seen_wall_ms) "
            "VALUES (?, ?, ?, '[]', 0, 0, '', 0)",
            (label_id, kind, PAPER_PANEL if kind == PAPER else ""),
        )
        evidence.note(db, stamp, "label.new", (evidence.label_subject(label_id),), {"label": label_id})
        unknown.add(db, stamp, label_id, "never seen before", delta)
    return label_changed(db, label_id, delta)


def label_changed(db: Db, label_id: str, delta: Delta) -> LabelState:
    """Read a label's row again, for the view."""
    row = db.execute(f"SELECT {codec.LABEL_COLUMNS} FROM label WHERE label_id = ?", (label_id,)).fetchone()  # noqa: S608
    bound = (ItemId(each) for (each,) in db.execute("SELECT item_id FROM ever_bound WHERE label_id = ?", (label_id,)).fetchall())
    label = codec.label_of(row, bound)
    delta.labels[label_id] = label
    return label


def seen(db: Db, stamp: Stamp, check_ins: Iterable[tuple[str, LabelSeen]]) -> tuple[None, Delta]:
    """Record check-ins as (driver kind, what was seen). Fields a short check-in lacks keep their last value."""
    delta = Delta()
    for kind, event in check_ins:
        label = ensure_label(db, stamp, event.label_id, kind, delta)
        profile = event.profile or LabelProfile(label.panel, label.codecs, label.slot_bytes, label.firmware)
        db.execute(
            "UPDATE label SET panel = ?, codecs = ?, slot_bytes = ?, firmware = ?, battery_mv = coalesce(?, battery_mv), "
            "rssi_dbm = coalesce(?, rssi_dbm), last_radio = ?, last_seen_wall_ms = ? WHERE label_id = ?",
            (
                profile.panel,
                codec.json_text(profile.codecs),
                profile.slot_bytes,
                profile.firmware,
                event.battery_mv,
                event.rssi_dbm,
                event.radio_id,
                stamp.wall_ms,
                event.label_id,
            ),
        )
        label_changed(db, event.label_id, delta)
    return None, delta


def bind(
    db: Db,
    stamp: Stamp,
    label_id: str,
    items: tuple[ItemId, ...],
    template: str,
    place: Place,
    *,
    actor: str,
    expected_rev: int | None,
    kind: str,
    templates: TemplateSource,
) -> tuple[Binding, Delta]:
    """Bind a label (no items: unbind). What it shows until a new picture is proven goes on bounding the old items.

    Raises Refused for another `binding_rev` than expected (None: a person's scan, which wins), an unknown item or template.
    """
    delta = Delta()
    label = ensure_label(db, stamp, label_id, kind, delta)
    row = db.execute(f"SELECT {codec.BINDING_COLUMNS} FROM binding WHERE label_id = ?", (label_id,)).fetchone()  # noqa: S608
    current = codec.binding_of(row) if row else Binding(label_id, (), template, Place(), 0)
    if expected_rev is not None and expected_rev != current.binding_rev:
        raise Refused(f"label {label_id} is at binding {current.binding_rev}, not {expected_rev}")
    if label.retired and items:
        raise Refused(f"label {label_id} is retired as {label.retired}: shelfd label restore {label_id} takes it into use again")
    if kind == PAPER and label.kind != PAPER:
        raise Refused(f"label {label_id} has a radio: it is no paper label")
    if len(items) > LABEL_ITEMS_MAX:
        raise Refused(f"{len(items)} items, a label shows at most {LABEL_ITEMS_MAX}")
    if len(set(items)) != len(items):
        raise Refused("an item is named twice")
    try:
        load_template(template, templates)
    except RenderError as error:
        raise Refused(str(error)) from None
    for item_id in items:
        if db.execute("SELECT 1 FROM item WHERE item_id = ?", (item_id,)).get is None:
            raise Refused(f"item {item_id} is not in the catalogue")
    binding = Binding(label_id, items, template, place, current.binding_rev + 1)
    db.execute(
        "INSERT OR REPLACE INTO binding VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (label_id, codec.json_text(items), template, place.aisle, place.bay, place.shelf, place.slot, binding.binding_rev),
    )
    may_have_shown(db, stamp, label_id, (item_id for item_id in items if item_id not in label.ever_bound), delta)
    delta.bindings[label_id] = binding
    bound = {"event": "label.bound", "label": label_id, "items": items, "template": template, "binding_rev": binding.binding_rev}
    evidence.note(db, stamp, "label.bound", (evidence.label_subject(label_id), *map(evidence.item_subject, items)), bound, actor=actor)
    emit(db, stamp, EventKind.LABEL, bound | {"by": actor}, salt=f"bind {label_id} {binding.binding_rev}")
    delta.outbox_grew = True
    return binding, delta


def may_have_shown(db: Db, stamp: Stamp, label_id: str, items: Iterable[ItemId], delta: Delta) -> None:
    """The label is or was bound to these items: what is unknown of its display bounds them, too."""
    for item_id in items:
        if db.execute("INSERT OR IGNORE INTO ever_bound VALUES (?, ?) RETURNING 1", (label_id, item_id)).get is not None:
            unknown.bound(db, stamp, label_id, item_id, delta)
    label_changed(db, label_id, delta)


def take_attempt_id(db: Db) -> AttemptId:
    """A number of its own for an attempt that is yet to be drawn. UNKNOWN rows take theirs from the same sequence."""
    taken = db.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'attempt' RETURNING seq").get
    if taken is None:  # no attempt was ever written
        db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('attempt', 1)")
        taken = 1
    assert isinstance(taken, int)
    return AttemptId(taken)


def begin_attempt(db: Db, stamp: Stamp, new: NewAttempt) -> tuple[None, Delta]:
    """Write an attempt into the may-set, with the radio that is about to offer it. Only after this commits may bytes leave.

    Raises Refused for a retired label: nothing is ever sent to it.
    """
    if db.execute("SELECT 1 FROM label WHERE label_id = ? AND retired <> ''", (new.label_id,)).get is not None:
        raise Refused(f"label {new.label_id} is retired")
    db.execute(
        "INSERT INTO attempt(attempt_id, label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms, "
        "since_boot_id, since_ms) VALUES (?, ?, 'picture', 'open', ?, ?, ?, ?, ?, ?, ?)",
        (
            new.attempt_id,
            new.label_id,
            new.content_hash,
            new.picture_hash,
            new.payload_md5,
            new.fields,
            stamp.wall_ms,
            stamp.boot_id,
            stamp.now_ms,
        ),
    )
    for offer in new.offers:
        db.execute(
            "INSERT INTO attempt_offer VALUES (?, ?, ?, ?, ?, ?)",
            (new.attempt_id, offer.page, offer.audience, offer.item_id, codec.curve_text(offer.curve), offer.row_id),
        )
    evidence.attempt_sent(db, stamp, new.attempt_id, new.label_id, new.radio_id)
    if new.radio_id:
        offer_by_radio(db, stamp, new.attempt_id, new.label_id, new.radio_id, new.lifetime_ms)
    delta = Delta()
    delta.may[new.label_id, new.attempt_id] = codec.read_may(db, new.attempt_id)
    return None, delta


def attempt_fields(db: Db, attempt_id: int) -> str:
    """The JSON that drew an attempt; "" for one that no picture of ours stands for."""
    found = db.execute("SELECT fields FROM attempt WHERE attempt_id = ?", (attempt_id,)).get
    return "" if found is None else str(found)


def offer_by_radio(db: Db, stamp: Stamp, attempt_id: int, label_id: str, radio_id: str, lifetime_ms: int) -> None:
    """Note that a radio is about to offer an attempt, from now on for at most `lifetime_ms`."""
    db.execute(
        "INSERT INTO radio_offer VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT(attempt_id, radio_id) DO UPDATE SET "
        "boot_id = excluded.boot_id, offered_ms = excluded.offered_ms, lifetime_ms = excluded.lifetime_ms, cleared = 0",
        (attempt_id, label_id, radio_id, stamp.boot_id, stamp.now_ms, lifetime_ms),
    )


def clear_offers(db: Db, stamp: Stamp, label_id: str, radio_id: str, below_attempt_id: int | None) -> tuple[None, Delta]:
    """A radio acknowledged that it forgot its offers for the label: all of them, or those older than an attempt."""
    db.execute(
        "UPDATE radio_offer SET cleared = 1, boot_id = ?, offered_ms = ? "
        "WHERE label_id = ? AND radio_id = ? AND cleared = 0 AND attempt_id < ?",
        (stamp.boot_id, stamp.now_ms, label_id, radio_id, below_attempt_id if below_attempt_id is not None else ANY_ATTEMPT),
    )
    return None, Delta()


def accept_offer(db: Db, stamp: Stamp, label_id: str, radio_id: str, attempt_id: int) -> tuple[None, Delta]:
    """A radio offers an attempt from now on, which may be long after it was handed over, and has forgotten the older ones."""
    db.execute(
        "UPDATE radio_offer SET boot_id = ?, offered_ms = ?, cleared = 0 WHERE attempt_id = ? AND radio_id = ?",
        (stamp.boot_id, stamp.now_ms, attempt_id, radio_id),
    )
    return clear_offers(db, stamp, label_id, radio_id, attempt_id)


def offering_radios(db: Db, label_id: str, below_attempt_id: int) -> list[str]:
    """Radios that never said they forgot an attempt older than `below_attempt_id`: they may hold it without offering it yet."""
    found = db.execute(
        "SELECT DISTINCT radio_id FROM radio_offer WHERE label_id = ? AND cleared = 0 AND attempt_id < ?", (label_id, below_attempt_id)
    )
    return [str(radio_id) for (radio_id,) in found]


def lingering_radios(db: Db, stamp: Stamp, label_id: str, below_attempt_id: int) -> list[str]:
    """Radios that may still hand the label an attempt older than `below_attempt_id`."""
    found = db.execute(
        "SELECT DISTINCT radio_id FROM radio_offer WHERE label_id = ? AND cleared = 0 AND attempt_id < ? "
        "AND NOT (boot_id = ? AND ? - offered_ms > lifetime_ms)",
        (label_id, below_attempt_id, stamp.boot_id, stamp.now_ms),
    )
    return [str(radio_id) for (radio_id,) in found]


def recent_radios(db: Db, stamp: Stamp, label_id: str, below_attempt_id: int, margin_ms: int) -> list[str]:
    """Radios that may have handed the label a member of its may-set older than `below_attempt_id` within the last `margin_ms`."""
    found = db.execute(
        "SELECT DISTINCT radio_id FROM radio_offer AS r JOIN attempt AS a USING (attempt_id) WHERE r.label_id = ? AND attempt_id < ? "
        "AND a.state IN ('open', 'proven') AND NOT (boot_id = ? AND ? - offered_ms >= ? + CASE cleared WHEN 0 THEN lifetime_ms ELSE 0 END)",
        (label_id, below_attempt_id, stamp.boot_id, stamp.now_ms, margin_ms),
    )
    return [str(radio_id) for (radio_id,) in found]


def note_progress(db: Db, stamp: Stamp, attempt_id: int, stage: str) -> tuple[None, Delta]:
    """First time on the air (`on_air`) or stored (`stored`). Stored: also whether no radio could bring an older one after it."""
    column = {"on_air": "on_air_wall_ms", "stored": "stored_wall_ms"}[stage]
    db.execute(f"UPDATE attempt SET {column} = coalesce({column}, ?) WHERE attempt_id = ?", (stamp.wall_ms, attempt_id))  # noqa: S608
    if stage == "stored":
        label_id = db.execute("SELECT label_id FROM attempt WHERE attempt_id = ?", (attempt_id,)).get
        is_last = not lingering_radios(db, stamp, str(label_id), attempt_id)
        db.execute("UPDATE attempt SET stored_last = ? WHERE attempt_id = ?", (int(is_last), attempt_id))
    return None, Delta()


def note_failure(db: Db, stamp: Stamp, attempt_id: int, reason: str, detail: str) -> tuple[None, Delta]:
    """An attempt ended without proof. It stays in the may-set."""
    db.execute("UPDATE attempt SET outcome = ? WHERE attempt_id = ?", (reason, attempt_id))
    record(db, stamp, "store", "attempt.failed", {"attempt": attempt_id, "reason": reason, "detail": detail})
    return None, Delta()


def prove(
    db: Db, stamp: Stamp, label_id: str, attempt_id: int, grade: str, *, accepted: bool, dwell_ms: int, looked: bool = False
) -> tuple[bool, Delta]:
    """An attempt is on the panel. Older members of the may-set go, unless a radio may have brought one of them after it.

    An older offer must have been cleared or outlived when this attempt was stored, not only by now: between the two the label may
    have fetched the older one from another radio. False: nothing was removed; send again. `accepted` False (a grade that the owner
    does not let bind a rise): the proof is recorded, the older members stay for a person. Newer attempts always stay, and so does
    everything of a retired label: nobody can say what it will show when it comes back. `looked`: a person sees the panel now, so it
    does not matter when the bytes were stored, and a display that became unknown since is known again.
    """
    delta = Delta()
    row = db.execute(
        f"SELECT stored_last, grade, retired FROM attempt JOIN label USING (label_id) WHERE attempt_id = ? AND label_id = ? AND {_MAY}",  # noqa: S608
        (attempt_id, label_id),
    )
    found = row.fetchone()
    if found is None:
        return False, delta
    stored_last, known_grade, retired = found
    if retired:
        record(db, stamp, "store", "attempt.shown_while_retired", {"label": label_id, "attempt": attempt_id, "grade": grade})
        return False, delta
    if (stored_last == 0 and not looked) or lingering_radios(db, stamp, label_id, attempt_id):
        record(db, stamp, "store", "attempt.shown_but_older_offers_linger", {"label": label_id, "attempt": attempt_id})
        return False, delta
    db.execute(
        "UPDATE attempt SET state = 'proven', grade = ?, proven_wall_ms = ?, outcome = 'proven' WHERE attempt_id = ?",
        (max(grade, known_grade or grade, key=_GRADES.index), stamp.wall_ms, attempt_id),
    )
    db.execute("UPDATE label SET unknown_since_log_id = (SELECT coalesce(max(log_id), 0) FROM target_log) WHERE label_id = ?", (label_id,))
    db.execute(
        "INSERT OR IGNORE INTO first_proven SELECT ?, row_id, attempt_id, ?, ? FROM attempt_offer WHERE attempt_id = ? AND row_id NOT NULL",
        (label_id, grade, stamp.wall_ms, attempt_id),
    )
    if accepted:
        older = db.execute(
            f"SELECT attempt_id FROM attempt WHERE label_id = ?1 AND {_MAY} AND (attempt_id < ?2 OR (?3 AND kind = 'unknown'))",  # noqa: S608
            (label_id, attempt_id, looked),
        )
        untold = unknown.waits_for_history(db, label_id)
        for (old_id,) in older.fetchall():
            supersede(db, stamp, old_id, attempt_id, dwell_ms, untold=untold)
            delta.may[label_id, old_id] = codec.read_may(db, old_id)
    evidence.attempt_proven(db, stamp, attempt_id, label_id, grade, accepted=accepted, went=delta.may)
    delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)
    return True, delta


def supersede(db: Db, stamp: Stamp, old_id: int, new_id: int, dwell_ms: int, *, untold: bool = False) -> None:
    """Off the panel now. It bounds for the dwell where it promised less than the picture that replaced it.

    `untold`: what an unknown display showed is still to be told, which may be less.
    """
    old, new = codec.read_may(db, old_id), codec.read_may(db, new_id)
    assert old is not None
    assert new is not None
    promised_less = (untold and old.kind is MayKind.UNKNOWN) or any(outlasts(offer, new.offers) for offer in old.offers)
    state, kept_ms = (MayState.GONE, dwell_ms) if promised_less and dwell_ms > 0 else ("past", 0)
    db.execute(
        "UPDATE attempt SET state = ?, gone_boot_id = ?, gone_ms = ?, dwell_ms = ? WHERE attempt_id = ?",
        (str(state), stamp.boot_id, stamp.now_ms, kept_ms, old_id),
    )


def end_dwell(db: Db, stamp: Stamp, keys: Iterable[tuple[str, int]]) -> tuple[None, Delta]:
    """These GONE attempts no longer bound anything."""
    delta = Delta()
    for label_id, attempt_id in keys:
        db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ? AND state = 'gone'", (attempt_id,))
        over = {"label": label_id, "attempt": attempt_id}
        evidence.note(db, stamp, evidence.DWELL_OVER, (evidence.label_subject(label_id),), over)
        delta.may[label_id, attempt_id] = None
    return None, delta


def after_reboot(db: Db, stamp: Stamp) -> None:
    """`now_ms` readings of another boot are void: dwell, offers and quotes start anew, in full."""
    db.execute(
        "UPDATE attempt SET gone_boot_id = ?1, gone_ms = ?2 WHERE state = 'gone' AND gone_boot_id <> ?1", (stamp.boot_id, stamp.now_ms)
    )
    db.execute(
        "UPDATE attempt SET since_boot_id = ?1, since_ms = ?2 WHERE state = 'open' AND since_boot_id <> ?1", (stamp.boot_id, stamp.now_ms)
    )
    db.execute(
        "UPDATE radio_offer SET boot_id = ?1, offered_ms = ?2 WHERE boot_id <> ?1 AND (cleared = 0 OR attempt_id IN "
        "(SELECT attempt_id FROM attempt WHERE state IN ('open', 'proven')))",
        (stamp.boot_id, stamp.now_ms),
    )
    db.execute(
        "UPDATE retirement SET boot_id = ?1, now_ms = ?2 WHERE undone_wall_ms IS NULL AND boot_id <> ?1", (stamp.boot_id, stamp.now_ms)
    )
    db.execute("UPDATE guard_hold SET boot_id = ?1, since_ms = ?2 WHERE boot_id <> ?1", (stamp.boot_id, stamp.now_ms))
    db.execute("UPDATE quote SET boot_id = ?1, made_ms = ?2 WHERE state = 'live' AND boot_id <> ?1", (stamp.boot_id, stamp.now_ms))
