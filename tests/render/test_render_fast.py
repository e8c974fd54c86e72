"""The batch path draws what scene.py and raster.py draw: the same marks, the same pixels, the same complaints."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge import label_samples
from render import api, scene, templates
from render.codecs import planes
from render.errors import RenderError
from render.fast.engine import Engine, reference
from render.fast.plan import CONDITIONS_MAX, Uncompilable, plan
from render.fast.program import Row
from render.fields import SHIPPED, TEMPLATE_FOLDER, ItemFields, LabelFields, TemplateSource
from render.locales import LOCALES
from render.panels import PANELS, Box, Panel, panel
from render.symbols import linear
from render.template_elements import (
    Align,
    Badge,
    Barcode,
    Cents,
    Content,
    Element,
    Fill,
    Layout,
    Matrix,
    Phrase,
    Placed,
    Price,
    Style,
    Template,
    Text,
    Vertical,
    WasPrice,
)
from tests.render.fast_marks import ATLASES, both, kernel_marks, native, program_of, template_of

HERE = Path(__file__).parent
OWN = TemplateSource((HERE / "templates",))
SAMPLES: dict[str, dict[str, Any]] = json.loads((HERE / "samples.json").read_text())
GALLERY: dict[str, dict[str, Any]] = json.loads((HERE / "gallery.json").read_text())
SHIPPED_NAMES = sorted(path.stem for path in TEMPLATE_FOLDER.glob("*.toml"))
PANEL_NAMES = ("oepl-01", "oepl-21", "oepl-2E", "oepl-2F", "oepl-45", "oepl-90", "oepl-4C")  # every rotation, one to four inks

WORDS = (
    "Bio", "Haferflocken", "Vollmilch-Schokolade", "Müsli/Riegel", "Süßkartoffel-Chips", "Donaudampfschifffahrtsgesellschaft",
    "&", "-", "·", "Ελληνικό", "Γιαούρτι", "Кисело", "мляко", "Ấ", "Ǻ", "jgq", "r", "i", "500", "x", ",", ".", "…", "Łódź", "ﬁ",
)  # fmt: skip
LETTERS = "abcdefghijklmnopqrstuvwxyzABCXYZ0123456789 -/.,·&ÄÖÜäöüßéÅŮğЖщΩΞ\u00a0\u2009…„“"
NAMES = st.one_of(st.lists(st.sampled_from(WORDS), max_size=9).map(" ".join), st.text(LETTERS, max_size=80))
GTINS = ("4006381333931", "96385074", "036000291452", "2000000000008", "0000096385074", "00012345678905", "10012345678902")
LOCALE_NAMES = sorted(name for name in LOCALES if not LOCALES[name].right_to_left)


@st.composite
def items(draw: st.DrawFn) -> ItemFields:
    price = draw(st.one_of(st.none(), st.sampled_from([1, 99, 100_000, 9_999_999]), st.integers(1, 99_999)))
    content = draw(st.one_of(st.none(), st.sampled_from([1, 500, 750, 1500])))
    return ItemFields(
        name=draw(NAMES),
        brand=draw(NAMES),
        price_minor=price,
        was_price_minor=None if price is None else draw(st.one_of(st.none(), st.integers(price + 1, price + 9_999))),
        price_quantity=draw(st.sampled_from([1, 3, 1000])),
        price_unit=draw(st.sampled_from(["each", "g"])),
        net_content=content,
        net_unit=None if content is None else "g",
        gtin=draw(st.one_of(st.none(), st.sampled_from(GTINS))),
        rating_tenths=draw(st.one_of(st.none(), st.integers(0, 50))),
        stock=draw(st.one_of(st.none(), st.integers(0, 20))),
        stock_full=10,
    )


@st.composite
def labels(draw: st.DrawFn) -> LabelFields:
    exponent = draw(st.sampled_from([2, 2, 2, 0, 3]))
    return LabelFields(
        template="test",
        panel="oepl-01",
        label_id="0000060504030201",
        locale=draw(st.sampled_from(LOCALE_NAMES)),
        currency=draw(st.sampled_from(["EUR", "GBP", "BGN", "KWD"])),
        currency_exponent=exponent,
        items=tuple(draw(st.lists(items(), min_size=1, max_size=2))),
    )


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    """Any rotation, palette and parity of sides, also rows that are whole words."""
    base = panel(draw(st.sampled_from(["oepl-21", "oepl-01", "oepl-4C"])))
    width, height = draw(st.sampled_from([(296, 128), (250, 122), (203, 77), (64, 64), (97, 131), (128, 192)]))
    return replace(base, width=width, height=height, rotate_buffer=draw(st.integers(0, 3)))


@st.composite
def layouts(draw: st.DrawFn, kind: Panel, count_max: int = 4) -> Template:
    """A few elements of the kinds that kernels place, over and beside each other."""
    elements: list[Element] = []
    for _ in range(draw(st.integers(1, count_max))):
        x, y = draw(st.integers(0, kind.width - 40)), draw(st.integers(0, kind.height - 20))
        box = Box(x, y, draw(st.integers(30, kind.width - x)), draw(st.integers(10, kind.height - 1 - y)))
        conditions = draw(st.sampled_from([(), ("reduced",), ("not_reduced",), ("gtin", "not_unit_price")]))
        placed = Placed(box, conditions, draw(st.integers(0, 1)))
        smallest = draw(st.integers(8, 10))
        style = Style(
            font=draw(st.sampled_from(["regular", "bold"])),
            size_max=smallest + draw(st.sampled_from([0, 1, 4, 14])),
            size_min=smallest,
            ink=draw(st.sampled_from(["black", "white", "accent", "yellow"])),
            align=draw(st.sampled_from(list(Align))),
            vertical=draw(st.sampled_from(list(Vertical))),
        )
        field = draw(st.sampled_from(["name", "brand", "unit_price"]))
        choices: list[Element] = [
            Text(placed, style, Content((field,)), draw(st.integers(1, 3))),
            Text(placed, style, Content((field, "gtin"), "  · "), draw(st.integers(1, 4))),
            Text(placed, style, Content(phrases=(("en", Phrase((("To ", "name"),))),)), 2),
            Price(placed, style, "price", draw(st.sampled_from(list(Cents)))),
            WasPrice(placed, style, Content(phrases=(("en", Phrase((("was", ""),))),)), "accent"),
            Barcode(placed, "ean", "gtin", draw(st.integers(1, 2)), draw(st.sampled_from([0, 9, 11]))),
            Barcode(placed, "code128", "gtin", 1, 9),
            Matrix(placed, "qr", "digital_link", None, "id.gs1.org", draw(st.sampled_from([0, 1, 2])), "M"),
            Matrix(placed, "datamatrix", "gtin", None, "id.gs1.org", draw(st.sampled_from([0, 1])), "M"),
            Badge(placed, style, Content(("price",)), "accent", 3, 2),
            Badge(placed, style, Content(phrases=(("en", Phrase((("New", ""),))),)), "black", 2, 3),
            Fill(placed, "accent"),
        ]
        elements.append(draw(st.sampled_from(choices)))
    return template_of(kind, *elements)


@settings(deadline=None, max_examples=120)
@given(st.data(), labels(), panels(), st.integers(0, 2**32 - 1))
def test_any_layout_is_drawn_as_the_reference_draws_it(data: st.DataObject, label: LabelFields, kind: Panel, attempt: int) -> None:
    drawn = both(label, data.draw(layouts(kind)), kind, attempt)
    if drawn.drawn is not None:
        assert np.array_equal(drawn.drawn, drawn.pixels)


@settings(deadline=None, max_examples=80)
@given(st.data(), labels(), panels())
def test_marks_are_placed_where_the_reference_places_them(data: st.DataObject, label: LabelFields, kind: Panel) -> None:
    template = data.draw(layouts(kind, 2))
    program = program_of(template, kind, label.locale)
    row = program.row(label)
    marks = None if row is None else kernel_marks(program, row)
    if marks is not None:
        assert marks == list(scene.build(label, native(program, template), kind).marks)


@pytest.mark.parametrize("panel_name", PANEL_NAMES)
@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_shipped_templates_are_drawn_by_the_kernels(name: str, panel_name: str) -> None:
    label = label_samples.typical(name, panel_name)
    drawn = both(label, templates.load(name), panel(panel_name), 77)
    assert drawn.drawn is not None
    assert np.array_equal(drawn.drawn, drawn.pixels)


@pytest.mark.parametrize("name", SHIPPED_NAMES)
def test_extreme_labels_are_drawn_alike(name: str) -> None:
    """Some by the kernels, some by the reference: long texts, two currencies, other scripts, missing fields."""
    for number, extreme in enumerate(label_samples.EXTREMES[SHIPPED_NAMES.index(name) % 2 :: 2]):
        panel_name = PANEL_NAMES[number % len(PANEL_NAMES)]
        drawn = both(label_samples.extreme(extreme, name, panel_name), templates.load(name), panel(panel_name))
        if drawn.drawn is not None:
            assert np.array_equal(drawn.drawn, drawn.pixels)


def test_samples_of_every_language_are_drawn_alike() -> None:
    """Right-to-left ones by the reference; in one batch, whatever their order."""
    common = {"template": "gallery", "panel": "oepl-90", "label_id": "0000060504030201"}
    values = [*SAMPLES.values(), *({**common, **each} for each in GALLERY.values())]
    many = [LabelFields.from_dict(each) for each in values for _ in range(2)]
    drawn = Engine().draw(many, range(len(many)), OWN)
    for label, attempt, planes_ in zip(many, range(len(many)), drawn, strict=True):
        wanted = reference(label, attempt, OWN)
        assert not isinstance(planes_, RenderError) and not isinstance(wanted, RenderError)
        assert np.array_equal(planes_, wanted)


def test_a_batch_draws_each_label_as_if_it_were_alone() -> None:
    label = LabelFields.from_dict(SAMPLES["plain"])
    many = [replace(label, items=(replace(label.items[0], name=name),)) for name in ("A", "", "Ж" * 60, "緑茶", "Bio - " * 20, "𝔘", "x")]
    batch = api.render_many(many, range(len(many)), ("raw2", "raw1"))
    for each, attempt, rendered in zip(many, range(len(many)), batch, strict=True):
        if isinstance(rendered, RenderError):
            with pytest.raises(type(rendered)) as caught:
                api.render(each, attempt, ("raw2", "raw1"))
            assert str(caught.value) == str(rendered)
        else:
            assert rendered == api.render(each, attempt, ("raw2", "raw1"))
    assert [isinstance(each, RenderError) for each in batch] == [False, True, False, True, False, True, False]


@pytest.mark.parametrize(
    "values",
    [
        {"name": ""},
        {"name": "緑茶"},
        {"name": "x\u0332y"},
        {"price_minor": 10**9, "was_price_minor": None},
        {"gtin": "10012345678902"},
        {"price_minor": None, "was_price_minor": None},
    ],
)
def test_a_complaint_is_the_reference_s_own(values: dict[str, object]) -> None:
    sample = SAMPLES["plain"]
    items = [{**sample["items"][0], **values}]
    label = LabelFields.from_dict({**sample, "items": items, "currency": "KWD", "currency_exponent": 0, "locale": "en-US"})
    complaint, wanted = Engine().draw([label], [0], OWN)[0], reference(label, 0, OWN)
    assert isinstance(complaint, RenderError) and isinstance(wanted, RenderError)
    assert (type(complaint), str(complaint)) == (type(wanted), str(wanted))


def test_unknown_templates_and_panels_stop_no_other_label() -> None:
    label = LabelFields.from_dict(SAMPLES["plain"])
    many = [replace(label, template="nothing"), label, replace(label, panel="oepl-XX"), replace(label, page=3)]
    drawn = api.render_many(many, [1] * 4, ("raw2", "raw1"))
    assert [isinstance(each, RenderError) for each in drawn] == [True, False, True, True]


def test_a_codec_that_cannot_carry_the_picture_is_the_answer_of_its_label() -> None:
    (answer,) = api.render_many([LabelFields.from_dict(SAMPLES["reduced"])], [1], ("raw1",))
    assert isinstance(answer, RenderError)


def test_both_ways_name_a_picture_alike() -> None:
    label = LabelFields.from_dict(SAMPLES["reduced"])
    wanted = reference(label, 5, SHIPPED)
    assert not isinstance(wanted, RenderError)
    kind = panel(label.panel)
    indices = planes.unpack(kind, wanted)
    assert api.picture_hash(kind, wanted) == api.picture_hash(kind, indices) == api.render(label, 5, ("raw2",)).picture_hash


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(PANELS)), st.integers(0, 2**32 - 1))
def test_the_attempt_number_is_on_every_panel(name: str, attempt: int) -> None:
    kind = panel(name)
    template = template_of(kind, Fill(Placed(Box(0, 0, 8, 8), (), 0), "accent"))
    try:
        program = program_of(template, kind, "en-GB")
    except Uncompilable:
        assert kind.width < 32
        return
    drawn = program.draw([Row((), 0, 0)], [attempt]) if program.row(LabelFields(template="t", panel=name, label_id="1")) else None
    assert drawn is not None
    assert planes.read_attempt(planes.unpack(kind, np.ascontiguousarray(drawn.planes[0])), kind.black) == attempt


def test_sprites_and_backgrounds_are_forgotten_when_they_are_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("render.fast.stills.SPRITES_MAX", 3)
    kind = panel("oepl-01")
    style = Style("regular", 12, 12, "white", Align.LEFT, Vertical.TOP)
    template = template_of(kind, Badge(Placed(Box(5, 5, 200, 20), (), 0), style, Content(("name",)), "black", 2, 2))
    program = program_of(template, kind, "en-GB")
    for number in range(12):
        label = LabelFields(template="t", panel="oepl-01", label_id="1", items=(ItemFields(name=f"Nr {number % 7}"),))
        program.trim()
        row = program.row(label)
        assert row is not None
        wanted = both(label, template, kind).pixels
        assert np.array_equal(program.draw([row], [0]).planes[0], wanted)
    assert len(program._stills.sprites) <= 4


def test_a_layout_with_too_many_conditions_is_left_to_the_reference() -> None:
    kind = panel("oepl-01")
    conditions = [f"attribute:{number}" for number in range(CONDITIONS_MAX + 1)]
    elements = tuple(Fill(Placed(Box(0, 0, 5, 5), (condition,), 0), "black") for condition in conditions)
    locale = LOCALES["en-GB"]
    with pytest.raises(Uncompilable):
        plan(Layout(296, 128, 0, template_of(kind).layouts[0].inks, elements), kind, locale, ATLASES[kind.rotate_buffer])


def test_gtins_of_this_file_are_what_they_should_be() -> None:
    assert [linear.verified(gtin) for gtin in GTINS] == list(GTINS)
