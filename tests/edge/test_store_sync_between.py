"""What comes between the pieces of a snapshot, and between its manifest and its last chunk: nothing is lost, nothing goes back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from edge.hq_ports import Outcome
from edge.model import ItemId
from edge.store import snapshots
from edge.store.snapshots import SLICE_ROWS
from edge.view import Delta
from protocols.hq import HELD_ROWS_MAX, Message, StreamCursor
from protocols.hq_events import EXCEPT_MAX, Stage, covered
from tests.edge.shop import BREAD, HQ_ONE, HQ_TWO, MILK, Hq, Shop, item, message, price
from tests.edge.test_store_sync import CHUNKS, shared, wide


def at_piece(shop: Shop, number: int, act: Callable[[], Any]) -> list[asyncio.Task[Any]]:
    """What `act` begins once that many pieces with items are in force."""
    begun: list[asyncio.Task[Any]] = []
    pieces: list[None] = []

    def committed(delta: Delta) -> None:
        if delta.items:
            pieces.append(None)
            if len(pieces) == number:
                begun.append(asyncio.ensure_future(act()))

    shop.store.listeners.append(committed)
    return begun


def change(seq: int, amount: int, *, incarnation: str = HQ_ONE) -> Message:
    return message("price.batch.v1", {"rows": [price("i3", amount, rev=seq + 1)]}, seq, incarnation=incarnation)


async def receive(shop: Shop, *said: Message) -> list[Outcome]:
    return [(await shop.store.receive(each)).outcome for each in said]


# -- another log -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False])
async def test_a_new_log_of_hq_that_begins_while_a_snapshot_of_the_old_one_is_put_in_force_is_heard(shop: Shop, first: bool) -> None:
    if not first:
        await shop.stocked()
    begun = at_piece(shop, 1, lambda: receive(shop, change(1, 90, incarnation=HQ_TWO)))
    await receive(shop, *shop.hq.snapshot("s1", wide(4 * SLICE_ROWS, 100)))
    await asyncio.gather(*begun)
    await shop.store.tend()
    assert shop.charge(ItemId("i3")) == 90
    assert shop.store.cursors()["price"] == StreamCursor(HQ_TWO, 1)
    assert await receive(shop, change(2, 80, incarnation=HQ_TWO)) == [Outcome.APPLIED]


async def test_a_snapshot_of_a_log_that_was_left_meanwhile_takes_nothing_back(stocked: Shop) -> None:
    said = stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 70, rev=2)]}])
    await receive(stocked, said[0])
    new = message("item.batch.v1", {"items": [item("tea")]}, 1, incarnation=HQ_TWO)
    assert await receive(stocked, new) == [Outcome.APPLIED]
    await receive(stocked, said[1])
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_TWO, 1)
    assert not stocked.store.view.items[ItemId("tea")].removed
    late = message("item.batch.v1", {"items": [item("gin")]}, 2, incarnation=HQ_TWO)
    assert await receive(stocked, late) == [Outcome.APPLIED]


async def test_a_manifest_on_top_of_a_log_that_was_left_is_refused(stocked: Shop) -> None:
    await receive(stocked, message("item.batch.v1", {"items": [item("tea")]}, 1, incarnation=HQ_TWO))
    said = Hq(HQ_TWO).snapshot("s2", [{"items": [item("milk")]}], price_incarnation=HQ_ONE)
    assert await receive(stocked, said[0]) == [Outcome.REJECTED]
    assert stocked.store.missing_chunks() is None


# -- what a zone says ------------------------------------------------------------------------------------------------------


async def test_a_chunk_that_no_manifest_of_this_store_names_spoils_nothing(shop: Shop) -> None:
    """Of a zone's neighbour in another currency, say."""
    said = shop.hq.snapshot("s1", CHUNKS)
    await receive(shop, *said[:-1])
    foreign = shared({"items": [item("tea")], "rows": [price("tea", 90, currency="CHF")]})
    assert await shop.store.receive_shared(foreign) is False
    await receive(shop, said[-1])
    assert shop.store.view.generation == "s1"
    assert shop.value("SELECT count(*) FROM loose_chunk") == 0, "it can never be used"


async def test_a_spoiled_chunk_of_a_zone_between_two_pieces_stops_nobody(shop: Shop) -> None:
    foreign = shared({"items": [item("tea")], "rows": [price("tea", 90, currency="CHF")]})
    begun = at_piece(shop, 1, lambda: shop.store.receive_shared(foreign))
    await receive(shop, *shop.hq.snapshot("s1", wide(4 * SLICE_ROWS, 100)))
    await asyncio.gather(*begun)
    assert (shop.store.view.generation, shop.fatal) == ("s1", [])


async def test_chunks_of_the_snapshot_to_come_outlive_the_one_before_it(shop: Shop) -> None:
    for each in CHUNKS:
        await shop.store.receive_shared(shared(each))
    await receive(shop, *shop.hq.snapshot("s1", wide(4, 100)))
    await receive(shop, shop.hq.snapshot("s2", CHUNKS)[0])
    assert shop.store.view.generation == "s2"
    assert shop.value("SELECT count(*) FROM loose_chunk") == 0


# -- waiting ---------------------------------------------------------------------------------------------------------------


async def test_no_price_is_refused_because_a_snapshot_takes_long(shop: Shop) -> None:
    """More messages than may wait; and a message of another stream, at which the store looks at all that waits."""

    async def flood() -> None:
        await receive(shop, *(change(seq, 100 + seq) for seq in range(1, HELD_ROWS_MAX + 1)))
        await shop.say("stock.adjust.v1", {"adjustments": [{"id": "a", "sku": "i3", "delta": 1, "cause": "x"}]})
        assert shop.store.view.generation == "", "the snapshot is not in force yet"

    said = shop.hq.snapshot("s1", wide(4 * SLICE_ROWS, 100))
    await receive(shop, *said[:-1])
    await hold_up(shop, said[-1], flood)
    assert shop.store.cursors()["price"] == StreamCursor(HQ_ONE, HELD_ROWS_MAX)
    assert shop.charge(ItemId("i3")) == 100 + HELD_ROWS_MAX
    assert "rejected" not in {stage for _, _, stage in shop.acks()}


async def hold_up(shop: Shop, last: Message, meanwhile: Callable[[], Any]) -> None:
    """The last chunk of a snapshot comes, and something before its first piece."""
    met: list[None] = []
    swap_on = shop.store._swap_on

    async def late(swap: Any) -> Any:
        if not met:
            met.append(None)
            await meanwhile()
        return await swap_on(swap)

    shop.store._swap_on = late  # type: ignore[method-assign]
    await shop.store.receive(last)
    assert met


async def test_a_newer_manifest_that_waited_begins_at_once_what_came_before_it_missing(shop: Shop) -> None:
    said = shop.hq.snapshot("s1", wide(4 * SLICE_ROWS, 100))
    shop.hq.seqs["dn/bulk"] += 5  # of a snapshot that was lost on its way
    newer = shop.hq.snapshot("s2", CHUNKS)
    await receive(shop, *said[:-1])
    taken: list[asyncio.Task[Any]] = []

    async def committed() -> None:
        """Who brings a message of this stream waits for the snapshot, too."""
        taken.extend(asyncio.ensure_future(shop.store.receive(each)) for each in newer)
        await asyncio.sleep(0)  # each has put its transaction into the writer's queue then
        await shop.store.run(lambda _: (None, Delta()))
        assert shop.store.reached()["bulk"].seq == shop.hq.seqs["dn/bulk"]

    await hold_up(shop, said[-1], committed)
    await asyncio.gather(*taken)
    assert shop.store.view.generation == "s2"
    assert (shop.charge(MILK), shop.charge(BREAD)) == (100, 200)
    assert shop.store.cursors()["bulk"] == StreamCursor(HQ_ONE, shop.hq.seqs["dn/bulk"])
    assert shop.value("SELECT count(*) FROM inbox WHERE raw IS NOT NULL") == 0


async def test_a_swap_that_somebody_else_has_ended_is_over(shop: Shop) -> None:
    """Its last piece was in the writer's queue when the task that put it there was cancelled."""
    said = shop.hq.snapshot("s1", wide(4, 100))
    await receive(shop, *said[:-1])

    async def ended() -> None:
        other = snapshots.Swap(shop.store._reader)
        while await swap_on(other) is None:
            pass

    swap_on = shop.store._swap_on
    await hold_up(shop, said[-1], ended)
    assert (shop.store.view.generation, shop.fatal) == ("s1", [])
    assert shop.value("SELECT count(*) FROM audit WHERE what = 'alert.hq_snapshot'") == 0


@pytest.mark.parametrize("fault", [AssertionError("planted"), RuntimeError("planted"), AttributeError("planted")])
async def test_no_fault_in_a_piece_stops_the_store_for_good(shop: Shop, monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def faulty(*_: object) -> None:
        raise fault

    with monkeypatch.context() as patch:
        patch.setattr(snapshots.Swap, "_put_items", faulty)
        await receive(shop, *shop.hq.snapshot("s1", wide(4, 100)))
    assert shop.fatal == []
    assert shop.value("SELECT count(*) FROM audit WHERE what = 'alert.hq_snapshot'") == 1
    await receive(shop, *shop.hq.snapshot("s2", wide(4, 100)))
    assert shop.store.view.generation == "s2"


async def test_pieces_do_not_pass_by_the_stop_for_a_batch_as_a_whole(shop: Shop) -> None:
    """Each piece is a sixth of this store's items; the chunks are halves."""
    await receive(shop, *shop.hq.snapshot("s1", wide(6 * SLICE_ROWS, 100)))
    dearer = [
        {"items": each["items"], "rows": [row | {"amount_minor": 150, "rev": 2} for row in each["rows"]]} for each in _wide(6 * SLICE_ROWS)
    ]
    await receive(shop, *shop.hq.snapshot("s2", dearer))
    assert shop.store.view.generation == "s2"
    assert {shop.charge(ItemId(f"i{n}")) for n in range(6 * SLICE_ROWS)} == {100}
    assert len(shop.store.held_prices()) == 6 * SLICE_ROWS


def _wide(items: int) -> list[Any]:
    return list(wide(items, 100))


# -- what HQ hears ---------------------------------------------------------------------------------------------------------


async def test_an_ack_of_a_snapshot_claims_no_message_that_was_refused(shop: Shop) -> None:
    """However many they are."""
    said = shop.hq.snapshot("s1", CHUNKS)
    manifest, chunk = said[0], said[1]
    body = chunk.raw.split(b"\n", 2)[2]
    await receive(shop, manifest)
    strays = range(2, 2 + EXCEPT_MAX + 40)
    for seq in strays:
        await receive(shop, message("snapshot.chunk.v1", None, seq, chunk=body, snapshot_id="s0", n=0))
    for n, each in enumerate(said[1:]):
        await receive(
            shop,
            message("snapshot.chunk.v1", None, strays.stop + n, chunk=each.raw.split(b"\n", 2)[2], snapshot_id="s1", n=n),
        )
    assert shop.store.view.generation == "s1"
    good = {seq for ack in shop.staged() if ack.stage is not Stage.REJECTED for seq in covered(ack)}
    refused = {seq for ack in shop.staged() if ack.stage is Stage.REJECTED for seq in covered(ack)}
    applied = {seq for ack in shop.staged() if ack.stage is Stage.APPLIED for seq in covered(ack)}
    assert refused == set(strays)
    assert not good & refused
    assert applied == {1, *range(strays.stop, strays.stop + 3)}


async def test_hq_hears_that_a_snapshot_will_not_come_into_force(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Superseded, spoiled, or given up: the manifest is told as refused, once."""
    superseded = stocked.hq.snapshot("s2", CHUNKS)[0]
    spoiled = stocked.hq.snapshot("s3", [{"items": [item("tea")], "rows": [price("tea", 90, currency="USD")]}])
    given_up = stocked.hq.snapshot("s4", [{"items": [item("rum")]}])
    await receive(stocked, superseded, *spoiled)

    def faulty(*_: object) -> None:
        raise KeyError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(snapshots.Swap, "_put_items", faulty)
        await receive(stocked, *given_up)
    refused = [(ack.seq, ack.reason) for ack in stocked.staged() if ack.stage is Stage.REJECTED]
    assert [seq for seq, _ in refused] == [each.seq for each in (superseded, spoiled[0], spoiled[1], given_up[0])]
    assert all("s2" in str(reason) or "s3" in str(reason) or "s4" in str(reason) for _, reason in refused)
    finals = [seq for stream, seq, stage in stocked.acks() if stream == "bulk" and stage in ("applied", "rejected")]
    assert len(finals) == len(set(finals))
    assert stocked.rows("SELECT snapshot_id, state FROM snapshot") == [("s1", "live")], "manifests do not pile up"
