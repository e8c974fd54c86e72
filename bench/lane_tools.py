"""The C halves of the lane bench, compiled and run, and what their numbers say."""

from __future__ import annotations

import asyncio
import shutil
import struct
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from bench.lane_shop import prefer
from edge.demo.children import Child

HERE: Final = Path(__file__).parent
COMPILERS: Final = ("cc", "gcc", "clang")
CONNECT_TIMEOUT_S: Final = 10.0
_RECORD: Final = struct.Struct("=QQ")  # lane_load.c: number of the pair, nanoseconds


class NoCompiler(Exception):
    """There is nothing to compile the peer and the load generator with."""


class LoadFailed(Exception):
    """The load generator could not do its work; the text says why."""


@dataclass(frozen=True, slots=True)
class Tools:
    """The two programs."""

    server: Path
    load: Path


@dataclass(frozen=True, slots=True)
class Target:
    """A socket, and the file of lines that are sent to it."""

    socket: Path
    lines: Path


@dataclass(frozen=True, slots=True)
class Load:
    """What a run measured: answers per second over all targets, and each target's waits in nanoseconds, in the order they ended."""

    per_s: float
    waits_ns: list[list[int]]


def compile_tools(directory: Path) -> Tools:
    """Raises NoCompiler."""
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        raise NoCompiler(
            "no C compiler (cc, gcc or clang): the peer and the load generator are C; on Debian: apt-get install gcc libc6-dev"
        )
    programs = {name: directory / name for name in ("lane_server", "lane_load")}
    for name, program in programs.items():
        command = [compiler, "-O2", "-o", str(program), str(HERE / f"{name}.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoCompiler(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return Tools(programs["lane_server"], programs["lane_load"])


async def run_load(
    tools: Tools, targets: Sequence[Target], *, seconds: float, per_second: float = 0, times: int = 1, once: bool = False
) -> Load:
    """Drive these targets at once, `times` connections each. `per_second` is per connection; 0: as fast as answers come.

    `once`: one connection each, until some file is used up. Raises LoadFailed.
    """
    out = tools.load.parent / "waits.bin"
    words = [str(tools.load), f"{seconds}", f"{per_second}", str(out), "0" if once else str(times)]
    for target in targets:
        words += [str(target.socket), str(target.lines)]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE)
    prefer(process.pid)
    told, said = await process.communicate()
    if process.returncode:
        raise LoadFailed(said.decode(errors="replace").strip() or f"lane_load ended with {process.returncode}")
    answers, duration_ns = map(int, told.split())
    return Load(answers / duration_ns * 1e9, waits_of(out.read_bytes(), len(targets)))


def waits_of(raw: bytes, targets: int) -> list[list[int]]:
    """The load generator's records, by target."""
    waits: list[list[int]] = [[] for _ in range(targets)]
    for target, wait_ns in _RECORD.iter_unpack(raw):
        waits[target].append(wait_ns)
    return waits


async def start_server(tools: Tools, directory: Path, answer: bytes, count: int) -> tuple[Child, list[Path]]:
    """The C server with this answer on `count` sockets."""
    text, sockets = directory / "answer", [directory / f"c-{number}.sock" for number in range(1, count + 1)]
    text.write_bytes(answer)
    child = await Child.start("the C server", [str(tools.server), str(text), *map(str, sockets)], directory / "c.log")
    await listening(sockets[-1], child)
    return child, sockets


async def listening(socket: Path, child: Child) -> None:
    """Wait until a server took a connection."""
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        while True:
            if (death := child.death()) is not None:
                raise LoadFailed(death)
            try:
                _, writer = await asyncio.open_unix_connection(socket)
            except OSError:
                await asyncio.sleep(0.02)
                continue
            writer.close()
            await writer.wait_closed()
            return


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed. Needs one value."""
    ordered = sorted(values)
    return ordered[max(0, -int(-len(ordered) * share // 1) - 1)]


def write_lines(path: Path, calls: Iterable[tuple[str, Mapping[str, object]]]) -> Path:
    """A file of requests as tills write them: compact JSON, numbered from 1."""
    with path.open("wb") as file:
        for number, (method, params) in enumerate(calls, start=1):
            file.write(msgspec.json.encode({"jsonrpc": "2.0", "id": number, "method": method, "params": params}) + b"\n")
    return path


def hello(lane: str) -> tuple[str, dict[str, object]]:
    return "hello", {"lane": lane, "client": "lane-bench"}


def lookups(lane: str, codes: Iterable[str]) -> Iterable[tuple[str, Mapping[str, object]]]:
    """A greeting, then an `item.lookup` for each code."""
    yield hello(lane)
    for code in codes:
        yield "item.lookup", {"code": code}


def sales(lane: str, name: str, baskets: Iterable[Sequence[tuple[str, int]]]) -> Iterable[tuple[str, Mapping[str, object]]]:
    """A greeting, then a `sale.commit` for each basket of (item id, total in minor units); `name` makes the ids new."""
    yield hello(lane)
    for number, basket in enumerate(baskets):
        lines = [
            {"line_id": str(place), "item_id": item, "quantity": 1, "total_minor": total} for place, (item, total) in enumerate(basket)
        ]
        total_minor = sum(total for _, total in basket)
        yield (
            "sale.commit",
            {
                "sale_id": f"{name}-{lane}-{number}",
                "tenders": [{"type": "cash", "amount_minor": total_minor}],
                "lines": lines,
                "total_minor": total_minor,
            },
        )
