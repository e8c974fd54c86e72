"""Write golden/shipped.json, one label in each of five languages: `PYTHONPATH=. python tests/render/make_golden_shipped.py`.

Refuses changed pictures or payloads under an unchanged ENCODER_VERSION: labels in stores would keep the old ones.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Final

from render import raster, scene, templates
from render.codecs import planes, registry
from render.fields import ENCODER_VERSION, LabelFields
from render.panels import panel

GOLDEN: Final = Path(__file__).parent / "golden" / "shipped.json"
ATTEMPT: Final = 0x00C0FFEE
LABEL_ID: Final = "00000218A4C7E19F"

# label, and a codec whose bytes depend on no library
LABELS: Final[dict[str, tuple[dict[str, object], str]]] = {
    "Albanian": (
        {
            "template": "shelf", "panel": "oepl-01", "locale": "sq-AL", "currency": "ALL",
            "items": [
                {"name": "Djathë i bardhë çiftligu", "brand": "Gjirofarma", "price_minor": 45000, "was_price_minor": 52000,
                 "net_content": 400, "net_unit": "g", "gtin": "4006381333931"}
            ],
        },
        "g5",
    ),
    "Polish": (
        {
            "template": "weighed", "panel": "opendisplay-250x122-bwry", "locale": "pl-PL", "currency": "PLN",
            "items": [
                {"name": "Żółta papryka świeża", "origin": "Hiszpania", "price_minor": 1549, "was_price_minor": 1999,
                 "price_quantity": 1000, "price_unit": "g", "unit_price_base": 100, "attributes": {"plu": "128", "class": "I"}}
            ],
        },
        "od-raw",
    ),
    "Finnish": (
        {
            "template": "promotion", "panel": "oepl-02", "locale": "fi-FI", "currency": "EUR",
            "items": [
                {"name": "Täysjyväruisleipä", "brand": "Leipurit", "price_minor": 249, "was_price_minor": 299, "offer_ends": "2026-12-31",
                 "net_content": 6, "net_unit": "each", "gtin": "6400000000002", "deposit_minor": 20}
            ],
        },
        "g5",
    ),
    "Greek": (
        {
            "template": "multi_buy", "panel": "oepl-4C", "locale": "el-GR", "currency": "EUR",
            "items": [
                {"name": "Ελαιόλαδο εξαιρετικό παρθένο", "brand": "Λέσβος", "price_minor": 1189, "multi_buy": [2, 1999],
                 "offer_ends": "2026-11-30", "net_content": 750, "net_unit": "ml", "gtin": "5201234567894"}
            ],
        },
        "raw2",
    ),
    "Bulgarian": (
        {
            "template": "shelf", "panel": "oepl-90", "locale": "bg-BG", "currency": "EUR",
            "second_currency": {"code": "BGN", "exponent": 2, "rate": "1.95583"},
            "items": [{"name": "Кисело мляко 3,6 %", "brand": "Родопея", "price_minor": 99, "net_content": 400, "net_unit": "g"}],
        },
        "raw2",
    ),
}  # fmt: skip


def golden(values: dict[str, object], codec: str) -> dict[str, object]:
    """A label as a scene, as the sha256 of its palette indices row by row, and as the sha256 of what travels."""
    label = LabelFields.from_dict({**values, "label_id": LABEL_ID})
    kind = panel(label.panel)
    built = scene.build(label, templates.load(label.template), kind)
    indices = raster.draw(built, kind)
    planes.stamp_attempt(kind, indices, ATTEMPT)
    return {
        "scene": built.as_json(),
        "indices": hashlib.sha256(indices.tobytes()).hexdigest(),
        "codec": codec,
        "wire": hashlib.sha256(registry.encode(codec, kind, indices)).hexdigest(),
    }


def main() -> int:
    labels = {name: golden(values, codec) for name, (values, codec) in LABELS.items()}
    if GOLDEN.exists():
        stored = json.loads(GOLDEN.read_text())
        changed = [name for name, each in stored["labels"].items() if name in labels and each != json.loads(json.dumps(labels[name]))]
        if changed and stored["encoder_version"] == ENCODER_VERSION:
            sys.stderr.write(f"these changed: {', '.join(changed)}; raise ENCODER_VERSION in render/fields.py first\n")
            return 1
    GOLDEN.write_text(json.dumps({"encoder_version": ENCODER_VERSION, "labels": labels}, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
