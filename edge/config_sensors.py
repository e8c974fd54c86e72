"""The `[sensors]` table: the store's own broker, where shelf sensors, scales and RFID readers say what they see. Off unless named."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.config_reader import Table

SENSOR_KEYS: Final = ("broker", "topic", "tls", "ca", "username", "password_file")
DEFAULT_TOPIC: Final = "shelfd/sensors/#"


@dataclass(frozen=True, slots=True)
class SensorsConfig:
    """`password_file` holds one line; None: no password."""

    host: str
    port: int
    topic: str
    tls: bool
    ca: Path | None
    username: str | None
    password_file: Path | None


def sensors(top: Table) -> SensorsConfig | None:
    """The table below `top`; None where no broker is named. Raises ConfigError."""
    table = top.table("sensors", SENSOR_KEYS)
    if not table.has("broker"):
        for key in SENSOR_KEYS:
            if table.has(key):
                raise table.error("broker", f"missing, expected with {key}")
        return None
    expected = 'a host and a port such as "10.0.0.2:1883"'
    host, _, port = table.text("broker", expected, pattern=r"(\[[0-9a-f:]+\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}").rpartition(":")
    if not 1 <= int(port) <= 65535:
        raise table.bad("broker", expected)
    username = table.text("username", "1 to 100 characters", pattern=r"[^\x00-\x1f]{1,100}") if table.has("username") else None
    if table.has("password_file") and username is None:
        raise table.error("password_file", "only with a username")
    tls = table.boolean("tls", default=False)
    if table.has("ca") and not tls:
        raise table.error("ca", "only with tls = true")
    level = r"[^\x00-\x20/+#$][^\x00-\x20/+#]*|\+"
    return SensorsConfig(
        host.strip("[]"),
        int(port),
        table.text(
            "topic",
            f'a topic filter such as "{DEFAULT_TOPIC}", 200 characters at most, not "#" alone',
            default=DEFAULT_TOPIC,
            pattern=f"(?=.{{1,200}}$)(?:{level})(?:/(?:{level}))*(?:/#)?",
        ),
        tls,
        table.absolute_path("ca") if table.has("ca") else None,
        username,
        table.absolute_path("password_file") if table.has("password_file") else None,
    )
