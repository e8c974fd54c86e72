"""HQ sync: the shell that joins the store to HQ's broker.

`HqSync` receives (verify, one store transaction, then PUBACK), has the outbox published until HQ's signed ack names it, asks again for
what is missing, and reconnects with back-off. It decides nothing about prices: the pure rules are in `protocols.hq`, the durable side
is behind `edge.hq_ports.SyncStore`. The wire is described in docs/reference/hq.md.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from drivers.base import Clock
from drivers.mqtt import Connection, LinkLost, MqttAddress, MqttLink, MqttVersion, PublishRefused, Received, Will, stop_if_cancelled
from edge.hq_needs import Needs
from edge.hq_outbox import OutboxPublisher, Upward, wait_until
from edge.hq_ports import HqCounters, HqTimings, Lack, Missing, Outcome, ReceiveResult, StateSummary, SyncStore
from edge.store.db import OWN_TROUBLE
from protocols.hq import SUPPORTED_TYPES, BadMessage, BadSignature, ForeignStore, Message, Stream, parse_down
from protocols.hq_enrol import Broker, Enrolment
from protocols.hq_events import AuditHead, Birth, Death, LabelCounts, SyncRequest, encode_state, encode_sync
from protocols.hq_messages import Head, HqAck, StreamPosition
from protocols.hq_zone import ZoneChunk, parse_zone, zone_topic

log = logging.getLogger(__name__)

ALERTS_WAITING_MAX: Final = 16  # alerts that wait for the store; one of each kind per interval, so more means a fault of ours
TOGETHER_MAX: Final = 32  # messages handed to the store together: HQ's window
TOGETHER_BYTES: Final = 64 * 1024  # or so much of them: reading a list of 500 prices takes 2 ms, in which no till is heard
QUERIES_WAITING_MAX: Final = 32  # HQ's window of messages; one that is pushed out gets no answer and is asked again
_RANDOM: Final = secrets.SystemRandom().random
_STATE: Final = "up/state"
_SYNC: Final = "up/sync"
_REPLY: Final = "up/rpl"


@dataclass(frozen=True, slots=True)
class HeadTold:
    """The head of the audit chain that the broker took last for HQ, and the clock's `now_ms` then."""

    entry: int
    at_ms: int


class HqSync:
    """The store's side of the link to HQ. `connected`, `last_error` and `counters` may be read at any time."""

    def __init__(
        self,
        store: SyncStore,
        clock: Clock,
        *,
        enrolled: asyncio.Event,
        outbox_wake: asyncio.Event,
        random: Callable[[], float] = _RANDOM,
        timings: HqTimings | None = None,
    ) -> None:
        """`enrolled` is set whenever the enrolment was written, `outbox_wake` whenever events were committed. `random` gives [0, 1)."""
        self.counters = HqCounters()
        self.connected = False
        self.last_error: str | None = None
        self.changed = asyncio.Event()  # set at every change of the three above; whoever waits clears it
        self.head_told: HeadTold | None = None
        self._store = store
        self._clock = clock
        self._enrolled = enrolled
        self._outbox_wake = outbox_wake
        self._random = random
        self._timings = timings or HqTimings()
        self._needs = Needs(self._timings)
        self._needs_changed = asyncio.Event()
        self._alerts: deque[tuple[str, str]] = deque(maxlen=ALERTS_WAITING_MAX)
        self._alerts_waiting = asyncio.Event()
        self._queries: deque[Message] = deque(maxlen=QUERIES_WAITING_MAX)
        self._queries_waiting = asyncio.Event()
        self._in_hand = False  # whether messages have come that the store has not committed yet
        self._settled_ms = 0  # when it had last committed a batch of them
        self._alerted_ms: dict[str, int] = {}

    async def run(self) -> None:
        """Until cancelled. Only the store's own errors come out of it."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_enrolment(), name="hq link")
            tasks.create_task(self._record_alerts(), name="hq alerts")

    async def _follow_enrolment(self) -> None:
        while True:
            self._enrolled.clear()
            enrolment = self._store.enrolment()
            if enrolment is None:
                await self._enrolled.wait()
            else:
                await self._keep_connected(enrolment)

    async def _keep_connected(self, enrolment: Enrolment) -> None:
        """Connect again and again; returns when the store was enrolled anew."""
        link = MqttLink(broker_address(enrolment.broker), f"{enrolment.store}-hq")
        upward = Upward(enrolment.topics, self._clock, self._timings, self.counters, self._publish_refused)
        failures = 0
        while not self._enrolled.is_set():
            self._ask_for(await self._store.tend())  # a snapshot that a restart or the end of a connection interrupted needs no HQ
            started_ms = self._clock.link_ms()
            try:
                await self._connection(link, enrolment, upward)
            except* LinkLost as lost:
                self._link_lost(_first(lost), was_connected=self.connected)
            finally:
                self.connected = False
                self.changed.set()
            stop_if_cancelled()
            failures = 0 if self._clock.link_ms() - started_ms >= self._timings.stable_ms else failures + 1
            await wait_until(self._enrolled, self._clock.link_ms() + self._backoff_ms(failures), self._clock)

    async def _connection(self, link: MqttLink, enrolment: Enrolment, upward: Upward) -> None:
        """One connection, until it is lost (`LinkLost`, perhaps in a group) or the store was enrolled anew."""
        state = self._store.outbox_state()
        death = encode_state(Death(store=enrolment.store, incarnation=state.incarnation, boot=self._clock.boot_id))
        async with link.connect(Will(enrolment.topics.topic(_STATE), death)) as connection:
            self._needs, self._in_hand, self._settled_ms = Needs(self._timings), False, self._clock.link_ms()
            self._note_needs()
            if not self._store.has_catalogue():
                self._needs.no_snapshot(now_ms=self._clock.link_ms())
            publisher = OutboxPublisher(self._store, upward, connection, self._clock, self._outbox_wake, self._timings)
            arrived: asyncio.Queue[Received] = asyncio.Queue(TOGETHER_MAX)
            met = asyncio.Event()
            works: dict[str, Callable[[], Coroutine[object, object, None]]] = {
                # A kept session brings messages at once, and a broker may say nothing else before some are acknowledged.
                "fetch": lambda: self._fetch(connection, arrived),
                "receive": lambda: self._receive(connection, arrived, enrolment),
                "meet": lambda: self._meet(connection, enrolment, upward, met),
                "publish": lambda: _after(met, lambda: publisher.run(self.counters)),
                "ask": lambda: _after(met, lambda: self._ask(connection, enrolment, upward)),
                "state": lambda: _after(met, lambda: self._tell_state(connection, enrolment, upward)),
                "reply": lambda: _after(met, lambda: self._reply(connection, upward)),
                "tend": self._tend,
            }
            try:
                async with asyncio.TaskGroup() as tasks:
                    working = [tasks.create_task(work(), name=f"hq {name}") for name, work in works.items()]
                    await self._enrolled.wait()
                    for task in working:
                        task.cancel()
                    await asyncio.wait(working)  # in here: see `stop_if_cancelled`
            finally:
                # An orderly end sends no will, not even between the birth and its PUBACK; on a dead link this goes nowhere.
                upward.send(connection, _STATE, death, retain=True)

    async def _meet(self, connection: Connection, enrolment: Enrolment, upward: Upward, met: asyncio.Event) -> None:
        """Listen, then say who is there."""
        await connection.subscribe(enrolment.topics.topic("dn/+"))  # for "#" NATS keeps twice as much
        if enrolment.zone is not None:
            await connection.subscribe(zone_topic(enrolment.topics.prefix, enrolment.zone))
        await self._say_state(connection, enrolment, upward)
        self._link_up(broker_address(enrolment.broker))
        met.set()

    async def _receive(self, connection: Connection, arrived: asyncio.Queue[Received], enrolment: Enrolment) -> None:
        """Commit, then acknowledge, in arrival order. What has arrived together is handed to the store together: it shares a commit."""
        while True:
            batch = [await arrived.get()]
            self._in_hand = True
            size = len(batch[0].payload)
            while not arrived.empty() and size < TOGETHER_BYTES:
                batch.append(arrived.get_nowait())
                size += len(batch[-1].payload)
            # each puts its transaction into the writer's queue at its first step, so they run in this order
            taking = [asyncio.ensure_future(self._take(received, enrolment)) for received in batch]
            try:
                for received, taken in zip(batch, taking, strict=True):
                    if not await taken:
                        await self._take(received, enrolment, again=True)
                    self.counters.messages += 1
                    connection.ack(received)
                    self.changed.set()
            finally:
                for taken in taking:
                    taken.cancel()
                await asyncio.gather(*taking, return_exceptions=True)
            self._in_hand, self._settled_ms = not arrived.empty(), self._clock.link_ms()
            self._needs_changed.set()

    async def _fetch(self, connection: Connection, arrived: asyncio.Queue[Received]) -> None:
        while True:
            await arrived.put(await connection.receive())

    async def _take(self, received: Received, enrolment: Enrolment, *, again: bool = False) -> bool:
        """False: no key sealed it that is believed now. It is looked at `again` when what came before it, perhaps its key, is committed."""
        tail = enrolment.topics.tail(received.topic)
        keys = self._keys(enrolment)
        try:
            if enrolment.zone is not None and received.topic == zone_topic(enrolment.topics.prefix, enrolment.zone):
                await self._shared(parse_zone(enrolment.zone, received.payload, keys))
                return True
            if tail is None:
                raise ForeignStore(f"message on {received.topic}")
            message = parse_down(tail, received.payload, keys, enrolment.store)
        except BadSignature as error:
            if not again:
                return False
            self.counters.bad_signature += 1
            self._alert("hq_bad_signature", f"{tail}: {error.reason}")
        except ForeignStore as error:
            self.counters.foreign_store += 1
            self._alert("hq_foreign_store", f"{tail}: {error.reason}")
        except BadMessage as error:
            self.counters.bad_message += 1
            self._alert("hq_bad_message", f"{tail}: {error.reason}")
        else:
            await self._use_or_set_aside(message)
        return True

    def _keys(self, enrolment: Enrolment) -> Mapping[str, Ed25519PublicKey]:
        """HQ's keys as they are now: a message may have changed them since the connection began."""
        current = self._store.enrolment()
        return enrolment.keys if current is None else current.keys

    async def _shared(self, chunk: ZoneChunk) -> None:
        self.counters.shared_chunks += 1
        if await self._store.receive_shared(chunk):
            self._note_staging()

    async def _use_or_set_aside(self, message: Message) -> None:
        """A message that the store cannot even place, for a reason nobody foresaw, must not come again and again: the others wait."""
        try:
            await self._use(message)
        except OWN_TROUBLE as error:
            log.exception("stream=%s seq=%s cannot be placed", message.stream, message.seq)
            self.counters.poison += 1
            self._alert("hq_poison", f"{message.stream} {message.seq} {message.type}: {type(error).__name__}: {error}")

    async def _use(self, message: Message) -> None:
        now_ms = self._clock.link_ms()
        if isinstance(message.body, Head):
            self._needs.head(message.body, self._store.reached(), now_ms=now_ms)
        elif isinstance(message.body, HqAck):
            await self._hq_ack(message.body)
        elif message.stream is not None:
            result = await self._store.receive(message)
            self._count(message, result)
            if result.outcome in (Outcome.APPLIED, Outcome.REJECTED):
                self._needs.applied(message.stream, message.incarnation, now_ms=now_ms)
            if result.missing is not None:
                self._needs.gap(result.missing, at_once=result.ask_now, now_ms=now_ms)
            if message.stream is Stream.BULK:
                self._note_staging()
            elif message.stream is Stream.SYS:
                self._needs.history(wanted=self._store.restored_since_ms() is not None, now_ms=now_ms)
            self._ask_for(result.asked)
        self._needs_changed.set()

    def _note_needs(self) -> None:
        """What the file itself says is missing."""
        self._note_staging()
        self._needs.history(wanted=self._store.restored_since_ms() is not None, now_ms=self._clock.link_ms())

    def _note_staging(self) -> None:
        missing = self._store.missing_chunks()
        self._needs.staging(incomplete=missing is not None and bool(missing[1]), now_ms=self._clock.link_ms())
        self._needs_changed.set()

    def _ask_for(self, queries: Iterable[Message]) -> None:
        for query in queries:
            self._queries.append(query)
            self._queries_waiting.set()

    def _count(self, message: Message, result: ReceiveResult) -> None:
        name = result.outcome.value
        setattr(self.counters, name, getattr(self.counters, name) + 1)
        if result.outcome is Outcome.FORK:
            self._alert("hq_fork", f"{message.stream} {message.seq}: {result.detail or 'another message already had this number'}")

    async def _hq_ack(self, ack: HqAck) -> None:
        if await self._store.hq_ack(ack.incarnation, ack.seq_through, ack.last_hash):
            self.counters.hq_acks += 1
            self._outbox_wake.set()
        else:
            self.counters.hq_acks_refused += 1
            self._alert("hq_ack_refused", f"HQ acknowledges event {ack.seq_through} of {ack.incarnation} with hash {ack.last_hash}")

    async def _ask(self, connection: Connection, enrolment: Enrolment, upward: Upward) -> None:
        while True:
            self._needs_changed.clear()
            has_snapshot = self._store.has_catalogue()
            # What is in hand may be what is missing: time stands still for as long as the store works on it. A flood of other messages
            # does not silence us: between two batches it goes on.
            now_ms = self._settled_ms - self._timings.gap_ms if self._in_hand else self._clock.link_ms()
            for missing in self._needs.due(self._store.reached(), has_snapshot=has_snapshot, now_ms=now_ms):
                request = self._sync_request(enrolment, missing)
                if request is None:
                    self._note_staging()
                elif await upward.publish(connection, _SYNC, encode_sync(request)):
                    self.counters.sync_requests += 1
                    self.changed.set()
                    log.info("stream=%s from=%s to=%s asked for again", missing.stream, missing.from_seq, missing.to_seq)
            await wait_until(self._needs_changed, None if self._in_hand else self._needs.deadline_ms, self._clock)

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(self._timings.tend_ms / 1_000)
            self._ask_for(await self._store.tend())

    async def _reply(self, connection: Connection, upward: Upward) -> None:
        """Answer queries, one after the other. What is lost with the connection is asked again, or nobody waits for it any more."""
        while True:
            await self._queries_waiting.wait()
            self._queries_waiting.clear()
            while self._queries:
                query = self._queries.popleft()
                if query.expires_ms is not None and query.expires_ms >= self._clock.wall_ms():
                    await upward.publish(connection, _REPLY, await self._store.answer(query))
                    self.counters.replies += 1

    def _sync_request(self, enrolment: Enrolment, missing: Missing) -> SyncRequest | None:
        """None: the snapshot whose chunks were missing is not being received any more, and without them a whole one would be asked for."""
        chunks = self._store.missing_chunks() if missing.what is Lack.CHUNKS else None
        if missing.what is Lack.CHUNKS and (chunks is None or not chunks[1]):
            return None
        since_ms = self._store.restored_since_ms() if missing.what is Lack.HISTORY else None
        return SyncRequest(
            store=enrolment.store,
            incarnation=self._store.outbox_state().incarnation,
            stream=missing.stream,
            stream_incarnation=missing.incarnation,
            from_seq=missing.from_seq,
            to_seq=missing.to_seq,
            snapshot=None if chunks is None else chunks[0],
            chunks=() if chunks is None else chunks[1],
            since=None if since_ms is None else datetime.fromtimestamp(since_ms / 1_000, UTC),
        )

    async def _tell_state(self, connection: Connection, enrolment: Enrolment, upward: Upward) -> None:
        while True:
            await asyncio.sleep(self._timings.state_ms / 1_000)
            await self._say_state(connection, enrolment, upward)

    async def _say_state(self, connection: Connection, enrolment: Enrolment, upward: Upward) -> None:
        summary = self._store.state_summary()
        if await upward.publish(connection, _STATE, self._birth(enrolment, summary), retain=True):
            self.head_told = HeadTold(summary.audit_entry, self._clock.now_ms())

    def _birth(self, enrolment: Enrolment, summary: StateSummary) -> bytes:
        state = self._store.outbox_state()
        return encode_state(
            Birth(
                store=enrolment.store,
                incarnation=state.incarnation,
                boot=self._clock.boot_id,
                version=summary.version,
                types=SUPPORTED_TYPES,
                cursors={name: StreamPosition(at.incarnation, at.seq) for name, at in self._store.cursors().items()},
                snapshot=summary.snapshot,
                up_seq=state.last_seq,
                up_hash=state.last_hash,
                labels=LabelCounts(summary.labels_total, summary.labels_proven),
                audit=AuditHead(summary.audit_entry, summary.audit_hash, summary.evidence_key or None),
                config=summary.config,
                zone=enrolment.zone,
                keys=tuple(self._keys(enrolment)),
                restored=self._store.restored_since_ms() is not None,
            )
        )

    def _link_up(self, address: MqttAddress) -> None:
        self.connected, self.last_error = True, None
        self.counters.connections += 1
        self.changed.set()
        log.info("broker=%s connected", address)

    def _link_lost(self, error: LinkLost, *, was_connected: bool) -> None:
        first = was_connected or self.last_error is None
        self.last_error = str(error)
        self.counters.connections_failed += not was_connected
        log.log(logging.WARNING if first else logging.DEBUG, "link to HQ: %s", error)

    def _publish_refused(self, error: PublishRefused) -> None:
        self.last_error = str(error)
        self.changed.set()
        self._alert("hq_publish_refused", str(error))

    def _backoff_ms(self, failures: int) -> int:
        low, high = self._timings.backoff_min_ms, self._timings.backoff_max_ms
        return low + int(self._random() * (min(high, low << min(failures, 16)) - low))

    def _alert(self, kind: str, detail: str) -> None:
        """One of a kind per interval goes to the store; the rest is counted."""
        now_ms = self._clock.link_ms()
        last_ms = self._alerted_ms.get(kind)
        if last_ms is not None and now_ms - last_ms < self._timings.alert_ms:
            self.counters.alerts_suppressed += 1
            return
        self._alerted_ms[kind] = now_ms
        log.warning("alert=%s %s", kind, detail)
        self._alerts.append((kind, detail))
        self._alerts_waiting.set()

    async def _record_alerts(self) -> None:
        while True:
            await self._alerts_waiting.wait()
            self._alerts_waiting.clear()
            while self._alerts:
                await self._store.note_alert(*self._alerts.popleft())


def broker_address(broker: Broker) -> MqttAddress:
    """The broker of an enrolment as the link wants it."""
    return MqttAddress(
        broker.host,
        broker.port,
        broker.tls,
        broker.ca,
        broker.username,
        broker.password,
        broker.certificate,
        broker.key,
        None if broker.mqtt is None else MqttVersion(broker.mqtt),
    )


async def _after(event: asyncio.Event, work: Callable[[], Coroutine[object, object, None]]) -> None:
    await event.wait()
    await work()


def _first(group: BaseExceptionGroup[LinkLost]) -> LinkLost:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LinkLost)
    return error
