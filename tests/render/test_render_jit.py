"""Kernels in fresh processes: without a compiler, and with a cache that cannot be written."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import os, pathlib, shutil, warnings
import numpy as np
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from render.codecs import planes, g5
    if "SPOIL" in os.environ:
        spoiled = pathlib.Path(os.environ["NUMBA_CACHE_DIR"])
        shutil.rmtree(spoiled)
        spoiled.write_text("a file where the cache was")
    indices = np.arange(35, dtype=np.uint8).reshape(5, 7) % 4
    packed = np.zeros((2, 7, 1), np.uint8)
    planes._pack_planes(indices, 1, packed)
    assert np.array_equal(packed, planes.pack_planes_reference(indices, 1, 2))
    rows = packed.reshape(14, 1)
    assert g5.encode(rows, 5, 100) == g5.encode_reference(rows, 5)
print([warning.category.__name__ for warning in caught])
"""


def run(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False, env={**os.environ, **environment}, cwd=Path.cwd()
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_uncompiled_kernels_give_the_same_bytes() -> None:
    assert run(NUMBA_DISABLE_JIT="1") == "[]"


def test_a_cache_folder_is_used_without_a_warning(tmp_path: Path) -> None:
    assert run(NUMBA_CACHE_DIR=str(tmp_path / "cache")) == "[]"
    assert list((tmp_path / "cache").rglob("*.nbi"))


def test_a_cache_that_breaks_while_running_gives_one_warning_and_the_same_bytes(tmp_path: Path) -> None:
    assert run(NUMBA_CACHE_DIR=str(tmp_path / "cache"), SPOIL="1") == "['CacheWarning']"


def test_no_place_for_a_cache_gives_one_warning_and_the_same_bytes() -> None:
    """numba says it with a RuntimeError while decorating; a process that may write nowhere, as root never is, is not needed for it."""
    no_place = "import numba.core.caching as c; c.CacheImpl._locator_classes = []\n"
    done = subprocess.run([sys.executable, "-c", no_place + PROGRAM], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "['CacheWarning']"


def test_machine_code_of_other_sources_is_compiled_anew(tmp_path: Path) -> None:
    """numba asks the kernel's own file alone whether it has changed; the stamp is what came from another one."""
    (tmp_path / "stamped.py").write_text(
        "from pathlib import Path\n"
        "from render._jit import STALE, bare_kernel\n"
        "STAMP = int(Path('stamp').read_text())\n"
        "@bare_kernel\n"
        "def answer(stamp):\n"
        "    if stamp != STAMP:\n"
        "        return STALE\n"
        "    return 100 + STAMP\n"
        "print(answer(STAMP))\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(Path.cwd())}
    answers = []
    for stamp in ("1", "2"):
        (tmp_path / "stamp").write_text(stamp)
        command = [sys.executable, "stamped.py"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
        answers.append(done.stdout.strip() or done.stderr)
    assert answers == ["101", "102"]
