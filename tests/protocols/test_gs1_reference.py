"""The examples of docs/reference/scanning.md are what the code says."""

from __future__ import annotations

import re
from datetime import date
from pathlib import Path

import pytest

from protocols.gs1 import BadCode, Rules, Scan, read
from protocols.gs1_embedded import ValueKind, layout, price_verifier

RULES = Rules((layout("us", "2 IIIII V PPPP C", ValueKind.PRICE),))


def summary(scan: Scan) -> str:
    parts = [f"item {scan.gtin14}" if scan.gtin14 else f"plu {scan.plu}"]
    parts += [f"key {scan.embedded.gtin14}"] if scan.embedded else []
    parts += [f"price {scan.price.digits / 10**scan.price.decimals:.2f}"] if scan.price else []
    parts += [f"{scan.measure.whole} {scan.measure.unit}"] if scan.measure else []
    parts += [f"lot {scan.lot}"] if scan.lot else []
    parts += [f"expiry {scan.expiry}"] if scan.expiry else []
    return ", ".join(parts)


def test_the_examples_of_the_page_are_read_as_it_says(project_root: Path) -> None:
    text = (project_root / "docs/reference/scanning.md").read_text("utf-8")
    examples = text.split("```scan\n")[1].split("```")[0].splitlines()
    assert len(examples) > 8
    for line in examples:
        code, wanted = re.split(r" {2,}", line)
        if wanted.startswith("refused: "):
            with pytest.raises(BadCode) as refused:
                read(code, date(2026, 3, 4), RULES)
            assert wanted == f"refused: {refused.value.expected}"
        else:
            assert summary(read(code, date(2026, 3, 4), RULES)) == wanted, code


def test_the_patterns_of_the_page_are_layouts(project_root: Path) -> None:
    text = (project_root / "docs/reference/scanning.md").read_text("utf-8")
    patterns = re.findall(r"`(2[0-9]? [.I]+ [^`]*C)`", text)
    assert len(patterns) > 7
    for pattern in patterns:
        kind = ValueKind.COUNT if "{NNNNN}" in pattern else ValueKind.WEIGHT
        assert layout("page", pattern, kind).pattern.endswith("C")
    assert price_verifier("2875") == 9
