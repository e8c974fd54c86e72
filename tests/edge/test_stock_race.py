"""L2 where it is decided: several processes on one real file, all after the same units."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from edge.stock import Level
from tests.edge.shop import MILK, Shop
from tests.edge.test_store_stock import books_balance, receive

PROCESSES = 6
UNITS = 1_000

# Takes units until it is told that there are not enough; prints how many it got. As any writer of the store does it: one immediate
# transaction per hold.
RACER = """
import sys
from pathlib import Path
from edge.model import ItemId
from edge.stock import Hold
from edge.store import holds
from edge.store.db import connect
from edge.store.rows import Stamp
from edge.view import Delta

path, name = sys.argv[1:]
db = connect(Path(path))
db.set_busy_timeout(60_000)
print(db.execute("PRAGMA synchronous").get, flush=True)
sys.stdin.readline()
got = 0
for n in range(10_000):
    quantity = 1 + n % 3
    stamp = Stamp(1_767_960_000_000, n, "boot", True, f"{name} {n}".encode().ljust(16)[:16])
    hold = Hold(f"{name}-{n}", ItemId("milk"), quantity, "pickup", "", "", 2_000_000_000_000)
    db.execute("BEGIN IMMEDIATE")
    outcome = holds.place_hold(db, stamp, hold, Delta())
    db.execute("COMMIT")
    if outcome == "granted":
        got += quantity
    elif quantity == 1:
        break
print(got, flush=True)
"""


async def test_six_processes_after_the_same_thousand_units_get_each_once(stocked: Shop, project_root: Path) -> None:
    await receive(stocked, UNITS)
    stocked.close()
    racers = [
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            RACER,
            str(stocked.path),
            f"racer{n}",
            cwd=project_root,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for n in range(PROCESSES)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert (await racer.stdout.readline()).strip() == b"2"  # FULL, as the daemon writes
    done = await asyncio.gather(*(racer.communicate(b"go\n") for racer in racers))
    got = [int(out) for out, _ in done]
    stocked.open()
    assert sum(got) == UNITS
    assert stocked.store.view.level(MILK) == Level(UNITS, UNITS, 0)
    assert stocked.value("SELECT sum(quantity) FROM hold") == UNITS
    assert books_balance(stocked)
