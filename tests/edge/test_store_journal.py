"""What only grows: the event chain to HQ and the audit chain."""

from __future__ import annotations

from typing import Any

import apsw
import pytest

from edge.store import journal
from edge.view import Delta
from protocols.hq_events import FIRST_PREV_HASH, Event, EventKind, chain_hash
from tests.edge.shop import BREAD, L1, MILK, NOON_MS, Shop, price


def last_hash(incarnation: str, events: list[Event]) -> str:
    """The hash of the last event, when every link from the first one holds."""
    before = FIRST_PREV_HASH
    for event in events:
        assert event.prev_hash == before
        before = chain_hash(incarnation, event.seq, event.kind, event.id, event.time, event.data, before)
        assert event.hash == before
    return before


async def busy(shop: Shop) -> None:
    """Some events of several kinds."""
    await shop.heard(L1)
    for item in (MILK, BREAD, MILK):
        await shop.bind(L1, item)
        await shop.prices(price("milk", 100, rev=len(shop.acks()) + 5))
        await shop.store.note_alert("test", "x")


async def test_the_chain_has_no_gap_and_every_link_holds(stocked: Shop) -> None:
    await busy(stocked)
    events = stocked.store.outbox(0, 1_000)
    state = stocked.store.outbox_state()
    assert [event.seq for event in events] == list(range(1, state.last_seq + 1))
    assert last_hash(state.incarnation, events) == state.last_hash == events[-1].hash


async def test_a_refused_transaction_leaves_no_hole_in_the_chain(stocked: Shop) -> None:
    def refused(db: Any) -> tuple[None, Delta]:
        journal.emit(db, stocked.store.stamp(), EventKind.ALERT, {}, salt="x")
        raise ValueError("planted")

    before = stocked.store.outbox_state()
    with pytest.raises(ValueError, match="planted"):
        await stocked.store.run(refused)
    assert stocked.store.outbox_state() == before


async def test_only_a_matching_word_of_hq_drops_events(stocked: Shop) -> None:
    await busy(stocked)
    state = stocked.store.outbox_state()
    events = stocked.store.outbox(0, 1_000)
    third = events[2]
    for incarnation, seq, digest in (
        ("f" * 32, third.seq, third.hash),
        (state.incarnation, third.seq, events[1].hash),
        (state.incarnation, state.last_seq + 1, events[-1].hash),
    ):
        assert not await stocked.store.hq_ack(incarnation, seq, digest)
        assert len(stocked.store.outbox(0, 1_000)) == len(events)
    assert await stocked.store.hq_ack(state.incarnation, third.seq, third.hash)
    assert stocked.store.outbox(0, 1_000) == events[3:]
    assert stocked.store.outbox_state().first_unacked_seq == 4
    assert await stocked.store.hq_ack(state.incarnation, 1, events[0].hash)
    assert len(stocked.store.outbox(0, 1_000)) == len(events) - 3


async def test_the_chain_goes_on_over_a_restart_even_when_all_of_it_was_dropped(stocked: Shop) -> None:
    await busy(stocked)
    state = stocked.store.outbox_state()
    await stocked.store.hq_ack(state.incarnation, state.last_seq, state.last_hash)
    stocked.reopen()
    await stocked.store.note_alert("test", "y")
    (event,) = stocked.store.outbox(0, 10)
    assert (event.seq, event.prev_hash) == (state.last_seq + 1, state.last_hash)


async def test_a_new_incarnation_carries_what_was_not_acknowledged(stocked: Shop) -> None:
    await busy(stocked)
    old = stocked.store.outbox(0, 1_000)

    def begin(db: Any) -> tuple[None, Delta]:
        journal.begin_incarnation(db, "9" * 32)
        return None, Delta()

    await stocked.store.run(begin)
    new = stocked.store.outbox(0, 1_000)
    assert [(event.kind, event.id, event.data) for event in new] == [(event.kind, event.id, event.data) for event in old]
    assert last_hash("9" * 32, new) == stocked.store.outbox_state().last_hash


async def test_a_change_in_the_audit_is_noticed(stocked: Shop) -> None:
    await busy(stocked)
    stocked.close()
    db = apsw.Connection(str(stocked.path))
    entries = journal.verify_audit(db)
    assert entries > 5
    db.execute("DROP TRIGGER audit_no_update; UPDATE audit SET actor = 'nobody' WHERE entry_id = 3")
    with pytest.raises(ValueError, match="entry 3"):
        journal.verify_audit(db)
    db.close()
    stocked.open()


@pytest.mark.parametrize(("wall_ms", "text"), [(NOON_MS, "2026-01-09T12:00:00.000Z"), (1, "1970-01-01T00:00:00.001Z")])
def test_instants_are_written_in_utc_with_milliseconds(wall_ms: int, text: str) -> None:
    assert journal.rfc3339(wall_ms) == text
