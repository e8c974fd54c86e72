"""docs/reference/lane.md says what the code does: its examples are read by the same decoders, its tables compared."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from protocols.pos import (
    ERRORS,
    FRAME_BYTES_MAX,
    LANE_METHODS,
    LINES_MAX,
    QUANTITY_MAX,
    CommitParams,
    CommitResult,
    HelloParams,
    HelloResult,
    LookupParams,
    LookupResult,
    Method,
    QuoteParams,
    QuoteResult,
    Request,
    RpcError,
    StatusParams,
    StatusResult,
    answered_error,
    decode_answer,
    decode_request,
    encode_error,
    encode_result,
    read_params,
)

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "lane.md").read_text()
CALLS = re.findall(r"^> (.*)\n< (.*)$", PAGE, re.MULTILINE)
SHAPES: dict[str, tuple[type[msgspec.Struct], type[msgspec.Struct]]] = {
    Method.HELLO: (HelloParams, HelloResult),
    Method.LOOKUP: (LookupParams, LookupResult),
    Method.QUOTE: (QuoteParams, QuoteResult),
    Method.COMMIT: (CommitParams, CommitResult),
    Method.STATUS: (StatusParams, StatusResult),
}


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
