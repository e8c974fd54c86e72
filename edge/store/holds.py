"""What is promised: held goods and the quotas of channels that sell while the store is away.

Units are granted by ONE guarded UPDATE inside the transaction that writes everything else, so that no two writers can promise the same
unit. Everything that happens to a hold goes up as an event.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from edge.model import ItemId
from edge.stock import Cause, Hold, HoldState, Level
from edge.store import stock
from edge.store.db import Refused
from edge.store.journal import emit
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind

OPEN_HOLDS_MAX: Final = 10_000  # a store picks some hundred orders a day; beyond it, HQ has a fault
DUE_MAX: Final = 200  # holds that lapse in one transaction

HOLD_COLUMNS: Final = "hold_id, item_id, quantity, purpose, order_ref, channel, expires_ms, state, arrived_ms"


class NoSuchHold(Refused):
    """No hold has this id."""


def hold_of(row: tuple[Any, ...]) -> Hold:
    """From HOLD_COLUMNS."""
    hold_id, item_id, quantity, purpose, order, channel, expires_ms, state, arrived_ms = row
    return Hold(hold_id, ItemId(item_id), quantity, purpose, order, channel, expires_ms, HoldState(state), arrived_ms)


def find_hold(db: Db, hold_id: str) -> Hold | None:
    row = db.execute(f"SELECT {HOLD_COLUMNS} FROM hold WHERE hold_id = ?", (hold_id,)).fetchone()  # noqa: S608 - constants, here and below
    return None if row is None else hold_of(row)


def place_hold(db: Db, stamp: Stamp, hold: Hold, delta: Delta) -> str:
    """Grant or refuse a hold; HQ is told which. Returns "granted", "known" or why not: "short", "expired", "conflict", "too_many".

    One guarded UPDATE decides, in the transaction that writes everything else: units that are not available cannot be held.
    """
    known = find_hold(db, hold.hold_id)
    if known is not None:
        same = replace(known, state=hold.state, arrived_ms=hold.arrived_ms) == hold
        if same:
            return "known"
        _tell(db, stamp, hold, "hold.refused", delta, reason="conflict")
        return "conflict"
    outcome = _reserve(db, stamp, hold)
    if outcome != "granted":
        level = stock.level_of(db, hold.item_id)
        _tell(db, stamp, hold, "hold.refused", delta, reason=outcome, available=level.available)
        return outcome
    up_seq = _tell(db, stamp, hold, "hold.granted", delta)
    if hold.channel:
        _move(db, stamp, "escrow", hold.item_id, -hold.quantity, "hold", hold.hold_id, up_seq)
    _move(db, stamp, "held", hold.item_id, hold.quantity, "placed", hold.hold_id, up_seq)
    db.execute(
        "INSERT INTO hold VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL, ?, ?, 'hq')",
        (
            hold.hold_id,
            hold.item_id,
            hold.quantity,
            hold.purpose,
            hold.order,
            hold.channel,
            hold.expires_ms,
            str(hold.state),
            stamp.wall_ms,
            stamp.wall_ms,
        ),
    )
    delta.holds[hold.hold_id] = hold
    stock.changed(db, hold.item_id, delta)
    return outcome


def _reserve(db: Db, stamp: Stamp, hold: Hold) -> str:
    if stamp.clock_trusted and hold.expires_ms <= stamp.wall_ms:
        return "expired"
    open_holds = db.execute("SELECT count(*) FROM hold WHERE state IN ('placed', 'arrived')").get
    if isinstance(open_holds, int) and open_holds >= OPEN_HOLDS_MAX:
        return "too_many"
    if hold.channel:
        taken = db.execute(
            "UPDATE escrow SET quantity = quantity - ?1 WHERE item_id = ?2 AND channel = ?3 AND quantity >= ?1 RETURNING quantity",
            (hold.quantity, hold.item_id, hold.channel),
        ).get
        if taken is None:
            return "short"
        db.execute("UPDATE stock SET held = held + ?1, escrow = escrow - ?1 WHERE item_id = ?2", (hold.quantity, hold.item_id))
        return "granted"
    taken = db.execute(
        "UPDATE stock SET held = held + ?1 WHERE item_id = ?2 AND on_hand - held - escrow >= ?1 RETURNING held",
        (hold.quantity, hold.item_id),
    ).get
    return "short" if taken is None else "granted"


def arrive(db: Db, stamp: Stamp, hold_id: str, actor: str, delta: Delta) -> tuple[Hold, bool]:
    """The customer is here. Raises NoSuchHold, Refused for a hold that is over."""
    hold = _open_hold(db, hold_id)
    if hold.state is HoldState.ARRIVED:
        return hold, False
    return _put_state(db, stamp, replace(hold, state=HoldState.ARRIVED, arrived_ms=stamp.wall_ms), actor, delta), True


def end_hold(
    db: Db, stamp: Stamp, hold_id: str, state: HoldState, actor: str, delta: Delta, *, reason: str = "", sale_id: str | None = None
) -> tuple[Hold, bool]:
    """Collected, released or expired: the units are no longer promised; collected ones leave the stock, unless a sale took them.

    False: it was so already. Raises NoSuchHold, Refused for a hold that ended otherwise.
    """
    hold = find_hold(db, hold_id)
    if hold is not None and hold.state is state:
        return hold, False
    hold = replace(_open_hold(db, hold_id), state=state)
    leaves = -hold.quantity if state is HoldState.COLLECTED and sale_id is None else 0
    db.execute("UPDATE stock SET held = held - ? WHERE item_id = ?", (hold.quantity, hold.item_id))
    _put_state(db, stamp, hold, actor, delta, leaves=leaves, reason=reason, sale_id=sale_id)
    return hold, True


def expire_holds(db: Db, stamp: Stamp) -> tuple[int, Delta]:
    """Let due holds lapse, by the store's own clock; none while nobody vouches for it. Returns how many."""
    delta = Delta()
    if not stamp.clock_trusted:
        return 0, delta
    due = db.execute(
        "SELECT hold_id FROM hold WHERE state = 'placed' AND expires_ms <= ? ORDER BY expires_ms, hold_id LIMIT ?", (stamp.wall_ms, DUE_MAX)
    ).fetchall()
    for (hold_id,) in due:
        end_hold(db, stamp, hold_id, HoldState.EXPIRED, "store", delta)
    return len(due), delta


def collect_with_sale(db: Db, stamp: Stamp, hold_ids: Iterable[str], lane_id: str, sale_id: str, delta: Delta) -> list[str]:
    """The holds that a sale collects. Those that are unknown or over are returned: the sale is recorded all the same."""
    strange: list[str] = []
    for hold_id in hold_ids:
        hold = find_hold(db, hold_id)
        if hold is None or not hold.is_open:
            strange.append(hold_id)
        else:
            end_hold(db, stamp, hold_id, HoldState.COLLECTED, f"lane {lane_id}", delta, sale_id=sale_id)
    return strange


def note_eaten(db: Db, stamp: Stamp, sale_id: str, item_ids: Iterable[ItemId], delta: Delta) -> None:
    """A sale is never refused for stock: where it took promised units, HQ hears which item is short by how many.

    The items' levels are in `delta`, where booking the sale has put them.
    """
    for item_id in dict.fromkeys(item_id for item_id in item_ids if item_id in delta.stock):
        level = Level(delta.stock[item_id], *delta.reserved[item_id])
        if not level.short:
            continue
        holds = db.execute(
            "SELECT hold_id FROM hold WHERE item_id = ? AND state IN ('placed', 'arrived') ORDER BY expires_ms DESC, hold_id LIMIT 20",
            (item_id,),
        ).fetchall()
        data = {
            "event": "stock.short",
            "sku": item_id,
            "delta": 0,
            "sale_id": sale_id,
            "short": level.short,
            "on_hand": level.on_hand,
            "held": level.held,
            "escrow": level.escrow,
            "holds": [hold_id for (hold_id,) in holds],
        }
        emit(db, stamp, EventKind.STOCK, data, salt=f"short {sale_id} {item_id}")
        delta.outbox_grew = True


def move_escrow(db: Db, stamp: Stamp, ref: str, item_id: ItemId, channel: str, change: int, delta: Delta) -> str:
    """Give a channel quota (`change` > 0, from what is available) or take it back. Returns "moved", "known" or "short"; HQ is told."""
    if db.execute(
        "SELECT 1 FROM reserve_move WHERE account = 'escrow' AND cause = 'quota' AND ref = ? AND item_id = ?", (ref, item_id)
    ).get:
        return "known"
    if change >= 0:
        sql = "UPDATE stock SET escrow = escrow + ?1 WHERE item_id = ?2 AND on_hand - held - escrow >= ?1 RETURNING escrow"
        done = db.execute(sql, (change, item_id)).get is not None
        if done:
            db.execute(
                "INSERT INTO escrow VALUES (?, ?, ?) ON CONFLICT(item_id, channel) DO UPDATE SET quantity = quantity + excluded.quantity",
                (item_id, channel, change),
            )
    else:
        sql = "UPDATE escrow SET quantity = quantity + ?1 WHERE item_id = ?2 AND channel = ?3 AND quantity >= -?1 RETURNING quantity"
        done = db.execute(sql, (change, item_id, channel)).get is not None
        if done:
            db.execute("UPDATE stock SET escrow = escrow + ? WHERE item_id = ?", (change, item_id))
    quota = db.execute("SELECT quantity FROM escrow WHERE item_id = ? AND channel = ?", (item_id, channel)).get
    data = {
        "event": "escrow.moved" if done else "escrow.refused",
        "ref": ref,
        "sku": item_id,
        "delta": 0,
        "channel": channel,
        "change": change if done else 0,
        "quota": quota or 0,
        "available": stock.level_of(db, item_id).available,
    }
    up_seq = emit(db, stamp, EventKind.STOCK, data, salt=f"escrow {ref} {item_id}")
    delta.outbox_grew = True
    if not done:
        return "short"
    _move(db, stamp, "escrow", item_id, change, "quota", ref, up_seq)
    stock.changed(db, item_id, delta)
    return "moved"


def _open_hold(db: Db, hold_id: str) -> Hold:
    hold = find_hold(db, hold_id)
    if hold is None:
        raise NoSuchHold(f"no hold {hold_id}")
    if not hold.is_open:
        raise Refused(f"hold {hold_id} is {hold.state}")
    return hold


def _put_state(
    db: Db, stamp: Stamp, hold: Hold, actor: str, delta: Delta, *, leaves: int = 0, reason: str = "", sale_id: str | None = None
) -> Hold:
    db.execute(
        "UPDATE hold SET state = ?, arrived_ms = ?, changed_wall_ms = ?, changed_by = ? WHERE hold_id = ?",
        (str(hold.state), hold.arrived_ms, stamp.wall_ms, actor, hold.hold_id),
    )
    more = {"by": actor} | ({"reason": reason} if reason else {}) | ({"sale_id": sale_id} if sale_id else {})
    up_seq = _tell(db, stamp, hold, f"hold.{hold.state}", delta, delta_units=leaves, **more)
    if not hold.is_open:
        _move(db, stamp, "held", hold.item_id, -hold.quantity, str(hold.state), hold.hold_id, up_seq)
    if leaves:
        stock.book(db, stamp, hold.item_id, leaves, Cause.COLLECT, hold.hold_id, up_seq, delta)
    delta.holds[hold.hold_id] = hold if hold.is_open else None
    stock.changed(db, hold.item_id, delta)
    return hold


def _tell(db: Db, stamp: Stamp, hold: Hold, event: str, delta: Delta, *, delta_units: int = 0, **more: object) -> int:
    data = {
        "event": event,
        "hold_id": hold.hold_id,
        "sku": hold.item_id,
        "delta": delta_units,
        "quantity": hold.quantity,
        "purpose": hold.purpose,
        "order": hold.order,
        "channel": hold.channel,
    }
    delta.outbox_grew = True
    return emit(db, stamp, EventKind.STOCK, data | more, salt=f"{event} {hold.hold_id}")


def _move(db: Db, stamp: Stamp, account: str, item_id: str, change: int, cause: str, ref: str, up_seq: int) -> None:
    db.execute(
        "INSERT INTO reserve_move(account, item_id, delta, cause, ref, up_seq, wall_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
        (account, item_id, change, cause, ref, up_seq, stamp.wall_ms),
    )
