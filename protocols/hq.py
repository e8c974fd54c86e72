"""The contract between HQ and a store: topics, signed envelopes, and what a stream's next message means.

Pure: bytes in, typed messages out; time and random bytes are given. Downward messages are signed with Ed25519 and carry their place
in a stream (`incarnation`, gap-free `seq`). `parse_down` checks in the order size, signature, header, data. The bodies are in
`protocols.hq_messages`, the upward side in `protocols.hq_events`, the wire with examples in docs/reference/hq.md.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from msgspec import Meta, Struct

from protocols.hq_fields import Id, Incarnation, Instant, Seq, SeqOrNone, Sha256
from protocols.hq_messages import TYPES, BadBody, Body, Refused, SnapshotManifest, decode_body, decode_chunk, utc_ms

MESSAGE_MAX_BYTES: Final = 128 * 1024  # the smallest limit of the brokers in use (AWS IoT Core)
HEADER_MAX_BYTES: Final = 8 * 1024  # header of a message with a raw body; where the data is in the header, the message limit holds
HELD_ROWS_MAX: Final = 256  # messages kept behind a gap, per stream; further ones are dropped, a resend brings them back
HELD_MS_MAX: Final = 10_000  # how long a gap may stay open before the store asks: brokers reorder within seconds
PARTITIONS: Final = 32  # one HQ worker each at most; fixed, because store topics carry the number
TOPIC_PREFIX: Final = "rs/1"
SUPPORTED_TYPES: Final = tuple(sorted(TYPES))

_CONTEXT: Final = b"shelfd-hq-v1\0"
_SEAL: Final = re.compile(rb"v1 ([A-Za-z0-9_-]{1,32}) ([A-Za-z0-9_-]{86})")
_SEAL_MAX_BYTES: Final = 128  # longest first line: version, key id, 86 characters of signature
_LEVEL: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class Stream(StrEnum):
    """A downward sequence. Streams are independent: a snapshot does not delay a price."""

    PRICE = "price"
    STOCK = "stock"
    LABEL = "label"
    SYS = "sys"
    BULK = "bulk"


class HqMessageError(Exception):
    """A downward message that has no place in any stream. Count it, alert at a bounded rate, acknowledge it, store nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadMessage(HqMessageError):
    """Too large, or its header cannot be read: HQ or the broker is broken."""


class BadSignature(HqMessageError):
    """Not signed by a known HQ key: somebody else wrote it, or it was damaged on the way."""


class ForeignStore(HqMessageError):
    """Signed, but for another store: the broker delivers to the wrong place."""


@dataclass(frozen=True, slots=True)
class Message:
    """A downward message that HQ signed for this store.

    `stream` and `seq` are None for `dn/head` and `dn/ack` only. `digest` is the SHA-256 of the signed text: two messages with one place
    in a stream and different digests are a fork. `raw` is the message as it came, for the inbox. `expires_ms` is UTC; an expired
    message keeps its place in the stream.
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


class Signer:
    """HQ's side of the seal."""

    def __init__(self, kid: str, key: Ed25519PrivateKey) -> None:
        if _LEVEL.fullmatch(kid) is None:
            raise ValueError(f"{kid!r} cannot be a key id")
        self.kid = kid
        self._key = key

    @property
    def public_key(self) -> str:
        """Base64 of the 32 bytes, as in an enrolment file."""
        return base64.b64encode(self._key.public_key().public_bytes_raw()).decode()

    def seal(self, tail: str, signed: bytes) -> bytes:
        """The whole message for a topic tail: the seal line and what it signs."""
        signature = base64.urlsafe_b64encode(self._key.sign(_signed_bytes(tail, signed))).rstrip(b"=")
        return b"v1 " + self.kid.encode() + b" " + signature + b"\n" + signed


def public_key(text: str) -> Ed25519PublicKey:
    """A key from an enrolment file: base64 of 32 bytes. Raises ValueError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("not an Ed25519 public key: 32 bytes in base64 expected") from error


def verify(tail: str, raw: bytes, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    """The signed text of a message (all after the first newline). Raises `BadMessage` (size), then `BadSignature`."""
    if len(raw) > MESSAGE_MAX_BYTES:
        raise BadMessage(f"message of {len(raw)} bytes, at most {MESSAGE_MAX_BYTES} expected")
    line_end = raw.find(b"\n", 0, _SEAL_MAX_BYTES)
    seal = _SEAL.fullmatch(raw[:line_end]) if line_end > 0 else None
    if seal is None:
        raise BadSignature("no signature line 'v1 <kid> <signature>'")
    kid = seal.group(1).decode()
    key = keys.get(kid)
    if key is None:
        raise BadSignature(f"signed with unknown key {kid}")
    signed = raw[line_end + 1 :]
    try:
        key.verify(base64.urlsafe_b64decode(seal.group(2) + b"=="), _signed_bytes(tail, signed))
    except InvalidSignature as error:
        raise BadSignature(f"signature of key {kid} does not fit") from error
    return signed


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


@dataclass(frozen=True, slots=True)
class StreamCursor:
    """The last message of a stream that was applied in order. `seq` 0: none of this incarnation yet."""

    incarnation: str
    seq: int


@dataclass(frozen=True, slots=True)
class InOrder:
    """The next one: apply it and move the cursor to it. Then look at the held ones."""


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Seen before with the same digest: acknowledge, change nothing."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Before the cursor and no longer in the inbox, or of a retired incarnation: acknowledge, change nothing."""


@dataclass(frozen=True, slots=True)
class Fork:
    """Another message already had this place. Keep the first one, alert: HQ's log was rewritten, or a key is in wrong hands."""


@dataclass(frozen=True, slots=True)
class Gap:
    """`missing_from`..`missing_to` are missing before it. `hold`: keep it as held; else it is too far ahead and comes with the resend."""

    missing_from: int
    missing_to: int
    hold: bool


@dataclass(frozen=True, slots=True)
class NewIncarnation:
    """HQ's log was created or restored: retire the old incarnation for good, set the cursor to (incarnation, 0), decide again."""


Decision = InOrder | Duplicate | Stale | Fork | Gap | NewIncarnation


def decide(
    cursor: StreamCursor | None,
    incarnation: str,
    seq: int,
    digest: str,
    known_digest: str | None,
    *,
    retired: bool = False,
    restarts: bool = False,
) -> Decision:
    """What a message at (incarnation, seq) means for a stream.

    `cursor` None: nothing of the stream was ever seen. `known_digest`: digest of the message that the inbox has at this place, applied
    or held. `retired`: the incarnation was current once and is not any more. `restarts`: the message makes everything before it in its
    stream needless (a snapshot manifest, see `restarts_stream`).
    """
    if known_digest is not None:
        return Duplicate() if known_digest == digest else Fork()
    if retired:
        return Stale()
    if cursor is None or incarnation != cursor.incarnation:
        return NewIncarnation()
    if seq <= cursor.seq:
        return Stale()
    if seq == cursor.seq + 1 or restarts:
        return InOrder()
    return Gap(cursor.seq + 1, seq - 1, hold=seq - cursor.seq <= HELD_ROWS_MAX)


def restarts_stream(message: Message) -> bool:
    """Whether what came before this message in its stream is needless: a snapshot manifest begins the bulk stream anew."""
    return isinstance(message.body, SnapshotManifest)


class _Header(Struct):
    specversion: Literal["1.0"]
    id: Annotated[str, Meta(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}\Z")]
    source: Annotated[str, Meta(min_length=1, max_length=200)]
    type: Annotated[str, Meta(min_length=1, max_length=64)]
    subject: str
    time: Instant
    incarnation: Incarnation
    stream: str | None = None
    seq: Seq | None = None
    expires: Instant | None = None
    hash: Sha256 | None = None
    snapshot_id: Id | None = None
    n: SeqOrNone | None = None
    data: msgspec.Raw = msgspec.Raw()


_HEADER: Final = msgspec.json.Decoder(_Header)


def _parse(tail: str, raw: bytes, signed: bytes) -> Message:
    header_end = signed.find(b"\n")
    header_text = signed if header_end < 0 else signed[:header_end]
    body = None if header_end < 0 else memoryview(signed)[header_end + 1 :]
    if body is not None and len(header_text) > HEADER_MAX_BYTES:
        raise BadMessage(f"header of {len(header_text)} bytes, at most {HEADER_MAX_BYTES} expected before a raw body")
    try:
        header = _HEADER.decode(header_text)
    except msgspec.DecodeError as error:
        raise BadMessage(f"header: {error}") from error
    stream = _stream_of(tail, header)
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
        body=_body(tail, header, body, in_stream=stream is not None),
    )


def _signed_bytes(tail: str, signed: bytes) -> bytes:
    return _CONTEXT + tail.encode() + b"\0" + signed


def _stream_of(tail: str, header: _Header) -> Stream | None:
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
