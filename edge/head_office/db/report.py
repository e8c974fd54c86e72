"""What people ask of head office's database."""

from __future__ import annotations

from edge.head_office.db.seam import Database

COUNTED = ("event", "sale", "came_back", "stock_move", "alert", "log")


def stores(db: Database) -> list[dict[str, object]]:
    """Each with what it said last of itself and how far its newest chain is booked."""
    rows = db.rows(
        "SELECT s.store, s.partition, t.online, t.heard_ms, c.seq, (SELECT count(*) FROM sale AS x WHERE x.store = s.store) "
        "FROM store AS s LEFT JOIN store_state AS t ON t.store = s.store "
        "LEFT JOIN chain AS c ON c.store = s.store AND c.incarnation = t.incarnation ORDER BY s.store"
    )
    return [
        {"store": store, "partition": partition, "online": bool(online), "heard_ms": heard, "events": seq or 0, "sales": sales}
        for store, partition, online, heard, seq, sales in rows
    ]


def totals(db: Database) -> dict[str, object]:
    """How many rows there are of each kind."""
    return {name: db.rows(f'SELECT count(*) FROM "{name}"')[0][0] for name in COUNTED}  # noqa: S608 - names of ours


def leases(db: Database) -> list[dict[str, object]]:
    """Who works on what."""
    now_ms = db.now_ms()
    rows = db.rows("SELECT name, owner, fence, until_ms FROM lease WHERE until_ms >= ? ORDER BY name", now_ms)
    return [{"lease": name, "worker": owner, "fence": fence, "left_ms": until - now_ms} for name, owner, fence, until in rows]


def alarms(db: Database) -> list[dict[str, object]]:
    """What must not happen, and how often it did."""
    rows = db.rows("SELECT store, what, times FROM alarm ORDER BY store, what")
    return [{"store": store, "what": what, "times": times} for store, what, times in rows]
