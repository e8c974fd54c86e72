"""Where the command `shelfd` begins. The daemon starts from here without the command line's libraries: after a power cut a lane
waits for its first answer, and they cost a third of the start."""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from edge.config import Config, ConfigError, load

EXIT_REFUSED: Final = 1
EXIT_USAGE: Final = 2

DEFAULT_CONFIG: Final = Path("/etc/shelfd/config.toml")
TIME_SCALE_MAX: Final = 1000.0  # beyond it a simulated day is shorter than one real answer of the module

_RUN_OPTIONS: Final = ("--config", "--time-scale", "--sim-clock")


class CliError(Exception):
    """What the user sees instead of a traceback: one line and an exit code."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _plain_run(words)
    if options is None:
        from edge import cli  # typer and rich: half as long to load as the daemon itself

        return cli.main(words)
    try:
        clock = options.get("--sim-clock")
        scale = options.get("--time-scale", "1")
        return run_daemon(Path(options.get("--config", DEFAULT_CONFIG)), float(scale), Path(clock) if clock is not None else None)
    except (CliError, ConfigError) as error:
        sys.stderr.write(f"shelfd: {' '.join(str(error).split())}\n")
        return error.exit_code if isinstance(error, CliError) else EXIT_USAGE


def run_daemon(config: Path, time_scale: float, sim_clock: Path | None) -> int:
    """Run the daemon until a signal. Raises ConfigError, or CliError where scaled time would meet a real radio."""
    loaded = load(config)
    if time_scale != 1.0 or sim_clock is not None:
        _refuse_scaled_time(loaded, "--time-scale" if time_scale != 1.0 else "--sim-clock")
    if not 0 < time_scale <= TIME_SCALE_MAX:
        raise CliError(f"--time-scale: found {time_scale:g}, expected a number above 0, at most {TIME_SCALE_MAX:g}", EXIT_USAGE)
    gc.disable()  # what the start builds stays; looking through it again and again costs a tenth of the time. The daemon enables it
    from edge import app as daemon  # heavy, and no other command needs it

    return daemon.main(loaded, time_scale=time_scale, sim_clock=sim_clock)


def _plain_run(words: Sequence[str]) -> Mapping[str, str] | None:
    """The options of a plain `run --option value ...`. None for anything else, help and mistakes included: the command line sees to it."""
    names, values = words[1::2], words[2::2]
    plain = words[:1] == ["run"] and len(names) == len(values) == len(set(names)) and all(name in _RUN_OPTIONS for name in names)
    options = dict(zip(names, values, strict=False))
    if not plain or any(value.startswith("-") for value in values):
        return None
    try:
        float(options.get("--time-scale", "1"))
    except ValueError:
        return None
    return options


def _refuse_scaled_time(config: Config, option: str) -> None:
    if config.all_radios_simulated:
        return
    real = [radio.name for radio in config.radios if not radio.simulated]
    why = f'radio "{real[0]}" is real' if real else "no radio is configured"
    raise CliError(f"{option} is only for a store whose radios are all simulated: in {config.source} {why}", EXIT_USAGE)
