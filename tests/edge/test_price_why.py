"""Why a price is held, what is held, and how long: what people and metrics are told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from edge.control_guard import GuardControl
from edge.guard_report import quoted_above_ms
from edge.guard_watch import NOTED_MS, TELL_MS, GuardWatch
from edge.label_work import ShelfRules
from edge.model import ItemId, Place
from edge.proof import LOOK_MARGIN_MS
from edge.store import people
from protocols.jsonrpc import RpcError
from protocols.pos import CommitParams, QuoteLine, QuoteParams
from tests.edge.shelf_bench import DWELL_MS, RETRY_MS, Shelf
from tests.edge.shop import BREAD, HOUR_MS, L1, L2, MILK, price

AFTER_MS = 6 * HOUR_MS
PLACE = Place("3", "2", "4", "1")


class Office:
    """Somebody at the control socket of a shelf."""

    def __init__(self, shelf: Shelf, release_after_ms: int | None = None) -> None:
        self.shelf = shelf
        self.watch = GuardWatch(shelf.store, shelf.clock, shelf.desk.store_open, release_after_ms)
        renderer: Any = Printer()
        self.control = GuardControl(shelf.store, shelf.desk, shelf.service, self.watch, renderer, ItemId, 2)

    async def ask(self, method: str, **params: object) -> dict[str, Any]:
        answer: Any = await self.control.methods[method]("uid 7", params)
        await self.shelf.turn()
        return answer  # type: ignore[no-any-return]

    async def why(self, item: ItemId = MILK) -> dict[str, Any]:
        return await self.ask("price.why", item_id=item)

    async def held(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.ask("price.held"))["held"]
        return rows

    async def remedy(self) -> str:
        """What helps against the one hold there is."""
        (row,) = await self.held()
        return str(row["remedy"])

    async def wait(self, hours: float) -> None:
        """Time passes, looked at every half hour."""
        for _ in range(round(2 * hours)):
            await self.shelf.turn(HOUR_MS // 2)
            await self.watch.look()

    def alerts(self) -> list[dict[str, Any]]:
        return [json.loads(row[0]) for row in self.shelf.db.execute("SELECT data FROM outbox WHERE kind = 'alert' ORDER BY seq")]


class Printer:
    """Draws tickets as the fields they show."""

    async def draw_png(self, fields: Any, scale: int) -> bytes:
        return f"{fields.item.name} {fields.item.price_minor} x{scale}".encode()


@pytest.fixture
async def office(shelf: Shelf) -> Office:
    """L1 hangs in a shelf and shows milk at 1.00; milk is 1.20 by now."""
    await shelf.store.bind(L1, (MILK,), "shelf", PLACE, actor="test")
    await shelf.turn()
    await shelf.prices(price("milk", 120, rev=2))
    return Office(shelf)


async def sell(shelf: Shelf, sku: str = "milk") -> None:
    quote_id = await shelf.quote(sku)
    await shelf.desk.commit("lane-1", CommitParams(f"sale {quote_id}", (), quote_id))


# -- why -------------------------------------------------------------------------------------------------------------------


async def test_why_names_the_target_its_source_and_each_bound(office: Office) -> None:
    report = await office.why()
    target = report["target"]
    assert (report["item_id"], report["name"], target["kind"], target["price_id"], target["rev"]) == ("milk", "Milk", "base", "b", 2)
    assert target["curve"] == [[1, 120]]
    assert "/price/" in target["source"]
    assert report["lane"] == {"quantity": 1, "total_minor": 100, "guard": "shelf_lower", "label": L1, "grade": "inferred"}
    shown, coming = report["bounds"]
    assert (shown["label"], shown["place"], shown["holds"], shown["curve"]) == (L1, "3/2/4/1", True, [[1, 100]])
    assert (shown["shows"], shown["grade"], shown["reason"], shown["audience"], shown["page"]) == (
        "proven",
        "inferred",
        "shelf_lower",
        "all",
        0,
    )
    assert (coming["shows"], coming["grade"], coming["holds"], coming["attempt"]) == ("open", None, False, office.shelf.one.last.attempt_id)


async def test_why_says_how_long_and_what_it_cost(office: Office) -> None:
    await sell(office.shelf)
    await sell(office.shelf)
    await office.shelf.turn(HOUR_MS)
    report = await office.why()
    assert report["bounds"][0]["age_s"] >= 3600
    assert (report["given_away_minor"], report["given_away_ever_minor"]) == (40, 40)


async def test_an_item_that_nothing_holds_has_given_nothing_away_by_it(office: Office) -> None:
    await sell(office.shelf)
    await office.shelf.proven(office.shelf.one.last)
    await office.shelf.turn(DWELL_MS)
    report = await office.why()
    assert (report["lane"]["guard"], report["given_away_minor"], report["given_away_ever_minor"]) == (None, 0, 20)
    assert [bound["holds"] for bound in report["bounds"]] == [False]


async def test_an_item_without_price_or_label_has_an_answer_too(office: Office) -> None:
    await office.shelf.say("item.batch.v1", {"items": [{"sku": "new", "name": "New", "barcodes": []}]})
    report = await office.why(ItemId("new"))
    assert (report["target"], report["bounds"]) == (None, [])
    assert (await office.why(BREAD))["bounds"] == []


async def test_why_names_what_members_pay(office: Office) -> None:
    await office.shelf.prices(price("milk", 70, kind="member", price_id="m"))
    assert (await office.why())["member_target"] == {"price_id": "m", "rev": 1, "curve": [[1, 70]]}


# -- held ------------------------------------------------------------------------------------------------------------------


async def test_held_lists_every_item_that_a_label_keeps_down_and_no_other(office: Office) -> None:
    await sell(office.shelf)
    (row,) = await office.held()
    assert (row["item_id"], row["target_minor"], row["held_minor"], row["label"], row["place"]) == ("milk", 120, 100, L1, "3/2/4/1")
    assert (row["reason"], row["grade"], row["given_away_minor"]) == ("shelf_lower", "inferred", 20)
    await office.shelf.proven(office.shelf.one.last)
    assert [row["reason"] for row in await office.held()] == ["dwell"]
    await office.shelf.turn(DWELL_MS)
    assert await office.held() == []


async def test_an_item_that_is_no_longer_sold_is_held_by_nobody(office: Office) -> None:
    await office.shelf.say("item.batch.v1", {"removed": ["milk"]})
    assert await office.held() == []


async def test_a_price_that_went_down_is_held_by_nobody(office: Office) -> None:
    await office.shelf.prices(price("milk", 90, rev=3))
    assert await office.held() == []


async def test_a_bundle_that_only_three_together_show_is_held_too(office: Office) -> None:
    await office.shelf.proven(office.shelf.one.last)
    await office.shelf.turn(DWELL_MS)
    await office.shelf.prices(price("milk", None, rev=3, curve=[[1, 120], [3, 300]]))
    await office.shelf.proven(office.shelf.one.last)
    await office.shelf.prices(price("milk", 120, rev=4))
    (row,) = await office.held()
    assert (row["item_id"], row["attempt"]) == ("milk", office.shelf.one.delivered[-2].attempt_id)


async def test_what_members_read_holds_members_alone(office: Office) -> None:
    await office.shelf.prices(price("milk", 100, rev=3), price("milk", 70, kind="member", price_id="m"))
    await office.shelf.proven(office.shelf.one.last)
    await office.shelf.turn(DWELL_MS)
    assert await office.held() == []
    await office.shelf.prices(price("milk", 90, kind="member", price_id="m", rev=2))
    assert [(row["audience"], row["target_minor"], row["held_minor"]) for row in await office.held()] == [("member", 90, 70)]


# -- remedies --------------------------------------------------------------------------------------------------------------


async def test_each_hold_comes_with_its_way_out(office: Office) -> None:
    shelf = office.shelf
    assert await office.remedy() == "wait: its new picture is on the way"
    await shelf.failed(shelf.one.last)
    assert await office.remedy() == "wait, or go there: stalled"
    await shelf.turn(5 * HOUR_MS)
    remedies = {str(row["remedy"]) for row in await office.held()}
    assert remedies == {f"silent for 5 h: give it a battery, or take it away or cover it, then: shelfd label retire {L1}"}
    await office.ask("label.retire", label=L1, reason="covered", person="Anna")
    assert {str(row["remedy"]) for row in await office.held()} == {
        f"none needed: its label is retired, ends in {DWELL_MS // 60_000} min or when the store closes"
    }
    await shelf.turn(DWELL_MS)
    assert await office.held() == []


async def test_a_dwell_says_when_it_ends(office: Office) -> None:
    await office.shelf.proven(office.shelf.one.last)
    await office.shelf.turn(HOUR_MS)
    assert await office.remedy() == "none needed: read lately, ends in 60 min or when the store closes"


async def test_a_label_that_waits_for_a_person_says_so(template: bytes, rules: ShelfRules) -> None:
    shelf = Shelf(template, ShelfRules(False, 0, RETRY_MS, RETRY_MS))
    shelf.start()
    await shelf.stocked()
    await shelf.up(shelf.one)
    await shelf.heard(L1)
    await shelf.bind(L1, MILK)
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.proven(shelf.one.last)
    await shelf.prices(price("bread", 210, rev=2))
    remedies = {str(row["remedy"]) for row in await Office(shelf).held()}
    assert remedies == {f"look at it, then: shelfd label confirm {L1} --shows PRICE"}
    await shelf.stop()


async def test_an_unknown_display_asks_for_a_look(office: Office) -> None:
    await office.shelf.proven(office.shelf.one.last)
    await office.shelf.turn(DWELL_MS)
    await office.shelf.heard(L2)
    await office.shelf.store.bind(L2, (BREAD,), "shelf", Place(), actor="test")
    await office.shelf.prices(price("bread", 250, rev=2))
    rows = await office.held()
    assert {row["reason"] for row in rows} >= {"unproven"}
    assert any(f"look at it: shelfd label confirm {L2}" in str(row["remedy"]) for row in rows)


# -- what people say -------------------------------------------------------------------------------------------------------


async def test_a_label_is_retired_and_restored_over_the_control_socket(office: Office) -> None:
    answer = await office.ask("label.retire", label=L1, reason="removed", person="Anna")
    assert answer == {"label": L1, "pictures_released": 2, "dwell_s": DWELL_MS // 1000}
    (row,) = (await office.ask("label.retired"))["labels"]
    assert (row["label"], row["reason"], row["person"], row["place"], row["seen_again"]) == (L1, "removed", "Anna", "3/2/4/1", None)
    assert await office.ask("label.restore", label=L1, person="Anna") == {"label": L1, "pictures_put_back": 2, "hang_up_in_s": 0}
    assert office.shelf.charge(MILK) == 100


async def test_a_label_that_shows_less_than_a_customer_was_told_is_hung_up_later(office: Office) -> None:
    shelf = office.shelf
    await office.ask("label.retire", label=L1, reason="removed", person="Anna")
    await shelf.turn(DWELL_MS)
    await shelf.quote("milk")
    await shelf.turn(60_000)
    answer = await office.ask("label.restore", label=L1, person="Anna")
    assert answer["hang_up_in_s"] == 540
    assert shelf.charge(MILK) == 100


async def test_what_a_member_was_told_counts_against_what_members_read(office: Office) -> None:
    shelf = office.shelf
    await shelf.prices(price("milk", 100, rev=3), price("milk", 70, kind="member", price_id="m"))
    await shelf.proven(shelf.one.last)
    await office.ask("label.retire", label=L1, reason="removed", person="Anna")
    await shelf.turn(DWELL_MS)
    await shelf.prices(price("milk", 90, kind="member", price_id="m", rev=2))
    await shelf.desk.quote("lane-1", QuoteParams("b1", (QuoteLine("1", 1, item_id="milk"),)))
    assert quoted_above_ms(shelf.store.view, L1, shelf.clock.now) == 0
    await shelf.desk.quote("lane-1", QuoteParams("b2", (QuoteLine("1", 1, item_id="milk"),), member=True))
    assert quoted_above_ms(shelf.store.view, L1, shelf.clock.now) == 600_000


@pytest.mark.parametrize(
    "method, params, text",
    [
        ("label.retire", {"label": L1, "reason": "lost", "person": "A"}, "Invalid enum value 'lost'"),
        ("label.retire", {"label": L2, "reason": "removed", "person": "A"}, f"no label {L2}"),
        ("label.restore", {"label": L1, "person": "A"}, "not retired"),
        ("label.confirm", {"label": L1, "person": "A"}, "say what the label shows"),
        ("label.confirm", {"label": L1, "person": "A", "shows": ["1.20"], "attempt": 3}, "say what the label shows"),
        ("label.confirm", {"label": L1, "person": "A", "shows": ["1.205"]}, "at most 2 decimals"),
        ("label.confirm", {"label": L1, "person": "A", "shows": ["cheap"]}, "expected an amount"),
        ("label.confirm", {"label": L2, "person": "A", "shows": ["1.20"]}, "is for 0 items"),
        ("label.confirm", {"label": L1, "person": "", "shows": ["1.20"]}, "length >= 1"),
        ("label.ticket", {"label": L1}, "has a radio"),
        ("label.ticket", {"label": "nowhere"}, "no label nowhere"),
        ("price.held", {"all": True}, "all"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(office: Office, method: str, params: Mapping[str, object], text: str) -> None:
    with pytest.raises(RpcError) as caught:
        await office.ask(method, **params)
    assert text in (caught.value.detail or caught.value.cashier)


async def test_a_paper_label_is_printed_hung_and_confirmed(office: Office) -> None:
    shelf = office.shelf
    await shelf.store.bind("t1", (BREAD,), "shelf", PLACE, actor="test", kind="paper")
    await shelf.turn()
    await shelf.prices(price("bread", 250, rev=2))
    assert {row["remedy"] for row in await office.held() if row["label"] == "t1"} == {
        f"print its ticket (shelfd label ticket t1) and hang it, then: shelfd label confirm t1 --attempt {max(shelf.may('t1'))}; "
        "or take the old one down, then: shelfd label retire t1"
    }
    ticket = await office.ask("label.ticket", label="t1", scale=2)
    assert (ticket["attempt"], ticket["png_b64"]) == (max(shelf.may("t1")), "QnJlYWQgMjUwIHgy")
    done = await office.ask("label.confirm", label="t1", person="Anna", attempt=ticket["attempt"])
    assert done["cannot_show_any_more"] == tuple(sorted(shelf.may("t1"))[:-1])
    await shelf.turn(DWELL_MS)
    assert shelf.charge(BREAD) == 250


async def test_a_price_is_read_off_a_label_as_it_is_printed(office: Office) -> None:
    await office.ask("label.confirm", label=L1, person="Anna", shows=["milk=0.60"])
    assert office.shelf.charge(MILK) == 60


async def test_a_blank_label_frees_what_an_unknown_display_held(office: Office) -> None:
    shelf = office.shelf
    await shelf.proven(shelf.one.last)
    await shelf.turn(DWELL_MS)
    await shelf.store.bind(L2, (BREAD,), "shelf", Place(), actor="test")
    await shelf.prices(price("bread", 250, rev=2))
    assert shelf.charge(BREAD) == 200
    await shelf.turn(LOOK_MARGIN_MS)
    await office.ask("label.confirm", label=L2, person="Anna", shows=["nothing"])
    await shelf.turn(DWELL_MS)
    assert shelf.charge(BREAD) == 250


# -- what lasts ------------------------------------------------------------------------------------------------------------


async def test_the_guard_counts_what_is_held_by_reason(office: Office) -> None:
    await office.watch.look()
    assert office.watch.items_held == {"shelf_lower": 1}
    summary = await office.control.summary()
    assert (summary["items_held"], summary["by_reason"], summary["rise_binds_at"]) == (1, {"shelf_lower": 1}, {"oepl": "inferred"})
    await sell(office.shelf)
    assert (await office.control.summary())["given_away_minor_by_reason"] == {"shelf_lower": 20}


async def test_a_hold_that_lasts_a_day_is_told_once_with_place_and_remedy(office: Office) -> None:
    await office.wait(TELL_MS / HOUR_MS)
    assert office.alerts() == []
    await office.wait(3)
    (alert,) = office.alerts()
    assert alert["kind"] == "label_holds_price"
    assert f"{L1} (3/2/4/1)" in alert["detail"] and "shelfd label retire" in alert["detail"]


async def test_how_long_a_hold_lasts_survives_a_restart_and_begins_anew_after_a_reboot(office: Office) -> None:
    await office.wait(12)
    await office.shelf.restart()
    office = Office(office.shelf)
    await office.wait(11)
    office.shelf.clock.reboot()
    office = Office(office.shelf)
    await office.wait(23)
    assert office.alerts() == []
    await office.wait(2)
    assert len(office.alerts()) == 1


async def test_short_holds_are_not_written_down_and_ended_ones_are_forgotten(office: Office) -> None:
    await office.watch.look()
    await office.shelf.turn(NOTED_MS - 1)
    await office.watch.look()
    assert office.shelf.store.read(people.holds) == {}
    await office.shelf.turn(1)
    await office.watch.look()
    assert len(office.shelf.store.read(people.holds)) == 1
    await office.shelf.prices(price("milk", 100, rev=3))
    await office.watch.look()
    assert office.shelf.store.read(people.holds) == {}


async def test_by_default_no_time_releases_anything(office: Office) -> None:
    await office.wait(100)
    assert (office.shelf.charge(MILK), office.shelf.store.read(people.overrides)) == (100, 0)


async def test_where_the_owner_says_so_time_lets_go_of_what_holds_and_of_nothing_else(office: Office) -> None:
    office = Office(office.shelf, AFTER_MS)
    coming = office.shelf.one.last.attempt_id
    await office.wait(AFTER_MS / HOUR_MS)
    assert office.shelf.charge(MILK) == 100
    await office.wait(0.5)
    assert (office.shelf.charge(MILK), office.shelf.store.read(people.overrides)) == (120, 1)
    assert coming in office.shelf.may()
    assert (await office.control.summary())["overrides"] == 1


async def test_the_owners_time_counts_in_full_after_a_reboot(office: Office) -> None:
    office = Office(office.shelf, AFTER_MS)
    await office.wait(5)
    office.shelf.clock.reboot()
    office = Office(office.shelf, AFTER_MS)
    await office.wait(6)
    assert office.shelf.charge(MILK) == 100
    await office.wait(1)
    assert office.shelf.charge(MILK) == 120


async def test_a_wall_clock_that_jumps_lets_go_of_nothing(office: Office) -> None:
    office = Office(office.shelf, AFTER_MS)
    await office.wait(1)
    office.shelf.clock.wall += 1000 * HOUR_MS
    await office.watch.look()
    assert office.shelf.charge(MILK) == 100


async def test_a_hold_that_ended_and_began_again_waits_in_full(office: Office) -> None:
    office = Office(office.shelf, AFTER_MS)
    await office.wait(5)
    await office.shelf.prices(price("milk", 100, rev=3))
    await office.watch.look()
    await office.shelf.prices(price("milk", 130, rev=4))
    await office.wait(5)
    assert office.shelf.charge(MILK) == 100
    await office.wait(2)
    assert office.shelf.charge(MILK) > 100


async def test_a_store_with_many_held_items_answers_others_meanwhile(office: Office) -> None:
    """The survey gives way after each slice."""
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(others())
    view = office.shelf.store.view
    many = [ItemId(f"x{n}") for n in range(1_000)]
    view._differing.update(dict.fromkeys(many))
    await office.watch.survey()
    task.cancel()
    assert turns >= 10
