"""Are the prices right? Every label's proven price against the lane's, and a sample for an inspection on foot. Pure.

The sample follows the examination procedure for price verification (NIST Handbook 130): 50 or 100 items, random within strata, at least
98 % right, overcharges against undercharges. Which tolerances a state adds is not in here: those tables were not verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Final, Protocol

from edge.model import EVERYBODY, Binding, ItemId, MayEntry, MayKind, MayState, Offer

RIGHT_PERCENT_MIN: Final = 98  # NIST Handbook 130, examination procedure for price verification


class Verdict(StrEnum):
    """What a customer meets who reads the label and pays."""

    EQUAL = "equal"
    UNDER = "under"  # the lane asks for less
    OVER = "over"  # the lane asks for more
    UNKNOWN = "unknown"  # what the label shows is not proven, or the lane has no price


_WORST_FIRST: Final = (Verdict.OVER, Verdict.UNKNOWN, Verdict.UNDER, Verdict.EQUAL)


@dataclass(frozen=True, slots=True)
class Line:
    """One price on one label: to everybody, or (`audience`) to members. Amounts are for `quantity`; `why` says what makes an UNKNOWN."""

    item_id: ItemId
    label_id: str
    place: str
    stratum: str
    quantity: int
    label_minor: int | None
    lane_minor: int | None
    verdict: Verdict
    grade: str | None
    why: str = ""
    audience: str = EVERYBODY


@dataclass(frozen=True, slots=True)
class Sampled:
    """An item to look at: its worst label, and how many it has."""

    number: int
    line: Line
    labels: int


class Lane(Protocol):
    """What the lanes say now."""

    def named(self, item_id: ItemId) -> int:
        """The quantity that the item's price is for: 1, or such as 1000 g."""

    def charge(self, item_id: ItemId, quantity: int, audience: str) -> int | None:
        """What an audience pays for a quantity; None without a price."""


def label_lines(
    label_id: str, entries: Sequence[MayEntry], binding: Binding | None, stratum_of: Callable[[ItemId], str], lane: Lane
) -> list[Line]:
    """A label in use against the lane: one line for each price that it provably shows, or item that it should show. `entries`: what it
    may show."""
    place = "/".join(part for part in _place(binding) if part)
    items = binding.items if binding is not None else ()
    proven = entries[0] if len(entries) == 1 and entries[0].state is MayState.PROVEN and entries[0].kind is MayKind.PICTURE else None
    if proven is None:
        why = "no picture yet" if not entries else "display unknown" if len(entries) == 1 else f"may show {len(entries)} pictures"
        return [_unknown(label_id, place, stratum_of(item_id), item_id, lane, why) for item_id in items]
    return [_line(label_id, place, stratum_of(offer.item_id), offer, lane, proven.grade) for offer in proven.offers]


def _place(binding: Binding | None) -> tuple[str, ...]:
    return (binding.place.aisle, binding.place.bay, binding.place.shelf, binding.place.slot) if binding is not None else ()


def _unknown(label_id: str, place: str, stratum: str, item_id: ItemId, lane: Lane, why: str) -> Line:
    quantity = lane.named(item_id)
    lane_minor = lane.charge(item_id, quantity, EVERYBODY)
    return Line(item_id, label_id, place, stratum, quantity, None, lane_minor, Verdict.UNKNOWN, None, why)


def _line(label_id: str, place: str, stratum: str, offer: Offer, lane: Lane, grade: str | None) -> Line:
    quantity, label_minor = offer.curve.points[0]
    lane_minor = lane.charge(offer.item_id, quantity, offer.audience)
    verdict = Verdict.UNKNOWN if lane_minor is None else _verdict(offer, lane)
    why = "no price at the lane" if lane_minor is None else ""
    return Line(offer.item_id, label_id, place, stratum, quantity, label_minor, lane_minor, verdict, grade, why, offer.audience)


def _verdict(offer: Offer, lane: Lane) -> Verdict:
    """The worst over every quantity that the label names."""
    asked = [(lane.charge(offer.item_id, quantity, offer.audience) or 0, total_minor) for quantity, total_minor in offer.curve.points]
    if any(charged > label for charged, label in asked):
        return Verdict.OVER
    return Verdict.UNDER if any(charged < label for charged, label in asked) else Verdict.EQUAL


def counts(lines: Iterable[Line]) -> dict[str, int]:
    """How many lines there are of each verdict."""
    found = dict.fromkeys(map(str, Verdict), 0)
    for line in lines:
        found[line.verdict] += 1
    return found


def judgement(lines: Sequence[Line]) -> dict[str, object]:
    """Counts, how many percent of what is known are right, over against under, and whether that passes."""
    found = counts(lines)
    known = len(lines) - found[Verdict.UNKNOWN]
    wrong = found[Verdict.OVER] + found[Verdict.UNDER]
    right_percent = None if known == 0 else round(100 * (known - wrong) / known, 2)
    return {
        **found,
        "right_percent": right_percent,
        "over_to_under": f"{found[Verdict.OVER]}:{found[Verdict.UNDER]}",
        "passes": None if known == 0 else (known - wrong) * 100 >= known * RIGHT_PERCENT_MIN,
    }


def draw_sample(lines: Iterable[Line], size: int, seed: str) -> list[Sampled]:
    """`size` items, spread over the strata as the items are, random within each: the same seed draws the same from the same items."""
    by_item: dict[ItemId, list[Line]] = {}
    for line in lines:
        by_item.setdefault(line.item_id, []).append(line)
    strata: dict[str, list[ItemId]] = {}
    for item_id, group in by_item.items():
        strata.setdefault(group[0].stratum, []).append(item_id)
    drawn: list[Sampled] = []
    for stratum, count in sorted(_shares({name: len(items) for name, items in strata.items()}, size, seed).items()):
        for item_id in sorted(strata[stratum], key=partial(_lot, seed, stratum))[:count]:
            group = by_item[item_id]
            worst = min(group, key=lambda line: (_WORST_FIRST.index(line.verdict), line.label_id))
            drawn.append(Sampled(len(drawn) + 1, worst, len(group)))
    return drawn


def _lot(seed: str, *names: str) -> bytes:
    """A number by chance, the same for the same words on any machine."""
    return hashlib.sha256("\n".join((seed, *names)).encode()).digest()


def _shares(sizes: Mapping[str, int], size: int, seed: str) -> dict[str, int]:
    """How many of each stratum, by largest remainder and lot; all of them where there are no more than asked for."""
    total = sum(sizes.values())
    if total <= size:
        return dict(sizes)
    shares = {name: count * size // total for name, count in sizes.items()}
    rest = size - sum(shares.values())
    by_remainder = sorted(sizes, key=lambda name: (-(sizes[name] * size % total), _lot(seed, name)))
    for name in by_remainder[:rest]:
        shares[name] += 1
    return shares
