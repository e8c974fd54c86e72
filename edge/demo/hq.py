"""A small, honest HQ for one store: for the demo, the tests and the benches. It keeps everything in memory.

The books are in `edge.demo.hq_books`; this is their MQTT shell. It starts where the store's birth says, sends what its log has beyond
that, answers resend requests, books what comes up, and acknowledges it with a signature.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.base import Clock
from drivers.mqtt import Connection, LinkLost, MqttAddress, MqttLink, PublishRefused, stop_if_cancelled
from edge.demo.hq_books import HqBooks, Json
from protocols.hq import TOPIC_PREFIX, Signer, Stream, Topics, partition_of
from protocols.hq_events import BadUpward, Birth, parse_state, parse_sync

WINDOW_MESSAGES: Final = 32  # sent without PUBACK
RESENDS_MAX: Final = 64  # resend requests that wait; a store repeats what it still needs
RETRY_S: Final = 0.5  # between connection attempts; one HQ on loopback needs no back-off


class MiniHq:
    """HQ for `store`. `run` does the work; the `send_*` methods only append to the log and return the sequence number."""

    def __init__(
        self,
        address: MqttAddress,
        store: str,
        clock: Clock,
        *,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        prefix: str = TOPIC_PREFIX,
        lose: Callable[[Stream, int], bool] | None = None,
    ) -> None:
        """`lose` says which messages never reach the broker when they are sent the first time (for tests of gaps)."""
        self.address = address
        self.books = HqBooks(store, Signer("demo-1", Ed25519PrivateKey.from_private_bytes(random_bytes(32))), random_bytes(16).hex())
        self.store_online = False
        self.births = 0
        self._topics = Topics(store, partition_of(store), prefix)
        self._clock = clock
        self._lose = lose
        self._next: dict[Stream, int] = {}  # what to send next; empty while no store is there
        self._resends: deque[tuple[Stream, range]] = deque(maxlen=RESENDS_MAX)
        self._head_sent: dict[Stream, int] = {}
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()

    # -- what HQ's people do ---------------------------------------------------------------------------------------------------

    def enrolment(self, *, username: str | None = None, password: str | None = None) -> dict[str, Any]:
        """The content of the store's enrolment file."""
        return {
            "store": self._topics.store,
            "partition": self._topics.partition,
            "broker": {
                "host": self.address.host,
                "port": self.address.port,
                "tls": self.address.tls,
                "ca": self.address.ca,
                "username": username,
                "password": password,
            },
            "topic_prefix": self._topics.prefix,
            "hq_keys": [{"kid": self.books.signer.kid, "public_key": self.books.signer.public_key}],
            "hq_incarnation": self.books.incarnation,
        }

    def send_prices(self, rows: Sequence[Json]) -> int:
        """price.batch.v1; a sequence number of stream "price"."""
        return self._say("price.batch.v1", {"rows": list(rows)})

    def send_items(self, items: Sequence[Json], removed: Sequence[str] = ()) -> int:
        """item.batch.v1; a sequence number of stream "price"."""
        return self._say("item.batch.v1", {"items": list(items), "removed": list(removed)})

    def send_stock(self, adjustments: Sequence[Json]) -> int:
        """stock.adjust.v1; a sequence number of stream "stock"."""
        self._wake.set()
        return self.books.adjust_stock(adjustments, self._clock.wall_ms())

    def count_stock(self, count_id: str, sku: str, counted: int, as_of_seq: int) -> int:
        """stock.count.v1; a sequence number of stream "stock"."""
        return self._say("stock.count.v1", {"id": count_id, "sku": sku, "counted": counted, "as_of_seq": as_of_seq})

    def assign_label(self, label: str, items: Sequence[str], template: str, binding_rev: int, place: Json | None = None) -> int:
        """label.assign.v1; a sequence number of stream "label"."""
        data = {"label": label, "items": list(items), "template": template, "binding_rev": binding_rev, "place": place}
        return self._say("label.assign.v1", data)

    def release(self, holds: Sequence[str]) -> int:
        """price.release.v1; a sequence number of stream "sys"."""
        return self._say("price.release.v1", {"holds": list(holds)})

    def snapshot(self, items: Sequence[Json], rows: Sequence[Json], stock: Sequence[Json] = ()) -> str:
        """Manifest and chunks on stream "bulk"; the snapshot id. `rows` are the prices after everything sent so far."""
        self._wake.set()
        return self.books.snapshot(items, rows, stock, self._clock.wall_ms())

    async def until(self, fact: Callable[[], bool]) -> None:
        """Wait until `fact` holds; it is looked at whenever something came from the store."""
        while not fact():
            self._changed.clear()
            await self._changed.wait()

    # -- the link ----------------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        link = MqttLink(self.address, f"{self._topics.store}-minihq")
        while True:
            try:
                async with link.connect() as connection:
                    await connection.subscribe(self._topics.topic("up/#"))
                    self._head_sent = {}
                    async with asyncio.TaskGroup() as tasks:
                        tasks.create_task(self._receive(connection), name="mini hq receive")
                        tasks.create_task(self._publish(connection), name="mini hq publish")
                        await asyncio.Event().wait()  # a failure must meet us here: see `stop_if_cancelled`
            except* LinkLost:
                self._next = {}  # the retained birth says again where the store is
            stop_if_cancelled()
            await asyncio.sleep(RETRY_S)  # not inside: a cancellation there would come out in a group

    async def _receive(self, connection: Connection) -> None:
        while True:
            received = await connection.receive()
            tail = self._topics.tail(received.topic) or ""
            try:
                self._take(connection, tail, received.payload)
            except BadUpward as error:
                self.books.alarms.append(f"{tail}: {error}")
            connection.ack(received)
            self._changed.set()

    def _take(self, connection: Connection, tail: str, payload: bytes) -> None:
        if tail == "up/state":
            self._store_state(payload)
        elif tail == "up/sync":
            request = parse_sync(payload)
            if request.chunks and request.snapshot is not None:
                self.books.say_chunks(request.snapshot, request.chunks, self._clock.wall_ms())
                self._wake.set()
            elif request.stream in set(Stream):
                stream = Stream(request.stream)
                self._resends.append((stream, self.books.to_resend(stream, request.stream_incarnation, request.from_seq, request.to_seq)))
                self._wake.set()
        else:
            incarnation = self.books.book(tail.removeprefix("up/"), payload, self._clock.wall_ms())
            if incarnation is not None:
                self._send(connection, *self.books.acknowledgement(incarnation, self._clock.wall_ms()))

    def _store_state(self, payload: bytes) -> None:
        state = parse_state(payload)
        self.store_online = isinstance(state, Birth)
        self._next = {}
        if isinstance(state, Birth):
            self.births += 1
            self.books.hold_audit_head(state)
            self._next = self.books.first_to_send(state)
            self._resends.clear()
        self._wake.set()

    async def _publish(self, connection: Connection) -> None:
        """Send what the log has beyond what was sent, and what was asked for."""
        while True:
            self._wake.clear()
            while self._resends:
                stream, numbers = self._resends.popleft()
                for seq in numbers:
                    await self._say_entry(connection, stream, seq)
            for stream in Stream:
                while self.books.last_seq(stream) >= (seq := self._next.get(stream, 1 << 62)):
                    self._next[stream] = seq + 1
                    if self._lose is None or not self._lose(stream, seq):
                        await self._say_entry(connection, stream, seq)
            head = {stream: self.books.last_seq(stream) for stream in Stream}
            if head != self._head_sent:
                self._head_sent = head
                self._send(connection, *self.books.head(self._clock.wall_ms()), retain=True)
            await self._wake.wait()

    async def _say_entry(self, connection: Connection, stream: Stream, seq: int) -> None:
        await connection.room(WINDOW_MESSAGES)
        self._send(connection, *self.books.entry(stream, seq))

    def _send(self, connection: Connection, tail: str, payload: bytes, *, retain: bool = False) -> None:
        connection.send(self._topics.topic(tail), payload, retain=retain).add_done_callback(self._sent)

    def _sent(self, future: asyncio.Future[None]) -> None:
        error = None if future.cancelled() else future.exception()
        if isinstance(error, PublishRefused):
            self.books.alarms.append(str(error))

    def _say(self, type_: str, data: Json) -> int:
        self._wake.set()
        return self.books.say(type_, data, self._clock.wall_ms())
