"""The enrolment file: what a store must be told once before it can talk to HQ.

Pure: the text of the file in, a checked value out. The file holds HQ's *public* keys; the broker password is its only secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final, Literal

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from protocols.hq import TOPIC_PREFIX, Topics, partition_of, public_key
from protocols.hq_control import KEYS_MAX
from protocols.hq_fields import UNREADABLE, Incarnation, Level, SeqOrNone

FILE_MAX_BYTES: Final = 64 * 1024  # far above four keys and a path


class BadEnrolment(ValueError):
    """The file cannot be used. The text names the key and what was expected."""


class Broker(Struct, frozen=True, kw_only=True):
    """Where HQ's broker is. `ca`, `certificate` and `key` are paths of PEM files; `ca` None with `tls` means the system's authorities.

    `mqtt`: the version that the broker speaks; None: 5, or 3.1.1 where it says so.
    """

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    tls: bool = False
    ca: str | None = None
    username: str | None = None
    password: str | None = None
    certificate: str | None = None
    key: str | None = None
    mqtt: Literal["5", "3.1.1"] | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who we are and whom we believe. `keys_revision` orders key sets: HQ's own messages change them later."""

    topics: Topics
    broker: Broker
    keys: Mapping[str, Ed25519PublicKey]
    hq_incarnation: str
    text: bytes  # the file as given, to be stored
    keys_revision: int = 0
    zone: str | None = None  # whose shared chunks the store listens to

    @property
    def store(self) -> str:
        return self.topics.store


def parse_enrolment(text: bytes) -> Enrolment:
    """Raises `BadEnrolment`."""
    if len(text) > FILE_MAX_BYTES:
        raise BadEnrolment(f"{len(text)} bytes, at most {FILE_MAX_BYTES} expected")
    try:
        wire = _FILE.decode(text)
    except UNREADABLE as error:
        raise BadEnrolment(str(error)) from error
    if wire.partition is not None and wire.partition != partition_of(wire.store):
        raise BadEnrolment(f"partition: store {wire.store} belongs to {partition_of(wire.store)}, the file says {wire.partition}")
    if wire.broker.tls is False and wire.broker.ca is not None:
        raise BadEnrolment("broker.ca: given without tls")
    if (wire.broker.certificate is None) != (wire.broker.key is None):
        raise BadEnrolment("broker.certificate: goes together with broker.key")
    if wire.broker.tls is False and wire.broker.certificate is not None:
        raise BadEnrolment("broker.certificate: given without tls")
    keys: dict[str, Ed25519PublicKey] = {}
    for index, key in enumerate(wire.hq_keys):
        try:
            keys[key.kid] = public_key(key.public_key)
        except ValueError as error:
            raise BadEnrolment(f"hq_keys[{index}].public_key: {error}") from error
    try:
        topics = Topics(wire.store, partition_of(wire.store), wire.topic_prefix)
    except ValueError as error:
        raise BadEnrolment(f"topic_prefix: {error}") from error
    return Enrolment(topics, wire.broker, keys, wire.hq_incarnation, text, wire.hq_keys_revision, wire.zone)


class EnrolmentKey(Struct):
    kid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    public_key: str


class EnrolmentFile(Struct, forbid_unknown_fields=True):
    """The file as it is written."""

    store: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    broker: Broker
    hq_keys: Annotated[list[EnrolmentKey], Meta(min_length=1, max_length=KEYS_MAX)]
    hq_incarnation: Incarnation
    partition: str | None = None
    topic_prefix: str = TOPIC_PREFIX
    hq_keys_revision: SeqOrNone = 0
    zone: Level | None = None


_FILE: Final = msgspec.json.Decoder(EnrolmentFile)
