"""What a scene is made of: every mark with its place, size and ink as a palette index. No pixels."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import assert_never

from render import glyphs
from render.panels import Box


@dataclass(frozen=True, slots=True)
class Area:
    """A filled rectangle with rounded corners."""

    box: Box
    radius: int
    ink: int


@dataclass(frozen=True, slots=True)
class Outline:
    """The outline of a rectangle with rounded corners, `thickness` pixels inwards."""

    box: Box
    radius: int
    thickness: int
    ink: int


@dataclass(frozen=True, slots=True)
class Run:
    """Characters of one font file (a key of `glyphs.FONT_FILES`) in drawing order, from a pen start on a baseline."""

    text: str
    x: int
    baseline: int
    font: str
    size: int
    ink: int


@dataclass(frozen=True, slots=True)
class Bars:
    """A row of modules; "1" is a bar of `height` pixels."""

    modules: str
    x: int
    y: int
    module_px: int
    height: int
    ink: int


@dataclass(frozen=True, slots=True)
class Grid:
    """Rows of square modules, all of one length; "1" is inked."""

    rows: tuple[str, ...]
    x: int
    y: int
    module_px: int
    ink: int


@dataclass(frozen=True, slots=True)
class Stroke:
    """A straight line between two pixels."""

    x0: int
    y0: int
    x1: int
    y1: int
    width: int
    ink: int


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file (`png` its bytes) dithered to some inks."""

    file: str
    png: bytes
    box: Box
    inks: tuple[int, ...]


Mark = Area | Outline | Run | Bars | Grid | Stroke | Picture


@dataclass(frozen=True, slots=True)
class Scene:
    """Marks in drawing order on a white panel."""

    panel: str
    width: int
    height: int
    marks: tuple[Mark, ...]

    def as_json(self) -> dict[str, object]:
        """For people and golden tests; a picture stands there by its file's name."""
        marks = [{"mark": type(mark).__name__.lower(), **asdict(mark)} for mark in self.marks]
        for mark in marks:
            mark.pop("png", None)
        return {"panel": self.panel, "width": self.width, "height": self.height, "marks": marks}


def mark_box(mark: Mark) -> Box:
    """The pixels that a mark may change."""
    match mark:
        case Area() | Outline() | Picture():
            return mark.box
        case Run():
            left, top, right, bottom = glyphs.ink_box(mark.font, mark.size, mark.text)
            return Box(mark.x + left, mark.baseline + top, right - left, bottom - top)
        case Bars():
            return Box(mark.x, mark.y, len(mark.modules) * mark.module_px, mark.height)
        case Grid():
            return Box(mark.x, mark.y, len(mark.rows[0]) * mark.module_px, len(mark.rows) * mark.module_px)
        case Stroke():
            left, right = sorted((mark.x0, mark.x1))
            top, bottom = sorted((mark.y0, mark.y1))
            half = mark.width // 2
            return Box(left - half, top - half, right - left + 1 + 2 * half, bottom - top + 1 + 2 * half)
        case _:
            assert_never(mark)
