"""The seal on what HQ says: one line with version, key id and Ed25519 signature over the bytes that follow, bound to their topic."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

MESSAGE_MAX_BYTES: Final = 128 * 1024  # the smallest limit of the brokers in use (AWS IoT Core)

_CONTEXT: Final = b"shelfd-hq-v1\0"
_SEAL: Final = re.compile(rb"v1 ([A-Za-z0-9_-]{1,32}) ([A-Za-z0-9_-]{86})")
_SEAL_MAX_BYTES: Final = 128  # longest first line: version, key id, 86 characters of signature
_KID: Final = re.compile(r"[A-Za-z0-9_-]{1,32}")


class HqMessageError(Exception):
    """A downward message that has no place in any stream. Count it, alert at a bounded rate, acknowledge it, store nothing."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadMessage(HqMessageError):
    """Too large, or its header cannot be read: HQ or the broker is broken."""


class BadSignature(HqMessageError):
    """Not signed by a known HQ key: somebody else wrote it, or it was damaged on the way."""


class ForeignStore(HqMessageError):
    """Signed, but for another store: the broker delivers to the wrong place."""


class Signer:
    """HQ's side of the seal."""

    def __init__(self, kid: str, key: Ed25519PrivateKey) -> None:
        if _KID.fullmatch(kid) is None:
            raise ValueError(f"{kid!r} cannot be a key id")
        self.kid = kid
        self._key = key

    @property
    def public_key(self) -> str:
        """Base64 of the 32 bytes, as in an enrolment file."""
        return key_text(self._key.public_key())

    def seal(self, tail: str, signed: bytes) -> bytes:
        """The whole message for a topic tail: the seal line and what it signs."""
        signature = base64.urlsafe_b64encode(self._key.sign(_signed_bytes(tail, signed))).rstrip(b"=")
        return b"v1 " + self.kid.encode() + b" " + signature + b"\n" + signed


def public_key(text: str) -> Ed25519PublicKey:
    """A key from an enrolment file: base64 of 32 bytes. Raises ValueError."""
    try:
        return Ed25519PublicKey.from_public_bytes(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError) as error:
        raise ValueError("not an Ed25519 public key: 32 bytes in base64 expected") from error


def key_text(key: Ed25519PublicKey) -> str:
    """A key as an enrolment file has it."""
    return base64.b64encode(key.public_bytes_raw()).decode()


def verify(tail: str, raw: bytes, keys: Mapping[str, Ed25519PublicKey]) -> bytes:
    """The signed text of a message (all after the first newline). Raises `BadMessage` (size), then `BadSignature`."""
    if len(raw) > MESSAGE_MAX_BYTES:
        raise BadMessage(f"message of {len(raw)} bytes, at most {MESSAGE_MAX_BYTES} expected")
    line_end = raw.find(b"\n", 0, _SEAL_MAX_BYTES)
    seal = _SEAL.fullmatch(raw[:line_end]) if line_end > 0 else None
    if seal is None:
        raise BadSignature("no signature line 'v1 <kid> <signature>'")
    kid = seal.group(1).decode()
    key = keys.get(kid)
    if key is None:
        raise BadSignature(f"signed with unknown key {kid}")
    signed = raw[line_end + 1 :]
    try:
        key.verify(base64.urlsafe_b64decode(seal.group(2) + b"=="), _signed_bytes(tail, signed))
    except InvalidSignature as error:
        raise BadSignature(f"signature of key {kid} does not fit") from error
    return signed


def kid_of(raw: bytes) -> str:
    """The key id of a sealed message that `verify` accepted."""
    return raw.split(b" ", 2)[1].decode()


def _signed_bytes(tail: str, signed: bytes) -> bytes:
    return _CONTEXT + tail.encode() + b"\0" + signed
