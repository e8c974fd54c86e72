"""GS1 element strings (DataMatrix, GS1-128) and Digital Link URIs (QR): made, and read again.

Fact source: GS1 General Specifications 7.8 (separators), GS1 Digital Link URI syntax 1.2. What each identifier allows is in
`gs1_identifiers.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from render.errors import BadGtin, FieldError, SetupError
from render.symbols.gs1_identifiers import check_companions, checked, identifier, starting
from render.symbols.linear import verified

SEPARATOR: Final = "\x1d"  # GS; the codes show it as FNC1
SYMBOLOGIES: Final = ("]C1", "]e0", "]d2", "]Q3")  # GS1-128, DataBar, GS1 DataMatrix, GS1 QR: what scanners put in front
QUALIFIERS: Final = (("22", "10", "21"), ("235",))  # of a GTIN, in their order; one row or the other

DOMAIN_LENGTH_MAX: Final = 253  # of a host name, RFC 1035; the path shares it, a code on a label has no room for more
_DOMAIN: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*(?::[0-9]{1,5})?")
_STEM: Final = re.compile(r"(?:/[A-Za-z0-9._~-]+)*")
_URI: Final = re.compile(r"(?i:https?)://([^/?#]+)([^?#]*)(?:\?([^#]*))?(?:#.*)?", re.DOTALL)
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")

Pair = tuple[str, str]  # identifier and value


@dataclass(frozen=True, slots=True)
class DigitalLink:
    """What a Digital Link URI says. `gtin` has 14 digits; `qualifiers` in their order; `attributes` as they stand in the query."""

    domain: str
    gtin: str
    qualifiers: tuple[Pair, ...]
    attributes: tuple[Pair, ...]


def element_string(pairs: Iterable[Pair]) -> str:
    """Identifiers and values in the order given, with GS behind each that needs it unless it is the last. No leading FNC1.

    Draw it with `code128(text, gs1=True)` or `datamatrix(text, gs1=True)`. A GTIN may have 8, 12, 13 or 14 digits. Raises FieldError for
    an unknown identifier, a value against its format or check digit, or one whose companion is missing.
    """
    whole = [(ai, checked(ai, verified(value).rjust(14, "0") if ai == "01" else value)) for ai, value in pairs]
    if not whole:
        raise FieldError("GS1 element string: expected at least one identifier")
    check_companions([ai for ai, _ in whole])
    last = len(whole) - 1
    return "".join(ai + value + (SEPARATOR if place < last and identifier(ai).separated else "") for place, (ai, value) in enumerate(whole))


def parse_element_string(text: str) -> tuple[Pair, ...]:
    """The pairs of an element string, with or without symbology identifier or leading FNC1 (as GS). Raises FieldError.

    Companions are not demanded: they may be in another code on the same item.
    """
    rest = text[3:] if text.startswith(SYMBOLOGIES) else text
    rest = rest.removeprefix(SEPARATOR)
    pairs = []
    while rest:
        found = starting(rest)
        if found is None:
            raise FieldError(f"GS1 element string {text!r}: no known application identifier at {rest[:4]!r}")
        body = rest[len(found.ai) :]
        value = body.partition(SEPARATOR)[0] if found.separated else body[: found.length_max]
        pairs.append((found.ai, checked(found.ai, value)))
        rest = body[len(value) :].removeprefix(SEPARATOR)
    if not pairs:
        raise FieldError(f"GS1 element string {text!r}: empty")
    return tuple(pairs)


def digital_link(
    gtin: str,
    domain: str = "id.gs1.org",
    lot: str | None = None,
    serial: str | None = None,
    query: Sequence[Pair] = (),
    *,
    variant: str | None = None,
) -> str:
    """`https://{domain}/01/{14 digits}[/22/{variant}][/10/{lot}][/21/{serial}][?{ai}={value}&...]`, attributes sorted by identifier.

    `domain` in small letters, a port and a path may follow. Raises BadGtin, FieldError for a value that breaks its format, an
    identifier that may not be in a query or lacks its companion, SetupError for the domain.
    """
    host = _DOMAIN.match(domain)
    if host is None or not _STEM.fullmatch(domain, host.end()) or len(domain) > DOMAIN_LENGTH_MAX:
        raise SetupError(f"Digital Link domain {domain!r}: expected a host name in small letters, with a path at most, as in 'id.gs1.org'")
    path = [("01", verified(gtin).rjust(14, "0"))]
    path += [(ai, value) for ai, value in (("22", variant), ("10", lot), ("21", serial)) if value is not None]
    attributes = sorted(query)
    for ai, _ in attributes:
        if not identifier(ai).in_query:
            raise FieldError(f"Digital Link: ({ai}) may not be in the query")
    check_companions([ai for ai, _ in [*path, *attributes]])
    uri = f"https://{domain}" + "".join(f"/{ai}/{_encoded(checked(ai, value))}" for ai, value in path)
    return uri + ("?" if attributes else "") + "&".join(f"{ai}={_encoded(checked(ai, value))}" for ai, value in attributes)


def parse_digital_link(uri: str) -> DigitalLink:
    """The GTIN of a Digital Link, on any domain and behind any path, with its qualifiers and known attributes.

    GTINs of 8, 12, 13 and 14 digits are read; other keys in the query are ignored. Raises FieldError (BadGtin for the GTIN).
    """
    whole = _URI.fullmatch(uri)
    if whole is None:
        raise FieldError(f"Digital Link {uri!r}: expected http(s)://domain/.../01/GTIN")
    segments = [_decoded(segment, uri) for segment in whole[2].split("/")[1:]]
    for place in range(len(segments) - 2, -1, -2):
        if segments[place] == "01":
            break
    else:
        raise FieldError(f"Digital Link {uri!r}: expected /01/ and a GTIN in its path")
    try:
        gtin = verified(segments[place + 1]).rjust(14, "0")
    except BadGtin as error:
        raise BadGtin(f"Digital Link {uri!r}: {error}") from error
    rest = segments[place + 2 :]
    qualifiers = tuple((ai, checked(ai, value)) for ai, value in zip(rest[::2], rest[1::2], strict=True))
    names = [ai for ai, _ in qualifiers]
    if not any(names == [ai for ai in order if ai in names] for order in QUALIFIERS):
        raise FieldError(f"Digital Link {uri!r}: qualifiers {names}, expected 22, 10, 21 in this order, or 235")
    return DigitalLink(whole[1].lower(), gtin, qualifiers, _attributes(whole[3] or "", uri))


def _attributes(query: str, uri: str) -> tuple[Pair, ...]:
    found = []
    for item in re.split("[&;]", query):
        key, _, value = item.partition("=")
        known = starting(key) if key.isdecimal() else None
        if known is None or known.ai != key:
            continue
        if not known.in_query:
            raise FieldError(f"Digital Link {uri!r}: ({key}) may not be in the query")
        found.append((key, checked(key, _decoded(value, uri))))
    return tuple(found)


def _encoded(value: str) -> str:
    return "".join(chr(byte) if byte in _UNRESERVED else f"%{byte:02X}" for byte in value.encode())


def _decoded(text: str, uri: str) -> str:
    pieces = text.split("%")
    try:
        return pieces[0] + "".join(chr(bytes.fromhex(piece[:2])[0]) + piece[2:] for piece in pieces[1:])
    except (ValueError, IndexError) as error:
        raise FieldError(f"Digital Link {uri!r}: a % without two hexadecimal digits") from error
