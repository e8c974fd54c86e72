"""GS1 application identifiers as a reader needs them: how long each value is, of what signs, and where it may stand. Data.

Fact source: the GS1 Barcode Syntax Dictionary (2025) and GS1 General Specifications 7.8.5. A new identifier is a new row; one that is
in no row is skipped by the rule of `length_by_prefix`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Identifier or first-last of a range; flags; format.
# Flags: * needs no separator behind it, ? may be an attribute in the query of a Digital Link, - neither.
# Format: N digits, X signs of set 82, Y of set 39, Z of base64url; ..: up to; [ ]: may be missing.
_ROWS: Final = (
    ("00", "*?", "N18"),
    ("01-02", "*?", "N14"),
    ("03", "*", "N14"),
    ("10", "?", "X..20"),
    ("11-13", "*?", "N6"),
    ("15-17", "*?", "N6"),
    ("20", "*?", "N2"),
    ("21-22", "-", "X..20"),
    ("235", "-", "X..28"),
    ("240-241", "?", "X..30"),
    ("242", "?", "N..6"),
    ("243", "?", "X..20"),
    ("250-251", "?", "X..30"),
    ("253", "?", "N13 [X..17]"),
    ("254", "-", "X..20"),
    ("255", "?", "N13 [N..12]"),
    ("30", "?", "N..8"),
    *((f"{base}0-{base}5", "*?", "N6") for base in (*range(310, 317), *range(320, 338), *range(340, 358), *range(360, 370))),
    ("37", "?", "N..8"),
    ("3900-3909", "?", "N..15"),
    ("3910-3919", "?", "N3 N..15"),
    ("3920-3929", "?", "N..15"),
    ("3930-3939", "?", "N3 N..15"),
    ("3940-3943", "?", "N4"),
    ("3950-3955", "?", "N6"),
    ("400-401", "?", "X..30"),
    ("402", "?", "N17"),
    ("403", "?", "X..30"),
    ("410-417", "*?", "N13"),
    ("420", "?", "X..20"),
    ("421", "?", "N3 X..9"),
    ("422", "?", "N3"),
    ("423", "?", "N3 [N..12]"),
    ("424", "?", "N3"),
    ("425", "?", "N3 [N..12]"),
    ("426", "?", "N3"),
    ("427", "?", "X..3"),
    ("4300-4301", "?", "X..35"),
    ("4302-4306", "?", "X..70"),
    ("4307", "?", "X2"),
    ("4308", "?", "X..30"),
    ("4309", "?", "N20"),
    ("4310-4311", "?", "X..35"),
    ("4312-4316", "?", "X..70"),
    ("4317", "?", "X2"),
    ("4318", "?", "X..20"),
    ("4319", "?", "X..30"),
    ("4320", "?", "X..35"),
    ("4321-4323", "?", "N1"),
    ("4324-4325", "?", "N10"),
    ("4326", "?", "N6"),
    ("4330-4333", "?", "N6 [X..1]"),
    ("7001", "?", "N13"),
    ("7002", "?", "X..30"),
    ("7003", "?", "N10"),
    ("7004", "?", "N..4"),
    ("7005", "?", "X..12"),
    ("7006", "?", "N6"),
    ("7007", "?", "N6 [N6]"),
    ("7008", "?", "X..3"),
    ("7009", "?", "X..10"),
    ("7010", "?", "X..2"),
    ("7011", "?", "N6 [N4]"),
    ("7020-7022", "?", "X..20"),
    ("7023", "?", "X..30"),
    ("7030-7039", "?", "N3 X..27"),
    ("7040", "-", "N1 X3"),
    ("7041", "-", "X..4"),
    ("710-717", "?", "X..20"),
    ("7230-7239", "?", "X2 X..28"),
    ("7240", "?", "X..20"),
    ("7241", "?", "N2"),
    ("7242", "?", "X..25"),
    ("7250", "?", "N8"),
    ("7251", "?", "N12"),
    ("7252", "?", "N1"),
    ("7253-7254", "?", "X..40"),
    ("7255", "?", "X..10"),
    ("7256", "?", "X..90"),
    ("7257", "?", "X..70"),
    ("7258", "?", "X3"),
    ("7259", "?", "X..40"),
    ("8001", "?", "N14"),
    ("8002", "?", "X..20"),
    ("8003", "?", "N14 [X..16]"),
    ("8004", "?", "X..30"),
    ("8005", "?", "N6"),
    ("8006", "?", "N18"),
    ("8007", "?", "X..34"),
    ("8008", "?", "N8 [N..4]"),
    ("8009", "?", "X..50"),
    ("8010", "?", "Y..30"),
    ("8011", "-", "N..12"),
    ("8012", "?", "X..20"),
    ("8013", "?", "X..25"),
    ("8014", "-", "X..25"),
    ("8017-8018", "?", "N18"),
    ("8019", "-", "N..10"),
    ("8020", "-", "X..25"),
    ("8026", "?", "N18"),
    ("8030", "?", "Z..90"),
    ("8110", "?", "X..70"),
    ("8111", "?", "N4"),
    ("8112", "?", "X..70"),
    ("8200", "-", "X..70"),
    ("90", "?", "X..30"),
    ("91-99", "?", "X..90"),
)

# Length of identifier and value together, by the first two digits, for the ones that never need a separator (7.8.5).
_FIXED_BY_PREFIX: Final = {
    "00": 20,
    "01": 16,
    "02": 16,
    "03": 16,
    "04": 18,
    "20": 4,
    "41": 16,
    **{str(prefix): 8 for prefix in range(11, 20)},
    **{str(prefix): 10 for prefix in range(31, 37)},
}

_SET_82: Final = frozenset("!\"%&'()*+,-./0123456789:;<=>?ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz")
_SIGNS: Final = {
    "N": frozenset("0123456789"),
    "X": _SET_82,
    "Y": frozenset("#-/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    "Z": frozenset("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ_abcdefghijklmnopqrstuvwxyz-"),
}


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a value: its kind (N, X, Y, Z) and length."""

    kind: str
    length_min: int
    length_max: int
    optional: bool


@dataclass(frozen=True, slots=True)
class Identifier:
    """An application identifier and the pieces of its value."""

    ai: str
    separated: bool  # a separator must stand behind its value unless it is the last one
    in_query: bool
    parts: tuple[Part, ...]

    @property
    def length_min(self) -> int:
        return sum(part.length_min for part in self.parts if not part.optional)

    @property
    def length_max(self) -> int:
        return sum(part.length_max for part in self.parts)

    def problem(self, value: str) -> str | None:
        """What is wrong with a value, or None."""
        at = 0
        for part in self.parts:
            piece = value[at : at + part.length_max]
            if not piece and part.optional:
                continue
            if len(piece) < part.length_min:
                return f"{len(value)} characters, too few"
            if not _SIGNS[part.kind].issuperset(piece):
                return "a sign that is not allowed"
            at += len(piece)
        return None if at == len(value) else f"{len(value)} characters, at most {at}"


def identifier(ai: str) -> Identifier | None:
    return _KNOWN.get(ai)


def starting(text: str, at: int = 0) -> Identifier | None:
    """The identifier that stands at a place of a text. No identifier begins with another one."""
    for length in (2, 3, 4):
        found = _KNOWN.get(text[at : at + length])
        if found is not None:
            return found
    return None


def length_by_prefix(text: str, at: int = 0) -> int | None:
    """How many characters an identifier and its value take that is in no table; None: up to the next separator."""
    return _FIXED_BY_PREFIX.get(text[at : at + 2])


def _part(text: str) -> Part:
    form = text.strip("[]")
    variable = ".." in form
    length = int(form[1:].removeprefix(".."))
    return Part(form[0], 1 if variable else length, length, text.startswith("["))


def _table() -> dict[str, Identifier]:
    known = {}
    for span, flags, form in _ROWS:
        first, _, last = span.partition("-")
        parts = tuple(_part(text) for text in form.split())
        for number in range(int(first), int(last or first) + 1):
            ai = str(number).zfill(len(first))
            known[ai] = Identifier(ai, "*" not in flags, "?" in flags, parts)
    return known


_KNOWN: Final = _table()
