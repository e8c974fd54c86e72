"""The real driver, thread and serial port against the simulator as a process, on a pseudo-terminal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from drivers.base import Delivery, DriverEvent, Failed, FailReason, LabelDriver, LabelId, LabelSeen, Picture, Proven, RadioDown, RadioUp
from drivers.oepl import OeplDriver
from drivers.pump import LinkUnavailable
from drivers.serial import SerialLink
from drivers.sim.worldclock import WorldClock, WorldClockWriter

PATIENCE_S = 20


class Simulation:
    """A simulator process and what it said."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path, ready: dict[str, Any]) -> None:
        self.process, self.folder = process, folder
        self.labels: list[LabelId] = ready["labels"]
        self.module: str = ready["module"]
        self.device = str(folder / "port")

    def command(self, **fields: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(fields).encode("ascii") + b"\n")

    async def said(self, kind: str) -> dict[str, Any]:
        assert self.process.stdout is not None
        while True:
            line = await asyncio.wait_for(self.process.stdout.readline(), PATIENCE_S)
            event: dict[str, Any] = json.loads(line)
            if event["event"] == kind:
                return event


@contextlib.asynccontextmanager
async def simulation(folder: Path, *options: str) -> AsyncIterator[Simulation]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "drivers.sim",
        "--clock",
        str(folder / "clock"),
        "--link",
        str(folder / "port"),
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        limit=1 << 22,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    ready = json.loads(await asyncio.wait_for(process.stdout.readline(), PATIENCE_S))
    assert ready["event"] == "ready"
    try:
        yield Simulation(process, folder, ready)
    finally:
        process.stdin.close()
        assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0


class Listener:
    """Collects a driver's events and waits for one."""

    def __init__(self) -> None:
        self.events: list[DriverEvent] = []
        self._changed = asyncio.Event()

    def emit(self, event: DriverEvent) -> None:
        self.events.append(event)
        self._changed.set()

    async def until(self, kind: type[DriverEvent], count: int = 1) -> list[Any]:
        async def wait() -> list[Any]:
            while len(found := [event for event in self.events if isinstance(event, kind)]) < count:
                self._changed.clear()
                await self._changed.wait()
            return found

        return await asyncio.wait_for(wait(), PATIENCE_S)


@contextlib.asynccontextmanager
async def running(driver: LabelDriver) -> AsyncIterator[None]:
    task = asyncio.create_task(driver.run(), name="driver")
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.mark.parametrize("fast", [False, True])
async def test_pictures_travel_through_a_real_port_and_are_proven(tmp_path: Path, fast: bool) -> None:
    async with simulation(tmp_path, "--labels", "5", "--rate", "60", "--fast-baud-ok") as sim:
        listener = Listener()
        driver = OeplDriver(name="shop", device=sim.device, clock=WorldClock(tmp_path / "clock"), emit=listener.emit, fast=fast)
        early = Delivery(1, sim.labels[0], Picture("g5", b"early" * 400))
        driver.deliver(early)
        async with running(driver):
            await listener.until(RadioUp)
            assert driver.radio_id == sim.module
            for number, label in enumerate(sim.labels[1:], start=2):
                driver.deliver(Delivery(number, label, Picture("g5", os.urandom(1500))))
            proven = await listener.until(Proven, 5)
            assert {event.attempt_id for event in proven} == {1, 2, 3, 4, 5}
        sim.command(cmd="display", label=sim.labels[0])
        while not (shown := await sim.said("display")).get("asked"):
            pass
        assert (shown["label"], shown["data_type"]) == (sim.labels[0], 0x31)


async def test_a_driver_that_comes_back_goes_on(tmp_path: Path) -> None:
    async with simulation(tmp_path, "--labels", "2", "--rate", "60") as sim:
        clock = WorldClock(tmp_path / "clock")
        for number in (1, 2):
            listener = Listener()
            driver = OeplDriver(name="shop", device=sim.device, clock=clock, emit=listener.emit, mac=sim.module)
            async with running(driver):
                driver.deliver(Delivery(number, sim.labels[0], Picture("raw1", bytes([number]) * 1000)))
                await listener.until(Proven)


async def test_a_missing_port_is_named_and_found_when_it_appears(tmp_path: Path) -> None:
    WorldClockWriter(tmp_path / "clock", 0, 60)
    listener = Listener()
    driver = OeplDriver(name="shop", device=str(tmp_path / "port"), clock=WorldClock(tmp_path / "clock"), emit=listener.emit)
    async with running(driver):
        (down,) = await listener.until(RadioDown)
        assert down == RadioDown(None, f"serial port {tmp_path / 'port'} does not exist")
        async with simulation(tmp_path, "--labels", "1", "--rate", "60"):
            await listener.until(RadioUp)
            await listener.until(LabelSeen)
            driver.deliver(Delivery(1, LabelId("0000000000000099"), Picture("raw1", b"x")))
            await asyncio.sleep(0)
        lost = await listener.until(RadioDown, 2)
        assert "port" in lost[1].reason
        (failed,) = await listener.until(Failed)
        assert failed.reason is FailReason.RADIO_LOST


async def test_a_port_has_one_user_and_another_module_is_refused(tmp_path: Path) -> None:
    async with simulation(tmp_path, "--labels", "1", "--rate", "60") as sim:
        clock = WorldClock(tmp_path / "clock")
        first, second, third = Listener(), Listener(), Listener()
        async with running(OeplDriver(name="one", device=sim.device, clock=clock, emit=first.emit)):
            await first.until(RadioUp)
            async with running(OeplDriver(name="two", device=sim.device, clock=clock, emit=second.emit)):
                (down,) = await second.until(RadioDown)
                assert down.reason.endswith("is in use by another program")
        async with running(OeplDriver(name="three", device=sim.device, clock=clock, emit=third.emit, mac="0000000000000001")):
            (down,) = await third.until(RadioDown)
            assert down.reason == f"module {sim.module} found where 0000000000000001 is configured"


async def test_commands_of_the_simulator(tmp_path: Path) -> None:
    async with simulation(tmp_path, "--labels", "2", "--rate", "20", "--start-wall", "2026-03-02T06:00:00Z") as sim:
        clock = WorldClock(tmp_path / "clock")
        assert 0 <= clock.wall_ms() - 1_772_431_200_000 < 60_000
        before_ms = clock.now_ms()
        sim.command(cmd="step", ms=3_600_000)
        assert (await sim.said("step"))["ms"] == 3_600_000
        assert clock.now_ms() - before_ms >= 3_600_000
        sim.command(cmd="rate", n=5)
        assert (await sim.said("rate"))["n"] == 5
        assert clock.rate == 5
        for wrong in ({"cmd": "fly"}, {"cmd": "step", "ms": -1}, {"cmd": "lie", "label": sim.labels[0], "lie": "small"}, {"cmd": "button"}):
            sim.command(**wrong)
            assert (await sim.said("error"))["message"]
        sim.command(cmd="interval", label=sim.labels[0], ms=10_000)
        sim.command(cmd="interval", label=sim.labels[0])
        assert "ms is a number" in (await sim.said("error"))["message"]
        sim.command(cmd="trace", checkins=True)
        sim.command(cmd="battery_swap", label=sim.labels[0])
        assert (await sim.said("label_reset"))["label"] == sim.labels[0]
        assert (await sim.said("checkin"))["t"] > 0
        sim.command(cmd="reset_module")
        assert (await sim.said("module_reset"))["module"] == sim.module
        sim.command(cmd="quit")
        await asyncio.wait_for(sim.process.wait(), PATIENCE_S)
        assert not (tmp_path / "port").is_symlink()


@pytest.mark.parametrize("path", ["/dev/null", "/"])
def test_a_path_that_is_no_serial_port_is_named(path: str) -> None:
    with pytest.raises(LinkUnavailable, match=f"serial port {path} is not a serial port"):
        SerialLink(path, 115_200)
