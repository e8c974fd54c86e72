"""A worker that has a partition again, what came in one batch, and what no store may do to it: on both engines, without a broker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.fleet_store import LightClock
from edge.head_office.db import leases, log, report
from edge.head_office.db.ledger import Arrived, Booked, Ledger
from edge.head_office.db.seam import Database, DatabaseGone, open_database
from edge.head_office.publishing import from_catalogue, from_item_rows
from edge.head_office.settings import HqPart, Settings
from edge.head_office.worker import Worker
from protocols.hq import PARTITIONS, Signer, Stream, partition_of, reparse
from protocols.hq_control import History
from protocols.hq_enrol import Broker
from protocols.hq_events import (
    AuditHead,
    Birth,
    Death,
    EventKind,
    LabelCounts,
    Stage,
    StagedAck,
    encode_ack_data,
    encode_state,
)
from tests.head_office.chains import ONE, arrive, chain, sale

HQ = "9" * 32
SIGNER = Signer("k1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
NOWHERE = Broker(host="127.0.0.1", port=1)
SETTINGS = Settings(Path(), HqPart(key="k1"), NOWHERE, NOWHERE)
PARTITION = partition_of("a")


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    log.prepare(opened, HQ)
    log.add_store(opened, "a")
    yield opened
    opened.close()


def book(db: Database, ledger: Ledger, *arrived: Arrived) -> Booked:
    with db.transaction():
        return ledger.book(arrived, 1_000)


def birth(boot: str = "b", audit: AuditHead | None = None) -> Arrived:
    state = Birth(
        store="a", incarnation=ONE, boot=boot, version="1", types=(), cursors={}, snapshot=None, up_seq=0, up_hash="0" * 64,
        labels=LabelCounts(0, 0), audit=audit,
    )  # fmt: skip
    return Arrived("a", "state", encode_state(state))


def death(boot: str = "b") -> Arrived:
    return Arrived("a", "state", encode_state(Death(store="a", incarnation=ONE, boot=boot)))


# -- leases that come back


def worker(db: Database, owner: str) -> Worker:
    made = Worker(SETTINGS, db, SIGNER, LightClock(), owner)
    made.incarnation, made._ledger = HQ, Ledger(db, HQ)
    return made


def take(each: Worker) -> None:
    _, taken, _ = each._lease_turn()
    assert PARTITION in taken
    each._fences |= taken


def give_back(each: Worker, db: Database) -> None:
    with db.transaction():
        leases.give_back(db, each._owner, each._fences)
        leases.leave(db, each._owner)
    each._fences.clear()


async def test_a_worker_that_has_a_partition_again_goes_on_where_the_other_one_stopped(db: Database) -> None:
    """Else the store, which was acknowledged, would never tell again what the first one believes to be missing."""
    events = chain(ONE, *(sale(number) for number in range(9)))
    one, two = worker(db, "one"), worker(db, "two")
    for each, part in ((one, events[:3]), (two, events[3:6]), (one, events[6:])):
        take(each)
        booked, _ = each._transaction(arrive("a", ONE, part), {PARTITION: each._fences[PARTITION]})
        assert (booked.events, booked.heads["a", ONE].seq) == (3, part[-1].seq)
        give_back(each, db)
    assert (db.rows("SELECT seq FROM chain"), db.rows("SELECT count(*) FROM sale")) == ([(9,)], [(9,)])


def test_a_booking_that_was_on_its_way_does_not_hold_on_to_what_was_given_back(db: Database) -> None:
    """Else nobody would work on the partition until the lease runs out."""
    with db.transaction():
        assert leases.take(db, PARTITION, "one", 60_000) == 1
        leases.give_back(db, "one", {PARTITION: 1})
    with pytest.raises(leases.LeaseLost), db.transaction():
        leases.renew(db, "one", {PARTITION: 1}, 60_000)
    with db.transaction():
        assert leases.take(db, PARTITION, "two", 60_000) == 2


async def test_a_worker_ends_when_the_log_began_anew_under_it(db: Database) -> None:
    one = worker(db, "one")
    take(one)
    log.begin_anew(db, "8" * 32)
    with pytest.raises(DatabaseGone, match="began anew"):
        one._lease_turn()


# -- what came in one batch


@pytest.mark.parametrize("before", ["b", "an earlier boot"])
def test_a_store_that_came_back_in_the_same_batch_is_there(db: Database, before: str) -> None:
    ledger = Ledger(db, HQ)
    book(db, ledger, birth(before))
    booked = book(db, ledger, death(before), birth())
    assert isinstance(booked.states[-1], Birth)
    assert isinstance(ledger.state("a"), Birth)
    booked = book(db, ledger, birth(), death())
    assert isinstance(booked.states[-1], Death)
    assert isinstance(ledger.state("a"), Death)


def test_a_will_of_an_earlier_boot_silences_nobody(db: Database) -> None:
    ledger = Ledger(db, HQ)
    assert [type(state) for state in book(db, ledger, birth(), death("an earlier boot")).states] == [Birth]


# -- what no store may do


@pytest.mark.parametrize("tail", ["sale", "state", "sync"])
@pytest.mark.parametrize("payload", [b'{"store": "\xff"}', b'{"x": ' + b"[" * 60_000], ids=["not UTF-8", "deep"])
def test_a_message_that_cannot_be_read_is_an_alarm_and_stops_nobody(db: Database, tail: str, payload: bytes) -> None:
    booked = book(db, Ledger(db, HQ), Arrived("a", tail, payload), *arrive("a", ONE, chain(ONE, sale(1))))
    assert (len(booked.complaints), booked.events) == (1, 1)


STRANGE = (
    (EventKind.SALE, {"sale_id": "s", "lines": [{"sku": "a\0b", "quantity": 1}]}),
    (EventKind.SALE, {"sale_id": "s", "business_date": "2025\0"}),
    (EventKind.STOCK, {"event": "stock\0", "sku": "1", "delta": 1}),
    (EventKind.STOCK, {"event": "stock", "sku": "\0", "delta": 1}),
    (EventKind.ACK, encode_ack_data(StagedAck("stock", HQ, 1, "id", Stage.REJECTED, reason="no\0"))),
    (EventKind.ACK, encode_ack_data(StagedAck("stock\0", HQ, 1, "id", Stage.APPLIED))),
    (EventKind.ACK, encode_ack_data(StagedAck("stock", HQ, 1, "id", Stage.CONFIRMED, labels=2**63 - 1))),
    (EventKind.SALE, '{"sale_id": "s", "x": ' + "[" * 60_000 + "]" * 60_000 + "}"),
)


@pytest.mark.parametrize("strange", STRANGE)
def test_an_event_that_no_database_takes_is_in_the_chain_and_an_alarm(db: Database, strange: tuple[EventKind, object]) -> None:
    kind, data = strange
    text = data if isinstance(data, str) else json.dumps(data)
    booked = book(db, Ledger(db, HQ), *arrive("a", ONE, chain(ONE, (kind, text), sale(7))))
    assert booked.heads["a", ONE].seq == 2
    assert [text.partition(" of kind")[0] for _, text in booked.complaints] == ["event 1"]
    assert (db.rows("SELECT sale_id FROM sale"), len(report.alarms(db))) == ([("s7",)], 1)


@pytest.mark.parametrize("state", [birth("b\0"), birth(audit=AuditHead(1, "a" * 64, "key\0")), death("\0")])
def test_a_state_that_no_database_takes_is_an_alarm(db: Database, state: Arrived) -> None:
    assert "NUL" in book(db, Ledger(db, HQ), state).complaints[0][1]


def test_a_store_is_booked_by_whoever_holds_its_own_partition(db: Database) -> None:
    """Two workers that book one chain would each believe what they remember of it."""
    other = f"{(int(PARTITION) + 1) % PARTITIONS:02d}"
    (arrived,) = arrive("a", ONE, chain(ONE, sale(1)))
    strayed = Arrived(arrived.store, arrived.tail, arrived.payload, other)
    booked = book(db, Ledger(db, HQ), strayed)
    assert (booked.events, booked.complaints[0][1]) == (
        0,
        f"up/sale: said in partition {other}: whoever holds the store's own books for it",
    )
    assert book(db, Ledger(db, HQ), Arrived(arrived.store, arrived.tail, arrived.payload, PARTITION)).events == 1


def test_an_audit_chain_that_shrank_is_held_against_the_store_for_good(db: Database) -> None:
    ledger = Ledger(db, HQ)
    book(db, ledger, birth(audit=AuditHead(9, "a" * 64)))
    for entry in (4, 5):
        assert "audit" in book(db, ledger, birth(audit=AuditHead(entry, "b" * 64))).complaints[0][1]
    assert db.rows("SELECT entry, hash FROM audit_head") == [(9, "a" * 64)]


# -- a database that came back from a copy


def test_a_log_that_begins_anew_still_knows_what_was_in_force_and_tells_a_restored_store_again(db: Database) -> None:
    author = log.Author(SIGNER, "hq")
    for price in ("1.09", "0.99"):
        text = f"sku,name,price\n1,Milk,{price}\n"
        log.append(db, author, "a", from_item_rows(text, "EUR", 2, log.price_revs(db, "a"), whole=True))
    since_ms = db.now_ms()
    log.say_history(db, author, "a", "2" * 32, since_ms)
    log.begin_anew(db, "8" * 32)
    log.append(db, author, "a", [from_catalogue(*log.catalogue(db, "a"))])
    (said,) = log.say_history(db, author, "a", "2" * 32, since_ms)
    bodies = [reparse("dn/sys", raw).body for raw in log.messages(db, "a", Stream.SYS, said.first, said.last)]
    assert {price.curve[0][1] for body in bodies if isinstance(body, History) for price in body.prices} == {109, 99}
    assert log.ends_of(db, "a") == {Stream.BULK: 2, Stream.SYS: 1}
