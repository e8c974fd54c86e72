"""When the store is open: pure, in the store's local time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

MINUTES_PER_DAY = 24 * 60
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # in the order of datetime.weekday()


@dataclass(frozen=True, slots=True)
class Span:
    """Open from `start_minute` (of its day) until `end_minute`; beyond 1440 means past midnight. The end is exclusive."""

    start_minute: int
    end_minute: int

    def __post_init__(self) -> None:
        if not 0 <= self.start_minute < MINUTES_PER_DAY:
            raise ValueError(f"start_minute {self.start_minute} is not within a day")
        if not self.start_minute < self.end_minute <= self.start_minute + MINUTES_PER_DAY:
            raise ValueError(f"end_minute {self.end_minute} does not follow {self.start_minute} within a day")


@dataclass(frozen=True, slots=True)
class OpeningHours:
    """Seven days of spans, Monday first; `days` None means always open."""

    days: tuple[tuple[Span, ...], ...] | None = None

    def __post_init__(self) -> None:
        if self.days is not None and len(self.days) != len(WEEKDAYS):
            raise ValueError("opening hours have seven days")

    def is_open(self, local: datetime) -> bool:
        """Whether the store is open at this local wall time. Seconds count within their minute.

        Only the clock on the wall counts: in the hour that a change to winter time repeats, both passes give the same answer.
        """
        if self.days is None:
            return True
        minute = local.hour * 60 + local.minute
        today, yesterday = local.weekday(), (local.weekday() - 1) % 7
        return _covers(self.days[today], minute) or _covers(self.days[yesterday], minute + MINUTES_PER_DAY)


ALWAYS_OPEN = OpeningHours()


def _covers(spans: tuple[Span, ...], minute: int) -> bool:
    return any(span.start_minute <= minute < span.end_minute for span in spans)
