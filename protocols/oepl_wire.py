"""OpenEPaperLink radio module, serial wire: markers, struct layouts and the parser of what a module says.

A message is four ASCII characters and then a payload of known size. Nothing is escaped and debug text is mixed into the stream,
so the parser slides a window over junk and believes a payload only when its checksum is right. Integers are little-endian. A MAC
is eight bytes, least significant first; people print it reversed as sixteen hex digits.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass
from typing import NewType

Mac = NewType("Mac", bytes)  # eight bytes as on the wire
DataVer = NewType("DataVer", bytes)  # eight bytes: the start of the MD5 of the payload

# ---------------------------------------------------------------- markers, host to module
PING = b"RDY?"
ASK_INFO = b"NFO?"
SET_CHANNEL = b"SCP>"
OFFER = b"SDA>"
CANCEL = b"CXD>"
BLOCK_START = b">D>"
GO_FAST = b"HSPD"
RESTART = b"RSET"

# ---------------------------------------------------------------- sizes
BLOCK_BYTES = 4096
BLOCK_HEADER_BYTES = 4
BLOCK_WIRE_BYTES = 4100
BLOCK_TAIL = b"\xf5" * 32
"""Sent behind a block: releases a module that lost a few bytes and still waits for them; junk to any other."""
BLOCKS_MAX = 256
"""The block number is one byte."""
PAYLOAD_BYTES_MAX = BLOCKS_MAX * BLOCK_BYTES
RETURN_DATA_BYTES_MAX = 111
"""Longest TRD payload: 10 bytes of address and length, 11 of header, 90 of data. More is junk."""

NORMAL_BAUD = 115_200
FAST_BAUD = 2_000_000
CHANNELS = (11, 15, 20, 25, 26, 27)
"""What the module accepts. 26 does not work on the C6 and 27 exists on ZBS only; see the how-to."""

# ---------------------------------------------------------------- data types
TYPE_NONE = 0x00
TYPE_RAW_ONE_PLANE = 0x20
TYPE_RAW_TWO_PLANES = 0x21
TYPE_ZLIB = 0x30
TYPE_G5 = 0x31
TYPE_SETTINGS = 0xA8
TYPE_COMMAND = 0xAF

DATA_TYPES = {"raw1": TYPE_RAW_ONE_PLANE, "raw2": TYPE_RAW_TWO_PLANES, "zlib": TYPE_ZLIB, "g5": TYPE_G5}
"""Name of a picture container -> its number on the wire."""

WAKE_TIMER = 0x00
WAKE_BUTTON = 0x04
WAKE_FIRST_LOST = 0xE0
"""Wake reasons from here on mean that the label lost its RAM (firmware rejected, first boot, network scan, watchdog)."""
WAKE_FIRST_BOOT = 0xFC

BATTERY_UNREAD_MV = (0, 1337)
"""Values that stand for "never measured"."""
CAPABILITY_LIGHT = 0x01
CAPABILITY_EXTERNAL_POWER = 0x10

_BLOCK_MASK = bytes(byte ^ 0xAA for byte in range(256))  # translate table: blocks travel XOR 0xAA


def printed(mac: Mac) -> str:
    """As people write it: sixteen upper-case hex digits, most significant byte first."""
    return mac[::-1].hex().upper()


def mac_from_text(text: str) -> Mac:
    """The inverse of `printed`; raises ValueError for anything but sixteen hex digits."""
    if re.fullmatch(r"[0-9A-Fa-f]{16}", text) is None:
        raise ValueError(f"{text!r} is not a MAC of sixteen hex digits")
    return Mac(bytes.fromhex(text)[::-1])


def data_version(payload: bytes) -> DataVer:
    """What names a payload on the wire: the first eight bytes of its MD5. Labels verify it after the download."""
    return DataVer(hashlib.md5(payload, usedforsecurity=False).digest()[:8])


def block_count(size_bytes: int) -> int:
    """How many blocks a payload of this size takes."""
    return -(-size_bytes // BLOCK_BYTES)


def checksum(data: bytes) -> int:
    """Eight-bit sum of every byte after the first, which is where the result is stored."""
    return (sum(data) - data[0]) & 0xFF


def _sealed(body: bytes) -> bytes:
    return bytes([sum(body) & 0xFF]) + body


# ---------------------------------------------------------------- structs, host to module
_PENDING = struct.Struct("<8sIBBHH8s")  # after the checksum byte
PENDING_BYTES = 1 + _PENDING.size


@dataclass(frozen=True, slots=True)
class PendingData:
    """What a module offers to a label (SDA), or whose offers it forgets (CXD: only `mac` matters)."""

    mac: Mac
    data_ver: DataVer = DataVer(bytes(8))
    size_bytes: int = 0
    data_type: int = TYPE_NONE
    argument: int = 0
    next_check_in: int = 0
    lifetime_min: int = 0
    """The wire calls it attemptsLeft; the module counts it down once a minute."""

    def to_wire(self) -> bytes:
        """27 bytes, checksum first."""
        return _sealed(
            _PENDING.pack(self.data_ver, self.size_bytes, self.data_type, self.argument, self.next_check_in, self.lifetime_min, self.mac)
        )

    @classmethod
    def from_wire(cls, data: bytes) -> PendingData:
        """From 27 bytes whose checksum was verified."""
        version, size_bytes, data_type, argument, next_check_in, lifetime_min, mac = _PENDING.unpack(data[1:])
        return cls(Mac(mac), DataVer(version), size_bytes, data_type, argument, next_check_in, lifetime_min)


def channel_setup(channel: int, power: int, sub_ghz_channel: int | None) -> bytes:
    """Payload of SCP: three bytes, or four for a build that reported a sub-GHz channel (it waits for the fourth)."""
    return _sealed(bytes([channel, power]) if sub_ghz_channel is None else bytes([channel, power, sub_ghz_channel]))


def block_to_wire(data: bytes) -> bytes:
    """One block (up to 4096 bytes) as written after the module's acknowledgement: 4100 masked bytes and the tail."""
    header = struct.pack("<HH", len(data), sum(data) & 0xFFFF)
    return (header + data).ljust(BLOCK_WIRE_BYTES, b"\xff").translate(_BLOCK_MASK) + BLOCK_TAIL


def block_from_wire(data: bytes) -> bytes | None:
    """The block in 4100 masked bytes, or None when its 16-bit sum is wrong (then the label asks again)."""
    plain = data.translate(_BLOCK_MASK)
    size_bytes, total = struct.unpack_from("<HH", plain)
    block = plain[BLOCK_HEADER_BYTES : BLOCK_HEADER_BYTES + size_bytes]
    if size_bytes > BLOCK_BYTES or len(block) != size_bytes or sum(block) & 0xFFFF != total:
        return None
    return block


# ---------------------------------------------------------------- messages, module to host
@dataclass(frozen=True, slots=True)
class Ack:
    """The command was understood. It never says which."""


@dataclass(frozen=True, slots=True)
class Nok:
    """Bad checksum, or a value that the module does not take."""


@dataclass(frozen=True, slots=True)
class Noq:
    """No free slot in the module's table."""


@dataclass(frozen=True, slots=True)
class Restarted:
    """The module booted: its table is empty."""


@dataclass(frozen=True, slots=True)
class Ready:
    """Follows `Restarted`."""


@dataclass(frozen=True, slots=True)
class InfoField:
    """One answer to NFO. `marker` without its `>`; `value` is the number, or for MAC the eight bytes read as little-endian."""

    marker: str
    value: int


_REPORT = struct.Struct("<BbbHBBBHBB8x")  # an AvailDataReq after its checksum byte
_REPORT_BYTES = 1 + _REPORT.size


@dataclass(frozen=True, slots=True)
class LabelReport:
    """The body of a full check-in."""

    lqi: int
    rssi_dbm: int
    temperature_c: int
    battery_mv: int
    hw_type: int
    wake_reason: int
    capabilities: int
    firmware: int
    channel: int
    custom_mode: int = 0

    def to_wire(self) -> bytes:
        """21 bytes with its own checksum."""
        return _sealed(
            _REPORT.pack(
                self.lqi,
                self.rssi_dbm,
                self.temperature_c,
                self.battery_mv,
                self.hw_type,
                self.wake_reason,
                self.capabilities,
                self.firmware,
                self.channel,
                self.custom_mode,
            )
        )


@dataclass(frozen=True, slots=True)
class CheckIn:
    """A label woke and asked. `report` is None for a short check-in, which only a timer wake makes."""

    mac: Mac
    report: LabelReport | None

    def to_wire(self) -> bytes:
        """Marker and 30 bytes."""
        return b"ADR>" + _sealed(self.mac + (bytes(_REPORT_BYTES) if self.report is None else self.report.to_wire()))


@dataclass(frozen=True, slots=True)
class BlockRequest:
    """A label needs a block now."""

    mac: Mac
    data_ver: DataVer
    block: int

    def to_wire(self) -> bytes:
        """Marker and 18 bytes."""
        return b"RQB>" + _sealed(self.data_ver + bytes([self.block]) + self.mac)


@dataclass(frozen=True, slots=True)
class TransferComplete:
    """A label says that it has everything (XFC). It does not say what, and nothing is drawn yet."""

    mac: Mac

    def to_wire(self) -> bytes:
        """Marker and 9 bytes."""
        return b"XFC>" + _sealed(self.mac)


@dataclass(frozen=True, slots=True)
class OfferExpired:
    """The module dropped an offer whose lifetime passed (XTO)."""

    mac: Mac

    def to_wire(self) -> bytes:
        """Marker and 9 bytes."""
        return b"XTO>" + _sealed(self.mac)


@dataclass(frozen=True, slots=True)
class ReturnData:
    """A label sent data back (TRD)."""

    mac: Mac
    data: bytes

    def to_wire(self) -> bytes:
        """Marker and 10 + len(data) bytes."""
        return b"TRD>" + _sealed(self.mac + bytes([len(self.data)]) + self.data)


@dataclass(frozen=True, slots=True)
class Damage:
    """Bytes that are neither a message nor text were passed over: some message, perhaps a check-in, was lost."""

    size_bytes: int


Message = Ack | Nok | Noq | Restarted | Ready | InfoField | CheckIn | BlockRequest | TransferComplete | OfferExpired | ReturnData | Damage

_PLAIN: dict[bytes, Message] = {b"ACK>": Ack(), b"NOK>": Nok(), b"NOQ>": Noq(), b"RES>": Restarted(), b"RDY>": Ready()}
_INFO = {b"TYP>": (2, 16), b"VER>": (4, 16), b"MAC>": (16, 16), b"ZCH>": (2, 16), b"SCH>": (3, 10), b"ZPW>": (2, 16), b"PEN>": (2, 16)}
_INFO[b"NOP>"] = (2, 16)
_SIZES = {b"ADR>": 9 + _REPORT_BYTES, b"RQB>": 18, b"XFC>": 9, b"XTO>": 9}
_RETURN_HEADER_BYTES = 10
_MARKER_BYTES = 4
_MARKER = re.compile(b"|".join(re.escape(marker) for marker in [*_PLAIN, *_INFO, *_SIZES, b"TRD>"]))
_NOT_TEXT = re.compile(rb"[^\t\n\r\x20-\x7e]")


class Parser:
    """Bytes in, messages out, in any slicing. Never raises; keeps at most one unfinished message."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def unfinished(self) -> bool:
        """Whether a message has begun and more of it is awaited."""
        return len(self._buffer) >= _MARKER_BYTES

    def feed(self, data: bytes) -> list[Message]:
        """What these bytes complete, in order."""
        self._buffer += data
        return self._scan()

    def abandon(self) -> list[Message]:
        """Give up on the unfinished message (the line has been silent too long for one) and read on behind its marker."""
        if not self.unfinished:
            return []
        skipped = bytes(self._buffer[:_MARKER_BYTES])
        del self._buffer[:_MARKER_BYTES]
        return [Damage(len(skipped)), *self._scan()]

    def _scan(self) -> list[Message]:
        messages: list[Message] = []
        buffer = self._buffer
        position = 0
        while (found := _MARKER.search(buffer, position)) is not None:
            start, behind = found.span()
            self._junk(position, start, messages)
            marker = found.group()
            position = start
            if (plain := _PLAIN.get(marker)) is not None:
                messages.append(plain)
                position = behind
                continue
            size_bytes = self._payload_bytes(marker, behind)
            if size_bytes is None or len(buffer) < behind + size_bytes:
                del buffer[:position]
                return messages  # wait for the rest
            message = _decode(marker, bytes(buffer[behind : behind + size_bytes]))
            if message is None:
                # Not believed. What follows the marker is read again: a real message may have been swallowed.
                messages.append(Damage(_MARKER_BYTES))
                position = behind
            else:
                messages.append(message)
                position = behind + size_bytes
        keep_from = max(position, len(buffer) - (_MARKER_BYTES - 1))
        self._junk(position, keep_from, messages)
        del buffer[:keep_from]
        return messages

    def _payload_bytes(self, marker: bytes, behind: int) -> int | None:
        """Size of the payload; None while a TRD has not said it yet."""
        if (field := _INFO.get(marker)) is not None:
            return field[0]
        if (size_bytes := _SIZES.get(marker)) is not None:
            return size_bytes
        if len(self._buffer) < behind + _RETURN_HEADER_BYTES:
            return None
        size_bytes = _RETURN_HEADER_BYTES + self._buffer[behind + 9]
        return size_bytes if size_bytes <= RETURN_DATA_BYTES_MAX else _RETURN_HEADER_BYTES  # then its length is refused below

    def _junk(self, start: int, end: int, messages: list[Message]) -> None:
        if end > start and _NOT_TEXT.search(self._buffer, start, end) is not None:
            messages.append(Damage(end - start))


def _decode(marker: bytes, payload: bytes) -> Message | None:
    """The message, or None when the payload is not to be believed."""
    if (field := _INFO.get(marker)) is not None:
        return _decode_info(marker, payload, field[1])
    if checksum(payload) != payload[0]:
        return None
    if marker == b"ADR>":
        return _decode_check_in(payload)
    if marker == b"RQB>":
        return BlockRequest(Mac(payload[10:18]), DataVer(payload[1:9]), payload[9])
    if marker == b"XFC>":
        return TransferComplete(Mac(payload[1:9]))
    if marker == b"XTO>":
        return OfferExpired(Mac(payload[1:9]))
    if len(payload) != _RETURN_HEADER_BYTES + payload[9]:
        return None
    return ReturnData(Mac(payload[1:9]), payload[_RETURN_HEADER_BYTES:])


def _decode_info(marker: bytes, payload: bytes, base: int) -> InfoField | None:
    if re.fullmatch(rb"[0-9]+" if base == 10 else rb"[0-9A-Fa-f]+", payload) is None:
        return None
    name = marker[:3].decode("ascii")
    return InfoField(name, int.from_bytes(bytes.fromhex(payload.decode("ascii")), "little") if name == "MAC" else int(payload, base))


def _decode_check_in(payload: bytes) -> CheckIn | None:
    mac, body = Mac(payload[1:9]), payload[9:]
    if not any(body):
        return CheckIn(mac, None)
    if checksum(body) != body[0]:
        return None
    if body[-1] != 0:
        # Reserved, zero in every firmware seen. A lost byte pulls the next message's first letter in here, and where the lost
        # byte was that same letter both sums still hold: this is what tells.
        return None
    return CheckIn(mac, LabelReport(*_REPORT.unpack(body[1:])))
