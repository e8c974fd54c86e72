"""Returns and voids."""

from __future__ import annotations

from typing import Final

_TABLES: Final = """
ALTER TABLE sale_line ADD COLUMN deposit_minor INTEGER NOT NULL DEFAULT 0;
ALTER TABLE sale_line ADD COLUMN tax_minor INTEGER NOT NULL DEFAULT 0;
CREATE TABLE sale_void(
  void_id TEXT PRIMARY KEY, sale_id TEXT NOT NULL REFERENCES sale, lane_id TEXT NOT NULL, body_sha256 TEXT NOT NULL,
  answer TEXT NOT NULL, up_seq INTEGER NOT NULL, recorded_wall_ms INTEGER NOT NULL) STRICT;
CREATE INDEX sale_void_sale ON sale_void(sale_id);
CREATE TABLE sale_return(
  return_id TEXT PRIMARY KEY, origin TEXT NOT NULL, sale_id TEXT, lane_id TEXT NOT NULL, body_sha256 TEXT NOT NULL,
  answer TEXT NOT NULL, refund_minor INTEGER NOT NULL, up_seq INTEGER NOT NULL, recorded_wall_ms INTEGER NOT NULL) STRICT;
CREATE TABLE return_line(
  return_id TEXT NOT NULL REFERENCES sale_return, line_id TEXT NOT NULL, origin TEXT NOT NULL, sale_id TEXT, original_line_id TEXT,
  item_id TEXT, code TEXT NOT NULL, condition TEXT NOT NULL, quantity INTEGER NOT NULL, counted INTEGER NOT NULL,
  goods_minor INTEGER NOT NULL, deposit_minor INTEGER NOT NULL, tax_minor INTEGER NOT NULL,
  PRIMARY KEY(return_id, line_id)) STRICT, WITHOUT ROWID;
CREATE INDEX return_line_original ON return_line(sale_id, original_line_id);
"""

_APPEND_ONLY: Final = ("sale_void", "sale_return", "return_line")

SECOND: Final = _TABLES + "".join(
    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END;\n"
    for table in _APPEND_ONLY
    for verb in ("UPDATE", "DELETE")
)
