"""The `[sensors]` table: off unless a broker is named, and a filter that hears everything is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edge.config import ConfigError, parse
from edge.config_sensors import DEFAULT_TOPIC, SensorsConfig
from tests.edge.test_config import MINIMAL


def parsed(text: str) -> SensorsConfig | None:
    return parse(MINIMAL + text, "shop.toml").sensors


@pytest.mark.parametrize("text", ["", "[sensors]\n"])
def test_without_a_broker_nothing_listens(text: str) -> None:
    assert parsed(text) is None


def test_a_broker_alone_will_do() -> None:
    assert parsed("[sensors]\nbroker = '10.0.0.2:1883'\n") == SensorsConfig("10.0.0.2", 1883, DEFAULT_TOPIC, False, None, None, None)


def test_everything_that_can_be_said() -> None:
    text = (
        "[sensors]\nbroker = '[fd00::2]:8883'\ntopic = 'shop/+/seen/#'\ntls = true\nca = '/etc/ca.pem'\n"
        "username = 'shelfd'\npassword_file = '/etc/password'\n"
    )
    expected = SensorsConfig("fd00::2", 8883, "shop/+/seen/#", True, Path("/etc/ca.pem"), "shelfd", Path("/etc/password"))
    assert parsed(text) == expected


@pytest.mark.parametrize(
    "text, said",
    [
        ("topic = 'a/#'", "sensors.broker: missing, expected with topic"),
        ("broker = 'host'", 'sensors.broker: found "host", expected a host and a port such as "10.0.0.2:1883"'),
        ("broker = 'host:0'", 'sensors.broker: found "host:0"'),
        ("broker = 'h:1'\ntopic = '#'", 'sensors.topic: found "#"'),
        ("broker = 'h:1'\ntopic = '$SYS/#'", "sensors.topic: found"),
        ("broker = 'h:1'\ntopic = 'a/b#'", "sensors.topic: found"),
        ("broker = 'h:1'\ntopic = 'a//b'", "sensors.topic: found"),
        ("broker = 'h:1'\ntopic = 'a/'", "sensors.topic: found"),
        ("broker = 'h:1'\nca = '/ca.pem'", "sensors.ca: only with tls = true"),
        ("broker = 'h:1'\npassword_file = '/p'", "sensors.password_file: only with a username"),
        ("broker = 'h:1'\nport = 1", "sensors.port: unknown key"),
    ],
)
def test_what_cannot_be_is_said(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        parsed(f"[sensors]\n{text}\n")
