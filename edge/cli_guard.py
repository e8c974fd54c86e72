"""`shelfd price` and what people decide about labels: why a price is held, and how it gets free."""

from __future__ import annotations

import getpass
import json
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import typer

from edge.cli_tables import on_terminal, say, show_report, show_rows
from edge.cli_words import ago, instant, lane, money, offer

HELD_TIMEOUT_S: Final = 60.0  # tens of thousands of items may be held at once after a change of the whole catalogue
DRAW_TIMEOUT_S: Final = 180.0  # a ticket drawn by workers that have to compile their kernels
HELD_COLUMNS: Final = ("item_id", "name", "target_minor", "held_minor", "reason", "label", "place", "age_s", "given_away_minor", "remedy")
HELD_WORDS: Final = ("item", "name", "target", "held at", "by", "place", "why", "for", "given away", "remedy")  # on a terminal
BOUND_COLUMNS: Final = ("label", "place", "attempt", "curve", "reason", "holds", "grade", "age_s", "remedy")
WAITING_COLUMNS: Final = ("item_id", "name", "rise", "why", "asked_by", "reason")
WAITS: Final = {
    "frozen": "its price is frozen here",
    "store_open": "until the store is closed",
    "changed_today": "until the next business day",
}


class Call(Protocol):
    """Asks the daemon (`edge.cli`). Raises CliError."""

    def __call__(
        self, context: typer.Context, method: str, params: Mapping[str, object], *, subject: str | None = None, timeout_s: float = 10.0
    ) -> dict[str, object]: ...


class Reason(StrEnum):
    REMOVED = "removed"
    COVERED = "covered"


LabelArgument = Annotated[str, typer.Argument(metavar="LABEL", help="As printed on it: 16 hex digits, or a ticket's name.")]
PersonOption = Annotated[str | None, typer.Option("--person", metavar="NAME", help="Who says so (your login).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def price_commands(call: Call) -> typer.Typer:
    """`shelfd price ...`, asking the daemon through `call`."""
    app = typer.Typer(help="Why a price is what it is; what is held.", no_args_is_help=True)

    @app.command("why")
    def why(
        context: typer.Context,
        item: Annotated[str, typer.Argument(metavar="ITEM", help="Item number, or a bar code.")],
        as_json: JsonOption = False,
    ) -> None:
        """The target, what each label says against it, and what helps."""
        answer: dict[str, Any] = call(context, "price.why", {"item_id": item})
        if as_json:
            say(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        bounds = answer.pop("bounds", [])
        if on_terminal():
            _show_why(answer, bounds)
            return
        show_report(answer)
        say("")
        show_rows(bounds, first=BOUND_COLUMNS, nothing="no label says anything about it")

    @app.command("held")
    def held(context: typer.Context, as_json: JsonOption = False) -> None:
        """Items that labels keep below their target."""
        answer: dict[str, Any] = call(context, "price.held", {}, timeout_s=HELD_TIMEOUT_S)
        if as_json:
            say(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        rows, nothing = answer.get("held", []), "nothing is held: every lane asks its target"
        if on_terminal():
            told = [_held_words(row, answer["exponent"]) for row in rows]
            show_rows(told, first=HELD_WORDS, nothing=nothing, only=True, wide="remedy", cut="name")
        else:
            show_rows(rows, first=HELD_COLUMNS, nothing=nothing)
        if answer.get("cut"):
            say(f"... and so on: {answer['items']} items in all")

    @app.command("waiting")
    def waiting(context: typer.Context, as_json: JsonOption = False) -> None:
        """Rises that are due and wait for the store's own rules."""
        answer: dict[str, Any] = call(context, "price.waiting", {}, timeout_s=HELD_TIMEOUT_S)
        if as_json:
            say(json.dumps(answer, indent=2, ensure_ascii=False))
            return
        exponent = answer["exponent"]
        rows = [{**row, "rise": offer(row.pop("curve"), exponent), "why": WAITS.get(row["why"], row["why"])} for row in answer["waiting"]]
        show_rows(rows, first=WAITING_COLUMNS, nothing="nothing waits: what is due is in force", only=True, cut="name")
        if answer.get("cut"):
            say(f"... and so on: {answer['items']} items in all")

    @app.command("urgent")
    def urgent(
        context: typer.Context,
        item: Annotated[str, typer.Argument(metavar="ITEM", help="Item number, or a bar code.")],
        reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why it cannot wait; kept as evidence.")],
        person: PersonOption = None,
    ) -> None:
        """Let a rise through that the store's rules hold back: two persons say so, each with this command."""
        params = {"item_id": item, "reason": reason, "person": person or getpass.getuser()}
        show_report(call(context, "price.urgent", params))

    return app


def _held_words(row: Mapping[str, Any], exponent: int) -> dict[str, object]:
    per = f" for {row['quantity']}" if row["quantity"] != 1 else ""
    return {
        "item": row["item_id"],
        "name": row["name"],
        "target": money(row["target_minor"], exponent) + per,
        "held at": money(row["held_minor"], exponent) + per,
        "by": f"{row['label']}{'' if row['audience'] == 'all' else ' (members)'}",
        "place": row["place"],
        "why": row["reason"],
        "for": ago(row["age_s"]),
        "given away": money(row["given_away_minor"], exponent),
        "remedy": row["remedy"],
    }


def _show_why(answer: Mapping[str, Any], bounds: Sequence[Mapping[str, Any]]) -> None:
    exponent, target, lane_says = answer["exponent"], answer["target"], answer.get("lane")
    report: dict[str, object] = {"item": answer["item_id"], "name": answer["name"], "target": "no price"}
    if target is not None:
        ends = f" until {instant(target['until'])}" if target.get("until") else ""
        report["target"] = f"{offer(target['curve'], exponent)}, {target['kind']} {target['price_id']} rev {target['rev']}{ends}"
        report["since"] = f"{instant(target['from'])}, from {target['source']}, received {instant(target['received'])}"
    if answer.get("member_target"):
        report["members"] = f"{offer(answer['member_target']['curve'], exponent)}, {answer['member_target']['price_id']}"
    if (waits := answer.get("waits")) is not None:
        asked = f"; {waits['asked_by']} wants it now, a second person has to agree (shelfd price urgent)" if waits["asked_by"] else ""
        report["waits"] = f"{offer(waits['curve'], exponent)}: {WAITS.get(waits['why'], waits['why'])}{asked}"
    if lane_says is not None:
        report["lane asks"] = lane(lane_says, exponent)
    given = (answer["given_away_minor"], answer["given_away_ever_minor"])
    report["given away"] = f"{money(given[0], exponent)} by what holds it now, {money(given[1], exponent)} ever"
    show_report(report)
    say("")
    rows = [
        {
            "label": each["label"],
            "place": each["place"],
            "attempt": each["attempt"],
            "offer": offer(each["curve"], exponent) + ("" if each["audience"] == "all" else " (members)"),
            "shows": each["shows"],
            "grade": each["grade"],
            "holds": each["reason"] if each["holds"] else "no",
            "for": ago(each["age_s"]),
            "remedy": each["remedy"],
        }
        for each in bounds
    ]
    show_rows(rows, nothing="no label says anything about it", wide="remedy")


def add_label_commands(app: typer.Typer, call: Call) -> None:
    """What people decide about labels, into `shelfd label`."""

    @app.command("retire")
    def retire(
        context: typer.Context,
        label: LabelArgument,
        reason: Annotated[Reason | None, typer.Option(help="What was done with it.", show_default=False)] = None,
        person: PersonOption = None,
        undo: Annotated[bool, typer.Option("--undo", help="It is in use again.")] = False,
    ) -> None:
        """Say that no shopper can read a label: it no longer holds prices."""
        if undo:
            _restore(context, label, person)
        elif reason is None:
            raise typer.BadParameter("say --reason removed or --reason covered")
        else:
            answer = call(context, "label.retire", {"label": label, "reason": str(reason), "person": person or _login()})
            held = f"holds prices for {ago(answer['dwell_s'])} more" if answer["dwell_s"] else "holds no price any more"
            say(f"retired {label} as {reason}; what it showed {held}")

    @app.command("restore")
    def restore(context: typer.Context, label: LabelArgument, person: PersonOption = None) -> None:
        """Take a retired label into use again: all it may show counts."""
        _restore(context, label, person)

    def _restore(context: typer.Context, label: str, person: str | None) -> None:
        answer: dict[str, Any] = call(context, "label.restore", {"label": label, "person": person or _login()})
        wait_s = answer.get("hang_up_in_s")
        say(f"{label} is in use again" + (f"; hang it up in {wait_s} s, not before: a till was told more than it shows" if wait_s else ""))

    @app.command("retired")
    def retired(context: typer.Context, as_json: JsonOption = False) -> None:
        """Labels out of use, and whether they are heard all the same."""
        rows: Any = call(context, "label.retired", {}).get("labels", [])
        if as_json:
            say(json.dumps(rows, indent=2, ensure_ascii=False))
        else:
            show_rows(rows, first=("label", "reason", "person", "since"), nothing="no label is retired")

    @app.command("confirm")
    def confirm(
        context: typer.Context,
        label: LabelArgument,
        shows: Annotated[
            list[str] | None,
            typer.Option("--shows", metavar="PRICE", help="What you read: PRICE, ITEM=PRICE, or nothing.", show_default=False),
        ] = None,
        attempt: Annotated[int | None, typer.Option("--attempt", metavar="N", help="Which one hangs there.", show_default=False)] = None,
        person: PersonOption = None,
    ) -> None:
        """Say what you see on a label: it counts as proof."""
        if (attempt is None) == (not shows):
            raise typer.BadParameter("say either --shows PRICE or --attempt N")
        params: dict[str, object] = {"label": label, "person": person or _login()}
        params |= {"shows": shows} if shows else {"attempt": attempt}
        answer: dict[str, Any] = call(context, "label.confirm", params)
        proven = f"attempt {answer['attempt']} is proven" if answer["attempt"] is not None else "nobody sent that; it counts from now on"
        gone = ", ".join(map(str, answer["cannot_show_any_more"]))
        say(f"{label}: {proven}" + (f"; it cannot show any more, and no ticket may hang any more: {gone}" if gone else ""))

    @app.command("ticket")
    def ticket(
        context: typer.Context,
        label: LabelArgument,
        output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="(LABEL-N.png)", show_default=False)] = None,
        scale: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Pixels per dot.")] = 4,
    ) -> None:
        """Draw a paper label, to print and hang."""
        from edge.cli_render import save_answer

        answer = call(context, "label.ticket", {"label": label, "scale": scale}, timeout_s=DRAW_TIMEOUT_S)
        safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in label)
        save_answer(answer, output or Path(f"{safe}-{answer['attempt']}.png"))
        say(f"when it hangs there: shelfd label confirm {label} --attempt {answer['attempt']}")


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user number without a name
        return "unknown"
