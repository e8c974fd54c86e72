"""Writes docs/reference/lane/*.schema.json again: `python tests/protocols/make_lane_schemas.py`, after a change of the lane's types."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "reference" / "lane"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from protocols.pos_schema import schemas

    FOLDER.mkdir(exist_ok=True)
    wanted = schemas()
    for old in FOLDER.glob("*.schema.json"):
        if old.name not in wanted:
            old.unlink()
    for name, text in wanted.items():
        (FOLDER / name).write_text(text)


if __name__ == "__main__":
    main()
