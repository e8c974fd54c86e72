"""What the store can prove later: facts noted in the audit chain, in the very transaction that made them (docs/reference/evidence.md).

An entry that stands for rows of a history table has `of` (their keys) and `is` (the SHA-256 of what the rows said): checking reads the
rows again by the same queries and compares. One entry may cover many rows, so a batch of prices, or a sale with its lines, costs one
hash. The queries of a fact are frozen once released: another shape gets another name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Final

import apsw

from edge.evidence import (
    BEGIN,
    BOUNDS,
    DWELL_OVER,
    INCARNATION,
    KEY,
    MEMBER_PRICE,
    MEMBER_WITHDRAWN,
    PROVEN,
    QUOTE,
    RETURN,
    SALE,
    SEEN,
    SENT,
    TARGET,
    UNKNOWN,
    VOID,
)
from edge.model import MayEntry
from edge.store.journal import append_audit, audit_head, get_meta
from edge.store.rows import Db, Stamp, json_text

__all__ = ["DWELL_OVER", "RETURN", "SEEN", "VOID"]

TARGETS_MAX: Final = 500  # of one entry: its text, 100 KB then, goes into one message of an export
STORE_SUBJECT: Final = "store"  # the subject of entries about the store itself


def label_subject(label_id: str) -> str:
    return f"label:{label_id}"


def item_subject(item_id: str) -> str:
    return f"item:{item_id}"


def note(db: Db, stamp: Stamp, what: str, ids: Sequence[str], detail: Mapping[str, object], *, actor: str = "store") -> int:
    """Append an entry in the caller's transaction and index it under its subjects; returns its number.

    `ids` are `label_subject(...)`, `item_subject(...)` or any other text that somebody will look for. An entry that takes pictures off
    a label's may-set for good names them in `detail` as `released` (attempt ids); how the others read is in `edge.evidence`.
    """
    return _append(db, stamp.wall_ms, actor, what, ids, json_text({"ids": ids, **detail} if ids else detail))


def _append(db: Db, wall_ms: int, actor: str, what: str, ids: Sequence[str], detail: str) -> int:
    entry = append_audit(db, wall_ms, actor, what, detail)
    for subject in dict.fromkeys(ids):
        db.execute("INSERT OR IGNORE INTO audit_subject(subject, entry_id) VALUES (?, ?)", (subject, entry))
    return entry


# -- facts -----------------------------------------------------------------------------------------------------------------

FactKey = Sequence[int | str]
Rows = Sequence[tuple[object, ...]]

# The rows behind an entry. A fact's text is the JSON of what these queries give: [[row, ...] of the first, ...]. All columns never change.
FACTS: Final[Mapping[str, tuple[str, ...]]] = {
    TARGET: (
        "SELECT log_id, t.item_id, from_wall_ms, row_id, kind, price_id, rev, effective_from_ms, effective_to_ms, curve, source, "
        "received_wall_ms FROM target_log AS t JOIN price_row USING (row_id) WHERE log_id BETWEEN ?1 AND ?2 ORDER BY log_id",
    ),
    MEMBER_PRICE: (
        "SELECT row_id, item_id, price_id, rev, effective_from_ms, effective_to_ms, curve, cancelled, source, received_wall_ms "
        "FROM price_row WHERE row_id BETWEEN ?1 AND ?2 AND kind = 'member' ORDER BY row_id",
    ),
    SENT: (
        "SELECT attempt_id, label_id, kind, content_hash, picture_hash, payload_md5, created_wall_ms, fields FROM attempt "
        "WHERE attempt_id = ?1",
        "SELECT page, audience, item_id, curve, row_id FROM attempt_offer WHERE attempt_id = ?1 ORDER BY rowid",
    ),
    SEEN: (
        "SELECT attempt_id, label_id, kind, content_hash, created_wall_ms FROM attempt WHERE attempt_id = ?1",
        "SELECT page, audience, item_id, curve, row_id FROM attempt_offer WHERE attempt_id = ?1 ORDER BY rowid",
    ),
    UNKNOWN: ("SELECT attempt_id, label_id, kind, created_wall_ms FROM attempt WHERE attempt_id = ?1",),
    BOUNDS: ("SELECT page, audience, item_id, curve, row_id FROM attempt_offer WHERE attempt_id = ?1 ORDER BY rowid LIMIT ?3 OFFSET ?2",),
    PROVEN: ("SELECT row_id, grade, wall_ms FROM first_proven WHERE label_id = ?1 AND attempt_id = ?2 ORDER BY row_id",),
    QUOTE: ("SELECT quote_id, lane_id, basket_id, body, total_minor, revision, valid_ms, made_wall_ms FROM quote WHERE quote_id = ?1",),
    SALE: (
        "SELECT sale_id, lane_id, quote_id, body_sha256, answer, total_minor, up_seq, recorded_wall_ms FROM sale WHERE sale_id = ?1",
        "SELECT line_id, item_id, code, quantity, total_minor, target_total_minor, guard, deposit_minor, tax_minor FROM sale_line "
        "WHERE sale_id = ?1 ORDER BY line_id",
    ),
    VOID: ("SELECT void_id, sale_id, lane_id, body_sha256, answer, up_seq, recorded_wall_ms FROM sale_void WHERE void_id = ?1",),
    RETURN: (
        "SELECT return_id, origin, sale_id, lane_id, body_sha256, answer, refund_minor, up_seq, recorded_wall_ms FROM sale_return "
        "WHERE return_id = ?1",
        "SELECT line_id, origin, sale_id, original_line_id, item_id, code, condition, quantity, counted, goods_minor, deposit_minor, "
        "tax_minor FROM return_line WHERE return_id = ?1 ORDER BY line_id",
    ),
}

# How many rows stand behind the first query of a kind: what a person saw on a label, but nobody sent, is an attempt without a content.
COUNTED: Final[Mapping[str, str]] = {
    TARGET: "SELECT count(*) FROM target_log",
    MEMBER_PRICE: "SELECT count(*) FROM price_row WHERE kind = 'member'",
    SENT: "SELECT count(*) FROM attempt WHERE kind = 'picture' AND content_hash <> ''",
    SEEN: "SELECT count(*) FROM attempt WHERE kind = 'picture' AND content_hash = ''",
    UNKNOWN: "SELECT count(*) FROM attempt WHERE kind <> 'picture'",
    BOUNDS: "SELECT count(*) FROM attempt_offer JOIN attempt USING (attempt_id) WHERE kind <> 'picture'",
    QUOTE: "SELECT count(*) FROM quote",
    SALE: "SELECT count(*) FROM sale",
    VOID: "SELECT count(*) FROM sale_void",
    RETURN: "SELECT count(*) FROM sale_return",
}


def fact_rows(db: Db, what: str, key: FactKey) -> list[Rows]:
    """The rows behind an entry as they are now, for each of the queries: none where somebody made up a key that cannot be one."""
    try:
        return [db.execute(sql, tuple(key)).fetchall() for sql in FACTS[what]]
    except (apsw.BindingsError, TypeError, OverflowError):
        return [[] for _ in FACTS[what]]


def fact_text(db: Db, what: str, key: FactKey, last_rows: Rows | None = None) -> str:
    """What the rows behind an entry say now. `last_rows`: what the last of the queries would give."""
    if last_rows is None:
        return json_text(fact_rows(db, what, key))
    found: list[Rows] = [db.execute(sql, tuple(key)).fetchall() for sql in FACTS[what][:-1]]
    return json_text([*found, last_rows])


def note_fact(
    db: Db,
    wall_ms: int,
    what: str,
    key: FactKey,
    *,
    ids: Sequence[str] = (),
    actor: str = "store",
    more: Mapping[str, object] | None = None,
    last_rows: Rows | None = None,
) -> int:
    """Append an entry that stands for rows written in this transaction. `more` is what no row holds. Returns the entry's number."""
    detail = {**({"ids": ids} if ids else {}), "of": key, **(more or {}), "is": digest(fact_text(db, what, key, last_rows))}
    return _append(db, wall_ms, actor, what, ids, json_text(detail))


def last_target(db: Db) -> int:
    """Where the target log stands: what is put in force after it is for `targets` to note."""
    last = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'target_log'").get
    return last if isinstance(last, int) else 0


def targets(db: Db, stamp: Stamp, after_log_id: int) -> None:
    """Note every target that this transaction put in force, many to an entry."""
    last = last_target(db)
    for first in range(after_log_id + 1, last + 1, TARGETS_MAX):
        note_fact(db, stamp.wall_ms, TARGET, (first, min(last, first + TARGETS_MAX - 1)))


def member_prices(db: Db, stamp: Stamp, row_ids: Sequence[int]) -> None:
    """Note the prices for members among the rows that this transaction stored: what a member paid follows from them and the clock."""
    for start in range(0, len(row_ids), TARGETS_MAX):
        some = row_ids[start : start + TARGETS_MAX]
        note_fact(db, stamp.wall_ms, MEMBER_PRICE, (some[0], some[-1]))


def member_price_withdrawn(db: Db, stamp: Stamp, item_id: str, row_id: int, *, withdrawn: bool) -> None:
    """Note that a price for members is no longer HQ's, or is again."""
    note(db, stamp, MEMBER_WITHDRAWN, (item_subject(item_id),), {"row": row_id, "withdrawn": withdrawn})


def display_unknown(db: Db, stamp: Stamp, label_id: str, attempt_id: int, why: str) -> None:
    """Note that nobody knows what a label shows, and by what it bounds prices from now on."""
    more = {"label": label_id, "attempt": attempt_id, "why": why}
    note_fact(db, stamp.wall_ms, UNKNOWN, (attempt_id,), ids=(label_subject(label_id),), more=more)
    offers = _offers(db, attempt_id)
    if offers:
        display_bounds(db, stamp, label_id, attempt_id, offers)


def display_bounds(db: Db, stamp: Stamp, label_id: str, attempt_id: int, joined: int) -> None:
    """Note that an unknown display bounds by these many offers more, the last that were written."""
    key = (attempt_id, _offers(db, attempt_id) - joined, joined)
    note_fact(db, stamp.wall_ms, BOUNDS, key, ids=(label_subject(label_id),), more={"attempt": attempt_id})


def _offers(db: Db, attempt_id: int) -> int:
    count = db.execute("SELECT count(*) FROM attempt_offer WHERE attempt_id = ?", (attempt_id,)).get
    assert isinstance(count, int)
    return count


def attempt_sent(db: Db, stamp: Stamp, attempt_id: int, label_id: str, radio_id: str) -> None:
    """Note an attempt that is about to be sent."""
    note_fact(db, stamp.wall_ms, SENT, (attempt_id,), ids=(label_subject(label_id),), more={"attempt": attempt_id, "radio": radio_id})


def attempt_proven(
    db: Db, stamp: Stamp, attempt_id: int, label_id: str, grade: str, *, accepted: bool, went: Mapping[tuple[str, int], MayEntry | None]
) -> None:
    """Note that an attempt is on the panel, by what grade, whether that let others go (`bound`), and which: those that bind for the
    dwell yet, and those that do not."""
    dwells = [old_id for (_, old_id), entry in went.items() if entry is not None]
    past = [old_id for (_, old_id), entry in went.items() if entry is None]
    more = {"label": label_id, "attempt": attempt_id, "grade": grade, "bound": accepted, "dwells": dwells, "past": past}
    note_fact(db, stamp.wall_ms, PROVEN, (label_id, attempt_id), ids=(label_subject(label_id),), more=more)


def quoted(db: Db, wall_ms: int, quote_id: str, lane_id: str, *, member: bool) -> None:
    """Note a quote: what a lane was told to charge, and whether a member."""
    note_fact(db, wall_ms, QUOTE, (quote_id,), actor=f"lane {lane_id}", more={"member": True} if member else None)


def sold(db: Db, stamp: Stamp, sale_id: str, lane_id: str, made_wall_ms: int, lines: Rows) -> None:
    """Note a sale; `made_wall_ms` is the lane's own word for when it was made.

    `lines` are its rows as written, line id first, without the sale's: reading them again would be half of what the entry costs.
    """
    rows = sorted(lines, key=_line_id)
    note_fact(db, stamp.wall_ms, SALE, (sale_id,), actor=f"lane {lane_id}", more={"made_ms": made_wall_ms}, last_rows=rows)


def _line_id(row: tuple[object, ...]) -> str:
    return str(row[0])


# -- the store itself ------------------------------------------------------------------------------------------------------


def begin(db: Db, stamp: Stamp) -> None:
    """Where the evidence begins, and each incarnation of the store. Idempotent; called when the file is opened.

    Rows that were there before the first entry of this kind are not covered; it says how many there are.
    """
    if db.execute("SELECT 1 FROM audit_subject WHERE subject = ? LIMIT 1", (STORE_SUBJECT,)).get is None:
        note(db, stamp, BEGIN, (STORE_SUBJECT,), {"before": counts(db)})
    incarnation, noted = get_meta(db, "incarnation"), last_of(db, INCARNATION)
    if noted != incarnation:
        head = audit_head(db)
        note(db, stamp, INCARNATION, (STORE_SUBJECT,), {"incarnation": incarnation, "before": noted, "after_entry": head.entry})


def note_key(db: Db, stamp: Stamp, public_key: str) -> None:
    """Which key signs the store's bundles from now on. Idempotent."""
    if last_of(db, KEY) != public_key:
        note(db, stamp, KEY, (STORE_SUBJECT,), {"key": public_key})


def last_of(db: Db, what: str) -> str | None:
    """The value of the newest entry about the store that is called `what`."""
    value = db.execute(
        "SELECT json_extract(detail, '$.' || ?1) FROM audit_subject JOIN audit USING (entry_id) "
        "WHERE subject = ?2 AND what = ?3 ORDER BY entry_id DESC LIMIT 1",
        (what.rpartition(".")[2], STORE_SUBJECT, what),
    ).get
    return None if value is None else str(value)


def counts(db: Db) -> dict[str, int]:
    """How many rows each kind of fact has in its history table."""
    found: dict[str, int] = {}
    for what, sql in COUNTED.items():
        count = db.execute(sql).get
        assert isinstance(count, int)
        found[what] = count
    return found


def digest(text: str) -> str:
    """SHA-256 in hex: what stands in an entry for a text that is kept elsewhere."""
    return hashlib.sha256(text.encode()).hexdigest()
