"""The daemon as a process with a till on the LAN: certificate, TLS, notifications, a price table; and it does not start without one."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from edge.cli import main
from edge.lane_client import LaneClient
from edge.lane_tls import LaneFiles, client_context
from protocols.jsonrpc import encode_request
from tests.edge.test_daemon import CONFIG, PATIENCE_S, start_daemon
from tests.edge.test_daemon_from_file import ITEMS


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def configured(directory: Path) -> tuple[Path, int]:
    port = free_port()
    text = CONFIG.format(dir=directory).replace('price_source = "hq"', 'price_source = "file"') + '[hq]\nmode = "none"\n'
    text = text.replace("[daemon]\n", f'[daemon]\nlane_certificates = "{directory}/lanes"\n')
    text += f'[[lane]]\nid = "lan"\nlisten = "127.0.0.1:{port}"\n'
    path = directory / "config.toml"
    path.write_text(text)
    return path, port


async def test_a_till_on_the_lan_sells_mirrors_and_is_told_of_changes() -> None:
    with tempfile.TemporaryDirectory(prefix="sd-") as name:
        directory = Path(name)
        config, port = configured(directory)
        assert main(["--config", str(config), "lane", "add", "lan"]) == 0
        daemon = await start_daemon(directory)
        try:
            async with asyncio.timeout(PATIENCE_S):
                await control(directory, "import", source_name="items.csv", csv=ITEMS)
                folder = directory / "lanes"
                files = LaneFiles(folder / "lanes" / "lan.crt", folder / "lanes" / "lan.key", folder / "authority.crt")
                reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client_context(files))

                async def call(number: int, method: str, **params: Any) -> dict[str, Any]:
                    writer.write(encode_request(number, method, params))
                    while (answer := json.loads(await reader.readline())).get("id") != number:
                        pass
                    result: dict[str, Any] = answer["result"]
                    return result

                assert (await call(1, "hello", lane="lan", notify=["price.changed"]))["ready"]
                table = await call(2, "price.since", revision=0)
                assert {each["item_id"] for each in table["prices"]} == {"oats", "milk"}
                line = {"line_id": "1", "item_id": "milk", "quantity": 2, "total_minor": 238}
                sale = {"sale_id": "s1", "tenders": [{"type": "cash", "amount_minor": 238}], "lines": [line]}
                assert (await call(3, "sale.commit", **sale))["flags"] == []
                back = {"return_id": "r1", "sale_id": "s1", "lines": [{"line_id": "1", "original_line_id": "1", "quantity": 1}]}
                assert (await call(4, "return.commit", **back, preview=True))["refund_minor"] == 119
                assert (await call(5, "stock.get", item_id="milk"))["on_hand"] == 48
                await control(directory, "import", source_name="items.csv", csv=ITEMS.replace("1.19", "1.09"))
                told = json.loads(await reader.readline())
                assert (told["method"], told["params"]["items"]) == ("price.changed", ["milk"])
                changed = await call(6, "price.since", revision=table["revision"], epoch=table["epoch"])
                assert [each["curves"] for each in changed["prices"]] == [[[[1, 109]]]]
                writer.close()
        finally:
            await daemon.stop()


async def test_a_lane_on_the_lan_without_its_certificate_stops_the_start_and_says_what_to_do() -> None:
    with tempfile.TemporaryDirectory(prefix="sd-") as name:
        config, _ = configured(Path(name))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edge", "run", "--config", str(config), stderr=asyncio.subprocess.PIPE
        )
        _, said = await process.communicate()
        assert process.returncode == 3
        assert "shelfd lane add lan" in said.decode()


async def control(directory: Path, method: str, **params: object) -> dict[str, Any]:
    async with await LaneClient.connect(directory / "control.sock", timeout_s=PATIENCE_S) as client:
        answer: dict[str, Any] = await client.call(method, params, dict)
        return answer
