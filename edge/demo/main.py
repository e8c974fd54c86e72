"""`shelfd demo`: a whole store without hardware, selling. Starts everything, and says at the end what it saw."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Final

from edge.cli_tables import say, warn
from edge.demo.broker import BrokerDidNotStart, start_broker
from edge.demo.ledger import result
from edge.demo.play import Demo

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2


def run(*, seconds: float | None, json_path: Path | None, speed: float) -> int:
    """Play the demo for `seconds` after the store is ready (None: until Ctrl-C) at `speed` times real time.

    Returns 0 when nothing failed, nobody was overcharged and, unless the user ended it, every change was confirmed and in force.
    """
    if json_path is not None and not os.access(json_path.absolute().parent, os.W_OK):
        warn(f"shelfd: --json {json_path}: its folder is not there or cannot be written")
        return EXIT_USAGE
    directory = Path(tempfile.mkdtemp(prefix="shelfd-demo-"))
    try:
        with start_broker(directory) as broker:
            demo = Demo(directory, broker, seconds, speed)
            problems = asyncio.run(demo.play())
    except BrokerDidNotStart as error:
        warn(f"shelfd: {error}")
        return EXIT_FAILED
    showing = demo.showing
    if json_path is not None:
        figures = result(showing.changes, showing.sales, showing.judge.overcharges, showing.elapsed_s)
        json_path.write_text(json.dumps(figures, indent=2) + "\n")
    for text in demo.summary():
        say(text)
    for text in problems:
        warn(f"shelfd: {text}")
    if problems:
        warn(f"shelfd: logs and database are in {directory}")
        return EXIT_FAILED
    shutil.rmtree(directory)
    return 0
