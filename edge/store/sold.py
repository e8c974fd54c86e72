"""What was sold here, what was paid for it, and what came back of it until now. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edge.model import ItemId
from edge.refunds import Original, Paid, within
from edge.store.rows import Db
from edge.store.till import find_sale

HERE: Final = "store"  # the origin of goods that this store sold


@dataclass(frozen=True, slots=True)
class SoldLine:
    """A line of a recorded sale, with what came back of it."""

    line_id: str
    item_id: ItemId | None
    code: str
    original: Original


@dataclass(frozen=True, slots=True)
class Sold:
    """A recorded sale. `refund_due_minor` is what its answer said that the customer had paid above the lawful price."""

    total_minor: int
    refund_due_minor: int
    lines: dict[str, SoldLine]

    @property
    def refunded_minor(self) -> int:
        return sum(line.original.refunded.total_minor for line in self.lines.values())


def find_sold(db: Db, sale_id: str) -> Sold | None:
    """A recorded sale, or None for one that this store does not know."""
    known = find_sale(db, sale_id)
    if known is None:
        return None
    total_minor: int = db.execute("SELECT total_minor FROM sale WHERE sale_id = ?", (sale_id,)).get
    rows = db.execute(
        "SELECT line_id, item_id, code, quantity, total_minor, deposit_minor, tax_minor FROM sale_line WHERE sale_id = ? ORDER BY line_id",
        (sale_id,),
    ).fetchall()
    lines: dict[str, SoldLine] = {}
    for (line_id, item_id, code, quantity, *_), paid in zip(rows, within([Paid(*row[4:]) for row in rows], total_minor), strict=True):
        lines[line_id] = SoldLine(line_id, item_id, code, Original(quantity, paid, *returned(db, HERE, sale_id, line_id)))
    return Sold(total_minor, known[1].refund_due_minor, lines)


def void_of(db: Db, sale_id: str) -> str | None:
    """The id of the void that took the sale back, if there is one: the first, where two tills did."""
    found = db.execute("SELECT void_id FROM sale_void WHERE sale_id = ? ORDER BY up_seq LIMIT 1", (sale_id,)).get
    return None if found is None else str(found)


def returned(db: Db, origin: str, sale_id: str, original_line_id: str) -> tuple[int, Paid]:
    """How much of a line came back until now, and what was paid back for it. `origin`: where it was bought."""
    row = db.execute(
        "SELECT coalesce(sum(counted), 0), coalesce(sum(goods_minor), 0), coalesce(sum(deposit_minor), 0), coalesce(sum(tax_minor), 0) "
        "FROM return_line WHERE sale_id = ? AND original_line_id = ? AND origin = ?",
        (sale_id, original_line_id, origin),
    ).fetchone()
    return int(row[0]), Paid(*row[1:])
