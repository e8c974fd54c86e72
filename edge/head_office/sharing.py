"""Which partitions a worker takes or gives back. Pure.

Every worker wants an equal share of the partitions that have stores. A lease that ran out is anybody's; a worker with more than its share
gives some back, so that one that joins gets its own.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Turn:
    take: tuple[str, ...]
    give_back: tuple[str, ...]


def turn(wanted: Sequence[str], mine: Set[str], free: Set[str], workers: int) -> Turn:
    """`wanted`: the partitions that have stores; `free`: those that nobody holds; `workers`: those alive, this one included."""
    share = -(-len(wanted) // max(workers, 1))
    held = [name for name in wanted if name in mine]
    gone = tuple(sorted(mine - set(wanted)))
    give_back = gone + tuple(held[share:])
    take = tuple(name for name in wanted if name in free)[: max(0, share - len(held))]
    return Turn(take, give_back)
