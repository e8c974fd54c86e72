"""Head office's week: what it sends and when, and what it must hear of it."""

from __future__ import annotations

from collections.abc import Sequence

from bench.real_after import Call
from bench.real_books import price_batches
from bench.real_data import PriceRow, StoreData
from bench.real_watch import Watch
from edge.demo.hq import MiniHq
from protocols.hq import Stream
from protocols.hq_events import Stage


class HeadOffice:
    """Sends the price rows of a week, half of the promotions a week ahead."""

    def __init__(self, hq: MiniHq, data: StoreData, watch: Watch, call: Call) -> None:
        """`call`: a control call that waits for a daemon that is away."""
        self._hq = hq
        self._data = data
        self._watch = watch
        self._call = call
        self._confirming: dict[int, list[int]] = {}  # week -> price messages that will be confirmed in it

    async def send(self, week: int) -> None:
        """The rows to be told in this week, in batches; returns when they are applied. Those that no shelf asks for are never confirmed."""
        sent: list[int] = []
        for begins in (week, week + 1):
            changing = {change.sku for change in self._data.changes.get(begins, ())}
            rows = [row for row in self._data.rows.get(begins, ()) if row.told_in(self._data.first_week) == week]
            shown = self._send_rows([row for row in rows if row.sku in changing])
            self._confirming.setdefault(begins, []).extend(shown)
            sent += shown + self._send_rows([row for row in rows if row.sku not in changing])  # base prices under an offer
        await self._watch.until(
            lambda: all(self._reached(Stream.PRICE, seq, Stage.APPLIED) or self._reached(Stream.PRICE, seq, Stage.HELD) for seq in sent),
            "prices to be applied",
        )
        held = [seq for seq in sent if self._reached(Stream.PRICE, seq, Stage.HELD)]
        if held:  # implausible, says the daemon; they are what the shop did
            holds = [hold["id"] for hold in (await self._call("hold.list", {}))["holds"]]
            released = self._hq.release(holds)
            await self._watch.until(lambda: (Stream.SYS, released) in self._hq.books.acks, "the release to arrive")
            self._watch.say(f"week {week}: {len(holds)} price changes were held as implausible, and released")
        for waiting in self._confirming.values():
            waiting[:] = [seq for seq in waiting if seq not in held]

    async def confirmed(self, week: int, stock_messages: Sequence[int]) -> None:
        """Wait to hear that labels show what the week changed, and that these stock messages are booked."""
        for stream, stage, numbers in (
            (Stream.PRICE, Stage.CONFIRMED, self._confirming.pop(week, [])),
            (Stream.STOCK, Stage.APPLIED, stock_messages),
        ):
            what = f"head office to hear that its {stream} messages are {stage}"
            await self._watch.until(lambda: all(self._reached(stream, seq, stage) for seq in numbers), what)  # noqa: B023 - used at once

    def _send_rows(self, rows: Sequence[PriceRow]) -> list[int]:
        return [self._hq.send_prices(batch) for batch in price_batches(rows, self._data.first_week)]

    def _reached(self, stream: Stream, seq: int, stage: Stage) -> bool:
        return self._hq.books.reached(stream, seq, stage)
