"""Verify an evidence bundle of `shelfd audit export`, without shelfd: python3 verify_bundle.py FILE [PUBLIC_KEY] [ENTRY:HASH]

PUBLIC_KEY (base64) and ENTRY:HASH are what head office holds of the store (`up/state`). Without a key the bundle is only whole in itself:
whoever made it signed it. Needs Python 3.9 and the package `cryptography`. The format: evidence.md. Exit code 0: it holds, 1: it does not.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def need(holds, what):
    if not holds:
        raise ValueError(what)


def verify(data, public_key=None, head=None):
    """The manifest of a bundle (bytes) that holds. Raises ValueError, KeyError, TypeError or InvalidSignature for one that does not."""
    *lines, manifest_line, signature_line, rest = data.split(b"\n")
    need(rest == b"", "something follows the last line")
    manifest, signature = json.loads(manifest_line)["manifest"], bytes.fromhex(json.loads(signature_line)["signature"])
    need(signature_line == b'{"signature":"%s"}' % signature.hex().encode(), "the signature is not written as it should be")
    Ed25519PublicKey.from_public_bytes(base64.b64decode(manifest["public_key"])).verify(signature, b"shelfd-evidence-v1\0" + manifest_line)
    need(public_key is None or manifest["public_key"] == public_key, "another key than the store's signed it")
    need(manifest["format"] == "shelfd-evidence-1" and manifest["lines"] == len(lines), "lines are missing")
    need(hashlib.sha256(b"".join(line + b"\n" for line in lines)).hexdigest() == manifest["lines_sha256"], "a line was changed")
    before, number, named, hashes = manifest["prev_hash"], manifest["first"] - 1, None, {}
    for line in map(json.loads, lines):
        if "text" in line:  # what the rows behind the entry before it said
            need(line["sha256"] == named == hashlib.sha256(line["text"].encode()).hexdigest(), f"not the text of entry {number}")
            named = None
            continue
        need(named is None or number in manifest["changed"], f"entry {number} has no text")
        number += 1
        text = "\n".join((before, str(line["wall_ms"]), line["actor"], line["what"], line["detail"]))
        need(line["entry"] == number and hashlib.sha256(text.encode()).hexdigest() == line["hash"], f"entry {number} is not chained")
        before, named = line["hash"], json.loads(line["detail"]).get("is")
        hashes[number] = before
    need(named is None or number in manifest["changed"], f"entry {number} has no text")
    need(number == manifest["last"] and before == manifest["last_hash"], "entries are missing")
    if head is not None:
        entry, _, wanted = head.rpartition(":")
        hashes[manifest["first"] - 1] = manifest["prev_hash"]
        need(hashes.get(int(entry)) == wanted, f"entry {entry} is not the one that head office holds, or not in this bundle")
    return manifest


if __name__ == "__main__":
    try:
        found = verify(Path(sys.argv[1]).read_bytes(), *sys.argv[2:4])
        sys.stdout.write(f"holds: store {found['store']}, entries {found['first']} to {found['last']}, key {found['public_key']}\n")
        sys.stdout.write("".join(f"but the rows behind entry {entry} were changed, and it has no text\n" for entry in found["changed"]))
    except (ValueError, KeyError, TypeError, InvalidSignature) as error:
        sys.exit(f"DOES NOT HOLD: {error or 'the signature is not of this manifest'}")
