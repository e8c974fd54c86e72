"""Holds, quotas and observations."""

from __future__ import annotations

from typing import Final

SECOND: Final = """
CREATE TABLE hold(
  hold_id TEXT PRIMARY KEY, item_id TEXT NOT NULL, quantity INTEGER NOT NULL CHECK(quantity >= 1), purpose TEXT NOT NULL,
  order_ref TEXT NOT NULL, channel TEXT NOT NULL, expires_ms INTEGER NOT NULL, state TEXT NOT NULL, arrived_ms INTEGER,
  placed_wall_ms INTEGER NOT NULL, changed_wall_ms INTEGER NOT NULL, changed_by TEXT NOT NULL) STRICT;
CREATE INDEX hold_open ON hold(expires_ms) WHERE state IN ('placed', 'arrived');
CREATE TABLE reserve_move(
  entry_id INTEGER PRIMARY KEY AUTOINCREMENT, account TEXT NOT NULL CHECK(account IN ('held', 'escrow')), item_id TEXT NOT NULL,
  delta INTEGER NOT NULL, cause TEXT NOT NULL, ref TEXT NOT NULL, up_seq INTEGER NOT NULL, wall_ms INTEGER NOT NULL,
  UNIQUE(account, cause, ref, item_id)) STRICT;
CREATE TRIGGER reserve_move_no_update BEFORE UPDATE ON reserve_move BEGIN SELECT RAISE(ABORT, 'reserve_move is append-only'); END;
CREATE TRIGGER reserve_move_no_delete BEFORE DELETE ON reserve_move BEGIN SELECT RAISE(ABORT, 'reserve_move is append-only'); END;
CREATE TABLE escrow(
  item_id TEXT NOT NULL, channel TEXT NOT NULL, quantity INTEGER NOT NULL CHECK(quantity >= 0),
  PRIMARY KEY(item_id, channel)) STRICT, WITHOUT ROWID;
CREATE TABLE observation(
  source TEXT NOT NULL, item_id TEXT NOT NULL, kind TEXT NOT NULL, observation_id TEXT NOT NULL, observed INTEGER NOT NULL,
  observed_ms INTEGER NOT NULL, expected INTEGER NOT NULL, since_ms INTEGER NOT NULL, received_wall_ms INTEGER NOT NULL,
  PRIMARY KEY(source, item_id)) STRICT, WITHOUT ROWID;
CREATE INDEX observation_item ON observation(item_id);
"""
