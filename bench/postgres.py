"""A real PostgreSQL for the tests and the benches: Debian's, on a free port of loopback, in a directory of its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psycopg

from bench.brokers import HOST, DidNotStart, Process
from edge.demo.broker import free_port

DEBIAN: Final = Path("/usr/lib/postgresql")
SERVICE_USER: Final = "postgres"  # initdb refuses root


@contextmanager
def postgres(*, durable: bool = True) -> Iterator[str]:
    """The address of a server for the time of the block. Not `durable`: nothing is flushed, for tests that never pull its plug."""
    programs = _programs()
    as_root = os.geteuid() == 0
    user = SERVICE_USER if as_root else pwd.getpwuid(os.getuid()).pw_name
    directory = Path(tempfile.mkdtemp(prefix="shelfd-pg-"))
    server = None
    try:
        if as_root:
            shutil.chown(directory, user)
        data, port = directory / "data", free_port()
        initdb = [str(programs / "initdb"), "-D", str(data), "-U", "shelfd", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(initdb, user=user if as_root else None, cwd=directory, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DidNotStart(f"initdb: {done.stderr[-2000:]}")
        command = [str(programs / "postgres"), "-D", str(data), "-h", HOST, "-p", str(port), "-k", str(directory)]
        if not durable:
            command += ["-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off"]
        server = Process(command, directory / "log", user=user if as_root else None)
        server.start()
        server.said("ready to accept connections")
        yield f"postgresql://shelfd@{HOST}:{port}/postgres"
    finally:
        if server is not None:
            server.stop()
        shutil.rmtree(directory)


def new_schema(server: str, name: str) -> str:
    """Room for one head office; its address."""
    with psycopg.connect(server, autocommit=True) as db:
        db.execute(f'CREATE SCHEMA "{name}"'.encode())
    return f"{server}?options=-csearch_path%3D{name}"


def _programs() -> Path:
    """Where Debian keeps them: not on the PATH."""
    found = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        raise DidNotStart("PostgreSQL is not installed")
    return Path(on_path).resolve().parent
