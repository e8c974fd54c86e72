"""The shelf's loop on a bench: two radios whose labels do what the test says, pictures that spell out what they promise."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from datetime import UTC
from typing import Any

import apsw

from drivers.base import (
    Delivery,
    DriverEvent,
    Emit,
    Failed,
    FailReason,
    Grade,
    LabelId,
    LabelProfile,
    LabelSeen,
    OfferAccepted,
    OnAir,
    Proven,
    RadioId,
    RadioUp,
    Stored,
)
from edge.change_windows import ChangeRules
from edge.desk import Desk
from edge.desk_facts import WHENEVER
from edge.label_work import ShelfRules
from edge.model import ItemId, Place
from edge.opening_hours import ALWAYS_OPEN, OpeningHours
from edge.planning import PictureFacts
from edge.render_worker import RenderedLabel
from protocols.pos import QuoteLine, QuoteParams
from render.fields import LabelFields
from tests.edge.shop import HOUR_MS, L1, PANEL, R1, R2, Entropy, HandClock, Hq, facts, item, price
from tests.edge.stepped import MemoryStore, SteppedService

RETRY_MS = 60_000
DWELL_MS = 2 * HOUR_MS


class Radio:
    """A driver whose labels do what the test says. What it is handed must be on disk already."""

    grade = Grade.INFERRED
    offer_lifetime_ms = HOUR_MS

    def __init__(self, name: str, radio_id: RadioId, emit: Emit, db: apsw.Connection) -> None:
        self.name = name
        self.radio_id: RadioId | None = radio_id
        self.tell: Callable[[DriverEvent], None] = emit
        self.delivered: list[Delivery] = []
        self.withdrawn: list[str] = []
        self._db = db

    def deliver(self, delivery: Delivery) -> None:
        state = self._db.execute("SELECT state FROM attempt WHERE attempt_id = ?", (delivery.attempt_id,)).get
        offered = self._db.execute(
            "SELECT cleared FROM radio_offer WHERE attempt_id = ? AND radio_id = ?", (delivery.attempt_id, self.radio_id)
        ).get
        assert (state, offered) == ("open", 0), "bytes would leave before their attempt is written down"
        self.delivered.append(delivery)

    def withdraw(self, label_id: LabelId) -> None:
        self.withdrawn.append(label_id)

    async def run(self) -> None:
        raise AssertionError("the test moves this radio")

    @property
    def last(self) -> Delivery:
        return self.delivered[-1]


class Pictures:
    """A renderer that spells out what it draws, fails on request, and can be made to wait."""

    def __init__(self) -> None:
        self.drawn: list[LabelFields] = []
        self.fails: Exception | None = None
        self.only_see_staff = False
        self.gate: asyncio.Event | None = None

    async def draw(self, fields: LabelFields, attempt_number: int, codecs: tuple[str, ...]) -> RenderedLabel:
        self.drawn.append(fields)
        if self.gate is not None:
            await self.gate.wait()
        if self.fails is not None and not (self.only_see_staff and fields.template == "see_staff"):
            raise self.fails
        name, price_minor = (fields.item.name, fields.item.price_minor) if fields.item is not None else ("", None)
        data = json.dumps([attempt_number, fields.template, name, price_minor]).encode()
        return RenderedLabel("raw2", data, "p", "m")


def says(delivery: Delivery) -> tuple[str, int | None]:
    """(template, price) of a picture."""
    _, template, _, price_minor = json.loads(delivery.picture.data)
    return template, price_minor


class Shelf:
    """The loop, its store in memory, two radios; `turn` lets it do all it can do now."""

    def __init__(self, template: bytes, rules: ShelfRules, hours: OpeningHours = ALWAYS_OPEN, changes: ChangeRules = WHENEVER) -> None:
        self.clock = HandClock()
        self.db = apsw.Connection(":memory:")
        self.db.deserialize("main", template)
        self.entropy = Entropy()
        self.hq = Hq()
        self.rules = rules
        self.hours = hours
        self.changes = changes
        self.pictures = Pictures()
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """As after a start of the process: memory is what the file says."""
        self.store = MemoryStore(self.db, self.clock, self.entropy)
        store_facts = facts(opening_hours=self.hours, changes=self.changes)
        self.desk = Desk(self.store, self.clock, store_facts, self.entropy, lambda: self.clock.now)
        self.store.changes_now = self.desk.changes_now
        picture_facts = PictureFacts("en-GB", "EUR", 2, self.store.view.codes, UTC)
        renderer: Any = self.pictures
        self.service = SteppedService(self.store, self.clock, renderer, self.rules, picture_facts, self.desk.store_open)
        self.service.turn, self.service.parked = asyncio.Event(), asyncio.Event()
        self.one, self.two = (Radio(name, radio_id, self.service.emit_for(name), self.db) for name, radio_id in (("r1", R1), ("r2", R2)))
        for radio in (self.one, self.two):
            self.service.add_radio(radio, "oepl")
        self.run_loop()

    def run_loop(self) -> None:
        self.task = asyncio.create_task(self.service.run())

    async def turn(self, passing_ms: int = 0) -> None:
        self.clock.pass_ms(passing_ms)
        assert self.task is not None
        for _ in range(100):
            for _ in range(20):
                await asyncio.sleep(0)
                if self.task.done():
                    self.task.result()
            waits = self.pictures.gate is not None and not self.pictures.gate.is_set()
            if self.service.parked.is_set() and not self.service._wake.is_set() and (waits or self.service._drawing == 0):
                self.service.parked.clear()
                self.service.turn.set()
                for _ in range(20):
                    await asyncio.sleep(0)
                if not self.service._wake.is_set() and (waits or self.service._drawing == 0) and not self.service._events:
                    return
            self.service.parked.clear()
            self.service.turn.set()
        raise AssertionError("the loop does not come to rest")

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BaseExceptionGroup):
                await self.task

    async def restart(self) -> None:
        await self.stop()
        self.start()
        await self.turn()

    # -- what happens in the shop

    async def say(self, type_: str, data: object) -> None:
        await self.store.receive(self.hq.say(type_, data))
        await self.turn()

    async def prices(self, *rows: dict[str, object]) -> None:
        await self.say("price.batch.v1", {"rows": list(rows)})

    async def stocked(self) -> None:
        rows = [price("milk", 100), price("bread", 200)]
        for each in self.hq.snapshot("s1", [{"items": [item("milk"), item("bread")], "rows": rows}]):
            await self.store.receive(each)

    async def heard(self, label: str, radio: Radio | None = None) -> None:
        radio = radio or self.one
        assert radio.radio_id is not None
        radio.tell(LabelSeen(radio.radio_id, LabelId(label), self.clock.now, LabelProfile(PANEL, ("raw2",), 20_000, 0x26), 2900))
        await self.turn()

    async def up(self, *radios: Radio) -> None:
        for radio in radios:
            assert radio.radio_id is not None
            radio.tell(RadioUp(radio.radio_id, "test"))
        await self.turn()

    async def bind(self, label: str, *items: ItemId) -> None:
        await self.store.bind(label, items, "shelf", Place(), actor="test")
        await self.turn()

    async def accepted(self, delivery: Delivery, radio: Radio | None = None) -> None:
        self._tell(radio, OfferAccepted, delivery)
        await self.turn()

    async def proven(self, delivery: Delivery, radio: Radio | None = None) -> None:
        for event in (OfferAccepted, OnAir, Stored):
            self._tell(radio, event, delivery)
        source = radio or self.one
        assert source.radio_id is not None
        source.tell(Proven(source.radio_id, delivery.label_id, delivery.attempt_id, Grade.INFERRED, self.clock.now))
        await self.turn()

    async def failed(self, delivery: Delivery, reason: FailReason = FailReason.STALLED, *, on_air: bool = True) -> None:
        self._tell(None, OfferAccepted, delivery)
        if on_air:
            self._tell(None, OnAir, delivery)
        self.one.tell(Failed(self.one.radio_id, delivery.label_id, delivery.attempt_id, reason))
        await self.turn()

    def _tell(self, radio: Radio | None, event: Any, delivery: Delivery) -> None:
        source = radio or self.one
        source.tell(event(source.radio_id, delivery.label_id, delivery.attempt_id))

    async def quote(self, sku: str, quantity: int = 1) -> str:
        told = await self.desk.quote("lane-1", QuoteParams(f"b{self.clock.now}", (QuoteLine("1", quantity, item_id=sku),)))
        return told.quote_id

    def charge(self, item_id: ItemId) -> int:
        return self.desk.charge(item_id, 1).total_minor

    def confirmed(self) -> list[int]:
        found = [json.loads(row[0]) for row in self.db.execute("SELECT data FROM outbox WHERE kind = 'ack' ORDER BY seq")]
        return [ack["seq"] for ack in found if (ack["stream"], ack["stage"]) == ("price", "confirmed")]

    def may(self, label: str = L1) -> dict[int, str]:
        return {attempt: str(entry.state) for attempt, entry in self.store.view.may_of_label(label).items()}
