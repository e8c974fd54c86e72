"""`shelfd lane`: certificates for tills that are other machines. Works on files, not on the daemon."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final

import typer

from edge.cli_tables import say
from edge.config import DEFAULT_LANE_CERTIFICATES, Config
from edge.entry import EXIT_REFUSED, EXIT_USAGE, CliError
from edge.lane_tls import AUTHORITY, LANES, LISTENER, CertificateTrouble, add_lane

SERVICE_GROUP: Final = "shelfd"  # who runs the daemon: it reads the listener's key and the lanes' certificates


LaneName = Annotated[str, typer.Argument(metavar="NAME", help="The lane's id in the configuration.")]
FolderOption = Annotated[
    Path | None, typer.Option("--dir", metavar="DIR", help=f"Where to put them ({DEFAULT_LANE_CERTIFICATES}).", show_default=False)
]
HostOption = Annotated[
    list[str] | None, typer.Option("--host", metavar="ADDRESS", help="Another address of this machine.", show_default=False)
]
ReplaceOption = Annotated[bool, typer.Option("--replace", help="Make a new one; the till's old one ends.")]


def commands(configuration: Callable[[typer.Context], Config]) -> typer.Typer:
    """The commands, with the configuration that the options before them name."""
    app = typer.Typer(help="Certificates for tills on the LAN.", no_args_is_help=True)

    @app.callback()
    def _lane() -> None:
        """Certificates for tills on the LAN."""

    @app.command("add")
    def add(
        context: typer.Context, name: LaneName, folder: FolderOption = None, host: HostOption = None, replace: ReplaceOption = False
    ) -> None:
        """Make the certificate and key of a till that is another machine."""
        _add(configuration(context), name, folder, host or [], replace=replace)

    return app


def _add(config: Config, name: str, folder: Path | None, hosts: list[str], *, replace: bool) -> None:
    """Make a lane's certificate and say what goes where. Raises CliError."""
    lane = next((each for each in config.lanes if each.id == name), None)
    if lane is None or (lane.listen is None and not hosts):
        raise CliError(
            f'{name}: {config.source} has no [[lane]] of this id with an address, such as listen = "10.0.0.5:7443"; write it first',
            EXIT_USAGE,
        )
    named = [each.listen.host for each in config.lanes if each.listen is not None] + hosts
    where = folder or config.daemon.lane_certificates
    try:
        files = add_lane(where, name, config.store.id, named, replace=replace)
        _give_to_service(where)
    except CertificateTrouble as error:
        raise CliError(str(error), EXIT_REFUSED) from error
    except ValueError as error:
        raise CliError(f"--host: {error}, expected an address", EXIT_USAGE) from error
    say(f"made {files.certificate}")
    say(f"bring to the till, and delete the key here: {files.key}")
    say(f"the till also needs: {files.authority}")
    say("then restart shelfd: it reads certificates when it starts")


def _give_to_service(folder: Path) -> None:
    """What the daemon reads belongs to its group; the authority's key stays with whoever ran the command."""
    if os.geteuid() != 0:
        return
    try:
        for path in (folder, folder / LANES, folder / f"{AUTHORITY}.crt", folder / f"{LISTENER}.crt", folder / f"{LISTENER}.key"):
            shutil.chown(path, group=SERVICE_GROUP)
        (folder / f"{LISTENER}.key").chmod(0o640)
    except LookupError:  # the service is not installed here: the files are for another machine
        return
