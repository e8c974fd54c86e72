"""Lets held goods go when their time is over, by the store's own clock."""

from __future__ import annotations

import logging
from typing import Final

from drivers.base import Clock
from edge.store import holds
from edge.store.store import Store

log = logging.getLogger("stock")

LOOK_MS: Final = 10_000  # a pick-up that lapses ten seconds late does no harm


class HoldKeeper:
    """One per store."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self.look()
            await self._clock.sleep_ms(LOOK_MS)

    async def look(self) -> int:
        """Let everything that is due lapse; how many holds did. None while nobody vouches for the clock."""
        expired = 0
        while self._clock.wall_trusted() and any(hold.is_due(self._clock.wall_ms()) for hold in self._store.view.holds.values()):
            stamp = self._store.stamp()
            ended = await self._store.run(lambda db, stamp=stamp: holds.expire_holds(db, stamp))  # type: ignore[misc]
            if not ended:
                break
            expired += ended
        if expired:
            log.info("holds=%d expired", expired)
        return expired
