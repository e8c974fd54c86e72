"""Coming together again: part of a catalogue, shared chunks, crashes in the middle, and the same hashes on both sides at the end."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import random
import zlib
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import apsw
import msgspec
import pytest

from edge.hq_ports import Outcome
from edge.model import ItemId
from edge.store import answers, catalogue, snapshots
from edge.store.snapshots import SLICE_ROWS
from edge.store.store import Store
from edge.view import Delta
from protocols.hq import Message, StreamCursor, utc_text
from protocols.hq_buckets import HASH_BYTES, bucket_hashes, bucket_of, differing, item_line, price_line
from protocols.hq_control import Query, QueryKind
from protocols.hq_events import parse_reply
from protocols.hq_fields import BUCKETS
from protocols.hq_messages import Item, PriceKind, PriceRow, Unit, decode_body
from protocols.hq_zone import ZoneChunk
from tests.edge.shop import BREAD, HOUR_MS, HQ_ONE, HQ_TWO, MILK, NOON_MS, Entropy, HandClock, Hq, Shop, item, message, price
from tests.edge.stepped import Crash, MemoryStore
from tests.edge.test_store_till import sale


class HqBook:
    """What HQ believes of its own catalogue: the last word about each item and price."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, object]] = {}
        self.prices: dict[tuple[str, str], dict[str, object]] = {}

    def took(self, data: dict[str, Any]) -> None:
        for each in data.get("items", []):
            self.items[each["sku"]] = each
        for sku in data.get("removed", []):
            self.items.pop(sku, None)
        for row in data.get("rows", []):
            self.prices[row["sku"], row["price_id"]] = row

    def hashes(self) -> bytes:
        return bucket_hashes(self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        for sku, wire in self.items.items():
            yield sku, item_line(msgspec.convert(wire, Item))
        for (sku, _), wire_row in self.prices.items():
            batch: Any = decode_body("price.batch.v1", msgspec.json.encode({"rows": [wire_row]}))
            row: PriceRow = batch.rows[0]
            if sku in self.items and not row.cancelled:
                yield sku, price_line(row)

    def chunk(self, buckets: set[int]) -> dict[str, object]:
        items = [each for sku, each in self.items.items() if bucket_of(sku) in buckets]
        rows = [
            row for (sku, _), row in self.prices.items() if bucket_of(sku) in buckets and sku in self.items and not row.get("cancelled")
        ]
        return {"items": items, "rows": rows}


def hashes_of(db: apsw.Connection) -> bytes:
    row = answers.answer(db, Query(QueryKind.BUCKETS), "demo-01", "id").rows[0]
    return base64.b64decode(msgspec.json.decode(row)["hashes"])


def scope(shop: Shop, *buckets: int) -> dict[str, object]:
    at = shop.store.cursors()["price"]
    return {"buckets": list(buckets), "price": {"incarnation": at.incarnation, "seq": at.seq}}


# -- snapshots against the price stream ------------------------------------------------------------------------------------


async def test_what_hq_said_while_a_snapshot_came_is_not_undone_by_it(stocked: Shop) -> None:
    """The snapshot was written before: it neither names the new item nor knows the new name."""
    said = stocked.hq.snapshot("s2", [{"items": [item("milk"), item("bread")], "rows": [price("milk", 90, rev=2), price("bread", 200)]}])
    await stocked.store.receive(said[0])
    await stocked.say("item.batch.v1", {"items": [item("tea"), item("milk", name="Fresh milk")], "removed": ["bread"]})
    await stocked.prices(price("tea", 300), price("milk", 95, rev=3))
    await stocked.store.receive(said[1])
    view = stocked.store.view
    assert (view.items[MILK].name, view.items[BREAD].removed, view.items[ItemId("tea")].removed) == ("Fresh milk", True, False)
    assert (stocked.charge(MILK), stocked.charge(ItemId("tea"))) == (95, 300)
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_ONE, 2)


async def test_a_later_snapshot_has_the_last_word_again(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("tea")]})
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 90, rev=2)]}]):
        await stocked.store.receive(each)
    assert {sku for sku, each in stocked.store.view.items.items() if not each.removed} == {"milk"}


async def test_a_snapshot_that_cannot_be_used_is_given_up_and_the_old_catalogue_stays(stocked: Shop) -> None:
    said = stocked.hq.snapshot("s2", [{"items": [item("tea")]}, {"items": [], "rows": [price("tea", 90, currency="USD")]}])
    for each in said[:-1]:
        await stocked.store.receive(each)
    assert (await stocked.store.receive(said[-1])).outcome is Outcome.REJECTED
    assert stocked.store.missing_chunks() is None
    assert (stocked.store.view.generation, stocked.charge(MILK)) == ("s1", 100)
    for each in stocked.hq.snapshot("s3", [{"items": [item("milk")], "rows": [price("milk", 80, rev=2)]}]):
        await stocked.store.receive(each)
    assert (stocked.store.view.generation, stocked.charge(MILK)) == ("s3", 80)


# -- part of a catalogue ---------------------------------------------------------------------------------------------------


async def test_a_part_replaces_its_buckets_and_leaves_the_others_alone(stocked: Shop) -> None:
    assert bucket_of("milk") != bucket_of("bread")
    part: list[dict[str, object]] = [{"items": [item("milk", name="Milk 2")], "rows": [price("milk", 80, rev=2)]}]
    for each in stocked.hq.snapshot("s2", part, scope=scope(stocked, bucket_of("milk"), bucket_of("beef"))):
        await stocked.store.receive(each)
    view = stocked.store.view
    assert (view.items[MILK].name, view.items[BREAD].removed, view.items[ItemId("beef")].removed) == ("Milk 2", False, True)
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (80, 200)


async def test_a_part_moves_the_price_stream_only_from_where_the_rest_was_equal(stocked: Shop) -> None:
    found = scope(stocked, bucket_of("milk"))
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 80, rev=2)]}], base=500, scope=found):
        await stocked.store.receive(each)
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_ONE, 500)
    for each in stocked.hq.snapshot("s3", [{"items": [item("milk")], "rows": [price("milk", 80, rev=2)]}], base=900, scope=found):
        await stocked.store.receive(each)
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_ONE, 500)


@pytest.mark.parametrize("seed", range(40))
async def test_only_what_differs_travels_and_both_sides_are_equal_then(shop: Shop, seed: int) -> None:
    """Any history of batches, of which the store lost the end, and HQ its log: hashes find what differs, a part heals it."""
    chance, book = random.Random(seed), HqBook()
    skus = [f"sku-{n}" for n in range(60)]
    start: dict[str, Any] = {"items": [item(sku) for sku in skus], "rows": [price(sku, 100) for sku in skus]}
    book.took(start)
    for each in shop.hq.snapshot("s1", [start]):
        await shop.store.receive(each)
    revs = dict.fromkeys(skus, 1)
    lost_from = chance.randrange(12)
    for step in range(12):
        type_, data = _change(chance, skus, revs)
        book.took(data)
        said = shop.hq.say(type_, data)
        if step < lost_from:
            await shop.store.receive(said)
    different = differing(_hashes(shop), book.hashes())
    before = shop.value("SELECT count(*) FROM inbox")
    if different:
        part = book.chunk(set(different))
        for each in shop.hq.snapshot("s2", [part], scope=scope(shop, *different)):
            await shop.store.receive(each)
        assert len(part["items"]) < 60  # type: ignore[arg-type]
    assert differing(_hashes(shop), book.hashes()) == []
    assert shop.store.cursors()["price"].seq == (shop.hq.seqs["dn/price"] if different else lost_from)
    assert shop.value("SELECT count(*) FROM inbox") - before <= 2


def _change(chance: random.Random, skus: list[str], revs: dict[str, int]) -> tuple[str, dict[str, Any]]:
    some = chance.sample(skus, 3)
    match chance.randrange(4):
        case 0:
            return "item.batch.v1", {"items": [item(sku, name=f"Name {chance.random()}", attributes={"a": sku}) for sku in some]}
        case 1:
            return "item.batch.v1", {"removed": some}
        case _:
            rows = []
            for sku in some:
                revs[sku] += 1
                per = chance.choice([1, 100])
                more: dict[str, Any] = {"cancelled": True} if chance.random() < 0.2 else {"price_quantity": per}
                if chance.random() < 0.3:
                    more |= {"effective_from": utc_text(NOON_MS - HOUR_MS), "effective_to": utc_text(NOON_MS + HOUR_MS)}
                rows.append(price(sku, chance.randrange(90, 110) * per, rev=revs[sku], **more))
            return "price.batch.v1", {"rows": rows}


def _hashes(shop: Shop) -> bytes:
    db = apsw.Connection(str(shop.path), flags=apsw.SQLITE_OPEN_READONLY)
    try:
        return hashes_of(db)
    finally:
        db.close()


def test_the_hash_of_a_bucket_is_what_the_reference_says() -> None:
    milk = Item(sku="milk", name="Milk", net_content=1000, net_unit=Unit.ML, attributes={"b": "2", "a": "1"})
    line = "item\tmilk\tMilk\t\t\teach\t1000\tml\t\t\t\t0\t0\t\t\t\ta=1\tb=2"
    curve = ((1, 199), (3, 500))
    row = PriceRow(
        sku="milk",
        kind=PriceKind.PROMO,
        price_id="p",
        rev=3,
        curve=curve,
        price_quantity=100,
        currency="EUR",
        effective_from_ms=None,
        effective_to_ms=1_700_000_000_000,
        cancelled=False,
    )
    assert price_line(row) == "price\tmilk\tp\t3\tpromo\t100:199,300:500\t\t1700000000000"
    assert item_line(milk) == line
    whole = bucket_hashes([("milk", line)])
    number = hashlib.sha256(b"milk").digest()[0]
    assert whole[number * HASH_BYTES :][:HASH_BYTES] == hashlib.sha256(line.encode()).digest()[:HASH_BYTES]
    assert whole[:HASH_BYTES] == hashlib.sha256(b"").digest()[:HASH_BYTES]
    assert len(whole) == BUCKETS * HASH_BYTES


# -- shared chunks ---------------------------------------------------------------------------------------------------------


def shared(chunk: dict[str, object]) -> ZoneChunk:
    body = zlib.compress(msgspec.json.encode(chunk))
    return ZoneChunk("north", "id", HQ_ONE, hashlib.sha256(body).hexdigest(), body)


CHUNKS: list[dict[str, object]] = [
    {"items": [item("milk")], "rows": [price("milk", 100)]},
    {"items": [item("bread")], "rows": [price("bread", 200)]},
    {"items": [item("beef")], "rows": [price("beef", 300)]},
]


@pytest.mark.parametrize("seed", range(24))
async def test_shared_chunks_come_in_any_order_before_and_after_the_manifest_and_twice(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)
    manifest = shop.hq.snapshot("s1", CHUNKS)[0]
    queue: list[Message | ZoneChunk] = [manifest, *map(shared, CHUNKS), shared(chance.choice(CHUNKS)), shared({"items": [item("x")]})]
    chance.shuffle(queue)
    for each in queue:
        if isinstance(each, Message):
            await shop.store.receive(each)
        else:
            await shop.store.receive_shared(each)
        if chance.random() < 0.3:
            shop.reopen()
    assert shop.desk.ready()
    assert (shop.charge(MILK), shop.charge(BREAD), len(shop.store.view.items)) == (100, 200, 3)
    assert ("bulk", 1, "applied") in shop.acks()
    assert shop.value("SELECT count(*) FROM snapshot_chunk") == 0


async def test_chunks_that_did_not_come_by_the_zone_come_by_the_stores_own_stream(shop: Shop) -> None:
    manifest = shop.hq.snapshot("s1", CHUNKS)[0]
    await shop.store.receive(manifest)
    await shop.store.receive_shared(shared(CHUNKS[1]))
    assert shop.store.missing_chunks() == ("s1", (0, 2))
    for seq, n in ((2, 0), (3, 2)):
        body = shared(CHUNKS[n]).body
        await shop.store.receive(message("snapshot.chunk.v1", None, seq, chunk=body, snapshot_id="s1", n=n))
    assert (shop.store.missing_chunks(), shop.desk.ready()) == (None, True)


async def test_loose_chunks_are_bounded(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "LOOSE_CHUNKS_MAX", 3)
    for n in range(9):
        assert await shop.store.receive_shared(shared({"items": [item(f"i{n}")]})) is False
    kept = {shared({"items": [item(f"i{n}")]}).sha256 for n in (6, 7, 8)}
    assert {sha for (sha,) in shop.rows("SELECT sha256 FROM loose_chunk")} == kept


# -- crashes ---------------------------------------------------------------------------------------------------------------


def _memory(template: bytes) -> apsw.Connection:
    db = apsw.Connection(":memory:")
    db.deserialize("main", template)
    return db


@pytest.mark.parametrize("after_commit", [False, True])
async def test_a_snapshot_goes_on_from_its_chunks_after_a_crash_at_any_transaction(template: bytes, after_commit: bool) -> None:
    """The broker says again what was not acknowledged; nothing that was is needed again. The last chunk is many transactions."""
    hq = Hq()
    said = [*hq.snapshot("s1", [{"items": [item(f"i{n}")], "rows": [price(f"i{n}", 100 + n)]} for n in range(6)])]
    said += [hq.say("price.batch.v1", {"rows": [price("i3", 90, rev=2)]})]
    for crash_at in count(1):
        db, clock = _memory(template), HandClock()
        store = MemoryStore(db, clock, Entropy("a"))
        store.crash_in, store.crash_after_commit = crash_at, after_commit
        queue, repeated = list(said), 0
        while queue:
            try:
                await store.receive(queue[0])
            except Crash:
                store = MemoryStore(db, clock, Entropy("b"))
                repeated += 1
                continue
            queue.pop(0)
        assert {sku: found.row.curve.points[0][1] for sku, found in store.view.in_force.items()} == {
            f"i{n}": 90 if n == 3 else 100 + n for n in range(6)
        }
        assert db.execute("SELECT count(*) FROM price_row").get == 7
        assert store.cursors() == {"bulk": StreamCursor(HQ_ONE, 7), "price": StreamCursor(HQ_ONE, 1)}
        db.close()
        if not repeated:
            break
        assert repeated == 1
    assert crash_at > len(said) + 12, "between any two pieces, too"


class Moments:
    """Called at every commit of a store that changes items: between two pieces of a snapshot."""

    def __init__(self, store: Store, act: Callable[[int], None]) -> None:
        self.pieces: list[int] = []
        self._act = act
        store.listeners.append(self._committed)

    def _committed(self, delta: Delta) -> None:
        if delta.items:
            self.pieces.append(len(delta.items))
            self._act(len(self.pieces))


def wide(items: int, amount: int) -> list[dict[str, object]]:
    """A catalogue in two chunks."""
    half = range(items // 2), range(items // 2, items)
    return [{"items": [item(f"i{n}") for n in part], "rows": [price(f"i{n}", amount) for n in part]} for part in half]


async def test_a_till_and_hq_are_heard_between_the_pieces_of_a_snapshot(shop: Shop) -> None:
    meanwhile: list[asyncio.Task[Any]] = []
    in_force: list[str] = []

    def act(piece: int) -> None:
        in_force.append(shop.store.view.generation)
        if piece == 1:
            meanwhile.append(asyncio.ensure_future(shop.store.record_sale(sale())))
            meanwhile.append(asyncio.ensure_future(shop.store.receive(shop.hq.say("price.batch.v1", {"rows": [price("i3", 90, rev=2)]}))))

    moments = Moments(shop.store, act)
    for each in shop.hq.snapshot("s1", wide(4 * SLICE_ROWS, 100)):
        await shop.store.receive(each)
    sold, told = await asyncio.gather(*meanwhile)
    assert moments.pieces == [SLICE_ROWS] * 4
    assert in_force == [""] * 4
    assert sold.sale_id == "s1"
    assert told.outcome in (Outcome.HELD, Outcome.APPLIED)
    assert shop.charge(ItemId("i3")) == 90, "HQ said it after the snapshot, and it waited for it"
    assert shop.store.cursors()["price"].seq == 1


async def test_a_catalogue_that_comes_again_writes_no_item_again_and_takes_away_what_it_does_not_name(shop: Shop) -> None:
    for each in shop.hq.snapshot("s1", wide(2 * SLICE_ROWS, 100)):
        await shop.store.receive(each)
    moments = Moments(shop.store, lambda _: None)
    again = wide(2 * SLICE_ROWS, 100)
    last = again[1]["items"]
    assert isinstance(last, list)
    last.pop()
    for each in shop.hq.snapshot("s2", again):
        await shop.store.receive(each)
    assert moments.pieces == [1]
    assert [sku for sku, each in shop.store.view.items.items() if each.removed] == [f"i{2 * SLICE_ROWS - 1}"]


async def test_a_snapshot_that_meets_a_fault_of_ours_is_given_up_and_holds_nothing_up(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = count(1)

    def faulty(*_: object) -> None:
        if next(calls) == 2:
            raise KeyError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(catalogue, "put_items", faulty)
        for each in shop.hq.snapshot("s1", wide(4 * SLICE_ROWS, 100)):
            await shop.store.receive(each)
    assert shop.store.view.generation == ""
    assert "cannot be put in force" in caplog.text
    assert shop.value("SELECT count(*) FROM audit WHERE what = 'alert.hq_snapshot'") == 1
    for each in shop.hq.snapshot("s2", wide(4, 100)):
        await shop.store.receive(each)
    assert shop.store.view.generation == "s2"


# -- questions -------------------------------------------------------------------------------------------------------------


async def ask(shop: Shop, **query: object) -> Any:
    result = await shop.say("query.v1", query, expires_ms=shop.clock.wall + HOUR_MS)
    (asked,) = result.asked
    return parse_reply(await shop.store.answer(asked))


async def test_a_question_is_answered_page_by_page_with_where_the_store_stood(stocked: Shop) -> None:
    for n in range(7):
        await stocked.say("item.batch.v1", {"items": [item(f"i{n}")]})
        await stocked.prices(price(f"i{n}", 100 + n))
    found: dict[str, Any] = {}
    key = ""
    while True:
        reply = await ask(stocked, what="prices", after=key, limit=3)
        rows = [msgspec.json.decode(row) for row in reply.rows]
        assert len(rows) <= 3
        found |= {row["sku"]: row["curve"] for row in rows}
        if reply.next is None:
            break
        key = reply.next
    assert found == {"milk": [[1, 100]], "bread": [[1, 200]], "beef": [[1000, 1000]]} | {f"i{n}": [[1, 100 + n]] for n in range(7)}
    assert (reply.store, reply.incarnation) == ("demo-01", stocked.store.outbox_state().incarnation)
    assert reply.as_of.cursors["price"].seq == stocked.store.cursors()["price"].seq
    assert reply.as_of.up_seq == stocked.store.outbox_state().last_seq


@pytest.mark.parametrize("what", list(QueryKind))
async def test_every_question_has_an_answer_and_changes_nothing(stocked: Shop, what: QueryKind) -> None:
    await stocked.heard("AABBCCDD00000001")
    await stocked.bind("AABBCCDD00000001", MILK)
    await stocked.prices(price("milk", 9_999, rev=2))
    await stocked.prices(price("milk", 1, rev=3, currency="USD"))
    await stocked.say("stock.adjust.v1", {"adjustments": [{"id": "a", "sku": "milk", "delta": 4, "cause": "x"}]})
    reply = await ask(stocked, what=what)
    assert len(reply.rows) >= 1
    assert reply.next is None


async def test_a_question_that_comes_again_is_answered_again_until_it_expires(stocked: Shop) -> None:
    query = stocked.hq.say("query.v1", {"what": "stock"}, expires_ms=NOON_MS + HOUR_MS)
    assert (await stocked.store.receive(query)).asked == (query,)
    again = await stocked.store.receive(query)
    assert (again.outcome, again.asked) == (Outcome.DUPLICATE, (query,))
    stocked.clock.pass_ms(HOUR_MS + 1)
    assert (await stocked.store.receive(query)).asked == ()
    assert (await stocked.say("query.v1", {"what": "stock"})).outcome is Outcome.REJECTED


async def test_a_question_behind_a_gap_is_answered_when_the_gap_heals(stocked: Shop) -> None:
    second = message("query.v1", {"what": "stock"}, 2, expires_ms=NOON_MS + HOUR_MS)
    assert (await stocked.store.receive(second)).asked == ()
    first = message("query.v1", {"what": "labels"}, 1, expires_ms=NOON_MS + HOUR_MS)
    assert [each.seq for each in (await stocked.store.receive(first)).asked] == [1, 2]


async def test_a_page_stays_below_the_limit_of_the_brokers(stocked: Shop) -> None:
    for n in range(420):
        await stocked.say(
            "price.batch.v1", {"rows": [price("milk", 100, rev=n + 2, currency="X" * 3)]}, id_=f"{n:08x}-0000-7000-8000-000000000000"
        )
    reply = await ask(stocked, what="rejected", limit=500)
    assert sum(map(len, reply.rows)) <= answers.PAGE_MAX_BYTES
    assert reply.next is not None


async def test_incarnations_of_hq_do_not_mix_in_what_was_said_since(stocked: Shop) -> None:
    await stocked.store.receive(message("item.batch.v1", {"items": [item("tea")]}, 1, incarnation=HQ_TWO))
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk")]}], base=0, price_incarnation=HQ_TWO):
        await stocked.store.receive(each)
    assert not stocked.store.view.items[ItemId("tea")].removed
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_TWO, 1)


def test_a_file_of_hashes_is_exactly_as_long() -> None:
    with pytest.raises(ValueError, match="256 hashes"):
        differing(b"", bytes(BUCKETS * HASH_BYTES))
