"""The shelf's loop beside people: retired labels, paper labels, grades that bind, and prices for members."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest

from drivers.base import Grade, LabelId, OfferCleared, Proven
from edge.guard_report import proven_by_grade
from edge.label_work import ShelfRules
from edge.model import MEMBERS, Place
from edge.opening_hours import OpeningHours, Span
from edge.proof import LOOK_MARGIN_MS, Claim
from edge.store import people
from edge.store.people import Retire, Who
from protocols.hq import utc_text
from protocols.pos import LookupParams, QuoteLine, QuoteParams
from tests.edge.shelf_bench import DWELL_MS, RETRY_MS, Shelf, says
from tests.edge.shop import HOUR_MS, L1, MILK, NOON_MS, R1, price

ANNA = Who("Anna", "uid 7")
TICKET = "ticket-1"


async def retire(shelf: Shelf, label: str = L1) -> None:
    stamp = shelf.store.stamp()
    await shelf.store.run(
        partial(people.retire, stamp=stamp, label_id=label, reason=Retire.REMOVED, who=ANNA, dwell_ms=shelf.service.dwell_ms())
    )
    await shelf.turn()


async def restore(shelf: Shelf, label: str = L1) -> None:
    await shelf.store.run(partial(people.restore, stamp=shelf.store.stamp(), label_id=label, who=ANNA))
    await shelf.turn()


async def look(shelf: Shelf, amount: int, label: str = L1) -> None:
    dwell_ms = shelf.service.dwell_ms()
    claims = [Claim(MILK, amount)]
    await shelf.store.run(
        partial(people.confirm, stamp=shelf.store.stamp(), label_id=label, claims=claims, attempt_id=None, who=ANNA, dwell_ms=dwell_ms)
    )
    await shelf.turn()


# -- retired ---------------------------------------------------------------------------------------------------------------


async def test_a_retired_label_is_sent_nothing_and_what_is_on_offer_is_taken_back(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.accepted(shelf.one.last)
    count = len(shelf.one.delivered)
    await retire(shelf)
    assert set(shelf.one.withdrawn) == {L1}
    shelf.one.tell(OfferCleared(R1, LabelId(L1)))
    await shelf.turn()
    assert shelf.store.offering_radios(L1, 2**62) == []
    await shelf.prices(price("milk", 130, rev=3))
    await shelf.heard(L1)
    await shelf.turn(10 * RETRY_MS)
    assert len(shelf.one.delivered) == count
    assert shelf.service.unsettled() == 0


async def test_what_a_radio_that_was_away_still_offers_is_taken_back_when_it_is_up(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.accepted(shelf.one.last)
    await retire(shelf)
    shelf.one.withdrawn.clear()
    await shelf.up(shelf.one)
    assert set(shelf.one.withdrawn) == {L1}


async def test_a_label_that_is_retired_while_its_picture_is_drawn_never_gets_it(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    count, may = len(shelf.one.delivered), dict(shelf.may())
    begin = shelf.store.new_attempt_id

    async def retired_meanwhile() -> object:
        attempt_id = await begin()
        monkeypatch.undo()
        stamp = shelf.store.stamp()
        await shelf.store.run(partial(people.retire, stamp=stamp, label_id=L1, reason=Retire.COVERED, who=ANNA, dwell_ms=0))
        return attempt_id

    monkeypatch.setattr(shelf.store, "new_attempt_id", retired_meanwhile)
    await shelf.prices(price("milk", 120, rev=2))
    assert (len(shelf.one.delivered), shelf.may()) == (count, may)


async def test_a_label_that_is_retired_while_its_attempt_is_written_down_never_gets_it(
    shelf: Shelf, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = len(shelf.one.delivered)
    begin = shelf.store.begin_attempt

    async def retired_meanwhile(new: object) -> None:
        await begin(new)  # type: ignore[arg-type]
        stamp = shelf.store.stamp()
        await shelf.store.run(partial(people.retire, stamp=stamp, label_id=L1, reason=Retire.COVERED, who=ANNA, dwell_ms=0))

    monkeypatch.setattr(shelf.store, "begin_attempt", retired_meanwhile)
    await shelf.prices(price("milk", 120, rev=2))
    assert len(shelf.one.delivered) == count
    assert list(shelf.may().values()) == ["proven", "open"], "it is kept: that it never left only this process knows"
    assert set(shelf.one.withdrawn) == {L1}


async def test_a_label_that_is_back_is_sent_what_it_should_show(shelf: Shelf) -> None:
    await retire(shelf)
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.turn(DWELL_MS)
    assert shelf.charge(MILK) == 120
    await restore(shelf)
    assert shelf.charge(MILK) == 100
    assert says(shelf.one.last) == ("shelf", 120)
    await shelf.proven(shelf.one.last)
    await shelf.turn(DWELL_MS)
    assert shelf.charge(MILK) == 120


async def test_late_proof_from_a_retired_label_is_not_counted(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    last = shelf.one.last
    await shelf.accepted(last)
    await retire(shelf)
    before = dict(shelf.may())
    await shelf.proven(last)
    assert shelf.may() == before
    await restore(shelf)
    assert shelf.charge(MILK) == 100


async def test_closing_time_ends_the_dwell_of_a_retired_label_for_good(template: bytes, rules: ShelfRules) -> None:
    shelf = Shelf(template, rules, OpeningHours(tuple((Span(8 * 60, 20 * 60),) for _ in range(7))))
    shelf.start()
    await shelf.stocked()
    await shelf.up(shelf.one)
    await shelf.heard(L1)
    await shelf.bind(L1, MILK)
    await shelf.proven(shelf.one.last)
    await shelf.prices(price("milk", 120, rev=2))
    await retire(shelf)
    assert shelf.charge(MILK) == 100
    shelf.clock.wall = NOON_MS + 10 * HOUR_MS
    await shelf.turn()
    shelf.clock.wall = NOON_MS + 1 * HOUR_MS
    assert shelf.charge(MILK) == 120
    await shelf.restart()
    assert shelf.charge(MILK) == 120
    await restore(shelf)
    assert shelf.charge(MILK) == 100
    await shelf.stop()


async def test_a_price_is_confirmed_without_the_label_that_is_out_of_use(shelf: Shelf) -> None:
    before = len(shelf.confirmed())
    await shelf.prices(price("milk", 120, rev=2))
    assert len(shelf.confirmed()) == before
    await retire(shelf)
    assert len(shelf.confirmed()) == before + 1


async def test_a_price_that_comes_while_the_only_label_is_out_of_use_is_confirmed_at_once(shelf: Shelf) -> None:
    await retire(shelf)
    before = len(shelf.confirmed())
    await shelf.prices(price("milk", 120, rev=2))
    assert len(shelf.confirmed()) == before + 1


async def test_a_silent_label_with_many_open_pictures_is_tried_when_it_is_heard_again(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 120, rev=2))
    await shelf.failed(shelf.one.last)
    work = shelf.service._work[L1]
    work.next_try_ms = shelf.clock.now + 20 * HOUR_MS
    count = len(shelf.one.delivered)
    await shelf.turn(2 * HOUR_MS)
    assert len(shelf.one.delivered) == count
    await shelf.heard(L1)
    assert len(shelf.one.delivered) == count + 1


# -- which grade binds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "accept_inferred, at, binds",
    [
        (True, {}, [Grade.INFERRED, Grade.SHOWN, Grade.PERSON]),
        (False, {}, [Grade.SHOWN, Grade.PERSON]),
        (True, {"oepl": Grade.SHOWN}, [Grade.SHOWN, Grade.PERSON]),
        (False, {"oepl": Grade.INFERRED}, [Grade.INFERRED, Grade.SHOWN, Grade.PERSON]),
        (True, {"oepl": Grade.PERSON}, [Grade.PERSON]),
        (True, {"another": Grade.PERSON}, [Grade.INFERRED, Grade.SHOWN, Grade.PERSON]),
    ],
)
def test_the_owner_says_for_each_kind_of_label_which_proof_lets_a_rise_bind(
    accept_inferred: bool, at: dict[str, Grade], binds: list[Grade]
) -> None:
    rules = ShelfRules(accept_inferred, 0, 1, 1, at)
    assert [grade for grade in Grade if rules.accepts("oepl", grade)] == binds
    assert [grade for grade in Grade if rules.accepts("paper", grade)] == [Grade.PERSON]


@pytest.mark.parametrize("grade", [Grade.INFERRED, Grade.SHOWN])
async def test_a_rise_waits_for_a_person_where_the_owner_says_so_and_a_look_frees_it(
    template: bytes, rules: ShelfRules, grade: Grade
) -> None:
    shelf = Shelf(template, replace(rules, dwell_ms=0, rise_binds_at={"oepl": Grade.PERSON}))
    shelf.start()
    await shelf.stocked()
    await shelf.up(shelf.one)
    await shelf.heard(L1)
    await shelf.bind(L1, MILK)
    await shelf.prices(price("milk", 120, rev=2))
    last = shelf.one.last
    await shelf.accepted(last)
    shelf.one.tell(Proven(R1, LabelId(L1), last.attempt_id, grade, shelf.clock.now))
    await shelf.turn(LOOK_MARGIN_MS)
    assert (shelf.charge(MILK), len(shelf.one.delivered)) == (100, 3)  # unassigned, milk at 1.00, milk at 1.20
    assert "shelfd label confirm" in shelf.service.problem(L1)
    await look(shelf, 120)
    assert (shelf.charge(MILK), shelf.service.unsettled(), shelf.service.problem(L1)) == (120, 0, "")
    assert len(shelf.one.delivered) == 3
    assert proven_by_grade(shelf.store.view) == {"person": 1}
    await shelf.stop()


# -- paper -----------------------------------------------------------------------------------------------------------------


@pytest.fixture
async def ticketed(empty: Shelf) -> Shelf:
    """A paper label for milk at 1.00, printed, hung and confirmed."""
    await empty.store.bind(TICKET, (MILK,), "shelf", Place(), actor="test", kind="paper")
    await empty.turn()
    await look(empty, 100, TICKET)
    return empty


async def test_a_paper_label_waits_for_a_person_and_no_radio_hears_of_it(empty: Shelf) -> None:
    await empty.store.bind(TICKET, (MILK,), "shelf", Place(), actor="test", kind="paper")
    await empty.turn()
    assert list(empty.may(TICKET).values()) == ["open", "open"], "an unknown display and its ticket"
    assert "shelfd label ticket" in empty.service.problem(TICKET)
    assert empty.service.unsettled() == 1
    await empty.turn(10 * HOUR_MS)
    assert (len(empty.may(TICKET)), empty.one.delivered, empty.two.delivered) == (2, [], [])
    await look(empty, 100, TICKET)
    assert (list(empty.may(TICKET).values()), empty.service.unsettled()) == (["proven"], 0)
    assert empty.store.view.may_of_label(TICKET)[max(empty.may(TICKET))].grade == "person"


async def test_a_rise_on_paper_binds_when_a_person_hung_it_and_the_dwell_is_over(ticketed: Shelf) -> None:
    await ticketed.prices(price("milk", 120, rev=2))
    await ticketed.turn(100 * HOUR_MS)
    assert ticketed.charge(MILK) == 100
    await look(ticketed, 120, TICKET)
    assert ticketed.charge(MILK) == 100
    await ticketed.turn(DWELL_MS)
    assert ticketed.charge(MILK) == 120


async def test_a_ticket_of_a_cut_waits_for_the_quote_above_it(ticketed: Shelf) -> None:
    await ticketed.quote("milk")
    await ticketed.prices(price("milk", 80, rev=2))
    assert len(ticketed.may(TICKET)) == 1
    await ticketed.turn(600_000)
    await ticketed.turn(2_000)
    assert len(ticketed.may(TICKET)) == 2


async def test_every_ticket_that_could_be_printed_counts_until_a_newer_one_hangs(ticketed: Shelf) -> None:
    for rev, amount in enumerate((90, 130, 100), start=2):
        await ticketed.prices(price("milk", amount, rev=rev))
    await ticketed.prices(price("milk", 150, rev=9))
    assert ticketed.charge(MILK) == 90
    await look(ticketed, 150, TICKET)
    await ticketed.turn(DWELL_MS)
    assert (ticketed.charge(MILK), list(ticketed.may(TICKET).values())) == (150, ["proven"])


async def test_a_paper_label_survives_a_restart(ticketed: Shelf) -> None:
    await ticketed.prices(price("milk", 120, rev=2))
    before = ticketed.may(TICKET)
    await ticketed.restart()
    await ticketed.turn(HOUR_MS)
    assert ticketed.may(TICKET) == before


# -- members ---------------------------------------------------------------------------------------------------------------


def members(shelf: Shelf, label: str = L1) -> list[int]:
    """What the label's newest picture promises to members."""
    entries = shelf.store.view.may_of_label(label)
    return [offer.curve.points[0][1] for offer in entries[max(entries)].offers if offer.audience == MEMBERS]


def asks(shelf: Shelf, *, member: bool) -> int:
    return shelf.desk.lookup("lane-1", LookupParams(item_id="milk", member=member)).price.amount_minor


def member_price(amount: int, **more: object) -> dict[str, object]:
    return price("milk", amount, kind="member", price_id="m") | more


async def test_a_members_price_is_drawn_and_promised_to_members(shelf: Shelf) -> None:
    await shelf.prices(member_price(80))
    fields = shelf.pictures.drawn[-1].item
    assert fields is not None
    assert (fields.price_minor, fields.member_price_minor, members(shelf)) == (100, 80, [80])
    await shelf.proven(shelf.one.last)
    assert (asks(shelf, member=True), asks(shelf, member=False)) == (80, 100)


async def test_a_members_price_that_is_over_binds_until_the_label_shows_so(shelf: Shelf) -> None:
    await shelf.prices(member_price(80, effective_to=utc_text(NOON_MS + HOUR_MS)))
    await shelf.proven(shelf.one.last)
    await shelf.turn(HOUR_MS)
    assert (says(shelf.one.last), members(shelf)) == (("shelf", 100), [])
    assert (asks(shelf, member=True), asks(shelf, member=False)) == (80, 100)
    await shelf.proven(shelf.one.last)
    await shelf.turn(DWELL_MS - 2_000)
    assert asks(shelf, member=True) == 80
    await shelf.turn(2_000)
    assert asks(shelf, member=True) == 100


async def test_a_members_price_is_drawn_when_its_time_comes(shelf: Shelf) -> None:
    await shelf.prices(member_price(80, effective_from=utc_text(NOON_MS + HOUR_MS)))
    count = len(shelf.one.delivered)
    await shelf.turn(HOUR_MS)
    assert (len(shelf.one.delivered), members(shelf)) == (count + 1, [80])


async def test_a_clock_that_nobody_vouches_for_ends_no_members_price_on_the_shelf(shelf: Shelf) -> None:
    await shelf.prices(member_price(80, effective_to=utc_text(NOON_MS + HOUR_MS)))
    await shelf.proven(shelf.one.last)
    shelf.clock.trusted = False
    count = len(shelf.one.delivered)
    await shelf.turn(2 * HOUR_MS)
    assert (len(shelf.one.delivered), asks(shelf, member=True)) == (count, 80)
    shelf.clock.trusted = True
    await shelf.turn()
    assert (len(shelf.one.delivered), members(shelf)) == (count + 1, [])


async def quote(shelf: Shelf, *, member: bool) -> None:
    await shelf.desk.quote("lane-1", QuoteParams(f"b{shelf.clock.now}", (QuoteLine("1", 1, item_id="milk"),), member=member))


async def test_a_members_cut_waits_for_members_quotes_alone(shelf: Shelf) -> None:
    await quote(shelf, member=False)
    count = len(shelf.one.delivered)
    await shelf.prices(member_price(80))
    assert len(shelf.one.delivered) == count + 1
    await shelf.proven(shelf.one.last)
    await quote(shelf, member=True)
    await shelf.prices(member_price(70, rev=2))
    assert len(shelf.one.delivered) == count + 1
    await shelf.turn(600_000)
    await shelf.turn(2_000)
    assert members(shelf) == [70]


async def test_after_a_restart_a_quote_counts_as_a_members_too(shelf: Shelf) -> None:
    await quote(shelf, member=False)
    await shelf.restart()
    await shelf.up(shelf.one)
    count = len(shelf.one.delivered)
    await shelf.prices(member_price(80))
    assert len(shelf.one.delivered) == count


@pytest.mark.parametrize("row", [member_price(100), member_price(150), price("milk", 80, kind="member", price_id="m", price_quantity=2)])
async def test_a_members_price_that_is_no_better_or_for_another_quantity_is_not_drawn(shelf: Shelf, row: dict[str, object]) -> None:
    count = len(shelf.one.delivered)
    await shelf.prices(row)
    await shelf.turn(RETRY_MS)
    assert len(shelf.one.delivered) == count


# -- struck-through prices -------------------------------------------------------------------------------------------------


async def test_a_base_price_that_changes_under_an_offer_is_struck_through_anew(shelf: Shelf) -> None:
    await shelf.prices(price("milk", 80, kind="promo", price_id="p"))
    await shelf.proven(shelf.one.last)
    await shelf.prices(price("milk", 130, rev=2))
    fields = shelf.pictures.drawn[-1].item
    assert fields is not None and (fields.price_minor, fields.was_price_minor) == (80, 130)
    await shelf.proven(shelf.one.last)
    later = price("milk", 140, rev=1, price_id="b2", effective_from=utc_text(NOON_MS + HOUR_MS))
    await shelf.prices(later)
    assert len(shelf.one.delivered) == 4
    await shelf.turn(HOUR_MS)
    fields = shelf.pictures.drawn[-1].item
    assert fields is not None and (fields.price_minor, fields.was_price_minor) == (80, 140)
    assert shelf.charge(MILK) == 80
