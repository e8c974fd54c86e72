"""The store as the daemon uses it: opens the file, keeps the view, runs the transactions. Implements `edge.hq.SyncStore`."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import shutil
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TypeVar

import apsw

from drivers.base import Clock, LabelSeen
from edge import __version__, pricing
from edge.change_windows import ChangesNow
from edge.hq_ports import Missing, OutboxState, Outcome, ReceiveResult, StateSummary
from edge.model import AttemptId, Binding, ItemId, MayState, Place, Quote
from edge.store import (
    answers,
    catalogue,
    control,
    evidence,
    hq_rows,
    inbox,
    journal,
    people,
    shelf,
    snapshots,
    streams,
    till,
    unknown,
    witness,
)
from edge.store.db import OWN_TROUBLE, SCHEMA_VERSION, Refused, StoreError, Transaction, Writer, check, connect
from edge.store.hq_rows import Shown
from edge.store.load import load
from edge.store.rows import Db, Stamp
from edge.view import Delta, View
from protocols import hq
from protocols.hq_control import Query
from protocols.hq_enrol import Enrolment, parse_enrolment
from protocols.hq_events import ConfigVersion, Event, encode_reply
from protocols.hq_zone import ZoneChunk

log = logging.getLogger(__name__)

T = TypeVar("T")

ATTEMPT_NUMBER_MODULUS = 1 << 32  # the reserved pixels hold 32 bits
IN_FORCE_MAX = 200  # items compared in one go: half a millisecond of the loop, and of the writer's some 10 ms where all are due


def _whenever() -> None:
    return None


class Store:
    """One open store. Build it with `open_store`; `close` it to let waiting transactions commit."""

    went_back = False  # whether the file was an older copy at this start
    _asked_late: tuple[hq.Message, ...] = ()  # queries that a zone's chunk let through: answered at the next look
    lost_ms_ago: int | None = None  # since when quotes are missing that such a copy does not know: at this start, at least
    changes_now: Callable[[], ChangesNow | None] = staticmethod(_whenever)  # when prices may rise
    evidence_key = ""  # the public half of the key that signs bundles, as `note_evidence_key` was told

    def __init__(
        self, path: Path, clock: Clock, entropy: Callable[[int], bytes], context: inbox.Context, on_fatal: Callable[[StoreError], None]
    ) -> None:
        self.view = View()
        self.outbox_grew = asyncio.Event()
        self.on_change: Callable[[], None] = _nothing  # called after each committed change of the view
        self.listeners: list[Callable[[Delta], None]] = []  # told what a transaction changed, the view having taken it over
        self._own_context = context
        self.path = path
        self._clock = clock
        self._entropy = entropy
        self._reader = connect(path, readonly=True)
        self._writer = Writer(path, self._apply, on_fatal)
        self._swapping = asyncio.Lock()
        self.view.apply(load(self._reader))
        self.view.take_changes()
        self._enrolment: Enrolment | None = control.read_enrolment(self._reader)
        self.context = control.overlaid(context, self._reader)
        self._incarnation_salt = int(self._meta("incarnation")[:8], 16)
        self.lost_ms_ago = witness.lost_ms_ago(self._reader, clock.boot_id, clock.now_ms())
        self._writer.start()

    def _meta(self, key: str) -> str:
        return journal.get_meta(self._reader, key) or ""

    def _apply(self, delta: Delta) -> None:
        self.view.apply(delta)
        if delta.outbox_grew:
            self.outbox_grew.set()
        for listener in self.listeners:
            listener(delta)
        self.on_change()

    def stamp(self) -> Stamp:
        """Now, with fresh randomness."""
        clock = self._clock
        return Stamp(clock.wall_ms(), clock.now_ms(), clock.boot_id, clock.wall_trusted(), self._entropy(16), self.changes_now())

    async def run(self, transaction: Transaction[T], *, urgent: bool = False) -> T:
        """Run one transaction of this package; it is committed, and the view holds it, when this returns. `urgent`: a till waits."""
        return await self._writer.run(transaction, urgent=urgent)

    def read(self, query: Callable[[Db], T]) -> T:
        """Ask the committed rows. Must be short: the event loop waits."""
        return query(self._reader)

    def writer_depth(self) -> int:
        return self._writer.depth()

    async def keep_head(self) -> None:
        """Say beside the file how far it came: by that a start knows an older copy. Raises OSError."""
        head = journal.audit_head(self._reader)
        await asyncio.to_thread(witness.keep, self.path, head)

    def close(self) -> None:
        self._writer.stop()
        with contextlib.suppress(OSError, apsw.ConnectionClosedError):  # a full disk: what was kept before is no worse; or closed already
            witness.keep(self.path, journal.audit_head(self._reader))
        self._reader.close()

    # -- edge.hq.SyncStore ---------------------------------------------------------------------------------------------

    def enrolment(self) -> Enrolment | None:
        return self._enrolment

    async def enrol(self, text: bytes, actor: str) -> None:
        """Install who HQ is. Raises BadEnrolment; Refused for another store id than the one this file already belongs to, or older keys."""
        enrolment = parse_enrolment(text)
        stamp = self.stamp()
        current = self._enrolment
        if current is not None and current.store != enrolment.store:
            raise Refused(f"this store is enrolled as {current.store}; {enrolment.store} needs a file of its own")

        def transaction(db: Db) -> tuple[None, Delta]:
            control.check_enrolment(db, enrolment)
            journal.set_meta(db, "enrolment", text.decode())
            journal.record(db, stamp, actor, "enrolled", {"store": enrolment.store, "hq": enrolment.hq_incarnation})
            return None, Delta()

        await self.run(transaction)
        self._enrolment = enrolment

    def cursors(self) -> dict[str, hq.StreamCursor]:
        return streams.cursors(self._reader)

    def reached(self) -> dict[str, hq.StreamCursor]:
        return streams.reached(self._reader)

    async def receive(self, message: hq.Message) -> ReceiveResult:
        stamp = self.stamp()
        received = await self.run(lambda db: inbox.receive(db, stamp, message, self.context))
        asked = (*received.asked, *(await self._take_over(received)))
        decision = received.decision
        outcome = _OUTCOMES[type(decision)]
        if isinstance(decision, hq.InOrder):
            outcome, detail = self._placed(message)
        else:
            detail = ""
        missing, ask_now = self._missing(str(message.stream))
        if isinstance(decision, hq.Gap) and not decision.hold:
            ask_now = True
            missing = missing or Missing(str(message.stream), message.incarnation, decision.missing_from, None)
        return ReceiveResult(outcome, missing, ask_now, detail, asked)

    async def receive_shared(self, chunk: ZoneChunk) -> bool:
        stamp = self.stamp()
        wanted = await self.run(lambda db: inbox.receive_shared(db, stamp, chunk, self.context))
        self._asked_late += await self._put_snapshot_in_force()
        return wanted

    async def tend(self) -> tuple[hq.Message, ...]:
        stamp = self.stamp()
        asked = (*self._asked_late, *(await self._put_snapshot_in_force()))
        self._asked_late = ()
        if not inbox.needs_tending(self._reader, stamp):
            return asked
        received = await self.run(lambda db: inbox.tend(db, stamp, self.context))
        return (*asked, *received.asked, *(await self._take_over(received)))

    async def _take_over(self, received: inbox.Received) -> tuple[hq.Message, ...]:
        """Settings and keys count from the transaction that brought them; a snapshot that it completed is put in force."""
        self._control(received)
        return await self._put_snapshot_in_force() if received.complete else ()

    def _control(self, received: inbox.Received) -> None:
        if received.controlled:
            self._enrolment = control.read_enrolment(self._reader)
            self.context = control.overlaid(self._own_context, self._reader)

    async def _put_snapshot_in_force(self) -> tuple[hq.Message, ...]:
        """Piece by piece, where one is complete: whoever completed it, and whoever finds it complete after a restart. Queries to answer."""
        asked: tuple[hq.Message, ...] = ()
        async with self._swapping:
            while snapshots.is_complete(self._reader):
                swap, received = snapshots.Swap(self._reader), None
                while received is None:
                    received = await self._swap_on(swap)
                asked = (*asked, *received.asked)
                self._control(received)
        return asked

    async def _swap_on(self, swap: snapshots.Swap) -> inbox.Received | None:
        stamp = self.stamp()
        try:
            return await self.run(lambda db: inbox.swap_on(db, stamp, swap, self.context))
        except OWN_TROUBLE as error:
            log.exception("snapshot %s cannot be put in force", swap.snapshot_id)
            reason = f"{swap.snapshot_id}: {type(error).__name__}: {error}"
            return await self.run(lambda db: inbox.give_up_swap(db, stamp, reason, self.context))

    def missing_chunks(self) -> tuple[str, tuple[int, ...]] | None:
        return snapshots.missing_chunks(self._reader)

    def restored_since_ms(self) -> int | None:
        return control.restored_since(self._reader)

    async def answer(self, message: hq.Message) -> bytes:
        """Beside the event loop, on a connection of its own: some questions take half a second."""
        return await asyncio.to_thread(self._answer, message)

    def _answer(self, message: hq.Message) -> bytes:
        assert isinstance(message.body, Query)
        db = connect(self.path, readonly=True)
        try:
            return encode_reply(answers.answer(db, message.body, message.store, message.id))
        finally:
            db.close()

    def _placed(self, message: hq.Message) -> tuple[Outcome, str]:
        row = self._reader.execute(
            "SELECT state, reason, state = 'held' AND raw NOT NULL FROM inbox WHERE incarnation = ? AND stream = ? AND seq = ?",
            (message.incarnation, str(message.stream), message.seq),
        ).fetchone()
        state, reason, waits = row if row else ("applied", "", False)
        if waits:
            return Outcome.HELD, ""  # for another stream
        return (Outcome.REJECTED if state in ("rejected", inbox.QUARANTINED) else Outcome.APPLIED), str(reason)

    def _missing(self, stream: str) -> tuple[Missing | None, bool]:
        gap = streams.open_gap(self._reader, stream)
        if gap is None:
            return None, False
        incarnation, first, last, held = gap
        return Missing(stream, incarnation, first, last), held >= hq.HELD_ROWS_MAX

    def outbox(self, after_seq: int, limit: int) -> list[Event]:
        return journal.outbox_after(self._reader, after_seq, limit)

    def outbox_state(self) -> OutboxState:
        state = journal.outbox_state(self._reader)
        return OutboxState(state.incarnation, state.acked_through + 1, state.last_seq, state.last_hash)

    async def hq_ack(self, incarnation: str, seq_through: int, last_hash: str) -> bool:
        return await self.run(lambda db: (journal.acknowledge(db, incarnation, seq_through, last_hash), Delta()))

    def has_catalogue(self) -> bool:
        return bool(self.view.generation)

    def state_summary(self) -> StateSummary:
        used = [label_id for label_id, label in self.view.labels.items() if not label.retired]
        proven, audit = sum(map(self.is_proven, used)), journal.audit_head(self._reader)
        config = control.read_config(self._reader)
        return StateSummary(
            __version__,
            self.view.generation or None,
            len(used),
            proven,
            audit.entry,
            audit.hash,
            self.evidence_key,
            None if config is None else ConfigVersion(config.version, config.sha256),
        )

    def is_proven(self, label_id: str) -> bool:
        """Whether exactly one picture may be on the label, and it is proven."""
        may = [entry for entry in self.view.may_of_label(label_id).values() if entry.state is not MayState.GONE]
        return len(may) == 1 and may[0].state is MayState.PROVEN

    async def note_alert(self, kind: str, detail: str) -> None:
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[None, Delta]:
            journal.alert(db, stamp, kind, detail)
            return None, Delta(outbox_grew=True)

        await self.run(transaction)

    async def note_evidence_key(self, public_key: str) -> None:
        """Say in the chain, and to HQ from now on, which key signs this store's bundles."""
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[None, Delta]:
            evidence.note_key(db, stamp, public_key)
            return None, Delta()

        await self.run(transaction)
        self.evidence_key = public_key

    # -- catalogue -----------------------------------------------------------------------------------------------------

    async def put_in_force(self, item_ids: Iterable[ItemId]) -> list[ItemId]:
        """Compare these items' targets with the clock and put in force what is due, in short transactions: tills wait behind them.

        What the view says is in force rightly needs none. Returns the items whose due price the store's rules hold back.
        """
        wanted = list(item_ids)
        waiting: list[ItemId] = []
        for start in range(0, len(wanted), IN_FORCE_MAX):
            stamp = self.stamp()
            due = [item_id for item_id in wanted[start : start + IN_FORCE_MAX] if self._is_due(item_id, stamp)]
            if due:
                await self.run(partial(_put_in_force, stamp=stamp, item_ids=due))
                waiting += [item_id for item_id in due if stamp.changes is not None and self._is_due(item_id, stamp)]
            else:
                await asyncio.sleep(0)
        return waiting

    def is_due(self, item_id: ItemId) -> bool:
        """Whether the item's rows ask for another price than the one in force."""
        return self._is_due(item_id, self.stamp())

    def _is_due(self, item_id: ItemId, stamp: Stamp) -> bool:
        rows = self.view.rows.get(item_id, ())
        return pricing.advance(self.view.in_force.get(item_id), rows, stamp.wall_ms, clock_trusted=stamp.clock_trusted) is not None

    async def settle(self, shown: Iterable[Shown]) -> None:
        """Tell HQ that the shelf shows what is in force for these items."""
        stamp = self.stamp()
        await self.run(lambda db: hq_rows.settle(db, stamp, shown))

    def held_prices(self) -> list[tuple[str, str, str, int, str, str]]:
        """(hold id, item, price id, rev, reason, persons as JSON) of the changes that wait for people."""
        reader: Db = self._reader
        found: list[tuple[str, str, str, int, str, str]] = reader.execute(
            "SELECT hold_id, item_id, price_id, rev, reason, persons FROM price_hold WHERE state = 'held' ORDER BY held_wall_ms, hold_id"
        ).fetchall()
        return found

    async def release_hold(self, hold_id: str, person: str) -> bool:
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[bool, Delta]:
            delta = Delta()
            return catalogue.release_hold(db, stamp, hold_id, person, delta), delta

        return await self.run(transaction)

    async def discard_hold(self, hold_id: str, person: str) -> None:
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[None, Delta]:
            catalogue.discard_hold(db, stamp, hold_id, person)
            return None, Delta()

        await self.run(transaction)

    # -- shelf ---------------------------------------------------------------------------------------------------------

    async def new_attempt_id(self) -> AttemptId:
        """A number never given before in this file, nor to be given to an UNKNOWN that is written while the picture is drawn."""
        return await self.run(lambda db: (shelf.take_attempt_id(db), Delta()))

    def attempt_number(self, attempt_id: int) -> int:
        """What the reserved pixels hold: shifted by the incarnation, so that a restored file does not repeat a picture."""
        return (attempt_id + self._incarnation_salt) % ATTEMPT_NUMBER_MODULUS

    async def seen(self, check_ins: list[tuple[str, LabelSeen]]) -> None:
        stamp = self.stamp()
        await self.run(lambda db: people.seen(db, stamp, check_ins))

    async def add_unknown(self, label_id: str, why: str) -> None:
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[None, Delta]:
            delta = Delta()
            unknown.add(db, stamp, label_id, why, delta)
            return None, delta

        await self.run(transaction)

    async def bind(
        self,
        label_id: str,
        items: tuple[ItemId, ...],
        template: str,
        place: Place,
        *,
        actor: str,
        expected_rev: int | None = None,
        kind: str | None = None,
    ) -> Binding:
        """See `shelf.bind`. `kind` of a label that is new: None for the radios' own."""
        stamp = self.stamp()
        context = self.context
        return await self.run(
            lambda db: shelf.bind(
                db,
                stamp,
                label_id,
                items,
                template,
                place,
                actor=actor,
                expected_rev=expected_rev,
                kind=kind or context.label_kind,
                templates=context.templates,
            )
        )

    async def begin_attempt(self, new: shelf.NewAttempt) -> None:
        stamp = self.stamp()
        await self.run(lambda db: shelf.begin_attempt(db, stamp, new))

    async def offer_again(self, attempt_id: int, label_id: str, radio_id: str, lifetime_ms: int) -> None:
        """The same attempt, whose bytes never reached the label, is offered once more."""
        stamp = self.stamp()

        def transaction(db: Db) -> tuple[None, Delta]:
            shelf.offer_by_radio(db, stamp, attempt_id, label_id, radio_id, lifetime_ms)
            return None, Delta()

        await self.run(transaction)

    async def clear_offers(self, label_id: str, radio_id: str, below_attempt_id: int | None) -> None:
        stamp = self.stamp()
        await self.run(lambda db: shelf.clear_offers(db, stamp, label_id, radio_id, below_attempt_id))

    async def accept_offer(self, label_id: str, radio_id: str, attempt_id: int) -> None:
        stamp = self.stamp()
        await self.run(lambda db: shelf.accept_offer(db, stamp, label_id, radio_id, attempt_id))

    def offering_radios(self, label_id: str, below_attempt_id: int) -> list[str]:
        return shelf.offering_radios(self._reader, label_id, below_attempt_id)

    async def note_progress(self, attempt_id: int, stage: str) -> None:
        stamp = self.stamp()
        await self.run(lambda db: shelf.note_progress(db, stamp, attempt_id, stage))

    async def note_failure(self, attempt_id: int, reason: str, detail: str) -> None:
        stamp = self.stamp()
        await self.run(lambda db: shelf.note_failure(db, stamp, attempt_id, reason, detail))

    async def prove(self, label_id: str, attempt_id: int, grade: str, *, accepted: bool, dwell_ms: int) -> bool:
        stamp = self.stamp()
        return await self.run(
            partial(_prove, stamp=stamp, label_id=label_id, attempt_id=attempt_id, grade=grade, accepted=accepted, dwell_ms=dwell_ms)
        )

    async def end_dwell(self, keys: list[tuple[str, int]]) -> None:
        stamp = self.stamp()
        await self.run(lambda db: shelf.end_dwell(db, stamp, keys))

    # -- till ----------------------------------------------------------------------------------------------------------

    async def put_quote(self, quote: Quote, replaced: str | None) -> None:
        wall_ms = self._clock.wall_ms()
        await self.run(lambda db: till.put_quote(db, quote, replaced, wall_ms), urgent=True)

    async def lapse_quotes(self, quote_ids: list[str]) -> None:
        await self.run(lambda db: till.lapse_quotes(db, quote_ids))

    def find_quote(self, quote_id: str) -> till.QuoteFound | None:
        return till.find_quote(self._reader, quote_id)

    def find_sale(self, sale_id: str) -> tuple[str, till.Recorded] | None:
        return till.find_sale(self._reader, sale_id)

    async def record_sale(self, sale: till.NewSale) -> till.Recorded:
        stamp = self.stamp()
        return await self.run(lambda db: till.record_sale(db, stamp, sale), urgent=True)

    def sales_count(self) -> int:
        count = self._reader.execute("SELECT count(*) FROM sale").get
        return count if isinstance(count, int) else 0


def _nothing() -> None:
    """Nobody listens yet."""


_OUTCOMES: dict[type, Outcome] = {
    hq.InOrder: Outcome.APPLIED,
    hq.Duplicate: Outcome.DUPLICATE,
    hq.Stale: Outcome.STALE,
    hq.Fork: Outcome.FORK,
    hq.Gap: Outcome.HELD,
}


def _put_in_force(db: Db, *, stamp: Stamp, item_ids: Iterable[ItemId]) -> tuple[None, Delta]:
    delta = Delta()
    catalogue.put_in_force(db, stamp, item_ids, delta)
    return None, delta


def _prove(db: Db, *, stamp: Stamp, label_id: str, attempt_id: int, grade: str, accepted: bool, dwell_ms: int) -> tuple[bool, Delta]:
    return shelf.prove(db, stamp, label_id, attempt_id, grade, accepted=accepted, dwell_ms=dwell_ms)


def prepare(path: Path, clock: Clock, entropy: Callable[[int], bytes]) -> bool:
    """Make the file ready before it is opened: check it, copy it before a migration, migrate, begin its incarnation. Whether it turned
    out to be an older copy.

    Must be alone on the file. Raises StoreError for a damaged file or one of a newer program.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    version = check(path)
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path}: written by a newer shelfd (schema {version}, this one knows {SCHEMA_VERSION})")
    if version < SCHEMA_VERSION:
        if version:
            shutil.copy2(path, path.with_suffix(f".before-schema-{SCHEMA_VERSION}.db"))
        from edge.store.schema import migrate  # sqlite-utils is needed only now

        migrate(path)
    db = connect(path)
    try:
        stamp = Stamp(clock.wall_ms(), clock.now_ms(), clock.boot_id, clock.wall_trusted(), entropy(16))
        db.execute("BEGIN IMMEDIATE")
        went_back = witness.went_back(db, path)
        begin_run(db, stamp, restored=went_back)
        db.execute("COMMIT")
        witness.keep(path, journal.audit_head(db))
        return went_back
    except (apsw.Error, OSError) as error:
        raise StoreError(f"{path}: {error}") from error
    finally:
        db.close()


def begin_run(db: Db, stamp: Stamp, *, restored: bool = False) -> None:
    """What each start does to a checked file, in the caller's transaction.

    A new file, or one that was put back from a copy (`restored`), begins an incarnation: HQ and labels know of things that it does not.
    The one way in which displays become unknown together, whoever put the copy there.
    """
    lost_since_ms = journal.last_noted_ms(db)
    if restored or journal.get_meta(db, "incarnation") is None:
        journal.begin_incarnation(db, hashlib.sha256(b"incarnation" + stamp.entropy).hexdigest()[:32])
        evidence.begin(db, stamp)
        unknown.everywhere(db, stamp, "new incarnation", lost_since_ms, Delta())
        people.restore_all(db, stamp)
    if restored:
        control.ask_since(db, lost_since_ms)
        known = f"the store's file is a copy that knows nothing after {journal.rfc3339(lost_since_ms)}"
        journal.alert(db, stamp, "store_restored", f"{known}: every display counts as unknown until it is proven again")
    witness.note_lost(db, stamp.boot_id, stamp.now_ms, restored=restored)
    evidence.begin(db, stamp)
    shelf.after_reboot(db, stamp)


def open_store(
    path: Path, clock: Clock, entropy: Callable[[int], bytes], context: inbox.Context, on_fatal: Callable[[StoreError], None]
) -> Store:
    """Check, migrate and open. Needs a running event loop."""
    went_back = prepare(path, clock, entropy)
    store = Store(path, clock, entropy, context, on_fatal)
    store.went_back = went_back
    return store


__all__ = ["Store", "begin_run", "open_store", "prepare"]
