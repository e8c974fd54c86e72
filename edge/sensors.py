"""What sensors of the store say over its own MQTT broker: kept beside the books, never in them.

A message is what `observation.v1` of HQ carries (`protocols.hq_stock.Observations`), from a broker that only sensors and this daemon use.
Nobody signs it, so it can do no more than cast doubt: `edge.store.observed`. The newest reading of each source and item counts; one that
is lost is replaced by the next, so a message is acknowledged when it was read. Everything that a sensor gone mad could grow is bounded.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Final

import msgspec

from drivers.base import Clock
from drivers.mqtt import MqttLink
from edge.model import ItemId
from edge.store import observed
from edge.store.observed import Seen
from edge.store.rows import Db
from edge.store.store import Store
from edge.view import Delta
from protocols.hq_messages import utc_ms
from protocols.hq_stock import Observations

log = logging.getLogger("sensors")

MESSAGE_BYTES_MAX: Final = 64 * 1024  # 500 readings of some 120 bytes
PENDING_MAX: Final = 10_000  # pairs of source and item that wait to be written
BATCH_MAX: Final = 100  # readings in one transaction: some 10 ms that a sale may have to wait
EVERY_MS: Final = 1_000  # so sensors cost at most a hundredth of the writer, and HQ at most 100 events a second
PAIRS_MAX: Final = 100_000  # kept: a store has some 120,000 items, and sensors watch few of them


@dataclass(slots=True)
class SensorCounters:
    """Since start, in readings; a message that is none counts one `bad`."""

    kept: int = 0
    superseded: int = 0  # a newer one of the same source and item came before it was written
    bad: int = 0
    unknown_item: int = 0
    dropped: int = 0  # over a limit


class Sensors:
    """One per store; used from the event loop's thread only."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.counters = SensorCounters()
        self._store = store
        self._clock = clock
        self._pending: dict[tuple[str, ItemId], Seen] = {}

    async def listen(self, link: MqttLink, topic: str) -> None:
        """Take what comes, until the connection is lost: raises LinkLost."""
        async with link.connect() as connection:
            await connection.subscribe(topic)
            log.info("broker %s: listening to %s", link.address, topic)
            while True:
                received = await connection.receive()
                self.take(received.payload)
                connection.ack(received)

    async def keep(self) -> None:
        """Write what was taken, until cancelled."""
        while True:
            await self.write()
            await self._clock.sleep_ms(EVERY_MS)

    def take(self, payload: bytes) -> None:
        """One message: its readings wait to be written. What cannot be used is counted and forgotten."""
        try:
            if len(payload) > MESSAGE_BYTES_MAX:
                raise msgspec.ValidationError("too large")
            found = msgspec.json.decode(payload, type=Observations)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            if not self.counters.bad:
                log.warning("a sensor's message is none (%s); more are only counted", error)
            self.counters.bad += 1
            return
        for each in found.observations:
            item_id = ItemId(each.sku)
            if item_id not in self._store.view.items:
                self.counters.unknown_item += 1
                continue
            seen = Seen(each.id, each.source, str(each.kind), item_id, each.quantity, utc_ms(each.seen_at))
            self._put(seen)

    def _put(self, seen: Seen) -> None:
        key = seen.source, seen.item_id
        waiting = self._pending.get(key)
        if waiting is None and len(self._pending) >= PENDING_MAX:
            self.counters.dropped += 1
        elif waiting is None:
            self._pending[key] = seen
        else:
            self._pending[key] = max(waiting, seen, key=lambda each: (each.observed_ms, each.observation_id))
            self.counters.superseded += 1

    async def write(self) -> int:
        """Write the readings that wait longest, in one transaction; how many were kept."""
        batch = [self._pending.pop(key) for key in list(self._pending)[:BATCH_MAX]]
        if not batch:
            return 0
        stamp = self._store.stamp()

        def transaction(db: Db) -> tuple[int, Delta]:
            delta = Delta()
            room = PAIRS_MAX - observed.pairs(db)
            kept = 0
            for seen in batch:
                is_new = not observed.is_known(db, seen)
                if is_new and room <= 0:
                    continue
                room -= is_new
                observed.observe(db, stamp, seen, delta)
                kept += 1
            return kept, delta

        kept = await self._store.run(transaction)
        self.counters.kept += kept
        self.counters.dropped += len(batch) - kept
        return kept
