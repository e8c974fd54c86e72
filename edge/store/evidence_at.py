"""What shelf and lane said of an item at an instant: read from the chain and its history, worked out by `edge.evidence`."""

from __future__ import annotations

from dataclasses import dataclass

from edge import pricing
from edge.evidence import SENT, Entry, LaneAt, Shown, Standing, TargetAt, lane_price, standings
from edge.model import Curve, ItemId
from edge.store import evidence_read as read
from edge.store.evidence import STORE_SUBJECT
from edge.store.evidence_read import Charged
from edge.store.rows import Db

DECISIONS_MAX = 20  # the newest; `audit export` has all
TROUBLE_MAX = 50  # beyond it, another line says nothing new: the file is not to be trusted


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that a label may have shown: what drew it, what it looked like, and the incarnation that its number is shifted by."""

    standing: Standing
    incarnation: str | None


@dataclass(frozen=True, slots=True)
class ItemThen:
    """The answer. `trouble`: where the evidence does not hold; `limits`: what it cannot say."""

    item_id: ItemId
    at_ms: int
    entry: int
    target: TargetAt | None
    lane: LaneAt | None
    member_lane: LaneAt | None
    shelf: tuple[Picture, ...]
    charged: tuple[Charged, ...]
    decisions: tuple[Entry, ...]
    limits: tuple[str, ...]
    trouble: tuple[str, ...]


def item_then(db: Db, item_id: ItemId, at_ms: int, around_ms: int) -> ItemThen:
    """What target, labels and lanes said of an item at `at_ms`, with the quotes and sales `around_ms` before and after."""
    at = read.position(db, at_ms)
    target, trouble = read.target_at(db, item_id, at_ms, read.log_at(db, at.entry, at_ms))
    shelf, labels, shelf_trouble = _shelf(db, item_id, at_ms, at.entry)
    lines, line_trouble = read.charged(db, item_id, at_ms - around_ms, at_ms + around_ms)
    lane: LaneAt | None = None
    member_lane: LaneAt | None = None
    if target is not None:
        own, member_trouble = _own_price(db, item_id, at.entry, target.log_id, at_ms)
        trouble += member_trouble
        said = [picture.standing for picture in shelf]
        lane, member_lane = lane_price(item_id, target.curve, said), lane_price(item_id, target.curve, said, member=True, own=own)
    found = tuple(dict.fromkeys([*trouble, *shelf_trouble, *line_trouble]))[:TROUBLE_MAX]
    decided = read.decisions(db, item_id, labels, at.entry, DECISIONS_MAX)
    limits = _limits(at, target, lane, shelf, from_evidence=_begins(db, at.entry))
    return ItemThen(item_id, at_ms, at.entry, target, lane, member_lane, tuple(shelf), tuple(lines), tuple(decided), tuple(limits), found)


def _own_price(db: Db, item_id: ItemId, through: int, log_id: int, at_ms: int) -> tuple[Curve | None, list[str]]:
    """What members alone were asked for, by the prices for members known then and their time."""
    rows, trouble = read.member_rows_at(db, item_id, through, at_ms)
    own = pricing.target(rows, read.latched_at(db, item_id, log_id, at_ms), member=True)
    return None if own is None else own.curve, trouble


def _shelf(db: Db, item_id: ItemId, at_ms: int, through: int) -> tuple[list[Picture], list[str], list[str]]:
    """Every picture with an offer for the item that some label may have shown, the labels concerned, and what is wrong."""
    pictures: list[Picture] = []
    labels = read.labels_of(db, item_id)
    trouble: list[str] = []
    for label_id in labels:
        attempts, known = read.attempts_of(db, label_id), read.label_entries(db, label_id)
        trouble += read.uncovered_attempts(attempts.values(), known)
        entries = [noted for noted in known if noted.entry <= through]
        trouble += [text for noted in entries for text in read.entry_trouble(db, noted)]
        sent = {noted.said.get("attempt"): noted.entry for noted in entries if noted.what == SENT}
        for standing in standings(attempts, known, at_ms, through):
            if not any(offer.item_id == item_id for offer in standing.attempt.offers):
                continue
            began = sent.get(standing.attempt.attempt_id)
            pictures.append(Picture(standing, read.incarnation_at(db, began) if began is not None else None))
    return pictures, labels, trouble


def _begins(db: Db, through: int) -> bool:
    return bool(read.entries_of(db, STORE_SUBJECT, through))


def _limits(at: read.Position, target: TargetAt | None, lane: LaneAt | None, shelf: list[Picture], *, from_evidence: bool) -> list[str]:
    """What this answer cannot say, in words for the person who reads it."""
    found: list[str] = []
    if not from_evidence:
        found.append("the instant is before this file's evidence begins: what is said comes from rows that no audit entry covers")
    elif (target is not None and target.entry is None) or any(picture.standing.entry is None for picture in shelf):
        found.append("some of it is older than the evidence: it comes from rows that no audit entry covers")
    if at.twice:
        found.append("the store's clock had been ahead of this instant, and was set back over it: this is the last time that it came")
    if lane is not None and lane.above_minor != lane.price_minor:
        found.append(
            f"a picture that was gone held the lane at {lane.price_minor}; once its dwell was over, or outside opening hours, "
            f"the lane could charge {lane.above_minor}"
        )
    if any(picture.standing.shown is Shown.MAY for picture in shelf):
        found.append("a picture without proof may have been on its way, or on the panel")
    if any(picture.standing.grade == "inferred" for picture in shelf):
        found.append("grade inferred: the label reported a healthy refresh; nobody saw the panel")
    return found
