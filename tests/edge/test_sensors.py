"""The store's own sensors over MQTT: kept beside the books, bad input counted and forgotten, everything bounded."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt import LinkLost, MqttAddress, MqttLink
from edge import sensors
from edge.demo.broker import start_broker
from edge.sensors import SensorCounters, Sensors
from edge.store import observed
from tests.edge.shop import BREAD, MILK, Shop
from tests.edge.test_store_stock import books_balance, receive, told

WAIT_S = 10.0  # only a failing test waits this long


def reading(quantity: int, *, id_: str = "o1", sku: str = "milk", source: str = "shelf-3", at: str = "12:00:00", **more: Any) -> bytes:
    row = {"id": id_, "source": source, "kind": "shelf", "sku": sku, "quantity": quantity, "seen_at": f"2026-01-09T{at}Z"}
    return json.dumps({"observations": [row | more]}).encode()


async def test_a_reading_is_kept_beside_the_books_and_hq_hears_of_the_doubt(stocked: Shop) -> None:
    await receive(stocked, 10)
    heard = Sensors(stocked.store, stocked.clock)
    heard.take(reading(7))
    assert await heard.write() == 1
    ((item_id, doubt),) = stocked.store.read(observed.differences)
    assert (item_id, doubt.source, doubt.observed, doubt.expected) == (MILK, "shelf-3", 7, 10)
    assert [event["event"] for event in told(stocked, "stock.differs")] == ["stock.differs"]
    assert stocked.store.view.stock[MILK] == 10
    assert books_balance(stocked)
    assert await heard.write() == 0


async def test_of_what_waits_the_newest_of_each_source_and_item_counts_in_any_order(stocked: Shop) -> None:
    await receive(stocked, 10)
    stocked.clock.pass_ms(60_000)
    heard = Sensors(stocked.store, stocked.clock)
    for quantity, at in ((9, "12:00:05"), (4, "12:00:09"), (8, "12:00:07")):
        heard.take(reading(quantity, at=at, id_=at))
    heard.take(reading(3, source="shelf-4"))
    heard.take(reading(1, sku="bread"))
    assert await heard.write() == 3
    found = [(item_id, each.source, each.observed) for item_id, each in stocked.store.read(observed.differences)]
    assert found == [(BREAD, "shelf-3", 1), (MILK, "shelf-3", 4), (MILK, "shelf-4", 3)]
    assert heard.counters == SensorCounters(kept=3, superseded=2)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{}",
        b"[]",
        b'{"observations":[]}',
        b"\xff\xfe",
        b"[" * 5_000,
        reading(-1),
        reading(2**53),
        reading(1).replace(b": 1,", b": 1.5,"),
        reading(1).replace(b": 1,", b": NaN,"),
        reading(1, kind="guess"),
        reading(1, seen_at="2026-01-09T12:00:00"),
        reading(1, source="a" * 65),
        reading(1, source="a b"),
        reading(1) + b" " * sensors.MESSAGE_BYTES_MAX,
    ],
)
async def test_what_is_no_reading_is_counted_and_forgotten(stocked: Shop, payload: bytes) -> None:
    heard = Sensors(stocked.store, stocked.clock)
    heard.take(payload)
    heard.take(payload)
    assert heard.counters == SensorCounters(bad=2)
    assert await heard.write() == 0


async def test_an_item_that_the_store_has_not_is_passed_over(stocked: Shop) -> None:
    heard = Sensors(stocked.store, stocked.clock)
    heard.take(reading(1, sku="caviar"))
    assert heard.counters == SensorCounters(unknown_item=1)


async def test_a_flood_is_bounded_in_memory_in_time_and_on_disk(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensors, "PENDING_MAX", 5)
    monkeypatch.setattr(sensors, "BATCH_MAX", 2)
    monkeypatch.setattr(sensors, "PAIRS_MAX", 3)
    heard = Sensors(stocked.store, stocked.clock)
    for number in range(8):
        heard.take(reading(1, source=f"shelf-{number}"))
    heard.take(reading(2, source="shelf-0", at="12:00:01"))  # a pair that waits already is heard on
    assert heard.counters == SensorCounters(dropped=3, superseded=1)
    assert [await heard.write() for _ in range(4)] == [2, 1, 0, 0]
    heard.take(reading(5, source="shelf-0", at="12:00:02", id_="o2"))  # known: needs no room
    assert await heard.write() == 1
    assert heard.counters == SensorCounters(kept=4, superseded=1, dropped=5)
    assert stocked.value("SELECT count(*) FROM observation") == 3
    assert stocked.value("SELECT observed FROM observation WHERE source = 'shelf-0'") == 5


async def test_readings_come_from_the_stores_own_broker_by_its_filter(stocked: Shop, tmp_path: Path) -> None:
    heard = Sensors(stocked.store, stocked.clock)
    with start_broker(tmp_path) as running:
        address = MqttAddress(running.host, running.port)
        listening = asyncio.create_task(heard.listen(MqttLink(address, "demo-01-sensors"), "shop/+/seen"))
        async with asyncio.timeout(WAIT_S), MqttLink(address, "sensor").connect() as sensor:
            number = 0
            while not heard.counters.superseded:  # until it has subscribed, and then once more
                number += 1
                await sensor.publish("shop/a/other", b"noise")
                await sensor.publish("shop/a/seen", reading(number, id_=f"o{number:06d}"))
        assert heard.counters.bad == 0
        assert await heard.write() == 1
        running.process.terminate()
        with pytest.raises(LinkLost):
            await listening
