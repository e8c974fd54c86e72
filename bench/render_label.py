"""A label from Python strings to bit planes, and to the compressed frame that travels: bench_label.toml on 296x128 black, white, red.

Ours draws the labels of a batch in two kernel calls; "one label per call" is the same for a batch of one. Pillow draws at the same places,
and not one pixel differs: that is checked here for every label of the race before it starts (our error: differing pixels per label).
Planes are those of the most usual panel of this size, whose buffer is the picture turned by 90 degrees; frames are those of an
OpenDisplay label, which is not turned.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.label_peers import CairoPeer, OdlPeer, PillowPeer, SkiaPeer, Strings
from bench.rivals import ROUNDS, Row, race
from render import locales, raster, scene, templates
from render.codecs import planes, registry
from render.codecs.deflate import Mode
from render.codecs.streams import How
from render.fast.atlas import Atlas
from render.fast.program import Program
from render.fast.program import Row as LabelRow
from render.fields import ItemFields, LabelFields, TemplateSource
from render.panels import panel
from render.symbols import linear, qr

LABELS = 64  # more than odl-renderer keeps QR codes of: it has to make each
PANEL = "oepl-01"
FRAME_PANEL = "opendisplay-296x128-bwr"
NAMES = (
    "Bio Haferflocken zart aus dem Allgäu",
    "Vollmilch-Schokolade mit ganzen Haselnüssen",
    "Passierte Tomaten aus Italien, fein gewürzt",
    "Röstkaffee gemahlen, kräftig & mild",
)
WORK = "label to planes, 296x128 BWR, QR given"
WORK_FRAME = "label to compressed frame, 296x128 BWR, QR made"


def rows(quick: bool) -> Iterator[Row]:
    rounds = 5 if quick else ROUNDS
    source = TemplateSource((Path(__file__).parent,))
    template, kind, frame_kind = templates.load("bench_label", source), panel(PANEL), panel(FRAME_PANEL)
    locale = locales.locale("de-DE")
    assert locale is not None
    program = Program(template, 0, kind, locale, Atlas(kind.rotate_buffer))
    labels = [_label(number) for number in range(LABELS)]
    strings = [row for row in map(program.row, labels) if row is not None]
    attempts = list(range(LABELS))
    codes = program.codes([row.codes for row in strings])
    drawn = program.draw(strings, attempts, codes)
    assert len(strings) == LABELS and drawn.done.all()

    background_layout = replace(template.layout(kind), elements=tuple(still.element for still in program.plan.fixed))
    background = raster.draw(scene.build(labels[0], replace(template, layouts=(background_layout,)), kind), kind)
    given = [_strings(label, row) for label, row in zip(labels, strings, strict=True)]
    pillow, skia, cairo, odl = PillowPeer(background), SkiaPeer(background), CairoPeer(background), OdlPeer()
    differing = 0
    for label, pixels in zip(given, drawn.planes, strict=True):
        ours = planes.unpack(kind, np.ascontiguousarray(pixels))
        ours[-1, -32:] = kind.white  # the attempt number: theirs have none
        differing += int((ours != np.asarray(pillow.picture(label))).sum())

    error, pillow_error = differing / LABELS, {"Pillow mono": 0.0}
    peers: dict[str, Callable[[], object]] = {
        "Pillow mono": _each(pillow.planes, given),
        "skia-python mono": _each(skia.planes, given),
        "cairocffi mono, no QR": _each(cairo.planes, given),
        "odl-renderer, no planes": _each(odl.picture, given),
    }
    yield from race(
        WORK,
        lambda: program.draw(strings, attempts, codes),
        peers,
        units=LABELS,
        peer_units=dict.fromkeys(peers, 1),
        rounds=rounds,
        ours_error=error,
        peer_errors=pillow_error,
    )
    turn = itertools.cycle(range(LABELS))
    ones = [program.codes([row.codes]) for row in strings]

    def one() -> object:
        number = next(turn)
        return program.draw((strings[number],), (number,), ones[number])

    alone = {"Pillow mono": peers["Pillow mono"]}
    yield from race(f"{WORK}, one label per call", one, alone, rounds=rounds, ours_error=error, peer_errors=pillow_error)

    how = How(Mode.FAST)
    framed = Program(template, 0, frame_kind, locale, Atlas(frame_kind.rotate_buffer))
    frame_strings = [row for row in map(framed.row, labels) if row is not None]

    def frames() -> object:
        batch = framed.draw(frame_strings, attempts)
        return [registry.encode("od-zlib", frame_kind, each, 0, how) for each in batch.planes]

    frame_peers = {
        "Pillow + segno + packbits + zlib-9": _each(pillow.frame, given),
        "odl-renderer + epaper-dithering + py-opendisplay": _each(odl.frame, given),
    }
    yield from race(WORK_FRAME, frames, frame_peers, units=LABELS, peer_units=dict.fromkeys(frame_peers, 1), rounds=rounds)


def _each(draw: Callable[[Strings], object], labels: list[Strings]) -> Callable[[], object]:
    """One label per call, another one each time."""
    turn = itertools.cycle(labels)
    return lambda: draw(next(turn))


def _label(number: int) -> LabelFields:
    digits = f"40063813{number * 37 % 9999:04d}"
    item = ItemFields(
        name=NAMES[number % len(NAMES)],
        sku=f"4711-{number:06d}",
        price_minor=99 + 13 * number,
        was_price_minor=9_999,
        net_content=500,
        net_unit="g",
        gtin=digits + str(linear.check_digit(digits)),
    )
    return LabelFields(template="bench_label", panel=PANEL, label_id="1", locale="de-DE", currency="EUR", items=(item,))


def _strings(label: LabelFields, row: LabelRow) -> Strings:
    name, unit_price, article, sign, whole, cents, gtin = row.texts
    return Strings(name, unit_price, article, sign, whole, cents, gtin, row.codes[0], qr.qr(row.codes[0]))
