"""Labels, radio modules and pictures as they behave in a shop, a frame at a time.

A module has a memory of its own: what it offers outlives the daemon. A label fetches, fails, lies, roams between radios, refreshes late,
restarts, dies. What a panel shows is read from the picture's bytes, never from the daemon's books.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import TYPE_CHECKING

from drivers.base import (
    Delivery,
    DisplayUnknown,
    DriverEvent,
    Emit,
    Failed,
    FailReason,
    Grade,
    LabelId,
    LabelProfile,
    LabelSeen,
    OfferAccepted,
    OfferCleared,
    OnAir,
    Proven,
    RadioDown,
    RadioId,
    RadioUp,
    Stored,
)
from edge.model import Curve, ItemId
from edge.render_worker import RenderedLabel
from render.fields import LabelFields
from tests.edge.shop import PANEL

if TYPE_CHECKING:
    from tests.sim.world import World

LABELS = tuple(f"AABBCCDD0000000{n}" for n in range(1, 6))
LIFETIME_MS = 60_000
FRAMES_MAX = 2  # of a transfer, before the label says that it has all
KEPT_MAX = 3  # pictures that a label can draw again from its own memory
_PROFILE = LabelProfile(PANEL, ("raw2",), 20_000, 0x26)


class SpelledPictures:
    """A renderer whose bytes say what the picture promises and which attempt it is."""

    def __init__(self, *, numbered: bool = True) -> None:
        self._numbered = numbered

    async def draw(self, fields: LabelFields, attempt_number: int, codecs: tuple[str, ...]) -> RenderedLabel:
        return RenderedLabel("raw2", spelled(fields, attempt_number if self._numbered else 0), str(attempt_number), "md5")


def spelled(fields: LabelFields, attempt_number: int) -> bytes:
    """What a picture of these fields promises, and which attempt it is."""
    item, promise = fields.item, None
    if item is not None and item.price_minor is not None:
        promise = [item.name.lower(), item.price_quantity, item.price_minor, item.multi_buy, item.member_price_minor]
    return json.dumps([attempt_number, promise]).encode()


@dataclass(frozen=True, slots=True)
class Shown:
    """What a panel shows. `attempt_id` 0: something from before this daemon's time, or of a life of the store that was undone."""

    attempt_id: int
    item_id: ItemId | None = None
    curve: Curve | None = None
    members: Curve | None = None

    @classmethod
    def read(cls, attempt_id: int, data: bytes) -> Shown:
        promise = json.loads(data)[1]
        if promise is None:
            return cls(attempt_id)
        name, quantity, amount_minor, bundle, member_minor = promise
        curve = Curve(((quantity, amount_minor), *([tuple(bundle)] if bundle else [])))
        return cls(attempt_id, ItemId(name), curve, None if member_minor is None else Curve.plain(member_minor, quantity))

    def promises(self, *, member: bool) -> list[Curve]:
        """What a customer, or a member, may read there."""
        return [curve for curve in (self.curve, self.members if member else None) if curve is not None]

    def __str__(self) -> str:
        if self.item_id is None or self.curve is None:
            return f"#{self.attempt_id} no price"
        more = f" members {self.members.points[0][1]}" if self.members is not None else ""
        return f"#{self.attempt_id} {self.item_id} {_points(self.curve)}{more}"


def _points(curve: Curve) -> str:
    return " ".join(f"{total}" if quantity == 1 else f"{quantity} for {total}" for quantity, total in curve.points)


@dataclass(slots=True)
class ModuleOffer:
    delivery: Delivery
    until_ms: int


@dataclass(slots=True)
class Module:
    """A radio module: it has a memory of its own, which a restart of the daemon does not touch."""

    radio_id: RadioId
    offers: dict[str, ModuleOffer] = field(default_factory=dict)
    plugged: bool = True


@dataclass(slots=True)
class Fetch:
    """A transfer on its way: from which radio, of what, and how many frames are missing."""

    radio: int
    offer: ModuleOffer
    frames: int


@dataclass(slots=True)
class Label:
    label_id: str
    shown: Shown = field(default_factory=lambda: Shown(0))
    coming: Shown | None = None  # stored, the panel refreshes at the next look
    fetch: Fetch | None = None
    kept: dict[bytes, None] = field(default_factory=dict)
    dead: bool = False
    away: bool = False  # no shopper can read it
    printed: Shown | None = None  # a ticket that somebody has in hand, to hang there

    @property
    def name(self) -> str:
        return f"label {self.label_id[-1]}" if self.label_id.startswith("AA") else "ticket"


class Driver:
    """The host's side of a module, as `LabelDriver` describes it. Its memory dies with the daemon."""

    grade = Grade.INFERRED
    offer_lifetime_ms = LIFETIME_MS

    def __init__(self, name: str, module: Module, emit: Emit) -> None:
        self.name = name
        self.module = module
        self.emit: Callable[[DriverEvent], None] = emit
        self.radio_id: RadioId | None = module.radio_id
        self.waiting: dict[str, Delivery] = {}
        self.cancels: dict[str, None] = {}
        self.following: dict[str, Delivery] = {}
        self.refreshing: dict[str, tuple[Delivery, bool]] = {}  # stored, and whether it will be on the panel
        self.delivered: dict[str, int] = {}  # label -> how many attempts were handed over in this life

    def deliver(self, delivery: Delivery) -> None:
        following = self.following.get(delivery.label_id)
        self.delivered[delivery.label_id] = self.delivered.get(delivery.label_id, 0) + 1
        if following is None or following.attempt_id != delivery.attempt_id:
            self.waiting[delivery.label_id] = delivery

    def withdraw(self, label_id: LabelId) -> None:
        self.waiting.pop(label_id, None)
        self.following.pop(label_id, None)
        self.cancels[label_id] = None

    async def run(self) -> None:
        raise AssertionError("the world moves this radio")

    @property
    def has_commands(self) -> bool:
        return self.module.plugged and bool(self.cancels or self.waiting)

    def fail(self, label_id: str, delivery: Delivery, reason: FailReason) -> None:
        self.following.pop(label_id, None)
        self.refreshing.pop(label_id, None)
        self.emit(Failed(self.radio_id, LabelId(label_id), delivery.attempt_id, reason))

    def command(self, now_ms: int, dice: Random) -> str:
        """Give the module one command and take its answer. What was said, for the trace."""
        for label_id in self.cancels:
            del self.cancels[label_id]
            self.module.offers.pop(label_id, None)
            self.emit(OfferCleared(self.module.radio_id, LabelId(label_id)))
            return f"cancels offers for {label_id[-1]}"
        label_id, delivery = next(iter(self.waiting.items()))
        self.module.offers[label_id] = ModuleOffer(delivery, now_ms + LIFETIME_MS - 1)
        if dice.random() < 0.1:
            return f"offers #{delivery.attempt_id} to {label_id[-1]}, its answer is lost"  # said again next time
        del self.waiting[label_id]
        self.refreshing.pop(label_id, None)
        self.following[label_id] = delivery
        self.emit(OfferAccepted(self.module.radio_id, LabelId(label_id), delivery.attempt_id))
        return f"offers #{delivery.attempt_id} to {label_id[-1]}"

    def unplug(self) -> None:
        self.module.plugged = False
        for label_id, delivery in list(self.following.items()):
            self.fail(label_id, delivery, FailReason.RADIO_LOST)
        for label_id, (delivery, _) in list(self.refreshing.items()):
            self.fail(label_id, delivery, FailReason.RADIO_LOST)
        self.emit(RadioDown(self.module.radio_id, "unplugged"))

    def plug(self) -> None:
        self.module.plugged = True
        self.emit(RadioUp(self.module.radio_id, "simulated"))


class Air:
    """What labels do when they wake up."""

    def __init__(self, world: World) -> None:
        self._world = world

    def wake(self, label: Label) -> None:
        """The label's next frame: of a transfer that runs, or a check-in at whichever radio hears it."""
        world = self._world
        self.refresh(label)
        if label.fetch is not None:
            self._transfer(label, label.fetch)
            return
        reachable = [n for n, module in enumerate(world.modules) if module.plugged]
        if not reachable:
            return
        number = world.dice.choice(reachable)
        driver = world.process.drivers[number]
        radio_id, label_id = driver.module.radio_id, LabelId(label.label_id)
        driver.emit(LabelSeen(radio_id, label_id, world.clock.now, _PROFILE, 2900))
        if not world.calm and world.dice.random() < 0.02:
            self._restart(label, driver)
        elif label_id in driver.refreshing:
            delivery, will_show = driver.refreshing.pop(label_id)
            world.note(label.name, "checks in after #%s: %s", delivery.attempt_id, "shown" if will_show else "battery low")
            if will_show:
                driver.emit(Proven(radio_id, label_id, delivery.attempt_id, Grade.INFERRED, world.clock.now))
            else:
                driver.emit(Failed(radio_id, label_id, delivery.attempt_id, FailReason.LOW_BATTERY))
        elif (offer := driver.module.offers.get(label_id)) is not None:
            self._offered(label, driver, number, offer)

    def refresh(self, label: Label) -> None:
        coming, label.coming = label.coming, None
        if coming is not None:
            self._world.put_on_panel(label, coming)

    def _restart(self, label: Label, driver: Driver) -> None:
        world = self._world
        world.note(label.name, "restarts")
        label.fetch = None
        driver.emit(DisplayUnknown(driver.module.radio_id, LabelId(label.label_id), world.clock.now, "restart"))
        for each in world.process.drivers:
            if label.label_id in each.refreshing:
                each.fail(label.label_id, each.refreshing[label.label_id][0], FailReason.DISPLAY_LOST)

    def _offered(self, label: Label, driver: Driver, number: int, offer: ModuleOffer) -> None:
        world = self._world
        label_id = label.label_id
        followed = driver.following.get(label_id)
        if offer.until_ms <= world.clock.now:
            del driver.module.offers[label_id]
            if followed is not None:
                driver.fail(label_id, followed, FailReason.EXPIRED)
            return
        mine = followed is not None and followed.attempt_id == offer.delivery.attempt_id
        kept = offer.delivery.picture.data in label.kept
        if kept or (not world.calm and world.dice.random() < 0.02):
            self._says_it_has_it(label, driver, offer, mine, kept)
            return
        world.note(label.name, "begins to fetch #%s%s", offer.delivery.attempt_id, "" if mine else " (nobody follows)")
        if mine:
            driver.emit(OnAir(driver.module.radio_id, LabelId(label_id), offer.delivery.attempt_id))
        label.fetch = Fetch(number, offer, world.dice.randint(0, FRAMES_MAX))
        if label.fetch.frames == 0:
            self._transfer(label, label.fetch)

    def _says_it_has_it(self, label: Label, driver: Driver, offer: ModuleOffer, mine: bool, kept: bool) -> None:
        """ "Complete" without a block: a picture that it keeps, or an error of its own. Whether it then draws it is its affair."""
        world, delivery = self._world, offer.delivery
        world.note(label.name, "says it has #%s", delivery.attempt_id)
        del driver.module.offers[label.label_id]
        draws = kept and world.dice.random() < 0.5
        if draws:
            self._world.put_on_panel(label, Shown.read(world.true_attempt(delivery), delivery.picture.data))
        if not mine:
            return
        if world.faults.cached_picture_counts and kept:
            driver.following.pop(label.label_id)
            driver.emit(Stored(driver.module.radio_id, LabelId(label.label_id), delivery.attempt_id))
            driver.refreshing[label.label_id] = (delivery, True)
        else:
            driver.fail(label.label_id, delivery, FailReason.SUSPICIOUS)

    def _transfer(self, label: Label, fetch: Fetch) -> None:
        world = self._world
        driver = world.process.drivers[fetch.radio]
        module, delivery, label_id = driver.module, fetch.offer.delivery, label.label_id
        followed = driver.following.get(label_id)
        mine = followed is not None and followed.attempt_id == delivery.attempt_id
        lost = not world.calm and world.dice.random() < 0.08
        if lost or not module.plugged or module.offers.get(label_id) is not fetch.offer:
            label.fetch = None
            world.note(label.name, "stops in the middle of #%s", delivery.attempt_id)
            if mine and module.plugged:
                driver.fail(label_id, delivery, FailReason.STALLED)
            return
        if fetch.frames > 0:
            fetch.frames -= 1
            world.note(label.name, "fetches #%s, %s frames to come", delivery.attempt_id, fetch.frames)
            return
        label.fetch = None
        how = "whole" if world.calm else world.dice.choice(("whole", "whole", "whole", "its last word lost", "not drawn", "drawn late"))
        world.note(label.name, "has all of #%s (%s)%s", delivery.attempt_id, how, "" if mine else " (nobody follows)")
        shown = Shown.read(world.true_attempt(delivery), delivery.picture.data)
        label.kept[delivery.picture.data] = None
        if len(label.kept) > KEPT_MAX:
            del label.kept[next(iter(label.kept))]
        if how == "its last word lost":  # the label draws it; the module goes on offering
            world.put_on_panel(label, shown)
            if mine and world.dice.random() < 0.5:
                driver.fail(label_id, delivery, FailReason.STALLED)
            return
        del module.offers[label_id]
        if how == "drawn late":
            label.coming = shown
        elif how == "whole":
            world.put_on_panel(label, shown)
        if mine:
            driver.following.pop(label_id)
            radio_id = module.radio_id
            driver.emit(Stored(radio_id, LabelId(label_id), delivery.attempt_id))
            if world.faults.believes_stored:
                driver.emit(Proven(radio_id, LabelId(label_id), delivery.attempt_id, Grade.INFERRED, world.clock.now))
            else:
                driver.refreshing[label_id] = (delivery, how != "not drawn")
