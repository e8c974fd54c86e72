"""What one radio module owes its labels: which attempt is announced, how far it got, what it proves. Pure: told bytes and times.

Joins `protocols.oepl.ModuleSession` (the serial line) with `drivers.oepl_evidence` (the proof). Two clocks are handed in: link time
for the wire, and the world's time, which a simulated store scales, for offers, transfers and refreshes.
"""

from __future__ import annotations

from typing import assert_never

from drivers.base import (
    Delivery,
    DisplayUnknown,
    DriverEvent,
    Failed,
    FailReason,
    Grade,
    LabelId,
    LabelSeen,
    OfferAccepted,
    OfferCleared,
    OnAir,
    Proven,
    RadioDown,
    RadioId,
    RadioUp,
    Stored,
)
from drivers.oepl_attempts import (
    CHECK_IN_REPEAT_MS,
    LABELS_MAX,
    OFFER_EXPIRY_MS,
    OFFER_LIFETIME_MIN,
    PROOF_WAIT_MS,
    STALL_CHECK_INS,
    STALL_MS,
    SWEEP_MS,
    Attempt,
    Label,
    Stage,
    blocks_served,
    limits,
    pending_data,
)
from drivers.oepl_evidence import Condition, Evidence, Verdict, unfit
from drivers.oepl_queue import CommandQueue
from protocols.oepl import ModuleSession
from protocols.oepl_events import (
    BlockAsked,
    BlockServed,
    CxdAcked,
    ModuleLost,
    ModuleReady,
    ModuleReset,
    SdaAcked,
    SdaRefused,
    SessionEvent,
    SetupRefused,
    UnknownBlockAsked,
    WrongModule,
    describe,
)
from protocols.oepl_light import blink
from protocols.oepl_wire import (
    WAKE_FIRST_LOST,
    CheckIn,
    Damage,
    DataVer,
    Mac,
    OfferExpired,
    ReturnData,
    TransferComplete,
    data_version,
    mac_from_text,
    printed,
)


class OeplRadio:
    """The state of one module across its sessions. Every method that can change something queues `events()`."""

    def __init__(self, *, channel: int = 11, power: int = 10, fast: bool = False, expected_mac: Mac | None = None) -> None:
        """Raises ValueError for a channel that no module takes."""
        self._channel, self._power, self._fast, self._expected_mac = channel, power, fast, expected_mac
        self._session = self._new_session()
        self._open = False
        self._up = False
        self._down_reason: str | None = None  # as last reported
        self._labels: dict[Mac, Label] = {}
        self._active: dict[Mac, Label] = {}  # those with an attempt
        self._queue = CommandQueue()
        self._line_age = 0
        self._sweep_at_ms = 0
        self._events: list[DriverEvent] = []
        self.radio_id: RadioId | None = None
        self.damaged = 0
        self.restarts = 0

    # ------------------------------------------------------------ the link's side
    @property
    def baud(self) -> int:
        """The speed at which `bytes_to_send` is to be written."""
        return self._session.baud

    @property
    def ready(self) -> bool:
        """A module answered on this port and is set up."""
        return self._session.ready

    @property
    def stopped(self) -> bool:
        """The session gave up on this port: close it and try again later."""
        return self._session.stopped

    @property
    def deadline_ms(self) -> int | None:
        """Link time at which `handle_timer` is due."""
        deadline_ms = self._session.deadline_ms
        if not self._active:
            return deadline_ms
        return self._sweep_at_ms if deadline_ms is None else min(deadline_ms, self._sweep_at_ms)

    def opened(self, link_ms: int) -> None:
        """The port is open and empty."""
        self._session = self._new_session()
        self._open = True
        self._session.start(link_ms)

    def closed(self, reason: str) -> None:
        """The port is gone, or never opened. Reported once per change."""
        gave_up = self._session.stopped  # and has said why
        if self._open:
            self._open = False
            self._session = self._new_session()
            self._all_lost(reason)
        if not gave_up:
            self._go_down(reason)

    def receive(self, data: bytes, link_ms: int, now_ms: int) -> None:
        """Bytes from the module."""
        self._session.receive(data, link_ms)
        self._after(link_ms, now_ms)

    def handle_timer(self, link_ms: int, now_ms: int) -> None:
        """Does what is due."""
        self._session.handle_timer(link_ms)
        if link_ms >= self._sweep_at_ms:
            self._sweep_at_ms = link_ms + SWEEP_MS
            self._sweep(now_ms)
        self._after(link_ms, now_ms)

    def bytes_to_send(self) -> bytes:
        """What is to be written now, once."""
        return self._session.bytes_to_send()

    def events(self) -> list[DriverEvent]:
        """What happened since the last call, in order."""
        events, self._events = self._events, []
        return events

    # ------------------------------------------------------------ the daemon's side
    def deliver(self, delivery: Delivery, link_ms: int, now_ms: int) -> None:
        """Pursue an attempt; see `LabelDriver.deliver`. Raises ValueError when the label id is no MAC."""
        label = self._label(mac_from_text(delivery.label_id))
        reason = unfit(delivery.picture, label.condition)
        if reason is not None:
            self._events.append(Failed(self.radio_id, label.label_id, delivery.attempt_id, reason, limits(delivery, label)))
            return
        self._queue.keep(label.mac)  # the SDA to come clears what was to be cancelled
        self._pursue(label, delivery, now_ms)
        self._dispatch(link_ms)

    def withdraw(self, label_id: LabelId, link_ms: int) -> None:
        """Stop offering anything; see `LabelDriver.withdraw`. A stored picture is still followed to its proof."""
        label = self._label(mac_from_text(label_id))
        label.following = None
        if label.attempt is not None and label.attempt.stage is not Stage.REFRESHING:
            self._drop(label)
        self._queue.cancel(label.mac)
        self._dispatch(link_ms)

    def flash(self, label_id: LabelId, link_ms: int) -> str | None:
        """Have a label blink when it wakes next; see `CanFlash.flash`. Raises ValueError when the label id is no MAC.

        Only while no picture is on its way: the two would share the module's one entry for the label, and a picture's proof rests on
        what becomes of that.
        """
        label = self._labels.get(mac_from_text(label_id))
        if not self._up:
            return "the radio is not ready"
        if label is None or label.condition is None:
            return "the radio has not heard yet what kind of label it is"
        if not label.condition.has_light:
            return "the label has no light"
        if label.attempt is not None:
            return "a picture is on its way to the label"
        self._queue.light(label.mac)
        self._dispatch(link_ms)
        return None

    # ------------------------------------------------------------ what the session reports
    def _after(self, link_ms: int, now_ms: int) -> None:
        for event in self._session.events():
            self._on(event, now_ms)
        self._dispatch(link_ms)

    def _on(self, event: SessionEvent, now_ms: int) -> None:
        match event:
            case ModuleReady():
                found = RadioId(printed(event.info.mac))
                if self.radio_id not in (None, found):
                    self._all_lost("another module took its place")
                self.radio_id = found
                self._up = True
                self._down_reason = None
                self._events.append(RadioUp(found, describe(event.info, self.baud)))
            case ModuleReset():
                self._on_reset()
            case ModuleLost():
                self._all_lost(event.reason)
                self._go_down(event.reason)
            case WrongModule():
                self._go_down(f"module {printed(event.found)} found where {printed(event.expected)} is configured")
            case SetupRefused():
                self._go_down(f"the module refuses channel {event.channel}")
            case SdaAcked():
                self._on_offered(event, now_ms)
            case SdaRefused():
                self._queue.table_full()
                label = self._labels.get(event.mac)
                if label is not None and label.attempt is not None and label.attempt.stage is Stage.ANNOUNCING:
                    self._announce_again(label, first=True)
                    self._promote(label)
            case CxdAcked():
                self._on_cancelled(event.mac)
            case BlockAsked():
                self._on_block_asked(event, now_ms)
            case BlockServed():
                attempt = self._attempt(event.mac, event.data_ver)
                if attempt is not None and attempt.stage is Stage.FETCHING:
                    attempt.evidence.block_served(event.block)
            case UnknownBlockAsked():
                pass  # the session sends a CXD; `CxdAcked` puts right what it takes away
            case CheckIn():
                self._on_check_in(event, now_ms)
            case TransferComplete():
                self._on_complete(event.mac, now_ms)
            case OfferExpired():
                self._on_expired(event.mac)
            case ReturnData():
                pass  # no command of ours asks for any
            case Damage():
                self._on_damage()
            case _:
                assert_never(event)

    def _on_offered(self, event: SdaAcked, now_ms: int) -> None:
        label = self._labels.get(event.mac)
        attempt = self._attempt(event.mac, event.data_ver)
        if label is None or attempt is None or attempt.stage is not Stage.ANNOUNCING or self.radio_id is None:
            return
        self._queue.slot_freed()
        attempt.stage = Stage.OFFERED
        attempt.evidence = Evidence(len(attempt.delivery.picture.data))
        attempt.expires_ms = now_ms + OFFER_EXPIRY_MS
        attempt.idle_check_ins = 0
        self._events.append(OfferAccepted(self.radio_id, label.label_id, attempt.delivery.attempt_id))
        if attempt.again:
            self._announce_again(label)
        self._promote(label)

    def _on_cancelled(self, mac: Mac) -> None:
        self._queue.cancelled(mac)
        label = self._labels.get(mac)
        if label is None or self.radio_id is None:
            return
        self._events.append(OfferCleared(self.radio_id, label.label_id))
        if label.attempt is not None and label.attempt.stage in (Stage.OFFERED, Stage.FETCHING):
            self._announce_again(label)  # the CXD was for an older payload and took this one's entry with it
            self._promote(label)

    def _on_block_asked(self, event: BlockAsked, now_ms: int) -> None:
        label, attempt = self._labels.get(event.mac), self._attempt(event.mac, event.data_ver)
        if label is None or attempt is None or attempt.stage not in (Stage.OFFERED, Stage.FETCHING):
            return
        attempt.stage = Stage.FETCHING
        attempt.asked_at_ms = now_ms
        attempt.idle_check_ins = 0
        if not attempt.on_air and self.radio_id is not None:
            attempt.on_air = True
            self._events.append(OnAir(self.radio_id, label.label_id, attempt.delivery.attempt_id))

    def _on_complete(self, mac: Mac, now_ms: int) -> None:
        self._queue.slot_freed()
        label = self._labels.get(mac)
        if label is None or label.attempt is None or self.radio_id is None:
            return
        attempt = label.attempt
        match attempt.stage:
            case Stage.OFFERED | Stage.FETCHING:
                if attempt.stage is Stage.FETCHING and attempt.evidence.complete():
                    attempt.stage = Stage.REFRESHING
                    attempt.evidence.stored_at_ms = now_ms
                    self._events.append(Stored(self.radio_id, label.label_id, attempt.delivery.attempt_id))
                    self._promote(label)
                else:
                    self._fail(label, FailReason.SUSPICIOUS, blocks_served(attempt.evidence))
            case Stage.ANNOUNCING:
                attempt.again = True  # it was about what was offered before, and may have taken the new entry with it
            case Stage.WAITING | Stage.REFRESHING:
                pass  # about an older offer
            case _:
                assert_never(attempt.stage)

    def _on_expired(self, mac: Mac) -> None:
        self._queue.slot_freed()
        label = self._labels.get(mac)
        if label is None or label.attempt is None:
            return
        if label.attempt.stage is Stage.ANNOUNCING:
            label.attempt.again = True
        elif label.attempt.stage in (Stage.OFFERED, Stage.FETCHING):
            self._fail(label, FailReason.EXPIRED, f"not fetched within {OFFER_LIFETIME_MIN} minutes")

    def _on_check_in(self, event: CheckIn, now_ms: int) -> None:
        if not self._up or self.radio_id is None:
            return  # the greeting is not over: whose check-in this is cannot be said yet
        if event.mac not in self._labels and len(self._labels) >= LABELS_MAX:
            return
        label = self._label(event.mac)
        report = event.report
        if report is None:
            self._events.append(LabelSeen(self.radio_id, label.label_id, now_ms))
        else:
            label.condition = Condition.of(report)
            label.condition_age = self._line_age
            self._events.append(
                LabelSeen(
                    self.radio_id,
                    label.label_id,
                    now_ms,
                    label.condition.profile,
                    label.condition.battery_mv,
                    report.rssi_dbm,
                    report.temperature_c,
                    report.wake_reason,
                )
            )
            if report.wake_reason >= WAKE_FIRST_LOST:
                reason = f"the label restarted (wake reason {report.wake_reason:02X})"
                self._events.append(DisplayUnknown(self.radio_id, label.label_id, now_ms, reason))
        repeated = now_ms - label.checked_in_ms < CHECK_IN_REPEAT_MS
        label.checked_in_ms = now_ms
        if label.attempt is not None:
            self._weigh(label, label.attempt, None if report is None else report.wake_reason, repeated, now_ms)

    def _weigh(self, label: Label, attempt: Attempt, wake_reason: int | None, repeated: bool, now_ms: int) -> None:
        """What a check-in means for the label's attempt."""
        reason = unfit(attempt.delivery.picture, label.condition)
        if reason is not None and attempt.stage is not Stage.REFRESHING:
            self._fail(label, reason, limits(attempt.delivery, label), cancel=attempt.stage is not Stage.WAITING)
            return
        match attempt.stage:
            case Stage.WAITING:
                self._queue.awake(label.mac)
            case Stage.ANNOUNCING:
                pass
            case Stage.OFFERED | Stage.FETCHING:
                attempt.evidence.waking_over()
                if attempt.stage is Stage.FETCHING and not repeated:
                    attempt.idle_check_ins += 1
                    if attempt.idle_check_ins > STALL_CHECK_INS:
                        self._fail(label, FailReason.STALLED, blocks_served(attempt.evidence), cancel=True)
            case Stage.REFRESHING:
                known = label.condition if label.condition_age == self._line_age else None
                match attempt.evidence.judge(wake_reason, attempt.delivery.picture, known, now_ms):
                    case Verdict.WAIT:
                        pass
                    case Verdict.PROVEN:
                        assert self.radio_id is not None
                        self._drop(label)
                        self._events.append(Proven(self.radio_id, label.label_id, attempt.delivery.attempt_id, Grade.INFERRED, now_ms))
                    case Verdict.DISPLAY_LOST:
                        self._fail(label, FailReason.DISPLAY_LOST, f"wake reason {wake_reason:02X}")
                    case Verdict.LOW_BATTERY:
                        assert known is not None
                        self._fail(label, FailReason.LOW_BATTERY, f"{known.battery_mv} mV")
                    case verdict:
                        assert_never(verdict)
            case _:
                assert_never(attempt.stage)

    def _on_damage(self) -> None:
        # The lost message may have been a restart, or a battery report: no proof may rest on not having heard one.
        self.damaged += 1
        self._line_age += 1
        for label in list(self._active.values()):
            if label.attempt is None:
                continue
            label.attempt.evidence.waking_over()
            if label.attempt.stage is Stage.REFRESHING:
                self._fail(label, FailReason.SUSPICIOUS, "a damaged message may have been the label's restart")

    def _on_reset(self) -> None:
        self.restarts += 1
        self._line_broken()
        for label in list(self._active.values()):
            if label.attempt is None or label.attempt.stage is Stage.WAITING:
                continue
            if label.attempt.stage is Stage.REFRESHING:
                self._fail(label, FailReason.RADIO_LOST, "the module restarted before the proof")
            else:
                self._announce_again(label)
                self._promote(label)

    def _line_broken(self) -> None:
        """What was on the line is lost, and label reports with it."""
        self._line_age += 1
        self._queue.line_broken()

    def _all_lost(self, reason: str) -> None:
        self._line_broken()
        for label in list(self._active.values()):
            if label.attempt is not None and label.attempt.stage is not Stage.WAITING:
                self._fail(label, FailReason.RADIO_LOST, reason)

    def _sweep(self, now_ms: int) -> None:
        for label in list(self._active.values()):
            attempt = label.attempt
            if attempt is None:
                continue
            if attempt.stage in (Stage.OFFERED, Stage.FETCHING) and now_ms >= attempt.expires_ms:
                self._fail(label, FailReason.EXPIRED, f"not fetched within {OFFER_LIFETIME_MIN} minutes", cancel=True)
            elif attempt.stage is Stage.FETCHING and label.following is not None and self._stalled(attempt, now_ms):
                self._fail(label, FailReason.STALLED, blocks_served(attempt.evidence))
            elif attempt.stage is Stage.REFRESHING:
                assert attempt.evidence.stored_at_ms is not None
                if now_ms >= attempt.evidence.stored_at_ms + PROOF_WAIT_MS:
                    self._fail(label, FailReason.EXPIRED, "stored, but the label has not checked in since")

    # ------------------------------------------------------------ moving attempts
    def _pursue(self, label: Label, delivery: Delivery, now_ms: int) -> None:
        attempt = label.attempt
        if attempt is not None and attempt.delivery.attempt_id == delivery.attempt_id:
            return
        if attempt is not None and attempt.stage is Stage.FETCHING and self._stalled(attempt, now_ms):
            label.following = delivery
            self._fail(label, FailReason.STALLED, blocks_served(attempt.evidence))
        elif attempt is not None and attempt.stage in (Stage.ANNOUNCING, Stage.FETCHING):
            label.following = delivery
        else:
            self._begin(label, delivery)

    def _begin(self, label: Label, delivery: Delivery) -> None:
        label.following = None
        data = delivery.picture.data
        label.attempt = Attempt(delivery, data_version(data), Evidence(len(data)))
        self._active[label.mac] = label
        self._queue.announce(label.mac)

    def _announce_again(self, label: Label, *, first: bool = False) -> None:
        attempt = label.attempt
        assert attempt is not None
        attempt.stage = Stage.WAITING
        attempt.again = False
        attempt.evidence = Evidence(len(attempt.delivery.picture.data))
        self._queue.announce(label.mac, first=first)

    def _promote(self, label: Label) -> None:
        """Let a waiting delivery replace the label's attempt where the wire rules allow it now."""
        busy = label.attempt is not None and label.attempt.stage in (Stage.ANNOUNCING, Stage.FETCHING)
        if label.following is not None and not busy:
            self._begin(label, label.following)

    def _drop(self, label: Label) -> None:
        label.attempt = None
        self._active.pop(label.mac, None)
        self._queue.forget(label.mac)

    def _fail(self, label: Label, reason: FailReason, detail: str, *, cancel: bool = False) -> None:
        attempt = label.attempt
        assert attempt is not None
        self._drop(label)
        self._events.append(Failed(self.radio_id, label.label_id, attempt.delivery.attempt_id, reason, detail))
        if label.following is not None:
            self._begin(label, label.following)
        elif cancel:
            self._queue.cancel(label.mac)  # it would hog a slot, and nobody follows it any more

    def _dispatch(self, link_ms: int) -> None:
        """Give the module its next command. One at a time, so that every decision rests on what the line said last."""
        while self._session.can_take:
            if (cancel := self._queue.take_cancel()) is not None:
                self._session.cancel(cancel, link_ms)
                continue
            mac = self._queue.take_announcement()
            if mac is None:
                lit = self._queue.take_light()
                if lit is None:
                    return
                self._session.offer(blink(lit), b"", link_ms)
                continue
            attempt = self._labels[mac].attempt
            assert attempt is not None
            attempt.stage = Stage.ANNOUNCING
            attempt.again = False
            self._session.offer(pending_data(mac, attempt), attempt.delivery.picture.data, link_ms)

    # ------------------------------------------------------------ small
    def _new_session(self) -> ModuleSession:
        return ModuleSession(channel=self._channel, power=self._power, fast=self._fast, expected_mac=self._expected_mac)

    def _go_down(self, reason: str) -> None:
        self._up = False
        if reason != self._down_reason:
            self._down_reason = reason
            self._events.append(RadioDown(self.radio_id, reason))

    def _label(self, mac: Mac) -> Label:
        label = self._labels.get(mac)
        if label is None:
            label = self._labels[mac] = Label(mac, LabelId(printed(mac)))
        return label

    def _attempt(self, mac: Mac, data_ver: DataVer) -> Attempt | None:
        label = self._labels.get(mac)
        return label.attempt if label is not None and label.attempt is not None and label.attempt.data_ver == data_ver else None

    @staticmethod
    def _stalled(attempt: Attempt, now_ms: int) -> bool:
        return now_ms - attempt.asked_at_ms >= STALL_MS
