"""What every barcode of one row is, whatever its kind."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Symbol:
    """A barcode without its size.

    `modules`: "1" is a bar, one character per module, without quiet zones. `guards`: the same length, "1" where a bar of the guard
    patterns stands (those run down between the digits). `digits`: what a person reads, each with its centre in half modules from the
    first bar; the first digit of an EAN-13 stands in the quiet zone, as do the first and last of a UPC.
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
