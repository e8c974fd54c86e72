"""The scan read in one go: what it reads, the strict general reader reads too, and in the same way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.jsonrpc import Request, decode_request
from protocols.pos import LookupParams, read_params
from protocols.pos_lookup import read_scan

SCAN: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "item.lookup", "params": {"code": "4006381333931"}}

texts = st.text(max_size=8) | st.sampled_from(["2.0", "item.lookup", "a:b", "x" * 64, "x" * 65, ""])
numbers = st.integers(-(2**54), 2**54) | st.sampled_from([2**53, 2**53 + 1, -(2**53) - 1, 2**64]) | st.floats(allow_nan=True)
leaves = texts | numbers | st.none() | st.booleans()
members = st.sampled_from(["jsonrpc", "id", "method", "params", "code", "item_id", "member", "id\\u0000", "co\\u0064e"])
odd = st.dictionaries(members, leaves | st.dictionaries(members, leaves, max_size=2), max_size=5)


def check(line: bytes) -> None:
    scan = read_scan(line)
    if scan is None:
        return
    request = decode_request(line.rstrip(b"\n"))
    assert isinstance(request, Request)
    params = read_params(request.params, LookupParams)
    assert (type(request.request_id), request.request_id, request.method) == (type(scan.id), scan.id, "item.lookup")
    assert (params.code, params.item_id, params.member) == (scan.params.code, None, False)


@given(odd, st.booleans())
def test_whatever_it_reads_is_read_the_same_by_the_general_reader(more: dict[str, Any], compact: bool) -> None:
    whole = SCAN | more
    check(json.dumps(whole, separators=(",", ":") if compact else None).encode() + b"\n")
    check(json.dumps(SCAN | {"params": SCAN["params"] | more}).encode() + b"\n")


@given(st.sampled_from(sorted(SCAN)), leaves)
def test_one_member_replaced(name: str, value: Any) -> None:
    check(json.dumps(SCAN | {name: value}).encode() + b"\n")


@given(st.integers(0, 100), st.binary(min_size=1, max_size=2), st.integers(0, 2))
def test_bytes_written_over_a_scan(place: int, written: bytes, removed: int) -> None:
    line = json.dumps(SCAN).encode()
    check(line[:place] + written + line[place + removed :] + b"\n")


@pytest.mark.parametrize("request_id", [1, -5, 0, 2**53, "a", "till-1/77", "ä", "x" * 64])
def test_the_plain_scan_is_read(request_id: object) -> None:
    for separators in ((",", ":"), (", ", ": ")):
        scan = read_scan(json.dumps(SCAN | {"id": request_id}, separators=separators).encode() + b"\n")
        assert scan is not None
        assert (scan.id, scan.params.code) == (request_id, "4006381333931")


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"id":1,"method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"item.lookup","params":{"code":"1","code":"2"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"item.lookup","params":{"code":"1","member":true}}',
        b'{"jsonrpc":"2.0","id":9007199254740993,"method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"2.0","id":1.0,"method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"2.0","id":null,"method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"2.0","id":true,"method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"2.0","id":"","method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"1.0","id":1,"method":"item.lookup","params":{"code":"1"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"sale.status","params":{"sale_id":"1"}}',
        b'{"jsonrpc":"2.0","id":1,"method":"item.lookup","params":{"code":""}}',
        b'{"jsonrpc":"2.0","id":1,"method":"item.lookup","params":{"code":"1"}}{}',
        b'{"jsonrpc":"2.0","id":1,"method":"item.lookup","params":{"code":"\xff"}}',
    ],
)
def test_anything_else_is_for_the_general_reader(line: bytes) -> None:
    assert read_scan(line + b"\n") is None
