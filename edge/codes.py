"""What the lanes scan: the goods behind a code, how much of them one line sells, and what the cashier must be told.

The thin part around `edge.scanning`: it knows the view and the clock, and refuses in the lane's words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from drivers.base import Clock
from edge import scanning
from edge.clock import local_time
from edge.model import Curve, Item, ItemId
from edge.scanning import Catalogue, Caution, Found, Pack
from edge.view import View
from protocols.gs1 import Rules, Scan
from protocols.pos import ErrorCode, RpcError
from protocols.pos_scan import ScanWarning

UNREADABLE: Final = "Code could not be read. Scan again, or enter the number below it."
SHOWN_CHARS_MAX: Final = 40  # of an id in an error
ONE_PIECE: Final = Pack(1)


@dataclass(frozen=True, slots=True)
class Goods:
    """An item as a line names it. `pack`: what one scan sells; `scan`: what else the code said."""

    item: Item
    pack: Pack = ONE_PIECE
    scan: Scan | None = None
    warnings: tuple[ScanWarning, ...] = ()

    def units(self, quantity: int, target: Curve | None) -> int:
        """How many units of the item `quantity` scans sell. `target`: the public's price, by which a pack's price tells its weight."""
        if self.pack.units is not None:
            return quantity * self.pack.units
        assert self.pack.price_minor is not None
        return quantity * (scanning.units_for(self.pack.price_minor, target) if target is not None else 1)

    def at_most(self, total_minor: int, quantity: int) -> int:
        """A total, or what `quantity` packs themselves say they cost where that is less."""
        return total_minor if self.pack.price_minor is None else min(total_minor, quantity * self.pack.price_minor)


class Codes:
    """One per store; used from the event loop's thread only."""

    def __init__(self, view: View, clock: Clock, rules: Rules, zone: ZoneInfo, currency: str, exponent: int) -> None:
        self._view = view
        self._clock = clock
        self._rules = rules
        self._zone = zone
        self._currency = currency
        self._exponent = exponent
        self._catalogue = Catalogue(view.barcodes, view.plus)

    def goods(self, code: str | None, item_id: str | None, *, removed: bool = False) -> Goods:
        """What a line is about: by code, else by item id. `removed`: also an item that has left the catalogue. Raises RpcError."""
        found = self._found(code) if code is not None else Found(ItemId(item_id or ""), 1, None)
        item = self._view.items.get(found.item_id)
        if item is None or (item.removed and not removed):
            raise RpcError(ErrorCode.UNKNOWN_ITEM, f"no item {found.item_id[:SHOWN_CHARS_MAX]}")
        recall = self._view.recalls.get(item.item_id)
        if found.scan is None and recall is None:
            return Goods(item, Pack(found.pack_quantity))
        pack, told = scanning.pack_of(found, item, self._currency, self._exponent)
        local_now = local_time(self._clock.wall_ms(), self._zone)
        judged = scanning.cautions(found.scan, recall, local_now, clock_trusted=self._clock.wall_trusted())
        return Goods(item, pack, found.scan, tuple(map(_warning, (*judged, *told))))

    def scans(self, goods: Goods, quantity: int) -> int:
        """`quantity` of a line to be priced. Raises RpcError where the till seems to send a pack's own weight once more."""
        if scanning.is_sent_twice(quantity, goods.pack, goods.item):
            raise RpcError(ErrorCode.BAD_QUANTITY, "the code carries its own quantity: send how often it was scanned")
        return quantity

    def _found(self, code: str) -> Found:
        hit = scanning.plain(code, self._catalogue)  # most scans end here: no date is needed
        if hit is not None:
            return hit
        today = local_time(self._clock.wall_ms(), self._zone).date()
        try:
            return scanning.find(code, self._catalogue, self._rules, today)
        except scanning.BadCode as error:
            raise RpcError(ErrorCode.UNKNOWN_ITEM, str(error), cashier=UNREADABLE) from None
        except scanning.UnknownCode as error:
            raise RpcError(ErrorCode.UNKNOWN_ITEM, str(error)) from None


def _warning(caution: Caution) -> ScanWarning:
    return ScanWarning(caution.code, caution.text)
