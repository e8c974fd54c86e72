"""`shelfd token`: who may speak REST."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Annotated, Any

import typer

from edge.cli_audit import Call
from edge.cli_tables import say, show_rows, warn

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="Whose it is: letters, digits and . _ -")]


class Scope(StrEnum):
    READ = "read"
    IMPORT = "import"


def commands(call: Call) -> typer.Typer:
    """The commands, asking the daemon through `call`."""
    app = typer.Typer(help="Who may speak REST.", no_args_is_help=True)

    @app.command("add")
    def add(
        context: typer.Context,
        name: NameArgument,
        scope: Annotated[list[Scope], typer.Option("--scope", help="What it may do; several times for several.", show_default=False)],
    ) -> None:
        """Make a token. Its text is shown this once."""
        answer = call(context, "token.add", {"name": name, "scopes": sorted(set(map(str, scope)))})
        say(str(answer["token"]))
        warn("shown once: keep it where only its user reads it")

    @app.command("list")
    def list_(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")] = False) -> None:
        """Every token, without its text."""
        rows: Any = call(context, "token.list", {})["tokens"]
        if as_json:
            say(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            show_rows(rows, first=("name", "id", "scopes"), nothing="no token yet")

    @app.command("revoke")
    def revoke(context: typer.Context, name: NameArgument) -> None:
        """End a token at once."""
        call(context, "token.revoke", {"name": name})
        say(f"revoked {name}")

    return app
