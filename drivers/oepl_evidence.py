"""When an OpenEPaperLink label is believed to show an attempt. Pure: told events and the world's milliseconds.

The wire can say only that a label *stored* a picture, and its "transfer complete" (XFC) names neither picture nor attempt. So an
attempt is proven, with grade `inferred`, only by the whole chain:

(a) the payload fits the label's slot and its reported firmware takes the type; never a preload or a special slot;
(b) every block was asked for and served after the module acknowledged the announcement (SDA);
(c) XFC came in the same waking as the last block (no check-in between: served is not received, and a label that gave up on a
    block may say XFC for another reason at a later one), and since that SDA the module neither restarted nor was out of reach;
(d) a later check-in came at least the panel's longest refresh time after XFC, with a wake reason below E0 and the battery above the
    panel's limit. A short check-in is a timer wake; it counts with the battery that the label last reported.

XFC without (b) is suspicious: labels say it for pictures that they already hold, for ones that do not fit their slot, and when they lie.
A message that was damaged on the line may have been the report of a restart: it breaks (d) for whatever waits for it.

Named limits of the grade: a panel that never refreshes looks the same; and a battery that collapses between a full check-in and the
refresh is noticed only at the next full check-in (at most about five minutes of sleep later).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto

from drivers.base import FailReason, LabelProfile, Picture
from protocols.oepl_types import LABEL_TYPES, LIT_TYPES, LabelType
from protocols.oepl_wire import (
    BATTERY_UNREAD_MV,
    CAPABILITY_EXTERNAL_POWER,
    CAPABILITY_LIGHT,
    DATA_TYPES,
    PAYLOAD_BYTES_MAX,
    WAKE_FIRST_LOST,
    LabelReport,
    block_count,
)


@dataclass(frozen=True, slots=True)
class Condition:
    """What a label last said about itself in a full check-in."""

    label_type: LabelType | None  # None: a hardware number that we have no row for
    firmware: int
    battery_mv: int | None  # None: it cannot or did not measure
    external_power: bool
    has_light: bool

    @classmethod
    def of(cls, report: LabelReport) -> Condition:
        """From the body of a full check-in."""
        return cls(
            LABEL_TYPES.get(report.hw_type),
            report.firmware,
            None if report.battery_mv in BATTERY_UNREAD_MV else report.battery_mv,
            bool(report.capabilities & CAPABILITY_EXTERNAL_POWER),
            bool(report.capabilities & CAPABILITY_LIGHT) or report.hw_type in LIT_TYPES,
        )

    @property
    def profile(self) -> LabelProfile | None:
        """What the renderer and the daemon need to know; None for an unknown type."""
        row = self.label_type
        return None if row is None else LabelProfile(row.panel, row.codecs(self.firmware), row.slot_bytes, self.firmware)

    @property
    def can_refresh(self) -> bool:
        """Whether its power is known to be enough for a refresh."""
        if self.external_power:
            return True
        return self.label_type is not None and self.battery_mv is not None and self.battery_mv > self.label_type.low_battery_mv

    @property
    def too_weak(self) -> bool:
        """Whether its power is known not to be enough."""
        row = self.label_type
        return row is not None and not self.external_power and self.battery_mv is not None and self.battery_mv <= row.low_battery_mv


def unfit(picture: Picture, condition: Condition | None) -> FailReason | None:
    """Rule (a): why this label must not be offered this picture, as far as is known; None when nothing speaks against it."""
    if picture.codec not in DATA_TYPES or not picture.data:
        return FailReason.UNSUPPORTED
    if len(picture.data) > PAYLOAD_BYTES_MAX:
        return FailReason.TOO_BIG
    if condition is None:
        return None
    if condition.label_type is None or picture.codec not in condition.label_type.codecs(condition.firmware):
        return FailReason.UNSUPPORTED
    if len(picture.data) > condition.label_type.slot_bytes:
        return FailReason.TOO_BIG
    return None


class Verdict(Enum):
    """What a check-in says about an attempt that the label has stored."""

    WAIT = auto()
    PROVEN = auto()
    DISPLAY_LOST = auto()
    LOW_BATTERY = auto()


@dataclass(slots=True)
class Evidence:
    """What was seen of one announcement of one attempt, from the acknowledged SDA on. A new SDA starts a new one."""

    size_bytes: int
    served: set[int] = field(default_factory=set)
    same_waking: bool = False  # a block was served since the label's last check-in
    stored_at_ms: int | None = None

    def block_served(self, block: int) -> None:
        """The module took a block that the label had asked for."""
        self.served.add(block)
        self.same_waking = True

    def waking_over(self) -> None:
        """The label checked in, or may have and the report was damaged: it is no longer in the waking of the last block."""
        self.same_waking = False

    def complete(self) -> bool:
        """Rules (b) and (c), asked when XFC comes: every block was served, the last one just now."""
        return self.same_waking and len(self.served) == block_count(self.size_bytes)

    def judge(self, wake_reason: int | None, picture: Picture, condition: Condition | None, now_ms: int) -> Verdict:
        """Rule (d), for an attempt with `stored_at_ms`; `wake_reason` None is a short check-in; `condition` None is unknown power."""
        if wake_reason is not None and wake_reason >= WAKE_FIRST_LOST:
            return Verdict.DISPLAY_LOST
        if condition is None or self.stored_at_ms is None:
            return Verdict.WAIT
        if condition.too_weak:
            return Verdict.LOW_BATTERY
        if condition.label_type is None or not condition.can_refresh or unfit(picture, condition) is not None:
            return Verdict.WAIT
        if now_ms - self.stored_at_ms < condition.label_type.refresh_max_ms:
            return Verdict.WAIT
        return Verdict.PROVEN
