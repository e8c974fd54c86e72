"""Deflate for a label's 512-byte window against zlib at its hardest: 60 shelf labels, and photographs in black, white and red by Bayer.

Labels are drawn by the renderer, in buffers that stand as one sees them and in ones that are turned. Photographs are clouds of many
scales, which have a photograph's edges and gradients and are free. Each row compares bytes, too: their means stand in the error columns.
Before the race every stream is inflated by Python's zlib with that window. libdeflate, where it is installed, is there to compare with:
it has no window that small.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from bench.rivals import ROUNDS, Row, race
from render import api
from render.codecs import planes
from render.codecs.deflate import Mode, compress
from render.fields import ItemFields, LabelFields
from render.panels import Panel, panel
from render.symbols.linear import check_digit

Bytes = npt.NDArray[np.uint8]

LABELS = 60
PHOTOS = 20
ROUNDS_QUICK = 5
WINDOW_BITS = 9
UPRIGHT, TURNED = "opendisplay-296x128-bwr", "oepl-01"
NAMES = (
    "Organic whole milk 3.5 % fat",
    "Dark chocolate with sea salt",
    "Ripe avocado, ready to eat",
    "Spaghetti no. 5",
    "Extra virgin olive oil",
    "Free-range eggs, size M",
    "Gouda slices, medium aged",
    "Basmati rice, long grain",
    "Espresso beans, medium roast",
    "Sparkling mineral water",
    "Sourdough rye bread with caraway",
    "Unsalted butter",
)
BRANDS = ("Meadow Farm", "Kornfeld", "Casa Rossa", "Northern", "Berg & Tal", "")
LOCALES = ("de-DE", "en-GB", "fr-FR", "pl-PL")
LIBDEFLATE = "libdeflate 6, 32 KiB window"


def rows(quick: bool) -> Iterator[Row]:
    rounds = ROUNDS_QUICK if quick else ROUNDS
    sets = {
        "label 296x128 BWR": buffers(panel(UPRIGHT), labels(UPRIGHT)),
        "label 296x128 BWR, buffer turned": buffers(panel(TURNED), labels(TURNED)),
        "Bayer photo 296x128 BWR": buffers(panel(UPRIGHT), photos()),
    }
    for name, data in sets.items():
        for mode in Mode:
            yield from _race(f"deflate {mode.value}, {name} (bytes in the error columns)", data, mode, rounds)


def labels(panel_name: str) -> list[Bytes]:
    """Pictures of shelf labels that differ in everything an item has."""
    return [api.picture(_label(panel_name, number), number) for number in range(LABELS)]


def photos() -> list[Bytes]:
    """Palette indices (128, 296) by an 8x8 Bayer matrix: white, black where it is dark, red where it is dark and warm."""
    bayer = np.zeros((1, 1))
    for _ in range(3):
        bayer = np.block([[4 * bayer, 4 * bayer + 2], [4 * bayer + 3, 4 * bayer + 1]])
    threshold = np.tile((bayer + 0.5) / 64, (16, 37))
    pictures = []
    for number in range(PHOTOS):
        grey, warmth = _clouds(number), _clouds(1000 + number)
        pictures.append(np.where(grey < threshold, np.where(warmth > 0.6, 2, 1), 0).astype(np.uint8))
    return pictures


def buffers(kind: Panel, pictures: list[Bytes]) -> list[Bytes]:
    """The planes of each picture as the panel takes them, raw."""
    return [planes.pack(kind, picture).reshape(-1) for picture in pictures]


def _label(panel_name: str, number: int) -> LabelFields:
    price_minor = 99 + number * 137 % 2300
    digits = f"{400123400000 + number * 7919}"
    return LabelFields(
        template="shelf",
        panel=panel_name,
        label_id=f"{number:016X}",
        locale=LOCALES[number % len(LOCALES)],
        currency="EUR",
        items=(
            ItemFields(
                name=NAMES[number % len(NAMES)],
                brand=BRANDS[number % len(BRANDS)],
                price_minor=price_minor,
                was_price_minor=price_minor + 70 if number % 5 == 0 else None,
                net_content=(250, 500, 750, 1000, 125)[number // 7 % 5],
                net_unit="g",
                gtin=digits + str(check_digit(digits)),
            ),
        ),
    )


def _clouds(seed: int) -> npt.NDArray[np.float64]:
    """A field (128, 296) from 0 to 1: noise of six scales, each interpolated and weighted as in nature."""
    noise = np.random.default_rng(seed)
    row, column = np.mgrid[0:128, 0:296] / 128.0
    field = np.zeros((128, 296))
    for octave in range(1, 7):
        grid = noise.normal(size=(2**octave + 2, 3 * 2**octave + 2))
        y, x = row * 2**octave, column * 2**octave
        top, left = y.astype(int), x.astype(int)
        down, right = y - top, x - left
        upper = grid[top, left] * (1 - right) + grid[top, left + 1] * right
        lower = grid[top + 1, left] * (1 - right) + grid[top + 1, left + 1] * right
        field += (upper * (1 - down) + lower * down) / 2**octave
    field -= field.min()
    return np.asarray(field / field.max())


def _race(work: str, data: list[Bytes], mode: Mode, rounds: int) -> Iterator[Row]:
    def ours() -> list[bytes]:
        return [compress(each, WINDOW_BITS, mode) for each in data]

    for each, stream in zip(data, ours(), strict=True):
        if zlib.decompressobj(WINDOW_BITS).decompress(stream) != each.tobytes():
            raise RuntimeError(f"{work}: a stream does not give its picture back")
    peers: dict[str, Callable[[], list[bytes]]] = {"zlib 9, 512-byte window": lambda: [_zlib(each) for each in data]}
    if importlib.util.find_spec("deflate"):
        libdeflate = importlib.import_module("deflate")
        peers[LIBDEFLATE] = lambda: [libdeflate.zlib_compress(each, 6) for each in data]
    yield from race(
        work,
        ours,
        peers,
        units=len(data),
        rounds=rounds,
        ours_error=_mean_bytes(ours()),
        peer_errors={name: _mean_bytes(peer()) for name, peer in peers.items()},
    )


def _zlib(data: Bytes) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, WINDOW_BITS)
    return stream.compress(data.data) + stream.flush()


def _mean_bytes(streams: list[bytes]) -> float:
    return sum(map(len, streams)) / len(streams)
