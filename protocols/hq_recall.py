"""What HQ says about lots of an item that must not be sold."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct

from protocols.hq_fields import Line, Sku

LOTS_MAX: Final = 500  # of one item under recall at a time: 500 lots of 20 characters stay far below the 128 KiB message limit

Lot = Annotated[str, Meta(min_length=1, max_length=20, pattern=r"^[^\x00-\x1f\x7f]*\Z")]  # as long as (10) of a bar code


class LotRecall(Struct, frozen=True):
    """Every lot of the item under recall from now on: it replaces what was said before, and none lifts the recall.

    `all_lots` recalls the item whatever its lot. `reason` is one line for the cashier.
    """

    sku: Sku
    lots: Annotated[tuple[Lot, ...], Meta(max_length=LOTS_MAX)] = ()
    all_lots: bool = False
    reason: Line = ""
