"""QR codes at level M: short addresses (version 2) and GS1 Digital Links (versions 3 and 4), 500 of each.

Ours is measured as a catalogue load makes them (`qr_batch`, rows of modules as words) and one call at a time (`qr`, a matrix). A rival
makes its own matrix object. Before the race every code of ours is read back by zxing-cpp and has to say its own text.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import segno
import zxingcpp

from bench.rivals import ROUNDS, Row, not_run, race
from render.symbols import gs1, qr_tables
from render.symbols.linear import check_digit
from render.symbols.qr import qr, qr_batch

COUNT = 500
SEGNO_COUNT = 20  # segno takes milliseconds each: every 25th text a turn is enough
ROUNDS_QUICK = 5
FAST_QR = "fast-qr-py (Rust)"


def rows(quick: bool) -> Iterator[Row]:
    rounds = ROUNDS_QUICK if quick else ROUNDS
    for kind, texts in (("version 2-M", short_texts()), ("Digital Link", digital_links())):
        codes = qr_batch(texts)
        read = sum(_read(codes.matrix(place)) == text for place, text in enumerate(texts))
        segno_size = sum(len(_segno(text)) for text in texts) / COUNT
        print(f"{kind}: {read} of {COUNT} codes read back; {codes.sizes.mean():.1f} modules a side, segno's {segno_size:.1f}")
        if read != COUNT:
            raise RuntimeError(f"{kind}: {COUNT - read} codes do not say their text")
        peers = _peers(texts)
        units = {"segno": SEGNO_COUNT}
        for work, ours in (
            (f"QR {kind}, a batch of {COUNT}", lambda texts=texts: qr_batch(texts)),
            (f"QR {kind}, one call each", lambda texts=texts: [qr(text) for text in texts]),
        ):
            yield from race(work, ours, peers, units=COUNT, peer_units=units, rounds=rounds)
            if FAST_QR not in peers:
                yield not_run(work, FAST_QR, _why_not())


def short_texts() -> list[str]:
    """26 bytes each, as many as version 2-M holds."""
    return [f"https://a.eu/{_gtin13(place)}" for place in range(COUNT)]


def digital_links() -> list[str]:
    """Alone, with an expiry day, and with a lot."""
    links = []
    for place in range(COUNT):
        lot = f"L{place:04}" if place % 3 == 2 else None
        query = [("17", f"26{1 + place % 12:02}{1 + place % 28:02}")] if place % 3 == 1 else []
        links.append(gs1.digital_link(_gtin13(place), lot=lot, query=query))
    return links


def _gtin13(place: int) -> str:
    digits = f"400{7_919 * place + 123_456_789:09}"
    return digits + str(check_digit(digits))


def _read(modules: np.ndarray[Any, np.dtype[np.uint8]]) -> str:
    picture = np.kron(1 - np.pad(modules, qr_tables.QUIET_MODULES), np.full((3, 3), 255, np.uint8))
    return "".join(str(found.text) for found in zxingcpp.read_barcodes(picture.astype(np.uint8)))


def _segno(text: str) -> Sequence[bytearray]:
    matrix: Sequence[bytearray] = segno.make(text, error="m", boost_error=False, micro=False).matrix
    return matrix


def _peers(texts: list[str]) -> dict[str, Callable[[], object]]:
    some = texts[:: COUNT // SEGNO_COUNT]
    peers: dict[str, Callable[[], object]] = {"segno": lambda: [_segno(text) for text in some]}
    try:
        fast_qr = importlib.import_module("fast_qr")
    except ImportError:  # not for this Python
        return peers
    level = fast_qr.ECL.M
    peers[FAST_QR] = lambda: [fast_qr.QRBuilder(text).ecl(level).build() for text in texts]
    return peers


def _why_not() -> str:
    if sys.version_info < (3, 13):
        return f"it needs Python 3.13, this is {sys.version_info.major}.{sys.version_info.minor}"
    return "it is not installed"
