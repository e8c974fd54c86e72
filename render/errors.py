"""What can go wrong while drawing a label, by what the caller does next.

`FieldError`: the item's data must change; show the "see staff" picture meanwhile. `SetupError`: the template, panel or codec list must
change; every label that uses it is concerned. `PayloadError`: bytes that are no picture of this panel; count and forget.
Every error survives pickling, since workers raise it in another process.
"""

from __future__ import annotations


class RenderError(Exception):
    """A label cannot be drawn. `str(error)` is one line for a person; `reason` is a stable word for metrics and journals."""

    reason: str = "render"


class FieldError(RenderError):
    """The fields of this label are wrong or cannot be shown."""

    reason = "bad_field"


class MissingField(FieldError):
    """The template needs a field that the label does not have."""

    reason = "missing_field"


class BadGtin(FieldError):
    """The GTIN has a wrong length, sign or check digit, or cannot be drawn as an EAN."""

    reason = "bad_gtin"


class DoesNotFit(FieldError):
    """A text that must not be shortened (a price) is wider than its box at the smallest size."""

    reason = "does_not_fit"


class MissingGlyph(FieldError):
    """No shipped font has this character. A box instead of it would be a wrong label."""

    reason = "missing_glyph"

    def __init__(self, item: str, character: str) -> None:
        super().__init__(item, character)
        self.item = item
        self.character = character

    def __str__(self) -> str:
        return f"item {self.item!r}: no glyph for {self.character!r} (U+{ord(self.character):04X})"


class SetupError(RenderError):
    """Something that many labels share is wrong."""

    reason = "bad_setup"


class UnknownPanel(SetupError):
    """No panel of this name is in the catalogue."""

    reason = "unknown_panel"


class UnknownTemplate(SetupError):
    """No template of this name is shipped, or it has no layout for the panel."""

    reason = "unknown_template"


class BadTemplate(SetupError):
    """A template file is refused; the message names the file, the line, the place in it and what was expected.

    `line` counts from 1; 0 where the fault is in no line (the file is too long, say).
    """

    reason = "bad_template"

    def __init__(self, file: str, place: str, problem: str, line: int = 0) -> None:
        super().__init__(file, place, problem, line)
        self.file = file
        self.place = place
        self.problem = problem
        self.line = line

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}" if self.line else self.file
        return f"{where}: {self.place}: {self.problem}" if self.place else f"{where}: {self.problem}"


class CodecRefused(SetupError):
    """This codec cannot carry this picture, or no codec of the list can."""

    reason = "codec_refused"


class PayloadError(RenderError):
    """The bytes are not a picture of this panel in this codec."""

    reason = "bad_payload"
