"""A simulated ESP32-C6 radio module: the device's end of the serial wire, and the access point's end of the radio.

Told bytes and virtual time. Its patience (how long a label waits for a block), its table, its housekeeping and its answers are
those of the released firmware 001F; texts are reproduced because a host must survive them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Protocol

from drivers.sim.world import World
from protocols.oepl_wire import (
    ASK_INFO,
    BLOCK_BYTES,
    BLOCK_HEADER_BYTES,
    BLOCK_START,
    BLOCK_WIRE_BYTES,
    CANCEL,
    CHANNELS,
    FAST_BAUD,
    GO_FAST,
    NORMAL_BAUD,
    OFFER,
    PENDING_BYTES,
    PING,
    RESTART,
    SET_CHANNEL,
    TYPE_NONE,
    BlockRequest,
    CheckIn,
    DataVer,
    LabelReport,
    Mac,
    OfferExpired,
    PendingData,
    TransferComplete,
    block_count,
    checksum,
    printed,
)

CAPACITY = 250
HOUSEKEEPING_MS = 59_900
ACK_MIN_MS, ACK_MAX_MS = 15, 110  # the main loop sleeps up to 100 ms on the radio queue
PLEASE_WAIT_NEW_MS, PLEASE_WAIT_NEW_FAST_MS, PLEASE_WAIT_BUFFERED_MS = 550, 140, 30
BUSY_MS = 1200  # one label is served at a time
REPEAT_MS = 380  # the same full request sooner than this is taken for a radio repeat
HALF_BLOCK_MS = 1000  # silence after which a half-received payload is abandoned
SENDING_MS = 75  # 42 radio frames
BOOT_MS = 400
SPEED_CHANGE_MS = 100
PARTS = 42
PART_BYTES = 99

_COMMANDS = {PING: 0, ASK_INFO: 0, OFFER: PENDING_BYTES, CANCEL: PENDING_BYTES, RESTART: 0, GO_FAST: 0}


class Fetcher(Protocol):
    """The label's end of a transfer."""

    @property
    def mac(self) -> Mac:
        """Who asks."""

    def parts(self, at_ms: float, block: bytes | None) -> None:
        """The frames of the block came in: 4100 masked bytes, or None when the module had nothing whole to send."""

    def cancelled(self, at_ms: float) -> None:
        """The module will not serve it now."""


@dataclass(slots=True)
class _Transfer:
    fetcher: Fetcher
    data_ver: DataVer
    block: int
    size_bytes: int
    full: bool
    asked_ms: float  # when the host was asked
    number: int
    send_ms: float = 0.0  # when its parts go out


class SimModule:
    """One module. `host_bytes` feeds it; `take_output` empties what it wrote."""

    def __init__(
        self,
        world: World,
        mac: Mac,
        *,
        version: int = 0x001F,
        sub_ghz: bool = False,
        fast_ok: bool = True,
        lost_bytes: float = 0.0,
        chatter: float = 0.0,
        channel: int = 25,
        fixed_ack_ms: float | None = None,
    ) -> None:
        """`lost_bytes` is a chance per byte, both ways; `chatter` the chance of a debug line beside an answer."""
        self._world = world
        self.mac = mac
        self.name = printed(mac)
        self._version, self._sub_ghz, self._fast_ok = version, sub_ghz, fast_ok
        self.lost_bytes = lost_bytes
        self._chatter = chatter
        self._channel, self._power, self._sub_ghz_channel = channel, 10, 0
        self._fixed_ack_ms = fixed_ack_ms
        self._out = bytearray()
        self._life = 0
        self._up = True
        self._forget()
        world.at(world.now_ms + world.rng.uniform(0, HOUSEKEEPING_MS), self._housekeeping, self._life)

    def _forget(self) -> None:
        self.baud = NORMAL_BAUD
        self._table: dict[Mac, PendingData] = {}
        self._window = b""
        self._payload: bytearray | None = None
        self._expected_bytes = 0
        self._command = b""
        self._line_ms = 0.0  # arrival of the last byte
        self._done_ms = 0.0  # the last command's processing
        self._commands: list[tuple[bytes, bytes]] = []
        self._transfer: _Transfer | None = None
        self._transfers = 0
        self._buffer: bytes | None = None
        self._arriving: bytes | None = None
        self._served_mac: Mac | None = None
        self._served_ms = 0.0
        self._last_complete: Mac | None = None

    # ------------------------------------------------------------ for the shell
    def take_output(self) -> bytes:
        """What was written since the last call."""
        data = bytes(self._out)
        self._out.clear()
        return data

    @property
    def transferring(self) -> bool:
        """A label is fetching."""
        return self._transfer is not None and self._world.now_ms - self._served_ms < BUSY_MS

    @property
    def entries(self) -> int:
        """How full the table is."""
        return len(self._table)

    def reset(self, at_ms: float) -> None:
        """Lose everything and boot."""
        self._life += 1
        self._up = False
        self._world.release(id(self))
        self._forget()
        self._world.tell(at_ms, "module_reset", module=self.name)
        self._world.at(at_ms + BOOT_MS, self._booted, self._life)
        self._world.at(at_ms + BOOT_MS + HOUSEKEEPING_MS, self._housekeeping, self._life)

    def host_bytes(self, data: bytes, now_ms: float, baud: int = NORMAL_BAUD) -> None:
        """The host wrote this, at this speed, now; it arrives byte by byte at that speed."""
        byte_ms = 10_000 / baud
        start_ms = max(self._line_ms, now_ms)
        if not self._up or baud != self.baud:
            return  # nobody listens, or framing errors
        if self._payload is not None and start_ms - self._line_ms > HALF_BLOCK_MS:
            self._abandon()
        self._line_ms = start_ms + len(data) * byte_ms
        data = self._thinned(data)
        position = 0
        while position < len(data):
            if self._payload is not None:
                taken = data[position : position + self._expected_bytes - len(self._payload)]
                self._payload += taken
                position += len(taken)
                if len(self._payload) == self._expected_bytes:
                    self._payload_complete(start_ms + position * byte_ms)
                elif self._command == BLOCK_START:
                    self._world.at(self._line_ms + HALF_BLOCK_MS, self._half_block, len(self._payload))
            else:
                self._window = self._window[-3:] + data[position : position + 1]
                position += 1
                self._marker(start_ms + position * byte_ms)

    # ------------------------------------------------------------ for the labels
    @property
    def up(self) -> bool:
        """Answers labels."""
        return self._up

    def check_in(self, mac: Mac, report: LabelReport | None, at_ms: float) -> PendingData | None:
        """A label asks; it is answered from the table, and only then is the host told."""
        self._last_complete = None
        self._emit(CheckIn(mac, report).to_wire())
        return self._table.get(mac)

    def block_request(self, fetcher: Fetcher, data_ver: DataVer, block: int, size_bytes: int, *, full: bool, at_ms: float) -> float:
        """A label asks for a block of `size_bytes`, or (not `full`) for some of its parts again. Returns when it was heard."""
        mac = fetcher.mac
        if mac not in self._table or not self._up:
            fetcher.cancelled(at_ms)
            return at_ms
        if self._served_mac is not None and self._served_mac != mac and at_ms - self._served_ms < BUSY_MS:
            self._text("BUSY!")
            fetcher.cancelled(at_ms)
            return at_ms
        self._served_mac, self._served_ms = mac, at_ms
        last = self._transfer
        if last is not None and last.fetcher.mac == mac and (last.data_ver, last.block) == (data_ver, block):
            if not full:
                last.full = False
                self._send_later(last, at_ms + PLEASE_WAIT_BUFFERED_MS)
                return at_ms
            if at_ms - last.asked_ms <= REPEAT_MS:
                self._text("IGNORED")
                return last.asked_ms
            self._text("FORCED")
        return self._ask(fetcher, data_ver, block, size_bytes, at_ms)

    def transfer_complete(self, mac: Mac, at_ms: float) -> None:
        """A label says that it has everything."""
        if not self._up:
            return
        self._table.pop(mac, None)
        if self._transfer is not None and self._transfer.fetcher.mac == mac:
            self._transfer = None
            self._world.release(id(self))
        if self._last_complete != mac:
            self._last_complete = mac
            self._emit(TransferComplete(mac).to_wire())
            self._world.tell(at_ms, "xfc", module=self.name, label=printed(mac))

    # ------------------------------------------------------------ transfers
    def _ask(self, fetcher: Fetcher, data_ver: DataVer, block: int, size_bytes: int, at_ms: float) -> float:
        self._buffer = None  # its head is the scratch space of the request that goes out now
        self._emit(BlockRequest(fetcher.mac, data_ver, block).to_wire())
        detail = {"data_ver": data_ver.hex(), "block": block}
        self._world.tell(at_ms, "rqb" if block else "transfer_begins", module=self.name, label=printed(fetcher.mac), detail=detail)
        at_ms = self._world.hold(id(self), at_ms)
        self._served_ms = at_ms
        self._transfers += 1
        self._transfer = _Transfer(fetcher, data_ver, block, size_bytes, True, at_ms, self._transfers)
        self._send_later(self._transfer, at_ms + (PLEASE_WAIT_NEW_FAST_MS if self.baud == FAST_BAUD else PLEASE_WAIT_NEW_MS))
        return at_ms

    def _send_later(self, transfer: _Transfer, at_ms: float) -> None:
        transfer.send_ms = at_ms
        self._world.at(at_ms, self._send_parts, transfer.number)

    def _wait_on(self, at_ms: float) -> None:
        """The host may go on with its block. What passed until it can know of that is not taken from its time."""
        transfer = self._transfer
        if self._payload is None or transfer is None or transfer.send_ms < at_ms:
            return  # the block is here, or too late for this request
        late_ms = self._world.hold(id(self), at_ms) - at_ms
        if late_ms > 0:
            self._line_ms += late_ms  # it is no silence of the host's either
            self._transfers += 1
            transfer.number = self._transfers
            self._send_later(transfer, transfer.send_ms + late_ms)

    def _send_parts(self, at_ms: float, number: int) -> None:
        transfer = self._transfer
        if transfer is None or transfer.number != number:
            return
        wanted = -(-(transfer.size_bytes + BLOCK_HEADER_BYTES) // PART_BYTES) if transfer.full else 3
        self._text("Sending parts: " + _groups("X" * wanted + "." * (PARTS - wanted)))
        if self._command != BLOCK_START or self._payload is None:
            self._world.release(id(self))  # what comes now comes for the next request
        block = self._buffer
        self._world.at(at_ms + SENDING_MS, lambda sent_ms, _: transfer.fetcher.parts(sent_ms, block))

    def _block_arrived(self, _: float, life: int) -> None:
        if life == self._life:
            self._buffer = self._arriving
            self._world.release(id(self))

    def _half_block(self, at_ms: float, received: int) -> None:
        idle = at_ms - self._line_ms >= HALF_BLOCK_MS - 0.001
        if idle and self._command == BLOCK_START and self._payload is not None and len(self._payload) == received:
            self._abandon()

    def _abandon(self) -> None:
        self._payload = None
        if self._command == BLOCK_START:
            self._world.release(id(self))

    # ------------------------------------------------------------ commands
    def _marker(self, at_ms: float) -> None:
        window = self._window
        if window[-3:] == BLOCK_START:
            self._begin(BLOCK_START, BLOCK_WIRE_BYTES)
            self._queue(BLOCK_START, b"", at_ms)
            self._world.release(id(self))  # until the module answers, its host can do nothing
        elif window == SET_CHANNEL:
            self._begin(SET_CHANNEL, 4 if self._sub_ghz else 3)
        elif (size_bytes := _COMMANDS.get(window)) is not None:
            if size_bytes:
                self._begin(window, size_bytes)
            else:
                self._window = b""
                self._queue(window, b"", at_ms)

    def _begin(self, command: bytes, size_bytes: int) -> None:
        self._window = b""
        self._command = command
        self._payload = bytearray()
        self._expected_bytes = size_bytes

    def _payload_complete(self, at_ms: float) -> None:
        assert self._payload is not None
        data = bytes(self._payload)
        self._payload = None
        if self._command == BLOCK_START:
            self._arriving = data
            self._world.at(at_ms, self._block_arrived, self._life)
            self._world.release(id(self))  # the rest is the line's
        else:
            self._queue(self._command, data, at_ms)

    def _queue(self, command: bytes, payload: bytes, at_ms: float) -> None:
        latency_ms = self._world.rng.uniform(ACK_MIN_MS, ACK_MAX_MS) if self._fixed_ack_ms is None else self._fixed_ack_ms
        self._done_ms = max(self._done_ms, at_ms + latency_ms)
        self._commands.append((command, payload))
        self._world.at(self._done_ms, self._process, self._life)

    def _process(self, at_ms: float, life: int) -> None:
        if life != self._life:
            return
        command, payload = self._commands.pop(0)
        if self._world.rng.random() < self._chatter:
            self._text(f"dbg queue {len(self._table)}")
        if payload and checksum(payload) != payload[0]:
            self._emit(b"NOK>")
        elif command in (PING, RESTART, BLOCK_START):
            self._emit(b"ACK>")
            if command == BLOCK_START:
                self._wait_on(at_ms)
        elif command == ASK_INFO:
            self._emit(b"ACK>" + self._info())
        elif command == SET_CHANNEL:
            self._set_channel(payload)
        elif command == OFFER:
            self._offer(PendingData.from_wire(payload), at_ms)
        elif command == CANCEL:
            self._table.pop(PendingData.from_wire(payload).mac, None)
            self._emit(b"ACK>")
        elif command == GO_FAST and self._fast_ok:
            self._emit(b"ACK>")
            self._world.at(at_ms + SPEED_CHANGE_MS, self._speed_up, life)

    def _offer(self, pending: PendingData, at_ms: float) -> None:
        if pending.mac not in self._table and len(self._table) >= CAPACITY:
            self._emit(b"NOQ>")
            return
        self._table[pending.mac] = pending
        self._emit(b"ACK>")
        self._world.tell(at_ms, "sda", module=self.name, label=printed(pending.mac), detail={"data_ver": pending.data_ver.hex()})

    def _set_channel(self, payload: bytes) -> None:
        if payload[1] not in CHANNELS:
            self._emit(b"NOK>")
            return
        self._channel, self._power = payload[1], payload[2]
        if self._sub_ghz:
            self._sub_ghz_channel = payload[3]
        self._emit(b"ACK>")

    def _info(self) -> bytes:
        pending = sum(1 for entry in self._table.values() if entry.data_type != TYPE_NONE)
        sub_ghz = f"SCH>{self._sub_ghz_channel:03d}" if self._sub_ghz else ""
        text = (
            f"TYP>C6VER>{self._version:04X}MAC>{self.mac.hex().upper()}ZCH>{self._channel:02X}{sub_ghz}"
            f"ZPW>{self._power:02X}PEN>{pending:02X}NOP>{len(self._table) - pending:02X}"
        )
        return text.encode("ascii")

    def _speed_up(self, at_ms: float, life: int) -> None:
        if life == self._life:
            self.baud = FAST_BAUD
            self._world.at(at_ms + SPEED_CHANGE_MS, self._confirm_speed, life)

    def _confirm_speed(self, _: float, life: int) -> None:
        if life == self._life:
            self._emit(b"ACK>")

    # ------------------------------------------------------------ by itself
    def _booted(self, _: float, life: int) -> None:
        if life == self._life:
            self._up = True
            self._emit(b"RES>RDY>")

    def _housekeeping(self, at_ms: float, life: int) -> None:
        if life != self._life:
            return
        for mac, entry in list(self._table.items()):
            if entry.lifetime_min <= 1:
                del self._table[mac]
                if entry.data_type != TYPE_NONE:
                    self._emit(OfferExpired(mac).to_wire())
                    self._world.tell(at_ms, "xto", module=self.name, label=printed(mac))
            else:
                self._table[mac] = replace(entry, lifetime_min=entry.lifetime_min - 1, next_check_in=max(0, entry.next_check_in - 1))
        self._world.at(at_ms + HOUSEKEEPING_MS, self._housekeeping, life)

    def _text(self, line: str) -> None:
        self._emit(line.encode("ascii") + b"\n\r")

    def _emit(self, data: bytes) -> None:
        if self._up:
            self._out += self._thinned(data)

    def _thinned(self, data: bytes) -> bytes:
        """Less the bytes that the line lost."""
        chance = self.lost_bytes
        if not chance:
            return data
        kept = bytearray()
        start = 0
        while True:
            gap = int(math.log(1 - self._world.rng.random()) / math.log(1 - chance)) if chance < 1 else 0  # bytes up to the next loss
            kept += data[start : start + gap]
            start += gap + 1
            if start > len(data):
                return bytes(kept)


def _groups(marks: str) -> str:
    return " ".join(marks[start : start + 10] for start in range(0, len(marks), 10))


def block_size(size_bytes: int, block: int) -> int:
    """Bytes of a payload's block."""
    return BLOCK_BYTES if block < block_count(size_bytes) - 1 else size_bytes - block * BLOCK_BYTES
