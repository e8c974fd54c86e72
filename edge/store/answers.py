"""HQ's questions, answered from committed rows: one page each, ordered by a key that names the next page."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from edge.store import rows as codec
from edge.store import streams
from edge.store.journal import outbox_state
from edge.store.rows import Db
from protocols.hq_buckets import bucket_hashes, item_line, price_text
from protocols.hq_control import Query, QueryKind
from protocols.hq_events import AsOf, Reply
from protocols.hq_messages import Barcode, Item, SoldBy, StreamPosition, Unit

PAGE_MAX_BYTES: Final = 96 * 1024  # of rows: with the rest of the reply below the message limit

# What each answer's rows are, in the order of their key; `?1` is the last key of the page before.
_ROWS: Final[dict[QueryKind, tuple[tuple[str, ...], str]]] = {
    QueryKind.PRICES: (
        ("sku", "kind", "price_id", "rev", "curve", "effective_from_ms", "effective_to_ms"),
        "SELECT item_id, kind, price_id, rev, json(curve), effective_from_ms, effective_to_ms FROM in_force JOIN price_row "
        "USING (row_id, item_id) WHERE item_id > ?1 ORDER BY item_id",
    ),
    QueryKind.BINDINGS: (
        ("label", "items", "template", "binding_rev", "aisle", "bay", "shelf", "slot"),
        "SELECT label_id, json(items), template, binding_rev, aisle, bay, shelf, slot FROM binding WHERE label_id > ?1 ORDER BY label_id",
    ),
    QueryKind.LABELS: (
        ("label", "kind", "panel", "battery_mv", "last_seen_wall_ms", "retired", "may", "proven"),
        "SELECT label_id, kind, panel, battery_mv, last_seen_wall_ms, retired, "
        "(SELECT count(*) FROM attempt AS a WHERE a.label_id = label.label_id AND a.state IN ('open', 'proven')), "
        "(SELECT count(*) FROM attempt AS a WHERE a.label_id = label.label_id AND a.state = 'proven') "
        "FROM label WHERE label_id > ?1 ORDER BY label_id",
    ),
    QueryKind.STOCK: (
        ("sku", "on_hand", "held", "escrow"),
        "SELECT item_id, on_hand, held, escrow FROM stock WHERE item_id > ?1 ORDER BY item_id",
    ),
    QueryKind.HELD: (
        ("hold", "sku", "price_id", "rev", "reason"),
        "SELECT hold_id, item_id, price_id, rev, reason FROM price_hold WHERE state = 'held' AND hold_id > ?1 ORDER BY hold_id",
    ),
    QueryKind.REJECTED: (
        ("key", "stream", "incarnation", "seq", "id", "type", "state", "reason"),
        "SELECT incarnation || ' ' || stream || ' ' || printf('%016d', seq) AS key, stream, incarnation, seq, message_id, type, state, "
        "reason FROM inbox WHERE state IN ('rejected', 'quarantined') AND key > ?1 ORDER BY key",
    ),
}
_JSON: Final = frozenset({"curve", "items"})  # columns that hold JSON text


def answer(db: Db, query: Query, store: str, correlation: str) -> Reply:
    """One page. Read-only, in one transaction of its own: `as_of` belongs to the very rows that it gives."""
    db.execute("BEGIN")
    try:
        state = outbox_state(db)
        at = {name: StreamPosition(cursor.incarnation, cursor.seq) for name, cursor in streams.cursors(db).items()}
        rows, next_key = _buckets(db) if query.what is QueryKind.BUCKETS else _page(db, query)
    finally:
        db.execute("ROLLBACK")
    return Reply(
        store=store,
        incarnation=state.incarnation,
        correlation=correlation,
        what=query.what,
        as_of=AsOf(state.last_seq, at),
        rows=tuple(msgspec.Raw(row) for row in rows),
        next=next_key,
    )


def _page(db: Db, query: Query) -> tuple[list[bytes], str | None]:
    names, sql = _ROWS[query.what]
    rows: list[bytes] = []
    size, last = 0, ""
    for values in db.execute(sql, (query.after,)):
        text = msgspec.json.encode({name: _value(name, value) for name, value in zip(names, values, strict=True)})
        if rows and (len(rows) == query.limit or size + len(text) > PAGE_MAX_BYTES):
            return rows, last
        rows.append(text)
        size, last = size + len(text), str(values[0])
    return rows, None


def _value(name: str, value: Any) -> object:
    return msgspec.Raw(value.encode()) if name in _JSON else value


def _buckets(db: Db) -> tuple[list[bytes], None]:
    """One row: the 256 hashes, in base64."""
    return [msgspec.json.encode({"hashes": base64.b64encode(bucket_hashes(_lines(db))).decode()})], None


def _lines(db: Db) -> Iterator[tuple[str, str]]:
    """The catalogue as `protocols.hq_buckets` wants it: what is sold, and the newest revision of each price that stands."""
    codes: dict[str, list[Barcode]] = {}
    for item_id, gtin14, pack_quantity in db.execute("SELECT item_id, gtin14, pack_quantity FROM barcode"):
        codes.setdefault(item_id, []).append(Barcode(gtin14, pack_quantity))
    for row in db.execute(f"SELECT {codec.ITEM_COLUMNS} FROM item WHERE removed = 0"):  # noqa: S608 - constants only
        yield str(row[0]), item_line(_wire_item(row, codes.get(row[0], ())))
    for sku, price_id, rev, kind, curve, start_ms, immediate, end_ms in db.execute(
        "SELECT p.item_id, p.price_id, p.rev, kind, curve, effective_from_ms, immediate, effective_to_ms FROM price_newest "
        "JOIN price_row AS p USING (row_id) JOIN item ON item.item_id = p.item_id WHERE NOT cancelled AND NOT removed "
        "AND NOT EXISTS (SELECT 1 FROM price_withdrawn WHERE withdrawn_row_id = row_id)"
    ):
        yield sku, price_text(sku, price_id, rev, kind, codec.curve_of(curve).points, None if immediate else start_ms, end_ms)


def _wire_item(row: tuple[Any, ...], codes: Iterable[Barcode]) -> Item:
    item = codec.item_of(row)
    return Item(
        sku=item.item_id,
        name=item.name,
        short_name=item.short_name,
        brand=item.brand,
        sold_by=SoldBy(item.sold_by),
        net_content=item.net_content,
        net_unit=None if item.net_unit is None else Unit(item.net_unit),
        drained_weight=item.drained_weight,
        unit_price_base=item.unit_price_base,
        tax_class=item.tax_class,
        deposit_minor=item.deposit_minor,
        age_limit=item.age_limit,
        origin=item.origin,
        category=item.category,
        barcodes=tuple(codes),
        attributes=dict(item.attributes),
    )
