"""What may happen in a shop, one thing at a time, and how often: each method is an event, and says False where it cannot be one now."""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

from protocols.hq import Stream, utc_text
from tests.edge.shop import price
from tests.sim.headquarters import CHANNEL, ITEMS
from tests.sim.radios import LABELS, Shown

if TYPE_CHECKING:
    from tests.sim.world import World

RESTORES_MS: Final = (500, 10_000, 60_000)  # how long it takes to put a file back: also less than a quote or a price table holds
COPIES_MAX: Final = 3

# What may happen, and how often, by the kind of history.
_BASE: Final[dict[str, float]] = {
    "wake": 40, "radio": 14, "lane": 18, "deliver": 12, "puback": 6, "hq": 6, "price": 4, "stock": 1.5, "staff": 2, "bind": 1,
    "time": 8, "disk": 12, "plug": 0.8, "die": 0.6, "crash": 1.2, "cut": 0.6, "wipe": 0.2, "head": 0.4, "stale": 0.8, "snapshot": 0.15,
    "hq_loses_log": 0.1, "copy": 0.3, "restore": 0, "clock": 0.2, "cut_price": 0.4,
}  # fmt: skip
# What happens for a while after a price was cut under a customer's eyes: radios and labels are quick.
_HURRY: Final[dict[str, float]] = {"wake": 50, "radio": 20, "deliver": 10, "disk": 10, "lane": 4, "puback": 2}
HURRY_EVENTS: Final = 25
CUT_TO_MINOR: Final = 50  # at least: below, the store would take it for a typing error and ask people
KINDS: Final[tuple[dict[str, float], ...]] = (
    _BASE,
    _BASE | {"wake": 60, "radio": 22, "price": 8, "lane": 12, "deliver": 16, "staff": 4, "crash": 2, "cut_price": 1.2},  # the shelf
    _BASE | {"lane": 50, "wake": 60, "price": 10, "deliver": 20, "crash": 3, "puback": 10, "hq": 10, "cut": 2, "wipe": 1},  # tills
    _BASE | {"copy": 1.5, "restore": 1.2, "lane": 40, "hq": 10, "puback": 10},  # an old file is put back
    _BASE | {"stock": 12, "lane": 30, "deliver": 20, "hq": 12, "puback": 12, "crash": 2},  # six buyers race
    _BASE | {"price": 10, "deliver": 25, "stale": 6, "hq_loses_log": 0.6, "snapshot": 0.6, "cut": 2, "clock": 1},  # HQ's word
)
_IN_A_HURRY: Final = list(_HURRY), list(accumulate(_HURRY.values()))


class Happenings:
    """The events of one history."""

    def __init__(self, world: World, seed: int) -> None:
        self.world = world
        self._copies: list[tuple[int, int, int]] = []  # of the file: mark, last attempt in it, how much staff had bound
        weights = KINDS[seed % len(KINDS)]
        self._usual = list(weights), list(accumulate(weights.values()))
        self._hurry_left = 0
        self._awake: list[str] = []  # labels, while it lasts
        self._acts: dict[str, Callable[[], bool]] = {name: getattr(self, name) for name in weights}

    def one(self) -> None:
        """Let one thing happen that can happen."""
        dice = self.world.dice
        self._hurry_left -= 1
        names, weights = _IN_A_HURRY if self._hurry_left > 0 else self._usual
        while not self._acts[dice.choices(names, cum_weights=weights)[0]]():
            names, weights = self._usual

    def wake(self) -> bool:
        label = self.world.labels[self.world.dice.choice(self._awake if self._hurry_left > 0 else LABELS)]
        if not label.dead:
            self.world.air.wake(label)
        return not label.dead

    def radio(self) -> bool:
        driver = self.world.dice.choice(self.world.process.drivers)
        busy = driver.has_commands
        if busy:
            self.world.note(driver.name, driver.command(self.world.clock.now, self.world.dice))
        return busy

    def lane(self) -> bool:
        lane = self.world.dice.choice(self.world.lanes)
        if lane.busy or self.world.catches_up:
            return False
        return lane.act()

    def deliver(self) -> bool:
        can = self.world.broker.can_deliver
        if can:
            if self.world.dice.random() < 0.03:
                self.world.note("broker", "loses %s", self.world.broker.down.pop(0)[0])
            else:
                self.world.note("broker", "delivers %s", self.world.broker.deliver(self.world.dice)[0])
        return can

    def puback(self) -> bool:
        can = self.world.broker.can_puback
        if can:
            loses = self.world.dice.random() < 0.1
            self.world.note("broker", "acknowledges %s%s", self.world.broker.puback(loses=loses)[0], " and loses it" if loses else "")
        return can

    def hq(self) -> bool:
        if not self.world.broker.up:
            return False
        tail, payload = self.world.broker.next_for_hq(self.world.dice)
        self.world.note("HQ", "takes %s", tail)
        self.world.hq.take(tail, payload, self.world.clock.wall)
        return True

    def head(self) -> bool:
        self.world.note("HQ", "says how far it is")
        self.world.hq.tell_head(self.world.clock.wall)
        return True

    def price(self) -> bool:
        rows = [self._row() for _ in range(self.world.dice.choice((1, 1, 2)))]
        rows = list({(row["sku"], row["price_id"]): row for row in rows}.values())
        for row in rows:
            self.world.note("HQ", "%s %s rev %s %s", row["sku"], row["kind"], row["rev"], row.get("amount_minor", row.get("curve")))
        self.world.hq.say_rows(rows, self.world.clock.wall)
        self.world.hq.publish(self.world.clock.wall)
        return True

    def cut_price(self) -> bool:
        """HQ cuts what a customer was told just now, often right after a crash, and the item's labels are quick to show it."""
        world, dice = self.world, self.world.dice
        live = [told for lane in world.lanes for told in lane.told if told.lines and told.until_ms > world.clock.link]
        if not live or world.catches_up:
            return False
        told = dice.choice(live)
        sku, quantity, total_minor = dice.choice(told.lines)
        amount_minor = total_minor // quantity - dice.choice((10, 20, 30))
        if amount_minor < CUT_TO_MINOR:
            return False
        if dice.random() < 0.6:
            world.process.kill()
            world.recover()
        world.hq.next_ids["rev"] += 1
        row = dict(price(sku, amount_minor, rev=world.hq.next_ids["rev"]))
        if told.member and dice.random() < 0.6:
            row |= {"kind": "member", "price_id": "m"}
        world.note("HQ", "cuts %s %s, quoted at %s for %s, to %s", sku, row["kind"], total_minor, quantity, amount_minor)
        world.hq.say_rows([row], world.clock.wall)
        world.hq.publish(world.clock.wall)
        self._hurry_left = HURRY_EVENTS
        self._awake = [label_id for label_id in LABELS if label_id in world.process.store.view.labels_of_item(sku)] or list(LABELS)
        return True

    def _row(self) -> dict[str, Any]:
        dice = self.world.dice
        sku, amount = dice.choice(ITEMS), dice.choice((60, 80, 100, 120, 140))
        self.world.hq.next_ids["rev"] += 1
        row: dict[str, Any] = dict(price(sku, amount, rev=self.world.hq.next_ids["rev"]))
        roll = dice.random()
        if roll < 0.3:  # its end is a rise
            end_ms = self.world.clock.wall + dice.choice((5_000, 30_000, 90_000))
            row |= {"kind": "promo", "price_id": "p", "effective_to": utc_text(end_ms)}
            if dice.random() < 0.4:
                row["effective_from"] = utc_text(self.world.clock.wall + dice.choice((-5_000, 2_000, 4_500)))
        elif roll < 0.45:
            row |= {"kind": "member", "price_id": "m", "amount_minor": amount - 30}
            if dice.random() < 0.5:
                row["effective_to"] = utc_text(self.world.clock.wall + dice.choice((5_000, 30_000, 90_000)))
        elif roll < 0.6:
            del row["amount_minor"]
            row["curve"] = [[1, amount], [dice.choice((2, 3)), dice.choice((amount, 2 * amount - 10))]]
        return row

    def stock(self) -> bool:
        dice, wall_ms = self.world.dice, self.world.clock.wall
        sku, roll = dice.choice(ITEMS), dice.random()
        if roll < 0.3:
            self.world.hq.say_adjustments([(sku, dice.choice((6, 12, -2)))], wall_ms)
        elif roll < 0.6:
            quantities = [dice.randint(1, 4) for _ in range(6)]
            self.world.hq.say_holds(sku, quantities, wall_ms + dice.choice((10_000, 60_000)), wall_ms)
        elif roll < 0.75:
            self.world.hq.say_quota(sku, dice.choice((4, 6, -2)), wall_ms)
        elif roll < 0.9:
            quantities = [dice.randint(1, 2) for _ in range(6)]
            self.world.hq.say_holds(sku, quantities, wall_ms + 3_600_000, wall_ms, channel=CHANNEL)
        elif self.world.hq.holds:
            hold_id = dice.choice(list(self.world.hq.holds))
            self.world.hq.say("stock.release.v1", {"releases": [{"id": hold_id}]}, wall_ms)
        self.world.note("HQ", "speaks of %s in stock", sku)
        self.world.hq.publish(wall_ms)
        return True

    def snapshot(self) -> bool:
        self.world.note("HQ", "sends the whole catalogue")
        self.world.hq.say_catalogue(self.world.clock.wall)
        self.world.hq.publish(self.world.clock.wall)
        return True

    def stale(self) -> bool:
        """What was said long ago comes once more."""
        if self.world.hq.everything_said:
            entry = self.world.dice.choice(self.world.hq.everything_said)
            self.world.note("broker", "repeats %s", entry[0])
            self.world.broker.down.append(entry)
        return bool(self.world.hq.everything_said)

    def hq_loses_log(self) -> bool:
        self.world.note("HQ", "has lost its log and begins anew")
        self.world.hq.lose_log(self.world.dice.randbytes(16).hex(), self.world.clock.wall)
        self.world.hq.publish(self.world.clock.wall)
        self.world.hq.tell_head(self.world.clock.wall)
        return True

    def staff(self) -> bool:
        self.world.staff.act(self.world.dice.choice(list(self.world.labels.values())))
        return True

    def bind(self) -> bool:
        self.world.staff.rebind()
        return True

    def time(self) -> bool:
        duration_ms = self.world.dice.choice((1_000, 3_000, 8_000, 30_000))
        self.world.note("time", "passes: %s ms", duration_ms)
        self.world.pass_time(duration_ms)
        return True

    def disk(self) -> bool:
        waits = self.world.process.store.writer.waiting > 0
        if waits:
            self.world.note("disk", "turns")
            with self.world.process.loop:
                self.world.process.store.writer.turn()
        return waits

    def plug(self) -> bool:
        driver = self.world.dice.choice(self.world.process.drivers)
        self.world.note(driver.name, "is %s", "unplugged" if driver.module.plugged else "plugged in")
        driver.unplug() if driver.module.plugged else driver.plug()
        return True

    def die(self) -> bool:
        label = self.world.labels[self.world.dice.choice(LABELS)]
        label.dead = not label.dead
        self.world.note(label.name, "dies" if label.dead else "works again")
        return True

    def crash(self) -> bool:
        """At once, or at a commit soon, just before or after it."""
        power = self.world.process.power
        if self.world.dice.random() < 0.3:
            self.world.process.kill()
            self.world.recover()
        elif power.commits_left is None:
            power.commits_left, power.after_commit = self.world.dice.randint(1, 6), self.world.dice.random() < 0.5
        return True

    def cut(self) -> bool:
        self.world.broker.is_up = not self.world.broker.is_up
        self.world.note("broker", "is back" if self.world.broker.is_up else "cannot be reached")
        if not self.world.broker.is_up:
            self.world.broker.cut()
        return True

    def wipe(self) -> bool:
        self.world.note("broker", "starts again with nothing")
        self.world.broker.wipe()
        return True

    def clock(self) -> bool:
        self.world.clock.trusted = not self.world.clock.trusted
        self.world.note("clock", "is trusted" if self.world.clock.trusted else "cannot be trusted")
        return True

    def copy(self) -> bool:
        if len(self._copies) >= COPIES_MAX or self.world.process.store.writer.waiting:
            return False
        self.world.note("staff", "copies the store's file")
        last = self.world.disk.db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'attempt'").get
        self._copies.append((self.world.disk.mark(), int(last), len(self.world.staff.bound)))
        return True

    def restore(self) -> bool:
        """The machine is lost; an old copy of the file goes on, after tills have lost what they were told."""
        if not self._copies:
            return False
        number = self.world.dice.randrange(len(self._copies))
        mark, last_attempt, bound = self._copies[number]
        del self._copies[number + 1 :]
        self.world.note("staff", "puts an old copy of the file back")
        self.world.process.kill()
        self.world.process.bury()
        self.world.broker.cut()
        self.world.disk.put_back(mark)
        for lane in self.world.lanes:
            lane.forget_call()
        self.world.pass_time(self.world.dice.choice(RESTORES_MS))
        self.world.reboot()
        self.world.lives += 1
        for label in self.world.labels.values():
            label.shown, label.coming, label.printed = (
                _as_known(each, last_attempt) for each in (label.shown, label.coming, label.printed)
            )
        for lane in self.world.lanes:
            for slip in lane.slips:
                slip.answer, slip.refused = None, ""
        self.world.behind = self.world.hq.incarnation, self.world.hq.last_seq(Stream.PRICE)
        self.world.judge.restored()
        self.world.boot(restored=True)
        self.world.staff.bind_again(bound)
        return True


def _as_known(shown: Any, last_attempt: int) -> Any:
    """What a panel shows, to a store that remembers attempts up to `last_attempt` only."""
    if shown is None or shown.attempt_id <= last_attempt:
        return shown
    return Shown(0, shown.item_id, shown.curve, shown.members)
