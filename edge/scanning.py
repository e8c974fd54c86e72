"""What a scanned code means in this store: the item, how much of it, what its pack says it costs, and what the cashier must know.

Pure: is told codes, rules, the date. The codes themselves are read by `protocols.gs1`; the contract is docs/reference/scanning.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Final

from edge.model import Curve, Item, ItemId, Recall
from protocols.gs1 import Rules, Scan, read
from protocols.gs1_currency import is_currency
from protocols.gs1_numbers import GTIN_LENGTHS, BadCode, is_digits, shown

SCANS_MAX: Final = 99  # of a pack that carries its own weight in one line; more is a till that sends the weight as well
LOTS_SHOWN_MAX: Final = 6  # recalled lots that a cashier can compare with a pack


class UnknownCode(LookupError):
    """The code is read, and no item of the store has it, or more than one: the text says which."""


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Where codes are looked up: the view's own tables."""

    barcodes: Mapping[str, tuple[ItemId, int]]
    plus: Mapping[str, Collection[ItemId]]


@dataclass(frozen=True, slots=True)
class Found:
    """The item of a code and how many pieces the code stands for. `scan`: what else it says; None for a plain number of the item."""

    item_id: ItemId
    pack_quantity: int
    scan: Scan | None


@dataclass(frozen=True, slots=True)
class Pack:
    """What one scan of a code sells: `units` of the item, for `price_minor` at most where the code says a price.

    `units` None: goods by weight with a price alone, whose quantity follows from it (`units_for`). `own`: the code carries the
    amount itself, so that a till's quantity counts scans.
    """

    units: int | None
    price_minor: int | None = None
    own: bool = False


@dataclass(frozen=True, slots=True)
class Caution:
    """A stable code and a text for the cashier."""

    code: str  # recalled | check_lot | expired | past_sell_by | past_best_before | check_date | amount_ignored
    text: str


def plain(code: str, catalogue: Catalogue) -> Found | None:
    """An item number that is in the catalogue as it stands: no need to know what else it may mean."""
    if len(code) not in GTIN_LENGTHS or not is_digits(code):
        return None
    hit = catalogue.barcodes.get(code.zfill(14))
    return Found(*hit, None) if hit is not None else None


def find(code: str, catalogue: Catalogue, rules: Rules, today: date) -> Found:
    """The item of whatever a scanner sent. Raises BadCode for what cannot be read, UnknownCode for what nothing has.

    A number that the catalogue has as it stands is that item, whatever a layout would read in it.
    """
    hit = plain(code, catalogue)
    if hit is not None:
        return hit
    scan = read(code, today, rules)
    for key in (scan.gtin14, *scan.also):
        exact = catalogue.barcodes.get(key) if key is not None else None
        if exact is not None:
            if scan.embedded is not None and scan.embedded.gtin14 != key:
                return Found(*exact, replace(scan, embedded=None, measure=None, price=None))
            return Found(*exact, scan)
    if scan.embedded is not None:
        if scan.embedded.by_plu:
            return Found(_by_plu(scan.embedded.reference.lstrip("0"), catalogue), 1, scan)
        stored = catalogue.barcodes.get(scan.embedded.gtin14)
        if stored is not None:
            return Found(*stored, scan)
    if scan.plu is not None:
        return Found(_by_plu(scan.plu, catalogue), 1, scan)
    raise UnknownCode(f"no item has the code {shown(code)}" if scan.gtin14 else f"the code {shown(code)} names no item")


def _by_plu(plu: str, catalogue: Catalogue) -> ItemId:
    owners = sorted(catalogue.plus.get(plu, ()))
    if len(owners) != 1:
        raise UnknownCode(f"no item has the PLU {plu}" if not owners else f"items {', '.join(owners[:3])} all have the PLU {plu}")
    return owners[0]


# -- amounts ---------------------------------------------------------------------------------------------------------------


def pack_of(found: Found, item: Item, currency: str, exponent: int) -> tuple[Pack, tuple[Caution, ...]]:
    """What one scan sells. An amount that does not fit how the item is sold is left out, and the cashier is told."""
    scan = found.scan
    if scan is None or (scan.measure is None and scan.price is None):
        return Pack(found.pack_quantity), ()
    told = []
    price_minor = None
    if scan.price is not None and scan.price.currency and not is_currency(scan.price.currency, currency):
        told.append(Caution("amount_ignored", f"The code's price is in currency {scan.price.currency} and is not used."))
    elif scan.price is not None:
        price_minor = scan.price.minor(exponent) or None
    if scan.measure is not None and scan.measure.unit == str(item.unit) and scan.measure.whole > 0:
        times = found.pack_quantity if item.sold_by == "each" else 1
        return Pack(scan.measure.whole * times, price_minor, own=True), tuple(told)
    if scan.measure is not None and price_minor is None:
        how = "is sold by the piece" if item.sold_by == "each" else f"needs a quantity in {item.unit}"
        told.append(Caution("amount_ignored", f"The code's amount is not used: the item {how}."))
    if price_minor is None or item.sold_by == "each":
        return Pack(found.pack_quantity, price_minor, own=price_minor is not None), tuple(told)
    return Pack(None, price_minor, own=True), tuple(told)


def units_for(price_minor: int, curve: Curve) -> int:
    """The fewest units worth at least `price_minor`, by the rate of a curve's first point: what a pack of that price holds.

    Rounded up and exact, so that neither one pack nor several together have a price above what the curve asks for their units.
    """
    base_quantity, base_minor = curve.points[0]
    return max(1, -(-price_minor * base_quantity // base_minor)) if base_minor else 1


def is_sent_twice(quantity: int, pack: Pack, item: Item) -> bool:
    """Whether a till seems to send a pack's weight as its quantity too: that would be charged many times over."""
    if item.sold_by == "each" or not pack.own:
        return False
    return quantity > SCANS_MAX or (quantity > 1 and quantity == pack.units)


# -- what the cashier must know --------------------------------------------------------------------------------------------


def cautions(scan: Scan | None, recall: Recall | None, local_now: datetime, *, clock_trusted: bool) -> tuple[Caution, ...]:
    """Recalled lots and dates that have passed, the gravest first. `local_now` is the store's wall time.

    While nobody vouches for the clock no date is judged: the cashier is asked to read it.
    """
    found = list(_of_recall(scan, recall))
    if scan is None:
        return tuple(found)
    today = local_now.date()
    dated = [(day, code, text) for day, code, text in _dates(scan) if day is not None]
    if dated and not clock_trusted:
        shown_days = ", ".join(str(day) for day, _, _ in dated)
        return (*found, Caution("check_date", f"The store's clock is not set: is {shown_days} past?"))
    for day, code, text in dated:
        minute = scan.expiry_minute if code == "expired" else None
        over = today > day or (today == day and minute is not None and local_now.hour * 60 + local_now.minute >= minute)
        if over:
            at = f" {minute // 60:02d}:{minute % 60:02d}" if minute is not None else ""
            found.append(Caution(code, text.format(f"{day}{at}")))
    return tuple(found)


def _of_recall(scan: Scan | None, recall: Recall | None) -> Iterator[Caution]:
    if recall is None:
        return
    why = f" {recall.reason}" if recall.reason else ""
    lot = scan.lot if scan is not None else None
    if recall.all_lots:
        yield Caution("recalled", f"Recalled: do not sell.{why}")
    elif lot is not None and lot.casefold() in {each.casefold() for each in recall.lots}:
        yield Caution("recalled", f"Lot {lot} is recalled: do not sell.{why}")
    elif lot is None and recall.lots:
        more = ", ..." if len(recall.lots) > LOTS_SHOWN_MAX else ""
        lots = ", ".join(sorted(recall.lots)[:LOTS_SHOWN_MAX]) + more
        yield Caution("check_lot", f"Lots {lots} are recalled: compare the pack.{why}")


def _dates(scan: Scan) -> tuple[tuple[date | None, str, str], ...]:
    return (
        (scan.expiry, "expired", "Past its use-by date {}: do not sell."),
        (scan.sell_by, "past_sell_by", "Past its sell-by date {}: ask before selling."),
        (scan.best_before, "past_best_before", "Past its best-before date {}: tell the customer."),
    )


__all__ = [
    "BadCode",
    "Catalogue",
    "Caution",
    "Found",
    "Pack",
    "UnknownCode",
    "cautions",
    "find",
    "is_sent_twice",
    "pack_of",
    "plain",
    "units_for",
]
