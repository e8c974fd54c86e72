"""The books of a small HQ for one store: what it said, what it was told, and what follows from that. No I/O, time is told.

Downward it keeps an append-only log of sealed messages per stream and can say any of them again, byte for byte. Upward it checks the
event chain, keeps what comes early, books every event once in order and every sale once by its id.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec

from protocols.hq import Down, Signer, Stream, encode_down, uuid7
from protocols.hq_events import (
    FIRST_PREV_HASH,
    AuditHead,
    BadUpward,
    Birth,
    Event,
    EventKind,
    Stage,
    StagedAck,
    UpBatch,
    covered,
    verify_up_batch,
)
from protocols.hq_fields import ROWS_MAX
from protocols.hq_messages import TYPES

Json = Mapping[str, Any]

EARLY_EVENTS_MAX: Final = 5_000  # events kept behind a gap of the chain; the store sends the others again
NOTES_MAX: Final = 1_000  # alarms and alerts kept; more of them say nothing new


@dataclass(frozen=True, slots=True)
class Staged:
    """When a stage of a downward message was reported first, and with what."""

    at_ms: int
    reason: str | None
    labels: int


@dataclass(slots=True)
class _Chain:
    hashes: list[str] = field(default_factory=list)  # of the booked events, by sequence number - 1
    early: dict[int, Event] = field(default_factory=dict)

    @property
    def last_hash(self) -> str:
        return self.hashes[-1] if self.hashes else FIRST_PREV_HASH


@dataclass(frozen=True, slots=True)
class _Snapshot:
    id: str
    manifest_seq: int
    base_price_seq: int
    bodies: list[bytes]


class HqBooks:
    """Log and ledger. Money and quantities are as in the messages."""

    def __init__(self, store: str, signer: Signer, incarnation: str, source: str = "hq/demo") -> None:
        self.store = store
        self.signer = signer
        self.incarnation = incarnation
        self.sales: dict[str, Json] = {}  # sale_id -> body
        self.came_back: dict[str, Json] = {}  # returns and voids, by what their id is called and the id
        self.stock: dict[str, int] = {}  # sku -> units, by opening stock, applied adjustments, sales and stock events
        self.bindings: dict[str, Json] = {}  # label -> the last label event
        self.acks: dict[tuple[str, int], dict[Stage, Staged]] = {}  # (stream, seq) -> stages
        self.audit_heads: dict[str, AuditHead] = {}  # store incarnation -> how far its audit chain was when it told last
        self.alarms: list[str] = []  # what must not happen
        self.alerts: list[Json] = []  # what the store reported
        self.duplicate_events = 0
        self._source = source
        self._log: dict[Stream, list[tuple[str, bytes]]] = {stream: [] for stream in Stream}
        self._adjustments: dict[int, list[tuple[str, int]]] = {}  # stock seq -> (sku, delta), until applied
        self._chains: dict[str, _Chain] = {}
        self._snapshot: _Snapshot | None = None

    # -- down --------------------------------------------------------------------------------------------------------------

    def last_seq(self, stream: Stream) -> int:
        """0: nothing was said on this stream."""
        return len(self._log[stream])

    def entry(self, stream: Stream, seq: int) -> tuple[str, bytes]:
        """(topic tail, sealed message) as first said."""
        return self._log[stream][seq - 1]

    def say(self, type_: str, data: Json, now_ms: int, *, expires_ms: int | None = None) -> int:
        """Append a message to its stream; its sequence number."""
        down = Down(type_, "", self._source, self.store, now_ms, self.incarnation, 0, data=msgspec.json.encode(data), expires_ms=expires_ms)
        return self._append(down)

    def adjust_stock(self, adjustments: Sequence[Json], now_ms: int) -> int:
        """Say `stock.adjust.v1`; booked when the store reports it as applied."""
        seq = self.say("stock.adjust.v1", {"adjustments": list(adjustments)}, now_ms)
        self._adjustments[seq] = [(each["sku"], each["delta"]) for each in adjustments]
        return seq

    def snapshot(
        self,
        items: Sequence[Json],
        rows: Sequence[Json],
        stock: Sequence[Json],
        now_ms: int,
        *,
        scope: Json | None = None,
        shared: bool = False,
    ) -> str:
        """Say a catalogue, manifest first; its snapshot id. Opening stock counts for SKUs that have no stock yet.

        `scope`: only these buckets of it. `shared`: its chunks are said to the store's zone (`chunk_bodies`), not here.
        """
        snapshot_id = f"s{self.last_seq(Stream.BULK) + 1}"
        chunks = [_chunk(items[start : start + ROWS_MAX], rows, stock) for start in range(0, len(items), ROWS_MAX)]
        base_price_seq = self.last_seq(Stream.PRICE)
        manifest = {
            "snapshot_id": snapshot_id,
            "base_price_seq": base_price_seq,
            "price_incarnation": self.incarnation,
            "items": len(items),
            "chunks": [
                {"n": n, "sha256": hashlib.sha256(body).hexdigest(), "rows": row_count} for n, (body, row_count) in enumerate(chunks)
            ],
        } | ({} if scope is None else {"scope": scope})
        bodies = [body for body, _ in chunks]
        self._snapshot = _Snapshot(snapshot_id, self.say("snapshot.manifest.v1", manifest, now_ms), base_price_seq, bodies)
        if not shared:
            self.say_chunks(snapshot_id, range(len(bodies)), now_ms)
        for level in stock:
            self.stock.setdefault(level["sku"], level["on_hand"])
        return snapshot_id

    @property
    def chunk_bodies(self) -> Sequence[bytes]:
        """The compressed chunks of the newest snapshot."""
        return () if self._snapshot is None else self._snapshot.bodies

    def say_chunks(self, snapshot_id: str, numbers: Iterable[int], now_ms: int) -> None:
        """Append chunks of the newest snapshot to the store's stream; of an older one, nothing: its manifest no longer counts."""
        snapshot = self._snapshot
        if snapshot is None or snapshot.id != snapshot_id:
            return
        for n in numbers:
            down = Down("snapshot.chunk.v1", "", self._source, self.store, now_ms, self.incarnation, 0)
            self._append(replace(down, chunk=snapshot.bodies[n], snapshot_id=snapshot_id, n=n))

    def head(self, now_ms: int) -> tuple[str, bytes]:
        """(topic tail, sealed message) that says how far each stream is."""
        streams = {
            str(stream): {"incarnation": self.incarnation, "seq": self.last_seq(stream)} for stream in Stream if self.last_seq(stream)
        }
        return self._outside_streams("head.v1", {"streams": streams}, now_ms)

    def acknowledgement(self, incarnation: str, now_ms: int) -> tuple[str, bytes]:
        """(topic tail, sealed message) that says what is booked of a store incarnation."""
        chain = self._chains.get(incarnation, _Chain())
        data = {"store": self.store, "incarnation": incarnation, "seq_through": len(chain.hashes), "last_hash": chain.last_hash}
        return self._outside_streams("ack.v1", data, now_ms)

    def hold_audit_head(self, birth: Birth) -> None:
        """Keep how far the store's audit chain is. Within an incarnation it only grows: anything else was written anew."""
        head, held = birth.audit, self.audit_heads.get(birth.incarnation)
        if head is None:
            return
        if held is not None and (head.entry < held.entry or (head.entry == held.entry and head.hash != held.hash)):
            self.alarms.append(f"audit of {birth.incarnation}: entry {head.entry} after entry {held.entry}, or another one of that number")
        self.audit_heads[birth.incarnation] = head

    def first_to_send(self, birth: Birth) -> dict[Stream, int]:
        """Where to go on for a store in this state, per stream."""
        first = {stream: self._after(birth, stream) for stream in Stream}
        if self._snapshot is not None:
            first[Stream.BULK] = max(first[Stream.BULK], self._snapshot.manifest_seq)
            if birth.snapshot is None:
                first[Stream.PRICE] = max(first[Stream.PRICE], self._snapshot.base_price_seq + 1)
        return first

    def to_resend(self, stream: Stream, incarnation: str | None, from_seq: int, to_seq: int | None) -> range:
        """The sequence numbers that answer a resend request. A snapshot is said again from its manifest on."""
        last = self.last_seq(stream)
        first = from_seq if incarnation == self.incarnation else 1
        if stream is Stream.BULK and self._snapshot is not None:
            first = max(first, self._snapshot.manifest_seq)
        return range(max(first, 1), (last if to_seq is None else min(to_seq, last)) + 1)

    # -- up ----------------------------------------------------------------------------------------------------------------

    def book(self, kind: str, raw: bytes, now_ms: int) -> str | None:
        """Book a message from `up/<kind>`; the store incarnation to acknowledge, None for a message that is no good."""
        try:
            batch = verify_up_batch(kind, raw)
        except BadUpward as error:
            self._alarm(f"up/{kind}: {error}")
            return None
        if batch.store != self.store:
            self._alarm(f"up/{kind}: events of store {batch.store}")
            return None
        chain = self._chains.setdefault(batch.incarnation, _Chain())
        self._keep(chain, batch)
        while (event := chain.early.pop(len(chain.hashes) + 1, None)) is not None:
            if event.prev_hash != chain.last_hash:
                self._alarm(f"event {event.seq} is not chained to event {event.seq - 1}")
                break
            chain.hashes.append(event.hash)
            self._effect(event, now_ms)
        return batch.incarnation

    def booked_through(self, incarnation: str) -> int:
        """The last event booked of a store incarnation."""
        chain = self._chains.get(incarnation)
        return 0 if chain is None else len(chain.hashes)

    def reached(self, stream: Stream, seq: int, stage: Stage) -> bool:
        """Whether the store reported this stage."""
        return stage in self.acks.get((stream, seq), {})

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _append(self, down: Down) -> int:
        stream = Stream(TYPES[down.type][0].removeprefix("dn/"))
        seq = self.last_seq(stream) + 1
        whole = replace(down, id=self._id(f"{stream}/{seq}", down.time_ms), seq=seq)
        self._log[stream].append(encode_down(whole, self.signer))
        return seq

    def _outside_streams(self, type_: str, data: Json, now_ms: int) -> tuple[str, bytes]:
        text = msgspec.json.encode(data)
        down = Down(type_, self._id(text.decode(), now_ms), self._source, self.store, now_ms, self.incarnation, None, data=text)
        return encode_down(down, self.signer)

    def _id(self, what: str, now_ms: int) -> str:
        return uuid7(now_ms, hashlib.sha256(f"{self.incarnation}/{what}".encode()).digest()[:10])

    def _after(self, birth: Birth, stream: Stream) -> int:
        cursor = birth.cursors.get(stream)
        return cursor.seq + 1 if cursor is not None and cursor.incarnation == self.incarnation else 1

    def _keep(self, chain: _Chain, batch: UpBatch) -> None:
        for event in batch.events:
            known = chain.hashes[event.seq - 1] if event.seq <= len(chain.hashes) else None
            if known is None and event.seq in chain.early:
                known = chain.early[event.seq].hash
            if known is None:
                if len(chain.early) < EARLY_EVENTS_MAX:
                    chain.early[event.seq] = event
            elif known == event.hash:
                self.duplicate_events += 1
            else:
                self._alarm(f"fork: two events with number {event.seq} of {batch.incarnation}")

    def _effect(self, event: Event, now_ms: int) -> None:
        try:
            match event.kind:
                case EventKind.SALE:
                    self._sale(msgspec.json.decode(event.data))
                case EventKind.RETURN:
                    self._came_back("return_id", "restocked", msgspec.json.decode(event.data))
                case EventKind.VOID:
                    self._came_back("void_id", "quantity", msgspec.json.decode(event.data))
                case EventKind.STOCK:
                    move = msgspec.json.decode(event.data)
                    if move.get("delta"):
                        self._move(move["sku"], move["delta"])
                case EventKind.LABEL:
                    told = msgspec.json.decode(event.data)
                    if told.get("event", "label.bound") == "label.bound":
                        self.bindings[told["label"]] = told
                case EventKind.ACK:
                    self._staged(msgspec.json.decode(event.data, type=StagedAck), now_ms)
                case EventKind.ALERT:
                    if len(self.alerts) < NOTES_MAX:
                        self.alerts.append(msgspec.json.decode(event.data))
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            self._alarm(f"event {event.seq} of kind {event.kind} cannot be booked: {error!r}")

    def _sale(self, body: Json) -> None:
        sale_id = body["sale_id"]
        known = self.sales.get(sale_id)
        if known is not None:
            if known != body:
                self._alarm(f"two sales with id {sale_id}")
            return
        self.sales[sale_id] = body
        for line in body["lines"]:
            if line["sku"] is not None:
                self._move(line["sku"], -line["quantity"])

    def _came_back(self, id_name: str, units: str, body: Json) -> None:
        """A return or a void, once by its id: a restored store tells of it again."""
        name = f"{id_name} {body[id_name]}"
        known = self.came_back.setdefault(name, body)
        if known is not body:
            if known != body:
                self._alarm(f"two events with {name}")
            return
        for line in body["lines"]:
            if line["sku"] is not None:
                self._move(line["sku"], line[units])

    def _staged(self, ack: StagedAck, now_ms: int) -> None:
        if ack.incarnation != self.incarnation:
            return
        for seq in covered(ack):
            stages = self.acks.setdefault((ack.stream, seq), {})
            if ack.stage not in stages:
                stages[ack.stage] = Staged(now_ms, ack.reason, ack.labels)
                if ack.stream == Stream.STOCK and ack.stage is Stage.APPLIED:
                    for sku, delta in self._adjustments.pop(seq, []):
                        self._move(sku, delta)

    def _move(self, sku: str, delta: int) -> None:
        self.stock[sku] = self.stock.get(sku, 0) + delta

    def _alarm(self, text: str) -> None:
        if len(self.alarms) < NOTES_MAX:
            self.alarms.append(text)


def _chunk(items: Sequence[Json], rows: Sequence[Json], stock: Sequence[Json]) -> tuple[bytes, int]:
    """(compressed body, number of price rows) of these items with what belongs to them."""
    skus = {item["sku"] for item in items}
    own_rows = [row for row in rows if row["sku"] in skus]
    body = {"items": list(items), "rows": own_rows, "stock": [level for level in stock if level["sku"] in skus]}
    return zlib.compress(msgspec.json.encode(body), 6), len(own_rows)
