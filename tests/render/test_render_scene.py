"""Every element of a template, by the test template that has them all (templates/gallery.toml)."""

from __future__ import annotations

import hashlib
import io
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

from render import api, glyphs, marks, raster, scene, scene_codes, script, templates
from render.codecs import oepl, planes
from render.errors import BadGtin, DoesNotFit, FieldError, MissingField, MissingGlyph
from render.fields import ENCODER_VERSION, ItemFields, LabelFields, TemplateSource
from render.marks import Area, Bars, Grid, Mark, Outline, Picture, Run, Stroke
from render.panels import Box, Panel, attempt_strip, panel
from render.template_elements import ICONS, Template
from render.texts import Texts

HERE = Path(__file__).parent
SOURCE = TemplateSource((HERE / "templates",))
COMMON = {"template": "gallery", "panel": "oepl-90", "label_id": "0000060504030201"}
GALLERY: dict[str, dict[str, Any]] = {
    name: {**COMMON, **values} for name, values in json.loads((HERE / "gallery.json").read_text()).items()
}
SAMPLES: dict[str, dict[str, Any]] = json.loads((HERE / "samples.json").read_text())
LABELS = SAMPLES | {f"gallery, {name}": values for name, values in GALLERY.items()}
GOLDEN = json.loads((HERE / "golden" / "labels.json").read_text())
ATTEMPT = 0x00C0FFEE
HEAD = "version = 1\n[[layout]]\nwidth = 296\nheight = 128\n"
PANEL = panel("oepl-01")


def built(label: LabelFields) -> marks.Scene:
    return scene.build(label, templates.load(label.template, SOURCE), panel(label.panel))


def element(kind: str, more: str, box: tuple[int, int, int, int] = (10, 20, 100, 40)) -> str:
    place = "".join(f"{key} = {value}\n" for key, value in zip(("x", "y", "width", "height"), box, strict=True))
    return f'[[layout.element]]\nkind = "{kind}"\n{place}{more}\n'


def template(*elements: str) -> Template:
    return templates.parse("mine", (HEAD + "".join(elements)).encode(), TemplateSource((HERE,)))


def label(*items: dict[str, Any], **values: Any) -> LabelFields:
    fields = {"template": "mine", "panel": "oepl-01", "label_id": "L7", "locale": "en-GB", "currency": "GBP", **values}
    return LabelFields.from_dict({**fields, "items": list(items)})


def drawn(shown: LabelFields, *elements: str, on: Panel = PANEL) -> tuple[Mark, ...]:
    return scene.build(shown, template(*elements), on).marks


@pytest.mark.parametrize("name", LABELS)
def test_scene_picture_and_payload_are_the_golden_ones(name: str) -> None:
    """A wanted change: raise ENCODER_VERSION in render/fields.py, run make_golden.py, look at the labels."""
    shown, golden = LabelFields.from_dict(LABELS[name]), GOLDEN["labels"][name]
    kind = panel(shown.panel)
    assert GOLDEN["encoder_version"] == ENCODER_VERSION
    assert json.loads(json.dumps(built(shown).as_json())) == golden["scene"]
    indices = raster.draw(built(shown), kind)
    planes.stamp_attempt(kind, indices, ATTEMPT)
    assert hashlib.sha256(indices.tobytes()).hexdigest() == golden["picture"]
    for codecs in (("raw2", "raw1"), ("g5", "raw2", "raw1")):
        encoded = oepl.encode_smallest(kind, planes.pack(kind, indices), codecs)
        assert hashlib.sha256(encoded.data).hexdigest() == golden["payloads"][encoded.codec]


def inked(mark: Mark, kind: Panel) -> npt.NDArray[np.bool_]:
    """The pixels that a mark alone inks, whatever its ink."""
    marked = replace(mark, inks=(0, 1)) if isinstance(mark, Picture) else replace(mark, ink=kind.black)
    found: npt.NDArray[np.bool_] = raster.draw(marks.Scene(kind.name, kind.width, kind.height, (marked,)), kind) != kind.white
    return found


@pytest.mark.parametrize("name", GALLERY)
def test_no_mark_leaves_its_place_and_no_text_or_code_touches_another(name: str) -> None:
    shown = LabelFields.from_dict(GALLERY[name])
    kind = panel(shown.panel)
    taken = np.zeros((kind.height, kind.width), np.bool_)
    for mark in built(shown).marks:
        pixels, box = inked(mark, kind), marks.mark_box(mark)
        assert pixels.any()
        outside = pixels.copy()
        outside[box.y : box.bottom, box.x : box.right] = False
        assert not outside.any(), mark
        if not isinstance(mark, Area | Outline | Stroke):  # backgrounds and strikes are there to be crossed
            assert not (pixels & taken).any(), mark
            taken |= pixels
    strip = attempt_strip(kind.width, kind.height)
    assert not taken[strip.y, strip.x :].any()


def read(indices: npt.NDArray[np.uint8], kind: Panel, scale: int = 3) -> dict[str, str]:
    """Format and text of every code that a scanner finds."""
    with Image.open(io.BytesIO(api.indices_to_png(kind, indices, scale))) as image:
        return {str(code.format).rpartition(".")[2]: code.text for code in zxingcpp.read_barcodes(image.convert("L"))}


def test_every_code_of_the_gallery_scans_from_its_pixels() -> None:
    shown = LabelFields.from_dict(GALLERY["codes"])
    kind = panel(shown.panel)
    texts = Texts(shown)
    codes = [each for each in templates.load("gallery", SOURCE).layout(kind, 1).elements if hasattr(each, "symbology")]
    wanted = {
        "https://id.gs1.org/01/00036000291452",
        "https://shop.example/p/47%2F11%20%C3%A4?label=0000060504030201",
        "https://shop.example/01/00036000291452",
        "0000060504030201",
        "036000291452",
    }
    found: set[str] = set()
    for each in codes:  # one at a time: a scanner is held to one code
        alone = replace(
            templates.load("gallery", SOURCE),
            needs=(),
            layouts=(replace(templates.load("gallery", SOURCE).layout(kind, 1), elements=(each,)),),
        )
        found |= set(read(raster.draw(scene.build(shown, alone, kind), kind), kind).values())
    assert {text.removeprefix("0") if text == "0036000291452" else text for text in found} == wanted
    assert texts.get("gtin") == "036000291452"


def test_a_data_matrix_of_a_gtin_is_a_gs1_one() -> None:
    item = {"gtin": "4006381333931"}
    found = drawn(label(item), element("matrix", 'symbology = "datamatrix"\nfield = "gtin"', (100, 20, 80, 80)))
    with Image.open(io.BytesIO(api.indices_to_png(PANEL, raster.draw(marks.Scene("", 296, 128, found), PANEL), 2))) as image:
        codes = zxingcpp.read_barcodes(image.convert("L"))
    assert [(code.content_type == zxingcpp.ContentType.GS1, code.text) for code in codes] == [(True, "(01)04006381333931")]


@pytest.mark.parametrize(
    ("symbology", "gtin", "text"),
    [("ean", "96385074", "96385074"), ("upc_a", "036000291452", "036000291452"), ("upc_e", "042100005264", "04252614")],
)
def test_linear_codes_scan_with_their_digits_under_them(symbology: str, gtin: str, text: str) -> None:
    found = drawn(label({"gtin": gtin}), element("barcode", f'symbology = "{symbology}"\nmodule_px = 2\ndigit_size = 13', (0, 20, 290, 60)))
    codes = read(raster.draw(marks.Scene("", 296, 128, found), PANEL), PANEL)
    assert list(codes.values()) in ([text], ["0" + text], [gtin], ["0" + gtin])
    assert "".join(mark.text for mark in found if isinstance(mark, Run)) == text


def test_a_code_is_left_out_without_its_field_and_refused_when_it_cannot_be() -> None:
    assert drawn(label({}), element("barcode", ""), element("matrix", ""), element("matrix", 'url = "x{sku}"')) == ()
    with pytest.raises(BadGtin, match="GTIN-14"):
        drawn(label({"gtin": "14006381333938"}), element("barcode", ""))
    with pytest.raises(DoesNotFit, match=r"item 'X \(4006381333931\)': a barcode of 113 px does not fit into 100x40"):
        drawn(label({"name": "X", "gtin": "4006381333931"}), element("barcode", ""))
    with pytest.raises(DoesNotFit, match="a qr code of 74x74 px does not fit into 100x40"):
        drawn(label({"name": "X", "gtin": "4006381333931"}), element("matrix", "module_px = 2"))
    with pytest.raises(FieldError, match="expected ASCII characters only"):
        drawn(label({"sku": "ä"}), element("barcode", 'symbology = "code128"\nfield = "sku"'))


@given(st.text(max_size=30))
def test_a_field_in_a_url_is_percent_encoded(value: str) -> None:
    try:
        encoded = scene_codes.percent_encoded(value)
    except UnicodeEncodeError:  # half a surrogate pair, which fields refuse
        return
    assert encoded.isascii() and not set(encoded) - set("%-._~") - {character for character in encoded if character.isalnum()}
    pieces = encoded.replace("%", "\\x").encode().decode("unicode_escape").encode("latin-1") if "%" in encoded else encoded.encode()
    assert pieces.decode() == value


# -- shapes ------------------------------------------------------------------------------------------------------------------


def test_a_rule_fills_its_box_with_a_line_dots_or_dashes() -> None:
    across, down = (10, 20, 11, 2), (10, 20, 3, 11)
    assert drawn(label(), element("rule", "", across)) == (Area(Box(10, 20, 11, 2), 0, 1),)
    assert drawn(label(), element("rule", 'pattern = "dotted"', across)) == (Bars("10101", 10, 20, 2, 2, 1),)
    assert drawn(label(), element("rule", 'pattern = "dotted"', down)) == (Grid(("1", "0", "1"), 10, 20, 3, 1),)
    assert drawn(label(), element("rule", 'pattern = "dashed"', (10, 20, 20, 1))) == (Bars("11110011110011110011", 10, 20, 1, 1, 1),)


def test_a_box_s_outline_leaves_what_is_in_it() -> None:
    pixels = raster.draw(
        marks.Scene("", 296, 128, drawn(label(), element("fill", "", (20, 30, 4, 4)), element("box", "thickness = 2\nradius = 5"))), PANEL
    )
    inside = pixels[30:50, 20:100]
    assert (inside[:4, :4] == 1).all() and (inside == 1).sum() == 16
    assert pixels[20, 10] == 0  # the corner is round
    assert (pixels[20:22, 20:100] == 1).all() and (pixels[58:60, 20:100] == 1).all() and (pixels[25:55, 10:12] == 1).all()
    filled = drawn(label(), element("box", 'thickness = 0\nfill = "accent"'))
    assert filled == (Area(Box(10, 20, 100, 40), 0, 2),)


@pytest.mark.parametrize(
    ("tenths", "stars"),
    [(0, "ooooo"), (2, "ooooo"), (3, "hoooo"), (7, "hoooo"), (8, "soooo"), (43, "ssssh"), (47, "ssssh"), (48, "sssss"), (50, "sssss")],
)
def test_a_rating_is_shown_to_the_nearest_half_star(tenths: int, stars: str) -> None:
    names = {ICONS["star"]: "s", ICONS["star_half"]: "h", ICONS["star_outline"]: "o"}
    (run,) = drawn(label({"rating_tenths": tenths}), element("stars", "", (10, 20, 100, 16)))
    assert isinstance(run, Run)
    assert "".join(names[character] for character in run.text) == stars
    box = marks.mark_box(run)
    assert box.inside(Box(10, 20, 80, 16))
    assert drawn(label({}), element("stars", "", (10, 20, 100, 16))) == ()


@given(st.integers(0, 300), st.integers(1, 250), st.booleans())
def test_a_stock_bar_is_as_full_as_the_shelf(stock: int, full: int, upright: bool) -> None:
    box = (10, 20, 12, 90) if upright else (10, 20, 90, 12)
    outline, *level = drawn(label({"stock": stock, "stock_full": full}), element("stock", "thickness = 2", box))
    assert outline == Outline(Box(*box), 0, 2, 1)
    assert bool(level) is bool(stock)
    if level:
        assert isinstance(level[0], Area)
        filled, room = level[0].box, 86
        length = filled.height if upright else filled.width
        assert 0 <= length - min(stock, full) * room / full < 1
        assert (filled.bottom if upright else filled.x) == (108 if upright else 12)
        assert level[0].ink == (2 if 0 < stock * 5 <= full else 1)


def test_a_stock_bar_fills_from_the_side_where_reading_begins() -> None:
    shown = label({"stock": 1, "stock_full": 2}, locale="he-IL")
    _, level = drawn(shown, element("stock", "", (10, 20, 102, 12)))
    assert marks.mark_box(level) == Box(61, 21, 50, 10)


@pytest.mark.parametrize("name", ICONS)
def test_an_icon_lies_in_the_middle_of_its_box(name: str) -> None:
    (run,) = drawn(label(), element("icon", f'name = "{name}"', (10, 20, 60, 24)))
    assert isinstance(run, Run)
    assert marks.mark_box(run).inside(Box(28, 20, 24, 24))
    assert ord(run.text) in glyphs._characters("icons")


def test_a_badge_without_text_is_no_badge() -> None:
    badge = element("badge", 'field = "percent_off"\nfill = "accent"\nink = "white"\nsize = 20')
    assert drawn(label({"price_minor": 100}), badge) == ()
    area, run = drawn(label({"price_minor": 75, "was_price_minor": 100}), badge)
    assert isinstance(area, Area) and isinstance(run, Run)
    assert run.text == "-25%"
    assert marks.mark_box(run).inside(area.box)


def test_an_ink_that_the_panel_lacks_is_its_accent() -> None:
    fills = [element("fill", f'ink = "{ink}"') for ink in ("white", "black", "accent", "red", "yellow")]
    assert [mark.ink for mark in drawn(label(), *fills) if isinstance(mark, Area)] == [0, 1, 2, 2, 2]
    assert [mark.ink for mark in drawn(label(), *fills, on=panel("oepl-21")) if isinstance(mark, Area)] == [0, 1, 1, 1, 1]
    four = replace(PANEL, palette=panel("oepl-90").palette)
    assert [mark.ink for mark in drawn(label(), *fills, on=four) if isinstance(mark, Area)] == [0, 1, 2, 2, 3]


# -- items, conditions, panels -----------------------------------------------------------------------------------------------


def test_each_element_reads_its_own_item() -> None:
    names = [element("text", f'field = "name"\nsize = 16\nitem = {number}', (10, 20 + 30 * number, 100, 20)) for number in range(3)]
    found = drawn(label({"name": "one"}, {"name": "two"}), *names)
    assert [mark.text for mark in found if isinstance(mark, Run)] == ["one", "two"]
    assert drawn(label({}), element("fill", "item = 1")) == ()
    assert len(drawn(label(), element("fill", "item = 0"))) == 1


def test_conditions_are_those_of_the_element_s_item() -> None:
    fill = element("fill", 'when = ["out_of_stock", "not_attribute:hidden"]\nitem = 1')
    assert len(drawn(label({"stock": 5}, {"stock": 0}), fill)) == 1
    assert drawn(label({"stock": 5}, {"stock": 0, "attributes": {"hidden": "x"}}), fill) == ()
    assert drawn(label({"stock": 0}, {"stock": 1}), fill) == ()


@pytest.mark.parametrize("need", templates.NEEDS)
def test_a_label_without_what_a_template_needs_is_refused(need: str) -> None:
    needing = replace(template(element("fill", "")), needs=(need,))
    reason = "the net content is not known" if need == "unit_price" else "the label has none"
    with pytest.raises(MissingField, match=f"template 'mine' needs {need}: {reason}"):
        scene.build(label({}), needing, PANEL)
    whole = ItemFields(
        name="N", brand="B", origin="O", sku="1", gtin="96385074", net_content=5, net_unit="g", drained_weight=4, price_minor=100,
        was_price_minor=200, member_price_minor=90, multi_buy=(2, 150), offer_ends="2026-01-01", deposit_minor=8, stock=0, rating_tenths=1,
        age_limit=16,
    )  # fmt: skip
    shown = label(whole.as_dict(), second_currency={"code": "EUR", "exponent": 2, "rate": "1.15000"})
    assert len(scene.build(shown, needing, PANEL).marks) == 1


def test_a_smaller_layout_is_drawn_at_the_bottom_right_of_a_larger_panel() -> None:
    everything = (element("fill", "", (0, 0, 290, 100)), element("text", 'field = "label_id"\nsize = 16', (10, 100, 100, 20)))
    small, large = drawn(label(), *everything), drawn(label(), *everything, on=panel("oepl-02"))
    for one, other in zip(small, large, strict=True):
        box = marks.mark_box(one)
        assert marks.mark_box(other) == Box(box.x + 104, box.y + 172, box.width, box.height)


def test_a_missing_glyph_names_the_item_that_has_it() -> None:
    names = [element("text", f'field = "name"\nsize = 16\nitem = {number}') for number in range(2)]
    with pytest.raises(MissingGlyph) as caught:
        drawn(label({"name": "fine"}, {"name": "茶", "gtin": "96385074"}), *names)
    assert (caught.value.item, caught.value.character) == ("茶 (96385074)", "茶")


@pytest.mark.parametrize("name", ["שָלום", "مُربى", "x\u0332"])
def test_a_mark_without_composed_letter_is_a_missing_glyph(name: str) -> None:
    with pytest.raises(MissingGlyph):
        drawn(label({"name": name}), element("text", 'field = "name"\nsize = 16'))


# -- prices ------------------------------------------------------------------------------------------------------------------

PRICE = element("price", 'cents = "level"\nsize = 40', (10, 10, 280, 60))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 999_999),
    st.sampled_from(["en-GB", "de-DE", "de-AT", "he-IL", "ar-AE", "fi-FI"]),
    st.sampled_from(["EUR", "ILS", "AED", "CHF"]),
)
def test_level_cents_are_as_large_as_the_whole_digits(price: int, locale: str, currency: str) -> None:
    found = drawn(label({"price_minor": price}, locale=locale, currency=currency), PRICE)
    runs = [mark for mark in found if isinstance(mark, Run)]
    largest = max(run.size for run in runs)
    digits = "".join(filter(str.isdigit, "".join(run.text for run in runs if run.size == largest)))
    assert int(digits) == price
    assert all(marks.mark_box(run).inside(Box(10, 10, 280, 60)) for run in runs)
    sign = min((run for run in runs if run.size < largest), key=lambda run: run.x)
    first = locale in ("en-GB", "de-AT", "he-IL", "ar-AE")
    assert (sign.x < max(run.x for run in runs if run.size == largest)) is first


def test_a_big_price_may_be_another_amount_of_the_item() -> None:
    item = {"price_minor": 199, "member_price_minor": 150, "multi_buy": [3, 500]}
    for field, digits in [("price", "1.99"), ("member_price", "1.50"), ("multi_buy_total", "5.00"), ("second_price", "2.29")]:
        shown = label(item, second_currency={"code": "EUR", "exponent": 2, "rate": "1.15000"})
        found = drawn(shown, element("price", f'field = "{field}"\ncents = "level"\nsize = 30'))
        assert digits in {mark.text for mark in found if isinstance(mark, Run)}
    with pytest.raises(DoesNotFit, match=r"multi buy total £5\.00 does not fit at 40 px"):
        drawn(label(item), element("price", 'field = "multi_buy_total"\nsize = 40', (10, 20, 30, 40)))


@pytest.mark.parametrize(("locale", "currency"), [("en-GB", "GBP"), ("de-DE", "EUR"), ("he-IL", "ILS"), ("ar-AE", "AED"), ("ar-AE", "EUR")])
def test_the_earlier_price_alone_is_struck(locale: str, currency: str) -> None:
    shown = label({"price_minor": 199, "was_price_minor": 249}, locale=locale, currency=currency)
    found = drawn(shown, element("was_price", 'before = "{word_was}"\nsize = 18', (10, 20, 250, 30)))
    stroke = next(mark for mark in found if isinstance(mark, Stroke))
    runs = [mark for mark in found if isinstance(mark, Run)]
    price = script.visual(Texts(shown).get("was_price"), shown.locale[:2] in ("he", "ar"))
    whole_width = max(marks.mark_box(run).right for run in runs) - min(marks.mark_box(run).x for run in runs)
    assert stroke.x1 - stroke.x0 + 1 < whole_width - 5  # not the word
    left, _, right, _ = glyphs.ink_box("regular", 18, price)
    assert stroke.x1 - stroke.x0 + 1 == right - left
    digits = next(run for run in runs if "2" in run.text)
    assert marks.mark_box(stroke).overlaps(marks.mark_box(digits))
