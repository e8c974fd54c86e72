"""What a template looks like on glass, in millimetres, and what is wrong with it: every layout is drawn with typical and extreme labels.

Errors are what would keep a label from being drawn. Warnings are what a person should look at: codes below the sizes that scanners read,
small letters, ink on ink, yellow on white.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from edge import label_samples
from render import glyphs, raster, scene, template_lines, templates
from render.errors import FieldError, MissingField, RenderError
from render.fields import LabelFields, TemplateSource, template_bytes
from render.marks import Area, Bars, Grid, Mark, Outline, Picture, Run, Scene, Stroke, mark_box
from render.panels import PANELS, Box, Panel
from render.scene_codes import QUIET_MODULES
from render.template_elements import Barcode, Element, Layout, Matrix, Price, Template, Text

MM_PER_INCH: Final = 25.4
EAN_MODULE_MIN_MM: Final = 0.264  # GS1 General Specifications 5.2: 80 % of the nominal 0.330 mm
CODE128_MODULE_MIN_MM: Final = 0.19  # what hand-held scanners are sold for (7.5 thousandths of an inch)
MATRIX_MODULE_MIN_MM: Final = 0.25  # where telephones begin to fail
LETTER_MIN_MM: Final = 1.2  # height of the x that Regulation (EU) 1169/2011 asks of packs; for labels a yardstick, not law
DIGIT_MASSACHUSETTS_MM: Final = 12.7  # 202 CMR 7.07: half an inch
LINEAR_QUIET_MODULES: Final = {"code128": 10}
EAN_QUIET_MODULES: Final = 7  # right of an EAN-13; the larger zone left of it holds its first digit

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Finding:
    """`place`: file, line and element."""

    is_error: bool
    place: str
    problem: str

    def __str__(self) -> str:
        return f"{'error' if self.is_error else 'warning'}: {self.place}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Size:
    """One layout on one kind of glass; heights of the price's digits and of an x, and module widths, in mm; None: nothing of it there."""

    template: str
    page: int
    panel: str
    width: int
    height: int
    ppi: int
    digit_mm: float | None
    unit_price_mm: float | None
    name_mm: float | None
    codes: tuple[tuple[str, float], ...]


@dataclass(slots=True)
class Report:
    sizes: list[Size] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    @property
    def has_errors(self) -> bool:
        return any(finding.is_error for finding in self.findings)

    def add(self, is_error: bool, place: str, problem: str) -> None:
        """Once, whatever the number of samples that show it."""
        finding = Finding(is_error, place, problem)
        if finding not in self.findings:
            self.findings.append(finding)


def check(names: Iterable[str], source: TemplateSource) -> Report:
    """Parse and draw these templates. Raises nothing but bugs: what is wrong stands in the report."""
    report = Report()
    for name in names:
        try:
            template = templates.load(name, source)
        except RenderError as error:
            report.add(True, f"template {name}", str(error))
            continue
        lines = template_lines.scan(template_bytes(name, source).decode())
        for number in range(len(template.layouts)):
            _Check(report, template, number, lines).run()
    return report


@dataclass(slots=True)
class _Check:
    """One layout of a template."""

    report: Report
    template: Template
    number: int
    lines: template_lines.Lines

    @property
    def layout(self) -> Layout:
        return self.template.layouts[self.number]

    def run(self) -> None:
        panels = fitting(self.template, self.layout)
        if not panels:
            size = f"{self.layout.width}x{self.layout.height}"
            self.warn(None, f"no panel of the catalogue uses this layout of {size}, page {self.layout.page}")
            return
        drawn = False
        for name in ("", *label_samples.EXTREMES):
            for kind in panels if not name else panels[:1]:
                label = self.sample(name, kind)
                drawn = self.look(label, kind, name) or drawn
        if not drawn:
            self.warn(None, f"no sample has all that it needs: {', '.join(self.template.needs)}")
        for ppi in sorted({each.ppi for each in panels}):
            alike = [each for each in panels if each.ppi == ppi]
            self.measure(alike[0], [each.name for each in alike])

    def sample(self, name: str, kind: Panel) -> LabelFields:
        """`name` "": the typical one."""
        if name:
            return label_samples.extreme(name, self.template.name, kind.name, self.layout.page)
        return label_samples.typical(self.template.name, kind.name, self.layout.page)

    def look(self, label: LabelFields, kind: Panel, sample: str) -> bool:
        """Draw one label. False where it lacks a field that the template needs."""
        try:
            built = scene.build(label, self.alone(*self.layout.elements, needs=self.template.needs), kind)
        except MissingField:
            return False
        except FieldError as error:
            self.report.add(True, self.place(self.culprit(label, kind)), f"{error}{_of(sample)}")
            return True
        marks = [(element, mark) for element in self.layout.elements for mark in self.marks(element, label, kind)]
        for (one, first), (other, second) in itertools.combinations(marks, 2):
            if _touch(first, second, kind):
                place, text = (other, second) if isinstance(second, Run) else (one, first)
                shown = text.text if isinstance(text, Run) else type(text).__name__
                self.warn(place, f"{shown!r} lies over {self.named(one if place is other else other)}{_of(sample)}")
        if not sample:
            picture = raster.draw(built, kind)
            self.look_at_codes(label, kind)
            self.look_at_texts([(element, mark) for element, mark in marks if isinstance(mark, Run)], picture, kind)
        return True

    def look_at_codes(self, label: LabelFields, kind: Panel) -> None:
        """A code and its quiet zone must stand on white."""
        for element in self.layout.elements:
            if not isinstance(element, Barcode | Matrix):
                continue
            boxes = [_quiet_box(element, mark) for mark in self.marks(element, label, kind) if isinstance(mark, Bars | Grid)]
            if not boxes:
                continue
            others = [each for each in self.layout.elements if each is not element]
            ground = raster.draw(scene.build(label, self.alone(*others), kind), kind)
            box = boxes[0]
            seen = ground[max(box.y, 0) : box.bottom, max(box.x, 0) : box.right]
            if (seen != kind.white).any() or not box.inside(kind.area):
                self.warn(element, "something lies in the code's quiet zone")

    def look_at_texts(self, runs: Sequence[tuple[Element, Run]], picture: Bytes, kind: Panel) -> None:
        faint: dict[str, None] = {}
        for element, run in runs:
            if "…" in run.text:
                self.warn(element, f"{run.text!r}: even the typical text is cut")
            if {kind.palette[_ground(run, picture, kind)].name, kind.palette[run.ink].name} == {"white", "yellow"}:
                faint[self.named(element)] = None
        if faint:
            self.warn(None, f"white and yellow on each other cannot be read on {kind.name}: {', '.join(faint)}")

    def measure(self, kind: Panel, names: Sequence[str]) -> None:
        """A row of the table for one ppi, and what is too small on it."""
        label = self.sample("", kind)
        digit = unit = name = None
        codes: list[tuple[str, float]] = []
        for element in self.layout.elements:
            marks = self.marks(element, label, kind)
            sizes = [mark.size for mark in marks if isinstance(mark, Run)]
            match element:
                case Price() if sizes:
                    digit = max(digit or 0.0, _height_mm(element.style.font, max(sizes), "0", kind.ppi))
                case Text() if sizes and "unit_price" in element.content.fields:
                    unit = _height_mm(element.style.font, max(sizes), "x", kind.ppi)
                    self.expect(element, "the unit price's letters", unit, LETTER_MIN_MM, kind)
                case Text() if sizes and "name" in element.content.fields and name is None:
                    name = _height_mm(element.style.font, max(sizes), "x", kind.ppi)
                    self.expect(element, "the name's letters", name, LETTER_MIN_MM, kind)
                case Barcode() | Matrix() if marks:
                    modules = [mark.module_px for mark in marks if isinstance(mark, Bars | Grid)]
                    module = modules[0] * MM_PER_INCH / kind.ppi
                    codes.append((element.symbology, module))
                    self.expect(element, f"{element.symbology}: modules", module, _module_min_mm(element.symbology), kind)
        panel = names[0] if len(names) == 1 else f"{names[0]} +{len(names) - 1}"
        area = self.layout
        self.report.sizes.append(
            Size(self.template.name, area.page, panel, area.width, area.height, kind.ppi, digit, unit, name, tuple(codes))
        )

    def expect(self, element: Element, what: str, found_mm: float, least_mm: float, kind: Panel) -> None:
        if found_mm < least_mm:
            self.warn(element, f"{what} are {found_mm:.3g} mm on {kind.name} ({kind.ppi} ppi), less than {least_mm:g} mm")

    def alone(self, *elements: Element, needs: tuple[str, ...] = ()) -> Template:
        """The template with this layout alone, and of it these elements."""
        return replace(self.template, needs=needs, layouts=(replace(self.layout, elements=elements),))

    def marks(self, element: Element, label: LabelFields, kind: Panel) -> tuple[Mark, ...]:
        """What one element draws; nothing where it cannot, which `look` has reported."""
        try:
            return scene.build(label, self.alone(element), kind).marks
        except FieldError:
            return ()

    def culprit(self, label: LabelFields, kind: Panel) -> Element | None:
        """The element that cannot be drawn; None where it is all of them together."""
        for element in self.layout.elements:
            try:
                scene.build(label, self.alone(element), kind)
            except FieldError:
                return element
        return None

    def named(self, element: Element) -> str:
        return f"element {self.layout.elements.index(element) + 1}"

    def place(self, element: Element | None) -> str:
        path: template_lines.Path = ("layout", self.number)
        where = f"layout {self.number + 1} ({self.layout.width}x{self.layout.height})"
        if element is not None:
            place = self.layout.elements.index(element)
            path = (*path, "element", place)
            where = f"{where}, element {place + 1} ({type(element).__name__.lower()})"
        return f"{self.template.name}.toml:{self.lines.line(path)}: {where}"

    def warn(self, element: Element | None, problem: str) -> None:
        self.report.add(False, self.place(element), problem)


def fitting(template: Template, layout: Layout) -> list[Panel]:
    """Panels of the catalogue that are as large as this layout and take it: one for each pair of ppi and palette, BWR first."""
    found: dict[tuple[object, ...], Panel] = {}
    for kind in PANELS.values():
        if not (layout.fills(kind.visible) or layout.fills(kind.area)) or template.layout(kind, layout.page) is not layout:
            continue
        found.setdefault((kind.ppi, kind.area, kind.visible, tuple(ink.name for ink in kind.palette)), kind)
    return sorted(found.values(), key=lambda kind: (abs(len(kind.palette) - 3), kind.accent == kind.black, kind.name))


def _of(sample: str) -> str:
    return f' (sample "{sample}")' if sample else ""


def _height_mm(font: str, size: int, character: str, ppi: int) -> float:
    return -glyphs.ink_box(font, size, character)[1] * MM_PER_INCH / ppi


def _module_min_mm(symbology: str) -> float:
    if symbology in QUIET_MODULES:
        return MATRIX_MODULE_MIN_MM
    return CODE128_MODULE_MIN_MM if symbology == "code128" else EAN_MODULE_MIN_MM


def _quiet_box(element: Barcode | Matrix, mark: Bars | Grid) -> Box:
    box = mark_box(mark)
    if isinstance(mark, Grid):
        quiet = QUIET_MODULES[element.symbology] * mark.module_px
        return Box(box.x - quiet, box.y - quiet, box.width + 2 * quiet, box.height + 2 * quiet)
    quiet = LINEAR_QUIET_MODULES.get(element.symbology, EAN_QUIET_MODULES) * mark.module_px
    return Box(box.x - quiet, box.y, box.width + 2 * quiet, box.height)


def _ground(run: Run, picture: Bytes, kind: Panel) -> int:
    """The ink around a text."""
    box = mark_box(run)
    around = picture[box.y : box.bottom, box.x : box.right]
    counts = np.bincount(around[around != run.ink], minlength=len(kind.palette))
    return int(counts.argmax()) if counts.any() else run.ink


def _touch(first: Mark, second: Mark, kind: Panel) -> bool:
    """Whether two marks that are no background have ink on the same pixel."""
    if isinstance(first, Area | Outline | Stroke) or isinstance(second, Area | Outline | Stroke):
        return False
    if not mark_box(first).overlaps(mark_box(second)):
        return False
    one, other = _mask(first, kind), _mask(second, kind)
    return bool((one & other).any())


def _mask(mark: Mark, kind: Panel) -> npt.NDArray[np.bool_]:
    """The pixels that a mark inks."""
    inked = replace(mark, inks=(kind.black,)) if isinstance(mark, Picture) else replace(mark, ink=kind.black)
    drawn = raster.draw(Scene(kind.name, kind.width, kind.height, (inked,)), kind)
    found: npt.NDArray[np.bool_] = drawn != kind.white
    return found
