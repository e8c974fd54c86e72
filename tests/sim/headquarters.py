"""HQ as the simulation has it: the demo's books (`edge.demo.hq_books`), what HQ wants of the store, and what it was told.

It dedupes by place in the chain and by id, asks for what is missing by not acknowledging it, says everything again when a store's birth or
request names an earlier place, and can lose its own log: then it begins a new incarnation with a snapshot.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from edge.demo.hq_books import HqBooks
from edge.model import ItemId
from edge.stock import Level, digest
from protocols.hq import Stream, utc_text
from protocols.hq_events import HISTORY, Birth, Event, EventKind, Stage, StagedAck, covered, parse_state, parse_sync
from tests.edge.shop import Unsigned
from tests.sim.broker import Broker

Json = Mapping[str, Any]

STORE: Final = "demo-01"
ITEMS: Final = ("milk", "bread", "eggs")
CHANNEL: Final = "web"
OPENING_UNITS: Final = 12


class Headquarters(HqBooks):
    """Use it through the world's events. `publish` hands every new message to the broker."""

    def __init__(self, incarnation: str) -> None:
        signer: Any = Unsigned()
        super().__init__(STORE, signer, incarnation, source="hq/sim")
        self.broker: Broker
        self.effects: Counter[str] = Counter()  # how often a sale, return or void was booked, by its id
        self.newest: dict[tuple[str, str], dict[str, Any]] = {}  # price rows as last said
        self.ever_said: dict[tuple[str, tuple[tuple[int, int], ...]], None] = {}  # what anybody was to pay, by item
        self.ever_bound: dict[tuple[str, tuple[str, ...]], dict[str, Any]] = {}  # label and items -> the last word of it
        self.next_ids: Counter[str] = Counter()
        self.unconfirmed: dict[str, tuple[str, int]] = {}  # adjustments that no store has reported as applied
        self.holds: dict[str, str] = {}  # hold -> what the store said last
        self.hold_rows: dict[str, dict[str, Any]] = {}
        self.quota: Counter[str] = Counter()  # units of the channel, as far as HQ knows, less what it sold
        self.moves: dict[str, dict[str, Any]] = {}
        self.oversold: list[str] = []
        self.levels: dict[str, list[list[Any]]] = {}
        self.everything_said: list[tuple[str, bytes]] = []
        self._sent: dict[Stream, int] = {}

    # -- down

    def publish(self, now_ms: int) -> None:
        """Hand over what the log has beyond what was sent."""
        for stream in Stream:
            for seq in range(self._sent.get(stream, 0) + 1, self.last_seq(stream) + 1):
                entry = self.entry(stream, seq)
                self.everything_said.append(entry)
                self.broker.to_store(entry)
            self._sent[stream] = self.last_seq(stream)

    def tell_head(self, now_ms: int) -> None:
        self.broker.to_store(self.head(now_ms))

    def next_id(self, kind: str) -> str:
        self.next_ids[kind] += 1
        return f"{kind}-{self.next_ids[kind]}"

    def say_rows(self, rows: list[dict[str, Any]], now_ms: int) -> None:
        for row in rows:
            self.newest[row["sku"], row["price_id"]] = row
            self.ever_said[row["sku"], _curve(row)] = None
        self.say("price.batch.v1", {"rows": rows}, now_ms)

    def say_catalogue(self, now_ms: int) -> None:
        """A whole snapshot of the prices as they are now."""
        items: list[Json] = [{"sku": sku, "name": sku.title(), "barcodes": []} for sku in ITEMS]
        levels = [{"sku": sku, "on_hand": OPENING_UNITS} for sku in ITEMS]
        self.snapshot(items, list(self.newest.values()), levels, now_ms)

    def say_adjustments(self, changes: list[tuple[str, int]], now_ms: int) -> None:
        rows = []
        for sku, change in changes:
            ref = self.next_id("adj")
            self.unconfirmed[ref] = (sku, change)
            rows.append({"id": ref, "sku": sku, "delta": change, "cause": "receipt" if change > 0 else "shrink"})
        self.say("stock.adjust.v1", {"adjustments": rows}, now_ms)

    def say_holds(self, sku: str, quantities: list[int], expires_ms: int, now_ms: int, *, channel: str | None = None) -> None:
        """Buyers ask for the same item at once. What a channel sells comes out of the quota that HQ knows of."""
        rows = []
        for quantity in quantities:
            hold_id = self.next_id("hold")
            if channel is not None:
                if self.quota[sku] < quantity:
                    continue
                self.quota[sku] -= quantity
            rows.append({"id": hold_id, "sku": sku, "quantity": quantity, "purpose": "pickup", "expires": utc_text(expires_ms)})
            rows[-1] |= {"order": f"order {hold_id}"} | ({"channel": channel} if channel is not None else {})
            self.hold_rows[hold_id] = rows[-1]
        if rows:
            self.say("stock.hold.v1", {"holds": rows}, now_ms)

    def say_quota(self, sku: str, change: int, now_ms: int) -> None:
        if change < 0:
            change = -min(-change, self.quota[sku])
            self.quota[sku] += change  # given back before it is asked for: nobody may sell it meanwhile
        if change:
            ref = self.next_id("move")
            self.moves[ref] = {"id": ref, "sku": sku, "channel": CHANNEL, "change": change}
            self.say("stock.escrow.v1", {"moves": [self.moves[ref]]}, now_ms)

    def say_history(self, restored: str, now_ms: int) -> None:
        """Wherever labels were bound as far as HQ was told, and every price that it said to anybody."""
        bindings = [
            {"label": told["label"], "items": told["items"], "template": told["template"], "binding_rev": told["binding_rev"]}
            for told in self.ever_bound.values()
        ]
        prices = [{"sku": sku, "curve": curve} for sku, curve in self.ever_said]
        self.say("history.v1", {"restored": restored, "bindings": bindings, "prices": prices, "last": True}, now_ms)

    def say_digest(self, levels: Mapping[str, Level], now_ms: int) -> None:
        """Compare all books: the store tells its levels where they differ from `levels`."""
        first, last = min(ITEMS), max(ITEMS)
        ours = digest({ItemId(sku): level for sku, level in levels.items()})
        row = {"first": first, "last": last, "count": ours.count, "total": ours.total, "sha256": ours.sha256}
        self.say("stock.digest.v1", {"ranges": [row]}, now_ms)

    def lose_log(self, incarnation: str, now_ms: int) -> None:
        """HQ's log is gone, its books are not: a new incarnation, which says again what it does not know to be done."""
        self.incarnation = incarnation
        self._log = {stream: [] for stream in Stream}
        self._sent.clear()
        self._snapshot = None
        self.say_catalogue(now_ms)
        waiting = [{"id": ref, "sku": sku, "delta": change, "cause": "receipt"} for ref, (sku, change) in self.unconfirmed.items()]
        if waiting:
            self.say("stock.adjust.v1", {"adjustments": waiting}, now_ms)
        unanswered = [row for hold_id, row in self.hold_rows.items() if hold_id not in self.holds]
        if unanswered:
            self.say("stock.hold.v1", {"holds": unanswered}, now_ms)
        if self.moves:
            self.say("stock.escrow.v1", {"moves": list(self.moves.values())}, now_ms)

    # -- up

    def take(self, tail: str, payload: bytes, now_ms: int) -> None:
        """A message from the store."""
        if tail == "up/state":
            state = parse_state(payload)
            if isinstance(state, Birth):
                self.hold_audit_head(state)
                for stream, seq in self.first_to_send(state).items():
                    self._sent[stream] = seq - 1
                self.publish(now_ms)
                self.tell_head(now_ms)
        elif tail == "up/sync":
            request = parse_sync(payload)
            if request.stream == HISTORY:
                self.say_history(request.incarnation, now_ms)
            elif request.snapshot is not None:
                self.say_chunks(request.snapshot, request.chunks, now_ms)
            else:
                stream = Stream(request.stream)
                for seq in self.to_resend(stream, request.stream_incarnation, request.from_seq, request.to_seq):
                    self.broker.to_store(self.entry(stream, seq))
            self.publish(now_ms)
        else:
            incarnation = self.book(tail.removeprefix("up/"), payload, now_ms)
            if incarnation is not None:
                self.broker.to_store(self.acknowledgement(incarnation, now_ms))

    def _effect(self, event: Event, now_ms: int) -> None:
        super()._effect(event, now_ms)
        if event.kind is EventKind.STOCK:
            self._stock(msgspec.json.decode(event.data))
        elif event.kind is EventKind.LABEL:
            told = msgspec.json.decode(event.data)
            if told["event"] == "label.bound":
                self.ever_bound[told["label"], tuple(told["items"])] = told

    def _stock(self, told: dict[str, Any]) -> None:
        match told["event"]:
            case "hold.granted" | "hold.released" | "hold.expired" | "hold.collected" | "hold.arrived":
                self.holds[told["hold_id"]] = told["event"]
            case "hold.refused":
                self.holds[told["hold_id"]] = told["event"]
                if told["channel"] and told["reason"] == "short":
                    self.oversold.append(told["hold_id"])
            case "escrow.moved":
                if self.moves.pop(told["ref"], None) is not None and told["change"] > 0:
                    self.quota[told["sku"]] += told["change"]
            case "escrow.refused":
                move = self.moves.pop(told["ref"], None)
                if move is not None and move["change"] < 0:
                    self.oversold.append(told["ref"])
            case "stock.levels":
                known = {sku: level for sku, *level in told["levels"]}
                for sku in ITEMS:
                    if told["first"] <= sku <= told["last"]:
                        self.stock[sku] = known.get(sku, [0])[0]

    def _sale(self, body: Json) -> None:
        """Once by its id. A store that was restored tells of it again; it may have been told of it by the lane in other words."""
        sale_id = body["sale_id"]
        known = self.sales.get(sale_id)
        if known is not None:
            if _sold(known) != _sold(body):
                self._alarm(f"two sales with id {sale_id}")
            return
        self.sales[sale_id] = body
        self.effects[sale_id] += 1
        for line in body["lines"]:
            if line["sku"] is not None:
                self._move(line["sku"], -line["quantity"])

    def _came_back(self, id_name: str, units: str, body: Json) -> None:
        name = f"{id_name} {body[id_name]}"
        if name in self.came_back:
            return
        self.came_back[name] = body
        self.effects[name] += 1
        for line in body["lines"]:
            if line["sku"] is not None:
                self._move(line["sku"], line[units])

    def _staged(self, ack: StagedAck, now_ms: int) -> None:
        if ack.incarnation != self.incarnation:
            return
        for seq in covered(ack):
            self.acks.setdefault((ack.stream, seq), {})
            if ack.stream == Stream.STOCK and ack.stage is Stage.APPLIED:
                body = msgspec.json.decode(self.entry(Stream.STOCK, seq)[1].split(b"\n", 1)[1])["data"]
                for row in body.get("adjustments", ()):
                    if self.unconfirmed.pop(row["id"], None) is not None:
                        self._move(row["sku"], row["delta"])


def _sold(body: Json) -> object:
    return [(line["sku"], line["quantity"], line["total_minor"]) for line in body["lines"]], body["total_minor"]


def _curve(row: Json) -> tuple[tuple[int, int], ...]:
    return tuple((quantity, total) for quantity, total in row["curve"]) if "curve" in row else ((1, row["amount_minor"]),)
