"""The contract with the tills: signing in, prices and sales. `docs/reference/lane.md` describes all of it for their makers.

Voids and returns are in `protocols.pos_returns`, stock and holds in `protocols.pos_stock`, the price mirror in `protocols.pos_prices`,
notifications in `protocols.pos_notices`; what they share (`protocols.pos_base`) and JSON-RPC's framing, strict decoding and errors
(`protocols.jsonrpc`) can be imported from here too.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from protocols.jsonrpc import (
    DEPTH_MAX,
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
from protocols.pos_base import (
    AMOUNT_MINOR_MAX,
    CODE_CHARS_MAX,
    LANE_METHODS,
    LINES_MAX,
    QUANTITY_MAX,
    TENDERS_MAX,
    AmountMinor,
    Code,
    FreeText,
    Guard,
    Id,
    Instant,
    ItemRef,
    LaneName,
    Method,
    Params,
    PriceView,
    Quantity,
    Result,
    Tender,
    body_digest,
    made_when,
    one_of,
    read_params,
    refuse_card_number,
    unique_lines,
)
from protocols.pos_notices import Notice
from protocols.pos_scan import ScanWarning

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
    "LineTax",
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
    "scrub",
]

SALE_HOLDS_MAX: Final = 64  # orders that a customer collects and pays in one sale


# What a till sends. Unknown members are refused: a misspelt "member" must not become a wrong price.


class HelloParams(Params, frozen=True):
    """First call on each connection. `client` and `version` name the till software in our status; `notify` asks for notifications."""

    lane: LaneName
    client: FreeText = ""
    version: FreeText = ""
    notify: Annotated[tuple[Notice, ...], Meta(max_length=len(Notice))] = ()

    def __post_init__(self) -> None:
        refuse_card_number("client", self.client)
        refuse_card_number("version", self.version)


class LookupParams(Params, frozen=True):
    """One item, by what the scanner read or by HQ's item id."""

    code: Code | None = None
    item_id: ItemRef | None = None
    member: bool = False

    def __post_init__(self) -> None:
        one_of(self.code, self.item_id)


class QuoteLine(Params, frozen=True):
    line_id: Id
    quantity: Quantity
    code: Code | None = None
    item_id: ItemRef | None = None

    def __post_init__(self) -> None:
        one_of(self.code, self.item_id)


class QuoteParams(Params, frozen=True):
    """The whole basket as it stands; the same `basket_id` again with more lines never raises an earlier line."""

    basket_id: Id
    lines: Annotated[tuple[QuoteLine, ...], Meta(min_length=1, max_length=LINES_MAX)]
    member: bool = False

    def __post_init__(self) -> None:
        unique_lines(self.lines)


class CommitLine(Params, frozen=True):
    line_id: Id
    quantity: Quantity
    total_minor: AmountMinor
    code: Code | None = None
    item_id: ItemRef | None = None

    def __post_init__(self) -> None:
        one_of(self.code, self.item_id)


class LineTax(Params, frozen=True):
    """The tax of one line, which the till computed: on top of the line's total where the store's `tax_mode` is exclusive."""

    line_id: Id
    tax_minor: AmountMinor


class CommitParams(Params, frozen=True):
    """A completed sale. `lines` says what was sold where no quote does; an offline sale also says when it was made.

    `taxes` are per line (needed to give tax back on a return), `holds` the held goods that the customer collects with this sale.
    """

    sale_id: Id
    tenders: Annotated[tuple[Tender, ...], Meta(max_length=TENDERS_MAX)]
    quote_id: Id | None = None
    lines: Annotated[tuple[CommitLine, ...], Meta(min_length=1, max_length=LINES_MAX)] | None = None
    total_minor: AmountMinor | None = None
    offline: bool = False
    made_at: Instant | None = None
    taxes: Annotated[tuple[LineTax, ...], Meta(max_length=LINES_MAX)] = ()
    holds: Annotated[tuple[Id, ...], Meta(max_length=SALE_HOLDS_MAX)] = ()

    def __post_init__(self) -> None:
        if self.lines is None and self.quote_id is None:
            raise ValueError("either quote_id or lines is needed")
        made_when(self.offline, self.made_at)
        unique_lines(self.lines or ())
        unique_lines(self.taxes)


class StatusParams(Params, frozen=True):
    sale_id: Id


# What a till gets. Readers must pass over members that they do not know: later versions add some.


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
    notices: tuple[str, ...] = tuple(Notice)


class LookupResult(Result, frozen=True, kw_only=True):
    """What one unit costs now, for the till's display. Charging is `basket.quote`.

    A code that carries its own weight, count or price says in `total_minor` what one scan of it costs now.
    """

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
    total_minor: int | None = None
    lot: str | None = None
    expiry: str | None = None  # the day, YYYY-MM-DD
    warnings: tuple[ScanWarning, ...] = ()


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
    warnings: tuple[ScanWarning, ...] = ()


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


class SaleLineView(msgspec.Struct, frozen=True, kw_only=True):
    """A recorded line, for a return: `paid_minor` with deposit and tax on top, and what came back of it until now."""

    line_id: str
    item_id: str | None
    quantity: int
    paid_minor: int
    returned: int = 0
    refunded_minor: int = 0


class StatusResult(Result, frozen=True, kw_only=True):
    """`answer` is the stored answer of a recorded sale, `lines` what was sold and what came back, `voided` the void's id."""

    sale_id: str
    state: str  # recorded | unknown
    answer: CommitResult | None = None
    lines: tuple[SaleLineView, ...] = ()
    voided: str | None = None


def commit_digest(params: CommitParams) -> str:
    """SHA-256 (hex) of what was sold and paid: the "same body" of "same sale_id, same body".

    `offline` and `made_at` are left out, since a till adds them when it repeats a sale whose first answer it never saw. Members that
    came later count only where they say something, so that a digest stays what it was.
    """
    later = tuple(member for member in (params.taxes, params.holds) if member)
    return body_digest(params.sale_id, params.quote_id, params.lines, params.total_minor, params.tenders, *later)
