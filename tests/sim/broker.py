"""A broker between store and HQ that keeps its word only by half: it acknowledges what it then loses, repeats, swaps, forgets its queues.

What brokers were seen to do is the measure: a PUBACK says that the broker has a message, and nothing of HQ; a kept session comes back with
messages that were delivered before; a restart may empty every queue; a bridge delivers out of order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from random import Random

from drivers.mqtt import LinkLost, MqttAddress, Received, Will

Payload = tuple[str, bytes]  # topic tail, message

LOOKAHEAD = 4  # how far behind the first a message may overtake


class SimConnection:
    """`drivers.mqtt.Connection`, as far as HQ sync uses it."""

    def __init__(self, broker: Broker, number: int) -> None:
        self.number = number
        self.is_open = True
        self._broker = broker
        self._incoming: deque[Received] = deque()
        self._loop = asyncio.get_running_loop()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()
        self.waiting: deque[tuple[Payload, asyncio.Future[None]]] = deque()  # published, no PUBACK yet
        self.unacked: deque[tuple[Received, Payload]] = deque()  # delivered, not acknowledged by the store

    async def subscribe(self, topic_filter: str) -> None:
        self._broker.subscribed()

    async def receive(self) -> Received:
        while not self._incoming:
            if not self.is_open:
                raise LinkLost("the broker is gone")
            self._arrived.clear()
            await self._arrived.wait()
        return self._incoming.popleft()

    def ack(self, message: Received) -> None:
        if self.is_open:
            assert self.unacked[0][0] is message, "acknowledged out of arrival order"
            self.unacked.popleft()

    def send(self, topic: str, payload: bytes, *, retain: bool = False) -> asyncio.Future[None]:
        future: asyncio.Future[None] = self._loop.create_future()
        if self.is_open:
            self.waiting.append(((topic.split("/", 4)[4], payload), future))
        else:
            future.set_exception(LinkLost("the broker is gone"))
            future.exception()
        return future

    async def room(self, window: int) -> None:
        while len(self.waiting) >= window:
            if not self.is_open:
                raise LinkLost("the broker is gone")
            self._room.clear()
            await self._room.wait()

    def hand(self, topic: str, payload: Payload, mid: int) -> None:
        """The broker delivers."""
        received = Received(topic, payload[1], False, self.number, mid, 1)
        self._incoming.append(received)
        self.unacked.append((received, payload))
        self._arrived.set()

    def puback(self) -> Payload:
        payload, future = self.waiting.popleft()
        self._room.set()
        if not future.done():
            future.set_result(None)
        return payload

    def close(self) -> None:
        self.is_open = False
        for _, future in self.waiting:
            if not future.done():
                future.set_exception(LinkLost("the broker is gone"))
                future.exception()
        self.waiting.clear()
        self._arrived.set()
        self._room.set()


class Broker:
    """Queues of both directions. The world says what happens next."""

    def __init__(self, base: str) -> None:
        self.base = base  # what stands before a topic's tail
        self.is_up = True
        self.down: list[Payload] = []  # for the store's session
        self.up: list[Payload] = []  # acknowledged to the store, for HQ
        self.head: Payload | None = None  # retained
        self.connection: SimConnection | None = None
        self.on_puback: Callable[[Payload], None] = lambda payload: None
        self._connections = 0
        self._mid = 0

    def connect(self) -> SimConnection:
        if not self.is_up:
            raise LinkLost("no broker")
        self.cut()
        self._connections += 1
        self.connection = SimConnection(self, self._connections)
        return self.connection

    def subscribed(self) -> None:
        if self.head is not None:
            self.down.append(self.head)

    def to_store(self, payload: Payload) -> None:
        if payload[0] == "dn/head":
            self.head = payload
        self.down.append(payload)

    @property
    def can_deliver(self) -> bool:
        return self.connection is not None and self.connection.is_open and bool(self.down)

    @property
    def can_puback(self) -> bool:
        return self.connection is not None and bool(self.connection.waiting)

    def deliver(self, dice: Random | None) -> Payload:
        """The next message to the store; with `dice` it may overtake others, and stay queued to come once more."""
        assert self.connection is not None
        payload = _taken(self.down, dice)
        self._mid += 1
        self.connection.hand(self.base + payload[0], payload, self._mid)
        return payload

    def puback(self, *, loses: bool) -> Payload:
        """Tell the store that the broker has its oldest message; `loses`: it had."""
        assert self.connection is not None
        payload = self.connection.puback()
        if not loses:
            self.up.append(payload)
        self.on_puback(payload)
        return payload

    def next_for_hq(self, dice: Random | None) -> Payload:
        return _taken(self.up, dice)

    def cut(self) -> None:
        """The link is gone. What the store did not acknowledge is queued again; what it published may have come through all the same."""
        connection, self.connection = self.connection, None
        if connection is not None and connection.is_open:
            self.down[:0] = [payload for _, payload in connection.unacked]
            connection.close()

    def wipe(self) -> None:
        """A restart with empty queues."""
        self.cut()
        self.down.clear()
        self.up.clear()


def _taken(queue: list[Payload], dice: Random | None) -> Payload:
    if dice is None:
        return queue.pop(0)
    roll = dice.random()
    if roll < 0.12:
        return queue[0]  # once more, later
    return queue.pop(dice.randrange(min(LOOKAHEAD, len(queue))) if roll < 0.3 else 0)


class SimLink:
    """`drivers.mqtt.MqttLink` to the world's broker."""

    broker: Broker

    def __init__(self, address: MqttAddress, client_id: str, *, keepalive_s: int = 0) -> None:
        self.address = address

    @asynccontextmanager
    async def connect(self, will: Will | None = None) -> AsyncIterator[SimConnection]:
        connection = self.broker.connect()
        try:
            yield connection
        finally:
            if self.broker.connection is connection:
                self.broker.cut()
            else:
                connection.close()
