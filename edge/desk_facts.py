"""What the parts of the lanes' desk share: the store's facts, the stamp on every answer, when something was made, alarms told once."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, TypedDict
from zoneinfo import ZoneInfo

from drivers.base import Clock
from edge.change_windows import ChangeRules, ChangesNow, business_day_began
from edge.clock import local_time
from edge.model import Item
from edge.opening_hours import OpeningHours
from edge.store.journal import rfc3339
from edge.store.returns import When
from edge.store.store import Store
from edge.view import View
from protocols.gs1 import Rules
from protocols.hq_messages import utc_ms

PLAIN: Final = Rules()
WHENEVER: Final = ChangeRules()
CONFLICTS_MAX: Final = 64  # a till repeats one sale at a time; an id that is told of twice does no harm

Find = Callable[..., tuple[Item, int]]  # (code, item_id, *, removed) -> the item and how many units the code stands for


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the desk tells of the store and judges by."""

    store_id: str
    currency: str
    exponent: int
    tax_mode: str
    zone: ZoneInfo
    opening_hours: OpeningHours
    business_day_starts_minute: int
    quote_valid_ms: int
    scan: Rules = PLAIN  # what the store's own bar codes mean
    changes: ChangeRules = WHENEVER  # when prices may rise

    @property
    def tax_on_top(self) -> bool:
        """Whether the prices exclude sales tax."""
        return self.tax_mode == "exclusive"


@dataclass(slots=True)
class DeskCounters:
    """For metrics: sums since start."""

    quotes: int = 0
    sales: int = 0
    sales_repeated: int = 0
    given_away_minor: int = 0  # what the guard took off the target price in recorded sales


class Stamped(TypedDict):
    """The members that every result carries."""

    revision: int
    as_of: str
    stale_s: int


class Stamps:
    """Says as of when an answer is."""

    def __init__(self, view: View, clock: Clock, heard_ms: Callable[[], int]) -> None:
        """`heard_ms`: the clock's `now_ms` when HQ was last heard (or the daemon began)."""
        self._view = view
        self._clock = clock
        self._heard_ms = heard_ms

    def now(self) -> Stamped:
        return {"revision": self._view.revision, "as_of": self.as_of(), "stale_s": self.stale_s()}

    def as_of(self) -> str:
        return rfc3339(self._clock.wall_ms())

    def stale_s(self) -> int:
        return max(0, self._clock.now_ms() - self._heard_ms()) // 1000


def made_when(clock: Clock, facts: StoreFacts, made_at: datetime | None) -> When:
    """The instant that a till names, or now, on the store's calendar."""
    made_ms = clock.wall_ms() if made_at is None else utc_ms(made_at)
    local = local_time(made_ms, facts.zone)
    offset = local.utcoffset() or timedelta()
    business = local - timedelta(minutes=facts.business_day_starts_minute)
    return When(made_ms, int(offset.total_seconds()) // 60, business.date().isoformat(), clock.wall_trusted())


def changes_now(clock: Clock, facts: StoreFacts, *, store_open: bool) -> ChangesNow | None:
    """The rules of now; None where they say nothing. Where nobody vouches for the clock the store counts as open: what rises waits."""
    if not facts.changes.says_something:
        return None
    local = local_time(clock.wall_ms(), facts.zone)
    return ChangesNow(facts.changes, store_open, utc_ms(business_day_began(local, facts.business_day_starts_minute)))


class Conflicts:
    """Tells HQ of an id that came again with another body: once for each id, since a till that keeps asking must not fill the outbox."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._told: deque[tuple[str, str]] = deque(maxlen=CONFLICTS_MAX)

    async def tell(self, what: str, lane_id: str, id_: str) -> None:
        """`what`: sale, void or return."""
        if (what, id_) in self._told:
            return
        self._told.append((what, id_))
        name = hashlib.sha256(id_.encode()).hexdigest()[:12]
        await self._store.note_alert(f"{what}_id_conflict", f"lane {lane_id}: {what} {id_} ({name}) came again with another body")
