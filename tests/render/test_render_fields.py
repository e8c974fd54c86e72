from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from render import errors, fields
from render.errors import BadGtin, FieldError, UnknownPanel, UnknownTemplate
from render.fields import ItemFields, LabelFields, SecondCurrency, TemplateSource, content_hash, template_bytes, with_own

PLAIN: dict[str, Any] = json.loads((Path(__file__).parent / "samples.json").read_text())["plain"]
ITEM: dict[str, Any] = PLAIN["items"][0]


def changed(**values: object) -> LabelFields:
    """The plain label with other values of its item."""
    return LabelFields.from_dict({**PLAIN, "items": [{**ITEM, **values}]})


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("price_minor", -1, "price_minor"),
        ("price_minor", 0, "price_minor"),
        ("price_minor", 1.99, "price_minor"),
        ("price_minor", True, "price_minor"),
        ("price_minor", 10**9 + 1, "price_minor"),
        ("price_quantity", 0, "price_quantity"),
        ("price_quantity", None, "price_quantity"),
        ("price_unit", "kg", "price_unit"),
        ("net_content", 0, "net_content"),
        ("net_unit", None, "net_content, net_unit"),
        ("net_content", None, "net_content, net_unit"),
        ("net_unit", "oz", "net_unit"),
        ("drained_weight", 501, "drained_weight: 501 is above the net content 500"),
        ("was_price_minor", 199, "was_price_minor: 199 is not above the price 199"),
        ("member_price_minor", 199, "member_price_minor: 199 is not below the price 199"),
        ("multi_buy", [3], "multi_buy"),
        ("multi_buy", 3, "multi_buy"),
        ("multi_buy", [1, 500], "multi_buy quantity: 1, expected a whole number from 2 to 99"),
        ("multi_buy", [3, 0], "multi_buy total"),
        ("offer_ends", "30.11.2026", "offer_ends"),
        ("offer_ends", "2026-02-30", "offer_ends: '2026-02-30' is no date"),
        ("offer_ends", 5, "offer_ends"),
        ("deposit_minor", 0, "deposit_minor"),
        ("stock", -1, "stock"),
        ("stock_full", 0, "stock_full"),
        ("rating_tenths", 51, "rating_tenths"),
        ("rating_count", -1, "rating_count"),
        ("age_limit", 100, "age_limit"),
        ("reduced", "yes", "reduced"),
        ("name", "x" * 257, "name"),
        ("name", "two\nlines", "U\\+000A"),
        ("name", 5, "name"),
        ("name", "\ud800", "U\\+D800"),
        ("origin", 5, "origin"),
        ("sku", "\x00", "sku"),
        ("attributes", {"a": 1}, "attributes.a"),
        ("attributes", ["a"], "attributes"),
        ("attributes", [], "attributes"),
        ("attributes", {str(number): "" for number in range(33)}, "attributes"),
        ("nmae", "x", "nmae"),
    ],
)
def test_a_wrong_value_of_an_item_is_refused_by_the_name_of_its_field(key: str, value: object, complaint: str) -> None:
    with pytest.raises(FieldError, match=complaint):
        changed(**{key: value})


RATE = {"code": "BGN", "exponent": 2, "rate": "1.95583"}


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        ("currency", None, "currency: a price needs one"),
        ("currency", "eur", "currency"),
        ("currency_exponent", 1, "currency_exponent"),
        ("currency_exponent", True, "currency_exponent"),
        ("locale", "xx-YY", "locale"),
        ("page", 8, "page"),
        ("page", -1, "page"),
        ("items", [ITEM] * 9, "items: 9, at most 8"),
        ("items", 5, "items"),
        ("items", [5], "items"),
        ("second_currency", "BGN", "second_currency"),
        ("second_currency", {**RATE, "code": "EUR"}, "second_currency: EUR is the label's own"),
        ("second_currency", {**RATE, "code": "лв."}, "second_currency.code"),
        ("second_currency", {**RATE, "exponent": 4}, "second_currency.exponent"),
        ("second_currency", {**RATE, "rate": 1.95583}, "six significant figures"),
        ("second_currency", {**RATE, "inverse": 1}, "second_currency.inverse"),
        ("second_currency", {**RATE, "side": 1}, "second_currency.side"),
        ("second_currency", {"code": "BGN"}, "second_currency.exponent: missing"),
        ("price_minor", 5, "price_minor"),
    ],
)
def test_a_wrong_value_of_a_label_is_refused_by_the_name_of_its_field(key: str, value: object, complaint: str) -> None:
    with pytest.raises(FieldError, match=complaint):
        LabelFields.from_dict({**PLAIN, key: value})


@pytest.mark.parametrize("rate", ["1.95583", "0.787564", "1936.27", "340.750", "123456", "0.00123456"])
def test_a_rate_has_six_significant_figures(rate: str) -> None:
    assert SecondCurrency("BGN", 2, rate).rate == rate


@pytest.mark.parametrize(
    "rate", ["1.9558", "1.955830", "1,95583", "+1.95583", "1.95583 ", "01.9558", ".787564", "123456.", "١.٩٥٥٨٣", "0.000000", ""]
)
def test_a_shortened_or_odd_rate_is_refused(rate: str) -> None:
    with pytest.raises(FieldError, match="six significant figures"):
        SecondCurrency("BGN", 2, rate)


EURO_OF_LEV = SecondCurrency("EUR", 2, "1.95583", inverse=True)
LEV_OF_EURO = SecondCurrency("BGN", 2, "1.95583")


@given(
    st.integers(1, 10**9),
    st.sampled_from([0, 2, 3]),
    st.sampled_from([0, 2, 3]),
    st.integers(100_000, 999_999),
    st.integers(0, 5),
    st.booleans(),
)
def test_a_second_currency_is_the_exact_quotient_or_product_rounded_half_up(
    amount: int, exponent: int, second: int, figures: int, decimals: int, inverse: bool
) -> None:
    rate = f"{figures // 10**decimals}.{figures % 10**decimals:0{decimals}}" if decimals else str(figures)
    factor = Fraction(figures, 10**decimals)
    exact = Fraction(amount, 10**exponent) * (1 / factor if inverse else factor) * 10**second
    found = SecondCurrency("XXX", second, rate, inverse).converted(amount, exponent)
    assert Fraction(-1, 2) <= exact - found < Fraction(1, 2)


def test_almost_half_of_the_lev_prices_do_not_survive_the_way_to_the_euro_and_back() -> None:
    """Why the legal price is kept and the other is never converted back."""
    prices = range(1, 20_001)
    lost = sum(LEV_OF_EURO.converted(EURO_OF_LEV.converted(price, 2), 2) != price for price in prices)
    assert round(100 * lost / len(prices), 1) == 48.9


def test_the_euro_of_a_known_lev_price_is_the_official_one() -> None:
    assert EURO_OF_LEV.converted(100, 2) == 51
    assert EURO_OF_LEV.converted(199_900, 2) == 102_207
    assert LEV_OF_EURO.converted(1, 2) == 2


def test_a_missing_field_is_named() -> None:
    with pytest.raises(FieldError, match="label_id: missing"):
        LabelFields.from_dict({"template": "shelf", "panel": "oepl-01"})


def test_a_wrong_check_digit_is_refused() -> None:
    with pytest.raises(BadGtin, match="expected 1"):
        changed(gtin="4006381333932")


def test_spaces_of_any_kind_are_text() -> None:
    assert changed(name="Kaffee\u00a0500\u202fg").item == replace(ItemFields.from_dict(ITEM), name="Kaffee\u00a0500\u202fg")


def test_fields_survive_json(sample: LabelFields) -> None:
    assert LabelFields.from_dict(json.loads(json.dumps(sample.as_dict()))) == sample


FULL = {
    "name": "Butter", "brand": "Alm", "origin": "DE", "sku": "17", "price_minor": 199, "price_quantity": 2, "price_unit": "each",
    "was_price_minor": 249, "reduced": True, "member_price_minor": 189, "multi_buy": [3, 500], "offer_ends": "2026-11-30",
    "net_content": 250, "net_unit": "g", "drained_weight": 200, "unit_price_base": 100, "gtin": "4006381333931", "deposit_minor": 25,
    "stock": 0, "stock_full": 12, "rating_tenths": 0, "rating_count": 0, "age_limit": 18, "attributes": {"organic": "yes"},
}  # fmt: skip


def test_every_field_of_an_item_survives_json() -> None:
    values = {**PLAIN, "items": [FULL, {}], "page": 1, "second_currency": {**RATE, "inverse": True}}
    label = LabelFields.from_dict(values)
    assert set(FULL) == set(fields._ITEM_NAMES)
    assert LabelFields.from_dict(json.loads(json.dumps(label.as_dict()))) == label
    assert label.as_dict()["items"] == [{key: value for key, value in FULL.items() if key != "price_unit"}, {}]  # each is the default
    assert label.item == ItemFields.from_dict(FULL)


def test_a_label_without_items_has_no_first_one() -> None:
    label = LabelFields(template="unassigned", panel="oepl-01", label_id="7")
    assert label.item is None
    assert label.item_text() == "7"
    assert label.as_dict() == {"template": "unassigned", "panel": "oepl-01", "label_id": "7"}


def test_every_error_survives_the_way_from_a_worker() -> None:
    tree = [errors.RenderError]
    for kind in tree:
        tree.extend(kind.__subclasses__())
    for kind in tree:
        arguments: tuple[Any, ...] = {errors.MissingGlyph: ("Müsli", "中"), errors.BadTemplate: ("a.toml", "x", "y", 7)}.get(kind, ("why",))
        error = kind(*arguments)
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.reason) == (kind, str(error), error.reason)


def test_a_refused_template_names_its_line() -> None:
    assert str(errors.BadTemplate("a.toml", "layout 1", "no", 7)) == "a.toml:7: layout 1: no"
    assert str(errors.BadTemplate("a.toml", "", "no")) == "a.toml: no"


@pytest.mark.parametrize("key", [key for key in FULL if key not in ("price_unit", "net_unit")])
def test_another_field_of_an_item_is_another_content_hash(key: str) -> None:
    other: dict[str, object] = {
        "multi_buy": [2, 500],
        "offer_ends": "2026-12-01",
        "gtin": None,
        "reduced": False,
        "attributes": {"organic": "no"},
        "drained_weight": 199,
        "was_price_minor": 248,
    }
    value = other.get(key, FULL[key] + 1 if isinstance(FULL[key], int) else f"{FULL[key]}x")  # type: ignore[operator]
    assert content_hash(LabelFields.from_dict({**PLAIN, "items": [{**FULL, key: value}]})) != content_hash(
        LabelFields.from_dict({**PLAIN, "items": [FULL]})
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("panel", "oepl-27"),
        ("template", "see_staff"),
        ("label_id", "8"),
        ("locale", "de-AT"),
        ("currency", "CHF"),
        ("currency_exponent", 3),
        ("second_currency", RATE),
        ("items", []),
        ("items", [ITEM, ITEM]),
        ("page", 1),
    ],
)
def test_another_field_of_a_label_is_another_content_hash(key: str, value: object) -> None:
    assert content_hash(LabelFields.from_dict({**PLAIN, key: value})) != content_hash(LabelFields.from_dict(PLAIN))


def test_the_order_of_attributes_makes_no_other_hash() -> None:
    assert content_hash(changed(attributes={"a": "1", "b": "2"})) == content_hash(changed(attributes={"b": "2", "a": "1"}))


def test_encoder_fonts_and_template_are_part_of_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    label = LabelFields.from_dict(PLAIN)
    hashes = {content_hash(label)}
    for name, value in [
        ("ENCODER_VERSION", -1),
        ("assets_digest", lambda source: "other fonts"),
        ("template_bytes", lambda name, source: b"other template"),
    ]:
        monkeypatch.setattr(fields, name, value)
        fields._frame_digest.cache_clear()
        hashes.add(content_hash(label))
    fields._frame_digest.cache_clear()
    assert len(hashes) == 4


def test_unknown_panel_and_template_have_no_hash() -> None:
    with pytest.raises(UnknownPanel, match="oepl-01"):
        content_hash(LabelFields.from_dict({**PLAIN, "panel": "oepl-XX"}))
    with pytest.raises(UnknownTemplate, match="see_staff, shelf"):
        content_hash(LabelFields.from_dict({**PLAIN, "template": "shelve"}))


@pytest.mark.parametrize("name", ["../secrets", "a/b", "Shelf", "", "a" * 33, "shelf.toml"])
def test_a_template_name_is_never_a_path(name: str) -> None:
    with pytest.raises(UnknownTemplate, match="a name is"):
        content_hash(LabelFields.from_dict({**PLAIN, "template": name}))


def test_a_store_has_its_own_templates_before_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "shelf.toml").write_text("# ours\n")
    own = with_own(tmp_path)
    assert template_bytes("shelf", own) == b"# ours\n"
    assert template_bytes("see_staff", own) == template_bytes("see_staff")
    label = LabelFields.from_dict(PLAIN)
    assert content_hash(label, own) != content_hash(label)


def test_the_store_s_own_picture_is_part_of_the_hash(tmp_path: Path) -> None:
    (tmp_path / "with").mkdir()
    (tmp_path / "without").mkdir()
    (tmp_path / "with" / "mark.png").write_bytes(b"x")
    label = LabelFields.from_dict(PLAIN)
    assert content_hash(label, with_own(tmp_path / "with")) != content_hash(label, with_own(tmp_path / "without"))


def test_a_template_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "odd.toml").mkdir()
    with pytest.raises(UnknownTemplate, match="'odd' cannot be read: Is a directory"):
        template_bytes("odd", TemplateSource((tmp_path,)))


def test_hashing_in_a_fresh_process_is_equal_and_loads_no_numpy_numba_or_pillow() -> None:
    program = (
        "import json, sys; from render.fields import LabelFields, content_hash\n"
        "from render.texts import Texts\n"
        "label = LabelFields.from_dict(json.loads(sys.argv[1])); Texts(label).get('unit_price')\n"
        "print(content_hash(label))\n"
        "print(sorted({'numpy', 'numba', 'PIL', 'bidi'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, json.dumps(PLAIN)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [content_hash(LabelFields.from_dict(PLAIN)), "[]"]
