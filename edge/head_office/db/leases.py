"""Who works on what: leases that run out, and fences that a late worker cannot pass."""

from __future__ import annotations

from collections.abc import Mapping

from edge.head_office.db.schema import LEASE, WORKER
from edge.head_office.db.seam import Clash, Database


class LeaseLost(Exception):
    """Another worker has these by now, or had them since: nothing of the transaction may be committed."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(f"lease lost: {', '.join(names)}")
        self.names = names


def beat(db: Database, owner: str, lease_ms: int) -> int:
    """This worker lives. How many do."""
    now_ms = db.now_ms()
    db.write(WORKER, [(owner, now_ms + lease_ms)], Clash.REPLACE)
    db.rows("DELETE FROM worker WHERE until_ms < ?", now_ms)
    return int(db.rows("SELECT count(*) FROM worker")[0][0])


def free(db: Database, names: list[str]) -> set[str]:
    """Those of the names that nobody holds."""
    now_ms = db.now_ms()
    held = {str(name) for (name,) in db.rows("SELECT name FROM lease WHERE until_ms >= ?", now_ms)}
    return set(names) - held


def take(db: Database, name: str, owner: str, lease_ms: int) -> int | None:
    """The fence of a lease that is ours from now on; None where somebody holds it. Each owner's fence is higher than the one before."""
    db.write(LEASE, [(name, "", 0, 0)], Clash.KEEP)
    now_ms = db.now_ms()
    taken = db.rows(
        "UPDATE lease SET owner = ?, fence = fence + 1, until_ms = ? WHERE name = ? AND until_ms < ? RETURNING fence",
        owner,
        now_ms + lease_ms,
        name,
        now_ms,
    )
    return int(taken[0][0]) if taken else None


def renew(db: Database, owner: str, fences: Mapping[str, int], lease_ms: int) -> None:
    """In the transaction whose effects the leases cover: who takes one over waits for its commit. Raises `LeaseLost`."""
    until_ms = db.now_ms() + lease_ms
    lost = []
    for name, fence in sorted(fences.items()):
        if not db.rows(
            "UPDATE lease SET until_ms = ? WHERE name = ? AND owner = ? AND fence = ? RETURNING name", until_ms, name, owner, fence
        ):
            lost.append(name)
    if lost:
        raise LeaseLost(lost)


def give_back(db: Database, owner: str, fences: Mapping[str, int]) -> None:
    """Anybody may take them at once; a transaction that was on its way renews none of them. What is not ours any more stays as it is."""
    for name, fence in sorted(fences.items()):
        db.rows("UPDATE lease SET owner = '', until_ms = 0 WHERE name = ? AND owner = ? AND fence = ?", name, owner, fence)


def leave(db: Database, owner: str) -> None:
    """This worker ends in good order."""
    db.rows("DELETE FROM worker WHERE owner = ?", owner)
