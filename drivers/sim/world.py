"""The simulated world: one line of virtual time on which modules and labels act. Pure: told the time, seeded, no I/O."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

AIR_LOSS = 0.02
"""Chance that a radio packet of a transfer is missed and asked for once more, without the host noticing."""

Action = Callable[[float, int], None]
"""Called with the virtual time of the event and the number it was scheduled with."""


class Sleeper(Protocol):
    """Something that wakes at intervals; an idle step of the clock lets it sleep through."""

    def wake(self, at_ms: float, generation: int) -> None:
        """Its timer fired."""

    def overslept(self, at_ms: float, until_ms: float, generation: int) -> None:
        """Instead of waking at `at_ms`: behave as if nothing had happened up to `until_ms`."""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the simulator's diary."""

    at_ms: float
    kind: str
    module: str | None = None
    label: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


class StepRefused(Exception):
    """The clock may not be stepped while a label is fetching: the host would see a transfer that takes hours."""


class World:
    """Virtual time and what is due. Everything random comes from `rng`."""

    def __init__(self, *, seed: int, start_ms: float = 0.0, air_loss: float = AIR_LOSS) -> None:
        self.rng = random.Random(seed)
        self.now_ms = start_ms
        self.air_loss = air_loss
        self.on_happening: Callable[[Happening], None] | None = None
        self.on_hold: Callable[[], float] | None = None
        self.on_release: Callable[[], None] | None = None
        self._due: list[tuple[float, int, Action | None, Sleeper | None, int]] = []
        self._count = 0
        self._holders: set[int] = set()

    # ------------------------------------------------------------ time
    @property
    def next_ms(self) -> float | None:
        """When something is due next."""
        return self._due[0][0] if self._due else None

    @property
    def held(self) -> bool:
        """A module waits for its host: the world should run at the host's own pace."""
        return bool(self._holders)

    def at(self, at_ms: float, action: Action, number: int = 0) -> None:
        """Call `action(at_ms, number)` then."""
        self._count += 1
        heapq.heappush(self._due, (at_ms, self._count, action, None, number))

    def wake_at(self, at_ms: float, sleeper: Sleeper, generation: int) -> None:
        """Call `sleeper.wake` then, unless a step lets it sleep through."""
        self._count += 1
        heapq.heappush(self._due, (at_ms, self._count, None, sleeper, generation))

    def advance(self, to_ms: float) -> None:
        """Let everything happen that is due up to `to_ms`."""
        due = self._due
        while due and due[0][0] <= to_ms:
            at_ms, _, action, sleeper, number = heapq.heappop(due)
            self.now_ms = max(self.now_ms, at_ms)
            if sleeper is not None:
                sleeper.wake(at_ms, number)
            elif action is not None:
                action(at_ms, number)
        self.now_ms = max(self.now_ms, to_ms)

    def step(self, duration_ms: float) -> None:
        """Jump over idle time: lifetimes age, running refreshes end, labels sleep through. The caller has checked that it is idle."""
        end_ms = self.now_ms + duration_ms
        due = self._due
        while due and due[0][0] <= end_ms:
            at_ms, _, action, sleeper, number = heapq.heappop(due)
            if sleeper is not None:
                sleeper.overslept(at_ms, end_ms, number)
            elif action is not None:
                self.now_ms = max(self.now_ms, at_ms)
                action(at_ms, number)
        self.now_ms = end_ms

    # ------------------------------------------------------------ who waits for the host
    def hold(self, holder: int, at_ms: float) -> float:
        """A module begins to wait for its host. Returns the instant at which the host can first know."""
        self._holders.add(holder)
        return at_ms if self.on_hold is None else max(at_ms, self.on_hold())

    def release(self, holder: int) -> None:
        """It waits no longer."""
        if holder in self._holders:
            self._holders.discard(holder)
            if not self._holders and self.on_release is not None:
                self.on_release()

    # ------------------------------------------------------------ the diary
    def tell(
        self, at_ms: float, kind: str, *, module: str | None = None, label: str | None = None, detail: Mapping[str, object] | None = None
    ) -> None:
        """Note what happened, where somebody listens."""
        if self.on_happening is not None:
            self.on_happening(Happening(at_ms, kind, module, label, {} if detail is None else detail))
