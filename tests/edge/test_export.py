"""A store without HQ: events in files, acknowledged only when they are safe there."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge import export
from edge.export import Exporter
from tests.edge.shop import DAY_MS, Shop
from tests.edge.test_store_till import sale


async def exported(shop: Shop, folder: Path) -> None:
    """Let the exporter run until the outbox is empty."""
    task = asyncio.create_task(Exporter(shop.store, shop.clock, folder).run())
    while not task.done() and shop.store.outbox(0, 1):  # noqa: ASYNC110 - its turns are waited for, not time
        await asyncio.sleep(0)
    task.cancel()
    (result,) = await asyncio.gather(task, return_exceptions=True)
    if result is not None and not isinstance(result, asyncio.CancelledError):
        raise result


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for file in sorted(folder.iterdir()) for line in file.read_text().splitlines()]


async def test_sales_go_to_the_file_of_the_day_and_the_outbox_empties(stocked: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    await stocked.store.record_sale(sale("s1"))
    await exported(stocked, folder)
    stocked.clock.wall += DAY_MS
    await stocked.store.record_sale(sale("s2", digest="d2"))
    await exported(stocked, folder)
    assert [file.name for file in sorted(folder.iterdir())] == ["events-2026-01-09.jsonl", "events-2026-01-10.jsonl"]
    assert [line["data"]["sale_id"] for line in lines(folder)] == ["s1", "s2"]
    assert stocked.store.outbox(0, 10) == []


async def test_half_a_line_from_a_crash_is_taken_away_and_its_event_comes_again_whole(stocked: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    await stocked.store.record_sale(sale("s1"))
    await exported(stocked, folder)
    file = folder / "events-2026-01-09.jsonl"
    whole = file.read_text()
    for torn in ('{"seq":1,"ki', '{"seq":1}\n{"half', "\0\0\0"):
        file.write_text(whole + torn)
        await stocked.store.record_sale(sale(f"after {torn}", digest=torn))
        await exported(stocked, folder)
        assert file.read_text().startswith(whole)
        whole = file.read_text()
        assert lines(folder)[-1]["data"]["sale_id"] == f"after {torn}"


class Crash(BaseException):
    """The process ends here."""


async def test_a_crash_between_any_two_steps_loses_no_event_and_doubles_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each system call that the exporter makes, and each acknowledgement, is the last one before the end of the process once."""
    total, ended = await crash_after(None, tmp_path / "whole", monkeypatch), 0
    assert total > 8
    for fatal in range(total):
        assert await crash_after(fatal, tmp_path / str(fatal), monkeypatch) == fatal
        ended += 1
    assert ended == total


async def crash_after(fatal: int | None, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Two batches on two days, the process ending at step `fatal`, and started again. Returns how many steps were done until then."""
    await asyncio.to_thread(folder.mkdir)
    shop = Shop(folder)
    shop.open()
    await shop.stocked()
    done = 0

    def step() -> None:
        nonlocal done
        if done == fatal:
            raise Crash
        done += 1

    fsync, write, ack = os.fsync, export._write, shop.store.hq_ack

    def stepped_fsync(number: int) -> None:
        step()
        fsync(number)

    def stepped_write(path: Path, text: bytes) -> None:
        if done == fatal:
            write(path, text[: len(text) // 2])  # half of it reached the file
        step()
        write(path, text)

    async def stepped_ack(incarnation: str, seq: int, digest: str) -> bool:
        step()
        return await ack(incarnation, seq, digest)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stepped_fsync)
        patch.setattr(export, "_write", stepped_write)
        patch.setattr(shop.store, "hq_ack", stepped_ack)
        try:
            for number in range(2):
                await shop.store.record_sale(sale(f"s{number}", digest=str(number)))
                await shop.store.record_sale(sale(f"t{number}", digest=f"t{number}"))
                await exported(shop, folder / "events")
                shop.clock.wall += DAY_MS
        except Crash:
            pass
    for number in range(2):  # the lanes send again what they do not know to be recorded
        await shop.store.record_sale(sale(f"s{number}", digest=str(number)))
        await shop.store.record_sale(sale(f"t{number}", digest=f"t{number}"))
    shop.reopen()
    await exported(shop, folder / "events")
    found = lines(folder / "events")
    assert [line["data"]["sale_id"] for line in found] == ["s0", "t0", "s1", "t1"], fatal
    assert [line["seq"] for line in found] == sorted(line["seq"] for line in found)
    assert shop.store.outbox(0, 1) == []
    shop.close()
    return done


async def test_what_reads_back_otherwise_is_not_acknowledged(stocked: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await stocked.store.record_sale(sale("s1"))
    before, write = stocked.store.outbox_state(), export._write
    with monkeypatch.context() as patch:
        patch.setattr(export, "_write", lambda path, text: write(path, text.replace(b"s1", b"s2")))
        with pytest.raises(export.ExportDamaged):
            await exported(stocked, tmp_path / "events")
    assert stocked.store.outbox_state() == before


async def test_nothing_is_acknowledged_that_the_disk_did_not_take(stocked: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await stocked.store.record_sale(sale("s1"))
    before = stocked.store.outbox_state()

    def full(number: int) -> None:
        raise OSError("planted")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="planted"):
            await exported(stocked, tmp_path / "events")
    assert stocked.store.outbox_state() == before
    await exported(stocked, tmp_path / "events")
    assert {line["data"]["sale_id"] for line in lines(tmp_path / "events")} == {"s1"}


async def test_the_name_of_a_new_file_is_made_durable_before_its_events_are_dropped(
    stocked: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[bool] = []
    seen: list[int] = []
    fsync = os.fsync

    def watched(number: int) -> None:
        synced.append(Path(f"/proc/self/fd/{number}").readlink().is_dir())
        seen.append(stocked.value("SELECT count(*) FROM outbox"))  # by a connection of its own: this is the exporter's thread
        fsync(number)

    monkeypatch.setattr(os, "fsync", watched)
    await stocked.store.record_sale(sale("s1"))
    await exported(stocked, tmp_path / "events")
    assert synced == [True, False, True]  # the folder that was made, the file, its name
    assert 0 not in seen


@pytest.mark.parametrize("wrong_days", [400, -400])
async def test_a_crash_doubles_nothing_after_the_clock_was_wrong_for_a_day(wrong_days: int, stocked: Shop, tmp_path: Path) -> None:
    """The file that was written last is then neither the newest by name nor the one of today."""
    folder = tmp_path / "events"
    for number in range(3):
        stocked.clock.wall += DAY_MS
        await stocked.store.record_sale(sale(f"s{number}", digest=str(number)))
        await exported(stocked, folder)
    stocked.clock.wall += wrong_days * DAY_MS
    await stocked.store.record_sale(sale("wrong", digest="wrong"))
    if wrong_days > 0:
        await exported(stocked, folder)
        stocked.clock.wall -= wrong_days * DAY_MS
        await stocked.store.record_sale(sale("right", digest="right"))
    exporter = Exporter(stocked.store, stocked.clock, folder)
    state = stocked.store.outbox_state()
    exporter._append(state.incarnation, stocked.store.outbox(0, 10))  # and here the process ends
    stocked.clock.wall += (-min(wrong_days, 0) + 1) * DAY_MS
    await stocked.store.record_sale(sale("after", digest="after"))
    await exported(stocked, folder)
    sales = sorted(line["data"]["sale_id"] for line in lines(folder) if line["kind"] == "sale")
    assert sales == sorted({*sales})
    assert "after" in sales


async def test_half_a_line_in_an_older_file_is_taken_away_too(stocked: Shop, tmp_path: Path) -> None:
    """A clock that goes back would have the next event written behind it, where nobody could read either."""
    folder = tmp_path / "events"
    folder.mkdir()
    for day in ("2026-01-07", "2026-01-09"):
        (folder / f"events-{day}.jsonl").write_text('{"seq":1,"ki')
    (folder / "events-2026-01-10.jsonl").touch()
    (folder / "events-2026-01-11.jsonl").touch()
    await stocked.store.record_sale(sale("s1"))
    await exported(stocked, folder)
    assert [line["data"]["sale_id"] for line in lines(folder)] == ["s1"]
