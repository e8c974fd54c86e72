"""The lanes' certificates: a small authority of the store's own, one certificate for the listener, one for each till.

`add_lane` makes the files, the daemon only reads them; a till gets its own certificate and key and the authority's certificate. The
listener takes the very certificate that lies here under the lane's name, so a new one ends the old one's use.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # takes 50 ms to import, and the daemon only reads what was made
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

AUTHORITY: Final = "authority"
LISTENER: Final = "listener"
LANES: Final = "lanes"
AUTHORITY_DAYS: Final = 3650  # a till's life; a new authority means a visit to every till
CERTIFICATE_DAYS: Final = 825  # `shelfd lane add --replace` before that; what browsers once took as the longest
BACKDATED: Final = timedelta(hours=1)  # a till whose clock is somewhat behind


class CertificateTrouble(Exception):
    """A file of the certificates is missing, unreadable or in the way; the message says which and what to do."""


@dataclass(frozen=True, slots=True)
class LaneFiles:
    """What a till needs."""

    certificate: Path
    key: Path
    authority: Path


def add_lane(folder: Path, lane_id: str, store_id: str, hosts: Iterable[str], *, replace: bool = False) -> LaneFiles:
    """Make a certificate for a lane, and before it, where they are missing, the authority's and the listener's for these addresses.

    Raises CertificateTrouble, also where the lane has one already and `replace` is not said.
    """
    made = LaneFiles(folder / LANES / f"{lane_id}.crt", folder / LANES / f"{lane_id}.key", folder / f"{AUTHORITY}.crt")
    if made.certificate.exists() and not replace:
        raise CertificateTrouble(f"{made.certificate}: is there already; --replace makes a new one, and the till's old one ends")
    try:
        (folder / LANES).mkdir(mode=0o755, parents=True, exist_ok=True)
        authority = _authority(folder, store_id)
        _listener(folder, authority, sorted(set(hosts)))
        certificate, key = _issue(authority, lane_id, server=False, hosts=())
        _write(made.key, _key_pem(key), secret=True)
        _write(made.certificate, _certificate_pem(certificate), secret=False)
    except OSError as error:
        raise CertificateTrouble(f"{error.filename or folder}: {error.strerror}") from error
    return made


def server_context(folder: Path) -> ssl.SSLContext:
    """TLS 1.3, with the listener's certificate, for peers that show one of the authority's. Raises CertificateTrouble."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.verify_mode = ssl.CERT_REQUIRED
    context.num_tickets = 0  # each connection shows its certificate: a resumed session would outlive a replaced one
    try:
        context.load_cert_chain(folder / f"{LISTENER}.crt", folder / f"{LISTENER}.key")
        context.load_verify_locations(folder / f"{AUTHORITY}.crt")
    except (OSError, ssl.SSLError) as error:
        raise CertificateTrouble(f"{folder}: no usable certificates ({error.strerror or error}); see: shelfd lane add") from error
    return context


def client_context(files: LaneFiles) -> ssl.SSLContext:
    """What a till connects with; it checks the listener's address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(files.authority)
    context.load_cert_chain(files.certificate, files.key)
    return context


def fingerprint(folder: Path, lane_id: str) -> str:
    """SHA-256 (hex) of the lane's certificate. Raises CertificateTrouble where it has none."""
    path = folder / LANES / f"{lane_id}.crt"
    try:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(path.read_text())).hexdigest()
    except (OSError, ValueError) as error:
        raise CertificateTrouble(f"{path}: no certificate for lane {lane_id}; make one: shelfd lane add {lane_id}") from error


@dataclass(frozen=True, slots=True)
class _Authority:
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def _authority(folder: Path, store_id: str) -> _Authority:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    certificate_path, key_path = folder / f"{AUTHORITY}.crt", folder / f"{AUTHORITY}.key"
    if certificate_path.exists() != key_path.exists():
        raise CertificateTrouble(f"{folder}: of {AUTHORITY}.crt and {AUTHORITY}.key only one is there; bring back the other")
    if certificate_path.exists():
        try:
            certificate = x509.load_pem_x509_certificate(certificate_path.read_bytes())
            key = serialization.load_pem_private_key(key_path.read_bytes(), None)
        except ValueError as error:
            raise CertificateTrouble(f"{certificate_path}: not a certificate with its key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise CertificateTrouble(f"{key_path}: not a key that shelfd made")
        return _Authority(certificate, key)
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name(f"shelfd lanes of store {store_id}")
    certificate = (
        _builder(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, _sha256())
    )
    _write(key_path, _key_pem(key), secret=True)
    _write(certificate_path, _certificate_pem(certificate), secret=False)
    return _Authority(certificate, key)


def _listener(folder: Path, authority: _Authority, hosts: list[str]) -> None:
    """The listener's certificate, made anew when it does not name every address, or half of its time is over: it must outlive those of
    the tills that are made now."""
    from cryptography import x509

    path = folder / f"{LISTENER}.crt"
    if path.exists():
        try:
            known = x509.load_pem_x509_certificate(path.read_bytes())
            names = known.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (ValueError, x509.ExtensionNotFound) as error:
            raise CertificateTrouble(f"{path}: not the listener's certificate: {error}; move it away") from error
        named = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
        if named >= set(hosts) and known.not_valid_after_utc > datetime.now(UTC) + timedelta(days=CERTIFICATE_DAYS / 2):
            return
    certificate, key = _issue(authority, "shelfd", server=True, hosts=hosts)
    _write(folder / f"{LISTENER}.key", _key_pem(key), secret=True)
    _write(path, _certificate_pem(certificate), secret=False)


def _issue(authority: _Authority, name: str, *, server: bool, hosts: Iterable[str]) -> tuple[x509.Certificate, EllipticCurvePrivateKey]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    purpose = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        _builder(_name(name), authority.certificate.subject, key, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    addresses = [x509.IPAddress(ipaddress.ip_address(host)) for host in hosts]
    if addresses:
        builder = builder.add_extension(x509.SubjectAlternativeName(addresses), critical=False)
    return builder.sign(authority.key, _sha256()), key


def _builder(subject: x509.Name, issuer: x509.Name, key: EllipticCurvePrivateKey, days: int) -> x509.CertificateBuilder:
    from cryptography import x509

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(common_name: str) -> x509.Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _sha256() -> hashes.SHA256:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


def _key_pem(key: EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _write(path: Path, content: bytes, *, secret: bool) -> None:
    """Write a file whole or not at all. A secret is its owner's only from the first byte."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600 if secret else 0o644)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
