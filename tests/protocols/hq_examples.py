"""One signed example of every message of the HQ contract, the same in every run: keys, ids and times are fixed."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocols.hq import Down, Signer, encode_down, partition_of, uuid7
from protocols.hq_control import QueryKind
from protocols.hq_events import (
    AsOf,
    AuditHead,
    Birth,
    ConfigVersion,
    Death,
    EventKind,
    LabelCounts,
    Reply,
    Stage,
    StagedAck,
    SyncRequest,
    encode_ack_data,
    encode_reply,
    encode_state,
    encode_sync,
    encode_up_batch,
    make_event,
)
from protocols.hq_fields import StreamPosition
from protocols.hq_messages import TYPES
from protocols.hq_zone import ZoneDown, encode_zone_chunk

STORE, ZONE = "berlin-7", "de-north"
HQ, OWN = "0123456789abcdef0123456789abcdef", "5" * 32
TIME_MS = 1_738_310_400_250  # 2025-01-31 08:00:00.250 UTC
EXPIRES_MS = TIME_MS + 3_600_000
PRIVATE = {"demo-1": bytes(range(32)), "demo-2": bytes(range(32, 64))}
SIGNERS = {kid: Signer(kid, Ed25519PrivateKey.from_private_bytes(seed)) for kid, seed in PRIVATE.items()}
SIGNER = SIGNERS["demo-1"]

CHUNK_TEXT = (
    b'{"items":[{"sku":"4711","name":"Milk 1 l","net_content":1000,"net_unit":"ml","barcodes":[{"gtin":"4006381333931"}]}],'
    b'"rows":[{"sku":"4711","kind":"base","price_id":"b-4711","rev":7,"amount_minor":249,"currency":"EUR"}],'
    b'"stock":[{"sku":"4711","on_hand":40}]}'
)
CHUNK = zlib.compress(CHUNK_TEXT, 6)
DOCUMENT = '{"guard.anomaly_factor":5,"labels.default_template":"shelf"}'


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


_AT = {"incarnation": HQ, "seq": 42}
DATA: Mapping[str, Any] = {
    "price.batch.v1": {
        "rows": [
            {"sku": "4711", "kind": "base", "price_id": "b-4711", "rev": 7, "amount_minor": 249, "currency": "EUR"},
            {
                "sku": "4711",
                "kind": "promo",
                "price_id": "p-feb",
                "rev": 1,
                "curve": [[1, 229], [3, 600]],
                "currency": "EUR",
                "effective_from": "2025-02-01T05:00:00Z",
                "effective_to": "2025-02-08T05:00:00Z",
            },
            {"sku": "4712", "kind": "promo", "price_id": "p-jan", "rev": 2, "currency": "EUR", "cancelled": True},
        ]
    },
    "item.batch.v1": {"items": [{"sku": "4711", "name": "Milk 1 l", "barcodes": [{"gtin": "4006381333931"}]}], "removed": ["4709"]},
    "snapshot.manifest.v1": {
        "snapshot_id": "s42",
        "base_price_seq": 42,
        "price_incarnation": HQ,
        "items": 1,
        "chunks": [{"n": 0, "sha256": hashlib.sha256(CHUNK).hexdigest(), "rows": 1}],
        "scope": {"buckets": [17, 203], "price": _AT},
    },
    "stock.adjust.v1": {"adjustments": [{"id": "d-1", "sku": "4711", "delta": 24, "cause": "receipt"}]},
    "stock.count.v1": {"id": "c-1", "sku": "4711", "counted": 37, "as_of_seq": 12, "incarnation": OWN},
    "stock.hold.v1": {
        "holds": [{"id": "h-1", "sku": "4711", "quantity": 2, "purpose": "pickup", "expires": "2025-01-31T18:00:00Z", "order": "web 99"}]
    },
    "stock.release.v1": {"releases": [{"id": "h-1", "reason": "order cancelled"}]},
    "stock.escrow.v1": {"moves": [{"id": "e-1", "sku": "4711", "channel": "web", "change": 5}]},
    "stock.digest.v1": {"ranges": [{"first": "4000", "last": "4999", "count": 1, "total": 37, "sha256": "ab" * 32}]},
    "observation.v1": {
        "observations": [{"id": "o-1", "source": "cam-3", "kind": "shelf", "sku": "4711", "quantity": 9, "seen_at": "2025-01-31T07:59:00Z"}]
    },
    "recall.v1": {"sku": "4711", "lots": ["L2501"], "reason": "glass"},
    "label.assign.v1": {"label": "00000218A1B2C3D4", "items": ["4711"], "template": "shelf", "binding_rev": 3, "place": {"aisle": "7"}},
    "label.unassign.v1": {"label": "00000218A1B2C3D4", "binding_rev": 4},
    "price.release.v1": {"holds": ["0194bb5f-b8fa-7001-8203-040506070809"]},
    "price.discard.v1": {"holds": ["0194bb5f-b8fa-7001-8203-040506070809"]},
    "cancel.v1": {"targets": [{"stream": "price", "incarnation": HQ, "seq": 43}], "reason": "typing error"},
    "config.put.v1": {"version": 3, "document": DOCUMENT, "sha256": sha256(DOCUMENT)},
    "keys.put.v1": {"revision": 1, "keys": [{"kid": kid, "public_key": each.public_key} for kid, each in SIGNERS.items()]},
    "query.v1": {"what": "stock", "after": "4000", "limit": 200},
    "history.v1": {
        "restored": OWN,
        "bindings": [{"label": "00000218A1B2C3D4", "items": ["4711"], "template": "shelf", "binding_rev": 4}],
        "prices": [{"sku": "4711", "curve": [[1, 229], [3, 600]]}],
        "last": True,
    },
    "head.v1": {"streams": {"price": _AT, "bulk": {"incarnation": HQ, "seq": 7}}},
    "ack.v1": {"store": STORE, "incarnation": OWN, "seq_through": 1, "last_hash": "cd" * 32},
}


def down_message(type_: str) -> bytes:
    """The signed example of a downward type."""
    in_stream = TYPES[type_][0] not in ("dn/head", "dn/ack")
    is_chunk = type_ == "snapshot.chunk.v1"
    after = {"bulk": StreamPosition(HQ, 7)} if type_ == "label.assign.v1" else {}
    expires = EXPIRES_MS if after or type_ == "query.v1" else None
    down = Down(
        type_,
        uuid7(TIME_MS, hashlib.sha256(type_.encode()).digest()[:10]),
        "hq/pricing",
        STORE,
        TIME_MS,
        HQ,
        42 if in_stream else None,
        None if is_chunk else json.dumps(DATA[type_], separators=(",", ":")).encode(),
        chunk=CHUNK if is_chunk else None,
        snapshot_id="s42" if is_chunk else None,
        n=0 if is_chunk else None,
        expires_ms=expires,
        after=after,
    )
    return encode_down(down, SIGNER)[1]


def zone_message() -> bytes:
    down = ZoneDown(ZONE, uuid7(TIME_MS, bytes(10)), "hq/catalogue", TIME_MS, HQ, "north-9", 0, CHUNK)
    return encode_zone_chunk(down, SIGNER)[1]


def up_messages() -> dict[str, bytes]:
    """Examples of what goes up, by the name of their schema."""
    sale = json.dumps({"sale_id": "L1-0001", "lines": [{"sku": "4711", "quantity": 2}]}, separators=(",", ":"))
    first = make_event(OWN, 1, EventKind.SALE, uuid7(TIME_MS, bytes(10)), "2025-01-31T08:00:00.250Z", sale, "0" * 64)
    birth = Birth(
        store=STORE,
        incarnation=OWN,
        boot="b5c1",
        version="0.1.0",
        types=tuple(sorted(TYPES)),
        cursors={"price": StreamPosition(HQ, 42)},
        snapshot="s42",
        up_seq=1,
        up_hash=first.hash,
        labels=LabelCounts(60, 58),
        audit=AuditHead(1204, "ef" * 32, SIGNER.public_key),
        config=ConfigVersion(3, sha256(DOCUMENT)),
        zone=ZONE,
        keys=tuple(SIGNERS),
    )
    sync = SyncRequest(store=STORE, incarnation=OWN, stream="price", stream_incarnation=HQ, from_seq=43, to_seq=45)
    reply = Reply(
        store=STORE,
        incarnation=OWN,
        correlation="0194bb5f-b8fa-7001-8203-040506070809",
        what=QueryKind.STOCK,
        as_of=AsOf(1, {"price": StreamPosition(HQ, 42)}),
        rows=(msgspec.Raw(b'{"sku":"4711","on_hand":37,"held":2,"escrow":5}'),),
        next="4711",
    )
    return {
        "events": encode_up_batch(STORE, OWN, (first,)),
        "birth": encode_state(birth),
        "death": encode_state(Death(store=STORE, incarnation=OWN, boot="b5c1")),
        "sync": encode_sync(sync),
        "reply": encode_reply(reply),
        "ack.data": encode_ack_data(StagedAck("price", HQ, 42, "0194bb5f-b8fa-7001-8203-040506070809", Stage.APPLIED, first=40)).encode(),
    }


def enrolment() -> bytes:
    file = {
        "store": STORE,
        "partition": partition_of(STORE),
        "topic_prefix": "rs/1",
        "zone": ZONE,
        "broker": {"host": "mq.hq.example", "port": 8883, "tls": True},
        "hq_keys": [{"kid": SIGNER.kid, "public_key": SIGNER.public_key}],
        "hq_keys_revision": 0,
        "hq_incarnation": HQ,
    }
    return json.dumps(file, indent=2).encode() + b"\n"


def files() -> dict[str, bytes]:
    """Every example file by its name."""
    found = {f"{type_}.{'bin' if type_ == 'snapshot.chunk.v1' else 'txt'}": down_message(type_) for type_ in TYPES}
    found["zone.chunk.bin"] = zone_message()
    found |= {f"{name}.json": text + b"\n" for name, text in up_messages().items()}
    found["enrolment.json"] = enrolment()
    found["snapshot.chunk.body.json"] = CHUNK_TEXT + b"\n"
    found["config.document.json"] = DOCUMENT.encode() + b"\n"
    keys = [{"kid": kid, "private_key": PRIVATE[kid].hex(), "public_key": each.public_key} for kid, each in SIGNERS.items()]
    found["keys.json"] = json.dumps({"warning": "for tests only: everybody has them", "keys": keys}, indent=2).encode() + b"\n"
    partitions = {store: partition_of(store) for store in ("berlin-7", "demo-01", "0001", "A", "store_42")}
    found["partitions.json"] = json.dumps(partitions, indent=2).encode() + b"\n"
    return found
