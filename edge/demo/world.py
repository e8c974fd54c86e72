"""A store without hardware as processes: the simulator, which owns the world clock, and a daemon that may be killed and started again.

For the benches. All files are in one directory, which should have a short path: Unix sockets end at 107 bytes.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from drivers.sim.worldclock import WorldClock
from edge.demo.children import Child, ChildDied, tail
from edge.lane_client import DaemonUnreachable, LaneClient

START_TIMEOUT_S: Final = 60.0  # a cold disk has hundreds of megabytes to read
CALL_TIMEOUT_S: Final = 30.0  # one control call, a list of some thousand labels included
STEP_TIMEOUT_S: Final = 10.0
LOOK_AGAIN_S: Final = 0.05


class StepRefused(Exception):
    """The clock was not stepped, because a label is fetching: try again in a moment."""


@dataclass(frozen=True, slots=True)
class SimEvent:
    """One line of the simulator's diary. `at_ms` is world time (`WorldClock.now_ms`); `data` is the whole line.

    Kinds: sda, transfer_begins, xfc, refresh_begins, display (data_type, payload_b64), xto, label_reset, module_reset, step, rate,
    error (message), and checkin where the diary was asked for it.
    """

    kind: str
    at_ms: int
    label: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Radio:
    """A simulated module as the daemon's configuration names it."""

    name: str
    device: Path
    mac: str


class Simulator:
    """`python -m drivers.sim` as a child, with labels of 2.9 inch and modules that know 2 Mbaud."""

    def __init__(self, child: Child, ready: Mapping[str, Any], clock_path: Path) -> None:
        self.on_event: Callable[[SimEvent], None] | None = None
        self.clock_path = clock_path
        self.clock = WorldClock(clock_path)
        self.labels: tuple[str, ...] = tuple(ready["labels"])
        names = zip(ready["links"], ready["modules"], strict=True)
        self.radios = tuple(Radio(f"ceiling-{number}", Path(link), mac) for number, (link, mac) in enumerate(names, start=1))
        self._child = child
        self._answers: asyncio.Queue[SimEvent] = asyncio.Queue()

    @classmethod
    async def start(
        cls,
        directory: Path,
        *,
        labels: int,
        modules: int,
        rate: float,
        seed: int,
        start_wall: str,
        check_in_s: float = 40.0,
    ) -> Simulator:
        """Returns when its ports and its clock are there. Raises ChildDied.

        `rate`: world seconds in a real one; `start_wall`: RFC 3339; `check_in_s`: world seconds between two check-ins of a label.
        """
        clock_path = directory / "clock"
        command = [sys.executable, "-m", "drivers.sim", "--clock", str(clock_path), "--labels", str(labels), "--rate", str(rate)]
        command += ["--seed", str(seed), "--start-wall", start_wall, "--check-in-s", str(check_in_s), "--fast-baud-ok"]
        for number in range(1, modules + 1):
            command += ["--link", str(directory / f"module-{number}")]
        child = await Child.start("the simulator", command, directory / "simulator.log", piped=True)
        assert child.process.stdout is not None
        first = await child.process.stdout.readline()
        if not first:
            await child.watch()
        return cls(child, msgspec.json.decode(first), clock_path)

    async def run(self) -> None:
        """Read the diary until cancelled; each line goes to `on_event`, which must not block.

        Raises ChildDied when the simulator ends by itself.
        """
        assert self._child.process.stdout is not None
        while line := await self._child.process.stdout.readline():
            told = msgspec.json.decode(line)
            event = SimEvent(told["event"], told["t"], told.get("label"), told)
            if event.kind in ("step", "error"):
                self._answers.put_nowait(event)
            if self.on_event is not None:
                self.on_event(event)
        await self._child.watch()

    def tell(self, cmd: str, **members: object) -> None:
        """One command; see `drivers.sim.shell`. A mistake comes back as an event of kind "error"."""
        assert self._child.process.stdin is not None
        self._child.process.stdin.write(msgspec.json.encode({"cmd": cmd, **members}) + b"\n")

    def set_rate(self, rate: float) -> None:
        self.tell("rate", n=rate)

    def lie(self, label: str, lie: str, *, once: bool = True) -> None:
        """Let a label lie (a name of `drivers.sim.labels.Lie`)."""
        self.tell("lie", label=label, lie=lie, once=once)

    def swap_battery(self, label: str) -> None:
        self.tell("battery_swap", label=label)

    def check_in_every(self, label: str, interval_ms: int) -> None:
        """From its next waking on a label sleeps for so long, give or take its oscillator."""
        self.tell("interval", label=label, ms=interval_ms)

    def reset_module(self, number: int) -> None:
        """`number` counts from 0."""
        self.tell("reset_module", link=number)

    def lose_bytes(self, number: int, chance: float) -> None:
        """Chance per byte on this module's line, both ways, from now on."""
        self.tell("lost_bytes", link=number, rate=chance)

    async def step(self, duration_ms: int) -> None:
        """Jump over idle world time; returns when it has happened. `run` must be running. Raises StepRefused."""
        while not self._answers.empty():
            self._answers.get_nowait()
        self.tell("step", ms=duration_ms)
        async with asyncio.timeout(STEP_TIMEOUT_S):
            event = await self._answers.get()
        if event.kind == "error":
            raise StepRefused(str(event.data.get("message", "")))

    async def stop(self) -> None:
        await self._child.stop()


class DaemonProcess:
    """`shelfd run` as a child, again and again on one state directory."""

    def __init__(self, directory: Path, command: Sequence[str], config: Path, clock_path: Path) -> None:
        """`command` is the program: `run`, the configuration and the clock are appended."""
        self.control_socket = control_socket(directory)
        self.log = directory / "daemon.log"
        self.kills = 0
        self._command = [*command, "run", "--config", str(config), "--sim-clock", str(clock_path)]
        self._child: Child | None = None

    async def start(self) -> None:
        """Start it, unless it runs; returns when it answers on the control socket. Raises ChildDied."""
        if self._child is None:
            self._child = await Child.start("the daemon", self._command, self.log)
        async with asyncio.timeout(START_TIMEOUT_S):
            while True:
                death = self._child.death()
                if death is not None:
                    raise ChildDied(death)
                try:
                    await self.call("radio.list", {})
                except DaemonUnreachable:
                    await asyncio.sleep(LOOK_AGAIN_S)
                else:
                    return

    async def kill(self) -> None:
        """SIGKILL: what was not on disk is gone. Raises ChildDied when it had ended by itself before."""
        child, self._child = self._child, None
        assert child is not None
        death = child.death()
        if death is not None:
            raise ChildDied(death)
        child.process.kill()
        await child.process.wait()
        self.kills += 1

    async def watch(self) -> None:
        """Until cancelled. Raises ChildDied when it ends and nobody here ended it."""
        while True:
            child = self._child
            death = None if child is None else child.death()
            if death is not None and child is self._child:
                raise ChildDied(death)
            await asyncio.sleep(LOOK_AGAIN_S)

    async def call(self, method: str, params: Mapping[str, object]) -> dict[str, Any]:
        """One control call. Raises RpcError for a refusal, DaemonUnreachable while it is away."""
        async with await LaneClient.connect(self.control_socket, timeout_s=CALL_TIMEOUT_S) as client:
            answer: dict[str, Any] = await client.call(method, params, dict)
            return answer

    async def stop(self) -> None:
        """SIGTERM."""
        child, self._child = self._child, None
        if child is not None:
            await child.stop()

    def log_tail(self) -> str:
        """The end of what it wrote, for a person who looks for the reason."""
        return tail(self.log)


def control_socket(directory: Path) -> Path:
    return directory / "control.sock"


def lane_socket(directory: Path, lane: str) -> Path:
    return directory / f"{lane}.sock"


@dataclass(frozen=True, slots=True)
class StoreSettings:
    """What the daemon's configuration says of a simulated store that never closes; times in store minutes."""

    store: str
    name: str
    lanes: tuple[str, ...]
    dwell_minutes: float
    retry_after_minutes: float
    retry_after_max_minutes: float
    country: str = "US"
    locale: str = "en-US"
    currency: str = "USD"
    timezone: str = "America/New_York"


def write_config(directory: Path, settings: StoreSettings, radios: Sequence[Radio]) -> Path:
    """The daemon's configuration in this directory; its path. Keys that it leaves out have their defaults."""
    tables: list[tuple[str, Mapping[str, object]]] = [
        (
            "[store]",
            {
                "id": settings.store,
                "name": settings.name,
                "country": settings.country,
                "locale": settings.locale,
                "currency": settings.currency,
                "timezone": settings.timezone,
                "tax_mode": "exclusive",
            },
        ),
        ("[daemon]", {"state_dir": str(directory), "control_socket": str(control_socket(directory)), "metrics_listen": ""}),
        ("[hq]", {"mode": "mqtt"}),
        ("[guard]", {"dwell_minutes": settings.dwell_minutes}),
        (
            "[labels]",
            {"retry_after_minutes": settings.retry_after_minutes, "retry_after_max_minutes": settings.retry_after_max_minutes},
        ),
    ]
    tables += [("[[lane]]", {"id": lane, "socket": str(lane_socket(directory, lane))}) for lane in settings.lanes]
    tables += [
        ("[[radio]]", {"name": radio.name, "device": str(radio.device), "mac": radio.mac, "fast": True, "simulated": True})
        for radio in radios
    ]
    lines = ['price_source = "hq"']
    for header, values in tables:  # JSON texts, numbers and booleans are TOML ones too
        lines += ["", header, *(f"{key} = {msgspec.json.encode(value).decode()}" for key, value in values.items())]
    path = directory / "config.toml"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
