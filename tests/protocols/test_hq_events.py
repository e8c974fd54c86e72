"""The upward side: the chain of events and the messages beside it."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.hq import MESSAGE_MAX_BYTES
from protocols.hq_events import (
    BATCH_EVENTS_MAX,
    FIRST_PREV_HASH,
    BadUpward,
    Birth,
    Death,
    Event,
    EventKind,
    LabelCounts,
    Stage,
    StagedAck,
    SyncRequest,
    batches,
    chain_hash,
    encode_ack_data,
    encode_state,
    encode_sync,
    encode_up_batch,
    make_event,
    parse_state,
    parse_sync,
    verify_up_batch,
)
from protocols.hq_messages import StreamPosition

INCARNATION = "c" * 32


def _chain(kinds: list[EventKind]) -> list[Event]:
    events: list[Event] = []
    for seq, kind in enumerate(kinds, 1):
        before = events[-1].hash if events else FIRST_PREV_HASH
        events.append(make_event(INCARNATION, seq, kind, f"id-{seq}", "2025-01-31T08:00:00.000Z", f'{{"n":{seq}}}', before))
    return events


def test_the_hash_is_over_the_fields_joined_by_newlines() -> None:
    text = "\n".join([INCARNATION, "7", "sale", "id-7", "2025-01-31T08:00:00Z", '{"ü":1}', "0" * 64])
    expected = hashlib.sha256(text.encode()).hexdigest()
    assert chain_hash(INCARNATION, 7, "sale", "id-7", "2025-01-31T08:00:00Z", '{"ü":1}', "0" * 64) == expected


@given(st.lists(st.sampled_from(EventKind), max_size=120))
def test_messages_are_runs_of_one_kind_and_together_they_are_the_chain(kinds: list[EventKind]) -> None:
    events = _chain(kinds)
    runs = batches(events)
    assert [event for run in runs for event in run] == events
    for run in runs:
        assert len(run) <= BATCH_EVENTS_MAX
        batch = verify_up_batch(run[0].kind, encode_up_batch("s1", INCARNATION, run))
        assert batch.events == run


def test_a_hole_in_the_numbers_ends_a_message() -> None:
    events = _chain([EventKind.SALE] * 5)
    assert [len(run) for run in batches([*events[:2], *events[3:]])] == [2, 2]


@pytest.mark.parametrize(
    "long",
    [
        pytest.param(
            '{"lines":[' + ",".join(['{"sku":"4711","code":"4006381333931","quantity":1,"total_minor":199}'] * 500) + "]}", id="basket"
        ),
        pytest.param('{"detail":"' + "牛乳" * 8_000 + '"}', id="another script"),
        pytest.param('{"detail":"' + '\\"' * 8_000 + '"}', id="quotes"),
    ],
)
def test_long_events_travel_in_messages_that_a_broker_takes(long: str) -> None:
    """A basket of 500 lines is one event of some 80 KB."""
    events: list[Event] = []
    for seq in range(1, 30):
        before = events[-1].hash if events else FIRST_PREV_HASH
        data = long if seq % 7 else '{"n":1}'
        events.append(make_event(INCARNATION, seq, EventKind.SALE, f"id-{seq}", "2025-01-31T08:00:00.000Z", data, before))
    runs = batches(events)
    assert [event for run in runs for event in run] == events
    assert max(len(encode_up_batch("s1", INCARNATION, run)) for run in runs) <= MESSAGE_MAX_BYTES


@given(st.data())
def test_no_field_of_an_event_can_be_changed_unnoticed(data: st.DataObject) -> None:
    events = tuple(_chain([EventKind.SALE] * 3))
    position = data.draw(st.integers(0, 2))
    change = data.draw(
        st.sampled_from([{"seq": 9}, {"id": "x"}, {"time": "2025"}, {"data": "{}"}, {"prev_hash": "1" * 64}, {"hash": "1" * 64}])
    )
    changed = msgspec.structs.replace(events[position], **change)  # type: ignore[arg-type]
    raw = encode_up_batch("s1", INCARNATION, (*events[:position], changed, *events[position + 1 :]))
    with pytest.raises(BadUpward):
        verify_up_batch("sale", raw)


def test_events_of_another_topic_order_or_incarnation_are_refused() -> None:
    events = tuple(_chain([EventKind.SALE] * 3))
    for kind, incarnation, chosen in (
        ("stock", INCARNATION, events),
        ("sale", "d" * 32, events),
        ("sale", INCARNATION, (events[1], events[0])),
        ("sale", INCARNATION, (events[0], events[2])),
        ("sale", INCARNATION, ()),
    ):
        with pytest.raises(BadUpward):
            verify_up_batch(kind, encode_up_batch("s1", incarnation, chosen))
    first_of_another = make_event(INCARNATION, 1, EventKind.SALE, "x", "t", "{}", "5" * 64)
    with pytest.raises(BadUpward, match="first event"):
        verify_up_batch("sale", encode_up_batch("s1", INCARNATION, (first_of_another,)))


def test_a_line_break_cannot_move_text_between_fields_of_the_hash() -> None:
    events = tuple(_chain([EventKind.SALE]))
    shifted = msgspec.structs.replace(events[0], id="id-1\n2025-01-31T08:00:00.000Z")
    with pytest.raises(BadUpward):
        verify_up_batch("sale", encode_up_batch("s1", INCARNATION, (shifted,)))


def test_birth_and_death_come_back_as_written() -> None:
    birth = Birth(
        store="s1",
        incarnation=INCARNATION,
        boot="b-1",
        version="1.0",
        types=("price.batch.v1",),
        cursors={"price": StreamPosition("d" * 32, 4)},
        snapshot=None,
        up_seq=3,
        up_hash="e" * 64,
        labels=LabelCounts(60, 58),
    )
    assert parse_state(encode_state(birth)) == birth
    death = Death(store="s1", incarnation=INCARNATION, boot="b-1")
    assert parse_state(encode_state(death)) == death
    with pytest.raises(BadUpward):
        parse_state(b'{"online": true}')


def test_a_resend_request_uses_the_words_from_and_to() -> None:
    request = SyncRequest(store="s1", incarnation=INCARNATION, stream="bulk", stream_incarnation=None, from_seq=0, to_seq=None)
    assert msgspec.json.decode(encode_sync(request)) == {
        "store": "s1",
        "incarnation": INCARNATION,
        "stream": "bulk",
        "stream_incarnation": None,
        "from": 0,
        "to": None,
    }
    assert parse_sync(encode_sync(request)) == request
    with pytest.raises(BadUpward):
        parse_sync(b"{}")


def test_the_data_of_a_staged_ack_is_json_text() -> None:
    ack = StagedAck("price", INCARNATION, 7, "id", Stage.REJECTED, "row 3: price of -1")
    assert msgspec.json.decode(encode_ack_data(ack), type=StagedAck) == ack
