"""The one loop that moves bytes and time between a state machine and a link. Runs in a thread of its own: a radio module leaves its
host some tens of milliseconds, and an event loop with work to do cannot promise that.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable
from typing import Protocol

IDLE_WAIT_MS = 60_000  # nothing is due: look up once a minute anyway, so that a wrong deadline cannot hang a link for ever


class LinkLost(Exception):
    """The other end or the device went away while in use: close, wait, open again. The text is for people and names the device."""


class LinkUnavailable(Exception):
    """The device cannot be opened: wait and try again. The text is for people, names the device and says what to look at."""


class Link(Protocol):
    """An open byte stream. Both directions return at once."""

    def fileno(self) -> int:
        """For poll."""

    def read(self) -> bytes:
        """What has arrived; empty when nothing has. Raises `LinkLost`."""

    def write(self, data: bytes) -> int:
        """How many of the bytes were taken. Raises `LinkLost`."""

    def set_baud(self, baud: int) -> None:
        """Change the speed of both directions. Raises `LinkLost`."""


class Machine(Protocol):
    """A state machine that is told bytes and link time."""

    @property
    def baud(self) -> int:
        """Speed for what `bytes_to_send` returns."""

    @property
    def stopped(self) -> bool:
        """Nothing more will come of this link."""

    @property
    def deadline_ms(self) -> int | None:
        """Link time at which `handle_timer` is due."""

    def receive(self, data: bytes, link_ms: int) -> None:
        """Bytes came in."""

    def handle_timer(self, link_ms: int) -> None:
        """Time has come."""

    def bytes_to_send(self) -> bytes:
        """What is to be written now, once."""


class Waker:
    """Ends a pump's wait from another thread, and tells it to stop."""

    def __init__(self) -> None:
        self._read_end, self._write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """Whether `stop` was called."""
        return self._stopping

    def fileno(self) -> int:
        """For poll."""
        return self._read_end

    def wake(self) -> None:
        """Let the pump look at its machine again."""
        try:
            os.write(self._write_end, b"\0")
        except BlockingIOError:
            pass  # a full pipe wakes as well as a fuller one

    def stop(self) -> None:
        """Let the pump return."""
        self._stopping = True
        self.wake()

    def drain(self) -> None:
        """Forget the wakes so far."""
        try:
            while os.read(self._read_end, 4096):
                pass
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Release the pipe. The pump must have returned."""
        os.close(self._read_end)
        os.close(self._write_end)


def pump(machine: Machine, link: Link, waker: Waker, link_ms: Callable[[], int]) -> None:
    """Run until `waker.stop` is called or the machine has stopped. Raises `LinkLost`."""
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    poll.register(link, select.POLLIN)
    baud = machine.baud
    unsent = b""
    while not waker.stopping and not machine.stopped:
        unsent += machine.bytes_to_send()
        if unsent:
            unsent = unsent[link.write(unsent) :]
        if not unsent and machine.baud != baud:
            baud = machine.baud
            link.set_baud(baud)
            continue  # what was made for the new speed goes out at the new speed
        poll.modify(link, select.POLLIN | select.POLLOUT if unsent else select.POLLIN)
        deadline_ms = machine.deadline_ms
        wait_ms = IDLE_WAIT_MS if deadline_ms is None else max(0, min(IDLE_WAIT_MS, deadline_ms - link_ms()))
        for descriptor, happened in poll.poll(wait_ms):
            if descriptor == waker.fileno():
                waker.drain()
            elif happened & ~select.POLLOUT:  # errors and hang-ups too: reading says which
                data = link.read()
                if data:
                    machine.receive(data, link_ms())
        deadline_ms = machine.deadline_ms
        now_ms = link_ms()
        if deadline_ms is not None and now_ms >= deadline_ms:
            machine.handle_timer(now_ms)
