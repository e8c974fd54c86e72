"""When prices may rise: only while the store is closed, once in a business day, not at all; and how two persons let one through."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.change_windows import ChangeRule, ChangeRules, ChangesNow, Waits, business_day_began
from edge.desk_facts import WHENEVER
from edge.label_work import ShelfRules
from edge.opening_hours import MINUTES_PER_DAY, OpeningHours, Span
from edge.store import urgent
from edge.store.db import Refused
from protocols.hq import utc_text
from protocols.jsonrpc import RpcError
from tests.edge.shelf_bench import Shelf, says
from tests.edge.shop import BREAD, HOUR_MS, L1, MILK, NOON_MS, item, price
from tests.edge.test_price_why import Office

CLOSED = ChangeRules(ChangeRule(raise_when_closed=True))
DAILY = ChangeRules(ChangeRule(once_per_day=True))
FROZEN = ChangeRules(frozen_items=frozenset({MILK}))
HOURS = OpeningHours(tuple((Span(8 * 60, 21 * 60),) for _ in range(7)))  # in Berlin, where noon UTC is one o'clock: eight hours more
DAY_LEFT_MS = 15 * HOUR_MS  # until the next business day begins, at four in the morning

Open = Callable[[ChangeRules], Any]


# -- the rules, without a shop ---------------------------------------------------------------------------------------------


@given(st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(0, 20))
def test_a_rise_waits_exactly_for_the_rules_of_its_category_or_the_stores(
    in_category: bool, closed: bool, daily: bool, frozen: bool, store_open: bool, changed_ms: int
) -> None:
    strict = ChangeRule(closed, daily, frozen)
    rules = ChangeRules(ChangeRule(), {"dairy": strict}) if in_category else ChangeRules(strict, {"dairy": ChangeRule()})
    now = ChangesNow(rules, store_open, 10)
    category, other = ("dairy", "") if in_category else ("", "dairy")
    waits = now.why_waits(MILK, category, changed_ms)
    assert (waits is not None) == (frozen or (closed and store_open) or (daily and changed_ms >= 10))
    assert now.why_waits(MILK, other, changed_ms) is None
    assert rules.says_something == (closed or daily or frozen)


def test_a_frozen_item_is_frozen_in_any_category() -> None:
    rules = ChangeRules(ChangeRule(), {"dairy": ChangeRule()}, frozenset({MILK}))
    assert ChangesNow(rules, False, 0).why_waits(MILK, "dairy", 0) is Waits.FROZEN
    assert ChangesNow(rules, False, 0).why_waits(BREAD, "dairy", 0) is None


@given(st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1)), st.integers(0, MINUTES_PER_DAY - 1))
def test_a_business_day_began_at_its_minute_and_within_a_day(local: datetime, minute: int) -> None:
    began = business_day_began(local, minute)
    assert (began.hour * 60 + began.minute, began.second, began.microsecond) == (minute, 0, 0)
    assert timedelta() <= local - began < timedelta(days=1)


# -- in the shop -----------------------------------------------------------------------------------------------------------


@pytest.fixture
async def opened(template: bytes, rules: ShelfRules) -> AsyncIterator[Open]:
    shelves: list[Shelf] = []

    async def begin(changes: ChangeRules) -> Shelf:
        shelf = Shelf(template, rules, HOURS, changes)
        shelves.append(shelf)
        shelf.start()
        await shelf.stocked()
        await shelf.up(shelf.one)
        await shelf.heard(L1)
        await shelf.bind(L1, MILK)
        await shelf.proven(shelf.one.last)
        return shelf

    yield begin
    for shelf in shelves:
        await shelf.stop()


def target(shelf: Shelf) -> int:
    total_minor: int = shelf.store.view.in_force[MILK].row.curve.points[0][1]
    return total_minor


async def test_without_rules_a_rise_is_in_force_when_it_is_due(opened: Open) -> None:
    shelf = await opened(WHENEVER)
    await shelf.prices(price("milk", 120, rev=2))
    assert (target(shelf), shelf.service.rises.waiting) == (120, ())


async def test_a_rise_waits_until_the_store_is_closed_and_a_cut_does_not(opened: Open) -> None:
    shelf = await opened(CLOSED)
    await shelf.prices(price("milk", 120, rev=2))
    assert (target(shelf), shelf.charge(MILK), says(shelf.one.last)) == (100, 100, ("shelf", 100))
    assert shelf.service.rises.waiting == (MILK,)
    await shelf.prices(price("bread", 150, rev=2))
    assert shelf.store.view.in_force[BREAD].row.curve.points[0][1] == 150
    await shelf.turn(7 * HOUR_MS)
    assert target(shelf) == 100
    await shelf.turn(HOUR_MS)
    assert (target(shelf), says(shelf.one.last)) == (120, ("shelf", 120))
    assert shelf.service.rises.waiting == ()


async def test_an_offer_that_ends_while_the_store_is_open_goes_on_until_it_closes(opened: Open) -> None:
    shelf = await opened(CLOSED)
    ends = utc_text(NOON_MS + HOUR_MS)
    await shelf.prices(price("milk", 80, kind="promo", price_id="promo", effective_from=utc_text(NOON_MS), effective_to=ends))
    assert target(shelf) == 80
    await shelf.turn(2 * HOUR_MS)
    assert (target(shelf), shelf.charge(MILK)) == (80, 80)
    await shelf.restart()
    assert (target(shelf), shelf.service.rises.waiting) == (80, (MILK,))
    await shelf.turn(6 * HOUR_MS)
    assert target(shelf) == 100


async def test_a_price_that_changed_today_rises_tomorrow(opened: Open) -> None:
    shelf = await opened(DAILY)
    await shelf.prices(price("milk", 90, rev=2))
    assert target(shelf) == 90
    await shelf.prices(price("milk", 110, rev=3))
    assert target(shelf) == 90
    await shelf.prices(price("milk", 80, rev=4))
    assert target(shelf) == 80, "a cut never waits"
    await shelf.prices(price("milk", 120, rev=5))
    await shelf.turn(DAY_LEFT_MS - 1)
    assert target(shelf) == 80
    await shelf.turn(1)
    assert target(shelf) == 120


async def test_hq_hears_of_a_rise_that_waits_when_it_is_on_the_shelf_and_not_before(opened: Open) -> None:
    shelf = await opened(CLOSED)
    await shelf.prices(price("milk", 120, rev=2))
    assert MILK in shelf.store.view.waiting
    await shelf.turn(8 * HOUR_MS)
    await shelf.proven(shelf.one.last)
    assert MILK not in shelf.store.view.waiting


async def test_two_persons_with_a_reason_let_a_rise_through_and_one_does_not(opened: Open) -> None:
    shelf = await opened(FROZEN)
    await shelf.prices(price("milk", 120, rev=2))

    async def ask(person: str) -> bool:
        stamp = shelf.store.stamp()
        done = await shelf.store.run(lambda db: urgent.ask(db, stamp, MILK, person, "wrong by a factor of ten", "cli"))
        await shelf.turn()
        return bool(done)

    assert await ask("ann") is False
    assert target(shelf) == 100
    for spelling in ("ann", " Ann "):
        with pytest.raises(Refused, match="second person"):
            await ask(spelling)
    await shelf.restart()
    assert await ask("ben") is True
    assert (target(shelf), shelf.service.rises.waiting) == (120, ())
    with pytest.raises(Refused, match="nothing waits"):
        await ask("cas")
    told = [what for (what,) in shelf.db.execute("SELECT what FROM audit WHERE what LIKE 'price.urgent%' ORDER BY entry_id")]
    assert told == ["price.urgent.asked", "price.urgent"]
    await shelf.prices(price("milk", 130, rev=3))
    assert target(shelf) == 120, "what was agreed on was that one rise"


async def test_the_control_socket_names_what_waits_and_takes_two_voices(opened: Open) -> None:
    shelf = await opened(CLOSED)
    office = Office(shelf)
    assert (await office.why())["waits"] is None
    await shelf.prices(price("milk", 120, rev=2))
    ask = {"item_id": "milk", "reason": "typo"}
    assert (await office.ask("price.urgent", person="ann", **ask))["in_force"] is False
    expected = {"curve": [[1, 120]], "why": "store_open", "asked_by": "ann", "reason": "typo"}
    assert (await office.why())["waits"] == expected
    (row,) = (await office.ask("price.waiting"))["waiting"]
    assert row == {"item_id": "milk", "name": "Milk", **expected}
    with pytest.raises(RpcError, match="second person"):
        await office.ask("price.urgent", person="ann", **ask)
    assert (await office.ask("price.urgent", person="ben", **ask))["in_force"] is True
    assert (await office.ask("price.waiting"))["waiting"] == []
    assert target(shelf) == 120


async def test_a_first_price_and_an_item_of_another_category_do_not_wait(opened: Open) -> None:
    shelf = await opened(ChangeRules(ChangeRule(), {"dairy": ChangeRule(frozen=True)}))
    await shelf.say("item.batch.v1", {"items": [item("milk", category="dairy"), item("kefir", category="dairy")]})
    await shelf.prices(price("milk", 120, rev=2), price("bread", 250, rev=2), price("kefir", 90))
    in_force = {item_id: found.row.curve.points[0][1] for item_id, found in shelf.store.view.in_force.items()}
    assert in_force == {"milk": 100, "bread": 250, "kefir": 90}
