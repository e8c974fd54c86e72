"""What systemd is told: READY, WATCHDOG, STATUS, STOPPING (sd_notify(3)). Silent where there is no systemd."""

from __future__ import annotations

import os
import socket


class Service:
    """The notification socket of the environment, if any."""

    def __init__(self, address: str | None = None) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "") if address is None else address

    def tell(self, *assignments: str) -> None:
        """Send assignments such as "READY=1". An error is not ours to act on: systemd's own time-outs are."""
        if not self._address:
            return
        path = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            try:
                out.sendto("\n".join(assignments).encode(), path)
            except OSError:
                return

    @staticmethod
    def watchdog_s() -> float | None:
        """How often WATCHDOG=1 is due, in seconds: a third of what systemd allows. None without a watchdog."""
        limit_us = os.environ.get("WATCHDOG_USEC", "")
        mine = os.environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        return int(limit_us) / 3_000_000 if limit_us.isdigit() and mine else None
