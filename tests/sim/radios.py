"""Radio modules and pictures as the simulation plays them: what is offered survives the daemon, what is followed does not."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from drivers.base import (
    Delivery,
    DriverEvent,
    Emit,
    Failed,
    FailReason,
    Grade,
    LabelId,
    OfferAccepted,
    OfferCleared,
    RadioId,
)
from edge.model import Curve, ItemId
from edge.render_worker import RenderedLabel
from render.fields import LabelFields

LIFETIME_MS = 60_000


class SpelledPictures:
    """A renderer whose bytes say what the picture promises and which attempt it is."""

    async def draw(self, fields: LabelFields, attempt_number: int, codecs: tuple[str, ...]) -> RenderedLabel:
        return RenderedLabel("raw2", spelled(fields, attempt_number), str(attempt_number), "md5")


def spelled(fields: LabelFields, attempt_number: int) -> bytes:
    """What a picture of these fields promises, and which attempt it is."""
    item, promise = fields.item, None
    if item is not None and item.price_minor is not None:
        promise = [item.name.lower(), item.price_quantity, item.price_minor, item.multi_buy, item.member_price_minor]
    return json.dumps([attempt_number, promise]).encode()


@dataclass(slots=True)
class Shown:
    """What a panel shows, read from the picture's bytes. `attempt_id` 0: something from before this daemon's time."""

    attempt_id: int
    item_id: ItemId | None = None
    curve: Curve | None = None
    members: Curve | None = None

    @classmethod
    def read(cls, data: bytes) -> Shown:
        attempt_number, promise = json.loads(data)
        if promise is None:
            return cls(attempt_number)
        name, quantity, amount_minor, bundle, member_minor = promise
        curve = Curve(((quantity, amount_minor), *([tuple(bundle)] if bundle else [])))
        return cls(attempt_number, ItemId(name), curve, None if member_minor is None else Curve.plain(member_minor, quantity))

    def promises(self, *, member: bool) -> list[Curve]:
        """What a customer, or a member, may read there."""
        return [curve for curve in (self.curve, self.members if member else None) if curve is not None]


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


class Driver:
    """The host's side of a module, as `LabelDriver` describes it. Its memory dies with the daemon."""

    grade = Grade.INFERRED
    offer_lifetime_ms = LIFETIME_MS

    def __init__(self, name: str, module: Module, emit: Emit, believes_stored: bool) -> None:
        self.name = name
        self.module = module
        self.emit: Callable[[DriverEvent], None] = emit
        self.radio_id: RadioId | None = module.radio_id
        self.waiting: dict[str, Delivery] = {}
        self.cancels: dict[str, None] = {}
        self.following: dict[str, Delivery] = {}
        self.refreshing: dict[str, tuple[Delivery, bool]] = {}  # stored, and whether it will be on the panel
        self.believes_stored = believes_stored

    def deliver(self, delivery: Delivery) -> None:
        following = self.following.get(delivery.label_id)
        if following is None or following.attempt_id != delivery.attempt_id:
            self.waiting[delivery.label_id] = delivery

    def withdraw(self, label_id: LabelId) -> None:
        self.waiting.pop(label_id, None)
        self.following.pop(label_id, None)
        self.cancels[label_id] = None

    async def run(self) -> None:
        raise AssertionError("the world moves this radio")

    def talk(self, now_ms: int, dice: Random) -> None:
        """Give the module its commands."""
        if not self.module.plugged:
            return
        for label_id in list(self.cancels):
            del self.cancels[label_id]
            self.module.offers.pop(label_id, None)
            self.emit(OfferCleared(self.module.radio_id, LabelId(label_id)))
        for label_id, delivery in list(self.waiting.items()):
            self.module.offers[label_id] = ModuleOffer(delivery, now_ms + LIFETIME_MS - 1)
            if dice.random() < 0.1:
                continue  # the module took it, its answer was lost: said again next time
            del self.waiting[label_id]
            self.refreshing.pop(label_id, None)
            self.following[label_id] = delivery
            self.emit(OfferAccepted(self.module.radio_id, LabelId(label_id), delivery.attempt_id))

    def fail(self, label_id: str, delivery: Delivery, reason: FailReason) -> None:
        self.following.pop(label_id, None)
        self.refreshing.pop(label_id, None)
        self.emit(Failed(self.radio_id, LabelId(label_id), delivery.attempt_id, reason))
