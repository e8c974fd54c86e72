"""The stock ledger on disk: L1 to L6 of the consistency rules (docs/reference/stock.md), and what HQ says over the wire."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edge.hold_keeper import HoldKeeper
from edge.model import ItemId
from edge.stock import Cause, HoldState, Level, digest
from edge.store import holds, journal, observed, stock
from edge.store.rows import Db, Stamp
from edge.view import Delta
from protocols.pos import CommitLine, CommitParams, CommitResult, Tender
from tests.edge.shop import BREAD, HOUR_MS, L1, MILK, NOON_MS, Shop, item

LATER = "2026-01-09T18:00:00Z"
LATER_MS = NOON_MS + 6 * HOUR_MS


async def receive(shop: Shop, units: int, *, sku: str = "milk", id_: str = "", **more: Any) -> None:
    row = {"id": id_ or f"in {sku} {units}".replace(" ", "-"), "sku": sku, "delta": units, "cause": "receipt"}
    await shop.say("stock.adjust.v1", {"adjustments": [row | more]})


async def place(shop: Shop, hold_id: str, units: int, *, sku: str = "milk", expires: str = LATER, **more: Any) -> None:
    row = {"id": hold_id, "sku": sku, "quantity": units, "purpose": "pickup", "expires": expires, "order": "o1"}
    await shop.say("stock.hold.v1", {"holds": [row | more]})


async def escrow(shop: Shop, id_: str, change: int, *, channel: str = "web", sku: str = "milk") -> None:
    await shop.say("stock.escrow.v1", {"moves": [{"id": id_, "sku": sku, "channel": channel, "change": change}]})


async def sell(shop: Shop, sale_id: str, units: int, *, sku: str = "milk", **more: Any) -> CommitResult:
    lines = (CommitLine("1", units, 100 * units, item_id=sku),)
    return await shop.desk.commit("lane-1", CommitParams(sale_id, (Tender("cash", 100 * units),), lines=lines, **more))


def told(shop: Shop, *names: str) -> list[dict[str, Any]]:
    found = [msgspec.json.decode(data) for (data,) in shop.rows("SELECT data FROM outbox WHERE kind = 'stock' ORDER BY seq")]
    return [event for event in found if not names or event["event"] in names]


def books_balance(shop: Shop) -> bool:
    """L1: each materialised account is the sum of its ledger, on disk and in memory."""
    on_hand = dict(shop.rows("SELECT item_id, sum(delta) FROM ledger GROUP BY item_id"))
    moves = {(item_id, account): total for item_id, account, total in shop.rows(
        "SELECT item_id, account, sum(delta) FROM reserve_move GROUP BY item_id, account"
    )}  # fmt: skip
    quota = dict(shop.rows("SELECT item_id, sum(quantity) FROM escrow GROUP BY item_id"))
    held = dict(shop.rows("SELECT item_id, sum(quantity) FROM hold WHERE state IN ('placed', 'arrived') GROUP BY item_id"))
    view = shop.store.view
    for item_id, *level in shop.rows("SELECT item_id, on_hand, held, escrow FROM stock"):
        summed = [on_hand.get(item_id, 0), moves.get((item_id, "held"), 0), moves.get((item_id, "escrow"), 0)]
        kept = [on_hand.get(item_id, 0), held.get(item_id, 0), quota.get(item_id, 0)]
        seen = view.level(item_id)
        if not level == summed == kept == [seen.on_hand, seen.held, seen.escrow]:
            return False
    return True


# -- L1, L2: holds ---------------------------------------------------------------------------------------------------------


async def test_a_hold_is_granted_from_what_is_available_and_refused_beyond_it(stocked: Shop) -> None:
    await receive(stocked, 10)
    await place(stocked, "h1", 6)
    await place(stocked, "h2", 5)
    await place(stocked, "h3", 4)
    assert [(event["event"], event["hold_id"]) for event in told(stocked, "hold.granted", "hold.refused")] == [
        ("hold.granted", "h1"),
        ("hold.refused", "h2"),
        ("hold.granted", "h3"),
    ]
    assert told(stocked, "hold.refused")[0]["reason"] == "short"
    assert stocked.store.view.level(MILK) == Level(10, 10, 0)
    assert sorted(stocked.store.view.holds) == ["h1", "h3"]
    assert books_balance(stocked)
    stocked.reopen()
    assert sorted(stocked.store.view.holds) == ["h1", "h3"]
    assert books_balance(stocked)


async def test_the_same_hold_again_is_granted_once_and_another_under_its_id_is_refused(stocked: Shop) -> None:
    await receive(stocked, 10)
    await place(stocked, "h1", 6)
    await place(stocked, "h1", 6)
    await place(stocked, "h1", 2)
    assert [event["event"] for event in told(stocked, "hold.granted", "hold.refused")] == ["hold.granted", "hold.refused"]
    assert told(stocked, "hold.refused")[0]["reason"] == "conflict"
    assert stocked.store.view.level(MILK).held == 6


async def test_a_hold_of_what_the_store_never_had_or_that_is_over_already_is_refused(stocked: Shop) -> None:
    await place(stocked, "h1", 1)
    await receive(stocked, 5)
    await place(stocked, "h2", 1, expires="2026-01-09T11:59:59Z")
    assert [event["reason"] for event in told(stocked, "hold.refused")] == ["short", "expired"]
    assert stocked.store.view.holds == {}


async def test_held_goods_are_collected_released_or_lapse(stocked: Shop) -> None:
    await receive(stocked, 10)
    for hold_id in ("collected", "released", "hq", "lapses", "waits"):
        await place(stocked, hold_id, 1)
    stamp = stocked.store.stamp()
    for hold_id, state in (("collected", HoldState.COLLECTED), ("released", HoldState.RELEASED)):
        await stocked.store.run(lambda db, hold_id=hold_id, state=state: _end(db, stamp, hold_id, state))  # type: ignore[misc]
    await stocked.say("stock.release.v1", {"releases": [{"id": "hq"}, {"id": "collected"}, {"id": "nobody"}]})
    await stocked.store.run(lambda db: _arrive(db, stamp, "waits"))
    keeper = HoldKeeper(stocked.store, stocked.clock)
    stocked.clock.wall = LATER_MS - 1
    assert await keeper.look() == 0
    stocked.clock.wall = LATER_MS
    assert await keeper.look() == 1
    states = dict(stocked.rows("SELECT hold_id, state FROM hold"))
    assert states == {"collected": "collected", "released": "released", "hq": "released", "lapses": "expired", "waits": "arrived"}
    assert stocked.store.view.level(MILK) == Level(9, 1, 0)
    assert [event["hold_id"] for event in told(stocked, "hold.not_released")] == ["collected", "nobody"]
    assert [event["delta"] for event in told(stocked, "hold.collected")] == [-1]
    assert books_balance(stocked)


def _end(db: Db, stamp: Stamp, hold_id: str, state: HoldState) -> tuple[Any, Delta]:
    delta = Delta()
    return holds.end_hold(db, stamp, hold_id, state, "test", delta), delta


def _arrive(db: Db, stamp: Stamp, hold_id: str) -> tuple[Any, Delta]:
    delta = Delta()
    return holds.arrive(db, stamp, hold_id, "test", delta), delta


async def test_nothing_lapses_by_a_clock_that_nobody_vouches_for(stocked: Shop) -> None:
    await receive(stocked, 10)
    await place(stocked, "h1", 1)
    stocked.clock.wall, stocked.clock.trusted = LATER_MS + 1, False
    assert await HoldKeeper(stocked.store, stocked.clock).look() == 0
    await place(stocked, "h2", 1)
    assert sorted(stocked.store.view.holds) == ["h1", "h2"]
    stocked.clock.trusted = True
    assert await HoldKeeper(stocked.store, stocked.clock).look() == 2


async def test_many_holds_lapse_in_short_transactions(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "DUE_MAX", 2)
    await receive(stocked, 10)
    for n in range(5):
        await place(stocked, f"h{n}", 1)
    stocked.clock.wall = LATER_MS
    assert await HoldKeeper(stocked.store, stocked.clock).look() == 5
    assert stocked.store.view.level(MILK) == Level(10, 0, 0)


async def test_open_holds_have_a_limit(stocked: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "OPEN_HOLDS_MAX", 2)
    await receive(stocked, 10)
    for n in range(3):
        await place(stocked, f"h{n}", 1)
    assert [event["reason"] for event in told(stocked, "hold.refused")] == ["too_many"]


# -- L3: a sale is never refused for stock ---------------------------------------------------------------------------------


async def test_a_sale_that_eats_a_hold_is_recorded_and_hq_hears_of_it(stocked: Shop) -> None:
    await receive(stocked, 3)
    await place(stocked, "h1", 2)
    assert (await sell(stocked, "s1", 1)).flags == ()
    assert told(stocked, "stock.short") == []
    answer = await sell(stocked, "s2", 2)
    assert answer.recorded
    (event,) = told(stocked, "stock.short")
    assert (event["sale_id"], event["sku"], event["short"], event["holds"]) == ("s2", "milk", 2, ["h1"])
    assert stocked.store.view.level(MILK) == Level(0, 2, 0)
    assert books_balance(stocked)


async def test_a_sale_that_collects_its_holds_eats_none(stocked: Shop) -> None:
    await receive(stocked, 2)
    await place(stocked, "h1", 2)
    answer = await sell(stocked, "s1", 2, holds=("h1",))
    assert (answer.flags, told(stocked, "stock.short")) == ((), [])
    assert stocked.store.view.level(MILK) == Level(0, 0, 0)
    (event,) = told(stocked, "hold.collected")
    assert (event["delta"], event["sale_id"]) == (0, "s1")
    again = await sell(stocked, "s2", 1, holds=("h1", "h9"))
    assert again.flags == ("hold_unknown",)
    assert books_balance(stocked)


async def test_goods_that_were_never_counted_are_sold_without_a_word(stocked: Shop) -> None:
    await sell(stocked, "s1", 2)
    assert (stocked.store.view.level(MILK), told(stocked)) == (Level(-2, 0, 0), [])


# -- L4: adjustments and counts --------------------------------------------------------------------------------------------

adjustments = st.lists(
    st.builds(
        lambda n, change, as_of: ("adjust", f"a{n}", change, as_of), st.integers(0, 5), st.integers(-9, 9).filter(bool), st.integers(0, 6)
    ),
    max_size=6,
    unique_by=lambda each: each[1],
)
counts = st.lists(
    st.builds(lambda n, counted, as_of: ("count", f"c{n}", counted, as_of), st.integers(0, 3), st.integers(0, 20), st.integers(0, 6)),
    max_size=3,
    unique_by=lambda each: each[1],
)


@given(data=st.data())
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_order_and_repetition_of_what_hq_says_gives_the_same_stock(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    said = data.draw(adjustments) + data.draw(counts)
    orders = [said, data.draw(st.permutations(said + data.draw(st.lists(st.sampled_from(said), max_size=4) if said else st.just([]))))]
    sold = data.draw(st.integers(0, 4))

    async def play(order: list[tuple[str, str, int, int]]) -> tuple[int, bool]:
        shop = Shop(tmp_path_factory.mktemp("order"))
        shop.open()
        await shop.stocked()
        base = shop.store.outbox_state().last_seq
        for n in range(6):
            await sell(shop, f"s{n}", 1)
        stamp = shop.store.stamp()

        def say(db: Db) -> tuple[None, Delta]:
            delta = Delta()
            for what, ref, value, as_of in order:
                if what == "adjust":
                    stock.adjust(db, stamp, stock.Adjustment(ref, MILK, value, Cause.ADJUST, base + as_of), delta)
                else:
                    stock.count(db, stamp, ref, MILK, value, base + as_of, delta)
            return None, delta

        await shop.store.run(say)
        for n in range(sold):
            await sell(shop, f"later{n}", 1)
        result = shop.store.view.stock[MILK], books_balance(shop)
        shop.close()
        return result

    found = [asyncio.run(play(order)) for order in orders]
    assert found[0] == found[1]
    assert found[0][1]
    newest = max((each for each in said if each[0] == "count"), key=lambda each: (each[3], each[1]), default=None)
    if newest is not None:
        after = sum(change for what, _, change, as_of in said if what == "adjust" and as_of > newest[3])
        assert found[0][0] == newest[2] + after - (6 - newest[3]) - sold


async def test_a_count_as_of_an_event_that_has_not_happened_or_of_another_log_is_rejected(stocked: Shop) -> None:
    await receive(stocked, 10)
    count = {"id": "c1", "sku": "milk", "counted": 3, "as_of_seq": 10_000}
    await stocked.say("stock.count.v1", count)
    await stocked.say("stock.count.v1", count | {"as_of_seq": 0, "incarnation": "f" * 32})
    assert [ack[2] for ack in stocked.acks()[-2:]] == ["rejected", "rejected"]
    assert stocked.store.view.stock[MILK] == 10


async def test_after_a_restore_everything_before_it_is_before_any_count(stocked: Shop) -> None:
    await receive(stocked, 10)
    for n in range(3):
        await sell(stocked, f"s{n}", 1)
    await stocked.store.run(_restore)
    first = stocked.store.outbox_state().last_seq
    await sell(stocked, "after", 1)
    await stocked.say("stock.count.v1", {"id": "c1", "sku": "milk", "counted": 6, "as_of_seq": first})
    assert stocked.store.view.stock[MILK] == 6 - 1
    assert books_balance(stocked)


def _restore(db: Db) -> tuple[None, Delta]:
    journal.begin_incarnation(db, "e" * 32)
    return None, Delta()


async def test_an_adjustment_of_an_event_that_has_not_happened_is_one_of_now(stocked: Shop) -> None:
    """HQ numbered it by the journal of before a restore: what is counted after it came already holds it."""
    await receive(stocked, 10)
    await stocked.say(
        "stock.adjust.v1", {"adjustments": [{"id": "a1", "sku": "milk", "delta": 5, "cause": "receipt", "as_of_seq": 40_000}]}
    )
    await sell(stocked, "s1", 1)
    await stocked.say("stock.count.v1", {"id": "c1", "sku": "milk", "counted": 14, "as_of_seq": stocked.store.outbox_state().last_seq})
    assert stocked.store.view.stock[MILK] == 14
    assert books_balance(stocked)


async def test_an_adjustment_counts_once_whatever_it_is_called(stocked: Shop) -> None:
    for cause in ("receipt", "shrink", "stocktaking"):
        await stocked.say("stock.adjust.v1", {"adjustments": [{"id": "a1", "sku": "milk", "delta": 5, "cause": cause}]})
    assert stocked.store.view.stock[MILK] == 5
    assert stocked.rows("SELECT cause FROM ledger") == [("receipt",)]


async def test_what_staff_book_goes_up_and_an_id_counts_once(stocked: Shop) -> None:
    def book(db: Db) -> tuple[int, Delta]:
        delta = Delta()
        stamp = stocked.store.stamp()
        return stock.adjust_here(db, stamp, stock.Adjustment("mine", MILK, -2, Cause.SHRINK), "ann", delta), delta

    assert [await stocked.store.run(book) for _ in range(2)] == [-2, -2]
    assert [(event["delta"], event["cause"], event["by"]) for event in told(stocked, "stock.adjusted")] == [(-2, "shrink", "ann")]
    assert books_balance(stocked)


# -- L5: quotas ------------------------------------------------------------------------------------------------------------


async def test_a_quota_comes_from_what_is_available_and_bounds_what_its_channel_holds(stocked: Shop) -> None:
    await receive(stocked, 10)
    await escrow(stocked, "e1", 6)
    await escrow(stocked, "e2", 5)
    await escrow(stocked, "e1", 6)
    assert stocked.store.view.level(MILK) == Level(10, 0, 6)
    await place(stocked, "shop", 5)
    await place(stocked, "web-1", 4, channel="web")
    await place(stocked, "web-2", 4, channel="web")
    await place(stocked, "app-1", 1, channel="app")
    assert [(event["hold_id"], event["reason"]) for event in told(stocked, "hold.refused")] == [
        ("shop", "short"),
        ("web-2", "short"),
        ("app-1", "short"),
    ]
    assert stocked.store.view.level(MILK) == Level(10, 4, 2)
    await escrow(stocked, "e3", -3)
    await escrow(stocked, "e4", -2)
    assert stocked.store.view.level(MILK) == Level(10, 4, 0)
    assert [(event["event"], event["ref"], event["quota"]) for event in told(stocked, "escrow.moved", "escrow.refused")] == [
        ("escrow.moved", "e1", 6),
        ("escrow.refused", "e2", 6),
        ("escrow.refused", "e3", 2),
        ("escrow.moved", "e4", 0),
    ]
    assert books_balance(stocked)


class Step(msgspec.Struct, frozen=True):
    """One thing that happens to the stock of milk."""

    what: str
    name: str
    units: int


@given(
    steps=st.lists(
        st.builds(
            Step, st.sampled_from(["in", "sell", "hold", "web", "quota", "end", "restart"]), st.sampled_from("abcd"), st.integers(1, 6)
        ),
        max_size=12,
    )
)
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_happens_no_more_is_promised_than_was_there_and_the_books_balance(
    steps: list[Step], tmp_path_factory: pytest.TempPathFactory
) -> None:
    async def play() -> None:
        shop = Shop(tmp_path_factory.mktemp("stock"))
        shop.open()
        await shop.stocked()
        for n, step in enumerate(steps):
            before = shop.store.view.level(MILK)
            match step.what:
                case "in":
                    await receive(shop, step.units, id_=f"in-{step.name}")
                case "sell":
                    await sell(shop, f"s{n}", step.units)
                case "hold":
                    await place(shop, step.name, step.units)
                case "web":
                    await place(shop, f"web-{step.name}", step.units, channel="web")
                case "quota":
                    await escrow(shop, f"q{step.name}{step.units}", step.units if step.name < "c" else -step.units)
                case "end":
                    await shop.say("stock.release.v1", {"releases": [{"id": step.name}]})
                case _:
                    shop.reopen()
            after = shop.store.view.level(MILK)
            if step.what in ("hold", "web", "quota") and after != before:
                assert after.available >= min(0, before.available)
                assert after.held + after.escrow <= max(after.on_hand, before.held + before.escrow)
            assert min(after.held, after.escrow) >= 0
            assert books_balance(shop)
        shop.close()

    asyncio.run(play())


# -- L6: comparing books ---------------------------------------------------------------------------------------------------


async def test_only_ranges_that_differ_are_told_and_hq_can_take_them_over(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item(f"i{n:03d}") for n in range(450)]})
    for start in range(0, 450, 150):
        await stocked.say(
            "stock.adjust.v1",
            {"adjustments": [{"id": "open", "sku": f"i{n:03d}", "delta": n, "cause": "receipt"} for n in range(start, start + 150)]},
        )
    theirs = {ItemId(f"i{n:03d}"): Level(n) for n in range(450)} | {ItemId("i007"): Level(8)}
    ranges = [("i000", "i299"), ("i300", "i449")]
    await stocked.say("stock.digest.v1", {"ranges": [_range(theirs, first, last) for first, last in ranges]})
    told_levels = told(stocked, "stock.levels")
    assert [(event["first"], len(event["levels"]), event["more"]) for event in told_levels] == [("i000", 200, True), ("i000", 99, False)]
    for event in told_levels:
        theirs |= {ItemId(sku): Level(*level) for sku, *level in event["levels"]}
    await stocked.say("stock.digest.v1", {"ranges": [_range(theirs, first, last) for first, last in ranges]})
    assert len(told(stocked, "stock.levels")) == 2


def _range(levels: dict[ItemId, Level], first: str, last: str) -> dict[str, object]:
    found = digest({item_id: level for item_id, level in levels.items() if first <= item_id <= last})
    return {"first": first, "last": last, "count": found.count, "total": found.total, "sha256": found.sha256}


async def test_a_range_that_the_store_has_nothing_of_is_told_as_empty(stocked: Shop) -> None:
    await stocked.say("stock.digest.v1", {"ranges": [_range({MILK: Level(3)}, "a", "z")]})
    assert [event["levels"] for event in told(stocked, "stock.levels")] == [[]]


# -- sensors ---------------------------------------------------------------------------------------------------------------


async def observe(shop: Shop, quantity: int, *, id_: str = "o1", at: str = "2026-01-09T12:00:00Z", source: str = "scale-7") -> None:
    row = {"id": id_, "source": source, "kind": "scale", "sku": "milk", "quantity": quantity, "seen_at": at}
    await shop.say("observation.v1", {"observations": [row]})


async def test_an_observation_never_changes_the_books_and_hq_hears_when_it_begins_to_differ(stocked: Shop) -> None:
    await receive(stocked, 10)
    await observe(stocked, 10)
    await observe(stocked, 7, id_="o2", at="2026-01-09T12:01:00Z")
    await observe(stocked, 6, id_="o3", at="2026-01-09T12:02:00Z")
    await observe(stocked, 10, id_="o4", at="2026-01-09T12:03:00Z")
    assert [(event["event"], event["observed"]) for event in told(stocked, "stock.differs", "stock.agrees")] == [
        ("stock.differs", 7),
        ("stock.agrees", 10),
    ]
    assert stocked.store.view.stock[MILK] == 10


async def test_an_observation_is_compared_with_the_books_of_its_own_time_and_an_older_one_is_passed_over(stocked: Shop) -> None:
    await receive(stocked, 10)
    stocked.clock.wall = NOON_MS + 60_000
    await sell(stocked, "s1", 4)
    await observe(stocked, 10, at="2026-01-09T12:00:30Z")
    assert told(stocked, "stock.differs") == []
    await observe(stocked, 1, id_="o0", at="2026-01-09T12:00:10Z")
    assert stocked.store.read(observed.differences) == []
    await observe(stocked, 5, id_="o5", at="2026-01-09T12:02:00Z")
    (found,) = stocked.store.read(observed.differences)
    assert (found[0], found[1].observed, found[1].expected) == (MILK, 5, 6)
    await stocked.say("stock.count.v1", {"id": "c1", "sku": "milk", "counted": 5, "as_of_seq": stocked.store.outbox_state().last_seq})
    assert stocked.store.read(observed.differences) == []


async def test_a_sensor_whose_clock_is_years_ahead_is_heard_again(stocked: Shop) -> None:
    await receive(stocked, 10)
    await observe(stocked, 4, id_="o9", at="2099-01-01T00:00:00Z")
    ((_, doubt),) = stocked.store.read(observed.differences)
    assert doubt.since_ms == NOON_MS
    stocked.clock.pass_ms(60_000)
    await observe(stocked, 10, id_="o2", at="2026-01-09T12:00:59Z")
    assert stocked.store.read(observed.differences) == []


# -- labels ----------------------------------------------------------------------------------------------------------------


async def test_a_label_is_looked_at_again_when_its_item_runs_low_or_out_and_not_for_each_piece(stocked: Shop) -> None:
    await stocked.say("item.batch.v1", {"items": [item("milk", attributes={"stock_full": "10"}), item("bread")]})
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await receive(stocked, 10)
    view = stocked.store.view
    looked: list[int] = []
    for n in range(10):
        view.take_changes()
        await sell(stocked, f"s{n}", 1)
        if MILK in view.changed_items:
            looked.append(view.stock[MILK])
    assert looked == [8, 6, 4, 2, 0]
    view.take_changes()
    await sell(stocked, "bread", 1, sku="bread")
    assert BREAD not in view.changed_items
