"""A light store: the daemon's own sync code over rows in memory. It keeps the rules of the wire and has no labels, tills or disk."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import deque
from dataclasses import dataclass

from edge.hq_ports import Missing, OutboxState, Outcome, ReceiveResult, StateSummary
from protocols.hq import (
    Decision,
    Duplicate,
    Fork,
    Gap,
    InOrder,
    Message,
    NewIncarnation,
    Stale,
    StreamCursor,
    decide,
    restarts_stream,
    utc_text,
    uuid7,
)
from protocols.hq_enrol import Enrolment, parse_enrolment
from protocols.hq_events import FIRST_PREV_HASH, Event, EventKind, Stage, StagedAck, encode_ack_data, make_event
from protocols.hq_messages import SnapshotManifest
from protocols.hq_zone import ZoneChunk


class LightClock:
    """The machine's clock; the boot is this process."""

    def __init__(self, boot_id: str = "boot-1") -> None:
        self.boot_id = boot_id

    def now_ms(self) -> int:
        return self.link_ms()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def wall_trusted(self) -> bool:
        return True

    def link_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        await asyncio.sleep(duration_ms / 1_000)


@dataclass(frozen=True, slots=True)
class Sent:
    """An event that waits for head office, and when it was made."""

    event: Event
    made_ns: int


class LightStore:
    """An `edge.hq_ports.SyncStore`."""

    def __init__(self, enrolment: bytes, incarnation: str, clock: LightClock) -> None:
        self.wake = asyncio.Event()
        self.enrolled = asyncio.Event()
        self.changed = asyncio.Event()
        self.latencies_ns: list[int] = []  # from the event's commit to head office's signed word that it has it
        self.applied: dict[tuple[str, int], int] = {}  # (stream, seq) -> monotonic ns
        self.enrol(enrolment)
        self._clock = clock
        self._incarnation = incarnation
        self._cursors: dict[str, StreamCursor] = {}
        self._retired: set[tuple[str, str]] = set()
        self._digests: dict[tuple[str, str, int], str] = {}
        self._held: dict[tuple[str, str, int], Message] = {}
        self._waiting: deque[Sent] = deque()
        self._acked = 0
        self._last = 0
        self._last_hash = FIRST_PREV_HASH
        self._snapshot: str | None = None

    def enrol(self, text: bytes) -> None:
        self._enrolment = parse_enrolment(text)
        self.enrolled.set()

    # -- what happens in the store -----------------------------------------------------------------------------------------

    def emit(self, kind: EventKind, data: str) -> int:
        """Commit an event; its number."""
        self._last += 1
        now_ms = self._clock.wall_ms()
        event_id = uuid7(now_ms, self._last.to_bytes(10, "big"))
        event = make_event(self._incarnation, self._last, kind, event_id, utc_text(now_ms), data, self._last_hash)
        self._last_hash = event.hash
        self._waiting.append(Sent(event, time.monotonic_ns()))
        self.wake.set()
        return self._last

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    # -- SyncStore ---------------------------------------------------------------------------------------------------------

    def enrolment(self) -> Enrolment | None:
        return self._enrolment

    def cursors(self) -> dict[str, StreamCursor]:
        return dict(self._cursors)

    def reached(self) -> dict[str, StreamCursor]:
        return dict(self._cursors)

    async def receive(self, message: Message) -> ReceiveResult:
        stream, seq = str(message.stream), message.seq
        assert seq is not None
        decision = self._decide(message)
        if isinstance(decision, NewIncarnation):
            if stream in self._cursors:
                self._retired.add((stream, self._cursors[stream].incarnation))
            self._cursors[stream] = StreamCursor(message.incarnation, 0)
            decision = self._decide(message)
        match decision:
            case InOrder():
                self._apply(message)
                while (held := self._held.pop((stream, message.incarnation, self._cursors[stream].seq + 1), None)) is not None:
                    self._apply(held)
                return ReceiveResult(Outcome.APPLIED)
            case Gap(missing_from, missing_to, hold):
                if hold:
                    self._held[stream, message.incarnation, seq] = message
                    self._digests[stream, message.incarnation, seq] = message.digest
                return ReceiveResult(Outcome.HELD, Missing(stream, message.incarnation, missing_from, missing_to), ask_now=not hold)
            case Duplicate():
                return ReceiveResult(Outcome.DUPLICATE)
            case Fork():
                return ReceiveResult(Outcome.FORK)
            case Stale() | NewIncarnation():
                return ReceiveResult(Outcome.STALE)

    async def receive_shared(self, chunk: ZoneChunk) -> bool:
        return True

    async def tend(self) -> tuple[Message, ...]:
        return ()

    def missing_chunks(self) -> tuple[str, tuple[int, ...]] | None:
        return None

    def restored_since_ms(self) -> int | None:
        return None

    async def answer(self, message: Message) -> bytes:
        raise AssertionError("nobody asks a light store")

    def outbox(self, after_seq: int, limit: int) -> list[Event]:
        start = max(after_seq, self._acked) - self._acked
        return [sent.event for sent in itertools.islice(self._waiting, start, start + limit)]

    def outbox_state(self) -> OutboxState:
        return OutboxState(self._incarnation, self._acked + 1, self._last, self._last_hash)

    async def hq_ack(self, incarnation: str, seq_through: int, last_hash: str) -> bool:
        if incarnation != self._incarnation or seq_through > self._last:
            return False
        if seq_through <= self._acked:
            return True
        if self._waiting[seq_through - self._acked - 1].event.hash != last_hash:
            return False
        now_ns = time.monotonic_ns()
        while self._acked < seq_through:
            self.latencies_ns.append(now_ns - self._waiting.popleft().made_ns)
            self._acked += 1
        self.changed.set()
        return True

    def has_catalogue(self) -> bool:
        return self._snapshot is not None

    def state_summary(self) -> StateSummary:
        return StateSummary("light", self._snapshot, 0, 0)

    async def note_alert(self, kind: str, detail: str) -> None:
        self.emit(EventKind.ALERT, json.dumps({"kind": kind, "detail": detail}))

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _decide(self, message: Message) -> Decision:
        stream, seq = str(message.stream), message.seq
        assert seq is not None
        return decide(
            self._cursors.get(stream),
            message.incarnation,
            seq,
            message.digest,
            self._digests.get((stream, message.incarnation, seq)),
            retired=(stream, message.incarnation) in self._retired,
            restarts=restarts_stream(message),
        )

    def _apply(self, message: Message) -> None:
        stream, seq = str(message.stream), message.seq
        assert seq is not None
        self._cursors[stream] = StreamCursor(message.incarnation, seq)
        self._digests[stream, message.incarnation, seq] = message.digest
        self.applied[stream, seq] = time.monotonic_ns()
        if isinstance(message.body, SnapshotManifest):
            self._snapshot = message.body.snapshot_id
            base = message.body.base_price_seq
            self._cursors["price"] = StreamCursor(message.body.price_incarnation, base)
        ack = StagedAck(stream, message.incarnation, seq, message.id, Stage.APPLIED)
        self.emit(EventKind.ACK, encode_ack_data(ack))
        self.changed.set()


def sale_body(sale_id: str, lines: int, number: int) -> str:
    """A sale as the daemon tells it, with `lines` lines: some 300 bytes and 170 for each line."""
    sold = [
        {
            "line_id": str(line),
            "sku": f"{(number * 7 + line) % 5000:06d}",
            "code": f"{(number * 7 + line) % 5000:013d}",
            "quantity": 1,
            "total_minor": 199 + line,
            "target_total_minor": 199 + line,
            "guard": None,
            "deposit_minor": 0,
            "tax_minor": 0,
        }
        for line in range(lines)
    ]
    body = {
        "sale_id": sale_id,
        "lane": "L1",
        "quote_id": f"q-{sale_id}",
        "made_at": "2026-11-21T19:26:00.000Z",
        "utc_offset_minutes": 60,
        "business_date": "2026-11-21",
        "clock_trusted": True,
        "lines": sold,
        "total_minor": sum(199 + line for line in range(lines)),
        "tenders": [{"type": "card", "amount_minor": sum(199 + line for line in range(lines))}],
        "flags": [],
        "refund_due_minor": 0,
    }
    return json.dumps(body, separators=(",", ":"))
