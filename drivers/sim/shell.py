"""Runs a simulated world as a process: pseudo-terminals for its modules, the clock file, commands in, diary out.

The world runs at the stated rate, and at 1x from a block request until the block has come: a late host is late.
"""

from __future__ import annotations

import json
import math
import os
import select
import termios
import tty
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drivers.sim.labels import Lie, SimLabel, label_macs, module_mac
from drivers.sim.module import SimModule
from drivers.sim.world import Happening, StepRefused, World
from drivers.sim.worldclock import WorldClockWriter, boottime_ns
from protocols.oepl_types import LABEL_TYPES
from protocols.oepl_wire import FAST_BAUD, NORMAL_BAUD

READ_BYTES_MAX = 65_536
WAIT_MAX_MS = 1000  # real; nothing due: look up anyway
UNREAD_MS = 1000  # a UART does not keep what nobody reads; what a closed port left is thrown away after this
STEP_MAX_MS = 400 * 24 * 3_600_000  # more than a year at once is a mistake
COMMAND_BYTES_MAX = 65_536
INTERVAL_MIN_MS = 1_000  # between two check-ins of a label; less would be no sleep

_SPEEDS = {termios.B115200: NORMAL_BAUD, termios.B2000000: FAST_BAUD}


@dataclass(frozen=True, slots=True)
class SimOptions:
    """What the simulator is started with."""

    clock: Path
    links: tuple[Path, ...]
    labels: int
    hw_type: int
    firmware: int
    rate: float
    seed: int
    start_wall_ms: int
    fast_baud_ok: bool = False
    sub_ghz: bool = False
    check_in_ms: int = 40_000
    trace_check_ins: bool = False


class CommandError(Exception):
    """A command that makes no sense; the text says what was expected. Nothing was changed."""


class _Port:
    """One module's pseudo-terminal. The far end stays open here, so that a daemon may come and go."""

    def __init__(self, path: Path, module: SimModule) -> None:
        self.module = module
        self._path = path
        self.master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        if path.is_symlink():
            path.unlink()
        path.symlink_to(os.ttyname(self._slave))
        self._unsent = bytearray()
        self._stuck_since_ms: float | None = None

    def read(self) -> bytes:
        try:
            return os.read(self.master, READ_BYTES_MAX)
        except BlockingIOError:
            return b""

    def baud(self) -> int:
        return _SPEEDS.get(termios.tcgetattr(self._slave)[5], 0)

    @property
    def waiting(self) -> bool:
        """Something could not be written yet."""
        return bool(self._unsent)

    def flush(self) -> None:
        """Write what the module said, as far as there is room."""
        self._unsent += self.module.take_output()
        if not self._unsent:
            return
        real_ms = boottime_ns() / 1e6
        try:
            del self._unsent[: os.write(self.master, self._unsent)]
            self._stuck_since_ms = None
        except BlockingIOError:
            if self._stuck_since_ms is None:
                self._stuck_since_ms = real_ms
            elif real_ms - self._stuck_since_ms > UNREAD_MS:
                self._unsent.clear()
                self._stuck_since_ms = None

    def close(self) -> None:
        if self._path.is_symlink():
            self._path.unlink()
        os.close(self.master)
        os.close(self._slave)


class Simulator:
    """The process. `commands` is a file descriptor of JSON lines; `say` takes the bytes of diary lines."""

    def __init__(self, options: SimOptions, commands: int, say: Callable[[bytes], object]) -> None:
        self._options = options
        self._commands = commands
        self._say = say
        self._partial = b""
        self._rate = options.rate
        self._trace_check_ins = options.trace_check_ins
        self._clock = WorldClockWriter(options.clock, options.start_wall_ms, options.rate)
        self._world = World(seed=options.seed, start_ms=self._clock.now_exact_ms())
        self._world.on_happening = self._happened
        self._world.on_hold = self._slow_down
        self._world.on_release = self._speed_up
        modules = [
            SimModule(self._world, module_mac(options.seed, number), fast_ok=options.fast_baud_ok, sub_ghz=options.sub_ghz)
            for number in range(len(options.links))
        ]
        self._ports = [_Port(path, module) for path, module in zip(options.links, modules, strict=True)]
        self._labels: dict[str, SimLabel] = {}
        for number, mac in enumerate(label_macs(options.seed, options.labels)):
            label = SimLabel(
                self._world,
                modules,
                mac,
                LABEL_TYPES[options.hw_type],
                options.firmware,
                home=number % len(modules),
                interval_ms=options.check_in_ms,
            )
            self._labels[label.name] = label

    def run(self) -> None:
        """Until `quit` or the end of the commands."""
        modules = [port.module.name for port in self._ports]
        links = [str(path) for path in self._options.links]
        self._event("ready", labels=list(self._labels), module=modules[0], link=links[0], modules=modules, links=links)
        poll = select.poll()
        poll.register(self._commands, select.POLLIN)
        for port in self._ports:
            poll.register(port.master, select.POLLIN)
        try:
            running = True
            while running:
                self._world.advance(self._clock.now_exact_ms())
                self._flush()
                for descriptor, _ in poll.poll(self._wait_ms()):
                    if descriptor == self._commands:
                        running = self._read_commands()
                for port in self._ports:
                    data = port.read()
                    if data:
                        now_ms = self._clock.now_exact_ms()
                        self._world.advance(now_ms)
                        port.module.host_bytes(data, now_ms, port.baud())
        finally:
            for port in self._ports:
                port.close()
            self._clock.close()

    def _wait_ms(self) -> int:
        if any(port.waiting for port in self._ports):
            return 5
        if self._world.next_ms is None:
            return WAIT_MAX_MS
        wait_ms = (self._world.next_ms - self._clock.now_exact_ms()) / self._clock.rate
        return max(0, min(WAIT_MAX_MS, math.ceil(wait_ms)))

    def _flush(self) -> None:
        for port in self._ports:
            port.flush()

    def _slow_down(self) -> float:
        self._clock.set_rate(min(1.0, self._rate))
        self._flush()
        return self._clock.now_exact_ms()

    def _speed_up(self) -> None:
        self._clock.set_rate(self._rate)

    # ------------------------------------------------------------ the diary
    def _happened(self, happening: Happening) -> None:
        if happening.kind == "checkin" and not self._trace_check_ins:
            return
        who = {"module": happening.module, "label": happening.label}
        known = {name: value for name, value in who.items() if value is not None}
        self._event(happening.kind, at_ms=happening.at_ms, **known, **happening.detail)

    def _event(self, kind: str, *, at_ms: float | None = None, **fields: object) -> None:
        t = int(self._clock.now_exact_ms() if at_ms is None else at_ms)
        self._say(json.dumps({"event": kind, "t": t, **fields}).encode("ascii") + b"\n")

    # ------------------------------------------------------------ commands
    def _read_commands(self) -> bool:
        data = os.read(self._commands, READ_BYTES_MAX)
        if not data:
            return False
        *lines, self._partial = (self._partial + data).split(b"\n")
        if len(self._partial) > COMMAND_BYTES_MAX:
            self._partial = b""
            self._event("error", message="command too long")
        for line in lines:
            if not line.strip():
                continue
            try:
                if not self._command(line):
                    return False
            except CommandError as error:
                self._event("error", message=str(error))
        return True

    def _command(self, line: bytes) -> bool:
        try:
            command = json.loads(line)
        except ValueError as error:
            raise CommandError(f"not a JSON line: {error}") from error
        if not isinstance(command, dict):
            raise CommandError("a command is a JSON object with a member cmd")
        self._world.advance(self._clock.now_exact_ms())
        match command.get("cmd"):
            case "quit":
                return False
            case "step":
                self._step(_number(command, "ms", STEP_MAX_MS))
            case "rate":
                self._rate = max(0.001, _number(command, "n", 10_000))
                if not self._world.held:
                    self._speed_up()
                self._event("rate", n=self._rate)
            case "lie":
                self._lie(command)
            case "battery_swap":
                self._one_label(command).swap_battery(self._world.now_ms)
            case "battery_out":
                self._one_label(command).remove_battery()
            case "button":
                self._one_label(command).press_button(self._world.now_ms)
            case "interval":
                self._one_label(command).interval_ms = int(max(INTERVAL_MIN_MS, _number(command, "ms", STEP_MAX_MS)))
            case "display":
                label = self._one_label(command)
                self._event("display", label=label.name, asked=True, **_json(label))
            case "reset_module":
                self._port(command).module.reset(self._world.now_ms)
            case "lost_bytes":
                self._port(command).module.lost_bytes = _number(command, "rate", 1)
            case "trace":
                self._trace_check_ins = bool(command.get("checkins", True))
            case unknown:
                raise CommandError(f"unknown cmd {unknown!r}")
        return True

    def _step(self, duration_ms: float) -> None:
        if any(label.fetching for label in self._labels.values()):
            raise CommandError(str(StepRefused("step refused: a label is fetching")))
        self._world.step(duration_ms)
        self._clock.step(int(duration_ms))
        self._event("step", ms=int(duration_ms))

    def _lie(self, command: dict[str, object]) -> None:
        name = command.get("lie")
        if name is not None and name not in set(Lie):
            raise CommandError(f"lie is null or one of {', '.join(Lie)}, not {name!r}")
        lie = None if name is None else Lie(str(name))
        labels = list(self._labels.values()) if command.get("label") == "*" else [self._one_label(command)]
        for label in labels:
            label.set_lie(lie, once=bool(command.get("once", False)))

    def _one_label(self, command: dict[str, object]) -> SimLabel:
        label = self._labels.get(str(command.get("label")))
        if label is None:
            raise CommandError(f"there is no label {command.get('label')!r}")
        return label

    def _port(self, command: dict[str, object]) -> _Port:
        number = int(_number({"link": 0, **command}, "link", len(self._ports) - 1))
        return self._ports[number]


def _json(label: SimLabel) -> dict[str, Any]:
    return {} if label.shown is None else label.shown.as_json()


def _number(command: dict[str, object], name: str, most: float) -> float:
    value = command.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
        raise CommandError(f"{name} is a number from 0 to {most}, not {value!r}")
    return float(value)
