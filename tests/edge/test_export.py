"""A store without HQ: events in files, acknowledged only when they are safe there."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest

from edge.export import Exporter
from tests.edge.shop import DAY_MS, Shop
from tests.edge.test_store_till import sale


async def exported(shop: Shop, folder: Path) -> None:
    """Let the exporter run until the outbox is empty."""
    task = asyncio.create_task(Exporter(shop.store, shop.clock, folder).run())
    while not task.done() and shop.store.outbox(0, 1):  # noqa: ASYNC110 - its turns are waited for, not time
        await asyncio.sleep(0)
    task.cancel()
    results = await asyncio.gather(task, return_exceptions=True)
    if isinstance(results[0], Exception):
        raise results[0]


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


async def test_half_a_line_from_a_crash_stands_alone_and_its_event_comes_again_whole(stocked: Shop, tmp_path: Path) -> None:
    folder = tmp_path / "events"
    folder.mkdir()
    file = folder / "events-2026-01-09.jsonl"
    file.write_text('{"seq":1,"ki')
    await stocked.store.record_sale(sale("s1"))
    await exported(stocked, folder)
    torn, whole = file.read_text().splitlines()
    assert torn == '{"seq":1,"ki'
    assert json.loads(whole)["data"]["sale_id"] == "s1"


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
    assert synced == [False, True]
    assert 0 not in seen
