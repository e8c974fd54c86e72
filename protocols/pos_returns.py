"""Voids and returns: what takes a sale back, as a whole or line by line."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from protocols.pos_base import (
    LINES_MAX,
    TENDERS_MAX,
    AmountMinor,
    Code,
    FreeText,
    Id,
    Instant,
    ItemRef,
    Params,
    Quantity,
    Result,
    Tender,
    body_digest,
    made_when,
    refuse_card_number,
    unique_lines,
)


class Condition(StrEnum):
    """Whether returned goods can be sold again. Damaged ones come back and are written off."""

    GOOD = "good"
    DAMAGED = "damaged"


class Origin(StrEnum):
    """Where the goods were bought. Only a sale of this store can be checked here."""

    STORE = "store"
    ONLINE = "online"
    OTHER_STORE = "other_store"


class VoidParams(Params, frozen=True):
    """Take a whole sale back, before anything of it was returned."""

    void_id: Id
    sale_id: Id
    reason: FreeText = ""
    offline: bool = False
    made_at: Instant | None = None

    def __post_init__(self) -> None:
        refuse_card_number("reason", self.reason)
        made_when(self.offline, self.made_at)


class ReturnLine(Params, frozen=True):
    """What comes back of one line of the sale. `quantity` counts units, as the quote's answer does.

    Where this store does not know the sale, `original_quantity` and `original_paid_minor` say what the receipt says (paid with deposit
    and tax), and `code` or `item_id` what it is.
    """

    line_id: Id
    quantity: Quantity
    original_line_id: Id | None = None
    condition: Condition = Condition.GOOD
    code: Code | None = None
    item_id: ItemRef | None = None
    original_quantity: Quantity | None = None
    original_paid_minor: AmountMinor | None = None

    def __post_init__(self) -> None:
        if self.code is not None and self.item_id is not None:
            raise ValueError("at most one of code and item_id")
        if (self.original_quantity is None) != (self.original_paid_minor is None):
            raise ValueError("original_quantity and original_paid_minor go together")
        if self.original_line_id is None and self.original_quantity is None:
            raise ValueError("either original_line_id or the original's quantity and amount are needed")


class ReturnParams(Params, frozen=True):
    """Goods that come back. `preview` only asks what is to be paid back; without it, the return is recorded.

    `sale_id` is the id of the sale, or the number on the receipt of another shop; without one, there was no receipt.
    """

    return_id: Id
    lines: Annotated[tuple[ReturnLine, ...], Meta(min_length=1, max_length=LINES_MAX)]
    tenders: Annotated[tuple[Tender, ...], Meta(max_length=TENDERS_MAX)] = ()
    sale_id: Id | None = None
    origin: Origin = Origin.STORE
    reason: FreeText = ""
    preview: bool = False
    offline: bool = False
    made_at: Instant | None = None

    def __post_init__(self) -> None:
        refuse_card_number("reason", self.reason)
        made_when(self.offline, self.made_at)
        unique_lines(self.lines)


class VoidResult(Result, frozen=True, kw_only=True):
    """The void is on disk: `refund_minor` was paid for the sale and is to be paid back."""

    void_id: str
    sale_id: str
    up_seq: int
    refund_minor: int
    flags: tuple[str, ...] = ()
    recorded: bool = True


class RefundedLine(msgspec.Struct, frozen=True, kw_only=True):
    """`refund_minor` for this line: goods, deposit and tax on top. `left` of the original line may still come back."""

    line_id: str
    item_id: str | None
    quantity: int
    refund_minor: int
    left: int


class ReturnResult(Result, frozen=True, kw_only=True):
    """What to pay back, exactly. `recorded` false: only asked for (`preview`). `flags` name what could not be checked."""

    return_id: str
    up_seq: int
    lines: tuple[RefundedLine, ...]
    refund_minor: int
    flags: tuple[str, ...] = ()
    recorded: bool = True


def void_digest(params: VoidParams) -> str:
    """The "same body" of a void that is sent again."""
    return body_digest(params.void_id, params.sale_id, params.reason)


def return_digest(params: ReturnParams) -> str:
    """The "same body" of a return that is sent again; `offline` and `made_at` may be added in between."""
    return body_digest(params.return_id, params.lines, params.tenders, params.sale_id, params.origin, params.reason)
