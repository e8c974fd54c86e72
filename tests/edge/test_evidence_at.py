"""What the evidence says of an instant is what the lane and the shelf said then."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

import apsw
import pytest

from drivers.base import Grade, LabelId, LabelProfile, LabelSeen
from edge.desk import Desk
from edge.evidence import Shown
from edge.model import MEMBERS, Curve, ItemId, MayEntry, MayKind, MayState, Offer, Place
from edge.proof import Claim
from edge.store import people, shelf
from edge.store.db import Refused
from edge.store.evidence_at import ItemThen, item_then
from edge.store.people import Retire, Who
from edge.store.shelf import NewAttempt
from edge.view import Delta
from protocols.hq import utc_text
from protocols.pos import LookupParams, QuoteLine, QuoteParams
from tests.edge.evidence_day import MINUTE_MS, ask, day, finished, sell, tamper
from tests.edge.shop import BREAD, DAY_MS, HOUR_MS, L1, L2, MILK, PANEL, R1, Entropy, HandClock, Hq, Shop, facts, item, price
from tests.edge.stepped import MemoryStore


def then(shop: Shop, at_ms: int, item_id: ItemId = MILK, around_ms: int = 15 * MINUTE_MS) -> ItemThen:
    return ask(shop.path, lambda db: item_then(db, item_id, at_ms, around_ms))


def shown(found: ItemThen) -> list[tuple[str, int, Shown]]:
    """(label, price, how it stood), by label and attempt."""
    return [
        (each.standing.attempt.label_id, offer.curve.points[0][1], each.standing.shown)
        for each in found.shelf
        for offer in each.standing.attempt.offers
        if offer.item_id == found.item_id
    ]


def lane(found: ItemThen) -> tuple[int, int, str | None]:
    assert found.lane is not None
    return found.lane.price_minor, found.lane.target_minor, found.lane.guard


# -- one day ---------------------------------------------------------------------------------------------------------------


async def test_before_anything_was_bound_the_target_alone_speaks(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["unknown"] - 1)
    assert (shown(found), lane(found)) == ([], (100, 100, None))
    assert found.target is not None
    assert (found.target.kind, found.target.price_id, found.target.rev) == ("base", "b", 1)
    assert found.target.source.split("/")[1] == "bulk"


async def test_an_unknown_display_is_told_as_such(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["unknown"])
    assert shown(found) == [(L1, 100, Shown.UNKNOWN), (L2, 100, Shown.UNKNOWN)]


async def test_a_proven_picture_is_told_with_its_grade_and_since_when(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["sold"])
    assert shown(found) == [(L1, 100, Shown.PROVEN), (L2, 100, Shown.PROVEN)]
    assert {(each.standing.grade, each.standing.since_ms) for each in found.shelf} == {("inferred", at["shown"])}
    assert all(each.incarnation == stocked.store.outbox_state().incarnation for each in found.shelf)
    assert any("nobody saw the panel" in text for text in found.limits)


async def test_a_rise_that_no_label_proved_is_held_at_the_lane(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["raised"])
    assert lane(found) == (100, 120, "shelf_lower")
    assert found.lane is not None
    assert found.lane.label_id in (L1, L2)
    assert lane(then(stocked, at["raised"] - 1)) == (100, 100, None)


async def test_a_picture_on_its_way_is_told_beside_the_one_that_is_proven(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["sent"])
    assert shown(found) == [(L1, 100, Shown.PROVEN), (L1, 120, Shown.MAY), (L2, 100, Shown.PROVEN)]
    assert any("without proof" in text for text in found.limits)
    assert shown(then(stocked, at["half"])) == [(L1, 120, Shown.PROVEN), (L2, 100, Shown.PROVEN)]


async def test_the_rise_binds_when_the_last_label_proved_it(stocked: Shop) -> None:
    at = await day(stocked)
    assert lane(then(stocked, at["all"] - 1)) == (100, 120, "shelf_lower")
    assert lane(then(stocked, at["all"])) == (120, 120, None)


async def test_a_label_that_shows_another_item_now_said_this_one_then(stocked: Shop) -> None:
    at = await day(stocked)
    assert shown(then(stocked, at["all"])) == [(L1, 120, Shown.PROVEN)]
    assert shown(then(stocked, at["all"], BREAD)) == [(L2, 190, Shown.PROVEN)]
    assert shown(then(stocked, at["half"], BREAD)) == []


async def test_quotes_and_sales_near_the_instant_are_told(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["half"])
    assert [(each.what, each.ref, each.quantity, each.total_minor, each.target_total_minor, each.guard) for each in found.charged] == [
        ("quote", found.charged[0].ref, 2, 200, 240, "shelf_lower"),
        ("sale", "s2", 2, 200, 240, "shelf_lower"),
    ]
    assert found.charged[1].quote_id == found.charged[0].ref
    assert then(stocked, at["half"], around_ms=0).charged[0].what == "quote"
    assert len(then(stocked, at["half"], around_ms=0).charged) == 1
    assert [each.ref for each in then(stocked, at["half"], around_ms=DAY_MS).charged if each.what == "sale"] == ["s1", "s2", "s3"]
    assert then(stocked, at["half"], BREAD).charged == ()


async def test_who_decided_what_is_told(stocked: Shop) -> None:
    at = await day(stocked)
    assert [(each.what, each.actor) for each in then(stocked, at["half"]).decisions if each.what == "label.bound"] == [
        ("label.bound", "test"),
        ("label.bound", "test"),
    ]


async def test_an_item_that_had_no_price_says_so(stocked: Shop) -> None:
    at = await day(stocked)
    found = then(stocked, at["half"], ItemId("nothing"))
    assert (found.target, found.lane, found.shelf) == (None, None, ())
    assert (then(stocked, 5).entry, then(stocked, 5).target) == (0, None)
    assert any("before this file's evidence begins" in text for text in then(stocked, 5).limits)


async def test_nothing_is_wrong_with_an_untouched_file(stocked: Shop) -> None:
    at = await day(stocked)
    assert all(then(stocked, at_ms, item_id).trouble == () for at_ms in at.values() for item_id in (MILK, BREAD))


async def test_what_members_paid_is_told_beside_what_everybody_paid(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    await stocked.shows(L1, MILK, 100)
    await stocked.prices(price("milk", 70, kind="member", price_id="m"))
    stocked.clock.pass_ms(MINUTE_MS)
    cheap_ms = stocked.clock.wall
    quoted = await stocked.desk.quote("lane-1", QuoteParams("b", (QuoteLine("1", 1, item_id="milk"),), member=True))
    stocked.clock.pass_ms(MINUTE_MS)
    for each in stocked.hq.snapshot("s2", [{"items": [item("milk"), item("bread")], "rows": [price("milk", 100), price("bread", 200)]}]):
        await stocked.store.receive(each)
    withdrawn_ms = stocked.clock.wall
    stocked.clock.pass_ms(MINUTE_MS)
    await stocked.prices(price("milk", 70, kind="member", price_id="m"))
    found = [then(stocked, at_ms) for at_ms in (cheap_ms, withdrawn_ms, stocked.clock.wall)]
    assert [(each.lane.price_minor, each.member_lane.price_minor) for each in found if each.lane and each.member_lane] == [
        (100, 70),
        (100, 100),
        (100, 70),
    ]
    assert [(each.ref, each.total_minor, each.member) for each in found[0].charged] == [(quoted.quote_id, 70, True)]
    assert [each.trouble for each in found] == [(), (), ()]
    stocked.close()
    assert ask(stocked.path, finished).trouble == []
    stocked.open()


# -- planted faults --------------------------------------------------------------------------------------------------------

FAULTS = {
    "a price": ("UPDATE price_row SET curve = '[[1,99]]' WHERE item_id = 'milk'", "price.target"),
    "an offer": ("UPDATE attempt_offer SET curve = '[[1,99]]' WHERE item_id = 'milk' AND row_id IS NULL", "attempt.sent"),
    "a picture": ("UPDATE attempt SET picture_hash = 'x' WHERE label_id = 'AABBCCDD00000001' AND kind = 'picture'", "attempt.sent"),
    "what drew it": ("UPDATE attempt SET fields = '{\"a\":1}' WHERE label_id = 'AABBCCDD00000001' AND kind = 'picture'", "attempt.sent"),
    "a proof's entry": (
        "UPDATE audit SET detail = replace(detail, 'inferred', 'shown') WHERE what = 'attempt.proven'",
        "does not have the hash",
    ),
    "a sale": ("UPDATE sale_line SET total_minor = 1 WHERE sale_id = 's2'", "(sale ['s2'])"),
    "a sale without its lines": ("DELETE FROM sale_line WHERE sale_id = 's2'", "(sale ['s2'])"),
    "a quote": ("UPDATE quote SET body = replace(body, '200', '100')", "(quote ["),
    "an unreadable quote": ("UPDATE quote SET body = 'x'", "(quote ["),
    "all that a label ever offered": ("DELETE FROM attempt_offer WHERE item_id = 'milk'", "attempt.sent"),
    "a price for members": ("UPDATE price_row SET curve = '[[1,1]]' WHERE kind = 'member'", "price.member"),
    "a price for members put in": (
        "INSERT INTO price_row(item_id, kind, price_id, rev, effective_from_ms, curve, immediate, cancelled, source, received_wall_ms) "
        "VALUES ('milk', 'member', 'n', 1, 1, '[[1,1]]', 1, 0, 'x', HALF)",
        "of the prices is in no audit entry",
    ),
    "a target put in": ("INSERT INTO target_log(item_id, row_id, from_wall_ms) VALUES ('milk', 1, HALF)", "is in no audit entry"),
    "an attempt put in": (
        "INSERT INTO attempt(label_id, kind, state, content_hash, picture_hash, payload_md5, fields, created_wall_ms) "
        "VALUES ('AABBCCDD00000001', 'picture', 'past', 'h', 'p', 'm', '{}', HALF)",
        "is in no audit entry",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_change_of_what_the_answer_is_made_of_is_told_with_it(stocked: Shop, fault: str) -> None:
    await stocked.prices(price("bread", 150, kind="member", price_id="m"))
    await stocked.prices(price("milk", 95, kind="member", price_id="m"))
    at = await day(stocked)
    stocked.close()
    statement, told = FAULTS[fault]
    tamper(stocked.path, statement.replace("HALF", str(at["half"])))
    found = then(stocked, at["half"])
    assert any(told in text for text in found.trouble), found.trouble
    stocked.open()


async def test_what_has_nothing_to_do_with_the_answer_does_not_disturb_it(stocked: Shop) -> None:
    at = await day(stocked)
    stocked.close()
    tamper(
        stocked.path, "UPDATE sale_line SET total_minor = 1 WHERE sale_id = 's1'", "UPDATE price_row SET curve = '[[1,9]]' WHERE rev = 2"
    )
    assert then(stocked, at["shown"] - MINUTE_MS, around_ms=0).trouble == ()
    stocked.open()


# -- clocks ----------------------------------------------------------------------------------------------------------------


async def test_an_instant_that_came_twice_is_told_as_its_last_time_and_as_such(stocked: Shop) -> None:
    await stocked.heard(L1)
    await stocked.bind(L1, MILK)
    first_ms = stocked.clock.wall
    stocked.clock.pass_ms(2 * HOUR_MS)
    await stocked.shows(L1, MILK, 100)
    await sell(stocked, "s1")
    stocked.clock.wall = first_ms - HOUR_MS
    stocked.clock.pass_ms(HOUR_MS + MINUTE_MS)
    await sell(stocked, "s2")
    found = then(stocked, stocked.clock.wall)
    assert shown(found) == [(L1, 100, Shown.PROVEN)]
    assert any("was set back over it" in text for text in found.limits)
    assert not any("set back" in text for text in then(stocked, first_ms - 2 * HOUR_MS).limits)


# -- any history -----------------------------------------------------------------------------------------------------------

ITEMS = (MILK, BREAD)
LABELS = (L1, L2)
DWELLS_MS = (0, HOUR_MS)


@dataclass(frozen=True, slots=True)
class Said:
    """What the lane said at an instant."""

    wall_ms: int
    item_id: ItemId
    total_minor: int
    held: bool
    member_minor: int
    proven: frozenset[tuple[str, int]]  # (label, attempt) in the may-set, proven
    may: frozenset[tuple[str, int]]


class Counter:
    """Desk and store without the loop, radios and renderer: a seeded hand does what they do, and worse."""

    def __init__(self, seed: int, template: bytes) -> None:
        self.random = Random(seed)
        self.clock = HandClock()
        self.db = apsw.Connection(":memory:")
        self.db.deserialize("main", template)
        self.entropy = Entropy(str(seed))
        self.hq = Hq()
        self.rev = 1
        self.said: list[Said] = []
        self.restart()

    def restart(self) -> None:
        self.store = MemoryStore(self.db, self.clock, self.entropy)
        self.desk = Desk(self.store, self.clock, facts(), self.entropy, lambda: self.clock.now)

    async def open(self) -> None:
        rows = [price("milk", 100), price("bread", 200)]
        for each in self.hq.snapshot("s1", [{"items": [item("milk"), item("bread")], "rows": rows}]):
            await self.store.receive(each)

    async def step(self) -> None:
        """One thing happens, a millisecond or hours after the last; then the lane is asked."""
        self.clock.pass_ms(self.random.choice((1, 1, 1_000, MINUTE_MS, HOUR_MS // 2, HOUR_MS)))
        await self.time_passed()
        at_the_shelf = (self.heard, self.bound, self.unknown, *(self.sent,) * 3, *(self.proven,) * 3)
        happening = self.random.choice((self.price, self.people, self.people, self.rebooted, self.quoted, *at_the_shelf))
        try:
            await happening()
        except Refused:
            pass
        for item_id in ITEMS:
            charge = self.desk.charge(item_id, 1)
            entries = list(self.store.view.may_of_item(item_id))
            self.said.append(
                Said(
                    self.clock.wall,
                    item_id,
                    charge.total_minor,
                    charge.guard is not None,
                    self.desk.lookup("lane-1", LookupParams(item_id=item_id, member=True)).price.amount_minor,
                    frozenset((e.label_id, e.attempt_id) for e in entries if e.state is MayState.PROVEN and e.release is None),
                    frozenset((e.label_id, e.attempt_id) for e in entries),
                )
            )

    async def time_passed(self) -> None:
        """As the shelf's loop does: due prices in force, ended dwells noted."""
        await self.store.put_in_force(ITEMS)
        over: list[tuple[str, int]] = [
            (each.label_id, each.attempt_id)
            for each in self.store.view.may_entries()
            if each.state is MayState.GONE and self.clock.now - each.gone_ms >= each.dwell_ms
        ]
        if over:
            await self.store.end_dwell(over)
        stamp = self.store.stamp()
        away = {
            each.label_id
            for each in self.store.view.may_entries()
            if each.release is not None and self.clock.now - each.release.at_ms >= each.release.dwell_ms
        }
        if away:
            await self.store.run(lambda db: people.end_release(db, stamp, sorted(away)))

    def label(self) -> str:
        return self.random.choice(LABELS)

    def members(self, label: str) -> list[MayEntry]:
        return [each for each in self.store.view.may_of_label(label).values() if each.state is not MayState.GONE]

    async def price(self) -> None:
        self.rev += 1
        sku, amount = self.random.choice(("milk", "bread")), self.random.randrange(50, 150)
        later = {"effective_from": None} if self.random.random() < 0.7 else {}
        row = price(sku, amount, rev=self.rev, **later)
        if self.random.random() < 0.4:
            from_ms = self.clock.wall + self.random.choice((-HOUR_MS, 0, HOUR_MS))
            ends = {"effective_to": utc_text(from_ms + self.random.choice((HOUR_MS, 4 * HOUR_MS)))} if self.random.random() < 0.7 else {}
            cancelled = {"cancelled": True} if self.random.random() < 0.2 else {}
            which = self.random.choice("mn")
            row = price(sku, amount, rev=self.rev, kind="member", price_id=which, effective_from=utc_text(from_ms), **ends, **cancelled)
        await self.store.receive(self.hq.say("price.batch.v1", {"rows": [row]}))

    async def heard(self) -> None:
        await self.store.seen([("oepl", LabelSeen(R1, LabelId(self.label()), self.clock.now, LabelProfile(PANEL, ("raw2",), 9, 1), 2900))])

    async def bound(self) -> None:
        items = self.random.choice(((MILK,), (BREAD,), ITEMS, ()))
        await self.store.bind(self.label(), items, "shelf", Place(), actor="test")

    async def sent(self) -> None:
        label = self.label()
        if label not in self.store.view.labels:
            return
        attempt_id = await self.store.new_attempt_id()
        promised = [Offer(item_id, Curve.plain(self.random.randrange(50, 150))) for item_id in ITEMS if self.random.random() < 0.6]
        promised += [Offer(each.item_id, Curve.plain(45), audience=MEMBERS) for each in promised if self.random.random() < 0.2]
        new = NewAttempt(attempt_id, label, f"h{attempt_id}", f"p{attempt_id}", "m", "{}", tuple(promised), R1, 1)
        await self.store.begin_attempt(new)
        await self.store.accept_offer(label, R1, attempt_id)

    async def proven(self) -> None:
        members = [each for each in self.members(self.label()) if each.kind is MayKind.PICTURE]
        if members:
            entry = self.random.choice(members)
            accepted, dwell_ms = self.random.random() < 0.8, self.random.choice(DWELLS_MS)
            await self.store.prove(entry.label_id, entry.attempt_id, str(Grade.INFERRED), accepted=accepted, dwell_ms=dwell_ms)

    async def unknown(self) -> None:
        label = self.label()
        if label in self.store.view.labels:
            await self.store.add_unknown(label, "test")

    async def people(self) -> None:
        label, stamp, who, dwell_ms = self.label(), self.store.stamp(), Who("ann", "test"), self.random.choice(DWELLS_MS)
        members = self.members(label)
        match self.random.randrange(4):
            case 0:
                await self.store.run(lambda db: people.retire(db, stamp, label, Retire.COVERED, who, dwell_ms))
            case 1:
                await self.store.run(lambda db: people.restore(db, stamp, label, who))
            case 2:
                claims = [Claim(MILK, self.random.randrange(50, 150))]
                await self.store.run(lambda db: people.confirm(db, stamp, label, claims, None, who, dwell_ms))
            case _:
                chosen = [each.attempt_id for each in members if self.random.random() < 0.3]
                await self.store.run(lambda db: people.override(db, stamp, label, chosen, 1))

    async def rebooted(self) -> None:
        self.clock.reboot()
        self.clock.pass_ms(1)
        stamp = self.store.stamp()
        await self.store.run(lambda db: (shelf.after_reboot(db, stamp), Delta()))  # type: ignore[func-returns-value]
        self.restart()

    async def quoted(self) -> None:
        """Nothing at the shelf, something in the chain."""
        await self.store.note_alert("test", "x")


@pytest.mark.parametrize("seed", range(40))
async def test_any_history_is_told_as_it_was(template: bytes, seed: int) -> None:
    counter = Counter(seed, template)
    await counter.open()
    for _ in range(60):
        await counter.step()
    assert finished(counter.db).trouble == []
    for said in counter.random.sample(counter.said, 40) + counter.said[-2:]:
        found = item_then(counter.db, said.item_id, said.wall_ms, 0)
        assert found.trouble == ()
        assert found.lane is not None
        assert (found.lane.price_minor, found.lane.guard is not None) == (said.total_minor, said.held), said
        assert found.member_lane is not None
        assert found.member_lane.price_minor == said.member_minor, said
        told = {(each.standing.attempt.label_id, each.standing.attempt.attempt_id): each.standing.shown for each in found.shelf}
        assert {key for key, how in told.items() if how is Shown.PROVEN} == said.proven, said
        assert told.keys() <= said.may, said
