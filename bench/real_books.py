"""Head office's side of the bench: what it sends in its words, and at the end its books against the daemon's and our own. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from bench.real_data import Article, PriceRow, week_start
from bench.real_lanes import Journal
from edge.demo.hq_books import HqBooks
from protocols.pos import StatusResult
from protocols.pos_prices import MirroredPrice

BATCH_ROWS: Final = 25  # rows in a price batch: several batches a week, as a head office sends them
NAMED_MAX: Final = 5  # of each kind of problem


def item(article: Article) -> dict[str, object]:
    """As in `item.batch.v1`."""
    content = {} if article.net_unit is None else {"net_content": article.net_content, "net_unit": article.net_unit}
    return {
        "sku": article.sku,
        "name": article.name,
        "brand": article.brand,
        "category": article.category,
        "barcodes": [{"gtin": article.gtin, "pack_quantity": 1}],
        **content,
    }


def price_row(row: PriceRow, first_week: int) -> dict[str, object]:
    """As in `price.batch.v1`. What holds in the first week held before the store opened."""
    return {
        "sku": row.sku,
        "kind": row.kind,
        "price_id": row.price_id,
        "rev": 1,
        "amount_minor": row.amount_minor,
        "price_quantity": 1,
        "currency": "USD",
        "effective_from": _rfc3339(row.from_week - 1 if row.from_week == first_week else row.from_week),
        "effective_to": None if row.to_week is None else _rfc3339(row.to_week),
        "cancelled": False,
    }


def price_batches(rows: Sequence[PriceRow], first_week: int) -> list[list[dict[str, object]]]:
    """The rows of as many messages as they need, in their order."""
    wire = [price_row(row, first_week) for row in rows]
    return [wire[start : start + BATCH_ROWS] for start in range(0, len(wire), BATCH_ROWS)]


def booked_right(books: HqBooks, journal: Journal, sale_id: str) -> bool:
    """Whether head office has this sale with what was sold and tendered."""
    body = books.sales.get(sale_id)
    if body is None:
        return False
    lines = [(line["sku"], line["quantity"], line["total_minor"]) for line in body["lines"]]
    sold = [(line.sku, line.units, line.total_minor) for line in journal.lines[sale_id]]
    return lines == sold and body["total_minor"] == journal.totals[sale_id]


def stock_difference(expected: Mapping[str, int], at_hq: Mapping[str, int], at_store: Mapping[str, int]) -> int:
    """Units by which head office's and the daemon's stock differ from ours, summed over articles."""
    return sum(
        abs(expected.get(sku, 0) - at_hq.get(sku, 0)) + abs(expected.get(sku, 0) - at_store.get(sku, 0))
        for sku in {*expected, *at_hq, *at_store}
    )


def money_at_hq(books: HqBooks) -> Counter[str]:
    """What head office has kept of each sale: paid, less given back."""
    kept = Counter({sale_id: body["total_minor"] for sale_id, body in books.sales.items()})
    for body in books.came_back.values():
        kept[body["sale_id"]] -= body["refund_minor"]
    return kept


def money_in_journal(journal: Journal) -> Counter[str]:
    """The same by our own reckoning."""
    kept = Counter(journal.totals)
    for back in journal.came_back.values():
        kept[back.sale_id] -= back.refund_minor
    return kept


def money_at_store(status: StatusResult, journal: Journal) -> int:
    """The same of one sale by the daemon's answer about it. A void that is not ours counts as nothing given back."""
    paid_minor = sum(line.paid_minor for line in status.lines)
    if status.voided is not None:
        ours = journal.undone.get(status.sale_id) == status.voided
        return 0 if ours else paid_minor
    return paid_minor - sum(line.refunded_minor for line in status.lines)


def book_problems(books: HqBooks, journal: Journal) -> list[str]:
    """What must not be, for people."""
    problems = [f"head office: {alarm}" for alarm in books.alarms[:NAMED_MAX]]
    problems += journal.problems[:NAMED_MAX]
    for what, there, ours in (("sales", books.sales, journal.lines), ("voids and returns", books.came_back, journal.came_back)):
        if len(there) != len(ours):
            problems.append(f"{len(there)} {what} at head office, {len(ours)} sent")
    return problems


def table_problems(table: Mapping[str, MirroredPrice], asked: Mapping[str, int]) -> list[str]:
    """Where the price table that a till may keep is not what head office asks for. Everything must be at rest."""
    wrong = [f"the price table has no item {sku}" for sku in asked if sku not in table]
    wrong += [f"the price table has an item {sku} that nobody sells" for sku in table if sku not in asked]
    for sku, price in table.items():
        curves = (((1, asked.get(sku, 0)),),)
        if sku in asked and (price.curves != curves or price.guard is not None):
            wrong.append(f"the price table says {price.curves} ({price.guard}) of item {sku}, head office {asked[sku]}")
    return wrong


def _rfc3339(week: int) -> str:
    return week_start(week).strftime("%Y-%m-%dT%H:%M:%SZ")
