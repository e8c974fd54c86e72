"""Looks regularly at what labels hold down: counts it, tells people of what lasts, and lets time decide where the owner said so."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from typing import Final

from drivers.base import Clock
from edge import guard_report
from edge.guard_report import BoundNow, Now
from edge.model import ItemId
from edge.store import people
from edge.store.people import Held
from edge.store.store import Store

log = logging.getLogger(__name__)

LOOK_MS: Final = 30_000  # of store time; release_after counts in hours
SLICE: Final = 100  # items looked at in one go, some 2 ms at worst: lanes are answered by the same thread
NOTED_MS: Final = 600_000  # most holds end before: a hold that lasts is written down, so that a restart does not begin anew
TELL_MS: Final = 86_400_000  # docs/reference/price-guard.md: after a day somebody is sent there
ROWS_MAX: Final = 500  # holds in one transaction: a sale may have to wait for it


class GuardWatch:
    """One per store. `run` until cancelled; `look` is one round of it."""

    def __init__(self, store: Store, clock: Clock, store_open: Callable[[], bool], release_after_ms: int | None) -> None:
        """`release_after_ms` None: no time-out ever releases what a label may show."""
        self.items_held: dict[str, int] = {}  # by reason, at the last look
        self._store = store
        self._view = store.view
        self._clock = clock
        self._store_open = store_open
        self._release_after_ms = release_after_ms
        self._held = store.read(people.holds)  # by attempt
        self._noted = set(self._held)

    async def run(self) -> None:
        while True:
            await self.look()
            await self._clock.sleep_ms(LOOK_MS)

    def now(self) -> Now:
        return Now(self._clock.now_ms(), self._clock.boot_id, self._clock.wall_ms(), self._store_open())

    async def survey(self) -> dict[ItemId, list[BoundNow]]:
        """What keeps items below their target now. Others run meanwhile: it is no picture of one instant."""
        found: dict[ItemId, list[BoundNow]] = {}
        items = self._view.maybe_held()
        for start in range(0, len(items), SLICE):
            now = self.now()
            for item_id in items[start : start + SLICE]:
                if holds := guard_report.holds_now(self._view, item_id, now):
                    found[item_id] = holds
            await asyncio.sleep(0)
        return found

    async def look(self) -> None:
        held = await self.survey()
        reasons = [guard_report.guard_of(holds) for holds in held.values()]
        self.items_held = {reason: reasons.count(reason) for reason in set(reasons)}
        bounds = [bound for holds in held.values() for bound in holds if guard_report.is_lasting(bound)]
        lasting: dict[int, str] = {bound.entry.attempt_id: bound.entry.label_id for bound in bounds}
        now = self.now()
        ended = [attempt_id for attempt_id in self._held if attempt_id not in lasting]
        for attempt_id in ended:
            del self._held[attempt_id]
        for attempt_id in lasting:
            known = self._held.get(attempt_id)
            if known is None or known.boot_id != now.boot_id:
                self._held[attempt_id] = Held(attempt_id, now.boot_id, now.now_ms, now.wall_ms, known is not None and known.told)
        await self._note(ended, now)
        if self._release_after_ms is not None:
            await self._release(lasting, now, self._release_after_ms)
        await self._tell(lasting, now)

    async def _note(self, ended: list[int], now: Now) -> None:
        began = [each for each in self._held.values() if each.attempt_id not in self._noted and now.now_ms - each.since_ms >= NOTED_MS]
        over = [attempt_id for attempt_id in ended if attempt_id in self._noted]
        for start in range(0, max(len(began), len(over)), ROWS_MAX):
            some, gone = began[start : start + ROWS_MAX], over[start : start + ROWS_MAX]
            await self._store.run(partial(people.note_holds, began=some, ended=gone))
        self._noted.update(each.attempt_id for each in began)
        self._noted.difference_update(over)

    async def _release(self, lasting: dict[int, str], now: Now, after_ms: int) -> None:
        for label_id, attempt_ids in self._older_than(after_ms, lasting, now).items():
            stamp = self._store.stamp()
            await self._store.run(partial(people.override, stamp=stamp, label_id=label_id, attempt_ids=attempt_ids, after_ms=after_ms))
            log.warning("label=%s attempts=%s released after %d h, unproven", label_id, attempt_ids, after_ms // 3_600_000)
            for attempt_id in attempt_ids:
                self._held.pop(attempt_id, None)
                self._noted.discard(attempt_id)

    async def _tell(self, lasting: dict[int, str], now: Now) -> None:
        for label_id, attempt_ids in self._older_than(TELL_MS, lasting, now).items():
            untold = [attempt_id for attempt_id in attempt_ids if not self._held[attempt_id].told]
            if not untold:
                continue
            way_out = self._remedy(label_id, untold[-1])
            place = guard_report.place_of(self._view, label_id) or "place unknown"
            detail = f"label {label_id} ({place}) has kept a price down for {TELL_MS // 3_600_000} h: {way_out}"
            stamp = self._store.stamp()
            await self._store.run(partial(people.tell_hold, stamp=stamp, label_id=label_id, attempt_ids=untold, detail=detail))
            for attempt_id in untold:
                held = self._held[attempt_id]
                self._held[attempt_id] = Held(attempt_id, held.boot_id, held.since_ms, held.since_wall_ms, told=True)

    def _remedy(self, label_id: str, attempt_id: int) -> str:
        entry = self._view.may_of_label(label_id).get(attempt_id)
        return guard_report.remedy(self._view, entry, self.now(), "") if entry is not None else "shelfd price held"

    def _older_than(self, duration_ms: int, lasting: dict[int, str], now: Now) -> dict[str, list[int]]:
        """The holds that have lasted so long on this boot's clock, by label."""
        found: dict[str, list[int]] = {}
        for attempt_id, label_id in lasting.items():
            held = self._held.get(attempt_id)
            if held is not None and now.now_ms - held.since_ms >= duration_ms:
                found.setdefault(label_id, []).append(attempt_id)
        return found
