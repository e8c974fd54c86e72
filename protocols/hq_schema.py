"""The HQ contract as data: AsyncAPI 3 and JSON Schemas, made from the very types that decode the messages.

A downward message is a line of signature, a line of JSON header and, for chunks, a raw body; its schema is of the header line.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from protocols.hq import MESSAGE_MAX_BYTES, TOPIC_PREFIX, HeaderFields
from protocols.hq_catalogue import ChunkWire, PriceBatchWire
from protocols.hq_control import Settings
from protocols.hq_enrol import EnrolmentFile
from protocols.hq_events import Birth, Death, EventKind, Reply, StagedAck, SyncRequest, UpBatch
from protocols.hq_messages import TYPES, PriceBatch, SnapshotChunk
from protocols.hq_zone import ZoneHeader
from protocols.json_schema import DIALECT, components, ecma, text

CHUNK: Final = "snapshot.chunk.v1"
UP: Final[dict[str, type[msgspec.Struct]]] = {"events": UpBatch, "birth": Birth, "death": Death, "sync": SyncRequest, "reply": Reply}
PARTS: Final[dict[str, type[msgspec.Struct]]] = {
    "ack.data": StagedAck,  # `data` of an event of kind ack
    "snapshot.chunk.body": ChunkWire,  # unpacked
    "config.document": Settings,
    "enrolment": EnrolmentFile,
    "zone.header": ZoneHeader,
}
_STREAM_ONLY: Final = ("stream", "seq", "expires", "after")
_CHUNK_ONLY: Final = ("hash", "snapshot_id", "n")


def data_type(type_: str) -> type[msgspec.Struct] | None:
    """What the data of a downward type decodes from; None for a chunk, which has none."""
    shape = TYPES[type_][1]
    return PriceBatchWire if shape is PriceBatch else None if shape is SnapshotChunk else shape


def documents() -> dict[str, str]:
    """The text of each file of the contract by its name: a schema per message, and `asyncapi.json`."""
    found = {f"{type_}.schema.json": text(_down_schema(type_)) for type_ in TYPES}
    for name, shape in {**UP, **PARTS}.items():
        (reference,), shared = components(shape)
        found[f"{name}.schema.json"] = text({"$schema": DIALECT, "title": f"shelfd HQ: {name}", **reference, "$defs": ecma(shared)})
    found["asyncapi.json"] = text(_asyncapi())
    return found


def _down_schema(type_: str) -> dict[str, Any]:
    """The header line of a type: what `HeaderFields` says, as far as it applies, with its own data."""
    tail, data = TYPES[type_][0], data_type(type_)
    in_stream, is_chunk = tail not in ("dn/head", "dn/ack"), data is None
    shapes = (HeaderFields,) if data is None else (HeaderFields, data)
    references, shared = components(*shapes)
    header = shared.pop("HeaderFields")
    left_out = {"data", *(() if in_stream else _STREAM_ONLY), *(() if is_chunk else _CHUNK_ONLY)}
    properties = {name: each for name, each in header["properties"].items() if name not in left_out}
    properties["type"] = {"const": type_}
    required = list(header["required"])
    if in_stream:
        properties["stream"] = {"const": tail.removeprefix("dn/")}
        properties["seq"] = {"type": "integer", "minimum": 1, "maximum": 2**53 - 1}
        required += ["stream", "seq"]
    if is_chunk:
        required += _CHUNK_ONLY
        for name in _CHUNK_ONLY:
            properties[name] = next(each for each in properties[name]["anyOf"] if each.get("type") != "null")
    else:
        properties["data"] = references[1]
        required.append("data")
    title = f"shelfd HQ: {type_} on {tail}"
    shape = {"type": "object", "properties": ecma(properties), "required": required}
    return {"$schema": DIALECT, "title": title, **shape, "$defs": ecma(shared)}


def _asyncapi() -> dict[str, Any]:
    """Channels are topics; operations are the store's: it receives what comes down and sends what goes up."""
    channels: dict[str, Any] = {}
    messages: dict[str, Any] = {}
    for type_, (tail, _) in TYPES.items():
        messages[type_] = {
            "name": type_,
            "contentType": "application/vnd.shelfd.sealed",
            "payload": _ref(type_),
            "examples": [{"name": type_, "summary": f"examples/{type_}.{'bin' if type_ == CHUNK else 'txt'}"}],
        }
        _channel(channels, tail, _down_topic(tail))["messages"][type_] = {"$ref": f"#/components/messages/{type_}"}
    for kind in EventKind:
        messages["events"] = {"name": "events", "contentType": "application/json", "payload": _ref("events")}
        _channel(channels, f"up/{kind}", _down_topic(f"up/{kind}"))["messages"]["events"] = {"$ref": "#/components/messages/events"}
    for tail, names in {"up/state": ("birth", "death"), "up/sync": ("sync",), "up/rpl": ("reply",)}.items():
        for name in names:
            messages[name] = {"name": name, "contentType": "application/json", "payload": _ref(name)}
            _channel(channels, tail, _down_topic(tail))["messages"][name] = {"$ref": f"#/components/messages/{name}"}
    messages["zone.chunk"] = {"name": "zone.chunk", "contentType": "application/vnd.shelfd.sealed", "payload": _ref("zone.header")}
    zone = _channel(channels, "zone/bulk", f"{TOPIC_PREFIX}/zone/{{zone}}/bulk")
    zone["parameters"] = {"zone": {"description": "a price zone: letters, digits, - and _"}}
    zone["messages"]["zone.chunk"] = {"$ref": "#/components/messages/zone.chunk"}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "shelfd HQ wire",
            "version": "1.0.0",
            "description": f"How head office and a store talk over MQTT. At most {MESSAGE_MAX_BYTES} bytes a message. In words: ../hq.md",
        },
        "defaultContentType": "application/json",
        "channels": channels,
        "operations": {name: _operation(name, tail) for tail in channels for name in (_operation_name(tail),)},
        "components": {"messages": messages},
    }


def _channel(channels: dict[str, Any], name: str, address: str) -> dict[str, Any]:
    if name not in channels:
        retained = name in ("dn/head", "up/state")
        channels[name] = {
            "address": address,
            "messages": {},
            "parameters": {
                "partition": {"description": "00 to 31: first byte of the SHA-256 of the store id, modulo 32, in two digits"},
                "store": {"description": "the store's id: letters, digits, - and _"},
            },
            "x-retain": retained,
        }
    channel: dict[str, Any] = channels[name]
    return channel


def _operation(name: str, tail: str) -> dict[str, Any]:
    pointer = tail.replace("/", "~1")
    found: dict[str, Any] = {
        "action": "send" if tail.startswith("up/") else "receive",
        "channel": {"$ref": f"#/channels/{pointer}"},
        "bindings": {"mqtt": {"qos": 1, "retain": tail in ("dn/head", "up/state"), "bindingVersion": "0.2.0"}},
        "summary": name,
    }
    if tail == "dn/sys":
        found["reply"] = {"channel": {"$ref": "#/channels/up~1rpl"}}
    return found


def _operation_name(tail: str) -> str:
    verb = "send" if tail.startswith("up/") else "receive"
    return verb + "".join(part.capitalize() for part in tail.removeprefix("up/").removeprefix("dn/").split("/"))


def _down_topic(tail: str) -> str:
    return f"{TOPIC_PREFIX}/{{partition}}/{{store}}/{tail}"


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"./{name}.schema.json"}
