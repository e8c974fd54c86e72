"""The embedded brokers start, say so when they cannot, and are chosen by what is installed."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from drivers.mqtt import MqttAddress, MqttLink
from edge.demo import broker
from edge.demo.broker import HOST, BrokerDidNotStart, BrokerKind, start_broker


@pytest.mark.parametrize("kind", list(BrokerKind))
async def test_a_broker_takes_a_message_of_the_size_limit_and_ends_with_its_block(tmp_path: Path, kind: BrokerKind) -> None:
    with start_broker(tmp_path, kind=kind) as running:
        async with MqttLink(MqttAddress(running.host, running.port), "client").connect() as connection:
            await connection.subscribe("t")
            await connection.publish("t", b"x" * 131_072)
            assert len((await connection.receive()).payload) == 131_072
    assert running.process.poll() is not None
    with socket.socket() as probe:
        assert probe.connect_ex((HOST, running.port)) != 0


@pytest.mark.parametrize("kind", list(BrokerKind))
def test_a_taken_port_is_said(tmp_path: Path, kind: BrokerKind) -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        port = taken.getsockname()[1]
        with pytest.raises(BrokerDidNotStart, match=f"{HOST}:{port}"), start_broker(tmp_path, port, kind=kind):
            pass


def test_rumqttd_is_taken_where_mosquitto_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "mosquitto_path", lambda: None)
    with start_broker(tmp_path) as running:
        assert running.kind is BrokerKind.RUMQTTD
    with pytest.raises(BrokerDidNotStart, match="not installed"), start_broker(tmp_path, kind=BrokerKind.MOSQUITTO):
        pass
