"""The shortcuts that people take, planted one at a time: each must be caught. `MUTANTS` names them all."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, Final

from msgspec import structs

from edge import desk, planning, pricing
from edge.demo.hq_books import HqBooks
from edge.hq_outbox import OutboxPublisher, Upward
from edge.model import MayState
from edge.price_mirror import PriceMirror
from edge.sales import Sales
from edge.store import catalogue, holds, hq_rows, inbox, journal, people, shelf, stock, unknown
from edge.store.db import Refused
from edge.store.hq_rows import Context
from edge.store.load import load
from edge.store.rows import Db, Stamp
from edge.store.store import Store
from edge.view import Delta, View
from protocols import hq
from protocols.hq_events import EventKind, make_event, verify_up_batch
from protocols.hq_messages import PriceBatch
from tests.sim import disk
from tests.sim.headquarters import Headquarters
from tests.sim.world import SOUND, Faults

Change = tuple[Any, str, object]

NOTED_LATER_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Mutant:
    """What is changed while a history is played, and what goes wrong around the daemon."""

    name: str
    changes: Callable[[], Iterator[Change]] = lambda: iter(())
    faults: Faults = SOUND
    kind: int = 1  # of the histories (`happenings.KINDS`) that show it most: the shelf's, if nothing else is said


# -- prices ----------------------------------------------------------------------------------------------------------------


def labels_ignored() -> Iterator[Change]:
    yield pricing, "bounds", lambda *args, **more: iter(())


def stale_hq_command_accepted() -> Iterator[Change]:
    """What comes last is taken, whatever its place or its revision."""
    receive, apply_rows = inbox.receive, catalogue.apply_rows

    def take_all(db: Db, stamp: Stamp, message: hq.Message, context: Context) -> tuple[inbox.Received, Delta]:
        received, delta = receive(db, stamp, message, context)
        if isinstance(received.decision, hq.Duplicate | hq.Stale) and isinstance(message.body, PriceBatch):
            hq_rows.put_rows(db, stamp, hq_rows.new_rows(message.body.rows, context.currency), "again", context.limits, delta)
        return received, delta

    def as_newest(db: Db, stamp: Stamp, new_rows: Any, *rest: Any) -> Any:
        found = []
        for new in new_rows:
            known = db.execute("SELECT max(rev) FROM price_row WHERE item_id = ? AND price_id = ?", (new.item_id, new.price_id)).get
            found.append(structs.replace(new, rev=known + 1) if known is not None and known > new.rev else new)
        return apply_rows(db, stamp, found, *rest)

    yield inbox, "receive", take_all
    yield catalogue, "apply_rows", as_newest


def may_set_in_memory_only() -> Iterator[Change]:
    """What was sent and not yet proven is known until the daemon ends."""

    def forgetful(db: Db) -> Delta:
        db.execute("UPDATE attempt SET state = 'past' WHERE kind = 'picture' AND state = 'open'")
        return load(db)

    yield disk, "load", forgetful


def attempt_noted_after_sending() -> Iterator[Change]:
    """The bytes leave first, the row follows a moment later, if the daemon lives that long."""
    begin_attempt = Store.begin_attempt

    async def later(self: Store, new: shelf.NewAttempt) -> None:
        loop = asyncio.get_running_loop()

        async def begin() -> None:
            with suppress(Refused):  # retired meanwhile
                await begin_attempt(self, new)

        def note() -> None:
            _kept.add(task := loop.create_task(begin()))
            task.add_done_callback(_kept.discard)

        loop.call_later(NOTED_LATER_S, note)

    yield Store, "begin_attempt", later


_kept: set[Any] = set()  # tasks that nobody waits for


def confirm_clears_newer_attempts() -> Iterator[Change]:
    prove = shelf.prove

    def all_gone(db: Db, stamp: Stamp, label_id: str, attempt_id: int, grade: str, **more: Any) -> tuple[bool, Delta]:
        bound, delta = prove(db, stamp, label_id, attempt_id, grade, **more)
        newer = db.execute("SELECT attempt_id FROM attempt WHERE label_id = ? AND attempt_id > ?", (label_id, attempt_id)).fetchall()
        for (each,) in newer:
            db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ?", (each,))
            delta.may[label_id, each] = None
        return bound, delta

    yield shelf, "prove", all_gone


def failure_releases_the_bound() -> Iterator[Change]:
    note = shelf.note_failure

    def released(db: Db, stamp: Stamp, attempt_id: int, *rest: Any) -> tuple[None, Delta]:
        _, delta = note(db, stamp, attempt_id, *rest)
        label_id = db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ? RETURNING label_id", (attempt_id,)).get
        if label_id is not None:
            delta.may[str(label_id), attempt_id] = None
        return None, delta

    yield shelf, "note_failure", released


def old_image_forgotten_on_reassign() -> Iterator[Change]:
    bind = shelf.bind

    def forgetting(db: Db, stamp: Stamp, label_id: str, *args: Any, **more: Any) -> tuple[Any, Delta]:
        binding, delta = bind(db, stamp, label_id, *args, **more)
        for (old,) in db.execute("SELECT attempt_id FROM attempt WHERE label_id = ? AND kind = 'picture'", (label_id,)).fetchall():
            db.execute("UPDATE attempt SET state = 'past' WHERE attempt_id = ?", (old,))
            delta.may[label_id, old] = None
        return binding, delta

    yield shelf, "bind", forgetting


def cut_sent_under_a_live_lease() -> Iterator[Change]:
    yield pricing, "lease_above", lambda offers, leased: False


def leases_lost_in_a_crash() -> Iterator[Change]:
    """Which quotes still hold is known until the daemon ends."""

    def forgetful(db: Db) -> Delta:
        delta = load(db)
        delta.quotes.clear()
        return delta

    yield disk, "load", forgetful


def price_table_not_waited_for() -> Iterator[Change]:
    yield PriceMirror, "blocks", lambda self, offers, *, member: False


def price_table_lost_in_a_crash() -> Iterator[Change]:
    yield desk, "_note_mirror", lambda db: (None, Delta())


def same_content_taken_for_settled() -> Iterator[Change]:
    """A to B to A: the label was seen with A before, so nothing is sent."""

    def settled(entries: Any, wanted_hash: str) -> bool:
        return any(entry.state is MayState.PROVEN and entry.content_hash == wanted_hash for entry in entries.values())

    yield planning, "is_settled", settled


def members_offers_forgotten() -> Iterator[Change]:
    bounds = pricing.bounds
    yield pricing, "bounds", lambda *args, **more: bounds(*args, **(more | {"member": False}))


def members_cut_sent_under_a_members_quote() -> Iterator[Change]:
    yield View, "member_leased_lines", lambda self, item_id: iter(())


# -- people ----------------------------------------------------------------------------------------------------------------


def retired_is_forgotten() -> Iterator[Change]:
    """Whatever a retired label shows is struck from the books, so that nothing is there to be put back."""
    retire = people.retire

    def forgetting(db: Db, stamp: Stamp, label_id: str, *args: Any, **more: Any) -> tuple[int, Delta]:
        count, delta = retire(db, stamp, label_id, *args, **more)
        db.execute("UPDATE attempt SET state = 'past' WHERE label_id = ? AND state IN ('open', 'proven')", (label_id,))
        delta.may = dict.fromkeys(delta.may)
        return count, delta

    yield people, "retire", forgetting


def no_dwell_for_what_a_retired_label_showed() -> Iterator[Change]:
    retire = people.retire
    yield people, "retire", lambda *args, **more: retire(*args, **(more | {"dwell_ms": 0}))


def a_look_takes_the_newest_for_what_is_seen() -> Iterator[Change]:
    """Whatever the price, what was sent last is what hangs there."""
    yield people, "recognise", lambda members, claims: members[-1].attempt_id if members else None
    yield people, "_refuse_what_may_come", lambda *args: None


# -- a file that was restored ----------------------------------------------------------------------------------------------


def unknown_left_out_after_a_restore() -> Iterator[Change]:
    yield unknown, "everywhere", lambda db, stamp, why, lost_since_ms, delta: None


def restore_keeps_the_incarnation() -> Iterator[Change]:
    begin = journal.begin_incarnation
    yield journal, "begin_incarnation", lambda db, incarnation: None if journal.get_meta(db, "incarnation") else begin(db, incarnation)


def incarnation_as_a_counter() -> Iterator[Change]:
    begin = journal.begin_incarnation

    def counted(db: Db, incarnation: str) -> None:
        before = journal.get_meta(db, "incarnation") or "0"
        begin(db, f"{(int(before, 16) + 1) % (1 << 128):032x}")

    yield journal, "begin_incarnation", counted


# -- sales -----------------------------------------------------------------------------------------------------------------


def no_dedupe_at_the_store() -> Iterator[Change]:
    """Each time that a sale is told, it is another one."""
    sale = Sales._sale

    async def numbered(self: Sales, lane_id: str, params: Any, digest: str) -> Any:
        return replace(await sale(self, lane_id, params, digest), sale_id=f"{params.sale_id}.{self._store.sales_count()}")

    yield Store, "find_sale", lambda self, sale_id: None
    yield Sales, "_sale", numbered


def no_dedupe_at_hq() -> Iterator[Change]:
    """HQ books what comes, as often as it comes."""

    def each_time(self: HqBooks, kind: str, raw: bytes, now_ms: int) -> str | None:
        incarnation = book(self, kind, raw, now_ms)
        for event in verify_up_batch(kind, raw).events:
            if event.kind is EventKind.SALE and self.booked_through(incarnation or "") >= event.seq:
                self.sales.clear()
                self._effect(event, now_ms)
        return incarnation

    book = HqBooks.book
    yield HqBooks, "book", each_time


def no_dedupe_by_sale_id_at_hq() -> Iterator[Change]:
    sale = Headquarters._sale

    def every_one(self: Headquarters, body: Any) -> None:
        known = self.sales.pop(body["sale_id"], None)
        sale(self, body)
        self.sales.setdefault(body["sale_id"], known or body)

    yield Headquarters, "_sale", every_one


def sequence_gaps() -> Iterator[Change]:
    """Numbers are drawn in memory: what does not commit keeps its number."""
    drawn: dict[str, int] = {}

    def append(db: Db, kind: EventKind, event_id: str, time: str, data: str) -> int:
        state = journal.outbox_state(db)
        seq = drawn[state.incarnation] = max(state.last_seq, drawn.get(state.incarnation, 0)) + 1
        event = make_event(state.incarnation, seq, kind, event_id, time, data, state.last_hash)
        db.execute(
            "INSERT INTO outbox(seq, kind, event_id, time, data, prev_hash, hash) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (event.seq, str(event.kind), event.id, event.time, event.data, event.prev_hash, event.hash),
        )
        journal.set_meta(db, "up_seq", str(event.seq))
        journal.set_meta(db, "up_hash", event.hash)
        return event.seq

    yield journal, "_append", append


def puback_as_hqs_ack() -> Iterator[Change]:
    """What the broker has is taken for what HQ has."""
    begin, send = OutboxPublisher.__init__, Upward.send
    stores: dict[int, Any] = {}

    def init(self: OutboxPublisher, store: Any, upward: Upward, *rest: Any) -> None:
        stores[id(upward)] = store
        begin(self, store, upward, *rest)

    def sent(self: Upward, connection: Any, tail: str, payload: bytes, **more: Any) -> asyncio.Future[None]:
        future = send(self, connection, tail, payload, **more)
        kind, store = tail.removeprefix("up/"), stores.get(id(self))
        if kind in set(EventKind) and store is not None:
            batch = verify_up_batch(kind, payload)

            def had(done: asyncio.Future[None]) -> None:
                if not done.cancelled() and done.exception() is None:
                    last = batch.events[-1]
                    work: Awaitable[bool] = store.hq_ack(batch.incarnation, last.seq, last.hash)
                    _kept.add(task := asyncio.ensure_future(work))
                    task.add_done_callback(_kept.discard)

            future.add_done_callback(had)
        return future

    yield OutboxPublisher, "__init__", init
    yield Upward, "send", sent


# -- stock -----------------------------------------------------------------------------------------------------------------


def read_then_write_holds() -> Iterator[Change]:
    """What is available is read first, for every buyer; what is granted is written then."""
    read: dict[tuple[bytes, str], int] = {}
    reserve = holds._reserve

    def unguarded(db: Db, stamp: Stamp, hold: Any) -> str:
        if hold.channel:
            return reserve(db, stamp, hold)
        available = read.setdefault((stamp.entropy, hold.item_id), stock.level_of(db, hold.item_id).available)
        if available < hold.quantity:
            return "short"
        db.execute("UPDATE stock SET held = held + ?1 WHERE item_id = ?2", (hold.quantity, hold.item_id))
        return "granted"

    yield holds, "_reserve", unguarded


_PLANTED: Final = (
    labels_ignored,
    stale_hq_command_accepted,
    may_set_in_memory_only,
    attempt_noted_after_sending,
    confirm_clears_newer_attempts,
    failure_releases_the_bound,
    old_image_forgotten_on_reassign,
    cut_sent_under_a_live_lease,
    leases_lost_in_a_crash,
    price_table_not_waited_for,
    price_table_lost_in_a_crash,
    same_content_taken_for_settled,
    members_offers_forgotten,
    members_cut_sent_under_a_members_quote,
    retired_is_forgotten,
    no_dwell_for_what_a_retired_label_showed,
    a_look_takes_the_newest_for_what_is_seen,
    unknown_left_out_after_a_restore,
    restore_keeps_the_incarnation,
    incarnation_as_a_counter,
    no_dedupe_at_the_store,
    no_dedupe_at_hq,
    no_dedupe_by_sale_id_at_hq,
    sequence_gaps,
    puback_as_hqs_ack,
    read_then_write_holds,
)
_SURROUNDINGS: Final = (
    Mutant("radio_ack_taken_as_displayed", faults=Faults(believes_stored=True)),
    Mutant("cached_picture_counted_as_the_new_attempt", faults=Faults(cached_picture_counts=True)),
    Mutant("no_dwell", faults=Faults(no_dwell=True)),
    Mutant("timeout_releases", faults=Faults(release_after=True)),
)

# Tills, an old file put back, six buyers, HQ's word.
_KINDS: Final = {
    stale_hq_command_accepted: 5,
    leases_lost_in_a_crash: 1,
    price_table_not_waited_for: 2,
    price_table_lost_in_a_crash: 2,
    unknown_left_out_after_a_restore: 3,
    restore_keeps_the_incarnation: 3,
    incarnation_as_a_counter: 3,
    no_dedupe_at_the_store: 2,
    no_dedupe_at_hq: 2,
    no_dedupe_by_sale_id_at_hq: 3,
    sequence_gaps: 2,
    puback_as_hqs_ack: 2,
    read_then_write_holds: 4,
}

MUTANTS: Final[dict[str, Mutant]] = {
    each.name: each for each in chain((Mutant(plant.__name__, plant, kind=_KINDS.get(plant, 1)) for plant in _PLANTED), _SURROUNDINGS)
}
