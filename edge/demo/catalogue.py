"""What the demo's store sells, and the price changes that its head office thinks of. Pure: chance is handed in.

Brands are invented and GTINs are under prefix 20, which GS1 leaves to the stores, so that none of them is a maker's.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from render.symbols.linear import check_digit

CURRENCY: Final = "EUR"
EXPONENT: Final = 2
LOCALE: Final = "en-IE"

BASE_ID: Final = "shelf"
PROMO_ID: Final = "offer"
DRIFT_MAX_PERCENT: Final = 30  # a base price stays this close to its first one, however long the demo runs
RISE_PERCENT: Final = (4, 14)
CUT_PERCENT: Final = (8, 30)
PROMO_SHARE: Final = 0.6  # of the cuts; the others lower the base price

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Article:
    """One item as head office knows it. `net_content` in `net_unit`; `per` is what its unit price is stated for."""

    sku: str
    gtin: str
    name: str
    brand: str
    category: str
    net_content: int
    net_unit: str
    per: int
    first_price_minor: int

    def item(self) -> Json:
        """As in `item.batch.v1`."""
        return {
            "sku": self.sku,
            "name": self.name,
            "brand": self.brand,
            "category": self.category,
            "net_content": self.net_content,
            "net_unit": self.net_unit,
            "unit_price_base": self.per,
            "barcodes": [{"gtin": self.gtin, "pack_quantity": 1}],
        }


@dataclass(frozen=True, slots=True)
class Priced:
    """The prices of an article that HQ wants in force: base, and perhaps an offer below it."""

    base_minor: int
    promo_minor: int | None = None

    @property
    def price_minor(self) -> int:
        return self.base_minor if self.promo_minor is None else self.promo_minor


@dataclass(frozen=True, slots=True)
class PriceChange:
    """A change of one article's price, ready to be sent as `row`."""

    sku: str
    before: Priced
    after: Priced
    row: Json

    @property
    def is_rise(self) -> bool:
        return self.after.price_minor > self.before.price_minor


class PriceBook:
    """HQ's prices. Every change it makes changes what the customer pays."""

    def __init__(self, articles: Collection[Article], rng: random.Random) -> None:
        self.articles = {article.sku: article for article in articles}
        self.prices = {article.sku: Priced(article.first_price_minor) for article in articles}
        self._rng = rng
        self._revisions: dict[tuple[str, str], int] = {}

    def opening_rows(self) -> list[Json]:
        """The base price of everything, for the first snapshot."""
        return [self._row(sku, BASE_ID, "base", priced.base_minor) for sku, priced in self.prices.items()]

    def change(self, *, rise: bool, busy: Collection[str]) -> PriceChange | None:
        """Think of a rise or a cut for an article that is not in `busy`, and write it down. None where all are."""
        free = [sku for sku in self.articles if sku not in busy]
        self._rng.shuffle(free)
        for sku in free:
            thought = self._rise(sku) if rise else self._cut(sku)
            if thought is not None:
                before, self.prices[sku] = self.prices[sku], thought[0]
                return PriceChange(sku, before, thought[0], thought[1])
        return None

    def _rise(self, sku: str) -> tuple[Priced, Json] | None:
        """The end of an offer, or a dearer base price."""
        now = self.prices[sku]
        if now.promo_minor is not None:
            return Priced(now.base_minor), self._row(sku, PROMO_ID, "promo", None)
        dearer = charm(now.base_minor * (100 + self._rng.randint(*RISE_PERCENT)) // 100)
        dearer = dearer if dearer > now.base_minor else now.base_minor + 10
        most = self.articles[sku].first_price_minor * (100 + DRIFT_MAX_PERCENT) // 100
        return (Priced(dearer), self._row(sku, BASE_ID, "base", dearer)) if dearer <= most else None

    def _cut(self, sku: str) -> tuple[Priced, Json] | None:
        """An offer, or a cheaper base price; nothing for what is on offer already."""
        now = self.prices[sku]
        cheaper = charm(now.base_minor * (100 - self._rng.randint(*CUT_PERCENT)) // 100)
        if now.promo_minor is not None or not 0 < cheaper < now.base_minor:
            return None
        least = self.articles[sku].first_price_minor * (100 - DRIFT_MAX_PERCENT) // 100
        if self._rng.random() < PROMO_SHARE or cheaper < least:
            return Priced(now.base_minor, cheaper), self._row(sku, PROMO_ID, "promo", cheaper)
        return Priced(cheaper), self._row(sku, BASE_ID, "base", cheaper)

    def _row(self, sku: str, price_id: str, kind: str, amount_minor: int | None) -> Json:
        """As in `price.batch.v1`; no amount: the price with this id ends."""
        revision = self._revisions[sku, price_id] = self._revisions.get((sku, price_id), 0) + 1
        row = {"sku": sku, "kind": kind, "price_id": price_id, "rev": revision, "currency": CURRENCY}
        return row | ({"cancelled": True} if amount_minor is None else {"amount_minor": amount_minor})


def charm(price_minor: int) -> int:
    """The price that ends in 9, not above `price_minor`; below 9 cents the price itself."""
    return price_minor if price_minor < 9 else (price_minor + 1) // 10 * 10 - 1


def money(amount_minor: int) -> str:
    """`€2.49`, for the screen."""
    return f"€{amount_minor // 100}.{amount_minor % 100:02}"


def _article(number: int, row: tuple[str, str, str, int, str, int, int]) -> Article:
    name, brand, category, content, unit, per, price_minor = row
    body = f"20{100_000 + 37 * number:08}{number:02}"
    return Article(f"{10_000 + 7 * number}", body + str(check_digit(body)), name, brand, category, content, unit, per, price_minor)


# name, brand, category, net content, its unit, unit price for so many of them, price in cents
_ROWS: Final = (
    ("Irish Creamery Butter Salted", "Kilmoran", "dairy", 227, "g", 1000, 279),
    ("Whole Milk", "Glenbeg Dairy", "dairy", 2000, "ml", 1000, 219),
    ("Low Fat Milk", "Glenbeg Dairy", "dairy", 1000, "ml", 1000, 129),
    ("Natural Yogurt", "Kilmoran", "dairy", 500, "g", 1000, 179),
    ("Greek Style Yogurt with Honey", "Kilmoran", "dairy", 450, "g", 1000, 289),
    ("Mature White Cheddar", "Carrigdale", "dairy", 200, "g", 1000, 349),
    ("Mozzarella", "Bella Riva", "dairy", 125, "g", 1000, 149),
    ("Fresh Cream", "Glenbeg Dairy", "dairy", 250, "ml", 1000, 159),
    ("Oat Drink Barista", "Field & Oat", "dairy", 1000, "ml", 1000, 239),
    ("Free Range Eggs Large", "Hazel Farm", "eggs", 12, "each", 1, 399),
    ("Organic Eggs Medium", "Hazel Farm", "eggs", 6, "each", 1, 319),
    ("Wholemeal Sliced Pan", "Ballard's Bakery", "bread", 800, "g", 1000, 189),
    ("Sourdough Loaf", "Ballard's Bakery", "bread", 500, "g", 1000, 379),
    ("Brown Soda Bread", "Ballard's Bakery", "bread", 400, "g", 1000, 229),
    ("Plain Bagels", "Ballard's Bakery", "bread", 5, "each", 1, 199),
    ("Butter Croissants", "Ballard's Bakery", "bread", 4, "each", 1, 299),
    ("Porridge Oats", "Field & Oat", "cereal", 1000, "g", 1000, 249),
    ("Crunchy Granola Almond and Honey", "Field & Oat", "cereal", 500, "g", 1000, 429),
    ("Corn Flakes", "Sunmill", "cereal", 500, "g", 1000, 279),
    ("Spaghetti No. 5", "Bella Riva", "pasta", 500, "g", 1000, 129),
    ("Penne Rigate", "Bella Riva", "pasta", 500, "g", 1000, 129),
    ("Basil Pesto", "Bella Riva", "pasta", 190, "g", 100, 259),
    ("Passata", "Bella Riva", "pasta", 690, "g", 1000, 159),
    ("Chopped Tomatoes", "Bella Riva", "tins", 400, "g", 1000, 89),
    ("Basmati Rice", "Shalima", "rice", 1000, "g", 1000, 319),
    ("Red Lentils", "Shalima", "rice", 500, "g", 1000, 189),
    ("Chickpeas in Water", "Shalima", "tins", 400, "g", 1000, 95),
    ("Coconut Milk", "Shalima", "tins", 400, "ml", 1000, 169),
    ("Baked Beans", "Sunmill", "tins", 415, "g", 1000, 99),
    ("Sweetcorn", "Sunmill", "tins", 340, "g", 1000, 119),
    ("Tuna Chunks in Olive Oil", "Mara Bay", "tins", 145, "g", 1000, 229),
    ("Sardines in Tomato Sauce", "Mara Bay", "tins", 120, "g", 1000, 149),
    ("Extra Virgin Olive Oil", "Bella Riva", "oils", 500, "ml", 1000, 799),
    ("Sunflower Oil", "Sunmill", "oils", 1000, "ml", 1000, 289),
    ("Balsamic Vinegar of Modena", "Bella Riva", "oils", 250, "ml", 1000, 349),
    ("Sea Salt Flakes", "Mara Bay", "spices", 250, "g", 1000, 399),
    ("Black Peppercorns", "Shalima", "spices", 50, "g", 100, 219),
    ("Ground Cinnamon", "Shalima", "spices", 38, "g", 100, 149),
    ("Plain Flour", "Sunmill", "baking", 2000, "g", 1000, 219),
    ("Caster Sugar", "Sunmill", "baking", 1000, "g", 1000, 189),
    ("Dark Chocolate 70 % Cocoa", "Maison Aubry", "sweets", 100, "g", 1000, 249),
    ("Milk Chocolate with Hazelnuts", "Maison Aubry", "sweets", 180, "g", 1000, 329),
    ("Digestive Biscuits", "Hearth", "sweets", 400, "g", 1000, 159),
    ("Shortbread Fingers", "Hearth", "sweets", 150, "g", 1000, 249),
    ("Sea Salt Crisps", "Cove Kettle", "snacks", 150, "g", 1000, 269),
    ("Roasted Salted Peanuts", "Cove Kettle", "snacks", 200, "g", 1000, 189),
    ("Apple Jelly", "Hearth", "spreads", 340, "g", 1000, 279),
    ("Wildflower Honey", "Hazel Farm", "spreads", 454, "g", 1000, 549),
    ("Crunchy Peanut Butter", "Cove Kettle", "spreads", 340, "g", 1000, 349),
    ("Breakfast Tea 80 Bags", "Liffey & Sons", "hot drinks", 250, "g", 1000, 329),
    ("Peppermint Tea 20 Bags", "Liffey & Sons", "hot drinks", 30, "g", 100, 199),
    ("Ground Coffee Medium Roast", "Torre Alta", "hot drinks", 227, "g", 1000, 499),
    ("Whole Bean Espresso", "Torre Alta", "hot drinks", 500, "g", 1000, 1099),
    ("Orange Juice Not from Concentrate", "Valverde", "drinks", 1000, "ml", 1000, 289),
    ("Sparkling Mineral Water", "Tobar Springs", "drinks", 1500, "ml", 1000, 99),
    ("Elderflower Cordial", "Hazel Farm", "drinks", 500, "ml", 1000, 459),
    ("Garden Peas Frozen", "Sunmill", "frozen", 900, "g", 1000, 229),
    ("Vanilla Ice Cream", "Kilmoran", "frozen", 1000, "ml", 1000, 449),
    ("Kitchen Paper", "Cirrus", "household", 2, "each", 1, 279),
    ("Washing-Up Liquid Lemon", "Cirrus", "household", 500, "ml", 1000, 189),
)

ARTICLES: Final = tuple(_article(number, row) for number, row in enumerate(_ROWS, start=1))
"""Sixty groceries, one for each label of the demo."""
