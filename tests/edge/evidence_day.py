"""A day in the shop whose evidence the tests question, and hands that change what was written."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import apsw

from edge.store.evidence_check import Check, Head
from edge.store.rows import Db
from protocols.pos import CommitParams, QuoteLine, QuoteParams, Tender
from tests.edge.shop import BREAD, HOUR_MS, L1, L2, MILK, MILK_CODE, Shop, price

T = TypeVar("T")

MINUTE_MS = 60_000


async def sell(shop: Shop, sale_id: str, quantity: int = 1, *, lane: str = "lane-1") -> str:
    """A quote of milk, and a minute later its sale. The quote's id."""
    told = await shop.desk.quote(lane, QuoteParams(f"basket-{sale_id}", (QuoteLine("1", quantity, code=MILK_CODE),)))
    shop.clock.pass_ms(MINUTE_MS)
    await shop.desk.commit(lane, CommitParams(sale_id, (Tender("cash", told.total_minor),), told.quote_id))
    return told.quote_id


async def day(shop: Shop) -> dict[str, int]:
    """Milk at 1.00 on two labels, a rise to 1.20 that one label proves and the other does not, sales before and after. Named instants."""
    at: dict[str, int] = {}
    shop.clock.pass_ms(HOUR_MS)
    for label in (L1, L2):
        await shop.heard(label)
        await shop.bind(label, MILK)
    at["unknown"] = shop.clock.wall
    shop.clock.pass_ms(HOUR_MS)
    for label in (L1, L2):
        await shop.shows(label, MILK, 100)
    at["shown"] = shop.clock.wall
    await sell(shop, "s1")
    at["sold"] = shop.clock.wall
    shop.clock.pass_ms(HOUR_MS)
    await shop.prices(price("milk", 120, rev=2), price("bread", 190, rev=2))
    at["raised"] = shop.clock.wall
    shop.clock.pass_ms(MINUTE_MS)
    attempt = await shop.attempt(L1, [(MILK, 120)])
    at["sent"] = shop.clock.wall
    shop.clock.pass_ms(MINUTE_MS)
    await shop.prove(L1, attempt)
    at["half"] = shop.clock.wall
    await sell(shop, "s2", 2)
    shop.clock.pass_ms(HOUR_MS)
    await shop.shows(L2, MILK, 120)
    await shop.shows(L2, BREAD, 190)
    at["all"] = shop.clock.wall
    await sell(shop, "s3")
    at["end"] = shop.clock.wall
    return at


@contextlib.contextmanager
def opened(path: Path) -> Iterator[apsw.Connection]:
    db = apsw.Connection(str(path))
    try:
        yield db
    finally:
        db.close()


def tamper(path: Path, *statements: str) -> None:
    """Change the file as somebody would who has it: without triggers, without the daemon."""
    with opened(path) as db:
        db.execute("PRAGMA foreign_keys=OFF")
        for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            db.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            before = db.total_changes()
            db.execute(statement)
            assert db.total_changes() > before, f"nothing was changed by: {statement}"


def copied(source: Path, target: Path) -> None:
    """A copy of a whole file that no daemon has open, in place of what was there."""
    with opened(source) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    for part in ("-wal", "-shm"):
        target.with_name(target.name + part).unlink(missing_ok=True)
    shutil.copy(source, target)


def ask(path: Path, query: Callable[[Db], T]) -> T:
    with opened(path) as db:
        return query(db)


def checked(path: Path, *heads: Head, step: int = 7) -> Check:
    """The whole evidence of a file, checked a few entries at a time."""
    with opened(path) as db:
        return finished(db, *heads, step=step)


def finished(db: Db, *heads: Head, step: int = 50) -> Check:
    check = Check(heads)
    while not check.done:
        check.step(db, step)
    return check
