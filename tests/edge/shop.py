"""A shop for tests: the real store on a real file, a clock moved by hand, an HQ that speaks as the wire does."""

from __future__ import annotations

import hashlib
import tempfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import apsw
import msgspec

from drivers.base import LabelId, LabelProfile, LabelSeen, RadioId
from edge.change_windows import ChangeRules
from edge.desk import Desk, StoreFacts
from edge.desk_facts import WHENEVER
from edge.hq_ports import ReceiveResult
from edge.model import AttemptId, Curve, ItemId, Offer, Place
from edge.opening_hours import ALWAYS_OPEN, OpeningHours
from edge.store.catalogue import AnomalyLimits
from edge.store.db import StoreError
from edge.store.inbox import Context
from edge.store.shelf import NewAttempt
from edge.store.store import Store, open_store, prepare
from protocols.hq import Down, Message, encode_down, reparse, uuid7
from protocols.hq_events import StagedAck, covered
from protocols.hq_fields import StreamPosition
from protocols.hq_messages import TYPES

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
NOON_MS = 1_767_960_000_000  # Friday 2026-01-09 12:00 UTC
HQ_ONE = "1" * 32
HQ_TWO = "2" * 32
LIMITS = AnomalyLimits(Fraction(10), Fraction(90), Fraction(20))
MILK, BREAD, BEEF = ItemId("milk"), ItemId("bread"), ItemId("beef")
MILK_CODE, BREAD_CODE, BEEF_CODE = "4006381333931", "4002359001116", "4008400402222"
L1, L2 = "AABBCCDD00000001", "AABBCCDD00000002"
R1, R2 = RadioId("00000000000000F1"), RadioId("00000000000000F2")
PANEL = "oepl-01"


class HandClock:
    """Time moves when a test says so: `pass_ms` moves boot and wall time together, `wall` alone may be set."""

    def __init__(self) -> None:
        self.boot = "boot-1"
        self.now = 1_000_000
        self.wall = NOON_MS
        self.trusted = True
        self.link = 0

    @property
    def boot_id(self) -> str:
        return self.boot

    def now_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return self.wall

    def wall_trusted(self) -> bool:
        return self.trusted

    def link_ms(self) -> int:
        return self.link

    async def sleep_ms(self, duration_ms: int) -> None:
        raise AssertionError("nothing here may sleep")

    def pass_ms(self, duration_ms: int) -> None:
        self.now += duration_ms
        self.wall += duration_ms

    def reboot(self) -> None:
        self.boot += "+"
        self.now = 5_000


class Entropy:
    """Random bytes that are the same in every run."""

    def __init__(self, seed: str = "") -> None:
        self._seed = seed
        self._count = 0

    def __call__(self, count: int) -> bytes:
        self._count += 1
        return hashlib.sha256(f"{self._seed} {self._count}".encode()).digest()[:count]


def context(*, prices_from_hq: bool = True, limits: AnomalyLimits = LIMITS) -> Context:
    return Context("EUR", limits, "oepl", "shelf", prices_from_hq)


def facts(*, opening_hours: OpeningHours = ALWAYS_OPEN, quote_valid_ms: int = 600_000, changes: ChangeRules = WHENEVER) -> StoreFacts:
    zone = ZoneInfo("Europe/Berlin")
    return StoreFacts("demo-01", "EUR", 2, "inclusive", zone, opening_hours, 4 * 60, quote_valid_ms, changes=changes)


def item(sku: str, gtin: str | None = None, **more: object) -> dict[str, object]:
    barcodes = [{"gtin": gtin}] if gtin else []
    return {"sku": sku, "name": sku.title(), "barcodes": barcodes} | more


def price(sku: str, amount_minor: int | None, rev: int = 1, **more: object) -> dict[str, object]:
    """A wire price row; a base price in force at once unless told otherwise."""
    row: dict[str, object] = {"sku": sku, "kind": "base", "price_id": "b", "rev": rev, "currency": "EUR"} | more
    return row if amount_minor is None else row | {"amount_minor": amount_minor}


class Unsigned:
    """Seals with nothing: the store gets messages whose signature was checked before."""

    def seal(self, tail: str, signed: bytes) -> bytes:
        return b"v1 k " + b"A" * 86 + b"\n" + signed


def message(
    type_: str,
    data: object,
    seq: int,
    *,
    incarnation: str = HQ_ONE,
    id_: str = "",
    expires_ms: int | None = None,
    after: Mapping[str, StreamPosition] | None = None,
    **chunk: Any,
) -> Message:
    """A message as `parse_down` gives it, its signature left out."""
    text = None if chunk else msgspec.json.encode(data)
    random = hashlib.sha256(f"{type_} {incarnation} {seq}".encode()).digest()[:10]
    id_ = id_ or uuid7(NOON_MS, random)
    down = Down(type_, id_, "hq/test", "demo-01", NOON_MS, incarnation, seq, text, expires_ms=expires_ms, after=after or {}, **chunk)
    signer: Any = Unsigned()
    return reparse(*encode_down(down, signer))


class Hq:
    """Numbers messages per stream, as HQ does."""

    def __init__(self, incarnation: str = HQ_ONE) -> None:
        self.incarnation = incarnation
        self.seqs: dict[str, int] = {}

    def next_seq(self, tail: str) -> int:
        self.seqs[tail] = self.seqs.get(tail, 0) + 1
        return self.seqs[tail]

    def say(self, type_: str, data: object, **more: Any) -> Message:
        return message(type_, data, self.next_seq(TYPES[type_][0]), incarnation=self.incarnation, **more)

    def snapshot(
        self,
        snapshot_id: str,
        chunks: Sequence[dict[str, object]],
        *,
        base: int | None = None,
        price_incarnation: str | None = None,
        scope: dict[str, object] | None = None,
    ) -> list[Message]:
        """Manifest first, then the chunks."""
        bodies = [zlib.compress(msgspec.json.encode(chunk)) for chunk in chunks]
        shas = [hashlib.sha256(body).hexdigest() for body in bodies]
        manifest = {
            "snapshot_id": snapshot_id,
            "base_price_seq": self.seqs.get("dn/price", 0) if base is None else base,
            "price_incarnation": price_incarnation or self.incarnation,
            "items": 0,
            "chunks": [{"n": n, "sha256": sha, "rows": 0} for n, sha in enumerate(shas)],
            "scope": scope,
        }
        said = [self.say("snapshot.manifest.v1", manifest)]
        for n, body in enumerate(bodies):
            said.append(self.say("snapshot.chunk.v1", None, chunk=body, snapshot_id=snapshot_id, n=n))
        return said


@cache
def empty_file() -> bytes:
    """A store's file as migrated. Made once: migrating takes longer than most tests."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "shelfd.db"
        prepare(path, HandClock(), Entropy("empty file"))
        return path.read_bytes()


class Shop:
    """One store file with its clock. `reopen` is a restart of the daemon."""

    def __init__(self, folder: Path, *, seed: str = "", context_: Context | None = None) -> None:
        self.path = folder / "shelfd.db"
        self.clock = HandClock()
        self.hq = Hq()
        self.fatal: list[StoreError] = []
        self._seed = seed
        self._opened = 0
        self._context = context_ or context()
        self.store: Store
        self.desk: Desk

    def open(self, store_facts: StoreFacts | None = None) -> Store:
        self._opened += 1
        if not self.path.exists():
            self.path.write_bytes(empty_file())
        entropy = Entropy(f"{self._seed} {self._opened}")
        self.store = open_store(self.path, self.clock, entropy, self._context, self.fatal.append)
        self.desk = Desk(self.store, self.clock, store_facts or facts(), entropy, lambda: self.clock.now)
        return self.store

    def close(self) -> None:
        self.store.close()

    def reopen(self, store_facts: StoreFacts | None = None) -> Store:
        self.close()
        return self.open(store_facts)

    async def say(self, type_: str, data: object, **more: Any) -> ReceiveResult:
        return await self.store.receive(self.hq.say(type_, data, **more))

    async def prices(self, *rows: dict[str, object]) -> ReceiveResult:
        return await self.say("price.batch.v1", {"rows": list(rows)})

    async def stocked(self) -> None:
        """Milk 1.00, bread 2.00, beef 10.00 per kg; the lanes are open."""
        items = [item("milk", MILK_CODE), item("bread", BREAD_CODE), item("beef", BEEF_CODE, sold_by="weight")]
        rows = [price("milk", 100), price("bread", 200), price("beef", 1000, price_quantity=1000)]
        for each in self.hq.snapshot("s1", [{"items": items, "rows": rows}]):
            await self.store.receive(each)

    async def heard(self, label: str, radio: str = R1) -> None:
        """A label's first full check-in."""
        profile = LabelProfile(PANEL, ("raw2",), 20_000, 0x26)
        await self.store.seen([("oepl", LabelSeen(RadioId(radio), LabelId(label), self.clock.now, profile, 2900))])

    async def bind(self, label: str, *items: ItemId) -> None:
        await self.store.bind(label, items, "shelf", Place(), actor="test")

    async def attempt(
        self, label: str, offers: Iterable[tuple[ItemId, int]], *, radio: str = R1, lifetime_ms: int = HOUR_MS, taken: bool = True
    ) -> AttemptId:
        """Write an attempt down, as before its bytes leave; `taken`: its radio offers it now."""
        attempt_id = await self.store.new_attempt_id()
        promised = tuple(Offer(item_id, Curve.plain(amount)) for item_id, amount in offers)
        await self.store.begin_attempt(
            NewAttempt(attempt_id, label, f"hash {promised}", f"picture {attempt_id}", "md5", "{}", promised, radio, lifetime_ms)
        )
        if taken:
            await self.store.accept_offer(label, radio, attempt_id)
        return attempt_id

    async def prove(self, label: str, attempt_id: int, *, accepted: bool = True, dwell_ms: int = 0) -> bool:
        return await self.store.prove(label, attempt_id, "inferred", accepted=accepted, dwell_ms=dwell_ms)

    async def shows(self, label: str, item_id: ItemId, amount: int, *, dwell_ms: int = 0) -> AttemptId:
        """The label provably shows the item at the price."""
        attempt_id = await self.attempt(label, [(item_id, amount)])
        assert await self.prove(label, attempt_id, dwell_ms=dwell_ms)
        return attempt_id

    def charge(self, item_id: ItemId, quantity: int = 1) -> int:
        return self.desk.charge(item_id, quantity).total_minor

    def guard(self, item_id: ItemId) -> str | None:
        return self.desk.charge(item_id, 1).guard

    def rows(self, sql: str, *args: object) -> list[tuple[Any, ...]]:
        """Committed rows, read by a connection of the test's own."""
        db = apsw.Connection(str(self.path), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            return list(db.execute(sql, args))
        finally:
            db.close()

    def value(self, sql: str, *args: object) -> Any:
        return self.rows(sql, *args)[0][0]

    def acks(self) -> list[tuple[str, int, str]]:
        """(stream, seq, stage) that the staged acks in the outbox speak of, in order."""
        return [(ack.stream, seq, str(ack.stage)) for ack in self.staged() for seq in covered(ack)]

    def staged(self) -> list[StagedAck]:
        """The staged acks in the outbox, in order."""
        found = self.rows("SELECT data FROM outbox WHERE kind = 'ack' ORDER BY seq")
        return [msgspec.json.decode(each[0], type=StagedAck) for each in found]

    def alerts(self) -> list[str]:
        return [msgspec.json.decode(each[0])["kind"] for each in self.rows("SELECT data FROM outbox WHERE kind = 'alert' ORDER BY seq")]


OpenShop = Callable[[], Shop]
