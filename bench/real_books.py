"""Head office's side of the bench: what it sends in its words, and at the end its books against the daemon's and our own. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from bench.real_data import Article, PriceRow, week_start
from bench.real_lanes import Journal
from edge.demo.hq_books import HqBooks

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
    lines = tuple((line["sku"], line["quantity"]) for line in body["lines"])
    return lines == journal.sent[sale_id] and body["total_minor"] == journal.totals[sale_id]


def stock_difference(opening: Mapping[str, int], journal: Journal, at_hq: Mapping[str, int], at_store: Mapping[str, int]) -> int:
    """Units by which head office's and the daemon's stock differ from opening stock less what the tills sold, summed over articles."""
    expected = Counter(opening)
    for lines in journal.sent.values():
        for sku, units in lines:
            expected[sku] -= units
    return sum(abs(expected[sku] - at_hq.get(sku, 0)) + abs(expected[sku] - at_store.get(sku, 0)) for sku in {*expected, *at_hq, *at_store})


def book_problems(books: HqBooks, journal: Journal) -> list[str]:
    """What must not be, for people."""
    problems = [f"head office: {alarm}" for alarm in books.alarms[:NAMED_MAX]]
    problems += [f"sale {sale_id}: the stored answer is not the first one" for sale_id in journal.changed_answers[:NAMED_MAX]]
    if len(books.sales) != len(journal.sent):
        problems.append(f"{len(books.sales)} sales at head office, {len(journal.sent)} sent")
    return problems


def _rfc3339(week: int) -> str:
    return week_start(week).strftime("%Y-%m-%dT%H:%M:%SZ")
