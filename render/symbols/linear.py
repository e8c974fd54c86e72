"""Barcodes of one row: EAN-13, EAN-8, UPC-A and UPC-E as module patterns. Pure integers and text; no pictures here.

Code 128 comes from `code128.py` and is drawn the same way. Fact source: GS1 General Specifications 5.2 (symbol character tables; quiet
zones of 11 and 7 modules for EAN-13, 7 and 7 for EAN-8, 9 and 9 for UPC-A, 9 and 7 for UPC-E).
"""

from __future__ import annotations

from typing import Final

from render.errors import BadGtin
from render.symbols.code128 import code128
from render.symbols.symbol import Symbol

__all__ = [
    "CODE_WORDS",
    "PARITY_WORDS",
    "Symbol",
    "check_digit",
    "code128",
    "drawable",
    "ean",
    "gtin12",
    "upc_a",
    "upc_e",
    "upc_e_digits",
    "upc_e_expanded",
    "verified",
]

GTIN_LENGTHS: Final = (8, 12, 13, 14)

_L: Final = ("0001101", "0011001", "0010011", "0111101", "0100011", "0110001", "0101111", "0111011", "0110111", "0001011")
_R: Final = tuple("".join("1" if module == "0" else "0" for module in code) for code in _L)
_G: Final = tuple(code[::-1] for code in _R)
# which of L and G codes the six left digits use; this pattern is the first digit
_PARITY: Final = ("LLLLLL", "LLGLGG", "LLGGLG", "LLGGGL", "LGLLGG", "LGGLLG", "LGGGLL", "LGLGLG", "LGLGGL", "LGGLGL")
# the same of UPC-E with number system 0; this pattern is the check digit
_PARITY_E: Final = ("GGGLLL", "GGLGLL", "GGLLGL", "GGLLLG", "GLGGLL", "GLLGGL", "GLLLGG", "GLGLGL", "GLGLLG", "GLLGLG")
# the same for code that draws many: modules of digits 0 to 9 in sets L, G and R, 7 bits, the left one on top; and for each first digit
# of an EAN-13 which of its left digits use G, 6 bits, the left one on top
CODE_WORDS: Final = tuple(tuple(int(code, 2) for code in codes) for codes in (_L, _G, _R))
PARITY_WORDS: Final = tuple(sum((code == "G") << (5 - place) for place, code in enumerate(parity)) for parity in _PARITY)
_GUARD: Final = "101"
_CENTRE: Final = "01010"
_GUARD_E: Final = "010101"


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


def gtin12(gtin: str) -> str:
    """The 12 digits of a UPC-A. Raises BadGtin for a GTIN that is none: EAN-8, EAN-13 with another prefix, trade unit."""
    digits = drawable(gtin)
    if len(digits) == 8 or not digits.startswith("0"):
        raise BadGtin(f"GTIN {gtin!r}: expected a GTIN-12 (UPC), or one padded with zeros")
    return digits[1:]


def upc_e_digits(gtin: str) -> str:
    """The 8 digits of the UPC-E symbol of a GTIN-12: number system 0, six digits without the suppressed zeros, check digit.

    Raises BadGtin where the zeros are not at a place that the rules of GS1 5.2.2.4.2 suppress.
    """
    digits = gtin12(gtin)
    company, item = digits[1:6], digits[6:11]
    if digits[0] != "0":
        short = ""
    elif company[2] in "012" and company[3:] + item[:2] == "0000":
        short = company[:2] + item[2:] + company[2]
    elif company[3:] + item[:3] == "00000":
        short = company[:3] + item[3:] + "3"
    elif company[4:] + item[:4] == "00000":
        short = company[:4] + item[4] + "4"
    elif item[:4] == "0000" and item[4] in "56789":
        short = company + item[4]
    else:
        short = ""
    if not short:
        raise BadGtin(f"GTIN {gtin!r}: its zeros cannot be suppressed, so it has no UPC-E")
    return "0" + short + digits[11]


def upc_e_expanded(digits: str) -> str:
    """The GTIN-12 of the 8 digits of a UPC-E symbol. Raises BadGtin for a wrong length, number system or check digit."""
    if len(digits) != 8 or not (digits.isascii() and digits.isdigit()) or digits[0] != "0":
        raise BadGtin(f"UPC-E {digits!r}: expected 8 digits, the first of them 0")
    short, last = digits[1:7], digits[6]
    if last in "012":
        body = short[:2] + last + "0000" + short[2:5]
    elif last == "3":
        body = short[:3] + "00000" + short[3:5]
    elif last == "4":
        body = short[:4] + "00000" + short[4]
    else:
        body = short[:5] + "0000" + last
    return verified("0" + body + digits[7])


def ean(gtin: str) -> Symbol:
    """EAN-13 or EAN-8 symbol of a GTIN of 8, 12, 13 or 14 digits. Raises BadGtin."""
    digits = drawable(gtin)
    return _ean8(digits) if len(digits) == 8 else _ean13(digits)


def upc_a(gtin: str) -> Symbol:
    """UPC-A symbol of a GTIN-12, also padded to 13 or 14 digits. Its bars are those of the EAN-13; digits and guards differ.

    The first and the last digit stand outside, and their bars run down like guards. Raises BadGtin.
    """
    digits = gtin12(gtin)
    modules = _ean13("0" + digits).modules
    centres = [-11, *_centres(10, 5), *_centres(50, 5), 2 * len(modules) + 11]
    long = "1" * 10  # guard and number system; the same mirrored on the right
    shown = long + "0" * 35 + "11111" + "0" * 35 + long
    return Symbol(
        digits=tuple(zip(digits, centres, strict=True)),
        modules=modules,
        guards="".join("1" if module == guard == "1" else "0" for module, guard in zip(modules, shown, strict=True)),
        quiet_left=9,
        quiet_right=9,
    )


def upc_e(gtin: str) -> Symbol:
    """UPC-E symbol of a GTIN-12 whose zeros can be suppressed, also padded to 13 or 14 digits. Raises BadGtin."""
    digits = upc_e_digits(gtin)
    body = "".join((_L if code == "L" else _G)[int(digit)] for code, digit in zip(_PARITY_E[int(digits[7])], digits[1:7], strict=True))
    modules = _GUARD + body + _GUARD_E
    centres = [-11, *_centres(3, 6), 2 * len(modules) + 8]
    return Symbol(
        digits=tuple(zip(digits, centres, strict=True)),
        modules=modules,
        guards=_GUARD + "0" * 42 + _GUARD_E,
        quiet_left=9,
        quiet_right=7,
    )


def _ean13(digits: str) -> Symbol:
    parity = _PARITY[int(digits[0])]
    left = "".join((_L if code == "L" else _G)[int(digit)] for code, digit in zip(parity, digits[1:7], strict=True))
    right = "".join(_R[int(digit)] for digit in digits[7:])
    return Symbol(
        digits=tuple(zip(digits, [-11, *_centres(3, 6), *_centres(50, 6)], strict=True)),
        modules=_GUARD + left + _CENTRE + right + _GUARD,
        guards=_GUARD + "0" * 42 + _CENTRE + "0" * 42 + _GUARD,
        quiet_left=11,
        quiet_right=7,
    )


def _ean8(digits: str) -> Symbol:
    left = "".join(_L[int(digit)] for digit in digits[:4])
    right = "".join(_R[int(digit)] for digit in digits[4:])
    return Symbol(
        digits=tuple(zip(digits, [*_centres(3, 4), *_centres(36, 4)], strict=True)),
        modules=_GUARD + left + _CENTRE + right + _GUARD,
        guards=_GUARD + "0" * 28 + _CENTRE + "0" * 28 + _GUARD,
        quiet_left=7,
        quiet_right=7,
    )


def _centres(first_module: int, count: int) -> list[int]:
    """Centres, in half modules, of `count` digits of 7 modules."""
    return [2 * (first_module + 7 * place) + 7 for place in range(count)]
