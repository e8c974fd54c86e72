"""The lines of an evidence bundle: entries of the chain and the texts behind them (docs/reference/evidence.md)."""

from __future__ import annotations

from dataclasses import dataclass

from edge.evidence import Entry
from edge.store import evidence_read as read
from edge.store.evidence import FACTS, digest, fact_text
from edge.store.journal import GENESIS
from edge.store.rows import Db, json_text


@dataclass(frozen=True, slots=True)
class Stretch:
    """The entries of a bundle, without a gap: all made from `from_ms` to `to_ms`, and what the clock put between them."""

    first: int
    last: int
    prev_hash: str
    last_hash: str
    incarnation: str | None


def stretch(db: Db, from_ms: int, to_ms: int) -> Stretch | None:
    """None where nothing was noted in that time."""
    ends: list[int] = []
    for first, last in read.runs(db, from_ms, to_ms):
        row = db.execute(
            "SELECT min(entry_id), max(entry_id) FROM audit WHERE entry_id BETWEEN ? AND ? AND wall_ms BETWEEN ? AND ?",
            (first, last, from_ms, to_ms),
        ).fetchone()
        ends += [each for each in row if each is not None]
    if not ends:
        return None
    start, end = read.entry(db, min(ends)), read.entry(db, max(ends))
    assert start is not None
    assert end is not None
    return Stretch(start.entry, end.entry, start.prev_hash, end.hash, read.incarnation_at(db, end.entry))


def lines(db: Db, first: int, last: int, entries_max: int, bytes_max: int) -> tuple[list[str], int, list[int]]:
    """The lines of the entries from `first` on, no more than these many or (but for the last entry) bytes; then the next entry, and the
    entries that do not hold: for them there is no text."""
    found: list[str] = []
    changed: list[int] = []
    rows = db.execute(read.ENTRY + "WHERE entry_id BETWEEN ? AND ? ORDER BY entry_id LIMIT ?", (GENESIS, first, last, entries_max))
    size = 0
    for each in [Entry(*row) for row in rows.fetchall()]:
        if size > bytes_max:
            break
        found.append(_entry_line(each))
        first = each.entry + 1
        said = each.said
        if not each.holds():
            changed.append(each.entry)
            continue
        if each.what in FACTS and isinstance(said.get("of"), list):
            text = fact_text(db, each.what, said["of"])
            if digest(text) == said.get("is"):
                found.append(json_text({"text": text, "sha256": said["is"]}))
                size += len(text)
            else:
                changed.append(each.entry)
    return found, first, changed


def _entry_line(each: Entry) -> str:
    return json_text(
        {
            "entry": each.entry,
            "wall_ms": each.wall_ms,
            "actor": each.actor,
            "what": each.what,
            "detail": each.detail,
            "hash": each.hash,
        }
    )
