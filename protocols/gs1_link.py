"""GS1 Digital Link URIs: what a QR code on a pack says besides a web address.

Pure, and linear in the text's length. Any domain, any path in front of the key; qualifiers in their order; attributes in the query.
Fact source: GS1 Digital Link URI syntax 1.2. The compressed form is refused: it needs tables that no till should depend on.
"""

from __future__ import annotations

from typing import Final

from protocols.gs1_elements import Element, checked, decides
from protocols.gs1_identifiers import identifier
from protocols.gs1_numbers import BadCode, Problem, gtin14, is_digits, shown

QUALIFIERS: Final = (("22", "10", "21"), ("235",))  # of a GTIN, in their order; one row or the other

WHAT: Final = "Digital Link"
_SCHEMES: Final = ("https://", "http://")
_HEX: Final = frozenset("0123456789ABCDEFabcdef")
_BASE64URL: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
COMPRESSED_CHARS_MIN: Final = 10  # a compressed GTIN alone has 11; shorter words are ordinary path segments


def is_link(text: str) -> bool:
    return text[:8].lower().startswith(_SCHEMES)


def parse_link(text: str) -> tuple[tuple[Element, ...], tuple[Problem, ...]]:
    """The GTIN first, then its qualifiers, then the attributes as they stand in the query. Raises BadCode.

    The GTIN may have 8, 12, 13 or 14 digits. Query keys that are no identifier are passed over; one that may not stand in a query
    is noted and not used.
    """
    scheme = next((scheme for scheme in _SCHEMES if text[: len(scheme)].lower() == scheme), None)
    if scheme is None:
        raise BadCode(WHAT, shown(text), "https:// and a domain")
    rest, _, _ = text[len(scheme) :].partition("#")
    address, _, query = rest.partition("?")
    domain, slash, path = address.partition("/")
    if not domain or not slash:
        raise BadCode(WHAT, shown(text), "a domain, then a path with /01/ and a GTIN")
    segments = path.removesuffix("/").split("/")
    place = _key_place(segments)
    problems: list[Problem] = []
    found = [Element("01", gtin14(decoded(segments[place + 1])))]
    qualifiers = segments[place + 2 :]
    names = qualifiers[::2]
    if not any(names == [ai for ai in order if ai in names] for order in QUALIFIERS):
        raise BadCode(WHAT, "/".join(names)[:40], "the qualifiers 22, 10, 21 in this order, or 235")
    for ai, value in zip(names, qualifiers[1::2], strict=True):
        known = identifier(ai)
        assert known is not None
        found.append(checked(known, decoded(value), f"/{ai}/", problems))
    _add_attributes(query, found, problems)
    return tuple(found), tuple(problems)


def decoded(text: str) -> str:
    """Percent-decoded: one character per byte, since values have no signs beyond ASCII. Raises BadCode."""
    pieces = text.split("%")
    for piece in pieces[1:]:
        if not _HEX.issuperset(piece[:2]) or len(piece) < 2:
            raise BadCode(WHAT, shown(text), "two hexadecimal digits behind each %")
    return pieces[0] + "".join(chr(int(piece[:2], 16)) + piece[2:] for piece in pieces[1:])


def _key_place(segments: list[str]) -> int:
    """Where the key 01 stands: the last place from which the path goes on in pairs. Raises BadCode."""
    for place in range(len(segments) - 2, -1, -2):
        if segments[place] == "01":
            return place
    last = segments[-1]
    if len(last) >= COMPRESSED_CHARS_MIN and _BASE64URL.issuperset(last) and not is_digits(last):
        raise BadCode(WHAT, shown(last), "the plain form with /01/ and a GTIN; compressed links are not read")
    raise BadCode(WHAT, shown("/" + "/".join(segments)), "/01/, a GTIN, then pairs of qualifier and value")


def _add_attributes(query: str, found: list[Element], problems: list[Problem]) -> None:
    for item in query.replace(";", "&").split("&"):
        key, _, text = item.partition("=")
        known = identifier(key)
        if known is None or not text:
            continue
        where = f"?{key}="
        if not known.in_query:
            problems.append(Problem("not_in_query", where, f"({key}) may not be in the query"))
            continue
        element = checked(known, decoded(text), where, problems)
        earlier = next((each for each in found if each.ai == key), None)
        if earlier is None:
            found.append(element)
        elif earlier.value != element.value:
            if decides(key):
                raise BadCode(WHAT, f"{where}{shown(element.value)}", f"the same value as before, {shown(earlier.value)}")
            problems.append(Problem("repeated", where, f"{shown(earlier.value)}, then {shown(element.value)}"))
