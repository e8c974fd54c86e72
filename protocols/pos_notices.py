"""What shelfd says to a till unasked: JSON-RPC notifications (no id, no answer), only on connections whose `hello` asked for them."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from protocols.jsonrpc import encode_notice

ITEMS_MAX: Final = 500  # items named in one notification; a till that needs more asks `price.since`
BASKETS_MAX: Final = 32  # open baskets named in one notification
HOLDS_MAX: Final = 100  # new holds named by id before the till is told to ask `hold.list`


class Notice(StrEnum):
    """What `hello` can ask for. `price.changed.basket`: `price.changed`, but only for what the lane's open baskets hold."""

    PRICES = "price.changed"
    BASKET_PRICES = "price.changed.basket"
    STALE = "stale"
    HOLD = "hold.new"


class PriceChanged(msgspec.Struct, frozen=True):
    """Prices of these items may have changed by `revision`; `more`: of others too. `baskets`: the lane's open baskets that hold one,
    to be quoted again before they are paid."""

    revision: int
    items: tuple[str, ...]
    more: bool = False
    baskets: tuple[str, ...] = ()


class Stale(msgspec.Struct, frozen=True):
    """HQ was not heard for `stale_s` seconds; `stale` false: it is back."""

    stale_s: int
    stale: bool


class HoldNew(msgspec.Struct, frozen=True):
    """Goods are to be picked for somebody. One notification per hold; without a `hold_id`, more came than were named: ask `hold.list`."""

    hold_id: str | None


NOTICE_SHAPES: Final[dict[str, type[msgspec.Struct]]] = {"price.changed": PriceChanged, "stale": Stale, "hold.new": HoldNew}


def price_changed(notice: PriceChanged) -> bytes:
    return encode_notice("price.changed", notice)


def stale(notice: Stale) -> bytes:
    return encode_notice("stale", notice)


def hold_new(notice: HoldNew) -> bytes:
    return encode_notice("hold.new", notice)
