"""Hostile templates: each limit at its value and above, and files changed at random."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from render import raster, scene, template_images, template_lines, template_table, templates
from render.errors import BadTemplate, DoesNotFit, FieldError, RenderError
from render.fields import SHIPPED, TEMPLATE_FILE_BYTES_MAX, TEMPLATE_FOLDER, LabelFields, TemplateSource
from render.panels import panel
from render.template_elements import Template

SAMPLES: dict[str, Any] = json.loads((Path(__file__).parent / "samples.json").read_text())
HEAD = "version = 1\n[[layout]]\nwidth = 296\nheight = 128\n"
FILL = '[[layout.element]]\nkind = "fill"\nx = 0\ny = 0\nwidth = 10\nheight = 10\n'
TEXT = '[[layout.element]]\nkind = "text"\nx = 0\ny = 0\nwidth = 200\nheight = 100\nsize = 20\n'


def parse(content: str, source: TemplateSource = SHIPPED) -> Template:
    return templates.parse("mine", content.encode(), source)


def letters(count: int) -> list[str]:
    alphabet = "abcdefghijklmnopqrstuvwxyz"
    return ["en", *(one + other for one in alphabet for other in alphabet if one + other != "en")][:count]


def layouts(count: int) -> str:
    return "version = 1\n" + "".join(f"[[layout]]\nwidth = {32 + number}\nheight = 32\n{FILL}" for number in range(count))


def words(count: int, of: list[str]) -> str:
    return json.dumps(of[:count])


FIELDS = ["name", "brand", "origin", "sku", "gtin", "price", "stock", "rating", "saving"]

# what a template has, its limit, how a template with so many of it is written
LIMITS: dict[str, tuple[int, Callable[[int], str]]] = {
    "bytes": (TEMPLATE_FILE_BYTES_MAX, lambda count: (HEAD + FILL + "#").ljust(count, "#")),
    "layouts": (templates.LAYOUTS_MAX, layouts),
    "elements": (templates.ELEMENTS_MAX, lambda count: HEAD + FILL * count),
    "pages": (7, lambda count: HEAD + f"page = {count}\n" + FILL),
    "items": (7, lambda count: HEAD + FILL + f"item = {count}\n"),
    "panel side": (templates.PANEL_SIDE_MAX_PX, lambda count: HEAD.replace("296", str(count)) + FILL),
    "font size": (templates.FONT_SIZE_MAX_PX, lambda count: HEAD + TEXT.replace("20\n", f"{count}\n") + 'field = "name"\nsize_min = 8\n'),
    "lines": (templates.TEXT_LINES_MAX, lambda count: HEAD + TEXT + f'field = "name"\nlines = {count}\n'),
    "text length": (template_table.TEXT_LENGTH_MAX, lambda count: HEAD + TEXT + f'text = "{"x" * count}"\n'),
    "placeholders": (template_table.PLACEHOLDERS_MAX, lambda count: HEAD + TEXT + f'text = "{"{name}" * count}"\n'),
    "languages": (
        template_table.LANGUAGES_MAX,
        lambda count: HEAD + TEXT + "text = { " + ", ".join(f'{language} = "x"' for language in letters(count)) + " }\n",
    ),
    "fields": (template_table.FIELDS_MAX, lambda count: HEAD + TEXT + f"field = {words(count, FIELDS)}\n"),
    "conditions": (template_table.CONDITIONS_MAX, lambda count: HEAD + FILL + f"when = {words(count, FIELDS)}\n"),
    "attribute key": (64, lambda count: HEAD + TEXT + f'field = "attribute:{"k" * count}"\n'),
    "module size": (templates.MODULE_PX_MAX, lambda count: HEAD + FILL.replace("fill", "barcode") + f"module_px = {count}\n"),
}


@pytest.mark.parametrize("name", LIMITS)
def test_a_template_at_its_limit_is_taken_and_above_it_refused(name: str) -> None:
    limit, written = LIMITS[name]
    parse(written(limit))
    with pytest.raises(BadTemplate):
        parse(written(limit + 1))


@pytest.mark.parametrize("opening, closing", [("[", "]"), ("{ a = ", "}")])
def test_nesting_is_refused_by_its_line_before_anything_reads_it(opening: str, closing: str) -> None:
    deep = template_lines.DEPTH_MAX
    with pytest.raises(BadTemplate, match=r"needs: (\[.*\]|a list of 1|a table), expected"):
        parse(f"version = 1\nneeds = {opening * deep}1{closing * deep}\n")
    with pytest.raises(BadTemplate, match=f"mine.toml:2: more than {deep} brackets"):
        parse(f"version = 1\nneeds = {opening * (deep + 1)}1{closing * (deep + 1)}\n")
    with pytest.raises(BadTemplate, match=f"mine.toml:2: more than {deep} brackets"):
        parse(f"version = 1\nneeds = {opening * 10_000}\n")


def test_dotted_names_are_refused_by_their_line_before_anything_reads_them() -> None:
    dots = template_lines.DOTS_LINE_MAX
    with pytest.raises(BadTemplate, match="unknown key"):
        parse("version = 1\na" + ".a" * dots + " = 1\n[[layout]]\nwidth = 32\nheight = 32\n" + FILL)
    for many in ("a" + ".a" * (dots + 1) + " = 1\n", "[a" + ".a" * (dots + 1) + "]\n", "x = { a" + ".a" * 30_000 + " = 1 }\n"):
        with pytest.raises(BadTemplate, match=r"mine\.toml:2: "):
            parse("version = 1\n" + many)


@pytest.mark.parametrize(
    "value",
    [
        "9" * 5_000,
        "0x" + "f" * 50_000,
        "1e999999999",
        "2026-99-99",
        "nan",
        "-inf",
        "1979-05-27T07:32:00Z",
        "[" + "1," * 20_000 + "]",
        '"' + "x" * 60_000 + '"',
    ],
)
def test_odd_values_are_refused_in_few_words(value: str) -> None:
    with pytest.raises(BadTemplate) as caught:
        parse(f"version = {value}\n")
    assert caught.value.line == 1
    assert len(str(caught.value)) < 400


def test_a_code_that_holds_more_than_its_symbol_can_is_refused() -> None:
    url = "https://a.example/{attribute:a}{attribute:b}{attribute:c}"
    matrix = f'[[layout.element]]\nkind = "matrix"\nurl = "{url}"\nlevel = "H"\nx = 0\ny = 0\nwidth = 120\nheight = 120\n'
    item = {**SAMPLES["plain"]["items"][0], "attributes": {"a": "x" * 10, "b": "x", "c": "x"}}
    label = LabelFields.from_dict({**SAMPLES["plain"], "items": [item]})
    template = parse(HEAD + matrix)
    assert len(scene.build(label, template, panel("oepl-01")).marks) == 1
    long = replace(label, items=(replace(label.items[0], attributes={"a": "x" * 250, "b": "x", "c": "x"}),))
    with pytest.raises(FieldError, match="version 10-H"):
        scene.build(long, template, panel("oepl-01"))
    narrow = parse(HEAD + matrix.replace("width = 120", "width = 30"))
    with pytest.raises(DoesNotFit, match=r"a qr code of .* px does not fit into 30x120"):
        scene.build(label, narrow, panel("oepl-01"))


def test_a_scene_of_more_marks_than_a_picture_needs_is_refused() -> None:
    line = '[[layout.element]]\nkind = "text"\nfield = "name"\nx = 0\ny = 0\nwidth = 2000\nheight = 20\nsize = 8\n'
    head = HEAD.replace("296", "2048")
    big = replace(panel("oepl-01"), name="big", width=2048)
    item = {**SAMPLES["plain"]["items"][0], "name": "aא" * 63}
    label = LabelFields.from_dict({**SAMPLES["plain"], "items": [item]})
    assert len(scene.build(label, parse(head + line * 8), big).marks) <= scene.MARKS_MAX
    with pytest.raises(DoesNotFit, match=f"marks, at most {scene.MARKS_MAX}"):
        scene.build(label, parse(head + line * 9), big)


# -- pictures ----------------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.new("L", (width, height), 128).save(out, "PNG")
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_chunk(picture: bytes, kind: bytes, data: bytes) -> bytes:
    """The picture with one chunk more behind its header."""
    return picture[:33] + chunk(kind, data) + picture[33:]


def read(folder: Path, content: bytes, width: int = 10, height: int = 10) -> bytes:
    (folder / "a.png").write_bytes(content)
    return template_images.read("a.png", (folder,), width, height)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"GIF89a" + bytes(100), "not a PNG"),
        (b"\x89PNG\r\n\x1a\n", "not a whole PNG"),
        (png(10, 10)[:-1], "not a whole PNG|a damaged PNG"),
        (png(10, 10)[:-20], "a damaged PNG"),
        (png(10, 10)[:40], "not a whole PNG"),
        (png(10, 11), "is 10x11, its box is 10x10"),
        (png(10, 10)[:60] + b"\0\0\0\0" + png(10, 10)[64:], "a damaged PNG"),
        (png(10, 10)[:33] + chunk(b"IDAT", b"junk") + chunk(b"IEND", b""), "a damaged PNG"),
        (png(10, 10)[:33] + chunk(b"IEND", b""), "a damaged PNG"),
        (png(10, 10)[:24] + b"\x10\x03" + png(10, 10)[26:], "a damaged PNG"),
    ],
)
def test_what_is_no_whole_picture_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    with pytest.raises(template_images.BadImage, match=problem):
        read(tmp_path, content)


def test_a_picture_has_a_limit_of_bytes_pixels_and_parts(tmp_path: Path) -> None:
    picture = png(10, 10)
    room = template_images.IMAGE_SIZE_BYTES_MAX - len(picture) - 12
    assert read(tmp_path, with_chunk(picture, b"tEXt", bytes(room))) == picture
    with pytest.raises(template_images.BadImage, match="more than 262144 bytes"):
        read(tmp_path, with_chunk(picture, b"tEXt", bytes(room + 1)))
    read(tmp_path, png(1024, 1024), 1024, 1024)
    with pytest.raises(template_images.BadImage, match="1049600 pixels, at most 1048576"):
        read(tmp_path, png(1025, 1024), 1025, 1024)
    parts = template_images.CHUNKS_MAX - 3
    read(tmp_path, picture[:33] + chunk(b"tEXt", b"") * parts + picture[33:])
    with pytest.raises(template_images.BadImage, match="at most 4096 parts"):
        read(tmp_path, picture[:33] + chunk(b"tEXt", b"") * (parts + 1) + picture[33:])


def test_what_unpacks_to_far_more_than_the_picture_is_left_alone(tmp_path: Path) -> None:
    picture = png(10, 10)
    bomb = zlib.compress(bytes(20_000_000), 9)
    assert read(tmp_path, with_chunk(picture, b"zTXt", b"x\0\0" + bomb)) == picture
    assert read(tmp_path, with_chunk(picture, b"iCCP", b"x\0\0" + bomb)) == picture
    kept = read(tmp_path, picture[:33] + chunk(b"IDAT", bomb) + chunk(b"IEND", b""))
    assert raster.dithered(kept, ((0, (255, 255, 255)), (1, (0, 0, 0)))).shape == (10, 10)


@pytest.mark.parametrize("name", ["../a.png", "a.PNG", "/etc/a.png", "a b.png", "a.png\n", "x" * 61 + ".png", "a.jpg", ".png"])
def test_a_picture_s_name_is_never_a_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(template_images.BadImage, match=r"expected the name of a \.png file"):
        template_images.read(name, (tmp_path,), 10, 10)


def test_a_store_s_own_picture_comes_before_the_shipped_one(tmp_path: Path) -> None:
    own = png(34, 34)
    (tmp_path / "mark.png").write_bytes(own)
    assert template_images.read("mark.png", (tmp_path, TEMPLATE_FOLDER), 34, 34) == own


# -- chance ------------------------------------------------------------------------------------------------------------------

FILES = sorted([*TEMPLATE_FOLDER.glob("*.toml"), *(Path(__file__).parent / "templates").glob("*.toml")])
LABEL = LabelFields.from_dict(SAMPLES["reduced"])


def attempted(content: bytes) -> None:
    """Parse and draw; anything but our own refusal fails the test."""
    try:
        template = templates.parse("mine", content)
    except BadTemplate:
        return
    for layout in template.layouts[:2]:
        kind = replace(panel("oepl-01"), width=layout.width, height=layout.height)
        try:
            raster.draw(scene.build(LABEL, template, kind), kind)
        except RenderError:
            continue


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A shipped file, or one of the tests', with some of its lines and bytes changed, doubled, moved or lost."""
    lines = draw(st.sampled_from(FILES)).read_bytes().split(b"\n")
    for _ in range(draw(st.integers(1, 4))):
        place, other = draw(st.integers(0, len(lines) - 1)), draw(st.integers(0, len(lines) - 1))
        match draw(st.integers(0, 4)):
            case 0:
                lines[place] = lines[other]
            case 1:
                lines.insert(place, lines[other])
            case 2:
                key, equals, _ = lines[place].partition(b" = ")
                lines[place] = key + equals + lines[other].partition(b" = ")[2]
            case 3:
                at = draw(st.integers(0, len(lines[place])))
                lines[place] = lines[place][:at] + draw(st.binary(max_size=6)) + lines[place][at + draw(st.integers(0, 3)) :]
            case _:
                digits = draw(
                    st.sampled_from([b"0", b"1", b"-1", b"127", b"2048", b"99999999999999999999", b"[]", b"{}", b'""', b"true", b"1.5"])
                )
                lines[place] = lines[place].partition(b" = ")[0] + b" = " + digits
    return b"\n".join(lines)


@settings(deadline=None, max_examples=100)
@given(mutated())
def test_a_changed_template_is_drawn_or_refused(content: bytes) -> None:
    attempted(content)


@settings(deadline=None, max_examples=100)
@given(st.binary(max_size=200), st.text("[]{}=\"'.,#\n\\ \tabcxyz0159-layoutelement", max_size=120))
def test_any_bytes_are_a_template_or_refused(content: bytes, text: str) -> None:
    attempted(content)
    attempted(text.encode())
