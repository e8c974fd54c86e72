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
LOST = "quotes_lost"  # meta: when the file was found to be an older copy, as boot and monotonic milliseconds
LOST_MS = 24 * 3_600_000  # longer than any quote is valid


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


def note_lost(db: Db, boot_id: str, now_ms: int, *, restored: bool) -> None:
    """At each start: remember when quotes were lost with the file, for as long as some of them may still be charged.

    Nobody knows how long the machine was off: after a reboot the time begins anew.
    """
    noted = get_meta(db, LOST)
    rebooted = bool(noted) and str(noted).rpartition(" ")[0] != boot_id
    if restored or rebooted:
        set_meta(db, LOST, f"{boot_id} {now_ms}")
    elif (lost_ms_ago(db, boot_id, now_ms) or 0) >= LOST_MS:
        set_meta(db, LOST, "")


def lost_ms_ago(db: Db, boot_id: str, now_ms: int) -> int | None:
    """How long ago quotes were lost with the file, at least; None where none were."""
    noted = get_meta(db, LOST)
    if not noted:
        return None
    boot, _, at_ms = noted.rpartition(" ")
    return max(0, now_ms - int(at_ms)) if boot == boot_id else 0
