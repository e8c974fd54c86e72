"""The enrolment file: what a store must be told once before it can talk to HQ.

Pure: the text of the file in, a checked value out. The file holds HQ's *public* keys; the broker password is its only secret.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from msgspec import Meta, Struct

from protocols.hq import TOPIC_PREFIX, Topics, partition_of, public_key
from protocols.hq_fields import Incarnation

KEYS_MAX: Final = 4  # two in use while a key is changed, and room for one change that was not finished
FILE_MAX_BYTES: Final = 64 * 1024  # far above four keys and a path


class BadEnrolment(ValueError):
    """The file cannot be used. The text names the key and what was expected."""


class Broker(Struct, frozen=True, kw_only=True):
    """Where HQ's broker is. `ca` is the path of a PEM file; None with `tls` means the system's authorities."""

    host: Annotated[str, Meta(min_length=1, max_length=253)]
    port: Annotated[int, Meta(ge=1, le=65_535)]
    tls: bool = False
    ca: str | None = None
    username: str | None = None
    password: str | None = None


@dataclass(frozen=True, slots=True)
class Enrolment:
    """Who we are and whom we believe."""

    topics: Topics
    broker: Broker
    keys: Mapping[str, Ed25519PublicKey]
    hq_incarnation: str
    text: bytes  # the file as given, to be stored

    @property
    def store(self) -> str:
        return self.topics.store


def parse_enrolment(text: bytes) -> Enrolment:
    """Raises `BadEnrolment`."""
    if len(text) > FILE_MAX_BYTES:
        raise BadEnrolment(f"{len(text)} bytes, at most {FILE_MAX_BYTES} expected")
    try:
        wire = _FILE.decode(text)
    except msgspec.DecodeError as error:
        raise BadEnrolment(str(error)) from error
    if wire.partition is not None and wire.partition != partition_of(wire.store):
        raise BadEnrolment(f"partition: store {wire.store} belongs to {partition_of(wire.store)}, the file says {wire.partition}")
    if wire.broker.tls is False and wire.broker.ca is not None:
        raise BadEnrolment("broker.ca: given without tls")
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
    return Enrolment(topics, wire.broker, keys, wire.hq_incarnation, text)


class _Key(Struct):
    kid: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    public_key: str


class _File(Struct, forbid_unknown_fields=True):
    store: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    broker: Broker
    hq_keys: Annotated[list[_Key], Meta(min_length=1, max_length=KEYS_MAX)]
    hq_incarnation: Incarnation
    partition: str | None = None
    topic_prefix: str = TOPIC_PREFIX


_FILE: Final = msgspec.json.Decoder(_File)
