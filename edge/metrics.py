"""What the daemon measures of itself, as values. `edge/prometheus.py` shows them."""

from __future__ import annotations

from dataclasses import dataclass

from edge.evidence_state import EvidenceState


@dataclass(frozen=True, slots=True)
class Reading:
    """What the daemon looks like now. Times in seconds, money in minor units."""

    changes: dict[str, int]  # by stage, since start
    attempts_failed: dict[str, int]
    unproven_labels: int
    oldest_unproven_s: float
    outbox_events: int
    outbox_age_s: float
    radios_up: dict[str, bool]
    guard_items_held: dict[str, int]
    guard_given_away_minor: dict[str, int]  # by reason
    guard_overrides: int
    labels_retired: int
    attempts_proven: dict[str, int]  # by grade, since start
    sales_recorded: int
    sales_repeated: int
    quotes: int
    hq_connected: bool
    hq_bad_signatures: int
    price_changes_held: int
    evidence: EvidenceState
    sensor_readings: dict[str, int]  # by what became of them, since start
    ready: bool
