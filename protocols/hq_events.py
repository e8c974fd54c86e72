"""What a store says to HQ: the event chain, births, resend requests.

Pure. The store numbers all its events with ONE sequence per store incarnation, whatever their kind, and chains them by hash; the
`up/<kind>` topics only route. HQ's signed `ack.v1` names a sequence number and the hash that belongs to it, and only that lets the
store forget. The wire is described in docs/reference/hq.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocols.hq_control import QueryKind
from protocols.hq_fields import CHUNKS_MAX, UNREADABLE, Id, Incarnation, Instant, Seq, SeqOrNone, Sha256, StreamPosition

BATCH_EVENTS_MAX: Final = 20  # events in one message: HQ's flow limit
BATCH_DATA_MAX_BYTES: Final = 96 * 1024  # of data, written as JSON in JSON, in one message of several events: brokers take 128 KiB
EXCEPT_MAX: Final = 256  # as many messages as can wait behind a gap and be applied together
FIRST_PREV_HASH: Final = "0" * 64  # what the first event of an incarnation is chained to


class BadUpward(ValueError):
    """An upward message that breaks the contract: HQ counts it and does not book it."""


class EventKind(StrEnum):
    SALE = "sale"
    RETURN = "return"
    VOID = "void"
    STOCK = "stock"
    LABEL = "label"
    ACK = "ack"
    ALERT = "alert"


class Stage(StrEnum):
    """How far a downward message has come in the store."""

    RECEIVED = "received"  # its row is committed
    APPLIED = "applied"  # its rows are in force
    CONFIRMED = "confirmed"  # every label concerned is proven
    HELD = "held"  # an anomaly stop waits for a release
    REJECTED = "rejected"  # it changes nothing, see the reason


class Event(Struct, frozen=True):
    """One link of the chain. `data` is JSON *text*, hashed and stored as it is; `time` is RFC 3339 UTC."""

    seq: Seq
    kind: EventKind
    id: Annotated[str, Meta(pattern=r"^[!-~]{1,64}\Z")]  # without control characters: the hash joins the fields by newlines
    time: Annotated[str, Meta(pattern=r"^[!-~]{1,40}\Z")]
    data: str
    prev_hash: Sha256
    hash: Sha256


class UpBatch(Struct, frozen=True):
    """Consecutive events of one kind."""

    store: str
    incarnation: Incarnation
    events: Annotated[tuple[Event, ...], Meta(min_length=1, max_length=BATCH_EVENTS_MAX)]


class StagedAck(Struct, frozen=True, omit_defaults=True):
    """Data of an `ack` event. `labels` counts the labels proven so far.

    With `first` it is cumulative: everything from `first` through `seq` of the stream, except what is named in `except`, which has an
    ack of its own with its reason. `id` is the message at `seq`.
    """

    stream: str
    incarnation: Incarnation
    seq: Seq
    id: str
    stage: Stage
    reason: str | None = None
    labels: int = 0
    first: Seq | None = None
    except_: Annotated[tuple[Seq, ...], Meta(max_length=EXCEPT_MAX)] = msgspec.field(default=(), name="except")


class LabelCounts(Struct, frozen=True):
    total: SeqOrNone
    proven: SeqOrNone


class AuditHead(Struct, frozen=True):
    """How far the store's audit chain is, for HQ to hold against it: entry 0 and 64 zeros before the first (docs/reference/evidence.md).

    `key` is the public half of the Ed25519 key that signs the store's evidence bundles, base64.
    """

    entry: SeqOrNone
    hash: Sha256
    key: Annotated[str, Meta(max_length=64)] | None = None


class ConfigVersion(Struct, frozen=True):
    """Which of HQ's settings are in force."""

    version: Seq
    sha256: Sha256


class Birth(Struct, frozen=True, kw_only=True):
    """Retained `up/state` of a connected store. `snapshot` None: it has no catalogue yet. `config` None: HQ has set nothing.

    `keys` names HQ's keys that the store believes. `restored`: its file came from a copy, and it asks for what that has forgotten.
    """

    store: str
    incarnation: Incarnation
    boot: str
    online: bool = True
    version: str
    types: tuple[str, ...]
    cursors: dict[str, StreamPosition]
    snapshot: str | None
    up_seq: SeqOrNone
    up_hash: Sha256
    labels: LabelCounts
    audit: AuditHead | None = None  # None: an older program, here and below
    config: ConfigVersion | None = None
    zone: str | None = None
    keys: tuple[str, ...] = ()
    restored: bool = False


class Death(Struct, frozen=True, kw_only=True):
    """The broker publishes it for a store that went silent; `boot` pairs it with its birth."""

    store: str
    incarnation: Incarnation
    boot: str
    online: bool = False


HISTORY: Final = "history"  # in place of a stream in a request


class SyncRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Send me `from_seq` up to `to_seq` of a stream again (None: everything newer). Stream "bulk" from 0: send me a snapshot.

    With `chunks`: these chunks of `snapshot` are missing, say them on this store's own stream. Stream "history": this file is a copy
    that knows nothing after `since`; send `history.v1`.
    """

    store: str
    incarnation: Incarnation
    stream: str
    stream_incarnation: Incarnation | None
    from_seq: SeqOrNone = msgspec.field(name="from")
    to_seq: SeqOrNone | None = msgspec.field(name="to")
    snapshot: Id | None = None
    chunks: Annotated[tuple[SeqOrNone, ...], Meta(max_length=CHUNKS_MAX)] = ()
    since: Instant | None = None


class AsOf(Struct, frozen=True):
    """How far the store was when it answered: its own events, and HQ's streams."""

    up_seq: SeqOrNone
    cursors: dict[str, StreamPosition]


class Reply(Struct, frozen=True, kw_only=True):
    """Answer to a query on `up/rpl`: not an event, not chained, said again when the query comes again.

    `correlation` is the id of the query's message. `next` is what to put into `after` for the next page; None: this was the last one.
    """

    store: str
    incarnation: Incarnation
    correlation: str
    what: QueryKind
    as_of: AsOf
    rows: tuple[msgspec.Raw, ...]
    next: str | None = None


def covered(ack: StagedAck) -> Iterator[int]:
    """The sequence numbers that an ack speaks of."""
    left_out = frozenset(ack.except_)
    return (seq for seq in range(ack.first or ack.seq, ack.seq + 1) if seq not in left_out)


def chain_hash(incarnation: str, seq: int, kind: str, event_id: str, time: str, data: str, prev_hash: str) -> str:
    """The hash of an event: SHA-256 in hex over its fields joined by newlines, UTF-8."""
    text = "\n".join((incarnation, str(seq), kind, event_id, time, data, prev_hash))
    return hashlib.sha256(text.encode()).hexdigest()


def make_event(incarnation: str, seq: int, kind: EventKind, event_id: str, time: str, data: str, prev_hash: str) -> Event:
    """The next link after `prev_hash`."""
    return Event(seq, kind, event_id, time, data, prev_hash, chain_hash(incarnation, seq, kind, event_id, time, data, prev_hash))


def encode_ack_data(ack: StagedAck) -> str:
    """The `data` text of an `ack` event."""
    return msgspec.json.encode(ack).decode()


def batches(events: Sequence[Event]) -> list[tuple[Event, ...]]:
    """Cut events in sequence order into messages: runs of consecutive numbers of one kind, at most `BATCH_EVENTS_MAX` long and, unless
    one event is longer by itself, with at most `BATCH_DATA_MAX_BYTES` of data."""
    runs: list[list[Event]] = []
    total = 0
    for event in events:
        last = runs[-1] if runs else []
        follows = bool(last) and last[-1].kind == event.kind and last[-1].seq + 1 == event.seq
        size = len(msgspec.json.encode(event.data))  # a text of another script takes up to three times its characters
        if follows and len(last) < BATCH_EVENTS_MAX and total + size <= BATCH_DATA_MAX_BYTES:
            last.append(event)
            total += size
        else:
            runs.append([event])
            total = size
    return [tuple(run) for run in runs]


def encode_up_batch(store: str, incarnation: str, events: tuple[Event, ...]) -> bytes:
    """The message for `up/<kind>`."""
    return msgspec.json.encode(UpBatch(store, incarnation, events))


def verify_up_batch(kind: str, raw: bytes) -> UpBatch:
    """A message from `up/<kind>`, every hash computed again and every link inside it checked. Raises `BadUpward`.

    The link to the event before the batch is the receiver's to check: it alone knows that event's hash.
    """
    try:
        batch = _UP_BATCH.decode(raw)
    except UNREADABLE as error:
        raise BadUpward(str(error)) from error
    before: Event | None = None
    for event in batch.events:
        if event.kind != kind:
            raise BadUpward(f"event {event.seq} is of kind {event.kind}, not {kind}")
        if event.hash != chain_hash(batch.incarnation, event.seq, event.kind, event.id, event.time, event.data, event.prev_hash):
            raise BadUpward(f"event {event.seq} does not have its hash")
        if before is not None and (event.seq != before.seq + 1 or event.prev_hash != before.hash):
            raise BadUpward(f"event {event.seq} is not chained to event {before.seq}")
        if event.seq == 1 and event.prev_hash != FIRST_PREV_HASH:
            raise BadUpward("the first event is chained to another one")
        before = event
    return batch


def encode_state(state: Birth | Death) -> bytes:
    """The retained message for `up/state`, or the will."""
    return msgspec.json.encode(state)


def parse_state(raw: bytes) -> Birth | Death:
    """Raises `BadUpward`."""
    try:
        return _BIRTH.decode(raw) if _ONLINE.decode(raw).online else _DEATH.decode(raw)
    except UNREADABLE as error:
        raise BadUpward(str(error)) from error


def encode_sync(request: SyncRequest) -> bytes:
    """The message for `up/sync`."""
    return msgspec.json.encode(request)


def parse_sync(raw: bytes) -> SyncRequest:
    """Raises `BadUpward`."""
    try:
        return _SYNC.decode(raw)
    except UNREADABLE as error:
        raise BadUpward(str(error)) from error


def encode_reply(reply: Reply) -> bytes:
    """The message for `up/rpl`."""
    return msgspec.json.encode(reply)


def parse_reply(raw: bytes) -> Reply:
    """Raises `BadUpward`."""
    try:
        return _REPLY.decode(raw)
    except UNREADABLE as error:
        raise BadUpward(str(error)) from error


class _Online(Struct):
    online: bool


_UP_BATCH: Final = msgspec.json.Decoder(UpBatch)
_ONLINE: Final = msgspec.json.Decoder(_Online)
_BIRTH: Final = msgspec.json.Decoder(Birth)
_DEATH: Final = msgspec.json.Decoder(Death)
_SYNC: Final = msgspec.json.Decoder(SyncRequest)
_REPLY: Final = msgspec.json.Decoder(Reply)
