"""The small HQ's books: every event once and in order, every sale once, and the alarms."""

from __future__ import annotations

import json
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.demo.hq_books import HqBooks
from protocols.hq import Signer, Stream, parse_down, public_key
from protocols.hq_events import (
    FIRST_PREV_HASH,
    Birth,
    Event,
    EventKind,
    LabelCounts,
    Stage,
    StagedAck,
    batches,
    encode_ack_data,
    encode_up_batch,
    make_event,
)
from protocols.hq_messages import HqAck, SnapshotChunk, SnapshotManifest, StreamPosition

STORE, ONE, TWO, HQ = "demo-01", "1" * 32, "2" * 32, "9" * 32
SIGNER = Signer("k1", Ed25519PrivateKey.from_private_bytes(bytes(32)))


def _books() -> HqBooks:
    return HqBooks(STORE, SIGNER, HQ)


def _chain(incarnation: str, *events: tuple[EventKind, Any]) -> list[Event]:
    chain: list[Event] = []
    for seq, (kind, data) in enumerate(events, 1):
        text = data if isinstance(data, str) else json.dumps(data)
        before = chain[-1].hash if chain else FIRST_PREV_HASH
        chain.append(make_event(incarnation, seq, kind, f"id-{seq}", "2025-01-31T08:00:00Z", text, before))
    return chain


def _sale(number: int, sku: str = "100", quantity: int = 1) -> tuple[EventKind, Any]:
    return EventKind.SALE, {"sale_id": f"s{number}", "lines": [{"sku": sku, "quantity": quantity}, {"sku": None, "quantity": 1}]}


def _book(books: HqBooks, incarnation: str, events: list[Event], now_ms: int = 0) -> None:
    for run in batches(events):
        books.book(run[0].kind, encode_up_batch(STORE, incarnation, run), now_ms)


def _acknowledged(books: HqBooks, incarnation: str) -> tuple[int, str]:
    tail, raw = books.acknowledgement(incarnation, 0)
    body = parse_down(tail, raw, {"k1": public_key(SIGNER.public_key)}, STORE).body
    assert isinstance(body, HqAck)
    return body.seq_through, body.last_hash


@given(st.lists(st.sampled_from(["sale", "stock"]), min_size=1, max_size=60), st.data())
@settings(max_examples=60)
def test_any_order_with_repeats_is_booked_once_and_in_order(kinds: list[str], data: st.DataObject) -> None:
    events = _chain(ONE, *(_sale(n) if kind == "sale" else (EventKind.STOCK, {"sku": "100", "delta": 3}) for n, kind in enumerate(kinds)))
    runs = batches(events)
    order = data.draw(st.permutations(runs + data.draw(st.lists(st.sampled_from(runs), max_size=5))))
    books = _books()
    for run in order:
        books.book(run[0].kind, encode_up_batch(STORE, ONE, run), 0)
    assert _acknowledged(books, ONE) == (len(events), events[-1].hash)
    assert books.stock["100"] == sum(-1 if kind == "sale" else 3 for kind in kinds)
    assert books.alarms == []


def test_an_ack_never_goes_past_a_gap() -> None:
    books, events = _books(), _chain(ONE, *(_sale(n) for n in range(5)))
    _book(books, ONE, [events[0], *events[2:]])
    assert _acknowledged(books, ONE) == (1, events[0].hash)
    assert list(books.sales) == ["s0"]
    _book(books, ONE, events[1:2])
    assert _acknowledged(books, ONE) == (5, events[4].hash)


def test_a_sale_that_comes_again_after_a_restore_counts_once() -> None:
    books = _books()
    _book(books, ONE, _chain(ONE, _sale(1), _sale(2)))
    _book(books, TWO, _chain(TWO, _sale(2), _sale(3)))
    assert (sorted(books.sales), books.stock["100"], books.alarms) == (["s1", "s2", "s3"], -3, [])


def test_a_rewritten_history_and_a_reused_sale_id_are_alarms() -> None:
    books = _books()
    _book(books, ONE, _chain(ONE, _sale(1), _sale(2)))
    _book(books, ONE, _chain(ONE, _sale(1), _sale(7)))
    assert len(books.alarms) == 1
    assert "fork" in books.alarms[0]
    _book(books, TWO, _chain(TWO, _sale(2, quantity=9)))
    assert "two sales with id s2" in books.alarms[1]
    assert books.stock["100"] == -2


def test_messages_that_break_the_contract_are_alarms_and_book_nothing() -> None:
    books, events = _books(), tuple(_chain(ONE, _sale(1)))
    assert books.book("stock", encode_up_batch(STORE, ONE, events), 0) is None
    assert books.book("sale", encode_up_batch("other", ONE, events), 0) is None
    assert books.book("sale", b"{", 0) is None
    assert books.book("sale", encode_up_batch(STORE, TWO, tuple(_chain(TWO, (EventKind.SALE, "no json")))), 0) == TWO
    assert (len(books.alarms), books.sales) == (4, {})


def test_adjustments_count_when_the_store_has_applied_them() -> None:
    books = _books()
    seq = books.adjust_stock([{"id": "a1", "sku": "100", "delta": 6, "cause": "delivery"}], 0)
    assert books.stock == {}
    stages = [StagedAck("stock", HQ, seq, "id", stage) for stage in (Stage.RECEIVED, Stage.APPLIED, Stage.APPLIED)]
    _book(books, ONE, _chain(ONE, *((EventKind.ACK, encode_ack_data(ack)) for ack in stages)), now_ms=5)
    assert books.stock == {"100": 6}
    assert books.reached(Stream.STOCK, seq, Stage.APPLIED)
    assert books.acks["stock", seq][Stage.RECEIVED].at_ms == 5


def test_a_snapshot_is_a_manifest_and_chunks_that_fit_it() -> None:
    books = _books()
    row = {"kind": "base", "price_id": "p", "rev": 1, "amount_minor": 5, "currency": "EUR"}
    skus = [str(number) for number in range(1_100)]
    books.say("price.batch.v1", {"rows": [{"sku": "1", **row}]}, 0)
    books.snapshot([{"sku": sku, "name": "x"} for sku in skus], [{"sku": sku, **row} for sku in skus], [{"sku": "1", "on_hand": 2}], 0)
    bodies = []
    for seq in range(1, books.last_seq(Stream.BULK) + 1):
        tail, raw = books.entry(Stream.BULK, seq)
        bodies.append(parse_down(tail, raw, {"k1": public_key(SIGNER.public_key)}, STORE).body)
    manifest, *chunks = bodies
    assert isinstance(manifest, SnapshotManifest)
    assert (manifest.items, manifest.base_price_seq, len(chunks)) == (1_100, 1, 3)
    for ref, chunk in zip(manifest.chunks, chunks, strict=True):
        assert isinstance(chunk, SnapshotChunk)
        assert (ref.n, ref.sha256, ref.rows) == (chunk.n, chunk.sha256, len(chunk.rows))
    assert books.stock == {"1": 2}


def _birth(snapshot: str | None, **seqs: int) -> Birth:
    return Birth(
        store=STORE,
        incarnation=ONE,
        boot="b",
        version="1",
        types=(),
        cursors={stream: StreamPosition(HQ, seq) for stream, seq in seqs.items()},
        snapshot=snapshot,
        up_seq=0,
        up_hash=FIRST_PREV_HASH,
        labels=LabelCounts(0, 0),
    )


def test_sending_starts_at_the_newest_snapshot_for_a_new_store_and_at_the_cursors_for_a_known_one() -> None:
    books = _books()
    for rev in range(1, 4):
        row = {"sku": "1", "kind": "base", "price_id": "p", "rev": rev, "amount_minor": 5, "currency": "EUR"}
        books.say("price.batch.v1", {"rows": [row]}, 0)
        if rev < 3:
            books.snapshot([{"sku": "1", "name": "x"}], [row], [], 0)
    new = books.first_to_send(_birth(None))
    assert (new[Stream.BULK], new[Stream.PRICE], new[Stream.STOCK]) == (3, 3, 1)
    known = books.first_to_send(_birth("s3", price=3, bulk=4))
    assert (known[Stream.BULK], known[Stream.PRICE]) == (5, 4)
    assert list(books.to_resend(Stream.BULK, None, 0, None)) == [3, 4]
    assert list(books.to_resend(Stream.PRICE, HQ, 2, 9)) == [2, 3]
    assert list(books.to_resend(Stream.PRICE, TWO, 2, 2)) == [1, 2]


def test_what_comes_back_is_booked_once_by_its_id_also_after_a_restore() -> None:
    books = _books()
    back = EventKind.RETURN, {"return_id": "r1", "lines": [{"sku": "100", "quantity": 2, "restocked": 1}, {"sku": None, "restocked": 0}]}
    void = EventKind.VOID, {"void_id": "v1", "lines": [{"sku": "100", "quantity": 3}]}
    _book(books, ONE, _chain(ONE, _sale(1, quantity=5), back, void))
    _book(books, TWO, _chain(TWO, void, back))
    assert (books.stock["100"], books.alarms, sorted(books.came_back)) == (-5 + 1 + 3, [], ["return_id r1", "void_id v1"])
    other = EventKind.VOID, {"void_id": "v1", "lines": []}
    three = "3" * 32
    _book(books, three, _chain(three, other))
    assert books.alarms == ["two events with void_id v1"]


def test_stock_events_without_a_change_move_nothing() -> None:
    books = _books()
    granted = EventKind.STOCK, {"event": "hold.granted", "hold_id": "h1", "sku": "100", "delta": 0}
    levels = EventKind.STOCK, {"event": "stock.levels", "levels": [["100", 7, 0, 0]]}
    collected = EventKind.STOCK, {"event": "hold.collected", "hold_id": "h1", "sku": "100", "delta": -2}
    _book(books, ONE, _chain(ONE, granted, levels, collected))
    assert (books.stock, books.alarms) == ({"100": -2}, [])
