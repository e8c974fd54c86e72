"""What codes mean in a store: whose they are, how much one scan sells, what a pack's price means, what the cashier is told."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.model import Curve, Item, ItemId, Recall
from edge.scanning import BadCode, Catalogue, Found, Pack, UnknownCode, cautions, find, is_sent_twice, pack_of, units_for
from protocols.gs1 import Form, Rules, Scan
from protocols.gs1_embedded import ValueKind, layout
from protocols.gs1_numbers import with_check_digit

MILK, BEEF, APPLE = ItemId("milk"), ItemId("beef"), ItemId("apple")
GTIN = "09506000134352"
TODAY = date(2026, 3, 4)
NOON = datetime(2026, 3, 4, 12, 0)
BEEF_KEY = with_check_digit("0281234000000")
RULES = Rules(
    (
        layout("kilo", "28 .... V {NNDDD}", ValueKind.WEIGHT),
        layout("price", "21 ..... {NNNDD}", ValueKind.PRICE),
        layout("plu", "20 0.... {NNNDD}", ValueKind.PRICE, by_plu=True),
        layout("dozen", "25 ..... {NNNNN}", ValueKind.COUNT),
    )
)
CATALOGUE = Catalogue(
    {
        GTIN: (MILK, 1),
        "00042100005264": (MILK, 1),
        "14006381333938": (MILK, 6),
        BEEF_KEY: (BEEF, 1),
        with_check_digit("0210000100000"): (BEEF, 1),
        with_check_digit("0250000100000"): (MILK, 2),
        with_check_digit("0219999912345"): (MILK, 1),
    },
    {"4011": {APPLE}, "94011": {MILK}, "4012": {APPLE, MILK}},
)
EACH = Item(MILK, "Milk")
WEIGHED = Item(BEEF, "Beef", sold_by="weight")


def found(code: str, rules: Rules = RULES) -> Found:
    return find(code, CATALOGUE, rules, TODAY)


def pack(code: str, item: Item, currency: str = "EUR") -> Pack:
    return pack_of(found(code), item, currency, 2)[0]


# -- whose code it is ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, item_id, pieces",
    [
        (GTIN, MILK, 1),
        ("9506000134352", MILK, 1),
        ("]E09506000134352", MILK, 1),
        ("14006381333938", MILK, 6),
        ("]I114006381333938", MILK, 6),
        ("042100005264", MILK, 1),
        ("04252614", MILK, 1),
        (f"]C101{GTIN}10L1", MILK, 1),
        (f"https://shop.example/p/01/{GTIN}/10/L1?17=261231", MILK, 1),
        (with_check_digit("281234701250"), BEEF, 1),
        (with_check_digit("210000112345"), BEEF, 1),
        (with_check_digit("200401112345"), APPLE, 1),
        ("4011", APPLE, 1),
        ("94011", MILK, 1),
    ],
)
def test_a_code_of_any_form_finds_its_item(code: str, item_id: ItemId, pieces: int) -> None:
    hit = found(code)
    assert (hit.item_id, hit.pack_quantity) == (item_id, pieces)


@pytest.mark.parametrize("code", ["4006381333931", "4013", "4012", with_check_digit("219876512345"), "]C100001234560000000018"])
def test_what_nothing_has_is_unknown(code: str) -> None:
    with pytest.raises(UnknownCode):
        found(code)


def test_two_items_with_one_plu_are_named() -> None:
    with pytest.raises(UnknownCode, match="apple, milk all have the PLU 4012"):
        found("4012")


def test_what_cannot_be_read_is_not_guessed() -> None:
    with pytest.raises(BadCode):
        found("4006381333932")
    with pytest.raises(BadCode):
        found(with_check_digit("281234001250"))


def test_a_number_that_the_catalogue_has_whole_is_that_item_whatever_a_layout_reads_in_it() -> None:
    code = with_check_digit("219999912345")
    assert found(code) == Found(MILK, 1, None)
    by_scanner = found(f"]E0{code}")
    assert by_scanner.scan is not None
    assert (by_scanner.item_id, by_scanner.scan.price, by_scanner.scan.embedded) == (MILK, None, None)


# -- how much one scan sells -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "code, item, wanted",
    [
        (GTIN, EACH, Pack(1)),
        ("14006381333938", EACH, Pack(6)),
        (with_check_digit("281234701250"), WEIGHED, Pack(1250, None, own=True)),
        (BEEF_KEY, WEIGHED, Pack(1)),
        (with_check_digit("210000100399"), WEIGHED, Pack(None, 399, own=True)),
        (with_check_digit("210000100399"), EACH, Pack(1, 399, own=True)),
        (with_check_digit("250000100012"), EACH, Pack(24, None, own=True)),
        (f"01{GTIN}3103000750", WEIGHED, Pack(750, None, own=True)),
        (f"01{GTIN}31030007503922" + "399", WEIGHED, Pack(750, 399, own=True)),
        (f"01{GTIN}31030007503932978399", WEIGHED, Pack(750, 399, own=True)),
        (f"01{GTIN}3012", EACH, Pack(12, None, own=True)),
        (f"01{GTIN}3922399", EACH, Pack(1, 399, own=True)),
        (f"01{GTIN}3105000001", WEIGHED, Pack(1)),
        (f"01{GTIN}39220", WEIGHED, Pack(1)),
        ("]C1011400638133393830" + "2", EACH, Pack(12, None, own=True)),
    ],
)
def test_one_scan_sells_what_its_code_says(code: str, item: Item, wanted: Pack) -> None:
    assert pack(code, item) == wanted


@pytest.mark.parametrize(
    "code, item, wanted",
    [
        (f"01{GTIN}3103000750", EACH, Pack(1)),
        (f"01{GTIN}3012", WEIGHED, Pack(1)),
        (f"01{GTIN}31030007503932840399", WEIGHED, Pack(750, None, own=True)),
    ],
)
def test_an_amount_that_does_not_fit_is_left_out_and_the_cashier_is_told(code: str, item: Item, wanted: Pack) -> None:
    made, told = pack_of(found(code), item, "EUR", 2)
    assert made == wanted
    assert [each.code for each in told] == ["amount_ignored"]
    assert told[0].text.endswith(".")


def test_a_till_that_sends_the_weight_as_well_is_noticed() -> None:
    carried, own = Pack(750, own=True), Pack(1)
    assert is_sent_twice(750, carried, WEIGHED)
    assert is_sent_twice(100, carried, WEIGHED)
    assert not is_sent_twice(2, carried, WEIGHED)
    assert not is_sent_twice(1, Pack(1, own=True), WEIGHED)
    assert not is_sent_twice(750, own, WEIGHED)
    assert not is_sent_twice(500, Pack(12, own=True), EACH)


@given(st.lists(st.integers(1, 10**8), min_size=1, max_size=9), st.integers(0, 10**6), st.sampled_from([1, 100, 1000]))
def test_the_units_behind_prices_are_the_fewest_that_are_worth_them(prices: list[int], rate_minor: int, price_quantity: int) -> None:
    curve = Curve.plain(rate_minor, price_quantity)
    units = [units_for(price_minor, curve) for price_minor in prices]
    assert min(units) >= 1
    if rate_minor:
        assert curve.cost_minor(sum(units)) >= sum(prices)
        assert all(count == 1 or rate_minor * (count - 1) < price * price_quantity for count, price in zip(units, prices, strict=True))


# -- what the cashier is told ----------------------------------------------------------------------------------------------


def told(scan: Scan | None, recall: Recall | None = None, now: datetime = NOON, *, trusted: bool = True) -> list[str]:
    found_cautions = cautions(scan, recall, now, clock_trusted=trusted)
    assert all(each.text.endswith((".", "?")) for each in found_cautions)
    return [each.code for each in found_cautions]


def dated(**dates: date | int) -> Scan:
    return Scan(Form.ELEMENTS, gtin14=GTIN, lot="L1", **dates)  # type: ignore[arg-type]


def test_a_date_counts_to_its_end_and_a_time_to_its_minute() -> None:
    assert told(dated(expiry=date(2026, 3, 4))) == []
    assert told(dated(expiry=date(2026, 3, 3))) == ["expired"]
    assert told(dated(expiry=date(2026, 3, 4), expiry_minute=12 * 60 + 1)) == []
    assert told(dated(expiry=date(2026, 3, 4), expiry_minute=12 * 60)) == ["expired"]
    assert told(dated(best_before=date(2026, 3, 3), sell_by=date(2026, 3, 3))) == ["past_sell_by", "past_best_before"]
    assert told(dated(best_before=date(2026, 3, 4), sell_by=date(2026, 3, 4))) == []


def test_a_doubtful_clock_judges_no_date_and_says_so() -> None:
    assert told(dated(expiry=date(2020, 1, 1)), trusted=False) == ["check_date"]
    assert told(dated(), trusted=False) == []


def test_a_recalled_lot_is_told_before_everything_else() -> None:
    recall = Recall(frozenset({"l1", "L9"}), reason="Glass.")
    assert told(dated(expiry=date(2026, 1, 1)), recall) == ["recalled", "expired"]
    assert "Glass." in cautions(dated(), recall, NOON, clock_trusted=True)[0].text
    assert told(Scan(Form.ELEMENTS, lot="L2"), recall) == []
    assert told(Scan(Form.NUMBER), recall) == ["check_lot"]
    assert told(None, recall) == ["check_lot"]
    assert told(None, Recall(frozenset(), all_lots=True)) == ["recalled"]
    assert told(None, Recall(frozenset())) == []


def test_many_recalled_lots_are_shortened() -> None:
    text = cautions(None, Recall(frozenset(f"L{n:02d}" for n in range(50))), NOON, clock_trusted=True)[0].text
    assert "L05, ..." in text
    assert "L06" not in text
