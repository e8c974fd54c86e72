"""Labels, radio modules and lanes as they behave in a shop, for short seeded histories over the daemon's own code.

Real: the store's transactions (on SQLite in memory), the view, the price guard, planning, the shelf loop, the desk. Played: the clock,
the renderer (bytes that spell out what they promise), radio modules that keep an offer across a restart of the daemon, and labels that
fetch, fail, lie, roam between two radios, die, restart; a paper label; and people, who take labels down and hang them up again, print
and hang tickets, and say what they read. What a panel shows is judged from its picture's bytes, never from the daemon's books.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from functools import partial
from random import Random
from typing import Any, TypeVar

import apsw

from drivers.base import (
    DisplayUnknown,
    Failed,
    FailReason,
    Grade,
    LabelId,
    LabelProfile,
    LabelSeen,
    OnAir,
    Proven,
    RadioDown,
    RadioId,
    RadioUp,
    Stored,
)
from edge import guard_report
from edge.desk import Desk
from edge.label_work import ShelfRules
from edge.model import PAPER, ItemId, MayKind, MayState, Place
from edge.planning import PictureFacts
from edge.proof import Claim
from edge.store import journal, people, shelf
from edge.store.db import Refused
from edge.store.people import Retire, Who
from protocols.hq import Message, utc_text
from protocols.pos import QuoteLine, QuoteParams
from render.fields import LabelFields
from tests.edge.shop import PANEL, Entropy, HandClock, Hq, facts, item, price
from tests.edge.stepped import Crash, MemoryStore, SteppedService
from tests.sim.radios import Driver, Module, ModuleOffer, Shown, SpelledPictures, spelled

T = TypeVar("T")

ITEMS = (ItemId("milk"), ItemId("bread"))
LABELS = ("AABBCCDD00000001", "AABBCCDD00000002", "AABBCCDD00000003")
TICKET = "ticket-1"
PERSON = Who("Anna", "sim")
QUOTE_MS = 20_000
DWELL_MS = 40_000
QUANTITIES = (1, 2, 3)


class Overcharge(AssertionError):
    """A customer was asked for more than a label shows."""


@dataclass(slots=True)
class Label:
    label_id: str
    shown: Shown = field(default_factory=lambda: Shown(0))
    coming: Shown | None = None  # stored, the panel refreshes at the next look
    dead: bool = False
    away: bool = False  # no shopper can read it
    printed: Shown | None = None  # a ticket that somebody has in hand, to hang there


@dataclass(slots=True)
class LaneQuote:
    """What a till was told, with when it must be used."""

    until_ms: int
    lines: list[tuple[ItemId, int, int]]  # item, quantity, total
    member: bool


@dataclass(slots=True)
class Read:
    """What a shopper may have read before it went."""

    at_ms: int
    shown: Shown


class World:
    """One history. `step` moves it; `check` judges it."""

    def __init__(self, seed: int, template: bytes, *, no_dwell: bool = False, believes_stored: bool = False) -> None:
        """`no_dwell`, `believes_stored` (a driver that reports proof when the bytes are stored): faults to be found.

        In every fourth history rises wait for a person's look, in every third there is a paper label.
        """
        self.dice = Random(seed)
        self.clock = HandClock()
        self.db = apsw.Connection(":memory:")
        self.db.deserialize("main", template)
        self.entropy = Entropy(str(seed))
        self.no_dwell = no_dwell
        self.believes_stored = believes_stored
        self.hq = Hq()
        self.modules = [Module(RadioId(f"00000000000000F{n}")) for n in (1, 2)]
        self.needs_person = seed % 4 == 3
        self.labels = {label_id: Label(label_id) for label_id in (*LABELS, *([TICKET] if seed % 3 == 2 else []))}
        self.quotes: list[LaneQuote] = []
        self.past: list[Read] = []
        self.versions: dict[tuple[str, str], int] = {}
        self.revs = 0
        self.baskets = 0
        self.starts = 0
        self.calm = False
        self.log: list[str] = []
        self.task: asyncio.Task[None] | None = None

    # -- the daemon's life ---------------------------------------------------------------------------------------------

    async def start(self) -> None:
        self.starts += 1
        self.store = MemoryStore(self.db, self.clock, self.entropy)
        self.desk = Desk(self.store, self.clock, facts(quote_valid_ms=QUOTE_MS), self.entropy, lambda: self.clock.now)
        binds_at = {"oepl": Grade.PERSON} if self.needs_person else {}
        rules = ShelfRules(True, 0 if self.no_dwell else DWELL_MS, 5_000, 20_000, binds_at)
        picture_facts = PictureFacts("en-GB", "EUR", 2, self.store.view.codes, UTC)
        renderer: Any = SpelledPictures()
        self.service = SteppedService(self.store, self.clock, renderer, rules, picture_facts, self.desk.store_open)
        self.service.turn, self.service.parked = asyncio.Event(), asyncio.Event()
        self.drivers = [
            Driver(f"r{n}", module, self.service.emit_for(f"r{n}"), self.believes_stored) for n, module in enumerate(self.modules)
        ]
        for driver in self.drivers:
            self.service.add_radio(driver, "oepl")
            if driver.module.plugged:
                driver.emit(RadioUp(driver.module.radio_id, "simulated"))
        self.task = asyncio.create_task(self.service.run())
        await self.settle()

    async def settle(self) -> None:
        """Let the loop run until it waits for the world."""
        assert self.task is not None
        for _ in range(40):
            while not self.service.parked.is_set() and not self.task.done():  # noqa: ASYNC110 - turns, not time
                await asyncio.sleep(0)
            if self.task.done():
                await self.after_crash()
                return
            await asyncio.sleep(0)
            if not self.service._wake.is_set() and self.service._drawing == 0:
                return
            self.service.parked.clear()
            self.service.turn.set()

    async def after_crash(self) -> None:
        """The process died. What is on disk is all there is; systemd starts it again."""
        assert self.task is not None
        with contextlib.suppress(BaseExceptionGroup, Crash):
            error = self.task.exception()
            if error is not None and not _is_crash(error):
                raise error
        self.note("crash")
        if self.dice.random() < 0.3:
            self.reboot()
        await self.start()

    def reboot(self) -> None:
        before_ms = self.clock.now
        self.clock.reboot()
        for module in self.modules:  # their time goes on
            for offer in module.offers.values():
                offer.until_ms += self.clock.now - before_ms
        self.quotes = [replace(quote, until_ms=self.clock.now + QUOTE_MS) for quote in self.quotes]
        stamp = MemoryStore(self.db, self.clock, self.entropy).stamp()
        shelf.after_reboot(self.db, stamp)
        self.past = [Read(self.clock.now, each.shown) for each in self.past]
        self.note("reboot")

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                await self.task
        self.db.close()

    async def turn(self) -> None:
        self.service.parked.clear()
        self.service.turn.set()
        await self.settle()

    def note(self, text: str) -> None:
        self.log.append(f"{self.clock.now:>8} {text}")

    # -- what happens --------------------------------------------------------------------------------------------------

    async def open_shop(self) -> None:
        """A catalogue; labels bound; half of them hung up with an old price from before this file."""
        items = [item(str(each)) for each in ITEMS]
        rows = [price(str(each), 100) for each in ITEMS]
        self.revs = 1
        await self.start()
        for each in self.hq.snapshot("s1", [{"items": items, "rows": rows}]):
            await self.receive(each)
        for n, label_id in enumerate(self.labels):
            kind = PAPER if label_id == TICKET else None
            await self.guarded(self.store.bind(label_id, (ITEMS[n % len(ITEMS)],), "shelf", Place(), actor="sim", kind=kind))
        await self.turn()

    async def receive(self, message: Message) -> None:
        """HQ sends until the store has it."""
        while not await self.guarded(self.store.receive(message)):
            continue

    async def guarded(self, call: Any) -> bool:
        """Await a call that may meet the crash; False when it did. What is refused is done with."""
        try:
            await call
        except Refused as error:
            self.note(f"refused: {error}")
        except Crash:
            if self.task is not None and not self.task.done():
                self.task.cancel()
                with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup, Crash):
                    await self.task
            self.note("crash in a call")
            if self.dice.random() < 0.3:
                self.reboot()
            await self.start()
            return False
        return True

    async def step(self) -> None:
        dice = self.dice
        if not self.calm and self.store.crash_in is None and dice.random() < 0.08:
            self.store.crash_in, self.store.crash_after_commit = dice.randint(1, 6), dice.random() < 0.5
        roll = dice.random()
        if self.calm or roll < 0.40:
            self.wake(self.labels[dice.choice(LABELS)])
        elif roll < 0.55:
            await self.change_price()
        elif roll < 0.70:
            await self.quote()
        elif roll < 0.76:
            await self.rebind()
        elif roll < 0.80:
            self.unplug()
        elif roll < 0.82:
            self.labels[dice.choice(LABELS)].dead = dice.random() < 0.3
        elif roll < 0.84:
            await self.till_pays()
        elif roll < 0.92:
            await self.person()
        else:
            self.pass_time(dice.choice((500, 2_000, 8_000, 30_000)))
        for driver in self.drivers:
            if dice.random() < 0.7:
                driver.talk(self.clock.now, dice)
        await self.turn()
        self.pass_time(dice.choice((100, 1_000, 3_000)))

    def pass_time(self, duration_ms: int) -> None:
        self.clock.pass_ms(duration_ms)
        self.quotes = [quote for quote in self.quotes if quote.until_ms > self.clock.now]
        self.past = [each for each in self.past if self.clock.now - each.at_ms < DWELL_MS]
        for label in self.labels.values():
            self.refresh(label)

    async def change_price(self) -> None:
        self.revs += 1
        item_id, amount = self.dice.choice(ITEMS), self.dice.choice((60, 80, 100, 120, 140))
        row = price(str(item_id), amount, rev=self.revs)
        roll = self.dice.random()
        if roll < 0.3:  # its end is a rise
            end_ms = self.clock.wall + self.dice.choice((5_000, 30_000, 90_000))
            row |= {"kind": "promo", "price_id": "p", "effective_to": utc_text(end_ms)}
        elif roll < 0.45:
            row |= {"kind": "member", "price_id": "m", "amount_minor": amount - 30}
            if self.dice.random() < 0.5:
                row["effective_to"] = utc_text(self.clock.wall + self.dice.choice((5_000, 30_000, 90_000)))
        elif roll < 0.6:
            del row["amount_minor"]
            row["curve"] = [[1, amount], [self.dice.choice((2, 3)), self.dice.choice((amount, 2 * amount - 10))]]
        self.note(f"HQ {item_id} {row['kind']} {row.get('amount_minor', row.get('curve'))}")
        before, starts = self.desk.charge(item_id, 1).total_minor, self.starts
        await self.receive(self.hq.say("price.batch.v1", {"rows": [row]}))
        after = self.desk.charge(item_id, 1).total_minor
        # A start, and a row that is no price for everybody, put in force what time alone brought meanwhile: the end of an offer, say.
        by_time = self.starts > starts or row["kind"] == "member"
        assert by_time or after <= max(before, amount), "a price change made the lane dearer than both prices"
        target = self.store.view.in_force[item_id].row.curve.cost_minor(1)
        assert after <= target, f"P3: a cut of {item_id} to {target} does not bind at once, the lane asks {after}"

    async def quote(self) -> None:
        self.baskets += 1
        lines = tuple(QuoteLine(f"{n}", self.dice.choice(QUANTITIES), None, str(item_id)) for n, item_id in enumerate(ITEMS))
        params = QuoteParams(f"b{self.baskets}", lines, self.dice.random() < 0.3)
        answers: list[Any] = []

        async def ask() -> None:
            answers.append(await self.desk.quote("lane-1", params))

        if await self.guarded(ask()):
            told = [(ItemId(line.item_id), line.quantity, line.total_minor) for line in answers[0].lines]
            self.quotes.append(LaneQuote(self.clock.now + QUOTE_MS, told, params.member))
            self.note(f"quote {'member ' if params.member else ''}{told}")

    async def till_pays(self) -> None:
        """Lanes are done with their baskets: the leases end without the till's saying so, by their time."""
        self.quotes.clear()

    async def rebind(self) -> None:
        label_id = self.dice.choice(list(self.labels))
        items = () if self.dice.random() < 0.2 else (self.dice.choice(ITEMS),)
        self.note(f"bind {label_id[-1]} {items}")
        await self.guarded(self.store.bind(label_id, items, "shelf", Place(), actor="sim"))

    def unplug(self) -> None:
        driver = self.dice.choice(self.drivers)
        driver.module.plugged = not driver.module.plugged
        self.note(f"{driver.name} plugged={driver.module.plugged}")
        if driver.module.plugged:
            driver.emit(RadioUp(driver.module.radio_id, "simulated"))
            return
        for label_id, delivery in list(driver.following.items()):
            driver.fail(label_id, delivery, FailReason.RADIO_LOST)
        for label_id, (delivery, _) in list(driver.refreshing.items()):
            driver.fail(label_id, delivery, FailReason.RADIO_LOST)
        driver.emit(RadioDown(driver.module.radio_id, "unplugged"))

    # -- people --------------------------------------------------------------------------------------------------------

    async def person(self) -> None:
        """Somebody goes to a label: takes it down or hangs it up again, hangs a ticket, or says what it shows."""
        label = self.dice.choice(list(self.labels.values()))
        roll = self.dice.random()
        if label.away:
            await self.hang_up(label)
        elif roll < 0.25:
            await self.take_down(label)
        elif label.label_id == TICKET and roll < 0.7:
            self.hang_ticket(label) if label.printed is not None and roll < 0.5 else self.print_ticket(label)
        else:
            await self.look(label)

    async def decide(self, transaction: Callable[..., Any], label: Label, **more: Any) -> Any:
        """A word of PERSON to the daemon, said again until it is heard. None where it is refused."""
        done: list[Any] = []

        async def say() -> None:
            done.append(await self.store.run(partial(transaction, stamp=self.store.stamp(), label_id=label.label_id, who=PERSON, **more)))

        while not await self.guarded(say()):
            continue
        return done[0] if done else None

    async def take_down(self, label: Label) -> None:
        """Out of sight first, then the word."""
        self.note(f"take down {label.label_id[-1]}")
        self.leaves_sight(label)
        label.away = True
        reason = self.dice.choice(list(Retire))
        await self.decide(people.retire, label, reason=reason, dwell_ms=self.service.dwell_ms())

    async def hang_up(self, label: Label) -> None:
        """The word first, then back in sight: not before the answer says that no customer was told more than it shows."""
        self.note(f"hang up {label.label_id[-1]}")
        await self.decide(people.restore, label)
        wait_ms = guard_report.quoted_above_ms(self.store.view, label.label_id, self.clock.now)
        if self.calm:
            self.pass_time(wait_ms)
        elif wait_ms:
            self.note(f"in {wait_ms} ms")
            return
        label.away = False

    async def look(self, label: Label) -> None:
        """Somebody reads a label, walks to a terminal, and says what was there. Who errs, errs on the low side."""
        shown = label.shown
        misread = 7 if self.dice.random() < 0.05 else 0
        if not self.calm:
            self.pass_time(self.dice.choice((0, 1_000, 3_000)))
        claims = [] if shown.item_id is None or shown.curve is None else [Claim(shown.item_id, shown.curve.points[0][1] - misread)]
        if self.dice.random() < 0.4 or not await self.confirm(label, claims=claims):
            await self.confirm(label, attempt_id=shown.attempt_id)

    async def confirm(self, label: Label, *, claims: Sequence[Claim] = (), attempt_id: int | None = None) -> bool:
        self.note(f"confirm {label.label_id[-1]} {attempt_id or claims}")
        dwell_ms = self.service.dwell_ms()
        done = await self.decide(people.confirm, label, claims=claims, attempt_id=attempt_id, dwell_ms=dwell_ms)
        if done is not None and label.printed is not None and label.printed.attempt_id in done.gone:
            label.printed = None  # the answer says that it must not hang there any more
        return done is not None

    def print_ticket(self, label: Label) -> None:
        """The newest one; one that was in hand is thrown away."""
        found = self.db.execute(
            "SELECT attempt_id, fields FROM attempt WHERE label_id = ? AND fields <> '' ORDER BY attempt_id DESC LIMIT 1", (label.label_id,)
        ).fetchone()
        if found is not None and not self.store.view.labels[label.label_id].retired:
            label.printed = Shown.read(spelled(LabelFields.from_dict(json.loads(found[1])), found[0]))
            self.note(f"print {label.printed}")

    def hang_ticket(self, label: Label) -> None:
        assert label.printed is not None
        self.put_on_panel(label, label.printed)
        label.printed = None

    # -- labels --------------------------------------------------------------------------------------------------------

    def put_on_panel(self, label: Label, shown: Shown) -> None:
        self.leaves_sight(label)
        label.shown = shown
        self.note(f"panel {label.label_id[-1]} = {shown.attempt_id} {shown.item_id} {shown.curve and shown.curve.points}")

    def leaves_sight(self, label: Label) -> None:
        """What the label shows may have been read just now."""
        if label.shown.item_id is not None and not label.away:
            self.past.append(Read(self.clock.now, label.shown))

    def refresh(self, label: Label) -> None:
        coming, label.coming = label.coming, None
        if coming is not None:
            self.put_on_panel(label, coming)

    def wake(self, label: Label) -> None:
        """A label looks for news, at whichever radio hears it."""
        self.refresh(label)
        reachable = [driver for driver in self.drivers if driver.module.plugged]
        if label.dead or not reachable or label.label_id == TICKET:
            return
        driver = self.dice.choice(reachable)
        radio_id, label_id = driver.module.radio_id, LabelId(label.label_id)
        profile = LabelProfile(PANEL, ("raw2",), 20_000, 0x26)
        driver.emit(LabelSeen(radio_id, label_id, self.clock.now, profile, 2900))
        if not self.calm and self.dice.random() < 0.03:
            self.note(f"label {label_id[-1]} restarts")
            driver.emit(DisplayUnknown(radio_id, label_id, self.clock.now, "restart"))
            for each in self.drivers:
                if label_id in each.refreshing:
                    each.fail(label_id, each.refreshing[label_id][0], FailReason.DISPLAY_LOST)
            return
        if label_id in driver.refreshing:
            delivery, will_show = driver.refreshing.pop(label_id)
            if will_show:
                driver.emit(Proven(radio_id, label_id, delivery.attempt_id, Grade.INFERRED, self.clock.now))
            else:
                driver.emit(Failed(radio_id, label_id, delivery.attempt_id, FailReason.LOW_BATTERY))
            return
        offer = driver.module.offers.get(label_id)
        if offer is not None and offer.until_ms > self.clock.now:
            self.fetch(label, driver, offer)
        elif offer is not None:
            del driver.module.offers[label_id]
            if label_id in driver.following:
                driver.fail(label_id, driver.following[label_id], FailReason.EXPIRED)

    def fetch(self, label: Label, driver: Driver, offer: ModuleOffer) -> None:
        radio_id, label_id, attempt_id = driver.module.radio_id, LabelId(label.label_id), offer.delivery.attempt_id
        followed = driver.following.get(label_id)
        mine = followed is not None and followed.attempt_id == attempt_id
        picture = Shown.read(offer.delivery.picture.data)
        how = "whole" if self.calm else self.dice.choice(("whole", "whole", "whole", "xfc lost", "not shown", "half", "late"))
        self.note(f"fetch {label_id[-1]} {attempt_id} {how}{'' if mine else ' (nobody follows)'}")
        if mine:
            driver.emit(OnAir(radio_id, label_id, attempt_id))
        if how == "half":
            if mine:
                driver.fail(label_id, offer.delivery, FailReason.STALLED)
            return
        if how == "xfc lost":  # the label has it and draws it; the module goes on offering
            self.put_on_panel(label, picture)
            if mine and self.dice.random() < 0.5:
                driver.fail(label_id, offer.delivery, FailReason.STALLED)
            return
        del driver.module.offers[label_id]
        if how == "late":
            label.coming = picture
        elif how == "whole":
            self.put_on_panel(label, picture)
        if mine:
            driver.following.pop(label_id)
            driver.emit(Stored(radio_id, label_id, attempt_id))
            if self.believes_stored:
                driver.emit(Proven(radio_id, label_id, attempt_id, Grade.INFERRED, self.clock.now))
            else:
                driver.refreshing[label_id] = (offer.delivery, how != "not shown")

    # -- judging -------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        view = self.store.view
        for label in self.labels.values():
            shown = label.shown
            if shown.item_id is None:
                continue
            may = view.may_of_label(label.label_id)
            entry = may.get(shown.attempt_id)
            known = entry is not None and entry.state is not MayState.GONE
            unknown = any(each.kind is MayKind.UNKNOWN and each.state is not MayState.GONE for each in may.values())
            # What a person proved may be one of two sendings of the very same picture.
            twin = any(each.attempt_id > shown.attempt_id and each.grade == Grade.PERSON for each in may.values())
            assert known or unknown or twin, f"label {label.label_id} shows attempt {shown.attempt_id}, not in its may-set {list(may)}"
            if label.away:
                continue
            for member in (False, True):
                for quantity in QUANTITIES:
                    self.judge(shown, quantity, self.asks(shown.item_id, quantity, member=member), member, "shows")
            for quote in self.quotes:
                for item_id, quantity, total_minor in quote.lines:
                    if item_id == shown.item_id:
                        self.judge(shown, quantity, total_minor, quote.member, "shows, under a live quote of")
        for read in self.past:
            for member in (False, True):
                assert read.shown.item_id is not None
                self.judge(read.shown, 1, self.asks(read.shown.item_id, 1, member=member), member, "showed within the dwell")
        for item_id, in_force in view.in_force.items():
            key = (item_id, in_force.row.price_id)
            assert in_force.row.rev >= self.versions.get(key, 0), "P6: a price version went back"
            self.versions[key] = in_force.row.rev

    def asks(self, item_id: ItemId, quantity: int, *, member: bool) -> int:
        """What a lane asks now."""
        return self.desk._charge(item_id, quantity, member=member).total_minor

    def judge(self, shown: Shown, quantity: int, charged_minor: int, member: bool, how: str) -> None:
        for curve in shown.promises(member=member):
            if charged_minor > curve.cost_minor(quantity):
                who = "a member" if member else "a customer"
                raise Overcharge(f"{quantity} {shown.item_id}: {who} is charged {charged_minor}, a label {how} {curve.points}")

    async def calm_down(self) -> None:
        """Faults are over: everything must come to rest where it should be."""
        self.calm = True
        self.store.crash_in = None
        for label in self.labels.values():
            label.dead = False
            if label.away:
                await self.hang_up(label)
        for driver in self.drivers:
            if not driver.module.plugged:
                driver.module.plugged = True
                driver.emit(RadioUp(driver.module.radio_id, "simulated"))
        for _ in range(60):
            for label in self.labels.values():
                self.wake(label)
                for driver in self.drivers:
                    driver.talk(self.clock.now, self.dice)
                if label.label_id == TICKET:
                    self.print_ticket(label)
                    self.hang_ticket(label)
                if label.label_id == TICKET or self.needs_person:
                    await self.look(label)
            await self.turn()
            self.check()
            self.pass_time(10_000)
            if self.at_rest():
                return
        raise AssertionError("P5: no rest although all faults are over")

    def at_rest(self) -> bool:
        view = self.store.view
        for label in self.labels.values():
            binding = view.bindings.get(label.label_id)
            wanted = binding.items[0] if binding and binding.items else None
            if label.shown.item_id != wanted or not self.store.is_proven(label.label_id):
                return False
            if wanted is not None and label.shown.curve != view.in_force[wanted].row.curve:
                return False
        return all(
            self.desk.charge(item_id, quantity).total_minor == in_force.row.curve.cost_minor(quantity)
            for item_id, in_force in view.in_force.items()
            for quantity in QUANTITIES
        )


def _is_crash(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_is_crash(each) for each in error.exceptions)
    return isinstance(error, Crash)


async def history(seed: int, template: bytes, *, steps: int = 60, log: list[str] | None = None, **world_options: Any) -> None:
    """Play one history. Raises AssertionError when an invariant breaks."""
    world = World(seed, template, **world_options)
    if log is not None:
        world.log = log
    try:
        await world.open_shop()
        world.check()
        for _ in range(steps):
            await world.step()
            world.check()
        await world.calm_down()
        journal.verify_audit(world.db)
    finally:
        await world.stop()
