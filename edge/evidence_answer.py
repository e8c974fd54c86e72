"""What was said then, as the control socket answers it: names, instants as text, amounts in minor units."""

from __future__ import annotations

from edge.evidence import LaneAt, Standing
from edge.model import ItemId
from edge.store.evidence_at import ItemThen
from edge.store.journal import rfc3339


def standing_answer(standing: Standing, item_id: ItemId) -> dict[str, object]:
    """A picture as it stood, with what it offered for the item."""
    attempt = standing.attempt
    offers = [offer for offer in attempt.offers if offer.item_id == item_id]
    return {
        "label": attempt.label_id,
        "attempt": attempt.attempt_id,
        "shown": str(standing.shown),
        "grade": standing.grade,
        "since": rfc3339(standing.since_ms),
        "prices": [
            {"quantity": quantity, "total_minor": total_minor, "audience": offer.audience, "page": offer.page}
            for offer in offers
            for quantity, total_minor in offer.curve.points
        ],
        "entry": standing.entry,
    }


def then_answer(then: ItemThen, labels: list[dict[str, object]], trouble: list[str]) -> dict[str, object]:
    """The whole answer, with the labels as `standing_answer` tells them."""
    target = then.target
    return {
        "item": then.item_id,
        "time": rfc3339(then.at_ms),
        "entry": then.entry,
        "target": None
        if target is None
        else {
            "curve": [list(point) for point in target.curve.points],
            "kind": target.kind,
            "price_id": target.price_id,
            "rev": target.rev,
            "since": rfc3339(target.since_ms),
            "source": target.source,
            "entry": target.entry,
        },
        "lane": _lane(then.lane),
        "member_lane": _lane(then.member_lane) if _is_other(then.member_lane, then.lane) else None,
        "labels": labels,
        "quotes_and_sales": [
            {
                "what": each.what,
                "time": rfc3339(each.wall_ms),
                "lane": each.lane,
                "quantity": each.quantity,
                "total_minor": each.total_minor,
                "target_total_minor": each.target_total_minor,
                "guard": each.guard,
                "ref": each.ref,
                "line": each.line_id,
                "quote": each.quote_id,
                "member": each.member,
                "entry": each.entry,
            }
            for each in then.charged
        ],
        "decisions": [
            {"time": rfc3339(each.wall_ms), "what": each.what, "by": each.actor, "entry": each.entry, "detail": each.said}
            for each in then.decisions
        ],
        "limits": list(then.limits),
        "trouble": trouble,
    }


def _lane(lane: LaneAt | None) -> dict[str, object] | None:
    if lane is None:
        return None
    return {
        "quantity": lane.quantity,
        "price_minor": lane.price_minor,
        "target_minor": lane.target_minor,
        "guard": lane.guard,
        "held_by": None if lane.label_id is None else f"label {lane.label_id} attempt {lane.attempt_id}",
        "at_most_minor": lane.above_minor,
    }


def _is_other(members: LaneAt | None, lane: LaneAt | None) -> bool:
    """Whether members were charged by another rule than everybody."""
    return members is not None and lane is not None and (members.price_minor, members.above_minor) != (lane.price_minor, lane.above_minor)
