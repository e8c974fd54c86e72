"""`shelfd stock`: what came, what is lost, what was counted; what is held; what sensors doubt."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from edge.cli_audit import Call
from edge.cli_tables import say, show_rows

JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]
ItemArgument = Annotated[str, typer.Argument(metavar="ITEM", help="Item number, or a bar code.")]
UnitsArgument = Annotated[int, typer.Argument(min=1, metavar="UNITS", help="Pieces, g, ml or mm, as the item is sold.")]
PersonOption = Annotated[str, typer.Option("--person", metavar="NAME", help="Who says so.", show_default=False)]


def commands(call: Call) -> typer.Typer:
    """The commands, asking the daemon through `call`."""
    app = typer.Typer(help="Book and look at stock.", no_args_is_help=True)

    @app.command("receive")
    def receive(context: typer.Context, item: ItemArgument, units: UnitsArgument, person: PersonOption) -> None:
        """Goods have come in."""
        _book(call, context, "stock.receive", {"item": item, "units": units, "by": person})

    @app.command("shrink")
    def shrink(
        context: typer.Context,
        item: ItemArgument,
        units: UnitsArgument,
        person: PersonOption,
        reason: Annotated[str, typer.Option(metavar="TEXT", help="Broken, stolen, spoilt.", show_default=False)] = "",
    ) -> None:
        """Goods are lost."""
        _book(call, context, "stock.shrink", {"item": item, "units": units, "by": person, "reason": reason})

    @app.command("count")
    def count(
        context: typer.Context,
        item: ItemArgument,
        units: Annotated[int, typer.Argument(min=0, metavar="UNITS", help="What is there.")],
        person: PersonOption,
    ) -> None:
        """Goods were counted, just now."""
        _book(call, context, "stock.count", {"item": item, "units": units, "by": person})

    @app.command("holds")
    def holds(context: typer.Context, as_json: JsonOption = False) -> None:
        """What is kept for orders: the pick list."""
        _list(call, context, "stock.holds", "holds", "nothing is held", as_json)

    @app.command("differences")
    def differences(context: typer.Context, as_json: JsonOption = False) -> None:
        """Where sensors see something else than the books say."""
        _list(call, context, "stock.differences", "differences", "no sensor disagrees", as_json)

    return app


def _book(call: Call, context: typer.Context, method: str, params: dict[str, object]) -> None:
    answer = call(context, method, params)
    say(f"{answer['item']}: {answer['on_hand']} on hand")


def _list(call: Call, context: typer.Context, method: str, key: str, nothing: str, as_json: bool) -> None:
    answer = call(context, method, {})
    rows = answer[key]
    if as_json:
        say(json.dumps(answer, indent=2, ensure_ascii=False))
    elif isinstance(rows, list):
        show_rows(rows, nothing=nothing)
