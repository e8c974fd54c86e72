"""The ports between the daemon and its radios: what a driver is given and what it reports.

A driver moves bytes. It is handed a `Delivery` (one attempt: one sending of one picture to one label) whose durable record
already exists, and reports what it *saw* as `DriverEvent`s. It never decides what a till may charge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NewType, Protocol, runtime_checkable

LabelId = NewType("LabelId", str)  # OEPL: the MAC as people print it, 16 upper-case hex digits
RadioId = NewType("RadioId", str)  # OEPL: the module's own MAC, printed the same way


class Grade(StrEnum):
    """How sure it is that a picture is on the panel."""

    INFERRED = "inferred"  # stored, and the panel's refresh time has passed on a healthy label
    SHOWN = "shown"  # the label itself reports the refresh or the picture
    PERSON = "person"  # somebody looked


class FailReason(StrEnum):
    """Why an attempt ended without proof. The attempt may still come to show: nothing is released by a failure."""

    EXPIRED = "expired"  # the module dropped the offer (XTO), or its lifetime passed
    STALLED = "stalled"  # the label began and did not finish
    SUSPICIOUS = "suspicious"  # "complete" without our having served every block
    DISPLAY_LOST = "display_lost"  # the label restarted before the picture was proven
    LOW_BATTERY = "low_battery"  # stored, but the panel refuses to refresh at this voltage
    TOO_BIG = "too_big"  # larger than the label's slot: never sent
    UNSUPPORTED = "unsupported"  # the reported firmware does not take this type: never sent
    RADIO_LOST = "radio_lost"  # port or module went away with the attempt open


class Clock(Protocol):
    """The one source of time. `now_ms` and `wall_ms` may be scaled in a simulated store; `link_ms` never is."""

    @property
    def boot_id(self) -> str:
        """Names the boot that `now_ms` counts from; another value means that stored `now_ms` readings are void."""

    def now_ms(self) -> int:
        """Milliseconds since boot, counting suspend. Never goes back within one `boot_id`."""

    def wall_ms(self) -> int:
        """UTC milliseconds since 1970. May jump."""

    def wall_trusted(self) -> bool:
        """Whether wall time was synchronised at least once since boot and has not gone back since."""

    def link_ms(self) -> int:
        """Real monotonic milliseconds for wire time-outs; never scaled."""

    async def sleep_ms(self, duration_ms: int) -> None:
        """Sleep for a duration of `now_ms` time; wakes early when a simulated clock steps."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture. `codec` names the container, `data` the exact payload bytes the label will store."""

    codec: str  # "raw1" | "raw2" | "zlib" | "g5"
    data: bytes


@dataclass(frozen=True, slots=True)
class Delivery:
    """One attempt to send."""

    attempt_id: int
    label_id: LabelId
    picture: Picture


@dataclass(frozen=True, slots=True)
class LabelProfile:
    """What a label says it is: enough to draw for it and to know what it accepts."""

    panel: str  # key into render.panels, e.g. "oepl-01"
    codecs: tuple[str, ...]  # accepted by the reported firmware, best first
    slot_bytes: int  # largest payload its storage slot takes
    firmware: int


@dataclass(frozen=True, slots=True)
class RadioUp:
    radio_id: RadioId
    description: str  # hardware, version, channel: one line for people


@dataclass(frozen=True, slots=True)
class RadioDown:
    radio_id: RadioId | None  # None: it never said who it is
    reason: str


@dataclass(frozen=True, slots=True)
class LabelSeen:
    """A check-in. Fields are None where a short check-in did not carry them."""

    radio_id: RadioId
    label_id: LabelId
    at_ms: int
    profile: LabelProfile | None = None
    battery_mv: int | None = None
    rssi_dbm: int | None = None
    temperature_c: int | None = None
    wake_reason: int | None = None


@dataclass(frozen=True, slots=True)
class DisplayUnknown:
    """The label lost its state: what it shows is no longer known."""

    radio_id: RadioId
    label_id: LabelId
    at_ms: int
    reason: str


@dataclass(frozen=True, slots=True)
class OfferAccepted:
    """This radio now offers this attempt and has forgotten every older attempt for the label."""

    radio_id: RadioId
    label_id: LabelId
    attempt_id: int


@dataclass(frozen=True, slots=True)
class OfferCleared:
    """This radio acknowledged that it offers nothing for the label."""

    radio_id: RadioId
    label_id: LabelId


@dataclass(frozen=True, slots=True)
class OnAir:
    """The label began to fetch the attempt."""

    radio_id: RadioId
    label_id: LabelId
    attempt_id: int


@dataclass(frozen=True, slots=True)
class Stored:
    """The label has the bytes, every block served by us in this session. Not yet visible."""

    radio_id: RadioId
    label_id: LabelId
    attempt_id: int


@dataclass(frozen=True, slots=True)
class Proven:
    """The attempt is on the panel, by the driver's own proof rule, with this grade."""

    radio_id: RadioId
    label_id: LabelId
    attempt_id: int
    grade: Grade
    at_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """The driver no longer pursues the attempt. It stays in the may-set; only a newer proven attempt removes it."""

    radio_id: RadioId | None
    label_id: LabelId
    attempt_id: int
    reason: FailReason
    detail: str = ""


DriverEvent = RadioUp | RadioDown | LabelSeen | DisplayUnknown | OfferAccepted | OfferCleared | OnAir | Stored | Proven | Failed


class LabelDriver(Protocol):
    """One radio. Everything it learns goes to the `emit` callable it was built with, from the event loop's thread."""

    @property
    def name(self) -> str:
        """The radio's name in the configuration."""

    @property
    def radio_id(self) -> RadioId | None:
        """Who the module says it is; None while unknown."""

    @property
    def grade(self) -> Grade:
        """The strongest grade this driver can give."""

    @property
    def offer_lifetime_ms(self) -> int:
        """After this long an unrenewed offer can no longer reach a label: offer lifetime plus the longest transfer."""

    def deliver(self, delivery: Delivery) -> None:
        """Pursue this attempt; replaces an earlier one for the label as soon as the wire rules allow. Never blocks."""

    def withdraw(self, label_id: LabelId) -> None:
        """Stop offering anything for the label; `OfferCleared` follows when the radio has acknowledged it."""

    async def run(self) -> None:
        """Open the link, keep it alive with back-off, until cancelled."""


@runtime_checkable
class CanFlash(Protocol):
    """A radio whose labels have a light, and a command for it."""

    def flash(self, label_id: LabelId) -> str | None:
        """Make a label blink for some seconds. Returns None when the command is on its way, else why it cannot be. Never blocks."""


Emit = Callable[[DriverEvent], None]
