"""The one clock of a simulated store, shared by processes through a small mmap'd file.

One writer (the simulator) sets the rate and steps the time; any number of readers map the kernel's CLOCK_BOOTTIME to virtual
time: `virtual = base_virtual + (boottime - base_boottime) * rate`. So every process that reads agrees with the simulator, with no
message between them.

The file is a row of native 64-bit words (see `_Word`) under a sequence lock: the writer makes the sequence odd, *then* samples the
time, writes, and makes it even again; a reader samples the time between two equal even readings. Therefore no reader ever
sees virtual time go back within one `boot_id`, whatever the scheduler does.
"""

from __future__ import annotations

import asyncio
import mmap
import os
import struct
import time
import uuid
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path

START_VIRTUAL_MS = 60_000
"""A simulated machine has been up for a minute: no reader has to think about times near zero."""

SLEEP_SLICE_MS = 20
"""Longest real time between two looks at the clock while asleep, so that a step wakes sleepers at once."""

READ_TRIES_MAX = 20_000
"""A writer holds the lock for microseconds; this many looks mean that it died inside, and waiting longer would hang the caller."""

_MAGIC = 0x6B6C63_6B6C6577  # "welk clk", any constant that an empty file cannot hold
_NS_PER_MS = 1_000_000


class WorldClockError(Exception):
    """The clock file is missing, is not one, or its writer died while writing. The caller cannot tell the time: give up."""


class _Word(IntEnum):
    """Place of each 64-bit word in the file."""

    MAGIC = 0
    SEQUENCE = 1
    BASE_BOOTTIME_NS = 2
    BASE_VIRTUAL_NS = 3
    RATE = 4  # a double's bits
    WALL_OFFSET_MS = 5  # wall = virtual + offset
    STEPS = 6
    WALL_TRUSTED = 7
    BOOT_ID_HIGH = 8
    BOOT_ID_LOW = 9


_FILE_BYTES = 8 * len(_Word)


def boottime_ns() -> int:
    """The kernel's nanoseconds since boot, counting suspend."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def _bits(rate: float) -> int:
    return int(struct.unpack("=q", struct.pack("=d", rate))[0])


def _rate(bits: int) -> float:
    return float(struct.unpack("=d", struct.pack("=q", bits))[0])


def _signed(high_or_low: int) -> int:
    return high_or_low - (1 << 64) if high_or_low >= 1 << 63 else high_or_low


class WorldClockWriter:
    """The simulator's end. There must be one per file; an existing file is taken over in place, with a new boot id."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        start_wall_ms: int,
        rate: float,
        *,
        wall_trusted: bool = True,
        boottime: Callable[[], int] = boottime_ns,
    ) -> None:
        """`start_wall_ms` is the UTC wall time of the first instant; `rate` how many virtual seconds pass in a real one."""
        if rate <= 0:
            raise ValueError(f"the rate must be positive, not {rate}")
        self._boottime = boottime
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            os.ftruncate(descriptor, _FILE_BYTES)
            self._map = mmap.mmap(descriptor, _FILE_BYTES)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("q")
        boot = uuid.uuid4().int
        self._begin()
        self._words[_Word.BASE_BOOTTIME_NS] = boottime()
        self._words[_Word.BASE_VIRTUAL_NS] = START_VIRTUAL_MS * _NS_PER_MS
        self._words[_Word.RATE] = _bits(rate)
        self._words[_Word.WALL_OFFSET_MS] = start_wall_ms - START_VIRTUAL_MS
        self._words[_Word.STEPS] = 0
        self._words[_Word.WALL_TRUSTED] = int(wall_trusted)
        self._words[_Word.BOOT_ID_HIGH] = _signed(boot >> 64)
        self._words[_Word.BOOT_ID_LOW] = _signed(boot & (1 << 64) - 1)
        self._words[_Word.MAGIC] = _MAGIC
        self._end()

    @property
    def rate(self) -> float:
        """Virtual seconds per real second, now."""
        return _rate(self._words[_Word.RATE])

    def now_ms(self) -> int:
        """Virtual milliseconds; the same number that readers see."""
        return int(self.now_exact_ms())

    def now_exact_ms(self) -> float:
        """Virtual milliseconds with their fraction."""
        return self._virtual_ns(self._boottime()) / _NS_PER_MS

    def set_rate(self, rate: float) -> None:
        """From this instant on, `rate` virtual seconds pass in a real one. Time itself does not jump."""
        if rate <= 0:
            raise ValueError(f"the rate must be positive, not {rate}")
        if rate == self.rate:
            return
        self._begin()
        now_ns = self._boottime()
        virtual_ns = self._virtual_ns(now_ns)
        self._words[_Word.BASE_BOOTTIME_NS] = now_ns
        self._words[_Word.BASE_VIRTUAL_NS] = virtual_ns
        self._words[_Word.RATE] = _bits(rate)
        self._end()

    def step(self, duration_ms: int) -> None:
        """Jump forward by `duration_ms` of virtual time (wall time with it). Never back."""
        if duration_ms < 0:
            raise ValueError("virtual time never goes back")
        self._begin()
        self._words[_Word.BASE_VIRTUAL_NS] += duration_ms * _NS_PER_MS
        self._words[_Word.STEPS] += 1
        self._end()

    def close(self) -> None:
        """Release the map; readers keep theirs and time runs on at the last rate."""
        self._words.release()
        self._map.close()

    def _virtual_ns(self, now_ns: int) -> int:
        elapsed_ns = now_ns - self._words[_Word.BASE_BOOTTIME_NS]
        return self._words[_Word.BASE_VIRTUAL_NS] + int(elapsed_ns * self.rate)

    def _begin(self) -> None:
        # | 1 and not + 1: a writer that died inside left it odd, and this one takes over.
        self._words[_Word.SEQUENCE] |= 1

    def _end(self) -> None:
        self._words[_Word.SEQUENCE] += 1


class WorldClock:
    """A reader: implements `drivers.base.Clock`. Safe to use from several threads at once (it keeps no state)."""

    def __init__(self, path: str | os.PathLike[str], *, boottime: Callable[[], int] = boottime_ns) -> None:
        """Raises `WorldClockError` when the file is missing or is no world clock (the simulator has not started yet)."""
        self._path = Path(path)
        self._boottime = boottime
        try:
            descriptor = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise WorldClockError(f"clock file {self._path}: {error.strerror}; is the simulator running?") from error
        try:
            if os.fstat(descriptor).st_size < _FILE_BYTES:
                raise WorldClockError(f"clock file {self._path}: too short to be a world clock")
            self._map = mmap.mmap(descriptor, _FILE_BYTES, prot=mmap.PROT_READ)
        finally:
            os.close(descriptor)
        self._words = memoryview(self._map).cast("q")
        if self._words[_Word.MAGIC] != _MAGIC:
            raise WorldClockError(f"clock file {self._path}: not a world clock")

    @property
    def boot_id(self) -> str:
        """Thirty-two hex digits; new whenever a simulator starts."""
        words = self._read()[0]
        return f"{words[_Word.BOOT_ID_HIGH] & (1 << 64) - 1:016x}{words[_Word.BOOT_ID_LOW] & (1 << 64) - 1:016x}"

    @property
    def rate(self) -> float:
        """Virtual seconds per real second, now; changes while a radio module waits for its host."""
        return _rate(self._read()[0][_Word.RATE])

    @property
    def steps(self) -> int:
        """How often the time was stepped in this boot."""
        return self._read()[0][_Word.STEPS]

    def now_ms(self) -> int:
        """Virtual milliseconds since the simulated boot."""
        return self._now(*self._read())

    def wall_ms(self) -> int:
        """Virtual UTC milliseconds since 1970."""
        words, boottime = self._read()
        return self._now(words, boottime) + words[_Word.WALL_OFFSET_MS]

    def wall_trusted(self) -> bool:
        """As the simulator says."""
        return bool(self._read()[0][_Word.WALL_TRUSTED])

    def link_ms(self) -> int:
        """Real monotonic milliseconds."""
        return time.monotonic_ns() // _NS_PER_MS

    async def sleep_ms(self, duration_ms: int) -> None:
        """Sleep `duration_ms` of virtual time, looking again every `SLEEP_SLICE_MS` real ones: steps and rate changes count."""
        words, boottime = self._read()
        until_ms = self._now(words, boottime) + duration_ms
        while True:
            words, boottime = self._read()
            left_ms = until_ms - self._now(words, boottime)
            if left_ms <= 0:
                return
            await asyncio.sleep(min(SLEEP_SLICE_MS, left_ms / _rate(words[_Word.RATE])) / 1000)

    def close(self) -> None:
        """Release the map."""
        self._words.release()
        self._map.close()

    @staticmethod
    def _now(words: list[int], boottime: int) -> int:
        elapsed_ns = boottime - words[_Word.BASE_BOOTTIME_NS]
        return (words[_Word.BASE_VIRTUAL_NS] + int(elapsed_ns * _rate(words[_Word.RATE]))) // _NS_PER_MS

    def _read(self) -> tuple[list[int], int]:
        """One consistent state of the file, and the kernel time at which it was in force."""
        for _ in range(READ_TRIES_MAX):
            before = self._words[_Word.SEQUENCE]
            if before & 1:
                time.sleep(0)  # give the writer its processor back
                continue
            words = self._words.tolist()
            boottime = self._boottime()
            if self._words[_Word.SEQUENCE] == before:
                return words, boottime
        raise WorldClockError(f"clock file {self._path}: its writer died while writing")
