"""The kernels of the batch path: compiled and as plain Python the same; shapes pixel by pixel."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from edge import label_samples
from render import api
from render.fast import columns as c
from render.fast import shapes
from render.fast.program import frame_of
from render.panels import Panel, panel
from render.symbols import linear

LABELS = (("shelf", "oepl-01"), ("reduced", "oepl-21"), ("staff", "oepl-2F"))
PROGRAM = f"""
from edge import label_samples
from render import api
for name, panel in {LABELS}:
    print(api.render(label_samples.typical(name, panel), 3, ("raw2", "raw1")).picture_hash)
"""
SET = 0b11  # an ink that sets both planes
SIDES = (61, 47)


def plain_module(file: str) -> Any:
    """A module whose routines and helpers are not compiled."""
    spec = importlib.util.spec_from_file_location("plain", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with patch("render._jit.routine", lambda function: function), patch("render._jit.helper", lambda function: function):
        spec.loader.exec_module(module)
    return module


PLAIN = plain_module(shapes.__file__)


def panel_of(turns: int) -> Panel:
    return replace(panel("oepl-01"), width=SIDES[0], height=SIDES[1], rotate_buffer=turns)


def canvas_of(frame: npt.NDArray[np.int32]) -> npt.NDArray[np.uint64]:
    return np.zeros(int(frame[c.WORDS]) + 1, np.uint64)


def seen(canvas: npt.NDArray[np.uint64], kind: Panel) -> npt.NDArray[np.uint8]:
    """Plane 0 of a canvas as a person sees it."""
    bits = np.unpackbits(canvas.byteswap().view(np.uint8))[: 8 * kind.plane_bytes]
    rows = bits.reshape(kind.buffer_height, -1)[:, : kind.buffer_width]
    return np.ascontiguousarray(np.rot90(rows, -kind.rotate_buffer))


def test_compiled_and_plain_kernels_agree() -> None:
    """The plain ones in a process of their own, where nothing is compiled."""
    environment = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env=environment, cwd=Path.cwd())
    assert done.returncode == 0, done.stderr
    names = [api.render(label_samples.typical(name, panel), 3, ("raw2", "raw1")).picture_hash for name, panel in LABELS]
    assert done.stdout.split() == names


@settings(deadline=None, max_examples=60)
@given(*(st.integers(0, side - 1) for side in (*SIDES, *SIDES)), st.integers(0, 3))
def test_a_stroke_takes_the_pixels_that_pillow_takes(x0: int, y0: int, x1: int, y1: int, turns: int) -> None:
    kind = panel_of(turns)
    frame = frame_of(kind)
    canvas = canvas_of(frame)
    PLAIN.stroke(canvas, frame, x0, y0, x1, y1, SET)
    image = Image.new("L", SIDES)
    ImageDraw.Draw(image).line((x0, y0, x1, y1), fill=1, width=1)
    assert np.array_equal(seen(canvas, kind), np.asarray(image))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 60), st.integers(0, 46), st.integers(1, 61), st.integers(1, 47), st.integers(0, 3), st.booleans())
def test_a_rectangle_is_filled_or_cleared(x: int, y: int, width: int, height: int, turns: int, is_set: bool) -> None:
    kind = panel_of(turns)
    frame = frame_of(kind)
    width, height = min(width, SIDES[0] - x), min(height, SIDES[1] - y)
    canvas = canvas_of(frame)
    wanted = np.zeros(SIDES[::-1], np.uint8)
    if not is_set:
        canvas[:] = np.uint64(0xFFFFFFFFFFFFFFFF)
        wanted[:] = 1
    PLAIN.rectangle(canvas, frame, x, y, width, height, SET if is_set else SET << 8)
    wanted[y : y + height, x : x + width] = is_set
    assert np.array_equal(seen(canvas, kind), wanted)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 10**12 - 1), st.booleans(), st.integers(0, 3), st.integers(1, 2), st.integers(1, 70))
def test_bars_are_those_of_the_symbol(number: int, is_long: bool, turns: int, pixel: int, height: int) -> None:
    digits = str(number).rjust(12, "0")[:12] if is_long else str(number).rjust(7, "0")[:7]
    gtin = digits + str(linear.check_digit(digits))
    symbol = linear.ean(gtin)
    if len(linear.drawable(gtin)) != len(gtin):
        return
    kind = replace(panel("oepl-01"), width=203, height=77, rotate_buffer=turns)
    frame = frame_of(kind)
    codes = np.array([ord(digit) for digit in gtin], np.int32)
    for modules in (symbol.modules, symbol.guards):
        canvas = canvas_of(frame)
        words, strip = np.zeros(2, np.uint64), np.zeros(c.STRIPS, np.uint64)
        if modules is symbol.modules:
            count = PLAIN.ean_modules(codes, 0, len(gtin), words)
        else:
            count = PLAIN.ean_guards(len(gtin), words)
        mark = np.array([c.BARS, 0, SET, 0, len(gtin), 5, 3, pixel, height], np.int32)
        PLAIN.bars(canvas, frame, mark, count, words, strip)
        wanted = np.zeros((77, 203), np.uint8)
        bars = np.repeat([int(module) for module in modules], pixel)
        wanted[3 : 3 + height, 5 : 5 + len(bars)] = bars
        assert np.array_equal(seen(canvas, kind), wanted)


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 57), st.integers(0, 2**32 - 1), st.integers(0, 3), st.integers(1, 3))
def test_a_matrix_code_is_put_module_by_module(size: int, seed: int, turns: int, pixel: int) -> None:
    kind = replace(panel("oepl-01"), width=190, height=181, rotate_buffer=turns)
    frame = frame_of(kind)
    modules = np.random.default_rng(seed).integers(0, 2, (size, size), np.uint8)
    rows = np.array([int("".join(map(str, row)).ljust(64, "0"), 2) for row in modules.tolist()], np.uint64)
    canvas = canvas_of(frame)
    mark = np.array([c.MATRIX, 0, SET, 0, 7, 4, pixel, 0, 0], np.int32)
    PLAIN.matrix(canvas, frame, mark, size, rows, np.zeros(c.STRIPS, np.uint64))
    wanted = np.zeros((181, 190), np.uint8)
    wanted[4 : 4 + size * pixel, 7 : 7 + size * pixel] = modules.repeat(pixel, axis=0).repeat(pixel, axis=1)
    assert np.array_equal(seen(canvas, kind), wanted)
