"""The rules of stock, pure: what is available, what a label says of it, what a held unit is, how two books are compared.

Units are whole numbers of the item's unit (each, g, ml, mm). Why the rules are as they are: docs/reference/stock.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from edge.model import ItemId

LOW_PART: Final = 5  # low: at most a fifth of a full shelf, as the templates draw it (render.texts)
FULL_ATTRIBUTE: Final = "stock_full"  # the item's attribute that says how many units a full shelf holds


class Cause(StrEnum):
    """Why units came or went. What HQ or staff may book themselves is in `ADJUSTMENTS`."""

    OPENING = "opening"
    SALE = "sale"
    VOID = "void"
    RETURN = "return"
    COLLECT = "collect"  # held goods that were paid for elsewhere
    COUNT = "count"
    RECEIPT = "receipt"
    DAMAGED = "damaged"  # came back and cannot be sold again
    SHRINK = "shrink"
    ADJUST = "adjust"


ADJUSTMENTS: Final = (Cause.RECEIPT, Cause.SHRINK, Cause.ADJUST)


def adjustment_cause(text: str) -> Cause:
    """The cause that a word of HQ's or of staff means; anything unknown is a plain adjustment."""
    found = next((cause for cause in ADJUSTMENTS if cause == text.strip().lower()), None)
    return Cause.ADJUST if found is None else found


class ShelfState(StrEnum):
    UNKNOWN = "unknown"
    OUT = "out"
    LOW = "low"
    IN = "in"


@dataclass(frozen=True, slots=True)
class Level:
    """An item's units: on hand, held for somebody, and set aside for channels that sell while the store is away."""

    on_hand: int = 0
    held: int = 0
    escrow: int = 0

    @property
    def available(self) -> int:
        """What may still be promised. Below 0: a sale took units that were promised."""
        return self.on_hand - self.held - self.escrow

    @property
    def short(self) -> int:
        """How many promised units are not there."""
        return max(0, -self.available) if self.held or self.escrow else 0


def shelf_state(on_hand: int | None, full: int | None) -> ShelfState:
    """What a label says of the stock. Without `full` (units on a full shelf) nothing is low."""
    if on_hand is None:
        return ShelfState.UNKNOWN
    if on_hand <= 0:
        return ShelfState.OUT
    if full is not None and on_hand * LOW_PART <= full:
        return ShelfState.LOW
    return ShelfState.IN


def shelf_step(on_hand: int | None, full: int | None) -> int:
    """How full the shelf looks, in fifths. A label is drawn again when this changes, not for each piece sold."""
    state = shelf_state(on_hand, full)
    if on_hand is None or state in (ShelfState.UNKNOWN, ShelfState.OUT):
        return 0 if state is ShelfState.OUT else -1
    return LOW_PART if full is None else min(LOW_PART, -(-on_hand * LOW_PART // full))


def full_shelf(attributes: Iterable[tuple[str, str]]) -> int | None:
    """Units on a full shelf, from an item's attributes; None where HQ does not say."""
    text = dict(attributes).get(FULL_ATTRIBUTE, "")
    return int(text) if text.isascii() and text.isdigit() and 0 < len(text) <= 9 and int(text) else None


class HoldState(StrEnum):
    PLACED = "placed"
    ARRIVED = "arrived"  # the customer is here: it no longer expires
    COLLECTED = "collected"
    RELEASED = "released"
    EXPIRED = "expired"


OPEN_HOLDS: Final = (HoldState.PLACED, HoldState.ARRIVED)


@dataclass(frozen=True, slots=True)
class Hold:
    """Units kept for an order. `channel` "" takes them from what is available, a name from that channel's quota."""

    hold_id: str
    item_id: ItemId
    quantity: int
    purpose: str  # pickup | curbside | ship
    order: str
    channel: str
    expires_ms: int
    state: HoldState = HoldState.PLACED
    arrived_ms: int | None = None

    @property
    def is_open(self) -> bool:
        return self.state in OPEN_HOLDS

    def is_due(self, wall_ms: int) -> bool:
        """Whether it lapses now. Not while its customer is in the store."""
        return self.state is HoldState.PLACED and self.expires_ms <= wall_ms


def pick_order(hold: Hold) -> tuple[bool, int, str]:
    """Where a hold stands in the pick list: who waits in the store first, then who comes first."""
    return hold.state is not HoldState.ARRIVED, hold.expires_ms, hold.hold_id


@dataclass(frozen=True, slots=True)
class Digest:
    """What one side knows of a range of items: how many, their units in all, and a hash over every level."""

    count: int
    total: int
    sha256: str


def digest(levels: Mapping[ItemId, Level]) -> Digest:
    """Of the items that have units in any account: to have none and never to have had any is the same. In order of their ids."""
    known = [(item_id, levels[item_id]) for item_id in sorted(levels) if levels[item_id] != Level()]
    text = "\n".join(f"{item_id} {level.on_hand} {level.held} {level.escrow}" for item_id, level in known)
    return Digest(len(known), sum(level.on_hand for _, level in known), hashlib.sha256(text.encode()).hexdigest())
