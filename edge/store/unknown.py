"""Displays that nobody can vouch for: what UNKNOWN bounds, and how it grows (docs/reference/price-guard.md).

UNKNOWN bounds each item that its label was ever bound to by everything that the label may have come to show since it was last proven: the
item's targets by the log, and members' prices by their time. In a file that was restored nothing was logged from the copy on until the
restore: there what the rows asked for counts. What comes into force later, and what HQ tells of the lost time later, joins it.
"""

from __future__ import annotations

from collections.abc import Iterable

from edge import pricing
from edge.model import EVERYBODY, MEMBERS, PAPER, Curve, InForce, ItemId, Offer, PriceKind
from edge.store import evidence
from edge.store import rows as codec
from edge.store.journal import RESTORED, get_meta
from edge.store.rows import Db, Stamp
from edge.view import Delta

CURVES_MAX = 24  # distinct past offers that bound an unknown display by an item; beyond, the cheapest ones are kept
LOST_OFFERS_MS = 30 * 60_000  # so long a radio may go on offering what it was given in the lost time: longer than any driver's offers live
ANY_RADIO = "any"  # stands for the radios of the lost time in `radio_offer`: whichever they were, nobody can ask them
FOR_EVER_MS = 2**53  # the end of the lost time where the clock does not say when that was

_OPEN = (
    "SELECT a.attempt_id, a.label_id FROM ever_bound AS e JOIN attempt AS a USING (label_id) WHERE a.kind = 'unknown' AND a.state = 'open' "
)
_LOST_AND_GONE = (
    "SELECT a.attempt_id, a.label_id FROM ever_bound AS e JOIN attempt AS a USING (label_id) WHERE a.kind = 'unknown' AND a.state = 'gone' "
    "AND a.lost_since_ms NOT NULL "
)


def add(db: Db, stamp: Stamp, label_id: str, why: str, delta: Delta, *, lost_since_ms: int | None = None) -> int:
    """Add UNKNOWN to the label's may-set; its attempt's number. `lost_since_ms`: the file was restored, and its copy was made then.

    Radios may still offer pictures of the lost time, which no proof of a later picture ends before `LOST_OFFERS_MS` are over.
    Where the newest member is UNKNOWN already, nothing is added: a label that restarts again and again grows nothing.
    """
    newest = db.execute("SELECT attempt_id, kind, state FROM attempt WHERE label_id = ? ORDER BY attempt_id DESC LIMIT 1", (label_id,))
    last = newest.fetchone()
    if lost_since_ms is None and last is not None and last[1:] == ("unknown", "open"):
        return int(last[0])
    db.execute(
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms, since_boot_id, "
        "since_ms, lost_since_ms, lost_until_ms) VALUES (?, 'unknown', 'open', '', '', '', '', ?, ?, ?, ?, ?)",
        (label_id, stamp.wall_ms, stamp.boot_id, stamp.now_ms, lost_since_ms, _lost_until(stamp, lost_since_ms)),
    )
    attempt_id = db.last_insert_rowid()
    for (item_id,) in db.execute("SELECT item_id FROM ever_bound WHERE label_id = ?", (label_id,)).fetchall():
        _join(db, attempt_id, item_id, _may_have_shown(db, stamp, label_id, attempt_id, item_id))
    if lost_since_ms is not None:
        db.execute(
            "INSERT INTO radio_offer SELECT ?1, label_id, ?2, ?3, ?4, ?5, 0 FROM label WHERE label_id = ?6 AND kind <> ?7",
            (attempt_id, ANY_RADIO, stamp.boot_id, stamp.now_ms, LOST_OFFERS_MS, label_id, PAPER),
        )
    evidence.display_unknown(db, stamp, label_id, attempt_id, why)
    delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)
    return attempt_id


def _lost_until(stamp: Stamp, lost_since_ms: int | None) -> int | None:
    if lost_since_ms is None:
        return None
    return stamp.wall_ms if stamp.clock_trusted else FOR_EVER_MS


def everywhere(db: Db, stamp: Stamp, why: str, lost_since_ms: int, delta: Delta) -> None:
    """A new incarnation: nothing is known of any display, nor of what was in force since this file was last written to."""
    for (label_id,) in db.execute("SELECT label_id FROM label ORDER BY label_id").fetchall():
        add(db, stamp, label_id, why, delta, lost_since_ms=lost_since_ms)


def bound(db: Db, stamp: Stamp, label_id: str, item_id: ItemId, delta: Delta) -> None:
    """The label was bound to an item that it was never bound to before: its unknown displays bound that item, too."""
    found = db.execute("SELECT attempt_id FROM attempt WHERE label_id = ? AND kind = 'unknown' AND state = 'open'", (label_id,))
    for (attempt_id,) in found.fetchall():
        _grow(db, stamp, label_id, attempt_id, item_id, _may_have_shown(db, stamp, label_id, attempt_id, item_id), delta)


def waits_for_history(db: Db, label_id: str) -> bool:
    """Whether HQ has still to tell what the label may have come to show in the time that a restored file lost."""
    if not get_meta(db, RESTORED):
        return False
    lost = "SELECT 1 FROM attempt WHERE label_id = ? AND kind = 'unknown' AND state = 'open' AND lost_since_ms NOT NULL LIMIT 1"
    return db.execute(lost, (label_id,)).get is not None


def is_any(db: Db) -> bool:
    """Whether any display is unknown."""
    return db.execute("SELECT 1 FROM attempt WHERE kind = 'unknown' AND state = 'open' LIMIT 1").get is not None


def target_changed(db: Db, stamp: Stamp, item_id: ItemId, wanted: InForce, delta: Delta) -> None:
    """A new target joins every unknown display that the item may be on."""
    told(db, stamp, Offer(item_id, wanted.row.curve, row_id=wanted.row.row_id), delta)


def told(db: Db, stamp: Stamp, offer: Offer, delta: Delta, *, dwelling: bool = False) -> None:
    """An offer that displays may show, or may have come to show unseen, joins every unknown one that the item may be on.

    `dwelling`: also those of a file that was restored which are known again, and dwell: a shopper may have read it there.
    """
    found = db.execute(f"{_OPEN}AND e.item_id = ?", (offer.item_id,)).fetchall()
    if dwelling:
        found += db.execute(f"{_LOST_AND_GONE}AND e.item_id = ?", (offer.item_id,)).fetchall()
    for attempt_id, label_id in found:
        _grow(db, stamp, label_id, attempt_id, offer.item_id, [offer], delta)


def rows_changed(db: Db, stamp: Stamp, item_ids: Iterable[ItemId], delta: Delta) -> None:
    """HQ told of prices for these items: some of them may have run in the time that a restored file knows nothing of."""
    lost = f"{_OPEN}AND a.lost_since_ms NOT NULL "
    if db.execute(f"{lost}LIMIT 1").get is None:
        return
    for item_id in item_ids:
        for attempt_id, label_id in db.execute(f"{lost}AND e.item_id = ?", (item_id,)).fetchall():
            _grow(db, stamp, label_id, attempt_id, item_id, _lost(db, attempt_id, item_id), delta)


def _grow(db: Db, stamp: Stamp, label_id: str, attempt_id: int, item_id: ItemId, offers: Iterable[Offer], delta: Delta) -> None:
    joined = _join(db, attempt_id, item_id, offers)
    if joined:
        evidence.display_bounds(db, stamp, label_id, attempt_id, joined)
        delta.may[label_id, attempt_id] = codec.read_may(db, attempt_id)


def _join(db: Db, attempt_id: int, item_id: str, offers: Iterable[Offer]) -> int:
    """Write down what promises somebody less than what is written already; how many there were."""
    found = db.execute(
        "SELECT page, audience, item_id, curve, row_id FROM attempt_offer WHERE attempt_id = ? AND +item_id = ?", (attempt_id, item_id)
    )
    held = [codec.offer_of(row) for row in found.fetchall()]
    before = len(held)
    for offer in offers:
        if pricing.outlasts(offer, held):
            held.append(offer)
            values = (attempt_id, offer.page, offer.audience, offer.item_id, codec.curve_text(offer.curve), offer.row_id)
            db.execute("INSERT INTO attempt_offer VALUES (?, ?, ?, ?, ?, ?)", values)
    return len(held) - before


def _may_have_shown(db: Db, stamp: Stamp, label_id: str, attempt_id: int, item_id: str) -> list[Offer]:
    """What the label may have come to show of the item since it was proven, as far as the file knows."""
    since = db.execute("SELECT unknown_since_log_id FROM label WHERE label_id = ?", (label_id,)).get
    lowest = lowest_targets(db, item_id, since if isinstance(since, int) else 0)
    offers = [Offer(ItemId(item_id), curve, row_id=row_id) for curve, row_id in lowest]
    members = db.execute(
        "SELECT curve, max(row_id) FROM price_row WHERE item_id = ? AND kind = 'member' AND NOT cancelled AND effective_from_ms <= ? "
        "AND (effective_to_ms IS NULL OR effective_to_ms > (SELECT coalesce(max(proven_wall_ms), 0) FROM attempt WHERE label_id = ?)) "
        "GROUP BY curve",
        (item_id, stamp.wall_ms, label_id),
    )
    offers += [Offer(ItemId(item_id), codec.curve_of(curve), audience=MEMBERS, row_id=row_id) for curve, row_id in members.fetchall()]
    return offers + _lost(db, attempt_id, item_id)


def _lost(db: Db, attempt_id: int, item_id: str) -> list[Offer]:
    """What the item's rows asked for in the lost time."""
    since_ms, until_ms = db.execute("SELECT lost_since_ms, lost_until_ms FROM attempt WHERE attempt_id = ?", (attempt_id,)).fetchone()
    if since_ms is None:
        return []
    rows = codec.read_rows(db, ItemId(item_id))
    asked = [*pricing.asked_for(rows, since_ms, until_ms), *pricing.asked_for(rows, since_ms, until_ms, member=True)]
    return [
        Offer(row.item_id, row.curve, audience=MEMBERS if row.kind is PriceKind.MEMBER else EVERYBODY, row_id=row.row_id) for row in asked
    ]


def lowest_targets(db: Db, item_id: str, after_log_id: int) -> list[tuple[Curve, int]]:
    """The undominated (curve, row_id) targets of an item since a point of the target log, and the one in force at that point."""
    found = db.execute(
        "SELECT DISTINCT p.curve, p.row_id FROM target_log AS t JOIN price_row AS p USING (row_id) WHERE t.item_id = ?1 AND t.log_id >= "
        "coalesce((SELECT max(log_id) FROM target_log WHERE item_id = ?1 AND log_id <= ?2), 0)",
        (item_id, after_log_id),
    )
    kept: list[tuple[Curve, int]] = []
    for text, row_id in found:
        curve = codec.curve_of(text)
        if any(not other.is_above(curve) for other, _ in kept):
            continue
        kept = [(other, row) for other, row in kept if curve.is_above(other)]
        kept.append((curve, row_id))
    return sorted(kept, key=lambda pair: pair[0].cost_minor(pair[0].points[0][0]))[:CURVES_MAX]
