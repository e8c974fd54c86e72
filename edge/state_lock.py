"""One process on a state directory: the daemon, or a command that replaces its file."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Final

from edge.store.db import StoreError

LOCK_NAME: Final = "lock"


def only_one(state_dir: Path) -> int:
    """Take the state directory for this process; the kernel gives it back however the process ends. Raises StoreError.

    A second daemon must not even look at the file: a migration has to be alone on it.
    """
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(state_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StoreError(f"{state_dir}: another shelfd runs on this directory") from None
    return descriptor
