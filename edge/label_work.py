"""What the shelf's loop keeps in mind: the owner's rules, its counters, its radios, and where each label stands in this run."""

from __future__ import annotations

from dataclasses import dataclass, field

from drivers.base import LabelDriver, LabelSeen, Picture
from edge.model import AttemptId
from edge.planning import Wanted
from edge.render_worker import RenderedLabel
from edge.store.rows import json_text
from edge.store.shelf import NewAttempt


@dataclass(frozen=True, slots=True)
class ShelfRules:
    """What the owner configured about labels and the guard."""

    accept_inferred: bool
    dwell_ms: int
    retry_first_ms: int
    retry_max_ms: int


@dataclass(slots=True)
class ShelfCounters:
    """Sums since start, for metrics."""

    rendered: int = 0
    sent: int = 0
    on_air: int = 0
    stored: int = 0
    proven: int = 0
    settled: int = 0
    failed: dict[str, int] = field(default_factory=dict)
    render_errors: int = 0


@dataclass(slots=True)
class RadioState:
    """What is known of a radio, for routing and status."""

    driver: LabelDriver
    kind: str
    up: bool = False
    description: str = ""
    last_error: str = ""


@dataclass(slots=True)
class Work:
    """Where a label stands in this run of the daemon. Nothing here is needed for safety after a restart."""

    busy: bool = False  # being drawn or written
    in_flight: AttemptId | None = None
    in_flight_hash: str = ""
    in_flight_radio: str = ""
    picture: Picture | None = None  # of the last attempt, to offer the very same again if it never went on the air
    was_on_air: bool = False
    failures: int = 0
    next_try_ms: int = 0
    unsettled_since_ms: int | None = None
    problem: str = ""
    undrawable: str = ""  # content hash of a picture that the item's data do not allow

    def begin(self, attempt_id: AttemptId, content_hash: str, radio_id: str, picture: Picture) -> None:
        """An attempt is about to be written down: from now on what its radio says about older ones is not about it."""
        self.in_flight, self.in_flight_hash, self.in_flight_radio, self.picture = attempt_id, content_hash, radio_id, picture


def new_attempt(attempt_id: AttemptId, label_id: str, wanted: Wanted, rendered: RenderedLabel, driver: LabelDriver) -> NewAttempt:
    return NewAttempt(
        attempt_id,
        label_id,
        wanted.content_hash,
        rendered.picture_hash,
        rendered.payload_md5,
        json_text(wanted.fields.as_dict()),
        wanted.offers,
        driver.radio_id or "",
        driver.offer_lifetime_ms,
    )


def merged(old: LabelSeen | None, new: LabelSeen) -> LabelSeen:
    """The newer check-in, with what the older one said where the newer is silent."""
    if old is None:
        return new
    return LabelSeen(
        new.radio_id,
        new.label_id,
        new.at_ms,
        new.profile or old.profile,
        new.battery_mv if new.battery_mv is not None else old.battery_mv,
        new.rssi_dbm if new.rssi_dbm is not None else old.rssi_dbm,
        new.temperature_c if new.temperature_c is not None else old.temperature_c,
        new.wake_reason if new.wake_reason is not None else old.wake_reason,
    )
