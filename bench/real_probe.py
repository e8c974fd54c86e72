"""The probe lane: quotes and buys every article whose price is changing, at every stage that the simulator's diary shows."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count
from typing import Any, Final

from bench.real_data import Change
from bench.real_lanes import Till
from drivers.base import Clock
from edge.demo.world import SimEvent
from edge.lane_client import DaemonUnreachable

REFRESH_PROBE_MS: Final = 5_000  # into a refresh, which takes 12 to 25 s
LOOK_S: Final = 0.25  # real time between two looks at the daemon's label list while something changes,
LABELS_PER_S: Final = 4_000  # and more where there are many labels: the list costs the daemon time that tills wait for


class Moment(StrEnum):
    """Where a change stands when somebody buys."""

    DUE = "before the offer"
    OFFERED = "offered"
    TRANSFER = "in transfer"
    STORED = "after XFC"
    REFRESH = "in refresh"
    DISPLAYED = "displayed, not proven"
    PROVEN = "after proof"
    BOUND = "after dwell"


_MOMENT_OF_EVENT: Final = {
    "sda": Moment.OFFERED,
    "transfer_begins": Moment.TRANSFER,
    "xfc": Moment.STORED,
    "display": Moment.DISPLAYED,
}
_URGENT: Final = {Moment.TRANSFER: 0, Moment.STORED: 1, Moment.REFRESH: 1, Moment.OFFERED: 2, Moment.DISPLAYED: 2}


@dataclass(slots=True)
class Transition:
    """One change on its way to shelf and lane; times in world milliseconds."""

    change: Change
    label: str
    due_ms: int
    moments: list[tuple[int, Moment]] = field(default_factory=list)  # from when on
    probed_ms: list[int] = field(default_factory=list)
    stored: bool = False
    proven_ms: int | None = None
    bound_ms: int | None = None

    def moment_at(self, at_ms: int) -> Moment:
        """Where it stood then."""
        place = bisect_right(self.moments, at_ms, key=lambda each: each[0]) - 1
        return self.moments[place][1] if place >= 0 else Moment.DUE


@dataclass(slots=True)
class ProbeCounts:
    """Over the whole run."""

    by_moment: Counter[Moment] = field(default_factory=Counter)
    in_transition: int = 0  # probes from when a price was due until the lane charged it
    fewest: int | None = None  # of them, of one change
    complete: int = 0  # changes that were bought at every moment but perhaps "displayed, not proven"
    longest_rise_wait_ms: int = 0
    slowest: str = ""


class Prober:
    """Follows the transitions of one week at a time."""

    def __init__(
        self,
        clock: Clock,
        dwell_ms: int,
        list_labels: Callable[[], Awaitable[Mapping[str, Mapping[str, Any]]]],
        in_force: Callable[[str, int], None],
        moved: Callable[[], None],
    ) -> None:
        """`list_labels` asks the daemon for its label list by label id; it may raise DaemonUnreachable. `in_force` is told of each
        article that costs what it should from some instant on."""
        self.counts = ProbeCounts()
        self.open: dict[str, Transition] = {}  # by label
        self._clock = clock
        self._dwell_ms = dwell_ms
        self._list_labels = list_labels
        self._in_force_told = in_force
        self._moved = moved
        self._queue: asyncio.PriorityQueue[tuple[int, int, Moment, Transition]] = asyncio.PriorityQueue()
        self._order = count()
        self._listed = 0
        self._timers: set[asyncio.Task[None]] = set()

    # -- a week ------------------------------------------------------------------------------------------------------------

    def expect(self, transitions: Iterable[Transition]) -> None:
        """These prices are due in a moment: what happens to their labels from now on is theirs."""
        self.open = {transition.label: transition for transition in transitions}

    def shown_share(self) -> float:
        """Of the labels that change, those whose panel has shown something new."""
        shown = sum(any(moment is Moment.DISPLAYED for _, moment in each.moments) for each in self.open.values())
        return shown / len(self.open) if self.open else 0.0

    def begin(self) -> None:
        """They are due now."""
        for transition in self.open.values():
            self._ask(Moment.DUE, transition)

    async def finished(self) -> list[Transition]:
        """Wait until every transition is in force and was probed after that; they are closed and counted."""
        while any(each.bound_ms is None for each in self.open.values()) or not self._queue.empty():  # noqa: ASYNC110 - facts of others
            await asyncio.sleep(LOOK_S)
        await self._queue.join()
        done, self.open = list(self.open.values()), {}
        for each in done:
            self._count(each)
        return done

    def _count(self, done: Transition) -> None:
        counts = self.counts
        done.moments.sort(key=lambda each: each[0])
        moments = Counter(done.moment_at(at_ms) for at_ms in done.probed_ms)
        counts.by_moment += moments
        counts.complete += set(Moment) - {Moment.DISPLAYED} <= set(moments)
        before = moments.total() - moments[Moment.BOUND]
        counts.in_transition += before
        counts.fewest = before if counts.fewest is None else min(counts.fewest, before)
        assert done.bound_ms is not None
        if done.change.is_rise and done.bound_ms - done.due_ms > counts.longest_rise_wait_ms:
            counts.longest_rise_wait_ms = done.bound_ms - done.due_ms
            counts.slowest = f"{done.change.sku} in week {done.change.week} on label {done.label}"

    # -- what happens --------------------------------------------------------------------------------------------------------

    def on_event(self, event: SimEvent) -> None:
        """A line of the simulator's diary."""
        transition = self.open.get(event.label or "")
        if transition is None or transition.bound_ms is not None:
            return
        if event.kind == "refresh_begins":
            self._later(Moment.REFRESH, transition)
        moment = _MOMENT_OF_EVENT.get(event.kind)
        if moment is None:
            return
        transition.stored = transition.stored or moment is Moment.STORED
        transition.moments.append((event.at_ms, moment))
        self._ask(moment, transition)

    def _ask(self, moment: Moment, transition: Transition) -> None:
        self._queue.put_nowait((_URGENT.get(moment, 3), next(self._order), moment, transition))

    def _later(self, moment: Moment, transition: Transition) -> None:
        async def ask() -> None:
            await self._clock.sleep_ms(REFRESH_PROBE_MS)
            transition.moments.append((self._clock.now_ms(), moment))
            self._ask(moment, transition)

        task = asyncio.get_running_loop().create_task(ask(), name="probe in refresh")
        self._timers.add(task)
        task.add_done_callback(self._timers.discard)

    # -- tasks ---------------------------------------------------------------------------------------------------------------

    async def buy(self, buyer: Till) -> None:
        """Buy one unit whenever something happened to a changing article. Until cancelled; several may."""
        while True:
            _, _, _, transition = await self._queue.get()
            sold = await buyer.sell([(transition.change.sku, 1)])
            transition.probed_ms.append(sold.asked_ms)
            self._queue.task_done()

    async def watch(self, asker: Till) -> None:
        """Notice proof and dwell: what the daemon says of labels decides only *when* a probe buys. Until cancelled."""
        looked_s = 0.0
        while True:
            await asyncio.sleep(LOOK_S)
            waiting = [each for each in self.open.values() if each.bound_ms is None]
            due = time.monotonic() - looked_s >= LOOK_S + self._listed / LABELS_PER_S
            if due and any(each.stored and each.proven_ms is None for each in waiting):
                try:
                    labels = await self._list_labels()
                except DaemonUnreachable:
                    continue
                looked_s, self._listed = time.monotonic(), len(labels)
                for each in waiting:
                    if each.stored and each.proven_ms is None and is_proven(labels[each.label]):
                        each.proven_ms = self._note(each, Moment.PROVEN)
            for each in waiting:
                if each.proven_ms is not None and await self._in_force(asker, each, each.proven_ms):
                    each.bound_ms = self._clock.now_ms()
                    self._in_force_told(each.change.sku, each.bound_ms)
                    self._note(each, Moment.BOUND)

    async def _in_force(self, asker: Till, transition: Transition, proven_ms: int) -> bool:
        """Whether the lane charges the new price, and would for a picture that is not there any more."""
        if not transition.change.is_rise and self._clock.now_ms() - proven_ms < self._dwell_ms:
            return False
        answer = await asker.lookup(transition.change.sku)
        after = transition.change.after
        return answer.guard is None and (answer.price.amount_minor, answer.kind) == (after.displayed_minor, after.kind)

    def _note(self, transition: Transition, moment: Moment) -> int:
        now_ms = self._clock.now_ms()
        transition.moments.append((now_ms, moment))
        self._ask(moment, transition)
        self._moved()
        return now_ms


def is_proven(label: Mapping[str, Any]) -> bool:
    """By a row of the daemon's label list: it may show one picture only, and that was seen there."""
    return bool(label["state"] == "proven" and label["may_show"] == 1)
