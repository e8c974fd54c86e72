"""The demo starts real processes, ends them whatever happens, and says which of them failed."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest

from edge.demo import main, play
from edge.demo.broker import BrokerDidNotStart, start_broker
from edge.demo.children import Child, ChildDied
from edge.demo.config import Places, config_text
from edge.demo.hq import MiniHq
from edge.demo.play import Demo

LOOP = "import time, sys; print('up', flush=True); time.sleep(60)"


async def test_a_child_that_dies_is_named_with_the_end_of_its_log(tmp_path: Path) -> None:
    program = "import sys; print('\\n'.join(f'line {n}' for n in range(99))); sys.exit(7)"
    child = await Child.start("the till", [sys.executable, "-c", program], tmp_path / "till.log")
    with pytest.raises(ChildDied, match=r"the till ended with exit code 7(.|\n)*line 98") as died:
        await child.watch()
    assert "line 80" not in str(died.value)
    assert child.death() == str(died.value)


async def test_a_killed_child_is_said_to_be_killed(tmp_path: Path) -> None:
    child = await Child.start("the till", ["sleep", "60"], tmp_path / "till.log")
    assert child.death() is None
    child.process.send_signal(signal.SIGKILL)
    with pytest.raises(ChildDied, match="was killed by signal 9; it said nothing"):
        await child.watch()


async def test_a_child_is_out_of_reach_of_ctrl_c_and_ends_when_it_is_stopped(tmp_path: Path) -> None:
    child = await Child.start("the till", [sys.executable, "-c", LOOP], tmp_path / "till.log", piped=True)
    assert child.process.stdout is not None
    await child.process.stdout.readline()
    assert os.getpgid(child.process.pid) != os.getpgid(0)
    await child.stop()
    await child.stop()
    assert child.process.returncode == -signal.SIGTERM


async def test_a_daemon_that_does_not_start_is_said_with_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(places: Places, port: int) -> str:
        return config_text(places, port).replace("dwell_minutes", "dwell_parsecs")

    monkeypatch.setattr(play, "config_text", wrong)
    with start_broker(tmp_path) as broker:
        problems = await Demo(tmp_path, broker, 1.0, 60.0).play()
    assert len(problems) == 1
    assert "the daemon ended with exit code 2" in problems[0]
    assert "dwell_parsecs" in problems[0]


async def test_a_broker_that_dies_is_said(tmp_path: Path) -> None:
    with start_broker(tmp_path) as broker:
        broker.process.terminate()
        broker.process.wait()
        problems = await Demo(tmp_path, broker, 1.0, 60.0).play()
    assert any(f"the broker ({broker.kind}) ended" in problem for problem in problems)


def test_ctrl_c_ends_the_demo_in_order_and_writes_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user's signal comes as soon as head office has been told of the labels."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assign = Demo._assign_labels

    def assign_then_signal(self: Demo, hq: MiniHq) -> None:
        assign(self, hq)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Demo, "_assign_labels", assign_then_signal)
    target = tmp_path / "out.json"
    assert main.run(seconds=None, json_path=target, speed=60.0) == 0
    figures = json.loads(target.read_text())
    assert figures["changes"]["sent"] == figures["overcharges"] == 0
    assert list(tmp_path.iterdir()) == [target], "the temporary directory is gone"


def test_a_result_that_cannot_be_written_is_said_before_anything_starts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(seconds=1.0, json_path=tmp_path / "nowhere" / "out.json", speed=60.0) == main.EXIT_USAGE
    assert "nowhere/out.json" in capsys.readouterr().err


def test_a_broker_that_does_not_start_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(directory: Path) -> None:
        raise BrokerDidNotStart("broker did not listen on 127.0.0.1:1: taken")

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(main, "start_broker", refuse)
    assert main.run(seconds=1.0, json_path=None, speed=60.0) == main.EXIT_FAILED
    assert capsys.readouterr().err == "shelfd: broker did not listen on 127.0.0.1:1: taken\n"
