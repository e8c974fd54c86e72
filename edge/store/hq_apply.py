"""What one message of HQ changes: from its body to the transactions of this package."""

from __future__ import annotations

from dataclasses import dataclass, field

from edge.model import ItemId, Place, Recall
from edge.store import catalogue, control, recalls, shelf, snapshots, stock_wire
from edge.store.acks import Acks
from edge.store.hq_rows import Context, Rejection, item_of, new_rows, put_rows
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols import hq
from protocols.hq_control import Cancel, ConfigPut, History, KeysPut, Query
from protocols.hq_messages import (
    ItemBatch,
    LabelAssign,
    LabelUnassign,
    PriceBatch,
    PriceDiscard,
    PriceRelease,
    Refused,
    SnapshotChunk,
    SnapshotManifest,
)
from protocols.hq_recall import LotRecall
from protocols.hq_stock import Observations, StockAdjust, StockCount, StockDigest, StockEscrow, StockHold, StockRelease


@dataclass(slots=True)
class Turn:
    """One transaction's work on HQ's messages, and what it leaves to do once it is committed."""

    db: Db
    stamp: Stamp
    context: Context
    delta: Delta
    acks: Acks
    asked: list[hq.Message] = field(default_factory=list)  # queries to answer
    controlled: bool = False  # settings or keys changed


@dataclass(slots=True)
class Result:
    """What a message came to: held for people, or more to say about it."""

    held: list[str] = field(default_factory=list)
    remark: str | None = None
    staged: bool = False  # part of a snapshot that is not in force yet


def apply_body(turn: Turn, message: hq.Message, delta: Delta) -> Result:
    """The business rows of one message. Raises Rejection or Refused."""
    db, stamp, context = turn.db, turn.stamp, turn.context
    source = f"{message.incarnation}/{message.stream}/{message.seq}/{message.id}"
    if not context.prices_from_hq and message.stream in (hq.Stream.PRICE, hq.Stream.BULK):
        raise Rejection('this store takes its prices from a file (price_source = "file")')
    match message.body:
        case PriceBatch(rows=rows):
            return Result(put_rows(db, stamp, new_rows(rows, context.currency), source, context.limits, delta))
        case ItemBatch(items=items, removed=removed) as batch:
            catalogue.put_items(db, (item_of(each) for each in items), delta)
            catalogue.remove_items(db, (ItemId(each) for each in removed), delta)
            snapshots.note_items(db, message, batch)
        case SnapshotManifest() as manifest:
            snapshots.begin(db, stamp, message, manifest, turn.acks)
            return Result(staged=True)
        case SnapshotChunk() as chunk:
            snapshots.stage(db, chunk, hq.raw_body(message.raw), context)
            return Result(staged=True)
        case StockAdjust() | StockCount() | StockHold() | StockRelease() | StockEscrow() | StockDigest() | Observations() as body:
            stock_wire.apply(db, stamp, body, delta)
        case LotRecall(sku=sku, lots=lots, all_lots=all_lots, reason=reason):
            recalls.put(db, stamp, ItemId(sku), Recall(frozenset(lots), all_lots, reason), source, delta)
        case LabelAssign() | LabelUnassign() as wish:
            _bind(turn, wish, delta)
        case Refused(reason=reason):
            raise Rejection(reason)
        case _:
            return _apply_control(turn, message, source, delta)
    return Result()


def _apply_control(turn: Turn, message: hq.Message, source: str, delta: Delta) -> Result:
    db, stamp, context = turn.db, turn.stamp, turn.context
    match message.body:
        case PriceRelease(holds=holds):
            for hold_id in holds:
                catalogue.release_hold(db, stamp, hold_id, None, delta)
        case PriceDiscard(holds=holds):
            for hold_id in holds:
                catalogue.discard_hold(db, stamp, hold_id, "hq")
        case ConfigPut() as config:
            control.put_config(db, stamp, config, context, source)
            turn.controlled = True
        case KeysPut() as keys:
            control.put_keys(db, stamp, keys, message.kid, source)
            turn.controlled = True
        case Cancel() as wanted:
            stays = control.cancel(db, stamp, wanted, source, turn.acks, delta)
            return Result(remark="; ".join(stays) or None)
        case History() as told:
            control.take_history(db, stamp, told, context, source, delta)
        case Query():
            if message.expires_ms is None:
                raise Rejection("a query needs expires: nobody waits for an answer for ever")
            turn.asked.append(message)
        case _:
            raise Rejection(f"type {message.type} has no place in a stream")
    return Result()


def _bind(turn: Turn, wish: LabelAssign | LabelUnassign, delta: Delta) -> None:
    items: tuple[ItemId, ...] = ()
    template, place = turn.context.default_template, Place()
    if isinstance(wish, LabelAssign):
        items, template = tuple(ItemId(each) for each in wish.items), wish.template
        if wish.place is not None:
            place = Place(wish.place.aisle, wish.place.bay, wish.place.shelf, wish.place.slot)
    _, more = shelf.bind(
        turn.db,
        turn.stamp,
        wish.label,
        items,
        template,
        place,
        actor="hq",
        expected_rev=wish.binding_rev,
        kind=turn.context.label_kind,
        templates=turn.context.templates,
    )
    delta.merge(more)
