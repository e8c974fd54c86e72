"""When a price may go up in this store: only while it is closed, once in a business day, not at all. Pure. A cut never waits.

The rules are the owner's (docs/reference/price-guard.md, "When prices may rise"). They decide what is put in force, on top of when HQ says
that a price begins or ends; two persons with a reason let a single rise through (`edge.store.urgent`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from edge.model import ItemId


class Waits(StrEnum):
    """Why a rise that is due is not in force."""

    FROZEN = "frozen"  # the item's price may not go up
    OPEN = "store_open"  # rises come into force while the store is closed
    TODAY = "changed_today"  # one change in a business day


@dataclass(frozen=True, slots=True)
class ChangeRule:
    raise_when_closed: bool = False
    once_per_day: bool = False
    frozen: bool = False

    @property
    def says_something(self) -> bool:
        return self.raise_when_closed or self.once_per_day or self.frozen


@dataclass(frozen=True, slots=True)
class ChangeRules:
    """The rule for each item: its category's where there is one, else the store's. A frozen item is frozen in any category."""

    store: ChangeRule = ChangeRule()
    by_category: Mapping[str, ChangeRule] = field(default_factory=dict)
    frozen_items: frozenset[ItemId] = frozenset()

    @property
    def says_something(self) -> bool:
        return bool(self.frozen_items) or any(rule.says_something for rule in (self.store, *self.by_category.values()))


@dataclass(frozen=True, slots=True)
class ChangesNow:
    """The rules at an instant. `day_began_ms`: when the business day began, in UTC milliseconds."""

    rules: ChangeRules
    store_open: bool
    day_began_ms: int

    def why_waits(self, item_id: ItemId, category: str, last_change_ms: int) -> Waits | None:
        """Why a rise of this item is not put in force now; None: it is. `last_change_ms`: when its price changed last."""
        rule = self.rules.by_category.get(category, self.rules.store)
        if rule.frozen or item_id in self.rules.frozen_items:
            return Waits.FROZEN
        if rule.raise_when_closed and self.store_open:
            return Waits.OPEN
        if rule.once_per_day and last_change_ms >= self.day_began_ms:
            return Waits.TODAY
        return None


def business_day_began(local: datetime, starts_minute: int) -> datetime:
    """When the business day of a local wall time began: at `starts_minute` after midnight of that day or the one before."""
    began = local.replace(hour=starts_minute // 60, minute=starts_minute % 60, second=0, microsecond=0)
    return began if began <= local else began - timedelta(days=1)
