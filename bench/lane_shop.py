"""The store of the lane bench: 120,000 items, 30,000 labels that show their prices, eight lanes, and a daemon on it as a process.

The file is written once through the store's own transactions, and copied for each part. The daemon is started as systemd starts it:
`shelfd run`, its own directory, real sockets, with the priority that the unit gives it where the bench may do that.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

from drivers.base import LabelId, LabelProfile, LabelSeen, RadioId
from edge import planning
from edge.clock import SystemClock, entropy
from edge.demo.broker import free_port
from edge.demo.children import Child, ChildDied
from edge.demo.world import StoreSettings, control_socket, lane_socket, write_config
from edge.lane_client import DaemonUnreachable, LaneClient
from edge.model import Curve, Item, ItemId, Place, PriceKind
from edge.planning import PictureFacts
from edge.store import catalogue, shelf
from edge.store.catalogue import AnomalyLimits, NewRow
from edge.store.db import connect
from edge.store.inbox import Context
from edge.store.journal import set_meta
from edge.store.rows import Db, Stamp, json_text
from edge.store.shelf import NewAttempt
from edge.store.store import Store, open_store
from edge.view import Delta
from protocols.oepl_types import LABEL_TYPES
from render.fields import SHIPPED

ITEMS: Final = 120_000
LABELS: Final = 30_000
LANES: Final = 8
STORE: Final = "lane-bench"
CURRENCY: Final = "EUR"
NICE: Final = -5  # what systemd/shelfd.service says
SEED: Final = 7
ITEMS_AT_ONCE: Final = 2_000
LABELS_AT_ONCE: Final = 250
START_TIMEOUT_S: Final = 60.0
REST_TIMEOUT_S: Final = 120.0  # compiling every kernel takes ten seconds on a free machine
REST_LOOK_S: Final = 0.5
REST_LOOKS: Final = 4
REST_SHARE: Final = 0.1  # of one processor: its loops look around four times a second
FIRMWARE: Final = 0x29
TYPE: Final = LABEL_TYPES[0x01]  # 2.9 inch, as most labels are
PROFILE: Final = LabelProfile(TYPE.panel, TYPE.codecs(FIRMWARE), TYPE.slot_bytes, FIRMWARE)
RADIO: Final = RadioId("0000000000000001")
SETTINGS: Final = StoreSettings(
    STORE,
    "Lane bench",
    tuple(f"lane-{number}" for number in range(1, LANES + 1)),
    1.0,
    60.0,
    240.0,
    "DE",
    "de-DE",
    CURRENCY,
    "Europe/Berlin",
)


def sku(number: int) -> str:
    return f"sku-{number:06d}"


def gtin(number: int) -> str:
    """A GTIN-13 of a number below a hundred thousand million, its check digit made by the rule."""
    digits = f"4{number:011d}"
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits))
    return digits + str(-total % 10)


def price_minor(number: int, rev: int) -> int:
    """Between 0.49 and 50.49; neighbours and revisions differ, in both directions."""
    return 49 + (number * 7919 + rev * 104_729) % 5_000


def price_row(number: int, rev: int) -> dict[str, Any]:
    """As HQ writes it."""
    return {
        "sku": sku(number),
        "kind": "base",
        "price_id": "base",
        "rev": rev,
        "currency": CURRENCY,
        "amount_minor": price_minor(number, rev),
        "price_quantity": 1,
        "effective_from": "2026-01-01T06:00:00Z",
        "effective_to": None,
        "cancelled": False,
    }


def codes(rng: random.Random, count: int) -> list[str]:
    """What customers buy: any item, as often as any other. That is harder than real baskets, where few items are sold again and again."""
    return [gtin(rng.randrange(ITEMS)) for _ in range(count)]


# -- the file --------------------------------------------------------------------------------------------------------------


async def write_store(directory: Path, *, items: int = ITEMS, labels: int = LABELS) -> None:
    """A file with the catalogue, the labels and what each of them provably shows."""
    clock = SystemClock()
    limits = AnomalyLimits(Fraction(10), Fraction(90), Fraction(20))
    store = open_store(directory / "shelfd.db", clock, entropy, Context(CURRENCY, limits, "oepl", "shelf", True), _refuse)
    try:
        for start in range(0, items, ITEMS_AT_ONCE):
            await _write_items(store, range(start, min(items, start + ITEMS_AT_ONCE)))
        for start in range(0, labels, LABELS_AT_ONCE):
            await _write_labels(store, range(start, min(labels, start + LABELS_AT_ONCE)))
    finally:
        store.close()
    db = connect(directory / "shelfd.db")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # copies are of the one file
    db.close()


def _refuse(error: Exception) -> None:
    raise error


async def _write_items(store: Store, numbers: range) -> None:
    stamp = store.stamp()
    adjectives, nouns = ("Bio", "Frische", "Feine", "Milde", "Italienische"), ("Haferflocken", "Tomaten", "Apfelschorle", "Olivenöl")
    goods = [
        (
            Item(
                ItemId(sku(number)),
                f"{adjectives[number % 5]} {nouns[number // 5 % 4]} {number}",
                f"{nouns[number // 5 % 4]} {number}",
                net_content=500,
                net_unit="g",
                unit_price_base=1000,
                tax_class="A",
                category=f"c{number % 60}",
            ),
            ((gtin(number).zfill(14), 1),),
        )
        for number in numbers
    ]
    from_ms = round(datetime(2026, 1, 1, 6, tzinfo=UTC).timestamp() * 1000)
    rows = [
        NewRow(ItemId(sku(number)), PriceKind.BASE, "base", 1, Curve.plain(price_minor(number, 1)), from_ms, None, False)
        for number in numbers
    ]

    def transaction(db: Db) -> tuple[None, Delta]:
        delta = Delta(generation="bench")
        catalogue.put_items(db, goods, delta)
        catalogue.apply_rows(db, stamp, rows, "bench", None, delta)
        set_meta(db, "generation", "bench")
        return None, delta

    await store.run(transaction)


async def _write_labels(store: Store, numbers: range) -> None:
    """Heard, bound, sent to and proven, so that at the start nothing is left to do."""
    stamp, view = store.stamp(), store.view
    names = [f"00000000{number:08X}" for number in numbers]
    heard = [("oepl", LabelSeen(RADIO, LabelId(name), stamp.now_ms, PROFILE)) for name in names]

    def bind(db: Db) -> tuple[None, Delta]:
        how: Any = {"actor": "bench", "expected_rev": None, "kind": "oepl", "templates": SHIPPED}
        _, delta = shelf.seen(db, stamp, heard)
        for number, name in zip(numbers, names, strict=True):
            place = Place(str(number // 1000), str(number // 50 % 20), str(number % 5), "1")
            delta.merge(shelf.bind(db, stamp, name, (ItemId(sku(number)),), "shelf", place, **how)[1])
        return None, delta

    await store.run(bind)
    facts = PictureFacts(SETTINGS.locale, CURRENCY, 2, view.codes, ZoneInfo(SETTINGS.timezone))
    wanted = {name: planning.wanted_picture(view, view.labels[name], facts) for name in names}

    def show(db: Db) -> tuple[None, Delta]:
        delta = Delta()
        for name, picture in wanted.items():
            attempt_id = shelf.take_attempt_id(db)
            fields = json_text(picture.fields.as_dict())
            new = NewAttempt(attempt_id, name, picture.content_hash, "", "", fields, picture.offers, "", 0)
            delta.merge(shelf.begin_attempt(db, stamp, new)[1])
            delta.merge(_proven(db, stamp, name, attempt_id))
        return None, delta

    await store.run(show)


def _proven(db: Db, stamp: Stamp, label_id: str, attempt_id: int) -> Delta:
    bound, delta = shelf.prove(db, stamp, label_id, attempt_id, "shown", accepted=True, dwell_ms=0)
    assert bound
    return delta


# -- the daemon ------------------------------------------------------------------------------------------------------------


class Shop:
    """A copy of the file in a directory of its own, and the daemon on it."""

    def __init__(self, directory: Path, seeded: Path, radios: Sequence[Any] = ()) -> None:
        self.directory = directory
        self.sockets = [lane_socket(directory, lane) for lane in SETTINGS.lanes]
        self._child: Child | None = None
        shutil.copytree(seeded, directory, dirs_exist_ok=True)
        self.config = write_config(directory, SETTINGS, radios)
        text = self.config.read_text(encoding="utf-8").replace("[guard]\n", "[guard]\nanomaly_batch_percent = 100\nanomaly_factor = 1000\n")
        text = text.replace('metrics_listen = ""', f'metrics_listen = "127.0.0.1:{free_port()}"')
        self.config.write_text(text.replace("[guard]\n", "[guard]\nanomaly_drop_percent = 100\n"), encoding="utf-8")

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.process.pid

    async def start(self) -> None:
        """Returns when it answers. Raises ChildDied."""
        self._child = await Child.start(
            "the daemon", [sys.executable, "-m", "edge", "run", "--config", str(self.config)], self.directory / "daemon.log"
        )
        prefer(self.pid)
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                if (death := self._child.death()) is not None:
                    raise ChildDied(death)
                try:
                    await self.call("radio.list", {})
                except DaemonUnreachable:
                    await asyncio.sleep(0.05)
                else:
                    return

    async def at_rest(self) -> None:
        """Wait until it and its workers have nothing left to do: kernels compiled or loaded, every label looked at."""
        quiet, before = 0, self._cpu_s()
        async with asyncio.timeout(REST_TIMEOUT_S):
            while quiet < REST_LOOKS:
                await asyncio.sleep(REST_LOOK_S)
                now = self._cpu_s()
                quiet = quiet + 1 if now - before < REST_LOOK_S * REST_SHARE else 0
                before = now

    def _cpu_s(self) -> float:
        """Processor time of the daemon and its children until now."""
        total = 0.0
        for pid in (self.pid, *_children(self.pid)):
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return total

    async def call(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        """One control call."""
        async with await LaneClient.connect(control_socket(self.directory), timeout_s=START_TIMEOUT_S) as client:
            answer: dict[str, Any] = await client.call(method, params, dict)
            return answer

    def memory_mb(self) -> float:
        """The most that the daemon's own process held until now, in MB of 1,000,000 bytes; its render workers are other processes."""
        status = Path(f"/proc/{self.pid}/status").read_text(encoding="ascii")
        peak_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        return peak_kb * 1024 / 1e6

    async def stop(self) -> None:
        if self._child is not None:
            await self._child.stop()


def _children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def prefer(pid: int) -> bool:
    """Give a process the priority that the unit gives the daemon, or ours where that is higher; False where only root may."""
    try:
        os.setpriority(os.PRIO_PROCESS, pid, min(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    except PermissionError:
        return False
    return True
