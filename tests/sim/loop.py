"""Time and turns of a simulated machine: an event loop that never waits, and the clock that the world moves.

The daemon's own coroutines run on it unchanged. Callbacks run in the order in which they were asked for; a timer fires when the world has
moved the clock past it. Time that passes in one go fires each timer once, as on a machine that was busy meanwhile.
"""

from __future__ import annotations

import asyncio
import heapq
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

START_MS = 1_000_000
NOON_MS = 1_767_960_000_000  # Friday 2026-01-09 12:00 UTC


class SimClock:
    """`drivers.base.Clock`. The world moves it; `link` is the one that never goes back."""

    def __init__(self) -> None:
        self.boot = "boot-1"
        self.now = START_MS
        self.wall = NOON_MS
        self.link = START_MS
        self.trusted = True

    @property
    def boot_id(self) -> str:
        return self.boot

    def now_ms(self) -> int:
        return self.now

    def wall_ms(self) -> int:
        return self.wall

    def wall_trusted(self) -> bool:
        return self.trusted

    def link_ms(self) -> int:
        return self.link

    async def sleep_ms(self, duration_ms: int) -> None:
        await asyncio.sleep(duration_ms / 1000)

    def pass_ms(self, duration_ms: int) -> None:
        self.now += duration_ms
        self.wall += duration_ms
        self.link += duration_ms

    def reboot(self) -> None:
        self.boot += "+"
        self.now = 5_000


class Handle:
    """What the loop is asked to call."""

    __slots__ = ("args", "callback")

    def __init__(self, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.callback: Callable[..., object] | None = callback
        self.args = args

    def cancel(self) -> None:
        self.callback = None

    def cancelled(self) -> bool:
        return self.callback is None


class SimLoop:
    """The part of an event loop that coroutines without sockets use. Contexts are not copied: nothing here keeps context variables."""

    def __init__(self, clock: SimClock) -> None:
        self._clock = clock
        self._ready: deque[Handle] = deque()
        self._timers: list[tuple[int, int, Handle]] = []
        self._number = 0
        self._halted = False
        self.trouble: list[BaseException] = []

    # -- the world's side

    def __enter__(self) -> SimLoop:
        loop: Any = self
        events._set_running_loop(loop)
        return self

    def __exit__(self, *exc: object) -> None:
        events._set_running_loop(None)

    def run_ready(self) -> None:
        """Run what can run now, and what that brings. Raises what a callback of the world raised."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][0] <= self._clock.link:
            ready.append(heapq.heappop(timers)[2])
        while ready and not self._halted:
            handle = ready.popleft()
            callback = handle.callback
            if callback is not None:
                callback(*handle.args)
        if self.trouble:
            raise self.trouble[0]

    @property
    def is_idle(self) -> bool:
        return not self._ready and not (self._timers and self._timers[0][0] <= self._clock.link)

    def halt(self) -> None:
        """The process is gone: nothing that was asked for happens any more."""
        self._halted = True

    def bury(self) -> None:
        """Forget a process that was halted; its coroutines are unwound without a turn for anybody else."""
        self._halted = False
        loop: Any = self
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        for _ in range(100):
            if not self._ready:
                break
            handle = self._ready.popleft()
            if handle.callback is not None:
                handle.callback(*handle.args)
        while self._ready:
            self._ready.popleft()
        self._timers.clear()
        self.trouble.clear()
        for task in tasks:
            if task.done() and not task.cancelled():
                task.exception()  # seen

    # -- asyncio's side

    def time(self) -> float:
        return self._clock.link / 1000

    def call_soon(self, callback: Callable[..., object], *args: Any, context: object = None) -> Any:
        handle = Handle(callback, args)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(self, delay: float, callback: Callable[..., object], *args: Any, context: object = None) -> Any:
        return self.call_at(self._clock.link / 1000 + delay, callback, *args)

    def call_at(self, when: float, callback: Callable[..., object], *args: Any, context: object = None) -> Any:
        handle = Handle(callback, args)
        self._number += 1
        heapq.heappush(self._timers, (-int(-when * 1000 // 1), self._number, handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        loop: Any = self
        return asyncio.Future(loop=loop)

    def create_task(self, coro: Coroutine[Any, Any, Any], *, name: str | None = None, context: object = None) -> Any:
        loop: Any = self
        return asyncio.Task(coro, loop=loop, name=name)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if isinstance(error, BaseException):
            self.trouble.append(error)

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False
