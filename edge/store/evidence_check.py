"""The whole audit checked: every link, every row behind an entry, every row that should be behind one, and HQ's own head.

In steps, so that whoever runs it can let lanes go first; each step is one read of the file as it stands then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from edge.evidence import BEGIN, INCARNATION, Entry
from edge.store.evidence import COUNTED, FACTS, digest, fact_rows
from edge.store.journal import AUDIT_RUN_MS, GENESIS
from edge.store.rows import Db, json_text

TROUBLE_MAX: Final = 20  # told one by one; more of them say nothing new
_HEAD: Final = re.compile(r"(?:([0-9a-f]{32}):)?([1-9][0-9]{0,17}|0):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Head:
    """What HQ holds of the chain: `up/state` tells it with the store's incarnation."""

    incarnation: str | None
    entry: int
    hash: str


def parse_head(text: str) -> Head:
    """From `[INCARNATION:]ENTRY:HASH`. Raises ValueError."""
    match = _HEAD.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r}, expected ENTRY:HASH or INCARNATION:ENTRY:HASH as HQ has it")
    return Head(match[1], int(match[2]), match[3])


@dataclass(slots=True)
class Check:
    """How far a check came. `trouble` is empty for a file whose evidence holds; `broken_at` is the first entry that is not chained."""

    heads: tuple[Head, ...] = ()
    entry: int = 0
    hash: str = GENESIS
    facts: int = 0
    broken_at: int | None = None
    trouble: list[str] = field(default_factory=list)
    trouble_count: int = 0
    before: dict[str, int] | None = None  # rows older than the evidence, by kind; None until it begins
    done: bool = False
    _minute: int | None = None
    _rows: dict[str, int] = field(default_factory=dict)
    _subjects: int = 0
    _runs: int = 0
    _incarnations: list[tuple[str, int]] = field(default_factory=list)  # (incarnation, entry that begins it)
    _heads_met: set[Head] = field(default_factory=set)

    def step(self, db: Db, entries_max: int) -> None:
        """Check up to `entries_max` more entries; after the last one, what no entry names. `db` has no transaction open."""
        db.execute("BEGIN")
        try:
            found = db.execute(
                "SELECT entry_id, wall_ms, actor, what, detail, hash FROM audit WHERE entry_id > ? ORDER BY entry_id LIMIT ?",
                (self.entry, entries_max),
            ).fetchall()
            for entry_id, wall_ms, actor, what, detail, digest_ in found:
                if not self._link(Entry(entry_id, wall_ms, actor, what, detail, self.hash, digest_)):
                    return
                self._behind(db, Entry(entry_id, wall_ms, actor, what, detail, self.hash, digest_))
                self.entry, self.hash = entry_id, digest_
                self._meet_heads()
            if len(found) < entries_max:
                self._finish(db)
        finally:
            db.execute("COMMIT")

    def _tell(self, text: str) -> None:
        self.trouble_count += 1
        if len(self.trouble) < TROUBLE_MAX:
            self.trouble.append(text)

    def _link(self, found: Entry) -> bool:
        """Whether the entry is the next one and chained to the one before; what follows a broken link proves nothing."""
        if found.entry == self.entry + 1 and found.holds():
            return True
        missing = f"entry {self.entry + 1} is missing: " if found.entry != self.entry + 1 else ""
        self.broken_at = self.entry + 1
        self._tell(f"{missing}audit entry {found.entry} is not chained to entry {self.entry}; nothing from here on is proven")
        self.done = True
        return False

    def _behind(self, db: Db, found: Entry) -> None:
        """The rows that an entry stands for, and the indexes that find it."""
        said = found.said
        of = said.get("of")
        if found.what in FACTS and isinstance(of, list):
            self.facts += 1
            rows = fact_rows(db, found.what, of)
            self._rows[found.what] = self._rows.get(found.what, 0) + len(rows[0])
            if digest(json_text(rows)) != said.get("is"):
                self._tell(f"the rows behind audit entry {found.entry} ({found.what} {of}) are not what it says")
        if found.what == BEGIN and self.before is None:
            before = said.get("before")
            self.before = before if isinstance(before, dict) else {}
            self._rows.clear()
        if found.what == INCARNATION:
            self._incarnations.append((str(said.get("incarnation")), found.entry))
        ids = said.get("ids")
        for subject in dict.fromkeys(map(str, ids)) if isinstance(ids, list) else ():
            self._subjects += 1
            if db.execute("SELECT 1 FROM audit_subject WHERE subject = ? AND entry_id = ?", (subject, found.entry)).get is None:
                self._tell(f"audit entry {found.entry} is no longer found under {subject}")
        minute = found.wall_ms // AUDIT_RUN_MS
        if minute != self._minute:
            self._minute, self._runs = minute, self._runs + 1
            if db.execute("SELECT minute FROM audit_minute WHERE entry_id = ?", (found.entry,)).get != minute:
                self._tell(f"audit entry {found.entry} is no longer found by its time")

    def _finish(self, db: Db) -> None:
        """Rows that no entry names, index rows of entries that do not exist, heads that were never met."""
        self.done = True
        for what, sql in COUNTED.items() if self.before is not None else ():
            count = db.execute(sql).get
            assert self.before is not None
            expected = self.before.get(what, 0) + self._rows.get(what, 0)
            if count != expected:
                self._tell(f"{count} rows of kind {what}, the audit and what is older than it name {expected}")
        for table, expected in (("audit_subject", self._subjects), ("audit_minute", self._runs)):
            count = db.execute(f"SELECT count(*) FROM {table}").get  # noqa: S608 - the two names above
            if count != expected:
                self._tell(f"{count} rows in {table}, the audit names {expected}")
        for head in self.heads:
            if head not in self._heads_met:
                self._unmet(head)

    def _meet_heads(self) -> None:
        for head in self.heads:
            if head.entry == self.entry and head.hash == self.hash and self._fits(head):
                self._heads_met.add(head)

    def _fits(self, head: Head) -> bool:
        """Whether the entry was made in the incarnation that the head names. (Entries before a restore are shared with the copy.)"""
        return head.incarnation is None or head.incarnation in {name for name, _ in self._incarnations}

    def _unmet(self, head: Head) -> None:
        ends = {name: next_entry - 1 for (name, _), (_, next_entry) in zip(self._incarnations, self._incarnations[1:], strict=False)}
        if head.incarnation is not None and not self._fits(head):
            self._tell(f"HQ's head is of incarnation {head.incarnation}, which this file never was")
        elif head.incarnation is not None and head.entry > ends.get(head.incarnation, self.entry):
            end = ends.get(head.incarnation, self.entry)
            restored = " before the file was restored from a copy" if head.incarnation in ends else ""
            self._tell(f"entries {end + 1} to {head.entry} of incarnation {head.incarnation}, which HQ knows of, are not here{restored}")
        elif head.entry > self.entry:
            self._tell(f"HQ knows of {head.entry} entries, the file has {self.entry}: the last ones are missing, or the file was restored")
        else:
            self._tell(f"audit entry {head.entry} is not the one that HQ holds: the chain was written anew at or before it")


def report(check: Check) -> dict[str, object]:
    """A finished check as an answer."""
    return {
        "entries": check.entry,
        "hash": check.hash,
        "facts": check.facts,
        "older_rows": dict(check.before or {}),
        "heads": [f"{head.entry}:{head.hash}" for head in _sorted(check.heads)],
        "broken_at": check.broken_at,
        "problems": check.trouble_count,
        "trouble": list(check.trouble),
    }


def _sorted(heads: Iterable[Head]) -> list[Head]:
    return sorted(heads, key=lambda head: head.entry)
