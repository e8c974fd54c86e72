"""The newest version of each price, and which prices wait to be shown: what every price list asks for, without the versions before."""

from __future__ import annotations

from typing import Final

# `price_newest` is written beside `price_row`, in one place (catalogue.py): by a trigger a price list would take twice its time.
# `confirm_place` is a message of HQ's with the number of its rows that wait; `confirm_wait` names them by item, as the shelf asks.
# `price_urgent`: rises that somebody wants in force although the store's rules hold them back, until and since a second person agreed.
THIRD: Final = """
CREATE TABLE price_newest(
  item_id TEXT NOT NULL, price_id TEXT NOT NULL, rev INTEGER NOT NULL, row_id INTEGER NOT NULL,
  PRIMARY KEY(item_id, price_id)) STRICT, WITHOUT ROWID;
INSERT INTO price_newest SELECT item_id, price_id, max(rev), row_id FROM price_row GROUP BY item_id, price_id;
CREATE TABLE confirm_place(
  place_id INTEGER PRIMARY KEY, incarnation TEXT NOT NULL, stream TEXT NOT NULL, seq INTEGER NOT NULL, message_id TEXT NOT NULL,
  waiting INTEGER NOT NULL, UNIQUE(incarnation, stream, seq)) STRICT;
INSERT INTO confirm_place(incarnation, stream, seq, message_id, waiting)
  SELECT incarnation, stream, seq, message_id, count(*) FROM confirm_wait GROUP BY incarnation, stream, seq;
ALTER TABLE confirm_wait RENAME TO confirm_wait_before;
CREATE TABLE confirm_wait(
  item_id TEXT NOT NULL, row_id INTEGER NOT NULL, place_id INTEGER NOT NULL REFERENCES confirm_place,
  PRIMARY KEY(item_id, row_id, place_id)) STRICT, WITHOUT ROWID;
INSERT INTO confirm_wait SELECT item_id, row_id, place_id FROM confirm_wait_before JOIN confirm_place USING (incarnation, stream, seq);
DROP TABLE confirm_wait_before;
CREATE TABLE price_urgent(
  item_id TEXT NOT NULL, row_id INTEGER NOT NULL, person TEXT NOT NULL, reason TEXT NOT NULL, asked_wall_ms INTEGER NOT NULL,
  agreed_by TEXT, agreed_wall_ms INTEGER, PRIMARY KEY(item_id, row_id)) STRICT, WITHOUT ROWID;
"""
