"""Write golden/*.json from samples.json and gallery.json: `PYTHONPATH=. python tests/render/make_golden.py`.

The templates are those of templates/ here, which stay as they are: a shipped template may be redrawn without touching what this shows of
the renderer. Refuses changed pictures or payloads under an unchanged ENCODER_VERSION: labels in stores would keep the old ones.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from render import raster, scene, templates
from render.codecs import oepl, planes
from render.fields import ENCODER_VERSION, LabelFields, TemplateSource
from render.panels import panel

HERE = Path(__file__).parent
SOURCE = TemplateSource((HERE / "templates",))
ATTEMPT = 0x00C0FFEE


def golden(label: LabelFields) -> dict[str, object]:
    """The scene, the picture's hash and the payloads' hashes."""
    kind = panel(label.panel)
    built = scene.build(label, templates.load(label.template, SOURCE), kind)
    indices = raster.draw(built, kind)
    planes.stamp_attempt(kind, indices, ATTEMPT)
    packed = planes.pack(kind, indices)
    encoded = [oepl.encode_smallest(kind, packed, codecs) for codecs in (("raw2", "raw1"), ("g5", "raw2", "raw1"))]
    return {
        "scene": built.as_json(),
        "picture": hashlib.sha256(indices.tobytes()).hexdigest(),
        "payloads": {each.codec: hashlib.sha256(each.data).hexdigest() for each in encoded},
    }


def labels() -> dict[str, LabelFields]:
    """Every label that has a golden picture."""
    samples = json.loads((HERE / "samples.json").read_text())
    gallery = json.loads((HERE / "gallery.json").read_text())
    common = {"template": "gallery", "panel": "oepl-90", "label_id": "0000060504030201"}
    values = samples | {f"gallery, {name}": {**common, **each} for name, each in gallery.items()}
    return {name: LabelFields.from_dict(each) for name, each in values.items()}


def main() -> int:
    made = {name: golden(label) for name, label in labels().items()}
    path = HERE / "golden" / "labels.json"
    if path.exists():
        stored = json.loads(path.read_text())
        changed = [name for name, each in stored["labels"].items() if name in made and each != json.loads(json.dumps(made[name]))]
        if changed and stored["encoder_version"] == ENCODER_VERSION:
            sys.stderr.write(f"these changed: {', '.join(changed)}; raise ENCODER_VERSION in render/fields.py first\n")
            return 1
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"encoder_version": ENCODER_VERSION, "labels": made}, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
