"""Dithering four pictures of 800x480 for panels with three, four and seven inks, by error diffusion and ordered.

Ours gives packed planes (three and four inks) or packed pixels (seven); the others stop at indices or at a picture, without packing. All
dither to the same colours. Errors: `colour_error` of the shown picture, mean of the four. `python -m bench.render_dither check` compares
the kernels with their references as compiled for AVX-512, AVX2 and SSE2.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path

import dithering
import epaper_dithering
import llvmlite.binding
import numpy as np
from PIL import Image

from bench.dither_pictures import Bytes, colour_error, pictures
from bench.rivals import ROUNDS, Row, race
from render.dither.api import Method, dither, dither_packed, dither_planes
from render.dither.matrices import blue_noise
from render.panels.types import Rgb

ROUNDS_QUICK = 3
PALETTES: dict[str, tuple[Rgb, ...]] = {
    "BWR": ((255, 255, 255), (0, 0, 0), (255, 0, 0)),
    "BWRY": ((255, 255, 255), (0, 0, 0), (255, 0, 0), (255, 255, 0)),
    "7C": ((0, 0, 0), (255, 255, 255), (0, 255, 0), (0, 0, 255), (255, 0, 0), (255, 255, 0), (255, 128, 0)),
}
DIFFUSION = "Floyd-Steinberg"
RUST = f"dithering {version('dithering')}"
EPAPER = f"epaper-dithering {version('epaper-dithering')}"
PILLOW = f"Pillow {version('pillow')} quantize"
# What this should reach: how many times as fast as the peer, and our error in parts of its error, by palette.
TARGETS: dict[str, tuple[float, dict[str, float]]] = {
    f"{DIFFUSION} {RUST} linear, serpentine": (18, {"BWR": 1.02, "BWRY": 1.02, "7C": 1.10}),
    f"{DIFFUSION} {EPAPER}": (70, dict.fromkeys(PALETTES, 0.55)),
    f"Bayer {RUST} linear, Bayer": (4, dict.fromkeys(PALETTES, 1.0)),
    f"Bayer {EPAPER}": (50, dict.fromkeys(PALETTES, 1.0)),
    f"blue noise {RUST} linear, Bayer": (4, dict.fromkeys(PALETTES, 1.0)),
    f"blue noise {RUST} linear, same matrix": (4, dict.fromkeys(PALETTES, 1.0)),
    f"blue noise {EPAPER}": (50, dict.fromkeys(PALETTES, 1.0)),
}
# Processors that the check compiles for, and what this machine must have to run that.
PROCESSORS = {"skylake-avx512": "avx512bw", "haswell": "avx2", "x86-64-v2": "sse4.2", "x86-64": "sse2"}

Shown = Callable[[Bytes], Bytes]  # picture to the picture that a panel shows


def rows(quick: bool) -> Iterator[Row]:
    seen = list(pictures().values())
    if quick:
        seen = seen[:2]
    for name, inks in PALETTES.items():
        for kind, method in ((DIFFUSION, Method.FLOYD_STEINBERG), ("Bayer", Method.BAYER), ("blue noise", Method.BLUE_NOISE)):
            peers = _peers(inks, kind)
            for row in race(
                f"{kind}, 800x480 {name}, packed",
                partial(_for_all, seen, partial(_packed, inks, method)),
                {peer: partial(_for_all, seen, shown) for peer, shown in peers.items()},
                units=len(seen),
                rounds=ROUNDS_QUICK if quick else ROUNDS,
                ours_error=_error(seen, partial(_shown, inks, method)),
                peer_errors={peer: _error(seen, shown) for peer, shown in peers.items()},
            ):
                _say(kind, name, row)
                yield row


def _for_all(seen: list[Bytes], work: Shown) -> None:
    for picture in seen:
        work(picture)


def _shown(inks: tuple[Rgb, ...], method: Method, picture: Bytes) -> Bytes:
    return np.array(inks, np.uint8)[dither(picture, inks, method)]


def _packed(inks: tuple[Rgb, ...], method: Method, picture: Bytes) -> Bytes:
    if len(inks) <= 4:
        return dither_planes(picture, inks, range(len(inks)), 2, method)
    return dither_packed(picture, inks, range(len(inks)), 4, method)


def _error(seen: list[Bytes], shown: Shown) -> float:
    return float(np.mean([colour_error(picture, np.asarray(shown(picture))) for picture in seen]))


def _peers(inks: tuple[Rgb, ...], kind: str) -> dict[str, Shown]:
    palette = epaper_dithering.ColorPalette(colors={str(place): ink for place, ink in enumerate(inks)}, accent=str(len(inks) - 1))
    mode = epaper_dithering.DitherMode.FLOYD_STEINBERG if kind == DIFFUSION else epaper_dithering.DitherMode.ORDERED

    def epaper(picture: Bytes) -> Bytes:
        return _rgb(epaper_dithering.dither_image(Image.fromarray(picture), palette, mode=mode))

    if kind != DIFFUSION:
        peers: dict[str, Shown] = {f"{RUST} linear, Bayer": lambda picture: dithering.ordered_dither(picture, 8, palette=inks, linear=True)}
        if kind != "Bayer":
            same = (blue_noise().ranks + 0.5) / blue_noise().count
            peers[f"{RUST} linear, same matrix"] = lambda picture: dithering.ordered_dither(picture, same, palette=inks, linear=True)
        return {**peers, EPAPER: epaper}

    def rust_diffusion(serpentine: bool) -> Shown:
        return lambda picture: dithering.error_diffusion(picture, palette=inks, linear=True, serpentine=serpentine)

    colours = Image.new("P", (1, 1))
    colours.putpalette([value for ink in inks for value in ink])
    return {
        f"{RUST} linear": rust_diffusion(False),
        f"{RUST} linear, serpentine": rust_diffusion(True),
        EPAPER: epaper,
        PILLOW: lambda picture: _rgb(Image.fromarray(picture).quantize(palette=colours, dither=Image.Dither.FLOYDSTEINBERG)),
    }


def _rgb(shown: Image.Image) -> Bytes:
    return np.asarray(shown.convert("RGB"))


def _say(kind: str, name: str, row: Row) -> None:
    """One line for a row that has a target: reached, or missed by how much."""
    target = TARGETS.get(f"{kind} {row.peer}")
    if target is None or row.ratio is None or row.ours_error is None or row.peer_error is None:
        return
    faster, worse = target[0], target[1][name]
    error = row.ours_error / row.peer_error
    speed = "reached" if row.ratio >= faster else f"missed by {100 * (1 - row.ratio / faster):.0f} %"
    quality = "reached" if error <= worse else f"missed by {100 * (error / worse - 1):.1f} %"
    print(f"{row.work} against {row.peer}: {row.ratio:.1f}x of {faster:.0f}x {speed}; error {error:.3f}x of {worse:.2f}x {quality}")


def check() -> int:
    """Every kernel against its reference, for each kind of processor that this one can be."""
    features = llvmlite.binding.get_host_cpu_features()
    root = Path(__file__).parents[1]
    script = root / "tests" / "render" / "dither_check.py"
    for processor, feature in PROCESSORS.items():
        if not features.get(feature):
            print(f"{processor}: not run: this machine has no {feature}")
            continue
        with tempfile.TemporaryDirectory() as folder:
            target = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": folder, "PYTHONPATH": str(root)}
            done = subprocess.run([sys.executable, script], env={**os.environ, **target}, check=False)
        if done.returncode:
            return done.returncode
    return 0


if __name__ == "__main__":
    if sys.argv[1:] != ["check"]:
        raise SystemExit("usage: python -m bench.render_dither check; the figures: make bench-render ARGS='--only dither'")
    raise SystemExit(check())
