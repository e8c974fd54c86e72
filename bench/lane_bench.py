"""How fast the lanes are served: `make bench-lane ARGS="--json out.json"`.

The real daemon as a process, with 120,000 items, 30,000 labels and eight lanes, against a C server with a fixed answer, asyncio streams,
a raw append with fdatasync, sqlite3 and sqlite-utils in the same run. Prints each figure with its target and whether it was met. The exit
code says only whether the bench ran. `--only WORD` runs the parts whose name has the word, `--seconds` is the time of each part.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib
import json
import os
import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.lane_shop import ITEMS, LABELS, NICE, write_store
from bench.lane_tools import LoadFailed, NoCompiler, compile_tools
from edge.demo.broker import BrokerDidNotStart
from edge.demo.children import ChildDied

PARTS: Final = ("unpaced", "sale", "ingest", "paced")
SECONDS: Final = 30.0
KEYS: Final[Mapping[str, tuple[str, ...]]] = {  # what of a part goes into the file
    "paced": ("p50_us", "p99_us", "p999_us", "c_p99_us", "c_p999_us"),
    "unpaced": ("per_s", "c_per_s", "streams_per_s"),
    "sale": ("p50_us", "fdatasync_p50_us", "lane1_per_s", "lane8_per_s"),
    "ingest": ("ms", "json_sqlite3_ms", "sqlite_utils_ms", "unchanged_ms", "worst_sale_wait_ms"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A figure beside its peer. `value` is what is compared with `target`: at most, or at least."""

    work: str
    ours: str
    peer: str
    value: float
    target: float
    at_most: bool

    @property
    def met(self) -> bool:
        return self.value <= self.target if self.at_most else self.value >= self.target


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--only", default="", help=f"parts whose name contains this word; parts: {', '.join(PARTS)}")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time of each part (default %(default)g)")
    options = parser.parse_args()
    parts = [part for part in PARTS if options.only in part]
    if not parts or options.seconds <= 0:
        parser.error(f"--only {options.only}, --seconds {options.seconds:g}: no such part, or no time; parts: {', '.join(PARTS)}")
    console = Console(width=150)
    try:
        found = asyncio.run(_run(parts, options.seconds, console))
    except (NoCompiler, LoadFailed, ChildDied, BrokerDidNotStart, TimeoutError) as error:
        sys.stderr.write(f"bench-lane: {str(error) or 'something did not answer in time'}\n")
        return 1
    console.print(table(verdicts(found)))
    if options.json:
        options.json.write_text(json.dumps(as_json(found), indent=1) + "\n")
    return 0


async def _run(parts: list[str], seconds: float, console: Console) -> dict[str, Any]:
    """The figures of each part; `rss_mb` from the one in which the daemon had most to hold."""
    load = " ".join(f"{each:.1f}" for each in os.getloadavg())
    priority = f"nice {NICE}" if os.geteuid() == 0 else "no priority of their own: that takes root"
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} processors, load before {load}; servers and generator: {priority}")
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="sd-lane-") as name:
        directory = Path(name)
        tools = compile_tools(directory)
        seeded = directory / "store"
        seeded.mkdir()
        console.print(f"writing a store of {ITEMS:,} items and {LABELS:,} labels …", style="dim")
        await write_store(seeded)
        for part in parts:
            console.print(f"{part} …", style="dim")
            own = directory / part
            own.mkdir()
            found[part] = await importlib.import_module(f"bench.lane_{part}").measure(own, seeded, tools, seconds)
    return found


def as_json(found: Mapping[str, Any]) -> dict[str, Any]:
    """What the file says: exactly the figures that are named, those of the parts that ran."""
    told: dict[str, Any] = {}
    for part, keys in KEYS.items():
        if part not in found:
            continue
        several = {"": found[part]} if part != "unpaced" else found[part]
        figures = {name: {key: round(each[key], 3) for key in keys} for name, each in several.items()}
        told[part] = figures if part == "unpaced" else figures[""]
    if "paced" in found:
        told["rss_mb"] = round(found["paced"]["rss_mb"], 1)
    return told


def verdicts(found: Mapping[str, Any]) -> Iterator[Verdict]:
    """Ratios are the medians of each round's own ratio, not ratios of the medians."""
    if paced := found.get("paced"):
        load = f"{paced['rendered_per_s']:,.0f} labels/s render, {paced['imports']} lists of 50,000 prices"
        yield Verdict(
            f"lookup, 8 x 100/s, p99; {load}", _us(paced["p99_us"]), f"C {_us(paced['c_p99_us'])}", paced["p99_over_c"], 2.5, True
        )
        yield Verdict("lookup, 8 x 100/s, p99.9", _us(paced["p999_us"]), f"C {_us(paced['c_p999_us'])}", paced["p999_over_c"], 2, True)
    for count, each in found.get("unpaced", {}).items():
        ours = f"{each['per_s']:,.0f}/s"
        yield Verdict(f"lookup, {count} connections", ours, f"C {each['c_per_s']:,.0f}/s", each["over_c_per_s"], 0.5, False)
        yield Verdict(
            f"lookup, {count} connections", ours, f"streams + json {each['streams_per_s']:,.0f}/s", each["over_streams_per_s"], 3, False
        )
    if sale := found.get("sale"):
        raw = f"append + fdatasync {_us(sale['fdatasync_p50_us'])}"
        yield Verdict("sale of 3 lines, one lane, p50", _us(sale["p50_us"]), raw, sale["over_fdatasync"], 1.4, True)
        one = f"one lane {sale['lane1_per_s']:,.0f}/s"
        yield Verdict("sales, eight lanes at once", f"{sale['lane8_per_s']:,.0f}/s", one, sale["lane8_over_lane1"], 6, False)
    if ingest := found.get("ingest"):
        ours, sqlite3 = f"{ingest['ms']:,.0f} ms", f"json + sqlite3 {ingest['json_sqlite3_ms']:,.0f} ms"
        yield Verdict("50,000 prices to committed", ours, sqlite3, ingest["json_sqlite3_over_ours"], 1.6, False)
        tools = f"sqlite-utils {ingest['sqlite_utils_ms']:,.0f} ms"
        yield Verdict("50,000 prices to committed", ours, tools, ingest["sqlite_utils_over_ours"], 4, False)
        again = f"{ingest['unchanged_ms']:,.0f} ms"
        yield Verdict("the same 50,000 again", again, sqlite3, ingest["json_sqlite3_over_unchanged"], 4, False)
        worst = ingest["worst_sale_wait_ms"]
        yield Verdict("longest sale behind it, ms", f"{worst:,.1f} ms", "", worst, 30, True)
    if paced:
        yield Verdict("the daemon's memory at its most, MB", f"{paced['rss_mb']:,.0f} MB", "", paced["rss_mb"], 350, True)


def table(rows: Iterator[Verdict]) -> Table:
    made = Table("work", "ours", "peer", "compared", "target", "", box=None, header_style="bold", pad_edge=False)
    for column in made.columns[3:5]:
        column.justify = "right"
    for row in rows:
        sign = "≤" if row.at_most else "≥"
        made.add_row(row.work, row.ours, row.peer, f"{row.value:,.2f}", f"{sign} {row.target:g}", "met" if row.met else "missed")
    return made


def _us(microseconds: float) -> str:
    return f"{microseconds:,.0f} us"


if __name__ == "__main__":
    raise SystemExit(main())
