"""What the lanes are told unasked. Each connection that asked for it has a few pending facts, never a queue.

A change is noted at once and told a moment later, together with what else has changed by then. A connection that does not take its
answers is told nothing more until it does, or is cut; what it missed is a set of items with a limit, not a list of messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from edge.model import ItemId
from edge.view import Delta, View
from protocols import pos_notices
from protocols.pos_notices import BASKETS_MAX, HOLDS_MAX, ITEMS_MAX, HoldNew, Notice, PriceChanged, Stale

GATHER_MS: Final = 200  # real time in which changes are told as one: nobody at a till sees a fifth of a second
STALE_AFTER_S: Final = 300  # HQ speaks at least each minute; five are an outage
LOOK_S: Final = 5.0

Push = Callable[[bytes], bool]  # False: the peer takes nothing now


@dataclass(slots=True, eq=False)
class Subscriber:
    """One connection, and what it is still to be told."""

    lane_id: str
    asked: frozenset[Notice]
    push: Push
    items: set[ItemId] = field(default_factory=set)
    more_items: bool = False
    holds: dict[str, None] = field(default_factory=dict)
    more_holds: bool = False
    told_stale: bool = False


class Notices:
    """One per store; used from the event loop's thread only."""

    def __init__(self, view: View, stale_s: Callable[[], int]) -> None:
        self._view = view
        self._stale_s = stale_s
        self._subscribers: set[Subscriber] = set()
        self._wake = asyncio.Event()

    def subscribe(self, lane_id: str, asked: Iterable[Notice], push: Push) -> Subscriber:
        """From now on, until `unsubscribe`."""
        subscriber = Subscriber(lane_id, frozenset(asked), push)
        self._subscribers.add(subscriber)
        self._wake.set()
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        self._subscribers.discard(subscriber)

    def changed(self, delta: Delta) -> None:
        """A transaction was committed and the view holds it."""
        if not self._subscribers:
            return
        repriced = self._view.repriced
        new_holds = [hold_id for hold_id, hold in delta.holds.items() if hold is not None and hold.arrived_ms is None]
        for subscriber in self._subscribers:
            if repriced:
                self._note_items(subscriber, repriced)
            if new_holds and Notice.HOLD in subscriber.asked:
                _note_holds(subscriber, new_holds)
        if repriced or new_holds:
            self._wake.set()

    async def run(self) -> None:
        """Tell, until cancelled."""
        while True:
            self.tell()
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._wake.wait()
            except TimeoutError:
                continue
            self._wake.clear()
            await asyncio.sleep(GATHER_MS / 1000)

    def tell(self) -> None:
        """Tell every subscriber what is pending, as far as it takes it."""
        stale_s = self._stale_s()
        for subscriber in tuple(self._subscribers):
            self._tell_stale(subscriber, stale_s)
            self._tell_prices(subscriber)
            _tell_holds(subscriber)

    def _note_items(self, subscriber: Subscriber, repriced: set[ItemId]) -> None:
        if Notice.PRICES in subscriber.asked:
            room = ITEMS_MAX - len(subscriber.items)
            fresh = repriced - subscriber.items if len(repriced) <= ITEMS_MAX else repriced
            subscriber.more_items = subscriber.more_items or len(fresh) > room
            subscriber.items.update(_some(fresh, room))
        elif Notice.BASKET_PRICES in subscriber.asked:
            subscriber.items |= self._view.in_baskets(repriced, subscriber.lane_id)

    def _tell_prices(self, subscriber: Subscriber) -> None:
        if not subscriber.items and not subscriber.more_items:
            return
        held: Iterable[ItemId] = subscriber.items
        if subscriber.more_items:  # any item: every basket is concerned
            held = {line.item_id for quote in self._view.quotes.values() if quote.lane_id == subscriber.lane_id for line in quote.lines}
        baskets = sorted(self._view.baskets_holding(held, subscriber.lane_id))[:BASKETS_MAX]
        items = sorted(subscriber.items)[:ITEMS_MAX]
        more = subscriber.more_items or len(subscriber.items) > ITEMS_MAX
        if subscriber.push(pos_notices.price_changed(PriceChanged(self._view.revision, tuple(items), more, tuple(baskets)))):
            subscriber.items.clear()
            subscriber.more_items = False

    def _tell_stale(self, subscriber: Subscriber, stale_s: int) -> None:
        is_stale = stale_s >= STALE_AFTER_S
        due = Notice.STALE in subscriber.asked and is_stale != subscriber.told_stale
        if due and subscriber.push(pos_notices.stale(Stale(stale_s, is_stale))):
            subscriber.told_stale = is_stale


def _note_holds(subscriber: Subscriber, hold_ids: list[str]) -> None:
    room = HOLDS_MAX - len(subscriber.holds)
    subscriber.holds.update(dict.fromkeys(hold_ids[:room]))
    subscriber.more_holds = subscriber.more_holds or len(hold_ids) > room


def _tell_holds(subscriber: Subscriber) -> None:
    while subscriber.holds:
        hold_id = next(iter(subscriber.holds))
        if not subscriber.push(pos_notices.hold_new(HoldNew(hold_id))):
            return
        del subscriber.holds[hold_id]
    if subscriber.more_holds and subscriber.push(pos_notices.hold_new(HoldNew(None))):
        subscriber.more_holds = False


def _some(items: set[ItemId], count: int) -> Iterable[ItemId]:
    return (item_id for item_id, _ in zip(items, range(max(0, count)), strict=False))
