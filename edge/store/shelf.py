"""Labels, bindings and may-sets. What a label may show is written here before its bytes leave, and removed only by proof."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from drivers.base import LabelProfile, LabelSeen
from edge.model import LABEL_ITEMS_MAX, AttemptId, Binding, ItemId, LabelState, MayState, Offer, Place
from edge.store import rows as codec
from edge.store.catalogue import lowest_targets
from edge.store.db import Refused
from edge.store.journal import emit, record
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind
from render.errors import RenderError
from render.fields import TemplateSource
from render.templates import load as load_template

_MAY = "state IN ('open', 'proven')"


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
    radio_id: str
    lifetime_ms: int


def ensure_label(db: Db, stamp: Stamp, label_id: str, kind: str, delta: Delta) -> LabelState:
    """The label's row; a new one starts with an unknown display."""
    row = db.execute(f"SELECT {codec.LABEL_COLUMNS} FROM label WHERE label_id = ?", (label_id,)).fetchone()  # noqa: S608
    if row is None:
        db.execute(
            "INSERT INTO label(label_id, kind, panel, codecs, slot_bytes, firmware, last_radio, last_seen_wall_ms) "
            "VALUES (?, ?, '', '[]', 0, 0, '', 0)",
            (label_id, kind),
        )
        record(db, stamp, "store", "label.new", {"label": label_id})
        add_unknown(db, stamp, label_id, "never seen before", delta)
    return _label_changed(db, label_id, delta)


def _label_changed(db: Db, label_id: str, delta: Delta) -> LabelState:
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
        _label_changed(db, event.label_id, delta)
    return None, delta


def add_unknown(db: Db, stamp: Stamp, label_id: str, why: str, delta: Delta) -> int:
    """Add UNKNOWN to the label's may-set: it bounds each item the label was ever bound to by its lowest target since proof.

    Where the newest member is UNKNOWN already, nothing is added: a label that restarts again and again grows nothing.
    """
    newest = db.execute("SELECT attempt_id, kind, state FROM attempt WHERE label_id = ? ORDER BY attempt_id DESC LIMIT 1", (label_id,))
    last = newest.fetchone()
    if last is not None and last[1:] == ("unknown", "open"):
        return int(last[0])
    since = db.execute("SELECT unknown_since_log_id FROM label WHERE label_id = ?", (label_id,)).get
    db.execute(
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES (?, 'unknown', 'open', '', '', '', '', ?)",
        (label_id, stamp.wall_ms),
    )
    attempt_id = db.last_insert_rowid()
    for (item_id,) in db.execute("SELECT item_id FROM ever_bound WHERE label_id = ?", (label_id,)).fetchall():
        _bound_unknown(db, attempt_id, item_id, since if isinstance(since, int) else 0)
    record(db, stamp, "store", "label.unknown", {"label": label_id, "attempt": attempt_id, "why": why})
    delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)
    return attempt_id


def _bound_unknown(db: Db, attempt_id: int, item_id: str, since_log_id: int) -> None:
    for curve, row_id in lowest_targets(db, item_id, since_log_id):
        db.execute("INSERT INTO attempt_offer VALUES (?, 0, 'all', ?, ?, ?)", (attempt_id, item_id, codec.curve_text(curve), row_id))


def unknown_everywhere(db: Db, stamp: Stamp, why: str, delta: Delta) -> None:
    """A new incarnation: nothing is known of any display."""
    for (label_id,) in db.execute("SELECT label_id FROM label ORDER BY label_id").fetchall():
        add_unknown(db, stamp, label_id, why, delta)


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
    since = db.execute("SELECT unknown_since_log_id FROM label WHERE label_id = ?", (label_id,)).get
    for item_id in items:
        if item_id in label.ever_bound:
            continue
        db.execute("INSERT OR IGNORE INTO ever_bound VALUES (?, ?)", (label_id, item_id))
        unknown = db.execute("SELECT attempt_id FROM attempt WHERE label_id = ? AND kind = 'unknown' AND state = 'open'", (label_id,))
        for (attempt_id,) in unknown.fetchall():
            _bound_unknown(db, attempt_id, item_id, since if isinstance(since, int) else 0)
            delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)
    _label_changed(db, label_id, delta)
    delta.bindings[label_id] = binding
    bound = {"event": "label.bound", "label": label_id, "items": items, "template": template, "binding_rev": binding.binding_rev}
    record(db, stamp, actor, "label.bound", bound)
    emit(db, stamp, EventKind.LABEL, bound | {"by": actor}, salt=f"bind {label_id} {binding.binding_rev}")
    delta.outbox_grew = True
    return binding, delta


def take_attempt_id(db: Db) -> AttemptId:
    """A number of its own for an attempt that is yet to be drawn. UNKNOWN rows take theirs from the same sequence."""
    taken = db.execute("UPDATE sqlite_sequence SET seq = seq + 1 WHERE name = 'attempt' RETURNING seq").get
    if taken is None:  # no attempt was ever written
        db.execute("INSERT INTO sqlite_sequence(name, seq) VALUES ('attempt', 1)")
        taken = 1
    assert isinstance(taken, int)
    return AttemptId(taken)


def begin_attempt(db: Db, stamp: Stamp, new: NewAttempt) -> tuple[None, Delta]:
    """Write an attempt into the may-set, with the radio that is about to offer it. Only after this commits may bytes leave."""
    db.execute(
        "INSERT INTO attempt(attempt_id, label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES (?, ?, 'picture', 'open', ?, ?, ?, ?, ?)",
        (new.attempt_id, new.label_id, new.content_hash, new.picture_hash, new.payload_md5, new.fields, stamp.wall_ms),
    )
    for offer in new.offers:
        db.execute(
            "INSERT INTO attempt_offer VALUES (?, ?, ?, ?, ?, ?)",
            (new.attempt_id, offer.page, offer.audience, offer.item_id, codec.curve_text(offer.curve), offer.row_id),
        )
    record(
        db,
        stamp,
        "store",
        "attempt.sent",
        {"label": new.label_id, "attempt": new.attempt_id, "picture": new.picture_hash, "radio": new.radio_id},
    )
    offer_by_radio(db, stamp, new.attempt_id, new.label_id, new.radio_id, new.lifetime_ms)
    delta = Delta()
    delta.may[new.label_id, new.attempt_id] = codec.read_may(db, new.attempt_id)
    return None, delta


def offer_by_radio(db: Db, stamp: Stamp, attempt_id: int, label_id: str, radio_id: str, lifetime_ms: int) -> None:
    """Note that a radio is about to offer an attempt, from now on for at most `lifetime_ms`."""
    db.execute(
        "INSERT INTO radio_offer VALUES (?, ?, ?, ?, ?, ?, 0) ON CONFLICT(attempt_id, radio_id) DO UPDATE SET "
        "boot_id = excluded.boot_id, offered_ms = excluded.offered_ms, lifetime_ms = excluded.lifetime_ms, cleared = 0",
        (attempt_id, label_id, radio_id, stamp.boot_id, stamp.now_ms, lifetime_ms),
    )


def clear_offers(db: Db, label_id: str, radio_id: str, below_attempt_id: int | None) -> tuple[None, Delta]:
    """A radio acknowledged that it forgot its offers for the label: all of them, or those older than an attempt."""
    db.execute(
        "UPDATE radio_offer SET cleared = 1 WHERE label_id = ? AND radio_id = ? AND cleared = 0 AND attempt_id < ?",
        (label_id, radio_id, below_attempt_id if below_attempt_id is not None else 2**62),
    )
    return None, Delta()


def accept_offer(db: Db, stamp: Stamp, label_id: str, radio_id: str, attempt_id: int) -> tuple[None, Delta]:
    """A radio offers an attempt from now on, which may be long after it was handed over, and has forgotten the older ones."""
    db.execute(
        "UPDATE radio_offer SET boot_id = ?, offered_ms = ?, cleared = 0 WHERE attempt_id = ? AND radio_id = ?",
        (stamp.boot_id, stamp.now_ms, attempt_id, radio_id),
    )
    return clear_offers(db, label_id, radio_id, attempt_id)


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


def prove(db: Db, stamp: Stamp, label_id: str, attempt_id: int, grade: str, *, accepted: bool, dwell_ms: int) -> tuple[bool, Delta]:
    """An attempt is on the panel. Older members of the may-set go, unless a radio may have brought one of them after it.

    An older offer must have been cleared or outlived when this attempt was stored, not only by now: between the two the label may
    have fetched the older one from another radio. False: nothing was removed; send again. `accepted` False (a grade that the owner
    does not let bind a rise): the proof is recorded, the older members stay for a person. Newer attempts always stay.
    """
    delta = Delta()
    row = db.execute(f"SELECT stored_last FROM attempt WHERE attempt_id = ? AND label_id = ? AND {_MAY}", (attempt_id, label_id))  # noqa: S608
    found = row.fetchone()
    if found is None:
        return False, delta
    if found[0] == 0 or lingering_radios(db, stamp, label_id, attempt_id):
        record(db, stamp, "store", "attempt.shown_but_older_offers_linger", {"label": label_id, "attempt": attempt_id})
        return False, delta
    db.execute(
        "UPDATE attempt SET state = 'proven', grade = ?, proven_wall_ms = ?, outcome = 'proven' WHERE attempt_id = ?",
        (grade, stamp.wall_ms, attempt_id),
    )
    db.execute("UPDATE label SET unknown_since_log_id = (SELECT coalesce(max(log_id), 0) FROM target_log) WHERE label_id = ?", (label_id,))
    db.execute(
        "INSERT OR IGNORE INTO first_proven SELECT ?, row_id, attempt_id, ?, ? FROM attempt_offer WHERE attempt_id = ? AND row_id NOT NULL",
        (label_id, grade, stamp.wall_ms, attempt_id),
    )
    record(db, stamp, "store", "attempt.proven", {"label": label_id, "attempt": attempt_id, "grade": grade, "bound": accepted})
    if accepted:
        older = db.execute(f"SELECT attempt_id FROM attempt WHERE label_id = ? AND attempt_id < ? AND {_MAY}", (label_id, attempt_id))  # noqa: S608
        for (old_id,) in older.fetchall():
            _retire_attempt(db, stamp, label_id, old_id, attempt_id, dwell_ms)
            delta.may[label_id, old_id] = codec.read_may(db, old_id)
    delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)
    return True, delta


def _retire_attempt(db: Db, stamp: Stamp, label_id: str, old_id: int, new_id: int, dwell_ms: int) -> None:
    """Off the panel now. It bounds for the dwell where it promised less than the picture that replaced it."""
    old, new = codec.read_may(db, old_id), codec.read_may(db, new_id)
    assert old is not None
    assert new is not None
    now_offered = {offer.item_id: offer.curve for offer in new.offers}
    promised_less = any(offer.item_id not in now_offered or now_offered[offer.item_id].is_above(offer.curve) for offer in old.offers)
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
        record(db, stamp, "store", "attempt.dwell_over", {"label": label_id, "attempt": attempt_id})
        delta.may[label_id, attempt_id] = None
    return None, delta


def after_reboot(db: Db, stamp: Stamp) -> None:
    """`now_ms` readings of another boot are void: dwell, offers and quotes start anew, in full."""
    db.execute(
        "UPDATE attempt SET gone_boot_id = ?1, gone_ms = ?2 WHERE state = 'gone' AND gone_boot_id <> ?1", (stamp.boot_id, stamp.now_ms)
    )
    db.execute("UPDATE radio_offer SET boot_id = ?1, offered_ms = ?2 WHERE cleared = 0 AND boot_id <> ?1", (stamp.boot_id, stamp.now_ms))
    db.execute("UPDATE quote SET boot_id = ?1, made_ms = ?2 WHERE state = 'live' AND boot_id <> ?1", (stamp.boot_id, stamp.now_ms))
