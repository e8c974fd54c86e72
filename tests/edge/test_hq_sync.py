"""HQ sync end to end: the mini HQ, a real broker, and the store's side over an in-memory store."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from drivers.mqtt import Connection, MqttAddress, MqttLink, Received
from edge.demo.broker import HOST, BrokerKind, RunningBroker, free_port, start_broker
from edge.demo.hq import MiniHq
from edge.hq import HqSync
from edge.hq_outbox import Upward
from edge.hq_ports import HqTimings, Missing, OutboxState, Outcome, ReceiveResult, StateSummary
from protocols.hq import (
    Decision,
    Down,
    Duplicate,
    Fork,
    Gap,
    InOrder,
    Message,
    NewIncarnation,
    Stale,
    Stream,
    StreamCursor,
    decide,
    encode_down,
    partition_of,
    restarts_stream,
    utc_text,
    uuid7,
)
from protocols.hq_enrol import Enrolment, parse_enrolment
from protocols.hq_events import (
    FIRST_PREV_HASH,
    Death,
    Event,
    EventKind,
    Stage,
    StagedAck,
    encode_ack_data,
    make_event,
    parse_state,
    parse_sync,
    verify_up_batch,
)
from protocols.hq_messages import LabelAssign, PriceBatch, Refused, SnapshotChunk, SnapshotManifest
from protocols.hq_stock import StockAdjust
from protocols.hq_zone import ZoneChunk

STORE = "demo-01"
NOW_MS = 1_738_310_400_000
WAIT_S = 15.0  # only a failing test waits this long
BOTH = pytest.mark.parametrize("kind", list(BrokerKind))
QUICK = HqTimings(
    gap_ms=40, head_ms=60, snapshot_ms=300, resend_ms=150, backoff_min_ms=30, backoff_max_ms=60, pause_ms=60_000, alert_ms=60_000
)


class LinkClock:
    """Real time on the wire, a fixed day on the wall."""

    boot_id = "boot-1"

    def now_ms(self) -> int:
        return self.link_ms()

    def wall_ms(self) -> int:
        return NOW_MS

    def wall_trusted(self) -> bool:
        return True

    def link_ms(self) -> int:
        return int(time.monotonic() * 1_000)

    async def sleep_ms(self, duration_ms: int) -> None:
        raise AssertionError("HQ sync waits on the wire, not on the store's clock")


class MemoryStore:
    """A `SyncStore` that keeps the rules and nothing else. `commit` lets a test stand in the way of a transaction."""

    def __init__(self) -> None:
        self.enrolled = asyncio.Event()
        self.wake = asyncio.Event()
        self.prices: dict[str, int] = {}
        self.labels: dict[str, tuple[str, ...]] = {}
        self.stock: dict[str, int] = {}
        self.applied: list[tuple[str, int]] = []
        self.alerts: list[tuple[str, str]] = []
        self.snapshot: str | None = None
        self.summed_up = 0  # how often the whole store was looked through for a birth
        self.commit: Callable[[Message], Any] | None = None
        self._enrolment: Enrolment | None = None
        self._cursors: dict[str, StreamCursor] = {}
        self._retired: set[tuple[str, str]] = set()
        self._inbox: dict[tuple[str, str, int], str] = {}
        self._held: dict[tuple[str, str, int], Message] = {}
        self._staging: SnapshotManifest | None = None
        self._chunks: dict[int, SnapshotChunk] = {}
        self._events: list[Event] = []
        self._acked = 0
        self._incarnation = "5" * 32
        self.changed = asyncio.Event()

    def enrol(self, hq: MiniHq) -> None:
        self._enrolment = parse_enrolment(json.dumps(hq.enrolment()).encode())
        self.enrolled.set()

    def emit(self, kind: EventKind, data: str) -> int:
        seq = len(self._events) + 1
        before = self._events[-1].hash if self._events else FIRST_PREV_HASH
        event_id = uuid7(NOW_MS, seq.to_bytes(10, "big"))
        self._events.append(make_event(self._incarnation, seq, kind, event_id, utc_text(NOW_MS), data, before))
        self.wake.set()
        return seq

    def sell(self, sale_id: str, sku: str, quantity: int = 1) -> int:
        self.stock[sku] = self.stock.get(sku, 0) - quantity
        return self.emit(EventKind.SALE, json.dumps({"sale_id": sale_id, "lines": [{"sku": sku, "quantity": quantity}]}))

    # -- SyncStore

    def enrolment(self) -> Enrolment | None:
        return self._enrolment

    def cursors(self) -> dict[str, StreamCursor]:
        return dict(self._cursors)

    def reached(self) -> dict[str, StreamCursor]:
        return self.cursors()

    def missing_chunks(self) -> tuple[str, tuple[int, ...]] | None:
        return None

    def restored_since_ms(self) -> int | None:
        return None

    async def receive_shared(self, chunk: ZoneChunk) -> bool:
        raise AssertionError("this store has no zone")

    async def tend(self) -> tuple[Message, ...]:
        return ()

    async def answer(self, message: Message) -> bytes:
        raise AssertionError("nobody asks")

    async def receive(self, message: Message) -> ReceiveResult:
        if self.commit is not None:
            await self.commit(message)
        assert message.stream is not None
        assert message.seq is not None
        result = self._place(message, message.stream, message.seq)
        self.changed.set()
        return result

    def outbox(self, after_seq: int, limit: int) -> list[Event]:
        return self._events[max(after_seq, self._acked) :][:limit]

    def outbox_state(self) -> OutboxState:
        last_hash = self._events[-1].hash if self._events else FIRST_PREV_HASH
        return OutboxState(self._incarnation, self._acked + 1, len(self._events), last_hash)

    async def hq_ack(self, incarnation: str, seq_through: int, last_hash: str) -> bool:
        if incarnation != self._incarnation or seq_through > len(self._events):
            return False
        if seq_through and self._events[seq_through - 1].hash != last_hash:
            return False
        self._acked = max(self._acked, seq_through)
        self.changed.set()
        return True

    def has_catalogue(self) -> bool:
        return self.snapshot is not None

    def state_summary(self) -> StateSummary:
        self.summed_up += 1
        return StateSummary("1.0", self.snapshot, len(self.labels), 0)

    async def note_alert(self, kind: str, detail: str) -> None:
        self.alerts.append((kind, detail))
        self.emit(EventKind.ALERT, json.dumps({"kind": kind, "detail": detail}))
        self.changed.set()

    # -- inside

    def _place(self, message: Message, stream: str, seq: int) -> ReceiveResult:
        decision = self._decide(message, stream, seq)
        if isinstance(decision, NewIncarnation):
            if stream in self._cursors:
                self._retired.add((stream, self._cursors[stream].incarnation))
            self._cursors[stream] = StreamCursor(message.incarnation, 0)
            decision = self._decide(message, stream, seq)
        match decision:
            case InOrder():
                outcome = self._apply(message, stream, seq)
                while (held := self._held.pop((stream, message.incarnation, self._cursors[stream].seq + 1), None)) is not None:
                    assert held.seq is not None
                    self._apply(held, stream, held.seq)
                return ReceiveResult(outcome)
            case Gap(missing_from, missing_to, hold):
                if hold:
                    self._held[stream, message.incarnation, seq] = message
                    self._inbox[stream, message.incarnation, seq] = message.digest
                return ReceiveResult(Outcome.HELD, Missing(stream, message.incarnation, missing_from, missing_to), ask_now=not hold)
            case Duplicate():
                return ReceiveResult(Outcome.DUPLICATE)
            case Fork():
                return ReceiveResult(Outcome.FORK)
            case Stale() | NewIncarnation():
                return ReceiveResult(Outcome.STALE)

    def _decide(self, message: Message, stream: str, seq: int) -> Decision:
        return decide(
            self._cursors.get(stream),
            message.incarnation,
            seq,
            message.digest,
            self._inbox.get((stream, message.incarnation, seq)),
            retired=(stream, message.incarnation) in self._retired,
            restarts=restarts_stream(message),
        )

    def _apply(self, message: Message, stream: str, seq: int) -> Outcome:
        self._cursors[stream] = StreamCursor(message.incarnation, seq)
        self._inbox[stream, message.incarnation, seq] = message.digest
        self.applied.append((stream, seq))
        stage, reason = Stage.APPLIED, None
        match message.body:
            case PriceBatch(rows):
                self.prices |= {row.sku: row.curve[0][1] for row in rows}
            case StockAdjust(adjustments):
                for each in adjustments:
                    self.stock[each.sku] = self.stock.get(each.sku, 0) + each.delta
            case LabelAssign(label, items):
                self.labels[label] = items
                self.emit(EventKind.LABEL, json.dumps({"label": label, "items": items}))
            case SnapshotManifest() as manifest:
                self._staging, self._chunks = manifest, {}
            case SnapshotChunk() as chunk:
                self._chunks[chunk.n] = chunk
                self._swap_when_whole()
            case Refused(text):
                stage, reason = Stage.REJECTED, text
            case other:
                raise AssertionError(other)
        self.emit(EventKind.ACK, encode_ack_data(StagedAck(stream, message.incarnation, seq, message.id, stage, reason)))
        return Outcome.REJECTED if stage is Stage.REJECTED else Outcome.APPLIED

    def _swap_when_whole(self) -> None:
        manifest = self._staging
        if manifest is None or len(self._chunks) < len(manifest.chunks):
            return
        self.snapshot = manifest.snapshot_id
        self._cursors["price"] = StreamCursor(manifest.price_incarnation, manifest.base_price_seq)
        for chunk in self._chunks.values():
            self.prices |= {row.sku: row.curve[0][1] for row in chunk.rows}
            self.stock |= {level.sku: level.on_hand for level in chunk.stock}


def _row(sku: str, amount_minor: int, rev: int = 1) -> dict[str, Any]:
    return {"sku": sku, "kind": "base", "price_id": f"p-{sku}", "rev": rev, "amount_minor": amount_minor, "currency": "EUR"}


def _catalogue(hq: MiniHq, count: int = 3) -> None:
    skus = [str(100 + number) for number in range(count)]
    hq.snapshot(
        [{"sku": sku, "name": f"Item {sku}"} for sku in skus],
        [_row(sku, 100) for sku in skus],
        [{"sku": sku, "on_hand": 50, "unit": "each"} for sku in skus],
    )


async def _until(store: MemoryStore, fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not fact():
            store.changed.clear()
            await store.changed.wait()


async def _until_hq(hq: MiniHq, fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        await hq.until(fact)


async def _until_sync(sync: HqSync, fact: Callable[[], bool]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not fact():
            sync.changed.clear()
            await sync.changed.wait()


@asynccontextmanager
async def _running(*works: MiniHq | HqSync) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(work.run()) for work in works]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            if not isinstance(result, asyncio.CancelledError):
                raise AssertionError(f"ended by itself: {result!r}")


@asynccontextmanager
async def _wiretap(running: RunningBroker, tails: str = "up/#") -> AsyncIterator[tuple[Connection, str]]:
    """A second listener on the store's topics, and their base."""
    base = f"rs/1/{partition_of(STORE)}/{STORE}/"
    async with MqttLink(MqttAddress(running.host, running.port), "wiretap").connect() as connection:
        await connection.subscribe(base + tails)
        yield connection, base


async def _hear(connection: Connection) -> Received:
    async with asyncio.timeout(WAIT_S):
        received = await connection.receive()
    connection.ack(received)
    return received


async def _left_in_session(outsider: Connection, session: Connection, base: str) -> list[str]:
    """The topic tails that the broker still had for the store, un-acknowledged."""
    await outsider.publish(base + "dn/marker", b"")
    tails = [(await _hear(session)).topic.removeprefix(base)]
    while tails[-1] != "dn/marker":
        tails.append((await _hear(session)).topic.removeprefix(base))
    return tails


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[..., RunningBroker]]:
    with ExitStack() as stack:

        def start(kind: BrokerKind = BrokerKind.MOSQUITTO, port: int = 0, extra_config: str = "") -> RunningBroker:
            return stack.enter_context(start_broker(tmp_path, port, kind=kind, extra_config=extra_config))

        yield start


def _pair(port: int, **hq_options: Any) -> tuple[MiniHq, MemoryStore, HqSync]:
    hq = MiniHq(MqttAddress(HOST, port), STORE, LinkClock(), **hq_options)
    store = MemoryStore()
    return hq, store, _sync(store)


def _sync(store: MemoryStore) -> HqSync:
    return HqSync(store, LinkClock(), enrolled=store.enrolled, outbox_wake=store.wake, random=lambda: 0.5, timings=QUICK)


@BOTH
async def test_a_store_is_enrolled_filled_changed_and_its_sales_are_booked(broker: Callable[..., RunningBroker], kind: BrokerKind) -> None:
    hq, store, sync = _pair(broker(kind).port)
    _catalogue(hq, 1_201)  # three chunks
    async with _running(hq, sync):
        await asyncio.sleep(0)
        assert not sync.connected  # nobody told the store yet who it is
        store.enrol(hq)
        await _until(store, lambda: store.snapshot == "s1")
        price = hq.send_prices([_row("100", 150, 2), _row("101", 80, 2)])
        stock = hq.send_stock([{"id": "a1", "sku": "100", "delta": 6, "cause": "delivery"}])
        label = hq.assign_label("00000218A1B2C3D4", ["100"], "shelf", 0)
        for number in range(100):
            store.sell(f"sale-{number}", "100")
        for stream, seq in ((Stream.PRICE, price), (Stream.STOCK, stock), (Stream.LABEL, label)):
            await _until_hq(hq, lambda stream=stream, seq=seq: hq.books.reached(stream, seq, Stage.APPLIED))  # type: ignore[misc]
        await _until_hq(hq, lambda: len(hq.books.sales) == 100)
        await _until(store, lambda: store.outbox_state().first_unacked_seq > store.outbox_state().last_seq)
    assert (store.prices["100"], store.prices["101"], store.prices["1300"]) == (150, 80, 100)
    assert hq.books.stock == store.stock
    assert hq.books.stock["100"] == 50 + 6 - 100
    assert hq.books.bindings["00000218A1B2C3D4"]["items"] == ["100"]
    assert hq.books.alarms == []
    assert store.alerts == []
    assert (sync.counters.bad_signature, sync.counters.publish_refused, sync.counters.fork) == (0, 0, 0)


@BOTH
async def test_a_gap_is_asked_for_and_heals_in_order(broker: Callable[..., RunningBroker], kind: BrokerKind) -> None:
    hq, store, sync = _pair(broker(kind).port, lose=lambda stream, seq: stream is Stream.PRICE and seq in (2, 3))
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until(store, lambda: store.snapshot is not None)
        for rev in range(2, 8):
            hq.send_prices([_row("100", 100 + rev, rev)])
        await _until(store, lambda: ("price", 6) in store.applied)
    assert [seq for stream, seq in store.applied if stream == "price"] == [1, 2, 3, 4, 5, 6]
    assert store.prices["100"] == 107
    assert sync.counters.held >= 1
    assert sync.counters.sync_requests >= 1
    assert store.summed_up == sync.counters.connections  # for each birth, not for each message: a large store would stand still
    assert sync.head_told is not None
    assert sync.head_told.entry == 0


async def test_a_lost_last_message_is_noticed_by_the_head(broker: Callable[..., RunningBroker]) -> None:
    hq, store, sync = _pair(broker().port, lose=lambda stream, seq: stream is Stream.PRICE)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until(store, lambda: store.snapshot is not None)
        hq.send_prices([_row("100", 120, 2)])
        await _until(store, lambda: store.prices["100"] == 120)
    assert sync.counters.held == 0


async def test_a_snapshot_that_was_lost_is_asked_for_again(broker: Callable[..., RunningBroker]) -> None:
    hq, store, sync = _pair(broker().port, lose=lambda stream, seq: stream is Stream.BULK)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until(store, lambda: store.snapshot is not None)
    assert store.prices == {"100": 100, "101": 100, "102": 100}


async def test_forged_foreign_and_broken_messages_are_counted_acknowledged_and_nothing_else(broker: Callable[..., RunningBroker]) -> None:
    running = broker()
    hq, store, sync = _pair(running.port)
    _catalogue(hq)
    store.enrol(hq)
    forger = MiniHq(MqttAddress(HOST, running.port), STORE, LinkClock()).books.signer
    row = json.dumps({"rows": [_row("100", 1, 9)]}).encode()
    incarnation = hq.books.incarnation
    down = Down("price.batch.v1", uuid7(NOW_MS, bytes(10)), "hq", STORE, NOW_MS, incarnation, 1, data=row)
    foreign = Down("price.batch.v1", uuid7(NOW_MS, bytes(10)), "hq", "demo-02", NOW_MS, incarnation, 1, data=row)
    async with _running(hq, sync), _wiretap(running) as (outsider, base):
        await _until(store, lambda: store.snapshot is not None)
        for payload in (
            encode_down(down, forger)[1],
            encode_down(down, forger)[1],
            encode_down(foreign, hq.books.signer)[1],
            b"noise",
            b"x" * 200_000,
            hq.books.signer.seal("dn/price", b"{}"),
        ):
            await outsider.publish(base + "dn/price", payload)
        hq.send_prices([_row("100", 130, 2)])
        await _until(store, lambda: store.prices["100"] == 130 and len(store.alerts) == 3)
        last = hq.send_prices([_row("100", 131, 3)])
        await _until_hq(hq, lambda: hq.books.reached(Stream.PRICE, last, Stage.APPLIED))  # this came after what it acknowledged before
    assert (sync.counters.bad_signature, sync.counters.foreign_store, sync.counters.bad_message) == (3, 1, 2)
    assert sorted(kind for kind, _ in store.alerts) == ["hq_bad_message", "hq_bad_signature", "hq_foreign_store"]
    assert sync.counters.alerts_suppressed == 3
    async with _wiretap(running) as (outsider, base), MqttLink(MqttAddress(HOST, running.port), f"{STORE}-hq").connect() as session:
        left = await _left_in_session(outsider, session, base)
        assert left.count("dn/price") <= 1, "all but the very last were acknowledged"


async def test_a_batch_with_one_bad_row_is_rejected_whole_and_the_stream_goes_on(broker: Callable[..., RunningBroker]) -> None:
    hq, store, sync = _pair(broker().port)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until(store, lambda: store.snapshot is not None)
        bad = hq.send_prices([_row("100", 77, 2), _row("101", -1, 2)])
        hq.send_prices([_row("102", 66, 2)])
        await _until(store, lambda: store.prices["102"] == 66)
        await _until_hq(hq, lambda: hq.books.reached(Stream.PRICE, bad, Stage.REJECTED))
    assert (store.prices["100"], store.prices["101"]) == (100, 100)
    assert sync.counters.rejected == 1
    reason = hq.books.acks["price", bad][Stage.REJECTED].reason
    assert reason is not None
    assert reason.startswith("row 1: ")


async def test_a_message_is_acknowledged_only_after_its_commit(broker: Callable[..., RunningBroker]) -> None:
    running = broker()
    hq, store, first = _pair(running.port)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq):
        async with _running(first):
            await _until(store, lambda: store.snapshot is not None)
            at_commit = asyncio.Event()

            async def never(message: Message) -> None:
                at_commit.set()
                await asyncio.Event().wait()

            store.commit = never
            hq.send_prices([_row("100", 140, 2)])
            async with asyncio.timeout(WAIT_S):
                await at_commit.wait()  # and there the process ends
        store.commit = None
    second = _sync(store)  # HQ is away: only the broker's session can bring the message
    async with _running(second):
        await _until(store, lambda: store.prices["100"] == 140)
    assert second.counters.applied == 1


class _AcksFirst(HqSync):
    """The planted fault: PUBACK before the commit."""

    async def _receive(self, connection: Connection, arrived: asyncio.Queue[Received], enrolment: Enrolment) -> None:
        while True:
            received = await arrived.get()
            connection.ack(received)
            await self._take(received, enrolment)


async def test_the_check_above_notices_a_sync_that_acknowledges_first(broker: Callable[..., RunningBroker]) -> None:
    running = broker()
    hq, store, _ = _pair(running.port)
    store.enrol(hq)
    store.snapshot = "s1"
    at_commit = asyncio.Event()

    async def never(message: Message) -> None:
        at_commit.set()
        await asyncio.Event().wait()

    store.commit = never
    careless = _AcksFirst(store, LinkClock(), enrolled=store.enrolled, outbox_wake=store.wake, timings=QUICK)
    async with _running(hq, careless):
        await _until_hq(hq, lambda: hq.store_online)
        hq.send_prices([_row("100", 140)])
        async with asyncio.timeout(WAIT_S):
            await at_commit.wait()
    async with _wiretap(running) as (outsider, base), MqttLink(MqttAddress(HOST, running.port), f"{STORE}-hq").connect() as session:
        assert "dn/price" not in await _left_in_session(outsider, session, base)  # the price is lost


async def test_a_denied_topic_is_refused_once_and_everything_else_goes_on(broker: Callable[..., RunningBroker], tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text(f"topic readwrite #\ntopic deny rs/1/{partition_of(STORE)}/{STORE}/up/stock\n")
    rules.chmod(0o600)
    hq, store, sync = _pair(broker(extra_config=f"acl_file {rules}\n").port)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until(store, lambda: store.snapshot is not None)
        await _until_hq(hq, lambda: hq.books.reached(Stream.BULK, 2, Stage.APPLIED))
        store.sell("before", "100")
        store.emit(EventKind.STOCK, json.dumps({"sku": "100", "delta": 1}))
        await _until_hq(hq, lambda: "before" in hq.books.sales)
        await _until(store, lambda: bool(store.alerts))
        hq.send_prices([_row("100", 160, 2)])
        await _until(store, lambda: store.prices["100"] == 160)
        async with _wiretap(RunningBroker(BrokerKind.MOSQUITTO, HOST, hq.address.port, None), "up/sale") as (tap, _):  # type: ignore[arg-type]
            store.sell("after", "100")
            assert b"after" in (await _hear(tap)).payload
    assert sync.counters.publish_refused == 1
    assert sync.counters.connections <= 2  # where a broker ends the connection with its refusal, the topic rests after it
    kind, detail = store.alerts[0]
    assert kind == "hq_publish_refused"
    assert "up/stock: Not authorized" in detail


async def test_a_broker_that_is_down_at_the_start_is_waited_for(broker: Callable[..., RunningBroker]) -> None:
    port = free_port()
    hq, store, sync = _pair(port)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until_sync(sync, lambda: sync.counters.connections_failed >= 2)
        assert not sync.connected
        assert sync.last_error is not None
        assert f"broker {HOST}:{port}" in sync.last_error
        broker(port=port)
        await _until(store, lambda: store.snapshot is not None)
        assert sync.connected
    assert sync.counters.connections == 1


async def test_a_broker_that_restarts_and_forgets_everything_costs_no_sale(broker: Callable[..., RunningBroker], tmp_path: Path) -> None:
    port = free_port()
    running = broker(port=port)
    hq, store, sync = _pair(port)
    _catalogue(hq)
    store.enrol(hq)
    async with _running(hq, sync):
        await _until(store, lambda: store.snapshot is not None)
        running.process.kill()
        running.process.wait()
        for number in range(60):
            store.sell(f"sale-{number}", "100")
        hq.send_prices([_row("100", 170, 2)])
        await _until_sync(sync, lambda: not sync.connected)
        broker(port=port)
        await _until_hq(hq, lambda: len(hq.books.sales) == 60)
        await _until(store, lambda: store.prices["100"] == 170)
    assert hq.books.alarms == []
    assert hq.books.stock["100"] == store.stock["100"] == -10


async def test_a_refused_connection_is_one_line_for_people(broker: Callable[..., RunningBroker], tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    passwords.write_text("")
    running = broker(extra_config=f"allow_anonymous false\npassword_file {passwords}\n")
    hq, store, sync = _pair(running.port)
    store.enrol(hq)
    async with _running(sync):
        await _until_sync(sync, lambda: sync.last_error is not None)
    assert sync.last_error == f"broker {HOST}:{running.port} refused the connection: Not authorized"


async def test_events_are_published_again_until_hq_acknowledges_them(broker: Callable[..., RunningBroker]) -> None:
    running = broker()
    hq, store, sync = _pair(running.port)
    store.enrol(hq)
    store.snapshot = "s1"
    async with _wiretap(running, "up/sale") as (tap, base), _running(sync):
        for number in range(45):
            store.sell(f"sale-{number}", "100")
        heard: list[int] = []
        while heard.count(45) < 2:
            heard += [event.seq for event in verify_up_batch("sale", (await _hear(tap)).payload).events]
        assert heard[: len(set(heard))] == list(range(1, 46))
        assert sync.counters.resends >= 1
        for seq, last_hash, fits in ((45, "f" * 64, False), (45, store.outbox_state().last_hash, True)):
            ack = {"store": STORE, "incarnation": "5" * 32, "seq_through": seq, "last_hash": last_hash}
            down = Down("ack.v1", uuid7(NOW_MS, bytes(10)), "hq", STORE, NOW_MS, "6" * 32, None, data=json.dumps(ack).encode())
            await tap.publish(base + "dn/ack", encode_down(down, hq.books.signer)[1])
            await _until_sync(sync, lambda fits=fits: (sync.counters.hq_acks if fits else sync.counters.hq_acks_refused) == 1)  # type: ignore[misc]
    assert store.outbox_state().first_unacked_seq == 46
    assert [kind for kind, _ in store.alerts] == ["hq_ack_refused"]


async def test_an_orderly_end_leaves_the_store_offline_and_a_start_online(broker: Callable[..., RunningBroker]) -> None:
    running = broker()
    hq, store, sync = _pair(running.port)
    store.enrol(hq)
    async with _running(hq):
        async with _running(sync):
            await _until_hq(hq, lambda: hq.store_online)
        await _until_hq(hq, lambda: not hq.store_online)
    async with _wiretap(running, "up/state") as (tap, _):
        received = await _hear(tap)
        assert received.retained
        assert isinstance(parse_state(received.payload), Death)


async def test_an_end_between_birth_and_its_acknowledgement_leaves_the_store_offline_too(
    broker: Callable[..., RunningBroker], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_acknowledged(self: Upward, connection: Connection, tail: str, payload: bytes, *, retain: bool = False) -> None:
        self.send(connection, tail, payload, retain=retain)
        await asyncio.Event().wait()

    running = broker()
    hq, store, sync = _pair(running.port)
    store.enrol(hq)
    async with _running(hq):
        monkeypatch.setattr(Upward, "publish", never_acknowledged)
        async with _running(sync):
            await _until_hq(hq, lambda: hq.store_online)
        await _until_hq(hq, lambda: not hq.store_online)


async def test_a_store_without_catalogue_asks_for_one_when_none_comes(broker: Callable[..., RunningBroker]) -> None:
    running = broker()
    hq, store, sync = _pair(running.port)
    store.enrol(hq)
    async with _wiretap(running, "up/sync") as (tap, _), _running(sync):
        request = parse_sync((await _hear(tap)).payload)
    assert (request.store, request.stream, request.from_seq, request.to_seq) == (STORE, "bulk", 0, None)


async def test_an_error_of_the_store_ends_the_sync_instead_of_being_hidden(broker: Callable[..., RunningBroker]) -> None:
    hq, store, sync = _pair(broker().port)
    _catalogue(hq)
    store.enrol(hq)

    async def broken(message: Message) -> None:
        raise OSError("disk full")

    store.commit = broken
    async with _running(hq):
        with pytest.raises(ExceptionGroup) as caught:
            async with asyncio.timeout(WAIT_S):
                await sync.run()
    assert caught.group_contains(OSError, match="disk full")
    assert not sync.connected


async def test_a_new_enrolment_moves_the_store_to_its_new_broker(broker: Callable[..., RunningBroker], tmp_path: Path) -> None:
    old_hq, store, sync = _pair(broker().port)
    store.enrol(old_hq)
    (tmp_path / "new").mkdir()
    with start_broker(tmp_path / "new") as running:
        new_hq = MiniHq(MqttAddress(HOST, running.port), STORE, LinkClock())
        _catalogue(new_hq)
        async with _running(old_hq, new_hq, sync):
            await _until_hq(old_hq, lambda: old_hq.store_online)
            store.enrol(new_hq)
            await _until(store, lambda: store.snapshot is not None)
            await _until_hq(old_hq, lambda: not old_hq.store_online)
