from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render import locales, words


def row(name: str) -> locales.Locale:
    found = locales.locale(name)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "amount_minor", "currency", "exponent", "expected"),
    [
        ("de-DE", 199, "EUR", 2, "1,99\u00a0€"),
        ("de-DE", 9999999, "EUR", 2, "99.999,99\u00a0€"),
        ("de", 1, "EUR", 2, "0,01\u00a0€"),
        ("de-AT", 199, "EUR", 2, "€\u00a01,99"),
        ("en-US", 199, "USD", 2, "$1.99"),
        ("en-US", 123456, "USD", 2, "$1,234.56"),
        ("en-GB", 99, "GBP", 2, "£0.99"),
        ("en-GB", 199, "CHF", 2, "CHF\u00a01.99"),
        ("en-US", 12345, "JPY", 0, "¥12,345"),
        ("en-US", 1250, "KWD", 3, "KWD\u00a01.250"),
        ("es-ES", 123456, "EUR", 2, "1234,56\u00a0€"),
        ("pl-PL", 1234567, "PLN", 2, "12\u00a0345,67\u00a0zł"),
        ("de-CH", 123456, "CHF", 2, "CHF\u00a01\u2019234.56"),
    ],
)
def test_amounts_look_as_people_write_them(name: str, amount_minor: int, currency: str, exponent: int, expected: str) -> None:
    assert str(locales.amount(row(name), amount_minor, currency, exponent)) == expected


@given(st.sampled_from(sorted(locales.LOCALES)), st.integers(0, 10**9), st.sampled_from(locales.CURRENCY_EXPONENTS))
def test_an_amount_reads_back_as_the_same_integer(name: str, amount_minor: int, exponent: int) -> None:
    shown = locales.amount(row(name), amount_minor, "EUR", exponent)
    assert int("".join(filter(str.isdigit, shown.whole + shown.cents))) == amount_minor
    assert len(shown.cents) == exponent
    assert shown.decimal != row(name).group


@given(
    st.integers(1, 10**9), st.integers(1, 10**4), st.integers(1, 10**6), st.sampled_from(["g", "ml", "mm", "each"]), st.integers(1, 1000)
)
def test_unit_price_is_the_exact_quotient_rounded_half_up(price: int, pieces: int, content: int, unit: str, base: int) -> None:
    found = locales.unit_price(price, pieces, "each", content, unit, base)
    assert found is not None
    exact = Fraction(price * base, pieces * content)
    assert Fraction(-1, 2) <= exact - found.amount_minor < Fraction(1, 2)
    assert (found.base, found.unit) == (base, unit)


@pytest.mark.parametrize(
    ("name", "price", "quantity", "unit", "content", "content_unit", "base", "expected"),
    [
        ("de-DE", 199, 1, "each", 250, "g", None, "1\u00a0kg = 7,96\u00a0€"),
        ("de-DE", 199, 1, "each", 250, "g", 100, "100\u00a0g = 0,80\u00a0€"),
        ("de-DE", 89, 1, "each", 1500, "ml", None, "1\u00a0l = 0,59\u00a0€"),
        ("de-DE", 500, 2, "each", 6, "each", None, "1\u00a0Stück = 0,42\u00a0€"),
        ("en-GB", 199, 1, "each", 250, "g", None, "€7.96 per kg"),
        ("en-GB", 199, 100, "g", None, None, None, "€19.90 per kg"),
        ("en-GB", 300, 1, "each", 12, "each", None, "€0.25 per item"),
        ("fi-FI", 350, 1, "each", 2500, "mm", None, "1\u00a0m = 1,40\u00a0€"),
    ],
)
def test_unit_prices_name_their_unit(
    name: str, price: int, quantity: int, unit: str, content: int | None, content_unit: str | None, base: int | None, expected: str
) -> None:
    found = locales.unit_price(price, quantity, unit, content, content_unit, base)
    assert found is not None
    assert locales.unit_price_text(row(name), found, "EUR", 2) == expected


def test_without_content_a_piece_has_no_unit_price() -> None:
    assert locales.unit_price(199, 1, "each", None, None, None) is None


def test_half_a_cent_rounds_up() -> None:
    found = locales.unit_price(1, 1, "each", 2000, "g", 1000)
    assert found is not None
    assert found.amount_minor == 1


@pytest.mark.parametrize(
    ("name", "quantity", "unit", "expected"),
    [
        ("en-GB", 1, "each", ""),
        ("en-GB", 3, "each", "for 3"),
        ("de-DE", 3, "each", "für 3 Stück"),
        ("de-DE", 100, "g", "je 100\u00a0g"),
        ("en-GB", 1000, "g", "per kg"),
        ("pl-PL", 1500, "ml", "/ 1,5\u00a0l"),
    ],
)
def test_the_basis_says_what_the_price_is_for(name: str, quantity: int, unit: str, expected: str) -> None:
    assert locales.basis_text(row(name), quantity, unit) == expected


def test_unknown_languages_have_no_row() -> None:
    assert locales.locale("tlh-KX") is None
    assert locales.locale("") is None
    assert locales.locale("de-LU") == locales.locale("de-DE")


def test_every_language_has_its_words() -> None:
    assert {each.language for each in locales.LOCALES.values()} == set(words.WORDS)
