"""The import rules of docs/ARCHITECTURE.md, read from the source: who may know whom, and who may do what.

Each rule is also shown to catch a planted fault.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGES = ("edge", "drivers", "render", "protocols")

# Which of our packages a package may import.
KNOWS = {
    "edge": {"edge", "drivers", "render", "protocols"},
    "drivers": {"drivers", "protocols"},
    "render": {"render"},
    "protocols": {"protocols"},
}

# What else the pure packages may import, besides the standard library.
THIRD_PARTY = {
    "render": {"numpy", "numba", "llvmlite", "PIL", "bidi"},
    "protocols": {"msgspec", "cryptography"},
}

# Modules of the edge that are told everything: no I/O, no time, no randomness.
PURE_EDGE = (
    "edge/model.py",
    "edge/pricing.py",
    "edge/proof.py",
    "edge/proof_rules.py",
    "edge/evidence.py",
    "edge/accuracy.py",
    "edge/guard_report.py",
    "edge/stock.py",
    "edge/planning.py",
    "edge/scanning.py",
    "edge/routing.py",
    "edge/opening_hours.py",
    "edge/rules/",
    "edge/head_office/books.py",
    "edge/head_office/history.py",
    "edge/head_office/sending.py",
    "edge/head_office/sharing.py",
    "edge/head_office/publishing.py",
    "edge/head_office/authority.py",
    "edge/head_office/broker_files.py",
)

OUTSIDE = {
    "asyncio", "concurrent", "fcntl", "http", "multiprocessing", "os", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "ssl", "subprocess", "tempfile", "termios", "threading", "tty", "urllib",
}  # fmt: skip
DISK = {"pathlib", "mmap"}
CLOCKS = {"time"}
CHANCE = {"random", "secrets"}
LOGS = {"logging"}
SQL = {"sqlite3", "apsw", "sqlite_utils", "psycopg"}
MAY_SQL = ("edge/store/", "edge/head_office/db/")
CLOCK_CALLS = {"now", "utcnow", "today"}  # of datetime and date
CHANCE_CALLS = {"uuid1", "uuid4", "urandom", "getrandom"}

# The modules that are the clock, and the shipped simulators, which play a whole machine with its noise.
MAY_ASK_TIME = ("edge/clock.py", "drivers/sim/")
MAY_CATCH_ALL = ("edge/supervise.py",)


@dataclass(frozen=True, slots=True)
class Rules:
    """What one file may not import, and whether it may ask for time."""

    forbidden: frozenset[str]
    told_time: bool


def rules_for(path: str) -> Rules:
    """The rules of a file, by its path from the project's root."""
    package = path.split("/", 1)[0]
    forbidden: set[str] = set()
    if not path.startswith(MAY_SQL):
        forbidden |= SQL
    if package == "protocols" or path.startswith(PURE_EDGE):
        forbidden |= OUTSIDE | DISK | LOGS
    elif package == "render":
        forbidden |= OUTSIDE | LOGS
    told_time = package != "edge" or path.startswith((*PURE_EDGE, "edge/store/"))
    told_time = told_time and not path.startswith(MAY_ASK_TIME)
    if told_time:
        forbidden |= CLOCKS | CHANCE
    return Rules(frozenset(forbidden), told_time)


def complaints(path: str, source: str) -> Iterator[str]:
    """Every line of a file that breaks a rule, as `path:line: what`."""
    rules = rules_for(path)
    package = path.split("/", 1)[0]
    for node in ast.walk(ast.parse(source)):
        for line, name in imported(node):
            top = name.split(".", 1)[0]
            if top in PACKAGES and top not in KNOWS[package]:
                yield f"{path}:{line}: {package} may not know {top}"
            elif top in rules.forbidden:
                yield f"{path}:{line}: may not import {top}"
            elif package in THIRD_PARTY and top not in PACKAGES and top not in sys.stdlib_module_names | THIRD_PARTY[package]:
                yield f"{path}:{line}: {package} may not import {top}"
        if isinstance(node, ast.ImportFrom) and node.level:
            yield f"{path}:{node.lineno}: relative import"
        if rules.told_time and isinstance(node, ast.Call):
            called = called_name(node)
            if called in CLOCK_CALLS | CHANCE_CALLS and is_outside_call(node):
                yield f"{path}:{node.lineno}: may not call {called}"
        if not path.startswith(MAY_CATCH_ALL) and catches_all(node):
            yield f"{path}:{getattr(node, 'lineno', 0)}: broad except"


def imported(node: ast.AST) -> Iterator[tuple[int, str]]:
    """The modules that a statement imports, `importlib.import_module("x")` and `__import__("x")` included."""
    match node:
        case ast.Import(names=names):
            for alias in names:
                yield node.lineno, alias.name
        case ast.ImportFrom(module=str(module), level=0):
            yield node.lineno, module
        case ast.Call(args=[ast.Constant(value=str(module)), *_]) if called_name(node) in ("import_module", "__import__"):
            yield node.lineno, module
        case _:
            return


def called_name(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def is_outside_call(node: ast.Call) -> bool:
    """A call on datetime, date, uuid or os, not a method of ours that has the same name."""
    match node.func:
        case ast.Attribute(value=ast.Name(id=owner)) | ast.Attribute(value=ast.Attribute(attr=owner)):
            return owner in ("datetime", "date", "uuid", "os")
        case ast.Name(id=name):
            return name in CHANCE_CALLS
        case _:
            return False


def catches_all(node: ast.AST) -> bool:
    """A bare or broad `except`, and `suppress(Exception)`."""
    match node:
        case ast.ExceptHandler(type=None):
            return True
        case ast.ExceptHandler(type=caught) if caught is not None:
            return any(map(is_broad, caught.elts if isinstance(caught, ast.Tuple) else [caught]))
        case ast.Call(args=args) if called_name(node) == "suppress":
            return any(map(is_broad, args))
        case _:
            return False


def is_broad(caught: ast.expr) -> bool:
    return isinstance(caught, ast.Name) and caught.id in ("Exception", "BaseException")


def test_every_module_keeps_the_import_rules(project_root: Path) -> None:
    files = [file for package in PACKAGES for file in sorted((project_root / package).rglob("*.py"))]
    assert len(files) > 10
    found = [text for file in files for text in complaints(file.relative_to(project_root).as_posix(), file.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "path, source",
    [
        ("protocols/oepl.py", "import edge.model"),
        ("protocols/oepl.py", "from render import panels"),
        ("protocols/oepl.py", "import numpy"),
        ("protocols/oepl.py", "import time"),
        ("protocols/oepl.py", "import asyncio.subprocess"),
        ("protocols/oepl.py", "import logging"),
        ("protocols/oepl.py", "def f():\n    from random import randint"),
        ("protocols/oepl.py", "import importlib\nimportlib.import_module('socket')"),
        ("protocols/oepl.py", "from datetime import datetime\nx = datetime.now()"),
        ("protocols/oepl.py", "import uuid\nx = uuid.uuid4()"),
        ("protocols/oepl.py", "from uuid import uuid4\nx = uuid4()"),
        ("protocols/oepl.py", "from . import hq"),
        ("render/api.py", "import protocols.oepl"),
        ("render/api.py", "import msgspec"),
        ("render/api.py", "import datetime\nx = datetime.date.today()"),
        ("drivers/pump.py", "from edge import clock"),
        ("drivers/pump.py", "import render.panels"),
        ("drivers/pump.py", "import time"),
        ("drivers/pump.py", "import apsw"),
        ("edge/pricing.py", "import os"),
        ("edge/rules/eu.py", "import pathlib"),
        ("edge/pos.py", "import sqlite3"),
        ("edge/head_office/worker.py", "import psycopg"),
        ("edge/head_office/books.py", "import time"),
        ("edge/store/db.py", "import time"),
        ("edge/pos.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ("edge/pos.py", "try:\n    f()\nexcept (ValueError, BaseException):\n    pass"),
        ("edge/pos.py", "try:\n    f()\nexcept:\n    pass"),
        ("edge/pos.py", "with suppress(Exception):\n    f()"),
    ],
)
def test_a_planted_fault_is_found(path: str, source: str) -> None:
    assert list(complaints(path, source))


@pytest.mark.parametrize(
    "path, source",
    [
        ("edge/app.py", "import asyncio, time, drivers.base, render.api, protocols.hq"),
        ("edge/store/db.py", "import apsw, pathlib, threading"),
        ("edge/clock.py", "import time\nx = time.time()"),
        ("edge/supervise.py", "try:\n    f()\nexcept Exception:\n    pass"),
        ("drivers/sim/worldclock.py", "import mmap, time, random"),
        ("drivers/pump.py", "import asyncio\nfrom protocols import oepl\nx = clock.now()"),
        ("protocols/hq.py", "import hashlib, json\nfrom cryptography.hazmat.primitives import hashes\nimport msgspec"),
        ("protocols/hq.py", "try:\n    f()\nexcept ValueError:\n    pass"),
        ("render/api.py", "import numpy, numba\nfrom PIL import Image\nfrom importlib import resources"),
    ],
)
def test_what_the_rules_allow_is_not_reported(path: str, source: str) -> None:
    assert not list(complaints(path, source))


def test_the_command_starts_without_kernels_radios_or_a_database(project_root: Path) -> None:
    program = "import sys, edge.entry, edge.cli; print(*sorted({'numba', 'numpy', 'PIL', 'apsw', 'serial', 'bleak'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
