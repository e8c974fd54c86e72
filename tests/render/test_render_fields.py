from __future__ import annotations

import json
import pickle
import subprocess
import sys

import pytest

from render import errors, fields
from render.errors import BadGtin, FieldError, UnknownPanel, UnknownTemplate
from render.fields import LabelFields, content_hash


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
        ("net_unit", "oz", "net_unit"),
        ("currency", None, "currency"),
        ("currency", "eur", "currency"),
        ("currency_exponent", 1, "currency_exponent"),
        ("locale", "xx-YY", "locale"),
        ("was_price_minor", 199, "was_price_minor"),
        ("reduced", "yes", "reduced"),
        ("name", "x" * 257, "name"),
        ("name", "two\nlines", "U\\+000A"),
        ("name", 5, "name"),
        ("name", "\ud800", "U\\+D800"),
        ("attributes", {"a": 1}, "attributes.a"),
        ("attributes", ["a"], "attributes"),
        ("attributes", {str(number): "" for number in range(33)}, "attributes"),
        ("nmae", "x", "nmae"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_field(plain: dict[str, object], key: str, value: object, complaint: str) -> None:
    with pytest.raises(FieldError, match=complaint):
        LabelFields.from_dict({**plain, key: value})


def test_a_missing_field_is_named() -> None:
    with pytest.raises(FieldError, match="label_id: missing"):
        LabelFields.from_dict({"template": "shelf", "panel": "oepl-01"})


def test_a_wrong_check_digit_is_refused(plain: dict[str, object]) -> None:
    with pytest.raises(BadGtin, match="expected 1"):
        LabelFields.from_dict({**plain, "gtin": "4006381333932"})


def test_fields_survive_json(sample: LabelFields) -> None:
    assert LabelFields.from_dict(json.loads(json.dumps(sample.as_dict()))) == sample


def test_every_error_survives_the_way_from_a_worker() -> None:
    tree = [errors.RenderError]
    for kind in tree:
        tree.extend(kind.__subclasses__())
    for kind in tree:
        arguments = {errors.MissingGlyph: ("Müsli", "中"), errors.BadTemplate: ("a.toml", "x", "y")}.get(kind, ("why",))
        error = kind(*arguments)
        copy = pickle.loads(pickle.dumps(error))
        assert (type(copy), str(copy), copy.reason) == (kind, str(error), error.reason)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "Other"),
        ("price_minor", 200),
        ("panel", "oepl-27"),
        ("template", "see_staff"),
        ("locale", "de-AT"),
        ("gtin", None),
        ("reduced", True),
        ("attributes", {"origin": "DE"}),
    ],
)
def test_another_field_is_another_content_hash(plain: dict[str, object], key: str, value: object) -> None:
    assert content_hash(LabelFields.from_dict({**plain, key: value})) != content_hash(LabelFields.from_dict(plain))


def test_encoder_fonts_and_template_are_part_of_the_hash(plain: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    label = LabelFields.from_dict(plain)
    hashes = {content_hash(label)}
    monkeypatch.setattr(fields, "ENCODER_VERSION", -1)
    hashes.add(content_hash(label))
    monkeypatch.setattr(fields, "assets_digest", lambda: "other fonts")
    hashes.add(content_hash(label))
    monkeypatch.setattr(fields, "template_bytes", lambda name: b"other template")
    hashes.add(content_hash(label))
    assert len(hashes) == 4


def test_unknown_panel_and_template_have_no_hash(plain: dict[str, object]) -> None:
    with pytest.raises(UnknownPanel, match="oepl-01"):
        content_hash(LabelFields.from_dict({**plain, "panel": "oepl-XX"}))
    with pytest.raises(UnknownTemplate, match="see_staff, shelf, unassigned"):
        content_hash(LabelFields.from_dict({**plain, "template": "shelve"}))


@pytest.mark.parametrize("name", ["../secrets", "a/b", "Shelf", "", "a" * 33, "shelf.toml"])
def test_a_template_name_is_never_a_path(plain: dict[str, object], name: str) -> None:
    with pytest.raises(UnknownTemplate, match="a name is"):
        content_hash(LabelFields.from_dict({**plain, "template": name}))


def test_hashing_in_a_fresh_process_is_equal_and_loads_no_numpy_numba_or_pillow(plain: dict[str, object]) -> None:
    program = (
        "import json, sys; from render.fields import LabelFields, content_hash\n"
        "print(content_hash(LabelFields.from_dict(json.loads(sys.argv[1]))))\n"
        "print(sorted({'numpy', 'numba', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, json.dumps(plain)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [content_hash(LabelFields.from_dict(plain)), "[]"]
