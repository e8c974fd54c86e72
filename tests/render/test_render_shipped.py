"""The shipped templates, every size and palette: what they draw, whether their codes scan, and five golden labels.

Overlaps, quiet zones and extreme samples are the subject of `shelfd render --check` and its test.
"""

from __future__ import annotations

import hashlib
import io
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import zxingcpp
from PIL import Image

from edge import label_samples
from render import api, raster, scene, templates
from render.codecs import planes, registry
from render.fields import ENCODER_VERSION, TEMPLATE_FOLDER, ItemFields, LabelFields
from render.marks import Run, mark_box
from render.panels import attempt_strip, panel
from render.words import WORDS
from tests.render.make_golden_shipped import ATTEMPT, LABELS, golden

HERE = Path(__file__).parent
TEMPLATES = sorted(path.stem for path in TEMPLATE_FOLDER.glob("*.toml"))
SIZES = ("250x122", "296x128", "400x300", "800x480")
PALETTES = ("bw", "bwr", "bwry")
GOLDEN = json.loads((HERE / "golden" / "shipped.json").read_text())
DRAWN = ENCODER_VERSION  # what these pictures belong to

CODE = "5012345678900"
LINK = f"https://id.gs1.org/01/0{CODE}"
GS1 = f"(01)0{CODE}"
LABEL = label_samples.LABEL_ID
ORDER = label_samples.ATTRIBUTES["order"]
RAIL_CODES = [f"https://id.gs1.org/01/{code.rjust(14, '0')}" for code in (CODE, "96385074", "4006381333931", "036000291452")]

# what a scanner reads on a typical label, by size
CODES: dict[str, tuple[list[str], list[str], list[str], list[str]]] = {
    "shelf": ([LINK], [CODE], [CODE], [CODE, LINK]),
    "reduced": ([GS1], [GS1], [CODE], [CODE]),
    "promotion": ([GS1], [GS1], [CODE], [CODE, LINK]),
    "multi_buy": ([GS1], [GS1], [CODE], [CODE, LINK]),
    "weighed": ([], [], [], []),
    "out_of_stock": ([GS1], [GS1], [CODE], [CODE]),
    "pickup": ([ORDER], [ORDER], [ORDER], [ORDER]),
    "staff": ([GS1, LABEL], [GS1, LABEL], [GS1, LABEL, CODE], [GS1, LABEL, CODE, LABEL]),
    "rail": ([], [], RAIL_CODES[:2], RAIL_CODES),
    "see_staff": ([], [], [], []),
    "unassigned": ([LABEL], [LABEL], [LABEL], [LABEL]),
}


def read(label: LabelFields) -> list[str]:
    """What a scanner finds on the label's pixels, three times enlarged, in grey; all attempt pixels black."""
    with Image.open(io.BytesIO(api.to_png(label, attempt=2**32 - 1, scale=3))) as image:
        return [code.text for code in zxingcpp.read_barcodes(image.convert("L"))]


def test_there_are_eight_templates_and_a_rail_each_in_four_sizes() -> None:
    assert set(TEMPLATES) == set(CODES)
    for name in TEMPLATES:
        sizes = {(f"{layout.width}x{layout.height}", layout.page) for layout in templates.load(name).layouts}
        assert sizes >= {(size, 0) for size in SIZES}, name
    assert {layout.page for layout in templates.load("shelf").layouts} == {0, 1}


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("name", TEMPLATES)
def test_a_typical_label_is_drawn_in_the_panels_inks_and_keeps_off_the_attempt_strip(name: str, palette: str) -> None:
    for size in SIZES:
        kind = panel(f"opendisplay-{size}-{palette}")
        label = label_samples.typical(name, kind.name)
        built = scene.build(label, templates.load(name), kind)
        strip = attempt_strip(kind.width, kind.height)
        assert all(mark_box(mark).inside(kind.area) and not mark_box(mark).overlaps(strip) for mark in built.marks)
        picture = raster.draw(built, kind)
        assert set(np.unique(picture)) <= set(range(len(kind.palette)))
        assert (picture != kind.white).any()
        assert (picture[strip.y :, strip.x :] == kind.white).all()
        stamped = api.picture(label, 77)
        assert planes.read_attempt(stamped, kind.black) == 77


@pytest.mark.parametrize("palette", PALETTES)
@pytest.mark.parametrize("name", sorted(name for name, codes in CODES.items() if any(codes)))
def test_every_code_of_every_template_scans_from_the_pixels(name: str, palette: str) -> None:
    for size, expected in zip(SIZES, CODES[name], strict=True):
        assert sorted(read(label_samples.typical(name, f"opendisplay-{size}-{palette}"))) == sorted(expected), size


@pytest.mark.parametrize("size", SIZES)
def test_the_codes_of_the_staff_page_of_a_shelf_label_scan(size: str) -> None:
    expected = CODES["staff"][SIZES.index(size)]
    assert sorted(read(label_samples.typical("shelf", f"opendisplay-{size}-bwr", page=1))) == sorted(expected)


def test_a_weighed_item_with_a_gtin_has_a_code_where_there_is_room() -> None:
    item = {**label_samples.typical("weighed", "oepl-02").items[0].as_dict(), "gtin": CODE}
    for name in ("oepl-02", "oepl-36"):
        label = label_samples.typical("weighed", name).as_dict()
        assert read(LabelFields.from_dict({**label, "items": [item]})) == [CODE]


def test_a_price_in_the_third_colour_is_a_reduced_one() -> None:
    for size in SIZES:
        name = f"opendisplay-{size}-bwr"
        plain = label_samples.typical("shelf", name)
        cut = {**plain.items[0].as_dict(), "was_price_minor": 299}
        accent = panel(name).accent
        assert accent not in api.picture(plain)
        assert accent in api.picture(LabelFields.from_dict({**plain.as_dict(), "items": [cut]}))


@pytest.mark.parametrize("language", sorted(WORDS))
def test_fixed_words_and_amounts_are_whole_and_large_enough_in_every_language(language: str) -> None:
    """No word of a template is cut, no invisible character is drawn, nothing is smaller than 10 px; amounts as in every shop."""
    attributes = dict(label_samples.ATTRIBUTES)
    item = ItemFields(
        name="Tea", brand="Mo", origin="Peru", sku="4711", price_minor=1299, was_price_minor=1599, multi_buy=(3, 3500),
        offer_ends="2026-11-30", net_content=500, net_unit="g", gtin="4006381333931", deposit_minor=25, stock=14, stock_full=40,
        attributes=attributes,
    )  # fmt: skip
    plain = ItemFields.from_dict({key: value for key, value in item.as_dict().items() if key != "was_price_minor"})
    for name in TEMPLATES:
        for size in SIZES:
            kind = panel(f"opendisplay-{size}-bwr")
            for shown in (item, plain):
                label = LabelFields(
                    template=name, panel=kind.name, label_id=LABEL, locale=language, currency="EUR",
                    items=(shown,) * (label_samples.RAIL_ITEMS if name == "rail" else 1),
                )  # fmt: skip
                runs = [mark for mark in scene.build(label, templates.load(name), kind).marks if isinstance(mark, Run)]
                assert not [run.text for run in runs if "…" in run.text], (name, size)
                assert not [run.text for run in runs if any(unicodedata.category(each) == "Cf" for each in run.text)], (name, size)
                assert min((run.size for run in runs), default=99) >= 10, (name, size)


@pytest.mark.parametrize("name", sorted(GOLDEN["labels"]))
def test_scene_pixels_and_wire_bytes_are_the_golden_ones(name: str) -> None:
    """A wanted change: raise ENCODER_VERSION in render/fields.py, run make_golden_shipped.py, look at the labels."""
    values, codec = LABELS[name]
    assert GOLDEN["encoder_version"] == DRAWN
    assert json.loads(json.dumps(golden(values, codec))) == GOLDEN["labels"][name]


def test_the_wire_bytes_of_the_golden_labels_are_their_pictures() -> None:
    for name, (values, codec) in LABELS.items():
        label = LabelFields.from_dict({**values, "label_id": LABEL})
        kind = panel(label.panel)
        indices = api.picture(label, ATTEMPT)
        shown = registry.decode(codec, kind, registry.encode(codec, kind, indices))
        assert hashlib.sha256(shown.tobytes()).hexdigest() == GOLDEN["labels"][name]["indices"]
