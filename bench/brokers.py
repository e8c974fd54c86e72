"""Real brokers for the tests and the benches: mosquitto and rumqttd (MQTT 5), NATS with JetStream (MQTT 3.1.1), one node or three.

Each listens on loopback at free ports, keeps what it has to keep in the directory that it is given, says when it takes connections,
can be killed with -9 and started again on what it left, and ends with the block that started it.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
import sysconfig
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from drivers.mqtt import MqttAddress
from edge.demo.broker import BrokerKind, free_port, mosquitto_path, start_broker

HOST: Final = "127.0.0.1"
START_TIMEOUT_S: Final = 120.0  # a cluster elects within 5 s; 32 sessions at it, on a busy machine, take longer
ACK_WAIT_S: Final = 2  # NATS sends again what was not acknowledged; its default of 30 s would make every kill test wait that long
PAYLOAD_MAX_BYTES: Final = 1024 * 1024
QUEUE_MAX: Final = 1_000_000  # mosquitto drops silently above it, PUBACK Success


class Kind(StrEnum):
    """What the HQ link is held to."""

    MOSQUITTO = "mosquitto"  # MQTT 5
    RUMQTTD = "rumqttd"  # MQTT 5, in the iotcore wheel
    NATS = "nats"  # MQTT 3.1.1


class DidNotStart(RuntimeError):
    """The text has the end of what the broker said."""


class Process:
    """A program that can be killed and started again. Its words go to a file, and `said` waits for some of them."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        user: str | None = None,
        environment: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """`user`: who it runs as, where that is not this process's own user."""
        self._command = list(command)
        self._user = user
        self._environment = environment
        self._cwd = cwd
        self.log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._heard = threading.Condition()
        self._text = ""
        self._ended = False

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.running
        self._text, self._ended = "", False
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            process_group=0,
            user=self._user,
            env=self._environment,
            cwd=self._cwd,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def said(self, pattern: str, times: int = 1) -> None:
        """Wait until it said this, so many times since its start. Raises DidNotStart."""
        with self._heard:
            self._heard.wait_for(lambda: self._ended or len(re.findall(pattern, self._text)) >= times, START_TIMEOUT_S)
            if len(re.findall(pattern, self._text)) < times:
                raise DidNotStart(f"{self._command[0]}: no {pattern!r} in: {self._text[-2000:]}")

    def kill(self) -> None:
        """With -9: nothing is flushed, nobody is told."""
        self._end(signal_name="kill")

    def stop(self) -> None:
        """Orderly; safe to call twice."""
        self._end(signal_name="terminate")

    def _end(self, signal_name: str) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            getattr(process, signal_name)()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._reader is not None:
            self._reader.join()
        if process.stdout is not None:
            process.stdout.close()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with self.log.open("ab") as log:
            for line in process.stdout:
                log.write(line)
                with self._heard:
                    self._text = (self._text + line.decode(errors="replace"))[-100_000:]
                    self._heard.notify_all()
        with self._heard:
            self._ended = True
            self._heard.notify_all()


@dataclass(frozen=True, slots=True)
class Node:
    """One broker process. `address` is where it speaks MQTT."""

    address: MqttAddress
    process: Process
    ready: str

    def start(self) -> None:
        """Start and wait until it takes connections. Raises DidNotStart."""
        self.process.start()
        self.process.said(self.ready)
        wait_for_port(self.address.port, self.process)


@dataclass(frozen=True, slots=True)
class Cluster:
    """One NATS node, or three that are one."""

    nodes: tuple[Node, ...]

    @property
    def address(self) -> MqttAddress:
        return self.nodes[0].address

    def start(self, *numbers: int, leader: bool = True) -> None:
        """Start these nodes (all, where none is named); with `leader`, wait until each follows one: two of three must run for that."""
        chosen = [self.nodes[number] for number in numbers] if numbers else list(self.nodes)
        for node in chosen:
            node.process.start()
        for node in chosen:
            node.process.said(r"Server is ready")
            wait_for_port(node.address.port, node.process)
        for node in chosen if leader else ():
            node.process.said(node.ready)

    def stop(self) -> None:
        for node in self.nodes:
            node.process.stop()


def wait_for_port(port: int, process: Process) -> None:
    """Until somebody listens. Raises DidNotStart when the program ended."""
    while process.running:
        try:
            socket.create_connection((HOST, port), timeout=1.0).close()
        except OSError:
            continue
        return
    raise DidNotStart(f"nobody listens on {HOST}:{port}")


def nats_path() -> str:
    """nats-server of the wheel beside this Python, else of the system. Raises DidNotStart."""
    places = os.pathsep.join((sysconfig.get_path("scripts"), os.environ.get("PATH", ""), "/usr/sbin"))
    path = shutil.which("nats-server", path=places)
    if path is None:
        raise DidNotStart("nats-server is not installed")
    return path


@contextmanager
def nats(directory: Path, nodes: int = 1, *, extra: str = "", mqtt_extra: str = "", ack_wait_s: int = ACK_WAIT_S) -> Iterator[Cluster]:
    """A NATS server with JetStream and an MQTT listener, or a cluster of three, for the time of the block.

    `extra` is appended to each configuration, `mqtt_extra` goes into its mqtt part.
    """
    names = [f"n{number}" for number in range(1, nodes + 1)]
    clients, mqtts, routes = ([free_port() for _ in names] for _ in range(3))
    made = []
    for number, name in enumerate(names):
        store = directory / name
        store.mkdir(parents=True, exist_ok=True)
        cluster = ""
        if nodes > 1:
            others = ", ".join(f"nats-route://{HOST}:{port}" for port in routes)
            cluster = f'cluster {{ name: hq, listen: "{HOST}:{routes[number]}", routes: [{others}] }}\n'
        config = store / "nats.conf"
        config.write_text(
            f'server_name: {name}\nlisten: "{HOST}:{clients[number]}"\nmax_payload: {PAYLOAD_MAX_BYTES}\n'
            f'jetstream {{ store_dir: "{store / "data"}", max_mem: 256MB, max_file: 8GB, limits {{ default_max_consumers: -1 }} }}\n'
            f'mqtt {{ listen: "{HOST}:{mqtts[number]}", ack_wait: "{ack_wait_s}s", max_ack_pending: 100\n{mqtt_extra} }}\n'
            + cluster
            + extra
        )
        ready = (
            r"Server is ready"
            if nodes == 1
            else r"(JetStream cluster new metadata leader: n|Self is new JetStream cluster metadata leader)"
        )
        process = Process([nats_path(), "-c", str(config)], store / "log")
        made.append(Node(MqttAddress(HOST, mqtts[number]), process, ready))
    cluster_of = Cluster(tuple(made))
    try:
        cluster_of.start()
        yield cluster_of
    finally:
        cluster_of.stop()


@contextmanager
def mosquitto(directory: Path, *, extra: str = "", port: int = 0) -> Iterator[Node]:
    """mosquitto that writes every change to disk, so that a kill -9 loses nothing that it acknowledged."""
    path = mosquitto_path()
    if path is None:
        raise DidNotStart("mosquitto is not installed")
    directory.mkdir(parents=True, exist_ok=True)
    port = port or free_port()
    config = directory / "mosquitto.conf"
    config.write_text(
        f"listener {port} {HOST}\nallow_anonymous true\nuser {pwd.getpwuid(os.getuid()).pw_name}\n"
        f"persistence true\npersistence_location {directory}/\nautosave_on_changes true\nautosave_interval 1\n"
        f"message_size_limit {PAYLOAD_MAX_BYTES}\nmax_queued_messages {QUEUE_MAX}\nmax_inflight_messages 100\n"
        f"log_dest stderr\nlog_type error\nlog_type warning\nlog_type notice\nlog_type information\n" + extra
    )
    node = Node(MqttAddress(HOST, port), Process([path, "-c", str(config)], directory / "mosquitto.log"), r"version \S+ running")
    try:
        node.start()
        yield node
    finally:
        node.process.stop()


@contextmanager
def broker(kind: Kind, directory: Path) -> Iterator[MqttAddress]:
    """One broker of a kind, for the time of the block: where it speaks MQTT."""
    with ExitStack() as stack:
        match kind:
            case Kind.NATS:
                yield stack.enter_context(nats(directory)).address
            case Kind.MOSQUITTO:
                yield stack.enter_context(mosquitto(directory)).address
            case Kind.RUMQTTD:
                directory.mkdir(parents=True, exist_ok=True)
                running = stack.enter_context(start_broker(directory, kind=BrokerKind.RUMQTTD))
                yield MqttAddress(running.host, running.port)
