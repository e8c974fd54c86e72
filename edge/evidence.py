"""What shelf and lane said at an instant, worked out from the audit chain. Pure: is told entries, attempts, targets and the instant.

The chain orders everything: what holds "at T" is what its entries say up to the last one made by then (docs/reference/evidence.md).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

import msgspec

from edge import pricing
from edge.model import EVERYBODY, Curve, ItemId, MayKind, Offer

# Entries by what they are about. A fact's queries are in edge/store/evidence.py.
BEGIN: Final = "evidence.begin"
INCARNATION: Final = "incarnation"
KEY: Final = "evidence.key"
TARGET: Final = "price.target"
MEMBER_PRICE: Final = "price.member"
MEMBER_WITHDRAWN: Final = "price.member_withdrawn"
SENT: Final = "attempt.sent"
PROVEN: Final = "attempt.proven"
DWELL_OVER: Final = "attempt.dwell_over"
BOUNDS: Final = "attempt.bounds"
QUOTE: Final = "quote"
SALE: Final = "sale"
VOID: Final = "sale.voided"
RETURN: Final = "return"
NEW_LABEL: Final = "label.new"
UNKNOWN: Final = "label.unknown"
SEEN: Final = "label.confirmed"  # of a price that nobody sent; what a person recognised is an entry of the same name without rows
BOUND: Final = "label.bound"
RETIRED_DWELL_OVER: Final = "label.dwell_over"


@dataclass(frozen=True, slots=True)
class Entry:
    """One link of the audit chain. `detail` is JSON text, hashed as it is."""

    entry: int
    wall_ms: int
    actor: str
    what: str
    detail: str
    prev_hash: str
    hash: str

    @property
    def said(self) -> dict[str, Any]:
        """The detail, read; nothing where somebody made it unreadable."""
        try:
            value = msgspec.json.decode(self.detail)
        except msgspec.DecodeError:
            return {}
        return value if isinstance(value, dict) else {}

    def holds(self) -> bool:
        """Whether the entry has the hash of what it says."""
        return self.hash == chain_hash(self.prev_hash, self.wall_ms, self.actor, self.what, self.detail)


def chain_hash(prev_hash: str, wall_ms: int, actor: str, what: str, detail: str) -> str:
    """The hash of an entry: SHA-256 in hex over its fields joined by newlines, UTF-8."""
    return hashlib.sha256("\n".join((prev_hash, str(wall_ms), actor, what, detail)).encode()).hexdigest()


# -- labels ----------------------------------------------------------------------------------------------------------------


class Shown(StrEnum):
    """How a picture stood at an instant."""

    MAY = "may be shown"  # on its way, or on the panel without proof
    PROVEN = "proven"
    UNKNOWN = "unknown display"  # anything the label was bound to since it was last proven
    DWELL = "gone, still binding"  # replaced or retired, within the time that a shopper may have read it


@dataclass(frozen=True, slots=True)
class Attempt:
    """A picture, or an unknown display, as the history has it. The last three are for attempts older than the evidence."""

    attempt_id: int
    label_id: str
    kind: MayKind
    offers: tuple[Offer, ...]
    picture_hash: str
    fields: str
    created_ms: int
    proven_ms: int | None
    grade: str | None


@dataclass(frozen=True, slots=True)
class Standing:
    """An attempt at an instant: since when it stands so, and the entry that says it (None: older than the evidence)."""

    attempt: Attempt
    shown: Shown
    grade: str | None
    since_ms: int
    entry: int | None


def standings(attempts: Mapping[int, Attempt], entries: Sequence[Entry], at_ms: int, through: int | None = None) -> list[Standing]:
    """What one label may have shown, or still bound by, at an instant, oldest attempt first. `entries` are all of the label's; those up
    to number `through` were made by then (None: all)."""
    told = [(entry, entry.said) for entry in entries]
    replay = _Replay(attempts, [bounds for entry, said in told if entry.what == BOUNDS and (bounds := _bounds(said)) is not None])
    covered = {said.get("attempt") for entry, said in told if entry.what in (SENT, UNKNOWN)} | {said.get("seen") for _, said in told}
    first = min((attempt_id for attempt_id in covered if isinstance(attempt_id, int)), default=None)
    for attempt_id in sorted(attempts):
        attempt = attempts[attempt_id]
        if attempt_id not in covered and attempt.created_ms <= at_ms and (first is None or attempt_id < first):
            replay.older(attempt, at_ms)
    for entry, said in told:
        if through is None or entry.entry <= through:
            replay.take(entry, said)
    return replay.standings()


def _bounds(said: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """(attempt, how many offers it had, how many joined) of an entry about an unknown display; None where somebody made it unreadable."""
    of = said.get("of")
    if not isinstance(of, list) or len(of) != 3 or not all(isinstance(each, int) for each in of):
        return None
    return of[0], of[1], of[2]


_GRADES: Final = ("", "inferred", "shown", "person")  # from the weakest


class _Replay:
    """One label's may-set, entry by entry."""

    def __init__(self, attempts: Mapping[int, Attempt], bounds: Iterable[tuple[int, int, int]]) -> None:
        """`bounds`: every growth of an unknown display that the entries tell of."""
        self._members: dict[int, Standing] = {}
        self._attempts = attempts
        self._before: dict[int, int] = {}  # offers of an unknown display that no entry brings: older than the evidence
        for attempt_id, had, _ in bounds:
            self._before[attempt_id] = min(had, self._before.get(attempt_id, had))
        self._away: Entry | None = None  # the entry that retired the label
        self._away_dwell_ms = 0  # 0 when it is over

    def standings(self) -> list[Standing]:
        """On a label that is out of shoppers' sight nothing is shown, but what was there within the dwell binds until it is over."""
        found = [self._members[attempt_id] for attempt_id in sorted(self._members)]
        away = self._away
        if away is None:
            return found
        left = [each for each in found if each.shown is Shown.DWELL or max(0, each.since_ms - away.wall_ms) < self._away_dwell_ms]
        return [
            each if each.shown is Shown.DWELL else replace(each, shown=Shown.DWELL, since_ms=away.wall_ms, entry=away.entry)
            for each in left
        ]

    def older(self, attempt: Attempt, at_ms: int) -> None:
        """An attempt that no entry covers: its row alone says what became of it."""
        self._join(attempt.attempt_id, attempt.created_ms, None)
        if attempt.kind is MayKind.UNKNOWN:
            self._bind(attempt.attempt_id, self._before.get(attempt.attempt_id, len(attempt.offers)))
        if attempt.proven_ms is not None and attempt.proven_ms <= at_ms:
            self._prove(attempt.attempt_id, attempt.grade, attempt.proven_ms, None)
            self._go([each for each in self._members if each < attempt.attempt_id])

    def take(self, entry: Entry, said: Mapping[str, Any]) -> None:
        match entry.what:
            case "attempt.sent" | "label.unknown":
                self._join(said.get("attempt", 0), entry.wall_ms, entry.entry)
            case "attempt.proven":
                self._prove(said.get("attempt", 0), said.get("grade"), entry.wall_ms, entry.entry)
                self._go(said.get("past", ()))
                self._dwell(said.get("dwells", ()), entry)
            case "attempt.bounds":
                bounds = _bounds(said)
                if bounds is not None:
                    self._bind(bounds[0], bounds[1] + bounds[2])
            case "attempt.dwell_over":
                self._members.pop(said.get("attempt", 0), None)
            case "label.retired":
                self._away, self._away_dwell_ms = entry, said.get("dwell_ms", 0)
            case "label.dwell_over":
                self._away_dwell_ms = 0
            case "label.restored":
                self._away = None
            case _:
                self._people(entry, said)

    def _people(self, entry: Entry, said: Mapping[str, Any]) -> None:
        """`seen`: a price that nobody sent. `released`: off the may-set, by what was seen or by the owner; `dwells` bind yet."""
        seen, dwells = said.get("seen"), said.get("dwells", ())
        if isinstance(seen, int):
            self._join(seen, entry.wall_ms, entry.entry)
            self._prove(seen, "person", entry.wall_ms, entry.entry)
        self._go([attempt_id for attempt_id in said.get("released", ()) if attempt_id not in dwells])
        self._dwell(dwells, entry)

    def _join(self, attempt_id: int, wall_ms: int, entry: int | None) -> None:
        attempt = self._attempts.get(attempt_id)
        if attempt is not None:
            shown = Shown.UNKNOWN if attempt.kind is MayKind.UNKNOWN else Shown.MAY
            self._members[attempt_id] = Standing(attempt, shown, None, wall_ms, entry)
            if shown is Shown.UNKNOWN:
                self._bind(attempt_id, 0)

    def _bind(self, attempt_id: int, offers: int) -> None:
        """An unknown display bounds by so many of the offers that were written for it by and by."""
        was = self._members.get(attempt_id)
        if was is not None:
            attempt = self._attempts[attempt_id]
            self._members[attempt_id] = replace(was, attempt=replace(attempt, offers=attempt.offers[:offers]))

    def _prove(self, attempt_id: int, grade: str | None, wall_ms: int, entry: int | None) -> None:
        was = self._members.get(attempt_id)
        if was is None:
            return
        if was.shown is Shown.PROVEN:  # proven again: since when stays, and so does the better grade
            wall_ms, grade = was.since_ms, max(was.grade or "", grade or "", key=_GRADES.index)
        self._members[attempt_id] = replace(was, shown=Shown.PROVEN, grade=grade, since_ms=wall_ms, entry=entry)

    def _go(self, attempt_ids: Iterable[int]) -> None:
        for attempt_id in attempt_ids:
            self._members.pop(attempt_id, None)

    def _dwell(self, attempt_ids: Iterable[int], entry: Entry) -> None:
        for attempt_id in attempt_ids:
            if attempt_id in self._members:
                self._members[attempt_id] = replace(self._members[attempt_id], shown=Shown.DWELL, since_ms=entry.wall_ms, entry=entry.entry)


# -- the lane --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TargetAt:
    """The price in force at an instant, its row, since when, and who ordered it. `entry` None: older than the evidence."""

    log_id: int
    row_id: int
    kind: str
    price_id: str
    rev: int
    curve: Curve
    since_ms: int
    source: str
    entry: int | None


@dataclass(frozen=True, slots=True)
class LaneAt:
    """What a lane charged for `quantity`, the quantity that the price is named for.

    `above_minor` is what it charged if the dwell of what was gone had ended already (its end is known to the instant of the next look);
    the same as `price_minor` where no dwell made a difference.
    """

    quantity: int
    price_minor: int
    target_minor: int
    guard: str | None
    label_id: str | None
    attempt_id: int | None
    above_minor: int


def lane_price(item_id: ItemId, target: Curve, shelf: Iterable[Standing], *, member: bool = False, own: Curve | None = None) -> LaneAt:
    """The lane's price to everybody, or to a `member`: never above the target, nor the members' `own`, nor what any label may have shown
    them."""
    targets = (target,) if own is None else (target, own)
    quantity = target.points[0][0]
    found = [
        pricing.Bound(offer.curve, _REASONS[standing.shown], standing.attempt.label_id, standing.attempt.attempt_id)
        for standing in shelf
        for offer in standing.attempt.offers
        if offer.item_id == item_id and (member or offer.audience == EVERYBODY)
    ]
    charge = pricing.charge(quantity, targets, found)
    without = pricing.charge(quantity, targets, [bound for bound in found if bound.reason != pricing.DWELL])
    held = charge.held_by
    return LaneAt(
        quantity,
        charge.total_minor,
        charge.target_total_minor,
        charge.guard,
        held.label_id if held else None,
        held.attempt_id if held else None,
        without.total_minor,
    )


_REASONS: Final = {
    Shown.MAY: pricing.SHELF_LOWER,
    Shown.PROVEN: pricing.SHELF_LOWER,
    Shown.UNKNOWN: pricing.UNPROVEN,
    Shown.DWELL: pricing.DWELL,
}
