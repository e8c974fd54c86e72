"""How fast the renderer is, against others that do the same work: `make bench-render ARGS="--json out.json"`.

Prints one table and writes one row per pair of programs. `--only WORD` runs the areas whose name has the word, `--quick` fewer rounds.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
from pathlib import Path

import numba
from rich.console import Console
from rich.table import Table

from bench.rivals import Row

AREAS = ("label", "load", "qr", "dither", "deflate", "g5", "start")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--only", default="", help=f"areas whose name contains this word; areas: {', '.join(AREAS)}")
    parser.add_argument("--quick", action="store_true", help="fewer rounds and pictures: a look, not a measurement")
    options = parser.parse_args()
    areas = [area for area in AREAS if options.only in area]
    if not areas:
        parser.error(f"--only {options.only}: no such area; areas: {', '.join(AREAS)}")
    console = Console(width=150)
    target = os.environ.get("NUMBA_CPU_NAME", "this processor")
    console.print(f"Python {platform.python_version()}, numba {numba.__version__} for {target}, {platform.machine()}")
    rows: list[Row] = []
    for area in areas:
        console.print(f"{area} …", style="dim")
        rows += list(importlib.import_module(f"bench.render_{area}").rows(options.quick))
    console.print(_table(rows))
    if options.json:
        options.json.write_text(json.dumps([row.as_json() for row in rows], indent=1) + "\n")
    return 0


def _table(rows: list[Row]) -> Table:
    table = Table("work", "peer", "ours", "peer's", "ratio", "our error", "peer's", box=None, header_style="bold", pad_edge=False)
    for column in table.columns[2:]:
        column.justify = "right"
    for row in rows:
        ratio = row.note if row.ratio is None else f"{row.ratio:,.1f}x"
        errors = ["" if error is None else f"{error:,.2f}" for error in (row.ours_error, row.peer_error)]
        table.add_row(row.work, row.peer, _time(row.ours_per_s), _time(row.peer_per_s), ratio, *errors)
    return table


def _time(per_s: float | None) -> str:
    if per_s is None:
        return ""
    seconds = 1 / per_s
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds * 1e9:,.0f} ns"


if __name__ == "__main__":
    raise SystemExit(main())
