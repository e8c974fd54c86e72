"""The 60 lines of docs/clients against a real broker and a real store; nothing of shelfd is in them."""

from __future__ import annotations

import ast
import asyncio
import json
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.clock import SystemClock
from edge.demo.broker import BrokerKind, start_broker
from edge.hq import HqSync
from protocols.hq import Signer, partition_of
from tests.edge.hq_store_process import QUICK
from tests.edge.shop import HQ_TWO, MILK, Shop

CLIENT = Path(__file__).parents[2] / "docs" / "clients" / "hq_publisher.py"
STORE, SEED = "demo-01", bytes(range(32))
WAIT_S = 60.0


def test_it_imports_nothing_of_shelfd_and_is_short() -> None:
    text = CLIENT.read_text()
    names = {alias.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Import) for alias in node.names}
    names |= {str(node.module) for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert {name.split(".")[0] for name in names} & {"edge", "protocols", "drivers", "render"} == set()
    code = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith(('"""', "#"))]
    assert len(code) <= 75


@pytest.mark.parametrize("kind", list(BrokerKind))
async def test_it_says_prices_and_reads_what_became_of_them(stocked: Shop, tmp_path: Path, kind: BrokerKind) -> None:
    signer = Signer("sixty", Ed25519PrivateKey.from_private_bytes(SEED))
    with start_broker(tmp_path, kind=kind) as broker:
        enrolment = {
            "store": STORE,
            "partition": partition_of(STORE),
            "broker": {"host": broker.host, "port": broker.port},
            "hq_keys": [{"kid": "sixty", "public_key": signer.public_key}],
            "hq_incarnation": HQ_TWO,
        }
        await stocked.store.enrol(json.dumps(enrolment).encode(), "test")
        sync = HqSync(stocked.store, SystemClock(), enrolled=asyncio.Event(), outbox_wake=stocked.store.outbox_grew, timings=QUICK)
        running = asyncio.create_task(sync.run())
        settings = {"host": broker.host, "port": broker.port, "store": STORE, "kid": "sixty", "private_key": SEED.hex()}
        file = tmp_path / "settings.json"
        file.write_text(json.dumps(settings | {"incarnation": HQ_TWO, "currency": "EUR"}))
        stocked.clock.pass_ms(1_000)  # of two prices that began at one instant the name would decide
        try:
            assert await _say(file, "milk", 90) == "applied"
            assert stocked.charge(MILK) == 90
            assert (await _say(file, "milk", 9_900)).startswith("held held for a person")
            file.write_text(json.dumps(json.loads(file.read_text()) | {"currency": "USD"}))
            assert (await _say(file, "milk", 80)).startswith("rejected row 0: currency USD")
            assert stocked.charge(MILK) == 90
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        chain = json.loads(file.read_text())["chain"]
        assert chain[0] == stocked.store.outbox_state().incarnation
        assert stocked.store.outbox_state().first_unacked_seq > 1
        assert stocked.alerts() == []
        assert sync.counters.hq_acks_refused == 0


async def _say(file: Path, sku: str, amount: int) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(CLIENT), str(file), sku, str(amount), stdout=asyncio.subprocess.PIPE, cwd=file.parent
    )
    async with asyncio.timeout(WAIT_S):
        said, _ = await process.communicate()
    assert process.returncode == 0
    return said.decode().strip().splitlines()[-1].strip()
