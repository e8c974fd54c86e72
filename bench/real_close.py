"""The end of a run: the bench's books, head office's and the daemon's compared, and what labels and price table say at rest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from bench.real_after import expected_stock
from bench.real_books import (
    NAMED_MAX,
    book_problems,
    booked_right,
    money_at_hq,
    money_at_store,
    money_in_journal,
    stock_difference,
    table_problems,
)
from bench.real_lanes import Journal, Till
from edge.demo.hq_books import HqBooks


@dataclass(slots=True)
class Figures:
    """What the file will say, as far as it is known."""

    sent: int = 0
    applied: int = 0
    confirmed: int = 0
    offers_due: int = 0  # promotions that were to start
    offers_started: int = 0  # of them, those that lane and panel had
    ends_due: int = 0
    offers_ended: int = 0
    sales_recorded: int = 0
    sales_at_hq: int = 0
    stock_difference_units: int = 0
    money_difference_minor: int = 0
    table_differences: int = 0
    shelf_differences: int = 0
    problems: list[str] = field(default_factory=list)


async def compare_books(
    figures: Figures, journal: Journal, books: HqBooks, opening: Mapping[str, int], stock: Mapping[str, int], till: Till
) -> None:
    """Sales one by one, then stock and money. `stock` is the daemon's, `till` asks it for each sale."""
    at_store: dict[str, int] = {}
    for sale_id in journal.lines:
        status = await till.status(sale_id)
        figures.sales_recorded += status.state == "recorded"
        at_store[sale_id] = money_at_store(status, journal)
    figures.sales_at_hq = sum(booked_right(books, journal, sale_id) for sale_id in journal.lines)
    figures.stock_difference_units = stock_difference(expected_stock(opening, journal), books.stock, stock)
    ours, at_hq = money_in_journal(journal), money_at_hq(books)
    for there in (at_store, at_hq):
        figures.money_difference_minor += sum(abs(ours.get(sale_id, 0) - there.get(sale_id, 0)) for sale_id in {*ours, *there})
    figures.problems += book_problems(books, journal)


async def compare_prices(
    figures: Figures, asked: Mapping[str, int], shown: Mapping[str, int | None], labels: Mapping[str, str], till: Till
) -> None:
    """At rest every panel and every entry of the price table says what head office asks. `labels` is sku -> label."""
    wrong = table_problems(await till.table(), asked)
    figures.table_differences = len(wrong)
    figures.problems += wrong[:NAMED_MAX]
    differing = [(sku, label) for sku, label in labels.items() if shown.get(label) != asked[sku]]
    figures.shelf_differences = len(differing)
    for sku, label in differing[:NAMED_MAX]:
        figures.problems.append(f"label {label} shows {shown.get(label)} for {sku}, head office asks {asked[sku]}")
