"""Schema and migrations, run with sqlite-utils alone on the file before the daemon opens it (docs/adr/0002-sqlite.md).

A migration is never edited once released; a new one is appended. Tables marked append-only refuse UPDATE and DELETE.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path

from sqlite_utils import Database, Migrations

from edge.store.db import SCHEMA_VERSION
from edge.store.tables import evidence, guard, imports, price, scan, stock, sync, till

migrations = Migrations("shelfd")

_CATALOGUE = """
CREATE TABLE item(
  item_id TEXT PRIMARY KEY, name TEXT NOT NULL, short_name TEXT NOT NULL, brand TEXT NOT NULL, sold_by TEXT NOT NULL,
  net_content INTEGER, net_unit TEXT, drained_weight INTEGER, unit_price_base INTEGER, tax_class TEXT NOT NULL,
  deposit_minor INTEGER NOT NULL, age_limit INTEGER NOT NULL, origin TEXT NOT NULL, category TEXT NOT NULL,
  rating_tenths INTEGER, rating_count INTEGER, attributes TEXT NOT NULL, removed INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE barcode(
  gtin14 TEXT PRIMARY KEY, item_id TEXT NOT NULL, pack_quantity INTEGER NOT NULL CHECK(pack_quantity >= 1)) STRICT;
CREATE INDEX barcode_item ON barcode(item_id);
CREATE TABLE price_row(
  row_id INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL, kind TEXT NOT NULL, price_id TEXT NOT NULL,
  rev INTEGER NOT NULL, effective_from_ms INTEGER NOT NULL, effective_to_ms INTEGER, curve TEXT NOT NULL,
  immediate INTEGER NOT NULL, cancelled INTEGER NOT NULL, source TEXT NOT NULL, received_wall_ms INTEGER NOT NULL,
  UNIQUE(item_id, price_id, rev)) STRICT;
CREATE TABLE price_withdrawn(withdrawn_row_id INTEGER PRIMARY KEY, source TEXT NOT NULL) STRICT;
CREATE TABLE in_force(
  item_id TEXT PRIMARY KEY, row_id INTEGER NOT NULL REFERENCES price_row, latched_through_ms INTEGER NOT NULL) STRICT;
CREATE TABLE target_log(
  log_id INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL, row_id INTEGER NOT NULL REFERENCES price_row,
  from_wall_ms INTEGER NOT NULL) STRICT;
CREATE INDEX target_log_item ON target_log(item_id, log_id);
CREATE TABLE price_hold(
  hold_id TEXT PRIMARY KEY, item_id TEXT NOT NULL, price_id TEXT NOT NULL, rev INTEGER NOT NULL, reason TEXT NOT NULL,
  row TEXT NOT NULL, source TEXT NOT NULL, state TEXT NOT NULL, persons TEXT NOT NULL, held_wall_ms INTEGER NOT NULL) STRICT;
"""

_WIRE = """
CREATE TABLE inbox(
  incarnation TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, message_id TEXT NOT NULL, type TEXT NOT NULL,
  sha256 TEXT NOT NULL, raw BLOB, state TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '', received_wall_ms INTEGER NOT NULL,
  held_boot_id TEXT NOT NULL DEFAULT '', held_ms INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(incarnation, stream, seq)) STRICT;
CREATE INDEX inbox_held ON inbox(stream, seq) WHERE state = 'held';
CREATE TABLE cursor(stream TEXT PRIMARY KEY, incarnation TEXT NOT NULL, seq INTEGER NOT NULL) STRICT;
CREATE TABLE retired_incarnation(stream TEXT NOT NULL, incarnation TEXT NOT NULL, PRIMARY KEY(stream, incarnation)) STRICT, WITHOUT ROWID;
CREATE TABLE snapshot(
  snapshot_id TEXT PRIMARY KEY, manifest TEXT NOT NULL, state TEXT NOT NULL, received_wall_ms INTEGER NOT NULL) STRICT;
CREATE TABLE snapshot_chunk(snapshot_id TEXT NOT NULL, n INTEGER NOT NULL, body BLOB NOT NULL, PRIMARY KEY(snapshot_id, n)) STRICT;
CREATE TABLE outbox(
  seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, event_id TEXT NOT NULL UNIQUE, time TEXT NOT NULL, data TEXT NOT NULL,
  prev_hash TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
CREATE TABLE confirm_wait(
  incarnation TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, message_id TEXT NOT NULL, item_id TEXT NOT NULL,
  row_id INTEGER NOT NULL, PRIMARY KEY(incarnation, stream, seq, row_id)) STRICT;
CREATE INDEX confirm_wait_item ON confirm_wait(item_id);
"""

_SHELF = """
CREATE TABLE label(
  label_id TEXT PRIMARY KEY, kind TEXT NOT NULL, panel TEXT NOT NULL, codecs TEXT NOT NULL, slot_bytes INTEGER NOT NULL,
  firmware INTEGER NOT NULL, battery_mv INTEGER, rssi_dbm INTEGER, last_radio TEXT NOT NULL, last_seen_wall_ms INTEGER NOT NULL,
  retired TEXT NOT NULL DEFAULT '', unknown_since_log_id INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE binding(
  label_id TEXT PRIMARY KEY, items TEXT NOT NULL, template TEXT NOT NULL, aisle TEXT NOT NULL, bay TEXT NOT NULL,
  shelf TEXT NOT NULL, slot TEXT NOT NULL, binding_rev INTEGER NOT NULL) STRICT;
CREATE TABLE ever_bound(label_id TEXT NOT NULL, item_id TEXT NOT NULL, PRIMARY KEY(label_id, item_id)) STRICT, WITHOUT ROWID;
CREATE TABLE attempt(
  attempt_id INTEGER PRIMARY KEY AUTOINCREMENT, label_id TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
  content_hash TEXT NOT NULL, picture_hash TEXT NOT NULL, payload_md5 TEXT NOT NULL, fields TEXT NOT NULL,
  created_wall_ms INTEGER NOT NULL, on_air_wall_ms INTEGER, stored_wall_ms INTEGER, stored_last INTEGER, proven_wall_ms INTEGER, grade TEXT,
  outcome TEXT NOT NULL DEFAULT '', gone_boot_id TEXT NOT NULL DEFAULT '', gone_ms INTEGER NOT NULL DEFAULT 0,
  dwell_ms INTEGER NOT NULL DEFAULT 0, released TEXT NOT NULL DEFAULT '') STRICT;
CREATE INDEX attempt_label ON attempt(label_id, attempt_id);
CREATE INDEX attempt_may ON attempt(state) WHERE state IN ('open', 'proven', 'gone');
CREATE TABLE attempt_offer(
  attempt_id INTEGER NOT NULL REFERENCES attempt, page INTEGER NOT NULL, audience TEXT NOT NULL, item_id TEXT NOT NULL,
  curve TEXT NOT NULL, row_id INTEGER) STRICT;
CREATE INDEX attempt_offer_attempt ON attempt_offer(attempt_id);
CREATE TABLE radio_offer(
  attempt_id INTEGER NOT NULL REFERENCES attempt, label_id TEXT NOT NULL, radio_id TEXT NOT NULL, boot_id TEXT NOT NULL,
  offered_ms INTEGER NOT NULL, lifetime_ms INTEGER NOT NULL, cleared INTEGER NOT NULL DEFAULT 0,
  PRIMARY KEY(attempt_id, radio_id)) STRICT;
CREATE INDEX radio_offer_open ON radio_offer(label_id) WHERE cleared = 0;
CREATE TABLE first_proven(
  label_id TEXT NOT NULL, row_id INTEGER NOT NULL, attempt_id INTEGER NOT NULL, grade TEXT NOT NULL, wall_ms INTEGER NOT NULL,
  PRIMARY KEY(label_id, row_id)) STRICT;
"""

_TILL = """
CREATE TABLE quote(
  quote_id TEXT PRIMARY KEY, lane_id TEXT NOT NULL, basket_id TEXT NOT NULL, body TEXT NOT NULL, total_minor INTEGER NOT NULL,
  revision INTEGER NOT NULL, boot_id TEXT NOT NULL, made_ms INTEGER NOT NULL, valid_ms INTEGER NOT NULL,
  made_wall_ms INTEGER NOT NULL, state TEXT NOT NULL) STRICT;
CREATE INDEX quote_live ON quote(state) WHERE state = 'live';
CREATE TABLE sale(
  sale_id TEXT PRIMARY KEY, lane_id TEXT NOT NULL, quote_id TEXT, body_sha256 TEXT NOT NULL, answer TEXT NOT NULL,
  total_minor INTEGER NOT NULL, up_seq INTEGER NOT NULL, recorded_wall_ms INTEGER NOT NULL) STRICT;
CREATE TABLE sale_line(
  sale_id TEXT NOT NULL REFERENCES sale, line_id TEXT NOT NULL, item_id TEXT, code TEXT NOT NULL, quantity INTEGER NOT NULL,
  total_minor INTEGER NOT NULL, target_total_minor INTEGER, guard TEXT, PRIMARY KEY(sale_id, line_id)) STRICT, WITHOUT ROWID;
CREATE TABLE ledger(
  entry_id INTEGER PRIMARY KEY AUTOINCREMENT, item_id TEXT NOT NULL, delta INTEGER NOT NULL, cause TEXT NOT NULL,
  ref TEXT NOT NULL, up_seq INTEGER NOT NULL, wall_ms INTEGER NOT NULL, UNIQUE(cause, ref, item_id)) STRICT;
CREATE INDEX ledger_item ON ledger(item_id, up_seq);
CREATE TABLE stock(
  item_id TEXT PRIMARY KEY, on_hand INTEGER NOT NULL, held INTEGER NOT NULL DEFAULT 0, escrow INTEGER NOT NULL DEFAULT 0) STRICT;
CREATE TABLE audit(
  entry_id INTEGER PRIMARY KEY AUTOINCREMENT, wall_ms INTEGER NOT NULL, actor TEXT NOT NULL, what TEXT NOT NULL,
  detail TEXT NOT NULL, prev_hash TEXT NOT NULL, hash TEXT NOT NULL) STRICT;
"""

_APPEND_ONLY = ("price_row", "target_log", "first_proven", "sale", "sale_line", "ledger", "audit", "attempt_offer")


@migrations()
def m001_initial(db: Database) -> None:
    """The data model of the first release."""
    script = "CREATE TABLE meta(key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;\n"
    for table in _APPEND_ONLY:
        for verb in ("UPDATE", "DELETE"):
            script += (
                f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} BEGIN "
                f"SELECT RAISE(ABORT, '{table} is append-only'); END;\n"
            )
    for statement in _statements(_CATALOGUE + _WIRE + _SHELF + _TILL + script):
        db.execute(statement)


@migrations()
def m002_people_returns_holds_evidence(db: Database) -> None:
    """What people decide, what comes back, what is held, what can be proven."""
    for statement in _statements(guard.SECOND + till.SECOND + stock.SECOND + evidence.SECOND + scan.SECOND):
        db.execute(statement)


@migrations()
def m003_imports_and_what_hq_asks(db: Database) -> None:
    """Files that came to the store, who may speak REST, and what HQ and store agree on after an outage."""
    for statement in _statements(imports.THIRD + sync.THIRD + price.THIRD):
        db.execute(statement)


def _statements(script: str) -> list[str]:
    """Split a script into complete statements, so that they run inside the migration's own transaction."""
    found, pending = [], ""
    for part in script.split(";"):
        pending += part + ";"
        if sqlite3.complete_statement(pending):
            if pending.strip(" \n;"):
                found.append(pending.strip())
            pending = ""
    return found


def migrate(path: Path) -> None:
    """Bring the file to this program's schema. Must be alone on the file; leaves it in WAL mode with nothing pending."""
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        migrations.apply(Database(connection))
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    finally:
        connection.close()
