"""HQ's stock messages, applied: from the wire's structs to the ledger's transactions."""

from __future__ import annotations

from edge.model import ItemId
from edge.stock import Digest, Hold, HoldState, adjustment_cause
from edge.store import holds, observed, stock
from edge.store.db import Refused
from edge.store.journal import emit, outbox_state
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.hq_events import EventKind
from protocols.hq_messages import utc_ms
from protocols.hq_stock import Observations, StockAdjust, StockCount, StockDigest, StockEscrow, StockHold, StockRelease

StockBody = StockAdjust | StockCount | StockHold | StockRelease | StockEscrow | StockDigest | Observations


def apply(db: Db, stamp: Stamp, body: StockBody, delta: Delta) -> None:
    """Book a message. Each hold and each quota is granted or refused for itself, by an event. Raises Refused for a count that cannot be."""
    match body:
        case StockAdjust(adjustments=adjustments):
            for row in adjustments:
                each = stock.Adjustment(row.id, ItemId(row.sku), row.delta, adjustment_cause(row.cause), row.as_of_seq)
                stock.adjust(db, stamp, each, delta)
        case StockCount() as count:
            incarnation = outbox_state(db).incarnation
            if count.incarnation not in (None, incarnation):
                raise Refused(f"counted as of an event of incarnation {count.incarnation}, this one is {incarnation}")
            stock.count(db, stamp, count.id, ItemId(count.sku), count.counted, count.as_of_seq, delta)
        case StockHold(holds=asks):
            for asked in asks:
                purpose, channel = str(asked.purpose), asked.channel or ""
                hold = Hold(asked.id, ItemId(asked.sku), asked.quantity, purpose, asked.order, channel, utc_ms(asked.expires))
                holds.place_hold(db, stamp, hold, delta)
        case StockRelease(releases=releases):
            for release in releases:
                _release(db, stamp, release.id, release.reason, delta)
        case StockEscrow(moves=moves):
            for move in moves:
                holds.move_escrow(db, stamp, move.id, ItemId(move.sku), move.channel, move.change, delta)
        case StockDigest(ranges=ranges):
            for each_range in ranges:
                theirs = Digest(each_range.count, each_range.total, each_range.sha256)
                stock.compare(db, stamp, each_range.first, each_range.last, theirs, delta)
        case Observations(observations=observations):
            for seen in observations:
                reading = observed.Seen(seen.id, seen.source, str(seen.kind), ItemId(seen.sku), seen.quantity, utc_ms(seen.seen_at))
                observed.observe(db, stamp, reading, delta)


def _release(db: Db, stamp: Stamp, hold_id: str, reason: str, delta: Delta) -> None:
    """HQ hears what became of a hold that it can no longer have back."""
    try:
        holds.end_hold(db, stamp, hold_id, HoldState.RELEASED, "hq", delta, reason=reason)
    except Refused as error:
        hold = holds.find_hold(db, hold_id)
        sku = hold.item_id if hold is not None else None
        state = str(hold.state) if hold is not None else "unknown"
        data = {"event": "hold.not_released", "hold_id": hold_id, "sku": sku, "delta": 0, "state": state, "reason": str(error)}
        emit(db, stamp, EventKind.STOCK, data, salt=f"not released {hold_id}")
        delta.outbox_grew = True
