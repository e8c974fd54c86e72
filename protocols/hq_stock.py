"""What HQ says about a store's stock: adjustments, counts, holds, quotas, digests; and what sensors saw."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from protocols.hq_fields import COUNT_MAX, ROWS_MAX, Delta, Id, Incarnation, Instant, Line, Quantity, SeqOrNone, Sha256, Sku

HOLDS_MAX: Final = 200  # in one message: each is answered by an event of its own
RANGES_MAX: Final = 16  # ranges of some 1,000 items in one digest: what the store compares in 20 ms

Channel = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,31}\Z")]


class Adjustment(Struct, frozen=True):
    """`delta` units more or fewer, once by `id`. `cause` receipt, shrink or anything else; `as_of_seq` places it among the store's own
    events, None: after all that have happened when it arrives."""

    id: Id
    sku: Sku
    delta: Delta
    cause: Line
    as_of_seq: SeqOrNone | None = None


class StockAdjust(Struct, frozen=True):
    adjustments: Annotated[tuple[Adjustment, ...], Meta(min_length=1, max_length=ROWS_MAX)]


class StockCount(Struct, frozen=True):
    """`counted` units were there when the store's own events up to `as_of_seq` had happened, in the numbering of `incarnation` (None:
    the present one)."""

    id: Id
    sku: Sku
    counted: Delta
    as_of_seq: SeqOrNone
    incarnation: Incarnation | None = None


class Purpose(StrEnum):
    """What goods are held for: to be fetched inside, at the kerb, or to be sent from here."""

    PICKUP = "pickup"
    CURBSIDE = "curbside"
    SHIP = "ship"


class HoldRow(Struct, frozen=True):
    """Keep `quantity` units for an order until `expires`. With a `channel`, they come out of its quota."""

    id: Id
    sku: Sku
    quantity: Quantity
    purpose: Purpose
    expires: Instant
    order: Line = ""
    channel: Channel | None = None


class StockHold(Struct, frozen=True):
    holds: Annotated[tuple[HoldRow, ...], Meta(min_length=1, max_length=HOLDS_MAX)]

    def __post_init__(self) -> None:
        _each_once(hold.id for hold in self.holds)


class ReleaseRow(Struct, frozen=True):
    id: Id
    reason: Line = ""


class StockRelease(Struct, frozen=True):
    """HQ no longer needs these holds."""

    releases: Annotated[tuple[ReleaseRow, ...], Meta(min_length=1, max_length=HOLDS_MAX)]


class EscrowRow(Struct, frozen=True):
    """Move `change` units between what is available (above 0: from it) and a channel's quota, once by `id`."""

    id: Id
    sku: Sku
    channel: Channel
    change: Delta


class StockEscrow(Struct, frozen=True):
    moves: Annotated[tuple[EscrowRow, ...], Meta(min_length=1, max_length=HOLDS_MAX)]

    def __post_init__(self) -> None:
        _each_once(f"{move.id} {move.sku}" for move in self.moves)


class RangeDigest(Struct, frozen=True):
    """HQ's books for the items from `first` through `last`, in the order of their UTF-8 bytes: how many have units, how many units on
    hand in all, and SHA-256 over "sku on_hand held escrow" lines."""

    first: Sku
    last: Sku
    count: SeqOrNone
    total: Delta
    sha256: Sha256


class StockDigest(Struct, frozen=True):
    ranges: Annotated[tuple[RangeDigest, ...], Meta(min_length=1, max_length=RANGES_MAX)]

    def __post_init__(self) -> None:
        _each_once(f"{each.first} {each.last}" for each in self.ranges)


class ObservationKind(StrEnum):
    SHELF = "shelf"  # a camera or a pusher that counts facings
    SCALE = "scale"
    RFID = "rfid"


class Observation(Struct, frozen=True):
    """What a sensor of the store saw: `quantity` units at `seen_at`."""

    id: Id
    source: Id
    kind: ObservationKind
    sku: Sku
    quantity: Annotated[int, Meta(ge=0, le=COUNT_MAX)]
    seen_at: Instant


class Observations(Struct, frozen=True):
    observations: Annotated[tuple[Observation, ...], Meta(min_length=1, max_length=ROWS_MAX)]


def _each_once(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name} is named twice")
        seen.add(name)
