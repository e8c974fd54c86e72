"""`shelfd hq`: the reference head office. Works on its own folder and database, never on a store's daemon."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from edge.cli_tables import say, show_rows
from edge.entry import EXIT_REFUSED, EXIT_USAGE, CliError

if TYPE_CHECKING:  # database and signatures: no other command waits for them
    from edge.head_office.db.seam import Database
    from edge.head_office.settings import Settings

FILE_BYTES_MAX: Final = 256 << 20  # a catalogue of 500,000 items as JSON
BROKER_PORT: Final = 8883

app = typer.Typer(help="Head office: publish to stores, book what they tell.", no_args_is_help=True)
store_app = typer.Typer(help="Stores of this head office.", no_args_is_help=True)
key_app = typer.Typer(help="Keys that sign what head office says.", no_args_is_help=True)
app.add_typer(store_app, name="store")
app.add_typer(key_app, name="key")

FolderOption = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Made by shelfd hq init (here).")]
StoreArgument = Annotated[str, typer.Argument(metavar="ID", help="Letters, digits, - and _, at most 32.")]
StoresOption = Annotated[list[str] | None, typer.Option("--store", metavar="ID", help="To this store; may be repeated (all).")]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Make a new certificate; the old one stays valid until it ends.")]
HERE: Final = Path()


@app.command("init")
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Made when it is not there.")],
    broker: Annotated[list[str], typer.Option("--broker", metavar="HOST", help="Name or address of the broker; may be repeated.")],
    port: Annotated[int, typer.Option(metavar="N", help="Its MQTT port.")] = BROKER_PORT,
    database: Annotated[
        str | None, typer.Option(metavar="URL", help="postgresql://... (a SQLite file in DIR).", show_default=False)
    ] = None,
    plain: Annotated[bool, typer.Option("--plain", help="Without TLS: for a trial on one machine.")] = False,
) -> None:
    """Make a head office: keys, authority, the broker's files, database."""
    from edge.head_office import folder as files

    with _told():
        files.make(folder, tuple(broker), port, database, _now_ms(), tls=not plain)
        with _opened(folder) as (settings, _, incarnation):
            files.write_access(settings, {})
    say(f"made {folder}, incarnation {incarnation}")
    say(f"bring {folder / 'broker'} to the broker's machine; keep {folder / 'keys'} and {folder / 'ca'} to yourself")


@store_app.command("add")
def store_add(store: StoreArgument, folder: FolderOption = HERE, replace: ReplaceOption = False) -> None:
    """Add a store: its certificate, its enrolment, its rights at the broker."""
    from edge.head_office import folder as files
    from edge.head_office.db import log

    with _told(), _opened(folder) as (settings, db, incarnation):
        made = files.write_store(settings, store, incarnation, _now_ms(), replace=replace)
        log.add_store(db, store)
        files.write_access(settings, log.stores(db))
    say(f"bring {made} to the store as {files.STORE_FOLDER}, then there: shelfd enrol {files.STORE_FOLDER}/enrolment.json")
    say("NATS names every store: bring broker/nats-users.conf to its machines and reload it")


@store_app.command("list")
def store_list(folder: FolderOption = HERE) -> None:
    """Every store: when it was heard, what it has told."""
    from edge.head_office.db import report

    with _told(), _opened(folder) as (_, db, _incarnation):
        show_rows(report.stores(db), first=("store", "partition", "online"), nothing="no stores yet; see: shelfd hq store add")


@key_app.command("add")
def key_add(name: Annotated[str, typer.Argument(metavar="NAME")], folder: FolderOption = HERE) -> None:
    """Make another command key; hq.toml says which one signs."""
    from edge.head_office import folder as files

    with _told():
        public = files.make_key(folder, name)
    say(f"{name} {public}")
    say(f'stores must know it before it signs: then set key = "{name}" in hq.toml')


@app.command("publish")
def publish(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help=".json or .csv", show_default=False)] = None,
    store: StoresOption = None,
    snapshot: Annotated[bool, typer.Option("--snapshot", help="FILE.csv is the whole catalogue; without FILE: the database's.")] = False,
    folder: FolderOption = HERE,
) -> None:
    """Say it to stores: items, prices, holds, a whole catalogue."""
    from edge.head_office.db import log
    from edge.head_office.publish import publish as say_to

    text = None if file is None else _read(file)
    if text is None and not snapshot:
        raise CliError("expected FILE, or --snapshot for the database's own catalogue", EXIT_USAGE)
    with _told(file), _opened(folder) as (settings, db, _):
        author, csv = log.Author(settings.signer(), settings.hq.source), file is not None and file.suffix.lower() == ".csv"
        for said in say_to(db, author, store or (), text, csv=csv, hq=settings.hq, whole=snapshot):
            say(f"{said.store} {said.stream} {said.first}-{said.last}")


@app.command("run")
def run(folder: FolderOption = HERE) -> int:
    """A worker: books what stores tell, sends what was published."""
    from edge.head_office.service import serve

    with _told(), _opened(folder) as (settings, db, _):
        return serve(settings, db, settings.signer())


@app.command("status")
def status(folder: FolderOption = HERE) -> None:
    """Leases, totals, and what must not happen."""
    from edge.cli_tables import show_report
    from edge.head_office.db import report

    with _told(), _opened(folder) as (_, db, incarnation):
        show_report({"incarnation": incarnation, **report.totals(db)})
        say("")
        show_rows(report.leases(db), nothing="nobody works: shelfd hq run")
        say("")
        show_rows(report.alarms(db), nothing="no alarms")


@app.command("restored")
def restored(folder: FolderOption = HERE) -> None:
    """After the database came back from a copy: begin the streams anew and say every catalogue again."""
    import secrets

    from edge.head_office.db import log
    from edge.head_office.publish import draft

    with _told(), _opened(folder) as (settings, db, _):
        log.begin_anew(db, secrets.token_hex(16))
        author = log.Author(settings.signer(), settings.hq.source)
        for name in log.stores(db):
            log.append(db, author, name, draft(db, name, None, csv=False, hq=settings.hq, whole=True))
            say(f"{name}: catalogue said again")


@contextmanager
def _opened(folder: Path) -> Iterator[tuple[Settings, Database, str]]:
    """(settings, database, incarnation of the log)."""
    import secrets

    from edge.head_office import settings as files
    from edge.head_office.db import log
    from edge.head_office.db.seam import open_database

    settings = files.load(folder)
    db = open_database(settings.database)
    try:
        yield settings, db, log.prepare(db, secrets.token_hex(16))
    finally:
        db.close()


@contextmanager
def _told(file: Path | None = None) -> Iterator[None]:
    """What can go wrong, as one line."""
    from edge.head_office.db.log import UnknownStore
    from edge.head_office.db.seam import BadDatabase, DatabaseGone
    from edge.head_office.publishing import BadFile
    from edge.head_office.settings import BadSettings

    try:
        yield
    except BadFile as error:
        raise CliError(f"{file}: {error}", EXIT_USAGE) from error
    except (BadSettings, BadDatabase) as error:
        raise CliError(str(error), EXIT_USAGE) from error
    except (UnknownStore, DatabaseGone) as error:
        raise CliError(str(error), EXIT_REFUSED) from error
    except OSError as error:
        raise CliError(f"{error.filename}: {error.strerror}", EXIT_REFUSED) from error


def _read(file: Path) -> bytes:
    try:
        with file.open("rb") as stream:
            content = stream.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise CliError(f"{file}: cannot be read: {error.strerror}", EXIT_USAGE) from error
    if len(content) > FILE_BYTES_MAX:
        raise CliError(f"{file}: larger than {FILE_BYTES_MAX >> 20} MB, expected a smaller file; split it", EXIT_USAGE)
    return content


def _now_ms() -> int:
    from edge.clock import SystemClock

    return SystemClock().wall_ms()
