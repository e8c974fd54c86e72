"""`shelfd import FILE` and `shelfd imports`: files of items, prices, stock and bindings; what waits for a person."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from edge.cli_guard import Call
from edge.cli_tables import say, show_report, show_rows
from edge.entry import EXIT_REFUSED, EXIT_USAGE, CliError

FILE_BYTES_MAX: Final = 64 << 20  # as the daemon takes it
PIECE_BYTES: Final = 512 << 10
RUN_TIMEOUT_S: Final = 1800.0  # 200,000 new items on a slow disk
FIRST: Final = ("id", "state", "feed", "file", "rows")

JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
PersonOption = Annotated[str, typer.Option("--person", metavar="NAME", help="Who decides.", show_default=False)]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As `shelfd imports list` prints it.")]
FeedOption = Annotated[str | None, typer.Option("--feed", metavar="NAME", help="As [[import.feed]] names it.", show_default=False)]
KindOption = Annotated[
    str | None, typer.Option("--kind", metavar="KIND", help="Without a feed: items, prices, stock or labels (items).", show_default=False)
]
ModeOption = Annotated[str | None, typer.Option("--mode", metavar="MODE", help="full or delta (the feed's; delta).", show_default=False)]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say what it would do.")]
ReportOption = Annotated[Path | None, typer.Option("--report", metavar="FILE", help="Write what became of each line.", show_default=False)]


def bring(
    call: Call,
    context: typer.Context,
    file: Path,
    *,
    feed: str | None = None,
    kind: str | None = None,
    mode: str | None = None,
    dry_run: bool = False,
    report: Path | None = None,
    as_json: bool = False,
) -> int:
    """Send a file and say what became of it. Returns the exit code: 1 where it was refused or waits for a person."""
    asked = {"feed": feed, "kind": kind, "mode": mode}
    params: dict[str, object] = {"source_name": file.name, "dry_run": dry_run, **{key: each for key, each in asked.items() if each}}
    subject, pieces = str(file), _pieces(file)
    first = next(pieces)  # a file that cannot be read is not announced
    upload = call(context, "import.open", params, subject=subject)["upload"]
    for piece in (first, *pieces) if first else ():
        call(context, "import.write", {"upload": upload, "data_b64": base64.b64encode(piece).decode()}, subject=subject)
    answer: dict[str, Any] = call(context, "import.run", {"upload": upload}, subject=subject, timeout_s=RUN_TIMEOUT_S)
    if report is not None and answer["state"] != "same":
        write_report(call, context, str(answer["import"]), report)
    if as_json:
        say(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        _show(answer)
    return 0 if answer["state"] in ("done", "same", "checked") else EXIT_REFUSED


def commands(call: Call) -> typer.Typer:
    """`shelfd imports ...`, asking the daemon through `call`."""
    app = typer.Typer(help="Files that came; those that wait for a person.", no_args_is_help=True)

    @app.command("list")
    def list_(context: typer.Context, as_json: JsonOption = False) -> None:
        """What came last; what waits stands first."""
        rows: Any = call(context, "imports.list", {}).get("imports", [])
        if as_json:
            say(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            show_rows(rows, first=FIRST, nothing="no file has come yet")

    @app.command("show")
    def show(context: typer.Context, import_id: IdArgument, report: ReportOption = None, as_json: JsonOption = False) -> None:
        """One of them, with its mistakes."""
        answer = call(context, "imports.show", {"id": import_id})
        if report is not None:
            write_report(call, context, import_id, report)
        if as_json:
            say(json.dumps(answer, indent=2, ensure_ascii=False))
        else:
            _show(answer)

    @app.command("approve")
    def approve(context: typer.Context, import_id: IdArgument, person: PersonOption) -> None:
        """Let a held file through."""
        _show(call(context, "imports.approve", {"id": import_id, "person": person}, timeout_s=RUN_TIMEOUT_S))

    @app.command("discard")
    def discard(context: typer.Context, import_id: IdArgument, person: PersonOption) -> None:
        """Drop a held file; nothing changes."""
        _show(call(context, "imports.discard", {"id": import_id, "person": person}))

    return app


def write_report(call: Call, context: typer.Context, import_id: str, path: Path) -> None:
    """Fetch a report part by part. Raises CliError."""
    try:
        with path.open("w", encoding="utf-8") as file:
            part, more = 0, True
            while more:
                answer = call(context, "imports.report", {"id": import_id, "part": part})
                file.write(str(answer["text"]))
                part, more = part + 1, bool(answer["more"])
    except OSError as error:
        raise CliError(f"{path}: cannot be written: {error.strerror}", EXIT_USAGE) from error


def _show(answer: dict[str, Any]) -> None:
    told = {key: value for key, value in answer.items() if value not in (None, "", 0, [], ()) and key != "mistakes"}
    if answer.get("state") != "held":
        told.pop("persons_needed", None)
    show_report(told)
    mistakes = answer.get("mistakes") or []
    if mistakes:
        say("")
        show_rows(mistakes, first=("line", "column", "found", "expected"), nothing="")
        if answer["problems"] > len(mistakes):
            say(f"... and {answer['problems'] - len(mistakes)} more: --report FILE names them")
    if answer.get("state") == "held":
        needed = "two persons" if answer["persons_needed"] > 1 else "a person"
        say(f"waits for {needed}: shelfd imports approve {answer['import']} --person NAME, or discard")


def _pieces(file: Path) -> Iterator[bytes]:
    """The file in pieces, at least one. Raises CliError."""
    size = 0
    try:
        with file.open("rb") as stream:
            while piece := stream.read(PIECE_BYTES):
                size += len(piece)
                if size > FILE_BYTES_MAX:
                    raise CliError(f"{file}: larger than {FILE_BYTES_MAX >> 20} MB, expected a smaller file; split it", EXIT_USAGE)
                yield piece
    except OSError as error:
        raise CliError(f"{file}: cannot be read: {error.strerror}", EXIT_USAGE) from error
    if not size:
        yield b""
