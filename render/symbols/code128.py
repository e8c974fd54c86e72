"""Code 128 and GS1-128 as module patterns, in the fewest symbol characters.

Fact source: ISO/IEC 15417 (symbol characters, code sets, check character); GS1 General Specifications 5.4 (FNC1, 48 characters at most,
quiet zones of 10 modules).
"""

from __future__ import annotations

from typing import Final

from render.errors import FieldError
from render.symbols.symbol import Symbol

FNC1: Final = "\x1d"
LENGTH_MAX: Final = 48  # characters of a GS1-128, start and check not counted; a longer one no hand scanner covers
QUIET_MODULES: Final = 10

# widths of bar, space, bar, space, bar, space; seven characters of this text for each symbol character
_WIDTHS: Final = (
    "212222 222122 222221 121223 121322 131222 122213 122312 132212 221213 221312 231212 112232 122132 122231 113222 123122 123221 "
    "223211 221132 221231 213212 223112 312131 311222 321122 321221 312212 322112 322211 212123 212321 232121 111323 131123 131321 "
    "112313 132113 132311 211313 231113 231311 112133 112331 132131 113123 113321 133121 313121 211331 231131 213113 213311 213131 "
    "311123 311321 331121 312113 312311 332111 314111 221411 431111 111224 111422 121124 121421 141122 141221 112214 112412 122114 "
    "122411 142112 142211 241211 221114 413111 241112 134111 111242 121142 121241 114212 124112 124211 411212 421112 421211 212141 "
    "214121 412121 111143 111341 131141 114113 114311 411113 411311 113141 114131 311141 411131 211412 211214 211232"
)
_STOP: Final = "2331112"
_SHIFT, _FNC1 = 98, 102
_START: Final = {"A": 103, "B": 104, "C": 105}
_LATCH: Final = {"A": 101, "B": 100, "C": 99}

_Way = tuple[int, ...]  # symbol characters so far


def code128(text: str, *, gs1: bool = False) -> Symbol:
    """Code 128 symbol of a text of 1 to 48 ASCII characters.

    GS1-128: with `gs1`, or when the text begins with FNC1 ("\\x1d"); then every "\\x1d" is an FNC1, else it is the control character.
    `digits` are the visible characters, spread evenly below the bars; there are no guards. Raises FieldError.
    """
    gs1 = gs1 or text.startswith(FNC1)
    content = text.removeprefix(FNC1) if gs1 else text
    if not content.isascii():
        raise FieldError(f"Code 128 of {text!r}: expected ASCII characters only")
    if not 1 <= len(content) <= LENGTH_MAX:
        raise FieldError(f"Code 128 of {text!r}: {len(content)} characters, expected 1 to {LENGTH_MAX}")
    values = characters(content, gs1)
    check = (values[0] + sum(place * value for place, value in enumerate(values))) % 103
    widths = "".join(_WIDTHS[7 * value : 7 * value + 6] for value in (*values, check)) + _STOP
    modules = "".join(("0" if place % 2 else "1") * int(width) for place, width in enumerate(widths))
    printed = [character for character in content if character.isprintable()]
    spread = [(character, (2 * place + 1) * len(modules) // len(printed)) for place, character in enumerate(printed)]
    return Symbol(
        digits=tuple((character, centre) for character, centre in spread if character != " "),
        modules=modules,
        guards="0" * len(modules),
        quiet_left=QUIET_MODULES,
        quiet_right=QUIET_MODULES,
    )


def characters(content: str, gs1: bool) -> tuple[int, ...]:
    """Values of the shortest row of symbol characters from the start character on, without check and stop.

    `ways[place][code set]`: the shortest way to have written what is before `place` and to be in that set; the first found of equals.
    """
    ways: list[dict[str, _Way]] = [{} for _ in range(len(content) + 2)]
    ways[0] = {code_set: (start, _FNC1) if gs1 else (start,) for code_set, start in _START.items()}
    for place, character in enumerate(content):
        here = ways[place]
        for way in sorted(here.values(), key=len):
            for other, latch in _LATCH.items():
                _keep(here, other, (*way, latch))
        for code_set, way in here.items():
            pair = content[place : place + 2]
            if gs1 and character == FNC1:
                _keep(ways[place + 1], code_set, (*way, _FNC1))
            elif code_set == "C":
                if len(pair) == 2 and pair.isdigit():
                    _keep(ways[place + 2], "C", (*way, int(pair)))
            else:
                value = _value(code_set, character)
                step = (value,) if value is not None else (_SHIFT, _value("B" if code_set == "A" else "A", character) or 0)
                _keep(ways[place + 1], code_set, (*way, *step))
    return min(ways[len(content)].values(), key=len)


def _keep(ways: dict[str, _Way], code_set: str, way: _Way) -> None:
    if code_set not in ways or len(way) < len(ways[code_set]):
        ways[code_set] = way


def _value(code_set: str, character: str) -> int | None:
    """Of an ASCII character in set A (control characters, capitals) or B (capitals, small letters)."""
    code = ord(character)
    if 32 <= code < 96:
        return code - 32
    if code_set == "A":
        return code + 64 if code < 32 else None
    return code - 32 if code >= 96 else None
