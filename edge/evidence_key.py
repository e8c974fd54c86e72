"""The key that signs this store's evidence bundles: made at the first start, kept beside the store's file, never leaves it.

It is no secret that protects anything else: whoever has it can sign bundles in the store's name, so the chain and HQ's head of it say
which key was the store's, and when.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat, load_pem_private_key

KEY_NAME: Final = "evidence.key"
SIGNED_PREFIX: Final = b"shelfd-evidence-v1\0"  # a signature of this key is over this and a manifest, and cannot pass for another


class BadKey(Exception):
    """The key's file cannot be used. A person has to say what became of it: remove it, and the next start makes another."""


class EvidenceKey:
    """`public` is base64 of the 32 bytes."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        raw = private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.public = base64.b64encode(raw).decode()

    def sign(self, manifest: bytes) -> bytes:
        return self._private.sign(SIGNED_PREFIX + manifest)


def load_or_make(state_dir: Path) -> EvidenceKey:
    """The store's key; a new one where there is none. Raises BadKey, OSError."""
    path = state_dir / KEY_NAME
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return _make(state_dir, path)
    try:
        private = load_pem_private_key(text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise BadKey(f"{path}: no private key: {error}") from error
    if not isinstance(private, Ed25519PrivateKey):
        raise BadKey(f"{path}: not an Ed25519 key")
    return EvidenceKey(private)


def _make(state_dir: Path, path: Path) -> EvidenceKey:
    """Written under another name, then named: a crash leaves a whole key or none."""
    private = Ed25519PrivateKey.generate()
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)
    directory = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
    return EvidenceKey(private)
