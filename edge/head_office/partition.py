"""One partition's link: what its stores say goes to the worker, what the log has for them goes out.

The session is kept by the broker under the partition's name, whoever works on it: a worker that takes a partition over ends the old
connection and gets what was not acknowledged.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.mqtt import Connection, LinkLost, MqttAddress, MqttLink, PublishRefused, Received, stop_if_cancelled
from edge.head_office.sending import Outgoing
from protocols.hq import Stream

log = logging.getLogger(__name__)

WINDOW_MESSAGES: Final = 100  # without PUBACK: fills the round trip to a cluster that writes each message three times
BACKOFF_MIN_S: Final = 0.1
BACKOFF_MAX_S: Final = 5.0  # a cluster elects within a few seconds
_RANDOM: Final = secrets.SystemRandom().random


@dataclass(frozen=True, slots=True)
class Heard:
    """A message and where it is acknowledged."""

    partition: str
    connection: Connection
    received: Received


class Partition:
    """Runs as a task of its own from the moment the lease is ours until it is not."""

    def __init__(
        self,
        name: str,
        prefix: str,
        address: MqttAddress,
        heard: asyncio.Queue[Heard],
        stores: dict[str, Outgoing],
        read: Callable[[str, Stream, int, int], Awaitable[list[bytes]]],
        head: Callable[[Outgoing, str], bytes],
    ) -> None:
        """`read` gives a stretch of the log, `head` the sealed `dn/head` of a store."""
        self.name = name
        self.stores = stores
        self._prefix = prefix
        self._link = MqttLink(address, f"hq-{name}")
        self._heard = heard
        self._read = read
        self._head = head
        self._wake = asyncio.Event()
        self._connection: Connection | None = None
        self._failures = 0
        self._heads_told: dict[str, Mapping[Stream, int]] = {}

    def wake(self) -> None:
        """Something may be due."""
        self._wake.set()

    def say(self, store: str, tail: str, payload: bytes, *, retain: bool = False) -> None:
        """Now, where there is a connection; what is lost, the store asks for or tells again."""
        if self._connection is not None:
            self._send(self._connection, store, tail, payload, retain=retain)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with self._link.connect() as connection:
                    await self._serve(connection)
            except* LinkLost as lost:
                self._failures += 1
                log.log(logging.WARNING if self._failures == 1 else logging.DEBUG, "partition=%s %s", self.name, lost.exceptions[0])
            stop_if_cancelled()
            await asyncio.sleep(min(BACKOFF_MAX_S, BACKOFF_MIN_S * 2 ** min(self._failures, 10)) * (0.5 + _RANDOM() / 2))

    async def _serve(self, connection: Connection) -> None:
        for outgoing in self.stores.values():
            outgoing.again()
        self._connection = connection
        self._heads_told.clear()
        self._wake.set()
        try:
            async with asyncio.TaskGroup() as tasks:
                # Reading comes first: rumqttd does not answer while what the kept session brings is not acknowledged.
                tasks.create_task(self._receive(connection), name=f"hq {self.name} receive")
                await connection.subscribe(f"{self._prefix}/{self.name}/+/up/+")
                self._failures = 0
                log.info("partition=%s broker=%s connected", self.name, self._link.address)
                tasks.create_task(self._publish(connection), name=f"hq {self.name} publish")
                await asyncio.Event().wait()  # a failure must meet us here: see `stop_if_cancelled`
        finally:
            self._connection = None

    async def _receive(self, connection: Connection) -> None:
        while True:
            self._heard.put_nowait(Heard(self.name, connection, await connection.receive()))

    async def _publish(self, connection: Connection) -> None:
        while True:
            self._wake.clear()
            for store, outgoing in list(self.stores.items()):
                for stream, first, last in outgoing.due():
                    for message in await self._read(store, stream, first, last):
                        await connection.room(WINDOW_MESSAGES)
                        self._send(connection, store, f"dn/{stream}", message)
                ends = outgoing.ends()
                if ends and self._heads_told.get(store) != ends:
                    self._heads_told[store] = ends
                    await connection.room(WINDOW_MESSAGES)
                    self._send(connection, store, "dn/head", self._head(outgoing, store), retain=True)
            await self._wake.wait()

    def _send(self, connection: Connection, store: str, tail: str, payload: bytes, *, retain: bool = False) -> None:
        topic = f"{self._prefix}/{self.name}/{store}/{tail}"
        connection.send(topic, payload, retain=retain).add_done_callback(_look)


def _look(future: asyncio.Future[None]) -> None:
    error = None if future.cancelled() else future.exception()
    if isinstance(error, PublishRefused):
        log.error("%s: head office needs write access to everything below its prefix", error)
