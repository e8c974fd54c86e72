"""The contract with the tills: methods, parameters and results. `docs/reference/lane.md` describes it for their makers.

Framing, strict decoding and errors are JSON-RPC's (`protocols.jsonrpc`) and can be imported from here too. Money is an integer in
the currency's minor unit, a quantity an integer in the unit that the item is sold by (each, g, ml, mm), time an RFC 3339 text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, TypeVar

import msgspec
from msgspec import Meta

from protocols.jsonrpc import (
    DEPTH_MAX,
    DETAIL_CHARS_MAX,
    ERRORS,
    FRAME_BYTES_MAX,
    NUMBER_MAX,
    Answer,
    ErrorCode,
    ErrorSpec,
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

__all__ = [
    "AMOUNT_MINOR_MAX",
    "CODE_CHARS_MAX",
    "DEPTH_MAX",
    "ERRORS",
    "FRAME_BYTES_MAX",
    "LANE_METHODS",
    "LINES_MAX",
    "NUMBER_MAX",
    "QUANTITY_MAX",
    "TENDERS_MAX",
    "Answer",
    "CommitLine",
    "CommitParams",
    "CommitResult",
    "ErrorCode",
    "ErrorSpec",
    "FrameSplitter",
    "Guard",
    "HelloParams",
    "HelloResult",
    "Limits",
    "LookupParams",
    "LookupResult",
    "Method",
    "PriceView",
    "QuoteLine",
    "QuoteParams",
    "QuoteResult",
    "QuotedLine",
    "Rejected",
    "Request",
    "RpcError",
    "StatusParams",
    "StatusResult",
    "Tender",
    "answered_error",
    "card_number_in",
    "commit_digest",
    "decode_answer",
    "decode_request",
    "encode_error",
    "encode_request",
    "encode_result",
    "read_params",
]

LINES_MAX: Final = 500  # the largest trolley on record is far smaller; a quote of this size still fits the lane's 4 ms
TENDERS_MAX: Final = 32  # split payments and gift cards; a real receipt has fewer than ten
QUANTITY_MAX: Final = 1_000_000  # one tonne in g, one cubic metre in ml, one kilometre in mm
AMOUNT_MINOR_MAX: Final = 10**12  # ten thousand million in cents: above any receipt, and its sums stay far below 2**53
CODE_CHARS_MAX: Final = 256  # a GS1 Digital Link URI with batch, serial and expiry has about 120

_ID_PATTERN: Final = r"\A[A-Za-z0-9_.:\-]{1,64}\Z"

Id = Annotated[str, Meta(pattern=_ID_PATTERN)]
LaneName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_\-]{1,32}\Z")]
Code = Annotated[str, Meta(min_length=1, max_length=CODE_CHARS_MAX)]
ItemRef = Annotated[str, Meta(min_length=1, max_length=64)]
Quantity = Annotated[int, Meta(ge=1, le=QUANTITY_MAX)]
AmountMinor = Annotated[int, Meta(ge=0, le=AMOUNT_MINOR_MAX)]
FreeText = Annotated[str, Meta(max_length=64)]


class Method(StrEnum):
    HELLO = "hello"
    LOOKUP = "item.lookup"
    QUOTE = "basket.quote"
    COMMIT = "sale.commit"
    STATUS = "sale.status"


LANE_METHODS: Final = frozenset(str(method) for method in Method)


class Guard(StrEnum):
    """Why a price is below HQ's: a label still shows or may show less, was proven only a moment ago, or is of unknown content."""

    SHELF_LOWER = "shelf_lower"
    DWELL = "dwell"
    UNPROVEN = "unproven"
    MIXED = "mixed"  # a basket whose lines differ


# What a till sends. Unknown members are refused: a misspelt "member" must not become a wrong price.


class HelloParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """First call on each connection. `client` and `version` name the till software in our status."""

    lane: LaneName
    client: FreeText = ""
    version: FreeText = ""

    def __post_init__(self) -> None:
        _refuse_card_number("client", self.client)
        _refuse_card_number("version", self.version)


class LookupParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One item, by what the scanner read or by HQ's item id."""

    code: Code | None = None
    item_id: ItemRef | None = None
    member: bool = False

    def __post_init__(self) -> None:
        _one_of(self.code, self.item_id)


class QuoteLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    line_id: Id
    quantity: Quantity
    code: Code | None = None
    item_id: ItemRef | None = None

    def __post_init__(self) -> None:
        _one_of(self.code, self.item_id)


class QuoteParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole basket as it stands; the same `basket_id` again with more lines never raises an earlier line."""

    basket_id: Id
    lines: Annotated[tuple[QuoteLine, ...], Meta(min_length=1, max_length=LINES_MAX)]
    member: bool = False

    def __post_init__(self) -> None:
        _unique_lines(self.lines)


class Tender(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a part was paid: a type such as "cash" or "card", never a number of one."""

    type: Annotated[str, Meta(min_length=1, max_length=32)]
    amount_minor: AmountMinor

    def __post_init__(self) -> None:
        _refuse_card_number("type", self.type)


class CommitLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    line_id: Id
    quantity: Quantity
    total_minor: AmountMinor
    code: Code | None = None
    item_id: ItemRef | None = None

    def __post_init__(self) -> None:
        _one_of(self.code, self.item_id)


class CommitParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A completed sale. `lines` says what was sold where no quote does; an offline sale also says when it was made."""

    sale_id: Id
    tenders: Annotated[tuple[Tender, ...], Meta(max_length=TENDERS_MAX)]
    quote_id: Id | None = None
    lines: Annotated[tuple[CommitLine, ...], Meta(min_length=1, max_length=LINES_MAX)] | None = None
    total_minor: AmountMinor | None = None
    offline: bool = False
    made_at: Annotated[datetime, Meta(tz=True)] | None = None

    def __post_init__(self) -> None:
        if self.lines is None and self.quote_id is None:
            raise ValueError("either quote_id or lines is needed")
        if self.offline and self.made_at is None:
            raise ValueError("an offline sale needs made_at")
        if self.made_at is not None and not 1970 < self.made_at.year < 9999:  # so that any offset still gives UTC milliseconds
            raise ValueError("made_at is outside the years 1971 to 9998")
        _unique_lines(self.lines or ())


class StatusParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    sale_id: Id


# What a till gets. Readers must pass over members that they do not know: later versions add some.


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """In every answer: which state of the prices it was made from, how old that is, and whether the shelf held a price down.

    `revision` grows with each applied change; `as_of` is the store's time of the answer; `stale_s` are the seconds since HQ was
    last heard.
    """

    revision: int
    as_of: str
    stale_s: int
    guard: Guard | None = None


class PriceView(msgspec.Struct, frozen=True):
    """`amount_minor` for `price_quantity` of `unit`: 199 for 1 each, 349 for 1000 g."""

    amount_minor: int
    price_quantity: int
    unit: str


class Limits(msgspec.Struct, frozen=True):
    frame_bytes: int = FRAME_BYTES_MAX
    depth: int = DEPTH_MAX
    lines: int = LINES_MAX
    tenders: int = TENDERS_MAX
    quantity: int = QUANTITY_MAX
    amount_minor: int = AMOUNT_MINOR_MAX


class HelloResult(msgspec.Struct, frozen=True, kw_only=True):
    """While `ready` is false the store has no prices yet: ids may be empty, `as_of` null, and other calls answer `not_ready`."""

    server: str
    version: str
    store_id: str
    currency: str
    exponent: int
    tax_mode: str
    lane: str
    ready: bool
    revision: int
    as_of: str | None
    stale_s: int
    guard: Guard | None = None
    limits: Limits = Limits()
    methods: tuple[str, ...] = tuple(Method)


class LookupResult(Result, frozen=True, kw_only=True):
    """What one unit costs now, for the till's display. Charging is `basket.quote`."""

    item_id: str
    name: str
    short_name: str
    sold_by: str
    price: PriceView
    kind: str  # base | promo | member | markdown | override
    pack_quantity: int = 1  # how many units the scanned code stands for
    age_limit: int | None = None
    deposit_minor: int = 0
    tax_class: str | None = None


class QuotedLine(msgspec.Struct, frozen=True, kw_only=True):
    """`total_minor` is what to charge for the whole line, deposit not included."""

    line_id: str
    item_id: str
    name: str
    quantity: int
    total_minor: int
    price: PriceView
    guard: Guard | None = None
    deposit_minor: int = 0  # for the whole line
    age_limit: int | None = None


class QuoteResult(Result, frozen=True, kw_only=True):
    """The charge. `total_minor` is the sum of the lines and their deposits; it holds for `valid_s` seconds from now."""

    quote_id: str
    basket_id: str
    lines: tuple[QuotedLine, ...]
    total_minor: int
    currency: str
    valid_s: int


class CommitResult(Result, frozen=True, kw_only=True):
    """The sale is on disk. `up_seq` is its number in the store's journal to HQ; `flags` name what was odd and recorded anyway."""

    sale_id: str
    up_seq: int
    flags: tuple[str, ...] = ()
    refund_due_minor: int = 0
    recorded: bool = True


class StatusResult(Result, frozen=True, kw_only=True):
    """`answer` is the stored answer of a recorded sale."""

    sale_id: str
    state: str  # recorded | unknown
    answer: CommitResult | None = None


P = TypeVar("P", bound=msgspec.Struct)


def read_params(params: Mapping[str, object], shape: type[P]) -> P:
    """Checked parameters. Raises RpcError: too_many_lines, bad_quantity, card_number, else invalid_params with the place."""
    lines = params.get("lines")
    if isinstance(lines, list) and len(lines) > LINES_MAX:
        raise RpcError(ErrorCode.TOO_MANY_LINES, f"{len(lines)} lines, the most is {LINES_MAX}")
    try:
        return msgspec.convert(params, shape)
    except msgspec.ValidationError as error:
        detail = scrub(str(error)[:DETAIL_CHARS_MAX])
        kind = ErrorCode.BAD_QUANTITY if detail.endswith(".quantity`") else ErrorCode.INVALID_PARAMS
        raise RpcError(kind, detail) from None


def commit_digest(params: CommitParams) -> str:
    """SHA-256 (hex) of what was sold and paid: the "same body" of "same sale_id, same body".

    `offline` and `made_at` are left out, since a till adds them when it repeats a sale whose first answer it never saw.
    """
    body = (params.sale_id, params.quote_id, params.lines, params.total_minor, params.tenders)
    return hashlib.sha256(msgspec.json.encode(body)).hexdigest()


def _one_of(code: str | None, item_id: str | None) -> None:
    if (code is None) == (item_id is None):
        raise ValueError("exactly one of code and item_id is needed")


def _unique_lines(lines: tuple[QuoteLine, ...] | tuple[CommitLine, ...]) -> None:
    if len({line.line_id for line in lines}) != len(lines):
        raise ValueError("line_id must be unique in a basket")


def _refuse_card_number(field: str, text: str) -> None:
    if card_number_in(text):
        raise RpcError(ErrorCode.CARD_NUMBER, f"{field} holds a card number")
