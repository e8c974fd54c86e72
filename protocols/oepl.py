"""The host's side of an OpenEPaperLink radio module: one session on one serial line, told bytes and link time.

`ModuleSession` greets the module, sets its channel, announces payloads (SDA), withdraws them (CXD) and answers block requests. The
module's replies never say which command they answer, so one command is in flight at a time. A block request goes before
everything else: at 115200 baud a label leaves the host about 80 ms.

A reply that may belong to another command is not believed: after a retry the line is left quiet until a late reply would have come,
and a command that shared the line with a block request counts only when both were answered.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum, auto
from typing import assert_never

from protocols.oepl_events import (
    BlockAsked,
    BlockServed,
    CxdAcked,
    ModuleInfo,
    ModuleLost,
    ModuleReady,
    ModuleReset,
    SdaAcked,
    SdaRefused,
    SessionEvent,
    SetupRefused,
    UnknownBlockAsked,
    WrongModule,
)
from protocols.oepl_wire import (
    ASK_INFO,
    BLOCK_BYTES,
    BLOCK_START,
    CANCEL,
    CHANNELS,
    FAST_BAUD,
    GO_FAST,
    NORMAL_BAUD,
    OFFER,
    PAYLOAD_BYTES_MAX,
    PING,
    SET_CHANNEL,
    Ack,
    BlockRequest,
    CheckIn,
    Damage,
    DataVer,
    InfoField,
    Mac,
    Message,
    Nok,
    Noq,
    OfferExpired,
    Parser,
    PendingData,
    Ready,
    Restarted,
    ReturnData,
    TransferComplete,
    block_count,
    block_to_wire,
    channel_setup,
)

ACK_TIMEOUT_MS = 300  # C6 modules answer in 15 to 115 ms, measured: their main loop sleeps up to 100 ms on the radio queue
TRIES_MAX = 5  # as the stock access point
RETRY_PAUSE_MS = 50  # after NOK: lets the rest of a half-read command pass as junk
KEEP_ALIVE_MS = 30_000  # silence after which the module is asked whether it lives, as the stock access point
PAYLOAD_GAP_MS = 1000  # C6 modules give up a half-received payload after this silence, and so do we
SPEED_SETTLE_MS = 10  # after the first ACK of HSPD the module still sends at the old speed for ~100 ms
SPEED_CONFIRM_MS = 500  # its second ACK comes ~200 ms after the first
PROBE_PAUSE_MS = 1000  # between rounds over both speeds when nobody answers
BLOCK_MARGIN_MS = 150  # after the last byte of a block; nRF52811 modules send one more ACK then, nobody's answer, as slowly as any
HSPD_FIRST_VERSION = 0x18
HSPD_HARDWARE = (0xC6, 0xC2)
_BITS_PER_BYTE = 10  # 8N1


class _Phase(Enum):
    GREETING = auto()
    ASKING = auto()
    SETTING_UP = auto()
    SPEEDING_UP = auto()  # HSPD sent, first ACK awaited
    SWITCHING = auto()  # at the new speed, second ACK awaited
    READY = auto()
    STOPPED = auto()


@dataclass(slots=True)
class _Command:
    wire: bytes
    pending: PendingData | None = None  # of SDA and CXD
    tries: int = 0
    answered: bool = False  # its ACK came while a block was on the line too: believed when that is answered


@dataclass(slots=True)
class _BlockJob:
    mac: Mac
    data_ver: DataVer
    block: int
    data: bytes
    sent: bool = False


class ModuleSession:
    """One session, from the opening of the port to its closing. All times are link (real) milliseconds.

    The caller writes `bytes_to_send()` at `baud`, and calls `receive` before `handle_timer` when both are due.
    """

    def __init__(
        self,
        *,
        channel: int = 11,
        power: int = 10,
        sub_ghz_channel: int = 0,
        fast: bool = False,
        expected_mac: Mac | None = None,
    ) -> None:
        """`fast` asks a C6/H2 module for 2 Mbaud. Raises ValueError for a channel that no module takes."""
        if channel not in CHANNELS:
            raise ValueError(f"channel {channel} is not one of {', '.join(map(str, CHANNELS))}")
        self._channel, self._power, self._sub_ghz_channel = channel, power, sub_ghz_channel
        self._fast = fast
        self._expected_mac = expected_mac
        self._parser = Parser()
        self._phase = _Phase.GREETING
        self._events: list[SessionEvent] = []
        self._out = bytearray()
        self._queue: deque[_Command] = deque()
        self._in_flight: _Command | None = None
        self._block: _BlockJob | None = None
        self._reply_by_ms: int | None = None  # for what is in flight, block included
        self._quiet_until_ms = 0
        self._line_free_ms = 0.0  # when all that was written has left at the current speed
        self._heard_ms = 0
        self._keep_alive_at_ms = 0
        self._switch_at_ms: int | None = None
        self._fields: dict[str, int] = {}
        self._offered: dict[Mac, tuple[PendingData, bytes]] = {}
        self._complained = False
        self.baud = NORMAL_BAUD
        self.info: ModuleInfo | None = None

    # ------------------------------------------------------------ for the caller
    @property
    def ready(self) -> bool:
        """Greeted and set up: `offer` and `cancel` may be called."""
        return self._phase is _Phase.READY

    @property
    def stopped(self) -> bool:
        """Nothing more will happen; close the port."""
        return self._phase is _Phase.STOPPED

    @property
    def can_take(self) -> bool:
        """Ready, and nothing waits or is in flight: a command given now goes out next."""
        return self.ready and self._in_flight is None and self._block is None and not self._queue

    @property
    def deadline_ms(self) -> int | None:
        """When `handle_timer` is due; None when only bytes can change anything."""
        times = []
        if self._phase is _Phase.STOPPED:
            return None
        if self._switch_at_ms is not None:
            times.append(self._switch_at_ms)
        if self._reply_by_ms is not None:
            times.append(self._reply_by_ms)
        elif self._queue:
            times.append(self._quiet_until_ms)
        elif self._phase is _Phase.READY:
            times.append(self._keep_alive_at_ms)
        if self._parser.unfinished:
            times.append(self._heard_ms + PAYLOAD_GAP_MS)
        return min(times, default=None)

    def start(self, now_ms: int) -> None:
        """The port is open and its buffers are empty: greet."""
        self._heard_ms = now_ms
        self._line_free_ms = float(now_ms)
        self._greet(now_ms)

    def offer(self, pending: PendingData, payload: bytes, now_ms: int) -> None:
        """Announce a payload; it replaces what was announced for the label. Answered by `SdaAcked` or `SdaRefused`."""
        if not self.ready or len(payload) > PAYLOAD_BYTES_MAX:
            raise ValueError("offered to a module that is not ready, or more than it can carry")
        self._offered[pending.mac] = (pending, payload)
        self._queue.append(_Command(OFFER + pending.to_wire(), pending))
        self._send_next(now_ms)

    def cancel(self, mac: Mac, now_ms: int) -> None:
        """Withdraw whatever is offered to the label. Answered by `CxdAcked`."""
        if not self.ready:
            raise ValueError("a module that is not ready has nothing to cancel")
        pending, _ = self._offered.pop(mac, (PendingData(mac), b""))
        self._queue.append(_Command(CANCEL + pending.to_wire(), pending))
        self._send_next(now_ms)

    def receive(self, data: bytes, now_ms: int) -> None:
        """Bytes from the module, in any slicing."""
        if self._phase is _Phase.STOPPED:
            return
        if self._parser.unfinished and now_ms - self._heard_ms > PAYLOAD_GAP_MS:
            self._take(self._parser.abandon(), now_ms)
        self._heard_ms = now_ms
        self._keep_alive_at_ms = now_ms + KEEP_ALIVE_MS
        self._take(self._parser.feed(data), now_ms)
        self._send_next(now_ms)

    def handle_timer(self, now_ms: int) -> None:
        """Does what is due; harmless when nothing is."""
        if self._phase is _Phase.STOPPED:
            return
        if self._parser.unfinished and now_ms - self._heard_ms >= PAYLOAD_GAP_MS:
            self._take(self._parser.abandon(), now_ms)
        if self._switch_at_ms is not None and now_ms >= self._switch_at_ms:
            self._switch_at_ms = None
            self.baud = FAST_BAUD
        if self._reply_by_ms is not None and now_ms >= self._reply_by_ms:
            self._reply_missing(now_ms)
        elif self.can_take and now_ms >= self._keep_alive_at_ms:
            self._queue.append(_Command(PING))
        self._send_next(now_ms)

    def bytes_to_send(self) -> bytes:
        """What is to be written now, once."""
        data = bytes(self._out)
        self._out.clear()
        return data

    def events(self) -> list[SessionEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------ what the module said
    def _take(self, messages: list[Message], now_ms: int) -> None:
        for message in messages:
            match message:
                case Ack():
                    self._on_ack(now_ms)
                case Nok():
                    self._on_nok(now_ms)
                case Noq():
                    self._on_noq()
                case Restarted():
                    self._on_restart(now_ms)
                case Ready():
                    pass
                case InfoField():
                    self._on_info(message, now_ms)
                case BlockRequest():
                    self._on_block_request(message, now_ms)
                case TransferComplete() | OfferExpired():
                    self._offered.pop(message.mac, None)
                    self._events.append(message)
                case Damage():
                    self._events.append(message)
                    if self.baud == FAST_BAUD and self._phase is _Phase.READY:
                        # A module that restarts falls back to the slow speed and its greeting is garbage here: ask soon.
                        self._keep_alive_at_ms = now_ms
                case CheckIn() | ReturnData():
                    self._events.append(message)
                case _:
                    assert_never(message)
            if self._phase is _Phase.STOPPED:
                return

    def _on_ack(self, now_ms: int) -> None:
        command, block = self._in_flight, self._block
        if self._phase is _Phase.SWITCHING:
            self._reply_by_ms = None
            self._switch_at_ms = None
            self.baud = FAST_BAUD  # in a simulated store whose time runs fast the second ACK comes before we have switched
            self._become_ready()
        elif self._phase is _Phase.ASKING:
            pass  # the fields that follow are the answer: they cannot be mistaken for another command's
        elif command is not None and not command.answered:
            command.answered = True
            if block is None or not block.sent:
                self._command_done(command, now_ms)
        elif block is not None and block.sent:
            self._write(block_to_wire(block.data), now_ms)
            self._quiet_until_ms = int(self._line_free_ms) + BLOCK_MARGIN_MS
            self._block = None
            self._reply_by_ms = None
            self._events.append(BlockServed(block.mac, block.data_ver, block.block))
            if command is not None:
                self._command_done(command, now_ms)

    def _command_done(self, command: _Command, now_ms: int) -> None:
        self._in_flight = None
        self._reply_by_ms = None
        if command.tries > 1:
            self._quiet_until_ms = max(self._quiet_until_ms, now_ms + ACK_TIMEOUT_MS)  # an earlier try's answer may still come
        match self._phase:
            case _Phase.GREETING:
                self._phase = _Phase.ASKING
                self._fields.clear()
                self._queue.append(_Command(ASK_INFO))
            case _Phase.SETTING_UP:
                assert self.info is not None
                if (
                    self._fast
                    and self.baud == NORMAL_BAUD
                    and self.info.hw_type in HSPD_HARDWARE
                    and self.info.version >= HSPD_FIRST_VERSION
                ):
                    self._phase = _Phase.SPEEDING_UP
                    self._queue.append(_Command(GO_FAST))
                else:
                    self._become_ready()
            case _Phase.SPEEDING_UP:
                self._phase = _Phase.SWITCHING
                self._switch_at_ms = now_ms + SPEED_SETTLE_MS
                self._reply_by_ms = now_ms + SPEED_CONFIRM_MS
            case _Phase.READY:
                if command.pending is not None:
                    self._table_changed(command, command.pending)
            case _Phase.ASKING | _Phase.SWITCHING | _Phase.STOPPED:
                pass  # no command of these phases ends here
            case _:
                assert_never(self._phase)

    def _table_changed(self, command: _Command, pending: PendingData) -> None:
        if command.wire.startswith(OFFER):
            self._events.append(SdaAcked(pending.mac, pending.data_ver))
        else:
            self._events.append(CxdAcked(pending.mac))

    def _on_nok(self, now_ms: int) -> None:
        command = self._in_flight
        if command is None or command.answered:
            return
        if self._phase is _Phase.SETTING_UP and command.tries >= TRIES_MAX:
            self._events.append(SetupRefused(self._channel))
            self._phase = _Phase.STOPPED
            return
        self._again(command, now_ms, RETRY_PAUSE_MS)

    def _on_noq(self) -> None:
        command = self._in_flight
        if command is None or command.answered or command.pending is None or not command.wire.startswith(OFFER):
            return
        self._in_flight = None
        if self._block is None or not self._block.sent:
            self._reply_by_ms = None
        offered = self._offered.get(command.pending.mac)
        if offered is not None and offered[0] == command.pending:
            del self._offered[command.pending.mac]
        self._events.append(SdaRefused(command.pending.mac, command.pending.data_ver))

    def _on_restart(self, now_ms: int) -> None:
        self._events.append(ModuleReset())
        self._offered.clear()
        if self._phase is _Phase.GREETING and self._in_flight is not None:
            return  # it came up while it was being greeted: the greeting under way is repeated until it is heard
        self.baud = NORMAL_BAUD
        self._greet(now_ms)

    def _on_info(self, field: InfoField, now_ms: int) -> None:
        if self._phase is not _Phase.ASKING:
            return
        self._fields[field.marker] = field.value
        if field.marker != "NOP" or not {"TYP", "VER", "MAC", "ZCH", "ZPW", "PEN"} <= self._fields.keys():
            return
        fields = self._fields
        mac = Mac(fields["MAC"].to_bytes(8, "little"))
        self.info = ModuleInfo(
            fields["TYP"], fields["VER"], mac, fields["ZCH"], fields.get("SCH"), fields["ZPW"], fields["PEN"], fields["NOP"]
        )
        self._in_flight = None
        self._reply_by_ms = None
        if self._expected_mac is not None and mac != self._expected_mac:
            self._events.append(WrongModule(mac, self._expected_mac))
            self._phase = _Phase.STOPPED
            return
        self._phase = _Phase.SETTING_UP
        four_bytes = self._sub_ghz_channel if "SCH" in fields else None
        self._queue.append(_Command(SET_CHANNEL + channel_setup(self._channel, self._power, four_bytes)))
        self._send_next(now_ms)

    def _on_block_request(self, request: BlockRequest, now_ms: int) -> None:
        if not self.ready:
            return
        pending, payload = self._offered.get(request.mac, (None, b""))
        if pending is None or pending.data_ver != request.data_ver or not payload:
            if not any(command.pending is not None and command.pending.mac == request.mac for command in self._queue):
                self._offered.pop(request.mac, None)
                self._queue.append(_Command(CANCEL + PendingData(request.mac).to_wire(), PendingData(request.mac)))
            self._events.append(UnknownBlockAsked(request.mac, request.data_ver))
            return
        block = min(request.block, block_count(len(payload)) - 1)
        data = payload[block * BLOCK_BYTES : (block + 1) * BLOCK_BYTES]
        sent = self._block is not None and self._block.sent  # the start marker names no block: the latest request is served
        self._block = _BlockJob(request.mac, request.data_ver, block, data, sent)
        self._events.append(BlockAsked(request.mac, request.data_ver, block))
        self._send_next(now_ms)

    # ------------------------------------------------------------ what goes out
    def _send_next(self, now_ms: int) -> None:
        if self._block is not None:
            if not self._block.sent:
                self._block.sent = True
                self._write(BLOCK_START, now_ms)
                self._reply_by_ms = int(self._line_free_ms) + ACK_TIMEOUT_MS
            return
        if self._in_flight is not None or not self._queue or now_ms < self._quiet_until_ms:
            return
        if self._phase is _Phase.SWITCHING or self._phase is _Phase.STOPPED:
            return
        command = self._queue.popleft()
        command.tries += 1
        command.answered = False
        self._in_flight = command
        self._write(command.wire, now_ms)
        self._reply_by_ms = int(self._line_free_ms) + ACK_TIMEOUT_MS

    def _write(self, data: bytes, now_ms: int) -> None:
        self._out += data
        self._line_free_ms = max(self._line_free_ms, float(now_ms)) + len(data) * _BITS_PER_BYTE * 1000 / self.baud

    def _reply_missing(self, now_ms: int) -> None:
        self._reply_by_ms = None
        if self._phase is _Phase.SWITCHING:
            self._greet(now_ms)  # at the new speed; the old one is tried when nobody answers
            return
        pause_ms = 0
        if self._block is not None:
            # Only the label's next request can repeat this. The module may be waiting for the bytes: feed it nothing meanwhile.
            self._block = None
            pause_ms = PAYLOAD_GAP_MS
        if self._in_flight is not None:
            self._again(self._in_flight, now_ms, pause_ms)
        self._quiet_until_ms = max(self._quiet_until_ms, now_ms + pause_ms)

    def _again(self, command: _Command, now_ms: int, pause_ms: int) -> None:
        self._in_flight = None
        if self._block is None or not self._block.sent:
            self._reply_by_ms = None
        if command.tries < TRIES_MAX:
            self._queue.appendleft(command)
            self._quiet_until_ms = max(self._quiet_until_ms, now_ms + pause_ms)
            return
        match self._phase:
            case _Phase.GREETING:
                self._try_other_speed(now_ms)
            case _Phase.SPEEDING_UP:
                self._become_ready()  # a build that does not know the command; the slow speed serves
            case _:
                self._lost(f"no usable answer to {command.wire[:4].decode('ascii')} in {TRIES_MAX} tries", now_ms)

    def _try_other_speed(self, now_ms: int) -> None:
        # A module stays fast until it is reset, and a computer usually cannot reset it.
        if self.baud == FAST_BAUD and not self._complained:
            self._complained = True
            self._events.append(ModuleLost(f"no module answers at {NORMAL_BAUD} or {FAST_BAUD} baud"))
        self.baud = FAST_BAUD if self.baud == NORMAL_BAUD else NORMAL_BAUD
        self._greet(now_ms, pause_ms=PROBE_PAUSE_MS if self.baud == NORMAL_BAUD else 0)

    def _lost(self, reason: str, now_ms: int) -> None:
        self._complained = True
        self._events.append(ModuleLost(reason))
        self._offered.clear()
        self._greet(now_ms)

    def _greet(self, now_ms: int, pause_ms: int = 0) -> None:
        self._phase = _Phase.GREETING
        self._queue.clear()
        self._in_flight = None
        self._block = None
        self._reply_by_ms = None
        self._switch_at_ms = None
        self._quiet_until_ms = now_ms + pause_ms
        self._queue.append(_Command(PING))
        self._send_next(now_ms)

    def _become_ready(self) -> None:
        assert self.info is not None
        self._phase = _Phase.READY
        self._complained = False
        self._events.append(ModuleReady(self.info))
