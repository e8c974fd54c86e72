"""`shelfd render` where no daemon is asked: draw a template, check templates, or draw all of them on one sheet. Loaded by that command
alone, and what draws only when something is drawn."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edge import label_samples
from edge.cli_tables import say, show_rows, warn
from edge.entry import EXIT_REFUSED, EXIT_USAGE, CliError
from render.errors import FieldError, RenderError, SetupError
from render.fields import SHIPPED, TEMPLATE_FOLDER, TEMPLATE_NAME, LabelFields, TemplateSource, with_own

if TYPE_CHECKING:
    from edge.template_check import Size

DEFAULT_PANEL: Final = "oepl-01"  # 2.9 inch, the most common one
FIELDS_BYTES_MAX: Final = 1 << 20  # a label's fields are a few hundred bytes
# as people look for them; the store's own come behind
ORDER: Final = (
    "shelf", "reduced", "promotion", "multi_buy", "weighed", "out_of_stock", "pickup", "rail", "staff", "see_staff", "unassigned",
)  # fmt: skip
_COLUMNS: Final = ("template", "page", "panel", "size", "ppi", "digits mm", "1/2 inch", "unit price x mm", "name x mm", "modules mm")


@dataclass(frozen=True, slots=True)
class Drawing:
    """What one picture is made of; None: the default."""

    panel: str | None
    fields: Path | None
    output: Path | None
    scale: int
    page: int


def source_of(folder: Path | None) -> TemplateSource:
    """The shipped templates, with those of a store's own folder before them. Raises CliError."""
    if folder is None:
        return SHIPPED
    if not folder.is_dir():
        raise CliError(f"--folder: found {folder}, expected a folder with .toml files", EXIT_USAGE)
    return with_own(folder)


def names(source: TemplateSource) -> list[str]:
    """All templates of a source."""
    found = {path.stem for folder in source.folders for path in folder.glob("*.toml")}
    return [name for name in ORDER if name in found] + sorted(found.difference(ORDER))


def is_template(name: str, source: TemplateSource) -> bool:
    """Whether a word on the command line names a template; what does not, is an item."""
    return bool(TEMPLATE_NAME.fullmatch(name)) and any((folder / f"{name}.toml").is_file() for folder in source.folders)


def draw(template: str, source: TemplateSource, drawing: Drawing) -> None:
    """Write the picture of one label, from a file's fields or a sample's. Raises CliError."""
    from render import api, raster, scene, templates

    try:
        label = _fields(template, drawing)
        kind = api.panel(label.panel)
        indices = raster.draw(scene.build(label, templates.load(template, source), kind), kind)
    except (SetupError, FieldError) as error:
        raise CliError(
            f"{drawing.fields}: {error}" if drawing.fields and isinstance(error, FieldError) else str(error), EXIT_REFUSED
        ) from error
    write(drawing.output or Path(f"{template}.png"), api.indices_to_png(kind, indices, drawing.scale))


def check(wanted: Sequence[str], source: TemplateSource) -> int:
    """Print what templates measure on glass and what is wrong with them. 1 where one cannot be drawn, else 0."""
    from edge import template_check

    # a store that checks its own folder asks for its own templates, not for the shipped ones again
    own = [name for name in names(source) if source is SHIPPED or not (TEMPLATE_FOLDER / f"{name}.toml").is_file() or _is_own(name, source)]
    report = template_check.check(wanted or own, source)
    show_rows([_row(size) for size in report.sizes], first=_COLUMNS, nothing="no layout was measured")
    for finding in report.findings:
        (warn if finding.is_error else say)(str(finding))
    errors = sum(finding.is_error for finding in report.findings)
    say(f"{_count(errors, 'error')}, {_count(len(report.findings) - errors, 'warning')}")
    return EXIT_REFUSED if report.has_errors else 0


def sheet(file: Path, wanted: Sequence[str], source: TemplateSource) -> None:
    """Write the contact sheet. Raises CliError."""
    from edge import contact_sheet

    try:
        picture = contact_sheet.draw(wanted or names(source), source)
    except RenderError as error:
        raise CliError(str(error), EXIT_REFUSED) from error
    write(file, picture)


def save_answer(answer: Mapping[str, object], file: Path) -> None:
    """Write the picture that the daemon drew. Raises CliError."""
    try:
        png = base64.b64decode(str(answer.get("png_b64", "")), validate=True)
    except binascii.Error as error:
        raise CliError("the daemon's answer holds no picture", EXIT_REFUSED) from error
    write(file, png)


def write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise CliError(f"{file}: cannot be written: {error.strerror}", EXIT_USAGE) from error
    say(f"wrote {file}")


def _fields(template: str, drawing: Drawing) -> LabelFields:
    panel = drawing.panel or DEFAULT_PANEL
    if drawing.fields is None:
        return label_samples.typical(template, panel, drawing.page)
    try:
        with drawing.fields.open("rb") as stream:
            values = json.loads(stream.read(FIELDS_BYTES_MAX))
    except OSError as error:
        raise CliError(f"{drawing.fields}: cannot be read: {error.strerror}", EXIT_USAGE) from error
    except (ValueError, RecursionError) as error:
        raise CliError(f"{drawing.fields}: not valid JSON: {error}, expected the fields of a label or of an item", EXIT_USAGE) from error
    if not isinstance(values, dict):
        raise CliError(f"{drawing.fields}: expected a JSON object, the fields of a label or of an item", EXIT_USAGE)
    return label_samples.from_values(values, template, panel, drawing.page)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _is_own(name: str, source: TemplateSource) -> bool:
    return (source.folders[0] / f"{name}.toml").is_file()


def _row(size: Size) -> dict[str, object]:
    from edge.template_check import DIGIT_MASSACHUSETTS_MM

    digits = size.digit_mm
    return {
        "template": size.template,
        "page": size.page,
        "panel": size.panel,
        "size": f"{size.width}x{size.height}",
        "ppi": size.ppi,
        "digits mm": _mm(digits),
        "1/2 inch": None if digits is None else digits >= DIGIT_MASSACHUSETTS_MM,
        "unit price x mm": _mm(size.unit_price_mm),
        "name x mm": _mm(size.name_mm),
        "modules mm": [f"{symbology} {module:.3f}" for symbology, module in dict.fromkeys(size.codes)],
    }


def _mm(value: float | None) -> str | None:
    return None if value is None else f"{value:.1f}"
