"""`make sim` and `make replay`: histories by the thousand, or one of them told aloud."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":  # the order of sets is part of a history
        os.execve(sys.executable, [sys.executable, __file__, *sys.argv[1:]], os.environ | {"PYTHONHASHSEED": "0"})
    sys.path[0] = str(ROOT)
    tests = types.ModuleType("tests")  # some distributions install a package of this name
    tests.__path__ = [str(ROOT / "tests")]
    sys.modules["tests"] = tests

    from tests.sim.runner import main

    raise SystemExit(main(sys.argv[1:]))
