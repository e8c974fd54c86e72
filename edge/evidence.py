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
SENT: Final = "attempt.sent"
PROVEN: Final = "attempt.proven"
DWELL_OVER: Final = "attempt.dwell_over"
QUOTE: Final = "quote"
SALE: Final = "sale"
VOID: Final = "sale.voided"
RETURN: Final = "return"
NEW_LABEL: Final = "label.new"
UNKNOWN: Final = "label.unknown"
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


def standings(attempts: Mapping[int, Attempt], entries: Sequence[Entry], at_ms: int) -> list[Standing]:
    """What one label may have shown, or still bound by, after its `entries` (those up to the instant), oldest attempt first."""
    replay = _Replay(attempts)
    told = [(entry, entry.said) for entry in entries]
    covered = {said.get("attempt") for entry, said in told if entry.what in (SENT, UNKNOWN)} | {said.get("seen") for _, said in told}
    first = min((attempt_id for attempt_id in covered if isinstance(attempt_id, int)), default=None)
    for attempt_id in sorted(attempts):
        attempt = attempts[attempt_id]
        if attempt_id not in covered and attempt.created_ms <= at_ms and (first is None or attempt_id < first):
            replay.older(attempt, at_ms)
    for entry, said in told:
        replay.take(entry, said)
    return replay.standings()


_GRADES: Final = ("", "inferred", "shown", "person")  # from the weakest


class _Replay:
    """One label's may-set, entry by entry."""

    def __init__(self, attempts: Mapping[int, Attempt]) -> None:
        self._members: dict[int, Standing] = {}
        self._attempts = attempts
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


def lane_price(item_id: ItemId, target: Curve, shelf: Iterable[Standing]) -> LaneAt:
    """The lane's price to everybody: never above the target nor what any label may have shown."""
    quantity = target.points[0][0]
    found = [
        pricing.Bound(offer.curve, _REASONS[standing.shown], standing.attempt.label_id, standing.attempt.attempt_id)
        for standing in shelf
        for offer in standing.attempt.offers
        if offer.item_id == item_id and offer.audience == EVERYBODY
    ]
    charge = pricing.charge(quantity, (target,), found)
    without = pricing.charge(quantity, (target,), [bound for bound in found if bound.reason != pricing.DWELL])
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


@dataclass(frozen=True, slots=True)
class Reign:
    """A stretch of the target log in which a price row was in force; `until_log_id` None: to this day."""

    row_id: int
    log_id: int
    until_log_id: int | None


def unknown_at(attempt: Attempt, reigns: Sequence[Reign], proof_log_id: int, at_log_id: int) -> Attempt:
    """An unknown display as it bound when the target log stood at `at_log_id`: by all that was in force since the label's last proof."""
    rows = {each.row_id for each in reigns if each.log_id <= at_log_id and (each.until_log_id is None or each.until_log_id > proof_log_id)}
    return replace(attempt, offers=tuple(offer for offer in attempt.offers if offer.row_id is None or offer.row_id in rows))


def last_proof(attempt: Attempt, entries: Iterable[Entry]) -> int:
    """The entry by which the label of an unknown display was last proven before it became unknown; 0: none."""
    proof = 0
    for each in entries:
        if each.what == PROVEN:
            proof = each.entry
        elif each.what == UNKNOWN and each.said.get("attempt") == attempt.attempt_id:
            return proof
    return 0


def carried(item_id: ItemId, entries: Iterable[Entry], until_entry: int) -> bool:
    """Whether the label had been bound to the item by an entry; True where its beginning is older than the evidence."""
    known_from_new = False
    for entry in entries:
        known_from_new |= entry.what == NEW_LABEL
        if entry.what == BOUND and entry.entry <= until_entry and item_id in entry.said.get("items", ()):
            return True
    return not known_from_new
