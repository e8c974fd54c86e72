"""A render worker's start."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def test_a_worker_whose_daemon_ended_before_it_began_ends_too(project_root: Path, tmp_path: Path) -> None:
    stranger = os.getppid()  # not the parent of the process below
    program = f"from pathlib import Path; from edge import render_worker; render_worker.prepare(Path({str(tmp_path)!r}), {stranger})"
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, check=False, timeout=60)
    assert done.returncode == 1
