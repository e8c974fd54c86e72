"""The command `shelfd`. Everything on live data goes to the daemon over its control socket; no command opens the database.

Exit codes: 0 done, 1 the daemon refused or does not answer, 2 wrong usage, configuration or input file.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, cast

import typer

from edge import __version__, cli_audit, cli_guard, cli_hq, cli_import, cli_lane, cli_restore, cli_stock, cli_token
from edge.cli_tables import say, show_report, show_rows, warn
from edge.config import DEFAULT_CONTROL_SOCKET, ConfigError, load
from edge.entry import DEFAULT_CONFIG, EXIT_REFUSED, EXIT_USAGE, TIME_SCALE_MAX, CliError, run_daemon
from protocols.jsonrpc import RpcError

EXIT_INTERRUPTED = 130

INPUT_BYTES_MAX = 32 << 20  # a catalogue of 100,000 items is about 10 MB
ANSWER_TIMEOUT_S = 10.0  # a list of 30,000 labels takes under one second
DRAWN_TIMEOUT_S = 130.0  # right after an installation the workers still compile; the daemon gives them two minutes

# typer brings a click of its own, whose base class of errors is reached through the one that it shows.
CommandError = cast("type[Exception]", typer.BadParameter.__mro__[2])

STORE, LABELS, PRICES = "The store", "Labels and radios", "Prices"

app = typer.Typer(
    name="shelfd",
    help="Shelf labels, tills and head office agree on every price.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
label_app = typer.Typer(help="List labels; bind them to items.", no_args_is_help=True)
radio_app = typer.Typer(help="List radios.", no_args_is_help=True)
hold_app = typer.Typer(help="Price changes held as implausible.", no_args_is_help=True)
app.add_typer(label_app, name="label", rich_help_panel=LABELS)
app.add_typer(radio_app, name="radio", rich_help_panel=LABELS)
app.add_typer(hold_app, name="hold", rich_help_panel=PRICES)


@dataclass(frozen=True, slots=True)
class Settings:
    """What the options before the command say. `config` None: not given, the default place may be empty."""

    config: Path | None
    socket: Path | None


ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help=f"Configuration ({DEFAULT_CONFIG}).", show_default=False)
]
PersonOption = Annotated[str, typer.Option("--person", metavar="NAME", help="Who decides.", show_default=False)]
ByOption = Annotated[str | None, typer.Option("--by", metavar="NAME", help="Who does it (your login).", show_default=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the answer as JSON.")]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Expected errors are one line on stderr; `--debug` shows their traceback."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    try:
        result = app(args=words, prog_name="shelfd", standalone_mode=False)
    except (CliError, ConfigError, CommandError) as error:
        if "--debug" in words:
            raise
        text = _usage(cast("typer.BadParameter", error)) if isinstance(error, CommandError) else str(error)
        if text:
            warn(f"shelfd: {' '.join(text.split())}")
        return error.exit_code if isinstance(error, CliError) else EXIT_USAGE
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_INTERRUPTED
    except BrokenPipeError:  # `shelfd label list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _usage(error: typer.BadParameter) -> str:
    """What is wrong with the words on the command line; empty where the help was printed instead."""
    problem = error.format_message().rstrip(".")
    command = error.ctx.command_path if error.ctx is not None else "shelfd"
    return f"{problem}; see: {command} --help" if problem else ""


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"shelfd {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    context: typer.Context,
    config: ConfigOption = None,
    socket: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Control socket (from the configuration).", show_default=False)
    ] = None,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback where a command fails.")] = False,
    version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")] = False,
) -> None:
    del debug, version  # main() looks for --debug itself: an error may come before this function
    context.obj = Settings(config, socket)


# --- the daemon


@app.command(rich_help_panel=STORE)
def run(
    context: typer.Context,
    config: ConfigOption = None,
    time_scale: Annotated[float, typer.Option(metavar="N", help="Simulated store: N times real time.", show_default=False)] = 1.0,
    sim_clock: Annotated[Path | None, typer.Option(metavar="FILE", help="Simulated store: its clock file.", show_default=False)] = None,
) -> int | None:
    """Run the daemon (what the service does)."""
    return run_daemon(config or _settings(context).config or DEFAULT_CONFIG, time_scale, sim_clock)


@app.command(rich_help_panel=STORE)
def demo(
    seconds: Annotated[
        float | None, typer.Option(metavar="N", help="End N seconds after the store is ready, else at Ctrl-C.", show_default=False)
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the result there.", show_default=False)] = None,
    speed: Annotated[float, typer.Option(metavar="N", help="Store time runs N times as fast.")] = 60.0,
) -> int | None:
    """A whole store without hardware, selling."""
    if seconds is not None and seconds <= 0:
        raise CliError(f"--seconds: found {seconds:g}, expected a number above 0", EXIT_USAGE)
    if not 1 <= speed <= TIME_SCALE_MAX:
        raise CliError(f"--speed: found {speed:g}, expected a number from 1 to {TIME_SCALE_MAX:g}", EXIT_USAGE)
    from edge.demo import main as demo_store

    return demo_store.run(seconds=seconds, json_path=json_file, speed=speed)


@app.command("check-config", rich_help_panel=STORE)
def check_config(
    context: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help=f"({DEFAULT_CONFIG})", show_default=False)] = None,
) -> None:
    """Check a configuration file."""
    config = load(file or _settings(context).config or DEFAULT_CONFIG)
    lanes, radios = len(config.lanes), len(config.radios)
    say(f"{config.source}: good: store {config.store.id}, {_count(lanes, 'lane')}, {_count(radios, 'radio')}")


@app.command(rich_help_panel=STORE)
def enrol(context: typer.Context, file: Annotated[Path, typer.Argument(metavar="FILE", help="The file from head office.")]) -> None:
    """Tell the store who its head office is."""
    try:
        content = json.loads(_read_text(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise CliError(f"{file}: not valid JSON: {error}, expected an enrolment file", EXIT_USAGE) from error
    if not isinstance(content, dict):
        raise CliError(f"{file}: expected a JSON object, an enrolment file", EXIT_USAGE)
    answer = _call(context, "enrol", content, subject=str(file))
    say(f"enrolled {_word(answer, 'store', content.get('store', 'this store'))}")


@app.command(rich_help_panel=STORE)
def status(context: typer.Context, as_json: JsonOption = False) -> None:
    """What works, what waits, what is held."""
    answer = _call(context, "status", {})
    if as_json:
        say(json.dumps(answer, indent=2, ensure_ascii=False))
    else:
        show_report(answer)


# --- prices


@app.command("import", rich_help_panel=PRICES)
def import_file(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Items, prices, stock or bindings; delimited text.")],
    feed: cli_import.FeedOption = None,
    kind: cli_import.KindOption = None,
    mode: cli_import.ModeOption = None,
    dry_run: cli_import.DryRunOption = False,
    report: cli_import.ReportOption = None,
    as_json: JsonOption = False,
) -> int:
    """Bring items, prices, stock or bindings from a file."""
    return cli_import.bring(_call, context, file, feed=feed, kind=kind, mode=mode, dry_run=dry_run, report=report, as_json=as_json)


@hold_app.command("list")
def hold_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """Held changes, with the reason."""
    _list(context, "hold.list", "holds", ("id", "item_id", "old", "new", "reason"), "nothing is held", as_json)


HoldIds = Annotated[list[str], typer.Argument(metavar="ID", help="As `shelfd hold list` prints them.")]


@hold_app.command("release")
def hold_release(context: typer.Context, ids: HoldIds, person: PersonOption) -> None:
    """Let changes through: two persons, one after the other."""
    show_report(_call(context, "hold.release", {"ids": ids, "person": person}))


@hold_app.command("discard")
def hold_discard(context: typer.Context, ids: HoldIds, person: PersonOption) -> None:
    """Drop changes; the prices stay as they are."""
    show_report(_call(context, "hold.discard", {"ids": ids, "person": person}))


# --- labels and radios


@label_app.command("list")
def label_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """Every label: item, state, last check-in."""
    _list(context, "label.list", "labels", ("label", "items", "template", "place"), "no labels yet", as_json)


LabelArgument = Annotated[str, typer.Argument(metavar="LABEL", help="As printed on it: 16 hex digits.")]


@label_app.command("bind")
def label_bind(
    context: typer.Context,
    label: LabelArgument,
    items: Annotated[list[str], typer.Argument(metavar="ITEM", help="Item number, or a bar code.")],
    template: Annotated[str | None, typer.Option(metavar="NAME", help="Layout (from the configuration).", show_default=False)] = None,
    place: Annotated[str | None, typer.Option(metavar="A/B/S/N", help="Aisle/bay/shelf/slot.", show_default=False)] = None,
    by: ByOption = None,
    paper: Annotated[bool, typer.Option("--paper", help="A printed ticket; LABEL is its name.")] = False,
) -> None:
    """Bind a label to an item."""
    params: dict[str, object] = {"label": label, "items": items, "by": by or _login()}
    if paper:
        params["paper"] = True
    if template is not None:
        params["template"] = template
    if place is not None:
        params["place"] = _place(place)
    _call(context, "label.bind", params)
    say(f"bound {label} to {', '.join(items)}")


@label_app.command("unbind")
def label_unbind(context: typer.Context, label: LabelArgument, by: ByOption = None) -> None:
    """Take a label off its items; it shows "unassigned"."""
    _call(context, "label.unbind", {"label": label, "by": by or _login()})
    say(f"unbound {label}")


@label_app.command("import")
def label_import(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="label,items,...")],
    dry_run: cli_import.DryRunOption = False,
) -> int:
    """Bind many labels from a file: shelfd import --kind labels."""
    return cli_import.bring(_call, context, file, kind="labels", dry_run=dry_run)


@radio_app.command("list")
def radio_list(context: typer.Context, as_json: JsonOption = False) -> None:
    """Every radio: its own address, state, port."""
    _list(context, "radio.list", "radios", ("name", "radio_id", "state", "device"), "no radios configured", as_json)


@app.command(rich_help_panel=LABELS)
def render(
    context: typer.Context,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="ITEM|TEMPLATE", help="Item number or bar code, or a template.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("--output", "--out", "-o", metavar="FILE", help="(ITEM.png)", show_default=False)] = None,
    template: Annotated[str | None, typer.Option(metavar="NAME", help="Layout (from the configuration).", show_default=False)] = None,
    panel: Annotated[str | None, typer.Option(metavar="NAME", help="Panel type (2.9 inch).", show_default=False)] = None,
    scale: Annotated[int, typer.Option(min=1, max=8, metavar="N", help="Pixels per dot of the panel.")] = 1,
    fields: Annotated[Path | None, typer.Option(metavar="FILE.json", help="TEMPLATE: what to show.", show_default=False)] = None,
    page: Annotated[int, typer.Option(min=0, max=7, metavar="N", help="TEMPLATE: which page.")] = 0,
    folder: Annotated[Path | None, typer.Option(metavar="DIR", help="TEMPLATE: your own are there.", show_default=False)] = None,
    check: Annotated[bool, typer.Option("--check", help="Measure and check templates.")] = False,
    sheet: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw all templates on one picture.", show_default=False)] = None,
) -> int | None:
    """Draw an item's label as its panel shows it; draw and check templates without the daemon."""
    from edge import cli_render

    words, source = what or [], cli_render.source_of(folder)
    if check:
        return cli_render.check(words, source)
    if sheet is not None:
        cli_render.sheet(sheet, words, source)
    elif len(words) != 1:
        raise CliError(f"found {_count(len(words), 'word')}, expected one ITEM or TEMPLATE; see: shelfd render --help", EXIT_USAGE)
    elif cli_render.is_template(words[0], source) or fields is not None or page:
        cli_render.draw(words[0], source, cli_render.Drawing(panel, fields, output, scale, page))
    else:
        params: dict[str, object] = {"item_id": words[0], "scale": scale}
        params.update({key: value for key, value in (("template", template), ("panel", panel)) if value is not None})
        safe = "".join(char if char.isalnum() or char in "-_" else "_" for char in words[0])
        cli_render.save_answer(_call(context, "render", params, timeout_s=DRAWN_TIMEOUT_S), output or Path(f"{safe}.png"))
    return None


# --- shared


def _call(
    context: typer.Context,
    method: str,
    params: Mapping[str, object],
    *,
    subject: str | None = None,
    timeout_s: float = ANSWER_TIMEOUT_S,
) -> dict[str, object]:
    """Ask the daemon. `subject` is the file that a refusal is about. Raises `CliError`."""
    from edge.lane_client import ControlClient, DaemonAbsent, DaemonForbidden, DaemonUnreachable

    path = _control_socket(_settings(context))
    try:
        with ControlClient(path, timeout_s=timeout_s) as client:
            answer: dict[str, object] = client.call(method, params, dict)
    except RpcError as error:
        text = error.detail or error.cashier
        raise CliError(f"{subject}: {text}" if subject else text, EXIT_REFUSED) from error
    except DaemonForbidden as error:
        raise CliError(f"{error}; use sudo, or become a member of its group", EXIT_REFUSED) from error
    except DaemonAbsent as error:
        raise CliError(f"{error}; is the daemon running? systemctl status shelfd", EXIT_REFUSED) from error
    except DaemonUnreachable as error:
        raise CliError(f"{error}; whether it was done is not known, see: shelfd status", EXIT_REFUSED) from error
    return answer


def _list(context: typer.Context, method: str, key: str, first: Sequence[str], nothing: str, as_json: bool) -> None:
    answer = _call(context, method, {})
    rows = answer.get(key, [])
    if as_json:
        say(json.dumps(rows, indent=2, ensure_ascii=False))
    elif isinstance(rows, list):
        show_rows(rows, first=first, nothing=nothing)


def _control_socket(settings: Settings) -> Path:
    """From the option, else from the configuration, else the usual place when there is no configuration at all."""
    if settings.socket is not None:
        return settings.socket
    if settings.config is None and not DEFAULT_CONFIG.exists():
        return Path(DEFAULT_CONTROL_SOCKET)
    return load(settings.config or DEFAULT_CONFIG).daemon.control_socket


def _read_text(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            content = stream.read(INPUT_BYTES_MAX + 1)
    except OSError as error:
        raise CliError(f"{file}: cannot be read: {error.strerror}", EXIT_USAGE) from error
    if len(content) > INPUT_BYTES_MAX:
        raise CliError(f"{file}: larger than {INPUT_BYTES_MAX >> 20} MB, expected a smaller file; split it", EXIT_USAGE)
    try:
        return content.decode("utf-8-sig")  # spreadsheets put a byte order mark first
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise CliError(f"{file}: line {line}: not UTF-8 text", EXIT_USAGE) from error


def _place(text: str) -> dict[str, str]:
    parts = text.split("/")
    if len(parts) != 4 or not all(parts):
        raise CliError(f'--place: found "{text}", expected aisle/bay/shelf/slot such as 3/2/4/1', EXIT_USAGE)
    return dict(zip(("aisle", "bay", "shelf", "slot"), parts, strict=True))


def _settings(context: typer.Context) -> Settings:
    settings = context.obj
    assert isinstance(settings, Settings)
    return settings


def _login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user number without a name
        return f"uid {os.getuid()}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _word(answer: Mapping[str, object], key: str, default: object) -> str:
    return str(answer.get(key, default))


app.add_typer(cli_audit.commands(_call), name="audit", rich_help_panel=STORE)
app.add_typer(cli_lane.commands(lambda context: load(_settings(context).config or DEFAULT_CONFIG)), name="lane", rich_help_panel=STORE)
app.add_typer(cli_stock.commands(_call), name="stock", rich_help_panel=STORE)
app.add_typer(cli_token.commands(_call), name="token", rich_help_panel=STORE)
app.add_typer(cli_import.commands(_call), name="imports", rich_help_panel=PRICES)
cli_restore.add_command(app, lambda context: load(_settings(context).config or DEFAULT_CONFIG), STORE)
app.add_typer(cli_guard.price_commands(_call), name="price", rich_help_panel=PRICES)
cli_guard.add_label_commands(label_app, _call)
app.add_typer(cli_hq.app, name="hq", rich_help_panel=STORE)
