"""What people decided about labels, and what the guard keeps for them: since when something is held, and what it cost."""

from __future__ import annotations

from typing import Final

# `attempt.since_*` says since when a member stands in its may-set, `radio_offer.offered_ms` since when a radio offers, or forgot to.
# `attempt.lost_since_ms` to `lost_until_ms`, of an unknown display in a file that was restored: what was in force then nobody noted.
# `guard_margin` grows with the sale lines themselves, so that no path into `sale_line` can forget it; `day` counts from 1970 in UTC.
SECOND: Final = """
ALTER TABLE attempt ADD COLUMN since_boot_id TEXT NOT NULL DEFAULT '';
ALTER TABLE attempt ADD COLUMN since_ms INTEGER NOT NULL DEFAULT 0;
ALTER TABLE attempt ADD COLUMN lost_since_ms INTEGER;
ALTER TABLE attempt ADD COLUMN lost_until_ms INTEGER;
CREATE INDEX attempt_unknown ON attempt(label_id) WHERE kind = 'unknown' AND state = 'open';
CREATE INDEX ever_bound_item ON ever_bound(item_id);
CREATE INDEX price_hold_held ON price_hold(item_id, price_id) WHERE state = 'held';
CREATE TABLE retirement(
  retirement_id INTEGER PRIMARY KEY AUTOINCREMENT, label_id TEXT NOT NULL REFERENCES label,
  reason TEXT NOT NULL CHECK(reason IN ('removed', 'covered')), person TEXT NOT NULL, actor TEXT NOT NULL, wall_ms INTEGER NOT NULL,
  boot_id TEXT NOT NULL, now_ms INTEGER NOT NULL, dwell_ms INTEGER NOT NULL, seen_again_wall_ms INTEGER,
  undone_wall_ms INTEGER, undone_by TEXT) STRICT;
CREATE UNIQUE INDEX retirement_open ON retirement(label_id) WHERE undone_wall_ms IS NULL;
CREATE TABLE guard_hold(
  attempt_id INTEGER PRIMARY KEY REFERENCES attempt, boot_id TEXT NOT NULL, since_ms INTEGER NOT NULL, since_wall_ms INTEGER NOT NULL,
  told INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE guard_override(
  attempt_id INTEGER PRIMARY KEY REFERENCES attempt, label_id TEXT NOT NULL, after_ms INTEGER NOT NULL, wall_ms INTEGER NOT NULL) STRICT;
CREATE TRIGGER guard_override_no_update BEFORE UPDATE ON guard_override BEGIN
  SELECT RAISE(ABORT, 'guard_override is append-only'); END;
CREATE TRIGGER guard_override_no_delete BEFORE DELETE ON guard_override BEGIN
  SELECT RAISE(ABORT, 'guard_override is append-only'); END;
CREATE TABLE guard_margin(
  item_id TEXT NOT NULL, day INTEGER NOT NULL, reason TEXT NOT NULL, given_away_minor INTEGER NOT NULL, lines INTEGER NOT NULL,
  PRIMARY KEY(item_id, day, reason)) STRICT, WITHOUT ROWID;
CREATE TABLE guard_margin_sum(reason TEXT PRIMARY KEY, given_away_minor INTEGER NOT NULL, lines INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO guard_margin SELECT item_id, recorded_wall_ms / 86400000, guard, sum(target_total_minor - sale_line.total_minor), count(*)
  FROM sale_line JOIN sale USING (sale_id)
  WHERE guard NOT NULL AND item_id NOT NULL AND target_total_minor > sale_line.total_minor GROUP BY 1, 2, 3;
INSERT INTO guard_margin_sum SELECT reason, sum(given_away_minor), sum(lines) FROM guard_margin GROUP BY reason;
CREATE TRIGGER guard_margin_grows AFTER INSERT ON sale_line
  WHEN NEW.guard NOT NULL AND NEW.item_id NOT NULL AND NEW.target_total_minor > NEW.total_minor BEGIN
  INSERT INTO guard_margin VALUES (
    NEW.item_id, (SELECT recorded_wall_ms / 86400000 FROM sale WHERE sale_id = NEW.sale_id), NEW.guard,
    NEW.target_total_minor - NEW.total_minor, 1)
    ON CONFLICT(item_id, day, reason) DO UPDATE
    SET given_away_minor = given_away_minor + excluded.given_away_minor, lines = lines + 1;
  INSERT INTO guard_margin_sum VALUES (NEW.guard, NEW.target_total_minor - NEW.total_minor, 1)
    ON CONFLICT(reason) DO UPDATE SET given_away_minor = given_away_minor + excluded.given_away_minor, lines = lines + 1;
  END;
"""
