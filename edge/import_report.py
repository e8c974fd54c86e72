"""The report beside a file: every line and what became of it. Pure: rows in, text out."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Final

from edge.import_text import Problem
from edge.store.imports import Import, ImportState

HEADING: Final = ("line", "outcome", "key", "column", "found", "detail")
_FORMULA: Final = ("=", "+", "-", "@", "\t")  # what a spreadsheet would compute instead of showing

RowLine = tuple[int, str, str, str]
GoneLine = tuple[str, str, str]


def heading(account: Import, *, same: bool) -> str:
    """The first lines: the columns, then what became of the whole file as line 0."""
    counts = account.counts
    state = "no news" if same else str(account.state)
    told = [
        f"{name} {value}"
        for name, value in (
            ("rows", counts.rows),
            ("new", counts.new),
            ("changed", counts.changed),
            ("unchanged", counts.unchanged),
            ("removed", counts.removed),
            ("held", counts.held),
            ("failed", counts.failed),
            ("mistakes", counts.problems),
        )
        if value
    ]
    said = "; ".join([*told, *([account.reason] if account.reason else [])])
    if same:
        said = f"same content as import {account.import_id}, nothing was done"
    if not same and account.persons:
        said += f"; approved by {', '.join(account.persons)}" if account.state is not ImportState.DISCARDED else ""
    return _text([HEADING, (0, state, account.import_id, "", account.sha256, said)])


def rows(found: Iterable[RowLine]) -> str:
    return _text([(line, outcome, key.replace("\t", " "), "", "", detail) for line, key, outcome, detail in found])


def gone(found: Iterable[GoneLine]) -> str:
    return _text([("", outcome, key.replace("\t", " "), "", "", detail) for key, outcome, detail in found])


def problems(found: Iterable[Problem]) -> str:
    return _text([(each.line or "", "mistake", "", each.column, each.found, f"expected {each.expected}") for each in found])


def unnamed(count: int) -> str:
    """The line that says how many mistakes the report leaves out."""
    return _text([("", "mistake", "", "", "", f"and {count} more")]) if count > 0 else ""


def _text(lines: Iterable[Sequence[object]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    for line in lines:
        writer.writerow([_safe(cell) for cell in line])
    return out.getvalue()


def _safe(cell: object) -> object:
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell
