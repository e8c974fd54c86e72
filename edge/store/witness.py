"""Whether the store's file is the one that was used here last, or an older copy that somebody put back.

A copy cannot know. So the head of the audit chain is kept in a file beside it, every now and then and at each orderly end: a chain that
does not reach that head, or reaches it another way, is an older one. Then HQ knows of events that the file does not, and labels of
pictures. What was written after the head was kept last, and lost with the file, stays unnoticed: some seconds before a crash.
"""

from __future__ import annotations

import os
from pathlib import Path

from edge.store.journal import AuditHead, get_meta, set_meta
from edge.store.rows import Db

KEPT = "head_kept"  # meta: a head was kept beside this file, so one that is not there was left behind


def head_file(path: Path) -> Path:
    return path.with_name(path.name + ".head")


def keep(path: Path, head: AuditHead) -> None:
    """Write the head beside the file, whole or not at all. Raises OSError."""
    _write(path, f"{head.entry}:{head.hash}\n")


def distrust(path: Path) -> None:
    """Whatever file lies there at the next start is an older copy. Raises OSError."""
    _write(path, "a copy was put here\n")


def _write(path: Path, text: str) -> None:
    part = head_file(path).with_suffix(".part")
    with part.open("wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    part.rename(head_file(path))


def went_back(db: Db, path: Path) -> bool:
    """Whether the file is older than what was kept beside it, or came here alone. Notes from now on that a head is kept."""
    try:
        kept = head_file(path).read_text("ascii", "replace")
    except FileNotFoundError:
        return get_meta(db, KEPT) is not None
    set_meta(db, KEPT, "1")
    entry, _, wanted = kept.strip().partition(":")
    if not (entry.isascii() and entry.isdigit()) or entry == "0":
        return entry != "0"
    return bool(db.execute("SELECT hash FROM audit WHERE entry_id = ?", (int(entry),)).get != wanted)
