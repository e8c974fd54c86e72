"""docs/reference/hq/ is what the code does: written from its types, its examples accepted, its schemas as strict as the decoders."""

from __future__ import annotations

import copy
import json
import random
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, FormatChecker

from protocols.hq import Signer, parse_down, partition_of, public_key
from protocols.hq_catalogue import ChunkWire
from protocols.hq_control import Settings
from protocols.hq_enrol import parse_enrolment
from protocols.hq_events import StagedAck, parse_reply, parse_state, parse_sync, verify_up_batch
from protocols.hq_messages import TYPES, Refused, SnapshotChunk
from protocols.hq_schema import CHUNK, PARTS, UP, data_type, documents
from protocols.hq_seal import BadMessage
from protocols.hq_zone import parse_zone
from tests.protocols import hq_examples as examples

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "reference" / "hq"
KEYS = {kid: public_key(each.public_key) for kid, each in examples.SIGNERS.items()}
SCHEMAS: dict[str, Any] = {name: msgspec.json.decode(text) for name, text in documents().items() if name.endswith(".schema.json")}

# What a decoder holds that a schema cannot say; each is in words in docs/reference/hq.md.
BEYOND = (
    "wrong check digit", "go together", "named twice", "not numbered", "exclude each other", "is missing", "not ascending",
    "is not after", "does not have its sha256", "document:", "bytes in base64", "is given twice", "after needs expires",
)  # fmt: skip

FORMATS = FormatChecker(formats=())


@FORMATS.checks("date-time")
def _is_instant(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", value) is not None


def validator(name: str) -> Draft202012Validator:
    """With ends of text as ECMAScript has them: Python's `$` would let a newline through."""
    return Draft202012Validator(_python_ends(SCHEMAS[f"{name}.schema.json"]), format_checker=FORMATS)


def _python_ends(value: Any) -> Any:
    match value:
        case {"pattern": str(pattern), **rest}:
            return {**_python_ends(rest), "pattern": pattern.replace("$", r"\Z")}
        case dict():
            return {key: _python_ends(each) for key, each in value.items()}
        case list():
            return [_python_ends(each) for each in value]
        case _:
            return value


def header_of(type_: str) -> dict[str, Any]:
    header: dict[str, Any] = json.loads(examples.down_message(type_).split(b"\n")[1])
    return header


# -- as it is written ------------------------------------------------------------------------------------------------------


def test_the_folder_is_what_the_types_and_the_examples_say() -> None:
    """Written by tests/protocols/make_hq_contract.py."""
    wanted = {name: text.encode() for name, text in documents().items()}
    wanted |= {f"examples/{name}": content for name, content in examples.files().items()}
    assert {str(path.relative_to(FOLDER)): path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()} == wanted


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads((FOLDER / "asyncapi.json").read_text())
    assert document["asyncapi"] == "3.0.0"
    for reference in re.findall(r'"\$ref": "([^"]+)"', (FOLDER / "asyncapi.json").read_text()):
        if reference.startswith("./"):
            assert (FOLDER / reference).is_file()
            continue
        found: Any = document
        for part in reference.removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/")]
    down = {name for name, channel in document["channels"].items() if document["channels"][name]["address"].startswith("rs/1/{partition}")}
    assert {tail for tail, _ in TYPES.values()} <= down
    for name, channel in document["channels"].items():
        assert set(re.findall(r"\{(\w+)\}", channel["address"])) == set(channel["parameters"]), name
    receives = {each["channel"]["$ref"] for each in document["operations"].values() if each["action"] == "receive"}
    assert receives == {f"#/channels/{tail.replace('/', '~1')}" for tail in {tail for tail, _ in TYPES.values()} | {"zone/bulk"}}


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_a_schema_is_one_and_stands_alone(name: str) -> None:
    Draft202012Validator.check_schema(SCHEMAS[name])
    text = json.dumps(SCHEMAS[name])
    assert set(re.findall(r'"#/\$defs/([^"]+)"', text)) <= set(SCHEMAS[name]["$defs"])
    assert "\\\\Z" not in text


# -- examples --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("type_", list(TYPES))
def test_a_downward_example_is_accepted_by_the_code_and_its_schema(type_: str) -> None:
    raw = (FOLDER / "examples" / f"{type_}.{'bin' if type_ == CHUNK else 'txt'}").read_bytes()
    message = parse_down(TYPES[type_][0], raw, KEYS, examples.STORE)
    assert isinstance(message.body, TYPES[type_][1])
    assert validator(type_).is_valid(json.loads(raw.split(b"\n")[1]))


def test_upward_examples_are_accepted_by_the_code_and_their_schemas() -> None:
    texts = {path.stem: path.read_bytes() for path in (FOLDER / "examples").glob("*.json")}
    verify_up_batch("sale", texts["events"])
    parse_state(texts["birth"])
    parse_state(texts["death"])
    parse_sync(texts["sync"])
    parse_reply(texts["reply"])
    msgspec.json.decode(texts["ack.data"], type=StagedAck)
    msgspec.json.decode(texts["snapshot.chunk.body"], type=ChunkWire)
    msgspec.json.decode(texts["config.document"], type=Settings)
    assert parse_enrolment(texts["enrolment"]).zone == examples.ZONE
    for name in (*UP, *PARTS):
        if name != "zone.header":
            assert list(validator(name).iter_errors(json.loads(texts[name]))) == [], name


def test_a_zones_example_is_accepted_by_the_code_and_its_schema() -> None:
    raw = (FOLDER / "examples" / "zone.chunk.bin").read_bytes()
    assert parse_zone(examples.ZONE, raw, KEYS).body == examples.CHUNK
    assert validator("zone.header").is_valid(json.loads(raw.split(b"\n")[1]))


def test_the_partitions_are_those_of_the_function() -> None:
    found = json.loads((FOLDER / "examples" / "partitions.json").read_text())
    assert found == {store: partition_of(store) for store in found}


# -- strictness ------------------------------------------------------------------------------------------------------------


def _refusal(type_: str, header: dict[str, Any]) -> str | None:
    """Why the code does not take a message with this header line; None where it does."""
    tail = TYPES[type_][0]
    text = json.dumps(header).encode() + (b"\n" + examples.CHUNK if type_ == CHUNK else b"")
    try:
        body = parse_down(tail, Signer.seal(examples.SIGNER, tail, text), KEYS, header.get("subject", "")).body
    except BadMessage as error:
        return error.reason
    return body.reason if isinstance(body, Refused) else None


STRANGE: tuple[Any, ...] = (
    None, True, 0, -1, 1, 2**53, 10**13, 1.5, "", "x", "\n", " x", "x" * 300, "2025-01-31T08:00:00Z", "2025-13-31T08:00:00", [], {}, [[]],
    [1], {"a": 1}, "EUR", "0" * 64, "f" * 32,
)  # fmt: skip


def _mutated(chance: random.Random, value: Any) -> Any:
    """A copy with one thing in it changed, dropped, doubled or put in the place of another."""
    whole = copy.deepcopy(value)
    spots: list[tuple[Any, Any]] = []

    def walk(part: Any) -> None:
        for key in list(part) if isinstance(part, dict) else range(len(part)):
            spots.append((part, key))
            if isinstance(part[key], dict | list):
                walk(part[key])

    walk(whole)
    part, key = chance.choice(spots)
    match chance.randrange(4):
        case 0 if isinstance(part, dict):
            del part[key]
        case 1 if isinstance(part, list):
            part.append(copy.deepcopy(part[key]))
        case 2 if isinstance(part, dict):
            part[f"unknown_{chance.randrange(9)}"] = 1
        case _:
            part[key] = chance.choice(STRANGE)
    return whole


@pytest.mark.parametrize("type_", list(TYPES))
def test_a_schema_accepts_what_the_code_accepts_and_refuses_what_it_refuses(type_: str) -> None:
    """300 messages a type, each one change away from the example. What only the code can know is in `BEYOND`."""
    chance, schema, whole = random.Random(type_), validator(type_), header_of(type_)
    accepted = refused = 0
    for _ in range(300):
        header = _mutated(chance, whole)
        if header.get("type") != type_:
            continue  # another type has another schema
        refusal, valid = _refusal(type_, header), schema.is_valid(header)
        if refusal is None:
            accepted += 1
            assert valid, (header, [error.message for error in schema.iter_errors(header)])
        else:
            refused += 1
            known = any(words in refusal for words in BEYOND) or "raw body does not have the hash" in refusal
            assert not valid or known, (header, refusal)
    assert accepted > 10
    assert refused > 50


@pytest.mark.parametrize(("name", "shape"), [*UP.items(), *((name, shape) for name, shape in PARTS.items() if name != "zone.header")])
def test_what_goes_up_and_parts_of_messages_are_as_strict_as_their_schemas(name: str, shape: type[msgspec.Struct]) -> None:
    whole = json.loads((FOLDER / "examples" / f"{name}.json").read_text())
    chance, schema = random.Random(name), validator(name)
    for _ in range(300):
        mutated = _mutated(chance, whole)
        refusal, valid = _part_refusal(shape, mutated), schema.is_valid(mutated)
        if refusal is None:
            assert valid, (mutated, [error.message for error in schema.iter_errors(mutated)])
        else:
            assert not valid or any(words in refusal for words in BEYOND), (mutated, refusal)


def _part_refusal(shape: type[msgspec.Struct], value: Any) -> str | None:
    try:
        msgspec.json.decode(json.dumps(value).encode(), type=shape)
    except msgspec.ValidationError as error:
        return str(error)
    return None


def test_every_type_has_data_or_is_the_chunk() -> None:
    assert [type_ for type_ in TYPES if data_type(type_) is None] == [CHUNK]
    assert TYPES[CHUNK][1] is SnapshotChunk
