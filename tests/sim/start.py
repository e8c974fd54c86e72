"""A shop in the morning, played once and copied for each history."""

from __future__ import annotations

import pickle
from collections.abc import Awaitable
from functools import partial
from typing import Any

from drivers.base import RadioId
from edge.model import PAPER, ItemId, Place
from tests.edge.shop import price
from tests.sim.disk import Disk, SimStore
from tests.sim.headquarters import ITEMS, Headquarters
from tests.sim.loop import SimClock
from tests.sim.people import TICKET
from tests.sim.radios import LABELS, Label, Module
from tests.sim.world import Faults, World


class Start:
    """What is on disk, at HQ, on panels. `settled`: all labels show what they should; else nothing was sent to them yet."""

    def __init__(self, *, settled: bool, has_ticket: bool) -> None:
        self.disk = Disk()
        self.has_ticket = has_ticket
        clock, hq = SimClock(), Headquarters("1" * 32)
        modules = [Module(RadioId(f"00000000000000F{n}")) for n in (1, 2)]
        labels = {label_id: Label(label_id) for label_id in (*LABELS, *([TICKET] if has_ticket else []))}
        for sku in ITEMS:
            hq.newest[sku, "b"] = dict(price(sku, 100))
        hq.next_ids["rev"] = 1
        hq.say_catalogue(clock.wall)
        self.disk.keep()
        self._world = pickle.dumps((clock, hq, modules, labels))
        world = World(self, 0, Faults())
        world.calm = True
        world.hq.publish(clock.wall)
        world.turn()
        world.drain()
        for n, label_id in enumerate(labels):
            kind, items = PAPER if label_id == TICKET else None, (ItemId(ITEMS[n % len(ITEMS)]),)
            world.say(partial(_bind, label_id=label_id, items=items, kind=kind))
        if settled:
            world.calm_down()
        world.end()
        vars(world.hq).pop("broker")
        self.disk.keep()
        self._world = pickle.dumps((world.clock, world.hq, world.modules, world.labels))

    def open(self) -> tuple[SimClock, Headquarters, list[Module], dict[str, Label]]:
        self.disk.begin_again()
        clock, hq, modules, labels = pickle.loads(self._world)
        return clock, hq, modules, labels


def _bind(store: SimStore, label_id: str, items: tuple[ItemId, ...], kind: str | None) -> Awaitable[Any]:
    return store.bind(label_id, items, "shelf", Place(), actor="sim", kind=kind)
