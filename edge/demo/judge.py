"""Was anybody charged more than a label displayed? Pure: told what panels show and what lanes charge, each with its virtual time.

A charge is compared with everything that the item's labels displayed from the lane's question to its answer, in that interval's least
favourable order: the daemon priced the basket somewhere in between. It is judged when the simulator has told all up to then.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import Final

DIARY_DISORDER_MS: Final = 1_000  # of virtual time: lines of the simulator's diary are at most this far out of order (75 ms, and room)
FAULTS_KEPT: Final = 20
FORGET_AFTER_MS: Final = 600_000  # of virtual time: no quote takes that long


@dataclass(frozen=True, slots=True)
class Charge:
    """One line of a quote. `asked_ms` and `answered_ms` are virtual times around the instant of charging."""

    sku: str
    quantity: int
    total_minor: int
    asked_ms: int
    answered_ms: int
    lane: str


@dataclass(frozen=True, slots=True)
class Overcharge:
    """A charge above what the customer could read."""

    charge: Charge
    label: str
    displayed_minor: int

    def __str__(self) -> str:
        charge = self.charge
        return (
            f"overcharge: {charge.lane} charged {charge.total_minor} for {charge.quantity} of item {charge.sku} "
            f"while label {self.label} showed {self.displayed_minor} each"
        )


@dataclass(slots=True)
class _Panel:
    """What one label displayed: from `since_ms[i]` on, `prices[i]` (None: no price to read)."""

    since_ms: list[int]
    prices: list[int | None]

    def shown(self, from_ms: int, to_ms: int) -> list[int]:
        """Every price displayed at some instant of the interval."""
        first = max(0, bisect_right(self.since_ms, from_ms) - 1)
        last = bisect_right(self.since_ms, to_ms)
        return [price for price in self.prices[first:last] if price is not None]

    def forget(self, before_ms: int) -> None:
        """Drop what was replaced before that instant."""
        old = bisect_right(self.since_ms, before_ms) - 1
        if old > 0:
            del self.since_ms[:old], self.prices[:old]


class Judge:
    """Keeps what the panels show. `bindings` is label -> sku."""

    def __init__(self, bindings: dict[str, str]) -> None:
        self.judged = 0
        self.overcharges = 0
        self.faults: deque[Overcharge] = deque(maxlen=FAULTS_KEPT)
        self._labels = {sku: [label for label, bound in bindings.items() if bound == sku] for sku in bindings.values()}
        self._panels = {label: _Panel([-1], [None]) for label in bindings}  # out of the box: nothing to read
        self._waiting: deque[Charge] = deque()
        self._told_ms = -1

    def displays(self, label: str, price_minor: int | None, at_ms: int) -> None:
        """A label's refresh ended: it shows this price from now on. Per label in order of time."""
        panel = self._panels[label]
        panel.since_ms.append(at_ms)
        panel.prices.append(price_minor)

    def displayed(self, label: str) -> int | None:
        """What it shows now."""
        return self._panels[label].prices[-1]

    def charged(self, charge: Charge) -> None:
        """A lane was told what to charge."""
        self._waiting.append(charge)

    def told(self, through_ms: int) -> None:
        """The simulator has told everything up to then (less `DIARY_DISORDER_MS`): judge what can be judged."""
        self._told_ms = max(self._told_ms, through_ms - DIARY_DISORDER_MS)
        while self._waiting and self._waiting[0].answered_ms <= self._told_ms:
            self._judge(self._waiting.popleft())

    def close(self) -> None:
        """Nothing more will be told: judge the rest."""
        while self._waiting:
            self._judge(self._waiting.popleft())

    def forget(self) -> None:
        """Drop what no charge can ask for any more, so that a long run needs no more memory than a short one."""
        before_ms = min(self._told_ms, self._waiting[0].asked_ms if self._waiting else self._told_ms) - FORGET_AFTER_MS
        for panel in self._panels.values():
            panel.forget(before_ms)

    def _judge(self, charge: Charge) -> None:
        self.judged += 1
        for label in self._labels.get(charge.sku, ()):
            shown = self._panels[label].shown(charge.asked_ms, charge.answered_ms)
            if shown and charge.total_minor > min(shown) * charge.quantity:
                self.overcharges += 1
                self.faults.append(Overcharge(charge, label, min(shown)))
                return
