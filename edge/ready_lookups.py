"""Answers to `item.lookup` that are ready: encoded once, given until something changes the item's price or what is told of it.

Only of items whose price time alone cannot change: no start or end of a price is still to come, no picture that was on a label dwells.
All others, and whatever a code says beyond the item, are for `edge.desk.Desk.lookup`, which makes these answers too. Used from the event
loop's thread only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from drivers.base import Clock
from edge.desk_facts import Stamps
from edge.model import ItemId, MayState
from edge.view import View
from protocols.gs1_numbers import GTIN_LENGTHS
from protocols.pos import LookupParams, LookupResult
from protocols.pos_lookup import read_scan

_UNSTAMPED: Final = b'{"revision":0,"as_of":"","stale_s":0'


class ReadyLookups:
    """By code. `lookup` gives the result for a code; it raises RpcError where there is none."""

    def __init__(self, view: View, clock: Clock, stamps: Stamps, lookup: Callable[[LookupParams], LookupResult]) -> None:
        self._view = view
        self._clock = clock
        self._stamps = stamps
        self._lookup = lookup
        self._ready: dict[str, bytes] = {}  # by GTIN-14: the result from its guard on, and the end of the line
        self._stamp = b""
        self._stamped = (-1, -1)

    def answer(self, line: bytes) -> bytes | None:
        """The answering line to a scan; None for another call, and where the answer is not ready."""
        scan = read_scan(line)
        if scan is None:
            return None
        code = scan.params.code
        if len(code) not in GTIN_LENGTHS:
            return None
        gtin14 = code.zfill(14)
        rest = self._ready.get(gtin14) or self._make(gtin14, code)
        if rest is None:
            return None
        moment = (self._clock.wall_ms(), self._view.revision)
        if moment != self._stamped:
            self._stamp, self._stamped = msgspec.json.encode(self._stamps.now())[:-1], moment
        if isinstance(scan.id, int):
            return b'{"jsonrpc":"2.0","id":%d,"result":%b%b' % (scan.id, self._stamp, rest)
        return b'{"jsonrpc":"2.0","id":%b,"result":%b%b' % (msgspec.json.encode(scan.id), self._stamp, rest)

    def changed(self, item_ids: Iterable[ItemId], codes: Iterable[str]) -> None:
        """What is told of these items may be another now, and these codes may stand for others."""
        ready = self._ready
        for item_id in item_ids:
            for code in self._view.singles_of_item(item_id):
                ready.pop(code, None)
        for code in codes:
            ready.pop(code, None)

    def _make(self, gtin14: str, code: str) -> bytes | None:
        item_id, pieces = self._view.barcodes.get(gtin14, ("", 0))
        if pieces != 1 or not self._is_steady(ItemId(item_id)):
            return None
        result = self._lookup(LookupParams(code=code))
        unstamped = msgspec.structs.replace(result, revision=0, as_of="", stale_s=0)
        rest = self._ready[gtin14] = msgspec.json.encode(unstamped)[len(_UNSTAMPED) :] + b"}\n"
        return rest

    def _is_steady(self, item_id: ItemId) -> bool:
        """Whether it has a price that only a change in the view can change."""
        view = self._view
        item, in_force = view.items.get(item_id), view.in_force.get(item_id)
        if item is None or item.removed or in_force is None or item_id in view.recalls:
            return False
        if any(entry.state is MayState.GONE or entry.release is not None for entry in view.may_of_item(item_id)):
            return False
        past_ms = in_force.latched_through_ms  # the clock may go back before now, what is in force does not
        instants = (instant for row in view.rows.get(item_id, ()) for instant in (row.effective_from_ms, row.effective_to_ms))
        return all(instant is None or instant <= past_ms for instant in instants)
