"""Rows of import files: what is read, and that every mistake is named with line, column, value and what was expected."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.csv_input import CsvError, amount_minor, read_items
from edge.import_feed import Dates, Decimal, Encoding, Feed, FeedKind, Mode, plain_feed
from edge.import_rows import ItemCells, LabelCells, PriceCells, Row, StoreTerms, checked_rows, rows_of_values
from edge.import_text import LINE_BYTES_MAX, BadFile, EncodingSniffer, Problem, text_lines
from edge.model import AMOUNT_MINOR_MAX, LABEL_ITEMS_MAX
from tests.edge.shop import MILK_CODE

TERMS = StoreTerms(2, "Europe/Berlin")
ITEMS, PRICES, LABELS, STOCK = (plain_feed(kind) for kind in (FeedKind.ITEMS, FeedKind.PRICES, FeedKind.LABELS, FeedKind.STOCK))


def read(text: str, feed: Feed = ITEMS) -> list[Row | Problem]:
    return list(checked_rows(text.splitlines(keepends=True), feed, TERMS))


def said(text: str, feed: Feed = ITEMS) -> list[str]:
    return [str(each) for each in read(text, feed) if isinstance(each, Problem)]


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
        ("", "line 1: a file that is not empty"),
        ("\nsku,name\n", "line 1: a line of headings"),
        ("name,price\nMilk,1\n", "line 1, column sku: this column, it is missing"),
        ("sku,name,price,colour\n", "line 1, column colour: found 'colour', expected one of sku, name"),
        ("sku,name,price,price\n", "line 1, column price: the heading once"),
        ("sku,name,price\nmilk,Milk\n", "line 2: found '2 columns', expected 3"),
        ("sku,name,price\nmilk,Milk,1\n\nmilk,Milk,2\n", "line 4, column sku: found 'milk', expected each once: milk is on line 2 already"),
        ("sku,name,price\nmi lk,Milk,1\n", "line 2, column sku: found 'mi lk', expected 1 to 64 letters"),
        ("sku,name,price\nmilk,,1\n", "line 2, column name: a text, the cell is empty"),
        ("sku,name,price\nmilk,Milk,\n", "line 2, column price: an amount, the cell is empty"),
        ('sku,name,price\nmilk,"Mi\nlk",1\n', "line 3, column name"),
        ('sku,name,price\nmilk,"Milk,1\n', "line 2: rows as spreadsheets write them: unexpected end of data"),
        ("sku,name,price,gtin\nmilk,Milk,1,4006381333932\n", "line 2, column gtin: found '4006381333932', expected 8, 12"),
        (f"sku,name,price,gtin\nmilk,Milk,1,{MILK_CODE}\nsoy,Soy,1,0{MILK_CODE}\n", "line 3, column gtin"),
        ("sku,name,price,sold_by\nmilk,Milk,1,dozen\n", "line 2, column sold_by: found 'dozen', expected one of each, weight"),
        ("sku,name,price,net_content\nmilk,Milk,1,5\n", "line 2, column net_unit: net_content and net_unit together"),
        ("sku,name,price,stock\nmilk,Milk,1,1.5\n", "line 2, column stock: found '1.5', expected a whole number"),
        ("sku,name,price,age_limit\nmilk,Milk,1,100\n", "line 2, column age_limit"),
        ("sku,name,price,plu\na,A,1,4011\nb,B,1,4012 4011\n", "line 3, column plu"),
        ("sku,name,price,plu\na,A,1,84011\n", "line 2, column plu: found '84011'"),
    ],
)
def test_a_mistake_names_line_and_column(text: str, place: str) -> None:
    assert said(text)[0].startswith(place)


def test_every_mistake_is_named_not_only_the_first() -> None:
    text = "sku,name,price\nmi lk,,x\nbread,Bread,2\nbeer,,1\n"
    wrong = [str(each).split(":")[0] for each in read(text) if isinstance(each, Problem)]
    assert sorted(wrong) == ["line 2, column name", "line 2, column price", "line 2, column sku", "line 4, column name"]
    assert [each.key for each in read(text) if isinstance(each, Row)] == ["bread"]


@pytest.mark.parametrize(
    "amount", ["-1", "1.999", "1,99", "1e3", "1e999999999", "1e-9999999", "NaN", "Infinity", "1_0", "٣", "0x10", ".5", f"{10**13}", "€1"]
)
def test_an_amount_is_plain_digits_and_no_finer_than_the_currency(amount: str) -> None:
    assert said(f'sku,name,price\nmilk,Milk,"{amount}"\n')[0].startswith("line 2, column price")
    with pytest.raises(CsvError):
        amount_minor(amount, 2)


@given(st.integers(0, AMOUNT_MINOR_MAX), st.sampled_from([0, 2, 3]), st.sampled_from(list(Decimal)))
def test_amounts_are_exact_with_either_decimal_sign(minor: int, exponent: int, decimal: Decimal) -> None:
    text = f"{minor}" if exponent == 0 else f"{minor // 10**exponent}{decimal}{minor % 10**exponent:0{exponent}}"
    feed = Feed("f", FeedKind.ITEMS, decimal=decimal, delimiter=";")
    (row,) = checked_rows(["sku;price\n", f"milk;{text}\n"], feed, StoreTerms(exponent, "UTC"))
    assert isinstance(row, Row)
    assert msgspec.json.decode(row.body, type=ItemCells).price_minor == minor


@pytest.mark.parametrize(("decimal", "amount"), [(Decimal.COMMA, "1.99"), (Decimal.COMMA, "1.234,50"), (Decimal.POINT, "1,234.50")])
def test_the_other_decimal_sign_and_thousands_are_never_guessed(decimal: Decimal, amount: str) -> None:
    feed = Feed("f", FeedKind.ITEMS, decimal=decimal, delimiter=";")
    assert "thousands separators" in said(f"sku;price\nmilk;{amount}\n", feed)[0]


@given(st.text(max_size=200), st.sampled_from(list(FeedKind)))
def test_any_text_is_rows_or_named_mistakes(text: str, kind: FeedKind) -> None:
    for body in (text, "sku,name,price\n" + text, "label;items\n" + text):
        assert all(isinstance(each, Row) or each.expected for each in read(body, plain_feed(kind)))


@given(
    st.lists(st.dictionaries(st.sampled_from(["sku", "price", "name", "x"]), st.one_of(st.none(), st.integers(), st.floats(), st.text())))
)
def test_any_json_rows_are_rows_or_named_mistakes(objects: list[dict[str, object]]) -> None:
    assert len(list(rows_of_values(objects, ITEMS, TERMS))) >= len(objects)


# -- text ------------------------------------------------------------------------------------------------------------------


def sniffed(content: bytes) -> Encoding:
    """Whatever the pieces are that it comes in."""
    found = set()
    for size in (1, 2, 3, len(content) or 1):
        sniffer = EncodingSniffer()
        for start in range(0, len(content), size):
            sniffer.add(content[start : start + size])
        found.add(sniffer.found())
    (encoding,) = found
    return encoding


@given(st.text(max_size=30))
def test_the_encoding_is_found_however_the_file_comes(text: str) -> None:
    assert sniffed(text.encode()) is Encoding.UTF_8


def test_windows_1252_and_a_byte_order_mark_are_read() -> None:
    for content, encoding in (
        ("sku;name\nk1;Käse 5 €\n".encode("cp1252"), Encoding.WINDOWS_1252),
        ("sku;name\nk1;Käse 5 €\n".encode("utf-8-sig"), Encoding.UTF_8),
    ):
        assert sniffed(content) is encoding
        (row,) = checked_rows(text_lines(content.splitlines(keepends=True), encoding), ITEMS, TERMS)
        assert isinstance(row, Row)
        assert msgspec.json.decode(row.body, type=ItemCells).fields == {"name": "Käse 5 €"}


@pytest.mark.parametrize(
    ("lines", "encoding", "said_"),
    [
        ([b"sku\n", b"n\xe4me\n"], Encoding.UTF_8, "line 2: found 'byte 0xE4', expected utf-8 text"),
        ([b"sku\n", b"n\x81me\n"], Encoding.WINDOWS_1252, "line 2: found 'byte 0x81'"),
        ([b"\xff\xfes\x00"], Encoding.WINDOWS_1252, "found 'UTF-16 text'"),
        ([b"sku\n", b"a\x00b\n"], Encoding.UTF_8, "line 2: found 'a zero byte'"),
        ([b"sku\n", b"x" * (LINE_BYTES_MAX + 1)], Encoding.UTF_8, "line 2: found 'a line of more than 64 KiB'"),
    ],
)
def test_what_is_no_text_is_named_with_its_line(lines: list[bytes], encoding: Encoding, said_: str) -> None:
    with pytest.raises(BadFile) as raised:
        list(text_lines(lines, encoding))
    assert str(raised.value).startswith(said_)


@pytest.mark.parametrize("delimiter", [";", ",", "\t", "|"])
def test_the_delimiter_is_found_by_the_headings(delimiter: str) -> None:
    (row,) = read(f"sku{delimiter}name{delimiter}price\nmilk{delimiter}Milk{delimiter}1\n".replace("Milk", '"Milk, 3;5"'))
    assert isinstance(row, Row)


def test_columns_are_mapped_by_heading_or_number_and_others_passed_over() -> None:
    mapped = Feed(
        "erp",
        FeedKind.ITEMS,
        columns={"sku": "ArtNr", "name": "Bezeichnung", "price": "VK", "attribute:allergens": "Allergene"},
        decimal=Decimal.COMMA,
    )
    (row,) = read("Lager;artnr;Bezeichnung;EK;VK;Allergene\nx;7;Käse;0,50;1,99;Milch\n", mapped)
    assert isinstance(row, Row)
    cells = msgspec.json.decode(row.body, type=ItemCells)
    assert (cells.sku, cells.fields, cells.price_minor, cells.attributes) == ("7", {"name": "Käse"}, 199, {"allergens": "Milch"})
    assert said("Bezeichnung;VK\nKäse;1\n", mapped) == ["line 1, column ArtNr: this heading, it is missing"]
    numbered = Feed("tab", FeedKind.ITEMS, columns={"sku": 1, "price": 3})
    (row,) = read("milk;x;1.09\n", numbered)
    assert isinstance(row, Row)
    assert said("milk;x\n", numbered) == ["line 1: found '2 columns', expected at least 3"]


# -- the other kinds -------------------------------------------------------------------------------------------------------


def test_prices_have_times_of_the_stores_zone() -> None:
    feed = Feed("promo", FeedKind.PRICES, dates=Dates.DAY_FIRST)
    text = "sku;price;from;to\nmilk;0.99;1.2.2026;14.2.2026\nbread;1;29.3.2026 01:30;29.3.2026 03:30\n"
    text += "beer;1;2.2.2026;1.2.2026\nwine;1;29.3.2026 02:30;\n"
    milk, bread, *wrong = read(text, feed)
    assert isinstance(milk, Row)
    assert isinstance(bread, Row)
    cells = msgspec.json.decode(milk.body, type=PriceCells)
    assert (cells.from_ms, cells.to_ms) == (1769900400000, 1771110000000)  # 1 February 00:00 to 15 February 00:00 in Berlin
    cells = msgspec.json.decode(bread.body, type=PriceCells)
    assert cells.from_ms is not None
    assert cells.to_ms is not None
    assert cells.to_ms - cells.from_ms == 3_600_000  # the hour that is left out
    assert [str(each) for each in wrong] == [
        "line 4, column to: found '1.2.2026', expected an end after the start",
        "line 5, column from: found '29.3.2026 02:30', expected an instant that exists: clocks jump over this one",
    ]


def test_a_bundle_is_more_than_the_price_is_for() -> None:
    assert said("sku,price,bundle_quantity,bundle_price\nmilk,1,3,2.50\n", PRICES) == []
    assert "line 2, column bundle_price" in said("sku,price,bundle_quantity,bundle_price\nmilk,1,3,\n", PRICES)[0]
    assert "line 2, column bundle_quantity" in said("sku,price,price_quantity,bundle_quantity,bundle_price\nm,1,5,3,2.50\n", PRICES)[0]


def test_stock_is_counted_or_changes_and_a_full_file_counts() -> None:
    assert said("sku,quantity\nmilk,-2\n", STOCK) == []
    assert said("sku,change\nmilk,-2\n", STOCK) == []
    assert "one of them" in said("sku,quantity,change\nmilk,1,1\n", STOCK)[0]
    assert "full file" in said("sku,change\nmilk,1\n", plain_feed(FeedKind.STOCK, Mode.FULL))[0]


def test_labels_are_read_and_each_once() -> None:
    first, second = read("label,items,aisle\nAA01,milk,3\nAA02,beef bread,\n", LABELS)
    assert isinstance(first, Row)
    assert isinstance(second, Row)
    assert msgspec.json.decode(first.body, type=LabelCells) == LabelCells("AA01", ("milk",), "", {"aisle": "3"})
    assert msgspec.json.decode(second.body, type=LabelCells).items == ("beef", "bread")
    for text, place in (
        ("label,items\nAA01,milk\nAA01,bread\n", "line 3, column label: found 'AA01', expected each once: AA01 is on line 2 already"),
        (f"label,items\nAA01,{' '.join(f'sku-{n}' for n in range(LABEL_ITEMS_MAX + 1))}\n", "line 2, column items"),
        ("label,items\nAA01,\n", "line 2, column items"),
        ("label,items\nAA01,milk milk\n", "line 2, column items"),
    ):
        assert said(text, LABELS)[0].startswith(place)


def test_codes_of_packs_name_how_many_pieces_they_stand_for() -> None:
    (row,) = read(f"sku,gtin\nmilk,{MILK_CODE} 6x4002359001116\n")
    assert isinstance(row, Row)
    cells = msgspec.json.decode(row.body, type=ItemCells)
    assert cells.codes == ((MILK_CODE.zfill(14), 1), ("04002359001116", 6))
