"""Rises that wait for the store's rules: looked at again when the rules may say something else."""

from __future__ import annotations

from collections.abc import Iterable

from edge.change_windows import ChangesNow
from edge.model import ItemId
from edge.store.store import Store


class RiseWatch:
    """One per shelf loop; used from the event loop's thread only."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._waiting: dict[ItemId, None] = {}
        self._moment: tuple[bool, int] | None = None

    @property
    def waiting(self) -> tuple[ItemId, ...]:
        """Items whose rows ask for more than what is in force."""
        return tuple(self._waiting)

    def look(self, item_ids: Iterable[ItemId]) -> None:
        """Something about these items changed."""
        if self._store.changes_now() is None:
            self._waiting.clear()
            return
        for item_id in item_ids:
            if self._store.is_due(item_id):
                self._waiting[item_id] = None
            else:
                self._waiting.pop(item_id, None)

    def due(self) -> list[ItemId]:
        """Those that wait, once each time that the store opens or closes and a business day begins."""
        now = self._store.changes_now()
        moment = None if now is None else _moment(now)
        if moment == self._moment:
            return []
        self._moment = moment
        return list(self._waiting)


def _moment(now: ChangesNow) -> tuple[bool, int]:
    return now.store_open, now.day_began_ms
