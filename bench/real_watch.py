"""Where a run is, for the person who watches it; and the end of patience when nothing moves."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

STUCK_S: Final = 180.0  # real, without any progress: three hours of world time at 60x
PHASE_S: Final = 600.0  # real, for one phase: the busiest weeks take one minute, five with a daemon that is killed
PHASE_PER_LABEL_S: Final = 1.0  # and more where there are many labels
PROGRESS_S: Final = 5.0
LOOK_S: Final = 0.05
ASK_S: Final = 0.6  # between two questions to the daemon: its answers look through every label, and tills wait meanwhile


class Stuck(Exception):
    """Nothing moved for too long; the text says what was waited for, and what is known of it."""


class Watch:
    """Notes progress. `say` takes lines for people."""

    def __init__(self, say: Callable[[str], None], labels: int) -> None:
        self.say = say
        self._phase_max_s = PHASE_S + PHASE_PER_LABEL_S * labels
        self._phase = "starting"
        self._waiting_for = ""
        self._entered_s = self._moved_s = time.monotonic()

    def enter(self, phase: str) -> None:
        """A phase begins."""
        self._phase, self._waiting_for = phase, ""
        self._entered_s = self._moved_s = time.monotonic()

    def moved(self) -> None:
        """Something that cannot go on for ever came further."""
        self._moved_s = time.monotonic()

    async def until(self, fact: Callable[[], bool], what: str) -> None:
        """Wait for a fact; `what` completes "waiting for ..."."""

        async def asked() -> bool:
            return fact()

        await self.until_answered(asked, what, pause_s=LOOK_S)

    async def until_answered(self, question: Callable[[], Awaitable[bool]], what: str, *, pause_s: float = ASK_S) -> None:
        """Ask until the answer is yes."""
        self._waiting_for = what
        while not await question():  # noqa: ASYNC110 - facts of other processes have no event to wait for
            await asyncio.sleep(pause_s)
        self._waiting_for = ""
        self.moved()

    async def run(self, progress: Callable[[], str], details: Callable[[], Awaitable[str]]) -> None:
        """Say where the run is until cancelled. Raises Stuck with `details`."""
        while True:
            await asyncio.sleep(PROGRESS_S)
            self.say(f"  {self._phase}: {progress()}")
            now_s = time.monotonic()
            if now_s - self._moved_s > STUCK_S or now_s - self._entered_s > self._phase_max_s:
                waited_for = self._waiting_for or "the changes"
                raise Stuck(f"{self._phase}: waited {now_s - self._moved_s:.0f} s for {waited_for}\n{await details()}")
