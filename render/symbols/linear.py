"""EAN barcodes as module patterns. Pure integers and text; no pictures here.

Fact source: GS1 General Specifications 5.2 (symbol character tables, quiet zones 11 and 7 modules for EAN-13, 7 and 7 for EAN-8).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from render.errors import BadGtin

GTIN_LENGTHS: Final = (8, 12, 13, 14)

_L: Final = ("0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011")
_R: Final = tuple("".join("1" if module == "0" else "0" for module in code) for code in _L)
_G: Final = tuple(code[::-1] for code in _R)
# which of L and G codes the six left digits use; this pattern is the first digit
_PARITY: Final = ("LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL")
_GUARD: Final = "101"
_CENTRE: Final = "01010"


@dataclass(frozen=True, slots=True)
class Symbol:
    """A barcode without its size.

    `modules`: "1" is a bar, one character per module, without quiet zones. `guards`: the same length, "1" where a bar of the guard
    patterns stands (those run down between the digits). `digits`: what a person reads, each with its centre in half modules from the
    first bar; the first digit of an EAN-13 stands in the quiet zone.
    """

    digits: tuple[tuple[str, int], ...]
    modules: str
    guards: str
    quiet_left: int
    quiet_right: int

    @property
    def width_modules(self) -> int:
        """Modules with both quiet zones."""
        return self.quiet_left + len(self.modules) + self.quiet_right


def check_digit(digits: str) -> int:
    """GS1 mod-10 check digit of a GTIN without its last digit (weights 3, 1, 3 ... from the right)."""
    return -sum(int(digit) * (3 if place % 2 == 0 else 1) for place, digit in enumerate(reversed(digits))) % 10


def verified(gtin: str) -> str:
    """The GTIN itself when its length and check digit are right, else BadGtin."""
    if len(gtin) not in GTIN_LENGTHS or not (gtin.isascii() and gtin.isdigit()):
        raise BadGtin(f"GTIN {gtin!r}: expected 8, 12, 13 or 14 digits")
    expected = check_digit(gtin[:-1])
    if int(gtin[-1]) != expected:
        raise BadGtin(f"GTIN {gtin!r}: check digit is {gtin[-1]}, expected {expected}")
    return gtin


def drawable(gtin: str) -> str:
    """The 13 or 8 digits that an EAN symbol shows for this GTIN.

    UPC-A gets its leading 0. A GTIN-8 padded with zeros is an EAN-8 again: GS1 keeps those prefixes free for it. A GTIN-14 with an
    indicator (a trade unit, not a retail item) has no EAN symbol: BadGtin.
    """
    padded = verified(gtin).rjust(14, "0")
    if padded.startswith("000000"):
        return padded[6:]
    if not padded.startswith("0"):
        raise BadGtin(f"GTIN {gtin!r}: a GTIN-14 with indicator {padded[0]} cannot be drawn as EAN-13")
    return padded[1:]


def ean(gtin: str) -> Symbol:
    """EAN-13 or EAN-8 symbol of a GTIN of 8, 12, 13 or 14 digits. Raises BadGtin."""
    digits = drawable(gtin)
    return _ean8(digits) if len(digits) == 8 else _ean13(digits)


def _ean13(digits: str) -> Symbol:
    parity = _PARITY[int(digits[0])]
    left = "".join((_L if code == "L" else _G)[int(digit)] for code, digit in zip(parity, digits[1:7], strict=True))
    right = "".join(_R[int(digit)] for digit in digits[7:])
    centres = [-11] + [2 * (3 + 7 * place) + 7 for place in range(6)] + [2 * (50 + 7 * place) + 7 for place in range(6)]
    return Symbol(
        digits=tuple(zip(digits, centres, strict=True)),
        modules=_GUARD + left + _CENTRE + right + _GUARD,
        guards=_GUARD + "0" * 42 + _CENTRE + "0" * 42 + _GUARD,
        quiet_left=11,
        quiet_right=7,
    )


def _ean8(digits: str) -> Symbol:
    left = "".join(_L[int(digit)] for digit in digits[:4])
    right = "".join(_R[int(digit)] for digit in digits[4:])
    centres = [2 * (3 + 7 * place) + 7 for place in range(4)] + [2 * (36 + 7 * place) + 7 for place in range(4)]
    return Symbol(
        digits=tuple(zip(digits, centres, strict=True)),
        modules=_GUARD + left + _CENTRE + right + _GUARD,
        guards=_GUARD + "0" * 28 + _CENTRE + "0" * 28 + _GUARD,
        quiet_left=7,
        quiet_right=7,
    )
