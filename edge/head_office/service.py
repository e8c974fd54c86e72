"""The process around a worker: log, signals, exit code."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
from typing import Final

from edge.clock import SystemClock
from edge.head_office.db.seam import Database, DatabaseGone
from edge.head_office.settings import Settings
from edge.head_office.worker import Worker
from protocols.hq import Signer

log = logging.getLogger("shelfd.hq")

EXIT_DATABASE: Final = 3  # the service manager starts it again


def serve(settings: Settings, db: Database, signer: Signer) -> int:
    """Until SIGTERM or SIGINT. Returns the exit code: 0, or 3 where the database went away."""
    logging.basicConfig(level="INFO", format="%(levelname)s %(name)s %(message)s", stream=sys.stderr)
    logging.getLogger("mqtt").setLevel(logging.ERROR)
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return asyncio.run(_serve(settings, db, signer, owner))


async def _serve(settings: Settings, db: Database, signer: Signer, owner: str) -> int:
    worker = Worker(settings, db, signer, SystemClock(), owner)
    work = asyncio.create_task(worker.run(), name="hq worker")
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, work.cancel)
    try:
        await work
    except asyncio.CancelledError:
        worker.leave()
        log.info("worker=%s ended, %s", owner, worker.counters)
        return 0
    except BaseExceptionGroup as group:
        gone, others = group.split(DatabaseGone)
        if gone is None or others is not None:
            raise
        log.critical("database: %s", gone.exceptions[0])
    return EXIT_DATABASE
