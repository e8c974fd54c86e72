"""One history: a shop with its labels, tills, staff, HQ and a broker, around the daemon's own code; one seed, one history.

`step` lets one thing happen. What can happen is drawn by weights, and which weights is drawn, too: some histories are full of restores,
others of price changes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any, Final

from drivers.base import Delivery
from edge.model import ItemId
from edge.stock import Level
from edge.store.db import Refused
from edge.store.store import ATTEMPT_NUMBER_MODULUS
from protocols.hq import Stream
from tests.edge.shop import Entropy
from tests.sim.broker import Broker, SimLink
from tests.sim.disk import SimStore
from tests.sim.happenings import Happenings
from tests.sim.headquarters import ITEMS
from tests.sim.judge import Judge, Read, Violation
from tests.sim.lanes import Lane
from tests.sim.people import TICKET, Staff
from tests.sim.process import DWELL_MS, LANES, RELEASE_AFTER_MS, TOPIC_BASE, Process
from tests.sim.radios import Air, Label, Shown

if TYPE_CHECKING:
    from tests.sim.start import Start

EVENTS: Final = 250
CALM_ROUNDS_MAX: Final = 150


@dataclass(frozen=True, slots=True)
class Faults:
    """Faults of the daemon's surroundings that a mutant plants."""

    believes_stored: bool = False  # a driver that reports proof when the bytes are stored
    cached_picture_counts: bool = False  # pictures without their attempt, and "I have it" taken for proof
    no_dwell: bool = False
    release_after: bool = False


SOUND: Final = Faults()


class World:
    """Build it from a `Start`; `play` it."""

    def __init__(self, start: Start, seed: int, faults: Faults, trace: Callable[[int, str, str], None] | None = None) -> None:
        self.dice = Random(seed)
        self.seed = seed
        self.faults = faults
        self.trace = trace
        self.disk = start.disk
        self.clock, self.hq, self.modules, self.labels = start.open()
        self.broker = Broker(TOPIC_BASE)
        self.hq.broker = SimLink.broker = self.broker
        self.entropy = Entropy(str(seed))
        self.lives = 0  # how often an old file was put back
        self.calm = False
        self.events = 0
        has_table = seed // 6 % 3 != 0  # while tills have tables, a restart holds a cut's picture back for longer than a quote lives
        self.lanes = [Lane(self, name, has_table=has_table and name == LANES[-1]) for name in LANES]
        self.air = Air(self)
        self.staff = Staff(self)
        self.judge = Judge(self)
        self.person_binds = seed % 5 == 4
        self.is_slow = seed % 3 == 1
        self.behind: tuple[str, int] | None = None  # HQ's price messages that a restored store must have before it sells
        self.happenings = Happenings(self, seed)
        if not start.has_ticket:
            self.labels.pop(TICKET, None)
        self.process: Process
        self.boot(restored=False)

    # -- the daemon's life

    def boot(self, *, restored: bool) -> None:
        faults = self.faults
        self.process = Process(
            self.disk, self.clock, self.entropy, self.dice.random, self.modules,
            person_binds=self.person_binds,
            dwell_ms=0 if faults.no_dwell else DWELL_MS,
            release_after_ms=RELEASE_AFTER_MS if faults.release_after else None,
            numbered_pictures=not faults.cached_picture_counts,
            restored=restored,
        )  # fmt: skip
        if self.is_slow:
            writer = self.process.store.writer
            writer.is_slow = writer.group_ends = lambda: not self.calm and self.dice.random() < 0.3
        self.judge.attend()

    def turn(self) -> None:
        """The daemon does what it can do; when the power fails meanwhile, it is started again."""
        while not self.process.run():
            self.recover()
        if self.calm and self.process.store.writer.waiting:
            self.happenings.disk()
            self.turn()

    def recover(self) -> None:
        """What is on disk is all there is; systemd starts the daemon again, after a reboot or at once."""
        self.note("daemon", "is killed")
        self.process.bury()
        self.broker.cut()
        for lane in self.lanes:
            lane.forget_call()
        if self.dice.random() < 0.25:
            self.reboot()
        self.boot(restored=False)

    def reboot(self) -> None:
        before_ms = self.clock.now
        self.clock.reboot()
        for module in self.modules:  # their time goes on
            for offer in module.offers.values():
                offer.until_ms += self.clock.now - before_ms
        self.judge.rebooted()
        self.note("machine", "boots again")

    def call_ended(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None and not self.process.power.failed:
            raise error

    def say(self, work: Callable[[SimStore], Awaitable[Any]]) -> Any:
        """A person's word to the daemon, until it is heard: also by the next life. None where it is refused."""
        while True:
            done: list[Any] = []

            async def call(done: list[Any] = done) -> None:
                try:
                    done.append(await work(self.process.store))
                except Refused as error:
                    self.note("daemon", "refuses: %s", error)
                    done.append(None)

            process = self.process
            process.start(call()).add_done_callback(self.call_ended)
            while not done and process is self.process:
                self.turn()
                if not done and process is self.process:
                    with process.loop:
                        process.store.writer.turn()
            if done:
                return done[0]

    # -- the world's own ways

    def note(self, actor: str, text: str, *args: object) -> None:
        if self.trace is not None:
            self.trace(self.clock.link, actor, text % args if args else text)

    def pass_time(self, duration_ms: int) -> None:
        self.clock.pass_ms(duration_ms)
        for lane in self.lanes:
            if lane.told:
                lane.told = [told for told in lane.told if told.until_ms > self.clock.link]
        for label in self.labels.values():
            if label.coming is not None:
                self.air.refresh(label)
        self.judge.passed()

    def put_on_panel(self, label: Label, shown: Shown) -> None:
        self.leaves_sight(label)
        label.shown = shown
        self.judge.panel_changed(label)
        self.note(label.name, "shows %s", shown)

    def leaves_sight(self, label: Label) -> None:
        """What the label shows may have been read just now."""
        if label.shown.item_id is not None and not label.away:
            self.judge.past.append(Read(self.clock.now, label.shown))

    def true_attempt(self, delivery: Delivery) -> int:
        """The attempt that a picture's own pixels name; 0 for one of a life of the store that was undone."""
        if self.faults.cached_picture_counts:
            return delivery.attempt_id
        number = int(delivery.picture.data[1:].split(b",", 1)[0])
        attempt_id = (number - self.process.store._incarnation_salt) % ATTEMPT_NUMBER_MODULUS
        return attempt_id if attempt_id == delivery.attempt_id else 0

    @property
    def catches_up(self) -> bool:
        """Whether a restored store has not heard yet what HQ had told it before, and what it forgot. Tills wait."""
        if self.behind is not None and self.process.store.restored_since_ms() is None:
            if self.behind[0] != self.hq.incarnation:  # it lost its log meanwhile, and says all it knows in another
                self.behind = self.hq.incarnation, self.hq.last_seq(Stream.PRICE)
            incarnation, seq = self.behind
            cursor = self.process.store.cursors().get(Stream.PRICE)
            if cursor is not None and cursor.incarnation == incarnation and cursor.seq >= seq:
                self.behind = None
                self.judge.look_at_all()
        return self.behind is not None

    # -- one history

    def play(self, events: int = EVENTS) -> None:
        self.turn()
        self.judge.check(0)
        while self.events < events:
            self.step()
        self.calm_down()
        self.judge.finish()

    def step(self) -> None:
        """One event, and perhaps a turn of the daemon."""
        dice = self.dice
        self.happenings.one()
        self.events += 1
        if dice.random() < 0.5:
            self.turn()
        self.judge.check(self.events)
        self.pass_time(dice.choice((5, 50, 200, 800)))

    def end(self) -> None:
        self.process.kill()
        self.process.bury()

    # -- and at last

    def calm_down(self) -> None:
        """Faults are over: everything must come to rest where it should be."""
        self.calm = True
        self.note("world", "faults are over")
        self.process.power.commits_left = None
        self.broker.is_up = self.clock.trusted = True
        for label in self.labels.values():
            label.dead = False
            if label.away:
                self.staff.hang_up(label)
        for driver in self.process.drivers:
            if not driver.module.plugged:
                driver.plug()
        reason = ""
        for number in range(CALM_ROUNDS_MAX):
            self._calm_round(number)
            reason = self.judge.unrest()
            if not reason:
                if self.lives and number < CALM_ROUNDS_MAX - 20 and self._books_differ():
                    continue
                return
        raise Violation(f"P5: no rest although all faults are over: {reason}")

    def _calm_round(self, number: int) -> None:
        if number % 4 == 0:
            self.hq.publish(self.clock.wall)
            self.hq.tell_head(self.clock.wall)
        for label in self.labels.values():
            if not self.judge.unrest_of(label):
                continue
            self.events += 1
            if label.label_id == TICKET:
                self.staff.print_ticket(label)
                self.staff.hang_ticket(label)
            else:
                self.air.wake(label)
            if label.label_id == TICKET or self.person_binds:
                self.staff.look(label)
        for driver in self.process.drivers:
            while driver.has_commands:
                driver.command(self.clock.now, self.dice)
                self.events += 1
        for lane in self.lanes:
            unsent = [slip for slip in lane.slips if slip.answer is None and not slip.refused]
            if unsent and not lane.busy and not self.catches_up:
                lane.send(lane._first(unsent))
        self.turn()
        self.drain()
        self.judge.check(self.events)
        self.pass_time(5_000 if self.judge.labels_rest else 2_000)
        self.turn()

    def drain(self) -> None:
        """The broker does its work, in order and to the end."""
        while self.broker.can_deliver or self.broker.can_puback or self.broker.up:
            while self.broker.can_deliver:
                self.broker.deliver(None)
                self.events += 1
            while self.broker.can_puback:
                self.broker.puback(loses=False)
                self.events += 1
            while self.broker.up:
                self.hq.take(*self.broker.next_for_hq(None), self.clock.wall)
                self.events += 1
            self.turn()

    def _books_differ(self) -> bool:
        """HQ compares stock with a store that was restored; it is told what differs."""
        view = self.process.store.view
        if all(self.hq.stock[sku] == view.level(ItemId(sku)).on_hand for sku in ITEMS):
            return False
        self.hq.say_digest({sku: Level(self.hq.stock[sku]) for sku in ITEMS}, self.clock.wall)
        self.hq.publish(self.clock.wall)
        return True
