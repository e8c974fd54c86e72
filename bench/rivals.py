"""Two programs racing in one process: who does how much per second, and by what factor.

Absolute times move by a factor of two on a busy machine, ratios by a tenth. So every figure is a ratio to a rival in the same run: one
thread, rivals interleaved round-robin, the ratio taken within each round, the median of the rounds reported.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROUNDS = 15
TURN_S = 0.02  # long enough for the clock's noise to be below one in a thousand, short enough that a slow spell hits all alike
REPEATS_MAX = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. Errors are those of the compared quality (colour, bytes), None where nothing is compared.

    A rival that could not run has None for all its figures and the reason in `note`.
    """

    work: str
    peer: str
    ours_per_s: float | None
    peer_per_s: float | None
    ratio: float | None
    ours_error: float | None = None
    peer_error: float | None = None
    note: str = ""

    def as_json(self) -> dict[str, object]:
        row: dict[str, object] = {
            "work": self.work,
            "peer": self.peer,
            "ours_per_s": self.ours_per_s,
            "peer_per_s": self.peer_per_s,
            "ratio": self.ratio,
            "ours_error": self.ours_error,
            "peer_error": self.peer_error,
        }
        return {**row, "note": self.note} if self.note else row


def not_run(work: str, peer: str, reason: str) -> Row:
    return Row(work, peer, None, None, None, note=f"not run: {reason}")


def race(
    work: str,
    ours: Callable[[], object],
    peers: Mapping[str, Callable[[], object]],
    *,
    units: int = 1,
    peer_units: Mapping[str, int] | None = None,
    rounds: int = ROUNDS,
    turn_s: float = TURN_S,
    ours_error: float | None = None,
    peer_errors: Mapping[str, float] | None = None,
) -> list[Row]:
    """One row per peer. A call of `ours` does `units` pieces of work, one of a peer as many unless `peer_units` says otherwise.

    Everything is called once before the race, so compiling and filling caches is no part of it.
    """
    racers = {"": ours, **peers}
    counts = {"": units, **{name: (peer_units or {}).get(name, units) for name in peers}}
    repeats = {name: _repeats(call, turn_s) for name, call in racers.items()}
    rates: dict[str, list[float]] = {name: [] for name in racers}
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            order = list(racers) if turn % 2 == 0 else list(reversed(racers))
            for name in order:
                rates[name].append(counts[name] * repeats[name] / _seconds(racers[name], repeats[name]))
    finally:
        gc.enable()
    return [
        Row(
            work,
            peer,
            statistics.median(rates[""]),
            statistics.median(rates[peer]),
            statistics.median(a / b for a, b in zip(rates[""], rates[peer], strict=True)),
            ours_error,
            (peer_errors or {}).get(peer),
        )
        for peer in peers
    ]


def _repeats(call: Callable[[], object], turn_s: float) -> int:
    """How many calls fill a turn; the first, untimed call warms up."""
    call()
    taken = _seconds(call, 1)
    if taken >= turn_s:
        return 1
    count = max(2, int(turn_s / max(taken, 1e-7)))
    return min(REPEATS_MAX, max(1, int(turn_s / (_seconds(call, min(count, 1000)) / min(count, 1000)))))


def _seconds(call: Callable[[], object], repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - begin
