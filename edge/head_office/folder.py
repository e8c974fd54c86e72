"""The folder of a head office: made once, stores added to it."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from edge.head_office.authority import Pair, issue, make_authority
from edge.head_office.broker_files import HQ_USER, mosquitto_acl, mosquitto_conf, nats_conf, nats_users
from edge.head_office.settings import SETTINGS, BadSettings, Settings, key_path
from protocols.hq import Signer, Topics, partition_of
from protocols.hq_enrol import parse_enrolment

STORE_FOLDER: Final = "/etc/shelfd/hq"  # where a store's machine keeps what it was given
BROKER_FOLDER: Final = "/etc/shelfd-hq"  # where the broker's machine keeps what it was given
HOST_CHARS_MAX: Final = 64  # of a certificate's common name
FIRST_KEY: Final = "hq-1"


class InTheWay(BadSettings):
    """Something is there already and nothing was changed."""


def make(folder: Path, hosts: tuple[str, ...], port: int, database: str | None, now_ms: int, *, tls: bool = True) -> None:
    """Keys, authority, certificates, the broker's files and `hq.toml`. `hosts`: names and addresses of the broker, the first is used.

    Raises InTheWay for a folder that has one already. `tls` False is for trials on one machine.
    """
    if (folder / SETTINGS).exists():
        raise InTheWay(f"{folder / SETTINGS}: is there already; a head office is made once")
    for host in hosts:
        if not host.isascii() or not host or len(host) > HOST_CHARS_MAX:
            raise BadSettings(f"broker {host!r}: expected a name or an address, of at most {HOST_CHARS_MAX} ASCII characters")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the database will be in it, with what every store sold
    for name in ("keys", "ca", "broker", "stores"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    make_key(folder, FIRST_KEY)
    authority = make_authority(now_ms)
    _write_pair(folder / "ca", "authority", authority)
    _write_pair(folder / "ca", HQ_USER, issue(authority, HQ_USER, now_ms))
    _write_pair(folder / "broker", "broker", issue(authority, hosts[0], now_ms, hosts))
    _write(folder / "broker" / "authority.crt", authority.certificate)
    _write(folder / "broker" / "mosquitto.conf", mosquitto_conf(BROKER_FOLDER).encode())
    _write(folder / "broker" / "nats.conf", nats_conf(BROKER_FOLDER, secrets.token_hex(16)).encode(), secret=True)
    reach: dict[str, Any] = {"host": hosts[0], "port": port, "tls": tls}
    paths = {"ca": "ca/authority.crt", "certificate": f"ca/{HQ_USER}.crt", "key": f"ca/{HQ_USER}.key"} if tls else {}
    theirs = {name: f"{STORE_FOLDER}/{name}.pem" for name in ("ca", "certificate", "key")} if tls else {}
    hq = {"key": FIRST_KEY} if database is None else {"key": FIRST_KEY, "database": database}
    text = _toml({"hq": hq, "broker": reach | paths, "store_broker": reach | theirs})
    _write(folder / SETTINGS, text.encode(), secret=True)  # a database's address may hold a password


def make_key(folder: Path, kid: str) -> str:
    """A command key; its public half in base64. Raises InTheWay."""
    path = key_path(folder, kid)
    if path.exists():
        raise InTheWay(f"{path}: is there already; a key is never replaced under its own name")
    key = Ed25519PrivateKey.generate()
    public = Signer(kid, key).public_key
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _write(path, private, secret=True)
    _write(path.with_suffix(".pub"), f"{public}\n".encode())
    return public


def write_store(settings: Settings, store: str, incarnation: str, now_ms: int, *, replace: bool = False) -> Path:
    """What to bring to a store: its enrolment, and its certificate where the broker wants one. Raises InTheWay, BadSettings."""
    if store in (HQ_USER, "zone"):
        raise BadSettings(f"{store}: this name is taken by the topics")
    try:
        topics = Topics(store, partition_of(store), settings.hq.topic_prefix)
    except ValueError as error:
        raise BadSettings(str(error)) from error
    folder = settings.folder / "stores" / store
    if (folder / "enrolment.json").exists() and not replace:
        raise InTheWay(f"{folder}: is there already; --replace makes a new certificate")
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if settings.store_broker.tls:
        ca = settings.folder / "ca"
        try:
            authority = Pair((ca / "authority.crt").read_bytes(), (ca / "authority.key").read_bytes())
        except OSError as error:
            raise BadSettings(f"{error.filename}: {error.strerror}") from error
        pair = issue(authority, store, now_ms)
        _write(folder / "ca.pem", authority.certificate)
        _write(folder / "certificate.pem", pair.certificate)
        _write(folder / "key.pem", pair.key, secret=True)
    text = enrolment(settings, topics, incarnation)
    parse_enrolment(text)
    _write(folder / "enrolment.json", text, secret=True)
    return folder


def enrolment(settings: Settings, topics: Topics, incarnation: str) -> bytes:
    """The file for `shelfd enrol`."""
    broker = {name: value for name, value in msgspec.to_builtins(settings.store_broker).items() if value is not None}
    wire = {
        "store": topics.store,
        "partition": topics.partition,
        "topic_prefix": topics.prefix,
        "broker": broker,
        "hq_keys": settings.public_keys(),
        "hq_incarnation": incarnation,
    }
    return json.dumps(wire, indent=1).encode() + b"\n"


def write_access(settings: Settings, stores: Mapping[str, str]) -> None:
    """Who may do what, anew, for the brokers that name every store. `stores`: store to partition."""
    prefix = settings.hq.topic_prefix
    _write(settings.folder / "broker" / "mosquitto.acl", mosquitto_acl(prefix).encode(), secret=True)
    _write(settings.folder / "broker" / "nats-users.conf", nats_users(prefix, stores).encode())


def _write_pair(folder: Path, name: str, pair: Pair) -> None:
    _write(folder / f"{name}.key", pair.key, secret=True)
    _write(folder / f"{name}.crt", pair.certificate)


def _write(path: Path, content: bytes, *, secret: bool = False) -> None:
    """Whole or not at all, and a secret is never readable for others, not for an instant."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    part.replace(path)


def _toml(parts: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of strings, numbers and truth values: what they look like in JSON is TOML, too."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()) for name, values in parts.items()
    )
