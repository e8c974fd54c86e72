"""What head office keeps: every table as data, in words that both engines are told in.

Column kinds: `text`, `int` (64 bits), `bytes`. The key comes first; there are no other constraints, and no engine's own types.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["text", "int", "bytes"]


@dataclass(frozen=True, slots=True)
class Table:
    """`key` are the first columns."""

    name: str
    columns: Mapping[str, Kind]
    key: tuple[str, ...]

    @property
    def values(self) -> tuple[str, ...]:
        """The columns that are not in the key."""
        return tuple(name for name in self.columns if name not in self.key)


def _table(name: str, key: Mapping[str, Kind], values: Mapping[str, Kind]) -> Table:
    return Table(name, {**key, **values}, tuple(key))


_CHAIN: Final[dict[str, Kind]] = {"store": "text", "incarnation": "text", "seq": "int"}
_PLACE: Final[dict[str, Kind]] = {"store": "text", "stream": "text", "incarnation": "text", "seq": "int"}

META: Final = _table("meta", {"name": "text"}, {"value": "text"})
STORE: Final = _table("store", {"store": "text"}, {"partition": "text", "added_ms": "int"})

# down: the signed log, how far it goes, and how far the store has it
LOG: Final = _table("log", _PLACE, {"type": "text", "made_ms": "int", "message": "bytes"})
STREAM_END: Final = _table(
    "stream_end", {"store": "text", "stream": "text"}, {"partition": "text", "incarnation": "text", "seq": "int", "position": "int"}
)
SNAPSHOT: Final = _table("snapshot", {"store": "text"}, {"incarnation": "text", "manifest_seq": "int", "base_price_seq": "int"})
DELIVERY: Final = _table("delivery", {**_PLACE, "stage": "text"}, {"first": "int", "at_ms": "int", "reason": "text", "labels": "int"})
REACHED: Final = _table("reached", {"store": "text", "stream": "text"}, {"incarnation": "text", "told_by": "text", "seq": "int"})

HISTORY_SAID: Final = _table("history_said", {"store": "text", "incarnation": "text"}, {"seq": "int"})

# what head office believes the catalogue to be: what a snapshot is made from
ITEM: Final = _table("item", {"store": "text", "sku": "text"}, {"body": "text"})
PRICE: Final = _table("price", {"store": "text", "sku": "text", "price_id": "text"}, {"rev": "int", "body": "text"})

# up: every event as it came, and what follows from it
CHAIN: Final = _table("chain", {"store": "text", "incarnation": "text"}, {"seq": "int", "hash": "text"})
EVENT: Final = _table("event", _CHAIN, {"kind": "text", "event_id": "text", "time": "text", "data": "text", "hash": "text"})
EARLY: Final = _table("early_event", _CHAIN, {"message": "bytes"})
SALE: Final = _table(
    "sale",
    {"store": "text", "sale_id": "text"},
    {"incarnation": "text", "seq": "int", "business_date": "text", "total_minor": "int", "sha256": "text"},
)
CAME_BACK: Final = _table(
    "came_back", {"store": "text", "kind": "text", "id": "text"}, {"incarnation": "text", "seq": "int", "sha256": "text"}
)
STOCK_MOVE: Final = _table("stock_move", {"store": "text", "event_id": "text"}, {"sku": "text", "delta": "int", "event": "text"})
STOCK: Final = _table("stock", {"store": "text", "sku": "text"}, {"on_hand": "int"})
BINDING: Final = _table("binding", {"store": "text", "label": "text"}, {"body": "text"})
ALERT: Final = _table("alert", _CHAIN, {"body": "text"})
STORE_STATE: Final = _table(
    "store_state",
    {"store": "text"},
    {"incarnation": "text", "boot": "text", "online": "int", "heard_ms": "int", "birth": "bytes"},
)
AUDIT_HEAD: Final = _table("audit_head", {"store": "text", "incarnation": "text"}, {"entry": "int", "hash": "text", "key": "text"})

# what must not happen, counted; who works on what
ALARM: Final = _table("alarm", {"store": "text", "what": "text"}, {"times": "int"})
LEASE: Final = _table("lease", {"name": "text"}, {"owner": "text", "fence": "int", "until_ms": "int"})
WORKER: Final = _table("worker", {"owner": "text"}, {"until_ms": "int"})

TABLES: Final = (
    META,
    STORE,
    LOG,
    STREAM_END,
    SNAPSHOT,
    DELIVERY,
    REACHED,
    HISTORY_SAID,
    ITEM,
    PRICE,
    CHAIN,
    EVENT,
    EARLY,
    SALE,
    CAME_BACK,
    STOCK_MOVE,
    STOCK,
    BINDING,
    ALERT,
    STORE_STATE,
    AUDIT_HEAD,
    ALARM,
    LEASE,
    WORKER,
)


def create(table: Table, types: Mapping[Kind, str]) -> str:
    """The statement that makes a table, with an engine's names of the column kinds."""
    columns = ", ".join(f'"{name}" {types[kind]} NOT NULL' for name, kind in table.columns.items())
    return f'CREATE TABLE IF NOT EXISTS "{table.name}" ({columns}, PRIMARY KEY ({quoted(table.key)}))'


def quoted(names: tuple[str, ...]) -> str:
    """Names as a list of SQL identifiers: some of them are words of an engine."""
    return ", ".join(f'"{name}"' for name in names)
