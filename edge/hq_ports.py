"""What HQ sync needs from the daemon's store, and the numbers it runs with and counts.

`SyncStore` is implemented by the daemon's store; `edge.hq` only knows this.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from protocols.hq import HELD_MS_MAX, Message, StreamCursor
from protocols.hq_enrol import Enrolment
from protocols.hq_events import FIRST_PREV_HASH, ConfigVersion, Event
from protocols.hq_zone import ZoneChunk


class Outcome(StrEnum):
    """What the store made of a message, as committed."""

    APPLIED = "applied"  # in order: its rows are in force (held rows behind it may have followed)
    HELD = "held"  # behind a gap: kept, or dropped when too far ahead
    DUPLICATE = "duplicate"
    STALE = "stale"
    REJECTED = "rejected"  # in order, its data refused; the stream goes on behind it
    FORK = "fork"


class Lack(StrEnum):
    """What a store asks for."""

    MESSAGES = "messages"
    CHUNKS = "chunks"  # of the snapshot that is being received
    HISTORY = "history"  # of which the file, a copy, knows nothing


@dataclass(frozen=True, slots=True)
class Missing:
    """A stretch of a stream that the store lacks. `incarnation` None: the store knows no incarnation of the stream yet."""

    stream: str
    incarnation: str | None
    from_seq: int
    to_seq: int | None  # None: everything newer
    what: Lack = Lack.MESSAGES


@dataclass(frozen=True, slots=True)
class ReceiveResult:
    """`missing` is the gap that the stream has after this message, None where it has none.

    `HqSync` asks HQ for it when it is still open after `HELD_MS_MAX`; `ask_now` (more than `HELD_ROWS_MAX` held) asks at once.
    """

    outcome: Outcome
    missing: Missing | None = None
    ask_now: bool = False
    detail: str = ""  # for a rejected or forked message: why, in one line
    asked: tuple[Message, ...] = ()  # queries that wait for an answer now


@dataclass(frozen=True, slots=True)
class OutboxState:
    """The upward chain of this store incarnation. `last_seq` 0: no event yet, and `last_hash` is `FIRST_PREV_HASH`."""

    incarnation: str
    first_unacked_seq: int  # last_seq + 1 when everything is acknowledged
    last_seq: int
    last_hash: str


@dataclass(frozen=True, slots=True)
class StateSummary:
    """What a birth tells beyond cursors and chain. `snapshot` None: there is no catalogue yet. `evidence_key` "": there is none yet."""

    version: str
    snapshot: str | None
    labels_total: int
    labels_proven: int
    audit_entry: int = 0
    audit_hash: str = FIRST_PREV_HASH
    evidence_key: str = ""
    config: ConfigVersion | None = None  # HQ's settings in force


class SyncStore(Protocol):
    """The durable side. Synchronous methods read committed state and do not block on the writer."""

    def enrolment(self) -> Enrolment | None:
        """None until the store was enrolled."""

    def cursors(self) -> dict[str, StreamCursor]:
        """The last message applied in order, per stream; streams never heard of are absent."""

    def reached(self) -> dict[str, StreamCursor]:
        """The last message that is here with all before it, per stream: applied, or waiting for another stream."""

    async def receive(self, message: Message) -> ReceiveResult:
        """One transaction: inbox row, business rows, staged ack. It is committed when this returns."""

    async def receive_shared(self, chunk: ZoneChunk) -> bool:
        """A chunk of the store's zone. False: no manifest names it yet."""

    async def tend(self) -> tuple[Message, ...]:
        """What time brings (messages that waited too long, progress to tell); cheap where there is nothing. Queries to answer."""

    def missing_chunks(self) -> tuple[str, tuple[int, ...]] | None:
        """Of the snapshot that is being received: its id and what is still to come."""

    def restored_since_ms(self) -> int | None:
        """The file is a copy that knows nothing after this instant, and HQ has not told it yet; None: nothing is missing."""

    async def answer(self, message: Message) -> bytes:
        """The reply to a query, as `up/rpl` takes it."""

    def outbox(self, after_seq: int, limit: int) -> list[Event]:
        """Committed events of the current incarnation with seq > `after_seq` that HQ did not acknowledge, in sequence order."""

    def outbox_state(self) -> OutboxState:
        """Where the upward chain stands."""

    async def hq_ack(self, incarnation: str, seq_through: int, last_hash: str) -> bool:
        """Drop outbox rows up to `seq_through`. False, and nothing dropped, when incarnation or hash are not ours. Idempotent."""

    def has_catalogue(self) -> bool:
        """Whether prices are in force. Asked with every message: it must not cost more for a large store."""

    def state_summary(self) -> StateSummary:
        """For the birth."""

    async def note_alert(self, kind: str, detail: str) -> None:
        """Record something that HQ or staff should see (an `alert` event in the outbox)."""


@dataclass(frozen=True, slots=True)
class HqTimings:
    """Waiting times, all in `Clock.link_ms`: they are about the wire, so a scaled store clock does not touch them."""

    gap_ms: int = HELD_MS_MAX  # a gap this old is asked for
    head_ms: int = 2_000  # what a head announces may be on its way on its own topic
    chunks_ms: int = 30_000  # silence on bulk and zone in the middle of a snapshot after which its missing chunks are asked for
    snapshot_ms: int = 5_000  # silence on the bulk stream after which a store without catalogue asks for one
    ask_again_max_ms: int = 300_000  # a request that brings nothing is repeated at doubling pauses up to this
    resend_ms: int = 15_000  # no ack from HQ for this long: publish again from the first event that it did not acknowledge
    resend_max_ms: int = 300_000  # doubling up to this while HQ stays silent
    pause_ms: int = 60_000  # a topic that the broker refused rests this long, doubling
    pause_max_ms: int = 3_600_000
    alert_ms: int = 60_000  # one alert of a kind per this time; the others are counted in the next one
    backoff_min_ms: int = 1_000
    backoff_max_ms: int = 60_000  # a fleet that comes back after a broker restart spreads over a minute
    stable_ms: int = 60_000  # a connection that lived this long starts the back-off anew
    state_ms: int = 300_000  # the retained birth is brought up to date this often
    tend_ms: int = 5_000  # how often the store looks at what waits; progress is told at least so often


@dataclass(slots=True)
class HqCounters:
    """Running totals since start, for metrics. Written by the sync only."""

    connections: int = 0
    connections_failed: int = 0
    messages: int = 0
    applied: int = 0
    shared_chunks: int = 0
    replies: int = 0
    poison: int = 0
    held: int = 0
    duplicate: int = 0
    stale: int = 0
    rejected: int = 0
    fork: int = 0
    bad_signature: int = 0
    foreign_store: int = 0
    bad_message: int = 0
    hq_acks: int = 0
    hq_acks_refused: int = 0
    sync_requests: int = 0
    events_published: int = 0
    resends: int = 0
    publish_refused: int = 0
    alerts_suppressed: int = 0
