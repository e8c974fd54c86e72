"""What a radio module is to be told next. Pure: an order of labels, and what is known of the module's table."""

from __future__ import annotations

from collections import OrderedDict

from protocols.oepl_wire import Mac


class CommandQueue:
    """Withdrawals first, then announcements in the order of their coming, then lights, the last two unless the table is full."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[Mac, None] = OrderedDict()
        self._cancels: OrderedDict[Mac, None] = OrderedDict()
        self._lights: OrderedDict[Mac, None] = OrderedDict()
        self._cancelling: Mac | None = None  # whose CXD is on the line
        self._table_full = False
        self._awake: Mac | None = None

    def announce(self, mac: Mac, *, first: bool = False) -> None:
        """This label's attempt waits to be announced; it goes before its light."""
        self._lights.pop(mac, None)
        self._waiting[mac] = None
        if first:
            self._waiting.move_to_end(mac, last=False)

    def light(self, mac: Mac) -> None:
        """This label, which has no attempt, is to blink."""
        self._lights[mac] = None

    def forget(self, mac: Mac) -> None:
        """Nothing is to be announced for this label any more."""
        self._waiting.pop(mac, None)

    def cancel(self, mac: Mac) -> None:
        """The module is to forget its offer for this label, its light included."""
        self._lights.pop(mac, None)
        self._cancels[mac] = None

    def keep(self, mac: Mac) -> None:
        """Not to be cancelled after all: an announcement to come replaces the offer."""
        self._cancels.pop(mac, None)

    def cancelled(self, mac: Mac) -> None:
        """The module acknowledged that it offers this label nothing."""
        self._table_full = False
        if mac == self._cancelling:
            self._cancelling = None

    def slot_freed(self) -> None:
        """The table has room for one more."""
        self._table_full = False

    def table_full(self) -> None:
        """The module refused an announcement (NOQ)."""
        self._table_full = True

    def awake(self, mac: Mac) -> None:
        """This waiting label has just checked in: worth one try although the table was full."""
        if self._table_full:
            self._awake = mac

    def line_broken(self) -> None:
        """What was on the line is lost; the table may have changed. Nobody waits for a light that long."""
        self._lights.clear()
        self._table_full = False
        if self._cancelling is not None:
            self._cancels[self._cancelling] = None
            self._cancelling = None

    def take_cancel(self) -> Mac | None:
        """Whose CXD is next; it counts as on the line from now."""
        if not self._cancels:
            return None
        self._cancelling, _ = self._cancels.popitem(last=False)
        return self._cancelling

    def take_announcement(self) -> Mac | None:
        """Whose SDA is next."""
        mac = self._awake if self._awake in self._waiting else None
        self._awake = None
        if mac is None and not self._table_full:
            mac = next(iter(self._waiting), None)
        if mac is not None:
            del self._waiting[mac]
        return mac

    def take_light(self) -> Mac | None:
        """Who is to blink next."""
        return self._lights.popitem(last=False)[0] if self._lights and not self._table_full else None
