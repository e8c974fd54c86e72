from __future__ import annotations

from pathlib import Path

import pytest

from render import templates
from render.errors import BadTemplate, UnknownTemplate
from render.fields import TEMPLATE_FOLDER
from render.panels import attempt_strip, panel

HEAD = "version = 1\n[[layout]]\nwidth = 296\nheight = 128\n"
TEXT = '[[layout.element]]\nkind = "text"\nfield = "name"\nx = 0\ny = 0\nwidth = 100\nheight = 30\nsize = 20\n'
FILL = '[[layout.element]]\nkind = "fill"\nx = 0\ny = 0\nwidth = 10\nheight = 10\n'


def parse(content: str, folder: Path = TEMPLATE_FOLDER) -> templates.Template:
    return templates.parse("mine", content.encode(), folder)


def test_the_smallest_template_parses() -> None:
    template = parse(HEAD + TEXT)
    assert template.layout(panel("oepl-01")).elements[0].placed.box.width == 100


@pytest.mark.parametrize(
    ("content", "place", "problem"),
    [
        ("version = 1", "layout", "missing"),
        (HEAD + "nonsense\n", "", "line 5"),
        ("\xff", "", "not TOML"),
        ("version = 2\n", "version", "1 to 1"),
        ("colour = 1\n" + HEAD + TEXT, "colour", "unknown key"),
        ('needs = ["rating"]\n' + HEAD + TEXT, "needs", "expected different ones of name"),
        (HEAD, "layout 1, element", "missing"),
        (HEAD + "[[layout.element]]\nx = 1", "layout 1, element 1, kind", "missing"),
        (HEAD + '[[layout.element]]\nkind = "script"', "layout 1, element 1, kind", "'script', expected one of text, badge"),
        (HEAD + TEXT + "bold = true\n", "layout 1, element 1 (text), bold", "unknown key"),
        (HEAD + TEXT.replace('"name"', '"margin"'), "layout 1, element 1 (text), field", "'margin'"),
        (HEAD + TEXT.replace("size = 20", "size = 7"), "layout 1, element 1 (text), size", "8 to 200"),
        (HEAD + TEXT.replace("size = 20", "size = 20.5"), "layout 1, element 1 (text), size", "whole number"),
        (HEAD + TEXT.replace("size = 20", "size = true"), "layout 1, element 1 (text), size", "whole number"),
        (HEAD + TEXT + "lines = 2\n", "layout 1, element 1 (text), size_min", "do not fit into a box of 30"),
        (HEAD + TEXT.replace("x = 0", "x = 200"), "layout 1, element 1 (text), x, y, width, height", "ends at 300, 30"),
        (HEAD + TEXT.replace("x = 0", "x = -1"), "layout 1, element 1 (text), x", "0 to 295"),
        (HEAD + TEXT + 'when = "price > 5"\n', "layout 1, element 1 (text), when", "expected different ones of reduced"),
        (HEAD + TEXT + 'when = ["gtin", "gtin"]\n', "layout 1, element 1 (text), when", "different"),
        (HEAD + TEXT + 'ink = "blue"\n', "layout 1, element 1 (text), ink", "white, black, accent"),
        (HEAD + TEXT.replace('field = "name"', 'text = { de = "x" }'), "layout 1, element 1 (text), text", "at least en"),
        (HEAD + TEXT.replace('field = "name"', f'text = "{"x" * 121}"'), "layout 1, element 1 (text), text", "at most 120"),
        (HEAD + TEXT.replace('field = "name"', 'text = "a\\nb"'), "layout 1, element 1 (text), text", "printable"),
        (HEAD + FILL * 65, "layout 1, element", "65 tables, expected 1 to 64"),
        (HEAD + FILL + HEAD.removeprefix("version = 1\n") + FILL, "layout", "two layouts of the same size"),
        (HEAD + FILL.replace("fill", "image") + 'file = "../mark.png"\n', "layout 1, element 1 (image), file", "beside the template"),
        (HEAD + FILL.replace("fill", "image") + 'file = "none.png"\n', "layout 1, element 1 (image), file", "cannot be read"),
        (HEAD + FILL.replace("fill", "image") + 'file = "mark.png"\n', "layout 1, element 1 (image), file", "is 34x34"),
        ("a = " + "[" * 20_000, "", "not TOML"),
        ("#" * 65_537, "", "at most 65536"),
    ],
)
def test_a_wrong_template_is_refused_with_file_place_and_reason(content: str, place: str, problem: str) -> None:
    raw = content.encode("latin-1") if content == "\xff" else content.encode()
    with pytest.raises(BadTemplate) as caught:
        templates.parse("mine", raw, TEMPLATE_FOLDER)
    assert caught.value.file == "mine.toml"
    assert caught.value.place == place
    assert problem in caught.value.problem
    assert str(caught.value).startswith("mine.toml: ")


@pytest.mark.parametrize(("x", "y", "refused"), [(264, 127, True), (255, 118, True), (254, 118, False), (286, 117, False)])
def test_the_attempt_pixels_belong_to_nobody(x: int, y: int, refused: bool) -> None:
    element = FILL.replace("x = 0", f"x = {x}").replace("y = 0", f"y = {y}")
    if y == 127:
        element = element.replace("height = 10", "height = 1")
    if refused:
        with pytest.raises(BadTemplate, match="attempt number"):
            parse(HEAD + element)
    else:
        parse(HEAD + element)


def test_an_image_that_is_no_picture_is_refused(tmp_path: Path) -> None:
    (tmp_path / "fake.png").write_bytes(b"GIF89a" + bytes(100))
    with pytest.raises(BadTemplate, match="not a PNG"):
        parse(HEAD + FILL.replace("fill", "image") + 'file = "fake.png"\n', tmp_path)


def test_a_panel_without_layout_is_named() -> None:
    with pytest.raises(UnknownTemplate, match=r"no layout for oepl-02 \(400x300\); it has 296x128"):
        templates.load("shelf").layout(panel("oepl-02"))


def test_every_shipped_template_loads_and_keeps_off_the_attempt_pixels() -> None:
    names = sorted(path.stem for path in TEMPLATE_FOLDER.glob("*.toml"))
    assert names == ["see_staff", "shelf", "unassigned"]
    for name in names:
        for layout in templates.load(name).layouts:
            strip = attempt_strip(layout.width, layout.height)
            assert not any(element.placed.box.overlaps(strip) for element in layout.elements)
