"""What the lane's methods share: limits, ids, amounts, the parts of every answer, reading of parameters.

Money is an integer in the currency's minor unit, a quantity an integer in the unit that the item is sold by (each, g, ml, mm), time an
RFC 3339 text.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final, Protocol, TypeVar

import msgspec
from msgspec import Meta

from protocols.jsonrpc import DETAIL_CHARS_MAX, ErrorCode, RpcError, card_number_in, scrub

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
Instant = Annotated[datetime, Meta(tz=True)]


class Method(StrEnum):
    HELLO = "hello"
    LOOKUP = "item.lookup"
    QUOTE = "basket.quote"
    COMMIT = "sale.commit"
    STATUS = "sale.status"
    VOID = "sale.void"
    RETURN = "return.commit"
    PRICES = "price.since"
    HOLDS = "hold.list"
    ARRIVED = "hold.arrived"
    COLLECT = "hold.collect"
    RELEASE = "hold.release"
    STOCK = "stock.get"
    FLASH = "label.flash"


LANE_METHODS: Final = frozenset(str(method) for method in Method)


class Guard(StrEnum):
    """Why a price is below HQ's: a label still shows or may show less, was proven only a moment ago, or is of unknown content."""

    SHELF_LOWER = "shelf_lower"
    DWELL = "dwell"
    UNPROVEN = "unproven"
    MIXED = "mixed"  # a basket whose lines differ


# What a till sends. Unknown members are refused: a misspelt "member" must not become a wrong price.


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The parameters of a method."""


class Tender(Params, frozen=True):
    """How a part was paid: a type such as "cash" or "card", never a number of one."""

    type: Annotated[str, Meta(min_length=1, max_length=32)]
    amount_minor: AmountMinor

    def __post_init__(self) -> None:
        refuse_card_number("type", self.type)


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


def body_digest(*parts: object) -> str:
    """SHA-256 (hex) of what must be the same when an id is sent again."""
    return hashlib.sha256(msgspec.json.encode(parts)).hexdigest()


class HasLineId(Protocol):
    @property
    def line_id(self) -> str: ...


def one_of(code: str | None, item_id: str | None) -> None:
    if (code is None) == (item_id is None):
        raise ValueError("exactly one of code and item_id is needed")


def unique_lines(lines: Iterable[HasLineId]) -> None:
    lines = tuple(lines)
    if len({line.line_id for line in lines}) != len(lines):
        raise ValueError("line_id must be unique in a basket")


def made_when(offline: bool, made_at: datetime | None) -> None:
    """What was done while nobody listened says when."""
    if offline and made_at is None:
        raise ValueError("what was done offline needs made_at")
    if made_at is not None and not 1970 < made_at.year < 9999:  # so that any offset still gives UTC milliseconds
        raise ValueError("made_at is outside the years 1971 to 9998")


def refuse_card_number(field: str, text: str) -> None:
    if card_number_in(text):
        raise RpcError(ErrorCode.CARD_NUMBER, f"{field} holds a card number")
