"""What a till is told about a scanned pack, beside its price. docs/reference/scanning.md lists the codes."""

from __future__ import annotations

import msgspec


class ScanWarning(msgspec.Struct, frozen=True):
    """Something that the cashier must see: a stable code and a text for the screen. It refuses nothing; the store's rule does."""

    code: str  # recalled | check_lot | expired | past_sell_by | past_best_before | check_date | amount_ignored
    text: str
