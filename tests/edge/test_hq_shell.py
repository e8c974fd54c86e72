"""What the shell of HQ sync does between broker and store: keys that change on the way, and what needs no connection."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.mqtt import Received
from edge.demo.broker import HOST, free_port
from edge.hq import HqSync
from edge.hq_ports import Lack, Missing, Outcome, ReceiveResult
from protocols.hq import Down, Message, Signer, Stream, encode_down, partition_of, uuid7
from protocols.hq_control import KeysPut
from protocols.hq_enrol import Enrolment, parse_enrolment
from tests.edge.test_hq_sync import NOW_MS, QUICK, STORE, WAIT_S, LinkClock, MemoryStore, _running, _until

HQ = "a" * 32
OLD, NEW, STRANGER = (Signer(f"k{n}", Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32)) for n in (1, 2, 3))


def enrolment(*signers: Signer, port: int = 1883) -> Enrolment:
    keys = [{"kid": each.kid, "public_key": each.public_key} for each in signers]
    broker = {"host": HOST, "port": port}
    file = {"store": STORE, "partition": partition_of(STORE), "broker": broker, "hq_keys": keys, "hq_incarnation": HQ}
    return parse_enrolment(json.dumps(file).encode())


def sealed(signer: Signer, type_: str, seq: int, data: dict[str, Any]) -> tuple[str, bytes]:
    down = Down(type_, uuid7(NOW_MS, seq.to_bytes(10, "big")), "hq", STORE, NOW_MS, HQ, seq, json.dumps(data).encode())
    return encode_down(down, signer)


def keys_put(signer: Signer, seq: int, *members: Signer) -> tuple[str, bytes]:
    keys = [{"kid": each.kid, "public_key": each.public_key} for each in members]
    return sealed(signer, "keys.put.v1", seq, {"revision": seq, "keys": keys})


class KeyStore(MemoryStore):
    """Believes the keys that a message brings once it is committed."""

    def __init__(self, *signers: Signer, port: int = 1883) -> None:
        super().__init__()
        self.taken: list[tuple[str, int | None]] = []
        self.tended = 0
        self._enrolment = enrolment(*signers, port=port)

    async def receive(self, message: Message) -> ReceiveResult:
        await asyncio.sleep(0)
        if isinstance(message.body, KeysPut):
            self._enrolment = enrolment(*(each for each in (OLD, NEW) if each.kid in {key.kid for key in message.body.keys}))
        self.taken.append((str(message.stream), message.seq))
        return ReceiveResult(Outcome.APPLIED)

    async def tend(self) -> tuple[Message, ...]:
        self.tended += 1
        self.changed.set()
        return ()


class Acked:
    """A connection that only notes what is acknowledged."""

    def __init__(self, count: int) -> None:
        self.acked: list[int] = []
        self.all = asyncio.Event()
        self._count = count

    def ack(self, received: Received) -> None:
        self.acked.append(received.mid)
        if len(self.acked) == self._count:
            self.all.set()


async def brought(store: KeyStore, *messages: tuple[str, bytes]) -> tuple[HqSync, list[int]]:
    """What the sync makes of messages that arrive together."""
    sync = HqSync(store, LinkClock(), enrolled=store.enrolled, outbox_wake=store.wake, timings=QUICK)
    known = store.enrolment()
    assert known is not None
    arrived: asyncio.Queue[Received] = asyncio.Queue()
    for number, (tail, raw) in enumerate(messages):
        arrived.put_nowait(Received(known.topics.topic(tail), raw, False, 1, number, 1))
    connection: Any = Acked(len(messages))
    receiving = asyncio.create_task(sync._receive(connection, arrived, known))
    async with asyncio.timeout(WAIT_S):
        await connection.all.wait()
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    return sync, connection.acked


async def test_what_comes_together_with_its_own_key_is_believed() -> None:
    """HQ says the new key and signs with it from the next message on: a hole here would be asked for, and perhaps noticed late."""
    store = KeyStore(OLD)
    price = {"rows": [{"sku": "1", "kind": "base", "price_id": "b", "rev": 1, "amount_minor": 1, "currency": "EUR"}]}
    sync, acked = await brought(
        store, keys_put(OLD, 1, OLD, NEW), sealed(NEW, "price.batch.v1", 1, price), sealed(STRANGER, "price.batch.v1", 2, price)
    )
    assert store.taken == [("sys", 1), ("price", 1)]
    assert acked == [0, 1, 2]
    assert sync.counters.bad_signature == 1


async def test_what_waits_is_tended_while_there_is_no_connection() -> None:
    """A connection that ended in the middle of a snapshot's pieces must not leave half a catalogue until HQ is back."""
    store = KeyStore(OLD, port=free_port())
    sync = HqSync(store, LinkClock(), enrolled=store.enrolled, outbox_wake=store.wake, random=lambda: 0.5, timings=QUICK)
    async with _running(sync):
        await _until(store, lambda: store.tended >= 3)
    assert sync.counters.connections == 0


def test_chunks_of_a_snapshot_that_was_given_up_are_not_asked_for_as_a_whole_one() -> None:
    store = KeyStore(OLD)
    sync = HqSync(store, LinkClock(), enrolled=asyncio.Event(), outbox_wake=asyncio.Event(), timings=QUICK)
    known = store.enrolment()
    assert known is not None
    assert sync._sync_request(known, Missing(Stream.BULK, None, 0, None, Lack.CHUNKS)) is None
