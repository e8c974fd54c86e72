"""What HQ's "sys" stream changes in the file: settings, keys, cancellations, and what a restored copy has forgotten."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge.model import EVERYBODY, MEMBERS, ItemId, Offer
from edge.store import catalogue, shelf, unknown
from edge.store import rows as codec
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


def cancel(db: Db, stamp: Stamp, wanted: Cancel, source: str, delta: Delta) -> list[str]:
    """Forget messages as far as they have had no effect. What could not be taken back, one line each."""
    stays: list[str] = []
    for target in wanted.targets:
        place = (target.stream, target.incarnation, target.seq)
        found = db.execute(
            "SELECT state, state = 'held' AND raw NOT NULL FROM inbox WHERE stream = ? AND incarnation = ? AND seq = ?", place
        ).fetchone()
        state, waits = found or ("", True)
        if waits:
            db.execute("INSERT OR IGNORE INTO hq_cancel VALUES (?, ?, ?, ?)", (*place, wanted.reason))
        elif target.stream == hq.Stream.PRICE and state in (Stage.APPLIED, Stage.HELD):
            left = _cancel_prices(db, stamp, target, source, delta)
            if left:
                stays.append(f"{target.stream} {target.seq}: {left} prices are in force or were")
        elif state == Stage.APPLIED:
            stays.append(f"{target.stream} {target.seq} is applied")
    record(db, stamp, source, "hq.cancel", {"targets": wanted.targets, "reason": wanted.reason, "stays": stays})
    return stays


def cancelled(db: Db, message: hq.Message) -> str | None:
    """Why a message must not be applied: HQ cancelled it before it came to its turn."""
    place = (str(message.stream), message.incarnation, message.seq)
    reason = db.execute("SELECT reason FROM hq_cancel WHERE stream = ? AND incarnation = ? AND seq = ?", place).get
    return None if reason is None else f"cancelled by HQ{': ' if reason else ''}{reason}"


def _cancel_prices(db: Db, stamp: Stamp, target: CancelTarget, source: str, delta: Delta) -> int:
    """Withdraw the message's prices for later and its held ones; how many prices it keeps."""
    of_message = f"{target.incarnation}/{target.stream}/{target.seq}/"
    for hold_id, held_from in db.execute("SELECT hold_id, source FROM price_hold WHERE state = 'held'").fetchall():
        if str(held_from).startswith(of_message):
            catalogue.discard_hold(db, stamp, hold_id, "hq")
    pending = db.execute(
        "SELECT row_id, item_id, place_id FROM confirm_wait JOIN confirm_place USING (place_id) WHERE incarnation = ? AND stream = ? "
        "AND seq = ?",
        (target.incarnation, target.stream, target.seq),
    ).fetchall()
    later = [
        (int(row_id), ItemId(item_id), int(place_id))
        for row_id, item_id, place_id in pending
        if not _was_in_force(db, stamp, item_id, row_id)
    ]
    catalogue.withdraw(db, stamp, [(row_id, item_id) for row_id, item_id, _ in later], source, delta)
    for row_id, item_id, place_id in later:
        no_longer_waits(db, item_id, row_id, place_id)
        left = db.execute("SELECT 1 FROM confirm_wait WHERE item_id = ? LIMIT 1", (item_id,)).get
        delta.waiting[item_id] = left is not None
    return len(pending) - len(later)


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
