"""Units that may fail alone: started again for ever, with pauses that stay bounded."""

from __future__ import annotations

import asyncio
import logging

import pytest

from edge import supervise
from edge.supervise import BACKOFF_MAX_S, keep_running


async def run(monkeypatch: pytest.MonkeyPatch, lives: int, *, fails: bool = True) -> list[float]:
    """The pauses between so many lives of a unit."""
    pauses: list[float] = []
    sleep = asyncio.sleep

    async def paused(duration_s: float) -> None:
        pauses.append(duration_s)
        await sleep(0)

    async def unit() -> None:
        if len(pauses) >= lives:
            raise asyncio.CancelledError
        if fails:
            raise OSError("planted")

    monkeypatch.setattr(asyncio, "sleep", paused)
    with pytest.raises(asyncio.CancelledError):
        await keep_running("unit", unit)
    return pauses


async def test_pauses_double_to_a_minute_and_stay_there_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = await run(monkeypatch, 1_200)
    assert pauses[:7] == [1, 2, 4, 8, 16, 32, 60]
    assert set(pauses[7:]) == {BACKOFF_MAX_S}


async def test_the_first_failure_is_a_warning_and_the_next_ones_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, supervise.__name__)
    await run(monkeypatch, 3)
    assert [record.levelname for record in caplog.records] == ["WARNING", "DEBUG", "DEBUG"]


async def test_a_unit_that_ends_without_an_error_is_started_again_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert len(await run(monkeypatch, 3, fails=False)) == 3
    assert "ended" in caplog.records[0].message


async def test_cancelling_ends_it() -> None:
    async def for_ever() -> None:
        await asyncio.Event().wait()

    task = asyncio.create_task(keep_running("unit", for_ever))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
