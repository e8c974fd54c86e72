"""Stock at the lane: levels, held goods, and a label that shows where they are."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.pos_base import Code, FreeText, ItemRef, Params, Result, one_of, refuse_card_number

HOLD_PAGE_MAX: Final = 200  # holds in one answer: a morning's orders of one store
PLACES_MAX: Final = 8  # labels named per held item; an item rarely stands in more places

HoldName = Annotated[str, Meta(min_length=1, max_length=64)]
LabelRef = Annotated[str, Meta(min_length=1, max_length=32)]


class StockParams(Params, frozen=True):
    """One item's stock, by what the scanner read or by HQ's item id."""

    code: Code | None = None
    item_id: ItemRef | None = None

    def __post_init__(self) -> None:
        one_of(self.code, self.item_id)


class HoldsParams(Params, frozen=True):
    """The open holds, those whose customer is here first, then by expiry; the pages go on after `after`."""

    order: HoldName | None = None
    after: HoldName | None = None
    limit: Annotated[int, Meta(ge=1, le=HOLD_PAGE_MAX)] = HOLD_PAGE_MAX


class ArrivedParams(Params, frozen=True):
    """The customer is here: for one hold, or for every open hold of an order."""

    hold_id: HoldName | None = None
    order: HoldName | None = None

    def __post_init__(self) -> None:
        if (self.hold_id is None) == (self.order is None):
            raise ValueError("exactly one of hold_id and order is needed")


class CollectParams(Params, frozen=True):
    """Paid for elsewhere and handed over: it leaves the stock. What is paid here goes into `sale.commit` as `holds`."""

    hold_id: HoldName


class ReleaseParams(Params, frozen=True):
    """Back on the shelf: the hold is over."""

    hold_id: HoldName
    reason: FreeText = ""

    def __post_init__(self) -> None:
        refuse_card_number("reason", self.reason)


class FlashParams(Params, frozen=True):
    """Make a label blink, or every label of an item, so that somebody finds the place."""

    label: LabelRef | None = None
    code: Code | None = None
    item_id: ItemRef | None = None

    def __post_init__(self) -> None:
        if sum(each is not None for each in (self.label, self.code, self.item_id)) != 1:
            raise ValueError("exactly one of label, code and item_id is needed")


class StockState(StrEnum):
    """What a label may say of the stock. `unknown`: nothing was ever counted or delivered."""

    UNKNOWN = "unknown"
    OUT = "out"
    LOW = "low"
    IN = "in"


class Discrepancy(msgspec.Struct, frozen=True, kw_only=True):
    """What a sensor sees that the books do not say. Only a count or an adjustment changes the books."""

    source: str
    kind: str  # shelf | scale | rfid
    observed: int
    expected: int
    since: str


class StockResult(Result, frozen=True, kw_only=True):
    """Units in the store. `available` = on_hand - held - escrow; below 0, held goods were sold."""

    item_id: str
    unit: str
    on_hand: int
    held: int
    escrow: int
    available: int
    state: StockState
    up_seq: int  # the store's journal position that this is as of
    discrepancies: tuple[Discrepancy, ...] = ()


class PlaceView(msgspec.Struct, frozen=True, kw_only=True):
    label: str
    aisle: str = ""
    bay: str = ""
    shelf: str = ""
    slot: str = ""


class HoldView(msgspec.Struct, frozen=True, kw_only=True):
    hold_id: str
    item_id: str
    name: str
    quantity: int
    unit: str
    purpose: str  # pickup | curbside | ship
    order: str
    state: str  # placed | arrived | collected | released | expired
    expires_at: str
    arrived_at: str | None = None
    places: tuple[PlaceView, ...] = ()


class HoldsResult(Result, frozen=True, kw_only=True):
    """A page of the pick list; `more`: go on after the last one."""

    holds: tuple[HoldView, ...]
    more: bool = False


class HoldResult(Result, frozen=True, kw_only=True):
    """The holds after the call. `changed` false: it was so already."""

    holds: tuple[HoldView, ...]
    changed: bool


class FlashResult(Result, frozen=True, kw_only=True):
    """The labels that were told to blink. Those that could not be told are `skipped`, with the reason."""

    labels: tuple[str, ...]
    skipped: dict[str, str]
