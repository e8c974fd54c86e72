"""The demo's child processes: simulator and daemon. They outlive neither the demo nor one another, and each has a log file."""

from __future__ import annotations

import asyncio
import ctypes
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

STOP_TIMEOUT_S: Final = 10.0  # the daemon lets waiting transactions commit
LINE_BYTES_MAX: Final = 256 * 1024  # a payload in base64 is at most 128 KiB
TAIL_LINES: Final = 12
TAIL_BYTES: Final = 4_000
_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_LIBC: Final = ctypes.CDLL(None)


class ChildDied(Exception):
    """A child process ended by itself. The text names it and has the end of its log."""


class Child:
    """A running child process."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name = name
        self.process = process
        self._log = log

    @classmethod
    async def start(cls, name: str, command: Sequence[str], log: Path, *, piped: bool = False) -> Self:
        """`piped`: standard input and output are ours, else only the log. Ctrl-C on the terminal does not reach it: we end it."""
        pipe = asyncio.subprocess.PIPE if piped else asyncio.subprocess.DEVNULL
        with log.open("ab") as errors:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=pipe,
                stdout=pipe if piped else errors,
                stderr=errors,
                process_group=0,
                preexec_fn=_end_with_parent,
                limit=LINE_BYTES_MAX,
            )
        return cls(name, process, log)

    async def watch(self) -> None:
        """Until it ends, which must not happen: raises ChildDied."""
        raise ChildDied(self._obituary(await self.process.wait()))

    def death(self) -> str | None:
        """What is to be said if it has ended; None while it runs."""
        code = self.process.returncode
        return None if code is None else self._obituary(code)

    async def stop(self) -> None:
        """Ask it to end, then make it."""
        if self.process.returncode is None:
            try:
                self.process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(STOP_TIMEOUT_S):
                    await self.process.wait()
            except ProcessLookupError:
                return  # it ended meanwhile
            except TimeoutError:
                self.process.kill()
                await self.process.wait()

    def _obituary(self, code: int) -> str:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = tail(self._log)
        return f"{self.name} {how}" + (f"; the end of its log:\n{said}" if said else "; it said nothing")


def tail(log: Path) -> str:
    """The last lines of a log file; empty where there are none."""
    if not log.exists():
        return ""
    lines = log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])


def _end_with_parent() -> None:
    """In the child: the kernel ends it when the demo is gone, however that happened."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
