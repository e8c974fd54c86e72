"""The demo's head office sells plausible things, and every change that it thinks of changes what the customer pays."""

from __future__ import annotations

import random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from edge.demo.catalogue import ARTICLES, DRIFT_MAX_PERCENT, PriceBook, charm
from protocols.hq_messages import ItemBatch, PriceBatch, decode_body
from render.symbols.linear import verified


def test_sixty_articles_have_names_codes_and_prices_of_their_own() -> None:
    assert len(ARTICLES) == 60
    assert len({article.sku for article in ARTICLES}) == len({article.name for article in ARTICLES}) == 60
    gtins = {article.gtin for article in ARTICLES}
    assert len(gtins) == 60
    assert all(verified(gtin) and len(gtin) == 13 and gtin.startswith("20") for gtin in gtins)


def test_the_opening_catalogue_keeps_the_contract_with_hq() -> None:
    book = PriceBook(ARTICLES, random.Random(1))
    items = decode_body("item.batch.v1", msgspec.json.encode({"items": [article.item() for article in ARTICLES], "removed": []}))
    rows = decode_body("price.batch.v1", msgspec.json.encode({"rows": book.opening_rows()}))
    assert isinstance(items, ItemBatch)
    assert isinstance(rows, PriceBatch)
    assert [row.sku for row in rows.rows] == [item.sku for item in items.items]


@given(st.integers(0, 10_000), st.lists(st.booleans(), max_size=120), st.integers(0, 59))
def test_each_change_goes_the_way_it_was_asked_for_and_prices_stay_plausible(seed: int, rises: list[bool], busy_count: int) -> None:
    book = PriceBook(ARTICLES, random.Random(seed))
    busy = {article.sku for article in ARTICLES[:busy_count]}
    revisions: dict[tuple[str, str], int] = {(article.sku, "shelf"): 0 for article in ARTICLES}
    for rise in rises:
        before = dict(book.prices)
        change = book.change(rise=rise, busy=busy)
        if change is None:
            continue
        assert change.sku not in busy
        assert change.before == before[change.sku]
        assert change.after == book.prices[change.sku]
        assert change.is_rise is rise
        assert change.after.price_minor != change.before.price_minor
        first = book.articles[change.sku].first_price_minor
        assert abs(change.after.base_minor - first) <= first * DRIFT_MAX_PERCENT // 100 + 1
        key = change.row["sku"], change.row["price_id"]
        assert change.row["rev"] > revisions.get(key, 0)
        revisions[key] = change.row["rev"]
        batch = decode_body("price.batch.v1", msgspec.json.encode({"rows": [change.row]}))
        assert isinstance(batch, PriceBatch)


def test_nothing_changes_where_every_article_is_still_changing() -> None:
    book = PriceBook(ARTICLES, random.Random(1))
    assert book.change(rise=True, busy=set(book.articles)) is None


@given(st.integers(0, 100_000))
def test_a_charm_price_ends_in_nine_and_is_never_dearer(price_minor: int) -> None:
    charmed = charm(price_minor)
    assert price_minor - 10 < charmed <= price_minor
    assert charmed == price_minor or charmed % 10 == 9
