"""The worker on real brokers: what goes down and up, what it does when it is overtaken, and what stores see when it dies."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import brokers
from bench.brokers import Kind
from bench.fleet_office import INCARNATION, Office, freeze, office, thaw
from bench.fleet_store import LightClock, LightStore, sale_body
from drivers.mqtt import Connection, MqttAddress, MqttLink, Received
from edge.head_office.db import log
from edge.head_office.sending import WINDOW
from edge.hq import HqSync
from edge.hq_ports import HqTimings
from protocols.hq import Stream, Topics, parse_down, partition_of, public_key, reparse
from protocols.hq_events import HISTORY, Birth, EventKind, LabelCounts, SyncRequest, encode_state, encode_sync
from protocols.hq_messages import HqAck, SnapshotChunk, SnapshotManifest, StreamPosition

WAIT_S = 30.0  # only a failing test waits this long
EVERY = pytest.mark.parametrize("kind", list(Kind))
BOTH_VERSIONS = pytest.mark.parametrize("kind", [Kind.MOSQUITTO, Kind.NATS])
QUICK = HqTimings(gap_ms=100, head_ms=100, snapshot_ms=500, resend_ms=500, backoff_min_ms=30, backoff_max_ms=100)
ITEMS = "sku,name,price,stock\n" + "".join(f"{number},Item {number},1.99,5\n" for number in range(1_200))

Start = Callable[[Kind], MqttAddress]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda kind: stack.enter_context(brokers.broker(kind, tmp_path / kind))


def light(made: Office, name: str, incarnation: str = "1" * 32) -> LightStore:
    return LightStore(made.enrolment(name), incarnation, LightClock())


@asynccontextmanager
async def linked(*stores: LightStore) -> AsyncIterator[None]:
    """The daemon's own sync, for the time of the block."""
    tasks = [
        asyncio.create_task(HqSync(store, LightClock(), enrolled=store.enrolled, outbox_wake=store.wake, timings=QUICK).run())
        for store in stores
    ]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(store: LightStore, fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not fact():
            store.changed.clear()
            await store.changed.wait()


def sell(store: LightStore, name: str, numbers: range) -> None:
    for number in numbers:
        store.emit(EventKind.SALE, sale_body(f"{name}-{number}", 2, number))


@EVERY
async def test_a_catalogue_goes_down_and_sales_come_up(at: Start, kind: Kind, tmp_path: Path, database_url: str) -> None:
    with office(tmp_path / "hq", at(kind), ["a", "b"], database_url) as made:
        await asyncio.to_thread(made.worker, connected=2)
        a, b = light(made, "a"), light(made, "b")
        async with linked(a, b):
            for name in ("a", "b"):
                made.publish(name, ITEMS.encode(), csv=True, whole=True)
                made.publish(name, b"sku,price\n7,2.49\n", csv=True)
            sell(a, "a", range(50))
            sell(b, "b", range(30))
            for store in (a, b):
                await until(store, lambda store=store: ("price", 1) in store.applied and ("bulk", 4) in store.applied and not store.waiting)  # type: ignore[misc]
        assert (made.sales("a")[0], made.sales("b")[0], made.alarms()) == (50, 30, [])
        assert made.count("event") == a.outbox_state().last_seq + b.outbox_state().last_seq
        assert made.count("delivery") == 2 * 5


async def test_a_store_that_was_restored_tells_again_and_gets_everything_again(at: Start, tmp_path: Path) -> None:
    with office(tmp_path / "hq", at(Kind.MOSQUITTO), ["a"]) as made:
        await asyncio.to_thread(made.worker, connected=1)
        made.publish("a", ITEMS.encode(), csv=True, whole=True)
        before, after = light(made, "a"), light(made, "a", "2" * 32)
        sell(before, "a", range(20))
        async with linked(before):
            await until(before, lambda: not before.waiting and ("bulk", 4) in before.applied)
        sell(after, "a", range(10, 25))  # the copy was made after sale 9
        async with linked(after):
            await until(after, lambda: not after.waiting and ("bulk", 4) in after.applied)
        assert (made.sales("a")[0], made.alarms()) == (25, [])
        assert made.db.rows("SELECT sum(on_hand) FROM stock") == [(-2 * 25,)]


async def test_a_log_that_begins_anew_reaches_a_store_that_knew_the_old_one(at: Start, tmp_path: Path) -> None:
    with office(tmp_path / "hq", at(Kind.MOSQUITTO), ["a"]) as made:
        worker = await asyncio.to_thread(made.worker, connected=1)
        made.publish("a", ITEMS.encode(), csv=True, whole=True)
        store = light(made, "a")
        async with linked(store):
            await until(store, lambda: ("bulk", 4) in store.applied and not store.waiting)
            worker.stop()
            log.begin_anew(made.db, "b" * 32)
            made.publish("a", b"sku,name,price\n1,Milk,1.00\n", csv=True, whole=True)
            await asyncio.to_thread(made.worker, connected=1)
            await until(store, lambda: store.cursors()["bulk"].incarnation == "b" * 32 and store.cursors()["bulk"].seq == 2)


# -- a store by hand


class Hand:
    """Says and hears what a test wants on a store's topics."""

    def __init__(self, made: Office, connection: Connection, name: str = "a") -> None:
        self.topics = Topics(name, partition_of(name))
        self._keys = {each["kid"]: public_key(each["public_key"]) for each in made.settings.public_keys()}
        self._connection = connection

    async def birth(self, seq: int, snapshot: str | None = "s1", stream: str = "sys") -> None:
        state = Birth(
            store=self.topics.store, incarnation="1" * 32, boot="b", version="1", types=(),
            cursors={stream: StreamPosition(INCARNATION, seq)}, snapshot=snapshot, up_seq=0, up_hash="0" * 64, labels=LabelCounts(0, 0),
        )  # fmt: skip
        await self._connection.publish(self.topics.topic("up/state"), encode_state(state), retain=True)

    async def sync(self, first: int) -> None:
        asked = SyncRequest(
            store=self.topics.store, incarnation="1" * 32, stream="sys", stream_incarnation=INCARNATION, from_seq=first, to_seq=None
        )
        await self._connection.publish(self.topics.topic("up/sync"), encode_sync(asked))

    async def lacks(self, snapshot: str, *chunks: int) -> None:
        asked = SyncRequest(
            store=self.topics.store, incarnation="1" * 32, stream="bulk", stream_incarnation=None, from_seq=0, to_seq=None,
            snapshot=snapshot, chunks=chunks,
        )  # fmt: skip
        await self._connection.publish(self.topics.topic("up/sync"), encode_sync(asked))

    async def forgot(self) -> None:
        """The file is a copy of this moment."""
        now = datetime.now(UTC)
        asked = SyncRequest(
            store=self.topics.store, incarnation="1" * 32, stream=HISTORY, stream_incarnation=None, from_seq=0, to_seq=None, since=now
        )
        await self._connection.publish(self.topics.topic("up/sync"), encode_sync(asked))

    async def heard(self, stream: Stream, count: int) -> list[int]:
        """The next so many sequence numbers of a stream."""
        found: list[int] = []
        async with asyncio.timeout(WAIT_S):
            while len(found) < count:
                message = parse_down(*await self._next(), self._keys, self.topics.store)
                if message.stream is stream and message.seq is not None:
                    found.append(message.seq)
        return found

    async def acknowledged(self) -> HqAck:
        async with asyncio.timeout(WAIT_S):
            while True:
                body = parse_down(*await self._next(), self._keys, self.topics.store).body
                if isinstance(body, HqAck):
                    return body

    async def _next(self) -> tuple[str, bytes]:
        received: Received = await self._connection.receive()
        self._connection.ack(received)
        tail = self.topics.tail(received.topic)
        assert tail is not None
        return tail, received.payload


RELEASE = json.dumps([{"type": "price.release.v1", "data": {"holds": ["h"]}}] * 100).encode()


@BOTH_VERSIONS
async def test_no_more_than_a_window_is_sent_and_what_is_asked_for_comes_again(at: Start, kind: Kind, tmp_path: Path) -> None:
    address = at(kind)
    with office(tmp_path / "hq", address, ["a"]) as made:
        await asyncio.to_thread(made.worker, connected=1)
        async with MqttLink(address, "a-hq").connect() as connection:
            hand = Hand(made, connection)
            await connection.subscribe(hand.topics.topic("dn/#"))
            made.publish("a", RELEASE)
            await hand.birth(40)
            assert await hand.heard(Stream.SYS, WINDOW) == list(range(41, 41 + WINDOW))
            await hand.sync(60)
            assert await hand.heard(Stream.SYS, WINDOW) == list(range(60, 60 + WINDOW))
            await hand.sync(98)
            assert await hand.heard(Stream.SYS, 3) == [98, 99, 100]


async def test_a_store_that_was_restored_asks_for_its_history_again_and_again_and_is_told_once(at: Start, tmp_path: Path) -> None:
    address = at(Kind.MOSQUITTO)
    with office(tmp_path / "hq", address, ["a"]) as made:
        await asyncio.to_thread(made.worker, connected=1)
        async with MqttLink(address, "a-hq").connect() as connection:
            hand = Hand(made, connection)
            await connection.subscribe(hand.topics.topic("dn/#"))
            await hand.birth(0)
            for _ in range(3):
                await hand.forgot()
            assert await hand.heard(Stream.SYS, 1) == [1]
            made.publish("a", RELEASE)
            assert await hand.heard(Stream.SYS, WINDOW - 1) == list(range(2, 1 + WINDOW))
        assert made.db.rows("SELECT type, count(*) FROM log GROUP BY type ORDER BY type") == [("history.v1", 1), ("price.release.v1", 100)]


@BOTH_VERSIONS
async def test_chunks_that_a_store_lacks_are_said_again_where_it_has_passed_their_places(at: Start, kind: Kind, tmp_path: Path) -> None:
    address = at(kind)
    with office(tmp_path / "hq", address, ["a"]) as made:
        made.publish("a", ITEMS.encode(), csv=True, whole=True)  # a manifest and three chunks
        manifest = reparse("dn/bulk", log.messages(made.db, "a", Stream.BULK, 1, 1)[0]).body
        assert isinstance(manifest, SnapshotManifest)
        await asyncio.to_thread(made.worker, connected=1)
        async with MqttLink(address, "a-hq").connect() as connection:
            hand = Hand(made, connection)
            await connection.subscribe(hand.topics.topic("dn/#"))
            await hand.birth(2, stream="bulk")
            assert await hand.heard(Stream.BULK, 2) == [3, 4]
            await hand.lacks(manifest.snapshot_id, 1, 2)  # lost on their way
            assert await hand.heard(Stream.BULK, 2) == [3, 4]
            await hand.birth(4, stream="bulk")
            await hand.lacks("another", 1)
            for _ in range(2):
                await hand.lacks(manifest.snapshot_id, 2, 0, 99)
            assert await hand.heard(Stream.BULK, 2) == [5, 6]
        again = [reparse("dn/bulk", raw).body for raw in log.messages(made.db, "a", Stream.BULK, 5, 99)]
        assert [(body.n, body.sha256) for body in again if isinstance(body, SnapshotChunk)] == [
            (n, manifest.chunks[n].sha256) for n in (0, 2)
        ]


async def test_a_worker_that_is_killed_is_taken_over_and_one_that_hung_commits_nothing(
    at: Start, tmp_path: Path, database_url: str
) -> None:
    with office(tmp_path / "hq", at(Kind.MOSQUITTO), ["a"], database_url, lease_ms=1_000) as made:
        first = await asyncio.to_thread(made.worker, connected=1)
        second = await asyncio.to_thread(made.worker)
        store = light(made, "a")
        async with linked(store):
            sell(store, "a", range(40))
            await until(store, lambda: not store.waiting)
            with made.db.transaction():  # not inside a transaction of its own: in one file, that would stop everybody
                freeze(first)  # with its lease, its connection, and perhaps a message in its hands
            sell(store, "a", range(40, 80))
            await asyncio.to_thread(second.said, r"partition=\d\d broker=\S+ connected")
            await until(store, lambda: not store.waiting)
            thaw(first)
            await asyncio.to_thread(first.said, r"lease=\d\d lost")
            sell(store, "a", range(80, 120))
            await until(store, lambda: not store.waiting)
            second.kill()
            sell(store, "a", range(120, 160))
            await until(store, lambda: not store.waiting)
        assert made.db.rows("SELECT fence FROM lease WHERE name = ?", partition_of("a"))[0][0] >= 3
        assert (made.sales("a"), made.alarms()) == ((160, 160 * (199 + 200)), [])
        assert made.db.rows("SELECT sum(on_hand) FROM stock") == [(-2 * 160,)]


async def test_workers_share_the_partitions_and_one_that_leaves_gives_them_back(at: Start, tmp_path: Path) -> None:
    names = [f"store-{number}" for number in range(8)]
    partitions = len({partition_of(name) for name in names})
    dice = random.Random(3)
    with office(tmp_path / "hq", at(Kind.MOSQUITTO), names, lease_ms=1_000) as made:
        first = await asyncio.to_thread(made.worker, connected=partitions)
        second = await asyncio.to_thread(made.worker, connected=partitions // 2)
        stores = [light(made, name, f"{dice.getrandbits(128):032x}") for name in names]
        async with linked(*stores):
            for name, store in zip(names, stores, strict=True):
                sell(store, name, range(20))
            for store in stores:
                await until(store, lambda store=store: not store.waiting)  # type: ignore[misc]
            owners = {owner for name, owner in made.db.rows("SELECT name, owner FROM lease") if name != "state"}
            assert len(owners) == 2
            await asyncio.to_thread(first.stop)
            for name, store in zip(names, stores, strict=True):
                sell(store, name, range(20, 40))
            for store in stores:
                await until(store, lambda store=store: not store.waiting)  # type: ignore[misc]
        assert second.running
        assert (sum(made.sales(name)[0] for name in names), made.alarms()) == (320, [])


@BOTH_VERSIONS
async def test_stores_see_that_head_office_is_there_and_that_it_is_not(at: Start, kind: Kind, tmp_path: Path) -> None:
    address = at(kind)
    with office(tmp_path / "hq", address, ["a"]) as made:
        async with MqttLink(address, "watcher").connect() as connection:
            await connection.subscribe("rs/1/hq/state")

            async def told() -> bool:
                async with asyncio.timeout(60):
                    received = await connection.receive()
                connection.ack(received)
                return bool(json.loads(received.payload)["online"])

            worker = await asyncio.to_thread(made.worker, connected=1)
            assert await told()
            worker.kill()
            assert not await told()
            await asyncio.to_thread(made.worker, connected=1)
            assert await told()


async def test_a_store_that_was_added_later_is_heard(at: Start, tmp_path: Path) -> None:
    with office(tmp_path / "hq", at(Kind.MOSQUITTO), ["a"], lease_ms=400) as made:
        worker = await asyncio.to_thread(made.worker, connected=1)
        made.add("b")
        await asyncio.to_thread(worker.said, rf"partition={partition_of('b')} broker=\S+ connected")
        store = light(made, "b")
        async with linked(store):
            made.publish("b", ITEMS.encode(), csv=True, whole=True)
            sell(store, "b", range(5))
            await until(store, lambda: not store.waiting and ("bulk", 4) in store.applied)
        assert made.sales("b")[0] == 5
