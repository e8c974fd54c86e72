"""How far the evidence has come, who else knows of it, and what room it takes: for the status and the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drivers.base import Clock
from edge.hq import HqSync
from edge.store.journal import audit_head
from edge.store.store import Store


@dataclass(frozen=True, slots=True)
class EvidenceState:
    """`told_entry` and `told_age_s`: the last head that HQ's broker took, and how long ago; None before the first, and without an HQ."""

    entries: int
    head: str  # INCARNATION:ENTRY:HASH, as `shelfd audit verify --head` takes it
    told_entry: int | None
    told_age_s: int | None
    file_bytes: int  # all of the store's file: evidence is most of it in the end


def evidence_state(store: Store, sync: HqSync | None, clock: Clock) -> EvidenceState:
    head, told = store.read(audit_head), sync.head_told if sync is not None else None
    return EvidenceState(
        head.entry,
        f"{store.outbox_state().incarnation}:{head.entry}:{head.hash}",
        told.entry if told is not None else None,
        (clock.now_ms() - told.at_ms) // 1000 if told is not None else None,
        sum(_size(store.path.with_name(store.path.name + part)) for part in ("", "-wal")),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
