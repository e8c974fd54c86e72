"""What a scanned pack is judged by."""

from __future__ import annotations

from typing import Final

SECOND: Final = """
CREATE TABLE recall(
  item_id TEXT PRIMARY KEY, lots TEXT NOT NULL, all_lots INTEGER NOT NULL, reason TEXT NOT NULL, source TEXT NOT NULL,
  received_wall_ms INTEGER NOT NULL) STRICT;
"""
