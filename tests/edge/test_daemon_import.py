"""The daemon as a process: a watched folder, the command line and REST, and that a killed daemon goes on with a file."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path

import pytest

from edge.cli import main
from edge.lane_client import LaneClient
from protocols.pos import LookupParams
from tests.edge.test_daemon import CONFIG, PATIENCE_S, start_daemon
from tests.edge.test_rest import reply

MORE = """
[hq]
mode = "none"
[rest]
socket = "{dir}/rest.sock"
[import]
poll_seconds = 1
[[import.feed]]
name = "erp"
kind = "items"
mode = "full"
folder = "{dir}/in"
complete = "marker"
decimal = ","
delimiter = ";"
columns = {{ sku = "ArtNr", name = "Bez", price = "VK" }}
"""


def drop(directory: Path, name: str, rows: str) -> None:
    (directory / "in" / name).write_bytes(f"ArtNr;Bez;VK\n{rows}".encode("cp1252"))
    (directory / "in" / f"{name}.done").touch()


async def price(directory: Path, item_id: str) -> int:
    async with await LaneClient.connect(directory / "lane.sock", timeout_s=PATIENCE_S) as lane:
        await lane.hello("1")
        return (await lane.lookup(LookupParams(item_id=item_id))).price.amount_minor


async def filed(directory: Path, count: int) -> None:
    """Until so many files lie in done with their reports."""
    async with asyncio.timeout(PATIENCE_S):
        while len(list((directory / "in" / "done").glob("*"))) < 2 * count:  # noqa: ASYNC110 - another process is waited for
            await asyncio.sleep(0.01)


async def test_a_folder_a_command_and_rest_bring_and_read_the_same_store(capsys: pytest.CaptureFixture[str]) -> None:
    with tempfile.TemporaryDirectory(prefix="sd-") as name:
        directory = Path(name)
        (directory / "in").mkdir()
        text = (CONFIG + MORE).format(dir=directory).replace('price_source = "hq"', 'price_source = "file"')
        (directory / "config.toml").write_text(text)
        config = ["--config", str(directory / "config.toml")]
        drop(directory, "all.csv", "milk;Käse;1,19\noats;Hafer;1,49\n")
        daemon = await start_daemon(directory)
        try:
            await filed(directory, 1)
            assert await price(directory, "milk") == 119
            daemon.process.kill()
            await daemon.process.wait()
            drop(directory, "all.csv", "milk;Käse;1,09\noats;Hafer;1,49\n")
            daemon = await start_daemon(directory)
            await filed(directory, 2)
            assert await price(directory, "milk") == 109
            file = directory / "more.csv"
            file.write_text("sku,price\noats,1.39\n")
            assert await asyncio.to_thread(main, [*config, "import", str(file), "--kind", "prices"]) == 0
            assert await asyncio.to_thread(main, [*config, "token", "add", "kiosk", "--scope", "read"]) == 0
            token = capsys.readouterr().out.splitlines()[-1]
            async with asyncio.timeout(PATIENCE_S):
                reader, writer = await asyncio.open_unix_connection(str(directory / "rest.sock"))
                writer.write(f"GET /v1/items/oats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
                answer = json.loads((await reply(reader)).body)
                writer.close()
            assert (answer["price"]["amount_minor"], answer["name"]) == (139, "Hafer")
            assert (directory / "rest.sock").stat().st_mode & 0o777 == 0o660
        finally:
            await daemon.stop()
