"""What a person's look at a label proves. Pure: is told the label's may-set and what was seen.

A price says less than an attempt's number: several pictures may show it. So a look proves the oldest picture that everything
sent after it agrees with, never one that another picture may still replace; and it is a look at the whole label, each item on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from edge.model import EVERYBODY, AttemptId, ItemId, MayEntry, MayKind, MayState, Offer
from edge.pricing import outlasts

# From the start of the last transfer to the refreshed panel and the person's word: the slowest panel takes under a minute to refresh.
LOOK_MARGIN_MS: Final = 120_000


class Unclear(ValueError):
    """The look does not say what is on the panel. The text tells the person why, and what would."""


@dataclass(frozen=True, slots=True)
class Claim:
    """A price that the person read: for one item, in minor units, as the label prints it."""

    item_id: ItemId
    amount_minor: int


def recognise(members: Sequence[MayEntry], claims: Sequence[Claim]) -> AttemptId | None:
    """Which member (oldest first, none of them gone) the label shows; None for what no picture of ours shows. Raises Unclear.

    No claims: it shows no price at all.
    """
    pictures = [entry for entry in members if entry.kind is MayKind.PICTURE]
    agree = [entry for entry in pictures if _shows(entry, claims)]
    if not agree:
        return None
    first = len(pictures)
    while first and pictures[first - 1] in agree:
        first -= 1
    if first == len(pictures):
        raise Unclear(
            f"attempt {agree[-1].attempt_id} shows that, but attempt {pictures[-1].attempt_id} was sent after it and may still come"
        )
    proven = pictures[first]
    for entry in agree[: agree.index(proven)]:
        told_apart = entry.content_hash == proven.content_hash or proven.state is MayState.PROVEN  # by a driver, if not surely enough
        if _promises(entry) != _promises(proven) or not told_apart:
            raise Unclear(f"attempts {entry.attempt_id} and {proven.attempt_id} both show that: name the one that hangs there (--attempt)")
    return proven.attempt_id


def named(members: Sequence[MayEntry], attempt_id: int) -> AttemptId:
    """The member that a person named by its number. Raises Unclear where it cannot be, or another may still replace it."""
    pictures = [entry.attempt_id for entry in members if entry.kind is MayKind.PICTURE]
    if attempt_id not in pictures:
        known = ", ".join(map(str, pictures)) or "none"
        raise Unclear(f"the label cannot show attempt {attempt_id}; it may show: {known}")
    if attempt_id != pictures[-1]:
        raise Unclear(f"attempt {pictures[-1]} was sent after attempt {attempt_id} and may still come: confirm it when it shows")
    return AttemptId(attempt_id)


def may_hide(members: Sequence[MayEntry], claims: Sequence[Claim], shown: Sequence[Offer]) -> bool:
    """Whether an unknown display among `members` may show these very prices with more beside them than is `shown`: several for less, or
    a price for members. Nobody who reads the prices alone can tell."""
    read = {claim.item_id: claim.amount_minor for claim in claims}
    offers = [offer for entry in members if entry.kind is MayKind.UNKNOWN for offer in entry.offers if offer.item_id in read]
    beside = [each for each in offers if each.audience != EVERYBODY or (len(each.curve.points) > 1 and _first(each) == read[each.item_id])]
    return any(outlasts(offer, shown) for offer in beside)


def _shows(entry: MayEntry, claims: Sequence[Claim]) -> bool:
    """Whether every price on the picture was read, and nothing else."""
    on_it = {offer.item_id for offer in entry.offers if offer.audience == EVERYBODY}
    return on_it == {claim.item_id for claim in claims} and all(any(_is(offer, claim) for offer in entry.offers) for claim in claims)


def _is(offer: Offer, claim: Claim) -> bool:
    return offer.item_id == claim.item_id and offer.audience == EVERYBODY and _first(offer) == claim.amount_minor


def _first(offer: Offer) -> int:
    """The price that stands out on the label."""
    return offer.curve.points[0][1]


def _promises(entry: MayEntry) -> frozenset[Offer]:
    return frozenset(entry.offers)
