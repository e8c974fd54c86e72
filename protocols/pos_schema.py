"""The lane protocol as data: what each method takes and gives, and JSON Schemas of it, made from the very types that decode it."""

from __future__ import annotations

from typing import Any, Final

import msgspec

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

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

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
        (taken, given), shared = _components(params, result)
        properties = {"params": taken, "result": given}
        found[f"{method}.schema.json"] = _text(f"shelfd lane: {method}", properties, shared)
    shapes, shared = _components(*NOTICE_SHAPES.values())
    found["notifications.schema.json"] = _text("shelfd lane: notifications", dict(zip(NOTICE_SHAPES, shapes, strict=True)), shared)
    return found


def _components(*shapes: type[msgspec.Struct]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    return msgspec.json.schema_components(shapes, ref_template="#/$defs/{name}")


def _text(title: str, properties: dict[str, Any], shared: dict[str, Any]) -> str:
    schema = {"$schema": DIALECT, "title": title, "type": "object", "properties": properties, "$defs": _ecma(shared)}
    return msgspec.json.format(msgspec.json.encode(schema), indent=2).decode() + "\n"


def _ecma(value: Any) -> Any:
    """Patterns as JSON Schema readers know them (Python's ends of text, \\A and \\Z, are ^ and $ there), descriptions on one line."""
    match value:
        case {"pattern": str(pattern), **rest}:
            return {**_ecma(rest), "pattern": pattern.replace(r"\A", "^").replace(r"\Z", "$")}
        case {"description": str(description), **rest}:
            return {"description": " ".join(description.split()), **_ecma(rest)}
        case dict():
            return {key: _ecma(each) for key, each in value.items()}
        case list():
            return [_ecma(each) for each in value]
        case _:
            return value
