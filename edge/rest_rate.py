"""How often who may ask: a bucket for each token, one for all who have none. Pure but for the clock that it is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

BURST_S: Final = 5.0  # so many seconds' worth at once
BUCKETS_MAX: Final = 512  # more than there are tokens; the one asked longest ago goes


class Rates:
    """`take` says whether one more request is within the rate. Keys come from tokens that were found, never from a request's text."""

    def __init__(self, per_s: float, clock: Callable[[], float]) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * BURST_S)
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # what is left, as of when

    def take(self, key: str) -> bool:
        now_s = self._clock()
        left, since_s = self._buckets.pop(key, (self._most, now_s))
        left = min(self._most, left + (now_s - since_s) * self._per_s)
        good = left >= 1.0
        self._buckets[key] = (left - 1.0 if good else left, now_s)
        if len(self._buckets) > BUCKETS_MAX:
            del self._buckets[next(iter(self._buckets))]
        return good
