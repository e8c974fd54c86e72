from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.base import Clock
from drivers.sim.worldclock import START_VIRTUAL_MS, WorldClock, WorldClockError, WorldClockWriter

NS_PER_MS = 1_000_000


class Kernel:
    """A boot-time clock that moves when told."""

    def __init__(self) -> None:
        self.ns = 5_000 * NS_PER_MS

    def __call__(self) -> int:
        return self.ns


def test_readers_and_writer_tell_the_same_time(tmp_path: Path) -> None:
    kernel = Kernel()
    writer = WorldClockWriter(tmp_path / "clock", 1_700_000_000_000, 20, boottime=kernel)
    reader = WorldClock(tmp_path / "clock", boottime=kernel)
    clock: Clock = reader
    assert clock.now_ms() == writer.now_ms() == START_VIRTUAL_MS
    assert clock.wall_ms() == 1_700_000_000_000
    kernel.ns += 1000 * NS_PER_MS
    assert clock.now_ms() == writer.now_ms() == START_VIRTUAL_MS + 20_000
    assert clock.wall_ms() == 1_700_000_020_000
    assert clock.wall_trusted()
    assert len(clock.boot_id) == 32


def test_a_step_moves_wall_and_boot_time_together(tmp_path: Path) -> None:
    kernel = Kernel()
    writer = WorldClockWriter(tmp_path / "clock", 0, 1, boottime=kernel)
    reader = WorldClock(tmp_path / "clock", boottime=kernel)
    writer.step(3_600_000)
    assert (reader.now_ms(), reader.wall_ms(), reader.steps) == (START_VIRTUAL_MS + 3_600_000, 3_600_000, 1)
    with pytest.raises(ValueError):
        writer.step(-1)


@given(st.lists(st.tuples(st.sampled_from(["rate", "step", "wait"]), st.integers(1, 100_000)), max_size=30))
def test_time_never_goes_back_whatever_the_writer_does(changes: list[tuple[str, int]]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        kernel = Kernel()
        writer = WorldClockWriter(Path(folder) / "clock", 0, 7.5, boottime=kernel)
        reader = WorldClock(Path(folder) / "clock", boottime=kernel)
        last_ms = reader.now_ms()
        for change, amount in changes:
            match change:
                case "rate":
                    writer.set_rate(amount / 1000)
                case "step":
                    writer.step(amount)
                case _:
                    kernel.ns += amount
            now_ms = reader.now_ms()
            assert now_ms >= last_ms
            assert now_ms == writer.now_ms()
            last_ms = now_ms


def test_a_new_simulator_on_the_same_file_is_a_new_boot_for_old_readers(tmp_path: Path) -> None:
    WorldClockWriter(tmp_path / "clock", 0, 1).close()
    reader = WorldClock(tmp_path / "clock")
    before = reader.boot_id
    WorldClockWriter(tmp_path / "clock", 0, 1)
    assert reader.boot_id != before


def test_a_writer_that_died_while_writing_is_an_error_and_not_a_hang(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.sim.worldclock.READ_TRIES_MAX", 10)
    writer = WorldClockWriter(tmp_path / "clock", 0, 1)
    reader = WorldClock(tmp_path / "clock")
    writer._begin()
    with pytest.raises(WorldClockError, match="died while writing"):
        reader.now_ms()
    WorldClockWriter(tmp_path / "clock", 0, 1)
    assert reader.now_ms() >= START_VIRTUAL_MS


def test_missing_and_foreign_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(WorldClockError, match="is the simulator running"):
        WorldClock(tmp_path / "absent")
    (tmp_path / "short").write_bytes(b"x")
    with pytest.raises(WorldClockError, match="too short"):
        WorldClock(tmp_path / "short")
    (tmp_path / "foreign").write_bytes(bytes(4096))
    with pytest.raises(WorldClockError, match="not a world clock"):
        WorldClock(tmp_path / "foreign")


def test_a_rate_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        WorldClockWriter(tmp_path / "clock", 0, 0)
    writer = WorldClockWriter(tmp_path / "clock", 0, 1)
    with pytest.raises(ValueError):
        writer.set_rate(-1)


async def test_a_step_wakes_a_sleeper(tmp_path: Path) -> None:
    writer = WorldClockWriter(tmp_path / "clock", 0, 1)
    reader = WorldClock(tmp_path / "clock")
    sleeper = asyncio.create_task(reader.sleep_ms(3_600_000))
    await asyncio.sleep(0)
    writer.step(3_600_000)
    await asyncio.wait_for(sleeper, 5)


async def test_sleep_is_scaled(tmp_path: Path) -> None:
    WorldClockWriter(tmp_path / "clock", 0, 1000)
    reader = WorldClock(tmp_path / "clock")
    start_ms, start_link_ms = reader.now_ms(), reader.link_ms()
    await reader.sleep_ms(10_000)
    assert reader.now_ms() - start_ms >= 10_000
    assert reader.link_ms() - start_link_ms < 5_000
