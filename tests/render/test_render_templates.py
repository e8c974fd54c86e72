from __future__ import annotations

import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render import template_lines, templates, texts
from render.errors import BadTemplate, UnknownTemplate
from render.fields import TEMPLATE_FOLDER, TemplateSource
from render.panels import Box, attempt_strip, panel
from render.template_elements import (
    ICONS,
    INKS,
    Barcode,
    Content,
    Frame,
    Icon,
    Inks,
    Matrix,
    Phrase,
    Price,
    Rule,
    Stars,
    Stock,
    Template,
    Text,
)

HEAD = "version = 1\n[[layout]]\nwidth = 296\nheight = 128\n"
PLACE = "x = 0\ny = 0\nwidth = 100\nheight = 30\n"
TEXT = f'[[layout.element]]\nkind = "text"\nfield = "name"\n{PLACE}size = 20\n'
FILL = '[[layout.element]]\nkind = "fill"\nx = 0\ny = 0\nwidth = 10\nheight = 10\n'


def parse(content: str, folder: Path = TEMPLATE_FOLDER) -> Template:
    return templates.parse("mine", content.encode(), TemplateSource((folder,)))


def element(kind: str, more: str = "") -> object:
    return parse(HEAD + f'[[layout.element]]\nkind = "{kind}"\n{PLACE}{more}').layouts[0].elements[0]


def test_the_smallest_template_parses() -> None:
    template = parse(HEAD + TEXT)
    assert template.layout(panel("oepl-01")).elements[0].placed.box.width == 100


def test_every_element_has_its_defaults() -> None:
    text = element("text", 'field = ["name", "attribute:organic"]\nsize = 20\n')
    assert isinstance(text, Text)
    assert (text.content.fields, text.content.separator, text.lines_max, text.placed.item) == (("name", "attribute:organic"), " ", 1, 0)
    price = element("price", "size = 30\n")
    assert isinstance(price, Price)
    assert (price.field, price.cents, price.style.size_min) == ("price", "raised", 30)
    barcode = element("barcode")
    assert isinstance(barcode, Barcode)
    assert (barcode.symbology, barcode.field, barcode.module_px, barcode.digit_size) == ("ean", "gtin", 1, 0)
    matrix = element("matrix")
    assert isinstance(matrix, Matrix)
    assert (matrix.symbology, matrix.field, matrix.domain, matrix.level) == ("qr", "digital_link", "id.gs1.org", "M")
    url = element("matrix", 'symbology = "datamatrix"\nurl = "https://a.example/{sku}"\n')
    assert isinstance(url, Matrix)
    assert (url.field, url.url) == ("", Phrase((("https://a.example/", "sku"),)))
    assert isinstance(element("icon", 'name = "organic"\n'), Icon)
    rule = element("rule")
    assert isinstance(rule, Rule)
    assert (rule.pattern, rule.ink) == ("solid", "black")
    frame = element("box")
    assert isinstance(frame, Frame)
    assert (frame.ink, frame.thickness, frame.radius, frame.fill) == ("black", 1, 0, "")
    stock = element("stock")
    assert isinstance(stock, Stock)
    assert (stock.ink, stock.low_ink, stock.thickness) == ("black", "accent", 1)


def test_a_row_of_stars_needs_a_box_five_times_as_wide_as_high() -> None:
    stars = parse(HEAD + '[[layout.element]]\nkind = "stars"\nx = 0\ny = 0\nwidth = 60\nheight = 12\n').layouts[0].elements[0]
    assert isinstance(stars, Stars)
    with pytest.raises(BadTemplate, match="5 stars"):
        parse(HEAD + '[[layout.element]]\nkind = "stars"\nx = 0\ny = 0\nwidth = 59\nheight = 12\n')


@pytest.mark.parametrize(
    ("content", "line", "place", "problem"),
    [
        ("version = 1", 0, "layout", "missing"),
        (HEAD + "nonsense\n", 5, "", "not TOML"),
        ("\xff", 1, "", "not TOML"),
        ("version = 1\n# \xff", 2, "", "not TOML"),
        ("version = 2\n", 1, "version", "1 to 1"),
        ("colour = 1\n" + HEAD + TEXT, 1, "colour", "unknown key"),
        ('needs = ["rating_count"]\n' + HEAD + TEXT, 1, "needs", "expected different ones of name"),
        (HEAD, 2, "layout 1, element", "missing"),
        (HEAD + "page = 8\n" + FILL, 5, "layout 1, page", "0 to 7"),
        (HEAD + 'palette = "bwr"\n' + FILL, 5, "layout 1, palette", "any, color, mono"),
        (HEAD + "[[layout.element]]\nx = 1", 5, "layout 1, element 1, kind", "missing"),
        (HEAD + '[[layout.element]]\nkind = "script"', 6, "layout 1, element 1, kind", "'script', expected one of text, badge"),
        (HEAD + TEXT + "bold = true\n", 13, "layout 1, element 1 (text), bold", "unknown key"),
        (HEAD + TEXT.replace('"name"', '"margin"'), 7, "layout 1, element 1 (text), field", "'margin'"),
        (HEAD + TEXT.replace("size = 20", "size = 7"), 12, "layout 1, element 1 (text), size", "8 to 200"),
        (HEAD + TEXT.replace("size = 20", "size = 20.5"), 12, "layout 1, element 1 (text), size", "whole number"),
        (HEAD + TEXT.replace("size = 20", "size = true"), 12, "layout 1, element 1 (text), size", "whole number"),
        (HEAD + TEXT + "lines = 2\n", 5, "layout 1, element 1 (text), size_min", "do not fit into a box of 30"),
        (HEAD + TEXT.replace("x = 0", "x = 200"), 8, "layout 1, element 1 (text), x, y, width, height", "ends at 300, 30"),
        (HEAD + TEXT.replace("x = 0", "x = -1"), 8, "layout 1, element 1 (text), x", "0 to 295"),
        (HEAD + TEXT + "item = 8\n", 13, "layout 1, element 1 (text), item", "0 to 7"),
        (HEAD + TEXT + 'when = "price > 5"\n', 13, "layout 1, element 1 (text), when", "different ones of label_id"),
        (HEAD + TEXT + 'when = ["gtin", "gtin"]\n', 13, "layout 1, element 1 (text), when", "different"),
        (HEAD + TEXT + 'when = "attribute:a b"\n', 13, "layout 1, element 1 (text), when", "attribute:<key>"),
        (HEAD + TEXT + 'ink = "blue"\n', 13, "layout 1, element 1 (text), ink", "white, black, accent, red, yellow"),
        (HEAD + TEXT + 'text = "a"\n', 13, "layout 1, element 1 (text), text", "exclude each other"),
        (HEAD + TEXT.replace('field = "name"', 'text = { de = "x" }'), 7, "layout 1, element 1 (text), text", "at least en"),
        (HEAD + TEXT.replace('field = "name"', 'text = { en = "x", de = 5 }'), 7, "layout 1, element 1 (text), text, de", "a text of"),
        (HEAD + TEXT.replace('field = "name"', 'text = "a\\nb"'), 7, "layout 1, element 1 (text), text", "printable"),
        (HEAD + TEXT.replace('field = "name"', 'text = "for {price"'), 7, "layout 1, element 1 (text), text", "a field in braces"),
        (HEAD + TEXT.replace('field = "name"', 'text = "for {prize}"'), 7, "layout 1, element 1 (text), text", "a field in braces"),
        (HEAD + TEXT.replace('field = "name"', 'text = "for price}"'), 7, "layout 1, element 1 (text), text", "a field in braces"),
        (HEAD + TEXT.replace('field = "name"', 'text = "{name.__class__}"'), 7, "layout 1, element 1 (text), text", "a field in braces"),
        (HEAD + TEXT.replace('field = "name"', 'text = "{name!r:>99999}"'), 7, "layout 1, element 1 (text), text", "a field in braces"),
        (HEAD + FILL + HEAD.removeprefix("version = 1\n") + FILL, 11, "layout 2", "two layouts of the same size"),
        (HEAD + FILL.replace("fill", "image") + 'file = "../mark.png"\n', 11, "layout 1, element 1 (image), file", "beside the template"),
        (HEAD + FILL.replace("fill", "image") + 'file = "none.png"\n', 11, "layout 1, element 1 (image), file", "cannot be read"),
        (HEAD + FILL.replace("fill", "image") + 'file = "mark.png"\n', 11, "layout 1, element 1 (image), file", "is 34x34"),
        (HEAD + FILL.replace("fill", "icon") + 'name = "unicorn"\n', 11, "layout 1, element 1 (icon), name", "one of organic"),
        (HEAD + FILL.replace("fill", "barcode") + 'field = "sku"\n', 11, "layout 1, element 1 (barcode), field", "ean draws the gtin"),
        (HEAD + FILL.replace("fill", "matrix") + 'domain = "A"\n', 11, "layout 1, element 1 (matrix), domain", "host name"),
        (HEAD + FILL.replace("fill", "matrix") + 'url = "a"\nfield = "sku"\n', 11, "layout 1, element 1 (matrix), url", "exclude"),
        (HEAD + FILL.replace("fill", "box") + "thickness = 0\n", 11, "layout 1, element 1 (box), thickness", "neither outline nor fill"),
        (HEAD + FILL.replace("fill", "box") + "thickness = 6\n", 11, "layout 1, element 1 (box), thickness", "more than the box has"),
        (HEAD + FILL.replace("fill", "stock") + "thickness = 5\n", 11, "layout 1, element 1 (stock), thickness", "leaves nothing"),
    ],
)
def test_a_wrong_template_is_refused_with_file_line_place_and_reason(content: str, line: int, place: str, problem: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        templates.parse("mine", content.encode("latin-1" if "\xff" in content else "utf-8"))
    assert (caught.value.file, caught.value.line, caught.value.place) == ("mine.toml", line, place)
    assert problem in caught.value.problem
    assert str(caught.value).startswith(f"mine.toml:{line}: " if line else "mine.toml: ")


PHRASES = [
    ("plain", (("plain", ""),)),
    ("", (("", ""),)),
    ("{price}", (("", "price"),)),
    ("for {price} only", (("for ", "price"), (" only", ""))),
    ("{multi_buy_quantity}x{price}", (("", "multi_buy_quantity"), ("x", "price"))),
    ("{{{price}}}", (("{", "price"), ("}", ""))),
    ("{{price}}", (("{price}", ""),)),
    ("{attribute:fat.g}", (("", "attribute:fat.g"),)),
]


@pytest.mark.parametrize(("text", "parts"), PHRASES)
def test_a_placeholder_is_a_field_in_braces_and_two_braces_are_one(text: str, parts: tuple[tuple[str, str], ...]) -> None:
    found = element("text", f'text = "{text}"\nsize = 20\n')
    assert isinstance(found, Text)
    assert found.content.phrase("xx") == Phrase(parts)


def test_a_text_is_taken_by_language_and_english_stands_for_the_missing() -> None:
    content = Content(phrases=(("de", Phrase((("eins", ""),))), ("en", Phrase((("one", ""),)))))
    assert [content.phrase(language) for language in ("de", "en", "fr")] == [Phrase(((word, ""),)) for word in ("eins", "one", "one")]


@pytest.mark.parametrize(("x", "y", "refused"), [(264, 127, True), (255, 118, True), (254, 118, False), (286, 117, False)])
def test_the_attempt_pixels_belong_to_nobody(x: int, y: int, refused: bool) -> None:
    fill = FILL.replace("x = 0", f"x = {x}").replace("y = 0", f"y = {y}")
    if y == 127:
        fill = fill.replace("height = 10", "height = 1")
    if refused:
        with pytest.raises(BadTemplate, match="attempt number"):
            parse(HEAD + fill)
    else:
        parse(HEAD + fill)


def sized(*sizes: tuple[int, int, int, str]) -> Template:
    heads = (
        f'[[layout]]\nwidth = {width}\nheight = {height}\npage = {page}\npalette = "{inks}"\n{FILL}' for width, height, page, inks in sizes
    )
    return parse("version = 1\n" + "".join(heads))


def test_a_panel_takes_the_layout_of_its_size_else_the_largest_that_it_can_hold() -> None:
    template = sized((250, 122, 0, "any"), (296, 128, 0, "any"), (400, 300, 0, "any"))
    small, medium, large = template.layouts
    assert template.layout(panel("oepl-01")) is medium
    assert template.layout(panel("oepl-54")) is small  # 256x128
    assert template.layout(panel("oepl-36")) is large  # 800x480
    assert medium.offset_on(panel("oepl-01")) == (0, 0)
    assert large.offset_on(panel("oepl-36")) == (400, 180)


@given(st.integers(32, 400), st.integers(32, 300))
def test_a_smaller_layout_keeps_off_the_attempt_pixels_of_a_larger_panel(width: int, height: int) -> None:
    layout = sized((width, height, 0, "any")).layouts[0]
    big = panel("oepl-02")
    dx, dy = layout.offset_on(big)
    strip = attempt_strip(width, height)
    assert attempt_strip(big.width, big.height) == Box(strip.x + dx, strip.y + dy, strip.width, strip.height)
    assert Box(dx, dy, width, height).inside(big.area)


def test_a_layout_lies_in_what_can_be_seen_of_a_panel() -> None:
    """Some controllers have more rows than the glass shows."""
    template = sized((250, 122, 0, "any"), (256, 128, 0, "any"))
    small, whole = template.layouts
    kind = replace(panel("oepl-01"), width=256, height=128, glass=Box(0, 4, 250, 122))
    assert template.layout(kind) is small
    assert small.offset_on(kind) == (0, 4)
    less = replace(kind, glass=Box(0, 4, 250, 116))
    assert template.layout(less) is whole  # it was drawn for the whole picture
    assert whole.offset_on(less) == (0, 0)
    with pytest.raises(UnknownTemplate, match=r"\(250x116\); it has 250x122"):
        sized((250, 122, 0, "any")).layout(less)  # a part of it would be hidden


def test_a_layout_for_the_panel_s_inks_comes_before_one_for_any() -> None:
    template = sized((296, 128, 0, "any"), (296, 128, 0, "mono"))
    assert template.layout(panel("oepl-01")).inks is Inks.ANY
    assert template.layout(panel("oepl-21")).inks is Inks.MONO


def test_each_page_has_its_own_layouts() -> None:
    template = sized((296, 128, 0, "any"), (296, 128, 1, "any"))
    assert template.layout(panel("oepl-01"), 1).page == 1
    with pytest.raises(UnknownTemplate, match=r"no layout for page 2 for oepl-01 \(296x128\); it has no such page"):
        template.layout(panel("oepl-01"), 2)


def test_a_panel_smaller_than_every_layout_is_named() -> None:
    with pytest.raises(UnknownTemplate, match=r"no layout for oepl-00 \(152x152\); it has 296x128"):
        sized((296, 128, 0, "any")).layout(panel("oepl-00"))


def test_every_shipped_template_loads_and_keeps_off_the_attempt_pixels() -> None:
    names = sorted(path.stem for path in TEMPLATE_FOLDER.glob("*.toml"))
    assert {"see_staff", "shelf", "unassigned"} <= set(names)
    for name in names:
        for layout in templates.load(name).layouts:
            strip = attempt_strip(layout.width, layout.height)
            assert not any(element.placed.box.overlaps(strip) for element in layout.elements)


# -- lines -------------------------------------------------------------------------------------------------------------------

SHELF = (Path(__file__).parent / "templates" / "shelf.toml").read_text()
KEY_LINES = [number for number, line in enumerate(SHELF.split("\n"), 1) if " = " in line and not line.startswith("#")]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(KEY_LINES))
def test_a_wrong_value_is_reported_on_its_own_line(number: int) -> None:
    lines = SHELF.split("\n")
    key = lines[number - 1].partition(" = ")[0]
    lines[number - 1] = f"{key} = [[5]]"
    with pytest.raises(BadTemplate) as caught:
        templates.parse("shelf", "\n".join(lines).encode())
    assert (caught.value.line, caught.value.place.rpartition(", ")[2]) == (number, key)


@settings(deadline=None, max_examples=40)
@given(st.sampled_from(KEY_LINES))
def test_an_unknown_key_is_reported_on_its_own_line(number: int) -> None:
    lines = SHELF.split("\n")
    lines.insert(number, "surprise = 1")
    with pytest.raises(BadTemplate, match="surprise: unknown key") as caught:
        templates.parse("shelf", "\n".join(lines).encode())
    assert caught.value.line == number + 1


ODD = '''
# [[layout]] in a comment
version = 1 # = 2
a."b.c" = """
[[layout]]
x = 1 \\""" still inside """
[[layout]] # first
width = [ 1, # x = 5
  "]", # ]
  2 ]
'it''s' = 1
[layout.size.deep]
x = \'\'\'
[[layout]]
\'\'\'
[[layout]]
"k" = "\\"[["
text = { en = "a]", de = '"' }
[[ layout . element ]]
kind=1
[[layout.element]]
kind=2
'''.replace("'it''s'", "'it s'")


def test_lines_are_found_through_strings_comments_and_lists() -> None:
    tomllib.loads(ODD)
    lines = template_lines.scan(ODD)
    for path, line in [
        (("version",), 3),
        (("a", "b.c"), 4),
        (("layout", 0), 7),
        (("layout", 0, "width"), 8),
        (("layout", 0, "width", 1), 8),
        (("layout", 0, "it s"), 11),
        (("layout", 0, "size", "deep"), 12),
        (("layout", 0, "size", "deep", "x"), 13),
        (("layout", 1), 16),
        (("layout", 1, "k"), 17),
        (("layout", 1, "text", "de"), 18),
        (("layout", 1, "element", 0), 19),
        (("layout", 1, "element", 0, "kind"), 20),
        (("layout", 1, "element", 1, "kind"), 22),
        (("nowhere",), 0),
    ]:
        assert lines.line(path) == line, path


@given(st.text("ab=.[]{}\"'\\\n# ", max_size=80))
def test_the_scan_takes_any_text(content: str) -> None:
    last = content.count("\n") + 1
    try:
        found = list(template_lines.scan(content).by_path.values())
    except template_lines.TooDeep as refused:
        found = [refused.line]
    assert all(1 <= line <= last for line in found)


# -- the page for authors ----------------------------------------------------------------------------------------------------


def test_the_page_for_authors_has_a_right_example_and_every_name(project_root: Path) -> None:
    page = (project_root / "docs" / "reference" / "templates.md").read_text()
    example = page.partition("```toml\n")[2].partition("```")[0]
    assert len(parse(example).layouts[0].elements) == 5
    named = set(re.findall(r"`([a-z_0-9]+)`", page))
    kinds = {*templates._KINDS, "image"}
    for names in (texts.FIELDS, texts.CONDITIONS, templates.NEEDS, kinds, ICONS, templates.BARCODES, templates.MATRICES, INKS):
        assert set(names) <= named, set(names) - named
