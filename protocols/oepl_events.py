"""What a `protocols.oepl.ModuleSession` reports: the module's state, the fate of announcements, and what labels do."""

from __future__ import annotations

from dataclasses import dataclass

from protocols.oepl_wire import CheckIn, Damage, DataVer, Mac, OfferExpired, ReturnData, TransferComplete, printed


@dataclass(frozen=True, slots=True)
class ModuleInfo:
    """Who a module says it is (NFO)."""

    hw_type: int
    version: int
    mac: Mac
    channel: int
    sub_ghz_channel: int | None  # None: a build without sub-GHz support, which takes the short channel command
    power: int
    pending: int  # entries with data in its table
    idle: int  # entries that only tell a label to sleep


# ---------------------------------------------------------------- events
@dataclass(frozen=True, slots=True)
class ModuleReady:
    """The module answered, is the expected one and has its channel. Announce everything."""

    info: ModuleInfo


@dataclass(frozen=True, slots=True)
class ModuleReset:
    """The module restarted and has forgotten every offer. `ModuleReady` follows when it is set up again."""


@dataclass(frozen=True, slots=True)
class ModuleLost:
    """The module no longer answers as it should; the session keeps asking. What it still offers is unknown."""

    reason: str


@dataclass(frozen=True, slots=True)
class WrongModule:
    """Another module than the configured one. The session has stopped: close the port."""

    found: Mac
    expected: Mac


@dataclass(frozen=True, slots=True)
class SetupRefused:
    """The module does not take this channel. The session has stopped: close the port."""

    channel: int


@dataclass(frozen=True, slots=True)
class SdaAcked:
    """The module offers this payload, and no other for this label."""

    mac: Mac
    data_ver: DataVer


@dataclass(frozen=True, slots=True)
class SdaRefused:
    """The module's table is full (NOQ)."""

    mac: Mac
    data_ver: DataVer


@dataclass(frozen=True, slots=True)
class CxdAcked:
    """The module offers nothing for this label."""

    mac: Mac


@dataclass(frozen=True, slots=True)
class BlockAsked:
    """The label asked for a block of a payload that we announced."""

    mac: Mac
    data_ver: DataVer
    block: int


@dataclass(frozen=True, slots=True)
class BlockServed:
    """The block was written to the module in time for its acknowledgement. Whether it reached the label is not known."""

    mac: Mac
    data_ver: DataVer
    block: int


@dataclass(frozen=True, slots=True)
class UnknownBlockAsked:
    """The label asked for a payload that we do not offer; a CXD for the label was queued."""

    mac: Mac
    data_ver: DataVer


SessionEvent = (
    ModuleReady
    | ModuleReset
    | ModuleLost
    | WrongModule
    | SetupRefused
    | SdaAcked
    | SdaRefused
    | CxdAcked
    | BlockAsked
    | BlockServed
    | UnknownBlockAsked
    | CheckIn
    | TransferComplete
    | OfferExpired
    | ReturnData
    | Damage
)


def describe(info: ModuleInfo, baud: int) -> str:
    """One line for people: hardware, version, MAC, channel, speed."""
    hardware = {0xC6: "ESP32-C6/H2", 0xC2: "ESP32-H2", 0xFF: "nRF52811 or ZBS243"}.get(info.hw_type, f"type {info.hw_type:02X}")
    return f"{hardware} module {printed(info.mac)}, version {info.version:04X}, {baud} baud"
