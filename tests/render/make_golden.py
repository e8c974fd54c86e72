"""Write golden/labels.json from samples.json: `PYTHONPATH=. python tests/render/make_golden.py`.

Refuses changed pictures or payloads under an unchanged ENCODER_VERSION: labels in stores would keep the old ones.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

from render import api, scene, templates
from render.fields import ENCODER_VERSION, LabelFields
from render.panels import panel

HERE = Path(__file__).parent
GOLDEN = HERE / "golden" / "labels.json"
ATTEMPT = 0x00C0FFEE


def golden_labels() -> dict[str, dict[str, object]]:
    """Per sample: the scene, the picture's hash and the payloads' hashes."""
    labels: dict[str, dict[str, object]] = {}
    for name, values in json.loads((HERE / "samples.json").read_text()).items():
        label = LabelFields.from_dict(values)
        kind = panel(label.panel)
        raw = api.render(label, ATTEMPT, ("raw2", "raw1"))
        g5 = api.render(label, ATTEMPT, ("g5", "raw2", "raw1"))
        labels[name] = {
            "scene": scene.build(label, templates.load(label.template), kind).as_json(),
            "picture": raw.picture_hash,
            "payloads": {each.codec: hashlib.sha256(each.data).hexdigest() for each in (raw, g5)},
        }
    return labels


def main() -> int:
    labels = golden_labels()
    if GOLDEN.exists():
        stored = json.loads(GOLDEN.read_text())
        changed = [name for name, each in stored["labels"].items() if name in labels and each != json.loads(json.dumps(labels[name]))]
        if changed and stored["encoder_version"] == ENCODER_VERSION:
            sys.stderr.write(f"these changed: {', '.join(changed)}; raise ENCODER_VERSION in render/fields.py first\n")
            return 1
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text(json.dumps({"encoder_version": ENCODER_VERSION, "labels": labels}, indent=1, ensure_ascii=False) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
