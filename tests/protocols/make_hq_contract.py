"""Writes docs/reference/hq/ again: `python tests/protocols/make_hq_contract.py`, after a change of HQ's message types."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference" / "hq"


def main() -> None:
    sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]
    from protocols.hq_schema import documents

    files = importlib.import_module("hq_examples").files
    wanted = {name: text.encode() for name, text in documents().items()}
    wanted |= {f"examples/{name}": content for name, content in files().items()}
    (FOLDER / "examples").mkdir(parents=True, exist_ok=True)
    for old in FOLDER.rglob("*"):
        if old.is_file() and str(old.relative_to(FOLDER)) not in wanted:
            old.unlink()
    for name, content in wanted.items():
        (FOLDER / name).write_bytes(content)


if __name__ == "__main__":
    main()
