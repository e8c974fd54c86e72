"""Chunks that HQ says once for all stores of a price zone.

A zone's message is signed for the zone (subject and topic), so it says who wrote it; what a chunk may do in a store is decided by that
store's own signed manifest alone, which names chunks by hash. So chunks have no place in any stream, come in any order and any number
of times, and one that no manifest names changes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from protocols.hq import HEADER_MAX_BYTES, utc_text
from protocols.hq_fields import UNREADABLE, Id, Incarnation, Instant, Level, SeqOrNone, Sha256
from protocols.hq_messages import BadBody, decode_chunk
from protocols.hq_seal import BadMessage, ForeignStore, Signer, verify


@dataclass(frozen=True, slots=True)
class ZoneChunk:
    """A chunk for whoever's manifest names its hash. `body` is compressed, and was read once: it can be used."""

    zone: str
    id: str
    incarnation: str
    sha256: str
    body: bytes


def zone_tail(zone: str) -> str:
    """The topic of a zone's chunks, after the prefix."""
    return f"zone/{zone}/bulk"


def zone_topic(prefix: str, zone: str) -> str:
    return f"{prefix}/{zone_tail(zone)}"


@dataclass(frozen=True, slots=True)
class ZoneDown:
    """A zone's chunk to write: HQ's side of `ZoneChunk`. `snapshot_id` and `n` are for people who look at the topic."""

    zone: str
    id: str
    source: str
    time_ms: int
    incarnation: str
    snapshot_id: str
    n: int
    body: bytes


def encode_zone_chunk(down: ZoneDown, signer: Signer) -> tuple[str, bytes]:
    """(topic after the prefix, sealed message)."""
    header = {
        "specversion": "1.0",
        "id": down.id,
        "source": down.source,
        "type": "snapshot.chunk.v1",
        "subject": f"zone/{down.zone}",
        "time": utc_text(down.time_ms),
        "incarnation": down.incarnation,
        "snapshot_id": down.snapshot_id,
        "n": down.n,
        "hash": hashlib.sha256(down.body).hexdigest(),
    }
    tail = zone_tail(down.zone)
    return tail, signer.seal(tail, msgspec.json.encode(header) + b"\n" + down.body)


def parse_zone(zone: str, raw: bytes, keys: Mapping[str, Ed25519PublicKey]) -> ZoneChunk:
    """A message from the topic of `zone`. Raises `BadMessage`, `BadSignature`, `ForeignStore`."""
    signed = verify(zone_tail(zone), raw, keys)
    end = signed.find(b"\n", 0, HEADER_MAX_BYTES + 1)
    if end < 0:
        raise BadMessage("a zone's chunk needs a header line and a raw body")
    try:
        header = _HEADER.decode(signed[:end])
    except UNREADABLE as error:
        raise BadMessage(f"header: {error}") from error
    if header.subject != f"zone/{zone}":
        raise ForeignStore(f"message for {header.subject!r}")
    body = signed[end + 1 :]
    if hashlib.sha256(body).hexdigest() != header.hash:
        raise BadMessage("the raw body does not have the hash in the header")
    try:
        decode_chunk(header.snapshot_id, header.n, header.hash, body)
    except BadBody as error:
        raise BadMessage(error.reason) from error
    return ZoneChunk(zone, header.id, header.incarnation, header.hash, body)


class ZoneHeader(Struct):
    """The header line of a zone's chunk."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, max_length=64)]
    source: Annotated[str, Meta(min_length=1, max_length=200)]
    type: Literal["snapshot.chunk.v1"]
    subject: str
    time: Instant
    incarnation: Incarnation
    snapshot_id: Id
    n: SeqOrNone
    hash: Sha256


ZoneName = Level
_HEADER = msgspec.json.Decoder(ZoneHeader)
