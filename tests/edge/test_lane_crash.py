"""kill -9 between COMMIT and reply: the till heard nothing, the store knows, and the same call again gets the stored answer."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest

from edge.lane_client import DaemonGone, LaneClient
from protocols.pos import CommitLine, CommitParams, Tender
from protocols.pos_returns import ReturnLine, ReturnParams, VoidParams
from protocols.pos_stock import CollectParams
from tests.edge.shop import MILK, Shop
from tests.edge.test_store_stock import books_balance, place, receive

TIMEOUT_S = 60.0  # never reached in a passing test

# The store's own lanes on its own file, in a process that kills itself when a transaction has committed and before anybody hears of it.
CRASHING = """
import asyncio, os, signal, sys
sys.path.insert(0, "tests/edge")
from pathlib import Path
from shop import Shop
from edge.pos import LaneServer, LaneSocket
from edge.rpc import ConnectionLimiter, RpcHooks

async def main():
    shop = Shop(Path(sys.argv[1]))
    shop.open()
    run = shop.store.run
    async def run_and_die(transaction, **how):
        await run(transaction, **how)
        os.kill(os.getpid(), signal.SIGKILL)
    shop.store.run = run_and_die
    lane = LaneSocket("lane-1", Path(sys.argv[2]))
    server = LaneServer(shop.desk, [lane], limiter=ConnectionLimiter(), hooks=RpcHooks(print), clock=lambda: 0.0)
    await server.start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""

SALE = CommitParams("s2", (Tender("cash", 100),), lines=(CommitLine("1", 1, 100, item_id="milk"),))
RETURN = ReturnParams("r1", (ReturnLine("1", 2, "1"),), (Tender("cash", 200),), "s1")
VOID = VoidParams("v1", "s1")
COLLECT = CollectParams("h1")


async def again(shop: Shop, method: str, params: Any) -> Any:
    answer: Any = shop.desk.calls[method].answer("lane-1", params)
    return await answer


@pytest.mark.parametrize(
    "method, params, left", [("sale.commit", SALE, 6), ("return.commit", RETURN, 9), ("sale.void", VOID, 10), ("hold.collect", COLLECT, 5)]
)
async def test_what_was_committed_before_the_kill_is_answered_after_it_and_happened_once(
    stocked: Shop, tmp_path: Path, project_root: Path, method: str, params: Any, left: int
) -> None:
    await receive(stocked, 10)
    await place(stocked, "h1", 2)
    await stocked.desk.commit("lane-1", CommitParams("s1", (Tender("cash", 300),), lines=(CommitLine("1", 3, 300, item_id="milk"),)))
    stocked.close()
    socket = tmp_path / "s"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CRASHING, str(tmp_path), str(socket), cwd=project_root, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    assert (await process.stdout.readline()).strip() == b"ready"
    async with await LaneClient.connect(socket, timeout_s=TIMEOUT_S) as till:
        await till.hello("lane-1")
        with pytest.raises(DaemonGone):
            await till.call(method, params, dict)
    assert await process.wait() == -9
    stocked.open()
    before = stocked.store.outbox_state()
    first, second = await again(stocked, method, params), await again(stocked, method, params)
    assert first == second
    assert stocked.store.outbox_state() == before
    assert stocked.store.view.stock[MILK] == left
    assert books_balance(stocked)
