"""The lane protocol as data: what each method takes and gives, and JSON Schemas of it, made from the very types that decode it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from protocols.json_schema import DIALECT, components, ecma, text
from protocols.pos import (
    CommitParams,
    CommitResult,
    HelloParams,
    HelloResult,
    LookupParams,
    LookupResult,
    Method,
    QuoteParams,
    QuoteResult,
    StatusParams,
    StatusResult,
)
from protocols.pos_notices import NOTICE_SHAPES
from protocols.pos_prices import PricesParams, PricesResult
from protocols.pos_returns import ReturnParams, ReturnResult, VoidParams, VoidResult
from protocols.pos_stock import (
    ArrivedParams,
    CollectParams,
    FlashParams,
    FlashResult,
    HoldResult,
    HoldsParams,
    HoldsResult,
    ReleaseParams,
    StockParams,
    StockResult,
)

SHAPES: Final[dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]]] = {
    Method.HELLO: (HelloParams, HelloResult),
    Method.LOOKUP: (LookupParams, LookupResult),
    Method.QUOTE: (QuoteParams, QuoteResult),
    Method.COMMIT: (CommitParams, CommitResult),
    Method.STATUS: (StatusParams, StatusResult),
    Method.VOID: (VoidParams, VoidResult),
    Method.RETURN: (ReturnParams, ReturnResult),
    Method.PRICES: (PricesParams, PricesResult),
    Method.HOLDS: (HoldsParams, HoldsResult),
    Method.ARRIVED: (ArrivedParams, HoldResult),
    Method.COLLECT: (CollectParams, HoldResult),
    Method.RELEASE: (ReleaseParams, HoldResult),
    Method.STOCK: (StockParams, StockResult),
    Method.FLASH: (FlashParams, FlashResult),
}


def schemas() -> dict[str, str]:
    """The text of each schema file by its name: `<method>.schema.json` with `params` and `result`, `notifications.schema.json`."""
    found: dict[str, str] = {}
    for method, (params, result) in SHAPES.items():
        (taken, given), shared = components(params, result)
        properties = {"params": taken, "result": given}
        found[f"{method}.schema.json"] = _text(f"shelfd lane: {method}", properties, shared)
    shapes, shared = components(*NOTICE_SHAPES.values())
    found["notifications.schema.json"] = _text("shelfd lane: notifications", dict(zip(NOTICE_SHAPES, shapes, strict=True)), shared)
    return found


def _text(title: str, properties: dict[str, Any], shared: dict[str, Any]) -> str:
    return text({"$schema": DIALECT, "title": title, "type": "object", "properties": properties, "$defs": ecma(shared)})
