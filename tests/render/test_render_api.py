from __future__ import annotations

import io
import itertools
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zxingcpp
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from render import api, locales, raster, scene, templates, texts
from render.codecs import oepl, planes
from render.errors import DoesNotFit, FieldError, MissingField, MissingGlyph, PayloadError
from render.fields import TEMPLATE_FOLDER, ItemFields, LabelFields
from render.panels import panel
from render.scene import Area, Mark, Picture, Run, Stroke
from render.symbols import linear

HERE = Path(__file__).parent
SAMPLES: dict[str, dict[str, Any]] = json.loads((HERE / "samples.json").read_text())
ITEMS: dict[str, list[dict[str, object]]] = {name: each.get("items", []) for name, each in SAMPLES.items()}
CODECS = ("g5", "zlib", "raw2", "raw1")


def changed(name: str, /, **values: object) -> LabelFields:
    """A sample with other values: those of a label, the rest of its item."""
    sample = SAMPLES[name]
    own = {key: value for key, value in values.items() if key in LabelFields.__dataclass_fields__}
    items: list[dict[str, object]] = [{**item, **{key: value for key, value in values.items() if key not in own}} for item in ITEMS[name]]
    return LabelFields.from_dict({**sample, **own, "items": items})


def scene_of(label: LabelFields) -> scene.Scene:
    return scene.build(label, templates.load(label.template), panel(label.panel))


def runs(label: LabelFields) -> list[str]:
    return [mark.text for mark in scene_of(label).marks if isinstance(mark, Run)]


def test_a_label_shows_what_was_drawn(sample: LabelFields) -> None:
    rendered = api.render(sample, 77, CODECS)
    shown = api.payload_to_indices(panel(sample.panel), rendered.codec, rendered.data)
    assert np.array_equal(shown, api.picture(sample, 77))
    assert rendered.picture_hash == api.picture_hash(panel(sample.panel), shown)
    assert planes.read_attempt(shown) == 77


def test_attempts_differ_in_their_own_pixels_alone(sample: LabelFields) -> None:
    first, second = api.picture(sample, 0), api.picture(sample, 2**32 - 1)
    assert len(np.argwhere(first != second)) == 32
    assert api.render(sample, 0, CODECS).picture_hash != api.render(sample, 1, CODECS).picture_hash


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(0, 2**32 - 1), min_size=2, max_size=2, unique=True), st.sampled_from(["raw1", "zlib", "g5"]))
def test_two_attempts_never_have_equal_payloads(attempts: list[int], codec: str) -> None:
    kind = replace(panel("oepl-01"), codecs=(("raw1", 0), ("zlib", 0), ("g5", 0)))
    label = LabelFields.from_dict(SAMPLES["plain"])
    one, other = (oepl.encode(codec, kind, planes.pack(kind, api.picture(label, attempt))) for attempt in attempts)
    assert one != other


def test_the_same_input_gives_the_same_bytes(sample: LabelFields) -> None:
    assert api.render(sample, 5, CODECS) == api.render(sample, 5, CODECS)


def mask(mark: Mark, label: LabelFields) -> npt.NDArray[np.bool_]:
    """The pixels that a mark alone inks, whatever its ink."""
    kind = panel(label.panel)
    marked = replace(mark, inks=(0, 1)) if isinstance(mark, Picture) else replace(mark, ink=kind.black)
    drawn = raster.draw(scene.Scene(kind.name, kind.width, kind.height, (marked,)), kind)
    inked: npt.NDArray[np.bool_] = drawn != kind.white
    return inked


def test_no_text_or_bar_touches_another_or_leaves_its_place(sample: LabelFields) -> None:
    built = scene_of(sample)
    taken = np.zeros((built.height, built.width), np.bool_)
    for mark in built.marks:
        if isinstance(mark, Area | Stroke):  # backgrounds and strikes are there to be crossed
            continue
        inked = mask(mark, sample)
        assert inked.any() or (isinstance(mark, Run) and not mark.text.strip())
        assert not (inked & taken).any(), mark
        taken |= inked
        outside = np.ones_like(inked)
        box = scene.mark_box(mark)
        outside[box.y : box.bottom, box.x : box.right] = False
        assert not (inked & outside).any(), mark
    assert not taken[-1, -32:].any()


def test_a_badge_holds_its_text(sample: LabelFields) -> None:
    marks = scene_of(sample).marks
    for area, run in itertools.pairwise(marks):
        if isinstance(area, Area) and area.box.height > 8:
            assert isinstance(run, Run)
            assert scene.mark_box(run).inside(area.box)


@settings(deadline=None, max_examples=150)
@given(
    st.integers(1, 9_999_999),
    st.sampled_from(sorted(locales.LOCALES)),
    st.sampled_from([("EUR", 2), ("JPY", 0), ("KWD", 3), ("BGN", 2), ("CHF", 2)]),
    st.integers(0, 9_999_999),
    st.sampled_from([(1, "each"), (3, "each"), (1000, "g"), (100, "ml")]),
)
def test_every_price_fits(price: int, locale: str, currency: tuple[str, int], above: int, basis: tuple[int, str]) -> None:
    item = ItemFields(
        name="Item",
        price_minor=price,
        price_quantity=basis[0],
        price_unit=basis[1],
        was_price_minor=price + above if above else None,
    )
    label = LabelFields(
        template="shelf", panel="oepl-01", label_id="1", locale=locale, currency=currency[0], currency_exponent=currency[1], items=(item,)
    )
    shown = "".join(runs(label))
    digits = str(price).rjust(currency[1] + 1, "0")
    assert digits in "".join(filter(str.isdigit, shown))


def test_a_price_wider_than_the_label_is_an_error_not_a_wrong_price() -> None:
    label = changed("plain", price_minor=10**9, currency="KWD", currency_exponent=0, locale="en-US")
    with pytest.raises(DoesNotFit, match=r"KWD.1,000,000,000 does not fit"):
        api.render(label, 0, CODECS)


@pytest.mark.parametrize("name", ["oepl-01", "oepl-11", "oepl-21", "oepl-27", "oepl-82"])
@pytest.mark.parametrize("gtin", ["4006381333931", "96385074", "036000291452", "2000000000008"])
@pytest.mark.parametrize("was", [None, 299])
def test_the_barcode_of_the_shelf_label_scans_from_its_pixels(name: str, gtin: str, was: int | None) -> None:
    label = changed("plain", panel=name, gtin=gtin, was_price_minor=was)
    with Image.open(io.BytesIO(api.to_png(label, attempt=2**32 - 1, scale=3))) as image:
        found = zxingcpp.read_barcodes(image.convert("L"))
    assert [code.text.rjust(13, "0") for code in found] == [linear.drawable(gtin).rjust(13, "0")]


def test_the_shelf_label_says_what_it_must() -> None:
    shown = runs(LabelFields.from_dict(SAMPLES["reduced"]))
    for expected in (
        "Bio Haferflocken zart",
        "500\u00a0g · Kornhof",
        "1\u00a0kg = 2,98\u00a0€",
        "REDUZIERT",
        "statt 1,99\u00a0€",
        "1,",
        "49",
        "€",
    ):
        assert expected in shown


def test_the_unit_price_is_left_out_where_the_price_says_it() -> None:
    assert "per kg" in runs(LabelFields.from_dict(SAMPLES["sold by weight"]))
    assert not any("per kg" in text and text != "per kg" for text in runs(LabelFields.from_dict(SAMPLES["sold by weight"])))


def test_red_is_for_reduced_labels() -> None:
    assert 2 not in api.picture(LabelFields.from_dict(SAMPLES["plain"]))
    assert 2 in api.picture(LabelFields.from_dict(SAMPLES["reduced"]))
    assert set(np.unique(api.picture(LabelFields.from_dict(SAMPLES["black and white panel"])))) == {0, 1}


def test_the_earlier_price_is_struck_through() -> None:
    marks = scene_of(LabelFields.from_dict(SAMPLES["reduced"])).marks
    strike = next(mark for mark in marks if isinstance(mark, Stroke))
    was = next(mark for mark in marks if isinstance(mark, Run) and "1,99" in mark.text)
    assert scene.mark_box(strike).overlaps(scene.mark_box(was))
    assert strike.x0 > was.x  # the word before it is not struck


def test_the_store_mark_is_dithered() -> None:
    inks = ((0, (255, 255, 255)), (1, (0, 0, 0)))
    with Image.open(TEMPLATE_FOLDER / "mark.png") as image:
        grey = np.array(image.convert("L"))
    assert len(np.unique(grey)) > 16
    assert set(np.unique(raster.dithered((TEMPLATE_FOLDER / "mark.png").read_bytes(), inks))) == {0, 1}


def test_unassigned_shows_its_label_id_and_no_price() -> None:
    assert runs(LabelFields.from_dict(SAMPLES["unassigned"])) == ["unassigned", "0000060504030201"]


def test_see_staff_names_the_item_and_no_price() -> None:
    label = changed("plain", template="see_staff", locale="en-GB")
    assert runs(label) == ["Bio Haferflocken zart", "Please ask our staff"]


@pytest.mark.parametrize(("key", "value", "need"), [("price_minor", None, "needs price"), ("name", "", "needs name")])
def test_a_label_without_what_its_template_needs_is_refused(key: str, value: object, need: str) -> None:
    with pytest.raises(MissingField, match=need):
        api.render(changed("plain", **{key: value}), 0, CODECS)


def test_a_needed_unit_price_without_content_is_refused() -> None:
    template = replace(templates.load("shelf"), needs=("unit_price",))
    with pytest.raises(MissingField, match="the net content is not known"):
        scene.build(changed("plain", net_content=None, net_unit=None), template, panel("oepl-01"))


@pytest.mark.parametrize("name", ["緑茶", "Tee 😀", "x\u0332y"])
def test_a_missing_glyph_refuses_the_label_by_item_and_character(name: str) -> None:
    with pytest.raises(MissingGlyph) as caught:
        api.render(changed("plain", name=name), 0, CODECS)
    assert caught.value.item == f"{name} (4006381333931)"
    assert caught.value.character in name
    assert isinstance(caught.value, FieldError)


def test_invisible_and_split_characters_are_drawn_as_people_see_them() -> None:
    assert texts.clean("  Mu\u0308sli\u200b  mit \u00adNüssen ") == "Müsli mit Nüssen"


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=60), st.text(max_size=60))
def test_any_text_gives_a_label_or_a_field_error(name: str, brand: str) -> None:
    try:
        api.render(changed("plain", name=name, brand=brand), 0, CODECS)
    except FieldError:
        return


def test_a_png_shows_the_panel_pixel_by_pixel() -> None:
    label = LabelFields.from_dict(SAMPLES["reduced"])
    colours = np.array([ink.rgb for ink in panel("oepl-01").palette], np.uint8)
    with Image.open(io.BytesIO(api.to_png(label, attempt=9, scale=2))) as image:
        rgb = np.array(image.convert("RGB"))
    assert np.array_equal(rgb[::2, 1::2], colours[api.picture(label, 9)])
    with pytest.raises(ValueError):
        api.to_png(label, scale=17)


def test_a_foreign_payload_is_no_picture() -> None:
    with pytest.raises(PayloadError):
        api.payload_to_indices(panel("oepl-01"), "raw1", bytes(17))


def test_warming_up_needs_no_item() -> None:
    api.warm_up()
