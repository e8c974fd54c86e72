"""HQ's messages on disk: each place in a stream once, in order, whole or not at all, and said back in stages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from edge.hq_ports import Outcome
from edge.model import ItemId
from edge.store import catalogue, streams
from edge.store.hq_rows import Shown
from protocols.hq import HELD_ROWS_MAX, StreamCursor, utc_text
from tests.edge.shop import (
    BREAD,
    DAY_MS,
    HQ_ONE,
    HQ_TWO,
    L1,
    L2,
    MILK,
    NOON_MS,
    Hq,
    Shop,
    context,
    item,
    message,
    price,
)


def prices(seq: int, *rows: dict[str, object], incarnation: str = HQ_ONE, **more: Any) -> Any:
    return message("price.batch.v1", {"rows": list(rows)}, seq, incarnation=incarnation, **more)


# -- order -----------------------------------------------------------------------------------------------------------------


async def test_a_message_that_comes_twice_counts_once(stocked: Shop) -> None:
    first = stocked.hq.say("stock.adjust.v1", {"adjustments": [{"id": "a1", "sku": "milk", "delta": 5, "cause": "delivery"}]})
    assert (await stocked.store.receive(first)).outcome is Outcome.APPLIED
    assert (await stocked.store.receive(first)).outcome is Outcome.DUPLICATE
    assert stocked.store.view.stock[MILK] == 5
    assert stocked.acks().count(("stock", 1, "applied")) == 1


async def test_what_waits_behind_a_gap_applies_in_order_when_it_heals(stocked: Shop) -> None:
    ahead = await stocked.store.receive(prices(3, price("milk", 130, rev=4)))
    assert ahead.outcome is Outcome.HELD
    assert ahead.missing is not None
    assert (ahead.missing.from_seq, ahead.missing.to_seq, ahead.ask_now) == (1, 2, False)
    await stocked.store.receive(prices(2, price("milk", 120, rev=3)))
    assert stocked.charge(MILK) == 100
    healed = await stocked.store.receive(prices(1, price("milk", 110, rev=2)))
    assert (healed.outcome, healed.missing) == (Outcome.APPLIED, None)
    assert stocked.charge(MILK) == 130
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_ONE, 3)
    assert [ack for ack in stocked.acks() if ack[0] == "price"] == [
        ("price", 3, "received"),
        ("price", 2, "received"),
        ("price", 1, "applied"),
        ("price", 2, "applied"),
        ("price", 3, "applied"),
    ]


async def test_a_gap_heals_after_a_restart(stocked: Shop) -> None:
    await stocked.store.receive(prices(2, price("milk", 120, rev=3)))
    stocked.reopen()
    await stocked.store.receive(prices(1, price("milk", 110, rev=2)))
    assert stocked.charge(MILK) == 120


async def test_what_is_too_far_ahead_is_not_kept_and_asked_for(stocked: Shop) -> None:
    far = await stocked.store.receive(prices(HELD_ROWS_MAX + 2, price("milk", 120, rev=2)))
    assert (far.outcome, far.ask_now) == (Outcome.HELD, True)
    assert stocked.value("SELECT count(*) FROM inbox WHERE stream = 'price'") == 0
    kept = await stocked.store.receive(prices(HELD_ROWS_MAX, price("milk", 120, rev=2)))
    assert kept.ask_now is False
    assert stocked.value("SELECT count(*) FROM inbox WHERE stream = 'price'") == 1


async def test_another_message_at_a_taken_place_is_a_fork_and_changes_nothing(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2)))
    assert (await stocked.store.receive(prices(1, price("milk", 190, rev=3)))).outcome is Outcome.FORK
    assert stocked.charge(MILK) == 110


async def test_a_new_incarnation_takes_over_and_the_old_one_is_stale_for_good(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2)))
    assert (await stocked.store.receive(prices(1, price("milk", 120, rev=3), incarnation=HQ_TWO))).outcome is Outcome.APPLIED
    assert (await stocked.store.receive(prices(2, price("milk", 90, rev=9)))).outcome is Outcome.STALE
    assert stocked.charge(MILK) == 120
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_TWO, 1)


async def test_an_incarnation_that_only_a_snapshot_named_is_retired_too(stocked: Shop) -> None:
    """Nothing of it is in the inbox: a late message of it must not turn the stream round, and with it retire the current one."""
    assert stocked.store.cursors()["price"].incarnation == HQ_ONE
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))
    assert (await stocked.store.receive(prices(1, price("milk", 90, rev=9)))).outcome is Outcome.STALE
    assert (await stocked.store.receive(prices(2, price("milk", 120, rev=3), incarnation=HQ_TWO))).outcome is Outcome.APPLIED
    assert stocked.charge(MILK) == 120


async def test_no_stream_goes_to_an_incarnation_that_another_has_left(stocked: Shop) -> None:
    """HQ lost its log. A message of the old one was long on its way, in a stream where the old log was never heard of."""
    assert "stock" not in stocked.store.cursors()
    late = message("stock.adjust.v1", {"adjustments": [{"id": "a1", "sku": "milk", "delta": 1, "cause": "x"}]}, 1)
    new = message("stock.adjust.v1", {"adjustments": [{"id": "a2", "sku": "milk", "delta": 1, "cause": "x"}]}, 1, incarnation=HQ_TWO)
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))
    assert (await stocked.store.receive(new)).outcome is Outcome.APPLIED
    assert (await stocked.store.receive(late)).outcome is Outcome.STALE
    assert stocked.store.cursors()["stock"] == StreamCursor(HQ_TWO, 1)


async def test_a_stream_that_has_not_left_yet_goes_on_until_it_does(stocked: Shop) -> None:
    first, second = (
        message("stock.adjust.v1", {"adjustments": [{"id": f"a{n}", "sku": "milk", "delta": 1, "cause": "x"}]}, n) for n in (1, 2)
    )
    await stocked.store.receive(first)
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))
    assert (await stocked.store.receive(second)).outcome is Outcome.APPLIED


async def test_held_messages_of_a_left_incarnation_are_forgotten(stocked: Shop) -> None:
    await stocked.store.receive(prices(2, price("milk", 90, rev=9)))
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))
    assert stocked.value("SELECT count(*) FROM inbox WHERE raw IS NOT NULL") == 0
    assert stocked.charge(MILK) == 110


async def test_the_inbox_is_bounded_and_what_left_it_is_no_news(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for seq in range(1, 9):
        await stocked.store.receive(prices(seq, price("milk", 100 + seq, rev=seq + 1)))
    monkeypatch.setattr(streams, "KEPT_MESSAGES", 3)
    for seq in range(9, 12):
        await stocked.store.receive(prices(seq, price("milk", 100 + seq, rev=seq + 1)))
    assert [seq for (seq,) in stocked.rows("SELECT seq FROM inbox WHERE stream = 'price'")] == [9, 10, 11]
    assert (await stocked.store.receive(prices(1, price("milk", 1, rev=99)))).outcome is Outcome.STALE
    assert stocked.charge(MILK) == 111


# -- content ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        price("milk", -1, rev=2),
        price("milk", 110, rev=2, currency="USD"),
        price("milk", 110, rev=2, price_quantity=10**9, curve=None) | {"amount_minor": None, "curve": [[1, 1], [10**9, 2]]},
        price("milk", 110, rev=2, kind="guess"),
    ],
)
async def test_one_bad_row_leaves_nothing_of_its_batch_behind_and_the_stream_goes_on(stocked: Shop, bad: dict[str, object]) -> None:
    before = stocked.rows("SELECT count(*) FROM price_row UNION ALL SELECT count(*) FROM confirm_wait")
    result = await stocked.prices(price("bread", 150, rev=2), bad)
    assert (result.outcome, bool(result.detail)) == (Outcome.REJECTED, True)
    assert stocked.charge(BREAD) == 200
    assert stocked.rows("SELECT count(*) FROM price_row UNION ALL SELECT count(*) FROM confirm_wait") == before
    assert ("price", 1, "rejected") in stocked.acks()
    assert (await stocked.prices(price("bread", 150, rev=2))).outcome is Outcome.APPLIED
    assert stocked.charge(BREAD) == 150


async def test_a_held_message_that_fails_for_a_reason_of_ours_is_refused_alone(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the good one in front of it, and the stream does not stop at it."""
    put = catalogue.apply_rows

    def faulty(db: Any, stamp: Any, rows: Any, *more: Any) -> Any:
        if any(row.rev == 13 for row in rows):
            raise OverflowError("planted")
        return put(db, stamp, rows, *more)

    monkeypatch.setattr(catalogue, "apply_rows", faulty)
    await stocked.store.receive(prices(2, price("milk", 130, rev=13)))
    await stocked.store.receive(prices(3, price("milk", 140, rev=14)))
    assert (await stocked.store.receive(prices(1, price("milk", 110, rev=2)))).outcome is Outcome.APPLIED
    assert stocked.charge(MILK) == 140
    stages = sorted(ack[1:] for ack in stocked.acks() if ack[0] == "price" and ack[2] != "received")
    assert stages == [(1, "applied"), (2, "rejected"), (3, "applied")]
    assert not stocked.fatal


async def test_one_message_id_at_two_places_is_no_reason_to_stop(stocked: Shop) -> None:
    same = "01890000-0000-7000-8000-000000000001"
    await stocked.store.receive(prices(2, price("milk", 120, rev=3), id_=same))
    assert (await stocked.store.receive(prices(1, price("milk", 110, rev=2), id_=same))).outcome is Outcome.APPLIED
    assert stocked.charge(MILK) == 120


async def test_an_expired_message_is_refused_only_by_a_trusted_clock(stocked: Shop) -> None:
    old = await stocked.store.receive(prices(1, price("milk", 110, rev=2), expires_ms=NOON_MS - 1))
    assert (old.outcome, old.detail) == (Outcome.REJECTED, "expired before it arrived")
    stocked.clock.trusted = False
    assert (await stocked.store.receive(prices(2, price("milk", 110, rev=2), expires_ms=NOON_MS - 1))).outcome is Outcome.APPLIED


async def test_a_store_that_takes_its_prices_from_a_file_refuses_hqs_and_takes_its_stock(tmp_path: Any) -> None:
    shop = Shop(tmp_path, context_=context(prices_from_hq=False))
    shop.open()
    assert (await shop.prices(price("milk", 1))).outcome is Outcome.REJECTED
    adjusted = await shop.say("stock.adjust.v1", {"adjustments": [{"id": "a", "sku": "milk", "delta": 1, "cause": "x"}]})
    assert adjusted.outcome is Outcome.APPLIED
    shop.close()


# -- snapshots -------------------------------------------------------------------------------------------------------------

CHUNKS: list[dict[str, object]] = [
    {"items": [item("milk")], "rows": [price("milk", 100)], "stock": [{"sku": "milk", "on_hand": 7}]},
    {"items": [item("bread")], "rows": [price("bread", 200)]},
]


async def test_a_snapshot_is_in_force_when_its_last_chunk_is_here_and_not_before(shop: Shop) -> None:
    said = shop.hq.snapshot("s1", CHUNKS)
    for each in said[:-1]:
        await shop.store.receive(each)
        assert not shop.desk.ready()
        assert shop.store.view.items == {}
        shop.reopen()
    await shop.store.receive(said[-1])
    assert shop.desk.ready()
    assert (shop.charge(MILK), shop.charge(BREAD), shop.store.view.stock[MILK]) == (100, 200, 7)
    assert shop.value("SELECT count(*) FROM snapshot_chunk") == 0


async def test_chunks_in_another_order_and_before_their_manifest_make_the_same_catalogue(shop: Shop) -> None:
    manifest, first, second = shop.hq.snapshot("s1", CHUNKS)
    for each in (second, first, manifest):
        await shop.store.receive(each)
    assert (shop.charge(MILK), shop.charge(BREAD)) == (100, 200)


async def test_prices_after_the_base_of_a_snapshot_apply_on_top_and_those_before_are_stale(shop: Shop) -> None:
    shop.hq.seqs["dn/price"] = 7
    await shop.store.receive(prices(9, price("milk", 90, rev=3)))
    await shop.store.receive(prices(8, price("milk", 95, rev=2)))
    await shop.store.receive(prices(6, price("milk", 1, rev=9)))
    for each in shop.hq.snapshot("s1", CHUNKS):
        await shop.store.receive(each)
    assert shop.charge(MILK) == 90
    assert shop.store.cursors()["price"] == StreamCursor(HQ_ONE, 9)
    assert (await shop.store.receive(prices(6, price("milk", 1, rev=9)))).outcome is Outcome.DUPLICATE
    assert (await shop.store.receive(prices(7, price("milk", 1, rev=9)))).outcome is Outcome.STALE
    assert shop.charge(MILK) == 90


async def test_a_snapshot_sets_no_stock_that_the_ledger_knows(shop: Shop) -> None:
    await shop.say("stock.adjust.v1", {"adjustments": [{"id": "a", "sku": "milk", "delta": 3, "cause": "x"}]})
    for each in shop.hq.snapshot("s1", CHUNKS):
        await shop.store.receive(each)
    assert shop.store.view.stock[MILK] == 3


async def test_a_snapshot_begun_again_under_the_same_id_keeps_the_lanes_open_over_a_restart(stocked: Shop) -> None:
    again = stocked.hq.snapshot("s1", CHUNKS)
    await stocked.store.receive(again[0])
    stocked.reopen()
    assert stocked.desk.ready()
    assert stocked.charge(MILK) == 100
    for each in again[1:]:
        await stocked.store.receive(each)
    assert stocked.store.view.items[ItemId("beef")].removed


async def test_a_newer_manifest_replaces_one_that_never_became_whole(shop: Shop) -> None:
    for each in shop.hq.snapshot("s1", CHUNKS)[:-1]:
        await shop.store.receive(each)
    for each in shop.hq.snapshot("s2", CHUNKS[1:]):
        await shop.store.receive(each)
    assert set(shop.store.view.items) == {BREAD}
    assert shop.store.view.generation == "s2"


async def test_a_chunk_that_no_manifest_names_is_refused(stocked: Shop) -> None:
    stray = Hq(HQ_ONE)
    stray.seqs["dn/bulk"] = stocked.hq.seqs["dn/bulk"]
    result = await stocked.store.receive(stray.snapshot("s9", CHUNKS)[0])
    assert result.outcome is Outcome.APPLIED
    foreign = Hq(HQ_ONE)
    foreign.seqs["dn/bulk"] = stocked.hq.seqs["dn/bulk"]
    wrong = foreign.snapshot("s9", [{"items": [item("gin")]}, {"items": []}])[1]
    assert (await stocked.store.receive(wrong)).outcome is Outcome.REJECTED


# -- stages ----------------------------------------------------------------------------------------------------------------


async def settle(shop: Shop, item_id: ItemId, labels: int = 1) -> None:
    await shop.store.settle([Shown(item_id, shop.store.view.in_force[item_id].row.row_id, labels)])


def confirmed(shop: Shop) -> list[int]:
    return [seq for stream, seq, stage in shop.acks() if (stream, stage) == ("price", "confirmed")]


async def test_a_message_is_confirmed_when_the_last_of_its_items_is_on_the_shelf(stocked: Shop) -> None:
    await stocked.prices(price("milk", 110, rev=2), price("bread", 210, rev=2))
    await settle(stocked, MILK)
    assert confirmed(stocked) == []
    await settle(stocked, BREAD, labels=2)
    assert confirmed(stocked) == [1]
    last = msgspec.json.decode(stocked.rows("SELECT data FROM outbox ORDER BY seq DESC LIMIT 1")[0][0])
    assert (last["stage"], last["labels"]) == ("confirmed", 2)
    await settle(stocked, BREAD)
    assert confirmed(stocked) == [1]


async def test_a_message_that_is_no_longer_in_force_is_confirmed_with_the_one_that_replaced_it(stocked: Shop) -> None:
    await stocked.prices(price("milk", 110, rev=2))
    stale_row = stocked.store.view.in_force[MILK].row.row_id
    await stocked.prices(price("milk", 120, rev=3))
    await stocked.store.settle([Shown(MILK, stale_row, 1)])
    assert confirmed(stocked) == []
    await settle(stocked, MILK)
    assert confirmed(stocked) == [1, 2]
    assert MILK not in stocked.store.view.waiting


async def test_a_price_that_is_still_to_come_is_not_confirmed_by_what_is_in_force(stocked: Shop) -> None:
    await stocked.prices(price("milk", 110, rev=2, price_id="n", effective_from=utc_text(NOON_MS + DAY_MS)))
    await settle(stocked, MILK)
    assert confirmed(stocked) == []
    assert MILK in stocked.store.view.waiting
    stocked.reopen()
    assert MILK in stocked.store.view.waiting
    stocked.clock.wall += DAY_MS
    await settle(stocked, MILK)
    assert confirmed(stocked) == [], "the new price is due: what the shelf shows is the old one"
    await stocked.store.put_in_force([MILK])
    await settle(stocked, MILK)
    assert confirmed(stocked) == [1]


async def test_a_member_price_is_confirmed_with_the_public_one(stocked: Shop) -> None:
    await stocked.prices(price("milk", 90, kind="member", price_id="m"))
    stocked.clock.pass_ms(1_000)
    await settle(stocked, MILK)
    assert confirmed(stocked) == [1]


# -- labels ----------------------------------------------------------------------------------------------------------------


async def test_an_assignment_with_another_binding_rev_than_the_labels_is_refused(stocked: Shop) -> None:
    assign = {"label": L1, "items": ["milk"], "template": "shelf", "binding_rev": 0}
    assert (await stocked.say("label.assign.v1", assign)).outcome is Outcome.APPLIED
    assert (await stocked.say("label.assign.v1", assign | {"items": ["bread"]})).outcome is Outcome.REJECTED
    await stocked.bind(L1, BREAD)
    assert (await stocked.say("label.unassign.v1", {"label": L1, "binding_rev": 1})).outcome is Outcome.REJECTED
    binding = stocked.store.view.bindings[L1]
    assert (binding.items, binding.binding_rev) == ((BREAD,), 2)
    assert (await stocked.say("label.unassign.v1", {"label": L1, "binding_rev": 2})).outcome is Outcome.APPLIED
    assert stocked.store.view.bindings[L1].items == ()


async def test_an_assignment_of_an_unknown_item_is_refused_and_makes_no_label(stocked: Shop) -> None:
    assign = {"label": L2, "items": ["caviar"], "template": "shelf", "binding_rev": 0}
    assert (await stocked.say("label.assign.v1", assign)).outcome is Outcome.REJECTED
    assert L2 not in stocked.store.view.labels
    assert stocked.value("SELECT count(*) FROM label") == 0


async def test_every_binding_goes_up_to_hq(stocked: Shop) -> None:
    await stocked.bind(L1, MILK)
    data = msgspec.json.decode(stocked.value("SELECT data FROM outbox WHERE kind = 'label'"))
    assert (data["event"], data["label"], data["items"], data["binding_rev"]) == ("label.bound", L1, ["milk"], 1)
