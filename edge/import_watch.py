"""Which files of a watched folder are whole. Pure: is told what was seen now and at the look before."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from edge.import_feed import Complete

MARKER: Final = ".done"
REPORT: Final = ".report.csv"
UNFINISHED: Final = (".tmp", ".part", ".partial", ".filepart", ".crdownload", ".swp", "~")  # as copying programs name what is not whole
_ID: Final = re.compile(r"\.(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})(?=\.|$)")


@dataclass(frozen=True, slots=True)
class Seen:
    """A regular file at one look."""

    name: str
    inode: int
    size_bytes: int
    mtime_ns: int


def ready(now: Iterable[Seen], before: Mapping[str, Seen], pattern: str, complete: Complete) -> list[str]:
    """The names to read, oldest first.

    RENAME: a name that matches, is not one of a file being written, and looks the same at two looks: a file that somebody copies
    straight to its name, against the rules, is still growing at the second. MARKER: NAME.done lies beside it.
    """
    files = {each.name: each for each in now}
    wanted = [each for each in files.values() if fnmatch.fnmatchcase(each.name, pattern) and _could_be(each.name)]
    if complete is Complete.MARKER:
        found = [each for each in wanted if each.name + MARKER in files]
    else:
        found = [each for each in wanted if before.get(each.name) == each]
    return [each.name for each in sorted(found, key=lambda each: (each.mtime_ns, each.name))]


def _could_be(name: str) -> bool:
    return not name.startswith((".", "~")) and not name.endswith((*UNFINISHED, MARKER, REPORT))


def claimed_name(name: str, import_id: str) -> str:
    """The name under which a file is worked on and kept: its own with the import's id, so that no two collide."""
    stem, dot, suffix = name.rpartition(".")
    return f"{stem}.{import_id}.{suffix}" if dot and stem else f"{name}.{import_id}"


def parse_claimed(name: str) -> tuple[str, str] | None:
    """(The file's own name, the import's id), or None for a name that is not ours."""
    found = list(_ID.finditer(name))
    return (name[: found[-1].start()] + name[found[-1].end() :], found[-1]["id"]) if found else None


def id_ms(import_id: str) -> int:
    """When an import began: its id holds it."""
    return int(import_id[:8] + import_id[9:13], 16)
