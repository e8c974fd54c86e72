"""The way up: publishing to HQ's broker with a window, and the outbox until HQ acknowledges it.

A PUBACK only says that the broker has a message; HQ's signed ack says that HQ has it. So events are published from the first one that
HQ did not acknowledge, in sequence order, and again when no ack comes. A topic that the broker refuses rests; the others go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from drivers.base import Clock
from drivers.mqtt import ANSWER_TIMEOUT_S, Connection, LinkLost, PublishRefused
from edge.hq_ports import HqCounters, HqTimings, SyncStore
from protocols.hq import Topics
from protocols.hq_events import BATCH_EVENTS_MAX, batches, encode_up_batch

WINDOW_MESSAGES: Final = 20  # published without PUBACK: fills the round trip, and what a lost connection repeats stays small
WINDOW_EVENTS: Final = WINDOW_MESSAGES * BATCH_EVENTS_MAX  # published without HQ's ack: what a resend repeats while HQ is away


@dataclass(slots=True)
class _Pause:
    until_ms: int
    length_ms: int


class Upward:
    """Sends to the store's topics and keeps away from a topic that was refused, across connections."""

    def __init__(
        self, topics: Topics, clock: Clock, timings: HqTimings, counters: HqCounters, on_refused: Callable[[PublishRefused], None]
    ) -> None:
        self.topics = topics
        self._clock = clock
        self._timings = timings
        self._counters = counters
        self._on_refused = on_refused
        self._pauses: dict[str, _Pause] = {}

    def paused(self, tail: str) -> bool:
        """Whether the topic rests after a refusal."""
        pause = self._pauses.get(tail)
        return pause is not None and pause.until_ms > self._clock.link_ms()

    def next_resume_ms(self) -> int | None:
        """When the next resting topic may be tried again; None when none rests."""
        now_ms = self._clock.link_ms()
        return min((pause.until_ms for pause in self._pauses.values() if pause.until_ms > now_ms), default=None)

    def send(self, connection: Connection, tail: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[None]:
        """Hand over in order. A refusal is recorded here, even where the connection ends before anybody looks at the future."""
        future = connection.send(self.topics.topic(tail), payload, retain=retain)
        future.add_done_callback(lambda done: self._sent(tail, done))
        return future

    async def publish(self, connection: Connection, tail: str, payload: bytes, *, retain: bool = False) -> bool:
        """Send and wait for the PUBACK. False when the topic rests or was refused just now. Raises `LinkLost`."""
        if self.paused(tail):
            return False
        future = self.send(connection, tail, payload, retain=retain)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await future
        except PublishRefused:
            return False
        except TimeoutError as error:
            raise LinkLost(f"no PUBACK for {tail} within {ANSWER_TIMEOUT_S} s") from error
        return True

    def _sent(self, tail: str, future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, PublishRefused):
            before = self._pauses.get(tail)
            length_ms = self._timings.pause_ms if before is None else min(before.length_ms * 2, self._timings.pause_max_ms)
            self._pauses[tail] = _Pause(self._clock.link_ms() + length_ms, length_ms)
            self._counters.publish_refused += 1
            self._on_refused(error)
        elif error is None and not future.cancelled():
            self._pauses.pop(tail, None)


class OutboxPublisher:
    """Publishes the outbox on one connection."""

    def __init__(
        self, store: SyncStore, upward: Upward, connection: Connection, clock: Clock, wake: asyncio.Event, timings: HqTimings
    ) -> None:
        self._store = store
        self._upward = upward
        self._connection = connection
        self._clock = clock
        self._wake = wake
        self._timings = timings

    async def run(self, counters: HqCounters) -> None:
        """Until cancelled. `wake` is set when events were committed or acknowledged. Raises `LinkLost`."""
        incarnation = self._store.outbox_state().incarnation
        acked = sent = self._store.outbox_state().first_unacked_seq - 1
        patience_ms = self._timings.resend_ms
        quiet_since_ms = self._clock.link_ms()  # since the last progress of HQ's acks, or since there was nothing to acknowledge
        resume_ms: int | None = self._upward.next_resume_ms()
        while True:
            self._wake.clear()
            state, now_ms = self._store.outbox_state(), self._clock.link_ms()
            if state.incarnation != incarnation:
                incarnation, acked, sent = state.incarnation, state.first_unacked_seq - 1, state.first_unacked_seq - 1
            if state.first_unacked_seq - 1 > acked:
                acked = state.first_unacked_seq - 1
                quiet_since_ms, patience_ms = now_ms, self._timings.resend_ms
            sent = max(sent, acked)
            if sent == acked:
                quiet_since_ms = now_ms
            elif now_ms - quiet_since_ms >= patience_ms:
                sent, quiet_since_ms, patience_ms = acked, now_ms, min(patience_ms * 2, self._timings.resend_max_ms)
                counters.resends += 1
            if resume_ms is not None and resume_ms <= now_ms:
                sent = acked  # what was passed over while its topic rested
            sent = await self._publish(incarnation, sent, WINDOW_EVENTS - (sent - acked), counters)
            resume_ms = self._upward.next_resume_ms()
            await self._sleep(quiet_since_ms + patience_ms if sent > acked else None, resume_ms)

    async def _publish(self, incarnation: str, after_seq: int, room: int, counters: HqCounters) -> int:
        """Publish at most `room` events; the last sequence number dealt with."""
        for batch in batches(self._store.outbox(after_seq, room)) if room > 0 else []:
            tail = f"up/{batch[0].kind}"
            after_seq = batch[-1].seq
            if self._upward.paused(tail):
                continue
            await self._connection.room(WINDOW_MESSAGES)
            self._upward.send(self._connection, tail, encode_up_batch(self._upward.topics.store, incarnation, batch))
            counters.events_published += len(batch)
        return after_seq

    async def _sleep(self, *deadlines_ms: int | None) -> None:
        await wait_until(self._wake, min((at for at in deadlines_ms if at is not None), default=None), self._clock)


async def wait_until(event: asyncio.Event, deadline_ms: int | None, clock: Clock) -> bool:
    """Wait for the event or for link time `deadline_ms` (None: for ever). Whether the event was set."""
    timeout_s = None if deadline_ms is None else max(0, deadline_ms - clock.link_ms()) / 1_000
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    return True
