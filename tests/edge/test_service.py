"""What systemd is told."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from edge.service import Service


def test_systemd_hears_each_message_whole(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        Service(str(tmp_path / "notify")).tell("READY=1", "STATUS=serving lanes")
        assert systemd.recv(100) == b"READY=1\nSTATUS=serving lanes"


def test_an_abstract_socket_is_reached_by_its_at_sign() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind("\0shelfd-test-service")
        Service("@shelfd-test-service").tell("WATCHDOG=1")
        assert systemd.recv(100) == b"WATCHDOG=1"


def test_no_systemd_and_a_dead_one_are_no_trouble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    Service().tell("READY=1")
    Service(str(tmp_path / "nobody")).tell("READY=1")


@pytest.mark.parametrize(
    ("limit", "pid", "expected"), [("30000000", "me", 10.0), ("30000000", "1", None), ("", "me", None), ("soon", "me", None)]
)
def test_the_watchdog_is_fed_three_times_as_often_as_needed(
    monkeypatch: pytest.MonkeyPatch, limit: str, pid: str, expected: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", limit)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if pid == "me" else pid)
    assert Service.watchdog_s() == expected
