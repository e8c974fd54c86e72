"""Where the demo's files are, and the daemon's configuration, written as a person would write it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edge.demo.catalogue import CURRENCY, LOCALE

STORE_ID: Final = "demo-1"
DWELL_MINUTES: Final = 1


@dataclass(frozen=True, slots=True)
class Places:
    """All in one directory, which must be short enough for socket paths."""

    directory: Path
    lanes: tuple[str, ...]

    @property
    def config(self) -> Path:
        return self.directory / "config.toml"

    @property
    def control(self) -> Path:
        return self.directory / "control.sock"

    @property
    def clock(self) -> Path:
        return self.directory / "clock"

    @property
    def radio(self) -> Path:
        return self.directory / "radio"

    def lane(self, lane: str) -> Path:
        return self.directory / f"{lane}.sock"

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"


def config_text(places: Places, metrics_port: int) -> str:
    """The daemon's configuration. The keys that it leaves out have their defaults."""
    lanes = "\n".join(f'[[lane]]\nid = "{lane}"\nsocket = "{places.lane(lane)}"\n' for lane in places.lanes)
    return f"""\
price_source = "hq"

[store]
id = "{STORE_ID}"
name = "Corner Market"
country = "IE"
locale = "{LOCALE}"
currency = "{CURRENCY}"
timezone = "Europe/Dublin"
tax_mode = "inclusive"

[daemon]
state_dir = "{places.directory}"
control_socket = "{places.control}"
metrics_listen = "127.0.0.1:{metrics_port}"

[hq]
mode = "mqtt"

[guard]
dwell_minutes = {DWELL_MINUTES}

[labels]
retry_after_minutes = 1

[[radio]]
name = "ceiling"
kind = "oepl"
device = "{places.radio}"
simulated = true

{lanes}"""
