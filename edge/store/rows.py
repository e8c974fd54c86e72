"""Rows to types and back: one layout, one place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from sys import intern
from typing import Any, Protocol

import msgspec

from edge.change_windows import ChangesNow
from edge.model import (
    AttemptId,
    Binding,
    Curve,
    InForce,
    Item,
    ItemId,
    LabelState,
    MayEntry,
    MayKind,
    MayState,
    Offer,
    Place,
    PriceKind,
    PriceRow,
    Quote,
    QuoteLine,
    Release,
)

ITEM_COLUMNS = (
    "item_id, name, short_name, brand, sold_by, net_content, net_unit, drained_weight, unit_price_base, tax_class, deposit_minor, "
    "age_limit, origin, category, rating_tenths, rating_count, attributes, removed"
)
PRICE_COLUMNS = (
    "row_id, item_id, kind, price_id, rev, effective_from_ms, effective_to_ms, curve, immediate, "
    "cancelled OR EXISTS (SELECT 1 FROM price_withdrawn WHERE withdrawn_row_id = row_id)"
)
NEWEST_COLUMNS = PRICE_COLUMNS.replace("row_id, item_id, kind, price_id, rev", "p.row_id, p.item_id, kind, p.price_id, p.rev", 1).replace(
    "withdrawn_row_id = row_id", "withdrawn_row_id = p.row_id"
)
LABEL_COLUMNS = "label_id, kind, panel, codecs, slot_bytes, firmware, battery_mv, rssi_dbm, last_radio, last_seen_wall_ms, retired"
BINDING_COLUMNS = "label_id, items, template, aisle, bay, shelf, slot, binding_rev"
MAY_COLUMNS = "attempt_id, label_id, kind, state, content_hash, grade, gone_boot_id, gone_ms, dwell_ms"

_ITEM_NAMES = tuple(name.strip() for name in ITEM_COLUMNS.split(","))
_SHARED = frozenset({"item_id", "brand", "sold_by", "net_unit", "tax_class", "origin", "category"})
KINDS = {str(kind): kind for kind in PriceKind}
_curve_decoder = msgspec.json.Decoder(tuple[tuple[int, int], ...])
_texts_decoder = msgspec.json.Decoder(tuple[str, ...])
_attributes_decoder = msgspec.json.Decoder(dict[str, str])


class Db(Protocol):
    """What transactions use of an `apsw.Connection`. Rows are tuples in the order of the columns named."""

    def execute(self, sql: str, args: Any = ..., /) -> Any: ...

    def executemany(self, sql: str, args: Iterable[Any], /) -> Any: ...

    def last_insert_rowid(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Stamp:
    """The instant and the identity a transaction is told: no transaction asks for time or randomness itself."""

    wall_ms: int
    now_ms: int
    boot_id: str
    clock_trusted: bool
    entropy: bytes  # 16 random bytes: ids made in this transaction derive from it
    changes: ChangesNow | None = None  # when prices may rise; None: whenever they are due


def json_text(value: object) -> str:
    """Compact JSON of builtins and structs, keys in the order given."""
    return msgspec.json.encode(value).decode()


def curve_text(curve: Curve) -> str:
    return json_text(curve.points)


@lru_cache(maxsize=8192)  # a store's prices end in nine and repeat
def curve_of(text: str) -> Curve:
    return curve_through(_curve_decoder.decode(text))


@lru_cache(maxsize=8192)  # one for the file's rows and those that arrive: what is equal is mostly the same
def curve_through(points: tuple[tuple[int, int], ...]) -> Curve:
    return Curve(points)


def item_values(item: Item) -> tuple[Any, ...]:
    return (
        item.item_id,
        item.name,
        item.short_name,
        item.brand,
        item.sold_by,
        item.net_content,
        item.net_unit,
        item.drained_weight,
        item.unit_price_base,
        item.tax_class,
        item.deposit_minor,
        item.age_limit,
        item.origin,
        item.category,
        item.rating_tenths,
        item.rating_count,
        json_text(dict(item.attributes)),
        int(item.removed),
    )


def item_of(row: tuple[Any, ...]) -> Item:
    """Texts that many rows share are in memory once, here and in the price rows: that is a third of a large catalogue."""
    attributes = tuple(_attributes_decoder.decode(row[16]).items())
    texts = [_shared(value) if name in _SHARED else value for name, value in zip(_ITEM_NAMES, row, strict=True)]
    values: Any = (*texts[:16], attributes, bool(row[17]))
    return Item(*values)


def _shared(value: str | None) -> str | None:
    return None if value is None else intern(value)


def price_row_of(row: tuple[Any, ...]) -> PriceRow:
    row_id, item_id, kind, price_id, rev, from_ms, to_ms, curve, immediate, cancelled = row
    return PriceRow(
        row_id,
        ItemId(intern(item_id)),
        KINDS[kind],
        intern(price_id),
        rev,
        from_ms,
        to_ms,
        curve_of(curve),
        bool(immediate),
        bool(cancelled),
    )


@lru_cache(maxsize=256)  # one for each kind and firmware of label
def _codecs_of(text: str) -> tuple[str, ...]:
    return _texts_decoder.decode(text)


def label_of(row: tuple[Any, ...], ever_bound: Iterable[ItemId]) -> LabelState:
    values: Any = (row[0], intern(row[1]), intern(row[2]), _codecs_of(row[3]), *row[4:8], intern(row[8]), *row[9:], set(ever_bound))
    return LabelState(*values)


def binding_of(row: tuple[Any, ...]) -> Binding:
    label_id, items, template, aisle, bay, shelf, slot, rev = row
    place = Place(intern(aisle), intern(bay), intern(shelf), intern(slot))
    return Binding(label_id, tuple(ItemId(intern(each)) for each in _texts_decoder.decode(items)), intern(template), place, rev)


def may_entry_of(row: tuple[Any, ...], offers: tuple[Offer, ...], release: Release | None) -> MayEntry:
    attempt_id, label_id, kind, state, content_hash, grade, gone_boot_id, gone_ms, dwell_ms = row
    return MayEntry(
        AttemptId(attempt_id),
        intern(label_id),
        MayKind(kind),
        MayState(state),
        content_hash,
        offers,
        grade,
        gone_boot_id,
        gone_ms,
        dwell_ms,
        release,
    )


def offer_of(row: tuple[Any, ...]) -> Offer:
    page, audience, item_id, curve, row_id = row
    return Offer(ItemId(intern(item_id)), curve_of(curve), page, intern(audience), row_id)


def read_may(db: Db, attempt_id: int) -> MayEntry | None:
    """The may-set entry as committed, or None when the attempt no longer bounds anything."""
    row = db.execute(
        f"SELECT {MAY_COLUMNS} FROM attempt WHERE attempt_id = ? AND state IN ('open', 'proven', 'gone')",  # noqa: S608 - constant
        (attempt_id,),
    ).fetchone()
    if row is None:
        return None
    return may_entry_of(row, _read_offers(db, attempt_id), read_release(db, row[1]))


def _read_offers(db: Db, attempt_id: int) -> tuple[Offer, ...]:
    found = db.execute(
        "SELECT page, audience, item_id, curve, row_id FROM attempt_offer WHERE attempt_id = ? ORDER BY rowid", (attempt_id,)
    ).fetchall()
    return tuple([offer_of(each) for each in found])


def read_release(db: Db, label_id: str) -> Release | None:
    """How the label left shoppers' sight, or None while it is in use."""
    row = db.execute(
        "SELECT boot_id, now_ms, dwell_ms FROM retirement WHERE label_id = ? AND undone_wall_ms IS NULL", (label_id,)
    ).fetchone()
    return None if row is None else Release(*row)


def read_may_set(db: Db, label_id: str) -> list[MayEntry]:
    """Every member of a label's may-set, oldest first; what dwells is among them."""
    rows = db.execute(
        f"SELECT {MAY_COLUMNS} FROM attempt WHERE label_id = ? AND state IN ('open', 'proven', 'gone') ORDER BY attempt_id",  # noqa: S608
        (label_id,),
    ).fetchall()
    release = read_release(db, label_id) if rows else None
    return [may_entry_of(row, _read_offers(db, row[0]), release) for row in rows]


@dataclass(frozen=True, slots=True)
class Known:
    """What the file has of an item: the newest rev of each of its prices in the order of their row ids, and what is in force."""

    rows: tuple[PriceRow, ...] = ()
    in_force: InForce | None = None


def read_known(db: Db, item_ids: Iterable[ItemId]) -> dict[ItemId, Known]:
    """Of many items at once; each of them is a key."""
    rows: dict[ItemId, list[PriceRow]] = {item_id: [] for item_id in item_ids}
    wanted = json_text([*rows])
    found = db.execute(
        f"SELECT {NEWEST_COLUMNS} FROM json_each(?) AS j CROSS JOIN price_newest AS n ON n.item_id = j.value "  # noqa: S608 - constant
        "CROSS JOIN price_row AS p ON p.row_id = n.row_id",
        (wanted,),
    )
    for each in found:
        row = price_row_of(each)
        rows[row.item_id].append(row)
    in_force: dict[str, InForce] = {}
    for item_id, row_id, latched_ms in db.execute(
        "SELECT f.item_id, f.row_id, f.latched_through_ms FROM json_each(?) AS j CROSS JOIN in_force AS f ON f.item_id = j.value", (wanted,)
    ).fetchall():
        newest = next((row for row in rows[item_id] if row.row_id == row_id), None)
        in_force[item_id] = InForce(newest or read_row(db, row_id), latched_ms)
    return {
        item_id: Known(tuple(sorted(each, key=_row_id) if len(each) > 1 else each), in_force.get(item_id)) for item_id, each in rows.items()
    }


def _ordered(rows: list[PriceRow]) -> tuple[PriceRow, ...]:
    return tuple(rows) if len(rows) < 2 else tuple(sorted(rows, key=_row_id))


def _row_id(row: PriceRow) -> int:
    return row.row_id


def read_row(db: Db, row_id: int) -> PriceRow:
    return price_row_of(db.execute(f"SELECT {PRICE_COLUMNS} FROM price_row WHERE row_id = ?", (row_id,)).fetchone())  # noqa: S608


def read_revs(db: Db, item_ids: Iterable[str]) -> dict[tuple[str, str], tuple[int, int]]:
    """(newest rev, its row id) by item and price id."""
    found = db.execute(
        "SELECT n.item_id, n.price_id, n.rev, n.row_id FROM json_each(?) AS j CROSS JOIN price_newest AS n ON n.item_id = j.value",
        (json_text([*item_ids]),),
    )
    return {(item_id, price_id): (rev, row_id) for item_id, price_id, rev, row_id in found}


def read_rows(db: Db, item_id: ItemId) -> tuple[PriceRow, ...]:
    """The newest rev of each price_id of an item."""
    return read_known(db, (item_id,))[item_id].rows


def read_in_force(db: Db, item_id: ItemId) -> InForce | None:
    return read_known(db, (item_id,))[item_id].in_force


def quote_text(quote: Quote) -> str:
    """The lines of a quote as stored."""
    return json_text([[*_line_values(line)] for line in quote.lines])


def _line_values(line: QuoteLine) -> tuple[Any, ...]:
    return (
        line.line_id,
        line.item_id,
        line.code,
        line.name,
        line.quantity,
        line.unit,
        line.total_minor,
        line.target_total_minor,
        line.curve.points,
        line.guard,
        *([line.scans, line.deposit_minor] if line.deposit_minor else [line.scans] if line.scans else ()),
    )


def quote_of(row: tuple[Any, ...]) -> Quote:
    """From (quote_id, lane_id, basket_id, body, total_minor, revision, boot_id, made_ms, valid_ms)."""
    quote_id, lane_id, basket_id, body, total_minor, revision, boot_id, made_ms, valid_ms = row
    lines = tuple(_line_of(each) for each in msgspec.json.decode(body))
    return Quote(quote_id, lane_id, basket_id, lines, total_minor, revision, boot_id, made_ms, valid_ms)


def _line_of(values: list[Any]) -> QuoteLine:
    head, (points, *rest) = values[:8], values[8:]
    fields: Any = (*head, Curve(tuple((quantity, total) for quantity, total in points)), *rest)
    return QuoteLine(*fields)
