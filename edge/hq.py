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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drivers.base import Clock
from drivers.mqtt import Connection, LinkLost, MqttAddress, MqttLink, PublishRefused, Received, Will, stop_if_cancelled
from edge.hq_needs import Needs
from edge.hq_outbox import OutboxPublisher, Upward, wait_until
from edge.hq_ports import HqCounters, HqTimings, Missing, Outcome, ReceiveResult, StateSummary, SyncStore
from protocols.hq import SUPPORTED_TYPES, BadMessage, BadSignature, ForeignStore, Message, parse_down
from protocols.hq_enrol import Enrolment
from protocols.hq_events import AuditHead, Birth, Death, LabelCounts, SyncRequest, encode_state, encode_sync
from protocols.hq_messages import Head, HqAck, StreamPosition

log = logging.getLogger(__name__)

ALERTS_WAITING_MAX: Final = 16  # alerts that wait for the store; one of each kind per interval, so more means a fault of ours
_RANDOM: Final = secrets.SystemRandom().random
_STATE: Final = "up/state"
_SYNC: Final = "up/sync"


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
        broker = enrolment.broker
        address = MqttAddress(broker.host, broker.port, broker.tls, broker.ca, broker.username, broker.password)
        link = MqttLink(address, f"{enrolment.store}-hq")
        upward = Upward(enrolment.topics, self._clock, self._timings, self.counters, self._publish_refused)
        failures = 0
        while not self._enrolled.is_set():
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
            await connection.subscribe(enrolment.topics.topic("dn/#"))
            self._needs = Needs(self._timings)
            if not self._store.has_catalogue():
                self._needs.no_snapshot(now_ms=self._clock.link_ms())
            try:
                await self._say_state(connection, enrolment, upward)
                self._link_up(link)
                publisher = OutboxPublisher(self._store, upward, connection, self._clock, self._outbox_wake, self._timings)
                async with asyncio.TaskGroup() as tasks:
                    working = (
                        tasks.create_task(self._receive(connection, enrolment), name="hq receive"),
                        tasks.create_task(publisher.run(self.counters), name="hq publish"),
                        tasks.create_task(self._ask(connection, enrolment, upward), name="hq ask"),
                        tasks.create_task(self._tell_state(connection, enrolment, upward), name="hq state"),
                    )
                    await self._enrolled.wait()
                    for task in working:
                        task.cancel()
                    await asyncio.wait(working)  # in here: see `stop_if_cancelled`
            finally:
                # An orderly end sends no will, not even between the birth and its PUBACK; on a dead link this goes nowhere.
                upward.send(connection, _STATE, death, retain=True)

    async def _receive(self, connection: Connection, enrolment: Enrolment) -> None:
        """Commit, then acknowledge, one message after the other in arrival order."""
        while True:
            received = await connection.receive()
            self.counters.messages += 1
            await self._take(received, enrolment)
            connection.ack(received)
            self.changed.set()

    async def _take(self, received: Received, enrolment: Enrolment) -> None:
        tail = enrolment.topics.tail(received.topic)
        try:
            if tail is None:
                raise ForeignStore(f"message on {received.topic}")
            message = parse_down(tail, received.payload, enrolment.keys, enrolment.store)
        except BadSignature as error:
            self.counters.bad_signature += 1
            self._alert("hq_bad_signature", f"{tail}: {error.reason}")
        except ForeignStore as error:
            self.counters.foreign_store += 1
            self._alert("hq_foreign_store", f"{tail}: {error.reason}")
        except BadMessage as error:
            self.counters.bad_message += 1
            self._alert("hq_bad_message", f"{tail}: {error.reason}")
        else:
            await self._use(message)

    async def _use(self, message: Message) -> None:
        now_ms = self._clock.link_ms()
        if isinstance(message.body, Head):
            self._needs.head(message.body, self._store.cursors(), now_ms=now_ms)
        elif isinstance(message.body, HqAck):
            await self._hq_ack(message.body)
        elif message.stream is not None:
            result = await self._store.receive(message)
            self._count(message, result)
            if result.outcome in (Outcome.APPLIED, Outcome.REJECTED):
                self._needs.applied(message.stream, message.incarnation, now_ms=now_ms)
            if result.missing is not None:
                self._needs.gap(result.missing, at_once=result.ask_now, now_ms=now_ms)
        self._needs_changed.set()

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
            for missing in self._needs.due(self._store.cursors(), has_snapshot=has_snapshot, now_ms=self._clock.link_ms()):
                if await upward.publish(connection, _SYNC, encode_sync(self._sync_request(enrolment, missing))):
                    self.counters.sync_requests += 1
                    self.changed.set()
                    log.info("stream=%s from=%s to=%s asked for again", missing.stream, missing.from_seq, missing.to_seq)
            await wait_until(self._needs_changed, self._needs.deadline_ms, self._clock)

    def _sync_request(self, enrolment: Enrolment, missing: Missing) -> SyncRequest:
        return SyncRequest(
            store=enrolment.store,
            incarnation=self._store.outbox_state().incarnation,
            stream=missing.stream,
            stream_incarnation=missing.incarnation,
            from_seq=missing.from_seq,
            to_seq=missing.to_seq,
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
            )
        )

    def _link_up(self, link: MqttLink) -> None:
        self.connected, self.last_error = True, None
        self.counters.connections += 1
        self.changed.set()
        log.info("broker=%s connected", link.address)

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


def _first(group: BaseExceptionGroup[LinkLost]) -> LinkLost:
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    assert isinstance(error, LinkLost)
    return error
