"""The few names of the daemon that a simulated machine has its own things behind, put back afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from unittest.mock import patch

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from edge import hq as sync
from edge.store import people, unknown
from protocols.hq import Message, reparse
from tests.sim.broker import SimLink
from tests.sim.radios import LIFETIME_MS

LOOK_MARGIN_MS: Final = 8_000  # these panels refresh at once or at the next look


def _parse_unsealed(tail: str, raw: bytes, keys: dict[str, Ed25519PublicKey], store: str) -> Message:
    """Signatures are not what is simulated: checking one takes longer than most of what follows from it."""
    return reparse(tail, raw)


_OWN: Final[tuple[tuple[Any, str, object], ...]] = (
    (sync, "MqttLink", SimLink),
    (sync, "parse_down", _parse_unsealed),
    (people, "LOOK_MARGIN_MS", LOOK_MARGIN_MS),
    (unknown, "LOST_OFFERS_MS", LIFETIME_MS),
)


@contextmanager
def simulated(*more: tuple[Any, str, object]) -> Iterator[None]:
    """With the simulation's own link to HQ, and `more` (what a mutant changes) in place."""
    patches = [patch.object(owner, name, value) for owner, name, value in (*_OWN, *more)]
    for each in patches:
        each.start()
    try:
        yield
    finally:
        for each in reversed(patches):
            each.stop()
