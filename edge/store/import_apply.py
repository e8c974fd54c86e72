"""Puts an accepted file in force, a piece a transaction, so that no sale waits for more than a piece.

Each piece moves `through` in the transaction that does the work: after a crash the next piece begins where the last one was durable.
Nothing that was checked is refused now for what the file says; what people changed in between (a label was retired) is told in the
row's outcome. A full file takes away what it does not name only after all that it names is in force, and the catalogue's generation
changes with its last piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from types import MappingProxyType
from typing import Final

import msgspec

from edge.import_feed import FeedKind, Mode
from edge.import_rows import ItemCells, StockCells
from edge.model import Binding, ItemId, Place, PriceKind
from edge.stock import Cause
from edge.store import catalogue, shelf, stock
from edge.store.catalogue import NewRow
from edge.store.db import Refused
from edge.store.hq_rows import Context
from edge.store.import_plan import FAILED, HELD, REMOVED, UNCHANGED, Plan, held_same, resolve
from edge.store.imports import Import, ImportState, find, plan_row
from edge.store.journal import outbox_state, record, set_meta
from edge.store.rows import Db, Stamp, json_text
from edge.view import Delta

PIECE_ROWS: Final = 20  # a new item with its price takes 0.4 ms: some 8 ms, which a sale may have to wait
LOOK_ROWS: Final = 1_000  # entries compared with the file's keys in one transaction: some 10 ms
NO_BATCH_LIMIT: Final = Fraction(100)  # percent: the share was judged over the whole file, and approved where it had to be


@dataclass(frozen=True, slots=True)
class Staged:
    """A row as it was staged."""

    line: int
    key: str
    body: str


@dataclass(frozen=True, slots=True)
class Outcome:
    key: str
    outcome: str
    detail: str


def apply_piece(db: Db, stamp: Stamp, import_id: str, context: Context) -> tuple[bool, Delta]:
    """The next piece. True when the whole file is in force."""
    delta = Delta()
    account = find(db, import_id)
    if account is None or account.state is not ImportState.APPLYING:
        return True, delta
    again = "" if account.persons else "AND outcome <> 'unchanged' "  # much may have changed while a file waited for a person
    found = db.execute(
        f"SELECT line, key, body FROM import_row WHERE import_id = ? AND line > ? {again}ORDER BY line LIMIT ?",  # noqa: S608
        (import_id, account.through_line, PIECE_ROWS),
    ).fetchall()
    if found:
        rows = [Staged(*row) for row in found]
        for row, done in zip(rows, _APPLY[account.settings.feed.kind](db, stamp, account, rows, context, delta), strict=True):
            _tally(account, done)
            db.execute(
                "UPDATE import_row SET outcome = ?, detail = ? WHERE import_id = ? AND line = ?",
                (done.outcome, done.detail, import_id, row.line),
            )
        _move_on(db, account, rows[-1].line, account.through_key)
        return False, delta
    if account.settings.feed.mode is Mode.FULL:
        gone, last_key = missing(db, account, account.through_key, PIECE_ROWS)
        removed = _REMOVE[account.settings.feed.kind](db, stamp, account, gone, context, delta) if gone else []
        for each in removed:
            _tally(account, each)
            db.execute("INSERT OR REPLACE INTO import_gone VALUES (?, ?, ?, ?)", (import_id, each.key, each.outcome, each.detail))
        if last_key is not None:
            _move_on(db, account, account.through_line, last_key)
            return False, delta
    _finish(db, stamp, account, delta)
    return True, delta


def _tally(account: Import, done: Outcome) -> None:
    counts = account.counts
    setattr(counts, done.outcome, getattr(counts, done.outcome) + 1)


def _move_on(db: Db, account: Import, line: int, key: str) -> None:
    db.execute(
        "UPDATE import_file SET through_line = ?, through_key = ?, counts = ? WHERE import_id = ?",
        (line, key, json_text(account.counts), account.import_id),
    )


def _finish(db: Db, stamp: Stamp, account: Import, delta: Delta) -> None:
    counts, feed = account.counts, account.settings.feed
    db.execute(
        "UPDATE import_file SET state = ?, counts = ?, ended_wall_ms = ? WHERE import_id = ?",
        (str(ImportState.DONE), json_text(counts), stamp.wall_ms, account.import_id),
    )
    if feed.kind in (FeedKind.ITEMS, FeedKind.PRICES):
        delta.generation = f"file-{account.import_id}"
        set_meta(db, "generation", delta.generation)
    said = {"import": account.import_id, "feed": account.feed, "file": account.name, "sha256": account.sha256}
    told = msgspec.to_builtins(counts)
    record(
        db,
        stamp,
        account.actor,
        "file.imported",
        said | {"kind": str(feed.kind), "mode": str(feed.mode), "persons": account.persons} | told,
    )


# -- what a full file does not name ----------------------------------------------------------------------------------------

_EXISTING: Final[Mapping[FeedKind, str]] = MappingProxyType(
    {
        FeedKind.ITEMS: "SELECT item_id FROM item WHERE removed = 0 AND item_id > ?1 ORDER BY item_id LIMIT ?2",
        FeedKind.STOCK: "SELECT item_id FROM stock WHERE on_hand <> 0 AND item_id > ?1 ORDER BY item_id LIMIT ?2",
        FeedKind.LABELS: "SELECT label_id FROM binding WHERE items <> '[]' AND label_id > ?1 ORDER BY label_id LIMIT ?2",
    }
)
_EXISTING_PRICES: Final = (
    "SELECT n.item_id, n.price_id FROM price_newest AS n JOIN price_row USING (row_id) WHERE kind = ?1 AND NOT cancelled "
    "AND (n.price_id = 'file' OR n.price_id LIKE 'file:%') AND (n.item_id, n.price_id) > (?2, ?3) ORDER BY n.item_id, n.price_id LIMIT ?4"
)


def missing(db: Db, account: Import, after_key: str, gone_max: int = LOOK_ROWS) -> tuple[list[str], str | None]:
    """(What there is and the file does not name, the last key looked at or None at the end), one page after `after_key`."""
    keys = existing_keys(db, account, after_key)
    gone: list[str] = []
    for key in keys:
        if not _names(db, account, key):
            gone.append(key)
            if len(gone) == gone_max:
                return gone, key
    return gone, keys[-1] if len(keys) == LOOK_ROWS else None


def existing_keys(db: Db, account: Import, after_key: str) -> list[str]:
    """A page of what files of this kind are about."""
    feed = account.settings.feed
    if feed.kind is FeedKind.PRICES:
        item_id, _, price_id = after_key.partition("\t")
        found = db.execute(_EXISTING_PRICES, (str(feed.price_kind), item_id, price_id, LOOK_ROWS)).fetchall()
        return [f"{item}\t{price}" for item, price in found]
    return [key for (key,) in db.execute(_EXISTING[feed.kind], (after_key, LOOK_ROWS)).fetchall()]


def _names(db: Db, account: Import, key: str) -> bool:
    if account.settings.feed.kind is FeedKind.PRICES:
        item_id, _, price_id = key.partition("\t")
        own = price_id.removeprefix(f"file:{account.settings.feed.price_kind}:") if price_id != "file" else ""
        key = f"{item_id}\t{own}" if own else item_id
    return db.execute("SELECT 1 FROM import_row WHERE import_id = ? AND key = ?", (account.import_id, key)).get is not None


# -- applying, one kind each -----------------------------------------------------------------------------------------------


def _put_items(db: Db, stamp: Stamp, account: Import, rows: Sequence[Staged], context: Context, delta: Delta) -> list[Outcome]:
    plans = [plan_row(db, row.body, account.settings, context) for row in rows]
    catalogue.put_items(db, ((plan.item, plan.codes) for plan in plans if plan.item is not None), delta)
    done = _put_prices(db, stamp, account, plans, context, delta)
    position = outbox_state(db).last_seq
    for row in rows:
        cells = msgspec.json.decode(row.body, type=ItemCells)
        if cells.stock is not None and db.execute("SELECT 1 FROM ledger WHERE item_id = ? LIMIT 1", (cells.sku,)).get is None:
            stock.book(db, stamp, ItemId(cells.sku), cells.stock, Cause.OPENING, account.import_id, position, delta)
    return done


def _put_price_rows(db: Db, stamp: Stamp, account: Import, rows: Sequence[Staged], context: Context, delta: Delta) -> list[Outcome]:
    plans = [plan_row(db, row.body, account.settings, context) for row in rows]
    return _put_prices(db, stamp, account, plans, context, delta)


def _put_prices(db: Db, stamp: Stamp, account: Import, plans: Sequence[Plan], context: Context, delta: Delta) -> list[Outcome]:
    """The prices of these plans through the anomaly stops. What waits for people stays; the file's newest word replaces another one."""
    waiting = {(plan.price.item_id, plan.price.price_id) for plan in plans if plan.price is not None and held_same(db, plan.price)}
    prices = [plan.price for plan in plans if plan.price is not None and (plan.price.item_id, plan.price.price_id) not in waiting]
    for plan in plans:
        _drop_other_holds(db, plan, waiting)
    limits = replace(context.limits, batch_percent=NO_BATCH_LIMIT)
    applied = catalogue.apply_rows(db, stamp, prices, _source(account), limits, delta)
    stored = {(row.item_id, row.price_id) for row in applied.rows}
    done: list[Outcome] = []
    for plan in plans:
        if plan.wrong:  # the catalogue changed since the file was checked
            done.append(Outcome(plan.key, FAILED, _words(plan)))
        elif plan.price is not None and (plan.price.item_id, plan.price.price_id) not in stored:
            done.append(Outcome(plan.key, HELD, f"{plan.detail}: shelfd hold list"))
        else:
            done.append(Outcome(plan.key, plan.outcome, plan.detail))
    return done


def _drop_other_holds(db: Db, plan: Plan, waiting: set[tuple[ItemId, str]]) -> None:
    """A change that waits for people, where the file by now says something else."""
    if plan.priced is not None and plan.priced not in waiting:
        db.execute("UPDATE price_hold SET state = 'superseded' WHERE item_id = ? AND price_id = ? AND state = 'held'", plan.priced)


def _put_stock(db: Db, stamp: Stamp, account: Import, rows: Sequence[Staged], context: Context, delta: Delta) -> list[Outcome]:
    done: list[Outcome] = []
    for row in rows:
        cells, plan = msgspec.json.decode(row.body, type=StockCells), plan_row(db, row.body, account.settings, context)
        item_id = resolve(db, cells.sku)
        if plan.wrong or item_id is None:
            done.append(Outcome(row.key, FAILED, _words(plan)))
            continue
        if cells.change:
            each = stock.Adjustment(account.import_id, item_id, cells.change, Cause.RECEIPT if cells.change > 0 else Cause.ADJUST)
            stock.adjust_here(db, stamp, each, account.actor, delta)
        elif cells.quantity is not None and plan.outcome != UNCHANGED:
            as_of_seq = outbox_state(db).last_seq if cells.counted_at_ms is None else _event_at(db, cells.counted_at_ms)
            stock.count(db, stamp, account.import_id, item_id, cells.quantity, as_of_seq, delta, actor=account.actor)
        done.append(Outcome(row.key, plan.outcome, plan.detail))
    return done


def _event_at(db: Db, wall_ms: int) -> int:
    """The last event of the ledger by then; 0 before the first of this incarnation."""
    base = db.execute("SELECT value FROM meta WHERE key = 'ledger_base'").get
    seq = db.execute(
        "SELECT max(up_seq) FROM ledger WHERE entry_id > ? AND wall_ms <= ?", (int(base) if isinstance(base, str) else 0, wall_ms)
    ).get
    return min(seq, outbox_state(db).last_seq) if isinstance(seq, int) else 0


def _put_labels(db: Db, stamp: Stamp, account: Import, rows: Sequence[Staged], context: Context, delta: Delta) -> list[Outcome]:
    return [_bind(db, stamp, account, plan_row(db, row.body, account.settings, context), context, delta) for row in rows]


def _bind(db: Db, stamp: Stamp, account: Import, plan: Plan, context: Context, delta: Delta) -> Outcome:
    if plan.wrong:
        return Outcome(plan.key, FAILED, _words(plan))
    if plan.binding is None:
        return Outcome(plan.key, plan.outcome, plan.detail)
    refused = _bound(db, stamp, account, plan.binding, context, delta)
    return Outcome(plan.key, FAILED, refused) if refused is not None else Outcome(plan.key, plan.outcome, plan.detail)


def _bound(db: Db, stamp: Stamp, account: Import, wanted: Binding, context: Context, delta: Delta) -> str | None:
    """Bind a label, or unbind it. Why it could not be, where a person was quicker: the file goes on."""
    db.execute("SAVEPOINT binding")
    try:
        _, more = shelf.bind(
            db,
            stamp,
            wanted.label_id,
            wanted.items,
            wanted.template,
            wanted.place,
            actor=_source(account),
            expected_rev=None,
            kind=context.label_kind,
            templates=context.templates,
        )
    except Refused as error:
        db.execute("ROLLBACK TO binding")
        return str(error)
    finally:
        db.execute("RELEASE binding")
    delta.merge(more)
    return None


# -- removing, one kind each -----------------------------------------------------------------------------------------------


def _remove_items(db: Db, stamp: Stamp, account: Import, keys: Sequence[str], context: Context, delta: Delta) -> list[Outcome]:
    catalogue.remove_items(db, map(ItemId, keys), delta)
    for key in keys:
        db.execute(
            "UPDATE price_hold SET state = 'superseded' WHERE item_id = ? AND state = 'held' "
            "AND (price_id = 'file' OR price_id LIKE 'file:%')",
            (key,),
        )
    return [Outcome(key, REMOVED, "not in the file: no longer sold") for key in keys]


def _cancel_prices(db: Db, stamp: Stamp, account: Import, keys: Sequence[str], context: Context, delta: Delta) -> list[Outcome]:
    kind, cancelled = account.settings.feed.price_kind, []
    for key in keys:
        item_id, _, price_id = key.partition("\t")
        db.execute("UPDATE price_hold SET state = 'superseded' WHERE item_id = ? AND price_id = ? AND state = 'held'", (item_id, price_id))
        rev = db.execute("SELECT max(rev) FROM price_row WHERE item_id = ? AND price_id = ?", (item_id, price_id)).get
        cancelled.append(NewRow(ItemId(item_id), PriceKind(kind), price_id, int(rev) + 1, None, None, None, True))
    catalogue.apply_rows(db, stamp, cancelled, _source(account), None, delta)
    return [Outcome(key.replace("\t", " "), REMOVED, "not in the file: taken back") for key in keys]


def _count_none(db: Db, stamp: Stamp, account: Import, keys: Sequence[str], context: Context, delta: Delta) -> list[Outcome]:
    done: list[Outcome] = []
    for key in keys:
        on_hand = stock.level_of(db, key).on_hand
        stock.count(db, stamp, account.import_id, ItemId(key), 0, outbox_state(db).last_seq, delta, actor=account.actor)
        done.append(Outcome(key, REMOVED, f"not in the file: {on_hand} -> 0"))
    return done


def _unbind(db: Db, stamp: Stamp, account: Import, keys: Sequence[str], context: Context, delta: Delta) -> list[Outcome]:
    done: list[Outcome] = []
    for key in keys:
        refused = _bound(db, stamp, account, Binding(key, (), context.default_template, Place(), 0), context, delta)
        done.append(Outcome(key, FAILED, refused) if refused is not None else Outcome(key, REMOVED, "not in the file: unbound"))
    return done


def _source(account: Import) -> str:
    return f"file {account.name}"


def _words(plan: Plan) -> str:
    return "; ".join(str(each[2]) for each in plan.wrong)


_Apply = Callable[[Db, Stamp, Import, Sequence[Staged], Context, Delta], list[Outcome]]
_Remove = Callable[[Db, Stamp, Import, Sequence[str], Context, Delta], list[Outcome]]
_APPLY: Final[Mapping[FeedKind, _Apply]] = MappingProxyType(
    {FeedKind.ITEMS: _put_items, FeedKind.PRICES: _put_price_rows, FeedKind.STOCK: _put_stock, FeedKind.LABELS: _put_labels}
)
_REMOVE: Final[Mapping[FeedKind, _Remove]] = MappingProxyType(
    {FeedKind.ITEMS: _remove_items, FeedKind.PRICES: _cancel_prices, FeedKind.STOCK: _count_none, FeedKind.LABELS: _unbind}
)
