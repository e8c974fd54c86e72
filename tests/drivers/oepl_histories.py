"""Seeded random histories of one module and its labels, with every lie; and the one question asked of them."""

from __future__ import annotations

import random
from collections import Counter

from drivers.base import DriverEvent, Failed, LabelId, Proven, Stored
from drivers.sim.labels import Lie
from tests.drivers.oepl_memory import MemoryStore

LIES = tuple(lie for lie in Lie if lie is not Lie.NEVER_REFRESHES)
ACTIONS = ("deliver",) * 8 + ("lie",) * 4 + ("honest",) * 3 + ("button", "swap", "reset", "unplug", "noise", "withdraw", "same")
PAUSES_MS = (200, 3_000, 15_000, 41_000, 41_000, 90_000, 90_000, 330_000)


class FalseProof(AssertionError):
    """A picture was called proven that the panel did not show."""


class History:
    """One seed's story. `proofs` counts what the radio claimed; a false claim raises `FalseProof` at that instant."""

    hw_type = 0x01

    def __init__(self, seed: int, lies: tuple[Lie, ...] = LIES, actions: int = 10) -> None:
        self._rng = random.Random(seed)
        self._lies = lies
        rng = self._rng
        self.store = MemoryStore(
            seed=seed,
            labels=rng.choice((1, 1, 2)),
            hw_type=self.hw_type,
            fast=rng.random() < 0.2,
            chatter=rng.choice((0, 0, 0.3)),
            host_delay_ms=rng.choice((0, 0, 0, 40, 700)),
            lost_bytes=rng.choice((0, 0, 0, 0, 0.0005)),
        )
        self.store.on_event = self._check
        self._payloads: dict[int, bytes] = {}
        self._latest: dict[LabelId, bytes] = {}
        self._count = 0
        self.outcomes: Counter[str] = Counter()
        for _ in range(actions):
            self._act(rng.choice(ACTIONS))
            self.store.run(rng.choice(PAUSES_MS) * rng.uniform(0.8, 1.2))

    def _act(self, action: str) -> None:
        rng, store = self._rng, self.store
        label_id = rng.choice(list(store.labels))
        label = store.labels[label_id]
        match action:
            case "deliver":
                self._count += 1
                data = self._count.to_bytes(4, "little") * rng.choice((25, 400, 1500))
                self._payloads[store.deliver(label_id, data)] = data
                self._latest[label_id] = data
            case "same" if label_id in self._latest:
                data = self._latest[label_id]
                self._payloads[store.deliver(label_id, data)] = data
            case "withdraw":
                store.withdraw(label_id)
            case "lie":
                label.set_lie(rng.choice(self._lies), once=rng.random() < 0.3)
            case "honest":
                label.set_lie(None)
            case "button":
                label.press_button(store.now_ms)
            case "swap":
                label.swap_battery(store.now_ms)
            case "reset":
                store.module.reset(store.now_ms)
            case "unplug":
                store.unplug()
                store.run(rng.choice((100, 50_000)))
                store.plug()
            case "noise":
                store.module.lost_bytes = rng.choice((0, 0, 0.0005, 0.003))

    def _claims(self, event: DriverEvent) -> tuple[LabelId, int] | None:
        return (event.label_id, event.attempt_id) if isinstance(event, Proven) else None

    def _check(self, event: DriverEvent) -> None:
        self.outcomes[event.reason if isinstance(event, Failed) else type(event).__name__] += 1
        claimed = self._claims(event)
        if claimed is not None and not self.store.shows(claimed[0], self._payloads[claimed[1]]):
            raise FalseProof(f"{event} while the panel shows something else")


class CredulousHistory(History):
    """The planted fault: takes "transfer complete" for proof."""

    def _claims(self, event: DriverEvent) -> tuple[LabelId, int] | None:
        return (event.label_id, event.attempt_id) if isinstance(event, Stored) else None


class BlinkingHistory(History):
    """Somebody looks for labels all the time: each may be told to blink between any two things that happen to it."""

    hw_type = 0x33  # with a light

    def _act(self, action: str) -> None:
        for label_id in self.store.labels:
            if self._rng.random() < 0.5:
                self.outcomes["lit" if self.store.flash(label_id) is None else "not lit"] += 1
        super()._act(action)
