"""`shelfd restore`: a copy takes the place of the store's file. The daemon must not run."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from edge.cli_tables import say
from edge.config import Config
from edge.entry import EXIT_REFUSED, CliError

DATABASE_NAME = "shelfd.db"


def add_command(app: typer.Typer, config: Callable[[typer.Context], Config], panel: str) -> None:
    """Add the command; `config` reads the configuration that the options name."""

    @app.command("restore", rich_help_panel=panel)
    def restore_copy(
        context: typer.Context, file: Annotated[Path, typer.Argument(metavar="COPY", help="A copy of the store's file.")]
    ) -> None:
        """Put a copy of the store's file in its place (with the daemon stopped). HQ is asked for what the copy does not know."""
        from edge.clock import SystemClock  # heavy with what follows, and no other command needs it
        from edge.state_lock import only_one
        from edge.store.db import StoreError
        from edge.store.restore import restore

        folder = config(context).daemon.state_dir
        try:
            lock = only_one(folder)
            try:
                done = restore(file, folder / DATABASE_NAME, SystemClock())
            finally:
                os.close(lock)
        except (StoreError, OSError) as error:
            raise CliError(str(error), EXIT_REFUSED) from error
        since = datetime.fromtimestamp(done.since_ms / 1_000, UTC)
        say(f"Restored. The copy knows nothing after {since:%Y-%m-%d %H:%M:%S} UTC; the next start begins anew with it.")
        say(f"{done.labels} labels count as unknown then until they are proven; {done.events} events go to head office again.")
        if done.kept is not None:
            say(f"The file that was there: {done.kept}")
