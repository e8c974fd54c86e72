"""A catalogue load: tens of thousands of labels from their fields to payloads, in two worker processes, as the daemon's workers do it.

Every label has another item; the shipped shelf template on 296x128 black, white, red, compressed for a window of 512 bytes. The rival is
a renderer that does the same with Pillow: measured and wrapped words, shrunk names and prices, fonts and background made once, each word's
width measured once, numpy's packing, zlib's best (load_peer.py). Both chains get the fields in pieces of
PIECE labels and return payloads.
"""

from __future__ import annotations

import multiprocessing
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from bench.rivals import Row

WORKERS = 2
LABELS, LABELS_QUICK = 30_000, 3_000
PEER_PART = 10  # the rival draws a tenth of them: it takes minutes otherwise
PIECE = 250
PANEL = "opendisplay-296x128-bwr"
TEMPLATE = "shelf"
BUDGET_S = 4.0
ADJECTIVES = ("Bio", "Frische", "Feine", "Würzige", "Milde", "Knusprige", "Ungesüßte", "Extra lange", "Vegane", "Italienische")
NOUNS = (
    "Haferflocken", "Vollmilch-Schokolade", "Passierte Tomaten", "Röstzwiebeln", "Apfelschorle", "Kräuterbutter", "Sonnenblumenkerne",
    "Erdbeer-Konfitüre", "Weizenmehl Type 405", "Orangensaft", "Kichererbsen", "Ziegenkäse", "Spaghetti", "Olivenöl nativ extra",
)  # fmt: skip
ENDS = ("", " natur", " mit Nüssen", " im Glas", " Großpackung", " aus der Region")


def rows(quick: bool) -> Iterator[Row]:
    count = LABELS_QUICK if quick else LABELS
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name:
        ours = count / _seconds(_ours, count, Path(name))
        theirs = count / PEER_PART / _seconds(_pillow, count // PEER_PART, Path(name))
    yield Row(f"catalogue load, {WORKERS} processes, fields to payloads", "Pillow chain", ours, theirs, ours / theirs)
    budget = LABELS / BUDGET_S
    yield Row(f"catalogue load of {LABELS}: {LABELS / ours:.2f} s", f"a budget of {BUDGET_S:.0f} s", ours, budget, ours / budget)


def _seconds(work: Callable[[list[Any]], int], count: int, cache: Path) -> float:
    """Time of `count` labels once the workers are warm. Making the fields is no part of it, sending them to the workers is."""
    labels = [fields_of(number, number % 11 == 0) for number in range(count)]
    pieces = [labels[start : start + PIECE] for start in range(0, count, PIECE)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(WORKERS, mp_context=context, initializer=_warm, initargs=(cache,)) as pool:
        for _ in range(2):  # each worker has the kernels, fonts and glyphs of a store that has been drawn before
            list(pool.map(work, pieces[: 2 * WORKERS]))
        begin = time.perf_counter()
        drawn = sum(pool.map(work, pieces))
        taken = time.perf_counter() - begin
    assert drawn == count
    return taken


def _warm(cache: Path) -> None:
    from render import api

    api.warm_up(cache)


def _ours(labels: list[Any]) -> int:
    from render import api
    from render.codecs.deflate import Mode
    from render.codecs.streams import How

    payloads = api.render_many(labels, range(len(labels)), ("od-zlib", "od-raw"), how=How(Mode.FAST))
    return sum(isinstance(payload, api.Rendered) and len(payload.data) > 100 for payload in payloads)


def _pillow(labels: list[Any]) -> int:
    from bench.load_peer import PillowChain

    return sum(len(PillowChain.of(PANEL, TEMPLATE).payload(label)) > 100 for label in labels)


def fields_of(number: int, reduced: bool) -> Any:
    """A label of the catalogue."""
    from render.fields import ItemFields, LabelFields
    from render.symbols.linear import check_digit

    digits = f"40{number * 7919 % 10**10:010d}"
    item = ItemFields(
        name=f"{ADJECTIVES[number % 10]} {NOUNS[number // 10 % 14]}{ENDS[number // 140 % 6]}",
        brand=("Kornhof", "", "Alm & Wiese", "Dr. Feinkost")[number % 4],
        sku=f"{number:06d}",
        price_minor=49 + number * 31 % 4_950,
        was_price_minor=9_999 if reduced else None,
        net_content=(250, 500, 750, 1000)[number % 4],
        net_unit="g",
        gtin=digits + str(check_digit(digits)),
        stock=number % 50,
        stock_full=60,
    )
    return LabelFields(template=TEMPLATE, panel=PANEL, label_id=f"{number:016X}", locale="de-DE", currency="EUR", items=(item,))
