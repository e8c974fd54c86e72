"""The clients of docs/clients against a real server: the shop's desk on real sockets, each client a process of its own."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from edge.lane_tls import add_lane, fingerprint, server_context
from edge.pos import LaneServer, LaneSocket
from edge.rpc import ConnectionLimiter, RpcHooks
from edge.rpc_tls import TlsListen, TlsServer
from tests.edge.shop import MILK, MILK_CODE, Shop

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"
LINES_MAX = 60  # of code: a client that is longer is not read

# Programs that quote, pay and record. The C# one needs a .NET SDK, which few machines have.
SELLERS = {"python": [sys.executable, str(CLIENTS / "lane.py")]}
if shutil.which("dotnet"):
    SELLERS["C#"] = ["dotnet", "run", "--project", str(CLIENTS / "lane.csproj"), "--"]
CHECKER = ["sh", str(CLIENTS / "lane.sh")]


@dataclass
class Store:
    shop: Shop
    server: LaneServer
    folder: Path  # with the files of the lane
    addresses: dict[str, str]
    quoted: asyncio.Event  # a quote was answered, or refused


@pytest.fixture
async def store(stocked: Shop, tmp_path: Path) -> AsyncIterator[Store]:
    tls = tmp_path / "tls"
    files = add_lane(tls, "lane-1", "demo-01", ["127.0.0.1"])
    till = tmp_path / "till"
    till.mkdir()
    for file in (files.certificate, files.key, files.authority):
        shutil.copy(file, till)
    fatal: list[BaseException] = []
    quoted = asyncio.Event()

    def answered(method: str, seconds: float) -> None:
        if method == "basket.quote":
            quoted.set()

    server = LaneServer(
        stocked.desk,
        [LaneSocket("lane-1", tmp_path / "s")],
        limiter=ConnectionLimiter(),
        hooks=RpcHooks(fatal.append, on_latency=answered),
        clock=lambda: 0.0,
        tls=[TlsListen("127.0.0.1", 0, server_context(tls), {fingerprint(tls, "lane-1"): "lane-1"})],
    )
    await server.start()
    (listener,) = (each for each in server._servers if isinstance(each, TlsServer))
    yield Store(stocked, server, till, {"socket": str(tmp_path / "s"), "tls": f"127.0.0.1:{listener.port}"}, quoted)
    await server.close(grace_s=0)
    assert fatal == []


async def run(store: Store, *command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=store.folder, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out if process.returncode == 0 else err or out).decode()


@pytest.mark.parametrize("how", ["socket", "tls"])
@pytest.mark.parametrize("language", SELLERS)
async def test_a_client_sells(store: Store, language: str, how: str) -> None:
    code, said = await run(store, *SELLERS[language], store.addresses[how], "lane-1", MILK_CODE, "3")
    assert code == 0, said
    answer = json.loads(said)
    assert (answer["total_minor"], answer["recorded"]) == (300, True)
    assert store.shop.store.find_sale(answer["sale_id"]) is not None
    assert store.shop.store.view.stock[MILK] == -3


@pytest.mark.parametrize("language", SELLERS)
async def test_a_client_says_why_it_could_not_sell(store: Store, language: str) -> None:
    code, said = await run(store, *SELLERS[language], store.addresses["socket"], "lane-1", "96385074")
    assert code != 0
    assert "Item not known. Ask a colleague for the price." in said


@pytest.mark.parametrize("how", ["socket", "tls"])
async def test_the_shell_client_asks_a_price(store: Store, how: str) -> None:
    code, said = await run(store, *CHECKER, store.addresses[how], "lane-1", MILK_CODE)
    assert code == 0, said
    assert json.loads(said)["result"]["price"] == {"amount_minor": 100, "price_quantity": 1, "unit": "each"}
    code, said = await run(store, *CHECKER, store.addresses[how], "lane-1", "96385074")
    assert (code, json.loads(said)["error"]["message"]) == (1, "unknown_item")


async def test_a_client_waits_for_a_store_that_has_no_prices_yet(store: Store) -> None:
    generation, store.shop.store.view.generation = store.shop.store.view.generation, ""
    selling = asyncio.create_task(run(store, *SELLERS["python"], store.addresses["socket"], "lane-1", MILK_CODE))
    await store.quoted.wait()  # refused, for now
    store.shop.store.view.generation = generation
    code, said = await selling
    assert code == 0, said


@pytest.mark.parametrize("name", ["lane.py", "Lane.cs", "lane.sh"])
def test_a_client_fits_on_a_page(name: str) -> None:
    text = (
        re.sub(r'"""(?!\{).*?"""', "", (CLIENTS / name).read_text(), flags=re.DOTALL) if name == "lane.py" else (CLIENTS / name).read_text()
    )
    code = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(("#", "//"))]
    assert len(code) <= LINES_MAX
