"""Tells HQ when every label of an item that shoppers can read provably shows what is in force."""

from __future__ import annotations

from collections.abc import Iterable

from drivers.base import Clock
from edge import planning
from edge.model import ItemId
from edge.planning import Moment, PictureFacts, Wanted
from edge.store.hq_rows import Shown
from edge.store.store import Store
from render.errors import RenderError


class Confirmations:
    """One per shelf loop. What waits for its labels is in the view's `waiting`."""

    def __init__(self, store: Store, clock: Clock, facts: PictureFacts) -> None:
        self._store = store
        self._view = store.view
        self._clock = clock
        self._facts = facts

    def wanted(self, label_id: str) -> Wanted:
        """What a label should show now. Raises render's errors where it cannot be drawn."""
        now = Moment(self._clock.wall_ms(), self._clock.wall_trusted())
        return planning.wanted_picture(self._view, self._view.labels[label_id], self._facts, now)

    def waiting_for(self, label_id: str) -> list[ItemId]:
        """Items of a label that wait for their labels."""
        binding = self._view.bindings.get(label_id)
        return [item_id for item_id in (binding.items if binding else ()) if item_id in self._view.waiting]

    def waits_for_none(self, item_id: ItemId) -> bool:
        """Whether an item waits although no label that is in use carries it."""
        return item_id in self._view.waiting and not self._in_use(item_id)

    async def confirm(self, item_ids: Iterable[ItemId]) -> None:
        """Tell HQ of those for which it is so."""
        shown: list[Shown] = []
        for item_id in item_ids:
            in_force = self._view.in_force.get(item_id)
            labels = self._in_use(item_id)
            if in_force is not None and all(self._shows_wanted(label_id) for label_id in labels):
                shown.append(Shown(item_id, in_force.row.row_id, len(labels)))
        if shown:
            await self._store.settle(shown)

    def _in_use(self, item_id: ItemId) -> list[str]:
        labels = self._view.labels
        return [label_id for label_id in self._view.labels_of_item(item_id) if label_id not in labels or not labels[label_id].retired]

    def _shows_wanted(self, label_id: str) -> bool:
        label = self._view.labels.get(label_id)
        if label is None or not label.panel:
            return False
        try:
            wanted = self.wanted(label_id)
        except RenderError:
            return False
        return planning.is_settled(self._view.may_of_label(label_id), wanted.content_hash)
