"""The simulator and the daemon as children: configuration, clock steps, commands, and a child that does not start."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from edge import config
from edge.demo.children import ChildDied
from edge.demo.world import DaemonProcess, Radio, SimEvent, Simulator, StoreSettings, lane_socket, write_config

RADIO = Radio("ceiling-1", Path("/tmp/module-1"), "0000A1B2C3D4E5F6")
SETTINGS = StoreSettings("store-7", 'Joe\'s "Corner"', ("lane-1", "probe"), 2.0, 1.0, 4.0)


def test_the_configuration_says_what_was_asked_for(tmp_path: Path) -> None:
    read = config.load(write_config(tmp_path, SETTINGS, [RADIO]))
    assert (read.store.id, read.store.name) == ("store-7", 'Joe\'s "Corner"')
    assert [(lane.id, lane.socket) for lane in read.lanes] == [(lane, lane_socket(tmp_path, lane)) for lane in ("lane-1", "probe")]
    assert [(radio.name, radio.mac, radio.fast) for radio in read.radios] == [(RADIO.name, RADIO.mac, True)]
    assert read.guard.dwell_ms == 120_000
    assert read.all_radios_simulated


async def test_the_simulator_steps_its_clock_and_answers_mistakes(tmp_path: Path) -> None:
    sim = await Simulator.start(tmp_path, labels=3, modules=2, rate=1.0, seed=1, start_wall="2017-01-02T05:00:00Z")
    events = asyncio.Queue[SimEvent]()
    sim.on_event = events.put_nowait
    reading = asyncio.create_task(sim.run())
    try:
        before_ms = sim.clock.now_ms()
        await sim.step(3_600_000)
        assert sim.clock.now_ms() - before_ms >= 3_600_000
        assert [radio.device.name for radio in sim.radios] == ["module-1", "module-2"]
        assert len(set(sim.labels)) == 3
        sim.swap_battery("no such label")
        while (event := await events.get()).kind != "error":
            continue
        assert "no such label" in event.data["message"]
    finally:
        reading.cancel()
        await sim.stop()


async def test_a_daemon_that_ends_at_once_is_reported_with_what_it_said(tmp_path: Path) -> None:
    daemon = DaemonProcess(tmp_path, [sys.executable, "-c", "raise SystemExit('no such thing')"], tmp_path / "c", tmp_path / "clock")
    with pytest.raises(ChildDied, match="no such thing"):
        await daemon.start()
    await daemon.stop()
