"""What happens to goods besides selling: sales voided, goods brought back, receipts, losses, stocktakes. All of it at random, with the
bench's own account of it in the journal.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bench.real_lanes import Journal, Sold, Till
from drivers.base import Clock
from edge.demo.hq import MiniHq
from protocols.pos_returns import Condition, ReturnLine

VOID_SHARE: Final = 0.04  # of the baskets: the customer turns away
RETURN_SHARE: Final = 0.10  # so many baskets are followed by somebody who brings a line of an earlier one back
DAMAGED_SHARE: Final = 0.3  # of what comes back
TWICE_SHARE: Final = 0.3  # of voids and returns: the till sends it once more
SLOW_MAX_MS: Final = 700_000  # store time from quote to payment, at most; quotes are valid for 900 s
LINGER_MAX_MS: Final = 60_000
OTHERS_SHARE: Final = 0.75  # of the week's labels: when so many show their new price, these would too, were they not held back
LOOK_S: Final = 0.05
RECEIPTS: Final = 4  # a week from head office, and as many booked by staff
LOSSES: Final = 2  # a week, booked by staff
COUNTS: Final = 4  # a week, told at its end as of its beginning
RECEIVED_MAX: Final = 24  # units
LOST_MAX: Final = 2

Call = Callable[[str, Mapping[str, object]], Awaitable[dict[str, Any]]]


class SecondThoughts:
    """What follows a basket at the tills."""

    def __init__(self, journal: Journal, rng: random.Random) -> None:
        self._journal = journal
        self._rng = rng
        self._made = 0

    async def follow(self, till: Till, sale_id: str) -> None:
        """Void the sale just made, or take something of an earlier one back, or, mostly, neither."""
        chance = self._rng.random()
        if chance < VOID_SHARE and sale_id not in self._journal.undone:
            await till.void(f"{sale_id}-void", sale_id, twice=self._rng.random() < TWICE_SHARE)
        elif chance < VOID_SHARE + RETURN_SHARE:
            await self._bring_back(till)

    async def _bring_back(self, till: Till) -> None:
        sale_id = self._rng.choice(self._journal.recorded)
        if sale_id in self._journal.undone:
            return  # one thing after the other: it was voided, or something of it came back
        sold = self._journal.lines[sale_id]
        number = self._rng.randrange(len(sold))
        units = self._rng.randint(1, sold[number].units)
        condition = Condition.DAMAGED if self._rng.random() < DAMAGED_SHARE else Condition.GOOD
        self._made += 1
        line = ReturnLine("1", units, str(number + 1), condition)
        await till.take_back(f"return-{self._made}", sale_id, line, twice=self._rng.random() < TWICE_SHARE)


class SlowPayers:
    """Customers who are told a price that is about to fall, and take their time: no label may say less until they have paid."""

    def __init__(self, tills: Sequence[Till], clock: Clock, shown_share: Callable[[], float], rng: random.Random) -> None:
        """`shown_share`: of the labels that change this week, those that have changed."""
        self._tills = tills
        self._clock = clock
        self._shown_share = shown_share
        self._rng = rng

    async def quote(self, falling: Sequence[str]) -> list[asyncio.Task[None]]:
        """Quote some of these articles, one customer at each till; the tasks pay, in their own time."""
        chosen = self._rng.sample(falling, min(len(self._tills), len(falling)))
        quoted = [(till, await till.quote([(sku, 1)])) for till, sku in zip(self._tills, chosen, strict=False)]
        return [asyncio.create_task(self._pay(*each), name="slow payer") for each in quoted]

    async def _pay(self, till: Till, sold: Sold) -> None:
        while self._shown_share() < OTHERS_SHARE and self._clock.now_ms() - sold.asked_ms < SLOW_MAX_MS:  # noqa: ASYNC110 - what panels show
            await asyncio.sleep(LOOK_S)
        await self._clock.sleep_ms(self._rng.randint(0, LINGER_MAX_MS))
        if self._clock.now_ms() - sold.asked_ms < sold.quote.valid_s * 1000:  # else they leave: the total holds no longer
            await till.pay(sold)


@dataclass(frozen=True, slots=True)
class _Counted:
    """What somebody counted, to be told later."""

    sku: str
    units: int
    as_of_seq: int


class Backroom:
    """Receipts, losses and stocktakes of each week. Each is booked in the journal as it is asked for."""

    def __init__(self, journal: Journal, opening: Mapping[str, int], hq: MiniHq, call: Call, rng: random.Random) -> None:
        """`call`: a control call that waits for a daemon that is away."""
        self._journal = journal
        self._opening = opening
        self._skus: Sequence[str] = sorted(opening)
        self._hq = hq
        self._call = call
        self._rng = rng
        self._counted: list[_Counted] = []
        self._messages: list[int] = []

    async def begin_week(self) -> None:
        """Everything is at rest: count some shelves, and keep the numbers for later."""
        as_of_seq = (await self._call("status", {}))["outbox"]["last_seq"]
        units = expected_stock(self._opening, self._journal)
        for sku in self._rng.sample(self._skus, min(COUNTS, len(self._skus))):
            lost = self._rng.randint(0, LOST_MAX)
            self._counted.append(_Counted(sku, units[sku] - lost, as_of_seq))
            self._journal.moved.append((sku, -lost))

    async def in_week(self, week: int) -> None:
        """Goods arrive and get lost while customers buy. Each booking of staff is sent twice, as after an answer that got lost."""
        for number in range(RECEIPTS + LOSSES):
            arrived = number < RECEIPTS
            sku, units = self._some(RECEIVED_MAX if arrived else LOST_MAX, sign=1 if arrived else -1)
            method = "stock.receive" if arrived else "stock.shrink"
            for _ in range(2):
                await self._call(method, {"item": sku, "units": abs(units), "by": "bench", "id": f"staff-{week}-{number}"})
        told = []  # after an event of the store, so that what was counted before the week does not hold it
        for number in range(RECEIPTS):
            sku, units = self._some(RECEIVED_MAX)
            told.append({"id": f"delivery-{week}-{number}", "sku": sku, "delta": units, "cause": "receipt"})
        self._messages.append(self._hq.send_stock(told))

    def end_week(self, week: int) -> None:
        """Tell what was counted when the week began: what was sold since comes on top."""
        for number, each in enumerate(self._counted):
            self._messages.append(self._hq.count_stock(f"count-{week}-{number}", each.sku, each.units, each.as_of_seq))
        self._counted.clear()

    def take_messages(self) -> list[int]:
        """Sequence numbers of what was said to the store since the last time."""
        messages, self._messages = self._messages, []
        return messages

    def _some(self, most: int, *, sign: int = 1) -> tuple[str, int]:
        sku, units = self._rng.choice(self._skus), sign * self._rng.randint(1, most)
        self._journal.moved.append((sku, units))
        return sku, units


def expected_stock(opening: Mapping[str, int], journal: Journal) -> Counter[str]:
    """What must be there: opening stock, less sales, and what came back, arrived, got lost."""
    units = Counter(opening)
    for lines in journal.lines.values():
        for line in lines:
            units[line.sku] -= line.units
    for back in journal.came_back.values():
        for sku, restocked in back.restocked:
            units[sku] += restocked
    for sku, change in journal.moved:
        units[sku] += change
    return units
