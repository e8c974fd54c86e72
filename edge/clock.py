"""Time, asked in one place. The real clock, and one that runs N times as fast for a store whose radios are all simulated."""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

BOOT_ID_FILE: Final = Path("/proc/sys/kernel/random/boot_id")
SYNCHRONIZED_FILE: Final = Path("/run/systemd/timesync/synchronized")  # touched by systemd-timesyncd at each synchronisation
BUILD_MS: Final = 1_767_225_600_000  # 2026-01-01: a wall clock before the program was written is wrong
JUMP_MS: Final = 2_000  # wall time that runs this far from boot time in one look was set by somebody
TRUST_CHECK_MS: Final = 1_000  # asking the kernel more often tells nothing new
SLEEP_SLICE_MS: Final = 1_000  # of real time; bounds how late a suspend is noticed
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised


class _Timex(ctypes.Structure):
    """struct timex of adjtimex(2); only `modes` is read here, 0 asks and changes nothing."""

    _fields_ = (("modes", ctypes.c_uint), ("rest", ctypes.c_byte * 256))


def kernel_says_synchronized() -> bool:
    """Whether the kernel's clock is disciplined. Where the sandbox forbids asking, what systemd-timesyncd left says it."""
    libc = ctypes.CDLL(None, use_errno=True)
    state = int(libc.adjtimex(ctypes.byref(_Timex(0))))
    if state == -1 and ctypes.get_errno() in (errno.EPERM, errno.ENOSYS):
        return SYNCHRONIZED_FILE.exists()
    return state not in (-1, _TIME_ERROR)


class SystemClock:
    """The machine's clock, `scale` times as fast. Implements `drivers.base.Clock`.

    Scaled readings count from the machine's boot, so that they go on where they were when the daemon is started again.
    """

    def __init__(self, scale: float = 1.0) -> None:
        self._scale = scale
        self._boot_id = BOOT_ID_FILE.read_text().strip()
        boot_wall_ms = time.time_ns() // 1_000_000 - self.boottime_ms()
        self._scaled_origin_ms = boot_wall_ms  # used only when scaled: wall and boot time then keep their distance
        self._trusted = scale != 1.0
        self._checked_ms = -TRUST_CHECK_MS
        self._high_wall_ms = 0
        self._offset_ms = 0

    @staticmethod
    def boottime_ms() -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    @property
    def boot_id(self) -> str:
        return self._boot_id

    def now_ms(self) -> int:
        return int(self.boottime_ms() * self._scale)

    def wall_ms(self) -> int:
        if self._scale != 1.0:
            return self._scaled_origin_ms + self.now_ms()
        return time.time_ns() // 1_000_000

    def wall_trusted(self) -> bool:
        """Synchronised at least once since start, never before the build date, and never set back by more than a jump since."""
        if self._scale != 1.0:
            return True
        boot_ms, wall_ms = self.boottime_ms(), self.wall_ms()
        if boot_ms - self._checked_ms >= TRUST_CHECK_MS:
            self._checked_ms = boot_ms
            if wall_ms < self._high_wall_ms - JUMP_MS or wall_ms < BUILD_MS:
                self._trusted = False
            elif kernel_says_synchronized():
                self._trusted = True
            elif abs(wall_ms - boot_ms - self._offset_ms) > JUMP_MS:
                self._trusted = False
            self._offset_ms = wall_ms - boot_ms
            if self._trusted:  # a wrong clock that ran ahead must not make the right one look set back
                self._high_wall_ms = max(self._high_wall_ms, wall_ms)
        return self._trusted

    def link_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    async def sleep_ms(self, duration_ms: int) -> None:
        end_ms = self.now_ms() + duration_ms
        while (left_ms := end_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - it is the clock itself that is waited for
            await asyncio.sleep(min(left_ms / self._scale, SLEEP_SLICE_MS) / 1000)


def local_time(wall_ms: int, zone: object) -> datetime:
    """Local wall time in the store's zone (a `ZoneInfo`)."""
    return datetime.fromtimestamp(wall_ms / 1000, UTC).astimezone(zone)  # type: ignore[arg-type]


def entropy(count: int) -> bytes:
    """Random bytes for ids."""
    return os.urandom(count)
