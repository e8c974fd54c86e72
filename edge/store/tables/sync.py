"""What HQ and store need to agree after an outage: acks that are due, cancelled places, shared chunks."""

from __future__ import annotations

from typing import Final

# `snapshot.seq`: where its manifest stands in the bulk stream. `ack_mark`: through where a stream's progress was told to HQ.
# `item_change`: where HQ's last word about an item came from, so that a snapshot written before it does not undo it.
THIRD: Final = """
ALTER TABLE snapshot ADD COLUMN incarnation TEXT NOT NULL DEFAULT '';
ALTER TABLE snapshot ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE snapshot ADD COLUMN message_id TEXT NOT NULL DEFAULT '';
CREATE TABLE loose_chunk(
  sha256 TEXT PRIMARY KEY, body BLOB NOT NULL, received_wall_ms INTEGER NOT NULL) STRICT;
CREATE TABLE ack_mark(
  stream TEXT PRIMARY KEY, incarnation TEXT NOT NULL, seq INTEGER NOT NULL, boot_id TEXT NOT NULL, told_ms INTEGER NOT NULL) STRICT;
CREATE TABLE hq_cancel(
  stream TEXT NOT NULL, incarnation TEXT NOT NULL, seq INTEGER NOT NULL, reason TEXT NOT NULL,
  PRIMARY KEY(stream, incarnation, seq)) STRICT, WITHOUT ROWID;
CREATE TABLE item_change(
  item_id TEXT PRIMARY KEY, incarnation TEXT NOT NULL, seq INTEGER NOT NULL) STRICT, WITHOUT ROWID;
"""
