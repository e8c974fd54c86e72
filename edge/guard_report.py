"""Why a price is what it is, and what holds others down. Pure: is told the view, the time, and what the rows say of attempts.

Every bound comes with its way out: a hold that nobody can end is a hold that somebody will work around.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from drivers.base import Grade
from edge import pricing
from edge.model import EVERYBODY, MEMBERS, PAPER, Curve, ItemId, LabelState, MayEntry, MayKind, MayState, Offer, PriceKind, QuoteLine
from edge.planning import may_still_show, offers_by_audience
from edge.pricing import DWELL
from edge.view import View

SILENT_MS: Final = 4 * 3_600_000  # a label that is well checks in within the hour; then somebody should go there


@dataclass(frozen=True, slots=True)
class Now:
    """The instant that is reported on."""

    now_ms: int
    boot_id: str
    wall_ms: int
    store_open: bool


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What the rows say of an attempt. `held_since_wall_ms`: since when it keeps some item below its target, where that was noted."""

    created_wall_ms: int
    proven_wall_ms: int | None
    outcome: str
    held_since_wall_ms: int | None


@dataclass(frozen=True, slots=True)
class BoundNow:
    """An offer that bounds an item now. `holds`: it keeps the lane below the target."""

    item_id: ItemId
    entry: MayEntry
    offer: Offer
    reason: str
    holds: bool


def targets(view: View, item_id: ItemId, wall_ms: int, audience: str = EVERYBODY) -> list[Curve]:
    """What an audience would pay if no label spoke against it: the cheapest of these. None: the item has no price."""
    in_force = view.in_force.get(item_id)
    if in_force is None:
        return []
    rows, at_ms = view.rows.get(item_id, ()), max(wall_ms, in_force.latched_through_ms)
    asked = [pricing.target(rows, at_ms, member=audience == MEMBERS), pricing.target(rows, at_ms)]
    return [in_force.row.curve, *(row.curve for row in asked if row is not None)]


def bounds_now(view: View, item_id: ItemId, now: Now) -> Iterator[BoundNow]:
    """Every offer that bounds the item, oldest attempt first."""
    below = {audience: targets(view, item_id, now.wall_ms, audience) for audience in (EVERYBODY, MEMBERS)}
    for entry in sorted(view.may_of_item(item_id), key=lambda entry: entry.attempt_id):
        reason = pricing.bound_reason(entry, now_ms=now.now_ms, boot_id=now.boot_id, store_open=now.store_open)
        for offer in entry.offers if reason is not None else ():
            if reason is not None and offer.item_id == item_id:
                curves = below[offer.audience]
                holds = bool(curves) and all(curve.is_above(offer.curve) for curve in curves)
                yield BoundNow(item_id, entry, offer, reason, holds)


def holds_now(view: View, item_id: ItemId, now: Now) -> list[BoundNow]:
    """What keeps an item below its target; nothing where it is no longer sold."""
    item = view.items.get(item_id)
    if item is None or item.removed:
        return []
    return [bound for bound in bounds_now(view, item_id, now) if bound.holds]


def guard_of(holds: list[BoundNow]) -> str:
    """The reason of the hold that gives most away, for a single price."""
    return min(holds, key=lambda bound: bound.offer.curve.cost_minor(bound.offer.curve.points[0][0])).reason


def place_of(view: View, label_id: str) -> str:
    """Where a label hangs, as aisle/bay/shelf/slot; what is not known is left out."""
    binding = view.bindings.get(label_id)
    if binding is None:
        return ""
    place = binding.place
    return "/".join(part for part in (place.aisle, place.bay, place.shelf, place.slot) if part)


def bound_report(view: View, bound: BoundNow, now: Now, facts: AttemptFacts | None, problem: str) -> dict[str, object]:
    """One bound as people read it. `problem`: what the shelf's loop has to say of the label."""
    entry, offer = bound.entry, bound.offer
    since_wall_ms = _since(facts)
    return {
        "label": entry.label_id,
        "place": place_of(view, entry.label_id),
        "attempt": entry.attempt_id,
        "shows": "unknown display" if entry.kind is MayKind.UNKNOWN else str(entry.state),
        "grade": entry.grade,
        "reason": bound.reason,
        "holds": bound.holds,
        "audience": offer.audience,
        "page": offer.page,
        "curve": [list(point) for point in offer.curve.points],
        "age_s": None if since_wall_ms is None else max(0, now.wall_ms - since_wall_ms) // 1000,
        "remedy": remedy(view, entry, now, problem) if bound.holds else "",
    }


def _since(facts: AttemptFacts | None) -> int | None:
    return None if facts is None else facts.held_since_wall_ms or facts.created_wall_ms


def remedy(view: View, entry: MayEntry, now: Now, problem: str) -> str:
    """What ends this bound, and who has to do it."""
    label = view.labels.get(entry.label_id)
    if entry.state is MayState.GONE or entry.release is not None:
        return f"none needed: {_left(entry, now)}"
    if label is None:
        return "wait: the label is not known yet"
    confirm = f"shelfd label confirm {label.label_id}"
    newest = may_still_show(view.may_of_label(label.label_id))[-1]
    if label.kind == PAPER:
        hang = f"print its ticket (shelfd label ticket {label.label_id}) and hang it, then: {confirm} --attempt {newest.attempt_id}"
        return f"{hang}; or take the old one down, then: shelfd label retire {label.label_id}"
    if newest is not entry and newest.state is MayState.PROVEN:
        return f"look at it, then: {confirm} --shows PRICE"
    if _is_silent(label, now):
        return f"{_silence(label, now)}: give it a battery, or take it away or cover it, then: shelfd label retire {label.label_id}"
    if problem:
        return f"wait, or go there: {problem}"
    if entry.kind is MayKind.UNKNOWN:
        return f"wait for its new picture, or look at it: {confirm} --shows PRICE"
    return "wait: its new picture is on the way" if newest is not entry else "wait: its new picture is being drawn"


def _left(entry: MayEntry, now: Now) -> str:
    """When a dwell ends."""
    since = (entry.gone_boot_id, entry.gone_ms, entry.dwell_ms)
    what = "read lately"
    if entry.state is not MayState.GONE and entry.release is not None:
        since, what = (entry.release.boot_id, entry.release.at_ms, entry.release.dwell_ms), "its label is retired"
    left_ms = pricing.dwell_left_ms(*since, now_ms=now.now_ms, boot_id=now.boot_id, store_open=now.store_open)
    return f"{what}, ends in {-(-left_ms // 60_000)} min or when the store closes"


def _is_silent(label: LabelState, now: Now) -> bool:
    return now.wall_ms - label.last_seen_wall_ms >= SILENT_MS


def _silence(label: LabelState, now: Now) -> str:
    if not label.last_seen_wall_ms:
        return "no radio ever heard it"
    return f"silent for {(now.wall_ms - label.last_seen_wall_ms) // 3_600_000} h"


def proven_by_grade(view: View) -> dict[str, int]:
    """How many labels in use provably show one picture alone, by how sure that is."""
    found = dict.fromkeys(map(str, Grade), 0)
    for label_id, label in view.labels.items():
        may = may_still_show(view.may_of_label(label_id))
        if not label.retired and len(may) == 1 and may[0].state is MayState.PROVEN:
            found[may[0].grade or str(Grade.INFERRED)] += 1
    return {grade: count for grade, count in found.items() if count}


def quoted_above_ms(view: View, label_id: str, now_ms: int) -> int:
    """How long some live quote may still charge more than the label may show: so long it must not come into shoppers' sight."""
    offers = [offer for entry in may_still_show(view.may_of_label(label_id)) for offer in entry.offers]
    public, members = offers_by_audience(offers)
    longest_ms = 0
    for quote in view.quotes.values():
        lines: dict[ItemId, tuple[QuoteLine, ...]] = {}
        for line in quote.lines:
            lines[line.item_id] = (*lines.get(line.item_id, ()), line)
        leased = partial(_lines_of, lines)
        if pricing.lease_above(public, leased) or (quote.member and pricing.lease_above(members, leased)):
            longest_ms = max(longest_ms, quote.made_ms + quote.valid_ms - now_ms)
    return longest_ms


def _lines_of(lines: Mapping[ItemId, tuple[QuoteLine, ...]], item_id: ItemId) -> list[tuple[QuoteLine, ...]]:
    return [lines[item_id]] if item_id in lines else []


def item_report(view: View, item_id: ItemId, now: Now, source: Mapping[str, object]) -> dict[str, object]:
    """The item and its target, with `source`: where the row in force came from."""
    item, in_force = view.items[item_id], view.in_force.get(item_id)
    report: dict[str, object] = {"item_id": item_id, "name": item.name, "target": None}
    if in_force is None:
        return report
    row = in_force.row
    report["target"] = {
        "kind": str(row.kind),
        "price_id": row.price_id,
        "rev": row.rev,
        "curve": [list(point) for point in row.curve.points],
        **source,
    }
    at_ms = max(now.wall_ms, in_force.latched_through_ms)
    member = pricing.target(view.rows.get(item_id, ()), at_ms, member=True)
    if member is not None and member.kind is PriceKind.MEMBER:
        report["member_target"] = {"price_id": member.price_id, "rev": member.rev, "curve": [list(point) for point in member.curve.points]}
    return report


def is_lasting(bound: BoundNow) -> bool:
    """Whether nothing but proof or a person ends the hold: a dwell ends by itself."""
    return bound.reason != DWELL
