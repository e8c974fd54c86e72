"""The contract between HQ and a store: topics, signed envelopes, and what a stream's next message means.

Pure: bytes in, typed messages out; time and random bytes are given. Downward messages are signed with Ed25519 and carry their place
in a stream (`incarnation`, gap-free `seq`). `parse_down` checks in the order size, signature, header, data. The bodies are in
`protocols.hq_messages`, the upward side in `protocols.hq_events`, the wire with examples in docs/reference/hq.md.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from protocols.hq_fields import UNREADABLE, Id, Incarnation, Instant, Seq, SeqOrNone, Sha256, StreamPosition
from protocols.hq_messages import TYPES, BadBody, Body, Refused, SnapshotManifest, decode_body, decode_chunk, utc_ms
from protocols.hq_seal import (
    MESSAGE_MAX_BYTES,
    BadMessage,
    BadSignature,
    ForeignStore,
    HqMessageError,
    Signer,
    kid_of,
    public_key,
    verify,
)
from protocols.hq_stream import (
    HELD_MS_MAX,
    HELD_ROWS_MAX,
    Decision,
    Duplicate,
    Fork,
    Gap,
    InOrder,
    NewIncarnation,
    Stale,
    StreamCursor,
    decide,
)

__all__ = [
    "HEADER_MAX_BYTES",
    "HELD_MS_MAX",
    "HELD_ROWS_MAX",
    "MESSAGE_MAX_BYTES",
    "PARTITIONS",
    "SUPPORTED_TYPES",
    "TOPIC_PREFIX",
    "BadMessage",
    "BadSignature",
    "Decision",
    "Down",
    "Duplicate",
    "ForeignStore",
    "Fork",
    "Gap",
    "HeaderFields",
    "HqMessageError",
    "InOrder",
    "Message",
    "NewIncarnation",
    "Signer",
    "Stale",
    "Stream",
    "StreamCursor",
    "Topics",
    "decide",
    "encode_down",
    "parse_down",
    "partition_of",
    "public_key",
    "raw_body",
    "reparse",
    "restarts_stream",
    "utc_text",
    "uuid7",
    "verify",
]

HEADER_MAX_BYTES: Final = 8 * 1024  # header of a message with a raw body; where the data is in the header, the message limit holds
PARTITIONS: Final = 32  # one HQ worker each at most; fixed, because store topics carry the number
TOPIC_PREFIX: Final = "rs/1"
SUPPORTED_TYPES: Final = tuple(sorted(TYPES))

_LEVEL: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Stream(StrEnum):
    """A downward sequence. Streams are independent: a snapshot does not delay a price."""

    PRICE = "price"
    STOCK = "stock"
    LABEL = "label"
    SYS = "sys"
    BULK = "bulk"


@dataclass(frozen=True, slots=True)
class Message:
    """A downward message that HQ signed for this store.

    `stream` and `seq` are None for `dn/head` and `dn/ack` only. `digest` is the SHA-256 of the signed text: two messages with one place
    in a stream and different digests are a fork. `raw` is the message as it came, for the inbox. `expires_ms` is UTC; an expired
    message keeps its place in the stream. `after` are places in other streams that must be applied first. `kid` names the key it is
    signed with.
    """

    tail: str
    type: str
    id: str
    source: str
    store: str
    time_ms: int
    stream: Stream | None
    seq: int | None
    incarnation: str
    expires_ms: int | None
    digest: str
    raw: bytes
    body: Body
    after: Mapping[str, StreamPosition] = field(default_factory=dict)
    kid: str = ""


def partition_of(store: str) -> str:
    """The two-digit partition "00".."31" of a store: first byte of the SHA-256 of its id, modulo 32."""
    return f"{hashlib.sha256(store.encode()).digest()[0] % PARTITIONS:02d}"


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics of one store. Raises ValueError for parts that would change the shape of a topic."""

    store: str
    partition: str
    prefix: str = TOPIC_PREFIX

    def __post_init__(self) -> None:
        for level in (self.store, self.partition, *self.prefix.split("/")):
            if _LEVEL.fullmatch(level) is None:
                raise ValueError(f"{level!r} cannot be a topic level: letters, digits, '-' and '_', at most 32")

    def topic(self, tail: str) -> str:
        """The full topic of a tail such as "dn/price"."""
        return f"{self.prefix}/{self.partition}/{self.store}/{tail}"

    def tail(self, topic: str) -> str | None:
        """The tail of a full topic of this store; None for anything else."""
        base = self.topic("")
        return topic[len(base) :] if topic.startswith(base) else None


def parse_down(tail: str, raw: bytes, keys: Mapping[str, Ed25519PublicKey], store: str) -> Message:
    """A message from topic tail `tail` (such as "dn/price").

    Raises `BadMessage`, `BadSignature`, `ForeignStore`: none of these has a place in a stream. Unusable *data* of a signed message in a
    stream does not raise: the body is `Refused`, so that the stream goes on behind it.
    """
    message = _parse(tail, raw, verify(tail, raw, keys))
    if message.store != store:
        raise ForeignStore(f"message for store {message.store!r}")
    return message


def reparse(tail: str, raw: bytes) -> Message:
    """A message that `parse_down` accepted earlier, from the inbox: its signing key may be retired by now, so it is not checked again."""
    return _parse(tail, raw, raw[raw.index(b"\n") + 1 :])


def raw_body(raw: bytes) -> bytes:
    """The raw body of an accepted message: what follows its signature and header lines. Raises ValueError where it has none."""
    return raw[raw.index(b"\n", raw.index(b"\n") + 1) + 1 :]


@dataclass(frozen=True, slots=True)
class Down:
    """A downward message to write: HQ's side of `Message`. Exactly one of `data` (JSON text) and `chunk` (raw body) is given."""

    type: str
    id: str
    source: str
    store: str
    time_ms: int
    incarnation: str
    seq: int | None
    data: bytes | None = None
    chunk: bytes | None = None
    snapshot_id: str | None = None
    n: int | None = None
    expires_ms: int | None = None
    after: Mapping[str, StreamPosition] = field(default_factory=dict)


def encode_down(down: Down, signer: Signer) -> tuple[str, bytes]:
    """(topic tail, sealed message). Raises KeyError for a type that is not in `TYPES`."""
    tail = TYPES[down.type][0]
    header: dict[str, object] = {
        "specversion": "1.0",
        "id": down.id,
        "source": down.source,
        "type": down.type,
        "subject": down.store,
        "time": utc_text(down.time_ms),
        "incarnation": down.incarnation,
    }
    if down.seq is not None:
        header |= {"stream": tail.removeprefix("dn/"), "seq": down.seq}
    if down.expires_ms is not None:
        header["expires"] = utc_text(down.expires_ms)
    if down.after:
        header["after"] = dict(down.after)
    if down.chunk is not None:
        header |= {"snapshot_id": down.snapshot_id, "n": down.n, "hash": hashlib.sha256(down.chunk).hexdigest()}
        return tail, signer.seal(tail, msgspec.json.encode(header) + b"\n" + down.chunk)
    header["data"] = msgspec.Raw(down.data or b"{}")
    return tail, signer.seal(tail, msgspec.json.encode(header))


def uuid7(time_ms: int, random: bytes) -> str:
    """A UUIDv7 (RFC 9562) from UTC milliseconds and 10 random bytes; ids of later milliseconds sort later."""
    if len(random) != 10:
        raise ValueError("10 random bytes expected")
    value = bytearray((time_ms & (2**48 - 1)).to_bytes(6, "big") + random)
    value[6] = 0x70 | value[6] & 0x0F
    value[8] = 0x80 | value[8] & 0x3F
    text = value.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def utc_text(time_ms: int) -> str:
    """RFC 3339 in UTC with milliseconds, such as 2025-01-31T08:00:00.000Z."""
    seconds, millis = divmod(time_ms, 1_000)
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S") + f".{millis:03d}Z"


def restarts_stream(message: Message) -> bool:
    """Whether what came before this message in its stream is needless: a snapshot manifest begins the bulk stream anew."""
    return isinstance(message.body, SnapshotManifest)


MessageId = Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
TypeName = Annotated[str, Meta(min_length=1, max_length=64)]


class HeaderFields(Struct):
    """The header line of a downward message, beside its data."""

    specversion: Literal["1.0"]
    id: MessageId
    source: Annotated[str, Meta(min_length=1, max_length=200)]
    type: TypeName
    subject: str
    time: Instant
    incarnation: Incarnation
    stream: str | None = None
    seq: Seq | None = None
    expires: Instant | None = None
    hash: Sha256 | None = None
    snapshot_id: Id | None = None
    n: SeqOrNone | None = None
    after: dict[Stream, StreamPosition] | None = None


class _Header(HeaderFields):
    data: msgspec.Raw = msgspec.Raw()


class _Placed(Struct):
    """What of a header says which message it is, and where in its stream."""

    specversion: Literal["1.0"]
    id: MessageId
    type: TypeName
    subject: str
    incarnation: Incarnation
    stream: str
    seq: Seq


_DECODER: Final = msgspec.json.Decoder(_Header)
_PLACED: Final = msgspec.json.Decoder(_Placed)


def _parse(tail: str, raw: bytes, signed: bytes) -> Message:
    header_end = signed.find(b"\n")
    header_text = signed if header_end < 0 else signed[:header_end]
    body = None if header_end < 0 else memoryview(signed)[header_end + 1 :]
    if body is not None and len(header_text) > HEADER_MAX_BYTES:
        raise BadMessage(f"header of {len(header_text)} bytes, at most {HEADER_MAX_BYTES} expected before a raw body")
    try:
        header = _DECODER.decode(header_text)
    except UNREADABLE as error:
        return _unreadable(tail, raw, signed, header_text, f"header: {error}")
    stream = _stream_of(tail, header)
    usable = _body(tail, header, body, in_stream=stream is not None)
    return Message(
        tail=tail,
        type=header.type,
        id=header.id,
        source=header.source,
        store=header.subject,
        time_ms=utc_ms(header.time),
        stream=stream,
        seq=header.seq,
        incarnation=header.incarnation,
        expires_ms=None if header.expires is None else utc_ms(header.expires),
        digest=hashlib.sha256(signed).hexdigest(),
        raw=raw,
        body=usable,
        after={} if isinstance(usable, Refused) else {str(name): position for name, position in (header.after or {}).items()},
        kid=kid_of(raw),
    )


def _unreadable(tail: str, raw: bytes, signed: bytes, header_text: bytes, reason: str) -> Message:
    """A message whose header breaks the contract beside its place: it keeps that, or its stream would wait for it for ever.

    Raises `BadMessage` where there is no place.
    """
    try:
        header = _PLACED.decode(header_text)
    except UNREADABLE as error:
        raise BadMessage(reason) from error
    return Message(
        tail=tail,
        type=header.type,
        id=header.id,
        source="",
        store=header.subject,
        time_ms=0,
        stream=_stream_of(tail, header),
        seq=header.seq,
        incarnation=header.incarnation,
        expires_ms=None,
        digest=hashlib.sha256(signed).hexdigest(),
        raw=raw,
        body=Refused(reason),
        kid=kid_of(raw),
    )


def _stream_of(tail: str, header: _Header | _Placed) -> Stream | None:
    """Raises `BadMessage` where topic, stream, sequence number and type do not go together."""
    if tail in ("dn/head", "dn/ack"):
        if header.stream is not None or header.seq is not None:
            raise BadMessage(f"{tail} carries a stream position")
        if header.type not in TYPES or TYPES[header.type][0] != tail:
            raise BadMessage(f"type {header.type!r} on {tail}")
        return None
    if header.stream is None or header.seq is None:
        raise BadMessage("stream or seq is missing")
    if tail != f"dn/{header.stream}" or header.stream not in set(Stream):
        raise BadMessage(f"stream {header.stream!r} on {tail}")
    return Stream(header.stream)


def _body(tail: str, header: _Header, raw_body: memoryview | None, *, in_stream: bool) -> Body:
    try:
        return _decode(tail, header, raw_body)
    except BadBody as error:
        if not in_stream:
            raise BadMessage(error.reason) from error
        return Refused(error.reason, error.row)


def _decode(tail: str, header: _Header, raw_body: memoryview | None) -> Body:
    if header.type not in TYPES:
        raise BadBody(f"type {header.type!r} is not supported")
    if header.after and (header.expires is None or tail.removeprefix("dn/") in header.after):
        raise BadBody("after needs expires, and names other streams than its own")
    if TYPES[header.type][0] != tail:
        raise BadBody(f"type {header.type!r} does not belong on {tail}")
    if header.type == "snapshot.chunk.v1":
        if raw_body is None or bytes(header.data) or header.snapshot_id is None or header.n is None:
            raise BadBody("a snapshot chunk needs snapshot_id, n and a raw body, and no data")
        digest = hashlib.sha256(raw_body).hexdigest()
        if header.hash != digest:
            raise BadBody("the raw body does not have the hash in the header")
        return decode_chunk(header.snapshot_id, header.n, digest, raw_body)
    if not bytes(header.data) or raw_body is not None:
        raise BadBody("data is missing, or a raw body where none belongs")
    return decode_body(header.type, header.data)
