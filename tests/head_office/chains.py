"""Events of a store that never was, chained as the daemon chains them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from edge.head_office.db.ledger import Arrived
from protocols.hq_events import FIRST_PREV_HASH, Event, EventKind, batches, encode_up_batch, make_event

ONE, TWO = "1" * 32, "2" * 32


def chain(incarnation: str, *events: tuple[EventKind, Any], after: Event | None = None, ids: str = "id") -> list[Event]:
    """`ids`: what the event ids begin with."""
    made: list[Event] = []
    seq, before = (after.seq, after.hash) if after is not None else (0, FIRST_PREV_HASH)
    for kind, data in events:
        seq += 1
        text = data if isinstance(data, str) else json.dumps(data)
        made.append(make_event(incarnation, seq, kind, f"{ids}-{seq}", "2025-01-31T08:00:00Z", text, before))
        before = made[-1].hash
    return made


def sale(number: int, sku: str = "100", quantity: int = 1, total_minor: int = 250) -> tuple[EventKind, Any]:
    lines = [{"sku": sku, "quantity": quantity}, {"sku": None, "quantity": 1}]
    return EventKind.SALE, {"sale_id": f"s{number}", "lines": lines, "total_minor": total_minor, "business_date": "2025-01-31"}


def arrive(store: str, incarnation: str, events: Iterable[Event]) -> list[Arrived]:
    """As the broker brings them."""
    return [Arrived(store, str(run[0].kind), encode_up_batch(store, incarnation, run)) for run in batches(list(events))]
