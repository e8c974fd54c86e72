"""What could lawfully be charged at an instant that has passed: for sales that were made while nobody listened.

Worked out from the evidence (`edge.store.evidence_at`), which takes some milliseconds for an item with a long history: only items whose
price or labels have changed since are looked at, and other lanes get their turn in between.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Final

from edge.model import EVERYBODY, Curve, ItemId
from edge.store.evidence_at import item_then
from edge.store.rows import Db
from edge.store.store import Store
from protocols.pos_prices import MIRROR_LEASE_S

ITEMS_MAX: Final = 50  # looked at for one sale; the rest is compared with the prices of now
LEASE_MS: Final = MIRROR_LEASE_S * 1000  # so much older may what a till charges from its own table be
DWELL_MAX_MS: Final = 24 * 3_600_000  # a picture that went so long before the instant may have bound at it

Offers = tuple[Curve, ...]  # a quantity cost the least that any of them gives


class PastPrices:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def of(self, item_ids: Iterable[ItemId], at_ms: int) -> dict[ItemId, tuple[Offers, ...]]:
        """The offers at the instant, and those of one lease before it, of each item for which they may differ from today's."""
        found: dict[ItemId, tuple[Offers, ...]] = {}
        for item_id in dict.fromkeys(item_ids):
            if len(found) == ITEMS_MAX:
                break
            if self._store.read(lambda db, item_id=item_id: _has_changed(db, item_id, at_ms)):  # type: ignore[misc]
                then = tuple(offers for each_ms in (at_ms, at_ms - LEASE_MS) if (offers := self._offers(item_id, each_ms)))
                if then:
                    found[item_id] = then
                await asyncio.sleep(0)
        return found

    def _offers(self, item_id: ItemId, at_ms: int) -> Offers:
        """Empty where nobody can say: the item had no price then, or the instant is before the evidence begins."""
        then = self._store.read(lambda db: item_then(db, item_id, at_ms, 0))
        if then.target is None or then.entry == 0:
            return ()
        offers = (offer for picture in then.shelf for offer in picture.standing.attempt.offers)
        return (then.target.curve, *(offer.curve for offer in offers if offer.item_id == item_id and offer.audience == EVERYBODY))


def most_minor(then: Mapping[ItemId, tuple[Offers, ...]], item_id: ItemId, quantity: int) -> int | None:
    """The most that a quantity could cost then; None where today's price says it."""
    offers = then.get(item_id)
    return max(min(curve.cost_minor(quantity) for curve in each) for each in offers) if offers else None


def _has_changed(db: Db, item_id: ItemId, since_ms: int) -> bool:
    found = db.execute(
        "SELECT EXISTS (SELECT 1 FROM target_log WHERE item_id = ?1 AND from_wall_ms > ?2 - ?3) OR EXISTS (SELECT 1 FROM attempt_offer "
        "JOIN attempt USING (attempt_id) WHERE item_id = ?1 AND (created_wall_ms > ?2 OR proven_wall_ms > ?2 - ?4))",
        (item_id, since_ms, LEASE_MS, DWELL_MAX_MS),
    ).get
    return bool(found)
