"""JSON Schema text made from message types: what every written contract of ours shares."""

from __future__ import annotations

from typing import Any, Final

import msgspec

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


def components(*shapes: type[msgspec.Struct]) -> tuple[tuple[dict[str, Any], ...], dict[str, Any]]:
    """(a reference to each shape, the definitions they share)."""
    return msgspec.json.schema_components(shapes, ref_template="#/$defs/{name}")


def text(document: Any) -> str:
    """A document as it stands in its file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


def ecma(value: Any) -> Any:
    """Patterns as JSON Schema readers know them (Python's ends of text, \\A and \\Z, are ^ and $ there), descriptions on one line."""
    match value:
        case {"pattern": str(pattern), **rest}:
            return {**ecma(rest), "pattern": pattern.replace(r"\A", "^").replace(r"\Z", "$")}
        case {"description": str(description), **rest}:
            return {"description": " ".join(description.split()), **ecma(rest)}
        case dict():
            return {key: ecma(each) for key, each in value.items()}
        case list():
            return [ecma(each) for each in value]
        case _:
            return value
