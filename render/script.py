"""Right-to-left text as it is drawn: letters joined, then put in the order of the eye, left to right.

Joining: the Unicode Arabic Presentation Forms, found through their own decompositions; the fonts' own tables are not used, so that a text
is a row of characters of known width. Order: the Unicode Bidirectional Algorithm (python-bidi).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from render.texts import is_right_to_left

LAM: Final = "\u0644"
JOINS: Final = frozenset("\u0640\u200d")  # tatweel and the zero-width joiner join both neighbours
# python-bidi puts brackets in their place but does not turn them round. A mark behind each one shows which to turn: it is drawn behind the
# bracket where the text around runs to the right, before it where the text runs to the left.
_MARK: Final = "\u034f"  # combining grapheme joiner: takes the direction of what it follows
_MIRRORED: Final = dict(zip("()[]{}<>«»‹›", ")(][}{><»«›‹", strict=True))
_FORM_RANGES: Final = (range(0xFB50, 0xFE00), range(0xFE70, 0xFEFD))


class Forms(NamedTuple):
    """The shapes of a letter; "" where it has none. A letter without `initial` does not join what follows."""

    isolated: str = ""
    final: str = ""
    initial: str = ""
    medial: str = ""


def begins_right_to_left(text: str) -> bool:
    """Whether the first letter that has a direction is a right-to-left one."""
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL", "L"):
            return direction != "L"
    return False


@lru_cache(maxsize=4096)  # a text is measured at several sizes and widths
def visual(line: str, right_to_left: bool) -> str:
    """One line in drawing order. `right_to_left`: the direction of the paragraph. A text without right-to-left letters is itself."""
    if not is_right_to_left(line):
        return line if line.isprintable() else _without_marks(line)  # one line of a longer right-to-left text may hold its marks alone
    from bidi import get_display  # loaded by the labels that need it only

    marked = "".join(character + _MARK if character in _MIRRORED else character for character in joined(line.replace(_MARK, "")))
    ordered = str(get_display(marked, base_dir="R" if right_to_left else "L"))
    return _without_marks(_turned(ordered))


def _without_marks(characters: Iterable[str]) -> str:
    return "".join(character for character in characters if unicodedata.category(character) != "Cf")


def _turned(ordered: str) -> Iterator[str]:
    """The characters without the marks, brackets with a mark before them turned round."""
    place = 0
    while place < len(ordered):
        character = ordered[place]
        if character == _MARK:
            yield _MIRRORED[ordered[place + 1]]
        else:
            yield character
        place += 2 if character == _MARK or character in _MIRRORED else 1


def joined(text: str) -> str:
    """Text in reading order with each Arabic letter in the form that its neighbours ask for, lam and alef as one."""
    forms, ligatures = _forms()
    shaped: list[str] = []
    place = 0
    while place < len(text):
        letter = text[place]
        before = _joins_next(forms, _neighbour(text, place, -1))
        pair = ligatures.get(text[place : place + 2])
        if pair is not None:
            shaped.append(pair.final if before else pair.isolated)
            place += 2
            continue
        own = forms.get(letter)
        if own is not None:
            after = bool(own.initial) and _joins_previous(forms, _neighbour(text, place, 1))
            if before and own.final:
                letter = own.medial if after and own.medial else own.final
            else:
                letter = own.initial if after else own.isolated
        shaped.append(letter)
        place += 1
    return "".join(shaped)


def _neighbour(text: str, place: int, step: int) -> str:
    """The next letter on one side; marks between do not count. "" at the end."""
    place += step
    while 0 <= place < len(text) and unicodedata.category(text[place]) == "Mn":
        place += step
    return text[place] if 0 <= place < len(text) else ""


def _joins_next(forms: dict[str, Forms], letter: str) -> bool:
    return letter in JOINS or (letter in forms and bool(forms[letter].initial))


def _joins_previous(forms: dict[str, Forms], letter: str) -> bool:
    return letter in JOINS or (letter in forms and bool(forms[letter].final))


@lru_cache(maxsize=1)
def _forms() -> tuple[dict[str, Forms], dict[str, Forms]]:
    """(letter -> its forms, lam with alef -> the forms of both as one)."""
    letters: dict[str, Forms] = {}
    pairs: dict[str, Forms] = {}
    for code in (code for codes in _FORM_RANGES for code in codes):
        kind, *parts = unicodedata.decomposition(chr(code)).split() or ("",)
        name = kind.strip("<>")
        if name not in Forms._fields:
            continue
        source = "".join(chr(int(part, 16)) for part in parts)
        table = letters if len(source) == 1 else pairs
        if len(source) == 1 or (len(source) == 2 and source[0] == LAM and source[1] in "\u0622\u0623\u0625\u0627"):
            table[source] = table.get(source, Forms())._replace(**{name: chr(code)})
    return letters, pairs
