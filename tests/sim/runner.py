"""Plays histories on every core, counts what was caught, and tells one history aloud."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import multiprocessing
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Final

from tests.sim.happenings import KINDS
from tests.sim.mutants import MUTANTS, Mutant
from tests.sim.patches import simulated
from tests.sim.start import Start
from tests.sim.world import EVENTS, World

SOUND: Final = Mutant("")
CHUNK: Final = 10  # histories that a core plays in one go
MUTANT_SEEDS: Final = 300

Trace = Callable[[int, str, str], None]


@dataclass(frozen=True, slots=True)
class Played:
    """One history: what broke ("" for nothing), how many events it had."""

    seed: int
    broken: str
    events: int


@dataclass(slots=True)
class Tally:
    """Many of them."""

    name: str
    histories: int = 0
    events: int = 0
    cpu_s: float = 0.0
    caught: int = 0
    first: int | None = None
    reasons: dict[str, int] = field(default_factory=dict)

    def add(self, played: Sequence[Played], cpu_s: float) -> None:
        self.cpu_s += cpu_s
        for each in played:
            self.histories += 1
            self.events += each.events
            if each.broken:
                self.caught += 1
                self.first = each.seed if self.first is None else min(self.first, each.seed)
                reason = each.broken.split(":")[0]
                self.reasons[reason] = self.reasons.get(reason, 0) + 1


@cache
def _start(settled: bool, has_ticket: bool) -> Start:
    return Start(settled=settled, has_ticket=has_ticket)


def _build_starts() -> None:
    """All that every history of this process begins with. Collections of garbage need not look at it again."""
    with simulated():
        for settled in (True, False):
            for has_ticket in (True, False):
                _start(settled, has_ticket)
    gc.collect()
    gc.freeze()


def play(seed: int, mutant: Mutant = SOUND, trace: Trace | None = None, *, events: int = EVENTS) -> Played:
    """One history from its start to its end. Whatever goes wrong in it is what broke."""
    logging.disable(logging.CRITICAL)  # crashes and failures are what a history is made of
    with simulated():
        start = _start(seed % 4 != 3, seed % 3 == 2)
    with simulated(*mutant.changes()):
        world = World(start, seed, mutant.faults, trace)
        broken = ""
        try:
            world.play(events)
        except Exception as error:  # noqa: BLE001 - a daemon that falls over is a finding like any other
            broken = f"{error}" if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
        finally:
            world.end()
        return Played(seed, broken, world.events)


@dataclass(frozen=True, slots=True)
class Job:
    """Histories for one core in one go; `stops`: not beyond the first that breaks."""

    name: str
    seeds: range
    events: int
    stops: bool = False


def _work(job: Job) -> tuple[str, list[Played], float]:
    mutant, played = MUTANTS.get(job.name, SOUND), []
    gc.disable()
    if not gc.get_freeze_count():
        _build_starts()
    began_s = time.process_time()
    for seed in job.seeds:
        played.append(play(seed, mutant, events=job.events))
        gc.collect()  # between histories, and never in one
        if job.stops and played[-1].broken:
            break
    return job.name, played, time.process_time() - began_s


def jobs(names: Sequence[str], first: int, seeds: int, mutant_seeds: int, events: int, *, until_caught: bool) -> Iterator[Job]:
    """`until_caught`: a mutant plays the kind of history that shows it most, up to the first that does."""
    for name in names:
        if name and until_caught:
            kind, step = MUTANTS[name].kind, len(KINDS)
            yield Job(name, range(first + kind, first + kind + mutant_seeds * step, step), events, stops=True)
            continue
        last = first + (mutant_seeds if name else seeds)
        for begin in range(first, last, CHUNK):
            yield Job(name, range(begin, min(begin + CHUNK, last)), events)


def run(work: Iterable[Job], cores: int) -> tuple[dict[str, Tally], list[Played]]:
    """Tallies by name ("" is the daemon as it is), and the daemon's violations."""
    tallies: dict[str, Tally] = {}
    found: list[Played] = []
    began_s = told_s = time.monotonic()
    with multiprocessing.get_context("fork").Pool(cores) as pool:
        for name, played, cpu_s in pool.imap_unordered(_work, work):
            tallies.setdefault(name, Tally(name)).add(played, cpu_s)
            if not name:
                found += [each for each in played if each.broken]
            if sys.stderr.isatty() and time.monotonic() - told_s > 1:
                told_s = time.monotonic()
                done = sum(tally.histories for tally in tallies.values())
                print(f"\r{done} histories, {told_s - began_s:.0f} s ", end="", file=sys.stderr)  # noqa: T201
    if sys.stderr.isatty():
        print("\r" + " " * 40 + "\r", end="", file=sys.stderr)  # noqa: T201
    return tallies, sorted(found, key=lambda each: each.seed)


def _say(text: str = "") -> None:
    print(text, flush=True)  # noqa: T201


def _report(tallies: dict[str, Tally], found: list[Played], elapsed_s: float, cores: int) -> None:
    sound = tallies.get("")
    if sound is not None:
        _say(f"seeds       {sound.histories}")
        _say(f"events      {sound.events}, {sound.events / max(1, sound.histories):.0f} in a history with its calm end")
        per_s = sound.histories / max(sound.cpu_s, 1e-9)
        _say(f"speed       {per_s:.1f} histories/s and {sound.events / max(sound.cpu_s, 1e-9):.0f} events/s per core")
        _say(f"violations  {sound.caught}")
        for each in found[:10]:
            _say(f"  make replay SEED={each.seed}   # {each.broken[:200]}")
    mutants = [tally for name, tally in tallies.items() if name]
    if mutants:
        _say(f"mutants     {sum(1 for tally in mutants if tally.caught)} of {len(mutants)} caught")
    for tally in sorted(mutants, key=lambda tally: list(MUTANTS).index(tally.name)):
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(tally.reasons.items(), key=lambda pair: -pair[1])[:3])
        first = "never" if tally.first is None else f"first by seed {tally.first}"
        _say(f"  {tally.name:45} {tally.caught:5} of {tally.histories}  {first}  ({reasons[:90]})")
    _say(f"took        {elapsed_s:.0f} s on {cores} cores")


def _replay(seed: int, name: str) -> int:
    began_ms: list[int] = []

    def trace(at_ms: int, actor: str, text: str) -> None:
        began_ms.append(at_ms)
        _say(f"{(at_ms - began_ms[0]) / 1000:9.3f} s  {actor:9} {text}")

    played = play(seed, MUTANTS[name] if name else SOUND, trace)
    _say(f"after {played.events} events: {played.broken or 'nothing is broken'}")
    return 1 if played.broken else 0


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="make sim")
    parser.add_argument("--seeds", type=int, default=1_000, help="histories of the daemon as it is")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--mutant-seeds", type=int, default=MUTANT_SEEDS, help="histories of each mutant")
    parser.add_argument("--mutant", action="append", choices=sorted(MUTANTS), help="only this one, again for more")
    parser.add_argument("--until-caught", action="store_true", help="play a mutant up to the first history that catches it")
    parser.add_argument("--events", type=int, default=EVENTS, help="in a history, before faults stop")
    parser.add_argument("--cores", type=int, default=multiprocessing.cpu_count())
    parser.add_argument("--replay", type=int, metavar="SEED", help="tell one history aloud")
    parser.add_argument("--json", type=Path, help="write the figures to a file")
    options = parser.parse_args(arguments)
    if options.replay is not None:
        return _replay(options.replay, options.mutant[0] if options.mutant else "")
    names = [*([""] if options.seeds else []), *(options.mutant or (MUTANTS if options.mutant_seeds else ()))]
    began_s = time.monotonic()
    work = jobs(names, options.first, options.seeds, options.mutant_seeds, options.events, until_caught=options.until_caught)
    tallies, found = run(work, options.cores)
    _report(tallies, found, time.monotonic() - began_s, options.cores)
    if options.json is not None:
        told = {"violations": [asdict(each) for each in found], "tallies": {name: asdict(tally) for name, tally in tallies.items()}}
        options.json.write_text(json.dumps(told, indent=1) + "\n")
    return 1 if found or any(tally.caught == 0 for name, tally in tallies.items() if name) else 0
