"""What is known of one label and of the attempt that is being sent to it, with the limits that bound both."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from drivers.base import Delivery, LabelId
from drivers.oepl_evidence import Condition, Evidence
from protocols.oepl_wire import DATA_TYPES, DataVer, Mac, PendingData

OFFER_LIFETIME_MIN = 20  # as the stock access point: twice the longest sleep of a label that was not told to sleep longer
OFFER_EXPIRY_MS = (OFFER_LIFETIME_MIN + 1) * 60_000  # the module counts whole minutes of its own; XTO may also be lost on the line
LONGEST_TRANSFER_MS = 240_000  # the largest picture's 47 blocks at five tries of one second each
OFFER_LIFETIME_MS = OFFER_EXPIRY_MS + LONGEST_TRANSFER_MS

STALL_MS = 60_000  # a label asks for its next block within two seconds, or gives up until its next check-in
STALL_CHECK_INS = 3  # check-ins with no block asked for, after which a begun download counts as abandoned (or its XFC as lost)
CHECK_IN_REPEAT_MS = 10_000  # one waking may be reported more than once
PROOF_WAIT_MS = 20 * 60_000  # twice the longest sleep: a label that has not come back by then is not coming
LABELS_MAX = 10_000  # many times what one module serves; strangers' labels in range must not fill the memory
SWEEP_MS = 2000  # link time between two looks at what expires


class Stage(Enum):
    WAITING = auto()  # for a free slot, or for its turn
    ANNOUNCING = auto()  # SDA on the line
    OFFERED = auto()
    FETCHING = auto()  # a block was asked for: no other SDA for this label until it is over
    REFRESHING = auto()  # stored; a later check-in decides


@dataclass(slots=True)
class Attempt:
    delivery: Delivery
    data_ver: DataVer
    evidence: Evidence
    stage: Stage = Stage.WAITING
    on_air: bool = False
    again: bool = False  # the module may have lost the entry while its SDA was on the line: announce once more
    expires_ms: int = 0
    asked_at_ms: int = 0
    idle_check_ins: int = 0


@dataclass(slots=True)
class Label:
    mac: Mac
    label_id: LabelId
    condition: Condition | None = None
    condition_age: int = -1  # the line's damage count when it was reported; older than the line's means void
    checked_in_ms: int = 0
    attempt: Attempt | None = None
    following: Delivery | None = None  # waits until the wire rules let it replace `attempt`


def pending_data(mac: Mac, attempt: Attempt) -> PendingData:
    picture = attempt.delivery.picture
    return PendingData(mac, attempt.data_ver, len(picture.data), DATA_TYPES[picture.codec], 0, 0, OFFER_LIFETIME_MIN)


def blocks_served(evidence: Evidence) -> str:
    return f"{len(evidence.served)} blocks of {evidence.size_bytes} bytes served"


def limits(delivery: Delivery, label: Label) -> str:
    profile = None if label.condition is None else label.condition.profile
    takes = "nothing known" if profile is None else f"{', '.join(profile.codecs)} up to {profile.slot_bytes} bytes"
    return f"{delivery.picture.codec} of {len(delivery.picture.data)} bytes; the label takes: {takes}"
