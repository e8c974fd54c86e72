"""Items, prices and what is in force: rows in, target out. One path for HQ batches, snapshots and CSV files."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from edge import pricing
from edge.model import Curve, InForce, Item, ItemId, Offer, PriceKind, PriceRow
from edge.store import evidence
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.journal import make_id
from edge.store.rows import Db, Stamp
from edge.view import Delta

BATCH_ANOMALY_ITEMS_MIN = 20  # below this many items a share of the catalogue says nothing
LOG_CURVES_MAX = 24  # distinct past offers that bound an unknown display; beyond, the cheapest ones are kept


@dataclass(frozen=True, slots=True)
class NewRow:
    """A price row as it arrives, before it has a row id. `effective_from_ms` None: in force at once."""

    item_id: ItemId
    kind: PriceKind
    price_id: str
    rev: int
    curve: Curve | None  # None only in a cancelled row: the old curve stays written
    effective_from_ms: int | None
    effective_to_ms: int | None
    cancelled: bool


@dataclass(frozen=True, slots=True)
class AnomalyLimits:
    """When a change is held for a person instead of applied (docs/reference/price-guard.md)."""

    factor: Fraction
    drop_percent: Fraction
    batch_percent: Fraction


@dataclass(slots=True)
class Applied:
    """What became of a batch: rows stored and rows held, for the staged ack."""

    rows: list[PriceRow]
    held: list[str]
    stale: int = 0


def put_items(db: Db, items: Iterable[tuple[Item, tuple[tuple[str, int], ...]]], delta: Delta) -> None:
    """Insert or replace items with their (gtin14, pack_quantity) codes. A code belongs to the item that named it last."""
    for item, codes in items:
        marks = ", ".join("?" * 18)
        db.execute(f"INSERT OR REPLACE INTO item({codec.ITEM_COLUMNS}) VALUES ({marks})", codec.item_values(item))  # noqa: S608
        for (gone,) in db.execute("SELECT gtin14 FROM barcode WHERE item_id = ?", (item.item_id,)).fetchall():
            delta.barcodes[gone] = None
        db.execute("DELETE FROM barcode WHERE item_id = ?", (item.item_id,))
        for gtin14, pack_quantity in codes:
            db.execute("INSERT OR REPLACE INTO barcode VALUES (?, ?, ?)", (gtin14, item.item_id, pack_quantity))
            delta.barcodes[gtin14] = (item.item_id, pack_quantity)
        delta.items[item.item_id] = item


def remove_items(db: Db, item_ids: Iterable[ItemId], delta: Delta) -> None:
    """Tombstones: the item is no longer sold, its history, its labels and their bounds stay."""
    for item_id in item_ids:
        db.execute("UPDATE item SET removed = 1 WHERE item_id = ?", (item_id,))
        row = db.execute(f"SELECT {codec.ITEM_COLUMNS} FROM item WHERE item_id = ?", (item_id,)).fetchone()  # noqa: S608
        if row is not None:
            delta.items[item_id] = codec.item_of(row)


def apply_rows(db: Db, stamp: Stamp, new_rows: Iterable[NewRow], source: str, limits: AnomalyLimits | None, delta: Delta) -> Applied:
    """Store price rows (older or equal revs are stale) and put in force what is due. `limits` None: a person released them."""
    applied = Applied([], [])
    accepted: list[NewRow] = []
    touched: dict[ItemId, None] = {}
    for new in new_rows:
        known = db.execute(
            "SELECT rev, row_id FROM price_row WHERE item_id = ? AND price_id = ? ORDER BY rev DESC LIMIT 1", (new.item_id, new.price_id)
        ).fetchone()
        if known is None or known[0] < new.rev:
            accepted.append(new)
            continue
        applied.stale += 1
        if known[0] == new.rev and db.execute("DELETE FROM price_withdrawn WHERE withdrawn_row_id = ? RETURNING 1", (known[1],)).get:
            touched[new.item_id] = None  # HQ has it again
    for new, reason in _anomalies(db, accepted, limits):
        accepted.remove(new)
        applied.held.append(_hold(db, stamp, new, reason, source))
    for new in accepted:
        applied.rows.append(_store_row(db, stamp, new, source))
        db.execute(
            "UPDATE price_hold SET state = 'superseded' WHERE item_id = ? AND price_id = ? AND rev < ? AND state = 'held'",
            (new.item_id, new.price_id, new.rev),
        )
    _compare(db, stamp, touched | {row.item_id: None for row in applied.rows}, delta)
    return applied


def _compare(db: Db, stamp: Stamp, item_ids: Iterable[ItemId], delta: Delta) -> None:
    """These items' rows changed: read them again and put in force what is due."""
    before = evidence.last_target(db)
    for item_id in item_ids:
        delta.rows[item_id] = codec.read_rows(db, item_id)
        _put_in_force(db, stamp, item_id, delta)
    evidence.targets(db, stamp, before)


def withdraw_rows(db: Db, stamp: Stamp, named: set[tuple[str, str]], is_newer: Callable[[str], bool], source: str, delta: Delta) -> None:
    """Prices that a whole catalogue does not name (by item and price id) are no longer HQ's, as if cancelled.

    `is_newer` says of a row's source whether it came after that catalogue was written.
    """
    found = db.execute(
        "SELECT row_id, item_id, price_id, source FROM price_row AS p WHERE NOT cancelled AND NOT EXISTS "
        "(SELECT 1 FROM price_row AS n WHERE n.item_id = p.item_id AND n.price_id = p.price_id AND n.rev > p.rev)"
    ).fetchall()
    touched: dict[ItemId, None] = {}
    for row_id, item_id, price_id, row_source in found:
        if (item_id, price_id) not in named and not is_newer(row_source):
            db.execute("INSERT OR IGNORE INTO price_withdrawn VALUES (?, ?)", (row_id, source))
            touched[ItemId(item_id)] = None
    _compare(db, stamp, touched, delta)


def _store_row(db: Db, stamp: Stamp, new: NewRow, source: str) -> PriceRow:
    from_ms = new.effective_from_ms
    if from_ms is None:
        current = codec.read_in_force(db, new.item_id)
        from_ms = max(stamp.wall_ms, current.latched_through_ms if current else 0)
    curve = new.curve or _last_curve(db, new)
    db.execute(
        "INSERT INTO price_row(item_id, kind, price_id, rev, effective_from_ms, effective_to_ms, curve, immediate, cancelled, source, "
        "received_wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            new.item_id,
            str(new.kind),
            new.price_id,
            new.rev,
            from_ms,
            new.effective_to_ms,
            codec.curve_text(curve),
            int(new.effective_from_ms is None),
            int(new.cancelled),
            source,
            stamp.wall_ms,
        ),
    )
    return PriceRow(
        db.last_insert_rowid(),
        new.item_id,
        new.kind,
        new.price_id,
        new.rev,
        from_ms,
        new.effective_to_ms,
        curve,
        new.effective_from_ms is None,
        new.cancelled,
    )


def _last_curve(db: Db, new: NewRow) -> Curve:
    text = db.execute(
        "SELECT curve FROM price_row WHERE item_id = ? AND price_id = ? ORDER BY rev DESC LIMIT 1", (new.item_id, new.price_id)
    ).get
    if text is None:
        return Curve.plain(0)  # cancelled before it was ever known: never in force
    return codec.curve_of(str(text))


def put_in_force(db: Db, stamp: Stamp, item_ids: Iterable[ItemId], delta: Delta) -> None:
    """Compare what should be in force for these items with what is, in the caller's transaction; log the changes."""
    before = evidence.last_target(db)
    for item_id in item_ids:
        _put_in_force(db, stamp, item_id, delta)
    evidence.targets(db, stamp, before)


def _put_in_force(db: Db, stamp: Stamp, item_id: ItemId, delta: Delta) -> None:
    current = codec.read_in_force(db, item_id)
    wanted = pricing.advance(current, codec.read_rows(db, item_id), stamp.wall_ms, clock_trusted=stamp.clock_trusted)
    if wanted is None:
        return
    db.execute(
        "INSERT INTO in_force(item_id, row_id, latched_through_ms) VALUES (?, ?, ?) ON CONFLICT(item_id) DO UPDATE "
        "SET row_id = excluded.row_id, latched_through_ms = excluded.latched_through_ms",
        (item_id, wanted.row.row_id, wanted.latched_through_ms),
    )
    db.execute("INSERT INTO target_log(item_id, row_id, from_wall_ms) VALUES (?, ?, ?)", (item_id, wanted.row.row_id, stamp.wall_ms))
    delta.in_force[item_id] = wanted
    _bound_unknown_displays(db, item_id, wanted, delta)


def _bound_unknown_displays(db: Db, item_id: ItemId, wanted: InForce, delta: Delta) -> None:
    """UNKNOWN bounds an item by its lowest target since the label was proven: a new target joins every such bound."""
    curve = codec.curve_text(wanted.row.curve)
    found = db.execute(
        "SELECT a.attempt_id, a.label_id FROM attempt AS a JOIN ever_bound AS e USING (label_id) WHERE e.item_id = ?1 "
        "AND a.kind = 'unknown' AND a.state = 'open' AND NOT EXISTS (SELECT 1 FROM attempt_offer AS o "
        "WHERE o.attempt_id = a.attempt_id AND o.item_id = ?1 AND o.curve = ?2 AND o.audience = 'all')",
        (item_id, curve),
    ).fetchall()
    for attempt_id, label_id in found:
        entry = codec.read_may(db, attempt_id)
        if entry is not None and not pricing.outlasts(Offer(item_id, wanted.row.curve), entry.offers):
            continue  # an offer at or below it is there already
        db.execute("INSERT INTO attempt_offer VALUES (?, 0, 'all', ?, ?, ?)", (attempt_id, item_id, curve, wanted.row.row_id))
        delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)


def lowest_targets(db: Db, item_id: str, after_log_id: int) -> list[tuple[Curve, int]]:
    """The undominated (curve, row_id) targets of an item since a point of the target log, and the one in force at that point."""
    found = db.execute(
        "SELECT DISTINCT p.curve, p.row_id FROM target_log AS t JOIN price_row AS p USING (row_id) WHERE t.item_id = ?1 AND t.log_id >= "
        "coalesce((SELECT max(log_id) FROM target_log WHERE item_id = ?1 AND log_id <= ?2), 0)",
        (item_id, after_log_id),
    )
    kept: list[tuple[Curve, int]] = []
    for text, row_id in found:
        curve = codec.curve_of(text)
        if any(not other.is_above(curve) for other, _ in kept):
            continue
        kept = [(other, row) for other, row in kept if curve.is_above(other)]
        kept.append((curve, row_id))
    return sorted(kept, key=lambda pair: pair[0].cost_minor(pair[0].points[0][0]))[:LOG_CURVES_MAX]


# -- anomaly stops ---------------------------------------------------------------------------------------------------------


def _anomalies(db: Db, accepted: list[NewRow], limits: AnomalyLimits | None) -> list[tuple[NewRow, str]]:
    if limits is None:
        return []
    before = {new.item_id: codec.read_in_force(db, new.item_id) for new in accepted}
    moved = [new for new in accepted if new.curve is not None and not new.cancelled]
    changed = [new for new in moved if (old := before[new.item_id]) is not None and new.curve != old.row.curve]
    total = db.execute("SELECT count(*) FROM in_force").get
    assert isinstance(total, int)
    items = len({new.item_id for new in changed})
    if items >= BATCH_ANOMALY_ITEMS_MIN and items * 100 > total * limits.batch_percent:
        reason = f"batch changes {items} of {total} items, more than {float(limits.batch_percent):g} %"
        return [(new, reason) for new in changed]
    found: list[tuple[NewRow, str]] = []
    for new in changed:
        old = before[new.item_id]
        assert old is not None
        assert new.curve is not None
        why = pricing.anomaly(new.curve, old.row.curve, factor=limits.factor, drop_percent=limits.drop_percent)
        if why is not None:
            found.append((new, why))
    return found


def _hold(db: Db, stamp: Stamp, new: NewRow, reason: str, source: str) -> str:
    existing = db.execute(
        "SELECT hold_id FROM price_hold WHERE item_id = ? AND price_id = ? AND rev = ? AND state = 'held'",
        (new.item_id, new.price_id, new.rev),
    ).get
    if existing is not None:
        return str(existing)
    hold_id = make_id(stamp, f"hold {new.item_id} {new.price_id} {new.rev}")
    row = {
        "kind": str(new.kind),
        "curve": new.curve.points if new.curve else None,
        "from": new.effective_from_ms,
        "to": new.effective_to_ms,
        "cancelled": new.cancelled,
    }
    db.execute(
        "INSERT INTO price_hold VALUES (?, ?, ?, ?, ?, ?, ?, 'held', '[]', ?)",
        (hold_id, new.item_id, new.price_id, new.rev, reason, codec.json_text(row), source, stamp.wall_ms),
    )
    held = {"hold": hold_id, "item": new.item_id, "reason": reason}
    evidence.note(db, stamp, "price.held", (evidence.item_subject(new.item_id),), held, actor=source)
    return hold_id


PERSONS_TO_RELEASE = 2  # or HQ alone


def release_hold(db: Db, stamp: Stamp, hold_id: str, person: str | None, delta: Delta) -> bool:
    """Let a held change through: by HQ (`person` None) at once, by people when a second one agrees. True when it was applied."""
    row = _open_hold(db, hold_id)
    item_id, price_id, rev, text, source, persons_text = row
    data = msgspec.json.decode(text)
    if person is not None:
        persons = [*msgspec.json.decode(persons_text)]
        if person not in persons:
            persons.append(person)
        db.execute("UPDATE price_hold SET persons = ? WHERE hold_id = ?", (codec.json_text(persons), hold_id))
        evidence.note(db, stamp, "price.hold.agree", (evidence.item_subject(item_id),), {"hold": hold_id}, actor=person)
        if len(persons) < PERSONS_TO_RELEASE:
            return False
    curve = Curve(tuple((quantity, total) for quantity, total in data["curve"])) if data["curve"] else None
    new = NewRow(ItemId(item_id), PriceKind(data["kind"]), price_id, rev, curve, data["from"], data["to"], data["cancelled"])
    apply_rows(db, stamp, [new], f"{source} released", None, delta)
    db.execute("UPDATE price_hold SET state = 'released' WHERE hold_id = ?", (hold_id,))
    evidence.note(db, stamp, "price.hold.released", (evidence.item_subject(item_id),), {"hold": hold_id}, actor=person or "hq")
    return True


def discard_hold(db: Db, stamp: Stamp, hold_id: str, actor: str) -> None:
    """Forget a held change."""
    item_id = _open_hold(db, hold_id)[0]
    db.execute("UPDATE price_hold SET state = 'discarded' WHERE hold_id = ?", (hold_id,))
    evidence.note(db, stamp, "price.hold.discarded", (evidence.item_subject(item_id),), {"hold": hold_id}, actor=actor)


def _open_hold(db: Db, hold_id: str) -> tuple[str, str, int, str, str, str]:
    row: tuple[str, str, int, str, str, str] | None = db.execute(
        "SELECT item_id, price_id, rev, row, source, persons FROM price_hold WHERE hold_id = ? AND state = 'held'", (hold_id,)
    ).fetchone()
    if row is None:
        raise Refused(f"no price change is held under {hold_id}")
    return row
