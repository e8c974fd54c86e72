"""Streams that wait for each other, messages that are taken back, messages that nobody could apply, and what HQ hears of all that."""

from __future__ import annotations

from typing import Any

import pytest

from edge.hq_ports import Outcome
from edge.store import catalogue, inbox
from edge.store.acks import PROGRESS_MESSAGES, PROGRESS_MS
from protocols.hq import HELD_ROWS_MAX, StreamCursor, reparse
from protocols.hq_events import covered
from protocols.hq_fields import StreamPosition
from tests.edge.shop import BREAD, DAY_MS, HOUR_MS, HQ_ONE, HQ_TWO, MILK, NOON_MS, Hq, Shop, item, message, price


def prices(seq: int, *rows: dict[str, object], **more: Any) -> Any:
    return message("price.batch.v1", {"rows": list(rows)}, seq, **more)


def after(**places: int) -> dict[str, Any]:
    """A condition for an hour from noon."""
    return {"after": {name: StreamPosition(HQ_ONE, seq) for name, seq in places.items()}, "expires_ms": NOON_MS + HOUR_MS}


def adjust(seq: int, **more: Any) -> Any:
    rows = [{"id": f"a{seq}", "sku": "milk", "delta": 1, "cause": "delivery"}]
    return message("stock.adjust.v1", {"adjustments": rows}, seq, **more)


# -- after -----------------------------------------------------------------------------------------------------------------


async def test_a_message_waits_for_another_stream_and_its_own_stream_waits_with_it(stocked: Shop) -> None:
    waiting = await stocked.store.receive(prices(1, price("milk", 110, rev=2), **after(stock=2)))
    assert (waiting.outcome, waiting.missing) == (Outcome.HELD, None)
    behind = await stocked.store.receive(prices(2, price("milk", 120, rev=3)))
    assert (behind.outcome, behind.missing) == (Outcome.HELD, None)
    await stocked.store.receive(adjust(1))
    assert stocked.charge(MILK) == 100
    assert stocked.store.reached()["price"] == StreamCursor(HQ_ONE, 2)
    stocked.reopen()
    await stocked.store.receive(adjust(2))
    assert stocked.charge(MILK) == 120
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_ONE, 2)


async def test_a_message_after_a_snapshot_waits_until_it_is_in_force_not_until_its_last_message_came(stocked: Shop) -> None:
    manifest, first, second = stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 70, rev=2)]}, {"items": []}])
    last = second.seq
    assert last is not None
    await stocked.store.receive(manifest)
    await stocked.store.receive(prices(1, price("milk", 60, rev=3), **after(bulk=last)))
    await stocked.store.receive(first)
    assert stocked.charge(MILK) == 100
    await stocked.store.receive(second)
    assert stocked.charge(MILK) == 60


async def test_a_condition_that_does_not_come_ends_with_the_messages_expiry(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), **after(stock=9)))
    await stocked.store.receive(prices(2, price("milk", 120, rev=3)))
    await stocked.store.tend()
    assert stocked.charge(MILK) == 100
    stocked.clock.pass_ms(HOUR_MS + 1)
    await stocked.store.tend()
    assert stocked.charge(MILK) == 120
    assert stocked.value("SELECT reason FROM inbox WHERE stream = 'price' AND seq = 1") == "expired before stock 9 was applied"


async def test_streams_that_wait_for_each_other_go_on_when_one_expires(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), **after(stock=1)))
    await stocked.store.receive(adjust(1, **(after(price=1) | {"expires_ms": NOON_MS + DAY_MS})))
    stocked.clock.pass_ms(HOUR_MS + 1)
    await stocked.store.tend()
    assert {name: cursor.seq for name, cursor in stocked.store.cursors().items() if name != "bulk"} == {"price": 1, "stock": 1}
    assert stocked.store.view.stock[MILK] == 1
    assert stocked.charge(MILK) == 100


async def test_a_stream_never_waits_once_its_hold_is_full(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), **after(stock=9)))
    for seq in range(2, HELD_ROWS_MAX + 1):
        await stocked.store.receive(prices(seq, price("milk", 100 + seq, rev=seq + 1)))
    await stocked.store.tend()
    assert stocked.store.cursors()["price"].seq == HELD_ROWS_MAX
    assert stocked.charge(MILK) == 100 + HELD_ROWS_MAX
    assert ("price", 1, "rejected") in stocked.acks()


@pytest.mark.parametrize("bad", [{"after": {"stock": StreamPosition(HQ_ONE, 1)}}, after(price=1)])
async def test_a_condition_without_an_end_or_on_its_own_stream_is_refused(stocked: Shop, bad: dict[str, Any]) -> None:
    assert (await stocked.store.receive(prices(1, price("milk", 110, rev=2), **bad))).outcome is Outcome.REJECTED
    assert (await stocked.store.receive(prices(2, price("milk", 120, rev=2)))).outcome is Outcome.APPLIED


async def test_a_gap_behind_a_waiting_message_is_named_where_it_is(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), **after(stock=9)))
    gap = await stocked.store.receive(prices(4, price("milk", 120, rev=3)))
    assert gap.missing is not None
    assert (gap.missing.from_seq, gap.missing.to_seq) == (2, 3)


# -- cancel ----------------------------------------------------------------------------------------------------------------


def cancel(*places: tuple[str, int]) -> dict[str, Any]:
    return {"targets": [{"stream": stream, "incarnation": HQ_ONE, "seq": seq} for stream, seq in places], "reason": "typing error"}


async def test_what_is_cancelled_before_it_came_is_refused_when_it_comes(stocked: Shop) -> None:
    await stocked.say("cancel.v1", cancel(("price", 1)))
    late = await stocked.store.receive(prices(1, price("milk", 110, rev=2)))
    assert (late.outcome, late.detail) == (Outcome.REJECTED, "cancelled by HQ: typing error")
    assert stocked.charge(MILK) == 100


async def test_what_waits_is_cancelled_and_the_rest_goes_on(stocked: Shop) -> None:
    await stocked.store.receive(prices(2, price("milk", 120, rev=3)))
    await stocked.store.receive(prices(3, price("bread", 150, rev=3)))
    await stocked.say("cancel.v1", cancel(("price", 2)))
    await stocked.store.receive(prices(1, price("milk", 110, rev=2)))
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (110, 150)


async def test_a_price_for_later_is_cancelled_and_one_in_force_stays(stocked: Shop) -> None:
    starts = "2026-01-10T12:00:00Z"
    promo = price("bread", 90, kind="promo", price_id="p", effective_from=starts)
    await stocked.prices(price("milk", 95, rev=2), promo)
    said = await stocked.say("cancel.v1", cancel(("price", 1)))
    assert said.outcome is Outcome.APPLIED
    assert stocked.staged()[-1].reason == "price 1: 1 prices are in force or were"
    stocked.clock.pass_ms(2 * DAY_MS)
    await stocked.store.put_in_force([MILK, BREAD])
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (95, 200)


async def test_a_change_held_as_implausible_is_cancelled(stocked: Shop) -> None:
    await stocked.prices(price("milk", 9_900, rev=2))
    assert stocked.store.held_prices()
    await stocked.say("cancel.v1", cancel(("price", 1)))
    assert stocked.store.held_prices() == []


# -- poison ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [AttributeError("planted"), AssertionError("planted"), RecursionError("planted"), KeyError("planted")])
async def test_a_message_that_raises_is_kept_aside_and_nothing_stops(
    stocked: Shop, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    put = catalogue.apply_rows

    def faulty(db: Any, stamp: Any, rows: Any, *more: Any) -> Any:
        rows = list(rows)
        applied = put(db, stamp, rows, *more)
        if any(row.rev == 13 for row in rows):
            raise fault
        return applied

    monkeypatch.setattr(catalogue, "apply_rows", faulty)
    poison = prices(1, price("milk", 130, rev=13))
    assert (await stocked.store.receive(poison)).outcome is Outcome.REJECTED
    assert (await stocked.store.receive(prices(2, price("bread", 150, rev=2)))).outcome is Outcome.APPLIED
    assert (stocked.charge(MILK), stocked.charge(BREAD)) == (100, 150)
    assert stocked.rows("SELECT state, raw FROM inbox WHERE stream = 'price' AND seq = 1") == [(inbox.QUARANTINED, poison.raw)]
    assert stocked.alerts() == ["hq_poison"]
    assert not stocked.fatal
    assert (await stocked.store.receive(poison)).outcome is Outcome.DUPLICATE


async def test_a_type_of_a_later_contract_is_refused_and_the_stream_goes_on(stocked: Shop) -> None:
    later = prices(1, price("milk", 110, rev=2)).raw.replace(b"price.batch.v1", b"price.batch.v2")
    refused = await stocked.store.receive(reparse("dn/price", later))
    assert (refused.outcome, refused.detail) == (Outcome.REJECTED, "type 'price.batch.v2' is not supported")
    assert (await stocked.store.receive(prices(2, price("milk", 110, rev=2)))).outcome is Outcome.APPLIED


# -- what HQ hears ---------------------------------------------------------------------------------------------------------


async def test_what_was_applied_together_is_one_ack_that_leaves_out_what_was_not(stocked: Shop) -> None:
    for seq in range(2, 41):
        currency = "USD" if seq == 20 else "EUR"
        await stocked.store.receive(prices(seq, price("milk", 100 + seq, rev=seq + 1, currency=currency)))
    before = len(stocked.staged())
    await stocked.store.receive(prices(1, price("milk", 101, rev=2)))
    refused, applied = stocked.staged()[before:]
    assert (refused.seq, refused.stage, bool(refused.reason)) == (20, "rejected", True)
    assert (applied.first, applied.seq, applied.stage, applied.except_) == (1, 40, "applied", (20,))
    assert list(covered(applied)) == [seq for seq in range(1, 41) if seq != 20]


async def test_chunks_are_told_in_runs_and_the_whole_when_it_is_in_force(shop: Shop) -> None:
    chunks: list[dict[str, object]] = [{"items": [item(f"i{n}")], "rows": [price(f"i{n}", 100)]} for n in range(40)]
    for each in shop.hq.snapshot("s1", chunks):
        await shop.store.receive(each)
    told = [(ack.first, ack.seq, str(ack.stage)) for ack in shop.staged()]
    assert told == [(1, 1, "received"), (2, 17, "received"), (18, 33, "received"), (1, 41, "applied")]
    assert PROGRESS_MESSAGES == 16


async def test_chunks_that_come_slowly_are_told_by_time(shop: Shop) -> None:
    said = shop.hq.snapshot("s1", [{"items": [item(f"i{n}")], "rows": []} for n in range(9)])
    for each in said[:4]:
        await shop.store.receive(each)
    await shop.store.tend()
    assert [(ack.first, ack.seq) for ack in shop.staged()] == [(1, 1)]
    shop.clock.pass_ms(PROGRESS_MS)
    await shop.store.tend()
    await shop.store.tend()
    assert [(ack.first, ack.seq) for ack in shop.staged()] == [(1, 1), (2, 4)]
    shop.reopen()
    for each in said[4:]:
        await shop.store.receive(each)
    assert (shop.staged()[-1].first, shop.staged()[-1].seq, str(shop.staged()[-1].stage)) == (1, 10, "applied")


async def test_a_refused_chunk_is_left_out_and_named(shop: Shop) -> None:
    manifest, first, second = shop.hq.snapshot("s1", [{"items": [item("milk")], "rows": [price("milk", 100)]}, {"items": []}])
    stranger = Hq().snapshot("s1", [{"items": [item("bread")]}])[1]
    await shop.store.receive(manifest)
    bad = message("snapshot.chunk.v1", None, 2, chunk=b"x", snapshot_id="s1", n=0)
    assert (await shop.store.receive(bad)).outcome is Outcome.REJECTED
    for seq, body in ((3, first), (4, second)):
        raw = body.raw[body.raw.index(b"\n", body.raw.index(b"\n") + 1) + 1 :]
        await shop.store.receive(message("snapshot.chunk.v1", None, seq, chunk=raw, snapshot_id="s1", n=seq - 3))
    assert shop.charge(MILK) == 100
    assert (shop.staged()[-1].first, shop.staged()[-1].seq, shop.staged()[-1].except_) == (1, 4, (2,))
    assert stranger.seq == 2


async def test_a_new_incarnation_of_one_stream_leaves_the_others(stocked: Shop) -> None:
    await stocked.store.receive(adjust(1))
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))
    assert (await stocked.store.receive(adjust(2))).outcome is Outcome.APPLIED
    assert {name: cursor.incarnation[0] for name, cursor in stocked.store.cursors().items()} == {"bulk": "1", "price": "2", "stock": "1"}


async def test_a_late_message_of_the_old_log_takes_no_stream_that_never_heard_of_it_from_the_new_one(stocked: Shop) -> None:
    assert (await stocked.store.receive(adjust(1, incarnation=HQ_TWO))).outcome is Outcome.APPLIED
    assert (await stocked.store.receive(adjust(1))).outcome is Outcome.STALE
    assert (await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))).outcome is Outcome.APPLIED
    assert stocked.charge(MILK) == 110


async def test_a_late_snapshot_of_the_old_log_moves_no_prices_back_to_it(stocked: Shop) -> None:
    await stocked.store.receive(prices(1, price("milk", 110, rev=2), incarnation=HQ_TWO))
    await stocked.store.receive(prices(3, price("milk", 130, rev=4), incarnation=HQ_TWO))
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk")], "rows": [price("milk", 100)]}]):
        await stocked.store.receive(each)
    assert stocked.store.cursors()["price"] == StreamCursor(HQ_TWO, 1)
    await stocked.store.receive(prices(2, price("milk", 120, rev=3), incarnation=HQ_TWO))
    assert stocked.charge(MILK) == 130
