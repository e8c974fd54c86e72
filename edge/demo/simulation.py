"""The simulator as the demo's child: sixty labels around one radio module on a pseudo-terminal, and the store's clock file."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from edge.demo.children import Child, ChildDied

HW_TYPE: Final = "01"  # 2.9 inch, 296x128, black, white, red
FIRMWARE: Final = "0x29"  # takes compressed pictures
START_RATE: Final = 1.0  # until the store knows its labels: no label should fetch "unassigned" first


class Simulation:
    """A running simulator."""

    def __init__(self, child: Child, labels: tuple[str, ...]) -> None:
        self.child = child
        self.labels = labels

    @classmethod
    async def start(cls, clock: Path, link: Path, log: Path, labels: int) -> Simulation:
        """Returns when the clock file and the port are there. Raises ChildDied."""
        command = [sys.executable, "-m", "drivers.sim", "--clock", str(clock), "--link", str(link), "--labels", str(labels)]
        command += ["--hw-type", HW_TYPE, "--firmware", FIRMWARE, "--rate", str(START_RATE), "--trace-check-ins"]
        child = await Child.start("the simulator", command, log, piped=True)
        first = await _line(child)
        if first is None:
            await child.watch()
            raise ChildDied("the simulator closed its diary")
        return cls(child, tuple(first["labels"]))

    def set_rate(self, rate: float) -> None:
        """How many seconds pass in a real one, except while the module waits for its host."""
        self._command({"cmd": "rate", "n": rate})

    def quit(self) -> None:
        """Let it end; its diary ends with it."""
        self._command({"cmd": "quit"})

    async def diary(self) -> AsyncIterator[dict[str, Any]]:
        """What happens in the simulated world, each with its virtual time `t`, until the simulator ends. There is hardly a second of
        virtual time without a check-in, so a reader knows how far the diary is."""
        while (told := await _line(self.child)) is not None:
            yield told

    def _command(self, command: dict[str, object]) -> None:
        assert self.child.process.stdin is not None
        self.child.process.stdin.write(json.dumps(command).encode() + b"\n")


async def _line(child: Child) -> dict[str, Any] | None:
    assert child.process.stdout is not None
    text = await child.process.stdout.readline()
    told: dict[str, Any] | None = json.loads(text) if text else None
    return told
