"""Writes docs/reference/rest/openapi.json again: `python tests/edge/make_openapi.py`, after a change of REST's routes or types."""

from __future__ import annotations

import sys
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
FILE = ROOT / "docs" / "reference" / "rest" / "openapi.json"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from edge.rest_routes import document

    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(msgspec.json.format(msgspec.json.encode(document()), indent=2).decode() + "\n")


if __name__ == "__main__":
    main()
