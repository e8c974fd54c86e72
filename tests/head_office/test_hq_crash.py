"""Kill -9 of the worker, of the broker, of one, two and all three nodes of a cluster, while stores sell: nothing lost, nothing doubled.

Short, so that every change is held to it; `make crash-hq` goes on for minutes.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from bench.brokers import mosquitto, nats
from bench.fleet_crash import Blow, Forwarder, Verdict, fleet, kill_node, kill_nodes


def _holds(verdict: Verdict, blows: int) -> None:
    assert verdict.complaints == ()
    assert (verdict.blows, verdict.lost, verdict.doubled) == (blows, 0, 0)


async def test_worker_and_broker_are_killed_in_turn(tmp_path: Path, database_url: str) -> None:
    async with AsyncExitStack() as stack:
        node = stack.enter_context(mosquitto(tmp_path / "broker"))
        there = await fleet(stack, tmp_path, node.address, real=2, light=4, database=database_url)
        blows: list[Blow] = [there.kill_worker, partial(kill_node, node)] * 2
        _holds(await there.run(blows), 4)


@pytest.mark.parametrize("numbers", [(0,), (0, 1), (0, 1, 2)], ids=["one", "two", "all three"])
async def test_nodes_of_a_cluster_and_the_worker_are_killed(tmp_path: Path, numbers: tuple[int, ...]) -> None:
    async with AsyncExitStack() as stack:
        cluster = stack.enter_context(nats(tmp_path / "broker", 3))
        forwarder = await stack.enter_async_context(Forwarder([node.address for node in cluster.nodes]))
        there = await fleet(stack, tmp_path, forwarder.address, real=2, light=4)
        shifted = tuple((number + 1) % 3 for number in numbers)
        blows: list[Blow] = [partial(kill_nodes, cluster, numbers), there.kill_worker, partial(kill_nodes, cluster, shifted)]
        _holds(await there.run(blows), 3)
