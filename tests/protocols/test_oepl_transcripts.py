"""The session writes the recorded host bytes when it reads the recorded module bytes."""

from __future__ import annotations

import pytest

from protocols.oepl import ModuleSession
from protocols.oepl_events import BlockServed, CxdAcked, ModuleReady, SdaAcked
from protocols.oepl_wire import CheckIn, Damage, TransferComplete, block_count, data_version
from tests.oepl_transcripts import SCENARIOS, Transcript, transcript


def replay(recorded: Transcript, slice_bytes: int) -> tuple[bytes, list[object]]:
    """Feed what the module said at the recorded times; offer and cancel when the recorded host did."""
    session = ModuleSession(channel=11, power=10)
    events: list[object] = []
    written = b""
    start_ms = int(recorded.lines[0][0] * 1000)
    session.start(start_ms)
    offered = cancelled = False
    for seconds, from_host, data in recorded.lines:
        now_ms = int(seconds * 1000)
        if from_host:
            if session.ready and session.can_take and not offered:
                offered = True
                payload = recorded.payload
                session.offer(recorded.offer, payload, now_ms)
            elif recorded.cancels and offered and session.can_take and not cancelled:
                cancelled = True
                session.cancel(recorded.offer.mac, now_ms)
        else:
            for start in range(0, len(data), slice_bytes):
                session.receive(data[start : start + slice_bytes], now_ms)
                events += session.events()
        written += session.bytes_to_send()
    return written, events


@pytest.mark.parametrize("slice_bytes", [1, 3, 10_000])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_session_writes_the_recorded_host_bytes(scenario: str, slice_bytes: int) -> None:
    recorded = transcript(scenario)
    written, events = replay(recorded, slice_bytes)
    assert written == recorded.host_bytes
    assert not [event for event in events if isinstance(event, Damage)]
    assert [type(event) for event in events if isinstance(event, ModuleReady | SdaAcked)] == [ModuleReady, SdaAcked]


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_session_reports_what_the_recorded_label_did(scenario: str) -> None:
    recorded = transcript(scenario)
    events = replay(recorded, 10_000)[1]
    served = [event for event in events if isinstance(event, BlockServed)]
    assert [event.block for event in served] == list(range(block_count(len(recorded.payload))))
    assert all(event.mac == recorded.offer.mac for event in served)
    assert any(isinstance(event, CxdAcked) for event in events) == recorded.cancels
    assert any(isinstance(event, TransferComplete) for event in events) != recorded.cancels
    check_ins = [event for event in events if isinstance(event, CheckIn)]
    assert check_ins[0].report is not None
    assert check_ins[0].report.battery_mv == 2987
    assert any(event.report is None for event in check_ins)


@pytest.mark.parametrize("scenario", ["tag_config", "zlib_image", "raw2bpp_image_4blocks"])
def test_recorded_payloads_are_named_by_their_md5(scenario: str) -> None:
    recorded = transcript(scenario)
    assert data_version(recorded.payload) == recorded.offer.data_ver
    assert len(recorded.payload) == recorded.offer.size_bytes
