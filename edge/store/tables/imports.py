"""Files that came to the store, and who may speak REST."""

from __future__ import annotations

from typing import Final

# Imports are in the order of their rowids: a wall clock may go back. `through_line` and `through_key` say how far one is in force: the
# last of its lines, then the last of what there is that was compared with a full file.
THIRD: Final = """
CREATE TABLE import_file(
  import_id TEXT PRIMARY KEY, feed TEXT NOT NULL, settings TEXT NOT NULL, name TEXT NOT NULL, fingerprint TEXT NOT NULL,
  sha256 TEXT NOT NULL, actor TEXT NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '',
  persons TEXT NOT NULL DEFAULT '[]', persons_needed INTEGER NOT NULL DEFAULT 1, counts TEXT NOT NULL DEFAULT '{}',
  through_line INTEGER NOT NULL DEFAULT 0, through_key TEXT NOT NULL DEFAULT '', began_wall_ms INTEGER NOT NULL,
  ended_wall_ms INTEGER, filed INTEGER NOT NULL) STRICT;
CREATE INDEX import_file_feed ON import_file(feed);
CREATE TABLE import_row(
  import_id TEXT NOT NULL, line INTEGER NOT NULL, key TEXT NOT NULL, body TEXT NOT NULL, outcome TEXT NOT NULL,
  detail TEXT NOT NULL, PRIMARY KEY(import_id, line)) STRICT, WITHOUT ROWID;
CREATE INDEX import_row_to_do ON import_row(import_id, line) WHERE outcome <> 'unchanged';
CREATE UNIQUE INDEX import_row_key ON import_row(import_id, key);
CREATE TABLE import_problem(
  import_id TEXT NOT NULL, n INTEGER NOT NULL, line INTEGER NOT NULL, column_name TEXT NOT NULL, found TEXT NOT NULL,
  expected TEXT NOT NULL, PRIMARY KEY(import_id, n)) STRICT, WITHOUT ROWID;
CREATE TABLE import_gone(
  import_id TEXT NOT NULL, key TEXT NOT NULL, outcome TEXT NOT NULL, detail TEXT NOT NULL,
  PRIMARY KEY(import_id, key)) STRICT, WITHOUT ROWID;
CREATE TABLE token(
  token_id TEXT PRIMARY KEY, name TEXT NOT NULL, scopes TEXT NOT NULL, hash BLOB NOT NULL, created_wall_ms INTEGER NOT NULL,
  created_by TEXT NOT NULL, revoked_wall_ms INTEGER, revoked_by TEXT) STRICT;
CREATE UNIQUE INDEX token_name ON token(name) WHERE revoked_wall_ms IS NULL;
"""
