"""The shop's nouns as frozen types that check themselves: items, prices as curves, bindings, offers, quotes.

Money is integer minor units of the store's one currency; quantities are integers of a unit; wall time is UTC milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import lru_cache
from typing import NewType

from msgspec import Struct

ItemId = NewType("ItemId", str)  # HQ's SKU text
AttemptId = NewType("AttemptId", int)

AMOUNT_MINOR_MAX = 10**12  # ten thousand million in a 2-digit currency: above any shelf price, below 2**53
QUANTITY_MAX = 10**9  # a thousand tonnes in grams
COST_MINOR_MAX = 2**53 - 1  # a cost stops here: 500 of them still add up in 64 bits
CURVE_POINTS_MAX = 24  # the guard compares offers for 1 to 24 pieces; bounds the cost search
EXACT_BUNDLES = 24  # so many of the smallest bundle are combined exactly; above, whole best bundles are taken first
LABEL_ITEMS_MAX = 8  # as many as a template can place (render.fields.ITEMS_MAX)

PLU_ATTRIBUTE = "plu"  # the attribute of an item that holds its PLUs, with blanks between them
EVERYBODY, MEMBERS = "all", "member"  # audiences of an offer: whoever reads the label, or only who shows a membership
PAPER = "paper"  # the kind of a label without a radio: people print it, hang it and say so


class Unit(StrEnum):
    """What a quantity counts. Weight, volume and length are whole grams, millilitres and millimetres."""

    EACH = "each"
    GRAM = "g"
    MILLILITRE = "ml"
    MILLIMETRE = "mm"


UNIT_OF_SOLD_BY = {"each": Unit.EACH, "weight": Unit.GRAM, "volume": Unit.MILLILITRE, "length": Unit.MILLIMETRE}


class PriceKind(StrEnum):
    BASE = "base"
    PROMO = "promo"
    MEMBER = "member"
    MARKDOWN = "markdown"
    OVERRIDE = "override"


def divide_half_up(numerator: int, denominator: int) -> int:
    """Non-negative integer division, half rounded up: the one rounding rule of money here, named `half_up`."""
    return (2 * numerator + denominator) // (2 * denominator)


@dataclass(frozen=True, slots=True)
class Curve:
    """An offer: ascending (quantity, total_minor) points. A plain price is one point (price_quantity, amount)."""

    points: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not 1 <= len(self.points) <= CURVE_POINTS_MAX:
            raise ValueError(f"a curve has 1 to {CURVE_POINTS_MAX} points, not {len(self.points)}")
        previous = 0
        for quantity, total_minor in self.points:
            if not previous < quantity <= QUANTITY_MAX:
                raise ValueError(f"curve quantities ascend from 1, got {quantity} after {previous}")
            if not 0 <= total_minor <= AMOUNT_MINOR_MAX:
                raise ValueError(f"a total is 0 to {AMOUNT_MINOR_MAX} minor units, got {total_minor}")
            previous = quantity

    @classmethod
    def plain(cls, amount_minor: int, price_quantity: int = 1) -> Curve:
        return cls(((price_quantity, amount_minor),))

    def cost_minor(self, quantity: int) -> int:
        """The lowest total for `quantity` that this offer can mean: bundles combine, the rest is pro rata of the first point."""
        base_quantity, base_total = self.points[0]
        if len(self.points) == 1:
            plain_minor = base_total * quantity if base_quantity == 1 else divide_half_up(base_total * quantity, base_quantity)
            return plain_minor if plain_minor < COST_MINOR_MAX else COST_MINOR_MAX
        bundles = [point for point in self.points[1:] if point[0] <= quantity]
        taken_minor = 0
        while bundles and quantity > EXACT_BUNDLES * bundles[0][0]:
            size, total = min(self.points, key=lambda point: (Fraction(point[1], point[0]), point[0]))
            if size > quantity:
                size, total = min(bundles, key=lambda point: (Fraction(point[1], point[0]), point[0]))
            count = max(1, (quantity - EXACT_BUNDLES * bundles[0][0]) // size)
            taken_minor, quantity = taken_minor + count * total, quantity - count * size
            bundles = [point for point in bundles if point[0] <= quantity]
        costs = {0: 0}  # of every quantity that whole bundles make up
        for size, total in bundles:
            for start, cost_minor in list(costs.items()):
                for count in range(1, (quantity - start) // size + 1):
                    reached, reached_minor = start + count * size, cost_minor + count * total
                    costs[reached] = min(reached_minor, costs.get(reached, reached_minor))
        best_minor = min(cost + divide_half_up(base_total * (quantity - part), base_quantity) for part, cost in costs.items())
        return min(taken_minor + best_minor, COST_MINOR_MAX)

    def is_above(self, other: Curve) -> bool:
        """Whether some quantity costs more here than there: by the rate of two plain prices, else at 1 to 24 pieces or at any point."""
        if self is other:
            return False
        if len(self.points) == len(other.points) == 1:
            (quantity, total), (other_quantity, other_total) = self.points[0], other.points[0]
            return total * other_quantity > other_total * quantity
        return _is_above(self, other)


@lru_cache(maxsize=4096)  # a store has few bundles; they meet again and again
def _is_above(one: Curve, other: Curve) -> bool:
    quantities = {point[0] for point in (*one.points, *other.points)} | set(range(1, CURVE_POINTS_MAX + 1))
    return any(one.cost_minor(quantity) > other.cost_minor(quantity) for quantity in quantities)


@dataclass(frozen=True, slots=True)
class Item:
    """A catalogue entry. `net_content` is in `net_unit`; `unit_price_base` is the quantity a unit price is stated for."""

    item_id: ItemId
    name: str
    short_name: str = ""
    brand: str = ""
    sold_by: str = "each"
    net_content: int | None = None
    net_unit: str | None = None
    drained_weight: int | None = None
    unit_price_base: int | None = None
    tax_class: str = ""
    deposit_minor: int = 0
    age_limit: int = 0
    origin: str = ""
    category: str = ""
    rating_tenths: int | None = None
    rating_count: int | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    removed: bool = False

    @property
    def unit(self) -> Unit:
        return UNIT_OF_SOLD_BY[self.sold_by]

    @property
    def plus(self) -> tuple[str, ...]:
        """The PLUs that a cashier may type for it: none once it has left the catalogue."""
        return () if self.removed else tuple(plu for name, text in self.attributes if name == PLU_ATTRIBUTE for plu in text.split())


@dataclass(frozen=True, slots=True)
class Recall:
    """Lots of an item that must not be sold, or all of it, as HQ said last."""

    lots: frozenset[str]
    all_lots: bool = False
    reason: str = ""


class PriceRow(Struct, frozen=True, gc=False):
    """One version of one price. `rev` orders versions of the same (item, price_id) only."""

    row_id: int
    item_id: ItemId
    kind: PriceKind
    price_id: str
    rev: int
    effective_from_ms: int
    effective_to_ms: int | None
    curve: Curve
    immediate: bool = False  # HQ named no start: in force on receipt, whatever the clock says
    cancelled: bool = False


class InForce(Struct, frozen=True, gc=False):
    """The target price in force for an item: the row, and the instant through which clock-driven change is latched."""

    row: PriceRow
    latched_through_ms: int


@dataclass(frozen=True, slots=True)
class Place:
    aisle: str = ""
    bay: str = ""
    shelf: str = ""
    slot: str = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """What a label is for. No items: the label shows "unassigned"."""

    label_id: str
    items: tuple[ItemId, ...]
    template: str
    place: Place
    binding_rev: int


@dataclass(frozen=True, slots=True)
class Offer:
    """What one picture promises for one item."""

    item_id: ItemId
    curve: Curve
    page: int = 0
    audience: str = EVERYBODY
    row_id: int | None = None


class MayState(StrEnum):
    OPEN = "open"  # may be on the panel or may still come
    PROVEN = "proven"  # was seen there by the driver's proof rule
    GONE = "gone"  # a newer attempt is proven; bounds only for the dwell


class MayKind(StrEnum):
    PICTURE = "picture"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Release:
    """A person took the label out of shoppers' sight: what it may show bounds for the dwell from then on, and no longer."""

    boot_id: str
    at_ms: int
    dwell_ms: int


@dataclass(frozen=True, slots=True)
class MayEntry:
    """One member of a label's may-set: an attempt, or UNKNOWN, with the offers that a shopper may read there.

    `release` is set while its label is retired: the member stays what it is, for the day that the label comes back.
    """

    attempt_id: AttemptId
    label_id: str
    kind: MayKind
    state: MayState
    content_hash: str
    offers: tuple[Offer, ...]
    grade: str | None = None
    gone_boot_id: str = ""
    gone_ms: int = 0
    dwell_ms: int = 0
    release: Release | None = None


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """A priced line: `curve` is the offer that gave the lowest total, `target_total_minor` what the target alone would cost.

    `scans` is how often a pack was scanned whose price told its quantity: the same scans never get dearer, whatever they weigh then.
    `deposit_minor` is the deposit for the whole line, on top of `total_minor`.
    """

    line_id: str
    item_id: ItemId
    code: str
    name: str
    quantity: int
    unit: str
    total_minor: int
    target_total_minor: int
    curve: Curve
    guard: str | None
    scans: int = 0
    deposit_minor: int = 0


@dataclass(frozen=True, slots=True)
class Quote:
    """A durable quote: the instant of charging. While live it is a lane lease."""

    quote_id: str
    lane_id: str
    basket_id: str
    lines: tuple[QuoteLine, ...]
    total_minor: int
    revision: int
    boot_id: str
    made_ms: int
    valid_ms: int
    member: bool = False


@dataclass(slots=True)
class LabelState:
    """What the store knows of a label. Mutable only inside the view; `next_try_ms` and `fail_count` are not durable facts."""

    label_id: str
    kind: str = ""
    panel: str = ""
    codecs: tuple[str, ...] = ()
    slot_bytes: int = 0
    firmware: int = 0
    battery_mv: int | None = None
    rssi_dbm: int | None = None
    last_radio: str = ""
    last_seen_wall_ms: int = 0
    retired: str = ""
    ever_bound: set[ItemId] = field(default_factory=set)
