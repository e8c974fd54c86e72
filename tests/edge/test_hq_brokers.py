"""What the link promises, on real brokers: nothing is lost or doubled when the store is killed, a session is gone, or a broker lies."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import brokers
from bench.brokers import Kind
from drivers.mqtt import Connection, MqttAddress, MqttLink
from edge.clock import SystemClock
from edge.demo.broker import BrokerKind, start_broker
from edge.demo.hq import MiniHq
from edge.hq import HqSync
from edge.model import ItemId
from protocols.hq import Stream, Topics, partition_of, reparse, uuid7
from protocols.hq_buckets import differing
from protocols.hq_events import Stage, parse_reply
from protocols.hq_zone import ZoneDown, encode_zone_chunk
from tests.edge.hq_store_process import QUICK
from tests.edge.shop import Shop, item, price
from tests.edge.test_store_sync import HqBook

STORE = "demo-01"
ROOT = Path(__file__).resolve().parents[2]
WAIT_S = 180.0  # only a failing test waits this long
EVERY = pytest.mark.parametrize("kind", list(Kind))

StartBroker = Callable[[Kind], MqttAddress]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[StartBroker]:
    with ExitStack() as stack:

        def start(kind: Kind) -> MqttAddress:
            folder = tmp_path / "broker"
            folder.mkdir()
            return stack.enter_context(brokers.broker(kind, folder))

        yield start


class CountingHq(MiniHq):
    """Counts what it says of its log, first or again."""

    said = 0

    async def _say_entry(self, connection: Connection, stream: Stream, seq: int) -> None:
        self.said += 1
        await super()._say_entry(connection, stream, seq)


class PrunedHq(MiniHq):
    """Says new things only; its log of prices is gone. Where a store lacks some, it compares catalogues and says what differs."""

    def __init__(self, address: MqttAddress, book: HqBook) -> None:
        super().__init__(address, STORE, SystemClock())
        self.book = book
        self.parts: list[int] = []  # how many buckets each part had
        self.replies = 0

    def _store_state(self, payload: bytes) -> None:
        super()._store_state(payload)
        self._next = {stream: self.books.last_seq(stream) + 1 for stream in self._next}

    def _take(self, connection: Connection, tail: str, payload: bytes) -> None:
        now_ms = self._clock.wall_ms()
        if tail == "up/rpl":
            self.replies += 1
            reply = parse_reply(payload)
            theirs = base64.b64decode(msgspec.json.decode(reply.rows[0])["hashes"])
            buckets = differing(theirs, self.book.hashes())
            part: Any = self.book.chunk(set(buckets))
            self.parts.append(len(buckets))
            at = reply.as_of.cursors["price"]
            scope = {"buckets": buckets, "price": {"incarnation": at.incarnation, "seq": at.seq}}
            self.books.snapshot(part["items"], part["rows"], (), now_ms, scope=scope)
            self._wake.set()
        elif tail == "up/sync" and msgspec.json.decode(payload)["stream"] == "price":
            self.ask({"what": "buckets"})
        else:
            super()._take(connection, tail, payload)

    def ask(self, query: dict[str, object]) -> None:
        self._next.setdefault(Stream.SYS, self.books.last_seq(Stream.SYS) + 1)
        self.books.say("query.v1", query, self._clock.wall_ms(), expires_ms=self._clock.wall_ms() + 60_000)
        self._wake.set()


class Child:
    """The store's process, killed and started again on its folder."""

    def __init__(self, folder: Path, sales: int) -> None:
        self._command = (sys.executable, str(ROOT / "tests/edge/hq_store_process.py"), str(folder), str(sales))

    async def dies(self, stream: str, seq: int) -> None:
        """One life, until it is killed with message `seq` committed and not acknowledged."""
        async with self._life(stream, seq) as process, asyncio.timeout(WAIT_S):
            await process.communicate()
            assert process.returncode == -signal.SIGKILL

    @asynccontextmanager
    async def lives(self) -> AsyncIterator[None]:
        """For the time of the block, what it says left unread by nobody."""
        async with self._life("none", 0) as process:
            reading = asyncio.create_task(process.communicate())
            yield
            process.kill()
            await reading

    @asynccontextmanager
    async def _life(self, stream: str, seq: int) -> AsyncIterator[asyncio.subprocess.Process]:
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        arguments = (*self._command, stream, str(seq))
        process = await asyncio.create_subprocess_exec(*arguments, stdout=asyncio.subprocess.PIPE, env=environment)
        try:
            yield process
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()


@asynccontextmanager
async def running(*works: MiniHq | HqSync) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work.run()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise AssertionError(f"ended by itself: {result!r}")


async def until_hq(hq: MiniHq, fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        await hq.until(fact)


def enrol(folder: Path, hq: MiniHq, **more: object) -> bytes:
    text = json.dumps(hq.enrolment() | more).encode()
    (folder / "enrolment.json").write_bytes(text)
    return text


def sync_of(shop: Shop) -> HqSync:
    enrolled = asyncio.Event()
    return HqSync(shop.store, SystemClock(), enrolled=enrolled, outbox_wake=shop.store.outbox_grew, timings=QUICK)


def catalogue(count: int) -> tuple[list[dict[str, object]], list[dict[str, object]]]:
    skus = [f"sku-{n}" for n in range(count)]
    return [item(sku) for sku in skus], [price(sku, 100) for sku in skus]


@EVERY
async def test_a_store_that_is_killed_again_and_again_loses_and_doubles_nothing(
    shop: Shop, tmp_path: Path, broker: StartBroker, kind: Kind
) -> None:
    """While it consumes and while it publishes, at five moments that a seed chooses."""
    messages, sales, chance = 300, 400, random.Random(str(kind))
    hq = CountingHq(broker(kind), STORE, SystemClock())
    shop.close()
    child = Child(tmp_path, sales)
    enrol(tmp_path, hq)
    hq.snapshot([item("milk")], [price("milk", 100)], [{"sku": "milk", "on_hand": 0, "unit": "each"}])
    last = 0
    for n in range(messages):
        last = hq.send_stock([{"id": f"a{n}", "sku": "milk", "delta": 2, "cause": "delivery"}])
    async with running(hq):
        for kill in range(1, 6):
            await child.dies("stock", kill * messages // 6 - chance.randrange(10))
        async with child.lives():
            await until_hq(hq, lambda: len(hq.books.sales) == sales and hq.books.reached(Stream.STOCK, last, Stage.APPLIED))
    assert set(hq.books.sales) == {f"sale-{n}" for n in range(1, sales + 1)}
    assert hq.books.alarms == []
    shop.open()
    assert shop.value("SELECT count(*) FROM ledger WHERE cause <> 'opening'") == messages
    assert shop.store.view.stock[ItemId("milk")] == 2 * messages
    assert hq.books.stock["milk"] == 2 * messages - sales
    assert shop.value("SELECT count(*) FROM inbox WHERE stream = 'stock' AND state = 'applied'") == messages


@EVERY
async def test_a_catalogue_goes_on_from_its_chunks_when_the_store_is_killed(
    shop: Shop, tmp_path: Path, broker: StartBroker, kind: Kind
) -> None:
    hq = CountingHq(broker(kind), STORE, SystemClock())
    shop.close()
    child = Child(tmp_path, 0)
    enrol(tmp_path, hq)
    items = 50_000 if kind is Kind.MOSQUITTO else 10_000
    last = 1 + items // 500
    hq.snapshot(*catalogue(items))
    async with running(hq):
        await child.dies("bulk", last * 3 // 10)
        await child.dies("bulk", last * 7 // 10)
        async with child.lives():
            await until_hq(hq, lambda: hq.books.reached(Stream.BULK, last, Stage.APPLIED))
    shop.open()
    assert shop.desk.ready()
    assert len(shop.store.view.in_force) == items
    assert shop.value("SELECT count(*) FROM inbox WHERE stream = 'bulk' AND state = 'applied'") == last
    assert hq.said <= last + last * 7 // 10 + last * 3 // 10 + 1  # each life gets what it lacks, not what it has
    assert hq.books.alarms == []


@EVERY
async def test_seven_days_later_the_session_is_gone_and_only_what_differs_travels(
    shop: Shop, tmp_path: Path, broker: StartBroker, kind: Kind
) -> None:
    """HQ's log is gone as well. The store notices by the head, and hashes heal it."""
    book, chance = HqBook(), random.Random(7)
    items, rows = catalogue(2_000)
    book.took({"items": items, "rows": rows})
    hq = PrunedHq(broker(kind), book)
    await shop.store.enrol(enrol(tmp_path, hq), "test")
    hq.books.snapshot(items, rows, (), SystemClock().wall_ms())
    for said in _log(hq):
        await shop.store.receive(said)
    for day in range(7):
        for n in range(10):
            sku = f"sku-{chance.randrange(2_000)}"
            data: dict[str, Any] = {"rows": [price(sku, 100 + n, rev=2 + 10 * day + n)]} if n else {"items": [item(sku, name=f"Day {day}")]}
            book.took(data)
            hq.books.say("price.batch.v1" if n else "item.batch.v1", data, SystemClock().wall_ms())
    sync = sync_of(shop)
    async with running(hq, sync):
        await until_hq(hq, lambda: shop.store.cursors()["price"].seq == 70)
        hq.ask({"what": "buckets"})
        await until_hq(hq, lambda: hq.replies >= 2 and hq.parts[-1] == 0)
    assert 0 < hq.parts[0] <= 70
    assert shop.value("SELECT count(*) FROM inbox WHERE stream = 'price'") == 0
    assert shop.alerts() == []


@pytest.mark.parametrize("kind", [Kind.MOSQUITTO, Kind.RUMQTTD])
async def test_a_broker_that_acknowledges_and_drops_is_found_out(shop: Shop, tmp_path: Path, kind: Kind, broker: StartBroker) -> None:
    """3,000 messages for a store that is away, of which two thirds never come; HQ repeats nothing unless it is asked."""
    address = broker(kind)
    hq = PrunedHq(address, HqBook())
    await shop.store.enrol(enrol(tmp_path, hq), "test")
    await shop.stocked()
    dropped = 0
    say_entry = hq._say_entry

    async def lying(connection: Connection, stream: Stream, seq: int) -> None:
        nonlocal dropped
        if stream is Stream.STOCK and seq % 3 and seq not in asked:
            dropped += 1
            asked.add(seq)
            return
        await say_entry(connection, stream, seq)

    asked: set[int] = set()
    hq._say_entry = lying  # type: ignore[method-assign]
    sync = sync_of(shop)
    async with running(hq, sync):
        await until_hq(hq, lambda: hq.store_online)
        for n in range(3_000):
            hq.send_stock([{"id": f"a{n}", "sku": "milk", "delta": 1, "cause": "delivery"}])
        await until_hq(hq, lambda: hq.books.reached(Stream.STOCK, 3_000, Stage.APPLIED))
    assert dropped == 2_000
    assert shop.value("SELECT count(*) FROM ledger WHERE item_id = 'milk' AND cause <> 'opening'") == 3_000
    assert sync.counters.sync_requests > 0
    assert hq.books.alarms == []


async def test_a_session_that_mosquitto_cut_to_1000_messages_heals(shop: Shop, tmp_path: Path) -> None:
    """Its default: the rest is dropped, and every publish was acknowledged with success."""
    folder = tmp_path / "broker"
    folder.mkdir()
    with start_broker(folder, kind=BrokerKind.MOSQUITTO, extra_config="max_queued_messages 1000\n") as node:
        address = MqttAddress(node.host, node.port)
        hq = PrunedHq(address, HqBook())
        await shop.store.enrol(enrol(tmp_path, hq), "test")
        await shop.stocked()
        async with running(sync_of(shop)), MqttLink(address, "watch").connect() as watch:
            await watch.subscribe(Topics(STORE, partition_of(STORE)).topic("up/state"))
            await watch.receive()
        topics = Topics(STORE, partition_of(STORE))
        for n in range(3_000):
            hq.books.adjust_stock([{"id": f"a{n}", "sku": "milk", "delta": 1, "cause": "delivery"}], SystemClock().wall_ms())
        async with MqttLink(address, "hq-away").connect() as publisher:
            for seq in range(1, 3_001):
                await publisher.room(32)
                tail, payload = hq.books.entry(Stream.STOCK, seq)
                publisher.send(topics.topic(tail), payload)
            await publisher.room(1)
        sync = sync_of(shop)
        async with running(hq, sync):
            await until_hq(hq, lambda: hq.books.reached(Stream.STOCK, 3_000, Stage.APPLIED))
        assert shop.value("SELECT count(*) FROM ledger WHERE item_id = 'milk' AND cause <> 'opening'") == 3_000
        assert sync.counters.sync_requests > 0


@EVERY
async def test_a_zone_says_its_chunks_once_and_a_store_that_missed_some_asks_for_them(
    shop: Shop, tmp_path: Path, broker: StartBroker, kind: Kind
) -> None:
    hq = MiniHq(broker(kind), STORE, SystemClock())
    await shop.store.enrol(enrol(tmp_path, hq, zone="north"), "test")
    hq.books.snapshot(*catalogue(1_501), (), SystemClock().wall_ms(), shared=True)
    sync = sync_of(shop)
    async with running(hq, sync):
        await until_hq(hq, lambda: hq.store_online)
        async with MqttLink(hq.address, "zone").connect() as publisher:
            for n in (2, 0):
                random_id = uuid7(0, bytes([n] * 10))
                body = hq.books.chunk_bodies[n]
                tail, raw = encode_zone_chunk(ZoneDown("north", random_id, "hq", 0, hq.books.incarnation, "s1", n, body), hq.books.signer)
                await publisher.publish(f"rs/1/{tail}", raw)
            await publisher.publish("rs/1/zone/north/bulk", b"noise")
        await until_hq(hq, lambda: hq.books.reached(Stream.BULK, 1, Stage.APPLIED))
    assert sync.counters.shared_chunks == 2
    assert sync.counters.bad_signature == 1
    assert shop.value("SELECT count(*) FROM inbox WHERE stream = 'bulk'") == 3  # the manifest, and the two chunks that were asked for
    assert len(shop.store.view.in_force) == 1_501


def _log(hq: MiniHq) -> list[Any]:
    return [reparse(*hq.books.entry(Stream.BULK, seq)) for seq in range(1, hq.books.last_seq(Stream.BULK) + 1)]
