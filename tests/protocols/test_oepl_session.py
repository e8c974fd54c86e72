from __future__ import annotations

import pytest

from protocols.oepl import ACK_TIMEOUT_MS, KEEP_ALIVE_MS, ModuleSession
from protocols.oepl_events import (
    BlockAsked,
    BlockServed,
    CxdAcked,
    ModuleLost,
    ModuleReady,
    ModuleReset,
    SdaAcked,
    SdaRefused,
    SessionEvent,
    SetupRefused,
    UnknownBlockAsked,
    WrongModule,
    describe,
)
from protocols.oepl_wire import FAST_BAUD, NORMAL_BAUD, BlockRequest, CheckIn, Mac, PendingData, data_version, mac_from_text

MAC = mac_from_text("0000060504030201")
OTHER = mac_from_text("0000060504030299")
MODULE = "1122334455660000"
PAYLOAD = bytes(range(256)) * 20


def info(version: int = 0x1F, sub_ghz: str = "", mac: str = MODULE, hardware: str = "C6") -> bytes:
    return f"ACK>TYP>{hardware}VER>{version:04X}MAC>{mac}ZCH>19{sub_ghz}ZPW>0APEN>00NOP>00".encode("ascii")


def pending(mac: Mac = MAC, payload: bytes = PAYLOAD) -> PendingData:
    return PendingData(mac, data_version(payload), len(payload), 0x20, 0, 0, 20)


class Line:
    """A session and the clock it is told."""

    def __init__(self, session: ModuleSession) -> None:
        self.session = session
        self.now_ms = 1000
        self.events: list[SessionEvent] = []
        session.start(self.now_ms)

    def hear(self, data: bytes, after_ms: int = 20) -> bytes:
        self.now_ms += after_ms
        self.session.receive(data, self.now_ms)
        return self.written()

    def wait(self, duration_ms: int) -> bytes:
        """Let timers fire as they come due; what was written meanwhile."""
        end_ms = self.now_ms + duration_ms
        written = b""
        while (deadline_ms := self.session.deadline_ms) is not None and deadline_ms <= end_ms:
            self.now_ms = max(self.now_ms, deadline_ms)
            self.session.handle_timer(self.now_ms)
            written += self.written()
        self.now_ms = end_ms
        return written

    def written(self) -> bytes:
        self.events += self.session.events()
        return self.session.bytes_to_send()

    def offer(self, mac: Mac = MAC, payload: bytes = PAYLOAD) -> bytes:
        self.session.offer(pending(mac, payload), payload, self.now_ms)
        return self.written()

    def of(self, kind: type[SessionEvent]) -> list[SessionEvent]:
        return [event for event in self.events if isinstance(event, kind)]


def ready_line(*, quiet: bool = True) -> Line:
    line = Line(ModuleSession())
    assert line.written() == b"RDY?"
    assert line.hear(b"ACK>") == b"NFO?"
    assert line.hear(info()) == b"SCP>\x15\x0b\x0a"
    assert line.hear(b"ACK>") == b""
    assert line.session.can_take is quiet
    return line


def test_start_up_asks_who_it_is_before_setting_the_channel() -> None:
    line = ready_line()
    (event,) = line.of(ModuleReady)
    assert isinstance(event, ModuleReady)
    assert describe(event.info, NORMAL_BAUD) == "ESP32-C6/H2 module 0000665544332211, version 001F, 115200 baud"


def test_a_build_that_reports_a_sub_ghz_channel_gets_four_bytes() -> None:
    line = Line(ModuleSession())
    line.hear(b"ACK>")
    assert line.hear(info(sub_ghz="SCH>255")) == b"SCP>\x15\x0b\x0a\x00"


def test_the_newline_dialect_of_other_modules_is_understood() -> None:
    line = Line(ModuleSession())
    assert line.hear(b"ACK>\n") == b"RDY?NFO?"
    fields = info(hardware="FF").replace(b"ACK>", b"ACK>\n")
    for marker in (b"VER", b"MAC", b"ZCH", b"ZPW", b"PEN", b"NOP"):
        fields = fields.replace(marker + b">", b"\n" + marker + b">")
    assert line.hear(fields + b"\n").startswith(b"SCP>")


def test_another_module_than_the_configured_one_stops_the_session() -> None:
    line = Line(ModuleSession(expected_mac=OTHER))
    line.hear(b"ACK>")
    assert line.hear(info()) == b""
    assert line.of(WrongModule) == [WrongModule(mac_from_text("0000665544332211"), OTHER)]
    assert line.session.stopped
    assert line.session.deadline_ms is None


def test_a_refused_channel_stops_the_session_after_five_tries() -> None:
    line = Line(ModuleSession())
    line.hear(b"ACK>")
    line.hear(info())
    for _ in range(5):
        line.hear(b"NOK>")
        line.wait(100)
    assert line.of(SetupRefused) == [SetupRefused(11)]
    assert line.session.stopped


def test_a_channel_that_no_module_takes_is_an_error_at_once() -> None:
    with pytest.raises(ValueError, match="channel 12"):
        ModuleSession(channel=12)


def test_a_silent_line_is_tried_at_both_speeds_for_ever_and_complained_of_once() -> None:
    line = Line(ModuleSession())
    speeds = []
    for _ in range(200):
        if line.wait(100):
            speeds.append(line.session.baud)
    assert speeds[:4] == [NORMAL_BAUD] * 4
    assert FAST_BAUD in speeds
    assert speeds[-1:] != []
    assert line.of(ModuleLost) == [ModuleLost("no module answers at 115200 or 2000000 baud")]


def test_a_module_left_at_the_fast_speed_is_found_there() -> None:
    line = Line(ModuleSession())
    while line.session.baud == NORMAL_BAUD:
        line.wait(100)
    assert line.hear(b"ACK>").endswith(b"NFO?")
    line.hear(info())
    line.hear(b"ACK>")
    line.wait(500)
    assert line.session.ready
    assert line.session.baud == FAST_BAUD


def test_the_fast_speed_is_confirmed_before_it_is_used() -> None:
    line = Line(ModuleSession(fast=True))
    line.hear(b"ACK>")
    line.hear(info())
    assert line.hear(b"ACK>") == b"HSPD"
    assert line.hear(b"ACK>") == b""
    assert line.session.baud == NORMAL_BAUD
    line.wait(50)
    assert line.session.baud == FAST_BAUD
    assert not line.session.ready
    line.hear(b"ACK>", 150)
    assert line.session.ready


def test_a_module_too_old_for_the_fast_speed_is_used_at_the_slow_one() -> None:
    line = Line(ModuleSession(fast=True))
    line.hear(b"ACK>")
    line.hear(info(version=0x17))
    assert line.hear(b"ACK>") == b""
    assert line.session.ready
    ignorant = Line(ModuleSession(fast=True))
    ignorant.hear(b"ACK>")
    ignorant.hear(info())
    ignorant.hear(b"ACK>")
    ignorant.wait(5 * ACK_TIMEOUT_MS + 10)
    assert ignorant.session.ready
    assert ignorant.session.baud == NORMAL_BAUD


def test_a_speed_change_that_is_not_confirmed_starts_over_at_both_speeds() -> None:
    line = Line(ModuleSession(fast=True))
    line.hear(b"ACK>")
    line.hear(info())
    line.hear(b"ACK>")
    line.hear(b"ACK>")
    assert line.wait(600) == b"RDY?"
    assert line.session.baud == FAST_BAUD
    line.wait(5 * ACK_TIMEOUT_MS + 10)
    assert line.session.baud == NORMAL_BAUD


def test_a_stale_acknowledgement_in_the_buffer_does_not_shift_the_answers() -> None:
    line = Line(ModuleSession())
    assert line.hear(b"ACK>ACK>") == b"RDY?NFO?"
    assert line.hear(info()).startswith(b"SCP>")
    assert not line.session.ready
    line.hear(b"ACK>")
    assert line.session.ready


def test_one_command_is_in_flight_at_a_time() -> None:
    line = ready_line()
    assert line.offer() == b"SDA>" + pending().to_wire()
    line.session.cancel(OTHER, line.now_ms)
    assert line.written() == b""
    assert line.hear(b"ACK>") == b"CXD>" + PendingData(OTHER).to_wire()
    line.hear(b"ACK>")
    assert line.events[-2:] == [SdaAcked(MAC, data_version(PAYLOAD)), CxdAcked(OTHER)]


def test_an_unanswered_command_is_tried_five_times_and_then_the_module_is_lost() -> None:
    line = ready_line()
    wire = line.offer()
    written = line.wait(4 * ACK_TIMEOUT_MS + 50)
    assert written == 4 * wire
    assert line.wait(ACK_TIMEOUT_MS) == b"RDY?"
    assert line.of(ModuleLost) == [ModuleLost("no usable answer to SDA> in 5 tries")]
    assert not line.session.ready


def test_a_late_answer_of_an_earlier_try_does_not_acknowledge_the_next_command() -> None:
    line = ready_line()
    wire = line.offer()
    assert line.wait(ACK_TIMEOUT_MS + 10) == wire
    line.hear(b"ACK>", 5)  # of the first try
    line.session.cancel(OTHER, line.now_ms)
    assert line.written() == b""
    assert line.hear(b"ACK>", 100) == b""  # of the second: nobody's
    assert line.wait(ACK_TIMEOUT_MS).startswith(b"CXD>")
    assert line.of(CxdAcked) == []


def test_a_command_refused_for_its_checksum_is_sent_again() -> None:
    line = ready_line()
    wire = line.offer()
    line.hear(b"NOK>")
    assert line.wait(60) == wire
    line.hear(b"ACK>")
    assert line.of(SdaAcked) == [SdaAcked(MAC, data_version(PAYLOAD))]


def test_a_full_table_is_reported_and_the_payload_forgotten() -> None:
    line = ready_line()
    line.offer()
    line.hear(b"NOQ>")
    assert line.of(SdaRefused) == [SdaRefused(MAC, data_version(PAYLOAD))]
    assert line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire()).startswith(b"CXD>")


def offered_line() -> Line:
    line = ready_line()
    line.offer()
    line.hear(b"ACK>")
    return line


def test_a_block_is_sent_only_after_its_acknowledgement() -> None:
    line = offered_line()
    assert line.hear(BlockRequest(MAC, data_version(PAYLOAD), 1).to_wire()) == b">D>"
    assert line.of(BlockServed) == []
    data = line.hear(b"ACK>")
    assert len(data) == 4132
    assert line.events[-2:] == [BlockAsked(MAC, data_version(PAYLOAD), 1), BlockServed(MAC, data_version(PAYLOAD), 1)]


def test_a_block_beyond_the_last_is_answered_with_the_last() -> None:
    line = offered_line()
    line.hear(BlockRequest(MAC, data_version(PAYLOAD), 9).to_wire())
    assert line.of(BlockAsked) == [BlockAsked(MAC, data_version(PAYLOAD), 1)]


def test_a_block_request_goes_before_waiting_commands() -> None:
    line = offered_line()
    line.session.offer(pending(OTHER), PAYLOAD, line.now_ms)
    line.session.cancel(OTHER, line.now_ms)
    line.written()
    assert line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire()) == b">D>"
    assert line.hear(b"ACK>") == b""  # answers the announcement that was on the line before
    assert len(line.hear(b"ACK>")) == 4132
    assert line.of(SdaAcked)[-1] == SdaAcked(OTHER, data_version(PAYLOAD))
    assert line.of(CxdAcked) == []


def test_a_command_that_shared_the_line_with_an_unanswered_block_is_not_believed_but_repeated() -> None:
    line = offered_line()
    line.session.offer(pending(OTHER), PAYLOAD, line.now_ms)
    line.written()
    line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire())
    line.hear(b"ACK>")
    assert line.wait(1400) == b"SDA>" + pending(OTHER).to_wire()
    assert SdaAcked(OTHER, data_version(PAYLOAD)) not in line.events


def test_an_unanswered_block_start_is_not_repeated_and_nothing_is_fed_into_it() -> None:
    line = offered_line()
    line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire())
    line.session.cancel(OTHER, line.now_ms)
    assert line.wait(1200) == b""
    assert line.wait(200).startswith(b"CXD>")
    assert line.of(BlockServed) == []


def test_one_more_acknowledgement_behind_a_block_answers_nothing() -> None:
    line = offered_line()
    line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire())
    line.hear(b"ACK>")
    line.session.offer(pending(OTHER), PAYLOAD, line.now_ms)
    assert line.hear(b"ACK>\n", 380) == b""
    assert line.wait(200).startswith(b"SDA>")
    assert line.of(SdaAcked) == [SdaAcked(MAC, data_version(PAYLOAD))]


def test_the_latest_of_two_requests_is_served() -> None:
    line = offered_line()
    line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire())
    assert line.hear(BlockRequest(MAC, data_version(PAYLOAD), 1).to_wire()) == b""
    line.hear(b"ACK>")
    assert line.of(BlockServed) == [BlockServed(MAC, data_version(PAYLOAD), 1)]


def test_a_request_for_an_unknown_payload_is_cancelled_once() -> None:
    line = offered_line()
    unknown = BlockRequest(OTHER, data_version(PAYLOAD), 0).to_wire()
    assert line.hear(unknown) == b"CXD>" + PendingData(OTHER).to_wire()
    line.hear(b"ACK>")
    assert line.of(UnknownBlockAsked) == [UnknownBlockAsked(OTHER, data_version(PAYLOAD))]
    assert line.of(CxdAcked) == [CxdAcked(OTHER)]


def test_silence_is_answered_by_a_ping_and_chatter_is_not() -> None:
    line = ready_line()
    assert line.wait(KEEP_ALIVE_MS - 1000) == b""
    line.hear(CheckIn(MAC, None).to_wire())
    assert line.wait(KEEP_ALIVE_MS - 1000) == b""
    assert line.wait(2000).startswith(b"RDY?")


def test_a_restart_forgets_everything_and_greets_again() -> None:
    line = offered_line()
    line.session.offer(pending(OTHER), PAYLOAD, line.now_ms)
    line.written()
    assert line.hear(b"\n\rboot text\n\rRES>RDY>") == b"RDY?"
    assert line.of(ModuleReset) == [ModuleReset()]
    assert not line.session.ready
    line.hear(b"ACK>")
    line.hear(info())
    line.hear(b"ACK>")
    assert len(line.of(ModuleReady)) == 2
    assert line.hear(BlockRequest(MAC, data_version(PAYLOAD), 0).to_wire()).startswith(b"CXD>")


def test_half_a_message_followed_by_silence_swallows_nothing() -> None:
    line = ready_line()
    line.hear(CheckIn(MAC, None).to_wire()[:-7])
    line.wait(1500)
    line.offer()
    line.hear(b"ACK>")
    assert line.of(SdaAcked) == [SdaAcked(MAC, data_version(PAYLOAD))]


def test_commands_to_a_module_that_is_not_ready_are_our_own_bug() -> None:
    session = ModuleSession()
    with pytest.raises(ValueError):
        session.offer(pending(), PAYLOAD, 0)
    with pytest.raises(ValueError):
        session.cancel(MAC, 0)
