"""The audit chain as it is since the second migration, and how its entries are found."""

from __future__ import annotations

from typing import Final

# Without AUTOINCREMENT: an entry's number is its place in the chain, and each page less that a transaction changes makes a sale quicker.
# `audit_minute` names the first of each run of entries that were made in the same minute: entries by time, also of a clock that went back.
_TABLES: Final = """
ALTER TABLE audit RENAME TO audit_before;
CREATE TABLE audit(
  entry_id INTEGER PRIMARY KEY, wall_ms INTEGER NOT NULL, actor TEXT NOT NULL, what TEXT NOT NULL, detail TEXT NOT NULL,
  hash TEXT NOT NULL) STRICT;
INSERT INTO audit SELECT entry_id, wall_ms, actor, what, detail, hash FROM audit_before;
DROP TABLE audit_before;
CREATE TABLE audit_minute(entry_id INTEGER PRIMARY KEY REFERENCES audit, minute INTEGER NOT NULL) STRICT;
CREATE INDEX audit_minute_minute ON audit_minute(minute, entry_id);
INSERT INTO audit_minute SELECT entry_id, minute FROM (SELECT entry_id, wall_ms / 60000 AS minute,
  lag(wall_ms / 60000) OVER (ORDER BY entry_id) AS before FROM audit) WHERE before IS NOT minute;
CREATE TABLE audit_subject(
  subject TEXT NOT NULL, entry_id INTEGER NOT NULL REFERENCES audit, PRIMARY KEY(subject, entry_id)) STRICT, WITHOUT ROWID;
CREATE INDEX attempt_offer_item ON attempt_offer(item_id);
"""

SECOND: Final = _TABLES + "".join(
    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;\n"
    for table in ("audit", "audit_minute", "audit_subject")
    for verb in ("UPDATE", "DELETE")
)
