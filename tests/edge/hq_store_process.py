"""The store's side of the HQ link in a process of its own, to be killed: the real file, the real sync, sales that never stop.

`python tests/edge/hq_store_process.py FOLDER SALES STREAM SEQ`: at most SALES sales in all, over every life of the process; it kills
itself with -9 when message SEQ of STREAM or a later one is committed and not acknowledged yet (SEQ 0: never). It says on stdout
"ready", "got STREAM SEQ OUTCOME" after each message, and "whole" when a snapshot is in force.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path

from edge.clock import SystemClock, entropy
from edge.hq import HqSync
from edge.hq_ports import HqTimings, ReceiveResult
from edge.store import journal
from edge.store.catalogue import AnomalyLimits
from edge.store.db import StoreError
from edge.store.inbox import Context
from edge.store.rows import Db
from edge.store.store import Store
from edge.view import Delta
from protocols.hq import Message
from protocols.hq_events import EventKind

QUICK = HqTimings(
    gap_ms=300,
    head_ms=500,
    snapshot_ms=1_000,
    chunks_ms=500,
    resend_ms=300,
    resend_max_ms=1_000,
    backoff_min_ms=30,
    backoff_max_ms=60,
    tend_ms=100,
)
CONTEXT = Context("EUR", AnomalyLimits(Fraction(10), Fraction(90), Fraction(20)), "oepl", "shelf", prices_from_hq=True)
CALM = HqTimings(backoff_min_ms=30, backoff_max_ms=60, tend_ms=100)  # as in a shop: what comes slowly is not asked for again
PACE_S = 0.002  # between sales: the other side of the link gets its turn


class Talking(Store):
    """Says what it committed, and dies of it."""

    dies_in, dies_at = "", 0

    async def receive(self, message: Message) -> ReceiveResult:
        before = self.view.generation
        result = await super().receive(message)
        say(f"got {message.stream} {message.seq} {result.outcome}")
        if self.view.generation != before:
            say("whole")
        if message.stream == self.dies_in and 0 < self.dies_at <= (message.seq or 0):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    async def sell(self) -> int:
        """One sale: its number is taken and its event written in one transaction."""
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[int, Delta]:
            number = int(journal.get_meta(db, "test_sales") or "0") + 1
            journal.set_meta(db, "test_sales", str(number))
            sale = {"sale_id": f"sale-{number}", "lines": [{"sku": "milk", "quantity": 1}]}
            journal.emit(db, stamp, EventKind.SALE, sale, salt="sale")
            return number, Delta(outbox_grew=True)

        return await self.run(transaction)

    def sold(self) -> int:
        return int(self.read(lambda db: journal.get_meta(db, "test_sales")) or "0")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def fatal(error: StoreError) -> None:
    raise SystemExit(str(error))


async def main(folder: Path, sales: int, dies_in: str, dies_at: int) -> None:
    clock = SystemClock()
    store = Talking(folder / "shelfd.db", clock, entropy, CONTEXT, fatal)
    store.dies_in, store.dies_at = dies_in, dies_at
    if store.enrolment() is None:
        await store.enrol((folder / "enrolment.json").read_bytes(), "test")
    sync = HqSync(store, clock, enrolled=asyncio.Event(), outbox_wake=store.outbox_grew, timings=CALM)
    running = asyncio.create_task(sync.run())
    say("ready")
    while store.sold() < sales:
        await store.sell()
        await asyncio.sleep(PACE_S)
    await running


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))
