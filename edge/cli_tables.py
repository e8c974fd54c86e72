"""How the command line prints answers: tables for a terminal, tab-separated lines for a pipe."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

EMPTY = "-"
CUT_WIDTH = 20  # of a column that gives way, such as a name


def say(text: str) -> None:
    """One line on stdout, as it is."""
    sys.stdout.write(text + "\n")


def warn(text: str) -> None:
    """One line on stderr."""
    sys.stderr.write(text + "\n")


def on_terminal() -> bool:
    """Whether a person reads the answer as it comes, not a program behind a pipe."""
    return sys.stdout.isatty()


def show_rows(
    rows: Sequence[Mapping[str, object]], *, first: Sequence[str] = (), nothing: str, only: bool = False, wide: str = "", cut: str = ""
) -> None:
    """A table of records. Columns in `first` lead, the others follow in the order they appear, or (`only`) are left out; `nothing` is said
    for no rows. On a terminal the column `wide` takes what room is left and the one called `cut` gives way; no other is broken."""
    if not rows:
        say(nothing)
        return
    columns = list(first) if only else _columns(rows, first)
    lines = [[cell(row.get(column)) for column in columns] for row in rows]
    if not sys.stdout.isatty():
        for line in [columns, *lines]:
            say("\t".join(line))
        return
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        numeric = all(_is_number(row.get(column)) for row in rows)
        if column == cut:
            table.add_column(heading(column), overflow="ellipsis", no_wrap=True, max_width=CUT_WIDTH)
        else:
            table.add_column(
                heading(column), justify="right" if numeric else "left", overflow="fold", no_wrap=bool(wide) and column != wide
            )
    for line in lines:
        table.add_row(*(Text(text) for text in line))
    Console().print(table)


def show_report(report: Mapping[str, object]) -> None:
    """A nested answer: plain values first, then one block per part; lists of records become tables."""
    plain = {key: value for key, value in report.items() if not _is_nested(value)}
    if plain:
        _show_pairs("", plain)
    for key, value in report.items():
        if not _is_nested(value):
            continue
        say("")
        if isinstance(value, Mapping):
            _show_pairs(heading(key), _flat(value))
        elif isinstance(value, list):
            say(_bold(heading(key)))
            show_rows(value, nothing="  none")


def heading(key: str) -> str:
    """A key as words: `oldest_unproven_s` -> `oldest unproven s`."""
    return key.replace("_", " ")


def cell(value: object) -> str:
    """One value in a table, on one line."""
    match value:
        case None | "":
            return EMPTY
        case bool():
            return "yes" if value else "no"
        case list() | tuple():
            return ", ".join(cell(part) for part in value) or EMPTY
        case Mapping():
            return " ".join(f"{key}={cell(part)}" for key, part in value.items()) or EMPTY
        case str():
            return "".join(char if char.isprintable() else " " for char in value)
        case _:
            return str(value)


def _show_pairs(title: str, pairs: Mapping[str, object]) -> None:
    if title:
        say(_bold(title))
    width = max((len(heading(key)) for key in pairs), default=0)
    indent = "  " if title else ""
    for key, value in pairs.items():
        say(f"{indent}{heading(key):<{width}}  {cell(value)}")


def _flat(values: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key} "))
        else:
            flat[prefix + key] = value
    return flat


def _is_nested(value: object) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(part, Mapping) for part in value)
    return isinstance(value, Mapping) and bool(value)


def _columns(rows: Iterable[Mapping[str, object]], first: Sequence[str]) -> list[str]:
    seen = dict.fromkeys(key for row in rows for key in row)
    return [key for key in first if key in seen] + [key for key in seen if key not in first]


def _is_number(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool))


def _bold(text: str) -> str:
    return f"\x1b[1m{text}\x1b[0m" if sys.stdout.isatty() else text
