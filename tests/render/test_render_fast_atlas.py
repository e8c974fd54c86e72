"""Glyphs: measured as Pillow measures texts, kept from one process to the next, never trusted when the file is another's."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from render import glyphs
from render.errors import RenderError
from render.fast import columns as c
from render.fast.atlas import Atlas
from render.fast.engine import Engine, GlyphWarning
from render.fast.program import Program
from render.fields import SHIPPED, ItemFields, LabelFields
from render.locales import LOCALES
from render.panels import Box, panel
from render.template_elements import Align, Content, Placed, Style, Text, Vertical
from tests.render.fast_marks import ATLASES, both, template_of

STYLE = Style("bold", 13, 13, "black", Align.LEFT, Vertical.TOP)
TEXT = Text(Placed(Box(4, 4, 280, 100), (), 0), STYLE, Content(("name",)), 3)
LABEL = LabelFields(template="t", panel="oepl-01", label_id="1", items=(ItemFields(name="Jjgq fifty Ångström"),))


def loaded(turns: int = 1) -> Atlas:
    atlas = Atlas(turns)
    atlas.load([atlas.strike("bold", 13), atlas.strike("regular", 20)], "Jagq fifty Å")
    return atlas


def same(one: Atlas, other: Atlas) -> bool:
    text = "Jagq fifty Å…0"
    for strike in one.strikes:
        for character in text:
            rows = [
                atlas.metrics[atlas.strike(*strike), atlas.slots[ord(character)]]
                for atlas in (one, other)
                if atlas.slots[ord(character)] != c.UNLOADED
            ]
            if len(rows) != 2 or not np.array_equal(np.delete(rows[0], c.MASK), np.delete(rows[1], c.MASK)):
                return False
            masks = [
                atlas.masks[row[c.MASK] : row[c.MASK] + row[c.MASK_ROWS] * row[c.MASK_WORDS]]
                for atlas, row in zip((one, other), rows, strict=True)
            ]
            if not np.array_equal(masks[0], masks[1]):
                return False
    return True


@settings(deadline=None, max_examples=60)
@given(
    st.text(st.sampled_from("abcijlrgJTfÄÅŮğЖщΩ.,-/ \u00a0…0147"), min_size=1, max_size=12),
    st.sampled_from([10, 11, 14, 18, 27]),
    st.sampled_from(["regular", "bold"]),
)
def test_a_text_s_box_is_that_of_its_glyphs(text: str, size: int, font: str) -> None:
    atlas = ATLASES[0]
    strike = atlas.strike(font, size)
    atlas.load([strike], text)
    pen = 0
    boxes = [(0, 0, 0, 0)]
    for character in text:
        advance, left, top, right, bottom = atlas.metrics[strike, atlas.slots[ord(character)], :5].tolist()
        boxes.append((pen + left, top, pen + right, bottom))
        pen += advance
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    assert pen == glyphs.width(font, size, text)
    assert (min(lefts), min(tops), max(rights), max(bottoms)) == glyphs.ink_box(font, size, text)


@pytest.mark.parametrize("character", ["\u0301", "ש", "ض", "緑", "٣", "."])
def test_what_a_font_does_not_draw_alone_is_marked(character: str) -> None:
    """A point has no pixel at all in 8 px: where it would stand is not known."""
    atlas = Atlas(0)
    strike = atlas.strike("regular", 8)
    atlas.load([strike], character)
    assert atlas.metrics[strike, atlas.slots[ord(character)], c.ADVANCE] == c.UNDRAWABLE


def test_an_atlas_grows() -> None:
    atlas = Atlas(0)
    characters = [chr(code) for code in range(0x20, 0x24F) if chr(code).isprintable()]
    for size in range(8, 44):
        atlas.strike("regular", size)
    atlas.load([0, 35], characters)
    assert not (atlas.metrics[0, [atlas.slots[ord(character)] for character in characters], c.ADVANCE] == c.UNLOADED).any()


@pytest.mark.parametrize("turns", range(4))
def test_kept_glyphs_are_the_same_glyphs(tmp_path: Path, turns: int) -> None:
    atlas = loaded(turns)
    atlas.save(tmp_path / "cache")
    kept = Atlas.kept(turns, tmp_path / "cache")
    assert kept.loaded == atlas.loaded and kept.strikes == atlas.strikes
    assert same(atlas, kept)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npz"]


@pytest.mark.parametrize("fault", ["missing", "empty", "noise", "cut", "flipped", "other rotation", "other fonts", "too far"])
def test_a_file_that_is_not_ours_is_left_alone(tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    atlas = loaded()
    if fault == "too far":
        atlas.metrics[0, 3, c.MASK] = 1 << 20
    atlas.save(tmp_path)
    (path,) = tmp_path.iterdir()
    content = path.read_bytes()
    match fault:
        case "missing":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "noise":
            path.write_bytes(bytes(range(256)) * 40)
        case "cut":
            path.write_bytes(content[: len(content) // 2])
        case "flipped":
            place = content.index(b"metrics.npy") + 300
            path.write_bytes(content[:place] + bytes([content[place] ^ 0x40]) + content[place + 1 :])
        case "other rotation":
            path.rename(tmp_path / "glyphs-2.npz")
        case "other fonts":
            monkeypatch.setattr("render.fast.atlas.assets_digest", lambda: "others")
        case _:
            pass
    kept = Atlas.kept(2 if fault == "other rotation" else 1, tmp_path)
    assert kept.strikes == []
    assert both(LABEL, template_of(panel("oepl-01"), TEXT), panel("oepl-01")).drawn is not None


def test_a_folder_that_cannot_be_written_gives_one_warning(tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.write_text("where the folder should be")
    engine = Engine()
    engine.keep_glyphs(folder)
    label = LabelFields(template="unassigned", panel="oepl-01", label_id="1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for number in range(4):
            engine.draw(
                [LabelFields(template="see_staff", panel="oepl-01", label_id="2", items=(ItemFields(name="abc" * number or "x"),))],
                [1],
                SHIPPED,
            )
            engine.draw([label], [1], SHIPPED)
    assert [warning.category for warning in caught] == [GlyphWarning]


def test_the_next_process_begins_with_the_glyphs_of_this_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    label = LabelFields(template="unassigned", panel="oepl-01", label_id="1234")
    first, second = Engine(), Engine()
    first.keep_glyphs(tmp_path)
    (wanted,) = first.draw([label], [1], SHIPPED)
    monkeypatch.setattr(Atlas, "load", lambda *_: pytest.fail("a glyph was missing"))
    second.keep_glyphs(tmp_path)
    (drawn,) = second.draw([label], [1], SHIPPED)
    assert not isinstance(drawn, RenderError) and not isinstance(wanted, RenderError)
    assert np.array_equal(drawn, wanted)


@pytest.mark.parametrize(("column", "change"), [(c.ADVANCE, 1), (c.MASK_ROWS, -1), (c.ROW, 1), (c.BITMAP_TOP, -1), (c.MASK, 1)])
def test_a_planted_fault_in_one_glyph_is_seen(column: int, change: int) -> None:
    kind = panel("oepl-01")
    template = template_of(kind, TEXT)
    locale = LOCALES["en-GB"]
    program = Program(template, 0, kind, locale, Atlas(kind.rotate_buffer))
    row = program.row(LABEL)
    assert row is not None
    wanted = both(LABEL, template, kind).pixels
    assert np.array_equal(program.draw([row], [0]).planes[0], wanted)
    program.atlas.metrics[program.atlas.strike("bold", 13), program.atlas.slots[ord("Å")], column] += change
    assert not np.array_equal(program.draw([row], [0]).planes[0], wanted)
