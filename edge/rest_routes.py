"""REST's routes as data: the server finds a call by them, and its OpenAPI document is made from them. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import msgspec

from edge.import_feed import FeedKind, Mode
from edge.rest_types import ImportView, ItemView, Problem, StoreView
from edge.store.tokens import Scope

TARGET_CHARS_MAX: Final = 2048  # a path and its query
QUERY_FIELDS_MAX: Final = 16
QUANTITY_MAX: Final = 100_000

_TEXT: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 512}
_NAME: Final[dict[str, Any]] = {"type": "string", "minLength": 1, "maxLength": 100}
_FLAG: Final[dict[str, Any]] = {"type": "boolean", "default": False}


@dataclass(frozen=True, slots=True)
class Parameter:
    name: str
    schema: Mapping[str, Any]
    text: str
    required: bool = False
    place: str = "query"


@dataclass(frozen=True, slots=True)
class Route:
    """`scope` None: anybody who reaches the socket. `bodies`: media types that it takes."""

    method: str
    path: str
    operation: str
    scope: Scope | None
    text: str
    answers: Mapping[int, type[msgspec.Struct] | None]
    parameters: tuple[Parameter, ...] = ()
    bodies: tuple[str, ...] = ()


_MEMBER: Final = Parameter("member", _FLAG, "The price for members.")
_QUANTITY: Final = Parameter(
    "quantity",
    {"type": "integer", "minimum": 1, "maximum": QUANTITY_MAX},
    "For so many units, not with member; else the price's own.",
)
CSV: Final = "text/csv"
JSON: Final = "application/json"
BYTES: Final = "application/octet-stream"

ROUTES: Final = (
    Route("GET", "/v1/openapi.json", "openapi", None, "This document.", {200: None}),
    Route("GET", "/v1/store", "store", Scope.READ, "The store.", {200: StoreView}),
    Route(
        "GET",
        "/v1/items/{item_id}",
        "item",
        Scope.READ,
        "An item by its number: price as the lanes charge it, availability, attributes.",
        {200: ItemView},
        (Parameter("item_id", _TEXT, "The item's number.", required=True, place="path"), _QUANTITY, _MEMBER),
    ),
    Route(
        "GET",
        "/v1/lookup",
        "lookup",
        Scope.READ,
        "An item by what a scanner read.",
        {200: ItemView},
        (Parameter("code", _TEXT, "The code, whatever the lanes read.", required=True), _QUANTITY, _MEMBER),
    ),
    Route(
        "POST",
        "/v1/imports",
        "bring",
        Scope.IMPORT,
        "Bring a file (delimited text) or rows (a JSON array of objects by our column names), as `shelfd import` does. Answers when it is "
        "in force: 200; or waits for a person: 202; or is refused with its mistakes: 422.",
        {200: ImportView, 202: ImportView, 422: Problem},
        (
            Parameter("feed", _NAME, "A feed of the configuration."),
            Parameter("kind", {"type": "string", "enum": [str(kind) for kind in FeedKind]}, "Without a feed: what it brings."),
            Parameter("mode", {"type": "string", "enum": [str(mode) for mode in Mode]}, "full: what is not named is gone."),
            Parameter("name", _NAME, "How the import is called in lists and in the price history."),
            Parameter("dry_run", _FLAG, "Only check and compare."),
        ),
        (CSV, JSON, BYTES),
    ),
    Route(
        "GET",
        "/v1/imports/{import_id}",
        "import",
        Scope.IMPORT,
        "What became of an import.",
        {200: ImportView},
        (Parameter("import_id", _NAME, "As it was answered.", required=True, place="path"),),
    ),
)


@dataclass(frozen=True, slots=True)
class Found:
    route: Route
    values: dict[str, str]  # of its path and query, by parameter


class BadTarget(ValueError):
    """The query is not one of this route's; says what is wrong."""


class NoRoute(LookupError):
    """Nothing is there. `allowed`: the methods that the path has."""

    def __init__(self, allowed: tuple[str, ...]) -> None:
        super().__init__(", ".join(allowed))
        self.allowed = allowed


def find(method: str, target: str) -> Found:
    """The route of a request. Raises NoRoute, BadTarget."""
    path, _, query = target.partition("?")
    there = [(route, match) for route, pattern in _PATTERNS if (match := pattern.fullmatch(path)) is not None]
    chosen = next(((route, match) for route, match in there if route.method == method), None)
    if chosen is None:
        raise NoRoute(tuple(route.method for route, _ in there))
    route, match = chosen
    try:
        given = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=QUERY_FIELDS_MAX, errors="strict")
        values = {name: unquote(value, errors="strict") for name, value in match.groupdict().items()}
    except ValueError as error:
        raise BadTarget(f"the address cannot be read: {error}") from None
    known = {parameter.name: parameter for parameter in route.parameters}
    for name, value in given:
        if name not in known or known[name].place == "path":
            raise BadTarget(f"{name[:40]!r} is no parameter here; there are: {', '.join(known) or 'none'}")
        if name in values:
            raise BadTarget(f"{name} is there twice")
        values[name] = value
    for parameter in route.parameters:
        if parameter.required and parameter.name not in values:
            raise BadTarget(f"{parameter.name} is missing")
        if parameter.name in values:
            _check(parameter, values[parameter.name])
    return Found(route, values)


def _check(parameter: Parameter, value: str) -> None:
    schema = parameter.schema
    match schema["type"]:
        case "boolean":
            good = value in ("true", "false")
        case "integer":
            good = value.isascii() and value.isdigit() and len(value) <= 9 and schema["minimum"] <= int(value) <= schema["maximum"]
        case _:
            good = value in schema["enum"] if "enum" in schema else schema["minLength"] <= len(value) <= schema["maxLength"]
            good = good and value.isprintable()
    if not good:
        raise BadTarget(f"{parameter.name}: found {value[:40]!r}, expected {_words(schema)}")


def _words(schema: Mapping[str, Any]) -> str:
    match schema["type"]:
        case "boolean":
            return "true or false"
        case "integer":
            return f"a whole number from {schema['minimum']} to {schema['maximum']}"
        case _:
            return ", ".join(schema["enum"]) if "enum" in schema else f"1 to {schema['maxLength']} characters"


_PATTERNS: Final = tuple((route, re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(route.path)))) for route in ROUTES)

FAILURES: Final[Mapping[int, str]] = {
    400: "The request cannot be read.",
    401: "No token, or none that is in use.",
    403: "The token's scope is another one.",
    404: "There is no such thing.",
    405: "The path has other methods.",
    408: "The request did not come in time.",
    409: "Refused: no such feed, or an earlier file waits for a person.",
    413: "The body is too large, or there is one where none is read.",
    415: "The body is of another type.",
    421: "The request was for another host.",
    422: "The file was refused.",
    429: "Too many requests; see Retry-After.",
    431: "The heading is too large.",
    501: "The body is coded in a way that is not known here.",
    503: "Not ready, or too many connections.",
    507: "There is no room for the body.",
}


def document() -> dict[str, Any]:
    """The OpenAPI 3.1 document."""
    given = {each for route in ROUTES for each in route.answers.values() if each is not None}
    types = sorted(given | {Problem}, key=lambda each: each.__name__)
    _, shapes = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    info = {
        "title": "shelfd",
        "version": "1",
        "description": "Prices, availability and attributes for kiosks, and files for shops without a head office. On this machine only.",
        "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    }
    bearer = {"type": "http", "scheme": "bearer", "description": "shelfd token add NAME --scope SCOPE"}
    return {
        "openapi": "3.1.0",
        "info": info,
        "servers": [{"url": "http://127.0.0.1:9465", "description": "as [rest] listen says"}],
        "paths": paths,
        "components": {"schemas": _tidy(shapes), "securitySchemes": {"token": bearer}},
    }


def _operation(route: Route) -> dict[str, Any]:
    security = [{"token": [str(route.scope)]}] if route.scope is not None else []
    said: dict[str, Any] = {"operationId": route.operation, "summary": route.text, "security": security}
    if route.parameters:
        said["parameters"] = [
            {"name": each.name, "in": each.place, "required": each.required, "description": each.text, "schema": dict(each.schema)}
            for each in route.parameters
        ]
    if route.bodies:
        rows = {"type": "array", "items": {"type": "object", "additionalProperties": {"type": ["string", "number", "null"]}}}
        said["requestBody"] = {"required": True, "content": {kind: {"schema": rows} if kind == JSON else {} for kind in route.bodies}}
    responses = {str(status): _response(status, shape) for status, shape in route.answers.items()}
    for status in FAILURES:
        if str(status) not in responses and _can_fail(route, status):
            responses[str(status)] = _response(status, Problem)
    said["responses"] = dict(sorted(responses.items()))
    return said


def _can_fail(route: Route, status: int) -> bool:
    if status in (401, 403):
        return route.scope is not None
    if status in (409, 415, 422, 507):
        return bool(route.bodies)
    return status != 404 or any(each.place == "path" or each.name == "code" for each in route.parameters)


def _response(status: int, shape: type[msgspec.Struct] | None) -> dict[str, Any]:
    text = FAILURES.get(status, "Held: waits for a person." if status == 202 else "Done.")
    schema = {"$ref": f"#/components/schemas/{shape.__name__}"} if shape is not None else {"type": "object"}
    kind = "application/problem+json" if shape is Problem else "application/json"
    return {"description": text, "content": {kind: {"schema": schema}}}


def _tidy(value: Any) -> Any:
    match value:
        case {"description": str(text), **rest}:
            return {"description": " ".join(text.split()), **_tidy(rest)}
        case dict():
            return {key: _tidy(each) for key, each in value.items()}
        case list():
            return [_tidy(each) for each in value]
        case _:
            return value
