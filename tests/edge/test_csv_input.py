"""Catalogue and binding files: the whole file or nothing, and an error that names line and column."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.csv_input import CsvError, read_items, read_labels
from edge.model import AMOUNT_MINOR_MAX, LABEL_ITEMS_MAX, ItemId
from edge.store import filing
from protocols.pos import LookupParams
from tests.edge.shop import LIMITS, MILK, MILK_CODE, Shop


def test_a_whole_row_is_read() -> None:
    text = "\n".join(
        (
            "sku,name,price,gtin,sold_by,price_quantity,net_content,net_unit,deposit,age_limit,stock,origin",
            f"milk,Milk 3.5 %,1.09,{MILK_CODE},each,,1000,ml,0.25,,12,DE",
            "beef,Beef,19.90,,weight,,,,,,,",
        )
    )
    milk, beef = read_items(text, 2)
    assert (milk.price_minor, milk.price_quantity, milk.codes, milk.stock) == (109, 1, ((MILK_CODE.zfill(14), 1),), 12)
    assert (milk.item.net_content, milk.item.net_unit, milk.item.deposit_minor, milk.item.origin) == (1000, "ml", 25, "DE")
    assert (beef.price_minor, beef.price_quantity, beef.codes, beef.stock) == (1990, 1000, (), None)


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("sku,name\nmilk,Milk\n", "line 1: column 'price' is missing"),
        ("sku,name,price,colour\n", "line 1: unknown column 'colour'"),
        ("sku,name,price,price\n", "line 1: column 'price' is there twice"),
        ("sku,name,price\nmilk,Milk\n", "line 2: 2 columns, expected 3"),
        ("sku,name,price\nmilk,Milk,1\n\nmilk,Milk,2\n", "line 4, column sku: milk is on line 2 already"),
        ("sku,name,price\nmi lk,Milk,1\n", "line 2, column sku"),
        ("sku,name,price\nmilk,,1\n", "line 2, column name: empty"),
        ("sku,name,price\nmilk,Milk,\n", "line 2, column price: empty"),
        ('sku,name,price\nmilk,"Mi\nlk",1\n', "line 3, column name"),
        ('sku,name,price\nmilk,"Milk,1\n', "line 2: unexpected end of data"),
        ("sku,name,price,gtin\nmilk,Milk,1,4006381333932\n", "line 2, column gtin"),
        (f"sku,name,price,gtin\nmilk,Milk,1,{MILK_CODE}\nsoy,Soy,1,0{MILK_CODE}\n", "line 3, column gtin"),
        ("sku,name,price,sold_by\nmilk,Milk,1,dozen\n", "line 2, column sold_by"),
        ("sku,name,price,net_content\nmilk,Milk,1,5\n", "line 2: net_content and net_unit go together"),
        ("sku,name,price,stock\nmilk,Milk,1,1.5\n", "line 2, column stock"),
        ("sku,name,price,age_limit\nmilk,Milk,1,100\n", "line 2, column age_limit"),
    ],
)
def test_an_error_names_line_and_column(text: str, place: str) -> None:
    with pytest.raises(CsvError) as raised:
        read_items(text, 2)
    assert place in str(raised.value)


@pytest.mark.parametrize(
    "amount", ["-1", "1.999", "1,99", "1e3", "1e999999999", "1e-9999999", "NaN", "Infinity", "1_0", "٣", "0x10", ".5", f"{10**13}"]
)
def test_an_amount_is_plain_digits_and_no_finer_than_the_currency(amount: str) -> None:
    with pytest.raises(CsvError, match="line 2, column price"):
        read_items(f'sku,name,price\nmilk,Milk,"{amount}"\n', 2)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from([0, 2, 3]))
def test_amounts_are_exact(minor: int, exponent: int) -> None:
    text = f"{minor}" if exponent == 0 else f"{minor // 10**exponent}.{minor % 10**exponent:0{exponent}}"
    assert read_items(f"sku,name,price\nmilk,Milk,{text}\n", exponent)[0].price_minor == minor


@given(st.text(max_size=200))
def test_any_text_is_rows_or_one_clear_error(text: str) -> None:
    for body in (text, "sku,name,price\n" + text):
        problem = "line"
        try:
            read_items(body, 2)
        except CsvError as error:
            problem = str(error)
        assert "line" in problem


def test_labels_are_read_and_each_once() -> None:
    rows = read_labels("label,items,aisle\nAA01,milk,3\nAA02,beef,\n", "shelf")
    assert [(row.label_id, row.items, row.template, row.place.aisle) for row in rows] == [
        ("AA01", (MILK,), "shelf", "3"),
        ("AA02", (ItemId("beef"),), "shelf", ""),
    ]
    for text, place in (
        ("label,items\nAA01,milk\nAA01,bread\n", "line 3, column label: AA01 is on line 2 already"),
        (f"label,items\nAA01,{' '.join(f'sku-{n}' for n in range(LABEL_ITEMS_MAX + 1))}\n", "line 2, column items"),
        ("label,items\nAA01,\n", "line 2, column items: empty"),
    ):
        with pytest.raises(CsvError) as raised:
            read_labels(text, "shelf")
        assert place in str(raised.value)


# -- into the store --------------------------------------------------------------------------------------------------------


async def put(shop: Shop, text: str, name: str = "f.csv") -> dict[str, int]:
    rows, stamp = read_items(text, 2), shop.store.stamp()
    return await shop.store.run(partial(filing.import_items, stamp=stamp, rows=rows, name=name, actor="test", limits=LIMITS))


async def test_a_file_opens_the_lanes_and_the_same_file_again_changes_no_price(shop: Shop) -> None:
    text = "sku,name,price,stock\nmilk,Milk,1.00,5\nbread,Bread,2.00,\n"
    assert await put(shop, text) == {"items": 2, "prices_changed": 2, "prices_held": 0}
    assert shop.desk.ready()
    assert (shop.charge(MILK), shop.store.view.stock) == (100, {MILK: 5})
    assert await put(shop, text) == {"items": 2, "prices_changed": 0, "prices_held": 0}
    shop.reopen()
    assert shop.desk.ready()
    assert (shop.charge(MILK), shop.store.view.stock) == (100, {MILK: 5})


async def test_a_changed_price_in_a_file_is_a_new_version_and_a_wild_one_is_held(shop: Shop) -> None:
    await put(shop, "sku,name,price\nmilk,Milk,1.00\n")
    assert await put(shop, "sku,name,price\nmilk,Milk,1.10\n") == {"items": 1, "prices_changed": 1, "prices_held": 0}
    assert await put(shop, "sku,name,price\nmilk,Milk,110\n") == {"items": 1, "prices_changed": 0, "prices_held": 1}
    assert shop.charge(MILK) == 110


async def test_a_file_goes_in_whole_or_not_at_all(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def planted(*args: object) -> None:
        raise ValueError("planted")

    monkeypatch.setattr(filing, "record", planted)
    with pytest.raises(ValueError, match="planted"):
        await put(shop, "sku,name,price\nmilk,Milk,1.00\n")
    assert shop.store.view.items == {}
    assert shop.value("SELECT (SELECT count(*) FROM item) + (SELECT count(*) FROM price_row) + (SELECT count(*) FROM ledger)") == 0


async def test_a_file_gives_items_their_plus_and_each_once(shop: Shop) -> None:
    await put(shop, "sku,name,price,sold_by,plu\napple,Apples,3.00,weight,4011 94011\npear,Pears,2.00,weight,\n")
    assert shop.desk.lookup("lane-1", LookupParams(code="94011")).item_id == "apple"
    for rows, place in (
        ("a,A,1,4011\nb,B,1,4012 4011\n", "line 3, column plu: 4011 belongs"),
        ("a,A,1,84011\n", "line 2, column plu: '84011'"),
    ):
        with pytest.raises(CsvError, match=place):
            read_items("sku,name,price,plu\n" + rows, 2)
