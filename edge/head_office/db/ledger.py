"""What stores tell, booked: one transaction for everything that came together, and what has to be said because of it.

Only the worker that holds a store's partition books for it (`leases.renew` in the same transaction sees to that), so that what was
read here is still so when it is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from edge.head_office.books import Effects, Head, Moved, Placed, audit_complaint, effects, place, unusable
from edge.head_office.db.schema import (
    ALARM,
    ALERT,
    AUDIT_HEAD,
    BINDING,
    CAME_BACK,
    CHAIN,
    DELIVERY,
    EARLY,
    EVENT,
    REACHED,
    SALE,
    STOCK,
    STOCK_MOVE,
    STORE_STATE,
    Table,
)
from edge.head_office.db.seam import Clash, Database, Row
from protocols.hq import Stream, partition_of, reparse
from protocols.hq_events import (
    AuditHead,
    BadUpward,
    Birth,
    Death,
    Event,
    Stage,
    StagedAck,
    SyncRequest,
    UpBatch,
    parse_state,
    parse_sync,
    verify_up_batch,
)
from protocols.hq_stock import StockAdjust

Chain = tuple[str, str]  # (store, incarnation)
EVENT_TAILS: Final = frozenset({"sale", "return", "void", "stock", "label", "ack", "alert"})


@dataclass(frozen=True, slots=True)
class Arrived:
    """A message of a store: the topic's store, what follows "up/", the payload, the topic's partition ("": the store's own)."""

    store: str
    tail: str
    payload: bytes
    partition: str = ""


@dataclass(slots=True)
class Booked:
    """What a transaction did that others have to hear."""

    heads: dict[Chain, Head] = field(default_factory=dict)  # to acknowledge
    states: list[Birth | Death] = field(default_factory=list)  # as they came: a death may be the one before the birth
    asked: list[SyncRequest] = field(default_factory=list)
    acks: list[tuple[str, StagedAck]] = field(default_factory=list)
    events: int = 0
    repeated: int = 0
    complaints: list[tuple[str, str]] = field(default_factory=list)  # (store, what)

    @property
    def births(self) -> list[Birth]:
        return [state for state in self.states if isinstance(state, Birth)]


class Ledger:
    """Books for one worker. It remembers how far each chain is; `forget` after a transaction that did not commit."""

    def __init__(self, db: Database, incarnation: str) -> None:
        self._db = db
        self._stores: set[str] = set()
        self._incarnation = incarnation
        self._heads: dict[Chain, Head] = {}
        self._early: dict[Chain, dict[int, Event]] = {}

    def forget(self) -> None:
        """What is remembered may not be what is there."""
        self._heads.clear()
        self._early.clear()
        self._stores.clear()

    def book(self, arrived: Sequence[Arrived], now_ms: int) -> Booked:
        """Within a transaction of the caller."""
        booked = Booked()
        chains: dict[Chain, list[Event]] = {}
        for each in arrived:
            try:
                self._take(each, booked, chains)
            except (BadUpward, UnicodeDecodeError, RecursionError) as error:  # whatever a store sends: it must not come again and again
                booked.complaints.append((each.store, f"up/{each.tail}: {error}"))
        self._book_events(chains, booked, now_ms)
        self._book_states(booked, now_ms)
        self._load(each_chain := [(birth.store, birth.incarnation) for birth in booked.births])
        booked.heads.update({chain: self._heads[chain] for chain in each_chain})  # a store that comes back hears at once what is booked
        self._complain(booked.complaints)
        return booked

    def reached(self, store: str, told_by: str) -> dict[Stream, int]:
        """What this incarnation of the store's file reported as received of this log."""
        rows = self._db.rows(
            "SELECT stream, seq FROM reached WHERE store = ? AND incarnation = ? AND told_by = ?", store, self._incarnation, told_by
        )
        return {Stream(stream): int(seq) for stream, seq in rows}

    def state(self, store: str) -> Birth | Death | None:
        """What the store said last of itself."""
        rows = self._db.rows("SELECT birth, online FROM store_state WHERE store = ?", store)
        if not rows:
            return None
        state = parse_state(bytes(rows[0][0]))
        return state if rows[0][1] else Death(store=state.store, incarnation=state.incarnation, boot=state.boot)

    # -- inside ------------------------------------------------------------------------------------------------------------

    def _take(self, each: Arrived, booked: Booked, chains: dict[Chain, list[Event]]) -> None:
        if not self._known(each.store):
            raise BadUpward("this store was never added")
        if each.partition not in ("", partition_of(each.store)):
            raise BadUpward(f"said in partition {each.partition}: whoever holds the store's own books for it")
        if each.tail == "state":
            state = parse_state(each.payload)
            _same_store(each, state.store)
            if "\0" in state.boot or (isinstance(state, Birth) and state.audit is not None and "\0" in (state.audit.key or "")):
                raise BadUpward("text with a NUL character")
            booked.states.append(state)
        elif each.tail == "sync":
            request = parse_sync(each.payload)
            _same_store(each, request.store)
            booked.asked.append(request)
        elif each.tail in EVENT_TAILS:
            batch: UpBatch = verify_up_batch(each.tail, each.payload)
            _same_store(each, batch.store)
            if any(map(unusable, batch.events)):
                raise BadUpward("data with a NUL character")
            chains.setdefault((batch.store, batch.incarnation), []).extend(batch.events)

    def _known(self, store: str) -> bool:
        if store not in self._stores and self._db.rows("SELECT 1 FROM store WHERE store = ?", store):
            self._stores.add(store)
        return store in self._stores

    def _book_events(self, chains: Mapping[Chain, Sequence[Event]], booked: Booked, now_ms: int) -> None:
        self._load(chains)
        events: list[Row] = []
        early: list[Row] = []
        outcomes: list[tuple[Chain, Effects]] = []
        for chain, told in chains.items():
            head, waiting = self._heads[chain], self._early[chain]
            placed = place(head, waiting, told)
            booked.complaints += [(chain[0], f"{chain[1]}: {text}") for text in placed.complaints]
            booked.complaints += [(chain[0], text) for text in self._forks(chain, placed)]
            booked.heads[chain] = placed.head
            booked.events += len(placed.booked)
            booked.repeated += len(placed.repeated)
            events += [(*chain, each.seq, str(each.kind), each.id, each.time, each.data, each.hash) for each in placed.booked]
            early += [(*chain, each.seq, msgspec.json.encode(each)) for each in placed.kept]
            self._remember(chain, placed)
            if placed.booked:
                outcomes.append((chain, effects(placed.booked)))
        self._db.write(EVENT, events, Clash.KEEP)
        if early:
            self._db.write(EARLY, early, Clash.KEEP)
        moved = [(*chain, head.seq, head.hash) for chain, head in booked.heads.items()]
        self._db.write(CHAIN, moved, Clash.REPLACE)
        self._book_effects(outcomes, booked, now_ms)

    def _remember(self, chain: Chain, placed: Placed) -> None:
        waiting = self._early[chain]
        self._heads[chain] = placed.head
        if waiting:
            last, dropped = placed.head.seq, placed.dropped or 0
            self._db.rows("DELETE FROM early_event WHERE store = ? AND incarnation = ? AND (seq <= ? OR seq = ?)", *chain, last, dropped)
        kept = {**waiting, **{event.seq: event for event in placed.kept}}
        self._early[chain] = {seq: event for seq, event in kept.items() if seq > placed.head.seq and seq != placed.dropped}

    def _load(self, chains: Iterable[Chain]) -> None:
        for chain in chains:
            if chain in self._heads:
                continue
            rows = self._db.rows("SELECT seq, hash FROM chain WHERE store = ? AND incarnation = ?", *chain)
            early = self._db.rows("SELECT message FROM early_event WHERE store = ? AND incarnation = ?", *chain)
            waiting = [msgspec.json.decode(bytes(message), type=Event) for (message,) in early]
            self._heads[chain] = Head(int(rows[0][0]), str(rows[0][1])) if rows else Head()
            self._early[chain] = {event.seq: event for event in waiting}

    def _forks(self, chain: Chain, placed: Placed) -> list[str]:
        """An event told again must be the one that was booked."""
        if not placed.repeated:
            return []
        first, last = min(each.seq for each in placed.repeated), max(each.seq for each in placed.repeated)
        rows = self._db.rows(
            "SELECT seq, hash FROM event WHERE store = ? AND incarnation = ? AND seq >= ? AND seq <= ?", *chain, first, last
        )
        known = {int(seq): str(digest) for seq, digest in rows}
        return [f"fork: two events with number {each.seq} of {chain[1]}" for each in placed.repeated if known.get(each.seq) != each.hash]

    def _book_effects(self, outcomes: Sequence[tuple[Chain, Effects]], booked: Booked, now_ms: int) -> None:
        sales = {(chain[0], sale.sale_id): (chain, sale) for chain, found in reversed(outcomes) for sale in found.sales.values()}
        backs = {(chain[0], back.kind, back.id): (chain, back) for chain, found in reversed(outcomes) for back in found.came_back.values()}
        moves = {(chain[0], move.event_id): move for chain, found in reversed(outcomes) for move in found.moves.values()}
        sale_rows = [(*key, chain[1], sale.seq, sale.business_date, sale.total_minor, sale.sha256) for key, (chain, sale) in sales.items()]
        back_rows = [(*key, chain[1], back.seq, back.sha256) for key, (chain, back) in backs.items()]
        new_sales = set(self._write_new(SALE, sale_rows))
        new_backs = set(self._write_new(CAME_BACK, back_rows))
        for chain, found in outcomes:
            for adjustment in self._adjusted(chain[0], found.acks):
                moves.setdefault((chain[0], adjustment.event_id), adjustment)
        move_rows = [(*key, move.sku, move.delta, move.event) for key, move in moves.items()]
        new_moves = set(self._write_new(STOCK_MOVE, move_rows))
        for sale_key in sales.keys() - new_sales:
            self._compare("sale", "store = ? AND sale_id = ?", sale_key, sales[sale_key][1].sha256, booked)
        for back_key in backs.keys() - new_backs:
            self._compare("came_back", "store = ? AND kind = ? AND id = ?", back_key, backs[back_key][1].sha256, booked)
        units: dict[tuple[str, str], int] = {}
        for sale_key in new_sales:
            _add_moves(units, sale_key[0], sales[sale_key][1].moves)
        for back_key in new_backs:
            _add_moves(units, back_key[0], backs[back_key][1].moves)
        for move_key in new_moves:
            _add_moves(units, move_key[0], ((moves[move_key].sku, moves[move_key].delta),))
        if units:
            self._db.write(STOCK, [(*key, change) for key, change in sorted(units.items())], Clash.ADD)
        self._book_words(outcomes, booked, now_ms)

    def _book_words(self, outcomes: Sequence[tuple[Chain, Effects]], booked: Booked, now_ms: int) -> None:
        bindings: dict[tuple[str, str], str] = {}
        alerts: list[Row] = []
        deliveries: dict[Row, Row] = {}
        reached: dict[tuple[str, str], tuple[str, int]] = {}
        for chain, found in outcomes:
            store = chain[0]
            booked.complaints += [(store, text) for text in found.complaints]
            bindings.update({(store, label): body for label, body in found.bindings.items()})
            alerts += [(*chain, seq, body) for seq, body in found.alerts]
            for ack in found.acks:
                booked.acks.append((store, ack))
                key = (store, ack.stream, ack.incarnation, ack.seq, str(ack.stage))
                deliveries.setdefault(key, (*key, ack.first or ack.seq, now_ms, ack.reason or "", ack.labels))
                if ack.incarnation == self._incarnation and ack.stage is not Stage.RECEIVED:  # told in order, unlike `received`
                    known = reached.get((store, ack.stream), ("", 0))
                    reached[store, ack.stream] = (chain[1], ack.seq if known[0] != chain[1] else max(ack.seq, known[1]))
        if bindings:
            self._db.write(BINDING, [(*key, body) for key, body in bindings.items()], Clash.REPLACE)
        if alerts:
            self._db.write(ALERT, alerts, Clash.KEEP)
        if deliveries:
            self._db.write(DELIVERY, list(deliveries.values()), Clash.KEEP)
        if reached:
            rows = [(*key, self._incarnation, told_by, seq) for key, (told_by, seq) in reached.items()]
            self._db.write(REACHED, rows, Clash.REPLACE)

    def _adjusted(self, store: str, acks: Iterable[StagedAck]) -> list[Moved]:
        """What the stock adjustments say that the store reports as applied; each counts once by its id."""
        moved: list[Moved] = []
        for ack in acks:
            if ack.stream != Stream.STOCK or ack.stage is not Stage.APPLIED or ack.incarnation != self._incarnation:
                continue
            rows = self._db.rows(
                "SELECT seq, message FROM log "
                "WHERE store = ? AND stream = 'stock' AND incarnation = ? AND type = ? AND seq >= ? AND seq <= ?",
                *(store, self._incarnation, "stock.adjust.v1", ack.first or ack.seq, ack.seq),
            )
            for seq, message in rows:
                body = reparse("dn/stock", bytes(message)).body
                if seq not in ack.except_ and isinstance(body, StockAdjust):
                    moved += [Moved(f"adjust {each.id}", each.sku, each.delta, "adjusted by head office") for each in body.adjustments]
        return moved

    def _book_states(self, booked: Booked, now_ms: int) -> None:
        """In the order in which they came. A will that comes late is of another boot than the store's: it says nothing."""
        told, booked.states = booked.states, []
        for state in told:
            if isinstance(state, Birth):
                row = (state.store, state.incarnation, state.boot, 1, now_ms, msgspec.json.encode(state))
                self._db.write(STORE_STATE, [row], Clash.REPLACE)
                self._hold_audit_head(state, booked)
            elif not self._db.rows(
                "UPDATE store_state SET online = 0, heard_ms = ? WHERE store = ? AND boot = ? AND incarnation = ? RETURNING store",
                *(now_ms, state.store, state.boot, state.incarnation),
            ):
                continue
            booked.states.append(state)

    def _hold_audit_head(self, birth: Birth, booked: Booked) -> None:
        told = birth.audit
        if told is None:
            return
        rows = self._db.rows("SELECT entry, hash FROM audit_head WHERE store = ? AND incarnation = ?", birth.store, birth.incarnation)
        complaint = audit_complaint(AuditHead(int(rows[0][0]), str(rows[0][1])) if rows else None, told, birth.incarnation)
        if complaint is not None:  # what was told first stays, to be held against every later word
            booked.complaints.append((birth.store, complaint))
            return
        self._db.write(AUDIT_HEAD, [(birth.store, birth.incarnation, told.entry, told.hash, told.key or "")], Clash.REPLACE)

    def _complain(self, complaints: Sequence[tuple[str, str]]) -> None:
        times: dict[tuple[str, str], int] = {}
        for store, text in complaints:
            key = (store, text.replace("\0", " ")[:500])
            times[key] = times.get(key, 0) + 1
        if times:
            self._db.write(ALARM, [(*key, count) for key, count in times.items()], Clash.ADD)

    def _write_new(self, table: Table, rows: Sequence[Row]) -> list[Row]:
        return [tuple(key) for key in self._db.write(table, rows, Clash.KEEP)] if rows else []

    def _compare(self, table: str, where: str, key: Row, sha256: str, booked: Booked) -> None:
        rows = self._db.rows(f'SELECT sha256 FROM "{table}" WHERE {where}', *key)  # noqa: S608 - names of ours
        if rows and rows[0][0] != sha256:
            booked.complaints.append((key[0], f"two of {table} with id {key[-1]}"))


def _same_store(each: Arrived, named: str) -> None:
    if named != each.store:
        raise BadUpward(f"says that it is of store {named}")


def _add_moves(units: dict[tuple[str, str], int], store: str, moves: Iterable[tuple[str, int]]) -> None:
    for sku, change in moves:
        units[store, sku] = units.get((store, sku), 0) + change
