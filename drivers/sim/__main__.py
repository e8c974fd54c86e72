"""`python -m drivers.sim`: a store's radio modules and labels on pseudo-terminals. Commands as JSON lines on standard input, the
diary as JSON lines on standard output; ends when standard input does.
"""

from __future__ import annotations

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from drivers.sim.labels import CHECK_IN_MS
from drivers.sim.shell import SimOptions, Simulator
from protocols.oepl_types import LABEL_TYPES


def main(arguments: list[str] | None = None) -> int:
    """Parse, run, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m drivers.sim", description=__doc__)
    parser.add_argument("--clock", type=Path, required=True, help="clock file to write; readers share its virtual time")
    parser.add_argument("--link", type=Path, action="append", required=True, help="symbolic link to make for a module's port; repeatable")
    parser.add_argument("--labels", type=int, default=60)
    parser.add_argument("--hw-type", type=lambda text: int(text, 16), default=0x01, help="hardware number in hex, 01 by default")
    parser.add_argument("--firmware", type=lambda text: int(text, 16), default=0x29, help="label firmware in hex, 29 by default")
    parser.add_argument("--rate", type=float, default=20.0, help="virtual seconds in a real one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fast-baud-ok", action="store_true", help="the module knows the command for 2 Mbaud")
    parser.add_argument("--sub-ghz", action="store_true", help="a build with sub-GHz support: its channel command is a byte longer")
    parser.add_argument("--check-in-s", type=float, default=CHECK_IN_MS / 1000, help="seconds between a label's check-ins")
    parser.add_argument("--trace-check-ins", action="store_true", help="tell each check-in too")
    parser.add_argument("--start-wall", default=None, help="UTC wall time to start at, RFC 3339; now by default")
    given = parser.parse_args(arguments)
    if given.hw_type not in LABEL_TYPES:
        parser.error(f"--hw-type {given.hw_type:02X} is not one of {', '.join(f'{number:02X}' for number in LABEL_TYPES)}")
    if given.labels < 0 or given.rate <= 0 or given.check_in_s <= 0:
        parser.error("--labels, --rate and --check-in-s are positive")
    try:
        start = datetime.now(UTC) if given.start_wall is None else datetime.fromisoformat(given.start_wall)
    except ValueError:
        parser.error(f"--start-wall {given.start_wall!r} is not RFC 3339, e.g. 2026-03-02T06:00:00Z")
    if start.tzinfo is None:
        parser.error("--start-wall needs a zone, e.g. a final Z")
    options = SimOptions(
        clock=given.clock,
        links=tuple(given.link),
        labels=given.labels,
        hw_type=given.hw_type,
        firmware=given.firmware,
        rate=given.rate,
        seed=given.seed,
        start_wall_ms=int(start.timestamp() * 1000),
        fast_baud_ok=given.fast_baud_ok,
        sub_ghz=given.sub_ghz,
        check_in_ms=int(given.check_in_s * 1000),
        trace_check_ins=given.trace_check_ins,
    )
    try:
        Simulator(options, sys.stdin.fileno(), _say).run()
    except OSError as error:
        sys.stderr.write(f"simulator: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _say(line: bytes) -> None:
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main())
