"""Framing and strict decoding of the lane's lines."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocols.jsonrpc import (
    DEPTH_MAX,
    ERRORS,
    NUMBER_MAX,
    ErrorCode,
    FrameSplitter,
    Rejected,
    Request,
    RpcError,
    answered_error,
    card_number_in,
    decode_answer,
    decode_request,
    encode_error,
    encode_request,
    encode_result,
    scrub,
)

VISA_TEST = "4111111111111111"  # the test number that every payment handbook prints


def refused(line: str | bytes) -> tuple[str | int | None, str]:
    outcome = decode_request(line if isinstance(line, bytes) else line.encode())
    assert isinstance(outcome, Rejected), outcome
    return outcome.request_id, outcome.error.code


def call(**members: object) -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": "item.lookup", "params": {}} | members)


def reference_split(data: bytes, limit: int) -> tuple[list[bytes], bool]:
    frames: list[bytes] = []
    *whole, rest = data.split(b"\n")
    for frame in whole:
        if len(frame) > limit:
            return frames, True
        frames.append(frame)
    return frames, len(rest) > limit


@given(st.lists(st.binary(max_size=12) | st.sampled_from([b"\n", b"{}\n", b"x" * 9])), st.integers(1, 16))
def test_lines_do_not_depend_on_how_the_bytes_arrive(chunks: list[bytes], limit: int) -> None:
    splitter = FrameSplitter(limit)
    got = [frame for chunk in chunks for frame in splitter.feed(chunk)]
    frames, overflowed = reference_split(b"".join(chunks), limit)
    assert (got, splitter.overflowed) == (frames, overflowed)


def test_one_byte_at_a_time_gives_the_same_line() -> None:
    splitter = FrameSplitter()
    line = encode_request(1, "hello", {"lane": "1"})
    got = [frame for byte in line for frame in splitter.feed(bytes([byte]))]
    assert got == [line.rstrip(b"\n")]
    assert not splitter.partial


def test_an_endless_line_is_not_kept() -> None:
    splitter = FrameSplitter(1000)
    for _ in range(10_000):
        assert splitter.feed(b"x" * 1000) == []
    assert splitter.overflowed
    assert not splitter.partial
    assert splitter.feed(b'\n{"jsonrpc"}\n') == []


@given(st.binary(max_size=200))
@example(b"[" * 100_000)
@example(b'{"a":' * 100_000)
@example(b"\xff\xfe")
@example(b'"\\ud800"')
@example(b"1" * 5000)
@example(b"")
def test_any_bytes_are_a_call_or_a_refusal_that_can_be_sent(data: bytes) -> None:
    outcome = decode_request(data)
    if isinstance(outcome, Rejected):
        line = encode_error(outcome.request_id, outcome.error)
        assert line.count(b"\n") == 1
        assert json.loads(line)["error"]["code"] == ERRORS[ErrorCode(outcome.error.code)].number


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "a", "b:", "method"]), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {}, optional={"jsonrpc": st.just("2.0") | json_values, "id": json_values, "method": json_values, "params": json_values}
    )
)
def test_only_what_json_rpc_allows_is_a_call(message: dict[str, Any]) -> None:
    outcome = decode_request(json.dumps(message).encode())
    if isinstance(outcome, Request):
        assert message["jsonrpc"] == "2.0"
        assert (message["id"], message["method"]) == (outcome.request_id, outcome.method)
        assert message.get("params", {}) == outcome.params
        assert depth(message) <= DEPTH_MAX
        assert all(abs(number) <= NUMBER_MAX for number in numbers(message))


@given(json_values)
def test_a_sound_call_is_understood_whatever_its_params_say(value: Any) -> None:
    inner = {"value": value}
    try:
        sound = depth(inner) < DEPTH_MAX and all(abs(number) <= NUMBER_MAX for number in numbers(inner))
        line = json.dumps({"jsonrpc": "2.0", "id": "a", "method": "m", "params": inner}, allow_nan=False).encode()
        line.decode()
        msgspec.json.decode(line)  # lone surrogates are no Unicode text
    except (ValueError, msgspec.DecodeError):
        sound, line = False, b"?"
    assert isinstance(decode_request(line), Request) == sound


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


def numbers(value: object) -> list[float]:
    if isinstance(value, dict):
        return [number for inner in value.values() for number in numbers(inner)]
    if isinstance(value, list):
        return [number for inner in value for number in numbers(inner)]
    return [value] if isinstance(value, int | float) and not isinstance(value, bool) else []


@pytest.mark.parametrize(
    ("line", "request_id", "code"),
    [
        ("", None, "parse_error"),
        ("{", None, "parse_error"),
        ("no json", None, "parse_error"),
        (call(params={"x": float("nan")}), None, "parse_error"),
        (call(params={"x": float("inf")}), None, "parse_error"),
        (b'{"jsonrpc":"2.0","id":7,"method":"\xff"}', None, "parse_error"),
        ("[]", None, "invalid_request"),
        (f"[{call()}]", None, "invalid_request"),
        ("17", None, "invalid_request"),
        ('{"jsonrpc":"2.0","id":7,"method":"a","method":"b"}', 7, "invalid_request"),
        ('{"jsonrpc":"2.0","id":7,"id":8,"method":"a"}', None, "invalid_request"),
        ('{"jsonrpc":"2.0","id":7,"method":"a","params":{"quantity":1,"quantity":9}}', 7, "invalid_request"),
        ('{"jsonrpc":"2.0","id":7,"method":"a","params":{"lines":[{"x":1,"\\u0078":2}]}}', 7, "invalid_request"),
        (call(params={"x": 2**53 + 1}), 7, "invalid_request"),
        (call(params={"x": -(2**53) - 1}), 7, "invalid_request"),
        (call(params={"x": 1e300}), 7, "invalid_request"),
        ('{"jsonrpc":"2.0","id":7,"method":"a","params":{"x":1e999}}', 7, "invalid_request"),
        ('{"jsonrpc":"2.0","id":7,"method":"a","params":{"x":' + "9" * 5000 + "}}", 7, "invalid_request"),
        (call(params={"a": [[[[[[[1]]]]]]]}), 7, "invalid_request"),
        (call(jsonrpc="1.0"), 7, "invalid_request"),
        (call(extra=1), 7, "invalid_request"),
        (call(method=5), 7, "invalid_request"),
        (call(method=""), 7, "invalid_request"),
        (call(id=None), None, "invalid_request"),
        (call(id=True), None, "invalid_request"),
        (call(id=1.5), None, "invalid_request"),
        (call(id=[1]), None, "invalid_request"),
        (call(id=2**60), None, "invalid_request"),
        (call(id="x" * 65), None, "invalid_request"),
        ('{"jsonrpc":"2.0","method":"sale.commit","params":{}}', None, "invalid_request"),
        (call(params=[1]), 7, "invalid_params"),
        (call(params=None), 7, "invalid_params"),
    ],
)
def test_what_is_refused_and_with_which_id(line: str | bytes, request_id: object, code: str) -> None:
    assert refused(line) == (request_id, code)


def test_the_deepest_allowed_message_and_the_largest_allowed_number_pass() -> None:
    for params in ({"a": [[[[[[1]]]]]]}, {"x": 2**53, "y": -(2**53)}, {"text": 'colons: "a":1, "a":2'}):
        outcome = decode_request(call(params=params).encode())
        assert isinstance(outcome, Request)
        assert outcome.params == params


def test_a_call_without_params_has_empty_ones() -> None:
    assert decode_request(b'{"jsonrpc":"2.0","id":"a","method":"m"}\r') == Request("a", "m", {})


def test_every_error_has_its_own_number_a_cashier_text_and_survives_the_wire() -> None:
    assert set(ERRORS) == set(ErrorCode)
    assert len({spec.number for spec in ERRORS.values()}) == len(ERRORS)
    for code, spec in ERRORS.items():
        assert spec.cashier
        read = answered_error(decode_answer(encode_error(3, RpcError(code, "why"))))
        assert read is not None
        assert (read.number, read.code, read.cashier, read.retryable, read.detail) == (
            spec.number,
            code,
            spec.cashier,
            spec.retryable,
            "why",
        )


def test_only_what_may_pass_by_itself_is_retryable() -> None:
    assert {str(code) for code, spec in ERRORS.items() if spec.retryable} == {"not_ready", "internal", "busy"}


@pytest.mark.parametrize("line", [b"{}", b'{"id":1}', b'{"id":1,"result":1,"error":{}}', b"[]", b"x", b"\xff"])
def test_a_client_refuses_what_is_no_answer(line: bytes) -> None:
    with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
        decode_answer(line)


def test_a_null_result_is_a_result() -> None:
    assert bytes(decode_answer(encode_result(1, None)).result) == b"null"


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18), st.sampled_from(["", " ", "-"]), st.text("ab .", max_size=4))
def test_a_card_number_is_found_however_it_is_written(digits: list[int], gap: str, around: str) -> None:
    check = (10 - sum(sum(divmod(digit * 2, 10)) if place % 2 == 0 else digit for place, digit in enumerate(reversed(digits)))) % 10
    number = gap.join(map(str, [*digits, check]))
    text = f"{around}{number}{around}"
    assert card_number_in(text)
    assert number not in scrub(text)


def test_a_card_number_of_19_digits_is_found_when_no_part_of_it_is_one() -> None:
    whole = [str(number) for number in range(1234567890123450000, 1234567890123456000) if card_number_in(str(number))]
    parts = [number for number in whole if not card_number_in(number[1:]) and not card_number_in(number[:-1])]
    assert parts


def test_a_short_or_failing_number_is_no_card() -> None:
    assert not card_number_in("411111111111")
    assert not card_number_in("4111111111112")
    assert scrub("terminal 12, lane 7") == "terminal 12, lane 7"


def test_an_error_does_not_repeat_a_card_number() -> None:
    outcome = decode_request(call(**{VISA_TEST: 1}).encode())
    assert isinstance(outcome, Rejected)
    assert VISA_TEST not in outcome.error.detail
