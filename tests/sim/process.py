"""One life of the daemon: its store, desk, shelf loop, notices, keepers and HQ sync, put together as the composition root does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from datetime import UTC
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from drivers.base import Grade, RadioUp
from edge.desk import Desk
from edge.guard_watch import GuardWatch
from edge.hold_keeper import HoldKeeper
from edge.hq import HqSync
from edge.hq_ports import HqTimings
from edge.label_work import ShelfRules
from edge.labels import LabelService
from edge.planning import PictureFacts
from protocols.hq import Signer
from protocols.hq_enrol import Enrolment, parse_enrolment
from tests.edge.shop import context, facts
from tests.sim.disk import Disk, Power, SimStore
from tests.sim.headquarters import STORE
from tests.sim.loop import SimClock, SimLoop
from tests.sim.radios import Driver, Module, SpelledPictures

QUOTE_MS: Final = 20_000
DWELL_MS: Final = 40_000
RETRY_FIRST_MS: Final = 5_000
RETRY_MAX_MS: Final = 20_000
RELEASE_AFTER_MS: Final = 45_000  # where an owner lets time decide
LANES: Final = ("lane-1", "lane-2", "lane-3")
TIMINGS: Final = HqTimings(
    gap_ms=3_000,
    head_ms=1_000,
    snapshot_ms=2_000,
    ask_again_max_ms=20_000,
    resend_ms=5_000,
    resend_max_ms=20_000,
    backoff_min_ms=100,
    backoff_max_ms=4_000,
)


def _enrolment() -> Enrolment:
    signer = Signer("sim", Ed25519PrivateKey.from_private_bytes(b"\1" * 32))
    return parse_enrolment(
        json.dumps(
            {
                "store": STORE,
                "broker": {"host": "broker", "port": 1883},
                "hq_keys": [{"kid": signer.kid, "public_key": signer.public_key}],
                "hq_incarnation": "1" * 32,
            }
        ).encode()
    )


ENROLMENT: Final = _enrolment()
TOPIC_BASE: Final = ENROLMENT.topics.topic("")
_FACTS: Final = facts(quote_valid_ms=QUOTE_MS)
_CONTEXT: Final = context()


class Process:
    """From its start to the moment at which nothing of its memory is left."""

    def __init__(
        self,
        disk: Disk,
        clock: SimClock,
        entropy: Callable[[int], bytes],
        random: Callable[[], float],
        modules: list[Module],
        *,
        person_binds: bool = False,
        dwell_ms: int = DWELL_MS,
        release_after_ms: int | None = None,
        numbered_pictures: bool = True,
        restored: bool = False,
    ) -> None:
        self.loop = SimLoop(clock)
        with self.loop:
            self.power = Power(self.loop)
            self.store = SimStore(disk, clock, entropy, _CONTEXT, ENROLMENT, self.power, restored=restored)
            self.desk = Desk(self.store, clock, _FACTS, entropy, clock.now_ms)
            binds_at = {"oepl": Grade.PERSON} if person_binds else {}
            rules = ShelfRules(True, dwell_ms, RETRY_FIRST_MS, RETRY_MAX_MS, binds_at)
            picture_facts = PictureFacts("en-GB", "EUR", 2, self.store.view.codes, UTC)
            renderer: Any = SpelledPictures(numbered=numbered_pictures)
            self.labels = LabelService(self.store, clock, renderer, rules, picture_facts, self.desk.store_open)
            self.labels.table_above = self.desk.mirror.blocks
            self.watch = GuardWatch(self.store, clock, self.desk.store_open, release_after_ms)
            self.sync = HqSync(
                self.store, clock, enrolled=asyncio.Event(), outbox_wake=self.store.outbox_grew, random=random, timings=TIMINGS
            )
            self.drivers = [Driver(f"radio {n + 1}", module, self.labels.emit_for(f"radio {n + 1}")) for n, module in enumerate(modules)]
            for driver in self.drivers:
                self.labels.add_radio(driver, "oepl")
                if driver.module.plugged:
                    driver.emit(RadioUp(driver.module.radio_id, "simulated"))
            self.units = [
                self.start(unit) for unit in (self.labels.run(), self.sync.run(), HoldKeeper(self.store, clock).run(), self.watch.run())
            ]

    def start(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = self.loop.create_task(work)
        return task

    def run(self) -> bool:
        """Let everything happen that can happen now; False when the power failed meanwhile. Raises what ended a unit."""
        with self.loop:
            self.loop.run_ready()
        if self.power.failed:
            return False
        for unit in self.units:
            if unit.done():
                unit.result()
                raise AssertionError("a unit of the daemon ended by itself")
        return True

    def kill(self) -> None:
        self.power.fail()

    def bury(self) -> None:
        with self.loop:
            self.loop.bury()
