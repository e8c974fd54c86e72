"""Items, prices and what is in force: rows in, target out. One path for HQ batches, snapshots and CSV files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

import msgspec

from edge import pricing
from edge.change_windows import Waits
from edge.model import Curve, InForce, Item, ItemId, PriceKind, PriceRow
from edge.store import evidence, unknown
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.journal import make_id
from edge.store.rows import Db, Known, Stamp
from edge.view import Delta

BATCH_ANOMALY_ITEMS_MIN = 20  # below this many items a share of the catalogue says nothing


class NewRow(msgspec.Struct, frozen=True, gc=False):
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
    told = list(items)
    names = codec.json_text([item.item_id for item, _ in told])
    known: dict[str, tuple[object, ...]] = {
        row[0]: row
        for row in db.execute(
            f"SELECT {codec.ITEM_COLUMNS} FROM json_each(?) AS j CROSS JOIN item ON item_id = j.value",  # noqa: S608 - constant
            (names,),
        )
    }
    codes_before: dict[str, dict[str, int]] = {}
    for item_id, gtin14, pack_quantity in db.execute(
        "SELECT item_id, gtin14, pack_quantity FROM json_each(?) AS j CROSS JOIN barcode ON item_id = j.value", (names,)
    ):
        codes_before.setdefault(item_id, {})[gtin14] = pack_quantity
    for item, codes in told:
        values = codec.item_values(item)
        if known.pop(item.item_id, None) == values and codes_before.get(item.item_id, {}) == dict(codes):
            known[item.item_id] = values
            continue  # as most of a catalogue that comes again
        _put_item(db, item, values, codes, delta)


def _put_item(db: Db, item: Item, values: tuple[object, ...], codes: Iterable[tuple[str, int]], delta: Delta) -> None:
    marks = ", ".join("?" * len(values))
    db.execute(f"INSERT OR REPLACE INTO item({codec.ITEM_COLUMNS}) VALUES ({marks})", values)  # noqa: S608
    for (gone,) in db.execute("DELETE FROM barcode WHERE item_id = ? RETURNING gtin14", (item.item_id,)).fetchall():
        delta.barcodes[gone] = None
    for gtin14, pack_quantity in codes:
        db.execute("INSERT OR REPLACE INTO barcode VALUES (?, ?, ?)", (gtin14, item.item_id, pack_quantity))
        delta.barcodes[gtin14] = (item.item_id, pack_quantity)
    delta.items[item.item_id] = item


def page_of_items(db: Db, after: str, limit: int) -> list[str]:
    """Items that are sold, in the order of their ids."""
    found = db.execute("SELECT item_id FROM item WHERE removed = 0 AND item_id > ? ORDER BY item_id LIMIT ?", (after, limit))
    return [str(each) for (each,) in found.fetchall()]


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
    told = list(new_rows)
    accepted, again = _sift(db, stamp, told, source, applied)
    known = codec.read_known(db, dict.fromkeys([*again, *(new.item_id for new in accepted)]))
    held = _anomalies(db, accepted, known, limits)
    for new, reason in held:
        applied.held.append(_hold(db, stamp, new, reason, source))
    if held:
        refused = {id(new) for new, _ in held}
        accepted = [new for new in accepted if id(new) not in refused]
    applied.rows = _store_rows(db, stamp, accepted, known, source)
    _supersede_holds(db, accepted)
    evidence.member_prices(db, stamp, [row.row_id for row in applied.rows if row.kind is PriceKind.MEMBER])
    touched = dict.fromkeys([*again, *(row.item_id for row in applied.rows)])
    _compare(db, stamp, _with_rows({item_id: known[item_id] for item_id in touched}, applied.rows), delta)
    return applied


def _sift(db: Db, stamp: Stamp, told: list[NewRow], source: str, applied: Applied) -> tuple[list[NewRow], dict[ItemId, None]]:
    """The rows that are news; and the items of which HQ has a price again that was withdrawn."""
    accepted: list[NewRow] = []
    again: dict[ItemId, None] = {}
    revs = codec.read_revs(db, dict.fromkeys(new.item_id for new in told))
    any_withdrawn = db.execute("SELECT 1 FROM price_withdrawn LIMIT 1").get is not None
    for new in told:
        known = revs.get((new.item_id, new.price_id))
        if known is None or known[0] < new.rev:
            accepted.append(new)
            continue
        applied.stale += 1
        if known[0] == new.rev and any_withdrawn and _un_withdraw(db, known[1], source):
            again[new.item_id] = None
            if new.kind is PriceKind.MEMBER:
                evidence.member_price_withdrawn(db, stamp, new.item_id, known[1], withdrawn=False)
    return accepted, again


def _with_rows(known: dict[ItemId, Known], stored: Iterable[PriceRow]) -> dict[ItemId, Known]:
    """What the file has of these items now that rows were added to it."""
    added: dict[ItemId, dict[str, PriceRow]] = {}
    for row in stored:
        of_item = added.setdefault(row.item_id, {})
        before = of_item.get(row.price_id)
        if before is None or before.rev < row.rev:
            of_item[row.price_id] = row
    for item_id, of_item in added.items():
        kept = [row for row in known[item_id].rows if row.price_id not in of_item]
        known[item_id] = Known((*kept, *of_item.values()), known[item_id].in_force)
    return known


def _un_withdraw(db: Db, row_id: int, source: str) -> bool:
    """A catalogue may have been written before its price was cancelled: it brings back only what a catalogue withdrew."""
    kept = "AND source NOT LIKE '%/sys/%' " if "/bulk/" in source else ""
    return db.execute(f"DELETE FROM price_withdrawn WHERE withdrawn_row_id = ? {kept}RETURNING 1", (row_id,)).get is not None  # noqa: S608


def _supersede_holds(db: Db, accepted: Iterable[NewRow]) -> None:
    if db.execute("SELECT 1 FROM price_hold WHERE state = 'held' LIMIT 1").get is None:
        return
    db.executemany(
        "UPDATE price_hold SET state = 'superseded' WHERE item_id = ? AND price_id = ? AND rev < ? AND state = 'held'",
        [(new.item_id, new.price_id, new.rev) for new in accepted],
    )


def _compare(db: Db, stamp: Stamp, known: Mapping[ItemId, Known], delta: Delta) -> None:
    """These items' rows changed: put in force what is due."""
    _advance(db, stamp, known, delta)
    delta.rows.update((item_id, each.rows) for item_id, each in known.items())
    unknown.rows_changed(db, stamp, known, delta)


@dataclass(frozen=True, slots=True)
class Priced:
    """The newest version of a price: where it is, and what told it."""

    row_id: int
    item_id: ItemId
    price_id: str
    source: str


def page_of_prices(db: Db, after_item: str, after_price: str, limit: int) -> list[Priced]:
    """The newest versions that are not cancelled, in the order of item and price id."""
    found = db.execute(
        "SELECT row_id, n.item_id, n.price_id, source FROM price_newest AS n CROSS JOIN price_row USING (row_id) "
        "WHERE NOT cancelled AND (n.item_id, n.price_id) > (?, ?) ORDER BY n.item_id, n.price_id LIMIT ?",
        (after_item, after_price, limit),
    )
    return [Priced(*each) for each in found.fetchall()]


def withdraw(db: Db, stamp: Stamp, rows: Iterable[tuple[int, ItemId]], source: str, delta: Delta) -> None:
    """These rows are no longer HQ's, as if cancelled; what is in force stays until another takes its place."""
    touched: dict[ItemId, None] = {}
    for row_id, item_id in rows:
        gone = db.execute("INSERT OR IGNORE INTO price_withdrawn VALUES (?, ?) RETURNING 1", (row_id, source)).get
        if gone is not None and db.execute("SELECT kind FROM price_row WHERE row_id = ?", (row_id,)).get == PriceKind.MEMBER:
            evidence.member_price_withdrawn(db, stamp, item_id, row_id, withdrawn=True)
        touched[item_id] = None
    _compare(db, stamp, codec.read_known(db, touched), delta)


def _store_rows(db: Db, stamp: Stamp, accepted: list[NewRow], known: Mapping[ItemId, Known], source: str) -> list[PriceRow]:
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'price_row'").get
    rows: list[PriceRow] = []
    for row_id, new in enumerate(accepted, start=last + 1 if isinstance(last, int) else 1):
        from_ms = new.effective_from_ms
        if from_ms is None:
            current = known[new.item_id].in_force
            from_ms = max(stamp.wall_ms, current.latched_through_ms if current else 0)
        curve = new.curve or _last_curve(db, new, rows)
        immediate = new.effective_from_ms is None
        rows.append(
            PriceRow(row_id, new.item_id, new.kind, new.price_id, new.rev, from_ms, new.effective_to_ms, curve, immediate, new.cancelled)
        )
    db.executemany(
        "INSERT INTO price_row(row_id, item_id, kind, price_id, rev, effective_from_ms, effective_to_ms, curve, immediate, cancelled, "
        "source, received_wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                row.row_id,
                row.item_id,
                row.kind.value,
                row.price_id,
                row.rev,
                row.effective_from_ms,
                row.effective_to_ms,
                codec.curve_text(row.curve),
                int(row.immediate),
                int(row.cancelled),
                source,
                stamp.wall_ms,
            )
            for row in rows
        ],
    )
    db.executemany(
        "INSERT INTO price_newest VALUES (?, ?, ?, ?) ON CONFLICT(item_id, price_id) DO UPDATE SET rev = excluded.rev, "
        "row_id = excluded.row_id WHERE excluded.rev > rev",
        [(row.item_id, row.price_id, row.rev, row.row_id) for row in rows],
    )
    return rows


def _last_curve(db: Db, new: NewRow, before: Iterable[PriceRow]) -> Curve:
    """The newest curve of a price that is cancelled; `before`: what came before it in the same batch."""
    told = [row for row in before if (row.item_id, row.price_id) == (new.item_id, new.price_id)]
    if told:
        return max(told, key=lambda row: row.rev).curve
    text = db.execute(
        "SELECT curve FROM price_row WHERE item_id = ? AND price_id = ? ORDER BY rev DESC LIMIT 1", (new.item_id, new.price_id)
    ).get
    if text is None:
        return Curve.plain(0)  # cancelled before it was ever known: never in force
    return codec.curve_of(str(text))


def put_in_force(db: Db, stamp: Stamp, item_ids: Iterable[ItemId], delta: Delta) -> None:
    """Compare what should be in force for these items with what is, in the caller's transaction; log the changes."""
    _advance(db, stamp, codec.read_known(db, item_ids), delta)


def _advance(db: Db, stamp: Stamp, known: Mapping[ItemId, Known], delta: Delta) -> None:
    changed: dict[ItemId, InForce] = {}
    for item_id, each in known.items():
        wanted = pricing.advance(each.in_force, each.rows, stamp.wall_ms, clock_trusted=stamp.clock_trusted)
        if wanted is not None:
            changed[item_id] = wanted
    for item_id in held_back(db, stamp, known, changed):
        del changed[item_id]
    if not changed:
        return
    before = evidence.last_target(db)
    db.executemany(
        "INSERT INTO in_force(item_id, row_id, latched_through_ms) VALUES (?, ?, ?) ON CONFLICT(item_id) DO UPDATE "
        "SET row_id = excluded.row_id, latched_through_ms = excluded.latched_through_ms",
        [(item_id, wanted.row.row_id, wanted.latched_through_ms) for item_id, wanted in changed.items()],
    )
    db.executemany(
        "INSERT INTO target_log(item_id, row_id, from_wall_ms) VALUES (?, ?, ?)",
        [(item_id, wanted.row.row_id, stamp.wall_ms) for item_id, wanted in changed.items()],
    )
    delta.in_force.update(changed)
    if unknown.is_any(db):
        for item_id, wanted in changed.items():
            unknown.target_changed(db, stamp, item_id, wanted, delta)
    evidence.targets(db, stamp, before)


def held_back(db: Db, stamp: Stamp, known: Mapping[ItemId, Known], changed: Mapping[ItemId, InForce]) -> dict[ItemId, Waits]:
    """Which of these changes the store's rules do not let through now: only rises."""
    if stamp.changes is None:
        return {}
    rises = [
        item_id
        for item_id, wanted in changed.items()
        if (current := known[item_id].in_force) is not None and wanted.row.curve.is_above(current.row.curve)
    ]
    found = db.execute(
        "SELECT value, coalesce((SELECT category FROM item WHERE item_id = value), ''), coalesce((SELECT from_wall_ms FROM target_log "
        "WHERE target_log.item_id = value ORDER BY log_id DESC LIMIT 1), 0) FROM json_each(?)",
        (codec.json_text(rises),),
    )
    waits = {ItemId(item_id): stamp.changes.why_waits(item_id, category, last_ms) for item_id, category, last_ms in found.fetchall()}
    return {item_id: why for item_id, why in waits.items() if why is not None}


# -- anomaly stops ---------------------------------------------------------------------------------------------------------


def _anomalies(db: Db, accepted: list[NewRow], known: Mapping[ItemId, Known], limits: AnomalyLimits | None) -> list[tuple[NewRow, str]]:
    if limits is None:
        return []
    moved = [new for new in accepted if new.curve is not None and not new.cancelled]
    changed = [new for new in moved if (old := known[new.item_id].in_force) is not None and new.curve != old.row.curve]
    total = db.execute("SELECT count(*) FROM in_force").get
    assert isinstance(total, int)
    items = len({new.item_id for new in changed})
    if items >= BATCH_ANOMALY_ITEMS_MIN and items * 100 > total * limits.batch_percent:
        reason = f"batch changes {items} of {total} items, more than {float(limits.batch_percent):g} %"
        return [(new, reason) for new in changed]
    found: list[tuple[NewRow, str]] = []
    for new in changed:
        before = known[new.item_id].in_force
        assert new.curve is not None
        assert before is not None
        why = pricing.anomaly(new.curve, before.row.curve, factor=limits.factor, drop_percent=limits.drop_percent)
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


def same_person(one: str, other: str) -> bool:
    """Whether two names are one person's: another spelling is no second person."""
    return " ".join(one.split()).casefold() == " ".join(other.split()).casefold()


def release_hold(db: Db, stamp: Stamp, hold_id: str, person: str | None, delta: Delta) -> bool:
    """Let a held change through: by HQ (`person` None) at once, by people when a second one agrees. True when it was applied."""
    row = _open_hold(db, hold_id)
    item_id, price_id, rev, text, source, persons_text = row
    data = msgspec.json.decode(text)
    if person is not None:
        persons = [*msgspec.json.decode(persons_text)]
        if not any(same_person(person, each) for each in persons):
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
