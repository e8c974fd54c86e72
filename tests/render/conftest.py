from __future__ import annotations

import json
from pathlib import Path

import pytest

from render.fields import LabelFields

SAMPLES: dict[str, dict[str, object]] = json.loads((Path(__file__).parent / "samples.json").read_text())


@pytest.fixture(params=sorted(SAMPLES))
def sample(request: pytest.FixtureRequest) -> LabelFields:
    """Each label of samples.json in turn."""
    return LabelFields.from_dict(SAMPLES[request.param])


@pytest.fixture
def plain() -> dict[str, object]:
    """Values of an ordinary shelf label with one item."""
    return dict(SAMPLES["plain"])
