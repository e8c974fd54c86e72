"""Tills with a table of their own: the table is the guarded prices, and no picture passes a table that still charges more."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.model import Curve, ItemId, divide_half_up
from edge.opening_hours import OpeningHours, Span
from edge.price_mirror import LEASE_GUARD_MS, LEASE_MS
from protocols.pos import CommitLine, CommitParams, RpcError, Tender
from protocols.pos_prices import MIRROR_LEASE_S, MirroredPrice, PricesParams, PricesResult
from tests.edge.shelf_bench import Shelf, says
from tests.edge.shop import BREAD, HOUR_MS, L1, MILK, NOON_MS, Shop, facts, item, price

WHOLE_LEASE_MS = LEASE_MS + LEASE_GUARD_MS


@dataclass
class Mirror:
    """What a till does with the pages, by the book (docs/reference/lane.md)."""

    shop: Shop
    lane: str = "lane-1"
    table: dict[str, MirroredPrice] = field(default_factory=dict)
    epoch: str = ""
    revision: int = 0
    good_until_ms: int = -1
    pages: int = 0

    async def ask(self, cursor: str | None = None, *, limit: int = 100) -> PricesResult:
        self.pages += 1
        return await self.shop.desk.prices(self.lane, PricesParams(self.revision, self.epoch, cursor, limit))

    async def sync(self, *, limit: int = 100) -> PricesResult:
        """Every page until the last; the table changes only when it is whole."""
        fresh: dict[str, MirroredPrice] | None = None
        cursor = None
        while True:
            sent_ms = self.shop.clock.link
            page = await self.ask(cursor, limit=limit)
            if fresh is None:
                fresh = {} if page.full else dict(self.table)
            for each in page.prices:
                if each.removed:
                    fresh.pop(each.item_id, None)
                else:
                    fresh[each.item_id] = each
            cursor = page.cursor
            if cursor is None:
                self.table, self.epoch, self.revision = fresh, page.epoch, page.revision
                self.good_until_ms = sent_ms + page.lease_s * 1000
                return page

    def charge(self, item_id: str, quantity: int = 1, *, member: bool = False) -> int:
        """What the till would take, from its table alone."""
        held = self.table[item_id]
        curves = held.curves + (held.member_curves if member else ())
        return min(cost(curve, quantity) for curve in curves)

    @property
    def may_sell(self) -> bool:
        return self.shop.clock.link < self.good_until_ms


def cost(curve: tuple[tuple[int, int], ...], quantity: int) -> int:
    return Curve(tuple(curve)).cost_minor(quantity)


def blocked(shop: Shop, amount: int, item_id: ItemId = MILK, *, member: bool = False) -> bool:
    return shop.desk.mirror.blocks([(item_id, Curve.plain(amount))], member=member)


# -- tables ----------------------------------------------------------------------------------------------------------------


async def test_a_till_gets_every_price_in_pages_and_then_only_what_changed(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    last = await mirror.sync(limit=2)
    assert (sorted(mirror.table), mirror.pages, last.full, last.lease_s) == (["beef", "bread", "milk"], 2, True, MIRROR_LEASE_S)
    beef = mirror.table["beef"]
    assert (beef.curves, beef.unit, beef.guard) == ((((1000, 1000),),), "g", None)
    await stocked.prices(price("milk", 90, rev=2))
    changed = await mirror.sync()
    assert ([each.item_id for each in changed.prices], changed.full) == (["milk"], False)
    assert mirror.charge("milk") == 90
    assert (await mirror.sync()).prices == ()


async def test_what_leaves_the_catalogue_comes_as_a_tombstone(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    await mirror.sync()
    await stocked.say("item.batch.v1", {"removed": ["bread"]})
    (gone,) = (await mirror.sync()).prices
    assert (gone.item_id, gone.removed, gone.curves) == ("bread", True, ())
    assert sorted(mirror.table) == ["beef", "milk"]


async def test_changes_on_the_way_are_part_of_the_last_page(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    first = await mirror.ask(limit=2)
    await stocked.prices(price("milk", 70, rev=2), price("beef", 900, rev=2, price_quantity=1000))
    rest = await mirror.ask(first.cursor)
    assert rest.cursor is None
    newest = {each.item_id: each.curves for each in (*first.prices, *rest.prices)}
    assert (newest["milk"], newest["beef"]) == ((((1, 70),),), (((1000, 900),),))


async def test_a_page_that_was_lost_is_asked_for_again(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    first = await mirror.ask(limit=1)
    second = await mirror.ask(first.cursor, limit=1)
    assert await mirror.ask(first.cursor, limit=1) == second


@pytest.mark.parametrize("cursor", ["1.9999", "2.0", "1.-1", "x", "1.", "1.²"])
async def test_a_cursor_of_nobody_is_refused(stocked: Shop, cursor: str) -> None:
    mirror = Mirror(stocked)
    await mirror.sync()
    with pytest.raises(RpcError) as raised:
        await mirror.ask(cursor)
    assert raised.value.code == "not_found"
    with pytest.raises(RpcError):
        await Mirror(stocked, "lane-2").ask("1.0")


async def test_after_a_restart_the_table_is_sent_from_the_beginning(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    await mirror.sync()
    old = mirror.epoch
    stocked.reopen()
    assert (await mirror.sync()).full
    assert mirror.epoch != old


async def test_a_revision_that_the_store_does_not_know_gets_the_whole_table(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    await mirror.sync()
    mirror.revision += 1_000
    assert (await mirror.sync()).full


async def test_a_table_has_the_guarded_price_and_what_members_pay(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    await stocked.prices(price("bread", 150, kind="member", price_id="m"))
    mirror = Mirror(stocked)
    await mirror.sync()
    assert (mirror.charge("milk"), mirror.table["milk"].guard) == (90, "shelf_lower")
    assert (mirror.charge("bread"), mirror.charge("bread", member=True)) == (200, 150)


async def test_a_table_counts_the_dwell_also_while_the_store_is_closed(stocked: Shop) -> None:
    hours = OpeningHours(tuple((Span(8 * 60, 20 * 60),) for _ in range(7)))
    stocked.reopen(facts(opening_hours=hours))
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 90)
    await stocked.shows(L1, MILK, 100, dwell_ms=2 * HOUR_MS)
    stocked.clock.wall = NOON_MS + 10 * HOUR_MS
    mirror = Mirror(stocked)
    await mirror.sync()
    assert (stocked.charge(MILK), mirror.charge("milk")) == (100, 90)


@given(st.data())
@settings(max_examples=20)
def test_whatever_changes_a_whole_table_is_what_the_store_charges(data: st.DataObject) -> None:
    async def play(folder: Path) -> None:
        shop = Shop(folder)
        shop.open()
        await shop.stocked()
        await shop.heard(L1)
        mirrors = [Mirror(shop, "lane-1"), Mirror(shop, "lane-2")]
        revs: dict[str, int] = {}
        for _ in range(data.draw(st.integers(1, 8))):
            match data.draw(st.sampled_from(["price", "bundle", "item", "label", "sync", "sync", "restart"])):
                case "price":
                    sku = data.draw(st.sampled_from(["milk", "bread"]))
                    revs[sku] = revs.get(sku, 1) + 1
                    await shop.prices(price(sku, data.draw(st.integers(50, 250)), rev=revs[sku]))
                case "bundle":
                    revs["milk"] = revs.get("milk", 1) + 1
                    await shop.prices(price("milk", None, rev=revs["milk"], curve=[[1, 100], [3, data.draw(st.integers(200, 290))]]))
                case "item":
                    gone = data.draw(st.booleans())
                    await shop.say("item.batch.v1", {"removed": ["bread"]} if gone else {"items": [item("bread")]})
                case "label":
                    await shop.attempt(L1, [(MILK, data.draw(st.integers(50, 150)))])
                case "sync":
                    await data.draw(st.sampled_from(mirrors)).sync(limit=data.draw(st.integers(1, 3)))
                case _:
                    shop.reopen()
        for mirror in mirrors:
            await mirror.sync(limit=data.draw(st.integers(1, 3)))
            sold = {item_id for item_id, each in shop.store.view.items.items() if not each.removed}
            assert set(mirror.table) == sold
            for item_id in sold:
                for quantity in (1, 2, 3, 4, 7):
                    assert mirror.charge(item_id, quantity) == shop.charge(item_id, quantity)
        shop.close()

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(play(Path(folder)))


def test_the_rule_for_a_plain_curve_is_the_documented_one() -> None:
    for quantity in range(1, 2000, 37):
        assert cost(((1000, 1299),), quantity) == divide_half_up(1299 * quantity, 1000)


# -- leases ----------------------------------------------------------------------------------------------------------------


async def test_a_cut_waits_for_the_tables_that_charge_more_and_nothing_else_does(stocked: Shop) -> None:
    assert not blocked(stocked, 1)
    mirror = Mirror(stocked)
    await mirror.sync()
    stocked.clock.link += 10_000
    assert blocked(stocked, 99)
    assert not blocked(stocked, 100)
    await stocked.prices(price("milk", 80, rev=2))
    assert blocked(stocked, 80)
    assert not blocked(stocked, 150)
    assert not blocked(stocked, 200, BREAD)
    await mirror.sync()
    assert blocked(stocked, 80)
    stocked.clock.link = WHOLE_LEASE_MS - 1
    assert blocked(stocked, 80)
    stocked.clock.link += 1
    assert not blocked(stocked, 80)
    assert blocked(stocked, 79)


async def test_a_till_that_is_gone_holds_nothing_up_for_longer_than_its_lease(stocked: Shop) -> None:
    await Mirror(stocked).sync()
    await stocked.prices(price("milk", 80, rev=2))
    stocked.clock.link = WHOLE_LEASE_MS
    assert not blocked(stocked, 80)
    assert not blocked(stocked, 1)


async def test_pages_without_the_last_one_are_no_lease(stocked: Shop) -> None:
    await Mirror(stocked).ask(limit=1)
    assert not blocked(stocked, 1)


async def test_after_a_start_every_cut_waits_one_whole_lease_where_tables_were_ever_handed_out(stocked: Shop) -> None:
    stocked.reopen()
    assert not blocked(stocked, 1)
    await Mirror(stocked).sync()
    stocked.clock.reboot()
    stocked.clock.link = 5_000
    stocked.reopen()
    assert blocked(stocked, 1_000)
    assert not stocked.desk.mirror.blocks([], member=False)
    stocked.clock.link += WHOLE_LEASE_MS
    assert not blocked(stocked, 1)


async def test_a_members_price_waits_for_the_tables_that_charge_members_more(stocked: Shop) -> None:
    await stocked.prices(price("milk", 90, kind="member", price_id="m"))
    await Mirror(stocked).sync()
    assert blocked(stocked, 95)
    assert not blocked(stocked, 95, member=True)
    assert blocked(stocked, 80, member=True)


async def test_what_a_table_said_is_not_due_back(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    await mirror.sync()
    await stocked.prices(price("milk", 80, rev=2))

    async def sold(sale_id: str, lane: str) -> int:
        lines = (CommitLine("1", 1, 100, item_id="milk"),)
        answer = await stocked.desk.commit(lane, CommitParams(sale_id, (Tender("cash", 100),), lines=lines))
        return answer.refund_due_minor

    assert (await sold("s1", "lane-1"), await sold("s2", "lane-2")) == (0, 20)
    stocked.clock.link = WHOLE_LEASE_MS
    assert await sold("s3", "lane-1") == 20


async def test_nothing_is_kept_of_changes_that_no_table_can_hold(stocked: Shop) -> None:
    mirror = Mirror(stocked)
    for rev in range(2, 30):
        await mirror.sync()
        await stocked.prices(price("milk", 100 + rev, rev=rev))
        stocked.clock.link += WHOLE_LEASE_MS
        blocked(stocked, 1)
    kept: dict[str, Any] = stocked.desk.mirror._older  # type: ignore[assignment]
    assert sum(map(len, kept.values())) <= 1


Play = tuple[str, int]
plays = st.lists(
    st.one_of(
        st.tuples(st.just("price"), st.integers(50, 150)),
        st.tuples(st.just("sync"), st.integers(0, 1)),
        st.tuples(st.just("wait"), st.sampled_from([1_000, 12_000, WHOLE_LEASE_MS])),
        st.tuples(st.just("show"), st.just(0)),
        st.tuples(st.just("restart"), st.just(0)),
    ),
    max_size=14,
)


async def first_overcharge(folder: Path, steps: list[Play], *, break_it: Callable[[Shop], None] = lambda shop: None) -> str | None:
    """Two tills that only look at their own tables; the label shows what is sent at once, the worst case for a cut."""
    shop = Shop(folder)
    shop.open()
    break_it(shop)
    await shop.stocked()
    await shop.heard(L1)
    await shop.bind(L1, MILK)
    shown = 100
    await shop.shows(L1, MILK, shown)
    mirrors = [Mirror(shop, "lane-1"), Mirror(shop, "lane-2")]
    rev, found = 1, None
    for what, value in steps:
        match what:
            case "price":
                rev += 1
                await shop.prices(price("milk", value, rev=rev))
            case "sync":
                await mirrors[value].sync(limit=1)
            case "wait":
                shop.clock.link += value
                shop.clock.pass_ms(value)
            case "show":
                target = shop.store.view.in_force[MILK].row.curve.points[0][1]
                if target != shown and not blocked(shop, target):
                    attempt_id = await shop.attempt(L1, [(MILK, target)])
                    if not blocked(shop, target):  # once more, when it is in the may-set: as the shelf's loop does
                        shown = target
                        await shop.prove(L1, attempt_id)
            case _:
                shop.reopen()
                break_it(shop)
        charges = [mirror.charge("milk") for mirror in mirrors if mirror.may_sell]
        if max([shop.charge(MILK), *charges]) > shown:
            found = f"{what}: charges {charges} over a label that shows {shown}"
            break
    shop.close()
    return found


@given(plays)
@settings(max_examples=40)
def test_no_table_ever_charges_more_than_a_label_shows(steps: list[Play]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        assert asyncio.run(first_overcharge(Path(folder), steps)) is None


def ignore_tables(shop: Shop) -> None:
    shop.desk.mirror.blocks = lambda offers, *, member: False  # type: ignore[method-assign]


def forget_at_start(shop: Shop) -> None:
    shop.desk.mirror._unknown_until_ms = 0


def forget_at_a_change(shop: Shop) -> None:
    shop.desk.mirror._older = Forgetful()


class Forgetful(dict[ItemId, Any]):
    def __setitem__(self, item_id: ItemId, value: object) -> None:
        """What tables said before is not kept."""


@pytest.mark.parametrize(
    "break_it, steps",
    [
        (ignore_tables, [("sync", 0), ("price", 80), ("show", 0)]),
        (forget_at_start, [("sync", 0), ("price", 80), ("restart", 0), ("show", 0)]),
        (forget_at_a_change, [("sync", 0), ("price", 80), ("sync", 1), ("show", 0)]),
    ],
)
async def test_a_shortcut_is_found(tmp_path: Path, break_it: Callable[[Shop], None], steps: list[Play]) -> None:
    (tmp_path / "sound").mkdir()
    assert await first_overcharge(tmp_path / "sound", steps) is None
    assert await first_overcharge(tmp_path, steps, break_it=break_it) is not None


# -- at the shelf ----------------------------------------------------------------------------------------------------------


async def test_the_shelf_keeps_a_cuts_picture_back_until_the_tables_have_lapsed(shelf: Shelf) -> None:
    shelf.service.table_above = shelf.desk.mirror.blocks
    await shelf.desk.prices("lane-1", PricesParams())
    sent = len(shelf.one.delivered)
    await shelf.prices(price("milk", 80, rev=2))
    await shelf.turn(5_000)
    assert (len(shelf.one.delivered), shelf.charge(MILK)) == (sent, 80)
    shelf.clock.link += WHOLE_LEASE_MS
    await shelf.turn(5_000)
    assert says(shelf.one.last) == ("shelf", 80)


async def test_a_rise_goes_to_the_shelf_at_once_whatever_tables_say(shelf: Shelf) -> None:
    shelf.service.table_above = shelf.desk.mirror.blocks
    await shelf.desk.prices("lane-1", PricesParams())
    await shelf.prices(price("milk", 120, rev=2))
    assert says(shelf.one.last) == ("shelf", 120)
