"""`shelfd hq run`: a worker. It takes partitions by lease, books what their stores say, and says what the log has for them.

Commit, then acknowledge: to the broker, and to the store with a signature. Everything that came together is one transaction, in which
the leases are renewed: a worker that was overtaken commits nothing. An error of the database ends the worker; the service manager
starts it again, and whatever it had not acknowledged comes again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import msgspec

from drivers.base import Clock
from drivers.mqtt import LateAck, LinkLost, MqttLink, Will, stop_if_cancelled
from edge.head_office.db import leases
from edge.head_office.db import log as hq_log
from edge.head_office.db.leases import LeaseLost
from edge.head_office.db.ledger import Arrived, Booked, Ledger
from edge.head_office.db.seam import Database, DatabaseGone
from edge.head_office.partition import Heard, Partition
from edge.head_office.sending import Outgoing, Snapshot
from edge.head_office.settings import Settings
from edge.head_office.sharing import turn
from edge.hq import broker_address
from protocols.hq import Down, Signer, Stream, encode_down, partition_of, uuid7
from protocols.hq_events import HISTORY, Birth, SyncRequest
from protocols.hq_messages import utc_ms

log = logging.getLogger(__name__)

T = TypeVar("T")

Reached = dict[tuple[str, str], dict[Stream, int]]  # by store and incarnation

BATCH_MESSAGES_MAX: Final = 500  # in one transaction: bounds what a kill repeats and how long a takeover waits
LOG_POLL_S: Final = 0.02  # how soon something published is noticed: one read of one row
STATE: Final = "state"  # the lease of the one who tells stores that head office is there
RETRY_S: Final = 1.0
WILL_DELAY_S: Final = 5  # a worker that was started again at once was never away


@dataclass(slots=True)
class WorkerCounters:
    """Running totals since start."""

    messages: int = 0
    events: int = 0
    repeated: int = 0
    transactions: int = 0
    leases_lost: int = 0
    complaints: int = 0


class Worker:
    """Build it in a running event loop; `run` until cancelled. `owner` names it among the workers and is never used twice."""

    def __init__(self, settings: Settings, db: Database, signer: Signer, clock: Clock, owner: str) -> None:
        self.counters = WorkerCounters()
        self.partitions: dict[str, Partition] = {}
        self.incarnation = ""
        self._settings = settings
        self._db = db
        self._signer = signer
        self._clock = clock
        self._owner = owner
        self._fences: dict[str, int] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._heard: asyncio.Queue[Heard] = asyncio.Queue()
        self._position = 0
        self._ledger = Ledger(db, "")
        self._author = hq_log.Author(signer, settings.hq.source)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hq-database")
        self._group: asyncio.TaskGroup | None = None

    async def run(self) -> None:
        """Until cancelled. Raises `DatabaseGone`, in a group."""
        try:
            self.incarnation = await self._ask(lambda: hq_log.incarnation_of(self._db))
            self._ledger = Ledger(self._db, self.incarnation)
            async with asyncio.TaskGroup() as group:
                self._group = group
                group.create_task(self._hold_leases(), name="hq leases")
                group.create_task(self._follow_log(), name="hq log")
                group.create_task(self._ingest(), name="hq ingest")
        finally:
            self._thread.shutdown(wait=True)

    def leave(self) -> None:
        """After `run` ended in good order, with the database still there: others need not wait for the leases to run out."""
        with self._db.transaction():
            leases.give_back(self._db, self._owner, self._fences)
            leases.leave(self._db, self._owner)

    async def _ask(self, question: Callable[[], T]) -> T:
        """On the database's thread. A cancellation waits for the answer: the connection must not be left in the middle."""
        future = asyncio.get_running_loop().run_in_executor(self._thread, question)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.wait([future])
            raise

    # -- leases ------------------------------------------------------------------------------------------------------------

    async def _hold_leases(self) -> None:
        while True:
            stores, taken, lost = await self._ask(self._lease_turn)
            for name in lost:
                self._drop(name)
            for name, fence in taken.items():
                self._fences[name] = fence
                await self._begin(name, [store for store, partition in stores.items() if partition == name])
            await self._meet(stores)
            await asyncio.sleep(self._settings.hq.lease_ms / 4_000)

    def _lease_turn(self) -> tuple[dict[str, str], dict[str, int], list[str]]:
        """(store to partition, leases taken with their fences, leases that are not ours any more)."""
        db, lease_ms = self._db, self._settings.hq.lease_ms
        with db.transaction():
            self._same_log()
            workers = leases.beat(db, self._owner, lease_ms)
            stores = hq_log.stores(db)
            wanted = sorted(set(stores.values()))
            mine = set(self._fences) - {STATE}
            step = turn(wanted, mine, leases.free(db, wanted), workers)
            lost = list(step.give_back)
            leases.give_back(db, self._owner, {name: self._fences[name] for name in step.give_back})
            for name in set(self._fences) - set(step.give_back):
                try:
                    leases.renew(db, self._owner, {name: self._fences[name]}, lease_ms)
                except LeaseLost:
                    lost.append(name)
                    self.counters.leases_lost += 1
            asked = list(step.take) if STATE in self._fences else [*step.take, STATE]
            fences = {name: fence for name in asked if (fence := leases.take(db, name, self._owner, lease_ms)) is not None}
            if fences:
                self._ledger.forget()  # whoever held them since we last did has booked, too
        return stores, fences, lost

    async def _begin(self, name: str, stores: list[str]) -> None:
        """The partition is ours from now on."""
        log.info("lease=%s fence=%d taken", name, self._fences[name])
        assert self._group is not None
        if name == STATE:
            self._tasks[name] = self._group.create_task(self._tell_state(), name="hq state")
            return
        position, outgoing = await self._ask(partial(self._load, stores))
        prefix, address = self._settings.hq.topic_prefix, broker_address(self._settings.broker)
        partition = Partition(name, prefix, address, self._heard, outgoing, self._read, self._head)
        self.partitions[name] = partition
        self._position = min(self._position, position)  # what was said since is looked at again
        self._tasks[name] = self._group.create_task(partition.run(), name=f"hq {name}")

    async def _meet(self, stores: dict[str, str]) -> None:
        """Stores that were added since."""
        new = [store for store, name in stores.items() if name in self.partitions and store not in self.partitions[name].stores]
        if not new:
            return
        position, outgoing = await self._ask(partial(self._load, new))
        for store in new:
            if (partition := self.partitions.get(stores[store])) is not None:
                partition.stores[store] = outgoing[store]
                partition.wake()
        self._position = min(self._position, position)

    def _load(self, stores: list[str]) -> tuple[int, dict[str, Outgoing]]:
        """What is known of these stores, and the log's position before it was read."""
        return hq_log.position(self._db), {store: self._outgoing(store) for store in stores}

    def _outgoing(self, store: str) -> Outgoing:
        outgoing = Outgoing(self.incarnation)
        outgoing.snapshot = hq_log.snapshot_of(self._db, store)
        for stream, last in hq_log.ends_of(self._db, store).items():
            outgoing.grew(stream, last)
        state = self._ledger.state(store)
        if isinstance(state, Birth):
            outgoing.birth(state, self._ledger.reached(store, state.incarnation))
        return outgoing

    def _drop(self, name: str) -> None:
        log.warning("lease=%s lost or given back", name)
        self._fences.pop(name, None)
        self.partitions.pop(name, None)
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    # -- up ----------------------------------------------------------------------------------------------------------------

    async def _ingest(self) -> None:
        while True:
            batch = [await self._heard.get()]
            while len(batch) < BATCH_MESSAGES_MAX and not self._heard.empty():
                batch.append(self._heard.get_nowait())
            await self._book(batch)

    async def _book(self, batch: list[Heard]) -> None:
        while batch:
            batch = [each for each in batch if each.partition in self._fences]  # of the others, nothing was acknowledged
            arrived = [_arrived(each, self._settings.hq.topic_prefix) for each in batch]
            fences = {each.partition: self._fences[each.partition] for each in batch}
            try:
                booked, reached = await self._ask(partial(self._transaction, arrived, fences))
            except LeaseLost as error:
                self.counters.leases_lost += len(error.names)
                for name in error.names:
                    self._drop(name)
                continue
            self._acknowledge(batch)
            self._tell(booked, reached)
            for request in booked.asked:
                await self._answer(request)
            return

    async def _answer(self, request: SyncRequest) -> None:
        """What is said anew for who asks; the log grows, and is followed as when somebody publishes."""
        outgoing = self._outgoing_of(request.store)
        if request.stream == HISTORY and request.since is not None:
            await self._ask(partial(self._say_history, request.store, request.incarnation, utc_ms(request.since)))
        elif outgoing is not None and request.snapshot is not None and outgoing.says_chunks_anew(request):
            said = await self._ask(partial(hq_log.say_chunks, self._db, self._author, request.store, request.snapshot, request.chunks))
            for each in said:  # known before the next request is looked at: it is not answered twice
                outgoing.grew(each.stream, each.last)

    def _say_history(self, store: str, restored: str, since_ms: int) -> None:
        said = hq_log.say_history(self._db, self._author, store, restored, since_ms)
        if said:
            log.info("store=%s restored=%s history in %d message(s)", store, restored, said[0].last - said[0].first + 1)

    def _transaction(self, arrived: list[Arrived], fences: dict[str, int]) -> tuple[Booked, Reached]:
        done = False
        try:
            with self._db.transaction():
                leases.renew(self._db, self._owner, fences, self._settings.hq.lease_ms)
                booked = self._ledger.book(arrived, self._clock.wall_ms())
                reached = {(each.store, each.incarnation): self._ledger.reached(each.store, each.incarnation) for each in booked.births}
            done = True
        finally:
            if not done:
                self._ledger.forget()
        return booked, reached

    def _acknowledge(self, batch: list[Heard]) -> None:
        self.counters.transactions += 1
        self.counters.messages += len(batch)
        for each in batch:
            with suppress(LateAck):  # it comes again on the new connection, and is booked already
                each.connection.ack(each.received)

    def _tell(self, booked: Booked, reached: Reached) -> None:
        """What stores have to hear now."""
        self.counters.events += booked.events
        self.counters.repeated += booked.repeated
        self.counters.complaints += len(booked.complaints)
        for store, what in booked.complaints:
            log.error("store=%s %s", store, what)
        for (store, incarnation), head in booked.heads.items():
            data = {"store": store, "incarnation": incarnation, "seq_through": head.seq, "last_hash": head.hash}
            self._say(store, "dn/ack", self._sealed("ack.v1", store, data))
        for state in booked.states:
            outgoing = self._outgoing_of(state.store)
            if outgoing is not None and isinstance(state, Birth):
                outgoing.birth(state, reached[state.store, state.incarnation])
            elif outgoing is not None:
                outgoing.death()
        for store, ack in booked.acks:
            if (outgoing := self._outgoing_of(store)) is not None:
                outgoing.received(ack)
        for request in booked.asked:
            if (outgoing := self._outgoing_of(request.store)) is not None:
                outgoing.asked(request)
        touched = (
            {birth.store for birth in booked.births} | {request.store for request in booked.asked} | {store for store, _ in booked.acks}
        )
        for name in {partition_of(store) for store in touched}:
            if (partition := self.partitions.get(name)) is not None:
                partition.wake()

    def _outgoing_of(self, store: str) -> Outgoing | None:
        partition = self.partitions.get(partition_of(store))
        return None if partition is None else partition.stores.get(store)

    def _say(self, store: str, tail: str, payload: bytes) -> None:
        partition = self.partitions.get(partition_of(store))
        if partition is not None:
            partition.say(store, tail, payload)

    # -- down --------------------------------------------------------------------------------------------------------------

    async def _follow_log(self) -> None:
        """Notice what was published, by whichever process."""
        while True:
            await asyncio.sleep(LOG_POLL_S)
            after = self._position
            position, grown = await self._ask(partial(self._grown, list(self.partitions), after))
            if self._position == after:  # else a partition was taken over in the meantime: look again from there
                self._position = position
            for end, snapshot in grown:
                outgoing = self._outgoing_of(end.store)
                if outgoing is not None:
                    outgoing.grew(end.stream, end.seq)
                    if snapshot is not None:
                        outgoing.restart(snapshot)
            for name in {partition_of(end.store) for end, _ in grown}:
                if (partition := self.partitions.get(name)) is not None:
                    partition.wake()

    def _grown(self, names: list[str], after: int) -> tuple[int, list[tuple[hq_log.End, Snapshot | None]]]:
        position = hq_log.position(self._db)
        if position == after:
            return position, []
        self._same_log()
        ends = hq_log.ends(self._db, names, after)
        return position, [(end, hq_log.snapshot_of(self._db, end.store) if end.stream is Stream.BULK else None) for end in ends]

    def _same_log(self) -> None:
        """Raises DatabaseGone where `shelfd hq restored` came in between: all that is remembered is of another log."""
        if hq_log.incarnation_of(self._db) != self.incarnation:
            raise DatabaseGone("the log began anew")

    async def _read(self, store: str, stream: Stream, first: int, last: int) -> list[bytes]:
        return await self._ask(lambda: hq_log.messages(self._db, store, stream, first, last))

    def _head(self, outgoing: Outgoing, store: str) -> bytes:
        streams = {str(stream): {"incarnation": self.incarnation, "seq": last} for stream, last in outgoing.ends().items()}
        return self._sealed("head.v1", store, {"streams": streams})

    def _sealed(self, type_: str, store: str, data: object) -> bytes:
        """A message outside the streams."""
        text, now_ms = msgspec.json.encode(data), self._clock.wall_ms()
        seed = hashlib.sha256(self.incarnation.encode() + store.encode() + text).digest()
        source = self._settings.hq.source
        down = Down(type_, uuid7(now_ms, seed[:10]), source, store, now_ms, self.incarnation, None, data=text)
        return encode_down(down, self._signer)[1]

    async def _tell_state(self) -> None:
        """`hq/state`, retained, with a will: stores see that somebody books."""
        topic = f"{self._settings.hq.topic_prefix}/hq/state"
        gone = json.dumps({"online": False, "worker": self._owner}).encode()
        here = json.dumps({"online": True, "worker": self._owner}).encode()
        link = MqttLink(broker_address(self._settings.broker), "hq-state")
        while True:
            try:
                async with link.connect(Will(topic, gone, WILL_DELAY_S)) as connection:
                    try:
                        await connection.publish(topic, here, retain=True)
                        while True:
                            await connection.receive()  # nothing is subscribed: this is the end of the connection, when it comes
                    finally:
                        connection.send(topic, gone, retain=True)
            except LinkLost as error:
                log.debug("hq/state: %s", error)
            stop_if_cancelled()
            await asyncio.sleep(RETRY_S)


def _arrived(each: Heard, prefix: str) -> Arrived:
    """The subscription admits `{prefix}/{partition}/{store}/up/{tail}` only."""
    store, _, tail = each.received.topic.removeprefix(f"{prefix}/{each.partition}/").partition("/up/")
    return Arrived(store, tail, each.received.payload, each.partition)
