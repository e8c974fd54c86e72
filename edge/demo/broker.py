"""An MQTT 5 broker for the demo, the tests and the benches: mosquitto where it is installed, else rumqttd from the iotcore wheel.

It listens on loopback only, keeps nothing on disk but its own configuration file, and ends with the block that started it.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
MESSAGE_MAX_BYTES: Final = 1024 * 1024  # eight times the limit of the HQ contract
QUEUE_MAX_MESSAGES: Final = 100_000  # for a store that is away: the default of 1,000 drops the rest silently
INFLIGHT_MAX: Final = 32  # un-acknowledged per client
START_TIMEOUT_S: Final = 15.0  # rumqttd needs about 1.5 s on an idle machine
STOP_TIMEOUT_S: Final = 5.0
_POLL_S: Final = 0.02

# python -c puts the working directory on sys.path: a directory named iotcore there must not shadow the package
_IOTCORE_CHILD: Final = "import sys; sys.path[:] = [p for p in sys.path if p not in ('', '.')]; from iotcore._serve import main; main()"


class BrokerKind(StrEnum):
    MOSQUITTO = "mosquitto"
    RUMQTTD = "rumqttd"


class BrokerDidNotStart(RuntimeError):
    """The text has the end of what the broker said."""


@dataclass(frozen=True, slots=True)
class RunningBroker:
    kind: BrokerKind
    host: str
    port: int
    process: subprocess.Popen[bytes]


def mosquitto_path() -> str | None:
    """Where mosquitto is; Debian puts it into a directory that is not on every user's PATH."""
    return shutil.which("mosquitto", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


@contextmanager
def start_broker(directory: Path, port: int = 0, *, kind: BrokerKind | None = None, extra_config: str = "") -> Iterator[RunningBroker]:
    """A broker that accepts connections, for the time of the block.

    `directory` exists and takes its configuration and log. `port` 0 chooses a free one. `extra_config` is appended to mosquitto's
    configuration (access rules). Raises `BrokerDidNotStart`.
    """
    if kind is None:
        kind = BrokerKind.MOSQUITTO if mosquitto_path() else BrokerKind.RUMQTTD
    port = port or free_port()
    log_path = directory / f"{kind}.log"
    with log_path.open("wb") as log:
        command = _command(kind, directory, port, extra_config)
        # a group of its own: Ctrl-C on the terminal is for those who use the broker, and they end it when they are done
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, process_group=0)
    try:
        _wait_until_listening(process, port, log_path)
        yield RunningBroker(kind, HOST, port, process)
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    """End it; safe to call twice."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _command(kind: BrokerKind, directory: Path, port: int, extra_config: str) -> list[str]:
    if kind is BrokerKind.MOSQUITTO:
        path = mosquitto_path()
        if path is None:
            raise BrokerDidNotStart("mosquitto is not installed")
        config = directory / "mosquitto.conf"
        config.write_text(_mosquitto_config(port) + extra_config)
        return [path, "-c", str(config)]
    config = directory / "rumqttd.toml"
    config.write_text(_rumqttd_config(port))
    return [sys.executable, "-c", _IOTCORE_CHILD, json.dumps({"config_path": str(config)})]


def _mosquitto_config(port: int) -> str:
    return (
        f"listener {port} {HOST}\n"
        "allow_anonymous true\n"
        "persistence false\n"
        f"user {pwd.getpwuid(os.getuid()).pw_name}\n"
        f"message_size_limit {MESSAGE_MAX_BYTES}\n"
        f"max_queued_messages {QUEUE_MAX_MESSAGES}\n"
        f"max_inflight_messages {INFLIGHT_MAX}\n"
        "log_dest stderr\n"
        "log_type error\n"
        "log_type warning\n"
    )


def _rumqttd_config(port: int) -> str:
    """A v5 listener: without a file rumqttd speaks MQTT 3.1.1 only. Keys per rumqttd 0.20."""
    return (
        "id = 0\n"
        "[router]\n"
        "id = 0\n"
        "max_connections = 100\n"
        "max_outgoing_packet_count = 200\n"
        "max_segment_size = 104857600\n"
        "max_segment_count = 10\n"
        "[v5.1]\n"
        'name = "v5-1"\n'
        f'listen = "{HOST}:{port}"\n'
        "next_connection_delay_ms = 1\n"
        "[v5.1.connections]\n"
        "connection_timeout_ms = 60000\n"
        f"max_payload_size = {MESSAGE_MAX_BYTES}\n"
        f"max_inflight_count = {INFLIGHT_MAX}\n"
        "dynamic_filters = true\n"
    )


def _wait_until_listening(process: subprocess.Popen[bytes], port: int, log_path: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(_POLL_S)
    said = log_path.read_bytes()[-500:].decode(errors="replace").strip()
    raise BrokerDidNotStart(f"broker did not listen on {HOST}:{port}: {said or 'it said nothing'}")
