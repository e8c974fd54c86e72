"""What a scraper gets."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Any

from edge.evidence_state import EvidenceState, evidence_state
from edge.hq import HeadTold, HqSync
from edge.metrics import Reading
from edge.prometheus import Metrics
from edge.store import journal
from tests.edge.evidence_day import ask
from tests.edge.shop import Shop


def reading(evidence: EvidenceState) -> Reading:
    """Nothing happened but what is told here."""
    nothing: dict[str, Any] = {"int": 0, "float": 0.0, "bool": False, "EvidenceState": evidence}
    values = {each.name: nothing.get(str(each.type), {}) for each in fields(Reading)}
    values |= {"guard_items_held": {"dwell": 2}, "guard_given_away_minor": {"dwell": 30}, "attempts_proven": {"inferred": 4}}
    return Reading(**values)


def told(evidence: EvidenceState) -> dict[str, float]:
    lines = Metrics(lambda: reading(evidence)).text().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))}


def test_the_guard_is_told_by_reason() -> None:
    found = told(EvidenceState(0, "", None, None, 0))
    assert (found['shelfd_guard_items_held{reason="dwell"}'], found['shelfd_guard_given_away_minor_total{reason="dwell"}']) == (2, 30)
    assert found['shelfd_attempts_proven_total{grade="inferred"}'] == 4


def test_what_hq_was_told_of_the_evidence_is_left_out_while_nobody_was() -> None:
    alone, known = told(EvidenceState(7, "", None, None, 4096)), told(EvidenceState(7, "", 5, 90, 4096))
    assert (alone["shelfd_evidence_entries"], alone["shelfd_store_file_bytes"]) == (7, 4096)
    assert "shelfd_evidence_told_entries" not in alone
    assert (known["shelfd_evidence_told_entries"], known["shelfd_evidence_told_age_seconds"]) == (5, 90)


async def test_the_state_of_the_evidence_is_that_of_the_file(stocked: Shop) -> None:
    head = ask(stocked.path, journal.audit_head)
    alone = evidence_state(stocked.store, None, stocked.clock)
    incarnation = stocked.store.outbox_state().incarnation
    assert (alone.entries, alone.head) == (head.entry, f"{incarnation}:{head.entry}:{head.hash}")
    assert (alone.told_entry, alone.told_age_s) == (None, None)
    assert alone.file_bytes > 50_000
    sync = HqSync(stocked.store, stocked.clock, enrolled=asyncio.Event(), outbox_wake=asyncio.Event())
    assert evidence_state(stocked.store, sync, stocked.clock) == alone
    sync.head_told = HeadTold(3, stocked.clock.now)
    stocked.clock.pass_ms(90_000)
    later = evidence_state(stocked.store, sync, stocked.clock)
    assert (later.told_entry, later.told_age_s) == (3, 90)


def test_latencies_are_counted_into_buckets_that_add_up() -> None:
    def never() -> Reading:
        raise AssertionError("asked for more than the latencies")

    metrics = Metrics(never)
    for seconds in (0.00005, 0.0001, 0.00011, 0.3, 9.0):
        metrics.observe_latency("item.lookup", seconds)
    family = next(metrics.collect())
    counts = {sample.labels["le"]: sample.value for sample in family.samples if sample.name.endswith("_bucket")}
    assert (counts["0.0001"], counts["0.0002"], counts["0.1"], counts["0.5"], counts["+Inf"]) == (2, 3, 3, 4, 5)
    sums = {sample.name: sample.value for sample in family.samples if not sample.name.endswith("_bucket")}
    assert sums == {"shelfd_lane_latency_seconds_count": 5, "shelfd_lane_latency_seconds_sum": 0.00005 + 0.0001 + 0.00011 + 0.3 + 9.0}
