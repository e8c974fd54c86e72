"""Some of the histories that `make sim` plays by the thousand, and each mutant until it is caught (tests/sim/README.md)."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.view import Delta
from tests.sim.disk import Disk, Power, SimWriter
from tests.sim.loop import SimClock, SimLoop
from tests.sim.mutants import MUTANTS

RUN = Path(__file__).parent / "run.py"
HISTORIES = 100
MUTANT_HISTORIES = 100  # at most; most mutants are caught within five


def sim(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The runner in a process of its own: there the order of sets is the same in every run."""
    return subprocess.run([sys.executable, str(RUN), *arguments], capture_output=True, text=True, check=False)


def test_no_history_breaks_an_invariant() -> None:
    done = sim("--seeds", str(HISTORIES), "--mutant-seeds", "0")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"seeds       {HISTORIES}\n" in done.stdout
    assert "violations  0\n" in done.stdout


def test_every_mutant_is_caught() -> None:
    done = sim("--seeds", "0", "--until-caught", "--mutant-seeds", str(MUTANT_HISTORIES))
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"mutants     {len(MUTANTS)} of {len(MUTANTS)} caught\n" in done.stdout


def test_a_history_is_the_same_in_every_run() -> None:
    one, other = sim("--replay", "8"), sim("--replay", "8")
    assert one.stdout == other.stdout
    assert one.stdout.count("\n") > 100
    assert "lane-1" in one.stdout


@pytest.fixture
def clock() -> SimClock:
    return SimClock()


def test_time_on_the_loop_is_what_the_world_says(clock: SimClock) -> None:
    woken: list[int] = []

    async def sleeper() -> None:
        await asyncio.sleep(0)
        for _ in range(2):
            await clock.sleep_ms(1_000)
            woken.append(clock.link)

    with SimLoop(clock) as loop:
        began_ms, task = clock.link, loop.create_task(sleeper())
        for passed_ms in (0, 999, 1, 5_000):
            clock.pass_ms(passed_ms)
            loop.run_ready()
        assert woken == [began_ms + 1_000, began_ms + 6_000]
        assert task.done()


def test_what_a_till_waits_for_overtakes_what_has_not_begun(clock: SimClock) -> None:
    done: list[str] = []

    def job(name: str) -> Any:
        def transaction(db: Any) -> tuple[None, Delta]:
            done.append(name)
            return None, Delta()

        return transaction

    with SimLoop(clock) as loop:
        writer = SimWriter(Disk(), loop, lambda delta: None, Power(loop))
        writer.is_slow = writer.group_ends = lambda: True
        for name in ("list", "more of it"):
            loop.create_task(writer.run(job(name)))
        loop.create_task(writer.run(job("sale"), urgent=True))
        loop.run_ready()
        writer.turn()
        assert done == ["sale"]
        loop.create_task(writer.run(job("quote"), urgent=True))
        loop.run_ready()
        assert done == ["sale", "list", "quote", "more of it"]


def test_a_history_leaves_nothing_on_the_disk() -> None:
    disk = Disk()
    disk.db.execute("INSERT INTO meta VALUES ('kept', '1')")
    disk.keep()
    for _ in range(2):
        copy = disk.mark()
        disk.execute("UPDATE meta SET value = '2' WHERE key = 'kept'")
        assert disk.execute("SELECT value FROM meta WHERE key = 'kept'").get == "2"
        disk.put_back(copy)
        assert disk.execute("SELECT value FROM meta WHERE key = 'kept'").get == "1"
        disk.execute("DELETE FROM meta WHERE key = 'kept'")
        disk.begin_again()
    assert disk.execute("SELECT value FROM meta WHERE key = 'kept'").get == "1"


def test_a_halted_process_does_nothing_more(clock: SimClock) -> None:
    done: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(1)
            done.append("woke")
        finally:
            done.append("unwound")

    with SimLoop(clock) as loop:
        tasks: list[Any] = [loop.create_task(work()) for _ in range(2)]
        loop.run_ready()
        loop.halt()
        clock.pass_ms(5_000)
        loop.run_ready()
        assert done == []
        loop.bury()
        assert done == ["unwound", "unwound"]
        assert all(task.cancelled() for task in tasks)
