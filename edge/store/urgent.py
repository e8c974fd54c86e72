"""A rise that the store's rules hold back, let through by two persons with a reason (docs/reference/price-guard.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from edge import pricing
from edge.change_windows import Waits
from edge.model import Curve, ItemId
from edge.store import catalogue, evidence
from edge.store import rows as codec
from edge.store.db import Refused
from edge.store.rows import Db, Stamp
from edge.view import Delta


@dataclass(frozen=True, slots=True)
class Waiting:
    """A rise that is due and not in force: which row, what it asks for, why it waits, and who has asked for it to go through."""

    item_id: ItemId
    row_id: int
    curve: Curve
    why: Waits
    asked_by: str | None
    reason: str


def waiting(db: Db, stamp: Stamp, item_id: ItemId) -> Waiting | None:
    """What waits for this item by the store's rules, None where nothing does."""
    known = codec.read_known(db, (item_id,))[item_id]
    wanted = pricing.advance(known.in_force, known.rows, stamp.wall_ms, clock_trusted=stamp.clock_trusted)
    if wanted is None:
        return None
    why = catalogue.held_back(db, stamp, {item_id: known}, {item_id: wanted}).get(item_id)
    if why is None:
        return None
    row = wanted.row
    asked = db.execute(
        "SELECT person, reason FROM price_urgent WHERE item_id = ? AND row_id = ? AND agreed_by IS NULL", (item_id, row.row_id)
    ).fetchone()
    person, reason = asked or (None, "")
    return Waiting(item_id, row.row_id, row.curve, why, person, reason)


def ask(db: Db, stamp: Stamp, item_id: ItemId, person: str, reason: str, actor: str) -> tuple[bool, Delta]:
    """Ask for what waits to go through, or agree with somebody who did: then it is in force. Whether it is.

    Raises Refused where nothing waits, and for the same person again.
    """
    delta = Delta()
    found = waiting(db, stamp, item_id)
    if found is None:
        raise Refused(f"nothing waits for item {item_id}: what is due is in force")
    said = {"item": item_id, "row": found.row_id, "why": str(found.why), "person": person, "reason": reason}
    if found.asked_by is None:
        db.execute(
            "INSERT INTO price_urgent(item_id, row_id, person, reason, asked_wall_ms) VALUES (?, ?, ?, ?, ?)",
            (item_id, found.row_id, person, reason, stamp.wall_ms),
        )
        evidence.note(db, stamp, "price.urgent.asked", (evidence.item_subject(item_id),), said, actor=actor)
        return False, delta
    if catalogue.same_person(found.asked_by, person):
        raise Refused(f"{person} asked for it: a second person has to agree")
    db.execute(
        "UPDATE price_urgent SET agreed_by = ?, agreed_wall_ms = ? WHERE item_id = ? AND row_id = ?",
        (person, stamp.wall_ms, item_id, found.row_id),
    )
    evidence.note(db, stamp, "price.urgent", (evidence.item_subject(item_id),), {**said, "asked_by": found.asked_by}, actor=actor)
    catalogue.put_in_force(db, replace(stamp, changes=None), (item_id,), delta)
    return True, delta


def report(waits: Waiting) -> dict[str, object]:
    """As people read it."""
    return {
        "curve": [list(point) for point in waits.curve.points],
        "why": str(waits.why),
        "asked_by": waits.asked_by,
        "reason": waits.reason,
    }
