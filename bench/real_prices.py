"""What head office asks for at any instant, by the data alone, and each charge against it. Pure, no books of the daemon.

The judge of the pixels finds a charge above what a panel displayed. This one finds the rest: an offer that begins late or not at all, one
that goes on when it should be over, a rise before its time, a price of nobody's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench.real_data import StoreData
from edge.demo.judge import Charge

FAULTS_KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class WrongPrice:
    """A charge that is not what head office asked for then."""

    charge: Charge
    asked_minor: int

    def __str__(self) -> str:
        each = self.charge
        charged = f"{each.lane} charged {each.total_minor} for {each.quantity} of item {each.sku}"
        return f"price: {charged}, head office asked {self.asked_minor} each"


class PriceBook:
    """Each article's displayed price by world time. `moving` articles may cost less than head office asks, until they are `settled`."""

    def __init__(self, data: StoreData, world_ms: Callable[[int], int]) -> None:
        """`world_ms`: the instant at which a week begins."""
        self.judged = 0
        self.wrong = 0
        self.faults: deque[WrongPrice] = deque(maxlen=FAULTS_KEPT)
        self._opening = {sku: price.displayed_minor for sku, price in data.opening.items()}
        self._changes: dict[str, tuple[list[int], list[int]]] = {}  # sku -> (from when, displayed price)
        for week in sorted(data.changes):
            for change in data.changes[week]:
                since_ms, prices = self._changes.setdefault(change.sku, ([], []))
                since_ms.append(world_ms(week))
                prices.append(change.after.displayed_minor)
        self._settled_ms: dict[str, int | None] = {}

    def asked(self, sku: str, from_ms: int, to_ms: int) -> list[int]:
        """Every price that was asked for at some instant of the interval, in order."""
        since_ms, prices = self._changes.get(sku, ([], []))
        first, last = bisect_right(since_ms, from_ms), bisect_right(since_ms, to_ms)
        before = prices[first - 1] if first else self._opening[sku]
        return [before, *prices[first:last]]

    def now(self, at_ms: int) -> Mapping[str, int]:
        """All of it at an instant."""
        return {sku: self.asked(sku, at_ms, at_ms)[0] for sku in self._opening}

    def moves(self, sku: str) -> None:
        """Its price changes now or soon: labels come first, so the lane may ask less."""
        self._settled_ms[sku] = None

    def settled(self, sku: str, at_ms: int) -> None:
        """From now on the lane asks for neither more nor less."""
        self._settled_ms[sku] = at_ms

    def charged(self, charge: Charge) -> None:
        """A lane was told what to charge."""
        self.judged += 1
        asked = [each * charge.quantity for each in self.asked(charge.sku, charge.asked_ms, charge.answered_ms)]
        settled_ms = self._settled_ms.get(charge.sku, -1)
        may_be_less = settled_ms is None or charge.asked_ms < settled_ms
        if charge.total_minor > max(asked) or (charge.total_minor < min(asked) and not may_be_less):
            self.wrong += 1
            self.faults.append(WrongPrice(charge, asked[-1] // charge.quantity))
