"""What HQ says on the stream "sys": settings, keys, cancellations, questions, and what a restored store has forgotten.

Settings are one full document with a version, never a patch: what it leaves out is as the store's own configuration says.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from protocols.hq_fields import (
    CURVE_POINTS_MAX,
    LABEL_ITEMS_MAX,
    ROWS_MAX,
    UNREADABLE,
    Amount,
    Id,
    Incarnation,
    Kid,
    LabelName,
    Line,
    Quantity,
    Seq,
    SeqOrNone,
    Sha256,
    Sku,
)

KEYS_MAX: Final = 4  # two in use while a key is changed, and room for one change that was not finished
TARGETS_MAX: Final = 200  # messages that one cancellation names
PAGE_ROWS_MAX: Final = 500  # rows in one page of an answer
DOCUMENT_MAX_CHARS: Final = 16 * 1024  # of settings: far above the few keys that there are


class Settings(Struct, frozen=True, forbid_unknown_fields=True):
    """The keys that HQ may set, with the ranges of the configuration file. None: not given, the file's value holds."""

    anomaly_factor: Annotated[float, Meta(ge=1, le=1_000)] | None = msgspec.field(default=None, name="guard.anomaly_factor")
    anomaly_drop_percent: Annotated[float, Meta(ge=1, le=100)] | None = msgspec.field(default=None, name="guard.anomaly_drop_percent")
    anomaly_batch_percent: Annotated[float, Meta(ge=0.1, le=100)] | None = msgspec.field(default=None, name="guard.anomaly_batch_percent")
    default_template: Id | None = msgspec.field(default=None, name="labels.default_template")


class ConfigPut(Struct, frozen=True):
    """Version `version` of the settings. `document` is JSON *text*, so that `sha256` is over bytes that nobody has to write again."""

    version: Seq
    document: Annotated[str, Meta(max_length=DOCUMENT_MAX_CHARS)]
    sha256: Sha256

    def __post_init__(self) -> None:
        if hashlib.sha256(self.document.encode()).hexdigest() != self.sha256:
            raise ValueError("the document does not have its sha256")
        settings(self.document)


def settings(document: str) -> Settings:
    """What a settings document says. Raises ValueError naming the key that HQ may not set or the value that does not fit."""
    try:
        return _SETTINGS.decode(document)
    except UNREADABLE as error:
        raise ValueError(f"document: {error}") from error


class HqKey(Struct, frozen=True):
    """`public_key` is the 32 bytes of an Ed25519 key in base64."""

    kid: Kid
    public_key: str

    def __post_init__(self) -> None:
        try:
            size = len(base64.b64decode(self.public_key, validate=True))
        except (binascii.Error, ValueError):
            size = 0
        if size != 32:
            raise ValueError(f"key {self.kid}: 32 bytes in base64 expected")


class KeysPut(Struct, frozen=True):
    """From now on HQ signs with one of these keys, and with no other. The key that signed this message must be among them.

    So a change takes two messages: {old, new} signed with the old one, then {new} signed with the new one. `revision` grows.
    """

    revision: Seq
    keys: Annotated[tuple[HqKey, ...], Meta(min_length=1, max_length=KEYS_MAX)]

    def __post_init__(self) -> None:
        _each_once(key.kid for key in self.keys)


class QueryKind(StrEnum):
    """What HQ may ask. All of it is read-only."""

    PRICES = "prices"  # what is in force, per item
    BINDINGS = "bindings"
    LABELS = "labels"
    STOCK = "stock"
    HELD = "held"  # price changes that an anomaly stop holds
    REJECTED = "rejected"  # messages that were refused or quarantined
    BUCKETS = "buckets"  # the hashes of the catalogue's buckets (`protocols.hq_buckets`)


class Query(Struct, frozen=True):
    """A question, answered on `up/rpl` until the message's `expires`. `after` is the last key of the page before."""

    what: QueryKind
    after: Annotated[str, Meta(max_length=200)] = ""
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = 100


class CancelTarget(Struct, frozen=True):
    """A message by its place in a stream of this store."""

    stream: Annotated[str, Meta(pattern=r"^(price|stock|label|bulk)\Z")]
    incarnation: Incarnation
    seq: Seq


class Cancel(Struct, frozen=True):
    """Forget these messages as far as they have had no effect: not applied yet, held as implausible, or a price for later."""

    targets: Annotated[tuple[CancelTarget, ...], Meta(min_length=1, max_length=TARGETS_MAX)]
    reason: Line = ""

    def __post_init__(self) -> None:
        _each_once(f"{target.stream} {target.incarnation} {target.seq}" for target in self.targets)


class Place(Struct, frozen=True):
    aisle: Line = ""
    bay: Line = ""
    shelf: Line = ""
    slot: Line = ""


class PastBinding(Struct, frozen=True):
    """The last binding of a label that the store told HQ, as it told it."""

    label: LabelName
    items: Annotated[tuple[Sku, ...], Meta(max_length=LABEL_ITEMS_MAX)]
    template: Id
    binding_rev: SeqOrNone
    place: Place | None = None


class PastPrice(Struct, frozen=True):
    """An offer that may have been in force in the time asked for. `curve` as in a price row."""

    sku: Sku
    curve: Annotated[tuple[tuple[Quantity, Amount], ...], Meta(min_length=1, max_length=CURVE_POINTS_MAX)]
    price_quantity: Quantity = 1


class History(Struct, frozen=True):
    """What a store that was restored from a copy has forgotten: every binding before any price, in as many messages as it takes.

    `last` ends the answer to the history request of `restored` (the store incarnation that asked).
    """

    restored: Incarnation
    bindings: Annotated[tuple[PastBinding, ...], Meta(max_length=ROWS_MAX)] = ()
    prices: Annotated[tuple[PastPrice, ...], Meta(max_length=ROWS_MAX)] = ()
    last: bool = False


_SETTINGS: Final = msgspec.json.Decoder(Settings)


def _each_once(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"{name} is named twice")
        seen.add(name)
