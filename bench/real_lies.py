"""Labels that lie, a module that restarts, a line that loses bytes: some of each in every week, the same for the same seed."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from typing import Final

from drivers.base import Clock
from edge.demo.world import SimEvent, Simulator

SWAP_AFTER_MS: Final = 300_000  # from the first refused refresh until somebody brings a battery: longer than the dwell
SHARES: Final = {
    "xfc_without_refresh": 0.02,
    "reset_before_refresh": 0.02,
    "reset_mid_transfer": 0.01,
    "cached_redraw": 0.01,
}
LOW_BATTERY_SHARE: Final = 0.02  # of the week's labels; rises first, where a wrong belief costs somebody money
RESET_AFTER_SHARE: Final = 0.3  # of the week's transfers: then the module restarts
BYTE_LOSS: Final = 1e-5  # per byte while the week's pictures go out
BYTE_LOSS_MS: Final = 90_000


class Liar:
    """Decides who lies. One week at a time."""

    def __init__(self, sim: Simulator, clock: Clock, rng: random.Random) -> None:
        self._sim, self._clock, self._rng = sim, clock, rng
        self._weak: dict[str, int | None] = {}  # label -> when its battery is changed, None: no refresh refused yet
        self._changed: set[str] = set()
        self._complete: set[str] = set()
        self._reset_done = True
        self._loss_ends_ms: int | None = None
        self._told: Counter[str] = Counter()

    @property
    def told_this_week(self) -> str:
        """For people."""
        return ", ".join(f"{count} {name}" for name, count in self._told.items()) or "nobody lied"

    def begin_week(self, labels: Sequence[tuple[str, bool]], due_ms: int) -> None:
        """These labels (and whether their price rises) change at `due_ms`."""
        self._told.clear()
        self._changed = {label for label, _ in labels}
        self._complete.clear()
        names = [label for label, _ in labels]
        self._rng.shuffle(names)
        rises = dict(labels)
        names.sort(key=lambda label: rises[label])  # rises last: the weak ones are taken from the end
        for _ in range(_some(LOW_BATTERY_SHARE, len(labels))):
            if names:
                weak = names.pop()
                self._weak[weak] = None
                self._sim.lie(weak, "low_battery", once=False)
                self._told["low_battery"] += 1
        self._rng.shuffle(names)
        for lie, share in SHARES.items():
            for _ in range(_some(share, len(labels))):
                if names:
                    self._sim.lie(names.pop(), lie)
                    self._told[lie] += 1
        self._reset_done = False
        self._loss_ends_ms = due_ms + BYTE_LOSS_MS
        for number in range(len(self._sim.radios)):
            self._sim.lose_bytes(number, BYTE_LOSS)

    def on_event(self, event: SimEvent) -> None:
        """A line of the simulator's diary."""
        if event.kind != "xfc" or event.label is None:
            return
        if event.label in self._weak and self._weak[event.label] is None:
            self._weak[event.label] = self._clock.now_ms() + SWAP_AFTER_MS
        if event.label in self._changed:
            self._complete.add(event.label)
        if not self._reset_done and len(self._complete) >= RESET_AFTER_SHARE * len(self._changed):
            self._reset_done = True
            self._told["module_reset"] += 1
            self._sim.reset_module(self._rng.randrange(len(self._sim.radios)))

    async def run(self) -> None:
        """Do what is due. Until cancelled."""
        while True:
            await asyncio.sleep(0.05)
            now_ms = self._clock.now_ms()
            if self._loss_ends_ms is not None and now_ms >= self._loss_ends_ms:
                self._loss_ends_ms = None
                for number in range(len(self._sim.radios)):
                    self._sim.lose_bytes(number, 0.0)
            for label, at_ms in list(self._weak.items()):
                if at_ms is not None and now_ms >= at_ms:
                    self._change_battery(label)

    async def end_week(self) -> None:
        """Everybody is honest again; returns when the last battery is changed."""
        while self._weak:
            for label, at_ms in list(self._weak.items()):
                if at_ms is None:
                    self._change_battery(label)  # nothing was sent to it after all
            await asyncio.sleep(0.05)

    def _change_battery(self, label: str) -> None:
        del self._weak[label]
        self._sim.swap_battery(label)


def _some(share: float, count: int) -> int:
    """At least one."""
    return max(1, round(share * count))
