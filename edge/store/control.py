"""What HQ's "sys" stream changes in the file: settings, keys, cancellations, and what a restored copy has forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.model import EVERYBODY, MEMBERS, ItemId, Offer
from edge.store import catalogue, shelf, snapshots, streams, unknown
from edge.store import rows as codec
from edge.store.acks import Acks
from edge.store.catalogue import AnomalyLimits
from edge.store.db import Refused
from edge.store.hq_rows import Context, Rejection, curve_of, no_longer_waits
from edge.store.journal import RESTORED, get_meta, outbox_state, record, set_meta
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols import hq
from protocols.hq_control import Cancel, CancelTarget, ConfigPut, History, KeysPut, PastBinding, PastPrice, Settings, settings
from protocols.hq_enrol import Enrolment, parse_enrolment
from protocols.hq_events import Stage
from protocols.hq_fields import ROWS_MAX
from protocols.hq_seal import key_text
from render.errors import RenderError
from render.templates import load as load_template

CONFIG, KEYS = "hq_config", "hq_keys"  # keys of `meta`


# -- settings --------------------------------------------------------------------------------------------------------------


def put_config(db: Db, stamp: Stamp, wanted: ConfigPut, context: Context, source: str) -> None:
    """Take HQ's settings. The version only grows: a copy of an old message changes nothing. Raises Rejection."""
    current = read_config(db)
    if current is not None and wanted.version <= current.version:
        if wanted.version == current.version and wanted.sha256 == current.sha256:
            return
        raise Rejection(f"version {wanted.version} of the settings after version {current.version} {current.sha256}")
    name = settings(wanted.document).default_template
    if name is not None:
        try:
            load_template(name, context.templates)
        except RenderError as error:
            raise Rejection(f"labels.default_template: {error}") from None
    set_meta(db, CONFIG, codec.json_text(wanted))
    record(db, stamp, source, "hq.config", {"version": wanted.version, "document": wanted.document})


def read_config(db: Db) -> ConfigPut | None:
    """HQ's settings in force."""
    text = get_meta(db, CONFIG)
    return None if text is None else msgspec.json.decode(text, type=ConfigPut)


def overlaid(context: Context, db: Db) -> Context:
    """The store's own configuration under HQ's settings."""
    config = read_config(db)
    said = Settings() if config is None else settings(config.document)
    own = context.limits
    limits = AnomalyLimits(
        _or(said.anomaly_factor, own.factor),
        _or(said.anomaly_drop_percent, own.drop_percent),
        _or(said.anomaly_batch_percent, own.batch_percent),
    )
    return replace(context, limits=limits, default_template=said.default_template or context.default_template)


def _or(said: float | None, own: Fraction) -> Fraction:
    return own if said is None else Fraction(str(said))


# -- keys ------------------------------------------------------------------------------------------------------------------


def put_keys(db: Db, stamp: Stamp, wanted: KeysPut, kid: str, source: str) -> None:
    """Believe these keys from now on. `kid` signed the message. Raises Rejection."""
    enrolment = read_enrolment(db)
    if enrolment is None:
        raise Rejection("the store is not enrolled")
    said = {key.kid: key.public_key for key in wanted.keys}
    known = _texts(enrolment.keys)
    if said.get(kid) is None or said[kid] != known.get(kid):
        raise Rejection(f"key {kid}, which signed this, is not among the keys that are to follow")
    if wanted.revision <= enrolment.keys_revision:
        if wanted.revision == enrolment.keys_revision and said == known:
            return
        raise Rejection(f"revision {wanted.revision} of the keys after revision {enrolment.keys_revision}")
    set_meta(db, KEYS, codec.json_text(wanted))
    record(db, stamp, source, "hq.keys", {"revision": wanted.revision, "keys": said, "before": known})


def read_enrolment(db: Db) -> Enrolment | None:
    """Who HQ is: the file that was installed, with the keys that HQ's own messages put in their place since."""
    text = get_meta(db, "enrolment")
    if text is None:
        return None
    enrolment = parse_enrolment(text.encode())
    put = read_keys(db)
    if put is None or put.revision <= enrolment.keys_revision:
        return enrolment
    keys = {key.kid: hq.public_key(key.public_key) for key in put.keys}
    return replace(enrolment, keys=keys, keys_revision=put.revision)


def read_keys(db: Db) -> KeysPut | None:
    text = get_meta(db, KEYS)
    return None if text is None else msgspec.json.decode(text, type=KeysPut)


def check_enrolment(db: Db, wanted: Enrolment) -> None:
    """Raises Refused for a file whose keys are older than those that HQ has put in their place."""
    put = read_keys(db)
    if put is not None and wanted.keys_revision < put.revision:
        raise Refused(f"the file has revision {wanted.keys_revision} of HQ's keys, the store has revision {put.revision}")


def _texts(keys: Mapping[str, Ed25519PublicKey]) -> dict[str, str]:
    return {kid: key_text(key) for kid, key in keys.items()}


# -- cancellation ----------------------------------------------------------------------------------------------------------


def cancel(db: Db, stamp: Stamp, wanted: Cancel, source: str, acks: Acks, delta: Delta) -> list[str]:
    """Forget messages as far as they have had no effect. What could not be taken back, one line each."""
    stays = [
        f"{target.stream} {target.seq}{stays}"
        for target in wanted.targets
        if (stays := _cancel_one(db, stamp, target, wanted.reason, source, acks, delta))
    ]
    record(db, stamp, source, "hq.cancel", {"targets": wanted.targets, "reason": wanted.reason, "stays": stays})
    return stays


def _cancel_one(db: Db, stamp: Stamp, target: CancelTarget, reason: str, source: str, acks: Acks, delta: Delta) -> str:
    """What of a message stays; nothing where all of it is forgotten, or will be at its turn."""
    place = (target.stream, target.incarnation, target.seq)
    found = db.execute(
        "SELECT state, state = 'held' AND raw NOT NULL FROM inbox WHERE stream = ? AND incarnation = ? AND seq = ?", place
    ).fetchone()
    state, waits = found or ("", False)
    cursor = streams.cursors(db).get(target.stream)
    passed = found is None and cursor is not None and cursor.incarnation == target.incarnation and cursor.seq >= target.seq
    if waits or (found is None and not passed):
        db.execute("INSERT OR IGNORE INTO hq_cancel VALUES (?, ?, ?, ?)", (*place, reason))
    elif target.stream == hq.Stream.PRICE and (passed or state in (Stage.APPLIED, Stage.HELD)):
        return _cancel_prices(db, stamp, target, source, delta)
    elif target.stream == hq.Stream.BULK and state == Stage.RECEIVED:
        return _cancel_snapshot(db, target, reason, acks)
    elif passed or state == Stage.APPLIED:
        return " is applied, or a snapshot says what it said"
    return ""


def _cancel_snapshot(db: Db, target: CancelTarget, reason: str, acks: Acks) -> str:
    """A manifest takes its chunks with it; one of them alone cannot go."""
    at = snapshots.place(db)
    if at is None or at.incarnation != target.incarnation or at.seq > target.seq:
        return ""  # given up already
    if at.seq < target.seq:
        return " is a part of the snapshot that is being received: cancel its manifest"
    if snapshots.is_complete(db):
        return " is being put in force"
    snapshots.abandon(db, acks, f"cancelled by HQ{': ' if reason else ''}{reason}")
    return ""


def cancelled(db: Db, message: hq.Message) -> str | None:
    """Why a message must not be applied: HQ cancelled it before it came to its turn."""
    place = (str(message.stream), message.incarnation, message.seq)
    reason = db.execute("SELECT reason FROM hq_cancel WHERE stream = ? AND incarnation = ? AND seq = ?", place).get
    return None if reason is None else f"cancelled by HQ{': ' if reason else ''}{reason}"


def _cancel_prices(db: Db, stamp: Stamp, target: CancelTarget, source: str, delta: Delta) -> str:
    """Withdraw the message's prices for later and discard its held ones; what it keeps."""
    of_message = f"{target.incarnation}/{target.stream}/{target.seq}/"
    held, released = _held_of(db, of_message)
    for hold_id in held:
        catalogue.discard_hold(db, stamp, hold_id, "hq")
    pending = db.execute(
        "SELECT row_id, item_id, place_id FROM confirm_wait JOIN confirm_place USING (place_id) WHERE incarnation = ? AND stream = ? "
        "AND seq = ?",
        (target.incarnation, target.stream, target.seq),
    ).fetchall()
    rows = {**dict(released), **{int(row_id): ItemId(item_id) for row_id, item_id, _ in pending}}
    later = {row_id: item_id for row_id, item_id in rows.items() if not _was_in_force(db, stamp, item_id, row_id)}
    catalogue.withdraw(db, stamp, later.items(), source, delta)
    for row_id, item_id, place_id in pending:
        if row_id not in later:
            continue
        no_longer_waits(db, item_id, row_id, place_id)
        left = db.execute("SELECT 1 FROM confirm_wait WHERE item_id = ? LIMIT 1", (item_id,)).get
        delta.waiting[item_id] = left is not None
    if not pending:  # what it brought is on the shelf, or was: how much that is nobody has kept
        taken = len(held) + len(later)
        return f": {taken} prices are taken back, what else it brought stays"
    stays = _told_with(db, of_message, int(pending[0][0])) + len(released) - len(later)
    return f": {stays} prices are in force or were" if stays else ""


def _held_of(db: Db, of_message: str) -> tuple[list[str], list[tuple[int, ItemId]]]:
    """A message's price changes that wait for people, and the rows of those that people let through and that stand."""
    held = db.execute("SELECT hold_id, source FROM price_hold WHERE state = 'held'").fetchall()
    released = db.execute(
        "SELECT row_id, h.item_id FROM price_hold AS h JOIN price_row USING (item_id, price_id, rev) "
        "WHERE h.state = 'released' AND substr(h.source, 1, length(?1)) = ?1 "
        "AND row_id NOT IN (SELECT withdrawn_row_id FROM price_withdrawn)",
        (of_message,),
    ).fetchall()
    return [hold_id for hold_id, source in held if str(source).startswith(of_message)], [(int(n), ItemId(sku)) for n, sku in released]


def _told_with(db: Db, of_message: str, row_id: int) -> int:
    """How many rows a message brought, one of them known: they were written one after the other."""
    count = db.execute(
        "SELECT count(*) FROM price_row WHERE row_id BETWEEN ?1 - ?2 AND ?1 + ?2 AND substr(source, 1, length(?3)) = ?3 "
        "AND source NOT LIKE '% released'",
        (row_id, ROWS_MAX, of_message),
    ).get
    assert isinstance(count, int)
    return count


def _was_in_force(db: Db, stamp: Stamp, item_id: str, row_id: int) -> bool:
    if db.execute("SELECT 1 FROM target_log WHERE item_id = ? AND row_id = ? LIMIT 1", (item_id, row_id)).get is not None:
        return True
    start = db.execute("SELECT effective_from_ms FROM price_row WHERE row_id = ?", (row_id,)).get
    return isinstance(start, int) and start <= stamp.wall_ms


# -- a restored copy -------------------------------------------------------------------------------------------------------


def ask_since(db: Db, since_ms: int) -> None:
    """The file is a copy that knows nothing after this instant: HQ is asked. What an earlier copy still waits for is asked with it."""
    waiting = restored_since(db)
    set_meta(db, RESTORED, str(since_ms if waiting is None else min(waiting, since_ms)))


def restored_since(db: Db) -> int | None:
    """The instant after which this copy knows nothing, until HQ has told it; None where nothing is missing."""
    text = get_meta(db, RESTORED)
    return int(text) if text else None


def take_history(db: Db, stamp: Stamp, told: History, context: Context, source: str, delta: Delta) -> None:
    """What labels may have come to show while this copy was not looking, and the bindings made then. Raises Rejection."""
    if told.restored != outbox_state(db).incarnation:
        raise Rejection(f"history for incarnation {told.restored}, this one is {outbox_state(db).incarnation}")
    for binding in told.bindings:
        _past_binding(db, stamp, binding, context, source, delta)
    for price in told.prices:
        _past_price(db, stamp, price, delta)
    if told.last:
        set_meta(db, RESTORED, "")
        record(db, stamp, source, "hq.history", {"incarnation": told.restored})


def _past_binding(db: Db, stamp: Stamp, past: PastBinding, context: Context, source: str, delta: Delta) -> None:
    """The label may show these items. The binding itself counts where it is newer than the copy's."""
    shelf.ensure_label(db, stamp, past.label, context.label_kind, delta)
    items = tuple(ItemId(each) for each in past.items)
    shelf.may_have_shown(db, stamp, past.label, items, delta)
    place = past.place
    where = ("", "", "", "") if place is None else (place.aisle, place.bay, place.shelf, place.slot)
    db.execute(
        "INSERT INTO binding VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT(label_id) DO UPDATE SET items = ?2, template = ?3, "
        "aisle = ?4, bay = ?5, shelf = ?6, slot = ?7, binding_rev = ?8 WHERE binding_rev < ?8",
        (past.label, codec.json_text(items), past.template, *where, past.binding_rev),
    )
    row = db.execute(f"SELECT {codec.BINDING_COLUMNS} FROM binding WHERE label_id = ?", (past.label,)).fetchone()  # noqa: S608
    delta.bindings[past.label] = codec.binding_of(row)
    record(db, stamp, source, "label.bound_before", {"label": past.label, "items": items, "binding_rev": past.binding_rev})


def _past_price(db: Db, stamp: Stamp, past: PastPrice, delta: Delta) -> None:
    """Every unknown display that was ever bound to the item may show this offer, or showed it a moment ago.

    Whom it was for is not told: it bounds what everybody pays, and may stand beside another price, as one for members does.
    """
    for audience in (MEMBERS, EVERYBODY):
        offer = Offer(ItemId(past.sku), curve_of(past.curve, past.price_quantity), audience=audience)
        unknown.told(db, stamp, offer, delta, dwelling=True)
