"""Price lists of 50,000 rows, from HQ's bytes to committed: the store, json with sqlite3, sqlite-utils; and what a sale waits meanwhile.

The store reads signed messages of 500 rows, as HQ sends them, each a transaction of its own: it checks the signature, keeps every
version, puts in force what is due, notes it in the audit chain, and takes it over into memory. The peers read the same rows as JSON texts
of 500 and upsert them into one table by item and price, in one transaction. All write with WAL and synchronous=FULL, on the same disk.
"""

from __future__ import annotations

import asyncio
import gc
import json
import random
import secrets
import shutil
import sqlite3
import statistics
import time
from collections.abc import Coroutine
from fractions import Fraction
from pathlib import Path
from typing import Any, Final

import sqlite_utils
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.lane_hq import batches, head_office
from bench.lane_sale import baskets
from bench.lane_shop import CURRENCY, ITEMS, SEED, SETTINGS, STORE, Shop, price_row
from bench.lane_tools import Target, Tools, run_load, sales, write_lines
from edge.clock import SystemClock, entropy
from edge.demo.hq_books import HqBooks
from edge.hq_ports import Outcome
from edge.store.catalogue import AnomalyLimits
from edge.store.inbox import Context
from edge.store.store import Store, open_store
from protocols.hq import Signer, Stream, parse_down, public_key

ROUNDS: Final = 3
SALES_PER_SECOND: Final = 10  # of one lane, far above any cashier; at 100 a lane would queue behind itself and not behind the list
KEY: Final = "bench-1"
_COLUMNS: Final = tuple(price_row(0, 1))
_UPSERT: Final = (
    f"INSERT INTO price VALUES ({', '.join(f':{name}' for name in _COLUMNS)}) ON CONFLICT(sku, price_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS if name not in ("sku", "price_id"))
)


async def measure(directory: Path, seeded: Path, tools: Tools, seconds: float) -> dict[str, Any]:
    """Medians of rounds that interleave the three; each round has other prices."""
    found = await _race(directory, seeded)
    behind = directory / "behind"
    behind.mkdir()
    return found | {"worst_sale_wait_ms": await _worst_sale_wait_ms(behind, seeded, tools, seconds)}


async def _race(directory: Path, seeded: Path) -> dict[str, float]:
    own = directory / "race"
    shutil.copytree(seeded, own)
    signer = Signer(KEY, Ed25519PrivateKey.from_private_bytes(secrets.token_bytes(32)))
    books, clock = HqBooks(STORE, signer, secrets.token_hex(16)), SystemClock()
    limits = AnomalyLimits(Fraction(1000), Fraction(100), Fraction(100))
    store = open_store(own / "shelfd.db", clock, entropy, Context(CURRENCY, limits, "oepl", "shelf", True), _refuse)
    plain, tools = _peer_table(own / "plain.db"), sqlite_utils.Database(_peer_table(own / "tools.db"))
    gc.collect()
    gc.freeze()  # as the daemon does once it serves
    times: dict[str, list[float]] = {name: [] for name in ("ms", "json_sqlite3_ms", "sqlite_utils_ms", "unchanged_ms")}
    try:
        for rev in range(2, 2 + ROUNDS):
            rows = batches(rev)
            texts = [json.dumps(batch).encode() for batch in rows]
            first, again = ([_sealed(books, clock, batch) for batch in rows] for _ in range(2))
            times["ms"].append(await _timed_ms(_ours(store, books, first)))
            times["json_sqlite3_ms"].append(await _timed_ms(_json_sqlite3(plain, texts)))
            times["sqlite_utils_ms"].append(await _timed_ms(_sqlite_utils(tools, texts)))
            times["unchanged_ms"].append(await _timed_ms(_ours(store, books, again)))
    finally:
        store.close()
        plain.close()
        tools.close()
        gc.unfreeze()
    ours, unchanged = times["ms"], times["unchanged_ms"]
    found = {name: statistics.median(each) for name, each in times.items()}
    for name, mine, peer in (
        ("json_sqlite3_over_ours", ours, "json_sqlite3_ms"),
        ("sqlite_utils_over_ours", ours, "sqlite_utils_ms"),
        ("json_sqlite3_over_unchanged", unchanged, "json_sqlite3_ms"),
    ):
        found[name] = statistics.median(theirs / our for our, theirs in zip(mine, times[peer], strict=True))
    return found


async def _timed_ms(work: Coroutine[Any, Any, None]) -> float:
    begin = time.perf_counter()
    await work
    return (time.perf_counter() - begin) * 1000


def _refuse(error: Exception) -> None:
    raise error


def _sealed(books: HqBooks, clock: SystemClock, batch: list[dict[str, Any]]) -> tuple[str, bytes]:
    return books.entry(Stream.PRICE, books.say("price.batch.v1", {"rows": batch}, clock.wall_ms()))


async def _ours(store: Store, books: HqBooks, messages: list[tuple[str, bytes]]) -> None:
    keys = {KEY: public_key(books.signer.public_key)}
    for tail, payload in messages:
        result = await store.receive(parse_down(tail, payload, keys, STORE))
        assert result.outcome is Outcome.APPLIED, result


def _peer_table(path: Path) -> sqlite3.Connection:
    """A table with a price for each item of the store."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(f"CREATE TABLE price({', '.join(_COLUMNS)}, PRIMARY KEY(sku, price_id))")
    db.executemany(_UPSERT, (price_row(number, 1) for number in range(ITEMS)))
    db.commit()
    return db


async def _json_sqlite3(db: sqlite3.Connection, texts: list[bytes]) -> None:
    for text in texts:
        db.executemany(_UPSERT, json.loads(text))
    db.commit()


async def _sqlite_utils(db: sqlite_utils.Database, texts: list[bytes]) -> None:
    with db.conn:
        for text in texts:
            db.table("price").upsert_all(json.loads(text), pk=("sku", "price_id"))


async def _worst_sale_wait_ms(directory: Path, seeded: Path, tools: Tools, seconds: float) -> float:
    """The longest that a sale took while price lists came in through the broker: the median of a few runs' worst."""
    shop = Shop(directory, seeded)
    rng, worst = random.Random(SEED), []
    try:
        await shop.start()
        await shop.at_rest()
        async with head_office(directory, shop) as office:
            importing = asyncio.create_task(office.keep_importing())
            try:
                for turn in range(ROUNDS):
                    lane, count = SETTINGS.lanes[0], max(2, round(seconds / ROUNDS * SALES_PER_SECOND) + SALES_PER_SECOND)
                    lines = write_lines(directory / "sales", sales(lane, f"wait{turn}", baskets(rng, count)))
                    load = await run_load(tools, [Target(shop.sockets[0], lines)], seconds=seconds / ROUNDS, per_second=SALES_PER_SECOND)
                    worst.append(max(load.waits_ns[0]) / 1e6)
            finally:
                importing.cancel()
                await asyncio.wait([importing])
        return statistics.median(worst)
    finally:
        await shop.stop()
