"""What an item costs, and the guard that keeps every lane at or below every shelf. Pure: is told rows, may-sets and time.

The invariants (P1 to P6) and why each clause is needed: docs/reference/price-guard.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction

from msgspec.structs import replace

from edge.model import EVERYBODY, Curve, InForce, ItemId, MayEntry, MayKind, MayState, Offer, PriceKind, PriceRow, QuoteLine

SHELF_LOWER, DWELL, UNPROVEN = "shelf_lower", "dwell", "unproven"
REASONS = (SHELF_LOWER, DWELL, UNPROVEN)  # why a lane is held; metrics have no others

_SPECIAL = (PriceKind.PROMO, PriceKind.MARKDOWN)


def target(rows: Iterable[PriceRow], now_ms: int, *, member: bool = False) -> PriceRow | None:
    """The row whose price is asked for at `now_ms`: active override, else promo or markdown, else the latest base.

    `rows` holds the newest `rev` of each price_id. Among equals the latest start wins; of one start what HQ ordered at once, and last,
    wins; then ties go by price_id. Member rows count only for members, and then only where they are cheaper than what everybody pays.
    """
    active = [row for row in rows if not row.cancelled and row.effective_from_ms <= now_ms and not _ended(row, now_ms)]
    if len(active) == 1 and active[0].kind is not PriceKind.MEMBER:
        return active[0]  # most items have a base price and nothing else
    public = _latest(active, (PriceKind.OVERRIDE,)) or _latest(active, _SPECIAL) or _latest(active, (PriceKind.BASE,))
    if member:
        own = _latest(active, (PriceKind.MEMBER,))
        if own is not None and (public is None or public.curve.is_above(own.curve)):
            return own
    return public


def asked_for(rows: Iterable[PriceRow], from_ms: int, to_ms: int, *, member: bool = False) -> list[PriceRow]:
    """Every row whose price is asked for at some instant of a stretch of time, by these rows alone."""
    rows = tuple(rows)
    changes = {instant for row in rows for instant in (row.effective_from_ms, row.effective_to_ms) if instant is not None}
    instants = sorted({from_ms, *(instant for instant in changes if from_ms < instant <= to_ms)})
    found = (target(rows, instant, member=member) for instant in instants)
    return list({row.row_id: row for row in found if row is not None}.values())


def _ended(row: PriceRow, now_ms: int) -> bool:
    return row.effective_to_ms is not None and row.effective_to_ms <= now_ms


def _latest(rows: Iterable[PriceRow], kinds: tuple[PriceKind, ...]) -> PriceRow | None:
    return max((row for row in rows if row.kind in kinds), key=_start, default=None)


def _start(row: PriceRow) -> tuple[int, int, str]:
    """After a clock that ran ahead was set right, all that HQ orders at once has the very same start: that of the latch."""
    return row.effective_from_ms, row.row_id if row.immediate else 0, row.price_id


def advance(current: InForce | None, rows: Iterable[PriceRow], now_ms: int, *, clock_trusted: bool) -> InForce | None:
    """The target to put in force now, or None when what is in force stays.

    Time that went back undoes nothing (`latched_through_ms`). While the clock is not trusted a rise that the clock asks for,
    by a start or by another row's end, does not bind; a cut does (the safe side), and so does a rise that HQ ordered at once.
    """
    rows = tuple(rows)
    latched_ms = max(now_ms, current.latched_through_ms) if current else now_ms
    wanted = target(rows, latched_ms)
    if wanted is None or (current is not None and _same(wanted, current.row)):
        return None
    if current is not None and not clock_trusted and wanted.curve.is_above(current.row.curve):
        endless = (replace(row, effective_to_ms=None) if _same(row, current.row) else row for row in rows)
        ordered = target(endless, latched_ms)
        if not wanted.immediate or ordered is None or not _same(ordered, wanted):
            return None
    return InForce(wanted, latched_ms)


def _same(one: PriceRow, other: PriceRow) -> bool:
    return (one.kind, one.price_id, one.rev) == (other.kind, other.price_id, other.rev)


@dataclass(frozen=True, slots=True)
class Bound:
    """One reason why a lane may not charge more than `curve`."""

    curve: Curve
    reason: str  # one of REASONS
    label_id: str
    attempt_id: int
    audience: str = EVERYBODY
    page: int = 0
    grade: str | None = None  # how sure it is that the label shows it; None: only that it may


def bounds(
    item_id: ItemId, entries: Iterable[MayEntry], *, now_ms: int, boot_id: str, store_open: bool, member: bool = False
) -> Iterator[Bound]:
    """Every offer that some label may be showing for the item, on any page, or showed within the dwell.

    Keyed by what labels may show, never by assignment: a moved or dead label counts until its picture is proven gone. No
    time-out ends an OPEN or PROVEN entry. What is gone, or hangs on a label that a person retired, bounds while the store is
    open, for its dwell in `now_ms` of the same boot; another boot counts as if it had just begun. An offer to members bounds
    what a `member` pays, an offer to everybody bounds both.
    """
    for entry in entries:
        reason = bound_reason(entry, now_ms=now_ms, boot_id=boot_id, store_open=store_open)
        if reason is None:
            continue
        for offer in entry.offers:
            if offer.item_id == item_id and (member or offer.audience == EVERYBODY):
                yield Bound(offer.curve, reason, entry.label_id, entry.attempt_id, offer.audience, offer.page, entry.grade)


def bound_reason(entry: MayEntry, *, now_ms: int, boot_id: str, store_open: bool) -> str | None:
    """Why a member of a may-set bounds now, or None where it does not."""
    if entry.state is MayState.GONE:
        left_ms = dwell_left_ms(entry.gone_boot_id, entry.gone_ms, entry.dwell_ms, now_ms=now_ms, boot_id=boot_id, store_open=store_open)
        return DWELL if left_ms > 0 else None
    if entry.release is not None:
        away = entry.release
        left_ms = dwell_left_ms(away.boot_id, away.at_ms, away.dwell_ms, now_ms=now_ms, boot_id=boot_id, store_open=store_open)
        return DWELL if left_ms > 0 else None
    return UNPROVEN if entry.kind is MayKind.UNKNOWN else SHELF_LOWER


def dwell_left_ms(since_boot_id: str, since_ms: int, dwell_ms: int, *, now_ms: int, boot_id: str, store_open: bool) -> int:
    """How long what left shoppers' sight still bounds: 0 outside opening hours, in full after a reboot."""
    if not store_open:
        return 0
    return max(0, dwell_ms - (now_ms - since_ms if since_boot_id == boot_id else 0))


def outlasts(old: Offer, offers: Iterable[Offer]) -> bool:
    """Whether an offer promises somebody less than all that took its place: a shopper may have read it, so it must dwell."""
    heirs = (each for each in offers if each.item_id == old.item_id and each.audience in (EVERYBODY, old.audience))
    return all(heir.curve.is_above(old.curve) for heir in heirs)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a quantity costs at the lane: never above the target nor any bound. `held_by` is the bound that held it down."""

    total_minor: int
    target_total_minor: int
    curve: Curve
    held_by: Bound | None

    @property
    def guard(self) -> str | None:
        return self.held_by.reason if self.held_by else None


def charge(quantity: int, targets: Iterable[Curve], item_bounds: Iterable[Bound]) -> Charge:
    """min over the target(s) and every bound of the cost of `quantity`.

    `targets` is the price in force and, where the clock already asks for another row, that one too: a cut binds at once, a
    rise only when it was put in force. Raises ValueError when there is no target: an item without a price is not sold.
    """
    target_total_minor, curve = min(((each.cost_minor(quantity), each) for each in targets), key=lambda pair: pair[0])
    total_minor, held_by = target_total_minor, None
    for bound in item_bounds:
        cost_minor = bound.curve.cost_minor(quantity)
        if cost_minor < total_minor:
            total_minor, curve, held_by = cost_minor, bound.curve, bound
    return Charge(total_minor, target_total_minor, curve, held_by)


def share_bundle(charges: Mapping[str, tuple[int, int]], bundle_total_minor: int) -> dict[str, int]:
    """Spread a cheaper group total over its lines {line: (quantity, total)} by quantity; no line gets dearer, sum is exact."""
    quantity = sum(each[0] for each in charges.values())
    shares = {line: min(total, bundle_total_minor * count // quantity) for line, (count, total) in charges.items()}
    rest_minor = bundle_total_minor - sum(shares.values())
    for line, (_, total) in charges.items():
        step = min(rest_minor, total - shares[line])
        shares[line] += step
        rest_minor -= step
    return shares


def lease_above(offers: Iterable[tuple[ItemId, Curve]], leased: Callable[[ItemId], Iterable[tuple[QuoteLine, ...]]]) -> bool:
    """Whether a live quote charges more for an item, line by line or in all, than a picture about to be sent would promise.

    Such a picture waits. `leased` gives the lines of each live quote for an item.
    """
    for item_id, curve in offers:
        for lines in leased(item_id):
            total_minor, quantity = sum(line.total_minor for line in lines), sum(line.quantity for line in lines)
            if total_minor > curve.cost_minor(quantity) or any(line.total_minor > curve.cost_minor(line.quantity) for line in lines):
                return True
    return False


def _named(*curves: tuple[tuple[int, int], ...]) -> Iterable[int]:
    """The quantities that offers name: one and the same, for two plain prices."""
    quantities = {quantity for points in curves for quantity, _ in points}
    return sorted(quantities) if len(quantities) > 1 else quantities


def anomaly(new: Curve, old: Curve, *, factor: Fraction, drop_percent: Fraction) -> str | None:
    """Why a change looks like a typing error, at any quantity that either offer names: too many times as dear, or too deep a cut."""
    for quantity in _named(old.points, new.points):
        before, after = old.cost_minor(quantity), new.cost_minor(quantity)
        if after * factor.denominator > before * factor.numerator:
            return f"{before} to {after} for {quantity}: more than {float(factor):g} times"
        if after * 100 * drop_percent.denominator < before * (100 * drop_percent.denominator - drop_percent.numerator):
            return f"{before} to {after} for {quantity}: a cut of more than {float(drop_percent):g} %"
    return None
