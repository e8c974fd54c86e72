"""The call that a till makes at each scan, read in one go: `item.lookup` by a code and nothing else.

What `protocols.jsonrpc` and `read_params` refuse is refused here too, by saying nothing: any line that is not exactly this call is for
them. That both read the same is a test.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from protocols.jsonrpc import ID_CHARS_MAX, NUMBER_MAX
from protocols.pos_base import Code


class ScanParams(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    code: Code


class ScanCall(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """All four members are needed, none other is allowed."""

    jsonrpc: Literal["2.0"]
    id: Annotated[int, Meta(ge=-NUMBER_MAX, le=NUMBER_MAX)] | Annotated[str, Meta(min_length=1, max_length=ID_CHARS_MAX)]
    method: Literal["item.lookup"]
    params: ScanParams


_PAIRS = 5  # four members and the code; as many colons mean that none came twice, and that no text holds one
_decode = msgspec.json.Decoder(ScanCall).decode


def read_scan(line: bytes) -> ScanCall | None:
    """A whole line as such a call; None for any other."""
    if line.count(b":") != _PAIRS:
        return None
    try:
        return _decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
