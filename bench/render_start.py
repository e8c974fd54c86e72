"""How long a start takes: the daemon until a lane has its first answer, a render worker until it can draw."""

from __future__ import annotations

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.rivals import Row

LANE_BUDGET_S = 0.300
WORKER_BUDGET_S = 0.700
ROUNDS, ROUNDS_QUICK = 9, 3
ITEMS = 5_000
GIVE_UP_S = 60.0

CONFIG = """
price_source = "file"
[store]
id = "bench"
name = "Bench"
country = "DE"
locale = "de-DE"
currency = "EUR"
timezone = "Europe/Berlin"
tax_mode = "inclusive"
[daemon]
state_dir = "{dir}/state"
control_socket = "{dir}/control.sock"
metrics_listen = ""
[hq]
mode = "none"
[[lane]]
id = "1"
socket = "{dir}/lane.sock"
[[radio]]
name = "ceiling"
device = "{dir}/no-such-port"
"""

WORKER = """
import sys
from pathlib import Path
from render import api
api.warm_up(Path(sys.argv[1]))
"""


def rows(quick: bool) -> Iterator[Row]:
    rounds = ROUNDS_QUICK if quick else ROUNDS
    yield _row(f"daemon with {ITEMS} items: exec to first lane answer", LANE_BUDGET_S, _daemon_s(rounds))
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name:
        cold = _worker_s(Path(name))
        warm = statistics.median(_worker_s(Path(name)) for _ in range(rounds))
    yield _row("render worker, warm cache: exec to ready", WORKER_BUDGET_S, warm)
    yield Row("render worker, empty cache: exec to ready", "no budget, stated", 1 / cold, None, None)


def _row(work: str, budget_s: float, taken_s: float) -> Row:
    return Row(work, f"a budget of {budget_s * 1e3:.0f} ms", 1 / taken_s, 1 / budget_s, budget_s / taken_s)


def _daemon_s(rounds: int) -> float:
    """Median of whole starts: from before exec until the answer to a look-up has arrived."""
    with tempfile.TemporaryDirectory(prefix="sd-bench-") as name:
        directory = Path(name)
        (directory / "config.toml").write_text(CONFIG.format(dir=directory))
        with _running(directory):
            _first_answer(directory / "control.sock", "ping", {})
            rows = "".join(f"sku-{n},Item {n} of the bench,{n % 50 + 1}.99\n" for n in range(ITEMS))
            _call(directory / "control.sock", "import", {"source_name": "items.csv", "csv": "sku,name,price\n" + rows})
        taken = []
        for _ in range(rounds):
            begin = time.perf_counter()
            with _running(directory):
                _first_answer(directory / "lane.sock", "item.lookup", {"item_id": "sku-7"})
                taken.append(time.perf_counter() - begin)
        return statistics.median(taken)


class _running:
    """A daemon process, ended at the end of the block."""

    def __init__(self, directory: Path) -> None:
        command = [sys.executable, "-m", "edge", "run", "--config", str(directory / "config.toml")]
        self._log = (directory / "log").open("ab")
        environment = {
            name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
        }  # an installation has byte code
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log, env=environment)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._log.close()


def _first_answer(path: Path, method: str, params: dict[str, object]) -> None:
    """Knock until the socket answers."""
    give_up = time.perf_counter() + GIVE_UP_S
    while time.perf_counter() < give_up:
        try:
            _call(path, method, params)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.001)
    raise TimeoutError(f"no answer on {path.name} within {GIVE_UP_S:.0f} s")


def _call(path: Path, method: str, params: dict[str, object]) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as lane:
        lane.settimeout(GIVE_UP_S)
        lane.connect(str(path))
        reader = lane.makefile("rb")
        answer: dict[str, object] = {}
        for number, (name, values) in enumerate(
            [("hello", {"lane": "1"}), (method, params)] if path.name == "lane.sock" else [(method, params)]
        ):
            request = {"jsonrpc": "2.0", "id": number, "method": name, "params": values}
            lane.sendall(json.dumps(request).encode() + b"\n")
            answer = json.loads(reader.readline())
        if "result" not in answer and method != "ping":
            raise RuntimeError(f"{method}: {answer}")
        return answer


def _worker_s(cache: Path) -> float:
    environment = {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": str(Path(__file__).parent.parent), "PATH": "/usr/bin:/bin"}
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", WORKER, str(cache)], env=environment, check=True, capture_output=True)
    return time.perf_counter() - begin
