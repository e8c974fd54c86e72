"""The store in memory: what lanes read and the planner compares. Changed only by the deltas of committed transactions.

One thread (the event loop's) reads and changes it, so a lane's answer never waits for the writer and never sees half a
transaction.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from edge.model import Binding, InForce, Item, ItemId, LabelState, MayEntry, PriceRow, Quote, QuoteLine, Recall
from edge.stock import Hold, Level, full_shelf, shelf_step

K = TypeVar("K")
V = TypeVar("V")


@dataclass(slots=True)
class Delta:
    """What one committed transaction changed. A value of None removes the key."""

    items: dict[ItemId, Item | None] = field(default_factory=dict)
    barcodes: dict[str, tuple[ItemId, int] | None] = field(default_factory=dict)
    rows: dict[ItemId, tuple[PriceRow, ...]] = field(default_factory=dict)
    in_force: dict[ItemId, InForce] = field(default_factory=dict)
    stock: dict[ItemId, int] = field(default_factory=dict)  # on hand
    reserved: dict[ItemId, tuple[int, int]] = field(default_factory=dict)  # held, in escrow
    holds: dict[str, Hold | None] = field(default_factory=dict)  # the open ones
    labels: dict[str, LabelState] = field(default_factory=dict)
    bindings: dict[str, Binding | None] = field(default_factory=dict)
    may: dict[tuple[str, int], MayEntry | None] = field(default_factory=dict)
    quotes: dict[str, Quote | None] = field(default_factory=dict)
    waiting: dict[ItemId, bool] = field(default_factory=dict)  # whether a message waits for the item's labels
    recalls: dict[ItemId, Recall | None] = field(default_factory=dict)
    outbox_grew: bool = False
    generation: str | None = None

    def merge(self, later: Delta) -> None:
        """Take over what a later part of the same transaction changed."""
        for name in _TABLES:
            getattr(self, name).update(getattr(later, name))
        self.outbox_grew = self.outbox_grew or later.outbox_grew
        self.generation = self.generation if later.generation is None else later.generation


_TABLES = (
    "items",
    "barcodes",
    "rows",
    "in_force",
    "stock",
    "reserved",
    "holds",
    "labels",
    "bindings",
    "may",
    "quotes",
    "waiting",
    "recalls",
)


class View:
    """Read it freely; change it only with `apply`."""

    def __init__(self) -> None:
        self.items: dict[ItemId, Item] = {}
        self.barcodes: dict[str, tuple[ItemId, int]] = {}
        self.plus: dict[str, set[ItemId]] = {}  # items by PLU
        self.recalls: dict[ItemId, Recall] = {}
        self.codes: dict[ItemId, str] = {}  # the code to print for an item: the one of a single piece, first by number
        self.rows: dict[ItemId, tuple[PriceRow, ...]] = {}
        self.in_force: dict[ItemId, InForce] = {}
        self.stock: dict[ItemId, int] = {}
        self.reserved: dict[ItemId, tuple[int, int]] = {}
        self.holds: dict[str, Hold] = {}
        self.repriced: set[ItemId] = set()  # items that the last delta may have made cheaper or dearer
        self.labels: dict[str, LabelState] = {}
        self.bindings: dict[str, Binding] = {}
        self.quotes: dict[str, Quote] = {}
        self.waiting: set[ItemId] = set()
        self.generation = ""  # the catalogue in force: a snapshot id, "file", or "" before the first
        self.revision = 0  # grows with every change that a lane could see
        self.changed_items: set[ItemId] = set()  # since the planner last took them
        self.changed_labels: set[str] = set()
        self._singles_of_item: dict[ItemId, tuple[str, ...]] = {}  # codes that stand for one piece
        self._may_of_label: dict[str, dict[int, MayEntry]] = {}
        self._may_of_item: dict[ItemId, dict[int, MayEntry]] = {}
        self._labels_of_item: dict[ItemId, set[str]] = {}
        self._leases_of_item: dict[ItemId, dict[str, list[QuoteLine]]] = {}
        self._quotes_of_basket: dict[tuple[str, str], str] = {}
        self._boundaries: list[tuple[int, ItemId]] = []  # a heap; no boundary is in it twice
        self._watched: set[tuple[int, ItemId]] = set()
        self._looked_ms = 0
        self._differing: dict[ItemId, None] = {}  # some label may show the item at another curve than the target's

    # -- reading ---------------------------------------------------------------------------------------------------------

    def level(self, item_id: ItemId) -> Level:
        """The item's units by account."""
        return Level(self.stock.get(item_id, 0), *self.reserved.get(item_id, (0, 0)))

    def in_baskets(self, item_ids: Iterable[ItemId], lane_id: str) -> set[ItemId]:
        """Those of the items that a live quote of the lane holds."""
        return {
            item_id
            for item_id in item_ids
            if any(self.quotes[quote_id].lane_id == lane_id for quote_id in self._leases_of_item.get(item_id, ()))
        }

    def baskets_holding(self, item_ids: Iterable[ItemId], lane_id: str) -> set[str]:
        """The lane's baskets with a live quote for one of these items."""
        quotes = {quote_id for item_id in item_ids for quote_id in self._leases_of_item.get(item_id, ())}
        return {quote.basket_id for quote_id in quotes if (quote := self.quotes[quote_id]).lane_id == lane_id}

    def may_of_item(self, item_id: ItemId) -> Iterable[MayEntry]:
        """Every may-set entry with an offer for the item, on any label."""
        return self._may_of_item.get(item_id, {}).values()

    def may_of_label(self, label_id: str) -> dict[int, MayEntry]:
        """The label's may-set by attempt id, oldest first; GONE entries whose dwell runs are among them."""
        return self._may_of_label.get(label_id, {})

    def may_entries(self) -> Iterator[MayEntry]:
        for entries in self._may_of_label.values():
            yield from entries.values()

    def maybe_held(self) -> list[ItemId]:
        """Items that a label may show at another offer than the price in force: no other can be held down, or need a look."""
        return list(self._differing)

    def singles_of_item(self, item_id: ItemId) -> Iterable[str]:
        """The codes that stand for one piece of the item."""
        return self._singles_of_item.get(item_id, ())

    def labels_of_item(self, item_id: ItemId) -> frozenset[str]:
        """Labels bound to the item now."""
        return frozenset(self._labels_of_item.get(item_id, ()))

    def leased_lines(self, item_id: ItemId) -> Iterator[tuple[QuoteLine, ...]]:
        """The lines for the item, of each live quote that has some."""
        for lines in self._leases_of_item.get(item_id, {}).values():
            yield tuple(lines)

    def member_leased_lines(self, item_id: ItemId) -> Iterator[tuple[QuoteLine, ...]]:
        """The same of quotes to members: an offer to members says nothing to anybody else."""
        for quote_id, lines in self._leases_of_item.get(item_id, {}).items():
            if self.quotes[quote_id].member:
                yield tuple(lines)

    def quote_of_basket(self, lane_id: str, basket_id: str) -> Quote | None:
        """The lane's live quote for the basket."""
        quote_id = self._quotes_of_basket.get((lane_id, basket_id))
        return self.quotes.get(quote_id) if quote_id else None

    def due_items(self, now_ms: int) -> list[ItemId]:
        """Take the items whose price may change by time alone at or before `now_ms`, UTC: each boundary once.

        A wall clock that went back brings its boundaries once more: what was not put in force then is due again.
        """
        if now_ms < self._looked_ms:
            for item_id, rows in self.rows.items():
                self._watch(item_id, rows, now_ms)
        self._looked_ms = now_ms
        due: list[ItemId] = []
        while self._boundaries and self._boundaries[0][0] <= now_ms:
            boundary = heapq.heappop(self._boundaries)
            self._watched.discard(boundary)
            due.append(boundary[1])
        return due

    def lease(self, quote: Quote) -> None:
        """Count a quote as live before its transaction is committed; the commit's delta puts the same value again."""
        self._put_quote(quote.quote_id, quote)

    # -- changing --------------------------------------------------------------------------------------------------------

    def apply(self, delta: Delta) -> None:
        """Take over what a transaction committed."""
        self.repriced = {*delta.rows, *delta.in_force}
        self.repriced.update(item_id for item_id, item in delta.items.items() if self.items.get(item_id) != item)
        for item_id, item in delta.items.items():
            self._put_plus(item_id, item)
            _put(self.items, item_id, item)
            self.changed_items.add(item_id)
        for code, owner in delta.barcodes.items():
            self._put_code(code, owner)
        for item_id, rows in delta.rows.items():
            self.rows[item_id] = rows
            current = self.in_force.get(item_id)  # compared when its transaction was stamped, which may be before the last look
            self._watch(item_id, rows, current.latched_through_ms if current else 0)
            self.changed_items.add(item_id)
        for item_id, in_force in delta.in_force.items():
            self.in_force[item_id] = in_force
            self.changed_items.add(item_id)
            self._compare(item_id)
        self._put_stock(delta)
        self.labels.update(delta.labels)
        self.changed_labels.update(delta.labels)
        for label_id, binding in delta.bindings.items():
            self._bind(label_id, binding)
        for (label_id, attempt_id), entry in delta.may.items():
            self._put_may(label_id, attempt_id, entry)
        for quote_id, quote in delta.quotes.items():
            self._put_quote(quote_id, quote)
        for item_id, waits in delta.waiting.items():
            (self.waiting.add if waits else self.waiting.discard)(item_id)
            self.changed_items.add(item_id)
        for item_id, recall in delta.recalls.items():
            _put(self.recalls, item_id, recall)
        if delta.generation is not None:
            self.generation = delta.generation
        if delta.items or delta.rows or delta.in_force or delta.may or delta.bindings or delta.generation is not None:
            self.revision += 1

    def take_changes(self) -> tuple[set[ItemId], set[str]]:
        """Items and labels changed since the last call."""
        items, labels = self.changed_items, self.changed_labels
        self.changed_items, self.changed_labels = set(), set()
        return items, labels

    def _watch(self, item_id: ItemId, rows: Iterable[PriceRow], after_ms: int) -> None:
        for row in rows:
            for instant in (row.effective_from_ms, row.effective_to_ms):
                if instant is not None and instant > after_ms and (instant, item_id) not in self._watched:
                    self._watched.add((instant, item_id))
                    heapq.heappush(self._boundaries, (instant, item_id))

    def _put_code(self, code: str, owner: tuple[ItemId, int] | None) -> None:
        old = self.barcodes.get(code)
        _put(self.barcodes, code, owner)
        for item_id in {each[0] for each in (old, owner) if each is not None}:
            others = tuple(each for each in self._singles_of_item.get(item_id, ()) if each != code)
            singles = (*others, code) if owner == (item_id, 1) else others
            _put(self._singles_of_item, item_id, singles or None)
            _put(self.codes, item_id, min(singles, default=None))

    def _put_plus(self, item_id: ItemId, item: Item | None) -> None:
        old = self.items.get(item_id)
        for plu in old.plus if old is not None else ():
            self.plus[plu].discard(item_id)
        for plu in item.plus if item is not None else ():
            self.plus.setdefault(plu, set()).add(item_id)

    def _bind(self, label_id: str, binding: Binding | None) -> None:
        old = self.bindings.get(label_id)
        for item_id in old.items if old else ():
            self._labels_of_item.get(item_id, set()).discard(label_id)
        _put(self.bindings, label_id, binding)
        for item_id in binding.items if binding else ():
            self._labels_of_item.setdefault(item_id, set()).add(label_id)
        self.changed_items.update(old.items if old else ())  # one label fewer may be all that its confirmation waited for
        self.changed_labels.add(label_id)

    def _put_stock(self, delta: Delta) -> None:
        for item_id, on_hand in delta.stock.items():
            item = self.items.get(item_id)
            if item is not None and self._labels_of_item.get(item_id):
                full = full_shelf(item.attributes)
                if shelf_step(self.stock.get(item_id), full) != shelf_step(on_hand, full):
                    self.changed_items.add(item_id)
            self.stock[item_id] = on_hand
        for item_id, reserved in delta.reserved.items():
            _put(self.reserved, item_id, reserved if any(reserved) else None)
        for hold_id, hold in delta.holds.items():
            _put(self.holds, hold_id, hold)

    def _put_may(self, label_id: str, attempt_id: int, entry: MayEntry | None) -> None:
        old = self._may_of_label.get(label_id, {}).get(attempt_id)
        for offer in old.offers if old else ():
            self._may_of_item.get(offer.item_id, {}).pop(attempt_id, None)
            self.repriced.add(offer.item_id)
        entries = self._may_of_label.setdefault(label_id, {})
        _put(entries, attempt_id, entry)
        for offer in entry.offers if entry else ():
            self._may_of_item.setdefault(offer.item_id, {})[attempt_id] = entry  # type: ignore[assignment]
            self.repriced.add(offer.item_id)
        for item_id in {offer.item_id for each in (old, entry) if each is not None for offer in each.offers}:
            self._compare(item_id)
        self.changed_labels.add(label_id)

    def _compare(self, item_id: ItemId) -> None:
        in_force = self.in_force.get(item_id)
        curve = in_force.row.curve if in_force is not None else None
        entries = self._may_of_item.get(item_id, {}).values()
        if any(offer.item_id == item_id and offer.curve != curve for entry in entries for offer in entry.offers):
            self._differing[item_id] = None
        else:
            self._differing.pop(item_id, None)

    def _put_quote(self, quote_id: str, quote: Quote | None) -> None:
        if quote is not None and quote_id in self.quotes:
            return  # leased before its commit; a later quote of the basket may stand already
        old = self.quotes.pop(quote_id, None)
        if old is not None:
            for line in old.lines:
                self._leases_of_item.get(line.item_id, {}).pop(quote_id, None)
            if self._quotes_of_basket.get((old.lane_id, old.basket_id)) == quote_id:
                del self._quotes_of_basket[old.lane_id, old.basket_id]
        if quote is not None:
            self.quotes[quote_id] = quote
            for line in quote.lines:
                self._leases_of_item.setdefault(line.item_id, {}).setdefault(quote_id, []).append(line)
            self._quotes_of_basket[quote.lane_id, quote.basket_id] = quote_id


def _put(table: dict[K, V], key: K, value: V | None) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
