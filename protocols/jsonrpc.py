"""JSON-RPC 2.0 over a byte stream, one object per line: framing, strict decoding, errors, encoding.

Used by the lanes (`protocols.pos`) and by the control socket. JSON-RPC itself defines no framing; ours is UTF-8 text that ends
with a newline, and one line of answer for each line of request, in order.

Strict means: no batch arrays, no notifications by a caller, no duplicate keys, no NaN or Infinity, no number beyond 2**53, nesting of
at most 8, and only the four members that JSON-RPC names. A till that sends such a thing has a fault that must not become a price.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import msgspec

FRAME_BYTES_MAX: Final = 256 * 1024  # a 500-line basket is about 60 KiB; a price gateway reads nothing larger from a lane
DEPTH_MAX: Final = 8  # the deepest message of ours nests 4
NUMBER_MAX: Final = 2**53  # beyond it JavaScript and C# doubles lose the units digit
ID_CHARS_MAX: Final = 64  # a UUID is 36
METHOD_CHARS_MAX: Final = 64  # the longest method name of ours has 17
DETAIL_CHARS_MAX: Final = 300  # an error explains, it does not echo a message back
CARD_DIGITS_MIN: Final = 13  # ISO/IEC 7812: a payment card number has 13 (old Visa) ...
CARD_DIGITS_MAX: Final = 19  # ... to 19 digits

_DIGIT_RUN = re.compile(r"\d(?:[ \-]?\d)*")


class ErrorCode(StrEnum):
    """The stable names of everything that can go wrong. A name is never reused for another meaning."""

    PARSE_ERROR = "parse_error"
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_METHOD = "unknown_method"
    INVALID_PARAMS = "invalid_params"
    INTERNAL = "internal"
    NOT_READY = "not_ready"
    HELLO_REQUIRED = "hello_required"
    LANE_MISMATCH = "lane_mismatch"
    UNKNOWN_ITEM = "unknown_item"
    BAD_QUANTITY = "bad_quantity"
    UNKNOWN_QUOTE = "unknown_quote"
    ID_CONFLICT = "id_conflict"
    TOO_MANY_LINES = "too_many_lines"
    TOO_LARGE = "too_large"
    BUSY = "busy"
    FORBIDDEN = "forbidden"
    CARD_NUMBER = "card_number"
    NO_PRICE = "no_price"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    OVER_RETURN = "over_return"


@dataclass(frozen=True, slots=True)
class ErrorSpec:
    """One kind of error: JSON-RPC number, stable name, a text that a cashier can act on, whether the same call may succeed later."""

    number: int
    code: str
    cashier: str
    retryable: bool = False


def _table(*specs: ErrorSpec) -> dict[ErrorCode, ErrorSpec]:
    return {ErrorCode(spec.code): spec for spec in specs}


ERRORS: Final = _table(
    ErrorSpec(-32700, "parse_error", "The till sent something unreadable. Call support."),
    ErrorSpec(-32600, "invalid_request", "The till sent a message that is not allowed. Call support."),
    ErrorSpec(-32601, "unknown_method", "The till asked for something this store server does not offer. Call support."),
    ErrorSpec(-32602, "invalid_params", "The till sent wrong or missing details. Call support."),
    ErrorSpec(-32603, "internal", "The store server had a fault. Try again in a moment.", retryable=True),
    ErrorSpec(-32001, "not_ready", "Prices are still loading. Try again in a moment.", retryable=True),
    ErrorSpec(-32002, "hello_required", "The till has not signed in to the store server. Restart the till."),
    ErrorSpec(-32003, "lane_mismatch", "This till is connected as another lane. Call support."),
    ErrorSpec(-32004, "unknown_item", "Item not known. Ask a colleague for the price."),
    ErrorSpec(-32005, "bad_quantity", "Quantity not possible. Check and enter it again."),
    ErrorSpec(-32006, "unknown_quote", "The price total is no longer known. Press total again."),
    ErrorSpec(-32007, "id_conflict", "This sale number was already used for another sale. Call support."),
    ErrorSpec(-32008, "too_many_lines", "Too many lines in one basket. Split the sale."),
    ErrorSpec(-32009, "too_large", "The till sent a message that is too long. Split the sale."),
    ErrorSpec(-32010, "busy", "The store server is busy. Try again in a moment.", retryable=True),
    ErrorSpec(-32011, "forbidden", "This program may not use this lane. Call support."),
    ErrorSpec(-32012, "card_number", "A card number was entered in a text field. Remove it and try again."),
    ErrorSpec(-32013, "no_price", "This item has no price yet. Ask a colleague."),
    ErrorSpec(-32014, "not_found", "Nothing found under that name."),
    ErrorSpec(-32015, "refused", "That is not possible at the moment."),
    ErrorSpec(-32016, "over_return", "More than was bought, or it came back already. Check the receipt."),
)


class RpcError(Exception):
    """A call that failed for a reason of the caller's; also what a client raises when it reads such an answer.

    `detail` is for the log of the till's maker and never holds payment data; `cashier` is for the screen.
    """

    def __init__(self, kind: ErrorCode | ErrorSpec, detail: str = "", *, cashier: str | None = None) -> None:
        spec = ERRORS[kind] if isinstance(kind, ErrorCode) else kind
        super().__init__(f"{spec.code}: {detail}" if detail else spec.code)
        self.number = spec.number
        self.code = spec.code
        self.cashier = spec.cashier if cashier is None else cashier
        self.retryable = spec.retryable
        self.detail = detail[:DETAIL_CHARS_MAX]


@dataclass(frozen=True, slots=True)
class Request:
    """One call. `params` is an object (absent reads as empty) whose shape the method checks."""

    request_id: str | int
    method: str
    params: dict[str, object]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that is no call. `request_id` is None where the line does not say it beyond doubt."""

    request_id: str | int | None
    error: RpcError


class Answer(msgspec.Struct, frozen=True):
    """What a client reads: exactly one of `result` (still encoded) and `error` is present."""

    id: str | int | None
    result: msgspec.Raw = msgspec.Raw()
    error: msgspec.Raw = msgspec.Raw()


class Notified(msgspec.Struct, frozen=True):
    """What a client reads unasked: `params` still encoded."""

    method: str = ""
    params: msgspec.Raw = msgspec.Raw()


class FrameSplitter:
    """Cuts a byte stream into lines. Holds at most one unfinished line of FRAME_BYTES_MAX bytes.

    A longer line is not skipped: who sends one is broken or hostile, so `overflowed` stays true, nothing more is read or kept, and
    the owner answers once and closes.
    """

    __slots__ = ("_limit", "_tail", "overflowed")

    def __init__(self, frame_bytes_max: int = FRAME_BYTES_MAX) -> None:
        self._limit = frame_bytes_max
        self._tail = bytearray()
        self.overflowed = False

    @property
    def partial(self) -> bool:
        """Whether an unfinished line is waiting for its end."""
        return bool(self._tail)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that this read completes, without their newline, in order. Lines before an overflow are still given."""
        if self.overflowed:
            return []
        frames = data.split(b"\n")
        rest = frames.pop()
        if frames:
            frames[0] = bytes(self._tail) + frames[0]
            self._tail.clear()
            for count, frame in enumerate(frames):
                if len(frame) > self._limit:
                    return self._overflow(frames[:count])
        if len(self._tail) + len(rest) > self._limit:
            return self._overflow(frames)
        self._tail += rest
        return frames

    def _overflow(self, frames: list[bytes]) -> list[bytes]:
        self.overflowed = True
        self._tail.clear()
        return frames


def decode_request(frame: bytes) -> Request | Rejected:
    """One line as a call. Never raises: whatever the bytes are, the outcome is a call or a refusal to send back."""
    try:
        message = msgspec.json.decode(frame)
        pairs = _count_pairs(message, DEPTH_MAX)
    except UnicodeDecodeError:
        return Rejected(None, RpcError(ErrorCode.PARSE_ERROR, "not valid UTF-8"))
    except msgspec.ValidationError as error:  # a number outside what the decoder can hold: JSON, but not ours
        return Rejected(_find_id(frame), RpcError(ErrorCode.INVALID_REQUEST, str(error)))
    except msgspec.DecodeError as error:
        return Rejected(None, RpcError(ErrorCode.PARSE_ERROR, scrub(str(error)[:DETAIL_CHARS_MAX])))
    except RecursionError:
        return Rejected(None, RpcError(ErrorCode.INVALID_REQUEST, f"nested deeper than {DEPTH_MAX}"))
    except _LimitBroken as broken:
        return Rejected(_find_id(frame), RpcError(ErrorCode.INVALID_REQUEST, broken.args[0]))
    if not isinstance(message, dict):
        what = "batch arrays are not accepted" if isinstance(message, list) else "not an object"
        return Rejected(None, RpcError(ErrorCode.INVALID_REQUEST, what))
    # Each key has its colon, so as many colons as pairs means that no key came twice. More colons: in a text, or a doubled key.
    if frame.count(b":") != pairs:
        doubled = _doubled_key(frame)
        if doubled is not None:
            known = None if doubled == "id" else _valid_id(message)
            return Rejected(known, RpcError(ErrorCode.INVALID_REQUEST, f"duplicate key {scrub(doubled[:40])!r}"))
    return _request(message)


def encode_request(request_id: str | int, method: str, params: object) -> bytes:
    """The line that calls `method`; `params` is a dict or a Struct."""
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}) + b"\n"


def encode_result(request_id: str | int, result: object) -> bytes:
    """The line that answers a call. `result` is a Struct, plain data, or `msgspec.Raw` that is encoded already."""
    return b'{"jsonrpc":"2.0","id":%b,"result":%b}\n' % (msgspec.json.encode(request_id), msgspec.json.encode(result))


def encode_notice(method: str, params: object) -> bytes:
    """The line of a notification: it has no id and gets no answer."""
    return msgspec.json.encode({"jsonrpc": "2.0", "method": method, "params": params}) + b"\n"


def encode_error(request_id: str | int | None, error: RpcError) -> bytes:
    """The line that refuses a call (or, without id, a line that was no call)."""
    data = {"code": error.code, "cashier": error.cashier, "retryable": error.retryable, "detail": error.detail}
    body = {"code": error.number, "message": error.code, "data": data}
    return msgspec.json.encode({"jsonrpc": "2.0", "id": request_id, "error": body}) + b"\n"


def decode_answer(line: bytes) -> Answer:
    """One line as an answer. Raises `msgspec.DecodeError` (or UnicodeDecodeError) when it is none."""
    answer = msgspec.json.decode(line, type=Answer)
    if bool(answer.result) == bool(answer.error):
        raise msgspec.DecodeError("an answer has either a result or an error")
    return answer


def decode_notice(line: bytes) -> Notified | None:
    """One line as a notification of the server's; None when it is an answer. Raises `msgspec.DecodeError`."""
    found = msgspec.json.decode(line, type=Notified)
    return found if found.method else None


def answered_error(answer: Answer) -> RpcError | None:
    """The error of an answer, or None for a result. Raises `msgspec.DecodeError` when the error has another shape."""
    if not answer.error:
        return None
    body = msgspec.json.decode(answer.error, type=_WireError)
    return RpcError(ErrorSpec(body.code, body.data.code, body.data.cashier, body.data.retryable), body.data.detail)


def card_number_in(text: str) -> bool:
    """Whether the text holds 13 to 19 digits in a row (spaces and dashes between them allowed) that pass the Luhn check.

    For free text only. One in ten EANs passes Luhn by chance, so codes and ids must never be asked.
    """
    return any(_holds_card(match.group()) for match in _DIGIT_RUN.finditer(text))


def scrub(text: str) -> str:
    """The text with every possible card number blanked out: what a decoder quotes from a message may be one."""
    return _DIGIT_RUN.sub(lambda match: "[digits]" if _holds_card(match.group()) else match.group(), text)


class _LimitBroken(Exception):
    pass


class _DoubledKey(Exception):
    pass


class _WireErrorData(msgspec.Struct, frozen=True):
    code: str
    cashier: str = ""
    retryable: bool = False
    detail: str = ""


class _WireError(msgspec.Struct, frozen=True):
    code: int
    data: _WireErrorData


class _OnlyId(msgspec.Struct, frozen=True):
    id: str | int | None = None


def _request(message: dict[str, object]) -> Request | Rejected:
    request_id = _valid_id(message)

    def refuse(code: ErrorCode, detail: str) -> Rejected:
        return Rejected(request_id, RpcError(code, detail))

    method = message.get("method")
    params = message.get("params")
    if message.get("jsonrpc") != "2.0":
        return refuse(ErrorCode.INVALID_REQUEST, 'jsonrpc must be "2.0"')
    if request_id is None:
        return refuse(
            ErrorCode.INVALID_REQUEST, f"id must be a number or a text of 1 to {ID_CHARS_MAX} characters; notifications are refused"
        )
    if not isinstance(method, str) or not 0 < len(method) <= METHOD_CHARS_MAX:
        return refuse(ErrorCode.INVALID_REQUEST, f"method must be a text of 1 to {METHOD_CHARS_MAX} characters")
    if len(message) > 3 + ("params" in message):
        extra = min(message.keys() - {"jsonrpc", "id", "method", "params"})
        return refuse(ErrorCode.INVALID_REQUEST, f"unknown member {scrub(extra[:40])!r}")
    if params is None and "params" not in message:
        return Request(request_id, method, {})
    if not isinstance(params, dict):
        return refuse(ErrorCode.INVALID_PARAMS, "params must be an object")
    return Request(request_id, method, params)


def _valid_id(message: dict[str, object]) -> str | int | None:
    request_id = message.get("id")
    if isinstance(request_id, str):
        return request_id if 0 < len(request_id) <= ID_CHARS_MAX else None
    if isinstance(request_id, int) and not isinstance(request_id, bool):
        return request_id
    return None


def _find_id(frame: bytes) -> str | int | None:
    """The id of a line whose other parts break a limit; None when it has none that can be told beyond doubt."""
    try:
        found = msgspec.json.decode(frame, type=_OnlyId).id
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if frame.count(b'"id"') != 1 or (isinstance(found, int) and abs(found) > NUMBER_MAX):
        return None
    return _valid_id({"id": found})


def _count_pairs(value: object, levels: int) -> int:
    """The number of key-value pairs in decoded JSON. Raises _LimitBroken for too many levels or too large a number."""
    if isinstance(value, str):
        return 0
    if isinstance(value, dict):
        if not levels:
            raise _LimitBroken(f"nested deeper than {DEPTH_MAX}")
        pairs = len(value)
        for inner in value.values():
            if not isinstance(inner, str):
                pairs += _count_pairs(inner, levels - 1)
        return pairs
    if isinstance(value, list):
        if not levels:
            raise _LimitBroken(f"nested deeper than {DEPTH_MAX}")
        return sum(_count_pairs(inner, levels - 1) for inner in value)
    if isinstance(value, int | float) and abs(value) > NUMBER_MAX:
        raise _LimitBroken("number beyond 2**53")
    return 0


def _doubled_key(frame: bytes) -> str | None:
    """The first key that an object of this (already decoded) line holds twice, or None. Slow, so asked only in doubt."""

    def check(pairs: list[tuple[str, object]]) -> None:
        seen = set()
        for key, _ in pairs:
            if key in seen:
                raise _DoubledKey(key)
            seen.add(key)

    try:
        json.loads(frame.decode(), object_pairs_hook=check)
    except _DoubledKey as doubled:
        return str(doubled.args[0])
    except (ValueError, RecursionError):  # only a pair that was overwritten can break here and not in the first decoder
        return "?"
    return None


def _holds_card(run: str) -> bool:
    digits = [int(char) for char in run if char not in " -"]
    count = len(digits)
    return any(
        _passes_luhn(digits[start : start + size])
        for size in range(CARD_DIGITS_MIN, CARD_DIGITS_MAX + 1)
        for start in range(count - size + 1)
    )


def _passes_luhn(digits: list[int]) -> bool:
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0
