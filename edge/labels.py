"""The shelf's loop: compare wanted with shown, draw, deliver, record what was proven. Level-triggered: a lost wake-up heals itself.

Order is the safety: an attempt is committed to the may-set before its bytes leave; proof removes older members only.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import islice
from typing import Final, assert_never

from drivers.base import (
    Clock,
    Delivery,
    DisplayUnknown,
    DriverEvent,
    Emit,
    Failed,
    FailReason,
    LabelDriver,
    LabelId,
    LabelSeen,
    OfferAccepted,
    OfferCleared,
    OnAir,
    Picture,
    Proven,
    RadioDown,
    RadioUp,
    Stored,
)
from edge import planning, pricing, proof_rules
from edge.label_confirm import Confirmations
from edge.label_work import CheckIns, Dwells, Later, RadioState, ShelfCounters, ShelfRules, Work, new_attempt, new_ticket
from edge.model import PAPER, AttemptId, ItemId, MayState
from edge.planning import PictureFacts, Wanted
from edge.price_mirror import TableAbove, no_tables
from edge.render_worker import RenderedLabel
from edge.renderer import Renderer, RenderFailed
from edge.rise_watch import RiseWatch
from edge.store import people
from edge.store.db import Refused
from edge.store.shelf import ANY_ATTEMPT
from edge.store.store import Store
from render.errors import FieldError, RenderError

log = logging.getLogger(__name__)

TICK_MS: Final = 1_000  # of store time: how late a lapsed quote, an ended dwell or a due price may be noticed
TICK_REAL_S: Final = 0.25  # of real time at most between two looks, however slow the store's clock runs
LEASE_RETRY_MS: Final = 1_000  # a picture that waits for a live quote looks again this often
BUSY_PAUSE_S: Final = 0.05  # between two goes while the store writes: both want the one interpreter, and tills wait for the writer
PLANNED_MAX: Final = 5  # labels planned in one go, some 0.5 ms: lanes are answered by the same thread
CONFIRMED_MAX: Final = 50  # items in one transaction, some 3 ms
DRAWING_MAX: Final = 16  # labels being drawn or written at once: bounds memory, keeps the workers busy
MAY_SET_MAX: Final = 32  # open attempts on one label; beyond, it is tried once a day, when it is heard again, and a person is asked
SILENT_RETRY_MS: Final = 86_400_000
SILENT_MS: Final = 3_600_000  # not heard for so long: when it is heard again, there is no reason to wait any longer


NEEDS_A_PERSON: Final = (
    "proven by a grade that does not bind a rise here: a person must look (shelfd label confirm)",
    "its ticket must be printed and hung, and a person must say so (shelfd label ticket, shelfd label confirm)",
)


class LabelService:
    """Drives every radio. Built by the composition root; `run` until cancelled."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        renderer: Renderer,
        rules: ShelfRules,
        facts: PictureFacts,
        store_open: Callable[[], bool],
    ) -> None:
        self.counters = ShelfCounters()
        self.radios: dict[str, RadioState] = {}
        self.table_above: TableAbove = no_tables  # the composition root puts the price mirror's here
        self._store = store
        self._view = store.view
        self._clock = clock
        self._renderer = renderer
        self.rules = rules
        self._facts = facts
        self._store_open = store_open
        self._confirmations = Confirmations(store, clock, facts)
        self._work: dict[str, Work] = {}
        self._events: deque[tuple[str, DriverEvent]] = deque()
        self._check_ins = CheckIns()
        self._ready: dict[str, None] = {}  # labels to plan, in order, each once
        self._to_confirm: dict[ItemId, None] = {}  # items that may be shown everywhere by now
        self._confirming = False
        self._later = Later()  # labels to plan again
        self.rises = RiseWatch(store)
        self._dwells = Dwells()
        self._wake = asyncio.Event()
        self._drawing = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._trusted = clock.wall_trusted()
        store.on_change = self._wake.set

    # -- wiring --------------------------------------------------------------------------------------------------------

    def add_radio(self, driver: LabelDriver, kind: str) -> None:
        self.radios[driver.name] = RadioState(driver, kind)

    def emit_for(self, radio: str) -> Emit:
        """Where the driver of this name reports. Check-ins of one label are merged, so that a stormy radio grows nothing."""

        def emit(event: DriverEvent) -> None:
            if isinstance(event, LabelSeen):
                self._check_ins.hear(event)
            else:
                self._events.append((radio, event))
            self._wake.set()

        return emit

    # -- what others read ----------------------------------------------------------------------------------------------

    def problem(self, label_id: str) -> str:
        work = self._work.get(label_id)
        return work.problem if work else ""

    def dwell_ms(self) -> int:
        """How long what leaves shoppers' sight now goes on bounding."""
        return self.rules.dwell_ms if self._store_open() else 0

    def unsettled(self) -> int:
        return sum(1 for work in self._work.values() if work.unsettled_since_ms is not None)

    def oldest_unsettled_ms(self) -> int:
        """Age of the oldest label that does not provably show what it should; 0 where all do."""
        now_ms = self._clock.now_ms()
        return max((now_ms - work.unsettled_since_ms for work in self._work.values() if work.unsettled_since_ms is not None), default=0)

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled. Begins from the store's rows alone, so it may be started again after a failure."""
        self._work.clear()
        self._drawing = 0
        self._confirming = False
        self._ready.update(dict.fromkeys(self._view.labels))
        self._view.changed_items.update(self._view.waiting)  # among them items without a label: nothing else would look at them
        self._dwells = Dwells()
        self._dwells.watch(self._view.may_entries())
        self.rises.look(await self._store.put_in_force(list(self._view.rows)))
        async with asyncio.TaskGroup() as self._tasks:
            while True:
                self._wake.clear()
                await self._take_events()
                await self._tick()
                self._take_changes()
                self._plan_ready()
                self._confirm_some()
                await asyncio.sleep(0)
                await self._wait()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(TICK_REAL_S):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _tick(self) -> None:
        """Whatever time alone brings: due prices, lapsed quotes, ended dwells, retries."""
        now_ms = self._clock.now_ms()
        trusted = self._clock.wall_trusted()
        due = self._view.due_items(self._clock.wall_ms())
        if trusted and not self._trusted:
            due = list(self._view.rows)  # rises that waited for a trusted clock
        self._trusted = trusted
        due += self.rises.due()
        if due:
            await self._store.put_in_force(dict.fromkeys(due))
            self.rises.look(due)
            self._view.changed_items.update(due)  # members' prices, struck-through ones and outranked rows have their time, too
        lapsed = [quote.quote_id for quote in self._view.quotes.values() if now_ms - quote.made_ms >= quote.valid_ms]
        if lapsed:
            await self._store.lapse_quotes(lapsed)
        await self._end_dwells(now_ms)
        self._ready.update(dict.fromkeys(self._later.take_due(now_ms)))

    async def _end_dwells(self, now_ms: int) -> None:
        boot_id, store_open = self._clock.boot_id, self._store_open()
        gone, left = self._dwells.take_over(self._view.may_of_label, now_ms=now_ms, boot_id=boot_id, store_open=store_open)
        if gone:
            await self._store.end_dwell(gone)
        if left:
            stamp = self._store.stamp()
            await self._store.run(lambda db: people.end_release(db, stamp, left))

    def _take_changes(self) -> None:
        items, labels = self._view.take_changes()
        self.rises.look(items)
        for item_id in items:
            labels |= self._view.labels_of_item(item_id)
            if self._confirmations.waits_for_none(item_id):
                self._to_confirm[item_id] = None
        self._ready.update(dict.fromkeys(labels))

    def _confirm_some(self) -> None:
        """One transaction after the other: a price list for 50,000 items must not fill the writer's queue."""
        if self._to_confirm and not self._confirming:
            self._confirming = True
            self._start(self._confirm_waiting())

    async def _confirm_waiting(self) -> None:
        while self._to_confirm:
            some = list(islice(self._to_confirm, CONFIRMED_MAX))
            for item_id in some:
                del self._to_confirm[item_id]
            await self._confirmations.confirm(some)
        self._confirming = False

    # -- planning ------------------------------------------------------------------------------------------------------

    def _plan_ready(self) -> None:
        for label_id in list(islice(self._ready, PLANNED_MAX)):
            if self._drawing >= DRAWING_MAX:
                return  # a picture that is done wakes the loop
            del self._ready[label_id]
            self._plan(label_id)
        if self._ready and self._store.writer_depth() > 0:
            asyncio.get_running_loop().call_later(BUSY_PAUSE_S, self._wake.set)
        elif self._ready:
            self._wake.set()

    def _plan(self, label_id: str) -> None:
        label = self._view.labels.get(label_id)
        if label is None or not label.panel:
            return
        work = self._work.setdefault(label_id, Work())
        if work.busy:
            return  # planned again when it is done
        self._dwells.watch(self._view.may_of_label(label_id).values())
        if label.retired:
            self._keep_out(label_id)
            return
        wanted = self._wanted(label_id, work)
        if wanted is None:
            return
        entries = self._view.may_of_label(label_id)
        if planning.is_settled(entries, wanted.content_hash):
            self._settled(label_id, work)
            return
        now_ms = self._clock.now_ms()
        if work.unsettled_since_ms is None:
            work.unsettled_since_ms = now_ms
        if planning.waits_for_person(entries, wanted.content_hash, ticket=label.kind == PAPER):
            work.problem = NEEDS_A_PERSON[label.kind == PAPER]
            return
        if work.in_flight is not None and work.in_flight_hash == wanted.content_hash:
            return
        if now_ms < work.next_try_ms:
            self._later.put(label_id, work.next_try_ms)
            return
        radio = None if label.kind == PAPER else self._radio_for(label.last_radio)
        if radio is None and label.kind != PAPER:
            return  # the first radio that comes up has all of them planned again
        if self._leased_above(wanted):
            self._later.put(label_id, now_ms + LEASE_RETRY_MS)
            return
        work.busy = True
        self._drawing += 1
        self._start(self._send(label_id, work, wanted, radio))

    def _wanted(self, label_id: str, work: Work) -> Wanted | None:
        """What the label should show; "see staff" while its item's data cannot be drawn, None while its template cannot."""
        label = self._view.labels[label_id]
        try:
            wanted = self._confirmations.wanted(label_id)
            if wanted.content_hash != work.undrawable:
                work.undrawable = ""
                return wanted
        except FieldError as error:
            work.undrawable = "fields"
            self._not_drawn(label_id, work, str(error))
        except RenderError as error:
            self._not_drawn(label_id, work, str(error))
            if work.unsettled_since_ms is None:
                work.unsettled_since_ms = self._clock.now_ms()
            return None
        binding = self._view.bindings.get(label_id)
        return planning.see_staff(label, binding.items[0] if binding and binding.items else "", self._facts)

    def _not_drawn(self, label_id: str, work: Work, reason: str) -> None:
        if work.problem != reason:
            log.warning("label=%s cannot be drawn: %s", label_id, reason)
            self.counters.render_errors += 1
        work.problem = reason

    def _settled(self, label_id: str, work: Work) -> None:
        if work.unsettled_since_ms is not None:
            self.counters.settled += 1
        self._work[label_id] = Work(undrawable=work.undrawable, problem=work.problem if work.undrawable else "")
        self._later.forget(label_id)
        self._confirm_items(label_id)

    def _keep_out(self, label_id: str) -> None:
        """A retired label: nothing is sent to it, and what radios still offer it is taken back."""
        self._work[label_id] = Work()
        self._later.forget(label_id)
        offering = self._store.offering_radios(label_id, ANY_ATTEMPT)
        for radio in self.radios.values():
            if radio.driver.radio_id in offering:
                radio.driver.withdraw(LabelId(label_id))
        self._confirm_items(label_id)

    def _confirm_items(self, label_id: str) -> None:
        self._to_confirm.update(dict.fromkeys(self._confirmations.waiting_for(label_id)))

    def _radio_for(self, last_radio: str) -> RadioState | None:
        """The radio that heard the label last, else any that is up."""
        up = [radio for radio in self.radios.values() if radio.up]
        return next((radio for radio in up if radio.driver.radio_id == last_radio), up[0] if up else None)

    def _leased_above(self, wanted: Wanted) -> bool:
        """Whether a live quote charges more than the picture would promise: to anybody, or to a member what it promises to members."""
        public, members = planning.offers_by_audience(wanted.offers)
        if self.table_above(public, member=False) or self.table_above(members, member=True):
            return True
        return pricing.lease_above(public, self._view.leased_lines) or pricing.lease_above(members, self._view.member_leased_lines)

    # -- sending -------------------------------------------------------------------------------------------------------

    async def _send(self, label_id: str, work: Work, wanted: Wanted, radio: RadioState | None) -> None:
        try:
            if radio is not None:
                await self._draw_and_deliver(label_id, work, wanted, radio)
            else:
                await self._write_ticket(label_id, wanted)
        except Refused as error:  # retired while it was drawn
            log.info("label=%s not sent: %s", label_id, error)
            work.in_flight = None
        finally:
            work.busy = False
            self._drawing -= 1
            self._ready[label_id] = None
            self._wake.set()

    async def _draw_and_deliver(self, label_id: str, work: Work, wanted: Wanted, radio: RadioState) -> None:
        again = self._same_again(label_id, work, wanted)
        if again is not None:
            attempt_id, picture = again
            work.begin(attempt_id, wanted.content_hash, radio.driver.radio_id or "", picture)
            await self._store.offer_again(attempt_id, label_id, work.in_flight_radio, radio.driver.offer_lifetime_ms)
        else:
            attempt_id = await self._store.new_attempt_id()
            rendered = await self._draw(label_id, work, wanted, attempt_id)
            if rendered is None or self._leased_above(wanted) or self._is_retired(label_id):
                return
            picture = Picture(rendered.codec, rendered.data)
            work.begin(attempt_id, wanted.content_hash, radio.driver.radio_id or "", picture)
            await self._store.begin_attempt(new_attempt(attempt_id, label_id, wanted, rendered, radio.driver))
            work.was_on_air = False
        self._deliver(label_id, work, wanted, radio, Delivery(attempt_id, LabelId(label_id), picture))

    def _deliver(self, label_id: str, work: Work, wanted: Wanted, radio: RadioState, delivery: Delivery) -> None:
        """Hand a committed attempt to its radio, unless somebody was quoted more than it promises or the radio is another by now.

        Then it is planned again, and offered as it is when nothing speaks against it any more.
        """
        if radio.driver.radio_id != work.in_flight_radio or self._leased_above(wanted) or self._is_retired(label_id):
            work.in_flight = None
            return
        for lingering in self._store.offering_radios(label_id, delivery.attempt_id):
            other = next((each for each in self.radios.values() if each.driver.radio_id == lingering), None)
            if other is not None and other is not radio:
                other.driver.withdraw(delivery.label_id)
        radio.driver.deliver(delivery)
        self.counters.sent += 1

    def _is_retired(self, label_id: str) -> bool:
        return bool(self._view.labels[label_id].retired)

    async def _write_ticket(self, label_id: str, wanted: Wanted) -> None:
        """A ticket for people to print: it may hang from the moment that they can."""
        attempt_id = await self._store.new_attempt_id()
        if not self._leased_above(wanted):
            await self._store.begin_attempt(new_ticket(attempt_id, label_id, wanted))

    def _same_again(self, label_id: str, work: Work, wanted: Wanted) -> tuple[AttemptId, Picture] | None:
        """The last attempt, if it is still the wanted picture and never left a radio: offering it again adds nothing to the may-set."""
        entries = planning.may_still_show(self._view.may_of_label(label_id))
        if work.picture is None or work.was_on_air or not entries:
            return None
        last = entries[-1]
        if last.state is not MayState.OPEN or last.content_hash != wanted.content_hash:
            return None
        return last.attempt_id, work.picture

    async def _draw(self, label_id: str, work: Work, wanted: Wanted, attempt_id: int) -> RenderedLabel | None:
        codecs = self._view.labels[label_id].codecs
        try:
            rendered = await self._renderer.draw(wanted.fields, self._store.attempt_number(attempt_id), codecs)
        except (RenderError, RenderFailed) as error:
            if isinstance(error, FieldError):
                work.undrawable = wanted.content_hash
            self._not_drawn(label_id, work, str(error))
            self._fail_later(work)
            return None
        self.counters.rendered += 1
        if not work.undrawable:
            work.problem = ""
        return rendered

    def _fail_later(self, work: Work, *, minimum_ms: int = 0) -> None:
        work.failures += 1
        pause_ms = planning.backoff_ms(work.failures, self.rules.retry_first_ms, self.rules.retry_max_ms)
        work.next_try_ms = self._clock.now_ms() + max(pause_ms, minimum_ms)

    # -- what radios report --------------------------------------------------------------------------------------------

    async def _take_events(self) -> None:
        await self._save_check_ins()
        while self._events:
            await self._take_event(*self._events.popleft())

    async def _save_check_ins(self) -> None:
        news = self._check_ins.take_news(self._view.labels, self._clock.now_ms())
        for event in news:
            label, work = self._view.labels.get(event.label_id), self._work.get(event.label_id)
            if label is not None and work is not None and self._clock.wall_ms() - label.last_seen_wall_ms >= SILENT_MS:
                work.next_try_ms = 0  # it was away; `seen` plans it again
        if news:
            await self._store.seen([(self._kind_of(event.radio_id), event) for event in news])

    def _kind_of(self, radio_id: str) -> str:
        return next((radio.kind for radio in self.radios.values() if radio.driver.radio_id == radio_id), "")

    async def _take_event(self, radio: str, event: DriverEvent) -> None:
        match event:
            case RadioUp():
                self._radio_up(self.radios[radio], event)
            case RadioDown():
                self._radio_down(self.radios[radio], event)
            case DisplayUnknown():
                await self._store.add_unknown(event.label_id, event.reason)
            case OfferAccepted():
                await self._store.accept_offer(event.label_id, event.radio_id, event.attempt_id)
            case OfferCleared():
                work = self._work.get(event.label_id)
                mine = work.in_flight if work is not None and work.in_flight_radio == event.radio_id else None
                await self._store.clear_offers(event.label_id, event.radio_id, mine)
            case OnAir():
                await self._on_air(event)
            case Stored():
                self.counters.stored += 1
                await self._store.note_progress(event.attempt_id, "stored")
            case Proven():
                await self._proven(radio, event)
            case Failed():
                await self._failed(event)
            case LabelSeen():
                raise AssertionError("check-ins are merged, not queued")
            case _:
                assert_never(event)

    def _radio_up(self, radio: RadioState, event: RadioUp) -> None:
        radio.up, radio.description, radio.last_error = True, event.description, ""
        log.info("radio=%s up: %s", radio.driver.name, event.description)
        self._ready.update(dict.fromkeys(label_id for label_id, work in self._work.items() if work.unsettled_since_ms is not None))
        self._ready.update(dict.fromkeys(label_id for label_id, label in self._view.labels.items() if label.retired))

    def _radio_down(self, radio: RadioState, event: RadioDown) -> None:
        if radio.up or radio.last_error != event.reason:
            log.warning("radio=%s down: %s", radio.driver.name, event.reason)
        radio.up, radio.last_error = False, event.reason
        for label_id, work in self._work.items():
            if work.in_flight is not None and work.in_flight_radio == radio.driver.radio_id:
                work.in_flight = None  # whatever it still holds, another radio may offer it too
                self._ready[label_id] = None

    async def _on_air(self, event: OnAir) -> None:
        work = self._work.get(event.label_id)
        if work is not None and work.in_flight == event.attempt_id and not work.was_on_air:
            work.was_on_air = True
            self.counters.on_air += 1
            await self._store.note_progress(event.attempt_id, "on_air")

    async def _proven(self, radio: str, event: Proven) -> None:
        label = self._view.labels.get(event.label_id)
        kinds = {self._kind_of(event.radio_id), label.kind if label is not None else ""} - {""}  # "": of a radio that was taken away since
        grade, bound = proof_rules.granted(kinds, event.grade), False
        if grade is None:
            log.error("label=%s attempt=%s: nothing that radio %s says can prove a picture", event.label_id, event.attempt_id, radio)
        else:
            accepted = all(self.rules.accepts(kind, grade) for kind in kinds)
            bound = await self._store.prove(event.label_id, event.attempt_id, str(grade), accepted=accepted, dwell_ms=self.dwell_ms())
            self.counters.proven += 1
            self.counters.proven_by[str(grade)] = self.counters.proven_by.get(str(grade), 0) + 1
        work = self._work.get(event.label_id)
        if work is not None and work.in_flight == event.attempt_id:
            work.in_flight, work.picture, work.failures, work.next_try_ms = None, None, 0, 0
            if not bound:
                self._fail_later(work)
        self._ready[event.label_id] = None

    async def _failed(self, event: Failed) -> None:
        reason = str(event.reason)
        self.counters.failed[reason] = self.counters.failed.get(reason, 0) + 1
        await self._store.note_failure(event.attempt_id, reason, event.detail)
        work = self._work.get(event.label_id)
        if work is None or work.in_flight != event.attempt_id:
            return
        log.info("label=%s attempt=%s outcome=%s %s", event.label_id, event.attempt_id, reason, event.detail)
        work.in_flight = None
        work.problem = reason
        if event.reason is FailReason.SUSPICIOUS:
            work.was_on_air = True  # the label keeps these very bytes already: only others can be proven
        crowded = len(planning.may_still_show(self._view.may_of_label(event.label_id))) >= MAY_SET_MAX
        self._fail_later(work, minimum_ms=SILENT_RETRY_MS if crowded else 0)
        if event.reason in (FailReason.RADIO_LOST, FailReason.DISPLAY_LOST) and not crowded:
            work.next_try_ms = self._clock.now_ms()  # not the label's fault: at once
        self._ready[event.label_id] = None

    def _start(self, work: Coroutine[object, object, None]) -> None:
        assert self._tasks is not None
        self._tasks.create_task(work)
