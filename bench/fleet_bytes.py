"""What one store's day weighs on the wire: TCP payload counted by a forwarder between the store and the broker."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import Final

from bench.fleet_crash import Forwarder
from bench.fleet_live import LINES, SALES_PER_DAY, TIMINGS, until
from bench.fleet_office import Office
from bench.fleet_store import LightClock, LightStore, sale_body
from drivers.mqtt import KEEPALIVE_S, MqttAddress
from edge.hq import HqSync
from protocols.hq_events import EventKind

ALONE: Final = 200
BATCHED: Final = 2_000
PRICE_ROWS: Final = 1_000  # changed in a day
PING_BYTES: Final = 4  # there and back
DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Bytes:
    """`per_day` is computed from what was measured: sales told alone, changed prices, keep-alives."""

    up_per_sale: float
    down_per_sale: float
    up_per_batched: float
    price_rows: int
    prices_per_day: float

    @property
    def per_day(self) -> float:
        pings = PING_BYTES * DAY_S / KEEPALIVE_S
        return SALES_PER_DAY * (self.up_per_sale + self.down_per_sale) + self.prices_per_day + pings


async def measure_bytes(office: Office, node: MqttAddress, name: str) -> Bytes:
    """One store behind a forwarder that counts."""
    async with Forwarder([node]) as forwarder:
        wire = json.loads(office.enrolment(name))
        wire["broker"]["port"] = forwarder.address.port
        clock = LightClock()
        store = LightStore(json.dumps(wire).encode(), "d" * 32, clock)
        sync = HqSync(store, clock, enrolled=store.enrolled, outbox_wake=store.wake, timings=TIMINGS)
        task = asyncio.create_task(sync.run())
        await until(lambda: sync.connected, "the store is connected")
        up, down = forwarder.counts()
        for number in range(ALONE):
            store.emit(EventKind.SALE, sale_body(f"alone-{number}", LINES, number))
            await until(lambda: not store.waiting, "the sale is acknowledged")
        alone_up, alone_down = (after - before for after, before in zip(forwarder.counts(), (up, down), strict=True))
        up, _ = forwarder.counts()
        for number in range(BATCHED):
            store.emit(EventKind.SALE, sale_body(f"batched-{number}", LINES, number))
        await until(lambda: not store.waiting, "the sales are acknowledged")
        batched_up = forwarder.counts()[0] - up
        before = sum(forwarder.counts())
        rows = "sku,price\n" + "".join(f"{number:06d},{number % 90 + 1}.99\n" for number in range(PRICE_ROWS))
        said = office.publish(name, rows.encode(), csv=True)
        await until(lambda: ("price", said[-1].last) in store.applied and not store.waiting, "the prices are there")
        prices = sum(forwarder.counts()) - before
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    return Bytes(alone_up / ALONE, alone_down / ALONE, batched_up / BATCHED, PRICE_ROWS, prices)
