from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render import glyphs, locales, script, texts, words
from render.fields import ItemFields, LabelFields, SecondCurrency
from render.template_elements import Phrase
from render.texts import Texts

SAMPLES: dict[str, Any] = json.loads((Path(__file__).parent / "samples.json").read_text())
LEV = SecondCurrency("BGN", 2, "1.95583")
FULL: dict[str, Any] = {
    "name": "Gurken",
    "brand": "Hof",
    "origin": "Spreewald",
    "sku": "17-4",
    "price_minor": 199,
    "was_price_minor": 249,
    "member_price_minor": 189,
    "multi_buy": (3, 500),
    "offer_ends": "2026-11-30",
    "net_content": 670,
    "net_unit": "g",
    "drained_weight": 360,
    "gtin": "4006381333931",
    "deposit_minor": 25,
    "stock": 1234,
    "stock_full": 2000,
    "rating_tenths": 45,
    "rating_count": 12345,
    "age_limit": 18,
    "attributes": {"organic": "ja"},
}


def shown(locale: str = "de-DE", currency: str = "EUR", **values: Any) -> Texts:
    item = ItemFields(**{**FULL, **values})
    return Texts(
        LabelFields(template="shelf", panel="oepl-01", label_id="L7", locale=locale, currency=currency, second_currency=LEV, items=(item,))
    )


@pytest.mark.parametrize(
    ("field", "german", "english"),
    [
        ("name", "Gurken", "Gurken"),
        ("brand", "Hof", "Hof"),
        ("origin", "Spreewald", "Spreewald"),
        ("sku", "17-4", "17-4"),
        ("gtin", "4006381333931", "4006381333931"),
        ("label_id", "L7", "L7"),
        ("net_content", "670_g", "670_g"),
        ("drained_weight", "360_g", "360_g"),
        ("unit_price", "1_kg = 5,53_€", "€5.53 per kg"),
        ("price_basis", "", ""),
        ("price", "1,99_€", "€1.99"),
        ("was_price", "2,49_€", "€2.49"),
        ("member_price", "1,89_€", "€1.89"),
        ("multi_buy", "3 für 5,00_€", "3 for €5.00"),
        ("multi_buy_total", "5,00_€", "€5.00"),
        ("multi_buy_quantity", "3", "3"),
        ("saving", "Sie sparen 0,50_€", "save €0.50"),
        ("saving_amount", "0,50_€", "€0.50"),
        ("percent_off", "-20_%", "-20%"),
        ("offer_ends", "bis 30.11.", "until 30_Nov"),
        ("offer_date", "30.11.", "30_Nov"),
        ("deposit", "+ 0,25_€ Pfand", "plus €0.25 deposit"),
        ("deposit_amount", "0,25_€", "€0.25"),
        ("second_price", "3,89_лв.", "лв._3.89"),
        ("stock", "1.234", "1,234"),
        ("rating", "4,5", "4.5"),
        ("rating_count", "12.345", "12,345"),
        ("age_limit", "18+", "18+"),
        ("word_member", "Mitgliederpreis", "Member price"),
        ("word_was", "statt", "was"),
        ("word_out_of_stock", "Nicht vorrätig", "Out of stock"),
        ("word_reduced", "Reduziert", "Reduced"),
        ("word_offer", "Angebot", "Offer"),
    ],
)
def test_each_field_has_its_text(field: str, german: str, english: str) -> None:
    assert shown().get(field) == german.replace("_", "\u00a0")
    assert shown("en-GB").get(field) == english.replace("_", "\u00a0")


def test_every_field_is_known_and_an_item_without_it_has_nothing() -> None:
    bare = Texts(LabelFields(template="shelf", panel="oepl-01", label_id="L7", items=(ItemFields(),)))
    for field in texts.FIELDS:
        always = field == "label_id" or field.startswith("word_")
        assert bool(bare.get(field)) is always, field
        assert bare.get(field, 1) == ("L7" if field == "label_id" else "")
        assert bool(shown().get(field)) is (field != "price_basis"), field
        assert bare.holds(field) is always
        assert bare.holds(f"not_{field}") is not always
        assert shown().holds(field) is (field != "price_basis")


def test_an_attribute_is_read_by_its_key() -> None:
    assert shown().get("attribute:organic") == "ja"
    assert shown().get("attribute:vegan") == ""
    assert (shown().holds("attribute:organic"), shown().holds("not_attribute:organic")) == (True, False)


@pytest.mark.parametrize("name", ["colour", "attribute:", "attribute:a b", "attribute", "name ", "__class__"])
def test_a_name_that_is_no_field_is_not_taken_for_one(name: str) -> None:
    assert not texts.is_field(name)
    assert not texts.is_condition(name)
    assert not texts.is_condition(f"not_{name}")


@pytest.mark.parametrize(
    ("stock", "full", "holding"),
    [
        (None, 10, set()),
        (0, 10, {"out_of_stock"}),
        (2, 10, {"in_stock", "low_stock"}),
        (3, 10, {"in_stock"}),
        (3, None, {"in_stock"}),
    ],
)
def test_a_stock_is_out_low_or_there(stock: int | None, full: int | None, holding: set[str]) -> None:
    found = shown(stock=stock, stock_full=full)
    assert {name for name in ("out_of_stock", "low_stock", "in_stock") if found.holds(name)} == holding


def test_reduced_and_weighed_are_conditions_of_their_own() -> None:
    assert shown().holds("reduced")
    assert shown(was_price_minor=None, reduced=True).holds("reduced")
    assert not shown(was_price_minor=None).holds("reduced")
    assert shown(price_unit="g", price_quantity=1000).holds("weighed")
    assert shown().holds("not_weighed")


@given(st.integers(1, 10**6), st.integers(1, 10**6), st.integers(1, 10**5))
def test_a_unit_price_is_that_of_the_drained_weight_rounded_half_up(price: int, drained: int, more: int) -> None:
    unit = shown(
        price_minor=price, was_price_minor=None, member_price_minor=None, drained_weight=drained, net_content=drained + more
    ).unit_price()
    assert unit is not None
    exact = Fraction(price * 1000, drained)
    assert Fraction(-1, 2) <= exact - unit.amount_minor < Fraction(1, 2)


@given(st.integers(1, 10**7), st.integers(1, 10**7))
def test_a_percentage_never_promises_more_than_is_given(price: int, saving: int) -> None:
    was = price + saving
    percent = locales.percent_off(was, price)
    assert was * (100 - percent) >= price * 100  # the price after so many percent off is not below what is asked
    assert was * (100 - percent - 1) < price * 100
    said = shown(price_minor=price, was_price_minor=was, member_price_minor=None).get("percent_off")
    assert said == (f"-{percent}\u00a0%" if percent else "")


def test_the_second_price_is_converted_from_the_price_and_split_for_drawing() -> None:
    found = shown().amount("second_price")
    assert found is not None
    assert (found.whole, found.decimal, found.cents, found.sign, found.sign_first) == ("3", ",", "89", "лв.", False)
    assert shown().amount("second_price", 1) is None
    assert Texts(LabelFields(template="shelf", panel="oepl-01", label_id="1", items=(ItemFields(),))).amount("second_price") is None


def test_amounts_are_there_for_each_big_price() -> None:
    assert set(texts.AMOUNTS) <= set(texts.FIELDS)
    for field in texts.AMOUNTS:
        assert str(shown().amount(field)) == shown().get(field)


@pytest.mark.parametrize(
    ("locale", "date"),
    [
        ("en-GB", "5_Nov"),
        ("en-US", "Nov_5"),
        ("de-DE", "5.11."),
        ("fr-FR", "05/11"),
        ("it-IT", "5/11"),
        ("es-ES", "5/11"),
        ("pt-PT", "05/11"),
        ("nl-NL", "5-11"),
        ("pl-PL", "5.11"),
        ("cs-CZ", "5._11."),
        ("da-DK", "5.11"),
        ("sv-SE", "5/11"),
        ("fi-FI", "5.11."),
        ("el-GR", "5/11"),
        ("bg-BG", "5.11"),
        ("sq-AL", "5.11"),
        ("he-IL", "5.11"),
        ("ar-AE", "5/11"),
    ],
)
def test_dates_are_in_the_order_of_the_country(locale: str, date: str) -> None:
    assert shown(locale, offer_ends="2026-11-05").get("offer_date") == date.replace("_", "\u00a0")


def test_every_language_has_every_word_in_glyphs_that_the_fonts_have() -> None:
    for locale in locales.LOCALES:
        currency = "AED" if locale == "ar-AE" else "EUR"
        found = shown(locale, currency, price_quantity=3, net_content=2500, drained_weight=1500)
        for field in texts.FIELDS:
            value = found.get(field)
            assert value and "{" not in value, (locale, field)
            glyphs.check("bold", script.visual(value, found.locale.right_to_left), f"{locale} {field}")
    assert {row.language for row in locales.LOCALES.values()} == set(words.WORDS)


@pytest.mark.parametrize(
    ("locale", "currency", "text", "sign_first"),
    [
        ("he-IL", "ILS", "₪1.99", True),
        ("he-IL", "CHF", "CHF\u00a01.99", True),
        ("ar-AE", "AED", "1.99\u00a0د.إ", True),
        ("ar-AE", "KWD", "1.99\u00a0د.ك", True),
        ("ar-AE", "EUR", "EUR\u00a01.99", True),
        ("en-US", "AED", "AED\u00a01.99", True),
        ("sv-SE", "SEK", "1,99\u00a0kr", False),
        ("pl-PL", "RON", "1,99\u00a0lei", False),
        ("de-DE", "HUF", "1,99\u00a0Ft", False),
    ],
)
def test_a_sign_stands_where_the_country_has_it(locale: str, currency: str, text: str, sign_first: bool) -> None:
    found = shown(locale, currency).amount("price")
    assert (str(found), found and found.sign_first) == (text, sign_first)


# -- phrases -----------------------------------------------------------------------------------------------------------------

FIXED = st.text("abc {}%", max_size=6)


@given(st.lists(st.tuples(FIXED, st.sampled_from(texts.FIELDS)), max_size=6), FIXED, st.sets(st.sampled_from(texts.FIELDS)))
def test_a_phrase_is_filled_with_every_field_or_not_at_all(parts: list[tuple[str, str]], last: str, missing: set[str]) -> None:
    phrase = Phrase((*parts, (last, "")))
    filled = phrase.filled(lambda field: "" if field in missing else f"<{field}>")
    if any(field in missing for _, field in parts):
        assert filled == ""
    else:
        assert filled == "".join(f"{fixed}<{field}>" for fixed, field in parts) + last


# -- cleaning ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cleaned"),
    [
        ("  Mu\u0308sli\u200b  mit \u00adNüssen ", "Müsli mit Nüssen"),
        ("plain", "plain"),
        ("", ""),
        ("   ", ""),
        ("a\u00a0b", "a\u00a0b"),
        ("\u200eabc\u200f", "abc"),
        ("می\u200cخواهم\u00ad", "می\u200cخواهم"),
    ],
)
def test_text_is_cleaned_of_what_people_do_not_see(value: str, cleaned: str) -> None:
    assert texts.clean(value) == cleaned


@given(st.text(max_size=40))
def test_cleaning_twice_changes_nothing_more(value: str) -> None:
    once = texts.clean(value)
    assert texts.clean(once) == once
    assert "  " not in once
