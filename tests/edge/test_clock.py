"""The machine's clock: when its wall time may be believed."""

from __future__ import annotations

import time
from zoneinfo import ZoneInfo

import pytest

from edge import clock as clock_module
from edge.clock import BUILD_MS, SystemClock, entropy, local_time
from tests.edge.shop import NOON_MS


class Machine:
    """What the kernel would say."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot_ms = 100_000
        self.wall_ms = NOON_MS
        self.synchronized = True
        monkeypatch.setattr(time, "clock_gettime_ns", lambda _: self.boot_ms * 1_000_000)
        monkeypatch.setattr(time, "time_ns", lambda: self.wall_ms * 1_000_000)
        monkeypatch.setattr(clock_module, "kernel_says_synchronized", lambda: self.synchronized)

    def pass_ms(self, duration_ms: int) -> None:
        self.boot_ms += duration_ms
        self.wall_ms += duration_ms


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


def looks(machine: Machine, clock: SystemClock, count: int = 1) -> bool:
    """Whether the clock is trusted after so many more seconds."""
    for _ in range(count):
        machine.pass_ms(1_000)
        clock.wall_trusted()
    return clock.wall_trusted()


def test_a_clock_is_trusted_once_the_kernel_says_it_is_synchronized(machine: Machine) -> None:
    machine.synchronized = False
    clock = SystemClock()
    assert not looks(machine, clock)
    machine.synchronized = True
    assert looks(machine, clock)
    machine.synchronized = False
    assert looks(machine, clock, 100), "a time server that is away for a while changes nothing"


def test_a_clock_from_before_the_program_was_written_is_not_trusted(machine: Machine) -> None:
    machine.wall_ms = BUILD_MS - 1_000_000
    assert not looks(machine, SystemClock())


@pytest.mark.parametrize("jump_ms", [5_000, -5_000])
def test_a_clock_that_somebody_set_is_no_longer_trusted(machine: Machine, jump_ms: int) -> None:
    clock = SystemClock()
    assert looks(machine, clock)
    machine.synchronized = False
    machine.wall_ms += jump_ms
    assert not looks(machine, clock)


def test_a_trusted_clock_that_was_set_back_is_not_trusted_until_it_has_caught_up(machine: Machine) -> None:
    clock = SystemClock()
    assert looks(machine, clock)
    machine.wall_ms -= 60_000
    assert not looks(machine, clock, 30)
    assert looks(machine, clock, 40)


def test_a_wrong_future_before_the_first_synchronization_does_not_spoil_the_right_time(machine: Machine) -> None:
    machine.synchronized = False
    machine.wall_ms += 10**12
    clock = SystemClock()
    assert not looks(machine, clock, 5)
    machine.wall_ms -= 10**12
    machine.synchronized = True
    assert looks(machine, clock, 2)


def test_a_scaled_clock_runs_from_boot_and_goes_on_where_it_was_at_a_restart(machine: Machine) -> None:
    clock = SystemClock(60)
    before_now, before_wall = clock.now_ms(), clock.wall_ms()
    machine.pass_ms(1_000)
    assert (clock.now_ms() - before_now, clock.wall_ms() - before_wall) == (60_000, 60_000)
    assert SystemClock(60).now_ms() == clock.now_ms()
    assert SystemClock(60).wall_ms() == clock.wall_ms()
    assert clock.wall_trusted()


def test_the_kernel_can_be_asked() -> None:
    assert clock_module.kernel_says_synchronized() in (True, False)
    assert len(SystemClock().boot_id) == 36
    assert len(entropy(10)) == 10


async def test_a_sleep_of_nothing_returns_at_once(machine: Machine) -> None:
    await SystemClock().sleep_ms(0)


def test_local_time_knows_summer() -> None:
    assert local_time(NOON_MS, ZoneInfo("Europe/Berlin")).hour == 13
    assert local_time(NOON_MS + 180 * 86_400_000, ZoneInfo("Europe/Berlin")).hour == 14
