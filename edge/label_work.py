"""What the shelf's loop keeps in mind: the owner's rules, its counters, its radios, and where each label stands in this run."""

from __future__ import annotations

import heapq
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

DWELL_LOOK_MS: Final = 1_000  # what dwells for nobody knows how long, as after a restart of the machine, is looked at this often
LABEL: Final = 0  # where the number of a picture stands, for the label itself: numbers begin at 1
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


class Later:
    """Labels to look at again, each at its time. A label is in it once: the time said last counts."""

    def __init__(self) -> None:
        self._at_ms: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []  # also of times that no longer count

    def put(self, label_id: str, at_ms: int) -> None:
        if self._at_ms.get(label_id) != at_ms:
            self._at_ms[label_id] = at_ms
            heapq.heappush(self._heap, (at_ms, label_id))

    def forget(self, label_id: str) -> None:
        self._at_ms.pop(label_id, None)

    def take_due(self, now_ms: int) -> list[str]:
        due: list[str] = []
        while self._heap and self._heap[0][0] <= now_ms:
            at_ms, label_id = heapq.heappop(self._heap)
            if self._at_ms.get(label_id) == at_ms:
                del self._at_ms[label_id]
                due.append(label_id)
        return due


class Dwells:
    """What shoppers may just have read, until it no longer bounds: pictures that went, labels that a person retired.

    Each is looked at when its dwell ends, and all of it when the store opens or closes: after a price list there are tens of thousands.
    """

    def __init__(self) -> None:
        self._gone: set[tuple[str, int]] = set()
        self._leaving: set[str] = set()
        self._ends: list[tuple[int, str, int]] = []  # a heap: when, label, and picture or LABEL for the label itself
        self._open: bool | None = None

    def watch(self, entries: Iterable[MayEntry]) -> None:
        for entry in entries:
            key = (entry.label_id, entry.attempt_id)
            if entry.state is MayState.GONE:
                if key not in self._gone:
                    self._gone.add(key)
                    heapq.heappush(self._ends, (0, *key))
            elif entry.release is not None and entry.release.dwell_ms > 0 and entry.label_id not in self._leaving:
                self._leaving.add(entry.label_id)
                heapq.heappush(self._ends, (0, entry.label_id, LABEL))

    def take_over(
        self, may_of_label: Callable[[str], Mapping[int, MayEntry]], *, now_ms: int, boot_id: str, store_open: bool
    ) -> tuple[list[tuple[str, int]], list[str]]:
        """The pictures and the retired labels that bound nothing any more, or are not what they were when they came here."""
        gone: list[tuple[str, int]] = []
        left: list[str] = []
        for label_id, attempt_id in self._to_look_at(now_ms, store_open=store_open):
            entries = may_of_label(label_id)
            if attempt_id == LABEL:
                found = [entry for entry in entries.values() if entry.release is not None]
            else:
                found = [entries[attempt_id]] if attempt_id in entries else []
            dwelling = [each for each in found if bound_reason(each, now_ms=now_ms, boot_id=boot_id, store_open=store_open) is not None]
            if dwelling:
                heapq.heappush(self._ends, (now_ms + max(_look_in_ms(entry, now_ms, boot_id) for entry in dwelling), label_id, attempt_id))
            elif attempt_id != LABEL:
                self._gone.discard((label_id, attempt_id))
                gone.append((label_id, attempt_id))
            else:
                self._leaving.discard(label_id)
                left.append(label_id)
        return gone, left

    def _to_look_at(self, now_ms: int, *, store_open: bool) -> list[tuple[str, int]]:
        if store_open is not self._open:
            self._open = store_open
            self._ends.clear()
            return [*sorted(self._gone), *((label_id, LABEL) for label_id in sorted(self._leaving))]
        due: list[tuple[str, int]] = []
        while self._ends and self._ends[0][0] <= now_ms:
            due.append(heapq.heappop(self._ends)[1:])
        return due


def _look_in_ms(entry: MayEntry, now_ms: int, boot_id: str) -> int:
    """When what dwells need be looked at again: at its end, or soon where that is not known, as after a restart of the machine."""
    if entry.state is MayState.GONE and entry.gone_boot_id == boot_id:
        return max(1, entry.gone_ms + entry.dwell_ms - now_ms)
    if entry.release is not None and entry.release.boot_id == boot_id:
        return max(1, entry.release.at_ms + entry.release.dwell_ms - now_ms)
    return DWELL_LOOK_MS
