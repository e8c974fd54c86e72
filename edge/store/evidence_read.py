"""The audit chain and its history tables, read: by time, by subject, and what is needed to say what held at an instant.

Everything read is checked on the way: an entry against its hash and the hash before it, the rows behind it against what it says. What
does not hold is told as a text and never left out. For a connection of its own: nothing here is quick enough for the event loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
from msgspec.structs import replace

from edge.evidence import (
    BEGIN,
    BOUND,
    INCARNATION,
    MEMBER_PRICE,
    MEMBER_WITHDRAWN,
    QUOTE,
    SALE,
    SENT,
    TARGET,
    UNKNOWN,
    Attempt,
    Entry,
    TargetAt,
)
from edge.model import ItemId, MayKind, PriceRow
from edge.store import rows as codec
from edge.store.evidence import FACTS, STORE_SUBJECT, digest, fact_text, item_subject, label_subject
from edge.store.journal import AUDIT_RUN_MS, GENESIS
from edge.store.rows import Db

MAX_ENTRY: Final = 2**62

ENTRY = (
    "SELECT entry_id, wall_ms, actor, what, detail, coalesce((SELECT hash FROM audit AS p WHERE p.entry_id = a.entry_id - 1), ?1), hash "
    "FROM audit AS a "
)


def entry(db: Db, entry_id: int) -> Entry | None:
    row = db.execute(ENTRY + "WHERE entry_id = ?2", (GENESIS, entry_id)).fetchone()
    return None if row is None else Entry(*row)


def entries_of(db: Db, subject: str, through: int) -> list[Entry]:
    """The entries about a subject up to one, in the order they were made."""
    chosen = "WHERE entry_id IN (SELECT entry_id FROM audit_subject WHERE subject = ?2 AND entry_id <= ?3) ORDER BY entry_id"
    return [Entry(*row) for row in db.execute(ENTRY + chosen, (GENESIS, subject, through))]


def runs(db: Db, from_ms: int, to_ms: int) -> list[tuple[int, int]]:
    """(first, last) entries of the stretches in which the store's clock may have shown an instant from `from_ms` to `to_ms`."""
    found = db.execute(
        "SELECT entry_id, coalesce((SELECT min(n.entry_id) FROM audit_minute AS n WHERE n.entry_id > m.entry_id), "
        "(SELECT max(entry_id) + 1 FROM audit)) - 1 FROM audit_minute AS m WHERE minute BETWEEN ? AND ? ORDER BY entry_id",
        (from_ms // AUDIT_RUN_MS, to_ms // AUDIT_RUN_MS),
    )
    return [(first, last) for first, last in found]


def entries_between(db: Db, from_ms: int, to_ms: int, what: Sequence[str]) -> list[Entry]:
    """The entries of some kinds that were made from `from_ms` to `to_ms` by the store's clock."""
    marks = ", ".join("?" * len(what))
    found: list[Entry] = []
    for first, last in runs(db, from_ms, to_ms):
        rows = db.execute(
            ENTRY + f"WHERE entry_id BETWEEN ? AND ? AND wall_ms BETWEEN ? AND ? AND what IN ({marks}) ORDER BY entry_id",
            (GENESIS, first, last, from_ms, to_ms, *what),
        )
        found.extend(Entry(*row) for row in rows)
    return found


@dataclass(frozen=True, slots=True)
class Position:
    """Where an instant is in the chain: after `entry` (0: before the first). `twice`: the clock was set back over it."""

    entry: int
    twice: bool


def position(db: Db, at_ms: int) -> Position:
    minute = at_ms // AUDIT_RUN_MS
    run = db.execute("SELECT entry_id FROM audit_minute WHERE minute <= ? ORDER BY minute DESC, entry_id DESC LIMIT 1", (minute,)).get
    if run is None:
        return Position(0, twice=False)
    end = db.execute("SELECT min(entry_id) FROM audit_minute WHERE entry_id > ?", (run,)).get
    last = db.execute(
        "SELECT max(entry_id) FROM audit WHERE entry_id >= ?1 AND entry_id < coalesce(?2, entry_id + 1) AND wall_ms <= ?3",
        (run, end, at_ms),
    ).get
    at = int(last) if last is not None else int(run) - 1
    later = db.execute("SELECT min(entry_id) FROM audit_minute WHERE minute > ? AND entry_id < ?", (minute, at)).get
    return Position(at, twice=later is not None)


def entry_trouble(db: Db, found: Entry) -> list[str]:
    """What is wrong with an entry, or with the rows behind it."""
    if not found.holds():
        return [f"audit entry {found.entry} does not have the hash of what it says"]
    said = found.said
    if found.what in FACTS and "of" in said and digest(fact_text(db, found.what, said["of"])) != said.get("is"):
        return [f"the rows behind audit entry {found.entry} ({found.what} {said['of']}) are not what it says"]
    return []


def incarnation_at(db: Db, through: int) -> str | None:
    """The store's incarnation when an entry was made."""
    told = [each.said.get("incarnation") for each in entries_of(db, STORE_SUBJECT, through) if each.what == INCARNATION]
    return str(told[-1]) if told else None


# -- targets ---------------------------------------------------------------------------------------------------------------


def log_at(db: Db, through: int, at_ms: int) -> int:
    """Where the target log stood after an entry of the chain; by the clock alone where that is older than the evidence."""
    detail = db.execute(
        "SELECT detail FROM audit WHERE entry_id <= ? AND what = ? AND detail LIKE '{\"of\":%' ORDER BY entry_id DESC LIMIT 1",
        (through, TARGET),
    ).get
    if detail is not None:
        return int(msgspec.json.decode(str(detail))["of"][1])
    older = db.execute(
        "SELECT max(log_id) FROM target_log WHERE from_wall_ms <= ? AND log_id <= ?", (at_ms, before_evidence(db).get(TARGET, 0))
    ).get
    return older if isinstance(older, int) else 0


def target_at(db: Db, item_id: str, at_ms: int, log_id_max: int) -> tuple[TargetAt | None, list[str]]:
    """The price of an item in force when the target log stood at a row, and what is wrong with the evidence for it."""
    trouble: list[str] = []
    for log_id, since_ms in db.execute(
        "SELECT log_id, from_wall_ms FROM target_log WHERE item_id = ? AND log_id > ? AND from_wall_ms <= ?", (item_id, log_id_max, at_ms)
    ).fetchall():
        if _covering(db, TARGET, log_id, since_ms) is None:
            trouble += _uncovered_target(db, log_id)
    row = db.execute(
        "SELECT log_id, from_wall_ms, row_id, kind, price_id, rev, curve, source FROM target_log AS t JOIN price_row USING (row_id) "
        "WHERE t.item_id = ? AND log_id <= ? ORDER BY log_id DESC LIMIT 1",
        (item_id, log_id_max),
    ).fetchone()
    if row is None:
        return None, trouble
    log_id, since_ms, row_id, kind, price_id, rev, curve, source = row
    noted = _covering(db, TARGET, log_id, since_ms)
    trouble += entry_trouble(db, noted) if noted is not None else _uncovered_target(db, log_id)
    at = noted.entry if noted is not None else None
    return TargetAt(log_id, row_id, kind, price_id, rev, codec.curve_of(curve), since_ms, source, at), trouble


def _covering(db: Db, what: str, row_id: int, wall_ms: int) -> Entry | None:
    """The entry that covers a row of the target log, or of the prices for members: it was made at the same instant."""
    for found in entries_between(db, wall_ms, wall_ms, (what,)):
        of = found.said.get("of", ())
        if len(of) == 2 and of[0] <= row_id <= of[1]:
            return found
    return None


def _uncovered_target(db: Db, log_id: int) -> list[str]:
    """A target that no entry covers is older than the evidence, or somebody put it there."""
    return [] if log_id <= before_evidence(db).get(TARGET, 0) else [f"row {log_id} of the target log is in no audit entry"]


def before_evidence(db: Db) -> dict[str, int]:
    """How many rows of each kind of fact are older than the evidence."""
    for each in entries_of(db, STORE_SUBJECT, MAX_ENTRY):
        if each.what == BEGIN:
            before: dict[str, int] = each.said.get("before", {})
            return before
    return {}


def member_rows_at(db: Db, item_id: ItemId, through: int, at_ms: int) -> tuple[list[PriceRow], list[str]]:
    """The item's prices for members as they were known after an entry of the chain, the newest of each, and what is wrong with them."""
    trouble: list[str] = []
    newest: dict[str, PriceRow] = {}
    withdrawn = _withdrawn_at(db, item_id, through, trouble)
    for *row, received_ms in db.execute(
        f"SELECT {codec.PRICE_COLUMNS}, received_wall_ms FROM price_row WHERE item_id = ? AND kind = 'member' ORDER BY rev",  # noqa: S608
        (item_id,),
    ).fetchall():
        price = codec.price_row_of(tuple(row))
        noted = _covering(db, MEMBER_PRICE, price.row_id, received_ms)
        if noted is None and received_ms <= at_ms and not _is_older_member_price(db, price.row_id):
            trouble.append(f"row {price.row_id} of the prices is in no audit entry")
        if noted is not None:
            trouble += entry_trouble(db, noted)
        if received_ms <= at_ms if noted is None else noted.entry <= through:
            newest[price.price_id] = replace(price, cancelled=withdrawn.get(price.row_id, price.cancelled))
    return list(newest.values()), trouble


def _withdrawn_at(db: Db, item_id: ItemId, through: int, trouble: list[str]) -> dict[int, bool]:
    """Whether a price for members was withdrawn, by its row: only of those that the chain says so, one way or the other."""
    told = [each for each in entries_of(db, item_subject(item_id), MAX_ENTRY) if each.what == MEMBER_WITHDRAWN]
    found: dict[int, bool] = {}
    for each in told:
        trouble += entry_trouble(db, each)
        row_id, withdrawn = each.said.get("row"), each.said.get("withdrawn")
        if isinstance(row_id, int) and isinstance(withdrawn, bool):
            before = found.get(row_id, not withdrawn)
            found[row_id] = withdrawn if each.entry <= through else before
    return found


def _is_older_member_price(db: Db, row_id: int) -> bool:
    """Whether a price for members was there before the evidence began."""
    rank = db.execute("SELECT count(*) FROM price_row WHERE kind = 'member' AND row_id <= ?", (row_id,)).get
    return isinstance(rank, int) and rank <= before_evidence(db).get(MEMBER_PRICE, 0)


def latched_at(db: Db, item_id: str, log_id_max: int, at_ms: int) -> int:
    """The instant by which the lane judged what has its time: a clock that went back undid nothing."""
    latest = db.execute("SELECT max(from_wall_ms) FROM target_log WHERE item_id = ? AND log_id <= ?", (item_id, log_id_max)).get
    return max(at_ms, latest) if isinstance(latest, int) else at_ms


# -- labels ----------------------------------------------------------------------------------------------------------------


def labels_of(db: Db, item_id: str) -> list[str]:
    """Labels that ever had a picture (or an unknown display) with an offer for the item, or were bound to it by the chain's word: so that
    nobody hides a label by taking its offers away."""
    bound = {str(each.said.get("label")) for each in entries_of(db, item_subject(item_id), MAX_ENTRY) if each.what == BOUND}
    found = db.execute(
        "SELECT DISTINCT label_id FROM attempt_offer AS o JOIN attempt AS a USING (attempt_id) WHERE o.item_id = ?", (item_id,)
    )
    return sorted(bound | {str(label_id) for (label_id,) in found})


def attempts_of(db: Db, label_id: str) -> dict[int, Attempt]:
    """A label's attempts, with what they offered."""
    found: dict[int, Attempt] = {}
    for attempt_id, kind, picture, fields, created_ms, proven_ms, grade in db.execute(
        "SELECT attempt_id, kind, picture_hash, fields, created_wall_ms, proven_wall_ms, grade FROM attempt "
        "WHERE label_id = ? ORDER BY attempt_id",
        (label_id,),
    ).fetchall():
        offers = db.execute(
            "SELECT page, audience, item_id, curve, row_id FROM attempt_offer WHERE attempt_id = ? ORDER BY rowid", (attempt_id,)
        )
        offered = tuple(codec.offer_of(each) for each in offers)
        found[attempt_id] = Attempt(attempt_id, label_id, MayKind(kind), offered, picture, fields, created_ms, proven_ms, grade)
    return found


def label_entries(db: Db, label_id: str) -> list[Entry]:
    """What the chain says of a label."""
    return entries_of(db, label_subject(label_id), MAX_ENTRY)


def uncovered_attempts(attempts: Iterable[Attempt], entries: Iterable[Entry]) -> list[str]:
    """Attempts that no entry covers although later ones of the same label are covered: somebody put them there."""
    covered: set[int] = set()
    for each in entries:
        said = each.said
        covered |= (
            {number for number in (said.get("attempt"), said.get("seen")) if isinstance(number, int)} if _brings(each, said) else set()
        )
    first = min(covered, default=None)
    return [
        f"attempt {attempt.attempt_id} of label {attempt.label_id} is in no audit entry"
        for attempt in attempts
        if first is not None and attempt.attempt_id > first and attempt.attempt_id not in covered
    ]


def _brings(found: Entry, said: dict[str, object]) -> bool:
    return found.what in (SENT, UNKNOWN) or "seen" in said


# -- lanes and people ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Charged:
    """A line that a lane was quoted, or sold. `ref` is the quote's or the sale's id."""

    what: str
    ref: str
    lane: str
    wall_ms: int
    line_id: str
    quantity: int
    total_minor: int
    target_total_minor: int | None
    guard: str | None
    quote_id: str | None
    entry: int
    member: bool = False  # quoted to a member


def charged(db: Db, item_id: str, from_ms: int, to_ms: int) -> tuple[list[Charged], list[str]]:
    """Quotes and sales of an item in a stretch of time, and what is wrong with the evidence for them."""
    lines: list[Charged] = []
    trouble: list[str] = []
    for each in entries_between(db, from_ms, to_ms, (QUOTE, SALE)):
        problems = entry_trouble(db, each)
        trouble += problems  # also where no line of the item is left: there may have been one
        ref = str(each.said.get("of", [""])[0])
        try:
            lines += _quote_lines(db, each, ref, item_id) if each.what == QUOTE else _sale_lines(db, each, ref, item_id)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            if not problems:
                raise
            trouble.append(f"{each.what} {ref} cannot be read: {error}")
    return lines, trouble


def _quote_lines(db: Db, noted: Entry, quote_id: str, item_id: str) -> Iterator[Charged]:
    row = db.execute(
        "SELECT quote_id, lane_id, basket_id, body, total_minor, revision, boot_id, made_ms, valid_ms FROM quote WHERE quote_id = ?",
        (quote_id,),
    ).fetchone()
    if row is None:
        return
    quote = codec.quote_of(row)
    for line in quote.lines:
        if line.item_id == item_id:
            amounts = (line.quantity, line.total_minor, line.target_total_minor, line.guard)
            yield Charged(
                QUOTE,
                quote_id,
                quote.lane_id,
                noted.wall_ms,
                line.line_id,
                *amounts,
                quote_id,
                noted.entry,
                noted.said.get("member") is True,
            )


def _sale_lines(db: Db, noted: Entry, sale_id: str, item_id: str) -> Iterator[Charged]:
    found = db.execute(
        "SELECT lane_id, line_id, quantity, l.total_minor, target_total_minor, guard, quote_id "
        "FROM sale_line AS l JOIN sale USING (sale_id) WHERE sale_id = ? AND item_id = ? ORDER BY line_id",
        (sale_id, item_id),
    )
    for lane, line_id, quantity, total_minor, target_minor, guard, quote_id in found:
        yield Charged(SALE, sale_id, lane, noted.wall_ms, line_id, quantity, total_minor, target_minor, guard, quote_id, noted.entry)


def decisions(db: Db, item_id: ItemId, labels: Sequence[str], through: int, limit: int) -> list[Entry]:
    """The newest entries that people, HQ and the owner's rules made about the item or these labels, oldest first."""
    marks = ", ".join("?" * (len(labels) + 1))
    chosen = f"WHERE entry_id IN (SELECT entry_id FROM audit_subject WHERE subject IN ({marks}) AND entry_id <= ?) "  # noqa: S608 - marks
    newest = chosen + "AND what NOT LIKE 'attempt.%' ORDER BY entry_id DESC LIMIT ?"
    subjects = (item_subject(item_id), *map(label_subject, labels))
    return [Entry(*row) for row in db.execute(ENTRY + newest, (GENESIS, *subjects, through, limit))][::-1]
