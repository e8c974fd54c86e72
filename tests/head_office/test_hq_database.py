"""Head office's transactions on both engines: what counts once, what a restored store tells again, and who may commit."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.head_office.db import leases, log, report
from edge.head_office.db.leases import LeaseLost
from edge.head_office.db.ledger import Arrived, Booked, Ledger
from edge.head_office.db.schema import ALARM, STOCK
from edge.head_office.db.seam import BadDatabase, Clash, Database, DatabaseGone, open_database
from edge.head_office.publishing import from_catalogue, from_item_rows, from_json, from_price_rows
from edge.head_office.sending import Snapshot
from protocols.hq import Signer, Stream, parse_down, public_key, reparse
from protocols.hq_control import History
from protocols.hq_events import AuditHead, Birth, Death, Event, EventKind, LabelCounts, Stage, StagedAck, encode_ack_data, encode_state
from protocols.hq_messages import SnapshotChunk, SnapshotManifest
from tests.head_office.chains import ONE, TWO, arrive, chain, sale

HQ = "9" * 32
SIGNER = Signer("k1", Ed25519PrivateKey.from_private_bytes(bytes(32)))
AUTHOR = log.Author(SIGNER, "hq")
ITEMS = "sku,name,price,stock\n1,Milk,1.09,7\n2,Bread,2.50,\n"
LEASE_MS = 60_000


@pytest.fixture
def db(database_url: str) -> Iterator[Database]:
    opened = open_database(database_url)
    log.prepare(opened, HQ)
    log.add_store(opened, "a")
    yield opened
    opened.close()


@pytest.fixture
def ledger(db: Database) -> Ledger:
    return Ledger(db, HQ)


def book(db: Database, ledger: Ledger, arrived: list[Arrived]) -> Booked:
    with db.transaction():
        return ledger.book(arrived, 1_000)


def told(db: Database, ledger: Ledger, events: list[Event], incarnation: str = ONE) -> Booked:
    return book(db, ledger, arrive("a", incarnation, events))


def on_hand(db: Database) -> dict[str, int]:
    return dict(db.rows("SELECT sku, on_hand FROM stock WHERE store = 'a' ORDER BY sku"))


def count(db: Database, table: str) -> int:
    return int(db.rows(f'SELECT count(*) FROM "{table}"')[0][0])


def planted(_done: object) -> None:
    """Something goes wrong after that was done."""
    raise ValueError("planted")


def too_late(db: Database, ledger: Ledger, arrived: list[Arrived]) -> None:
    """What a worker does that hung between reading and committing."""
    ledger.book(arrived, 0)
    leases.renew(db, "one", {"07": 1}, LEASE_MS)


# -- the seam


def test_rows_that_clash_stay_count_or_add_up(db: Database) -> None:
    with db.transaction():
        assert db.write(STOCK, [("a", "1", 5), ("a", "2", 1)], Clash.KEEP) == [("a", "1"), ("a", "2")]
        assert db.write(STOCK, [("a", "1", 9), ("a", "3", 2)], Clash.KEEP) == [("a", "3")]
        db.write(STOCK, [("a", "1", -2), ("a", "4", 4)], Clash.ADD)
        db.write(STOCK, [("a", "2", 8)], Clash.REPLACE)
        db.write(STOCK, [], Clash.ADD)
    assert on_hand(db) == {"1": 3, "2": 8, "3": 2, "4": 4}


def test_a_block_that_fails_leaves_nothing(db: Database) -> None:
    with pytest.raises(ValueError, match="planted"), db.transaction():
        planted(db.write(ALARM, [("a", "x", 1)], Clash.ADD))
    assert count(db, "alarm") == 0


def test_a_statement_that_cannot_be_is_an_error_of_ours_to_see(db: Database) -> None:
    with pytest.raises(DatabaseGone):
        db.rows("SELECT nothing FROM nowhere")


@pytest.mark.parametrize("url", ["mysql://x", "hq.db", ""])
def test_another_database_is_refused(url: str) -> None:
    with pytest.raises(BadDatabase, match="expected sqlite:PATH or postgresql"):
        open_database(url)


def test_nobody_at_the_address_is_one_line() -> None:
    with pytest.raises(DatabaseGone, match=r"^[^\n]+$"):
        open_database("postgresql://127.0.0.1:1/none")


# -- booking


def test_events_are_booked_once_in_order_whatever_comes_again(db: Database, ledger: Ledger) -> None:
    events = chain(ONE, *(sale(number) for number in range(45)))
    assert told(db, ledger, events[20:]).heads["a", ONE].seq == 0
    assert told(db, ledger, events[:20]).heads["a", ONE].seq == 45
    again = told(db, ledger, events)
    assert (again.events, again.repeated, again.complaints) == (0, 45, [])
    assert (count(db, "event"), count(db, "sale"), count(db, "early_event"), on_hand(db)) == (45, 45, 0, {"100": -45})


def test_what_waits_behind_a_gap_survives_the_worker(db: Database, ledger: Ledger) -> None:
    events = chain(ONE, *(sale(number) for number in range(30)))
    told(db, ledger, events[10:])
    assert told(db, Ledger(db, HQ), events[:10]).heads["a", ONE].seq == 30


def test_a_transaction_that_did_not_commit_is_forgotten(db: Database, ledger: Ledger) -> None:
    events = chain(ONE, *(sale(number) for number in range(6)))
    with pytest.raises(ValueError, match="planted"), db.transaction():
        planted(ledger.book(arrive("a", ONE, events[:3]), 0))
    ledger.forget()
    assert told(db, ledger, events).events == 6
    assert (count(db, "event"), count(db, "sale")) == (6, 6)


def test_a_restored_store_tells_again_and_everything_counts_once(db: Database, ledger: Ledger) -> None:
    lines = [{"sku": "100", "quantity": 1, "restocked": 1}]
    words = [
        sale(1),
        (EventKind.RETURN, {"return_id": "r1", "lines": lines}),
        (EventKind.VOID, {"void_id": "v1", "lines": lines}),
        (EventKind.STOCK, {"event": "stock.counted", "sku": "100", "delta": 10}),
        sale(2),
    ]
    told(db, ledger, chain(ONE, *words))
    before = on_hand(db)
    booked = told(db, ledger, chain(TWO, *words, sale(3)), TWO)
    assert (booked.complaints, booked.heads["a", TWO].seq) == ([], 6)
    assert (count(db, "sale"), count(db, "came_back"), count(db, "stock_move")) == (3, 2, 1)
    assert on_hand(db)["100"] == before["100"] - 1


def test_a_sale_that_is_told_again_with_other_words_is_an_alarm_and_the_first_counts(db: Database, ledger: Ledger) -> None:
    told(db, ledger, chain(ONE, sale(1)))
    booked = told(db, ledger, chain(TWO, sale(1, quantity=5)), TWO)
    assert booked.complaints == [("a", "two of sale with id s1")]
    assert on_hand(db) == {"100": -1}
    assert report.alarms(db) == [{"store": "a", "what": "two of sale with id s1", "times": 1}]


def test_a_fork_is_an_alarm_and_the_first_counts(db: Database, ledger: Ledger) -> None:
    told(db, ledger, chain(ONE, sale(1), sale(2)))
    booked = told(db, ledger, chain(ONE, sale(1), sale(9)))
    assert booked.complaints == [("a", f"fork: two events with number 2 of {ONE}")]
    assert [row[0] for row in db.rows("SELECT sale_id FROM sale ORDER BY sale_id")] == ["s1", "s2"]


@pytest.mark.parametrize(
    "arrived, complaint",
    [
        (Arrived("b", "sale", b"{}"), "this store was never added"),
        (Arrived("a", "sale", b"{}"), "missing required field"),
        (Arrived("a", "state", b"nonsense"), "up/state"),
        (arrive("a", ONE, chain(ONE, (EventKind.SALE, "nul \0 here")))[0], "NUL"),
        (Arrived("a", "sale", arrive("b", ONE, chain(ONE, sale(1)))[0].payload), "says that it is of store b"),
        (Arrived("a", "stock", arrive("a", ONE, chain(ONE, sale(1)))[0].payload), "of kind sale, not stock"),
    ],
)
def test_what_breaks_the_contract_is_an_alarm_and_stops_nobody(db: Database, ledger: Ledger, arrived: Arrived, complaint: str) -> None:
    booked = book(db, ledger, [arrived, *arrive("a", ONE, chain(ONE, sale(1)))])
    assert complaint in booked.complaints[0][1]
    assert count(db, "sale") == 1


def test_a_birth_is_answered_with_what_is_booked_and_a_late_will_of_another_boot_changes_nothing(db: Database, ledger: Ledger) -> None:
    told(db, ledger, chain(ONE, sale(1)))
    birth = Birth(
        store="a", incarnation=ONE, boot="b2", version="1", types=(), cursors={}, snapshot=None, up_seq=1, up_hash="0" * 64,
        labels=LabelCounts(0, 0), audit=AuditHead(5, "a" * 64),
    )  # fmt: skip
    booked = book(db, ledger, [Arrived("a", "state", encode_state(birth))])
    assert booked.heads["a", ONE].seq == 1
    book(db, ledger, [Arrived("a", "state", encode_state(Death(store="a", incarnation=ONE, boot="b1")))])
    assert isinstance(ledger.state("a"), Birth)
    book(db, ledger, [Arrived("a", "state", encode_state(Death(store="a", incarnation=ONE, boot="b2")))])
    assert isinstance(ledger.state("a"), Death)


# -- the log, and what comes of it


def test_streams_are_gap_free_signed_and_the_same_each_time(db: Database) -> None:
    revs = log.price_revs(db, "a")
    log.append(db, AUTHOR, "a", from_item_rows(ITEMS, "EUR", 2, revs, whole=True))
    for _ in range(3):
        log.append(db, AUTHOR, "a", from_price_rows("sku,price\n1,0.99\n", "EUR", 2, log.price_revs(db, "a")))
    found = [parse_down("dn/price", raw, {"k1": public_key(SIGNER.public_key)}, "a") for raw in log.messages(db, "a", Stream.PRICE, 1, 9)]
    assert [message.seq for message in found] == [1, 2, 3]
    assert [message.body.rows[0].rev for message in found] == [2, 3, 4]  # type: ignore[union-attr]
    assert log.messages(db, "a", Stream.PRICE, 1, 9) == [message.raw for message in found]


def test_a_snapshot_stands_on_the_prices_before_it(db: Database) -> None:
    log.append(db, AUTHOR, "a", from_item_rows(ITEMS, "EUR", 2, {}, whole=True))
    log.append(db, AUTHOR, "a", from_price_rows("sku,price\n2,3.00\n", "EUR", 2, log.price_revs(db, "a")))
    log.append(db, AUTHOR, "a", [from_catalogue(*log.catalogue(db, "a"))])
    manifest, chunk = (reparse("dn/bulk", raw).body for raw in log.messages(db, "a", Stream.BULK, 3, 99))
    assert isinstance(manifest, SnapshotManifest)
    assert isinstance(chunk, SnapshotChunk)
    assert manifest.base_price_seq == 1
    assert {row.sku: row.curve[0][1] for row in chunk.rows} == {"1": 109, "2": 300}
    assert log.snapshot_of(db, "a") == Snapshot(manifest_seq=3, base_price_seq=1)


def test_a_worker_sees_every_append_after_the_position_that_it_knows(db: Database) -> None:
    log.add_store(db, "b")
    log.append(db, AUTHOR, "a", from_item_rows(ITEMS, "EUR", 2, {}, whole=True))
    known = log.position(db)
    log.append(db, AUTHOR, "b", from_item_rows(ITEMS, "EUR", 2, {}, whole=True))
    every = set(log.stores(db).values())
    assert [end.store for end in log.ends(db, every, known)] == ["b"]
    assert log.ends(db, [], known) == []


def test_publishers_at_once_leave_no_gap_and_no_position_unseen(db: Database, database_url: str) -> None:
    def publish() -> None:
        own = open_database(database_url)
        for _ in range(10):
            log.append(own, AUTHOR, "a", from_json(b'{"type": "price.release.v1", "data": {"holds": ["h"]}}'))
        own.close()

    threads = [threading.Thread(target=publish) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert log.ends_of(db, "a") == {Stream.SYS: 30}
    assert (len(log.messages(db, "a", Stream.SYS, 1, 99)), log.position(db)) == (30, 30)


def test_a_store_that_was_never_added_is_told_nothing(db: Database) -> None:
    with pytest.raises(log.UnknownStore, match="shelfd hq store add"):
        log.append(db, AUTHOR, "z", from_item_rows(ITEMS, "EUR", 2, {}, whole=True))
    assert log.position(db) == 0


def test_a_log_that_begins_anew_counts_from_one(db: Database) -> None:
    log.append(db, AUTHOR, "a", from_item_rows(ITEMS, "EUR", 2, {}, whole=True))
    log.begin_anew(db, "8" * 32)
    log.append(db, AUTHOR, "a", [from_catalogue(*log.catalogue(db, "a"))])
    assert (log.incarnation_of(db), log.ends_of(db, "a")) == ("8" * 32, {Stream.BULK: 2})


@pytest.mark.parametrize("first, left_out", [(None, ()), (1, ()), (1, (1,))])
def test_stock_that_head_office_adjusted_counts_when_the_store_applied_it(
    db: Database, ledger: Ledger, first: int | None, left_out: tuple[int, ...]
) -> None:
    for name in ("d1", "d2"):
        data = {"adjustments": [{"id": name, "sku": "1", "delta": 6, "cause": "receipt"}]}
        log.append(db, AUTHOR, "a", from_json(json.dumps({"type": "stock.adjust.v1", "data": data}).encode()))
    ack = StagedAck("stock", HQ, 2, "id", Stage.APPLIED, first=first, except_=left_out)
    for incarnation in (ONE, TWO):  # a restored store applies and reports it again
        told(db, ledger, chain(incarnation, (EventKind.ACK, encode_ack_data(ack)), ids=incarnation), incarnation)
    assert on_hand(db) == {"1": 12 if first and not left_out else 6}
    assert ledger.reached("a", TWO) == {Stream.STOCK: 2}
    assert ledger.reached("a", ONE) == {}


# -- leases


def test_one_worker_holds_a_lease_and_its_fence_grows_with_each_owner(db: Database) -> None:
    with db.transaction():
        assert leases.take(db, "07", "one", LEASE_MS) == 1
        assert leases.take(db, "07", "two", LEASE_MS) is None
        assert leases.free(db, ["07", "08"]) == {"08"}
        leases.give_back(db, "one", {"07": 1})
        assert leases.take(db, "07", "two", LEASE_MS) == 2


def test_a_worker_that_was_overtaken_commits_nothing(db: Database, ledger: Ledger) -> None:
    with db.transaction():
        leases.take(db, "07", "one", -1)  # it ran out at once: the worker hung
        assert leases.take(db, "07", "two", LEASE_MS) == 2
    late = arrive("a", ONE, chain(ONE, sale(1)))
    with pytest.raises(LeaseLost, match="07"), db.transaction():
        too_late(db, ledger, late)
    assert count(db, "sale") == 0
    with db.transaction():
        leases.renew(db, "two", {"07": 2}, LEASE_MS)


def test_a_lease_that_ran_out_and_that_nobody_took_is_still_ours(db: Database) -> None:
    with db.transaction():
        leases.take(db, "07", "one", -1)
    with db.transaction():
        leases.renew(db, "one", {"07": 1}, LEASE_MS)


def test_a_takeover_waits_for_the_commit_that_renews(db: Database, database_url: str) -> None:
    with db.transaction():
        leases.take(db, "07", "one", -1)
    taken: list[int | None] = []

    def take() -> None:
        other = open_database(database_url)
        with other.transaction():
            taken.append(leases.take(other, "07", "two", LEASE_MS))
        other.close()

    thread = threading.Thread(target=take)
    with db.transaction():
        leases.renew(db, "one", {"07": 1}, LEASE_MS)
        thread.start()
        thread.join(0.2)  # it can only wait, or be about to
        assert taken == []
    thread.join()
    assert taken == [None]


def test_workers_that_end_are_no_longer_counted(db: Database) -> None:
    with db.transaction():
        assert (leases.beat(db, "one", LEASE_MS), leases.beat(db, "two", LEASE_MS)) == (1, 2)
        leases.leave(db, "one")
        assert leases.beat(db, "two", -1) == 0 or leases.beat(db, "two", LEASE_MS) == 1


# -- a store that was restored


def test_a_restored_store_is_told_its_bindings_and_what_was_in_force_since_once(db: Database, ledger: Ledger) -> None:
    bound = {"event": "label.bound", "label": "L1", "items": ["1"], "template": "shelf", "binding_rev": 3, "person": "x", "by": "y"}
    told(db, ledger, chain(ONE, (EventKind.LABEL, bound)))
    log.append(db, AUTHOR, "a", from_item_rows(ITEMS, "EUR", 2, {}, whole=True))
    log.append(db, AUTHOR, "a", from_price_rows("sku,price\n1,0.99\n", "EUR", 2, log.price_revs(db, "a")))
    log.append(db, AUTHOR, "a", from_item_rows(ITEMS.replace("1.09", "1.19"), "EUR", 2, log.price_revs(db, "a"), whole=True))
    (said,) = log.say_history(db, AUTHOR, "a", TWO, db.now_ms())
    bodies = [reparse("dn/sys", raw).body for raw in log.messages(db, "a", Stream.SYS, said.first, said.last)]
    assert all(isinstance(body, History) and body.restored == TWO for body in bodies)
    pages = [body for body in bodies if isinstance(body, History)]
    assert [page.last for page in pages] == [False, True]
    assert [(binding.label, binding.items, binding.binding_rev) for binding in pages[0].bindings] == [("L1", ("1",), 3)]
    assert {price.curve[0][1] for price in pages[1].prices if price.sku == "1"} == {109, 99, 119}
    assert log.say_history(db, AUTHOR, "a", TWO, db.now_ms()) == []
