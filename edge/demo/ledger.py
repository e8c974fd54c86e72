"""How far each price change got, and what was sold: the figures of the demo. Pure; times are virtual milliseconds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from statistics import median
from typing import Final

from edge.demo.catalogue import PriceChange

RECENT_MAX: Final = 8  # changes kept for the screen after they are done
WAITS_MAX: Final = 500  # newest durations that a median is taken of


class Stage(StrEnum):
    """What a change reaches, in the order of a rise; a cut is in force at the lane before anything is drawn."""

    STORED = "stored"  # the store reports it as applied
    RENDERED = "rendered"  # its picture is announced to the label
    ON_AIR = "on_air"  # the label fetches it
    CONFIRMED = "confirmed"  # the store reports that the shelf provably shows it
    IN_FORCE = "in_force"  # a lane that is asked answers with the new price


@dataclass(slots=True)
class Change:
    """One price change on its way."""

    price: PriceChange
    seq: int  # of HQ's stream "price"
    name: str
    label: str
    sent_ms: int
    reached_ms: dict[Stage, int] = field(default_factory=dict)
    lane_price_minor: int | None = None  # what a lane answered last
    lane_guard: str | None = None  # and why, where the shelf holds it down

    @property
    def is_rise(self) -> bool:
        return self.price.is_rise

    @property
    def done(self) -> bool:
        return Stage.CONFIRMED in self.reached_ms and Stage.IN_FORCE in self.reached_ms

    @property
    def stage(self) -> Stage | None:
        """The last stage that it reached on its way to the shelf; None: only sent."""
        return next((stage for stage in reversed(Stage) if stage is not Stage.IN_FORCE and stage in self.reached_ms), None)


class Changes:
    """All changes: counted for good, listed while they are open."""

    def __init__(self) -> None:
        self.open: dict[str, Change] = {}  # by sku: an article has at most one change on its way
        self.recent: deque[Change] = deque(maxlen=RECENT_MAX)
        self._sent = {True: 0, False: 0}
        self._reached = {(stage, rise): 0 for stage in Stage for rise in (True, False)}
        self._waits_ms: dict[tuple[Stage, bool], deque[int]] = {key: deque(maxlen=WAITS_MAX) for key in self._reached}

    def send(self, change: Change) -> None:
        """HQ sent it."""
        self.open[change.price.sku] = change
        self.recent.append(change)
        self._sent[change.is_rise] += 1

    def reach(self, change: Change, stage: Stage, at_ms: int) -> None:
        """Note a stage; a second time changes nothing."""
        if stage in change.reached_ms:
            return
        change.reached_ms[stage] = at_ms
        key = stage, change.is_rise
        self._reached[key] += 1
        self._waits_ms[key].append(at_ms - change.sent_ms)
        if change.done:
            self.open.pop(change.price.sku, None)

    def of_label(self, label: str) -> Change | None:
        """The open change that a label waits for."""
        return next((change for change in self.open.values() if change.label == label), None)

    def sent(self, rises: Iterable[bool] = (True, False)) -> int:
        return sum(self._sent[rise] for rise in rises)

    def count(self, stage: Stage, rises: Iterable[bool] = (True, False)) -> int:
        return sum(self._reached[stage, rise] for rise in rises)

    def median_wait_s(self, stage: Stage, *, rise: bool) -> float | None:
        """From leaving HQ to the stage, in seconds of store time; None before the first."""
        waits_ms = self._waits_ms[stage, rise]
        return median(waits_ms) / 1000 if waits_ms else None


@dataclass(slots=True)
class Sales:
    """Sales of all lanes. `sent`: tendered and told to the daemon; `recorded`: the daemon answered; `at_hq`: booked there."""

    sent: int = 0
    recorded: int = 0
    at_hq: int = 0
    lines: int = 0
    taken_minor: int = 0


def result(changes: Changes, sales: Sales, overcharges: int, seconds: float) -> dict[str, object]:
    """What `--json` writes."""
    return {
        "changes": {
            "sent": changes.sent(),
            "stored": changes.count(Stage.STORED),
            "rendered": changes.count(Stage.RENDERED),
            "on_air": changes.count(Stage.ON_AIR),
            "confirmed": changes.count(Stage.CONFIRMED),
            "rises_in_force": changes.count(Stage.IN_FORCE, (True,)),
            "cuts_in_force": changes.count(Stage.IN_FORCE, (False,)),
        },
        "sales": {"sent": sales.sent, "recorded": sales.recorded, "at_hq": sales.at_hq},
        "overcharges": overcharges,
        "seconds": round(seconds, 1),
    }
