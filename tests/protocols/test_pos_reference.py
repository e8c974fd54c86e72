"""docs/reference/lane.md says what the code does: its examples are read by the same decoders, its tables compared."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from protocols.jsonrpc import decode_notice, encode_notice
from protocols.pos import (
    ERRORS,
    FRAME_BYTES_MAX,
    LANE_METHODS,
    LINES_MAX,
    QUANTITY_MAX,
    Request,
    RpcError,
    answered_error,
    decode_answer,
    decode_request,
    encode_error,
    encode_result,
    read_params,
)
from protocols.pos_base import TENDERS_MAX
from protocols.pos_notices import NOTICE_SHAPES, Notice
from protocols.pos_prices import MIRROR_LEASE_S
from protocols.pos_schema import SHAPES, schemas

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "reference" / "lane.md").read_text()
CALLS = re.findall(r"^> (.*)\n< (.*)$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("line", "answer"), CALLS)
def test_an_example_is_a_call_and_its_whole_answer(line: str, answer: str) -> None:
    request = decode_request(line.encode())
    assert isinstance(request, Request)
    params, result = SHAPES[request.method]
    read_params(request.params, params)
    assert (
        encode_result(request.request_id, msgspec.json.decode(decode_answer(answer.encode()).result, type=result)).decode().strip()
        == answer
    )


def test_every_method_has_an_example() -> None:
    methods = set()
    for line, _ in CALLS:
        request = decode_request(line.encode())
        assert isinstance(request, Request)
        methods.add(request.method)
    assert methods == LANE_METHODS


def test_the_examples_of_notifications_are_all_of_them() -> None:
    found = {}
    for line in re.findall(r'^< (\{"jsonrpc":"2\.0","method".*)$', PAGE, re.MULTILINE):
        notice = decode_notice(line.encode())
        assert notice is not None
        body = msgspec.json.decode(notice.params, type=NOTICE_SHAPES[notice.method])
        assert encode_notice(notice.method, body).decode().strip() == line
        found[notice.method] = body
    assert found.keys() == NOTICE_SHAPES.keys()
    assert set(re.findall(r"^\| `([a-z.]+)` \| `[a-z.]+` \|", PAGE, re.MULTILINE)) == set(Notice)


def test_the_schemas_are_those_of_the_types() -> None:
    """Written by tests/protocols/make_lane_schemas.py."""
    folder = ROOT / "docs" / "reference" / "lane"
    assert {path.name: path.read_text() for path in folder.iterdir()} == schemas()
    assert SHAPES.keys() == LANE_METHODS


def test_the_schemas_are_plain_json_schema() -> None:
    for text in schemas().values():
        schema = msgspec.json.decode(text)
        names = set(re.findall(r'"#/\$defs/(\w+)"', text))
        assert names == set(schema["$defs"])
        for pattern in re.findall(r'"pattern": "(.*)"', text):
            assert "\\\\A" not in pattern
            assert "\\\\Z" not in pattern


def test_the_example_of_an_error_is_one() -> None:
    (line,) = re.findall(r'^< (.*"error".*)$', PAGE, re.MULTILINE)
    error = answered_error(decode_answer(line.encode()))
    assert isinstance(error, RpcError)
    assert encode_error(7, error).decode().strip() == line


def test_the_table_of_errors_is_the_whole_table() -> None:
    rows = re.findall(r"^\| (-\d+) \| `(\w+)` \| (yes|no) \|", PAGE, re.MULTILINE)
    assert {(int(number), code, retry == "yes") for number, code, retry in rows} == {
        (spec.number, spec.code, spec.retryable) for spec in ERRORS.values()
    }


def test_the_limits_are_the_limits() -> None:
    assert f"{FRAME_BYTES_MAX // 1024} KiB" in PAGE
    assert f"| {LINES_MAX}, each" in PAGE
    assert f"1 to {QUANTITY_MAX:,}" in PAGE
    assert f"| tenders of a sale | {TENDERS_MAX} |" in PAGE
    assert f"`lease_s` ({MIRROR_LEASE_S}) seconds" in PAGE
