"""What the shelf's loop keeps in mind: the owner's rules, its counters, its radios, and where each label stands in this run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from drivers.base import Grade, LabelDriver, LabelSeen, Picture
from edge.model import AttemptId, LabelState, MayEntry, MayState
from edge.planning import Wanted
from edge.pricing import bound_reason
from edge.proof_rules import RULES, at_least
from edge.render_worker import RenderedLabel
from edge.store.rows import json_text
from edge.store.shelf import NewAttempt

SEEN_SAVE_MS: Final = 600_000  # an unchanged label's "last seen" is written this often: a disk is not a radio log


@dataclass(frozen=True, slots=True)
class ShelfRules:
    """What the owner configured about labels and the guard."""

    accept_inferred: bool
    dwell_ms: int
    retry_first_ms: int
    retry_max_ms: int
    rise_binds_at: Mapping[str, Grade] = field(
        default_factory=dict
    )  # the weakest grade that lets a rise bind, by kind of label; else by accept_inferred

    def binds_at(self, kind: str) -> Grade:
        """The weakest proof after which a label of this kind no longer shows what it showed before."""
        rule = RULES.get(kind)
        if rule is not None and not rule.signs:
            return Grade.PERSON
        return self.rise_binds_at.get(kind, Grade.INFERRED if self.accept_inferred else Grade.SHOWN)

    def grades(self, kinds: Iterable[str]) -> dict[str, Grade]:
        """The weakest proof that lets a rise bind, for each of these kinds of label."""
        return {kind: self.binds_at(kind) for kind in sorted(set(kinds))}

    def accepts(self, kind: str, grade: Grade) -> bool:
        return at_least(grade, self.binds_at(kind))


@dataclass(slots=True)
class ShelfCounters:
    """Sums since start, for metrics."""

    rendered: int = 0
    sent: int = 0
    on_air: int = 0
    stored: int = 0
    proven: int = 0
    proven_by: dict[str, int] = field(default_factory=dict)  # by grade
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


def new_ticket(attempt_id: AttemptId, label_id: str, wanted: Wanted) -> NewAttempt:
    """An attempt that people print and hang: no bytes leave, but the ticket may hang from now on."""
    return NewAttempt(attempt_id, label_id, wanted.content_hash, "", "", json_text(wanted.fields.as_dict()), wanted.offers, "", 0)


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


class CheckIns:
    """What radios heard since the last look, one merged check-in for each label, and which of it is worth a write."""

    def __init__(self) -> None:
        self._heard: dict[str, LabelSeen] = {}
        self._saved_ms: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._heard)

    def hear(self, event: LabelSeen) -> None:
        self._heard[event.label_id] = merged(self._heard.get(event.label_id), event)

    def take_news(self, labels: Mapping[str, LabelState], now_ms: int) -> list[LabelSeen]:
        """New labels, changed ones, and those whose "last seen" is old."""
        heard, self._heard = self._heard, {}
        news = [event for event in heard.values() if self._is_news(event, labels.get(event.label_id), now_ms)]
        self._saved_ms.update((event.label_id, now_ms) for event in news)
        return news

    def _is_news(self, event: LabelSeen, label: LabelState | None, now_ms: int) -> bool:
        if label is None or label.last_radio != event.radio_id:
            return True
        profile = event.profile
        if profile is not None and (label.panel, label.codecs, label.firmware) != (profile.panel, profile.codecs, profile.firmware):
            return True
        return now_ms - self._saved_ms.get(event.label_id, -SEEN_SAVE_MS) >= SEEN_SAVE_MS


class Dwells:
    """What shoppers may just have read, until it no longer bounds: pictures that went, labels that a person retired."""

    def __init__(self) -> None:
        self._gone: dict[tuple[str, int], None] = {}
        self._leaving: dict[str, None] = {}

    def watch(self, entries: Iterable[MayEntry]) -> None:
        for entry in entries:
            if entry.state is MayState.GONE:
                self._gone[entry.label_id, entry.attempt_id] = None
            elif entry.release is not None and entry.release.dwell_ms > 0:
                self._leaving[entry.label_id] = None

    def take_over(
        self, may_of_label: Callable[[str], Mapping[int, MayEntry]], *, now_ms: int, boot_id: str, store_open: bool
    ) -> tuple[list[tuple[str, int]], list[str]]:
        """The pictures and the retired labels that bound nothing any more, or are not what they were when they came here."""

        def bounds(entry: MayEntry | None) -> bool:
            return entry is not None and bound_reason(entry, now_ms=now_ms, boot_id=boot_id, store_open=store_open) is not None

        gone = [key for key in self._gone if not bounds(may_of_label(key[0]).get(key[1]))]
        left = [
            label_id
            for label_id in self._leaving
            if not any(entry.release is not None and bounds(entry) for entry in may_of_label(label_id).values())
        ]
        for key in gone:
            del self._gone[key]
        for label_id in left:
            del self._leaving[label_id]
        return gone, left
