"""What a head office runs with: the folder that `shelfd hq init` made.

hq.toml             broker, database, which key signs
keys/KID.key        Ed25519 command keys, private; keys/KID.pub their public halves
ca/                 a private authority, and what it signed for the broker and for head office
broker/             who may do what, for mosquitto and for NATS
stores/ID/          what to bring to a store
hq.db               the database, where it is not PostgreSQL
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from msgspec import Meta, Struct

from edge.head_office.db.seam import SQLITE
from protocols.hq import TOPIC_PREFIX, Signer
from protocols.hq_enrol import Broker

SETTINGS: Final = "hq.toml"
LEASE_MS: Final = 10_000  # how long the partitions of a worker that died wait for another one
_RELATIVE: Final = ("ca", "certificate", "key")


class BadSettings(ValueError):
    """The folder cannot be used; the text names the file and what was expected."""


class HqPart(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    key: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,32}\Z")]
    database: str = SQLITE + "hq.db"
    source: Annotated[str, Meta(min_length=1, max_length=200)] = "hq"
    topic_prefix: str = TOPIC_PREFIX
    currency: Annotated[str, Meta(pattern=r"^[A-Z]{3}\Z")] = "EUR"
    currency_exponent: Annotated[int, Meta(ge=0, le=4)] = 2
    lease_ms: Annotated[int, Meta(ge=200, le=600_000)] = LEASE_MS


class _File(Struct, frozen=True, forbid_unknown_fields=True):
    hq: HqPart
    broker: Broker  # as head office reaches it
    store_broker: Broker  # as the stores reach it; the paths are those of the stores' machines


@dataclass(frozen=True, slots=True)
class Settings:
    """Checked, with the paths of head office's own files made whole."""

    folder: Path
    hq: HqPart
    broker: Broker
    store_broker: Broker

    @property
    def database(self) -> str:
        """With a SQLite file's path made whole."""
        url = self.hq.database
        return SQLITE + str(self.folder / url.removeprefix(SQLITE)) if url.startswith(SQLITE) else url

    def signer(self) -> Signer:
        """Raises BadSettings."""
        path = key_path(self.folder, self.hq.key)
        try:
            if path.stat().st_mode & 0o007:
                raise BadSettings(f"{path}: everybody on this machine may read it, and set your prices; chmod 600, and make another key")
            key = serialization.load_pem_private_key(path.read_bytes(), None)
        except BadSettings:
            raise
        except (OSError, ValueError) as error:
            raise BadSettings(f"{path}: {error}") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise BadSettings(f"{path}: not an Ed25519 key")
        return Signer(self.hq.key, key)

    def public_keys(self) -> list[dict[str, str]]:
        """As in an enrolment file: every key that stores believe, the one in use first."""
        found = {path.stem: path.read_text().strip() for path in sorted((self.folder / "keys").glob("*.pub"))}
        names = sorted(found, key=lambda name: (name != self.hq.key, name))
        return [{"kid": name, "public_key": found[name]} for name in names]


def load(folder: Path) -> Settings:
    """Raises BadSettings."""
    path = folder / SETTINGS
    try:
        wire = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File)
    except FileNotFoundError as error:
        raise BadSettings(f"{path}: not there; see: shelfd hq init") from error
    except (OSError, ValueError) as error:
        raise BadSettings(f"{path}: {error}") from error
    whole = {name: str(folder / value) for name in _RELATIVE if (value := getattr(wire.broker, name)) is not None}
    return Settings(folder, wire.hq, msgspec.structs.replace(wire.broker, **whole), wire.store_broker)


def key_path(folder: Path, kid: str) -> Path:
    """Where a private command key is."""
    return folder / "keys" / f"{kid}.key"
